/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Snapshot -> image objects. Pure: no I/O, no kernel; main thread. What cannot be represented
 * exactly is refused with the resource, the field and the reason.
 */

#include <jansson.h>

#include "agent/store/store.h"
#include "xds/resource.h"

struct weft_compiler;

/* Keeps the ids of clusters, route configurations and state across publishes, and compiled
 * resources. */
int weft_compiler_new(struct weft_store *store, struct weft_compiler **ret);
void weft_compiler_free(struct weft_compiler *c);

/* What is known of a host besides what EDS says of it; of several the last counts. */
enum weft_mark {
	WEFT_MARK_DEGRADED, /* an active check said so */
	WEFT_MARK_OUT,	    /* unhealthy: ejected, or active checks failed */
	WEFT_MARK_EXCLUDED, /* the same, and nobody counts it among those that are missing */
	WEFT_MARK_GONE,	    /* EDS had it only until its checks fail */
};

/* Hosts of a cluster that a pod does not get as EDS has them, by outlier detection or active checks. */
struct weft_ejected {
	uint32_t pod;
	uint32_t cluster;     /* state id of the cluster's cell */
	const uint32_t *host; /* state ids of endpoints' cells, ascending */
	const uint8_t *mark;  /* enum weft_mark of each; NULL: all WEFT_MARK_OUT */
	size_t n;
};

/*
 * The state id that an endpoint's cell has, or will have with the next publish, which is to follow at once: else it may
 * come to mean something else. address: as configured. -ENOMEM.
 */
int weft_compiler_endpoint_id(struct weft_compiler *c, const char *cluster, const char *address,
			      uint32_t port, uint32_t *ret);
/* The same of a cluster's cell. */
int weft_compiler_cluster_id(struct weft_compiler *c, const struct weft_resource *res,
			     uint32_t *ret);

struct weft_view_input {
	const struct weft_snapshot *snapshot; /* NULL: an unused view id */
	/* Clusters that are not there yet, and may be named all the same (validate_clusters); NULL:
	 * none. */
	const struct weft_snapshot *waiting;
	/*
	 * Load assignments of DNS clusters with addresses in place of names, by weft_resolved_name().
	 * A cluster that is not there has no hosts yet. NULL: nobody resolves (check, explain); each
	 * name stands for one host without address.
	 */
	const struct weft_snapshot *resolved;
	const struct weft_ejected
		*ejected; /* by pod, ascending; of clusters that are gone: ignored */
	size_t n_ejected;
};
/* The name under which the resolved assignment of a cluster with this content is found. Owned by the
 * caller; NULL without memory. */
char *weft_resolved_name(const struct weft_resource *res);

/*
 * Compiles views 0..n-1 and publishes them at once. 0; or -EINVAL (causes in diag), -ENOSPC: image
 * full, -ENOMEM (cause in diag); then what was in force stays. Only changed resources are compiled.
 */
int weft_compiler_publish(struct weft_compiler *c, const struct weft_view_input *views, size_t n,
			  struct weft_diag *diag);

/* Compiles without publishing: `check`. */
int weft_compiler_check(struct weft_compiler *c, const struct weft_snapshot *snapshot,
			struct weft_diag *diag);

/*
 * weft_store_reclaim(), and numbers of names that nothing can mean any more are free for others.
 * Called now and then by the main thread.
 */
void weft_compiler_reclaim(struct weft_compiler *c);

struct weft_compiler_stats {
	/* Highest numbers ever given, and how many are retired but not free yet. */
	uint32_t clusters, route_configs, states;
	size_t waiting;
	uint64_t patches; /* publishes that changed endpoints only, at a cost by what changed */
};
void weft_compiler_stats(const struct weft_compiler *c, struct weft_compiler_stats *ret);

/*
 * Accepted without effect (Istio's own filters, fields that do not change traffic): "Listener/x",
 * field, reason. Of what is in force, or of the last check.
 */
const struct weft_diag *weft_compiler_not_applied(const struct weft_compiler *c);

/* What a state id stands for, for dump: kind ("bucket", "cluster", "endpoint") and name. NULL
 * unknown. */
const char *weft_compiler_state_name(const struct weft_compiler *c, uint32_t id,
				     const char **ret_kind);

/* The published image as JSON, by walking it from the root (golden tests, dump image). Caller owns.
 */
json_t *weft_image_json(const struct weft_store *s);
/* Objects of one kind, as the kernel holds them, of a view: listeners, routes, clusters, endpoints.
 */
json_t *weft_image_json_view(const struct weft_store *s, uint32_t view, const char *what);
/* The value of a weft_img_header, as it would be written. */
json_t *weft_format_json(uint32_t header);
/* weft_img_changes as a list of levels. */
json_t *weft_changes_json(uint32_t changes);
/* What becomes of responses, NULL: nothing. */
json_t *weft_response_json(const struct weft_img_response *r);
