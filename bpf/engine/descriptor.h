/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/*
 * Descriptors of a request and the buckets they pick (Envoy's local rate limit), natively; the part
 * of programs is bpf/engine/rate.h. Buckets of descriptors that name all their values are cells of
 * the state, which both pay from; the agent keeps those of descriptors that have one for each
 * value.
 */

#include "bpf/abi/rate.h"
#include "bpf/engine/cond.h"
#include "bpf/engine/hex.h"
#include "bpf/engine/limit.h"
#include "bpf/engine/rbac.h"

#ifndef __bpf__

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A descriptor's bucket that the request at hand is to pay. */
struct weft_rate_match {
	const struct weft_img_rate_descriptor *d;
	__u32 index;
	__u64 hits;
	bool tell;
	struct weft_rate_text key; /* of its own bucket, where there is one for each value */
};

/* Texts that stand nowhere else, until the filter is done. */
struct weft_rate_chunk {
	struct weft_rate_chunk *next;
	__u8 p[];
};
struct weft_rate_room {
	__u32 n, size;
	__u8 *p;
	struct weft_rate_chunk *chunks;
	bool failed; /* no memory: nothing that was found counts */
	__u8 own[1024];
};
#define WEFT_RATE_CHUNK 16384u

/* Bytes that stay where they are, 64 more readable behind them (weft_cond_value()). p: NULL without
 * memory. */
static struct weft_rate_text weft_rate_take_room(struct weft_rate_room *room, __u32 len)
{
	struct weft_rate_text t = {NULL, len};

	if (len + 64 > room->size - room->n) {
		__u32 size = len > WEFT_RATE_CHUNK - 64 ? len + 64 : WEFT_RATE_CHUNK;
		struct weft_rate_chunk *c = malloc(sizeof(*c) + size);

		room->failed |= !c;
		if (!c)
			return t;
		c->next = room->chunks;
		room->chunks = c;
		room->p = c->p;
		room->size = size;
		room->n = 0;
	}
	t.p = room->p + room->n;
	room->n += len;
	return t;
}

static struct weft_rate_text weft_rate_put(struct weft_rate_room *room, const void *p, __u32 len)
{
	struct weft_rate_text t = weft_rate_take_room(room, len);

	if (t.p)
		memcpy((void *)t.p, p, len);
	return t;
}

static void weft_rate_room_clear(struct weft_rate_room *room)
{
	while (room->chunks) {
		struct weft_rate_chunk *next = room->chunks->next;

		free(room->chunks);
		room->chunks = next;
	}
}

static struct weft_rate_text weft_rate_image(struct weft_img_str s)
{
	return (struct weft_rate_text){weft_img_at(s.off), s.len};
}

/* A '%' without two digits behind it stands for itself. '+' is no blank (Envoy 1.40). */
static struct weft_rate_text weft_rate_decode(struct weft_rate_room *room, const __u8 *p, __u32 len)
{
	struct weft_rate_text t = weft_rate_put(room, p, len);
	__u8 *out = (__u8 *)t.p;
	__u32 n = 0;

	if (!t.p)
		return t;
	for (__u32 i = 0; i < len; i++) {
		int hi = p[i] == '%' && i + 2 < len ? weft_hex_digit(p[i + 1]) : -1;
		int lo = hi >= 0 ? weft_hex_digit(p[i + 2]) : -1;

		if (lo >= 0) {
			out[n++] = (__u8)(hi << 4 | lo);
			i += 2;
		} else {
			out[n++] = p[i];
		}
	}
	room->n -= len - n;
	t.len = n;
	return t;
}

/* The decoded value of the first parameter whose decoded name is this one. p: NULL where there is
 * none. */
static struct weft_rate_text weft_rate_query(struct weft_rate_room *room,
					     const struct weft_req *req, struct weft_rate_text name)
{
	const struct weft_span *s = &req->value[WEFT_VALUE_PATH];
	__u32 pos = req->path.off + req->path.len + 1, end = s->off + s->len;

	while (pos < end) {
		const __u8 *p = req->head + pos, *amp = memchr(p, '&', end - pos);
		__u32 len = amp ? (__u32)(amp - p) : end - pos;
		const __u8 *eq = memchr(p, '=', len);
		struct weft_rate_text n = weft_rate_decode(room, p, eq ? (__u32)(eq - p) : len);

		if (n.p && n.len == name.len && !memcmp(n.p, name.p, n.len))
			return eq ? weft_rate_decode(room, eq + 1, len - (__u32)(eq + 1 - p))
				  : weft_rate_put(room, "", 0);
		pos += len + 1;
	}
	return (struct weft_rate_text){NULL, 0};
}

/* The first line of the name. */
static struct weft_rate_text weft_rate_header(struct weft_rate_room *room,
					      const struct weft_req *req,
					      const struct weft_img_rate_action *a)
{
	const __u8 *name = weft_img_at(a->name.off);

	if (a->slot) {
		const struct weft_span *s = &req->value[a->slot - 1];

		if (req->present >> (a->slot - 1) & 1)
			return (struct weft_rate_text){req->head + s->off, s->len};
		if (a->slot - 1 == WEFT_VALUE_SCHEME)
			return weft_rate_put(room, "http", 4);
		return (struct weft_rate_text){NULL, 0};
	}
	for (__u32 i = 0; i < req->n_field; i++) {
		const struct weft_field *f = &req->field[i];

		if (f->name.len == a->name.len &&
		    !memcmp(req->head + f->name.off, name, f->name.len))
			return (struct weft_rate_text){req->head + f->value.off, f->value.len};
	}
	return (struct weft_rate_text){NULL, 0};
}

static struct weft_rate_text weft_rate_address(struct weft_rate_room *room,
					       const struct weft_req *req,
					       const struct weft_ctx *ctx,
					       const struct weft_img_rate_action *a)
{
	char text[INET6_ADDRSTRLEN + 8];
	struct weft_sockaddr s;
	__u8 *w = (__u8 *)s.addr.w;
	bool v4;

	weft_remote_of(req, ctx, &s);
	v4 = weft_addr_v4(&s.addr);
	if (a->kind == WEFT_RATE_MASKED_ADDRESS) {
		__u32 from = v4 ? 12 : 0, keep = v4 ? a->v4_bits : a->v6_bits;

		for (__u32 i = from; i < 16; i++) {
			__u32 bits = keep < 8 ? keep : 8;

			w[i] &= (__u8)(0xff00u >> bits);
			keep -= bits;
		}
	}
	if (!inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? w + 12 : w, text, sizeof(text)))
		return (struct weft_rate_text){NULL, 0};
	if (a->kind == WEFT_RATE_MASKED_ADDRESS)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "/%u",
			 v4 ? a->v4_bits : a->v6_bits);
	return weft_rate_put(room, text, (__u32)strlen(text));
}

/* A condition on the decoded query: the text stands in the head's place for as long as it is asked.
 */
static bool weft_rate_query_cond(struct weft_rate_room *room, struct weft_req *req, __u32 cond)
{
	const struct weft_img_cond *k = weft_img_at(cond);
	struct weft_rate_text name = {weft_img_at(k->name), k->name_len};
	struct weft_rate_text v = weft_rate_query(room, req, name);
	bool invert = k->flags & WEFT_COND_INVERT, fits;
	__u8 *head = req->head;

	if (!v.p)
		return invert && k->kind == WEFT_COND_PRESENT;
	req->head = (__u8 *)v.p;
	fits = weft_cond_value(req, cond, 0, v.len);
	req->head = head;
	return fits != invert;
}

static bool weft_rate_all(struct weft_rate_room *room, struct weft_req *req,
			  const struct weft_img_rate_action *a)
{
	for (__u32 i = 0; i < a->n; i++) {
		__u32 cond = a->list + i * (__u32)sizeof(struct weft_img_cond);

		if (!(a->kind == WEFT_RATE_QUERY_MATCH ? weft_rate_query_cond(room, req, cond)
						       : weft_cond_header(req, cond)))
			return false;
	}
	return true;
}

static bool weft_rate_ranges(const struct weft_req *req, const struct weft_ctx *ctx,
			     const struct weft_img_rate_action *a)
{
	const struct weft_img_test *t = weft_img_at(a->list);
	struct weft_sockaddr s;

	weft_remote_of(req, ctx, &s);
	for (__u32 i = 0; i < a->n; i++)
		if (weft_addr_in(&s.addr, &t[i]))
			return true;
	return false;
}

/* What a rate limit service's answer has set, else the default; p: NULL where there is neither. */
static struct weft_rate_text weft_rate_metadata(const struct weft_ctx *ctx,
						const struct weft_img_rate_action *a)
{
	struct weft_rate_text t = {NULL, 0};

	if (ctx->limiter)
		t = ctx->limiter->metadata(ctx->limiter, weft_img_at(a->list));
	if ((!t.p || !t.len) && a->value.len)
		t = weft_rate_image(a->value);
	return t.len ? t : (struct weft_rate_text){NULL, 0};
}

#endif
#include "bpf/engine/hits.h"
#include "bpf/engine/metadata.h"
#ifndef __bpf__

/* The text there, or the default; an empty one is none (Envoy). */
static struct weft_rate_text weft_rate_route_metadata(const struct weft_req *req,
						      const struct weft_img_rate_action *a)
{
	const struct weft_img_route *r = req->dec.route ? weft_img_at(req->dec.route) : NULL;
	const struct weft_img_value *v =
		weft_metadata_find(r ? r->metadata : 0, weft_img_at(a->list));

	if (v && v->kind == WEFT_METADATA_TEXT && v->text.len)
		return weft_rate_image(v->text);
	return a->value.len ? weft_rate_image(a->value) : (struct weft_rate_text){NULL, 0};
}

/* 1: an entry, 0: none, and the descriptor goes on, -1: there is no descriptor. */
static int weft_rate_act(struct weft_rate_room *room, struct weft_req *req,
			 const struct weft_ctx *ctx, const struct weft_img_rate_action *a,
			 struct weft_rate_found *ret)
{
	const struct weft_img_target *t;
	bool holds = true, expect = a->flags & WEFT_RATE_EXPECT;

	ret->key = weft_rate_image(a->key);
	ret->value = weft_rate_image(a->value);
	switch (a->kind) {
	case WEFT_RATE_GENERIC_KEY:
		break;
	case WEFT_RATE_DESTINATION_CLUSTER:
		t = req->dec.target ? weft_img_at(req->dec.target) : NULL;
		if (t && t->slot && t->slot != WEFT_SLOT_HASHED)
			ret->value = weft_rate_header(
				room, req, &(struct weft_img_rate_action){.slot = t->slot});
		else
			ret->value = t ? weft_rate_image(t->name) : weft_rate_put(room, "", 0);
		break;
	case WEFT_RATE_HEADER:
		ret->value = weft_rate_header(room, req, a);
		break;
	case WEFT_RATE_QUERY:
		ret->value = weft_rate_query(room, req, weft_rate_image(a->name));
		break;
	case WEFT_RATE_REMOTE_ADDRESS:
	case WEFT_RATE_MASKED_ADDRESS:
		ret->value = weft_rate_address(room, req, ctx, a);
		break;
	case WEFT_RATE_ROUTE_METADATA:
		ret->value = weft_rate_route_metadata(req, a);
		break;
	case WEFT_RATE_HEADERS_MATCH:
	case WEFT_RATE_QUERY_MATCH:
		holds = weft_rate_all(room, req, a) == expect;
		break;
	case WEFT_RATE_METADATA:
		ret->value = weft_rate_metadata(ctx, a);
		break;
	case WEFT_RATE_ADDRESS_MATCH:
		holds = weft_rate_ranges(req, ctx, a) == expect;
		break;
	default:
		holds = false;
	}
	if (holds && ret->value.p)
		return 1;
	return a->flags & WEFT_RATE_SKIP ? 0 : -1;
}

#define WEFT_RATE_SAME(a, b) ((a).len == (b).len && !memcmp((a).p, (b).p, (a).len))

static bool weft_rate_fits(const struct weft_img_rate_descriptor *d,
			   const struct weft_rate_found *e, __u32 n)
{
	const struct weft_img_rate_entry *want = weft_img_at(d->entry);

	if (d->n_entry != n)
		return false;
	for (__u32 i = 0; i < n; i++) {
		struct weft_rate_text key = weft_rate_image(want[i].key);
		struct weft_rate_text value = weft_rate_image(want[i].value);

		if (!WEFT_RATE_SAME(key, e[i].key) ||
		    (value.len && !WEFT_RATE_SAME(value, e[i].value)))
			return false;
	}
	return true;
}

/* All values, each with its length before it, so that no two lists of them look alike. */
static struct weft_rate_text weft_rate_key(struct weft_rate_room *room,
					   const struct weft_rate_found *e, __u32 n)
{
	struct weft_rate_text all;
	__u32 len = 0;
	__u8 *p;

	for (__u32 i = 0; i < n; i++)
		len += (__u32)sizeof(e[i].value.len) + e[i].value.len;
	all = weft_rate_take_room(room, len);
	p = (__u8 *)all.p;
	for (__u32 i = 0; p && i < n; i++) {
		memcpy(p, &e[i].value.len, sizeof(e[i].value.len));
		p += sizeof(e[i].value.len);
		memcpy(p, e[i].value.p, e[i].value.len);
		p += e[i].value.len;
	}
	return all;
}

/* Descriptors without wildcards stand first: they are found before those (Envoy). */
static bool weft_rate_find(struct weft_rate_room *room, const struct weft_img_rate_limit *l,
			   const struct weft_rate_found *e, __u32 n, struct weft_rate_match *ret)
{
	const struct weft_img_rate_descriptor *d = weft_img_at(l->descriptor);

	for (__u32 i = 0; n && i < l->n_descriptor; i++) {
		if (!weft_rate_fits(&d[i], e, n))
			continue;
		ret->d = &d[i];
		ret->index = i;
		ret->key = d[i].flags & WEFT_RATE_WILDCARD ? weft_rate_key(room, e, n)
							   : weft_rate_put(room, "", 0);
		return ret->key.p;
	}
	return false;
}

/* One descriptor for each rule of the stage; list: room for WEFT_RATE_MATCHES_MAX. */
static __u32 weft_rate_rules(struct weft_rate_room *room, struct weft_req *req,
			     const struct weft_ctx *ctx, const struct weft_img_rate_limit *l,
			     struct weft_img_rate_rules rules, struct weft_rate_match *list,
			     __u32 n)
{
	const struct weft_img_rate_rule *r = weft_img_at(rules.rule);

	for (__u32 i = 0; i < rules.n && n < WEFT_RATE_MATCHES_MAX; i++) {
		const struct weft_img_rate_action *a = weft_img_at(r[i].action);
		struct weft_rate_found e[WEFT_RATE_ACTIONS_MAX];
		__u32 k = 0;
		__s64 hits;
		int have = r[i].stage == l->stage ? 0 : -1;

		for (__u32 j = 0; have >= 0 && j < r[i].n_action; j++) {
			have = weft_rate_act(room, req, ctx, &a[j], &e[k]);
			k += have > 0;
		}
		if (have < 0 || !weft_rate_find(room, l, e, k, &list[n]))
			continue;
		hits = (__s64)(l->flags & WEFT_RATE_OWN_RULES ? r[i].hits : 1);
		if (l->flags & WEFT_RATE_OWN_RULES && r[i].format)
			hits = weft_rate_hits(room, req, ctx, r[i].format);
		if (hits < 0)
			continue;
		list[n].tell =
			r[i].tell == WEFT_RATE_TELL_ON ||
			(r[i].tell == WEFT_RATE_TELL_DEFAULT && l->flags & WEFT_RATE_HEADERS);
		list[n++].hits = (__u64)hits;
	}
	return n;
}

/* The one that fills most slowly first, as they came among equals. */
static void weft_rate_sort(struct weft_rate_match *list, __u32 n)
{
	for (__u32 i = 1; i < n; i++) {
		struct weft_rate_match m = list[i];
		__u32 j = i;

		for (; j && list[j - 1].d->bucket.cost < m.d->bucket.cost; j--)
			list[j] = list[j - 1];
		list[j] = m;
	}
}

static __u32 weft_rate_matches(struct weft_rate_room *room, struct weft_req *req,
			       const struct weft_ctx *ctx, const struct weft_img_rate_limit *l,
			       struct weft_rate_match *list)
{
	const struct weft_img_forward *f = req->dec.forward ? weft_img_at(req->dec.forward) : NULL;
	__u32 n = 0;

	if (l->flags & WEFT_RATE_OWN_RULES) {
		n = weft_rate_rules(room, req, ctx, l, l->own, list, 0);
	} else if (f) { /* routes that answer have no rules */
		const struct weft_img_vhost *v = weft_img_at(req->dec.vhost);
		bool with = f->flags & WEFT_FORWARD_VHOST_RATES ||
			    l->vhost_rules == WEFT_RATE_INCLUDE ||
			    (l->vhost_rules == WEFT_RATE_OVERRIDE && !f->rate.n);

		n = weft_rate_rules(room, req, ctx, l, f->rate, list, 0);
		if (with)
			n = weft_rate_rules(room, req, ctx, l, v->rate, list, n);
	}
	weft_rate_sort(list, n);
	return n;
}

/* What responses tell of a bucket. */
static void weft_rate_tell(struct weft_req *req, const struct weft_img_bucket *b, __u64 word,
			   __u64 now_ns)
{
	__u64 now = weft_bucket_now(now_ns), base = weft_bucket_base(word, now, b->full);
	struct weft_rate_told *t = &req->told[req->n_told & (WEFT_FILTERS_MAX - 1)];

	*t = (struct weft_rate_told){.limit = b->max_tokens};
	if (b->cost)
		t->remaining = (now - base) / b->cost;
	if (!t->remaining)
		t->reset = (base + b->cost - now + 15999999999ull) / 16000000000ull;
	req->n_told++;
}

/* As weft_rate_pay(), of a bucket that programs pay from as well. */
static int weft_rate_pay_cell(const struct weft_rate_match *m, __u32 cell, __u64 now_ns, bool take,
			      __u64 *ret)
{
	__u32 bucket = (__u32)((const __u8 *)m->d - weft_bound.img);
	int r = take ? weft_bucket_pay_at(cell, bucket, m->hits, now_ns) : 0;

	*ret = WEFT_READ(weft_cell_bucket(cell)->word);
	if (!take) {
		__u64 word = *ret;

		r = weft_bucket_pay(&word, &m->d->bucket, m->hits, now_ns);
	}
	return r;
}

/* 1: the bucket of a descriptor gave its tokens (explain: has them), 0: it has too few. Its word
 * then to *ret. */
static int weft_rate_pay(const struct weft_ctx *ctx, const struct weft_img_rate_limit *l,
			 const struct weft_rate_match *m, bool take, __u64 *ret)
{
	struct weft_rate_ask ask = {.pod = ctx->pod,
				    .id = m->d->bucket.cell,
				    .index = m->d->flags & WEFT_RATE_WILDCARD ? m->index : 0,
				    .max = m->d->flags & WEFT_RATE_WILDCARD ? l->max_dynamic : 1,
				    .bucket = &m->d->bucket,
				    .key = m->key.p,
				    .key_len = m->key.len,
				    .hits = m->hits,
				    .now_ns = ctx->now_ns,
				    .take = take};

	*ret = 0;
	if (!(m->d->flags & WEFT_RATE_WILDCARD)) {
		__u32 cell = weft_cell_find(ctx->pod, m->d->bucket.cell);

		if (!cell && take && ctx->rates && ctx->rates->cell)
			cell = ctx->rates->cell(ctx->rates, ctx->pod, m->d->bucket.cell);
		if (cell)
			return weft_rate_pay_cell(m, cell, ctx->now_ns, take, ret);
	}
	if (ctx->rates)
		return ctx->rates->pay(ctx->rates, &ask, ret);
	return weft_bucket_pay(ret, &m->d->bucket, m->hits, ctx->now_ns);
}

/* What pays for a request that descriptors are looked at for: found by weft_rate_descriptors(). */
enum weft_rate_verdict { WEFT_RATE_REFUSED, WEFT_RATE_PASSED, WEFT_RATE_BUCKET };

static enum weft_rate_verdict weft_rate_pay_all(struct weft_req *req, struct weft_ctx *ctx,
						const struct weft_img_rate_limit *l,
						const struct weft_rate_match *list, __u32 n,
						bool again)
{
	__u64 word = 0, first = 0;

	for (__u32 i = 0; i < n; i++) {
		int r = weft_rate_pay(ctx, l, &list[i], !again && !(ctx->flags & WEFT_CTX_EXPLAIN),
				      &word);

		WEFT_TRACE(req, "rate_limit", "descriptor %u: %s", list[i].index,
			   r ? "a token is there" : "no token");
		if (!i)
			first = word;
		if (r || again || list[i].d->flags & WEFT_RATE_SHADOW)
			continue;
		if (list[i].tell)
			weft_rate_tell(req, &list[i].d->bucket, word, ctx->now_ns);
		return WEFT_RATE_REFUSED;
	}
	if (n && list[0].tell)
		weft_rate_tell(req, &list[0].d->bucket, first, ctx->now_ns);
	return n && l->flags & WEFT_RATE_SPARE ? WEFT_RATE_PASSED : WEFT_RATE_BUCKET;
}

/*
 * Buckets of the descriptors that the request fits: REFUSED by one, PASSED without the limit's own
 * bucket, or BUCKET where that one counts too. again: they were paid, and are only told of. Without
 * memory a request is refused: no limit is passed by. *ret_any: it fits one.
 */
static enum weft_rate_verdict weft_rate_descriptors(struct weft_req *req, struct weft_ctx *ctx,
						    const struct weft_img_rate_limit *l, bool again,
						    bool *ret_any)
{
	struct weft_rate_match list[WEFT_RATE_MATCHES_MAX];
	struct weft_rate_room room;
	enum weft_rate_verdict v;
	__u32 n;

	*ret_any = false;
	if (!l->n_descriptor)
		return WEFT_RATE_BUCKET;
	room.n = 0;
	room.size = sizeof(room.own);
	room.p = room.own;
	room.chunks = NULL;
	room.failed = false;
	n = weft_rate_matches(&room, req, ctx, l, list);
	*ret_any = n;
	v = room.failed ? WEFT_RATE_REFUSED : weft_rate_pay_all(req, ctx, l, list, n, again);
	weft_rate_room_clear(&room);
	return v;
}

#endif
