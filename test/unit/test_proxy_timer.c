// SPDX-License-Identifier: Apache-2.0
/* The wheel: nothing fires early, nothing is late by more than two ticks, moving away costs nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/proxy/internal.h"

static struct worker *w;

struct alarm {
	struct timer timer;
	uint64_t want, fired;
	struct alarm *other; /* removed when this one fires */
};

static void fire(struct worker *worker, struct timer *t)
{
	struct alarm *a = (struct alarm *)t;

	assert_int_equal(a->fired, 0);
	a->fired = worker->now_ms;
	if (a->other)
		timer_remove(&a->other->timer);
}

static int setup(void **state)
{
	(void)state;
	w = calloc(1, sizeof(*w));
	w->now_ms = 1000003;
	w->wheel.tick = w->now_ms / PROXY_TICK_MS;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	free(w);
	return 0;
}

static void set(struct alarm *a, uint64_t in_ms)
{
	a->timer.fire = fire;
	a->want = w->now_ms + in_ms;
	a->fired = 0;
	timer_set(w, &a->timer, a->want);
}

static void pass(uint64_t ms)
{
	w->now_ms += ms;
	timers_run(w);
}

/* From a millisecond to days, the loop sleeping as long as it is told. */
static void test_on_time(void **state)
{
	static const uint64_t all[] = {1, 15, 16, 17, 100, 1000, 16000, 16384, 17000, 100000, 3600000, 200000000};
	struct alarm a[sizeof(all) / sizeof(*all)] = {0};

	(void)state;
	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
		set(&a[i], all[i]);
	for (int wait; (wait = timers_wait(w)) >= 0;)
		pass((uint64_t)(wait ? wait : 1));
	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
		assert_in_range(a[i].fired, a[i].want, a[i].want + 2 * PROXY_TICK_MS);
}

static void test_moved(void **state)
{
	struct alarm a = {0}, b = {0};

	(void)state;
	set(&a, 100);
	for (int i = 0; i < 1000; i++) { /* touched all the time */
		pass(10);
		set(&a, 100);
	}
	assert_int_equal(a.fired, 0);
	set(&b, 5000);
	set(&b, 40); /* nearer than before */
	pass(80);
	assert_int_not_equal(b.fired, 0);
	assert_int_equal(a.fired, 0);
	pass(60);
	assert_int_not_equal(a.fired, 0);
}

static void test_cleared(void **state)
{
	struct alarm a = {0}, b = {0};

	(void)state;
	set(&a, 50);
	set(&b, 50);
	timer_clear(&a.timer);
	timer_remove(&b.timer);
	timer_remove(&b.timer);
	pass(500);
	assert_int_equal(a.fired, 0);
	assert_int_equal(b.fired, 0);
	assert_int_equal(timers_wait(w), -1);
	set(&a, 50); /* and used again */
	pass(100);
	assert_int_not_equal(a.fired, 0);
}

/* One that fires takes others of the same place away: they do not fire. */
static void test_removed_by_another(void **state)
{
	struct alarm a[3] = {0};
	unsigned int fired = 0;

	(void)state;
	for (int i = 0; i < 3; i++)
		set(&a[i], 50);
	a[2].other = &a[1]; /* last in, first out */
	a[1].other = &a[2];
	pass(100);
	for (int i = 0; i < 3; i++)
		fired += a[i].fired != 0;
	assert_int_equal(fired, 2);
}

/* The machine slept for hours: all that is due fires, in one go. */
static void test_long_sleep(void **state)
{
	struct alarm a[50] = {0};

	(void)state;
	for (int i = 0; i < 50; i++)
		set(&a[i], (uint64_t)i * 1000 + 1);
	pass(86400000);
	for (int i = 0; i < 50; i++) {
		if (!a[i].fired)
			pass(PROXY_TICK_MS);
		assert_int_not_equal(a[i].fired, 0);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {TEST(test_on_time), TEST(test_moved), TEST(test_cleared),
					   TEST(test_removed_by_another), TEST(test_long_sleep)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
