/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/* The hash of a request by its route's hash_policy; natively only: programs leave the endpoint of a request to the agent. */

#include "bpf/engine/cond.h"
#include "bpf/engine/consistent.h"
#include "bpf/engine/rbac.h"

#ifndef __bpf__

#include <arpa/inet.h>
#include <stdlib.h>

struct weft_hash_line {
	const __u8 *p;
	__u32 len;
};

static int weft_hash_line_order(const void *a, const void *b)
{
	const struct weft_hash_line *x = a, *y = b;
	int c = memcmp(x->p, y->p, x->len < y->len ? x->len : y->len);

	return c ? c : (x->len > y->len) - (x->len < y->len);
}

/* All lines of the name in the order of their bytes, the hash of each the seed of the next. */
static bool weft_hash_header(const struct weft_req *req, const struct weft_img_hash *p, __u64 *ret)
{
	struct weft_hash_line line[WEFT_REQ_FIELDS + WEFT_PREPARED_MAX];
	__u32 n = 0;

	if (p->slot != WEFT_HASH_BY_NAME) {
		if (!(req->present >> p->slot & 1))
			return false;
		*ret = weft_hash_xx64(req->head + req->value[p->slot].off, req->value[p->slot].len, 0);
		return true;
	}
	for (__u32 i = 0; i < req->n_field; i++) {
		const struct weft_field *f = &req->field[i];

		if (f->name.len == p->key.name_len &&
		    !memcmp(req->head + f->name.off, weft_img_at(p->key.name), f->name.len))
			line[n++] = (struct weft_hash_line){ req->head + f->value.off, f->value.len };
	}
	qsort(line, n, sizeof(*line), weft_hash_line_order);
	*ret = 0;
	for (__u32 i = 0; i < n; i++)
		*ret = weft_hash_xx64(line[i].p, line[i].len, *ret);
	return n;
}

static bool weft_hash_source(const struct weft_req *req, const struct weft_ctx *ctx, __u64 *ret)
{
	struct weft_sockaddr a;
	const __u32 *w = a.addr.w;
	char ip[INET6_ADDRSTRLEN];
	bool v4;

	weft_remote_of(req, ctx, &a);
	v4 = weft_addr_v4(&a.addr);

	if (!inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? &w[3] : w, ip, sizeof(ip)))
		return false;
	*ret = weft_hash_xx64(ip, strlen(ip), 0);
	return true;
}

static bool weft_hash_one(struct weft_req *req, const struct weft_ctx *ctx, __u32 policy, __u64 *ret)
{
	const struct weft_img_hash *p = weft_img_at(policy);
	__u32 key = policy + (__u32)offsetof(struct weft_img_hash, key);
	__u64 at;

	if (p->kind == WEFT_HASH_HEADER)
		return weft_hash_header(req, p, ret);
	if (p->kind == WEFT_HASH_SOURCE_IP)
		return weft_hash_source(req, ctx, ret);
	at = p->kind == WEFT_HASH_QUERY ? weft_query_find(req, key) : weft_cookie_find(req, key);
	/* an empty cookie counts as none, an empty parameter has a hash */
	if (at == WEFT_NO_TEXT || (p->kind == WEFT_HASH_COOKIE && !(__u32)at))
		return false;
	*ret = weft_hash_xx64(req->head + (at >> 32), (__u32)at, 0);
	return true;
}

void weft_req_hash(struct weft_req *req, const struct weft_ctx *ctx)
{
	const struct weft_img_forward *f = weft_img_at(req->dec.forward);

	req->dec.hash = 0;
	req->dec.hashed = 0;
	for (__u32 i = 0; i < f->n_hash; i++) {
		__u32 policy = f->hash + i * (__u32)sizeof(struct weft_img_hash);
		__u64 h;

		if (weft_hash_one(req, ctx, policy, &h)) {
			req->dec.hash = weft_xx_rotl(req->dec.hash, 1) ^ h;
			req->dec.hashed = 1;
		}
		if (req->dec.hashed && ((const struct weft_img_hash *)weft_img_at(policy))->terminal)
			break;
	}
	if (f->n_hash && req->dec.hashed)
		WEFT_TRACE(req, "hash", "%llu", (unsigned long long)req->dec.hash);
	else if (f->n_hash)
		WEFT_TRACE(req, "hash", "no policy found anything: random");
}

#endif
