// SPDX-License-Identifier: Apache-2.0
/* Rules of route configurations that a single field cannot tell. */

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "envoy/config/route/v3/route.pb-c.h"
#include "envoy/config/route/v3/route_components.pb-c.h"
#include "envoy/extensions/filters/http/local_ratelimit/v3/local_rate_limit.pb-c.h"
#include "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.pb-c.h"
#include "xds/any.h"
#include "xds/cleanup.h"
#include "xds/validate_internal.h"

/* RouteConfiguration.max_direct_response_body_size_bytes */
#define BODY_MAX_DEFAULT 4096
#define LOCAL_LIMIT envoy__extensions__filters__http__local_ratelimit__v3__local_rate_limit__descriptor

struct domain {
	const char *name;
	size_t host, place;
};

static int by_name(const void *a, const void *b)
{
	const struct domain *x = a, *y = b;
	int c = strcasecmp(x->name, y->name);

	if (c)
		return c;
	if (x->host != y->host)
		return x->host < y->host ? -1 : 1;
	return x->place < y->place ? -1 : 1;
}

static void check_domains(struct validator *v, const Envoy__Config__Route__V3__RouteConfiguration *rc)
{
	_xds_free_ struct domain *d = NULL;
	size_t n = 0;

	for (size_t i = 0; i < rc->n_virtual_hosts; i++)
		n += rc->virtual_hosts[i]->n_domains;
	d = malloc((n ? n : 1) * sizeof(*d));
	if (!d) {
		v->out_of_memory = true;
		return;
	}
	n = 0;
	for (size_t i = 0; i < rc->n_virtual_hosts; i++)
		for (size_t j = 0; j < rc->virtual_hosts[i]->n_domains; j++)
			d[n++] = (struct domain){rc->virtual_hosts[i]->domains[j], i, j};
	qsort(d, n, sizeof(*d), by_name);
	for (size_t i = 1; i < n; i++) {
		size_t before;

		if (strcasecmp(d[i - 1].name, d[i].name))
			continue;
		before = weft_path_field(&v->path, "virtual_hosts");
		weft_path_index(&v->path, d[i].host);
		validate_refuse_at(v, "domains", d[i].place, "domain %s is in virtual_hosts[%zu] too",
				   d[i].name, d[i - 1].host);
		weft_path_cut(&v->path, before);
	}
}

/* Files and variables of the agent's own node are not for a control plane to read. */
static void check_body(struct validator *v, const char *field,
		       const Envoy__Config__Core__V3__DataSource *body, uint32_t max)
{
	size_t len = 0;

	if (!body)
		return;
	switch (body->specifier_case) {
	case ENVOY__CONFIG__CORE__V3__DATA_SOURCE__SPECIFIER_INLINE_STRING:
		len = strlen(body->inline_string);
		break;
	case ENVOY__CONFIG__CORE__V3__DATA_SOURCE__SPECIFIER_INLINE_BYTES:
		len = body->inline_bytes.len;
		break;
	case ENVOY__CONFIG__CORE__V3__DATA_SOURCE__SPECIFIER_FILENAME:
	case ENVOY__CONFIG__CORE__V3__DATA_SOURCE__SPECIFIER_ENVIRONMENT_VARIABLE:
		validate_refuse(v, field, "only inline_string and inline_bytes are supported");
		return;
	default:
		return;
	}
	if (len > max)
		validate_refuse(v, field, "has %zu bytes, at most %u are allowed", len, max);
}

static void check_bodies(struct validator *v, const Envoy__Config__Route__V3__RouteConfiguration *rc)
{
	uint32_t max = rc->max_direct_response_body_size_bytes
			       ? rc->max_direct_response_body_size_bytes->value
			       : BODY_MAX_DEFAULT;

	for (size_t i = 0; i < rc->n_virtual_hosts; i++) {
		const Envoy__Config__Route__V3__VirtualHost *vh = rc->virtual_hosts[i];

		for (size_t j = 0; j < vh->n_routes; j++) {
			const Envoy__Config__Route__V3__Route *r = vh->routes[j];
			size_t before;

			if (r->action_case !=
			    ENVOY__CONFIG__ROUTE__V3__ROUTE__ACTION_DIRECT_RESPONSE)
				continue;
			before = weft_path_field(&v->path, "virtual_hosts");
			weft_path_index(&v->path, i);
			weft_path_field(&v->path, "routes");
			weft_path_index(&v->path, j);
			check_body(v, "direct_response.body", r->direct_response->body, max);
			weft_path_cut(&v->path, before);
		}
	}
}

static void check_table(struct validator *v, const ProtobufCMessage *msg)
{
	const Envoy__Config__Route__V3__RouteConfiguration *rc =
		(const Envoy__Config__Route__V3__RouteConfiguration *)msg;

	check_domains(v, rc);
	check_bodies(v, rc);
}

static void check_mapper(struct validator *v, const ProtobufCMessage *msg)
{
	check_body(v, "body",
		   ((const Envoy__Extensions__Filters__Network__HttpConnectionManager__V3__ResponseMapper
			     *)msg)
			   ->body,
		   UINT32_MAX);
}

static void check_weights(struct validator *v, const ProtobufCMessage *msg)
{
	const Envoy__Config__Route__V3__WeightedCluster *wc =
		(const Envoy__Config__Route__V3__WeightedCluster *)msg;
	uint64_t sum = 0;

	for (size_t i = 0; i < wc->n_clusters; i++) {
		const Envoy__Config__Route__V3__WeightedCluster__ClusterWeight *c = wc->clusters[i];

		if (!c->weight)
			validate_refuse_at(v, "clusters", i, "weight is required");
		else
			sum += c->weight->value;
		if (!*c->name == !*c->cluster_header)
			validate_refuse_at(v, "clusters", i,
					   "needs name or cluster_header, and not both");
	}
	if (wc->n_clusters && !sum)
		validate_refuse(v, "clusters", "weights sum to 0");
	else if (sum > UINT32_MAX)
		validate_refuse(v, "clusters", "weights sum to more than %u", UINT32_MAX);
}

static void check_action(struct validator *v, const ProtobufCMessage *msg)
{
	const Envoy__Config__Route__V3__RouteAction *a =
		(const Envoy__Config__Route__V3__RouteAction *)msg;
	int rewrites = !!*a->prefix_rewrite + !!a->regex_rewrite + !!a->path_rewrite_policy +
		       !!*a->path_rewrite;

	if (rewrites > 1)
		validate_refuse(v, NULL,
				"more than one of prefix_rewrite, regex_rewrite, "
				"path_rewrite_policy and path_rewrite is set");
}

static void check_back_off(struct validator *v, const ProtobufCMessage *msg)
{
	const Envoy__Config__Route__V3__RetryPolicy__RetryBackOff *b =
		(const Envoy__Config__Route__V3__RetryPolicy__RetryBackOff *)msg;

	if (!b->base_interval || !b->max_interval)
		return;
	if (b->max_interval->seconds < b->base_interval->seconds ||
	    (b->max_interval->seconds == b->base_interval->seconds &&
	     b->max_interval->nanos < b->base_interval->nanos))
		validate_refuse(v, "max_interval", "must not be below base_interval");
}

/* Per route a local rate limit replaces the filter's, so it has to have a bucket of its own. */
static void check_own_bucket(struct validator *v, const Google__Protobuf__Any *any)
{
	_xds_free_ char *type = any ? weft_any_type(any) : NULL;
	_xds_msg_ ProtobufCMessage *inner = NULL;

	if (!type || strcmp(type, LOCAL_LIMIT.name) ||
	    weft_any_unpack(any, NULL, NULL, NULL, &inner))
		return;
	if (!((Envoy__Extensions__Filters__Http__LocalRatelimit__V3__LocalRateLimit *)inner)
		     ->token_bucket)
		validate_refuse(v, "token_bucket", "is required here");
}

/* The entries of all four maps have the same layout. */
static void check_per_filter(struct validator *v, const ProtobufCMessage *msg)
{
	check_own_bucket(
		v, ((const Envoy__Config__Route__V3__Route__TypedPerFilterConfigEntry *)msg)->value);
}

static void check_filter_config(struct validator *v, const ProtobufCMessage *msg)
{
	check_own_bucket(v, ((const Envoy__Config__Route__V3__FilterConfig *)msg)->config);
}

const struct validate_check validate_checks_route[] = {
	{&envoy__config__route__v3__route_configuration__descriptor, check_table},
	{&envoy__config__route__v3__weighted_cluster__descriptor, check_weights},
	{&envoy__config__route__v3__route_action__descriptor, check_action},
	{&envoy__config__route__v3__retry_policy__retry_back_off__descriptor, check_back_off},
	{&envoy__config__route__v3__filter_config__descriptor, check_filter_config},
	{&envoy__config__route__v3__route__typed_per_filter_config_entry__descriptor,
	 check_per_filter},
	{&envoy__config__route__v3__virtual_host__typed_per_filter_config_entry__descriptor,
	 check_per_filter},
	{&envoy__config__route__v3__route_configuration__typed_per_filter_config_entry__descriptor,
	 check_per_filter},
	{&envoy__config__route__v3__weighted_cluster__cluster_weight__typed_per_filter_config_entry__descriptor,
	 check_per_filter},
	{&envoy__extensions__filters__network__http_connection_manager__v3__response_mapper__descriptor,
	 check_mapper},
	{NULL, NULL},
};
