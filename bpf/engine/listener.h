/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/* From a destination to a listener, a filter chain and the class of the connection (Envoy's use_original_dst). */

#include "bpf/engine/mem.h"

#define WEFT_AF_INET 2

/* Reads the published root once: everything after works on one configuration. */
WEFT_API int weft_ctx_begin(struct weft_ctx *ctx)
{
	if (!ctx)
		return -WEFT_ENOENT;
	WEFT_IMG_BASE(-WEFT_ENOENT);
	__u64 root = WEFT_READ(WEFT_IMG(struct weft_img_head, 0)->root);
	__u32 off = (__u32)root, view = ctx->view;

	ctx->epoch = (__u32)(root >> 32);
	ctx->view_off = 0;
	ctx->listener = 0;
	if (!off || view >= WEFT_IMG(struct weft_img_root, off)->n_view)
		return -WEFT_ENOENT;
	ctx->view_off = *WEFT_IMG(__u32, off + sizeof(struct weft_img_root) + view * 4);
	if (ctx->pod < WEFT_IMG(struct weft_img_root, off)->n_own) {
		__u32 own =
			*WEFT_IMG(__u32, WEFT_IMG(struct weft_img_root, off)->own + ctx->pod * 4);

		if (own)
			ctx->view_off = own;
	}
	return ctx->view_off ? 0 : -WEFT_ENOENT;
}

WEFT_INLINE int weft_addr_equal(const struct weft_addr *a, const struct weft_addr *b)
{
	return a->w[0] == b->w[0] && a->w[1] == b->w[1] && a->w[2] == b->w[2] && a->w[3] == b->w[3];
}

/* Value of (dst's address or zero, dst's port) in an address table. */
WEFT_GLOBAL __u32 weft_addr_find(const struct weft_ctx *ctx, __u32 tab, __u32 any_addr)
{
	struct weft_addr addr = { { 0, 0, 0, 0 } };

	if (!ctx || !tab)
		return 0;
	WEFT_IMG_BASE(0);
	__u32 port = ctx->dst.port;

	if (!any_addr)
		addr = ctx->dst.addr;
	else if (ctx->dst.family == WEFT_AF_INET)
		addr.w[2] = 0xffff0000u; /* ::ffff:0.0.0.0, network order */
	__u32 hash = weft_addr_hash(&addr, port);
	__u32 mask = WEFT_IMG(struct weft_img_addr_tab, tab)->mask;

	for (__u32 i = 0; i < WEFT_TAB_PROBES; i++) {
		struct weft_img_addr_ent *e = WEFT_IMG(
			struct weft_img_addr_ent,
			tab + sizeof(struct weft_img_addr_tab) + ((hash + i) & mask) * sizeof(*e));

		if (!e->port)
			return 0;
		if (e->port == port && weft_addr_equal(&e->addr, &addr))
			return e->val;
	}
	return 0;
}

WEFT_API int weft_listener_find(struct weft_ctx *ctx)
{
	if (!ctx || !ctx->view_off)
		return -WEFT_ENOENT;
	WEFT_IMG_BASE(-WEFT_ENOENT);
	__u32 exact = WEFT_IMG(struct weft_img_view, ctx->view_off)->listener;
	__u32 wild = WEFT_IMG(struct weft_img_view, ctx->view_off)->wildcard;
	__u32 l = weft_addr_find(ctx, exact, 0);

	if (!l)
		l = weft_addr_find(ctx, wild, 1);
	if (!l)
		l = WEFT_IMG(struct weft_img_view, ctx->view_off)->fallback;
	ctx->listener = l;
	return l ? 0 : -WEFT_ENOENT;
}

/* Bits of the group's prefix that the destination does not have; no branches, which programs pay
 * for. */
WEFT_INLINE __u32 weft_group_differs(const struct weft_ctx *ctx,
				     const struct weft_img_chain_group *g)
{
	const struct weft_addr *a = &ctx->dst.addr;

	return ((a->w[0] & g->mask.w[0]) ^ g->prefix.w[0]) |
	       ((a->w[1] & g->mask.w[1]) ^ g->prefix.w[1]) |
	       ((a->w[2] & g->mask.w[2]) ^ g->prefix.w[2]) |
	       ((a->w[3] & g->mask.w[3]) ^ g->prefix.w[3]);
}

/* The group of the connection's original destination, 0 none. */
WEFT_GLOBAL __u32 weft_group_find(const struct weft_ctx *ctx)
{
	if (!ctx || !ctx->listener)
		return 0;
	WEFT_IMG_BASE(0);
	__u32 n = WEFT_IMG(struct weft_img_listener, ctx->listener)->n_group;
	__u32 off = WEFT_IMG(struct weft_img_listener, ctx->listener)->group;

#ifdef __bpf__
	for (__u32 i = 0; i < WEFT_CHAIN_GROUPS_MAX; i++) {
#else
	for (__u32 i = 0; i < WEFT_CHAIN_GROUPS_ALL_MAX; i++) {
#endif
		if (i >= n)
			return 0;
		__u32 g = off + i * (__u32)sizeof(struct weft_img_chain_group);
		struct weft_img_chain_group *group = WEFT_IMG(struct weft_img_chain_group, g);

		if (group->port && group->port != ctx->dst.port)
			continue;
		if (!weft_group_differs(ctx, group))
			return g;
	}
	return 0;
}

#ifdef __bpf__
WEFT_API __u32 weft_chain_find(const struct weft_ctx *ctx, __u32 proto)
#else
WEFT_API __u32 weft_chain_find(const struct weft_ctx *ctx, enum weft_proto proto)
#endif
{
	__u32 g = weft_group_find(ctx);

	if (!g || proto >= WEFT_PROTO__MAX)
		return 0;
	WEFT_IMG_BASE(0);
#ifndef __bpf__
	if (WEFT_IMG(struct weft_img_chain_group, g)->rules)
		return weft_rules_find(ctx, WEFT_IMG(struct weft_img_chain_group, g)->rules, proto);
#endif
	return *WEFT_IMG(__u32, g + offsetof(struct weft_img_chain_group, chain) + (__u32)proto * 4);
}

/*
 * Whatever the bytes and the source will be, the chain is the same: no inspector, or equal columns.
 * Else only the agent, which knows both, can tell. In a group with rules the columns are zero:
 * programs that ask for its chain get none.
 */
WEFT_GLOBAL int weft_chain_certain(const struct weft_ctx *ctx, __u32 group)
{
	if (!ctx)
		return 1;
	WEFT_IMG_BASE(0);
	__u32 flags = WEFT_IMG(struct weft_img_listener, ctx->listener)->flags;

	if (flags & WEFT_LISTENER_MANY)
		return 0;
	if (!group)
		return 1;
	struct weft_img_chain_group *g = WEFT_IMG(struct weft_img_chain_group, group);
	__u32 raw = g->chain[WEFT_PROTO_RAW];

	if (g->rules)
		return 0;
	if (flags & WEFT_LISTENER_INSPECT_TLS && g->chain[WEFT_PROTO_TLS] != raw)
		return 0;
	if (flags & WEFT_LISTENER_INSPECT_HTTP &&
	    (g->chain[WEFT_PROTO_HTTP10] != raw || g->chain[WEFT_PROTO_HTTP11] != raw ||
	     g->chain[WEFT_PROTO_H2C] != raw))
		return 0;
	return 1;
}

#ifdef __bpf__
WEFT_API int weft_class_find(struct weft_ctx *ctx, __u32 *ret_chain)
#else
WEFT_API enum weft_class weft_class_find(struct weft_ctx *ctx, __u32 *ret_chain)
#endif
{
	if (!ctx || !ret_chain || weft_listener_find(ctx))
		return WEFT_CLASS_BYPASS;
	__u32 group = weft_group_find(ctx);

	if (!weft_chain_certain(ctx, group))
		return WEFT_CLASS_CAPTURED;
	__u32 chain = weft_chain_find(ctx, WEFT_PROTO_RAW);

	if (!chain)
		return WEFT_CLASS_REFUSED;
	WEFT_IMG_BASE(WEFT_CLASS_BYPASS);
	if (WEFT_IMG(struct weft_img_chain, chain)->kind != WEFT_CHAIN_TCP ||
	    WEFT_IMG(struct weft_img_chain, chain)->flags &
		    (WEFT_CHAIN_RBAC_AGENT | WEFT_CHAIN_CRITERIA | WEFT_CHAIN_ASKS |
		     WEFT_CHAIN_TIMED))
		return WEFT_CLASS_CAPTURED;
	*ret_chain = chain;
	return WEFT_CLASS_L4;
}
