// SPDX-License-Identifier: Apache-2.0
/*
 * Families of addresses: listeners of the pod, clients, what they asked for, endpoints, and clusters that lead there
 * (ORIGINAL_DST). IPv4 through an IPv6 socket is IPv4 everywhere.
 */
#include "proxy_fixture.h"

#include <jansson.h>

static struct fix_answer a;

/* Answers HTTP with the request's path; /ws is upgraded, and what is no HTTP comes back, after "ws:". */
static void serve(int fd)
{
	char head[8192], text[256];
	ssize_t n;

	for (;;) {
		n = recv(fd, text, 4, MSG_PEEK | MSG_WAITALL);
		if (n == 4 && !memcmp(text, "GET ", 4) && fix_head_read(fd, head, sizeof(head))) {
			if (strstr(head, "GET /ws "))
				break;
			n = snprintf(text, sizeof(text), "HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%.*s",
				     (int)strcspn(head + 4, " "), (int)strcspn(head + 4, " "), head + 4);
			send(fd, text, (size_t)n, MSG_NOSIGNAL);
			continue;
		}
		if (n <= 0)
			return;
		break;
	}
	if (n == 4 && !memcmp(text, "GET ", 4))
		fix_say(fd, "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n");
	fix_say(fd, "ws:");
	while ((n = recv(fd, text, sizeof(text), 0)) > 0)
		fix_send(fd, text, (size_t)n);
}

static void ask(int fd, const char *path)
{
	char text[256];

	snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nhost: a\r\n\r\n", path);
	fix_say(fd, text);
	assert_true(fix_hear(fd, &a));
	assert_int_equal(a.status, 200);
	assert_string_equal(a.body, path);
}

static int dial6(void)
{
	struct sockaddr_in6 to = {.sin6_family = AF_INET6,
				  .sin6_addr = IN6ADDR_LOOPBACK_INIT,
				  .sin6_port = htons(fix.port6[0])};

	return fix_dial_to(&to, sizeof(to));
}

/* IPv4 by an IPv6 socket. */
static int dial_mapped(void)
{
	struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_port = htons(fix.port4[0])};

	assert_int_equal(inet_pton(AF_INET6, "::ffff:127.0.0.1", &to.sin6_addr), 1);
	return fix_dial_to(&to, sizeof(to));
}

#define HTTP                                                                                                        \
	"{name: hcm, typed_config: {\"@type\": type.googleapis.com/envoy.extensions.filters.network."                \
	"http_connection_manager.v3.HttpConnectionManager, stat_prefix: s, upgrade_configs: [{upgrade_type: websocket}], " \
	FIX_ROUTER " route_config: {virtual_hosts: [{name: v, domains: [\"*\"], routes: [" FIX_ROUTE "]}]}}}"
#define TCP                                                                                                         \
	"{name: t, typed_config: {\"@type\": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3."    \
	"TcpProxy, stat_prefix: t, cluster: up}}"

/* One listener and one cluster ("up": the fields behind its name). */
static void start(const char *ip, uint16_t port, const char *filter, const char *cluster)
{
	char yaml[4096];

	snprintf(yaml, sizeof(yaml),
		 "static_resources:\n"
		 "  listeners:\n"
		 "  - {name: main, address: {socket_address: {address: \"%s\", port_value: %u}}, filter_chains: "
		 "[{filters: [%s]}]}\n"
		 "  clusters:\n"
		 "  - {name: up, %s}\n",
		 ip, port, filter, cluster);
	fix.six = true;
	fix_open(yaml, 1);
	fix.six = false;
	fix_dst(ip, port);
}

/* start() with one endpoint on server `n`. */
static void start_at(const char *ip, const char *filter, const char *endpoint, unsigned int n)
{
	char cluster[512];

	snprintf(cluster, sizeof(cluster),
		 "type: STATIC, load_assignment: {cluster_name: up, endpoints: [{lb_endpoints: [{endpoint: {address: "
		 "{socket_address: {address: \"%s\", port_value: %u}}}}]}]}",
		 endpoint, fix.server[n].port);
	start(ip, 80, filter, cluster);
}

static struct weft_orig_key last_key(void)
{
	struct weft_orig_key key;

	pthread_mutex_lock(&fix.lock);
	key = fix.key;
	pthread_mutex_unlock(&fix.lock);
	return key;
}

/* What `dump connections` says of the only connection. */
static void expect_listed(const char *dst, const char *upstream)
{
	json_t *list = weft_proxy_connections(fix.proxy, 10);
	const json_t *one = json_array_get(list, 0);

	assert_int_equal(json_array_size(list), 1);
	assert_string_equal(json_string_value(json_object_get(one, "dst")), dst);
	if (upstream)
		assert_string_equal(json_string_value(json_object_get(one, "upstream")), upstream);
	json_decref(list);
}

static void test_six(void **state)
{
	const struct weft_addr one = fix_addr6("::1");
	struct weft_orig_key key;
	int fd;

	(void)state;
	fix_server_on(AF_INET6, serve);
	start_at("2001:db8::1", HTTP, "::1", 0);
	assert_int_not_equal(fix.port6[0], 0);
	fd = dial6();
	ask(fd, "/one");
	ask(fd, "/two");
	key = last_key();
	assert_int_equal(key.client.family, AF_INET6);
	assert_memory_equal(&key.client.addr, &one, sizeof(one));
	assert_int_equal(key.agent.family, AF_INET6);
	assert_int_equal(key.agent.port, fix.port6[0]);
	assert_memory_equal(&key.agent.addr, &one, sizeof(one));
	expect_listed("[2001:db8::1]:80", NULL);
	assert_int_equal(fix_calls(0), 1);
	close(fd);
	fix_close();
}

/* From one family to the other. */
static void test_across(void **state)
{
	int fd;

	(void)state;
	fix_server(serve);
	start_at("2001:db8::1", HTTP, "127.0.0.1", 0);
	fd = dial6();
	ask(fd, "/x");
	close(fd);
	fix_close();

	fix_server_on(AF_INET6, serve);
	start_at("192.0.2.1", HTTP, "::1", 0);
	fd = fix_dial();
	ask(fd, "/x");
	close(fd);
	fix_close();
}

/* An IPv6 socket that asks for IPv4, and an endpoint written that way: both are IPv4. */
static void test_mapped(void **state)
{
	const struct weft_addr local = fix_addr("127.0.0.1");
	struct weft_orig_key key;
	int fd;

	(void)state;
	fix_server(serve);
	start_at("192.0.2.1", HTTP, "::ffff:127.0.0.1", 0);
	fd = dial_mapped();
	ask(fd, "/x");
	key = last_key();
	assert_int_equal(key.client.family, AF_INET);
	assert_memory_equal(&key.client.addr, &local, sizeof(local));
	assert_int_equal(key.agent.port, fix.port4[0]);
	expect_listed("192.0.2.1:80", NULL);
	close(fd);
	fix_close();
}

#define UPGRADE "GET /ws HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\r\n"

static void hear(int fd, const char *text)
{
	char got[64];

	assert_int_equal(recv(fd, got, strlen(text), MSG_WAITALL), strlen(text));
	assert_memory_equal(got, text, strlen(text));
}

static void test_upgrade_six(void **state)
{
	char upstream[64];
	int fd;

	(void)state;
	fix_server_on(AF_INET6, serve);
	start_at("2001:db8::1", HTTP, "::1", 0);
	fd = dial6();
	ask(fd, "/first");
	fix_say(fd, UPGRADE "early");
	assert_true(fix_hear(fd, &a));
	assert_int_equal(a.status, 101);
	assert_string_equal(fix_header(a.head, "upgrade"), "websocket");
	hear(fd, "ws:early");
	snprintf(upstream, sizeof(upstream), "[::1]:%u", fix.server[0].port);
	expect_listed("[2001:db8::1]:80", upstream);
	fix_say(fd, "more");
	hear(fd, "more");
	shutdown(fd, SHUT_WR); /* the end goes through the tunnel and comes back */
	assert_true(fix_ended(fd));
	close(fd);
	fix_close();
}

static void test_tcp_six(void **state)
{
	int fd;

	(void)state;
	fix_server_on(AF_INET6, serve);
	start_at("2001:db8::1", TCP, "::1", 0);
	fd = dial6();
	fix_say(fd, "bytes");
	hear(fd, "ws:bytes");
	shutdown(fd, SHUT_WR);
	assert_true(fix_ended(fd));
	close(fd);
	fix_close();
}

/* ---- where the app wanted to go (PassthroughCluster) ---- */

#define PASSTHROUGH "type: ORIGINAL_DST, lb_policy: CLUSTER_PROVIDED"

static void through(const char *ip, uint16_t port, int (*dial)(void), const char *listed)
{
	char upstream[64];
	int fd;

	fix_dst(ip, port);
	fd = dial();
	ask(fd, "/x");
	ask(fd, "/y");
	snprintf(upstream, sizeof(upstream), "%s:%u", listed, port);
	expect_listed(upstream, NULL);
	close(fd);
	/* it is gone before the next test looks */
	for (int i = 0; i < 200; i++) {
		json_t *list = weft_proxy_connections(fix.proxy, 10);
		size_t n = json_array_size(list);

		json_decref(list);
		if (!n)
			return;
		fix_sleep(5);
	}
	fail_msg("the connection is still there");
}

/* One wildcard listener, several destinations: each has a pool of its own, kept between connections. */
static void test_original_dst(void **state)
{
	struct weft_proxy_stats s;

	(void)state;
	fix_server(serve);
	fix_server_on(AF_INET6, serve);
	fix_server(serve);
	for (unsigned int n = 0; n < 3; n++) { /* a listener takes one port */
		bool six = n == 1;

		start(six ? "::" : "0.0.0.0", fix.server[n].port, HTTP, PASSTHROUGH);
		through(six ? "::1" : "127.0.0.1", fix.server[n].port, six ? dial6 : n == 2 ? dial_mapped : fix_dial,
			six ? "[::1]" : "127.0.0.1");
		through(six ? "::1" : "127.0.0.1", fix.server[n].port, six ? dial6 : fix_dial,
			six ? "[::1]" : "127.0.0.1");
		assert_int_equal(fix_calls(n), 1); /* the second one takes the first one's connection */
		weft_proxy_stats(fix.proxy, &s);
		assert_int_equal(s.upstream_idle, 1);
		weft_proxy_free(fix.proxy);
		fix.proxy = NULL;
		weft_store_cells_each(fix.offline.store, fix_places_check, NULL);
		weft_offline_close(&fix.offline);
		fix.offline = (struct weft_offline){0};
	}
	fix_servers_stop();
}

/* Two addresses behind one port: nobody gets the other's connection. */
static void test_original_dst_apart(void **state)
{
	int fd, other;

	(void)state;
	fix_server(serve);
	start("0.0.0.0", fix.server[0].port, HTTP, PASSTHROUGH);
	fix_dst("127.0.0.1", fix.server[0].port);
	fd = fix_dial();
	ask(fd, "/x");
	fix_dst("127.0.0.2", fix.server[0].port); /* nobody listens there */
	other = fix_dial();
	fix_say(other, "GET /x HTTP/1.1\r\nhost: a\r\n\r\n");
	assert_true(fix_hear(other, &a));
	assert_int_equal(a.status, 503);
	assert_string_equal(a.body, "upstream connect error or disconnect/reset before headers. reset reason: "
				    "remote connection failure");
	ask(fd, "/y");
	assert_int_equal(fix_calls(0), 1);
	close(fd);
	close(other);
	fix_close();
}

static void test_port_override(void **state)
{
	char cluster[256];
	char upstream[64];
	int fd;

	(void)state;
	for (int tcp = 0; tcp < 2; tcp++) {
		for (int six = 0; six < 2; six++) {
			fix_server_on(six ? AF_INET6 : AF_INET, serve);
			snprintf(cluster, sizeof(cluster),
				 PASSTHROUGH ", original_dst_lb_config: {upstream_port_override: %u}", fix.server[0].port);
			start(six ? "::" : "0.0.0.0", 81, tcp ? TCP : HTTP, cluster);
			fix_dst(six ? "::1" : "127.0.0.1", 81);
			fd = six ? dial6() : fix_dial();
			if (tcp) {
				fix_say(fd, "bytes");
				hear(fd, "ws:bytes");
			} else {
				ask(fd, "/x");
				fix_say(fd, UPGRADE);
				assert_true(fix_hear(fd, &a));
				hear(fd, "ws:");
			}
			snprintf(upstream, sizeof(upstream), "%s:%u", six ? "[::1]" : "127.0.0.1",
				 fix.server[0].port);
			expect_listed(six ? "[::1]:81" : "127.0.0.1:81", upstream);
			close(fd);
			fix_close();
		}
	}
}

static void test_original_dst_tcp(void **state)
{
	int fd;

	(void)state;
	fix_server(serve);
	start("0.0.0.0", fix.server[0].port, TCP, PASSTHROUGH);
	fix_dst("127.0.0.1", fix.server[0].port);
	for (int i = 0; i < 2; i++) {
		fd = i ? dial_mapped() : fix_dial();
		fix_say(fd, "bytes");
		hear(fd, "ws:bytes");
		close(fd);
	}
	assert_int_equal(fix_calls(0), 2);
	fix_close();
}

/* 0: there is IPv6 on loopback. */
static int need_six(void)
{
	struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0), r;

	r = fd < 0 ? -1 : bind(fd, (struct sockaddr *)&to, sizeof(to));
	if (fd >= 0)
		close(fd);
	return r;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FIX_TEST(test_six),	     FIX_TEST(test_across),	    FIX_TEST(test_mapped),
		FIX_TEST(test_upgrade_six),  FIX_TEST(test_tcp_six),	    FIX_TEST(test_original_dst),
		FIX_TEST(test_original_dst_apart), FIX_TEST(test_port_override), FIX_TEST(test_original_dst_tcp),
	};

	if (need_six()) {
		puts("SKIP: ::1 is not there");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
