// SPDX-License-Identifier: Apache-2.0
/* RegexMatcher -> weft_img_dfa, or weft_img_nfa where the table would be too large; RegexMatchAndSubstitute. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/compile/parts.h"
#include "agent/regex/regex.h"

/* google_re2.max_program_size where it is set (deprecated), else Envoy's default. */
static uint32_t program_max(const Envoy__Type__Matcher__V3__RegexMatcher *m)
{
	if (m->engine_type_case == ENVOY__TYPE__MATCHER__V3__REGEX_MATCHER__ENGINE_TYPE_GOOGLE_RE2 &&
	    m->google_re2->max_program_size)
		return m->google_re2->max_program_size->value;
	return WEFT_REGEX_PROGRAM_MAX;
}

struct weft_regex *weft_build_regex(struct weft_build *b, const Envoy__Type__Matcher__V3__RegexMatcher *m,
				    const char *field)
{
	struct weft_regex_error error;
	struct weft_regex *re = NULL;
	int r = weft_regex_new(m->regex, program_max(m), &re, &error);

	if (r == -EINVAL)
		weft_build_fail(b, field, "'%s': %s", m->regex, error.text);
	else if (r)
		b->err = b->err ? b->err : r;
	return re;
}

void weft_build_regex_cond(struct weft_build *b, const struct weft_regex *re, struct weft_img_cond *ret)
{
	void *bytes = NULL;
	size_t len = 0;
	int r = weft_regex_dfa(re, WEFT_DFA_SIZE_MAX, &bytes, &len);

	ret->kind = WEFT_COND_DFA;
	if (r == -E2BIG) {
		ret->kind = WEFT_COND_NFA;
		r = weft_regex_nfa(re, &bytes, &len);
	}
	if (r)
		b->err = b->err ? b->err : r;
	else
		ret->str = weft_build_put(b, bytes, len);
	free(bytes);
}

uint32_t weft_build_rewrite(struct weft_build *b, const Envoy__Type__Matcher__V3__RegexMatchAndSubstitute *m,
			    bool path, const char *field)
{
	_auto_regex_ struct weft_regex *re = NULL;
	struct weft_img_rewrite out = {0};
	char at[WEFT_FIELD_MAX];
	void *nfa = NULL;
	char *text;
	size_t size;
	int len, r;

	if (!m)
		return 0;
	re = weft_build_regex(b, m->pattern, weft_field(at, field, "pattern"));
	if (!re)
		return 0;
	for (const char *p = m->substitution; path && *p; p++) {
		if ((unsigned char)*p <= ' ' || *p == 0x7f) {
			weft_build_fail(b, weft_field(at, field, "substitution"),
					"unsupported: a blank or control character in a path");
			return 0;
		}
	}
	len = weft_regex_substitution_len(re, m->substitution);
	if (len < 0) {
		weft_build_note(b, weft_field(at, field, "substitution"),
				"names a group that there is not: nothing is replaced (RE2)");
		return weft_build_put(b, &out, sizeof(out));
	}
	text = strndup(m->substitution, (size_t)len);
	r = text ? weft_regex_nfa(re, &nfa, &size) : -ENOMEM;
	if (r) {
		b->err = b->err ? b->err : r;
	} else {
		out.nfa = weft_build_put(b, nfa, size);
		out.text = weft_build_put(b, text, (size_t)len + 1);
	}
	free(nfa);
	free(text);
	return r ? 0 : weft_build_put(b, &out, sizeof(out));
}
