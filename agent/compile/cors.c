// SPDX-License-Identifier: Apache-2.0
#include "agent/compile/cors.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/cleanup.h"
#include "agent/compile/limit.h"
#include "agent/compile/parts.h"
#include "agent/regex/regex.h"
#include "envoy/extensions/filters/http/cors/v3/cors.pb-c.h"

typedef Envoy__Extensions__Filters__Http__Cors__V3__CorsPolicy policy;
typedef Envoy__Config__Route__V3__CorsPolicy old_policy;

/* One level's own words; the strings and matchers are the message's. */
struct words {
	size_t n_origin;
	Envoy__Type__Matcher__V3__StringMatcher **origin;
	const char *methods, *headers, *expose, *max_age;
	const Google__Protobuf__BoolValue *credentials, *network, *forward;
	const Envoy__Config__Core__V3__RuntimeFractionalPercent *enabled, *shadow;
};

struct weft_cors_level {
	struct weft_cors_level *next;
	uint32_t key;
	enum weft_level level;
	struct words words;
	ProtobufCMessage *msg; /* to be freed; NULL: not ours */
};

void weft_cors_enter(struct weft_build *b, enum weft_level level)
{
	while (b->cors && b->cors->level <= level) {
		struct weft_cors_level *l = b->cors;

		b->cors = l->next;
		if (l->msg)
			protobuf_c_message_free_unpacked(l->msg, NULL);
		free(l);
	}
}

void weft_cors_leave(struct weft_build *b)
{
	weft_cors_enter(b, WEFT_LEVEL_TABLE);
}

/* Both messages have fields of the same names. */
#define WORDS(m)                                                                                   \
	((struct words){.n_origin = (m)->n_allow_origin_string_match,                              \
			.origin = (m)->allow_origin_string_match,                                  \
			.methods = (m)->allow_methods,                                             \
			.headers = (m)->allow_headers,                                             \
			.expose = (m)->expose_headers,                                             \
			.max_age = (m)->max_age,                                                   \
			.credentials = (m)->allow_credentials,                                     \
			.network = (m)->allow_private_network_access,                              \
			.forward = (m)->forward_not_matching_preflights,                           \
			.enabled = (m)->filter_enabled,                                            \
			.shadow = (m)->shadow_enabled})

/* The nearest level that says something of it. Whether the policy is on is said by the innermost
 * alone. */
static struct words words_join(const struct weft_build *b)
{
	struct words w = b->cors->words;

	for (const struct weft_cors_level *l = b->cors->next; l; l = l->next) {
		const struct words *o = &l->words;

		if (l->key != b->cors->key)
			continue;
		if (!w.n_origin) {
			w.n_origin = o->n_origin;
			w.origin = o->origin;
		}
		w.methods = *w.methods ? w.methods : o->methods;
		w.headers = *w.headers ? w.headers : o->headers;
		w.expose = *w.expose ? w.expose : o->expose;
		w.max_age = *w.max_age ? w.max_age : o->max_age;
		w.credentials = w.credentials ? w.credentials : o->credentials;
		w.network = w.network ? w.network : o->network;
		w.forward = w.forward ? w.forward : o->forward;
	}
	return w;
}

/* It goes into a header as it is. */
static struct weft_img_str text_put(struct weft_build *b, const char *text, const char *field,
				    const char *name)
{
	char at[WEFT_FIELD_MAX];

	for (const char *p = text; *p; p++) {
		if ((unsigned char)*p < ' ' || *p == 0x7f) {
			weft_build_fail(b, weft_field(at, field, "%s", name), "control characters");
			break;
		}
	}
	return weft_build_str(b, text);
}

static bool regex_fits_star(const char *pattern)
{
	_auto_regex_ struct weft_regex *re = NULL;
	struct weft_regex_error error;
	struct weft_regex_span span;
	_auto_free_ char *whole = NULL;

	if (asprintf(&whole, "^(?:%s)$", pattern) < 0) {
		whole = NULL;
		return false;
	}
	return !weft_regex_new(whole, UINT32_MAX, &re, &error) &&
	       weft_regex_search(re, "*", 1, 0, &span, 1) > 0;
}

static bool fits_star(const Envoy__Type__Matcher__V3__StringMatcher *m)
{
	switch (m->match_pattern_case) {
	case ENVOY__TYPE__MATCHER__V3__STRING_MATCHER__MATCH_PATTERN_EXACT:
		return !strcmp(m->exact, "*");
	case ENVOY__TYPE__MATCHER__V3__STRING_MATCHER__MATCH_PATTERN_PREFIX:
		return !strcmp(m->prefix, "*");
	case ENVOY__TYPE__MATCHER__V3__STRING_MATCHER__MATCH_PATTERN_SUFFIX:
		return !strcmp(m->suffix, "*");
	case ENVOY__TYPE__MATCHER__V3__STRING_MATCHER__MATCH_PATTERN_CONTAINS:
		return !strcmp(m->contains, "*");
	case ENVOY__TYPE__MATCHER__V3__STRING_MATCHER__MATCH_PATTERN_SAFE_REGEX:
		return regex_fits_star(m->safe_regex->regex);
	default:
		return false;
	}
}

static void origins_fill(struct weft_build *b, const struct words *w, const char *field,
			 struct weft_img_cors *ret)
{
	struct weft_img_cond *list = calloc(w->n_origin + 1, sizeof(*list));
	Envoy__Config__Route__V3__HeaderMatcher m = ENVOY__CONFIG__ROUTE__V3__HEADER_MATCHER__INIT;
	char at[WEFT_FIELD_MAX], name[] = "origin";

	if (!list) {
		b->err = b->err ? b->err : -ENOMEM;
		return;
	}
	m.name = name;
	m.header_match_specifier_case =
		ENVOY__CONFIG__ROUTE__V3__HEADER_MATCHER__HEADER_MATCH_SPECIFIER_STRING_MATCH;
	for (size_t i = 0; i < w->n_origin; i++) {
		m.string_match = w->origin[i];
		weft_build_header_cond(b, &m, b->names,
				       weft_field(at, field, "allow_origin_string_match[%zu]", i),
				       &list[i]);
		if (fits_star(w->origin[i]))
			ret->flags |= WEFT_CORS_ANY;
	}
	ret->n_origin = (uint32_t)w->n_origin;
	if (w->n_origin)
		ret->origin = weft_build_put(b, list, w->n_origin * sizeof(*list));
	free(list);
}

static uint32_t level_build(struct weft_build *b, enum weft_level level, uint32_t key,
			    const struct words *own, ProtobufCMessage *msg, const char *field)
{
	struct weft_cors_level *l = calloc(1, sizeof(*l));
	struct weft_img_cors out = {0};
	struct words w;

	if (!l) {
		if (msg)
			protobuf_c_message_free_unpacked(msg, NULL);
		b->err = b->err ? b->err : -ENOMEM;
		return 0;
	}
	*l = (struct weft_cors_level){b->cors, key, level, *own, msg};
	b->cors = l;
	w = words_join(b);
	origins_fill(b, &w, field, &out);
	out.slot_origin = weft_build_slot(b, "origin", b->names, field);
	out.slot_method = weft_build_slot(b, "access-control-request-method", b->names, field);
	out.slot_headers = weft_build_slot(b, "access-control-request-headers", b->names, field);
	out.slot_network =
		weft_build_slot(b, "access-control-request-private-network", b->names, field);
	out.enabled = w.enabled ? weft_ppm(w.enabled) : WEFT_PPM_ALL;
	out.shadow = w.shadow ? weft_ppm(w.shadow) : 0;
	out.flags |= (weft_bool(w.credentials, false) ? WEFT_CORS_CREDENTIALS : 0) |
		     (weft_bool(w.network, false) ? WEFT_CORS_PRIVATE_NETWORK : 0) |
		     (weft_bool(w.forward, true) ? 0 : WEFT_CORS_ANSWER_ALL);
	out.methods = text_put(b, w.methods, field, "allow_methods");
	out.headers = text_put(b, w.headers, field, "allow_headers");
	out.expose = text_put(b, w.expose, field, "expose_headers");
	out.max_age = text_put(b, w.max_age, field, "max_age");
	out.cell = weft_build_state(b, WEFT_CELL_FILTER, b->hash, "cors %s %s", b->resource, field);
	return weft_build_put(b, &out, sizeof(out));
}

uint32_t weft_build_cors(struct weft_build *b, enum weft_level level, uint32_t key,
			 ProtobufCMessage *msg, const char *field)
{
	const struct words own = WORDS((const policy *)msg);

	return level_build(b, level, key, &own, msg, field);
}

uint32_t weft_build_cors_old(struct weft_build *b, enum weft_level level, const old_policy *msg,
			     const char *field)
{
	const struct words own = WORDS(msg);

	return level_build(b, level, WEFT_CORS_KEY, &own, NULL, field);
}
