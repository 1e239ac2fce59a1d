// SPDX-License-Identifier: Apache-2.0
/* Listeners: places, filter chain match, network filters. */
#include "test/unit/compile_fixture.h"

#define TCP_TYPE T("extensions.filters.network.tcp_proxy.v3.TcpProxy")
#define TCP(cluster) "{name: t, typed_config: {" TCP_TYPE ", stat_prefix: s, cluster: " cluster "}}"
#define CHAIN(name, match, filters)                                                                \
	"{name: " name ", filter_chain_match: {" match "}, filters: [" filters "]}, "
#define CHAINS(more, chains)                                                                       \
	"- {" T("config.listener.v3.Listener") ", name: l, address: " ADDRESS(                     \
		"0.0.0.0", 80) ", " more " filter_chains: [" chains "]}\n"
#define INSPECT_BOTH                                                                               \
	"listener_filters: [{name: i, typed_config: {" T(                                          \
		"extensions.filters.listener.http_inspector.v3.HttpInspector") "}}, "              \
									       "{name: t, "        \
									       "typed_config: "    \
									       "{" T("extensions." \
										     "filters."    \
										     "listener."   \
										     "tls_"        \
										     "inspector."  \
										     "v3."         \
										     "TlsInspecto" \
										     "r") "}}],"

/* The name of the chain that a connection to ip:port takes, "" none. */
static void chain_is(const char *ip, uint16_t port, enum weft_proto proto, const char *want)
{
	struct conf_req *q = calloc(1, sizeof(*q));
	const struct weft_img_chain *chain;
	uint32_t off;

	assert_non_null(q);
	conf_connect(q, ip, port);
	assert_int_equal(weft_listener_find(&q->ctx), 0);
	off = weft_chain_find(&q->ctx, proto);
	chain = weft_img_at(off);
	if (!off != !*want ||
	    (off && (chain->name.len != strlen(want) ||
		     memcmp(weft_img_at(chain->name.off), want, chain->name.len))))
		fail_msg("port %u proto %d: not chain \"%s\"", port, (int)proto, want);
	free(q);
}

static void listener_is(const char *ip, uint16_t port, const char *want)
{
	struct conf_req *q = calloc(1, sizeof(*q));
	const struct weft_img_listener *l;

	assert_non_null(q);
	conf_connect(q, ip, port);
	if (weft_listener_find(&q->ctx)) {
		assert_null(want);
	} else {
		assert_non_null(want);
		l = weft_img_at(q->ctx.listener);
		assert_int_equal(l->name.len, strlen(want));
		assert_memory_equal(weft_img_at(l->name.off), want, l->name.len);
	}
	free(q);
}

static void test_places(void **state)
{
	struct conf c;

	(void)state;
	conf_open(&c);
	conf_ok(&c, LISTENER("exact", AT_80, TCP("a")) LISTENER(
			    "any", "address: " ADDRESS("0.0.0.0", 80) ",",
			    TCP("a")) LISTENER("any6", "address: " ADDRESS("::", 80) ",", TCP("a"))
			    LISTENER("both",
				     "address: {socket_address: {address: '::', port_value: 81, "
				     "ipv4_compat: true}},",
				     TCP("a"))
				    LISTENER("more",
					     "address: " ADDRESS("10.0.0.2",
								 82) ", additional_addresses: "
								     "[{address: " ADDRESS(
									     "fd00::1", 83) "}],",
					     TCP("a"))
					    LISTENER("fallback",
						     "use_original_dst: true, address: " ADDRESS(
							     "0.0.0.0", 15001) ",",
						     TCP("a")));
	listener_is("10.0.0.1", 80, "exact");
	listener_is("10.0.0.9", 80, "any");
	listener_is("fd00::9", 80, "any6");
	listener_is("10.0.0.9", 81, "both");
	listener_is("fd00::9", 81, "both");
	listener_is("10.0.0.2", 82, "more");
	listener_is("fd00::1", 83, "more");
	listener_is("10.0.0.1", 99, "fallback");
	conf_ok(&c, LISTENER("exact", AT_80, TCP("a")));
	listener_is("10.0.0.1", 99, NULL);
	/* zero but for one group: an address like any other */
	conf_ok(&c, LISTENER("odd", "address: " ADDRESS("::5:0:0:0", 80) ",", TCP("a")));
	listener_is("::5:0:0:0", 80, "odd");
	conf_ok(&c, LISTENER("odd", "address: " ADDRESS("::5:0:0", 80) ",", TCP("a")));
	listener_is("::5:0:0", 80, "odd");
	listener_is("fd00::1", 80, NULL);
	conf_close(&c);
}

static void test_inbound_is_kept_aside(void **state)
{
	(void)state;
	conf_noted(LISTENER("in", "traffic_direction: INBOUND, " AT_80, TCP("a")), "Listener/in",
		   "traffic_direction");
}

static void test_refused_places(void **state)
{
	(void)state;
	conf_refused(LISTENER("a", AT_80, TCP("c")) LISTENER("b", AT_80, TCP("c")), "Listener/b",
		     "address", "already used by listener a");
	conf_refused(LISTENER("a", "address: {pipe: {path: /x}},", TCP("c")), "Listener/a",
		     "address", "only TCP socket_address");
	conf_refused(LISTENER("a", "address: " ADDRESS("example.com", 80) ",", TCP("c")),
		     "Listener/a", "address", "IP address");
	conf_refused(LISTENER("a",
			      "address: {socket_address: {address: 10.0.0.1, named_port: http}},",
			      TCP("c")),
		     "Listener/a", "address.socket_address.named_port", "unsupported");
	conf_refused(LISTENER("a",
			      AT_80 "additional_addresses: [{address: {socket_address: {address: "
				    "10.0.0.2, port_value: 80, network_namespace_filepath: /x}}}],",
			      TCP("c")),
		     "Listener/a",
		     "additional_addresses[0].address.socket_address.network_namespace_filepath",
		     "unsupported");
	conf_refused(LISTENER("a", "use_original_dst: true, address: " ADDRESS("0.0.0.0", 1) ",",
			      TCP("c"))
			     LISTENER("b",
				      "use_original_dst: true, address: " ADDRESS("0.0.0.0", 2) ",",
				      TCP("c")),
		     "Listener/b", "use_original_dst", "a second listener");
}

static void test_chain_match(void **state)
{
	struct conf c;

	(void)state;
	conf_open(&c);
	conf_ok(&c,
		CHAINS(INSPECT_BOTH "default_filter_chain: {name: rest, filters: [" TCP("x") "]},",
		       CHAIN("web",
			     "transport_protocol: raw_buffer, application_protocols: [http/1.1, "
			     "h2c]",
			     HCM("", "", RDS)) CHAIN("raw", "transport_protocol: raw_buffer",
						     TCP("a"))
			       CHAIN("p443", "destination_port: 443", TCP("b")) CHAIN(
				       "t443", "destination_port: 443, transport_protocol: tls",
				       TCP("b"))
				       CHAIN("old",
					     "destination_port: 90, transport_protocol: "
					     "raw_buffer, application_protocols: [http/1.0]",
					     TCP("b"))));
	chain_is("1.1.1.1", 80, WEFT_PROTO_HTTP11, "web");
	chain_is("1.1.1.1", 80, WEFT_PROTO_H2C, "web");
	chain_is("1.1.1.1", 80, WEFT_PROTO_HTTP10, "raw");
	chain_is("1.1.1.1", 80, WEFT_PROTO_RAW, "raw");
	chain_is("1.1.1.1", 80, WEFT_PROTO_TLS, "rest");
	conf_close(&c);
}

/* Once a port has been matched there is no way back to chains for any port (FilterChainMatch). */
static void test_no_way_back(void **state)
{
	struct conf c;

	(void)state;
	conf_open(&c);
	conf_ok(&c,
		"- {" T("config.listener.v3.Listener") ", name: l, use_original_dst: true, "
						       "address: " ADDRESS(
							       "0.0.0.0",
							       15001) ", " INSPECT_BOTH
								      " filter_chains: [" CHAIN(
									      "any", "",
									      TCP("a")) CHAIN("t44"
											      "3",
											      "dest"
											      "inat"
											      "ion_"
											      "port"
											      ": "
											      "443,"
											      " tra"
											      "nspo"
											      "rt_"
											      "prot"
											      "ocol"
											      ": "
											      "tls",
											      TCP("b"))
									      CHAIN("p90",
										    "destination_"
										    "port: 90, "
										    "transport_"
										    "protocol: "
										    "raw_buffer, "
										    "application_"
										    "protocols: "
										    "[http/1.0]",
										    TCP("b")) "]}"
											      "\n");
	chain_is("1.1.1.1", 80, WEFT_PROTO_RAW, "any");
	chain_is("1.1.1.1", 443, WEFT_PROTO_TLS, "t443");
	chain_is("1.1.1.1", 443, WEFT_PROTO_RAW, "");
	chain_is("1.1.1.1", 90, WEFT_PROTO_HTTP10, "p90");
	chain_is("1.1.1.1", 90, WEFT_PROTO_HTTP11, "");
	conf_close(&c);
}

static void test_filters(void **state)
{
	(void)state;
	conf_refused(
		LISTENER("l", AT_80,
			 "{name: r, typed_config: {'@type': type.googleapis.com/foo.Bar}}, " TCP(
				 "a")),
		"Listener/l", "filter_chains[0].filters[0].typed_config", "foo.Bar");
	conf_refused(LISTENER("l", AT_80,
			      "{name: t, typed_config: {" TCP_TYPE
			      ", stat_prefix: s, cluster: a, hash_policy: [{source_ip: {}}]}}"),
		     "Listener/l", "filter_chains[0].filters[0].typed_config.hash_policy",
		     "unsupported");
	conf_refused(LISTENER("l", AT_80,
			      "{name: t, typed_config: {" TCP_TYPE
			      ", stat_prefix: s, cluster: a, tunneling_config: {hostname: a}}}"),
		     "Listener/l", "filter_chains[0].filters[0].typed_config.tunneling_config",
		     "unsupported");
	conf_refused(
		CHAINS("listener_filters: [{name: p, typed_config: {" T(
			       "extensions.filters.listener.proxy_protocol.v3.ProxyProtocol") "}}]"
											      ",",
		       CHAIN("a", "", TCP("a"))),
		"Listener/l", "listener_filters[0]", "proxy_protocol");
	conf_refused(CHAINS("", "{transport_socket: {name: tls, typed_config: {" T(
					"extensions."
					"transport_sockets."
					"tls.v3."
					"DownstreamTlsContex"
					"t") ", "
					     "common_tls_"
					     "context: {}}}, "
					     "filters: [" TCP("a") "]"
								   "}"),
		     "Listener/l", "filter_chains[0].transport_socket",
		     "unsupported: envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext");
	conf_noted(CHAINS("bind_to_port: false,", CHAIN("a", "", TCP("a"))), "Listener/l",
		   "bind_to_port");
}

static void test_connection_limits(void **state)
{
#define LIMIT(n)                                                                                   \
	"{name: l, typed_config: {" T("extensions.filters.network.local_ratelimit.v3."             \
				      "LocalRateLimit") ", stat_prefix: s, token_bucket: "         \
							"{max_tokens: " #n                         \
							", fill_interval: 1s}}}, "
	struct conf_req *q = calloc(1, sizeof(*q));
	const struct weft_img_bucket *b;
	const struct weft_img_chain *chain;
	struct conf c;

	(void)state;
	assert_non_null(q);
	conf_open(&c);
	conf_ok(&c, LISTENER("l", AT_80, LIMIT(3) LIMIT(4) TCP("a")));
	conf_connect(q, "10.0.0.1", 80);
	assert_int_equal(weft_listener_find(&q->ctx), 0);
	chain = weft_img_at(weft_chain_find(&q->ctx, WEFT_PROTO_RAW));
	assert_int_equal(chain->n_conn_limit, 2);
	b = weft_img_at(chain->conn_limit[1]);
	assert_int_equal(b->max_tokens, 4);
	assert_int_equal(b->cost, 16000000000ull);
	assert_int_equal(b->full, 4 * b->cost);
	assert_int_equal(WEFT_ID_KIND(b->cell), WEFT_CELL_BUCKET);
	assert_int_not_equal(
		b->cell, ((const struct weft_img_bucket *)weft_img_at(chain->conn_limit[0]))->cell);
	free(q);
	conf_close(&c);
	conf_refused(LISTENER("l", AT_80, LIMIT(1) LIMIT(2) LIMIT(3) LIMIT(4) LIMIT(5) TCP("a")),
		     "Listener/l", "filter_chains[0].filters[4].typed_config",
		     "more than 4 local rate limits");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_places),
		cmocka_unit_test(test_inbound_is_kept_aside),
		cmocka_unit_test(test_refused_places),
		cmocka_unit_test(test_chain_match),
		cmocka_unit_test(test_no_way_back),
		cmocka_unit_test(test_filters),
		cmocka_unit_test(test_connection_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
