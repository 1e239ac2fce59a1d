/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/* A local reply as pieces: the compiled text with the date and, for redirects, the Location line put in. */

#include "bpf/engine/redirect.h"

/* Pieces of the reply up to insert_off. */
WEFT_INLINE int weft_plan_start(struct weft_reply_plan *plan, __u32 reply)
{
	WEFT_IMG_BASE(-WEFT_E2BIG);
	struct weft_img_reply *r = WEFT_IMG(struct weft_img_reply, reply);

	plan->status = r->status;
	plan->closes = r->flags & WEFT_REPLY_CLOSES;
	plan->n = 0;
	plan->total = 0;
	weft_seg_put(plan, WEFT_SEG_IMAGE, r->data, r->date_off);
	weft_seg_put(plan, WEFT_SEG_DATE, 0, WEFT_DATE_LEN);
	return weft_seg_put(plan, WEFT_SEG_IMAGE, r->data + r->date_off + WEFT_DATE_LEN,
			    r->insert_off - r->date_off - WEFT_DATE_LEN);
}

WEFT_INLINE int weft_plan_end(struct weft_reply_plan *plan, __u32 reply, __u32 head_only)
{
	WEFT_IMG_BASE(-WEFT_E2BIG);
	struct weft_img_reply *r = WEFT_IMG(struct weft_img_reply, reply);
	__u32 off = head_only ? r->head_off : r->insert_off;
	__u32 end = head_only ? r->head_len : r->len;

	return weft_seg_put(plan, WEFT_SEG_IMAGE, r->data + off, end - off);
}

/* Any weft_img_reply. 0, or -E2BIG. */
#ifdef __bpf__
WEFT_GLOBAL int weft_reply_plan_std(__u32 reply, int head_only, struct weft_reply_plan *plan)
#else
WEFT_API int weft_reply_plan_std(__u32 reply, bool head_only, struct weft_reply_plan *plan)
#endif
{
	if (!plan || !reply)
		return -WEFT_ENOENT;
	weft_plan_start(plan, reply);
	return weft_plan_end(plan, reply, (__u32)head_only);
}

/* 201 and 3xx of a direct response carry the request's own address, 304 as well. */
WEFT_INLINE int weft_status_locates(__u32 status)
{
	return status == 201 || (status >= 300 && status < 400);
}

/*
 * What rules do to the headers of the reply of req->dec: offset of its weft_img_response, 0: nothing. A direct response
 * and a redirect have the route's; other replies (limits, no cluster, ...) have those of the way the request would have
 * gone, and none on a route that forwards nothing (Envoy 1.40).
 */
WEFT_INLINE __u32 weft_reply_response(const struct weft_req *req)
{
	__u32 outcome = req->dec.outcome;

	if (outcome == WEFT_OUTCOME_DIRECT_RESPONSE || outcome == WEFT_OUTCOME_REDIRECT)
		return req->dec.route + (__u32)offsetof(struct weft_img_route, response);
	if (req->dec.target && outcome != WEFT_OUTCOME_NO_ROUTE)
		return req->dec.target + (__u32)offsetof(struct weft_img_target, response);
	return 0;
}

/* 1: the agent forms the reply's head for this request; 0: weft_reply_put() has all of it. */
WEFT_GLOBAL int weft_reply_formed(struct weft_req *req)
{
	if (!req || !req->dec.reply)
		return 0;
	WEFT_IMG_BASE(0);
	__u32 off = weft_reply_response(req), outcome = req->dec.outcome;

#ifndef __bpf__
	if (req->dec.cors_allowed)
		return 1;
#endif

	/* of the router's own: how often it tried to send the request */
	if ((outcome == WEFT_OUTCOME_OVERFLOW || outcome == WEFT_OUTCOME_NO_HEALTHY_UPSTREAM) &&
	    WEFT_IMG(struct weft_img_vhost, req->dec.vhost)->flags & WEFT_VHOST_ATTEMPT_COUNT_RESPONSE)
		return 1;
	if (!off)
		return 0;
	struct weft_img_response *r = WEFT_IMG(struct weft_img_response, off);

	if (r->flags & WEFT_RESPONSE_FORMED)
		return 1;
	/* lines of the filter that may replace some of the rule's */
	return r->lines.len && WEFT_IMG(struct weft_img_reply, req->dec.reply)->add;
}

WEFT_GLOBAL int weft_reply_put(struct weft_req *req, struct weft_reply_plan *plan)
{
	if (!req || !plan)
		return -WEFT_ENOENT;
	__u32 reply = req->dec.reply;

	if (!reply)
		return -WEFT_ENOENT;
	weft_plan_start(plan, reply);
	__u32 response = weft_reply_response(req);

	if (response) {
		WEFT_IMG_BASE(-WEFT_E2BIG);
		struct weft_img_str lines = WEFT_IMG(struct weft_img_response, response)->lines;

		weft_seg_put(plan, WEFT_SEG_IMAGE, lines.off, lines.len);
	}
	if (req->dec.redirect ||
	    (req->dec.outcome == WEFT_OUTCOME_DIRECT_RESPONSE && weft_status_locates(plan->status))) {
		int e = weft_location_put(req, plan, req->dec.redirect);

		if (e)
			return e;
	}
	int e = weft_plan_end(plan, reply, req->flags & WEFT_REQ_HEAD_METHOD);

	if (e)
		return e;
	return WEFT_KERNEL && plan->total > WEFT_REPLY_MAX ? -WEFT_E2BIG : 0;
}

#ifdef __bpf__

/* The reply of req->dec. 0, -ENOENT: none, -E2BIG: too long for a program. */
WEFT_INLINE int weft_reply_plan(struct weft_req *req, struct weft_ctx *ctx,
				struct weft_reply_plan *plan)
{
	(void)ctx;
	return weft_reply_put(req, plan);
}

/* Eight bytes of piece s at byte i. */
WEFT_GLOBAL __u64 weft_seg_word(struct weft_req *req, __u32 kind, __u32 off)
{
	if (!req)
		return 0;
	WEFT_IMG_BASE(0);
	WEFT_STATE_BASE(0);
	if (kind == WEFT_SEG_IMAGE)
		return *WEFT_IMG(__u64, off);
	if (kind == WEFT_SEG_HEAD)
		return *(__u64 *)weft_head_at(req, off);
	if (kind == WEFT_SEG_TEXT) {
		/* the words behind text are value[] */
		__u32 o = off;

		asm volatile("%0 &= 63" : "+r"(o));
		return *(__u64 *)(req->text + o);
	}
	struct weft_state_head *h = WEFT_STATE(struct weft_state_head, 0);
	__u32 o = (h->date_which & 1) * 32 + off;

	asm volatile("%0 &= 63" : "+r"(o));
	return *(__u64 *)((char *)h->date + o);
}

struct weft_render {
	struct weft_req *req, *out;
	struct weft_reply_plan *plan;
	__u32 at, seg, done;
};

static long weft_render_step(__u32 i, void *p)
{
	struct weft_render *c = p;
	__u32 seg = c->seg;

	if (seg >= c->plan->n || seg >= WEFT_REPLY_SEGS_MAX)
		return 1;
	struct weft_seg *s = &c->plan->seg[WEFT_INDEX(seg, 15)];
	__u32 rest = s->len - c->done, step = rest < 8 ? rest : 8;

	*(__u64 *)weft_head_at(c->out, c->at) = weft_seg_word(c->req, s->kind, s->off + c->done);
	c->at += step;
	c->done += step;
	if (step == rest) {
		c->seg = seg + 1;
		c->done = 0;
	}
	return 0;
}

/*
 * Writes the plan's bytes to out->head (another head buffer), a word at a time: up to 7 bytes behind the end change.
 * Length of the reply, or -E2BIG.
 */
WEFT_GLOBAL int weft_reply_render(struct weft_req *req, struct weft_reply_plan *plan,
				  struct weft_req *out)
{
	struct weft_render c = { .req = req, .out = out, .plan = plan };

	if (!req || !plan || !out || plan->total > WEFT_REPLY_MAX - 8)
		return -WEFT_E2BIG;
	bpf_loop(WEFT_REPLY_MAX / 8 + WEFT_REPLY_SEGS_MAX, weft_render_step, &c, 0);
	return c.at == plan->total ? (int)c.at : -WEFT_E2BIG;
}

#endif
