// SPDX-License-Identifier: Apache-2.0
/* Open-addressed tables of the image: grown until every key lies within WEFT_TAB_PROBES of its
 * place. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/compile/build.h"
#include "bpf/engine/engine.h"

/* Beyond this a table does not get sparser: so many keys of equal hash are an attack. */
#define TAB_SIZE_MAX (1u << 24)

static bool tab_fill(struct weft_img_ent *e, uint32_t size, const struct weft_tab_key *keys,
		     size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint32_t k = 0;

		while (k < WEFT_TAB_PROBES && e[(keys[i].hash + k) & (size - 1)].kind)
			k++;
		if (k == WEFT_TAB_PROBES)
			return false;
		e[(keys[i].hash + k) & (size - 1)] = (struct weft_img_ent){
			.hash = keys[i].hash,
			.str = keys[i].str.off,
			.len = (uint16_t)keys[i].str.len,
			.kind = (uint16_t)keys[i].kind,
			.val = keys[i].val,
		};
	}
	return true;
}

static bool addr_fill(struct weft_img_addr_ent *e, uint32_t size, const struct weft_addr_key *keys,
		      size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint32_t hash = weft_hash_addr(&keys[i].addr.addr, keys[i].addr.port), k = 0;

		while (k < WEFT_TAB_PROBES && e[(hash + k) & (size - 1)].port)
			k++;
		if (k == WEFT_TAB_PROBES)
			return false;
		e[(hash + k) & (size - 1)] = (struct weft_img_addr_ent){
			.addr = keys[i].addr.addr,
			.port = keys[i].addr.port,
			.val = keys[i].val,
		};
	}
	return true;
}

/* One of the two kinds of table, at the smallest size that works. */
static uint32_t build(struct weft_build *b, const struct weft_tab_key *keys,
		      const struct weft_addr_key *addrs, size_t n)
{
	size_t each = keys ? sizeof(struct weft_img_ent) : sizeof(struct weft_img_addr_ent);

	for (uint32_t size = 4; size <= TAB_SIZE_MAX && !b->err; size *= 2) {
		struct weft_img_tab *t;
		uint32_t off = 0;
		bool fits;

		if (size < n * 2)
			continue;
		t = calloc(1, sizeof(*t) + size * each);
		if (!t) {
			b->err = -ENOMEM;
			return 0;
		}
		t->mask = size - 1;
		fits = keys ? tab_fill((void *)(t + 1), size, keys, n)
			    : addr_fill((void *)(t + 1), size, addrs, n);
		if (fits)
			off = weft_build_put(b, t, sizeof(*t) + size * each);
		free(t);
		if (fits)
			return off;
	}
	if (!b->err)
		weft_build_fail(b, "", "too many names of equal hash");
	return 0;
}

uint32_t weft_build_tab(struct weft_build *b, const struct weft_tab_key *keys, size_t n)
{
	return n ? build(b, keys, NULL, n) : 0;
}

uint32_t weft_build_addr_tab(struct weft_build *b, const struct weft_addr_key *keys, size_t n)
{
	return n ? build(b, NULL, keys, n) : 0;
}
