// SPDX-License-Identifier: Apache-2.0
/* Requests that wait for a rate limit service: who does, for how long, and what is left when they
 * go away. */
#include "limiter_service.h"

static struct fix_answer a;

static void upstream(int fd)
{
	char head[8192], block[4096];

	while (fix_head_read(fd, head, sizeof(head))) {
		const char *v = fix_header(head, "content-length");

		for (size_t left = v ? strtoul(v, NULL, 10) : 0; left;) {
			ssize_t n = recv(fd, block, left < sizeof(block) ? left : sizeof(block), 0);

			if (n <= 0)
				return;
			left -= (size_t)n;
		}
		send(fd, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", 40, MSG_NOSIGNAL);
	}
}

#define OPTIONS "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
static void start(const char *filter, const char *rates)
{
	char yaml[8192];

	fix_server(upstream);
	fix_server(service);
	service_reset();
	snprintf(
		yaml, sizeof(yaml),
		"static_resources:\n"
		"  listeners:\n"
		"  - name: main\n"
		"    address: {socket_address: {address: 192.0.2.1, port_value: 80}}\n"
		"    filter_chains:\n"
		"    - filters:\n"
		"      - name: hcm\n"
		"        typed_config: {\"@type\": "
		"type.googleapis.com/envoy.extensions.filters.network."
		"http_connection_manager.v3.HttpConnectionManager, stat_prefix: s, "
		"request_headers_timeout: 0.1s,\n"
		"          http_filters: [{name: g, typed_config: {\"@type\": "
		"type.googleapis.com/envoy."
		"extensions.filters.http.ratelimit.v3.RateLimit, domain: d, %s rate_limit_service: "
		"{transport_api_version: V3, grpc_service: {envoy_grpc: {cluster_name: "
		"rls}}}}}, " FIX_ROUTER_FILTER "],\n"
		"          route_config: {virtual_hosts: [{name: v, domains: [\"*\"], routes: "
		"[{match: "
		"{prefix: /}, route: {cluster: up, rate_limits: [%s]}}]}]}}\n"
		"  clusters:\n"
		"  - {name: up, type: STATIC, load_assignment: {cluster_name: up, endpoints: "
		"[{lb_endpoints: "
		"[{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: "
		"%u}}}}]}]}}\n"
		"  - {name: rls, type: STATIC, typed_extension_protocol_options: {" OPTIONS
		": {\"@type\": type.googleapis.com/" OPTIONS
		", explicit_http_config: {http2_protocol_options: {}}}}, load_assignment: "
		"{cluster_name: "
		"rls, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: "
		"127.0.0.1, port_value: %u}}}}]}]}}\n",
		filter, rates, fix.server[0].port, fix.server[1].port);
	fix_open(yaml, 1);
}
#define RULE "{actions: [{generic_key: {descriptor_value: a}}]}"

static void test_answers(void **state)
{
	int fd;

	(void)state;
	start("timeout: 5s, failure_mode_deny: true,", RULE);
	fd = fix_dial();
	fix_ask(fd, "GET", "/", "", &a);
	assert_int_equal(a.status, 200);
	assert_int_equal(atomic_load(&asked), 1);
	atomic_store(&says, 2);
	fix_ask(fd, "GET", "/", "", &a);
	assert_int_equal(a.status, 429);
	assert_non_null(strstr(a.head, "x-envoy-ratelimited: true"));
	/* longer than a head may take: it is complete; and the connection goes on */
	atomic_store(&says, 1);
	atomic_store(&late, 250);
	assert_true(fix_ask(fd, "GET", "/", "", &a) >= 250);
	assert_int_equal(a.status, 200);
	assert_int_equal(fix_calls(1), 1); /* one connection for all */
	close(fd);
	fix_close();
}

static void test_timeout(void **state)
{
	int fd;

	(void)state;
	start("timeout: 0.12s, failure_mode_deny: true,", RULE);
	fd = fix_dial();
	atomic_store(&says, -1);
	assert_true(fix_ask(fd, "GET", "/", "", &a) >= 120);
	assert_int_equal(a.status, 500);
	wait_for(&resets, 1);
	atomic_store(&says, 1);
	fix_ask(fd, "GET", "/", "", &a);
	assert_int_equal(a.status, 200);
	close(fd);
	fix_close();
}

/* A body that waits with its head, and a request behind it. */
static void test_body(void **state)
{
	int fd;

	(void)state;
	start("timeout: 5s,", RULE);
	fd = fix_dial();
	atomic_store(&late, 100);
	fix_say(fd,
		"POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n");
	assert_true(fix_hear(fd, &a));
	assert_int_equal(a.status, 100);
	fix_say(fd, "helloGET / HTTP/1.1\r\nhost: a\r\n\r\n");
	assert_true(fix_hear(fd, &a));
	assert_int_equal(a.status, 200);
	assert_true(fix_hear(fd, &a));
	assert_int_equal(a.status, 200);
	assert_int_equal(atomic_load(&asked), 2);
	/* refused behind a whole body: the connection stays, and what follows is a request */
	atomic_store(&says, 2);
	fix_say(fd, "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: "
		    "chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
	assert_true(fix_hear(fd, &a));
	assert_int_equal(a.status, 429);
	atomic_store(&says, 1);
	fix_ask(fd, "GET", "/", "", &a);
	assert_int_equal(a.status, 200);
	close(fd);
	fix_close();
}

/* The call of a client that leaves is cancelled, and nobody's answer is taken for another's. */
static void test_leaves(void **state)
{
	int fd;

	(void)state;
	start("timeout: 60s,", RULE);
	fd = fix_dial();
	atomic_store(&says, -1);
	fix_say(fd, "GET / HTTP/1.1\r\nhost: a\r\n\r\n");
	wait_for(&asked, 1);
	fix_reset(fd);
	close(fd);
	wait_for(&resets, 1);
	atomic_store(&says, 1);
	fd = fix_dial();
	fix_ask(fd, "GET", "/", "", &a);
	assert_int_equal(a.status, 200);
	close(fd);
	fix_close();
}

/* apply_on_stream_done: asked behind the answer, and nobody waits for what comes. */
static void test_done(void **state)
{
	int fd;

	(void)state;
	start("timeout: 5s,",
	      "{apply_on_stream_done: true, actions: [{generic_key: {descriptor_value: z}}]}");
	fd = fix_dial();
	atomic_store(&says, 2);
	atomic_store(&late, 200);
	for (unsigned int i = 1; i <= 2; i++) {
		fix_ask(fd, "GET", "/", "", &a);
		assert_int_equal(a.status, 200);
		wait_for(&asked, i);
	}
	close(fd);
	fix_close();
}

/* The pod goes while requests wait. */
static void test_close(void **state)
{
	int fd[8];

	(void)state;
	start("timeout: 60s,", RULE);
	atomic_store(&says, -1);
	for (size_t i = 0; i < 8; i++) {
		fd[i] = fix_dial();
		fix_say(fd[i], "GET / HTTP/1.1\r\nhost: a\r\n\r\n");
	}
	wait_for(&asked, 8);
	fix_close();
	for (size_t i = 0; i < 8; i++)
		close(fd[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answers), cmocka_unit_test(test_timeout),
		cmocka_unit_test(test_body),	cmocka_unit_test(test_leaves),
		cmocka_unit_test(test_done),	cmocka_unit_test(test_close),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
