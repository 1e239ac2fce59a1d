// SPDX-License-Identifier: Apache-2.0
/* Rules of clusters and load assignments that a single field cannot tell. */

#include <inttypes.h>
#include <string.h>

#include "envoy/config/cluster/v3/cluster.pb-c.h"
#include "envoy/config/endpoint/v3/endpoint.pb-c.h"
#include "envoy/extensions/load_balancing_policies/maglev/v3/maglev.pb-c.h"
#include "envoy/extensions/load_balancing_policies/subset/v3/subset.pb-c.h"
#include "envoy/extensions/load_balancing_policies/ring_hash/v3/ring_hash.pb-c.h"
#include "xds/any.h"
#include "xds/cleanup.h"
#include "xds/validate_internal.h"

#define cluster_t Envoy__Config__Cluster__V3__Cluster

/* Defaults of the ring and of outlier detection. */
#define RING_MIN_DEFAULT 1024
#define RING_MAX_DEFAULT 8388608
#define BASE_EJECTION_DEFAULT_S 30

#define LOCALITY_WEIGHTED                                                                          \
	ENVOY__CONFIG__CLUSTER__V3__CLUSTER__COMMON_LB_CONFIG__LOCALITY_CONFIG_SPECIFIER_LOCALITY_WEIGHTED_LB_CONFIG

/* Of tables up to 5,000,011, so the loop is short. */
static bool is_prime(uint64_t n)
{
	if (n < 2)
		return false;
	for (uint64_t i = 2; i * i <= n; i++)
		if (!(n % i))
			return false;
	return true;
}

static void check_ring(struct validator *v, const char *field,
		       const Google__Protobuf__UInt64Value *min,
		       const Google__Protobuf__UInt64Value *max)
{
	uint64_t lo = min ? min->value : RING_MIN_DEFAULT;
	uint64_t hi = max ? max->value : RING_MAX_DEFAULT;

	if (lo > hi)
		validate_refuse(v, field,
				"minimum_ring_size %" PRIu64 " is above maximum_ring_size %" PRIu64,
				lo, hi);
}

static void check_table_size(struct validator *v, const char *field,
			     const Google__Protobuf__UInt64Value *size)
{
	if (size && !is_prime(size->value))
		validate_refuse(v, field, "table_size %" PRIu64 " is no prime number", size->value);
}

/* A configuration that does not fit lb_policy is not looked at, by Envoy neither. */
static void check_lb_config(struct validator *v, const cluster_t *c)
{
	if (c->lb_policy == ENVOY__CONFIG__CLUSTER__V3__CLUSTER__LB_POLICY__RING_HASH &&
	    c->lb_config_case == ENVOY__CONFIG__CLUSTER__V3__CLUSTER__LB_CONFIG_RING_HASH_LB_CONFIG)
		check_ring(v, "ring_hash_lb_config", c->ring_hash_lb_config->minimum_ring_size,
			   c->ring_hash_lb_config->maximum_ring_size);
	if (c->lb_policy == ENVOY__CONFIG__CLUSTER__V3__CLUSTER__LB_POLICY__MAGLEV &&
	    c->lb_config_case == ENVOY__CONFIG__CLUSTER__V3__CLUSTER__LB_CONFIG_MAGLEV_LB_CONFIG)
		check_table_size(v, "maglev_lb_config", c->maglev_lb_config->table_size);
}

static bool has_known_policy(const Envoy__Config__Cluster__V3__LoadBalancingPolicy *policy)
{
	for (size_t i = 0; i < policy->n_policies; i++) {
		const Envoy__Config__Core__V3__TypedExtensionConfig *e =
			policy->policies[i]->typed_extension_config;
		_xds_free_ char *type = e && e->typed_config ? weft_any_type(e->typed_config) : NULL;

		if (type && weft_any_descriptor(type))
			return true;
	}
	return false;
}

static void check_policy(struct validator *v, const cluster_t *c, int type)
{
	bool from_config =
		c->lb_policy == ENVOY__CONFIG__CLUSTER__V3__CLUSTER__LB_POLICY__LOAD_BALANCING_POLICY_CONFIG;
	const Envoy__Config__Cluster__V3__Cluster__CommonLbConfig *common = c->common_lb_config;

	if (c->load_balancing_policy && !has_known_policy(c->load_balancing_policy))
		validate_refuse(v, "load_balancing_policy", "has no policy that is known");
	if (from_config && !c->load_balancing_policy)
		validate_refuse(v, "load_balancing_policy", "is required by lb_policy");
	if ((from_config || c->load_balancing_policy) && common &&
	    (common->locality_config_specifier_case || common->consistent_hashing_lb_config))
		validate_refuse(v, "common_lb_config",
				"must not have locality or consistent-hashing parts with "
				"load_balancing_policy");
	if (c->load_balancing_policy && c->lb_subset_config)
		validate_refuse(v, "lb_subset_config", "excludes load_balancing_policy");
	if (c->lb_policy == ENVOY__CONFIG__CLUSTER__V3__CLUSTER__LB_POLICY__CLUSTER_PROVIDED &&
	    c->lb_subset_config)
		validate_refuse(v, "lb_subset_config", "excludes lb_policy CLUSTER_PROVIDED");
	if (c->lb_subset_config && c->lb_subset_config->locality_weight_aware &&
	    (!common || common->locality_config_specifier_case != LOCALITY_WEIGHTED))
		validate_refuse(v, "lb_subset_config.locality_weight_aware",
				"needs locality_weighted_lb_config");
	if (c->load_balancing_policy || c->cluster_discovery_type_case ==
		    ENVOY__CONFIG__CLUSTER__V3__CLUSTER__CLUSTER_DISCOVERY_TYPE_CLUSTER_TYPE)
		return;
	if ((type == ENVOY__CONFIG__CLUSTER__V3__CLUSTER__DISCOVERY_TYPE__ORIGINAL_DST) !=
	    (c->lb_policy == ENVOY__CONFIG__CLUSTER__V3__CLUSTER__LB_POLICY__CLUSTER_PROVIDED))
		validate_refuse(v, "lb_policy", "CLUSTER_PROVIDED and type ORIGINAL_DST go together");
}

static void check_eds(struct validator *v, const cluster_t *c, bool eds)
{
	if (eds && !c->eds_cluster_config)
		validate_refuse(v, "eds_cluster_config", "is required by type EDS");
	else if (eds && !c->eds_cluster_config->eds_config)
		validate_refuse(v, "eds_cluster_config.eds_config", "is required");
	else if (!eds && c->eds_cluster_config)
		validate_refuse(v, "eds_cluster_config", "is for type EDS only");
}

static void check_per_host(struct validator *v, const cluster_t *c)
{
	if (!c->circuit_breakers)
		return;
	for (size_t i = 0; i < c->circuit_breakers->n_per_host_thresholds; i++) {
		const Envoy__Config__Cluster__V3__CircuitBreakers__Thresholds *t =
			c->circuit_breakers->per_host_thresholds[i];

		if (t->max_pending_requests || t->max_requests || t->max_retries ||
		    t->retry_budget || t->track_remaining || t->max_connection_pools)
			validate_refuse_at(v, "circuit_breakers.per_host_thresholds", i,
					   "only max_connections is allowed");
	}
}

static void check_outlier(struct validator *v, const ProtobufCMessage *msg)
{
	const Envoy__Config__Cluster__V3__OutlierDetection *o =
		(const Envoy__Config__Cluster__V3__OutlierDetection *)msg;
	int64_t base_s = o->base_ejection_time ? o->base_ejection_time->seconds
					       : BASE_EJECTION_DEFAULT_S;
	int32_t base_ns = o->base_ejection_time ? o->base_ejection_time->nanos : 0;

	if (o->max_ejection_time &&
	    (o->max_ejection_time->seconds < base_s ||
	     (o->max_ejection_time->seconds == base_s && o->max_ejection_time->nanos < base_ns)))
		validate_refuse(v, "max_ejection_time", "must not be below base_ejection_time");
}

static void check_addresses(struct validator *v, const Envoy__Config__Endpoint__V3__ClusterLoadAssignment *a)
{
	size_t before = v->path.len;

	for (size_t i = 0; i < a->n_endpoints; i++) {
		const Envoy__Config__Endpoint__V3__LocalityLbEndpoints *l = a->endpoints[i];

		weft_path_field(&v->path, "endpoints");
		weft_path_index(&v->path, i);
		for (size_t j = 0; j < l->n_lb_endpoints; j++) {
			const Envoy__Config__Endpoint__V3__LbEndpoint *e = l->lb_endpoints[j];
			const Envoy__Config__Core__V3__Address *addr =
				e->host_identifier_case ==
							ENVOY__CONFIG__ENDPOINT__V3__LB_ENDPOINT__HOST_IDENTIFIER_ENDPOINT
					? e->endpoint->address
					: NULL;

			if (addr &&
			    addr->address_case ==
				    ENVOY__CONFIG__CORE__V3__ADDRESS__ADDRESS_SOCKET_ADDRESS &&
			    !*addr->socket_address->resolver_name &&
			    !validate_is_ip(addr->socket_address->address))
				validate_refuse_at(v, "lb_endpoints", j,
						   "address \"%s\" is no IP address, and only "
						   "STRICT_DNS and LOGICAL_DNS resolve names",
						   addr->socket_address->address);
		}
		weft_path_cut(&v->path, before);
	}
}

static void check_assignment_of(struct validator *v, const cluster_t *c, int type)
{
	const Envoy__Config__Endpoint__V3__ClusterLoadAssignment *a = c->load_assignment;
	size_t before;

	if (!a) {
		if (type == ENVOY__CONFIG__CLUSTER__V3__CLUSTER__DISCOVERY_TYPE__LOGICAL_DNS)
			validate_refuse(v, "load_assignment", "LOGICAL_DNS needs one endpoint");
		return;
	}
	switch (type) {
	case ENVOY__CONFIG__CLUSTER__V3__CLUSTER__DISCOVERY_TYPE__STATIC:
		before = weft_path_field(&v->path, "load_assignment");
		check_addresses(v, a);
		weft_path_cut(&v->path, before);
		break;
	case ENVOY__CONFIG__CLUSTER__V3__CLUSTER__DISCOVERY_TYPE__LOGICAL_DNS:
		if (a->n_endpoints != 1 || a->endpoints[0]->n_lb_endpoints != 1)
			validate_refuse(v, "load_assignment",
					"LOGICAL_DNS needs exactly one locality with one endpoint");
		break;
	case ENVOY__CONFIG__CLUSTER__V3__CLUSTER__DISCOVERY_TYPE__ORIGINAL_DST:
		validate_refuse(v, "load_assignment", "ORIGINAL_DST must not have one");
		break;
	default:
		break;
	}
}

static void check_cluster(struct validator *v, const ProtobufCMessage *msg)
{
	const cluster_t *c = (const cluster_t *)msg;
	bool custom = c->cluster_discovery_type_case ==
		      ENVOY__CONFIG__CLUSTER__V3__CLUSTER__CLUSTER_DISCOVERY_TYPE_CLUSTER_TYPE;
	int type = c->cluster_discovery_type_case ==
				   ENVOY__CONFIG__CLUSTER__V3__CLUSTER__CLUSTER_DISCOVERY_TYPE_TYPE
			   ? (int)c->type
			   : ENVOY__CONFIG__CLUSTER__V3__CLUSTER__DISCOVERY_TYPE__STATIC;

	if (!custom) {
		check_eds(v, c, type == ENVOY__CONFIG__CLUSTER__V3__CLUSTER__DISCOVERY_TYPE__EDS);
		check_assignment_of(v, c, type);
	}
	check_lb_config(v, c);
	check_policy(v, c, type);
	check_per_host(v, c);
}

static void check_assignment(struct validator *v, const ProtobufCMessage *msg)
{
	const Envoy__Config__Endpoint__V3__ClusterLoadAssignment *a =
		(const Envoy__Config__Endpoint__V3__ClusterLoadAssignment *)msg;

	if (a->policy && a->policy->n_drop_overloads > 1)
		validate_refuse(v, "policy.drop_overloads", "has more than one category");
	/* Inside of a cluster it is the cluster's type that says which addresses may be names. */
	if (!v->path.len)
		check_addresses(v, a);
}

static bool list_has(char *const *list, size_t n, const char *text)
{
	for (size_t i = 0; i < n; i++) {
		if (!strcmp(list[i], text))
			return true;
	}
	return false;
}

static size_t distinct(char *const *list, size_t n)
{
	size_t out = 0;

	for (size_t i = 0; i < n; i++)
		out += !list_has(list, i, list[i]);
	return out;
}

/* A selector of subsets, in whichever message it stands. */
static void check_keys(struct validator *v, bool by_keys, char **keys, size_t n_keys,
		       char **fallback, size_t n_fallback)
{
	const char *field = "fallback_keys_subset";

	if (!by_keys) {
		if (n_fallback)
			validate_refuse(v, field, "is for fallback_policy KEYS_SUBSET only");
		return;
	}
	if (!n_fallback)
		validate_refuse(v, field, "is required by fallback_policy KEYS_SUBSET");
	for (size_t i = 0; i < n_fallback; i++) {
		if (!list_has(keys, n_keys, fallback[i]))
			validate_refuse_at(v, field, i, "is none of the selector's keys");
	}
	if (distinct(keys, n_keys) == distinct(fallback, n_fallback))
		validate_refuse(v, field, "must have fewer than the selector's keys");
}

static void check_selector(struct validator *v, const ProtobufCMessage *msg)
{
	const Envoy__Config__Cluster__V3__Cluster__LbSubsetConfig__LbSubsetSelector *s =
		(const Envoy__Config__Cluster__V3__Cluster__LbSubsetConfig__LbSubsetSelector *)msg;

	check_keys(
		v,
		s->fallback_policy ==
			ENVOY__CONFIG__CLUSTER__V3__CLUSTER__LB_SUBSET_CONFIG__LB_SUBSET_SELECTOR__LB_SUBSET_SELECTOR_FALLBACK_POLICY__KEYS_SUBSET,
		s->keys, s->n_keys, s->fallback_keys_subset, s->n_fallback_keys_subset);
}

static void check_policy_selector(struct validator *v, const ProtobufCMessage *msg)
{
	const Envoy__Extensions__LoadBalancingPolicies__Subset__V3__Subset__LbSubsetSelector *s =
		(const void *)msg;

	check_keys(
		v,
		s->fallback_policy ==
			ENVOY__EXTENSIONS__LOAD_BALANCING_POLICIES__SUBSET__V3__SUBSET__LB_SUBSET_SELECTOR__LB_SUBSET_SELECTOR_FALLBACK_POLICY__KEYS_SUBSET,
		s->keys, s->n_keys, s->fallback_keys_subset, s->n_fallback_keys_subset);
}

static void check_drop(struct validator *v, const ProtobufCMessage *msg)
{
	static const uint32_t whole[] = {100, 10000, 1000000};
	const Envoy__Type__V3__FractionalPercent *p =
		((const Envoy__Config__Endpoint__V3__ClusterLoadAssignment__Policy__DropOverload *)msg)
			->drop_percentage;

	if (p && p->denominator <= 2 && p->numerator > whole[p->denominator])
		validate_refuse(v, "drop_percentage", "is more than the whole");
}

static void check_locality(struct validator *v, const ProtobufCMessage *msg)
{
	const Envoy__Config__Endpoint__V3__LocalityLbEndpoints *l =
		(const Envoy__Config__Endpoint__V3__LocalityLbEndpoints *)msg;

	if (l->lb_config_case && l->n_lb_endpoints)
		validate_refuse(v, "lb_endpoints", "excludes the other ways to list endpoints");
}

static void check_ring_policy(struct validator *v, const ProtobufCMessage *msg)
{
	const Envoy__Extensions__LoadBalancingPolicies__RingHash__V3__RingHash *r =
		(const Envoy__Extensions__LoadBalancingPolicies__RingHash__V3__RingHash *)msg;

	check_ring(v, NULL, r->minimum_ring_size, r->maximum_ring_size);
}

static void check_subset_policy(struct validator *v, const ProtobufCMessage *msg)
{
	const Envoy__Extensions__LoadBalancingPolicies__Subset__V3__Subset *s =
		(const Envoy__Extensions__LoadBalancingPolicies__Subset__V3__Subset *)msg;

	if (s->subset_lb_policy && !has_known_policy(s->subset_lb_policy))
		validate_refuse(v, "subset_lb_policy", "has no policy that is known");
}

static void check_maglev_policy(struct validator *v, const ProtobufCMessage *msg)
{
	check_table_size(
		v, NULL,
		((const Envoy__Extensions__LoadBalancingPolicies__Maglev__V3__Maglev *)msg)->table_size);
}

const struct validate_check validate_checks_cluster[] = {
	{&envoy__config__cluster__v3__cluster__descriptor, check_cluster},
	{&envoy__config__cluster__v3__outlier_detection__descriptor, check_outlier},
	{&envoy__config__cluster__v3__cluster__lb_subset_config__lb_subset_selector__descriptor,
	 check_selector},
	{&envoy__config__endpoint__v3__cluster_load_assignment__descriptor, check_assignment},
	{&envoy__config__endpoint__v3__cluster_load_assignment__policy__drop_overload__descriptor,
	 check_drop},
	{&envoy__config__endpoint__v3__locality_lb_endpoints__descriptor, check_locality},
	{&envoy__extensions__load_balancing_policies__ring_hash__v3__ring_hash__descriptor,
	 check_ring_policy},
	{&envoy__extensions__load_balancing_policies__maglev__v3__maglev__descriptor,
	 check_maglev_policy},
	{&envoy__extensions__load_balancing_policies__subset__v3__subset__lb_subset_selector__descriptor,
	 check_policy_selector},
	{&envoy__extensions__load_balancing_policies__subset__v3__subset__descriptor,
	 check_subset_policy},
	{NULL, NULL},
};
