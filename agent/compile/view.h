/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What publish.c and view.c share. */

#include "agent/compile/compile.h"

/*
 * Names of one kind that may wait for their numbers' release before a publish waits for it: more
 * than a configuration changes in a second, when the daemon's tick does it.
 */
#define WEFT_NAMES_WAIT_MAX 4096u

struct weft_compiler {
	struct weft_store *store;
	struct weft_names *clusters, *route_configs, *states;
	struct weft_cache *cache;
	struct weft_diag notes;	     /* of what is in force, or of the last check */
	struct weft_diag next_notes; /* while it is put together */
	uint64_t serial;	     /* of publishes and checks */
};

/* Views of pods that have one of their own: weft_img_view by pod id, n: highest id + 1, 0: none. */
struct weft_own_views {
	uint32_t n;
	uint32_t v[WEFT_PODS_MAX + 1];
};

/* weft_img_view of an input with a snapshot. 0, -EINVAL (causes in diag), -ENOSPC, -ENOMEM. In a transaction of
 * the store. */
int weft_view_build(struct weft_compiler *c, const struct weft_view_input *in,
		    struct weft_diag *diag, uint32_t *ret_off, struct weft_own_views *own);
