/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * State that programs cannot make: a connect() program that finds no cell cannot wait for the
 * agent, so the cells that TCP chains lead to are there before the first connection. Main thread.
 */

#include "agent/store/store.h"

/* Makes, for a pod, the cells of clusters, endpoints and connection limits reachable from the
 * view's TCP chains. */
void weft_cells_make(struct weft_store *store, uint32_t pod, uint32_t view);

/*
 * State ids of everything a view's TCP chains reach, ascending, without repeats; caller frees *ret.
 * -ENOENT: nothing is published; -ENOMEM.
 */
int weft_cells_tcp_ids(uint32_t view, uint32_t **ret, size_t *ret_n);
