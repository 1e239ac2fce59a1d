// SPDX-License-Identifier: Apache-2.0
#include "agent/offline.h"

#include <string.h>
#include <time.h>

#include "bpf/abi/limits.h"
#include "xds/file.h"

int weft_offline_open(const char *path, uint32_t image_size, bool publish, struct weft_diag *diag,
		      struct weft_offline *o)
{
	struct weft_view_input input = {0};
	struct timespec ts;
	int r;

	memset(o, 0, sizeof(*o));
	clock_gettime(CLOCK_REALTIME, &ts);
	r = weft_file_load(path, (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000, diag,
			   &o->snapshot);
	if (r == 0)
		r = weft_store_new_heap(image_size, WEFT_STATE_SIZE_DEFAULT, &o->store);
	if (r == 0)
		r = weft_compiler_new(o->store, &o->compiler);
	if (r < 0)
		return r;
	input.snapshot = o->snapshot;
	if (publish)
		return weft_compiler_publish(o->compiler, &input, 1, diag);
	return weft_compiler_check(o->compiler, o->snapshot, diag);
}

void weft_offline_close(struct weft_offline *o)
{
	weft_compiler_free(o->compiler);
	weft_store_free(o->store);
	weft_snapshot_free(o->snapshot);
}
