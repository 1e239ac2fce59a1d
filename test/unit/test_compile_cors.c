// SPDX-License-Identifier: Apache-2.0
/* CORS policies: refused ones, and decisions by policies of several levels. */
#include "compile_fixture.h"

#define CORS "{name: cors, typed_config: {" T("extensions.filters.http.cors.v3.Cors") "}},"
#define POLICY T("extensions.filters.http.cors.v3.CorsPolicy")
#define CORS_LISTENER LISTENER("l", AT_80, HCM("", CORS, RDS))
#define OF_ROUTE(policy)                                                                           \
	CORS_LISTENER ROUTES("{match: {prefix: /}, route: {cluster: c}, typed_per_filter_config: " \
			     "{cors: {" POLICY ", " policy "}}}")
#define F "virtual_hosts[0].routes[0].typed_per_filter_config[\"cors\"]."

static void test_refused(void **state)
{
	(void)state;
	/* they would end the line */
	conf_refused(OF_ROUTE("allow_methods: \"a\\r\\nb\""), "RouteConfiguration/r",
		     F "allow_methods", "control characters");
	conf_refused(OF_ROUTE("max_age: \"a\\nb\""), "RouteConfiguration/r", F "max_age",
		     "control characters");
	conf_refused(OF_ROUTE("allow_origin_string_match: [{safe_regex: {regex: '('}}]"),
		     "RouteConfiguration/r",
		     F "allow_origin_string_match[0].string_match.safe_regex", "missing )");
}

static void decides(const char *route, const char *vhost, const char *origin, int allowed)
{
	char yaml[8192], headers[256];
	struct conf_req *q = calloc(1, sizeof(*q));
	struct conf c;

	assert_non_null(q);
	snprintf(yaml, sizeof(yaml),
		 CORS_LISTENER RC(
			 "", "{name: v, domains: ['*'], typed_per_filter_config: {cors: {" POLICY
			     " %s}}, routes: [{match: {prefix: /}, route: {cluster: c}, "
			     "typed_per_filter_config: {cors: {" POLICY " %s}}}]}"),
		 vhost, route);
	snprintf(headers, sizeof(headers), "origin: %s\r\naccess-control-request-method: GET\r\n",
		 origin);
	conf_open(&c);
	conf_ok(&c, yaml);
	conf_connect(q, "10.0.0.1", 80);
	conf_request(&c, q, "OPTIONS", "h", "/", headers);
	assert_int_equal(q->req.dec.outcome == WEFT_OUTCOME_CORS, allowed);
	assert_int_equal(q->req.dec.cors_allowed, allowed);
	free(q);
	conf_close(&c);
}

static void test_levels(void **state)
{
	(void)state;
	decides(", allow_origin_string_match: [{exact: a}]", "", "a", 1);
	decides(", allow_origin_string_match: [{exact: a}]", "", "b", 0);
	/* the outer level's where the inner one says nothing */
	decides("", ", allow_origin_string_match: [{prefix: a}]", "ab", 1);
	decides(", allow_origin_string_match: [{exact: x}]",
		", allow_origin_string_match: [{prefix: a}]", "ab", 0);
	/* whether it is on is the innermost level's to say */
	decides(", allow_methods: G",
		", allow_origin_string_match: [{prefix: a}], filter_enabled: {default_value: {}}",
		"ab", 1);
	decides(", filter_enabled: {default_value: {}}",
		", allow_origin_string_match: [{prefix: a}]", "ab", 0);
	/* what fits "*" allows all */
	decides(", allow_origin_string_match: [{exact: '*'}]", "", "b", 1);
	decides(", allow_origin_string_match: [{safe_regex: {regex: '[*]'}}]", "", "b", 1);
	decides(", allow_origin_string_match: [{exact: '**'}]", "", "b", 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_levels),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
