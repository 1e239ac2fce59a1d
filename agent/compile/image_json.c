// SPDX-License-Identifier: Apache-2.0
/* The published image as JSON, by walking it from the root: what the kernel holds, not what the
 * agent meant. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "agent/compile/compile.h"
#include "agent/compile/image_json.h"
#include "bpf/engine/engine.h"

json_t *weft_image_text(struct weft_img_str s)
{
	/* replacement for bytes that are no UTF-8: bodies may hold anything */
	json_t *j = s.len ? json_stringn(weft_img_at(s.off), s.len) : json_string("");

	return j ? j : json_sprintf("<%u bytes>", s.len);
}

json_t *weft_image_address(const struct weft_addr *a, uint32_t port)
{
	bool v4 = !a->w[0] && !a->w[1] && a->w[2] == htonl(0xffff);
	char ip[INET6_ADDRSTRLEN];

	if (!inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? (const void *)&a->w[3] : (const void *)a->w,
		       ip, sizeof(ip)))
		return json_null();
	return json_sprintf(v4 ? "%s:%u" : "[%s]:%u", ip, port);
}

json_t *weft_image_reply(uint32_t off)
{
	const struct weft_img_reply *r = weft_img_at(off);
	uint32_t body;

	if (!off)
		return json_null();
	body = r->head_off == r->insert_off ? r->len - r->head_len : 0;
	return json_pack("{s:i, s:o, s:o, s:b, s:o, s:o*}", "status", (int)r->status, "head",
			 weft_image_text((struct weft_img_str){r->data, r->len - body}), "body",
			 weft_image_text((struct weft_img_str){r->data + r->len - body, body}),
			 "closes", r->flags & WEFT_REPLY_CLOSES, "details",
			 weft_image_text(r->details), "body_format", r->body ? json_true() : NULL);
}

json_t *weft_image_cond(const struct weft_img_cond *c)
{
	static const char *const kinds[] = {"",	     "present", "exact",     "prefix",   "suffix",
					    "contains", "range", "separated", "fraction", "grpc",
					    "regex_table", "regex_simulated"};
	static const char *const from[] = {"value", "query_parameter", "cookie", "path"};
	json_t *out = json_pack("{s:s, s:i, s:o, s:I, s:I, s:b, s:b, s:b}", "kind",
				kinds[c->kind < sizeof(kinds) / sizeof(*kinds) ? c->kind : 0],
				"slot", (int)c->slot, "text",
				weft_image_text((struct weft_img_str){c->str, c->len}), "start",
				(json_int_t)c->start, "end", (json_int_t)c->end, "invert",
				c->flags & WEFT_COND_INVERT, "missing_as_empty",
				c->flags & WEFT_COND_MISSING_AS_EMPTY, "ignore_case",
				c->flags & WEFT_COND_IGNORE_CASE);

	if (c->kind == WEFT_COND_DFA) {
		const struct weft_img_dfa *t = weft_img_at(c->str);

		json_object_set_new(out, "states", json_integer(t->n_state));
		json_object_set_new(out, "classes", json_integer(t->stride - 1));
	} else if (c->kind == WEFT_COND_NFA) {
		json_object_set_new(
			out, "instructions",
			json_integer(((const struct weft_img_nfa *)weft_img_at(c->str))->n));
	}
	if (c->from && c->from < sizeof(from) / sizeof(*from)) {
		json_object_set_new(out, "from", json_string(from[c->from]));
		json_object_set_new(out, "name", weft_image_text((struct weft_img_str){c->name, c->name_len}));
	}
	return out;
}

static const struct weft_img_root *root_get(uint32_t *ret_epoch)
{
	const struct weft_img_head *h = weft_img_at(0);
	uint64_t root = __atomic_load_n(&h->root, __ATOMIC_ACQUIRE);

	*ret_epoch = (uint32_t)(root >> 32);
	return (uint32_t)root ? weft_img_at((uint32_t)root) : NULL;
}

static json_t *part_json(const struct weft_img_view *view, const char *what)
{
	if (!strcmp(what, "listeners"))
		return weft_image_listeners(view);
	if (!strcmp(what, "routes"))
		return weft_image_routes(view);
	if (!strcmp(what, "clusters"))
		return weft_image_clusters(view, false);
	if (!strcmp(what, "endpoints"))
		return weft_image_clusters(view, true);
	return NULL;
}

json_t *weft_image_json_view(const struct weft_store *s, uint32_t view, const char *what)
{
	uint32_t epoch;
	const struct weft_img_root *root = root_get(&epoch);
	const uint32_t *views = (const void *)(root + 1);

	(void)s;
	if (!root || view >= root->n_view || !views[view])
		return json_array();
	return part_json(weft_img_at(views[view]), what);
}

json_t *weft_image_json(const struct weft_store *s)
{
	static const char *const parts[] = {"listeners", "routes", "clusters", "endpoints"};
	uint32_t epoch;
	const struct weft_img_root *root = root_get(&epoch);
	json_t *out = json_pack("{s:I, s:o}", "epoch", (json_int_t)epoch, "views", json_array());

	for (uint32_t i = 0; root && i < root->n_view; i++) {
		json_t *view = json_object();

		for (size_t k = 0; k < sizeof(parts) / sizeof(*parts); k++)
			json_object_set_new(view, parts[k], weft_image_json_view(s, i, parts[k]));
		json_array_append_new(json_object_get(out, "views"), view);
	}
	return out;
}
