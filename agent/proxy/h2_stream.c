// SPDX-License-Identifier: Apache-2.0
/* A stream of an HTTP/2 connection: a client of one request. */
#include <stdlib.h>
#include <string.h>

#include "agent/proxy/h2.h"
#include "agent/proxy/h2_lines.h"

static struct h2_stream *of(struct down *d)
{
	return (struct h2_stream *)d;
}

/* ---- the response ---- */

static void room_put(struct h2_stream *s)
{
	if (!s->in_room)
		TAILQ_INSERT_TAIL(&s->h2->room, s, room_link);
	s->in_room = true;
}

static ssize_t body_read(nghttp2_session *session, int32_t id, uint8_t *buf, size_t n,
			 uint32_t *flags, nghttp2_data_source *source, void *arg)
{
	struct h2_stream *s = nghttp2_session_get_stream_user_data(session, id);
	struct down *d = s ? &s->down : NULL;
	size_t have;

	(void)source;
	(void)arg;
	if (!s)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; /* it was reset meanwhile */
	have = buf_len(&d->out);
	if (n > have)
		n = have;
	if (!n && !s->finished)
		return NGHTTP2_ERR_DEFERRED;
	if (n) {
		memcpy(buf, buf_at(&d->out), n);
		buf_consume(d->worker, &d->out, n);
		d->sent += n;
	}
	if (!s->finished || n != have) {
		room_put(s);
		return (ssize_t)n;
	}
	*flags |= NGHTTP2_DATA_FLAG_EOF;
	if (buf_len(&d->trailers)) {
		*flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
		if (h2_lines_trailers(session, id, buf_at(&d->trailers), buf_len(&d->trailers)))
			return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	}
	return (ssize_t)n;
}

static void flush(struct down *d)
{
	struct h2_stream *s = of(d);
	const nghttp2_data_provider body = {.read_callback = body_read};

	if (s->closed)
		return;
	while (!s->head_out && buf_len(&d->out)) {
		if (h2_head_submit(s, &body)) {
			down_close(d);
			return;
		}
	}
	if (s->head_out)
		nghttp2_session_resume_data(s->h2->session,
					    s->id); /* fails where nothing was deferred */
	h2_due(s->h2->conn);
}

void h2_stream_resume(struct h2_stream *s)
{
	struct down *d = &s->down;

	if (d->dead)
		return;
	if (d->state == DOWN_EXCHANGE)
		exchange_resume(d->x);
	else if (s->finished && d->timer.at)
		timer_set(d->worker, &d->timer,
			  d->worker->now_ms + d->idle_ms); /* its client still reads */
}

/* ---- the request ---- */

/* What was taken off is given back, unless who gets it takes no more. */
static void watch(struct down *d)
{
	struct h2_stream *s = of(d);

	if (s->closed || !s->held || down_is_full(d))
		return;
	nghttp2_session_consume_stream(s->h2->session, s->id, s->held);
	s->held = 0;
	h2_due(s->h2->conn);
}

int h2_stream_data(struct h2_stream *s, const uint8_t *data, size_t len)
{
	struct down *d = &s->down;
	int r = 0;

	s->held += len;
	d->received += len;
	if (d->state != DOWN_CLOSING)
		r = buf_add(d->worker, &d->in, data, len);
	if (!r)
		down_advance(d);
	if (!r && !d->dead)
		watch(d);
	return r;
}

void h2_stream_end(struct h2_stream *s)
{
	s->ended = true;
	s->down.body_end = true;
	down_advance(&s->down);
	if (!s->down.dead)
		watch(&s->down);
}

/* ---- its end ---- */

static void flush_over(struct worker *w, struct timer *t)
{
	(void)w;
	down_close((struct down *)((char *)t - offsetof(struct down, timer)));
}

/* The client that takes nothing of the rest is waited for as long as an exchange of it would be. */
static void next(struct down *d)
{
	struct h2_stream *s = of(d);
	const struct weft_img_chain *chain;

	d->state = DOWN_CLOSING;
	s->finished = true;
	buf_free(d->worker, &d->in);
	if (s->closed)
		return;
	if (d->cut || (!s->head_out && !buf_len(&d->out))) {
		down_close(d);
		return;
	}
	image_enter(d);
	chain = down_chain(d);
	d->idle_ms = 0;
	if (chain && chain->kind == WEFT_CHAIN_HTTP)
		d->idle_ms =
			((const struct weft_img_hcm *)weft_img_at(chain->target))->stream_idle_ms;
	image_leave(d);
	d->timer.fire = flush_over;
	if (d->idle_ms)
		timer_set(d->worker, &d->timer, d->worker->now_ms + d->idle_ms);
	flush(d);
	if (!d->dead)
		watch(d);
}

static void closed(struct down *d)
{
	struct h2_stream *s = of(d);
	struct h2 *h2 = s->h2;

	TAILQ_REMOVE(&h2->streams, s, link);
	if (s->in_room)
		TAILQ_REMOVE(&h2->room, s, room_link);
	s->in_room = false;
	if (s->closed || h2->conn->dead)
		return;
	s->closed = true;
	nghttp2_session_set_stream_user_data(h2->session, s->id, NULL);
	nghttp2_submit_rst_stream(h2->session, NGHTTP2_FLAG_NONE, s->id, NGHTTP2_INTERNAL_ERROR);
	h2_due(h2->conn);
}

void h2_stream_closed(struct h2_stream *s, bool by_client)
{
	struct h2 *h2 = s->h2;

	h2->n_closed++;
	if (by_client && h2->conn->worker->now_ms - s->since_ms < PROXY_H2_RESET_MS)
		h2->n_reset_early++;
	s->closed = true;
	down_close(&s->down);
}

static const struct down_codec codec = {
	.flush = flush, .watch = watch, .next = next, .closed = closed};

struct h2_stream *h2_stream_new(struct h2 *h2, int32_t id)
{
	struct h2_stream *s = calloc(1, sizeof(*s));
	struct down *conn = h2->conn;

	if (!s)
		return NULL;
	s->down = (struct down){.watch = {.kind = WATCH_DOWN, .fd = -1},
				.state = DOWN_HEAD,
				.worker = conn->worker,
				.pod = conn->pod,
				.client = conn->client,
				.dst = conn->dst,
				.proto = conn->proto,
				.no_slot = conn->no_slot,
				.limits_paid = conn->limits_paid,
				.head_ms = conn->worker->now_ms,
				.codec = &codec,
				.session = conn};
	s->h2 = h2;
	s->id = id;
	s->since_ms = conn->worker->now_ms;
	TAILQ_INSERT_TAIL(&conn->pod->downs, &s->down, link);
	TAILQ_INSERT_TAIL(&h2->streams, s, link);
	return s;
}
