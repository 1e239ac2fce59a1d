/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Regular expressions in RE2's syntax, over bytes as Envoy 1.40 runs RE2 (Latin-1: each byte is a character). Nothing
 * backtracks: a full match is a table (DFA) or a simulation of states; searches with groups run all ways at once.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/abi/image.h"

struct weft_regex;

/* Envoy's re2.max_program_size.error_level. */
#define WEFT_REGEX_PROGRAM_MAX 100u
/* Groups that a substitution can name, and the whole. */
#define WEFT_REGEX_GROUPS 10u

/* Why an expression was refused, in RE2's words. */
struct weft_regex_error {
	char text[160];
};

/*
 * Compiles. program_max: refused when RE2's program would be larger; UINT32_MAX: no such limit. 0; -EINVAL: refused,
 * *error says why; -ENOMEM.
 */
int weft_regex_new(const char *pattern, uint32_t program_max, struct weft_regex **ret,
		   struct weft_regex_error *error);
void weft_regex_free(struct weft_regex *re);
static inline void weft_regex_freep(struct weft_regex **re)
{
	weft_regex_free(*re);
}
#define _auto_regex_ __attribute__((cleanup(weft_regex_freep)))

/* What RE2::ProgramSize() says of it. */
uint32_t weft_regex_program_size(const struct weft_regex *re);
/* Capturing groups, without the whole match. */
uint32_t weft_regex_groups(const struct weft_regex *re);

/* Bytes that every text which matches begins with (*ret_len of them; at most 255). */
const uint8_t *weft_regex_prefix(const struct weft_regex *re, uint32_t *ret_len);

/*
 * weft_img_dfa of the full match with its table, *ret_len bytes; the caller frees. -E2BIG: it would be larger than max
 * bytes; -ENOMEM.
 */
int weft_regex_dfa(const struct weft_regex *re, size_t max, void **ret, size_t *ret_len);
/* Sets of expressions: set k, from 1, is expression[end[k - 2]..end[k - 1]), ascending (end[-1] being 0). */
struct weft_regex_sets {
	uint32_t n, n_all;
	uint32_t *end, *expression;
};
/*
 * One weft_img_dfa of full matches of n expressions: the number at a text's end is that of the set of those that fit.
 * -E2BIG also when *work, the steps it may take, which it counts down, are used up. weft_regex_sets_clear() after 0.
 */
int weft_regex_dfa_set(const struct weft_regex *const *re, uint32_t n, size_t max, uint64_t *work, void **ret,
		       size_t *ret_len, struct weft_regex_sets *ret_sets);
void weft_regex_sets_clear(struct weft_regex_sets *s);
/* weft_img_nfa of the same, for what no table of that size can do. -ENOMEM. */
int weft_regex_nfa(const struct weft_regex *re, void **ret, size_t *ret_len);

/* Bytes begin..end of the text; begin < 0: the group took no part. */
struct weft_regex_span {
	int32_t begin, end;
};

/*
 * The leftmost match at or behind `from`, RE2's choice among several (leftmost-first); groups 0..n-1 to ret. Time is
 * linear in len. 1: found, 0: none, -ENOMEM. Thread-safe.
 */
int weft_regex_search(const struct weft_regex *re, const void *text, uint32_t len, uint32_t from,
		      struct weft_regex_span *ret, uint32_t n);

/*
 * Bytes of the substitution that count: RE2 stops at a backslash before anything but a digit or another one. -EINVAL: it
 * names a group that there is not; RE2 then replaces nothing.
 */
int weft_regex_substitution_len(const struct weft_regex *re, const char *substitution);
/*
 * RE2::GlobalReplace(): every match becomes the substitution (\0 to \9 are groups, \\ a backslash). *ret: new text,
 * freed by the caller, NULL when nothing matched. Number of replacements, -ENOMEM.
 */
int weft_regex_replace(const struct weft_regex *re, const void *text, uint32_t len,
		       const char *substitution, char **ret, uint32_t *ret_len);
/* The same with what weft_regex_nfa() wrote. */
int weft_regex_replace_nfa(const struct weft_img_nfa *nfa, const void *text, uint32_t len,
			   const char *substitution, char **ret, uint32_t *ret_len);
