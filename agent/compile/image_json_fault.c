// SPDX-License-Identifier: Apache-2.0
/* Faults in the image. */
#include "agent/compile/image_json.h"
#include "bpf/engine/engine.h"

static json_t *share_json(const struct weft_img_share *s)
{
	return json_sprintf("%u/%u", s->numerator, s->denominator);
}

static json_t *abort_json(const struct weft_img_fault *f)
{
	json_t *j = json_pack("{s:o}", "share", share_json(&f->abort));

	if (f->abort_kind == WEFT_FAULT_HEADER)
		json_object_set_new(j, "status", json_string("by header"));
	else
		json_object_set_new(j, f->abort_kind == WEFT_FAULT_GRPC ? "grpc_status" : "status",
				    json_integer(f->abort_status));
	return j;
}

static json_t *delay_json(const struct weft_img_fault *f)
{
	json_t *j = json_pack("{s:o}", "share", share_json(&f->delay));

	json_object_set_new(j, "ms",
			    f->delay_kind == WEFT_FAULT_HEADER ? json_string("by header")
							       : json_integer(f->delay_ms));
	return j;
}

static json_t *rate_json(const struct weft_img_fault *f)
{
	json_t *j = json_pack("{s:o}", "share", share_json(&f->rate));

	json_object_set_new(j, "kbps",
			    f->rate_kind == WEFT_FAULT_HEADER ? json_string("by header")
							      : json_integer(f->rate_kbps));
	return j;
}

static json_t *nodes_json(const struct weft_img_fault *f)
{
	const struct weft_img_str *s = f->n_node ? weft_img_at(f->node) : NULL;
	json_t *j = json_array();

	for (uint32_t i = 0; i < f->n_node; i++)
		json_array_append_new(j, json_stringn(weft_img_at(s[i].off), s[i].len));
	return j;
}

json_t *weft_image_fault(uint32_t off)
{
	const struct weft_img_fault *f = weft_img_at(off);
	const struct weft_img_cond *c = f->n_cond ? weft_img_at(f->cond) : NULL;
	json_t *j = json_object(), *conds = json_array();

	if (f->abort_kind)
		json_object_set_new(j, "abort", abort_json(f));
	if (f->delay_kind)
		json_object_set_new(j, "delay", delay_json(f));
	if (f->rate_kind)
		json_object_set_new(j, "response_rate", rate_json(f));
	if (f->n_node)
		json_object_set_new(j, "nodes", nodes_json(f));
	for (uint32_t i = 0; i < f->n_cond; i++)
		json_array_append_new(conds, weft_image_cond(&c[i]));
	json_object_set_new(j, "headers", conds);
	if (f->max_active != WEFT_FAULT_NO_MAX)
		json_object_set_new(j, "max_active", json_integer(f->max_active));
	json_object_set_new(j, "one_cluster", json_boolean(f->cluster != 0));
	return j;
}
