/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/*
 * Fault injection (envoy.filters.http.fault). A program gives the aborts that need no more than a draw; delays, numbers
 * from headers and gRPC clients are the agent's.
 */

#include "bpf/engine/cell.h"
#include "bpf/engine/cond.h"

/* Cluster and headers of the fault fit the request. */
WEFT_INLINE int weft_fault_applies(struct weft_req *req, __u32 config)
{
	WEFT_IMG_BASE(0);
	struct weft_img_fault *f = WEFT_IMG(struct weft_img_fault, config);
	__u32 n = f->n_cond, cond = f->cond;

	if (f->cluster && (!req->dec.target ||
			   WEFT_IMG(struct weft_img_target, req->dec.target)->cluster != f->cluster))
		return 0;
	for (__u32 i = 0; i < WEFT_CONDS_MAX; i++) {
		if (i >= n)
			return 1;
		if (!weft_cond_header(req, cond + i * (__u32)sizeof(struct weft_img_cond)))
			return 0;
	}
	return n <= WEFT_CONDS_MAX;
}

/* max_active_faults leaves room. */
WEFT_INLINE int weft_fault_room(const struct weft_ctx *ctx, __u32 config, __u32 cell)
{
	WEFT_IMG_BASE(0);
	WEFT_STATE_BASE(0);
	__u32 max = WEFT_IMG(struct weft_img_fault, config)->max_active;

	if (ctx->flags & WEFT_CTX_DELAYED || max == WEFT_FAULT_NO_MAX)
		return 1;
	if (cell ? WEFT_READ(WEFT_STATE(struct weft_cell_filter, cell)->active) < max : max != 0)
		return 1;
	if (!(ctx->flags & WEFT_CTX_EXPLAIN))
		WEFT_COUNT(cell, struct weft_cell_filter, overflow);
	return 0;
}

#ifndef __bpf__
/* A header that is a number, as absl::SimpleAtoi() reads it. false: none. */
static bool weft_fault_number(const struct weft_req *req, __u32 slot, __u64 *ret)
{
	struct weft_span s = req->value[slot & (WEFT_NAMES_MAX - 1)];
	const __u8 *p = req->head + s.off, *end = p + s.len;
	__u64 n = 0;

	if (!(req->present >> (slot & 63) & 1))
		return false;
	if (p < end && *p == '+')
		p++;
	if (p == end)
		return false;
	for (; p < end; p++) {
		if (*p < '0' || *p > '9' || n > (~0ull - (*p - '0')) / 10)
			return false;
		n = n * 10 + (*p - '0');
	}
	*ret = n;
	return true;
}

/* The share that a header asks for, at most what is configured. */
static bool weft_fault_drawn(const struct weft_req *req, const struct weft_img_share *s, __u64 random)
{
	__u64 asked, n = s->numerator;

	if (s->slot && weft_fault_number(req, s->slot, &asked) && asked < n)
		n = asked;
	return (random >> 16) % s->denominator < n;
}

/* Milliseconds to wait, 0: none. */
static __u64 weft_fault_delay(const struct weft_req *req, const struct weft_img_fault *f, __u64 random)
{
	__u64 ms = f->delay_ms;

	if (!f->delay_kind || !weft_fault_drawn(req, &f->delay, random))
		return 0;
	if (f->delay_kind == WEFT_FAULT_HEADER && !weft_fault_number(req, f->delay_slot, &ms))
		return 0;
	return ms < 0xffffffffu ? ms : 0xffffffffu;
}

/* One of downstream_nodes sends the request. */
static bool weft_fault_node(const struct weft_req *req, const struct weft_img_fault *f)
{
	struct weft_span s = req->value[f->node_slot & (WEFT_NAMES_MAX - 1)];
	const struct weft_img_str *node = f->n_node ? weft_img_at(f->node) : NULL;

	for (__u32 i = 0; i < f->n_node; i++) {
		if (req->present >> (f->node_slot & 63) & 1 && node[i].len == s.len &&
		    !memcmp(weft_img_at(node[i].off), req->head + s.off, s.len))
			return true;
	}
	return !f->n_node;
}

/* KiB a second for the response, 0: as fast as it comes. */
static __u32 weft_fault_rate(const struct weft_req *req, const struct weft_img_fault *f,
			     __u64 random)
{
	__u64 kbps = f->rate_kbps;

	if (!f->rate_kind || !weft_fault_drawn(req, &f->rate, random) ||
	    (f->rate_kind == WEFT_FAULT_HEADER && !weft_fault_number(req, f->rate_slot, &kbps)))
		return 0;
	return (__u32)(kbps < 0xffffffffu ? kbps : 0xffffffffu);
}

/* true: the response is held to a rate, and the fault is active with it. */
static bool weft_fault_limits(struct weft_req *req, const struct weft_ctx *ctx, __u32 config,
			      __u32 cell, __u64 random)
{
	__u32 kbps = weft_fault_rate(req, weft_img_at(config), random);

	if (!kbps || !weft_fault_room(ctx, config, cell))
		return false;
	WEFT_TRACE(req, "fault", "response at %u KiB/s", kbps);
	req->dec.rate[req->dec.n_rate++ & (WEFT_FILTERS_MAX - 1)] = (struct weft_rate){kbps, cell};
	return true;
}

/* What an abort says: *ret_grpc is a gRPC status + 1, 0: that of the HTTP status. 0: there is no abort. */
static __u32 weft_fault_status(const struct weft_req *req, const struct weft_img_fault *f, __u32 *ret_grpc)
{
	__u64 n;

	*ret_grpc = f->abort_kind == WEFT_FAULT_GRPC ? f->abort_status + 1 : 0;
	if (f->abort_kind != WEFT_FAULT_HEADER)
		return f->abort_kind == WEFT_FAULT_GRPC ? 200 : f->abort_status;
	if (weft_fault_number(req, f->abort_slot, &n) && n >= 200 && n < 600)
		return (__u32)n;
	if (!weft_fault_number(req, f->grpc_slot, &n) || n >= 0xffffffffu)
		return 0;
	*ret_grpc = (__u32)n + 1;
	return 200;
}
#endif

/* 0 goes on, 1: aborted, or the agent must go on. dec.delay_ms: how long the request is to wait before either. */
WEFT_GLOBAL int weft_fault_run(struct weft_req *req, struct weft_ctx *ctx, __u32 config, __u32 cell, __u64 random)
{
	if (!req || !ctx)
		return 1;
	WEFT_IMG_BASE(1);
	struct weft_img_fault *f = WEFT_IMG(struct weft_img_fault, config);
	__u64 next = random * 6364136223846793005ull + 1442695040888963407ull;

	if (!weft_fault_applies(req, config))
		return 0;
	/* before any draw: the agent makes its own */
	if (f->agent || req->flags & WEFT_REQ_GRPC)
		weft_hand(req, WEFT_HANDED_FAULT);
	if (WEFT_KERNEL && req->dec.handed)
		return 1;
#ifndef __bpf__
	if (!weft_fault_node(req, f))
		return 0;
	__u64 ms = weft_fault_delay(req, f, random);
	bool held = weft_fault_limits(req, ctx, config, cell, weft_random_next(next));

	/* one that does several things is one active fault */
	if (ms && (held || weft_fault_room(ctx, config, cell))) {
		WEFT_TRACE(req, "fault", "delay of %llu ms", (unsigned long long)ms);
		req->dec.delay_ms = (__u32)ms;
		req->dec.delay_cell = cell;
	}
	__u32 grpc, status = weft_fault_status(req, f, &grpc);

	if (!status || !f->abort_kind || !weft_fault_drawn(req, &f->abort, next))
		return 0;
#else
	bool held = false;
	__u32 grpc = f->abort_kind == WEFT_FAULT_GRPC ? f->abort_status + 1 : 0;
	__u32 status = grpc ? 200 : f->abort_status;

	if (!f->abort_kind || (next >> 16) % (f->abort.denominator ?: 1) >= f->abort.numerator)
		return 0;
#endif
	/* what waits already counts as active */
	if (!req->dec.delay_ms && !held && !weft_fault_room(ctx, config, cell))
		return 0;
	WEFT_TRACE(req, "fault", "abort with %u", status);
	if (!(ctx->flags & WEFT_CTX_EXPLAIN) && (!req->dec.delay_ms || ctx->flags & WEFT_CTX_DELAYED))
		WEFT_COUNT(cell, struct weft_cell_filter, aborts);
	req->dec.outcome = WEFT_OUTCOME_FAULT;
	req->dec.fault_status = status;
	req->dec.grpc = grpc;
	req->dec.reply = f->reply;
	return 1;
}
