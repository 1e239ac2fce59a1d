// SPDX-License-Identifier: Apache-2.0
#include "agent/compile/balancing.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "envoy/extensions/load_balancing_policies/client_side_weighted_round_robin/v3/client_side_weighted_round_robin.pb-c.h"
#include "envoy/extensions/load_balancing_policies/least_request/v3/least_request.pb-c.h"
#include "envoy/extensions/load_balancing_policies/maglev/v3/maglev.pb-c.h"
#include "envoy/extensions/load_balancing_policies/random/v3/random.pb-c.h"
#include "envoy/extensions/load_balancing_policies/ring_hash/v3/ring_hash.pb-c.h"
#include "envoy/extensions/load_balancing_policies/round_robin/v3/round_robin.pb-c.h"
#include "envoy/extensions/load_balancing_policies/wrr_locality/v3/wrr_locality.pb-c.h"
#include "xds/any.h"

#define POLICIES "envoy.extensions.load_balancing_policies."
#define RING_MIN 1024u
#define RING_MAX 8388608u
#define TABLE_SIZE 65537u
#define PANIC_THRESHOLD 50u
#define CHOICES 2u
#define LEAST_PART 0.1 /* min_weight_percent */

typedef Envoy__Config__Cluster__V3__Cluster cluster;
typedef Envoy__Config__Cluster__V3__Cluster__CommonLbConfig common_config;
typedef Envoy__Extensions__LoadBalancingPolicies__Common__V3__LocalityLbConfig locality_config;
typedef Envoy__Config__Core__V3__RuntimeDouble runtime_double;
typedef Envoy__Extensions__LoadBalancingPolicies__LeastRequest__V3__LeastRequest least_request;
typedef Envoy__Extensions__LoadBalancingPolicies__Maglev__V3__Maglev maglev;
typedef Envoy__Extensions__LoadBalancingPolicies__Random__V3__Random random_policy;
typedef Envoy__Extensions__LoadBalancingPolicies__RingHash__V3__RingHash ring_hash;
typedef Envoy__Extensions__LoadBalancingPolicies__RoundRobin__V3__RoundRobin round_robin;
typedef Envoy__Extensions__LoadBalancingPolicies__ClientSideWeightedRoundRobin__V3__ClientSideWeightedRoundRobin
	client_side;
typedef Envoy__Extensions__LoadBalancingPolicies__WrrLocality__V3__WrrLocality wrr_locality;
typedef Envoy__Config__Cluster__V3__LoadBalancingPolicy policy_list;

static uint64_t u64(const Google__Protobuf__UInt64Value *v, uint64_t unset)
{
	return v ? v->value : unset;
}

static uint32_t u32(const Google__Protobuf__UInt32Value *v, uint32_t unset)
{
	return v ? v->value : unset;
}

/* What is no number, or not above 0, Envoy takes for 1. */
static double real(const runtime_double *v, bool zero)
{
	return v && (v->default_value > 0 || (zero && v->default_value == 0)) ? v->default_value
									      : 1;
}

/* A window below a millisecond is none. */
static void slow_take(const Google__Protobuf__Duration *window, const runtime_double *aggression,
		      const Envoy__Type__V3__Percent *least, struct weft_balancing *ret)
{
	int64_t ms = window ? window->seconds * 1000 + window->nanos / 1000000 : 0;

	ret->moving.window_ms = ms < 0 ? 0 : ms > UINT32_MAX ? UINT32_MAX : (uint32_t)ms;
	ret->moving.aggression = real(aggression, false);
	ret->moving.least = least ? least->value / 100 : LEAST_PART;
	ret->slow = ret->moving.window_ms != 0;
}

static void least_take(const Google__Protobuf__UInt32Value *choices, const runtime_double *bias,
		       bool all, struct weft_balancing *ret)
{
	ret->choices = all ? WEFT_CHOICES_ALL : u32(choices, CHOICES);
	ret->moving.bias = real(bias, true);
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
	ret->balance_factor = u32(r->consistent_hashing_lb_config
					  ? r->consistent_hashing_lb_config->hash_balance_factor
					  : r->hash_balance_factor,
				  0);
	ret->localities = r->locality_weighted_lb_config != NULL;
}

static void maglev_take(const maglev *m, struct weft_balancing *ret)
{
	ret->hashing.lb = WEFT_LB_MAGLEV;
	ret->hashing.table_size = u64(m->table_size, TABLE_SIZE);
	ret->hashing.hostname = m->consistent_hashing_lb_config &&
				m->consistent_hashing_lb_config->use_hostname_for_hashing;
	ret->balance_factor = m->consistent_hashing_lb_config
				      ? u32(m->consistent_hashing_lb_config->hash_balance_factor, 0)
				      : 0;
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

static void round_robin_take(const round_robin *p, struct weft_balancing *ret)
{
	locality_take(p->locality_lb_config, ret);
	if (p->slow_start_config)
		slow_take(p->slow_start_config->slow_start_window, p->slow_start_config->aggression,
			  p->slow_start_config->min_weight_percent, ret);
}

static void least_request_take(const least_request *p, struct weft_balancing *ret)
{
	bool all =
		p->selection_method ==
		ENVOY__EXTENSIONS__LOAD_BALANCING_POLICIES__LEAST_REQUEST__V3__LEAST_REQUEST__SELECTION_METHOD__FULL_SCAN;

	locality_take(p->locality_lb_config, ret);
	least_take(p->choice_count, p->active_request_bias,
		   all || (p->enable_full_scan && p->enable_full_scan->value), ret);
	if (p->slow_start_config)
		slow_take(p->slow_start_config->slow_start_window, p->slow_start_config->aggression,
			  p->slow_start_config->min_weight_percent, ret);
}

/* Without load reports Envoy gives every host the weight 1, a second after it has begun. */
static void client_side_take(const client_side *p, struct weft_balancing *ret)
{
	ret->equal = true;
	if (p->slow_start_config)
		slow_take(p->slow_start_config->slow_start_window, p->slow_start_config->aggression,
			  p->slow_start_config->min_weight_percent, ret);
}

static void list_take(const policy_list *list, struct weft_balancing *ret);

static void policy_take(const char *type, const void *msg, struct weft_balancing *ret)
{
	const wrr_locality *outer = msg;

	if (!strcmp(type, POLICIES "wrr_locality.v3.WrrLocality")) {
		ret->localities = true;
		if (outer->endpoint_picking_policy)
			list_take(outer->endpoint_picking_policy, ret);
		return;
	}
	if (!strcmp(type, POLICIES "ring_hash.v3.RingHash"))
		ring_take(msg, ret);
	else if (!strcmp(type, POLICIES "maglev.v3.Maglev"))
		maglev_take(msg, ret);
	else if (!strcmp(type, POLICIES "round_robin.v3.RoundRobin"))
		round_robin_take(msg, ret);
	else if (!strcmp(type, POLICIES
			 "client_side_weighted_round_robin.v3.ClientSideWeightedRoundRobin"))
		client_side_take(msg, ret);
	else if (!strcmp(type, POLICIES "least_request.v3.LeastRequest"))
		least_request_take(msg, ret);
	else if (!strcmp(type, POLICIES "random.v3.Random"))
		locality_take(((const random_policy *)msg)->locality_lb_config, ret);
}

static void list_take(const policy_list *list, struct weft_balancing *ret)
{
	for (size_t i = 0; i < list->n_policies; i++) {
		const Envoy__Config__Core__V3__TypedExtensionConfig *e =
			list->policies[i]->typed_extension_config;
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

/* The same of round robin and least request. */
static void legacy_weights_take(const cluster *c, struct weft_balancing *ret)
{
	const Envoy__Config__Cluster__V3__Cluster__RoundRobinLbConfig *r =
		c->lb_config_case ==
				ENVOY__CONFIG__CLUSTER__V3__CLUSTER__LB_CONFIG_ROUND_ROBIN_LB_CONFIG
			? c->round_robin_lb_config
			: NULL;
	const Envoy__Config__Cluster__V3__Cluster__LeastRequestLbConfig *l =
		c->lb_config_case ==
				ENVOY__CONFIG__CLUSTER__V3__CLUSTER__LB_CONFIG_LEAST_REQUEST_LB_CONFIG
			? c->least_request_lb_config
			: NULL;
	const Envoy__Config__Cluster__V3__Cluster__SlowStartConfig *s = NULL;

	if (c->lb_policy == ENVOY__CONFIG__CLUSTER__V3__CLUSTER__LB_POLICY__ROUND_ROBIN) {
		s = r ? r->slow_start_config : NULL;
	} else if (c->lb_policy == ENVOY__CONFIG__CLUSTER__V3__CLUSTER__LB_POLICY__LEAST_REQUEST) {
		least_take(l ? l->choice_count : NULL, l ? l->active_request_bias : NULL, false,
			   ret);
		s = l ? l->slow_start_config : NULL;
	}
	if (s)
		slow_take(s->slow_start_window, s->aggression, s->min_weight_percent, ret);
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
	if (!ret->hashing.lb || !l->consistent_hashing_lb_config)
		return;
	ret->hashing.hostname = l->consistent_hashing_lb_config->use_hostname_for_hashing;
	ret->balance_factor = u32(l->consistent_hashing_lb_config->hash_balance_factor, 0);
}

void weft_balancing_of(const cluster *c, struct weft_balancing *ret)
{
	const common_config *l = c->common_lb_config;

	*ret = (struct weft_balancing){.panic_threshold = PANIC_THRESHOLD, .choices = CHOICES};
	if (c->load_balancing_policy) {
		list_take(c->load_balancing_policy, ret);
	} else {
		legacy_take(c, ret);
		legacy_weights_take(c, ret);
	}
	if (l && !c->load_balancing_policy)
		common_take(l, ret);
	if (l && l->healthy_panic_threshold)
		ret->panic_threshold = (uint32_t)(100 * (l->healthy_panic_threshold->value / 100));
}
