// SPDX-License-Identifier: Apache-2.0
/* The HTTP/2 session of a connection to an endpoint: frames, streams, and the bounds of both. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/proxy/up.h"

/* ---- frames that come ---- */

static struct up_stream *stream(struct up_session *s, int32_t id)
{
	struct up_stream *st = nghttp2_session_get_stream_user_data(s->session, id);

	return st && st->up.x ? st : NULL;
}

/* The session ends: nghttp2 takes nothing more of it. */
static int give_up(struct up_session *s)
{
	COUNT(s->conn->worker->stats.protocol_errors, 1);
	s->over = true;
	return NGHTTP2_ERR_CALLBACK_FAILURE;
}

static int go_on(const struct up_session *s)
{
	return s->over ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

static int on_begin_frame(nghttp2_session *session, const nghttp2_frame_hd *hd, void *arg)
{
	struct up_session *s = arg;

	(void)session;
	h2_keepalive_frame(&s->keep, hd);
	return h2_flood_frame(&s->flood, &s->opt, hd) ? 0 : give_up(s);
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
	(void)session;
	(void)frame;
	up_block_clear(arg);
	return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
		     size_t n, const uint8_t *value, size_t len, uint8_t flags, void *arg)
{
	struct up_session *s = arg;
	struct up_stream *st = stream(s, frame->hd.stream_id);

	(void)session;
	(void)flags;
	if (!st || !up_block_add(s, name, n, value, len))
		return 0;
	return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; /* INTERNAL_ERROR, a reset to Envoy */
}

static int headers_end(struct up_session *s, const nghttp2_frame *frame)
{
	struct up_stream *st = stream(s, frame->hd.stream_id);
	bool end = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
	int r = 0;

	if (!st)
		return 0;
	if (*s->block.status) {
		r = up_block_take(s, st);
	} else {
		st->up.trailers = s->block.lines;
		s->block.lines = (struct buf){0};
	}
	up_block_clear(s);
	if (r)
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	up_stream_heard(st, end);
	return go_on(s);
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
	struct up_session *s = arg;
	struct up_stream *st;

	(void)session;
	switch (frame->hd.type) {
	case NGHTTP2_HEADERS:
		return headers_end(s, frame);
	case NGHTTP2_DATA:
		st = stream(s, frame->hd.stream_id);
		if (st && frame->hd.flags & NGHTTP2_FLAG_END_STREAM)
			up_stream_heard(st, true);
		return go_on(s);
	case NGHTTP2_RST_STREAM:
		st = stream(s, frame->hd.stream_id);
		if (st)
			st->reset = true;
		return 0;
	case NGHTTP2_SETTINGS:
		s->known = true;
		return 0;
	case NGHTTP2_PING:
		if (frame->hd.flags & NGHTTP2_FLAG_ACK)
			h2_keepalive_answered(&s->keep);
		return 0;
	case NGHTTP2_GOAWAY:
		s->conn->worn = true; /* what it does not answer, nghttp2 closes */
		return 0;
	default:
		return 0;
	}
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
		   size_t len, void *arg)
{
	struct up_session *s = arg;
	struct up_stream *st = stream(s, id);

	(void)flags;
	/* a client that is slow does not hold up the others: each stream has its own window's worth
	 * of memory */
	nghttp2_session_consume_connection(session, len);
	if (st && up_stream_data(st, data, len))
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	return go_on(s);
}

/* Envoy ends a connection whose endpoint answers what is no response, unless it is told to end the
 * stream. */
static int on_invalid_frame(nghttp2_session *session, const nghttp2_frame *frame, int error,
			    void *arg)
{
	struct up_session *s = arg;
	struct up_stream *st = stream(s, frame->hd.stream_id);

	(void)session;
	if (!s->opt.stream_error ||
	    (error != NGHTTP2_ERR_HTTP_HEADER && error != NGHTTP2_ERR_HTTP_MESSAGING))
		return give_up(s);
	if (st)
		st->malformed = true;
	return 0;
}

static int on_close(nghttp2_session *session, int32_t id, uint32_t error, void *arg)
{
	struct up_session *s = arg;
	struct up_stream *st = stream(s, id);
	enum fail_why why = FAIL_RESET;

	(void)session;
	if (!st)
		return 0;
	/* nghttp2 misses bytes that the head has announced */
	if (st->malformed || (error == NGHTTP2_PROTOCOL_ERROR && !st->reset))
		why = FAIL_PROTOCOL;
	else if (error == NGHTTP2_REFUSED_STREAM)
		why = FAIL_REFUSED;
	else if (error == NGHTTP2_CONNECT_ERROR)
		why = FAIL_CONNECT_METHOD;
	nghttp2_session_set_stream_user_data(session, id, NULL);
	up_stream_closed(st, why);
	return go_on(s);
}

/* ---- frames that go ---- */

static int on_sent(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
	struct up_session *s = arg;
	struct up_stream *st;

	(void)session;
	if (frame->hd.type == NGHTTP2_DATA)
		s->flood.n_data_sent++;
	st = frame->hd.type == NGHTTP2_HEADERS ? stream(s, frame->hd.stream_id) : NULL;
	if (st)
		st->up.x->wrote_any = true;
	return 0;
}

/* A request that waited to be sent, and may not be any more: the endpoint never saw it. */
static int on_not_sent(nghttp2_session *session, const nghttp2_frame *frame, int error, void *arg)
{
	struct up_session *s = arg;
	struct up_stream *st;

	(void)session;
	(void)error;
	if (frame->hd.type != NGHTTP2_HEADERS)
		return 0;
	TAILQ_FOREACH(st, &s->streams, link)
	{
		if (st->id == frame->hd.stream_id)
			break;
	}
	if (st)
		up_stream_closed(st, FAIL_REFUSED);
	return 0;
}

/* Those of whose requests something has gone out. */
static void room_tell(struct up_session *s)
{
	struct up_stream *st;

	for (uint32_t n = s->n; n && (st = TAILQ_FIRST(&s->room)); n--) {
		TAILQ_REMOVE(&s->room, st, room_link);
		st->in_room = false;
		up_stream_resume(st);
	}
}

/* Also while it is idle: a request would never get out. */
static bool ended(const struct up_session *s)
{
	return !nghttp2_session_want_read(s->session) && !nghttp2_session_want_write(s->session);
}

static void run(struct up_session *s)
{
	struct upstream *u = s->conn;
	int more;

	if (u->connecting || u->orphan)
		return;
	more = s->over ? 0 : h2_frames_take(s->session, u->worker, &u->out, &u->orphan);
	if (u->orphan)
		return;
	if (more >= 0)
		room_tell(s);
	if (u->orphan)
		return;
	if (more < 0 || s->over ||
	    nghttp2_session_get_outbound_queue_size(s->session) > s->opt.outbound) {
		up_session_end(u, FAIL_PROTOCOL);
		return;
	}
	if (ended(s)) { /* by nghttp2, for what came: its GOAWAY goes out as far as it does */
		buf_write(u->worker, &u->out, u->watch.fd, &u->sent);
		up_session_end(u, FAIL_PROTOCOL);
		return;
	}
	upstream_flush(u);
	pool_settle(u);
	/* it stopped at the mark, and all has gone out since: no event says that there is room */
	if (!u->orphan && more && !buf_len(&u->out))
		up_session_due(s);
}

void up_sessions_run(struct worker *w)
{
	struct up_session *s;

	while ((s = TAILQ_FIRST(&w->up))) {
		TAILQ_REMOVE(&w->up, s, due_link);
		s->due = false;
		run(s);
	}
}

void up_session_due(struct up_session *s)
{
	if (s->due || s->conn->orphan)
		return;
	s->due = true;
	TAILQ_INSERT_TAIL(&s->conn->worker->up, s, due_link);
}

/* ---- the session ---- */

static const struct h2_callbacks callbacks = {
	H2_CALLBACKS,
	.begin_headers = on_begin_headers,
	.not_sent = on_not_sent,
};

int up_session_new(struct upstream *conn, const struct weft_img_h2 *opt, uint32_t guess)
{
	const nghttp2_settings_entry settings[] = {
		{NGHTTP2_SETTINGS_HEADER_TABLE_SIZE, opt->table},
		{NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
		{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, opt->window}};
	struct up_session *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	conn->session = s;
	s->conn = conn;
	s->opt = *opt;
	s->guess = guess;
	TAILQ_INIT(&s->streams);
	TAILQ_INIT(&s->room);
	if (h2_session_new(&callbacks, &s->opt, true, s, &s->session) ||
	    nghttp2_submit_settings(s->session, NGHTTP2_FLAG_NONE, settings,
				    sizeof(settings) / sizeof(*settings)) ||
	    nghttp2_session_set_local_window_size(s->session, NGHTTP2_FLAG_NONE, 0,
						  (int32_t)opt->session_window))
		return -ENOMEM;
	return 0;
}

static struct up_session *of_keep(struct h2_keepalive *k)
{
	return (struct up_session *)((char *)k - offsetof(struct up_session, keep));
}

static void keep_due(struct h2_keepalive *k)
{
	up_session_due(of_keep(k));
}

static void keep_over(struct h2_keepalive *k)
{
	struct upstream *u = of_keep(k)->conn;

	COUNT(weft_cell_cluster(u->cell_cluster)->keepalive_timeout, 1);
	up_session_end(u, FAIL_TERMINATION);
}

void up_session_connected(struct up_session *s)
{
	s->keep.due = keep_due;
	s->keep.over = keep_over;
	h2_keepalive_start(&s->keep, s->conn->worker, s->session, &s->opt);
	up_session_due(s);
}

bool up_session_open(const struct upstream *conn)
{
	return !conn->connecting && !conn->orphan && !conn->worn && !conn->eof &&
	       !conn->session->over && (!conn->max_requests || conn->requests < conn->max_requests);
}

static uint32_t most(const struct up_session *s)
{
	uint32_t theirs = nghttp2_session_get_remote_settings(
		s->session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);

	if (!s->known && s->guess && s->guess < theirs)
		theirs = s->guess;
	return theirs < s->opt.streams ? theirs : s->opt.streams;
}

uint32_t up_session_most(const struct upstream *conn)
{
	const struct up_session *s = conn->session;
	/* nothing was said yet: as many as may be, as Envoy takes it */
	uint32_t n = s->known || s->guess ? most(s) : s->opt.streams;

	if (conn->max_requests && conn->max_requests < n)
		n = conn->max_requests;
	return n ? n : 1;
}

bool up_session_room(const struct upstream *conn)
{
	return up_session_open(conn) && conn->session->n < most(conn->session);
}

void up_session_receive(struct upstream *conn, bool eof)
{
	struct up_session *s = conn->session;
	ssize_t n = 0;

	h2_keepalive_heard(&s->keep);
	if (!s->over && buf_len(&conn->in))
		n = nghttp2_session_mem_recv(s->session, buf_at(&conn->in), buf_len(&conn->in));
	if (conn->orphan)
		return;
	buf_free(conn->worker, &conn->in);
	if (n < 0 && !s->over)
		give_up(s);
	if (s->over || eof) {
		up_session_end(conn, s->over ? FAIL_PROTOCOL : FAIL_TERMINATION);
		return;
	}
	up_session_due(s);
	pool_settle(conn);
}

void up_session_end(struct upstream *conn, enum fail_why why)
{
	struct up_session *s = conn->session;
	struct pool *p = conn->pool;
	struct up_stream *st;

	s->over = true;
	conn->worn = true;
	while ((st = TAILQ_FIRST(&s->streams)))
		up_stream_closed(st, why);
	upstream_close(conn);
	if (p)
		pool_check(conn->worker, p);
}

void up_session_close(struct up_session *s)
{
	struct up_stream *st;

	if (s->due)
		TAILQ_REMOVE(&s->conn->worker->up, s, due_link);
	s->due = false;
	s->over = true;
	h2_keepalive_end(&s->keep);
	up_block_clear(s);
	while ((st = TAILQ_FIRST(&s->streams)))
		up_stream_closed(st, FAIL_TERMINATION);
}

void up_session_free(struct up_session *s)
{
	if (!s)
		return;
	nghttp2_session_del(s->session);
	free(s);
}
