/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/*
 * Cross-origin requests (envoy.filters.http.cors). A program leaves every request with an origin to
 * the agent: its answer depends on it.
 */

#include "bpf/engine/cell.h"
#include "bpf/engine/cond.h"

/* The cell that a policy counts in; 0: there is nothing to do. Routes that answer have no policy
 * (Envoy 1.40). */
WEFT_INLINE __u32 weft_cors_prepare(struct weft_req *req, __u32 config)
{
	WEFT_IMG_BASE(0);
	struct weft_img_cors *c = WEFT_IMG(struct weft_img_cors, config);

	if (!req->dec.forward || !(req->present >> (c->slot_origin & 63) & 1))
		return 0;
	weft_hand(req, WEFT_HANDED_CORS);
	return c->cell;
}

#ifndef __bpf__
static struct weft_span weft_cors_value(const struct weft_req *req, __u32 slot)
{
	struct weft_span none = {0, 0};

	return req->present >> (slot & 63) & 1 ? req->value[slot & (WEFT_NAMES_MAX - 1)] : none;
}

static bool weft_cors_allows(struct weft_req *req, const struct weft_img_cors *c)
{
	if (c->flags & WEFT_CORS_ANY)
		return true;
	for (__u32 i = 0; i < c->n_origin; i++)
		if (weft_cond_header(req, c->origin + i * (__u32)sizeof(struct weft_img_cond)))
			return true;
	return false;
}

/* 0: goes on; 1: a preflight that is answered. enabled, shadow: what the draws said. */
static int weft_cors_run(struct weft_req *req, const struct weft_ctx *ctx, __u32 config, __u32 cell,
			 bool enabled, bool shadow)
{
	WEFT_IMG_BASE(0);
	const struct weft_img_cors *c = WEFT_IMG(struct weft_img_cors, config);
	struct weft_span method = req->value[WEFT_VALUE_METHOD];

	if ((!enabled && !shadow) || !weft_cors_value(req, c->slot_origin).len)
		return 0;
	bool allowed = weft_cors_allows(req, c);

	if (!(ctx->flags & WEFT_CTX_EXPLAIN)) {
		if (allowed)
			WEFT_COUNT(cell, struct weft_cell_filter, origin_valid);
		else
			WEFT_COUNT(cell, struct weft_cell_filter, origin_invalid);
	}
	WEFT_TRACE(req, "cors", "%s",
		   allowed ? "the origin is allowed" : "the origin is not allowed");
	if (!enabled)
		return 0;
	req->dec.cors = config;
	req->dec.cors_allowed = allowed;
	if (method.len != 7 || memcmp(req->head + method.off, "OPTIONS", 7) ||
	    !weft_cors_value(req, c->slot_method).len ||
	    !(allowed || c->flags & WEFT_CORS_ANSWER_ALL))
		return 0;
	req->dec.outcome = WEFT_OUTCOME_CORS;
	return 1;
}
#endif
