// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The proxy in this process, on loopback: a configuration compiled on heap memory, and upstreams
 * that are threads and do what their script says. No kernel part: `orig_take` hands out fix.dst.
 */

#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include "agent/offline.h"
#include "agent/proxy/proxy.h"
#include "bpf/engine/engine.h"
#include "test/unit/proxy_client.h"
#include "xds/file.h"

#define FIX_POD 3u
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
	struct weft_orig dst;	  /* under lock */
	struct weft_orig_key key; /* under lock: of the connection accepted last */
	uint16_t port4[WEFT_LISTEN_PORTS], port6[WEFT_LISTEN_PORTS];
	bool six; /* the pod has ::1 too; set before fix_open() */
	const char *access_dir; /* of access logs; the same */
	struct fix_server server[4];
	unsigned int servers;
	unsigned int released;
	int exempt_error; /* atomic: what opening an upstream connection fails with */
	uintptr_t stack_low, stack_high; /* atomics: of the worker (one alone) when it failed so */
	bool skip;
} fix = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* To the proxy. */
static inline int fix_dial(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET,
				.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
				.sin_port = htons(fix.port4[0])};

	return fix_dial_to(&a, sizeof(a));
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
	struct weft_proxy_config cfg = {
		.ops = &ops, .workers = workers, .access_dir = fix.access_dir};
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
