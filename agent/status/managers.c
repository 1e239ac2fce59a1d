// SPDX-License-Identifier: Apache-2.0
#include "agent/status/managers.h"

#include <string.h>

#include "xds/any.h"
#include "xds/cleanup.h"

#define TYPE "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"

static void chain_walk(const Envoy__Config__Listener__V3__FilterChain *chain, weft_manager_fn fn,
		       void *ctx)
{
	for (size_t i = 0; i < chain->n_filters; i++) {
		const Envoy__Config__Listener__V3__Filter *f = chain->filters[i];
		_xds_msg_ ProtobufCMessage *msg = NULL;

		if (f->config_type_case ==
			    ENVOY__CONFIG__LISTENER__V3__FILTER__CONFIG_TYPE_TYPED_CONFIG &&
		    weft_any_unpack(f->typed_config, NULL, NULL, NULL, &msg) == 0 &&
		    !strcmp(msg->descriptor->name, TYPE))
			fn(ctx, (const void *)msg);
	}
}

void weft_managers_each(const Envoy__Config__Listener__V3__Listener *l, weft_manager_fn fn,
			void *ctx)
{
	for (size_t i = 0; i < l->n_filter_chains; i++)
		chain_walk(l->filter_chains[i], fn, ctx);
	if (l->default_filter_chain)
		chain_walk(l->default_filter_chain, fn, ctx);
}
