// SPDX-License-Identifier: Apache-2.0
/* Counters of connection managers (struct weft_http_stat) by their names. */
#include <string.h>

#include "agent/store/store_internal.h"

uint32_t weft_store_http_stat(struct weft_store *s, const char *name)
{
	struct weft_http_stat *all = ((struct weft_state_head *)s->mem.state)->http;
	size_t n = strlen(name);

	if (!n || n >= WEFT_HTTP_STAT_NAME)
		return 0;
	for (uint32_t i = 1; i < WEFT_HTTP_STATS_MAX; i++) {
		if (!strcmp(all[i].name, name))
			return i;
		if (all[i].name[0])
			continue;
		memcpy(all[i].name, name, n + 1);
		return i;
	}
	return 0;
}
