// SPDX-License-Identifier: Apache-2.0
#include "agent/compile/cache.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define BUCKETS 4096u

struct weft_cache {
	struct weft_compiled **bucket[BUCKETS]; /* n[i] entries each */
	size_t n[BUCKETS];
};

int weft_cache_new(struct weft_cache **ret)
{
	*ret = calloc(1, sizeof(**ret));
	return *ret ? 0 : -ENOMEM;
}

int weft_compiled_add(struct weft_compiled_list *l, struct weft_compiled *e)
{
	if (l->n == l->cap) {
		size_t cap = l->cap ? 2 * l->cap : 64;
		struct weft_compiled **v = reallocarray(l->v, cap, sizeof(struct weft_compiled *));

		if (!v)
			return -ENOMEM;
		l->v = v;
		l->cap = cap;
	}
	l->v[l->n++] = e;
	return 0;
}

static void rds_free(struct weft_rds_ref *rds, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(rds[i].name);
		free(rds[i].own_lines);
		free(rds[i].filter_names);
	}
	free(rds);
}

static void entry_free(struct weft_compiled *e)
{
	free(e->key);
	free(e->objects.v);
	free(e->cluster_refs.v);
	free(e->live.v);
	free(e->named.v);
	free(e->inline_rc.v);
	rds_free(e->rds, e->n_rds);
	weft_diag_clear(&e->notes);
	free(e);
}

void weft_build_clear(struct weft_build *b)
{
	free(b->resource);
	free(b->objects.v);
	free(b->cluster_refs.v);
	free(b->live.v);
	free(b->named.v);
	free(b->inline_rc.v);
	rds_free(b->rds, b->n_rds);
}

void weft_cache_free(struct weft_cache *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < BUCKETS; i++) {
		for (size_t j = 0; j < c->n[i]; j++)
			entry_free(c->bucket[i][j]);
		free(c->bucket[i]);
	}
	free(c);
}

static size_t slot(const char *key)
{
	return XXH64(key, strlen(key), 0) & (BUCKETS - 1);
}

struct weft_compiled *weft_cache_find(struct weft_cache *c, const char *key)
{
	size_t i = slot(key);

	for (size_t j = 0; j < c->n[i]; j++) {
		if (!strcmp(c->bucket[i][j]->key, key))
			return c->bucket[i][j];
	}
	return NULL;
}

struct weft_compiled *weft_cache_add(struct weft_cache *c, const char *key, struct weft_build *b,
				     uint32_t off)
{
	size_t i = slot(key);
	struct weft_compiled **list = reallocarray(c->bucket[i], c->n[i] + 1, sizeof(*list));
	struct weft_compiled *e = calloc(1, sizeof(*e));

	if (list)
		c->bucket[i] = list;
	if (e)
		e->key = strdup(key);
	if (!list || !e || !e->key) {
		free(e);
		return NULL;
	}
	e->off = off;
	e->objects = b->objects;
	e->cluster_refs = b->cluster_refs;
	e->live = b->live;
	e->named = b->named;
	e->inline_rc = b->inline_rc;
	e->rds = b->rds;
	e->n_rds = b->n_rds;
	b->objects = b->cluster_refs = b->live = b->named = b->inline_rc = (struct weft_words){0};
	b->rds = NULL;
	b->n_rds = 0;
	c->bucket[i][c->n[i]++] = e;
	return e;
}

void weft_cache_remove(struct weft_cache *c, struct weft_compiled *e)
{
	size_t i = slot(e->key), j = 0;

	while (c->bucket[i][j] != e)
		j++;
	entry_free(e);
	c->bucket[i][j] = c->bucket[i][--c->n[i]];
}

void weft_cache_prune(struct weft_cache *c,
		      bool (*drop)(const struct weft_compiled *e, uint64_t serial), uint64_t serial)
{
	for (size_t i = 0; i < BUCKETS; i++) {
		size_t kept = 0;

		for (size_t j = 0; j < c->n[i]; j++) {
			if (drop(c->bucket[i][j], serial))
				entry_free(c->bucket[i][j]);
			else
				c->bucket[i][kept++] = c->bucket[i][j];
		}
		c->n[i] = kept;
	}
}

void weft_cache_each(struct weft_cache *c, void (*fn)(struct weft_compiled *e, void *arg),
		     void *arg)
{
	for (size_t i = 0; i < BUCKETS; i++) {
		for (size_t j = 0; j < c->n[i]; j++)
			fn(c->bucket[i][j], arg);
	}
}
