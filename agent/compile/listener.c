// SPDX-License-Identifier: Apache-2.0
/* Listeners and filter chains; which chain a connection takes is chain_match.c's. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "agent/compile/chain_match.h"
#include "agent/compile/filter.h"
#include "agent/compile/global.h"
#include "agent/compile/limit.h"
#include "agent/compile/parts.h"
#include "agent/compile/subset.h"
#include "agent/compile/rbac.h"
#include "envoy/extensions/filters/listener/tls_inspector/v3/tls_inspector.pb-c.h"
#include "envoy/extensions/filters/network/tcp_proxy/v3/tcp_proxy.pb-c.h"
#include "xds/any.h"

#define NETWORK "envoy.extensions.filters.network."
#define LISTENER "envoy.extensions.filters.listener."
typedef Envoy__Config__Listener__V3__Listener listener;
typedef Envoy__Config__Listener__V3__FilterChain filter_chain;
typedef Envoy__Extensions__Filters__Network__TcpProxy__V3__TcpProxy tcp_proxy;
typedef Envoy__Extensions__Filters__Listener__TlsInspector__V3__TlsInspector tls_inspector;

bool weft_listener_inbound(const listener *l)
{
	return l->traffic_direction == ENVOY__CONFIG__CORE__V3__TRAFFIC_DIRECTION__INBOUND;
}

/* ---- network filters ---- */

static uint32_t targets_build(struct weft_build *b, const tcp_proxy *t, const char *field,
			      bool *ret_criteria)
{
	struct {
		struct weft_img_targets head;
		struct weft_img_target target[WEFT_TARGETS_MAX];
	} out = {0};
	char at[WEFT_FIELD_MAX];

	if (t->cluster_specifier_case ==
	    ENVOY__EXTENSIONS__FILTERS__NETWORK__TCP_PROXY__V3__TCP_PROXY__CLUSTER_SPECIFIER_CLUSTER) {
		out.head.n = 1;
		out.head.total = 1;
		out.target[0].name = weft_build_str(b, t->cluster);
		out.target[0].cluster = weft_build_cluster_id(b, t->cluster);
		out.target[0].criteria = weft_build_criteria(b, NULL, t->metadata_match, field);
		*ret_criteria = out.target[0].criteria != 0;
		out.target[0].weight = 1;
		out.target[0].end = 1;
	} else {
		for (size_t i = 0; i < t->weighted_clusters->n_clusters && i < WEFT_TARGETS_MAX;
		     i++) {
			const char *name = t->weighted_clusters->clusters[i]->name;

			weft_build_fields(
				b, &t->weighted_clusters->clusters[i]->base,
				weft_field(at, field, "weighted_clusters.clusters[%zu]", i));
			out.head.total += t->weighted_clusters->clusters[i]->weight;
			out.target[i].name = weft_build_str(b, name);
			out.target[i].cluster = weft_build_cluster_id(b, name);
			out.target[i].weight = t->weighted_clusters->clusters[i]->weight;
			out.target[i].end = out.head.total;
			out.target[i].criteria = weft_build_criteria(
				b, t->metadata_match, t->weighted_clusters->clusters[i]->metadata_match,
				field);
			*ret_criteria = *ret_criteria || out.target[i].criteria;
			out.head.n++;
		}
	}
	return weft_build_put(b, &out, sizeof(out.head) + out.head.n * sizeof(*out.target));
}

static void tcp_proxy_fill(struct weft_build *b, const tcp_proxy *t, const char *field,
			   struct weft_img_chain *ret)
{
	char at[WEFT_FIELD_MAX];
	struct weft_img_str prefix = weft_build_str(b, t->stat_prefix);
	bool criteria = false;

	weft_build_fields(b, &t->base, field);
	if (t->cluster_specifier_case ==
		    ENVOY__EXTENSIONS__FILTERS__NETWORK__TCP_PROXY__V3__TCP_PROXY__CLUSTER_SPECIFIER_WEIGHTED_CLUSTERS &&
	    t->weighted_clusters->n_clusters > WEFT_TARGETS_MAX)
		weft_build_fail(b, weft_field(at, field, "weighted_clusters.clusters"),
				"more than %u", WEFT_TARGETS_MAX);
	ret->kind = WEFT_CHAIN_TCP;
	ret->target = targets_build(b, t, field, &criteria);
	if (criteria)
		ret->flags |= WEFT_CHAIN_CRITERIA;
	ret->stat_prefix = prefix;
	ret->idle_timeout_ms =
		weft_build_ms(b, t->idle_timeout, 3600000, weft_field(at, field, "idle_timeout"));
	ret->max_connect_attempts = weft_u32(t->max_connect_attempts, 1);
	ret->max_duration_ms =
		weft_build_ms(b, t->max_downstream_connection_duration, 0,
			      weft_field(at, field, "max_downstream_connection_duration"));
	if (ret->max_duration_ms)
		ret->flags |= WEFT_CHAIN_TIMED;
	if (t->max_downstream_connection_duration_jitter_percentage)
		ret->max_duration_jitter_ms = (uint32_t)ceil(
			t->max_downstream_connection_duration_jitter_percentage->value *
			ret->max_duration_ms / 100);
}

static void conn_limit_add(struct weft_build *b, const ProtobufCMessage *msg, const char *field,
			   struct weft_img_chain *ret)
{
	uint32_t off;

	if (ret->n_conn_limit == WEFT_CONN_LIMITS_MAX) {
		weft_build_fail(b, field, "more than %u local rate limits in a chain",
				WEFT_CONN_LIMITS_MAX);
		return;
	}
	off = weft_build_conn_limit(b, (const void *)msg, field);
	if (off)
		ret->conn_limit[ret->n_conn_limit++] = off;
}

static void conn_ask_add(struct weft_build *b, const ProtobufCMessage *msg, const char *field,
			 struct weft_img_chain *ret)
{
	if (ret->n_ask == WEFT_CONN_LIMITS_MAX) {
		weft_build_fail(b, field, "more than %u global rate limits in a chain",
				WEFT_CONN_LIMITS_MAX);
		return;
	}
	ret->flags |= WEFT_CHAIN_ASKS;
	ret->ask[ret->n_ask++] =
		weft_build_conn_ask(b, (const void *)msg, ret->n_conn_limit, field);
}

static void rbac_add(struct weft_build *b, const ProtobufCMessage *msg, const char *field,
		     struct weft_img_chain *ret)
{
	uint32_t off;

	if (ret->n_rbac == WEFT_CONN_LIMITS_MAX) {
		weft_build_fail(b, field, "more than %u RBAC filters in a chain",
				WEFT_CONN_LIMITS_MAX);
		return;
	}
	off = weft_build_conn_rbac(b, (const void *)msg, field, &ret->flags);
	if (off)
		ret->rbac[ret->n_rbac++] = off;
}

static void network_filter(struct weft_build *b, const Envoy__Config__Listener__V3__Filter *f,
			   const char *field, struct weft_img_chain *ret)
{
	bool has = f->config_type_case ==
		   ENVOY__CONFIG__LISTENER__V3__FILTER__CONFIG_TYPE_TYPED_CONFIG;
	struct weft_filter_config c;
	char at[WEFT_FIELD_MAX];
	const char *type;

	if (!weft_filter_config_open(b, has ? f->typed_config : NULL, field, at, &c))
		return;
	type = c.type;
	if (c.err == -ENOENT)
		weft_build_fail(b, at, "unknown filter type %s", type ? type : "");
	else if (c.err)
		b->err = b->err ? b->err : c.err;
	else if (!strcmp(type, NETWORK "tcp_proxy.v3.TcpProxy"))
		tcp_proxy_fill(b, (const void *)c.msg, at, ret);
	else if (!strcmp(type, NETWORK "local_ratelimit.v3.LocalRateLimit"))
		conn_limit_add(b, c.msg, at, ret);
	else if (!strcmp(type, NETWORK "ratelimit.v3.RateLimit"))
		conn_ask_add(b, c.msg, at, ret);
	else if (!strcmp(type, NETWORK "rbac.v3.RBAC"))
		rbac_add(b, c.msg, at, ret);
	else if (!strcmp(type, NETWORK "http_connection_manager.v3.HttpConnectionManager")) {
		ret->kind = WEFT_CHAIN_HTTP;
		ret->target = weft_build_hcm(b, (const void *)c.msg, at);
	} else
		weft_build_fail(b, at, "unsupported: %s", type);
	weft_filter_config_clear(&c);
}

/* Only clear text: TLS termination is not there. */
static void transport_check(struct weft_build *b, const Envoy__Config__Core__V3__TransportSocket *s,
			    const char *field)
{
	char *type = s && s->typed_config ? weft_any_type(s->typed_config) : NULL;

	if (type && strcmp(type, "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer"))
		weft_build_fail(b, field, "unsupported: %s", type);
	free(type);
}

static uint32_t chain_build(struct weft_build *b, const filter_chain *c, const char *field)
{
	struct weft_img_chain out = {0};
	char at[WEFT_FIELD_MAX];

	weft_build_fields(b, &c->base, field);
	transport_check(b, c->transport_socket, weft_field(at, field, "transport_socket"));
	out.name = weft_build_str(b, c->name);
	for (size_t i = 0; i < c->n_filters; i++)
		network_filter(b, c->filters[i], weft_field(at, field, "filters[%zu]", i), &out);
	/* without a terminal filter Envoy accepts the chain and closes its connections */
	return out.kind ? weft_build_put(b, &out, sizeof(out)) : 0;
}

/* ---- the listener ---- */

static void tls_inspector_fill(struct weft_build *b, const tls_inspector *t, const char *field,
			       struct weft_img_listener *ret)
{
	weft_build_fields(b, &t->base, field);
	ret->flags |= WEFT_LISTENER_INSPECT_TLS;
	ret->hello_max = weft_u32(t->max_client_hello_size, WEFT_HELLO_MAX);
	if (t->close_connection_on_client_hello_parsing_errors)
		ret->flags |= WEFT_LISTENER_HELLO_CLOSES;
}

static void inspector_fill(struct weft_build *b,
			   const Envoy__Config__Listener__V3__ListenerFilter *f, const char *field,
			   struct weft_img_listener *ret)
{
	bool has = f->config_type_case ==
		   ENVOY__CONFIG__LISTENER__V3__LISTENER_FILTER__CONFIG_TYPE_TYPED_CONFIG;
	struct weft_filter_config c;
	char at[WEFT_FIELD_MAX];

	if (f->filter_disabled)
		weft_build_fail(b, field, "unsupported: filter_disabled");
	if (!weft_filter_config_open(b, has ? f->typed_config : NULL, field, at, &c))
		return;
	if (c.err == -ENOENT)
		weft_build_fail(b, field, "unsupported: %s", c.type ? c.type : f->name);
	else if (c.err)
		b->err = b->err ? b->err : c.err;
	else if (!strcmp(c.type, LISTENER "http_inspector.v3.HttpInspector"))
		ret->flags |= WEFT_LISTENER_INSPECT_HTTP;
	else if (!strcmp(c.type, LISTENER "tls_inspector.v3.TlsInspector"))
		tls_inspector_fill(b, (const void *)c.msg, at, ret);
	else if (!strcmp(c.type, LISTENER "original_dst.v3.OriginalDst"))
		weft_build_note(b, field, "the original destination is always known");
	else
		weft_build_fail(b, field, "unsupported: %s", c.type);
	weft_filter_config_clear(&c);
}

static void inspectors_fill(struct weft_build *b, const listener *l, struct weft_img_listener *ret)
{
	char at[WEFT_FIELD_MAX];

	ret->hello_max = WEFT_HELLO_MAX;
	for (size_t i = 0; i < l->n_listener_filters; i++)
		inspector_fill(b, l->listener_filters[i],
			       weft_field(at, "", "listener_filters[%zu]", i), ret);
}

static void chains_fill(struct weft_build *b, const listener *l, struct weft_img_listener *ret)
{
	uint32_t *chain = calloc(l->n_filter_chains + 1, sizeof(*chain));
	uint32_t otherwise = 0;
	char at[WEFT_FIELD_MAX];

	if (!chain) {
		b->err = b->err ? b->err : -ENOMEM;
		return;
	}
	for (size_t i = 0; i < l->n_filter_chains; i++)
		chain[i] = chain_build(b, l->filter_chains[i],
				       weft_field(at, "", "filter_chains[%zu]", i));
	if (l->default_filter_chain)
		otherwise = chain_build(b, l->default_filter_chain, "default_filter_chain");
	weft_build_chain_groups(b, l, chain, otherwise, ret);
	free(chain);
}

static void address_check(struct weft_build *b, const Envoy__Config__Core__V3__Address *a,
			  const char *field)
{
	char at[WEFT_FIELD_MAX];

	if (a && a->address_case == ENVOY__CONFIG__CORE__V3__ADDRESS__ADDRESS_SOCKET_ADDRESS)
		weft_build_socket(b, a->socket_address, weft_field(at, field, "socket_address"));
}

static void addresses_check(struct weft_build *b, const listener *l)
{
	char at[WEFT_FIELD_MAX];

	address_check(b, l->address, "address");
	for (size_t i = 0; i < l->n_additional_addresses; i++)
		address_check(b, l->additional_addresses[i]->address,
			      weft_field(at, "", "additional_addresses[%zu].address", i));
}

uint32_t weft_build_listener(struct weft_build *b, const listener *l)
{
	/* How Envoy's own socket is opened: there is none. */
	struct weft_img_listener out = {0};

	weft_build_fields(b, &l->base, "");
	addresses_check(b, l);
	out.name = weft_build_str(b, l->name);
	out.buffer_limit = weft_u32(l->per_connection_buffer_limit_bytes, 1u << 20);
	out.inspect_timeout_ms =
		weft_build_ms(b, l->listener_filters_timeout, 15000, "listener_filters_timeout");
	if (l->continue_on_listener_filters_timeout)
		out.flags |= WEFT_LISTENER_TIMEOUT_CONTINUES;
	inspectors_fill(b, l, &out);
	chains_fill(b, l, &out);
	return weft_build_put(b, &out, sizeof(out));
}
