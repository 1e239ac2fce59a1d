// SPDX-License-Identifier: Apache-2.0
#include "agent/enroll/pod.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/stat.h>

#include "agent/cleanup.h"

/* Added to a pod's drain time before its id is given to another: the workers close what is left at
 * its end. */
#define DRAIN_MARGIN_MS 1000

struct pod {
	TAILQ_ENTRY(pod) link;
	struct weft_pod_info info; /* its strings and labels are owned here */
	int netns_fd, pid_fd;
	dev_t dev; /* of the namespace, to see that the path still names it */
	ino_t ino;
	int64_t free_ms; /* DRAINING: when the id is free */
};

struct weft_pods {
	struct weft_pods_ops ops;
	TAILQ_HEAD(, pod) list; /* by id */
};

int weft_pods_new(const struct weft_pods_ops *ops, struct weft_pods **ret)
{
	struct weft_pods *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	p->ops = *ops;
	TAILQ_INIT(&p->list);
	*ret = p;
	return 0;
}

static void text_free(const char *text)
{
	free((char *)(uintptr_t)text);
}

static void pod_free(struct pod *pod)
{
	text_free(pod->info.name);
	text_free(pod->info.ns);
	text_free(pod->info.service_account);
	text_free(pod->info.netns);
	json_decref((json_t *)(uintptr_t)pod->info.labels);
	if (pod->netns_fd >= 0)
		close(pod->netns_fd);
	if (pod->pid_fd >= 0)
		close(pod->pid_fd);
	free(pod);
}

static void pod_stop(struct weft_pods *p, struct pod *pod, uint32_t drain_ms, int64_t now_ms)
{
	/* Nothing new is captured before the listeners close. */
	p->ops.kernel_del(p->ops.ctx, pod->info.cookie);
	p->ops.proxy_remove(p->ops.ctx, pod->info.id, drain_ms);
	pod->info.phase = WEFT_POD_DRAINING;
	pod->free_ms = now_ms + drain_ms + DRAIN_MARGIN_MS;
	/* The namespace may end with the last of its connections, not with our descriptor. */
	close(pod->netns_fd);
	pod->netns_fd = -1;
}

void weft_pods_free(struct weft_pods *p)
{
	struct pod *pod;

	if (!p)
		return;
	while ((pod = TAILQ_FIRST(&p->list))) {
		if (pod->info.phase == WEFT_POD_ACTIVE)
			pod_stop(p, pod, 0, 0);
		TAILQ_REMOVE(&p->list, pod, link);
		pod_free(pod);
	}
	free(p);
}

static int name_check(const char *field, const char *name, struct weft_diag *diag)
{
	size_t len = strlen(name);

	if (len == 0 || len > WEFT_POD_NAME_MAX)
		return weft_diag_add(diag, -EINVAL, "pod", field, "must be 1 to %d bytes long",
				     WEFT_POD_NAME_MAX);
	if (len != strcspn(name, "/ \t\r\n"))
		return weft_diag_add(diag, -EINVAL, "pod", field, "must not hold blanks or '/'");
	return 0;
}

static int spec_check(const struct weft_pods *p, const struct weft_pod_spec *spec,
		      struct weft_diag *diag)
{
	const struct pod *pod;
	int r = name_check("name", spec->name, diag);

	if (r == 0)
		r = name_check("namespace", spec->ns, diag);
	if (r == 0)
		r = name_check("service_account", spec->service_account, diag);
	if (r < 0)
		return r;
	if (json_object_size(spec->labels) > WEFT_POD_LABELS_MAX)
		return weft_diag_add(diag, -EINVAL, "pod", "labels", "more than %d",
				     WEFT_POD_LABELS_MAX);
	TAILQ_FOREACH(pod, &p->list, link)
	{
		if (pod->info.phase == WEFT_POD_ACTIVE && strcmp(pod->info.name, spec->name) == 0 &&
		    strcmp(pod->info.ns, spec->ns) == 0)
			return weft_diag_add(diag, -EEXIST, "pod", "name",
					     "%s/%s is enrolled already", spec->ns, spec->name);
	}
	return 0;
}

static int cookie_check(const struct weft_pods *p, uint64_t cookie, struct weft_diag *diag)
{
	const struct pod *pod;

	TAILQ_FOREACH(pod, &p->list, link)
	{
		if (pod->info.phase == WEFT_POD_ACTIVE && pod->info.cookie == cookie)
			return weft_diag_add(diag, -EEXIST, "pod", "netns",
					     "this network namespace is enrolled as %s/%s",
					     pod->info.ns, pod->info.name);
	}
	return 0;
}

/* The lowest id that no pod has, drained ones included; *ret_before: where it goes. */
static int id_choose(const struct weft_pods *p, uint32_t *ret_id, struct pod **ret_before)
{
	uint32_t id = 1;
	struct pod *pod;

	TAILQ_FOREACH(pod, &p->list, link)
	{
		if (pod->info.id != id)
			break;
		id++;
	}
	/* The image of ids in programs: 0 is none, and the map has room for so many. */
	if (id > WEFT_PODS_MAX)
		return -ENOSPC;
	*ret_id = id;
	*ret_before = pod;
	return 0;
}

static int pod_new(const struct weft_pod_spec *spec, struct pod **ret)
{
	struct pod *pod = calloc(1, sizeof(*pod));

	if (!pod)
		return -ENOMEM;
	pod->netns_fd = pod->pid_fd = -1;
	pod->info.view = spec->view;
	pod->info.held = spec->held;
	pod->info.pid = spec->pid;
	pod->info.name = strdup(spec->name);
	pod->info.ns = strdup(spec->ns);
	pod->info.service_account = strdup(spec->service_account);
	pod->info.netns = spec->netns ? strdup(spec->netns) : NULL;
	pod->info.labels = spec->labels ? json_deep_copy(spec->labels) : json_object();
	if (!pod->info.name || !pod->info.ns || !pod->info.service_account || !pod->info.labels ||
	    (spec->netns && !pod->info.netns)) {
		pod_free(pod);
		return -ENOMEM;
	}
	*ret = pod;
	return 0;
}

static int pod_look(struct pod *pod, const struct weft_pod_spec *spec, struct weft_diag *diag)
{
	struct weft_netns_info found;
	struct stat st;
	int r = weft_netns_look(spec->netns_fd, &found);

	if (r < 0 || fstat(spec->netns_fd, &st) < 0) {
		r = r < 0 ? r : -errno;
		return weft_diag_add(diag, r, "pod", "netns",
				     "cannot enter the network namespace: %s", strerror(-r));
	}
	pod->dev = st.st_dev;
	pod->ino = st.st_ino;
	pod->info.cookie = found.cookie;
	pod->info.addr4 = spec->addr4;
	pod->info.addr6 = spec->addr6;
	if (weft_addr_is_zero(&spec->addr4) && weft_addr_is_zero(&spec->addr6)) {
		pod->info.addr4 = found.addr4;
		pod->info.addr6 = found.addr6;
	}
	if (weft_addr_is_zero(&pod->info.addr4) && weft_addr_is_zero(&pod->info.addr6))
		return weft_diag_add(diag, -EADDRNOTAVAIL, "pod", "address",
				     "the network namespace has no address that is up");
	return 0;
}

static int entry_set(struct weft_pods *p, const struct weft_pod_info *i)
{
	struct weft_pod entry = {.id = i->id,
				 .view = i->view,
				 .flags = i->held ? WEFT_POD_HELD : 0,
				 .addr4 = i->addr4,
				 .addr6 = i->addr6};

	memcpy(entry.port4, i->port4, sizeof(entry.port4));
	memcpy(entry.port6, i->port6, sizeof(entry.port6));
	return p->ops.kernel_set(p->ops.ctx, i->cookie, &entry);
}

static int pod_start(struct weft_pods *p, struct pod *pod, int netns_fd, struct weft_diag *diag)
{
	struct weft_pod_info *i = &pod->info;
	const struct weft_proxy_pod listen = {.id = i->id,
					      .view = i->view,
					      .netns_fd = netns_fd,
					      .cookie = i->cookie,
					      .addr4 = i->addr4,
					      .addr6 = i->addr6};
	int r = p->ops.proxy_add(p->ops.ctx, &listen, i->port4, i->port6);

	if (r < 0)
		return weft_diag_add(diag, r, "pod", "address",
				     "cannot listen inside the network namespace: %s",
				     strerror(-r));
	r = entry_set(p, i);
	if (r < 0) {
		p->ops.proxy_remove(p->ops.ctx, i->id, 0);
		return weft_diag_add(diag, r, "pod", "", "the kernel's entry cannot be made: %s",
				     strerror(-r));
	}
	return 0;
}

int weft_pods_add(struct weft_pods *p, const struct weft_pod_spec *spec, struct weft_diag *diag,
		  uint32_t *ret_id)
{
	struct pod *pod, *before;
	int r = spec_check(p, spec, diag);

	if (r < 0)
		return r;
	r = pod_new(spec, &pod);
	if (r < 0)
		return r;
	r = pod_look(pod, spec, diag);
	if (r == 0)
		r = cookie_check(p, pod->info.cookie, diag);
	if (r == 0) {
		r = id_choose(p, &pod->info.id, &before);
		if (r < 0)
			weft_diag_add(diag, r, "pod", "",
				      "%u pods are enrolled, the most there may be", WEFT_PODS_MAX);
	}
	if (r == 0)
		r = pod_start(p, pod, spec->netns_fd, diag);
	if (r < 0) {
		pod_free(pod);
		return r;
	}
	pod->netns_fd = spec->netns_fd;
	pod->pid_fd = spec->pid_fd;
	if (before)
		TAILQ_INSERT_BEFORE(before, pod, link);
	else
		TAILQ_INSERT_TAIL(&p->list, pod, link);
	*ret_id = pod->info.id;
	return 0;
}

int weft_pods_remove(struct weft_pods *p, const char *ns, const char *name, uint32_t drain_ms,
		     int64_t now_ms)
{
	struct pod *pod;

	TAILQ_FOREACH(pod, &p->list, link)
	{
		if (pod->info.phase == WEFT_POD_ACTIVE && strcmp(pod->info.name, name) == 0 &&
		    strcmp(pod->info.ns, ns) == 0) {
			pod_stop(p, pod, drain_ms, now_ms);
			return 0;
		}
	}
	return -ENOENT;
}

/* The process it was named by has ended, or the path names another namespace or none. */
static bool has_gone(const struct pod *pod)
{
	struct pollfd pfd = {.fd = pod->pid_fd, .events = POLLIN};
	struct stat st;

	if (pod->pid_fd >= 0)
		return poll(&pfd, 1, 0) == 1;
	if (!pod->info.netns)
		return false;
	if (stat(pod->info.netns, &st) < 0)
		return errno == ENOENT || errno == ENOTDIR;
	return st.st_dev != pod->dev || st.st_ino != pod->ino;
}

void weft_pods_check(struct weft_pods *p, int64_t now_ms,
		     void (*gone_fn)(void *ctx, const struct weft_pod_info *pod), void *ctx)
{
	struct pod *pod = TAILQ_FIRST(&p->list), *next;

	for (; pod; pod = next) {
		next = TAILQ_NEXT(pod, link);
		if (pod->info.phase == WEFT_POD_ACTIVE && has_gone(pod)) {
			if (gone_fn)
				gone_fn(ctx, &pod->info);
			pod_stop(p, pod, 0, now_ms);
		} else if (pod->info.phase == WEFT_POD_DRAINING && now_ms >= pod->free_ms) {
			p->ops.gone(p->ops.ctx, pod->info.id);
			TAILQ_REMOVE(&p->list, pod, link);
			pod_free(pod);
		}
	}
}

void weft_pods_release(struct weft_pods *p,
		       bool (*complete)(void *ctx, const struct weft_pod_info *pod), void *ctx)
{
	struct pod *pod;

	TAILQ_FOREACH(pod, &p->list, link)
	{
		if (pod->info.phase != WEFT_POD_ACTIVE || !pod->info.held ||
		    !complete(ctx, &pod->info))
			continue;
		pod->info.held = false;
		pod->info.held = entry_set(p, &pod->info) < 0;
	}
}

int weft_pods_find(const struct weft_pods *p, const char *name, struct weft_pod_info *ret)
{
	const char *slash = strchr(name, '/'), *wanted = slash ? slash + 1 : name;
	const struct pod *pod, *found = NULL;

	TAILQ_FOREACH(pod, &p->list, link)
	{
		if (pod->info.phase != WEFT_POD_ACTIVE || strcmp(pod->info.name, wanted) != 0)
			continue;
		if (slash && (strlen(pod->info.ns) != (size_t)(slash - name) ||
			      memcmp(pod->info.ns, name, (size_t)(slash - name)) != 0))
			continue;
		if (found)
			return -ENOTUNIQ;
		found = pod;
	}
	if (!found)
		return -ENOENT;
	*ret = found->info;
	return 0;
}

void weft_pods_each(const struct weft_pods *p,
		    void (*fn)(void *ctx, const struct weft_pod_info *pod), void *ctx)
{
	const struct pod *pod;

	TAILQ_FOREACH(pod, &p->list, link)
	fn(ctx, &pod->info);
}

static void set_listeners(json_t *j, json_t *all_ports, const char *family,
			  const struct weft_addr *addr, const uint16_t port[WEFT_LISTEN_PORTS])
{
	char text[INET6_ADDRSTRLEN];
	json_t *ports;

	if (weft_addr_is_zero(addr))
		return;
	ports = json_array();
	for (size_t i = 0; i < WEFT_LISTEN_PORTS; i++) {
		if (port[i])
			json_array_append_new(ports, json_integer(port[i]));
	}
	json_object_set_new(j, family, json_string(weft_addr_text(addr, text)));
	json_object_set_new(all_ports, family, ports);
}

json_t *weft_pod_json(const struct weft_pod_info *pod)
{
	json_t *j = json_pack("{s:i, s:s, s:s, s:s, s:O, s:s, s:i, s:s?}", "id", (int)pod->id,
			      "name", pod->name, "namespace", pod->ns, "service_account",
			      pod->service_account, "labels", pod->labels, "phase",
			      pod->phase == WEFT_POD_ACTIVE ? "active" : "draining", "view",
			      (int)pod->view, "netns", pod->netns);
	json_t *ports = json_object();
	char cookie[24];

	if (!j) {
		json_decref(ports);
		return NULL;
	}
	json_object_set_new(j, "configured", json_boolean(!pod->held));
	if (pod->pid > 0)
		json_object_set_new(j, "pid", json_integer(pod->pid));
	snprintf(cookie, sizeof(cookie), "%llu", (unsigned long long)pod->cookie);
	json_object_set_new(j, "netns_cookie", json_string(cookie));
	set_listeners(j, ports, "ipv4", &pod->addr4, pod->port4);
	set_listeners(j, ports, "ipv6", &pod->addr6, pod->port6);
	json_object_set_new(j, "ports", ports);
	return j;
}
