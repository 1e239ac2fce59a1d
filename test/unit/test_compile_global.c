// SPDX-License-Identifier: Apache-2.0
/* Global rate limits: what is compiled, what is asked, and what becomes of the answer. */
#include "test/unit/compile_fixture.h"

#define GLOBAL T("extensions.filters.http.ratelimit.v3.RateLimit")
#define PER T("extensions.filters.http.ratelimit.v3.RateLimitPerRoute")
#define SERVICE(more)                                                                              \
	"rate_limit_service: {transport_api_version: V3, grpc_service: {" more                     \
	"envoy_grpc: {cluster_name: rls}}}"
#define FILTER(config) "{name: g, typed_config: {" GLOBAL ", domain: d, " config "}}, "
#define RULE(value) "{actions: [{generic_key: {descriptor_value: " value "}}]}"
#define STATIC "type: STATIC, load_assignment: {cluster_name: x}"
#define WITH(filters, vhost, routes)                                                               \
	LISTENER("l", AT_80, HCM("", filters, RDS))                                                \
	RC("", "{name: v, domains: ['*'], " vhost " routes: [" routes "]}")                        \
	CLUSTER("c", STATIC) CLUSTER("rls", STATIC)
#define ROUTE(more) "{match: {prefix: /}, route: {cluster: c, " more "}}"
#define F0 "filter_chains[0].filters[0].typed_config.http_filters[0].typed_config."

/* A limiter that writes down what it is asked, and answers as it is told. */
static struct limiter {
	struct weft_limiter base;
	char text[1024];
	enum weft_verdict verdict;
	uint32_t passes;
} limiter;
static uint32_t asks, ran; /* of the decision at hand */

static void begin(struct weft_limiter *l, struct weft_req *req, const struct weft_question *q)
{
	(void)l;
	(void)req;
	snprintf(limiter.text + strlen(limiter.text), sizeof(limiter.text) - strlen(limiter.text),
		 "[%.*s", (int)q->domain.len, (const char *)weft_img_at(q->domain.off));
}

static void descriptor(struct weft_limiter *l, const struct weft_rate_found *e, __u32 n,
		       const struct weft_img_rate_rule *rule, const __u64 *hits)
{
	size_t at = strlen(limiter.text);

	(void)l;
	at += (size_t)snprintf(limiter.text + at, sizeof(limiter.text) - at, " (");
	for (__u32 i = 0; i < n; i++)
		at += (size_t)snprintf(limiter.text + at, sizeof(limiter.text) - at, "%.*s=%.*s,",
				       (int)e[i].key.len, (const char *)e[i].key.p,
				       (int)e[i].value.len, (const char *)e[i].value.p);
	(void)rule;
	if (hits)
		at += (size_t)snprintf(limiter.text + at, sizeof(limiter.text) - at, "hits %llu",
				       (unsigned long long)*hits);
	snprintf(limiter.text + at, sizeof(limiter.text) - at, ")");
}

static enum weft_verdict ask(struct weft_limiter *l, struct weft_req *req,
			     const struct weft_question *q)
{
	(void)l;
	(void)req;
	(void)q;
	strcat(limiter.text, "?]");
	return limiter.verdict;
}

static void done(struct weft_limiter *l, struct weft_req *req, const struct weft_question *q)
{
	(void)l;
	(void)req;
	(void)q;
	strcat(limiter.text, ".]");
}

static void pass(struct weft_limiter *l, struct weft_req *req, const struct weft_question *q,
		 enum weft_verdict v)
{
	(void)l;
	(void)req;
	(void)q;
	assert_int_equal(v, limiter.verdict);
	limiter.passes++;
}

static struct weft_rate_text metadata(struct weft_limiter *l, const struct weft_img_rate_path *path)
{
	const struct weft_img_str *key = weft_img_at(path->key);

	(void)l;
	if (key->len != 3 || memcmp(weft_img_at(key->off), "set", 3))
		return (struct weft_rate_text){NULL, 0};
	return (struct weft_rate_text){(const __u8 *)"m", 1};
}

static struct weft_decision decide(const char *yaml, const char *headers, enum weft_verdict v)
{
	struct conf_req *q = calloc(1, sizeof(*q));
	struct weft_decision dec;
	struct conf c;

	assert_non_null(q);
	conf_open(&c);
	conf_ok(&c, yaml);
	conf_connect(q, "10.0.0.1", 80);
	limiter = (struct limiter){.base = {.begin = begin,
					    .descriptor = descriptor,
					    .ask = ask,
					    .done = done,
					    .pass = pass,
					    .metadata = metadata},
				   .verdict = v};
	q->ctx.limiter = &limiter.base;
	conf_request(&c, q, "GET", "h", "/p", headers);
	dec = q->req.dec;
	asks = q->req.asks;
	ran = q->req.ran;
	conf_close(&c);
	free(q);
	return dec;
}

#define RATES(list) "rate_limits: [" list "]"
#define ASKED(filter, vhost, routes, want)                                                         \
	do {                                                                                       \
		decide(WITH(FILTER(filter SERVICE("")), vhost, routes), "", WEFT_VERDICT_OK);      \
		assert_string_equal(limiter.text, want);                                           \
	} while (0)

static void test_whose_rules(void **state)
{
	(void)state;
	/* nothing to ask: nobody is looked for */
	ASKED("", "", ROUTE(""), "");
	ASKED("", "", ROUTE(RATES(RULE("a"))), "[d (generic_key=a,)?][d.]");
	ASKED("", RATES(RULE("v")) ",", ROUTE(""), "[d (generic_key=v,)?][d.]");
	ASKED("", RATES(RULE("v")) ",", ROUTE(RATES(RULE("a"))), "[d (generic_key=a,)?][d.]");
	ASKED("", RATES(RULE("v")) ",", ROUTE("include_vh_rate_limits: true, " RATES(RULE("a"))),
	      "[d (generic_key=a,) (generic_key=v,)?][d.]");
	ASKED("stage: 2, ", "", ROUTE(RATES(RULE("a"))), "[d?][d.]");
	ASKED(RATES(RULE("o") ", {hits_addend: {number: 3}, actions: [{remote_address: {}}]}") ", ",
	      RATES(RULE("v")) ",", ROUTE(RATES(RULE("a"))),
	      "[d (generic_key=o,) (remote_address=::,hits 3)?][d.]");
	ASKED("", "",
	      ROUTE(RATES(RULE("a") ", {apply_on_stream_done: true, actions: "
				    "[{destination_cluster: {}}]}")),
	      "[d (generic_key=a,)?][d (destination_cluster=c,).]");
	/* what a runtime key could turn off is asked as long as nobody does */
	ASKED("", "", ROUTE(RATES("{disable_key: k, actions: [{remote_address: {}}]}")),
	      "[d (remote_address=::,)?][d.]");
	ASKED("", "",
	      ROUTE(RATES("{actions: [{metadata: {descriptor_key: m, metadata_key: {key: "
			  "envoy.filters.http.ratelimit, path: [{key: set}]}}}]}, {actions: "
			  "[{metadata: {descriptor_key: m, default_value: n, metadata_key: "
			  "{key: x, path: [{key: other}]}}}]}")),
	      "[d (m=m,) (m=n,)?][d.]");
	/* a route that answers, and one whose cluster is not there, are never asked about */
	ASKED("", RATES(RULE("v")) ",", "{match: {prefix: /}, direct_response: {status: 200}}", "");
	ASKED("", "", "{match: {prefix: /}, route: {cluster: nowhere, " RATES(RULE("a")) "}}", "");
}

#define PER_ROUTE(config) "typed_per_filter_config: {g: {" PER ", " config "}}"
static void test_per_route(void **state)
{
	(void)state;
#define TWO(config)                                                                                \
	"{match: {prefix: /}, route: {cluster: c, " RATES(RULE("a")) "}, " PER_ROUTE(config) "}"
	ASKED("", RATES(RULE("v")) ",", TWO("vh_rate_limits: INCLUDE"),
	      "[d (generic_key=a,) (generic_key=v,)?][d.]");
	ASKED("", RATES(RULE("v")) ",", TWO("domain: e, override_option: INCLUDE_POLICY"),
	      "[e (generic_key=a,)?][e.]");
	ASKED("", RATES(RULE("v")) ",", TWO(RATES(RULE("p"))), "[d (generic_key=p,)?][d.]");
	ASKED(RATES(RULE("o")) ", ", "", TWO(RATES(RULE("p"))), "[d (generic_key=p,)?][d.]");
	ASKED("", RATES(RULE("v")) ",",
	      "{match: {prefix: /}, route: {cluster: c}, " PER_ROUTE("vh_rate_limits: IGNORE") "}",
	      "[d?][d.]");
	ASKED("", RATES(RULE("v")) ",",
	      "{match: {prefix: /}, route: {cluster: c}, typed_per_filter_config: {g: {" T(
		      "config.route.v3.FilterConfig") ", disabled: true}}}",
	      "");
}

#define OUTCOME(filter, headers, verdict, want)                                                    \
	(dec = decide(WITH(FILTER(filter SERVICE("")), "", ROUTE(RATES(RULE("a")))), headers,      \
		      WEFT_VERDICT_##verdict),                                                     \
	 assert_int_equal(dec.outcome, WEFT_OUTCOME_##want))
static void test_verdicts(void **state)
{
	struct weft_decision dec;

	(void)state;
	OUTCOME("", "", OK, NO_HEALTHY_UPSTREAM); /* goes on */
	assert_int_equal(limiter.passes, 1);
	OUTCOME("", "", OVER, GLOBAL_LIMITED);
	assert_int_equal(dec.fault_status, 429);
	assert_int_equal(dec.grpc, 0);
	assert_int_equal(limiter.passes, 0);
	OUTCOME("rate_limited_status: {code: 200}, rate_limited_as_resource_exhausted: true, ", "",
		OVER, GLOBAL_LIMITED);
	assert_int_equal(dec.fault_status, 429);
	assert_int_equal(dec.grpc, 8 + 1);
	OUTCOME("rate_limited_status: {code: 503}, ", "", OVER, GLOBAL_LIMITED);
	assert_int_equal(dec.fault_status, 503);
	OUTCOME("filter_enforced: {default_value: {numerator: 0}}, ", "", OVER,
		NO_HEALTHY_UPSTREAM);
	assert_int_equal(limiter.passes, 1);
	OUTCOME("filter_enabled: {default_value: {numerator: 0}}, ", "", OVER, NO_HEALTHY_UPSTREAM);
	assert_string_equal(limiter.text, "");
	OUTCOME("", "", ERROR, NO_HEALTHY_UPSTREAM);
	OUTCOME("failure_mode_deny: true, ", "", ERROR, LIMITER_ERROR);
	assert_int_equal(dec.fault_status, 500);
	OUTCOME("failure_mode_deny: true, status_on_error: {code: 302}, ", "", ERROR,
		LIMITER_ERROR);
	assert_int_equal(dec.fault_status, 302);
	OUTCOME("failure_mode_deny: true, failure_mode_deny_percent: {default_value: {numerator: "
		"0}}, ",
		"", ERROR, NO_HEALTHY_UPSTREAM);
	OUTCOME("", "", WAIT, NONE);
	assert_int_equal(asks, 1);
	assert_int_equal(ran, 0);
	/* nobody says that it is an internal one */
	OUTCOME("request_type: internal, ", "x-envoy-internal: true\r\n", OVER,
		NO_HEALTHY_UPSTREAM);
	OUTCOME("request_type: external, ", "x-envoy-internal: true\r\n", OVER, GLOBAL_LIMITED);
}

/* A filter behind one that waits has done nothing, one before it is not counted again. */
static void test_order(void **state)
{
	(void)state;
#define RBAC(id)                                                                                   \
	"{name: " id ", typed_config: {" T(                                                        \
		"extensions.filters.http.rbac.v3.RBAC") ", rules: {"                               \
							"policies: {p: {permissions: [{any: "      \
							"true}], principals: [{any: true}]}}}}}, "
	decide(WITH(RBAC("one") FILTER(SERVICE("")) RBAC("two"), "", ROUTE(RATES(RULE("a")))), "",
	       WEFT_VERDICT_WAIT);
	assert_int_equal(ran, 1);
	decide(WITH(RBAC("one") FILTER(SERVICE("")) RBAC("two"), "", ROUTE(RATES(RULE("a")))), "",
	       WEFT_VERDICT_OK);
	assert_int_equal(ran, 3);
}

#define REFUSE(config, field, reason)                                                              \
	conf_refused(WITH(FILTER(config), "", ROUTE("")), "Listener/l", F0 field, reason)
static void test_refused(void **state)
{
	(void)state;
	REFUSE("rate_limit_service: {transport_api_version: V3, grpc_service: {google_grpc: "
	       "{target_uri: a, stat_prefix: s}}}",
	       "rate_limit_service.grpc_service.google_grpc", "unsupported");
	REFUSE("rate_limit_service: {transport_api_version: V3, grpc_service: {envoy_grpc: "
	       "{cluster_name: a, retry_policy: {num_retries: 1}}}}",
	       "rate_limit_service.grpc_service.envoy_grpc.retry_policy", "unsupported");
	REFUSE(SERVICE("initial_metadata: [{key: a, value: '%NOPE%'}], "),
	       "rate_limit_service.grpc_service.initial_metadata[0]", "NOPE");
	REFUSE(SERVICE("initial_metadata: [{key: a, raw_value: eQ==}], "),
	       "rate_limit_service.grpc_service.initial_metadata[0]", "raw_value");
	REFUSE("rate_limit_service: {transport_api_version: V2, grpc_service: {envoy_grpc: "
	       "{cluster_name: a}}}",
	       "rate_limit_service.transport_api_version", "V2");
	REFUSE(SERVICE("") ", metadata_namespace: a", "metadata_namespace", "unsupported");
	REFUSE(SERVICE("") ", rate_limits: [{stage: 0, actions: [{remote_address: {}}]}]",
	       "rate_limits[0]", "'stage' field");
	REFUSE(SERVICE("") ", rate_limits: [{actions: [{extension: {name: a, typed_config: {" T(
		       "type.v3.Int64Range") "}}}]}]",
	       "rate_limits[0].actions[0].extension", "unsupported");
}

/* ---- the network filter ---- */

#define CONN(more)                                                                                 \
	"{name: g, typed_config: {" T(                                                             \
		"extensions.filters.network.ratelimit.v3.RateLimit") ", stat_prefix: p, domain: "  \
								     "d, " more "}}, "
#define ENTRY "descriptors: [{entries: [{key: k, value: v}]}], "
#define LOCAL_LIMIT                                                                                \
	"{name: l, typed_config: {" T("extensions.filters.network.local_ratelimit.v3."             \
				      "LocalRateLimit") ", stat_prefix: s, token_bucket: "         \
							"{max_tokens: 1, fill_interval: 1s}}}, "
#define TCP(cluster)                                                                               \
	"{name: t, typed_config: {" T(                                                             \
		"extensions.filters.network.tcp_proxy.v3.TcpProxy") ", stat_prefix: t, "           \
								    "cluster: " cluster "}}"
#define CONNECTIONS(filters) LISTENER("l", AT_80, filters TCP("c")) CLUSTER("c", STATIC)

static void test_connections(void **state)
{
	struct conf_req *q = calloc(1, sizeof(*q));
	const struct weft_img_conn_descriptor *d;
	const struct weft_img_conn_entry *e;
	const struct weft_img_chain *chain;
	const struct weft_img_conn_ask *a;
	uint32_t off = 0;
	struct conf c;

	(void)state;
	assert_non_null(q);
	conf_open(&c);
	conf_ok(&c,
		CONNECTIONS(CONN(ENTRY SERVICE("")) LOCAL_LIMIT CONN(
			"timeout: 3s, failure_mode_deny: true, descriptors: [{entries: [{key: "
			"a, value: b}]}, {limit: {requests_per_unit: 1, unit: DAY}, entries: "
			"[{key: k, value: '%DOWNSTREAM_LOCAL_PORT%'}, {key: l}]}], " SERVICE(""))));
	conf_connect(q, "10.0.0.1", 80);
	/* not for connect(), though it is a TCP chain */
	assert_int_equal(weft_class_find(&q->ctx, &off), WEFT_CLASS_CAPTURED);
	chain = weft_img_at(weft_chain_find(&q->ctx, WEFT_PROTO_RAW));
	assert_int_equal(chain->n_ask, 2);
	a = weft_img_at(chain->ask[0]);
	assert_int_equal(a->service.timeout_ms, 20);
	assert_int_equal(a->deny, 0);
	assert_int_equal(a->after, 0);
	a = weft_img_at(chain->ask[1]);
	assert_int_equal(a->service.timeout_ms, 3000);
	assert_int_equal(a->deny, 1);
	assert_int_equal(a->after, 1);
	assert_int_equal(a->n, 2);
	d = weft_img_at(a->descriptor);
	assert_int_equal(d[1].n, 2);
	e = weft_img_at(d[1].entry);
	assert_int_equal(e[0].value.n_piece, 1);
	assert_int_equal(e[1].value.n_piece, 0);
	assert_int_equal(e[1].value.value.len, 0);
	free(q);
	conf_close(&c);
}

#define C0 "filter_chains[0].filters[0].typed_config"
#define FOUR4(x) x x x x
#define FOUR(x) x ", " x ", " x ", " x
#define ONE "{key: k, value: v}"
static void test_connections_refused(void **state)
{
	(void)state;
	conf_refused(
		CONNECTIONS(CONN(
			"descriptors: [{entries: [{key: k, value: '%NOPE%'}]}], " SERVICE(""))),
		"Listener/l", C0 ".descriptors[0].entries[0].value", "NOPE");
	conf_refused(CONNECTIONS(CONN("descriptors: [{entries: [" FOUR(
			     FOUR(ONE ", " ONE)) ", " ONE "]}], " SERVICE(""))),
		     "Listener/l", C0 ".descriptors[0].entries", "more than 32");
	conf_refused(CONNECTIONS(CONN("descriptors: [" FOUR(FOUR(FOUR(
			     "{entries: [" ONE "]}"))) ", {entries: [" ONE "]}], " SERVICE(""))),
		     "Listener/l", C0 ".descriptors", "more than 64");
	conf_refused(CONNECTIONS(FOUR4(CONN(ENTRY SERVICE(""))) CONN(ENTRY SERVICE(""))),
		     "Listener/l", "filter_chains[0].filters[4].typed_config",
		     "more than 4 global rate limits");
	conf_refused(CONNECTIONS(CONN(ENTRY "rate_limit_service: {transport_api_version: V3, "
					    "grpc_service: {google_grpc: {target_uri: a, "
					    "stat_prefix: s}}}")),
		     "Listener/l", C0 ".rate_limit_service.grpc_service.google_grpc",
		     "unsupported");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whose_rules),
		cmocka_unit_test(test_per_route),
		cmocka_unit_test(test_verdicts),
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_connections),
		cmocka_unit_test(test_connections_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
