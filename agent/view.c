// SPDX-License-Identifier: Apache-2.0
#include "agent/view.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "agent/cleanup.h"
#include "agent/dns/dns.h"
#include "agent/health/health.h"
#include "agent/marks.h"
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
	struct weft_health *health;   /* NULL: nothing is checked */
	void (*published)(void *ctx);
	void *ctx;
	struct view *view[WEFT_VIEWS_MAX]; /* NULL: not open */
	uint32_t n;			   /* highest that is open + 1 */
	uint32_t pod[WEFT_PODS_MAX + 1];   /* the view of each */
	bool closed;			   /* one since names were asked for last */
};

/* A change on its way. */
struct staged {
	uint32_t view;
	enum weft_source source;
	struct weft_snapshot *merged, *in_force;
	struct weft_snapshot *part; /* NULL: the sources say what they said */
};

const char *weft_source_name(enum weft_source source)
{
	return source == WEFT_SOURCE_FILE ? "file" : "xds";
}

int weft_views_new(struct weft_compiler *compiler, void (*published)(void *ctx), void *ctx,
		   struct weft_views **ret)
{
	struct weft_views *v = calloc(1, sizeof(*v));

	if (v)
		v->view[WEFT_VIEW_DEFAULT] = calloc(1, sizeof(struct view));
	if (!v || !v->view[WEFT_VIEW_DEFAULT]) {
		free(v);
		return -ENOMEM;
	}
	v->n = WEFT_VIEW_DEFAULT + 1;
	v->compiler = compiler;
	v->published = published;
	v->ctx = ctx;
	*ret = v;
	return 0;
}

static void view_free(struct view *view)
{
	if (!view)
		return;
	for (size_t s = 0; s < WEFT_SOURCE__MAX; s++)
		weft_snapshot_free(view->part[s]);
	weft_snapshot_free(view->merged);
	weft_snapshot_free(view->in_force);
	weft_snapshot_free(view->asked[0]);
	weft_snapshot_free(view->asked[1]);
	free(view);
}

void weft_views_free(struct weft_views *v)
{
	if (!v)
		return;
	for (uint32_t i = 0; i < v->n; i++)
		view_free(v->view[i]);
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
	if (r >= 0)
		r = merge_node(view, source, next, merged);
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

/* Its names have addresses, and its hosts were checked. */
static bool is_warm(const struct weft_views *v, uint32_t view, const struct weft_resource *next)
{
	return (!v->dns || weft_dns_is_warm(v->dns, next)) &&
	       (!v->health || weft_health_is_warm(v->health, view, next));
}

/* *ret_waits: a cluster's predecessor is kept in its place. */
static int warm_only(const struct weft_views *v, uint32_t id, const struct weft_snapshot *merged,
		     struct weft_snapshot **ret, bool *ret_waits)
{
	const struct view *view = v->view[id];
	struct weft_snapshot *s;
	int r = weft_snapshot_clone(merged, &s);
	size_t n = r == 0 ? weft_snapshot_count(merged, WEFT_XDS_CLUSTER) : 0;

	*ret_waits = false;
	if (view->in_force && weft_snapshot_same(merged, view->in_force, WEFT_XDS_CLUSTER))
		n = 0;
	for (size_t i = 0; r == 0 && view->in_force && i < n; i++) {
		const struct weft_resource *next = weft_snapshot_at(merged, WEFT_XDS_CLUSTER, i);
		struct weft_resource *old =
			weft_snapshot_get(view->in_force, WEFT_XDS_CLUSTER, next->name);

		if (!old || old->hash == next->hash || is_warm(v, id, next))
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

/* Of pods of a view, behind one another in `to`; how many. */
static size_t ejected_of(const struct weft_views *v, uint32_t view,
			 const struct weft_ejected *ejected, size_t n, struct weft_ejected *to)
{
	size_t found = 0;

	for (size_t i = 0; i < n; i++) {
		if (weft_views_of_pod(v, ejected[i].pod) == view)
			to[found++] = ejected[i];
	}
	return found;
}

static const struct weft_snapshot *in_force_of(const struct view *view, uint32_t id,
					       const struct staged *staged, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (staged[i].view == id)
			return staged[i].in_force;
	}
	return view ? view->in_force : NULL;
}

/* Views other than those staged stay as they are. */
static int publish_with(struct weft_views *v, const struct staged *staged, size_t n,
			const struct weft_ejected *ejected, size_t n_ejected,
			struct weft_diag *diag)
{
	_auto_free_ struct weft_view_input *inputs = calloc(v->n, sizeof(*inputs));
	_auto_free_ struct weft_ejected *by_view = calloc(n_ejected + 1, sizeof(*by_view));
	size_t at = 0;
	int r;

	if (!inputs || !by_view)
		return -ENOMEM;
	for (uint32_t i = 0; i < v->n; i++) {
		size_t mine = ejected_of(v, i, ejected, n_ejected, by_view + at);

		inputs[i] = (struct weft_view_input){
			.snapshot = in_force_of(v->view[i], i, staged, n),
			.resolved = v->dns ? weft_dns_resolved(v->dns) : NULL,
			.ejected = by_view + at,
			.n_ejected = mine,
		};
		at += mine;
	}
	r = weft_compiler_publish(v->compiler, inputs, v->n, diag);
	if (r == 0 && v->published)
		v->published(v->ctx);
	return r;
}

struct coming {
	const struct weft_views *v;
	const struct staged *staged;
	size_t n;
};

static const struct weft_snapshot *coming_in_force(void *ctx, uint32_t view)
{
	const struct coming *c = ctx;

	return in_force_of(view < c->v->n ? c->v->view[view] : NULL, view, c->staged, c->n);
}

/* What is known of hosts besides what EDS says. */
static int marks_take(struct weft_views *v, const struct staged *staged, size_t n,
		      struct weft_marks *ret)
{
	const struct weft_ejected *out = NULL, *checked = NULL;
	struct coming coming = {.v = v, .staged = staged, .n = n};
	size_t n_out = 0, n_checked = 0;

	if (v->outlier)
		out = weft_outlier_ejected(v->outlier, &n_out);
	if (v->health)
		checked = weft_health_marks(v->health, coming_in_force, &coming, &n_checked);
	return weft_marks_merge(out, n_out, checked, n_checked, ret);
}

/*
 * Endpoints of many pods that each leave out others may fill the image. A configuration is not lost
 * for that: where it has to be published it is, for once, without what is ejected.
 */
static int publish(struct weft_views *v, const struct staged *staged, size_t n_staged, bool has_to,
		   struct weft_diag *diag)
{
	_cleanup_marks_ struct weft_marks marks = {0};
	int r = marks_take(v, staged, n_staged, &marks);

	if (r == 0)
		r = publish_with(v, staged, n_staged, marks.v, marks.n, diag);
	if (r != -ENOSPC || !marks.n || !has_to)
		return r;
	weft_diag_clear(diag);
	r = publish_with(v, staged, n_staged, NULL, 0, diag);
	if (r == 0 && v->outlier)
		weft_outlier_withheld(v->outlier);
	if (r == 0 && v->health)
		weft_health_withheld(v->health);
	return r;
}

static bool same_clusters(const struct weft_snapshot *a, const struct weft_snapshot *b)
{
	return a && b ? weft_snapshot_same(a, b, WEFT_XDS_CLUSTER) : a == b;
}

static const struct weft_snapshot *merged_of(const struct view *view, uint32_t id,
					     const struct staged *staged, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (staged[i].view == id)
			return staged[i].merged;
	}
	return view->merged;
}

/* Its clusters alone: what it had of other types is not kept in memory for that. */
static int asked_keep(struct weft_snapshot **to, const struct weft_snapshot *s)
{
	int r;

	weft_snapshot_free(*to);
	*to = NULL;
	r = s ? weft_snapshot_new(to) : 0;
	if (s && r == 0)
		weft_snapshot_share(*to, s, WEFT_XDS_CLUSTER);
	return r;
}

/*
 * What is staged is new: names of it are asked for before they are needed, those of what is in
 * force go on.
 */
static int names_want(struct weft_views *v, const struct staged *staged, size_t n)
{
	_auto_free_ const struct weft_snapshot **list = NULL;
	bool changed = false;
	size_t n_list = 0;
	int r;

	if (!v->dns)
		return 0;
	list = calloc(2 * (size_t)v->n, sizeof(*list));
	if (!list)
		return -ENOMEM;
	for (uint32_t i = 0; i < v->n; i++) {
		struct view *view = v->view[i];

		if (!view)
			continue;
		list[n_list++] = merged_of(view, i, staged, n);
		list[n_list++] = view->in_force;
		changed = changed || !same_clusters(view->asked[0], list[n_list - 2]) ||
			  !same_clusters(view->asked[1], view->in_force);
	}
	r = changed || v->closed ? weft_dns_want(v->dns, list, n_list) : 0;
	v->closed = r != 0;
	for (uint32_t i = 0; r == 0 && changed && i < v->n; i++) {
		struct view *view = v->view[i];

		if (view)
			r = asked_keep(&view->asked[0], merged_of(view, i, staged, n));
		if (view && r == 0)
			r = asked_keep(&view->asked[1], view->in_force);
	}
	return r;
}

/*
 * The same of hosts: those of what is staged are checked before they are needed. What is missing for want of memory is
 * logged.
 */
static void checks_want(struct weft_views *v, const struct staged *staged, size_t n)
{
	for (uint32_t i = 0; v->health && i < v->n; i++) {
		const struct view *view = v->view[i];

		if (view)
			weft_health_want(v->health, i, merged_of(view, i, staged, n),
					 view->in_force,
					 v->dns ? weft_dns_resolved(v->dns) : NULL);
	}
}

/* What of it can serve now. */
static int staged_warm(struct weft_views *v, struct staged *s, struct weft_diag *diag)
{
	bool waits;
	int r = warm_only(v, s->view, s->merged, &s->in_force, &waits);

	/* What waits is not compiled with the rest: its causes are told now. */
	return r == 0 && waits ? weft_compiler_check(v->compiler, s->merged, diag) : r;
}

static void staged_clear(struct staged *s, size_t n)
{
	for (size_t i = 0; s && i < n; i++) {
		weft_snapshot_free(s[i].merged);
		weft_snapshot_free(s[i].in_force);
		weft_snapshot_free(s[i].part);
	}
	free(s);
}

static void swap(struct weft_snapshot **a, struct weft_snapshot **b)
{
	struct weft_snapshot *t = *a;

	*a = *b;
	*b = t;
}

/* Publishes what is staged; then it is what the views have, and what they had is staged. */
static int staged_put(struct weft_views *v, struct staged *s, size_t n, struct weft_diag *diag)
{
	int r = 0, e;

	for (size_t i = 0; i < n; i++) {
		e = staged_warm(v, &s[i], diag);
		r = r ? r : e;
	}
	if (r == 0)
		r = publish(v, s, n, true, diag);
	for (size_t i = 0; r == 0 && i < n; i++) {
		struct view *view = v->view[s[i].view];

		swap(&view->merged, &s[i].merged);
		swap(&view->in_force, &s[i].in_force);
		if (s[i].part)
			swap(&view->part[s[i].source], &s[i].part);
	}
	return r;
}

void weft_views_eject(struct weft_views *v, struct weft_outlier *o)
{
	v->outlier = o;
}

void weft_views_check_hosts(struct weft_views *v, struct weft_health *h)
{
	v->health = h;
}

int weft_views_again(struct weft_views *v, struct weft_diag *diag)
{
	for (uint32_t i = 0; i < v->n; i++) {
		if (v->view[i] && v->view[i]->in_force)
			return publish(v, NULL, 0, false, diag);
	}
	return 0;
}

/* Views first..last, with one publish. */
static int renew(struct weft_views *v, uint32_t first, uint32_t last, struct weft_diag *diag)
{
	struct staged *s = calloc(last - first + 1, sizeof(*s));
	size_t n = 0;
	int r = s ? 0 : -ENOMEM;

	for (uint32_t i = first; r == 0 && i <= last; i++) {
		if (!v->view[i] || !v->view[i]->merged)
			continue;
		s[n].view = i;
		r = weft_snapshot_clone(v->view[i]->merged, &s[n++].merged);
	}
	if (r == 0 && n)
		r = staged_put(v, s, n, diag);
	staged_clear(s, n);
	return r;
}

int weft_views_renew(struct weft_views *v, struct weft_diag *diag)
{
	_cleanup_diag_ struct weft_diag causes = WEFT_DIAG_INIT;
	int err;

	checks_want(v, NULL, 0);
	err = renew(v, 0, v->n - 1, v->n == 1 ? diag : &causes);

	/* One of them cannot: the others do. */
	if (err && v->n > 1) {
		err = 0;
		for (uint32_t i = 0; i < v->n; i++) {
			int r = renew(v, i, i, diag);

			err = err ? err : r;
		}
	}
	names_want(v, NULL, 0);
	checks_want(v, NULL, 0);
	return err;
}

static int stage(const struct weft_views *v, const struct weft_view_change *change,
		 struct weft_diag *diag, struct staged *ret)
{
	assert(change->view < v->n && v->view[change->view]);
	*ret = (struct staged){.view = change->view, .source = change->source};
	return merge(v->view[change->view], change->source, change->next, diag, &ret->merged)
		       ?: weft_snapshot_clone(change->next, &ret->part);
}

int weft_views_apply(struct weft_views *v, const struct weft_view_change *changes, size_t n,
		     struct weft_diag *diag)
{
	struct staged *s = calloc(n + 1, sizeof(*s));
	int r = s ? 0 : -ENOMEM, e;

	for (size_t i = 0; s && i < n; i++) {
		e = stage(v, &changes[i], diag, &s[i]);
		r = r ? r : e;
	}
	if (r == 0) {
		r = names_want(v, s, n);
		if (r == 0) {
			checks_want(v, s, n);
			r = staged_put(v, s, n, diag);
		}
		names_want(v, NULL, 0);
		checks_want(v, NULL, 0);
	}
	staged_clear(s, n);
	return r;
}

int weft_views_set(struct weft_views *v, uint32_t view, enum weft_source source,
		   const struct weft_snapshot *next, struct weft_diag *diag)
{
	_auto_free_ struct weft_view_change *changes = NULL;
	size_t n = 0;

	if (source != WEFT_SOURCE_FILE)
		return weft_views_apply(v, &(struct weft_view_change){view, source, next}, 1, diag);
	changes = calloc(v->n, sizeof(*changes));
	if (!changes)
		return -ENOMEM;
	for (uint32_t i = 0; i < v->n; i++) {
		if (v->view[i])
			changes[n++] = (struct weft_view_change){i, source, next};
	}
	return weft_views_apply(v, changes, n, diag);
}

int weft_views_check(struct weft_views *v, uint32_t view, enum weft_source source,
		     const struct weft_snapshot *next, struct weft_diag *diag)
{
	struct weft_snapshot *merged = NULL;
	int r;

	assert(view < v->n && v->view[view]);
	r = merge(v->view[view], source, next, diag, &merged);
	if (r == 0)
		r = weft_compiler_check(v->compiler, merged, diag);
	weft_snapshot_free(merged);
	return r;
}

/* ---- views come and go ---- */

int weft_views_open(struct weft_views *v, uint32_t *ret)
{
	const struct weft_snapshot *files = v->view[WEFT_VIEW_DEFAULT]->part[WEFT_SOURCE_FILE];
	struct view *view;
	uint32_t id = 0;
	int r = 0;

	while (id < v->n && v->view[id])
		id++;
	if (id == WEFT_VIEWS_MAX)
		return -ENOSPC;
	view = calloc(1, sizeof(*view));
	if (!view)
		return -ENOMEM;
	if (files)
		r = weft_snapshot_clone(files, &view->part[WEFT_SOURCE_FILE]);
	if (r < 0) {
		view_free(view);
		return r;
	}
	v->view[id] = view;
	if (id == v->n)
		v->n++;
	*ret = id;
	return 0;
}

void weft_views_close(struct weft_views *v, uint32_t view)
{
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;
	bool published;

	assert(view != WEFT_VIEW_DEFAULT && view < v->n && v->view[view]);
	published = v->view[view]->in_force;
	if (v->health)
		weft_health_want(v->health, view, NULL, NULL, NULL);
	view_free(v->view[view]);
	v->view[view] = NULL;
	v->closed = true;
	/* Should it fail, the next publish is without it too. */
	if (published)
		publish(v, NULL, 0, true, &diag);
	while (!v->view[v->n - 1])
		v->n--;
	names_want(v, NULL, 0);
}

void weft_views_pod(struct weft_views *v, uint32_t pod, uint32_t view)
{
	assert(pod <= WEFT_PODS_MAX);
	v->pod[pod] = view;
}

uint32_t weft_views_of_pod(const struct weft_views *v, uint32_t pod)
{
	return pod <= WEFT_PODS_MAX ? v->pod[pod] : WEFT_VIEW_DEFAULT;
}

uint32_t weft_views_count(const struct weft_views *v)
{
	return v->n;
}

const struct weft_snapshot *weft_views_get(const struct weft_views *v, uint32_t view,
					   enum weft_source source)
{
	return view < v->n && v->view[view] ? v->view[view]->part[source] : NULL;
}

const struct weft_snapshot *weft_views_merged(const struct weft_views *v, uint32_t view)
{
	return view < v->n && v->view[view] ? v->view[view]->merged : NULL;
}
