// SPDX-License-Identifier: Apache-2.0
#include "agent/proxy/breaker.h"
#include "test/unit/compile_fixture.h"

#define ONE(name)                                                                                  \
	"load_assignment: {cluster_name: " name                                                    \
	", endpoints: [{lb_endpoints: [" ENDPOINT("10.1.0.1", 80) "]}]}"
#define C(more) CLUSTER("c", more "type: STATIC, " ONE("c"))
#define OPTIONS T("extensions.upstreams.http.v3.HttpProtocolOptions")

/* The compiled cluster: the view's table by the id that a TCP listener's target names. */
static const struct weft_img_cluster *cluster(struct conf *c, const char *yaml)
{
	struct conf_req *q = calloc(1, sizeof(*q));
	const struct weft_img_cluster_ref *ref;
	const struct weft_img_target *t;
	const struct weft_img_view *v;
	char all[8192];

	assert_non_null(q);
	snprintf(
		all, sizeof(all),
		"%s" LISTENER(
			"l", AT_80,
			"{name: t, typed_config: {" T("extensions.filters.network.tcp_proxy.v3."
						      "TcpProxy") ", stat_prefix: s, cluster: c}}"),
		yaml);
	conf_ok(c, all);
	conf_connect(q, "10.0.0.1", 80);
	assert_int_equal(weft_listener_find(&q->ctx), 0);
	v = weft_img_at(q->ctx.view_off);
	t = weft_img_at(((const struct weft_img_chain *)weft_img_at(
				 weft_chain_find(&q->ctx, WEFT_PROTO_RAW)))
				->target +
			(__u32)sizeof(struct weft_img_targets));
	ref = (const struct weft_img_cluster_ref *)weft_img_at(v->cluster) + t->cluster;
	free(q);
	return t->cluster < v->n_cluster && ref->cluster ? weft_img_at(ref->cluster) : NULL;
}

static void test_defaults(void **state)
{
	const struct weft_img_cluster *k;
	struct conf c;

	(void)state;
	conf_open(&c);
	assert_null(cluster(&c, ""));
	k = cluster(&c, C(""));
	assert_int_equal(k->type, WEFT_CLUSTER_ENDPOINTS);
	assert_int_equal(k->lb, WEFT_LB_ROUND_ROBIN);
	assert_int_equal(k->connect_timeout_ms, 5000);
	assert_int_equal(k->idle_timeout_ms, 3600000);
	assert_int_equal(k->buffer_limit, 1 << 20);
	for (int i = 0; i < WEFT_PRIORITY__MAX; i++) {
		assert_int_equal(k->threshold[i].max_connections, 1024);
		assert_int_equal(k->threshold[i].max_pending, 1024);
		assert_int_equal(k->threshold[i].max_requests, 1024);
		assert_int_equal(k->threshold[i].max_retries, 3);
	}
	assert_int_equal(WEFT_ID_KIND(k->cell), WEFT_CELL_CLUSTER);
	conf_close(&c);
}

static void test_types(void **state)
{
	struct conf c;

	(void)state;
	conf_open(&c);
	assert_int_equal(cluster(&c, CLUSTER("c", "type: STATIC"))->type, WEFT_CLUSTER_BLACKHOLE);
	assert_int_equal(
		cluster(&c, CLUSTER("c", "type: ORIGINAL_DST, lb_policy: CLUSTER_PROVIDED"))->type,
		WEFT_CLUSTER_ORIGINAL_DST);
	assert_int_equal(
		cluster(&c, CLUSTER("c", "type: EDS, eds_cluster_config: {eds_config: {ads: {}}}"))
			->type,
		WEFT_CLUSTER_ENDPOINTS);
	assert_int_equal(cluster(&c, CLUSTER("c", "type: STRICT_DNS, " ONE("c")))->type,
			 WEFT_CLUSTER_ENDPOINTS);
	assert_int_equal(cluster(&c, CLUSTER("c", "type: LOGICAL_DNS, " ONE("c")))->type,
			 WEFT_CLUSTER_ENDPOINTS);
	assert_int_equal(cluster(&c, CLUSTER("c", "type: STRICT_DNS"))->type,
			 WEFT_CLUSTER_ENDPOINTS);
	assert_int_equal(
		cluster(&c, CLUSTER("c", "type: ORIGINAL_DST, lb_policy: CLUSTER_PROVIDED, "
					 "original_dst_lb_config: {upstream_port_override: 99}"))
			->port_override,
		99);
	conf_close(&c);
	conf_refused(CLUSTER("c", "cluster_type: {name: envoy.clusters.redis}"), "Cluster/c",
		     "cluster_type", "unsupported: envoy.clusters.redis");
	conf_refused(CLUSTER("c", "cluster_type: {name: x, typed_config: {" T(
				     "extensions.transport_sockets.raw_buffer.v3.RawBuffer") "}}"),
		     "Cluster/c", "cluster_type",
		     "unsupported: envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer");
}

#define POLICY(type, more)                                                                         \
	"load_balancing_policy: {policies: [{typed_extension_config: {name: p, typed_config: {" T( \
		"extensions.load_balancing_policies." type) more "}}}]}, "
static void test_policies(void **state)
{
	const struct weft_img_cluster *k;
	struct conf c;

	(void)state;
	conf_open(&c);
	assert_int_equal(cluster(&c, C("lb_policy: RANDOM, "))->lb, WEFT_LB_RANDOM);
	k = cluster(&c,
		    C("lb_policy: LEAST_REQUEST, least_request_lb_config: {choice_count: 3}, "));
	assert_int_equal(k->lb, WEFT_LB_LEAST_REQUEST);
	assert_int_equal(k->choice_count, 3);
	assert_int_equal(cluster(&c, C("lb_policy: LEAST_REQUEST, "))->choice_count, 2);
	assert_int_equal(cluster(&c, C(POLICY("random.v3.Random", "")))->lb, WEFT_LB_RANDOM);
	assert_int_equal(
		cluster(&c, C("lb_policy: RANDOM, " POLICY("round_robin.v3.RoundRobin", "")))->lb,
		WEFT_LB_ROUND_ROBIN);
	k = cluster(&c, C(POLICY("least_request.v3.LeastRequest", ", choice_count: 4")));
	assert_int_equal(k->lb, WEFT_LB_LEAST_REQUEST);
	assert_int_equal(k->choice_count, 4);
	assert_int_equal(cluster(&c, C("lb_policy: RING_HASH, "))->lb, WEFT_LB_RING_HASH);
	assert_int_equal(cluster(&c, C("lb_policy: MAGLEV, maglev_lb_config: {table_size: 7}, "))->lb,
			 WEFT_LB_MAGLEV);
	assert_int_equal(cluster(&c, C(POLICY("ring_hash.v3.RingHash", ", hash_function: XX_HASH")))->lb,
			 WEFT_LB_RING_HASH);
	assert_int_equal(cluster(&c, C(POLICY("maglev.v3.Maglev", "")))->lb, WEFT_LB_MAGLEV);
	conf_close(&c);
	conf_noted(C("ring_hash_lb_config: {minimum_ring_size: 3}, "), "Cluster/c",
		   "ring_hash_lb_config");
	conf_noted(C("lb_policy: RING_HASH, maglev_lb_config: {table_size: 3}, "), "Cluster/c",
		   "maglev_lb_config");
	conf_refused(C(POLICY("cluster_provided.v3.ClusterProvided", "")), "Cluster/c",
		     "load_balancing_policy.policies[0]", "unsupported");
	conf_noted(C("common_lb_config: {zone_aware_lb_config: {min_cluster_size: 3}}, "), "Cluster/c",
		   "common_lb_config.zone_aware_lb_config.min_cluster_size");
	conf_noted(C(POLICY("round_robin.v3.RoundRobin",
			    ", locality_lb_config: {zone_aware_lb_config: {min_cluster_size: 3}}")),
		   "Cluster/c",
		   "load_balancing_policy.policies[0].locality_lb_config.zone_aware_lb_config."
		   "min_cluster_size");
}

#define CLIENT_SIDE "client_side_weighted_round_robin.v3.ClientSideWeightedRoundRobin"
#define WRR(more) POLICY("wrr_locality.v3.WrrLocality", more)
#define PICKING(type, more)                                                                        \
	", endpoint_picking_policy: {policies: [{typed_extension_config: {name: q, typed_config: " \
	"{" T("extensions.load_balancing_policies." type) more "}}}]}"
static void test_client_side(void **state)
{
	static const char at[] = "load_balancing_policy.policies[0]";
	static const char inner[] = "load_balancing_policy.policies[0].endpoint_picking_policy";
	const struct weft_img_cluster *k;
	struct conf c;

	(void)state;
	conf_open(&c);
	assert_int_equal(cluster(&c, C(POLICY(CLIENT_SIDE, "")))->lb, WEFT_LB_ROUND_ROBIN);
	k = cluster(&c,
		    C(WRR(PICKING(CLIENT_SIDE, ", slow_start_config: {slow_start_window: 3s}"))));
	assert_int_equal(k->lb, WEFT_LB_ROUND_ROBIN);
	assert_int_equal(k->flags, WEFT_CLUSTER_AGENT);
	conf_close(&c);
	conf_noted(C(POLICY(CLIENT_SIDE, "")), "Cluster/c", at);
	conf_noted(C(POLICY(CLIENT_SIDE, ", weight_update_period: 2s")), "Cluster/c",
		   "load_balancing_policy.policies[0].weight_update_period");
	conf_refused(C(WRR("")), "Cluster/c", inner, "known");
	conf_refused(C(WRR(", endpoint_picking_policy: {}")), "Cluster/c", inner, "known");
	conf_refused(C(WRR(PICKING("round_robin.v3.RoundRobin", ""))), "Cluster/c",
		     "load_balancing_policy.policies[0].endpoint_picking_policy.policies[0]",
		     "wrr_locality takes");
}

#define HASHING(more) "common_lb_config: {consistent_hashing_lb_config: {" more "}}, "
static void test_bounded_load(void **state)
{
	const struct weft_img_cluster *k;
	struct conf c;

	(void)state;
	conf_open(&c);
	k = cluster(&c, C("lb_policy: MAGLEV, " HASHING("hash_balance_factor: 150")));
	assert_int_equal(k->balance_factor, 150);
	assert_int_equal(k->flags, WEFT_CLUSTER_AGENT);
	assert_int_equal(cluster(&c, C("lb_policy: MAGLEV, "))->flags, 0);
	k = cluster(&c, C(POLICY("maglev.v3.Maglev",
				 ", consistent_hashing_lb_config: {hash_balance_factor: 120}")));
	assert_int_equal(k->balance_factor, 120);
	k = cluster(&c, C(POLICY("ring_hash.v3.RingHash", ", hash_balance_factor: 110")));
	assert_int_equal(k->balance_factor, 110);
	/* the newer field's message hides the older one, whatever is in it */
	k = cluster(&c, C(POLICY("ring_hash.v3.RingHash",
				 ", hash_balance_factor: 110, consistent_hashing_lb_config: {}")));
	assert_int_equal(k->balance_factor, 0);
	/* of a policy that does not hash */
	assert_int_equal(cluster(&c, C(HASHING("hash_balance_factor: 150")))->balance_factor, 0);
	conf_close(&c);
	conf_refused(C("lb_policy: MAGLEV, " HASHING("hash_balance_factor: 99")), "Cluster/c",
		     "common_lb_config.consistent_hashing_lb_config.hash_balance_factor", "");
}

#define LEAST "least_request.v3.LeastRequest"
#define BIAS(n) "active_request_bias: {default_value: " n ", runtime_key: k}"
static void test_least_request(void **state)
{
	const struct weft_img_cluster *k;
	struct conf c;

	(void)state;
	conf_open(&c);
	k = cluster(&c, C("lb_policy: LEAST_REQUEST, "));
	assert_true(((const struct weft_img_moving *)weft_img_at(k->moving))->bias == 1);
	assert_int_equal(k->flags, 0);
	k = cluster(&c,
		    C("lb_policy: LEAST_REQUEST, least_request_lb_config: {" BIAS("0.5") "}, "));
	assert_true(((const struct weft_img_moving *)weft_img_at(k->moving))->bias == 0.5);
	assert_int_equal(k->flags, WEFT_CLUSTER_AGENT);
	k = cluster(&c, C(POLICY(LEAST, ", " BIAS("0"))));
	assert_true(((const struct weft_img_moving *)weft_img_at(k->moving))->bias == 0);
	k = cluster(&c, C(POLICY(LEAST, ", " BIAS("-3"))));
	assert_true(((const struct weft_img_moving *)weft_img_at(k->moving))->bias == 1);
	k = cluster(&c,
		    C("lb_policy: LEAST_REQUEST, least_request_lb_config: {choice_count: 8}, "));
	assert_int_equal(k->flags, 0);
	k = cluster(&c,
		    C("lb_policy: LEAST_REQUEST, least_request_lb_config: {choice_count: 9}, "));
	assert_int_equal(k->choice_count, 9);
	assert_int_equal(k->flags, WEFT_CLUSTER_AGENT);
	k = cluster(&c, C(POLICY(LEAST, ", selection_method: FULL_SCAN")));
	assert_int_equal(k->choice_count, WEFT_CHOICES_ALL);
	assert_int_equal(k->flags, WEFT_CLUSTER_AGENT);
	k = cluster(&c, C(POLICY(LEAST, ", enable_full_scan: true, choice_count: 3")));
	assert_int_equal(k->choice_count, WEFT_CHOICES_ALL);
	k = cluster(&c, C(POLICY(LEAST, ", enable_full_scan: false, choice_count: 3")));
	assert_int_equal(k->choice_count, 3);
	conf_close(&c);
	conf_refused(C(POLICY(LEAST, ", selection_method: 7")), "Cluster/c",
		     "load_balancing_policy.policies[0].typed_extension_config.typed_config."
		     "selection_method",
		     "enum");
}

#define SLOW(more) "slow_start_config: {slow_start_window: 10s" more "}"
static void test_slow_start(void **state)
{
	const struct weft_img_moving *m;
	const struct weft_img_cluster *k;
	struct conf c;

	(void)state;
	conf_open(&c);
	k = cluster(&c, C("round_robin_lb_config: {" SLOW("") "}, "));
	m = weft_img_at(k->moving);
	assert_int_equal(k->lb, WEFT_LB_ROUND_ROBIN);
	assert_int_equal(k->flags, WEFT_CLUSTER_AGENT);
	assert_int_equal(m->window_ms, 10000);
	assert_true(m->aggression == 1 && m->least == 0.1 && m->bias == 0);
	k = cluster(&c, C("lb_policy: LEAST_REQUEST, least_request_lb_config: {" SLOW(
				", min_weight_percent: {value: 50}, aggression: {default_value: 2, "
				"runtime_key: k}") "}, "));
	m = weft_img_at(k->moving);
	assert_true(m->aggression == 2 && m->least == 0.5 && m->bias == 1);
	k = cluster(&c, C(POLICY("round_robin.v3.RoundRobin",
				 ", " SLOW(", aggression: {default_value: 0, runtime_key: k}"))));
	m = weft_img_at(k->moving);
	assert_true(m->window_ms == 10000 && m->aggression == 1);
	k = cluster(&c, C(POLICY(LEAST, ", " SLOW(""))));
	assert_int_equal(((const struct weft_img_moving *)weft_img_at(k->moving))->window_ms,
			 10000);
	/* no window, and of another policy */
	k = cluster(&c, C("round_robin_lb_config: {slow_start_config: {}}, "));
	assert_int_equal(k->moving, 0);
	assert_int_equal(k->flags, 0);
	assert_int_equal(
		cluster(&c, C("lb_policy: RANDOM, round_robin_lb_config: {" SLOW("") "}, "))->flags,
		0);
	conf_close(&c);
	conf_refused(C("round_robin_lb_config: {" SLOW(", min_weight_percent: {value: 101}") "}, "),
		     "Cluster/c",
		     "round_robin_lb_config.slow_start_config.min_weight_percent.value", "100");
}

static void test_breakers(void **state)
{
	const struct weft_img_cluster *k;
	struct conf c;

	(void)state;
	conf_open(&c);
	k = cluster(&c, C("circuit_breakers: {thresholds: [{max_connections: 1, "
			  "max_pending_requests: 0, max_requests: 3, max_retries: 4}, "
			  "{max_connections: 9}, {priority: HIGH, max_requests: 7, "
			  "track_remaining: true}]}, "));
	assert_int_equal(k->threshold[0].max_connections, 1);
	assert_int_equal(k->threshold[0].max_pending, 0);
	assert_int_equal(k->threshold[0].max_requests, 3);
	assert_int_equal(k->threshold[0].max_retries, 4);
	assert_int_equal(k->threshold[1].max_requests, 7);
	assert_int_equal(k->threshold[1].max_connections, 1024);
	assert_int_equal(k->threshold[0].flags, 0);
	assert_int_equal(k->threshold[1].flags, WEFT_THRESHOLDS_REMAINING);
	assert_int_equal(k->threshold[0].max_per_host, WEFT_THRESHOLD_NONE);
	assert_int_equal(k->threshold[0].max_pools, WEFT_THRESHOLD_NONE);
	assert_int_equal(k->flags & WEFT_CLUSTER_AGENT, 0);
	conf_close(&c);
}

static void test_more_breakers(void **state)
{
	const struct weft_img_thresholds *t;
	const struct weft_img_cluster *k;
	struct weft_cell_cluster cell = {.rq_active = {7, 0}, .rq_pending = {2, 0}};
	struct conf c;

	(void)state;
	conf_open(&c);
	k = cluster(
		&c,
		C("circuit_breakers: {thresholds: [{max_connection_pools: 2, max_retries: 9, "
		  "retry_budget: "
		  "{budget_percent: {value: 33.4}, min_retry_concurrency: 1}}, {priority: HIGH, "
		  "retry_budget: {}}], per_host_thresholds: [{max_connections: 5}, "
		  "{max_connections: 6}, {priority: HIGH}]}, "));
	t = k->threshold;
	assert_int_equal(t[0].max_per_host, 5);
	assert_int_equal(t[1].max_per_host, WEFT_THRESHOLD_NONE);
	assert_int_equal(t[0].max_pools, 2);
	assert_true(k->flags & WEFT_CLUSTER_AGENT); /* programs open no TCP connections for it */
	/* 33.4 % of 9 and of 10, of none; 20 % and 3 without anything else */
	assert_int_equal(breaker_retries_max(&t[0], &cell, 0, 0), 3);
	assert_int_equal(breaker_retries_max(&t[0], &cell, 0, 1), 3);
	assert_int_equal(breaker_retries_max(&t[0], &cell, 0, 3), 4);
	assert_int_equal(breaker_retries_max(&t[0], &cell, 1, 0), 1);
	assert_int_equal(breaker_retries_max(&t[1], &cell, 1, 0), 3);
	assert_int_equal(breaker_retries_max(&t[1], &cell, 1, 19), 3);
	assert_int_equal(breaker_retries_max(&t[1], &cell, 1, 20), 4);
	conf_close(&c);
	conf_refused(CLUSTER("c",
			     "type: ORIGINAL_DST, lb_policy: CLUSTER_PROVIDED, circuit_breakers: "
			     "{per_host_thresholds: [{max_connections: 5}]}"),
		     "Cluster/c", "circuit_breakers.per_host_thresholds", "without endpoints");
	conf_refused(C("circuit_breakers: {thresholds: [{retry_budget: {budget_interval: 1s}}]}, "),
		     "Cluster/c", "circuit_breakers.thresholds[0].retry_budget.budget_interval",
		     "unsupported");
}

static void test_protocols(void **state)
{
	const struct weft_img_cluster *k;
	struct conf c;

	(void)state;
	conf_open(&c);
	k = cluster(
		&c,
		C("connect_timeout: 0.25s, typed_extension_protocol_options: "
		  "{envoy.extensions.upstreams.http.v3.HttpProtocolOptions: {" OPTIONS
		  ", common_http_protocol_options: {idle_timeout: 9s, max_requests_per_connection: "
		  "5}, explicit_http_config: {http_protocol_options: {}}}}, "));
	assert_int_equal(k->connect_timeout_ms, 250);
	assert_int_equal(k->idle_timeout_ms, 9000);
	assert_int_equal(k->max_requests_per_connection, 5);
	conf_close(&c);
	conf_refused(C("transport_socket: {name: tls, typed_config: {" T(
			     "extensions.transport_sockets.tls.v3.UpstreamTlsContext") "}}, "),
		     "Cluster/c", "transport_socket",
		     "unsupported: envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext");
}

#define UPSTREAM(options)                                                                          \
	C("typed_extension_protocol_options: "                                                     \
	  "{envoy.extensions.upstreams.http.v3.HttpProtocolOptions: {" OPTIONS ", " options        \
	  "}}, ")
#define UPSTREAM_FIELD                                                                             \
	"typed_extension_protocol_options[\"envoy.extensions.upstreams.http.v3."                   \
	"HttpProtocolOptions\"]"

/* Which version of HTTP endpoints are spoken to by, from either place that says it. */
static void test_http2(void **state)
{
	const struct {
		const char *yaml;
		uint32_t http, streams, window;
		bool stream_error;
	} cases[] = {
		{C(""), WEFT_UPSTREAM_HTTP1, 0, 0, false},
		{UPSTREAM("explicit_http_config: {http_protocol_options: {}}"), WEFT_UPSTREAM_HTTP1,
		 0, 0, false},
		{UPSTREAM("explicit_http_config: {http2_protocol_options: {}}"),
		 WEFT_UPSTREAM_HTTP2, 1024, 1u << 20, false},
		{UPSTREAM("explicit_http_config: {http2_protocol_options: {max_concurrent_streams: "
			  "7, initial_stream_window_size: 70000, "
			  "override_stream_error_on_invalid_http_message: true}}"),
		 WEFT_UPSTREAM_HTTP2, 7, 70000, true},
		{UPSTREAM("use_downstream_protocol_config: {}"), WEFT_UPSTREAM_AS_CLIENT, 1024,
		 1u << 20, false},
		{UPSTREAM("use_downstream_protocol_config: {http2_protocol_options: "
			  "{max_concurrent_streams: 9}}"),
		 WEFT_UPSTREAM_AS_CLIENT, 9, 1u << 20, false},
		{C("http2_protocol_options: {max_concurrent_streams: 5}, "), WEFT_UPSTREAM_HTTP2, 5,
		 1u << 20, false},
		{C("protocol_selection: USE_DOWNSTREAM_PROTOCOL, "), WEFT_UPSTREAM_AS_CLIENT, 1024,
		 1u << 20, false},
		/* the options come before the cluster's own field */
		{C("http2_protocol_options: {}, typed_extension_protocol_options: "
		   "{envoy.extensions.upstreams.http.v3.HttpProtocolOptions: {" OPTIONS
		   ", explicit_http_config: {http_protocol_options: {}}}}, "),
		 WEFT_UPSTREAM_HTTP1, 0, 0, false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const struct weft_img_cluster *k;
		const struct weft_img_h2 *h2;
		struct conf c;

		conf_open(&c);
		k = cluster(&c, cases[i].yaml);
		assert_int_equal(k->http, cases[i].http);
		assert_int_equal(!!k->h2, cases[i].http != WEFT_UPSTREAM_HTTP1);
		h2 = weft_img_at(k->h2);
		if (k->h2) {
			assert_int_equal(h2->streams, cases[i].streams);
			assert_int_equal(h2->window, cases[i].window);
			assert_int_equal(h2->stream_error, cases[i].stream_error);
		}
		conf_close(&c);
	}
	conf_refused(UPSTREAM("explicit_http_config: {http3_protocol_options: {}}"), "Cluster/c",
		     UPSTREAM_FIELD ".explicit_http_config", "unsupported: HTTP/3");
	conf_refused(UPSTREAM("explicit_http_config: {http2_protocol_options: {allow_metadata: "
			      "true}}"),
		     "Cluster/c",
		     UPSTREAM_FIELD ".explicit_http_config.http2_protocol_options.allow_metadata",
		     "unsupported");
	conf_refused(C("http2_protocol_options: {disallow_obs_text: true}, "), "Cluster/c",
		     "http2_protocol_options.disallow_obs_text", "unsupported");
}

/* connection_keepalive: times in ms, and Envoy's default of the jitter, 15 %. */
static void test_keepalive(void **state)
{
	static const struct {
		const char *yaml;
		uint32_t every, timeout, jitter, idle;
	} cases[] = {
		{"", 0, 0, 0, 0},
		{"connection_keepalive: {timeout: 1s}", 0, 1000, 0, 0},
		{"connection_keepalive: {interval: 30s, timeout: 5s}", 30000, 5000, 4500, 0},
		{"connection_keepalive: {interval: 0.001s, timeout: 0.001s}", 1, 1, 0, 0},
		{"connection_keepalive: {interval: 2s, timeout: 5s, interval_jitter: {value: 0}}",
		 2000, 5000, 0, 0},
		{"connection_keepalive: {interval: 2s, timeout: 5s, interval_jitter: {value: "
		 "12.5}, connection_idle_interval: 7s}",
		 2000, 5000, 250, 7000},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		char yaml[1024];
		const struct weft_img_h2 *h2;
		struct conf c;

		snprintf(yaml, sizeof(yaml), C("http2_protocol_options: {%s}, "), cases[i].yaml);
		conf_open(&c);
		h2 = weft_img_at(cluster(&c, yaml)->h2);
		assert_int_equal(h2->ping_ms, cases[i].every);
		assert_int_equal(h2->ping_timeout_ms, cases[i].timeout);
		assert_int_equal(h2->ping_jitter_ms, cases[i].jitter);
		assert_int_equal(h2->ping_idle_ms, cases[i].idle);
		conf_close(&c);
	}
}

static void test_without_effect(void **state)
{
	(void)state;
	conf_noted(C("alt_stat_name: x, "), "Cluster/c", "alt_stat_name");
}

#define BOUND                                                                                      \
	"upstream_bind_config: {source_address: {address: 127.0.0.6, port_value: 0}}, "
#define TO_C "{match: {prefix: /}, route: {cluster: c}}"
#define TCP_TO_C                                                                                   \
	"{name: t, typed_config: {" T(                                                             \
		"extensions.filters.network.tcp_proxy.v3.TcpProxy") ", stat_prefix: t, "           \
								    "cluster: c}}"

/* A source address of its own: kept while nobody uses the cluster, refused from then on. */
static void test_bound_source(void **state)
{
	struct conf c;

	(void)state;
	conf_noted(CLUSTER("c", BOUND) LISTENER_80 RC("", VHOST("{match: {prefix: /}, " OK_200 "}")),
		   "Cluster/c", "upstream_bind_config");
	conf_refused(CLUSTER("c", BOUND) LISTENER_80 ROUTES(TO_C), "Cluster/c",
		     "upstream_bind_config", "unsupported in a cluster that is used");
	conf_refused(CLUSTER("c", BOUND) LISTENER("l", AT_80, TCP_TO_C), "Cluster/c",
		     "upstream_bind_config", "unsupported in a cluster that is used");
	/* the server side's listeners do not use it */
	conf_noted(CLUSTER("c", BOUND) LISTENER("l", AT_80 " traffic_direction: INBOUND,", TCP_TO_C),
		   "Cluster/c", "upstream_bind_config");
	/* told once, however many name it */
	conf_open(&c);
	assert_int_equal(conf_set(&c, CLUSTER("c", BOUND) LISTENER_80 ROUTES(TO_C ", " TO_C)),
			 -EINVAL);
	assert_int_equal(c.diag.n, 1);
	conf_close(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),       cmocka_unit_test(test_types),
		cmocka_unit_test(test_policies),       cmocka_unit_test(test_client_side),
		cmocka_unit_test(test_bounded_load),   cmocka_unit_test(test_least_request),
		cmocka_unit_test(test_slow_start),     cmocka_unit_test(test_breakers),
		cmocka_unit_test(test_more_breakers),  cmocka_unit_test(test_protocols),
		cmocka_unit_test(test_http2),	       cmocka_unit_test(test_keepalive),
		cmocka_unit_test(test_without_effect), cmocka_unit_test(test_bound_source),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
