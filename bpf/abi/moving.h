/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/* Weights of a cluster's hosts that load and age move, in the image. */

#include "bpf/abi/types.h"

/* What weights are multiplied by at each choice: by load (least request) and by a host's age. The
 * agent alone applies it. */
struct weft_img_moving {
	__u32 window_ms; /* slow_start_window, 0: age plays no role */
	__u32 pad;
	double aggression; /* 1 */
	double least;	   /* min_weight_percent / 100 */
	double bias;	   /* active_request_bias; 0: load plays no role */
};
