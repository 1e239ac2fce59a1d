// SPDX-License-Identifier: Apache-2.0
/* Header mutations of the image as JSON, for dump, explain and golden tests. */
#include <stdio.h>
#include <stdlib.h>

#include "agent/compile/compile.h"
#include "agent/compile/image_json.h"
#include "bpf/engine/engine.h"

static const char *const kinds[] = {
	[WEFT_PIECE_TEXT] = "text",
	[WEFT_PIECE_REQ] = "REQ",
	[WEFT_PIECE_RESP] = "RESP",
	[WEFT_PIECE_PROTOCOL] = "PROTOCOL",
	[WEFT_PIECE_START_TIME] = "START_TIME",
	[WEFT_PIECE_RESPONSE_CODE] = "RESPONSE_CODE",
	[WEFT_PIECE_UPSTREAM_CLUSTER] = "UPSTREAM_CLUSTER",
	[WEFT_PIECE_UPSTREAM_PROTOCOL] = "UPSTREAM_PROTOCOL",
	[WEFT_PIECE_ATTEMPT_COUNT] = "UPSTREAM_REQUEST_ATTEMPT_COUNT",
	[WEFT_PIECE_ROUTE_NAME] = "ROUTE_NAME",
	[WEFT_PIECE_PATH] = "PATH",
	[WEFT_PIECE_QUERY_PARAM] = "QUERY_PARAM",
	[WEFT_PIECE_UPSTREAM_REMOTE] = "UPSTREAM_REMOTE",
	[WEFT_PIECE_UPSTREAM_LOCAL] = "UPSTREAM_LOCAL",
	[WEFT_PIECE_REMOTE] = "DOWNSTREAM_REMOTE",
	[WEFT_PIECE_DIRECT_REMOTE] = "DOWNSTREAM_DIRECT_REMOTE",
	[WEFT_PIECE_LOCAL] = "DOWNSTREAM_LOCAL",
	[WEFT_PIECE_BODY] = "LOCAL_REPLY_BODY",
	[WEFT_PIECE_FLAGS] = "RESPONSE_FLAGS",
};

static bool is_address(uint32_t kind)
{
	return kind >= WEFT_PIECE_UPSTREAM_REMOTE && kind <= WEFT_PIECE_LOCAL;
}

/* One command, as it would be written. */
static void command_print(FILE *f, const struct weft_img_piece *p)
{
	fprintf(f, "%%%s", p->kind < sizeof(kinds) / sizeof(*kinds) ? kinds[p->kind] : "?");
	if (is_address(p->kind))
		fprintf(f, "%s",
			p->flags & WEFT_PIECE_ONLY_PORT ? "_PORT"
			: p->flags & WEFT_PIECE_NO_PORT ? "_ADDRESS_WITHOUT_PORT"
							: "_ADDRESS");
	if (p->kind == WEFT_PIECE_PATH)
		fprintf(f, "(%s%s)", p->flags & WEFT_PIECE_NO_QUERY ? "NQ" : "WQ",
			p->flags & WEFT_PIECE_ORIGINAL	? ":ORIG"
			: p->flags & WEFT_PIECE_CURRENT ? ":PATH"
							: "");
	else if (p->a.len || p->b.len)
		fprintf(f, "(%.*s%s%.*s)", (int)p->a.len, (const char *)weft_img_at(p->a.off),
			p->b.len ? "?" : "", (int)p->b.len, (const char *)weft_img_at(p->b.off));
	if (p->max != WEFT_PIECE_WHOLE)
		fprintf(f, ":%u", p->max);
	fputc('%', f);
}

static json_t *value_json(const struct weft_img_header *h)
{
	const struct weft_img_piece *p = h->n_piece ? weft_img_at(h->piece) : NULL;
	char *out = NULL;
	size_t len = 0;
	FILE *f = h->n_piece ? open_memstream(&out, &len) : NULL;
	json_t *j;

	if (!f)
		return weft_image_text(h->value);
	for (uint32_t i = 0; i < h->n_piece; i++) {
		if (p[i].kind == WEFT_PIECE_TEXT)
			fwrite(weft_img_at(p[i].a.off), 1, p[i].a.len, f);
		else
			command_print(f, &p[i]);
	}
	fclose(f);
	j = out ? json_stringn(out, len) : NULL;
	free(out);
	return j ? j : json_null();
}

static json_t *change_json(const struct weft_img_change *c)
{
	static const char *const levels[] = {"weighted_cluster", "route", "virtual_host",
					     "route_configuration"};
	static const char *const actions[] = {"append", "add_if_absent", "overwrite",
					      "overwrite_if_exists"};
	const struct weft_img_str *remove = c->n_remove ? weft_img_at(c->remove) : NULL;
	const struct weft_img_header *h = c->n_add ? weft_img_at(c->add) : NULL;
	json_t *removed = json_array(), *added = json_array();

	for (uint32_t i = 0; i < c->n_remove; i++)
		json_array_append_new(removed, weft_image_text(remove[i]));
	for (uint32_t i = 0; i < c->n_add; i++)
		json_array_append_new(
			added, json_pack("{s:o, s:o, s:s, s:b}", "name", weft_image_text(h[i].name), "value",
					 value_json(&h[i]), "action", actions[h[i].action & 3],
					 "keep_empty", h[i].flags & WEFT_HEADER_KEEP_EMPTY));
	return json_pack("{s:s, s:o, s:o}", "level", levels[c->level & 3], "remove", removed, "add",
			 added);
}

json_t *weft_format_json(uint32_t header)
{
	return value_json(weft_img_at(header));
}

json_t *weft_changes_json(uint32_t changes)
{
	const struct weft_img_changes *list = changes ? weft_img_at(changes) : NULL;
	const struct weft_img_change *c = (const void *)(list + 1);
	json_t *out = json_array();

	for (uint32_t i = 0; list && i < list->n; i++)
		json_array_append_new(out, change_json(&c[i]));
	return out;
}

json_t *weft_response_json(const struct weft_img_response *r)
{
	if (!r->changes)
		return NULL;
	return json_pack("{s:o, s:b, s:o}", "changes", weft_changes_json(r->changes),
			 "formed_by_agent", r->flags & WEFT_RESPONSE_FORMED, "reply_lines",
			 weft_image_text(r->lines));
}
