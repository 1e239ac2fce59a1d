// SPDX-License-Identifier: Apache-2.0
/* One snapshot to one view: the tables that join its resources, and what pods see with hosts
 * ejected. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/compile/view_parts.h"

static void view_clear(struct view *v)
{
	weft_build_clear(&v->b);
	free(v->cluster);
	free(v->route_config);
	free(v->exact);
	free(v->wild);
	free(v->exact_name);
	free(v->wild_name);
	free(v->name.key);
	free(v->cluster_name.key);
	free(v->rds_used);
	free(v->eds_used);
	free(v->member);
}

/* weft_img_view, 0 after an error. */
static uint32_t view_put(struct view *v)
{
	struct weft_img_view out = {.fallback = v->fallback};

	out.listener = weft_build_addr_tab(&v->b, v->exact, v->n_exact);
	out.wildcard = weft_build_addr_tab(&v->b, v->wild, v->n_wild);
	out.names = weft_build_tab(&v->b, v->name.key, v->name.n);
	out.n_route_config = (uint32_t)v->cap_rc;
	if (v->cap_rc)
		out.route_config = weft_build_put(&v->b, v->route_config,
						  v->cap_rc * sizeof(*v->route_config));
	out.cluster_names = weft_build_tab(&v->b, v->cluster_name.key, v->cluster_name.n);
	out.n_cluster = (uint32_t)v->cap_cluster;
	if (v->cap_cluster)
		out.cluster =
			weft_build_put(&v->b, v->cluster, v->cap_cluster * sizeof(*v->cluster));
	return weft_build_put(&v->b, &out, sizeof(out));
}

/* ---- pods for which hosts are ejected ---- */

/* The cluster table with other endpoints. */
static void ejected_apply(struct view *v, const struct weft_ejected *ejected,
			  struct weft_img_cluster_ref *table)
{
	for (size_t i = 0; i < v->n_member; i++) {
		const struct member *m = &v->member[i];

		if (m->cell != ejected->cluster || !ejected->n)
			continue;
		v->ejected = ejected;
		table[m->id].endpoints = view_endpoints(v, m->res);
		v->ejected = NULL;
		return;
	}
}

/* in->ejected[at] and those behind it of the same pod. */
static size_t own_put(struct view *v, const struct weft_view_input *in, size_t at, uint32_t base,
		      struct weft_own_views *own)
{
	size_t size = v->cap_cluster * sizeof(*v->cluster), i = at;
	struct weft_img_cluster_ref *table = malloc(size + 1);
	struct weft_img_view out;
	uint32_t pod = in->ejected[at].pod;

	memcpy(&out, weft_store_at(v->c->store, base), sizeof(out));
	if (table && size)
		memcpy(table, v->cluster, size);
	else
		v->err = err_first(v->err, table ? 0 : -ENOMEM);
	for (; i < in->n_ejected && in->ejected[i].pod == pod; i++) {
		if (table)
			ejected_apply(v, &in->ejected[i], table);
	}
	if (table && size && memcmp(table, v->cluster, size) && pod <= WEFT_PODS_MAX) {
		out.cluster = weft_build_put(&v->b, table, size);
		own->v[pod] = weft_build_put(&v->b, &out, sizeof(out));
		own->n = own->n > pod + 1 ? own->n : pod + 1;
	}
	free(table);
	return i;
}

int weft_view_build(struct weft_compiler *c, const struct weft_view_input *in,
		    struct weft_diag *diag, uint32_t *ret_off, struct weft_own_views *own)
{
	const struct weft_snapshot *s = in->snapshot;
	struct view v = {.c = c, .s = s, .resolved = in->resolved, .diag = diag};

	view_build_init(&v, &v.b, "View", "0", 0);
	v.err = v.b.err;
	v.rds_used = calloc(weft_snapshot_count(s, WEFT_XDS_ROUTE) + 1, sizeof(*v.rds_used));
	v.eds_used = calloc(weft_snapshot_count(s, WEFT_XDS_ENDPOINT) + 1, sizeof(*v.eds_used));
	v.member = calloc(weft_snapshot_count(s, WEFT_XDS_CLUSTER) + 1, sizeof(*v.member));
	if (!v.rds_used || !v.eds_used || !v.member)
		v.err = err_first(v.err, -ENOMEM);
	if (!v.err) {
		view_clusters_fill(&v);
		view_endpoints_check(&v);
		view_listeners_fill(&v);
		view_routes_check(&v);
	}
	if (!v.err) {
		*ret_off = view_put(&v);
		for (size_t i = 0; i < in->n_ejected && !v.err && !v.b.err;)
			i = own_put(&v, in, i, *ret_off, own);
		v.err = err_first(v.err, v.b.err);
	}
	view_clear(&v);
	return v.err;
}
