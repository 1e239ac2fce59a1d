// SPDX-License-Identifier: Apache-2.0
/*
 * The paths of a virtual host as one compressed trie. Each node knows the candidates of a request
 * that comes through or ends there: the lowest route that needs no further test, and the
 * conditional ones before it, in configured order; those of enclosing prefixes hang behind (`up`),
 * so that nothing is stored twice.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/compile/parts.h"

/* Bytes of one path; a longer one cannot arrive in a head that is judged. */
#define PATH_MAX_LEN 8192

struct node {
	const char *label;
	size_t len;
	struct node *child, *next;	  /* first child, next sibling */
	struct weft_words through, exact; /* route indexes, ascending */
};

static struct node *node_new(struct weft_build *b, const char *label, size_t len)
{
	struct node *n = calloc(1, sizeof(*n));

	if (!n) {
		b->err = b->err ? b->err : -ENOMEM;
		return NULL;
	}
	n->label = label;
	n->len = len;
	return n;
}

static void node_free(struct node *n)
{
	while (n) {
		struct node *next = n->next;

		node_free(n->child);
		free(n->through.v);
		free(n->exact.v);
		free(n);
		n = next;
	}
}

static size_t common(const char *a, size_t n, const char *c, size_t m)
{
	size_t i = 0;

	while (i < n && i < m && a[i] == c[i])
		i++;
	return i;
}

/* Cuts a node after `at` bytes of its label: the rest, with all it holds, becomes its only child.
 */
static bool node_split(struct weft_build *b, struct node *n, size_t at)
{
	struct node *rest = node_new(b, n->label + at, n->len - at);

	if (!rest)
		return false;
	rest->child = n->child;
	rest->through = n->through;
	rest->exact = n->exact;
	n->child = rest;
	n->len = at;
	n->through = (struct weft_words){0};
	n->exact = (struct weft_words){0};
	return true;
}

/* The node where the path ends, made as needed. */
static struct node *node_at(struct weft_build *b, struct node *n, const char *path, size_t len)
{
	while (len) {
		struct node *c = n->child;
		size_t k;

		while (c && c->label[0] != *path)
			c = c->next;
		if (!c) {
			c = node_new(b, path, len);
			if (!c)
				return NULL;
			c->next = n->child;
			n->child = c;
			return c;
		}
		k = common(c->label, c->len, path, len);
		if (k < c->len && !node_split(b, c, k))
			return NULL;
		path += k;
		len -= k;
		n = c;
	}
	return n;
}

static void route_add(struct weft_build *b, struct node *root, const char *path, size_t len,
		      uint32_t index, bool exact)
{
	struct node *n = node_at(b, root, path, len);

	if (n && weft_words_add(exact ? &n->exact : &n->through, index))
		b->err = b->err ? b->err : -ENOMEM;
}

static int compare_words(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

/* weft_img_accept of the list on top of what the enclosing prefixes gave. */
static uint32_t accept_build(struct weft_build *b, const struct weft_route_built *routes,
			     struct weft_words *list, uint32_t inherited,
			     const struct weft_img_accept *outer, struct weft_img_accept *ret)
{
	size_t n = 0;

	*ret = *outer;
	ret->n = 0;
	if (outer->n)
		ret->up = inherited;
	if (list->n)
		qsort(list->v, list->n, sizeof(*list->v), compare_words);
	for (; n < list->n && list->v[n] < ret->best; n++) {
		if (!routes[list->v[n]].conditional) {
			ret->best = list->v[n];
			ret->best_route = routes[list->v[n]].off;
			break;
		}
	}
	if (!n && ret->best == outer->best) { /* nothing better here */
		*ret = *outer;
		return inherited;
	}
	ret->n = (uint32_t)n; /* also where selections stand for them */
	return weft_build_accept(b, routes, list->v, n, ret);
}

/* The smallest table in which no two children share a place. */
static uint32_t child_mask(const struct node *n)
{
	for (uint32_t size = 1; size < 256; size *= 2) {
		uint8_t used[256] = {0};
		bool clash = false;

		for (const struct node *c = n->child; c; c = c->next) {
			uint8_t *u = &used[(uint8_t)c->label[0] & (size - 1)];

			clash = clash || *u;
			*u = 1;
		}
		if (!clash)
			return size - 1;
	}
	return 255;
}

/* Depth is at most that of the longest path: what a frame needs beyond a few words is on the heap.
 */
static uint32_t node_build(struct weft_build *b, const struct weft_route_built *routes,
			   struct node *n, uint32_t inherited, const struct weft_img_accept *outer)
{
	struct {
		struct weft_img_node head;
		uint32_t child[];
	} *out;
	struct weft_img_accept through, exact;
	uint32_t mask = child_mask(n), off;

	out = calloc(1, sizeof(*out) + (mask + 1) * sizeof(*out->child));
	if (!out) {
		b->err = b->err ? b->err : -ENOMEM;
		return 0;
	}
	out->head.len = (uint16_t)n->len;
	out->head.child_mask = (uint16_t)mask;
	if (n->len)
		out->head.label = weft_build_put(b, n->label, n->len);
	memcpy(&out->head.label8, n->label, n->len < 8 ? n->len : 8);
	out->head.accept = accept_build(b, routes, &n->through, inherited, outer, &through);
	out->head.accept_exact =
		accept_build(b, routes, &n->exact, out->head.accept, &through, &exact);
	if (out->head.accept_exact == out->head.accept)
		out->head.accept_exact = 0;
	for (struct node *c = n->child; c && !b->err; c = c->next)
		out->child[(uint8_t)c->label[0] & mask] =
			node_build(b, routes, c, out->head.accept, &through);
	off = weft_build_put(b, out, sizeof(out->head) + (mask + 1) * sizeof(*out->child));
	free(out);
	return off;
}

/* A copy of the path with `tail` behind it, in lower case where case does not count. */
static char *path_copy(const struct weft_route_built *r, const char *tail)
{
	char *copy = NULL;

	if (asprintf(&copy, "%s%s", r->path, tail) < 0)
		return NULL;
	for (char *p = copy; r->any_case && *p; p++)
		*p = (char)tolower((unsigned char)*p);
	return copy;
}

/* Puts route i into the trie; *ret holds the text that nodes point into. */
static void path_add(struct weft_build *b, struct node *root, const struct weft_route_built *r,
		     uint32_t i, char *ret[2])
{
	size_t len = strlen(r->path);

	if (len > PATH_MAX_LEN) {
		weft_build_fail(b, "virtual_hosts", "a path of more than %d bytes", PATH_MAX_LEN);
		return;
	}
	ret[0] = path_copy(r, "");
	if (ret[0])
		route_add(b, root, ret[0], len, i,
			  r->kind == WEFT_PATH_EXACT || r->kind == WEFT_PATH_SEPARATED);
	if (r->kind == WEFT_PATH_SEPARATED) { /* the path itself, or all below it */
		ret[1] = path_copy(r, "/");
		if (ret[1])
			route_add(b, root, ret[1], len + 1, i, false);
	}
	if (!ret[0] || (r->kind == WEFT_PATH_SEPARATED && !ret[1]))
		b->err = b->err ? b->err : -ENOMEM;
}

/* weft_img_node of the root over the routes of one sort; 0: there is none. */
static uint32_t trie_build(struct weft_build *b, const struct weft_route_built *routes, size_t n,
			   bool any_case)
{
	const struct weft_img_accept none = {.best = WEFT_NO_ROUTE};
	struct node *root = node_new(b, "", 0);
	char *(*text)[2] = calloc(n + 1, sizeof(*text));
	uint32_t off = 0;
	bool any = false;

	for (size_t i = 0; root && text && i < n && !b->err; i++) {
		if (routes[i].kind == WEFT_PATH_CONNECT || routes[i].any_case != any_case)
			continue;
		any = true;
		path_add(b, root, &routes[i], (uint32_t)i, text[i]);
	}
	if (root && text && any && !b->err)
		off = node_build(b, routes, root, 0, &none);
	node_free(root);
	for (size_t i = 0; text && i < n; i++) {
		free(text[i][0]);
		free(text[i][1]);
	}
	if (!text)
		b->err = b->err ? b->err : -ENOMEM;
	free(text);
	return off;
}

/* weft_img_accept of the routes that only CONNECT fits; 0: there is none. */
static uint32_t connect_build(struct weft_build *b, const struct weft_route_built *routes, size_t n)
{
	const struct weft_img_accept none = {.best = WEFT_NO_ROUTE};
	struct weft_words list = {0};
	struct weft_img_accept ret;
	uint32_t off = 0;

	for (size_t i = 0; i < n; i++)
		if (routes[i].kind == WEFT_PATH_CONNECT && weft_words_add(&list, (uint32_t)i))
			b->err = b->err ? b->err : -ENOMEM;
	if (list.n)
		off = accept_build(b, routes, &list, 0, &none, &ret);
	free(list.v);
	return off;
}

void weft_build_paths(struct weft_build *b, const struct weft_route_built *routes, size_t n,
		      struct weft_img_vhost *ret)
{
	ret->trie = trie_build(b, routes, n, false);
	ret->trie_lower = trie_build(b, routes, n, true);
	ret->connect = connect_build(b, routes, n);
}
