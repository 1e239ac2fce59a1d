/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/* Outlier detection of a cluster, in the image (OutlierDetection). */

#include "bpf/abi/types.h"

/* What ejects a host, by the names of Envoy's counters. */
enum weft_ejection {
	WEFT_EJECT_CONSECUTIVE_GATEWAY_FAILURE, /* the first three as enum weft_failures */
	WEFT_EJECT_CONSECUTIVE_5XX,
	WEFT_EJECT_CONSECUTIVE_LOCAL_ORIGIN_FAILURE,
	WEFT_EJECT_SUCCESS_RATE,
	WEFT_EJECT_LOCAL_ORIGIN_SUCCESS_RATE,
	WEFT_EJECT_FAILURE_PERCENTAGE,
	WEFT_EJECT_LOCAL_ORIGIN_FAILURE_PERCENTAGE,
	WEFT_EJECT__MAX,
};

/* OutlierDetection; Envoy's defaults in brackets. */
struct weft_img_outlier {
	__u32 interval_ms;		/* 10000 */
	__u32 base_ms;			/* 30000 */
	__u32 max_ms;			/* 300000, base_ms if that is more */
	__u32 jitter_ms;		/* 0 */
	__u32 max_percent;		/* 10 */
	__u32 always_one;		/* 0 */
	__u32 split;			/* 0 */
	__u32 run[3];			/* 5 each, by enum weft_failures */
	__u32 enforce[WEFT_EJECT__MAX]; /* percent: 0, 100, 100, 100, 100, 0, 0 */
	__u32 rate_hosts;		/* 5 */
	__u32 rate_volume;		/* 100 */
	__u32 rate_factor;		/* 1900, a thousandth of a standard deviation */
	__u32 failure_percent;		/* 85 */
	__u32 failure_hosts;		/* 5 */
	__u32 failure_volume;		/* 50 */
	__u32 merge_ms;			/* 1000: update_merge_window */
	__u32 uneject;			/* 1: successful_active_health_check_uneject_host */
};
