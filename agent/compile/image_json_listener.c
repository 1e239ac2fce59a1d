// SPDX-License-Identifier: Apache-2.0
/* Listeners of the image as JSON, with their filter chains. */
#include <stdlib.h>
#include <string.h>

#include "agent/compile/image_json.h"
#include "bpf/engine/engine.h"

static json_t *hcm_json(const struct weft_img_hcm *h, const struct weft_img_view *view)
{
	const uint32_t *rc = view->n_route_config ? weft_img_at(view->route_config) : NULL;
	const struct weft_img_filter *f = h->n_filter ? weft_img_at(h->filter) : NULL;
	uint32_t at = rc && h->route_config < view->n_route_config ? rc[h->route_config] : 0;
	const struct weft_img_user_agent *u = weft_img_at(h->user_agent);
	json_t *filters = json_array();

	for (uint32_t i = 0; i < h->n_filter; i++)
		json_array_append_new(filters,
				      weft_image_filter(f[i].kind, f[i].config, f[i].disabled));
	return json_pack(
		"{s:o, s:o, s:i, s:o?, s:o, s:i, s:i, s:o*, s:o*}", "stat_prefix",
		weft_image_text(h->stat_prefix), "server_name", weft_image_text(h->server_name),
		"flags", (int)h->flags, "route_config",
		at ? weft_image_text(((const struct weft_img_route_config *)weft_img_at(at))->name)
		   : NULL,
		"filters", filters, "max_request_headers", (int)h->max_head, "max_headers_count",
		(int)h->max_headers, "local_reply_config", h->mapping ? json_true() : NULL,
		"user_agent",
		h->user_agent ? json_pack("{s:o, s:o}", "cluster", weft_image_text(u->cluster),
					  "node", weft_image_text(u->node))
			      : NULL);
}

static json_t *ask_json(uint32_t off)
{
	const struct weft_img_conn_ask *a = weft_img_at(off);

	return json_pack("{s:o, s:o, s:o, s:I, s:b, s:i}", "stat_prefix",
			 weft_image_text(a->stat_prefix), "domain", weft_image_text(a->domain),
			 "service", weft_image_text(a->service.name), "timeout_ms",
			 (json_int_t)a->service.timeout_ms, "failure_mode_deny", a->deny,
			 "descriptors", (int)a->n);
}

static json_t *chain_json(uint32_t off, const struct weft_img_view *view)
{
	const struct weft_img_chain *c = weft_img_at(off);
	json_t *limits, *rbac, *out;

	if (!off)
		return json_null();
	limits = json_array();
	for (uint32_t i = 0; i < c->n_conn_limit; i++)
		json_array_append_new(limits, weft_image_bucket(weft_img_at(c->conn_limit[i])));
	out = json_pack("{s:o, s:o}", "name", weft_image_text(c->name), "connection_limits",
			limits);
	rbac = c->n_rbac ? json_array() : NULL;
	for (uint32_t i = 0; i < c->n_rbac; i++)
		json_array_append_new(rbac, weft_image_rbac(c->rbac[i]));
	if (rbac)
		json_object_set_new(out, "rbac", rbac);
	for (uint32_t i = 0; i < c->n_ask; i++) {
		if (!i)
			json_object_set_new(out, "global_rate_limits", json_array());
		json_array_append_new(json_object_get(out, "global_rate_limits"),
				      ask_json(c->ask[i]));
	}
	if (c->kind == WEFT_CHAIN_TCP) {
		json_object_set_new(out, "stat_prefix", weft_image_text(c->stat_prefix));
		json_object_set_new(out, "tcp_proxy", weft_image_targets(c->target));
	} else {
		json_object_set_new(out, "http_connection_manager",
				    hcm_json(weft_img_at(c->target), view));
	}
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
	return json_pack("{s:o, s:o, s:b, s:b, s:b, s:o}", "name", weft_image_text(l->name),
			 "addresses", places, "use_original_dst", off == view->fallback,
			 "inspects_http", l->flags & WEFT_LISTENER_INSPECT_HTTP, "inspects_tls",
			 l->flags & WEFT_LISTENER_INSPECT_TLS, "filter_chains",
			 groups_json(l, view));
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(json_string_value(json_object_get(*(json_t *const *)a, "name")),
		      json_string_value(json_object_get(*(json_t *const *)b, "name")));
}

json_t *weft_image_listeners(const struct weft_img_view *view)
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
