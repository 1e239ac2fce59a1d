// SPDX-License-Identifier: Apache-2.0
/* Kernel and agent answers on one connection: order, what the app sees of its queue, who owns what. */

#include "world.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* 3,000 exchanges, pipelined in windows of random size, some sends cut in two, kernel and agent answers mixed. */
static void mixed_pipelined(void **state)
{
	enum { N = 3000 };
	unsigned int seed = 42;
	int fd = vip_connect(1), one = 1, sent = 0, got = 0;
	uint64_t kernel = world_outcome(WEFT_OUTCOME_DIRECT_RESPONSE);
	char path[32], text[256];
	struct answer a;

	(void)state;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	srandom(seed);
	while (got < N) {
		int window = 1 + (int)(random() % 6);

		for (; window && sent < N; window--, sent++) {
			int n = snprintf(text, sizeof(text), "GET %s%d HTTP/1.1\r\nHost: a\r\n\r\n",
					 sent % 3 == 1 ? "/n" : "/deny", sent);
			int cut = random() % 8 == 0 ? n / 2 : n;

			if (sent % 3 != 1) /* "/deny" exactly: the kernel's */
				n = cut = snprintf(text, sizeof(text),
						   "GET /deny HTTP/1.1\r\nHost: a\r\nX: %d\r\n\r\n",
						   sent);
			assert_int_equal(send(fd, text, (size_t)cut, 0), cut);
			if (cut < n)
				assert_int_equal(send(fd, text + cut, (size_t)(n - cut), 0), n - cut);
		}
		for (; got < sent; got++) {
			recv_answer(fd, false, &a);
			snprintf(path, sizeof(path), "/n%d", got);
			assert_int_equal(a.status, got % 3 == 1 ? 200 : 403);
			assert_string_equal(a.body, got % 3 == 1 ? path : "no\n");
		}
	}
	assert_true(world_outcome(WEFT_OUTCOME_DIRECT_RESPONSE) > kernel + 100);
	assert_true(world_handed(WEFT_HANDED_NOT_QUIET) > 0);
	finish(fd);
	world_drained();
}

/* An answer that the app has not read yet: the next request is not answered past it. */
static void unread_answer_holds(void **state)
{
	int fd = vip_connect(1);
	uint64_t held = world_handed(WEFT_HANDED_NOT_QUIET);
	struct answer a;

	(void)state;
	send_get(fd, "/deny", "");
	send_get(fd, "/deny", "");
	recv_answer(fd, false, &a);
	assert_int_equal(a.status, 403);
	recv_answer(fd, false, &a);
	assert_int_equal(a.status, 403);
	assert_int_equal(world_handed(WEFT_HANDED_NOT_QUIET), held + 1);
	finish(fd);
}

static int readable(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	int n = -1;

	assert_int_equal(poll(&p, 1, 2000), 1);
	assert_int_equal(ioctl(fd, FIONREAD, &n), 0);
	return n;
}

static void queue_as_the_app_sees_it(void **state)
{
	/* kernels of old count only what came over TCP: probed, reported, and no way around */
	bool counted = weft_kernel_has(world.kernel, "fionread_in_place");
	int fd = vip_connect(1);
	char peek[4096];
	struct answer a;

	(void)state;
	for (int i = 0; i < 20; i++) {
		bool agent = i % 2;
		int n;
		ssize_t seen;

		send_get(fd, agent ? "/x" : "/deny", "");
		n = readable(fd);
		seen = recv(fd, peek, sizeof(peek) - 1, MSG_PEEK);
		assert_true(seen > 40);
		if (agent || counted) {
			assert_int_equal(seen, n);
			assert_int_equal(readable(fd), n);
		}
		recv_answer(fd, false, &a);
		assert_int_equal(a.len, seen);
		assert_int_equal(a.by_agent, agent);
		assert_memory_equal(peek, a.text, a.len);
		assert_int_equal(ioctl(fd, FIONREAD, &n), 0);
		assert_int_equal(n, 0);
	}
	finish(fd);
}

/* The agent gives the connection back after each of its answers: the kernel answers again. */
static void changes_hands(void **state)
{
	int fd = vip_connect(1);

	(void)state;
	for (int i = 0; i < 100; i++) {
		struct timespec t = {.tv_nsec = 2000000};

		expect(fd, "/y", 200, true);
		nanosleep(&t, NULL); /* the agent answers first, and then gives back */
		expect(fd, "/deny", 403, false);
	}
	assert_true(world.given_back >= 90);
	finish(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mixed_pipelined),
		cmocka_unit_test(unread_answer_holds),
		cmocka_unit_test(queue_as_the_app_sees_it),
		cmocka_unit_test(changes_hands),
	};

	world_need_root();
	return cmocka_run_group_tests(tests, world_setup, world_teardown);
}
