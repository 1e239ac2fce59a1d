// SPDX-License-Identifier: Apache-2.0
#include "agent/compile/changes.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "agent/compile/format.h"
#include "agent/compile/text.h"
#include "bpf/engine/engine.h"

/* Lines that replies made in the kernel may get from rules; with more the agent forms the reply. */
#define WEFT_LINES_MAX 64u

static bool in(const char *const *list, const char *name)
{
	for (; *list; list++) {
		if (!strcmp(*list, name))
			return true;
	}
	return false;
}

static char *name_lower(struct weft_build *b, const char *s)
{
	char *copy = strdup(s);

	if (!copy)
		b->err = b->err ? b->err : -ENOMEM;
	for (char *p = copy; p && *p; p++)
		*p = (char)tolower((unsigned char)*p);
	return copy;
}

/* Where the message ends, and what becomes of the connection, is not for rules to say: Envoy lets
 * them break it. */
static void framing_check(struct weft_build *b, const char *name, const char *field)
{
	static const char *const names[] = {"connection", "content-length", "transfer-encoding",
					    "upgrade", NULL};

	if (in(names, name))
		weft_build_fail(b, field, "unsupported: changes %s, which frames the message",
				name);
}

static uint32_t append_action(const Envoy__Config__Core__V3__HeaderValueOption *o)
{
	if (o->append) /* deprecated: false overwrites */
		return o->append->value ? WEFT_APPEND : WEFT_OVERWRITE;
	return (uint32_t)o->append_action;
}

/* true: it adds something. */
static bool header_fill(struct weft_build *b, const Envoy__Config__Core__V3__HeaderValueOption *o,
			bool response, const char *field, struct weft_img_header *ret)
{
	char at[WEFT_FIELD_MAX];
	char *name;

	weft_build_fields(b, &o->base, field);
	if (!o->header)
		return false; /* refused before: required */
	weft_field(at, field, "header");
	weft_build_fields(b, &o->header->base, at);
	name = name_lower(b, o->header->key);
	if (!name)
		return false;
	framing_check(b, name, at);
	*ret = (struct weft_img_header){.name = weft_build_str(b, name),
					.action = append_action(o)};
	if (o->keep_empty_value)
		ret->flags |= WEFT_HEADER_KEEP_EMPTY;
	if (weft_header_joins(name, (uint32_t)strlen(name), response))
		ret->flags |= WEFT_HEADER_JOINS;
	free(name);
	weft_build_format(b, o->header->value, at, ret);
	return ret->n_piece || ret->value.len || o->keep_empty_value;
}

static void adds_fill(struct weft_build *b, const struct weft_change_lists *l, const char *field,
		      struct weft_img_change *ret)
{
	const char *name = l->name	 ? l->name
			   : l->response ? "response_headers_to_add"
					 : "request_headers_to_add";
	struct weft_img_header *h = calloc(l->n_add + 1, sizeof(*h));
	char at[WEFT_FIELD_MAX];

	if (!h) {
		b->err = b->err ? b->err : -ENOMEM;
		return;
	}
	for (size_t i = 0; i < l->n_add; i++) {
		if (header_fill(b, l->add[i], l->response,
				weft_field(at, field, "%s[%zu]", name, i), &h[ret->n_add]))
			ret->n_add++;
	}
	if (ret->n_add)
		ret->add = weft_build_put(b, h, ret->n_add * sizeof(*h));
	free(h);
}

static void removes_fill(struct weft_build *b, const struct weft_change_lists *l, const char *field,
			 struct weft_img_change *ret)
{
	const char *list = l->response ? "response_headers_to_remove" : "request_headers_to_remove";
	struct weft_img_str *s = calloc(l->n_remove + 1, sizeof(*s));
	char at[WEFT_FIELD_MAX];

	for (size_t i = 0; s && i < l->n_remove; i++) {
		char *name = name_lower(b, l->remove[i]);

		if (!name)
			break;
		framing_check(b, name, weft_field(at, field, "%s[%zu]", list, i));
		s[i] = weft_build_str(b, name);
		free(name);
	}
	if (!s)
		b->err = b->err ? b->err : -ENOMEM;
	ret->n_remove = (uint32_t)l->n_remove;
	if (s && l->n_remove)
		ret->remove = weft_build_put(b, s, l->n_remove * sizeof(*s));
	free(s);
}

struct weft_img_change weft_build_change(struct weft_build *b, enum weft_level level,
					 const struct weft_change_lists *lists, const char *field)
{
	struct weft_img_change out = {.level = level};

	adds_fill(b, lists, field, &out);
	removes_fill(b, lists, field, &out);
	return out;
}

/* Envoy refuses them, too. */
static void name_check(struct weft_build *b, const char *name, const char *field)
{
	if (*name == ':' || !strcasecmp(name, "host"))
		weft_build_fail(b, field, ":-prefixed or host headers may not be modified");
}

static void mutation_fill(struct weft_build *b,
			  Envoy__Config__Common__MutationRules__V3__HeaderMutation *m,
			  const char *field, struct weft_img_change *ret)
{
	struct weft_img_header h = {0};
	struct weft_img_str name;
	char at[WEFT_FIELD_MAX], *lower;

	weft_build_fields(b, &m->base, field);
	ret->level = WEFT_LEVEL_ROUTE;
	if (m->action_case ==
	    ENVOY__CONFIG__COMMON__MUTATION_RULES__V3__HEADER_MUTATION__ACTION_APPEND) {
		weft_field(at, field, "append");
		if (m->append->header)
			name_check(b, m->append->header->key, at);
		ret->n_add = header_fill(b, m->append, false, at, &h);
		ret->add = ret->n_add ? weft_build_put(b, &h, sizeof(h)) : 0;
	} else if (m->action_case ==
		   ENVOY__CONFIG__COMMON__MUTATION_RULES__V3__HEADER_MUTATION__ACTION_REMOVE) {
		weft_field(at, field, "remove");
		name_check(b, m->remove, at);
		lower = name_lower(b, m->remove);
		if (!lower)
			return;
		framing_check(b, lower, at);
		name = weft_build_str(b, lower);
		ret->n_remove = 1;
		ret->remove = weft_build_put(b, &name, sizeof(name));
		free(lower);
	}
}

uint32_t weft_build_mutations(struct weft_build *b, size_t n,
			      Envoy__Config__Common__MutationRules__V3__HeaderMutation *const *list,
			      const char *field)
{
	struct weft_img_changes head = {.n = (uint32_t)n};
	struct weft_img_change *change;
	char *bytes = n ? calloc(1, sizeof(head) + n * sizeof(*change)) : NULL;
	char at[WEFT_FIELD_MAX];
	uint32_t off = 0;

	if (n && !bytes)
		b->err = b->err ? b->err : -ENOMEM;
	if (!bytes)
		return 0;
	memcpy(bytes, &head, sizeof(head));
	change = (void *)(bytes + sizeof(head));
	for (size_t i = 0; i < n; i++)
		mutation_fill(b, list[i], weft_field(at, "", "%s[%zu]", field, i), &change[i]);
	off = weft_build_put(b, bytes, sizeof(head) + n * sizeof(*change));
	free(bytes);
	return off;
}

uint32_t weft_build_changes(struct weft_build *b, const struct weft_change_scope *s, bool response,
			    const struct weft_img_change *cluster)
{
	const struct weft_img_change *outward[] = {&s->route[response], &s->vhost[response],
						   &s->table[response]};
	struct {
		struct weft_img_changes head;
		struct weft_img_change change[4];
	} out = {0};

	if (cluster && (cluster->n_add || cluster->n_remove))
		out.change[out.head.n++] = *cluster;
	for (int i = 0; i < 3; i++) {
		const struct weft_img_change *c = outward[s->specific_wins ? 2 - i : i];

		if (c->n_add || c->n_remove)
			out.change[out.head.n++] = *c;
	}
	if (!out.head.n)
		return 0;
	return weft_build_put(b, &out, sizeof(out.head) + out.head.n * sizeof(*out.change));
}

/* ---- replies that are made here ---- */

/* Lines that are put into a reply: the changes applied to a head that has none of their names. */
struct lines {
	struct weft_build *b;
	const struct weft_img_header *line[WEFT_LINES_MAX];
	uint32_t n;
	bool formed; /* it cannot be said now */
};

static bool same(const struct lines *l, struct weft_img_str a, struct weft_img_str b)
{
	return a.len == b.len &&
	       !memcmp(weft_store_at(l->b->store, a.off), weft_store_at(l->b->store, b.off), a.len);
}

static bool has(const struct lines *l, struct weft_img_str name)
{
	for (uint32_t i = 0; i < l->n; i++) {
		if (same(l, l->line[i]->name, name))
			return true;
	}
	return false;
}

static void drop(struct lines *l, struct weft_img_str name)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < l->n; i++) {
		if (!same(l, l->line[i]->name, name))
			l->line[n++] = l->line[i];
	}
	l->n = n;
}

/* Names that the reply itself, the filter that makes it or the connection manager may have set, or
 * take away. */
static bool of_reply(const struct lines *l, struct weft_img_str name)
{
	static const char *const names[] = {"content-type",	"date",	      "server", "location",
					    "proxy-connection", "keep-alive", "via",	NULL};
	char text[64];

	if (name.len >= sizeof(text))
		return false;
	memcpy(text, weft_store_at(l->b->store, name.off), name.len);
	text[name.len] = '\0';
	return in(names, text) || !strncmp(text, "x-envoy-", 8) || !strncmp(text, "grpc-", 5) ||
	       !strncmp(text, "x-ratelimit-", 12) || !strncmp(text, "access-control-", 15);
}

static void line_add(struct lines *l, const struct weft_img_header *h)
{
	if (l->n == WEFT_LINES_MAX) {
		l->formed = true;
		return;
	}
	l->line[l->n++] = h;
}

static void change_apply(struct lines *l, const struct weft_img_change *c)
{
	const struct weft_img_str *remove = weft_store_at(l->b->store, c->remove);
	const struct weft_img_header *h = weft_store_at(l->b->store, c->add);
	bool absent[WEFT_LINES_MAX];

	for (uint32_t i = 0; i < c->n_remove; i++) {
		l->formed = l->formed || of_reply(l, remove[i]);
		drop(l, remove[i]);
	}
	l->formed = l->formed || c->n_add > WEFT_LINES_MAX;
	for (uint32_t i = 0; i < c->n_add && !l->formed; i++) {
		/* joining needs a line to join to; of two levels' one, or two of one, the agent
		 * knows */
		l->formed =
			h[i].n_piece || of_reply(l, h[i].name) || h[i].flags & WEFT_HEADER_JOINS;
		absent[i] = !has(l, h[i].name);
	}
	/* what overwrites comes first, then what is added, each in order; both judged by what was
	 * there before */
	for (uint32_t i = 0; i < c->n_add && !l->formed; i++) {
		if (h[i].action < WEFT_OVERWRITE ||
		    (h[i].action == WEFT_OVERWRITE_IF_EXISTS && absent[i]))
			continue;
		drop(l, h[i].name);
		line_add(l, &h[i]);
	}
	for (uint32_t i = 0; i < c->n_add && !l->formed; i++) {
		if (h[i].action == WEFT_APPEND || (h[i].action == WEFT_ADD_IF_ABSENT && absent[i]))
			line_add(l, &h[i]);
	}
}

static struct weft_img_str lines_put(struct lines *l)
{
	struct weft_img_str out = {0};
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);

	if (!f) {
		l->b->err = l->b->err ? l->b->err : -ENOMEM;
		return out;
	}
	for (uint32_t i = 0; i < l->n; i++) {
		const struct weft_img_header *h = l->line[i];

		fprintf(f, "%.*s: %.*s\r\n", (int)h->name.len,
			(const char *)weft_store_at(l->b->store, h->name.off), (int)h->value.len,
			(const char *)weft_store_at(l->b->store, h->value.off));
	}
	if (!weft_text_end(f, &text))
		l->b->err = l->b->err ? l->b->err : -ENOMEM;
	else
		out = weft_build_bytes(l->b, text, len);
	free(text);
	return out;
}

struct weft_img_response weft_build_response(struct weft_build *b,
					     const struct weft_change_scope *s,
					     const struct weft_img_change *cluster)
{
	struct weft_img_response out = {.changes = weft_build_changes(b, s, true, cluster)};
	const struct weft_img_changes *list;
	struct lines l = {.b = b};

	if (b->err || !out.changes)
		return out;
	list = weft_store_at(b->store, out.changes);
	for (uint32_t i = 0; i < list->n; i++)
		change_apply(&l, (const struct weft_img_change *)(list + 1) + i);
	if (l.formed)
		out.flags |= WEFT_RESPONSE_FORMED;
	else
		out.lines = lines_put(&l);
	return out;
}
