// SPDX-License-Identifier: Apache-2.0
/* Counters of connection managers: one entry a name, and those for which none is left. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "agent/store/store.h"
#include "bpf/engine/engine.h"

static void test_names(void **state)
{
	char longest[WEFT_HTTP_STAT_NAME + 1], name[16];
	struct weft_store *s;

	(void)state;
	assert_int_equal(weft_store_new_heap(1u << 20, 1u << 20, &s), 0);
	assert_int_equal(weft_store_http_stat(s, "a"), 1);
	assert_int_equal(weft_store_http_stat(s, "b"), 2);
	assert_int_equal(weft_store_http_stat(s, "a"), 1);
	assert_int_equal(weft_store_http_stat(s, ""), 0);
	memset(longest, 'x', sizeof(longest));
	longest[WEFT_HTTP_STAT_NAME] = '\0';
	assert_int_equal(weft_store_http_stat(s, longest), 0);
	longest[WEFT_HTTP_STAT_NAME - 1] = '\0';
	assert_int_equal(weft_store_http_stat(s, longest), 3);
	for (uint32_t i = 4; i < WEFT_HTTP_STATS_MAX; i++) {
		snprintf(name, sizeof(name), "n%u", i);
		assert_int_equal(weft_store_http_stat(s, name), i);
	}
	assert_int_equal(weft_store_http_stat(s, "one more"), 0);
	assert_int_equal(weft_store_http_stat(s, "b"), 2);
	weft_store_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_names)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
