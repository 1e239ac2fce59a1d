// SPDX-License-Identifier: Apache-2.0
/* Bytes on their way: memory only while there are some, blocks used again, partial writes. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/proxy/internal.h"

static struct worker *w;

static int setup(void **state)
{
	(void)state;
	w = calloc(1, sizeof(*w));
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	buf_spares_free(w);
	free(w);
	return 0;
}

static void test_grow_and_consume(void **state)
{
	struct buf b = {0};
	char bytes[5000];

	(void)state;
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (char)i;
	for (int i = 0; i < 40; i++)
		assert_int_equal(buf_add(w, &b, bytes, sizeof(bytes)), 0);
	assert_int_equal(buf_len(&b), 200000);
	for (int i = 0; i < 40; i++) {
		assert_memory_equal(buf_at(&b), bytes, sizeof(bytes));
		buf_consume(w, &b, sizeof(bytes));
	}
	assert_null(b.data); /* empty: no memory */
	assert_int_equal(buf_len(&b), 0);
	assert_int_equal(buf_add(w, &b, NULL, 0), 0);
	assert_null(b.data);
}

/* What was consumed makes room again instead of more memory. */
static void test_moves_down(void **state)
{
	struct buf b = {0};
	char bytes[6000] = {0};

	(void)state;
	buf_add(w, &b, bytes, 6000);
	for (int i = 0; i < 1000; i++) {
		buf_add(w, &b, bytes, 6000);
		buf_consume(w, &b, 6000);
	}
	assert_int_equal(b.cap, PROXY_BUF);
	buf_free(w, &b);
}

static void test_spare(void **state)
{
	struct buf b[PROXY_BUF_SPARE + 10] = {0};

	(void)state;
	for (size_t i = 0; i < PROXY_BUF_SPARE + 10; i++)
		assert_int_equal(buf_add(w, &b[i], "x", 1), 0);
	for (size_t i = 0; i < PROXY_BUF_SPARE + 10; i++)
		buf_free(w, &b[i]);
	/* the limit; builds that look for stale use keep none */
	assert_int_equal(w->n_spare, PROXY_KEEPS_SPARES ? PROXY_BUF_SPARE : 0);
	buf_add(w, &b[0], "x", 1);
	assert_int_equal(w->n_spare, PROXY_KEEPS_SPARES ? PROXY_BUF_SPARE - 1 : 0);
	buf_free(w, &b[0]);
}

/* A read that fills its buffer makes the next ones long, and one that brings little short again. */
static void test_bulk(void **state)
{
	struct buf in = {0}, other = {0};
	static char bytes[PROXY_BULK + PROXY_BUF];
	int fd[2], size = 1 << 20;

	(void)state;
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (char)(i * 7);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
	setsockopt(fd[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	assert_int_equal(send(fd[0], bytes, sizeof(bytes), 0), (ssize_t)sizeof(bytes));
	assert_int_equal(buf_read(w, &in, fd[1], 100), PROXY_BUF);
	assert_true(in.bulk);
	buf_consume(w, &in, PROXY_BUF);
	assert_int_equal(buf_read(w, &in, fd[1], 100), PROXY_BULK);
	assert_memory_equal(buf_at(&in), bytes + PROXY_BUF, PROXY_BULK);
	/* it changes hands as it is */
	buf_add(w, &other, "x", 1);
	buf_consume(w, &other, 1);
	buf_move(w, &other, &in);
	assert_null(in.data);
	assert_int_equal(buf_len(&other), PROXY_BULK);
	assert_memory_equal(buf_at(&other), bytes + PROXY_BUF, PROXY_BULK);
	assert_true(in.bulk);
	assert_false(other.bulk);
	buf_free(w, &other);
	assert_int_equal(w->n_bulk_spare, PROXY_KEEPS_SPARES ? 1 : 0);
	assert_int_equal(send(fd[0], bytes, 10, 0), 10);
	assert_int_equal(buf_read(w, &in, fd[1], 100), 10);
	assert_false(in.bulk);
	assert_int_equal(w->n_bulk_spare, 0);
	buf_free(w, &in);
	close(fd[0]);
	close(fd[1]);
}

static void test_printf(void **state)
{
	struct buf b = {0};
	char longer[600];

	(void)state;
	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	assert_int_equal(buf_printf(w, &b, "%u %s", 7, "x"), 0);
	assert_memory_equal(buf_at(&b), "7 x", 3);
	assert_int_equal(buf_printf(w, &b, "%s", longer), -E2BIG);
	assert_int_equal(buf_len(&b), 3);
	assert_int_equal(line_add(w, &b, longer, 599, longer, 599), 0);
	assert_int_equal(buf_len(&b), 3 + 599 * 2 + 4);
	buf_free(w, &b);
}

static void test_sockets(void **state)
{
	struct buf out = {0}, in = {0};
	static char bytes[1 << 20];
	uint64_t sent = 0;
	size_t got = 0;
	int fd[2], r;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
	assert_int_equal(buf_read(w, &in, fd[1], 100), -EAGAIN);
	assert_null(in.data);
	buf_add(w, &out, bytes, sizeof(bytes));
	do {
		ssize_t n;

		r = buf_write(w, &out, fd[0], &sent);
		assert_true(!r || r == -EAGAIN);
		while ((n = buf_read(w, &in, fd[1], 4096)) > 0) {
			got += (size_t)n;
			buf_consume(w, &in, buf_len(&in));
		}
	} while (r);
	assert_int_equal(got, sizeof(bytes));
	assert_int_equal(sent, sizeof(bytes));
	close(fd[0]);
	assert_int_equal(buf_read(w, &in, fd[1], 100), 0);
	buf_add(w, &out, "x", 1);
	assert_int_equal(buf_write(w, &out, fd[1], &sent), -EPIPE);
	buf_free(w, &out);
	close(fd[1]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {TEST(test_grow_and_consume),
					   TEST(test_moves_down),
					   TEST(test_spare),
					   TEST(test_bulk),
					   TEST(test_printf),
					   TEST(test_sockets)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
