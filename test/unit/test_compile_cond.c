// SPDX-License-Identifier: Apache-2.0
/* HeaderMatcher in all its forms, asked of the engine. */
#include "test/unit/compile_fixture.h"

#define IN(list) LISTENER_80 ROUTES("{match: {prefix: /, headers: [" list "]}, " OK_200 "}")
#define H0 "virtual_hosts[0].routes[0].match.headers[0]"

/* Headers that match and that do not, each NULL-terminated. */
static void check(const char *matcher, const char *const *yes, const char *const *no)
{
	char yaml[4096];
	struct conf c;

	conf_open(&c);
	snprintf(yaml, sizeof(yaml), IN("%s"), matcher);
	conf_ok(&c, yaml);
	for (; *yes; yes++) {
		if (conf_route(&c, "GET", "h", "/p?q", *yes) != 0)
			fail_msg("%s does not match %s", matcher, *yes);
	}
	for (; *no; no++) {
		if (conf_route(&c, "GET", "h", "/p?q", *no) != -1)
			fail_msg("%s matches %s", matcher, *no);
	}
	conf_close(&c);
}
#define LIST(...)                                                                                  \
	(const char *const[])                                                                      \
	{                                                                                          \
		__VA_ARGS__, NULL                                                                  \
	}
#define NONE                                                                                       \
	(const char *const[])                                                                      \
	{                                                                                          \
		NULL                                                                               \
	}

static void test_presence(void **state)
{
	(void)state;
	check("{name: X-A}", LIST("x-a: 1\r\n", "X-A:\r\n"), LIST("", "x-b: 1\r\n"));
	check("{name: x-a, present_match: true}", LIST("x-a: 1\r\n"), LIST(""));
	check("{name: x-a, present_match: false}", LIST(""), LIST("x-a: 1\r\n"));
	check("{name: x-a, present_match: true, invert_match: true}", LIST(""), LIST("x-a: 1\r\n"));
	check("{name: x-a, present_match: false, invert_match: true}", LIST("x-a: 1\r\n"),
	      LIST(""));
}

static void test_strings(void **state)
{
	(void)state;
	check("{name: x-a, string_match: {exact: ab}}", LIST("x-a: ab\r\n"),
	      LIST("x-a: aB\r\n", "x-a: abc\r\n", ""));
	check("{name: x-a, string_match: {prefix: ab}}", LIST("x-a: abc\r\n", "x-a: ab\r\n"),
	      LIST("x-a: cab\r\n", ""));
	check("{name: x-a, string_match: {suffix: ab}}", LIST("x-a: cab\r\n"),
	      LIST("x-a: abc\r\n", "x-a: b\r\n"));
	check("{name: x-a, string_match: {contains: ab}}", LIST("x-a: cabd\r\n", "x-a: ab\r\n"),
	      LIST("x-a: a-b\r\n"));
	check("{name: x-a, string_match: {exact: aB, ignore_case: true}}", LIST("x-a: Ab\r\n"),
	      LIST("x-a: abb\r\n"));
	check("{name: x-a, string_match: {contains: aB, ignore_case: true}}", LIST("x-a: xAbx\r\n"),
	      LIST("x-a: a\r\n"));
	check("{name: x-a, string_match: {exact: ''}}", LIST("x-a:\r\n"), LIST("x-a: b\r\n", ""));
	check("{name: x-a, string_match: {exact: a}, invert_match: true}", LIST("x-a: b\r\n"),
	      LIST("x-a: a\r\n", ""));
	check("{name: x-a, string_match: {exact: a}, invert_match: true, "
	      "treat_missing_header_as_empty: true}",
	      LIST("x-a: b\r\n", ""), LIST("x-a: a\r\n"));
}

static void test_deprecated_forms(void **state)
{
	(void)state;
	check("{name: x-a, exact_match: ab}", LIST("x-a: ab\r\n"), LIST("x-a: abc\r\n", ""));
	/* an empty one fits any value */
	check("{name: x-a, exact_match: ''}", LIST("x-a: ab\r\n", "x-a:\r\n"), LIST(""));
	check("{name: x-a, prefix_match: ab}", LIST("x-a: abc\r\n"), LIST("x-a: cab\r\n"));
	check("{name: x-a, suffix_match: ab}", LIST("x-a: cab\r\n"), LIST("x-a: abc\r\n"));
	check("{name: x-a, contains_match: ab}", LIST("x-a: cabc\r\n"), LIST("x-a: acb\r\n"));
}

static void test_range(void **state)
{
	(void)state;
	check("{name: x-a, range_match: {start: -5, end: 10}}",
	      LIST("x-a: -5\r\n", "x-a: 9\r\n", "x-a: +5\r\n", "x-a: 007\r\n", "x-a: -0\r\n"),
	      LIST("x-a: 10\r\n", "x-a: -6\r\n", "x-a: 1.5\r\n", "x-a: 1x\r\n", "x-a:\r\n", ""));
	check("{name: x-a, range_match: {start: 5, end: 5}}", NONE, LIST("x-a: 5\r\n"));
}

static void test_pseudo_headers(void **state)
{
	(void)state;
	check("{name: ':method', string_match: {exact: GET}}", LIST(""), NONE);
	check("{name: ':method', string_match: {exact: POST}}", NONE, LIST(""));
	check("{name: ':path', string_match: {exact: '/p?q'}}", LIST(""), NONE);
	check("{name: ':authority', string_match: {exact: h}}", LIST(""), NONE);
	check("{name: Host, string_match: {exact: h}}", LIST(""), NONE);
	check("{name: ':scheme', string_match: {exact: http}}", LIST(""), NONE);
}

static void test_several_conditions(void **state)
{
	(void)state;
	check("{name: x-a}, {name: x-b, string_match: {exact: '1'}}", LIST("x-a: 1\r\nx-b: 1\r\n"),
	      LIST("x-a: 1\r\n", "x-b: 1\r\n", "x-a: 1\r\nx-b: 2\r\n"));
}

static void test_regex(void **state)
{
	(void)state;
	check("{name: x-a, string_match: {safe_regex: {regex: 'v[0-9]+'}}}",
	      LIST("x-a: v1\r\n", "x-a: v123456789\r\n", "x-a: b\r\nx-a: v1\r\n"),
	      LIST("", "x-a: v\r\n", "x-a: v1x\r\n", "x-a: xv1\r\n"));
	check("{name: x-a, safe_regex_match: {regex: '(?i)a|b{3}'}}", LIST("x-a: A\r\n", "x-a: bBb\r\n"),
	      LIST("x-a: bb\r\n"));
	check("{name: x-a, string_match: {safe_regex: {regex: 'a'}}, invert_match: true}", LIST("x-a: b\r\n"),
	      LIST("x-a: a\r\n", ""));
	check("{name: x-a, string_match: {safe_regex: {regex: 'a?'}}, treat_missing_header_as_empty: true}",
	      LIST("", "x-a: a\r\n"), LIST("x-a: b\r\n"));
	/* no table of the allowed size does this one: it is simulated */
	check("{name: x-a, string_match: {safe_regex: {regex: '.*a[ab]{14}'}}}",
	      LIST("x-a: abbbbbbbbbbbbbb\r\n", "x-a: xxaaaaaaaaaaaaaaaaaa\r\n"),
	      LIST("x-a: bbbbbbbbbbbbbbb\r\n", "x-a: abbbbbbbbbbbbb\r\n", "x-a:\r\n"));
}

static void test_regex_is_refused(void **state)
{
	(void)state;
	conf_refused(IN("{name: x, string_match: {safe_regex: {regex: 'a(b'}}}"), "RouteConfiguration/r",
		     H0 ".string_match.safe_regex", "missing ): a(b");
	conf_refused(IN("{name: x, safe_regex_match: {regex: '(?=a)'}}"), "RouteConfiguration/r",
		     H0 ".safe_regex_match", "invalid perl operator: (?=");
	conf_refused(IN("{name: x, string_match: {safe_regex: {regex: a}, ignore_case: true}}"),
		     "RouteConfiguration/r", H0 ".string_match.ignore_case",
		     "ignore_case has no effect for safe_regex.");
	/* Envoy's limit, and the deprecated field that sets another */
	conf_refused(IN("{name: x, safe_regex_match: {regex: 'x{0,60}'}}"), "RouteConfiguration/r",
		     H0 ".safe_regex_match", "program size of 124 > max program size of 100");
	conf_refused(IN("{name: x, safe_regex_match: {google_re2: {max_program_size: 5}, regex: 'x{0,20}'}}"),
		     "RouteConfiguration/r", H0 ".safe_regex_match",
		     "program size of 44 > max program size of 5");
	conf_accepted(IN("{name: x, safe_regex_match: {google_re2: {max_program_size: 124}, regex: 'x{0,60}'}}"));
}

/* ---- conditions on anything else; yes and no are paths with their query, or header lines ---- */

#define MATCH(m) LISTENER_80 ROUTES("{match: {prefix: /, " m "}, " OK_200 "}")

static void check_match(const char *match, const char *const *yes, const char *const *no)
{
	char yaml[4096];
	struct conf c;

	conf_open(&c);
	snprintf(yaml, sizeof(yaml), MATCH("%s"), match);
	conf_ok(&c, yaml);
	for (int want = 0; want >= -1; want--) {
		for (const char *const *p = want ? no : yes; *p; p++) {
			bool path = **p == '/';

			if (conf_route(&c, "GET", "h", path ? *p : "/", path ? "" : *p) != want)
				fail_msg("%s: %s: not %d", match, *p, want);
		}
	}
	conf_close(&c);
}

static void test_query_parameters(void **state)
{
	(void)state;
	check_match("query_parameters: [{name: k, string_match: {exact: v}}]",
		    LIST("/?k=v", "/?a=1&k=v&b=2", "/?k=v&k=x", "/?&&k=v", "/?k=v&", "/p?x=12345678&k=v",
			 "/?x?&k=v"),
		    LIST("/", "/?", "/?k", "/?k=", "/?k=x&k=v", "/?K=v", "/?k=V", "/?k=v=w", "/?kk=v",
			 "/?a=1;k=v", "/??k=v", "/?k=v%20", "/k=v"));
	check_match("query_parameters: [{name: long-name-of-a-parameter, string_match: {prefix: V, "
		    "ignore_case: true}}]",
		    LIST("/?long-name-of-a-parameter=value"),
		    LIST("/?long-name-of-a-paramete=value", "/?long-name-of-a-parameter"));
	check_match("query_parameters: [{name: k, string_match: {exact: ''}}]",
		    LIST("/?k", "/?k=", "/?k&k=1", "/?&k&"), LIST("/?k=1", "/?a", "/"));
	check_match("query_parameters: [{name: k, present_match: true}]",
		    LIST("/?k", "/?k=", "/?k=1", "/?a&k"), LIST("/", "/?kk", "/?a=k"));
	check_match("query_parameters: [{name: k, present_match: false}]", LIST("/", "/?a=k"),
		    LIST("/?k", "/?a&k=1"));
	check_match("query_parameters: [{name: k, string_match: {safe_regex: {regex: '[0-9]+'}}}]",
		    LIST("/?k=123456789", "/?k=1&k=a"), LIST("/?k=12a", "/?k", "/?k=a&k=1"));
	check_match("query_parameters: [{name: k}]", LIST("/?k"), LIST("/?a"));
	check_match("query_parameters: [{name: a, string_match: {exact: '1'}}, {name: b}]",
		    LIST("/?b&a=1"), LIST("/?a=1", "/?b"));
	/* no parameter has such a name */
	check_match("query_parameters: [{name: 'a=b', present_match: true}]", NONE, LIST("/?a=b=c"));
	check_match("query_parameters: [{name: 'a&b', present_match: false}]", LIST("/?a&b"), NONE);
}

static void test_cookies(void **state)
{
	(void)state;
	check_match("cookies: [{name: a, string_match: {exact: '1'}}]",
		    LIST("cookie: a=1\r\n", "cookie: b=2; a=1\r\n", "cookie: a=1; a=2\r\n",
			 "cookie: b=2\r\ncookie: a=1\r\n", "cookie: a=1\r\ncookie: a=2\r\n",
			 "cookie: a=\"1\"\r\n", "cookie: b=2;a=1\r\n", "cookie: a ; c; a=1\r\n"),
		    LIST("", "cookie: a=2; a=1\r\n", "cookie: a=2\r\ncookie: a=1\r\n",
			 "cookie: A=1\r\n", "cookie: a = 1\r\n", "cookie: b=a=1\r\n",
			 "cookie: a=1 ; c\r\n", "cookie: a\r\n", "cookie: a=\"1\r\n"));
	check_match("cookies: [{name: a, string_match: {safe_regex: {regex: '[a-f]+'}}}]",
		    LIST("cookie: b=1; a=\"beef\"\r\n"), LIST("cookie: a=beer\r\n"));
	/* one that is not there fits the inverse (Envoy 1.40) */
	check_match("cookies: [{name: a, string_match: {exact: '1'}, invert_match: true}]",
		    LIST("", "cookie: a=2\r\n", "cookie: b=1\r\n"), LIST("cookie: a=1\r\n"));
}

static void test_grpc(void **state)
{
	(void)state;
	check_match("grpc: {}",
		    LIST("content-type: application/grpc\r\n",
			 "content-type: application/grpc+proto\r\n"),
		    LIST("", "content-type: application/grpc-web\r\n",
			 "content-type: application/grpc;x\r\n", "content-type: application/json\r\n"));
}

/* What apps send is never TLS to weft. */
static void test_tls_context(void **state)
{
	(void)state;
	check_match("tls_context: {presented: true}", NONE, LIST("/"));
	check_match("tls_context: {validated: true}", NONE, LIST("/"));
	check_match("tls_context: {presented: false, validated: false}", LIST("/"), NONE);
	check_match("tls_context: {}", LIST("/"), NONE);
}

static bool with_random(struct conf *c, uint64_t random)
{
	struct conf_req *q = calloc(1, sizeof(*q));
	bool taken;

	assert_non_null(q);
	conf_connect(q, "10.0.0.1", 80);
	q->ctx.random = random;
	conf_request(c, q, "GET", "h", "/", "");
	taken = q->req.dec.route != 0;
	assert_int_equal(q->req.random, random);
	free(q);
	return taken;
}

static void test_fraction(void **state)
{
	static const struct {
		const char *fraction;
		uint64_t of, below;
	} t[] = {
		{"{numerator: 30}", 100, 30},
		{"{numerator: 0}", 100, 0},
		{"{numerator: 99}", 100, 99},
		{"{numerator: 100}", 100, 100},
		{"{numerator: 250}", 100, 100},
		{"{numerator: 100, denominator: TEN_THOUSAND}", 10000, 100},
		{"{numerator: 999999, denominator: MILLION}", 1000000, 999999},
	};
	char yaml[4096];
	struct conf c;

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++) {
		conf_open(&c);
		snprintf(yaml, sizeof(yaml),
			 MATCH("runtime_fraction: {default_value: %s, runtime_key: some.key}"),
			 t[i].fraction);
		conf_ok(&c, yaml);
		for (uint64_t r = 1; r < 400; r++) {
			uint64_t random = r * 0x9E3779B97F4A7C15ull | 1;

			assert_int_equal(with_random(&c, random), random % t[i].of < t[i].below);
			assert_int_equal(with_random(&c, t[i].of + r), r % t[i].of < t[i].below);
		}
		conf_close(&c);
	}
}

/* Deciding a request again (here: because a bucket had no cell) draws nothing anew. */
static void test_fraction_is_stable(void **state)
{
	struct conf c;
	struct conf_req *q = calloc(1, sizeof(*q));
	uint32_t route;

	(void)state;
	assert_non_null(q);
	conf_open(&c);
	conf_ok(&c, MATCH("runtime_fraction: {default_value: {numerator: 50}}"));
	for (int i = 0; i < 64; i++) {
		conf_connect(q, "10.0.0.1", 80);
		conf_request(&c, q, "GET", "h", "/", "");
		assert_true(q->ctx.random);
		route = q->req.dec.route;
		for (int k = 0; k < 8; k++) {
			assert_int_equal(weft_decide(&q->req, &q->ctx), 0);
			assert_int_equal(q->req.dec.route, route);
		}
	}
	conf_close(&c);
	free(q);
}

/* "{name: x-1}, ..." */
static char *names(int n)
{
	char *out = NULL;
	size_t len;
	FILE *f = open_memstream(&out, &len);

	for (int i = 0; i < n; i++)
		fprintf(f, "{match: {prefix: /, headers: [{name: x-%d}]}, " OK_200 "}, ", i);
	fclose(f);
	return out;
}

static void test_limits(void **state)
{
	enum { MOST = WEFT_NAMES_MAX - WEFT_VALUE__HEADERS };
	char list[4096] = "", *yaml, *routes;
	struct conf c;

	(void)state;
	for (unsigned int i = 0; i <= WEFT_CONDS_MAX; i++)
		strcat(list, "{name: x-a}, ");
	assert_true(asprintf(&yaml, IN("%s"), list) > 0);
	conf_refused(yaml, "RouteConfiguration/r", "virtual_hosts[0].routes[0].match",
		     "more than 16 conditions");
	free(yaml);
	list[strlen(list) - strlen("{name: x-a}, ")] = '\0'; /* 16, and one of another kind */
	assert_true(asprintf(&yaml, MATCH("grpc: {}, headers: [%s]"), list) > 0);
	conf_refused(yaml, "RouteConfiguration/r", "virtual_hosts[0].routes[0].match",
		     "more than 16 conditions");
	free(yaml);
	assert_true(asprintf(&yaml, IN("%s"), list) > 0);
	conf_accepted(yaml);
	free(yaml);
	for (int over = 0; over < 2; over++) {
		routes = names(MOST + over);
		assert_true(asprintf(&yaml, LISTENER_80 ROUTES("%s"), routes) > 0);
		if (over) {
			char field[128];

			snprintf(field, sizeof(field),
				 "virtual_hosts[0].routes[%d].match.headers[0]", MOST);
			conf_refused(yaml, "RouteConfiguration/r", field,
				     "more than 60 header names");
		} else {
			conf_open(&c);
			conf_ok(&c, yaml);
			assert_int_equal(conf_route(&c, "GET", "h", "/", "x-59: 1\r\n"), 59);
			conf_close(&c);
		}
		free(yaml);
		free(routes);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_presence),	 cmocka_unit_test(test_strings),
		cmocka_unit_test(test_deprecated_forms), cmocka_unit_test(test_range),
		cmocka_unit_test(test_pseudo_headers),	 cmocka_unit_test(test_several_conditions),
		cmocka_unit_test(test_regex),		 cmocka_unit_test(test_regex_is_refused), cmocka_unit_test(test_limits),
		cmocka_unit_test(test_query_parameters), cmocka_unit_test(test_cookies),
		cmocka_unit_test(test_grpc),		 cmocka_unit_test(test_tls_context),
		cmocka_unit_test(test_fraction),	 cmocka_unit_test(test_fraction_is_stable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
