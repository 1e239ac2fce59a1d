// SPDX-License-Identifier: Apache-2.0
/* Conditions of a route besides its path -> weft_img_cond. */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/compile/parts.h"
#include "agent/regex/regex.h"
#include "bpf/engine/engine.h"

typedef Envoy__Config__Route__V3__HeaderMatcher matcher;
typedef Envoy__Config__Route__V3__RouteMatch route_match;

static char *lower_dup(struct weft_build *b, const char *s)
{
	char *copy = strdup(s);

	if (!copy)
		b->err = b->err ? b->err : -ENOMEM;
	for (char *p = copy; p && *p; p++)
		*p = (char)tolower((unsigned char)*p);
	return copy;
}

/* Has the connection manager taken it from every request? */
static bool is_gone(const struct weft_build *b, const char *low)
{
	if (b->any_head)
		return false;
	if (!strcmp(low, "x-forwarded-client-cert"))
		return !(b->hcm_flags & WEFT_HCM_FORWARD_CERT);
	if (b->hcm_flags & WEFT_BUILD_USER_AGENT &&
	    !strncmp(low, "x-envoy-downstream-service-", 27))
		return false; /* it puts its own there */
	return !(b->hcm_flags & WEFT_HCM_INTERNAL) &&
	       weft_header_removed(low, b->hcm_flags & WEFT_HCM_USE_REMOTE_ADDRESS);
}

/* Pseudo headers have slots of their own; `host` is another name of :authority, as in Envoy. */
static uint8_t slot_get(struct weft_build *b, const char *name, struct weft_names_local *names,
			const char *field)
{
	char *low = lower_dup(b, name);
	uint32_t i = 0;

	if (!low)
		return 0;
	if (!strcmp(low, ":method"))
		i = WEFT_VALUE_METHOD;
	else if (!strcmp(low, ":path"))
		i = WEFT_VALUE_PATH;
	else if (!strcmp(low, ":authority") || !strcmp(low, "host"))
		i = WEFT_VALUE_HOST;
	else if (!strcmp(low, ":scheme"))
		i = WEFT_VALUE_SCHEME;
	else {
		/* no request has it by then: a name that none can have */
		if (is_gone(b, low))
			*low = ' ';
		while (i < names->n && strcmp(names->name[i], low))
			i++;
		if (i == names->n && i + WEFT_VALUE__HEADERS < WEFT_NAMES_MAX &&
		    strlen(low) < WEFT_NAME_LEN_MAX) {
			names->name[names->n++] = low;
			low = NULL;
		} else if (i == names->n) {
			weft_build_fail(
				b, field,
				"more than %u header names in one table, or a name over %u bytes",
				WEFT_NAMES_MAX - WEFT_VALUE__HEADERS, WEFT_NAME_LEN_MAX - 1);
			i = 0;
		}
		i += WEFT_VALUE__HEADERS;
	}
	free(low);
	return (uint8_t)i;
}

static void text_set(struct weft_build *b, struct weft_img_cond *c, enum weft_cond_kind kind,
		     const char *text)
{
	char *low = c->flags & WEFT_COND_IGNORE_CASE ? lower_dup(b, text) : NULL;
	struct weft_img_str s = weft_build_str(b, low ? low : text);

	free(low);
	c->kind = (uint8_t)kind;
	c->str = s.off;
	c->len = s.len;
}

static void regex_set(struct weft_build *b, struct weft_img_cond *c,
		      const Envoy__Type__Matcher__V3__RegexMatcher *m, const char *field)
{
	_auto_regex_ struct weft_regex *re = weft_build_regex(b, m, field);

	if (re)
		weft_build_regex_cond(b, re, c);
}

void weft_build_string_cond(struct weft_build *b, const Envoy__Type__Matcher__V3__StringMatcher *m,
			    const char *field, struct weft_img_cond *c)
{
	char at[WEFT_FIELD_MAX];

	if (m->ignore_case)
		c->flags |= WEFT_COND_IGNORE_CASE;
	switch (m->match_pattern_case) {
	case ENVOY__TYPE__MATCHER__V3__STRING_MATCHER__MATCH_PATTERN_EXACT:
		text_set(b, c, WEFT_COND_EXACT, m->exact);
		break;
	case ENVOY__TYPE__MATCHER__V3__STRING_MATCHER__MATCH_PATTERN_PREFIX:
		text_set(b, c, WEFT_COND_PREFIX, m->prefix);
		break;
	case ENVOY__TYPE__MATCHER__V3__STRING_MATCHER__MATCH_PATTERN_SUFFIX:
		text_set(b, c, WEFT_COND_SUFFIX, m->suffix);
		break;
	case ENVOY__TYPE__MATCHER__V3__STRING_MATCHER__MATCH_PATTERN_CONTAINS:
		text_set(b, c, WEFT_COND_CONTAINS, m->contains);
		break;
	case ENVOY__TYPE__MATCHER__V3__STRING_MATCHER__MATCH_PATTERN_SAFE_REGEX:
		if (m->ignore_case)
			weft_build_fail(b, weft_field(at, field, "ignore_case"),
					"ignore_case has no effect for safe_regex.");
		regex_set(b, c, m->safe_regex, weft_field(at, field, "safe_regex"));
		break;
	default:
		weft_build_fail(b, weft_field(at, field, "custom"), "unsupported");
	}
}

void weft_build_header_cond(struct weft_build *b, const matcher *m, struct weft_names_local *names,
			    const char *field, struct weft_img_cond *c)
{
	char at[WEFT_FIELD_MAX];

	c->slot = slot_get(b, m->name, names, field);
	c->flags = (uint8_t)((m->invert_match ? WEFT_COND_INVERT : 0) |
			     (m->treat_missing_header_as_empty ? WEFT_COND_MISSING_AS_EMPTY : 0));
	switch (m->header_match_specifier_case) {
	case ENVOY__CONFIG__ROUTE__V3__HEADER_MATCHER__HEADER_MATCH_SPECIFIER_EXACT_MATCH:
		/* the deprecated form: "" fits any value (Envoy 1.40) */
		text_set(b, c, *m->exact_match ? WEFT_COND_EXACT : WEFT_COND_PREFIX,
			 m->exact_match);
		break;
	case ENVOY__CONFIG__ROUTE__V3__HEADER_MATCHER__HEADER_MATCH_SPECIFIER_PREFIX_MATCH:
		text_set(b, c, WEFT_COND_PREFIX, m->prefix_match);
		break;
	case ENVOY__CONFIG__ROUTE__V3__HEADER_MATCHER__HEADER_MATCH_SPECIFIER_SUFFIX_MATCH:
		text_set(b, c, WEFT_COND_SUFFIX, m->suffix_match);
		break;
	case ENVOY__CONFIG__ROUTE__V3__HEADER_MATCHER__HEADER_MATCH_SPECIFIER_CONTAINS_MATCH:
		text_set(b, c, WEFT_COND_CONTAINS, m->contains_match);
		break;
	case ENVOY__CONFIG__ROUTE__V3__HEADER_MATCHER__HEADER_MATCH_SPECIFIER_STRING_MATCH:
		weft_build_string_cond(b, m->string_match, weft_field(at, field, "string_match"),
				       c);
		break;
	case ENVOY__CONFIG__ROUTE__V3__HEADER_MATCHER__HEADER_MATCH_SPECIFIER_RANGE_MATCH:
		c->kind = WEFT_COND_RANGE;
		c->start = m->range_match->start;
		c->end = m->range_match->end;
		break;
	case ENVOY__CONFIG__ROUTE__V3__HEADER_MATCHER__HEADER_MATCH_SPECIFIER_SAFE_REGEX_MATCH:
		regex_set(b, c, m->safe_regex_match, weft_field(at, field, "safe_regex_match"));
		break;
	case ENVOY__CONFIG__ROUTE__V3__HEADER_MATCHER__HEADER_MATCH_SPECIFIER_PRESENT_MATCH:
		c->kind = WEFT_COND_PRESENT;
		if (!m->present_match)
			c->flags ^= WEFT_COND_INVERT;
		break;
	default:
		c->kind = WEFT_COND_PRESENT;
	}
}

void weft_build_path_cond(struct weft_build *b, const Envoy__Type__Matcher__V3__StringMatcher *m,
			  const char *field, struct weft_img_cond *c)
{
	c->from = WEFT_FROM_PATH;
	weft_build_string_cond(b, m, field, c);
}

uint8_t weft_build_slot(struct weft_build *b, const char *name, struct weft_names_local *names,
			const char *field)
{
	return slot_get(b, name, names, field);
}

/* A condition that is known here: FRACTION 1 of 1, or 0 of 1. */
static void known_set(struct weft_img_cond *c, bool holds)
{
	*c = (struct weft_img_cond){.kind = WEFT_COND_FRACTION, .start = holds ? 1 : 0, .end = 1};
}

void weft_build_query_cond(struct weft_build *b,
			   const Envoy__Config__Route__V3__QueryParameterMatcher *m,
			   const char *field, struct weft_img_cond *c)
{
	struct weft_img_str name = weft_build_str(b, m->name);
	char at[WEFT_FIELD_MAX];

	c->from = WEFT_FROM_QUERY;
	c->name = name.off;
	c->name_len = name.len;
	c->kind = WEFT_COND_PRESENT;
	switch (m->query_parameter_match_specifier_case) {
	case ENVOY__CONFIG__ROUTE__V3__QUERY_PARAMETER_MATCHER__QUERY_PARAMETER_MATCH_SPECIFIER_STRING_MATCH:
		weft_build_string_cond(b, m->string_match, weft_field(at, field, "string_match"),
				       c);
		break;
	case ENVOY__CONFIG__ROUTE__V3__QUERY_PARAMETER_MATCHER__QUERY_PARAMETER_MATCH_SPECIFIER_PRESENT_MATCH:
		if (!m->present_match)
			c->flags |= WEFT_COND_INVERT;
		break;
	default:
		break;
	}
	/* '=' and '&' end a name in a query: no parameter has such a one */
	if (strpbrk(m->name, "=&"))
		known_set(c, c->flags & WEFT_COND_INVERT);
}

static void cookie_fill(struct weft_build *b, const Envoy__Config__Route__V3__CookieMatcher *m,
			struct weft_names_local *names, const char *field, struct weft_img_cond *c)
{
	struct weft_img_str name = weft_build_str(b, m->name);
	char at[WEFT_FIELD_MAX];

	c->from = WEFT_FROM_COOKIE;
	c->slot = slot_get(b, "cookie", names, field);
	c->name = name.off;
	c->name_len = name.len;
	c->flags = m->invert_match ? WEFT_COND_INVERT : 0;
	if (m->string_match)
		weft_build_string_cond(b, m->string_match, weft_field(at, field, "string_match"),
				       c);
	else
		weft_build_fail(b, weft_field(at, field, "string_match"), "value is required");
}

/* FractionalPercent.DenominatorType */
static const uint32_t per_unit[] = {100, 10000, 1000000};

/* What has a value of its own in the match: false where it holds always. */
static bool fraction_fill(const route_match *m, struct weft_img_cond *c)
{
	const Envoy__Config__Core__V3__RuntimeFractionalPercent *f = m->runtime_fraction;

	if (!f || !f->default_value ||
	    f->default_value->numerator >= per_unit[f->default_value->denominator])
		return false;
	c->kind = WEFT_COND_FRACTION;
	c->start = f->default_value->numerator;
	c->end = per_unit[f->default_value->denominator];
	return true;
}

/* Apps talk to weft in clear text: no certificate is ever presented or validated. */
static bool tls_fill(const route_match *m, struct weft_img_cond *c)
{
	const Envoy__Config__Route__V3__RouteMatch__TlsContextMatchOptions *t = m->tls_context;

	if (!t || (!weft_bool(t->presented, false) && !weft_bool(t->validated, false)))
		return false;
	known_set(c, false);
	return true;
}

/* Metadata and filter state that nothing has set: false where all of them hold. */
static bool unset_fill(struct weft_build *b, const route_match *m, const char *field,
		       struct weft_img_cond *c)
{
	char at[WEFT_FIELD_MAX];
	bool all = true;

	for (size_t i = 0; i < m->n_dynamic_metadata; i++)
		all &= weft_build_unset_metadata(b, m->dynamic_metadata[i],
						 weft_field(at, field, "dynamic_metadata[%zu]", i));
	for (size_t i = 0; i < m->n_filter_state; i++)
		all &= weft_build_unset_state(b, m->filter_state[i],
					      weft_field(at, field, "filter_state[%zu]", i));
	if (!all)
		known_set(c, false);
	return !all;
}

uint32_t weft_build_conds(struct weft_build *b, const route_match *m, const struct weft_regex *path,
			  struct weft_names_local *names, const char *field, uint32_t *ret_n)
{
	struct weft_img_cond out[WEFT_CONDS_MAX] = {0};
	size_t n = 0;
	char at[WEFT_FIELD_MAX];

	*ret_n = 0;
	/* cheap ones first: the first that does not hold ends the route */
	if (tls_fill(m, &out[n]))
		n++;
	if (unset_fill(b, m, field, &out[n]))
		n++;
	if (fraction_fill(m, &out[n]))
		n++;
	if (m->grpc)
		out[n++].kind = WEFT_COND_GRPC;
	if (n + m->n_headers + m->n_query_parameters + m->n_cookies + !!path > WEFT_CONDS_MAX) {
		weft_build_fail(b, field, "more than %u conditions in one route", WEFT_CONDS_MAX);
		return 0;
	}
	for (size_t i = 0; i < m->n_headers; i++)
		weft_build_header_cond(b, m->headers[i], names,
				       weft_field(at, field, "headers[%zu]", i), &out[n++]);
	for (size_t i = 0; i < m->n_query_parameters; i++)
		weft_build_query_cond(b, m->query_parameters[i],
				      weft_field(at, field, "query_parameters[%zu]", i), &out[n++]);
	for (size_t i = 0; i < m->n_cookies; i++)
		cookie_fill(b, m->cookies[i], names, weft_field(at, field, "cookies[%zu]", i),
			    &out[n++]);
	if (path) {
		out[n].from = WEFT_FROM_PATH;
		weft_build_regex_cond(b, path, &out[n++]);
	}
	*ret_n = (uint32_t)n;
	return n ? weft_build_put(b, out, n * sizeof(*out)) : 0;
}

uint32_t weft_build_matchers(struct weft_build *b, size_t n, matcher *const *list,
			     const char *field)
{
	struct weft_img_cond *cond = n ? calloc(n, sizeof(*cond)) : NULL;
	struct weft_img_str name[WEFT_NAMES_MAX];
	struct weft_names_local names = {0};
	struct weft_img_matchers out = {.n = (uint32_t)n};
	char at[WEFT_FIELD_MAX];

	if (!n)
		return 0;
	if (!cond) {
		b->err = b->err ? b->err : -ENOMEM;
		return 0;
	}
	b->any_head = true;
	for (size_t i = 0; i < n; i++)
		weft_build_header_cond(b, list[i], &names, weft_field(at, field, "[%zu]", i),
				       &cond[i]);
	b->any_head = false;
	for (uint32_t i = 0; i < names.n; i++) {
		name[i] = weft_build_str(b, names.name[i]);
		free(names.name[i]);
	}
	out.cond = weft_build_put(b, cond, n * sizeof(*cond));
	out.n_name = names.n;
	if (names.n)
		out.name = weft_build_put(b, name, names.n * sizeof(*name));
	free(cond);
	return weft_build_put(b, &out, sizeof(out));
}
