// SPDX-License-Identifier: Apache-2.0
/* What each source says of each resource, who uses it, and whether the kernel holds the same. */
#include <string.h>
#include <time.h>

#include "agent/cleanup.h"
#include "agent/compile/parts.h"
#include "agent/daemon.h"
#include "agent/json_out.h"
#include "agent/status/status.h"

struct kind {
	const char *what;
	enum weft_xds_type type;
	/* The kernel holds no other objects of this kind than those accepted under this name
	 * (routes also come inline). */
	bool only;
};
static const struct kind kinds[] = {
	{"listeners", WEFT_XDS_LISTENER, true},
	{"routes", WEFT_XDS_ROUTE, false},
	{"clusters", WEFT_XDS_CLUSTER, true},
	{"endpoints", WEFT_XDS_ENDPOINT, false},
};

/* ---- what sources say ---- */

static void set_text(json_t *j, const char *key, const char *text)
{
	json_object_set_new(j, key, weft_json_bytes(text ? text : "", text ? strlen(text) : 0));
}

static void set_time(json_t *j, const char *key, int64_t ms)
{
	time_t seconds = (time_t)(ms / 1000);
	char text[64], part[16];
	struct tm tm;

	snprintf(text, sizeof(text), "%s_ms", key);
	json_object_set_new(j, text, json_integer((json_int_t)ms));
	if (!ms || !gmtime_r(&seconds, &tm))
		return;
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(part, sizeof(part), ".%03dZ", (int)(ms % 1000));
	strncat(text, part, sizeof(text) - strlen(text) - 1);
	json_object_set_new(j, key, json_string(text));
}

static json_t *entry_json(const struct weft_status_entry *e, const struct weft_status_part *part)
{
	const struct weft_resource *shown = e->active ? e->active : e->warming;
	json_t *j = json_object();

	set_text(j, "name", e->name);
	json_object_set_new(j, "source", json_string(weft_source_name(part->source)));
	set_text(j, "stream", part->stream);
	set_text(j, "version", e->version);
	if (e->warming)
		set_text(j, "warming_version", e->warming->version);
	set_time(j, "updated", e->updated_ms);
	json_object_set_new(j, "unknown_fields", json_integer(shown ? shown->unknown : 0));
	json_object_set_new(j, "status", json_string(weft_status_name(e->state)));
	if (e->error) {
		set_text(j, "error", e->error);
		set_time(j, "failed", e->failed_ms);
	}
	if (e->failed_version)
		set_text(j, "failed_version", e->failed_version);
	return j;
}

struct view_pods {
	uint32_t view;
	json_t *list;
};

static void pod_append(void *ctx, const struct weft_pod_info *pod)
{
	struct view_pods *pods = ctx;
	_auto_free_ char *name = NULL;

	if (pod->view != pods->view)
		return;
	if (asprintf(&name, "%s/%s", pod->ns, pod->name) < 0)
		name = NULL;
	if (name)
		json_array_append_new(pods->list, weft_json_bytes(name, strlen(name)));
}

/* Listeners serve pods; everything else somebody who names it. */
static json_t *users_json(const struct weft_users *users, enum weft_xds_type type, const char *name,
			  json_t *pods)
{
	json_t *j = weft_users_of(users, type, name);

	if (!j)
		j = json_object();
	if (type == WEFT_XDS_LISTENER)
		json_object_set(j, "pods", pods);
	return j;
}

static json_t *resources_json(struct weft_daemon *d, const struct weft_status *s,
			      enum weft_xds_type type, uint32_t view)
{
	const struct weft_status_part *part;
	const struct weft_status_entry *e;
	struct weft_users *users = NULL;
	_auto_json_ json_t *pods = json_array();
	struct view_pods of_view = {.view = view, .list = pods};
	json_t *list = json_array();

	if (weft_users_new(s, view, &users) < 0)
		return list;
	if (type == WEFT_XDS_LISTENER && d->pods)
		weft_pods_each(d->pods, pod_append, &of_view);
	for (size_t i = 0; (e = weft_status_at(s, type, i, &part)); i++) {
		json_t *j;

		if (part->view != view)
			continue;
		j = entry_json(e, part);
		json_object_set_new(j, "users", users_json(users, type, e->name, pods));
		json_array_append_new(list, j);
	}
	weft_users_free(users);
	return list;
}

/* ---- agreement ---- */

/* The names that a list's objects have under a key, as those of an object. */
static json_t *names_of(const json_t *list, const char *key)
{
	json_t *names = json_object();
	const json_t *item;
	size_t i;

	json_array_foreach(list, i, item)
	{
		const char *name = json_string_value(json_object_get(item, key));

		if (name)
			json_object_set_new(names, name, json_true());
	}
	return names;
}

static bool is_accepted(const struct weft_snapshot *s, enum weft_xds_type type, const char *name)
{
	return s && weft_snapshot_get(s, type, name);
}

/* Accepted and kept for the server side: the kernel holds nothing of it, and should not. */
static bool is_kept(const struct weft_snapshot *s, enum weft_xds_type type, const char *name)
{
	const struct weft_resource *r =
		s && type == WEFT_XDS_LISTENER ? weft_snapshot_get(s, type, name) : NULL;

	return r && weft_listener_inbound((const void *)r->msg);
}

/* Sets in_kernel (and state) of each resource in force, and *ret: both sides hold the same names.
 */
static json_t *differences(const struct kind *kind, json_t *resources, const json_t *kernel,
			   const struct weft_snapshot *merged)
{
	const char *key = kind->type == WEFT_XDS_ENDPOINT ? "service_name" : "name";
	_auto_json_ json_t *names = names_of(kernel, key);
	json_t *list = json_array(), *item;
	size_t i;

	json_array_foreach(resources, i, item)
	{
		const char *name = json_string_value(json_object_get(item, "name"));
		bool held = json_object_get(names, name), kept = is_kept(merged, kind->type, name);

		json_object_set_new(item, "in_kernel", json_boolean(held));
		if (kind->type == WEFT_XDS_LISTENER)
			json_object_set_new(item, "state",
					    json_string(kept   ? "kept, not used (inbound)"
							: held ? "in use"
							       : "not in use"));
		if (!held && !kept && is_accepted(merged, kind->type, name))
			json_array_append_new(list, json_pack("{s:s, s:s}", "name", name, "where",
							      "accepted only"));
	}
	json_array_foreach(kernel, i, item)
	{
		const char *name = json_string_value(json_object_get(item, "name"));

		if (kind->only && name && !is_accepted(merged, kind->type, name))
			json_array_append_new(list, json_pack("{s:s, s:s}", "name", name, "where",
							      "kernel only"));
	}
	return list;
}

/* The name under which a cluster's endpoints come; NULL: within the cluster itself. */
static const char *service_of(const struct weft_snapshot *s, const char *name)
{
	const struct weft_resource *r = s ? weft_snapshot_get(s, WEFT_XDS_CLUSTER, name) : NULL;
	const Envoy__Config__Cluster__V3__Cluster *c = r ? (const void *)r->msg : NULL;

	if (!c || !c->eds_cluster_config)
		return NULL;
	return *c->eds_cluster_config->service_name ? c->eds_cluster_config->service_name : c->name;
}

/* Endpoints are accepted by service name and held by cluster: both sides get both names. */
static void services_set(json_t *resources, json_t *kernel, const struct weft_snapshot *s)
{
	_auto_json_ json_t *clusters = json_object(); /* of each service */
	json_t *item;
	size_t i;

	json_array_foreach(kernel, i, item)
	{
		const char *cluster = json_string_value(json_object_get(item, "name"));
		const char *service = cluster ? service_of(s, cluster) : NULL;

		json_object_set(item, "cluster", json_object_get(item, "name"));
		json_object_set_new(item, "service_name",
				    service ? weft_json_bytes(service, strlen(service))
					    : json_null());
		if (service && !json_object_get(clusters, service))
			json_object_set_new(clusters, service, json_array());
		if (service)
			json_array_append(json_object_get(clusters, service),
					  json_object_get(item, "name"));
	}
	json_array_foreach(resources, i, item)
	{
		json_t *name = json_object_get(item, "name");
		json_t *list = json_object_get(clusters, json_string_value(name));

		json_object_set(item, "service_name", name);
		json_object_set_new(item, "clusters", list ? json_incref(list) : json_array());
	}
}

struct shown {
	json_t *resources, *kernel, *diff;
};

static void extend(json_t *to, json_t *from, uint32_t view)
{
	json_t *item;
	size_t i;

	json_array_foreach(from, i, item) json_object_set_new(item, "view", json_integer(view));
	json_array_extend(to, from);
	json_decref(from);
}

static void view_show(struct weft_daemon *d, const struct weft_status *status,
		      const struct kind *kind, uint32_t view, struct shown *to)
{
	const struct weft_snapshot *merged = weft_views_merged(d->views, view);
	json_t *resources = status ? resources_json(d, status, kind->type, view) : json_array();
	json_t *kernel = weft_image_json_view(d->store, view, kind->what);

	if (!kernel)
		kernel = json_array();
	if (kind->type == WEFT_XDS_ENDPOINT)
		services_set(resources, kernel, merged);
	extend(to->diff, differences(kind, resources, kernel, merged), view);
	extend(to->resources, resources, view);
	extend(to->kernel, kernel, view);
}

static json_t *dump_kind(struct weft_daemon *d, const struct kind *kind)
{
	struct weft_status *status = NULL;
	struct shown to = {json_array(), json_array(), json_array()};
	json_t *j;

	/* First: it may serve a publish, after which everything read before would be old. */
	if (weft_status_collect(d, &status) < 0)
		status = NULL;
	for (uint32_t i = 0; i < weft_views_count(d->views); i++)
		view_show(d, status, kind, i, &to);
	weft_status_free(status);
	j = json_pack("{s:s, s:I, s:b, s:o, s:o, s:o}", "what", kind->what, "epoch",
		      (json_int_t)weft_store_epoch(d->store), "agree",
		      json_array_size(to.diff) == 0, "differences", to.diff, "resources",
		      to.resources, "kernel", to.kernel);
	if (kind->type == WEFT_XDS_ENDPOINT)
		json_object_set_new(j, "dns", weft_dns_names_json(d->dns));
	if (kind->type == WEFT_XDS_ENDPOINT)
		json_object_set_new(j, "ejected", weft_outlier_hosts_json(d->outlier));
	if (kind->type == WEFT_XDS_ENDPOINT)
		json_object_set_new(j, "health", weft_health_hosts_json(d->health));
	return j;
}

json_t *weft_dump_resources(struct weft_daemon *d, const char *what)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (strcmp(what, kinds[i].what) == 0)
			return dump_kind(d, &kinds[i]);
	}
	return NULL;
}
