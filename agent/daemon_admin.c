// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <string.h>

#include "agent/cleanup.h"
#include "agent/daemon.h"
#include "agent/explain.h"
#include "agent/json_out.h"
#include "agent/log.h"

static const char *text_of(const json_t *request, const char *key)
{
	return json_string_value(json_object_get(request, key));
}

static json_t *refused(const struct weft_diag *diag, int err)
{
	/* One cause is the message; several are listed. */
	if (diag->n == 1)
		return weft_json_error(WEFT_EXIT_FAILED, NULL, "%s%s%s: %s",
				       diag->entries[0].resource,
				       diag->entries[0].field[0] ? " " : "", diag->entries[0].field,
				       diag->entries[0].reason);
	return weft_json_error(WEFT_EXIT_FAILED, diag, "%s", strerror(-err));
}

static int labels_check(const json_t *labels, struct weft_diag *diag)
{
	const char *key;
	json_t *value;

	if (!labels)
		return 0;
	if (!json_is_object(labels))
		return weft_diag_add(diag, -EINVAL, "pod", "labels", "not an object");
	json_object_foreach((json_t *)(uintptr_t)labels, key, value)
	{
		if (!json_is_string(value) || strlen(key) > WEFT_POD_NAME_MAX ||
		    json_string_length(value) > WEFT_POD_NAME_MAX)
			return weft_diag_add(diag, -EINVAL, "pod", "labels",
					     "key and value must be text of at most %d bytes",
					     WEFT_POD_NAME_MAX);
	}
	return 0;
}

static int addresses_take(const json_t *list, struct weft_pod_spec *spec, struct weft_diag *diag)
{
	const json_t *item;
	size_t i;

	json_array_foreach(list, i, item)
	{
		const char *text = json_string_value(item);
		struct weft_addr addr, *to;

		if (!text || weft_addr_parse(text, &addr) < 0)
			return weft_diag_add(diag, -EINVAL, "pod", "address", "%s is no IP address",
					     text ? text : "?");
		to = weft_addr_is_v4(&addr) ? &spec->addr4 : &spec->addr6;
		if (!weft_addr_is_zero(to))
			return weft_diag_add(diag, -EINVAL, "pod", "address",
					     "more than one of a family");
		*to = addr;
	}
	return 0;
}

/* Which view it is to have. */
static int pod_view(struct weft_daemon *d, struct weft_pod_spec *spec, struct weft_diag *diag)
{
	const struct weft_identity id = {spec->ns, spec->service_account, spec->labels};
	int r;

	spec->view = WEFT_VIEW_DEFAULT;
	if (!d->streams) {
		spec->held = weft_health_has(d->health, spec->view);
		return 0;
	}
	r = weft_streams_view(d->streams, &id, spec->name, diag, &spec->view);
	spec->held = !weft_daemon_complete(d, spec->view) ||
		     weft_health_has(d->health, spec->view);
	return r;
}

/* Enrolled: its addresses are known, which its stream says. Without a stream it cannot be. */
static int pod_join(struct weft_daemon *d, const struct weft_pod_info *info, struct weft_diag *diag)
{
	const struct weft_stream_pod pod = {info->id, info->name, info->addr4, info->addr6};
	int r = d->streams ? weft_streams_join(d->streams, info->view, &pod, diag) : 0;

	if (r < 0)
		weft_pods_remove(d->pods, info->ns, info->name, 0, weft_daemon_now_ms());
	return r;
}

static int pod_add(struct weft_daemon *d, const json_t *request, int fd[WEFT_ADMIN_FDS_MAX],
		   struct weft_diag *diag, json_t **ret)
{
	struct weft_pod_spec spec = {
		.name = text_of(request, "name"),
		.ns = text_of(request, "namespace"),
		.service_account = text_of(request, "service_account"),
		.labels = json_object_get(request, "labels"),
		.netns = text_of(request, "netns"),
		.pid = json_integer_value(json_object_get(request, "pid")),
		.netns_fd = fd[0],
		.pid_fd = fd[1],
	};
	struct weft_pod_info info;
	_auto_free_ char *full = NULL;
	uint32_t id;
	int r;

	if (!d->kernel)
		return weft_diag_add(diag, -ENOTSUP, "pod", "", "the agent runs with --no-kernel");
	if (!spec.name || !spec.ns || !spec.service_account || fd[0] < 0)
		return weft_diag_add(
			diag, -EINVAL, "pod", "",
			"name, namespace, service_account and a descriptor are needed");
	r = labels_check(spec.labels, diag);
	if (r == 0)
		r = addresses_take(json_object_get(request, "addresses"), &spec, diag);
	if (r == 0)
		r = pod_view(d, &spec, diag);
	if (r == 0)
		r = weft_pods_add(d->pods, &spec, diag, &id);
	if (r < 0)
		return r;
	fd[0] = fd[1] = -1;
	WEFT_LOG(WEFT_LOG_INFO, "pod enrolled", WEFT_KV_U("id", id), WEFT_KV_S("name", spec.name),
		 WEFT_KV_S("namespace", spec.ns));
	if (asprintf(&full, "%s/%s", spec.ns, spec.name) < 0)
		return -ENOMEM;
	r = weft_pods_find(d->pods, full, &info);
	if (r == 0)
		r = pod_join(d, &info, diag);
	*ret = r == 0 ? weft_pod_json(&info) : NULL;
	return r;
}

static int pod_remove(struct weft_daemon *d, const json_t *request, struct weft_diag *diag,
		      json_t **ret)
{
	const char *name = text_of(request, "name"), *ns = text_of(request, "namespace");
	json_int_t drain = json_integer_value(json_object_get(request, "drain_ms"));
	int r;

	if (!name || !ns || drain < 0 || drain > 600000)
		return weft_diag_add(diag, -EINVAL, "pod", "",
				     "name, namespace and drain_ms of at most 600000 are needed");
	r = weft_pods_remove(d->pods, ns, name, (uint32_t)drain, weft_daemon_now_ms());
	if (r < 0)
		return weft_diag_add(diag, r, "pod", "name", "%s/%s is not enrolled", ns, name);
	WEFT_LOG(WEFT_LOG_INFO, "pod removed", WEFT_KV_S("name", name), WEFT_KV_S("namespace", ns));
	*ret = json_pack("{s:s, s:s}", "name", name, "namespace", ns);
	return 0;
}

static int explain(struct weft_daemon *d, const json_t *request, struct weft_diag *diag,
		   json_t **ret)
{
	const json_t *list = json_object_get(request, "headers");
	size_t n = json_array_size(list);
	_auto_free_ const char **headers = calloc(n + 1, sizeof(*headers));
	const char *pod = text_of(request, "pod"), *source = text_of(request, "source");
	struct weft_explain_query q = {
		.listener = text_of(request, "listener"),
		.method = text_of(request, "method"),
		.path = text_of(request, "path"),
		.host = text_of(request, "host"),
		.server_name = text_of(request, "server_name"),
		.headers = headers,
	};
	struct weft_pod_info info;
	int r;

	if (!headers)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		headers[i] = json_string_value(json_array_get(list, i));
	if (!pod || !q.method || !q.path)
		return weft_diag_add(diag, -EINVAL, "explain", "",
				     "pod, method and path are needed");
	r = weft_pods_find(d->pods, pod, &info);
	if (r < 0)
		return weft_diag_add(diag, r, "explain", "pod",
				     r == -ENOTUNIQ
					     ? "%s is in several namespaces, say NAMESPACE/NAME"
					     : "%s is not enrolled",
				     pod);
	q.pod = info.id;
	q.view = info.view;
	q.source = weft_addr_is_zero(&info.addr4) ? info.addr6 : info.addr4;
	if (source && weft_addr_parse(source, &q.source) < 0)
		return weft_diag_add(diag, -EINVAL, "explain", "source", "%s is no IP address",
				     source);
	return weft_explain(&q, diag, ret);
}

static void pod_append(void *ctx, const struct weft_pod_info *pod)
{
	json_array_append_new(ctx, weft_pod_json(pod));
}

static int dump(struct weft_daemon *d, const json_t *request, struct weft_diag *diag, json_t **ret)
{
	const char *what = text_of(request, "what");

	*ret = weft_dump(d, what ? what : "summary");
	if (!*ret)
		return weft_diag_add(diag, -EINVAL, "dump", "", "%s cannot be shown", what);
	return 0;
}

json_t *weft_daemon_answer(void *ctx, const json_t *request, int fd[WEFT_ADMIN_FDS_MAX])
{
	struct weft_daemon *d = ctx;
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;
	const char *command = text_of(request, "command");
	json_t *answer = NULL;
	int r = 0;

	if (!d->ready)
		return weft_json_error(WEFT_EXIT_UNREACHABLE, NULL, "the agent is starting");
	if (strcmp(command, "pod_add") == 0) {
		r = pod_add(d, request, fd, &diag, &answer);
	} else if (strcmp(command, "pod_remove") == 0) {
		r = pod_remove(d, request, &diag, &answer);
	} else if (strcmp(command, "pod_list") == 0) {
		answer = json_array();
		weft_pods_each(d->pods, pod_append, answer);
	} else if (strcmp(command, "explain") == 0) {
		r = explain(d, request, &diag, &answer);
	} else if (strcmp(command, "dump") == 0) {
		r = dump(d, request, &diag, &answer);
	} else {
		return weft_json_error(WEFT_EXIT_FAILED, NULL, "unknown command %s", command);
	}
	return r < 0 ? refused(&diag, r) : answer;
}
