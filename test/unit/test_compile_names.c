// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/compile/build.h"

static void test_numbers_stay(void **state)
{
	struct weft_names *n;
	uint32_t a, b, again;

	(void)state;
	assert_int_equal(weft_names_new(&n), 0);
	assert_int_equal(weft_names_count(n), 1);
	assert_int_equal(weft_names_get(n, "a", 0, &a), 0);
	assert_int_equal(weft_names_get(n, "", 0, &b), 0);
	assert_int_equal(weft_names_get(n, "a", 0, &again), 0);
	assert_int_equal(a, 1);
	assert_int_equal(b, 2);
	assert_int_equal(again, a);
	assert_string_equal(weft_names_text(n, a), "a");
	assert_null(weft_names_text(n, 0));
	assert_null(weft_names_text(n, 3));
	assert_int_equal(weft_names_count(n), 3);
	weft_names_free(n);
	weft_names_free(NULL);
}

static void test_begins_once(void **state)
{
	struct weft_names *n;
	uint64_t first;
	uint32_t a;

	(void)state;
	assert_int_equal(weft_names_new(&n), 0);
	assert_int_equal(weft_names_get(n, "a", 0, &a), 0);
	first = weft_names_begin(n, a);
	assert_true(first > 0);
	usleep(10);
	assert_true(weft_names_begin(n, a) == first);
	assert_true(weft_names_begin(n, a + 1) == 0);
	weft_names_free(n);
}

static void test_kinds_in_high_bits(void **state)
{
	struct weft_names *n;
	uint32_t id;

	(void)state;
	assert_int_equal(weft_names_new(&n), 0);
	assert_int_equal(
		weft_names_get(n, "c", (uint32_t)WEFT_CELL_CLUSTER << WEFT_ID_KIND_SHIFT, &id), 0);
	assert_int_equal(WEFT_ID_KIND(id), WEFT_CELL_CLUSTER);
	assert_string_equal(weft_names_text(n, id), "c");
	assert_null(weft_names_text(n, 1)); /* a bucket of that number */
	weft_names_free(n);
}

static void test_many(void **state)
{
	struct weft_names *n;
	char name[32];
	uint32_t id;

	(void)state;
	assert_int_equal(weft_names_new(&n), 0);
	for (int pass = 0; pass < 2; pass++) {
		for (uint32_t i = 0; i < 5000; i++) {
			snprintf(name, sizeof(name), "name-%u", i);
			assert_int_equal(weft_names_get(n, name, 0, &id), 0);
			assert_int_equal(id, i + 1);
		}
	}
	weft_names_free(n);
}

/* What is in force. */
static uint32_t in_force[1000];
static size_t n_in_force;

/* Asks for names first..first + n - 1 and settles; published, they take the place of what was in
 * force. */
static void round_of(struct weft_names *n, uint32_t first, uint32_t count, uint32_t epoch)
{
	uint32_t id[1000];
	char name[32];

	assert_true(count <= 1000);
	for (uint32_t i = 0; i < count; i++) {
		snprintf(name, sizeof(name), "name-%u", first + i);
		assert_int_equal(weft_names_get(n, name, 0, &id[i]), 0);
	}
	if (epoch) {
		for (size_t i = 0; i < count; i++)
			weft_names_hold(n, id[i]);
		for (size_t i = 0; i < n_in_force; i++)
			weft_names_drop(n, in_force[i]);
		memcpy(in_force, id, count * sizeof(*id));
		n_in_force = count;
	}
	weft_names_settle(n, epoch);
}

static int begin(void **state)
{
	(void)state;
	n_in_force = 0;
	return 0;
}

static size_t released(struct weft_names *n, uint32_t settled)
{
	struct weft_words gone = {0};
	size_t count;

	assert_int_equal(weft_names_retired(n, settled, &gone), 0);
	weft_names_release(n, gone.v, gone.n);
	count = gone.n;
	free(gone.v);
	return count;
}

static void test_retired_and_released(void **state)
{
	struct weft_names *n;
	uint32_t id;

	(void)state;
	assert_int_equal(weft_names_new(&n), 0);
	round_of(n, 0, 3, 1);
	round_of(n, 1, 1, 2); /* name-0 and name-2 are out */
	assert_int_equal(weft_names_waiting(n), 2);
	assert_int_equal(released(n, 1), 0);
	/* still its own, for whoever sees the old epoch */
	assert_string_equal(weft_names_text(n, 1), "name-0");
	assert_int_equal(weft_names_get(n, "other", 0, &id), 0);
	assert_int_equal(id, 4);
	assert_int_equal(weft_names_get(n, "name-1", 0, &id), 0);
	assert_int_equal(weft_names_get(n, "name-2", 0, &id), 0);
	assert_int_equal(id, 3);
	weft_names_hold(n, 3);
	weft_names_settle(n, 3);
	assert_int_equal(weft_names_waiting(n), 1); /* name-2 is back */
	assert_int_equal(released(n, 2), 1);
	assert_null(weft_names_text(n, 1));
	assert_int_equal(weft_names_waiting(n), 0);
	assert_int_equal(weft_names_get(n, "new", 0, &id), 0);
	assert_int_equal(id, 1);
	assert_string_equal(weft_names_text(n, 1), "new");
	weft_names_free(n);
}

static void test_given_up(void **state)
{
	struct weft_names *n;
	uint32_t id;

	(void)state;
	assert_int_equal(weft_names_new(&n), 0);
	round_of(n, 0, 2, 1);
	round_of(n, 1, 2, 0); /* refused: name-2 was never published */
	assert_string_equal(weft_names_text(n, 1), "name-0");
	assert_null(weft_names_text(n, 3));
	assert_int_equal(weft_names_waiting(n), 0);
	assert_int_equal(weft_names_get(n, "x", 0, &id), 0);
	assert_int_equal(id, 3);
	weft_names_free(n);
}

/* Held twice, dropped once; what nobody touches stays as it is. */
static void test_held_stays(void **state)
{
	struct weft_names *n;

	(void)state;
	assert_int_equal(weft_names_new(&n), 0);
	round_of(n, 0, 3, 1);
	weft_names_hold(n, 2);
	weft_names_hold(n, 0);
	weft_names_hold(n, 77);
	weft_names_drop(n, 1);
	weft_names_drop(n, 2);
	weft_names_drop(n, 0);
	weft_names_drop(n, 77);
	weft_names_settle(n, 2);
	assert_int_equal(released(n, 2), 1);
	assert_null(weft_names_text(n, 1));
	assert_string_equal(weft_names_text(n, 2), "name-1");
	assert_string_equal(weft_names_text(n, 3), "name-2");
	weft_names_free(n);
}

/* A number that is in force is not released, whoever asks. */
static void test_in_force_is_not_released(void **state)
{
	const uint32_t ids[] = {1, 9};
	struct weft_names *n;

	(void)state;
	assert_int_equal(weft_names_new(&n), 0);
	round_of(n, 0, 1, 1);
	weft_names_release(n, ids, 2);
	assert_string_equal(weft_names_text(n, 1), "name-0");
	weft_names_free(n);
}

static void test_a_million_names(void **state)
{
	struct weft_names *n;
	uint32_t epoch = 1;

	(void)state;
	assert_int_equal(weft_names_new(&n), 0);
	for (uint32_t i = 0; i < 1000000; i += 1000, epoch++) {
		round_of(n, i, 1000, epoch);
		released(n, epoch);
	}
	/* those of two rounds: the new ones are there before the old ones go */
	assert_int_equal(weft_names_count(n), 2001);
	round_of(n, 0, 0, epoch);
	assert_int_equal(released(n, epoch), 1000);
	weft_names_free(n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(fn) cmocka_unit_test_setup(fn, begin)
		cmocka_unit_test(test_numbers_stay),
		cmocka_unit_test(test_begins_once),
		cmocka_unit_test(test_kinds_in_high_bits),
		cmocka_unit_test(test_many),
		TEST(test_retired_and_released),
		TEST(test_given_up),
		TEST(test_held_stays),
		TEST(test_in_force_is_not_released),
		TEST(test_a_million_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
