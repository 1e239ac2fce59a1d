/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/* HTTP filters of a connection manager, in chain order, each with its most specific configuration. */

#include "bpf/abi/rate.h"
#include "bpf/engine/cluster.h"
#include "bpf/engine/cors.h"
#include "bpf/engine/descriptor.h"
#include "bpf/engine/fault.h"
#include "bpf/engine/global.h"
#include "bpf/engine/limit.h"
#include "bpf/engine/rate.h"
#include "bpf/engine/rbac.h"

#define WEFT_PPM 1000000u

WEFT_INLINE int weft_chance(__u32 ppm, __u64 random)
{
	return ppm >= WEFT_PPM || (random >> 16) % WEFT_PPM < ppm;
}

#include "bpf/engine/question.h"

/* Which of n overrides at `list` names the filter: its offset, 0 none. */
WEFT_GLOBAL __u32 weft_override_find(__u32 list, __u32 n, __u32 key)
{
	WEFT_IMG_BASE(0);
	for (__u32 i = 0; i < WEFT_FILTERS_MAX; i++) {
		__u32 o = list + i * (__u32)sizeof(struct weft_img_override);

		if (i >= n)
			return 0;
		if (WEFT_IMG(struct weft_img_override, o)->key == key)
			return o;
	}
	return 0;
}

/*
 * typed_per_filter_config: weighted cluster, route, virtual host, route configuration; the first that names the
 * filter counts whole. Without a route there is none of them. rc: weft_img_route_config.
 */
WEFT_GLOBAL __u32 weft_override_specific(struct weft_req *req, __u32 rc, __u32 key)
{
	if (!req || !req->dec.route)
		return 0;
	WEFT_IMG_BASE(0);
	__u32 o = 0;

	if (req->dec.target) {
		struct weft_img_target *t = WEFT_IMG(struct weft_img_target, req->dec.target);

		if (t->n_override)
			o = weft_override_find(t->override, t->n_override, key);
	}
	struct weft_img_route *r = WEFT_IMG(struct weft_img_route, req->dec.route);

	if (r->index == WEFT_NO_ROUTE)
		return 0;
	if (!o && r->n_override)
		o = weft_override_find(r->override, r->n_override, key);
	struct weft_img_vhost *v = WEFT_IMG(struct weft_img_vhost, req->dec.vhost);

	if (!o && v->n_override)
		o = weft_override_find(v->override, v->n_override, key);
	struct weft_img_route_config *c = WEFT_IMG(struct weft_img_route_config, rc);

	if (!o && c->n_override)
		o = weft_override_find(c->override, c->n_override, key);
	return o;
}

/* The configuration that filter i acts with here, by its kind; 0: it does nothing. */
WEFT_GLOBAL __u32 weft_filter_config(struct weft_req *req, __u32 rc, __u32 filter)
{
	if (!req)
		return 0;
	WEFT_IMG_BASE(0);
	struct weft_img_filter *f = WEFT_IMG(struct weft_img_filter, filter);
	__u32 config = f->config, off = f->disabled, kind = f->kind;
	__u32 o = weft_override_specific(req, rc, f->key);

	if (!o && kind == WEFT_FILTER_CORS)
		o = weft_override_specific(req, rc, WEFT_CORS_KEY);
	/* of a global limit it stands beside the filter's own */
	if (o && kind == WEFT_FILTER_GLOBAL_LIMIT) {
		if (!WEFT_IMG(struct weft_img_override, o)->kind ||
		    WEFT_IMG(struct weft_img_override, o)->kind == kind)
			off = WEFT_IMG(struct weft_img_override, o)->disabled;
		return off ? 0 : config;
	}
	/* what is meant for another filter changes nothing, and hides what a less specific level says */
	if (o && (!WEFT_IMG(struct weft_img_override, o)->kind ||
		  WEFT_IMG(struct weft_img_override, o)->kind == kind)) {
		config = WEFT_IMG(struct weft_img_override, o)->config;
		off = WEFT_IMG(struct weft_img_override, o)->disabled;
	}
	return off ? 0 : config;
}

/* The weft_img_global_route of a global limit's filter for this request, 0: there is none. */
WEFT_INLINE __u32 weft_filter_route(struct weft_req *req, __u32 rc, __u32 filter)
{
	WEFT_IMG_BASE(0);
	__u32 o = weft_override_specific(req, rc, WEFT_IMG(struct weft_img_filter, filter)->key);

	if (!o || WEFT_IMG(struct weft_img_override, o)->kind != WEFT_FILTER_GLOBAL_LIMIT)
		return 0;
	return WEFT_IMG(struct weft_img_override, o)->config;
}

WEFT_INLINE __u32 weft_rate_id(const struct weft_img_rate_limit *l)
{
	return l->flags & WEFT_RATE_HAS_BUCKET ? l->bucket.cell : l->stats;
}

/* The cell that a rate limit counts in, 0: it is not enabled. Says what of it only the agent does. */
WEFT_INLINE __u32 weft_rate_prepare(struct weft_req *req, __u32 config)
{
	WEFT_IMG_BASE(0);
	struct weft_img_rate_limit *l = WEFT_IMG(struct weft_img_rate_limit, config);

	if (l->flags & WEFT_RATE_PER_CONNECTION)
		weft_hand(req, WEFT_HANDED_PER_CONNECTION);
	if ((l->n_descriptor && !l->place) || l->flags & WEFT_RATE_HEADERS)
		weft_hand(req, WEFT_HANDED_DESCRIPTORS);
	if (l->add && l->enabled && l->enforced < WEFT_PPM)
		weft_hand(req, WEFT_HANDED_SHADOW);
	return l->enabled ? weft_rate_id(l) : 0;
}

/*
 * First pass: configuration and cell (of a global limit its override) of each filter, to
 * scratch[2i] and [2i + 1]. So that a missing cell is found before any token is taken. 0; 1: the
 * agent must go on; -ENOENT: a cell is missing (dec.need_cell).
 */
WEFT_GLOBAL int weft_filter_prepare(struct weft_req *req, struct weft_ctx *ctx, __u32 rc, __u32 filter,
				    __u32 i)
{
	if (!req || !ctx)
		return 1;
	__u32 config = weft_filter_config(req, rc, filter), cell = 0;

	WEFT_IMG_BASE(1);
	__u32 kind = WEFT_IMG(struct weft_img_filter, filter)->kind;

	if (config && kind == WEFT_FILTER_GLOBAL_LIMIT) {
		cell = weft_filter_route(req, rc, filter);
		if (weft_global_may_ask(req, config, cell))
			weft_hand(req, WEFT_HANDED_GLOBAL_LIMIT);
		else
			config = 0;
		if (req->dec.handed)
			return 1;
	} else if (config) {
		__u32 id;

		if (kind == WEFT_FILTER_RBAC)
			id = WEFT_IMG(struct weft_img_rbac, config)->cell;
		else if (kind == WEFT_FILTER_FAULT)
			id = WEFT_IMG(struct weft_img_fault, config)->cell;
		else if (kind == WEFT_FILTER_CORS)
			id = weft_cors_prepare(req, config);
		else
			id = weft_rate_prepare(req, config);

		if (req->dec.handed)
			return 1;
		cell = id ? weft_cell_find(ctx->pod, id) : 0;
		if (id && !cell && !(ctx->flags & WEFT_CTX_EXPLAIN)) {
			req->dec.need_cell = id;
			weft_hand(req, WEFT_HANDED_NO_CELL);
			return -WEFT_ENOENT;
		}
		if (!id)
			config = 0;
	}
	req->scratch[WEFT_INDEX(i * 2, 15)] = config;
	req->scratch[WEFT_INDEX(i * 2 + 1, 15)] = cell;
	return 0;
}

WEFT_INLINE int weft_prepaid(const struct weft_ctx *ctx, __u32 cell)
{
	for (__u32 i = 0; i < WEFT_PAID_MAX; i++)
		if (i < ctx->n_prepaid && ctx->prepaid[i] == cell)
			return 1;
	return 0;
}

/* The cell gave its token for this head: whoever decides it again must not charge it again. */
WEFT_INLINE void weft_paid_put(struct weft_req *req, __u32 cell)
{
	__u32 n = req->dec.n_paid;

	if (n < WEFT_PAID_MAX) {
		req->dec.paid[WEFT_INDEX(n, 3)] = cell;
		req->dec.n_paid = n + 1;
	}
}
static_assert(WEFT_PAID_MAX == 4, "mask");

#ifndef __bpf__
/* A bucket of this connection alone. */
static int weft_conn_take(struct weft_ctx *ctx, const struct weft_img_bucket *b)
{
	struct weft_conn_limits *c = ctx->conn;
	__u32 i = 0;

	if (!c || !b->max_tokens)
		return b->max_tokens > 0;
	while (i < c->n && c->id[i] != b->cell)
		i++;
	if (i == WEFT_FILTERS_MAX)
		return 0; /* more rules than a manager has filters: cannot be */
	if (i == c->n) {
		c->id[i] = b->cell;
		c->word[i] = 0;
		c->n++;
	}
	__u64 next = weft_bucket_next(c->word[i], weft_bucket_now(ctx->now_ns), b->cost, b->full);

	if (next && !(ctx->flags & WEFT_CTX_EXPLAIN))
		c->word[i] = next;
	return next != 0;
}
#endif

#ifndef __bpf__
static __u64 weft_conn_word(const struct weft_ctx *ctx, __u32 id)
{
	const struct weft_conn_limits *c = ctx->conn;

	for (__u32 i = 0; c && i < c->n; i++)
		if (c->id[i] == id)
			return c->word[i];
	return 0;
}

static bool weft_paid(const struct weft_req *req, __u32 cell)
{
	for (__u32 i = 0; i < req->dec.n_paid && i < WEFT_PAID_MAX; i++)
		if (req->dec.paid[i] == cell)
			return true;
	return false;
}
#endif

/* 1: a token was there (and is taken unless explaining), 0: none, -1: contended. */
WEFT_GLOBAL int weft_rate_take(struct weft_req *req, struct weft_ctx *ctx, __u32 config, __u32 cell)
{
	if (!req || !ctx)
		return -1;
	WEFT_IMG_BASE(-1);
	struct weft_img_rate_limit *l = WEFT_IMG(struct weft_img_rate_limit, config);
	__u32 bucket = config + (__u32)offsetof(struct weft_img_rate_limit, bucket);

	if (!(l->flags & WEFT_RATE_HAS_BUCKET))
		return 1;
#ifndef __bpf__
	if (l->flags & WEFT_RATE_PER_CONNECTION)
		return weft_conn_take(ctx, &l->bucket);
#endif
	if (ctx->flags & WEFT_CTX_EXPLAIN)
		return weft_bucket_look_at(cell, bucket, ctx->now_ns);
	int r = weft_bucket_take_at(cell, bucket, ctx->now_ns);

	if (r > 0)
		weft_paid_put(req, cell);
	return r;
}

#ifndef __bpf__
/* What its own bucket has is told where it refuses, or no descriptor was there to tell of. */
static void weft_rate_tell_own(struct weft_req *req, const struct weft_ctx *ctx,
			       const struct weft_img_rate_limit *l, __u32 cell)
{
	__u64 word = cell ? WEFT_READ(weft_cell_bucket(cell)->word) : 0;

	if (!(l->flags & WEFT_RATE_HEADERS) || !(l->flags & WEFT_RATE_HAS_BUCKET))
		return;
	if (l->flags & WEFT_RATE_PER_CONNECTION)
		word = weft_conn_word(ctx, l->bucket.cell);
	weft_rate_tell(req, &l->bucket, word, ctx->now_ns);
}

/* weft_rate_take() with descriptors and what is told. */
static int weft_rate_take_full(struct weft_req *req, struct weft_ctx *ctx, __u32 config, __u32 cell,
			       bool again)
{
	const struct weft_img_rate_limit *l = weft_img_at(config);
	__u32 before = req->n_told;
	bool any;
	enum weft_rate_verdict v = weft_rate_descriptors(req, ctx, l, again, &any);
	int r = v != WEFT_RATE_REFUSED;

	if (v == WEFT_RATE_BUCKET && !again)
		r = weft_rate_take(req, ctx, config, cell);
	if (v == WEFT_RATE_BUCKET && !r)
		req->n_told = before;
	if (v == WEFT_RATE_BUCKET && (!r || (r > 0 && !any)))
		weft_rate_tell_own(req, ctx, l, cell);
	if (r > 0 && l->n_descriptor && !weft_paid(req, cell))
		weft_paid_put(req, cell);
	return r;
}
#endif

#ifdef __bpf__
/* weft_rate_take() where descriptors count: weft_rate_match() found them. */
WEFT_GLOBAL int weft_rate_take_full(struct weft_req *req, struct weft_ctx *ctx, __u32 config,
				    __u32 cell)
{
	if (!req || !ctx)
		return -1;
	WEFT_IMG_BASE(-1);
	__u32 flags = WEFT_IMG(struct weft_img_rate_limit, config)->flags;
	__u32 n = req->dec.n_paid;
	int r = weft_rate_pay(req, ctx);

	if (r > 0 && !(req->rate.n_pay && flags & WEFT_RATE_SPARE)) {
		r = weft_rate_take(req, ctx, config, cell);
		if (r < 0)
			weft_rate_give_back(req);
	}
	if (r > 0 && req->dec.n_paid == n)
		weft_paid_put(req, cell);
	return r;
}
#endif

/*
 * Local rate limit i (Envoy's LocalRateLimit filter): 0: goes on, 1: refused, or the agent must go on. What
 * another side paid for this head is not charged and not counted again.
 */
WEFT_GLOBAL int weft_rate_run(struct weft_req *req, struct weft_ctx *ctx, __u32 i, __u64 random)
{
	if (!req || !ctx)
		return 1;
	__u32 config = req->scratch[WEFT_INDEX(i * 2, 15)];
	__u32 cell = req->scratch[WEFT_INDEX(i * 2 + 1, 15)];

	WEFT_IMG_BASE(1);
	struct weft_img_rate_limit *l = WEFT_IMG(struct weft_img_rate_limit, config);
	__u32 counts = !(ctx->flags & WEFT_CTX_EXPLAIN);

	if (weft_prepaid(ctx, cell)) {
		weft_paid_put(req, cell);
#ifndef __bpf__
		weft_rate_take_full(req, ctx, config, cell, true);
#endif
		return 0;
	}
	if (!weft_chance(l->enabled, random)) {
		WEFT_TRACE(req, "rate_limit", "filter_enabled: not this time");
		return 0;
	}
	if (WEFT_KERNEL && req->dec.n_paid >= WEFT_PAID_MAX) {
		weft_hand(req, WEFT_HANDED_UNBOUNDED);
		return 1;
	}
#ifdef __bpf__
	int r = l->n_descriptor ? weft_rate_take_full(req, ctx, config, cell)
				: weft_rate_take(req, ctx, config, cell);
#else
	int r = weft_rate_take_full(req, ctx, config, cell, false);
#endif

	if (r < 0) {
		weft_hand(req, WEFT_HANDED_CONTENDED);
		return 1;
	}
	if (counts)
		WEFT_COUNT(cell, struct weft_cell_bucket, enabled);
	if (r) {
		WEFT_TRACE(req, "rate_limit", "a token is there");
		if (counts)
			WEFT_COUNT(cell, struct weft_cell_bucket, ok);
		return 0;
	}
	if (counts)
		WEFT_COUNT(cell, struct weft_cell_bucket, rate_limited);
	if (weft_chance(l->enforced, weft_random_next(random))) {
		WEFT_TRACE(req, "rate_limit", "no token: refused");
		if (counts)
			WEFT_COUNT(cell, struct weft_cell_bucket, enforced);
		if (l->flags & WEFT_RATE_EXHAUSTED)
			req->dec.grpc = 8 + 1;
		req->dec.outcome = WEFT_OUTCOME_RATE_LIMITED;
		req->dec.reply = l->reply;
		return 1;
	}
	WEFT_TRACE(req, "rate_limit", "no token, not enforced");
	weft_paid_put(req, cell);
#ifndef __bpf__
	if (l->add)
		req->dec.add[req->dec.n_add++ & (WEFT_FILTERS_MAX - 1)] = l->add;
#endif
	return 0;
}

/* Refused by the bucket of `config`, before any other filter did anything. */
WEFT_INLINE void weft_rate_empty_set(struct weft_req *req, __u32 config, __u32 cell)
{
	WEFT_IMG_BASE();
	struct weft_img_rate_limit *l = WEFT_IMG(struct weft_img_rate_limit, config);

	if (req->dec.outcome != WEFT_OUTCOME_RATE_LIMITED || l->enabled < WEFT_PPM ||
	    l->enforced < WEFT_PPM || l->n_descriptor || l->flags & WEFT_RATE_PER_CONNECTION)
		return;
	req->dec.empty_cell = cell;
	req->dec.empty_bucket = config + (__u32)offsetof(struct weft_img_rate_limit, bucket);
}

/* All filters. 0: go on to the router; 1: decided or handed; -ENOENT: a cell is missing. */
WEFT_GLOBAL int weft_filters_run(struct weft_req *req, struct weft_ctx *ctx, __u32 rc, __u64 random)
{
	if (!req || !ctx)
		return 1;
	WEFT_IMG_BASE(1);
	__u32 n = WEFT_IMG(struct weft_img_hcm, req->dec.hcm)->n_filter;
	__u32 off = WEFT_IMG(struct weft_img_hcm, req->dec.hcm)->filter, acted = 0;

	for (__u32 i = 0; i < WEFT_FILTERS_MAX; i++) {
		if (i >= n)
			break;
		int r = weft_filter_prepare(req, ctx, rc,
					    off + i * (__u32)sizeof(struct weft_img_filter), i);

		if (r)
			return r;
	}
	for (__u32 i = 0; i < WEFT_FILTERS_MAX; i++) {
		if (i >= n)
			break;
		random = weft_random_next(random);
		__u32 config = req->scratch[WEFT_INDEX(i * 2, 15)], kind, cell;

		if (!config)
			continue;
		kind = WEFT_IMG(struct weft_img_filter, off + i * (__u32)sizeof(struct weft_img_filter))->kind;
		cell = req->scratch[WEFT_INDEX(i * 2 + 1, 15)];
		int r;
#ifndef __bpf__
		__u32 flags = ctx->flags;

		/* a request that has waited is judged again, and not counted again */
		if (i < ctx->passed && (kind == WEFT_FILTER_RBAC || kind == WEFT_FILTER_CORS))
			ctx->flags |= WEFT_CTX_EXPLAIN;
#endif

		if (kind == WEFT_FILTER_RBAC)
			r = weft_rbac_run(req, ctx, config, cell);
		else if (kind == WEFT_FILTER_FAULT)
			r = weft_fault_run(req, ctx, config, cell, random);
#ifndef __bpf__
		else if (kind == WEFT_FILTER_GLOBAL_LIMIT)
			r = weft_global_run(
				req, ctx, config, cell, i,
				((const struct weft_img_filter *)weft_img_at(off))[i].key, random);
		else if (kind == WEFT_FILTER_CORS)
			r = weft_cors_run(
				req, ctx, config, cell,
				weft_chance(WEFT_IMG(struct weft_img_cors, config)->enabled,
					    random),
				weft_chance(WEFT_IMG(struct weft_img_cors, config)->shadow,
					    weft_random_next(random)));
#else
		else if (WEFT_IMG(struct weft_img_rate_limit, config)->n_descriptor &&
			 weft_rate_match(req, ctx, config))
			r = 1;
#endif
		else
			r = weft_rate_run(req, ctx, i, random);
#ifndef __bpf__
		ctx->flags = flags;
		req->ran = req->asks ? i : i + 1;
#endif
		if (r && !acted)
			weft_rate_empty_set(req, config, cell);
		if (r)
			return 1;
		acted = 1;
	}
	return 0;
}
