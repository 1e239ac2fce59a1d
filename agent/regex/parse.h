/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Between parse.c (structure of a pattern) and class.c (what one character may be). */

#include "agent/regex/internal.h"

struct parser {
	struct regex_pool *pool;
	const char *whole, *p, *end;
	uint32_t flags;
	uint32_t groups;
	uint32_t depth;
	struct weft_regex_error *error;
};

/* Says why, in RE2's words, and where [at, end) of the pattern (NULL: nowhere); the first reason
 * stays. Always false. */
bool parse_refuse(struct parser *s, const char *what, const char *at, const char *end);

/* What the backslash at s->p and all behind it stand for, -1: refused. */
int parse_escape(struct parser *s);
/* "[...]" at s->p. false: refused. */
bool parse_class(struct parser *s, struct regex_set *ret);
/* Adds \d \s \w or their opposites at s->p. false: it is none of them. */
bool parse_perl_class(struct parser *s, struct regex_set *set);
/* Adds \pN \p{Name} \P \p{^Name} at s->p. 1: done, -1: refused. */
int parse_unicode_class(struct parser *s, struct regex_set *set);
