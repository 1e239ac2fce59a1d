// SPDX-License-Identifier: Apache-2.0
/*
 * /clusters, in the text and the JSON form of Envoy (envoy.admin.v3.Clusters): limits and hosts of
 * each cluster in force. A host's counters are sums over pods. What weft does not count of a host
 * (requests that wait, timeouts, success rates) is left out.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/cleanup.h"
#include "agent/json_out.h"
#include "agent/regex/regex.h"
#include "agent/status/status_http.h"
#include "bpf/engine/engine.h"
#include "envoy/config/cluster/v3/cluster.pb-c.h"
#include "envoy/config/endpoint/v3/endpoint.pb-c.h"
#include "xds/json.h"

/* Envoy's, where a threshold is not said. */
#define LIMIT_DEFAULT 1024
#define RETRIES_DEFAULT 3
#define FILTER_PROGRAM_MAX 10000u

/* Counters of one host under its cell's name, "CLUSTER ADDRESS:PORT". */
struct used {
	char *name;
	uint64_t cx_active, rq_active, cx_total, cx_fail, rq_total, rq_error;
};

struct job {
	struct weft_status *status;
	int64_t view;
	struct weft_regex *filter; /* or NULL */
	json_t *ejected;	   /* cell name -> true */
	struct used *v;		   /* by name, one for each */
	size_t n, cap;
	bool json, failed;
	FILE *out;
	size_t written;
};

/* One host, on its way to either form. */
struct host {
	const char *cluster;
	const Envoy__Config__Endpoint__V3__LbEndpoint *lb;
	const Envoy__Config__Core__V3__SocketAddress *address;
	const Envoy__Config__Core__V3__Locality *locality; /* or NULL */
	uint32_t priority;
	struct used used;
	bool ejected, canary;
};

/* ---- taken down on the main thread ---- */

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct used *)a)->name, ((const struct used *)b)->name);
}

struct cells {
	struct job *j;
	const struct weft_daemon *d;
};

static void cell_add(void *ctx, uint32_t pod, uint32_t id, uint32_t cell)
{
	const struct cells *cells = ctx;
	struct job *j = cells->j;
	const char *kind, *name = weft_compiler_state_name(cells->d->compiler, id, &kind);
	const struct weft_cell_endpoint *e;

	(void)pod;
	if (!name || strcmp(kind, "endpoint") || j->failed)
		return;
	if (j->n == j->cap) {
		size_t cap = j->cap ? 2 * j->cap : 256;
		struct used *v = reallocarray(j->v, cap, sizeof(*v));

		j->failed = !v;
		if (!v)
			return;
		j->v = v;
		j->cap = cap;
	}
	e = weft_cell_endpoint(cell);
	j->v[j->n] = (struct used){.name = strdup(name),
				   .cx_active = e->cx_active,
				   .rq_active = e->rq_active,
				   .cx_total = e->cx_total,
				   .cx_fail = e->cx_fail,
				   .rq_total = e->rq_total,
				   .rq_error = e->rq_error};
	j->failed = !j->v[j->n].name;
	j->n += j->v[j->n].name != NULL;
}

static void ejected_take(struct weft_daemon *d, struct job *j)
{
	_auto_json_ json_t *list = d->outlier ? weft_outlier_hosts_json(d->outlier) : NULL;
	const json_t *item;
	size_t i;

	j->ejected = json_object();
	json_array_foreach(list, i, item)
	{
		const char *host = json_string_value(json_object_get(item, "host"));

		if (host)
			json_object_set_new(j->ejected, host, json_true());
	}
}

/* ---- on the answer's thread ---- */

/* Pods have cells of their own. */
static void used_join(struct job *j)
{
	size_t n = 0;

	if (j->n)
		qsort(j->v, j->n, sizeof(*j->v), by_name);
	for (size_t i = 0; i < j->n; i++) {
		struct used *to = n ? &j->v[n - 1] : NULL, *from = &j->v[i];

		if (!to || strcmp(to->name, from->name)) {
			j->v[n++] = *from;
			continue;
		}
		to->cx_active += from->cx_active;
		to->rq_active += from->rq_active;
		to->cx_total += from->cx_total;
		to->cx_fail += from->cx_fail;
		to->rq_total += from->rq_total;
		to->rq_error += from->rq_error;
		free(from->name);
	}
	j->n = n;
}

static void host_look_up(const struct job *j, struct host *h)
{
	const char *names[] = {h->address->address, h->lb->endpoint->hostname};

	/* A logical host goes by its name, whatever its address. */
	for (size_t i = 0; i < 2; i++) {
		_auto_free_ char *key = NULL;
		struct used *found;

		if (!names[i] || !*names[i] ||
		    asprintf(&key, "%s %s:%u", h->cluster, names[i], h->address->port_value) < 0)
			continue;
		found = j->n ? bsearch(&(struct used){.name = key}, j->v, j->n, sizeof(*j->v),
				       by_name)
			     : NULL;
		h->ejected = h->ejected || json_object_get(j->ejected, key);
		if (!found)
			continue;
		h->used = *found;
		return;
	}
}

/* envoy.lb: {canary: true} */
static bool is_canary(const Envoy__Config__Core__V3__Metadata *m)
{
	for (size_t i = 0; m && i < m->n_filter_metadata; i++) {
		const Google__Protobuf__Struct *s = m->filter_metadata[i]->value;

		for (size_t k = 0;
		     s && !strcmp(m->filter_metadata[i]->key, "envoy.lb") && k < s->n_fields; k++) {
			const Google__Protobuf__Value *v = s->fields[k]->value;

			if (!strcmp(s->fields[k]->key, "canary") && v &&
			    v->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_BOOL_VALUE)
				return v->bool_value;
		}
	}
	return false;
}

static const char *health_of(const struct host *h)
{
	switch (h->lb->health_status) {
	case ENVOY__CONFIG__CORE__V3__HEALTH_STATUS__UNHEALTHY:
	case ENVOY__CONFIG__CORE__V3__HEALTH_STATUS__TIMEOUT:
		return "UNHEALTHY";
	case ENVOY__CONFIG__CORE__V3__HEALTH_STATUS__DRAINING:
		return "DRAINING";
	case ENVOY__CONFIG__CORE__V3__HEALTH_STATUS__DEGRADED:
		return "DEGRADED";
	default:
		return "HEALTHY";
	}
}

static uint64_t succeeded(const struct used *u)
{
	uint64_t other = u->rq_error + u->rq_active;

	return u->rq_total > other ? u->rq_total - other : 0;
}

static uint32_t weight_of(const struct host *h)
{
	return h->lb->load_balancing_weight ? h->lb->load_balancing_weight->value : 1;
}

static void flags_text(const struct host *h, char *buf, size_t size)
{
	static const struct {
		const char *health, *flag;
	} flags[] = {{"UNHEALTHY", "/failed_eds_health"},
		     {"DRAINING", "/eds_status_draining"},
		     {"DEGRADED", "/degraded_eds_health"}};
	const char *eds = "";

	for (size_t i = 0; i < 3; i++)
		eds = strcmp(health_of(h), flags[i].health) ? eds : flags[i].flag;
	snprintf(buf, size, "%s%s", h->ejected ? "/failed_outlier_check" : "", eds);
	if (!*buf)
		snprintf(buf, size, "healthy");
}

static void host_text(FILE *f, const struct host *h)
{
	const Envoy__Config__Core__V3__Locality *l = h->locality;
	const struct {
		const char *name;
		uint64_t value;
	} numbers[] = {{"cx_active", h->used.cx_active}, {"cx_connect_fail", h->used.cx_fail},
		       {"cx_total", h->used.cx_total},	 {"rq_active", h->used.rq_active},
		       {"rq_error", h->used.rq_error},	 {"rq_success", succeeded(&h->used)},
		       {"rq_total", h->used.rq_total}};
	char flags[80];
	_auto_free_ char *at = NULL;

	flags_text(h, flags, sizeof(flags));
	if (asprintf(&at, strchr(h->address->address, ':') ? "%s::[%s]:%u" : "%s::%s:%u",
		     h->cluster, h->address->address, h->address->port_value) < 0) {
		at = NULL;
		return;
	}
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		fprintf(f, "%s::%s::%llu\n", at, numbers[i].name,
			(unsigned long long)numbers[i].value);
	fprintf(f,
		"%s::hostname::%s\n%s::health_flags::%s\n%s::weight::%u\n%s::region::%s\n"
		"%s::zone::%s\n%s::sub_zone::%s\n%s::canary::%s\n%s::priority::%u\n",
		at, h->lb->endpoint->hostname, at, flags, at, weight_of(h), at, l ? l->region : "",
		at, l ? l->zone : "", at, l ? l->sub_zone : "", at, h->canary ? "true" : "false",
		at, h->priority);
}

static void stat_add(json_t *list, const char *type, const char *name, uint64_t value)
{
	json_t *j = json_object();

	/* As proto JSON: what is the default is not said, 64 bits are text. */
	if (type)
		json_object_set_new(j, "type", json_string(type));
	if (value)
		json_object_set_new(j, "value", json_sprintf("%llu", (unsigned long long)value));
	json_object_set_new(j, "name", json_string(name));
	json_array_append_new(list, j);
}

static json_t *host_json(const struct host *h)
{
	json_t *stats = json_array(), *address = NULL, *locality = NULL, *j;
	json_t *health = json_pack("{s:s}", "eds_health_status", health_of(h));

	stat_add(stats, NULL, "cx_connect_fail", h->used.cx_fail);
	stat_add(stats, NULL, "cx_total", h->used.cx_total);
	stat_add(stats, NULL, "rq_error", h->used.rq_error);
	stat_add(stats, NULL, "rq_success", succeeded(&h->used));
	stat_add(stats, NULL, "rq_total", h->used.rq_total);
	stat_add(stats, "GAUGE", "cx_active", h->used.cx_active);
	stat_add(stats, "GAUGE", "rq_active", h->used.rq_active);
	if (h->ejected)
		json_object_set_new(health, "failed_outlier_check", json_true());
	if (weft_json_from_msg(&h->lb->endpoint->address->base, &address) < 0)
		address = NULL;
	if (h->locality && weft_json_from_msg(&h->locality->base, &locality) < 0)
		locality = NULL;
	j = json_pack("{s:o, s:o, s:o, s:I}", "address", address ? address : json_object(), "stats",
		      stats, "health_status", health, "weight", (json_int_t)weight_of(h));
	if (*h->lb->endpoint->hostname)
		json_object_set_new(j, "hostname",
				    weft_json_bytes(h->lb->endpoint->hostname,
						    strlen(h->lb->endpoint->hostname)));
	if (h->priority)
		json_object_set_new(j, "priority", json_integer(h->priority));
	json_object_set_new(j, "locality", locality ? locality : json_object());
	return j;
}

/* To either form; json: a list to add to, or NULL. */
static void hosts_write(struct job *j, const char *cluster,
			const Envoy__Config__Endpoint__V3__ClusterLoadAssignment *a, json_t *list)
{
	for (size_t i = 0; a && i < a->n_endpoints; i++) {
		const Envoy__Config__Endpoint__V3__LocalityLbEndpoints *l = a->endpoints[i];

		for (size_t k = 0; k < l->n_lb_endpoints; k++) {
			const Envoy__Config__Endpoint__V3__LbEndpoint *lb = l->lb_endpoints[k];
			struct host h = {.cluster = cluster,
					 .lb = lb,
					 .locality = l->locality,
					 .priority = l->priority};

			if (!lb->endpoint || !lb->endpoint->address ||
			    lb->endpoint->address->address_case !=
				    ENVOY__CONFIG__CORE__V3__ADDRESS__ADDRESS_SOCKET_ADDRESS)
				continue;
			h.address = lb->endpoint->address->socket_address;
			h.canary = is_canary(lb->metadata);
			host_look_up(j, &h);
			if (list)
				json_array_append_new(list, host_json(&h));
			else
				host_text(j->out, &h);
		}
	}
}

/* ---- limits ---- */

struct limits {
	uint32_t connections, pending, requests, retries;
};

static uint32_t value_of(const Google__Protobuf__UInt32Value *v, uint32_t unset)
{
	return v ? v->value : unset;
}

static struct limits limits_of(const Envoy__Config__Cluster__V3__Cluster *c, bool high)
{
	const Envoy__Config__Cluster__V3__CircuitBreakers *b = c->circuit_breakers;
	Envoy__Config__Core__V3__RoutingPriority want =
		high ? ENVOY__CONFIG__CORE__V3__ROUTING_PRIORITY__HIGH
		     : ENVOY__CONFIG__CORE__V3__ROUTING_PRIORITY__DEFAULT;
	struct limits l = {LIMIT_DEFAULT, LIMIT_DEFAULT, LIMIT_DEFAULT, RETRIES_DEFAULT};

	for (size_t i = 0; b && i < b->n_thresholds; i++) {
		const Envoy__Config__Cluster__V3__CircuitBreakers__Thresholds *t = b->thresholds[i];

		if (t->priority != want)
			continue;
		l.connections = value_of(t->max_connections, LIMIT_DEFAULT);
		l.pending = value_of(t->max_pending_requests, LIMIT_DEFAULT);
		l.requests = value_of(t->max_requests, LIMIT_DEFAULT);
		l.retries = value_of(t->max_retries, RETRIES_DEFAULT);
		break; /* the first counts */
	}
	return l;
}

static void limits_text(FILE *f, const char *cluster, const char *priority, struct limits l)
{
	fprintf(f,
		"%s::%s::max_connections::%u\n%s::%s::max_pending_requests::%u\n"
		"%s::%s::max_requests::%u\n%s::%s::max_retries::%u\n",
		cluster, priority, l.connections, cluster, priority, l.pending, cluster, priority,
		l.requests, cluster, priority, l.retries);
}

static json_t *limits_json(bool high, struct limits l)
{
	json_t *j = json_object();

	if (high)
		json_object_set_new(j, "priority", json_string("HIGH"));
	json_object_set_new(j, "max_connections", json_integer(l.connections));
	json_object_set_new(j, "max_pending_requests", json_integer(l.pending));
	json_object_set_new(j, "max_requests", json_integer(l.requests));
	json_object_set_new(j, "max_retries", json_integer(l.retries));
	return j;
}

/* ---- clusters ---- */

static void cluster_text(struct job *j, const struct weft_status_part *part,
			 const struct weft_resource *r)
{
	const Envoy__Config__Cluster__V3__Cluster *c = (const void *)r->msg;

	fprintf(j->out, "%s::observability_name::%s\n", c->name,
		*c->alt_stat_name ? c->alt_stat_name : c->name);
	limits_text(j->out, c->name, "default_priority", limits_of(c, false));
	limits_text(j->out, c->name, "high_priority", limits_of(c, true));
	fprintf(j->out, "%s::added_via_api::%s\n", c->name,
		part->source == WEFT_SOURCE_XDS ? "true" : "false");
	if (c->eds_cluster_config && *c->eds_cluster_config->service_name)
		fprintf(j->out, "%s::eds_service_name::%s\n", c->name,
			c->eds_cluster_config->service_name);
	hosts_write(j, c->name, weft_status_assignment(j->status, part, r).msg, NULL);
}

static void cluster_json(struct job *j, const struct weft_status_part *part,
			 const struct weft_resource *r)
{
	const Envoy__Config__Cluster__V3__Cluster *c = (const void *)r->msg;
	const char *shown = *c->alt_stat_name ? c->alt_stat_name : c->name;
	_auto_json_ json_t *item =
		json_pack("{s:o}", "name", weft_json_bytes(c->name, strlen(c->name)));
	json_t *hosts = json_array();

	if (part->source == WEFT_SOURCE_XDS)
		json_object_set_new(item, "added_via_api", json_true());
	hosts_write(j, c->name, weft_status_assignment(j->status, part, r).msg, hosts);
	if (json_array_size(hosts))
		json_object_set(item, "host_statuses", hosts);
	json_decref(hosts);
	json_object_set_new(item, "circuit_breakers",
			    json_pack("{s:[o, o]}", "thresholds",
				      limits_json(false, limits_of(c, false)),
				      limits_json(true, limits_of(c, true))));
	json_object_set_new(item, "observability_name", weft_json_bytes(shown, strlen(shown)));
	if (c->eds_cluster_config && *c->eds_cluster_config->service_name)
		json_object_set_new(item, "eds_service_name",
				    weft_json_bytes(c->eds_cluster_config->service_name,
						    strlen(c->eds_cluster_config->service_name)));
	fputs(j->written++ ? ",\n" : "\n\"cluster_statuses\": [\n", j->out);
	if (json_dumpf(item, j->out, JSON_INDENT(1) | JSON_ENSURE_ASCII) < 0)
		j->failed = true;
}

static int job_write(void *job, FILE *out)
{
	struct job *j = job;
	const struct weft_status_part *part;
	const struct weft_status_entry *e;

	j->out = out;
	weft_status_select(j->status, j->view);
	used_join(j);
	if (j->json)
		fputs("{", out);
	for (size_t i = 0; (e = weft_status_at(j->status, WEFT_XDS_CLUSTER, i, &part)); i++) {
		if (!e->active || j->failed || ferror(out) ||
		    (j->filter && weft_regex_search(j->filter, e->name, (uint32_t)strlen(e->name),
						    0, NULL, 0) != 1))
			continue;
		if (j->json)
			cluster_json(j, part, e->active);
		else
			cluster_text(j, part, e->active);
	}
	if (j->json)
		fputs(j->written ? "\n]\n}\n" : "}\n", out);
	return j->failed ? -ENOMEM : 0;
}

static void job_free(void *job)
{
	struct job *j = job;

	for (size_t i = 0; i < j->n; i++)
		free(j->v[i].name);
	free(j->v);
	weft_status_free(j->status);
	weft_regex_free(j->filter);
	json_decref(j->ejected);
	free(j);
}

void weft_http_clusters(struct weft_daemon *d, const char *query, struct weft_http_answer *ret)
{
	_auto_free_ char *filter = weft_http_query_value(query, "filter");
	_auto_free_ char *format = weft_http_query_value(query, "format");
	struct weft_regex_error error = {0};
	struct job *j = calloc(1, sizeof(*j));
	struct cells cells = {.j = j, .d = d};

	ret->status = 500;
	if (!j)
		return;
	j->json = format && !strcmp(format, "json");
	if (filter && weft_regex_new(filter, FILTER_PROGRAM_MAX, &j->filter, &error) == -EINVAL) {
		weft_http_say(ret, 400, "filter: %s\n", error.text);
		job_free(j);
		return;
	}
	if (weft_http_view(d, query, ret, &j->view) < 0) {
		job_free(j);
		return;
	}
	weft_store_cells_each(d->store, cell_add, &cells);
	ejected_take(d, j);
	if (j->failed || weft_status_collect(d, &j->status) < 0) {
		job_free(j);
		return;
	}
	ret->status = 200;
	ret->type = j->json ? "application/json" : NULL;
	ret->stream = (struct weft_client_stream){job_write, job_free, j};
}
