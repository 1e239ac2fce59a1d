// SPDX-License-Identifier: Apache-2.0
/* connection_keepalive of HTTP/2: when PINGs go out, what counts as an answer, what ends a
 * connection; then both sides of the proxy with peers that say nothing. */
#include "h2_client.h"
#include "h2_server.h"

#include "agent/proxy/h2_keepalive.h"
#include "agent/proxy/internal.h"

/* ---- by a clock of its own ---- */

static struct {
	struct worker w;
	struct weft_img_h2 opt;
	struct h2_keepalive keep;
	nghttp2_session *session;
	unsigned int due, over;
} own;

static void own_due(struct h2_keepalive *k)
{
	assert_ptr_equal(k, &own.keep);
	own.due++;
}

static void own_over(struct h2_keepalive *k)
{
	assert_ptr_equal(k, &own.keep);
	own.over++;
}

static void own_begin(uint32_t every, uint32_t timeout, uint32_t jitter, uint32_t idle)
{
	nghttp2_session_callbacks *k;

	memset(&own, 0, sizeof(own));
	own.w.now_ms = 1000003;
	own.w.random = 7;
	own.w.wheel.tick = own.w.now_ms / PROXY_TICK_MS;
	own.opt = (struct weft_img_h2){.ping_ms = every,
				       .ping_timeout_ms = timeout,
				       .ping_jitter_ms = jitter,
				       .ping_idle_ms = idle};
	assert_int_equal(nghttp2_session_callbacks_new(&k), 0);
	assert_int_equal(nghttp2_session_client_new(&own.session, k, NULL), 0);
	nghttp2_session_callbacks_del(k);
	own.keep.due = own_due;
	own.keep.over = own_over;
	h2_keepalive_start(&own.keep, &own.w, own.session, &own.opt);
}

static void own_end(void)
{
	h2_keepalive_end(&own.keep);
	own.w.now_ms += 1000000;
	timers_run(&own.w);
	nghttp2_session_del(own.session);
}

/* In steps as the proxy's loop has them. */
static void pass(uint64_t ms)
{
	for (; ms; ms -= ms < 16 ? ms : 16) {
		own.w.now_ms += ms < 16 ? ms : 16;
		timers_run(&own.w);
	}
}

static void frame_comes(uint8_t type, uint8_t flags)
{
	const nghttp2_frame_hd hd = {.type = type, .flags = flags};

	h2_keepalive_heard(&own.keep);
	h2_keepalive_frame(&own.keep, &hd);
	if (type == NGHTTP2_PING && flags & NGHTTP2_FLAG_ACK)
		h2_keepalive_answered(&own.keep);
}

static void answer_comes(void)
{
	frame_comes(NGHTTP2_PING, NGHTTP2_FLAG_ACK);
}

static void test_interval(void **state)
{
	(void)state;
	own_begin(1000, 500, 0, 0);
	pass(999);
	assert_int_equal(own.due, 0);
	pass(40);
	assert_int_equal(own.due, 1);
	/* each counts from the answer to the one before */
	pass(300);
	answer_comes();
	pass(999);
	assert_int_equal(own.due, 1);
	pass(40);
	assert_int_equal(own.due, 2);
	/* no answer, and no second one meanwhile; it went out within the 40 ms before */
	pass(455);
	assert_int_equal(own.over, 0);
	pass(90);
	assert_int_equal(own.over, 1);
	assert_int_equal(own.due, 2);
	own_end();
	assert_int_equal(own.over, 1);
	assert_int_equal(own.due, 2);
}

/* Whatever comes while an answer is waited for gives it the whole time again. */
static void test_extended(void **state)
{
	(void)state;
	own_begin(1000, 500, 0, 0);
	pass(1040);
	assert_int_equal(own.due, 1);
	for (int i = 0; i < 10; i++) {
		pass(400);
		frame_comes(i % 2 ? NGHTTP2_DATA : NGHTTP2_PING, 0);
		assert_int_equal(own.over, 0);
	}
	assert_int_equal(own.due, 1);
	pass(499);
	assert_int_equal(own.over, 0);
	pass(40);
	assert_int_equal(own.over, 1);
	own_end();
}

/* What comes while no PING is out sets nothing going. */
static void test_quiet(void **state)
{
	(void)state;
	own_begin(1000, 500, 0, 0);
	frame_comes(NGHTTP2_DATA, 0);
	pass(900);
	assert_int_equal(own.over, 0);
	/* an answer to nothing counts as one, as in Envoy: the interval begins again */
	answer_comes();
	pass(990);
	assert_int_equal(own.due, 0);
	pass(50);
	assert_int_equal(own.due, 1);
	own_end();
	/* without a keepalive nothing ever goes out */
	own_begin(0, 0, 0, 0);
	answer_comes();
	h2_keepalive_request(&own.keep);
	pass(100000);
	assert_int_equal(own.due, 0);
	assert_int_equal(own.over, 0);
	own_end();
}

static void test_jitter(void **state)
{
	uint64_t least = UINT64_MAX, most = 0;

	(void)state;
	own_begin(1000, 500, 400, 0);
	for (unsigned int i = 1; i <= 200; i++) {
		uint64_t from = own.w.now_ms;

		while (own.due < i)
			pass(16);
		if (own.w.now_ms - from < least)
			least = own.w.now_ms - from;
		if (own.w.now_ms - from > most)
			most = own.w.now_ms - from;
		answer_comes();
	}
	assert_in_range(least, 1000, 1100);
	assert_in_range(most, 1300, 1432);
	own_end();
}

/* A request on a connection from which nothing has come for a while has a PING ahead of it. */
static void test_idle_interval(void **state)
{
	(void)state;
	own_begin(0, 500, 0, 300);
	h2_keepalive_request(&own.keep);
	pass(300);
	h2_keepalive_request(&own.keep);
	assert_int_equal(own.due, 0);
	pass(1);
	h2_keepalive_request(&own.keep);
	assert_int_equal(own.due, 1);
	h2_keepalive_request(&own.keep); /* one is out */
	assert_int_equal(own.due, 1);
	answer_comes();
	pass(100000); /* no interval: none by itself */
	assert_int_equal(own.due, 1);
	h2_keepalive_request(&own.keep);
	assert_int_equal(own.due, 2);
	pass(540);
	assert_int_equal(own.over, 1);
	own_end();
}

/* ---- the proxy ---- */

#define KEEP(every, timeout)                                                                       \
	"connection_keepalive: {interval: " every ", timeout: " timeout                            \
	", interval_jitter: {value: 0}}"

static uint64_t keepalive_timeouts(void)
{
	struct weft_proxy_stats s;

	weft_proxy_stats(fix.proxy, &s);
	return s.keepalive_timeouts;
}

static struct h2c client;

/* A client that answers stays, whether it has requests or not. */
static void test_client_answers(void **state)
{
	struct h2c_stream *s;
	uint64_t end;

	(void)state;
	h2s_start("codec_type: AUTO, http2_protocol_options: {" KEEP("0.02s", "60s") "},",
		  FIX_ROUTE, H2S_CLUSTER(KEEP("0.02s", "60s")));
	if (fix.skip)
		skip();
	h2c_open(&client);
	s = h2c_get(&client, "/wait");
	end = fix_now_ms() + 10000;
	while ((client.pings < 5 || h2s_get(&h2s.pings) < 5) && !client.ended && fix_now_ms() < end)
		h2c_turn(&client, 20);
	assert_true(client.pings >= 5);
	assert_true(h2s_get(&h2s.pings) >= 5);
	h2s_set(&h2s.gate, true);
	h2c_run(&client);
	assert_int_equal(s->status, 200);
	assert_int_equal(fix_calls(0), 1);
	assert_int_equal(keepalive_timeouts(), 0);
	assert_int_equal(FIX_LOAD(fix_cluster()->keepalive_timeout), 0);
	h2c_shut(&client);
	fix_close();
}

/* Reads until the end without a word: no GOAWAY comes, as in Envoy. */
static void test_client_silent(void **state)
{
	static uint8_t in[65536];
	uint64_t end = fix_now_ms() + 10000;
	size_t n = 0, pings = 0;
	const uint8_t *out;
	ssize_t got = 1;

	(void)state;
	h2s_start("http2_protocol_options: {" KEEP("0.05s", "0.1s") "},", FIX_ROUTE,
		  H2S_CLUSTER(""));
	if (fix.skip)
		skip();
	h2c_open(&client);
	h2c_get(&client, "/wait");
	while ((got = nghttp2_session_mem_send(client.session, &out)) > 0)
		assert_int_equal(send(client.fd, out, (size_t)got, MSG_NOSIGNAL), got);
	got = 1;
	while (got > 0 && fix_now_ms() < end) {
		struct pollfd p = {.fd = client.fd, .events = POLLIN};

		if (poll(&p, 1, 100) != 1)
			continue;
		got = recv(client.fd, in + n, sizeof(in) - n, 0);
		n += got > 0 ? (size_t)got : 0;
	}
	assert_true(got <= 0);
	for (size_t at = 0; at + 9 <= n;) {
		pings += in[at + 3] == NGHTTP2_PING;
		assert_int_not_equal(in[at + 3], NGHTTP2_GOAWAY);
		at += 9 + ((size_t)in[at] << 16 | (size_t)in[at + 1] << 8 | in[at + 2]);
	}
	assert_int_equal(pings, 1);
	assert_int_equal(keepalive_timeouts(), 1);
	/* its request was given up too */
	h2s_until(&h2s.resets, 1);
	h2c_shut(&client);
	fix_close();
}

/* A request on a connection to an endpoint that says nothing more fails; the next has another one.
 */
static void test_endpoint_silent(void **state)
{
	struct fix_answer a;

	(void)state;
	h2s_start("", FIX_ROUTE, H2S_CLUSTER(KEEP("0.05s", "0.1s")));
	if (fix.skip)
		skip();
	h2s_set(&h2s.deaf, true);
	h2s_ask("GET /x HTTP/1.1\r\nhost: a\r\n\r\n", &a);
	assert_int_equal(a.status, 503);
	assert_non_null(strstr(a.body, "connection termination"));
	assert_int_equal(FIX_LOAD(fix_cluster()->keepalive_timeout), 1);
	h2s_set(&h2s.deaf, false);
	h2s_ask("GET /x HTTP/1.1\r\nhost: a\r\n\r\n", &a);
	assert_int_equal(a.status, 200);
	assert_int_equal(fix_calls(0), 2);
	fix_close();
}

/* One that nobody uses ends too. */
static void test_endpoint_silent_idle(void **state)
{
	struct fix_answer a;
	uint64_t end = fix_now_ms() + 10000;

	(void)state;
	h2s_start("", FIX_ROUTE, H2S_CLUSTER(KEEP("0.2s", "0.1s")));
	if (fix.skip)
		skip();
	h2s_ask("GET /deaf HTTP/1.1\r\nhost: a\r\n\r\n", &a);
	assert_int_equal(a.status, 200);
	while (!FIX_LOAD(fix_cluster()->keepalive_timeout) && fix_now_ms() < end)
		fix_sleep(5);
	assert_int_equal(FIX_LOAD(fix_cluster()->keepalive_timeout), 1);
	assert_int_equal(FIX_LOAD(fix_cluster()->cx_idle), 0);
	assert_int_equal(keepalive_timeouts(), 0);
	fix_close();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_interval),      cmocka_unit_test(test_extended),
		cmocka_unit_test(test_quiet),	      cmocka_unit_test(test_jitter),
		cmocka_unit_test(test_idle_interval), FIX_TEST(test_client_answers),
		FIX_TEST(test_client_silent),	      FIX_TEST(test_endpoint_silent),
		FIX_TEST(test_endpoint_silent_idle),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
