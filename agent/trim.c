// SPDX-License-Identifier: Apache-2.0
#include "agent/trim.h"

#include <malloc.h>
#include <stdio.h>
#include <unistd.h>

/* Below this, or an eighth of what there was, looking at the whole heap costs more than it gives.
 */
#define GROWTH_MIN (8u << 20)
#define GROWTH_PART 8u

/* Anonymous memory in use; 0: unknown. */
static size_t own_bytes(void)
{
	unsigned long all, resident, shared;
	FILE *f = fopen("/proc/self/statm", "re");
	int n = f ? fscanf(f, "%lu %lu %lu", &all, &resident, &shared) : 0;

	if (f)
		fclose(f);
	return n == 3 && resident > shared ? (resident - shared) * (size_t)sysconf(_SC_PAGESIZE)
					   : 0;
}

bool weft_trim_tick(struct weft_trim *t, uint64_t publishes)
{
	bool quiet = publishes == t->publishes;
	size_t part = t->low / GROWTH_PART, now;

	t->publishes = publishes;
	if (!quiet)
		return false;
	now = own_bytes();
	if (now < t->low)
		t->low = now;
	if (now <= t->low + (part > GROWTH_MIN ? part : GROWTH_MIN))
		return false;
	malloc_trim(0);
	t->low = own_bytes();
	return true;
}
