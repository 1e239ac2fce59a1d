/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Allocator over a range of 32-bit offsets; it never touches the memory itself, so the image holds
 * objects and nothing else. Free runs are joined at once. One thread.
 */

#include <stdint.h>

struct weft_arena;

/* One allocated run. Opaque but for its place. */
struct weft_run {
	uint32_t off;
	uint32_t len; /* bytes, a multiple of 8 */
};

/* Offsets first..end-1, both multiples of 8. -ENOMEM. */
int weft_arena_new(uint32_t first, uint32_t end, struct weft_arena **ret);
void weft_arena_free(struct weft_arena *a);
/* len bytes, rounded up to 8. -ENOSPC: no free run is long enough; -ENOMEM. */
int weft_arena_get(struct weft_arena *a, uint32_t len, struct weft_run **ret);
void weft_arena_put(struct weft_arena *a, struct weft_run *run);
/* Bytes given out. */
uint64_t weft_arena_used(const struct weft_arena *a);
