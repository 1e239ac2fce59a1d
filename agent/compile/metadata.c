// SPDX-License-Identifier: Apache-2.0
#include "agent/compile/metadata.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/compile/parts.h"
#include "bpf/engine/engine.h"

typedef Google__Protobuf__Value value;
typedef Envoy__Type__Matcher__V3__ValueMatcher value_matcher;
typedef Envoy__Type__Matcher__V3__DoubleMatcher double_matcher;

#define KIND(x) GOOGLE__PROTOBUF__VALUE__KIND_##x
#define MATCH(x) ENVOY__TYPE__MATCHER__V3__VALUE_MATCHER__MATCH_PATTERN_##x

/* Values inside values, what is built by recursion; Envoy ends with protobuf's own limit of 100. */
#define VALUE_DEPTH_MAX 32u
/* ValueMatcher inside ValueMatcher, as of metadata that nothing sets; the engine follows it by
 * recursion. */
#define MATCH_DEPTH_MAX 16u

static uint64_t bits_of(double d)
{
	uint64_t out;

	memcpy(&out, &d, sizeof(out));
	return out;
}

static uint32_t name_bit(const char *name)
{
	return weft_hash_name(name, (uint32_t)strlen(name)) & 63;
}

static void *room(struct weft_build *b, size_t n, size_t each)
{
	void *p = calloc(n + 1, each);

	if (!p)
		b->err = b->err ? b->err : -ENOMEM;
	return p;
}

/* ---- values ---- */

static struct weft_img_value value_build(struct weft_build *b, const value *v, unsigned int depth,
					 const char *field);

static struct weft_img_value struct_build(struct weft_build *b, const Google__Protobuf__Struct *s,
					  unsigned int depth, const char *field)
{
	struct weft_img_value out = {.kind = WEFT_METADATA_STRUCT};
	struct weft_img_member *m = room(b, s->n_fields, sizeof(*m));
	char at[WEFT_FIELD_MAX];

	for (size_t i = 0; m && i < s->n_fields; i++) {
		const char *key = s->fields[i]->key;
		uint32_t k = 0;

		/* of one key the last one counts, as in a map */
		for (size_t j = i + 1; j < s->n_fields && key; j++)
			if (!strcmp(s->fields[j]->key, key))
				key = NULL;
		if (!key)
			continue;
		k = out.n++;
		m[k].name = weft_build_str(b, key);
		if (s->fields[i]->value)
			m[k].value = value_build(b, s->fields[i]->value, depth + 1,
						 weft_field(at, field, "fields[\"%s\"]", key));
	}
	if (out.n)
		out.list = weft_build_put(b, m, out.n * sizeof(*m));
	free(m);
	return out;
}

static struct weft_img_value list_build(struct weft_build *b, const Google__Protobuf__ListValue *l,
					unsigned int depth, const char *field)
{
	struct weft_img_value out = {.kind = WEFT_METADATA_LIST, .n = (uint32_t)l->n_values};
	struct weft_img_value *v = room(b, l->n_values, sizeof(*v));
	char at[WEFT_FIELD_MAX];

	for (size_t i = 0; v && i < l->n_values; i++)
		v[i] = value_build(b, l->values[i], depth + 1,
				   weft_field(at, field, "values[%zu]", i));
	if (out.n && v)
		out.list = weft_build_put(b, v, out.n * sizeof(*v));
	free(v);
	return out;
}

static struct weft_img_value value_build(struct weft_build *b, const value *v, unsigned int depth,
					 const char *field)
{
	struct weft_img_value out = {0};

	if (depth > VALUE_DEPTH_MAX) {
		weft_build_fail(b, field, "nested more than %u deep", VALUE_DEPTH_MAX);
		return out;
	}
	switch (v->kind_case) {
	case KIND(NULL_VALUE):
		out.kind = WEFT_METADATA_NULL;
		break;
	case KIND(BOOL_VALUE):
		out.kind = WEFT_METADATA_BOOL;
		out.number = v->bool_value != 0;
		break;
	case KIND(NUMBER_VALUE):
		out.kind = WEFT_METADATA_NUMBER;
		out.number = bits_of(v->number_value);
		break;
	case KIND(STRING_VALUE):
		out.kind = WEFT_METADATA_TEXT;
		out.text = weft_build_str(b, v->string_value);
		break;
	case KIND(LIST_VALUE):
		return list_build(b, v->list_value, depth, field);
	case KIND(STRUCT_VALUE):
		return struct_build(b, v->struct_value, depth, field);
	default:
		break;
	}
	return out;
}

uint32_t weft_build_metadata(struct weft_build *b, const Envoy__Config__Core__V3__Metadata *m,
			     const char *field)
{
	struct weft_img_metadata out = {.all.kind = WEFT_METADATA_STRUCT};
	struct weft_img_member *list;
	char at[WEFT_FIELD_MAX];

	if (!m || !m->n_filter_metadata)
		return 0;
	list = room(b, m->n_filter_metadata, sizeof(*list));
	for (size_t i = 0; list && i < m->n_filter_metadata; i++) {
		const char *key = m->filter_metadata[i]->key;

		out.bloom |= 1ull << name_bit(key);
		list[i].name = weft_build_str(b, key);
		if (m->filter_metadata[i]->value)
			list[i].value = struct_build(
				b, m->filter_metadata[i]->value, 0,
				weft_field(at, field, "metadata.filter_metadata[\"%s\"]", key));
	}
	out.all.n = (uint32_t)m->n_filter_metadata;
	if (list)
		out.all.list = weft_build_put(b, list, out.all.n * sizeof(*list));
	free(list);
	return weft_build_put(b, &out, sizeof(out));
}

/* ---- matchers ---- */

static void match_build(struct weft_build *b, const value_matcher *m, unsigned int depth,
			const char *field, struct weft_img_value_match *ret);

static void number_build(struct weft_build *b, const double_matcher *m, const char *field,
			 struct weft_img_value_match *ret)
{
	weft_build_fields(b, &m->base, field);
	if (m->match_pattern_case ==
	    ENVOY__TYPE__MATCHER__V3__DOUBLE_MATCHER__MATCH_PATTERN_RANGE) {
		ret->kind = WEFT_VALUE_MATCH_RANGE;
		ret->from = bits_of(m->range->start);
		ret->to = bits_of(m->range->end);
	} else {
		ret->kind = WEFT_VALUE_MATCH_NUMBER;
		ret->from = bits_of(m->exact);
	}
}

static void any_of(struct weft_build *b, enum weft_value_match kind, size_t n,
		   value_matcher *const *m, unsigned int depth, const char *field,
		   struct weft_img_value_match *ret)
{
	struct weft_img_value_match *list = room(b, n, sizeof(*list));
	char at[WEFT_FIELD_MAX];

	for (size_t i = 0; list && i < n; i++)
		match_build(b, m[i], depth + 1,
			    kind == WEFT_VALUE_MATCH_OR
				    ? weft_field(at, field, "or_match.value_matchers[%zu]", i)
				    : weft_field(at, field, "list_match.one_of"),
			    &list[i]);
	ret->kind = kind;
	ret->n = (uint32_t)n;
	if (list && n)
		ret->list = weft_build_put(b, list, n * sizeof(*list));
	free(list);
}

static void match_build(struct weft_build *b, const value_matcher *m, unsigned int depth,
			const char *field, struct weft_img_value_match *ret)
{
	struct weft_img_cond cond = {0};
	char at[WEFT_FIELD_MAX];

	if (depth == MATCH_DEPTH_MAX) {
		weft_build_fail(b, field, "nested more than %u deep", MATCH_DEPTH_MAX);
		return;
	}
	weft_build_fields(b, &m->base, field);
	switch (m->match_pattern_case) {
	case MATCH(NULL_MATCH):
		ret->kind = WEFT_VALUE_MATCH_NULL;
		break;
	case MATCH(BOOL_MATCH):
		ret->kind = WEFT_VALUE_MATCH_BOOL;
		ret->from = m->bool_match != 0;
		break;
	case MATCH(DOUBLE_MATCH):
		number_build(b, m->double_match, weft_field(at, field, "double_match"), ret);
		break;
	case MATCH(STRING_MATCH):
		ret->kind = WEFT_VALUE_MATCH_TEXT;
		weft_field(at, field, "string_match");
		weft_build_fields(b, &m->string_match->base, at);
		weft_build_string_cond(b, m->string_match, at, &cond);
		ret->list = weft_build_put(b, &cond, sizeof(cond));
		break;
	case MATCH(PRESENT_MATCH):
		if (m->present_match)
			ret->kind = WEFT_VALUE_MATCH_PRESENT;
		break;
	case MATCH(LIST_MATCH):
		any_of(b, WEFT_VALUE_MATCH_LIST, 1, &m->list_match->one_of, depth, field, ret);
		break;
	case MATCH(OR_MATCH):
		any_of(b, WEFT_VALUE_MATCH_OR, m->or_match->n_value_matchers,
		       m->or_match->value_matchers, depth, field, ret);
		break;
	default: /* refused by weft_build_fields() */
		break;
	}
}

uint32_t weft_build_metadata_match(struct weft_build *b,
				   const Envoy__Type__Matcher__V3__MetadataMatcher *m,
				   const char *field)
{
	struct weft_img_metadata_match out = {.invert = m->invert != 0};
	struct weft_img_str *step = room(b, m->n_path, sizeof(*step));
	char at[WEFT_FIELD_MAX];

	weft_build_fields(b, &m->base, field);
	for (size_t i = 0; step && i < m->n_path; i++)
		step[i] = weft_build_str(b, m->path[i]->key);
	out.path = (struct weft_img_metadata_path){.name = weft_build_str(b, m->filter),
						   .bit = name_bit(m->filter),
						   .n = (uint32_t)m->n_path};
	if (step && m->n_path)
		out.path.step = weft_build_put(b, step, m->n_path * sizeof(*step));
	free(step);
	match_build(b, m->value, 0, weft_field(at, field, "value"), &out.value);
	b->route_metadata = true;
	return weft_build_put(b, &out, sizeof(out));
}

struct weft_img_metadata_path
weft_build_metadata_key(struct weft_build *b, const Envoy__Type__Metadata__V3__MetadataKey *k,
			const char *field)
{
	struct weft_img_metadata_path out = {.name = weft_build_str(b, k->key),
					     .bit = name_bit(k->key),
					     .n = (uint32_t)k->n_path};
	struct weft_img_str *step = room(b, k->n_path, sizeof(*step));

	weft_build_fields(b, &k->base, field);
	for (size_t i = 0; step && i < k->n_path; i++)
		step[i] = weft_build_str(b, k->path[i]->key);
	if (step && k->n_path)
		out.step = weft_build_put(b, step, k->n_path * sizeof(*step));
	free(step);
	b->route_metadata = true;
	return out;
}
