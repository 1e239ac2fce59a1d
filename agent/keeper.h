/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Keeps the last good configuration of a source in a file. Main thread; the writing is done by a
 * thread of its own, because it waits for the disk.
 */

#include <jansson.h>

#include "xds/resource.h"

/* Between two writes: an agent whose configuration changes all the time writes no more often. */
#define WEFT_KEEPER_INTERVAL_MS 10000

struct weft_keeper;

/* identity: for whom the configuration is (xds/saved.h). Both are copied. */
int weft_keeper_new(const char *path, const char *identity, struct weft_keeper **ret);
/* Writes what was not written yet. NULL is fine. */
void weft_keeper_free(struct weft_keeper *k);

/* This is to be kept; replaces what waits to be written. -ENOMEM. */
int weft_keeper_put(struct weft_keeper *k, const struct weft_snapshot *s);
/* Starts a write when one is due. now_ms: any clock that does not jump. */
void weft_keeper_tick(struct weft_keeper *k, int64_t now_ms);
/* As weft_saved_read(). */
int weft_keeper_load(struct weft_keeper *k, struct weft_diag *diag, int64_t *ret_saved_ms,
		     struct weft_snapshot **ret);
/* {path, writes, failures, error}: error of the last load or write, or null. */
json_t *weft_keeper_json(struct weft_keeper *k);
