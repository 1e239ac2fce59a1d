/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/* One header condition of a route, Envoy's HeaderMatcher: lines of one name are tested each, any may match. */

#include "bpf/engine/text.h"

struct weft_contains {
	struct weft_req *req;
	__u32 off, str, len, lower, hit;
};

static long weft_contains_step(__u32 i, void *p)
{
	struct weft_contains *c = p;

	c->hit = (__u32)weft_text_equal(c->req, c->off + i, c->str, c->len, c->lower);
	return c->hit ? 1 : 0;
}

/* head[off..+len) is a decimal int64 in the condition's [start, end). */
WEFT_GLOBAL int weft_cond_range(struct weft_req *req, __u32 cond, __u32 off, __u32 len)
{
	__u64 n = 0;
	__u32 neg = 0, digits = 0;

	if (!req)
		return 0;
	WEFT_IMG_BASE(0);
	if (WEFT_KERNEL && len > WEFT_NUMBER_MAX) {
		weft_hand(req, WEFT_HANDED_UNBOUNDED);
		return 0;
	}
	WEFT_FOR(i, WEFT_NUMBER_MAX) {
		if (i >= len)
			break;
		__u32 c = *weft_head_at(req, off + i);

		if (!i && (c == '-' || c == '+')) {
			neg = c == '-';
			continue;
		}
		/* 2^63 is the largest magnitude that any sign allows */
		if (c - '0' > 9 || n > ((1ull << 63) - (c - '0')) / 10)
			return 0;
		n = n * 10 + (c - '0');
		digits++;
	}
	if (!digits || (!neg && n >> 63))
		return 0;
	__s64 v = (__s64)(neg ? 0 - n : n);

	return v >= WEFT_IMG(struct weft_img_cond, cond)->start &&
	       v < WEFT_IMG(struct weft_img_cond, cond)->end;
}

/*
 * Number of the set of expressions that head[off..+len) as a whole fits, 0 none; 1 for one expression. A plain loop: what
 * a callback needs of stack no longer fits below conditions of routes and of RBAC on kernel 6.1. The whole table is in
 * the image, which is seen to once: a mask for each byte would be half of what a byte costs.
 */
WEFT_GLOBAL int weft_dfa_match(struct weft_req *req, __u32 dfa, __u32 off, __u32 len)
{
	if (!req)
		return 0;
	WEFT_IMG_BASE(0);
	if (WEFT_KERNEL && (len > WEFT_DFA_TEXT_MAX || WEFT_IMG_OUTSIDE(dfa, WEFT_DFA_SPAN))) {
		weft_hand(req, WEFT_HANDED_REGEX);
		return 0;
	}
	const __u8 *table = img_base + dfa, *next = table + sizeof(struct weft_img_dfa);
	__u32 row = ((const struct weft_img_dfa *)table)->start;

	/* the dead state leads to itself */
	WEFT_FOR(i, WEFT_DFA_TEXT_MAX) {
		if (i >= len || !row)
			break;
		__u32 class_id = ((const struct weft_img_dfa *)table)->class_of[*weft_head_at(req, off + i)];

		row = *(const __u16 *)(next + class_id * 2 + row);
	}
	return *(const __u16 *)(next + row);
}

/* head[off..+len) fits, without regard to inversion. */
WEFT_INLINE int weft_cond_value(struct weft_req *req, __u32 cond, __u32 off, __u32 len)
{
	if (!req)
		return 0;
	WEFT_IMG_BASE(0);
	struct weft_img_cond *k = WEFT_IMG(struct weft_img_cond, cond);
	__u32 kind = k->kind, want = k->len, str = k->str;
	__u32 lower = k->flags & WEFT_COND_IGNORE_CASE;

	if (kind == WEFT_COND_PRESENT)
		return 1;
	if (kind == WEFT_COND_RANGE)
		return weft_cond_range(req, cond, off, len);
	if (kind == WEFT_COND_DFA)
		return weft_dfa_match(req, str, off, len);
	if (kind == WEFT_COND_NFA) {
		weft_hand(req, WEFT_HANDED_REGEX);
#ifndef __bpf__
		return weft_nfa_match(weft_img_at(str), req->head + off, len);
#endif
	}
	if (want > len || (kind == WEFT_COND_EXACT && want != len))
		return 0;
	if (kind == WEFT_COND_CONTAINS) {
		struct weft_contains c = {
			.req = req, .off = off, .str = str, .len = want, .lower = lower
		};

		WEFT_LOOP(len - want + 1, weft_contains_step, &c);
		return (int)c.hit;
	}
	if (kind == WEFT_COND_SUFFIX)
		off += len - want;
	if (kind == WEFT_COND_SEPARATED && want < len && *weft_head_at(req, off + want) != '/')
		return 0;
	return weft_text_equal(req, off, str, want, lower);
}

/* ---- query parameters ---- */

struct weft_query {
	struct weft_req *req;
	__u32 pos, end;
	__u32 name, name_len;
	__u32 off;   /* of the value, once found */
	__u32 state; /* enum weft_query_state */
};
enum weft_query_state { WEFT_QUERY_START, WEFT_QUERY_OTHER, WEFT_QUERY_VALUE, WEFT_QUERY_DONE };

/* A parameter begins at pos: is it the one? */
WEFT_INLINE void weft_query_name(struct weft_query *q, __u32 pos, __u32 rest)
{
	__u32 n = q->name_len;

	q->state = WEFT_QUERY_OTHER;
	if (rest < n || !weft_text_equal(q->req, pos, q->name, n, 0))
		return;
	__u32 c = rest > n ? *weft_head_at(q->req, pos + n) : '&';

	if (c != '=' && c != '&')
		return;
	q->off = pos + n + (c == '=');
	q->pos = q->off;
	q->state = WEFT_QUERY_VALUE;
}

/* The beginning of a parameter, or eight bytes of one. */
static long weft_query_step(__u32 i, void *p)
{
	struct weft_query *q = p;

	(void)i;
	if (q->state == WEFT_QUERY_START)
		weft_query_name(q, q->pos, q->end - q->pos);
	__u32 pos = q->pos;

	if (pos >= q->end)
		return 1;
	__u64 m = weft_word_eq(weft_load64(weft_head_at(q->req, pos)), '&') &
		  weft_word_keep(q->end - pos);

	if (!m) {
		q->pos = pos + 8;
		return q->pos >= q->end;
	}
	pos += weft_word_first(m);
	if (q->state == WEFT_QUERY_VALUE) {
		q->end = pos;
		return 1;
	}
	q->pos = pos + 1;
	q->state = WEFT_QUERY_START;
	return q->pos >= q->end;
}

#define WEFT_NO_TEXT (~0ull)

/* Value of the first parameter of the condition's name: offset << 32 | length; WEFT_NO_TEXT: there is none. */
WEFT_GLOBAL __u64 weft_query_find(struct weft_req *req, __u32 cond)
{
	if (!req)
		return WEFT_NO_TEXT;
	WEFT_IMG_BASE(WEFT_NO_TEXT);
	struct weft_img_cond *k = WEFT_IMG(struct weft_img_cond, cond);
	struct weft_span *s = WEFT_VALUE(req, WEFT_VALUE_PATH);
	struct weft_query q = { .req = req, .pos = req->path.off + req->path.len + 1,
				.end = s->off + s->len, .name = k->name, .name_len = k->name_len };

	if (q.pos >= q.end)
		return WEFT_NO_TEXT;
	/* a parameter is one step, and so are eight bytes */
	WEFT_LOOP(q.end - q.pos, weft_query_step, &q);
	if (q.state != WEFT_QUERY_VALUE)
		return WEFT_NO_TEXT;
	return (__u64)q.off << 32 | (q.end - q.off);
}

#ifndef __bpf__
/* The cookie's value among those of one line; false: it is not there. */
static bool weft_cookie_in(const struct weft_req *req, const struct weft_img_cond *k, struct weft_span line,
			   struct weft_span *ret)
{
	const __u8 *p = req->head + line.off, *end = p + line.len;

	while (p < end) {
		const __u8 *stop = memchr(p, ';', (size_t)(end - p));

		stop = stop ? stop : end;
		while (p < stop && *p == ' ')
			p++;
		const __u8 *eq = memchr(p, '=', (size_t)(stop - p));

		if (eq && eq - p == k->name_len && !memcmp(p, weft_img_at(k->name), k->name_len)) {
			p = eq + 1;
			if (stop - p >= 2 && *p == '"' && stop[-1] == '"') {
				p++;
				stop--;
			}
			*ret = (struct weft_span){ (__u32)(p - req->head), (__u32)(stop - p) };
			return true;
		}
		p = stop + 1;
	}
	return false;
}

/* As weft_query_find(): the first cookie of that name, over all lines. */
static __u64 weft_cookie_find(struct weft_req *req, __u32 cond)
{
	const struct weft_img_cond *k = weft_img_at(cond);
	struct weft_span v;

	for (__u32 i = 0; i < req->n_field; i++) {
		const struct weft_field *f = &req->field[i];

		if (f->name.len == 6 && !strncasecmp((char *)req->head + f->name.off, "cookie", 6) &&
		    weft_cookie_in(req, k, f->value, &v))
			return (__u64)v.off << 32 | v.len;
	}
	return WEFT_NO_TEXT;
}

/* How the name of a slot with several lines is written in the head. */
static struct weft_span weft_slot_name(const struct weft_req *req, __u32 slot)
{
	struct weft_span name = { 0, 0 };

	for (__u32 i = 0; i < req->n_field; i++)
		if (req->field[i].value.off == req->value[slot].off &&
		    req->field[i].value.len == req->value[slot].len)
			name = req->field[i].name;
	return name;
}

/* Several lines of one name: any may fit. */
static int weft_cond_lines(struct weft_req *req, __u32 cond, __u32 slot)
{
	struct weft_span name = weft_slot_name(req, slot);

	for (__u32 i = 0; i < req->n_field; i++) {
		const struct weft_field *f = &req->field[i];

		if (f->name.len == name.len &&
		    !memcmp(req->head + f->name.off, req->head + name.off, name.len) &&
		    weft_cond_value(req, cond, f->value.off, f->value.len))
			return 1;
	}
	return 0;
}
#endif

/*
 * A condition on a header or the path. 1: it holds. A missing header never fits, inverted or not, unless it counts as
 * empty.
 */
WEFT_GLOBAL int weft_cond_header(struct weft_req *req, __u32 cond)
{
	if (!req)
		return 0;
	WEFT_IMG_BASE(0);
	struct weft_img_cond *k = WEFT_IMG(struct weft_img_cond, cond);
	__u32 flags = k->flags, slot = k->slot & (WEFT_NAMES_MAX - 1), kind = k->kind;
	struct weft_span *s = WEFT_VALUE(req, slot);
	__u32 off = s->off, len = s->len, invert = flags & WEFT_COND_INVERT;

	if (k->from == WEFT_FROM_PATH)
		weft_path_swap(req);
	if (kind == WEFT_COND_SEPARATED || k->from == WEFT_FROM_PATH) {
		off = req->path.off;
		len = req->path.len;
	} else if (!(req->present >> slot & 1)) {
		if (slot == WEFT_VALUE_SCHEME) {
			/* "http" stands nowhere in the head */
			weft_hand(req, WEFT_HANDED_UNBOUNDED);
#ifndef __bpf__
			off = req->max_head + WEFT_ADDED_AT;
			len = 4;
			__builtin_memcpy(req->head + off, "http", 4);
#endif
		} else if (flags & WEFT_COND_MISSING_AS_EMPTY) {
			off = 0;
			len = 0;
		} else {
			return kind == WEFT_COND_PRESENT && invert;
		}
	} else if (req->repeated >> slot & 1 && kind != WEFT_COND_PRESENT) {
#ifdef __bpf__
		weft_hand(req, WEFT_HANDED_REPEATED_HEADER);
#else
		return weft_cond_lines(req, cond, slot) != (int)invert;
#endif
	}
	int fits = weft_cond_value(req, cond, off, len);

	if (k->from == WEFT_FROM_PATH)
		weft_path_swap(req);
	return fits != (int)invert;
}

/* 1: the condition of a route holds. */
WEFT_GLOBAL int weft_cond_match(struct weft_req *req, __u32 cond)
{
	if (!req)
		return 0;
	WEFT_IMG_BASE(0);
	struct weft_img_cond *k = WEFT_IMG(struct weft_img_cond, cond);
	__u32 flags = k->flags, slot = k->slot & (WEFT_NAMES_MAX - 1), kind = k->kind;
	__u32 invert = flags & WEFT_COND_INVERT;

	if (kind == WEFT_COND_FRACTION) {
		req->dec.drew = 1;
		return req->random % (__u64)k->end < (__u64)k->start;
	}
	if (kind == WEFT_COND_GRPC)
		return !!(req->flags & WEFT_REQ_GRPC);
	if (k->from && k->from != WEFT_FROM_PATH) {
		__u64 at = WEFT_NO_TEXT;

		if (k->from == WEFT_FROM_QUERY)
			at = weft_query_find(req, cond);
		else if (WEFT_KERNEL && req->present >> slot & 1)
			weft_hand(req, WEFT_HANDED_UNBOUNDED);
#ifndef __bpf__
		else
			at = weft_cookie_find(req, cond);
#endif
		/* an absent cookie fits the inverse, an absent parameter nothing (Envoy 1.40) */
		if (at == WEFT_NO_TEXT)
			return invert && (kind == WEFT_COND_PRESENT || k->from == WEFT_FROM_COOKIE);
		return weft_cond_value(req, cond, (__u32)(at >> 32), (__u32)at) != (int)invert;
	}
	return weft_cond_header(req, cond);
}
