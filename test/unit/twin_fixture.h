// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Compiled configuration in the memory of the twin's maps: both machines decide on it. */

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <sys/mman.h>

#include "test/lib/twin.h"
#include "test/unit/compile_fixture.h"
#include "twin.skel.h"

static struct twin_bpf *twin; /* NULL: natively only */

static inline int twin_load(void)
{
	libbpf_set_print(NULL);
	twin = twin_bpf__open();
	if (!twin)
		return -errno;
	bpf_map__set_value_size(twin->maps.image, CONF_IMG + WEFT_IMAGE_SLACK);
	bpf_map__set_value_size(twin->maps.state, CONF_STATE + WEFT_STATE_SLACK);
	twin->rodata->img_mask = CONF_IMG - 1;
	twin->rodata->state_mask = CONF_STATE - 1;
	return twin_bpf__load(twin);
}

static inline void conf_open_on_twin(struct conf *c)
{
	struct weft_store_mem mem = {.img_size = CONF_IMG, .state_size = CONF_STATE};

	if (!twin) {
		conf_open(c);
		return;
	}
	*c = (struct conf){0};
	mem.img = mmap(NULL, CONF_IMG + WEFT_IMAGE_SLACK, PROT_READ | PROT_WRITE, MAP_SHARED,
		       bpf_map__fd(twin->maps.image), 0);
	mem.state = mmap(NULL, CONF_STATE + WEFT_STATE_SLACK, PROT_READ | PROT_WRITE, MAP_SHARED,
			 bpf_map__fd(twin->maps.state), 0);
	assert_true(mem.img != MAP_FAILED && mem.state != MAP_FAILED);
	assert_int_equal(weft_state_layout(mem.state, CONF_STATE, 64, 4096, 64), 0);
	assert_int_equal(weft_store_new(&mem, &c->store), 0);
	assert_int_equal(weft_compiler_new(c->store, &c->compiler), 0);
}
