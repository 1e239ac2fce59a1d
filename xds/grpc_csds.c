// SPDX-License-Identifier: Apache-2.0
#include "xds/grpc_csds.h"

#include <errno.h>
#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define SERVICE "/envoy.service.status.v3.ClientStatusDiscoveryService/"
/* A client that vanished without a word is noticed after their sum. */
#define KEEPALIVE_MS 30000
#define KEEPALIVE_TIMEOUT_MS 10000

/* OTHER: a method that nobody registered; unanswered it would wait without end. */
enum kind { FETCH, STREAM, OTHER, KINDS };

enum event { ACCEPTED, READ, SENT, DONE, CLOSED, EVENTS };

struct call;

struct tag {
	struct call *call; /* NULL: the server's shutdown */
	enum event event;
};

/* Lives from the moment it is waited for. */
struct call {
	enum kind kind;
	bool accepted;
	grpc_call *call;	  /* NULL: nobody has called yet */
	grpc_call_details called; /* OTHER */
	struct tag tag[EVENTS];
	unsigned int pending; /* batches under way */
	bool over;	      /* its status is on its way, or it was cancelled */
	int cancelled;
	gpr_timespec deadline;
	grpc_metadata_array metadata;
	grpc_byte_buffer *in, *out;
	grpc_slice details;
};

struct weft_csds_server {
	weft_csds_fn fn;
	void *ctx;
	grpc_server *server;
	grpc_completion_queue *cq;
	void *method[OTHER];
	bool waiting[KINDS];
	unsigned int live;   /* calls that are there */
	bool stopping, down; /* of the thread */
	struct tag shutdown;
	pthread_t thread;
};

/* ---- one call ---- */

static void call_free(struct weft_csds_server *s, struct call *c)
{
	if (c->accepted) {
		s->live--;
	} else {
		s->waiting[c->kind] = false;
	}
	if (c->call)
		grpc_call_unref(c->call);
	grpc_call_details_destroy(&c->called);
	grpc_metadata_array_destroy(&c->metadata);
	grpc_byte_buffer_destroy(c->in);
	grpc_byte_buffer_destroy(c->out);
	grpc_slice_unref(c->details);
	free(c);
}

/* The next call of a kind is waited for, as long as there is a place. */
static void accept_next(struct weft_csds_server *s, enum kind kind)
{
	grpc_call_error err;
	struct call *c;

	if (s->waiting[kind] || s->stopping || s->live >= WEFT_CSDS_CALLS_MAX)
		return;
	c = calloc(1, sizeof(*c));
	if (!c)
		return; /* tried again when a call ends */
	c->kind = kind;
	c->details = grpc_empty_slice();
	grpc_metadata_array_init(&c->metadata);
	grpc_call_details_init(&c->called);
	for (int i = 0; i < EVENTS; i++)
		c->tag[i] = (struct tag){c, (enum event)i};
	s->waiting[kind] = true;
	if (kind == OTHER)
		err = grpc_server_request_call(s->server, &c->call, &c->called, &c->metadata, s->cq,
					       s->cq, &c->tag[ACCEPTED]);
	else
		err = grpc_server_request_registered_call(s->server, s->method[kind], &c->call,
							  &c->deadline, &c->metadata, NULL, s->cq,
							  s->cq, &c->tag[ACCEPTED]);
	if (err != GRPC_CALL_OK)
		call_free(s, c);
}

static void batch(struct call *c, const grpc_op *ops, size_t n, enum event event)
{
	if (grpc_call_start_batch(c->call, ops, n, &c->tag[event], NULL) == GRPC_CALL_OK)
		c->pending++;
	else
		c->over = true;
}

static void call_read(struct call *c, bool first)
{
	grpc_op ops[2] = {
		{.op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &c->in},
		{.op = GRPC_OP_SEND_INITIAL_METADATA},
	};

	batch(c, ops, first ? 2 : 1, READ);
}

/* With c->out before it, if there is one. */
static void call_finish(struct call *c, grpc_status_code status, const char *details)
{
	grpc_op ops[2] = {{.op = GRPC_OP_SEND_STATUS_FROM_SERVER}};
	bool unread = c->kind == OTHER; /* its headers are still to be sent */

	grpc_slice_unref(c->details);
	c->details = grpc_slice_from_copied_string(details);
	ops[0].data.send_status_from_server.status = status;
	ops[0].data.send_status_from_server.status_details = &c->details;
	ops[1].op = unread ? GRPC_OP_SEND_INITIAL_METADATA : GRPC_OP_SEND_MESSAGE;
	if (!unread)
		ops[1].data.send_message.send_message = c->out;
	c->over = true;
	batch(c, ops, unread || c->out ? 2 : 1, DONE);
}

static int call_answer(struct weft_csds_server *s, struct call *c, char error[WEFT_CSDS_ERROR_MAX])
{
	grpc_byte_buffer_reader reader;
	grpc_slice slice;
	uint8_t *data = NULL;
	size_t len = 0;
	int r;

	if (!grpc_byte_buffer_reader_init(&reader, c->in))
		return -ENOMEM;
	slice = grpc_byte_buffer_reader_readall(&reader);
	grpc_byte_buffer_reader_destroy(&reader);
	r = s->fn(s->ctx, GRPC_SLICE_START_PTR(slice), GRPC_SLICE_LENGTH(slice), &data, &len,
		  error);
	grpc_slice_unref(slice);
	if (r < 0)
		return r;
	slice = grpc_slice_new(data, len, free);
	c->out = grpc_raw_byte_buffer_create(&slice, 1);
	grpc_slice_unref(slice);
	return 0;
}

static void call_asked(struct weft_csds_server *s, struct call *c)
{
	char error[WEFT_CSDS_ERROR_MAX] = "no request";
	grpc_op op = {.op = GRPC_OP_SEND_MESSAGE};
	int r = -EINVAL;

	if (!c->in && c->kind == STREAM) {
		call_finish(c, GRPC_STATUS_OK, "");
		return;
	}
	if (c->in)
		r = call_answer(s, c, error);
	grpc_byte_buffer_destroy(c->in);
	c->in = NULL;
	if (r == -EINVAL) {
		call_finish(c, GRPC_STATUS_INVALID_ARGUMENT, error);
	} else if (r < 0) {
		call_finish(c, GRPC_STATUS_UNAVAILABLE, strerror(-r));
	} else if (c->kind == FETCH) {
		call_finish(c, GRPC_STATUS_OK, "");
	} else {
		op.data.send_message.send_message = c->out;
		batch(c, &op, 1, SENT);
	}
}

static void call_accepted(struct weft_csds_server *s, struct call *c)
{
	grpc_op op = {.op = GRPC_OP_RECV_CLOSE_ON_SERVER};

	s->waiting[c->kind] = false;
	c->accepted = true;
	s->live++;
	op.data.recv_close_on_server.cancelled = &c->cancelled;
	batch(c, &op, 1, CLOSED);
	if (c->kind == OTHER)
		call_finish(c, GRPC_STATUS_UNIMPLEMENTED, "");
	else
		call_read(c, true);
}

static void call_event(struct weft_csds_server *s, struct call *c, enum event event, bool ok)
{
	if (event == ACCEPTED) {
		if (ok)
			call_accepted(s, c);
		else
			s->stopping = true;
		if (!c->pending)
			call_free(s, c);
		return;
	}
	c->pending--;
	if (event == SENT || event == DONE) {
		grpc_byte_buffer_destroy(c->out);
		c->out = NULL;
	}
	/* With a call that is cut off every batch fails. */
	if (!ok || event == CLOSED)
		c->over = true;
	if (!c->over && event == READ)
		call_asked(s, c);
	else if (!c->over && event == SENT)
		call_read(c, false);
	if (!c->pending)
		call_free(s, c);
}

/* ---- the thread ---- */

static void *run(void *arg)
{
	const gpr_timespec forever = gpr_inf_future(GPR_CLOCK_REALTIME);
	struct weft_csds_server *s = arg;

	for (;;) {
		grpc_event e;

		for (int i = 0; i < KINDS; i++)
			accept_next(s, (enum kind)i);
		e = grpc_completion_queue_next(s->cq, forever, NULL);
		if (e.type == GRPC_QUEUE_SHUTDOWN)
			return NULL;
		if (e.type != GRPC_OP_COMPLETE)
			continue;
		if (e.tag == &s->shutdown)
			s->stopping = s->down = true;
		else
			call_event(s, ((struct tag *)e.tag)->call, ((struct tag *)e.tag)->event,
				   e.success);
		if (s->down && !s->live && !s->waiting[FETCH] && !s->waiting[STREAM] &&
		    !s->waiting[OTHER])
			grpc_completion_queue_shutdown(s->cq);
	}
}

int weft_csds_server_new(const char *address, weft_csds_fn fn, void *ctx, struct weft_diag *diag,
			 struct weft_csds_server **ret)
{
	static const char *const methods[] = {SERVICE "FetchClientStatus",
					      SERVICE "StreamClientStatus"};
	grpc_arg args[] = {
		{.type = GRPC_ARG_INTEGER,
		 .key = (char *)(uintptr_t)GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH,
		 .value.integer = WEFT_CSDS_REQUEST_MAX},
		{.type = GRPC_ARG_INTEGER,
		 .key = (char *)(uintptr_t)GRPC_ARG_ALLOW_REUSEPORT,
		 .value.integer = 0},
		{.type = GRPC_ARG_INTEGER,
		 .key = (char *)(uintptr_t)GRPC_ARG_KEEPALIVE_TIME_MS,
		 .value.integer = KEEPALIVE_MS},
		{.type = GRPC_ARG_INTEGER,
		 .key = (char *)(uintptr_t)GRPC_ARG_KEEPALIVE_TIMEOUT_MS,
		 .value.integer = KEEPALIVE_TIMEOUT_MS},
	};
	const grpc_channel_args all = {sizeof(args) / sizeof(args[0]), args};
	struct weft_csds_server *s = calloc(1, sizeof(*s));
	grpc_server_credentials *plain;
	int port;

	if (!s)
		return -ENOMEM;
	grpc_init();
	s->fn = fn;
	s->ctx = ctx;
	s->cq = grpc_completion_queue_create_for_next(NULL);
	s->server = grpc_server_create(&all, NULL);
	grpc_server_register_completion_queue(s->server, s->cq, NULL);
	for (int i = 0; i < OTHER; i++)
		s->method[i] = grpc_server_register_method(s->server, methods[i], NULL,
							   GRPC_SRM_PAYLOAD_NONE, 0);
	plain = grpc_insecure_server_credentials_create();
	port = grpc_server_add_http2_port(s->server, address, plain);
	grpc_server_credentials_release(plain);
	grpc_server_start(s->server);
	if (pthread_create(&s->thread, NULL, run, s)) {
		grpc_server_shutdown_and_notify(s->server, s->cq, &s->shutdown);
		run(s);
		grpc_server_destroy(s->server);
		grpc_completion_queue_destroy(s->cq);
		grpc_shutdown();
		free(s);
		return -EAGAIN;
	}
	if (!port) {
		weft_csds_server_free(s);
		return weft_diag_add(diag, -EADDRINUSE, "csds", address, "cannot listen there");
	}
	*ret = s;
	return 0;
}

void weft_csds_server_free(struct weft_csds_server *s)
{
	if (!s)
		return;
	grpc_server_shutdown_and_notify(s->server, s->cq, &s->shutdown);
	grpc_server_cancel_all_calls(s->server);
	pthread_join(s->thread, NULL);
	grpc_server_destroy(s->server);
	grpc_completion_queue_destroy(s->cq);
	grpc_shutdown();
	free(s);
}
