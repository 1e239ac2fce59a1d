/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Bytes on their way: buffers (buffer.c), how bodies are framed (body.c), heads of responses
 * (response.c). */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/proxy/limits.h"

struct worker;

/* ---- bytes (buffer.c) ---- */

/* Bytes [start, end) of data. Empty and without memory when idle. */
struct buf {
	uint8_t *data;
	size_t cap, start, end;
	bool bulk; /* the last read filled it: the next one asks for more */
};
static inline size_t buf_len(const struct buf *b)
{
	return b->end - b->start;
}
static inline uint8_t *buf_at(const struct buf *b)
{
	return b->data + b->start;
}
/* Room for n more bytes behind end (moves or grows). -ENOMEM. */
int buf_room(struct worker *w, struct buf *b, size_t n);
int buf_add(struct worker *w, struct buf *b, const void *bytes, size_t n);
int buf_printf(struct worker *w, struct buf *b, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void buf_consume(struct worker *w, struct buf *b, size_t n);
/* Gives the memory back. */
void buf_free(struct worker *w, struct buf *b);
/* Frees what the worker keeps for reuse. */
void buf_spares_free(struct worker *w);
/* What stands in from becomes that of to, which is empty; nothing is copied. */
void buf_move(struct worker *w, struct buf *to, struct buf *from);
/* Reads once, at least `want` bytes if they are there, PROXY_BULK after a read that filled its
 * buffer. > 0 bytes, 0 end, -EAGAIN, -errno. */
ssize_t buf_read(struct worker *w, struct buf *b, int fd, size_t want);
/* Writes what it can. 0 all, -EAGAIN some left, -errno. *sent grows by what went out. */
int buf_write(struct worker *w, struct buf *b, int fd, uint64_t *sent);

/* ---- from socket to socket (straight.c) ---- */

struct exchange;

/* May the next bytes of the response's body go to the client without a look at them? */
bool straight_may(const struct exchange *x);
/*
 * Moves some of them; what the client does not take stands in its buffer. 1: moved, 0: the endpoint
 * sends no more, -EAGAIN: nothing is there, or no pipe is to be had and straight_may() says no from
 * here on; -EPIPE: the client is gone.
 */
int straight_move(struct exchange *x);
/* The worker ends. */
void straight_close(struct worker *w);

/* ---- framing (body.c) ---- */

enum body_kind { BODY_NONE, BODY_LENGTH, BODY_CHUNKED, BODY_CLOSE };
struct body {
	enum body_kind kind;
	int state;
	uint64_t left;			 /* bytes of the body, or of the chunk */
	uint64_t trailers, trailers_max; /* bytes of them so far, and at most */
	bool done;
};
/* length: of BODY_LENGTH; of BODY_CHUNKED that of its trailers at most, with their blank line. */
void body_init(struct body *b, enum body_kind kind, uint64_t length);
/*
 * Takes bytes in[0..n): *ret_used of them are consumed, and data of the body among them is at
 * *ret_data (*ret_len bytes, maybe 0). One step; call again until nothing is consumed or done.
 * -EBADMSG: malformed chunks; -EILSEQ: a trailer with a control character; -E2BIG: the trailers are
 * too long. Chunk sizes and extensions may be of any length: they are looked at byte by byte and
 * kept nowhere (Envoy 1.40).
 */
int body_step(struct body *b, const uint8_t *in, size_t n, size_t *ret_used,
	      const uint8_t **ret_data, size_t *ret_len);

/* ---- responses (response.c) ---- */

/* May a header's name hold this byte (RFC 9110 section 5.6.2)? */
bool http_is_token(uint8_t c);

struct head_field {
	uint32_t name, name_len, value, value_len; /* offsets from the head's start */
};
struct response {
	uint32_t status;
	uint32_t len;	      /* of the head */
	uint32_t grpc_status; /* when has_grpc_status */
	bool http10, keep_alive, has_length, chunked, has_date, has_server;
	bool has_grpc_status, rate_limited; /* x-envoy-ratelimited */
	bool health_fail;		    /* x-envoy-immediate-health-check-fail */
	bool has_upgrade, wants_upgrade;    /* an upgrade header; connection names it */
	uint64_t length;
	uint32_t n;
	struct head_field field[PROXY_RESPONSE_FIELDS_MAX];
};
/* 0, -EAGAIN: incomplete, -EBADMSG: malformed, -E2BIG. Lower-cases the names in place when
 * complete. */
int response_parse(uint8_t *in, size_t n, struct response *ret);
