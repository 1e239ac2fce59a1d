/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Views: what each kind of pod sees, made from the sources' resources. Each source hands in its
 * whole snapshot; the merged result is compiled and published, or refused and what was in force
 * stays. Main thread.
 */

#include <jansson.h>

#include "agent/compile/compile.h"
#include "xds/resource.h"

/* Today every pod sees view 0: the files' resources and those of the one xDS stream. */
#define WEFT_VIEW_DEFAULT 0u
#define WEFT_VIEWS 1u

enum weft_source { WEFT_SOURCE_FILE, WEFT_SOURCE_XDS, WEFT_SOURCE__MAX };
/* "file", "xds" */
const char *weft_source_name(enum weft_source source);

struct weft_dns;
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
/* Publishes what is in force anew, with the ejections of now. As weft_views_set(); -ENOSPC also
 * where it would fit without them. */
int weft_views_again(struct weft_views *v, struct weft_diag *diag);
/* Publishes anew with the addresses there are. As weft_views_set(). */
int weft_views_renew(struct weft_views *v, struct weft_diag *diag);

/*
 * Replaces what `source` contributes to a view. 0: published. -EINVAL (causes in diag; also a name
 * that another source has), -ENOSPC, -ENOMEM: everything stays as it was. When only the ejections
 * are too much for the image it is published without them (weft_outlier_withheld()).
 */
int weft_views_set(struct weft_views *v, uint32_t view, enum weft_source source,
		   const struct weft_snapshot *next, struct weft_diag *diag);

/* What weft_views_set() would say, without any effect. */
int weft_views_check(struct weft_views *v, uint32_t view, enum weft_source source,
		     const struct weft_snapshot *next, struct weft_diag *diag);

/* What a source contributes at present, NULL: nothing yet. Borrowed until the next set. */
const struct weft_snapshot *weft_views_get(const struct weft_views *v, uint32_t view,
					   enum weft_source source);
/* All of a view, as published. NULL before the first publish. */
const struct weft_snapshot *weft_views_merged(const struct weft_views *v, uint32_t view);
