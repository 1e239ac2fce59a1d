// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "agent/cleanup.h"
#include "agent/json_out.h"
#include "agent/offline.h"
#include "agent/options.h"

/* The causes are the output: standard output holds nothing else. */
static int refused(bool json, const struct weft_diag *diag, int err)
{
	if (json || diag->n == 0)
		return weft_out_error(json, WEFT_EXIT_FAILED, diag, "%s",
				      diag->n > 0 ? "the configuration is refused"
						  : strerror(-err));
	for (size_t i = 0; i < diag->n; i++)
		printf("%s: %s: %s\n", diag->entries[i].resource, diag->entries[i].field,
		       diag->entries[i].reason);
	return WEFT_EXIT_FAILED;
}

static void accepted(bool json, const struct weft_offline *o)
{
	static const char *const keys[WEFT_XDS__MAX] = {"clusters", "endpoints", "listeners",
							"routes"};
	const struct weft_diag *notes = weft_compiler_not_applied(o->compiler);
	_auto_json_ json_t *j = json_object();
	json_t *counts = json_object();

	json_object_set_new(j, "accepted", json_true());
	json_object_set_new(j, "resources", counts);
	for (int t = 0; t < WEFT_XDS__MAX; t++) {
		size_t n = weft_snapshot_count(o->snapshot, (enum weft_xds_type)t);

		json_object_set_new(counts, keys[t], json_integer((json_int_t)n));
		if (!json)
			printf("%s%s %zu", t ? ", " : "accepted: ", keys[t], n);
	}
	json_object_set_new(j, "not_applied", notes ? weft_json_diag(notes) : json_array());
	if (json) {
		weft_out_json(j);
		return;
	}
	putchar('\n');
	for (size_t i = 0; notes && i < notes->n; i++)
		printf("not applied: %s: %s: %s\n", notes->entries[i].resource,
		       notes->entries[i].field, notes->entries[i].reason);
}

int weft_cmd_check(const struct weft_args *args)
{
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;
	uint64_t image = weft_args_number(args, "image-size");
	struct weft_offline o;
	int r;

	if (image & (image - 1))
		return weft_out_error(args->json, WEFT_EXIT_USAGE, NULL,
				      "check: --image-size is not a power of two");
	r = weft_offline_open(weft_args_operand(args, 0), (uint32_t)image, false, &diag, &o);
	if (r == 0)
		accepted(args->json, &o);
	else
		r = refused(args->json, &diag, r);
	weft_offline_close(&o);
	return r;
}
