// SPDX-License-Identifier: Apache-2.0
/*
 * Numbers for names. A number stays with its name while anything in force has it, and goes to
 * another name only when no program run, no reader and no cell can still mean the old one.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <xxhash.h>

#include "agent/compile/build.h"
#include "xds/clock.h"

#define NUMBER(id) ((id) & ((1u << WEFT_ID_KIND_SHIFT) - 1))

struct entry {
	char *name; /* NULL: the number is free */
	uint32_t id;
	uint32_t retired; /* first epoch without it; 0: in force, or not yet published */
	uint32_t held;
	bool published;
	bool changed;	     /* asked for, held or dropped since the last settling */
	uint64_t begin;	     /* 0: not yet */
	size_t next;	     /* index + 1 in the chain */
	size_t next_changed; /* index + 1 */
};

struct weft_names {
	struct entry *entry;
	size_t n, cap;
	size_t *bucket; /* index + 1 */
	size_t n_bucket;
	uint32_t *free; /* numbers, the lowest last; room for cap */
	size_t n_free;
	size_t n_retired;
	size_t changed; /* index + 1 of the first */
};

int weft_names_new(struct weft_names **ret)
{
	struct weft_names *n = calloc(1, sizeof(*n));

	if (!n)
		return -ENOMEM;
	*ret = n;
	return 0;
}

void weft_names_free(struct weft_names *n)
{
	if (!n)
		return;
	for (size_t i = 0; i < n->n; i++)
		free(n->entry[i].name);
	free(n->entry);
	free(n->bucket);
	free(n->free);
	free(n);
}

static size_t *chain(const struct weft_names *n, const char *name)
{
	return &n->bucket[XXH64(name, strlen(name), 0) & (n->n_bucket - 1)];
}

static void chain_add(struct weft_names *n, size_t i)
{
	size_t *p = chain(n, n->entry[i].name);

	n->entry[i].next = *p;
	*p = i + 1;
}

static void chain_remove(struct weft_names *n, size_t i)
{
	size_t *p = chain(n, n->entry[i].name);

	while (*p != i + 1)
		p = &n->entry[*p - 1].next;
	*p = n->entry[i].next;
}

static int grow(struct weft_names *n)
{
	size_t cap = n->cap ? n->cap * 2 : 64;
	struct entry *entry = reallocarray(n->entry, cap, sizeof(*entry));
	uint32_t *room;
	size_t *bucket;

	if (!entry)
		return -ENOMEM;
	n->entry = entry;
	room = reallocarray(n->free, cap, sizeof(*room));
	if (!room)
		return -ENOMEM;
	n->free = room;
	bucket = calloc(cap, sizeof(*bucket));
	if (!bucket)
		return -ENOMEM;
	free(n->bucket);
	n->bucket = bucket;
	n->n_bucket = cap;
	n->cap = cap;
	for (size_t i = 0; i < n->n; i++) {
		if (n->entry[i].name)
			chain_add(n, i);
	}
	return 0;
}

static struct entry *find(const struct weft_names *n, const char *name)
{
	size_t i = n->n_bucket ? *chain(n, name) : 0;

	while (i && strcmp(n->entry[i - 1].name, name))
		i = n->entry[i - 1].next;
	return i ? &n->entry[i - 1] : NULL;
}

/* Index of a free number: one that was given back, or the next. */
static int number_take(struct weft_names *n, size_t *ret)
{
	if (n->n_free) {
		*ret = n->free[--n->n_free] - 1;
		return 0;
	}
	if (n->n == NUMBER(UINT32_MAX) || (n->n == n->cap && grow(n)))
		return -ENOMEM;
	*ret = n->n++;
	return 0;
}

static void changed_add(struct weft_names *n, struct entry *e)
{
	if (e->changed)
		return;
	e->changed = true;
	e->next_changed = n->changed;
	n->changed = (size_t)(e - n->entry) + 1;
}

int weft_names_get(struct weft_names *n, const char *name, uint32_t high_bits, uint32_t *ret)
{
	struct entry *e = find(n, name);

	if (!e) {
		char *copy = strdup(name);
		size_t i;

		if (!copy || number_take(n, &i)) {
			free(copy);
			return -ENOMEM;
		}
		e = &n->entry[i];
		/* from 1: 0 is "none" */
		*e = (struct entry){.name = copy, .id = high_bits | (uint32_t)(i + 1)};
		chain_add(n, i);
	}
	changed_add(n, e);
	*ret = e->id;
	return 0;
}

static struct entry *by_id(const struct weft_names *n, uint32_t id)
{
	size_t i = NUMBER(id);
	struct entry *e = i && i <= n->n ? &n->entry[i - 1] : NULL;

	return e && e->name && e->id == id ? e : NULL;
}

const char *weft_names_text(const struct weft_names *n, uint32_t id)
{
	const struct entry *e = by_id(n, id);

	return e ? e->name : NULL;
}

uint64_t weft_names_begin(struct weft_names *n, uint32_t id)
{
	struct entry *e = by_id(n, id);

	if (!e)
		return 0;
	if (!e->begin)
		e->begin = weft_clock_ns(CLOCK_MONOTONIC);
	return e->begin;
}

void weft_names_hold(struct weft_names *n, uint32_t id)
{
	struct entry *e = by_id(n, id);

	if (!e)
		return;
	e->held++;
	changed_add(n, e);
}

void weft_names_drop(struct weft_names *n, uint32_t id)
{
	struct entry *e = by_id(n, id);

	if (!e)
		return;
	assert(e->held);
	e->held--;
	changed_add(n, e);
}

static void entry_free(struct weft_names *n, struct entry *e)
{
	size_t i = (size_t)(e - n->entry);

	chain_remove(n, i);
	free(e->name);
	*e = (struct entry){0};
	n->free[n->n_free++] = (uint32_t)(i + 1);
}

/* The lowest are given first, so that tables by number shrink with the names. */
static int descending(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x < y) - (x > y);
}

static void free_sort(struct weft_names *n, size_t before)
{
	if (n->n_free != before)
		qsort(n->free, n->n_free, sizeof(*n->free), descending);
}

static void entry_settle(struct weft_names *n, struct entry *e, uint32_t epoch)
{
	if (!e->published && (!epoch || !e->held)) {
		entry_free(n, e); /* nobody has seen it */
		return;
	}
	if (!epoch)
		return;
	e->published = true;
	if (!e->held && !e->retired) {
		e->retired = epoch;
		n->n_retired++;
	} else if (e->held && e->retired) {
		e->retired = 0;
		n->n_retired--;
	}
}

void weft_names_settle(struct weft_names *n, uint32_t epoch)
{
	size_t before = n->n_free, next;

	for (size_t i = n->changed; i; i = next) {
		struct entry *e = &n->entry[i - 1];

		next = e->next_changed;
		e->changed = false;
		entry_settle(n, e, epoch);
	}
	n->changed = 0;
	free_sort(n, before);
}

int weft_names_retired(const struct weft_names *n, uint32_t settled, struct weft_words *ret)
{
	for (size_t i = 0; n->n_retired && i < n->n; i++) {
		const struct entry *e = &n->entry[i];

		if (e->retired && e->retired <= settled && weft_words_add(ret, e->id))
			return -ENOMEM;
	}
	return 0;
}

void weft_names_release(struct weft_names *n, const uint32_t *id, size_t n_id)
{
	size_t before = n->n_free;

	for (size_t i = 0; i < n_id; i++) {
		struct entry *e = by_id(n, id[i]);

		if (!e || !e->retired)
			continue;
		n->n_retired--;
		entry_free(n, e);
	}
	free_sort(n, before);
}

uint32_t weft_names_count(const struct weft_names *n)
{
	return (uint32_t)n->n + 1;
}

size_t weft_names_waiting(const struct weft_names *n)
{
	return n->n_retired;
}
