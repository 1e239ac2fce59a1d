// SPDX-License-Identifier: Apache-2.0
#pragma once

/* OutlierDetection without any field set: Envoy's defaults
 * (envoy.config.cluster.v3.OutlierDetection). */

#include "bpf/abi/outlier.h"

static const struct weft_img_outlier outlier_defaults = {
	.interval_ms = 10000,
	.base_ms = 30000,
	.max_ms = 300000,
	.max_percent = 10,
	.run = {5, 5, 5},
	.enforce = {0, 100, 100, 100, 100, 0, 0},
	.rate_hosts = 5,
	.rate_volume = 100,
	.rate_factor = 1900,
	.failure_percent = 85,
	.failure_hosts = 5,
	.failure_volume = 50,
	.merge_ms = 1000,
	.uneject = 1,
};
