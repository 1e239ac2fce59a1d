/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A configuration compiled on memory of our own: what `check` and `explain` need no daemon for. */

#include "agent/compile/compile.h"

struct weft_offline {
	struct weft_snapshot *snapshot;
	struct weft_store *store;
	struct weft_compiler *compiler;
};

/*
 * Reads PATH and compiles it; with publish it is in force as view 0 for the engine. -errno with
 * causes in diag; what was made is in *o all the same and goes with weft_offline_close().
 */
int weft_offline_open(const char *path, uint32_t image_size, bool publish, struct weft_diag *diag,
		      struct weft_offline *o);
void weft_offline_close(struct weft_offline *o);
