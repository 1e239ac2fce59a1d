// SPDX-License-Identifier: Apache-2.0
/*
 * One ADS stream: a thread, a completion queue, at most one call. The queue is also the thread's clock
 * and its door bell: an empty batch on a call that never goes anywhere comes back at once.
 */

#include "xds/grpc.h"

#include <errno.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/support/alloc.h>
#include <grpc/support/log.h>
#include <grpc/support/time.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#define METHOD "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
/* Of one attempt; a control plane that takes longer to accept is as good as down. */
#define CONNECT_TIMEOUT_MS 10000
#define METADATA_MAX 16

/* Tags of the completion queue. */
enum {
	TAG_WAKE = 1,
	TAG_START,
	TAG_HEADERS,
	TAG_SEND,
	TAG_RECEIVE,
	TAG_STATUS,
};

struct weft_xds_metadata {
	grpc_metadata entries[METADATA_MAX];
	size_t n;
};

/* A function to run on the thread; lives on the caller's stack. */
struct pending_call {
	struct pending_call *next;
	void (*fn)(struct weft_delta *d, void *ctx);
	void *ctx;
	int result;
	bool finished;
};

/* The RPC of the moment. */
struct rpc {
	grpc_call *call;
	unsigned int pending; /* batches under way; the call is over when it reaches 0 after the status */
	bool up, ended, sending, answered;
	struct weft_xds_metadata metadata;
	grpc_metadata_array headers, trailers;
	grpc_byte_buffer *incoming, *outgoing;
	grpc_status_code status;
	grpc_slice details;
	const char *reset_reason; /* we ended it */
};

struct weft_xds_stream {
	struct weft_xds_stream_conf conf;
	char *target;
	grpc_completion_queue *cq;
	grpc_channel *channel, *bell_channel;
	grpc_call *bell;
	int64_t clock_offset_ms; /* wall clock minus monotonic, so that our time never jumps */

	/* Of the thread. */
	struct rpc rpc;
	int64_t attempt_at, tick_at; /* ms; tick_at -1: nothing to wait for */
	uint32_t backoff_ms;

	pthread_mutex_t lock; /* all below */
	pthread_cond_t done;
	pthread_t thread;
	bool running, stop, bell_rung;
	struct pending_call *calls;
	struct weft_xds_stream_stats stats;
};

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

static int64_t clock_ms(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static int64_t stream_now(const struct weft_xds_stream *s)
{
	return clock_ms(CLOCK_MONOTONIC) + s->clock_offset_ms;
}

int weft_xds_metadata_add(struct weft_xds_metadata *md, const char *key, const char *value)
{
	grpc_slice k = grpc_slice_from_copied_string(key), v = grpc_slice_from_copied_string(value);

	if (md->n == METADATA_MAX || !grpc_header_key_is_legal(k) ||
	    !grpc_header_nonbin_value_is_legal(v)) {
		grpc_slice_unref(k);
		grpc_slice_unref(v);
		return -EINVAL;
	}
	md->entries[md->n].key = k;
	md->entries[md->n].value = v;
	md->n++;
	return 0;
}

/* ---- the call ---- */

/* Starts a batch of one or two operations; a failure here is a programming error, told by gRPC. */
static bool rpc_batch(struct rpc *r, const grpc_op *ops, size_t n, uintptr_t tag)
{
	if (grpc_call_start_batch(r->call, ops, n, (void *)tag, NULL) != GRPC_CALL_OK)
		return false;
	r->pending++;
	return true;
}

static void rpc_reset(struct weft_xds_stream *s, const char *reason)
{
	if (!s->rpc.reset_reason)
		s->rpc.reset_reason = reason;
	grpc_call_cancel(s->rpc.call, NULL);
}

static void rpc_receive(struct weft_xds_stream *s)
{
	grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};

	op.data.recv_message.recv_message = &s->rpc.incoming;
	if (!rpc_batch(&s->rpc, &op, 1, TAG_RECEIVE))
		rpc_reset(s, "cannot receive");
}

static bool rpc_start_batches(struct weft_xds_stream *s)
{
	struct rpc *r = &s->rpc;
	grpc_op start = {.op = GRPC_OP_SEND_INITIAL_METADATA};
	grpc_op headers = {.op = GRPC_OP_RECV_INITIAL_METADATA};
	grpc_op status = {.op = GRPC_OP_RECV_STATUS_ON_CLIENT};

	start.data.send_initial_metadata.count = r->metadata.n;
	start.data.send_initial_metadata.metadata = r->metadata.entries;
	headers.data.recv_initial_metadata.recv_initial_metadata = &r->headers;
	status.data.recv_status_on_client.trailing_metadata = &r->trailers;
	status.data.recv_status_on_client.status = &r->status;
	status.data.recv_status_on_client.status_details = &r->details;
	return rpc_batch(r, &status, 1, TAG_STATUS) && rpc_batch(r, &start, 1, TAG_START) &&
	       rpc_batch(r, &headers, 1, TAG_HEADERS);
}

static void backoff_next(struct weft_xds_stream *s, const char *why)
{
	uint32_t random = 0;
	int64_t delay;

	if (getrandom(&random, sizeof(random), 0) != sizeof(random))
		random = (uint32_t)clock_ms(CLOCK_MONOTONIC);
	delay = random % (s->backoff_ms + 1);
	s->attempt_at = stream_now(s) + delay;
	s->backoff_ms = s->backoff_ms > s->conf.backoff_max_ms / 2 ? s->conf.backoff_max_ms
								    : 2 * s->backoff_ms;
	if (s->conf.disconnected)
		s->conf.disconnected(s->conf.ctx, why, delay);
}

static void rpc_begin(struct weft_xds_stream *s)
{
	struct rpc *r = &s->rpc;

	memset(r, 0, sizeof(*r));
	r->details = grpc_empty_slice();
	pthread_mutex_lock(&s->lock);
	s->stats.attempts++;
	pthread_mutex_unlock(&s->lock);
	if (s->conf.metadata && s->conf.metadata(s->conf.ctx, &r->metadata)) {
		r->reset_reason = "no credentials";
		r->ended = true;
		return;
	}
	grpc_metadata_array_init(&r->headers);
	grpc_metadata_array_init(&r->trailers);
	/* The delay between attempts is ours alone; the channel must not add its own. */
	grpc_channel_reset_connect_backoff(s->channel);
	r->call = grpc_channel_create_call(s->channel, NULL, GRPC_PROPAGATE_DEFAULTS, s->cq,
					   grpc_slice_from_static_string(METHOD), NULL,
					   gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
	if (!rpc_start_batches(s))
		rpc_reset(s, "cannot start the call");
}

static void rpc_describe(const struct rpc *r, char *text, size_t size)
{
	char *details;

	if (r->reset_reason) {
		snprintf(text, size, "%s", r->reset_reason);
		return;
	}
	details = grpc_slice_to_c_string(r->details);
	snprintf(text, size, "status %d%s%.200s", (int)r->status, *details ? ": " : "", details);
	gpr_free(details);
	for (char *c = text; *c; c++) {
		if ((unsigned char)*c < ' ')
			*c = ' ';
	}
}

static void rpc_free(struct rpc *r)
{
	for (size_t i = 0; i < r->metadata.n; i++) {
		grpc_slice_unref(r->metadata.entries[i].key);
		grpc_slice_unref(r->metadata.entries[i].value);
	}
	if (r->call) {
		grpc_metadata_array_destroy(&r->headers);
		grpc_metadata_array_destroy(&r->trailers);
		grpc_call_unref(r->call);
	}
	if (r->incoming)
		grpc_byte_buffer_destroy(r->incoming);
	if (r->outgoing)
		grpc_byte_buffer_destroy(r->outgoing);
	grpc_slice_unref(r->details);
	memset(r, 0, sizeof(*r));
}

/* Every batch is back: forget the call. */
static void rpc_end(struct weft_xds_stream *s)
{
	char why[sizeof(s->stats.last_error)];
	struct rpc *r = &s->rpc;

	rpc_describe(r, why, sizeof(why));
	if (r->up)
		weft_delta_disconnected(s->conf.delta, stream_now(s));
	pthread_mutex_lock(&s->lock);
	s->stats.failures += !r->answered;
	s->stats.resets += r->call && r->reset_reason;
	if (s->stats.connected)
		s->stats.since_ms = stream_now(s);
	s->stats.connected = false;
	memcpy(s->stats.last_error, why, sizeof(why));
	pthread_mutex_unlock(&s->lock);
	rpc_free(r);
	backoff_next(s, why);
}

static void rpc_send_next(struct weft_xds_stream *s)
{
	struct rpc *r = &s->rpc;
	grpc_op op = {.op = GRPC_OP_SEND_MESSAGE};
	uint8_t *data;
	size_t len;
	grpc_slice slice;
	int err;

	if (!r->call || !r->up || r->sending || r->ended || r->reset_reason)
		return;
	err = weft_delta_next_request(s->conf.delta, &data, &len);
	if (err == -EAGAIN)
		return;
	if (err) {
		rpc_reset(s, "out of memory");
		return;
	}
	slice = grpc_slice_new(data, len, free);
	r->outgoing = grpc_raw_byte_buffer_create(&slice, 1);
	grpc_slice_unref(slice);
	op.data.send_message.send_message = r->outgoing;
	r->sending = rpc_batch(r, &op, 1, TAG_SEND);
	if (!r->sending) {
		rpc_reset(s, "cannot send");
		return;
	}
	pthread_mutex_lock(&s->lock);
	s->stats.sent++;
	s->stats.sent_bytes += len;
	pthread_mutex_unlock(&s->lock);
}

static void on_started(struct weft_xds_stream *s, bool ok)
{
	if (!ok || s->rpc.reset_reason)
		return; /* the status says why */
	s->rpc.up = true;
	pthread_mutex_lock(&s->lock);
	s->stats.connected = true;
	s->stats.since_ms = stream_now(s);
	pthread_mutex_unlock(&s->lock);
	if (s->conf.connected)
		s->conf.connected(s->conf.ctx);
	if (weft_delta_connected(s->conf.delta, stream_now(s))) {
		rpc_reset(s, "out of memory");
		return;
	}
	rpc_receive(s);
}

static void on_message(struct weft_xds_stream *s, grpc_byte_buffer *buffer)
{
	grpc_byte_buffer_reader reader;
	grpc_slice slice;
	size_t len;
	int err;

	if (!grpc_byte_buffer_reader_init(&reader, buffer)) {
		rpc_reset(s, "undecodable message");
		return;
	}
	slice = grpc_byte_buffer_reader_readall(&reader);
	grpc_byte_buffer_reader_destroy(&reader);
	len = GRPC_SLICE_LENGTH(slice);
	s->rpc.answered = true;
	s->backoff_ms = s->conf.backoff_base_ms;
	pthread_mutex_lock(&s->lock);
	s->stats.received++;
	s->stats.received_bytes += len;
	pthread_mutex_unlock(&s->lock);
	err = weft_delta_receive(s->conf.delta, GRPC_SLICE_START_PTR(slice), len, stream_now(s));
	grpc_slice_unref(slice);
	s->tick_at = stream_now(s); /* it may have set timers */
	if (err)
		rpc_reset(s, err == -EBADMSG ? "undecodable response" : "out of memory");
}

static void on_received(struct weft_xds_stream *s, bool ok)
{
	grpc_byte_buffer *buffer = s->rpc.incoming;

	s->rpc.incoming = NULL;
	if (!buffer)
		return; /* end of the stream: the status follows */
	if (ok && !s->rpc.reset_reason)
		on_message(s, buffer);
	grpc_byte_buffer_destroy(buffer);
	if (ok && !s->rpc.reset_reason)
		rpc_receive(s);
}

static void on_event(struct weft_xds_stream *s, uintptr_t tag, bool ok)
{
	if (tag == TAG_WAKE) {
		pthread_mutex_lock(&s->lock);
		s->bell_rung = false;
		pthread_mutex_unlock(&s->lock);
		return;
	}
	s->rpc.pending--;
	switch (tag) {
	case TAG_START:
		on_started(s, ok);
		break;
	case TAG_SEND:
		grpc_byte_buffer_destroy(s->rpc.outgoing);
		s->rpc.outgoing = NULL;
		s->rpc.sending = false;
		break;
	case TAG_RECEIVE:
		on_received(s, ok);
		break;
	case TAG_STATUS:
		s->rpc.ended = true;
		break;
	default:
		break;
	}
}

/* ---- the thread ---- */

/* With the lock held. */
static void bell_ring(struct weft_xds_stream *s)
{
	if (s->bell_rung)
		return;
	s->bell_rung = grpc_call_start_batch(s->bell, NULL, 0, (void *)TAG_WAKE, NULL) ==
		       GRPC_CALL_OK;
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
	bool stop;

	pthread_mutex_lock(&s->lock);
	stop = s->stop;
	pthread_mutex_unlock(&s->lock);
	return stop;
}

/* One round before the thread sleeps again. False: all is over. */
static bool stream_step(struct weft_xds_stream *s)
{
	bool stop = stream_stopping(s), has_rpc = s->rpc.call || s->rpc.ended;

	run_calls(s, 0);
	if (has_rpc && s->rpc.ended && !s->rpc.pending) {
		rpc_end(s);
		has_rpc = false;
	}
	if (stop && !has_rpc)
		return false;
	if (stop && !s->rpc.reset_reason)
		rpc_reset(s, "stopped");
	if (s->tick_at >= 0 && stream_now(s) >= s->tick_at)
		s->tick_at = weft_delta_tick(s->conf.delta, stream_now(s));
	if (!has_rpc && stream_now(s) >= s->attempt_at)
		rpc_begin(s);
	rpc_send_next(s);
	return true;
}

static gpr_timespec stream_deadline(const struct weft_xds_stream *s)
{
	int64_t at = s->tick_at, now = stream_now(s);

	if (s->rpc.ended && !s->rpc.pending)
		at = now; /* an attempt that failed before it was a call */
	else if (!s->rpc.call && (at < 0 || s->attempt_at < at))
		at = s->attempt_at;
	if (at < 0)
		return gpr_inf_future(GPR_CLOCK_MONOTONIC);
	return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
			    gpr_time_from_millis(at > now ? at - now : 0, GPR_TIMESPAN));
}

static void *stream_thread(void *arg)
{
	struct weft_xds_stream *s = arg;

	s->backoff_ms = s->conf.backoff_base_ms;
	s->attempt_at = s->tick_at = stream_now(s);
	while (stream_step(s)) {
		grpc_event ev = grpc_completion_queue_next(s->cq, stream_deadline(s), NULL);

		if (ev.type == GRPC_OP_COMPLETE)
			on_event(s, (uintptr_t)ev.tag, ev.success);
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

void weft_xds_stream_stats(struct weft_xds_stream *s, struct weft_xds_stream_stats *ret)
{
	pthread_mutex_lock(&s->lock);
	*ret = s->stats;
	pthread_mutex_unlock(&s->lock);
}

/* ---- life ---- */

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

static void stream_open_channel(struct weft_xds_stream *s)
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
	};
	grpc_channel_args args = {.num_args = sizeof(list) / sizeof(list[0]), .args = list};
	grpc_channel_credentials *credentials = grpc_insecure_credentials_create();

	s->channel = grpc_channel_create(s->target, credentials, &args);
	grpc_channel_credentials_release(credentials);
	s->cq = grpc_completion_queue_create_for_next(NULL);
	s->bell_channel = grpc_lame_client_channel_create("bell", GRPC_STATUS_UNAVAILABLE, "bell");
	s->bell = grpc_channel_create_call(s->bell_channel, NULL, GRPC_PROPAGATE_DEFAULTS, s->cq,
					   grpc_slice_from_static_string("/bell"), NULL,
					   gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
}

int weft_xds_stream_new(const struct weft_xds_stream_conf *conf, struct weft_diag *diag,
			struct weft_xds_stream **ret)
{
	struct weft_xds_stream *s;

	if (!address_is_valid(conf->address))
		return weft_diag_add(diag, -EINVAL, conf->address, NULL,
				     "not HOST:PORT, [IPV6]:PORT or unix:///PATH");
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->conf = *conf;
	s->conf.address = NULL;
	if (asprintf(&s->target, "%s%s", strncmp(conf->address, "unix:", 5) ? "dns:///" : "",
		     conf->address) < 0) {
		free(s);
		return -ENOMEM;
	}
	if (!s->conf.backoff_base_ms)
		s->conf.backoff_base_ms = WEFT_XDS_BACKOFF_BASE_MS;
	if (!s->conf.backoff_max_ms)
		s->conf.backoff_max_ms = WEFT_XDS_BACKOFF_MAX_MS;
	s->clock_offset_ms = clock_ms(CLOCK_REALTIME) - clock_ms(CLOCK_MONOTONIC);
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->done, NULL);
	gpr_set_log_function(grpc_log);
	grpc_init();
	stream_open_channel(s);
	*ret = s;
	return 0;
}

void weft_xds_stream_free(struct weft_xds_stream *s)
{
	if (!s)
		return;
	grpc_call_unref(s->bell);
	grpc_channel_destroy(s->bell_channel);
	grpc_channel_destroy(s->channel);
	grpc_completion_queue_shutdown(s->cq);
	while (grpc_completion_queue_next(s->cq, gpr_inf_future(GPR_CLOCK_REALTIME), NULL).type !=
	       GRPC_QUEUE_SHUTDOWN)
		;
	grpc_completion_queue_destroy(s->cq);
	grpc_shutdown();
	pthread_mutex_destroy(&s->lock);
	pthread_cond_destroy(&s->done);
	free(s->target);
	free(s);
}
