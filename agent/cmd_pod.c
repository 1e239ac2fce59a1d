// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>

#include "agent/cleanup.h"
#include "agent/cmd_admin.h"
#include "agent/json_out.h"
#include "agent/options.h"
#include "xds/clock.h"

#define POLL_MS 50

static const char *const pod_columns[] = {"id",	   "namespace", "name",	      "service_account",
					  "phase", "view",	"configured", "ipv4",
					  "ipv6",  "netns",	NULL};

static int labels_add(const struct weft_args *args, json_t *request)
{
	json_t *labels = json_object();
	const char *text;

	json_object_set_new(request, "labels", labels);
	for (size_t i = 0; (text = weft_args_list(args, "label", i)); i++) {
		const char *equal = strchr(text, '=');
		_auto_free_ char *key = equal ? strndup(text, (size_t)(equal - text)) : NULL;

		if (!key || !*key)
			return weft_out_error(args->json, WEFT_EXIT_USAGE, NULL,
					      "pod add: --label %s is not KEY=VALUE", text);
		json_object_set_new(labels, key, weft_json_bytes(equal + 1, strlen(equal + 1)));
	}
	return WEFT_EXIT_OK;
}

/*
 * The caller opens the namespace: the daemon needs no access to other processes or paths, and both
 * mean the same one whatever their mount and pid namespaces are.
 */
static int netns_open(const struct weft_args *args, json_t *request, int fds[2], size_t *ret_n)
{
	const char *path = weft_args_string(args, "netns");
	uint64_t pid = weft_args_number(args, "pid");
	char by_pid[64];

	if (!path == !pid)
		return weft_out_error(args->json, WEFT_EXIT_USAGE, NULL,
				      "pod add: one of --netns and --pid is required");
	if (pid) {
		fds[1] = (int)syscall(SYS_pidfd_open, (pid_t)pid, 0);
		if (fds[1] < 0)
			return weft_out_error(args->json, WEFT_EXIT_FAILED, NULL,
					      "process %llu: %s", (unsigned long long)pid,
					      strerror(errno));
		snprintf(by_pid, sizeof(by_pid), "/proc/%llu/ns/net", (unsigned long long)pid);
		json_object_set_new(request, "pid", json_integer((json_int_t)pid));
	} else {
		json_object_set_new(request, "netns", weft_json_bytes(path, strlen(path)));
	}
	fds[0] = open(pid ? by_pid : path, O_RDONLY | O_CLOEXEC);
	if (fds[0] < 0)
		return weft_out_error(args->json, WEFT_EXIT_FAILED, NULL, "%s: %s",
				      pid ? by_pid : path, strerror(errno));
	*ret_n = pid ? 2 : 1;
	return WEFT_EXIT_OK;
}

/* Of the pod by its id, from the list. */
static bool is_configured(const json_t *list, json_int_t id)
{
	const json_t *pod;
	size_t i;

	json_array_foreach(list, i, pod)
	{
		if (json_integer_value(json_object_get(pod, "id")) == id)
			return json_is_true(json_object_get(pod, "configured"));
	}
	return false;
}

/* Until the control plane has served the pod: whoever starts its app then need not wait there. */
static int configured_wait(const struct weft_args *args, json_t *pod)
{
	uint64_t seconds = weft_args_number(args, "wait");
	int64_t end = weft_clock_ms(CLOCK_MONOTONIC) + (int64_t)seconds * 1000;
	json_int_t id = json_integer_value(json_object_get(pod, "id"));

	while (seconds && !json_is_true(json_object_get(pod, "configured"))) {
		_auto_json_ json_t *request = json_pack("{s:s}", "command", "pod_list"),
				   *answer = NULL;
		int r;

		if (weft_clock_ms(CLOCK_MONOTONIC) >= end)
			return weft_out_error(args->json, WEFT_EXIT_FAILED, NULL,
					      "pod %s/%s is enrolled, but has no configuration yet",
					      weft_args_string(args, "namespace"),
					      weft_args_string(args, "name"));
		poll(NULL, 0, POLL_MS);
		r = weft_cmd_ask(args, request, NULL, 0, &answer);
		if (r != WEFT_EXIT_OK)
			return r;
		if (is_configured(answer, id))
			json_object_set_new(pod, "configured", json_true());
	}
	return WEFT_EXIT_OK;
}

static json_t *request_new(const struct weft_args *args, const char *command)
{
	return json_pack("{s:s, s:s, s:s}", "command", command, "name",
			 weft_args_string(args, "name"), "namespace",
			 weft_args_string(args, "namespace"));
}

int weft_cmd_pod_add(const struct weft_args *args)
{
	_auto_json_ json_t *request = request_new(args, "pod_add"), *answer = NULL;
	json_t *addresses = json_array();
	int fds[2] = {-1, -1}, r;
	const char *text;
	size_t n = 0;

	if (!request)
		return weft_out_error(args->json, WEFT_EXIT_USAGE, NULL,
				      "pod add: a name is not UTF-8");
	json_object_set_new(request, "addresses", addresses);
	json_object_set_new(request, "service_account",
			    json_string(weft_args_string(args, "service-account")));
	for (size_t i = 0; (text = weft_args_list(args, "address", i)); i++)
		json_array_append_new(addresses, json_string(text));
	r = labels_add(args, request);
	if (r == WEFT_EXIT_OK)
		r = netns_open(args, request, fds, &n);
	if (r == WEFT_EXIT_OK)
		r = weft_cmd_ask(args, request, fds, n, &answer);
	for (size_t i = 0; i < 2; i++) {
		if (fds[i] >= 0)
			close(fds[i]);
	}
	if (r == WEFT_EXIT_OK)
		r = configured_wait(args, answer);
	if (r != WEFT_EXIT_OK)
		return r;
	if (args->json)
		weft_out_json(answer);
	else
		printf("pod %s/%s enrolled as %lld\n", weft_args_string(args, "namespace"),
		       weft_args_string(args, "name"),
		       (long long)json_integer_value(json_object_get(answer, "id")));
	return WEFT_EXIT_OK;
}

int weft_cmd_pod_remove(const struct weft_args *args)
{
	_auto_json_ json_t *request = request_new(args, "pod_remove"), *answer = NULL;
	int r;

	if (!request)
		return weft_out_error(args->json, WEFT_EXIT_USAGE, NULL,
				      "pod remove: a name is not UTF-8");
	json_object_set_new(request, "drain_ms",
			    json_integer((json_int_t)weft_args_number(args, "drain")));
	r = weft_cmd_ask(args, request, NULL, 0, &answer);
	if (r == WEFT_EXIT_OK && args->json)
		weft_out_json(answer);
	return r;
}

int weft_cmd_pod_list(const struct weft_args *args)
{
	_auto_json_ json_t *request = json_pack("{s:s}", "command", "pod_list"), *answer = NULL;
	int r = weft_cmd_ask(args, request, NULL, 0, &answer);

	if (r != WEFT_EXIT_OK)
		return r;
	if (args->json)
		weft_out_json(answer);
	else
		weft_out_table(answer, pod_columns);
	return WEFT_EXIT_OK;
}
