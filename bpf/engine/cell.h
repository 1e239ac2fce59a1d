/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/* The directory of cells, and the places of breakers. */

#include "bpf/engine/mem.h"

/* The agent writes an entry's cell before its key, and an entry's key never changes but to "deleted". */
WEFT_API __u32 weft_cell_find(__u32 pod, __u32 id)
{
	WEFT_STATE_BASE(0);
	__u32 dir = WEFT_STATE(struct weft_state_head, 0)->dir;
	__u32 mask = WEFT_STATE(struct weft_state_head, 0)->n_dir - 1;
	__u64 key = (__u64)pod << 32 | id;
	__u32 hash = weft_cell_hash(pod, id);

	for (__u32 i = 0; i < WEFT_DIR_PROBES; i++) {
		struct weft_dir_ent *e = WEFT_STATE(
			struct weft_dir_ent, dir + ((hash + i) & mask) * (__u32)sizeof(*e));
		__u64 k = WEFT_READ(e->key);

		if (!k)
			return 0;
		if (k == key)
			return e->cell;
	}
	return 0;
}

/* A place of a breaker: 1 taken, 0 full. word: offset in state. */
WEFT_GLOBAL int weft_place_take_at(__u32 word, __u32 max)
{
	WEFT_STATE_BASE(0);
	__u32 *p = WEFT_STATE32(word);
	__u32 old = WEFT_READ(*p);

	WEFT_FOR(i, WEFT_CAS_TRIES) {
		if (old >= max)
			return 0;
		__u32 got = WEFT_CAS(p, old, old + 1);

		if (got == old)
			return 1;
		old = got;
	}
	return 0;
}

/*
 * Gives a place back: 1; 0 when none was taken. Never below zero for longer than this: a place
 * given back twice must not open the breaker for ever (while it is, nobody takes one). No loop that
 * could give up: a lost place would close it.
 */
WEFT_GLOBAL int weft_place_put_at(__u32 word)
{
	WEFT_STATE_BASE(0);
	__u32 *p = WEFT_STATE32(word);

	if ((__s32)__sync_fetch_and_add(p, -1u) > 0)
		return 1;
	__sync_fetch_and_add(p, 1);
	return 0;
}

WEFT_INLINE void weft_count(__u32 off)
{
#ifdef __bpf__
	__u32 key = 0;
	__u8 *state_base = bpf_map_lookup_elem(&state, &key);

	if (!state_base)
		return;
#else
	__u8 *state_base = weft_bound.state;
#endif
	WEFT_ADD(WEFT_STATE(__u64, off), 1);
}
#define WEFT_COUNT(cell, type, field) weft_count((cell) + (__u32)offsetof(type, field))
