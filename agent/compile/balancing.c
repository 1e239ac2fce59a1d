// SPDX-License-Identifier: Apache-2.0
#include "agent/compile/balancing.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "envoy/extensions/load_balancing_policies/least_request/v3/least_request.pb-c.h"
#include "envoy/extensions/load_balancing_policies/maglev/v3/maglev.pb-c.h"
#include "envoy/extensions/load_balancing_policies/random/v3/random.pb-c.h"
#include "envoy/extensions/load_balancing_policies/ring_hash/v3/ring_hash.pb-c.h"
#include "envoy/extensions/load_balancing_policies/round_robin/v3/round_robin.pb-c.h"
#include "xds/any.h"

#define POLICIES "envoy.extensions.load_balancing_policies."
#define RING_MIN 1024u
#define RING_MAX 8388608u
#define TABLE_SIZE 65537u
#define PANIC_THRESHOLD 50u

typedef Envoy__Config__Cluster__V3__Cluster cluster;
typedef Envoy__Config__Cluster__V3__Cluster__CommonLbConfig common_config;
typedef Envoy__Extensions__LoadBalancingPolicies__Common__V3__LocalityLbConfig locality_config;
typedef Envoy__Extensions__LoadBalancingPolicies__LeastRequest__V3__LeastRequest least_request;
typedef Envoy__Extensions__LoadBalancingPolicies__Maglev__V3__Maglev maglev;
typedef Envoy__Extensions__LoadBalancingPolicies__Random__V3__Random random_policy;
typedef Envoy__Extensions__LoadBalancingPolicies__RingHash__V3__RingHash ring_hash;
typedef Envoy__Extensions__LoadBalancingPolicies__RoundRobin__V3__RoundRobin round_robin;

static uint64_t u64(const Google__Protobuf__UInt64Value *v, uint64_t unset)
{
	return v ? v->value : unset;
}

static void ring_take(const ring_hash *r, struct weft_balancing *ret)
{
	struct weft_hashing *h = &ret->hashing;

	h->lb = WEFT_LB_RING_HASH;
	h->murmur =
		r->hash_function ==
		ENVOY__EXTENSIONS__LOAD_BALANCING_POLICIES__RING_HASH__V3__RING_HASH__HASH_FUNCTION__MURMUR_HASH_2;
	h->min = u64(r->minimum_ring_size, RING_MIN);
	h->max = u64(r->maximum_ring_size, RING_MAX);
	h->hostname = r->consistent_hashing_lb_config
			      ? r->consistent_hashing_lb_config->use_hostname_for_hashing
			      : r->use_hostname_for_hashing;
	ret->localities = r->locality_weighted_lb_config != NULL;
}

static void maglev_take(const maglev *m, struct weft_balancing *ret)
{
	ret->hashing.lb = WEFT_LB_MAGLEV;
	ret->hashing.table_size = u64(m->table_size, TABLE_SIZE);
	ret->hashing.hostname = m->consistent_hashing_lb_config &&
				m->consistent_hashing_lb_config->use_hostname_for_hashing;
	ret->localities = m->locality_weighted_lb_config != NULL;
}

static void locality_take(const locality_config *l, struct weft_balancing *ret)
{
	if (!l)
		return;
	switch (l->locality_config_specifier_case) {
	case ENVOY__EXTENSIONS__LOAD_BALANCING_POLICIES__COMMON__V3__LOCALITY_LB_CONFIG__LOCALITY_CONFIG_SPECIFIER_LOCALITY_WEIGHTED_LB_CONFIG:
		ret->localities = true;
		break;
	case ENVOY__EXTENSIONS__LOAD_BALANCING_POLICIES__COMMON__V3__LOCALITY_LB_CONFIG__LOCALITY_CONFIG_SPECIFIER_ZONE_AWARE_LB_CONFIG:
		ret->fail_on_panic = l->zone_aware_lb_config->fail_traffic_on_panic;
		break;
	default:
		break;
	}
}

static void policy_take(const char *type, const void *msg, struct weft_balancing *ret)
{
	if (!strcmp(type, POLICIES "ring_hash.v3.RingHash"))
		ring_take(msg, ret);
	else if (!strcmp(type, POLICIES "maglev.v3.Maglev"))
		maglev_take(msg, ret);
	else if (!strcmp(type, POLICIES "round_robin.v3.RoundRobin"))
		locality_take(((const round_robin *)msg)->locality_lb_config, ret);
	else if (!strcmp(type, POLICIES "least_request.v3.LeastRequest"))
		locality_take(((const least_request *)msg)->locality_lb_config, ret);
	else if (!strcmp(type, POLICIES "random.v3.Random"))
		locality_take(((const random_policy *)msg)->locality_lb_config, ret);
}

static void extension_take(const cluster *c, struct weft_balancing *ret)
{
	for (size_t i = 0; i < c->load_balancing_policy->n_policies; i++) {
		const Envoy__Config__Core__V3__TypedExtensionConfig *e =
			c->load_balancing_policy->policies[i]->typed_extension_config;
		ProtobufCMessage *msg = NULL;
		char *type = e && e->typed_config ? weft_any_type(e->typed_config) : NULL;
		int r = type ? weft_any_unpack(e->typed_config, "", "", NULL, &msg) : -ENOENT;

		if (!r)
			policy_take(type, msg, ret);
		free(type);
		if (msg)
			protobuf_c_message_free_unpacked(msg, NULL);
		if (r != -ENOENT)
			return;
	}
}

static void legacy_take(const cluster *c, struct weft_balancing *ret)
{
	const Envoy__Config__Cluster__V3__Cluster__RingHashLbConfig *r =
		c->lb_config_case ==
				ENVOY__CONFIG__CLUSTER__V3__CLUSTER__LB_CONFIG_RING_HASH_LB_CONFIG
			? c->ring_hash_lb_config
			: NULL;
	const Envoy__Config__Cluster__V3__Cluster__MaglevLbConfig *m =
		c->lb_config_case == ENVOY__CONFIG__CLUSTER__V3__CLUSTER__LB_CONFIG_MAGLEV_LB_CONFIG
			? c->maglev_lb_config
			: NULL;
	struct weft_hashing *h = &ret->hashing;

	if (c->lb_policy == ENVOY__CONFIG__CLUSTER__V3__CLUSTER__LB_POLICY__RING_HASH) {
		h->lb = WEFT_LB_RING_HASH;
		h->min = u64(r ? r->minimum_ring_size : NULL, RING_MIN);
		h->max = u64(r ? r->maximum_ring_size : NULL, RING_MAX);
		h->murmur =
			r &&
			r->hash_function ==
				ENVOY__CONFIG__CLUSTER__V3__CLUSTER__RING_HASH_LB_CONFIG__HASH_FUNCTION__MURMUR_HASH_2;
	} else if (c->lb_policy == ENVOY__CONFIG__CLUSTER__V3__CLUSTER__LB_POLICY__MAGLEV) {
		h->lb = WEFT_LB_MAGLEV;
		h->table_size = u64(m ? m->table_size : NULL, TABLE_SIZE);
	}
}

static void common_take(const common_config *l, struct weft_balancing *ret)
{
	switch (l->locality_config_specifier_case) {
	case ENVOY__CONFIG__CLUSTER__V3__CLUSTER__COMMON_LB_CONFIG__LOCALITY_CONFIG_SPECIFIER_LOCALITY_WEIGHTED_LB_CONFIG:
		ret->localities = true;
		break;
	case ENVOY__CONFIG__CLUSTER__V3__CLUSTER__COMMON_LB_CONFIG__LOCALITY_CONFIG_SPECIFIER_ZONE_AWARE_LB_CONFIG:
		ret->fail_on_panic = l->zone_aware_lb_config->fail_traffic_on_panic;
		break;
	default:
		break;
	}
	ret->hashing.hostname = ret->hashing.lb && l->consistent_hashing_lb_config &&
				l->consistent_hashing_lb_config->use_hostname_for_hashing;
}

void weft_balancing_of(const cluster *c, struct weft_balancing *ret)
{
	const common_config *l = c->common_lb_config;

	*ret = (struct weft_balancing){.panic_threshold = PANIC_THRESHOLD};
	if (c->load_balancing_policy)
		extension_take(c, ret);
	else
		legacy_take(c, ret);
	if (l && !c->load_balancing_policy)
		common_take(l, ret);
	if (l && l->healthy_panic_threshold)
		ret->panic_threshold = (uint32_t)l->healthy_panic_threshold->value;
}
