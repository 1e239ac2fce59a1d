// SPDX-License-Identifier: Apache-2.0
/* Header mutations and rewrites over a socket: what depends on attempts, endpoints and time (the rest: test/oracle). */
#include "proxy_fixture.h"

static struct fix_answer a;
static unsigned int turn; /* of /retry: the first answer fails */

/* Answers with the request's head; /retry fails at first. */
static void upstream(int fd)
{
	char head[8192], line[128];

	while (fix_head_read(fd, head, sizeof(head))) {
		bool bad = strstr(head, "/retry ") && !__atomic_fetch_add(&turn, 1, __ATOMIC_RELAXED);

		snprintf(line, sizeof(line), "HTTP/1.1 %s\r\nx-gone: 1\r\nx-up: here\r\ncontent-length: %zu\r\n\r\n",
			 bad ? "503 No" : "200 OK", strlen(head));
		send(fd, line, strlen(line), MSG_NOSIGNAL);
		send(fd, head, strlen(head), MSG_NOSIGNAL);
	}
}

static void start(const char *routes)
{
	fix_server(upstream);
	fix_open_http("", routes, "", 1, 1);
}

static int get(const char *path, const char *extra)
{
	int fd = fix_dial();
	char text[4096];

	snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nhost: a\r\n%s\r\n", path, extra);
	fix_say(fd, text);
	assert_true(fix_hear(fd, &a));
	return fd;
}

static void header_is(const char *head, const char *name, const char *want)
{
	const char *got = fix_header(head, name);

	if (!got || strcmp(got, want))
		fail_msg("%s: %s expected, got %s in\n%s", name, want, got ? got : "none", head);
}

static void test_addresses(void **state)
{
	struct sockaddr_in me;
	socklen_t len = sizeof(me);
	char text[64];
	int fd;

	(void)state;
	start("{match: {prefix: /}, route: {cluster: up}, request_headers_to_add: [{header: {key: x-me, value: "
	      "'%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%'}}, {header: {key: x-host, value: '%UPSTREAM_HOST%'}, "
	      "keep_empty_value: true}], response_headers_to_add: [{header: {key: x-host, value: '%UPSTREAM_HOST%'}}, "
	      "{header: {key: x-port, value: '%UPSTREAM_REMOTE_PORT%'}}, {header: {key: x-dst, value: "
	      "'%DOWNSTREAM_LOCAL_ADDRESS%'}}]}");
	fd = get("/", "");
	assert_int_equal(getsockname(fd, (struct sockaddr *)&me, &len), 0);
	snprintf(text, sizeof(text), "127.0.0.1:%u", ntohs(me.sin_port));
	header_is(a.body, "x-me", text);
	header_is(a.body, "x-host", ""); /* nobody is chosen yet */
	snprintf(text, sizeof(text), "127.0.0.1:%u", fix.server[0].port);
	header_is(a.head, "x-host", text);
	snprintf(text, sizeof(text), "%u", fix.server[0].port);
	header_is(a.head, "x-port", text);
	header_is(a.head, "x-dst", "192.0.2.1:80");
	close(fd);
	fix_close();
}

static void test_time(void **state)
{
	int64_t before = time(NULL), got;
	struct tm tm = {0};
	const char *v;

	(void)state;
	start("{match: {prefix: /}, route: {cluster: up}, request_headers_to_add: [{header: {key: x-s, value: "
	      "'%START_TIME(%s)%'}}, {header: {key: x-f, value: '%START_TIME(%3f|%f|%%)%'}}, {header: {key: x-t, value: "
	      "'%START_TIME%'}}]}");
	close(get("/", ""));
	v = fix_header(a.body, "x-s");
	assert_non_null(v);
	got = strtoll(v, NULL, 10);
	assert_true(got >= before - 1 && got <= time(NULL));
	v = fix_header(a.body, "x-f");
	assert_non_null(v);
	assert_int_equal(strlen(v), 3 + 1 + 9 + 1 + 1);
	assert_int_equal(v[3], '|');
	assert_int_equal(v[14], '%');
	v = fix_header(a.body, "x-t");
	assert_non_null(v);
	assert_int_equal(strlen(v), strlen("2026-11-21T09:13:31.724Z"));
	v = strptime(v, "%Y-%m-%dT%H:%M:%S", &tm);
	assert_non_null(v);
	assert_true(labs(timegm(&tm) - got) <= 1);
	fix_close();
}

/* The count is of the attempt; what a rule took away comes back with the next one (Envoy 1.40). */
static void test_attempts(void **state)
{
	(void)state;
	turn = 0;
	start("{match: {path: /retry}, request_headers_to_add: [{header: {key: x-n, value: "
	      "'%REQ(x-envoy-attempt-count)%'}}], response_headers_to_add: [{header: {key: x-tries, value: "
	      "'%UPSTREAM_REQUEST_ATTEMPT_COUNT%'}}], route: {cluster: up, "
	      "host_rewrite_literal: b, retry_policy: {retry_on: 5xx, retry_back_off: {base_interval: 0.001s}}}}");
	close(get("/retry", ""));
	assert_int_equal(a.status, 200);
	header_is(a.body, "x-envoy-attempt-count", "2");
	header_is(a.body, "x-n", "1");
	header_is(a.body, "host", "b");
	header_is(a.body, "x-envoy-original-host", "a");
	header_is(a.head, "x-tries", "2");
	fix_close();
}

/* Failures of a way that forwards have its mutations, and what the request became by then. */
static void test_failure(void **state)
{
	char text[64];

	(void)state;
	fix_server(NULL);
	fix_open_http("", "{match: {prefix: /}, response_headers_to_add: [{header: {key: x-path, value: '%REQ(:path)%'}}, "
			  "{header: {key: x-host, value: '%UPSTREAM_HOST%'}}, {header: {key: content-type, value: a/b}}], "
			  "route: {cluster: up, prefix_rewrite: /new}}",
		      "", 1, 1);
	close(get("/", ""));
	assert_int_equal(a.status, 503);
	header_is(a.head, "x-path", "/new");
	header_is(a.head, "content-type", "a/b");
	snprintf(text, sizeof(text), "127.0.0.1:%u", fix.server[0].port);
	header_is(a.head, "x-host", text);
	assert_non_null(strstr(a.body, "remote connection failure"));
	fix_close();
}

/* Values, hosts and paths longer than a buffer's block. */
static void test_long(void **state)
{
	static char extra[40000], value[30001];

	(void)state;
	start("{match: {prefix: /}, request_headers_to_add: [{header: {key: x-copy, value: '%REQ(x-long)%%REQ(x-long)%'}}, "
	      "{header: {key: x-long, value: short}, append_action: OVERWRITE_IF_EXISTS}], response_headers_to_remove: "
	      "[x-gone], response_headers_to_add: [{header: {key: x-back, value: '%REQ(x-copy):10%|%RESP(x-up)%'}}], "
	      "route: {cluster: up, host_rewrite_header: x-to, append_x_forwarded_host: true, prefix_rewrite: "
	      "/a-much-longer-prefix-than-it-was}}");
	memset(value, 'v', sizeof(value) - 1);
	snprintf(extra, sizeof(extra), "x-to: %.200s\r\nx-long: %.2000s\r\n", value, value);
	close(get("/p?q", extra));
	assert_int_equal(a.status, 200);
	assert_int_equal(strlen(fix_header(a.body, "host")), 200);
	assert_int_equal(strlen(fix_header(a.body, "x-copy")), 4000);
	header_is(a.body, "x-long", "short");
	header_is(a.body, "x-forwarded-host", "a");
	header_is(a.body, "x-envoy-original-path", "/p?q");
	header_is(a.head, "x-back", "vvvvvvvvvv|here");
	assert_null(fix_header(a.head, "x-gone"));
	assert_memory_equal(a.body, "GET /a-much-longer-prefix-than-it-wasp?q HTTP/1.1", 49);
	fix_close();
}

/* Lines of one name: joined where Envoy joins them, empty ones not. */
static void test_joined(void **state)
{
	(void)state;
	start("{match: {prefix: /}, route: {cluster: up}}");
	close(get("/", "accept: a\r\nx-c: 1\r\naccept: b\r\naccept:\r\nx-c: 2\r\norigin:\r\norigin: o\r\n"));
	assert_non_null(strstr(a.body, "\r\naccept: a,b\r\n"));
	assert_non_null(strstr(a.body, "\r\nx-c: 1\r\nx-c: 2\r\n"));
	assert_non_null(strstr(a.body, "\r\norigin: o\r\n"));
	assert_null(strstr(strstr(a.body, "accept:") + 1, "accept:"));
	fix_close();
}

/* A path with a blank in it would be read differently by the next: it is not sent. */
static void test_path_with_blank(void **state)
{
	(void)state;
	start("{match: {prefix: /}, route: {cluster: up, path_rewrite: '/n/%REQ(x-p)%', host_rewrite: '%REQ(x-h)%'}}");
	close(get("/", "x-p: a\r\n"));
	assert_int_equal(a.status, 200);
	assert_memory_equal(a.body, "GET /n/a HTTP/1.1\r\nhost: -\r\n", 28);
	close(get("/", "x-p: a b\r\n"));
	assert_int_equal(a.status, 503);
	assert_int_equal(fix_calls(0), 1);
	fix_close();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FIX_TEST(test_addresses), FIX_TEST(test_time), FIX_TEST(test_attempts),
		FIX_TEST(test_failure),	  FIX_TEST(test_long),
		FIX_TEST(test_joined),	  FIX_TEST(test_path_with_blank),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
