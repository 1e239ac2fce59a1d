// SPDX-License-Identifier: Apache-2.0
#include "agent/store/arena.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

/* Free runs by the logarithm of their length: the first that fits of the smallest class that can.
 */
#define BINS 32

struct run {
	struct weft_run pub;
	bool free;
	struct run *prev, *next;	 /* by offset */
	struct run *bin_prev, *bin_next; /* free ones of one class */
};

struct weft_arena {
	struct run *first;
	struct run *bin[BINS];
	uint64_t used;
};

static unsigned int bin_of(uint32_t len)
{
	return 31u - (unsigned int)__builtin_clz(len);
}

static void bin_add(struct weft_arena *a, struct run *r)
{
	struct run **head = &a->bin[bin_of(r->pub.len)];

	r->free = true;
	r->bin_prev = NULL;
	r->bin_next = *head;
	if (*head)
		(*head)->bin_prev = r;
	*head = r;
}

static void bin_remove(struct weft_arena *a, struct run *r)
{
	if (r->bin_prev)
		r->bin_prev->bin_next = r->bin_next;
	else
		a->bin[bin_of(r->pub.len)] = r->bin_next;
	if (r->bin_next)
		r->bin_next->bin_prev = r->bin_prev;
	r->free = false;
}

int weft_arena_new(uint32_t first, uint32_t end, struct weft_arena **ret)
{
	struct weft_arena *a = calloc(1, sizeof(*a));
	struct run *all = calloc(1, sizeof(*all));

	if (!a || !all || end <= first) {
		free(a);
		free(all);
		return a && all ? -EINVAL : -ENOMEM;
	}
	all->pub.off = first;
	all->pub.len = end - first;
	a->first = all;
	bin_add(a, all);
	*ret = a;
	return 0;
}

void weft_arena_free(struct weft_arena *a)
{
	if (!a)
		return;
	for (struct run *r = a->first, *next; r; r = next) {
		next = r->next;
		free(r);
	}
	free(a);
}

static struct run *find_fit(struct weft_arena *a, uint32_t len)
{
	for (unsigned int b = bin_of(len); b < BINS; b++) {
		for (struct run *r = a->bin[b]; r; r = r->bin_next) {
			if (r->pub.len >= len)
				return r;
		}
	}
	return NULL;
}

int weft_arena_get(struct weft_arena *a, uint32_t len, struct weft_run **ret)
{
	uint32_t need = len ? (len + 7u) & ~7u : 8u;
	struct run *r = need >= len ? find_fit(a, need) : NULL;

	if (!r)
		return -ENOSPC;
	if (r->pub.len > need) {
		struct run *rest = calloc(1, sizeof(*rest));

		if (!rest)
			return -ENOMEM;
		bin_remove(a, r);
		rest->pub.off = r->pub.off + need;
		rest->pub.len = r->pub.len - need;
		rest->prev = r;
		rest->next = r->next;
		if (r->next)
			r->next->prev = rest;
		r->next = rest;
		r->pub.len = need;
		bin_add(a, rest);
	} else {
		bin_remove(a, r);
	}
	a->used += need;
	*ret = &r->pub;
	return 0;
}

/* Joins the free run `right` to its left neighbour. */
static struct run *join(struct weft_arena *a, struct run *left, struct run *right)
{
	bin_remove(a, left);
	bin_remove(a, right);
	left->pub.len += right->pub.len;
	left->next = right->next;
	if (right->next)
		right->next->prev = left;
	free(right);
	bin_add(a, left);
	return left;
}

void weft_arena_put(struct weft_arena *a, struct weft_run *run)
{
	struct run *r = (struct run *)run;

	a->used -= r->pub.len;
	bin_add(a, r);
	if (r->prev && r->prev->free)
		r = join(a, r->prev, r);
	if (r->next && r->next->free)
		join(a, r, r->next);
}

uint64_t weft_arena_used(const struct weft_arena *a)
{
	return a->used;
}
