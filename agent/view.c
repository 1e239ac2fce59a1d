// SPDX-License-Identifier: Apache-2.0
#include "agent/view.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "agent/cleanup.h"

struct view {
	struct weft_snapshot *part[WEFT_SOURCE__MAX]; /* NULL: nothing yet */
	struct weft_snapshot *merged;
};

struct weft_views {
	struct weft_compiler *compiler;
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
	}
	free(v);
}

static int merge_type(struct weft_snapshot *to, const struct weft_snapshot *from,
		      enum weft_xds_type type, enum weft_source source, struct weft_diag *diag)
{
	size_t n = weft_snapshot_count(from, type);
	int err = 0;

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

int weft_views_set(struct weft_views *v, uint32_t view, enum weft_source source,
		   const struct weft_snapshot *next, struct weft_diag *diag)
{
	struct weft_view_input inputs[WEFT_VIEWS];
	struct weft_snapshot *merged = NULL, *part = NULL;
	int r;

	assert(view < WEFT_VIEWS);
	r = merge(&v->view[view], source, next, diag, &merged);
	if (r < 0)
		return r;
	r = weft_snapshot_clone(next, &part);
	if (r < 0)
		goto fail;
	for (uint32_t i = 0; i < WEFT_VIEWS; i++)
		inputs[i].snapshot = i == view ? merged : v->view[i].merged;
	r = weft_compiler_publish(v->compiler, inputs, WEFT_VIEWS, diag);
	if (r < 0)
		goto fail;
	weft_snapshot_free(v->view[view].part[source]);
	weft_snapshot_free(v->view[view].merged);
	v->view[view].part[source] = part;
	v->view[view].merged = merged;
	if (v->published)
		v->published(v->ctx);
	return 0;
fail:
	weft_snapshot_free(part);
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
