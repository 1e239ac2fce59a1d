// SPDX-License-Identifier: Apache-2.0
/* The HTTP/2 session of a client's connection: frames, streams, and the bounds of both. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/proxy/h2.h"
#include "bpf/abi/mapper.h"

static const char magic[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

int h2_preface(const struct buf *in)
{
	size_t n = buf_len(in), all = sizeof(magic) - 1;

	if (n && memcmp(buf_at(in), magic, n < all ? n : all))
		return 0;
	return n < all ? -EAGAIN : 1;
}

/* ---- frames that come ---- */

static struct h2_stream *stream(struct h2 *h2, int32_t id)
{
	return nghttp2_session_get_stream_user_data(h2->session, id);
}

/* Why the stream, or the whole connection, ends: Envoy's words. */
static void end_say(struct down *d, const char *why, uint32_t flags)
{
	if (d->why_end)
		return;
	d->why_end = why;
	d->why_flags = flags;
}

/* The session ends: nghttp2 takes nothing more of it. */
static int give_up(struct h2 *h2)
{
	COUNT(h2->conn->worker->stats.protocol_errors, 1);
	end_say(h2->conn, "codec_error:The_user_callback_function_failed", WEFT_FLAG_BIT(DPE));
	h2->over = true;
	return NGHTTP2_ERR_CALLBACK_FAILURE;
}

/* Frames that cost the client nothing, before they are read (Envoy's ProtocolConstraints). */
static int on_begin_frame(nghttp2_session *session, const nghttp2_frame_hd *hd, void *arg)
{
	struct h2 *h2 = arg;

	(void)session;
	h2_keepalive_frame(&h2->keep, hd);
	if (h2_flood_frame(&h2->flood, &h2->opt, hd))
		return 0;
	end_say(h2->conn,
		hd->type == NGHTTP2_PRIORITY	    ? "http2.inbound_priority_frames_flood"
		: hd->type == NGHTTP2_WINDOW_UPDATE ? "http2.inbound_window_update_frames_flood"
						    : "http2.inbound_empty_frames_flood",
		WEFT_FLAG_BIT(DPE));
	return give_up(h2);
}

/* A head that is never complete has the deadlines of one of HTTP/1.1. */
static void head_wait(struct h2_stream *s)
{
	struct down *d = &s->down;
	const struct weft_img_chain *chain;
	uint32_t ms = 0;

	image_enter(d);
	chain = down_chain(d);
	if (chain && chain->kind == WEFT_CHAIN_HTTP)
		ms = down_head_ms(d, weft_img_at(chain->target));
	image_leave(d);
	d->timer.fire = local_head_timeout;
	if (ms)
		timer_set(d->worker, &d->timer, d->worker->now_ms + ms);
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
	struct h2 *h2 = arg;
	struct h2_stream *s;

	h2_block_clear(h2);
	if (frame->headers.cat != NGHTTP2_HCAT_REQUEST)
		return 0;
	h2->flood.n_streams++;
	s = h2_stream_new(h2, frame->hd.stream_id);
	if (!s)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	nghttp2_session_set_stream_user_data(session, s->id, s);
	timer_clear(&h2->conn->timer);
	head_wait(s);
	return 0;
}

/* It ends now: of those of a connection that ends with it, it is the first. */
static void stream_drop(struct h2 *h2, struct h2_stream *s)
{
	nghttp2_session_set_stream_user_data(h2->session, s->id, NULL);
	h2_stream_closed(s, true);
}

/* Envoy ends the connection of a client that sends what is no request, unless it is told to end the
 * stream. */
static int bad_message(struct h2 *h2, int32_t id, bool field)
{
	struct h2_stream *s = stream(h2, id);

	if (s)
		end_say(&s->down,
			field ? "http2.invalid.header.field" : "http2.violation.of.messaging.rule",
			WEFT_FLAG_BIT(DPE));
	if (s)
		stream_drop(h2, s);
	if (!h2->keeps)
		return give_up(h2);
	COUNT(h2->conn->worker->stats.protocol_errors, 1);
	nghttp2_submit_rst_stream(h2->session, NGHTTP2_FLAG_NONE, id, NGHTTP2_PROTOCOL_ERROR);
	return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
		     size_t n, const uint8_t *value, size_t len, uint8_t flags, void *arg)
{
	struct h2 *h2 = arg;
	struct h2_stream *s = stream(h2, frame->hd.stream_id);
	int r = !s	    ? 0
		: s->judged ? h2_block_trailer(h2, name, n, value, len)
			    : h2_block_add(h2, name, n, value, len);

	(void)session;
	(void)flags;
	if (r == -EBADMSG)
		return bad_message(h2, frame->hd.stream_id, true);
	if (r == -E2BIG) {
		local_count(WEFT_OUTCOME_HEADERS_TOO_LARGE);
		end_say(&s->down,
			h2->block.n > h2->max_headers ? "http2.too_many_headers"
						      : "http2.header_list_size_too_large",
			WEFT_FLAG_BIT(DR));
	}
	return r ? NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE : 0; /* INTERNAL_ERROR, as Envoy */
}

static int headers_end(struct h2 *h2, const nghttp2_frame *frame)
{
	struct h2_stream *s = stream(h2, frame->hd.stream_id);
	bool end = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
	int r;

	if (!s)
		return 0;
	if (frame->headers.cat != NGHTTP2_HCAT_REQUEST) {
		buf_free(h2->conn->worker, &s->down.trailers_in);
		s->down.trailers_in = h2->block.lines;
		h2->block.lines = (struct buf){0};
		if (end)
			h2_stream_end(s);
		return h2->conn->dead ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
	}
	timer_clear(&s->down.timer);
	r = s->down.state == DOWN_HEAD ? h2_block_take(h2, s, end) : 0;
	h2_block_clear(h2);
	s->judged = true;
	if (r == -EBADMSG)
		return bad_message(h2, s->id, false);
	if (r) {
		down_close(&s->down);
		return 0;
	}
	if (end)
		h2_stream_end(s);
	else
		down_advance(&s->down);
	return h2->conn->dead ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
	struct h2 *h2 = arg;
	struct h2_stream *s;

	(void)session;
	if (frame->hd.type == NGHTTP2_HEADERS)
		return headers_end(h2, frame);
	if (frame->hd.type == NGHTTP2_RST_STREAM) {
		s = stream(h2, frame->hd.stream_id);
		if (s)
			s->reset = true;
	}
	if (frame->hd.type == NGHTTP2_PING && frame->hd.flags & NGHTTP2_FLAG_ACK)
		h2_keepalive_answered(&h2->keep);
	if (frame->hd.type == NGHTTP2_DATA && frame->hd.flags & NGHTTP2_FLAG_END_STREAM) {
		s = stream(h2, frame->hd.stream_id);
		if (s)
			h2_stream_end(s);
	}
	return h2->conn->dead ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
		   size_t len, void *arg)
{
	struct h2 *h2 = arg;
	struct h2_stream *s = stream(h2, id);

	(void)flags;
	/* a stream that is held up does not hold up the others: each has its own window's worth of
	 * memory */
	nghttp2_session_consume_connection(session, len);
	if (s && h2_stream_data(s, data, len))
		down_close(&s->down);
	return h2->conn->dead ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

static int on_invalid_frame(nghttp2_session *session, const nghttp2_frame *frame, int error,
			    void *arg)
{
	struct h2 *h2 = arg;
	struct h2_stream *s = stream(h2, frame->hd.stream_id);

	(void)session;
	if (s && error == NGHTTP2_ERR_HTTP_HEADER)
		end_say(&s->down, "http2.invalid.header.field", WEFT_FLAG_BIT(DPE));
	else if (s && error == NGHTTP2_ERR_HTTP_MESSAGING)
		end_say(&s->down, "http2.violation.of.messaging.rule", WEFT_FLAG_BIT(DPE));
	if (s && (error == NGHTTP2_ERR_HTTP_HEADER || error == NGHTTP2_ERR_HTTP_MESSAGING))
		stream_drop(h2, s);
	/* nghttp2 ends the stream by itself */
	if (error == NGHTTP2_ERR_REFUSED_STREAM ||
	    (h2->keeps &&
	     (error == NGHTTP2_ERR_HTTP_HEADER || error == NGHTTP2_ERR_HTTP_MESSAGING)))
		return 0;
	return give_up(h2);
}

static int on_close(nghttp2_session *session, int32_t id, uint32_t error, void *arg)
{
	struct h2 *h2 = arg;
	struct h2_stream *s = stream(h2, id);
	uint64_t limit = PROXY_H2_RESETS;

	(void)session;
	if (s && error != NGHTTP2_NO_ERROR)
		end_say(&s->down, "http2.remote_reset",
			!s->reset && error == NGHTTP2_PROTOCOL_ERROR ? WEFT_FLAG_BIT(DPE)
								     : WEFT_FLAG_BIT(DR));
	if (s)
		h2_stream_closed(s, error != NGHTTP2_NO_ERROR && !s->finished);
	if (h2->n_closed > limit)
		limit = h2->n_closed;
	/* too many requests that their client did not mean */
	if (h2->n_reset_early * 2 >= limit)
		return give_up(h2);
	return 0;
}

/* An answer before the request's end: the client need not send the rest. */
static int on_sent(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
	struct h2 *h2 = arg;
	struct h2_stream *s;

	if (frame->hd.type == NGHTTP2_DATA)
		h2->flood.n_data_sent++;
	if ((frame->hd.type != NGHTTP2_DATA && frame->hd.type != NGHTTP2_HEADERS) ||
	    !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
		return 0;
	s = stream(h2, frame->hd.stream_id);
	if (s && !s->ended)
		nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id,
					  NGHTTP2_NO_ERROR);
	return 0;
}

/* ---- the session ---- */

static const struct h2_callbacks callbacks = {
	H2_CALLBACKS,
	.begin_headers = on_begin_headers,
};

static struct h2 *of_keep(struct h2_keepalive *k)
{
	return (struct h2 *)((char *)k - offsetof(struct h2, keep));
}

static void keep_due(struct h2_keepalive *k)
{
	h2_due(of_keep(k)->conn);
}

/* Nothing is said to it any more, as in Envoy: who does not answer does not read either. */
static void keep_over(struct h2_keepalive *k)
{
	struct down *d = of_keep(k)->conn;

	COUNT(d->worker->stats.keepalive_timeouts, 1);
	end_say(d, "downstream_local_disconnect(http2_ping_timeout)", WEFT_FLAG_BIT(DC));
	down_close(d);
}

int h2_start(struct down *d, const struct weft_img_hcm *h)
{
	const nghttp2_settings_entry settings[] = {
		{NGHTTP2_SETTINGS_HEADER_TABLE_SIZE, h->h2.table},
		{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, h->h2.streams},
		{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, h->h2.window}};
	struct h2 *h2 = calloc(1, sizeof(*h2));

	if (!h2)
		return -ENOMEM;
	d->h2 = h2;
	h2->conn = d;
	h2->opt = h->h2;
	h2->max_head = h->max_head;
	h2->max_headers = h->max_headers;
	h2->keeps = h->h2.stream_error;
	TAILQ_INIT(&h2->streams);
	TAILQ_INIT(&h2->room);
	if (h2_session_new(&callbacks, &h2->opt, false, h2, &h2->session) ||
	    nghttp2_submit_settings(h2->session, NGHTTP2_FLAG_NONE, settings,
				    sizeof(settings) / sizeof(*settings)) ||
	    nghttp2_session_set_local_window_size(h2->session, NGHTTP2_FLAG_NONE, 0,
						  (int32_t)h->h2.session_window))
		return -ENOMEM;
	h2->keep.due = keep_due;
	h2->keep.over = keep_over;
	h2_keepalive_start(&h2->keep, d->worker, h2->session, &h2->opt);
	d->state = DOWN_STREAMS;
	down_idle(d);
	return 0;
}

void h2_due(struct down *d)
{
	struct h2 *h2 = d->h2;

	if (h2->due || d->dead)
		return;
	h2->due = true;
	TAILQ_INSERT_TAIL(&d->worker->h2, h2, due_link);
}

void h2_receive(struct down *d)
{
	struct h2 *h2 = d->h2;
	ssize_t n = 0;

	if (!h2->over && buf_len(&d->in))
		n = nghttp2_session_mem_recv(h2->session, buf_at(&d->in), buf_len(&d->in));
	if (d->dead)
		return;
	buf_free(d->worker, &d->in);
	if (n == NGHTTP2_ERR_TOO_MANY_CONTINUATIONS)
		end_say(d, "codec_error:Too_many_CONTINUATION_frames_following_a_HEADER_frame",
			WEFT_FLAG_BIT(DPE));
	if (n < 0 && !h2->over)
		give_up(h2);
	h2_due(d);
}

bool h2_quiet(const struct down *d)
{
	return TAILQ_EMPTY(&d->h2->streams);
}

void h2_goaway(struct down *d, bool last)
{
	struct h2 *h2 = d->h2;

	if (last && !h2->last)
		nghttp2_submit_goaway(h2->session, NGHTTP2_FLAG_NONE,
				      nghttp2_session_get_last_proc_stream_id(h2->session),
				      NGHTTP2_NO_ERROR, NULL, 0);
	else if (!last && !h2->told)
		nghttp2_submit_shutdown_notice(h2->session);
	h2->told = true;
	h2->last |= last;
	h2_due(d);
}

void h2_close(struct down *d)
{
	struct h2 *h2 = d->h2;
	struct h2_stream *s;

	if (h2->due)
		TAILQ_REMOVE(&d->worker->h2, h2, due_link);
	h2->due = false;
	h2_keepalive_end(&h2->keep);
	while ((s = TAILQ_FIRST(&h2->streams)))
		down_close(&s->down);
	h2_block_clear(h2);
}

void h2_free(struct h2 *h2)
{
	if (!h2)
		return;
	nghttp2_session_del(h2->session);
	free(h2);
}

/* ---- frames that go ---- */

/* Those of whose responses something has gone out. */
static void room_tell(struct h2 *h2)
{
	struct h2_stream *s;
	TAILQ_HEAD(, h2_stream) all = TAILQ_HEAD_INITIALIZER(all);

	TAILQ_CONCAT(&all, &h2->room, room_link);
	while ((s = TAILQ_FIRST(&all))) {
		TAILQ_REMOVE(&all, s, room_link);
		s->in_room = false;
		h2_stream_resume(s);
	}
}

/* Nothing more is to come or to go. */
static bool finished(struct h2 *h2)
{
	if (h2->over || (h2->last && TAILQ_EMPTY(&h2->streams)))
		return true;
	return !nghttp2_session_want_read(h2->session) && !nghttp2_session_want_write(h2->session);
}

static void run(struct h2 *h2)
{
	struct down *d = h2->conn;
	int more;

	if (d->state != DOWN_STREAMS)
		return;
	/* of a session that was given up, nothing more is said (Envoy 1.40); what nghttp2 ends, it
	 * ends by GOAWAY */
	more = h2->over ? 0 : h2_frames_take(h2->session, d->worker, &d->out, &d->dead);
	if (more < 0) {
		down_close(d);
		return;
	}
	room_tell(h2);
	if (d->dead)
		return;
	if (nghttp2_session_get_outbound_queue_size(h2->session) > h2->opt.outbound)
		h2->over = true;
	if (finished(h2)) {
		struct h2_stream *s;

		d->deaf = h2->over; /* as Envoy: a flood goes no further than the socket */
		h2->over = true;
		end_say(d, "codec_error:The_user_callback_function_failed", WEFT_FLAG_BIT(DPE));
		while ((s = TAILQ_FIRST(&h2->streams)))
			h2_stream_closed(s, false);
		down_end(d);
		return;
	}
	if (TAILQ_EMPTY(&h2->streams) && !d->timer.at)
		down_idle(d);
	down_flush(d);
	/* it stopped at the mark, and all has gone out since: no event says that there is room */
	if (more && !d->dead && !buf_len(&d->out))
		h2_due(d);
}

void h2_run(struct worker *w)
{
	struct h2 *h2;

	while ((h2 = TAILQ_FIRST(&w->h2))) {
		TAILQ_REMOVE(&w->h2, h2, due_link);
		h2->due = false;
		run(h2);
	}
}
