/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/* One header condition of a route, Envoy's HeaderMatcher: lines of one name are tested each, any may match. */

#include "bpf/engine/text.h"

/* Longest number a program reads; more digits can only be leading zeros, which the agent skips. */
#define WEFT_NUMBER_MAX 24

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

#ifndef __bpf__
/* Several lines of one name: any may fit. */
static int weft_cond_lines(struct weft_req *req, __u32 cond, __u32 slot)
{
	struct weft_span name = { 0, 0 };

	for (__u32 i = 0; i < req->n_field; i++)
		if (req->field[i].value.off == req->value[slot].off &&
		    req->field[i].value.len == req->value[slot].len)
			name = req->field[i].name;
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

/* 1: the condition holds. A missing header never fits, inverted or not, unless it counts as empty. */
WEFT_GLOBAL int weft_cond_match(struct weft_req *req, __u32 cond)
{
	if (!req)
		return 0;
	WEFT_IMG_BASE(0);
	struct weft_img_cond *k = WEFT_IMG(struct weft_img_cond, cond);
	__u32 flags = k->flags, slot = k->slot & (WEFT_NAMES_MAX - 1), kind = k->kind;
	struct weft_span *s = WEFT_VALUE(req, slot);
	__u32 off = s->off, len = s->len, invert = flags & WEFT_COND_INVERT;

	if (kind == WEFT_COND_SEPARATED) {
		off = req->path.off;
		len = req->path.len;
	} else if (!(req->present >> slot & 1)) {
		if (slot == WEFT_VALUE_SCHEME) {
			/* "http" stands nowhere in the head */
			weft_hand(req, WEFT_HANDED_UNBOUNDED);
#ifndef __bpf__
			off = req->max_head + 256;
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
	return weft_cond_value(req, cond, off, len) != (int)invert;
}
