// SPDX-License-Identifier: Apache-2.0
/* The table of resources per type, and what keeps a resource in it. */

#include "xds/delta_state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define FIRST_BUCKETS 64

static uint64_t hash_of(const char *name)
{
	return XXH64(name, strlen(name), 0);
}

static struct delta_item *find_hashed(const struct delta_type *t, const char *name, uint64_t hash)
{
	struct delta_item *item = t->n_buckets ? t->buckets[hash & (t->n_buckets - 1)] : NULL;

	while (item && (item->hash != hash || strcmp(item->name, name)))
		item = item->bucket_next;
	return item;
}

struct delta_item *delta_item_find(struct weft_delta *d, enum weft_xds_type type, const char *name)
{
	return find_hashed(&d->types[type], name, hash_of(name));
}

static int table_grow(struct delta_type *t)
{
	size_t n = t->n_buckets ? 2 * t->n_buckets : FIRST_BUCKETS;
	struct delta_item **buckets = calloc(n, sizeof(struct delta_item *));
	struct delta_item *item;

	if (!buckets)
		return -ENOMEM;
	TAILQ_FOREACH(item, &t->items, link)
	{
		struct delta_item **at = &buckets[item->hash & (n - 1)];

		item->bucket_next = *at;
		*at = item;
	}
	free(t->buckets);
	t->buckets = buckets;
	t->n_buckets = n;
	return 0;
}

struct delta_item *delta_item_get(struct weft_delta *d, enum weft_xds_type type, const char *name)
{
	struct delta_type *t = &d->types[type];
	uint64_t hash = hash_of(name);
	struct delta_item *item = find_hashed(t, name, hash);

	if (item)
		return item;
	if (t->n_items >= t->n_buckets && table_grow(t))
		return NULL;
	item = calloc(1, sizeof(*item));
	if (!item)
		return NULL;
	item->name = strdup(name);
	if (!item->name) {
		free(item);
		return NULL;
	}
	item->type = type;
	item->hash = hash;
	item->expires = DELTA_NEVER;
	item->bucket_next = t->buckets[hash & (t->n_buckets - 1)];
	t->buckets[hash & (t->n_buckets - 1)] = item;
	TAILQ_INSERT_TAIL(&t->items, item, link);
	t->n_items++;
	return item;
}

static void item_clear(struct delta_item *item)
{
	delta_slot_unref(item->held);
	delta_slot_unref(item->active);
	free(item->version);
	item->held = NULL;
	item->active = NULL;
	item->version = NULL;
	item->expires = DELTA_NEVER;
	item->absent = false;
	item->timed_out = false;
	delta_item_refuse(item, NULL, NULL);
	delta_counts_clear(&item->counts);
	item->counted = 0;
}

void delta_item_free(struct weft_delta *d, struct delta_item *item)
{
	struct delta_type *t = &d->types[item->type];
	struct delta_item **at = &t->buckets[item->hash & (t->n_buckets - 1)];

	while (*at != item)
		at = &(*at)->bucket_next;
	*at = item->bucket_next;
	TAILQ_REMOVE(&t->items, item, link);
	t->n_items--;
	item_clear(item);
	free(item->name);
	free(item);
}

void delta_item_refuse(struct delta_item *item, const char *error, const char *failed_version)
{
	free(item->error);
	free(item->failed_version);
	item->error = error ? strdup(error) : NULL;
	item->failed_version = error && failed_version ? strdup(failed_version) : NULL;
	weft_resource_unref(item->failed);
	item->failed = NULL;
	item->failed_ms = 0;
}

void delta_item_failed(const struct weft_delta *d, struct delta_item *item,
		       struct weft_resource *failed)
{
	item->failed_ms = d->now_ms;
	if (failed)
		weft_resource_ref(failed);
	weft_resource_unref(item->failed);
	item->failed = failed;
}

struct delta_slot *delta_slot_ref(struct delta_slot *s)
{
	if (s)
		s->refs++;
	return s;
}

void delta_slot_unref(struct delta_slot *s)
{
	if (!s || --s->refs)
		return;
	for (size_t i = 0; i < s->n_watches; i++)
		s->watches[i].target->watchers--;
	weft_resource_unref(s->res);
	free(s);
}

bool delta_item_wanted(const struct weft_delta *d, const struct delta_item *item)
{
	return d->types[item->type].wildcard || item->watchers;
}

bool delta_watch_ready(const struct delta_watch *w)
{
	/*
	 * A name that EDS reports as missing is an answer; for RDS it is not (the timer goes on).
	 */
	return w->done || w->target->held ||
	       (w->target->type == WEFT_XDS_ENDPOINT && w->target->absent);
}

bool delta_item_warm(const struct delta_item *item)
{
	for (size_t i = 0; i < item->held->n_watches; i++) {
		if (!delta_watch_ready(&item->held->watches[i]))
			return false;
	}
	return true;
}

/* Frees the item, unless the server must be told first. True when it has to be told something. */
static bool collect_named(struct weft_delta *d, struct delta_item *item)
{
	if (item->watchers)
		return !item->sent;
	item_clear(item);
	item->unsubscribe = item->unsubscribe || item->sent;
	item->sent = false;
	if (item->unsubscribe)
		return true;
	delta_item_free(d, item);
	return false;
}

int delta_collect(struct weft_delta *d, enum weft_xds_type type)
{
	struct delta_type *t = &d->types[type];
	struct delta_item *item, *next;
	bool changed = false;
	size_t refused = 0;

	for (item = TAILQ_FIRST(&t->items); item; item = next) {
		next = TAILQ_NEXT(item, link);
		if (!t->wildcard)
			changed |= collect_named(d, item);
		else if (!item->held && !item->active &&
			 (!item->error || ++refused > DELTA_REFUSED_MAX))
			delta_item_free(d, item);
	}
	return changed && delta_stream_of(d, type)->connected ? delta_queue_subscription(d, type)
							      : 0;
}

void delta_types_clear(struct weft_delta *d)
{
	/* Clusters and listeners point to the others: they go first. */
	static const enum weft_xds_type order[] = {WEFT_XDS_CLUSTER, WEFT_XDS_LISTENER,
						   WEFT_XDS_ENDPOINT, WEFT_XDS_ROUTE};

	for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
		struct delta_type *t = &d->types[order[i]];
		struct delta_item *item;

		while ((item = TAILQ_FIRST(&t->items)))
			delta_item_free(d, item);
		free(t->buckets);
		delta_sotw_clear(t);
		delta_counts_clear(&t->counts);
	}
}
