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
	free(v->node);
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
	free(v->user);
	free(v->entries.v);
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
	const struct weft_compiled *e;

	for (size_t i = 0; i < v->n_member; i++) {
		const struct weft_member *m = &v->member[i];

		if (m->cell != ejected->cluster || !ejected->n)
			continue;
		v->ejected = ejected;
		e = view_endpoints(v, m->res);
		table[m->id].endpoints = e ? e->off : 0;
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

void weft_standing_clear(struct weft_standing *s)
{
	weft_snapshot_free(s->snapshot);
	weft_snapshot_free(s->resolved);
	free(s->cluster);
	free(s->member);
	free(s->user);
	free(s->objects.v);
	free(s->named.v);
	free(s->entries.v);
	*s = (struct weft_standing){0};
}

static int by_eds(const void *a, const void *b)
{
	const struct weft_eds_user *x = a, *y = b;

	if (x->eds != y->eds)
		return (x->eds > y->eds) - (x->eds < y->eds);
	return (x->member > y->member) - (x->member < y->member);
}

/* What was made outlives v. */
static int standing_take(struct view *v, const struct weft_view_input *in,
			 struct weft_standing *ret)
{
	int r = weft_snapshot_clone(in->snapshot, &ret->snapshot);

	if (!r && in->resolved)
		r = weft_snapshot_clone(in->resolved, &ret->resolved);
	if (r) {
		weft_standing_clear(ret);
		return r;
	}
	qsort(v->user, v->n_user, sizeof(*v->user), by_eds);
	ret->cluster = v->cluster;
	ret->n_cluster = v->cap_cluster;
	ret->member = v->member;
	ret->user = v->user;
	ret->n_user = v->n_user;
	ret->objects = v->b.objects;
	ret->named = v->b.named;
	ret->entries = v->entries;
	v->cluster = NULL;
	v->member = NULL;
	v->user = NULL;
	v->entries = (struct weft_compiled_list){0};
	v->b.objects = v->b.named = (struct weft_words){0};
	return 0;
}

/* Room for what is known by the snapshot's indexes. */
static void view_begin(struct view *v)
{
	size_t n_cluster = weft_snapshot_count(v->s, WEFT_XDS_CLUSTER);

	v->serial = ++v->c->view_serial;
	view_build_init(v, &v->b, "View", "0", 0);
	v->err = v->b.err;
	if (asprintf(&v->node, "%s\n%s\n", weft_snapshot_node_id(v->s),
		     weft_snapshot_node_cluster(v->s)) < 0) {
		v->node = NULL;
		v->err = err_first(v->err, -ENOMEM);
	}
	v->rds_used = calloc(weft_snapshot_count(v->s, WEFT_XDS_ROUTE) + 1, sizeof(*v->rds_used));
	v->eds_used =
		calloc(weft_snapshot_count(v->s, WEFT_XDS_ENDPOINT) + 1, sizeof(*v->eds_used));
	v->member = calloc(n_cluster + 1, sizeof(*v->member));
	v->user = calloc(n_cluster + 1, sizeof(*v->user));
	if (!v->rds_used || !v->eds_used || !v->member || !v->user)
		v->err = err_first(v->err, -ENOMEM);
}

int weft_view_build(struct weft_compiler *c, const struct weft_view_input *in,
		    struct weft_diag *diag, struct weft_own_views *own, struct weft_standing *ret)
{
	struct view v = {.c = c,
			 .s = in->snapshot,
			 .resolved = in->resolved,
			 .waiting = in->waiting,
			 .diag = diag};

	*ret = (struct weft_standing){0};
	view_begin(&v);
	if (!v.err) {
		view_clusters_fill(&v);
		view_endpoints_check(&v);
		view_listeners_fill(&v);
		view_routes_check(&v);
	}
	if (!v.err) {
		uint32_t before = own->n;

		ret->view = view_put(&v);
		for (size_t i = 0; i < in->n_ejected && !v.err && !v.b.err;)
			i = own_put(&v, in, i, ret->view, own);
		ret->own = own->n != before;
		v.err = err_first(v.err, v.b.err);
	}
	if (!v.err)
		v.err = standing_take(&v, in, ret);
	view_clear(&v);
	return v.err;
}
