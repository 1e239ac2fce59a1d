// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "agent/cleanup.h"
#include "agent/cmd_admin.h"
#include "agent/enroll/pod.h"
#include "agent/explain.h"
#include "agent/json_out.h"
#include "agent/offline.h"
#include "agent/options.h"

/* The head as the endpoint would get it. */
static void upstream_print(const json_t *request)
{
	const json_t *item;
	size_t i;

	if (!request)
		return;
	printf("upstream: %s %s\n", json_string_value(json_object_get(request, "method")),
	       json_string_value(json_object_get(request, "path")));
	json_array_foreach(json_object_get(request, "headers"), i, item)
		printf("upstream: %s: %s\n", json_string_value(json_array_get(item, 0)),
		       json_string_value(json_array_get(item, 1)));
}

static void lines_print(const json_t *answer)
{
	static const char *const first[] = {
		"action",	"status",  "listener",	 "chain",
		"virtual_host", "route",   "cluster",	 "weighted_clusters",
		"location",	"details", "timeout_ms", NULL};
	const json_t *item;
	size_t i;

	for (size_t k = 0; first[k]; k++) {
		const json_t *value = json_object_get(answer, first[k]);
		_auto_free_ char *text = NULL;

		if (!value)
			continue;
		if (json_is_string(value)) {
			printf("%s: %s\n", first[k], json_string_value(value));
			continue;
		}
		text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
		printf("%s: %s\n", first[k], text ? text : "?");
	}
	json_array_foreach(json_object_get(answer, "headers"), i, item)
		printf("header: %s: %s\n", json_string_value(json_array_get(item, 0)),
		       json_string_value(json_array_get(item, 1)));
	if (json_string_length(json_object_get(answer, "body")) > 0)
		printf("body: %s\n", json_string_value(json_object_get(answer, "body")));
	upstream_print(json_object_get(answer, "upstream_request"));
	printf("steps:\n");
	json_array_foreach(json_object_get(answer, "steps"), i, item)
		printf("  %s: %s\n", json_string_value(json_object_get(item, "step")),
		       json_string_value(json_object_get(item, "text")));
}

static int from_config(const struct weft_args *args, struct weft_explain_query *q, json_t **ret)
{
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;
	uint64_t image = weft_args_number(args, "image-size");
	const char *source = weft_args_string(args, "source");
	struct weft_offline o;
	int r;

	if (image & (image - 1))
		return weft_out_error(args->json, WEFT_EXIT_USAGE, NULL,
				      "explain: --image-size is not a power of two");
	if (source && weft_addr_parse(source, &q->source) < 0)
		return weft_out_error(args->json, WEFT_EXIT_USAGE, NULL,
				      "explain: --source %s is no IP address", source);
	r = weft_offline_open(weft_args_string(args, "config"), (uint32_t)image, true, &diag, &o);
	if (r < 0) {
		r = weft_out_error(args->json, WEFT_EXIT_FAILED, &diag, "%s",
				   diag.n > 0 ? "the configuration is refused" : strerror(-r));
	} else {
		r = weft_explain(q, &diag, ret);
		if (r < 0 && diag.n > 0)
			r = weft_out_error(args->json, WEFT_EXIT_FAILED, NULL, "explain %s: %s",
					   diag.entries[0].field, diag.entries[0].reason);
		else if (r < 0)
			r = weft_out_error(args->json, WEFT_EXIT_FAILED, NULL, "explain: %s",
					   strerror(-r));
	}
	weft_offline_close(&o);
	return r;
}

static int from_daemon(const struct weft_args *args, const struct weft_explain_query *q,
		       json_t **ret)
{
	_auto_json_ json_t *request =
		json_pack("{s:s, s:s, s:s?, s:s, s:s, s:s?, s:s?, s:s?}", "command", "explain",
			  "pod", weft_args_string(args, "pod"), "listener", q->listener, "method",
			  q->method, "path", q->path, "host", q->host, "source",
			  weft_args_string(args, "source"), "server_name", q->server_name);
	json_t *headers = json_array();

	if (!request)
		return weft_out_error(args->json, WEFT_EXIT_USAGE, NULL, "explain: not UTF-8");
	for (size_t i = 0; q->headers[i]; i++)
		json_array_append_new(headers, json_string(q->headers[i]));
	json_object_set_new(request, "headers", headers);
	return weft_cmd_ask(args, request, NULL, 0, ret);
}

int weft_cmd_explain(const struct weft_args *args)
{
	const char *headers[WEFT_ARGS_MAX + 1] = {NULL};
	struct weft_explain_query q = {
		.listener = weft_args_string(args, "listener"),
		.method = weft_args_string(args, "method"),
		.path = weft_args_string(args, "path"),
		.host = weft_args_string(args, "host"),
		.server_name = weft_args_string(args, "server-name"),
		.headers = headers,
	};
	_auto_json_ json_t *answer = NULL;
	int r;

	for (size_t i = 0; i < WEFT_ARGS_MAX; i++)
		headers[i] = weft_args_list(args, "header", i);
	if (!weft_args_string(args, "config") == !weft_args_string(args, "pod"))
		return weft_out_error(args->json, WEFT_EXIT_USAGE, NULL,
				      "explain: one of --config and --pod is required");
	r = weft_args_string(args, "config") ? from_config(args, &q, &answer)
					     : from_daemon(args, &q, &answer);
	if (r != WEFT_EXIT_OK)
		return r;
	if (args->json)
		weft_out_json(answer);
	else
		lines_print(answer);
	return WEFT_EXIT_OK;
}
