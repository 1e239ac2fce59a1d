// SPDX-License-Identifier: Apache-2.0
/* Ejections and results of checks as one list. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agent/marks.h"

static void test_merge(void **state)
{
	const uint32_t h1[] = {3, 5, 9}, h2[] = {1, 5, 7, 9}, h3[] = {4};
	const uint8_t m2[] = {WEFT_MARK_OUT, WEFT_MARK_DEGRADED, WEFT_MARK_GONE,
			      WEFT_MARK_EXCLUDED};
	const struct weft_ejected a[] = {{.pod = 1, .cluster = 2, .host = h1, .n = 3},
					 {.pod = 4, .cluster = 1, .host = h3, .n = 1}};
	const struct weft_ejected b[] = {{.pod = 1, .cluster = 1, .host = h3, .n = 1},
					 {.pod = 1, .cluster = 2, .host = h2, .mark = m2, .n = 4}};
	const uint32_t ids[] = {1, 3, 5, 7, 9};
	const uint8_t marks[] = {WEFT_MARK_OUT, WEFT_MARK_OUT, WEFT_MARK_OUT, WEFT_MARK_GONE,
				 WEFT_MARK_EXCLUDED};
	struct weft_marks m;

	(void)state;
	assert_int_equal(weft_marks_merge(a, 2, b, 2, &m), 0);
	assert_int_equal(m.n, 3);
	assert_int_equal(m.v[0].pod, 1);
	assert_int_equal(m.v[0].cluster, 1);
	assert_int_equal(m.v[0].n, 1);
	assert_int_equal(m.v[1].cluster, 2);
	assert_int_equal(m.v[1].n, 5);
	assert_memory_equal(m.v[1].host, ids, sizeof(ids));
	assert_memory_equal(m.v[1].mark, marks, sizeof(marks));
	assert_int_equal(m.v[2].pod, 4);
	assert_int_equal(m.v[2].host[0], 4);
	assert_int_equal(m.v[2].mark[0], WEFT_MARK_OUT);
	weft_marks_clear(&m);
}

static void test_empty(void **state)
{
	struct weft_marks m;

	(void)state;
	assert_int_equal(weft_marks_merge(NULL, 0, NULL, 0, &m), 0);
	assert_int_equal(m.n, 0);
	weft_marks_clear(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_merge),
					   cmocka_unit_test(test_empty)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
