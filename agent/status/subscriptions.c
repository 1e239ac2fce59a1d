// SPDX-License-Identifier: Apache-2.0
/*
 * What Envoy counts of its subscriptions, under its names: of clusters and listeners as a whole, of
 * endpoints by cluster, of route configurations by name and the connection manager that asks.
 */
#include <stdlib.h>
#include <string.h>

#include "agent/cleanup.h"
#include "agent/json_out.h"
#include "agent/status/managers.h"
#include "agent/status/status.h"
#include "envoy/config/cluster/v3/cluster.pb-c.h"

typedef Envoy__Extensions__Filters__Network__HttpConnectionManager__V3__HttpConnectionManager
	hcm_msg;

static void set_u64(json_t *j, const char *key, uint64_t value)
{
	json_object_set_new(j, key, json_integer((json_int_t)value));
}

static json_t *counts_json(const char *type, const struct weft_delta_counts *c, const char *version)
{
	json_t *j = json_pack("{s:s}", "type", type);

	set_u64(j, "update_attempt", c->attempt);
	set_u64(j, "update_success", c->success);
	set_u64(j, "update_failure", c->failure);
	set_u64(j, "update_rejected", c->rejected);
	set_u64(j, "init_fetch_timeout", c->timeout);
	set_u64(j, "update_time", (uint64_t)c->success_ms);
	set_u64(j, "version", c->version);
	json_object_set_new(j, "version_text",
			    weft_json_bytes(version ? version : "", version ? strlen(version) : 0));
	return j;
}

static void reload_add(json_t *j, const struct weft_delta_counts *c)
{
	set_u64(j, "config_reload", c->reload);
	set_u64(j, "config_reload_time_ms", (uint64_t)c->reload_ms);
}

static void set_name(json_t *j, const char *key, const char *name)
{
	json_object_set_new(j, key, weft_json_bytes(name, strlen(name)));
}

/* ---- endpoints ---- */

static json_t *cluster_json(const struct weft_status_part *part, const struct weft_status_entry *e)
{
	static const struct weft_delta_counts none;
	const struct weft_resource *r = e->active ? e->active : e->warming;
	const Envoy__Config__Cluster__V3__Cluster *c = (const void *)r->msg;
	const struct weft_status_entry *eds = NULL;
	json_t *j;

	if (c->eds_cluster_config)
		eds = weft_status_find(part, WEFT_XDS_ENDPOINT,
				       *c->eds_cluster_config->service_name
					       ? c->eds_cluster_config->service_name
					       : c->name);
	j = counts_json("eds", eds ? &eds->counts : &none, eds ? eds->counts.version_text : NULL);
	if (!c->eds_cluster_config) {
		/* Envoy counts these of every cluster. What nobody is asked for has no more. */
		json_object_del(j, "update_rejected");
		json_object_del(j, "init_fetch_timeout");
		json_object_del(j, "update_time");
		json_object_del(j, "version_text");
	}
	set_u64(j, "update_empty", eds ? eds->counts.empty : 0);
	set_u64(j, "update_no_rebuild", eds ? eds->counts.same : 0);
	set_name(j, "name", *c->alt_stat_name ? c->alt_stat_name : c->name);
	return j;
}

/* ---- route configurations ---- */

struct tables {
	json_t *list;
	const struct weft_status_part *part;
	json_t *seen; /* names: managers share the subscription of the first */
};

static void table_add(void *ctx, const hcm_msg *hcm)
{
	const char *name =
		hcm->route_specifier_case ==
				ENVOY__EXTENSIONS__FILTERS__NETWORK__HTTP_CONNECTION_MANAGER__V3__HTTP_CONNECTION_MANAGER__ROUTE_SPECIFIER_RDS
			? hcm->rds->route_config_name
			: NULL;
	struct tables *t = ctx;
	const struct weft_status_entry *e =
		name ? weft_status_find(t->part, WEFT_XDS_ROUTE, name) : NULL;
	json_t *j;

	if (!e || json_object_get(t->seen, name))
		return;
	json_object_set_new(t->seen, name, json_true());
	j = counts_json("rds", &e->counts, e->counts.version_text);
	set_u64(j, "update_empty", e->counts.empty);
	reload_add(j, &e->counts);
	set_name(j, "name", name);
	set_name(j, "stat_prefix", hcm->stat_prefix);
	json_array_append_new(t->list, j);
}

static void listener_walk(struct tables *t, const struct weft_resource *r)
{
	if (r)
		weft_managers_each((const void *)r->msg, table_add, t);
}

/* ---- all ---- */

static void part_add(json_t *list, const struct weft_status_part *p)
{
	json_t *cds =
		counts_json("cds", &p->counts[WEFT_XDS_CLUSTER], p->version[WEFT_XDS_CLUSTER]);
	_auto_json_ json_t *seen = json_object();
	struct tables t = {.list = list, .part = p, .seen = seen};

	reload_add(cds, &p->counts[WEFT_XDS_CLUSTER]);
	json_array_append_new(list, cds);
	json_array_append_new(list, counts_json("lds", &p->counts[WEFT_XDS_LISTENER],
						p->version[WEFT_XDS_LISTENER]));
	for (size_t i = 0; i < p->n; i++) {
		const struct weft_status_entry *e = &p->v[i];

		if (e->type == WEFT_XDS_CLUSTER && (e->active || e->warming))
			json_array_append_new(list, cluster_json(p, e));
		if (e->type != WEFT_XDS_LISTENER)
			continue;
		listener_walk(&t, e->active);
		listener_walk(&t, e->warming);
	}
}

/* How many are in force and how many wait. */
static void totals_add(json_t *j, const struct weft_status *s, enum weft_xds_type type,
		       const char *active, const char *warming)
{
	const struct weft_status_entry *e;
	uint64_t n_active = 0, n_warming = 0;

	for (size_t i = 0; (e = weft_status_at(s, type, i, NULL)); i++) {
		n_active += e->active != NULL;
		n_warming += e->warming != NULL;
	}
	set_u64(j, active, n_active);
	set_u64(j, warming, n_warming);
}

json_t *weft_subscriptions_json(const struct weft_status *s)
{
	json_t *list = json_array(), *totals = json_object();

	for (size_t i = 0; i < s->n; i++) {
		if (s->part[i].source == WEFT_SOURCE_XDS)
			part_add(list, &s->part[i]);
	}
	totals_add(totals, s, WEFT_XDS_CLUSTER, "cluster_manager.active_clusters",
		   "cluster_manager.warming_clusters");
	totals_add(totals, s, WEFT_XDS_LISTENER, "listener_manager.total_listeners_active",
		   "listener_manager.total_listeners_warming");
	return json_pack("{s:o, s:o}", "list", list, "totals", totals);
}
