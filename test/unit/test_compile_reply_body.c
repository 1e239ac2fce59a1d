// SPDX-License-Identifier: Apache-2.0
/* Bodies of replies by SubstitutionFormatString. */
#include "test/unit/compile_fixture.h"

#include "agent/compile/reply_body.h"
#include "agent/proxy/preview.h"

#define DIRECT(body_format)                                                                        \
	LISTENER_80 ROUTES(                                                                        \
		"{match: {prefix: /}, direct_response: {status: 200, body: {inline_string: "       \
		"hi}, body_format: {" body_format "}}}")
#define F "virtual_hosts[0].routes[0].direct_response.body_format"

static void escape_is(const void *text, size_t len, const char *want)
{
	size_t n;
	char *got = weft_json_escape(text, len, &n);

	assert_non_null(got);
	assert_int_equal(n, strlen(want));
	assert_string_equal(got, want);
	free(got);
}

static void test_escape(void **state)
{
	(void)state;
	escape_is("", 0, "");
	escape_is("a\"\\/\b\f\n\r\t\x01", 10, "a\\\"\\\\/\\b\\f\\n\\r\\t\\u0001");
	escape_is("\xc3\xa9\x7f\xf0\x9f\x98\x80", 7, "\xc3\xa9\x7f\xf0\x9f\x98\x80");
	escape_is("a\0b", 3, "a\\u0000b");
	/* no UTF-8: each byte that is not plain */
	escape_is("\xe9\"\x7f"
		  "a",
		  4, "\\u00e9\\u0022\\u007fa");
	escape_is("\xc3", 1, "\\u00c3");
	escape_is("\xc0\x80", 2, "\\u00c0\\u0080");
	escape_is("\xe0\x9f\x80", 3, "\\u00e0\\u009f\\u0080");
	escape_is("\xed\xa0\x80", 3, "\\u00ed\\u00a0\\u0080");
	escape_is("\xf0\x8f\x80\x80", 4, "\\u00f0\\u008f\\u0080\\u0080");
	escape_is("\xf4\x90\x80\x80", 4, "\\u00f4\\u0090\\u0080\\u0080");
	escape_is("\xf5\x80\x80\x80", 4, "\\u00f5\\u0080\\u0080\\u0080");
}

static void number_is(double d, const char *want)
{
	char text[WEFT_NUMBER_TEXT];

	weft_json_number(d, text);
	assert_string_equal(text, want);
}

static void test_numbers(void **state)
{
	(void)state;
	number_is(0, "0");
	number_is(-0.0, "-0");
	number_is(5, "5");
	number_is(10000, "10000");
	number_is(100000, "1e+05");
	number_is(123456, "123456");
	number_is(0.001, "0.001");
	number_is(0.0001, "1e-04");
	number_is(0.1, "0.1");
	number_is(0.30000000000000004, "0.30000000000000004");
	number_is(123456789.125, "123456789.125");
	number_is(12345678901234567168.0, "12345678901234567168");
	number_is(1.7976931348623157e308, "1.7976931348623157e+308");
	number_is(5e-324, "5e-324");
}

static void body_is(struct conf *c, const char *headers, const char *want)
{
	struct conf_req *q = calloc(1, sizeof(*q));
	char *text = NULL, *body;
	size_t len = 0;

	assert_non_null(q);
	conf_connect(q, "10.0.0.1", 80);
	conf_request(c, q, "GET", "h", "/a?b", headers);
	assert_int_equal(weft_proxy_preview(&q->req, &q->ctx, &text, &len), 0);
	body = strstr(text, "\r\n\r\n");
	assert_non_null(body);
	assert_string_equal(body + 4, want);
	free(text);
	free(q);
}

/* The reply's route leaves it to the agent only where it differs from request to request. */
static void formed_is(struct conf *c, bool want)
{
	struct conf_req *q = calloc(1, sizeof(*q));

	assert_non_null(q);
	conf_connect(q, "10.0.0.1", 80);
	conf_request(c, q, "GET", "h", "/", "");
	assert_int_equal(weft_reply_is_formed(&q->req), want);
	free(q);
}

static void test_text(void **state)
{
	struct conf c;

	(void)state;
	conf_open(&c);
	conf_ok(&c, DIRECT("text_format: '<%LOCAL_REPLY_BODY%>'"));
	formed_is(&c, false);
	body_is(&c, "", "<hi>");
	conf_ok(&c, DIRECT("text_format: '<%LOCAL_REPLY_BODY%> %REQ(:path)% %REQ(x-a)% "
			   "%RESPONSE_CODE%'"));
	formed_is(&c, true);
	body_is(&c, "", "<hi> /a?b - 0");
	conf_ok(&c, DIRECT("text_format: '[%REQ(x-a)%]', omit_empty_values: true"));
	body_is(&c, "", "[]");
	conf_ok(&c, DIRECT("text_format_source: {inline_bytes: 'PCVSRVEoeC1hKSU+'}"));
	body_is(&c, "x-a: v\r\n", "<v>");
	conf_close(&c);
}

static void test_json(void **state)
{
	struct conf c;

	(void)state;
	conf_open(&c);
	conf_ok(&c, DIRECT("json_format: {z: '%REQ(x-a)%', n: {b: null, a: [1, '%RESPONSE_CODE%', "
			   "'%TRAILER(x)%']}, t: 'x%REQ(x-a)%', l: '%LOCAL_REPLY_BODY%', e: {}}"));
	body_is(&c, "",
		"{\"e\":{},\"l\":\"hi\",\"n\":{\"a\":[1,0,null],\"b\":null},\"t\":\"x-\",\"z\":"
		"null}\n");
	body_is(&c, "x-a: \"\r\n",
		"{\"e\":{},\"l\":\"hi\",\"n\":{\"a\":[1,0,null],\"b\":null},\"t\":\"x\\\"\",\"z\":"
		"\"\\\"\"}\n");
	conf_ok(&c, DIRECT("json_format: {z: '%REQ(x-a)%', n: {b: null}, l: [{}, null, 1, "
			   "'%REQ(x-a)%'], "
			   "t: 'x%REQ(x-a)%', y: 1}, omit_empty_values: true"));
	body_is(&c, "", "{\"l\":[1],\"t\":\"x\",\"y\":1}\n");
	conf_ok(&c, DIRECT("json_format: {z: '%REQ(x-a)%'}, omit_empty_values: true"));
	body_is(&c, "", "{}\n");
	conf_close(&c);
}

static void test_refused(void **state)
{
	char deep[512] = "", *many = NULL, *yaml = NULL;
	size_t len;
	FILE *f = open_memstream(&many, &len);

	(void)state;
	conf_refused(DIRECT("text_format: '%A%'"), "RouteConfiguration/r", F ".text_format",
		     "unsupported: command %A%");
	conf_refused(DIRECT("json_format: {a: '%A%'}"), "RouteConfiguration/r", F ".json_format",
		     "unsupported: command %A%");
	conf_refused(DIRECT("text_format: '%DYNAMIC_METADATA(a)%'"), "RouteConfiguration/r",
		     F ".text_format", "unsupported: command %DYNAMIC_METADATA%");
	conf_refused(DIRECT("text_format: '%LOCAL_REPLY_BODY:3%'"), "RouteConfiguration/r",
		     F ".text_format", "does not take");
	conf_refused(DIRECT("text_format_source: {filename: /x}"), "RouteConfiguration/r",
		     F ".text_format_source", "only inline_string");
	/* of bodies alone */
	conf_refused(LISTENER_80 ROUTES("{match: {prefix: /}, direct_response: {status: 200}, "
					"response_headers_to_add: [{header: {key: a, value: "
					"'%LOCAL_REPLY_BODY%'}}]}"),
		     "RouteConfiguration/r",
		     "virtual_hosts[0].routes[0].response_headers_to_add[0].header",
		     "unsupported: command %LOCAL_REPLY_BODY%");
	for (unsigned int i = 0; i < WEFT_BODY_DEPTH_MAX + 1; i++)
		strcat(deep, "[");
	for (unsigned int i = 0; i < WEFT_BODY_DEPTH_MAX + 1; i++)
		strcat(deep, "]");
	assert_true(asprintf(&yaml, DIRECT("json_format: {a: %s}"), deep) > 0);
	conf_refused(yaml, "RouteConfiguration/r", F ".json_format", "nested deeper than 16");
	free(yaml);
	for (unsigned int i = 0; i < WEFT_BODY_NODES_MAX; i++)
		fputs("1, ", f);
	fclose(f);
	assert_true(asprintf(&yaml, DIRECT("json_format: {a: [%s]}"), many) > 0);
	conf_refused(yaml, "RouteConfiguration/r", F ".json_format", "more than 512 parts");
	free(yaml);
	free(many);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_escape),	cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_text),	cmocka_unit_test(test_json),
		cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
