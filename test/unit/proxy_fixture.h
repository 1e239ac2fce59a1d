// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The proxy in this process, on loopback: a configuration compiled on heap memory, upstreams that are threads and do
 * what their script says, clients that are plain sockets. No kernel part: `orig_take` hands out fix.dst.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/offline.h"
#include "agent/proxy/proxy.h"
#include "bpf/engine/engine.h"
#include "xds/file.h"

#define FIX_POD 3u
#define FIX_ANSWER_MAX (1u << 16)
#define FIX_CALLS_MAX 64

/* One upstream: a listening socket and a thread per connection that runs `serve` on it. */
struct fix_server {
	int fd;
	uint16_t port;
	pthread_t thread;
	void (*serve)(int fd);
	pthread_t call[FIX_CALLS_MAX];
	int call_fd[FIX_CALLS_MAX];
	unsigned int calls; /* connections taken */
};

static struct {
	struct weft_offline offline;
	struct weft_proxy *proxy;
	pthread_mutex_t lock;
	struct weft_orig dst; /* under lock */
	struct weft_orig_key key; /* under lock: of the connection accepted last */
	uint16_t port4[WEFT_LISTEN_PORTS], port6[WEFT_LISTEN_PORTS];
	bool six; /* the pod has ::1 too; set before fix_open() */
	struct fix_server server[4];
	unsigned int servers;
	unsigned int released;
	int exempt_error; /* atomic: what opening an upstream connection fails with */
	uintptr_t stack_low, stack_high; /* atomics: of the worker (one alone) when it failed so */
	bool skip;
} fix = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* ---- sockets ---- */

static inline int fix_bind(int family, uint16_t *ret_port)
{
	struct sockaddr_in6 a6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	struct sockaddr_in a4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sockaddr *a = family == AF_INET ? (void *)&a4 : (void *)&a6;
	socklen_t len = family == AF_INET ? sizeof(a4) : sizeof(a6);
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, a, len), 0);
	assert_int_equal(getsockname(fd, a, &len), 0);
	*ret_port = ntohs(family == AF_INET ? a4.sin_port : a6.sin6_port);
	return fd;
}

/* A client's connection; a read that takes more than ten seconds fails the test. */
static inline int fix_dial_to(const void *addr, socklen_t len)
{
	struct timeval limit = {.tv_sec = 10};
	int fd = socket(((const struct sockaddr *)addr)->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	assert_int_equal(connect(fd, addr, len), 0);
	return fd;
}

/* To the proxy. */
static inline int fix_dial(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET,
				.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
				.sin_port = htons(fix.port4[0])};

	return fix_dial_to(&a, sizeof(a));
}

static inline void fix_send(int fd, const void *bytes, size_t n)
{
	for (size_t at = 0; at < n;) {
		ssize_t k = send(fd, (const char *)bytes + at, n - at, MSG_NOSIGNAL);

		assert_true(k > 0);
		at += (size_t)k;
	}
}

static inline void fix_say(int fd, const char *text)
{
	fix_send(fd, text, strlen(text));
}

/* true: nothing more comes (FIN, or RST). */
static inline bool fix_ended(int fd)
{
	char c;
	ssize_t n = recv(fd, &c, 1, 0);

	return !n || (n < 0 && errno == ECONNRESET);
}

/* RST, and the number stays open. */
static inline void fix_reset(int fd)
{
	struct sockaddr none = {.sa_family = AF_UNSPEC};

	connect(fd, &none, sizeof(none));
}

/* Nothing comes for a while. */
static inline bool fix_silent(int fd, int ms)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return !poll(&p, 1, ms);
}

/*
 * Sends the block again and again until nobody has taken any of it for half a second, or `most` bytes are out. How many
 * were: what the kernel's buffers hold, and what the reader took.
 */
static inline size_t fix_pour(int fd, const char *block, size_t n, size_t most)
{
	struct pollfd p = {.fd = fd, .events = POLLOUT};
	size_t sent = 0;

	while (sent < most && poll(&p, 1, 500) == 1) {
		ssize_t k = send(fd, block + sent % n, n - sent % n, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (k <= 0)
			break;
		sent += (size_t)k;
	}
	return sent;
}
/* More than two sockets' buffers take. */
#define FIX_POUR_MOST (48u << 20)

static inline void fix_sleep(long ms)
{
	struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

	nanosleep(&t, NULL);
}

static inline uint64_t fix_now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* ---- answers ---- */

struct fix_answer {
	unsigned int status;
	char head[8192]; /* lower and upper case as it came, zero terminated */
	char body[FIX_ANSWER_MAX];
	size_t len; /* of the body; further bytes are counted, not kept */
};

/* Byte by byte: nothing of the next answer is taken. */
static inline size_t fix_head_read(int fd, char *to, size_t cap)
{
	size_t n = 0;

	while (n + 1 < cap && recv(fd, to + n, 1, 0) == 1) {
		to[++n] = '\0';
		if (n >= 4 && !memcmp(to + n - 4, "\r\n\r\n", 4))
			return n;
	}
	return 0;
}

/* Value of a header, in a static buffer; NULL: not there. */
static inline const char *fix_header(const char *head, const char *name)
{
	static _Thread_local char value[8192];
	size_t n = strlen(name);

	for (const char *p = strchr(head, '\n'); p && *++p; p = strchr(p, '\n')) {
		if (strncasecmp(p, name, n) || p[n] != ':')
			continue;
		p += n + 1 + (p[n + 1] == ' ');
		snprintf(value, sizeof(value), "%.*s", (int)strcspn(p, "\r\n"), p);
		return value;
	}
	return NULL;
}

static inline void fix_body_add(struct fix_answer *a, int fd, size_t n)
{
	char block[4096];

	while (n) {
		ssize_t k = recv(fd, block, n < sizeof(block) ? n : sizeof(block), 0);

		assert_true(k > 0);
		if (a->len + (size_t)k < sizeof(a->body))
			memcpy(a->body + a->len, block, (size_t)k);
		a->len += (size_t)k;
		n -= (size_t)k;
	}
}

static inline size_t fix_line_size(int fd)
{
	char line[64];
	size_t n = 0;

	while (n + 1 < sizeof(line) && recv(fd, line + n, 1, 0) == 1 && line[n++] != '\n')
		;
	line[n] = '\0';
	return strtoul(line, NULL, 16);
}

/* A whole answer, length or chunks. false: the connection ended before its head did. */
static inline bool fix_hear_of(int fd, struct fix_answer *a, bool head_method)
{
	const char *v;

	*a = (struct fix_answer){0};
	if (!fix_head_read(fd, a->head, sizeof(a->head)))
		return false;
	assert_memory_equal(a->head, "HTTP/1.1 ", 9);
	a->status = (unsigned int)strtoul(a->head + 9, NULL, 10);
	if (head_method || a->status / 100 == 1 || a->status == 204 || a->status == 304)
		return true;
	v = fix_header(a->head, "content-length");
	if (v)
		fix_body_add(a, fd, strtoul(v, NULL, 10));
	v = fix_header(a->head, "transfer-encoding");
	for (size_t n; v && (n = fix_line_size(fd));) {
		fix_body_add(a, fd, n);
		fix_line_size(fd);
	}
	if (v)
		fix_line_size(fd);
	a->body[a->len < sizeof(a->body) ? a->len : sizeof(a->body) - 1] = '\0';
	return true;
}

static inline bool fix_hear(int fd, struct fix_answer *a)
{
	return fix_hear_of(fd, a, false);
}

/* ---- upstreams ---- */

/* Words that workers change meanwhile. */
#define FIX_LOAD(word) __atomic_load_n(&(word), __ATOMIC_ACQUIRE)

struct fix_call {
	struct fix_server *s;
	int fd;
};

static inline void *fix_call_run(void *arg)
{
	struct fix_call c = *(struct fix_call *)arg;

	free(arg);
	c.s->serve(c.fd);
	shutdown(c.fd, SHUT_RDWR); /* closed when the thread is joined: its number stays its own */
	return NULL;
}

static inline void *fix_server_run(void *arg)
{
	struct fix_server *s = arg;

	for (;;) {
		int fd = accept(s->fd, NULL, NULL);
		struct fix_call *c;
		unsigned int i = __atomic_load_n(&s->calls, __ATOMIC_RELAXED);

		if (fd < 0)
			return NULL;
		c = malloc(sizeof(*c));
		if (!c || i == FIX_CALLS_MAX)
			abort();
		*c = (struct fix_call){s, fd};
		s->call_fd[i] = fd;
		/* counted before it is served: who has an answer sees the call */
		__atomic_store_n(&s->calls, i + 1, __ATOMIC_RELEASE);
		pthread_create(&s->call[i], NULL, fix_call_run, c);
	}
}

/* Its number; the port is fix.server[n].port. Without `serve` it refuses every connection. */
static inline unsigned int fix_server_on(int family, void (*serve)(int fd))
{
	struct fix_server *s = &fix.server[fix.servers];

	*s = (struct fix_server){.serve = serve};
	s->fd = fix_bind(family, &s->port);
	if (serve) {
		assert_int_equal(listen(s->fd, 128), 0);
		assert_int_equal(pthread_create(&s->thread, NULL, fix_server_run, s), 0);
	}
	return fix.servers++;
}

static inline unsigned int fix_server(void (*serve)(int fd))
{
	return fix_server_on(AF_INET, serve);
}

static inline unsigned int fix_calls(unsigned int n)
{
	return __atomic_load_n(&fix.server[n].calls, __ATOMIC_ACQUIRE);
}

static inline void fix_servers_stop(void)
{
	for (unsigned int i = 0; i < fix.servers; i++) {
		struct fix_server *s = &fix.server[i];

		shutdown(s->fd, SHUT_RDWR);
		if (s->serve)
			pthread_join(s->thread, NULL);
		for (unsigned int k = 0; k < s->calls; k++) {
			shutdown(s->call_fd[k], SHUT_RDWR);
			pthread_join(s->call[k], NULL);
			close(s->call_fd[k]);
		}
		close(s->fd);
	}
	fix.servers = 0;
}

/* ---- the proxy ---- */

static int fix_orig_take(void *ctx, const struct weft_orig_key *key, struct weft_orig *ret)
{
	(void)ctx;
	pthread_mutex_lock(&fix.lock);
	*ret = fix.dst;
	fix.key = *key;
	pthread_mutex_unlock(&fix.lock);
	return ret->dst.port ? 0 : -ENOENT;
}

static int fix_exempt(void *ctx, int fd)
{
	uintptr_t here = (uintptr_t)__builtin_frame_address(0);
	int r = __atomic_load_n(&fix.exempt_error, __ATOMIC_ACQUIRE);

	(void)ctx;
	if (r && (!fix.stack_low || here < fix.stack_low))
		__atomic_store_n(&fix.stack_low, here, __ATOMIC_RELAXED);
	if (r && here > fix.stack_high)
		__atomic_store_n(&fix.stack_high, here, __ATOMIC_RELAXED);
	return fd < 0 ? -EBADF : r;
}

static void fix_slot_release(void *ctx, uint32_t slot, uint32_t gen)
{
	(void)ctx;
	(void)slot;
	(void)gen;
	__atomic_fetch_add(&fix.released, 1, __ATOMIC_RELAXED);
}

static inline struct weft_addr fix_addr(const char *v4)
{
	struct weft_addr a = {.w = {0, 0, htonl(0xffff), inet_addr(v4)}};

	return a;
}

static inline struct weft_addr fix_addr6(const char *v6)
{
	struct weft_addr a;

	assert_int_equal(inet_pton(AF_INET6, v6, a.w), 1);
	return a;
}

/* What the connections that follow asked for. */
static inline void fix_dst(const char *ip, uint16_t port)
{
	bool six = strchr(ip, ':');

	pthread_mutex_lock(&fix.lock);
	fix.dst = (struct weft_orig){.dst = {.addr = six ? fix_addr6(ip) : fix_addr(ip),
					     .port = port,
					     .family = six ? AF_INET6 : AF_INET},
				     .pod = FIX_POD};
	pthread_mutex_unlock(&fix.lock);
}

static inline void fix_config(const char *yaml)
{
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;
	char path[] = "/tmp/weft-proxy-XXXXXX.yaml";
	int fd = mkstemps(path, 5), r;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, yaml, strlen(yaml)), (ssize_t)strlen(yaml));
	close(fd);
	r = weft_offline_open(path, 4u << 20, true, &diag, &fix.offline);
	unlink(path);
	for (size_t i = 0; r && i < diag.n; i++)
		print_message("%s: %s: %s\n", diag.entries[i].resource, diag.entries[i].field,
			      diag.entries[i].reason);
	assert_int_equal(r, 0);
	memcpy(weft_state_head()->date[0], "Sun, 06 Nov 1994 08:49:37 GMT", 30);
}

/* Puts another configuration into force. */
static inline void fix_publish(const char *yaml)
{
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;
	struct weft_snapshot *next = NULL;
	char path[] = "/tmp/weft-proxy-XXXXXX.yaml";
	int fd = mkstemps(path, 5);
	struct weft_view_input input = {0};

	assert_int_equal(write(fd, yaml, strlen(yaml)), (ssize_t)strlen(yaml));
	close(fd);
	assert_int_equal(weft_file_load(path, 1, &diag, &next), 0);
	unlink(path);
	input.snapshot = next;
	assert_int_equal(weft_compiler_publish(fix.offline.compiler, &input, 1, &diag), 0);
	weft_snapshot_free(fix.offline.snapshot);
	fix.offline.snapshot = next;
	weft_store_reclaim(fix.offline.store);
}

/* Bytes of the image that are replaced and that somebody still uses. */
static inline uint64_t fix_waiting(void)
{
	struct weft_store_stats s;

	weft_store_reclaim(fix.offline.store);
	weft_store_stats(fix.offline.store, &s);
	return s.waiting_bytes;
}

/* Configures and starts; skips the test where a socket cannot be opened in a named namespace. */
static inline void fix_open(const char *yaml, unsigned int workers)
{
	static const struct weft_proxy_ops ops = {
		.orig_take = fix_orig_take, .exempt = fix_exempt, .slot_release = fix_slot_release};
	struct weft_proxy_config cfg = {.ops = &ops, .workers = workers};
	struct weft_proxy_pod pod = {.id = FIX_POD, .cookie = 1, .addr4 = fix_addr("127.0.0.1")};
	int r;

	if (fix.six)
		pod.addr6 = fix_addr6("::1");
	fix_config(yaml);
	cfg.store = fix.offline.store;
	assert_int_equal(weft_proxy_new(&cfg, &fix.proxy), 0);
	pod.netns_fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	r = weft_proxy_pod_add(fix.proxy, &pod, fix.port4, fix.port6);
	close(pod.netns_fd);
	fix.skip = r == -EPERM;
	assert_true(!r || fix.skip);
	fix_dst("192.0.2.1", 80);
}

/* Every place that was taken has been given back, whatever happened. */
static inline void fix_places_check(void *ctx, uint32_t pod, uint32_t id, uint32_t cell)
{
	(void)ctx;
	(void)pod;
	if (WEFT_ID_KIND(id) == WEFT_CELL_CLUSTER) {
		const struct weft_cell_cluster *c = weft_cell_cluster(cell);

		for (int p = 0; p < 2; p++) {
			assert_int_equal(c->cx_active[p], 0);
			assert_int_equal(c->rq_pending[p], 0);
			assert_int_equal(c->rq_active[p], 0);
			assert_int_equal(c->retry_active[p], 0);
		}
		assert_int_equal(c->cx_idle, 0);
	} else if (WEFT_ID_KIND(id) == WEFT_CELL_ENDPOINT) {
		assert_int_equal(weft_cell_endpoint(cell)->rq_active, 0);
		assert_int_equal(weft_cell_endpoint(cell)->cx_active, 0);
	}
}

static inline void fix_close(void)
{
	weft_proxy_free(fix.proxy);
	fix.proxy = NULL;
	weft_store_cells_each(fix.offline.store, fix_places_check, NULL);
	weft_offline_close(&fix.offline);
	fix.offline = (struct weft_offline){0};
	fix_servers_stop();
	fix.released = 0;
	fix.stack_low = fix.stack_high = 0;
	__atomic_store_n(&fix.exempt_error, 0, __ATOMIC_RELEASE);
}

/* After each test: what one that failed has left. */
static inline int fix_teardown(void **state)
{
	(void)state;
	weft_proxy_free(fix.proxy);
	fix.proxy = NULL;
	weft_offline_close(&fix.offline);
	fix.offline = (struct weft_offline){0};
	fix_servers_stop();
	__atomic_store_n(&fix.exempt_error, 0, __ATOMIC_RELEASE);
	return 0;
}
#define FIX_TEST(name) cmocka_unit_test_teardown(name, fix_teardown)

static inline void fix_places_first(void *ctx, uint32_t pod, uint32_t id, uint32_t cell)
{
	(void)pod;
	if (WEFT_ID_KIND(id) == WEFT_CELL_CLUSTER)
		*(struct weft_cell_cluster **)ctx = weft_cell_cluster(cell);
}
/* The cell of the only cluster; NULL before its first request. */
static inline struct weft_cell_cluster *fix_cluster(void)
{
	struct weft_cell_cluster *c = NULL;

	weft_store_cells_each(fix.offline.store, fix_places_first, &c);
	return c;
}

#define FIX_ROUTER                                                                                    \
	"http_filters: [{name: r, typed_config: {\"@type\": type.googleapis.com/envoy.extensions.filters.http." \
	"router.v3.Router}}],"

/*
 * One listener 192.0.2.1:80 for HTTP with `hcm` (further fields, flow style, each followed by a comma) and `routes` (a
 * flow list), one cluster "up" with `cluster` (further fields, each after a comma) and the endpoints of `n` servers.
 */
static inline const char *fix_http_yaml(const char *hcm, const char *routes, const char *cluster, unsigned int n)
{
	static char yaml[16384];
	char endpoints[512] = "";

	for (unsigned int i = 0; i < n; i++)
		snprintf(endpoints + strlen(endpoints), sizeof(endpoints) - strlen(endpoints),
			 "%s{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: %u}}}}",
			 i ? ", " : "", fix.server[i].port);
	snprintf(yaml, sizeof(yaml),
		 "static_resources:\n"
		 "  listeners:\n"
		 "  - name: main\n"
		 "    address: {socket_address: {address: 192.0.2.1, port_value: 80}}\n"
		 "    filter_chains:\n"
		 "    - filters:\n"
		 "      - name: hcm\n"
		 "        typed_config: {\"@type\": type.googleapis.com/envoy.extensions.filters.network."
		 "http_connection_manager.v3.HttpConnectionManager, stat_prefix: s, %s%s\n"
		 "          route_config: {virtual_hosts: [{name: v, domains: [\"*\"], "
		 "include_request_attempt_count: true, routes: [%s]}]}}\n"
		 "  clusters:\n"
		 "  - {name: up, type: STATIC%s,\n"
		 "     load_assignment: {cluster_name: up, endpoints: [{lb_endpoints: [%s]}]}}\n",
		 hcm, strstr(hcm, "http_filters: ") ? "" : FIX_ROUTER, routes, cluster, endpoints);
	return yaml;
}

static inline void fix_open_http(const char *hcm, const char *routes, const char *cluster, unsigned int n,
				 unsigned int workers)
{
	fix_open(fix_http_yaml(hcm, routes, cluster, n), workers);
}
#define FIX_ROUTE "{match: {prefix: /}, route: {cluster: up}}"

/*
 * One port for HTTP, which goes to server `web`, and for what is not, which goes to server `raw`; taken for the latter
 * after 0.2 s of silence.
 */
static inline void fix_open_sniffed(unsigned int raw, unsigned int web)
{
	char yaml[4096];

	snprintf(yaml, sizeof(yaml),
		 "static_resources:\n"
		 "  listeners:\n"
		 "  - name: both\n"
		 "    address: {socket_address: {address: 192.0.2.1, port_value: 80}}\n"
		 "    listener_filters_timeout: 0.2s\n"
		 "    continue_on_listener_filters_timeout: true\n"
		 "    listener_filters: [{name: envoy.filters.listener.http_inspector, typed_config: {\"@type\": type."
		 "googleapis.com/envoy.extensions.filters.listener.http_inspector.v3.HttpInspector}}]\n"
		 "    filter_chains:\n"
		 "    - {filter_chain_match: {application_protocols: [\"http/1.1\"], transport_protocol: raw_buffer}, filters: [{name: h, typed_config: "
		 "{\"@type\": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3."
		 "HttpConnectionManager, stat_prefix: s, http_filters: [{name: r, typed_config: {\"@type\": type."
		 "googleapis.com/envoy.extensions.filters.http.router.v3.Router}}], route_config: {virtual_hosts: [{name: v, "
		 "domains: [\"*\"], routes: [{match: {prefix: /}, route: {cluster: web}}]}]}}}]}\n"
		 "    - {filter_chain_match: {transport_protocol: raw_buffer}, filters: [{name: t, typed_config: {\"@type\": type.googleapis.com/envoy.extensions.filters.network."
		 "tcp_proxy.v3.TcpProxy, stat_prefix: t, cluster: raw}}]}\n"
		 "  clusters:\n"
		 "  - {name: raw, type: STATIC, load_assignment: {cluster_name: raw, endpoints: [{lb_endpoints: [{endpoint: "
		 "{address: {socket_address: {address: 127.0.0.1, port_value: %u}}}}]}]}}\n"
		 "  - {name: web, type: STATIC, load_assignment: {cluster_name: web, endpoints: [{lb_endpoints: [{endpoint: "
		 "{address: {socket_address: {address: 127.0.0.1, port_value: %u}}}}]}]}}\n",
		 fix.server[raw].port, fix.server[web].port);
	fix_open(yaml, 1);
}
