// SPDX-License-Identifier: Apache-2.0
#pragma once

/* A proxy under test (proxy_run.h), its clients (proxy_client.h), and configurations whose
 * endpoints are its servers. */

#include "test/unit/proxy_run.h"

/* HTTP filters, for `hcm`: a fault of which one may be active, and what ends the list. */
#define FIX_FAULT(more)                                                                            \
	"{name: f, typed_config: {\"@type\": "                                                     \
	"type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault, "                   \
	"max_active_faults: 1, " more "}}"
#define FIX_ROUTER_FILTER                                                                          \
	"{name: r, typed_config: {\"@type\": "                                                     \
	"type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}"

#define FIX_ROUTER "http_filters: [" FIX_ROUTER_FILTER "],"

/*
 * One listener 192.0.2.1:80 for HTTP with `hcm` (further fields, flow style, each followed by a comma) and `routes` (a
 * flow list), one cluster "up" with `cluster` (further fields, each after a comma) and the endpoints of `n` servers.
 */
static inline const char *fix_http_yaml(const char *hcm, const char *routes, const char *cluster, unsigned int n)
{
	static char yaml[16384];
	char endpoints[512] = "";

	for (unsigned int i = 0; i < n; i++)
		snprintf(endpoints + strlen(endpoints), sizeof(endpoints) - strlen(endpoints),
			 "%s{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: %u}}}}",
			 i ? ", " : "", fix.server[i].port);
	snprintf(yaml, sizeof(yaml),
		 "static_resources:\n"
		 "  listeners:\n"
		 "  - name: main\n"
		 "    address: {socket_address: {address: 192.0.2.1, port_value: 80}}\n"
		 "    filter_chains:\n"
		 "    - filters:\n"
		 "      - name: hcm\n"
		 "        typed_config: {\"@type\": type.googleapis.com/envoy.extensions.filters.network."
		 "http_connection_manager.v3.HttpConnectionManager, stat_prefix: s, %s%s\n"
		 "          route_config: {virtual_hosts: [{name: v, domains: [\"*\"], "
		 "include_request_attempt_count: true, routes: [%s]}]}}\n"
		 "  clusters:\n"
		 "  - {name: up, type: STATIC%s,\n"
		 "     load_assignment: {cluster_name: up, endpoints: [{lb_endpoints: [%s]}]}}\n",
		 hcm, strstr(hcm, "http_filters: ") ? "" : FIX_ROUTER, routes, cluster, endpoints);
	return yaml;
}

static inline void fix_open_http(const char *hcm, const char *routes, const char *cluster, unsigned int n,
				 unsigned int workers)
{
	fix_open(fix_http_yaml(hcm, routes, cluster, n), workers);
}
#define FIX_ROUTE "{match: {prefix: /}, route: {cluster: up}}"

/*
 * One port for HTTP, which goes to server `web`, and for what is not, which goes to server `raw`; taken for the latter
 * after 0.2 s of silence.
 */
static inline void fix_open_sniffed(unsigned int raw, unsigned int web)
{
	char yaml[4096];

	snprintf(yaml, sizeof(yaml),
		 "static_resources:\n"
		 "  listeners:\n"
		 "  - name: both\n"
		 "    address: {socket_address: {address: 192.0.2.1, port_value: 80}}\n"
		 "    listener_filters_timeout: 0.2s\n"
		 "    continue_on_listener_filters_timeout: true\n"
		 "    listener_filters: [{name: envoy.filters.listener.http_inspector, typed_config: {\"@type\": type."
		 "googleapis.com/envoy.extensions.filters.listener.http_inspector.v3.HttpInspector}}]\n"
		 "    filter_chains:\n"
		 "    - {filter_chain_match: {application_protocols: [\"http/1.1\"], transport_protocol: raw_buffer}, filters: [{name: h, typed_config: "
		 "{\"@type\": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3."
		 "HttpConnectionManager, stat_prefix: s, http_filters: [{name: r, typed_config: {\"@type\": type."
		 "googleapis.com/envoy.extensions.filters.http.router.v3.Router}}], route_config: {virtual_hosts: [{name: v, "
		 "domains: [\"*\"], routes: [{match: {prefix: /}, route: {cluster: web}}]}]}}}]}\n"
		 "    - {filter_chain_match: {transport_protocol: raw_buffer}, filters: [{name: t, typed_config: {\"@type\": type.googleapis.com/envoy.extensions.filters.network."
		 "tcp_proxy.v3.TcpProxy, stat_prefix: t, cluster: raw}}]}\n"
		 "  clusters:\n"
		 "  - {name: raw, type: STATIC, load_assignment: {cluster_name: raw, endpoints: [{lb_endpoints: [{endpoint: "
		 "{address: {socket_address: {address: 127.0.0.1, port_value: %u}}}}]}]}}\n"
		 "  - {name: web, type: STATIC, load_assignment: {cluster_name: web, endpoints: [{lb_endpoints: [{endpoint: "
		 "{address: {socket_address: {address: 127.0.0.1, port_value: %u}}}}]}]}}\n",
		 fix.server[raw].port, fix.server[web].port);
	fix_open(yaml, 1);
}

/* A request of this method and path, with further header lines, and its answer. How many
 * milliseconds that took. */
static inline uint64_t fix_ask(int fd, const char *method, const char *path, const char *headers,
			       struct fix_answer *a)
{
	uint64_t from = fix_now_ms();
	char text[1024];

	snprintf(text, sizeof(text), "%s %s HTTP/1.1\r\nhost: a\r\n%s\r\n", method, path, headers);
	fix_say(fd, text);
	assert_true(fix_hear(fd, a));
	return fix_now_ms() - from;
}
