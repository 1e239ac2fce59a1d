/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Buckets of local rate limits' descriptors, which the agent alone keeps. */

#include <stdint.h>

#include "bpf/engine/engine.h"

/* pay() may be called from any thread. -ENOMEM. */
int rates_new(struct weft_rates **ret);
/* Of a pod that is gone: those that are there. */
void rates_pod_drop(struct weft_rates *rates, uint32_t pod);
/* How many there are. */
uint32_t rates_count(struct weft_rates *rates);
void rates_free(struct weft_rates *rates);
