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
	__u32 accept, i, best, route;
	__u32 second; /* list to go on with when the first is done */
};

static long weft_try_step(__u32 j, void *p)
{
	struct weft_try *c = p;
	WEFT_IMG_BASE(1);
	struct weft_img_accept *a = WEFT_IMG(struct weft_img_accept, c->accept);

	(void)j;
	if (c->i < a->n) {
		struct weft_img_candidate *k = WEFT_IMG(
			struct weft_img_candidate,
			c->accept + sizeof(struct weft_img_accept) + c->i * (__u32)sizeof(*k));

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
	if (!c->accept) {
		c->accept = c->second;
		c->second = 0;
	}
	return c->accept ? 0 : 1;
}

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
	__u32 lower = WEFT_IMG(struct weft_img_vhost, vhost)->trie_lower;
	struct weft_try t = { .req = req, .best = WEFT_NO_ROUTE };

	if (req->flags & WEFT_REQ_CONNECT)
		t.accept = WEFT_IMG(struct weft_img_vhost, vhost)->connect;
	else if (!req->path.len)
		return 0;
	else
		t.accept = weft_trie_walk(req, trie, 0);
	if (lower && !(req->flags & WEFT_REQ_CONNECT))
		t.second = weft_trie_walk(req, lower, 1);
	if (t.accept) {
		struct weft_img_accept *a = WEFT_IMG(struct weft_img_accept, t.accept);

		t.best = a->best;
		t.route = a->best_route;
		if (!a->n && !a->up)
			t.accept = 0;
	}
	if (t.second) {
		struct weft_img_accept *a = WEFT_IMG(struct weft_img_accept, t.second);

		if (a->best < t.best) {
			t.best = a->best;
			t.route = a->best_route;
		}
		if (!a->n && !a->up)
			t.second = 0;
	}
	if (t.best == WEFT_NO_ROUTE)
		t.route = 0;
	if (!t.accept) {
		t.accept = t.second;
		t.second = 0;
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
