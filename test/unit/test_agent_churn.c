// SPDX-License-Identifier: Apache-2.0
/*
 * Pods that come and go ten thousand times, through registry, proxy and store, with connections
 * that are open when their pod goes: memory, descriptors, threads and cells stay what they were.
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <sys/socket.h>

#include "agent/cells.h"
#include "agent/enroll/pod.h"
#include "agent/proxy/proxy.h"
#include "test/unit/compile_fixture.h"

#define CHURN 10000
#define WARM 500
/* Pods at one time; the first is in the test's own namespace, where connections are made. */
#define PODS 4
/* What the allocator may keep back in one place or another; a leak of one byte a pod is more. */
#define SLACK 4096

#define TCP_TYPE T("extensions.filters.network.tcp_proxy.v3.TcpProxy")
#define CONFIG                                                                                     \
	LISTENER_80 LISTENER("t", "address: " ADDRESS("10.0.0.2", 81) ",",                         \
			     "{name: t, typed_config: {" TCP_TYPE ", stat_prefix: t, cluster: c}}") \
		ROUTES("{match: {prefix: /c}, route: {cluster: c}}, {match: {prefix: /}, " OK_200  \
		       "}")                                                                        \
			CLUSTER("c", "type: STATIC, load_assignment: {cluster_name: c, endpoints: " \
				     "[{lb_endpoints: [" ENDPOINT("127.0.0.1", 1) "]}]}")

struct world {
	struct conf c;
	struct weft_proxy *proxy;
	struct weft_pods *pods;
	int netns[PODS];
	uint16_t port[PODS]; /* of the pod enrolled in this round */
	int which;
	uint32_t entered, left;
};

static int orig_take(void *ctx, const struct weft_orig_key *key, struct weft_orig *ret)
{
	(void)ctx;
	(void)key;
	*ret = (struct weft_orig){.dst = {.port = 80, .family = AF_INET}, .pod = 1};
	ret->dst.addr.w[2] = htonl(0xffff);
	ret->dst.addr.w[3] = htonl(0x0a000001);
	return 0;
}

static int exempt(void *ctx, int fd)
{
	(void)ctx;
	(void)fd;
	return 0;
}

static void slot_release(void *ctx, uint32_t slot, uint32_t gen)
{
	(void)ctx;
	(void)slot;
	(void)gen;
}

static int listen_in(void *ctx, const struct weft_proxy_pod *pod, uint16_t port4[WEFT_LISTEN_PORTS],
		     uint16_t port6[WEFT_LISTEN_PORTS])
{
	struct world *w = ctx;
	int r;

	weft_cells_make(w->c.store, pod->id, pod->view);
	r = weft_proxy_pod_add(w->proxy, pod, port4, port6);
	w->port[w->which] = port4[0];
	return r;
}

static int unlisten(void *ctx, uint32_t id, uint32_t drain_ms)
{
	return weft_proxy_pod_remove(((struct world *)ctx)->proxy, id, drain_ms);
}

static int enter(void *ctx, uint64_t cookie, const struct weft_pod *pod)
{
	(void)cookie;
	(void)pod;
	((struct world *)ctx)->entered++;
	return 0;
}

static int leave(void *ctx, uint64_t cookie)
{
	(void)cookie;
	((struct world *)ctx)->left++;
	return 0;
}

static void gone(void *ctx, uint32_t id)
{
	weft_store_cells_drop(((struct world *)ctx)->c.store, id);
}

/* Into a new network namespace with loopback up; its descriptor. */
static int netns_enter(void)
{
	int fd;

	if (unshare(CLONE_NEWNET))
		return -1;
	assert_int_equal(system("ip link set lo up"), 0);
	fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

static size_t entries(const char *path)
{
	DIR *d = opendir(path);
	size_t n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

/* The same number twice: threads that were joined are listed a little longer. */
static size_t settled(const char *path)
{
	size_t n = entries(path), before;

	do {
		before = n;
		usleep(50000);
		n = entries(path);
	} while (n != before);
	return n;
}

/* A connection to the pod's listener, with one request answered. It stays open. */
static int connect_and_ask(uint16_t port, const char *request, const char *answer)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char got[1024] = "";

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(send(fd, request, strlen(request), MSG_NOSIGNAL), strlen(request));
	assert_true(recv(fd, got, sizeof(got) - 1, 0) > 0);
	assert_non_null(strstr(got, answer));
	return fd;
}

static void pods_round(struct world *w, int n, int64_t now_ms)
{
	struct weft_diag diag = WEFT_DIAG_INIT;
	char name[PODS][32];
	int fd[2];

	for (int i = 0; i < PODS; i++) {
		struct weft_pod_spec spec = {.ns = "default", .service_account = "sa",
					     .pid_fd = -1};
		uint32_t id;

		snprintf(name[i], sizeof(name[i]), "pod-%d-%d", n, i);
		spec.name = name[i];
		spec.netns_fd = fcntl(w->netns[i], F_DUPFD_CLOEXEC, 0);
		w->which = i;
		assert_int_equal(weft_pods_add(w->pods, &spec, &diag, &id), 0);
		assert_in_range(id, 1, PODS);
	}
	fd[0] = connect_and_ask(w->port[0], "GET / HTTP/1.1\r\nhost: a\r\n\r\n", "200 OK");
	fd[1] = connect_and_ask(w->port[0], "GET /c HTTP/1.1\r\nhost: a\r\n\r\n", "503 ");
	for (int i = 0; i < PODS; i++)
		assert_int_equal(weft_pods_remove(w->pods, "default", name[i], 0, now_ms), 0);
	close(fd[0]);
	close(fd[1]);
	weft_pods_check(w->pods, now_ms + 60000, NULL, NULL);
	weft_compiler_reclaim(w->c.compiler);
}

static void world_open(struct world *w)
{
	const struct weft_proxy_ops proxy_ops = {
		.orig_take = orig_take, .exempt = exempt, .slot_release = slot_release};
	const struct weft_pods_ops ops = {.proxy_add = listen_in,
					  .proxy_remove = unlisten,
					  .kernel_set = enter,
					  .kernel_del = leave,
					  .gone = gone,
					  .ctx = w};
	struct weft_proxy_config cfg = {.ops = &proxy_ops, .workers = 1};

	conf_open(&w->c);
	conf_ok(&w->c, CONFIG);
	cfg.store = w->c.store;
	assert_int_equal(weft_proxy_new(&cfg, &w->proxy), 0);
	assert_int_equal(weft_pods_new(&ops, &w->pods), 0);
}

static void test_pods_without_end(void **state)
{
	size_t heap = 0, fds = 0, threads = 0;
	struct weft_store_stats mem;
	struct world w = {0};
	int n = 0;

	(void)state;
	for (int i = PODS; i--;) {
		w.netns[i] = netns_enter(); /* the first one last: the test stays in it */
		if (w.netns[i] < 0)
			skip();
	}
	world_open(&w);
	for (; n * PODS < CHURN; n++) {
		if (n * PODS == WARM) {
			heap = mallinfo2().uordblks;
			fds = settled("/proc/self/fd");
			threads = settled("/proc/self/task");
		}
		pods_round(&w, n, 1000 + 100000ll * n);
	}
	assert_int_equal(w.entered, CHURN);
	assert_int_equal(w.left, CHURN);
	assert_in_range(settled("/proc/self/fd"), 0, fds);
	assert_in_range(settled("/proc/self/task"), 0, threads);
	print_message("heap %zu, then %zu\n", heap, mallinfo2().uordblks);
	assert_in_range(mallinfo2().uordblks, 0, heap + SLACK);
	weft_store_stats(w.c.store, &mem);
	assert_int_equal(mem.cells_used, 0);
	assert_int_equal(mem.full, 0);
	weft_pods_free(w.pods);
	weft_proxy_free(w.proxy);
	conf_close(&w.c);
	for (int i = 0; i < PODS; i++)
		close(w.netns[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_pods_without_end)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
