// SPDX-License-Identifier: Apache-2.0
/*
 * Per type an array sorted by name: listing is what happens most (compile, dump). Clones share the
 * arrays; the first that changes one of them copies it, so that a change costs no more than the
 * resources of one type. Loading sorted input appends at the end, so it is linear too.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "xds/resource.h"

/* Shared by clones, copied by the first that changes it. */
struct table {
	unsigned int refs; /* atomic: clones go to other threads */
	size_t n, cap;
	struct weft_resource **v;
};

struct weft_snapshot {
	struct table *tables[WEFT_XDS__MAX]; /* NULL: empty */
	char *node_id, *node_cluster;	     /* NULL: "" */
};

static const struct table empty = {.refs = 1};

static const struct table *table_of(const struct weft_snapshot *s, enum weft_xds_type type)
{
	return s->tables[type] ? s->tables[type] : &empty;
}

static void table_unref(struct table *t)
{
	if (!t || __atomic_sub_fetch(&t->refs, 1, __ATOMIC_ACQ_REL))
		return;
	for (size_t i = 0; i < t->n; i++)
		weft_resource_unref(t->v[i]);
	free(t->v);
	free(t);
}

static struct table *table_ref(struct table *t)
{
	if (t)
		__atomic_add_fetch(&t->refs, 1, __ATOMIC_RELAXED);
	return t;
}

/* A table of the snapshot's own, to be changed. -ENOMEM. */
static int table_own(struct weft_snapshot *s, enum weft_xds_type type, struct table **ret)
{
	struct table *from = s->tables[type], *t;

	if (from && __atomic_load_n(&from->refs, __ATOMIC_ACQUIRE) == 1) {
		*ret = from;
		return 0;
	}
	t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	t->refs = 1;
	if (from && from->n) {
		t->cap = from->n + 1;
		t->v = malloc(t->cap * sizeof(struct weft_resource *));
		if (!t->v) {
			free(t);
			return -ENOMEM;
		}
		for (; t->n < from->n; t->n++)
			t->v[t->n] = weft_resource_ref(from->v[t->n]);
	}
	table_unref(from);
	s->tables[type] = t;
	*ret = t;
	return 0;
}

/* Where name is, or is to be; *ret_found tells which. */
static size_t locate(const struct table *t, const char *name, bool *ret_found)
{
	size_t lo = 0, hi = t->n;

	*ret_found = false;
	if (hi && strcmp(t->v[hi - 1]->name, name) < 0)
		return hi;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		int c = strcmp(t->v[mid]->name, name);

		if (!c) {
			*ret_found = true;
			return mid;
		}
		if (c < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

int weft_snapshot_new(struct weft_snapshot **ret)
{
	struct weft_snapshot *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	*ret = s;
	return 0;
}

int weft_snapshot_clone(const struct weft_snapshot *s, struct weft_snapshot **ret)
{
	struct weft_snapshot *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	for (int i = 0; i < WEFT_XDS__MAX; i++)
		c->tables[i] = table_ref(s->tables[i]);
	if (weft_snapshot_set_node(c, weft_snapshot_node_id(s), weft_snapshot_node_cluster(s))) {
		weft_snapshot_free(c);
		return -ENOMEM;
	}
	*ret = c;
	return 0;
}

int weft_snapshot_set_node(struct weft_snapshot *s, const char *id, const char *cluster)
{
	char *i = *id ? strdup(id) : NULL, *c = *cluster ? strdup(cluster) : NULL;

	if ((*id && !i) || (*cluster && !c)) {
		free(i);
		free(c);
		return -ENOMEM;
	}
	free(s->node_id);
	free(s->node_cluster);
	s->node_id = i;
	s->node_cluster = c;
	return 0;
}

const char *weft_snapshot_node_id(const struct weft_snapshot *s)
{
	return s->node_id ? s->node_id : "";
}

const char *weft_snapshot_node_cluster(const struct weft_snapshot *s)
{
	return s->node_cluster ? s->node_cluster : "";
}

void weft_snapshot_free(struct weft_snapshot *s)
{
	if (!s)
		return;
	for (int i = 0; i < WEFT_XDS__MAX; i++)
		table_unref(s->tables[i]);
	free(s->node_id);
	free(s->node_cluster);
	free(s);
}

void weft_snapshot_share(struct weft_snapshot *s, const struct weft_snapshot *from,
			 enum weft_xds_type type)
{
	struct table *old = s->tables[type];

	s->tables[type] = table_ref(from->tables[type]);
	table_unref(old);
}

static int table_insert(struct table *t, size_t i, struct weft_resource *r)
{
	if (t->n == t->cap) {
		size_t cap = t->cap ? t->cap * 2 : 16;
		struct weft_resource **v = realloc(t->v, cap * sizeof(struct weft_resource *));

		if (!v)
			return -ENOMEM;
		t->v = v;
		t->cap = cap;
	}
	memmove(&t->v[i + 1], &t->v[i], (t->n - i) * sizeof(struct weft_resource *));
	t->v[i] = weft_resource_ref(r);
	t->n++;
	return 0;
}

int weft_snapshot_put(struct weft_snapshot *s, struct weft_resource *r)
{
	struct table *t;
	bool found;
	size_t i = locate(table_of(s, r->type), r->name, &found);
	int err;

	if (found && s->tables[r->type]->v[i] == r)
		return 0;
	err = table_own(s, r->type, &t);
	if (err)
		return err;
	if (!found)
		return table_insert(t, i, r);
	weft_resource_ref(r);
	weft_resource_unref(t->v[i]);
	t->v[i] = r;
	return 0;
}

int weft_snapshot_del(struct weft_snapshot *s, enum weft_xds_type type, const char *name)
{
	struct table *t;
	bool found;
	size_t i = locate(table_of(s, type), name, &found);
	int err = found ? table_own(s, type, &t) : -ENOENT;

	if (err)
		return err;
	weft_resource_unref(t->v[i]);
	t->n--;
	memmove(&t->v[i], &t->v[i + 1], (t->n - i) * sizeof(struct weft_resource *));
	return 0;
}

struct weft_resource *weft_snapshot_get(const struct weft_snapshot *s, enum weft_xds_type type,
					const char *name)
{
	const struct table *t = table_of(s, type);
	bool found;
	size_t i = locate(t, name, &found);

	return found ? t->v[i] : NULL;
}

size_t weft_snapshot_index(const struct weft_snapshot *s, enum weft_xds_type type, const char *name)
{
	bool found;
	size_t i = locate(table_of(s, type), name, &found);

	return found ? i : SIZE_MAX;
}

size_t weft_snapshot_count(const struct weft_snapshot *s, enum weft_xds_type type)
{
	return table_of(s, type)->n;
}

struct weft_resource *weft_snapshot_at(const struct weft_snapshot *s, enum weft_xds_type type,
				       size_t i)
{
	return s->tables[type]->v[i];
}

bool weft_snapshot_same(const struct weft_snapshot *a, const struct weft_snapshot *b,
			enum weft_xds_type type)
{
	const struct table *x = table_of(a, type), *y = table_of(b, type);

	if (x == y || (!x->n && !y->n))
		return true;
	return x->n == y->n && !memcmp(x->v, y->v, x->n * sizeof(struct weft_resource *));
}
