// SPDX-License-Identifier: Apache-2.0
/* Checks of one host over real sockets: requests as they are sent, what answers of all kinds mean,
 * what stays open. */
#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/health/probe.h"
#include "xds/clock.h"

#define WAIT_MS 10000

static struct weft_loop *loop;
static struct weft_health_conf conf;
static struct weft_probe probe;
static struct weft_probe_result result;
static struct weft_health_range expected[] = {{200, 201}}, retriable[] = {{503, 504}};
static unsigned int results;
static int server = -1, peer = -1;
static struct weft_sockaddr to;

static int opened(void *ctx, int family)
{
	(void)ctx;
	return socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

static void done(void *ctx, const struct weft_probe_result *r)
{
	(void)ctx;
	result = *r;
	results++;
}

static struct weft_probe_ops ops = {.open = opened, .done = done};

static void begin(enum weft_health_kind kind)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t len = sizeof(a);

	assert_int_equal(weft_loop_new(&loop), 0);
	ops.loop = loop;
	server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(server, (struct sockaddr *)&a, len), 0);
	assert_int_equal(listen(server, 8), 0);
	assert_int_equal(getsockname(server, (struct sockaddr *)&a, &len), 0);
	to = (struct weft_sockaddr){.family = AF_INET, .port = ntohs(a.sin_port)};
	to.addr.w[3] = a.sin_addr.s_addr;
	conf = (struct weft_health_conf){.kind = kind,
					 .reuse = true,
					 .method = "GET",
					 .path = (char *)(uintptr_t) "/hc",
					 .body_max = 1024,
					 .expected = expected,
					 .n_expected = 1,
					 .retriable = retriable,
					 .n_retriable = 1};
	results = 0;
	weft_probe_init(&probe, &conf, &ops, NULL, &to, "name");
}

static void end(void)
{
	weft_probe_clear(&probe);
	if (peer >= 0)
		close(peer);
	if (server >= 0)
		close(server);
	peer = server = -1;
	weft_loop_free(loop);
}

static void step_until(unsigned int n)
{
	int64_t until = weft_clock_ms(CLOCK_MONOTONIC) + WAIT_MS;

	while (results < n) {
		assert_true(weft_clock_ms(CLOCK_MONOTONIC) < until);
		assert_int_equal(weft_loop_step(loop, 10), 0);
	}
}

/* What the probe sends next, up to n bytes. */
static size_t hear(char *buf, size_t n)
{
	int64_t until = weft_clock_ms(CLOCK_MONOTONIC) + WAIT_MS;
	ssize_t got = -1;

	while (got < 0) {
		assert_true(weft_clock_ms(CLOCK_MONOTONIC) < until);
		assert_int_equal(weft_loop_step(loop, 10), 0);
		if (peer < 0)
			peer = accept4(server, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		got = peer < 0 ? -1 : recv(peer, buf, n, MSG_DONTWAIT);
	}
	return (size_t)got;
}

static void say(const char *text, size_t n)
{
	assert_int_equal(send(peer, text, n, MSG_NOSIGNAL), (int)n);
}

/* One check answered with text; closed: and then the end. */
static enum weft_probe_end check(const char *text, bool closed)
{
	unsigned int before = results;
	char buf[4096];

	weft_probe_start(&probe);
	assert_true(hear(buf, sizeof(buf)) > 0);
	say(text, strlen(text));
	if (closed) {
		close(peer);
		peer = -1;
	}
	step_until(before + 1);
	assert_int_equal(results, before + 1);
	if (probe.fd < 0 && peer >= 0) {
		close(peer);
		peer = -1;
	}
	return result.end;
}

#define OK "HTTP/1.1 200 OK\r\n"
#define EMPTY "content-length: 0\r\n\r\n"

static void test_http1(void **state)
{
	struct weft_health_header line = {(char *)(uintptr_t) "user-agent",
					  (char *)(uintptr_t) "Envoy/HC"};
	static const char want[] = "GET /hc HTTP/1.1\r\nhost: name\r\nuser-agent: Envoy/HC\r\n\r\n";
	char buf[4096];
	int first;

	(void)state;
	begin(WEFT_HEALTH_HTTP);
	conf.header = &line;
	conf.n_header = 1;
	weft_probe_start(&probe);
	assert_int_equal(hear(buf, sizeof(buf)), sizeof(want) - 1);
	assert_memory_equal(buf, want, sizeof(want) - 1);
	say(OK EMPTY, sizeof(OK EMPTY) - 1);
	step_until(1);
	assert_int_equal(result.end, WEFT_PROBE_OK);
	assert_true(probe.fd >= 0);
	first = probe.fd;
	assert_int_equal(check("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No\r\n\r\n", false),
			 WEFT_PROBE_FAILED);
	assert_int_equal(probe.fd, first);
	assert_int_equal(check("HTTP/1.1 503 No\r\n" EMPTY, false), WEFT_PROBE_RETRIABLE);
	assert_int_equal(check(OK "connection: close\r\n" EMPTY, false), WEFT_PROBE_OK);
	assert_int_equal(probe.fd, -1);
	assert_int_equal(check("HTTP/1.0 200 OK\r\n\r\nuntil the end", true), WEFT_PROBE_OK);
	assert_int_equal(probe.fd, -1);
	assert_int_equal(check(OK "transfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n", false),
			 WEFT_PROBE_OK);
	/* a connection that ends between checks is no failure */
	close(peer);
	peer = -1;
	while (probe.fd >= 0)
		weft_loop_step(loop, 10);
	assert_int_equal(results, 6);
	end();
}

static void test_http1_broken(void **state)
{
	static const char *const broken[] = {
		"garbage\r\n\r\n",
		OK "content-length: 1\r\ncontent-length: 2\r\n\r\n",
		OK "transfer-encoding: chunked\r\n\r\nxx",
		"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
	};

	(void)state;
	begin(WEFT_HEALTH_HTTP);
	for (size_t i = 0; i < sizeof(broken) / sizeof(*broken); i++) {
		assert_int_equal(check(broken[i], false), WEFT_PROBE_NETWORK);
		assert_int_equal(probe.fd, -1);
	}
	assert_int_equal(check(OK "content-length: 5\r\n\r\nab", true), WEFT_PROBE_NETWORK);
	assert_int_equal(check("HTTP/1.1 2", true), WEFT_PROBE_NETWORK);
	close(server);
	server = -1;
	weft_probe_start(&probe);
	step_until(7);
	assert_int_equal(result.end, WEFT_PROBE_NETWORK);
	end();
}

#define FAIL_NOW "x-envoy-immediate-health-check-fail: 1\r\n"

static void test_http_says(void **state)
{
	struct weft_health_bytes pieces[] = {{(uint8_t *)(uintptr_t) "ab", 2},
					     {(uint8_t *)(uintptr_t) "cd", 2}};

	(void)state;
	begin(WEFT_HEALTH_HTTP);
	assert_int_equal(check(OK "x-envoy-degraded: \r\n" EMPTY, false), WEFT_PROBE_OK);
	assert_true(result.degraded);
	assert_int_equal(check(OK FAIL_NOW EMPTY, false), WEFT_PROBE_OK);
	assert_false(result.excluded || result.degraded); /* of a success it says nothing */
	assert_int_equal(check("HTTP/1.1 500 No\r\n" FAIL_NOW EMPTY, false), WEFT_PROBE_FAILED);
	assert_true(result.excluded);
	assert_int_equal(check("HTTP/1.1 503 No\r\n" FAIL_NOW EMPTY, false), WEFT_PROBE_RETRIABLE);
	assert_true(result.excluded);
	conf.receive = pieces;
	conf.n_receive = 2;
	assert_int_equal(check(OK "content-length: 8\r\n\r\nxabyycdz", false), WEFT_PROBE_OK);
	assert_int_equal(check(OK "content-length: 4\r\n\r\ncdab", false), WEFT_PROBE_FAILED);
	assert_int_equal(
		check("HTTP/1.1 503 No\r\n" FAIL_NOW "content-length: 3\r\n\r\nabc", false),
		WEFT_PROBE_FAILED); /* the body is looked at first */
	assert_true(result.excluded);
	conf.body_max = 6;
	assert_int_equal(check(OK "content-length: 8\r\n\r\nxabyycdz", false), WEFT_PROBE_FAILED);
	conf.n_receive = 0;
	conf.match_service = true;
	conf.match_kind = ENVOY__TYPE__MATCHER__V3__STRING_MATCHER__MATCH_PATTERN_EXACT;
	conf.match_text = (char *)(uintptr_t) "svc";
	assert_int_equal(check(OK "x-envoy-upstream-healthchecked-cluster: svc\r\n" EMPTY, false),
			 WEFT_PROBE_OK);
	assert_true(result.verified);
	assert_int_equal(check(OK FAIL_NOW EMPTY, false), WEFT_PROBE_FAILED);
	assert_true(result.verified && !result.excluded);
	assert_int_equal(check("HTTP/1.1 500 No\r\n" EMPTY, false), WEFT_PROBE_FAILED);
	assert_false(result.verified);
	end();
}

static void test_no_reuse(void **state)
{
	(void)state;
	begin(WEFT_HEALTH_HTTP);
	conf.reuse = false;
	assert_int_equal(check(OK EMPTY, false), WEFT_PROBE_OK);
	assert_int_equal(probe.fd, -1);
	/* a check that took too long is given up, and says nothing */
	weft_probe_start(&probe);
	weft_probe_stop(&probe);
	assert_int_equal(probe.fd, -1);
	assert_int_equal(results, 1);
	end();
}

static void test_tcp(void **state)
{
	struct weft_health_bytes piece = {(uint8_t *)(uintptr_t) "PONG", 4};
	char buf[64];

	(void)state;
	begin(WEFT_HEALTH_TCP);
	weft_probe_start(&probe); /* that it connects is enough */
	step_until(1);
	assert_int_equal(result.end, WEFT_PROBE_OK);
	assert_int_equal(probe.fd, -1);
	close(accept4(server, NULL, NULL, SOCK_CLOEXEC));
	conf.send = (struct weft_health_bytes){(uint8_t *)(uintptr_t) "PING", 4};
	conf.receive = &piece;
	conf.n_receive = 1;
	weft_probe_start(&probe);
	assert_int_equal(hear(buf, sizeof(buf)), 4);
	assert_memory_equal(buf, "PING", 4);
	say("xPO", 3);
	for (int i = 0; i < 5; i++)
		weft_loop_step(loop, 10);
	assert_int_equal(results, 1);
	say("NG", 2);
	step_until(2);
	assert_int_equal(result.end, WEFT_PROBE_OK);
	assert_int_equal(check("PONG", false), WEFT_PROBE_OK);
	/* the host closes it between checks: a failure, as in Envoy */
	close(peer);
	peer = -1;
	step_until(4);
	assert_int_equal(result.end, WEFT_PROBE_NETWORK);
	end();
}

/* ---- gRPC ---- */

static void test_serving(void **state)
{
#define SERVES(bytes) probe_grpc_serving((const uint8_t *)(bytes), sizeof(bytes) - 1)
	(void)state;
	assert_true(SERVES("\0\0\0\0\x02\x08\x01"));
	assert_true(SERVES("\0\0\0\0\0\0\0\0\0\x02\x08\x01")); /* an empty message is none */
	assert_true(SERVES("\0\0\0\0\x06\x12\x02hi\x08\x01")); /* a field that nobody knows */
	assert_true(SERVES("\0\0\0\0\x07\x1d"
			   "abcd"
			   "\x08\x01"));
	assert_false(SERVES("\0\0\0\0\x02\x08\x02"));
	assert_false(SERVES("\0\0\0\0\0"));
	assert_false(SERVES(""));
	assert_false(SERVES("\x01\0\0\0\x02\x08\x01"));			  /* compressed */
	assert_false(SERVES("\0\0\0\0\x02\x08\x01\0\0\0\0\x02\x08\x01")); /* two */
	assert_false(SERVES("\0\0\0\0\x03\x08\x01"));			  /* too short */
	assert_false(SERVES("\0\0\0\0\x02\x08\x01\0"));
	assert_false(SERVES("\0\0\0\0\x02\x08\x81"));
	assert_false(SERVES("\0\0\0\0\x03\x12\x7fx"));
	assert_false(SERVES("\0\0\0\0\x02\x0b\x01"));
}

static void test_payload(void **state)
{
	const struct weft_health_bytes none = {NULL, 0};
	const struct weft_health_bytes ab[] = {{(uint8_t *)(uintptr_t) "a", 1},
					       {(uint8_t *)(uintptr_t) "a", 1}};

	(void)state;
	assert_true(probe_payload_found(&none, 1, NULL, 0));
	assert_true(probe_payload_found(ab, 0, NULL, 0));
	assert_false(probe_payload_found(ab, 2, (const uint8_t *)"a", 1)); /* each byte once */
	assert_true(probe_payload_found(ab, 2, (const uint8_t *)"xaya", 4));
}

/* ---- HTTP/2: a server of nghttp2 at the other end ---- */

struct peer {
	nghttp2_session *s;
	const char *status, *type, *grpc; /* of its answers */
	const char *body;
	size_t len, sent;
	uint32_t reset; /* instead */
	unsigned int requests;
};

static ssize_t body_read(nghttp2_session *s, int32_t id, uint8_t *buf, size_t len, uint32_t *flags,
			 nghttp2_data_source *source, void *arg)
{
	struct peer *p = arg;
	nghttp2_nv line = {(uint8_t *)(uintptr_t) "grpc-status", (uint8_t *)(uintptr_t)p->grpc, 11,
			   p->grpc ? strlen(p->grpc) : 0, 0};

	(void)source;
	assert_true(len >= p->len);
	memcpy(buf, p->body, p->len);
	*flags |= NGHTTP2_DATA_FLAG_EOF;
	if (p->grpc) {
		*flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
		assert_int_equal(nghttp2_submit_trailer(s, id, &line, 1), 0);
	}
	return (ssize_t)p->len;
}

static int on_frame(nghttp2_session *s, const nghttp2_frame *f, void *arg)
{
	struct peer *p = arg;
	nghttp2_nv v[] = {
		{(uint8_t *)(uintptr_t) ":status", (uint8_t *)(uintptr_t)p->status, 7, 3, 0},
		{(uint8_t *)(uintptr_t) "content-type", (uint8_t *)(uintptr_t)p->type, 12,
		 strlen(p->type), 0}};
	nghttp2_data_provider d = {.read_callback = body_read};

	if (!(f->hd.flags & NGHTTP2_FLAG_END_STREAM) || !f->hd.stream_id)
		return 0;
	p->requests++;
	if (p->reset)
		assert_int_equal(nghttp2_submit_rst_stream(s, 0, f->hd.stream_id, p->reset), 0);
	else
		assert_int_equal(
			nghttp2_submit_response(s, f->hd.stream_id, v, 2, p->body ? &d : NULL), 0);
	return 0;
}

static void peer_open(struct peer *p)
{
	const nghttp2_settings_entry none[1] = {{0}};
	nghttp2_session_callbacks *c;

	*p = (struct peer){.status = "200", .type = "application/grpc"};
	assert_int_equal(nghttp2_session_callbacks_new(&c), 0);
	nghttp2_session_callbacks_set_on_frame_recv_callback(c, on_frame);
	assert_int_equal(nghttp2_session_server_new(&p->s, c, p), 0);
	nghttp2_session_callbacks_del(c);
	assert_int_equal(nghttp2_submit_settings(p->s, 0, none, 0), 0);
}

static void peer_send(struct peer *p)
{
	const uint8_t *data;
	ssize_t n;

	while ((n = nghttp2_session_mem_send(p->s, &data)) > 0)
		say((const char *)data, (size_t)n);
}

/* One check; the result. A connection that is new gets a new peer. */
static enum weft_probe_end check2(struct peer *p)
{
	unsigned int before = results;
	int64_t until = weft_clock_ms(CLOCK_MONOTONIC) + WAIT_MS;
	char buf[4096];

	weft_probe_start(&probe);
	while (results == before) {
		ssize_t n;

		assert_true(weft_clock_ms(CLOCK_MONOTONIC) < until);
		assert_int_equal(weft_loop_step(loop, 10), 0);
		if (peer < 0) {
			peer = accept4(server, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
			continue;
		}
		n = recv(peer, buf, sizeof(buf), MSG_DONTWAIT);
		if (n > 0)
			assert_true(nghttp2_session_mem_recv(p->s, (uint8_t *)buf, (size_t)n) > 0);
		peer_send(p);
	}
	return result.end;
}

static void peer_close(struct peer *p)
{
	nghttp2_session_del(p->s);
	if (peer >= 0)
		close(peer);
	peer = -1;
}

static void test_http2(void **state)
{
	struct peer p;

	(void)state;
	begin(WEFT_HEALTH_HTTP);
	conf.http2 = true;
	peer_open(&p);
	assert_int_equal(check2(&p), WEFT_PROBE_OK);
	p.status = "503";
	assert_int_equal(check2(&p), WEFT_PROBE_RETRIABLE);
	p.reset = NGHTTP2_INTERNAL_ERROR;
	assert_int_equal(check2(&p), WEFT_PROBE_NETWORK);
	assert_true(probe.fd >= 0); /* only the stream is over */
	p.reset = 0;
	p.status = "200";
	/* it says that it goes, without an error: the check ends, and the connection with it */
	assert_int_equal(nghttp2_submit_goaway(p.s, 0, 7, NGHTTP2_NO_ERROR, NULL, 0), 0);
	assert_int_equal(check2(&p), WEFT_PROBE_OK);
	assert_int_equal(probe.fd, -1);
	peer_close(&p);
	peer_open(&p);
	assert_int_equal(nghttp2_submit_goaway(p.s, 0, 0, NGHTTP2_INTERNAL_ERROR, NULL, 0), 0);
	assert_int_equal(check2(&p), WEFT_PROBE_NETWORK);
	assert_int_equal(probe.fd, -1);
	peer_close(&p);
	end();
}

static void test_grpc(void **state)
{
	static const char serving[] = "\0\0\0\0\x02\x08\x01",
			  not_serving[] = "\0\0\0\0\x02\x08\x02";
	struct peer p;

	(void)state;
	begin(WEFT_HEALTH_GRPC);
	conf.http2 = true;
	conf.method = "POST";
	conf.service = (char *)(uintptr_t) "some";
	peer_open(&p);
	p.body = serving;
	p.len = sizeof(serving) - 1;
	p.grpc = "0";
	assert_int_equal(check2(&p), WEFT_PROBE_OK);
	p.body = not_serving;
	assert_int_equal(check2(&p), WEFT_PROBE_FAILED);
	p.body = serving;
	p.grpc = "14";
	assert_int_equal(check2(&p), WEFT_PROBE_FAILED);
	p.grpc = NULL; /* no status at all */
	assert_int_equal(check2(&p), WEFT_PROBE_FAILED);
	p.grpc = "0";
	p.type = "text/plain";
	assert_int_equal(check2(&p), WEFT_PROBE_FAILED);
	p.type = "application/grpc";
	p.status = "503";
	assert_int_equal(check2(&p), WEFT_PROBE_FAILED);
	p.status = "200";
	assert_int_equal(check2(&p), WEFT_PROBE_OK);
	assert_int_equal(p.requests, 7); /* over one connection */
	/* a check that is given up ends its stream alone */
	weft_probe_start(&probe);
	weft_probe_stop(&probe);
	assert_true(probe.fd >= 0);
	assert_int_equal(check2(&p), WEFT_PROBE_OK);
	peer_close(&p);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_http1),	  cmocka_unit_test(test_http1_broken),
		cmocka_unit_test(test_http_says), cmocka_unit_test(test_no_reuse),
		cmocka_unit_test(test_tcp),	  cmocka_unit_test(test_serving),
		cmocka_unit_test(test_payload),	  cmocka_unit_test(test_http2),
		cmocka_unit_test(test_grpc),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
