// SPDX-License-Identifier: Apache-2.0
#include "agent/view.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "agent/cleanup.h"
#include "agent/dns/dns.h"
#include "agent/outlier/outlier.h"

struct view {
	struct weft_snapshot *part[WEFT_SOURCE__MAX]; /* NULL: nothing yet */
	struct weft_snapshot *merged;
	/* Compiled: merged, with the predecessors of clusters that are not warm yet. */
	struct weft_snapshot *in_force;
	struct weft_snapshot *asked[2]; /* merged and in force, whose names were asked for last */
};

struct weft_views {
	struct weft_compiler *compiler;
	struct weft_dns *dns; /* NULL: names are not resolved */
	struct weft_outlier *outlier; /* NULL: nothing is ejected */
	void (*published)(void *ctx);
	void *ctx;
	struct view view[WEFT_VIEWS];
};

const char *weft_source_name(enum weft_source source)
{
	return source == WEFT_SOURCE_FILE ? "file" : "xds";
}

int weft_views_new(struct weft_compiler *compiler, void (*published)(void *ctx), void *ctx,
		   struct weft_views **ret)
{
	struct weft_views *v = calloc(1, sizeof(*v));

	if (!v)
		return -ENOMEM;
	v->compiler = compiler;
	v->published = published;
	v->ctx = ctx;
	*ret = v;
	return 0;
}

void weft_views_free(struct weft_views *v)
{
	if (!v)
		return;
	for (size_t i = 0; i < WEFT_VIEWS; i++) {
		for (size_t s = 0; s < WEFT_SOURCE__MAX; s++)
			weft_snapshot_free(v->view[i].part[s]);
		weft_snapshot_free(v->view[i].merged);
		weft_snapshot_free(v->view[i].in_force);
		weft_snapshot_free(v->view[i].asked[0]);
		weft_snapshot_free(v->view[i].asked[1]);
	}
	free(v);
}

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

/* next takes the place of the source's part; every duplicate is named. */
static int merge(const struct view *view, enum weft_source source, const struct weft_snapshot *next,
		 struct weft_diag *diag, struct weft_snapshot **ret)
{
	struct weft_snapshot *merged;
	int r = weft_snapshot_new(&merged), err = 0;

	if (r < 0)
		return r;
	/* The changed source last: it is the one that is told of duplicates. */
	for (int s = 0; s < WEFT_SOURCE__MAX && r >= 0; s++) {
		for (int t = 0; t < WEFT_XDS__MAX && r >= 0; t++) {
			if (s != (int)source && view->part[s])
				r = merge_type(merged, view->part[s], (enum weft_xds_type)t,
					       (enum weft_source)s, diag);
		}
	}
	for (int t = 0; t < WEFT_XDS__MAX && r >= 0; t++) {
		r = merge_type(merged, next, (enum weft_xds_type)t, source, diag);
		if (r == -EINVAL) {
			err = r;
			r = 0;
		}
	}
	if (r < 0 || err < 0) {
		weft_snapshot_free(merged);
		return r < 0 ? r : err;
	}
	*ret = merged;
	return 0;
}

void weft_views_resolve(struct weft_views *v, struct weft_dns *d)
{
	v->dns = d;
}

/* *ret_waits: a cluster's predecessor is kept in its place. */
static int warm_only(const struct weft_views *v, const struct view *view,
		     const struct weft_snapshot *merged, struct weft_snapshot **ret,
		     bool *ret_waits)
{
	struct weft_snapshot *s;
	int r = weft_snapshot_clone(merged, &s);
	size_t n = r == 0 ? weft_snapshot_count(merged, WEFT_XDS_CLUSTER) : 0;

	*ret_waits = false;
	if (view->in_force && weft_snapshot_same(merged, view->in_force, WEFT_XDS_CLUSTER))
		n = 0;
	for (size_t i = 0; r == 0 && v->dns && view->in_force && i < n; i++) {
		const struct weft_resource *next = weft_snapshot_at(merged, WEFT_XDS_CLUSTER, i);
		struct weft_resource *old =
			weft_snapshot_get(view->in_force, WEFT_XDS_CLUSTER, next->name);

		if (!old || old->hash == next->hash || weft_dns_is_warm(v->dns, next))
			continue;
		r = weft_snapshot_put(s, old);
		*ret_waits = true;
	}
	if (r < 0)
		weft_snapshot_free(s);
	else
		*ret = s;
	return r;
}

/* Views other than this one stay as they are. */
static int publish_with(struct weft_views *v, uint32_t view, const struct weft_snapshot *in_force,
			const struct weft_ejected *ejected, size_t n_ejected,
			struct weft_diag *diag)
{
	struct weft_view_input inputs[WEFT_VIEWS];
	int r;

	static_assert(WEFT_VIEWS == 1, "ejections are of pods of one view");
	for (uint32_t i = 0; i < WEFT_VIEWS; i++)
		inputs[i] = (struct weft_view_input){
			.snapshot = i == view ? in_force : v->view[i].in_force,
			.resolved = v->dns ? weft_dns_resolved(v->dns) : NULL,
			.ejected = ejected,
			.n_ejected = n_ejected,
		};
	r = weft_compiler_publish(v->compiler, inputs, WEFT_VIEWS, diag);
	if (r == 0 && v->published)
		v->published(v->ctx);
	return r;
}

/*
 * Endpoints of many pods that each leave out others may fill the image. A configuration is not lost
 * for that: where it has to be published it is, for once, without what is ejected.
 */
static int publish(struct weft_views *v, uint32_t view, const struct weft_snapshot *in_force,
		   bool has_to, struct weft_diag *diag)
{
	size_t n = 0;
	const struct weft_ejected *ejected =
		v->outlier ? weft_outlier_ejected(v->outlier, &n) : NULL;
	int r = publish_with(v, view, in_force, ejected, n, diag);

	if (r != -ENOSPC || !n || !has_to)
		return r;
	weft_diag_clear(diag);
	r = publish_with(v, view, in_force, NULL, 0, diag);
	if (r == 0)
		weft_outlier_withheld(v->outlier);
	return r;
}

static bool same_clusters(const struct weft_snapshot *a, const struct weft_snapshot *b)
{
	return a && b ? weft_snapshot_same(a, b, WEFT_XDS_CLUSTER) : a == b;
}

/* merged is new: names of it are asked for before they are needed, those of what is in force go on. */
static int names_want(struct weft_views *v, uint32_t view, const struct weft_snapshot *merged)
{
	struct view *to = &v->view[view];
	int r;

	static_assert(WEFT_VIEWS == 1, "names of other views would be dropped");
	if (!v->dns ||
	    (same_clusters(to->asked[0], merged) && same_clusters(to->asked[1], to->in_force)))
		return 0;
	weft_snapshot_free(to->asked[0]);
	weft_snapshot_free(to->asked[1]);
	to->asked[0] = to->asked[1] = NULL;
	r = weft_dns_want(v->dns, merged, to->in_force);
	if (r == 0 && merged)
		r = weft_snapshot_clone(merged, &to->asked[0]);
	if (r == 0 && to->in_force)
		r = weft_snapshot_clone(to->in_force, &to->asked[1]);
	return r;
}

/* Takes over in_force when it is published. */
static int put_in_force(struct weft_views *v, uint32_t view, const struct weft_snapshot *merged,
			struct weft_diag *diag)
{
	struct weft_snapshot *s = NULL;
	bool waits;
	int r = warm_only(v, &v->view[view], merged, &s, &waits);

	/* What waits is not compiled with the rest: its causes are told now. */
	if (r == 0 && waits)
		r = weft_compiler_check(v->compiler, merged, diag);
	if (r == 0)
		r = publish(v, view, s, true, diag);
	if (r < 0) {
		weft_snapshot_free(s);
		return r;
	}
	weft_snapshot_free(v->view[view].in_force);
	v->view[view].in_force = s;
	return 0;
}

void weft_views_eject(struct weft_views *v, struct weft_outlier *o)
{
	v->outlier = o;
}

int weft_views_again(struct weft_views *v, struct weft_diag *diag)
{
	const struct weft_snapshot *in_force = v->view[WEFT_VIEW_DEFAULT].in_force;

	return in_force ? publish(v, WEFT_VIEW_DEFAULT, in_force, false, diag) : 0;
}

int weft_views_renew(struct weft_views *v, struct weft_diag *diag)
{
	int err = 0;

	for (uint32_t i = 0; i < WEFT_VIEWS; i++) {
		int r = v->view[i].merged ? put_in_force(v, i, v->view[i].merged, diag) : 0;

		if (v->view[i].merged)
			names_want(v, i, v->view[i].merged);
		err = err ? err : r;
	}
	return err;
}

int weft_views_set(struct weft_views *v, uint32_t view, enum weft_source source,
		   const struct weft_snapshot *next, struct weft_diag *diag)
{
	struct weft_snapshot *merged = NULL, *part = NULL;
	int r;

	assert(view < WEFT_VIEWS);
	r = merge(&v->view[view], source, next, diag, &merged);
	if (r < 0)
		return r;
	r = weft_snapshot_clone(next, &part);
	if (r == 0)
		r = names_want(v, view, merged);
	if (r == 0)
		r = put_in_force(v, view, merged, diag);
	names_want(v, view, r == 0 ? merged : v->view[view].merged);
	if (r < 0) {
		weft_snapshot_free(part);
		weft_snapshot_free(merged);
		return r;
	}
	weft_snapshot_free(v->view[view].part[source]);
	weft_snapshot_free(v->view[view].merged);
	v->view[view].part[source] = part;
	v->view[view].merged = merged;
	return 0;
}

int weft_views_check(struct weft_views *v, uint32_t view, enum weft_source source,
		     const struct weft_snapshot *next, struct weft_diag *diag)
{
	struct weft_snapshot *merged = NULL;
	int r;

	assert(view < WEFT_VIEWS);
	r = merge(&v->view[view], source, next, diag, &merged);
	if (r == 0)
		r = weft_compiler_check(v->compiler, merged, diag);
	weft_snapshot_free(merged);
	return r;
}

const struct weft_snapshot *weft_views_get(const struct weft_views *v, uint32_t view,
					   enum weft_source source)
{
	return v->view[view].part[source];
}

const struct weft_snapshot *weft_views_merged(const struct weft_views *v, uint32_t view)
{
	return v->view[view].merged;
}
