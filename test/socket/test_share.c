// SPDX-License-Identifier: Apache-2.0
/* What one pod may hold of slots and entries, and that each is given back once. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "world.h"

#define SHARE 8u
#define OTHER_POD 2u
#define THREADS 4
#define ROUNDS 150

static uint32_t slots_of(uint32_t pod)
{
	return __atomic_load_n(&weft_pod_use(pod)->slots, __ATOMIC_ACQUIRE);
}

static uint32_t origs_of(uint32_t pod)
{
	return __atomic_load_n(&weft_pod_use(pod)->origs, __ATOMIC_ACQUIRE);
}

static void pause_ms(long ms)
{
	struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

	nanosleep(&t, NULL);
}

static void wait_slots(uint32_t pod, uint32_t n)
{
	for (int i = 0; i < 300 && slots_of(pod) != n; i++)
		pause_ms(10);
	assert_int_equal(slots_of(pod), n);
}

static void wait_accepted(uint32_t n)
{
	for (int i = 0; i < 300 && __atomic_load_n(&world.accepted, __ATOMIC_ACQUIRE) != n; i++)
		pause_ms(10);
	assert_int_equal(world.accepted, n);
}

/* From here on the connections of this process are that pod's. */
static void be_pod(uint32_t id)
{
	world.pod.id = id;
	assert_int_equal(weft_kernel_pod_set(world.kernel, world.netns, &world.pod), 0);
}

static void nothing_is_held(void)
{
	world_drained();
	for (uint32_t pod = 0; pod <= WEFT_PODS_MAX; pod++) {
		assert_int_equal(slots_of(pod), 0);
		/* what waits to be accepted has an entry, but over the share no slot that says so */
		for (int i = 0; i < 300 && origs_of(pod) != 0; i++)
			pause_ms(10);
		assert_int_equal(origs_of(pod), 0);
	}
}

static int begin(void **state)
{
	(void)state;
	nothing_is_held();
	world.head->pod_slots_max = SHARE;
	return 0;
}

static int end(void **state)
{
	(void)state;
	__atomic_store_n(&world.hold_accept, false, __ATOMIC_RELEASE);
	be_pod(WORLD_POD);
	nothing_is_held();
	world.head->pod_slots_max = 1024;
	world.head->pod_origs_max = 2048;
	return 0;
}

static void hold(void)
{
	__atomic_store_n(&world.hold_accept, true, __ATOMIC_RELEASE);
	pause_ms(100);
}

/* One more than the share is judged by the agent alone; another pod has its own; a close gives a place back. */
static void share_of_slots(void **state)
{
	uint64_t without = world_handed(WEFT_HANDED_POD_SLOTS);
	uint64_t none = world_handed(WEFT_HANDED_NO_SLOT);
	int fd[SHARE], more, other;
	uint32_t decided;

	(void)state;
	for (uint32_t i = 0; i < SHARE; i++) {
		fd[i] = vip_connect(1);
		expect(fd[i], "/deny", 403, false);
	}
	assert_int_equal(slots_of(WORLD_POD), SHARE);
	decided = world.decided;
	more = vip_connect(1);
	expect(more, "/deny", 403, false); /* its answer looks the same, but is the agent's: */
	assert_int_equal(world.decided, decided + 1);
	assert_int_equal(world.last_slot, 0);
	expect(more, "/a", 200, true);
	assert_int_equal(world_handed(WEFT_HANDED_POD_SLOTS), without + 1);
	assert_int_equal(slots_of(WORLD_POD), SHARE);
	decided = world.decided;
	be_pod(OTHER_POD);
	other = vip_connect(1);
	expect(other, "/deny", 403, false);
	assert_int_equal(world.decided, decided);
	assert_int_equal(slots_of(OTHER_POD), 1);
	be_pod(WORLD_POD);
	finish(fd[0]);
	wait_slots(WORLD_POD, SHARE - 1);
	fd[0] = vip_connect(1);
	expect(fd[0], "/deny", 403, false);
	assert_int_equal(world.decided, decided);
	assert_int_equal(slots_of(WORLD_POD), SHARE);
	for (uint32_t i = 0; i < SHARE; i++)
		finish(fd[i]);
	finish(more);
	finish(other);
	assert_int_equal(world_handed(WEFT_HANDED_NO_SLOT), none);
}

/* Runs of a pod's programs that do not end (its quota stops them): its next one has no buffers,
 * another pod's has. */
static void share_of_heads(void **state)
{
	uint32_t *runs = &weft_pod_use(WORLD_POD)->runs, most = world.head->pod_runs_max, decided;
	uint64_t without = world_handed(WEFT_HANDED_NO_HEAD);
	int fd = vip_connect(1), other;

	(void)state;
	expect(fd, "/deny", 403, false);
	assert_int_equal(*runs, 0);
	decided = world.decided;
	*runs = most;
	expect(fd, "/deny", 403, false); /* by the agent */
	assert_int_equal(world.decided, decided + 1);
	assert_int_equal(world_handed(WEFT_HANDED_NO_HEAD), without + 1);
	assert_int_equal(*runs, most);
	be_pod(OTHER_POD);
	other = vip_connect(1);
	expect(other, "/deny", 403, false);
	assert_int_equal(world.decided, decided + 1);
	assert_int_equal(weft_pod_use(OTHER_POD)->runs, 0);
	be_pod(WORLD_POD);
	*runs = 0;
	finish(fd);
	finish(other);
}

/* Connections nobody accepts: the pod that has too many of them loses those, and only it. */
static void share_of_entries(void **state)
{
	uint64_t over = world_handed(WEFT_HANDED_POD_ENTRIES);
	uint32_t unknown = world.not_captured, accepted;
	int fd[4], more, other;
	char byte;

	(void)state;
	hold();
	accepted = world.accepted;
	world.head->pod_origs_max = 4;
	for (int i = 0; i < 4; i++)
		fd[i] = vip_connect(1);
	assert_int_equal(origs_of(WORLD_POD), 4);
	more = vip_connect(1);
	assert_int_equal(world_handed(WEFT_HANDED_POD_ENTRIES), over + 1);
	assert_int_equal(slots_of(WORLD_POD), 4);
	be_pod(OTHER_POD);
	other = vip_connect(1);
	assert_int_equal(origs_of(OTHER_POD), 1);
	assert_int_equal(origs_of(WORLD_POD), 4);
	be_pod(WORLD_POD);
	send_get(more, "/a", "");
	__atomic_store_n(&world.hold_accept, false, __ATOMIC_RELEASE);
	/* never judged, so never forwarded: closed */
	assert_true(recv(more, &byte, 1, 0) <= 0);
	wait_accepted(accepted + 6);
	assert_int_equal(world.not_captured, unknown + 1);
	for (int i = 0; i < 4; i++) {
		expect(fd[i], "/a", 200, true);
		finish(fd[i]);
	}
	expect(other, "/a", 200, true);
	finish(other);
	close(more);
	assert_int_equal(origs_of(WORLD_POD), 0);
}

static uint32_t peak, failed;

static void *come_and_go(void *arg)
{
	struct linger now = {.l_onoff = 1};

	for (int i = 0; i < ROUNDS; i++) {
		int fd[4];
		uint32_t seen;

		for (int k = 0; k < 4; k++) {
			struct sockaddr_in a = vip4(1);

			fd[k] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
			if (connect(fd[k], (struct sockaddr *)&a, sizeof(a)))
				__atomic_add_fetch(&failed, 1, __ATOMIC_RELAXED);
		}
		seen = slots_of(WORLD_POD);
		if (seen > __atomic_load_n(&peak, __ATOMIC_RELAXED))
			__atomic_store_n(&peak, seen, __ATOMIC_RELAXED);
		for (int k = 0; k < 4; k++) {
			if (k % 2)
				setsockopt(fd[k], SOL_SOCKET, SO_LINGER, &now, sizeof(now));
			close(fd[k]);
		}
	}
	return arg;
}

static void exact_together(void **state)
{
	uint64_t over = world_handed(WEFT_HANDED_POD_SLOTS);
	pthread_t t[THREADS];

	(void)state;
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&t[i], NULL, come_and_go, NULL), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	assert_int_equal(failed, 0);
	assert_true(world_handed(WEFT_HANDED_POD_SLOTS) > over);
	assert_in_range(peak, 1, SHARE);
}

/* connect() that fails, or whose socket is closed first, holds nothing. */
static void never_established(void **state)
{
	struct weft_pod pod = world.pod, nowhere = world.pod;
	struct sockaddr_in a = vip4(1);

	(void)state;
	for (int k = 0; k < 2; k++) {
		for (int i = 0; i < (int)WEFT_LISTEN_PORTS && !k; i++)
			nowhere.port4[i] = 9; /* nobody listens */
		if (k)
			nowhere.addr4 = fix_addr4("10.88.77.66"); /* no route */
		assert_int_equal(weft_kernel_pod_set(world.kernel, world.netns, &nowhere), 0);
		for (int i = 0; i < 20; i++) {
			int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

			assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), -1);
			close(fd);
		}
	}
	assert_int_equal(weft_kernel_pod_set(world.kernel, world.netns, &pod), 0);
}

/*
 * The app closes before accept(), its server's end is reset, and its port is used again: the entry that the first left
 * is replaced, and what it held is given back.
 */
static void replaced_entry(void **state)
{
	struct sockaddr_in own = {.sin_family = AF_INET, .sin_port = htons(45600)}, a = vip4(1);
	int one = 1, at_once = -1;

	(void)state;
	hold();
	for (int i = 0; i < 6; i++) {
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
		assert_int_equal(bind(fd, (struct sockaddr *)&own, sizeof(own)), 0);
		assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
		assert_int_equal(slots_of(WORLD_POD), 1);
		assert_int_equal(origs_of(WORLD_POD), 1);
		shutdown(fd, SHUT_WR);
		pause_ms(50);
		/* FIN_WAIT2 ends with close(), by a reset */
		setsockopt(fd, IPPROTO_TCP, TCP_LINGER2, &at_once, sizeof(at_once));
		close(fd);
		pause_ms(20);
	}
	assert_int_equal(slots_of(WORLD_POD), 1);
	assert_int_equal(weft_kernel_sweep(world.kernel, 0), 1);
}

/* A stalled agent leaves many such entries, and each counts against its pod: one sweep takes them all. */
static void sweep_takes_all(void **state)
{
	int at_once = -1;

	(void)state;
	world.head->pod_origs_max = 2048;
	hold();
	for (int i = 0; i < 600; i++) {
		/* over two listeners' backlogs */
		int fd = vip_connect(1 + i % 2);

		shutdown(fd, SHUT_WR);
		setsockopt(fd, IPPROTO_TCP, TCP_LINGER2, &at_once, sizeof(at_once));
		close(fd);
	}
	pause_ms(50);
	assert_int_equal(origs_of(WORLD_POD), 600);
	assert_int_equal(weft_kernel_sweep(world.kernel, 0), 600);
	assert_int_equal(origs_of(WORLD_POD), 0);
	assert_int_equal(slots_of(WORLD_POD), 0);
}

/* A removed pod's connections keep what they hold until they end; the next of its id shares with them. */
static void pod_removed(void **state)
{
	int fd[3], again;

	(void)state;
	for (int i = 0; i < 3; i++) {
		fd[i] = vip_connect(1);
		expect(fd[i], "/deny", 403, false);
	}
	assert_int_equal(weft_kernel_pod_del(world.kernel, world.netns), 0);
	assert_int_equal(slots_of(WORLD_POD), 3);
	be_pod(WORLD_POD);
	again = vip_connect(1);
	expect(again, "/deny", 403, false);
	assert_int_equal(slots_of(WORLD_POD), 4);
	for (int i = 0; i < 3; i++)
		finish(fd[i]);
	wait_slots(WORLD_POD, 1);
	finish(again);
}

static void as_configured(void **state)
{
	struct weft_kernel_config cfg = {.img_size = 1 << 20, .state_size = 8 << 20, .n_slot = 256,
					 .n_cell = 256, .pod_slots = 5};
	struct weft_diag diag = WEFT_DIAG_INIT;
	struct weft_kernel *k;
	json_t *use;

	(void)state;
	for (int i = 0; i < 2; i++, cfg.pod_slots = 0) {
		json_int_t want = i ? 256 : 5; /* the default is more than there are */

		assert_int_equal(weft_kernel_load(&cfg, &diag, &k), 0);
		use = weft_kernel_pod_use(k, 3);
		assert_int_equal(json_integer_value(json_object_get(use, "slots_max")), want);
		assert_int_equal(json_integer_value(json_object_get(use, "entries_max")), 2 * want);
		assert_int_equal(json_integer_value(json_object_get(use, "slots")), 0);
		json_decref(use);
		weft_kernel_close(k);
	}
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(share_of_slots), TEST(share_of_heads),    TEST(share_of_entries),
		TEST(exact_together), TEST(never_established), TEST(replaced_entry),
		TEST(pod_removed),    TEST(sweep_takes_all),   cmocka_unit_test(as_configured),
	};

	world_need_root();
	return cmocka_run_group_tests(tests, world_setup, world_teardown);
}
