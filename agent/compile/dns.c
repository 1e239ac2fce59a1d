// SPDX-License-Identifier: Apache-2.0
#include "agent/compile/dns.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/compile/compile.h"
#include "envoy/extensions/clusters/dns/v3/dns_cluster.pb-c.h"
#include "envoy/extensions/network/dns_resolver/cares/v3/cares_dns_resolver.pb-c.h"
#include "xds/any.h"

#define DNS_CLUSTER "envoy.extensions.clusters.dns.v3.DnsCluster"
#define REFRESH_MS 5000
#define TIMEOUT_S 5
/* Beyond an hour a name server that is silent would not be noticed in a day. */
#define TIMEOUT_S_MAX 3600
#define TRIES 4
#define TRIES_MAX 100
#define EDNS_MIN 512
#define EDNS_MAX 4096
/* JitteredExponentialBackOffStrategy without max_interval. */
#define FAILURE_MAX_FACTOR 10

typedef Envoy__Config__Cluster__V3__Cluster cluster;
typedef Envoy__Extensions__Clusters__Dns__V3__DnsCluster dns_cluster;
typedef Envoy__Extensions__Network__DnsResolver__Cares__V3__CaresDnsResolverConfig cares_config;

static bool is_custom(const cluster *c)
{
	return c->cluster_discovery_type_case ==
	       ENVOY__CONFIG__CLUSTER__V3__CLUSTER__CLUSTER_DISCOVERY_TYPE_CLUSTER_TYPE;
}

static bool is_type(const cluster *c, Envoy__Config__Cluster__V3__Cluster__DiscoveryType type)
{
	return c->cluster_discovery_type_case ==
		       ENVOY__CONFIG__CLUSTER__V3__CLUSTER__CLUSTER_DISCOVERY_TYPE_TYPE &&
	       c->type == type;
}

static bool is_extension(const cluster *c)
{
	char *type = is_custom(c) && c->cluster_type->typed_config
			     ? weft_any_type(c->cluster_type->typed_config)
			     : NULL;
	bool is = type && !strcmp(type, DNS_CLUSTER);

	free(type);
	return is;
}

bool weft_dns_is(const cluster *c)
{
	return is_type(c, ENVOY__CONFIG__CLUSTER__V3__CLUSTER__DISCOVERY_TYPE__STRICT_DNS) ||
	       is_type(c, ENVOY__CONFIG__CLUSTER__V3__CLUSTER__DISCOVERY_TYPE__LOGICAL_DNS) ||
	       is_extension(c);
}

static dns_cluster *extension_unpack(struct weft_build *b, const cluster *c)
{
	ProtobufCMessage *msg = NULL;
	int r = weft_any_unpack(c->cluster_type->typed_config, b->resource,
				"cluster_type.typed_config", b->diag, &msg);

	if (r < 0)
		b->err = b->err ? b->err : r;
	return (dns_cluster *)(void *)msg;
}

/* ---- whom to ask ---- */

static void server_add(struct weft_build *b, const Envoy__Config__Core__V3__Address *a,
		       const char *field, struct weft_dns_servers *ret)
{
	const Envoy__Config__Core__V3__SocketAddress *s;
	struct weft_sockaddr addr;
	char *list;

	if (a->address_case != ENVOY__CONFIG__CORE__V3__ADDRESS__ADDRESS_SOCKET_ADDRESS) {
		weft_build_fail(b, field, "a resolver must be a socket_address");
		return;
	}
	s = a->socket_address;
	weft_build_fields(b, &s->base, field);
	if (!weft_ip_parse(s->address, s->port_value, &addr)) {
		weft_build_fail(b, field, "\"%s\" is not an IP address", s->address);
		return;
	}
	if (asprintf(&list, strchr(s->address, ':') ? "%s%s[%s]:%u" : "%s%s%s:%u",
		     ret->list ? ret->list : "", ret->list ? "," : "", s->address,
		     s->port_value) < 0) {
		b->err = b->err ? b->err : -ENOMEM;
		return;
	}
	free(ret->list);
	ret->list = list;
}

static void servers_add(struct weft_build *b, Envoy__Config__Core__V3__Address **v, size_t n,
			const char *field, struct weft_dns_servers *ret)
{
	char at[WEFT_FIELD_MAX];

	for (size_t i = 0; i < n; i++) {
		snprintf(at, sizeof(at), "%s[%zu]", field, i);
		server_add(b, v[i], at, ret);
	}
}

static void options_take(const Envoy__Config__Core__V3__DnsResolverOptions *o,
			 struct weft_dns_servers *ret)
{
	ret->tcp = o && o->use_tcp_for_dns_lookups;
	ret->no_search = o && o->no_default_search_domain;
}

static void cares_take(struct weft_build *b, const cares_config *m, const char *field,
		       struct weft_dns_servers *ret)
{
	uint64_t timeout = m->query_timeout_seconds ? m->query_timeout_seconds->value : TIMEOUT_S;
	char at[WEFT_FIELD_MAX];

	/* after a silence the channel is always made anew: reinit_channel_on_timeout */
	weft_build_fields(b, &m->base, field);
	servers_add(b, m->resolvers, m->n_resolvers, weft_field(at, field, "resolvers"), ret);
	options_take(m->dns_resolver_options, ret);
	ret->fallback = m->use_resolvers_as_fallback;
	ret->rotate = m->rotate_nameservers;
	if (timeout < 1 || timeout > TIMEOUT_S_MAX)
		weft_build_fail(b, weft_field(at, field, "query_timeout_seconds"),
				"must be between 1 and %u", TIMEOUT_S_MAX);
	else
		ret->timeout_ms = (uint32_t)timeout * 1000;
	ret->tries = weft_u32(m->query_tries, TRIES);
	if (ret->tries < 1 || ret->tries > TRIES_MAX)
		weft_build_fail(b, weft_field(at, field, "query_tries"),
				"must be between 1 and %u", TRIES_MAX);
	ret->edns_size = weft_u32(m->edns0_max_payload_size, 0);
	if (m->edns0_max_payload_size && (ret->edns_size < EDNS_MIN || ret->edns_size > EDNS_MAX))
		weft_build_fail(b, weft_field(at, field, "edns0_max_payload_size"),
				"must be between %u and %u", EDNS_MIN, EDNS_MAX);
}

/* Envoy finds the resolver by the type, whatever its name. */
static void typed_take(struct weft_build *b, const Envoy__Config__Core__V3__TypedExtensionConfig *e,
		       const char *field, struct weft_dns_servers *ret)
{
	char *type = e->typed_config ? weft_any_type(e->typed_config) : NULL;
	ProtobufCMessage *msg = NULL;
	char at[WEFT_FIELD_MAX];
	int r = -ENOENT;

	weft_field(at, field, "typed_config");
	if (type)
		r = weft_any_unpack(e->typed_config, b->resource, at, b->diag, &msg);
	if (r == -ENOENT ||
	    (!r && msg->descriptor != &envoy__extensions__network__dns_resolver__cares__v3__cares_dns_resolver_config__descriptor))
		weft_build_fail(b, at, "unsupported: %s", type ? type : "a resolver without type");
	else if (r)
		b->err = b->err ? b->err : r;
	else
		cares_take(b, (const void *)msg, at, ret);
	free(type);
	if (msg)
		protobuf_c_message_free_unpacked(msg, NULL);
}

static void servers_legacy(struct weft_build *b, const cluster *c, struct weft_dns_servers *ret)
{
	if (c->typed_dns_resolver_config) {
		typed_take(b, c->typed_dns_resolver_config, "typed_dns_resolver_config", ret);
	} else if (c->dns_resolution_config) {
		servers_add(b, c->dns_resolution_config->resolvers,
			    c->dns_resolution_config->n_resolvers,
			    "dns_resolution_config.resolvers", ret);
		options_take(c->dns_resolution_config->dns_resolver_options, ret);
	} else if (c->n_dns_resolvers) {
		servers_add(b, c->dns_resolvers, c->n_dns_resolvers, "dns_resolvers", ret);
		ret->tcp = c->use_tcp_for_dns_lookups;
	} else if (c->use_tcp_for_dns_lookups) {
		weft_build_note(b, "use_tcp_for_dns_lookups", "of dns_resolvers only");
	}
	if (c->typed_dns_resolver_config && c->dns_resolution_config)
		weft_build_note(b, "dns_resolution_config",
				"typed_dns_resolver_config takes its place");
	if ((c->typed_dns_resolver_config || c->dns_resolution_config) && c->n_dns_resolvers)
		weft_build_note(b, "dns_resolvers", "another resolver takes their place");
}

/* ---- how often ---- */

static void failure_take(struct weft_build *b, const Google__Protobuf__Duration *base,
			 const Google__Protobuf__Duration *max, const char *field,
			 struct weft_dns_conf *ret)
{
	uint64_t most;
	char at[WEFT_FIELD_MAX];

	ret->failure_base_ms =
		weft_build_ms(b, base, REFRESH_MS, weft_field(at, field, "base_interval"));
	most = (uint64_t)ret->failure_base_ms * FAILURE_MAX_FACTOR;
	ret->failure_max_ms = weft_build_ms(b, max, most > UINT32_MAX ? UINT32_MAX : (uint32_t)most,
					    weft_field(at, field, "max_interval"));
	if (ret->failure_max_ms < ret->failure_base_ms)
		weft_build_fail(b, field, "max_interval is below base_interval");
}

static void legacy_take(struct weft_build *b, const cluster *c, struct weft_dns_conf *ret)
{
	static const enum weft_dns_family families[] = {
		[ENVOY__CONFIG__CLUSTER__V3__CLUSTER__DNS_LOOKUP_FAMILY__AUTO] = WEFT_DNS_AUTO,
		[ENVOY__CONFIG__CLUSTER__V3__CLUSTER__DNS_LOOKUP_FAMILY__V4_ONLY] =
			WEFT_DNS_V4_ONLY,
		[ENVOY__CONFIG__CLUSTER__V3__CLUSTER__DNS_LOOKUP_FAMILY__V6_ONLY] =
			WEFT_DNS_V6_ONLY,
		[ENVOY__CONFIG__CLUSTER__V3__CLUSTER__DNS_LOOKUP_FAMILY__V4_PREFERRED] =
			WEFT_DNS_V4_PREFERRED,
		[ENVOY__CONFIG__CLUSTER__V3__CLUSTER__DNS_LOOKUP_FAMILY__ALL] = WEFT_DNS_ALL,
	};

	if ((size_t)c->dns_lookup_family < sizeof(families) / sizeof(*families))
		ret->family = families[c->dns_lookup_family];
	ret->respect_ttl = c->respect_dns_ttl;
	ret->refresh_ms = weft_build_ms(b, c->dns_refresh_rate, REFRESH_MS, "dns_refresh_rate");
	ret->jitter_ms = weft_build_ms(b, c->dns_jitter, 0, "dns_jitter");
	if (c->dns_failure_refresh_rate)
		failure_take(b, c->dns_failure_refresh_rate->base_interval,
			     c->dns_failure_refresh_rate->max_interval, "dns_failure_refresh_rate",
			     ret);
	servers_legacy(b, c, &ret->servers);
}

#define AT(name) "cluster_type.typed_config." name
static void extension_take(struct weft_build *b, const cluster *c, struct weft_dns_conf *ret)
{
	static const enum weft_dns_family families[] = {
		[ENVOY__EXTENSIONS__CLUSTERS__COMMON__DNS__V3__DNS_LOOKUP_FAMILY__UNSPECIFIED] =
			WEFT_DNS_AUTO,
		[ENVOY__EXTENSIONS__CLUSTERS__COMMON__DNS__V3__DNS_LOOKUP_FAMILY__AUTO] =
			WEFT_DNS_AUTO,
		[ENVOY__EXTENSIONS__CLUSTERS__COMMON__DNS__V3__DNS_LOOKUP_FAMILY__V4_ONLY] =
			WEFT_DNS_V4_ONLY,
		[ENVOY__EXTENSIONS__CLUSTERS__COMMON__DNS__V3__DNS_LOOKUP_FAMILY__V6_ONLY] =
			WEFT_DNS_V6_ONLY,
		[ENVOY__EXTENSIONS__CLUSTERS__COMMON__DNS__V3__DNS_LOOKUP_FAMILY__V4_PREFERRED] =
			WEFT_DNS_V4_PREFERRED,
		[ENVOY__EXTENSIONS__CLUSTERS__COMMON__DNS__V3__DNS_LOOKUP_FAMILY__ALL] =
			WEFT_DNS_ALL,
	};
	dns_cluster *d = extension_unpack(b, c);

	if (!d)
		return;
	ret->logical = d->all_addresses_in_single_endpoint;
	if ((size_t)d->dns_lookup_family < sizeof(families) / sizeof(*families))
		ret->family = families[d->dns_lookup_family];
	ret->respect_ttl = d->respect_dns_ttl;
	ret->refresh_ms =
		weft_build_ms(b, d->dns_refresh_rate, REFRESH_MS, AT("dns_refresh_rate"));
	ret->jitter_ms = weft_build_ms(b, d->dns_jitter, 0, AT("dns_jitter"));
	ret->min_refresh_ms =
		weft_build_ms(b, d->dns_min_refresh_rate, 0, AT("dns_min_refresh_rate"));
	if (d->dns_failure_refresh_rate)
		failure_take(b, d->dns_failure_refresh_rate->base_interval,
			     d->dns_failure_refresh_rate->max_interval,
			     AT("dns_failure_refresh_rate"), ret);
	if (d->typed_dns_resolver_config)
		typed_take(b, d->typed_dns_resolver_config, AT("typed_dns_resolver_config"),
			   &ret->servers);
	protobuf_c_message_free_unpacked(&d->base, NULL);
}

void weft_build_dns(struct weft_build *b, const cluster *c, struct weft_dns_conf *ret)
{
	const Envoy__Config__Endpoint__V3__ClusterLoadAssignment *a = c->load_assignment;

	*ret = (struct weft_dns_conf){
		.wait_for_warm = weft_bool(c->wait_for_warm_on_init, true),
		.servers = {.timeout_ms = TIMEOUT_S * 1000, .tries = TRIES},
	};
	if (is_custom(c)) {
		extension_take(b, c, ret);
	} else {
		ret->logical = is_type(
			c, ENVOY__CONFIG__CLUSTER__V3__CLUSTER__DISCOVERY_TYPE__LOGICAL_DNS);
		legacy_take(b, c, ret);
	}
	if (ret->logical &&
	    (!a || a->n_endpoints != 1 || a->endpoints[0]->n_lb_endpoints != 1))
		weft_build_fail(b, "load_assignment",
				"LOGICAL_DNS needs exactly one locality with one endpoint");
}

void weft_dns_conf_clear(struct weft_dns_conf *conf)
{
	free(conf->servers.list);
	conf->servers.list = NULL;
}

char *weft_resolved_name(const struct weft_resource *res)
{
	char *name;

	if (asprintf(&name, "%016llx %s", (unsigned long long)res->hash, res->name) < 0)
		return NULL;
	return name;
}
