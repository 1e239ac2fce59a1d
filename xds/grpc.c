// SPDX-License-Identifier: Apache-2.0
/*
 * The streams of one client: a thread, a completion queue, at most one call for each. The queue is
 * also the thread's clock and its door bell: an empty batch on a call that never goes anywhere
 * comes back at once.
 */

#include "xds/grpc.h"

#include <errno.h>
#include <grpc/grpc_security.h>
#include <grpc/support/log.h>
#include <grpc/support/time.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "xds/clock.h"
#include "xds/grpc_state.h"

/* Of one attempt; a control plane that takes longer to accept is as good as down. */
#define CONNECT_TIMEOUT_MS 10000

static _Atomic(void (*)(enum weft_xds_log_level level, const char *message)) log_sink;

static void grpc_log(gpr_log_func_args *args)
{
	void (*sink)(enum weft_xds_log_level level, const char *message) = atomic_load(&log_sink);

	if (sink)
		sink(args->severity == GPR_LOG_SEVERITY_ERROR  ? WEFT_XDS_LOG_ERROR
		     : args->severity == GPR_LOG_SEVERITY_INFO ? WEFT_XDS_LOG_INFO
							       : WEFT_XDS_LOG_DEBUG,
		     args->message);
}

void weft_xds_log_sink(void (*sink)(enum weft_xds_log_level level, const char *message))
{
	atomic_store(&log_sink, sink);
	gpr_set_log_function(grpc_log);
}

int64_t stream_now(const struct weft_xds_stream *s)
{
	return weft_clock_ms(CLOCK_MONOTONIC) + s->clock_offset_ms;
}

/* With the lock held. */
static void bell_ring(struct weft_xds_stream *s)
{
	if (s->bell_rung)
		return;
	s->bell_rung =
		grpc_call_start_batch(s->bell, NULL, 0, (void *)TAG_WAKE, NULL) == GRPC_CALL_OK;
}

static void bell_heard(struct weft_xds_stream *s)
{
	pthread_mutex_lock(&s->lock);
	s->bell_rung = false;
	pthread_mutex_unlock(&s->lock);
}

static void run_calls(struct weft_xds_stream *s, int result)
{
	struct pending_call *c, *next;

	pthread_mutex_lock(&s->lock);
	c = s->calls;
	s->calls = NULL;
	pthread_mutex_unlock(&s->lock);
	for (; c; c = next) {
		if (!result)
			c->fn(s->conf.delta, c->ctx);
		pthread_mutex_lock(&s->lock);
		next = c->next;
		c->result = result;
		c->finished = true;
		pthread_cond_broadcast(&s->done);
		pthread_mutex_unlock(&s->lock);
	}
}

static bool stream_stopping(struct weft_xds_stream *s)
{
	bool stop, renew;

	pthread_mutex_lock(&s->lock);
	stop = s->stop;
	renew = s->renew;
	s->renew = false;
	pthread_mutex_unlock(&s->lock);
	for (unsigned int i = 0; i < s->n_lanes; i++)
		s->lanes[i].renewing |= renew;
	return stop;
}

static bool lane_has_rpc(const struct lane *l)
{
	return l->rpc.call || l->rpc.ended;
}

/* What ended is put away; what is to end, is ended. True: there is a call. */
static bool lane_end(struct weft_xds_stream *s, struct lane *l, bool stop)
{
	if (l->rpc.ended && !l->rpc.pending)
		rpc_end(s, l);
	if (!lane_has_rpc(l)) {
		l->renewing = false; /* the next one is to come anyway */
		return false;
	}
	if (stop && !l->rpc.reset_reason)
		rpc_reset(l, "stopped");
	else if (l->renewing && l->rpc.call && !l->rpc.reset_reason)
		rpc_reset(l, "made anew");
	return true;
}

static void lane_go_on(struct weft_xds_stream *s, struct lane *l)
{
	if (lane_has_rpc(l)) {
		rpc_send_next(s, l);
		return;
	}
	if (!weft_delta_wants(s->conf.delta, l->index)) {
		if (l->down) {
			l->down = false;
			rpc_note_connected(s);
		}
		return;
	}
	if (stream_now(s) >= l->attempt_at)
		rpc_begin(s, l);
}

/* One round before the thread sleeps again. False: all is over. */
static bool stream_step(struct weft_xds_stream *s)
{
	bool stop = stream_stopping(s), any = false;

	run_calls(s, 0);
	for (unsigned int i = 0; i < s->n_lanes; i++)
		any |= lane_end(s, &s->lanes[i], stop);
	if (stop && !any)
		return false;
	if (s->tick_at >= 0 && stream_now(s) >= s->tick_at)
		s->tick_at = weft_delta_tick(s->conf.delta, stream_now(s));
	for (unsigned int i = 0; i < s->n_lanes; i++) {
		/* While it stops, no lane begins anew. */
		if (!stop || lane_has_rpc(&s->lanes[i]))
			lane_go_on(s, &s->lanes[i]);
	}
	return true;
}

/* When there is something to do for it; -1: an event will say so. */
static int64_t lane_deadline(const struct weft_xds_stream *s, const struct lane *l, int64_t now)
{
	if (l->rpc.ended && !l->rpc.pending)
		return now; /* an attempt that failed before it was a call */
	if (lane_has_rpc(l) || !weft_delta_wants(s->conf.delta, l->index))
		return -1;
	return l->attempt_at;
}

static gpr_timespec stream_deadline(const struct weft_xds_stream *s)
{
	int64_t at = s->tick_at, now = stream_now(s);

	for (unsigned int i = 0; i < s->n_lanes; i++) {
		int64_t lane = lane_deadline(s, &s->lanes[i], now);

		if (lane >= 0 && (at < 0 || lane < at))
			at = lane;
	}
	if (at < 0)
		return gpr_inf_future(GPR_CLOCK_MONOTONIC);
	return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
			    gpr_time_from_millis(at > now ? at - now : 0, GPR_TIMESPAN));
}

static void *stream_thread(void *arg)
{
	struct weft_xds_stream *s = arg;

	s->tick_at = stream_now(s);
	for (unsigned int i = 0; i < s->n_lanes; i++) {
		s->lanes[i].backoff_ms = s->conf.backoff_base_ms;
		s->lanes[i].attempt_at = s->tick_at;
	}
	while (stream_step(s)) {
		grpc_event ev = grpc_completion_queue_next(s->cq, stream_deadline(s), NULL);

		if (ev.type == GRPC_OP_COMPLETE && ev.tag == (void *)TAG_WAKE)
			bell_heard(s);
		else if (ev.type == GRPC_OP_COMPLETE)
			rpc_event(s, (uintptr_t)ev.tag, ev.success);
	}
	pthread_mutex_lock(&s->lock);
	s->running = false;
	pthread_mutex_unlock(&s->lock);
	run_calls(s, -ESHUTDOWN);
	return NULL;
}

int weft_xds_stream_call(struct weft_xds_stream *s, void (*fn)(struct weft_delta *d, void *ctx),
			 void *ctx)
{
	struct pending_call call = {.fn = fn, .ctx = ctx};
	struct pending_call **tail = &s->calls;

	pthread_mutex_lock(&s->lock);
	if (s->running && pthread_equal(s->thread, pthread_self())) {
		pthread_mutex_unlock(&s->lock);
		fn(s->conf.delta, ctx);
		return 0;
	}
	if (!s->running) {
		pthread_mutex_unlock(&s->lock);
		return -ESHUTDOWN;
	}
	while (*tail)
		tail = &(*tail)->next;
	*tail = &call;
	bell_ring(s);
	while (!call.finished)
		pthread_cond_wait(&s->done, &s->lock);
	pthread_mutex_unlock(&s->lock);
	return call.result;
}

void weft_xds_stream_renew(struct weft_xds_stream *s)
{
	pthread_mutex_lock(&s->lock);
	s->renew = true;
	if (s->running)
		bell_ring(s);
	pthread_mutex_unlock(&s->lock);
}

void weft_xds_stream_stats(struct weft_xds_stream *s, struct weft_xds_stream_stats *ret)
{
	pthread_mutex_lock(&s->lock);
	*ret = s->stats;
	pthread_mutex_unlock(&s->lock);
}

int weft_xds_stream_start(struct weft_xds_stream *s)
{
	int err = 0;

	pthread_mutex_lock(&s->lock);
	if (s->running || s->thread) {
		err = -EALREADY;
	} else {
		s->stop = false;
		s->running = true;
		err = -pthread_create(&s->thread, NULL, stream_thread, s);
		if (err) {
			s->running = false;
			s->thread = 0;
		}
	}
	pthread_mutex_unlock(&s->lock);
	return err;
}

int weft_xds_stream_stop(struct weft_xds_stream *s, unsigned int timeout_ms)
{
	struct timespec until;
	pthread_t thread;
	int err;

	pthread_mutex_lock(&s->lock);
	thread = s->thread;
	if (thread && pthread_equal(thread, pthread_self())) {
		pthread_mutex_unlock(&s->lock);
		return -EDEADLK;
	}
	s->stop = true;
	if (s->running)
		bell_ring(s);
	pthread_mutex_unlock(&s->lock);
	if (!thread)
		return 0;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += timeout_ms / 1000;
	until.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	err = pthread_timedjoin_np(thread, NULL, &until);
	if (err)
		return -err;
	pthread_mutex_lock(&s->lock);
	s->thread = 0;
	pthread_mutex_unlock(&s->lock);
	return 0;
}

/* "host:port" with a numeric port, or a unix socket. */
static bool address_is_valid(const char *address)
{
	const char *colon = strrchr(address, ':');
	char *end;
	unsigned long port;

	if (!strncmp(address, "unix:///", 8))
		return address[8] != '\0';
	if (!colon || colon == address || strchr(address, '/') || colon[1] < '0' || colon[1] > '9')
		return false;
	if (strchr(address, ':') != colon && (address[0] != '[' || colon[-1] != ']'))
		return false; /* an IPv6 address needs its brackets */
	port = strtoul(colon + 1, &end, 10);
	return !*end && port > 0 && port <= 65535;
}

static grpc_arg int_arg(const char *key, int value)
{
	grpc_arg arg = {.type = GRPC_ARG_INTEGER, .key = (char *)key};

	arg.value.integer = value;
	return arg;
}

static grpc_arg string_arg(const char *key, const char *value)
{
	grpc_arg arg = {.type = GRPC_ARG_STRING, .key = (char *)key};

	arg.value.string = (char *)(uintptr_t)value;
	return arg;
}

grpc_channel *stream_open_channel(const char *address, grpc_channel_credentials *credentials,
				  const char *sni)
{
	grpc_arg list[] = {
		int_arg(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, (int)WEFT_XDS_MESSAGE_MAX),
		int_arg(GRPC_ARG_MAX_SEND_MESSAGE_LENGTH, (int)WEFT_XDS_MESSAGE_MAX),
		int_arg(GRPC_ARG_KEEPALIVE_TIME_MS, WEFT_XDS_KEEPALIVE_MS),
		int_arg(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, WEFT_XDS_KEEPALIVE_TIMEOUT_MS),
		int_arg(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0),
		int_arg(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, CONNECT_TIMEOUT_MS),
		/* The environment's proxy is for the machine's users, not for a node agent. */
		int_arg(GRPC_ARG_ENABLE_HTTP_PROXY, 0),
		int_arg(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1),
		int_arg(GRPC_ARG_ENABLE_RETRIES, 0),
		string_arg(GRPC_SSL_TARGET_NAME_OVERRIDE_ARG, sni),
	};
	grpc_channel_args args = {.num_args = sizeof(list) / sizeof(list[0]), .args = list};

	grpc_channel *channel;
	char *target;

	if (asprintf(&target, "%s%s", strncmp(address, "unix:", 5) ? "dns:///" : "", address) < 0)
		return NULL;
	if (!sni)
		args.num_args--;
	channel = grpc_channel_create(target, credentials, &args);
	free(target);
	return channel;
}

static void stream_open_queue(struct weft_xds_stream *s)
{
	s->cq = grpc_completion_queue_create_for_next(NULL);
	s->bell_channel = grpc_lame_client_channel_create("bell", GRPC_STATUS_UNAVAILABLE, "bell");
	s->bell = grpc_channel_create_call(s->bell_channel, NULL, GRPC_PROPAGATE_DEFAULTS, s->cq,
					   grpc_slice_from_static_string("/bell"), NULL,
					   gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
}

static int addresses_check(const struct weft_xds_stream_conf *conf, struct weft_diag *diag)
{
	for (size_t i = 0; i <= conf->n_more; i++) {
		const char *address = i ? conf->more[i - 1] : conf->address;

		if (!address_is_valid(address))
			return weft_diag_add(diag, -EINVAL, address, NULL,
					     "not HOST:PORT, [IPV6]:PORT or unix:///PATH");
	}
	return 0;
}

static int addresses_copy(struct weft_xds_stream *s, const struct weft_xds_stream_conf *conf)
{
	s->addresses = calloc(1 + conf->n_more, sizeof(*s->addresses));
	if (!s->addresses)
		return -ENOMEM;
	for (size_t i = 0; i <= conf->n_more; i++) {
		s->addresses[i] = strdup(i ? conf->more[i - 1] : conf->address);
		if (!s->addresses[i])
			return -ENOMEM;
		s->n_addresses++;
	}
	s->stats.address = s->addresses[0];
	return 0;
}

int weft_xds_stream_new(const struct weft_xds_stream_conf *conf, struct weft_diag *diag,
			struct weft_xds_stream **ret)
{
	struct weft_xds_stream *s;
	int err = addresses_check(conf, diag);

	if (err)
		return err;
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->conf = *conf;
	s->conf.address = NULL;
	s->conf.more = NULL;
	s->conf.tls = NULL;
	s->conf.token_file = NULL;
	if (!s->conf.backoff_base_ms)
		s->conf.backoff_base_ms = WEFT_XDS_BACKOFF_BASE_MS;
	if (!s->conf.backoff_max_ms)
		s->conf.backoff_max_ms = WEFT_XDS_BACKOFF_MAX_MS;
	s->n_lanes = weft_delta_streams(conf->delta);
	for (unsigned int i = 0; i < s->n_lanes; i++)
		s->lanes[i].index = i;
	s->clock_offset_ms = weft_clock_ms(CLOCK_REALTIME) - weft_clock_ms(CLOCK_MONOTONIC);
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->done, NULL);
	gpr_set_log_function(grpc_log);
	grpc_init();
	stream_open_queue(s);
	err = addresses_copy(s, conf);
	if (!err)
		err = stream_auth_new(conf, diag, &s->auth);
	if (!err)
		err = stream_auth_channel(s, &s->lanes[0], diag);
	if (err) {
		weft_xds_stream_free(s);
		return err;
	}
	*ret = s;
	return 0;
}

void weft_xds_stream_free(struct weft_xds_stream *s)
{
	if (!s)
		return;
	grpc_call_unref(s->bell);
	grpc_channel_destroy(s->bell_channel);
	for (unsigned int i = 0; i < s->n_lanes; i++)
		stream_channel_unref(s->lanes[i].channel);
	stream_auth_free(s->auth);
	grpc_completion_queue_shutdown(s->cq);
	while (grpc_completion_queue_next(s->cq, gpr_inf_future(GPR_CLOCK_REALTIME), NULL).type !=
	       GRPC_QUEUE_SHUTDOWN)
		;
	grpc_completion_queue_destroy(s->cq);
	grpc_shutdown();
	pthread_mutex_destroy(&s->lock);
	pthread_cond_destroy(&s->done);
	for (size_t i = 0; i < s->n_addresses; i++)
		free(s->addresses[i]);
	free(s->addresses);
	free(s);
}
