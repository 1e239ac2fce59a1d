/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Buckets of local rate limits' descriptors: of those that have one for each value, which the agent
 * alone keeps. The others are cells of the state, as long as there are enough of them for
 * everything else.
 */

#include <stdint.h>

#include "agent/store/store.h"
#include "bpf/engine/engine.h"

/* pay() and cell() may be called from any thread. store: where cells are made, NULL: none are.
 * -ENOMEM. */
int rates_new(struct weft_store *store, struct weft_rates **ret);
/* Of a pod that is gone: those that are there. */
void rates_pod_drop(struct weft_rates *rates, uint32_t pod);
/* How many there are. */
uint32_t rates_count(struct weft_rates *rates);
void rates_free(struct weft_rates *rates);
