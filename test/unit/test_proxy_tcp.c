// SPDX-License-Identifier: Apache-2.0
/* Relays: tcp_proxy chains, bytes that are no HTTP, upgraded connections; and bodies larger than any buffer. */
#include "proxy_fixture.h"

static struct fix_answer a;

#define MEGA (1u << 20)

/* The first byte says what happens: 'e' echoes until the end, 'h' answers "bye" when the client has half closed. */
static void tcp_upstream(int fd)
{
	char block[16384], what = 0;
	ssize_t n;

	while ((n = recv(fd, block, sizeof(block), 0)) > 0) {
		if (!what)
			what = block[0];
		if (what == 'e')
			fix_send(fd, block, (size_t)n);
		if (what == 'x')
			return;
	}
	if (what == 'h')
		send(fd, "bye", 3, MSG_NOSIGNAL);
}

static const char tcp_yaml[] =
	"static_resources:\n"
	"  listeners:\n"
	"  - name: tcp\n"
	"    address: {socket_address: {address: 192.0.2.1, port_value: 80}}\n"
	"    filter_chains: [{filters: [{name: t, typed_config: {\"@type\": type.googleapis.com/envoy.extensions."
	"filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: t, cluster: up, idle_timeout: %s, "
	"max_connect_attempts: %u}}]}]\n"
	"  clusters:\n"
	"  - {name: up, type: STATIC, connect_timeout: 1s%s, load_assignment: {cluster_name: up, endpoints: "
	"[{lb_endpoints: [%s]}]}}\n";

static void open_tcp(const char *idle, unsigned int attempts, const char *cluster)
{
	char yaml[4096], endpoints[512] = "";

	for (unsigned int i = 0; i < fix.servers; i++)
		snprintf(endpoints + strlen(endpoints), sizeof(endpoints) - strlen(endpoints),
			 "%s{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: %u}}}}",
			 i ? ", " : "", fix.server[i].port);
	snprintf(yaml, sizeof(yaml), tcp_yaml, idle, attempts, cluster, endpoints);
	fix_open(yaml, 1);
}

struct sender {
	int fd;
	size_t n;
};

static char pattern(size_t i)
{
	return i ? (char)('a' + i * 7 / 5 % 26) : 'e';
}

static void *send_pattern(void *arg)
{
	struct sender *s = arg;
	char block[5000];

	for (size_t at = 0; at < s->n;) {
		size_t k = s->n - at < sizeof(block) ? s->n - at : sizeof(block);

		for (size_t i = 0; i < k; i++)
			block[i] = pattern(at + i);
		fix_send(s->fd, block, k);
		at += k;
	}
	return NULL;
}

/* Reads n bytes of the pattern, at first so slowly that every buffer on the way is full. */
static void hear_pattern(int fd, size_t n)
{
	char block[4096];

	fix_sleep(100);
	for (size_t at = 0; at < n;) {
		ssize_t k = recv(fd, block, sizeof(block) < n - at ? sizeof(block) : n - at, 0);

		assert_true(k > 0);
		for (ssize_t i = 0; i < k; i++)
			assert_int_equal(block[i], pattern(at + (size_t)i));
		at += (size_t)k;
		if (at < 65536)
			fix_sleep(2);
	}
}

static void test_echo(void **state)
{
	struct sender s = {.n = 4 * MEGA};
	pthread_t t;

	(void)state;
	fix_server(tcp_upstream);
	open_tcp("0s", 1, "");
	s.fd = fix_dial();
	pthread_create(&t, NULL, send_pattern, &s);
	hear_pattern(s.fd, s.n);
	pthread_join(t, NULL);
	shutdown(s.fd, SHUT_WR);
	assert_true(fix_ended(s.fd));
	close(s.fd);
	assert_int_equal(FIX_LOAD(fix_cluster()->cx_total), 1);
	fix_close();
}

static void test_half_close(void **state)
{
	char text[8] = "";
	int fd;

	(void)state;
	fix_server(tcp_upstream);
	open_tcp("0s", 1, "");
	fd = fix_dial();
	fix_say(fd, "hello");
	shutdown(fd, SHUT_WR);
	assert_int_equal(recv(fd, text, 3, MSG_WAITALL), 3);
	assert_string_equal(text, "bye");
	assert_true(fix_ended(fd));
	close(fd);
	fix_close();
}

static void test_idle(void **state)
{
	uint64_t start;
	char text[2];
	int fd;

	(void)state;
	fix_server(tcp_upstream);
	open_tcp("0.2s", 1, "");
	fd = fix_dial();
	for (int i = 0; i < 4; i++) { /* traffic keeps it */
		fix_say(fd, "e");
		assert_int_equal(recv(fd, text, 1, 0), 1);
		fix_sleep(100);
	}
	start = fix_now_ms();
	assert_true(fix_ended(fd));
	assert_true(fix_now_ms() - start < 1000);
	close(fd);
	fix_close();
}

static void test_refused(void **state)
{
	int fd;

	(void)state;
	fix_server(NULL);
	open_tcp("0s", 3, "");
	fd = fix_dial();
	assert_true(fix_ended(fd));
	close(fd);
	assert_int_equal(FIX_LOAD(fix_cluster()->cx_connect_fail), 3);
	assert_int_equal(FIX_LOAD(fix_cluster()->cx_active[0]), 0);
	fix_close();

	/* one of two endpoints refuses: the next attempt finds the other */
	fix_server(NULL);
	fix_server(tcp_upstream);
	open_tcp("0s", 2, "");
	for (int i = 0; i < 6; i++) {
		char text[4];

		fd = fix_dial();
		fix_say(fd, "eeee");
		assert_int_equal(recv(fd, text, 4, MSG_WAITALL), 4);
		close(fd);
	}
	fix_close();
}

static void test_max_connections(void **state)
{
	int fd[5];
	char c;

	(void)state;
	fix_server(tcp_upstream);
	open_tcp("0s", 1, ", circuit_breakers: {thresholds: [{max_connections: 3}]}");
	for (int i = 0; i < 5; i++) {
		fd[i] = fix_dial();
		send(fd[i], "e", 1, MSG_NOSIGNAL);
		if (i < 3)
			assert_int_equal(recv(fd[i], &c, 1, 0), 1);
		else
			assert_true(fix_ended(fd[i]));
	}
	for (int i = 0; i < 5; i++)
		close(fd[i]);
	fix_close();
}

/* ---- one port for HTTP and for what is not ---- */

static void echo_http(int fd)
{
	char head[8192];

	while (fix_head_read(fd, head, sizeof(head)))
		send(fd, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", 40, MSG_NOSIGNAL);
}

static void test_sniffed(void **state)
{
	char text[8] = "";
	int fd;

	(void)state;
	fix_server(tcp_upstream);
	fix_server(echo_http);
	fix_open_sniffed(0, 1);
	fd = fix_dial();
	fix_say(fd, "e\x01\x02\x03");
	assert_int_equal(recv(fd, text, 4, MSG_WAITALL), 4);
	assert_memory_equal(text, "e\x01\x02\x03", 4);
	close(fd);
	fd = fix_dial();
	for (const char *p = "GET / HTTP/1.1\r\nhost: a\r\n\r\n"; *p; p++)
		fix_send(fd, p, 1);
	assert_true(fix_hear(fd, &a));
	assert_string_equal(a.body, "ok");
	close(fd);
	/* the server is to speak first: after the timeout the connection is taken as it is */
	fd = fix_dial();
	fix_sleep(300);
	fix_say(fd, "ee");
	assert_int_equal(recv(fd, text, 2, MSG_WAITALL), 2);
	close(fd);
	fix_close();
}

/* ---- HTTP bodies and tunnels ---- */

/* /up counts the body, /down sends as much as x-size asks for (chunked), /ws upgrades and echoes. */
static void http_upstream(int fd)
{
	char head[8192], block[16384];

	while (fix_head_read(fd, head, sizeof(head))) {
		const char *v = fix_header(head, "content-length");
		size_t left = v ? strtoul(v, NULL, 10) : 0, got = 0;

		if (strstr(head, "/ws")) {
			ssize_t n;

			fix_say(fd, "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n");
			while ((n = recv(fd, block, sizeof(block), 0)) > 0)
				fix_send(fd, block, (size_t)n);
			return;
		}
		fix_sleep(left > MEGA ? 100 : 0); /* every buffer on the way is full now */
		while (got < left) {
			ssize_t n = recv(fd, block, sizeof(block), 0);

			if (n <= 0)
				return;
			for (ssize_t i = 0; i < n; i++)
				if (block[i] != pattern(got + (size_t)i))
					return;
			got += (size_t)n;
		}
		v = fix_header(head, "x-size");
		if (v) {
			struct sender s = {.fd = fd, .n = strtoul(v, NULL, 10)};

			snprintf(block, sizeof(block), "HTTP/1.1 200 OK\r\ncontent-length: %zu\r\n\r\n", s.n);
			fix_say(fd, block);
			send_pattern(&s);
			continue;
		}
		snprintf(block, sizeof(block), "HTTP/1.1 200 OK\r\nx-got: %zu\r\ncontent-length: 0\r\n\r\n", got);
		fix_say(fd, block);
	}
}

static void test_large_bodies(void **state)
{
	struct sender s = {.n = 6 * MEGA};
	char text[256];

	(void)state;
	fix_server(http_upstream);
	fix_open_http("", FIX_ROUTE, "", 1, 1);
	s.fd = fix_dial();
	for (int i = 0; i < 2; i++) {
		snprintf(text, sizeof(text), "POST /up HTTP/1.1\r\nhost: a\r\ncontent-length: %zu\r\n\r\n", s.n);
		fix_say(s.fd, text);
		send_pattern(&s);
		assert_true(fix_hear(s.fd, &a));
		assert_int_equal(strtoul(fix_header(a.head, "x-got"), NULL, 10), s.n);
		snprintf(text, sizeof(text), "GET /down HTTP/1.1\r\nhost: a\r\nx-size: %zu\r\n\r\n", s.n);
		fix_say(s.fd, text);
		assert_true(fix_head_read(s.fd, a.head, sizeof(a.head)));
		hear_pattern(s.fd, s.n);
	}
	assert_int_equal(fix_calls(0), 1);
	close(s.fd);
	fix_close();
}

#define UPGRADE "upgrade: websocket\r\nconnection: Upgrade\r\n\r\n"

static void test_websocket(void **state)
{
	struct sender s = {.n = 2 * MEGA};
	pthread_t t;

	(void)state;
	fix_server(http_upstream);
	fix_open_http("upgrade_configs: [{upgrade_type: websocket}],", FIX_ROUTE, "", 1, 1);
	s.fd = fix_dial();
	fix_say(s.fd, "GET /ws HTTP/1.1\r\nhost: a\r\n" UPGRADE "early");
	assert_true(fix_hear(s.fd, &a));
	assert_int_equal(a.status, 101);
	assert_memory_equal(a.head, "HTTP/1.1 101 Switching Protocols\r\n", 34);
	assert_string_equal(fix_header(a.head, "upgrade"), "websocket");
	assert_string_equal(fix_header(a.head, "connection"), "upgrade");
	assert_int_equal(recv(s.fd, a.body, 5, MSG_WAITALL), 5);
	assert_memory_equal(a.body, "early", 5);
	pthread_create(&t, NULL, send_pattern, &s);
	hear_pattern(s.fd, s.n);
	pthread_join(t, NULL);
	assert_int_equal(FIX_LOAD(fix_cluster()->rq_active[0]), 1);
	close(s.fd);
	/* the upstream declines: what follows the head is no request any more */
	s.fd = fix_dial();
	fix_say(s.fd, "GET /no HTTP/1.1\r\nhost: a\r\n" UPGRADE "GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n");
	assert_true(fix_hear(s.fd, &a));
	assert_int_equal(a.status, 200);
	assert_string_equal(fix_header(a.head, "connection"), "close");
	assert_true(fix_ended(s.fd));
	close(s.fd);
	fix_close();
}

/* max_stream_duration ends a tunnel too. */
static void test_tunnel_duration(void **state)
{
	int fd;

	(void)state;
	fix_server(http_upstream);
	fix_open_http("upgrade_configs: [{upgrade_type: websocket}], common_http_protocol_options: "
		      "{max_stream_duration: 0.2s},",
		      FIX_ROUTE, "", 1, 1);
	fd = fix_dial();
	fix_say(fd, "GET /ws HTTP/1.1\r\nhost: a\r\n" UPGRADE);
	assert_true(fix_hear(fd, &a));
	assert_int_equal(a.status, 101);
	assert_true(fix_ended(fd));
	close(fd);
	fix_close();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FIX_TEST(test_echo),	    FIX_TEST(test_half_close),
		FIX_TEST(test_idle),	    FIX_TEST(test_refused),
		FIX_TEST(test_max_connections), FIX_TEST(test_sniffed),
		FIX_TEST(test_large_bodies), FIX_TEST(test_websocket),
		FIX_TEST(test_tunnel_duration),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
