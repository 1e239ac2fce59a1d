// SPDX-License-Identifier: Apache-2.0
/*
 * Header blocks and frames of HTTP/2 clients: whatever comes, a head that is made of them is one
 * request of HTTP/1.1, which ends where it ends, has one host, no line of the connection's own, and
 * nothing behind it.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/proxy/h2.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct worker worker;
static struct pod pod;

static void need(bool holds)
{
	if (!holds)
		abort();
}

static size_t lines_of(const char *head, const char *name)
{
	size_t n = 0, len = strlen(name);

	for (const char *p = head; (p = strstr(p, "\r\n")); p += 2)
		n += !strncasecmp(p + 2, name, len) && p[2 + len] == ':';
	return n;
}

/* What stands in front of a stream's body. */
static void head_check(struct h2_stream *s)
{
	size_t n = buf_len(&s->down.in);
	char *text = malloc(n + 1), *end;

	need(text);
	if (n)
		memcpy(text, buf_at(&s->down.in), n);
	text[n] = '\0';
	need(strlen(text) == n); /* no NUL */
	end = strstr(text, "\r\n\r\n");
	need(end && end + 4 == text + n);
	need(lines_of(text, "host") == 1);
	need(!lines_of(text, "connection") && !lines_of(text, "upgrade") &&
	     !lines_of(text, "keep-alive"));
	need(lines_of(text, "transfer-encoding") <= 1 && lines_of(text, "cookie") <= 1);
	need(lines_of(text, "content-length") + lines_of(text, "transfer-encoding") <= 1);
	for (char *p = text; p < end; p++)
		need(*p != '\n' || p[-1] == '\r');
	free(text);
}

struct run {
	struct h2 h2;
	struct h2_stream *stream;
};

static int on_begin(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
	struct run *r = arg;

	(void)session;
	(void)frame;
	h2_block_clear(&r->h2);
	return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
		     size_t n, const uint8_t *value, size_t len, uint8_t flags, void *arg)
{
	struct run *r = arg;

	(void)session;
	(void)flags;
	if (frame->headers.cat != NGHTTP2_HCAT_REQUEST)
		return 0;
	return h2_block_add(&r->h2, name, n, value, len) ? NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE
							 : 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
	struct run *r = arg;

	(void)session;
	if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
		return 0;
	if (!h2_block_take(&r->h2, r->stream, frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
		head_check(r->stream);
	buf_free(&worker, &r->stream->down.in);
	h2_block_clear(&r->h2);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct down conn = {.worker = &worker, .pod = &pod};
	struct h2_stream stream = {.down = {.worker = &worker, .pod = &pod}};
	struct run r = {.h2 = {.conn = &conn, .max_head = 61440, .max_headers = 100},
			.stream = &stream};
	nghttp2_session_callbacks *c = NULL;
	nghttp2_option *o = NULL;
	const uint8_t *out;
	size_t n = size < 64 ? size : 64;

	stream.h2 = &r.h2;
	need(!nghttp2_session_callbacks_new(&c) && !nghttp2_option_new(&o));
	nghttp2_option_set_no_recv_client_magic(o, 1);
	nghttp2_option_set_no_rfc9113_leading_and_trailing_ws_validation(o, 1);
	nghttp2_session_callbacks_set_on_begin_headers_callback(c, on_begin);
	nghttp2_session_callbacks_set_on_header_callback(c, on_header);
	nghttp2_session_callbacks_set_on_frame_recv_callback(c, on_frame);
	need(!nghttp2_session_server_new2(&r.h2.session, c, &r, o));
	need(!nghttp2_submit_settings(r.h2.session, NGHTTP2_FLAG_NONE, NULL, 0));
	/* cut once: what was begun goes on */
	if (nghttp2_session_mem_recv(r.h2.session, data, n) == (ssize_t)n)
		nghttp2_session_mem_recv(r.h2.session, data + n, size - n);
	while (nghttp2_session_mem_send(r.h2.session, &out) > 0)
		;
	h2_block_clear(&r.h2);
	buf_free(&worker, &stream.down.in);
	nghttp2_session_del(r.h2.session);
	nghttp2_option_del(o);
	nghttp2_session_callbacks_del(c);
	while (worker.n_spare)
		free(worker.buf_spare[--worker.n_spare]);
	return 0;
}
