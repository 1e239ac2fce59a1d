// SPDX-License-Identifier: Apache-2.0
/* Connections of HTTP/2 to endpoints, and what breaks them. */
#include "h2_client.h"
#include "h2_server.h"

static struct h2c client;

/* An endpoint may open each stream's window further, whether or not anything is sent on it. */
static void test_updates(void **state)
{
	struct fix_answer a;

	(void)state;
	h2s_start("", FIX_ROUTE, H2S_CLUSTER(""));
	if (fix.skip)
		skip();
	for (int i = 0; i < 12; i++) {
		h2s_ask("GET /update HTTP/1.1\r\nhost: a\r\n\r\n", &a);
		assert_int_equal(a.status, 200);
	}
	assert_int_equal(fix_calls(0), 1);
	fix_close();
}

/* A connection that is broken while nothing is on it is not used again. */
static void test_broken_idle(void **state)
{
	struct fix_answer a;

	(void)state;
	h2s_start("", FIX_ROUTE, H2S_CLUSTER(""));
	if (fix.skip)
		skip();
	h2s_ask("GET /huge HTTP/1.1\r\nhost: a\r\n\r\n", &a);
	assert_int_equal(a.status, 200);
	for (int i = 0; i < 3; i++) {
		fix_sleep(50);
		h2s_ask("GET / HTTP/1.1\r\nhost: a\r\n\r\n", &a);
		assert_int_equal(a.status, 200);
	}
	assert_int_equal(fix_calls(0), 2);
	fix_close();
}

/* An endpoint that breaks the rules is told so before its connection is closed; one whose response
 * makes no sense is not (as Envoy 1.40 does it). */
static void test_goaway(void **state)
{
	static const struct {
		const char *path;
		uint32_t code;
	} cases[] = {{"/huge", NGHTTP2_FRAME_SIZE_ERROR}, {"/stray", NGHTTP2_PROTOCOL_ERROR}};
	struct fix_answer a;
	char text[128];

	(void)state;
	h2s_start("", FIX_ROUTE, H2S_CLUSTER(""));
	if (fix.skip)
		skip();
	for (unsigned int i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nhost: a\r\n\r\n", cases[i].path);
		h2s_ask(text, &a);
		h2s_until(&h2s.goaways, i + 1);
		assert_int_equal(h2s_get(&h2s.goaway), cases[i].code);
	}
	h2s_ask("GET /bad HTTP/1.1\r\nhost: a\r\n\r\n", &a);
	assert_int_equal(a.status, 502);
	h2s_ask("GET / HTTP/1.1\r\nhost: a\r\n\r\n", &a);
	assert_int_equal(a.status, 200);
	assert_int_equal(h2s_get(&h2s.goaways), 2);
	fix_close();
}

static uint32_t draw(uint32_t *seed, uint32_t n)
{
	*seed = *seed * 1103515245 + 12345;
	return (*seed >> 16) % n;
}

static const char *storm_path(uint32_t *seed)
{
	static const char *const paths[] = {
		"/x?5",	   "/x?300000", "/trailers?9", "/trailers", "/reset?8", "/reset?7",
		"/close",  "/bad",	"/early",      "/goaway",   "/short",	"/huge",
		"/update", "/wait",	"/empty",      "/length",   "/grpc?14", "/status?503"};

	return paths[draw(seed, sizeof(paths) / sizeof(*paths))];
}

static void storm_streams(uint32_t *seed)
{
	struct h2c *c = &client;

	h2c_open(c);
	c->says = draw(seed, 2);
	for (int n = 0; n < 40; n++) {
		bool body = draw(seed, 3) == 0;
		struct h2c_stream *s = h2c_ask(c, body ? "POST" : "GET", storm_path(seed),
					       body ? 1 + draw(seed, 200000) : 0, NULL, NULL);

		if (draw(seed, 4) == 0)
			h2c_wait(c, draw(seed, 6));
		if (draw(seed, 6) == 0)
			nghttp2_submit_rst_stream(c->session, 0, s->id, NGHTTP2_CANCEL);
	}
	h2c_wait(c, 20);
	h2s_set(&h2s.gate, true);
	if (draw(seed, 2))
		h2c_wait(c, 100);
	h2c_shut(c);
	h2s_set(&h2s.gate, false);
}

static void storm_lines(uint32_t *seed)
{
	char text[512];
	size_t at = 0;
	int fd = fix_dial();

	for (int n = 0; n < 4; n++)
		at += (size_t)snprintf(
			text + at, sizeof(text) - at,
			"POST %s HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n%s",
			storm_path(seed), n == 3 ? 9 : 3, "abc");
	fix_say(fd, text);
	fix_sleep(draw(seed, 30));
	close(fd);
}

/* Whatever ends whatever: no place is kept, and the next request is answered. */
static void test_storm(void **state)
{
	struct fix_answer a;
	uint32_t seed = 1;

	(void)state;
	h2s_start("", H2S_RETRIES("5xx,reset"),
		  H2S_CLUSTER("") ", max_requests_per_connection: 100, circuit_breakers: "
				  "{thresholds: [{max_connections: 3, max_retries: 4}]}");
	if (fix.skip)
		skip();
	for (int round = 0; round < 3; round++) {
		storm_streams(&seed);
		storm_lines(&seed);
	}
	h2s_set(&h2s.gate, true);
	for (int i = 0; i < 500 && (FIX_LOAD(fix_cluster()->rq_active[0]) ||
				    FIX_LOAD(fix_cluster()->rq_pending[0]) ||
				    FIX_LOAD(fix_cluster()->retry_active[0]));
	     i++)
		fix_sleep(10);
	assert_int_equal(FIX_LOAD(fix_cluster()->rq_active[0]), 0);
	assert_int_equal(FIX_LOAD(fix_cluster()->rq_pending[0]), 0);
	assert_int_equal(FIX_LOAD(fix_cluster()->retry_active[0]), 0);
	h2s_ask("GET / HTTP/1.1\r\nhost: a\r\n\r\n", &a);
	assert_int_equal(a.status, 200);
	fix_close();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FIX_TEST(test_updates),
		FIX_TEST(test_broken_idle),
		FIX_TEST(test_goaway),
		FIX_TEST(test_storm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
