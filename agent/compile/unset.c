// SPDX-License-Identifier: Apache-2.0
/* Matchers of what an outbound connection in clear text never has: their answers are known here. */
#include <string.h>

#include "agent/compile/parts.h"
#include "agent/regex/regex.h"

typedef Envoy__Type__Matcher__V3__StringMatcher string_matcher;
typedef Envoy__Type__Matcher__V3__ValueMatcher value_matcher;

#define PATTERN(x) ENVOY__TYPE__MATCHER__V3__STRING_MATCHER__MATCH_PATTERN_##x
#define VALUE(x) ENVOY__TYPE__MATCHER__V3__VALUE_MATCHER__MATCH_PATTERN_##x

/* ValueMatcher inside ValueMatcher; Envoy ends with protobuf's own limit of 100. */
#define DEPTH_MAX 16U

/*
 * Who writes dynamic metadata: RBAC of its shadow rules, rate limit services, Istio's filters,
 * which are passed over. Filters that write other names are not known here, and refused.
 */
static bool is_written(const char *namespace)
{
	return !strncmp(namespace, "envoy.filters.http.rbac", 23) ||
	       !strncmp(namespace, "envoy.filters.network.rbac", 26) ||
	       !strcmp(namespace, "envoy.filters.http.ratelimit") ||
	       !strcmp(namespace, "envoy.filters.network.ratelimit") ||
	       !strncmp(namespace, "istio", 5) || !strncmp(namespace, "io.istio", 8);
}

/* What Envoy refuses of a text matcher is refused, though nothing will ever be asked of it. */
static void string_check(struct weft_build *b, const string_matcher *m, const char *field)
{
	_auto_regex_ struct weft_regex *re = NULL;
	char at[WEFT_FIELD_MAX];

	weft_build_fields(b, &m->base, field);
	if (m->match_pattern_case != PATTERN(SAFE_REGEX))
		return;
	if (m->ignore_case)
		weft_build_fail(b, weft_field(at, field, "ignore_case"),
				"ignore_case has no effect for safe_regex.");
	re = weft_build_regex(b, m->safe_regex, weft_field(at, field, "safe_regex"));
}

static void value_check(struct weft_build *b, const value_matcher *m, unsigned int depth,
			const char *field)
{
	char at[WEFT_FIELD_MAX];

	if (depth == DEPTH_MAX) {
		weft_build_fail(b, field, "nested more than %u deep", DEPTH_MAX);
		return;
	}
	if (m->match_pattern_case == VALUE(STRING_MATCH))
		string_check(b, m->string_match, weft_field(at, field, "string_match"));
	else if (m->match_pattern_case == VALUE(LIST_MATCH))
		value_check(b, m->list_match->one_of, depth + 1,
			    weft_field(at, field, "list_match.one_of"));
	else if (m->match_pattern_case == VALUE(OR_MATCH))
		for (size_t i = 0; i < m->or_match->n_value_matchers; i++)
			value_check(b, m->or_match->value_matchers[i], depth + 1,
				    weft_field(at, field, "or_match.value_matchers[%zu]", i));
}

bool weft_build_unset_metadata(struct weft_build *b,
			       const Envoy__Type__Matcher__V3__MetadataMatcher *m,
			       const char *field)
{
	char at[WEFT_FIELD_MAX];

	if (is_written(m->filter))
		weft_build_fail(b, weft_field(at, field, "filter"),
				"unsupported: metadata that filters write as they run");
	value_check(b, m->value, 0, weft_field(at, field, "value"));
	return m->invert;
}

bool weft_build_unset_state(struct weft_build *b,
			    const Envoy__Type__Matcher__V3__FilterStateMatcher *m,
			    const char *field)
{
	char at[WEFT_FIELD_MAX];

	weft_build_fields(b, &m->base, field);
	if (!strncmp(m->key, "envoy.", 6) || !strncmp(m->key, "io.istio", 8))
		weft_build_fail(b, weft_field(at, field, "key"),
				"unsupported: state that Envoy or Istio sets by itself");
	if (m->string_match)
		string_check(b, m->string_match, weft_field(at, field, "string_match"));
	return false;
}

void weft_build_empty_cond(struct weft_build *b, const string_matcher *m,
			   struct weft_names_local *names, const char *field,
			   struct weft_img_cond *c)
{
	/* a header that no request can have, taken for an empty one */
	c->slot = weft_build_slot(b, " ", names, field);
	c->flags = WEFT_COND_MISSING_AS_EMPTY;
	weft_build_string_cond(b, m, field, c);
}
