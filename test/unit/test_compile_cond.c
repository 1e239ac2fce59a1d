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

static void test_regex_is_refused(void **state)
{
	(void)state;
	conf_refused(IN("{name: x, string_match: {safe_regex: {regex: a}}}"),
		     "RouteConfiguration/r", H0 ".string_match.safe_regex",
		     "unsupported: regular expressions");
	conf_refused(IN("{name: x, safe_regex_match: {regex: a}}"), "RouteConfiguration/r",
		     H0 ".safe_regex_match", "unsupported: regular expressions");
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
		cmocka_unit_test(test_regex_is_refused), cmocka_unit_test(test_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
