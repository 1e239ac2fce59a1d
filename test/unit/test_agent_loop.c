// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "agent/loop.h"

struct seen {
	struct weft_loop *loop;
	int calls, other;
};

static void count(void *ctx, uint32_t events)
{
	struct seen *s = ctx;

	assert_true(events & EPOLLIN);
	s->calls++;
}

static void test_calls_what_is_ready(void **state)
{
	struct seen s = {0};
	int fds[2];

	(void)state;
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(weft_loop_new(&s.loop), 0);
	assert_int_equal(weft_loop_add(s.loop, fds[0], EPOLLIN, count, &s), 0);
	assert_int_equal(weft_loop_step(s.loop, 0), 0);
	assert_int_equal(s.calls, 0);
	assert_int_equal(write(fds[1], "x", 1), 1);
	assert_int_equal(weft_loop_step(s.loop, 1000), 0);
	assert_int_equal(s.calls, 1);
	assert_int_equal(weft_loop_change(s.loop, fds[0], 0), 0);
	assert_int_equal(weft_loop_step(s.loop, 0), 0);
	assert_int_equal(s.calls, 1);
	weft_loop_remove(s.loop, fds[0]);
	weft_loop_remove(s.loop, fds[0]);
	weft_loop_remove(s.loop, -1);
	weft_loop_free(s.loop);
	close(fds[0]);
	close(fds[1]);
}

static void remove_other(void *ctx, uint32_t events)
{
	struct seen *s = ctx;

	(void)events;
	s->calls++;
	weft_loop_remove(s->loop, s->other);
}

/* Two are ready at once and each removes the other: one call only. */
static void test_removed_is_not_called(void **state)
{
	struct seen a = {0}, b = {0};
	int one[2], two[2];

	(void)state;
	assert_int_equal(pipe(one), 0);
	assert_int_equal(pipe(two), 0);
	assert_int_equal(weft_loop_new(&a.loop), 0);
	b.loop = a.loop;
	a.other = two[0];
	b.other = one[0];
	assert_int_equal(weft_loop_add(a.loop, one[0], EPOLLIN, remove_other, &a), 0);
	assert_int_equal(weft_loop_add(a.loop, two[0], EPOLLIN, remove_other, &b), 0);
	assert_int_equal(write(one[1], "x", 1), 1);
	assert_int_equal(write(two[1], "x", 1), 1);
	assert_int_equal(weft_loop_step(a.loop, 1000), 0);
	assert_int_equal(a.calls + b.calls, 1);
	weft_loop_free(a.loop);
	for (int i = 0; i < 2; i++) {
		close(one[i]);
		close(two[i]);
	}
}

static void on_timer(void *ctx, uint32_t events)
{
	struct seen *s = ctx;

	(void)events;
	s->calls++;
	weft_timer_ack(s->other);
}

static void test_timer(void **state)
{
	struct seen s = {0};

	(void)state;
	assert_int_equal(weft_loop_new(&s.loop), 0);
	assert_int_equal(weft_timer_new(&s.other), 0);
	assert_int_equal(weft_loop_add(s.loop, s.other, EPOLLIN, on_timer, &s), 0);
	assert_int_equal(weft_timer_set(s.other, 5, 0), 0);
	assert_int_equal(weft_loop_step(s.loop, 2000), 0);
	assert_int_equal(s.calls, 1);
	assert_int_equal(weft_loop_step(s.loop, 20), 0);
	assert_int_equal(s.calls, 1);
	assert_int_equal(weft_timer_set(s.other, 5, 0), 0);
	assert_int_equal(weft_timer_set(s.other, 0, 0), 0);
	assert_int_equal(weft_loop_step(s.loop, 20), 0);
	assert_int_equal(s.calls, 1);
	close(s.other);
	weft_loop_free(s.loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_calls_what_is_ready),
		cmocka_unit_test(test_removed_is_not_called),
		cmocka_unit_test(test_timer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
