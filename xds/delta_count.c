// SPDX-License-Identifier: Apache-2.0
/*
 * What Envoy counts of each subscription (config/subscription_factory, "xDS subscription
 * statistics"): attempts are the start, every answer, every refusal, every stream that ended and
 * every timeout. A refusal in EDS or RDS is one of every name of the type.
 */

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "xds/delta_state.h"

typedef Envoy__Service__Discovery__V3__DeltaDiscoveryResponse delta_resp;

void delta_counts_clear(struct weft_delta_counts *c)
{
	free(c->version_text);
	*c = (struct weft_delta_counts){0};
}

void delta_count_start(struct weft_delta_counts *c)
{
	c->attempt++;
}

void delta_count_timeout(struct weft_delta_counts *c)
{
	c->attempt++;
	c->timeout++;
}

static void count_success(const struct weft_delta *d, struct weft_delta_counts *c,
			  const delta_resp *resp)
{
	const char *version = resp->system_version_info ? resp->system_version_info : "";

	c->attempt++;
	c->success++;
	c->success_ms = d->now_ms;
	c->version = XXH64(version, strlen(version), 0);
	if (c->version_text && !strcmp(c->version_text, version))
		return;
	free(c->version_text);
	c->version_text = strdup(version); /* without memory: none is shown */
}

static void count_reload(const struct weft_delta *d, struct weft_delta_counts *c)
{
	c->reload++;
	c->reload_ms = d->now_ms;
}

/* True when the content is not what it was when it was looked at last. */
static bool is_other(struct delta_item *item)
{
	uint64_t hash = item->held ? item->held->res->hash : 0;
	bool other = hash != item->counted;

	item->counted = hash;
	return other;
}

static void count_refused(struct weft_delta_counts *c)
{
	c->attempt++;
	c->rejected++;
}

static void count_failure(struct weft_delta_counts *c)
{
	c->attempt++;
	c->failure++;
}

/* Of a type that is subscribed to as a whole, or of every name of another. */
static void count_each(struct weft_delta *d, enum weft_xds_type type,
		       void (*count)(struct weft_delta_counts *c))
{
	struct delta_type *t = &d->types[type];
	struct delta_item *item;

	if (t->wildcard) {
		if (t->started)
			count(&t->counts);
		return;
	}
	TAILQ_FOREACH(item, &t->items, link)
	{
		if (item->watchers)
			count(&item->counts);
	}
}

void delta_count_disconnected(struct weft_delta *d, enum weft_xds_type type)
{
	count_each(d, type, count_failure);
}

static void whole_success(struct weft_delta *d, struct delta_type *t, const delta_resp *resp)
{
	enum weft_xds_type type = (enum weft_xds_type)(t - d->types);
	bool other = false;

	for (size_t i = 0; i < resp->n_resources; i++) {
		struct delta_item *item = delta_item_find(d, type, resp->resources[i]->name);

		other |= item && is_other(item);
	}
	for (size_t i = 0; i < resp->n_removed_resources; i++) {
		struct delta_item *item = delta_item_find(d, type, resp->removed_resources[i]);

		other |= item && is_other(item);
	}
	count_success(d, &t->counts, resp);
	if (other)
		count_reload(d, &t->counts);
}

static void names_success(struct weft_delta *d, enum weft_xds_type type, const delta_resp *resp)
{
	for (size_t i = 0; i < resp->n_resources; i++) {
		struct delta_item *item = delta_item_find(d, type, resp->resources[i]->name);

		if (!item || !item->watchers)
			continue;
		count_success(d, &item->counts, resp);
		if (is_other(item))
			count_reload(d, &item->counts);
		else
			item->counts.same++;
	}
	for (size_t i = 0; i < resp->n_removed_resources; i++) {
		struct delta_item *item = delta_item_find(d, type, resp->removed_resources[i]);

		if (!item || !item->watchers)
			continue;
		count_success(d, &item->counts, resp);
		item->counts.empty++;
	}
}

void delta_count_answer(struct weft_delta *d, enum weft_xds_type type, const delta_resp *resp,
			bool refused)
{
	struct delta_type *t = &d->types[type];

	if (refused)
		count_each(d, type, count_refused);
	else if (t->wildcard)
		whole_success(d, t, resp);
	else
		names_success(d, type, resp);
}
