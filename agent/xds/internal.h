/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* One xDS stream as a source: what source.c, saved.c and source_json.c share. */

#include <pthread.h>

#include "agent/keeper.h"
#include "agent/source.h"

/*
 * The stream's thread offers a snapshot and waits; the main thread compiles and publishes it and
 * leaves the verdict. So xDS answers are what was really published, and one thread alone builds the
 * image.
 */
struct offer {
	const struct weft_snapshot *next;
	struct weft_diag *diag;
	int verdict;
	bool waiting, closed;
	bool failed; /* every server was tried in vain */
	bool served;
};

/* The saved configuration. Main thread. */
struct saved {
	struct weft_keeper *keeper; /* NULL: no file */
	int timer_fd;
	int64_t started_ms;	 /* CLOCK_MONOTONIC */
	bool tried, stale, live; /* live: served, and that is in force */
	bool told;		 /* why it is not */
	int64_t saved_ms;	 /* of what is in force while stale, wall clock */
	/* What the client accepted last, until it is live. */
	struct weft_snapshot *latest;
	char *node_id, *node_cluster; /* of whom what is saved was asked for */
};

struct weft_source_xds {
	struct weft_loop *loop;
	struct weft_source_ops ops;
	void (*serve)(void *ctx); /* NULL: the bell is its own */
	void *serve_ctx;
	char *cluster_id;
	size_t n_servers;
	bool tls;
	struct weft_delta *delta;
	struct weft_xds_stream *stream;
	int offer_fd; /* eventfd: an offer waits; of its own or the bell of many */
	pthread_mutex_t lock;
	pthread_cond_t answered;
	struct offer offer; /* under lock; next and diag are the waiting thread's */
	struct saved saved;
	int64_t interval_ms, took_ms; /* the stream's thread's: what the last publish took */
};

/* ---- saved.c, main thread ---- */

int source_saved_start(struct weft_source_xds *x, const struct weft_source_xds_config *cfg);
void source_saved_stop(struct weft_source_xds *x);
/* What is due. */
void source_saved_tick(struct weft_source_xds *x);
/* A complete candidate before a server has served, for when it has. */
void source_saved_latest(struct weft_source_xds *x, const struct weft_snapshot *next);
/* A server has served, and this is in force. */
void source_saved_live(struct weft_source_xds *x, const struct weft_snapshot *next);
