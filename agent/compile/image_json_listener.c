// SPDX-License-Identifier: Apache-2.0
/* Listeners of the image as JSON, with their filter chains. */
#include <arpa/inet.h>
#include <stdio.h>
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

static json_t *range_json(const struct weft_addr *addr, const struct weft_addr *mask)
{
	bool v4 = !addr->w[0] && !addr->w[1] && addr->w[2] == htonl(0xffff);
	char text[INET6_ADDRSTRLEN + 8];
	int bits = v4 ? -96 : 0;

	inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? &addr->w[3] : &addr->w[0], text, sizeof(text));
	for (int i = 0; i < 4; i++)
		bits += __builtin_popcount(mask->w[i]);
	snprintf(text + strlen(text), sizeof(text) - strlen(text), "/%d", bits);
	return json_string(text);
}

static void ranges_add(json_t *rule, const char *key, uint32_t n, uint32_t off)
{
	const struct weft_img_test *t = n ? weft_img_at(off) : NULL;
	json_t *list = n ? json_array() : NULL;

	for (uint32_t i = 0; i < n; i++)
		json_array_append_new(list, range_json(&t[i].addr, &t[i].mask));
	if (list)
		json_object_set_new(rule, key, list);
}

/* What of a rule narrows it; the chain comes last. */
static json_t *rule_json(const struct weft_img_chain_rule *r, struct weft_img_str name,
			 const struct weft_img_view *view)
{
	static const char *const transports[] = {"", "raw_buffer", "tls"};
	static const char *const types[] = {"", "SAME_IP_OR_LOOPBACK", "EXTERNAL"};
	const struct weft_img_str *alpn = r->n_alpn ? weft_img_at(r->alpn) : NULL;
	const uint32_t *port = r->n_port ? weft_img_at(r->port) : NULL;
	json_t *rule = json_object(), *list;

	if (name.len)
		json_object_set_new(rule, "server_name", weft_image_text(name));
	if (r->transport)
		json_object_set_new(rule, "transport_protocol",
				    json_string(transports[r->transport]));
	list = r->n_alpn ? json_array() : NULL;
	for (uint32_t i = 0; i < r->n_alpn; i++)
		json_array_append_new(list, weft_image_text(alpn[i]));
	if (list)
		json_object_set_new(rule, "application_protocols", list);
	ranges_add(rule, "direct_source_prefix_ranges", r->n_direct, r->direct);
	if (r->source_type)
		json_object_set_new(rule, "source_type", json_string(types[r->source_type]));
	ranges_add(rule, "source_prefix_ranges", r->n_source, r->source);
	list = r->n_port ? json_array() : NULL;
	for (uint32_t i = 0; i < r->n_port; i++)
		json_array_append_new(list, json_integer(port[i]));
	if (list)
		json_object_set_new(rule, "source_ports", list);
	json_object_set_new(rule, "chain", chain_json(r->chain, view));
	return rule;
}

static json_t *rules_json(uint32_t off, const struct weft_img_view *view)
{
	const struct weft_img_chain_rules *r = weft_img_at(off);
	const struct weft_img_chain_name *n = weft_img_at(r->name);
	json_t *list = json_array();

	for (uint32_t i = 0; i < r->n_name; i++) {
		const uint32_t *rule = weft_img_at(n[i].rule);

		for (uint32_t k = 0; k < n[i].n_rule; k++)
			json_array_append_new(list,
					      rule_json(weft_img_at(rule[k]), n[i].name, view));
	}
	return json_pack("{s:o, s:o}", "rules", list, "otherwise", chain_json(r->otherwise, view));
}

static json_t *columns_json(const struct weft_img_chain_group *g, const struct weft_img_view *view)
{
	static const char *const columns[] = {"raw", "tls", "http/1.0", "http/1.1", "h2c"};
	json_t *chains = json_object();

	for (unsigned int c = 0; c < WEFT_PROTO__MAX; c++) {
		if (!c || g->chain[c] != g->chain[0])
			json_object_set_new(chains, columns[c], chain_json(g->chain[c], view));
	}
	return chains;
}

static json_t *groups_json(const struct weft_img_listener *l, const struct weft_img_view *view)
{
	const struct weft_img_chain_group *g = l->n_group ? weft_img_at(l->group) : NULL;
	json_t *list = json_array();

	for (uint32_t i = 0; i < l->n_group; i++) {
		const struct weft_addr *m = &g[i].mask;
		bool any = !m->w[0] && !m->w[1] && !m->w[2] && !m->w[3];

		json_array_append_new(list,
				      json_pack("{s:i, s:o*, s:o}", "destination_port",
						(int)g[i].port, "prefix_range",
						any ? NULL : range_json(&g[i].prefix, m), "chains",
						g[i].rules ? rules_json(g[i].rules, view)
							   : columns_json(&g[i], view)));
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
