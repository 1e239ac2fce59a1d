// SPDX-License-Identifier: Apache-2.0
/* Redirects that the proxy follows: which, with what request, and what it means for the client's connection. */
#include "proxy_fixture.h"

static struct fix_answer a;
static unsigned int seen;

/* /to/PATH: a redirect there, /late the answer after a while; else the request line, x-envoy-original-url and body length. */
static void upstream(int fd)
{
	char head[8192], path[64], answer[24000];

	while (fix_head_read(fd, head, sizeof(head))) {
		const char *v = fix_header(head, "content-length");
		size_t len = v ? strtoul(v, NULL, 10) : 0;
		char block[4096], text[20000];

		for (size_t left = len; left;) {
			ssize_t n = recv(fd, block, left < sizeof(block) ? left : sizeof(block), 0);

			if (n <= 0)
				return;
			left -= (size_t)n;
		}
		__atomic_fetch_add(&seen, 1, __ATOMIC_RELEASE);
		if (sscanf(head, "%*s /to/%63s", path) == 1) {
			snprintf(answer, sizeof(answer),
				 "HTTP/1.1 302 Found\r\nlocation: http://b/%s\r\ncontent-length: 4\r\n\r\ngone", path);
		} else {
			v = fix_header(head, "x-envoy-original-url");
			snprintf(text, sizeof(text), "%.*s %s %zu", (int)strcspn(head, "\r"), head, v ? v : "-", len);
			snprintf(answer, sizeof(answer), "HTTP/1.1 200 OK\r\ncontent-length: %zu\r\n\r\n%s",
				 strlen(text), text);
		}
		send(fd, answer, strlen(answer), MSG_NOSIGNAL);
	}
}

static void begin(const char *policy, const char *cluster)
{
	char routes[512];

	seen = 0;
	fix_server(upstream);
	snprintf(routes, sizeof(routes),
		 "{match: {prefix: /}, route: {cluster: up, internal_redirect_policy: {%s}}}", policy);
	fix_open_http("", routes, cluster, 1, 1);
}

static void hears(int fd, const char *body)
{
	assert_true(fix_hear(fd, &a));
	assert_int_equal(a.status, 200);
	assert_string_equal(a.body, body);
}

/* What was sent behind the request waits, and is answered after it; then the connection goes on. */
static void test_pipelined(void **state)
{
	int fd;

	(void)state;
	begin("", "");
	fd = fix_dial();
	for (int i = 0; i < 3; i++) {
		fix_say(fd, "POST /to/x HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc"
			    "GET /next HTTP/1.1\r\nhost: a\r\n\r\n"
			    "GET /to/y HTTP/1.1\r\nhost: a\r\n\r\n");
		hears(fd, "POST /x HTTP/1.1 http://a/to/x 3");
		hears(fd, "GET /next HTTP/1.1 - 0");
		hears(fd, "GET /y HTTP/1.1 http://a/to/y 0");
	}
	assert_true(fix_silent(fd, 50));
	close(fd);
	fix_close();
}

/* The end of the connection that the first request asked for comes after the last answer. */
static void test_close(void **state)
{
	int fd;

	(void)state;
	begin("", "");
	fd = fix_dial();
	fix_say(fd, "GET /to/x HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
	hears(fd, "GET /x HTTP/1.1 http://a/to/x 0");
	assert_string_equal(fix_header(a.head, "connection"), "close");
	assert_true(fix_ended(fd));
	close(fd);
	fix_close();
}

static void test_limit(void **state)
{
	int fd;

	(void)state;
	begin("max_internal_redirects: 2", "");
	fd = fix_dial();
	fix_say(fd, "GET /to/to/to/x HTTP/1.1\r\nhost: a\r\n\r\n");
	assert_true(fix_hear(fd, &a));
	assert_int_equal(a.status, 302);
	assert_string_equal(a.body, "gone");
	assert_string_equal(fix_header(a.head, "location"), "http://b/x");
	assert_int_equal(FIX_LOAD(seen), 3);
	fix_say(fd, "GET /to/x HTTP/1.1\r\nhost: a\r\n\r\n"); /* counted anew */
	hears(fd, "GET /x HTTP/1.1 http://a/to/x 0");
	close(fd);
	fix_close();
}

/* A body that was not kept cannot be sent a second time. */
static void test_long_body(void **state)
{
	static char body[65536];
	int fd;

	(void)state;
	begin("", ", per_connection_buffer_limit_bytes: 1024");
	fd = fix_dial();
	fix_say(fd, "POST /to/x HTTP/1.1\r\nhost: a\r\ncontent-length: 65536\r\n\r\n");
	fix_send(fd, body, sizeof(body));
	assert_true(fix_hear(fd, &a));
	assert_int_equal(a.status, 302);
	fix_say(fd, "POST /to/x HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\n");
	fix_send(fd, body, 1000);
	hears(fd, "POST /x HTTP/1.1 http://a/to/x 1000");
	close(fd);
	fix_close();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FIX_TEST(test_pipelined),
		FIX_TEST(test_close),
		FIX_TEST(test_limit),
		FIX_TEST(test_long_body),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
