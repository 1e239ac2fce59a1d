// SPDX-License-Identifier: Apache-2.0
/* Mirrors: what they get, and that nothing that they do reaches the request that they copy. */
#include "proxy_fixture.h"

static struct fix_answer a;
static char copy[8192];	    /* the head that the mirror got last */
static unsigned int copies; /* requests that it got whole */
static unsigned int ends;   /* connections of it that ended */

static void body_read(int fd, const char *head)
{
	const char *v = fix_header(head, "content-length");
	char block[4096];

	for (size_t left = v ? strtoul(v, NULL, 10) : 0; left;) {
		ssize_t n = recv(fd, block, left < sizeof(block) ? left : sizeof(block), 0);

		if (n <= 0)
			return;
		left -= (size_t)n;
	}
}

static void upstream(int fd)
{
	static const char answer[] = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
	char head[8192];

	while (fix_head_read(fd, head, sizeof(head))) {
		body_read(fd, head);
		send(fd, answer, sizeof(answer) - 1, MSG_NOSIGNAL);
	}
}

/* Answers with more than a client would want. */
static void mirror(int fd)
{
	static const char answer[] = "HTTP/1.1 500 No\r\ncontent-length: 100000\r\n\r\n";
	char head[8192], block[1000] = "";

	while (fix_head_read(fd, head, sizeof(head))) {
		body_read(fd, head);
		memcpy(copy, head, sizeof(copy));
		send(fd, answer, sizeof(answer) - 1, MSG_NOSIGNAL);
		for (int i = 0; i < 100; i++)
			send(fd, block, sizeof(block), MSG_NOSIGNAL);
		__atomic_fetch_add(&copies, 1, __ATOMIC_RELEASE);
	}
	__atomic_fetch_add(&ends, 1, __ATOMIC_RELEASE);
}

/* Takes the head, and nothing more. */
static void mute(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLRDHUP};
	char head[8192];

	if (!fix_head_read(fd, head, sizeof(head)))
		return;
	__atomic_fetch_add(&copies, 1, __ATOMIC_RELEASE);
	poll(&p, 1, 20000);
	__atomic_fetch_add(&ends, 1, __ATOMIC_RELEASE);
}

static void begin(void (*serve)(int fd), const char *route, const char *cluster)
{
	char yaml[32768], routes[512];

	fix_server(upstream);
	fix_server(serve);
	copies = ends = 0;
	snprintf(routes, sizeof(routes),
		 "{match: {prefix: /}, route: {cluster: up, request_mirror_policies: [{cluster: mirror}]%s}}", route);
	snprintf(yaml, sizeof(yaml),
		 "%s  - {name: mirror, type: STATIC%s, load_assignment: {cluster_name: mirror, endpoints: [{lb_endpoints: "
		 "[{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: %u}}}}]}]}}\n",
		 fix_http_yaml("", routes, "", 1), cluster, fix.server[1].port);
	fix_open(yaml, 1);
}

static struct weft_proxy_stats stats(void)
{
	struct weft_proxy_stats s;

	weft_proxy_stats(fix.proxy, &s);
	return s;
}

static void wait_lost(uint64_t n)
{
	for (int i = 0; stats().mirrors_lost < n; i++) {
		assert_true(i < 2000);
		fix_sleep(5);
	}
}

static void wait_copies(unsigned int n)
{
	for (int i = 0; FIX_LOAD(copies) < n; i++) {
		assert_true(i < 2000);
		fix_sleep(5);
	}
}

#define GET "GET / HTTP/1.1\r\nhost: a:80\r\n\r\n"
static void test_copied(void **state)
{
	json_t *list;
	int fd;

	(void)state;
	begin(mirror, "", "");
	fd = fix_dial();
	for (unsigned int i = 0; i < 3; i++) { /* each over the connections of the one before */
		fix_say(fd, GET);
		assert_true(fix_hear(fd, &a));
		assert_int_equal(a.status, 200);
		assert_string_equal(a.body, "ok");
		wait_copies(i + 1);
	}
	assert_string_equal(fix_header(copy, "host"), "a-shadow:80");
	assert_string_equal(fix_header(copy, "x-envoy-internal"), "true");
	assert_int_equal(stats().mirrored, 3);
	assert_int_equal(stats().mirrors_lost, 0);
	assert_int_equal(stats().connections, 1);
	list = weft_proxy_connections(fix.proxy, 9);
	assert_int_equal(json_array_size(list), 1);
	json_decref(list);
	close(fd);
	fix_close();
}

/* A mirror that says nothing is waited for as long as the route waits, by nobody. */
static void test_silent(void **state)
{
	int fd;

	(void)state;
	begin(mute, ", timeout: 0.3s", "");
	fd = fix_dial();
	for (int i = 0; i < 5; i++) {
		fix_say(fd, GET);
		assert_true(fix_hear(fd, &a));
		assert_int_equal(a.status, 200);
	}
	close(fd);
	wait_lost(5);
	assert_int_equal(stats().mirrored, 5);
	fix_close();
}

/* What it does not take of a body is kept up to its cluster's limit, then it is given up. */
static void test_bound(void **state)
{
	static char block[65536];
	int fd;

	(void)state;
	begin(mute, "", ", per_connection_buffer_limit_bytes: 65536");
	fd = fix_dial();
	fix_say(fd, "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 33554432\r\n\r\n");
	for (int i = 0; i < 512; i++)
		fix_send(fd, block, sizeof(block));
	assert_true(fix_hear(fd, &a));
	assert_int_equal(a.status, 200);
	assert_int_equal(stats().mirrors_lost, 1);
	close(fd);
	fix_close();
}

/* A request that is never complete is none for the mirror either. */
static void test_given_up(void **state)
{
	int fd;

	(void)state;
	begin(mirror, "", "");
	fd = fix_dial();
	fix_say(fd, "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nabc");
	for (int i = 0; !fix_calls(1); i++) {
		assert_true(i < 2000);
		fix_sleep(5);
	}
	close(fd);
	wait_lost(1);
	for (int i = 0; !FIX_LOAD(ends); i++) {
		assert_true(i < 2000);
		fix_sleep(5);
	}
	fix_close();
}

static void test_breaker(void **state)
{
	int fd;

	(void)state;
	begin(mirror, "", ", circuit_breakers: {thresholds: [{max_pending_requests: 0}]}");
	fd = fix_dial();
	fix_say(fd, GET);
	assert_true(fix_hear(fd, &a));
	assert_int_equal(a.status, 200);
	wait_lost(1);
	assert_int_equal(FIX_LOAD(copies), 0);
	close(fd);
	fix_close();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FIX_TEST(test_copied), FIX_TEST(test_silent),  FIX_TEST(test_bound),
		FIX_TEST(test_given_up), FIX_TEST(test_breaker),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
