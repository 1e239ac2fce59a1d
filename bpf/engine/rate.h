/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/*
 * Descriptors of local rate limits in programs: the rules' entries in turn, the descriptor that has
 * them by hash, and the tokens of its bucket. What needs more (escaped queries, IPv6 addresses,
 * descriptors with a bucket for each value, responses that tell of a bucket) is the agent's, whose
 * part is bpf/engine/descriptor.h.
 */

#include "bpf/engine/cond.h"
#include "bpf/engine/limit.h"
#include "bpf/engine/rbac.h"

#ifdef __bpf__

/* A byte of the texts that are made. */
WEFT_INLINE __u8 *weft_rate_made(struct weft_req *req, __u32 off)
{
	return &req->rate.text[WEFT_INDEX(off, 511)];
}
_Static_assert(sizeof(((struct weft_req *)0)->rate.text) == 512 + 8, "mask of weft_rate_made");

/* Eight bytes of a text, of which `rest` count. */
WEFT_INLINE __u64 weft_rate_word(struct weft_req *req, __u32 from, __u32 off, __u32 rest)
{
	const void *p;

	WEFT_IMG_BASE(0);
	if (from == WEFT_RATE_FROM_HEAD)
		p = weft_head_at(req, off);
	else if (from == WEFT_RATE_FROM_MADE)
		p = weft_rate_made(req, off);
	else
		p = WEFT_IMG(__u64, off);
	return weft_load64(p) & weft_word_keep(rest);
}

struct weft_rate_hasher {
	struct weft_req *req;
	__u64 h;
	__u32 from, off, len;
};

static long weft_rate_hash_step(__u32 i, void *p)
{
	struct weft_rate_hasher *c = p;

	c->h = weft_mix(c->h, weft_rate_word(c->req, c->from, c->off + i * 8, c->len - i * 8));
	return 0;
}

/*
 * Of a text in one of three places, as weft_hash_rate(). A hash finds, it does not tell: what a
 * client wrote is compared byte by byte, only texts of the configuration are by it.
 */
WEFT_GLOBAL __u64 weft_rate_hash(struct weft_req *req, __u32 from, __u32 off, __u32 len)
{
	if (!req)
		return 0;
	struct weft_rate_hasher c = {.req = req, .from = from, .off = off, .len = len};

	WEFT_LOOP((len + 7) / 8, weft_rate_hash_step, &c);
	return weft_mix(c.h, len);
}

/* n (below 1000) in decimal behind the character `before` (0: none), to text[at]: where it ends. */
WEFT_GLOBAL __u32 weft_rate_decimal(struct weft_req *req, __u32 at, __u32 n, __u32 before)
{
	if (!req)
		return at;
	if (before)
		*weft_rate_made(req, at++) = (__u8)before;
	if (n >= 100)
		*weft_rate_made(req, at++) = (__u8)('0' + n / 100 % 10);
	if (n >= 10)
		*weft_rate_made(req, at++) = (__u8)('0' + n / 10 % 10);
	*weft_rate_made(req, at++) = (__u8)('0' + n % 10);
	return at;
}

/* The client's IPv4 address, masked or not, as text at text[at]: where it ends; 0: the agent's. */
WEFT_GLOBAL __u32 weft_rate_address_put(struct weft_req *req, const struct weft_ctx *ctx,
					__u32 action, __u32 at)
{
	struct weft_addr addr;

	if (!req || !ctx)
		return 0;
	WEFT_IMG_BASE(0);
	struct weft_img_rate_action *a = WEFT_IMG(struct weft_img_rate_action, action);
	__u32 masked = a->kind == WEFT_RATE_MASKED_ADDRESS, bits = a->v4_bits, w;

	if (a->seen && req->present >> ((a->seen - 1) & 63) & 1)
		return 0;
	weft_source_of(ctx, &addr);
	if (!weft_addr_v4(&addr))
		return 0;
	w = bpf_ntohl(addr.w[3]);
	if (masked && bits < 32)
		w &= ~(0xffffffffu >> (bits & 31));
	at = weft_rate_decimal(req, at, w >> 24, 0);
	at = weft_rate_decimal(req, at, w >> 16 & 255, '.');
	at = weft_rate_decimal(req, at, w >> 8 & 255, '.');
	at = weft_rate_decimal(req, at, w & 255, '.');
	if (masked)
		at = weft_rate_decimal(req, at, bits, '/');
	return at;
}

/* Parameters of the query are to be decoded. */
WEFT_INLINE int weft_rate_escaped(struct weft_req *req)
{
	struct weft_span *s = WEFT_VALUE(req, WEFT_VALUE_PATH);
	__u32 from = req->path.off + req->path.len, end = s->off + s->len;

	return end > from && weft_head_has(req, from, end - from, '%');
}

/* Whether conditions on headers say that there is an entry. */
WEFT_GLOBAL int weft_rate_headers_hold(struct weft_req *req, __u32 action)
{
	if (!req)
		return 0;
	WEFT_IMG_BASE(0);
	struct weft_img_rate_action *a = WEFT_IMG(struct weft_img_rate_action, action);
	__u32 cond = a->list, n = a->n, expect = !!(a->flags & WEFT_RATE_EXPECT);

	for (__u32 i = 0; i < WEFT_RATE_CONDS_MAX; i++) {
		if (i >= n)
			break;
		if (!weft_cond_header(req, cond + i * (__u32)sizeof(struct weft_img_cond)))
			return !expect;
	}
	return (int)expect;
}

/* A function of its own: with its part of the stack in the caller there are more than 512 bytes
 * (kernel 6.1). */
WEFT_GLOBAL int weft_rate_value_fits(struct weft_req *req, __u32 cond, __u64 at)
{
	if (!req)
		return 0;
	return weft_cond_value(req, cond, (__u32)(at >> 32), (__u32)at);
}

/* The same on parameters. Not by weft_cond_match(): that would be a frame more than there are. */
WEFT_GLOBAL int weft_rate_query_holds(struct weft_req *req, __u32 action)
{
	if (!req)
		return 0;
	WEFT_IMG_BASE(0);
	struct weft_img_rate_action *a = WEFT_IMG(struct weft_img_rate_action, action);
	__u32 cond = a->list, n = a->n, expect = !!(a->flags & WEFT_RATE_EXPECT);

	for (__u32 i = 0; i < WEFT_RATE_CONDS_MAX; i++) {
		if (i >= n)
			break;
		struct weft_img_cond *k = WEFT_IMG(struct weft_img_cond, cond);
		__u32 invert = !!(k->flags & WEFT_COND_INVERT), kind = k->kind;
		__u64 at = weft_query_find(req, cond);
		__u32 fits;

		if (at == WEFT_NO_TEXT)
			fits = invert && kind == WEFT_COND_PRESENT;
		else
			fits = (__u32)weft_rate_value_fits(req, cond, at) != invert;
		if (!fits)
			return !expect;
		cond += (__u32)sizeof(struct weft_img_cond);
	}
	return (int)expect;
}

WEFT_GLOBAL int weft_rate_near(struct weft_req *req, const struct weft_ctx *ctx, __u32 action)
{
	if (!req || !ctx)
		return 0;
	WEFT_IMG_BASE(0);
	struct weft_img_rate_action *a = WEFT_IMG(struct weft_img_rate_action, action);
	__u32 test = a->list, n = a->n, expect = !!(a->flags & WEFT_RATE_EXPECT);

	if (a->seen && req->present >> ((a->seen - 1) & 63) & 1)
		weft_hand(req, WEFT_HANDED_DESCRIPTORS);
	for (__u32 i = 0; i < WEFT_RATE_CONDS_MAX; i++) {
		if (i >= n)
			break;
		if (weft_test_address(ctx, test + i * (__u32)sizeof(struct weft_img_test)))
			return (int)expect;
	}
	return !expect;
}

/* Do conditions or ranges say that there is an entry? */
WEFT_INLINE int weft_rate_holds(struct weft_req *req, const struct weft_ctx *ctx, __u32 action,
				__u32 kind)
{
	if (kind == WEFT_RATE_ADDRESS_MATCH)
		return weft_rate_near(req, ctx, action);
	if (kind == WEFT_RATE_HEADERS_MATCH)
		return weft_rate_headers_hold(req, action);
	if (weft_rate_escaped(req))
		weft_hand(req, WEFT_HANDED_DESCRIPTORS);
	return weft_rate_query_holds(req, action);
}

/* What one line or parameter of the head says: offset << 32 | length; WEFT_NO_TEXT: it is not
 * there. */
WEFT_GLOBAL __u64 weft_rate_said(struct weft_req *req, __u32 action)
{
	if (!req)
		return WEFT_NO_TEXT;
	WEFT_IMG_BASE(WEFT_NO_TEXT);
	struct weft_img_rate_action *a = WEFT_IMG(struct weft_img_rate_action, action);
	__u32 slot = (a->seen - 1) & (WEFT_NAMES_MAX - 1);

	if (a->kind == WEFT_RATE_QUERY) {
		if (!weft_rate_escaped(req))
			return weft_query_find(req, a->list);
		weft_hand(req, WEFT_HANDED_DESCRIPTORS);
		return WEFT_NO_TEXT;
	}
	if (!(req->present >> slot & 1)) {
		if (slot == WEFT_VALUE_SCHEME)
			weft_hand(req, WEFT_HANDED_UNBOUNDED);
		return WEFT_NO_TEXT;
	}
	if (req->repeated >> slot & 1)
		weft_hand(req, WEFT_HANDED_REPEATED_HEADER);
	struct weft_span *s = WEFT_VALUE(req, slot);

	return (__u64)s->off << 32 | s->len;
}

/*
 * The entry of one action. 1: there is one, 0: none, and the descriptor goes on, -1: there is no
 * descriptor. Inline, as what else is below: from the program to the bytes that a condition
 * compares there are the eight frames of the kernel.
 */
WEFT_INLINE int weft_rate_act(struct weft_req *req, const struct weft_ctx *ctx, __u32 action)
{
	WEFT_IMG_BASE(-1);
	struct weft_img_rate_action *a = WEFT_IMG(struct weft_img_rate_action, action);
	__u32 kind = a->kind, none = a->flags & WEFT_RATE_SKIP ? 0 : (__u32)-1;
	struct weft_rate_have *e = &req->rate.have[WEFT_INDEX(req->rate.n, 15)];

	if (a->flags & WEFT_RATE_AGENT) {
		weft_hand(req, WEFT_HANDED_DESCRIPTORS);
		return -1;
	}
	e->key_hash = a->key_hash;
	e->hash = a->value_hash;
	e->from = WEFT_RATE_FROM_IMAGE;
	/* what a rate limit service sets, a program never sees: the default, if there is one */
	if (kind == WEFT_RATE_METADATA)
		return a->value.len ? 1 : (int)none;
	if (kind == WEFT_RATE_DESTINATION_CLUSTER) {
		__u32 target = req->dec.target, off = 0, len = 0;

		if (target) {
			off = WEFT_IMG(struct weft_img_target, target)->name.off;
			len = WEFT_IMG(struct weft_img_target, target)->name.len;
		}
		e->hash = weft_rate_hash(req, WEFT_RATE_FROM_IMAGE, off, len);
	} else if (kind == WEFT_RATE_HEADER || kind == WEFT_RATE_QUERY) {
		__u64 at = weft_rate_said(req, action);

		if (at == WEFT_NO_TEXT)
			return (int)none;
		e->from = WEFT_RATE_FROM_HEAD;
		e->off = (__u32)(at >> 32);
		e->len = (__u32)at;
		e->hash = weft_rate_hash(req, WEFT_RATE_FROM_HEAD, e->off, e->len);
	} else if (kind == WEFT_RATE_REMOTE_ADDRESS || kind == WEFT_RATE_MASKED_ADDRESS) {
		__u32 from = (req->rate.n & 15) * 32;
		__u32 end = weft_rate_address_put(req, ctx, action, from);

		if (!end) {
			weft_hand(req, WEFT_HANDED_DESCRIPTORS);
			return -1;
		}
		e->from = WEFT_RATE_FROM_MADE;
		e->off = from;
		e->len = end - from;
		e->hash = weft_rate_hash(req, WEFT_RATE_FROM_MADE, from, e->len);
	} else if (kind != WEFT_RATE_GENERIC_KEY && !weft_rate_holds(req, ctx, action, kind)) {
		return (int)none;
	}
	return 1;
}

/* The texts that are made, against the image. */
WEFT_INLINE int weft_rate_made_equal(struct weft_req *req, __u32 at, __u32 img, __u32 len)
{
	WEFT_IMG_BASE(0);
	for (__u32 i = 0; i < WEFT_RATE_MADE_MAX / 8; i++) {
		if (i * 8 >= len)
			break;
		__u64 w = weft_load64(weft_rate_made(req, at + i * 8)) ^
			  weft_load64(WEFT_IMG(__u64, img + i * 8));

		if (w & weft_word_keep(len - i * 8))
			return 0;
	}
	return 1;
}

/* Entry i of the request is the descriptor's. */
WEFT_INLINE int weft_rate_same(struct weft_req *req, __u32 entry, __u32 i)
{
	WEFT_IMG_BASE(0);
	struct weft_img_rate_entry *want = WEFT_IMG(struct weft_img_rate_entry, entry);
	struct weft_rate_have *e = &req->rate.have[WEFT_INDEX(i, 15)];

	if (e->key_hash != want->key_hash || e->hash != want->value_hash)
		return 0;
	if (e->from == WEFT_RATE_FROM_IMAGE)
		return 1;
	if (e->len != want->value.len)
		return 0;
	if (e->from == WEFT_RATE_FROM_HEAD)
		return weft_text_equal(req, e->off, want->value.off, e->len, 0);
	return weft_rate_made_equal(req, e->off, want->value.off, e->len);
}

WEFT_GLOBAL int weft_rate_fits(struct weft_req *req, __u32 descriptor)
{
	if (!req)
		return 0;
	WEFT_IMG_BASE(0);
	struct weft_img_rate_descriptor *d = WEFT_IMG(struct weft_img_rate_descriptor, descriptor);
	__u32 n = d->n_entry, entry = d->entry;

	if (n != req->rate.n || d->flags & WEFT_RATE_WILDCARD)
		return 0;
	for (__u32 i = 0; i < WEFT_RATE_ACTIONS_MAX; i++) {
		if (i >= n)
			break;
		if (!weft_rate_same(req, entry + i * (__u32)sizeof(struct weft_img_rate_entry), i))
			return 0;
	}
	return 1;
}

/* The descriptor with the entries of this hash; keys: one with any values for these keys. 0: none.
 */
WEFT_GLOBAL __u32 weft_rate_find(struct weft_req *req, __u64 hash, __u32 keys)
{
	if (!req)
		return 0;
	WEFT_IMG_BASE(0);
	struct weft_img_rate_limit *l = WEFT_IMG(struct weft_img_rate_limit, req->rate.limit);
	__u32 tab = l->place, mask = l->place_mask;

	for (__u32 i = 0; i < WEFT_RATE_PROBES; i++) {
		struct weft_img_rate_place *p =
			WEFT_IMG(struct weft_img_rate_place,
				 tab + (((__u32)hash + i) & mask) * (__u32)sizeof(*p));
		__u32 d = p->descriptor;

		if (!d)
			return 0;
		if (p->hash != hash)
			continue;
		if (keys ? WEFT_IMG(struct weft_img_rate_descriptor, d)->flags & WEFT_RATE_WILDCARD
			 : (__u32)weft_rate_fits(req, d))
			return d;
	}
	return 0;
}

/* A rule's entries are there: whose bucket is to pay. */
WEFT_GLOBAL int weft_rate_note(struct weft_req *req, const struct weft_ctx *ctx, __u32 rule)
{
	if (!req || !ctx)
		return 0;
	WEFT_IMG_BASE(0);
	struct weft_rate_work *w = &req->rate;
	struct weft_img_rate_limit *l = WEFT_IMG(struct weft_img_rate_limit, w->limit);
	__u32 d = weft_rate_find(req, w->hash, 0), id;

	if (!d) {
		if (weft_rate_find(req, w->keys, 1))
			weft_hand(req, WEFT_HANDED_DESCRIPTORS);
		return 0;
	}
	if (WEFT_IMG(struct weft_img_rate_rule, rule)->tell == WEFT_RATE_TELL_ON)
		weft_hand(req, WEFT_HANDED_DESCRIPTORS);
	if (w->n_pay >= WEFT_RATE_PAYS_MAX) {
		weft_hand(req, WEFT_HANDED_UNBOUNDED);
		return 0;
	}
	struct weft_rate_pays *pays = &w->pay[WEFT_INDEX(w->n_pay, 7)];

	id = WEFT_IMG(struct weft_img_rate_descriptor, d)->bucket.cell;
	pays->descriptor = d;
	pays->cost = WEFT_IMG(struct weft_img_rate_descriptor, d)->bucket.cost;
	pays->hits = l->flags & WEFT_RATE_OWN_RULES
			     ? WEFT_IMG(struct weft_img_rate_rule, rule)->hits
			     : 1;
	pays->cell = weft_cell_find(ctx->pod, id);
	if (!pays->cell) {
		req->dec.need_cell = id;
		weft_hand(req, WEFT_HANDED_NO_CELL);
	}
	w->n_pay++;
	return 0;
}
_Static_assert(WEFT_RATE_PAYS_MAX == 8 && WEFT_RATE_ACTIONS_MAX == 16, "masks");

struct weft_rate_walk {
	struct weft_req *req;
	const struct weft_ctx *ctx;
};

/* The next rule, of the route's or then the virtual host's. */
WEFT_INLINE void weft_rate_next(struct weft_rate_work *w)
{
	w->rule += (__u32)sizeof(struct weft_img_rate_rule);
	w->action = w->n = 0;
	w->hash = w->keys = 0;
	if (--w->n_rule)
		return;
	w->rule = w->more;
	w->n_rule = w->n_more;
	w->n_more = 0;
}

/* An entry, or the end of a rule. */
static long weft_rate_step(__u32 i, void *p)
{
	struct weft_rate_walk *c = p;
	struct weft_req *req = c->req;
	struct weft_rate_work *w = &req->rate;
	WEFT_IMG_BASE(1);
	struct weft_img_rate_rule *r = WEFT_IMG(struct weft_img_rate_rule, w->rule);

	(void)i;
	if (!w->n_rule)
		return 1;
	if (r->stage == WEFT_IMG(struct weft_img_rate_limit, w->limit)->stage) {
		if (w->action < r->n_action) {
			__u32 at = w->action++ * (__u32)sizeof(struct weft_img_rate_action);
			int have = weft_rate_act(req, c->ctx, r->action + at);

			if (req->dec.handed)
				return 1;
			if (have > 0) {
				struct weft_rate_have *e = &w->have[WEFT_INDEX(w->n, 15)];

				w->keys = weft_mix(w->keys, e->key_hash);
				w->hash = weft_mix(weft_mix(w->hash, e->key_hash), e->hash);
				w->n++;
			}
			if (have >= 0)
				return 0;
		} else if (w->n) {
			weft_rate_note(req, c->ctx, w->rule);
			if (req->dec.handed)
				return 1;
		}
	}
	weft_rate_next(w);
	return 0;
}

/* The buckets that a request is to pay, to req->rate. 0; 1: the agent must go on. */
WEFT_GLOBAL int weft_rate_match(struct weft_req *req, const struct weft_ctx *ctx, __u32 config)
{
	if (!req || !ctx)
		return 1;
	WEFT_IMG_BASE(1);
	struct weft_img_rate_limit *l = WEFT_IMG(struct weft_img_rate_limit, config);
	struct weft_rate_walk c = {.req = req, .ctx = ctx};
	struct weft_rate_work *w = &req->rate;

	w->limit = config;
	w->n_pay = w->n_rule = w->n_more = 0;
	if (l->flags & WEFT_RATE_OWN_RULES) {
		w->rule = l->own.rule;
		w->n_rule = l->own.n;
	} else if (req->dec.forward) { /* routes that answer have no rules */
		struct weft_img_forward *f = WEFT_IMG(struct weft_img_forward, req->dec.forward);
		struct weft_img_vhost *v = WEFT_IMG(struct weft_img_vhost, req->dec.vhost);

		w->rule = f->rate.rule;
		w->n_rule = f->rate.n;
		if (f->flags & WEFT_FORWARD_VHOST_RATES || l->vhost_rules == WEFT_RATE_INCLUDE ||
		    (l->vhost_rules == WEFT_RATE_OVERRIDE && !f->rate.n)) {
			w->more = v->rate.rule;
			w->n_more = v->rate.n;
		}
	}
	if (!w->n_rule && w->n_more) {
		w->rule = w->more;
		w->n_rule = w->n_more;
		w->n_more = 0;
	}
	if (!w->n_rule)
		return 0;
	w->action = w->n = 0;
	w->hash = w->keys = 0;
	WEFT_LOOP(WEFT_RATE_STEPS_MAX, weft_rate_step, &c);
	if (w->n_rule)
		weft_hand(req, WEFT_HANDED_UNBOUNDED);
	return !!req->dec.handed;
}

/* The one that fills most slowly of those that have not paid, the first among equals; PAYS_MAX:
 * none. */
WEFT_GLOBAL __u32 weft_rate_slowest(struct weft_req *req, __u32 done)
{
	__u32 best = WEFT_RATE_PAYS_MAX;
	__u64 cost = 0;

	if (!req)
		return best;
	for (__u32 i = 0; i < WEFT_RATE_PAYS_MAX; i++) {
		if (i >= req->rate.n_pay)
			break;
		if (done >> i & 1 || (best < WEFT_RATE_PAYS_MAX && req->rate.pay[i].cost <= cost))
			continue;
		cost = req->rate.pay[i].cost;
		best = i;
	}
	return best;
}

/* What was paid goes back: the agent does it all. */
WEFT_GLOBAL int weft_rate_give_back(struct weft_req *req)
{
	if (!req)
		return 0;
	WEFT_IMG_BASE(0);
	WEFT_STATE_BASE(0);
	for (__u32 i = 0; i < WEFT_RATE_PAYS_MAX; i++) {
		struct weft_rate_pays *p = &req->rate.pay[i];

		if (req->rate.paid >> i & 1)
			WEFT_ADD(
				&WEFT_STATE(struct weft_cell_bucket, p->cell)->word,
				-(p->hits * WEFT_IMG(struct weft_img_bucket, p->descriptor)->cost));
	}
	return 0;
}

/* 1: every bucket that the request is to pay gave its tokens, 0: one had too few, -1: contended. */
WEFT_GLOBAL int weft_rate_pay(struct weft_req *req, const struct weft_ctx *ctx)
{
	if (!req || !ctx)
		return -1;
	WEFT_IMG_BASE(-1);
	req->rate.done = req->rate.paid = 0;
	for (__u32 k = 0; k < WEFT_RATE_PAYS_MAX; k++) {
		__u32 i = weft_rate_slowest(req, req->rate.done);

		if (i >= WEFT_RATE_PAYS_MAX)
			break;
		struct weft_rate_pays *p = &req->rate.pay[WEFT_INDEX(i, 7)];
		int r = weft_bucket_pay_at(p->cell, p->descriptor, p->hits, ctx->now_ns);

		if (r < 0) {
			weft_rate_give_back(req);
			return -1;
		}
		req->rate.done |= 1u << (i & 7);
		if (r)
			req->rate.paid |= 1u << (i & 7);
		else if (!(WEFT_IMG(struct weft_img_rate_descriptor, p->descriptor)->flags &
			   WEFT_RATE_SHADOW))
			return 0;
	}
	return 1;
}

#endif
