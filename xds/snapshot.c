// SPDX-License-Identifier: Apache-2.0
/*
 * Per type an array sorted by name: listing is what happens most (compile, dump), and a clone is one
 * copy of pointers. Loading sorted input appends at the end, so it is linear too.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "xds/resource.h"

struct table {
	size_t n, cap;
	struct weft_resource **v;
};

struct weft_snapshot {
	struct table tables[WEFT_XDS__MAX];
};

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
	for (int i = 0; i < WEFT_XDS__MAX; i++) {
		const struct table *from = &s->tables[i];
		struct table *to = &c->tables[i];

		if (!from->n)
			continue;
		to->v = malloc(from->n * sizeof(struct weft_resource *));
		if (!to->v) {
			weft_snapshot_free(c);
			return -ENOMEM;
		}
		to->cap = from->n;
		for (; to->n < from->n; to->n++)
			to->v[to->n] = weft_resource_ref(from->v[to->n]);
	}
	*ret = c;
	return 0;
}

void weft_snapshot_free(struct weft_snapshot *s)
{
	if (!s)
		return;
	for (int i = 0; i < WEFT_XDS__MAX; i++) {
		for (size_t j = 0; j < s->tables[i].n; j++)
			weft_resource_unref(s->tables[i].v[j]);
		free(s->tables[i].v);
	}
	free(s);
}

int weft_snapshot_put(struct weft_snapshot *s, struct weft_resource *r)
{
	struct table *t = &s->tables[r->type];
	bool found;
	size_t i = locate(t, r->name, &found);

	if (found) {
		weft_resource_ref(r); /* first: it may be the one that is there */
		weft_resource_unref(t->v[i]);
		t->v[i] = r;
		return 0;
	}
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

bool weft_snapshot_del(struct weft_snapshot *s, enum weft_xds_type type, const char *name)
{
	struct table *t = &s->tables[type];
	bool found;
	size_t i = locate(t, name, &found);

	if (!found)
		return false;
	weft_resource_unref(t->v[i]);
	t->n--;
	memmove(&t->v[i], &t->v[i + 1], (t->n - i) * sizeof(struct weft_resource *));
	return true;
}

struct weft_resource *weft_snapshot_get(const struct weft_snapshot *s, enum weft_xds_type type,
					const char *name)
{
	const struct table *t = &s->tables[type];
	bool found;
	size_t i = locate(t, name, &found);

	return found ? t->v[i] : NULL;
}

size_t weft_snapshot_index(const struct weft_snapshot *s, enum weft_xds_type type, const char *name)
{
	bool found;
	size_t i = locate(&s->tables[type], name, &found);

	return found ? i : SIZE_MAX;
}

size_t weft_snapshot_count(const struct weft_snapshot *s, enum weft_xds_type type)
{
	return s->tables[type].n;
}

struct weft_resource *weft_snapshot_at(const struct weft_snapshot *s, enum weft_xds_type type,
				       size_t i)
{
	return s->tables[type].v[i];
}
