/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Where configuration comes from: files and an xDS server. Main thread. */

#include <jansson.h>

#include "agent/loop.h"
#include "xds/delta.h"
#include "xds/grpc.h"
#include "xds/resource.h"

/* Takes a complete snapshot of the source: 0, or refused with causes in diag and the old one stays.
 */
struct weft_source_ops {
	int (*publish)(void *ctx, const struct weft_snapshot *next, struct weft_diag *diag);
	/* What publish would say, without effect. Only a source with a saved configuration asks. */
	int (*check)(void *ctx, const struct weft_snapshot *next, struct weft_diag *diag);
	void *ctx;
};

/* ---- files ---- */

struct weft_source_file;

/* Changes that come together (an editor's rename, a folder copied) are one reload. */
#define WEFT_FILE_DEBOUNCE_MS 100
/* Files that never stop to change are read all the same. */
#define WEFT_FILE_DEBOUNCE_MAX_MS 1000
/* A single file replaced by a rename is complete: only what comes with it (a second rename) is waited
 * for, and nothing prolongs that. */
#define WEFT_FILE_REPLACED_MS 10

/* Watches PATH from now on; loads nothing yet. The loop is borrowed. */
int weft_source_file_new(struct weft_loop *loop, const char *path,
			 const struct weft_source_ops *ops, struct weft_source_file **ret);
void weft_source_file_free(struct weft_source_file *f);
/* Reads and publishes. On -errno the causes are in diag (may be NULL: they are logged) and the old
 * stays. */
int weft_source_file_load(struct weft_source_file *f, struct weft_diag *diag);
/* {path, loads, failures, loaded_ms, causes}: causes of the last load when it failed. */
json_t *weft_source_file_json(const struct weft_source_file *f);

/* ---- xDS ---- */

struct weft_source_xds;

struct weft_source_xds_config {
	const char *address;
	const char *const *more; /* further servers, as in struct weft_xds_stream_conf */
	size_t n_more;
	struct weft_delta_node node;
	const struct weft_xds_tls *tls; /* NULL: plaintext */
	bool sotw;			/* state of the world instead of delta */
	bool separate;			/* a stream for each type instead of ADS */
	const char *token_file;		/* or NULL */
	bool token_plaintext;
	const char *cluster_id; /* header ClusterID, or NULL */
	/*
	 * At least so long (ms) from the end of a publish to the next one; four times as long as
	 * the publish took if that is more, but no longer than a second. 0: responses are published
	 * one by one as they come.
	 */
	uint32_t interval_ms;
	/*
	 * File of the last good configuration, or NULL. It serves from the moment every server was
	 * tried in vain, or WEFT_XDS_SAVED_WAIT_MS after the start without a server that has
	 * served, until one has (struct weft_delta_ops.served); what comes meanwhile is checked and
	 * answered.
	 */
	const char *saved;
	const char *identity; /* for whom it is saved; NULL: node id and cluster */
	/*
	 * Many sources with one bell: an eventfd that each writes to, and serve, which is called to
	 * look after all of them (weft_source_xds_look()). NULL: the source has its own and looks
	 * after itself.
	 */
	void (*serve)(void *ctx);
	void *serve_ctx;
	int bell_fd;
};

/* A server that says nothing for so long is as good as none. */
#define WEFT_XDS_SAVED_WAIT_MS 5000

/*
 * The configuration is borrowed for the call. -EINVAL with a cause: the address is none, the
 * metadata is no JSON object, the cluster id is no header's value; and as weft_xds_stream_new().
 */
int weft_source_xds_new(struct weft_loop *loop, const struct weft_source_xds_config *cfg,
			const struct weft_source_ops *ops, struct weft_diag *diag,
			struct weft_source_xds **ret);
int weft_source_xds_start(struct weft_source_xds *x);
/* Stops and frees. */
void weft_source_xds_free(struct weft_source_xds *x);

/*
 * With a bell of many: what is due is done, and the snapshot is returned that waits to be
 * published, NULL: none, or it has to be treated by weft_source_xds_serve(). Published, it is
 * answered by weft_source_xds_answer().
 */
const struct weft_snapshot *weft_source_xds_look(struct weft_source_xds *x);
void weft_source_xds_answer(struct weft_source_xds *x);
/* Judges and answers what waits, if anything does. */
void weft_source_xds_serve(struct weft_source_xds *x);

/* Who asks, from now on: the stream is made anew, what was accepted stays. -EINVAL, -ENOMEM:
 * nothing has changed. */
int weft_source_xds_node(struct weft_source_xds *x, const struct weft_delta_node *node);

/* Calls fn with the client's state, on the stream's thread, while publishes go on being served. */
int weft_source_xds_call(struct weft_source_xds *x, void (*fn)(struct weft_delta *d, void *ctx),
			 void *ctx);
/* A complete configuration of this source is in force: a server has served one, or it is the saved
 * one. From then on it stays so. */
bool weft_source_xds_ready(struct weft_source_xds *x);
/* What is in force of this source is the saved configuration. */
bool weft_source_xds_stale(const struct weft_source_xds *x);
/* Of the server in use or tried. Any thread; lives as long as x. */
const char *weft_source_xds_address(const struct weft_source_xds *x);
/* {address, connected, ...} */
json_t *weft_source_xds_json(struct weft_source_xds *x);
