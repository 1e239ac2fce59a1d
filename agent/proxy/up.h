/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * HTTP/2 towards endpoints. A session (up_session.c) is what a connection has in place of the
 * exchange that uses it. A stream (up_stream.c) is an upstream connection of one request for all
 * the rest of the proxy: the request's head comes in the form of HTTP/1.1 in upstream.out, the
 * response's goes so into upstream.in (up_head.c), and the bodies behind them are bare. Everything
 * happens on the connection's worker; frames go out at the end of a turn.
 */

#include <nghttp2/nghttp2.h>

#include "agent/proxy/h2_common.h"
#include "agent/proxy/h2_keepalive.h"
#include "agent/proxy/internal.h"

/* The header block at hand; a connection has one at a time. */
struct up_block {
	uint32_t n, bytes; /* headers, the status too; of their names and values */
	uint8_t status[3]; /* "" in trailers */
	struct buf lines;
};

struct up_stream {
	struct upstream up; /* first: is freed as such */
	int32_t id;	    /* 0: its head is not the session's yet */
	TAILQ_ENTRY(up_stream) link, room_link;
	size_t held;	  /* bytes of the response whose window the endpoint has not back */
	bool in_room;	  /* in session.room: something of its request went out */
	bool closed;	  /* the session knows it no more */
	bool malformed;	  /* what came for it makes no sense */
	bool reset;	  /* by the endpoint */
	bool tunnel;	  /* extended CONNECT (RFC 8441) of an upgrade */
	char upgrade[64]; /* what it asked for */
};

struct up_session {
	struct upstream *conn;
	nghttp2_session *session;
	TAILQ_HEAD(, up_stream) streams;
	TAILQ_HEAD(, up_stream) room;
	TAILQ_ENTRY(up_session) due_link;
	uint32_t n;	/* of streams */
	bool due;	/* in worker.up */
	bool over;	/* nothing more is read or said */
	bool known;	/* the endpoint's SETTINGS are here */
	uint32_t guess; /* before: what another connection to it was told, 0: none was */
	struct weft_img_h2 opt;
	struct up_block block;
	struct h2_flood flood;
	struct h2_keepalive keep;
};

/* ---- heads (up_head.c) ---- */

/* One header of the block. 0; -E2BIG: more than may be; -ENOMEM. */
int up_block_add(struct up_session *s, const uint8_t *name, size_t n, const uint8_t *value,
		 size_t len);
/* The block as an HTTP/1.1 head behind what stands in the stream's up.in. -ENOMEM. */
int up_block_take(struct up_session *s, struct up_stream *st);
void up_block_clear(struct up_session *s);
/* The head in front of up.out: submits it; body NULL: nothing follows. 0, -EBADMSG, -ENOMEM. */
int up_head_submit(struct up_stream *st, const nghttp2_data_provider *body);

/* ---- streams (up_stream.c) ---- */

/* One for an exchange; its request comes by upstream_flush(). NULL: no memory. */
struct upstream *up_stream_new(struct upstream *conn);
/* Bytes of its response. -ENOMEM. */
int up_stream_data(struct up_stream *st, const uint8_t *data, size_t len);
/* Its head, or the last of it, has come into up.in. */
void up_stream_heard(struct up_stream *st, bool end);
/* The session is done with it: `why`, unless its response is complete. */
void up_stream_closed(struct up_stream *st, enum fail_why why);
/* Something of it went out: what waits for room goes on. */
void up_stream_resume(struct up_stream *st);
/* What stands in up.out is for the session. */
void up_stream_flush(struct upstream *u);
/* The endpoint gets its window back, as far as there is room. */
void up_stream_watch(struct upstream *u);
/* Its exchange is done with it: it is reset unless both sides have ended. */
void up_stream_release(struct upstream *u);

/* ---- sessions (up_session.c) ---- */

/* The connection is made. */
void up_session_connected(struct up_session *s);
/* The connection, when it is made, speaks HTTP/2; guess as in the session. -ENOMEM. */
int up_session_new(struct upstream *conn, const struct weft_img_h2 *opt, uint32_t guess);
/* It takes requests, now or when there is room. */
bool up_session_open(const struct upstream *conn);
/* How many streams it takes at a time, as far as is known: at least 1. */
uint32_t up_session_most(const struct upstream *conn);
/* It takes one more now. */
bool up_session_room(const struct upstream *conn);
/* Takes what stands in conn.in; eof: no more will come. May close. */
void up_session_receive(struct upstream *conn, bool eof);
/* It has something to send. */
void up_session_due(struct up_session *s);
/* It is over: its streams fail, and the connection is closed. */
void up_session_end(struct upstream *conn, enum fail_why why);
/* Of a connection that closes. */
void up_session_close(struct up_session *s);
void up_session_free(struct up_session *s);
/* At the turn's end: sends. */
void up_sessions_run(struct worker *w);
