// SPDX-License-Identifier: Apache-2.0
/* Connections without HTTP: endpoint, breaker and limits in connect(). */

#include "world.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <time.h>
#include <unistd.h>

static int try_connect(int n)
{
	struct sockaddr_in a = vip4(n);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (!connect(fd, (struct sockaddr *)&a, sizeof(a)))
		return fd;
	a.sin_family = (sa_family_t)errno;
	close(fd);
	return -(int)a.sin_family;
}

static uint32_t places(uint32_t id)
{
	return __atomic_load_n(&weft_cell_cluster(weft_cell_find(WORLD_POD, id))->cx_active[0],
			       __ATOMIC_ACQUIRE);
}

static void places_are(uint32_t want)
{
	struct timespec step = {.tv_nsec = 5000000};

	for (int i = 0; i < 200 && places(FIX_CELL_TCP) != want; i++)
		nanosleep(&step, NULL);
	assert_int_equal(places(FIX_CELL_TCP), want);
}

static void reset_close(int fd)
{
	struct linger now = {.l_onoff = 1};

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(fd);
}

static void breaker_is_exact(void **state)
{
	int fd[FIX_L4_MAX];
	char byte = 'x';

	(void)state;
	for (int round = 0; round < 30; round++) {
		uint64_t refused = world_outcome(WEFT_OUTCOME_REFUSED_OVERFLOW);

		for (int i = 0; i < FIX_L4_MAX; i++) {
			fd[i] = try_connect(3);
			assert_true(fd[i] >= 0);
			assert_int_equal(send(fd[i], &byte, 1, 0), 1);
			assert_int_equal(recv(fd[i], &byte, 1, 0), 1);
		}
		assert_int_equal(places(FIX_CELL_TCP), FIX_L4_MAX);
		assert_int_equal(try_connect(3), -ECONNREFUSED);
		assert_int_equal(world_outcome(WEFT_OUTCOME_REFUSED_OVERFLOW), refused + 1);
		for (int i = 0; i < FIX_L4_MAX; i++)
			if ((round + i) % 2)
				finish(fd[i]);
			else
				reset_close(fd[i]);
		places_are(0);
	}
}

/* The server is gone: connect() fails after the place was taken. */
static void failed_connect_gives_back(void **state)
{
	struct weft_sockaddr was = world.image.endpoint;
	struct sockaddr_in a = vip4(3);
	int fd;

	(void)state;
	world.image.endpoint.port = 1;
	fix_image_publish(&world.image);
	assert_int_equal(try_connect(3), -ECONNREFUSED);
	places_are(0);
	/* the same socket again and again holds one place at most */
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	for (int i = 0; i < 5; i++) {
		assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), -1);
		assert_true(places(FIX_CELL_TCP) <= 1);
	}
	close(fd);
	places_are(0);
	/* fails before the first SYN: an address that no route leads to */
	world.image.endpoint.addr = fix_addr4("203.0.113.9");
	fix_image_publish(&world.image);
	fd = try_connect(3);
	assert_true(fd < 0);
	places_are(0);
	world.image.endpoint = was;
	fix_image_publish(&world.image);
}

/* TCP_FASTOPEN_CONNECT puts the SYN off until the first send: here there is none, and TCP never heard of it. */
static void unsent_connect_gives_back(void **state)
{
	struct sockaddr_in a = vip4(3);
	int one = 1;

	(void)state;
	for (int i = 0; i < 2 * FIX_L4_MAX; i++) {
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

		assert_int_equal(setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &one, sizeof(one)), 0);
		assert_int_equal(setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE, &one, sizeof(one)), 0);
		assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
		assert_int_equal(places(FIX_CELL_TCP), 1);
		close(fd);
		places_are(0);
	}
}

static void refusals(void **state)
{
	uint64_t n = world_class(WEFT_CLASS_REFUSED);

	(void)state;
	assert_int_equal(try_connect(4), -ECONNREFUSED);
	assert_int_equal(world_outcome(WEFT_OUTCOME_REFUSED_BLACKHOLE), 1);
	assert_int_equal(try_connect(5), -ECONNREFUSED);
	assert_int_equal(world_outcome(WEFT_OUTCOME_REFUSED_NO_CHAIN), 1);
	assert_int_equal(world_class(WEFT_CLASS_REFUSED), n + 2);
}

static void connection_limit(void **state)
{
	(void)state;
	for (int i = 0; i < FIX_CONN_TOKENS; i++) {
		int fd = try_connect(6);

		assert_true(fd >= 0);
		finish(fd);
	}
	assert_int_equal(try_connect(6), -ECONNREFUSED);
	assert_int_equal(world_outcome(WEFT_OUTCOME_REFUSED_RATE), 1);
}

static void name_of_the_peer(void **state)
{
	struct sockaddr_in want = vip4(3), got;
	socklen_t len = sizeof(got);
	int fd = try_connect(3);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(getpeername(fd, (struct sockaddr *)&got, &len), 0);
	assert_int_equal(got.sin_addr.s_addr, want.sin_addr.s_addr);
	assert_int_equal(got.sin_port, want.sin_port);
	finish(fd);
	places_are(0);
}

/* Without its cells the connection is the agent's. */
static void no_cell_is_captured(void **state)
{
	uint64_t captured = world_class(WEFT_CLASS_CAPTURED);
	int fd = try_connect(7);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(world_class(WEFT_CLASS_CAPTURED), captured + 1);
	assert_int_equal(world_handed(WEFT_HANDED_NO_CELL), 1);
	reset_close(fd);
	world_drained();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(breaker_is_exact), cmocka_unit_test(failed_connect_gives_back),
		cmocka_unit_test(unsent_connect_gives_back),
		cmocka_unit_test(refusals),	    cmocka_unit_test(connection_limit),
		cmocka_unit_test(name_of_the_peer), cmocka_unit_test(no_cell_is_captured),
	};

	world_need_root();
	return cmocka_run_group_tests(tests, world_setup, world_teardown);
}
