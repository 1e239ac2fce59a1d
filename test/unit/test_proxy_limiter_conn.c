// SPDX-License-Identifier: Apache-2.0
/* Connections that wait for a rate limit service: what is held, what goes on, what is counted. */
#include "limiter_service.h"

#define NETWORK(name) "\"@type\": type.googleapis.com/envoy.extensions.filters.network." name
#define OPTIONS "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
#define TCP                                                                                        \
	"{name: t, typed_config: {" NETWORK(                                                       \
		"tcp_proxy.v3.TcpProxy") ", stat_prefix: t, cluster: up}}"
#define HTTP                                                                                       \
	"{name: h, typed_config: {" NETWORK(                                                       \
		"http_connection_manager.v3.HttpConnectionManager") ", stat_prefix: "              \
								    "s, " FIX_ROUTER               \
								    "route_config: "               \
								    "{virtual_hosts: [{name: v, "  \
								    "domains: [\"*\"], routes: "   \
								    "[" FIX_ROUTE "]}]}}}"
#define ASK(more)                                                                                  \
	"{name: r, typed_config: {" NETWORK(                                                       \
		"ratelimit.v3.RateLimit") ", stat_prefix: p, domain: "                             \
					  "d, descriptors: "                                       \
					  "[{entries: [{key: k, "                                  \
					  "value: v}]}], " more                                    \
					  " rate_limit_service: {transport_api_version: V3, "      \
					  "grpc_service: {envoy_grpc: "                            \
					  "{cluster_name: rls}}}}}, "
#define LOCAL(n)                                                                                   \
	"{name: l, typed_config: {" NETWORK(                                                       \
		"local_ratelimit.v3.LocalRateLimit") ", stat_prefix: "                             \
						     "l, "                                         \
						     "token_bucket: "                              \
						     "{max_tokens: " #n                            \
						     ", fill_interval: 3600s}}}, "

static atomic_uint upstreams;

/* Echoes; the end is answered by "bye". */
static void upstream(int fd)
{
	char block[16384];
	ssize_t n;

	atomic_fetch_add(&upstreams, 1);
	while ((n = recv(fd, block, sizeof(block), 0)) > 0)
		fix_send(fd, block, (size_t)n);
	send(fd, "bye", 3, MSG_NOSIGNAL);
}

static void start(const char *filters)
{
	char yaml[8192];

	fix_server(upstream);
	fix_server(service);
	service_reset();
	atomic_store(&upstreams, 0);
	snprintf(yaml, sizeof(yaml),
		 "static_resources:\n"
		 "  listeners:\n"
		 "  - name: main\n"
		 "    address: {socket_address: {address: 192.0.2.1, port_value: 80}}\n"
		 "    filter_chains: [{filters: [%s]}]\n"
		 "  clusters:\n"
		 "  - {name: up, type: STATIC, load_assignment: {cluster_name: up, endpoints: "
		 "[{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, "
		 "port_value: %u}}}}]}]}}\n"
		 "  - {name: rls, type: STATIC, typed_extension_protocol_options: {" OPTIONS
		 ": {\"@type\": type.googleapis.com/" OPTIONS
		 ", explicit_http_config: {http2_protocol_options: {}}}}, load_assignment: "
		 "{cluster_name: rls, endpoints: [{lb_endpoints: [{endpoint: {address: "
		 "{socket_address: {address: 127.0.0.1, port_value: %u}}}}]}]}}\n",
		 filters, fix.server[0].port, fix.server[1].port);
	fix_open(yaml, 1);
}

static int64_t counter(const char *name)
{
	json_t *all = weft_proxy_limits(fix.proxy), *pod;
	const char *id;
	int64_t n = -1;

	json_object_foreach(all, id, pod)
	{
		json_t *v = json_object_get(pod, name);

		if (v)
			n = json_integer_value(v);
	}
	json_decref(all);
	return n;
}

static void count_is(const char *name, int64_t want)
{
	for (int i = 0; i < 500 && counter(name) != want; i++)
		fix_sleep(10);
	assert_int_equal(counter(name), want);
}

static void hear(int fd, const char *want)
{
	char text[64] = "";
	size_t n = strlen(want), at = 0;

	while (at < n) {
		ssize_t k = recv(fd, text + at, n - at, 0);

		assert_true(k > 0);
		at += (size_t)k;
	}
	assert_string_equal(text, want);
}

/* What the client says meanwhile, and its end, go to the endpoint behind the answer. */
static void test_tcp(void **state)
{
	int fd;

	(void)state;
	start(ASK("timeout: 60s,") TCP);
	atomic_store(&held, true);
	fd = fix_dial();
	fix_say(fd, "hello");
	wait_for(&asked, 1);
	assert_int_equal(atomic_load(&upstreams), 0);
	assert_int_equal(counter("ratelimit.p.active"), 1);
	atomic_store(&held, false);
	hear(fd, "hello");
	fix_say(fd, "more");
	hear(fd, "more");
	shutdown(fd, SHUT_WR);
	hear(fd, "bye");
	assert_true(fix_ended(fd));
	close(fd);
	count_is("ratelimit.p.ok", 1);
	fd = fix_dial();
	fix_say(fd, "early");
	shutdown(fd, SHUT_WR);
	hear(fd, "earlybye");
	assert_true(fix_ended(fd));
	close(fd);
	count_is("ratelimit.p.total", 2);
	count_is("ratelimit.p.active", 0);
	assert_int_equal(counter("ratelimit.p.over_limit"), 0);
	assert_int_equal(counter("ratelimit.p.cx_closed"), 0);
	fix_close();
}

static void test_over(void **state)
{
	int fd;

	(void)state;
	start(ASK("timeout: 60s,") TCP);
	atomic_store(&says, 2);
	fd = fix_dial();
	fix_say(fd, "hello");
	assert_true(fix_ended(fd));
	close(fd);
	count_is("ratelimit.p.over_limit", 1);
	assert_int_equal(counter("ratelimit.p.cx_closed"), 1);
	assert_int_equal(counter("ratelimit.p.active"), 0);
	assert_int_equal(atomic_load(&upstreams), 0);
	fix_close();
}

static void test_timeout(void **state)
{
	int fd;

	(void)state;
	start(ASK("timeout: 0.1s, failure_mode_deny: true,") TCP);
	atomic_store(&says, -1);
	fd = fix_dial();
	assert_true(fix_ended(fd));
	close(fd);
	count_is("ratelimit.p.error", 1);
	assert_int_equal(counter("ratelimit.p.cx_closed"), 1);
	assert_int_equal(counter("ratelimit.p.failure_mode_allowed"), 0);
	wait_for(&resets, 1);
	fix_close();
	start(ASK("timeout: 0.1s,") TCP);
	atomic_store(&says, -1);
	fd = fix_dial();
	fix_say(fd, "hello");
	hear(fd, "hello");
	close(fd);
	count_is("ratelimit.p.failure_mode_allowed", 1);
	assert_int_equal(counter("ratelimit.p.error"), 1);
	assert_int_equal(counter("ratelimit.p.cx_closed"), 0);
	fix_close();
}

/* Once for a connection, however many requests come on it. */
static void test_http(void **state)
{
	int fd;

	(void)state;
	start(ASK("timeout: 60s,") HTTP);
	atomic_store(&late, 100);
	fd = fix_dial();
	fix_say(fd, "GET / HTTP/1.1\r\nhost: a\r\nx: HTTP/1.1 200 OK\r\n\r\n");
	wait_for(&asked, 1);
	count_is("ratelimit.p.ok", 1);
	close(fd);
	atomic_store(&says, 2);
	fd = fix_dial();
	fix_say(fd, "GET / HTTP/1.1\r\nhost: a\r\n\r\n");
	assert_true(fix_ended(fd));
	close(fd);
	assert_int_equal(atomic_load(&asked), 2);
	fix_close();
}

/* The call of a client that leaves is cancelled; one that only says no more has left, before HTTP.
 */
static void test_leaves(void **state)
{
	int fd;

	(void)state;
	start(ASK("timeout: 60s,") HTTP);
	atomic_store(&says, -1);
	fd = fix_dial();
	wait_for(&asked, 1);
	fix_reset(fd);
	close(fd);
	wait_for(&resets, 1);
	fd = fix_dial();
	wait_for(&asked, 2);
	shutdown(fd, SHUT_WR);
	assert_true(fix_ended(fd));
	close(fd);
	wait_for(&resets, 2);
	count_is("ratelimit.p.active", 0);
	assert_int_equal(counter("ratelimit.p.total"), 2);
	assert_int_equal(counter("ratelimit.p.error"), 0);
	assert_int_equal(counter("ratelimit.p.cx_closed"), 0);
	fix_close();
}

/* A client that says much gets no more room than others, and loses nothing. */
static void test_room(void **state)
{
	static char block[1u << 20];
	size_t sent = 0, heard = 0;
	int fd;

	(void)state;
	start(ASK("timeout: 60s,") TCP);
	atomic_store(&late, 100);
	fd = fix_dial();
	memset(block, 'x', sizeof(block));
	while (heard < sizeof(block)) {
		static char in[65536];
		ssize_t k = sent < sizeof(block) ? send(fd, block + sent, sizeof(block) - sent,
							MSG_NOSIGNAL | MSG_DONTWAIT)
						 : 0;

		sent += k > 0 ? (size_t)k : 0;
		k = recv(fd, in, sizeof(in), MSG_DONTWAIT);
		assert_int_not_equal(k, 0);
		if (k > 0)
			heard += (size_t)k;
		else
			fix_sleep(1);
	}
	assert_int_equal(sent, sizeof(block));
	close(fd);
	fix_close();
}

/* Filters count in their order: what one refuses no other one is asked about. */
static void test_order(void **state)
{
	int fd;

	(void)state;
	start(LOCAL(1) ASK("timeout: 60s,") LOCAL(2) ASK("timeout: 60s,") TCP);
	fd = fix_dial();
	fix_say(fd, "hello");
	hear(fd, "hello");
	close(fd);
	assert_int_equal(atomic_load(&asked), 2);
	fd = fix_dial();
	assert_true(fix_ended(fd));
	close(fd);
	assert_int_equal(atomic_load(&asked), 2);
	fix_close();
	start(ASK("timeout: 60s,") LOCAL(0) ASK("timeout: 60s,") TCP);
	fd = fix_dial();
	assert_true(fix_ended(fd));
	close(fd);
	assert_int_equal(atomic_load(&asked), 1);
	fix_close();
}

/* The pod goes while connections wait. */
static void test_close(void **state)
{
	int fd[8];

	(void)state;
	start(ASK("timeout: 60s,") TCP);
	atomic_store(&says, -1);
	for (size_t i = 0; i < 8; i++)
		fd[i] = fix_dial();
	wait_for(&asked, 8);
	assert_int_equal(counter("ratelimit.p.active"), 8);
	fix_close();
	for (size_t i = 0; i < 8; i++)
		close(fd[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tcp),	cmocka_unit_test(test_over),
		cmocka_unit_test(test_timeout), cmocka_unit_test(test_http),
		cmocka_unit_test(test_leaves),	cmocka_unit_test(test_room),
		cmocka_unit_test(test_order),	cmocka_unit_test(test_close),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
