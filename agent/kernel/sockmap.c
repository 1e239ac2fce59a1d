// SPDX-License-Identifier: Apache-2.0
/* The running kernel's standing towards the published defects of sockmap (about 60 CVEs since 2021). */

#include <stdio.h>

#include "agent/kernel/probe.h"

/* First release of each maintained series with every TCP-relevant fix, ascending. */
static const struct {
	unsigned int major, minor, patch;
} fixed[] = {{6, 6, 148}, {6, 12, 101}, {6, 18, 42}, {7, 1, 6}};

bool weft_sockmap_fixed(const char *release, char *reason, size_t size)
{
	unsigned int major, minor, patch = 0;
	size_t n = sizeof(fixed) / sizeof(fixed[0]);

	if (sscanf(release, "%u.%u.%u", &major, &minor, &patch) < 2) {
		snprintf(reason, size, "%s: not a release number", release);
		return false;
	}
	if (major > fixed[n - 1].major ||
	    (major == fixed[n - 1].major && minor > fixed[n - 1].minor)) {
		snprintf(reason, size, "%s is newer than every known fix", release);
		return true;
	}
	for (size_t i = 0; i < n; i++) {
		if (major != fixed[i].major || minor != fixed[i].minor)
			continue;
		snprintf(reason, size, "%s: every known TCP-relevant fix is in %u.%u.%u and later",
			 release, major, minor, fixed[i].patch);
		return patch >= fixed[i].patch;
	}
	if (major < 6 || (major == 6 && minor <= 1))
		snprintf(reason, size,
			 "%s: some fixes never reached this series (kTLS with sk_skb among them)",
			 release);
	else
		snprintf(reason, size, "%s: a series without upstream fixes", release);
	return false;
}
