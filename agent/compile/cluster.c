// SPDX-License-Identifier: Apache-2.0
/* Clusters: discovery type, balancing policy, breakers, upstream protocol and transport. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/compile/balancing.h"
#include "agent/compile/addresses.h"
#include "agent/compile/dns.h"
#include "agent/compile/parts.h"
#include "agent/compile/subset.h"
#include "envoy/extensions/load_balancing_policies/client_side_weighted_round_robin/v3/client_side_weighted_round_robin.pb-c.h"
#include "envoy/extensions/load_balancing_policies/least_request/v3/least_request.pb-c.h"
#include "envoy/extensions/load_balancing_policies/maglev/v3/maglev.pb-c.h"
#include "envoy/extensions/load_balancing_policies/random/v3/random.pb-c.h"
#include "envoy/extensions/load_balancing_policies/ring_hash/v3/ring_hash.pb-c.h"
#include "envoy/extensions/load_balancing_policies/round_robin/v3/round_robin.pb-c.h"
#include "envoy/extensions/load_balancing_policies/wrr_locality/v3/wrr_locality.pb-c.h"
#include "envoy/extensions/upstreams/http/v3/http_protocol_options.pb-c.h"
#include "xds/any.h"
#include "xds/descriptor.h"

#define POLICIES "envoy.extensions.load_balancing_policies."
#define CLIENT_SIDE "client_side_weighted_round_robin.v3.ClientSideWeightedRoundRobin"
#define WRR_LOCALITY "wrr_locality.v3.WrrLocality"
#define HTTP_OPTIONS "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
/* Hosts that a program compares at most: bpf/engine/cluster.h. Of more the agent chooses. */
#define CHOICES_MAX 8u

typedef Envoy__Config__Cluster__V3__Cluster cluster;
typedef Envoy__Extensions__LoadBalancingPolicies__LeastRequest__V3__LeastRequest least_request;
typedef Envoy__Extensions__LoadBalancingPolicies__RoundRobin__V3__RoundRobin round_robin;
typedef Envoy__Extensions__LoadBalancingPolicies__Random__V3__Random random_policy;
typedef Envoy__Extensions__LoadBalancingPolicies__RingHash__V3__RingHash ring_hash;
typedef Envoy__Extensions__LoadBalancingPolicies__Maglev__V3__Maglev maglev;
typedef Envoy__Extensions__LoadBalancingPolicies__ClientSideWeightedRoundRobin__V3__ClientSideWeightedRoundRobin
	client_side;
typedef Envoy__Extensions__LoadBalancingPolicies__WrrLocality__V3__WrrLocality wrr_locality;
typedef Envoy__Config__Cluster__V3__LoadBalancingPolicy policy_list;

/* Settings of DNS have an effect in DNS clusters only, the extension has its own. */
static void fields_check(struct weft_build *b, const cluster *c)
{
	static const char *const dns[] = {"dns_refresh_rate",
					  "dns_jitter",
					  "dns_failure_refresh_rate",
					  "respect_dns_ttl",
					  "dns_lookup_family",
					  "dns_resolvers",
					  "use_tcp_for_dns_lookups",
					  "dns_resolution_config",
					  "typed_dns_resolver_config",
					  "wait_for_warm_on_init",
					  NULL};
	bool is = weft_dns_is(c);
	bool own = c->cluster_discovery_type_case ==
		   ENVOY__CONFIG__CLUSTER__V3__CLUSTER__CLUSTER_DISCOVERY_TYPE_CLUSTER_TYPE;

	weft_build_fields(b, &c->base, "");
	for (const char *const *name = dns; *name && (!is || own); name++) {
		const ProtobufCFieldDescriptor *f =
			protobuf_c_message_descriptor_get_field_by_name(c->base.descriptor, *name);

		if (weft_field_is_set(&c->base, f) &&
		    (!is || strcmp(*name, "wait_for_warm_on_init")))
			weft_build_note(b, *name,
					is ? "the extension has its own" : "nothing is resolved");
	}
}

/* Names of the cluster's hosts are resolved by whoever compiles; here only what cannot be done is told. */
static void dns_check(struct weft_build *b, const cluster *c, struct weft_img_cluster *ret)
{
	struct weft_dns_conf conf;

	weft_build_dns(b, c, &conf);
	if (conf.logical)
		ret->flags |= WEFT_CLUSTER_LOGICAL;
	weft_dns_conf_clear(&conf);
}

static void custom_check(struct weft_build *b, const cluster *c)
{
	char *type = c->cluster_type->typed_config ? weft_any_type(c->cluster_type->typed_config)
						   : NULL;

	weft_build_fail(b, "cluster_type", "unsupported: %s", type ? type : c->cluster_type->name);
	free(type);
}

static void type_fill(struct weft_build *b, const cluster *c, struct weft_img_cluster *ret)
{
	Envoy__Config__Cluster__V3__Cluster__DiscoveryType type =
		ENVOY__CONFIG__CLUSTER__V3__CLUSTER__DISCOVERY_TYPE__STATIC;

	if (weft_dns_is(c)) {
		ret->type = WEFT_CLUSTER_ENDPOINTS;
		dns_check(b, c, ret);
		return;
	}
	if (c->cluster_discovery_type_case ==
	    ENVOY__CONFIG__CLUSTER__V3__CLUSTER__CLUSTER_DISCOVERY_TYPE_TYPE)
		type = c->type;
	else if (c->cluster_discovery_type_case ==
		 ENVOY__CONFIG__CLUSTER__V3__CLUSTER__CLUSTER_DISCOVERY_TYPE_CLUSTER_TYPE)
		custom_check(b, c);
	switch (type) {
	case ENVOY__CONFIG__CLUSTER__V3__CLUSTER__DISCOVERY_TYPE__STATIC:
		ret->type = c->load_assignment ? WEFT_CLUSTER_ENDPOINTS : WEFT_CLUSTER_BLACKHOLE;
		break;
	case ENVOY__CONFIG__CLUSTER__V3__CLUSTER__DISCOVERY_TYPE__EDS:
		ret->type = WEFT_CLUSTER_ENDPOINTS;
		break;
	case ENVOY__CONFIG__CLUSTER__V3__CLUSTER__DISCOVERY_TYPE__ORIGINAL_DST:
		ret->type = WEFT_CLUSTER_ORIGINAL_DST;
		break;
	default:
		break;
	}
}

/* Messages of slow start, of a policy or of lb_policy. */
static void slow_check(struct weft_build *b, const ProtobufCMessage *slow,
		       const Google__Protobuf__Duration *window,
		       const Envoy__Config__Core__V3__RuntimeDouble *aggression,
		       const Envoy__Type__V3__Percent *least, const char *parent)
{
	char field[WEFT_FIELD_MAX], at[WEFT_FIELD_MAX];

	weft_build_fields(b, slow, weft_field(field, parent, "slow_start_config"));
	weft_build_ms(b, window, 0, weft_field(at, field, "slow_start_window"));
	if (aggression)
		weft_build_fields(b, &aggression->base, weft_field(at, field, "aggression"));
	if (least)
		weft_build_fields(b, &least->base, weft_field(at, field, "min_weight_percent"));
}

static void
slow_policy_check(struct weft_build *b,
		  const Envoy__Extensions__LoadBalancingPolicies__Common__V3__SlowStartConfig *s,
		  const char *field)
{
	if (s)
		slow_check(b, &s->base, s->slow_start_window, s->aggression, s->min_weight_percent,
			   field);
}

static void slow_legacy_check(struct weft_build *b,
			      const Envoy__Config__Cluster__V3__Cluster__SlowStartConfig *s,
			      const char *field)
{
	if (s)
		slow_check(b, &s->base, s->slow_start_window, s->aggression, s->min_weight_percent,
			   field);
}

static void bias_check(struct weft_build *b, const Envoy__Config__Core__V3__RuntimeDouble *bias,
		       const char *field)
{
	char at[WEFT_FIELD_MAX];

	if (bias)
		weft_build_fields(b, &bias->base, weft_field(at, field, "active_request_bias"));
}

static void least_fill(struct weft_build *b, const least_request *p, const char *field,
		       struct weft_img_cluster *ret)
{
	weft_build_fields(b, &p->base, field);
	bias_check(b, p->active_request_bias, field);
	slow_policy_check(b, p->slow_start_config, field);
	ret->lb = WEFT_LB_LEAST_REQUEST;
}

/* How hosts are chosen among, as far as all policies say it alike; what only the agent can do of
 * it. */
static void choice_fill(struct weft_build *b, const cluster *c, struct weft_img_cluster *ret)
{
	struct weft_balancing how;
	bool load = ret->lb == WEFT_LB_LEAST_REQUEST;

	weft_balancing_of(c, &how);
	ret->choice_count = how.choices;
	ret->balance_factor = how.balance_factor;
	if (load || how.slow)
		ret->moving = weft_build_put(b, &how.moving, sizeof(how.moving));
	if (how.slow || how.balance_factor ||
	    (load && (how.choices > CHOICES_MAX || how.moving.bias != 1)))
		ret->flags |= WEFT_CLUSTER_AGENT;
}

/* Zone awareness needs the bootstrap's local cluster, which there is none of. */
static void
locality_check(struct weft_build *b,
	       const Envoy__Extensions__LoadBalancingPolicies__Common__V3__LocalityLbConfig *l,
	       const char *field)
{
	char at[WEFT_FIELD_MAX];

	if (!l)
		return;
	weft_build_fields(b, &l->base, weft_field(at, field, "locality_lb_config"));
	if (l->locality_config_specifier_case ==
	    ENVOY__EXTENSIONS__LOAD_BALANCING_POLICIES__COMMON__V3__LOCALITY_LB_CONFIG__LOCALITY_CONFIG_SPECIFIER_ZONE_AWARE_LB_CONFIG)
		weft_build_fields(b, &l->zone_aware_lb_config->base,
				  weft_field(at, field, "locality_lb_config.zone_aware_lb_config"));
}

/* A policy's own hash_policy is not done. */
static void
consistent_check(struct weft_build *b,
		 const Envoy__Extensions__LoadBalancingPolicies__Common__V3__ConsistentHashingLbConfig *l,
		 const char *field)
{
	char at[WEFT_FIELD_MAX];

	if (l)
		weft_build_fields(b, &l->base,
				  weft_field(at, field, "consistent_hashing_lb_config"));
}

static void client_side_check(struct weft_build *b, const client_side *p, const char *field)
{
	weft_build_fields(b, &p->base, field);
	slow_policy_check(b, p->slow_start_config, field);
	weft_build_note(b, field, "endpoints' load reports are not read");
}

static void policies_take(struct weft_build *b, const policy_list *list, const char *field,
			  bool inner, struct weft_img_cluster *ret);

static void policy_take(struct weft_build *b, const char *type, const ProtobufCMessage *msg,
			const char *field, struct weft_img_cluster *ret)
{
	char at[WEFT_FIELD_MAX];

	if (!strcmp(type, POLICIES "round_robin.v3.RoundRobin")) {
		weft_build_fields(b, msg, field);
		locality_check(b, ((const round_robin *)(const void *)msg)->locality_lb_config,
			       field);
		slow_policy_check(b, ((const round_robin *)(const void *)msg)->slow_start_config,
				  field);
	} else if (!strcmp(type, POLICIES "random.v3.Random")) {
		weft_build_fields(b, msg, field);
		locality_check(b, ((const random_policy *)(const void *)msg)->locality_lb_config,
			       field);
		ret->lb = WEFT_LB_RANDOM;
	} else if (!strcmp(type, POLICIES "least_request.v3.LeastRequest")) {
		least_fill(b, (const least_request *)(const void *)msg, field, ret);
		locality_check(b, ((const least_request *)(const void *)msg)->locality_lb_config,
			       field);
	} else if (!strcmp(type, POLICIES "ring_hash.v3.RingHash")) {
		weft_build_fields(b, msg, field);
		consistent_check(b, ((const ring_hash *)(const void *)msg)->consistent_hashing_lb_config,
				 field);
		ret->lb = WEFT_LB_RING_HASH;
	} else if (!strcmp(type, POLICIES "maglev.v3.Maglev")) {
		weft_build_fields(b, msg, field);
		consistent_check(b, ((const maglev *)(const void *)msg)->consistent_hashing_lb_config,
				 field);
		ret->lb = WEFT_LB_MAGLEV;
	} else if (!strcmp(type, POLICIES CLIENT_SIDE)) {
		client_side_check(b, (const client_side *)(const void *)msg, field);
	} else if (!strcmp(type, POLICIES WRR_LOCALITY)) {
		weft_build_fields(b, msg, field);
		policies_take(b, ((const wrr_locality *)(const void *)msg)->endpoint_picking_policy,
			      weft_field(at, field, "endpoint_picking_policy"), true, ret);
	} else {
		weft_build_fail(b, field, "unsupported: %s", type);
	}
}

/* Policies that Envoy knows and this does not: Envoy would take them. */
static bool policy_foreign(const char *type)
{
	static const char *const foreign[] = {"override_host.v3.OverrideHost",
					      "dynamic_modules.v3.DynamicModulesLoadBalancerConfig",
					      "load_aware_locality.v3.LoadAwareLocality", NULL};

	for (size_t i = 0; foreign[i]; i++) {
		if (!strncmp(type, POLICIES, sizeof(POLICIES) - 1) &&
		    !strcmp(type + sizeof(POLICIES) - 1, foreign[i]))
			return true;
	}
	return false;
}

/* The first policy that is known counts (LoadBalancingPolicy). inner: of wrr_locality, where Envoy
 * takes one alone. */
static void policies_take(struct weft_build *b, const policy_list *list, const char *field,
			  bool inner, struct weft_img_cluster *ret)
{
	char at[WEFT_FIELD_MAX];

	for (size_t i = 0; list && i < list->n_policies; i++) {
		const Envoy__Config__Core__V3__TypedExtensionConfig *e =
			list->policies[i]->typed_extension_config;
		ProtobufCMessage *msg = NULL;
		char *type = e && e->typed_config ? weft_any_type(e->typed_config) : NULL;
		int r = -ENOENT;

		weft_field(at, field, "policies[%zu]", i);
		if (type && policy_foreign(type))
			weft_build_fail(b, at, "unsupported: %s", type);
		else if (type)
			r = weft_any_unpack(e->typed_config, b->resource, at, b->diag, &msg);
		if (!r && inner && strcmp(type, POLICIES CLIENT_SIDE) != 0)
			weft_build_fail(b, at,
					"is %s; wrr_locality takes " CLIENT_SIDE
					" only, as in Envoy",
					type);
		else if (!r)
			policy_take(b, type, msg, at, ret);
		else if (r != -ENOENT)
			b->err = b->err ? b->err : r;
		free(type);
		if (msg)
			protobuf_c_message_free_unpacked(msg, NULL);
		if (r != -ENOENT || b->err)
			return;
	}
	weft_build_fail(b, field, "no policy of the list is known");
}

static void policy_fill(struct weft_build *b, const cluster *c, struct weft_img_cluster *ret)
{
	if (c->load_balancing_policy) {
		policies_take(b, c->load_balancing_policy, "load_balancing_policy", false, ret);
		return;
	}
	switch (c->lb_policy) {
	case ENVOY__CONFIG__CLUSTER__V3__CLUSTER__LB_POLICY__ROUND_ROBIN:
		ret->lb = WEFT_LB_ROUND_ROBIN;
		if (c->lb_config_case ==
		    ENVOY__CONFIG__CLUSTER__V3__CLUSTER__LB_CONFIG_ROUND_ROBIN_LB_CONFIG) {
			weft_build_fields(b, &c->round_robin_lb_config->base,
					  "round_robin_lb_config");
			slow_legacy_check(b, c->round_robin_lb_config->slow_start_config,
					  "round_robin_lb_config");
		}
		break;
	case ENVOY__CONFIG__CLUSTER__V3__CLUSTER__LB_POLICY__LEAST_REQUEST:
		ret->lb = WEFT_LB_LEAST_REQUEST;
		if (c->lb_config_case ==
		    ENVOY__CONFIG__CLUSTER__V3__CLUSTER__LB_CONFIG_LEAST_REQUEST_LB_CONFIG) {
			weft_build_fields(b, &c->least_request_lb_config->base,
					  "least_request_lb_config");
			bias_check(b, c->least_request_lb_config->active_request_bias,
				   "least_request_lb_config");
			slow_legacy_check(b, c->least_request_lb_config->slow_start_config,
					  "least_request_lb_config");
		}
		break;
	case ENVOY__CONFIG__CLUSTER__V3__CLUSTER__LB_POLICY__RANDOM:
		ret->lb = WEFT_LB_RANDOM;
		break;
	case ENVOY__CONFIG__CLUSTER__V3__CLUSTER__LB_POLICY__RING_HASH:
		ret->lb = WEFT_LB_RING_HASH;
		break;
	case ENVOY__CONFIG__CLUSTER__V3__CLUSTER__LB_POLICY__MAGLEV:
		ret->lb = WEFT_LB_MAGLEV;
		break;
	case ENVOY__CONFIG__CLUSTER__V3__CLUSTER__LB_POLICY__CLUSTER_PROVIDED:
		if (ret->type == WEFT_CLUSTER_ORIGINAL_DST)
			break;
		/* fall through */
	default:
		weft_build_fail(b, "lb_policy",
				"unsupported: only ROUND_ROBIN, LEAST_REQUEST, RANDOM, RING_HASH, MAGLEV");
	}
}

/* Limits of an endpoint's connections, which only the agent opens then. */
static void per_host_fill(struct weft_build *b,
			  const Envoy__Config__Cluster__V3__CircuitBreakers *cb,
			  struct weft_img_cluster *ret)
{
	bool seen[WEFT_PRIORITY__MAX] = {false};

	if (cb->n_per_host_thresholds && ret->type == WEFT_CLUSTER_ORIGINAL_DST)
		weft_build_fail(b, "circuit_breakers.per_host_thresholds",
				"unsupported: of a cluster without endpoints");
	for (size_t i = 0; i < cb->n_per_host_thresholds; i++) {
		const Envoy__Config__Cluster__V3__CircuitBreakers__Thresholds *t =
			cb->per_host_thresholds[i];
		int p = t->priority == ENVOY__CONFIG__CORE__V3__ROUTING_PRIORITY__HIGH;

		if (seen[p])
			continue;
		seen[p] = true;
		ret->threshold[p].max_per_host = weft_u32(t->max_connections, WEFT_THRESHOLD_NONE);
		ret->flags |= WEFT_CLUSTER_AGENT;
	}
}

static void
retry_budget_fill(struct weft_build *b,
		  const Envoy__Config__Cluster__V3__CircuitBreakers__Thresholds__RetryBudget *r,
		  const char *field, struct weft_img_thresholds *ret)
{
	char at[WEFT_FIELD_MAX];

	weft_build_fields(b, &r->base, weft_field(at, field, "retry_budget"));
	ret->flags |= WEFT_THRESHOLDS_BUDGET;
	ret->retry_percent = r->budget_percent ? r->budget_percent->value : 20;
	ret->least_retries = weft_u32(r->min_retry_concurrency, 3);
}

static void thresholds_fill(struct weft_build *b,
			    const Envoy__Config__Cluster__V3__CircuitBreakers *cb,
			    struct weft_img_cluster *ret)
{
	bool seen[WEFT_PRIORITY__MAX] = {false};
	char at[WEFT_FIELD_MAX];

	for (int i = 0; i < WEFT_PRIORITY__MAX; i++)
		ret->threshold[i] =
			(struct weft_img_thresholds){.max_connections = 1024,
						     .max_pending = 1024,
						     .max_requests = 1024,
						     .max_retries = 3,
						     .max_per_host = WEFT_THRESHOLD_NONE,
						     .max_pools = WEFT_THRESHOLD_NONE};
	if (!cb)
		return;
	for (size_t i = 0; i < cb->n_thresholds; i++) {
		const Envoy__Config__Cluster__V3__CircuitBreakers__Thresholds *t =
			cb->thresholds[i];
		int p = t->priority == ENVOY__CONFIG__CORE__V3__ROUTING_PRIORITY__HIGH;

		weft_build_fields(b, &t->base,
				  weft_field(at, "circuit_breakers", "thresholds[%zu]", i));
		if (seen[p])
			continue; /* the first of a priority counts */
		seen[p] = true;
		ret->threshold[p] = (struct weft_img_thresholds){
			.max_connections = weft_u32(t->max_connections, 1024),
			.max_pending = weft_u32(t->max_pending_requests, 1024),
			.max_requests = weft_u32(t->max_requests, 1024),
			.max_retries = weft_u32(t->max_retries, 3),
			.max_per_host = WEFT_THRESHOLD_NONE,
			.max_pools = weft_u32(t->max_connection_pools, WEFT_THRESHOLD_NONE),
			.flags = t->track_remaining ? WEFT_THRESHOLDS_REMAINING : 0,
		};
		if (t->retry_budget)
			retry_budget_fill(b, t->retry_budget, at, &ret->threshold[p]);
	}
	per_host_fill(b, cb, ret);
}

static void common_http(struct weft_build *b, const Envoy__Config__Core__V3__HttpProtocolOptions *o,
			const char *field, struct weft_img_cluster *ret)
{
	/* limits of responses that the agent has anyhow */
	char at[WEFT_FIELD_MAX];

	if (!o)
		return;
	weft_build_fields(b, &o->base, field);
	ret->idle_timeout_ms = weft_build_ms(b, o->idle_timeout, ret->idle_timeout_ms,
					     weft_field(at, field, "idle_timeout"));
	ret->max_connection_ms = weft_build_ms(b, o->max_connection_duration, 0,
					       weft_field(at, field, "max_connection_duration"));
	ret->max_requests_per_connection =
		weft_u32(o->max_requests_per_connection, ret->max_requests_per_connection);
}

static void protocol_fill(struct weft_build *b,
			  const Envoy__Extensions__Upstreams__Http__V3__HttpProtocolOptions *o,
			  const char *field, struct weft_img_cluster *ret)
{
	char at[WEFT_FIELD_MAX];

	weft_build_fields(b, &o->base, field);
	common_http(b, o->common_http_protocol_options,
		    weft_field(at, field, "common_http_protocol_options"), ret);
	ret->http = WEFT_UPSTREAM_HTTP1;
	ret->h2 = 0;
	weft_build_upstream_codec(b, o, field, ret);
}

static void extensions_fill(struct weft_build *b, const cluster *c, struct weft_img_cluster *ret)
{
	char at[WEFT_FIELD_MAX];

	for (size_t i = 0; i < c->n_typed_extension_protocol_options; i++) {
		const char *key = c->typed_extension_protocol_options[i]->key;
		const Google__Protobuf__Any *any = c->typed_extension_protocol_options[i]->value;
		ProtobufCMessage *msg = NULL;
		char *type = any ? weft_any_type(any) : NULL;

		weft_field(at, "", "typed_extension_protocol_options[\"%s\"]", key);
		if (!type || strcmp(type, HTTP_OPTIONS))
			weft_build_fail(b, at, "unsupported: %s", type ? type : "");
		else if (weft_any_unpack(any, b->resource, at, b->diag, &msg))
			b->err = b->err ? b->err : -EINVAL;
		else
			protocol_fill(b, (const void *)msg, at, ret);
		free(type);
		if (msg)
			protobuf_c_message_free_unpacked(msg, NULL);
	}
}

static void lb_common_check(struct weft_build *b,
			    const Envoy__Config__Cluster__V3__Cluster__CommonLbConfig *l)
{
	/* zone-aware routing needs the bootstrap's local cluster, which there is none of */

	if (!l)
		return;
	weft_build_fields(b, &l->base, "common_lb_config");
	if (l->locality_config_specifier_case ==
	    ENVOY__CONFIG__CLUSTER__V3__CLUSTER__COMMON_LB_CONFIG__LOCALITY_CONFIG_SPECIFIER_ZONE_AWARE_LB_CONFIG)
		weft_build_fields(b, &l->zone_aware_lb_config->base,
				  "common_lb_config.zone_aware_lb_config");
}

/* The same for lb_policy; without hashing it has no effect in Envoy either. */
static void consistent_legacy_check(
	struct weft_build *b,
	const Envoy__Config__Cluster__V3__Cluster__CommonLbConfig__ConsistentHashingLbConfig *l)
{
	if (l)
		weft_build_fields(b, &l->base, "common_lb_config.consistent_hashing_lb_config");
}

static void filters_check(struct weft_build *b, const cluster *c)
{
	char at[WEFT_FIELD_MAX];

	for (size_t i = 0; i < c->n_filters; i++) {
		char *type = c->filters[i]->typed_config
				     ? weft_any_type(c->filters[i]->typed_config)
				     : NULL;

		weft_field(at, "", "filters[%zu]", i);
		if (type && weft_any_harmless(type))
			weft_build_note(b, at, "filter without effect");
		else
			weft_build_fail(b, at, "unsupported: %s",
					type ? type : c->filters[i]->name);
		free(type);
	}
}

static void original_dst_fill(struct weft_build *b, const cluster *c, struct weft_img_cluster *ret)
{
	if (c->lb_config_case !=
	    ENVOY__CONFIG__CLUSTER__V3__CLUSTER__LB_CONFIG_ORIGINAL_DST_LB_CONFIG)
		return;
	weft_build_fields(b, &c->original_dst_lb_config->base, "original_dst_lb_config");
	ret->port_override = weft_u32(c->original_dst_lb_config->upstream_port_override, 0);
}

/* TLS upstream is not there: a cluster that always speaks it cannot be served. Matches:
 * endpoints.c. */
static void transport_check(struct weft_build *b, const Envoy__Config__Core__V3__TransportSocket *s)
{
	char *type = s && s->typed_config ? weft_any_type(s->typed_config) : NULL;

	if (type && strcmp(type, "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer"))
		weft_build_fail(b, "transport_socket", "unsupported: %s", type);
	free(type);
}

uint32_t weft_build_cluster(struct weft_build *b, const cluster *c)
{
	struct weft_img_cluster out = {.idle_timeout_ms = 3600000};

	fields_check(b, c);
	out.name = weft_build_str(b, c->name);
	type_fill(b, c, &out);
	policy_fill(b, c, &out);
	choice_fill(b, c, &out);
	weft_subsets_check(b, c);
	original_dst_fill(b, c, &out);
	thresholds_fill(b, c->circuit_breakers, &out);
	out.max_requests_per_connection = weft_u32(c->max_requests_per_connection, 0);
	common_http(b, c->common_http_protocol_options, "common_http_protocol_options", &out);
	weft_build_legacy_codec(b, c, &out);
	extensions_fill(b, c, &out);
	lb_common_check(b, c->common_lb_config);
	if (c->lb_config_case == ENVOY__CONFIG__CLUSTER__V3__CLUSTER__LB_CONFIG_RING_HASH_LB_CONFIG &&
	    (c->load_balancing_policy || out.lb != WEFT_LB_RING_HASH))
		weft_build_note(b, "ring_hash_lb_config", "of another lb_policy");
	if (c->lb_config_case == ENVOY__CONFIG__CLUSTER__V3__CLUSTER__LB_CONFIG_MAGLEV_LB_CONFIG &&
	    (c->load_balancing_policy || out.lb != WEFT_LB_MAGLEV))
		weft_build_note(b, "maglev_lb_config", "of another lb_policy");
	if (out.lb >= WEFT_LB_RING_HASH && !c->load_balancing_policy && c->common_lb_config)
		consistent_legacy_check(b, c->common_lb_config->consistent_hashing_lb_config);
	transport_check(b, c->transport_socket);
	filters_check(b, c);
	weft_build_eyeballs(b, c);
	out.connect_timeout_ms = weft_build_ms(b, c->connect_timeout, 5000, "connect_timeout");
	out.buffer_limit = weft_u32(c->per_connection_buffer_limit_bytes, 1u << 20);
	out.outlier = weft_build_outlier(b, c);
	weft_health_check_cluster(b, c, &out);
	out.cell = weft_build_state(b, WEFT_CELL_CLUSTER, b->hash, "%s", c->name);
	return weft_build_put(b, &out, sizeof(out));
}
