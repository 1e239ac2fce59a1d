// SPDX-License-Identifier: Apache-2.0
/* What the daemon knows of hosts beyond EDS: outlier detection and active health checks, and how
 * their results are published. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>

#include "agent/cleanup.h"
#include "agent/daemon.h"
#include "agent/log.h"

/* ---- outlier detection ---- */

static uint64_t outlier_now(void *ctx)
{
	(void)ctx;
	return (uint64_t)weft_daemon_now_ms();
}

static uint64_t outlier_random(void *ctx)
{
	uint64_t n = 0;

	(void)ctx;
	if (getrandom(&n, sizeof(n), 0) != sizeof(n))
		n = (uint64_t)weft_daemon_now_ms() * 0x9E3779B97F4A7C15ull;
	return n;
}

static int outlier_publish(void *ctx)
{
	struct weft_daemon *d = ctx;
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;
	_auto_free_ char *text = NULL;
	int r = weft_views_again(d->views, &diag);

	if (r == 0)
		return 0;
	text = weft_diag_text(&diag);
	WEFT_LOG(WEFT_LOG_ERROR, "ejected hosts are not published",
		 WEFT_KV_S("reason", text ? text : "out of memory"));
	return r;
}

void weft_daemon_outlier_work(struct weft_daemon *d)
{
	uint64_t now, next = weft_outlier_work(d->outlier);

	now = outlier_now(NULL);
	if (next)
		next = next <= now ? 1 : next - now;
	weft_timer_set(d->outlier_timer, next > UINT32_MAX ? UINT32_MAX : (uint32_t)next, 0);
}

static void on_outlier(void *ctx, uint32_t events)
{
	struct weft_daemon *d = ctx;

	(void)events;
	weft_timer_ack(d->outlier_timer);
	weft_daemon_outlier_work(d);
}

void weft_daemon_outlier_tell(void *ctx, uint32_t pod, uint32_t cluster, uint32_t endpoint)
{
	weft_outlier_tell(ctx, pod, cluster, endpoint);
}

static void on_news(void *ctx, uint32_t events)
{
	struct weft_daemon *d = ctx;

	(void)events;
	weft_kernel_news(d->kernel, weft_daemon_outlier_tell, d->outlier);
	weft_daemon_outlier_work(d);
}

static uint32_t outlier_view_of(void *ctx, uint32_t pod)
{
	struct weft_daemon *d = ctx;

	return weft_views_of_pod(d->views, pod);
}

static uint32_t outlier_views(void *ctx)
{
	struct weft_daemon *d = ctx;

	return weft_views_count(d->views);
}

int weft_daemon_outlier_start(struct weft_daemon *d)
{
	const struct weft_outlier_config cfg = {.store = d->store,
						.compiler = d->compiler,
						.now_ms = outlier_now,
						.random = outlier_random,
						.publish = outlier_publish,
						.view_of = outlier_view_of,
						.views = outlier_views,
						.ctx = d};
	int r = weft_outlier_new(&cfg, &d->outlier);

	if (r == 0)
		r = weft_timer_new(&d->outlier_timer);
	if (r == 0)
		r = weft_loop_add(d->loop, d->outlier_timer, EPOLLIN, on_outlier, d);
	if (r == 0)
		r = weft_loop_add(d->loop, weft_outlier_fd(d->outlier), EPOLLIN, on_outlier, d);
	if (r == 0 && d->kernel)
		r = weft_loop_add(d->loop, weft_kernel_news_fd(d->kernel), EPOLLIN, on_news, d);
	if (r == 0)
		weft_views_eject(d->views, d->outlier);
	return r;
}

/* ---- active health checks ---- */

static int health_exempt(void *ctx, int fd)
{
	struct weft_daemon *d = ctx;

	return d->kernel ? weft_kernel_exempt(d->kernel, fd) : 0;
}

static int health_publish(void *ctx, bool warmed)
{
	struct weft_daemon *d = ctx;
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;
	_auto_free_ char *text = NULL;
	int r = warmed ? weft_views_renew(d->views, &diag) : weft_views_again(d->views, &diag);

	if (r == 0) {
		weft_daemon_release(d);
		return 0;
	}
	text = weft_diag_text(&diag);
	WEFT_LOG(WEFT_LOG_ERROR, "results of health checks are not published",
		 WEFT_KV_S("reason", text ? text : "out of memory"));
	return r;
}

static void health_passed(void *ctx, uint32_t pod, uint32_t cluster, uint32_t endpoint)
{
	weft_outlier_passed(((struct weft_daemon *)ctx)->outlier, pod, cluster, endpoint);
}

void weft_daemon_health_tell(void *ctx, uint32_t pod, uint32_t cluster, uint32_t endpoint)
{
	weft_health_tell(ctx, pod, cluster, endpoint);
}

int weft_daemon_health_start(struct weft_daemon *d)
{
	const struct weft_health_config cfg = {.loop = d->loop,
					       .compiler = d->compiler,
					       .now_ms = outlier_now,
					       .random = outlier_random,
					       .exempt = health_exempt,
					       .publish = health_publish,
					       .passed = health_passed,
					       .ctx = d};
	int r = weft_health_new(&cfg, &d->health);

	if (r == 0)
		weft_views_check_hosts(d->views, d->health);
	return r;
}

void weft_daemon_health_begin(struct weft_daemon *d, const struct weft_proxy_pod *pod)
{
	int r = weft_health_pod_add(d->health, pod->id, pod->view, pod->netns_fd);

	if (r < 0)
		WEFT_LOG(WEFT_LOG_ERROR, "hosts are not all checked for a pod",
			 WEFT_KV_U("pod", pod->id), WEFT_KV_S("reason", strerror(-r)));
}
