// SPDX-License-Identifier: Apache-2.0
/*
 * What one changed resource costs in a mesh of many: a delta response as bytes, through the xDS
 * client, the views and the compiler, to the root of an image on the heap. No kernel, no server.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "agent/compile/compile.h"
#include "agent/dns/dns.h"
#include "agent/outlier/outlier.h"
#include "agent/view.h"
#include "envoy/config/endpoint/v3/endpoint.pb-c.h"
#include "envoy/service/discovery/v3/discovery.pb-c.h"
#include "xds/delta.h"
#include "xds/file.h"

#define IMG (256u << 20)
#define STATE (64u << 20)

struct mesh {
	unsigned int services, endpoints, routes; /* endpoints and routes of a service */
	struct weft_loop *loop;
	struct weft_store *store;
	struct weft_compiler *compiler;
	struct weft_dns *dns;
	struct weft_views *views;
	struct weft_delta *delta;
	struct weft_snapshot *all;
	uint64_t version;
	unsigned int published, refused;
	double publish_ms; /* CPU in publish() */
};

static double cpu_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void check(int r, const char *what)
{
	if (r >= 0)
		return;
	fprintf(stderr, "%s: %s\n", what, strerror(-r));
	exit(1);
}

static void mesh_write(const struct mesh *m, FILE *f)
{
	fprintf(f,
		"- {\"@type\": type.googleapis.com/envoy.config.listener.v3.Listener, name: l, "
		"address: "
		"{socket_address: {address: 10.0.0.1, port_value: 80}}, filter_chains: [{filters: "
		"[{name: h, typed_config: {\"@type\": type.googleapis.com/envoy.extensions.filters."
		"network.http_connection_manager.v3.HttpConnectionManager, stat_prefix: s, "
		"http_filters: [{name: r, typed_config: {\"@type\": type.googleapis.com/envoy."
		"extensions.filters.http.router.v3.Router}}], rds: {route_config_name: r, "
		"config_source: {ads: {}}}}}]}]}\n");
	for (unsigned int i = 0; i < m->services; i++) {
		fprintf(f,
			"- {\"@type\": type.googleapis.com/envoy.config.cluster.v3.Cluster, name: "
			"'outbound|80||s%u.default.svc.cluster.local', type: EDS, "
			"eds_cluster_config: "
			"{eds_config: {ads: {}}}, circuit_breakers: {thresholds: [{max_requests: "
			"1000}]}}\n",
			i);
		fprintf(f,
			"- {\"@type\": type.googleapis.com/envoy.config.endpoint.v3."
			"ClusterLoadAssignment, cluster_name: "
			"'outbound|80||s%u.default.svc.cluster."
			"local', endpoints: [{lb_endpoints: [",
			i);
		for (unsigned int j = 0; j < m->endpoints; j++) {
			unsigned int n = i * m->endpoints + j;

			fprintf(f,
				"%s{endpoint: {address: {socket_address: {address: 10.%u.%u.%u, "
				"port_value: 8080}}}}",
				j ? ", " : "", 1 + (n >> 16), n >> 8 & 255, n & 255);
		}
		fprintf(f, "]}]}\n");
	}
	fprintf(f, "- {\"@type\": type.googleapis.com/envoy.config.route.v3.RouteConfiguration, "
		   "name: r, virtual_hosts: [");
	for (unsigned int i = 0; i < m->services; i++) {
		fprintf(f, "%s{name: s%u, domains: [s%u.default.svc.cluster.local, s%u], routes: [",
			i ? ", " : "", i, i, i);
		for (unsigned int j = m->routes; j-- > 0;)
			fprintf(f,
				"{match: {prefix: '%s'}, route: {cluster: "
				"'outbound|80||s%u.default."
				"svc.cluster.local'}}%s",
				j ? "/v" : "/", i, j ? ", " : "");
		fprintf(f, "]}");
	}
	fprintf(f, "]}\n");
}

static void mesh_load(struct mesh *m)
{
	char path[] = "/tmp/weft-bench-XXXXXX.yaml";
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;
	FILE *f = fdopen(mkstemps(path, 5), "w");
	int r;

	if (!f)
		check(-errno, path);
	mesh_write(m, f);
	fclose(f);
	r = weft_file_load(path, 0, &diag, &m->all);
	unlink(path);
	if (diag.n)
		fprintf(stderr, "%s %s\n", diag.entries[0].resource, diag.entries[0].reason);
	check(r, "load");
}

static int publish(void *ctx, const struct weft_snapshot *next, struct weft_diag *diag)
{
	struct mesh *m = ctx;
	double before = cpu_ms();
	int r = weft_views_set(m->views, WEFT_VIEW_DEFAULT, WEFT_SOURCE_XDS, next, diag);

	m->publish_ms += cpu_ms() - before;
	m->published += !r;
	m->refused += r != 0;
	if (r && diag->n)
		fprintf(stderr, "%s %s: %s\n", diag->entries[0].resource, diag->entries[0].field,
			diag->entries[0].reason);
	return r;
}

static void on_resolved(void *ctx)
{
	(void)ctx;
}

/* Requests are of no interest here. */
static void requests_drop(struct mesh *m)
{
	uint8_t *data;
	size_t len;

	while (!weft_delta_next_request(m->delta, &data, &len))
		free(data);
}

/* A response with resources first..first+n-1 of a type. */
static void respond(struct mesh *m, enum weft_xds_type type, size_t first, size_t n)
{
	Envoy__Service__Discovery__V3__DeltaDiscoveryResponse resp =
		ENVOY__SERVICE__DISCOVERY__V3__DELTA_DISCOVERY_RESPONSE__INIT;
	Envoy__Service__Discovery__V3__Resource *list = calloc(n, sizeof(*list)), **p;
	Google__Protobuf__Any *any = calloc(n, sizeof(*any));
	char version[32];
	uint8_t *data;
	size_t len;

	p = calloc(n, sizeof(*p));
	if (!list || !any || !p)
		check(-ENOMEM, "respond");
	snprintf(version, sizeof(version), "%llu", (unsigned long long)++m->version);
	for (size_t i = 0; i < n; i++) {
		const struct weft_resource *r = weft_snapshot_at(m->all, type, first + i);

		envoy__service__discovery__v3__resource__init(&list[i]);
		google__protobuf__any__init(&any[i]);
		p[i] = &list[i];
		list[i].name = r->name;
		list[i].version = version;
		list[i].resource = &any[i];
		any[i].type_url = (char *)(uintptr_t)weft_xds_type_url(type);
		any[i].value.len = protobuf_c_message_get_packed_size(r->msg);
		any[i].value.data = malloc(any[i].value.len + 1);
		if (!any[i].value.data)
			check(-ENOMEM, "respond");
		protobuf_c_message_pack(r->msg, any[i].value.data);
	}
	resp.type_url = (char *)(uintptr_t)weft_xds_type_url(type);
	resp.nonce = version;
	resp.n_resources = n;
	resp.resources = p;
	len = protobuf_c_message_get_packed_size(&resp.base);
	data = malloc(len);
	if (!data)
		check(-ENOMEM, "respond");
	protobuf_c_message_pack(&resp.base, data);
	check(weft_delta_receive(m->delta, data, len, (int64_t)m->version), "receive");
	requests_drop(m);
	for (size_t i = 0; i < n; i++)
		free(any[i].value.data);
	free(data);
	free(list);
	free(any);
	free(p);
}

static void mesh_start(struct mesh *m)
{
	const struct weft_delta_ops ops = {.publish = publish};
	const struct weft_delta_node node = {.id = "bench", .cluster = ""};

	mesh_load(m);
	check(weft_loop_new(&m->loop), "loop");
	check(weft_store_new_heap(IMG, STATE, &m->store), "store");
	check(weft_compiler_new(m->store, &m->compiler), "compiler");
	check(weft_views_new(m->compiler, NULL, NULL, &m->views), "views");
	check(weft_dns_new(m->loop, on_resolved, NULL, &m->dns), "dns");
	weft_views_resolve(m->views, m->dns);
	check(weft_delta_new(&node, &ops, m, &m->delta), "delta");
	check(weft_delta_connected(m->delta, 0), "connect");
	requests_drop(m);
}

static void mesh_stop(struct mesh *m)
{
	weft_delta_free(m->delta);
	weft_views_free(m->views);
	weft_dns_free(m->dns);
	weft_compiler_free(m->compiler);
	weft_store_free(m->store);
	weft_loop_free(m->loop);
	weft_snapshot_free(m->all);
}

/* Another port for the first host of one service. */
static void change(struct mesh *m, size_t i, unsigned int port)
{
	const struct weft_resource *r = weft_snapshot_at(m->all, WEFT_XDS_ENDPOINT, i);
	Envoy__Config__Endpoint__V3__ClusterLoadAssignment *a = (void *)r->msg;

	a->endpoints[0]->lb_endpoints[0]->endpoint->address->socket_address->port_value = port;
	respond(m, WEFT_XDS_ENDPOINT, i, 1);
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void first_publish(struct mesh *m)
{
	static const enum weft_xds_type order[] = {WEFT_XDS_CLUSTER, WEFT_XDS_ENDPOINT,
						   WEFT_XDS_LISTENER, WEFT_XDS_ROUTE};
	double before = cpu_ms();

	for (size_t i = 0; i < sizeof(order) / sizeof(*order); i++)
		respond(m, order[i], 0, weft_snapshot_count(m->all, order[i]));
	printf("first complete configuration: %.0f ms, %u publishes\n", cpu_ms() - before,
	       m->published);
}

static void changes(struct mesh *m, unsigned int turns)
{
	double *ms = calloc(turns, sizeof(*ms)), reclaim = 0;
	struct weft_store_stats stats;
	unsigned int published = m->published;

	if (!ms)
		check(-ENOMEM, "changes");
	m->publish_ms = 0;
	for (unsigned int i = 0; i < turns; i++) {
		double before = cpu_ms();

		change(m, i * 7919ul % m->services, 9000 + i % 1000);
		ms[i] = cpu_ms() - before;
		if (i % 100 == 99) {
			before = cpu_ms();
			weft_compiler_reclaim(m->compiler);
			reclaim += cpu_ms() - before;
		}
	}
	qsort(ms, turns, sizeof(*ms), compare);
	weft_store_stats(m->store, &stats);
	printf("one endpoint set changed: median %.3f ms, p99 %.3f ms CPU; views and compiler %.3f "
	       "ms; "
	       "%u publishes\n",
	       ms[turns / 2], ms[turns * 99 / 100], m->publish_ms / turns,
	       m->published - published);
	if (turns >= 100)
		printf("reclaim of 100 publishes: %.3f ms; image %llu KiB, %llu objects\n",
		       reclaim / (turns / 100), (unsigned long long)stats.img_used >> 10,
		       (unsigned long long)stats.objects);
	free(ms);
}

int main(int argc, char **argv)
{
	bool quick = argc > 1 && !strcmp(argv[1], "--quick");
	struct mesh m = {.services = quick ? 200 : 5000, .endpoints = 4, .routes = 2};

	mesh_start(&m);
	first_publish(&m);
	changes(&m, quick ? 100 : 1000);
	mesh_stop(&m);
	if (m.refused)
		fprintf(stderr, "%u publishes were refused\n", m.refused);
	return m.refused != 0;
}
