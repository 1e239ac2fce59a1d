// SPDX-License-Identifier: Apache-2.0
/* Responses that a fault holds to a rate, over a socket. */
#include "proxy_fixture.h"

static struct fix_answer a;
static char block[1000];

/* /chunked, /cut (says more than it sends), /big; anything else: 500 bytes. */
static void upstream(int fd)
{
	char head[8192], line[128];

	while (fix_head_read(fd, head, sizeof(head))) {
		size_t n = strstr(head, " /big") ? 3u << 20 : 500;

		if (strstr(head, " /chunked"))
			n = (size_t)snprintf(
				line, sizeof(line),
				"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1f4\r\n");
		else
			n = (size_t)snprintf(line, sizeof(line),
					     "HTTP/1.1 200 OK\r\ncontent-length: %zu\r\n\r\n",
					     strstr(head, " /cut") ? 5000 : n);
		send(fd, line, n, MSG_NOSIGNAL);
		for (int i = strstr(head, " /big") ? 3 << 20 : 500; i > 0; i -= 500) {
			if (send(fd, block, i < 500 ? (size_t)i : 500, MSG_NOSIGNAL) < 0)
				return;
		}
		if (strstr(head, " /chunked"))
			send(fd, "\r\n0\r\n\r\n", 7, MSG_NOSIGNAL);
		if (strstr(head, " /cut"))
			return;
	}
}

#define FAULT FIX_FAULT("response_rate_limit: {header_limit: {}, percentage: {numerator: 100}}")

static void start(void)
{
	char routes[1024];

	memset(block, 'x', sizeof(block));
	fix_server(upstream);
	snprintf(routes, sizeof(routes),
		 "{match: {prefix: /direct}, direct_response: {status: 200, body: {inline_string: "
		 "\"%.500s\"}}}, " FIX_ROUTE,
		 block);
	fix_open_http("http_filters: [" FAULT ", " FIX_ROUTER_FILTER "],", routes, "", 1, 1);
}

#define AT(kbps) "x-envoy-fault-throughput-response: " kbps "\r\n"

static uint64_t ask(int fd, const char *path, const char *headers)
{
	uint64_t took = fix_ask(fd, "GET", path, headers, &a);

	assert_int_equal(a.status, 200);
	return took;
}

/* A twentieth of a second's bytes at once (51), the others (449) at 1,024 a second. */
#define SLOW_MS 420

static void test_rate(void **state)
{
	static const char *const paths[] = {"/", "/chunked", "/direct"};
	int fd;

	(void)state;
	start();
	fd = fix_dial();
	for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++) {
		assert_true(ask(fd, paths[i], AT("1")) >= SLOW_MS);
		assert_int_equal(a.len, 500);
		assert_memory_equal(a.body, block, 500);
	}
	/* the one active fault is given back each time */
	assert_true(ask(fd, "/", AT("1")) >= SLOW_MS);
	ask(fd, "/", AT("0"));
	ask(fd, "/", AT("x"));
	ask(fd, "/", "");
	close(fd);
	fix_close();
}

/* What follows waits behind it; the last of it closes where that was asked for. */
static void test_pipeline(void **state)
{
	uint64_t from;
	int fd;

	(void)state;
	start();
	fd = fix_dial();
	from = fix_now_ms();
	fix_say(fd, "GET /direct HTTP/1.1\r\nhost: a\r\n" AT(
			    "1") "\r\nGET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
	assert_true(fix_hear(fd, &a));
	assert_true(fix_now_ms() - from >= SLOW_MS);
	assert_true(fix_hear(fd, &a));
	assert_string_equal(fix_header(a.head, "connection"), "close");
	assert_true(fix_ended(fd));
	close(fd);
	fix_close();
}

/* A client that goes while its response waits, and one that is told of an end too early: nothing is
 * left. */
static void test_broken(void **state)
{
	int fd;

	(void)state;
	start();
	fd = fix_dial();
	fix_say(fd, "GET /big HTTP/1.1\r\nhost: a\r\n" AT("1") "\r\n");
	fix_sleep(100);
	close(fd);
	fd = fix_dial();
	fix_say(fd, "GET /cut HTTP/1.1\r\nhost: a\r\n" AT("1") "\r\n");
	while (!fix_ended(fd))
		;
	close(fd);
	fd = fix_dial(); /* the place is free */
	assert_true(ask(fd, "/", AT("1")) >= SLOW_MS);
	close(fd);
	fix_close();
}

/* More than may wait (1 MiB): the endpoint is held back, and all comes. */
static void test_big(void **state)
{
	uint64_t took;
	int fd;

	(void)state;
	start();
	fd = fix_dial();
	took = ask(fd, "/big", AT("4096"));
	assert_int_equal(a.len, 3u << 20);
	assert_true(took >= 650); /* 3 MiB at 4 MiB a second, less a twentieth */
	close(fd);
	fix_close();
}

int main(void)
{
	const struct CMUnitTest tests[] = {FIX_TEST(test_rate), FIX_TEST(test_pipeline),
					   FIX_TEST(test_broken), FIX_TEST(test_big)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
