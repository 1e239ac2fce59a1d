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

/* Options that say nothing without another one are mistakes, and better seen now. */
static const char *xds_misuse(const struct weft_args *args)
{
	static const char *const of_xds[] = {"xds-ca", "xds-token-file", "xds-cluster-id",
					     "xds-cache"};
	const char *views = weft_args_string(args, "xds-views");
	static const char *const of_ca[] = {"xds-sni", "xds-crl", "xds-cert", "xds-key"};
	bool ca = weft_args_string(args, "xds-ca"), xds = weft_args_list(args, "xds", 0);
	bool token = weft_args_string(args, "xds-token-file");
	bool sotw = weft_args_flag(args, "xds-sotw") || weft_args_flag(args, "xds-separate");
	bool plaintext = weft_args_flag(args, "xds-token-plaintext");

	for (size_t i = 0; !xds && i < sizeof(of_xds) / sizeof(of_xds[0]); i++) {
		if (weft_args_string(args, of_xds[i]))
			return "--xds-ca, --xds-token-file, --xds-cluster-id and --xds-cache need "
			       "--xds";
	}
	if (!xds && sotw)
		return "--xds-sotw and --xds-separate need --xds";
	if (strcmp(views, "auto") != 0 && strcmp(views, "node") != 0 && strcmp(views, "pod") != 0)
		return "--xds-views is auto, node or pod";
	for (size_t i = 0; !ca && i < sizeof(of_ca) / sizeof(of_ca[0]); i++) {
		if (weft_args_string(args, of_ca[i]))
			return "--xds-sni, --xds-san, --xds-crl, --xds-cert and --xds-key need "
			       "--xds-ca";
	}
	if (!ca && weft_args_list(args, "xds-san", 0))
		return "--xds-sni, --xds-san, --xds-crl, --xds-cert and --xds-key need --xds-ca";
	if (!weft_args_string(args, "xds-cert") != !weft_args_string(args, "xds-key"))
		return "--xds-cert and --xds-key need each other";
	if (plaintext && (!token || ca))
		return "--xds-token-plaintext is for --xds-token-file without --xds-ca";
	if (token && !ca && !plaintext)
		return "--xds-token-file needs --xds-ca: without TLS the token can be read on the "
		       "way (--xds-token-plaintext sends it all the same)";
	return NULL;
}

/* Fills `list`, which has WEFT_ARGS_MAX + 1 places, ends it with NULL, and gives their number. */
static size_t list_of(const struct weft_args *args, const char *name, const char **list)
{
	size_t n = 0;

	while ((list[n] = weft_args_list(args, name, n)))
		n++;
	return n;
}

/* The names are of `sans`, of WEFT_ARGS_MAX + 1 places. */
static const struct weft_xds_tls *xds_tls(const struct weft_args *args, const char **sans,
					  struct weft_xds_tls *tls)
{
	const char *ca = weft_args_string(args, "xds-ca");

	if (!ca)
		return NULL;
	*tls = (struct weft_xds_tls){
		.ca_file = strcmp(ca, "system") == 0 ? NULL : ca,
		.crl_file = weft_args_string(args, "xds-crl"),
		.sni = weft_args_string(args, "xds-sni"),
		.sans = sans,
		.cert_file = weft_args_string(args, "xds-cert"),
		.key_file = weft_args_string(args, "xds-key"),
	};
	tls->n_sans = list_of(args, "xds-san", sans);
	return tls;
}

/* Istio's two ports of xDS: who asks there without a word about it means Istio. */
static bool per_pod(const struct weft_args *args)
{
	static const char *const istio[] = {":15010", ":15012"};
	const char *views = weft_args_string(args, "xds-views"), *address;

	for (size_t i = 0; !strcmp(views, "auto") && (address = weft_args_list(args, "xds", i));
	     i++) {
		const char *port = strrchr(address, ':');

		for (size_t k = 0; port && k < sizeof(istio) / sizeof(istio[0]); k++) {
			if (strcmp(port, istio[k]) == 0)
				return true;
		}
	}
	return strcmp(views, "pod") == 0;
}

int weft_cmd_run(const struct weft_args *args)
{
	const char *sans[WEFT_ARGS_MAX + 1], *servers[WEFT_ARGS_MAX + 1];
	size_t n_servers = list_of(args, "xds", servers);
	struct weft_xds_tls tls;
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;
	uint64_t image = weft_args_number(args, "image-size");
	enum weft_log_level level = weft_log_level_from_name(weft_args_string(args, "log-level"));
	const struct weft_daemon_config cfg = {
		.config = weft_args_string(args, "config"),
		.xds = servers[0],
		.xds_more = servers + 1,
		.n_xds_more = n_servers ? n_servers - 1 : 0,
		.xds_sotw = weft_args_flag(args, "xds-sotw"),
		.xds_separate = weft_args_flag(args, "xds-separate"),
		.xds_per_pod = per_pod(args),
		.xds_tls = xds_tls(args, sans, &tls),
		.xds_token_file = weft_args_string(args, "xds-token-file"),
		.xds_token_plaintext = weft_args_flag(args, "xds-token-plaintext"),
		.xds_cluster_id = weft_args_string(args, "xds-cluster-id"),
		.xds_cache = weft_args_string(args, "xds-cache"),
		.xds_interval_ms = (uint32_t)weft_args_number(args, "xds-interval"),
		.cgroup = weft_args_string(args, "cgroup"),
		.admin = weft_args_string(args, "admin"),
		.admin_http = weft_args_string(args, "admin-http"),
		.csds = weft_args_string(args, "csds"),
		.node_id = weft_args_string(args, "node-id"),
		.node_cluster = weft_args_string(args, "node-cluster"),
		.node_metadata = weft_args_string(args, "node-metadata"),
		.node_domain = weft_args_string(args, "node-domain"),
		.image_size = (uint32_t)image,
		.pod_files = (uint32_t)weft_args_number(args, "pod-files"),
		.access_dir = weft_args_string(args, "access-log-dir"),
		.pod_connections = (uint32_t)weft_args_number(args, "pod-connections"),
		.workers = (unsigned int)weft_args_number(args, "workers"),
		.no_kernel = weft_args_flag(args, "no-kernel"),
	};
	const char *misuse = xds_misuse(args);
	int r;

	if (misuse)
		return weft_out_error(args->json, WEFT_EXIT_USAGE, NULL, "run: %s", misuse);
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
