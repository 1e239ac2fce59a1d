// SPDX-License-Identifier: Apache-2.0
/* Searching with groups and substitution, as RE2 does; the table and the simulation of one expression agree. */
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
#include "bpf/engine/engine.h"

static struct weft_regex *compile(const char *pattern)
{
	struct weft_regex_error error;
	struct weft_regex *re = NULL;

	if (weft_regex_new(pattern, UINT32_MAX, &re, &error))
		fail_msg("%s: %s", pattern, error.text);
	return re;
}

/* Groups as "b-e b-e ...", "-" for one that took no part, "" when nothing is found. */
static void found(const char *pattern, const char *text, uint32_t from, const char *want)
{
	_auto_regex_ struct weft_regex *re = compile(pattern);
	struct weft_regex_span g[WEFT_REGEX_GROUPS];
	uint32_t n = weft_regex_groups(re) + 1;
	char got[256] = "";

	if (weft_regex_search(re, text, (uint32_t)strlen(text), from, g, n) > 0) {
		for (uint32_t i = 0; i < n; i++)
			snprintf(got + strlen(got), sizeof(got) - strlen(got),
				 g[i].begin < 0 ? "- " : "%d-%d ", g[i].begin, g[i].end);
	}
	if (strcmp(got, want) != 0)
		fail_msg("%s in %s: %s, not %s", pattern, text, got, want);
}

static void test_search(void **state)
{
	(void)state;
	found("b", "abc", 0, "1-2 ");
	found("b", "abc", 2, "");
	found("x*", "abc", 0, "0-0 ");
	found("(a|ab)(c|bcd)", "xabcd", 0, "1-5 1-2 2-5 ");
	found("(a+)(a*)", "aaa", 0, "0-3 0-3 3-3 ");
	found("(a+?)(a*)", "aaa", 0, "0-3 0-1 1-3 ");
	found("(a)|(b)", "b", 0, "0-1 - 0-1 ");
	found("(?:(a)|b)*", "ab", 0, "0-2 0-1 ");
	found("^b", "ab", 0, "");
	found("^b", "ab", 1, "");
	found("\\bb", "a b", 0, "2-3 ");
	found("a$", "aba", 0, "2-3 ");
	found("(?m)^b$", "a\nb\nc", 0, "2-3 ");
	found("(?i)HOST", "xhosty", 0, "1-5 ");
	found("(x)?(y)?(z)?", "y", 0, "0-1 - 0-1 - ");
	found("", "", 0, "0-0 ");
	found("", "", 1, "");
}

/* A group beyond those that a substitution can name is not kept, and harms nothing. */
static void test_many_groups(void **state)
{
	_auto_regex_ struct weft_regex *re = compile("(a)(b)(c)(d)(e)(f)(g)(h)(i)(j)(k)");
	struct weft_regex_span g[12];

	(void)state;
	assert_int_equal(weft_regex_search(re, "abcdefghijk", 11, 0, g, 12), 1);
	assert_int_equal(g[9].begin, 8);
	assert_int_equal(g[10].begin, -1);
}

static void replaced(const char *pattern, const char *text, const char *sub, const char *want)
{
	_auto_regex_ struct weft_regex *re = compile(pattern);
	char *out = NULL;
	uint32_t len = 0;
	int n;

	assert_int_equal(weft_regex_substitution_len(re, sub), strlen(sub));
	n = weft_regex_replace(re, text, (uint32_t)strlen(text), sub, &out, &len);
	assert_true(n >= 0);
	assert_int_equal(!n, !out);
	if (out)
		assert_int_equal(len, strlen(out));
	assert_string_equal(out ? out : text, want);
	free(out);
}

static void test_replace(void **state)
{
	_auto_regex_ struct weft_regex *re = compile("(a)");

	(void)state;
	replaced("^/service/([^/]+)(/.*)$", "/service/foo/v1/api", "\\2/instance/\\1",
		 "/v1/api/instance/foo");
	replaced("one", "/xxx/one/yyy/one/zzz", "two", "/xxx/two/yyy/two/zzz");
	replaced("(?i)/xxx/", "/aaa/XxX/bbb", "/yyy/", "/aaa/yyy/bbb");
	replaced("b", "aaa", "c", "aaa");
	replaced("b*", "abc", "-", "-a-c-");
	replaced("a|b*", "abc", "<\\0>", "<a><b>c<>");
	replaced("x", "x", "a\\\\b", "a\\b");
	replaced("(a)|b", "ba", "[\\1]", "[][a]");
	replaced("$", "abc", "!", "abc!");
	assert_int_equal(weft_regex_substitution_len(re, "\\1\\0\\\\"), 6);
	assert_int_equal(weft_regex_substitution_len(re, "\\2"), -EINVAL);
	assert_int_equal(weft_regex_substitution_len(re, "a\\"), 1);
	assert_int_equal(weft_regex_substitution_len(re, "\\nb\\1"), 0);
	assert_int_equal(weft_regex_substitution_len(re, "a\\nb\\2"), -EINVAL);
}

/* ---- table and simulation ---- */

static uint32_t by_table(const struct weft_img_dfa *t, const char *text, uint32_t len)
{
	const uint16_t *next = (const uint16_t *)(t + 1);
	uint32_t s = t->start;

	for (uint32_t i = 0; i < len; i++)
		s = next[s / 2 + t->class_of[(uint8_t)text[i]]];
	return next[s / 2];
}

static uint32_t seed = 7;

static uint32_t rnd(uint32_t n)
{
	seed = seed * 1664525u + 1013904223u;
	return (seed >> 8) % n;
}

static void test_table_is_simulation(void **state)
{
	static const char *const patterns[] = {
		"/(a|bb|ccc)", "/n{2,4}", "^/anch$", "(?i)/a[b-d]*", "/[^/]*/b", "/a.*b", "\\ba\\b.*", "",
		"(?:a|ab)(?:c|bcd)(?:d*)", "(?m)^a$", "[^a]", "(a*)*", "(?s).*", ".*a.{3}", "a\\Bb|\\bb",
		"(?:aa|aba)*b?",
	};
	static const char alphabet[] = "aabbcd/ n\nA";
	char text[12];
	void *dfa, *nfa;
	size_t n;

	(void)state;
	for (size_t i = 0; i < sizeof(patterns) / sizeof(*patterns); i++) {
		_auto_regex_ struct weft_regex *re = compile(patterns[i]);

		assert_int_equal(weft_regex_dfa(re, 1 << 16, &dfa, &n), 0);
		assert_int_equal(weft_regex_nfa(re, &nfa, &n), 0);
		for (int k = 0; k < 4000; k++) {
			uint32_t len = rnd(sizeof(text));

			for (uint32_t j = 0; j < len; j++)
				text[j] = alphabet[rnd(sizeof(alphabet) - 1)];
			assert_int_equal(!!by_table(dfa, text, len), weft_nfa_match(nfa, text, len));
		}
		free(dfa);
		free(nfa);
	}
}

/* One table of all patterns says of every text which of them fit. */
static void test_table_of_several(void **state)
{
	static const char *const pattern[] = {
		"/(a|bb|ccc)", ".*/a", "/[ab]+", "\\ba\\b.*", "/?a*", "(?i)/A.*", "[^a]", ".*a.b", "/a", "",
	};
	enum { N = sizeof(pattern) / sizeof(*pattern) };
	static const char alphabet[] = "aabbc/A ";
	const struct weft_regex *re[N];
	struct weft_regex_sets sets;
	uint64_t work = 1 << 20;
	void *all, *one[N];
	int found = 0;
	char text[12];
	size_t n;

	(void)state;
	for (int i = 0; i < N; i++) {
		re[i] = compile(pattern[i]);
		assert_int_equal(weft_regex_dfa(re[i], 1 << 16, &one[i], &n), 0);
	}
	assert_int_equal(weft_regex_dfa_set(re, N, 1 << 16, &work, &all, &n, &sets), 0);
	assert_in_range(work, 1, (1 << 20) - 1);
	for (int k = 0; k < 20000; k++) {
		uint32_t len = rnd(sizeof(text)), set, at;

		for (uint32_t j = 0; j < len; j++)
			text[j] = alphabet[rnd(sizeof(alphabet) - 1)];
		set = by_table(all, text, len);
		at = set > 1 ? sets.end[set - 2] : 0;
		for (uint32_t i = 0; i < N; i++) {
			bool in = set && at < sets.end[set - 1] && sets.expression[at] == i;

			assert_int_equal(in, !!by_table(one[i], text, len));
			at += in;
			found += in;
		}
	}
	assert_in_range(found, 1000, 100000);
	weft_regex_sets_clear(&sets);
	free(all);
	work = 20; /* less than it takes */
	assert_int_equal(weft_regex_dfa_set(re, N, 1 << 16, &work, &all, &n, &sets), -E2BIG);
	work = 1 << 20;
	assert_int_equal(weft_regex_dfa_set(re, N, 512, &work, &all, &n, &sets), -E2BIG);
	for (int i = 0; i < N; i++) {
		weft_regex_free((struct weft_regex *)(uintptr_t)re[i]);
		free(one[i]);
	}
}

/* Tables that are joined to the least; one that would be too large is told, and simulated in linear time. */
static void test_table_sizes(void **state)
{
	_auto_regex_ struct weft_regex *small = compile("(?:a|b)*abb|(?:b|a)*abb");
	_auto_regex_ struct weft_regex *large = compile(".*a[ab]{14}");
	void *bytes = NULL;
	char text[4096];
	size_t n;

	(void)state;
	assert_int_equal(weft_regex_dfa(small, 4096, &bytes, &n), 0);
	assert_int_equal(((struct weft_img_dfa *)bytes)->n_state, 5); /* the textbook's four, and the dead one */
	assert_int_equal(weft_regex_dfa(small, n - 1, &bytes, &n), -E2BIG);
	free(bytes);
	assert_int_equal(weft_regex_dfa(large, WEFT_DFA_SIZE_MAX, &bytes, &n), -E2BIG);
	assert_int_equal(weft_regex_nfa(large, &bytes, &n), 0);
	memset(text, 'a', sizeof(text));
	assert_int_equal(weft_nfa_match(bytes, text, sizeof(text)), 1);
	text[sizeof(text) - 15] = 'b';
	assert_int_equal(weft_nfa_match(bytes, text, sizeof(text)), 0);
	free(bytes);
}

static void test_prefix(void **state)
{
	static const struct {
		const char *pattern, *prefix;
	} t[] = {{"/api/v[0-9]+", "/api/v"}, {"^/a$", "/a"}, {"(/a)b", "/a"}, {"(?i)/a", ""},
		 {"/a|/b", "/"},	     {"a*", ""},     {"", ""},	      {"^^x", "x"}};

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++) {
		_auto_regex_ struct weft_regex *re = compile(t[i].pattern);
		uint32_t n;
		const uint8_t *p = weft_regex_prefix(re, &n);

		assert_int_equal(n, strlen(t[i].prefix));
		assert_memory_equal(p, t[i].prefix, n);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_search),	    cmocka_unit_test(test_many_groups),
		cmocka_unit_test(test_replace),	    cmocka_unit_test(test_table_is_simulation),
		cmocka_unit_test(test_table_of_several),
		cmocka_unit_test(test_table_sizes), cmocka_unit_test(test_prefix),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
