// SPDX-License-Identifier: Apache-2.0
#include "agent/compile/dns.h"
#include "test/unit/compile_fixture.h"

#define AT(name)                                                                                   \
	"load_assignment: {cluster_name: c, endpoints: [{lb_endpoints: [" ENDPOINT(name, 80) "]}]}"
#define STRICT(more) CLUSTER("c", "type: STRICT_DNS, " more AT("a.example"))
#define CARES(more)                                                                                \
	"typed_dns_resolver_config: {name: r, typed_config: {" T(                                  \
		"extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig") more "}}"
#define EXT(more)                                                                                  \
	"cluster_type: {name: envoy.clusters.dns, typed_config: {" T(                              \
		"extensions.clusters.dns.v3.DnsCluster") more "}}, "
#define SERVER(ip, port) "{socket_address: {address: '" ip "', port_value: " #port "}}"

/* What the one cluster of the configuration says; it must be accepted. */
static struct weft_dns_conf conf_of(const char *yaml)
{
	struct weft_diag diag = WEFT_DIAG_INIT;
	struct weft_build b = {.resource = (char *)(uintptr_t) "Cluster/c", .diag = &diag};
	struct weft_snapshot *s = NULL;
	struct weft_dns_conf conf;

	assert_int_equal(conf_load(yaml, &diag, &s), 0);
	weft_build_dns(&b, (const void *)weft_snapshot_at(s, WEFT_XDS_CLUSTER, 0)->msg, &conf);
	for (size_t i = 0; i < diag.n; i++)
		print_message("%s: %s\n", diag.entries[i].field, diag.entries[i].reason);
	assert_int_equal(b.err, 0);
	weft_diag_clear(&diag);
	weft_snapshot_free(s);
	return conf;
}

static void test_defaults(void **state)
{
	static const char *const clusters[] = {STRICT(""), CLUSTER("c", EXT("") AT("a.example"))};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct weft_dns_conf c = conf_of(clusters[i]);

		assert_int_equal(c.family, WEFT_DNS_AUTO);
		assert_false(c.logical);
		assert_false(c.respect_ttl);
		assert_true(c.wait_for_warm);
		assert_int_equal(c.refresh_ms, 5000);
		assert_int_equal(c.jitter_ms, 0);
		assert_int_equal(c.failure_base_ms, 0);
		assert_int_equal(c.min_refresh_ms, 0);
		assert_null(c.servers.list);
		assert_int_equal(c.servers.timeout_ms, 5000);
		assert_int_equal(c.servers.tries, 4);
		assert_int_equal(c.servers.edns_size, 0);
		assert_false(c.servers.fallback || c.servers.tcp || c.servers.no_search ||
			     c.servers.rotate);
	}
}

static void test_families(void **state)
{
	static const struct {
		const char *name;
		enum weft_dns_family family;
	} v[] = {{"AUTO", WEFT_DNS_AUTO},
		 {"V4_ONLY", WEFT_DNS_V4_ONLY},
		 {"V6_ONLY", WEFT_DNS_V6_ONLY},
		 {"V4_PREFERRED", WEFT_DNS_V4_PREFERRED},
		 {"ALL", WEFT_DNS_ALL}};

	(void)state;
	for (size_t i = 0; i < sizeof(v) / sizeof(*v); i++) {
		char text[2048];

		snprintf(text, sizeof(text), CLUSTER("c", "type: STRICT_DNS, dns_lookup_family: %s"),
			 v[i].name);
		assert_int_equal(conf_of(text).family, v[i].family);
		snprintf(text, sizeof(text), CLUSTER("c", EXT(", dns_lookup_family: %s")), v[i].name);
		assert_int_equal(conf_of(text).family, v[i].family);
	}
}

#define TIMES                                                                                      \
	"dns_refresh_rate: 7s, dns_jitter: 0.5s, respect_dns_ttl: true, dns_failure_refresh_rate: "
static void test_times(void **state)
{
	struct weft_dns_conf c;

	(void)state;
	c = conf_of(STRICT(TIMES "{base_interval: 2s, max_interval: 3s}, wait_for_warm_on_init: false, "));
	assert_int_equal(c.refresh_ms, 7000);
	assert_int_equal(c.jitter_ms, 500);
	assert_true(c.respect_ttl);
	assert_int_equal(c.failure_base_ms, 2000);
	assert_int_equal(c.failure_max_ms, 3000);
	assert_false(c.wait_for_warm);
	c = conf_of(STRICT(TIMES "{base_interval: 2s}, "));
	assert_int_equal(c.failure_max_ms, 20000);
	c = conf_of(CLUSTER("c", EXT(", " TIMES "{base_interval: 2s}, dns_min_refresh_rate: 4s")));
	assert_int_equal(c.refresh_ms, 7000);
	assert_int_equal(c.min_refresh_ms, 4000);
	assert_int_equal(c.failure_base_ms, 2000);
	conf_refused(STRICT("dns_failure_refresh_rate: {base_interval: 2s, max_interval: 1s}, "),
		     "Cluster/c", "dns_failure_refresh_rate", "max_interval is below base_interval");
	conf_refused(CLUSTER("c", EXT(", dns_failure_refresh_rate: {base_interval: 2s, max_interval: 1s}")),
		     "Cluster/c", "cluster_type.typed_config.dns_failure_refresh_rate",
		     "max_interval is below base_interval");
}

static void test_servers(void **state)
{
	struct weft_dns_conf c;

	(void)state;
	c = conf_of(STRICT(CARES(", resolvers: [" SERVER("127.0.0.1", 53) ", " SERVER("::1", 0)
				 "], use_resolvers_as_fallback: true, rotate_nameservers: true, "
				 "query_timeout_seconds: 2, query_tries: 3, edns0_max_payload_size: 1232, "
				 "reinit_channel_on_timeout: true, dns_resolver_options: "
				 "{use_tcp_for_dns_lookups: true, no_default_search_domain: true}") ", "));
	assert_string_equal(c.servers.list, "127.0.0.1:53,[::1]:0");
	assert_true(c.servers.fallback && c.servers.tcp && c.servers.no_search && c.servers.rotate);
	assert_int_equal(c.servers.timeout_ms, 2000);
	assert_int_equal(c.servers.tries, 3);
	assert_int_equal(c.servers.edns_size, 1232);
	weft_dns_conf_clear(&c);
	/* the deprecated forms, and whose word counts */
	c = conf_of(STRICT("dns_resolvers: [" SERVER("127.0.0.2", 53) "], use_tcp_for_dns_lookups: true, "));
	assert_string_equal(c.servers.list, "127.0.0.2:53");
	assert_true(c.servers.tcp);
	weft_dns_conf_clear(&c);
	c = conf_of(STRICT("dns_resolvers: [" SERVER("127.0.0.2", 53) "], use_tcp_for_dns_lookups: true, "
			   "dns_resolution_config: {resolvers: [" SERVER("127.0.0.3", 53) "]}, "));
	assert_string_equal(c.servers.list, "127.0.0.3:53");
	assert_false(c.servers.tcp);
	weft_dns_conf_clear(&c);
	c = conf_of(STRICT("dns_resolution_config: {resolvers: [" SERVER("127.0.0.3", 53) "]}, " CARES("") ", "));
	assert_null(c.servers.list);
	/* of the extension only its own */
	c = conf_of(CLUSTER("c", EXT(", " CARES(", resolvers: [" SERVER("127.0.0.4", 53) "]"))
			    "dns_refresh_rate: 9s, dns_resolvers: [" SERVER("127.0.0.2", 53) "]"));
	assert_string_equal(c.servers.list, "127.0.0.4:53");
	assert_int_equal(c.refresh_ms, 5000);
	weft_dns_conf_clear(&c);
}

#define TYPED "typed_dns_resolver_config.typed_config"
static void test_servers_refused(void **state)
{
	static const char *const fields[][2] = {
		{"filter_unroutable_families: true", TYPED ".filter_unroutable_families"},
		{"max_udp_channel_duration: 1s", TYPED ".max_udp_channel_duration"},
		{"qcache_max_ttl: 5", TYPED ".qcache_max_ttl"},
	};
	char text[2048];

	(void)state;
	for (size_t i = 0; i < sizeof(fields) / sizeof(*fields); i++) {
		snprintf(text, sizeof(text), STRICT(CARES(", %s") ", "), fields[i][0]);
		conf_refused(text, "Cluster/c", fields[i][1], "unsupported");
	}
	conf_refused(STRICT(CARES(", query_timeout_seconds: 0") ", "), "Cluster/c",
		     TYPED ".query_timeout_seconds", "must be between 1 and 3600");
	conf_refused(STRICT(CARES(", query_timeout_seconds: 3601") ", "), "Cluster/c",
		     TYPED ".query_timeout_seconds", "must be between 1 and 3600");
	conf_refused(STRICT(CARES(", query_tries: 0") ", "), "Cluster/c", TYPED ".query_tries",
		     "must be between 1 and 100");
	conf_refused(STRICT(CARES(", query_tries: 101") ", "), "Cluster/c", TYPED ".query_tries",
		     "must be between 1 and 100");
	conf_refused(STRICT(CARES(", edns0_max_payload_size: 511") ", "), "Cluster/c",
		     TYPED ".edns0_max_payload_size", "must be between 512 and 4096");
	conf_refused(STRICT(CARES(", edns0_max_payload_size: 4097") ", "), "Cluster/c",
		     TYPED ".edns0_max_payload_size", "must be between 512 and 4096");
	conf_refused(STRICT(CARES(", resolvers: [" SERVER("dns.example", 53) "]") ", "), "Cluster/c",
		     TYPED ".resolvers[0]", "\"dns.example\" is not an IP address");
	conf_refused(STRICT(CARES(", resolvers: [{pipe: {path: /x}}]") ", "), "Cluster/c",
		     TYPED ".resolvers[0]", "a resolver must be a socket_address");
	conf_refused(STRICT("dns_resolvers: [" SERVER("dns.example", 53) "], "), "Cluster/c",
		     "dns_resolvers[0]", "\"dns.example\" is not an IP address");
	conf_refused(STRICT("typed_dns_resolver_config: {name: r, typed_config: {" T(
			     "extensions.transport_sockets.raw_buffer.v3.RawBuffer") "}}, "),
		     "Cluster/c", TYPED,
		     "unsupported: envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer");
}

static void test_logical(void **state)
{
	(void)state;
	assert_true(conf_of(CLUSTER("c", "type: LOGICAL_DNS, " AT("a.example"))).logical);
	assert_true(conf_of(CLUSTER("c", EXT(", all_addresses_in_single_endpoint: true")
					 AT("a.example")))
			    .logical);
	conf_refused(CLUSTER("c", "type: LOGICAL_DNS"), "Cluster/c", "load_assignment",
		     "LOGICAL_DNS needs one endpoint");
	conf_refused(CLUSTER("c", EXT(", all_addresses_in_single_endpoint: true")), "Cluster/c",
		     "load_assignment", "LOGICAL_DNS needs exactly one locality with one endpoint");
	conf_refused(CLUSTER("c", EXT(", all_addresses_in_single_endpoint: true")
			     "load_assignment: {cluster_name: c, endpoints: [{lb_endpoints: [" ENDPOINT(
				     "a.example", 1) ", " ENDPOINT("b.example", 1) "]}]}"),
		     "Cluster/c", "load_assignment",
		     "LOGICAL_DNS needs exactly one locality with one endpoint");
}

/* In the words of the image: "address:port ..." of cluster c. */
static char *hosts(const struct conf *c)
{
	json_t *list = weft_image_json_view(c->store, 0, "endpoints"), *e;
	char *text = calloc(1, 4096);
	size_t i;

	assert_non_null(text);
	json_array_foreach(json_object_get(json_array_get(list, 0), "endpoints"), i, e)
	{
		strcat(text, i ? " " : "");
		strcat(text, json_string_value(json_object_get(e, "address")));
	}
	json_decref(list);
	return text;
}

static void assert_hosts(const struct conf *c, const char *want)
{
	char *text = hosts(c);

	assert_string_equal(text, want);
	free(text);
}

static void test_names_stand_without_a_resolver(void **state)
{
	struct conf c;

	(void)state;
	conf_open(&c);
	conf_ok(&c, CLUSTER("c", "type: STRICT_DNS, load_assignment: {cluster_name: c, endpoints: "
				 "[{lb_endpoints: [" ENDPOINT("a.example", 80) ", " ENDPOINT(
					 "10.0.0.1", 81) ", " ENDPOINT("a.example", 80) "]}]}"));
	assert_hosts(&c, "unresolved a.example:80 10.0.0.1:81 unresolved a.example:80");
	/* an IPv6 literal is none where only IPv4 is wanted */
	conf_ok(&c, CLUSTER("c", "type: STRICT_DNS, dns_lookup_family: V4_ONLY, " AT("::1")));
	assert_hosts(&c, "");
	conf_ok(&c, CLUSTER("c", "type: STRICT_DNS, dns_lookup_family: V6_ONLY, " AT("10.0.0.1")));
	assert_hosts(&c, "10.0.0.1:80");
	conf_close(&c);
	/* only where names may be */
	conf_refused(CLUSTER("c", "type: STATIC, " AT("a.example")), "Cluster/c",
		     "load_assignment.endpoints[0].lb_endpoints[0]",
		     "address \"a.example\" is no IP address, and only STRICT_DNS and LOGICAL_DNS "
		     "resolve names");
}

#define NAMES                                                                                      \
	CLUSTER("c", "type: STRICT_DNS, load_assignment: {cluster_name: c, endpoints: "            \
		     "[{lb_endpoints: [" ENDPOINT("a.example", 80) ", " ENDPOINT("b.example", 80) "]}]}")

static void publish(struct conf *c, const struct weft_snapshot *resolved)
{
	const struct weft_view_input in = {.snapshot = c->snapshot, .resolved = resolved};

	assert_int_equal(weft_compiler_publish(c->compiler, &in, 1, &c->diag), 0);
}

/* Two names may have one address: two hosts. Another content of the cluster has no addresses. */
static void test_resolved(void **state)
{
	struct weft_snapshot *resolved = NULL, *found = NULL;
	struct weft_resource *r;
	char text[2048], *name;
	struct conf c;

	(void)state;
	conf_open(&c);
	conf_ok(&c, NAMES);
	assert_int_equal(weft_snapshot_new(&resolved), 0);
	publish(&c, resolved);
	assert_hosts(&c, "");
	name = weft_resolved_name(weft_snapshot_at(c.snapshot, WEFT_XDS_CLUSTER, 0));
	snprintf(text, sizeof(text),
		 "- {" T("config.endpoint.v3.ClusterLoadAssignment") ", cluster_name: '%s', "
		 "endpoints: [{lb_endpoints: [" ENDPOINT("10.0.0.1", 80) ", " ENDPOINT("10.0.0.1", 80) "]}]}", name);
	assert_int_equal(conf_load(text, &c.diag, &found), 0);
	r = weft_snapshot_at(found, WEFT_XDS_ENDPOINT, 0);
	assert_int_equal(weft_snapshot_put(resolved, r), 0);
	publish(&c, resolved);
	assert_hosts(&c, "10.0.0.1:80 10.0.0.1:80");
	assert_int_equal(weft_snapshot_del(resolved, WEFT_XDS_ENDPOINT, name), 0);
	publish(&c, resolved);
	assert_hosts(&c, "");
	free(name);
	weft_snapshot_free(found);
	weft_snapshot_free(resolved);
	conf_close(&c);
}

static void test_is(void **state)
{
	static const struct {
		const char *yaml;
		bool dns;
	} v[] = {
		{CLUSTER("c", "type: STATIC"), false},
		{CLUSTER("c", "type: EDS, eds_cluster_config: {eds_config: {ads: {}}}"), false},
		{CLUSTER("c", "type: STRICT_DNS"), true},
		{CLUSTER("c", "type: LOGICAL_DNS, " AT("a.example")), true},
		{CLUSTER("c", EXT("")), true},
		{CLUSTER("c", EXT(", all_addresses_in_single_endpoint: true")), true},
		{CLUSTER("c", "cluster_type: {name: envoy.clusters.redis}"), false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(v) / sizeof(*v); i++) {
		struct weft_snapshot *s = NULL;
		const void *k;

		assert_int_equal(conf_load(v[i].yaml, NULL, &s), 0);
		k = weft_snapshot_at(s, WEFT_XDS_CLUSTER, 0)->msg;
		assert_int_equal(weft_dns_is(k), v[i].dns);
		weft_snapshot_free(s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_families),
		cmocka_unit_test(test_times),
		cmocka_unit_test(test_servers),
		cmocka_unit_test(test_servers_refused),
		cmocka_unit_test(test_logical),
		cmocka_unit_test(test_names_stand_without_a_resolver),
		cmocka_unit_test(test_resolved),
		cmocka_unit_test(test_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
