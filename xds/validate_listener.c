// SPDX-License-Identifier: Apache-2.0
/* Rules of listeners and their chains that a single field cannot tell. */

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "envoy/config/listener/v3/listener.pb-c.h"
#include "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.pb-c.h"
#include "xds/core/v3/cidr.pb-c.h"
#include "xds/any.h"
#include "xds/cleanup.h"
#include "xds/validate_internal.h"

#define ROUTER_TYPE "envoy.extensions.filters.http.router.v3.Router"
#define HCM_TYPE                                                                                   \
	"envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
#define TCP_PROXY_TYPE "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"

#define listener_t Envoy__Config__Listener__V3__Listener
#define chain_t Envoy__Config__Listener__V3__FilterChain
#define hcm_t Envoy__Extensions__Filters__Network__HttpConnectionManager__V3__HttpConnectionManager
#define http_filter_t Envoy__Extensions__Filters__Network__HttpConnectionManager__V3__HttpFilter

struct packed {
	uint8_t *data;
	size_t len, place;
};

static int by_bytes(const void *a, const void *b)
{
	const struct packed *x = a, *y = b;
	size_t n = x->len < y->len ? x->len : y->len;
	int c = n ? memcmp(x->data, y->data, n) : 0;

	if (c)
		return c;
	if (x->len != y->len)
		return x->len < y->len ? -1 : 1;
	return x->place < y->place ? -1 : 1;
}

static bool pack(const Envoy__Config__Listener__V3__FilterChainMatch *match, size_t place,
		 struct packed *ret)
{
	size_t len = match ? protobuf_c_message_get_packed_size(&match->base) : 0;

	*ret = (struct packed){malloc(len ? len : 1), len, place};
	if (ret->data && len)
		protobuf_c_message_pack(&match->base, ret->data);
	return ret->data;
}

/* Chains with one and the same match; those that only overlap are for who builds the table. */
static void check_matches(struct validator *v, const listener_t *l)
{
	struct packed *p = calloc(l->n_filter_chains + 1, sizeof(*p));
	size_t n = 0;

	while (p && n < l->n_filter_chains &&
	       pack(l->filter_chains[n]->filter_chain_match, n, &p[n]))
		n++;
	if (!p || n < l->n_filter_chains)
		v->out_of_memory = true;
	else
		qsort(p, n, sizeof(*p), by_bytes);
	for (size_t i = 1; !v->out_of_memory && i < n; i++)
		if (p[i - 1].len == p[i].len && !memcmp(p[i - 1].data, p[i].data, p[i].len))
			validate_refuse_at(v, "filter_chains", p[i].place,
					   "has the same match as filter_chains[%zu]",
					   p[i - 1].place);
	for (size_t i = 0; p && i < n; i++)
		free(p[i].data);
	free(p);
}

static void check_address(struct validator *v, const char *field,
			  const Envoy__Config__Core__V3__Address *a)
{
	if (a && a->address_case == ENVOY__CONFIG__CORE__V3__ADDRESS__ADDRESS_SOCKET_ADDRESS &&
	    !*a->socket_address->resolver_name && !validate_is_ip(a->socket_address->address))
		validate_refuse(v, field, "\"%s\" is no IP address", a->socket_address->address);
}

static void check_listener(struct validator *v, const ProtobufCMessage *msg)
{
	const listener_t *l = (const listener_t *)msg;

	if (!l->address && !l->listener_specifier_case && !l->api_listener)
		validate_refuse(v, "address", "is required");
	check_address(v, "address", l->address);
	if (!l->n_filter_chains && !l->default_filter_chain && !l->api_listener &&
	    !l->udp_listener_config && !l->fcds_config)
		validate_refuse(v, "filter_chains", "is required");
	check_matches(v, l);
}

static bool is_terminal(const char *type)
{
	return !strcmp(type, HCM_TYPE) || !strcmp(type, TCP_PROXY_TYPE);
}

static void check_chain(struct validator *v, const ProtobufCMessage *msg)
{
	const chain_t *c = (const chain_t *)msg;

	for (size_t i = 0; i < c->n_filters; i++) {
		const Envoy__Config__Listener__V3__Filter *f = c->filters[i];
		_xds_free_ char *type = NULL;
		bool last = i + 1 == c->n_filters;

		if (f->config_type_case == ENVOY__CONFIG__LISTENER__V3__FILTER__CONFIG_TYPE__NOT_SET)
			validate_refuse_at(v, "filters", i, "typed_config is required");
		if (f->config_type_case !=
		    ENVOY__CONFIG__LISTENER__V3__FILTER__CONFIG_TYPE_TYPED_CONFIG)
			continue;
		type = weft_any_type(f->typed_config);
		if (type && is_terminal(type) != last)
			validate_refuse_at(v, "filters", i,
					   last ? "the last filter must be a connection manager or "
						  "tcp_proxy" :
						  "must be the last filter");
	}
}

static void check_chain_match(struct validator *v, const ProtobufCMessage *msg)
{
	const Envoy__Config__Listener__V3__FilterChainMatch *m =
		(const Envoy__Config__Listener__V3__FilterChainMatch *)msg;

	if (*m->address_suffix || m->suffix_len)
		validate_refuse(v, "address_suffix", "is not implemented, by Envoy neither");
	for (size_t i = 0; i < m->n_server_names; i++) {
		const char *star = strchr(m->server_names[i], '*');

		if (star && (star != m->server_names[i] || star[1] != '.' || strchr(star + 1, '*')))
			validate_refuse_at(v, "server_names", i,
					   "a wildcard must be the whole first label");
	}
}

static void check_listener_filter(struct validator *v, const ProtobufCMessage *msg)
{
	if (!((const Envoy__Config__Listener__V3__ListenerFilter *)msg)->config_type_case)
		validate_refuse(v, "typed_config", "is required");
}

/* 1 when the filter ends the list, 0 when not, -1 when it is passed over (optional and not known). */
static int ends_list(struct validator *v, const http_filter_t *f, size_t i)
{
	_xds_free_ char *type = NULL;

	if (!f->config_type_case && !f->is_optional)
		validate_refuse_at(v, "http_filters", i, "typed_config is required");
	if (f->config_type_case !=
	    ENVOY__EXTENSIONS__FILTERS__NETWORK__HTTP_CONNECTION_MANAGER__V3__HTTP_FILTER__CONFIG_TYPE_TYPED_CONFIG)
		return f->config_type_case ? 0 : -1;
	type = weft_any_type(f->typed_config);
	if (type && (!weft_any_descriptor(type) ||
		     !validate_role_takes(VALIDATE_ROLE_HTTP_FILTER, type)))
		return f->is_optional ? -1 : 0;
	return type && !strcmp(type, ROUTER_TYPE);
}

/* An empty list is accepted: requests then find nobody to answer them. */
static void check_http_filters(struct validator *v, const ProtobufCMessage *msg)
{
	const hcm_t *h = (const hcm_t *)msg;
	size_t ended = SIZE_MAX, last = SIZE_MAX;

	for (size_t i = 0; i < h->n_http_filters; i++) {
		int end = ends_list(v, h->http_filters[i], i);

		if (end < 0)
			continue;
		if (ended != SIZE_MAX && last == ended)
			validate_refuse_at(v, "http_filters", ended, "must be the last filter");
		if (end)
			ended = i;
		last = i;
	}
	if (last != SIZE_MAX && ended != last)
		validate_refuse_at(v, "http_filters", last, "the last filter must be the router");
}

/* Types are compared without regard to case. */
static void check_upgrades(struct validator *v, const ProtobufCMessage *msg)
{
	const hcm_t *h = (const hcm_t *)msg;

	for (size_t i = 0; i < h->n_upgrade_configs; i++)
		for (size_t j = 0; j < i; j++)
			if (!strcasecmp(h->upgrade_configs[i]->upgrade_type,
					h->upgrade_configs[j]->upgrade_type))
				validate_refuse_at(v, "upgrade_configs", i,
						   "upgrade_type is there twice");
}

static void check_cidr(struct validator *v, const ProtobufCMessage *msg)
{
	const char *prefix = ((const Envoy__Config__Core__V3__CidrRange *)msg)->address_prefix;

	if (*prefix && !validate_is_ip(prefix))
		validate_refuse(v, "address_prefix", "\"%s\" is no IP address", prefix);
}

static void check_xds_cidr(struct validator *v, const ProtobufCMessage *msg)
{
	const char *prefix = ((const Xds__Core__V3__CidrRange *)msg)->address_prefix;

	if (!validate_is_ip(prefix))
		validate_refuse(v, "address_prefix", "\"%s\" is no IP address", prefix);
}

const struct validate_check validate_checks_listener[] = {
	{&envoy__config__listener__v3__listener__descriptor, check_listener},
	{&envoy__config__listener__v3__filter_chain__descriptor, check_chain},
	{&envoy__config__listener__v3__filter_chain_match__descriptor, check_chain_match},
	{&envoy__config__listener__v3__listener_filter__descriptor, check_listener_filter},
	{&envoy__extensions__filters__network__http_connection_manager__v3__http_connection_manager__descriptor,
	 check_http_filters},
	{&envoy__extensions__filters__network__http_connection_manager__v3__http_connection_manager__descriptor,
	 check_upgrades},
	{&envoy__config__core__v3__cidr_range__descriptor, check_cidr},
	{&xds__core__v3__cidr_range__descriptor, check_xds_cidr},
	{NULL, NULL},
};
