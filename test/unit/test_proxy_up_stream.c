// SPDX-License-Identifier: Apache-2.0
/* Requests to endpoints that speak HTTP/2, from clients of either version. */
#include "h2_client.h"
#include "h2_server.h"

static void test_http1_client(void **state)
{
	struct fix_answer a;

	(void)state;
	h2s_start("", FIX_ROUTE, H2S_CLUSTER(""));
	if (fix.skip)
		skip();
	h2s_ask("GET /x?5 HTTP/1.1\r\nHost: a.test\r\nConnection: keep-alive, x\r\nTE: trailers, "
		"gzip\r\nX-Own: 1\r\n\r\n",
		&a);
	assert_int_equal(a.status, 200);
	assert_string_equal(a.body, "sssss");
	assert_string_equal(fix_header(a.head, "transfer-encoding"), "chunked");
	assert_string_equal(fix_header(a.head, "x-h2"), "1");
	assert_true(h2s_has(":method: GET\n") && h2s_has(":path: /x?5\n") &&
		    h2s_has(":scheme: http\n") && h2s_has(":authority: a.test\n") &&
		    h2s_has("x-own: 1\n"));
	assert_null(strstr(h2s.text, "connection:"));
	assert_null(strstr(h2s.text, "\nhost:"));
	assert_null(strstr(h2s.text, "content-length"));
	h2s_ask("POST /length HTTP/1.1\r\nhost: a\r\ntransfer-encoding: "
		"chunked\r\n\r\n4\r\nwxyz\r\n3\r\nabc\r\n0\r\n\r\n",
		&a);
	assert_int_equal(a.status, 200);
	assert_string_equal(a.body, "sssss");
	assert_string_equal(fix_header(a.head, "content-length"), "5");
	assert_int_equal(h2s.len, 7);
	assert_null(strstr(h2s.text, "transfer-encoding"));
	h2s_ask("POST /empty HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc", &a);
	assert_int_equal(a.status, 200);
	assert_string_equal(fix_header(a.head, "content-length"), "0");
	assert_true(h2s_has("content-length: 3\n"));
	h2s_ask("HEAD /empty HTTP/1.1\r\nhost: a\r\n\r\n", &a);
	assert_int_equal(a.status, 200);
	h2s_ask("GET /trailers?3 HTTP/1.1\r\nhost: a\r\n\r\n", &a);
	assert_string_equal(a.body, "sss");
	/* all of it over one connection */
	assert_int_equal(fix_calls(0), 1);
	fix_close();
}

static struct h2c client;

/* A client of HTTP/2; both ways go by streams, bodies and trailers with them. */
static void test_http2_client(void **state)
{
	struct h2c *c = &client;
	struct h2c_stream *s;

	(void)state;
	h2s_start("", FIX_ROUTE, H2S_CLUSTER(""));
	if (fix.skip)
		skip();
	h2c_open(c);
	s = h2c_get(c, "/x?5");
	h2c_run(c);
	assert_int_equal(s->status, 200);
	assert_string_equal(s->body, "sssss");
	assert_true(h2s_has(":authority: a\n") && h2s_has(":scheme: http\n"));
	c->says = true;
	s = h2c_ask(c, "POST", "/trailers?100000", 300000, "te", "trailers");
	h2c_run(c);
	assert_int_equal(s->status, 200);
	assert_int_equal(s->len, 100000);
	assert_string_equal(s->trailers, "grpc-status: 0\nx-end: yes\n");
	assert_int_equal(h2s.len, 300000);
	assert_true(h2s_has("te: trailers\n") && h2s_has("x-said: 1\n"));
	assert_null(strstr(h2s.text, "content-length"));
	/* trailers behind a head alone */
	s = h2c_get(c, "/trailers");
	h2c_run(c);
	assert_int_equal(s->len, 0);
	assert_string_equal(s->trailers, "grpc-status: 0\nx-end: yes\n");
	assert_int_equal(s->error, 0);
	h2c_shut(c);
	assert_int_equal(fix_calls(0), 1);
	fix_close();
}

#define UP_ERROR(why)                                                                              \
	"upstream connect error or disconnect/reset before headers. reset reason: " why

/* Resets before the head, as Envoy words them. */
static void test_resets(void **state)
{
	static const struct {
		const char *path, *body;
		unsigned int status;
	} cases[] = {{"/reset?8", UP_ERROR("remote reset"), 503},
		     {"/reset?0", UP_ERROR("remote reset"), 503},
		     {"/reset?7", UP_ERROR("remote refused stream reset"), 503},
		     {"/reset?10", UP_ERROR("remote error with CONNECT request"), 503},
		     {"/close", UP_ERROR("connection termination"), 503},
		     {"/bad", UP_ERROR("protocol error"), 502}};
	struct fix_answer a;
	char text[128];

	(void)state;
	h2s_start("", FIX_ROUTE, H2S_CLUSTER(""));
	if (fix.skip)
		skip();
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nhost: a\r\n\r\n", cases[i].path);
		h2s_ask(text, &a);
		assert_int_equal(a.status, cases[i].status);
		assert_string_equal(a.body, cases[i].body);
	}
	/* the first four left their connection as it was */
	h2s_ask("GET / HTTP/1.1\r\nhost: a\r\n\r\n", &a);
	assert_int_equal(a.status, 200);
	assert_int_equal(fix_calls(0), 3);
	fix_close();
}

/* A response that contradicts itself ends its stream alone where that is asked for. */
static void test_malformed(void **state)
{
	struct h2c *c = &client;
	struct h2c_stream *s, *t;

	(void)state;
	h2s_start("", FIX_ROUTE,
		  H2S_CLUSTER("override_stream_error_on_invalid_http_message: true"));
	if (fix.skip)
		skip();
	h2c_open(c);
	t = h2c_get(c, "/wait");
	s = h2c_get(c, "/bad");
	h2c_run_one(c, s);
	assert_int_equal(s->status, 502);
	s = h2c_get(c, "/short");
	h2c_run_one(c, s);
	assert_true(s->status == 502 || s->error);
	h2s_set(&h2s.gate, true);
	h2c_run(c);
	assert_int_equal(t->status, 200);
	h2c_shut(c);
	assert_int_equal(fix_calls(0), 1);
	fix_close();
}

static void test_retries(void **state)
{
	struct fix_answer a;

	(void)state;
	h2s_start("", H2S_RETRIES("refused-stream,unavailable"), H2S_CLUSTER(""));
	if (fix.skip)
		skip();
	h2s.refuse = 2;
	h2s_ask("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc", &a);
	assert_int_equal(a.status, 200);
	assert_true(h2s_has("x-envoy-attempt-count: 3\n"));
	assert_int_equal(h2s.len, 3);
	/* one too many */
	h2s.refuse = 3;
	h2s_ask("GET / HTTP/1.1\r\nhost: a\r\n\r\n", &a);
	assert_int_equal(a.status, 503);
	assert_non_null(
		strstr(a.body, "retried and the latest reset reason: remote refused stream reset"));
	/* another reset is none of that kind */
	h2s.requests = 0;
	h2s_ask("GET /reset?8 HTTP/1.1\r\nhost: a\r\n\r\n", &a);
	assert_int_equal(a.status, 503);
	assert_int_equal(h2s_get(&h2s.requests), 1);
	/* a gRPC status that stands in the head (trailers only) */
	h2s_ask("POST /grpc?14 HTTP/1.1\r\nhost: a\r\ncontent-type: "
		"application/grpc\r\ncontent-length: "
		"0\r\n\r\n",
		&a);
	assert_int_equal(h2s_get(&h2s.requests), 4);
	assert_string_equal(fix_header(a.head, "grpc-status"), "14");
	fix_close();
}

/* GOAWAY: what the endpoint has not looked at goes to another connection; the others go on. */
static void test_goaway(void **state)
{
	struct h2c *c = &client;
	struct h2c_stream *s, *t;

	(void)state;
	h2s_start("", H2S_RETRIES("refused-stream"), H2S_CLUSTER(""));
	if (fix.skip)
		skip();
	h2c_open(c);
	s = h2c_get(c, "/wait");
	h2c_wait(c, 100);
	t = h2c_get(c, "/goaway");
	h2c_wait(c, 200);
	/* refused again and again, each time by a connection of its own */
	assert_true(t->closed);
	assert_int_equal(t->status, 503);
	assert_false(s->closed);
	t = h2c_get(c, "/");
	h2c_run_one(c, t);
	assert_int_equal(t->status, 200);
	h2s_set(&h2s.gate, true);
	h2c_run(c);
	assert_int_equal(s->status, 200);
	h2c_shut(c);
	assert_int_equal(fix_calls(0), 4);
	fix_close();
}

/* Many streams share a connection; where the endpoint takes no more, there is another one. */
static void test_streams(void **state)
{
	struct h2c *c = &client;
	const unsigned int rounds[2] = {0, 4};

	(void)state;
	for (int i = 0; i < 2; i++) {
		h2s_start("", FIX_ROUTE, H2S_CLUSTER(""));
		if (fix.skip)
			skip();
		h2s.streams = rounds[i];
		h2c_open(c);
		h2c_get(c, "/"); /* from here on its SETTINGS are known */
		h2c_run(c);
		for (int n = 0; n < 12; n++)
			h2c_get(c, "/wait");
		for (int n = 0; n < 200 && h2s_get(&h2s.requests) < 13; n++)
			h2c_wait(c, 20);
		assert_int_equal(h2s_get(&h2s.requests), 13);
		assert_int_equal(h2s.most, rounds[i] ? rounds[i] : 12);
		assert_int_equal(fix_calls(0), rounds[i] ? 3 : 1);
		h2s_set(&h2s.gate, true);
		h2c_run(c);
		for (size_t n = 0; n < c->n; n++)
			assert_int_equal(c->stream[n].status, 200);
		h2c_shut(c);
		fix_close();
	}
}

/* The cluster's own bound; and where no further connection may be, requests wait their turn. */
static void test_bounds(void **state)
{
	struct h2c *c = &client;

	(void)state;
	h2s_start("", FIX_ROUTE,
		  H2S_CLUSTER("max_concurrent_streams: 2") ", circuit_breakers: {thresholds: "
							   "[{max_connections: 2}]}");
	if (fix.skip)
		skip();
	h2c_open(c);
	for (int n = 0; n < 9; n++)
		h2c_get(c, "/wait");
	for (int n = 0; n < 200 && h2s_get(&h2s.requests) < 4; n++)
		h2c_wait(c, 20);
	h2c_wait(c, 200);
	assert_int_equal(h2s_get(&h2s.requests), 4);
	assert_int_equal(h2s.most, 2);
	assert_int_equal(FIX_LOAD(fix_cluster()->rq_pending[0]), 5);
	assert_int_equal(FIX_LOAD(fix_cluster()->rq_active[0]), 4);
	assert_int_equal(FIX_LOAD(fix_cluster()->cx_active[0]), 2);
	h2s_set(&h2s.gate, true);
	h2c_run(c);
	for (size_t n = 0; n < c->n; n++)
		assert_int_equal(c->stream[n].status, 200);
	h2c_shut(c);
	assert_int_equal(fix_calls(0), 2);
	fix_close();
}

/* max_requests counts streams; max_requests_per_connection too. */
static void test_breaker(void **state)
{
	struct h2c *c = &client;
	unsigned int over = 0;

	(void)state;
	h2s_start("", FIX_ROUTE,
		  H2S_CLUSTER("") ", circuit_breakers: {thresholds: [{max_requests: 3}]}");
	if (fix.skip)
		skip();
	h2c_open(c);
	for (int n = 0; n < 8; n++)
		h2c_get(c, "/wait");
	for (int n = 0; n < 200 && (c->open > 3 || h2s_get(&h2s.requests) < 3); n++)
		h2c_wait(c, 20);
	assert_int_equal(h2s_get(&h2s.requests), 3);
	h2s_set(&h2s.gate, true);
	h2c_run(c);
	for (size_t n = 0; n < c->n; n++)
		over += c->stream[n].status == 503;
	assert_int_equal(over, 5);
	h2c_shut(c);
	fix_close();
	h2s_start("", FIX_ROUTE, H2S_CLUSTER("") ", max_requests_per_connection: 3");
	h2s_set(&h2s.gate, true);
	h2c_open(c);
	for (int n = 0; n < 7; n++) {
		struct h2c_stream *s = h2c_get(c, "/wait");

		h2c_run_one(c, s);
		assert_int_equal(s->status, 200);
	}
	h2c_shut(c);
	assert_int_equal(fix_calls(0), 3);
	fix_close();
}

/* A client that does not read stops its own stream; an endpoint that does not, that of its request.
 */
static void test_flow(void **state)
{
	struct h2c *c = &client;
	struct h2c_stream *slow, *s;
	size_t at;
	int one = 1;

	(void)state;
	h2s_start("", FIX_ROUTE, H2S_CLUSTER("initial_stream_window_size: 65535"));
	if (fix.skip)
		skip();
	h2c_open(c);
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	slow = h2c_get(c, "/x?10000000");
	slow->stalls = true;
	h2c_wait(c, 300);
	at = slow->len;
	assert_in_range(at, 1, 65535);
	s = h2c_get(c, "/x?1000000");
	h2c_run_one(c, s);
	assert_int_equal(s->len, 1000000);
	assert_int_equal(slow->len, at);
	slow->stalls = false;
	nghttp2_session_consume_stream(c->session, slow->id, at);
	h2c_run(c);
	assert_int_equal(slow->len, 10000000);
	h2s_set(&h2s.stalls, true);
	slow = h2c_ask(c, "POST", "/x", 4000000, NULL, NULL);
	h2c_wait(c, 500);
	assert_false(slow->closed);
	/* what waits on the way is bounded: a window at each side, and what a buffer takes */
	assert_in_range(4000000 - slow->to_send, 65535, 1000000);
	h2s_set(&h2s.stalls, false);
	s = h2c_ask(c, "POST", "/x", 1000000, NULL, NULL);
	h2c_run_one(c, s);
	assert_int_equal(s->status, 200);
	assert_false(slow->closed);
	assert_int_equal(fix_calls(0), 1);
	h2c_shut(c);
	fix_close();
}

/* An answer before the request's end: the rest is not sent. A client that leaves takes its stream
 * along. */
static void test_early(void **state)
{
	struct h2c *c = &client;
	struct h2c_stream *s;

	(void)state;
	h2s_start("", FIX_ROUTE, H2S_CLUSTER(""));
	if (fix.skip)
		skip();
	h2c_open(c);
	h2s_set(&h2s.stalls, true);
	s = h2c_ask(c, "POST", "/early", 4000000, NULL, NULL);
	h2c_run(c);
	assert_int_equal(s->status, 413);
	assert_int_equal(s->len, 3);
	h2s_until(&h2s.resets, 1);
	s = h2c_get(c, "/wait");
	h2c_wait(c, 100);
	nghttp2_submit_rst_stream(c->session, 0, s->id, NGHTTP2_CANCEL);
	h2c_wait(c, 100);
	h2s_until(&h2s.resets, 2);
	assert_int_equal(h2s.reset, NGHTTP2_CANCEL);
	h2s_set(&h2s.gate, true);
	s = h2c_get(c, "/wait");
	h2c_run_one(c, s);
	assert_int_equal(s->status, 200);
	h2c_shut(c);
	assert_int_equal(fix_calls(0), 1);
	fix_close();
}

/* What a reset says in the flags of the reply. */
static void test_flags(void **state)
{
	static const char *const paths[] = {"/reset?8", "/reset?7", "/reset?10"};
	struct fix_answer a;
	char text[128];

	(void)state;
	h2s_start("local_reply_config: {mappers: [{filter: {response_flag_filter: {flags: [UR]}}, "
		  "body: {inline_string: reset}}]}, ",
		  FIX_ROUTE, H2S_CLUSTER(""));
	if (fix.skip)
		skip();
	for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++) {
		snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nhost: a\r\n\r\n", paths[i]);
		h2s_ask(text, &a);
		assert_int_equal(a.status, 503);
		assert_string_equal(a.body, "reset");
	}
	fix_close();
}

/* use_downstream_protocol_config: as the client speaks. */
static void serve_either(int fd)
{
	char first[4] = "";

	if (recv(fd, first, 3, MSG_PEEK | MSG_WAITALL) != 3)
		return;
	if (!strcmp(first, "PRI")) {
		h2s_serve(fd);
		return;
	}
	for (char head[8192]; fix_head_read(fd, head, sizeof(head));)
		send(fd, "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nhttp", 42, MSG_NOSIGNAL);
}

static void test_as_client(void **state)
{
	struct h2c *c = &client;
	struct h2c_stream *s;
	struct fix_answer a;

	(void)state;
	h2s_reset();
	fix_server(serve_either);
	fix_open_http(
		"", FIX_ROUTE,
		", typed_extension_protocol_options: {envoy.extensions.upstreams.http.v3."
		"HttpProtocolOptions: {\"@type\": type.googleapis.com/envoy.extensions.upstreams."
		"http.v3.HttpProtocolOptions, use_downstream_protocol_config: {}}}",
		1, 1);
	if (fix.skip)
		skip();
	h2s_ask("GET / HTTP/1.1\r\nhost: a\r\n\r\n", &a);
	assert_string_equal(a.body, "http");
	h2c_open(c);
	s = h2c_get(c, "/trailers?1");
	h2c_run(c);
	assert_string_equal(s->body, "s");
	assert_string_equal(s->trailers, "grpc-status: 0\nx-end: yes\n");
	h2c_shut(c);
	h2s_ask("GET / HTTP/1.1\r\nhost: a\r\n\r\n", &a);
	assert_string_equal(a.body, "http");
	assert_int_equal(fix_calls(0), 2);
	fix_close();
}

/* An upgrade goes on as an extended CONNECT, and its bytes as data (RFC 8441). */
static void test_upgrade(void **state)
{
	char head[2048], bytes[8] = "";
	int fd;

	(void)state;
	h2s_start("upgrade_configs: [{upgrade_type: websocket}], ", FIX_ROUTE, H2S_CLUSTER(""));
	if (fix.skip)
		skip();
	fd = fix_dial();
	fix_say(fd, "GET /tunnel HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: "
		    "websocket\r\n\r\n");
	assert_true(fix_head_read(fd, head, sizeof(head)));
	assert_memory_equal(head, "HTTP/1.1 101 ", 13);
	assert_string_equal(fix_header(head, "upgrade"), "websocket");
	assert_string_equal(fix_header(head, "connection"), "upgrade");
	assert_int_equal(recv(fd, bytes, 4, MSG_WAITALL), 4);
	assert_string_equal(bytes, "ssss");
	assert_true(fix_ended(fd)); /* the endpoint has ended its side */
	close(fd);
	fix_close();
}

/* What a client says before it is answered and after, in whatever pieces; and who leaves first. */
static void test_upgrade_bytes(void **state)
{
	char head[2048], bytes[8] = "";
	static char much[300000];
	unsigned int resets;
	int fd;

	(void)state;
	h2s_start("upgrade_configs: [{upgrade_type: websocket}], ", FIX_ROUTE, H2S_CLUSTER(""));
	if (fix.skip)
		skip();
	for (int leaves = 0; leaves < 2; leaves++) {
		h2s_set(&h2s.gate, false);
		resets = h2s_get(&h2s.resets);
		h2s.received = 0;
		fd = fix_dial();
		fix_say(fd,
			"GET /tunnel/held HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: "
			"websocket\r\n\r\nearly");
		assert_true(fix_head_read(fd, head, sizeof(head)));
		assert_memory_equal(head, "HTTP/1.1 101 ", 13);
		assert_int_equal(recv(fd, bytes, 3, MSG_WAITALL), 3);
		assert_string_equal(bytes, "sss");
		for (size_t at = 0; at < sizeof(much);)
			at += (size_t)send(fd, much + at, sizeof(much) - at, MSG_NOSIGNAL);
		for (int i = 0; i < 500; i++) {
			size_t n;

			pthread_mutex_lock(&h2s.lock);
			n = h2s.received;
			pthread_mutex_unlock(&h2s.lock);
			if (n >= sizeof(much) + 5)
				break;
			fix_sleep(10);
		}
		assert_int_equal(h2s.received, sizeof(much) + 5);
		assert_int_equal(FIX_LOAD(fix_cluster()->rq_active[0]), 1);
		if (leaves) {
			close(fd);
			h2s_until(&h2s.resets, resets + 1);
		} else {
			h2s_set(&h2s.gate, true);
			assert_int_equal(recv(fd, bytes, 1, MSG_WAITALL), 1);
			assert_true(fix_ended(fd));
			close(fd);
		}
		for (int i = 0; i < 500 && FIX_LOAD(fix_cluster()->rq_active[0]); i++)
			fix_sleep(10);
		assert_int_equal(FIX_LOAD(fix_cluster()->rq_active[0]), 0);
	}
	fix_close();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FIX_TEST(test_http1_client), FIX_TEST(test_http2_client),  FIX_TEST(test_resets),
		FIX_TEST(test_malformed),    FIX_TEST(test_retries),	   FIX_TEST(test_goaway),
		FIX_TEST(test_streams),	     FIX_TEST(test_bounds),	   FIX_TEST(test_breaker),
		FIX_TEST(test_flow),	     FIX_TEST(test_early),	   FIX_TEST(test_as_client),
		FIX_TEST(test_upgrade),	     FIX_TEST(test_upgrade_bytes), FIX_TEST(test_flags),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
