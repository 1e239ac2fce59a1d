/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The daemon: its parts, and what its files share. Main thread. */

#include <jansson.h>
#include <stdbool.h>

#include "agent/admin.h"
#include "agent/cells.h"
#include "agent/compile/compile.h"
#include "agent/dns/dns.h"
#include "agent/enroll/pod.h"
#include "agent/health/health.h"
#include "agent/http_admin.h"
#include "agent/kernel/kernel.h"
#include "agent/loop.h"
#include "agent/outlier/outlier.h"
#include "agent/proxy/proxy.h"
#include "agent/source.h"
#include "agent/status/csds.h"
#include "agent/store/store.h"
#include "agent/trim.h"
#include "agent/view.h"
#include "agent/xds/streams.h"

struct weft_daemon_config {
	const char *config, *xds; /* one of them at least */
	const char *const *xds_more; /* further servers */
	size_t n_xds_more;
	const struct weft_xds_tls *xds_tls;	     /* NULL: plaintext */
	const char *xds_token_file, *xds_cluster_id, *xds_cache; /* or NULL */
	bool xds_token_plaintext, xds_sotw, xds_separate;
	bool xds_per_pod; /* a stream for each kind of pod */
	uint32_t xds_interval_ms;
	const char *cgroup;	  /* NULL: the whole hierarchy */
	const char *admin;
	const char *admin_http, *csds;					  /* NULL: none */
	const char *node_id, *node_cluster, *node_metadata, *node_domain; /* or NULL */
	uint32_t image_size;
	uint32_t pod_connections; /* slots of one pod */
	uint32_t pod_files;	  /* descriptors of one pod's connections, 0: a quarter */
	unsigned int workers;
	const char *access_dir; /* of access logs, NULL: none but those to streams */
	bool no_kernel;
};

struct weft_daemon {
	const struct weft_daemon_config *cfg;
	struct weft_loop *loop;
	struct weft_kernel *kernel; /* NULL with no_kernel, like proxy */
	struct weft_store *store;
	struct weft_compiler *compiler;
	struct weft_views *views;
	struct weft_dns *dns;
	struct weft_outlier *outlier;
	int outlier_timer;
	struct weft_health *health;
	struct weft_proxy *proxy;
	struct weft_proxy_ops proxy_ops;
	struct weft_pods *pods;
	struct weft_cells_seen cells[WEFT_VIEWS_MAX]; /* by view, of all its pods */
	struct weft_source_file *file; /* NULL: no --config */
	struct weft_streams *streams;  /* NULL: no --xds */
	struct weft_admin *admin;
	struct weft_http *http; /* NULL: no --admin-http */
	struct weft_csds *csds; /* NULL: no --csds */
	int signal_fd, second_fd;
	int64_t started_ms;   /* wall clock */
	unsigned int seconds; /* ticks since the start */
	struct weft_trim trim;
	char host[256];	      /* its name */
	bool stop, ready;
};

/* Runs until SIGTERM or SIGINT. -errno with causes in diag when it cannot start. */
int weft_daemon_run(const struct weft_daemon_config *cfg, struct weft_diag *diag);

/* Access logs are opened anew. */
void weft_daemon_reopen(struct weft_daemon *d);

/* CLOCK_MONOTONIC in ms. */
int64_t weft_daemon_now_ms(void);

/* daemon_admin.c: answers one request. weft_admin_fn; ctx is the daemon. */
json_t *weft_daemon_answer(void *ctx, const json_t *request, int fd[WEFT_ADMIN_FDS_MAX]);

/* daemon_http.c: answers one request. weft_http_fn; ctx is the daemon. */
void weft_daemon_http(void *ctx, const struct weft_http_request *request,
		      struct weft_http_answer *ret);
/* The first complete configuration of every enrolled pod is in force. */
bool weft_daemon_ready(const struct weft_daemon *d);

/* daemon_hosts.c: outlier detection and health checks, begun with the daemon. -errno. */
int weft_daemon_outlier_start(struct weft_daemon *d);
int weft_daemon_health_start(struct weft_daemon *d);
/* News of an endpoint, from workers and programs; ctx: the struct weft_outlier, the struct
 * weft_health. Any thread. */
void weft_daemon_outlier_tell(void *ctx, uint32_t pod, uint32_t cluster, uint32_t endpoint);
void weft_daemon_health_tell(void *ctx, uint32_t pod, uint32_t cluster, uint32_t endpoint);
/* What is due of outlier detection is done, and its timer set. */
void weft_daemon_outlier_work(struct weft_daemon *d);
/* A pod whose hosts cannot all be checked is enrolled all the same: they are as EDS says. */
void weft_daemon_health_begin(struct weft_daemon *d, const struct weft_proxy_pod *pod);

/* The first complete configuration of a view is in force. */
bool weft_daemon_complete(const struct weft_daemon *d, uint32_t view);
/* Pods for which that is so, and whose hosts were checked, are governed from now on. */
void weft_daemon_release(struct weft_daemon *d);

/* dump.c: what `dump` shows, NULL for a word it does not know. */
json_t *weft_dump(struct weft_daemon *d, const char *what);
/* dump_resources.c: of listeners, routes, clusters or endpoints. */
json_t *weft_dump_resources(struct weft_daemon *d, const char *what);
