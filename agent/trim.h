/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Memory that large updates needed for a while goes back to the system: the allocator keeps it, in
 * pieces between what stays, and each stream's thread has pieces of its own. Main thread.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Zero at first. */
struct weft_trim {
	size_t low;	    /* bytes of the process's own in memory, after the last time */
	uint64_t publishes; /* as of the last tick */
};

/*
 * Called each second with the number of publishes so far. When there was none since the last call
 * and the process has grown by a good part since memory was last given back, it is given back:
 * growth that stays is looked at once. True: it was.
 */
bool weft_trim_tick(struct weft_trim *t, uint64_t publishes);
