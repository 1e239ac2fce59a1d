// SPDX-License-Identifier: Apache-2.0
/* Configuration that changes under traffic, and the ages of connections. */
#include "proxy_fixture.h"

#include "agent/proxy/internal.h"

static struct fix_answer a;

static void serve(int fd, const char *answer)
{
	char head[8192];

	while (fix_head_read(fd, head, sizeof(head)))
		send(fd, answer, strlen(answer), MSG_NOSIGNAL);
}
static void zero(int fd)
{
	serve(fd, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\ns0");
}
static void one(int fd)
{
	serve(fd, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\ns1");
}

/* Variant n: cluster, endpoint, server name and direct response all say n. */
static const char *variant(unsigned int n)
{
	static char yaml[4096];

	snprintf(yaml, sizeof(yaml),
		 "static_resources:\n"
		 "  listeners:\n"
		 "  - name: main\n"
		 "    address: {socket_address: {address: 192.0.2.1, port_value: 80}}\n"
		 "    filter_chains: [{filters: [{name: hcm, typed_config: {\"@type\": type.googleapis.com/envoy."
		 "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager, stat_prefix: s,\n"
		 "      server_name: s%u, " FIX_ROUTER "\n"
		 "      route_config: {virtual_hosts: [{name: v, domains: [\"*\"], routes: [{match: {prefix: /direct}, "
		 "direct_response: {status: 200, body: {inline_string: s%u}}}, {match: {prefix: /}, route: {cluster: up%u}}]}]}}}]}]\n"
		 "  clusters:\n"
		 "  - {name: up%u, type: STATIC, load_assignment: {cluster_name: up%u, endpoints: [{lb_endpoints: "
		 "[{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: %u}}}}]}]}}\n",
		 n, n, n, n, n, fix.server[n].port);
	return yaml;
}

static void get(int fd, const char *path)
{
	char text[128];

	snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nhost: a\r\n\r\n", path);
	fix_say(fd, text);
	assert_true(fix_hear(fd, &a));
	assert_int_equal(a.status, 200);
}

struct load {
	pthread_t thread;
	int fd;
	bool stop;
	unsigned int asked, wrong;
};

/* Each answer is of one variant, whole; none fails. */
static void *load_run(void *arg)
{
	struct load *l = arg;
	struct fix_answer *got = malloc(sizeof(*got));
	const char *server;

	if (!got)
		abort();
	while (!__atomic_load_n(&l->stop, __ATOMIC_RELAXED)) {
		fix_say(l->fd, l->asked % 4 ? "GET / HTTP/1.1\r\nhost: a\r\n\r\n" :
					      "GET /direct HTTP/1.1\r\nhost: a\r\n\r\n");
		l->asked++;
		if (!fix_hear(l->fd, got)) {
			l->wrong++;
			break;
		}
		server = fix_header(got->head, "server");
		l->wrong += got->status != 200 || !server || strcmp(server, got->body) != 0;
	}
	free(got);
	return NULL;
}

static void test_flips(void **state)
{
	struct load l[4] = {0};
	unsigned int asked = 0;

	(void)state;
	fix_server(zero);
	fix_server(one);
	fix_open(variant(0), 2);
	for (int i = 0; i < 4; i++) {
		l[i].fd = fix_dial();
		pthread_create(&l[i].thread, NULL, load_run, &l[i]);
	}
	for (unsigned int i = 1; i <= 300; i++)
		fix_publish(variant(i % 2));
	for (int i = 0; i < 4; i++) {
		__atomic_store_n(&l[i].stop, true, __ATOMIC_RELAXED);
		pthread_join(l[i].thread, NULL);
		assert_int_equal(l[i].wrong, 0);
		asked += l[i].asked;
		close(l[i].fd);
	}
	assert_true(asked > 100);
	fix_close();
}

/* Connections kept to an endpoint that left its cluster are closed; the client's stays. */
static void test_endpoint_leaves(void **state)
{
	struct weft_proxy_stats s = {.upstream_idle = 1};
	int fd;

	(void)state;
	fix_server(zero);
	fix_server(one);
	fix_open(variant(0), 1);
	fd = fix_dial();
	get(fd, "/");
	assert_string_equal(a.body, "s0");
	fix_sleep(30);
	weft_proxy_stats(fix.proxy, &s);
	assert_int_equal(s.upstream_idle, 1);
	fix_publish(variant(1));
	for (int i = 0; i < 300 && s.upstream_idle; i++) {
		fix_sleep(10);
		weft_proxy_stats(fix.proxy, &s);
	}
	assert_int_equal(s.upstream_idle, 0);
	get(fd, "/");
	assert_string_equal(a.body, "s1");
	fix_publish(variant(1)); /* the same again: what is kept stays */
	fix_sleep(1100);
	get(fd, "/");
	assert_int_equal(fix_calls(1), 1);
	close(fd);
	fix_close();
}

/* The listener goes: an idle connection of it ends with its next request. */
static void test_listener_leaves(void **state)
{
	int fd;

	(void)state;
	fix_server(zero);
	fix_open(variant(0), 1);
	fd = fix_dial();
	get(fd, "/");
	fix_publish("static_resources: {listeners: [], clusters: []}\n");
	fix_say(fd, "GET / HTTP/1.1\r\nhost: a\r\n\r\n");
	assert_true(fix_ended(fd));
	close(fd);
	fix_close();
}

static void test_idle(void **state)
{
	uint64_t start;
	int fd;

	(void)state;
	fix_server(zero);
	fix_open_http("delayed_close_timeout: 0.1s, common_http_protocol_options: {idle_timeout: "
		      "0.2s}, drain_timeout: 0.1s,",
		      FIX_ROUTE, "", 1, 1);
	fd = fix_dial();
	get(fd, "/");
	start = fix_now_ms();
	assert_true(fix_ended(fd));
	assert_true(fix_now_ms() - start >= 390);
	close(fd);
	fix_close();
}

static void test_max_requests(void **state)
{
	int fd;

	(void)state;
	fix_server(zero);
	fix_open_http("common_http_protocol_options: {max_requests_per_connection: 3},", FIX_ROUTE, "", 1, 1);
	fd = fix_dial();
	for (int i = 0; i < 3; i++) {
		get(fd, "/");
		assert_true((i == 2) == (fix_header(a.head, "connection") != NULL));
	}
	assert_true(fix_ended(fd));
	close(fd);
	fix_close();
}

static void test_max_duration(void **state)
{
	int fd;

	(void)state;
	fix_server(zero);
	fix_open_http("common_http_protocol_options: {max_connection_duration: 0.2s}, drain_timeout: 0.1s,", FIX_ROUTE, "", 1, 1);
	fd = fix_dial();
	get(fd, "/");
	assert_true(fix_ended(fd));
	close(fd);
	fix_close();
}

/* What is asked while it drains is answered still; who never said anything is not waited for. */
static void drains(const char *hcm)
{
	int fd, silent;

	fix_server(zero);
	fix_open_http(hcm, FIX_ROUTE, "", 1, 1);
	fd = fix_dial();
	get(fd, "/");
	assert_null(fix_header(a.head, "connection"));
	silent = fix_dial(); /* its time is over after the other's */
	assert_true(fix_ended(silent));
	get(fd, "/");
	assert_string_equal(fix_header(a.head, "connection"), "close");
	get(fd, "/"); /* it is the client that goes, until drain_timeout */
	assert_string_equal(fix_header(a.head, "connection"), "close");
	assert_true(fix_ended(fd));
	close(fd);
	close(silent);
	fix_close();
}

static void test_drains(void **state)
{
	(void)state;
	drains("common_http_protocol_options: {idle_timeout: 0.2s}, drain_timeout: 1s,");
	drains("common_http_protocol_options: {max_connection_duration: 0.2s}, drain_timeout: 1s,");
}

/* The agent's share of an idle captured connection. */
static void test_memory(void **state)
{
	(void)state;
	assert_true(sizeof(struct down) + sizeof(struct weft_conn_limits) + 2 * 16 < 1024);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FIX_TEST(test_flips),	     FIX_TEST(test_endpoint_leaves), FIX_TEST(test_listener_leaves),
		FIX_TEST(test_idle),	     FIX_TEST(test_max_requests),    FIX_TEST(test_max_duration),
		FIX_TEST(test_drains),	     cmocka_unit_test(test_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
