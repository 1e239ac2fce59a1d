// SPDX-License-Identifier: Apache-2.0
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "agent/cgroup.h"
#include "agent/cleanup.h"
#include "agent/cmd_admin.h"
#include "agent/json_out.h"
#include "agent/kernel/kernel.h"
#include "agent/log.h"

static const char *const columns[] = {"feature", "available", "reason", "without", NULL};

int weft_cmd_probe(const struct weft_args *args)
{
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;
	_auto_free_ char *cgroup = NULL;
	_auto_json_ json_t *answer = NULL;
	struct utsname kernel = {0};
	json_t *features;

	if (geteuid() != 0)
		return weft_out_error(args->json, WEFT_EXIT_FAILED, NULL,
				      "probe must be run as root");
	/* Their complaints about trial loads are the reasons below, not messages. */
	weft_log_adopt_libraries();
	if (weft_cgroup_find(weft_args_string(args, "cgroup"), &diag, &cgroup) < 0)
		return weft_out_error(args->json, WEFT_EXIT_FAILED, NULL, "cgroup %s: %s",
				      diag.entries[0].field, diag.entries[0].reason);
	features = weft_kernel_probe(cgroup);
	if (!features)
		return weft_out_error(args->json, WEFT_EXIT_FAILED, NULL, "out of memory");
	uname(&kernel);
	answer = json_pack("{s:s, s:s, s:s, s:o}", "kernel", kernel.release, "machine",
			   kernel.machine, "cgroup", cgroup, "features", features);
	if (args->json) {
		weft_out_json(answer);
	} else {
		printf("kernel %s %s, cgroup %s\n", kernel.release, kernel.machine, cgroup);
		weft_out_table(features, columns);
	}
	return WEFT_EXIT_OK;
}
