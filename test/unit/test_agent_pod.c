// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <net/if.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/enroll/pod.h"

/* The order in which proxy and kernel are told, as text. */
struct fake {
	char order[512];
	int proxy_result, kernel_result;
	struct weft_pod entry;
};

static void note(struct fake *f, const char *what, uint64_t n)
{
	size_t len = strlen(f->order);

	snprintf(f->order + len, sizeof(f->order) - len, "%s%llu ", what, (unsigned long long)n);
}

static int proxy_add(void *ctx, const struct weft_proxy_pod *pod, uint16_t port4[WEFT_LISTEN_PORTS],
		     uint16_t port6[WEFT_LISTEN_PORTS])
{
	struct fake *f = ctx;

	note(f, "listen", pod->id);
	memset(port4, 0, sizeof(uint16_t) * WEFT_LISTEN_PORTS);
	memset(port6, 0, sizeof(uint16_t) * WEFT_LISTEN_PORTS);
	port4[0] = 4000;
	return f->proxy_result;
}

static int proxy_remove(void *ctx, uint32_t id, uint32_t drain_ms)
{
	(void)drain_ms;
	note(ctx, "unlisten", id);
	return 0;
}

static int kernel_set(void *ctx, uint64_t cookie, const struct weft_pod *pod)
{
	struct fake *f = ctx;

	(void)cookie;
	note(f, "enter", pod->id);
	f->entry = *pod;
	return f->kernel_result;
}

static int kernel_del(void *ctx, uint64_t cookie)
{
	(void)cookie;
	note(ctx, "leave", 0);
	return 0;
}

static void gone(void *ctx, uint32_t id)
{
	note(ctx, "gone", id);
}

static struct weft_pods *pods_new(struct fake *f)
{
	const struct weft_pods_ops ops = {.proxy_add = proxy_add,
					  .proxy_remove = proxy_remove,
					  .kernel_set = kernel_set,
					  .kernel_del = kernel_del,
					  .gone = gone,
					  .ctx = f};
	struct weft_pods *p;

	memset(f, 0, sizeof(*f));
	assert_int_equal(weft_pods_new(&ops, &p), 0);
	return p;
}

/* A new network namespace with loopback up, as a descriptor; only the helper thread is ever inside.
 */
static void *netns_thread(void *arg)
{
	struct ifreq ifr = {.ifr_name = "lo", .ifr_flags = IFF_UP};
	int fd;

	*(int *)arg = -1;
	if (unshare(CLONE_NEWNET) < 0)
		return NULL;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	ioctl(fd, SIOCSIFFLAGS, &ifr);
	close(fd);
	*(int *)arg = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	return NULL;
}

static int netns_new(void)
{
	pthread_t thread;
	int fd = -1;

	pthread_create(&thread, NULL, netns_thread, &fd);
	pthread_join(thread, NULL);
	return fd;
}

static bool root_missing(void)
{
	int fd = netns_new();

	if (fd < 0)
		return true;
	close(fd);
	return false;
}

#define NEED_ROOT                                                                                  \
	do {                                                                                       \
		if (root_missing())                                                                \
			skip();                                                                    \
	} while (0)

static struct weft_pod_spec spec_of(const char *name, int netns_fd)
{
	return (struct weft_pod_spec){.name = name,
				      .ns = "default",
				      .service_account = "sa",
				      .netns_fd = netns_fd,
				      .pid_fd = -1};
}

static void test_order(void **state)
{
	struct fake f;
	struct weft_pods *p = pods_new(&f);
	struct weft_pod_spec spec = spec_of("a", -1);
	struct weft_diag diag = WEFT_DIAG_INIT;
	struct weft_pod_info info;
	uint32_t id = 0;

	(void)state;
	NEED_ROOT;
	spec.netns_fd = netns_new();
	assert_int_equal(weft_pods_add(p, &spec, &diag, &id), 0);
	assert_int_equal(id, 1);
	assert_string_equal(f.order, "listen1 enter1 ");
	/* Only loopback is there. */
	assert_int_equal(f.entry.addr4.w[3], htonl(0x7f000001));
	assert_int_equal(f.entry.port4[0], 4000);
	assert_int_equal(weft_pods_find(p, "default/a", &info), 0);
	assert_true(info.cookie != 0);
	assert_int_equal(weft_pods_remove(p, "default", "a", 500, 1000), 0);
	assert_string_equal(f.order, "listen1 enter1 leave0 unlisten1 ");
	assert_int_equal(weft_pods_find(p, "a", &info), -ENOENT);
	assert_int_equal(weft_pods_remove(p, "default", "a", 0, 1000), -ENOENT);
	weft_pods_free(p);
}

static bool complete(void *ctx, const struct weft_pod_info *pod)
{
	return pod->view == *(const uint32_t *)ctx;
}

/* A pod is held until its view is complete; an entry that cannot be written is tried again. */
static void test_held(void **state)
{
	struct fake f;
	struct weft_pods *p = pods_new(&f);
	struct weft_pod_spec spec = spec_of("a", -1);
	struct weft_diag diag = WEFT_DIAG_INIT;
	struct weft_pod_info info;
	uint32_t id = 0, done = 6;

	(void)state;
	NEED_ROOT;
	spec.netns_fd = netns_new();
	spec.view = 5;
	spec.held = true;
	assert_int_equal(weft_pods_add(p, &spec, &diag, &id), 0);
	assert_int_equal(f.entry.flags, WEFT_POD_HELD);
	assert_int_equal(f.entry.view, 5);
	weft_pods_release(p, complete, &done);
	assert_int_equal(f.entry.flags, WEFT_POD_HELD);
	done = 5;
	f.kernel_result = -ENOMEM;
	weft_pods_release(p, complete, &done);
	assert_int_equal(weft_pods_find(p, "a", &info), 0);
	assert_true(info.held);
	f.kernel_result = 0;
	weft_pods_release(p, complete, &done);
	assert_int_equal(f.entry.flags, 0);
	assert_int_equal(f.entry.port4[0], 4000);
	assert_int_equal(weft_pods_find(p, "a", &info), 0);
	assert_false(info.held);
	weft_pods_free(p);
}

/* An id comes back only when the connections that carry it are gone. */
static void test_id_waits_for_drain(void **state)
{
	struct fake f;
	struct weft_pods *p = pods_new(&f);
	struct weft_pod_spec spec = spec_of("a", -1);
	struct weft_diag diag = WEFT_DIAG_INIT;
	uint32_t id = 0;

	(void)state;
	NEED_ROOT;
	spec.netns_fd = netns_new();
	assert_int_equal(weft_pods_add(p, &spec, &diag, &id), 0);
	assert_int_equal(weft_pods_remove(p, "default", "a", 500, 1000), 0);
	spec.netns_fd = netns_new();
	assert_int_equal(weft_pods_add(p, &spec, &diag, &id), 0);
	assert_int_equal(id, 2);
	weft_pods_check(p, 1499, NULL, NULL);
	assert_null(strstr(f.order, "gone"));
	weft_pods_check(p, 2500, NULL, NULL);
	assert_non_null(strstr(f.order, "gone1"));
	spec = spec_of("b", netns_new());
	assert_int_equal(weft_pods_add(p, &spec, &diag, &id), 0);
	assert_int_equal(id, 1);
	weft_pods_free(p);
}

static void test_twice_is_refused(void **state)
{
	struct fake f;
	struct weft_pods *p = pods_new(&f);
	struct weft_diag diag = WEFT_DIAG_INIT;
	struct weft_pod_spec spec = spec_of("a", -1);
	uint32_t id = 0;
	int other;

	(void)state;
	NEED_ROOT;
	spec.netns_fd = netns_new();
	assert_int_equal(weft_pods_add(p, &spec, &diag, &id), 0);
	other = netns_new();
	spec = spec_of("a", other);
	assert_int_equal(weft_pods_add(p, &spec, &diag, &id), -EEXIST);
	close(other);
	/* The same namespace under another name. */
	spec = spec_of("b", -1);
	{
		struct weft_pod_spec same = spec_of("c", netns_new());
		int copy = dup(same.netns_fd);

		assert_int_equal(weft_pods_add(p, &same, &diag, &id), 0);
		spec.netns_fd = copy;
		assert_int_equal(weft_pods_add(p, &spec, &diag, &id), -EEXIST);
		close(copy);
	}
	assert_int_equal(diag.n, 2);
	assert_string_equal(diag.entries[1].reason,
			    "this network namespace is enrolled as default/c");
	weft_diag_clear(&diag);
	weft_pods_free(p);
}

static void test_kernel_refuses(void **state)
{
	struct fake f;
	struct weft_pods *p = pods_new(&f);
	struct weft_diag diag = WEFT_DIAG_INIT;
	struct weft_pod_spec spec = spec_of("a", -1);
	uint32_t id = 0;
	int fd;

	(void)state;
	NEED_ROOT;
	f.kernel_result = -ENOSPC;
	fd = netns_new();
	spec.netns_fd = fd;
	assert_int_equal(weft_pods_add(p, &spec, &diag, &id), -ENOSPC);
	assert_string_equal(f.order, "listen1 enter1 unlisten1 ");
	close(fd);
	weft_diag_clear(&diag);
	weft_pods_free(p);
}

static void test_names_and_labels(void **state)
{
	struct fake f;
	struct weft_pods *p = pods_new(&f);
	struct weft_diag diag = WEFT_DIAG_INIT;
	struct weft_pod_spec spec = spec_of("", -1);
	char longest[WEFT_POD_NAME_MAX + 2];
	json_t *labels = json_object();
	uint32_t id;

	(void)state;
	assert_int_equal(weft_pods_add(p, &spec, &diag, &id), -EINVAL);
	memset(longest, 'a', sizeof(longest));
	longest[sizeof(longest) - 1] = '\0';
	spec.name = longest;
	assert_int_equal(weft_pods_add(p, &spec, &diag, &id), -EINVAL);
	spec.name = "a/b";
	assert_int_equal(weft_pods_add(p, &spec, &diag, &id), -EINVAL);
	spec.name = "a";
	for (int i = 0; i <= WEFT_POD_LABELS_MAX; i++) {
		char key[16];

		snprintf(key, sizeof(key), "k%d", i);
		json_object_set_new(labels, key, json_string("v"));
	}
	spec.labels = labels;
	assert_int_equal(weft_pods_add(p, &spec, &diag, &id), -EINVAL);
	assert_int_equal(diag.n, 4);
	weft_diag_clear(&diag);
	json_decref(labels);
	weft_pods_free(p);
}

static void test_netns_path_vanishes(void **state)
{
	struct fake f;
	struct weft_pods *p = pods_new(&f);
	struct weft_diag diag = WEFT_DIAG_INIT;
	struct weft_pod_spec spec = spec_of("a", -1);
	char path[] = "/tmp/weft-netns-XXXXXX", proc[64];
	uint32_t id;
	int fd;

	(void)state;
	NEED_ROOT;
	close(mkstemp(path));
	fd = netns_new();
	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
	assert_int_equal(mount(proc, path, NULL, MS_BIND, NULL), 0);
	spec.netns = path;
	spec.netns_fd = fd;
	assert_int_equal(weft_pods_add(p, &spec, &diag, &id), 0);
	weft_pods_check(p, 1, NULL, NULL);
	assert_null(strstr(f.order, "leave"));
	assert_int_equal(umount2(path, MNT_DETACH), 0);
	/* Another file under the same name is another namespace. */
	weft_pods_check(p, 2, NULL, NULL);
	assert_non_null(strstr(f.order, "leave0 unlisten1"));
	unlink(path);
	weft_pods_free(p);
}

static void test_process_ends(void **state)
{
	struct fake f;
	struct weft_pods *p = pods_new(&f);
	struct weft_diag diag = WEFT_DIAG_INIT;
	struct weft_pod_spec spec = spec_of("a", -1);
	uint32_t id;
	pid_t child;

	(void)state;
	NEED_ROOT;
	child = fork();
	if (child == 0) {
		pause();
		_exit(0);
	}
	spec.pid = child;
	spec.pid_fd = (int)syscall(SYS_pidfd_open, child, 0);
	spec.netns_fd = netns_new();
	assert_int_equal(weft_pods_add(p, &spec, &diag, &id), 0);
	weft_pods_check(p, 1, NULL, NULL);
	assert_null(strstr(f.order, "leave"));
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	weft_pods_check(p, 2, NULL, NULL);
	assert_non_null(strstr(f.order, "leave0 unlisten1"));
	weft_pods_free(p);
}

static void test_find_by_namespace(void **state)
{
	struct fake f;
	struct weft_pods *p = pods_new(&f);
	struct weft_diag diag = WEFT_DIAG_INIT;
	struct weft_pod_spec spec;
	struct weft_pod_info info;
	uint32_t id;

	(void)state;
	NEED_ROOT;
	spec = spec_of("a", netns_new());
	assert_int_equal(weft_pods_add(p, &spec, &diag, &id), 0);
	spec = spec_of("a", netns_new());
	spec.ns = "other";
	assert_int_equal(weft_pods_add(p, &spec, &diag, &id), 0);
	assert_int_equal(weft_pods_find(p, "a", &info), -ENOTUNIQ);
	assert_int_equal(weft_pods_find(p, "other/a", &info), 0);
	assert_int_equal(info.id, 2);
	weft_pods_free(p);
}

static void test_as_many_as_there_may_be(void **state)
{
	struct fake f;
	struct weft_pods *p = pods_new(&f);
	struct weft_diag diag = WEFT_DIAG_INIT;
	struct weft_pod_spec spec;
	uint32_t id;
	char name[16];

	(void)state;
	NEED_ROOT;
	/* One namespace under many names, each drained at once but not yet free: ids are used up.
	 */
	for (uint32_t i = 0; i < WEFT_PODS_MAX; i++) {
		snprintf(name, sizeof(name), "p%u", i);
		spec = spec_of(name, open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
		f.order[0] = '\0';
		assert_int_equal(weft_pods_add(p, &spec, &diag, &id), 0);
		assert_int_equal(id, i + 1);
		assert_int_equal(weft_pods_remove(p, "default", name, 1000, 0), 0);
	}
	spec = spec_of("more", open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
	assert_int_equal(weft_pods_add(p, &spec, &diag, &id), -ENOSPC);
	assert_non_null(strstr(diag.entries[0].reason, "the most there may be"));
	close(spec.netns_fd);
	weft_diag_clear(&diag);
	weft_pods_free(p);
}

static void test_json(void **state)
{
	json_t *labels = json_pack("{s:s}", "app", "x"), *j;
	struct weft_pod_info info = {.id = 3,
				     .name = "n",
				     .ns = "d",
				     .service_account = "s",
				     .labels = labels,
				     .cookie = UINT64_MAX,
				     .port4 = {80, 81}};

	(void)state;
	assert_int_equal(weft_addr_parse("10.0.0.1", &info.addr4), 0);
	j = weft_pod_json(&info);
	assert_string_equal(json_string_value(json_object_get(j, "netns_cookie")),
			    "18446744073709551615");
	assert_string_equal(json_string_value(json_object_get(j, "ipv4")), "10.0.0.1");
	assert_int_equal(json_array_size(json_object_get(json_object_get(j, "ports"), "ipv4")), 2);
	assert_null(json_object_get(j, "ipv6"));
	json_decref(j);
	json_decref(labels);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_held),
		cmocka_unit_test(test_id_waits_for_drain),
		cmocka_unit_test(test_twice_is_refused),
		cmocka_unit_test(test_kernel_refuses),
		cmocka_unit_test(test_names_and_labels),
		cmocka_unit_test(test_netns_path_vanishes),
		cmocka_unit_test(test_process_ends),
		cmocka_unit_test(test_find_by_namespace),
		cmocka_unit_test(test_as_many_as_there_may_be),
		cmocka_unit_test(test_json),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
