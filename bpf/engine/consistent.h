/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/* RING_HASH and MAGLEV: an endpoint by the hash of a request, from the tables that agent/compile/hashing.c makes. */

#include "bpf/engine/mem.h"

struct weft_ring_search {
	__u64 hash;
	__u32 ring, lo, hi;
};

static long weft_ring_step(__u32 i, void *p)
{
	struct weft_ring_search *s = p;
	WEFT_IMG_BASE(1);

	(void)i;
	if (s->lo >= s->hi)
		return 1;
	__u32 mid = s->lo + (s->hi - s->lo) / 2;

	if (*WEFT_IMG(__u64, s->ring + mid * 8) < s->hash)
		s->lo = mid + 1;
	else
		s->hi = mid;
	return 0;
}

/* Place of the first entry whose hash is not below this one; behind the last comes the first. */
WEFT_GLOBAL __u32 weft_ring_find(__u32 set, __u64 hash)
{
	WEFT_IMG_BASE(0);
	__u32 n = WEFT_IMG(struct weft_img_host_set, set)->n_table;
	struct weft_ring_search s = {
		.hash = hash, .ring = WEFT_IMG(struct weft_img_host_set, set)->ring, .hi = n
	};

	WEFT_LOOP(WEFT_RING_STEPS, weft_ring_step, &s);
	return s.lo < n ? s.lo : 0;
}

/* Place in the table of the attempt-th choice of this hash. */
WEFT_INLINE __u32 weft_table_at(__u32 set, __u32 n, __u32 lb, __u64 hash, __u32 attempt)
{
	if (lb == WEFT_LB_RING_HASH)
		return (__u32)(((__u64)weft_ring_find(set, hash) + attempt) % n);
	if (attempt)
		hash ^= ~0ull - attempt + 1;
	return (__u32)(hash % n);
}

#ifndef __bpf__
WEFT_INLINE __u64 weft_xx_rotl(__u64 x, __u32 n)
{
	return x << n | x >> (64 - n);
}

WEFT_INLINE __u64 weft_xx_load(const __u8 *p, __u32 n)
{
	__u64 w = 0;

	memcpy(&w, p, n);
	return w;
}

#define WEFT_XX1 0x9E3779B185EBCA87ull
#define WEFT_XX2 0xC2B2AE3D27D4EB4Full
#define WEFT_XX3 0x165667B19E3779F9ull
#define WEFT_XX4 0x85EBCA77C2B2AE63ull
#define WEFT_XX5 0x27D4EB2F165667C5ull

WEFT_INLINE __u64 weft_xx_round(__u64 acc, __u64 w)
{
	return weft_xx_rotl(acc + w * WEFT_XX2, 31) * WEFT_XX1;
}

/* The stripes of 32 bytes: four lanes, then joined. *ret_p is moved behind them. */
static __u64 weft_xx_stripes(const __u8 **ret_p, const __u8 *end, __u64 seed)
{
	__u64 lane[4] = { seed + WEFT_XX1 + WEFT_XX2, seed + WEFT_XX2, seed, seed - WEFT_XX1 };
	const __u8 *p = *ret_p;
	__u64 h;

	for (; end - p >= 32; p += 32)
		for (__u32 i = 0; i < 4; i++)
			lane[i] = weft_xx_round(lane[i], weft_xx_load(p + 8 * i, 8));
	h = weft_xx_rotl(lane[0], 1) + weft_xx_rotl(lane[1], 7) + weft_xx_rotl(lane[2], 12) +
	    weft_xx_rotl(lane[3], 18);
	for (__u32 i = 0; i < 4; i++)
		h = (h ^ weft_xx_round(0, lane[i])) * WEFT_XX1 + WEFT_XX4;
	*ret_p = p;
	return h;
}

__u64 weft_hash_xx64(const void *bytes, size_t len, __u64 seed)
{
	const __u8 *p = bytes, *end = p + len;
	__u64 h = len >= 32 ? weft_xx_stripes(&p, end, seed) : seed + WEFT_XX5;

	h += len;
	for (; end - p >= 8; p += 8)
		h = weft_xx_rotl(h ^ weft_xx_round(0, weft_xx_load(p, 8)), 27) * WEFT_XX1 + WEFT_XX4;
	if (end - p >= 4) {
		h = weft_xx_rotl(h ^ weft_xx_load(p, 4) * WEFT_XX1, 23) * WEFT_XX2 + WEFT_XX3;
		p += 4;
	}
	for (; p < end; p++)
		h = weft_xx_rotl(h ^ *p * WEFT_XX5, 11) * WEFT_XX1;
	h = (h ^ h >> 33) * WEFT_XX2;
	h = (h ^ h >> 29) * WEFT_XX3;
	return h ^ h >> 32;
}
#endif
