// SPDX-License-Identifier: Apache-2.0
#include "agent/daemon.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <time.h>

#include "agent/access/writer.h"
#include "agent/cells.h"
#include "agent/cleanup.h"
#include "agent/log.h"
#include "agent/privileges.h"
#include "bpf/engine/engine.h"
#include "xds/clock.h"

#define SECOND_MS 1000
/* How long the first answers for names are waited for before the agent says it is ready. */
#define WARM_MAX_MS 5000
/* Connections that were never accepted are forgotten after so long: a backlog that is read at all
 * is read sooner. */
#define SWEEP_AGE_NS (30ull * 1000000000u)
#define SWEEP_SECONDS 10

int64_t weft_daemon_now_ms(void)
{
	return weft_clock_ms(CLOCK_MONOTONIC);
}

/* ---- each second ---- */

/* Written beside the valid text, then pointed to: a reader never sees half a date. */
static void date_write(struct weft_state_head *head)
{
	uint32_t other = !head->date_which;
	time_t now = time(NULL);
	struct tm tm;

	gmtime_r(&now, &tm);
	strftime(head->date[other], sizeof(head->date[other]), "%a, %d %b %Y %H:%M:%S GMT", &tm);
	__atomic_store_n(&head->date_which, other, __ATOMIC_RELEASE);
}

static void beat(void)
{
	struct weft_state_head *head = weft_state_head();

	date_write(head);
	__atomic_store_n(&head->beat_ns, weft_clock_ns(CLOCK_MONOTONIC), __ATOMIC_RELAXED);
}

static void log_gone(void *ctx, const struct weft_pod_info *pod)
{
	(void)ctx;
	WEFT_LOG(WEFT_LOG_INFO, "pod has gone", WEFT_KV_U("id", pod->id),
		 WEFT_KV_S("name", pod->name), WEFT_KV_S("namespace", pod->ns));
}

static void on_second(void *ctx, uint32_t events)
{
	struct weft_daemon *d = ctx;
	struct weft_store_stats stats;

	(void)events;
	weft_timer_ack(d->second_fd);
	beat();
	weft_compiler_reclaim(d->compiler);
	weft_store_stats(d->store, &stats);
	weft_trim_tick(&d->trim, stats.publishes);
	weft_pods_check(d->pods, weft_daemon_now_ms(), log_gone, NULL);
	if (d->streams)
		weft_streams_tick(d->streams);
	weft_daemon_release(d);
	weft_admin_tick(d->admin);
	weft_http_tick(d->http);
	if (d->kernel && ++d->seconds % SWEEP_SECONDS == 0)
		weft_kernel_sweep(d->kernel, SWEEP_AGE_NS);
}

void weft_daemon_reopen(struct weft_daemon *d)
{
	if (d->proxy)
		weft_access_reopen(weft_proxy_access(d->proxy));
}

static void on_signal(void *ctx, uint32_t events)
{
	struct weft_daemon *d = ctx;
	struct signalfd_siginfo info;

	(void)events;
	if (read(d->signal_fd, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo == SIGUSR1) {
		weft_daemon_reopen(d);
	} else if (info.ssi_signo != SIGHUP) {
		WEFT_LOG(WEFT_LOG_INFO, "stopping",
			 WEFT_KV_S("signal", strsignal((int)info.ssi_signo)));
		d->stop = true;
	} else if (d->file) {
		weft_source_file_load(d->file, NULL);
	}
}

/* ---- publishing ---- */

struct news {
	struct weft_daemon *d;
	uint32_t view, *id;
	size_t n, missing;
};

static void pod_cells(void *ctx, const struct weft_pod_info *pod)
{
	struct news *news = ctx;

	if (pod->phase == WEFT_POD_ACTIVE && pod->view == news->view)
		news->missing += weft_cells_make_these(news->d->store, pod->id, news->id, news->n);
}

/* Pods have cells of what there was before. */
static void cells_follow(struct weft_daemon *d, uint32_t view)
{
	struct news news = {.d = d, .view = view};

	if (weft_cells_news(&d->cells[view], view, &news.id, &news.n) < 0)
		return;
	if (news.n)
		weft_pods_each(d->pods, pod_cells, &news);
	if (news.missing)
		weft_cells_forget(&d->cells[view]); /* tried again with the next publish */
	free(news.id);
}

static void on_published(void *ctx)
{
	struct weft_daemon *d = ctx;

	for (uint32_t i = 0; d->pods && i < weft_views_count(d->views); i++)
		cells_follow(d, i);
	if (d->outlier)
		weft_outlier_published(d->outlier);
}

static void on_resolved(void *ctx)
{
	struct weft_daemon *d = ctx;
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;
	_auto_free_ char *text = NULL;

	if (weft_views_renew(d->views, &diag) == 0)
		return;
	text = weft_diag_text(&diag);
	WEFT_LOG(WEFT_LOG_ERROR, "new addresses are not published, the old ones stay",
		 WEFT_KV_S("reason", text ? text : "out of memory"));
}

static int publish_file(void *ctx, const struct weft_snapshot *next, struct weft_diag *diag)
{
	struct weft_daemon *d = ctx;
	struct weft_snapshot *named;
	int r = weft_snapshot_clone(next, &named);

	if (r < 0)
		return r;
	/* options count before the bootstrap, as in Envoy */
	r = weft_snapshot_set_node(
		named, d->cfg->node_id ? d->cfg->node_id : weft_snapshot_node_id(next),
		d->cfg->node_cluster ? d->cfg->node_cluster : weft_snapshot_node_cluster(next));
	if (r == 0)
		r = weft_views_set(d->views, WEFT_VIEW_DEFAULT, WEFT_SOURCE_FILE, named, diag);
	weft_snapshot_free(named);
	return r;
}

bool weft_daemon_complete(const struct weft_daemon *d, uint32_t view)
{
	return !d->streams || !d->cfg->xds_per_pod || weft_streams_complete(d->streams, view);
}

static bool is_complete(void *ctx, const struct weft_pod_info *pod)
{
	const struct weft_daemon *d = ctx;

	return weft_daemon_complete(d, pod->view) && weft_health_pod_is_warm(d->health, pod->id);
}

void weft_daemon_release(struct weft_daemon *d)
{
	if (d->pods)
		weft_pods_release(d->pods, is_complete, d);
}

static void on_served(void *ctx)
{
	weft_daemon_release(ctx);
}

/* ---- pods ---- */

static int pod_listen(void *ctx, const struct weft_proxy_pod *pod,
		      uint16_t port4[WEFT_LISTEN_PORTS], uint16_t port6[WEFT_LISTEN_PORTS])
{
	struct weft_daemon *d = ctx;
	int r;

	weft_daemon_outlier_work(d); /* a pod of this id may have left ejections behind */
	/* Also before the kernel knows the pod: its first connection finds its cells. */
	if (weft_cells_make(d->store, pod->id, pod->view))
		weft_cells_forget(&d->cells[pod->view]);
	r = weft_proxy_pod_add(d->proxy, pod, port4, port6);
	if (r == 0)
		weft_daemon_health_begin(d, pod);
	return r;
}

static int pod_unlisten(void *ctx, uint32_t id, uint32_t drain_ms)
{
	struct weft_daemon *d = ctx;

	weft_health_pod_drop(d->health, id);
	return weft_proxy_pod_remove(d->proxy, id, drain_ms);
}

static int pod_enter(void *ctx, uint64_t cookie, const struct weft_pod *pod)
{
	struct weft_daemon *d = ctx;

	return weft_kernel_pod_set(d->kernel, cookie, pod);
}

static int pod_leave(void *ctx, uint64_t cookie)
{
	struct weft_daemon *d = ctx;

	return weft_kernel_pod_del(d->kernel, cookie);
}

static void pod_gone(void *ctx, uint32_t id)
{
	struct weft_daemon *d = ctx;

	weft_outlier_pod_drop(d->outlier, id);
	weft_store_cells_drop(d->store, id);
	if (d->streams)
		weft_streams_leave(d->streams, id);
}

/* ---- start and stop ---- */

static int kernel_start(struct weft_daemon *d, struct weft_diag *diag)
{
	struct weft_kernel_config cfg = {.cgroup = d->cfg->cgroup,
					 .img_size = d->cfg->image_size,
					 .pod_slots = d->cfg->pod_connections};
	struct weft_store_mem mem = {.synchronize = weft_kernel_synchronize};
	int r;

	if (d->cfg->no_kernel)
		return weft_store_new_heap(d->cfg->image_size, WEFT_STATE_SIZE_DEFAULT, &d->store);
	r = weft_kernel_open(&cfg, diag, &d->kernel);
	if (r < 0)
		return r;
	mem.img = weft_kernel_image(d->kernel, &mem.img_size);
	mem.state = weft_kernel_state(d->kernel, &mem.state_size);
	mem.ctx = d->kernel;
	return weft_store_new(&mem, &d->store);
}

static int proxy_start(struct weft_daemon *d)
{
	struct weft_proxy_config cfg = {.store = d->store,
					.ops = &d->proxy_ops,
					.workers = d->cfg->workers,
					.pod_files = d->cfg->pod_files,
					.access_dir = d->cfg->access_dir};

	if (d->cfg->no_kernel)
		return 0;
	d->proxy_ops = (struct weft_proxy_ops){
		.orig_take = weft_kernel_orig_take,
		.exempt = weft_kernel_exempt,
		.slot_release = weft_kernel_slot_release,
		.outlier = weft_daemon_outlier_tell,
		.outlier_ctx = d->outlier,
		.health_fail = weft_daemon_health_tell,
		.health_ctx = d->health,
		.ctx = d->kernel,
	};
	return weft_proxy_new(&cfg, &d->proxy);
}

static int streams_start(struct weft_daemon *d, struct weft_diag *diag)
{
	const struct weft_daemon_config *cfg = d->cfg;
	const struct weft_streams_config streams = {
		.loop = d->loop,
		.views = d->views,
		.xds = {.address = cfg->xds,
			.more = cfg->xds_more,
			.n_more = cfg->n_xds_more,
			.node = {.id = cfg->node_id ? cfg->node_id : d->host,
				 .cluster = cfg->node_cluster ? cfg->node_cluster : "",
				 .metadata_json = cfg->node_metadata},
			.sotw = cfg->xds_sotw,
			.separate = cfg->xds_separate,
			.tls = cfg->xds_tls,
			.token_file = cfg->xds_token_file,
			.token_plaintext = cfg->xds_token_plaintext,
			.cluster_id = cfg->xds_cluster_id,
			.saved = cfg->xds_cache,
			.interval_ms = cfg->xds_interval_ms},
		.per_pod = cfg->xds_per_pod,
		.base = {.metadata_json = cfg->node_metadata,
			 .cluster = cfg->node_cluster,
			 .domain = cfg->node_domain,
			 .host = cfg->node_id ? cfg->node_id : d->host,
			 .cluster_id = cfg->xds_cluster_id},
		.served = on_served,
		.ctx = d,
	};

	gethostname(d->host, sizeof(d->host) - 1);
	return weft_streams_new(&streams, diag, &d->streams);
}

static int sources_start(struct weft_daemon *d, struct weft_diag *diag)
{
	const struct weft_source_ops file_ops = {.publish = publish_file, .ctx = d};
	int r = 0;

	if (d->cfg->config) {
		r = weft_source_file_new(d->loop, d->cfg->config, &file_ops, &d->file);
		if (r == 0)
			r = weft_source_file_load(d->file, diag);
	}
	return r < 0 || !d->cfg->xds ? r : streams_start(d, diag);
}

/* Signals are blocked here, before any thread, so that every thread inherits it and the descriptor
 * sees them. */
static int loop_start(struct weft_daemon *d)
{
	sigset_t set;
	int r = weft_loop_new(&d->loop);

	if (r < 0)
		return r;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGUSR1);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	signal(SIGPIPE, SIG_IGN);
	d->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (d->signal_fd < 0)
		return -errno;
	r = weft_timer_new(&d->second_fd);
	if (r == 0)
		r = weft_loop_add(d->loop, d->signal_fd, EPOLLIN, on_signal, d);
	if (r == 0)
		r = weft_loop_add(d->loop, d->second_fd, EPOLLIN, on_second, d);
	if (r == 0)
		r = weft_timer_set(d->second_fd, SECOND_MS, SECOND_MS);
	return r;
}

static int start(struct weft_daemon *d, struct weft_diag *diag)
{
	const struct weft_pods_ops pods = {.proxy_add = pod_listen,
					   .proxy_remove = pod_unlisten,
					   .kernel_set = pod_enter,
					   .kernel_del = pod_leave,
					   .gone = pod_gone,
					   .ctx = d};
	int r;

	if (!d->cfg->no_kernel && geteuid() != 0)
		return weft_diag_add(diag, -EPERM, "run", "", "must be run as root");
	r = loop_start(d);
	/* Before the kernel part: the message of an occupied socket names it. */
	if (r == 0)
		r = weft_admin_new(d->loop, d->cfg->admin, weft_daemon_answer, d, diag, &d->admin);
	if (r == 0 && d->cfg->admin_http)
		r = weft_http_new(d->loop, d->cfg->admin_http, weft_daemon_http, d, diag, &d->http);
	if (r == 0)
		r = kernel_start(d, diag);
	if (r == 0 && !d->cfg->no_kernel)
		r = weft_privileges_drop();
	if (r < 0)
		return r;
	beat();
	r = weft_compiler_new(d->store, &d->compiler);
	if (r == 0)
		r = weft_views_new(d->compiler, on_published, d, &d->views);
	if (r == 0)
		r = weft_dns_new(d->loop, on_resolved, d, &d->dns);
	if (r == 0)
		weft_views_resolve(d->views, d->dns);
	if (r == 0)
		r = weft_daemon_outlier_start(d);
	if (r == 0)
		r = weft_daemon_health_start(d);
	if (r == 0)
		r = weft_pods_new(&pods, &d->pods);
	if (r == 0)
		r = proxy_start(d);
	if (r == 0)
		r = sources_start(d, diag);
	/* Its threads come without what the agent has given up. */
	if (r == 0 && d->cfg->csds)
		r = weft_csds_new(d, d->cfg->csds, diag, &d->csds);
	if (r == 0 && d->kernel)
		r = weft_kernel_attach(d->kernel, diag);
	return r;
}

/* Pods leave the kernel's map first: from then on connections go as without weft. */
static void stop(struct weft_daemon *d)
{
	weft_admin_free(d->admin);
	weft_http_free(d->http);
	weft_csds_free(d->csds);
	weft_source_file_free(d->file);
	weft_streams_free(d->streams);
	d->streams = NULL;
	weft_pods_free(d->pods);
	weft_proxy_free(d->proxy);
	weft_views_free(d->views);
	weft_dns_free(d->dns);
	weft_health_free(d->health);
	weft_outlier_free(d->outlier);
	for (size_t i = 0; i < WEFT_VIEWS_MAX; i++)
		weft_cells_forget(&d->cells[i]);
	weft_compiler_free(d->compiler);
	weft_store_free(d->store);
	weft_kernel_close(d->kernel);
	weft_loop_free(d->loop);
	if (d->second_fd >= 0)
		close(d->second_fd);
	if (d->outlier_timer >= 0)
		close(d->outlier_timer);
	if (d->signal_fd >= 0)
		close(d->signal_fd);
}

/* Which part is off on this kernel, and what that means. */
static void features_log(const struct weft_daemon *d)
{
	_auto_json_ json_t *list = d->kernel ? weft_kernel_probe(d->cfg->cgroup) : NULL;
	const json_t *f;
	size_t i;

	json_array_foreach(list, i, f)
	{
		if (json_is_true(json_object_get(f, "available")))
			continue;
		WEFT_LOG(WEFT_LOG_WARN, "this kernel lacks a feature",
			 WEFT_KV_S("feature", json_string_value(json_object_get(f, "feature"))),
			 WEFT_KV_S("reason", json_string_value(json_object_get(f, "reason"))),
			 WEFT_KV_S("without", json_string_value(json_object_get(f, "without"))));
	}
}

/* As Envoy, whose listeners wait for its clusters: the first request should find addresses. */
static int warm_up(struct weft_daemon *d)
{
	int64_t end = weft_daemon_now_ms() + WARM_MAX_MS;
	int r = 0;

	while (r == 0 && !d->stop && !weft_dns_settled(d->dns)) {
		int64_t left = end - weft_daemon_now_ms();

		if (left <= 0) {
			WEFT_LOG(WEFT_LOG_WARN, "names of clusters are not resolved yet");
			break;
		}
		r = weft_loop_step(d->loop, (int)left);
	}
	return r;
}

int weft_daemon_run(const struct weft_daemon_config *cfg, struct weft_diag *diag)
{
	struct weft_daemon d = {.cfg = cfg, .signal_fd = -1, .second_fd = -1, .outlier_timer = -1};
	struct timespec ts;
	int r;

	clock_gettime(CLOCK_REALTIME, &ts);
	d.started_ms = (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
	r = start(&d, diag);
	if (r == 0)
		r = warm_up(&d);
	if (r == 0 && !d.stop) {
		features_log(&d);
		d.ready = true;
		/* The one line on standard output: scripts wait for it. */
		printf("weft-agent ready admin=%s\n", cfg->admin);
		fflush(stdout);
	}
	while (r == 0 && !d.stop)
		r = weft_loop_step(d.loop, -1);
	stop(&d);
	return r;
}
