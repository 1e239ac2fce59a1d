// SPDX-License-Identifier: Apache-2.0
#include "agent/compile/subset_pair.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/compile/subset.h"
#include "bpf/engine/engine.h"

/* Route criteria: a mask of them is one word. */
#define CRITERIA_MAX 64u

const Google__Protobuf__Value *weft_struct_get(const Google__Protobuf__Struct *s, const char *key)
{
	for (size_t i = 0; s && i < s->n_fields; i++) {
		if (!strcmp(s->fields[i]->key, key))
			return s->fields[i]->value;
	}
	return NULL;
}

/* NULL without memory, and for what is no JSON. */
static json_t *value_json(const Google__Protobuf__Value *v)
{
	json_t *out;

	switch (v->kind_case) {
	case GOOGLE__PROTOBUF__VALUE__KIND_NUMBER_VALUE:
		return json_real(v->number_value == 0 ? 0 : v->number_value); /* -0 is 0 */
	case GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE:
		return json_string(v->string_value);
	case GOOGLE__PROTOBUF__VALUE__KIND_BOOL_VALUE:
		return json_boolean(v->bool_value);
	case GOOGLE__PROTOBUF__VALUE__KIND_STRUCT_VALUE:
		out = json_object();
		for (size_t i = 0; i < v->struct_value->n_fields; i++) {
			if (json_object_set_new(out, v->struct_value->fields[i]->key,
						value_json(v->struct_value->fields[i]->value))) {
				json_decref(out);
				return NULL;
			}
		}
		return out;
	case GOOGLE__PROTOBUF__VALUE__KIND_LIST_VALUE:
		out = json_array();
		for (size_t i = 0; i < v->list_value->n_values; i++) {
			if (json_array_append_new(out, value_json(v->list_value->values[i]))) {
				json_decref(out);
				return NULL;
			}
		}
		return out;
	default:
		return json_null();
	}
}

/* One text for equal values, whatever the order of their fields. */
static char *value_text(const Google__Protobuf__Value *v)
{
	json_t *json = v ? value_json(v) : NULL;
	char *out = json ? json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY |
						    JSON_REAL_PRECISION(17))
			 : NULL;

	json_decref(json);
	return out;
}

static bool value_equal(const Google__Protobuf__Value *a, const Google__Protobuf__Value *b)
{
	char *x = value_text(a), *y = value_text(b);
	bool same = x && y && !strcmp(x, y);

	free(x);
	free(y);
	return same;
}

bool weft_value_fits(const Google__Protobuf__Value *have, const Google__Protobuf__Value *want,
		     bool list_as_any)
{
	if (!list_as_any || have->kind_case != GOOGLE__PROTOBUF__VALUE__KIND_LIST_VALUE)
		return value_equal(have, want);
	for (size_t i = 0; i < have->list_value->n_values; i++) {
		if (value_equal(have->list_value->values[i], want))
			return true;
	}
	return false;
}

struct weft_img_criterion weft_build_pair(struct weft_build *b, const char *key,
					  const Google__Protobuf__Value *v, const char *field)
{
	struct weft_img_criterion out = {.key = weft_build_str(b, key).off};
	char *value = value_text(v), *text = NULL;

	if (!value)
		weft_build_fail(b, field, "metadata envoy.lb \"%s\": a value that is no JSON", key);
	else if (asprintf(&text, "%s=%s", key, value) < 0)
		b->err = b->err ? b->err : -ENOMEM;
	if (value && text) {
		out.pair = weft_build_bytes(b, text, strlen(text) + 1).off;
		out.hash = weft_hash_xx64(text, strlen(text), 0);
	}
	free(value);
	free(text);
	return out;
}

const Google__Protobuf__Struct *weft_lb_metadata(const Envoy__Config__Core__V3__Metadata *m)
{
	for (size_t i = 0; m && i < m->n_filter_metadata; i++) {
		if (!strcmp(m->filter_metadata[i]->key, "envoy.lb"))
			return m->filter_metadata[i]->value;
	}
	return NULL;
}

static int by_key(const void *a, const void *b)
{
	const Google__Protobuf__Struct__FieldsEntry *const *x = a, *const *y = b;

	return strcmp((*x)->key, (*y)->key);
}

typedef Google__Protobuf__Struct__FieldsEntry field_entry;

/* Fields by key; of one key those of `last` count. Up to CRITERIA_MAX, else SIZE_MAX. */
static size_t fields_join(const field_entry *const *first, size_t n_first,
			  const Google__Protobuf__Struct *last, const field_entry **ret)
{
	size_t n = 0;

	if (n_first + (last ? last->n_fields : 0) > CRITERIA_MAX)
		return SIZE_MAX;
	for (size_t i = 0; i < n_first; i++) {
		if (!weft_struct_get(last, first[i]->key))
			ret[n++] = first[i];
	}
	for (size_t i = 0; last && i < last->n_fields; i++)
		ret[n++] = last->fields[i];
	if (n)
		qsort(ret, n, sizeof(*ret), by_key);
	return n;
}

static uint32_t criteria_put(struct weft_build *b, const field_entry *const *list, size_t n,
			     const struct weft_words *tries, const char *field)
{
	struct {
		struct weft_img_criteria head;
		struct weft_img_criterion c[CRITERIA_MAX];
	} out = {.head = {.n = (uint32_t)n}};

	for (size_t i = 0; i < n; i++)
		out.c[i] = weft_build_pair(b, list[i]->key, list[i]->value, field);
	if (tries && tries->n) {
		out.head.n_list = (uint32_t)tries->n;
		out.head.list = weft_build_put(b, tries->v, tries->n * sizeof(*tries->v));
	}
	return weft_build_put(b, &out, sizeof(out.head) + n * sizeof(*out.c));
}

/*
 * "fallback_list": each of its structs over the other fields; what is no struct is an empty one,
 * and what is no list, or an empty one, leaves the other fields.
 */
static void tries_fill(struct weft_build *b, const field_entry *const *list, size_t n,
		       const char *field, struct weft_words *ret)
{
	const Google__Protobuf__Value *tries = NULL;
	const field_entry *rest[CRITERIA_MAX], *joined[CRITERIA_MAX];
	size_t n_rest = 0, n_try;

	for (size_t i = 0; i < n; i++) {
		if (strcmp(list[i]->key, "fallback_list"))
			rest[n_rest++] = list[i];
		else
			tries = list[i]->value;
	}
	if (n_rest == n)
		return;
	n_try = tries && tries->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_LIST_VALUE
			? tries->list_value->n_values
			: 0;
	for (size_t i = 0; i < (n_try ? n_try : 1); i++) {
		const Google__Protobuf__Value *v = n_try ? tries->list_value->values[i] : NULL;
		bool is = v && v->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_STRUCT_VALUE;
		size_t m = fields_join(rest, n_rest, is ? v->struct_value : NULL, joined);

		if (m == SIZE_MAX)
			weft_build_fail(b, field, "more than %u fields", CRITERIA_MAX);
		else if (weft_words_add(ret, criteria_put(b, joined, m, NULL, field)))
			b->err = b->err ? b->err : -ENOMEM;
	}
}

uint32_t weft_build_criteria(struct weft_build *b, const Envoy__Config__Core__V3__Metadata *outer,
			     const Envoy__Config__Core__V3__Metadata *own, const char *field)
{
	const Google__Protobuf__Struct *first = weft_lb_metadata(outer),
				       *last = weft_lb_metadata(own);
	const field_entry *before[CRITERIA_MAX], *list[CRITERIA_MAX];
	struct weft_words tries = {0};
	size_t n, n_before;
	uint32_t off;

	if (!first && !last)
		return 0;
	n_before = fields_join(NULL, 0, first, before);
	n = n_before == SIZE_MAX ? n_before : fields_join(before, n_before, last, list);
	if (n == SIZE_MAX) {
		weft_build_fail(b, field, "more than %u fields", CRITERIA_MAX);
		return 0;
	}
	tries_fill(b, list, n, field, &tries);
	off = criteria_put(b, list, n, &tries, field);
	free(tries.v);
	return off;
}
