/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/* The hash of a request by its route's hash_policy; natively only: programs leave the endpoint of a request to the agent. */

#include "bpf/engine/cond.h"
#include "bpf/engine/consistent.h"
#include "bpf/engine/rbac.h"

#ifndef __bpf__

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>

#define WEFT_ADDRESS_TEXT (INET6_ADDRSTRLEN + 8)

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

int (*weft_rewrite)(const struct weft_img_nfa *nfa, const void *text, __u32 len,
		    const char *substitution, char **ret, __u32 *ret_len);

/* The value with each match replaced; as it is where nothing matches. *ret_text: to be freed. */
static void weft_hash_rewrite(const struct weft_img_hash *p, struct weft_hash_line *l,
			      char **ret_text)
{
	const struct weft_img_rewrite *re = p->rewrite ? weft_img_at(p->rewrite) : NULL;
	__u32 len = 0;

	*ret_text = NULL;
	if (!re || !re->nfa ||
	    weft_rewrite(weft_img_at(re->nfa), l->p, l->len, weft_img_at(re->text), ret_text,
			 &len) <= 0)
		return;
	*l = (struct weft_hash_line){(const __u8 *)*ret_text, len};
}

/* Where the values of a header stand: as many as there are lines of it. */
static __u32 weft_hash_lines(const struct weft_req *req, const struct weft_img_hash *p,
			     struct weft_hash_line *line)
{
	__u32 n = 0;

	if (p->slot != WEFT_HASH_BY_NAME) {
		const struct weft_span *v = &req->value[p->slot];

		if (req->present >> p->slot & 1)
			line[n++] = (struct weft_hash_line){req->head + v->off, v->len};
		else if (p->slot == WEFT_VALUE_SCHEME)
			line[n++] = (struct weft_hash_line){(const __u8 *)"http", 4};
		return n;
	}
	for (__u32 i = 0; i < req->n_field; i++) {
		const struct weft_field *f = &req->field[i];

		if (f->name.len == p->key.name_len &&
		    !memcmp(req->head + f->name.off, weft_img_at(p->key.name), f->name.len))
			line[n++] = (struct weft_hash_line){ req->head + f->value.off, f->value.len };
	}
	return n;
}

/* All lines of the name in the order of their bytes, the hash of each the seed of the next. */
static bool weft_hash_header(const struct weft_req *req, const struct weft_img_hash *p, __u64 *ret)
{
	struct weft_hash_line line[WEFT_REQ_FIELDS + WEFT_PREPARED_MAX];
	char *text[WEFT_REQ_FIELDS + WEFT_PREPARED_MAX];
	__u32 n = weft_hash_lines(req, p, line);

	for (__u32 i = 0; i < n; i++)
		weft_hash_rewrite(p, &line[i], &text[i]);
	qsort(line, n, sizeof(*line), weft_hash_line_order);
	*ret = 0;
	for (__u32 i = 0; i < n; i++)
		*ret = weft_hash_xx64(line[i].p, line[i].len, *ret);
	for (__u32 i = 0; i < n; i++)
		free(text[i]);
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

/* As Envoy's Address::asString(). */
static void weft_hash_address(const struct weft_sockaddr *a, char out[WEFT_ADDRESS_TEXT])
{
	const __u32 *w = a->addr.w;
	bool v4 = weft_addr_v4(&a->addr);
	char ip[INET6_ADDRSTRLEN] = "";

	inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? &w[3] : w, ip, sizeof(ip));
	snprintf(out, WEFT_ADDRESS_TEXT, v4 ? "%s:%u" : "[%s]:%u", ip, a->port);
}

void weft_cookie_value(const struct weft_ctx *ctx, char out[WEFT_COOKIE_LEN + 1])
{
	char text[2 * WEFT_ADDRESS_TEXT];
	struct weft_sockaddr a = ctx->src;

	weft_source_of(ctx, &a.addr);
	weft_hash_address(&a, text);
	weft_hash_address(&ctx->dst, text + strlen(text));
	snprintf(out, WEFT_COOKIE_LEN + 1, "%016llx",
		 (unsigned long long)weft_hash_xx64(text, strlen(text), 0));
}

/* A cookie that is not there, or empty: made where the policy says so. */
static bool weft_hash_made(const struct weft_ctx *ctx, const struct weft_img_hash *p, __u64 *ret)
{
	char value[WEFT_COOKIE_LEN + 1];

	if (!(p->flags & WEFT_HASH_MAKES))
		return false;
	weft_cookie_value(ctx, value);
	*ret = weft_hash_xx64(value, WEFT_COOKIE_LEN, 0);
	return true;
}

/* The i-th policy of the route. */
static bool weft_hash_one(struct weft_req *req, const struct weft_ctx *ctx, __u32 i, bool makes,
			  __u64 *ret)
{
	const struct weft_img_forward *f = weft_img_at(req->dec.forward);
	__u32 policy = f->hash + i * (__u32)sizeof(struct weft_img_hash);
	const struct weft_img_hash *p = weft_img_at(policy);
	__u32 key = policy + (__u32)offsetof(struct weft_img_hash, key);
	__u64 at;

	if (p->kind == WEFT_HASH_HEADER)
		return weft_hash_header(req, p, ret);
	if (p->kind == WEFT_HASH_SOURCE_IP)
		return weft_hash_source(req, ctx, ret);
	at = p->kind == WEFT_HASH_QUERY ? weft_query_find(req, key) : weft_cookie_find(req, key);
	/* an empty cookie counts as none, an empty parameter has a hash */
	if (at == WEFT_NO_TEXT || (p->kind == WEFT_HASH_COOKIE && !(__u32)at)) {
		if (!makes || p->kind != WEFT_HASH_COOKIE || !weft_hash_made(ctx, p, ret))
			return false;
		req->made |= 1ull << i;
		WEFT_TRACE(req, "cookie", "made for the connection: %.*s", (int)p->key.name_len,
			   (const char *)weft_img_at(p->key.name));
		return true;
	}
	*ret = weft_hash_xx64(req->head + (at >> 32), (__u32)at, 0);
	return true;
}

void weft_req_hash(struct weft_req *req, const struct weft_ctx *ctx, bool makes)
{
	const struct weft_img_forward *f = weft_img_at(req->dec.forward);

	req->made = 0;
	req->dec.hash = 0;
	req->dec.hashed = 0;
	for (__u32 i = 0; i < f->n_hash; i++) {
		const struct weft_img_hash *p =
			(const struct weft_img_hash *)weft_img_at(f->hash) + i;
		__u64 h;

		if (weft_hash_one(req, ctx, i, makes, &h)) {
			req->dec.hash = weft_xx_rotl(req->dec.hash, 1) ^ h;
			req->dec.hashed = 1;
		}
		if (req->dec.hashed && p->terminal)
			break;
	}
	if (f->n_hash && req->dec.hashed)
		WEFT_TRACE(req, "hash", "%llu", (unsigned long long)req->dec.hash);
	else if (f->n_hash)
		WEFT_TRACE(req, "hash", "no policy found anything: random");
}

#endif
