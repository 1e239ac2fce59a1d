/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What checks make of one host: Envoy's algorithm (HealthCheckerImplBase::ActiveHealthCheckSession of
 * Envoy 1.40), without a clock, a connection or a map of its own.
 */

#include <stdbool.h>
#include <stdint.h>

#include "agent/compile/health.h"

/* Envoy's counters of a cluster (health_check.*); healthy and degraded are numbers of now. */
struct weft_health_stats {
	uint64_t attempt, success, failure, passive_failure, network_failure, verify_cluster;
	uint64_t healthy, degraded;
};

enum weft_health_change {
	WEFT_HEALTH_UNCHANGED,
	WEFT_HEALTH_PENDING, /* a threshold is on its way to be reached */
	WEFT_HEALTH_CHANGED, /* other requests go there than before */
};

/* Why a check failed. ACTIVE: by what the host answered. */
enum weft_health_failure {
	WEFT_HEALTH_ACTIVE,
	WEFT_HEALTH_RETRIABLE, /* the same, of retriable_statuses */
	WEFT_HEALTH_PASSIVE,   /* x-envoy-immediate-health-check-fail in a response to a request */
	WEFT_HEALTH_NETWORK,
	WEFT_HEALTH_TIMEOUT,
};

struct weft_health_host {
	bool failed;   /* failed_active_hc */
	bool pending;  /* pending_active_hc: excluded until the first result */
	bool timeout;  /* active_hc_timeout */
	bool excluded; /* excluded_via_immediate_hc_fail */
	bool degraded; /* degraded_active_hc */
	bool checked;  /* there was a result */
	uint32_t healthy, unhealthy; /* results one behind another */
};

/* A host that was never checked: failed until it is. */
void weft_health_host_init(struct weft_health_host *h, const struct weft_health_conf *conf);
/* It is checked no more. */
void weft_health_host_gone(const struct weft_health_host *h, struct weft_health_stats *stats);
enum weft_health_change weft_health_succeeded(struct weft_health_host *h,
					      const struct weft_health_conf *conf, bool degraded,
					      struct weft_health_stats *stats);
enum weft_health_change weft_health_failed(struct weft_health_host *h,
					   const struct weft_health_conf *conf,
					   enum weft_health_failure why,
					   struct weft_health_stats *stats);
/*
 * How long to the next check, in ms, at least 1. succeeded, change: what the last one made of the host. traffic: the
 * cluster has had connections of requests.
 */
uint64_t weft_health_interval(const struct weft_health_conf *conf, bool succeeded,
			      enum weft_health_change change, bool traffic,
			      uint64_t (*random)(void *ctx), void *ctx);
/* How long to the first check; 0: at once. */
uint64_t weft_health_first(const struct weft_health_conf *conf, uint64_t (*random)(void *ctx),
			   void *ctx);
/* enum weft_mark of it, -1: requests may go there. */
int weft_health_mark(const struct weft_health_host *h);
