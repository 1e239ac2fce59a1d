// SPDX-License-Identifier: Apache-2.0
/* HealthCheck: what it becomes, what is refused, and what marks make of hosts. */
#include "compile_fixture.h"

#include "agent/compile/health.h"

#define TIMES "timeout: 1s, interval: 2s, unhealthy_threshold: 3, healthy_threshold: 4"
#define HOSTS "load_assignment: {cluster_name: c, endpoints: [{lb_endpoints: ["
#define C(check)                                                                                   \
	CLUSTER("c", "type: STATIC, " HOSTS ENDPOINT(                                              \
			     "10.0.0.1", 80) "]}]}, health_checks: [{" TIMES ", " check "}]")
#define H "health_checks[0]"
#define HTTP(more) "http_health_check: {path: /h" more "}"

static struct weft_health_conf conf;

static void take(const char *yaml)
{
	struct weft_build b = {.resource = (char *)(uintptr_t) "Cluster/c"};
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;
	struct weft_snapshot *s = NULL;

	weft_health_conf_clear(&conf);
	assert_int_equal(conf_load(yaml, &diag, &s), 0);
	weft_build_health(&b, (const void *)weft_snapshot_at(s, WEFT_XDS_CLUSTER, 0)->msg, &conf);
	assert_int_equal(b.err, 0);
	weft_snapshot_free(s);
}

static void test_times(void **state)
{
	(void)state;
	take(C("tcp_health_check: {}"));
	assert_int_equal(conf.timeout_ms, 1000);
	assert_int_equal(conf.interval_ms, 2000);
	assert_int_equal(conf.unhealthy_threshold, 3);
	assert_int_equal(conf.healthy_threshold, 4);
	assert_int_equal(conf.no_traffic_ms, 60000);
	assert_int_equal(conf.no_traffic_healthy_ms, 60000);
	assert_int_equal(conf.unhealthy_ms, 2000);
	assert_int_equal(conf.unhealthy_edge_ms, 2000);
	assert_int_equal(conf.healthy_edge_ms, 2000);
	assert_true(conf.reuse);
	assert_false(conf.exclude_new);
	take(C("tcp_health_check: {}, no_traffic_interval: 5s, unhealthy_interval: 6s, "
	       "reuse_connection: false, interval_jitter: 7s, interval_jitter_percent: 8, "
	       "initial_jitter: 9s"));
	assert_int_equal(conf.no_traffic_healthy_ms, 5000);
	assert_int_equal(conf.unhealthy_edge_ms, 6000);
	assert_false(conf.reuse);
	assert_int_equal(conf.interval_jitter_ms, 7000);
	assert_int_equal(conf.interval_jitter_percent, 8);
	assert_int_equal(conf.initial_jitter_ms, 9000);
	take(C("tcp_health_check: {}, no_traffic_healthy_interval: 5s, unhealthy_edge_interval: "
	       "6s, "
	       "healthy_edge_interval: 7s"));
	assert_int_equal(conf.no_traffic_healthy_ms, 5000);
	assert_int_equal(conf.unhealthy_edge_ms, 6000);
	assert_int_equal(conf.healthy_edge_ms, 7000);
}

static void header_is(size_t i, const char *name, const char *value)
{
	assert_true(i < conf.n_header);
	assert_string_equal(conf.header[i].name, name);
	assert_string_equal(conf.header[i].value, value);
}

/* As Envoy 1.40 sends them. */
static void test_http(void **state)
{
	(void)state;
	take(C(HTTP(
		", method: POST, send: {text: '6162'}, receive: [{text: '6F6b'}, {binary: eHl6}], "
		"request_headers_to_add: [{header: {key: X-A, value: '%PROTOCOL% 100%%'}}, "
		"{header: {key: user-agent, value: z}}, {header: {key: x-empty, value: ''}}, "
		"{header: {key: x-a, value: b}, append_action: ADD_IF_ABSENT}, "
		"{header: {key: x-b, value: b}, append_action: OVERWRITE_IF_EXISTS}]")));
	assert_int_equal(conf.n_header, 2);
	header_is(0, "user-agent", "Envoy/HC,z");
	header_is(1, "x-a", "HTTP/1.1 100%");
	assert_string_equal(conf.method, "POST");
	assert_int_equal(conf.send.n, 2);
	assert_memory_equal(conf.send.v, "ab", 2);
	assert_int_equal(conf.n_receive, 2);
	assert_memory_equal(conf.receive[0].v, "ok", 2);
	assert_memory_equal(conf.receive[1].v, "xyz", 3);
	assert_int_equal(conf.body_max, 1024);
	assert_int_equal(conf.n_expected, 1);
	assert_int_equal(conf.expected[0].from, 200);
	assert_int_equal(conf.expected[0].end, 201);
	take(C(HTTP(", codec_client_type: HTTP2, request_headers_to_remove: [User-Agent], "
		    "expected_statuses: [{start: 100, end: 600}], "
		    "retriable_statuses: [{start: 300, end: 301}], response_buffer_size: 0")));
	assert_true(conf.http2);
	assert_int_equal(conf.n_header, 0);
	assert_int_equal(conf.expected[0].end, 600);
	assert_int_equal(conf.n_retriable, 1);
	assert_int_equal(conf.body_max, 0);
}

static bool service(const char *value)
{
	return weft_health_service_matches(&conf, value, strlen(value));
}

static void test_service(void **state)
{
	(void)state;
	take(C(HTTP(", service_name_matcher: {exact: Abc}")));
	assert_true(service("Abc"));
	assert_false(service("abc") || service("Abcd") || service(""));
	take(C(HTTP(", service_name_matcher: {prefix: Abc, ignore_case: true}")));
	assert_true(service("aBcd"));
	assert_false(service("xabc") || service("ab"));
	take(C(HTTP(", service_name_matcher: {suffix: bc}")));
	assert_true(service("abc"));
	assert_false(service("bcd") || service("c"));
	take(C(HTTP(", service_name_matcher: {contains: b}")));
	assert_true(service("abc"));
	assert_false(service("aBc"));
	take(C(HTTP(", service_name_matcher: {safe_regex: {regex: 'a.*c'}}")));
	assert_true(service("abbc"));
	assert_false(service("xabbc") || service("abbcx"));
}

static void test_refused(void **state)
{
	(void)state;
	conf_refused(C("custom_health_check: {name: redis}"), "Cluster/c", H ".custom_health_check",
		     "unsupported");
	conf_refused(C(HTTP(", service_name_matcher: {custom: {name: a, typed_config: {" T(
			     "type.v3.Int64Range") "}}}")),
		     "Cluster/c", H ".http_health_check.service_name_matcher",
		     "a matcher of another kind");
	conf_refused(
		CLUSTER("c", "type: STATIC, " HOSTS "{endpoint: {address: " ADDRESS(
				     "10.0.0.1", 80) ", health_check_config: {address: {pipe: "
						     "{path: /x}}}}}]}]}, health_checks: "
						     "[{" TIMES ", tcp_health_check: {}}]"),
		"Cluster/c",
		"load_assignment.endpoints[0].lb_endpoints[0].endpoint.health_check_config.address",
		"unsupported");
	conf_refused(C("grpc_health_check: {}"), "Cluster/c", H ".grpc_health_check",
		     "must support HTTP/2");
	conf_refused(C("tcp_health_check: {send: {text: 'abc'}}"), "Cluster/c",
		     H ".tcp_health_check.send.text", "invalid hex string 'abc'");
	conf_refused(C("tcp_health_check: {receive: [{text: 'zz'}]}"), "Cluster/c",
		     H ".tcp_health_check.receive[0].text", "invalid hex string 'zz'");
	conf_refused(C("tcp_health_check: {proxy_protocol_config: {}}"), "Cluster/c",
		     H ".tcp_health_check.proxy_protocol_config", "unsupported");
	conf_refused(C(HTTP(", send: {text: '61'}")), "Cluster/c", H ".http_health_check.send",
		     "method GET has no payload");
	conf_refused(C(HTTP(", codec_client_type: HTTP3")), "Cluster/c",
		     H ".http_health_check.codec_client_type", "HTTP/3");
	conf_refused(C(HTTP(", expected_statuses: [{start: 200, end: 200}]")), "Cluster/c",
		     H ".http_health_check.expected_statuses[0]", "not empty");
	conf_refused(C(HTTP(", retriable_statuses: [{start: 99, end: 200}]")), "Cluster/c",
		     H ".http_health_check.retriable_statuses[0]", "within 100 and 600");
	conf_refused(C(HTTP(", retriable_statuses: [{start: 200, end: 601}]")), "Cluster/c",
		     H ".http_health_check.retriable_statuses[0]", "within 100 and 600");
	conf_refused(C(HTTP(", response_buffer_size: 1, receive: [{text: '6162'}]")), "Cluster/c",
		     H ".http_health_check.receive", "more than response_buffer_size");
	conf_refused(C(HTTP(", request_headers_to_remove: [Host]")), "Cluster/c",
		     H ".http_health_check.request_headers_to_remove[0]", "must not be removed");
	conf_refused(C(HTTP(", request_headers_to_add: [{header: {key: ':path', value: /x}}]")),
		     "Cluster/c", H ".http_health_check.request_headers_to_add[0]",
		     "must not be changed");
	conf_refused(
		C(HTTP(", request_headers_to_add: [{header: {key: a, value: '%START_TIME%'}}]")),
		"Cluster/c", H ".http_health_check.request_headers_to_add[0].header.value",
		"unsupported in a health check: %START_TIME%");
	conf_refused(CLUSTER("c", "type: STATIC, " HOSTS "]}]}, health_checks: [{" TIMES
				  ", tcp_health_check: {}}, {" TIMES ", tcp_health_check: {}}]"),
		     "Cluster/c", "health_checks", "unsupported: several");
	conf_refused(CLUSTER("c",
			     "type: STATIC, close_connections_on_host_health_failure: true, " HOSTS
			     "]}]}, health_checks: [{" TIMES ", tcp_health_check: {}}]"),
		     "Cluster/c", "close_connections_on_host_health_failure",
		     "unsupported with health_checks");
	conf_refused(CLUSTER("c", "type: STATIC, " HOSTS "{endpoint: {address: " ADDRESS(
					  "10.0.0.1",
					  80) ", "
					      "health_check_config: {address: " ADDRESS(
						      "name", 80) "}}}]}]}, health_checks: [{" TIMES
								  ", tcp_health_check: {}}]"),
		     "Cluster/c",
		     "load_assignment.endpoints[0].lb_endpoints[0].endpoint.health_check_config.address",
		     "\"name\" is not an IP address");
}

#define TLS_SOCKET                                                                                 \
	"transport_socket: {name: tls, typed_config: {" T(                                         \
		"extensions.transport_sockets.tls.v3.UpstreamTlsContext") "}}"

static void test_transport(void **state)
{
	(void)state;
	conf_refused(CLUSTER("c",
			     "type: STATIC, transport_socket_matches: [{name: m, match: {a: "
			     "b}, " TLS_SOCKET "}], " HOSTS "]}]}, health_checks: [{" TIMES
			     ", tcp_health_check: {}, transport_socket_match_criteria: {a: b}}]"),
		     "Cluster/c", H ".transport_socket_match_criteria",
		     "transport socket match \"m\" is");
}

static void test_without_effect(void **state)
{
	(void)state;
	conf_noted(C("tcp_health_check: {}, alt_port: 81"), "Cluster/c", H ".alt_port");
	conf_noted(C("tcp_health_check: {}, tls_options: {alpn_protocols: [h2]}"), "Cluster/c",
		   H ".tls_options");
	conf_noted(C("tcp_health_check: {}, event_log_path: /x"), "Cluster/c", H ".event_log_path");
	conf_noted(C("tcp_health_check: {send: {binary: eHl6}}"), "Cluster/c",
		   H ".tcp_health_check.send.binary");
	conf_noted(
		CLUSTER("c",
			"type: ORIGINAL_DST, lb_policy: CLUSTER_PROVIDED, health_checks: [{" TIMES
			", tcp_health_check: {}}]"),
		"Cluster/c", "health_checks");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_times),	  cmocka_unit_test(test_http),
		cmocka_unit_test(test_service),	  cmocka_unit_test(test_refused),
		cmocka_unit_test(test_transport), cmocka_unit_test(test_without_effect),
	};
	int r = cmocka_run_group_tests(tests, NULL, NULL);

	weft_health_conf_clear(&conf);
	return r;
}
