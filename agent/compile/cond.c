// SPDX-License-Identifier: Apache-2.0
/* HeaderMatcher -> weft_img_cond. */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/compile/parts.h"

typedef Envoy__Config__Route__V3__HeaderMatcher matcher;

static char *lower_dup(struct weft_build *b, const char *s)
{
	char *copy = strdup(s);

	if (!copy)
		b->err = b->err ? b->err : -ENOMEM;
	for (char *p = copy; p && *p; p++)
		*p = (char)tolower((unsigned char)*p);
	return copy;
}

/* Pseudo headers have slots of their own; `host` is another name of :authority (xds-envoy.md 3.3).
 */
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

static void string_set(struct weft_build *b, struct weft_img_cond *c,
		       const Envoy__Type__Matcher__V3__StringMatcher *m, const char *field)
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
		weft_build_fail(b, weft_field(at, field, "safe_regex"),
				"unsupported: regular expressions");
		break;
	default:
		weft_build_fail(b, weft_field(at, field, "custom"), "unsupported");
	}
}

static void cond_fill(struct weft_build *b, const matcher *m, struct weft_names_local *names,
		      const char *field, struct weft_img_cond *c)
{
	char at[WEFT_FIELD_MAX];

	c->slot = slot_get(b, m->name, names, field);
	c->flags = (uint8_t)((m->invert_match ? WEFT_COND_INVERT : 0) |
			     (m->treat_missing_header_as_empty ? WEFT_COND_MISSING_AS_EMPTY : 0));
	switch (m->header_match_specifier_case) {
	case ENVOY__CONFIG__ROUTE__V3__HEADER_MATCHER__HEADER_MATCH_SPECIFIER_EXACT_MATCH:
		/* the deprecated form: "" fits any value (xds-envoy.md 3.3) */
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
		string_set(b, c, m->string_match, weft_field(at, field, "string_match"));
		break;
	case ENVOY__CONFIG__ROUTE__V3__HEADER_MATCHER__HEADER_MATCH_SPECIFIER_RANGE_MATCH:
		c->kind = WEFT_COND_RANGE;
		c->start = m->range_match->start;
		c->end = m->range_match->end;
		break;
	case ENVOY__CONFIG__ROUTE__V3__HEADER_MATCHER__HEADER_MATCH_SPECIFIER_SAFE_REGEX_MATCH:
		weft_build_fail(b, weft_field(at, field, "safe_regex_match"),
				"unsupported: regular expressions");
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

uint32_t weft_build_conds(struct weft_build *b, size_t n, matcher **headers,
			  struct weft_names_local *names, const char *field)
{
	struct weft_img_cond out[WEFT_CONDS_MAX] = {0};
	char at[WEFT_FIELD_MAX];

	if (n > WEFT_CONDS_MAX) {
		weft_build_fail(b, field, "more than %u conditions in one route", WEFT_CONDS_MAX);
		return 0;
	}
	for (size_t i = 0; i < n; i++)
		cond_fill(b, headers[i], names, weft_field(at, field, "headers[%zu]", i), &out[i]);
	return n ? weft_build_put(b, out, n * sizeof(*out)) : 0;
}
