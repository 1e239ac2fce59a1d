// SPDX-License-Identifier: Apache-2.0

/* Token buckets: refill, fullness, exactness under threads. */

#include <pthread.h>

#include "test/unit/image_fixture.h"

#define SECOND 1000000000ull

static __u32 bucket(__u32 id, __u32 max, __u64 cost)
{
	struct weft_img_bucket b = { .cell = id, .max_tokens = max, .cost = cost, .full = max * cost };

	return FIX_PUT(b);
}

static int take(__u32 b, __u64 now)
{
	return weft_bucket_take(fix_cell(FIX_AT(struct weft_img_bucket, b)->cell),
				FIX_AT(struct weft_img_bucket, b), now);
}

static void starts_full_and_refills(void **state)
{
	__u32 b = bucket(1, 3, 16 * SECOND); /* one a second */
	__u64 t = 100 * SECOND;

	(void)state;
	assert_int_equal(weft_bucket_level(fix_cell(1), FIX_AT(struct weft_img_bucket, b), t), 3);
	for (int i = 0; i < 3; i++)
		assert_true(take(b, t));
	assert_false(take(b, t));
	assert_false(take(b, t + SECOND - 1));
	assert_true(take(b, t + SECOND));
	assert_false(take(b, t + SECOND));
	/* half a token is kept, not lost */
	assert_false(take(b, t + SECOND + SECOND / 2));
	assert_true(take(b, t + 2 * SECOND));
	/* never more than max, however long it waits */
	for (int i = 0; i < 3; i++)
		assert_true(take(b, t + 100000 * SECOND));
	assert_false(take(b, t + 100000 * SECOND));
	/* a clock read before another taker's */
	assert_false(take(b, t + 99999 * SECOND));
}

static void zero_refuses_all(void **state)
{
	__u32 b = bucket(2, 0, SECOND);

	(void)state;
	assert_false(take(b, SECOND));
	assert_false(take(b, 1000 * SECOND));
}

#define THREADS 4
static __u32 shared;
static int got[THREADS];

static void *taker(void *arg)
{
	for (int i = 0; i < 20000; i++)
		*(int *)arg += take(shared, SECOND);
	return NULL;
}

static void exact_under_threads(void **state)
{
	pthread_t t[THREADS];
	int sum = 0;

	(void)state;
	shared = bucket(3, 10000, SECOND);
	fix_cell(3);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&t[i], NULL, taker, &got[i]), 0);
	for (int i = 0; i < THREADS; i++) {
		pthread_join(t[i], NULL);
		sum += got[i];
	}
	assert_int_equal(sum, 10000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(starts_full_and_refills),
		cmocka_unit_test(zero_refuses_all),
		cmocka_unit_test(exact_under_threads),
	};

	fix_open();
	int r = cmocka_run_group_tests(tests, NULL, NULL);

	fix_close();
	return r;
}
