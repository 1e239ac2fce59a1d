/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Views: what each kind of pod sees, made from the sources' resources. Each source hands in its
 * whole snapshot; the merged result is compiled and published, or refused and what was in force
 * stays. Main thread.
 */

#include <jansson.h>

#include "agent/compile/compile.h"
#include "bpf/abi/limits.h"
#include "xds/resource.h"

/*
 * The view that is always there. With one xDS stream for the node every pod sees it: the files'
 * resources and the stream's. With a stream per kind of pod it has the files' resources alone,
 * which every other view has too.
 */
#define WEFT_VIEW_DEFAULT 0u
/* Each pod may have one of its own, and a view outlives its last pod by a while. */
#define WEFT_VIEWS_MAX (2u * WEFT_PODS_MAX)

enum weft_source { WEFT_SOURCE_FILE, WEFT_SOURCE_XDS, WEFT_SOURCE__MAX };
/* "file", "xds" */
const char *weft_source_name(enum weft_source source);

struct weft_dns;
struct weft_health;
struct weft_outlier;
struct weft_views;

/* published is called after each publish that succeeded (may be NULL). The compiler is borrowed. */
int weft_views_new(struct weft_compiler *compiler, void (*published)(void *ctx), void *ctx,
		   struct weft_views **ret);
void weft_views_free(struct weft_views *v);

/*
 * From now on the names of DNS clusters are resolved by d (borrowed), which calls weft_views_renew(). A DNS cluster that
 * changes takes the place of the old one when it is warm, as in Envoy.
 */
void weft_views_resolve(struct weft_views *v, struct weft_dns *d);
/* From now on what outlier detection has ejected is left out; o is borrowed. */
void weft_views_eject(struct weft_views *v, struct weft_outlier *o);
/* From now on hosts are marked as their checks by h (borrowed) say; a cluster that changes takes the place of the old one when
 * its hosts were checked, as in Envoy. */
void weft_views_check_hosts(struct weft_views *v, struct weft_health *h);
/* Publishes what is in force anew, with the ejections of now. As weft_views_set(); -ENOSPC also
 * where it would fit without them. */
int weft_views_again(struct weft_views *v, struct weft_diag *diag);
/* Publishes anew with the addresses there are. As weft_views_set(). */
int weft_views_renew(struct weft_views *v, struct weft_diag *diag);

/* A view with the files' resources, not published before a source has said more. -ENOSPC: there are
 * WEFT_VIEWS_MAX; -ENOMEM. */
int weft_views_open(struct weft_views *v, uint32_t *ret);
/* Forgets a view that no pod has, and publishes without it. Not WEFT_VIEW_DEFAULT. */
void weft_views_close(struct weft_views *v, uint32_t view);
/* Which view a pod has from now on; at first WEFT_VIEW_DEFAULT. */
void weft_views_pod(struct weft_views *v, uint32_t pod, uint32_t view);
uint32_t weft_views_of_pod(const struct weft_views *v, uint32_t pod);
/* No view has this number or a higher one. */
uint32_t weft_views_count(const struct weft_views *v);

/* What a source contributes to a view from now on. */
struct weft_view_change {
	uint32_t view;
	enum weft_source source;
	const struct weft_snapshot *next;
};

/*
 * All of these with one publish, each of another view. 0: published. -EINVAL (causes in diag; also
 * a name that another source has), -ENOSPC, -ENOMEM: everything stays as it was. When only the
 * ejections are too much for the image it is published without them (weft_outlier_withheld()).
 */
int weft_views_apply(struct weft_views *v, const struct weft_view_change *changes, size_t n,
		     struct weft_diag *diag);

/* One change; of files, those of every view. As weft_views_apply(). */
int weft_views_set(struct weft_views *v, uint32_t view, enum weft_source source,
		   const struct weft_snapshot *next, struct weft_diag *diag);

/* What weft_views_set() would say, without any effect. */
int weft_views_check(struct weft_views *v, uint32_t view, enum weft_source source,
		     const struct weft_snapshot *next, struct weft_diag *diag);

/* What a source contributes at present, NULL: nothing yet, or there is no such view. Borrowed until
 * the next set. */
const struct weft_snapshot *weft_views_get(const struct weft_views *v, uint32_t view,
					   enum weft_source source);
/* All of a view, as published. NULL before the first publish. */
const struct weft_snapshot *weft_views_merged(const struct weft_views *v, uint32_t view);
