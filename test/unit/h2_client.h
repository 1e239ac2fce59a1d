// SPDX-License-Identifier: Apache-2.0
#pragma once

/* A client that speaks HTTP/2 to the proxy of proxy_fixture.h, by nghttp2: requests are made, then
 * run until answered. */

#include "proxy_fixture.h"

#include <nghttp2/nghttp2.h>

#define H2C_STREAMS 512
#define H2C_BODY 512

struct h2c_stream {
	int32_t id;
	unsigned int status, interim;
	char server[32];
	char body[H2C_BODY]; /* its beginning */
	char trailers[256];  /* "name: value\n" each */
	size_t len, to_send;
	bool closed, stalls; /* stalls: what comes is not given back */
	bool past;	     /* its final head is complete */
	uint32_t error;
};

struct h2c {
	int fd;
	nghttp2_session *session;
	struct h2c_stream stream[H2C_STREAMS];
	size_t n, open;
	bool ended, goaway;
	unsigned int pings; /* that came, and were answered */
	bool says; /* bodies of requests end with trailers */
	uint32_t goaway_error;
	int32_t goaway_last;
};

static inline struct h2c_stream *h2c_find(struct h2c *c, int32_t id)
{
	return nghttp2_session_get_stream_user_data(c->session, id);
}

static inline int h2c_header(nghttp2_session *session, const nghttp2_frame *frame,
			     const uint8_t *name, size_t n, const uint8_t *value, size_t len,
			     uint8_t flags, void *arg)
{
	struct h2c_stream *s = h2c_find(arg, frame->hd.stream_id);

	(void)session;
	(void)flags;
	if (s && s->status >= 200 && *name != ':' && frame->headers.cat == NGHTTP2_HCAT_HEADERS &&
	    (s->len || s->past)) {
		size_t at = strlen(s->trailers);

		snprintf(s->trailers + at, sizeof(s->trailers) - at, "%.*s: %.*s\n", (int)n, name,
			 (int)len, value);
	}
	if (s && n == 7 && !memcmp(name, ":status", 7)) {
		if (*value == '1')
			s->interim++;
		s->status = (unsigned int)strtoul((const char *)value, NULL, 10);
	} else if (s && n == 6 && !memcmp(name, "server", 6)) {
		snprintf(s->server, sizeof(s->server), "%.*s", (int)len, value);
	}
	return 0;
}

static inline int h2c_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
			   size_t len, void *arg)
{
	struct h2c_stream *s = h2c_find(arg, id);

	(void)flags;
	nghttp2_session_consume_connection(session, len);
	if (!s)
		return 0;
	if (s->len + len < sizeof(s->body))
		memcpy(s->body + s->len, data, len);
	s->len += len;
	if (!s->stalls)
		nghttp2_session_consume_stream(session, id, len);
	return 0;
}

static inline int h2c_close(nghttp2_session *session, int32_t id, uint32_t error, void *arg)
{
	struct h2c *c = arg;
	struct h2c_stream *s = h2c_find(c, id);

	(void)session;
	if (s) {
		s->closed = true;
		s->error = error;
		c->open--;
	}
	return 0;
}

static inline int h2c_frame(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
	struct h2c *c = arg;

	struct h2c_stream *s = h2c_find(arg, frame->hd.stream_id);

	(void)session;
	if (s && frame->hd.type == NGHTTP2_HEADERS && s->status >= 200)
		s->past = true;
	if (frame->hd.type == NGHTTP2_PING && !(frame->hd.flags & NGHTTP2_FLAG_ACK))
		c->pings++;
	if (frame->hd.type == NGHTTP2_GOAWAY) {
		c->goaway = true;
		c->goaway_error = frame->goaway.error_code;
		c->goaway_last = frame->goaway.last_stream_id;
	}
	return 0;
}

static inline ssize_t h2c_read(nghttp2_session *session, int32_t id, uint8_t *buf, size_t n,
			       uint32_t *flags, nghttp2_data_source *source, void *arg)
{
	struct h2c_stream *s = source->ptr;

	if (n > s->to_send)
		n = s->to_send;
	memset(buf, 'b', n);
	s->to_send -= n;
	if (!s->to_send) {
		*flags |= NGHTTP2_DATA_FLAG_EOF;
		if (((struct h2c *)arg)->says) {
			const nghttp2_nv nv[] = {{(uint8_t *)(uintptr_t) "x-said",
						  (uint8_t *)(uintptr_t) "1", 6, 1,
						  NGHTTP2_NV_FLAG_NONE}};

			*flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
			nghttp2_submit_trailer(session, id, nv, 1);
		}
	}
	return (ssize_t)n;
}

static inline void h2c_open(struct h2c *c)
{
	nghttp2_session_callbacks *k;
	nghttp2_option *o;

	*c = (struct h2c){.fd = fix_dial()};
	nghttp2_session_callbacks_new(&k);
	nghttp2_option_new(&o);
	nghttp2_option_set_no_auto_window_update(o, 1);
	nghttp2_session_callbacks_set_on_header_callback(k, h2c_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(k, h2c_data);
	nghttp2_session_callbacks_set_on_stream_close_callback(k, h2c_close);
	nghttp2_session_callbacks_set_on_frame_recv_callback(k, h2c_frame);
	nghttp2_session_client_new2(&c->session, k, c, o);
	nghttp2_option_del(o);
	nghttp2_session_callbacks_del(k);
	nghttp2_submit_settings(c->session, 0, NULL, 0);
}

static inline void h2c_shut(struct h2c *c)
{
	nghttp2_session_del(c->session);
	close(c->fd);
}

#define H2C_NV(n, v)                                                                               \
	{                                                                                          \
		(uint8_t *)(uintptr_t)(n), (uint8_t *)(uintptr_t)(v), strlen(n), strlen(v),        \
			NGHTTP2_NV_FLAG_NONE                                                       \
	}

/* A request with a body of `bytes`; more: a further header, NULL none. */
static inline struct h2c_stream *h2c_ask(struct h2c *c, const char *method, const char *path,
					 size_t bytes, const char *name, const char *value)
{
	struct h2c_stream *s = &c->stream[c->n++];
	nghttp2_nv nv[] = {H2C_NV(":method", method), H2C_NV(":scheme", "http"),
			   H2C_NV(":authority", "a"), H2C_NV(":path", path),
			   H2C_NV(name ? name : "x", name ? value : "x")};
	nghttp2_data_provider body = {.source.ptr = s, .read_callback = h2c_read};

	assert_true(c->n <= H2C_STREAMS);
	s->to_send = bytes;
	s->id = nghttp2_submit_request(c->session, NULL, nv, name ? 5 : 4, bytes ? &body : NULL, s);
	assert_true(s->id > 0);
	c->open++;
	return s;
}

static inline struct h2c_stream *h2c_get(struct h2c *c, const char *path)
{
	return h2c_ask(c, "GET", path, 0, NULL, NULL);
}

/* Writes what there is; reads once. false: the connection has ended. */
static inline bool h2c_turn(struct h2c *c, int wait_ms)
{
	struct pollfd p = {.fd = c->fd, .events = POLLIN};
	static uint8_t block[65536];
	const uint8_t *out;
	ssize_t n;

	while ((n = nghttp2_session_mem_send(c->session, &out)) > 0) {
		for (ssize_t at = 0; at < n;) {
			ssize_t k = send(c->fd, out + at, (size_t)(n - at), MSG_NOSIGNAL);

			if (k <= 0)
				return !(c->ended = true);
			at += k;
		}
	}
	if (poll(&p, 1, wait_ms) != 1)
		return true;
	n = recv(c->fd, block, sizeof(block), 0);
	if (n <= 0)
		return !(c->ended = true);
	if (nghttp2_session_mem_recv(c->session, block, (size_t)n) < 0)
		return !(c->ended = true);
	return true;
}

/* Until every stream is closed, or the connection; at most ten seconds. */
static inline void h2c_run(struct h2c *c)
{
	uint64_t end = fix_now_ms() + 10000;

	while (c->open && !c->ended && fix_now_ms() < end)
		h2c_turn(c, 100);
}

/* Until this one is closed. */
static inline void h2c_run_one(struct h2c *c, const struct h2c_stream *s)
{
	uint64_t end = fix_now_ms() + 10000;

	while (!s->closed && !c->ended && fix_now_ms() < end)
		h2c_turn(c, 100);
}

/* So long, whatever happens. */
static inline void h2c_wait(struct h2c *c, uint64_t ms)
{
	uint64_t end = fix_now_ms() + ms;

	while (!c->ended && fix_now_ms() < end)
		h2c_turn(c, 20);
}
