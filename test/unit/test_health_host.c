// SPDX-License-Identifier: Apache-2.0
/* What checks make of one host: thresholds, flags, counters, intervals; numbers worked out by hand.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "agent/compile/compile.h"
#include "agent/health/host.h"

static struct weft_health_conf conf;
static struct weft_health_stats stats;
static struct weft_health_host host;
static uint64_t draw;

static uint64_t drawn(void *ctx)
{
	(void)ctx;
	return draw;
}

static void begin(uint32_t unhealthy, uint32_t healthy)
{
	conf = (struct weft_health_conf){.unhealthy_threshold = unhealthy,
					 .healthy_threshold = healthy,
					 .interval_ms = 1000,
					 .unhealthy_ms = 2000,
					 .unhealthy_edge_ms = 300,
					 .healthy_edge_ms = 400,
					 .no_traffic_ms = 60000,
					 .no_traffic_healthy_ms = 90000};
	stats = (struct weft_health_stats){0};
	weft_health_host_init(&host, &conf);
}

static enum weft_health_change good(void)
{
	return weft_health_succeeded(&host, &conf, false, &stats);
}

static enum weft_health_change bad(enum weft_health_failure why)
{
	return weft_health_failed(&host, &conf, why, &stats);
}

static void test_first(void **state)
{
	(void)state;
	begin(3, 3);
	assert_int_equal(weft_health_mark(&host), WEFT_MARK_OUT);
	assert_int_equal(good(), WEFT_HEALTH_CHANGED); /* whatever the threshold is */
	assert_int_equal(weft_health_mark(&host), -1);
	assert_int_equal(stats.healthy, 1);
	weft_health_host_gone(&host, &stats);
	assert_int_equal(stats.healthy, 0);

	begin(3, 3);
	assert_int_equal(bad(WEFT_HEALTH_NETWORK), WEFT_HEALTH_UNCHANGED);
	/* it is not the first result any more */
	assert_int_equal(good(), WEFT_HEALTH_PENDING);
	assert_int_equal(good(), WEFT_HEALTH_PENDING);
	assert_int_equal(good(), WEFT_HEALTH_CHANGED);
}

static void test_thresholds(void **state)
{
	(void)state;
	begin(3, 2);
	good();
	for (enum weft_health_failure why = WEFT_HEALTH_RETRIABLE; why <= WEFT_HEALTH_TIMEOUT;
	     why++) {
		if (why == WEFT_HEALTH_PASSIVE)
			continue;
		assert_int_equal(bad(why), WEFT_HEALTH_PENDING);
		assert_int_equal(bad(why), WEFT_HEALTH_PENDING);
		assert_int_equal(good(),
				 WEFT_HEALTH_UNCHANGED); /* they count from the start again */
		assert_int_equal(bad(why), WEFT_HEALTH_PENDING);
		assert_int_equal(bad(why), WEFT_HEALTH_PENDING);
		assert_false(host.failed);
		assert_int_equal(bad(why), WEFT_HEALTH_CHANGED);
		assert_true(host.failed);
		assert_int_equal(host.timeout, why == WEFT_HEALTH_TIMEOUT);
		assert_int_equal(good(), WEFT_HEALTH_PENDING);
		assert_int_equal(bad(why), WEFT_HEALTH_UNCHANGED);
		assert_int_equal(good(), WEFT_HEALTH_PENDING);
		assert_int_equal(good(), WEFT_HEALTH_CHANGED);
		assert_false(host.timeout);
	}
	/* what the host says itself counts at once */
	assert_int_equal(bad(WEFT_HEALTH_ACTIVE), WEFT_HEALTH_CHANGED);
	assert_int_equal(stats.healthy, 0);
	good();
	good();
	assert_int_equal(bad(WEFT_HEALTH_PASSIVE), WEFT_HEALTH_CHANGED);
	assert_int_equal(stats.passive_failure, 1);
}

/* As in Envoy it is counted up to exactly the threshold: none of 0 is reached. */
static void test_threshold_0(void **state)
{
	(void)state;
	begin(0, 0);
	good();
	for (int i = 0; i < 10; i++)
		assert_int_equal(bad(WEFT_HEALTH_NETWORK), WEFT_HEALTH_PENDING);
	assert_int_equal(bad(WEFT_HEALTH_ACTIVE), WEFT_HEALTH_CHANGED);
	for (int i = 0; i < 10; i++)
		assert_int_equal(good(), WEFT_HEALTH_PENDING);
}

static void test_flags(void **state)
{
	(void)state;
	begin(1, 1);
	good();
	assert_int_equal(weft_health_succeeded(&host, &conf, true, &stats), WEFT_HEALTH_CHANGED);
	assert_int_equal(weft_health_mark(&host), WEFT_MARK_DEGRADED);
	assert_int_equal(weft_health_succeeded(&host, &conf, true, &stats), WEFT_HEALTH_UNCHANGED);
	assert_int_equal(stats.degraded, 1);
	bad(WEFT_HEALTH_ACTIVE); /* it stays degraded while it is failed */
	assert_int_equal(stats.degraded, 1);
	assert_int_equal(weft_health_mark(&host), WEFT_MARK_OUT);
	host.excluded = true;
	assert_int_equal(weft_health_mark(&host), WEFT_MARK_EXCLUDED);
	good();
	assert_false(host.excluded);
	assert_int_equal(stats.degraded, 0);
	assert_int_equal(weft_health_mark(&host), -1);

	/* a timeout and a failure take turns */
	bad(WEFT_HEALTH_TIMEOUT);
	assert_true(host.timeout);
	assert_int_equal(bad(WEFT_HEALTH_NETWORK), WEFT_HEALTH_UNCHANGED);
	assert_false(host.timeout);
	bad(WEFT_HEALTH_TIMEOUT);
	assert_true(host.timeout);
}

static void test_new_hosts(void **state)
{
	(void)state;
	begin(2, 2);
	conf.exclude_new = true;
	weft_health_host_init(&host, &conf);
	assert_int_equal(weft_health_mark(&host), WEFT_MARK_EXCLUDED);
	/* it is failed as before, but it counts now */
	assert_int_equal(bad(WEFT_HEALTH_NETWORK), WEFT_HEALTH_CHANGED);
	assert_int_equal(weft_health_mark(&host), WEFT_MARK_OUT);
}

static void test_counters(void **state)
{
	(void)state;
	begin(2, 2);
	good();
	bad(WEFT_HEALTH_NETWORK);
	bad(WEFT_HEALTH_TIMEOUT);
	bad(WEFT_HEALTH_ACTIVE);
	bad(WEFT_HEALTH_RETRIABLE);
	bad(WEFT_HEALTH_PASSIVE);
	assert_int_equal(stats.success, 1);
	assert_int_equal(stats.failure, 5);
	assert_int_equal(stats.network_failure, 2);
	assert_int_equal(stats.passive_failure, 1);
}

static uint64_t interval(bool succeeded, enum weft_health_change change, bool traffic)
{
	return weft_health_interval(&conf, succeeded, change, traffic, drawn, NULL);
}

static void test_intervals(void **state)
{
	(void)state;
	begin(2, 2);
	draw = 0;
	assert_int_equal(interval(true, WEFT_HEALTH_UNCHANGED, true), 1000);
	assert_int_equal(interval(true, WEFT_HEALTH_CHANGED, true), 1000);
	assert_int_equal(interval(true, WEFT_HEALTH_PENDING, true), 400);
	assert_int_equal(interval(false, WEFT_HEALTH_UNCHANGED, true), 2000);
	assert_int_equal(interval(false, WEFT_HEALTH_CHANGED, true), 2000);
	assert_int_equal(interval(false, WEFT_HEALTH_PENDING, true), 300);
	assert_int_equal(interval(true, WEFT_HEALTH_UNCHANGED, false), 90000);
	assert_int_equal(interval(true, WEFT_HEALTH_PENDING, false), 60000);
	assert_int_equal(interval(false, WEFT_HEALTH_CHANGED, false), 60000);
}

static void test_jitter(void **state)
{
	(void)state;
	begin(2, 2);
	assert_int_equal(weft_health_first(&conf, drawn, NULL), 0);
	conf.initial_jitter_ms = 50;
	draw = 149;
	assert_int_equal(weft_health_first(&conf, drawn, NULL), 49);
	draw = 50;
	assert_int_equal(weft_health_first(&conf, drawn, NULL), 1); /* never at once: by a timer */
	conf.interval_jitter_ms = 100;
	draw = 250;
	assert_int_equal(interval(true, WEFT_HEALTH_UNCHANGED, true), 1050);
	conf.interval_jitter_percent = 10; /* of 1000: less than 100 */
	assert_int_equal(interval(true, WEFT_HEALTH_UNCHANGED, true), 1100);
	conf.interval_jitter_ms = 0;
	draw = 99;
	assert_int_equal(interval(true, WEFT_HEALTH_UNCHANGED, true), 1099);
	conf.interval_ms = 0;
	assert_int_equal(interval(true, WEFT_HEALTH_UNCHANGED, true), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_first),	    cmocka_unit_test(test_thresholds),
		cmocka_unit_test(test_threshold_0), cmocka_unit_test(test_flags),
		cmocka_unit_test(test_new_hosts),   cmocka_unit_test(test_counters),
		cmocka_unit_test(test_intervals),   cmocka_unit_test(test_jitter),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
