// SPDX-License-Identifier: Apache-2.0
/* Responses on their way to the client: interim ones, silence, and what comes after an upstream's last one. */
#include "proxy_fixture.h"

#define HINT "HTTP/1.1 103 Hints\r\nlink: </a-rather-long-name-of-a-stylesheet>; rel=preload\r\n\r\n"
#define OK "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
#define GET "GET / HTTP/1.1\r\nhost: a\r\n\r\n"

static struct fix_answer a;

static void hints(int fd)
{
	char head[8192];

	while (fix_head_read(fd, head, sizeof(head))) {
		for (int i = 0; i < 5000; i++)
			fix_say(fd, HINT);
		fix_say(fd, OK);
	}
}

/* The first goes on; an upstream that says more of them fills nobody's memory. */
static void test_interim_once(void **state)
{
	int fd;

	(void)state;
	fix_server(hints);
	fix_open_http("proxy_100_continue: true,", FIX_ROUTE, "", 1, 1);
	fd = fix_dial();
	for (int i = 0; i < 2; i++) {
		fix_say(fd, GET);
		assert_true(fix_hear(fd, &a));
		assert_int_equal(a.status, 103);
		assert_true(fix_hear(fd, &a));
		assert_int_equal(a.status, 200);
	}
	close(fd);
	fix_close();
}

static void stalls(int fd)
{
	char head[8192];

	if (!fix_head_read(fd, head, sizeof(head)))
		return;
	fix_say(fd, "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n");
	fix_head_read(fd, head, sizeof(head)); /* until the proxy closes */
}

/* per_try_idle_timeout counts from the head of the response on, not only before it. */
static void test_idle_in_body(void **state)
{
	char head[8192];
	int fd;

	(void)state;
	fix_server(stalls);
	fix_open_http("",
		      "{match: {prefix: /}, route: {cluster: up, timeout: 0s, retry_policy: {retry_on: 5xx, "
		      "per_try_idle_timeout: 0.1s}}}",
		      "", 1, 1);
	fd = fix_dial();
	fix_say(fd, GET);
	assert_true(fix_head_read(fd, head, sizeof(head)) != 0);
	assert_true(fix_ended(fd));
	close(fd);
	fix_close();
}

/* One answer and the end of the connection in one piece. */
static void last(int fd)
{
	char head[8192];

	if (!fix_head_read(fd, head, sizeof(head)))
		return;
	send(fd, OK, sizeof(OK) - 1, MSG_NOSIGNAL | MSG_MORE);
	shutdown(fd, SHUT_WR);
	fix_head_read(fd, head, sizeof(head));
}

/* A connection whose end is there already takes no further request, although nobody has read up to it. */
static void test_end_behind_answer(void **state)
{
	int fd;

	(void)state;
	fix_server(last);
	fix_open_http("", FIX_ROUTE, "", 1, 1);
	fd = fix_dial();
	fix_say(fd, GET GET GET GET);
	for (int i = 0; i < 4; i++) {
		assert_true(fix_hear(fd, &a));
		assert_int_equal(a.status, 200);
	}
	assert_int_equal(fix_calls(0), 4);
	close(fd);
	fix_close();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FIX_TEST(test_interim_once),
		FIX_TEST(test_idle_in_body),
		FIX_TEST(test_end_behind_answer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
