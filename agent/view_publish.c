// SPDX-License-Identifier: Apache-2.0
/* All views to the compiler, with the hosts that pods do not get. */
#include <errno.h>
#include <stdlib.h>

#include "agent/cleanup.h"
#include "agent/dns/dns.h"
#include "agent/health/health.h"
#include "agent/marks.h"
#include "agent/outlier/outlier.h"
#include "agent/view_parts.h"

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

/* Hosts that are kept beyond what discovery has; own: what has to be freed then. */
static int hosts_keep(const struct weft_views *v, uint32_t id, struct weft_view_input *in,
		      struct weft_snapshot **own)
{
	int r = v->health && in->snapshot
			? weft_health_keep(v->health, id, in->snapshot, in->resolved, &own[0], &own[1])
			: 0;

	in->snapshot = own[0] ? own[0] : in->snapshot;
	in->resolved = own[1] ? own[1] : in->resolved;
	return r;
}

/* Views other than those staged stay as they are. marks NULL: hosts are as discovery has them. */
static int publish_with(struct weft_views *v, const struct staged *staged, size_t n,
			const struct weft_marks *marks, struct weft_diag *diag)
{
	const struct weft_ejected *ejected = marks ? marks->v : NULL;
	size_t n_ejected = marks ? marks->n : 0;
	_auto_free_ struct weft_snapshot **own = calloc(2 * (size_t)v->n + 1, sizeof(*own));
	_auto_free_ struct weft_view_input *inputs = calloc(v->n, sizeof(*inputs));
	_auto_free_ struct weft_ejected *by_view = calloc(n_ejected + 1, sizeof(*by_view));
	size_t at = 0;
	int r = 0;

	if (!inputs || !by_view || !own)
		return -ENOMEM;
	for (uint32_t i = 0; r == 0 && i < v->n; i++) {
		size_t mine = ejected_of(v, i, ejected, n_ejected, by_view + at);

		inputs[i] = (struct weft_view_input){
			.snapshot = in_force_of(v->view[i], i, staged, n),
			.waiting = v->view[i] ? view_merged(v->view[i], i, staged, n) : NULL,
			.resolved = v->dns ? weft_dns_resolved(v->dns) : NULL,
			.ejected = by_view + at,
			.n_ejected = mine,
		};
		at += mine;
		if (marks)
			r = hosts_keep(v, i, &inputs[i], &own[2 * i]);
	}
	if (r == 0)
		r = weft_compiler_publish(v->compiler, inputs, v->n, diag);
	for (size_t i = 0; i < 2 * (size_t)v->n; i++)
		weft_snapshot_free(own[i]);
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
		checked = weft_health_marks(v->health, coming_in_force, &coming,
					    v->dns ? weft_dns_resolved(v->dns) : NULL, &n_checked);
	return weft_marks_merge(out, n_out, checked, n_checked, ret);
}

/*
 * Endpoints of many pods that each leave out others may fill the image. A configuration is not lost
 * for that: where it has to be published it is, for once, without what is ejected.
 */
int view_publish(struct weft_views *v, const struct staged *staged, size_t n_staged, bool has_to,
		 struct weft_diag *diag)
{
	_cleanup_marks_ struct weft_marks marks = {0};
	int r = marks_take(v, staged, n_staged, &marks);

	if (r == 0)
		r = publish_with(v, staged, n_staged, &marks, diag);
	if (r != -ENOSPC || !marks.n || !has_to)
		return r;
	weft_diag_clear(diag);
	r = publish_with(v, staged, n_staged, NULL, diag);
	if (r == 0 && v->outlier)
		weft_outlier_withheld(v->outlier);
	if (r == 0 && v->health)
		weft_health_withheld(v->health);
	return r;
}
