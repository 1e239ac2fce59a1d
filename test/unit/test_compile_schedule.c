// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "agent/compile/schedule.h"
#include "bpf/abi/limits.h"

/* weights -> hosts in order as letters. */
static void check(const uint32_t *weight, size_t n, const char *want)
{
	uint16_t *order = NULL;
	int got = weft_schedule_make(weight, n, &order);

	for (int i = 0; want[i]; i++) {
		assert_true(i < got);
		assert_int_equal('A' + order[i], want[i]);
	}
	free(order);
}
#define W(...) (const uint32_t[]){__VA_ARGS__}, sizeof((uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t)

static void test_order_of_deadlines(void **state)
{
	(void)state;
	check(W(1, 2), "BAB"); /* due: B at 1/2, then A and B at 1, where A waited longer */
	check(W(2, 4), "BAB");
	check(W(3, 1), "AABA");
	check(W(1, 3), "BBAB");
}

static void test_equal_weights_need_none(void **state)
{
	uint16_t *order = NULL;

	(void)state;
	assert_int_equal(weft_schedule_make((const uint32_t[]){5, 5, 5}, 3, &order), 0);
	assert_int_equal(weft_schedule_make(NULL, 0, &order), 0);
	assert_null(order);
}

static void test_counts_are_exact(void **state)
{
	static const uint32_t weight[] = {10, 20, 30, 50};
	uint32_t count[4] = {0};
	uint16_t *order;
	int n;

	(void)state;
	n = weft_schedule_make(weight, 4, &order);
	assert_int_equal(n, 11);
	for (int i = 0; i < n; i++)
		count[order[i]]++;
	for (int i = 0; i < 4; i++)
		assert_int_equal(count[i] * 10, weight[i]);
	free(order);
}

/* A period over the limit is scaled down; everybody keeps a share, within a part in a thousand. */
static void test_long_periods_are_scaled(void **state)
{
	static const uint32_t weight[] = {1, 999983, 1000003};
	uint32_t count[3] = {0};
	uint16_t *order;
	int n;

	(void)state;
	n = weft_schedule_make(weight, 3, &order);
	assert_true(n > 0 && n <= (int)WEFT_SCHEDULE_MAX);
	for (int i = 0; i < n; i++)
		count[order[i]]++;
	assert_int_equal(count[0], 1);
	assert_true(abs((int)count[1] - (int)count[2]) <= 1);
	free(order);
}

static void test_too_many_hosts(void **state)
{
	uint32_t *weight = calloc(WEFT_SCHEDULE_MAX + 1, sizeof(*weight));
	uint16_t *order;

	(void)state;
	assert_non_null(weight);
	for (uint32_t i = 0; i <= WEFT_SCHEDULE_MAX; i++)
		weight[i] = 1 + i % 2;
	assert_int_equal(weft_schedule_make(weight, WEFT_SCHEDULE_MAX + 1, &order), -E2BIG);
	free(weight);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order_of_deadlines),
		cmocka_unit_test(test_equal_weights_need_none),
		cmocka_unit_test(test_counts_are_exact),
		cmocka_unit_test(test_long_periods_are_scaled),
		cmocka_unit_test(test_too_many_hosts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
