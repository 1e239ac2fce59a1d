/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/* What is asked of a rate limit service, and what becomes of its answer; natively only. */

#include "bpf/engine/descriptor.h"
#include "bpf/engine/global.h"

#ifndef __bpf__

/* Rules that a request is asked about, one behind another. */
struct weft_global_rules {
	const struct weft_img_rate_rules *list[2];
	__u32 n;
	__u32 stage; /* of rules that have one */
	bool staged;
};

static struct weft_global_rules weft_global_rules_of(const struct weft_req *req,
						     const struct weft_img_global_limit *l,
						     const struct weft_img_global_route *o)
{
	const struct weft_img_forward *f = weft_img_at(req->dec.forward);
	const struct weft_img_vhost *v = weft_img_at(req->dec.vhost);
	struct weft_global_rules r = {.stage = l->stage};
	__u32 vhost = o ? o->vhost_rules : WEFT_RATE_OVERRIDE;

	if (o && o->own.n) {
		r.list[r.n++] = &o->own;
	} else if (l->own.n) {
		r.list[r.n++] = &l->own;
	} else {
		r.staged = true;
		r.list[r.n++] = &f->rate;
		if (f->flags & WEFT_FORWARD_VHOST_RATES || vhost == WEFT_RATE_INCLUDE ||
		    (vhost == WEFT_RATE_OVERRIDE && !f->rate.n))
			r.list[r.n++] = &v->rate;
	}
	return r;
}

/* The descriptor of one rule, told to the limiter. */
static void weft_global_rule(struct weft_rate_room *room, struct weft_req *req,
			     const struct weft_ctx *ctx, const struct weft_img_rate_rule *r,
			     bool own)
{
	const struct weft_img_rate_action *a = weft_img_at(r->action);
	struct weft_rate_found e[WEFT_RATE_ACTIONS_MAX];
	bool says = own && (r->format || r->flags & WEFT_RULE_HITS);
	__s64 hits = (__s64)r->hits;
	int have = 0;
	__u32 k = 0;

	for (__u32 j = 0; have >= 0 && j < r->n_action; j++) {
		have = weft_rate_act(room, req, ctx, &a[j], &e[k]);
		k += have > 0;
	}
	if (own && r->format)
		hits = weft_rate_hits(room, req, ctx, r->format);
	if (have < 0 || hits < 0)
		return;
	for (__u32 j = 0; j < k; j++)
		WEFT_TRACE(req, "rate_limit_service", "%.*s=%.*s", (int)e[j].key.len,
			   (const char *)e[j].key.p, (int)e[j].value.len,
			   (const char *)e[j].value.p);
	if (ctx->limiter)
		ctx->limiter->descriptor(ctx->limiter, e, k, r,
					 says ? &(const __u64){(__u64)hits} : NULL);
}

/* All descriptors for the request, or (done) for its end. -ENOMEM. */
static int weft_global_describe(struct weft_req *req, const struct weft_ctx *ctx,
				const struct weft_global_rules *rules, bool done)
{
	struct weft_rate_room room;
	int r;

	room.n = 0;
	room.size = sizeof(room.own);
	room.p = room.own;
	room.chunks = NULL;
	room.failed = false;
	for (__u32 i = 0; i < rules->n; i++) {
		const struct weft_img_rate_rule *rule = weft_img_at(rules->list[i]->rule);

		for (__u32 j = 0; j < rules->list[i]->n; j++)
			if (!(rule[j].flags & WEFT_RULE_DONE) == !done &&
			    (!rules->staged || (rule[j].stage & ~WEFT_STAGE_KEY) == rules->stage))
				weft_global_rule(&room, req, ctx, &rule[j], !rules->staged);
	}
	r = room.failed ? -ENOMEM : 0;
	weft_rate_room_clear(&room);
	return r;
}

static __u32 weft_cluster_named(struct weft_req *req, const struct weft_img_view *v, __u32 slot,
				__u32 none);

/* The route leads to a cluster that is there: else nobody is asked (Envoy). */
static bool weft_global_has_cluster(struct weft_req *req, const struct weft_ctx *ctx)
{
	const struct weft_img_view *v = weft_img_at(ctx->view_off);
	const struct weft_img_target *t = req->dec.target ? weft_img_at(req->dec.target) : NULL;
	const struct weft_img_cluster_ref *ref = weft_img_at(v->cluster);
	__u32 id = t ? t->cluster : v->n_cluster;

	if (t && t->slot && t->slot != WEFT_SLOT_HASHED)
		id = weft_cluster_named(req, v, t->slot, id);
	return id < v->n_cluster && ref[id].cluster;
}

/* request_type: by what the connection manager has found out. */
static bool weft_global_type(const struct weft_req *req, __u32 type)
{
	bool internal = false;

	if (type == WEFT_GLOBAL_BOTH)
		return true;
	for (__u32 i = 0; i < req->n_field; i++)
		if (weft_span_is(req, req->field[i].name, "x-envoy-internal"))
			internal = weft_span_is(req, req->field[i].value, "true");
	return internal == (type == WEFT_GLOBAL_INTERNAL);
}

static enum weft_verdict weft_global_ask(struct weft_req *req, struct weft_ctx *ctx,
					 struct weft_question *q)
{
	struct weft_global_rules rules = weft_global_rules_of(req, q->config, q->route);
	struct weft_limiter *l = ctx->limiter;
	enum weft_verdict v;

	if (l)
		l->begin(l, req, q);
	if (weft_global_describe(req, ctx, &rules, false))
		return WEFT_VERDICT_ERROR; /* without memory nobody can be asked */
	v = l ? l->ask(l, req, q) : WEFT_VERDICT_NONE;
	if (!l || v == WEFT_VERDICT_WAIT)
		return v;
	/* what is asked when the request is over */
	l->begin(l, req, q);
	if (!weft_global_describe(req, ctx, &rules, true))
		l->done(l, req, q);
	return v;
}

/*
 * 0: goes on; 1: refused, or waits for an answer (req->asks). What a delay holds back is asked of
 * behind it. Draws: enabled, enforced or deny.
 */
static int weft_global_run(struct weft_req *req, struct weft_ctx *ctx, __u32 config, __u32 override,
			   __u32 i, __u32 key, __u64 random)
{
	const struct weft_img_global_limit *l = weft_img_at(config);
	struct weft_question q = {.place = i,
				  .key = key,
				  .config = l,
				  .route = override ? weft_img_at(override) : NULL};
	enum weft_verdict v;

	if (!weft_chance(l->enabled, random)) {
		WEFT_TRACE(req, "rate_limit_service", "filter_enabled: not this time");
		return 0;
	}
	if (req->dec.delay_ms && !(ctx->flags & WEFT_CTX_DELAYED))
		return 1;
	if (!weft_global_type(req, l->type) || !weft_global_has_cluster(req, ctx))
		return 0;
	q.domain = q.route && q.route->domain.len ? q.route->domain : l->domain;
	v = weft_global_ask(req, ctx, &q);
	random = weft_random_next(random);
	if (v == WEFT_VERDICT_WAIT) {
		req->asks = 1;
		return 1;
	}
	if (v == WEFT_VERDICT_OVER && weft_chance(l->enforced, random)) {
		WEFT_TRACE(req, "rate_limit_service", "over limit: refused");
		req->dec.outcome = WEFT_OUTCOME_GLOBAL_LIMITED;
		req->dec.fault_status = l->status;
		req->dec.grpc = l->flags & WEFT_GLOBAL_EXHAUSTED ? 8 + 1 : 0;
		return 1;
	}
	if (v == WEFT_VERDICT_ERROR && weft_chance(l->deny, random)) {
		WEFT_TRACE(req, "rate_limit_service", "no answer: refused");
		req->dec.outcome = WEFT_OUTCOME_LIMITER_ERROR;
		req->dec.fault_status = l->error_status;
		return 1;
	}
	if (ctx->limiter && v != WEFT_VERDICT_NONE)
		ctx->limiter->pass(ctx->limiter, req, &q, v);
	return 0;
}

#endif
