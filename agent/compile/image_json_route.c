// SPDX-License-Identifier: Apache-2.0
/* Route configurations of the image as JSON. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/compile/compile.h"
#include "agent/compile/image_json.h"
#include "bpf/engine/engine.h"

static json_t *target_json(const struct weft_img_target *e)
{
	return json_pack("{s:o, s:I, s:o, s:o*, s:o*, s:o*, s:o*}", "name",
			 weft_image_text(e->name), "weight", (json_int_t)e->weight, "overrides",
			 weft_image_overrides(e->override, e->n_override), "cluster_header_slot",
			 e->slot && e->slot != WEFT_SLOT_HASHED ? json_integer(e->slot - 1) : NULL,
			 "host_rewrite", e->host.len ? weft_image_text(e->host) : NULL,
			 "request_headers", e->request ? weft_changes_json(e->request) : NULL,
			 "response_headers", weft_response_json(&e->response));
}

json_t *weft_image_targets(uint32_t off)
{
	const struct weft_img_targets *t = weft_img_at(off);
	const struct weft_img_target *e = (const void *)(t + 1);
	json_t *list = json_array();

	for (uint32_t i = 0; i < t->n; i++)
		json_array_append_new(list, target_json(&e[i]));
	return list;
}

static json_t *substitution_json(uint32_t off)
{
	const struct weft_img_rewrite *r = off ? weft_img_at(off) : NULL;

	if (!r)
		return NULL;
	return json_pack("{s:I, s:s?}", "instructions",
			 r->nfa ? (json_int_t)((const struct weft_img_nfa *)weft_img_at(r->nfa))->n
				: 0,
			 "substitution", r->nfa ? (const char *)weft_img_at(r->text) : NULL);
}

/* Host and path of requests on their way, NULL: they stay. */
static json_t *rewrite_json(const struct weft_img_forward *f)
{
	if (!f->prefix_rewrite.len && !f->host.len && !f->host_header.len && !f->host_format &&
	    !f->path_format && !f->host_regex && !f->path_regex &&
	    !(f->flags & (WEFT_FORWARD_AUTO_HOST | WEFT_FORWARD_APPEND_XFH)))
		return NULL;
	return json_pack(
		"{s:o, s:I, s:o, s:o, s:b, s:b, s:o*, s:o*, s:o*, s:o*}", "prefix",
		weft_image_text(f->prefix_rewrite), "matched_len",
		f->matched_len == WEFT_MATCHED_WHOLE ? -1 : (json_int_t)f->matched_len, "host",
		weft_image_text(f->host), "host_header", weft_image_text(f->host_header),
		"auto_host", f->flags & WEFT_FORWARD_AUTO_HOST, "append_x_forwarded_host",
		f->flags & WEFT_FORWARD_APPEND_XFH, "host_format",
		f->host_format ? weft_format_json(f->host_format) : NULL, "path_format",
		f->path_format ? weft_format_json(f->path_format) : NULL, "host_regex",
		substitution_json(f->host_regex), "path_regex", substitution_json(f->path_regex));
}

static json_t *hash_policy_json(const struct weft_img_forward *f)
{
	static const char *const kinds[] = {"", "header", "cookie", "source_ip", "query_parameter"};
	const struct weft_img_hash *h = f->n_hash ? weft_img_at(f->hash) : NULL;
	json_t *list = h ? json_array() : NULL;

	for (uint32_t i = 0; i < f->n_hash; i++)
		json_array_append_new(list, json_pack("{s:o, s:b}", kinds[h[i].kind],
						      weft_image_text((struct weft_img_str){
							      h[i].key.name, h[i].key.name_len}),
						      "terminal", h[i].terminal));
	return list;
}

json_t *weft_image_mirrors(const struct weft_img_forward *f)
{
	const struct weft_img_mirror *m = f->n_mirror ? weft_img_at(f->mirror) : NULL;
	json_t *list = m ? json_array() : NULL;

	for (uint32_t i = 0; list && i < f->n_mirror; i++)
		json_array_append_new(list, json_pack("{s:o, s:o, s:f, s:o, s:b, s:o}", "cluster",
						      weft_image_text(m[i].name), "cluster_header",
						      weft_image_text(m[i].header), "share",
						      (double)m[i].numerator / m[i].denominator,
						      "host", weft_image_text(m[i].host), "suffix",
						      (m[i].flags & WEFT_MIRROR_SUFFIX) != 0,
						      "request_changes",
						      weft_changes_json(m[i].changes)));
	return list;
}

static json_t *forward_json(const struct weft_img_forward *f)
{
	const struct weft_img_targets *t = weft_img_at(f->targets);
	const struct weft_img_follow *follow = f->follow ? weft_img_at(f->follow) : NULL;

	return json_pack(
		"{s:o, s:o*, s:o*, s:o*, s:o*, s:o*, s:I, s:I, s:i, s:I, s:I, s:b}", "clusters",
		weft_image_targets(f->targets), "header_slot",
		t->slot ? json_integer(t->slot - 1) : NULL, "rewrite", rewrite_json(f),
		"hash_policy", hash_policy_json(f), "mirrors", weft_image_mirrors(f),
		"internal_redirects", follow ? json_integer(follow->max) : NULL, "timeout_ms",
		(json_int_t)f->timeout_ms, "idle_timeout_ms",
		f->idle_timeout_ms == WEFT_TIMEOUT_INHERIT ? -1 : (json_int_t)f->idle_timeout_ms,
		"retry_on", (int)f->retry_on, "num_retries", (json_int_t)f->num_retries,
		"per_try_ms", (json_int_t)f->per_try_ms, "priority_high",
		f->flags & WEFT_FORWARD_PRIORITY_HIGH);
}

static json_t *redirect_json(const struct weft_img_redirect *r)
{
	return json_pack("{s:o, s:o, s:o, s:o, s:i, s:b, s:b, s:o*}", "reply",
			 weft_image_reply(r->reply), "scheme", weft_image_text(r->scheme), "host",
			 weft_image_text(r->host), "path", weft_image_text(r->path), "port",
			 (int)r->port, "https", r->flags & WEFT_REDIRECT_HTTPS, "strip_query",
			 r->flags & WEFT_REDIRECT_STRIP_QUERY, "path_regex",
			 substitution_json(r->path_regex));
}

static json_t *route_json(uint32_t off)
{
	const struct weft_img_route *r = weft_img_at(off);
	const struct weft_img_cond *c = r->n_cond ? weft_img_at(r->cond) : NULL;
	json_t *conds = json_array(), *action = NULL;

	for (uint32_t i = 0; i < r->n_cond; i++)
		json_array_append_new(conds, weft_image_cond(&c[i]));
	if (r->action_kind == WEFT_ACTION_FORWARD)
		action = json_pack("{s:o}", "forward", forward_json(weft_img_at(r->action)));
	else if (r->action_kind == WEFT_ACTION_DIRECT)
		action = json_pack("{s:o}", "direct_response", weft_image_reply(r->action));
	else if (r->action_kind == WEFT_ACTION_REDIRECT)
		action = json_pack("{s:o}", "redirect", redirect_json(weft_img_at(r->action)));
	return json_pack("{s:i, s:o, s:o, s:o?, s:o, s:o*, s:o*}", "index", (int)r->index, "name",
			 weft_image_text(r->name), "conditions", conds, "action", action,
			 "overrides", weft_image_overrides(r->override, r->n_override),
			 "response_headers", weft_response_json(&r->response), "metadata",
			 weft_image_metadata(r->metadata));
}

/* Routes by index, with the path of the trie that leads to each. */
struct routes {
	json_t **v;
	uint32_t n;
};

static void route_place(struct routes *all, uint32_t index, uint32_t off, const char *path,
			const char *kind)
{
	if (index >= all->n)
		return;
	if (!all->v[index]) {
		all->v[index] = route_json(off);
		json_object_set_new(all->v[index], "paths", json_array());
	}
	json_array_append_new(json_object_get(all->v[index], "paths"),
			      json_pack("{s:o}", kind, json_sprintf("%s", path)));
}

static void accept_walk(struct routes *all, uint32_t off, const struct weft_img_accept *outer,
			const char *path, const char *kind);

/* Every list that a selection can lead to; each is in WEFT_SELECT_DEPTH_MAX others at most. */
static void select_walk(struct routes *all, uint32_t off, const char *path, const char *kind)
{
	const struct weft_img_select *s = weft_img_at(off);
	const struct weft_img_tab *tab = weft_img_at(s->by);
	const struct weft_img_ent *e = (const void *)(tab + 1);
	const uint32_t *list = weft_img_at(s->list);

	if (s->kind == WEFT_SELECT_VALUE) {
		for (uint32_t i = 0; i <= tab->mask; i++)
			if (e[i].kind)
				accept_walk(all, e[i].val, NULL, path, kind);
		return;
	}
	for (uint32_t i = 1; i <= s->n_list; i++)
		accept_walk(all, list[i], NULL, path, kind);
}

static void accept_walk(struct routes *all, uint32_t off, const struct weft_img_accept *outer,
			const char *path, const char *kind)
{
	const struct weft_img_accept *a = weft_img_at(off);
	const struct weft_img_candidate *c = (const void *)(a + 1);

	for (uint32_t i = 0; i < a->n; i++)
		route_place(all, c[i].index, c[i].route, path, kind);
	for (uint32_t i = 0; i < a->n_select; i++)
		select_walk(all, a->select + i * (uint32_t)sizeof(struct weft_img_select), path,
			    kind);
	/* the best one of an enclosing prefix is told there */
	if (a->best != WEFT_NO_ROUTE && (!outer || outer->best != a->best))
		route_place(all, a->best, a->best_route, path, kind);
}

#define PATH_SHOWN 8300
static void node_walk(struct routes *all, uint32_t off, const struct weft_img_accept *outer,
		      char *path, size_t len, const char *through, const char *exact)
{
	const struct weft_img_node *n = weft_img_at(off);
	const uint32_t *child = (const void *)(n + 1);

	if (len + n->len >= PATH_SHOWN)
		return;
	if (n->len)
		memcpy(path + len, weft_img_at(n->label), n->len);
	len += n->len;
	path[len] = '\0';
	if (n->accept && (!outer || weft_img_at(n->accept) != (const void *)outer)) {
		accept_walk(all, n->accept, outer, path, through);
		outer = weft_img_at(n->accept);
	}
	if (n->accept_exact)
		accept_walk(all, n->accept_exact, outer, path, exact);
	for (uint32_t i = 0; i <= n->child_mask; i++) {
		if (child[i])
			node_walk(all, child[i], outer, path, len, through, exact);
	}
}

static json_t *vhost_json(uint32_t off)
{
	const struct weft_img_vhost *v = weft_img_at(off);
	struct routes all = {calloc(v->n_route + 1, sizeof(*all.v)), v->n_route};
	json_t *list = json_array();
	char *path = malloc(PATH_SHOWN + 1);

	if (all.v && path && v->trie)
		node_walk(&all, v->trie, NULL, path, 0, "prefix", "path");
	if (all.v && path && v->trie_lower)
		node_walk(&all, v->trie_lower, NULL, path, 0, "prefix_any_case", "path_any_case");
	if (all.v && v->connect)
		accept_walk(&all, v->connect, NULL, "", "connect");
	for (uint32_t i = 0; all.v && i < v->n_route; i++)
		json_array_append_new(list, all.v[i] ? all.v[i] : json_null());
	free(all.v);
	free(path);
	return json_pack("{s:o, s:o, s:o, s:o*}", "name", weft_image_text(v->name), "routes", list,
			 "overrides", weft_image_overrides(v->override, v->n_override),
			 "require_tls", v->tls_route ? json_true() : NULL);
}

static int compare_domains(const void *a, const void *b)
{
	return strcmp(json_string_value(json_object_get(*(json_t *const *)a, "domain")),
		      json_string_value(json_object_get(*(json_t *const *)b, "domain")));
}

/* The table in byte order of domains: its own order is that of hashes. */
static json_t *domains_json(const struct weft_img_route_config *rc)
{
	const struct weft_img_tab *t = rc->hosts ? weft_img_at(rc->hosts) : NULL;
	const struct weft_img_ent *e = (const void *)(t + 1);
	json_t *list = json_array(), **v = t ? calloc(t->mask + 1ul, sizeof(*v)) : NULL;
	size_t n = 0;

	for (uint32_t i = 0; v && i <= t->mask; i++) {
		const struct weft_img_vhost *host;

		if (!e[i].kind)
			continue;
		host = weft_img_at(e[i].val);
		v[n++] = json_pack("{s:o, s:o}", "domain",
				   json_sprintf("%s%.*s%s",
						e[i].kind == WEFT_KIND_HOST_SUFFIX ? "*" : "",
						(int)e[i].len, (const char *)weft_img_at(e[i].str),
						e[i].kind == WEFT_KIND_HOST_PREFIX ? "*" : ""),
				   "virtual_host", weft_image_text(host->name));
	}
	if (v)
		qsort(v, n, sizeof(*v), compare_domains);
	for (size_t i = 0; i < n; i++)
		json_array_append_new(list, v[i]);
	free(v);
	return list;
}

static bool listed(const uint32_t *v, size_t n, uint32_t off)
{
	for (size_t i = 0; i < n; i++) {
		if (v[i] == off)
			return true;
	}
	return false;
}

static json_t *vhosts_json(const struct weft_img_route_config *rc)
{
	const struct weft_img_tab *t = rc->hosts ? weft_img_at(rc->hosts) : NULL;
	const struct weft_img_ent *e = (const void *)(t + 1);
	uint32_t *seen = calloc((t ? t->mask + 1ul : 0) + 2, sizeof(*seen));
	json_t *list = json_array();
	size_t n = 0;

	if (seen && rc->star)
		seen[n++] = rc->star;
	for (uint32_t i = 0; seen && t && i <= t->mask; i++) {
		if (e[i].kind && !listed(seen, n, e[i].val))
			seen[n++] = e[i].val;
	}
	for (size_t i = 0; i < n; i++)
		json_array_append_new(list, vhost_json(seen[i]));
	free(seen);
	return list;
}

static json_t *route_config_json(uint32_t off)
{
	const struct weft_img_route_config *rc = weft_img_at(off);
	json_t *star =
		rc->star ? weft_image_text(
				   ((const struct weft_img_vhost *)weft_img_at(rc->star))->name)
			 : NULL;

	return json_pack("{s:o, s:o, s:o?, s:o, s:b, s:o, s:o*}", "name", weft_image_text(rc->name),
			 "domains", domains_json(rc), "star", star, "virtual_hosts",
			 vhosts_json(rc), "ignore_port", rc->flags & WEFT_RC_IGNORE_PORT,
			 "overrides", weft_image_overrides(rc->override, rc->n_override),
			 "vhost_header_slot",
			 rc->host_slot ? json_integer(rc->host_slot - 1) : NULL);
}

json_t *weft_image_routes(const struct weft_img_view *view)
{
	const uint32_t *rc = view->n_route_config ? weft_img_at(view->route_config) : NULL;
	json_t *list = json_array();

	for (uint32_t i = 0; i < view->n_route_config; i++) {
		if (rc[i])
			json_array_append_new(list, route_config_json(rc[i]));
	}
	return list;
}
