// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_numbers_stay),
		cmocka_unit_test(test_kinds_in_high_bits),
		cmocka_unit_test(test_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
