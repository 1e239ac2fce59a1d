// SPDX-License-Identifier: Apache-2.0
/*
 * Per type an array sorted by name, in chunks. Clones share tables and chunks; the first that
 * changes a table copies the list of its chunks and the chunk concerned, so that a change of one
 * resource among n costs about the square root of n. Loading sorted input appends at the end and
 * fills the chunks.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "xds/resource.h"

/* About the root of what a large mesh has of one type: then list and chunk cost the same to copy.
 */
#define CHUNK 64u

/* Shared by tables, copied by the first that changes it. Never empty. */
struct chunk {
	unsigned int refs; /* atomic: clones go to other threads */
	unsigned int n;
	struct weft_resource *v[CHUNK];
};

struct part {
	struct chunk *chunk;
	size_t start; /* place of its first resource in the table */
};

/* Shared by clones, copied by the first that changes it. */
struct table {
	unsigned int refs; /* atomic, too */
	size_t n;	   /* resources */
	size_t n_part, cap;
	struct part *part;
};

struct weft_snapshot {
	struct table *tables[WEFT_XDS__MAX]; /* NULL: empty */
	char *node_id, *node_cluster;	     /* NULL: "" */
};

/* A resource's place: the at-th of a part. */
struct place {
	size_t part;
	unsigned int at;
};

static const struct table empty = {.refs = 1};

static const struct table *table_of(const struct weft_snapshot *s, enum weft_xds_type type)
{
	return s->tables[type] ? s->tables[type] : &empty;
}

static struct chunk *chunk_ref(struct chunk *c)
{
	__atomic_add_fetch(&c->refs, 1, __ATOMIC_RELAXED);
	return c;
}

static void chunk_unref(struct chunk *c)
{
	if (__atomic_sub_fetch(&c->refs, 1, __ATOMIC_ACQ_REL))
		return;
	for (unsigned int i = 0; i < c->n; i++)
		weft_resource_unref(c->v[i]);
	free(c);
}

static struct chunk *chunk_new(struct weft_resource *const *v, unsigned int n)
{
	struct chunk *c = malloc(sizeof(*c));

	if (!c)
		return NULL;
	c->refs = 1;
	c->n = n;
	for (unsigned int i = 0; i < n; i++)
		c->v[i] = weft_resource_ref(v[i]);
	return c;
}

/* The part's chunk, to be changed: the table is the caller's own. NULL without memory. */
static struct chunk *chunk_own(struct part *p)
{
	struct chunk *from = p->chunk, *c;

	if (__atomic_load_n(&from->refs, __ATOMIC_ACQUIRE) == 1)
		return from;
	c = chunk_new(from->v, from->n);
	if (!c)
		return NULL;
	chunk_unref(from);
	p->chunk = c;
	return c;
}

static void table_unref(struct table *t)
{
	if (!t || __atomic_sub_fetch(&t->refs, 1, __ATOMIC_ACQ_REL))
		return;
	for (size_t i = 0; i < t->n_part; i++)
		chunk_unref(t->part[i].chunk);
	free(t->part);
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
	if (from && from->n_part) {
		t->cap = from->n_part + 1;
		t->part = malloc(t->cap * sizeof(*t->part));
		if (!t->part) {
			free(t);
			return -ENOMEM;
		}
		for (; t->n_part < from->n_part; t->n_part++)
			t->part[t->n_part] =
				(struct part){.chunk = chunk_ref(from->part[t->n_part].chunk),
					      .start = from->part[t->n_part].start};
		t->n = from->n;
	}
	table_unref(from);
	s->tables[type] = t;
	*ret = t;
	return 0;
}

/* The part that has the resource at i; i is below n. */
static size_t part_at(const struct table *t, size_t i)
{
	size_t lo = 0, hi = t->n_part;

	while (hi - lo > 1) {
		size_t mid = lo + (hi - lo) / 2;

		if (t->part[mid].start <= i)
			lo = mid;
		else
			hi = mid;
	}
	return lo;
}

/* The last part whose first name is not behind this one, else the first part. */
static size_t part_of(const struct table *t, const char *name)
{
	size_t lo = 0, hi = t->n_part;

	while (hi - lo > 1) {
		size_t mid = lo + (hi - lo) / 2;

		if (strcmp(t->part[mid].chunk->v[0]->name, name) <= 0)
			lo = mid;
		else
			hi = mid;
	}
	return lo;
}

/* Where name is, or is to be (then maybe behind the last of a part); *ret_found tells which. */
static struct place locate(const struct table *t, const char *name, bool *ret_found)
{
	const struct chunk *last = t->n_part ? t->part[t->n_part - 1].chunk : NULL, *c;
	unsigned int lo = 0, hi;
	size_t part;

	*ret_found = false;
	if (!last)
		return (struct place){0};
	if (strcmp(last->v[last->n - 1]->name, name) < 0)
		return (struct place){t->n_part - 1, last->n};
	part = part_of(t, name);
	c = t->part[part].chunk;
	hi = c->n;
	while (lo < hi) {
		unsigned int mid = lo + (hi - lo) / 2;
		int r = strcmp(c->v[mid]->name, name);

		if (!r) {
			*ret_found = true;
			return (struct place){part, mid};
		}
		if (r < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return (struct place){part, lo};
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

static void starts_renew(struct table *t, size_t part)
{
	for (; part < t->n_part; part++)
		t->part[part].start =
			part ? t->part[part - 1].start + t->part[part - 1].chunk->n : 0;
}

/* Puts a chunk (its reference too) into the list. -ENOMEM. */
static int part_insert(struct table *t, size_t part, struct chunk *c)
{
	if (t->n_part == t->cap) {
		size_t cap = t->cap ? t->cap * 2 : 4;
		struct part *p = reallocarray(t->part, cap, sizeof(*p));

		if (!p)
			return -ENOMEM;
		t->part = p;
		t->cap = cap;
	}
	memmove(&t->part[part + 1], &t->part[part], (t->n_part - part) * sizeof(*t->part));
	t->part[part].chunk = c;
	t->n_part++;
	return 0;
}

static void part_remove(struct table *t, size_t part)
{
	chunk_unref(t->part[part].chunk);
	t->n_part--;
	memmove(&t->part[part], &t->part[part + 1], (t->n_part - part) * sizeof(*t->part));
}

/* Moves the upper half of a full chunk of the table's own into one behind it. -ENOMEM. */
static int part_split(struct table *t, size_t part)
{
	struct chunk *low = t->part[part].chunk;
	struct chunk *high = chunk_new(low->v + CHUNK / 2, CHUNK - CHUNK / 2);
	int err = high ? part_insert(t, part + 1, high) : -ENOMEM;

	if (err) {
		if (high)
			chunk_unref(high);
		return err;
	}
	for (; low->n > CHUNK / 2; low->n--)
		weft_resource_unref(low->v[low->n - 1]);
	return 0;
}

/* Of its own already: the table. */
static int table_insert(struct table *t, struct place at, struct weft_resource *r)
{
	struct chunk *c;
	int err;

	/* behind all, and the last one is full: the next one begins */
	if (!t->n_part || (at.part == t->n_part - 1 && at.at == CHUNK)) {
		c = chunk_new(&r, 1);
		err = c ? part_insert(t, t->n_part, c) : -ENOMEM;
		if (err) {
			if (c)
				chunk_unref(c);
			return err;
		}
		at.part = t->n_part - 1;
	} else {
		c = chunk_own(&t->part[at.part]);
		err = c ? 0 : -ENOMEM;
		if (!err && c->n == CHUNK)
			err = part_split(t, at.part);
		if (err)
			return err;
		if (at.at > c->n) {
			at.at -= c->n;
			c = t->part[at.part + 1].chunk;
		}
		memmove(&c->v[at.at + 1], &c->v[at.at], (c->n - at.at) * sizeof(*c->v));
		c->v[at.at] = weft_resource_ref(r);
		c->n++;
	}
	starts_renew(t, at.part);
	t->n++;
	return 0;
}

/* Two neighbours that fill half a chunk become one, if there is memory for that. */
static void parts_join(struct table *t, size_t left)
{
	struct chunk *a, *b;

	if (left + 1 >= t->n_part ||
	    t->part[left].chunk->n + t->part[left + 1].chunk->n > CHUNK / 2)
		return;
	a = chunk_own(&t->part[left]);
	b = t->part[left + 1].chunk;
	if (!a)
		return;
	for (unsigned int i = 0; i < b->n; i++)
		a->v[a->n++] = weft_resource_ref(b->v[i]);
	part_remove(t, left + 1);
}

/* Of its own already: table and chunk. */
static void table_remove(struct table *t, struct place at)
{
	struct chunk *c = t->part[at.part].chunk;
	size_t left = at.part ? at.part - 1 : 0;

	weft_resource_unref(c->v[at.at]);
	c->n--;
	memmove(&c->v[at.at], &c->v[at.at + 1], (c->n - at.at) * sizeof(*c->v));
	t->n--;
	if (!c->n) {
		part_remove(t, at.part);
	} else if (c->n <= CHUNK / 4) {
		parts_join(t, at.part);
		if (at.part)
			parts_join(t, left);
	}
	starts_renew(t, left);
}

int weft_snapshot_put(struct weft_snapshot *s, struct weft_resource *r)
{
	struct table *t;
	struct chunk *c;
	bool found;
	struct place at = locate(table_of(s, r->type), r->name, &found);
	int err;

	if (found && s->tables[r->type]->part[at.part].chunk->v[at.at] == r)
		return 0;
	err = table_own(s, r->type, &t);
	if (err)
		return err;
	if (!found)
		return table_insert(t, at, r);
	c = chunk_own(&t->part[at.part]);
	if (!c)
		return -ENOMEM;
	weft_resource_ref(r);
	weft_resource_unref(c->v[at.at]);
	c->v[at.at] = r;
	return 0;
}

int weft_snapshot_del(struct weft_snapshot *s, enum weft_xds_type type, const char *name)
{
	struct table *t;
	bool found;
	struct place at = locate(table_of(s, type), name, &found);
	int err = found ? table_own(s, type, &t) : -ENOENT;

	if (err)
		return err;
	if (!chunk_own(&t->part[at.part]))
		return -ENOMEM;
	table_remove(t, at);
	return 0;
}

struct weft_resource *weft_snapshot_get(const struct weft_snapshot *s, enum weft_xds_type type,
					const char *name)
{
	const struct table *t = table_of(s, type);
	bool found;
	struct place at = locate(t, name, &found);

	return found ? t->part[at.part].chunk->v[at.at] : NULL;
}

size_t weft_snapshot_index(const struct weft_snapshot *s, enum weft_xds_type type, const char *name)
{
	const struct table *t = table_of(s, type);
	bool found;
	struct place at = locate(t, name, &found);

	return found ? t->part[at.part].start + at.at : SIZE_MAX;
}

size_t weft_snapshot_count(const struct weft_snapshot *s, enum weft_xds_type type)
{
	return table_of(s, type)->n;
}

struct weft_resource *weft_snapshot_at(const struct weft_snapshot *s, enum weft_xds_type type,
				       size_t i)
{
	const struct table *t = s->tables[type];
	const struct part *p = &t->part[part_at(t, i)];

	return p->chunk->v[i - p->start];
}

/* The place behind its last; the chunk itself is not looked at. */
static size_t part_end(const struct table *t, size_t part)
{
	return part + 1 < t->n_part ? t->part[part + 1].start : t->n;
}

size_t weft_snapshot_differs(const struct weft_snapshot *a, const struct weft_snapshot *b,
			     enum weft_xds_type type, size_t from)
{
	const struct table *x = table_of(a, type), *y = table_of(b, type);
	size_t n = x->n < y->n ? x->n : y->n, i = from;
	size_t p = i < n ? part_at(x, i) : 0, q = i < n ? part_at(y, i) : 0;

	if (x == y)
		return SIZE_MAX;
	while (i < n) {
		const struct part *l = &x->part[p], *r = &y->part[q];

		if (i == part_end(x, p)) {
			p++;
		} else if (i == part_end(y, q)) {
			q++;
		} else if (l->chunk == r->chunk && l->start == r->start) {
			i = part_end(x, p);
		} else if (l->chunk->v[i - l->start] != r->chunk->v[i - r->start]) {
			return i;
		} else {
			i++;
		}
	}
	return i < (x->n > y->n ? x->n : y->n) ? i : SIZE_MAX;
}

bool weft_snapshot_same(const struct weft_snapshot *a, const struct weft_snapshot *b,
			enum weft_xds_type type)
{
	return table_of(a, type)->n == table_of(b, type)->n &&
	       weft_snapshot_differs(a, b, type, 0) == SIZE_MAX;
}
