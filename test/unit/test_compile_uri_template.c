// SPDX-License-Identifier: Apache-2.0
/* Path templates: what Envoy takes and refuses, and the expression it makes. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/compile/uri_template.h"

#define L "a-zA-Z0-9-._~%!$&'()*+,;:@="
#define ONE "[" L "]+"
#define REST "[" L "/]*"

static void test_taken(void **state)
{
	static const char *const v[][2] = {
		{"/", "/"},
		{"/a", "/a"},
		{"/a/", "/a/"},
		{"/*", "/" ONE},
		{"/**", "/" REST},
		{"/*/", "/" ONE "/"},
		{"/a/*/b", "/a/" ONE "/b"},
		{"/a/**/b", "/a/" REST "/b"},
		{"/a/**.mpd", "/a/" REST "\\.mpd"},
		{"/*.txt", "/" ONE "\\.txt"},
		{"/*/**", "/" ONE "/" REST},
		{"/{x}", "/" ONE},
		{"/{x=**}.m3u8", "/" REST "\\.m3u8"},
		{"/a/{x=b/*/c/**}", "/a/b/" ONE "/c/" REST},
		{"/a{x}b/c", "/a" ONE "b/c"},
		{"/{x}.a/b", "/" ONE "\\.a/b"},
		{"/a{x=**}b", "/a" REST "b"},
		{"/{a}/{b}/{c}/{d}/{e}", "/" ONE "/" ONE "/" ONE "/" ONE "/" ONE},
		{"/{abcdefghijklmnop}", "/" ONE},
		{"/{X9_}", "/" ONE},
		{"/{x=**}/{y=b}", "/" REST "/b"},
		{"/{x=a.b}.c", "/a\\.b\\.c"},
		{"/a*b", "/a*b"}, /* sic */
		{"/a+b$(c)", "/a\\+b\\$\\(c\\)"},
		{"/a@b:c=d,e;f!g'h&i~%2F", "/a@b:c=d,e;f!g'h&i~%2F"},
		{"/../.", "/\\.\\./\\."},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(v) / sizeof(*v); i++) {
		const char *why = NULL;
		char *regex = NULL;

		if (weft_uri_template_regex(v[i][0], &regex, &why))
			fail_msg("%s: %s", v[i][0], why);
		assert_string_equal(regex, v[i][1]);
		free(regex);
	}
}

static void test_refused(void **state)
{
	static const char *const v[] = {
		"",
		"a",
		"//",
		"/a//",
		"/a//b",
		"/a b",
		"/\xc3\xa9",
		"/a?b",
		"/a#b",
		"/a|b",
		"/a[b]",
		"/a\"b",
		"/a<b>",
		"/{x",
		"/x}",
		"/{}",
		"/{1x}",
		"/{_x}",
		"/{x-y}",
		"/{x}/{x}",
		"/{x=}",
		"/{x={y}}",
		"/{x}{y}",
		"/a/{x}.{y}",
		"/{x=/a}",
		"/{x=a/}",
		"/{x=*.a}",
		"/{x=**.m}",
		"/a{x=b/*}c",
		"/**/**",
		"/**/*",
		"/**/{x}",
		"/{x=**}/{y}",
		"/{abcdefghijklmnopq}",
		"/*.txt/b",
		"/**.a/b",
		"/*{x}",
		"/{x = a}",
		"/{a}/{b}/{c}/{d}/{e}/{f}",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(v) / sizeof(*v); i++) {
		const char *why = NULL;
		char *regex = NULL;

		if (weft_uri_template_regex(v[i], &regex, &why) != -EINVAL)
			fail_msg("taken: %s", v[i]);
		assert_non_null(why);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_taken),
					   cmocka_unit_test(test_refused)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
