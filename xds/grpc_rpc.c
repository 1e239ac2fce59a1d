// SPDX-License-Identifier: Apache-2.0
/* One call of the ADS method: its batches, its messages, its end, and when to try again. */

#include <errno.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/support/alloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "xds/grpc_state.h"

#define SERVICE "/envoy.service.discovery.v3.AggregatedDiscoveryService/"

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

/* Starts a batch of one or two operations; a failure here is a programming error, told by gRPC. */
static bool rpc_batch(struct rpc *r, const grpc_op *ops, size_t n, uintptr_t tag)
{
	if (grpc_call_start_batch(r->call, ops, n, (void *)tag, NULL) != GRPC_CALL_OK)
		return false;
	r->pending++;
	return true;
}

void rpc_reset(struct weft_xds_stream *s, const char *reason)
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

/* Which server is next; false: it is to be tried without delay. */
static bool address_next(struct weft_xds_stream *s, bool answered)
{
	s->which = answered || s->which + 1 == s->n_addresses ? 0 : s->which + 1;
	return s->which == 0;
}

static void backoff_next(struct weft_xds_stream *s, const char *why, bool answered)
{
	uint32_t random = 0;
	int64_t delay;

	if (!address_next(s, answered)) {
		s->attempt_at = stream_now(s);
		if (s->conf.disconnected)
			s->conf.disconnected(s->conf.ctx, why, 0);
		return;
	}

	if (getrandom(&random, sizeof(random), 0) != sizeof(random))
		random = (uint32_t)stream_now(s);
	delay = random % (s->backoff_ms + 1);
	s->attempt_at = stream_now(s) + delay;
	s->backoff_ms = s->backoff_ms > s->conf.backoff_max_ms / 2 ? s->conf.backoff_max_ms
								   : 2 * s->backoff_ms;
	if (s->conf.disconnected)
		s->conf.disconnected(s->conf.ctx, why, delay);
}

/* The channel and the headers of the attempt. Else the attempt ends here, with the reason. */
static int rpc_prepare(struct weft_xds_stream *s)
{
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;
	struct rpc *r = &s->rpc;
	char *text;
	int err = stream_auth_channel(s, &diag);

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

void rpc_begin(struct weft_xds_stream *s)
{
	const char *method = weft_delta_is_sotw(s->conf.delta) ? SERVICE "StreamAggregatedResources"
							       : SERVICE "DeltaAggregatedResources";
	struct rpc *r = &s->rpc;

	memset(r, 0, sizeof(*r));
	r->details = grpc_empty_slice();
	pthread_mutex_lock(&s->lock);
	s->stats.attempts++;
	s->stats.address = s->addresses[s->which];
	pthread_mutex_unlock(&s->lock);
	if (rpc_prepare(s)) {
		r->ended = true;
		return;
	}
	grpc_metadata_array_init(&r->headers);
	grpc_metadata_array_init(&r->trailers);
	/* The delay between attempts is ours alone; the channel must not add its own. */
	grpc_channel_reset_connect_backoff(s->channel);
	r->call = grpc_channel_create_call(s->channel, NULL, GRPC_PROPAGATE_DEFAULTS, s->cq,
					   grpc_slice_from_static_string(method), NULL,
					   gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
	if (!rpc_start_batches(s))
		rpc_reset(s, "cannot start the call");
}

static void rpc_describe(const struct rpc *r, char *text, size_t size)
{
	char *details;

	if (r->reset_reason) {
		snprintf(text, size, "%s", r->reset_reason);
	} else {
		details = grpc_slice_to_c_string(r->details);
		snprintf(text, size, "status %d%s%.700s", (int)r->status, *details ? ": " : "",
			 details);
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

/* Every batch is back: forget the call. */
void rpc_end(struct weft_xds_stream *s)
{
	char why[sizeof(s->stats.last_error)];
	struct rpc *r = &s->rpc;
	bool answered;

	rpc_describe(r, why, sizeof(why));
	weft_delta_disconnected(s->conf.delta,
				stream_now(s)); /* also when it never was up: counted */
	pthread_mutex_lock(&s->lock);
	s->stats.failures += !r->answered;
	s->stats.resets += r->call && r->reset_reason;
	if (s->stats.connected)
		s->stats.since_ms = stream_now(s);
	s->stats.connected = false;
	memcpy(s->stats.last_error, why, sizeof(why));
	pthread_mutex_unlock(&s->lock);
	answered = r->answered;
	rpc_free(r);
	if (s->renewing && answered) {
		s->renewing = false;
		s->which = 0;
		s->attempt_at = stream_now(s);
		return;
	}
	s->renewing = false;
	backoff_next(s, why, answered);
}

void rpc_send_next(struct weft_xds_stream *s)
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

void rpc_event(struct weft_xds_stream *s, uintptr_t tag, bool ok)
{
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
