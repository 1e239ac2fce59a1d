// SPDX-License-Identifier: Apache-2.0
/* Buckets of descriptors: by whom and what they are found, which goes when there are too many, and
 * that none gives too much. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <pthread.h>

#include "agent/proxy/rates.h"

#define SECOND 1000000000ull
/* 3 tokens, one in 10 seconds */
#define COST (160 * SECOND)
static const struct weft_img_bucket bucket = {.max_tokens = 3, .cost = COST, .full = 3 * COST};

static struct weft_rate_ask ask(uint32_t pod, uint32_t id, uint32_t index, const char *key)
{
	return (struct weft_rate_ask){.pod = pod,
				      .id = id,
				      .index = index,
				      .max = 2,
				      .bucket = &bucket,
				      .key = key,
				      .key_len = (uint32_t)strlen(key),
				      .take = true,
				      .hits = 1,
				      .now_ns = 1000 * SECOND};
}

static int pay(struct weft_rates *r, const struct weft_rate_ask *a)
{
	__u64 word;

	return r->pay(r, a, &word);
}

/* How many of 10 are paid. */
static int paid(struct weft_rates *r, struct weft_rate_ask a)
{
	int n = 0;

	for (int i = 0; i < 10; i++)
		n += pay(r, &a);
	return n;
}

static void test_each_has_its_own(void **state)
{
	struct weft_rates *r;

	(void)state;
	assert_int_equal(rates_new(NULL, &r), 0);
	assert_int_equal(paid(r, ask(1, 1, 0, "a")), 3);
	assert_int_equal(paid(r, ask(1, 1, 0, "a")), 0);
	assert_int_equal(paid(r, ask(1, 1, 0, "b")), 3);
	assert_int_equal(paid(r, ask(1, 1, 1, "a")), 3);
	assert_int_equal(paid(r, ask(1, 2, 0, "a")), 3);
	assert_int_equal(paid(r, ask(2, 1, 0, "a")), 3);
	rates_free(r);
}

static void test_hits_and_time(void **state)
{
	struct weft_rate_ask a = ask(1, 1, 0, "");
	struct weft_rates *r;
	__u64 word;

	(void)state;
	assert_int_equal(rates_new(NULL, &r), 0);
	a.hits = 0; /* asks for nothing, and is refused (Envoy 1.40) */
	assert_int_equal(pay(r, &a), 0);
	a.hits = 4;
	assert_int_equal(pay(r, &a), 0);
	a.hits = 2;
	assert_int_equal(pay(r, &a), 1);
	assert_int_equal(pay(r, &a), 0);
	a.hits = 1;
	assert_int_equal(pay(r, &a), 1);
	a.now_ns += 10 * SECOND - 1;
	assert_int_equal(pay(r, &a), 0);
	a.now_ns += 1;
	assert_int_equal(pay(r, &a), 1);
	/* only looked at: nothing goes, nothing comes to be */
	a.now_ns += 10 * SECOND;
	a.take = false;
	for (int i = 0; i < 5; i++)
		assert_int_equal(r->pay(r, &a, &word), 1);
	a.take = true;
	assert_int_equal(pay(r, &a), 1);
	assert_int_equal(pay(r, &a), 0);
	a = ask(9, 9, 9, "");
	a.take = false;
	assert_int_equal(pay(r, &a), 1);
	assert_int_equal(rates_count(r), 1);
	rates_free(r);
}

static void test_the_one_used_longest_ago_goes(void **state)
{
	struct weft_rates *r;

	(void)state;
	assert_int_equal(rates_new(NULL, &r), 0);
	paid(r, ask(1, 1, 0, "a"));
	paid(r, ask(1, 1, 0, "b"));
	assert_int_equal(paid(r, ask(1, 1, 0, "a")), 0);
	assert_int_equal(paid(r, ask(1, 1, 0, "c")), 3); /* b goes */
	assert_int_equal(rates_count(r), 2);
	assert_int_equal(paid(r, ask(1, 1, 0, "a")), 0);
	assert_int_equal(paid(r, ask(1, 1, 0, "b")), 3);
	rates_free(r);
}

/* What is full again is as good as gone, and goes: limits and pods that are no longer there leave
 * nothing. */
static void test_nothing_stays(void **state)
{
	struct weft_rate_ask a;
	struct weft_rates *r;

	(void)state;
	assert_int_equal(rates_new(NULL, &r), 0);
	for (uint32_t id = 0; id < 100000; id++) {
		a = ask(1, id, 0, "a");
		a.now_ns += id * SECOND;
		assert_int_equal(pay(r, &a), 1);
		assert_true(rates_count(r) <= 64 * 17);
	}
	rates_free(r);
}

/* Each of many values has its own bucket, and of these the ones used longest ago go. */
static void test_many_values(void **state)
{
	struct weft_rates *r;
	struct weft_rate_ask a;
	char key[16];

	(void)state;
	assert_int_equal(rates_new(NULL, &r), 0);
	for (int turn = 0; turn < 4; turn++) {
		for (int i = 0; i < 20000; i++) {
			snprintf(key, sizeof(key), "%d", i);
			a = ask(1, 1, 0, key);
			a.max = 20000;
			assert_int_equal(pay(r, &a), turn < 3);
		}
	}
	assert_int_equal(rates_count(r), 20000);
	a = ask(1, 1, 0, "new");
	a.max = 10000;
	assert_int_equal(pay(r, &a), 1);
	assert_int_equal(rates_count(r), 10000);
	a = ask(1, 1, 0, "19999");
	a.max = 10000;
	assert_int_equal(pay(r, &a), 0);
	a = ask(1, 1, 0, "10000");
	a.max = 10000;
	assert_int_equal(pay(r, &a), 1); /* it had gone */
	rates_free(r);
}

static void test_pod_goes(void **state)
{
	struct weft_rates *r;

	(void)state;
	assert_int_equal(rates_new(NULL, &r), 0);
	for (uint32_t id = 0; id < 100; id++) {
		paid(r, ask(1, id, id % 3, "a"));
		paid(r, ask(2, id, id % 3, "a"));
	}
	rates_pod_drop(r, 1);
	assert_int_equal(rates_count(r), 100);
	assert_int_equal(paid(r, ask(2, 7, 1, "a")), 0);
	assert_int_equal(paid(r, ask(1, 7, 1, "a")), 3);
	rates_free(r);
}

static void *payer(void *arg)
{
	struct weft_rates *r = arg;
	long n = 0;

	for (int i = 0; i < 20000; i++) {
		struct weft_rate_ask a = ask(1, 1, 0, "a");

		n += pay(r, &a);
	}
	return (void *)n;
}

static void test_threads_get_as_many_as_there_are(void **state)
{
	struct weft_rates *r;
	pthread_t thread[4];
	long n = 0;

	(void)state;
	assert_int_equal(rates_new(NULL, &r), 0);
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, payer, r), 0);
	for (int i = 0; i < 4; i++) {
		void *ret;

		assert_int_equal(pthread_join(thread[i], &ret), 0);
		n += (long)ret;
	}
	assert_int_equal(n, 3);
	rates_free(r);
}

/* Where programs pay as well: a cell, but not for who has a bucket here already. */
static void test_cells(void **state)
{
	struct weft_store *s;
	struct weft_rates *r;
	uint32_t cell;

	(void)state;
	assert_int_equal(weft_store_new_heap(64u << 10, 4u << 20, &s), 0);
	assert_int_equal(rates_new(s, &r), 0);
	cell = r->cell(r, 1, 5);
	assert_int_not_equal(cell, 0);
	assert_int_equal(r->cell(r, 1, 5), cell);
	assert_int_equal(weft_cell_find(1, 5), cell);
	assert_int_equal(paid(r, ask(1, 6, 0, "")), 3);
	assert_int_equal(r->cell(r, 1, 6), 0);
	assert_int_not_equal(r->cell(r, 2, 6), 0);
	rates_pod_drop(r, 1);
	assert_int_not_equal(r->cell(r, 1, 6), 0);
	rates_free(r);
	weft_store_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_has_its_own),
		cmocka_unit_test(test_hits_and_time),
		cmocka_unit_test(test_the_one_used_longest_ago_goes),
		cmocka_unit_test(test_nothing_stays),
		cmocka_unit_test(test_many_values),
		cmocka_unit_test(test_pod_goes),
		cmocka_unit_test(test_cells),
		cmocka_unit_test(test_threads_get_as_many_as_there_are),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
