// SPDX-License-Identifier: Apache-2.0
/* Rules of the rate limit filters that a single field cannot tell. */

#include <stdlib.h>
#include <string.h>

#include "envoy/extensions/filters/http/local_ratelimit/v3/local_rate_limit.pb-c.h"
#include "envoy/extensions/filters/http/ratelimit/v3/rate_limit.pb-c.h"
#include "envoy/extensions/filters/network/local_ratelimit/v3/local_rate_limit.pb-c.h"
#include "xds/cleanup.h"
#include "xds/validate_internal.h"

#define http_limit_t Envoy__Extensions__Filters__Http__LocalRatelimit__V3__LocalRateLimit
#define global_limit_t Envoy__Extensions__Filters__Http__Ratelimit__V3__RateLimit
#define global_route_t Envoy__Extensions__Filters__Http__Ratelimit__V3__RateLimitPerRoute
#define network_limit_t Envoy__Extensions__Filters__Network__LocalRatelimit__V3__LocalRateLimit
#define descriptor_t Envoy__Extensions__Common__Ratelimit__V3__LocalRateLimitDescriptor

/* Envoy's: a bucket is not filled faster. */
#define FILL_INTERVAL_MIN_NS 50000000

static bool is_short(const Envoy__Type__V3__TokenBucket *bucket)
{
	const Google__Protobuf__Duration *d = bucket ? bucket->fill_interval : NULL;

	return d && d->seconds == 0 && d->nanos > 0 && d->nanos < FILL_INTERVAL_MIN_NS;
}

static void check_bucket(struct validator *v, const Envoy__Type__V3__TokenBucket *bucket)
{
	if (is_short(bucket))
		validate_refuse(v, "token_bucket.fill_interval", "must be at least 0.05s");
}

/* Rules of the filter itself: fields that only other filters look at (Envoy's own check). */
static void check_rules(struct validator *v, const http_limit_t *l)
{
	for (size_t i = 0; i < l->n_rate_limits; i++) {
		const Envoy__Config__Route__V3__RateLimit *r = l->rate_limits[i];

		if ((r->stage && r->stage->value) || *r->disable_key)
			validate_refuse_at(
				v, "rate_limits", i,
				"'stage' field and 'disable_key' field are not supported");
		if (r->limit)
			validate_refuse_at(v, "rate_limits", i, "'limit' field is not supported");
	}
}

/* The same of a global limit's, where both are told by being there. */
static void check_global_rules(struct validator *v, size_t n,
			       Envoy__Config__Route__V3__RateLimit *const *list)
{
	for (size_t i = 0; i < n; i++) {
		if (list[i]->stage || *list[i]->disable_key)
			validate_refuse_at(
				v, "rate_limits", i,
				"'stage' field and 'disable_key' field are not supported");
	}
}

static void check_global(struct validator *v, const ProtobufCMessage *msg)
{
	const global_limit_t *l = (const void *)msg;

	check_global_rules(v, l->n_rate_limits, l->rate_limits);
}

static void check_global_route(struct validator *v, const ProtobufCMessage *msg)
{
	const global_route_t *r = (const void *)msg;

	check_global_rules(v, r->n_rate_limits, r->rate_limits);
}

struct ordered {
	const descriptor_t *d;
	size_t place;
};

static int compare_entries(const descriptor_t *a, const descriptor_t *b)
{
	if (a->n_entries != b->n_entries)
		return a->n_entries < b->n_entries ? -1 : 1;
	for (size_t i = 0; i < a->n_entries; i++) {
		int c = strcmp(a->entries[i]->key, b->entries[i]->key);

		if (!c)
			c = strcmp(a->entries[i]->value, b->entries[i]->value);
		if (c)
			return c;
	}
	return 0;
}

static int by_entries(const void *a, const void *b)
{
	const struct ordered *x = a, *y = b;
	int c = compare_entries(x->d, y->d);

	return c ? c : x->place < y->place ? -1 : 1;
}

static void check_http(struct validator *v, const ProtobufCMessage *msg)
{
	const http_limit_t *l = (const http_limit_t *)msg;
	_xds_free_ struct ordered *o = malloc((l->n_descriptors + 1) * sizeof(*o));

	check_bucket(v, l->token_bucket);
	check_rules(v, l);
	for (size_t i = 0; i < l->n_descriptors; i++) {
		if (is_short(l->descriptors[i]->token_bucket))
			validate_refuse_at(v, "descriptors", i,
					   "token_bucket.fill_interval must be at least 0.05s");
	}
	if (!o) {
		v->out_of_memory = true;
		return;
	}
	for (size_t i = 0; i < l->n_descriptors; i++)
		o[i] = (struct ordered){l->descriptors[i], i};
	qsort(o, l->n_descriptors, sizeof(*o), by_entries);
	for (size_t i = 1; i < l->n_descriptors; i++)
		if (!compare_entries(o[i - 1].d, o[i].d))
			validate_refuse_at(v, "descriptors", o[i].place,
					   "has the entries of descriptors[%zu]", o[i - 1].place);
}

static void check_network(struct validator *v, const ProtobufCMessage *msg)
{
	check_bucket(v, ((const network_limit_t *)msg)->token_bucket);
}

const struct validate_check validate_checks_filter[] = {
	{&envoy__extensions__filters__http__local_ratelimit__v3__local_rate_limit__descriptor,
	 check_http},
	{&envoy__extensions__filters__network__local_ratelimit__v3__local_rate_limit__descriptor,
	 check_network},
	{&envoy__extensions__filters__http__ratelimit__v3__rate_limit__descriptor, check_global},
	{&envoy__extensions__filters__http__ratelimit__v3__rate_limit_per_route__descriptor,
	 check_global_route},
	{NULL, NULL},
};
