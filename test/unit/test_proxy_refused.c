// SPDX-License-Identifier: Apache-2.0
/* Heads and bodies that the agent path answers by itself, as Envoy 1.40 does (each checked against
 * it). */
#include "proxy_scripts.h"

static struct fix_answer a;

static void refused(const char *text, unsigned int status, const char *body)
{
	int fd = fix_dial();

	fix_say(fd, text);
	assert_true(fix_hear(fd, &a));
	assert_int_equal(a.status, status);
	assert_string_equal(a.body, body);
	assert_string_equal(fix_header(a.head, "connection"), "close");
	assert_true(fix_ended(fd));
	close(fd);
}

static void test_refused(void **state)
{
	static char big[80000];

	(void)state;
	refused("GET /plain HTTP/1.0\r\nhost: a\r\n\r\n", 426, "Upgrade Required");
	refused("nonsense\r\n\r\n", 400, "Bad Request");
	refused("GET /plain HTTP/1.1\r\n\r\n", 400, "");
	refused("POST /x HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: "
		"chunked\r\n\r\n",
		400, "Bad Request");
	refused("POST /x HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
		400, "Bad Request");
	refused("POST /x HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip, chunked\r\n\r\n", 501,
		"Not Implemented");
	refused("GET /x HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: other\r\n\r\n", 403,
		"");
	refused("POST /direct HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\n", 200, "hi");
	refused("GET /direct HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: "
		"websocket\r\n\r\n",
		200, "hi");
	/* a success that is no switch goes on without its body, and without what says of one */
	refused("GET /typed HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: "
		"websocket\r\n\r\n",
		200, "");
	assert_null(fix_header(a.head, "content-type"));
	assert_string_equal(fix_header(a.head, "content-length"), "0");
	refused("GET /early HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: "
		"websocket\r\n\r\n",
		413, "no");
	refused("GET /drop HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: "
		"websocket\r\n\r\n",
		503,
		"upstream connect error or disconnect/reset before headers. reset reason: "
		"connection termination");
	refused("GET /x HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: connect-udp\r\n\r\n",
		404, "The path is incorrect for CONNECT-UDP");
	memset(big, 'x', sizeof(big) - 1);
	memcpy(big, "GET / HTTP/1.1\r\nhost: a\r\nx: ", 28);
	refused(big, 431, "Request Header Fields Too Large");
	assert_int_equal(fix_calls(0) > 0, 1);
}

static void test_too_many_headers(void **state)
{
	char text[4096] = "GET /plain HTTP/1.1\r\nhost: a\r\n";

	(void)state;
	for (int i = 0; i < 100; i++)
		strcat(text, "x: y\r\n");
	strcat(text, "\r\n");
	refused(text, 431, "Request Header Fields Too Large");
}

/* A line that does not end is refused as soon as it is longer than a head may be, and so is the
 * longest head there may be. */
static void test_head_too_long(void **state)
{
	static char big[80000];
	int fd;

	fix_close();
	fix_open_http("max_request_headers_kb: 1,", FIX_ROUTE, "", 1, 1);
	memset(big, 'x', 1100);
	memcpy(big, "GET /", 5);
	fd = fix_dial();
	fix_send(fd, big, 1);
	fix_sleep(50);
	fix_say(fd, big + 1);
	assert_true(fix_hear(fd, &a));
	assert_int_equal(a.status, 431);
	close(fd);
	fix_close();
	fix_open_http("max_request_headers_kb: 64,", FIX_ROUTE, "", 1, 1);
	memset(big, 'x', sizeof(big) - 1);
	memcpy(big, "GET / HTTP/1.1\r\nhost: a\r\nx: ", 28);
	refused(big, 431, "Request Header Fields Too Large");
	fix_close();
	script_open(state);
}

static void test_trailers_too_long(void **state)
{
	static char big[61440u + 200] =
		"POST /x HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx: ";
	size_t n = strlen(big);

	(void)state;
	memset(big + n, 'x', sizeof(big) - 1 - n);
	refused(big, 431, "Request Header Fields Too Large");
}

static void test_slow_head(void **state)
{
	uint64_t start = fix_now_ms();
	int fd = fix_dial();

	(void)state;
	for (const char *p = "GET /plain"; *p; p++) {
		fix_send(fd, p, 1); /* each byte does not grant more time */
		fix_sleep(20);
	}
	assert_true(fix_hear(fd, &a));
	assert_int_equal(a.status, 408);
	assert_string_equal(a.body, "request header timeout");
	assert_true(fix_ended(fd));
	assert_true(fix_now_ms() - start >= 300);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refused),		  cmocka_unit_test(test_too_many_headers),
		cmocka_unit_test(test_slow_head),	  cmocka_unit_test(test_head_too_long),
		cmocka_unit_test(test_trailers_too_long),
	};

	return cmocka_run_group_tests(tests, script_open, script_close);
}
