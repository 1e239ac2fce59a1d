/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Thresholds of circuit breakers that are more than a number of the cluster's cell. Any thread. */

#include <stdbool.h>
#include <stdint.h>

#include "bpf/engine/engine.h"

/*
 * Retries that may be under way: max_retries, or what the retry_budget gives at this moment: of the
 * requests of the priority that are active or wait, and `more` that are counted as neither, rounded
 * down, at least min_retry_concurrency (Envoy's RetryBudgetImpl).
 */
static inline uint32_t breaker_retries_max(const struct weft_img_thresholds *t,
					   const struct weft_cell_cluster *c, uint32_t priority,
					   uint32_t more)
{
	uint64_t n = (uint64_t)__atomic_load_n(&c->rq_active[priority], __ATOMIC_RELAXED) +
		     __atomic_load_n(&c->rq_pending[priority], __ATOMIC_RELAXED) + more;
	double budget;

	if (!(t->flags & WEFT_THRESHOLDS_BUDGET))
		return t->max_retries;
	budget = t->retry_percent * (double)n / 100.0;
	return budget > t->least_retries ? (uint32_t)budget : t->least_retries;
}

/* A place among an endpoint's connections (per_host_thresholds): given back with the connection.
 * cell_endpoint 0: none is counted. */
static inline bool breaker_host_take(const struct weft_img_thresholds *t, uint32_t cell_endpoint)
{
	uint32_t *n = cell_endpoint ? &weft_cell_endpoint(cell_endpoint)->cx_active : NULL;

	if (n && t->max_per_host != WEFT_THRESHOLD_NONE)
		return weft_place_take(n, t->max_per_host);
	if (n)
		__atomic_fetch_add(n, 1, __ATOMIC_RELAXED);
	return true;
}

static inline void breaker_host_put(uint32_t cell_endpoint)
{
	if (cell_endpoint)
		weft_place_put(&weft_cell_endpoint(cell_endpoint)->cx_active);
}

/*
 * Pools of connections, which are counted for max_connection_pools: a word for each priority of
 * each cell of the state, at its place among the cells.
 */
static inline uint32_t breaker_pool_index(uint32_t cell_cluster, uint32_t priority)
{
	return (cell_cluster - weft_state_head()->cell) / WEFT_CELL_SIZE * WEFT_PRIORITY__MAX +
	       priority;
}
