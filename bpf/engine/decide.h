/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/*
 * The decision on one request, in Envoy's order: virtual host, route and weighted cluster; upgrade; filters in chain
 * order; then the router: direct response, redirect, unknown cluster, no host, breaker, forward.
 */

#include "bpf/engine/filter.h"
#include "bpf/engine/hash_policy.h"
#include "bpf/engine/listener.h"
#include "bpf/engine/match.h"
#ifndef __bpf__
#include "bpf/engine/http1_full.h"
#else
#include "bpf/engine/http1.h"
#endif

WEFT_INLINE void weft_decision_reset(struct weft_req *req)
{
	struct weft_decision *d = &req->dec;

	d->outcome = WEFT_OUTCOME_NONE;
	d->handed = WEFT_HANDED_NONE;
	d->vhost = d->route = d->forward = d->target = 0;
	d->cluster_id = d->cluster = d->endpoints = 0;
	d->reply = d->redirect = 0;
	d->n_paid = d->need_cell = d->n_add = 0;
	d->cors = d->cors_allowed = 0;
	d->delay_ms = d->delay_cell = d->fault_status = d->grpc = 0;
	d->n_rate = 0;
	d->drew = d->empty_cell = d->empty_bucket = 0;
#ifndef __bpf__
	req->n_told = 0;
	req->asks = req->ran = 0;
#endif
}

/* One of the connection manager's own replies. */
WEFT_INLINE void weft_decide_std(struct weft_req *req, __u32 outcome, __u32 which)
{
	WEFT_IMG_BASE();
	req->dec.outcome = outcome;
	req->dec.reply = *WEFT_IMG(__u32, req->dec.hcm + offsetof(struct weft_img_hcm, reply) +
						  (which & 7) * 4);
}

/* Route configuration of the request's connection manager in this view, 0: not there (404). */
WEFT_INLINE __u32 weft_route_config_at(const struct weft_ctx *ctx, __u32 id)
{
	WEFT_IMG_BASE(0);
	struct weft_img_view *v = WEFT_IMG(struct weft_img_view, ctx->view_off);

	return id < v->n_route_config ? *WEFT_IMG(__u32, v->route_config + id * 4) : 0;
}

/* Sets limits and names to look for from a chain of kind HTTP. */
WEFT_API int weft_req_begin(struct weft_req *req, const struct weft_ctx *ctx, __u32 chain)
{
	if (!req || !ctx || !chain)
		return -WEFT_ENOENT;
	WEFT_IMG_BASE(-WEFT_ENOENT);
	if (WEFT_IMG(struct weft_img_chain, chain)->kind != WEFT_CHAIN_HTTP)
		return -WEFT_ENOENT;
	__u32 hcm = WEFT_IMG(struct weft_img_chain, chain)->target;
	struct weft_img_hcm *h = WEFT_IMG(struct weft_img_hcm, hcm);
	__u32 rc = weft_route_config_at(ctx, h->route_config);

	weft_decision_reset(req);
	req->dec.hcm = hcm;
	req->dec.epoch = ctx->epoch;
	req->max_head = h->max_head;
	if (WEFT_KERNEL && req->max_head > WEFT_HEAD_MAX)
		req->max_head = WEFT_HEAD_MAX;
	req->max_headers = h->max_headers;
	req->hcm_flags = h->flags;
	req->underscores = h->underscores;
	req->headers = h->headers;
	req->bloom = h->headers ? h->bloom : 0;
	if (rc) {
		req->headers = WEFT_IMG(struct weft_img_route_config, rc)->headers;
		req->bloom = req->headers ? WEFT_IMG(struct weft_img_route_config, rc)->bloom : 0;
	}
	return 0;
}

/* The path has parameters: ";..." behind the name of a segment. */
WEFT_INLINE int weft_path_parameters(struct weft_req *req)
{
	return weft_head_has(req, req->path.off, req->path.len, ';');
}

#ifndef __bpf__
/* ignore_path_parameters_in_path_matching: what is matched; what is forwarded stays. */
static void weft_path_plain(struct weft_req *req)
{
	static _Thread_local __u8 plain[WEFT_NATIVE_HEAD_MAX + 64];
	__u32 n = 0, skip = 0;

	for (__u32 i = 0; i < req->path.len && n < WEFT_NATIVE_HEAD_MAX; i++) {
		__u8 c = req->head[req->path.off + i];

		skip = c == ';' || (skip && c != '/');
		if (!skip)
			plain[n++] = c;
	}
	memset(plain + n, 0, 64);
	req->plain = plain;
	req->plain_path = (struct weft_span){ 0, n };
}
#endif

#ifndef __bpf__
/* use_hash_policy: the hash stands for the random number, where a policy found something. */
static __u64 weft_hash_number(struct weft_req *req, const struct weft_ctx *ctx, __u64 random)
{
	const struct weft_img_forward *f = weft_img_at(req->dec.forward);

	if (!(f->flags & WEFT_FORWARD_BY_HASH))
		return random;
	weft_req_hash(req, ctx, false);
	return req->dec.hashed ? req->dec.hash : random;
}
#endif

/* Virtual host, route, weighted cluster. Leaves what it finds in dec. */
WEFT_INLINE int weft_decide_route(struct weft_req *req, struct weft_ctx *ctx, __u32 rc, __u64 random)
{
	if (!req || !ctx || !rc)
		return 0;
	if (req->hcm_flags & (WEFT_HCM_STRIP_ANY_PORT | WEFT_HCM_STRIP_MATCHING_PORT |
			      WEFT_HCM_STRIP_TRAILING_DOT))
		weft_host_strip(req, ctx->dst.port);
	__u32 vhost = weft_vhost_find(req, rc);

	if (!vhost)
		return 0;
	WEFT_IMG_BASE(0);
	if (WEFT_IMG(struct weft_img_route_config, rc)->flags & WEFT_RC_IGNORE_PARAMETERS &&
	    weft_path_parameters(req)) {
		weft_hand(req, WEFT_HANDED_NORMALIZE);
#ifndef __bpf__
		weft_path_plain(req);
#endif
	}
	WEFT_TRACE(req, "virtual_host", "%.*s", (int)WEFT_IMG(struct weft_img_vhost, vhost)->name.len,
		   (const char *)WEFT_IMG(char, WEFT_IMG(struct weft_img_vhost, vhost)->name.off));
	req->dec.vhost = vhost;
	__u32 tls = WEFT_IMG(struct weft_img_vhost, vhost)->tls_route;

	if (tls && !weft_came_by_https(req)) {
		WEFT_TRACE(req, "route", "require_tls");
		req->dec.route = tls;
		return 0;
	}
	__u32 route = weft_route_find(req, vhost);

#ifndef __bpf__
	req->plain = NULL;
#endif
	req->dec.route = route;
	if (!route) {
		WEFT_TRACE(req, "route", "no route matches");
		return 0;
	}
	struct weft_img_route *r = WEFT_IMG(struct weft_img_route, route);

	WEFT_TRACE(req, "route", "%u matches", r->index);
	if (r->action_kind == WEFT_ACTION_FORWARD) {
		req->dec.forward = r->action;
		__u32 targets = WEFT_IMG(struct weft_img_forward, r->action)->targets;

		req->dec.drew |= WEFT_IMG(struct weft_img_targets, targets)->n > 1;
		random = weft_target_number(req, WEFT_IMG(struct weft_img_targets, targets)->slot,
					    random);
#ifndef __bpf__
		random = weft_hash_number(req, ctx, random);
#endif
		req->dec.target = weft_target_choose(targets, random);
		if (req->dec.target && WEFT_IMG(struct weft_img_target, req->dec.target)->slot)
			weft_hand(req, WEFT_HANDED_CLUSTER_HEADER);
	}
	return 0;
}

/* Only looks: places are taken by whoever carries the request. 1: it would be refused for certain. */
WEFT_GLOBAL int weft_breaker_look(const struct weft_ctx *ctx, __u32 cluster, __u32 priority)
{
	if (!ctx)
		return 0;
	WEFT_IMG_BASE(0);
	WEFT_STATE_BASE(0);
	struct weft_img_cluster *c = WEFT_IMG(struct weft_img_cluster, cluster);
	struct weft_img_thresholds *t = &c->threshold[priority & 1];
	__u32 cell = weft_cell_find(ctx->pod, c->cell);

	if (!cell)
		return 0;
	struct weft_cell_cluster *s = WEFT_STATE(struct weft_cell_cluster, cell);

	if (WEFT_READ(s->rq_active[priority & 1]) >= t->max_requests) {
		WEFT_COUNT(cell, struct weft_cell_cluster, rq_overflow);
		return 1;
	}
	if (!WEFT_READ(s->cx_idle) && WEFT_READ(s->rq_pending[priority & 1]) >= t->max_pending) {
		WEFT_COUNT(cell, struct weft_cell_cluster, pending_overflow);
		return 1;
	}
	return 0;
}

#ifndef __bpf__
/* Id of the cluster of this name; `none` when there is none of it. */
static __u32 weft_cluster_by_name(const struct weft_img_view *v, const __u8 *name, size_t len, __u32 none)
{
	if (!len || len > 0xffff || !v->cluster_names)
		return none;
	WEFT_IMG_BASE(none);
	const struct weft_img_tab *t = WEFT_IMG(struct weft_img_tab, v->cluster_names);
	const struct weft_img_ent *e = (const void *)(t + 1);
	__u32 hash = weft_hash_name(name, (__u32)len);

	for (__u32 i = 0; i < WEFT_TAB_PROBES; i++) {
		const struct weft_img_ent *k = &e[(hash + i) & t->mask];

		if (!k->kind)
			break;
		if (k->hash == hash && k->len == len && !memcmp(WEFT_IMG(char, k->str), name, len))
			return k->val - 1;
	}
	return none;
}

/* cluster_header: the cluster that the first line of the header names. */
static __u32 weft_cluster_named(struct weft_req *req, const struct weft_img_view *v, __u32 slot, __u32 none)
{
	const struct weft_span *s = WEFT_VALUE(req, slot - 1);

	if (!(req->present >> (slot - 1) & 1))
		return none;
	return weft_cluster_by_name(v, req->head + s->off, s->len, none);
}

__u32 weft_cluster_id_of(const struct weft_ctx *ctx, const void *name, size_t len)
{
	return weft_cluster_by_name(weft_img_at(ctx->view_off), name, len, 0);
}
#endif

#ifndef __bpf__
/* The endpoints of the subset that is asked for. 0, or 1 when there is none and the request is answered. */
static int weft_settle_endpoints(struct weft_req *req)
{
	const struct weft_img_cluster *c = weft_img_at(req->dec.cluster);
	const struct weft_img_target *t = weft_img_at(req->dec.target);

	if (c->type == WEFT_CLUSTER_ORIGINAL_DST)
		return 0;
	req->dec.endpoints = weft_subset_find(req->dec.endpoints, t->criteria);
	if (weft_endpoints_usable(req->dec.endpoints))
		return 0;
	WEFT_TRACE(req, "cluster", "no healthy endpoint");
	weft_decide_std(req, WEFT_OUTCOME_NO_HEALTHY_UPSTREAM, WEFT_REPLY_NO_UPSTREAM);
	return 1;
}

void weft_req_settle(struct weft_req *req)
{
	weft_settle_endpoints(req);
}

void weft_req_no_host(struct weft_req *req)
{
	weft_decide_std(req, WEFT_OUTCOME_NO_HEALTHY_UPSTREAM, WEFT_REPLY_NO_UPSTREAM);
}
#else
/* Of a subset the agent tells. */
WEFT_INLINE int weft_settle_endpoints(struct weft_req *req)
{
	__u32 endpoints = req->dec.endpoints;
	WEFT_IMG_BASE(0);

	if (WEFT_IMG(struct weft_img_cluster, req->dec.cluster)->type == WEFT_CLUSTER_ORIGINAL_DST ||
	    weft_endpoints_usable(endpoints))
		return 0;
	if (endpoints && WEFT_IMG(struct weft_img_target, req->dec.target)->criteria &&
	    WEFT_IMG(struct weft_img_endpoints, endpoints)->subsets)
		return 0;
	weft_decide_std(req, WEFT_OUTCOME_NO_HEALTHY_UPSTREAM, WEFT_REPLY_NO_UPSTREAM);
	return 1;
}
#endif

#define WEFT_WHOLE_DROP 1000000u
/* drop_overloads: the reply (enum weft_std_reply) of a request that is dropped, 0: it is not. */
WEFT_INLINE __u32 weft_drop_draw(__u32 endpoints, __u64 random)
{
	if (!endpoints)
		return 0;
	WEFT_IMG_BASE(0);
	__u32 drop = WEFT_IMG(struct weft_img_endpoints, endpoints)->drop;

	if (!drop)
		return 0;
	if (drop >= WEFT_WHOLE_DROP)
		return WEFT_REPLY_DROPPED_ALL;
	/* of the request's number, but independent of what else that decides */
	random = weft_random_next(random ^ 0xA0761D6478BD642Full);
	return (__u32)(random >> 32) % WEFT_WHOLE_DROP < drop ? WEFT_REPLY_DROPPED : 0;
}

/* The router's part for a route that forwards. */
WEFT_GLOBAL int weft_decide_forward(struct weft_req *req, struct weft_ctx *ctx)
{
	if (!req || !ctx)
		return 0;
	WEFT_IMG_BASE(0);
	struct weft_img_view *v = WEFT_IMG(struct weft_img_view, ctx->view_off);
	__u32 n = v->n_cluster, tab = v->cluster;
	__u32 id = WEFT_IMG(struct weft_img_target, req->dec.target)->cluster, cluster = 0, endpoints = 0;
	struct weft_img_forward *f = WEFT_IMG(struct weft_img_forward, req->dec.forward);

#ifndef __bpf__
	__u32 slot = req->dec.target ? WEFT_IMG(struct weft_img_target, req->dec.target)->slot : 0;

	if (slot && slot != WEFT_SLOT_HASHED) {
		id = weft_cluster_named(req, v, slot, id);
		WEFT_TRACE(req, "cluster", "named by a request header");
	}
#endif
	if (req->dec.target && id < n) {
		__u32 ref = tab + id * (__u32)sizeof(struct weft_img_cluster_ref);

		cluster = WEFT_IMG(struct weft_img_cluster_ref, ref)->cluster;
		endpoints = WEFT_IMG(struct weft_img_cluster_ref, ref)->endpoints;
	}
	req->dec.cluster_id = id;
	req->dec.cluster = cluster;
	req->dec.endpoints = endpoints;
	if (!cluster) {
		WEFT_TRACE(req, "cluster", "unknown");
		weft_decide_std(req, WEFT_OUTCOME_NO_CLUSTER, f->no_cluster);
		return 0;
	}
#ifndef __bpf__
	if (weft_req_strict(req)) {
		WEFT_TRACE(req, "strict_check_headers", "a header is invalid");
		req->dec.outcome = WEFT_OUTCOME_BAD_REQUEST;
		req->dec.fault_status = 400;
		return 0;
	}
#endif
	__u32 dropped = weft_drop_draw(endpoints, req->random);

	if (dropped) {
		WEFT_TRACE(req, "drop_overloads", "dropped");
		weft_decide_std(req, WEFT_OUTCOME_DROPPED, dropped);
		return 0;
	}
	if (weft_settle_endpoints(req))
		return 0;
	/* a mirror gets even what a breaker refuses: then the agent says it */
	if (ctx->flags & WEFT_CTX_KERNEL && !f->n_mirror &&
	    weft_breaker_look(ctx, cluster, !!(f->flags & WEFT_FORWARD_PRIORITY_HIGH))) {
		weft_decide_std(req, WEFT_OUTCOME_OVERFLOW, WEFT_REPLY_OVERFLOW);
		return 0;
	}
	WEFT_TRACE(req, "cluster", "has usable endpoints");
	req->dec.outcome = WEFT_OUTCOME_FORWARD;
	return 0;
}

#ifndef __bpf__
/* The type that is asked for, of no length: none. Lines of one name are one list: two types are
 * none there could be. */
static struct weft_span weft_upgrade_type(const struct weft_req *req)
{
	struct weft_span got = { 0, 0 };

	for (__u32 i = 0; i < req->n_field; i++) {
		if (!weft_span_is(req, req->field[i].name, "upgrade") || !req->field[i].value.len)
			continue;
		if (got.len)
			return (struct weft_span){0, 0};
		got = req->field[i].value;
	}
	return got;
}

bool weft_req_upgrades_to(const struct weft_req *req, const char *type)
{
	return req->flags & WEFT_REQ_UPGRADE && weft_span_is(req, weft_upgrade_type(req), type);
}

static bool weft_upgrade_is(const struct weft_req *req, struct weft_img_str type)
{
	struct weft_span got = weft_upgrade_type(req);

	if (!got.len || got.len != type.len)
		return false;
	for (__u32 i = 0; i < got.len; i++)
		if (weft_lower(req->head[got.off + i]) != weft_bound.img[type.off + i])
			return false;
	return true;
}

/* upgrade_configs of the route, where they name the type, else of the connection manager. */
static bool weft_upgrade_allowed(const struct weft_req *req)
{
	WEFT_IMG_BASE(0);
	const struct weft_img_hcm *h = WEFT_IMG(struct weft_img_hcm, req->dec.hcm);

	if (req->dec.forward) {
		const struct weft_img_forward *f = WEFT_IMG(struct weft_img_forward, req->dec.forward);

		for (__u32 i = 0; i < f->n_upgrade; i++) {
			const struct weft_img_upgrade *u =
				WEFT_IMG(struct weft_img_upgrade, f->upgrade) + i;

			if (weft_upgrade_is(req, u->type))
				return u->enabled;
		}
	}
	for (__u32 i = 0; i < h->n_upgrade; i++)
		if (weft_upgrade_is(req, WEFT_IMG(struct weft_img_str, h->upgrade)[i]))
			return true;
	return false;
}
#endif

/* The router filter: what the route says. */
WEFT_GLOBAL int weft_decide_action(struct weft_req *req, struct weft_ctx *ctx)
{
	if (!req || !ctx)
		return 0;
	if (!req->dec.route || req->hcm_flags & WEFT_HCM_NO_ROUTER) {
		weft_decide_std(req, WEFT_OUTCOME_NO_ROUTE, WEFT_REPLY_NOT_FOUND);
		return 0;
	}
	WEFT_IMG_BASE(0);
	struct weft_img_route *r = WEFT_IMG(struct weft_img_route, req->dec.route);
	__u32 kind = r->action_kind, action = r->action;

	if (kind == WEFT_ACTION_DIRECT) {
		req->dec.outcome = WEFT_OUTCOME_DIRECT_RESPONSE;
		req->dec.reply = action;
		return 0;
	}
	if (kind == WEFT_ACTION_REDIRECT) {
		req->dec.outcome = WEFT_OUTCOME_REDIRECT;
		req->dec.redirect = action;
		req->dec.reply = WEFT_IMG(struct weft_img_redirect, action)->reply;
		return 0;
	}
	return weft_decide_forward(req, ctx);
}

/*
 * Fills req->dec; takes tokens. 0, or -ENOENT when a cell is missing (dec.need_cell), before anything was taken.
 * Programs: dec.handed tells when only the agent can decide; then outcome is NONE.
 */
#ifdef __bpf__
WEFT_INLINE int weft_decide(struct weft_req *req, struct weft_ctx *ctx)
#else
int weft_decide(struct weft_req *req, struct weft_ctx *ctx)
#endif
{
	if (!req || !ctx)
		return -WEFT_ENOENT;
	WEFT_IMG_BASE(-WEFT_ENOENT);
	__u32 rc = weft_route_config_at(ctx, WEFT_IMG(struct weft_img_hcm, req->dec.hcm)->route_config);

	weft_decision_reset(req);
	req->dec.epoch = ctx->epoch;
#ifndef __bpf__
	req->plain = NULL;
#endif
	/* one draw per request: deciding it again (a cell was missing) must not take another route */
	if (!ctx->random && !(ctx->flags & WEFT_CTX_EXPLAIN))
		ctx->random = weft_random();
	__u64 random = ctx->random;

	req->random = random;
	if (req->hcm_flags & WEFT_HCM_PATH_FORM &&
	    req->flags & WEFT_REQ_PATH_ODD)
		weft_hand(req, WEFT_HANDED_NORMALIZE);
	if (req->hcm_flags & WEFT_HCM_PREPARED ||
	    (rc && WEFT_IMG(struct weft_img_route_config, rc)->flags & WEFT_RC_PREPARED))
		weft_hand(req, WEFT_HANDED_UNBOUNDED);
	if (req->hcm_flags & WEFT_HCM_INTERNAL && req->present >> WEFT_HCM_TRACE_SLOT & 1)
		weft_hand(req, WEFT_HANDED_UNBOUNDED);
	if (req->dec.handed)
		return 0;
	weft_decide_route(req, ctx, rc, random);
	if (req->dec.handed)
		return 0;
#ifndef __bpf__
	/* CONNECT is an upgrade that no configuration which we accept has */
	if (req->flags & WEFT_REQ_CONNECT
		    ? req->dec.route != 0
		    : req->flags & WEFT_REQ_UPGRADE && !weft_upgrade_allowed(req)) {
		WEFT_TRACE(req, "upgrade", "not configured");
		req->dec.outcome = WEFT_OUTCOME_UPGRADE_FAILED;
		return 0;
	}
#endif
	int e = weft_filters_run(req, ctx, rc, random);

	if (e < 0)
		return e;
	if (!e)
		weft_decide_action(req, ctx);
	return 0;
}
