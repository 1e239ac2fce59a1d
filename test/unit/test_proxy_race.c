// SPDX-License-Identifier: Apache-2.0
/* Hosts of several addresses: which connection comes about, and what becomes of the others. */
#include "proxy_fixture.h"

static struct fix_answer a;

static void answer(int fd)
{
	char head[8192];

	while (fix_head_read(fd, head, sizeof(head)))
		send(fd, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", 40, MSG_NOSIGNAL);
}

/* A port whose backlog is full: it neither takes a connection nor refuses it. */
struct silent {
	int fd, taken[3];
	uint16_t port;
};

static void silent_open(struct silent *s)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

	s->fd = fix_bind(AF_INET, &s->port);
	assert_int_equal(listen(s->fd, 0), 0);
	to.sin_port = htons(s->port);
	for (int i = 0; i < 3; i++) {
		s->taken[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		connect(s->taken[i], (struct sockaddr *)&to, sizeof(to));
	}
	fix_sleep(20);
}

static void silent_close(struct silent *s)
{
	for (int i = 0; i < 3; i++)
		close(s->taken[i]);
	close(s->fd);
}

/* One host with these ports on loopback. */
static const char *host(const uint16_t *port, unsigned int n, const char *more)
{
	static char text[2048];

	snprintf(text, sizeof(text),
		 ", connect_timeout: %s, load_assignment: {cluster_name: up, endpoints: "
		 "[{lb_endpoints: "
		 "[{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: %u}}, "
		 "additional_addresses: [",
		 more, port[0]);
	for (unsigned int i = 1; i < n; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text),
			 "%s{address: {socket_address: {address: 127.0.0.1, port_value: %u}}}",
			 i > 1 ? ", " : "", port[i]);
	snprintf(text + strlen(text), sizeof(text) - strlen(text), "]}}]}]}");
	return text;
}

static void open_with(const uint16_t *port, unsigned int n, const char *timeout)
{
	char yaml[8192];

	snprintf(yaml, sizeof(yaml),
		 "static_resources:\n"
		 "  listeners:\n"
		 "  - name: main\n"
		 "    address: {socket_address: {address: 192.0.2.1, port_value: 80}}\n"
		 "    filter_chains: [{filters: [{name: h, typed_config: {\"@type\": "
		 "type.googleapis.com/envoy."
		 "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager, "
		 "stat_prefix: s, "
		 "http_filters: [{name: r, typed_config: {\"@type\": "
		 "type.googleapis.com/envoy.extensions.filters."
		 "http.router.v3.Router}}], route_config: {virtual_hosts: [{name: v, domains: "
		 "[\"*\"], routes: "
		 "[{match: {prefix: /}, route: {cluster: up}, response_headers_to_add: [{header: "
		 "{key: "
		 "x-port, value: \"%%UPSTREAM_REMOTE_PORT%%\"}}]}]}]}}}]}]\n"
		 "  clusters:\n"
		 "  - {name: up, type: STATIC%s}\n",
		 host(port, n, timeout));
	fix_open(yaml, 1);
}

static int ask(void)
{
	int fd = fix_dial();

	fix_say(fd, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
	assert_true(fix_hear(fd, &a));
	return fd;
}

/* What the pool holds when a connection is idle: one, whatever was tried for it. */
static void one_left(int fd)
{
	struct weft_cell_cluster *c = fix_cluster();

	assert_int_equal(FIX_LOAD(c->cx_total), 1);
	assert_int_equal(FIX_LOAD(c->cx_active[0]), 1);
	fix_say(fd, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
	assert_true(fix_hear(fd, &a));
	assert_int_equal(a.status, 200);
	assert_int_equal(FIX_LOAD(c->cx_total), 1);
	close(fd);
	fix_close();
}

static void test_refusing(void **state)
{
	uint16_t port[4];
	char text[8];
	int fd;

	(void)state;
	fix_server(answer);
	for (int i = 1; i < 4; i++)
		fix_server(NULL);
	for (int i = 0; i < 4; i++)
		port[i] = fix.server[3 - i].port;
	open_with(port, 4, "1s");
	if (fix.skip)
		skip();
	fd = ask();
	assert_int_equal(a.status, 200);
	snprintf(text, sizeof(text), "%u", port[3]);
	assert_string_equal(fix_header(a.head, "x-port"), text);
	assert_int_equal(FIX_LOAD(fix_cluster()->cx_connect_fail), 0);
	one_left(fd);
}

/* The next address does not wait for the first one's time to be over. */
static void test_silence(void **state)
{
	struct silent s;
	uint16_t port[3];
	uint64_t since;
	int fd;

	(void)state;
	silent_open(&s);
	fix_server(answer);
	fix_server(answer);
	port[0] = s.port;
	port[1] = fix.server[0].port;
	port[2] = fix.server[1].port;
	open_with(port, 3, "9s");
	if (fix.skip)
		skip();
	since = fix_now_ms();
	fd = ask();
	assert_int_equal(a.status, 200);
	assert_true(fix_now_ms() - since >= 250);
	assert_int_equal(fix_calls(0), 1);
	assert_int_equal(fix_calls(1), 0);
	one_left(fd);
	silent_close(&s);
}

/* One that refuses is followed at once, though another is still silent. */
static void test_all_fail(void **state)
{
	struct silent s;
	uint16_t port[3];
	int fd;

	(void)state;
	silent_open(&s);
	fix_server(NULL);
	port[0] = fix.server[0].port;
	port[1] = port[2] = s.port;
	open_with(port, 3, "0.5s");
	if (fix.skip)
		skip();
	fd = ask();
	assert_int_equal(a.status, 503);
	assert_non_null(strstr(a.body, "connection timeout"));
	assert_int_equal(FIX_LOAD(fix_cluster()->cx_connect_fail), 1);
	assert_int_equal(FIX_LOAD(fix_cluster()->cx_active[0]), 0);
	close(fd);
	fix_close();
	silent_close(&s);
}

static void test_all_refuse(void **state)
{
	uint16_t port[2];
	int fd;

	(void)state;
	port[0] = fix.server[fix_server(NULL)].port;
	port[1] = fix.server[fix_server(NULL)].port;
	open_with(port, 2, "5s");
	if (fix.skip)
		skip();
	fd = ask();
	assert_int_equal(a.status, 503);
	assert_non_null(strstr(a.body, "remote connection failure"));
	assert_int_equal(FIX_LOAD(fix_cluster()->cx_connect_fail), 1);
	close(fd);
	fix_close();
}

/* The pod goes while connections are under way: nothing of them is left. */
static void test_pod_goes(void **state)
{
	struct silent s;
	uint16_t port[2];
	int fd;

	(void)state;
	silent_open(&s);
	port[0] = port[1] = s.port;
	open_with(port, 2, "9s");
	if (fix.skip)
		skip();
	fd = fix_dial();
	fix_say(fd, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
	fix_sleep(400);
	close(fd);
	fix_close();
	silent_close(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refusing), cmocka_unit_test(test_silence),
		cmocka_unit_test(test_all_fail), cmocka_unit_test(test_all_refuse),
		cmocka_unit_test(test_pod_goes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
