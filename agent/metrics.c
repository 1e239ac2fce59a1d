// SPDX-License-Identifier: Apache-2.0
#include "agent/metrics.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/cleanup.h"

/* One number under both its names. */
struct metric {
	char *text;   /* cluster.web.upstream_rq_total */
	char *family; /* envoy_cluster_upstream_rq_total */
	char *labels; /* envoy_cluster_name="web",weft_pod="3", "" none */
	bool gauge;
	bool single; /* of several, the highest, without a sign, and no sum */
	json_int_t value;
	char *word; /* a text in place of a number, for the text form only; NULL none */
};

struct metrics {
	struct metric *v;
	size_t n, cap;
	bool failed; /* no memory */
};

/* A member of a cell and what Envoy calls it. */
struct alias {
	const char *member, *envoy;
	bool gauge;
};

static const struct alias cluster_aliases[] = {
	{"cx_active", "upstream_cx_active", true},
	{"cx_total", "upstream_cx_total", false},
	{"cx_overflow", "upstream_cx_overflow", false},
	{"cx_connect_fail", "upstream_cx_connect_fail", false},
	{"keepalive_timeout", "http2.keepalive_timeout", false},
	{"rq_pending", "upstream_rq_pending_active", true},
	{"rq_active", "upstream_rq_active", true},
	{"rq_total", "upstream_rq_total", false},
	/* Envoy counts both breakers of requests here */
	{"pending_overflow", "upstream_rq_pending_overflow", false},
	{"rq_overflow", "upstream_rq_pending_overflow", false},
	{"rq_timeout", "upstream_rq_timeout", false},
	{"rq_retry", "upstream_rq_retry", false},
	{"rq_2xx", "upstream_rq_2xx", false},
	{"rq_4xx", "upstream_rq_4xx", false},
	{"rq_5xx", "upstream_rq_5xx", false},
};

/* Numbers of now; all others only grow. */
static const char *const gauges[] = {
	"weft.store.image_used",    "weft.store.image_size",
	"weft.store.objects",	    "weft.store.waiting_bytes",
	"weft.store.cells_used",    "weft.store.cells",
	"weft.proxy.connections",   "weft.proxy.upstream_active",
	"weft.proxy.upstream_idle", "weft.decisions.slots_used",
	"weft.xds.staleness_ms",    "weft.xds.stale",
	"weft.xds.since_ms",	    "weft.xds.pending",
	"weft.access_log.files",
	"weft.file.loaded_ms",	    "active_faults",
};

static bool is_gauge(const char *text)
{
	const char *last = strrchr(text, '.');

	for (size_t i = 0; i < sizeof(gauges) / sizeof(gauges[0]); i++) {
		if (!strcmp(text, gauges[i]) || (last && !strcmp(last + 1, gauges[i])))
			return true;
	}
	return !strncmp(text, "weft.dns.", 9) || !strncmp(text, "weft.outlier_detection.", 23) ||
	       !strncmp(text, "weft.health_checks.", 19);
}

/* A name as Prometheus takes it: every other character becomes an underscore. */
static char *family_of(const char *prefix, const char *name)
{
	char *out;

	if (asprintf(&out, "%s%s", prefix, name) < 0)
		return NULL;
	for (char *c = out; *c; c++) {
		if (!isalnum((unsigned char)*c))
			*c = '_';
	}
	return out;
}

/* A label's value, with what has a meaning there escaped. NULL without memory. */
static char *escaped(const char *text)
{
	char *out = malloc(2 * strlen(text) + 1), *to = out;

	for (; out && *text; text++) {
		if (*text == '\\' || *text == '"' || *text == '\n')
			*to++ = '\\';
		*to++ = *text == '\n' ? 'n' : *text;
	}
	if (out)
		*to = '\0';
	return out;
}

static void metric_free(struct metric *m)
{
	free(m->text);
	free(m->family);
	free(m->labels);
	free(m->word);
}

/* Takes over the names. */
static void put(struct metrics *to, struct metric m)
{
	struct metric *v = to->v;

	if (to->n == to->cap) {
		size_t cap = to->cap ? to->cap * 2 : 256;

		v = reallocarray(to->v, cap, sizeof(*v));
		if (v) {
			to->v = v;
			to->cap = cap;
		}
	}
	if (!v || !m.text || !m.family || !m.labels) {
		to->failed = true;
		metric_free(&m);
		return;
	}
	to->v[to->n++] = m;
}

static void put_plain(struct metrics *to, const char *text, const char *prefix, bool gauge,
		      json_int_t value)
{
	put(to, (struct metric){.text = strdup(text),
				.family = family_of(prefix, text),
				.labels = strdup(""),
				.gauge = gauge,
				.value = value});
}

/* Every number in j, however deep, under its path. */
static void put_all(struct metrics *to, const char *path, const json_t *j)
{
	const char *key;
	json_t *value;

	if (json_is_integer(j) || json_is_boolean(j)) {
		put_plain(to, path, "", is_gauge(path) || json_is_boolean(j),
			  json_is_integer(j) ? json_integer_value(j) : json_is_true(j));
		return;
	}
	json_object_foreach((json_t *)(uintptr_t)j, key, value)
	{
		_auto_free_ char *deeper = NULL;

		if (asprintf(&deeper, "%s.%s", path, key) < 0) {
			deeper = NULL;
			to->failed = true;
			return;
		}
		put_all(to, deeper, value);
	}
}

/* ---- cells ---- */

/* cluster.X.circuit_breakers.default.cx_open. The cluster is a label to Prometheus, as in Envoy. */
static void put_breakers(struct metrics *to, const char *name, const char *label, json_int_t pod,
			 const json_t *breakers)
{
	const char *priority, *key;
	json_t *gauges_of, *value;

	json_object_foreach((json_t *)(uintptr_t)breakers, priority, gauges_of)
	{
		json_object_foreach(gauges_of, key, value)
		{
			struct metric m = {.gauge = true, .value = json_integer_value(value)};

			if (asprintf(&m.text, "cluster.%s.circuit_breakers.%s.%s", name, priority,
				     key) < 0)
				m.text = NULL;
			if (asprintf(&m.family, "envoy_cluster_circuit_breakers_%s_%s", priority,
				     key) < 0)
				m.family = NULL;
			if (asprintf(&m.labels, "envoy_cluster_name=\"%s\",weft_pod=\"%lld\"",
				     label, (long long)pod) < 0)
				m.labels = NULL;
			put(to, m);
		}
	}
}

static void put_cluster(struct metrics *to, const char *name, json_int_t pod, const json_t *cell)
{
	_auto_free_ char *label = escaped(name);

	for (size_t i = 0; i < sizeof(cluster_aliases) / sizeof(cluster_aliases[0]); i++) {
		const struct alias *a = &cluster_aliases[i];
		const char *class = strstr(a->envoy, "xx") ? strstr(a->envoy, "xx") - 1 : NULL;
		struct metric m = {.gauge = a->gauge,
				   .value = json_integer_value(json_object_get(cell, a->member))};

		/* upstream_rq_2xx: one family, the class is a label */
		if (asprintf(&m.text, "cluster.%s.%s", name, a->envoy) < 0)
			m.text = NULL;
		m.family = family_of("envoy_cluster_", class ? "upstream_rq_xx" : a->envoy);
		if (asprintf(&m.labels, "%s%.1s%senvoy_cluster_name=\"%s\",weft_pod=\"%lld\"",
			     class ? "envoy_response_code_class=\"" : "", class ? class : "",
			     class ? "\"," : "", label ? label : "", (long long)pod) < 0)
			m.labels = NULL;
		put(to, m);
	}
	put_breakers(to, name, label ? label : "", pod, json_object_get(cell, "circuit_breakers"));
	to->failed = to->failed || !label;
}

/* Requests of a connection manager. */
static void put_http(struct metrics *to, const json_t *http)
{
	const char *name = json_string_value(json_object_get(http, "name")), *key;
	_auto_free_ char *label = escaped(name ? name : "");
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)http, key, value)
	{
		const char *class = strstr(key, "xx") ? strstr(key, "xx") - 1 : NULL;
		struct metric m = {.value = json_integer_value(value)};

		if (!json_is_integer(value))
			continue;
		if (asprintf(&m.text, "http.%s.%s", name, key) < 0)
			m.text = NULL;
		m.family = family_of("envoy_http_", class ? "downstream_rq_xx" : key);
		if (asprintf(&m.labels, "%s%.1s%senvoy_http_conn_manager_prefix=\"%s\"",
			     class ? "envoy_response_code_class=\"" : "", class ? class : "",
			     class ? "\"," : "", label ? label : "") < 0)
			m.labels = NULL;
		put(to, m);
	}
	to->failed = to->failed || !label;
}

/* Envoy's counters of active checks, and its numbers of hosts, of clusters that have them. */
static void put_checks(struct metrics *to, const json_t *checks)
{
	const json_t *check;
	const char *key;
	json_t *value;
	size_t i;

	json_array_foreach(checks, i, check)
	{
		const char *name = json_string_value(json_object_get(check, "cluster"));
		_auto_free_ char *label = escaped(name);

		json_object_foreach((json_t *)(uintptr_t)check, key, value)
		{
			bool members = !strncmp(key, "membership_", 11);
			struct metric m = {.gauge = members || !strcmp(key, "healthy") ||
						    !strcmp(key, "degraded"),
					   .value = json_integer_value(value)};
			const char *part = members ? "" : "health_check.";
			char family[128];

			if (!json_is_integer(value) || !strcmp(key, "pod"))
				continue;
			if (asprintf(&m.text, "cluster.%s.%s%s", name, part, key) < 0)
				m.text = NULL;
			snprintf(family, sizeof(family), "%s%s", part, key);
			m.family = family_of("envoy_cluster_", family);
			if (asprintf(&m.labels, "envoy_cluster_name=\"%s\",weft_pod=\"%lld\"",
				     label ? label : "",
				     (long long)json_integer_value(
					     json_object_get(check, "pod"))) < 0)
				m.labels = NULL;
			put(to, m);
		}
		to->failed = to->failed || !label;
	}
}

/* Buckets and filters: members that are numbers. */
static void put_cell(struct metrics *to, const char *kind, const char *name, json_int_t pod,
		     const json_t *cell)
{
	_auto_free_ char *label = escaped(name);
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)cell, key, value)
	{
		struct metric m = {.gauge = is_gauge(key), .value = json_integer_value(value)};
		_auto_free_ char *prefix = NULL;

		if (!json_is_integer(value) || !strcmp(key, "pod"))
			continue;
		if (asprintf(&m.text, "weft.%s.%s.%s", kind, name, key) < 0)
			m.text = NULL;
		if (asprintf(&prefix, "weft_%s_", kind) < 0)
			prefix = NULL;
		m.family = prefix ? family_of(prefix, key) : NULL;
		if (asprintf(&m.labels, "weft_name=\"%s\",weft_pod=\"%lld\"", label ? label : "",
			     (long long)pod) < 0)
			m.labels = NULL;
		put(to, m);
	}
	to->failed = to->failed || !label;
}

static void put_cells(struct metrics *to, const json_t *cells)
{
	const json_t *cell;
	size_t i;

	json_array_foreach(cells, i, cell)
	{
		const char *kind = json_string_value(json_object_get(cell, "kind"));
		const char *name = json_string_value(json_object_get(cell, "name"));
		json_int_t pod = json_integer_value(json_object_get(cell, "pod"));

		if (!kind || !name || !strcmp(kind, "endpoint"))
			continue;
		if (!strcmp(kind, "cluster"))
			put_cluster(to, name, pod, cell);
		else
			put_cell(to, kind, name, pod, cell);
	}
}

/* ---- the control plane ---- */

/* Of Envoy's names, those whose values are no counts. */
static bool is_single(const char *key)
{
	return !strcmp(key, "version") || !strcmp(key, "update_time") ||
	       !strcmp(key, "config_reload_time_ms");
}

/* One subscription: text prefix, family prefix, labels. */
struct place {
	char *text;
	const char *family;
	char *labels;
};

/* false: without memory, or a type nobody knows. */
static bool place_of(const json_t *j, struct place *ret)
{
	const char *type = json_string_value(json_object_get(j, "type"));
	const char *name = json_string_value(json_object_get(j, "name"));
	const char *prefix = json_string_value(json_object_get(j, "stat_prefix"));
	_auto_free_ char *label = escaped(name ? name : "");
	_auto_free_ char *manager = escaped(prefix ? prefix : "");
	int r = -1;

	*ret = (struct place){0};
	if (!type || !label || !manager)
		return false;
	if (!strcmp(type, "cds") || !strcmp(type, "lds")) {
		ret->family =
			*type == 'c' ? "envoy_cluster_manager_cds_" : "envoy_listener_manager_lds_";
		ret->text = strdup(*type == 'c' ? "cluster_manager.cds" : "listener_manager.lds");
		ret->labels = strdup("");
	} else if (!strcmp(type, "eds")) {
		ret->family = "envoy_cluster_";
		r = asprintf(&ret->text, "cluster.%s", name);
		if (r >= 0 && asprintf(&ret->labels, "envoy_cluster_name=\"%s\"", label) < 0)
			ret->labels = NULL;
	} else if (!strcmp(type, "rds")) {
		ret->family = "envoy_http_rds_";
		r = asprintf(&ret->text, "http.%s.rds.%s", prefix, name);
		if (r >= 0 &&
		    asprintf(&ret->labels,
			     "envoy_rds_route_config=\"%s\",envoy_http_conn_manager_prefix="
			     "\"%s\"",
			     label, manager) < 0)
			ret->labels = NULL;
	}
	return ret->text && ret->labels;
}

static void put_subscription(struct metrics *to, const json_t *j)
{
	struct place at;
	const char *key;
	json_t *value;
	bool ok = place_of(j, &at);

	json_object_foreach((json_t *)(uintptr_t)j, key, value)
	{
		struct metric m = {.value = json_integer_value(value), .single = is_single(key)};

		if (!ok || (!json_is_integer(value) && strcmp(key, "version_text")))
			continue;
		m.gauge = m.single;
		if (asprintf(&m.text, "%s.%s", at.text, key) < 0)
			m.text = NULL;
		m.family = family_of(at.family, key);
		m.labels = strdup(at.labels);
		if (json_is_string(value))
			m.word = strdup(json_string_value(value));
		put(to, m);
	}
	to->failed = to->failed || !ok;
	free(at.text);
	free(at.labels);
}

static void put_subscriptions(struct metrics *to, const json_t *subscriptions)
{
	const json_t *j;
	const char *key;
	json_t *value;
	size_t i;

	json_array_foreach(json_object_get(subscriptions, "list"), i, j) put_subscription(to, j);
	json_object_foreach(json_object_get(subscriptions, "totals"), key, value)
		put_plain(to, key, "envoy_", true, json_integer_value(value));
}

static void put_xds(struct metrics *to, const json_t *xds)
{
	const char *key, *identifier = json_string_value(json_object_get(xds, "control_plane"));
	const json_t *types = json_object_get(xds, "types");
	json_t *value;

	if (!xds)
		return;
	put_plain(to, "control_plane.connected_state", "envoy_", true,
		  json_is_true(json_object_get(xds, "connected")));
	put_plain(to, "control_plane.pending_requests", "envoy_", true,
		  json_integer_value(json_object_get(xds, "pending")));
	put(to, (struct metric){.text = strdup("control_plane.identifier"),
				.family = strdup("envoy_control_plane_identifier"),
				.labels = strdup(""),
				.word = strdup(identifier ? identifier : "")});
	put_all(to, "weft.xds.eds", json_object_get(types, "eds"));
	put_all(to, "weft.xds.rds", json_object_get(types, "rds"));
	json_object_foreach((json_t *)(uintptr_t)xds, key, value)
	{
		char path[128];

		if (!strcmp(key, "types") || !strcmp(key, "connected") || json_is_array(value))
			continue;
		snprintf(path, sizeof(path), "weft.xds.%s", key);
		put_all(to, path, value);
	}
}

static void put_server(struct metrics *to, const json_t *server)
{
	bool ready = json_is_true(json_object_get(server, "ready"));

	/* envoy.admin.v3.ServerInfo.State: LIVE, INITIALIZING */
	put_plain(to, "server.state", "envoy_", true, ready ? 0 : 3);
	put_plain(to, "server.live", "envoy_", true, ready);
	put_plain(to, "server.uptime", "envoy_", true,
		  json_integer_value(json_object_get(server, "uptime")));
}

static void put_stats(struct metrics *to, const json_t *stats)
{
	static const char *const parts[] = {"decisions",	 "proxy",     "store", "dns",
					    "outlier_detection", "access_log"};
	const json_t *sources = json_object_get(stats, "sources"), *http, *keepalive;
	size_t n;

	put_server(to, json_object_get(stats, "server"));
	put_xds(to, json_object_get(sources, "xds"));
	put_subscriptions(to, json_object_get(stats, "subscriptions"));
	put_all(to, "weft.file", json_object_get(sources, "file"));
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		char path[64];

		snprintf(path, sizeof(path), "weft.%s", parts[i]);
		put_all(to, path, json_object_get(stats, parts[i]));
	}
	keepalive = json_object_get(json_object_get(stats, "proxy"), "keepalive_timeouts");
	if (keepalive)
		put_plain(to, "http2.keepalive_timeout", "envoy_", false,
			  json_integer_value(keepalive));
	json_array_foreach(json_object_get(stats, "http"), n, http) put_http(to, http);
	put_all(to, "weft.health_checks", json_object_get(stats, "health_checks"));
	put_checks(to, json_object_get(stats, "health_check"));
	put_cells(to, json_object_get(stats, "cells"));
}

/* ---- writing ---- */

static int by_text(const void *a, const void *b)
{
	return strcmp(((const struct metric *)a)->text, ((const struct metric *)b)->text);
}

static int by_family(const void *a, const void *b)
{
	const struct metric *x = a, *y = b;
	int c = strcmp(x->family, y->family);

	return c ? c : strcmp(x->labels, y->labels);
}

static bool is_same(const struct metric *a, const struct metric *b, enum weft_metrics_form form)
{
	if (form == WEFT_METRICS_TEXT)
		return !strcmp(a->text, b->text);
	return !by_family(a, b);
}

static void write_one(FILE *f, const struct metric *m, const struct metric *before,
		      json_int_t value, enum weft_metrics_form form)
{
	if (form == WEFT_METRICS_TEXT && m->word) {
		fprintf(f, "%s: \"%s\"\n", m->text, m->word);
		return;
	}
	if (form == WEFT_METRICS_TEXT) {
		fprintf(f, m->single ? "%s: %llu\n" : "%s: %lld\n", m->text,
			(unsigned long long)value);
		return;
	}
	if (!before || strcmp(before->family, m->family))
		fprintf(f, "# TYPE %s %s\n", m->family, m->gauge ? "gauge" : "counter");
	fprintf(f, m->single ? "%s%s%s%s %llu\n" : "%s%s%s%s %lld\n", m->family,
		*m->labels ? "{" : "", m->labels, *m->labels ? "}" : "", (unsigned long long)value);
}

static void write_all(FILE *f, const struct metrics *all, enum weft_metrics_form form)
{
	const struct metric *before = NULL;

	for (size_t i = 0; i < all->n;) {
		const struct metric *m = &all->v[i];
		json_int_t sum = 0;

		for (; i < all->n && is_same(&all->v[i], m, form); i++) {
			if (!m->single)
				sum += all->v[i].value;
			else if ((uint64_t)all->v[i].value > (uint64_t)sum)
				sum = all->v[i].value;
		}
		if (m->word && form != WEFT_METRICS_TEXT)
			continue; /* Prometheus has numbers only */
		write_one(f, m, before, sum, form);
		before = m;
	}
}

char *weft_metrics_write(const json_t *stats, enum weft_metrics_form form, size_t *ret_len)
{
	struct metrics all = {0};
	char *out = NULL;
	FILE *f;

	put_stats(&all, stats);
	if (all.n)
		qsort(all.v, all.n, sizeof(*all.v),
		      form == WEFT_METRICS_TEXT ? by_text : by_family);
	f = all.failed ? NULL : open_memstream(&out, ret_len);
	if (f) {
		write_all(f, &all, form);
		if (fclose(f)) {
			free(out);
			out = NULL;
		}
	}
	for (size_t i = 0; i < all.n; i++)
		metric_free(&all.v[i]);
	free(all.v);
	return out;
}
