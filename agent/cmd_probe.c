// SPDX-License-Identifier: Apache-2.0
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "agent/cleanup.h"
#include "agent/cmd_admin.h"
#include "agent/json_out.h"
#include "agent/kernel/kernel.h"
#include "agent/log.h"

static const char *const columns[] = {"feature", "available", "reason", "without", NULL};

int weft_cmd_probe(const struct weft_args *args)
{
	_auto_json_ json_t *answer = NULL;
	struct utsname kernel = {0};
	json_t *features;

	if (geteuid() != 0)
		return weft_out_error(args->json, WEFT_EXIT_FAILED, NULL,
				      "probe must be run as root");
	/* Their complaints about trial loads are the reasons below, not messages. */
	weft_log_adopt_libraries();
	features = weft_kernel_probe(NULL);
	if (!features)
		return weft_out_error(args->json, WEFT_EXIT_FAILED, NULL, "out of memory");
	uname(&kernel);
	answer = json_pack("{s:s, s:s, s:o}", "kernel", kernel.release, "machine", kernel.machine,
			   "features", features);
	if (args->json) {
		weft_out_json(answer);
	} else {
		printf("kernel %s %s\n", kernel.release, kernel.machine);
		weft_out_table(features, columns);
	}
	return WEFT_EXIT_OK;
}
