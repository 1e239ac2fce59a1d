/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Gauges of circuit breakers, as Envoy has them. Main thread. */

#include <jansson.h>
#include <stdint.h>

#include "agent/proxy/proxy.h"

/*
 * {"default": {"cx_open": 0, "cx_pool_open": 0, "rq_pending_open": 0, "rq_open": 0,
 * "rq_retry_open": 0}, "high": ...} of the cluster in force whose state id this is, with
 * "remaining_..." where track_remaining is set. NULL: no view has it. proxy: NULL none, it has no
 * pools.
 */
json_t *weft_breakers_json(const struct weft_proxy *proxy, uint32_t pod, const char *name,
			   uint32_t id, uint32_t cell);
