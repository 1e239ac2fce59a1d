/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/*
 * The route of a request in its virtual host: first match in configured order. The walk through the trie finds every
 * route whose path fits, as one list of candidates; cost does not grow with the number of routes.
 */

#include "bpf/engine/cond.h"
#include "bpf/engine/host.h"

struct weft_walk {
	struct weft_req *req;
	__u32 node, pos, end, accept, lower;
};

static long weft_walk_step(__u32 i, void *p)
{
	struct weft_walk *c = p;
	WEFT_IMG_BASE(1);
	struct weft_img_node *n = WEFT_IMG(struct weft_img_node, c->node);
	__u32 len = n->len, pos = c->pos;

	(void)i;
	if (pos + len > c->end)
		return 1;
	__u64 w = weft_load64(weft_head_at(c->req, pos));

	if (c->lower)
		w = weft_word_lower(w);
	w ^= n->label8;
	if (w & weft_word_keep(len))
		return 1;
	if (len > 8 && !weft_text_equal(c->req, pos + 8, n->label + 8, len - 8, c->lower))
		return 1;
	pos += len;
	if (n->accept)
		c->accept = n->accept;
	if (pos == c->end) {
		if (n->accept_exact)
			c->accept = n->accept_exact;
		return 1;
	}
	__u32 byte = *weft_head_at(c->req, pos);

	if (c->lower && byte - 'A' < 26)
		byte |= 0x20;
	byte &= n->child_mask;
	c->pos = pos;
	c->node = *WEFT_IMG(__u32, c->node + sizeof(struct weft_img_node) + byte * 4);
	return c->node ? 0 : 1;
}

/* 1: every condition of the route holds. */
WEFT_INLINE int weft_route_match(struct weft_req *req, __u32 route)
{
	if (!req)
		return 0;
	WEFT_IMG_BASE(0);
	__u32 n = WEFT_IMG(struct weft_img_route, route)->n_cond;
	__u32 off = WEFT_IMG(struct weft_img_route, route)->cond;

	for (__u32 i = 0; i < WEFT_CONDS_MAX; i++) {
		if (i >= n)
			return 1;
		if (!weft_cond_match(req, off + i * (__u32)sizeof(struct weft_img_cond))) {
			WEFT_TRACE(req, "route", "%u: condition %u does not hold",
				   WEFT_IMG(struct weft_img_route, route)->index, i);
			return 0;
		}
	}
	return n <= WEFT_CONDS_MAX;
}

struct weft_try {
	struct weft_req *req;
	__u32 accept, i; /* list at hand; of it selections, then candidates that are done */
	__u32 best, route;
	__u32 depth; /* lists to go on with: scratch[2k] and place in it, scratch[2k + 1] */
};

/* The list that a header's value, or the path, leads to; 0: none. */
WEFT_GLOBAL __u32 weft_select(struct weft_req *req, __u32 select)
{
	if (!req)
		return 0;
	WEFT_IMG_BASE(0);
	struct weft_img_select *s = WEFT_IMG(struct weft_img_select, select);
	__u32 by = s->by, list = s->list, slot = s->slot & (WEFT_NAMES_MAX - 1);

	if (s->kind == WEFT_SELECT_PATH) {
		weft_path_swap(req);
		__u32 set = (__u32)weft_dfa_match(req, by, req->path.off, req->path.len);

		weft_path_swap(req);
		return set ? *WEFT_IMG(__u32, list + set * 4) : 0;
	}
	struct weft_span *v = WEFT_VALUE(req, slot);
	__u32 off = v->off, len = v->len;

	if (!(req->present >> slot & 1) || len >= WEFT_HOST_LEN_MAX)
		return 0;
	return weft_tab_find(req, by, weft_host_hash(req, off, len), off, (__u32)WEFT_KIND_VALUE << 16 | len);
}

/* Goes on with a list; what needs no further test is known at once. */
WEFT_INLINE void weft_try_enter(struct weft_try *c, __u32 accept)
{
	WEFT_IMG_BASE();
	struct weft_img_accept *a = WEFT_IMG(struct weft_img_accept, accept);
	__u32 *p = &c->req->scratch[WEFT_INDEX(c->depth * 2, 6)];

	p[0] = c->accept;
	p[1] = c->i;
	c->depth++;
	c->accept = accept;
	c->i = 0;
	if (a->best < c->best) {
		c->best = a->best;
		c->route = a->best_route;
	}
}

#ifndef __bpf__
static void weft_try_lines(struct weft_try *c, const struct weft_img_select *s);
#endif

WEFT_INLINE void weft_try_select(struct weft_try *c, __u32 select)
{
	WEFT_IMG_BASE();
	struct weft_img_select *s = WEFT_IMG(struct weft_img_select, select);

	if (s->first >= c->best)
		return;
	if (s->kind == WEFT_SELECT_VALUE && c->req->repeated >> (s->slot & (WEFT_NAMES_MAX - 1)) & 1) {
#ifdef __bpf__
		weft_hand(c->req, WEFT_HANDED_REPEATED_HEADER);
#else
		weft_try_lines(c, s);
#endif
		return;
	}
	__u32 list = weft_select(c->req, select);

	if (list)
		weft_try_enter(c, list);
}

static long weft_try_step(__u32 j, void *p)
{
	struct weft_try *c = p;
	WEFT_IMG_BASE(1);
	struct weft_img_accept *a = WEFT_IMG(struct weft_img_accept, c->accept);
	__u32 n_select = a->n_select, i = c->i;

	(void)j;
	if (i < n_select) {
		c->i++;
		weft_try_select(c, a->select + i * (__u32)sizeof(struct weft_img_select));
		return 0;
	}
	i -= n_select;
	if (i < a->n) {
		struct weft_img_candidate *k = WEFT_IMG(
			struct weft_img_candidate,
			c->accept + sizeof(struct weft_img_accept) + i * (__u32)sizeof(*k));

		if (k->index < c->best) {
			__u32 index = k->index, route = k->route;

			c->i++;
			if (!weft_route_match(c->req, route))
				return 0;
			c->best = index;
			c->route = route;
		}
	}
	/* candidates stand in order of index: none further down this list is better */
	c->i = 0;
	c->accept = WEFT_IMG(struct weft_img_accept, c->accept)->up;
	if (!c->accept && c->depth) {
		__u32 *from = &c->req->scratch[WEFT_INDEX(--c->depth * 2, 6)];

		c->accept = from[0];
		c->i = from[1];
	}
	return c->accept ? 0 : 1;
}

#ifndef __bpf__
/* A header of several lines: each leads to a list, and that is gone through here. */
static void weft_try_lines(struct weft_try *c, const struct weft_img_select *s)
{
	struct weft_req *req = c->req;
	struct weft_span name = weft_slot_name(req, s->slot);

	for (__u32 i = 0; i < req->n_field; i++) {
		const struct weft_field *f = &req->field[i];
		struct weft_try t = { .req = req, .best = c->best, .route = c->route, .depth = c->depth };
		__u32 base = c->depth;

		if (f->name.len != name.len ||
		    memcmp(req->head + f->name.off, req->head + name.off, name.len) ||
		    f->value.len >= WEFT_HOST_LEN_MAX)
			continue;
		t.accept = 0;
		__u32 list = weft_tab_find(req, s->by, weft_host_hash(req, f->value.off, f->value.len),
					   f->value.off, (__u32)WEFT_KIND_VALUE << 16 | f->value.len);
		if (!list)
			continue;
		weft_try_enter(&t, list);
		while (t.depth > base && !weft_try_step(0, &t))
			continue;
		c->best = t.best;
		c->route = t.route;
	}
}
#endif

/* weft_img_accept for the path in one trie, 0: none. */
WEFT_GLOBAL __u32 weft_trie_walk(struct weft_req *req, __u32 trie, __u32 lower)
{
	if (!req || !trie)
		return 0;
	weft_path_swap(req);
	struct weft_walk w = { .req = req, .node = trie, .pos = req->path.off,
			       .end = req->path.off + req->path.len, .lower = lower };

	WEFT_LOOP(req->path.len + 1, weft_walk_step, &w);
	weft_path_swap(req);
	return w.accept;
}

/* weft_img_route, 0: none. */
WEFT_GLOBAL __u32 weft_route_find(struct weft_req *req, __u32 vhost)
{
	if (!req || !vhost)
		return 0;
	WEFT_IMG_BASE(0);
	__u32 trie = WEFT_IMG(struct weft_img_vhost, vhost)->trie;
	__u32 lower = WEFT_IMG(struct weft_img_vhost, vhost)->trie_lower, second = 0;
	struct weft_try t = { .req = req, .best = WEFT_NO_ROUTE };

	if (req->flags & WEFT_REQ_CONNECT)
		t.accept = WEFT_IMG(struct weft_img_vhost, vhost)->connect;
	else if (!req->path.len)
		return 0;
	else
		t.accept = weft_trie_walk(req, trie, 0);
	if (lower && !(req->flags & WEFT_REQ_CONNECT))
		second = weft_trie_walk(req, lower, 1);
	if (t.accept) {
		struct weft_img_accept *a = WEFT_IMG(struct weft_img_accept, t.accept);

		t.best = a->best;
		t.route = a->best_route;
		if (!(a->n | a->n_select))
			t.accept = a->up;
	}
	if (second) {
		struct weft_img_accept *a = WEFT_IMG(struct weft_img_accept, second);

		if (a->best < t.best) {
			t.best = a->best;
			t.route = a->best_route;
		}
		if (!(a->n | a->n_select))
			second = a->up;
	}
	if (t.best == WEFT_NO_ROUTE)
		t.route = 0;
	if (!t.accept)
		t.accept = second;
	else if (second) {
		req->scratch[0] = second;
		req->scratch[1] = 0;
		t.depth = 1;
	}
	if (!t.accept)
		return t.route;
#ifdef __bpf__
	WEFT_LOOP(WEFT_CANDIDATES_MAX, weft_try_step, &t);
	if (t.accept)
		weft_hand(req, WEFT_HANDED_UNBOUNDED);
#else
	while (!weft_try_step(0, &t))
		continue;
#endif
	return t.route;
}
