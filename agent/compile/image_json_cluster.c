// SPDX-License-Identifier: Apache-2.0
/* Clusters and endpoints of the published image as JSON. */
#include "agent/compile/compile.h"
#include "agent/compile/image_json.h"
#include "bpf/engine/engine.h"

static json_t *threshold_json(const struct weft_img_thresholds *t)
{
	json_t *j = json_pack("{s:I, s:I, s:I}", "max_connections", (json_int_t)t->max_connections,
			      "max_pending_requests", (json_int_t)t->max_pending, "max_requests",
			      (json_int_t)t->max_requests);

	if (t->flags & WEFT_THRESHOLDS_BUDGET)
		json_object_set_new(j, "retry_budget",
				    json_pack("{s:f, s:I}", "budget_percent", t->retry_percent,
					      "min_retry_concurrency",
					      (json_int_t)t->least_retries));
	else
		json_object_set_new(j, "max_retries", json_integer(t->max_retries));
	if (t->max_per_host != WEFT_THRESHOLD_NONE)
		json_object_set_new(j, "max_connections_per_host", json_integer(t->max_per_host));
	if (t->max_pools != WEFT_THRESHOLD_NONE)
		json_object_set_new(j, "max_connection_pools", json_integer(t->max_pools));
	return j;
}

/* Weights that load and age move. */
static json_t *moving_json(const struct weft_img_cluster *c)
{
	const struct weft_img_moving *m = c->moving ? weft_img_at(c->moving) : NULL;

	if (!m || (!m->window_ms && m->bias == 1))
		return NULL;
	return json_pack("{s:f, s:I, s:f, s:f}", "active_request_bias", m->bias, "slow_start_ms",
			 (json_int_t)m->window_ms, "aggression", m->aggression, "min_weight",
			 m->least);
}

static json_t *outlier_json(const struct weft_img_outlier *o)
{
	json_t *j = json_object(), *runs = json_array(), *enforce = json_array();
	const struct {
		const char *name;
		uint32_t value;
	} f[] = {{"interval_ms", o->interval_ms},
		 {"base_ejection_ms", o->base_ms},
		 {"max_ejection_ms", o->max_ms},
		 {"jitter_ms", o->jitter_ms},
		 {"max_ejection_percent", o->max_percent},
		 {"always_eject_one_host", o->always_one},
		 {"split_local_origin", o->split},
		 {"success_rate_hosts", o->rate_hosts},
		 {"success_rate_volume", o->rate_volume},
		 {"success_rate_factor", o->rate_factor},
		 {"failure_percentage", o->failure_percent},
		 {"failure_percentage_hosts", o->failure_hosts},
		 {"failure_percentage_volume", o->failure_volume},
		 {"merge_window_ms", o->merge_ms},
		 {"uneject", o->uneject}};

	for (size_t i = 0; i < sizeof(f) / sizeof(*f); i++)
		json_object_set_new(j, f[i].name, json_integer((json_int_t)f[i].value));
	for (size_t i = 0; i < sizeof(o->run) / sizeof(*o->run); i++)
		json_array_append_new(runs, json_integer((json_int_t)o->run[i]));
	for (size_t i = 0; i < WEFT_EJECT__MAX; i++)
		json_array_append_new(enforce, json_integer((json_int_t)o->enforce[i]));
	json_object_set_new(j, "consecutive", runs);
	json_object_set_new(j, "enforcing", enforce);
	return j;
}

static json_t *cluster_json(uint32_t off)
{
	static const char *const types[] = {"", "endpoints", "original_dst", "blackhole"};
	static const char *const policies[] = {"round_robin", "least_request", "random",
					       "ring_hash", "maglev"};
	const struct weft_img_cluster *c = weft_img_at(off);

	return json_pack("{s:o, s:s, s:s, s:I, s:o, s:o, s:o*, s:o*, s:o*}", "name",
			 weft_image_text(c->name), "type", types[c->type & 3], "lb_policy",
			 policies[c->lb % WEFT_LB__MAX], "connect_timeout_ms",
			 (json_int_t)c->connect_timeout_ms, "default",
			 threshold_json(&c->threshold[WEFT_PRIORITY_DEFAULT]), "high",
			 threshold_json(&c->threshold[WEFT_PRIORITY_HIGH]), "hash_balance_factor",
			 c->balance_factor ? json_integer((json_int_t)c->balance_factor) : NULL,
			 "moving_weights", moving_json(c), "outlier_detection",
			 c->outlier ? outlier_json(weft_img_at(c->outlier)) : NULL);
}

/* Entries that each host has in a table of consistent hashing. */
static json_t *table_shares(const struct weft_img_host_set *s)
{
	const uint16_t *entry = weft_img_at(s->table);
	uint32_t *n = calloc(s->n_host + 1, sizeof(*n));
	json_t *list = json_array();

	for (uint32_t i = 0; n && i < s->n_table; i++)
		n[entry[i]]++;
	for (uint32_t i = 0; n && i < s->n_host; i++)
		json_array_append_new(list, json_integer(n[i]));
	free(n);
	return list;
}

static void set_add(const struct weft_img_host_set *s, json_t *to)
{
	const uint32_t *host = s->n_host ? weft_img_at(s->host) : NULL;
	uint32_t n = s->n_schedule <= WEFT_SCHEDULE_MAX ? s->n_schedule : 0;
	const uint16_t *order = n ? weft_img_at(s->schedule) : NULL;
	json_t *hosts = json_array(), *schedule = json_array();

	for (uint32_t j = 0; j < s->n_host; j++)
		json_array_append_new(hosts, json_integer(host[j]));
	for (uint32_t j = 0; j < n; j++)
		json_array_append_new(schedule, json_integer(order[j]));
	json_object_set_new(to, "hosts", hosts);
	json_object_set_new(to, "schedule", schedule);
	if (s->n_table)
		json_object_set_new(to, "table_entries", table_shares(s));
	if (s->n_schedule > n)
		json_object_set_new(to, "schedule_period", json_integer((json_int_t)s->n_schedule));
}

static json_t *sets_json(const struct weft_img_endpoints *e)
{
	const struct weft_img_host_set *s = e->n_set ? weft_img_at(e->set) : NULL;
	json_t *list = json_array();

	for (uint32_t i = 0; i < e->n_set; i++) {
		const struct weft_img_host_set *part = s[i].n_part ? weft_img_at(s[i].part) : NULL;
		json_t *set = json_pack("{s:i}", "load_end", (int)s[i].load_end), *parts = json_array();

		set_add(&s[i], set);
		for (uint32_t j = 0; j < s[i].n_part; j++) {
			json_array_append_new(parts, json_object());
			set_add(&part[j], json_array_get(parts, j));
		}
		if (part)
			json_object_set(set, "localities", parts);
		json_decref(parts);
		json_array_append_new(list, set);
	}
	return list;
}

/* A name that nobody resolves (weft_view_input) stands for itself. */
static json_t *endpoint_address(const struct weft_img_endpoint *e)
{
	if (e->addr.family)
		return weft_image_address(&e->addr.addr, e->addr.port);
	return json_sprintf("unresolved %.*s:%u", (int)e->hostname.len,
			    (const char *)weft_img_at(e->hostname.off), e->addr.port);
}

/* Each subset: the pairs that its hosts have, and its sets. */
static json_t *subsets_json(const struct weft_img_endpoints *e)
{
	const struct weft_img_subsets *u = e->subsets ? weft_img_at(e->subsets) : NULL;
	const struct weft_img_subset *s = u && u->n ? weft_img_at(u->subset) : NULL;
	json_t *list = json_array();

	if (!u) {
		json_decref(list);
		return NULL;
	}
	for (uint32_t i = 0; i < u->n; i++) {
		const uint32_t *pair = weft_img_at(s[i].pair);
		json_t *pairs = json_array();

		for (uint32_t k = 0; k < s[i].n; k++)
			json_array_append_new(pairs, json_string(weft_img_at(pair[k])));
		json_array_append_new(list, json_pack("{s:o, s:o}", "metadata", pairs, "sets",
						      sets_json(weft_img_at(s[i].endpoints))));
	}
	return list;
}

static json_t *endpoints_json(const struct weft_img_cluster_ref *ref)
{
	const struct weft_img_endpoints *e = weft_img_at(ref->endpoints);
	const struct weft_img_endpoint *v = e->n ? weft_img_at(e->endpoint) : NULL;
	json_t *list = json_array();

	for (uint32_t i = 0; i < e->n; i++)
		json_array_append_new(list, json_pack("{s:o, s:I, s:i}", "address",
						      endpoint_address(&v[i]), "weight",
						      (json_int_t)v[i].weight, "health",
						      (int)v[i].health));
	return json_pack("{s:o, s:o, s:o, s:o*, s:o*}", "name",
			 weft_image_text(((const struct weft_img_cluster *)weft_img_at(ref->cluster))->name),
			 "endpoints", list, "sets", sets_json(e), "subsets",
			 subsets_json(e), "drop_per_million",
			 e->drop ? json_integer((json_int_t)e->drop) : NULL);
}

json_t *weft_image_clusters(const struct weft_img_view *view, bool endpoints)
{
	const struct weft_img_cluster_ref *ref =
		view->n_cluster ? weft_img_at(view->cluster) : NULL;
	json_t *list = json_array();

	for (uint32_t i = 0; i < view->n_cluster; i++) {
		if (!ref[i].cluster || (endpoints && !ref[i].endpoints))
			continue;
		json_array_append_new(list, endpoints ? endpoints_json(&ref[i])
						      : cluster_json(ref[i].cluster));
	}
	return list;
}
