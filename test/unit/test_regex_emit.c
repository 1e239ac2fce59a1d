// SPDX-License-Identifier: Apache-2.0
/* Envoy 1.40's own program sizes (its words with max_program_size: 1), by which it refuses. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "agent/regex/regex.h"

static const struct {
	const char *pattern;
	uint32_t size;
} seen[] = {
	{"(?:\\b){3}", 5},
	{"(?:\\z){3,5}", 4},
	{"(?s).*", 6},
	{"((?s).*)", 8},
	{"x(?s).*", 7},
	{"(?P<a>)(?P<a>)", 8},
	{"a|(?s).*", 9},
	{"(|||a)", 8},
	{"(|a|)", 8},
	{"\\z{2,}", 6},
	{"(?:^|$){2}", 6},
	{"abc|abd|ab", 8},
	{"^abc", 4},
	{"^/a|^/b", 4},
	{"(?i)k", 5},
	{"(?i)\xc3" "\xa9" "", 6},
	{"[^/]+", 7},
	{"/[^/]+/x", 10},
	{".*", 6},
	{"a*a+", 6},
	{"(?i)[a-c]x", 6},
	{"\\pL", 11},
	{"(?i)\\pL", 11},
	{"[\\pL]", 11},
	{"(?<n>a)", 7},
	{"(?i)stra\xc3" "\x9f" "e", 11},
	{"(?:a{2}){3}", 10},
	{"\\pN", 8},
	{"\\PN", 9},
	{"(?s).|a", 5},
	{"^", 2},
	{"$", 4},
	{"a$", 5},
	{"(^a)$", 5},
	{"\\C", 5},
	{"(?:(?:))", 4},
	{"(?i)\\xc3", 5},
	{"(?i)\\xe9", 5},
	{"(?i)[\\xc3]", 5},
	{"(?i)[\\xe0-\\xef]", 5},
	{"(?i)\\xb5", 5},
	{"(?i)\\xff", 5},
	{"(?i)\\xc3\\xa9", 6},
	{"(?i)x\\xe9x", 7},
	{"\\xe9", 5},
	{"\\xb5\xc3" "\xa9" "", 7},
	{"[^a]", 6},
	{"(?i)[^k]", 7},
	{"(?i)\xc3" "\x83" "", 6},
	{"\\pL{3}\\d", 26},
	{"(?i)\\pL{3}", 25},
	{"[\xc3" "\xa9" "]", 6},
	{"[^\xc3" "\xa9" "]", 7},
	{"\\xc9", 5},
	{"/x{0,60}y", 126},
	{"/x{0,20}y", 46},
	{"/x{0,200}y", 406},
};

static void test_sizes(void **state)
{
	struct weft_regex_error error;

	(void)state;
	for (size_t i = 0; i < sizeof(seen) / sizeof(*seen); i++) {
		_auto_regex_ struct weft_regex *re = NULL;

		assert_int_equal(weft_regex_new(seen[i].pattern, seen[i].size, &re, &error), 0);
		if (weft_regex_program_size(re) != seen[i].size)
			fail_msg("%s: %u, Envoy: %u", seen[i].pattern, weft_regex_program_size(re),
				 seen[i].size);
	}
}

static void test_limit(void **state)
{
	struct weft_regex_error error;
	struct weft_regex *re = NULL;

	(void)state;
	assert_int_equal(weft_regex_new("/x{0,47}y", WEFT_REGEX_PROGRAM_MAX, &re, &error), 0);
	assert_int_equal(weft_regex_program_size(re), 100);
	weft_regex_free(re);
	re = NULL;
	assert_int_equal(weft_regex_new("/x{0,48}y", WEFT_REGEX_PROGRAM_MAX, &re, &error), -EINVAL);
	assert_string_equal(error.text, "program size of 102 > max program size of 100");
	/* more than anybody would run */
	assert_int_equal(weft_regex_new("(?:(?:abcdefghijklmnopqrst){100}){10}", UINT32_MAX, &re, &error),
			 -EINVAL);
	assert_string_equal(error.text, "more than 8192 instructions");
	assert_null(re);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_sizes), cmocka_unit_test(test_limit)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
