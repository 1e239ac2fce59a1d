// SPDX-License-Identifier: Apache-2.0
/* The published image as JSON, by walking it from the root: what the kernel holds, not what the
 * agent meant. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/compile/compile.h"
#include "agent/compile/image_json.h"
#include "bpf/engine/engine.h"
#include "bpf/abi/rate.h"

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

static json_t *bucket_json(const struct weft_img_bucket *b)
{
	return json_pack("{s:o, s:I, s:I}", "stat_prefix", weft_image_text(b->stat_prefix), "max_tokens",
			 (json_int_t)b->max_tokens, "token_ns", (json_int_t)(b->cost >> 4));
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
						      "bucket", bucket_json(&d[i].bucket), "shadow",
						      d[i].flags & WEFT_RATE_SHADOW));
	}
	return list;
}

static json_t *limit_json(uint32_t off)
{
	const struct weft_img_rate_limit *l = weft_img_at(off);

	json_t *j = json_pack("{s:o?, s:i, s:i, s:b, s:o}", "bucket",
			      l->flags & WEFT_RATE_HAS_BUCKET ? bucket_json(&l->bucket) : NULL,
			      "enabled_ppm", (int)l->enabled, "enforced_ppm", (int)l->enforced,
			      "per_connection", l->flags & WEFT_RATE_PER_CONNECTION, "reply",
			      weft_image_reply(l->reply));

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

static json_t *filter_json(uint32_t kind, uint32_t config, uint32_t disabled)
{
	json_t *j = json_pack("{s:b}", "disabled", disabled);

	if (config && kind == WEFT_FILTER_RBAC)
		json_object_set_new(j, "rbac", weft_image_rbac(config));
	else if (config && kind == WEFT_FILTER_FAULT)
		json_object_set_new(j, "fault", weft_image_fault(config));
	else if (config && kind == WEFT_FILTER_CORS)
		json_object_set_new(j, "cors", cors_json(config));
	else if (config)
		json_object_set_new(j, "rate_limit", limit_json(config));
	return j;
}

static json_t *overrides_json(uint32_t off, uint32_t n)
{
	const struct weft_img_override *o = n ? weft_img_at(off) : NULL;
	json_t *list = json_array();

	for (uint32_t i = 0; i < n; i++)
		json_array_append_new(list, filter_json(o[i].kind, o[i].config, o[i].disabled));
	return list;
}

/* ---- routes ---- */

static json_t *target_json(const struct weft_img_target *e)
{
	return json_pack("{s:o, s:I, s:o, s:o*, s:o*, s:o*, s:o*}", "name",
			 weft_image_text(e->name), "weight", (json_int_t)e->weight, "overrides",
			 overrides_json(e->override, e->n_override), "cluster_header_slot",
			 e->slot && e->slot != WEFT_SLOT_HASHED ? json_integer(e->slot - 1) : NULL,
			 "host_rewrite", e->host.len ? weft_image_text(e->host) : NULL,
			 "request_headers", e->request ? weft_changes_json(e->request) : NULL,
			 "response_headers", weft_response_json(&e->response));
}

static json_t *targets_json(uint32_t off)
{
	const struct weft_img_targets *t = weft_img_at(off);
	const struct weft_img_target *e = (const void *)(t + 1);
	json_t *list = json_array();

	for (uint32_t i = 0; i < t->n; i++)
		json_array_append_new(list, target_json(&e[i]));
	return list;
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

static json_t *substitution_json(uint32_t off)
{
	const struct weft_img_rewrite *r = off ? weft_img_at(off) : NULL;

	if (!r)
		return NULL;
	return json_pack("{s:I, s:s?}", "instructions",
			 r->nfa ? (json_int_t)((const struct weft_img_nfa *)weft_img_at(r->nfa))->n : 0,
			 "substitution", r->nfa ? (const char *)weft_img_at(r->text) : NULL);
}

/* Host and path of requests on their way, NULL: they stay. */
static json_t *rewrite_json(const struct weft_img_forward *f)
{
	if (!f->prefix_rewrite.len && !f->host.len && !f->host_header.len && !f->host_format &&
	    !f->path_format && !f->host_regex && !f->path_regex &&
	    !(f->flags & (WEFT_FORWARD_AUTO_HOST | WEFT_FORWARD_APPEND_XFH)))
		return NULL;
	return json_pack("{s:o, s:I, s:o, s:o, s:b, s:b, s:o*, s:o*, s:o*, s:o*}", "prefix", weft_image_text(f->prefix_rewrite),
			 "matched_len",
			 f->matched_len == WEFT_MATCHED_WHOLE ? -1 : (json_int_t)f->matched_len,
			 "host", weft_image_text(f->host), "host_header", weft_image_text(f->host_header), "auto_host",
			 f->flags & WEFT_FORWARD_AUTO_HOST, "append_x_forwarded_host",
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
		json_array_append_new(
			list, json_pack("{s:o, s:b}", kinds[h[i].kind],
					weft_image_text((struct weft_img_str){h[i].key.name,
									      h[i].key.name_len}),
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
		targets_json(f->targets), "header_slot", t->slot ? json_integer(t->slot - 1) : NULL,
		"rewrite", rewrite_json(f), "hash_policy", hash_policy_json(f),
		"mirrors", weft_image_mirrors(f), "internal_redirects",
		follow ? json_integer(follow->max) : NULL,
		"timeout_ms", (json_int_t)f->timeout_ms, "idle_timeout_ms",
		f->idle_timeout_ms == WEFT_TIMEOUT_INHERIT ? -1 : (json_int_t)f->idle_timeout_ms,
		"retry_on", (int)f->retry_on, "num_retries", (json_int_t)f->num_retries,
		"per_try_ms", (json_int_t)f->per_try_ms, "priority_high",
		f->flags & WEFT_FORWARD_PRIORITY_HIGH);
}

static json_t *redirect_json(const struct weft_img_redirect *r)
{
	return json_pack("{s:o, s:o, s:o, s:o, s:i, s:b, s:b, s:o*}", "reply", weft_image_reply(r->reply),
			 "scheme", weft_image_text(r->scheme), "host", weft_image_text(r->host), "path", weft_image_text(r->path),
			 "port", (int)r->port, "https", r->flags & WEFT_REDIRECT_HTTPS,
			 "strip_query", r->flags & WEFT_REDIRECT_STRIP_QUERY, "path_regex",
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
	return json_pack("{s:i, s:o, s:o, s:o?, s:o, s:o*}", "index", (int)r->index, "name",
			 weft_image_text(r->name), "conditions", conds, "action", action, "overrides",
			 overrides_json(r->override, r->n_override), "response_headers",
			 weft_response_json(&r->response));
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
		select_walk(all, a->select + i * (uint32_t)sizeof(struct weft_img_select), path, kind);
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
	return json_pack("{s:o, s:o, s:o, s:o*}", "name", weft_image_text(v->name), "routes", list, "overrides",
			 overrides_json(v->override, v->n_override), "require_tls",
			 v->tls_route ? json_true() : NULL);
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
	json_t *star = rc->star ? weft_image_text(((const struct weft_img_vhost *)weft_img_at(rc->star))->name)
				: NULL;

	return json_pack("{s:o, s:o, s:o?, s:o, s:b, s:o}", "name", weft_image_text(rc->name), "domains",
			 domains_json(rc), "star", star, "virtual_hosts", vhosts_json(rc),
			 "ignore_port", rc->flags & WEFT_RC_IGNORE_PORT, "overrides",
			 overrides_json(rc->override, rc->n_override));
}

static json_t *routes_list(const struct weft_img_view *view)
{
	const uint32_t *rc = view->n_route_config ? weft_img_at(view->route_config) : NULL;
	json_t *list = json_array();

	for (uint32_t i = 0; i < view->n_route_config; i++) {
		if (rc[i])
			json_array_append_new(list, route_config_json(rc[i]));
	}
	return list;
}

/* ---- listeners ---- */

static json_t *hcm_json(const struct weft_img_hcm *h, const struct weft_img_view *view)
{
	const uint32_t *rc = view->n_route_config ? weft_img_at(view->route_config) : NULL;
	const struct weft_img_filter *f = h->n_filter ? weft_img_at(h->filter) : NULL;
	uint32_t at = rc && h->route_config < view->n_route_config ? rc[h->route_config] : 0;
	json_t *filters = json_array();

	for (uint32_t i = 0; i < h->n_filter; i++)
		json_array_append_new(filters,
				      filter_json(f[i].kind, f[i].config, f[i].disabled));
	return json_pack(
		"{s:o, s:o, s:i, s:o?, s:o, s:i, s:i}", "stat_prefix", weft_image_text(h->stat_prefix),
		"server_name", weft_image_text(h->server_name), "flags", (int)h->flags, "route_config",
		at ? weft_image_text(((const struct weft_img_route_config *)weft_img_at(at))->name) : NULL,
		"filters", filters, "max_request_headers", (int)h->max_head, "max_headers_count",
		(int)h->max_headers);
}

static json_t *chain_json(uint32_t off, const struct weft_img_view *view)
{
	const struct weft_img_chain *c = weft_img_at(off);
	json_t *limits, *rbac, *out;

	if (!off)
		return json_null();
	limits = json_array();
	for (uint32_t i = 0; i < c->n_conn_limit; i++)
		json_array_append_new(limits, bucket_json(weft_img_at(c->conn_limit[i])));
	out = json_pack("{s:o, s:o}", "name", weft_image_text(c->name), "connection_limits", limits);
	rbac = c->n_rbac ? json_array() : NULL;
	for (uint32_t i = 0; i < c->n_rbac; i++)
		json_array_append_new(rbac, weft_image_rbac(c->rbac[i]));
	if (rbac)
		json_object_set_new(out, "rbac", rbac);
	if (c->kind == WEFT_CHAIN_TCP)
		json_object_set_new(out, "tcp_proxy", targets_json(c->target));
	else
		json_object_set_new(out, "http_connection_manager",
				    hcm_json(weft_img_at(c->target), view));
	return out;
}

static json_t *groups_json(const struct weft_img_listener *l, const struct weft_img_view *view)
{
	static const char *const columns[] = {"raw", "tls", "http/1.0", "http/1.1", "h2c"};
	const struct weft_img_chain_group *g = l->n_group ? weft_img_at(l->group) : NULL;
	json_t *list = json_array();

	for (uint32_t i = 0; i < l->n_group; i++) {
		json_t *chains = json_object();

		for (unsigned int c = 0; c < WEFT_PROTO__MAX; c++) {
			if (!c || g[i].chain[c] != g[i].chain[0])
				json_object_set_new(chains, columns[c],
						    chain_json(g[i].chain[c], view));
		}
		json_array_append_new(list, json_pack("{s:i, s:o}", "destination_port",
						      (int)g[i].port, "chains", chains));
	}
	return list;
}

static void places_append(json_t *list, uint32_t tab, uint32_t listener)
{
	const struct weft_img_addr_tab *t = tab ? weft_img_at(tab) : NULL;
	const struct weft_img_addr_ent *e = (const void *)(t + 1);

	for (uint32_t i = 0; t && i <= t->mask; i++) {
		if (e[i].port && e[i].val == listener)
			json_array_append_new(list, weft_image_address(&e[i].addr, e[i].port));
	}
}

static json_t *listener_json(uint32_t off, const struct weft_img_view *view)
{
	const struct weft_img_listener *l = weft_img_at(off);
	json_t *places = json_array();

	places_append(places, view->listener, off);
	places_append(places, view->wildcard, off);
	return json_pack("{s:o, s:o, s:b, s:b, s:b, s:o}", "name", weft_image_text(l->name), "addresses",
			 places, "use_original_dst", off == view->fallback, "inspects_http",
			 l->flags & WEFT_LISTENER_INSPECT_HTTP, "inspects_tls",
			 l->flags & WEFT_LISTENER_INSPECT_TLS, "filter_chains",
			 groups_json(l, view));
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(json_string_value(json_object_get(*(json_t *const *)a, "name")),
		      json_string_value(json_object_get(*(json_t *const *)b, "name")));
}

static json_t *listeners_list(const struct weft_img_view *view)
{
	const struct weft_img_tab *t = view->names ? weft_img_at(view->names) : NULL;
	const struct weft_img_ent *e = (const void *)(t + 1);
	json_t *list = json_array(), **v = t ? calloc(t->mask + 1ul, sizeof(*v)) : NULL;
	size_t n = 0;

	for (uint32_t i = 0; v && i <= t->mask; i++) {
		if (e[i].kind)
			v[n++] = listener_json(e[i].val, view);
	}
	if (v)
		qsort(v, n, sizeof(*v), compare_names);
	for (size_t i = 0; i < n; i++)
		json_array_append_new(list, v[i]);
	free(v);
	return list;
}

/* ---- the whole ---- */

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
		return listeners_list(view);
	if (!strcmp(what, "routes"))
		return routes_list(view);
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
