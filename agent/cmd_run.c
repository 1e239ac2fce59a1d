// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "agent/daemon.h"
#include "agent/json_out.h"
#include "agent/log.h"
#include "agent/options.h"

/* One line: what failed, where, why. */
static int failed(bool json, const struct weft_diag *diag, int err)
{
	if (diag->n == 1)
		return weft_out_error(json, WEFT_EXIT_FAILED, NULL, "%s%s%s: %s",
				      diag->entries[0].resource,
				      diag->entries[0].field[0] ? " " : "", diag->entries[0].field,
				      diag->entries[0].reason);
	return weft_out_error(json, WEFT_EXIT_FAILED, diag, "cannot run: %s",
			      diag->n > 0 ? "the configuration is refused" : strerror(-err));
}

int weft_cmd_run(const struct weft_args *args)
{
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;
	uint64_t image = weft_args_number(args, "image-size");
	enum weft_log_level level = weft_log_level_from_name(weft_args_string(args, "log-level"));
	const struct weft_daemon_config cfg = {
		.config = weft_args_string(args, "config"),
		.xds = weft_args_string(args, "xds"),
		.cgroup = weft_args_string(args, "cgroup"),
		.admin = weft_args_string(args, "admin"),
		.node_id = weft_args_string(args, "node-id"),
		.node_cluster = weft_args_string(args, "node-cluster"),
		.node_metadata = weft_args_string(args, "node-metadata"),
		.image_size = (uint32_t)image,
		.pod_files = (uint32_t)weft_args_number(args, "pod-files"),
		.pod_connections = (uint32_t)weft_args_number(args, "pod-connections"),
		.workers = (unsigned int)weft_args_number(args, "workers"),
		.no_kernel = weft_args_flag(args, "no-kernel"),
	};
	int r;

	if (!cfg.config && !cfg.xds)
		return weft_out_error(args->json, WEFT_EXIT_USAGE, NULL,
				      "run: --config or --xds is required");
	if (image & (image - 1))
		return weft_out_error(args->json, WEFT_EXIT_USAGE, NULL,
				      "run: --image-size is not a power of two");
	if (level == WEFT_LOG__MAX)
		return weft_out_error(args->json, WEFT_EXIT_USAGE, NULL,
				      "run: --log-level is none of error, warn, info, debug");
	weft_log_set_level(level);
	weft_log_adopt_libraries();
	r = weft_daemon_run(&cfg, &diag);
	return r < 0 ? failed(args->json, &diag, r) : WEFT_EXIT_OK;
}

int weft_cmd_version(const struct weft_args *args)
{
	if (args->json) {
		json_t *j =
			json_pack("{s:s, s:i}", "version", WEFT_VERSION, "abi", WEFT_ABI_VERSION);

		weft_out_json(j);
		json_decref(j);
	} else {
		printf("weft-agent %s\n", WEFT_VERSION);
	}
	return WEFT_EXIT_OK;
}
