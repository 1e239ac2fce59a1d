// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "agent/json_out.h"

static void test_bytes(void **state)
{
	json_t *good = weft_json_bytes("a\xc3\xa9", 3), *bad = weft_json_bytes("a\xff\x01", 3);

	(void)state;
	assert_string_equal(json_string_value(good), "a\xc3\xa9");
	assert_string_equal(json_string_value(bad), "a\\xff\x01");
	json_decref(good);
	json_decref(bad);
}

static void test_error(void **state)
{
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;
	json_t *j, *e;

	(void)state;
	weft_diag_add(&diag, -EINVAL, "Listener/l", "filter_chains[0]", "bad \xff");
	j = weft_json_error(WEFT_EXIT_FAILED, &diag, "no %s", "good");
	e = json_object_get(j, "error");
	assert_string_equal(json_string_value(json_object_get(e, "code")), "failed");
	assert_string_equal(json_string_value(json_object_get(e, "message")), "no good");
	e = json_array_get(json_object_get(e, "causes"), 0);
	assert_string_equal(json_string_value(json_object_get(e, "resource")), "Listener/l");
	assert_string_equal(json_string_value(json_object_get(e, "field")), "filter_chains[0]");
	assert_string_equal(json_string_value(json_object_get(e, "reason")), "bad \\xff");
	json_decref(j);
	j = weft_json_error(WEFT_EXIT_USAGE, NULL, "x");
	assert_null(json_object_get(json_object_get(j, "error"), "causes"));
	json_decref(j);
}

/* What the daemon says becomes the exit status; a word that is not known is a failure. */
static void test_codes(void **state)
{
	static const enum weft_exit codes[] = {WEFT_EXIT_FAILED, WEFT_EXIT_USAGE,
					       WEFT_EXIT_UNREACHABLE};
	json_t *j;

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		j = weft_json_error(codes[i], NULL, "test");
		assert_int_equal(weft_out_error_object(false, j), codes[i]);
		json_decref(j);
	}
	j = json_pack("{s:{s:s}}", "error", "code", "strange");
	assert_int_equal(weft_out_error_object(false, j), WEFT_EXIT_FAILED);
	json_decref(j);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bytes),
		cmocka_unit_test(test_error),
		cmocka_unit_test(test_codes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
