// SPDX-License-Identifier: Apache-2.0
/* Of several sources' resources one view's, and of those what can serve now. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "agent/cleanup.h"
#include "agent/dns/dns.h"
#include "agent/health/health.h"
#include "agent/view_parts.h"

static int merge_type(struct weft_snapshot *to, const struct weft_snapshot *from,
		      enum weft_xds_type type, enum weft_source source, struct weft_diag *diag)
{
	size_t n = weft_snapshot_count(from, type);
	int err = 0;

	if (!weft_snapshot_count(to, type)) {
		weft_snapshot_share(to, from, type);
		return 0;
	}
	for (size_t i = 0; i < n; i++) {
		struct weft_resource *r = weft_snapshot_at(from, type, i);
		_auto_free_ char *what = NULL;
		int put;

		if (!weft_snapshot_get(to, type, r->name)) {
			put = weft_snapshot_put(to, r);
			if (put < 0)
				return put;
			continue;
		}
		if (asprintf(&what, "%s/%s", weft_xds_type_name(type), r->name) < 0)
			return -ENOMEM;
		err = weft_diag_add(diag, -EINVAL, what, "name",
				    "another source than %s has this resource too",
				    weft_source_name(source));
	}
	return err;
}

/* Who this node is: what a stream says, else the files. */
static int merge_node(const struct view *view, enum weft_source source,
		      const struct weft_snapshot *next, struct weft_snapshot *merged)
{
	const struct weft_snapshot *x =
		source == WEFT_SOURCE_XDS ? next : view->part[WEFT_SOURCE_XDS];
	const struct weft_snapshot *f =
		source == WEFT_SOURCE_FILE ? next : view->part[WEFT_SOURCE_FILE];

	x = x ? x : f;
	return x ? weft_snapshot_set_node(merged, weft_snapshot_node_id(x),
					  weft_snapshot_node_cluster(x))
		 : 0;
}

/* The source says of this type what it said before: then what was merged last stands. */
static bool stands(const struct view *view, enum weft_source source,
		   const struct weft_snapshot *next, enum weft_xds_type type)
{
	return view->merged && view->part[source] &&
	       weft_snapshot_same(view->part[source], next, type);
}

int view_merge(const struct view *view, enum weft_source source, const struct weft_snapshot *next,
	       struct weft_diag *diag, struct weft_snapshot **ret)
{
	struct weft_snapshot *merged;
	int r = weft_snapshot_new(&merged), err = 0;

	if (r < 0)
		return r;
	for (int t = 0; t < WEFT_XDS__MAX && r >= 0; t++) {
		enum weft_xds_type type = (enum weft_xds_type)t;

		if (stands(view, source, next, type)) {
			weft_snapshot_share(merged, view->merged, type);
			continue;
		}
		/* The changed source last: it is the one that is told of duplicates. */
		for (int s = 0; s < WEFT_SOURCE__MAX && r >= 0; s++) {
			if (s != (int)source && view->part[s])
				r = merge_type(merged, view->part[s], type, (enum weft_source)s,
					       diag);
		}
		if (r >= 0)
			r = merge_type(merged, next, type, source, diag);
		if (r == -EINVAL) {
			err = r;
			r = 0;
		}
	}
	if (r >= 0)
		r = merge_node(view, source, next, merged);
	if (r < 0 || err < 0) {
		weft_snapshot_free(merged);
		return r < 0 ? r : err;
	}
	*ret = merged;
	return 0;
}

/* Its names have addresses, and its hosts were checked. */
static bool is_warm(const struct weft_views *v, uint32_t view, const struct weft_resource *next)
{
	return (!v->dns || weft_dns_is_warm(v->dns, next)) &&
	       (!v->health || weft_health_is_warm(v->health, view, next));
}

/*
 * One that is not warm: its predecessor is kept in its place; one that has none is not there until
 * its hosts were checked (Envoy: NC).
 */
static int cold_leave(const struct weft_views *v, uint32_t id, const struct weft_resource *next,
		      struct weft_snapshot *s, bool *waits)
{
	const struct weft_snapshot *in_force = v->view[id]->in_force;
	struct weft_resource *old =
		in_force ? weft_snapshot_get(in_force, WEFT_XDS_CLUSTER, next->name) : NULL;

	if (old && old->hash != next->hash && !is_warm(v, id, next)) {
		*waits = true;
		return weft_snapshot_put(s, old);
	}
	if (!old && v->health && weft_health_is_cold(v->health, id, next)) {
		*waits = true;
		return weft_snapshot_del(s, WEFT_XDS_CLUSTER, next->name);
	}
	return 0;
}

int view_warm_only(const struct weft_views *v, uint32_t id, const struct weft_snapshot *merged,
		   struct weft_snapshot **ret, bool *ret_waits)
{
	const struct view *view = v->view[id];
	struct weft_snapshot *s = NULL;
	int r = weft_snapshot_clone(merged, &s);
	size_t n = r == 0 ? weft_snapshot_count(merged, WEFT_XDS_CLUSTER) : 0;

	*ret_waits = false;
	if (view->in_force && weft_snapshot_same(merged, view->in_force, WEFT_XDS_CLUSTER))
		n = 0;
	for (size_t i = 0; r == 0 && i < n; i++)
		r = cold_leave(v, id, weft_snapshot_at(merged, WEFT_XDS_CLUSTER, i), s, ret_waits);
	if (r < 0)
		weft_snapshot_free(s);
	else
		*ret = s;
	return r;
}
