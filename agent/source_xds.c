// SPDX-License-Identifier: Apache-2.0
#include "agent/source.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>

#include "agent/cleanup.h"
#include "agent/keeper.h"
#include "agent/log.h"
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

/*
 * The stream's thread offers a snapshot and waits; the main thread compiles and publishes it and
 * leaves the verdict. So xDS answers are what was really published, and one thread alone builds the
 * image.
 */
struct offer {
	const struct weft_snapshot *next;
	struct weft_diag *diag;
	int verdict;
	bool waiting, closed;
	bool failed; /* every server was tried in vain */
	bool served;
};

/* The saved configuration. Main thread. */
struct saved {
	struct weft_keeper *keeper; /* NULL: no file */
	int timer_fd;
	int64_t started_ms;	 /* CLOCK_MONOTONIC */
	bool tried, stale, live; /* live: served, and that is in force */
	bool told;		 /* why it is not */
	int64_t saved_ms;	 /* of what is in force while stale, wall clock */
	/* What the client accepted last, until it is live. */
	struct weft_snapshot *latest;
};

struct weft_source_xds {
	struct weft_loop *loop;
	struct weft_source_ops ops;
	char *cluster_id;
	size_t n_servers;
	bool tls;
	struct weft_delta *delta;
	struct weft_xds_stream *stream;
	int offer_fd; /* eventfd: an offer waits */
	pthread_mutex_t lock;
	pthread_cond_t answered;
	struct offer offer; /* under lock; next and diag are the waiting thread's */
	struct saved saved;
	int64_t interval_ms, took_ms; /* the stream's thread's: what the last publish took */
};

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

/* ---- the saved configuration, main thread ---- */

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

static void latest_set(struct weft_source_xds *x, const struct weft_snapshot *next)
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

static void saved_tick(struct weft_source_xds *x)
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
	saved_tick(x);
}

static int saved_start(struct weft_source_xds *x, const struct weft_source_xds_config *cfg)
{
	_auto_free_ char *identity = NULL;
	int r;

	if (asprintf(&identity, "%s\n%s", cfg->node.id, cfg->node.cluster) < 0) {
		identity = NULL;
		return -ENOMEM;
	}
	r = weft_keeper_new(cfg->saved, identity, &x->saved.keeper);
	if (r == 0)
		r = weft_timer_new(&x->saved.timer_fd);
	if (r == 0)
		r = weft_loop_add(x->loop, x->saved.timer_fd, EPOLLIN, on_timer, x);
	return r;
}

static void saved_stop(struct weft_source_xds *x)
{
	weft_keeper_free(x->saved.keeper);
	weft_snapshot_free(x->saved.latest);
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
		latest_set(x, next);
		return verdict;
	}
	/* Before the first turn after it was served, or when that turn failed. */
	x->saved.stale = false;
	x->saved.live = true;
	saved_keep(x, next);
	return verdict;
}

/* The lock is not held during the publish: the stream's thread waits and nobody else takes it. */
static void on_offer(void *ctx, uint32_t events)
{
	struct weft_source_xds *x = ctx;
	uint64_t count;
	bool waiting;
	int verdict;

	(void)events;
	if (read(x->offer_fd, &count, sizeof(count)) < 0)
		return;
	saved_tick(x);
	pthread_mutex_lock(&x->lock);
	waiting = x->offer.waiting;
	pthread_mutex_unlock(&x->lock);
	if (!waiting)
		return;
	verdict = judge(x, x->offer.next, x->offer.diag);
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

static void on_connected(void *ctx)
{
	const struct weft_source_xds *x = ctx;

	WEFT_LOG(WEFT_LOG_INFO, "xds stream is up",
		 WEFT_KV_S("address", weft_source_xds_address(x)));
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
	x->offer_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
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
	conf.delta = x->delta;
	conf.ctx = x;
	if (r == 0)
		r = weft_xds_stream_new(&conf, diag, &x->stream);
	if (r == 0)
		r = weft_loop_add(loop, x->offer_fd, EPOLLIN, on_offer, x);
	if (r == 0 && cfg->saved)
		r = saved_start(x, cfg);
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
	saved_stop(x);
	if (x->offer_fd >= 0) {
		weft_loop_remove(x->loop, x->offer_fd);
		close(x->offer_fd);
	}
	pthread_cond_destroy(&x->answered);
	pthread_mutex_destroy(&x->lock);
	free(x->cluster_id);
	free(x);
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

static void copy_stats(struct weft_delta *d, void *ctx)
{
	struct weft_delta_stats *stats = ctx;

	weft_delta_stats(d, stats);
	/* The text belongs to the stream's thread. */
	stats->control_plane = stats->control_plane ? strdup(stats->control_plane) : NULL;
}

static json_t *types_json(const struct weft_delta_stats *stats)
{
	static const char *const names[WEFT_XDS__MAX] = {[WEFT_XDS_CLUSTER] = "cds",
							 [WEFT_XDS_ENDPOINT] = "eds",
							 [WEFT_XDS_LISTENER] = "lds",
							 [WEFT_XDS_ROUTE] = "rds"};
	json_t *j = json_object();

	for (int i = 0; i < WEFT_XDS__MAX; i++)
		json_object_set_new(j, names[i],
				    json_pack("{s:I, s:I}", "update_success",
					      (json_int_t)stats->accepted[i], "update_rejected",
					      (json_int_t)stats->refused[i]));
	return j;
}

/* How long no server has vouched for what is in force; null when nothing is. */
static json_t *staleness_json(struct weft_source_xds *x, const struct weft_xds_stream_stats *stream)
{
	int64_t now = weft_clock_ms(CLOCK_REALTIME), since = stream->since_ms;

	if (x->saved.stale)
		since = x->saved.saved_ms;
	else if (!stream->received)
		return json_null();
	else if (stream->connected)
		since = now;
	return json_integer(now > since ? now - since : 0);
}

json_t *weft_source_xds_json(struct weft_source_xds *x)
{
	struct weft_xds_stream_stats stream;
	struct weft_delta_stats delta = {0};
	json_t *j;

	weft_xds_stream_stats(x->stream, &stream);
	if (weft_source_xds_call(x, copy_stats, &delta) < 0)
		memset(&delta, 0, sizeof(delta));
	j = json_pack("{s:s, s:b, s:b, s:I, s:s, s:s?, s:I, s:I, s:I, s:I, s:I, s:I, s:I}",
		      "address", stream.address, "tls", x->tls, "connected",
		      stream.connected ? 1 : 0, "since_ms", (json_int_t)stream.since_ms,
		      "last_error", stream.last_error, "control_plane", delta.control_plane,
		      "attempts", (json_int_t)stream.attempts, "received",
		      (json_int_t)stream.received, "responses", (json_int_t)delta.responses, "acks",
		      (json_int_t)delta.acks, "nacks", (json_int_t)delta.nacks, "requests",
		      (json_int_t)delta.requests, "init_fetch_timeout",
		      (json_int_t)delta.init_fetch_timeout);
	free((char *)(uintptr_t)delta.control_plane);
	json_object_set_new(j, "received_bytes", json_integer((json_int_t)stream.received_bytes));
	json_object_set_new(j, "sent", json_integer((json_int_t)stream.sent));
	json_object_set_new(j, "sent_bytes", json_integer((json_int_t)stream.sent_bytes));
	json_object_set_new(j, "resets", json_integer((json_int_t)stream.resets));
	json_object_set_new(j, "types", types_json(&delta));
	json_object_set_new(j, "joined", json_integer((json_int_t)delta.joined));
	json_object_set_new(j, "variant",
			    json_string(weft_delta_is_sotw(x->delta) ? "sotw" : "delta"));
	json_object_set_new(j, "stale", json_boolean(x->saved.stale));
	json_object_set_new(j, "staleness_ms", staleness_json(x, &stream));
	if (x->saved.keeper)
		json_object_set_new(j, "saved", weft_keeper_json(x->saved.keeper));
	return j;
}
