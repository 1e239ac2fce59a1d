/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Outlier detection of every pod's clusters. Each pod has its own, as each of Envoy's sidecars: a
 * host is ejected for the pod whose requests it failed. Results are counted in endpoint cells
 * (bpf/engine/outlier.h) by whoever sees them; this is told when a run of failures is long enough,
 * keeps the intervals, and says which hosts the compiler is to leave out of a pod's endpoints.
 * Detection begins with a pod's first request to a cluster, stays while the cluster is the same
 * (endpoints may come and go), and ends with the pod, the cluster or the host.
 */

#include <jansson.h>

#include "agent/compile/compile.h"
#include "agent/store/store.h"

struct weft_outlier;

struct weft_outlier_config {
	struct weft_store *store;
	const struct weft_compiler *compiler; /* for names */
	/* Monotonic ms, random bits; tests have their own. */
	uint64_t (*now_ms)(void *ctx);
	uint64_t (*random)(void *ctx);
	/*
	 * Other hosts than those last published are ejected: publish (weft_outlier_ejected()), then
	 * call weft_outlier_published(). Called from weft_outlier_work() only. Not 0: it failed,
	 * and is called again after a second, then after twice as long each time, up to half a
	 * minute.
	 */
	int (*publish)(void *ctx);
	/* The view of a pod, and how many there are; both NULL: there is one. */
	uint32_t (*view_of)(void *ctx, uint32_t pod);
	uint32_t (*views)(void *ctx);
	void *ctx;
};

/* Borrows what the configuration points to. -ENOMEM, -errno of eventfd(). */
int weft_outlier_new(const struct weft_outlier_config *cfg, struct weft_outlier **ret);
void weft_outlier_free(struct weft_outlier *o);

/* Readable when there is something to do: weft_outlier_work(). */
int weft_outlier_fd(const struct weft_outlier *o);
/*
 * Tells that this endpoint's cell has just begun to count for the cluster, or has news (`pending`).
 * Any thread; a few hundred ns. Without memory all cells are looked through for news, until there
 * is some.
 */
void weft_outlier_tell(struct weft_outlier *o, uint32_t pod, uint32_t cluster, uint32_t endpoint);
/* Takes what was told, ends intervals that are over, publishes. When it wants to be called again,
 * in ms of now_ms; 0: only when there is news. Main thread, as all that follow. */
uint64_t weft_outlier_work(struct weft_outlier *o);
/* After each publish: hosts and clusters that are gone are forgotten. Never publishes. */
void weft_outlier_published(struct weft_outlier *o);
/*
 * After a publish that had to leave the ejections out, because the image was full with them:
 * logged, counted, and published with them again as after a failure.
 */
void weft_outlier_withheld(struct weft_outlier *o);
/*
 * An active health check of the host succeeded: when it is ejected it is back
 * (successful_active_health_check_uneject_host). State ids.
 */
void weft_outlier_passed(struct weft_outlier *o, uint32_t pod, uint32_t cluster, uint32_t endpoint);
/* Forgets a pod. */
void weft_outlier_pod_drop(struct weft_outlier *o, uint32_t pod);
/* What is to be published. Borrowed until the next call of anything here. */
const struct weft_ejected *weft_outlier_ejected(struct weft_outlier *o, size_t *ret_n);

/* Counters of each pod's clusters, by Envoy's names; hosts that are ejected, with cause and times.
 */
json_t *weft_outlier_stats_json(const struct weft_outlier *o);
/* {publish_failures, withheld: how often, withheld_now: ejected hosts get requests}. */
json_t *weft_outlier_publishing_json(const struct weft_outlier *o);
json_t *weft_outlier_hosts_json(const struct weft_outlier *o);
