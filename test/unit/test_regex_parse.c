// SPDX-License-Identifier: Apache-2.0
/* What RE2's syntax is, and what is refused with RE2's words. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/regex/regex.h"

static void refused(const char *pattern, const char *why)
{
	struct weft_regex_error error;
	_auto_regex_ struct weft_regex *re = NULL;

	assert_int_equal(weft_regex_new(pattern, UINT32_MAX, &re, &error), -EINVAL);
	assert_null(re);
	assert_string_equal(error.text, why);
}

static void test_refused(void **state)
{
	(void)state;
	refused("a(b", "missing ): a(b");
	refused("a)", "unexpected ): a)");
	refused("[a", "missing ]: [a");
	refused("x[", "missing ]: [");
	refused("[b-a]", "invalid character class range: b-a");
	refused("[[:foo:]]", "invalid character class range: [:foo:]");
	refused("\\p{Foo}", "invalid character class range: \\p{Foo}");
	refused("\\pX", "invalid character class range: \\pX");
	refused("a\\", "trailing \\");
	refused("\\q", "invalid escape sequence: \\q");
	refused("\\1", "invalid escape sequence: \\1");
	refused("\\8", "invalid escape sequence: \\8");
	refused("\\Z", "invalid escape sequence: \\Z");
	refused("\\x{100}", "invalid escape sequence: \\x{100");
	refused("\\777", "invalid escape sequence: \\777");
	refused("*a", "no argument for repetition operator: *");
	refused("(|*)", "no argument for repetition operator: *");
	refused("a**", "bad repetition operator: **");
	refused("a*{2}", "bad repetition operator: *{2}");
	refused("a{1001}", "invalid repetition size: {1001}");
	refused("a{3,2}", "invalid repetition size: {3,2}");
	refused("(a{500}){3}", "invalid repetition size: {3}");
	refused("(?=b)", "invalid perl operator: (?=");
	refused("a(?!b)", "invalid perl operator: (?!");
	refused("(?i-)", "invalid perl operator: (?i-)");
	refused("(?P=n)", "invalid perl operator: (?P");
	refused("(?P<n", "invalid named capture group: (?P<n");
	refused("(?P<>a)", "invalid named capture group: (?P<>");
	refused("(?P<a b>c)", "invalid named capture group: (?P<a b>");
}

static void test_nesting(void **state)
{
	static const char why[] = "expression nests too deeply: (?:";
	struct weft_regex_error error;
	char deep[4096] = "";

	(void)state;
	for (int over = 1; over >= 0; over--) {
		_auto_regex_ struct weft_regex *re = NULL;

		deep[0] = '\0';
		for (int i = 0; i < 1000 + over; i++)
			strcat(deep, "(?:");
		for (int i = 0; i < 1000 + over; i++)
			strcat(deep, ")");
		assert_int_equal(weft_regex_new(deep, UINT32_MAX, &re, &error), over ? -EINVAL : 0);
		if (over)
			assert_memory_equal(error.text, why, sizeof(why) - 1);
	}
}

/* The whole text, by table. */
static bool fits(const char *pattern, const char *text, size_t len)
{
	_auto_regex_ struct weft_regex *re = NULL;
	struct weft_regex_error error;
	const struct weft_img_dfa *t;
	const uint16_t *next;
	void *bytes;
	size_t n;
	uint32_t s;

	if (weft_regex_new(pattern, UINT32_MAX, &re, &error))
		fail_msg("%s: %s", pattern, error.text);
	assert_int_equal(weft_regex_dfa(re, 1 << 20, &bytes, &n), 0);
	t = bytes;
	next = (const uint16_t *)(t + 1);
	s = t->start;
	for (size_t i = 0; i < len; i++)
		s = next[s / 2 + t->class_of[(uint8_t)text[i]]];
	s = next[s / 2];
	free(bytes);
	return s;
}
#define YES(pattern, text) assert_true(fits(pattern, text, sizeof(text) - 1))
#define NO(pattern, text) assert_false(fits(pattern, text, sizeof(text) - 1))

static void test_classes(void **state)
{
	(void)state;
	YES("[[:alpha:]]+", "azAZ");
	NO("[[:alpha:]]", "1");
	YES("[[:^alpha:]]", "1");
	YES("[[:word:]]+", "a_1");
	YES("[[:cntrl:]]+", "\0\x7f");
	YES("[[:ascii:]]+", "\0\x7f");
	NO("[[:ascii:]]", "\x80");
	YES("[]a]+", "]a");
	YES("[^]a]", "b");
	YES("[a-]+", "a-");
	YES("[\\d\\-x]+", "1-x");
	YES("\\d\\D\\s\\S\\w\\W", "1a ab-");
	YES("\\pL\\p{Lu}\\P{L}\\p{^L}", "aA1-");
	YES("\\p{Latin}", "\xe9");
	NO("\\p{Greek}", "a");
	YES("[\\x41-\\x43\\x{44}]+", "ABCD");
	YES("\\101\\07", "A\7");
	YES("\\a\\f\\n\\r\\t\\v", "\a\f\n\r\t\v");
	YES("\\Qa.b*\\E+", "a.b***");
	YES("\\.\\_\\-\\/", "._-/");
	/* bytes, not characters */
	YES("a.b", "a\xe9" "b");
	NO("a.b", "a\xc3\xa9" "b");
	YES("a\xc3\xa9" "b", "a\xc3\xa9" "b");
	YES("\\C", "\n");
	NO(".", "\n");
	NO("[^\\x00-\\xff]", "a");
}

static void test_flags(void **state)
{
	(void)state;
	YES("(?i)abK[x-z]1", "ABkX1");
	YES("(?i:a)b", "Ab");
	NO("(?i:a)b", "AB");
	NO("(?i)a(?-i)b", "AB");
	YES("(?i)\\pL", "A");
	YES("(?s)a.b", "a\nb");
	YES("(?m)a$\n^b", "a\nb");
	NO("a$\n^b", "a\nb");
	YES("(?s-i:.)", "\n");
	YES("(a(?i)b)c", "aBc");
	NO("(a(?i)b)c", "aBC");
	/* only ASCII has cases here */
	NO("(?i)\xe9", "\xc9");
}

static void test_repetition(void **state)
{
	(void)state;
	YES("a{2}", "aa");
	NO("a{2}", "aaa");
	YES("a{2,}", "aaaa");
	YES("a{0,2}b", "aab");
	NO("a{1,2}b", "b");
	YES("a{,2}", "a{,2}");
	YES("a{", "a{");
	YES("x{2}?y??", "xx");
	YES("(?:ab|c)*", "abccab");
	YES("(a*)*b", "aaab");
	YES("(|a)+", "aa");
	YES("a*a+aab", "aaaab");
	NO("a*a+aab", "aab");
}

static void test_anchors(void **state)
{
	(void)state;
	YES("^a$", "a");
	YES("\\Aa\\z", "a");
	NO("a^b", "ab");
	YES("\\bab\\b", "ab");
	YES("a\\b-\\Bx?", "a-");
	NO("a\\bb", "ab");
	YES("a\\Bb", "ab");
	YES("\\B", "");
	NO("\\b", "");
	YES("", "");
	NO("", "a");
	YES("(?m)(?:^a$\n)+", "a\na\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refused), cmocka_unit_test(test_nesting),
		cmocka_unit_test(test_classes), cmocka_unit_test(test_flags),
		cmocka_unit_test(test_repetition), cmocka_unit_test(test_anchors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
