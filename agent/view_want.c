// SPDX-License-Identifier: Apache-2.0
/* Whose names are resolved and whose hosts are checked. */
#include <errno.h>
#include <stdlib.h>

#include "agent/cleanup.h"
#include "agent/dns/dns.h"
#include "agent/health/health.h"
#include "agent/view_parts.h"

static bool same_clusters(const struct weft_snapshot *a, const struct weft_snapshot *b)
{
	return a && b ? weft_snapshot_same(a, b, WEFT_XDS_CLUSTER) : a == b;
}

const struct weft_snapshot *view_merged(const struct view *view, uint32_t id,
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

int view_names_want(struct weft_views *v, const struct staged *staged, size_t n)
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
		list[n_list++] = view_merged(view, i, staged, n);
		list[n_list++] = view->in_force;
		changed = changed || !same_clusters(view->asked[0], list[n_list - 2]) ||
			  !same_clusters(view->asked[1], view->in_force);
	}
	r = changed || v->closed ? weft_dns_want(v->dns, list, n_list) : 0;
	v->closed = r != 0;
	for (uint32_t i = 0; r == 0 && changed && i < v->n; i++) {
		struct view *view = v->view[i];

		if (view)
			r = asked_keep(&view->asked[0], view_merged(view, i, staged, n));
		if (view && r == 0)
			r = asked_keep(&view->asked[1], view->in_force);
	}
	return r;
}

/* What hosts to check was read from: merged, in force, resolved. */
static void checks_of(const struct weft_views *v, uint32_t id, const struct staged *staged,
		      size_t n, const struct weft_snapshot *ret[WEFT_CHECKED])
{
	const struct view *view = v->view[id];

	ret[0] = view_merged(view, id, staged, n);
	ret[1] = view->in_force;
	ret[2] = v->dns ? weft_dns_resolved(v->dns) : NULL;
}

/* hosts: some of the view are checked; else its assignments do not matter. */
static bool checks_same(const struct view *view, const struct weft_snapshot *const *next,
			bool hosts)
{
	for (size_t i = 0; i < WEFT_CHECKED; i++) {
		if (!same_clusters(view->checked[i], next[i]))
			return false;
		if (hosts && next[i] &&
		    !weft_snapshot_same(view->checked[i], next[i], WEFT_XDS_ENDPOINT))
			return false;
	}
	return true;
}

/* Without memory it is looked at again with the next change. */
static void checks_keep(struct view *view, const struct weft_snapshot *const *s, bool hosts)
{
	int r = 0;

	for (size_t i = 0; i < WEFT_CHECKED; i++) {
		if (r == 0)
			r = asked_keep(&view->checked[i], s[i]);
		if (r == 0 && hosts && s[i])
			weft_snapshot_share(view->checked[i], s[i], WEFT_XDS_ENDPOINT);
	}
	for (size_t i = 0; r < 0 && i < WEFT_CHECKED; i++)
		asked_keep(&view->checked[i], NULL);
}

void view_checks_want(struct weft_views *v, const struct staged *staged, size_t n)
{
	static const struct weft_snapshot *const none[WEFT_CHECKED];

	for (uint32_t i = 0; v->health && i < v->n; i++) {
		const struct weft_snapshot *next[WEFT_CHECKED];
		struct view *view = v->view[i];
		int r;

		if (!view)
			continue;
		checks_of(v, i, staged, n, next);
		if (checks_same(view, next, weft_health_has(v->health, i)))
			continue;
		r = weft_health_want(v->health, i, next[0], next[1], next[2]);
		checks_keep(view, r < 0 ? none : next, weft_health_has(v->health, i));
	}
}
