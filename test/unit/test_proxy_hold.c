// SPDX-License-Identifier: Apache-2.0
/* Injected delays over a socket: who waits, what comes after, and what the client may do meanwhile. */
#include "proxy_fixture.h"

static struct fix_answer a;

static void upstream(int fd)
{
	char head[8192], block[4096];

	while (fix_head_read(fd, head, sizeof(head))) {
		const char *v = fix_header(head, "content-length");
		size_t left = v ? strtoul(v, NULL, 10) : 0;

		while (left) {
			ssize_t n = recv(fd, block, left < sizeof(block) ? left : sizeof(block), 0);

			if (n <= 0)
				return;
			left -= (size_t)n;
		}
		send(fd, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", 40, MSG_NOSIGNAL);
	}
}

#define FAULT                                                                                      \
	FIX_FAULT("delay: {header_delay: {}, percentage: {numerator: 100}}, "                      \
		  "abort: {header_abort: {}, percentage: {numerator: 100}}")
#define WAIT_MS 120u
#define WAIT "x-envoy-fault-delay-request: 120\r\n"

static void start(void)
{
	fix_server(upstream);
	fix_open_http("request_headers_timeout: 0.05s, http_filters: [" FAULT ", " FIX_ROUTER_FILTER
		      "],",
		      FIX_ROUTE, "", 1, 1);
}

static uint64_t ask(int fd, const char *method, const char *headers)
{
	return fix_ask(fd, method, "/", headers, &a);
}

static void test_waits(void **state)
{
	int fd;

	(void)state;
	start();
	fd = fix_dial();
	/* longer than the deadline of a head, which is over: this is not that wait */
	assert_true(ask(fd, "GET", WAIT) >= WAIT_MS);
	assert_int_equal(a.status, 200);
	assert_true(ask(fd, "GET", WAIT "x-envoy-fault-abort-request: 503\r\n") >= WAIT_MS);
	assert_int_equal(a.status, 503);
	/* the place is given back each time: with one of them all wait */
	assert_true(ask(fd, "GET", WAIT) >= WAIT_MS);
	ask(fd, "GET", "");
	assert_int_equal(a.status, 200);
	close(fd);
	fix_close();
}

/* What follows in the pipeline waits behind it; 100 Continue is said once. */
static void test_pipeline(void **state)
{
	uint64_t from;
	int fd;

	(void)state;
	start();
	fd = fix_dial();
	from = fix_now_ms();
	fix_say(fd, "POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 2\r\n" WAIT "\r\n");
	assert_true(fix_hear(fd, &a));
	assert_int_equal(a.status, 100);
	fix_say(fd, "hi");
	fix_say(fd, "GET / HTTP/1.1\r\nhost: a\r\nx-envoy-fault-abort-request: 418\r\n\r\n");
	assert_true(fix_hear(fd, &a));
	assert_int_equal(a.status, 200);
	assert_true(fix_now_ms() - from >= WAIT_MS);
	assert_true(fix_hear(fd, &a));
	assert_int_equal(a.status, 418);
	close(fd);
	fix_close();
}

/* A client that leaves meanwhile: nothing is left of its place. */
static void test_leaves(void **state)
{
	int fd;

	(void)state;
	start();
	fd = fix_dial();
	fix_say(fd, "GET / HTTP/1.1\r\nhost: a\r\nx-envoy-fault-delay-request: 60000\r\n\r\n");
	assert_true(fix_silent(fd, 50));
	fix_reset(fd);
	close(fd);
	fd = fix_dial();
	for (int i = 0; i < 100 && ask(fd, "GET", WAIT) < WAIT_MS; i++)
		fix_sleep(10); /* until the end was seen there is no place, and nobody waits */
	assert_true(ask(fd, "GET", WAIT) >= WAIT_MS);
	close(fd);
	fix_close();
}

/* max_active_faults: the second finds no place and goes on at once. */
static void test_active(void **state)
{
	int one, two;

	(void)state;
	start();
	one = fix_dial();
	two = fix_dial();
	fix_say(one, "GET / HTTP/1.1\r\nhost: a\r\nx-envoy-fault-delay-request: 1000\r\n\r\n");
	assert_true(fix_silent(one, 100));
	ask(two, "GET", "x-envoy-fault-delay-request: 60000\r\nx-envoy-fault-abort-request: 503\r\n");
	assert_int_equal(a.status, 200);
	assert_true(fix_hear(one, &a));
	assert_int_equal(a.status, 200);
	close(one);
	close(two);
	fix_close();
}

#define LIMIT                                                                                      \
	"{name: l, typed_config: {\"@type\": "                                                     \
	"type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3."                    \
	"LocalRateLimit, stat_prefix: s, token_bucket: {max_tokens: 2, fill_interval: 3600s}, "    \
	"filter_enabled: "                                                                         \
	"{default_value: {numerator: 100}}, filter_enforced: {default_value: {numerator: 100}}}}"

/* The one bucket that has given a token. */
static struct weft_cell_bucket *bucket_used(void)
{
	const struct weft_state_head *h = weft_state_head();
	const struct weft_dir_ent *e = (const void *)((const uint8_t *)h + h->dir);

	for (uint32_t i = 0; i < h->n_dir; i++)
		if (__atomic_load_n(&e[i].key, __ATOMIC_ACQUIRE) &&
		    __atomic_load_n(&weft_cell_bucket(e[i].cell)->enabled, __ATOMIC_RELAXED) == 1)
			return weft_cell_bucket(e[i].cell);
	fail_msg("no bucket");
	return NULL;
}

/* What was paid before the wait counts behind it, unless the bucket's place is another's by then.
 */
static void test_paid(void **state)
{
	int fd;

	(void)state;
	for (int other = 0; other < 2; other++) {
		fix_server(upstream);
		fix_open_http("http_filters: [" LIMIT ", " FAULT ", " FIX_ROUTER_FILTER "],",
			      FIX_ROUTE, "", 1, 1);
		fd = fix_dial();
		fix_say(fd, "GET / HTTP/1.1\r\nhost: a\r\n" WAIT "\r\n");
		assert_true(fix_silent(fd, WAIT_MS / 2));
		if (other)
			__atomic_store_n(&bucket_used()->since, ~0u, __ATOMIC_RELAXED);
		assert_true(fix_hear(fd, &a));
		assert_int_equal(a.status, 200);
		ask(fd, "GET", "");
		assert_int_equal(a.status, other ? 429 : 200);
		close(fd);
		fix_close();
	}
}

/* A request that waits takes in no body without end; that its client leaves is still seen. */
static void test_bounded(void **state)
{
	static char block[65536];
	int fd;

	(void)state;
	start();
	fd = fix_dial();
	fix_say(fd, "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 99999999\r\nx-envoy-fault-delay-request: 60000\r\n\r\n");
	assert_true(fix_pour(fd, block, sizeof(block), FIX_POUR_MOST) < FIX_POUR_MOST);
	fix_reset(fd);
	close(fd);
	fd = fix_dial();
	for (int i = 0; i < 100 && ask(fd, "GET", WAIT) < WAIT_MS; i++)
		fix_sleep(10);
	assert_true(ask(fd, "GET", WAIT) >= WAIT_MS);
	/* all of a longer body goes on when the wait is over */
	fix_say(fd, "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 200000\r\n" WAIT "\r\n");
	for (size_t n = 0; n < 200000; n += 50000)
		fix_send(fd, block, 50000);
	assert_true(fix_hear(fd, &a));
	assert_int_equal(a.status, 200);
	close(fd);
	fix_close();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_waits),  cmocka_unit_test(test_pipeline),
		cmocka_unit_test(test_leaves), cmocka_unit_test(test_active),
		cmocka_unit_test(test_paid),   cmocka_unit_test(test_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
