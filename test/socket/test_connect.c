// SPDX-License-Identifier: Apache-2.0
/* Captured connections: addresses as the app and the agent see them, and that no slot is ever lost. */

#include "world.h"

#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static void patience(int fd)
{
	struct timeval t = {.tv_sec = 3};

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
}

static void addresses_v4(void **state)
{
	struct sockaddr_in want = vip4(1), got;
	socklen_t len = sizeof(got);
	int fd = vip_connect(1);

	(void)state;
	expect(fd, "/a", 200, true);
	assert_int_equal(getpeername(fd, (struct sockaddr *)&got, &len), 0);
	assert_int_equal(got.sin_addr.s_addr, want.sin_addr.s_addr);
	assert_int_equal(got.sin_port, want.sin_port);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&got, &len), 0);
	assert_int_equal(got.sin_addr.s_addr, world.pod.addr4.w[3]);
	assert_memory_equal(&world.last_dst, &world.image.vip4[1], sizeof(world.last_dst));
	finish(fd);
}

static void v6_like(struct sockaddr_in6 to, const struct weft_sockaddr *dst)
{
	int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in6 got;
	socklen_t len = sizeof(got);

	patience(fd);
	assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	expect(fd, "/deny", 403, false);
	expect(fd, "/a", 200, true);
	assert_int_equal(getpeername(fd, (struct sockaddr *)&got, &len), 0);
	assert_memory_equal(&got.sin6_addr, &to.sin6_addr, 16);
	assert_int_equal(got.sin6_port, to.sin6_port);
	assert_memory_equal(&world.last_dst, dst, sizeof(*dst));
	finish(fd);
}

static void addresses_v6(void **state)
{
	(void)state;
	v6_like(vip6(1), &world.image.vip6[1]);
}

static void addresses_mapped(void **state)
{
	(void)state;
	v6_like(vip_mapped(1), &world.image.vip4[1]);
}

/* One local port, two destinations: fails when both go to one listener's port. */
static void bound_before_connect(void **state)
{
	static const int to[] = {1, 2, 8};
	struct sockaddr_in own = {.sin_family = AF_INET, .sin_port = htons(45454)};
	int fd[3], one = 1;

	(void)state;
	for (int i = 0; i < 3; i++) {
		struct sockaddr_in a = vip4(to[i]);

		fd[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		patience(fd[i]);
		setsockopt(fd[i], SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
		setsockopt(fd[i], SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
		assert_int_equal(bind(fd[i], (struct sockaddr *)&own, sizeof(own)), 0);
		if (connect(fd[i], (struct sockaddr *)&a, sizeof(a)))
			fail_msg("connection %d: %s", i, strerror(errno));
	}
	expect(fd[0], "/deny", 403, false);
	expect(fd[1], "/none", 404, false);
	for (int i = 0; i < 3; i++)
		finish(fd[i]);
	world_drained();
}

static void slots_come_back(void **state)
{
	struct linger now = {.l_onoff = 1};

	(void)state;
	for (int i = 0; i < 400; i++) {
		int fd = vip_connect(1);

		if (i % 2)
			expect(fd, i % 4 == 1 ? "/deny" : "/s", i % 4 == 1 ? 403 : 200, i % 4 != 1);
		if (i % 3 == 0)
			setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
		close(fd);
	}
	world_drained();
}

/* The agent does not accept: resets free the slot at once, orderly closes when it accepts or by the sweep. */
static void never_accepted(void **state)
{
	struct linger now = {.l_onoff = 1};
	struct timespec t = {.tv_nsec = 300000000};
	uint64_t used;

	(void)state;
	world_drained();
	__atomic_store_n(&world.hold_accept, true, __ATOMIC_RELEASE);
	nanosleep(&t, NULL);
	for (int i = 0; i < 20; i++) {
		int fd = vip_connect(1);

		expect(fd, "/deny", 403, false); /* the kernel needs no agent for it */
		if (i % 2)
			setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
		close(fd);
	}
	nanosleep(&t, NULL);
	used = __atomic_load_n(&world.head->slots_used, __ATOMIC_ACQUIRE);
	assert_true(used <= 10);
	assert_int_equal(weft_kernel_sweep(world.kernel, 1000000000000u), 0);
	__atomic_store_n(&world.hold_accept, false, __ATOMIC_RELEASE);
	world_drained();
	assert_int_equal(weft_kernel_sweep(world.kernel, 0), 0);
}

/* What the app sent before it closed is served, although nobody had accepted. */
static void sent_and_gone(void **state)
{
	struct timespec t = {.tv_nsec = 200000000};
	uint32_t served = world.served;
	int fd;

	(void)state;
	__atomic_store_n(&world.hold_accept, true, __ATOMIC_RELEASE);
	nanosleep(&t, NULL);
	fd = vip_connect(1);
	send_get(fd, "/late", "");
	close(fd);
	nanosleep(&t, NULL);
	__atomic_store_n(&world.hold_accept, false, __ATOMIC_RELEASE);
	for (int i = 0; i < 20 && world.served == served; i++)
		nanosleep(&t, NULL);
	assert_int_equal(world.served, served + 1);
	world_drained();
}

/* Without a free slot the agent does everything. */
static void no_slot_left(void **state)
{
	uint32_t taken[1100], n = 0;
	int fd;

	(void)state;
	while (n < 1100 && (taken[n] = weft_slot_get()))
		n++;
	fd = vip_connect(1);
	expect(fd, "/a", 200, true);
	assert_int_equal(world.last_slot, 0);
	assert_int_equal(world_handed(WEFT_HANDED_NO_SLOT), 1);
	finish(fd);
	while (n)
		weft_slot_put(taken[--n]);
	world_drained();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_v4),	    cmocka_unit_test(addresses_v6),
		cmocka_unit_test(addresses_mapped), cmocka_unit_test(bound_before_connect),
		cmocka_unit_test(slots_come_back),  cmocka_unit_test(never_accepted),
		cmocka_unit_test(sent_and_gone),    cmocka_unit_test(no_slot_left),
	};

	world_need_root();
	return cmocka_run_group_tests(tests, world_setup, world_teardown);
}
