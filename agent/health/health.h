/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Active health checks. Each pod's hosts are checked from inside the pod's network namespace, as each of Envoy's sidecars
 * does: one check per (pod, cluster, host). What a cluster without traffic costs is bounded by no_traffic_interval, and
 * the whole by the limits below. Results are what the compiler marks hosts by. Main thread, but for weft_health_tell().
 */

#include <jansson.h>

#include "agent/compile/compile.h"
#include "agent/loop.h"
#include "agent/store/store.h"

/* Hosts of all pods that are checked; more are taken for what EDS says. A record is about half a KiB. */
#define WEFT_HEALTH_HOSTS_MAX 65536u
/* Checks at a time: more wait their turn, so that a thousand hosts that hang do not take all descriptors. */
#define WEFT_HEALTH_RUNNING_MAX 1024u
/* Connections that are kept between checks; further ones are closed after each check. */
#define WEFT_HEALTH_IDLE_MAX 4096u

struct weft_health;

struct weft_health_config {
	struct weft_loop *loop;
	struct weft_compiler *compiler;
	/* Monotonic ms, random bits; tests have their own. */
	uint64_t (*now_ms)(void *ctx);
	uint64_t (*random)(void *ctx);
	/* Marks a socket as the agent's own, before connect(). 0 or -errno. */
	int (*exempt)(void *ctx, int fd);
	/*
	 * Hosts are other than they were last published: publish with weft_health_marks(). warmed: a cluster that was not
	 * warm is. Called from the loop. Not 0: it failed, and is called again after a second, then after twice as long each
	 * time, up to half a minute.
	 */
	int (*publish)(void *ctx, bool warmed);
	/* A check of a host (state ids) that is not failed succeeded. */
	void (*passed)(void *ctx, uint32_t pod, uint32_t cluster, uint32_t endpoint);
	void *ctx;
};

/* Borrows what the configuration points to. -ENOMEM, -errno. */
int weft_health_new(const struct weft_health_config *cfg, struct weft_health **ret);
void weft_health_free(struct weft_health *h);

/*
 * The clusters of both snapshots (NULL: none), and no others, are checked from now on for the pods of the view. resolved:
 * assignments of DNS clusters by weft_resolved_name(), NULL: none. in_force is what weft_health_marks() is for. -ENOMEM:
 * some are not checked.
 */
int weft_health_want(struct weft_health *h, uint32_t view, const struct weft_snapshot *merged,
		     const struct weft_snapshot *in_force, const struct weft_snapshot *resolved);
/* Clusters of the view are checked. */
bool weft_health_has(const struct weft_health *h, uint32_t view);
/* Every host of the cluster was checked for every pod of the view. True for what is not checked. */
bool weft_health_is_warm(const struct weft_health *h, uint32_t view,
			 const struct weft_resource *res);

/* The cluster has hosts, and for a pod of the view they were not all checked yet. */
bool weft_health_is_cold(const struct weft_health *h, uint32_t view,
			 const struct weft_resource *res);
/* Every cluster's hosts were checked once for the pod, as far as it has any: it may be governed (Envoy's clusters warm
 * before its listeners open). */
bool weft_health_pod_is_warm(const struct weft_health *h, uint32_t pod);

/* netns_fd is duplicated. */
int weft_health_pod_add(struct weft_health *h, uint32_t pod, uint32_t view, int netns_fd);
void weft_health_pod_drop(struct weft_health *h, uint32_t pod);

/*
 * What is to be published with the clusters that in_force() says of each view (NULL: none); the publish must follow at once
 * (weft_compiler_endpoint_id()). By pod, then cluster, ascending. Borrowed until the next call of anything here.
 */
const struct weft_ejected *
weft_health_marks(struct weft_health *h,
		  const struct weft_snapshot *(*in_force)(void *ctx, uint32_t view), void *ctx,
		  const struct weft_snapshot *resolved, size_t *ret_n);
/*
 * What is to be published in place of the view's snapshots (resolved: NULL, or as for weft_health_marks(), which comes just
 * before): with hosts that discovery has no more, and whose checks pass (not ignore_health_on_host_removal). Pods that do
 * not go on to have one have WEFT_MARK_GONE of it. *ret: NULL where the snapshot is as it is, else the caller's. -ENOMEM.
 */
int weft_health_keep(const struct weft_health *h, uint32_t view,
		     const struct weft_snapshot *in_force, const struct weft_snapshot *resolved,
		     struct weft_snapshot **ret_in_force, struct weft_snapshot **ret_resolved);
/* A publish had to leave them out: the image was full. It is tried again. */
void weft_health_withheld(struct weft_health *h);

/* A response to a request had x-envoy-immediate-health-check-fail (state ids). Any thread. */
void weft_health_tell(struct weft_health *h, uint32_t pod, uint32_t cluster, uint32_t endpoint);

/* Envoy's counters of each pod's clusters: [{pod, cluster, attempt, ...}]. */
json_t *weft_health_stats_json(const struct weft_health *h);
/* {hosts, running, idle, unchecked: beyond WEFT_HEALTH_HOSTS_MAX, postponed, publish_failures,
 * withheld, told_dropped: responses that more hosts failed by than may wait to be looked at}. */
json_t *weft_health_limits_json(struct weft_health *h);
/* [{pod, cluster, host, health_flags, checked}]. */
json_t *weft_health_hosts_json(const struct weft_health *h);
