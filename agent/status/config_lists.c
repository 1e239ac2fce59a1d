// SPDX-License-Identifier: Apache-2.0
/* What is in the lists of a config dump, resource by resource. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/cleanup.h"
#include "agent/json_out.h"
#include "agent/status/config_dump.h"
#include "agent/status/managers.h"
#include "envoy/config/endpoint/v3/endpoint.pb-c.h"
#include "envoy/config/listener/v3/listener.pb-c.h"
#include "envoy/config/route/v3/route.pb-c.h"
#include "xds/cleanup.h"
#include "xds/json.h"
#include "xds/redact.h"

/* ---- parts of entries ---- */

static const char *status_text(enum weft_status_state state)
{
	static const char *const names[WEFT_STATUS__MAX] = {
		[WEFT_STATUS_REQUESTED] = "REQUESTED",
		[WEFT_STATUS_DOES_NOT_EXIST] = "DOES_NOT_EXIST",
		[WEFT_STATUS_ACKED] = "ACKED",
		[WEFT_STATUS_NACKED] = "NACKED",
		[WEFT_STATUS_TIMEOUT] = "TIMEOUT",
		/* Accepted, both; the form of a config dump tells them apart. */
		[WEFT_STATUS_WARMING] = "ACKED",
		[WEFT_STATUS_STALE] = "ACKED",
	};

	return names[state];
}

static void set_text(json_t *j, const char *key, const char *text)
{
	if (text && *text)
		json_object_set_new(j, key, weft_json_bytes(text, strlen(text)));
}

static void set_time(json_t *j, const char *key, int64_t ms)
{
	char buf[WEFT_STATUS_TIME];

	if (ms)
		json_object_set_new(j, key, json_string(weft_status_time(ms, buf)));
}

/* As an Any, without secrets. */
static void set_message(struct dump_job *j, json_t *to, const char *key,
			const ProtobufCMessage *msg)
{
	_xds_msg_ ProtobufCMessage *shown = NULL;
	json_t *any = json_object(), *fields = NULL;
	_auto_free_ char *url = NULL;

	if (!any || asprintf(&url, "type.googleapis.com/%s", msg->descriptor->name) < 0 ||
	    weft_redacted(msg, &shown) < 0 || weft_json_from_msg(shown, &fields) < 0) {
		j->failed = true;
		json_decref(any);
		return;
	}
	json_object_set_new(any, "@type", json_string(url));
	json_object_update(any, fields);
	json_decref(fields);
	json_object_set_new(to, key, any);
}

static json_t *failure(struct dump_job *j, const struct weft_status_entry *e)
{
	json_t *f = json_object();

	if (e->failed)
		set_message(j, f, "failed_configuration", e->failed->msg);
	set_time(f, "last_update_attempt", e->failed_ms);
	set_text(f, "details", e->error);
	set_text(f, "version_info", e->failed_version);
	return f;
}

static void set_states(struct dump_job *j, json_t *to, const struct weft_status_entry *e)
{
	if (e->error)
		json_object_set_new(to, "error_state", failure(j, e));
	json_object_set_new(to, "client_status", json_string(status_text(e->state)));
}

/* ---- lists ---- */

/* Each entry of a type and a source whose name is asked for. */
#define each_entry(j, of, from, e, part)                                                           \
	for (size_t i_ = 0; ((e) = weft_status_at((j)->status, (of), i_, &(part))); i_++)          \
		if ((part)->source == (from) && !(j)->failed && dump_is_named((j), (e)->name))

static void static_fill(struct dump_job *j, enum weft_xds_type type, const char *key)
{
	const struct weft_status_part *part;
	const struct weft_status_entry *e;

	each_entry(j, type, WEFT_SOURCE_FILE, e, part)
	{
		json_t *item = json_object();

		set_message(j, item, key, e->active->msg);
		set_time(item, "last_updated", e->updated_ms);
		dump_item(j, item);
	}
}

static json_t *version_json(struct dump_job *j, const char *key, const struct weft_resource *r,
			    const char *version)
{
	json_t *item = json_object();

	set_text(item, "version_info", version);
	set_message(j, item, key, r->msg);
	set_time(item, "last_updated", r->updated_ms);
	return item;
}

void dump_static_clusters(struct dump_job *j)
{
	static_fill(j, WEFT_XDS_CLUSTER, "cluster");
}

void dump_active_clusters(struct dump_job *j)
{
	const struct weft_status_part *part;
	const struct weft_status_entry *e;

	each_entry(j, WEFT_XDS_CLUSTER, WEFT_SOURCE_XDS, e, part)
	{
		json_t *item;

		if (!e->active)
			continue;
		item = version_json(j, "cluster", e->active, e->version);
		set_states(j, item, e);
		dump_item(j, item);
	}
}

void dump_warming_clusters(struct dump_job *j)
{
	const struct weft_status_part *part;
	const struct weft_status_entry *e;

	each_entry(j, WEFT_XDS_CLUSTER, WEFT_SOURCE_XDS, e, part)
	{
		json_t *item;

		if (!e->warming)
			continue;
		item = version_json(j, "cluster", e->warming, e->warming->version);
		json_object_set_new(item, "client_status", json_string(status_text(e->state)));
		dump_item(j, item);
	}
}

void dump_static_listeners(struct dump_job *j)
{
	static_fill(j, WEFT_XDS_LISTENER, "listener");
}

void dump_dynamic_listeners(struct dump_job *j)
{
	const struct weft_status_part *part;
	const struct weft_status_entry *e;

	each_entry(j, WEFT_XDS_LISTENER, WEFT_SOURCE_XDS, e, part)
	{
		json_t *item = json_object();

		set_text(item, "name", e->name);
		if (e->active)
			json_object_set_new(item, "active_state",
					    version_json(j, "listener", e->active, e->version));
		if (e->warming)
			json_object_set_new(
				item, "warming_state",
				version_json(j, "listener", e->warming, e->warming->version));
		set_states(j, item, e);
		dump_item(j, item);
	}
}

/* Tables that stand within a listener. */
struct inlined {
	struct dump_job *job;
	int64_t updated_ms;
};

static void inline_write(
	void *ctx,
	const Envoy__Extensions__Filters__Network__HttpConnectionManager__V3__HttpConnectionManager
		*manager)
{
	const Envoy__Config__Route__V3__RouteConfiguration *table = manager->route_config;
	const struct inlined *in = ctx;
	json_t *item;

	if (manager->route_specifier_case !=
		    ENVOY__EXTENSIONS__FILTERS__NETWORK__HTTP_CONNECTION_MANAGER__V3__HTTP_CONNECTION_MANAGER__ROUTE_SPECIFIER_ROUTE_CONFIG ||
	    !dump_is_named(in->job, table->name))
		return;
	item = json_object();
	set_message(in->job, item, "route_config", &table->base);
	set_time(item, "last_updated", in->updated_ms);
	dump_item(in->job, item);
}

/* As Envoy: tables of files, and those within listeners of any source. */
void dump_static_routes(struct dump_job *j)
{
	const struct weft_status_part *part;
	const struct weft_status_entry *e;

	static_fill(j, WEFT_XDS_ROUTE, "route_config");
	for (size_t i = 0; (e = weft_status_at(j->status, WEFT_XDS_LISTENER, i, &part)); i++) {
		struct inlined in = {j, e->active ? e->active->updated_ms : 0};

		if (e->active && !j->failed)
			weft_managers_each((const void *)e->active->msg, inline_write, &in);
	}
}

void dump_dynamic_routes(struct dump_job *j)
{
	const struct weft_status_part *part;
	const struct weft_status_entry *e;

	each_entry(j, WEFT_XDS_ROUTE, WEFT_SOURCE_XDS, e, part)
	{
		json_t *item;

		if (!e->active)
			continue;
		item = version_json(j, "route_config", e->active, e->version);
		set_states(j, item, e);
		dump_item(j, item);
	}
}

static void set_default(json_t *j, const char *key, json_t *value)
{
	if (json_object_get(j, key))
		json_decref(value);
	else
		json_object_set_new(j, key, value);
}

/* As Envoy, which shows what it makes of an assignment: what was not said, and health in its words.
 */
static void assignment_complete(json_t *a, const char *name)
{
	json_t *locality, *lb;
	size_t i, k;

	json_object_set_new(a, "cluster_name", weft_json_bytes(name, strlen(name)));
	json_array_foreach(json_object_get(a, "endpoints"), i, locality)
	{
		set_default(locality, "locality", json_object());
		json_array_foreach(json_object_get(locality, "lb_endpoints"), k, lb)
		{
			const char *health =
				json_string_value(json_object_get(lb, "health_status"));

			if (!health)
				health = "HEALTHY";
			else if (!strcmp(health, "DRAINING") || !strcmp(health, "TIMEOUT"))
				health = "UNHEALTHY";
			json_object_set_new(lb, "health_status", json_string(health));
			set_default(lb, "load_balancing_weight", json_integer(1));
		}
	}
	set_default(a, "policy", json_object());
	set_default(json_object_get(a, "policy"), "overprovisioning_factor", json_integer(140));
}

/* Of a cluster in force. */
static void endpoints_of(struct dump_job *j, const struct weft_status_part *part,
			 const struct weft_resource *cluster)
{
	struct weft_status_assignment a = weft_status_assignment(j->status, part, cluster);
	Envoy__Config__Endpoint__V3__ClusterLoadAssignment none =
		ENVOY__CONFIG__ENDPOINT__V3__CLUSTER_LOAD_ASSIGNMENT__INIT;
	json_t *item;

	if (!dump_is_named(j, a.name))
		return;
	item = json_object();
	if (a.entry)
		set_text(item, "version_info", a.entry->version);
	set_message(j, item, "endpoint_config", a.msg ? &a.msg->base : &none.base);
	assignment_complete(json_object_get(item, "endpoint_config"), a.name);
	set_time(item, "last_updated", a.entry ? a.entry->updated_ms : cluster->updated_ms);
	if (a.entry && part->source == WEFT_SOURCE_XDS)
		set_states(j, item, a.entry);
	dump_item(j, item);
}

static void endpoints_fill(struct dump_job *j, enum weft_source source)
{
	const struct weft_status_part *part;
	const struct weft_status_entry *e;

	for (size_t i = 0; (e = weft_status_at(j->status, WEFT_XDS_CLUSTER, i, &part)); i++) {
		if (e->active && part->source == source && !j->failed)
			endpoints_of(j, part, e->active);
	}
}

void dump_static_endpoints(struct dump_job *j)
{
	endpoints_fill(j, WEFT_SOURCE_FILE);
}

void dump_dynamic_endpoints(struct dump_job *j)
{
	endpoints_fill(j, WEFT_SOURCE_XDS);
}
