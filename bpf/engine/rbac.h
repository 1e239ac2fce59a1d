/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/*
 * RBAC of requests (envoy.filters.http.rbac) and of connections (envoy.filters.network.rbac). The compiler has laid
 * and, or and not out as jumps, always forward; so a verdict is a walk over at most as many tests as there are.
 */

#include "bpf/engine/address.h"
#include "bpf/engine/cell.h"
#include "bpf/engine/cond.h"
#include "bpf/engine/host.h"
#include "bpf/engine/metadata.h"

#ifndef __bpf__
#include <sys/socket.h>

#include "bpf/engine/http1_lines.h"

/* The address in x-forwarded-for (its lines are one natively) before the last `skip`. Its family as
 * it is written; 0: none. */
static int weft_forwarded_for(const struct weft_req *req, __u32 skip, struct weft_addr *ret)
{
	char text[INET6_ADDRSTRLEN + 1] = "";
	struct weft_addr a = { { 0 } };
	struct weft_span last = { 0, 0 };
	int family = AF_INET6;
	__u32 begin;

	for (__u32 i = 0; i < req->n_field; i++)
		if (weft_span_is(req, req->field[i].name, "x-forwarded-for"))
			last = req->field[i].value;
	for (begin = last.len; begin; begin--) {
		if (req->head[last.off + begin - 1] != ',')
			continue;
		if (!skip--)
			break;
		last.len = begin - 1;
	}
	if (!begin && skip)
		return 0; /* fewer than are trusted */
	last.off += begin;
	last.len -= begin;
	while (last.len && strchr(" \t", req->head[last.off])) {
		last.off++;
		last.len--;
	}
	while (last.len && strchr(" \t", req->head[last.off + last.len - 1]))
		last.len--;
	if (!last.len || last.len >= sizeof(text))
		return 0;
	memcpy(text, req->head + last.off, last.len);
	if (inet_pton(AF_INET, text, &a.w[3]) == 1) {
		a.w[2] = htonl(0xffff);
		family = AF_INET;
	} else if (inet_pton(AF_INET6, text, a.w) != 1) {
		return 0;
	}
	*ret = a;
	return family;
}

/* Who the client is: the connection's other end, or whom trusted proxies name (xff_num_trusted_hops; port 0 then). */
static void weft_remote_of(const struct weft_req *req, const struct weft_ctx *ctx,
			   struct weft_sockaddr *ret)
{
	const struct weft_img_hcm *h = weft_img_at(req->dec.hcm);
	bool edge = h->flags & WEFT_HCM_USE_REMOTE_ADDRESS;
	int family;

	if (req->remote.family) {
		*ret = req->remote;
		return;
	}
	*ret = ctx->src;
	weft_source_of(ctx, &ret->addr);
	if (edge && !h->trusted_hops)
		return;
	family = weft_forwarded_for(req, edge ? h->trusted_hops - 1 : h->trusted_hops, &ret->addr);
	if (!family)
		return;
	ret->port = 0;
	ret->family = (__u16)family;
}
#endif

/* Tests that need no request. */
WEFT_GLOBAL int weft_test_address(const struct weft_ctx *ctx, __u32 test)
{
	struct weft_addr a;

	if (!ctx)
		return 0;
	WEFT_IMG_BASE(0);
	struct weft_img_test *t = WEFT_IMG(struct weft_img_test, test);

	if (t->kind == WEFT_TEST_PORT)
		return ctx->dst.port >= t->start && ctx->dst.port < t->end;
	if (t->kind == WEFT_TEST_DESTINATION)
		return weft_addr_in(&ctx->dst.addr, t);
	weft_source_of(ctx, &a);
	return weft_addr_in(&a, t);
}

WEFT_INLINE int weft_test_holds(struct weft_req *req, const struct weft_ctx *ctx, __u32 test)
{
	WEFT_IMG_BASE(0);
	struct weft_img_test *t = WEFT_IMG(struct weft_img_test, test);

	if (t->kind == WEFT_TEST_COND)
		return weft_cond_header(req, t->cond);
	if (t->kind == WEFT_TEST_METADATA)
		return weft_metadata_holds(req, t->cond);
	if (t->kind == WEFT_TEST_REMOTE && req->present >> (t->slot & 63) & 1) {
		weft_hand(req, WEFT_HANDED_UNBOUNDED);
#ifndef __bpf__
		struct weft_sockaddr a;

		weft_remote_of(req, ctx, &a);
		return weft_addr_in(&a.addr, t);
#endif
	}
	return weft_test_address(ctx, test);
}

struct weft_rules_walk {
	struct weft_req *req;
	const struct weft_ctx *ctx;
	__u32 test, at;
};

static long weft_rules_step(__u32 i, void *p)
{
	struct weft_rules_walk *c = p;
	__u32 test = c->test + c->at * (__u32)sizeof(struct weft_img_test);
	WEFT_IMG_BASE(1);

	(void)i;
	if (weft_test_holds(c->req, c->ctx, test))
		c->at = WEFT_IMG(struct weft_img_test, test)->yes;
	else
		c->at = WEFT_IMG(struct weft_img_test, test)->no;
	return c->at & WEFT_RULES_END ? 1 : 0;
}

/* The policy that matches + 1, 0: none. Programs may find that the agent must judge (dec.handed). */
WEFT_GLOBAL __u32 weft_rules_match(struct weft_req *req, const struct weft_ctx *ctx, __u32 rules)
{
	if (!req || !ctx)
		return 0;
	WEFT_IMG_BASE(0);
	struct weft_rules_walk c = { .req = req, .ctx = ctx };
	__u32 n = WEFT_IMG(struct weft_img_rules, rules)->n;

	c.test = WEFT_IMG(struct weft_img_rules, rules)->test;
	c.at = WEFT_IMG(struct weft_img_rules, rules)->start;
	if (WEFT_KERNEL && n > WEFT_TESTS_MAX)
		n = WEFT_TESTS_MAX;
	if (!(c.at & WEFT_RULES_END))
		WEFT_LOOP(n, weft_rules_step, &c);
	if (!(c.at & WEFT_RULES_END))
		weft_hand(req, WEFT_HANDED_UNBOUNDED);
	return c.at & ~WEFT_RULES_END;
}

/* Does an action let it through? */
WEFT_INLINE int weft_rules_allow(__u32 rules, __u32 policy)
{
	WEFT_IMG_BASE(0);
	__u32 action = WEFT_IMG(struct weft_img_rules, rules)->action;

	return action == WEFT_RULES_LOG || !policy == (action == WEFT_RULES_DENY);
}

/* HTTP RBAC: 0 goes on, 1 refused, or the agent must go on. */
WEFT_GLOBAL int weft_rbac_run(struct weft_req *req, struct weft_ctx *ctx, __u32 config, __u32 cell)
{
	if (!req || !ctx)
		return 1;
	WEFT_IMG_BASE(1);
	__u32 rules = WEFT_IMG(struct weft_img_rbac, config)->rules;
	__u32 shadow = WEFT_IMG(struct weft_img_rbac, config)->shadow;
	__u32 counts = !(ctx->flags & WEFT_CTX_EXPLAIN), policy, allowed, shadow_allowed = 0;

	/* nothing is counted before everything is known: what is handed over is judged again */
	if (shadow) {
		policy = weft_rules_match(req, ctx, shadow);
		shadow_allowed = (__u32)weft_rules_allow(shadow, policy);
		WEFT_TRACE(req, "rbac", "shadow rules: %s, policy %u", shadow_allowed ? "allowed" : "denied", policy);
	}
	policy = rules ? weft_rules_match(req, ctx, rules) : 0;
	allowed = rules ? (__u32)weft_rules_allow(rules, policy) : 1;
	if (WEFT_KERNEL && req->dec.handed)
		return 1;
	if (counts && shadow && shadow_allowed)
		WEFT_COUNT(cell, struct weft_cell_filter, shadow_allowed);
	if (counts && shadow && !shadow_allowed)
		WEFT_COUNT(cell, struct weft_cell_filter, shadow_denied);
	if (!rules)
		return 0;
	__u32 named = WEFT_IMG(struct weft_img_rules, rules)->policy +
		      (policy - 1) * (__u32)sizeof(struct weft_img_policy);

	if (policy)
		WEFT_TRACE(req, "rbac", "policy %.*s matches: %s",
			   (int)WEFT_IMG(struct weft_img_policy, named)->name.len,
			   (const char *)WEFT_IMG(char, WEFT_IMG(struct weft_img_policy, named)->name.off),
			   allowed ? "allowed" : "denied");
	else
		WEFT_TRACE(req, "rbac", "no policy matches: %s", allowed ? "allowed" : "denied");
	if (allowed) {
		if (counts)
			WEFT_COUNT(cell, struct weft_cell_filter, allowed);
		return 0;
	}
	if (counts)
		WEFT_COUNT(cell, struct weft_cell_filter, denied);
	req->dec.outcome = WEFT_OUTCOME_RBAC_DENIED;
	req->dec.reply = policy ? WEFT_IMG(struct weft_img_policy, named)->reply :
				  WEFT_IMG(struct weft_img_rules, rules)->reply;
	return 1;
}

/* ---- connections ---- */

/* As weft_rules_match(), for rules without conditions on requests. ~0: too many tests for a program. */
WEFT_GLOBAL __u32 weft_conn_rules_match(const struct weft_ctx *ctx, __u32 rules)
{
	if (!ctx)
		return ~0u;
	WEFT_IMG_BASE(~0u);
	__u32 base = WEFT_IMG(struct weft_img_rules, rules)->test;
	__u32 at = WEFT_IMG(struct weft_img_rules, rules)->start;

	WEFT_FOR(i, WEFT_CONN_TESTS_MAX + 1) {
		if (at & WEFT_RULES_END)
			return at & ~WEFT_RULES_END;
		__u32 test = base + at * (__u32)sizeof(struct weft_img_test);

		if (weft_test_address(ctx, test))
			at = WEFT_IMG(struct weft_img_test, test)->yes;
		else
			at = WEFT_IMG(struct weft_img_test, test)->no;
	}
	return ~0u;
}

#define WEFT_CONN_COUNT 1u /* count the verdict */
#define WEFT_CONN_CELLS 2u /* only look whether every cell is there */

/* One network RBAC filter: 0 allowed, 1 denied, 2 only the agent can tell, -EAGAIN: a cell is missing (*ret_need). */
WEFT_GLOBAL int weft_conn_rbac_one(const struct weft_ctx *ctx, __u32 rbac, __u32 how, __u32 *ret_need)
{
	if (!ctx || !ret_need)
		return 2;
	WEFT_IMG_BASE(2);
	__u32 rules = WEFT_IMG(struct weft_img_rbac, rbac)->rules;
	__u32 shadow = WEFT_IMG(struct weft_img_rbac, rbac)->shadow;
	__u32 id = WEFT_IMG(struct weft_img_rbac, rbac)->cell, cell = weft_cell_find(ctx->pod, id);
	__u32 policy = 0, shadow_policy = 0;

	if (how & WEFT_CONN_CELLS) {
		*ret_need = id;
		return cell || ctx->flags & WEFT_CTX_EXPLAIN ? 0 : -WEFT_EAGAIN;
	}
	if (shadow)
		shadow_policy = weft_conn_rules_match(ctx, shadow);
	if (rules)
		policy = weft_conn_rules_match(ctx, rules);
	if (policy == ~0u || shadow_policy == ~0u)
		return 2;
	if (!cell || ctx->flags & WEFT_CTX_EXPLAIN)
		how = 0;
	if (how && shadow) {
		if (weft_rules_allow(shadow, shadow_policy))
			WEFT_COUNT(cell, struct weft_cell_filter, shadow_allowed);
		else
			WEFT_COUNT(cell, struct weft_cell_filter, shadow_denied);
	}
	if (!rules)
		return 0;
	if (weft_rules_allow(rules, policy)) {
		if (how)
			WEFT_COUNT(cell, struct weft_cell_filter, allowed);
		return 0;
	}
	if (how)
		WEFT_COUNT(cell, struct weft_cell_filter, denied);
	return 1;
}

/* All network RBAC filters of a chain, as weft_conn_rbac_one(). */
WEFT_GLOBAL int weft_conn_rbac_run(const struct weft_ctx *ctx, __u32 chain, __u32 how, __u32 *ret_need)
{
	if (!ctx || !ret_need)
		return 2;
	if (ctx->flags & WEFT_CTX_LIMITS_PAID)
		return 0;
	WEFT_IMG_BASE(2);
	__u32 n = WEFT_IMG(struct weft_img_chain, chain)->n_rbac;

	for (__u32 i = 0; i < WEFT_CONN_LIMITS_MAX; i++) {
		if (i >= n)
			return 0;
		__u32 off = *WEFT_IMG(__u32, chain + offsetof(struct weft_img_chain, rbac) + i * 4);
		int r = weft_conn_rbac_one(ctx, off, how, ret_need);

		if (r)
			return r;
	}
	return 0;
}
