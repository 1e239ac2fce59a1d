// SPDX-License-Identifier: Apache-2.0
/* Kernel and agent answers on one connection: order, what the app sees of its queue, who owns what. */

#include "world.h"

#include "agent/kernel/kernel_state.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
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

static int readable_now(int fd)
{
	int n = -1;

	assert_int_equal(ioctl(fd, FIONREAD, &n), 0);
	return n;
}

static int readable(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	assert_int_equal(poll(&p, 1, 2000), 1);
	return readable_now(fd);
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
		assert_int_equal(readable_now(fd), 0);
	}
	finish(fd);
}

/*
 * Segments that begin with what an earlier one has brought: the app reads every byte once, and is
 * told of as many. Without the cut of skb.bpf.c it reads some twice where there is a verdict
 * program.
 */
static void overlapping_segments(void **state)
{
	static const uint32_t stray[] = {1, 10, 4095, 4096, 7000};
	uint64_t cut = world.head->segments_trimmed;
	char body[WORLD_BODY_MAX + 1];
	int fd = vip_connect(1);
	struct answer a;

	(void)state;
	world.body = WORLD_BODY_MAX;
	world_body(body, world.body);
	for (size_t i = 0; i < sizeof(stray) / sizeof(stray[0]); i++) {
		int n = 0;

		world.stray = stray[i];
		send_get(fd, "/x", "");
		for (int wait = 0; wait < 200 && n <= WORLD_BODY_MAX; wait++) {
			struct timespec t = {.tv_nsec = 10000000};

			nanosleep(&t, NULL);
			n = readable(fd);
		}
		recv_answer(fd, false, &a);
		assert_string_equal(a.body, body);
		assert_int_equal(n, a.len);
		assert_int_equal(readable_now(fd), 0);
	}
	world.stray = world.body = 0;
	assert_int_equal(world.head->segments_trimmed - cut,
			 weft_kernel_has(world.kernel, "skb") ? sizeof(stray) / sizeof(stray[0])
							      : 0);
	expect(fd, "/deny", 403, false);
	expect(fd, "/y", 200, true);
	finish(fd);
	world_drained();
}

/* What cannot be cut ends the stream: the app gets nothing more, rather than bytes that were not
 * sent. */
static void stream_that_cannot_be_cut(void **state)
{
	uint64_t broken = world.head->streams_broken, cookie;
	socklen_t len = sizeof(cookie);
	int fd = vip_connect(1), map;
	uint32_t stream[2];
	char byte;

	(void)state;
	if (!weft_kernel_has(world.kernel, "skb")) {
		close(fd);
		print_message("no verdict program on this kernel\n");
		skip();
	}
	map = bpf_map__fd(world.kernel->skel->maps.stream);
	expect(fd, "/y", 200, true);
	assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &len), 0);
	assert_int_equal(bpf_map_lookup_elem(map, &cookie, stream), 0);
	stream[0] += 1u << 20; /* as if the next segment were all old */
	assert_int_equal(bpf_map_update_elem(map, &cookie, stream, BPF_EXIST), 0);
	for (int i = 0; i < 2; i++) {
		send_get(fd, "/y", "");
		nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
		assert_int_equal(recv(fd, &byte, 1, MSG_DONTWAIT), -1);
		assert_int_equal(errno, EAGAIN);
	}
	assert_int_equal(world.head->streams_broken, broken + 1);
	finish(fd);
	world_drained();
	assert_int_equal(bpf_map_lookup_elem(map, &cookie, stream),
			 -ENOENT); /* and none is left behind */
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

/* From here on segments with bytes for this socket are lost on the way; acknowledgements are not. */
static void lose_bytes(int fd, bool on)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_LEN, 0),
		BPF_STMT(BPF_MISC | BPF_TAX, 0),
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 12), /* data offset of the TCP header, in words */
		BPF_STMT(BPF_ALU | BPF_RSH | BPF_K, 4),
		BPF_STMT(BPF_ALU | BPF_LSH | BPF_K, 2),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_X, 0, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	struct sock_fprog prog = {.len = sizeof(code) / sizeof(code[0]), .filter = code};

	assert_int_equal(setsockopt(fd, SOL_SOCKET, on ? SO_ATTACH_FILTER : SO_DETACH_FILTER, &prog, sizeof(prog)), 0);
}

/* Up to 3 s until the agent has given a connection back once more. */
static void wait_given_back(uint32_t before)
{
	struct timespec step = {.tv_nsec = 5000000};

	for (int i = 0; i < 600 && __atomic_load_n(&world.given_back, __ATOMIC_ACQUIRE) == before; i++)
		nanosleep(&step, NULL);
	assert_int_not_equal(world.given_back, before);
}

/*
 * The agent has answered and given the connection back, but its answer is still on its way (lost, and sent again): the
 * next request must not be answered before it.
 *
 *   app:    GET /n1 ------> agent      GET /deny --> (kernel) not quiet ------> agent
 *   agent:  200 ---x  given back                                  200 again, 403
 */
static void answer_on_its_way_holds(void **state)
{
	int fd = vip_connect(1);
	struct answer a;
	char path[16];

	(void)state;
	expect(fd, "/deny", 403, false);
	for (int i = 0; i < 3; i++) {
		uint64_t held = world_handed(WEFT_HANDED_NOT_QUIET);
		uint32_t given = world.given_back;

		snprintf(path, sizeof(path), "/n%d", i);
		lose_bytes(fd, true);
		send_get(fd, path, "");
		wait_given_back(given);
		given = world.given_back;
		send_get(fd, "/deny", "");
		assert_int_equal(world_handed(WEFT_HANDED_NOT_QUIET), held + 1);
		lose_bytes(fd, false);
		recv_answer(fd, false, &a);
		assert_int_equal(a.status, 200);
		assert_string_equal(a.body, path);
		recv_answer(fd, false, &a);
		assert_int_equal(a.status, 403);
		wait_given_back(given);
		expect(fd, "/deny", 403, false); /* all has arrived: the kernel's again */
		assert_int_equal(world_handed(WEFT_HANDED_NOT_QUIET), held + 1);
	}
	finish(fd);
	world_drained();
}

/*
 * The agent's answer has arrived, and the app has not read it: the app reads what is answered in place first. It waits in
 * TCP's queue, or, where FIONREAD needs the stream program, in the psock's.
 */
static void unread_agent_answer_holds(void **state)
{
	uint64_t held = world_handed(WEFT_HANDED_NOT_QUIET);
	uint32_t given = world.given_back;
	int fd = vip_connect(1);
	struct answer a;

	(void)state;
	send_get(fd, "/first", "");
	wait_given_back(given);
	assert_true(readable(fd) > 0);
	send_get(fd, "/deny", "");
	assert_int_equal(world_handed(WEFT_HANDED_NOT_QUIET), held + 1);
	recv_answer(fd, false, &a);
	assert_string_equal(a.body, "/first");
	recv_answer(fd, false, &a);
	assert_int_equal(a.status, 403);
	finish(fd);
	world_drained();
}

/* The agent has ended the connection: nothing is answered behind the end (the state tells, and the FIN's own byte). */
static void ended_connection_holds(void **state)
{
	uint64_t held = world_handed(WEFT_HANDED_NOT_QUIET);
	uint32_t given = world.given_back;
	int fd = vip_connect(1);
	struct answer a;
	char byte;

	(void)state;
	send_text(fd, "junk\r\n\r\n");
	recv_answer(fd, false, &a);
	assert_int_equal(a.status, 400);
	assert_int_equal(recv(fd, &byte, 1, 0), 0);
	wait_given_back(given);
	send_get(fd, "/deny", "");
	assert_true(recv(fd, &byte, 1, 0) <= 0);
	assert_int_equal(world_handed(WEFT_HANDED_NOT_QUIET), held + 1);
	close(fd);
	world_drained();
}

/*
 * A request that no program saw, because it was sent before the connection stood: the agent has not even accepted it when
 * the next one comes, which the kernel could answer.
 */
static void unseen_request_holds(void **state)
{
	static const char first[] = "GET /first HTTP/1.1\r\nHost: a\r\n\r\n";
	struct sockaddr_in to = vip4(1);
	struct timeval patience = {.tv_sec = 3};
	struct answer a;

	(void)state;
	for (int i = 0; i < 4; i++) {
		uint64_t held = world_handed(WEFT_HANDED_NOT_QUIET), owned = world_handed(WEFT_HANDED_AGENT_OWNS);
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
		__atomic_store_n(&world.hold_accept, true, __ATOMIC_RELEASE);
		nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
		/* TCP Fast Open without a cookie, then with one: behind the handshake, and in the SYN */
		assert_int_equal(sendto(fd, first, strlen(first), MSG_FASTOPEN, (struct sockaddr *)&to, sizeof(to)),
				 strlen(first));
		send_get(fd, "/deny", "");
		assert_int_equal(world_handed(WEFT_HANDED_NOT_QUIET) - held, i ? 0 : 1);
		assert_int_equal(world_handed(WEFT_HANDED_AGENT_OWNS) - owned, i ? 1 : 0);
		__atomic_store_n(&world.hold_accept, false, __ATOMIC_RELEASE);
		recv_answer(fd, false, &a);
		assert_int_equal(a.status, 200);
		assert_string_equal(a.body, "/first");
		recv_answer(fd, false, &a);
		assert_int_equal(a.status, 403);
		finish(fd);
	}
	world_drained();
}

struct late_send {
	int fd;
	const char *text;
};

static void *late_send_run(void *arg)
{
	struct late_send *s = arg;

	(void)!send(s->fd, s->text, strlen(s->text), MSG_NOSIGNAL); /* waits for the connection */
	return NULL;
}

/* The same by a send() that waits in SYN_SENT while the answer to the SYN is lost. */
static void unseen_while_connecting_holds(void **state)
{
	static const char first[] = "GET /first HTTP/1.1\r\nHost: a\r\n\r\n";
	struct sock_filter none[] = {BPF_STMT(BPF_RET | BPF_K, 0)};
	struct sock_fprog prog = {.len = 1, .filter = none};
	struct sockaddr_in to = vip4(1);
	struct timeval patience = {.tv_sec = 10};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct late_send late = {.fd = fd, .text = first};
	uint64_t held = world_handed(WEFT_HANDED_NOT_QUIET);
	struct pollfd p = {.fd = fd, .events = POLLOUT};
	struct answer a;
	pthread_t thread;

	(void)state;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	__atomic_store_n(&world.hold_accept, true, __ATOMIC_RELEASE);
	nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof(prog)), 0);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), -1);
	assert_int_equal(errno, EINPROGRESS);
	fcntl(fd, F_SETFL, 0);
	assert_int_equal(pthread_create(&thread, NULL, late_send_run, &late), 0);
	nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
	assert_int_equal(poll(&p, 1, 0), 0); /* it is not connected yet */
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &prog, sizeof(prog)), 0);
	pthread_join(thread, NULL);
	send_get(fd, "/deny", "");
	assert_int_equal(world_handed(WEFT_HANDED_NOT_QUIET), held + 1);
	__atomic_store_n(&world.hold_accept, false, __ATOMIC_RELEASE);
	recv_answer(fd, false, &a);
	assert_string_equal(a.body, "/first");
	recv_answer(fd, false, &a);
	assert_int_equal(a.status, 403);
	finish(fd);
	world_drained();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mixed_pipelined),
		cmocka_unit_test(unread_answer_holds),
		cmocka_unit_test(queue_as_the_app_sees_it),
		cmocka_unit_test(overlapping_segments),
		cmocka_unit_test(stream_that_cannot_be_cut),
		cmocka_unit_test(changes_hands),
		cmocka_unit_test(answer_on_its_way_holds),
		cmocka_unit_test(unread_agent_answer_holds),
		cmocka_unit_test(ended_connection_holds),
		cmocka_unit_test(unseen_request_holds),
		cmocka_unit_test(unseen_while_connecting_holds),
	};

	world_need_root();
	return cmocka_run_group_tests(tests, world_setup, world_teardown);
}
