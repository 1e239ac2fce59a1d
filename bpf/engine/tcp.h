/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/* A connection of a TCP chain: limits, target, breaker, endpoint; in connect() or in the agent. */

#include "bpf/engine/cluster.h"
#include "bpf/engine/limit.h"
#include "bpf/engine/outlier.h"
#include "bpf/engine/rbac.h"

/* Network local rate limits: 0 goes on, 1 refused, -EAGAIN a cell is missing. pass 0 looks for cells only. */
WEFT_GLOBAL int weft_conn_limits_run(struct weft_ctx *ctx, __u32 chain, __u32 *ret_need, __u32 take)
{
	if (!ctx || !ret_need)
		return 1;
	if (ctx->flags & WEFT_CTX_LIMITS_PAID)
		return 0;
	WEFT_IMG_BASE(1);
	__u32 n = WEFT_IMG(struct weft_img_chain, chain)->n_conn_limit;

	for (__u32 i = 0; i < WEFT_CONN_LIMITS_MAX; i++) {
		if (i >= n)
			return 0;
		__u32 b = *WEFT_IMG(__u32, chain + offsetof(struct weft_img_chain, conn_limit) + i * 4);
		__u32 id = WEFT_IMG(struct weft_img_bucket, b)->cell, cell = weft_cell_find(ctx->pod, id);

		if (ctx->flags & WEFT_CTX_EXPLAIN) {
			if (take && !weft_bucket_look_at(cell, b, ctx->now_ns))
				return 1;
			continue;
		}
		if (!cell) {
			*ret_need = id;
			return -WEFT_EAGAIN;
		}
		if (!take)
			continue;
		if (weft_bucket_take_at(cell, b, ctx->now_ns) <= 0) {
			WEFT_COUNT(cell, struct weft_cell_bucket, rate_limited);
			return 1;
		}
		WEFT_COUNT(cell, struct weft_cell_bucket, ok);
	}
	return 0;
}

/* Cluster of the chosen target; its cell. 0, or an outcome, or -EAGAIN. */
WEFT_GLOBAL int weft_tcp_cluster(struct weft_ctx *ctx, __u32 chain, struct weft_tcp *ret,
				 __u32 *ret_endpoints)
{
	if (!ctx || !ret || !ret_endpoints)
		return WEFT_OUTCOME_REFUSED_NO_CLUSTER;
	WEFT_IMG_BASE(WEFT_OUTCOME_REFUSED_NO_CLUSTER);
	struct weft_img_view *v = WEFT_IMG(struct weft_img_view, ctx->view_off);
	__u32 n = v->n_cluster, tab = v->cluster;
	__u32 t = weft_target_choose(WEFT_IMG(struct weft_img_chain, chain)->target,
				     ctx->random ? ctx->random : weft_random());

	ret->target = t;
	if (!t || WEFT_IMG(struct weft_img_target, t)->cluster >= n)
		return WEFT_OUTCOME_REFUSED_NO_CLUSTER;
	struct weft_img_cluster_ref *r = WEFT_IMG(
		struct weft_img_cluster_ref,
		tab + WEFT_IMG(struct weft_img_target, t)->cluster * (__u32)sizeof(*r));

	*ret_endpoints = r->endpoints;
#ifndef __bpf__
	*ret_endpoints = weft_subset_find(r->endpoints, WEFT_IMG(struct weft_img_target, t)->criteria);
#endif
	ret->cluster = r->cluster;
	if (!ret->cluster)
		return WEFT_OUTCOME_REFUSED_NO_CLUSTER;
	struct weft_img_cluster *c = WEFT_IMG(struct weft_img_cluster, ret->cluster);

	if (c->type == WEFT_CLUSTER_BLACKHOLE)
		return WEFT_OUTCOME_REFUSED_BLACKHOLE;
	if (ctx->flags & WEFT_CTX_KERNEL &&
	    (c->flags & WEFT_CLUSTER_AGENT ||
	     (*ret_endpoints &&
	      WEFT_IMG(struct weft_img_endpoints, *ret_endpoints)->flags & WEFT_ENDPOINTS_SEVERAL)))
		return -WEFT_EAGAIN; /* no cell is missing: whoever asks again is the agent */
	ret->cell = weft_cell_find(ctx->pod, c->cell);
	if (!ret->cell && !(ctx->flags & WEFT_CTX_EXPLAIN)) {
		ret->need = c->cell;
		return -WEFT_EAGAIN;
	}
	return 0;
}

/* Endpoint and its cell to ret. 0, or an outcome, or -EAGAIN. */
WEFT_GLOBAL int weft_tcp_endpoint(struct weft_ctx *ctx, __u32 endpoints, struct weft_tcp *ret)
{
	if (!ctx || !ret)
		return WEFT_OUTCOME_REFUSED_NO_ENDPOINT;
	WEFT_IMG_BASE(WEFT_OUTCOME_REFUSED_NO_ENDPOINT);
	struct weft_img_cluster *c = WEFT_IMG(struct weft_img_cluster, ret->cluster);

	if (c->type == WEFT_CLUSTER_ORIGINAL_DST) {
		ret->addr = ctx->dst;
		if (c->port_override)
			ret->addr.port = (__u16)c->port_override;
		return 0;
	}
	__u32 need = 0;
	int i = weft_endpoint_choose(ctx, ret->cluster, endpoints,
				     weft_random_next(ctx->random ? ctx->random : weft_random()),
				     &need);

	if (i == -WEFT_EAGAIN) {
		ret->need = need;
		return i;
	}
	if (i < 0)
		return WEFT_OUTCOME_REFUSED_NO_ENDPOINT;
	__u32 e = WEFT_IMG(struct weft_img_endpoints, endpoints)->endpoint +
		  (__u32)i * (__u32)sizeof(struct weft_img_endpoint);

	ret->endpoint = e;
	ret->addr = WEFT_IMG(struct weft_img_endpoint, e)->addr;
	ret->cell_endpoint = weft_cell_find(ctx->pod, WEFT_IMG(struct weft_img_endpoint, e)->cell);
	if (!ret->cell_endpoint && !(ctx->flags & WEFT_CTX_EXPLAIN)) {
		ret->need = WEFT_IMG(struct weft_img_endpoint, e)->cell;
		return -WEFT_EAGAIN;
	}
	return 0;
}

/* The chosen endpoint's cell counts for its cluster's outlier detection. */
WEFT_GLOBAL int weft_tcp_outlier(struct weft_tcp *ret)
{
	if (!ret || !ret->endpoint || !ret->cell_endpoint)
		return 0;
	WEFT_IMG_BASE(0);
	WEFT_STATE_BASE(0);
	struct weft_img_cluster *c = WEFT_IMG(struct weft_img_cluster, ret->cluster);

	if (c->outlier)
		ret->outlier_new = weft_outlier_begin(
			WEFT_STATE(struct weft_cell_endpoint, ret->cell_endpoint),
			WEFT_IMG(struct weft_img_outlier, c->outlier), c->cell,
			WEFT_IMG(struct weft_img_endpoint, ret->endpoint)->cell);
	return 0;
}

/* Takes a place of max_connections. 1: taken. */
WEFT_GLOBAL int weft_tcp_place(struct weft_tcp *ret)
{
	if (!ret)
		return 0;
	WEFT_IMG_BASE(0);
	__u32 max = WEFT_IMG(struct weft_img_cluster, ret->cluster)
			    ->threshold[WEFT_PRIORITY_DEFAULT]
			    .max_connections;

	if (weft_place_take_at(ret->cell + (__u32)offsetof(struct weft_cell_cluster, cx_active), max))
		return 1;
	WEFT_COUNT(ret->cell, struct weft_cell_cluster, cx_overflow);
	return 0;
}

/*
 * The endpoint is looked for before a token or a place is taken, so that a missing cell costs nothing; verdicts keep
 * the order limit, RBAC, cluster, breaker, endpoint.
 */
WEFT_API int weft_tcp_choose(struct weft_ctx *ctx, __u32 chain, struct weft_tcp *ret)
{
	__u32 endpoints = 0, need = 0;
	int e, verdict;

	if (!ctx || !ret || !chain)
		return -WEFT_EAGAIN;
	ret->outcome = WEFT_OUTCOME_NONE;
	ret->need = ret->target = ret->cluster = ret->endpoint = 0;
	ret->cell = ret->cell_endpoint = ret->outlier_new = 0;
	e = weft_conn_limits_run(ctx, chain, &need, 0);
	if (!e)
		e = weft_conn_rbac_run(ctx, chain, WEFT_CONN_CELLS, &need);
	if (e < 0) {
		ret->need = need;
		return e;
	}
	verdict = weft_tcp_cluster(ctx, chain, ret, &endpoints);
	e = verdict ? verdict : weft_tcp_endpoint(ctx, endpoints, ret);
	if (e < 0)
		return e;
	if (weft_conn_limits_run(ctx, chain, &need, 1)) {
		ret->outcome = WEFT_OUTCOME_REFUSED_RATE;
		return 0;
	}
	if (weft_conn_rbac_run(ctx, chain, WEFT_CONN_COUNT, &need)) {
		ret->outcome = WEFT_OUTCOME_REFUSED_RBAC;
		return 0;
	}
	if (verdict) {
		ret->outcome = (__u32)verdict;
		return 0;
	}
	if (!(ctx->flags & WEFT_CTX_EXPLAIN) && !weft_tcp_place(ret)) {
		ret->outcome = WEFT_OUTCOME_REFUSED_OVERFLOW;
		return 0;
	}
	if (e) {
		if (!(ctx->flags & WEFT_CTX_EXPLAIN))
			weft_place_put_at(ret->cell +
					  (__u32)offsetof(struct weft_cell_cluster, cx_active));
		ret->outcome = (__u32)e;
		return 0;
	}
	if (!(ctx->flags & WEFT_CTX_EXPLAIN))
		weft_tcp_outlier(ret);
	ret->outcome = WEFT_OUTCOME_FORWARD;
	return 0;
}
