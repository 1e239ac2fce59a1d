/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/*
 * Token buckets, continuous as Envoy's since 2024: one word tells the time at which the bucket was empty. What it
 * holds is the time since then in units of a token's cost; taking a token moves the word on by one cost. So one
 * compare-and-swap takes a token, and no two takers get the same one.
 */

#include "bpf/engine/cell.h"

WEFT_INLINE __u64 weft_bucket_now(__u64 now_ns)
{
	return now_ns * 16 + WEFT_BUCKET_EPOCH;
}

/* When the bucket would have been empty, given that it holds at most `full`. */
WEFT_INLINE __u64 weft_bucket_base(__u64 word, __u64 now, __u64 full)
{
	__u64 least = now - full;

	return word > least ? word : least;
}

/* The word after a token is taken, 0: there is none. */
WEFT_INLINE __u64 weft_bucket_next(__u64 word, __u64 now, __u64 cost, __u64 full)
{
	__u64 base = weft_bucket_base(word, now, full);

	return base + cost <= now ? base + cost : 0;
}

/* 1: taken, 0: empty, -1: gave up (programs only). bucket: offset of a weft_img_bucket. */
WEFT_GLOBAL int weft_bucket_take_at(__u32 cell, __u32 bucket, __u64 now_ns)
{
	WEFT_IMG_BASE(-1);
	WEFT_STATE_BASE(-1);
	__u64 cost = WEFT_IMG(struct weft_img_bucket, bucket)->cost;
	__u64 full = WEFT_IMG(struct weft_img_bucket, bucket)->full;
	__u64 now = weft_bucket_now(now_ns);
	__u64 *p = &WEFT_STATE(struct weft_cell_bucket, cell)->word;
	__u64 old = WEFT_READ(*p);

	if (!WEFT_IMG(struct weft_img_bucket, bucket)->max_tokens)
		return 0;
	WEFT_FOR(i, WEFT_CAS_TRIES) {
		__u64 next = weft_bucket_next(old, now, cost, full);

		if (!next)
			return 0;
		__u64 got = WEFT_CAS(p, old, next);

		if (got == old)
			return 1;
		old = got;
	}
	return -1;
}

/* As weft_bucket_take_at(), of `hits` tokens; fewer than are asked for, or none asked for: 0. */
WEFT_GLOBAL int weft_bucket_pay_at(__u32 cell, __u32 bucket, __u64 hits, __u64 now_ns)
{
	WEFT_IMG_BASE(-1);
	WEFT_STATE_BASE(-1);
	__u64 cost = WEFT_IMG(struct weft_img_bucket, bucket)->cost;
	__u64 full = WEFT_IMG(struct weft_img_bucket, bucket)->full;
	__u64 now = weft_bucket_now(now_ns);
	__u64 *p = &WEFT_STATE(struct weft_cell_bucket, cell)->word;
	__u64 old = WEFT_READ(*p);

	if (!hits || hits > WEFT_IMG(struct weft_img_bucket, bucket)->max_tokens)
		return 0;
	WEFT_FOR(i, WEFT_CAS_TRIES)
	{
		__u64 next = weft_bucket_next(old, now, cost * hits, full);

		if (!next)
			return 0;
		__u64 got = WEFT_CAS(p, old, next);

		if (got == old)
			return 1;
		old = got;
	}
	return -1;
}

#ifndef __bpf__
int weft_bucket_pay(__u64 *word, const struct weft_img_bucket *b, __u64 hits, __u64 now_ns)
{
	__u64 now = weft_bucket_now(now_ns), base = weft_bucket_base(*word, now, b->full);

	if (!hits || hits > b->max_tokens || base + hits * b->cost > now)
		return 0;
	*word = base + hits * b->cost;
	return 1;
}

bool weft_bucket_is_full(__u64 word, __u64 full, __u64 now_ns)
{
	return word <= weft_bucket_now(now_ns) - full;
}
#endif

/* 1: a token is there. */
WEFT_GLOBAL int weft_bucket_look_at(__u32 cell, __u32 bucket, __u64 now_ns)
{
	WEFT_IMG_BASE(0);
	WEFT_STATE_BASE(0);
	__u64 cost = WEFT_IMG(struct weft_img_bucket, bucket)->cost;
	__u64 full = WEFT_IMG(struct weft_img_bucket, bucket)->full;

	if (!WEFT_IMG(struct weft_img_bucket, bucket)->max_tokens)
		return 0;
	if (!cell)
		return 1;
	return !!weft_bucket_next(WEFT_READ(WEFT_STATE(struct weft_cell_bucket, cell)->word),
				  weft_bucket_now(now_ns), cost, full);
}
