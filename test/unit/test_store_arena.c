// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "agent/store/arena.h"

static void test_rounds_and_counts(void **state)
{
	struct weft_arena *a;
	struct weft_run *x, *y;

	(void)state;
	assert_int_equal(weft_arena_new(64, 64 + 32, &a), 0);
	assert_int_equal(weft_arena_get(a, 1, &x), 0);
	assert_int_equal(x->off, 64);
	assert_int_equal(x->len, 8);
	assert_int_equal(weft_arena_get(a, 24, &y), 0);
	assert_int_equal(y->off, 72);
	assert_int_equal(weft_arena_used(a), 32);
	weft_arena_free(a);
}

static void test_full(void **state)
{
	struct weft_arena *a;
	struct weft_run *x, *y;

	(void)state;
	assert_int_equal(weft_arena_new(0, 64, &a), 0);
	assert_int_equal(weft_arena_get(a, 64, &x), 0);
	assert_int_equal(weft_arena_get(a, 8, &y), -ENOSPC);
	assert_int_equal(weft_arena_get(a, UINT32_MAX, &y), -ENOSPC);
	weft_arena_put(a, x);
	assert_int_equal(weft_arena_get(a, 8, &y), 0);
	weft_arena_free(a);
}

/* Whatever the order in which neighbours come back, the whole can be given out at once again. */
static void test_neighbours_are_joined(void **state)
{
	static const int orders[][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
					{1, 2, 0}, {2, 0, 1}, {2, 1, 0}};

	(void)state;
	for (size_t i = 0; i < sizeof(orders) / sizeof(*orders); i++) {
		struct weft_run *r[3], *all;
		struct weft_arena *a;

		assert_int_equal(weft_arena_new(8, 8 + 96, &a), 0);
		for (int k = 0; k < 3; k++)
			assert_int_equal(weft_arena_get(a, 32, &r[k]), 0);
		for (int k = 0; k < 3; k++)
			weft_arena_put(a, r[orders[i][k]]);
		assert_int_equal(weft_arena_used(a), 0);
		assert_int_equal(weft_arena_get(a, 96, &all), 0);
		assert_int_equal(all->off, 8);
		weft_arena_free(a);
	}
}

/* Random life: runs never overlap, and all comes back as one. */
static void test_random(void **state)
{
	enum { N = 400, SIZE = 1 << 16 };
	struct weft_run *run[N] = {0};
	static uint8_t owner[SIZE / 8];
	struct weft_arena *a;
	uint64_t seed = 1;

	(void)state;
	assert_int_equal(weft_arena_new(0, SIZE, &a), 0);
	for (int step = 0; step < 40000; step++) {
		seed = seed * 6364136223846793005ull + 1442695040888963407ull;
		uint32_t i = (uint32_t)(seed >> 33) % N;

		if (run[i]) {
			for (uint32_t o = run[i]->off; o < run[i]->off + run[i]->len; o += 8)
				owner[o / 8] = 0;
			weft_arena_put(a, run[i]);
			run[i] = NULL;
		} else if (!weft_arena_get(a, 1 + (uint32_t)(seed >> 20) % 500, &run[i])) {
			for (uint32_t o = run[i]->off; o < run[i]->off + run[i]->len; o += 8) {
				assert_int_equal(owner[o / 8], 0);
				owner[o / 8] = 1;
			}
		}
	}
	for (int i = 0; i < N; i++) {
		if (run[i])
			weft_arena_put(a, run[i]);
	}
	assert_int_equal(weft_arena_used(a), 0);
	assert_int_equal(weft_arena_get(a, SIZE, &run[0]), 0);
	weft_arena_free(a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rounds_and_counts),
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_neighbours_are_joined),
		cmocka_unit_test(test_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
