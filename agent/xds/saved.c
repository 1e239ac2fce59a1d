// SPDX-License-Identifier: Apache-2.0
/* The last good configuration of a stream: when it serves, and when it gives way. Main thread. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>

#include "agent/cleanup.h"
#include "agent/log.h"
#include "agent/xds/internal.h"
#include "xds/clock.h"

static void saved_use(struct weft_source_xds *x)
{
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;
	struct weft_snapshot *s = NULL;
	_auto_free_ char *text = NULL;
	int r;

	x->saved.tried = true;
	r = weft_keeper_load(x->saved.keeper, &diag, &x->saved.saved_ms, &s);
	if (r == -ENOENT) {
		WEFT_LOG(WEFT_LOG_INFO, "no xds server has served yet, and nothing is saved",
			 WEFT_KV_S("address", weft_source_xds_address(x)));
		return;
	}
	if (r == 0)
		r = weft_snapshot_set_node(s, x->saved.node_id, x->saved.node_cluster);
	if (r == 0)
		r = x->ops.publish(x->ops.ctx, s, &diag);
	weft_snapshot_free(s);
	if (r == 0) {
		x->saved.stale = true;
		WEFT_LOG(WEFT_LOG_WARN,
			 "no xds server has served yet: saved configuration in force",
			 WEFT_KV_S("address", weft_source_xds_address(x)),
			 WEFT_KV_I("saved_ms", x->saved.saved_ms));
		return;
	}
	text = weft_diag_text(&diag);
	WEFT_LOG(WEFT_LOG_ERROR, "saved configuration is refused",
		 WEFT_KV_S("reason", text ? text : strerror(-r)));
}

void source_saved_latest(struct weft_source_xds *x, const struct weft_snapshot *next)
{
	struct weft_snapshot *copy;

	if (weft_snapshot_clone(next, &copy) < 0)
		return; /* the one before is older, not wrong */
	weft_snapshot_free(x->saved.latest);
	x->saved.latest = copy;
}

static void saved_keep(struct weft_source_xds *x, const struct weft_snapshot *s)
{
	if (weft_keeper_put(x->saved.keeper, s) < 0)
		WEFT_LOG(WEFT_LOG_ERROR, "configuration is not saved: out of memory");
}

void source_saved_live(struct weft_source_xds *x, const struct weft_snapshot *next)
{
	x->saved.stale = false;
	x->saved.live = true;
	saved_keep(x, next);
}

/* A server has served: what it said takes the place of what was saved, and is what to save. */
static void saved_leave(struct weft_source_xds *x)
{
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;
	int r = 0;

	if (!x->saved.latest)
		r = weft_snapshot_new(&x->saved.latest); /* it has nothing for us */
	if (r == 0 && x->saved.stale)
		r = x->ops.publish(x->ops.ctx, x->saved.latest, &diag);
	if (r < 0) {
		_auto_free_ char *text = weft_diag_text(&diag);

		if (!x->saved.told)
			WEFT_LOG(WEFT_LOG_ERROR,
				 "the saved configuration stays: what the server "
				 "has served is refused",
				 WEFT_KV_S("reason", text ? text : strerror(-r)));
		x->saved.told = true;
		return;
	}
	if (x->saved.stale)
		WEFT_LOG(WEFT_LOG_INFO,
			 "xds server has served: the saved configuration is replaced");
	x->saved.stale = false;
	x->saved.live = true;
	saved_keep(x, x->saved.latest);
	weft_snapshot_free(x->saved.latest);
	x->saved.latest = NULL;
}

void source_saved_tick(struct weft_source_xds *x)
{
	bool failed, served;
	int64_t now = weft_clock_ms(CLOCK_MONOTONIC);

	if (!x->saved.keeper)
		return;
	pthread_mutex_lock(&x->lock);
	failed = x->offer.failed || now - x->saved.started_ms >= WEFT_XDS_SAVED_WAIT_MS;
	served = x->offer.served;
	pthread_mutex_unlock(&x->lock);
	if (served && !x->saved.live)
		saved_leave(x);
	else if (failed && !served && !x->saved.tried)
		saved_use(x);
	weft_keeper_tick(x->saved.keeper, now);
}

static void on_timer(void *ctx, uint32_t events)
{
	struct weft_source_xds *x = ctx;

	(void)events;
	weft_timer_ack(x->saved.timer_fd);
	source_saved_tick(x);
}

int source_saved_start(struct weft_source_xds *x, const struct weft_source_xds_config *cfg)
{
	_auto_free_ char *identity = NULL;
	int r;

	if (!cfg->identity && asprintf(&identity, "%s\n%s", cfg->node.id, cfg->node.cluster) < 0) {
		identity = NULL;
		return -ENOMEM;
	}
	x->saved.node_id = strdup(cfg->node.id);
	x->saved.node_cluster = strdup(cfg->node.cluster);
	if (!x->saved.node_id || !x->saved.node_cluster)
		return -ENOMEM;
	r = weft_keeper_new(cfg->saved, cfg->identity ? cfg->identity : identity, &x->saved.keeper);
	if (r == 0)
		r = weft_timer_new(&x->saved.timer_fd);
	if (r == 0)
		r = weft_loop_add(x->loop, x->saved.timer_fd, EPOLLIN, on_timer, x);
	return r;
}

void source_saved_stop(struct weft_source_xds *x)
{
	weft_keeper_free(x->saved.keeper);
	weft_snapshot_free(x->saved.latest);
	free(x->saved.node_id);
	free(x->saved.node_cluster);
	if (x->saved.timer_fd >= 0) {
		weft_loop_remove(x->loop, x->saved.timer_fd);
		close(x->saved.timer_fd);
	}
}

bool weft_source_xds_stale(const struct weft_source_xds *x)
{
	return x->saved.stale;
}

bool weft_source_xds_ready(struct weft_source_xds *x)
{
	bool served;

	pthread_mutex_lock(&x->lock);
	served = x->offer.served;
	pthread_mutex_unlock(&x->lock);
	return served || x->saved.stale;
}
