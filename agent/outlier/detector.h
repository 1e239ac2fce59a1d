/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Outlier detection of one cluster as one pod sees it: Envoy's algorithm
 * (DetectorImpl of Envoy 1.40), without a clock, a thread or a map of its own. Times are in ms of
 * one clock that only goes forward.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/abi/image.h"
#include "bpf/abi/state.h"

struct weft_detector_host {
	uint32_t id; /* state id of the endpoint's cell */
	struct weft_cell_endpoint
		*cell; /* set before each call; NULL: the pod has sent it nothing */
	bool ejected, returned;
	enum weft_ejection why; /* of the last ejection */
	uint32_t ejections;	/* how often */
	uint32_t backoff; /* times base_ejection_time that the next or present ejection takes */
	uint64_t ejected_ms, returned_ms, jitter_ms; /* of the last ejection and the last return */
	double rate[WEFT_WINDOW__MAX];		     /* percent of the last interval, -1: none */
	uint64_t window[WEFT_WINDOW__MAX];	     /* of the last interval, as in the cell */
};

/* Envoy's counters of a cluster (outlier_detection.*), deprecated ones included. */
struct weft_detector_stats {
	uint64_t detected[WEFT_EJECT__MAX], enforced[WEFT_EJECT__MAX], enforced_total, overflow;
	uint64_t total, consecutive_5xx, success_rate;
};

struct weft_detector;
struct weft_detector_ops {
	uint64_t (*random)(void *ctx);
	/* A host was ejected, or is back. */
	void (*changed)(void *ctx, const struct weft_detector *d,
			const struct weft_detector_host *h);
	void *ctx;
};

struct weft_detector {
	struct weft_img_outlier conf;
	struct weft_detector_host *host;
	size_t n;
	uint32_t active; /* hosts that are ejected */
	struct weft_detector_stats stats;
	double mean[WEFT_WINDOW__MAX],
		threshold[WEFT_WINDOW__MAX]; /* success rates, -1: too few hosts */
	const struct weft_detector_ops *ops;
};

/* A host that nothing is known of yet. */
void weft_detector_host_init(struct weft_detector_host *h, uint32_t id);
/* A run of failures of this host has become as long as the limit. */
void weft_detector_run(struct weft_detector *d, struct weft_detector_host *h,
		       enum weft_failures run, uint64_t now_ms);
/* An active health check of an ejected host succeeded: it is back. */
void weft_detector_return(struct weft_detector *d, struct weft_detector_host *h, uint64_t now_ms);
/* The end of an interval: hosts return, windows are judged and begin anew. */
void weft_detector_interval(struct weft_detector *d, uint64_t now_ms);
/* "consecutive_5xx" */
const char *weft_ejection_name(enum weft_ejection why);
