// SPDX-License-Identifier: Apache-2.0
/* Metadata of routes in the image, and what is asked of it. */
#include <math.h>
#include <string.h>

#include "agent/compile/image_json.h"
#include "bpf/engine/engine.h"

static json_t *number_json(uint64_t bits)
{
	double d;

	memcpy(&d, &bits, sizeof(d));
	return isfinite(d) ? json_real(d) : json_sprintf("%g", d);
}

static json_t *value_json(const struct weft_img_value *v)
{
	const struct weft_img_member *m = weft_img_at(v->list);
	const struct weft_img_value *e = weft_img_at(v->list);
	json_t *out;
	char name[256];

	switch (v->kind) {
	case WEFT_METADATA_BOOL:
		return json_boolean(v->number);
	case WEFT_METADATA_NUMBER:
		return number_json(v->number);
	case WEFT_METADATA_TEXT:
		return weft_image_text(v->text);
	case WEFT_METADATA_LIST:
		out = json_array();
		for (uint32_t i = 0; i < v->n; i++)
			json_array_append_new(out, value_json(&e[i]));
		return out;
	case WEFT_METADATA_STRUCT:
		out = json_object();
		for (uint32_t i = 0; i < v->n; i++) {
			uint32_t n =
				m[i].name.len < sizeof(name) ? m[i].name.len : sizeof(name) - 1;

			memcpy(name, weft_img_at(m[i].name.off), n);
			name[n] = '\0';
			json_object_set_new(out, name, value_json(&m[i].value));
		}
		return out;
	default:
		return json_null();
	}
}

json_t *weft_image_metadata(uint32_t off)
{
	const struct weft_img_metadata *m = weft_img_at(off);

	return off ? value_json(&m->all) : NULL;
}

static json_t *matcher_json(const struct weft_img_value_match *m)
{
	static const char *const kinds[] = {
		"never",	"null_match",	 "bool_match", "exact",	   "range",
		"string_match", "present_match", "list_match", "or_match", ""};
	const struct weft_img_value_match *sub = weft_img_at(m->list);
	json_t *what = NULL;

	if (m->kind == WEFT_VALUE_MATCH_BOOL)
		what = json_boolean(m->from);
	else if (m->kind == WEFT_VALUE_MATCH_NUMBER)
		what = number_json(m->from);
	else if (m->kind == WEFT_VALUE_MATCH_RANGE)
		what = json_pack("[o, o]", number_json(m->from), number_json(m->to));
	else if (m->kind == WEFT_VALUE_MATCH_TEXT)
		what = weft_image_cond(weft_img_at(m->list));
	else if (m->kind == WEFT_VALUE_MATCH_LIST || m->kind == WEFT_VALUE_MATCH_OR)
		what = json_array();
	for (uint32_t i = 0;
	     json_is_array(what) && m->list && m->kind != WEFT_VALUE_MATCH_RANGE && i < m->n; i++)
		json_array_append_new(what, matcher_json(&sub[i]));
	return json_pack("{s:o?}", kinds[m->kind < 9 ? m->kind : 9], what);
}

json_t *weft_image_metadata_match(uint32_t off)
{
	const struct weft_img_metadata_match *m = weft_img_at(off);
	const struct weft_img_str *step = weft_img_at(m->path.step);
	json_t *path = json_array();

	for (uint32_t i = 0; i < m->path.n; i++)
		json_array_append_new(path, weft_image_text(step[i]));
	return json_pack("{s:o, s:o, s:o, s:b}", "filter", weft_image_text(m->path.name), "path",
			 path, "value", matcher_json(&m->value), "invert", m->invert);
}
