/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Shared by grpc.c (the thread), grpc_rpc.c (one call) and grpc_auth.c. Not for use elsewhere. */

#include <grpc/grpc.h>
#include <pthread.h>

#include "xds/grpc.h"

#define METADATA_MAX 16

/* Tags of the completion queue: one of these, and the number of the lane above it. */
enum {
	TAG_WAKE = 1,
	TAG_START,
	TAG_HEADERS,
	TAG_SEND,
	TAG_RECEIVE,
	TAG_STATUS,
};
#define TAG_BITS 4

struct weft_xds_metadata {
	grpc_metadata entries[METADATA_MAX];
	size_t n;
};

/* A function to run on the thread; lives on the caller's stack. */
struct pending_call {
	struct pending_call *next;
	void (*fn)(struct weft_delta *d, void *ctx);
	void *ctx;
	int result;
	bool finished;
};

/* The RPC of the moment. */
struct rpc {
	grpc_call *call;
	unsigned int pending; /* batches under way; the call is over when it reaches 0 after the
				 status */
	bool up, ended, sending, answered;
	struct weft_xds_metadata metadata;
	grpc_metadata_array headers, trailers;
	grpc_byte_buffer *incoming, *outgoing;
	grpc_status_code status;
	grpc_slice details;
	const char *reset_reason; /* we ended it */
	char reason[WEFT_XDS_ERROR_MAX]; /* what reset_reason points to when it is no constant */
};

struct stream_auth;
struct stream_channel;

/* One of the client's streams (weft_delta_streams()): its call, and when the next one begins. */
struct lane {
	unsigned int index;
	struct rpc rpc;
	size_t which;			/* address to be tried, or in use */
	struct stream_channel *channel; /* of the newest attempt; shared by lanes */
	int64_t attempt_at;		/* ms */
	uint32_t backoff_ms;
	bool renewing; /* the call is ended to begin the next */
	bool down;     /* its last call failed, and there is no other yet */
};

struct weft_xds_stream {
	struct weft_xds_stream_conf conf;
	char **addresses; /* in order */
	size_t n_addresses;
	struct stream_auth *auth;
	grpc_completion_queue *cq;
	grpc_channel *bell_channel;
	grpc_call *bell;
	int64_t clock_offset_ms; /* wall clock minus monotonic, so that our time never jumps */

	/* Of the thread. */
	struct lane lanes[WEFT_XDS__MAX];
	unsigned int n_lanes;
	int64_t tick_at; /* ms; -1: nothing to wait for */

	pthread_mutex_t lock; /* all below */
	pthread_cond_t done;
	pthread_t thread;
	bool running, stop, bell_rung, renew;
	struct pending_call *calls;
	struct weft_xds_stream_stats stats;
};

int64_t stream_now(const struct weft_xds_stream *s);

/* A channel with these credentials (not owned). NULL: out of memory. */
grpc_channel *stream_open_channel(const char *address, grpc_channel_credentials *credentials,
				  const char *sni);

/* grpc_auth.c, all on the stream's thread or before it */
int stream_auth_new(const struct weft_xds_stream_conf *conf, struct weft_diag *diag,
		    struct stream_auth **ret);
void stream_auth_free(struct stream_auth *a);
/*
 * Gives the lane a channel to its address: one that a lane has already, unless a file has changed
 * since. Not while it has a call.
 */
int stream_auth_channel(struct weft_xds_stream *s, struct lane *l, struct weft_diag *diag);
grpc_channel *stream_channel_get(const struct stream_channel *c);
/* NULL is fine. */
void stream_channel_unref(struct stream_channel *c);
/* The headers that say who we are. */
int stream_auth_headers(const struct stream_auth *a, struct weft_xds_metadata *md,
			struct weft_diag *diag);

/* grpc_rpc.c, all on the stream's thread */
void rpc_begin(struct weft_xds_stream *s, struct lane *l);
/* Sends the next request of the delta client, if there is one and none is under way. */
void rpc_send_next(struct weft_xds_stream *s, struct lane *l);
/* An event of the completion queue that is not the bell. */
void rpc_event(struct weft_xds_stream *s, uintptr_t tag, bool ok);
/* Ends the call; it is over when its last batch is back. */
void rpc_reset(struct lane *l, const char *reason);
/* Every batch is back: forgets the call and sets the time of the next. */
void rpc_end(struct weft_xds_stream *s, struct lane *l);
/* Of all lanes, for the owner. */
void rpc_note_connected(struct weft_xds_stream *s);
