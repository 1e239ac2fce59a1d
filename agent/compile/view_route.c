// SPDX-License-Identifier: Apache-2.0
/* Route configurations of a view, and what they ask of its clusters. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/compile/view_parts.h"

typedef Envoy__Config__Cluster__V3__Cluster cluster;

static uint32_t run_routes(struct weft_build *b, const struct job *j)
{
	b->own_lines = j->own_lines;
	b->filter_names = j->filter_names;
	b->hcm_flags = j->hcm_flags;
	b->trusted_hops = j->trusted_hops;
	return weft_build_route_config(b, (const void *)j->res->msg, "");
}

void view_clusters_check(struct view *v, const struct weft_resource *res,
			 const struct weft_compiled *l)
{
	for (size_t i = 0; i < l->cluster_refs.n; i++) {
		uint32_t id = l->cluster_refs.v[i];
		char *resource;

		if (id < v->cap_cluster && v->cluster[id].cluster)
			continue;
		if (v->waiting && weft_snapshot_get(v->waiting, WEFT_XDS_CLUSTER,
						    weft_names_text(v->c->clusters, id)))
			continue;
		if (asprintf(&resource, "%s/%s", weft_xds_type_name(res->type), res->name) < 0)
			resource = NULL;
		v->err = err_first(v->err,
				   weft_diag_add(v->diag, -EINVAL, resource,
						 res->type == WEFT_XDS_ROUTE ? "" : "route_config",
						 "route: unknown cluster '%s'",
						 weft_names_text(v->c->clusters, id)));
		free(resource);
	}
}

static bool bind_told(const struct view *v, const char *resource)
{
	for (size_t i = 0; resource && v->diag && i < v->diag->n; i++) {
		if (!strcmp(v->diag->entries[i].field, "upstream_bind_config") &&
		    !strcmp(v->diag->entries[i].resource, resource))
			return true;
	}
	return false;
}

void view_bind_check(struct view *v, const struct weft_compiled *e)
{
	for (size_t i = 0; i < e->named.n; i++) {
		const char *name = weft_names_text(v->c->clusters, e->named.v[i]);
		const struct weft_resource *res =
			name ? weft_snapshot_get(v->s, WEFT_XDS_CLUSTER, name) : NULL;
		char *resource;

		if (!res || !((const cluster *)(const void *)res->msg)->upstream_bind_config)
			continue;
		if (asprintf(&resource, "Cluster/%s", name) < 0)
			resource = NULL;
		if (!bind_told(v, resource))
			v->err = err_first(v->err,
					   weft_diag_add(v->diag, -EINVAL, resource,
							 "upstream_bind_config",
							 "unsupported in a cluster that is used"));
		free(resource);
	}
}

static void route_config_put(struct view *v, uint32_t id, uint32_t off)
{
	if (view_table_room(v, (void **)&v->route_config, &v->cap_rc, sizeof(*v->route_config), id))
		v->route_config[id] = off;
}

void view_routes_fill(struct view *v, const struct weft_compiled *l)
{
	for (size_t i = 0; i < l->n_rds; i++) {
		const struct weft_rds_ref *r = &l->rds[i];
		const struct weft_resource *res = weft_snapshot_get(v->s, WEFT_XDS_ROUTE, r->name);
		struct job job = {.res = res,
				  .own_lines = r->own_lines,
				  .filter_names = r->filter_names,
				  .hcm_flags = r->hcm_flags,
				  .trusted_hops = r->trusted_hops,
				  .run = run_routes};
		struct weft_compiled *e;
		char *variant;

		if (!res)
			continue; /* an empty table: 404 */
		v->rds_used[weft_snapshot_index(v->s, WEFT_XDS_ROUTE, r->name)] = true;
		if (asprintf(&variant, "%x %u %s%s%s", r->hcm_flags, r->trusted_hops, v->node,
			     r->own_lines, r->filter_names) < 0) {
			v->err = err_first(v->err, -ENOMEM);
			return;
		}
		e = view_resolve(v, "routes", variant, res->name, res->hash, &job);
		free(variant);
		if (!e)
			continue;
		view_clusters_check(v, res, e);
		view_bind_check(v, e);
		route_config_put(v, r->id, e->off);
	}
	for (size_t i = 0; i + 1 < l->inline_rc.n; i += 2)
		route_config_put(v, l->inline_rc.v[i], l->inline_rc.v[i + 1]);
}

void view_routes_check(struct view *v)
{
	size_t n = weft_snapshot_count(v->s, WEFT_XDS_ROUTE);

	for (size_t i = 0; i < n; i++) {
		const struct weft_resource *res = weft_snapshot_at(v->s, WEFT_XDS_ROUTE, i);
		struct job job = {.res = res, .own_lines = "", .run = run_routes};
		struct weft_compiled *e;

		if (v->rds_used[i])
			continue;
		e = view_resolve(v, "routes", "", res->name, res->hash, &job);
		if (e)
			view_clusters_check(v, res, e);
	}
}
