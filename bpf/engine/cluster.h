/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/* Choice of a target by weight, and of an endpoint by priority and load-balancing policy (xDS Cluster.lb_policy). */

#include "bpf/engine/cell.h"
#include "bpf/engine/consistent.h"
#include "bpf/engine/moving.h"
#include "bpf/engine/subset.h"
#include "bpf/engine/text.h"

/* Hosts that least request compares at most; Envoy's default is 2. */
#define WEFT_CHOICES_MAX 8u

/* Independent bits from one random word. */
WEFT_INLINE __u64 weft_random_next(__u64 random)
{
	return weft_mix(random + 0x9E3779B97F4A7C15ull, random >> 29);
}

/*
 * header_name of weighted clusters: the number in this header stands for the random one (absl's SimpleAtoi of a uint64;
 * anything else, several lines or none leave it random). slot: weft_img_targets.slot.
 */
WEFT_GLOBAL __u64 weft_target_number(struct weft_req *req, __u32 slot, __u64 random)
{
	__u64 n = 0;

	if (!req || !slot)
		return random;
	slot = (slot - 1) & (WEFT_NAMES_MAX - 1);
	if (!(req->present >> slot & 1) || req->repeated >> slot & 1)
		return random;
	__u32 off = WEFT_VALUE(req, slot)->off, len = WEFT_VALUE(req, slot)->len;

	if (len && *weft_head_at(req, off) == '+') {
		off++;
		len--;
	}
	if (!len)
		return random;
	if (WEFT_KERNEL && len > WEFT_NUMBER_MAX) {
		weft_hand(req, WEFT_HANDED_UNBOUNDED);
		return random;
	}
	WEFT_FOR(i, WEFT_NUMBER_MAX) {
		if (i >= len)
			break;
		__u32 c = (__u32)*weft_head_at(req, off + i) - '0';

		/* 2^64 - 1 ends in 5 */
		if (c > 9 || n > ~0ull / 10 || (n == ~0ull / 10 && c > 5))
			return random;
		n = n * 10 + c;
	}
	return n;
}

/* Picks a weighted target: offset of its weft_img_target. */
WEFT_API __u32 weft_target_choose(__u32 targets, __u64 random)
{
	WEFT_IMG_BASE(0);
	__u32 n = WEFT_IMG(struct weft_img_targets, targets)->n;
	__u64 total = WEFT_IMG(struct weft_img_targets, targets)->total;
	__u32 first = targets + (__u32)sizeof(struct weft_img_targets);

	if (n <= 1 || !total)
		return n ? first : 0;
	__u64 pick = random % total;

	for (__u32 i = 0; i < WEFT_TARGETS_MAX; i++) {
		__u32 t = first + i * (__u32)sizeof(struct weft_img_target);

		if (i >= n)
			break;
		if (pick < WEFT_IMG(struct weft_img_target, t)->end)
			return t;
	}
	return 0;
}

/* The host set that takes this request, by the priorities' loads. 0: none has load. */
WEFT_GLOBAL __u32 weft_set_choose(__u32 endpoints, __u64 random)
{
	WEFT_IMG_BASE(0);
	__u32 n = WEFT_IMG(struct weft_img_endpoints, endpoints)->n_set;
	__u32 off = WEFT_IMG(struct weft_img_endpoints, endpoints)->set;
	__u32 pick = (__u32)(random % 100) + 1;

	for (__u32 i = 0; i < WEFT_PRIORITIES_MAX; i++) {
		__u32 s = off + i * (__u32)sizeof(struct weft_img_host_set);

		if (i >= n)
			break;
		if (pick <= WEFT_IMG(struct weft_img_host_set, s)->load_end)
			return s;
	}
	return 0;
}

/* 1: some host may be chosen; 0: whatever is picked, there is none. */
WEFT_GLOBAL int weft_endpoints_usable(__u32 endpoints)
{
	if (!endpoints)
		return 0;
	WEFT_IMG_BASE(0);
	__u32 n = WEFT_IMG(struct weft_img_endpoints, endpoints)->n_set;
	__u32 off = WEFT_IMG(struct weft_img_endpoints, endpoints)->set;

	for (__u32 i = 0; i < WEFT_PRIORITIES_MAX; i++) {
		__u32 s = off + i * (__u32)sizeof(struct weft_img_host_set);

		if (i >= n)
			break;
		if (WEFT_IMG(struct weft_img_host_set, s)->n_host)
			return 1;
	}
	return 0;
}

/*
 * Host of turn m, below the period of the root, by the tree of splits at that offset: its index << 32 | how many turns
 * it had before in this period.
 */
WEFT_INLINE __u64 weft_split_at(__u32 splits, __u32 m)
{
	WEFT_IMG_BASE(0);
	__u32 s = splits;

	for (__u32 i = 0; i < WEFT_SPLITS_MAX; i++) {
		__u64 period = WEFT_IMG(struct weft_img_split, s)->period;
		__u64 weight = WEFT_IMG(struct weft_img_split, s)->weight;
		/* below 2^64: m < period < 2^32 and weight < period */
		__u64 x = m * weight + period / 2;
		__u32 first = (__u32)(period ? x / period : 0), child;

		if (x - first * period + weight >= period) {
			child = WEFT_IMG(struct weft_img_split, s)->child[0];
			m = first;
		} else {
			child = WEFT_IMG(struct weft_img_split, s)->child[1];
			m -= first;
		}
		if (child & WEFT_SPLIT_HOST)
			return (__u64)(child & ~WEFT_SPLIT_HOST) << 32 | m;
		s = splits + child * (__u32)sizeof(struct weft_img_split);
	}
	return 0;
}

/* Host at place i of the set's order: its schedule when weights differ. Index into the set's hosts. */
WEFT_GLOBAL __u32 weft_set_at(__u32 set, __u32 i)
{
	WEFT_IMG_BASE(0);
	__u32 n = WEFT_IMG(struct weft_img_host_set, set)->n_schedule;
	__u32 schedule = WEFT_IMG(struct weft_img_host_set, set)->schedule;

	if (n > WEFT_SCHEDULE_MAX)
		return (__u32)(weft_split_at(schedule, i % n) >> 32);
	if (n)
		return *WEFT_IMG(__u16, schedule + (i % n) * 2);
	n = WEFT_IMG(struct weft_img_host_set, set)->n_host;
	return n ? i % n : 0;
}

/*
 * Locality whose turn i is, of a set that has some: offset of its weft_img_host_set << 32 | the number of the turn
 * among its own, by which it lets its hosts take theirs.
 */
WEFT_GLOBAL __u64 weft_part_at(__u32 set, __u32 i)
{
	WEFT_IMG_BASE(0);
	__u32 n = WEFT_IMG(struct weft_img_host_set, set)->n_schedule;
	__u32 schedule = WEFT_IMG(struct weft_img_host_set, set)->schedule;
	__u32 period = n ? n : WEFT_IMG(struct weft_img_host_set, set)->n_part;
	__u32 m = period ? i % period : 0, index = m, before = 0;

	if (n > WEFT_SCHEDULE_MAX) {
		__u64 at = weft_split_at(schedule, m);

		index = (__u32)(at >> 32);
		before = (__u32)at;
	} else if (n) {
		index = *WEFT_IMG(__u16, schedule + m * 2);
		before = *WEFT_IMG(__u16, schedule + (n + m) * 2);
	}
	__u32 part = WEFT_IMG(struct weft_img_host_set, set)->part +
		     index * (__u32)sizeof(struct weft_img_host_set);

	before += (period ? i / period : 0) * WEFT_IMG(struct weft_img_host_set, part)->turns;
	return (__u64)part << 32 | before;
}

/* Offset of the weft_img_endpoint that is host h of the set. */
WEFT_GLOBAL __u32 weft_set_endpoint(__u32 endpoints, __u32 set, __u32 h)
{
	WEFT_IMG_BASE(0);
	__u32 host = WEFT_IMG(struct weft_img_host_set, set)->host;
	__u32 index = *WEFT_IMG(__u32, host + h * 4);

	return WEFT_IMG(struct weft_img_endpoints, endpoints)->endpoint +
	       index * (__u32)sizeof(struct weft_img_endpoint);
}

/* Next place of the cluster's round robin in this pod. */
WEFT_GLOBAL __u32 weft_cursor_next(__u32 cell, __u32 peek)
{
	WEFT_STATE_BASE(0);
	if (!cell)
		return 0;
	__u32 *p = &WEFT_STATE(struct weft_cell_cluster, cell)->cursor;

	return peek ? WEFT_READ(*p) : __sync_fetch_and_add(p, 1);
}

/*
 * Least request: of `choices` hosts the one with the least active requests for its weight. With equal weights all are
 * drawn at random; else by the schedule, the first in turn (the low half of random), so that without load shares are
 * the weights'. Whatever the load, a host of share p gets from p^choices to 1 - (1 - p)^choices. (Envoy divides the
 * weight by active + 1 in its schedule: the same without load, weights' shares when all have equal load, no such
 * bounds.)
 */
WEFT_GLOBAL __u32 weft_least_choose(const struct weft_ctx *ctx, __u32 choices, __u32 endpoints,
				    __u32 set, __u64 random)
{
	__u32 best = 0;
	__u64 best_active = 0, best_weight = 1;

	if (!ctx)
		return 0;
	WEFT_IMG_BASE(0);
	WEFT_STATE_BASE(0);
	for (__u32 i = 0; i < WEFT_CHOICES_MAX; i++) {
		if (i >= choices)
			break;
		__u32 h = weft_set_at(set, (__u32)(i ? random >> 32 : random));
		__u32 e = weft_set_endpoint(endpoints, set, h);
		__u32 cell = weft_cell_find(ctx->pod, WEFT_IMG(struct weft_img_endpoint, e)->cell);
		__u64 active = cell ? WEFT_READ(WEFT_STATE(struct weft_cell_endpoint, cell)->rq_active) : 0;
		__u64 weight = WEFT_IMG(struct weft_img_endpoint, e)->weight;

		if (!i || active * best_weight < best_active * weight) {
			best = h;
			best_active = active;
			best_weight = weight ? weight : 1;
		}
		random = weft_random_next(random);
	}
	return best;
}

/* Index into the set's hosts of a hash's attempt-th choice, -ENOENT: none. */
WEFT_INLINE int weft_hashed_at(__u32 set, __u32 lb, __u64 hash, __u32 attempt)
{
	WEFT_IMG_BASE(-WEFT_ENOENT);
	__u32 n = set ? WEFT_IMG(struct weft_img_host_set, set)->n_table : 0;

	if (!n)
		return -WEFT_ENOENT;
	__u32 at = weft_table_at(set, n, lb, hash, attempt);

	return *WEFT_IMG(__u16, WEFT_IMG(struct weft_img_host_set, set)->table + at * 2);
}

/* Index into weft_img_endpoints.endpoint of a hash's attempt-th choice, -ENOENT: none. */
WEFT_API int weft_endpoint_hashed(__u32 endpoints, __u32 lb, __u64 hash, __u32 attempt)
{
	__u32 set = endpoints ? weft_set_choose(endpoints, hash) : 0;
	int h = weft_hashed_at(set, lb, hash, attempt);

	if (h < 0)
		return h;
	WEFT_IMG_BASE(-WEFT_ENOENT);
	return (int)*WEFT_IMG(__u32, WEFT_IMG(struct weft_img_host_set, set)->host + (__u32)h * 4);
}

#ifndef __bpf__
int weft_endpoint_bounded(const struct weft_ctx *ctx, __u32 cluster, __u32 endpoints, __u64 hash,
			  __u32 attempt)
{
	const struct weft_img_cluster *c = weft_img_at(cluster);
	__u32 set = endpoints ? weft_set_choose(endpoints, hash) : 0;
	int h = weft_hashed_at(set, c->lb, hash, attempt);

	if (h >= 0)
		h = (int)weft_bounded(ctx, c, endpoints, set, hash, (__u32)h);
	return h < 0 ? h
		     : (int)((const __u32 *)weft_img_at(
			       ((const struct weft_img_host_set *)weft_img_at(set))->host))[h];
}
#endif

/*
 * Index into weft_img_endpoints.endpoint; -ENOENT: no healthy upstream; -EAGAIN: *ret_need is a state id without a
 * cell.
 */
WEFT_API int weft_endpoint_choose(const struct weft_ctx *ctx, __u32 cluster, __u32 endpoints,
				  __u64 random, __u32 *ret_need)
{
	if (!ctx || !ret_need || !endpoints)
		return -WEFT_ENOENT;
	WEFT_IMG_BASE(-WEFT_ENOENT);
	struct weft_img_cluster *c = WEFT_IMG(struct weft_img_cluster, cluster);
	__u32 lb = c->lb, id = c->cell, own = WEFT_IMG(struct weft_img_endpoints, endpoints)->cursor, cell, h;

#ifndef __bpf__
	if (lb >= WEFT_LB_RING_HASH)
		return weft_endpoint_bounded(ctx, cluster, endpoints, random, 0);
#endif
	if (lb >= WEFT_LB_RING_HASH)
		return weft_endpoint_hashed(endpoints, lb, random, 0);
	__u32 set = weft_set_choose(endpoints, random), explain = ctx->flags & WEFT_CTX_EXPLAIN, turn = 0;

	if (!set || !WEFT_IMG(struct weft_img_host_set, set)->n_host)
		return -WEFT_ENOENT;
	random = weft_random_next(random);
	__u32 parts = WEFT_IMG(struct weft_img_host_set, set)->n_part;

	if (own)
		id = own;
	if (lb != WEFT_LB_RANDOM || parts) {
		cell = weft_cell_find(ctx->pod, id);
		if (!cell && !explain) {
			*ret_need = id;
			return -WEFT_EAGAIN;
		}
		if (lb == WEFT_LB_ROUND_ROBIN || parts ||
		    WEFT_IMG(struct weft_img_host_set, set)->n_schedule)
			turn = weft_cursor_next(cell, explain);
	}
	if (parts) {
		__u64 part = weft_part_at(set, turn);

		set = (__u32)(part >> 32);
		turn = (__u32)part;
	}
	__u32 choices = WEFT_IMG(struct weft_img_cluster, cluster)->choice_count;
#ifndef __bpf__
	int moving = weft_moving_choose(ctx, cluster, endpoints, set, random);

	if (moving < 0 && lb == WEFT_LB_LEAST_REQUEST && choices > WEFT_CHOICES_MAX)
		moving = (int)weft_least_of_many(ctx, choices, endpoints, set);
	if (moving >= 0)
		return (int)*WEFT_IMG(__u32, WEFT_IMG(struct weft_img_host_set, set)->host +
						     (__u32)moving * 4);
#endif
	if (lb == WEFT_LB_RANDOM) {
		__u32 n = WEFT_IMG(struct weft_img_host_set, set)->n_host;

		h = n ? (__u32)((random >> 32) % n) : 0;
	} else if (lb == WEFT_LB_LEAST_REQUEST) {
		if (WEFT_IMG(struct weft_img_host_set, set)->n_schedule)
			random = (random & ~0xffffffffull) | turn;
		h = weft_least_choose(ctx, choices, endpoints, set, random);
	} else {
		h = weft_set_at(set, turn);
	}
	return (int)*WEFT_IMG(__u32, WEFT_IMG(struct weft_img_host_set, set)->host + h * 4);
}
