/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/*
 * What Envoy's connection manager changes in a request between its codec and the routes, in Envoy's order
 * (ConnectionManagerUtility::mutateRequestHeaders, 1.40): who the client is, x-forwarded-*, what is taken from
 * clients, via, x-request-id. Natively only: the kernel hands over a request whose rules look at any of it.
 */

#include <stdio.h>

#include "bpf/engine/http1_full.h"
#include "bpf/engine/rbac.h"

struct weft_prepare {
	struct weft_req *req;
	__u8 *at, *end; /* room behind the head */
};

/* Bytes that live as long as the request; of no length when there is no room. */
static struct weft_span weft_prepare_text(struct weft_prepare *p, const void *bytes, size_t n)
{
	struct weft_span s = { (__u32)(p->at - p->req->head), 0 };

	if ((size_t)(p->end - p->at) < n)
		return s;
	memcpy(p->at, bytes, n);
	p->at += n;
	s.len = (__u32)n;
	return s;
}

static bool weft_prepare_is(const struct weft_req *req, __u32 i, const char *name, __u32 n)
{
	struct weft_span s = req->field[i].name;

	return s.len == n && !memcmp(req->head + s.off, name, n);
}

static struct weft_field *weft_prepare_find(struct weft_req *req, const char *name)
{
	for (__u32 i = 0; i < req->n_field; i++)
		if (weft_span_is(req, req->field[i].name, name))
			return &req->field[i];
	return NULL;
}

/* Its slot's place in value[], 0: no rule looks at it. */
static __u32 weft_prepare_slot(struct weft_req *req, const char *name, __u32 n)
{
	__u32 hash = weft_hash_name(name, n), slot = 0;

	if (req->bloom >> (hash & 63) & 1)
		slot = weft_tab_find_known(req->headers, hash, (__u32)WEFT_KIND_HEADER << 16 | n);
	return slot > WEFT_VALUE__HEADERS ? (slot - 1) & (WEFT_NAMES_MAX - 1) : 0;
}

static void weft_prepare_drop(struct weft_req *req, const char *name, __u32 n)
{
	bool had = false;
	__u32 slot;

	for (__u32 i = 0; i < req->n_field;) {
		if (weft_prepare_is(req, i, name, n)) {
			weft_field_drop(req, i);
			had = true;
		} else {
			i++;
		}
	}
	slot = had ? weft_prepare_slot(req, name, n) : 0;
	if (slot)
		req->present &= ~(1ull << slot);
}

/* One line of this name in place of all; rules see it. */
static void weft_prepare_set(struct weft_prepare *p, const char *name, struct weft_span value)
{
	struct weft_req *req = p->req;
	__u32 n = (__u32)strlen(name), slot = weft_prepare_slot(req, name, n);
	struct weft_field *f = weft_prepare_find(req, name);
	struct weft_span text = f ? f->name : weft_prepare_text(p, name, n);

	if (text.len != n)
		return;
	weft_prepare_drop(req, name, n);
	req->field[req->n_field++] = (struct weft_field){ text, value };
	if (!slot)
		return;
	req->present |= 1ull << slot;
	req->repeated &= ~(1ull << slot);
	req->value[slot] = value;
}

static void weft_prepare_put(struct weft_prepare *p, const char *name, const void *value, size_t n)
{
	weft_prepare_set(p, name, weft_prepare_text(p, value, n));
}

/* At the end of the value there is, if it is not empty. */
static void weft_prepare_append(struct weft_prepare *p, const char *name, const char *between,
				const void *value, size_t n)
{
	struct weft_field *f = weft_prepare_find(p->req, name);
	struct weft_span all = { (__u32)(p->at - p->req->head), 0 };

	if (f && f->value.len) {
		all.len += weft_prepare_text(p, p->req->head + f->value.off, f->value.len).len;
		all.len += weft_prepare_text(p, between, strlen(between)).len;
	}
	all.len += weft_prepare_text(p, value, n).len;
	weft_prepare_set(p, name, all);
}

/* ---- the steps ---- */

/* One that is written as IPv6 stays so, even if it is a mapped IPv4. */
static size_t weft_address_text(const struct weft_sockaddr *s, char out[INET6_ADDRSTRLEN])
{
	const struct weft_addr *a = &s->addr;
	bool v4 = weft_addr_v4(a) && s->family != AF_INET6;

	return inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? &a->w[3] : a->w, out, INET6_ADDRSTRLEN) ?
		       strlen(out) :
		       0;
}

static void weft_prepare_forwarded(struct weft_prepare *p, const struct weft_ctx *ctx, bool trusted)
{
	struct weft_req *req = p->req;
	char text[INET6_ADDRSTRLEN], port[8];
	int n = snprintf(port, sizeof(port), "%u", ctx->dst.port);
	bool edge = req->hcm_flags & WEFT_HCM_USE_REMOTE_ADDRESS;

	/* of a client on loopback Envoy puts its own address there: the pod's, as ctx->src has it */
	if (edge && !(req->hcm_flags & WEFT_HCM_SKIP_XFF_APPEND))
		weft_prepare_append(p, "x-forwarded-for", ",", text,
				    weft_address_text(&ctx->src, text));
	if ((edge && !trusted) || !weft_prepare_find(req, "x-forwarded-proto"))
		weft_prepare_put(p, "x-forwarded-proto", "http", 4);
	if (req->hcm_flags & WEFT_HCM_APPEND_PORT &&
	    ((edge && !trusted) || !weft_prepare_find(req, "x-forwarded-port")))
		weft_prepare_put(p, "x-forwarded-port", port, (size_t)n);
}

/* scheme_header_transformation */
static void weft_prepare_scheme(struct weft_prepare *p)
{
	struct weft_req *req = p->req;
	__u32 n = req->hcm_flags & WEFT_HCM_SCHEME_HTTPS ? 5 : 4;

	if (!(req->hcm_flags & (WEFT_HCM_SCHEME_HTTP | WEFT_HCM_SCHEME_HTTPS)))
		return;
	weft_prepare_put(p, "x-forwarded-proto", "https", n);
	req->present |= 1ull << WEFT_VALUE_SCHEME;
	req->value[WEFT_VALUE_SCHEME] = weft_prepare_text(p, "https", n);
}

static bool weft_prepare_inside(const struct weft_img_hcm *h, const struct weft_addr *a, bool v4)
{
	const struct weft_img_test *t = weft_img_at(h->internal);

	for (__u32 i = 0; i < h->n_internal; i++) {
		bool in = t[i].v4 == v4;

		for (int k = 0; k < 4; k++)
			in = in && !((a->w[k] ^ t[i].addr.w[k]) & t[i].mask.w[k]);
		if (in)
			return true;
	}
	return false;
}

/*
 * Is the request internal? Its client's address is in one of the ranges, and nobody in between has
 * been trusted to name it: an edge has seen no x-forwarded-for, others exactly one address in it.
 */
static bool weft_prepare_internal(const struct weft_req *req, const struct weft_ctx *ctx,
				  const struct weft_img_hcm *h)
{
	const struct weft_field *f =
		weft_prepare_find((struct weft_req *)(uintptr_t)req, "x-forwarded-for");
	struct weft_addr a;
	int family;

	if (!h->n_internal)
		return false;
	if (h->flags & WEFT_HCM_USE_REMOTE_ADDRESS) {
		a = ctx->src.addr;
		weft_source_of(ctx, &a);
		return !f && weft_prepare_inside(h, &a, weft_addr_v4(&a));
	}
	if (!f || h->trusted_hops || memchr(req->head + f->value.off, ',', f->value.len))
		return false;
	family = weft_forwarded_for(req, 0, &a);
	return family && weft_prepare_inside(h, &a, family == AF_INET);
}

/* What no client may say whose request is not internal. */
static void weft_prepare_clean(struct weft_req *req, const struct weft_ctx *ctx,
			       const struct weft_img_hcm *h)
{
	__u32 table = weft_route_config_at(ctx, h->route_config);
	const struct weft_img_route_config *rc = table ? weft_img_at(table) : NULL;
	const struct weft_img_str *own = rc ? weft_img_at(rc->internal_only) : NULL;

	for (__u32 i = 0; rc && i < rc->n_internal_only; i++)
		weft_prepare_drop(req, weft_img_at(own[i].off), own[i].len);
	for (size_t i = 0; i < WEFT_N_REMOVED; i++)
		weft_prepare_drop(req, weft_removed[i], (__u32)strlen(weft_removed[i]));
	for (size_t i = 0; req->hcm_flags & WEFT_HCM_USE_REMOTE_ADDRESS && i < WEFT_N_REMOVED_EDGE; i++)
		weft_prepare_drop(req, weft_removed_edge[i], (__u32)strlen(weft_removed_edge[i]));
}

/* add_user_agent */
static void weft_prepare_agent(struct weft_prepare *p, const struct weft_img_user_agent *a)
{
	struct weft_field *f = weft_prepare_find(p->req, "user-agent");

	weft_prepare_put(p, "x-envoy-downstream-service-cluster", weft_img_at(a->cluster.off),
			 a->cluster.len);
	if (!f || !f->value.len)
		weft_prepare_put(p, "user-agent", weft_img_at(a->cluster.off), a->cluster.len);
	if (a->node.len)
		weft_prepare_put(p, "x-envoy-downstream-service-node", weft_img_at(a->node.off),
				 a->node.len);
}

static void weft_prepare_id(struct weft_prepare *p, const char *id, bool edge)
{
	const __u32 flags = p->req->hcm_flags;
	struct weft_field *f = weft_prepare_find(p->req, "x-request-id");
	bool keep = flags & WEFT_HCM_PRESERVE_REQUEST_ID;

	if (!(flags & WEFT_HCM_GENERATE_REQUEST_ID))
		return;
	if (!f || !f->value.len || (edge && !keep)) {
		weft_prepare_put(p, "x-request-id", id, 36);
	} else if (edge && f->value.len == 36) {
		/* the place where Envoy says how a trace was chosen: not at all */
		struct weft_span s = weft_prepare_text(p, p->req->head + f->value.off, 36);

		if (s.len)
			p->req->head[s.off + 14] = '4';
		weft_prepare_set(p, "x-request-id", s);
	}
}

bool weft_req_field_seen(struct weft_req *req, __u32 field)
{
	const struct weft_field *f = &req->field[field];
	__u32 slot = weft_prepare_slot(req, (const char *)req->head + f->name.off, f->name.len);
	__u32 n = 0;

	if (!slot)
		return true;
	for (__u32 i = 0; i < req->n_field; i++)
		n += weft_prepare_is(req, i, (const char *)req->head + f->name.off, f->name.len);
	req->repeated = n > 1 ? req->repeated | 1ull << slot : req->repeated & ~(1ull << slot);
	if (n == 1)
		req->value[slot] = f->value;
	req->present |= 1ull << slot;
	return true;
}

void weft_req_prepare(struct weft_req *req, const struct weft_ctx *ctx, const char *id, void *room,
		      size_t size)
{
	const struct weft_img_hcm *h = weft_img_at(req->dec.hcm);
	struct weft_prepare p = { req, room, (__u8 *)room + size };
	char text[INET6_ADDRSTRLEN];

	bool internal = weft_prepare_internal(req, ctx, h);
	bool edge = req->hcm_flags & WEFT_HCM_USE_REMOTE_ADDRESS && !internal;

	weft_remote_of(req, ctx, &req->remote);
	weft_prepare_forwarded(&p, ctx, h->trusted_hops);
	weft_prepare_scheme(&p);
	if (internal)
		weft_prepare_put(&p, "x-envoy-internal", "true", 4);
	else
		weft_prepare_clean(req, ctx, h);
	if (h->user_agent)
		weft_prepare_agent(&p, weft_img_at(h->user_agent));
	if (internal && weft_prepare_find(req, "x-envoy-force-trace"))
		req->hcm_flags |= WEFT_HCM_REQUEST_ID_IN_RESPONSE;
	if (h->via.len)
		weft_prepare_append(&p, "via", ", ", weft_img_at(h->via.off), h->via.len);
	if (edge)
		weft_prepare_put(&p, "x-envoy-external-address", text,
				 weft_address_text(&req->remote, text));
	weft_prepare_id(&p, id, edge);
}
