/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * xDS client as a state machine without I/O: messages in, messages out, time as an argument.
 * It speaks delta, or state of the world when told so, over one stream for all types (ADS), or over
 * one stream for each of them when told so. The rules are those of Envoy's muxes. One instance per
 * view. Not thread safe.
 *
 * Time (now_ms): milliseconds since the epoch that never jump, that is a monotonic clock plus a
 * constant; deadlines and weft_resource.updated_ms are in it.
 *
 * A snapshot holds what may serve: a cluster of type EDS appears once its ClusterLoadAssignment has
 * arrived, is said not to exist, was refused or timed out; then, without one in the snapshot, it
 * has no hosts. A listener appears once its RouteConfigurations have arrived, were refused or timed
 * out; one that is not in the snapshot is an empty table (404). Until then their predecessors stay.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "xds/resource.h"

struct weft_delta;

/* What the owner does for the client. */
struct weft_delta_ops {
	/*
	 * Called by weft_delta_receive and weft_delta_tick, never when the content would be the
	 * same. A response was applied to `next` (a complete candidate snapshot; good resources of
	 * a partly bad response are in it). The owner compiles and publishes it. 0: accepted.
	 * -errno: refused as a whole or for the resources named in diag ("Listener/NAME"); those
	 * are taken back to what they were, the owner is asked again without them (up to 8 times,
	 * while new ones are named), and the response is NACKed with diag's text. No change is
	 * named: everything is taken back. Without a response (timers) the causes are shown by
	 * weft_delta_each only. Borrowed for the call.
	 */
	int (*publish)(void *ctx, const struct weft_snapshot *next, struct weft_diag *diag);
	/*
	 * Called once, from weft_delta_receive or weft_delta_tick: a server has answered for
	 * clusters and listeners, something of each answer (or its being empty) was accepted, and
	 * nothing of it waits any more. Unlike weft_delta_complete(), timeouts alone do not lead
	 * here: what an owner has from elsewhere may go now. May be NULL.
	 */
	void (*served)(void *ctx);
	/*
	 * Asked after each publish once the client is complete: for how long (ms) responses that
	 * come now may wait, to be published together. They are answered when they are published.
	 * NULL or 0: each is published by itself.
	 */
	int64_t (*pause)(void *ctx);
};

struct weft_delta_node {
	const char *id;
	const char *cluster;
	const char *metadata_json;	      /* Struct in JSON form, or NULL */
	const char *region, *zone, *sub_zone; /* or NULL */
};

/* Copies what it needs. -EINVAL: metadata_json is not an object; -ENOMEM. */
int weft_delta_new(const struct weft_delta_node *node, const struct weft_delta_ops *ops, void *ctx,
		   struct weft_delta **ret);
void weft_delta_free(struct weft_delta *d);
/* Another node, from the next stream on. As weft_delta_new(); on failure the old one stays. */
int weft_delta_set_node(struct weft_delta *d, const struct weft_delta_node *node);

/*
 * From the first stream on: DiscoveryRequest and DiscoveryResponse (StreamAggregatedResources)
 * instead of their delta forms. -ENOMEM.
 */
int weft_delta_speak_sotw(struct weft_delta *d);
bool weft_delta_is_sotw(const struct weft_delta *d);

/*
 * From the first stream on: a stream for each type, of the service of that type, instead of one for
 * all. Order, warming and answers are the same; each stream has its own node, nonces and end.
 */
void weft_delta_separate(struct weft_delta *d);
bool weft_delta_is_separate(const struct weft_delta *d);
/* Streams are numbered from 0: the one of ADS, or each by its enum weft_xds_type. */
unsigned int weft_delta_streams(const struct weft_delta *d);
/*
 * There is something to ask for on it: always on the one of ADS; of a type alone, once it is its
 * turn, for endpoints and routes while a name is wanted. A stream that is up stays up.
 */
bool weft_delta_wants(const struct weft_delta *d, unsigned int stream);

/* A stream is up: forget nonces, queue first requests (with initial_resource_versions). */
/* -ENOMEM: reset the stream. */
int weft_delta_connected_on(struct weft_delta *d, unsigned int stream, int64_t now_ms);
/* The stream is gone: everything accepted stays. */
void weft_delta_disconnected_on(struct weft_delta *d, unsigned int stream, int64_t now_ms);
/*
 * One response as bytes; refused ones are answered and 0. -EBADMSG when it cannot be
 * decoded, -ENOMEM: the stream is to be reset. -ENOTCONN outside of a stream.
 */
int weft_delta_receive_on(struct weft_delta *d, unsigned int stream, const uint8_t *data,
			  size_t len, int64_t now_ms);
/*
 * Next request to send, serialised; caller frees *ret. 0, or -EAGAIN when nothing
 * waits. -ENOMEM: as above.
 */
int weft_delta_next_request_on(struct weft_delta *d, unsigned int stream, uint8_t **ret,
			       size_t *ret_len);

/* The same of the first stream, which is the only one of ADS. */
static inline int weft_delta_connected(struct weft_delta *d, int64_t now_ms)
{
	return weft_delta_connected_on(d, 0, now_ms);
}

static inline void weft_delta_disconnected(struct weft_delta *d, int64_t now_ms)
{
	weft_delta_disconnected_on(d, 0, now_ms);
}

static inline int weft_delta_receive(struct weft_delta *d, const uint8_t *data, size_t len,
				     int64_t now_ms)
{
	return weft_delta_receive_on(d, 0, data, len, now_ms);
}

static inline int weft_delta_next_request(struct weft_delta *d, uint8_t **ret, size_t *ret_len)
{
	return weft_delta_next_request_on(d, 0, ret, ret_len);
}

/* Timers (initial_fetch_timeout, TTL, pauses). Returns the next deadline in ms, or -1. */
int64_t weft_delta_tick(struct weft_delta *d, int64_t now_ms);

/* True once everything first asked for has arrived, failed or timed out. */
bool weft_delta_complete(const struct weft_delta *d);

enum weft_delta_status {
	WEFT_DELTA_REQUESTED,
	WEFT_DELTA_DOES_NOT_EXIST,
	WEFT_DELTA_ACKED,
	WEFT_DELTA_NACKED,
	WEFT_DELTA_TIMEOUT,
	WEFT_DELTA_WARMING,
};

/* Envoy's counters of one subscription: to a whole type (clusters, listeners), or to one name. */
struct weft_delta_counts {
	uint64_t attempt, success, failure, rejected, timeout;
	uint64_t empty;		       /* the server took the name back */
	uint64_t same;		       /* accepted, and the same content as before */
	uint64_t reload;	       /* accepted, and other content */
	int64_t success_ms, reload_ms; /* 0: never */
	uint64_t version;	       /* xxh64 of version_text; 0: nothing was accepted */
	char *version_text;	       /* what the response accepted last calls itself, or NULL */
};

struct weft_delta_item {
	enum weft_xds_type type;
	const char *name;
	const char *version; /* accepted; "" when none */
	enum weft_delta_status status;
	const char *error;	    /* NACKED: text, else NULL */
	const char *failed_version; /* NACKED, else NULL */
	int64_t updated_ms;
	int64_t failed_ms;		    /* NACKED: when, else 0 */
	const struct weft_resource *active; /* in force; NULL none */
	/* Accepted, and waits for others; NULL none. `version` is its version then. */
	const struct weft_resource *warming;
	const struct weft_resource *failed;	/* NACKED, and it could be decoded; else NULL */
	const struct weft_delta_counts *counts; /* endpoints and routes; else NULL */
};
/* Who it says it is; lives as long as d. */
struct Envoy__Config__Core__V3__Node;
const struct Envoy__Config__Core__V3__Node *weft_delta_node(const struct weft_delta *d);
/* Calls fn for each known resource, sorted by type and name; pointers are valid for the call. */
void weft_delta_each(const struct weft_delta *d,
		     void (*fn)(void *ctx, const struct weft_delta_item *item), void *ctx);

/*
 * Responses that wait for one publish, at most: memory, and how long one publish may take to
 * decode. With more than that they are published before the pause ends.
 */
#define WEFT_DELTA_WAIT_RESPONSES 1024
#define WEFT_DELTA_WAIT_BYTES (4u << 20)

struct weft_delta_stats {
	uint64_t responses, acks, nacks, requests, connects, init_fetch_timeout;
	/* by type: responses accepted, refused (as Envoy's update_success, update_rejected) */
	uint64_t accepted[WEFT_XDS__MAX], refused[WEFT_XDS__MAX];
	uint64_t joined; /* responses that were published with the one before */
	struct weft_delta_counts types[WEFT_XDS__MAX]; /* of clusters and listeners */
	uint64_t pending;			       /* requests that wait for being sent */
	bool connected;		   /* every stream that is wanted, and one at least */
	const char *control_plane; /* identifier the server gave, or NULL */
};
void weft_delta_stats(const struct weft_delta *d, struct weft_delta_stats *ret);
