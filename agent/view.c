// SPDX-License-Identifier: Apache-2.0
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "agent/cleanup.h"
#include "agent/health/health.h"
#include "agent/view_parts.h"

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
	for (size_t i = 0; i < WEFT_CHECKED; i++)
		weft_snapshot_free(view->checked[i]);
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

/* What of it can serve now. */
static int staged_warm(struct weft_views *v, struct staged *s, struct weft_diag *diag)
{
	bool waits;
	int r = view_warm_only(v, s->view, s->merged, &s->in_force, &waits);

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
		r = view_publish(v, s, n, true, diag);
	for (size_t i = 0; r == 0 && i < n; i++) {
		struct view *view = v->view[s[i].view];

		swap(&view->merged, &s[i].merged);
		swap(&view->in_force, &s[i].in_force);
		if (s[i].part)
			swap(&view->part[s[i].source], &s[i].part);
	}
	return r;
}

void weft_views_resolve(struct weft_views *v, struct weft_dns *d)
{
	v->dns = d;
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
			return view_publish(v, NULL, 0, false, diag);
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

	view_checks_want(v, NULL, 0);
	err = renew(v, 0, v->n - 1, v->n == 1 ? diag : &causes);

	/* One of them cannot: the others do. */
	if (err && v->n > 1) {
		err = 0;
		for (uint32_t i = 0; i < v->n; i++) {
			int r = renew(v, i, i, diag);

			err = err ? err : r;
		}
	}
	view_names_want(v, NULL, 0);
	view_checks_want(v, NULL, 0);
	return err;
}

static int stage(const struct weft_views *v, const struct weft_view_change *change,
		 struct weft_diag *diag, struct staged *ret)
{
	assert(change->view < v->n && v->view[change->view]);
	*ret = (struct staged){.view = change->view, .source = change->source};
	return view_merge(v->view[change->view], change->source, change->next, diag, &ret->merged)
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
		r = view_names_want(v, s, n);
		if (r == 0) {
			view_checks_want(v, s, n);
			r = staged_put(v, s, n, diag);
		}
		view_names_want(v, NULL, 0);
		view_checks_want(v, NULL, 0);
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
	r = view_merge(v->view[view], source, next, diag, &merged);
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
		view_publish(v, NULL, 0, true, &diag);
	while (!v->view[v->n - 1])
		v->n--;
	view_names_want(v, NULL, 0);
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
