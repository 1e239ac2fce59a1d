// SPDX-License-Identifier: Apache-2.0
/* Connections of clients that speak HTTP/2: many streams at once, windows, resets, floods, the end
 * (against Envoy 1.40). */
#include "h2_client.h"

static struct h2c c;

/* /big: 1 MiB; /slow: after 0.3 s; /never; /half: less than it said; /long: a head of 70 KB;
 * else ok with the length of the body it got. */
static void body_drop(int fd, const char *head, size_t *ret)
{
	const char *v = fix_header(head, "content-length");
	char block[4096];
	size_t n = v ? strtoul(v, NULL, 10) : 0;

	*ret = 0;
	if (!fix_header(head, "transfer-encoding")) {
		for (ssize_t k;
		     *ret < n &&
		     (k = recv(fd, block, sizeof(block) < n - *ret ? sizeof(block) : n - *ret, 0)) >
			     0;)
			*ret += (size_t)k;
		return;
	}
	while ((n = fix_line_size(fd))) {
		for (ssize_t k;
		     n && (k = recv(fd, block, n < sizeof(block) ? n : sizeof(block), 0)) > 0;
		     n -= (size_t)k)
			*ret += (size_t)k;
		fix_line_size(fd);
	}
	fix_line_size(fd);
}

#define BIG (1u << 20)
#define LONG 70000u
static void upstream(int fd)
{
	static const char big[] = "HTTP/1.1 200 OK\r\ncontent-length: 1048576\r\n\r\n";
	static const char half[] = "HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\nhalf";
	char head[8192], answer[128], text[32];
	static char zeros[BIG];
	size_t n;

	while (fix_head_read(fd, head, sizeof(head))) {
		const char *path = strchr(head, ' ') + 1;

		if (!strncmp(path, "/never", 6)) {
			fix_sleep(3000);
			return;
		}
		body_drop(fd, head, &n);
		if (!strncmp(path, "/slow", 5))
			fix_sleep(300);
		if (!strncmp(path, "/big", 4)) {
			send(fd, big, sizeof(big) - 1, MSG_NOSIGNAL);
			for (size_t at = 0; at < BIG;) {
				ssize_t k = send(fd, zeros, BIG - at, MSG_NOSIGNAL);

				if (k <= 0)
					return;
				at += (size_t)k;
			}
			continue;
		}
		if (!strncmp(path, "/half", 5)) {
			send(fd, half, sizeof(half) - 1, MSG_NOSIGNAL);
			return;
		}
		if (!strncmp(path, "/long", 5)) {
			memset(zeros, 'v', LONG);
			fix_say(fd, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-long: ");
			send(fd, zeros, LONG, MSG_NOSIGNAL);
			fix_say(fd, "\r\n\r\nhi");
			continue;
		}
		snprintf(text, sizeof(text), "%zu", n);
		snprintf(answer, sizeof(answer), "HTTP/1.1 200 OK\r\ncontent-length: %zu\r\n\r\n%s",
			 strlen(text), text);
		send(fd, answer, strlen(answer), MSG_NOSIGNAL);
	}
}

static void open_with(const char *hcm, const char *cluster)
{
	fix_server(upstream);
	fix_open_http(hcm,
		      "{match: {prefix: /direct}, direct_response: {status: 200, body: "
		      "{inline_string: hi}}}, " FIX_ROUTE,
		      cluster, 1, 1);
	if (!fix.skip)
		h2c_open(&c);
}

static bool skipped(void)
{
	if (fix.skip)
		fix_close();
	return fix.skip;
}

static void shut(void)
{
	h2c_shut(&c);
	fix_close();
}

static void test_many_streams(void **state)
{
	struct weft_proxy_stats s;

	(void)state;
	open_with("", "");
	if (skipped())
		skip();
	for (int i = 0; i < 20; i++) {
		h2c_get(&c, i % 2 ? "/x" : "/slow");
		h2c_get(&c, "/direct");
	}
	h2c_run(&c);
	for (size_t i = 0; i < c.n; i++) {
		assert_true(c.stream[i].closed && !c.stream[i].error);
		assert_int_equal(c.stream[i].status, 200);
		assert_string_equal(c.stream[i].server, "envoy");
	}
	assert_string_equal(c.stream[1].body, "hi");
	weft_proxy_stats(fix.proxy, &s);
	assert_int_equal(s.connections_total, 1);
	assert_int_equal(s.connections, 1);
	assert_int_equal(s.exchanges_total, 20);
	shut();
}

static void test_bodies(void **state)
{
	struct h2c_stream *up, *down;

	(void)state;
	open_with("", "");
	if (skipped())
		skip();
	up = h2c_ask(&c, "POST", "/x", 3u << 20, NULL, NULL);
	down = h2c_get(&c, "/big");
	h2c_run(&c);
	assert_int_equal(up->status, 200);
	assert_string_equal(up->body, "3145728");
	assert_int_equal(down->status, 200);
	assert_int_equal(down->len, BIG);
	shut();
}

/* One that takes nothing of its answer stops itself alone; how much waits for it is bounded. */
static void test_slow_reader(void **state)
{
	struct h2c_stream *slow, *other;

	(void)state;
	open_with("", "");
	if (skipped())
		skip();
	slow = h2c_get(&c, "/big");
	slow->stalls = true;
	h2c_wait(&c, 300);
	assert_int_equal(slow->len, 65535);
	for (int i = 0; i < 5; i++) {
		other = h2c_get(&c, "/big");
		h2c_run_one(&c, other);
		assert_int_equal(other->len, BIG);
	}
	assert_false(slow->closed);
	slow->stalls = false;
	nghttp2_session_consume_stream(c.session, slow->id, slow->len);
	h2c_run(&c);
	assert_int_equal(slow->len, BIG);
	shut();
}

/* An upload that nobody takes does not stop the others; its client gets no more window than one
 * stream has. */
static void test_slow_upstream(void **state)
{
	struct h2c_stream *stuck, *other;

	(void)state;
	open_with("http2_protocol_options: {initial_stream_window_size: 65535},", "");
	if (skipped())
		skip();
	stuck = h2c_ask(&c, "POST", "/never", 64u << 20, NULL, NULL);
	h2c_wait(&c, 500);
	assert_true(stuck->to_send > 32u << 20);
	other = h2c_ask(&c, "POST", "/x", BIG, NULL, NULL);
	h2c_run_one(&c, other);
	assert_string_equal(other->body, "1048576");
	assert_false(stuck->closed);
	shut();
}

/* A client's reset gives back what its request took; so does the end of its connection. */
static void test_resets(void **state)
{
	struct h2c_stream *s[4], *last;
	uint64_t end = fix_now_ms() + 5000;

	(void)state;
	open_with("", ", circuit_breakers: {thresholds: [{max_requests: 4}]}");
	if (skipped())
		skip();
	for (int i = 0; i < 4; i++)
		s[i] = h2c_get(&c, "/never");
	h2c_wait(&c, 200);
	assert_int_equal(FIX_LOAD(fix_cluster()->rq_active[0]), 4);
	last = h2c_get(&c, "/x");
	h2c_run_one(&c, last);
	assert_int_equal(last->status, 503);
	for (int i = 0; i < 4; i++)
		nghttp2_submit_rst_stream(c.session, 0, s[i]->id, NGHTTP2_CANCEL);
	while (FIX_LOAD(fix_cluster()->rq_active[0]) && fix_now_ms() < end)
		h2c_wait(&c, 20);
	last = h2c_get(&c, "/x");
	h2c_run_one(&c, last);
	assert_int_equal(last->status, 200);
	h2c_get(&c, "/never");
	h2c_wait(&c, 100);
	assert_int_equal(FIX_LOAD(fix_cluster()->rq_active[0]), 1);
	shutdown(c.fd, SHUT_RDWR);
	while (FIX_LOAD(fix_cluster()->rq_active[0]) && fix_now_ms() < end)
		fix_sleep(10);
	shut(); /* looks for places that are taken still */
}

static void test_cut_response(void **state)
{
	struct h2c_stream *s, *other;

	(void)state;
	open_with("", "");
	if (skipped())
		skip();
	s = h2c_get(&c, "/half");
	h2c_run(&c);
	assert_int_equal(s->status, 200);
	assert_int_equal(s->error, NGHTTP2_INTERNAL_ERROR);
	other = h2c_get(&c, "/x");
	h2c_run(&c);
	assert_int_equal(other->status, 200);
	shut();
}

/* Longer than what nghttp2 sends by itself, shorter than what an endpoint may send. */
static void test_long_response_head(void **state)
{
	struct h2c_stream *s;

	(void)state;
	open_with("", "");
	if (skipped())
		skip();
	s = h2c_get(&c, "/long");
	h2c_run(&c);
	assert_true(s->closed && !s->error);
	assert_int_equal(s->status, 200);
	assert_string_equal(s->body, "hi");
	shut();
}

/* Half of 500 requests reset at once: the client does not mean them (CVE-2023-44487). */
static void test_rapid_reset(void **state)
{
	(void)state;
	open_with("", "");
	if (skipped())
		skip();
	for (int i = 0; i < 300 && !c.ended; i++) {
		struct h2c_stream *s = h2c_get(&c, "/never");

		h2c_turn(&c, 0);
		nghttp2_submit_rst_stream(c.session, 0, s->id, NGHTTP2_CANCEL);
		h2c_turn(&c, 0);
	}
	h2c_wait(&c, 3000);
	assert_true(c.ended);
	h2c_shut(&c);
	h2c_open(&c);
	assert_int_equal(h2c_get(&c, "/x")->status, 0);
	h2c_run(&c);
	assert_int_equal(c.stream[0].status, 200);
	shut();
}

/* max_requests_per_connection: what is under way is carried out, the number of the last is told. */
static void test_drain(void **state)
{
	struct h2c_stream *slow;

	(void)state;
	open_with("common_http_protocol_options: {max_requests_per_connection: 2}, drain_timeout: "
		  "0.1s,",
		  "");
	if (skipped())
		skip();
	h2c_get(&c, "/x");
	slow = h2c_get(&c, "/slow");
	h2c_run(&c);
	assert_int_equal(slow->status, 200);
	h2c_wait(&c, 3000);
	assert_true(c.ended && c.goaway);
	assert_int_equal(c.goaway_error, NGHTTP2_NO_ERROR);
	assert_int_equal(c.goaway_last, slow->id);
	shut();
}

static void test_pod_removed(void **state)
{
	struct h2c_stream *slow;

	(void)state;
	open_with("drain_timeout: 0.1s,", "");
	if (skipped())
		skip();
	slow = h2c_get(&c, "/slow");
	h2c_wait(&c, 100);
	assert_int_equal(weft_proxy_pod_remove(fix.proxy, FIX_POD, 5000), 0);
	h2c_run(&c);
	assert_int_equal(slow->status, 200);
	h2c_wait(&c, 3000);
	assert_true(c.ended && c.goaway);
	shut();
}

static void test_too_many_streams(void **state)
{
	struct h2c_stream *a, *b;

	(void)state;
	open_with("http2_protocol_options: {max_concurrent_streams: 1},", "");
	if (skipped())
		skip();
	a = h2c_get(&c, "/slow");
	b = h2c_get(&c, "/x");
	h2c_run(&c);
	assert_int_equal(a->status, 200); /* nghttp2's client waits for its turn once it knows */
	assert_true(b->status == 200 || b->error == NGHTTP2_REFUSED_STREAM);
	shut();
}

/* Delays, retries, redirects that are followed: all of an exchange's ways begin with a stream. */
static void test_ways(void **state)
{
	struct h2c_stream *s;

	(void)state;
	open_with("http_filters: [{name: f, typed_config: {\"@type\": "
		  "type.googleapis.com/envoy.extensions.filters.http."
		  "fault.v3.HTTPFault, delay: {fixed_delay: 0.2s, percentage: {numerator: 100}}}}, "
		  "{name: r, typed_config: "
		  "{\"@type\": "
		  "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}],",
		  "");
	if (skipped())
		skip();
	s = h2c_ask(&c, "POST", "/x", 100000, "expect", "100-continue");
	h2c_get(&c, "/direct");
	h2c_run(&c);
	assert_int_equal(s->interim, 1);
	assert_int_equal(s->status, 200);
	assert_string_equal(s->body, "100000");
	assert_string_equal(c.stream[1].body, "hi");
	shut();
}

/* The client's preface may come byte by byte; what only looks like one at first is HTTP/1.1. */
static void test_preface(void **state)
{
	static const char start[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";
	struct fix_answer a;
	char settings[9];
	int fd;

	(void)state;
	open_with("", "");
	if (skipped())
		skip();
	fd = fix_dial();
	for (size_t i = 0; i < sizeof(start) - 1; i++)
		fix_send(fd, start + i, 1);
	assert_int_equal(recv(fd, settings, 9, MSG_WAITALL), 9);
	assert_int_equal(settings[3], NGHTTP2_SETTINGS);
	close(fd);
	fd = fix_dial();
	fix_say(fd, "P");
	fix_sleep(50);
	fix_say(fd, "OST /direct HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n");
	assert_true(fix_hear(fd, &a));
	assert_int_equal(a.status, 200);
	close(fd);
	shut();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FIX_TEST(test_many_streams),	 FIX_TEST(test_bodies), FIX_TEST(test_slow_reader),
		FIX_TEST(test_slow_upstream),	 FIX_TEST(test_resets), FIX_TEST(test_cut_response),
		FIX_TEST(test_rapid_reset),	 FIX_TEST(test_drain),	FIX_TEST(test_pod_removed),
		FIX_TEST(test_too_many_streams), FIX_TEST(test_ways),	FIX_TEST(test_preface),
		FIX_TEST(test_long_response_head),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
