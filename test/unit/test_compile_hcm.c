// SPDX-License-Identifier: Apache-2.0
/* HttpConnectionManager: fields, filters, upgrades. */
#include "test/unit/compile_fixture.h"

#define CONF(more) LISTENER("l", AT_80, HCM(more ",", "", RDS))
#define WITH(filters) LISTENER("l", AT_80, HCM("", filters, RDS))
#define F "filter_chains[0].filters[0].typed_config."

static void test_defaults(void **state)
{
	const struct weft_img_hcm *h;
	struct conf c;

	(void)state;
	conf_open(&c);
	h = conf_hcm(&c, LISTENER_80);
	assert_int_equal(h->flags, WEFT_HCM_GENERATE_REQUEST_ID);
	assert_int_equal(h->max_head, 60 * 1024);
	assert_int_equal(h->max_headers, 100);
	assert_int_equal(h->stream_idle_ms, 300000);
	assert_int_equal(h->request_ms, 0);
	assert_int_equal(h->idle_ms, 3600000);
	assert_int_equal(h->delayed_close_ms, 1000);
	assert_int_equal(h->drain_ms, 5000);
	assert_int_equal(h->n_filter, 0);
	for (int i = 0; i < WEFT_REPLY__MAX; i++)
		assert_int_not_equal(h->reply[i], 0);
	conf_close(&c);
}

static void test_http2(void **state)
{
	const struct weft_img_h2 *o;
	struct conf c;

	(void)state;
	conf_open(&c);
	o = &conf_hcm(&c, LISTENER_80)->h2;
	assert_int_equal(o->codec, WEFT_CODEC_AUTO);
	assert_int_equal(o->stream_error, 0);
	assert_int_equal(o->streams, 1024);
	assert_int_equal(o->table, 4096);
	assert_int_equal(o->outbound, 10000);
	assert_int_equal(o->control, 1000);
	assert_int_equal(o->empty, 1);
	assert_int_equal(o->priority, 100);
	assert_int_equal(o->updates, 10);
	conf_close(&c);
	conf_open(&c);
	o = &conf_hcm(&c, CONF("codec_type: HTTP1, http2_protocol_options: "
			       "{stream_error_on_invalid_http_messaging: true, "
			       "override_stream_error_on_invalid_http_message: false}"))
		     ->h2;
	assert_int_equal(o->codec, WEFT_CODEC_HTTP1);
	assert_int_equal(o->stream_error, 0);
	conf_close(&c);
	conf_open(&c);
	o = &conf_hcm(&c, CONF("codec_type: HTTP2, http2_protocol_options: {hpack_table_size: 1, "
			       "override_stream_error_on_invalid_http_message: true, "
			       "max_concurrent_streams: 2, initial_stream_window_size: 65536, "
			       "initial_connection_window_size: 65537, max_outbound_frames: 5, "
			       "max_outbound_control_frames: 6, "
			       "max_consecutive_inbound_frames_with_empty_payload: 0, "
			       "max_inbound_priority_frames_per_stream: 8, "
			       "max_inbound_window_update_frames_per_data_frame_sent: 9, "
			       "connection_keepalive: {interval: 10s, timeout: 3s}}"))
		     ->h2;
	assert_int_equal(o->codec, WEFT_CODEC_HTTP2);
	assert_int_equal(o->stream_error, 1);
	assert_int_equal(o->table, 1);
	assert_int_equal(o->streams, 2);
	assert_int_equal(o->window, 65536);
	assert_int_equal(o->session_window, 65537);
	assert_int_equal(o->outbound, 5);
	assert_int_equal(o->control, 6);
	assert_int_equal(o->empty, 0);
	assert_int_equal(o->priority, 8);
	assert_int_equal(o->updates, 9);
	assert_int_equal(o->ping_ms, 10000);
	assert_int_equal(o->ping_timeout_ms, 3000);
	assert_int_equal(o->ping_jitter_ms, 1500);
	assert_int_equal(o->ping_idle_ms, 0);
	conf_close(&c);
}

static void flags_are(const char *more, __u32 want)
{
	char yaml[4096];
	struct conf c;

	snprintf(yaml, sizeof(yaml), LISTENER("l", AT_80, HCM("%s,", "", RDS)), more);
	conf_open(&c);
	if (conf_hcm(&c, yaml)->flags != want)
		fail_msg("%s: flags %x, not %x", more, conf_hcm(&c, yaml)->flags, want);
	conf_close(&c);
}

static void test_flags(void **state)
{
	const __u32 id = WEFT_HCM_GENERATE_REQUEST_ID;

	flags_are("codec_type: HTTP1", id);
	flags_are("codec_type: HTTP2", id | WEFT_HCM_PREPARED);

	(void)state;
	flags_are("generate_request_id: false", 0);
	flags_are("normalize_path: true", id | WEFT_HCM_NORMALIZE_PATH);
	flags_are("path_with_escaped_slashes_action: IMPLEMENTATION_SPECIFIC_DEFAULT", id);
	flags_are("path_with_escaped_slashes_action: KEEP_UNCHANGED", id);
	flags_are("path_with_escaped_slashes_action: REJECT_REQUEST", id | WEFT_HCM_SLASHES_REJECT);
	flags_are("path_with_escaped_slashes_action: UNESCAPE_AND_REDIRECT", id | WEFT_HCM_SLASHES_REDIRECT);
	flags_are("path_with_escaped_slashes_action: UNESCAPE_AND_FORWARD", id | WEFT_HCM_SLASHES_FORWARD);
	flags_are("merge_slashes: true", id | WEFT_HCM_MERGE_SLASHES);
	flags_are("strip_any_host_port: true", id | WEFT_HCM_STRIP_ANY_PORT);
	flags_are("strip_matching_host_port: true", id | WEFT_HCM_STRIP_MATCHING_PORT);
	flags_are("strip_trailing_host_dot: true", id | WEFT_HCM_STRIP_TRAILING_DOT);
	flags_are("preserve_external_request_id: true", id | WEFT_HCM_PRESERVE_REQUEST_ID);
	flags_are("proxy_100_continue: true", id | WEFT_HCM_PROXY_100_CONTINUE);
	flags_are("always_set_request_id_in_response: true",
		  id | WEFT_HCM_REQUEST_ID_IN_RESPONSE | WEFT_HCM_PREPARED);
	flags_are("use_remote_address: true",
		  id | WEFT_HCM_USE_REMOTE_ADDRESS | WEFT_HCM_OWN_PROTO);
	flags_are("use_remote_address: true, xff_num_trusted_hops: 1", id | WEFT_HCM_USE_REMOTE_ADDRESS);
	flags_are("xff_num_trusted_hops: 1, skip_xff_append: true", id | WEFT_HCM_SKIP_XFF_APPEND);
	flags_are("append_x_forwarded_port: true", id | WEFT_HCM_APPEND_PORT);
	flags_are("internal_address_config: {unix_sockets: true}", id);
	flags_are("forward_client_cert_details: APPEND_FORWARD", id);
	flags_are("forward_client_cert_details: ALWAYS_FORWARD_ONLY", id | WEFT_HCM_FORWARD_CERT);
	flags_are("scheme_header_transformation: {scheme_to_overwrite: http}",
		  id | WEFT_HCM_SCHEME_HTTP | WEFT_HCM_PREPARED);
	flags_are("scheme_header_transformation: {scheme_to_overwrite: https}",
		  id | WEFT_HCM_SCHEME_HTTPS | WEFT_HCM_PREPARED);
	flags_are("scheme_header_transformation: {match_upstream: true}", id);
	flags_are("internal_address_config: {cidr_ranges: [{address_prefix: 10.0.0.0}]}",
		  id | WEFT_HCM_INTERNAL);
	flags_are("http_protocol_options: {allow_chunked_length: true}",
		  id | WEFT_HCM_ALLOW_CHUNKED_LENGTH);
	flags_are("http_protocol_options: {allow_absolute_url: false}",
		  id | WEFT_HCM_NO_ABSOLUTE_URL);
	/* the codec's own word counts */
	flags_are("stream_error_on_invalid_http_message: true, http_protocol_options: "
		  "{override_stream_error_on_invalid_http_message: false}",
		  id);
}

static void test_times_and_limits(void **state)
{
	const struct weft_img_hcm *h;
	struct conf c;

	(void)state;
	conf_open(&c);
	h = conf_hcm(
		&c, CONF("stream_idle_timeout: 0s, request_timeout: 2s, request_headers_timeout: "
			 "3s, delayed_close_timeout: 0s, drain_timeout: 9s, via: v, "
			 "max_request_headers_kb: 1, "
			 "common_http_protocol_options: {idle_timeout: 4s, "
			 "max_connection_duration: 5s, max_stream_duration: 6s, max_headers_count: "
			 "7, max_requests_per_connection: 8, headers_with_underscores_action: "
			 "REJECT_REQUEST}"));
	assert_int_equal(h->stream_idle_ms, 0);
	assert_int_equal(h->request_ms, 2000);
	assert_int_equal(h->request_headers_ms, 3000);
	assert_int_equal(h->delayed_close_ms, 0);
	assert_int_equal(h->drain_ms, 9000);
	assert_int_equal(h->via.len, 1);
	assert_int_equal(h->max_head, 1024);
	assert_int_equal(h->idle_ms, 4000);
	assert_int_equal(h->max_connection_ms, 5000);
	assert_int_equal(h->max_stream_ms, 6000);
	assert_int_equal(h->max_headers, 7);
	assert_int_equal(h->max_requests, 8);
	assert_int_equal(h->underscores, 1);
	conf_close(&c);
}

static void test_upgrades(void **state)
{
	const struct weft_img_hcm *h;
	struct conf c;

	(void)state;
	conf_open(&c);
	h = conf_hcm(&c,
		     CONF("upgrade_configs: [{upgrade_type: WebSocket}, {upgrade_type: x, enabled: "
			  "false}]"));
	assert_int_equal(h->n_upgrade, 1);
	assert_memory_equal(
		weft_img_at(((const struct weft_img_str *)weft_img_at(h->upgrade))->off),
		"websocket", 9);
	conf_close(&c);
	conf_refused(CONF("upgrade_configs: [{upgrade_type: Connect}]"), "Listener/l",
		     F "upgrade_configs[0].upgrade_type", "unsupported: Connect");
	conf_refused(CONF("upgrade_configs: [{upgrade_type: CONNECT-udp}]"), "Listener/l",
		     F "upgrade_configs[0].upgrade_type", "unsupported: CONNECT-udp");
	conf_refused(CONF("upgrade_configs: [{upgrade_type: a, filters: [" ROUTER "]}]"),
		     "Listener/l", F "upgrade_configs[0].filters", "unsupported");
}

#define HOST_25 "a2345678901234567890.test"
#define HOST_225 HOST_25 HOST_25 HOST_25 HOST_25 HOST_25 HOST_25 HOST_25 HOST_25 HOST_25
static void test_http10(void **state)
{
	const struct weft_img_hcm *h;
	struct conf c;

	(void)state;
	conf_open(&c);
	h = conf_hcm(&c,
		     CONF("http_protocol_options: {accept_http_10: true, default_host_for_http_10: "
			  "'old.test:81'}"));
	assert_true(h->flags & WEFT_HCM_ACCEPT_HTTP10);
	assert_int_equal(h->default_host.len, 11);
	assert_memory_equal(weft_img_at(h->default_host.off), "old.test:81", 11);
	h = conf_hcm(
		&c, CONF("http_protocol_options: {default_host_for_http_10: " HOST_25 HOST_25 "}"));
	assert_false(h->flags & WEFT_HCM_ACCEPT_HTTP10);
	assert_int_equal(h->default_host.len, 50);
	conf_close(&c);
}

/* A bootstrap whose node is this. */
static char *with_node(const char *id, const char *cluster, const char *more)
{
	char *yaml = NULL;

	assert_true(asprintf(&yaml,
			     "node: {id: '%s', cluster: '%s'}\nstatic_resources: {listeners: "
			     "[{name: l, " AT_80 " filter_chains: [{filters: [" HCM(
				     "add_user_agent: true, %s", "",
				     "route_config: {virtual_hosts: [{name: v, domains: ['*'], "
				     "routes: [{match: {prefix: /, headers: [{name: user-agent, "
				     "string_match: {exact: one}}]}, direct_response: {status: "
				     "201}}, {match: {prefix: /}, " OK_200 "}]}]}") "]}]}]}\n",
			     id, cluster, more) > 0);
	return yaml;
}

static void said(const struct conf_req *q, const char *name, const char *want)
{
	const char *got = NULL;
	size_t n = 0;

	for (uint32_t i = 0; i < q->req.n_field; i++) {
		const struct weft_field *f = &q->req.field[i];

		if (f->name.len == strlen(name) &&
		    !memcmp(q->head + f->name.off, name, f->name.len)) {
			assert_null(got);
			got = (const char *)q->head + f->value.off;
			n = f->value.len;
		}
	}
	if (!want)
		assert_null(got);
	else if (!got || n != strlen(want) || memcmp(got, want, n) != 0)
		fail_msg("%s: \"%.*s\", wanted \"%s\"", name, (int)n, got ? got : "", want);
}

/* As Envoy 1.40 (test/oracle/cases/user-agent.yaml); another node is another configuration. */
static void test_user_agent(void **state)
{
	static const struct {
		const char *id, *cluster, *headers, *agent, *service, *node;
		uint32_t index;
	} list[] = {
		{"n", "one", "", "one", "one", "n", 0},
		{"n", "two", "", "two", "two", "n", 1},
		{"n", "two", "User-Agent: one\r\n", "one", "two", "n", 0},
		{"m", "two", "User-Agent:\r\n", "two", "two", "m", 1},
		{"", "two", "x-envoy-downstream-service-node: a\r\n", "two", "two", "a", 1},
		{"", "", "x-envoy-downstream-service-cluster: a\r\n", "", "", NULL, 1},
	};
	struct conf_req *q = calloc(1, sizeof(*q));
	struct conf c;

	(void)state;
	assert_non_null(q);
	conf_open(&c);
	for (size_t i = 0; i < sizeof(list) / sizeof(*list); i++) {
		char *yaml = with_node(list[i].id, list[i].cluster, "");

		conf_ok(&c, yaml);
		free(yaml);
		conf_connect(q, "10.0.0.1", 80);
		conf_request(&c, q, "GET", "h", "/", list[i].headers);
		said(q, "user-agent", list[i].agent);
		said(q, "x-envoy-downstream-service-cluster", list[i].service);
		said(q, "x-envoy-downstream-service-node", list[i].node);
		assert_int_equal(
			((const struct weft_img_route *)weft_img_at(q->req.dec.route))->index,
			list[i].index);
	}
	conf_close(&c);
	free(q);
}

/* The room that a changed head has is bounded, and it must stay a head. */
static void test_user_agent_refused(void **state)
{
	char longest[WEFT_NODE_LEN_MAX + 2] = "";

	(void)state;
	memset(longest, 'n', WEFT_NODE_LEN_MAX);
	for (int i = 0; i < 3; i++) {
		char *yaml = with_node(i == 1 ? longest : "n", i == 2 ? longest : "c", "");
		struct conf c;

		conf_open(&c);
		assert_int_equal(conf_set(&c, yaml), 0);
		conf_close(&c);
		free(yaml);
	}
	longest[WEFT_NODE_LEN_MAX] = 'n';
	for (int i = 0; i < 3; i++) {
		char *yaml = with_node(i == 0 ? longest : "n",
				       i == 1	? longest
				       : i == 2 ? "a\n\n\nb"
						: "c",
				       "");

		conf_refused(yaml, "Listener/l",
			     "filter_chains[0].filters[0].typed_config.add_user_agent",
			     "no header value");
		free(yaml);
	}
}

#define REFUSED(more, field) conf_refused(CONF(more), "Listener/l", F field, "")
static void test_refused_fields(void **state)
{
	REFUSED("http_protocol_options: {enable_trailers: true}", "http_protocol_options.enable_trailers");
	REFUSED("stream_error_on_invalid_http_message: true", "stream_error_on_invalid_http_message");
	(void)state;
	REFUSED("codec_type: HTTP3", "codec_type");
	REFUSED("http2_protocol_options: {allow_connect: true}",
		"http2_protocol_options.allow_connect");
	REFUSED("http2_protocol_options: {allow_metadata: true}",
		"http2_protocol_options.allow_metadata");
	REFUSED("http2_protocol_options: {disallow_obs_text: true}",
		"http2_protocol_options.disallow_obs_text");
	REFUSED("internal_address_config: {cidr_ranges: [{address_prefix: ten}]}",
		"internal_address_config.cidr_ranges[0].address_prefix");
	REFUSED("represent_ipv4_remote_address_as_ipv4_mapped_ipv6: true",
		"represent_ipv4_remote_address_as_ipv4_mapped_ipv6");
	REFUSED("http_protocol_options: {default_host_for_http_10: " HOST_225 "}",
		"http_protocol_options.default_host_for_http_10");
	REFUSED("max_request_headers_kb: 65", "max_request_headers_kb");
	REFUSED("common_http_protocol_options: {max_headers_count: 1025}",
		"common_http_protocol_options.max_headers_count");
	REFUSED("request_timeout: 5000000s", "request_timeout");
}

static void test_noted_fields(void **state)
{
	(void)state;
	conf_noted(CONF("tracing: {}"), "Listener/l", F "tracing");
	conf_noted(CONF("http3_protocol_options: {}"), "Listener/l", F "http3_protocol_options");
}

#define FILTER(type, more)                                                                         \
	"{name: f, " more " typed_config: {'@type': type.googleapis.com/" type "}}, "
#define GLOBAL_LIMIT(more)                                                                         \
	"{name: f, " more " typed_config: {" T(                                                    \
		"extensions.filters.http.ratelimit.v3.RateLimit") ", domain: d, "                  \
								  "rate_limit_service: "           \
								  "{transport_api_version: V3, "   \
								  "grpc_service: "                 \
								  "{google_grpc: {target_uri: a, " \
								  "stat_prefix: s}}}}}, "
#define F0 F "http_filters[0].typed_config"
static void test_filters_without_effect(void **state)
{
	(void)state;
	conf_noted(WITH(FILTER("envoy.extensions.filters.http.grpc_stats.v3.FilterConfig", "")),
		   "Listener/l", F0);
	conf_noted(WITH("{name: istio.stats, typed_config: {'@type': "
			"type.googleapis.com/udpa.type.v1.TypedStruct, type_url: "
			"type.googleapis.com/stats.PluginConfig, value: {}}}, "),
		   "Listener/l", F0);
	conf_noted(WITH(FILTER("com.example.Own", "is_optional: true,")), "Listener/l", F0);
}

static void test_filters_refused(void **state)
{
	(void)state;
	conf_refused(WITH(GLOBAL_LIMIT("")), "Listener/l",
		     F0 ".rate_limit_service.grpc_service.google_grpc", "unsupported");
	/* Envoy would apply it: leaving it out drops a rule */
	conf_refused(WITH(GLOBAL_LIMIT("is_optional: true,")), "Listener/l",
		     F0 ".rate_limit_service.grpc_service.google_grpc", "unsupported");
	conf_refused(WITH(FILTER("com.example.Own", "")), "Listener/l", F0, "com.example.Own");
}

static void test_scoped_routes_refused(void **state)
{
	(void)state;
	conf_refused(
		LISTENER("l", AT_80,
			 HCM("", "",
			     "scoped_routes: {name: a, scope_key_builder: {fragments: "
			     "[{header_value_extractor: {name: x, index: 0}}]}, rds_config_source: "
			     "{ads: {}}, scoped_rds: {scoped_rds_config_source: {ads: {}}}}")),
		"Listener/l", F "scoped_routes", "unsupported");
}

static void test_many_filters(void **state)
{
#define ONE "{name: l, typed_config: {" LRL ", stat_prefix: s}}, "
	(void)state;
	conf_accepted(WITH(ONE ONE ONE ONE ONE ONE ONE ONE));
	conf_refused(WITH(ONE ONE ONE ONE ONE ONE ONE ONE ONE), "Listener/l",
		     F "http_filters[8].typed_config", "more than 8 filters");
}

#define INLINE(more, cluster)                                                                      \
	LISTENER("l", AT_80,                                                                       \
		 HCM("", "",                                                                       \
		     "route_config: {name: r, " more                                               \
		     "virtual_hosts: [{name: v, domains: ['*'], routes: [{match: {prefix: /}, "    \
		     "route: {cluster: " cluster "}}]}]}"))
static void test_validate_clusters(void **state)
{
	(void)state;
	conf_refused(INLINE("", "x"), "Listener/l", "route_config", "route: unknown cluster 'x'");
	conf_accepted(INLINE("validate_clusters: false, ", "x"));
	conf_accepted(INLINE("", "x") CLUSTER("x", "type: STATIC"));
	conf_accepted(LISTENER_80 ROUTES("{match: {prefix: /}, route: {cluster: x}}"));
	conf_refused(LISTENER_80 RC("validate_clusters: true, ",
				    VHOST("{match: {prefix: /}, route: {cluster: x}}")),
		     "RouteConfiguration/r", "", "route: unknown cluster 'x'");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_http2),
		cmocka_unit_test(test_flags),
		cmocka_unit_test(test_times_and_limits),
		cmocka_unit_test(test_upgrades),
		cmocka_unit_test(test_http10),
		cmocka_unit_test(test_user_agent),
		cmocka_unit_test(test_user_agent_refused),
		cmocka_unit_test(test_refused_fields),
		cmocka_unit_test(test_noted_fields),
		cmocka_unit_test(test_filters_without_effect),
		cmocka_unit_test(test_filters_refused),
		cmocka_unit_test(test_scoped_routes_refused),
		cmocka_unit_test(test_many_filters),
		cmocka_unit_test(test_validate_clusters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
