/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What outlier.c and dump.c share. */

#include <pthread.h>

#include "agent/outlier/detector.h"
#include "agent/outlier/outlier.h"

#define OUTLIER_BUCKETS 4096u

/* One cluster of one pod. */
struct watch {
	struct watch *next; /* of its bucket */
	struct weft_outlier *o;
	uint32_t pod, cluster;
	uint32_t endpoints;	/* weft_img_endpoints that the hosts are from */
	struct weft_detector d; /* hosts by id */
	uint64_t interval_ms;	/* when the interval at hand ends */
	/* update_merge_window: when hosts changed last for traffic; when what waits is published,
	 * 0: nothing does */
	uint64_t updated_ms, due_ms;
	bool updated, dirty;
	uint32_t *out; /* hosts that are published as ejected, ascending */
	size_t n_out;
};

struct told {
	uint32_t pod, cluster, endpoint;
};

struct weft_outlier {
	struct weft_outlier_config cfg;
	struct weft_detector_ops ops;
	int fd;
	pthread_mutex_t lock; /* told */
	struct told *told;
	size_t n_told, cap_told;
	bool lost;	     /* some of what was told: under lock */
	bool stale;	     /* other hosts are published as ejected than are */
	uint64_t retry_ms;   /* not published again before */
	uint32_t backoff_ms; /* of the next failure */
	uint64_t look_ms;    /* when all cells are looked through, 0: not */
	uint64_t publish_failures, withheld;
	bool withheld_now;
	uint64_t now_ms;
	struct watch *bucket[OUTLIER_BUCKETS];
	struct weft_ejected *ejected;
	size_t n_ejected;
};

/* Calls fn for each. */
void watches_each(const struct weft_outlier *o, void (*fn)(void *ctx, const struct watch *w),
		  void *ctx);
