// SPDX-License-Identifier: Apache-2.0
/* local_reply_config over a socket (each answer checked against Envoy 1.40; test/oracle has many
 * more). */
#include "proxy_fixture.h"

static struct fix_answer a;

static void upstream(int fd)
{
	char head[8192];

	while (fix_head_read(fd, head, sizeof(head)))
		send(fd, "HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\nup", 47, MSG_NOSIGNAL);
}

#define STATUS(op, value)                                                                          \
	"status_code_filter: {comparison: {op: " op ", value: {default_value: " value              \
	", runtime_key: k}}}"
#define HEADER(value) "header_filter: {header: {name: x-m, string_match: {exact: " value "}}}"
#define LOCAL                                                                                      \
	"local_reply_config: {mappers: ["                                                          \
	"{filter: {" HEADER(                                                                       \
		"json") "}, body_format_override: {json_format: {s: '%RESPONSE_CODE%', b: "        \
			"'%LOCAL_REPLY_BODY%'}}}, "                                                \
			"{filter: {and_filter: {filters: [{" STATUS("GE", "400") "}, {" STATUS(    \
				"LE", "403") "}]}}, status_code: 210, "                            \
					     "body: {inline_string: mapped}, headers_to_add: "     \
					     "[{header: {key: x-was, value: '%RESPONSE_CODE%'}}, " \
					     "{header: {key: content-type, value: a/b}}]}, "       \
					     "{filter: {response_flag_filter: {flags: [NR]}}, "    \
					     "status_code: 211}], "                                \
					     "body_format: {text_format: '<%LOCAL_REPLY_BODY%>', " \
					     "content_type: text/html}},"
#define ROUTES                                                                                     \
	"{match: {path: /400}, direct_response: {status: 400, body: {inline_string: bad}}}, "      \
	"{match: {path: /405}, direct_response: {status: 405, body: {inline_string: no}}}, "       \
	"{match: {path: /empty}, direct_response: {status: 405}}, "                                \
	"{match: {prefix: /up}, route: {cluster: up}}"

static int ask(const char *method, const char *path, const char *extra)
{
	char text[512];
	int fd = fix_dial();

	snprintf(text, sizeof(text), "%s %s HTTP/1.1\r\nhost: a\r\n%s\r\n", method, path, extra);
	fix_say(fd, text);
	assert_true(fix_hear_of(fd, &a, !strcmp(method, "HEAD")));
	return fd;
}

static void expect(unsigned int status, const char *type, const char *body)
{
	assert_int_equal(a.status, status);
	if (!type)
		assert_null(fix_header(a.head, "content-type"));
	else
		assert_string_equal(fix_header(a.head, "content-type"), type);
	assert_int_equal(a.len, strlen(body));
	assert_memory_equal(a.body, body, a.len);
}

static void test_replies(void **state)
{
	(void)state;
	fix_server(upstream);
	fix_open_http(LOCAL, ROUTES, "", 1, 1);
	close(ask("GET", "/405", ""));
	expect(405, "text/html", "<no>");
	close(ask("GET", "/405", "x-m: json\r\n"));
	expect(405, "application/json", "{\"b\":\"no\",\"s\":405}\n");
	close(ask("GET", "/none", ""));
	expect(211, "text/html", "<>");
	/* what comes from an endpoint stays as it is */
	close(ask("GET", "/up", ""));
	expect(404, NULL, "up");
	close(ask("POST", "/405",
		  "x-m: json\r\ncontent-type: application/grpc\r\ncontent-length: 0\r\n"));
	assert_int_equal(a.status, 200);
	assert_string_equal(fix_header(a.head, "grpc-message"), "{\"b\":\"no\",\"s\":405}");
	fix_close();
}

/* The connection ends as it would have without a mapper that makes another status of it. */
static void test_ends(void **state)
{
	int fd;

	(void)state;
	fix_server(upstream);
	fix_open_http(LOCAL, ROUTES, "", 1, 1);
	fd = ask("GET", "/400", "");
	expect(210, "a/b", "<mapped>");
	assert_string_equal(fix_header(a.head, "x-was"), "400");
	assert_string_equal(fix_header(a.head, "connection"), "close");
	assert_true(fix_ended(fd));
	close(fd);
	/* no head was read: its rules see none */
	fd = fix_dial();
	fix_say(fd, "GET / HTTP/1.1\r\nhost: a\r\nx-m: json\r\nbad line\r\n\r\n");
	assert_true(fix_hear(fd, &a));
	expect(210, "a/b", "<mapped>");
	assert_true(fix_ended(fd));
	close(fd);
	/* one was, and is refused for what it says */
	fd = fix_dial();
	fix_say(fd, "GET / HTTP/1.1\r\nX-M: json\r\n\r\n");
	assert_true(fix_hear(fd, &a));
	expect(400, "application/json", "{\"b\":\"\",\"s\":400}\n");
	assert_true(fix_ended(fd));
	close(fd);
	fix_close();
}

/* Names in proper case, in every head and nothing else. */
static void test_proper_case(void **state)
{
	(void)state;
	fix_server(upstream);
	fix_open_http("http_protocol_options: {header_key_format: {proper_case_words: {}}},",
		      "{match: {path: /405}, direct_response: {status: 405, body: {inline_string: "
		      "'a: b'}}, "
		      "response_headers_to_add: [{header: {key: x1-a_b.c, value: 'x-y: z'}}]}, "
		      "{match: {prefix: /}, route: {cluster: up}}",
		      "", 1, 1);
	close(ask("GET", "/405", ""));
	assert_non_null(strstr(a.head, "\r\nX1-A_B.C: x-y: z\r\n"));
	assert_non_null(strstr(a.head, "\r\nContent-Length: 4\r\n"));
	assert_non_null(strstr(a.head, "\r\nDate: "));
	expect(405, "text/plain", "a: b");
	close(ask("GET", "/up", ""));
	assert_non_null(strstr(a.head, "\r\nX-Envoy-Upstream-Service-Time: "));
	expect(404, NULL, "up");
	fix_close();
}

int main(void)
{
	const struct CMUnitTest tests[] = {FIX_TEST(test_replies), FIX_TEST(test_ends),
					   FIX_TEST(test_proper_case)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
