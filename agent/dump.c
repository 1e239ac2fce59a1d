// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "agent/access/writer.h"
#include "agent/breakers.h"
#include "agent/cleanup.h"
#include "agent/compile/parts.h"
#include "agent/daemon.h"
#include "agent/json_out.h"
#include "bpf/engine/engine.h"
#include "xds/body.h"
#include "xds/clock.h"

/* Connections shown at once: a person reads no more, and the answer stays within
 * WEFT_ADMIN_ANSWER_MAX. */
#define CONNECTIONS_SHOWN 10000

static const char *const kinds[] = {"listeners", "routes", "clusters", "endpoints"};
#define N_KINDS (sizeof(kinds) / sizeof(kinds[0]))

static json_t *not_applied(struct weft_daemon *d)
{
	const struct weft_diag *diag = weft_compiler_not_applied(d->compiler);

	return diag ? weft_json_diag(diag) : json_array();
}

/* ---- pods, connections ---- */

static void pod_append(void *ctx, const struct weft_pod_info *pod)
{
	json_array_append_new(ctx, weft_pod_json(pod));
}

static json_t *dump_pods(struct weft_daemon *d)
{
	json_t *list = json_array();

	weft_pods_each(d->pods, pod_append, list);
	return json_pack("{s:s, s:o}", "what", "pods", "pods", list);
}

static json_t *dump_connections(struct weft_daemon *d)
{
	json_t *list =
		d->proxy ? weft_proxy_connections(d->proxy, CONNECTIONS_SHOWN) : json_array();

	return json_pack("{s:s, s:o}", "what", "connections", "connections",
			 list ? list : json_array());
}

/* ---- stats ---- */

struct cells {
	struct weft_daemon *d;
	json_t *list;
};

static void set_u64(json_t *j, const char *key, uint64_t value)
{
	json_object_set_new(j, key, json_integer((json_int_t)value));
}

static void cluster_set(json_t *j, const struct weft_cell_cluster *c)
{
	set_u64(j, "cx_active", (uint64_t)c->cx_active[0] + c->cx_active[1]);
	set_u64(j, "rq_pending", (uint64_t)c->rq_pending[0] + c->rq_pending[1]);
	set_u64(j, "rq_active", (uint64_t)c->rq_active[0] + c->rq_active[1]);
	set_u64(j, "retry_active", (uint64_t)c->retry_active[0] + c->retry_active[1]);
	set_u64(j, "rq_total", c->rq_total);
	set_u64(j, "cx_total", c->cx_total);
	set_u64(j, "cx_overflow", c->cx_overflow);
	set_u64(j, "pending_overflow", c->pending_overflow);
	set_u64(j, "rq_overflow", c->rq_overflow);
	set_u64(j, "cx_connect_fail", c->cx_connect_fail);
	set_u64(j, "keepalive_timeout", c->keepalive_timeout);
	set_u64(j, "rq_timeout", c->rq_timeout);
	set_u64(j, "rq_retry", c->rq_retry);
	set_u64(j, "rq_2xx", c->rq_2xx);
	set_u64(j, "rq_4xx", c->rq_4xx);
	set_u64(j, "rq_5xx", c->rq_5xx);
}

static void bucket_set(json_t *j, const struct weft_cell_bucket *b)
{
	set_u64(j, "enabled", b->enabled);
	set_u64(j, "enforced", b->enforced);
	set_u64(j, "rate_limited", b->rate_limited);
	set_u64(j, "ok", b->ok);
}

static void endpoint_set(json_t *j, const struct weft_cell_endpoint *e)
{
	set_u64(j, "rq_active", e->rq_active);
	set_u64(j, "cx_active", e->cx_active);
	set_u64(j, "rq_total", e->rq_total);
	set_u64(j, "rq_error", e->rq_error);
	set_u64(j, "cx_total", e->cx_total);
	set_u64(j, "cx_fail", e->cx_fail);
}

static void filter_set(json_t *j, const struct weft_cell_filter *f)
{
	set_u64(j, "allowed", f->allowed);
	set_u64(j, "denied", f->denied);
	set_u64(j, "shadow_allowed", f->shadow_allowed);
	set_u64(j, "shadow_denied", f->shadow_denied);
	set_u64(j, "aborts_injected", f->aborts);
	set_u64(j, "response_rl_injected", f->rates);
	set_u64(j, "delays_injected", f->delays);
	set_u64(j, "faults_overflow", f->overflow);
	set_u64(j, "active_faults", f->active);
	set_u64(j, "origin_valid", f->origin_valid);
	set_u64(j, "origin_invalid", f->origin_invalid);
}

static void cell_append(void *ctx, uint32_t pod, uint32_t id, uint32_t cell)
{
	struct cells *cells = ctx;
	const char *kind = NULL, *name = weft_compiler_state_name(cells->d->compiler, id, &kind);
	json_t *j;

	/* Of a resource that is gone; its cell goes after grace. */
	if (!name)
		return;
	j = json_pack("{s:i, s:s, s:o}", "pod", (int)pod, "kind", kind, "name",
		      weft_json_bytes(name, strlen(name)));
	if (strcmp(kind, "cluster") == 0) {
		json_t *breakers = weft_breakers_json(cells->d->proxy, pod, name, id, cell);

		cluster_set(j, weft_cell_cluster(cell));
		if (breakers)
			json_object_set_new(j, "circuit_breakers", breakers);
	} else if (strcmp(kind, "endpoint") == 0) {
		endpoint_set(j, weft_cell_endpoint(cell));
	} else if (strcmp(kind, "filter") == 0) {
		filter_set(j, weft_cell_filter(cell));
	} else {
		bucket_set(j, weft_cell_bucket(cell));
	}
	json_array_append_new(cells->list, j);
}

static json_t *proxy_json(struct weft_proxy *p)
{
	struct weft_proxy_stats s;
	json_t *j = json_object();

	weft_proxy_stats(p, &s);
	set_u64(j, "connections", s.connections);
	set_u64(j, "connections_total", s.connections_total);
	set_u64(j, "exchanges_total", s.exchanges_total);
	set_u64(j, "upstream_active", s.upstream_active);
	set_u64(j, "upstream_idle", s.upstream_idle);
	set_u64(j, "upstream_total", s.upstream_total);
	set_u64(j, "upstream_fail", s.upstream_fail);
	set_u64(j, "retries", s.retries);
	set_u64(j, "timeouts", s.timeouts);
	set_u64(j, "tcp_total", s.tcp_total);
	set_u64(j, "not_captured", s.not_captured);
	set_u64(j, "over_share", s.over_share);
	set_u64(j, "pool_overflow", s.pool_overflow);
	set_u64(j, "protocol_errors", s.protocol_errors);
	set_u64(j, "keepalive_timeouts", s.keepalive_timeouts);
	set_u64(j, "mirrored", s.mirrored);
	set_u64(j, "mirrors_lost", s.mirrors_lost);
	set_u64(j, "spliced_bytes", s.spliced_bytes);
	set_u64(j, "decisions_honoured", s.decisions_honoured);
	set_u64(j, "decisions_dropped", s.decisions_dropped);
	return j;
}

static json_t *store_json(const struct weft_store *store)
{
	struct weft_store_stats s;
	json_t *j = json_object();

	weft_store_stats(store, &s);
	set_u64(j, "image_used", s.img_used);
	set_u64(j, "image_size", s.img_size);
	set_u64(j, "objects", s.objects);
	set_u64(j, "waiting_bytes", s.waiting_bytes);
	set_u64(j, "cells_used", s.cells_used);
	set_u64(j, "cells", s.cells);
	set_u64(j, "publishes", s.publishes);
	set_u64(j, "full", s.full);
	return j;
}

/* Of xDS: held once however many views have them. */
static json_t *contents_json(void)
{
	size_t contents, users;
	json_t *j = json_object();

	weft_body_stats(&contents, &users);
	set_u64(j, "contents", contents);
	set_u64(j, "users", users);
	return j;
}

static json_t *sources_json(struct weft_daemon *d)
{
	json_t *j = json_object();

	if (d->file)
		json_object_set_new(j, "file", weft_source_file_json(d->file));
	if (d->streams)
		json_object_set_new(j, "xds", weft_streams_json(d->streams));
	return j;
}

static void share_append(void *ctx, const struct weft_pod_info *pod)
{
	struct cells *shares = ctx;
	json_t *j = weft_kernel_pod_use(shares->d->kernel, pod->id);

	json_object_set_new(j, "pod", json_integer((json_int_t)pod->id));
	json_array_append_new(shares->list, j);
}

static json_t *server_json(const struct weft_daemon *d)
{
	int64_t up = weft_clock_ms(CLOCK_REALTIME) - d->started_ms;

	return json_pack("{s:b, s:I}", "ready", weft_daemon_ready(d) ? 1 : 0, "uptime",
			 (json_int_t)(up > 0 ? up / 1000 : 0));
}

/* Of connection managers by stat_prefix, of both paths. */
static json_t *http_json(void)
{
	const struct weft_http_stat *all = weft_state_head()->http;
	json_t *list = json_array();

	for (uint32_t i = 0; i < WEFT_HTTP_STATS_MAX; i++) {
		const struct weft_http_stat *s = &all[i];
		json_int_t n[6], sum = 0;

		if (i && !s->name[0])
			break;
		for (int k = 0; k < 6; k++)
			sum += n[k] = (json_int_t)__atomic_load_n(&s->rq[k], __ATOMIC_RELAXED);
		if (!i && !sum)
			continue; /* every one has an entry of its own */
		json_array_append_new(
			list, json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "name",
					i ? s->name : "other", "downstream_rq_total", sum,
					"downstream_rq_1xx", n[1], "downstream_rq_2xx", n[2],
					"downstream_rq_3xx", n[3], "downstream_rq_4xx", n[4],
					"downstream_rq_5xx", n[5], "downstream_rq_rx_reset",
					(json_int_t)__atomic_load_n(&s->rq[WEFT_HTTP_STAT_RESET],
								    __ATOMIC_RELAXED)));
	}
	return list;
}

static json_t *access_json(struct weft_proxy *p)
{
	const struct weft_access *a = weft_proxy_access(p);
	struct weft_access_stats s = {0};

	weft_access_stats(a, &s);
	return json_pack("{s:I, s:I, s:I, s:I, s:o}", "lines", (json_int_t)s.lines, "lost",
			 (json_int_t)s.lost, "failed", (json_int_t)s.failed, "files",
			 (json_int_t)s.files, "paths", weft_access_dump(a));
}

static json_t *dump_stats(struct weft_daemon *d)
{
	json_t *sources = sources_json(d), *j = json_object();
	struct cells cells = {.d = d, .list = json_array()};
	struct cells shares = {.d = d, .list = json_array()};

	json_object_set_new(j, "what", json_string("stats"));
	json_object_set_new(j, "server", server_json(d));
	if (d->kernel)
		json_object_set_new(j, "decisions", weft_kernel_counters(d->kernel));
	if (d->proxy)
		json_object_set_new(j, "proxy", proxy_json(d->proxy));
	if (d->proxy)
		json_object_set_new(j, "access_log", access_json(d->proxy));
	json_object_set_new(j, "http", http_json());
	if (d->proxy)
		json_object_set_new(j, "rate_limit_services", weft_proxy_limits(d->proxy));
	json_object_set_new(j, "store", store_json(d->store));
	json_object_set_new(j, "resources", contents_json());
	json_object_set_new(j, "sources", sources);
	if (d->kernel)
		weft_pods_each(d->pods, share_append, &shares);
	json_object_set_new(j, "pods", shares.list);
	json_object_set_new(j, "dns", weft_dns_stats_json(d->dns));
	json_object_set_new(j, "outlier_detection", weft_outlier_stats_json(d->outlier));
	json_object_set_new(j, "ejections", weft_outlier_publishing_json(d->outlier));
	json_object_set_new(j, "health_check", weft_health_stats_json(d->health));
	json_object_set_new(j, "health_checks", weft_health_limits_json(d->health));
	weft_store_cells_each(d->store, cell_append, &cells);
	json_object_set_new(j, "cells", cells.list);
	return j;
}

/* ---- the whole ---- */

static json_t *dump_summary(struct weft_daemon *d)
{
	json_t *sources = sources_json(d), *agree = json_object(), *counts = json_object(), *j;

	for (size_t i = 0; i < N_KINDS; i++) {
		json_t *kind = weft_dump_resources(d, kinds[i]);

		json_object_set(agree, kinds[i], json_object_get(kind, "agree"));
		set_u64(counts, kinds[i], json_array_size(json_object_get(kind, "resources")));
		json_decref(kind);
	}
	j = json_pack("{s:s, s:s, s:i, s:b, s:I, s:I, s:b, s:o, s:o, s:o, s:o}", "what", "summary",
		      "version", WEFT_VERSION, "pid", (int)getpid(), "ready",
		      weft_daemon_ready(d) ? 1 : 0, "started_ms", (json_int_t)d->started_ms,
		      "epoch", (json_int_t)weft_store_epoch(d->store), "kernel", d->kernel != NULL,
		      "resources", counts, "agree", agree, "sources", sources, "not_applied",
		      not_applied(d));
	if (j && d->kernel)
		json_object_set_new(j, "programs", weft_kernel_programs(d->kernel));
	return j;
}

json_t *weft_dump(struct weft_daemon *d, const char *what)
{
	for (size_t i = 0; i < N_KINDS; i++) {
		if (strcmp(what, kinds[i]) == 0)
			return weft_dump_resources(d, what);
	}
	if (strcmp(what, "pods") == 0)
		return dump_pods(d);
	if (strcmp(what, "connections") == 0)
		return dump_connections(d);
	if (strcmp(what, "stats") == 0)
		return dump_stats(d);
	if (strcmp(what, "image") == 0)
		return json_pack("{s:s, s:o}", "what", "image", "image", weft_image_json(d->store));
	if (strcmp(what, "summary") == 0)
		return dump_summary(d);
	return NULL;
}
