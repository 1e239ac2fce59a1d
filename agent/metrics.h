/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Counters as monitoring reads them, made from what `dump stats` says: there is no second account.
 * What Envoy counts has Envoy's name (cluster.X.upstream_rq_total, control_plane.connected_state),
 * the rest begins with "weft". Endpoints are left out: there are too many of them.
 */

#include <jansson.h>
#include <stddef.h>

enum weft_metrics_form {
	WEFT_METRICS_TEXT,	 /* "name: value", sums over pods, sorted by name */
	WEFT_METRICS_PROMETHEUS, /* text format 0.0.4, by pod */
};

/* stats: the answer of `dump stats`. Caller frees; *ret_len without the final zero. NULL: no
 * memory. */
char *weft_metrics_write(const json_t *stats, enum weft_metrics_form form, size_t *ret_len);
