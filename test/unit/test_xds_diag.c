// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "xds/diag.h"

static void entries_and_text(void **state)
{
	struct weft_diag diag = WEFT_DIAG_INIT;
	char *text;

	(void)state;
	assert_null(weft_diag_text(&diag));
	assert_int_equal(weft_diag_add(&diag, -EINVAL, "Listener/a", "b.c", "is %d", 5), -EINVAL);
	assert_int_equal(weft_diag_add(&diag, -ENOENT, NULL, NULL, "two\nlines"), -ENOENT);
	text = weft_diag_text(&diag);
	assert_string_equal(text, "Listener/a: b.c: is 5; two?lines");
	free(text);
	weft_diag_clear(&diag);
	assert_int_equal(diag.n, 0);
	assert_int_equal(weft_diag_add(NULL, -EINVAL, "x", "y", "z"), -EINVAL);
}

static void number_of_causes_is_bounded(void **state)
{
	struct weft_diag diag = WEFT_DIAG_INIT;

	(void)state;
	for (int i = 0; i < 1000; i++)
		assert_int_equal(weft_diag_add(&diag, -EINVAL, "r", "f", "%d", i), -EINVAL);
	assert_int_equal(diag.n, 64);
	assert_string_equal(diag.entries[0].reason, "0"); /* the first ones stay */
	weft_diag_clear(&diag);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(entries_and_text),
					   cmocka_unit_test(number_of_causes_is_bounded)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
