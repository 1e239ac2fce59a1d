// SPDX-License-Identifier: Apache-2.0
/* The subset policy of load_balancing_policy as the older fields that say the same. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/compile/parts.h"
#include "envoy/extensions/load_balancing_policies/subset/v3/subset.pb-c.h"
#include "xds/any.h"
#include "xds/wire.h"

typedef Envoy__Config__Cluster__V3__Cluster cluster;
typedef Envoy__Config__Cluster__V3__LoadBalancingPolicy policy_list;
typedef Envoy__Extensions__LoadBalancingPolicies__Subset__V3__Subset subset;

#define SUBSET "envoy.extensions.load_balancing_policies.subset.v3.Subset"

/* The first policy of the list that is known, when it is this one; *ret_i: its place. */
static subset *subset_find(struct weft_build *b, const policy_list *list, size_t *ret_i)
{
	for (size_t i = 0; list && i < list->n_policies; i++) {
		const Envoy__Config__Core__V3__TypedExtensionConfig *e =
			list->policies[i]->typed_extension_config;
		char *type = e && e->typed_config ? weft_any_type(e->typed_config) : NULL;
		bool known = type && weft_any_descriptor(type);
		bool is = known && !strcmp(type, SUBSET);
		ProtobufCMessage *msg = NULL;

		free(type);
		if (is && weft_any_unpack(e->typed_config, b->resource, "load_balancing_policy",
					  b->diag, &msg))
			b->err = b->err ? b->err : -EINVAL;
		*ret_i = i;
		if (known)
			return (subset *)msg;
	}
	return NULL;
}

/* A message of another type with the same fields. */
static ProtobufCMessage *as_type(const ProtobufCMessage *msg,
				 const ProtobufCMessageDescriptor *type)
{
	size_t n = protobuf_c_message_get_packed_size(msg);
	uint8_t *bytes = malloc(n + 1);
	ProtobufCMessage *out = NULL;

	if (bytes) {
		protobuf_c_message_pack(msg, bytes);
		out = protobuf_c_message_unpack(type, NULL, n, bytes);
	}
	free(bytes);
	return out;
}

/* What the older fields cannot say. */
static void check(struct weft_build *b, const subset *s, const char *field)
{
	char at[WEFT_FIELD_MAX];
	size_t i;
	subset *inner = subset_find(b, s->subset_lb_policy, &i);

	weft_build_fields(b, &s->base, field);
	if (s->allow_redundant_keys)
		weft_build_fail(b, weft_field(at, field, "allow_redundant_keys"), "unsupported");
	if (inner)
		weft_build_fail(b, weft_field(at, field, "subset_lb_policy.policies[%zu]", i),
				"unsupported: subsets of subsets");
	if (inner)
		protobuf_c_message_free_unpacked(&inner->base, NULL);
}

cluster *weft_cluster_unfold(struct weft_build *b, const cluster *c)
{
	char at[WEFT_FIELD_MAX];
	cluster *out = NULL;
	size_t i = 0;
	subset *s = subset_find(b, c->load_balancing_policy, &i);

	if (!s)
		return NULL;
	check(b, s, weft_field(at, "", "load_balancing_policy.policies[%zu]", i));
	out = (cluster *)as_type(&c->base, c->base.descriptor);
	if (out) {
		policy_list *inner = s->subset_lb_policy;

		s->subset_lb_policy = NULL;
		s->allow_redundant_keys = 0;
		protobuf_c_message_free_unpacked(&out->load_balancing_policy->base, NULL);
		out->load_balancing_policy = inner;
		out->lb_subset_config = (void *)as_type(
			&s->base,
			&envoy__config__cluster__v3__cluster__lb_subset_config__descriptor);
	}
	if (!out || !out->lb_subset_config)
		b->err = b->err ? b->err : -ENOMEM;
	protobuf_c_message_free_unpacked(&s->base, NULL);
	return out;
}
