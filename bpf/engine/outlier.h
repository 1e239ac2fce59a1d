/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/*
 * What outlier detection counts of an endpoint, for one pod (Envoy's DetectorHostMonitorImpl). Each
 * function gives the runs (bit per enum weft_failures) of which the agent is to be told now: those
 * that have become as long as the limit and that it has not been told of yet.
 */

#include "bpf/engine/mem.h"

/* What became of the way to an endpoint. */
enum weft_reached {
	WEFT_REACHED,	     /* a connection is there, what it is for follows */
	WEFT_REACHED_ALL,    /* that was all: TCP */
	WEFT_UNREACHED,	     /* refused, reset, closed before the answer's end */
	WEFT_UNREACHED_TIME, /* not in time */
};

/*
 * The cell is of this cluster's detection from now on; what it counted for another one of its name
 * is forgotten, as Envoy's hosts are with their cluster. 1: it was not before.
 */
WEFT_INLINE __u32 weft_outlier_begin(struct weft_cell_endpoint *e, const struct weft_img_outlier *o,
				     __u32 cluster, __u32 self)
{
	if (WEFT_READ(e->owner) == cluster)
		return 0;
	for (int i = 0; i < WEFT_RUN__MAX; i++) {
		e->run[i] = 0;
		e->limit[i] = o->run[i];
	}
	e->window[WEFT_WINDOW_EXTERNAL] = 0;
	e->window[WEFT_WINDOW_LOCAL] = 0;
	e->split = o->split;
	e->self = self;
	e->pending = 0;
	*(volatile __u32 *)&e->owner = cluster;
	return 1;
}

WEFT_INLINE void weft_outlier_window(struct weft_cell_endpoint *e, __u32 which, __u32 success)
{
	__sync_fetch_and_add(&e->window[which], (__u64)success << 32 | 1);
}

WEFT_INLINE void weft_outlier_clear(struct weft_cell_endpoint *e, __u32 which)
{
	*(volatile __u32 *)&e->run[which] = 0;
}

/* One failure more: bit of the run when it is news that it is long enough. */
WEFT_INLINE __u32 weft_outlier_longer(struct weft_cell_endpoint *e, __u32 which)
{
	__u32 bit = 1u << which;

	if (__sync_fetch_and_add(&e->run[which], 1) + 1 != e->limit[which])
		return 0;
	return __sync_fetch_and_or(&e->pending, bit) & bit ? 0 : bit;
}

/* A status of the endpoint, or one that stands for what went wrong. */
WEFT_INLINE __u32 weft_outlier_status(struct weft_cell_endpoint *e, __u32 status)
{
	__u32 news = 0;

	if (status < 500 || status > 599) {
		weft_outlier_window(e, WEFT_WINDOW_EXTERNAL, 1);
		weft_outlier_clear(e, WEFT_RUN_5XX);
		weft_outlier_clear(e, WEFT_RUN_GATEWAY);
		return 0;
	}
	weft_outlier_window(e, WEFT_WINDOW_EXTERNAL, 0);
	if (status >= 502 && status <= 504)
		news = weft_outlier_longer(e, WEFT_RUN_GATEWAY);
	else
		weft_outlier_clear(e, WEFT_RUN_GATEWAY);
	return news | weft_outlier_longer(e, WEFT_RUN_5XX);
}

/* The way to the endpoint; without split_external_local_origin_errors it counts as a status of it.
 */
WEFT_INLINE __u32 weft_outlier_reached(struct weft_cell_endpoint *e, enum weft_reached how)
{
	if (!e->split) {
		if (how == WEFT_REACHED)
			return 0;
		return weft_outlier_status(e, how == WEFT_REACHED_ALL ? 200
					      : how == WEFT_UNREACHED ? 503
								      : 504);
	}
	weft_outlier_window(e, WEFT_WINDOW_LOCAL, how <= WEFT_REACHED_ALL);
	if (how > WEFT_REACHED_ALL)
		return weft_outlier_longer(e, WEFT_RUN_LOCAL);
	weft_outlier_clear(e, WEFT_RUN_LOCAL);
	return 0;
}
