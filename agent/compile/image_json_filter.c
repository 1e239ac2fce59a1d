// SPDX-License-Identifier: Apache-2.0
/* Filters of the image as JSON, and what routes say of them. */
#include "agent/compile/image_json.h"
#include "bpf/abi/global.h"
#include "bpf/abi/rate.h"
#include "bpf/engine/engine.h"

json_t *weft_image_bucket(const struct weft_img_bucket *b)
{
	return json_pack("{s:o, s:I, s:I}", "stat_prefix", weft_image_text(b->stat_prefix),
			 "max_tokens", (json_int_t)b->max_tokens, "token_ns",
			 (json_int_t)(b->cost >> 4));
}

static json_t *descriptors_json(const struct weft_img_rate_limit *l)
{
	const struct weft_img_rate_descriptor *d = weft_img_at(l->descriptor);
	json_t *list = json_array();

	for (uint32_t i = 0; i < l->n_descriptor; i++) {
		const struct weft_img_rate_entry *e = weft_img_at(d[i].entry);
		json_t *entries = json_array();

		for (uint32_t k = 0; k < d[i].n_entry; k++)
			json_array_append_new(entries, json_pack("{s:o, s:o}", "key",
								 weft_image_text(e[k].key), "value",
								 weft_image_text(e[k].value)));
		json_array_append_new(list, json_pack("{s:o, s:o, s:b}", "entries", entries,
						      "bucket", weft_image_bucket(&d[i].bucket),
						      "shadow", d[i].flags & WEFT_RATE_SHADOW));
	}
	return list;
}

static json_t *limit_json(uint32_t off)
{
	const struct weft_img_rate_limit *l = weft_img_at(off);

	json_t *j = json_pack(
		"{s:o?, s:i, s:i, s:b, s:o}", "bucket",
		l->flags & WEFT_RATE_HAS_BUCKET ? weft_image_bucket(&l->bucket) : NULL,
		"enabled_ppm", (int)l->enabled, "enforced_ppm", (int)l->enforced, "per_connection",
		l->flags & WEFT_RATE_PER_CONNECTION, "reply", weft_image_reply(l->reply));

	if (l->flags & WEFT_RATE_HEADERS)
		json_object_set_new(j, "x_ratelimit_headers", json_true());
	if (l->flags & WEFT_RATE_EXHAUSTED)
		json_object_set_new(j, "resource_exhausted", json_true());
	if (l->n_descriptor)
		json_object_set_new(j, "descriptors", descriptors_json(l));
	return j;
}

static json_t *cors_json(uint32_t off)
{
	const struct weft_img_cors *c = weft_img_at(off);
	const struct weft_img_cond *cond = c->n_origin ? weft_img_at(c->origin) : NULL;
	json_t *origins = json_array();

	for (uint32_t i = 0; i < c->n_origin; i++)
		json_array_append_new(origins, weft_image_cond(&cond[i]));
	return json_pack("{s:o, s:i, s:i, s:b, s:b, s:b, s:o, s:o, s:o, s:o}", "origins", origins,
			 "enabled_ppm", (int)c->enabled, "shadow_ppm", (int)c->shadow,
			 "credentials", c->flags & WEFT_CORS_CREDENTIALS, "private_network",
			 c->flags & WEFT_CORS_PRIVATE_NETWORK, "answer_all",
			 c->flags & WEFT_CORS_ANSWER_ALL, "methods", weft_image_text(c->methods),
			 "headers", weft_image_text(c->headers), "expose",
			 weft_image_text(c->expose), "max_age", weft_image_text(c->max_age));
}

static json_t *global_json(uint32_t off)
{
	const struct weft_img_global_limit *l = weft_img_at(off);

	return json_pack("{s:o, s:o, s:I, s:i, s:i, s:i, s:i, s:i, s:i, s:i}", "domain",
			 weft_image_text(l->domain), "service", weft_image_text(l->service.name),
			 "timeout_ms", (json_int_t)l->service.timeout_ms, "stage", (int)l->stage,
			 "enabled_ppm", (int)l->enabled, "enforced_ppm", (int)l->enforced,
			 "deny_ppm", (int)l->deny, "status", (int)l->status, "error_status",
			 (int)l->error_status, "rules", (int)l->own.n);
}

static json_t *global_route_json(uint32_t off)
{
	static const char *const vhost[] = {"override", "include", "ignore"};
	const struct weft_img_global_route *r = weft_img_at(off);

	return json_pack("{s:o, s:s, s:i}", "domain", weft_image_text(r->domain), "vh_rate_limits",
			 vhost[r->vhost_rules < 3 ? r->vhost_rules : 0], "rules", (int)r->own.n);
}

json_t *weft_image_filter(uint32_t kind, uint32_t config, uint32_t disabled)
{
	json_t *j = json_pack("{s:b}", "disabled", disabled);

	if (config && kind == WEFT_FILTER_RBAC)
		json_object_set_new(j, "rbac", weft_image_rbac(config));
	else if (config && kind == WEFT_FILTER_FAULT)
		json_object_set_new(j, "fault", weft_image_fault(config));
	else if (config && kind == WEFT_FILTER_CORS)
		json_object_set_new(j, "cors", cors_json(config));
	else if (config && kind == WEFT_FILTER_GLOBAL_LIMIT)
		json_object_set_new(j, "global_rate_limit", global_json(config));
	else if (config)
		json_object_set_new(j, "rate_limit", limit_json(config));
	return j;
}

json_t *weft_image_overrides(uint32_t off, uint32_t n)
{
	const struct weft_img_override *o = n ? weft_img_at(off) : NULL;
	json_t *list = json_array();

	for (uint32_t i = 0; i < n; i++) {
		if (o[i].kind == WEFT_FILTER_GLOBAL_LIMIT)
			json_array_append_new(list, json_pack("{s:b, s:o}", "disabled",
							      o[i].disabled, "global_rate_limit",
							      global_route_json(o[i].config)));
		else
			json_array_append_new(
				list, weft_image_filter(o[i].kind, o[i].config, o[i].disabled));
	}
	return list;
}
