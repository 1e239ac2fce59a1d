// SPDX-License-Identifier: Apache-2.0
/* The descriptors of a local rate limit, and the table in which programs find them. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/compile/limit.h"
#include "bpf/abi/rate.h"
#include "bpf/engine/engine.h"

typedef Envoy__Extensions__Common__Ratelimit__V3__LocalRateLimitDescriptor descriptor;

static uint32_t entries_put(struct weft_build *b, const descriptor *d, const char *field,
			    uint32_t *flags)
{
	struct weft_img_rate_entry e[WEFT_RATE_ACTIONS_MAX] = {0};
	char at[WEFT_FIELD_MAX];

	if (d->n_entries > WEFT_RATE_ACTIONS_MAX) {
		weft_build_fail(b, weft_field(at, field, "entries"), "more than %u",
				WEFT_RATE_ACTIONS_MAX);
		return 0;
	}
	for (size_t i = 0; i < d->n_entries; i++) {
		e[i].key = weft_build_str(b, d->entries[i]->key);
		e[i].value = weft_build_str(b, d->entries[i]->value);
		e[i].key_hash = weft_hash_rate(d->entries[i]->key, e[i].key.len);
		e[i].value_hash = weft_hash_rate(d->entries[i]->value, e[i].value.len);
		if (!e[i].value.len)
			*flags |= WEFT_RATE_WILDCARD;
	}
	return weft_build_put(b, e, d->n_entries * sizeof(*e));
}

static bool is_wild(const descriptor *d)
{
	for (size_t i = 0; i < d->n_entries; i++) {
		if (!*d->entries[i]->value)
			return true;
	}
	return false;
}

/* What a program comes to by the entries of such a request; wild: by their keys. */
static uint64_t hash_of(const descriptor *d, bool wild)
{
	uint64_t h = 0;

	for (size_t i = 0; i < d->n_entries; i++) {
		const char *key = d->entries[i]->key, *value = d->entries[i]->value;
		__u64 v = weft_hash_rate(value, (uint32_t)strlen(value));

		h = weft_hash_entry(h, weft_hash_rate(key, (uint32_t)strlen(key)),
				    wild ? NULL : &v);
	}
	return h;
}

/*
 * false: it stands too far from its place. The first of those that are alike is the one that is
 * found, as natively; two that only their hash makes alike (one in 2^64) are the agent's.
 */
static bool place_put(struct weft_img_rate_place *table, uint32_t mask,
		      const struct weft_img_rate_place *p)
{
	for (uint32_t i = 0; i < WEFT_RATE_PROBES; i++) {
		struct weft_img_rate_place *at = &table[((uint32_t)p->hash + i) & mask];

		if (!at->descriptor)
			*at = *p;
		if (at->hash == p->hash)
			return true;
	}
	return false;
}

static bool places_put(struct weft_img_rate_place *table, uint32_t mask,
		       const struct weft_img_rate_place *list, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (!place_put(table, mask, &list[i]))
			return false;
	}
	return true;
}

/* The table, as large as it has to be; none: the agent finds them. */
static void table_put(struct weft_build *b, const struct weft_img_rate_place *list, size_t n,
		      struct weft_img_rate_limit *ret)
{
	for (uint32_t size = 2; n && size <= 64 * n; size *= 2) {
		struct weft_img_rate_place *table;

		if (size < 2 * n)
			continue;
		table = calloc(size, sizeof(*table));
		if (!table) {
			b->err = b->err ? b->err : -ENOMEM;
			return;
		}
		if (places_put(table, size - 1, list, n)) {
			ret->place = weft_build_put(b, table, size * sizeof(*table));
			ret->place_mask = size - 1;
		}
		free(table);
		if (ret->place)
			return;
	}
}

static void descriptor_fill(struct weft_build *b, const descriptor *d, const char *at,
			    uint32_t limit, struct weft_img_rate_descriptor *ret)
{
	char bucket[WEFT_FIELD_MAX];

	weft_build_fields(b, &d->base, at);
	ret->flags = d->shadow_mode ? WEFT_RATE_SHADOW : 0;
	ret->n_entry = (uint32_t)d->n_entries;
	ret->entry = entries_put(b, d, at, &ret->flags);
	weft_build_bucket(b, d->token_bucket, weft_field(bucket, at, "token_bucket"), &ret->bucket);
	ret->bucket.cell = ret->flags & WEFT_RATE_WILDCARD
				   ? limit
				   : weft_build_state(b, WEFT_CELL_BUCKET, b->hash,
						      "descriptor %s %s", b->resource, at);
}

void weft_build_rate_descriptors(struct weft_build *b, size_t n, descriptor *const *list,
				 const char *field, struct weft_img_rate_limit *ret)
{
	struct weft_img_rate_descriptor *out = calloc(n + 1, sizeof(*out));
	struct weft_img_rate_place *places = calloc(n + 1, sizeof(*places));
	char at[WEFT_FIELD_MAX];
	uint32_t k = 0;

	if (!out || !places) {
		b->err = b->err ? b->err : -ENOMEM;
		n = 0;
	}
	/* those that name a value first: that is where Envoy looks first */
	for (size_t i = 0; i < 2 * n; i++) {
		const descriptor *d = list[i % n];

		if (is_wild(d) != (i >= n))
			continue;
		weft_field(at, field, "descriptors[%zu]", i % n);
		descriptor_fill(b, d, at, ret->stats, &out[k]);
		places[k++].hash = hash_of(d, i >= n);
	}
	ret->n_descriptor = k;
	if (k)
		ret->descriptor = weft_build_put(b, out, k * sizeof(*out));
	for (uint32_t i = 0; i < k; i++)
		places[i].descriptor = ret->descriptor + i * (uint32_t)sizeof(*out);
	if (k && !b->err)
		table_put(b, places, k, ret);
	free(places);
	free(out);
}
