// SPDX-License-Identifier: Apache-2.0
#include "agent/compile/cache.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define FIRST_BUCKETS 256u

struct weft_cache {
	struct weft_compiled **bucket; /* chains by hash */
	size_t n, n_bucket;	       /* n_bucket: power of two */
};

int weft_cache_new(struct weft_cache **ret)
{
	struct weft_cache *c = calloc(1, sizeof(*c));

	if (c)
		c->bucket = calloc(FIRST_BUCKETS, sizeof(struct weft_compiled *));
	if (!c || !c->bucket) {
		free(c);
		return -ENOMEM;
	}
	c->n_bucket = FIRST_BUCKETS;
	*ret = c;
	return 0;
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

static struct weft_compiled **chain(const struct weft_cache *c, uint64_t hash)
{
	return &c->bucket[hash & (c->n_bucket - 1)];
}

static uint64_t hash_of(const char *key)
{
	return XXH64(key, strlen(key), 0);
}

static void chain_add(struct weft_cache *c, struct weft_compiled *e)
{
	struct weft_compiled **head = chain(c, e->hash);

	e->next = *head;
	*head = e;
}

/* Entries for which drop() is true, or all (drop NULL), are freed. */
static void sweep(struct weft_cache *c,
		  bool (*drop)(const struct weft_compiled *e, uint64_t serial), uint64_t serial)
{
	for (size_t i = 0; i < c->n_bucket; i++) {
		for (struct weft_compiled **p = &c->bucket[i], *e; (e = *p);) {
			if (drop && !drop(e, serial)) {
				p = &e->next;
				continue;
			}
			*p = e->next;
			entry_free(e);
			c->n--;
		}
	}
}

void weft_cache_free(struct weft_cache *c)
{
	if (!c)
		return;
	sweep(c, NULL, 0);
	free(c->bucket);
	free(c);
}

struct weft_compiled *weft_cache_find(struct weft_cache *c, const char *key)
{
	uint64_t hash = hash_of(key);
	struct weft_compiled *e = *chain(c, hash);

	while (e && (e->hash != hash || strcmp(e->key, key)))
		e = e->next;
	return e;
}

/* On failure the chains just stay longer. */
static void grow(struct weft_cache *c)
{
	struct weft_compiled **old = c->bucket, *e;
	size_t n = c->n_bucket;
	struct weft_compiled **more = calloc(n * 2, sizeof(struct weft_compiled *));

	if (!more)
		return;
	c->bucket = more;
	c->n_bucket = n * 2;
	for (size_t i = 0; i < n; i++) {
		while ((e = old[i])) {
			old[i] = e->next;
			chain_add(c, e);
		}
	}
	free(old);
}

struct weft_compiled *weft_cache_add(struct weft_cache *c, const char *key, struct weft_build *b,
				     uint32_t off)
{
	struct weft_compiled *e = calloc(1, sizeof(*e));

	if (e)
		e->key = strdup(key);
	if (!e || !e->key) {
		free(e);
		return NULL;
	}
	e->hash = hash_of(key);
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
	if (c->n >= c->n_bucket)
		grow(c);
	chain_add(c, e);
	c->n++;
	return e;
}

void weft_cache_remove(struct weft_cache *c, struct weft_compiled *e)
{
	struct weft_compiled **p = chain(c, e->hash);

	while (*p != e)
		p = &(*p)->next;
	*p = e->next;
	entry_free(e);
	c->n--;
}

void weft_cache_prune(struct weft_cache *c,
		      bool (*drop)(const struct weft_compiled *e, uint64_t serial), uint64_t serial)
{
	sweep(c, drop, serial);
}

void weft_cache_each(struct weft_cache *c, void (*fn)(struct weft_compiled *e, void *arg),
		     void *arg)
{
	for (size_t i = 0; i < c->n_bucket; i++) {
		for (struct weft_compiled *e = c->bucket[i]; e; e = e->next)
			fn(e, arg);
	}
}
