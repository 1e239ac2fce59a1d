/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The xDS streams of this node: one for all pods, or one for each kind of pod (namespace, service
 * account, labels), as Istio gives each sidecar what is meant for it. A stream begins with the
 * first pod of its kind and ends a while after the last. What streams offer at the same time is
 * published at once. Main thread.
 */

#include <jansson.h>

#include "agent/loop.h"
#include "agent/source.h"
#include "agent/view.h"
#include "agent/xds/identity.h"

/* A kind without pods keeps its stream so long: pods are often replaced by their like. */
#define WEFT_STREAM_GRACE_MS 10000
/*
 * So long after the start the saved views that no stream has are removed: the pods that are there
 * have come by then, however slow their machine starts.
 */
#define WEFT_STREAM_SWEEP_MS 600000

struct weft_streams;

struct weft_streams_config {
	struct weft_loop *loop;
	struct weft_views *views;
	struct weft_source_xds_config xds; /* borrowed as a whole; node: of the one stream */
	bool per_pod;
	struct weft_identity_base base; /* per_pod: of every node; borrowed */
	uint32_t grace_ms;		/* 0: WEFT_STREAM_GRACE_MS */
	uint32_t sweep_ms;		/* 0: WEFT_STREAM_SWEEP_MS */
	/* A view may have become complete. */
	void (*served)(void *ctx);
	void *ctx;
};

/* As weft_source_xds_new(). The one stream for all is begun at once. */
int weft_streams_new(const struct weft_streams_config *cfg, struct weft_diag *diag,
		     struct weft_streams **ret);
void weft_streams_free(struct weft_streams *s);

/* A pod that sees a view. */
struct weft_stream_pod {
	uint32_t id;
	const char *name; /* copied */
	struct weft_addr addr4, addr6;
};

/*
 * The view of a kind of pod; opened when there is none. It stays for the grace time at least, then
 * for as long as pods have joined. -EINVAL with a cause, -ENOSPC, -ENOMEM.
 */
int weft_streams_view(struct weft_streams *s, const struct weft_identity *id, const char *pod_name,
		      struct weft_diag *diag, uint32_t *ret);
/* The pod sees this view, from weft_streams_view(). The first one begins the stream, as
 * weft_source_xds_new(). */
int weft_streams_join(struct weft_streams *s, uint32_t view, const struct weft_stream_pod *pod,
		      struct weft_diag *diag);
/* The pod is gone; unknown ones are ignored. */
void weft_streams_leave(struct weft_streams *s, uint32_t pod);
/* Ends what has no pods any more. Called each second. */
void weft_streams_tick(struct weft_streams *s);

/* A complete configuration of the view is in force. False for a view that is not there. */
bool weft_streams_complete(const struct weft_streams *s, uint32_t view);
/* Of every view that has pods, or of the only one. */
bool weft_streams_ready(const struct weft_streams *s);

struct weft_stream {
	uint32_t view;
	const char *node_id;	     /* NULL: of a view whose first pod is on its way */
	struct weft_source_xds *xds; /* NULL as well */
	size_t n_pods;		     /* that have joined; with one stream for all: 0 */
};
/* By view. Pointers are valid for the call. */
void weft_streams_each(const struct weft_streams *s,
		       void (*fn)(void *ctx, const struct weft_stream *stream), void *ctx);

/* {address, connected, ...} as weft_source_xds_json(); of several streams the sums, connected: all
 * are, staleness: the highest; and {streams: [{view, node, pods, ...}]}. */
json_t *weft_streams_json(struct weft_streams *s);
