// SPDX-License-Identifier: Apache-2.0
/* RouteMatch and direct responses: what is represented, and what is refused by name. */
#include "test/unit/compile_fixture.h"

#define MATCH(m) LISTENER_80 ROUTES("{match: {" m "}, " OK_200 "}")
#define R0 "virtual_hosts[0].routes[0]"

static void refused(const char *match, const char *field, const char *reason)
{
	char yaml[4096], path[256];

	snprintf(yaml, sizeof(yaml), LISTENER_80 ROUTES("{match: {%s}, " OK_200 "}"), match);
	snprintf(path, sizeof(path), R0 ".match.%s", field);
	conf_refused(yaml, "RouteConfiguration/r", path, reason);
}

static void test_paths(void **state)
{
	struct conf c;

	(void)state;
	conf_open(&c);
	conf_ok(&c,
		LISTENER_80 ROUTES("{match: {path: /exact}, " OK_200 "}, "
				   "{match: {path_separated_prefix: /sep}, " OK_200 "}, "
				   "{match: {prefix: /pre}, " OK_200 "}, "
				   "{match: {path: /exact/no, case_sensitive: true}, " OK_200 "}"));
	assert_int_equal(conf_route(&c, "GET", "h", "/exact", ""), 0);
	assert_int_equal(conf_route(&c, "GET", "h", "/exact?q=1", ""), 0);
	assert_int_equal(conf_route(&c, "GET", "h", "/exact/", ""), -1);
	assert_int_equal(conf_route(&c, "GET", "h", "/sep", ""), 1);
	assert_int_equal(conf_route(&c, "GET", "h", "/sep/x", ""), 1);
	assert_int_equal(conf_route(&c, "GET", "h", "/sep?x", ""), 1);
	assert_int_equal(conf_route(&c, "GET", "h", "/separate", ""), -1);
	assert_int_equal(conf_route(&c, "GET", "h", "/pre", ""), 2);
	assert_int_equal(conf_route(&c, "GET", "h", "/prefix", ""), 2);
	assert_int_equal(conf_route(&c, "GET", "h", "/exact/no", ""), 3);
	assert_int_equal(conf_route(&c, "GET", "h", "/EXACT", ""), -1);
	conf_close(&c);
}

static void test_any_case(void **state)
{
	struct conf c;

	(void)state;
	conf_open(&c);
	conf_ok(&c, LISTENER_80 ROUTES(
			    "{match: {path: /Exact/Path, case_sensitive: false}, " OK_200 "}, "
			    "{match: {prefix: /PRE, case_sensitive: false}, " OK_200 "}, "
			    "{match: {path_separated_prefix: /Sep, case_sensitive: false}, " OK_200 "}, "
			    "{match: {prefix: /exact}, " OK_200 "}, "
			    "{match: {prefix: /pre/longer/than/eight, headers: [{name: x}]}, " OK_200 "}, "
			    "{match: {prefix: /Long/Label/of/Many/Bytes, case_sensitive: false, headers: "
			    "[{name: y}]}, " OK_200 "}, "
			    "{match: {prefix: /long}, " OK_200 "}"));
	assert_int_equal(conf_route(&c, "GET", "h", "/eXACT/pATH", ""), 0);
	assert_int_equal(conf_route(&c, "GET", "h", "/exact/path", ""), 0);
	assert_int_equal(conf_route(&c, "GET", "h", "/exact/paths", ""), 3);
	assert_int_equal(conf_route(&c, "GET", "h", "/Exact/paths", ""), -1);
	assert_int_equal(conf_route(&c, "GET", "h", "/preLUDE?q", ""), 1);
	assert_int_equal(conf_route(&c, "GET", "h", "/pre/longer/than/eight", "x: 1\r\n"), 1);
	assert_int_equal(conf_route(&c, "GET", "h", "/SEP/x", ""), 2);
	assert_int_equal(conf_route(&c, "GET", "h", "/sEp", ""), 2);
	assert_int_equal(conf_route(&c, "GET", "h", "/SEPx", ""), -1);
	assert_int_equal(conf_route(&c, "GET", "h", "/long/label/OF/many/bytes!", "y: 1\r\n"), 5);
	assert_int_equal(conf_route(&c, "GET", "h", "/long/label/OF/many/bytes!", ""), 6);
	assert_int_equal(conf_route(&c, "GET", "h", "/LONG/label/OF/many/bytes!", ""), -1);
	/* '@' and '`' differ in the bit that cases differ in */
	conf_ok(&c, LISTENER_80 ROUTES("{match: {prefix: '/`', case_sensitive: false}, " OK_200 "}"));
	assert_int_equal(conf_route(&c, "GET", "h", "/`", ""), 0);
	assert_int_equal(conf_route(&c, "GET", "h", "/@", ""), -1);
	conf_close(&c);
}

static void test_regex(void **state)
{
	struct conf c;

	(void)state;
	conf_open(&c);
	conf_ok(&c, LISTENER_80 ROUTES(
			    "{match: {safe_regex: {regex: '/api/v[0-9]+/.*'}, headers: [{name: x}]}, " OK_200 "}, "
			    "{match: {safe_regex: {regex: '/api/v[0-9]+(/.*)?'}}, " OK_200 "}, "
			    "{match: {path: /api/v1}, " OK_200 "}, "
			    "{match: {safe_regex: {regex: '(?i)/FLAG/[a-z]+'}, case_sensitive: false}, " OK_200 "}, "
			    "{match: {safe_regex: {regex: '/re/[a-z]+'}, case_sensitive: false}, " OK_200 "}, "
			    "{match: {safe_regex: {regex: '.*/a[ab]{14}'}}, " OK_200 "}, "
			    "{match: {safe_regex: {regex: '[^;]*;?x'}}, " OK_200 "}"));
	assert_int_equal(conf_route(&c, "GET", "h", "/api/v12/x?q=/", "x: 1\r\n"), 0);
	assert_int_equal(conf_route(&c, "GET", "h", "/api/v12/x", ""), 1);
	assert_int_equal(conf_route(&c, "GET", "h", "/api/v1", ""), 1);
	assert_int_equal(conf_route(&c, "GET", "h", "/api/v1?x", "x: 1\r\n"), 1);
	assert_int_equal(conf_route(&c, "GET", "h", "/api/vx", ""), 6);
	assert_int_equal(conf_route(&c, "GET", "h", "/api/v", ""), -1);
	assert_int_equal(conf_route(&c, "GET", "h", "/flag/aBc", ""), 3);
	assert_int_equal(conf_route(&c, "GET", "h", "/re/abc", ""), 4);
	assert_int_equal(conf_route(&c, "GET", "h", "/re/ABC", ""), -1);
	assert_int_equal(conf_route(&c, "GET", "h", "/p/abababababababa", ""), 5);
	assert_int_equal(conf_route(&c, "GET", "h", "/p/abababababababc", ""), -1);
	/* without the parameters of its segments */
	conf_ok(&c, LISTENER_80 RC("ignore_path_parameters_in_path_matching: true, ",
				   VHOST("{match: {safe_regex: {regex: '/pr/[a-z]+'}}, " OK_200 "}")));
	assert_int_equal(conf_route(&c, "GET", "h", "/pr;b=2/x;a=1?q", ""), 0);
	assert_int_equal(conf_route(&c, "GET", "h", "/pr/x1;a", ""), -1);
	conf_close(&c);
}

/* Routes with connect_matcher are for CONNECT alone, and CONNECT for them. Nobody may tunnel: 403. */
static void test_connect(void **state)
{
	struct conf_req *q = calloc(1, sizeof(*q));
	struct conf c;

	(void)state;
	assert_non_null(q);
	conf_open(&c);
	for (int with = 0; with < 2; with++) {
		conf_ok(&c, with ? LISTENER_80 ROUTES("{match: {connect_matcher: {}, headers: [{name: x}]}, "
						      OK_200 "}, {match: {connect_matcher: {}}, " OK_200 "}, "
						      "{match: {prefix: /}, " OK_200 "}") :
				   LISTENER_80 ROUTES("{match: {prefix: /}, " OK_200 "}"));
		assert_int_equal(conf_route(&c, "GET", "h", "/", ""), with ? 2 : 0);
		for (int x = 0; x < 2; x++) {
			conf_connect(q, "10.0.0.1", 80);
			conf_request(&c, q, "CONNECT", "h:80", "h:80", x ? "x: 1\r\n" : "");
			assert_int_equal(q->req.dec.outcome, with ? WEFT_OUTCOME_UPGRADE_FAILED :
								    WEFT_OUTCOME_NO_ROUTE);
			if (with)
				assert_int_equal(((const struct weft_img_route *)weft_img_at(
							 q->req.dec.route))->index, x ? 0 : 1);
		}
	}
	conf_close(&c);
	free(q);
}

static void test_path_parameters(void **state)
{
	struct conf c;

	(void)state;
	conf_open(&c);
	conf_ok(&c, LISTENER_80 RC("ignore_path_parameters_in_path_matching: true, ",
				   VHOST("{match: {path: /pp/x}, " OK_200 "}, "
					 "{match: {prefix: /PP/X, case_sensitive: false}, " OK_200 "}, "
					 "{match: {prefix: '/;'}, " OK_200 "}, "
					 "{match: {prefix: /, headers: [{name: ':path', string_match: "
					 "{contains: ';'}}]}, " OK_200 "}")));
	assert_int_equal(conf_route(&c, "GET", "h", "/pp/x", ""), 0);
	assert_int_equal(conf_route(&c, "GET", "h", "/pp/x;a=1", ""), 0);
	assert_int_equal(conf_route(&c, "GET", "h", "/pp;z/x;a=1?q;q", ""), 0);
	assert_int_equal(conf_route(&c, "GET", "h", "/pp/x;", ""), 0);
	assert_int_equal(conf_route(&c, "GET", "h", "/pP;z/x;a=1/y", ""), 1);
	/* a header condition sees the path as it came */
	assert_int_equal(conf_route(&c, "GET", "h", "/;x", ""), 3);
	assert_int_equal(conf_route(&c, "GET", "h", "/y", ""), -1);
	conf_ok(&c, LISTENER_80 ROUTES("{match: {path: /pp/x}, " OK_200 "}, "
				       "{match: {path: '/pp/x;a'}, " OK_200 "}"));
	assert_int_equal(conf_route(&c, "GET", "h", "/pp/x;a", ""), 1);
	conf_close(&c);
}

static void test_first_match_wins(void **state)
{
	struct conf c;

	(void)state;
	conf_open(&c);
	conf_ok(&c, LISTENER_80 ROUTES("{match: {prefix: /a, headers: [{name: x}]}, " OK_200 "}, "
				       "{match: {path: /a/b}, " OK_200 "}, "
				       "{match: {prefix: /}, " OK_200 "}, "
				       "{match: {path: /a/c}, " OK_200 "}"));
	assert_int_equal(conf_route(&c, "GET", "h", "/a/b", "x: 1\r\n"), 0);
	assert_int_equal(conf_route(&c, "GET", "h", "/a/b", ""), 1);
	assert_int_equal(conf_route(&c, "GET", "h", "/a/c", ""), 2);
	conf_close(&c);
}

static void test_narrowing_fields_are_refused(void **state)
{
	(void)state;
	refused("safe_regex: {regex: '/a('}", "safe_regex", "missing ): /a(");
	refused("safe_regex: {regex: '/x{0,48}y'}", "safe_regex", "program size of 102 > max program size of 100");
	refused("prefix: /, dynamic_metadata: [{filter: istio_authn, path: [{key: k}], value: "
		"{present_match: true}}]",
		"dynamic_metadata[0].filter", "metadata that filters write");
	refused("prefix: /, dynamic_metadata: [{filter: f, path: [{key: k}], value: {or_match: "
		"{value_matchers: [{bool_match: true}, {list_match: {one_of: {string_match: "
		"{safe_regex: {regex: '('}}}}}]}}}]",
		"dynamic_metadata[0].value.or_match.value_matchers[1].list_match.one_of.string_"
		"match"
		".safe_regex",
		"missing )");
	refused("prefix: /, filter_state: [{key: io.istio.peer_principal, string_match: {exact: "
		"a}}]",
		"filter_state[0].key", "state that Envoy or Istio sets");
	refused("prefix: /, filter_state: [{key: k, address_match: {ranges: [{address_prefix: "
		"10.0.0.0}]}}]",
		"filter_state[0].address_match", "unsupported");
}

static void test_match_all_forms_are_accepted(void **state)
{
	(void)state;
	conf_accepted(MATCH("prefix: /, runtime_fraction: {default_value: {numerator: 100}}"));
	conf_accepted(MATCH("prefix: /, runtime_fraction: {default_value: {numerator: 10000, "
			    "denominator: TEN_THOUSAND}}"));
	conf_accepted(MATCH("prefix: /, case_sensitive: true"));
	conf_accepted(MATCH("prefix: ''"));
}

static void route_refused(const char *more, const char *field, const char *reason)
{
	char yaml[4096], path[256];

	snprintf(yaml, sizeof(yaml), LISTENER_80 ROUTES("{match: {prefix: /}, " OK_200 ", %s}"),
		 more);
	snprintf(path, sizeof(path), R0 ".%s", field);
	conf_refused(yaml, "RouteConfiguration/r", path, reason);
}

/* What ends the message is not for rules to change. */
static void test_framing_is_not_changed(void **state)
{
	(void)state;
	route_refused("request_headers_to_add: [{header: {key: Content-Length, value: b}}]",
		      "request_headers_to_add[0].header", "changes content-length");
	route_refused("request_headers_to_remove: [a, transfer-encoding]",
		      "request_headers_to_remove[1]", "changes transfer-encoding");
	route_refused("response_headers_to_add: [{header: {key: connection, value: close}}]",
		      "response_headers_to_add[0].header", "changes connection");
	route_refused("response_headers_to_remove: [Upgrade]", "response_headers_to_remove[0]",
		      "changes upgrade");
}

static void test_without_effect(void **state)
{
	(void)state;
	conf_noted(
		LISTENER_80 ROUTES("{match: {prefix: /}, " OK_200 ", decorator: {operation: x}}"),
		"RouteConfiguration/r", R0 ".decorator");
	conf_noted(LISTENER_80 ROUTES("{match: {prefix: /}, " OK_200 ", stat_prefix: x}"),
		   "RouteConfiguration/r", R0 ".stat_prefix");
}

static void test_actions(void **state)
{
	(void)state;
	conf_refused(LISTENER_80 ROUTES("{match: {prefix: /}, filter_action: {}}"),
		     "RouteConfiguration/r", R0 ".filter_action", "unsupported");
	conf_refused(LISTENER_80 ROUTES("{match: {prefix: /}, direct_response: {status: 200, body: "
					"{filename: /x}}}"),
		     "RouteConfiguration/r", R0 ".direct_response.body", "only inline_string");
}

static void test_body_limit(void **state)
{
	char body[4098], *yaml;
	struct conf c;

	(void)state;
	conf_open(&c);
	memset(body, 'a', sizeof(body));
	body[4097] = '\0';
	assert_true(asprintf(&yaml,
			     LISTENER_80 ROUTES("{match: {prefix: /}, direct_response: {status: "
						"200, body: {inline_string: %s}}}"),
			     body) > 0);
	conf_refused(yaml, "RouteConfiguration/r", R0 ".direct_response.body", "4097 bytes");
	free(yaml);
	assert_true(asprintf(&yaml,
			     LISTENER_80 RC("max_direct_response_body_size_bytes: 4097, ",
					    VHOST("{match: {prefix: /}, direct_response: {status: "
						  "200, body: {inline_string: %s}}}")),
			     body) > 0);
	conf_ok(&c, yaml);
	free(yaml);
	body[4096] = '\0';
	assert_true(asprintf(&yaml,
			     LISTENER_80 ROUTES("{match: {prefix: /}, direct_response: {status: "
						"200, body: {inline_string: %s}}}"),
			     body) > 0);
	conf_ok(&c, yaml);
	free(yaml);
	conf_close(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_paths),
		cmocka_unit_test(test_any_case),
		cmocka_unit_test(test_regex),
		cmocka_unit_test(test_connect),
		cmocka_unit_test(test_path_parameters),
		cmocka_unit_test(test_first_match_wins),
		cmocka_unit_test(test_narrowing_fields_are_refused),
		cmocka_unit_test(test_match_all_forms_are_accepted),
		cmocka_unit_test(test_framing_is_not_changed),
		cmocka_unit_test(test_without_effect),
		cmocka_unit_test(test_actions),
		cmocka_unit_test(test_body_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
