// SPDX-License-Identifier: Apache-2.0
/* The algorithm of outlier detection with a clock and draws of the test's own; numbers worked out
 * by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "agent/outlier/detector.h"
#include "bpf/engine/outlier.h"
#include "test/unit/outlier_defaults.h"

#define HOSTS 10

static struct weft_cell_endpoint cell[HOSTS];
static struct weft_detector_host host[HOSTS];
static struct weft_detector d;
static uint64_t draw;
static unsigned int changes;

static uint64_t drawn(void *ctx)
{
	(void)ctx;
	return draw;
}

static void changed(void *ctx, const struct weft_detector *det, const struct weft_detector_host *h)
{
	(void)ctx;
	assert_ptr_equal(det, &d);
	assert_true(h >= host && h < host + HOSTS);
	changes++;
}

static const struct weft_detector_ops ops = {.random = drawn, .changed = changed};

static void begin(size_t n, const struct weft_img_outlier *conf)
{
	memset(cell, 0, sizeof(cell));
	draw = 0;
	changes = 0;
	d = (struct weft_detector){.conf = *conf, .host = host, .n = n, .ops = &ops};
	for (uint32_t i = 0; i < n; i++) {
		weft_detector_host_init(&host[i], i + 1);
		host[i].cell = &cell[i];
		assert_int_equal(weft_outlier_begin(&cell[i], conf, 77, i + 1), 1);
		assert_int_equal(weft_outlier_begin(&cell[i], conf, 77, i + 1), 0);
	}
}

/* What a worker and then the main thread do. */
static void status(uint32_t i, uint32_t code, uint64_t now)
{
	uint32_t news = weft_outlier_status(&cell[i], code);

	for (int run = 0; run < WEFT_RUN__MAX; run++) {
		if (news & 1u << run)
			weft_detector_run(&d, &host[i], (enum weft_failures)run, now);
	}
	cell[i].pending = 0;
}

static void statuses(uint32_t i, uint32_t code, unsigned int n, uint64_t now)
{
	while (n--)
		status(i, code, now);
}

static void test_run_of_five(void **state)
{
	(void)state;
	begin(10, &outlier_defaults);
	statuses(0, 500, 4, 1);
	status(0, 200, 1); /* begins anew */
	statuses(0, 503, 4, 2);
	assert_false(host[0].ejected);
	status(0, 599, 3);
	assert_true(host[0].ejected);
	assert_int_equal(host[0].why, WEFT_EJECT_CONSECUTIVE_5XX);
	assert_int_equal(host[0].ejected_ms, 3);
	assert_int_equal(changes, 1);
	assert_int_equal(d.stats.enforced[WEFT_EJECT_CONSECUTIVE_5XX], 1);
	assert_int_equal(d.stats.total, 1);
	/* four gateway failures, then one that is none */
	assert_int_equal(d.stats.detected[WEFT_EJECT_CONSECUTIVE_GATEWAY_FAILURE], 0);
}

/* 600 and more are no server errors to Envoy. */
static void test_what_is_a_failure(void **state)
{
	(void)state;
	begin(10, &outlier_defaults);
	for (uint32_t code = 100; code < 1000; code++) {
		memset(cell[0].run, 0, sizeof(cell[0].run));
		weft_outlier_status(&cell[0], code);
		assert_int_equal(cell[0].run[WEFT_RUN_5XX], code >= 500 && code <= 599);
		assert_int_equal(cell[0].run[WEFT_RUN_GATEWAY], code >= 502 && code <= 504);
	}
	assert_int_equal((uint32_t)cell[0].window[WEFT_WINDOW_EXTERNAL], 900);
	assert_int_equal(cell[0].window[WEFT_WINDOW_EXTERNAL] >> 32, 800);
}

/* Gateway failures are looked at first; ejected by them, the run of all failures goes on and is no
 * news. */
static void test_gateway_before_5xx(void **state)
{
	struct weft_img_outlier c = outlier_defaults;

	(void)state;
	c.enforce[WEFT_EJECT_CONSECUTIVE_GATEWAY_FAILURE] = 100;
	begin(10, &c);
	statuses(0, 502, 5, 1);
	assert_true(host[0].ejected);
	assert_int_equal(host[0].why, WEFT_EJECT_CONSECUTIVE_GATEWAY_FAILURE);
	assert_int_equal(d.stats.detected[WEFT_EJECT_CONSECUTIVE_5XX], 0);
	assert_int_equal(d.stats.total, 0); /* the deprecated counter has no gateway failures */
	assert_int_equal(cell[0].run[WEFT_RUN_GATEWAY], 0);
	assert_int_equal(cell[0].run[WEFT_RUN_5XX], 5);
	statuses(0, 502, 20, 2); /* of an ejected host nothing is detected */
	assert_int_equal(d.stats.detected[WEFT_EJECT_CONSECUTIVE_GATEWAY_FAILURE], 1);
}

static void test_detected_but_not_enforced(void **state)
{
	struct weft_img_outlier c = outlier_defaults;

	(void)state;
	c.enforce[WEFT_EJECT_CONSECUTIVE_5XX] = 40;
	begin(10, &c);
	draw = 40;
	statuses(0, 500, 5, 1);
	assert_false(host[0].ejected);
	assert_int_equal(d.stats.detected[WEFT_EJECT_CONSECUTIVE_5XX], 1);
	draw = 39;
	statuses(0, 500, 4, 1); /* the run began anew */
	assert_false(host[0].ejected);
	status(0, 500, 1);
	assert_true(host[0].ejected);
	assert_int_equal(d.stats.detected[WEFT_EJECT_CONSECUTIVE_5XX], 2);
	assert_int_equal(d.stats.enforced[WEFT_EJECT_CONSECUTIVE_5XX], 1);
	assert_int_equal(d.stats.total, 2);
}

static void test_max_ejection_percent(void **state)
{
	struct weft_img_outlier c = outlier_defaults;

	(void)state;
	begin(9, &c); /* one of nine is more than a tenth */
	statuses(0, 500, 5, 1);
	assert_false(host[0].ejected);
	assert_int_equal(d.stats.overflow, 1);
	begin(10, &c);
	statuses(0, 500, 5, 1);
	statuses(1, 500, 5, 1);
	assert_true(host[0].ejected);
	assert_false(host[1].ejected);
	assert_int_equal(d.active, 1);
	c.max_percent = 1000; /* above 100 it is 100 */
	begin(2, &c);
	statuses(0, 500, 5, 1);
	statuses(1, 500, 5, 1);
	assert_int_equal(d.active, 2);
	c.max_percent = 0;
	c.always_one = 1;
	begin(3, &c);
	statuses(0, 500, 5, 1);
	statuses(1, 500, 5, 1);
	assert_true(host[0].ejected);
	assert_false(host[1].ejected);
}

/* base, twice base, ... at the ends of intervals; what it is up to sinks again by one for each good
 * interval. */
static void test_times(void **state)
{
	struct weft_img_outlier c = outlier_defaults;
	uint64_t now = 0;

	(void)state;
	c.max_percent = 100;
	c.max_ms = 70000;
	begin(2, &c);
	for (unsigned int round = 1; round <= 4; round++) {
		static const uint64_t times[] = {30000, 60000, 70000, 70000};
		uint64_t until = now + times[round - 1];

		statuses(0, 500, 5, now);
		assert_true(host[0].ejected);
		assert_int_equal(host[0].ejections, round);
		cell[0].run[WEFT_RUN_5XX] = 4;
		cell[0].run[WEFT_RUN_LOCAL] = 3;
		weft_detector_interval(&d, until - 1);
		assert_true(host[0].ejected);
		weft_detector_interval(&d, until);
		assert_false(host[0].ejected);
		assert_int_equal(cell[0].run[WEFT_RUN_5XX], 0);
		assert_int_equal(cell[0].run[WEFT_RUN_LOCAL], 0);
		now = until;
	}
	/* 4 * 30 s is not below max + base: it rose to 4 only */
	assert_int_equal(host[0].backoff, 4);
	weft_detector_interval(&d, now + 9999); /* less than an interval after the return */
	assert_int_equal(host[0].backoff, 4);
	for (uint32_t i = 1; i <= 5; i++)
		weft_detector_interval(&d, now + 10000 * i);
	assert_int_equal(host[0].backoff, 0);
	statuses(0, 500, 5, now + 60000);
	weft_detector_interval(&d, now + 60000 + 29999);
	assert_true(host[0].ejected);
	weft_detector_interval(&d, now + 60000 + 30000);
	assert_false(host[0].ejected);
}

static void test_jitter(void **state)
{
	struct weft_img_outlier c = outlier_defaults;

	(void)state;
	c.jitter_ms = 999;
	begin(10, &c);
	draw = 1000 * 100 + 50; /* 50 % of enforcing, 50 ms */
	statuses(0, 500, 5, 0);
	assert_int_equal(host[0].jitter_ms, 50);
	weft_detector_interval(&d, 30049);
	assert_true(host[0].ejected);
	weft_detector_interval(&d, 30050);
	assert_false(host[0].ejected);
}

static void window(uint32_t i, int which, uint32_t good, uint32_t all)
{
	cell[i].window[which] = (uint64_t)good << 32 | all;
}

/* 100, 100, 100, 100, 50: mean 90, deviation 20; 90 - 1.9 * 20 = 52. */
static void test_success_rate(void **state)
{
	struct weft_img_outlier c = outlier_defaults;

	(void)state;
	c.max_percent = 100;
	begin(5, &c);
	for (uint32_t i = 0; i < 5; i++)
		window(i, WEFT_WINDOW_EXTERNAL, i == 4 ? 100 : 200, 200);
	weft_detector_interval(&d, 10000);
	assert_true(d.mean[0] == 90 && d.threshold[0] == 52);
	assert_true(host[4].ejected && host[4].rate[0] == 50);
	assert_int_equal(d.active, 1);
	assert_int_equal(host[4].why, WEFT_EJECT_SUCCESS_RATE);
	assert_int_equal(d.stats.success_rate, 1);
	assert_int_equal(cell[4].window[0], 0); /* a window is judged once */
	/* 2 deviations: 50 is not below 50 */
	c.rate_factor = 2000;
	begin(5, &c);
	for (uint32_t i = 0; i < 5; i++)
		window(i, WEFT_WINDOW_EXTERNAL, i == 4 ? 100 : 200, 200);
	weft_detector_interval(&d, 10000);
	assert_int_equal(d.active, 0);
}

static void test_success_rate_needs(void **state)
{
	struct weft_img_outlier c = outlier_defaults;

	(void)state;
	c.max_percent = 100;
	begin(6, &c); /* four of six have had enough requests */
	for (uint32_t i = 0; i < 6; i++)
		window(i, WEFT_WINDOW_EXTERNAL, 0, i < 4 ? 100 : 99);
	window(0, WEFT_WINDOW_EXTERNAL, 100, 100);
	weft_detector_interval(&d, 10000);
	assert_int_equal(d.active, 0);
	assert_true(d.mean[0] < 0);
	/* local failures are judged by themselves */
	begin(5, &c);
	for (uint32_t i = 0; i < 5; i++)
		window(i, WEFT_WINDOW_LOCAL, i == 4 ? 100 : 200, 200);
	weft_detector_interval(&d, 10000);
	assert_int_equal(host[4].why, WEFT_EJECT_LOCAL_ORIGIN_SUCCESS_RATE);
	assert_int_equal(d.active, 1);
}

static void test_failure_percentage(void **state)
{
	struct weft_img_outlier c = outlier_defaults;

	(void)state;
	c.max_percent = 100;
	c.enforce[WEFT_EJECT_FAILURE_PERCENTAGE] = 100;
	c.enforce[WEFT_EJECT_SUCCESS_RATE] = 0;
	begin(5, &c);
	for (uint32_t i = 0; i < 5; i++)
		window(i, WEFT_WINDOW_EXTERNAL, 50, 50);
	window(0, WEFT_WINDOW_EXTERNAL, 15, 100);   /* 85 % */
	window(1, WEFT_WINDOW_EXTERNAL, 151, 1000); /* 84.9 % */
	weft_detector_interval(&d, 10000);
	assert_true(host[0].ejected);
	assert_false(host[1].ejected);
	assert_int_equal(host[0].why, WEFT_EJECT_FAILURE_PERCENTAGE);
	begin(5, &c); /* one too few with 50 requests */
	for (uint32_t i = 0; i < 5; i++)
		window(i, WEFT_WINDOW_EXTERNAL, 0, i ? 50 : 49);
	weft_detector_interval(&d, 10000);
	assert_int_equal(d.active, 0);
	assert_int_equal(d.stats.detected[WEFT_EJECT_FAILURE_PERCENTAGE], 0);
}

/* Whom the success rate has out, the share of failures does not count again. */
static void test_ejected_once(void **state)
{
	struct weft_img_outlier c = outlier_defaults;

	(void)state;
	c.max_percent = 100;
	c.enforce[WEFT_EJECT_FAILURE_PERCENTAGE] = 100;
	begin(5, &c);
	for (uint32_t i = 0; i < 5; i++)
		window(i, WEFT_WINDOW_EXTERNAL, i ? 200 : 0, 200);
	weft_detector_interval(&d, 10000);
	assert_int_equal(d.active, 1);
	assert_int_equal(host[0].ejections, 1);
	weft_detector_interval(&d, 40000);
	assert_int_equal(d.active, 0);
}

static void test_split(void **state)
{
	struct weft_img_outlier c = outlier_defaults;

	(void)state;
	begin(10,
	      &c); /* together: a failed connection is a 503, one in time says nothing by itself */
	assert_int_equal(weft_outlier_reached(&cell[0], WEFT_UNREACHED), 0);
	assert_int_equal(weft_outlier_reached(&cell[0], WEFT_UNREACHED_TIME), 0);
	weft_outlier_reached(&cell[0], WEFT_REACHED);
	assert_int_equal(cell[0].run[WEFT_RUN_GATEWAY], 2);
	assert_int_equal(cell[0].run[WEFT_RUN_5XX], 2);
	weft_outlier_reached(&cell[0], WEFT_REACHED_ALL);
	assert_int_equal(cell[0].run[WEFT_RUN_5XX], 0);
	assert_int_equal((uint32_t)cell[0].window[WEFT_WINDOW_EXTERNAL], 3);
	c.split = 1;
	c.run[WEFT_RUN_LOCAL] = 2;
	begin(10, &c);
	weft_outlier_reached(&cell[0], WEFT_UNREACHED);
	weft_outlier_status(&cell[0], 500);
	weft_outlier_reached(&cell[0], WEFT_REACHED);
	weft_outlier_reached(&cell[0], WEFT_UNREACHED_TIME);
	assert_int_equal(cell[0].run[WEFT_RUN_LOCAL], 1);
	assert_int_equal(cell[0].run[WEFT_RUN_5XX], 1);
	assert_int_equal(weft_outlier_reached(&cell[0], WEFT_UNREACHED), 1u << WEFT_RUN_LOCAL);
	assert_int_equal(cell[0].window[WEFT_WINDOW_LOCAL], 1ull << 32 | 4);
	/* told once until the agent has looked */
	cell[0].run[WEFT_RUN_LOCAL] = 1;
	assert_int_equal(weft_outlier_reached(&cell[0], WEFT_UNREACHED), 0);
}

/* A cluster that changed is another one. */
static void test_begin_anew(void **state)
{
	struct weft_img_outlier c = outlier_defaults;

	(void)state;
	begin(1, &c);
	weft_outlier_status(&cell[0], 500);
	c.run[WEFT_RUN_5XX] = 9;
	assert_int_equal(weft_outlier_begin(&cell[0], &c, 78, 1), 1);
	assert_int_equal(cell[0].run[WEFT_RUN_5XX], 0);
	assert_int_equal(cell[0].limit[WEFT_RUN_5XX], 9);
	assert_int_equal(cell[0].window[WEFT_WINDOW_EXTERNAL], 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_run_of_five),
		cmocka_unit_test(test_what_is_a_failure),
		cmocka_unit_test(test_gateway_before_5xx),
		cmocka_unit_test(test_detected_but_not_enforced),
		cmocka_unit_test(test_max_ejection_percent),
		cmocka_unit_test(test_times),
		cmocka_unit_test(test_jitter),
		cmocka_unit_test(test_success_rate),
		cmocka_unit_test(test_success_rate_needs),
		cmocka_unit_test(test_failure_percentage),
		cmocka_unit_test(test_ejected_once),
		cmocka_unit_test(test_split),
		cmocka_unit_test(test_begin_anew),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
