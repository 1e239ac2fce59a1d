// SPDX-License-Identifier: Apache-2.0
/* A stream and its verdicts: between the thread that receives and the one that publishes. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>

#include "agent/cleanup.h"
#include "agent/log.h"
#include "agent/xds/internal.h"
#include "xds/clock.h"
#include "xds/grpc.h"

/* A stream thread inside a callback leaves it at once when the source closes; this only bounds a
 * bug. */
#define STOP_TIMEOUT_MS 5000
#define TICK_MS 1000
/* Of the time that updates come without end, publishes get at most one part in five: the main
 * thread has other work. A server is kept waiting for its answer no longer than a second for that.
 */
#define PAUSE_FACTOR 4
#define PAUSE_MAX_MS 1000

/* On the stream's thread. */
static int on_publish(void *ctx, const struct weft_snapshot *next, struct weft_diag *diag)
{
	struct weft_source_xds *x = ctx;
	const uint64_t one = 1;
	int verdict = -ESHUTDOWN;
	int64_t began = weft_clock_ms(CLOCK_MONOTONIC);

	pthread_mutex_lock(&x->lock);
	if (!x->offer.closed) {
		x->offer.next = next;
		x->offer.diag = diag;
		x->offer.waiting = true;
		if (write(x->offer_fd, &one, sizeof(one)) != sizeof(one))
			WEFT_LOG(WEFT_LOG_ERROR,
				 "xds update waits for the next one: eventfd failed");
		while (x->offer.waiting && !x->offer.closed)
			pthread_cond_wait(&x->answered, &x->lock);
		if (!x->offer.waiting)
			verdict = x->offer.verdict;
		x->offer.waiting = false;
	}
	pthread_mutex_unlock(&x->lock);
	x->took_ms = weft_clock_ms(CLOCK_MONOTONIC) - began;
	return verdict;
}

/* On the stream's thread: the publish that has just ended counts from its beginning. */
static int64_t on_pause(void *ctx)
{
	const struct weft_source_xds *x = ctx;
	int64_t pause = x->took_ms * PAUSE_FACTOR;

	if (!x->interval_ms)
		return 0;
	if (pause > PAUSE_MAX_MS)
		pause = PAUSE_MAX_MS;
	return x->took_ms + (pause > x->interval_ms ? pause : x->interval_ms);
}

const char *weft_source_xds_address(const struct weft_source_xds *x)
{
	struct weft_xds_stream_stats stats;

	weft_xds_stream_stats(x->stream, &stats);
	return stats.address;
}

/* ---- offers, main thread ---- */

/* While the saved configuration is in force, an update is only judged: it may be half of one. */
static int judge(struct weft_source_xds *x, const struct weft_snapshot *next,
		 struct weft_diag *diag)
{
	bool served;
	int verdict;

	if (!x->saved.keeper)
		return x->ops.publish(x->ops.ctx, next, diag);
	pthread_mutex_lock(&x->lock);
	served = x->offer.served;
	pthread_mutex_unlock(&x->lock);
	if (x->saved.stale && !served)
		verdict = x->ops.check(x->ops.ctx, next, diag);
	else
		verdict = x->ops.publish(x->ops.ctx, next, diag);
	if (verdict < 0)
		return verdict;
	if (!served) {
		source_saved_latest(x, next);
		return verdict;
	}
	/* Before the first turn after it was served, or when that turn failed. */
	source_saved_live(x, next);
	return verdict;
}

/* Whether the stream's thread waits for a verdict. */
static bool offer_waits(struct weft_source_xds *x, bool *ret_served)
{
	bool waiting;

	pthread_mutex_lock(&x->lock);
	waiting = x->offer.waiting;
	*ret_served = x->offer.served;
	pthread_mutex_unlock(&x->lock);
	return waiting;
}

static void offer_answer(struct weft_source_xds *x, int verdict)
{
	if (verdict < 0) {
		_auto_free_ char *text = weft_diag_text(x->offer.diag);

		WEFT_LOG(WEFT_LOG_WARN, "xds update refused",
			 WEFT_KV_S("address", weft_source_xds_address(x)),
			 WEFT_KV_S("reason", text ? text : strerror(-verdict)));
	} else {
		WEFT_LOG(WEFT_LOG_DEBUG, "xds update published",
			 WEFT_KV_S("address", weft_source_xds_address(x)));
	}
	pthread_mutex_lock(&x->lock);
	x->offer.verdict = verdict;
	x->offer.waiting = false;
	pthread_cond_signal(&x->answered);
	pthread_mutex_unlock(&x->lock);
}

const struct weft_snapshot *weft_source_xds_look(struct weft_source_xds *x)
{
	bool served;

	source_saved_tick(x);
	/* One that is only judged, or noted when it is in force, is for judge(). */
	if (!offer_waits(x, &served) || (x->saved.keeper && x->saved.stale))
		return NULL;
	return x->offer.next;
}

void weft_source_xds_answer(struct weft_source_xds *x)
{
	bool served;

	if (!offer_waits(x, &served))
		return;
	if (x->saved.keeper && served)
		source_saved_live(x, x->offer.next);
	else if (x->saved.keeper)
		source_saved_latest(x, x->offer.next);
	offer_answer(x, 0);
}

/* The lock is not held during the publish: the stream's thread waits and nobody else takes it. */
void weft_source_xds_serve(struct weft_source_xds *x)
{
	bool served;

	source_saved_tick(x);
	if (offer_waits(x, &served))
		offer_answer(x, judge(x, x->offer.next, x->offer.diag));
}

static void on_offer(void *ctx, uint32_t events)
{
	struct weft_source_xds *x = ctx;
	uint64_t count;

	(void)events;
	if (x->serve)
		x->serve(x->serve_ctx);
	else if (read(x->offer_fd, &count, sizeof(count)) == sizeof(count))
		weft_source_xds_serve(x);
}

/* ---- the stream's thread ---- */

/* The main thread is to look at `flag`, a part of x->offer. */
static void tell(struct weft_source_xds *x, bool *flag)
{
	const uint64_t one = 1;

	pthread_mutex_lock(&x->lock);
	if (!*flag) {
		*flag = true;
		/* Should it fail, the timer comes by within a second. */
		if (write(x->offer_fd, &one, sizeof(one)) != sizeof(one))
			WEFT_LOG(WEFT_LOG_ERROR, "eventfd failed");
	}
	pthread_mutex_unlock(&x->lock);
}

static void on_served(void *ctx)
{
	struct weft_source_xds *x = ctx;

	tell(x, &x->offer.served);
}

static void on_connected(void *ctx, const char *service)
{
	const struct weft_source_xds *x = ctx;

	WEFT_LOG(WEFT_LOG_INFO, "xds stream is up",
		 WEFT_KV_S("address", weft_source_xds_address(x)), WEFT_KV_S("service", service));
}

static void on_disconnected(void *ctx, const char *why, int64_t retry_ms)
{
	struct weft_source_xds *x = ctx;
	struct weft_xds_stream_stats stats;

	weft_xds_stream_stats(x->stream, &stats);
	if (stats.failures >= x->n_servers)
		tell(x, &x->offer.failed);
	WEFT_LOG(WEFT_LOG_WARN, "xds stream ended, what was accepted stays in force",
		 WEFT_KV_S("address", weft_source_xds_address(x)), WEFT_KV_S("reason", why),
		 WEFT_KV_I("retry_ms", retry_ms));
}

/* On the stream's thread. istiod looks for the cluster whose API server can check the token there.
 */
static int on_metadata(void *ctx, struct weft_xds_metadata *md)
{
	const struct weft_source_xds *x = ctx;

	return x->cluster_id ? weft_xds_metadata_add(md, "clusterid", x->cluster_id) : 0;
}

static int cluster_id_check(const char *id, struct weft_diag *diag)
{
	for (; id && *id; id++) {
		if (*id < ' ' || *id > '~')
			return weft_diag_add(diag, -EINVAL, "xds", "cluster id",
					     "has a character that no header takes");
	}
	return 0;
}

static int metadata_check(const char *text, struct weft_diag *diag)
{
	_auto_json_ json_t *j = NULL;
	json_error_t error;

	if (!text)
		return 0;
	j = json_loads(text, JSON_REJECT_DUPLICATES, &error);
	if (!j)
		return weft_diag_add(diag, -EINVAL, "node", "metadata", "%s", error.text);
	if (!json_is_object(j))
		return weft_diag_add(diag, -EINVAL, "node", "metadata", "must be a JSON object");
	return 0;
}

int weft_source_xds_new(struct weft_loop *loop, const struct weft_source_xds_config *cfg,
			const struct weft_source_ops *ops, struct weft_diag *diag,
			struct weft_source_xds **ret)
{
	const struct weft_delta_ops delta_ops = {
		.publish = on_publish, .served = on_served, .pause = on_pause};
	struct weft_xds_stream_conf conf = {
		.address = cfg->address,
		.more = cfg->more,
		.n_more = cfg->n_more,
		.tls = cfg->tls,
		.token_file = cfg->token_file,
		.token_plaintext = cfg->token_plaintext,
		.metadata = on_metadata,
		.connected = on_connected,
		.disconnected = on_disconnected,
	};
	struct weft_source_xds *x;
	int r = metadata_check(cfg->node.metadata_json, diag);

	if (r == 0)
		r = cluster_id_check(cfg->cluster_id, diag);
	if (r < 0)
		return r;
	x = calloc(1, sizeof(*x));
	if (!x)
		return -ENOMEM;
	x->loop = loop;
	x->ops = *ops;
	x->saved.timer_fd = -1;
	x->interval_ms = cfg->interval_ms;
	pthread_mutex_init(&x->lock, NULL);
	pthread_cond_init(&x->answered, NULL);
	x->serve = cfg->serve;
	x->serve_ctx = cfg->serve_ctx;
	x->offer_fd = cfg->serve ? cfg->bell_fd : eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = x->offer_fd < 0 ? -errno : 0;
	if (r == 0) {
		x->cluster_id = cfg->cluster_id ? strdup(cfg->cluster_id) : NULL;
		x->n_servers = 1 + cfg->n_more;
		x->tls = cfg->tls;
		r = !x->cluster_id == !cfg->cluster_id ? 0 : -ENOMEM;
	}
	if (r == 0)
		r = weft_delta_new(&cfg->node, &delta_ops, x, &x->delta);
	if (r == 0 && cfg->sotw)
		r = weft_delta_speak_sotw(x->delta);
	if (r == 0 && cfg->separate)
		weft_delta_separate(x->delta);
	conf.delta = x->delta;
	conf.ctx = x;
	if (r == 0)
		r = weft_xds_stream_new(&conf, diag, &x->stream);
	if (r == 0 && !x->serve)
		r = weft_loop_add(loop, x->offer_fd, EPOLLIN, on_offer, x);
	if (r == 0 && cfg->saved)
		r = source_saved_start(x, cfg);
	if (r < 0) {
		weft_source_xds_free(x);
		return r;
	}
	*ret = x;
	return 0;
}

int weft_source_xds_start(struct weft_source_xds *x)
{
	int r;

	x->saved.started_ms = weft_clock_ms(CLOCK_MONOTONIC);
	r = x->saved.keeper ? weft_timer_set(x->saved.timer_fd, TICK_MS, TICK_MS) : 0;
	return r < 0 ? r : weft_xds_stream_start(x->stream);
}

void weft_source_xds_free(struct weft_source_xds *x)
{
	if (!x)
		return;
	pthread_mutex_lock(&x->lock);
	x->offer.closed = true;
	pthread_cond_signal(&x->answered);
	pthread_mutex_unlock(&x->lock);
	if (x->stream) {
		if (weft_xds_stream_stop(x->stream, STOP_TIMEOUT_MS) < 0) {
			/* Its thread still uses everything below: memory is given up instead. */
			WEFT_LOG(WEFT_LOG_ERROR, "xds stream did not stop");
			return;
		}
		weft_xds_stream_free(x->stream);
	}
	weft_delta_free(x->delta);
	source_saved_stop(x);
	if (x->offer_fd >= 0 && !x->serve) {
		weft_loop_remove(x->loop, x->offer_fd);
		close(x->offer_fd);
	}
	pthread_cond_destroy(&x->answered);
	pthread_mutex_destroy(&x->lock);
	free(x->cluster_id);
	free(x);
}

struct renewal {
	const struct weft_delta_node *node;
	int result;
};

static void node_set(struct weft_delta *d, void *ctx)
{
	struct renewal *r = ctx;

	r->result = weft_delta_set_node(d, r->node);
}

int weft_source_xds_node(struct weft_source_xds *x, const struct weft_delta_node *node)
{
	struct renewal renewal = {.node = node};
	int r = weft_source_xds_call(x, node_set, &renewal);

	r = r < 0 ? r : renewal.result;
	if (r == 0)
		weft_xds_stream_renew(x->stream);
	return r;
}

/* A call on its way through a thread of its own, so that the main thread can serve an offer
 * meanwhile. */
struct call {
	struct weft_source_xds *x;
	void (*fn)(struct weft_delta *d, void *ctx);
	void *ctx;
	int done_fd, result;
};

static void *call_thread(void *arg)
{
	struct call *c = arg;
	const uint64_t one = 1;

	c->result = weft_xds_stream_call(c->x->stream, c->fn, c->ctx);
	if (write(c->done_fd, &one, sizeof(one)) != sizeof(one))
		c->result = -EIO;
	return NULL;
}

/*
 * A direct call would deadlock when the stream's thread is waiting for a verdict of this very
 * thread.
 */
int weft_source_xds_call(struct weft_source_xds *x, void (*fn)(struct weft_delta *d, void *ctx),
			 void *ctx)
{
	struct call call = {.x = x, .fn = fn, .ctx = ctx};
	struct pollfd fds[2];
	pthread_t thread;
	int r;

	call.done_fd = eventfd(0, EFD_CLOEXEC);
	if (call.done_fd < 0)
		return -errno;
	r = pthread_create(&thread, NULL, call_thread, &call);
	if (r != 0) {
		close(call.done_fd);
		return -r;
	}
	fds[0] = (struct pollfd){.fd = call.done_fd, .events = POLLIN};
	fds[1] = (struct pollfd){.fd = x->offer_fd, .events = POLLIN};
	while (!(fds[0].revents & POLLIN)) {
		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			break;
		if (fds[1].revents & POLLIN)
			on_offer(x, EPOLLIN);
	}
	pthread_join(thread, NULL);
	close(call.done_fd);
	return call.result;
}
