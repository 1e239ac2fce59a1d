// SPDX-License-Identifier: Apache-2.0
/* Requests and responses through the agent path, as Envoy 1.40 carries them (each checked against it). */
#include "proxy_scripts.h"

static struct fix_answer a;

static void get(int fd, const char *path)
{
	char text[256];

	snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nhost: a\r\n\r\n", path);
	fix_say(fd, text);
	assert_true(fix_hear(fd, &a));
}

static void test_forward(void **state)
{
	int fd = fix_dial();

	(void)state;
	get(fd, "/echo?q=1");
	assert_int_equal(a.status, 200);
	assert_non_null(strstr(a.body, "GET /echo?q=1 HTTP/1.1\r\nhost: a\r\n"));
	assert_string_equal(fix_header(a.body, "x-forwarded-proto"), "http");
	assert_int_equal(strlen(fix_header(a.body, "x-request-id")), 36);
	assert_string_equal(fix_header(a.body, "x-envoy-expected-rq-timeout-ms"), "15000");
	assert_string_equal(fix_header(a.body, "x-envoy-attempt-count"), "1");
	assert_string_equal(fix_header(a.head, "server"), "envoy");
	assert_string_equal(fix_header(a.head, "date"), "Sun, 06 Nov 1994 08:49:37 GMT");
	assert_non_null(fix_header(a.head, "x-envoy-upstream-service-time"));
	/* the connections are kept on both sides */
	get(fd, "/plain");
	assert_memory_equal(a.head, "HTTP/1.1 200 OK\r\n", 17);
	assert_string_equal(a.body, "ok");
	assert_int_equal(fix_calls(0), 1);
	close(fd);
}

static void test_request_headers(void **state)
{
	static const char *const gone[] = {
		"connection", "keep-alive", "proxy-connection", "te", "x-envoy-internal", "x-envoy-retry-on",
		"x-envoy-upstream-rq-timeout-ms", "x-forwarded-client-cert", "x-envoy-max-retries", "x-named"};
	static const char *const kept[] = {"x-request-id", "x-forwarded-for", "trailer", "proxy-authorization",
					   "x-envoy-original-path", "content-type"};
	int fd = fix_dial();

	(void)state;
	fix_say(fd, "GET /echo HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, x-named\r\nX-Named: 1\r\n"
		    "Keep-Alive: 5\r\nProxy-Connection: x\r\nTE: gzip\r\nX-Envoy-Internal: true\r\n"
		    "X-Envoy-Retry-On: 5xx\r\nX-Envoy-Upstream-Rq-Timeout-Ms: 1\r\nX-Envoy-Max-Retries: 9\r\n"
		    "X-Forwarded-Client-Cert: By=me\r\nX-Request-Id: mine\r\nX-Forwarded-For: 1.1.1.1\r\n"
		    "Trailer: x\r\nProxy-Authorization: y\r\nX-Envoy-Original-Path: /p\r\nContent-Type: t\r\n"
		    "X-Envoy-Attempt-Count: 9\r\n\r\n");
	assert_true(fix_hear(fd, &a));
	for (size_t i = 0; i < sizeof(gone) / sizeof(*gone); i++)
		assert_null(fix_header(a.body, gone[i]));
	for (size_t i = 0; i < sizeof(kept) / sizeof(*kept); i++)
		assert_non_null(fix_header(a.body, kept[i]));
	assert_string_equal(fix_header(a.body, "x-request-id"), "mine");
	assert_string_equal(fix_header(a.body, "x-envoy-attempt-count"), "1");
	close(fd);
}

static void test_response_headers(void **state)
{
	int fd = fix_dial();

	(void)state;
	get(fd, "/hop");
	assert_null(fix_header(a.head, "connection"));
	assert_null(fix_header(a.head, "keep-alive"));
	assert_null(fix_header(a.head, "proxy-connection"));
	assert_null(fix_header(a.head, "upgrade"));
	assert_string_equal(fix_header(a.head, "x-a"), "b");
	assert_string_equal(fix_header(a.head, "server"), "envoy");
	assert_string_equal(fix_header(a.head, "date"), "then");
	assert_string_not_equal(fix_header(a.head, "x-envoy-upstream-service-time"), "77");
	close(fd);
}

static void test_response_framing(void **state)
{
	int fd = fix_dial();

	(void)state;
	get(fd, "/chunks");
	assert_string_equal(a.body, "okay!");
	get(fd, "/until-close");
	assert_string_equal(a.body, "all of it");
	assert_string_equal(fix_header(a.head, "transfer-encoding"), "chunked");
	get(fd, "/204");
	assert_int_equal(a.status, 204);
	assert_null(fix_header(a.head, "content-length"));
	get(fd, "/304");
	assert_int_equal(a.status, 304);
	assert_string_equal(fix_header(a.head, "content-length"), "7");
	get(fd, "/close"); /* the upstream's connection ends, not the client's */
	assert_null(fix_header(a.head, "connection"));
	fix_say(fd, "HEAD /plain HTTP/1.1\r\nhost: a\r\n\r\n");
	assert_true(fix_hear_of(fd, &a, true));
	assert_string_equal(fix_header(a.head, "content-length"), "2");
	close(fd);
}

static void test_upstream_failures(void **state)
{
	static const struct {
		const char *path;
		unsigned int status;
		const char *reason;
	} cases[] = {{"/drop", 503, "connection termination"}, {"/junk", 502, "protocol error"},
		     {"/half", 502, "protocol error"},	       {"/both", 502, "protocol error"},
		     {"/204-body", 502, "protocol error"}};
	int fd = fix_dial();
	char text[128];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		get(fd, cases[i].path);
		assert_int_equal(a.status, cases[i].status);
		snprintf(text, sizeof(text),
			 "upstream connect error or disconnect/reset before headers. reset reason: %s",
			 cases[i].reason);
		assert_string_equal(a.body, text);
		assert_string_equal(fix_header(a.head, "content-type"), "text/plain");
	}
	close(fd);
}

/* After the response has begun only the end of the connection tells that it failed. */
static void test_failures_in_the_body(void **state)
{
	static const char *const paths[] = {"/bad-chunk", "/short"};
	char text[128], rest[256];

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		int fd = fix_dial();
		size_t n = 0;
		ssize_t k;

		snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nhost: a\r\n\r\n", paths[i]);
		fix_say(fd, text);
		assert_true(fix_head_read(fd, a.head, sizeof(a.head)));
		while ((k = recv(fd, rest + n, sizeof(rest) - n, 0)) > 0)
			n += (size_t)k;
		assert_null(memmem(rest, n, "\r\n0\r\n\r\n", 7)); /* not ended as if it were whole */
		assert_true(n < 20);
		close(fd);
	}
}

static void test_request_bodies(void **state)
{
	int fd = fix_dial();

	(void)state;
	fix_say(fd, "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello");
	assert_true(fix_hear(fd, &a));
	assert_string_equal(a.body + strlen(a.body) - 9, "\r\n\r\nhello");
	fix_say(fd, "POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3;a=b\r\nllo\r\n0\r\n"
		    "x-trailer: 1\r\n\r\n");
	assert_true(fix_hear(fd, &a));
	assert_string_equal(a.body + strlen(a.body) - 9, "\r\n\r\nhello");
	assert_string_equal(fix_header(a.body, "transfer-encoding"), "chunked");
	fix_say(fd, "PUT /echo HTTP/1.1\r\nhost: a\r\n\r\n");
	assert_true(fix_hear(fd, &a));
	assert_string_equal(fix_header(a.body, "content-length"), "0");
	/* malformed chunks: answered once the exchange is known, and closed */
	fix_say(fd, "POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n");
	assert_true(fix_hear(fd, &a));
	assert_int_equal(a.status, 400);
	assert_string_equal(a.body, "Bad Request");
	assert_string_equal(fix_header(a.head, "connection"), "close");
	assert_true(fix_ended(fd));
	close(fd);
}

/* A request and its chunked body, cut at every byte, reach the upstream whole. */
static void test_split_requests(void **state)
{
	static const char text[] = "POST /echo HTTP/1.1\r\nhost: a\r\nx: y\r\ntransfer-encoding: chunked\r\n\r\n"
				   "5\r\nhello\r\nb\r\n split here\r\n0\r\n\r\n";
	int fd = fix_dial();

	(void)state;
	for (size_t i = 1; i < sizeof(text) - 1; i++) {
		fix_send(fd, text, i);
		fix_sleep(1);
		fix_send(fd, text + i, sizeof(text) - 1 - i);
		assert_true(fix_hear(fd, &a));
		assert_int_equal(a.status, 200);
		assert_string_equal(a.body + strlen(a.body) - 20, "\r\n\r\nhello split here");
	}
	close(fd);
}

static void test_pipelining(void **state)
{
	char text[4096] = "";
	int fd = fix_dial();

	(void)state;
	for (int i = 0; i < 40; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text),
			 i % 3 ? "GET /echo?%d HTTP/1.1\r\nhost: a\r\n\r\n" :
				 "POST /echo?%d HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nab",
			 i);
	fix_say(fd, text);
	for (int i = 0; i < 40; i++) {
		char want[32];

		assert_true(fix_hear(fd, &a));
		snprintf(want, sizeof(want), " /echo?%d HTTP/1.1", i);
		assert_non_null(strstr(a.body, want));
	}
	/* the one behind a request that closes is never looked at */
	fix_say(fd, "GET /plain HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\nGET /plain HTTP/1.1\r\nhost: a\r\n\r\n");
	assert_true(fix_hear(fd, &a));
	assert_string_equal(fix_header(a.head, "connection"), "close");
	assert_true(fix_ended(fd));
	close(fd);
}

static void test_continue(void **state)
{
	int fd = fix_dial();

	(void)state;
	fix_say(fd, "POST /echo HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n");
	assert_true(fix_hear(fd, &a));
	assert_int_equal(a.status, 100);
	fix_say(fd, "abc");
	assert_true(fix_hear(fd, &a));
	assert_int_equal(a.status, 200);
	assert_null(fix_header(a.body, "expect"));
	/* what the upstream says of it stays here */
	get(fd, "/continue");
	assert_int_equal(a.status, 200);
	get(fd, "/hints");
	assert_int_equal(a.status, 200);
	/* said before the request is judged */
	fix_say(fd, "POST /direct HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n");
	assert_true(fix_hear(fd, &a));
	assert_int_equal(a.status, 100);
	assert_true(fix_hear(fd, &a));
	assert_int_equal(a.status, 200);
	assert_string_equal(fix_header(a.head, "connection"), "close");
	assert_true(fix_ended(fd));
	close(fd);
}

static void test_proxied_interim(void **state)
{
	int fd;

	(void)state;
	fix_server(script_upstream);
	fix_open_http("proxy_100_continue: true,", FIX_ROUTE, "", 1, 1);
	fd = fix_dial();
	get(fd, "/continue");
	assert_int_equal(a.status, 100);
	assert_true(fix_hear(fd, &a));
	assert_string_equal(a.body, "ok");
	get(fd, "/hints");
	assert_int_equal(a.status, 103);
	assert_string_equal(fix_header(a.head, "link"), "x");
	assert_true(fix_hear(fd, &a));
	assert_string_equal(a.body, "ok");
	/* Expect goes on, and nobody answers it here */
	fix_say(fd, "POST /echo HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\nabc");
	assert_true(fix_hear(fd, &a));
	assert_int_equal(a.status, 200);
	assert_string_equal(fix_header(a.body, "expect"), "100-continue");
	close(fd);
	fix_close();
}

/* via, server names, suppressed headers. */
static void test_identity(void **state)
{
	int fd;

	(void)state;
	fix_server(script_upstream);
	fix_open_http("via: me, server_header_transformation: "
		      "APPEND_IF_ABSENT, http_filters: [{name: r, typed_config: {\"@type\": type.googleapis.com/envoy."
		      "extensions.filters.http.router.v3.Router, suppress_envoy_headers: true}}],",
		      FIX_ROUTE, "", 1, 1);
	fd = fix_dial();
	get(fd, "/hop");
	assert_string_equal(fix_header(a.head, "server"), "nginx");
	assert_string_equal(fix_header(a.head, "x-envoy-upstream-service-time"), "77");
	assert_string_equal(fix_header(a.head, "via"), "me");
	assert_null(fix_header(a.head, "x-request-id"));
	get(fd, "/echo");
	assert_string_equal(fix_header(a.head, "server"), "envoy");
	assert_null(fix_header(a.body, "x-envoy-expected-rq-timeout-ms"));
	assert_string_equal(fix_header(a.body, "via"), "me");
	close(fd);
	fix_close();
}

/* An answer that comes before the request's end ends the connection, and says so. */
static void test_early_answer(void **state)
{
	int fd = fix_dial();

	(void)state;
	fix_say(fd, "POST /early HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nabc");
	assert_true(fix_hear(fd, &a));
	assert_int_equal(a.status, 413);
	assert_memory_equal(a.head, "HTTP/1.1 413 Payload Too Large\r\n", 32);
	assert_string_equal(fix_header(a.head, "connection"), "close");
	assert_null(fix_header(a.head, "x-envoy-upstream-service-time"));
	assert_true(fix_ended(fd));
	close(fd);
}

/* A client that half closes behind its request gets no answer, and its upstream connection ends. */
static void test_half_close(void **state)
{
	int fd = fix_dial();

	(void)state;
	fix_say(fd, "GET /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\na");
	fix_sleep(50);
	shutdown(fd, SHUT_WR);
	assert_true(fix_ended(fd));
	close(fd);
}

static void test_not_captured(void **state)
{
	struct weft_proxy_stats before, after;
	int fd;

	(void)state;
	weft_proxy_stats(fix.proxy, &before);
	fix_dst("192.0.2.1", 0);
	fd = fix_dial();
	assert_true(fix_ended(fd));
	close(fd);
	fix_dst("192.0.2.1", 80);
	weft_proxy_stats(fix.proxy, &after);
	assert_int_equal(after.not_captured, before.not_captured + 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_forward),
		cmocka_unit_test(test_request_headers),
		cmocka_unit_test(test_response_headers),
		cmocka_unit_test(test_response_framing),
		cmocka_unit_test(test_upstream_failures),
		cmocka_unit_test(test_failures_in_the_body),
		cmocka_unit_test(test_request_bodies),
		cmocka_unit_test(test_split_requests),
		cmocka_unit_test(test_pipelining),
		cmocka_unit_test(test_continue),
		cmocka_unit_test(test_early_answer),
		cmocka_unit_test(test_half_close),
		cmocka_unit_test(test_not_captured),
	};

	const struct CMUnitTest others[] = {FIX_TEST(test_proxied_interim), FIX_TEST(test_identity)};
	int failed = cmocka_run_group_tests(tests, script_open, script_close);

	return failed + cmocka_run_group_tests(others, NULL, NULL);
}
