// SPDX-License-Identifier: Apache-2.0
/* State ids of what a view has, for who knows its hosts by name. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "agent/compile/build.h"
#include "agent/compile/view.h"

int weft_compiler_endpoint_id(struct weft_compiler *c, const char *cluster, const char *address,
			      uint32_t port, uint32_t *ret)
{
	char *key;
	int r;

	/* as weft_build_state() makes it */
	if (asprintf(&key, "%016llx %s %s:%u", 0ull, cluster, address, port) < 0)
		return -ENOMEM;
	r = weft_names_get(c->states, key, (uint32_t)WEFT_CELL_ENDPOINT << WEFT_ID_KIND_SHIFT, ret);
	free(key);
	return r;
}

int weft_compiler_cluster_id(struct weft_compiler *c, const struct weft_resource *res,
			     uint32_t *ret)
{
	char *key;
	int r;

	if (asprintf(&key, "%016llx %s", (unsigned long long)res->hash, res->name) < 0)
		return -ENOMEM;
	r = weft_names_get(c->states, key, (uint32_t)WEFT_CELL_CLUSTER << WEFT_ID_KIND_SHIFT, ret);
	free(key);
	return r;
}
