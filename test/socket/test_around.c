// SPDX-License-Identifier: Apache-2.0
/*
 * Ways around a program (bytes that sk_msg does not see, sockets that no map takes): each request is judged exactly once,
 * by whoever sees it. VIP 1's LIMIT bucket counts the judgements: its tokens are all that ever pass.
 */

#include "world.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

static const char deny[] = "GET /deny HTTP/1.1\r\nHost: a\r\n\r\n";

static int tcp_socket(void)
{
	struct timeval patience = {.tv_sec = 3};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	return fd;
}

/* After whatever happened, the connection works, in either hands. */
static void still_right(int fd, int n)
{
	struct timespec t = {.tv_nsec = 5000000};
	struct answer a;

	for (int i = 0; i < n; i++) {
		recv_answer(fd, false, &a);
		assert_int_equal(a.status, 403);
	}
	for (int i = 0; i < 5; i++) {
		send_text(fd, deny);
		recv_answer(fd, false, &a);
		assert_int_equal(a.status, 403);
		send_get(fd, "/z", "");
		recv_answer(fd, false, &a);
		assert_int_equal(a.status, 200);
		nanosleep(&t, NULL);
	}
	finish(fd);
	world_drained();
}

static void fast_open(void **state)
{
	struct sockaddr_in a = vip4(1);
	int one = 1;

	(void)state;
	for (int round = 0; round < 3; round++) { /* the first only fetches the cookie */
		int fd = tcp_socket();

		assert_int_equal(sendto(fd, deny, strlen(deny), MSG_FASTOPEN, (struct sockaddr *)&a,
					sizeof(a)),
				 strlen(deny));
		still_right(fd, 1);
		fd = tcp_socket();
		assert_int_equal(setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &one, sizeof(one)), 0);
		assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
		send_text(fd, deny);
		still_right(fd, 1);
		/* non-blocking, data in the SYN, the rest behind */
		fd = tcp_socket();
		fcntl(fd, F_SETFL, O_NONBLOCK);
		ssize_t n = sendto(fd, deny, strlen(deny), MSG_FASTOPEN, (struct sockaddr *)&a, sizeof(a));
		struct pollfd p = {.fd = fd, .events = POLLOUT};

		assert_int_equal(poll(&p, 1, 2000), 1);
		fcntl(fd, F_SETFL, 0);
		send_text(fd, n > 0 ? deny + n : deny);
		still_right(fd, 1);
	}
}

/* A send that is entered while the handshake runs. */
static void send_during_syn_sent(void **state)
{
	struct sockaddr_in a = vip4(1);

	(void)state;
	for (int i = 0; i < 20; i++) {
		int fd = tcp_socket();

		fcntl(fd, F_SETFL, O_NONBLOCK);
		(void)!connect(fd, (struct sockaddr *)&a, sizeof(a));
		fcntl(fd, F_SETFL, 0);
		send_text(fd, deny);
		still_right(fd, 1);
	}
}

static void out_of_band(void **state)
{
	int fd = vip_connect(1);
	struct answer a;

	(void)state;
	/* the last byte is urgent: program and receiver see different bytes; the agent judges what it receives */
	assert_int_equal(send(fd, "GET /n HTTP/1.1\r\nHost: a\r\n\r\n!", 29, MSG_OOB), 29);
	recv_answer(fd, false, &a);
	assert_int_equal(a.status, 200);
	for (int i = 0; i < 5; i++) {
		send_text(fd, deny);
		recv_answer(fd, false, &a);
		assert_int_equal(a.status, 403);
	}
	finish(fd);
	world_drained();
}

static void multipath(void **state)
{
	struct sockaddr_in a = vip4(1);
	uint64_t plain = world_class(WEFT_CLASS_CAPTURED_PLAIN);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_MPTCP);
	struct answer ans;

	(void)state;
	if (fd < 0) {
		print_message("no MPTCP in this kernel\n");
		skip();
	}
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	send_text(fd, deny);
	recv_answer(fd, false, &ans);
	assert_int_equal(ans.status, 403);
	assert_int_equal(world_class(WEFT_CLASS_CAPTURED_PLAIN), plain + 1);
	assert_int_equal(world.last_slot, 0);
	finish(fd);
	world_drained();
}

/* Sends that stop at EAGAIN: the verdict stays in force for bytes that no program sees. */
static void partial_sends(void **state)
{
	enum { BODY = 6000, N = 400 };
	int fd = vip_connect(1), small = 4096, flags, answered = 0;
	size_t total = 0, at = 0;
	char *all = calloc(N, BODY + 200);
	struct answer a;

	(void)state;
	assert_non_null(all);
	for (int i = 0; i < N; i++) {
		total += (size_t)sprintf(all + total, "POST /n%d HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", i, BODY);
		memset(all + total, 'b', BODY);
		total += BODY;
	}
	world.pause_ms = 1;
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	flags = fcntl(fd, F_GETFL);
	while (at < total || answered < N) {
		struct pollfd p = {.fd = fd, .events = (short)(POLLIN | (at < total ? POLLOUT : 0))};
		ssize_t n;

		assert_true(poll(&p, 1, 3000) > 0);
		if (p.revents & POLLOUT) {
			fcntl(fd, F_SETFL, flags | O_NONBLOCK);
			n = send(fd, all + at, total - at < 50000 ? total - at : 50000, 0);
			fcntl(fd, F_SETFL, flags);
			at += n > 0 ? (size_t)n : 0;
		}
		if (p.revents & POLLIN) {
			char path[32];

			recv_answer(fd, false, &a);
			snprintf(path, sizeof(path), "/n%d", answered++);
			assert_int_equal(a.status, 200);
			assert_string_equal(a.body, path);
		}
	}
	world.pause_ms = 0;
	free(all);
	still_right(fd, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fast_open),   cmocka_unit_test(send_during_syn_sent),
		cmocka_unit_test(out_of_band), cmocka_unit_test(multipath),
		cmocka_unit_test(partial_sends),
	};

	world_need_root();
	return cmocka_run_group_tests(tests, world_setup, world_teardown);
}
