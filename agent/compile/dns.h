/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What a DNS cluster says of its names: how they are asked for, where, and how often. */

#include "agent/compile/build.h"
#include "envoy/config/cluster/v3/cluster.pb-c.h"

enum weft_dns_family {
	WEFT_DNS_AUTO, /* IPv6, without any IPv4 */
	WEFT_DNS_V4_ONLY,
	WEFT_DNS_V6_ONLY,
	WEFT_DNS_V4_PREFERRED, /* IPv4, without any IPv6 */
	WEFT_DNS_ALL,
};

/* Whom to ask. Equal settings, one channel. */
struct weft_dns_servers {
	char *list; /* "127.0.0.1:53,[::1]:0"; NULL: the system's */
	bool fallback; /* list only where the system has none */
	bool tcp, no_search, rotate;
	uint32_t timeout_ms; /* of the first try, 5000 as Envoy */
	uint32_t tries; /* 4 as Envoy */
	uint32_t edns_size; /* largest answer over UDP that is asked for, 0: EDNS is not used */
};

struct weft_dns_conf {
	enum weft_dns_family family;
	bool logical; /* LOGICAL_DNS: one name, one host with all its addresses */
	bool respect_ttl;
	bool wait_for_warm; /* wait_for_warm_on_init */
	uint32_t refresh_ms; /* 5000 */
	uint32_t jitter_ms; /* 0: none; else up to it (exclusive) is added */
	uint32_t min_refresh_ms; /* of a refresh by TTL */
	uint32_t failure_base_ms, failure_max_ms; /* base 0: refresh_ms after a failure too */
	struct weft_dns_servers servers;
};

/* STRICT_DNS, LOGICAL_DNS, or the extension envoy.clusters.dns. */
bool weft_dns_is(const Envoy__Config__Cluster__V3__Cluster *c);
/*
 * Of a DNS cluster. What cannot be done as it is said is refused in b; then *ret is as good as
 * empty. Defaults and precedence are Envoy's: typed_dns_resolver_config, dns_resolution_config,
 * dns_resolvers; of the extension only its own. weft_dns_conf_clear() afterwards in any case.
 */
void weft_build_dns(struct weft_build *b, const Envoy__Config__Cluster__V3__Cluster *c,
		    struct weft_dns_conf *ret);
void weft_dns_conf_clear(struct weft_dns_conf *conf);
