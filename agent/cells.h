/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * State that programs cannot make: a connect() program that finds no cell cannot wait for the
 * agent, so the cells that TCP chains lead to are there before the first connection. Main thread.
 */

#include "agent/store/store.h"

/* Makes, for a pod, the cells of clusters, endpoints and connection limits reachable from the
 * view's TCP chains. How many are missing: the state is full. */
size_t weft_cells_make(struct weft_store *store, uint32_t pod, uint32_t view);
/* The same for these state ids. */
size_t weft_cells_make_these(struct weft_store *store, uint32_t pod, const uint32_t *id, size_t n);

/* State ids that every pod of a view has cells of, ascending; zero at first. */
struct weft_cells_seen {
	uint32_t *id;
	size_t n;
	uint32_t view_off, epoch; /* as of the last look */
};
/*
 * After a publish: what the view's TCP chains reach and was not seen; caller frees *ret. Then all
 * of it is seen. A view that the publish has left as it was is not walked. -ENOENT: nothing is
 * published; -ENOMEM: nothing was done.
 */
int weft_cells_news(struct weft_cells_seen *seen, uint32_t view, uint32_t **ret, size_t *ret_n);
/* Everything is news again. */
void weft_cells_forget(struct weft_cells_seen *seen);

/*
 * State ids of everything a view's TCP chains reach, ascending, without repeats; caller frees *ret.
 * -ENOENT: nothing is published; -ENOMEM.
 */
int weft_cells_tcp_ids(uint32_t view, uint32_t **ret, size_t *ret_n);
