/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Views over a compiler and a store on the heap, and resources from text. */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/view.h"
#include "bpf/engine/engine.h"
#include "xds/file.h"

#define CLUSTER(name, more)                                                                        \
	"{\"@type\": \"type.googleapis.com/envoy.config.cluster.v3.Cluster\", \"name\": \"" name   \
	"\", \"type\": \"STATIC\"" more "}"

/* Resources from text, by way of a file. */
static inline struct weft_snapshot *snapshot(const char *text)
{
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;
	char path[] = "/tmp/weft-view-XXXXXX.json";
	struct weft_snapshot *s = NULL;
	int fd = mkstemps(path, 5);

	dprintf(fd, "{\"resources\": [%s]}", text);
	close(fd);
	assert_int_equal(weft_file_load(path, 0, &diag, &s), 0);
	unlink(path);
	return s;
}

struct fixture {
	struct weft_store *store;
	struct weft_compiler *compiler;
	struct weft_views *views;
	struct weft_outlier *outlier;
	int published;
};

static inline void published(void *ctx)
{
	((struct fixture *)ctx)->published++;
}

static inline int setup(void **state)
{
	static struct fixture f;

	memset(&f, 0, sizeof(f));
	*state = &f;
	return weft_store_new_heap(1u << 20, 32u << 20, &f.store) < 0 ||
	       weft_compiler_new(f.store, &f.compiler) < 0 ||
	       weft_views_new(f.compiler, published, &f, &f.views) < 0;
}

static inline int teardown(void **state)
{
	struct fixture *f = *state;

	weft_views_free(f->views);
	weft_compiler_free(f->compiler);
	weft_store_free(f->store);
	return 0;
}
