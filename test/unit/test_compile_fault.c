// SPDX-License-Identifier: Apache-2.0
/* Fault injection: what is compiled, and what it decides. */
#include "test/unit/compile_fixture.h"

#define FAULT T("extensions.filters.http.fault.v3.HTTPFault")
#define F0 "filter_chains[0].filters[0].typed_config.http_filters[0].typed_config"
#define WITH(config, routes)                                                                       \
	LISTENER("l", AT_80,                                                                       \
		 HCM("", "{name: fault, typed_config: {" FAULT ", " config "}}, ", RDS))           \
	ROUTES(routes) CLUSTER("c", STATIC) CLUSTER("d", STATIC)
#define STATIC "type: STATIC, load_assignment: {cluster_name: x}"
#define ONE(config)                                                                                \
	WITH(config, "{match: {prefix: /d}, route: {cluster: d}}, {match: {prefix: /}, route: "    \
		     "{cluster: c}}")
#define ALL "percentage: {numerator: 100}"

/* What was decided of GET path with these headers; `out` holds the rest. */
static struct weft_decision ask(struct conf *c, const char *path, const char *headers,
				uint32_t flags)
{
	struct conf_req *q = calloc(1, sizeof(*q));
	struct weft_decision dec;

	assert_non_null(q);
	conf_connect(q, "10.0.0.1", 80);
	q->ctx.flags = flags;
	conf_request(c, q, "GET", "h", path, headers);
	dec = q->req.dec;
	free(q);
	return dec;
}

static bool aborted(const char *config, const char *path, const char *headers, uint32_t want)
{
	struct weft_decision dec;
	char yaml[4096];
	struct conf c;

	snprintf(yaml, sizeof(yaml), ONE("%s"), config);
	conf_open(&c);
	conf_ok(&c, yaml);
	dec = ask(&c, path, headers, 0);
	conf_close(&c);
	if (dec.outcome != WEFT_OUTCOME_FAULT)
		return false;
	assert_int_equal(dec.fault_status, want);
	return true;
}

static void test_abort(void **state)
{
	(void)state;
	assert_true(aborted("abort: {http_status: 418, " ALL "}", "/", "", 418));
	assert_true(aborted("abort: {grpc_status: 5, " ALL "}", "/", "", 200));
	assert_false(aborted("abort: {http_status: 418}", "/", "", 0));
	assert_false(aborted("", "/", "", 0));
	assert_false(
		aborted("abort: {http_status: 418, " ALL "}, upstream_cluster: d", "/", "", 0));
	assert_true(
		aborted("abort: {http_status: 418, " ALL "}, upstream_cluster: d", "/d", "", 418));
	/* no cluster at all */
	assert_false(aborted("abort: {http_status: 418, " ALL "}, upstream_cluster: unknown", "/",
			     "", 0));
	assert_true(aborted("abort: {http_status: 418, " ALL
			    "}, headers: [{name: x-a}, {name: x-b}]",
			    "/", "x-a: 1\r\nx-b: 1\r\n", 418));
	assert_false(aborted("abort: {http_status: 418, " ALL
			     "}, headers: [{name: x-a}, {name: x-b}]",
			     "/", "x-a: 1\r\n", 0));
}

#define BY_HEADER "abort: {header_abort: {}, " ALL "}"
#define ASK "x-envoy-fault-abort-request"
#define THROUGHPUT "x-envoy-fault-throughput-response"
#define NODE "x-envoy-downstream-service-node"
static void test_headers(void **state)
{
	(void)state;
	assert_true(aborted(BY_HEADER, "/", ASK ": 429\r\n", 429));
	assert_false(aborted(BY_HEADER, "/", ASK ": 199\r\n", 0));
	assert_false(aborted(BY_HEADER, "/", ASK ": 600\r\n", 0));
	assert_false(aborted(BY_HEADER, "/", ASK ": 18446744073709552045\r\n",
			     0)); /* 429 more than 2^64 */
	assert_false(aborted(BY_HEADER, "/", ASK ": 4a\r\n", 0));
	assert_false(aborted(BY_HEADER, "/", ASK ":\r\n", 0));
	assert_true(aborted(BY_HEADER, "/", ASK ": +429\r\n", 429));
	assert_true(aborted(BY_HEADER, "/", "x-envoy-fault-abort-grpc-request: 5\r\n", 200));
	assert_false(aborted(BY_HEADER, "/", ASK ": 429\r\n" ASK "-percentage: 0\r\n", 0));
	assert_true(aborted(BY_HEADER, "/", ASK ": 429\r\n" ASK "-percentage: 4000\r\n", 429));
}

/* Shares hold within five standard deviations. */
static void test_share(void **state)
{
	struct conf c;
	int n = 0;

	(void)state;
	conf_open(&c);
	conf_ok(&c, ONE("abort: {http_status: 500, percentage: {numerator: 2500, denominator: "
			"TEN_THOUSAND}}"));
	for (int i = 0; i < 4000; i++)
		n += ask(&c, "/", "", 0).outcome == WEFT_OUTCOME_FAULT;
	assert_in_range(n, 1000 - 137, 1000 + 137);
	conf_close(&c);
}

static void test_delay(void **state)
{
	struct weft_decision dec;
	struct conf c;

	(void)state;
	conf_open(&c);
	conf_ok(&c, ONE("delay: {fixed_delay: 1.5009s, " ALL "}"));
	dec = ask(&c, "/", "", 0);
	assert_int_equal(dec.delay_ms, 1500);
	assert_true(dec.delay_cell);
	assert_int_not_equal(dec.outcome, WEFT_OUTCOME_FAULT);
	conf_ok(&c, ONE("delay: {header_delay: {}, " ALL "}, abort: {http_status: 500, " ALL "}"));
	dec = ask(&c, "/", "x-envoy-fault-delay-request: 77\r\n", 0);
	assert_int_equal(dec.delay_ms, 77);
	assert_int_equal(dec.outcome, WEFT_OUTCOME_FAULT);
	assert_int_equal(ask(&c, "/", "", 0).delay_ms, 0);
	assert_int_equal(ask(&c, "/",
			     "x-envoy-fault-delay-request: "
			     "77\r\nx-envoy-fault-delay-request-percentage: 0\r\n",
			     0)
				 .delay_ms,
			 0);
	conf_close(&c);
}

static void test_rate(void **state)
{
	struct weft_decision dec;
	struct conf c;

	(void)state;
	conf_open(&c);
	conf_ok(&c, ONE("response_rate_limit: {fixed_limit: {limit_kbps: 7}, " ALL "}"));
	dec = ask(&c, "/", "", 0);
	assert_int_equal(dec.n_rate, 1);
	assert_int_equal(dec.rate[0].kbps, 7);
	assert_true(dec.rate[0].cell);
	assert_int_not_equal(dec.outcome, WEFT_OUTCOME_FAULT);
	conf_ok(&c, ONE("response_rate_limit: {fixed_limit: {limit_kbps: "
			"\"18446744073709551615\"}, " ALL "}"));
	assert_int_equal(ask(&c, "/", "", 0).rate[0].kbps, UINT32_MAX);
	conf_ok(&c, ONE("response_rate_limit: {fixed_limit: {limit_kbps: 7}}"));
	assert_int_equal(ask(&c, "/", "", 0).n_rate, 0);
	conf_ok(&c, ONE("response_rate_limit: {header_limit: {}, " ALL "}"));
	assert_int_equal(ask(&c, "/", "", 0).n_rate, 0);
	assert_int_equal(ask(&c, "/", THROUGHPUT ": 0\r\n", 0).n_rate, 0);
	assert_int_equal(ask(&c, "/", THROUGHPUT ": 3\r\n", 0).rate[0].kbps, 3);
	assert_int_equal(
		ask(&c, "/", THROUGHPUT ": 3\r\n" THROUGHPUT "-percentage: 0\r\n", 0).n_rate, 0);
	/* a place of the active faults is needed for it */
	conf_ok(&c,
		ONE("max_active_faults: 0, response_rate_limit: {fixed_limit: {limit_kbps: 7}, " ALL
		    "}"));
	assert_int_equal(ask(&c, "/", "", 0).n_rate, 0);
	conf_close(&c);
}

static void test_nodes(void **state)
{
	static const char nodes[] =
		"downstream_nodes: [a, \"\"], abort: {http_status: 418, " ALL "}";

	(void)state;
	assert_false(aborted(nodes, "/", "", 0));
	assert_false(aborted(nodes, "/", NODE ": b\r\n", 0));
	assert_false(aborted(nodes, "/", NODE ": A\r\n", 0));
	assert_false(aborted(nodes, "/", NODE ": a, a\r\n", 0));
	assert_true(aborted(nodes, "/", NODE ": a\r\n", 418));
	assert_true(aborted(nodes, "/", NODE ":\r\n", 418));
}

static void test_active(void **state)
{
	struct weft_decision dec;
	struct conf c;

	(void)state;
	conf_open(&c);
	conf_ok(&c, ONE("max_active_faults: 1, delay: {fixed_delay: 1s, " ALL
			"}, abort: {http_status: 500, " ALL "}"));
	dec = ask(&c, "/", "", 0);
	assert_int_equal(dec.delay_ms, 1000);
	weft_cell_filter(dec.delay_cell)->active = 1; /* as one that waits */
	assert_int_equal(ask(&c, "/", "", 0).delay_ms, 0);
	assert_int_not_equal(ask(&c, "/", "", 0).outcome, WEFT_OUTCOME_FAULT);
	assert_in_range(weft_cell_filter(dec.delay_cell)->overflow, 1, 4);
	/* the one that has waited is aborted all the same, and counted once */
	assert_int_equal(ask(&c, "/", "", WEFT_CTX_DELAYED).outcome, WEFT_OUTCOME_FAULT);
	assert_int_equal(weft_cell_filter(dec.delay_cell)->aborts, 1);
	conf_close(&c);
}

#define PER(config) "typed_per_filter_config: {fault: {" config "}}"
static void test_per_route(void **state)
{
	struct conf c;

	(void)state;
	conf_open(&c);
	conf_ok(&c, WITH("abort: {http_status: 500, " ALL "}",
			 "{match: {path: /none}, " OK_200
			 ", " PER(FAULT) "}, "
					 "{match: {path: /own}, " OK_200
					 ", " PER(FAULT ", abort: {http_status: 501, " ALL
							"}") "}, "
							     "{match: {prefix: /}, " OK_200 "}"));
	assert_int_equal(ask(&c, "/", "", 0).fault_status, 500);
	assert_int_equal(ask(&c, "/none", "", 0).outcome, WEFT_OUTCOME_DIRECT_RESPONSE);
	assert_int_equal(ask(&c, "/own", "", 0).fault_status, 501);
	/* a filter without a fault of its own is there for those of routes */
	conf_ok(&c, WITH("", "{match: {path: /own}, " OK_200
			     ", " PER(FAULT ", abort: {http_status: 501, " ALL "}") "}"));
	assert_int_equal(ask(&c, "/own", "", 0).fault_status, 501);
	conf_close(&c);
}

static void test_refused(void **state)
{
	static const char *const keys[] = {
		"abort_percent_runtime",     "delay_percent_runtime",
		"delay_duration_runtime",    "abort_http_status_runtime",
		"abort_grpc_status_runtime", "max_active_faults_runtime",
		"response_rate_limit_percent_runtime"};
	char many[2048] = "", yaml[4096];

	(void)state;
	conf_refused(ONE("response_rate_limit: {fixed_limit: {}, " ALL "}"), "Listener/l",
		     F0 ".response_rate_limit.fixed_limit.limit_kbps", "");
	conf_refused(ONE("response_rate_limit: {" ALL "}"), "Listener/l",
		     F0 ".response_rate_limit.limit_type", "is required");
	for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++) {
		char at[256];

		snprintf(yaml, sizeof(yaml), ONE("%s: a"), keys[i]);
		snprintf(at, sizeof(at), F0 ".%s", keys[i]);
		conf_noted(yaml, "Listener/l", at);
	}
	conf_refused(ONE("delay: {fixed_delay: 5000000s, " ALL "}"), "Listener/l",
		     F0 ".delay.fixed_delay", "between");
	for (unsigned int i = 0; i <= WEFT_CONDS_MAX; i++)
		strcat(many, "{name: x-a}, ");
	snprintf(yaml, sizeof(yaml), ONE("abort: {http_status: 500, " ALL "}, headers: [%s]"),
		 many);
	conf_refused(yaml, "Listener/l", F0 ".headers", "more than 16");
	conf_noted(ONE("disable_downstream_cluster_stats: true"), "Listener/l",
		   F0 ".disable_downstream_cluster_stats");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_abort),	cmocka_unit_test(test_headers),
		cmocka_unit_test(test_share),	cmocka_unit_test(test_delay),
		cmocka_unit_test(test_rate),	cmocka_unit_test(test_nodes),
		cmocka_unit_test(test_active),	cmocka_unit_test(test_per_route),
		cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
