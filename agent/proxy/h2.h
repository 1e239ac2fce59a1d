/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * HTTP/2 towards clients. A session (h2_session.c) is what a connection with streams has in place
 * of exchanges of its own: it turns frames into streams and back, and counts what may be a flood. A
 * stream (h2_stream.c) is a client of one request for all the rest of the proxy: its head is put
 * into the form of HTTP/1.1 (h2_head.c), and is judged, carried out and answered as any other.
 * Everything of a session happens on its connection's worker; frames go out at the end of a turn.
 */

#include <nghttp2/nghttp2.h>

#include "agent/proxy/h2_common.h"
#include "agent/proxy/h2_keepalive.h"
#include "agent/proxy/internal.h"

/* A part of h2_block.text. */
struct h2_span {
	uint32_t at, n;
	bool is; /* it was there */
};

/* The header block at hand; a connection has one at a time. */
struct h2_block {
	uint32_t n, bytes; /* headers, pseudo ones too; of their names and values */
	bool has_length;
	struct buf text; /* values of the pseudo headers */
	struct buf lines, cookie;
	struct h2_span method, path, scheme, authority, host;
};

struct h2_stream {
	struct down down; /* first: is freed as such */
	struct h2 *h2;
	int32_t id;
	TAILQ_ENTRY(h2_stream) link, room_link;
	uint64_t since_ms;
	char scheme[24];
	size_t held;   /* bytes of the body whose window the client has not back */
	bool in_room;  /* in h2.room: something of its response went out */
	bool judged;   /* its head is complete */
	bool ended;    /* the client's side is */
	bool closed;   /* the session knows it no more */
	bool reset;    /* by the client */
	bool head_out; /* the head of its response is the session's */
	bool finished; /* nothing will be added to its response */
};

struct h2 {
	struct down *conn;
	nghttp2_session *session;
	TAILQ_HEAD(, h2_stream) streams;
	TAILQ_HEAD(, h2_stream) room;
	TAILQ_ENTRY(h2) due_link;
	bool due;  /* in worker.h2 */
	bool over; /* the session is to end: a request or a frame made no sense, or there were too
		      many */
	bool told, last; /* GOAWAY was sent: with a number to come, with the last */
	bool keeps; /* override_stream_error_on_invalid_http_message: a bad request ends its stream
		       alone */
	uint32_t max_head, max_headers;
	struct weft_img_h2 opt;
	struct h2_block block;
	struct h2_flood flood;
	struct h2_keepalive keep;
	uint64_t n_closed, n_reset_early;
};

/* ---- heads (h2_head.c) ---- */

/* One header of the block. 0; -EBADMSG: it makes no sense; -E2BIG: more than may be. -ENOMEM. */
int h2_block_add(struct h2 *h2, const uint8_t *name, size_t n, const uint8_t *value, size_t len);
/* The same of trailers: they are bounded as a head is. */
int h2_block_trailer(struct h2 *h2, const uint8_t *name, size_t n, const uint8_t *value,
		     size_t len);
/* The block as an HTTP/1.1 head into the stream's down.in; end: no body follows. -EBADMSG, -ENOMEM.
 */
int h2_block_take(struct h2 *h2, struct h2_stream *s, bool end);
void h2_block_clear(struct h2 *h2);
/* The head in front of d->out: submits it. 0, -EBADMSG, -ENOMEM. */
int h2_head_submit(struct h2_stream *s, const nghttp2_data_provider *body);

/* ---- streams (h2_stream.c) ---- */

struct h2_stream *h2_stream_new(struct h2 *h2, int32_t id);
/* Bytes of its body. -ENOMEM. */
int h2_stream_data(struct h2_stream *s, const uint8_t *data, size_t len);
/* The client's side is complete. */
void h2_stream_end(struct h2_stream *s);
/* The session is done with it. */
void h2_stream_closed(struct h2_stream *s, bool by_client);
/* Something of it went out: what waits for room goes on. */
void h2_stream_resume(struct h2_stream *s);
