/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What view.c (changes, coming and going), view_merge.c, view_publish.c and view_want.c share. */

#include "agent/view.h"

/* Snapshots that say which hosts are checked: merged, in force, resolved names. */
#define WEFT_CHECKED 3u

struct view {
	struct weft_snapshot *part[WEFT_SOURCE__MAX]; /* NULL: nothing yet */
	struct weft_snapshot *merged;
	/* Compiled: merged, with the predecessors of clusters that are not warm yet. */
	struct weft_snapshot *in_force;
	struct weft_snapshot *asked[2]; /* merged and in force, whose names were asked for last */
	/* Whose hosts were asked for last: clusters, and assignments if any of them is checked. */
	struct weft_snapshot *checked[WEFT_CHECKED];
};

struct weft_views {
	struct weft_compiler *compiler;
	struct weft_dns *dns;	      /* NULL: names are not resolved */
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

/* ---- view_merge.c: of several sources one, and of that what can serve ---- */

/* next takes the place of the source's part; every duplicate is named. -EINVAL, -ENOMEM. */
int view_merge(const struct view *view, enum weft_source source, const struct weft_snapshot *next,
	       struct weft_diag *diag, struct weft_snapshot **ret);
/* *ret_waits: a cluster's predecessor is kept in its place, or it is not there yet. -ENOMEM. */
int view_warm_only(const struct weft_views *v, uint32_t id, const struct weft_snapshot *merged,
		   struct weft_snapshot **ret, bool *ret_waits);

/* ---- view_publish.c ---- */

/*
 * What is in force, with what is staged (NULL: nothing is) in its place. has_to: when ejections and
 * failed checks are too much for the image, once without them. As weft_views_apply().
 */
int view_publish(struct weft_views *v, const struct staged *staged, size_t n_staged, bool has_to,
		 struct weft_diag *diag);

/* ---- view_want.c: what of the views is resolved and checked ---- */

/* What the view's sources say, with what is staged. NULL: nothing yet. */
const struct weft_snapshot *view_merged(const struct view *view, uint32_t id,
					const struct staged *staged, size_t n);

/*
 * What is staged is new: names of it are asked for before they are needed, those of what is in
 * force go on. -ENOMEM.
 */
int view_names_want(struct weft_views *v, const struct staged *staged, size_t n);
/*
 * The same of hosts: those of what is staged are checked before they are needed. What is missing
 * for want of memory is logged.
 */
void view_checks_want(struct weft_views *v, const struct staged *staged, size_t n);
