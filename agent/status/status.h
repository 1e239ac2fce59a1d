/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What is known of each resource, from every source: taken down on the main thread in time by the
 * number of resources (contents are shared, not copied), then shown by any thread.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "agent/view.h"
#include "xds/delta.h"

/* As WEFT_DELTA_*, and STALE: from the saved configuration, no server has vouched for it since. */
enum weft_status_state {
	WEFT_STATUS_REQUESTED,
	WEFT_STATUS_DOES_NOT_EXIST,
	WEFT_STATUS_ACKED,
	WEFT_STATUS_NACKED,
	WEFT_STATUS_TIMEOUT,
	WEFT_STATUS_WARMING,
	WEFT_STATUS_STALE,
	WEFT_STATUS__MAX,
};
/* "requested", "acked" ... */
const char *weft_status_name(enum weft_status_state state);

struct weft_status_entry {
	enum weft_xds_type type;
	enum weft_status_state state;
	char *name;
	char *version;		      /* of what is in force, as the server said it last; "" none */
	char *error, *failed_version; /* NACKED, else NULL */
	int64_t updated_ms, failed_ms; /* wall clock; of the newest accepted; 0 never */
	struct weft_resource *active;  /* in force, NULL none */
	struct weft_resource *warming; /* accepted, and waits; NULL none */
	struct weft_resource *failed;  /* what NACKED is about, if it could be decoded */
	struct weft_delta_counts counts; /* endpoints and routes of a server */
};

/* The resources of one source in one view, by type and name. */
struct weft_status_part {
	uint32_t view;
	enum weft_source source;
	char *stream;  /* address of the server, or path of the file */
	uint8_t *node; /* Node under which they were asked for, serialised; NULL: of a file */
	size_t n_node;
	char *version[WEFT_XDS__MAX]; /* of the last accepted response; NULL, "" none */
	struct weft_delta_counts counts[WEFT_XDS__MAX]; /* clusters, listeners; without text */
	struct weft_status_entry *v;
	size_t n, cap;
};

struct weft_status {
	struct weft_status_part *part;
	size_t n;
	struct weft_snapshot *resolved; /* addresses of DNS clusters; NULL none */
	int64_t started_ms; /* of the agent, wall clock */
};

struct weft_daemon;

/* Main thread. -ENOMEM. */
int weft_status_collect(struct weft_daemon *d, struct weft_status **ret);
/* Any thread; NULL is fine. */
void weft_status_free(struct weft_status *s);
void weft_status_part_clear(struct weft_status_part *p);
void weft_status_entry_clear(struct weft_status_entry *e);

/* select.c: keeps one view, or of all of them what is the same in several once. Any thread. */
#define WEFT_STATUS_ALL (-1)
void weft_status_select(struct weft_status *s, int64_t view);

/* Every entry of a type, in order of parts: index goes from 0, NULL when there are no more. */
const struct weft_status_entry *weft_status_at(const struct weft_status *s, enum weft_xds_type type,
					       size_t i, const struct weft_status_part **ret_part);

/* Endpoints of a cluster: those accepted under its service's name, those of its names, or its own.
 */
struct weft_status_assignment {
	const char *name;		       /* the service's, else the cluster's */
	const struct weft_status_entry *entry; /* of EDS; NULL none */
	const struct Envoy__Config__Endpoint__V3__ClusterLoadAssignment *msg; /* NULL: none yet */
};
/* Borrowed from s and the cluster. */
struct weft_status_assignment weft_status_assignment(const struct weft_status *s,
						     const struct weft_status_part *part,
						     const struct weft_resource *cluster);

/* NULL: it is not there. */
const struct weft_status_entry *weft_status_find(const struct weft_status_part *part,
						 enum weft_xds_type type, const char *name);

/* subscriptions.c: {list: [{type, name, stat_prefix, update_attempt ...}], totals: {...}}. */
json_t *weft_subscriptions_json(const struct weft_status *s);

/* ---- users.c ---- */

/*
 * Who names a resource of a type, in the same view: {"listeners": [...], "routes": [...],
 * "clusters": [...]}, only those that are not empty. Names of clusters come from routes and
 * listeners, of route configurations from listeners, of endpoints from clusters.
 */
struct weft_users;
int weft_users_new(const struct weft_status *s, uint32_t view, struct weft_users **ret);
void weft_users_free(struct weft_users *u);
/* A new reference; NULL: nobody. */
json_t *weft_users_of(const struct weft_users *u, enum weft_xds_type type, const char *name);
