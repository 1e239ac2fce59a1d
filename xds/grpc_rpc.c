// SPDX-License-Identifier: Apache-2.0
/* One call, of ADS or of one type's service: its batches, its messages, its end, and when to try
 * again. */

#include <errno.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/support/alloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "xds/grpc_state.h"

#define SERVICE "/envoy.service."

/* What a lane calls: the service, and its methods for state of the world and for delta. */
struct service {
	const char *name, *sotw, *delta;
};

static const struct service ads = {
	"AggregatedDiscoveryService",
	SERVICE "discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources",
	SERVICE "discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"};
static const struct service services[WEFT_XDS__MAX] = {
	[WEFT_XDS_CLUSTER] = {"ClusterDiscoveryService",
			      SERVICE "cluster.v3.ClusterDiscoveryService/StreamClusters",
			      SERVICE "cluster.v3.ClusterDiscoveryService/DeltaClusters"},
	[WEFT_XDS_ENDPOINT] = {"EndpointDiscoveryService",
			       SERVICE "endpoint.v3.EndpointDiscoveryService/StreamEndpoints",
			       SERVICE "endpoint.v3.EndpointDiscoveryService/DeltaEndpoints"},
	[WEFT_XDS_LISTENER] = {"ListenerDiscoveryService",
			       SERVICE "listener.v3.ListenerDiscoveryService/StreamListeners",
			       SERVICE "listener.v3.ListenerDiscoveryService/DeltaListeners"},
	[WEFT_XDS_ROUTE] = {"RouteDiscoveryService",
			    SERVICE "route.v3.RouteDiscoveryService/StreamRoutes",
			    SERVICE "route.v3.RouteDiscoveryService/DeltaRoutes"},
};

static const struct service *lane_service(const struct weft_xds_stream *s, const struct lane *l)
{
	return weft_delta_is_separate(s->conf.delta) ? &services[l->index] : &ads;
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

/* Starts a batch of one operation; a failure here is a programming error, told by gRPC. */
static bool rpc_batch(struct lane *l, const grpc_op *op, uintptr_t tag)
{
	tag |= (uintptr_t)l->index << TAG_BITS;
	if (grpc_call_start_batch(l->rpc.call, op, 1, (void *)tag, NULL) != GRPC_CALL_OK)
		return false;
	l->rpc.pending++;
	return true;
}

void rpc_reset(struct lane *l, const char *reason)
{
	if (!l->rpc.reset_reason)
		l->rpc.reset_reason = reason;
	grpc_call_cancel(l->rpc.call, NULL);
}

static void rpc_receive(struct lane *l)
{
	grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};

	op.data.recv_message.recv_message = &l->rpc.incoming;
	if (!rpc_batch(l, &op, TAG_RECEIVE))
		rpc_reset(l, "cannot receive");
}

static bool rpc_start_batches(struct lane *l)
{
	struct rpc *r = &l->rpc;
	grpc_op start = {.op = GRPC_OP_SEND_INITIAL_METADATA};
	grpc_op headers = {.op = GRPC_OP_RECV_INITIAL_METADATA};
	grpc_op status = {.op = GRPC_OP_RECV_STATUS_ON_CLIENT};

	start.data.send_initial_metadata.count = r->metadata.n;
	start.data.send_initial_metadata.metadata = r->metadata.entries;
	headers.data.recv_initial_metadata.recv_initial_metadata = &r->headers;
	status.data.recv_status_on_client.trailing_metadata = &r->trailers;
	status.data.recv_status_on_client.status = &r->status;
	status.data.recv_status_on_client.status_details = &r->details;
	return rpc_batch(l, &status, TAG_STATUS) && rpc_batch(l, &start, TAG_START) &&
	       rpc_batch(l, &headers, TAG_HEADERS);
}

/* Which server is next; false: it is to be tried without delay. */
static bool address_next(const struct weft_xds_stream *s, struct lane *l, bool answered)
{
	l->which = answered || l->which + 1 == s->n_addresses ? 0 : l->which + 1;
	return l->which == 0;
}

static void backoff_next(struct weft_xds_stream *s, struct lane *l, const char *why, bool answered)
{
	uint32_t random = 0;
	int64_t delay;

	if (!address_next(s, l, answered)) {
		l->attempt_at = stream_now(s);
		if (s->conf.disconnected)
			s->conf.disconnected(s->conf.ctx, why, 0);
		return;
	}

	if (getrandom(&random, sizeof(random), 0) != sizeof(random))
		random = (uint32_t)stream_now(s);
	delay = random % (l->backoff_ms + 1);
	l->attempt_at = stream_now(s) + delay;
	l->backoff_ms = l->backoff_ms > s->conf.backoff_max_ms / 2 ? s->conf.backoff_max_ms
								   : 2 * l->backoff_ms;
	if (s->conf.disconnected)
		s->conf.disconnected(s->conf.ctx, why, delay);
}

/* The channel and the headers of the attempt. Else the attempt ends here, with the reason. */
static int rpc_prepare(struct weft_xds_stream *s, struct lane *l)
{
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;
	struct rpc *r = &l->rpc;
	char *text;
	int err = stream_auth_channel(s, l, &diag);

	if (!err)
		err = stream_auth_headers(s->auth, &r->metadata, &diag);
	if (!err && s->conf.metadata)
		err = s->conf.metadata(s->conf.ctx, &r->metadata);
	if (!err)
		return 0;
	text = weft_diag_text(&diag);
	snprintf(r->reason, sizeof(r->reason), "no credentials%s%s", text ? ": " : "",
		 text ? text : "");
	free(text);
	r->reset_reason = r->reason;
	return err;
}

void rpc_begin(struct weft_xds_stream *s, struct lane *l)
{
	const struct service *service = lane_service(s, l);
	const char *method = weft_delta_is_sotw(s->conf.delta) ? service->sotw : service->delta;
	struct rpc *r = &l->rpc;
	grpc_channel *channel;

	memset(r, 0, sizeof(*r));
	r->details = grpc_empty_slice();
	pthread_mutex_lock(&s->lock);
	s->stats.attempts++;
	s->stats.address = s->addresses[l->which];
	pthread_mutex_unlock(&s->lock);
	if (rpc_prepare(s, l)) {
		r->ended = true;
		return;
	}
	grpc_metadata_array_init(&r->headers);
	grpc_metadata_array_init(&r->trailers);
	/* The delay between attempts is ours alone; the channel must not add its own. */
	channel = stream_channel_get(l->channel);
	grpc_channel_reset_connect_backoff(channel);
	r->call = grpc_channel_create_call(channel, NULL, GRPC_PROPAGATE_DEFAULTS, s->cq,
					   grpc_slice_from_static_string(method), NULL,
					   gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
	if (!rpc_start_batches(l))
		rpc_reset(l, "cannot start the call");
}

static void rpc_describe(const struct weft_xds_stream *s, const struct lane *l, char *text,
			 size_t size)
{
	const struct rpc *r = &l->rpc;
	/* Of the one of ADS there is nothing to tell apart. */
	bool named = weft_delta_is_separate(s->conf.delta);
	const char *name = named ? lane_service(s, l)->name : "", *colon = named ? ": " : "";
	char *details;

	if (r->reset_reason) {
		snprintf(text, size, "%s%s%s", name, colon, r->reset_reason);
	} else {
		details = grpc_slice_to_c_string(r->details);
		snprintf(text, size, "%s%sstatus %d%s%.700s", name, colon, (int)r->status,
			 *details ? ": " : "", details);
		gpr_free(details);
	}
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

void rpc_note_connected(struct weft_xds_stream *s)
{
	bool connected = false, down = false;

	for (unsigned int i = 0; i < s->n_lanes; i++) {
		connected |= s->lanes[i].rpc.up;
		down |= s->lanes[i].down;
	}
	connected = connected && !down;
	pthread_mutex_lock(&s->lock);
	if (connected || s->stats.connected)
		s->stats.since_ms =
			connected && s->stats.connected ? s->stats.since_ms : stream_now(s);
	s->stats.connected = connected;
	pthread_mutex_unlock(&s->lock);
}

/* Every batch is back: forget the call. */
void rpc_end(struct weft_xds_stream *s, struct lane *l)
{
	char why[sizeof(s->stats.last_error)];
	struct rpc *r = &l->rpc;
	bool answered;

	rpc_describe(s, l, why, sizeof(why));
	/* also when it never was up: counted */
	weft_delta_disconnected_on(s->conf.delta, l->index, stream_now(s));
	pthread_mutex_lock(&s->lock);
	s->stats.failures += !r->answered;
	s->stats.resets += r->call && r->reset_reason;
	memcpy(s->stats.last_error, why, sizeof(why));
	pthread_mutex_unlock(&s->lock);
	answered = r->answered;
	rpc_free(r);
	l->down = true;
	rpc_note_connected(s);
	if (l->renewing && answered) {
		l->renewing = false;
		l->which = 0;
		l->attempt_at = stream_now(s);
		return;
	}
	l->renewing = false;
	backoff_next(s, l, why, answered);
}

void rpc_send_next(struct weft_xds_stream *s, struct lane *l)
{
	struct rpc *r = &l->rpc;
	grpc_op op = {.op = GRPC_OP_SEND_MESSAGE};
	uint8_t *data;
	size_t len;
	grpc_slice slice;
	int err;

	if (!r->call || !r->up || r->sending || r->ended || r->reset_reason)
		return;
	err = weft_delta_next_request_on(s->conf.delta, l->index, &data, &len);
	if (err == -EAGAIN)
		return;
	if (err) {
		rpc_reset(l, "out of memory");
		return;
	}
	slice = grpc_slice_new(data, len, free);
	r->outgoing = grpc_raw_byte_buffer_create(&slice, 1);
	grpc_slice_unref(slice);
	op.data.send_message.send_message = r->outgoing;
	r->sending = rpc_batch(l, &op, TAG_SEND);
	if (!r->sending) {
		rpc_reset(l, "cannot send");
		return;
	}
	pthread_mutex_lock(&s->lock);
	s->stats.sent++;
	s->stats.sent_bytes += len;
	pthread_mutex_unlock(&s->lock);
}

static void on_started(struct weft_xds_stream *s, struct lane *l, bool ok)
{
	if (!ok || l->rpc.reset_reason)
		return; /* the status says why */
	l->rpc.up = true;
	l->down = false;
	rpc_note_connected(s);
	if (s->conf.connected)
		s->conf.connected(s->conf.ctx, lane_service(s, l)->name);
	if (weft_delta_connected_on(s->conf.delta, l->index, stream_now(s))) {
		rpc_reset(l, "out of memory");
		return;
	}
	rpc_receive(l);
}

static void on_message(struct weft_xds_stream *s, struct lane *l, grpc_byte_buffer *buffer)
{
	grpc_byte_buffer_reader reader;
	grpc_slice slice;
	size_t len;
	int err;

	if (!grpc_byte_buffer_reader_init(&reader, buffer)) {
		rpc_reset(l, "undecodable message");
		return;
	}
	slice = grpc_byte_buffer_reader_readall(&reader);
	grpc_byte_buffer_reader_destroy(&reader);
	len = GRPC_SLICE_LENGTH(slice);
	l->rpc.answered = true;
	l->backoff_ms = s->conf.backoff_base_ms;
	pthread_mutex_lock(&s->lock);
	s->stats.received++;
	s->stats.received_bytes += len;
	pthread_mutex_unlock(&s->lock);
	err = weft_delta_receive_on(s->conf.delta, l->index, GRPC_SLICE_START_PTR(slice), len,
				    stream_now(s));
	grpc_slice_unref(slice);
	s->tick_at = stream_now(s); /* it may have set timers */
	if (err)
		rpc_reset(l, err == -EBADMSG ? "undecodable response" : "out of memory");
}

static void on_received(struct weft_xds_stream *s, struct lane *l, bool ok)
{
	grpc_byte_buffer *buffer = l->rpc.incoming;

	l->rpc.incoming = NULL;
	if (!buffer)
		return; /* end of the stream: the status follows */
	if (ok && !l->rpc.reset_reason)
		on_message(s, l, buffer);
	grpc_byte_buffer_destroy(buffer);
	if (ok && !l->rpc.reset_reason)
		rpc_receive(l);
}

void rpc_event(struct weft_xds_stream *s, uintptr_t tag, bool ok)
{
	struct lane *l = &s->lanes[tag >> TAG_BITS];

	l->rpc.pending--;
	switch (tag & ((1 << TAG_BITS) - 1)) {
	case TAG_START:
		on_started(s, l, ok);
		break;
	case TAG_SEND:
		grpc_byte_buffer_destroy(l->rpc.outgoing);
		l->rpc.outgoing = NULL;
		l->rpc.sending = false;
		break;
	case TAG_RECEIVE:
		on_received(s, l, ok);
		break;
	case TAG_STATUS:
		l->rpc.ended = true;
		break;
	default:
		break;
	}
}
