// SPDX-License-Identifier: Apache-2.0
/* Large responses from socket to socket: every byte once and in order, whatever either end does
 * meanwhile. */
#include "proxy_fixture.h"

#define SIZE (24u << 20)
#define HEAD "HTTP/1.1 200 OK\r\ncontent-length: 25165824\r\n\r\n"
#define GET "GET / HTTP/1.1\r\nhost: a\r\n\r\n"

static uint8_t byte_at(size_t i)
{
	return (uint8_t)(i ^ i >> 8 ^ i >> 16);
}

static void pattern_send(int fd, size_t n)
{
	static __thread uint8_t block[1 << 16];

	for (size_t at = 0; at < n;) {
		size_t k = n - at < sizeof(block) ? n - at : sizeof(block);

		for (size_t i = 0; i < k; i++)
			block[i] = byte_at(at + i);
		for (size_t done = 0; done < k;) {
			ssize_t sent = send(fd, block + done, k - done, MSG_NOSIGNAL);

			if (sent <= 0)
				return;
			done += (size_t)sent;
		}
		at += k;
	}
}

static void whole(int fd)
{
	char head[8192];

	while (fix_head_read(fd, head, sizeof(head))) {
		fix_say(fd, HEAD);
		pattern_send(fd, SIZE);
	}
}

static void half(int fd)
{
	char head[8192];

	if (!fix_head_read(fd, head, sizeof(head)))
		return;
	fix_say(fd, HEAD);
	pattern_send(fd, SIZE / 2);
}

/* How many bytes of the body come, each as it should be; pause_ms after each megabyte. */
static size_t body_check(int fd, size_t most, long pause_ms)
{
	static uint8_t block[1 << 16];
	size_t at = 0;

	while (at < most) {
		size_t want = most - at < sizeof(block) ? most - at : sizeof(block);
		ssize_t n = recv(fd, block, want, 0);

		if (n <= 0)
			break;
		for (ssize_t i = 0; i < n; i++)
			assert_int_equal(block[i], byte_at(at + (size_t)i));
		if (pause_ms && at >> 20 != (at + (size_t)n) >> 20)
			fix_sleep(pause_ms);
		at += (size_t)n;
	}
	return at;
}

static int ask(void)
{
	char head[8192];
	int fd = fix_dial();

	fix_say(fd, GET);
	assert_true(fix_head_read(fd, head, sizeof(head)) != 0);
	return fd;
}

static uint64_t spliced(void)
{
	struct weft_proxy_stats s;

	weft_proxy_stats(fix.proxy, &s);
	return s.spliced_bytes;
}

/* The connection goes on behind it. A client that takes all leaves most of it to the kernel. */
static void test_whole(void **state)
{
	char head[8192];
	int fd;

	(void)state;
	fix_server(whole);
	fix_open_http("", FIX_ROUTE, "", 1, 1);
	fd = ask();
	assert_int_equal(body_check(fd, SIZE, 0), SIZE);
	assert_true(spliced() > 0);
	fix_say(fd, GET);
	assert_true(fix_head_read(fd, head, sizeof(head)) != 0);
	assert_int_equal(body_check(fd, SIZE, 0), SIZE);
	assert_int_equal(fix_calls(0), 1);
	close(fd);
	fix_close();
}

/* What it does not take at once waits in a buffer, and the endpoint waits with it. */
static void test_slow_client(void **state)
{
	char head[8192];
	int fd, size = 1 << 16;

	(void)state;
	fix_server(whole);
	fix_open_http("", "{match: {prefix: /}, route: {cluster: up, timeout: 0s}}", "", 1, 1);
	fd = fix_dial();
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	fix_say(fd, GET);
	assert_true(fix_head_read(fd, head, sizeof(head)) != 0);
	assert_int_equal(body_check(fd, SIZE, 20), SIZE);
	close(fd);
	fix_close();
}

/* What came goes on, then the end: never an answer that looks whole. */
static void test_endpoint_ends_early(void **state)
{
	int fd;

	(void)state;
	fix_server(half);
	fix_open_http("", FIX_ROUTE, "", 1, 1);
	fd = ask();
	assert_true(body_check(fd, SIZE, 0) <= SIZE / 2);
	assert_true(fix_ended(fd));
	close(fd);
	fix_close();
}

/* Clients that go in the middle leave nothing in the pipe that is everybody's. */
static void test_client_goes(void **state)
{
	(void)state;
	fix_server(whole);
	fix_open_http("", FIX_ROUTE, "", 1, 1);
	for (size_t n = 1; n <= 8; n++) {
		int gone = ask(), stays = ask();

		body_check(gone, n << 20, 0);
		if (n % 2)
			fix_reset(gone);
		close(gone);
		assert_int_equal(body_check(stays, SIZE, 0), SIZE);
		close(stays);
	}
	assert_true(spliced() > 0);
	fix_close();
}

/* A body that something else looks at goes by the buffer: here a rate of the fault filter. */
static void test_not_where_it_is_held(void **state)
{
	int fd;

	(void)state;
	fix_server(whole);
	fix_open_http("http_filters: [" FIX_FAULT(
			      "response_rate_limit: {fixed_limit: {limit_kbps: 1000000}, "
			      "percentage: {numerator: 100}}") "," FIX_ROUTER_FILTER "],",
		      FIX_ROUTE, "", 1, 1);
	fd = ask();
	assert_int_equal(body_check(fd, SIZE, 0), SIZE);
	assert_int_equal(spliced(), 0);
	close(fd);
	fix_close();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FIX_TEST(test_whole),
		FIX_TEST(test_slow_client),
		FIX_TEST(test_endpoint_ends_early),
		FIX_TEST(test_client_goes),
		FIX_TEST(test_not_where_it_is_held),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
