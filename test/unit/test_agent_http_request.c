// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "agent/http_request.h"

static int parse(const char *text, struct weft_http_request *ret)
{
	return weft_http_request_parse(text, strlen(text), ret);
}

static void test_taken(void **state)
{
	static const char text[] =
		"GET /stats?format=prometheus HTTP/1.1\r\nHost: a\r\nX:\t\r\n\r\n";
	struct weft_http_request q;

	(void)state;
	for (size_t n = 0; n < sizeof(text) - 1; n++)
		assert_int_equal(weft_http_request_parse(text, n, &q), -EAGAIN);
	assert_int_equal(parse(text, &q), 0);
	assert_false(q.head);
	assert_string_equal(q.path, "/stats");
	assert_string_equal(q.query, "format=prometheus");
	assert_int_equal(parse("HEAD / HTTP/1.0\n\nmore", &q), 0);
	assert_true(q.head);
	assert_string_equal(q.path, "/");
	assert_string_equal(q.query, "");
}

static void test_refused(void **state)
{
	static const struct {
		const char *text;
		int r;
	} cases[] = {
		{"POST /ready HTTP/1.1\r\n", -EOPNOTSUPP},
		{"get /ready HTTP/1.1\r\n", -EOPNOTSUPP},
		{"GETX /ready HTTP/1.1\r\n", -EOPNOTSUPP},
		{"GET ready HTTP/1.1\r\n", -EBADMSG},
		{"GET http://a/ready HTTP/1.1\r\n", -EBADMSG},
		{"GET  /ready HTTP/1.1\r\n", -EBADMSG},
		{"GET /re ady HTTP/1.1\r\n", -EBADMSG},
		{"GET /\x80 HTTP/1.1\r\n", -EBADMSG},
		{"GET /ready HTTP/2.0\r\n", -EBADMSG},
		{"GET /ready HTTP/1.12\r\n", -EBADMSG},
		{"GET /ready\r\n", -EBADMSG},
		{"GET\r\n", -EBADMSG},
		{"\r\n", -EBADMSG},
		{" GET / HTTP/1.1\r\n", -EBADMSG},
		{"GET / HTTP/1.1\r\nno colon\r\n", -EBADMSG},
		{"GET / HTTP/1.1\r\n: empty\r\n", -EBADMSG},
		{"GET / HTTP/1.1\r\na b: c\r\n", -EBADMSG},
		{"GET / HTTP/1.1\r\na: b\r\n c\r\n", -EBADMSG},
		{"GET / HTTP/1.1\r\na: \x01\r\n", -EBADMSG},
	};
	struct weft_http_request q;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (parse(cases[i].text, &q) != cases[i].r)
			fail_msg("%s", cases[i].text);
	}
}

static void test_limits(void **state)
{
	char text[WEFT_HTTP_REQUEST_MAX + 64];
	struct weft_http_request q;
	size_t n = WEFT_HTTP_TARGET_MAX - 1;

	(void)state;
	/* the longest target, and one byte more */
	for (int more = 0; more < 2; more++) {
		memcpy(text, "GET ", 4);
		memset(text + 4, 'a', n + 1);
		text[4] = '/';
		strcpy(text + 4 + n + (size_t)more, " HTTP/1.1\r\n\r\n");
		assert_int_equal(parse(text, &q), more ? -EMSGSIZE : 0);
	}
	/* a head that never ends */
	strcpy(text, "GET / HTTP/1.1\r\n");
	memset(text + 16, 'a', sizeof(text) - 16);
	assert_int_equal(weft_http_request_parse(text, WEFT_HTTP_REQUEST_MAX - 1, &q), -EAGAIN);
	assert_int_equal(weft_http_request_parse(text, WEFT_HTTP_REQUEST_MAX, &q), -EMSGSIZE);
}

static void test_query(void **state)
{
	char buf[8];

	(void)state;
	assert_true(weft_http_query_get("a=1&format=text&b", "format", buf, sizeof(buf)));
	assert_string_equal(buf, "text");
	assert_true(weft_http_query_get("format=", "format", buf, sizeof(buf)));
	assert_string_equal(buf, "");
	assert_false(weft_http_query_get("xformat=text", "format", buf, sizeof(buf)));
	assert_false(weft_http_query_get("format", "format", buf, sizeof(buf)));
	assert_false(weft_http_query_get("", "format", buf, sizeof(buf)));
	assert_false(weft_http_query_get("format=12345678", "format", buf, sizeof(buf)));
	assert_true(weft_http_query_get("format=1234567", "format", buf, sizeof(buf)));
}

static void value_is(const char *query, const char *key, const char *want)
{
	char *got = weft_http_query_value(query, key);

	if (want)
		assert_string_equal(got, want);
	else
		assert_null(got);
	free(got);
}

static void test_query_value(void **state)
{
	(void)state;
	value_is("a=1&b=2", "b", "2");
	value_is("ab=1&b", "b", "");
	value_is("ab=1", "b", NULL);
	value_is("b=", "b", "");
	value_is("", "b", NULL);
	value_is("x&b=%28a%7Cb%29%2b", "b", "(a|b)+");
	value_is("b=%zz%4", "b", "%zz%4");
	value_is("b=a%00c", "b", "a%00c");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_taken),	    cmocka_unit_test(test_refused),
		cmocka_unit_test(test_limits),	    cmocka_unit_test(test_query),
		cmocka_unit_test(test_query_value),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
