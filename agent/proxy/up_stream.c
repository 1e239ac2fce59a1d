// SPDX-License-Identifier: Apache-2.0
/* A stream of an HTTP/2 connection to an endpoint: an upstream connection of one request. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/proxy/h2_lines.h"
#include "agent/proxy/pace.h"
#include "agent/proxy/up.h"

static struct up_stream *of(struct upstream *u)
{
	return (struct up_stream *)u;
}

/* ---- the request ---- */

static void room_put(struct up_stream *st)
{
	if (!st->in_room)
		TAILQ_INSERT_TAIL(&st->up.session->room, st, room_link);
	st->in_room = true;
}

/* What stands in up.out is all there will be. */
static bool request_ends(const struct exchange *x)
{
	return x->req_sent && !x->upgrade;
}

static ssize_t body_read(nghttp2_session *session, int32_t id, uint8_t *buf, size_t n,
			 uint32_t *flags, nghttp2_data_source *source, void *arg)
{
	struct up_stream *st = nghttp2_session_get_stream_user_data(session, id);
	struct upstream *u = st ? &st->up : NULL;
	struct buf *trailers;
	size_t have;

	(void)source;
	(void)arg;
	if (!u || !u->x)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; /* it was reset meanwhile */
	have = buf_len(&u->out);
	if (n > have)
		n = have;
	if (!n && !request_ends(u->x))
		return NGHTTP2_ERR_DEFERRED;
	if (n) {
		memcpy(buf, buf_at(&u->out), n);
		buf_consume(u->worker, &u->out, n);
	}
	if (!request_ends(u->x) || n != have) {
		room_put(st);
		return (ssize_t)n;
	}
	*flags |= NGHTTP2_DATA_FLAG_EOF;
	trailers = &u->x->down->trailers_in;
	if (buf_len(trailers)) {
		*flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
		if (h2_lines_trailers(session, id, buf_at(trailers), buf_len(trailers)))
			return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	}
	return (ssize_t)n;
}

/* Nothing stands behind the head, and nothing will. */
static bool head_alone(const struct upstream *u)
{
	const uint8_t *end = memmem(buf_at(&u->out), buf_len(&u->out), "\r\n\r\n", 4);

	return request_ends(u->x) && !buf_len(&u->x->down->trailers_in) && end &&
	       end + 4 == buf_at(&u->out) + buf_len(&u->out);
}

void up_stream_flush(struct upstream *u)
{
	const nghttp2_data_provider body = {.read_callback = body_read};
	struct up_stream *st = of(u);

	if (u->orphan || st->closed || !u->x)
		return;
	if (!st->id) {
		if (up_head_submit(st, head_alone(u) ? NULL : &body)) {
			exchange_failed(u->x, FAIL_OVERFLOW);
			return;
		}
	} else {
		/* fails where nothing was deferred */
		nghttp2_session_resume_data(u->session->session, st->id);
	}
	up_session_due(u->session);
	up_stream_watch(u);
}

void up_stream_resume(struct up_stream *st)
{
	if (!st->up.orphan && st->up.x)
		exchange_resume(st->up.x);
}

/* ---- the response ---- */

void up_stream_watch(struct upstream *u)
{
	struct up_stream *st = of(u);
	const struct exchange *x = u->x;

	if (u->orphan || st->closed || !st->held || !x)
		return;
	if (buf_len(&x->down->out) >= PROXY_HIGH_WATER || pace_waits(x) >= PROXY_PACE_MAX)
		return;
	nghttp2_session_consume_stream(u->session->session, st->id, st->held);
	st->held = 0;
	up_session_due(u->session);
}

int up_stream_data(struct up_stream *st, const uint8_t *data, size_t len)
{
	struct upstream *u = &st->up;

	st->held += len;
	if (buf_add(u->worker, &u->in, data, len))
		return -ENOMEM;
	exchange_response_data(u->x, false);
	return 0;
}

void up_stream_heard(struct up_stream *st, bool end)
{
	st->up.eof |= end;
	exchange_response_data(st->up.x, end);
}

/* ---- its end ---- */

struct upstream *up_stream_new(struct upstream *conn)
{
	struct up_session *s = conn->session;
	struct up_stream *st = calloc(1, sizeof(*st));

	if (!st)
		return NULL;
	st->up = (struct upstream){.watch = {.kind = WATCH_UPSTREAM, .fd = -1},
				   .worker = conn->worker,
				   .pool = conn->pool,
				   .since_ms = conn->worker->now_ms,
				   .addr = conn->addr,
				   .cell_cluster = conn->cell_cluster,
				   .cell_endpoint = conn->cell_endpoint,
				   .priority = conn->priority,
				   .pod_id = conn->pod_id,
				   .stream = true,
				   .session = s};
	TAILQ_INSERT_TAIL(&s->streams, st, link);
	s->n++;
	return &st->up;
}

/* The session and the stream know each other no more. */
static void detach(struct up_stream *st)
{
	struct up_session *s = st->up.session;

	if (!s)
		return;
	TAILQ_REMOVE(&s->streams, st, link);
	s->n--;
	if (st->in_room)
		TAILQ_REMOVE(&s->room, st, room_link);
	st->in_room = false;
	st->closed = true;
	st->up.session = NULL;
}

void up_stream_closed(struct up_stream *st, enum fail_why why)
{
	struct exchange *x = st->up.x;

	detach(st);
	/* a complete response is still to be read by a client that is slower */
	if (x && !st->up.eof)
		exchange_failed(x, why);
}

void up_stream_release(struct upstream *u)
{
	struct up_stream *st = of(u);
	struct up_session *s = u->session;
	struct worker *w = u->worker;

	if (u->orphan)
		return;
	u->orphan = true;
	u->x = NULL;
	if (s && st->id && !s->over) {
		nghttp2_session_set_stream_user_data(s->session, st->id, NULL);
		if (!u->eof || nghttp2_session_get_stream_local_close(s->session, st->id) != 1)
			nghttp2_submit_rst_stream(s->session, NGHTTP2_FLAG_NONE, st->id,
						  st->malformed ? NGHTTP2_PROTOCOL_ERROR
								: NGHTTP2_CANCEL);
		up_session_due(s);
	}
	detach(st);
	buf_free(w, &u->in);
	buf_free(w, &u->out);
	buf_free(w, &u->trailers);
	TAILQ_INSERT_TAIL(&w->up_graves, u, link);
}
