// SPDX-License-Identifier: Apache-2.0
/* The upstream's response on its way to the client. */
#include <errno.h>

#include "agent/proxy/mutate.h"
#include "agent/proxy/pace.h"

static void framing_set(struct exchange *x, const struct response *r)
{
	bool none = x->head_method || r->status == 204 || r->status == 304 || r->status == 101;

	/* a server that does not refuse a websocket must switch: any other success goes on as a
	 * bare head (Envoy 1.40) */
	x->resp_bare = x->upgrade && x->websocket && r->status != 101 && r->status < 400;

	/* a stream says by itself where it ends, and its trailers come behind */
	if (x->up->stream && !x->resp_bare)
		body_init(&x->resp_body, x->up->eof ? BODY_NONE : BODY_CLOSE, 0);
	else if (none || x->resp_bare)
		body_init(&x->resp_body, BODY_NONE, 0);
	else if (r->chunked)
		body_init(&x->resp_body, BODY_CHUNKED, PROXY_RESPONSE_HEAD_MAX);
	else if (r->has_length)
		body_init(&x->resp_body, BODY_LENGTH, r->length);
	else
		body_init(&x->resp_body, BODY_CLOSE, 0);
	x->chunked_out = !x->down->session && !x->down->old && !none &&
			 !(x->up->stream && r->has_length) &&
			 (x->resp_body.kind == BODY_CHUNKED || x->resp_body.kind == BODY_CLOSE);
	x->resp_empty = x->up->stream && x->up->eof && !x->head_method && !r->has_length;
	if (!x->req_done) /* the rest of a request that is answered early is not waited for */
		x->resp_close = true;
	if (x->down->old && !r->has_length) /* its end says where the response ends */
		x->resp_close = x->client_close = true;
	x->up_keep = r->keep_alive && x->resp_body.kind != BODY_CLOSE && !x->resp_bare &&
		     r->status != 101;
}

static void status_count(const struct exchange *x, uint32_t status)
{
	struct weft_cell_cluster *c = weft_cell_cluster(x->cell_cluster);

	if (status < 300)
		COUNT(c->rq_2xx, 1);
	else if (status >= 500)
		COUNT(c->rq_5xx, 1);
	else if (status >= 400)
		COUNT(c->rq_4xx, 1);
	if (status >= 500 && x->cell_endpoint)
		COUNT(weft_cell_endpoint(x->cell_endpoint)->rq_error, 1);
}

/*
 * The first goes on, with proxy_100_continue only: else the proxy itself has said that the client may continue. Those
 * that follow do not (Envoy 1.40).
 */
static int interim(struct exchange *x, const struct response *r)
{
	struct down *d = x->down;

	size_t from;
	int e;
	bool goes = r->status == 100 || (r->status >= 102 && r->status <= 104);

	if (!goes || x->interim_sent || !(x->hcm->flags & WEFT_HCM_PROXY_100_CONTINUE))
		return 0;
	x->interim_sent = true;
	from = buf_len(&d->out);
	e = response_interim(d->worker, &d->out, buf_at(&x->up->in), r);
	if (!e && x->hcm->proper_case && !d->codec)
		lines_capitalize(buf_at(&d->out) + from, buf_len(&d->out) - from);
	return e;
}

/* 1: the head is through; 0: more bytes are needed, or the exchange has gone another way. */
static int head_take(struct exchange *x, bool eof)
{
	struct down *d = x->down;
	struct worker *w = d->worker;
	struct upstream *u = x->up;
	struct response *r = &w->resp;
	bool sent = false;

	for (;;) {
		int e = -EAGAIN;

		if (buf_len(&u->in))
			e = response_parse(buf_at(&u->in), buf_len(&u->in), r);
		if (e == -EAGAIN && !eof) {
			if (sent)
				down_flush(d);
			return 0;
		}
		if (e) {
			/* half a head is a protocol error (Envoy 1.40) */
			exchange_failed(x, e == -EAGAIN && !buf_len(&u->in) ? FAIL_TERMINATION :
									       FAIL_PROTOCOL);
			return 0;
		}
		if (r->status == 101 || r->status >= 200)
			break;
		if (interim(x, r)) {
			down_close(d);
			return 0;
		}
		buf_consume(w, &u->in, r->len);
		x->outcome.begun = true;
		sent = true;
	}
	x->outcome.answer_ms = w->now_ms;
	outcome_details(&x->outcome, "via_upstream");
	status_count(x, r->status);
	outlier_status(x, r);
	if (r->status != 101 &&
	    (exchange_retry(x, FAIL_TERMINATION, r) || follow(x, buf_at(&u->in), r)))
		return 0;
	timer_clear(&x->per_try); /* the one of silence goes on: it counts in the body too */
	framing_set(x, r);
	if (x->resp_bare)
		outcome_details(&x->outcome, "websocket_handshake_unsuccessful");
	if (response_upgrades(x, r))
		x->resp_close = false;
	x->resp_head = x->resp_started = true;
	if (d->mirror && d->codec->head)
		d->codec->head(d, buf_at(&u->in), r);
	if (!d->mirror && response_build(w, x, buf_at(&u->in), r)) {
		down_close(d);
		return 0;
	}
	buf_consume(w, &u->in, r->len);
	if (response_upgrades(x, r)) {
		tunnel_start(x);
		return u->stream && !u->orphan;
	}
	return 1;
}

int exchange_data_out(struct exchange *x, const uint8_t *data, size_t len, bool end)
{
	struct worker *w = x->down->worker;
	struct buf *out = &x->down->out;
	int r = 0;

	if (len && x->chunked_out)
		r = buf_printf(w, out, "%zx\r\n", len);
	if (!r)
		r = buf_add(w, out, data, len);
	if (!r && len && x->chunked_out)
		r = buf_add(w, out, "\r\n", 2);
	if (!r && end && x->chunked_out)
		r = buf_add(w, out, "0\r\n\r\n", 5);
	return r;
}

/* The next `len` bytes of x->up->in are the body's. */
static int data_add(struct exchange *x, const uint8_t *data, size_t len)
{
	bool end = x->resp_body.done;

	x->outcome.sent += len;
	if (x->down->mirror && len && x->down->codec->data)
		x->down->codec->data(x->down, data, len);
	if (x->down->mirror)
		return 0;
	if (len && len == buf_len(&x->up->in) && !buf_len(&x->down->out) && !x->pace &&
	    !x->chunked_out) {
		buf_move(x->down->worker, &x->down->out, &x->up->in);
		return 0;
	}
	if (x->pace && (len || end))
		return pace_add(x->pace, data, len, end);
	return exchange_data_out(x, data, len, end);
}

/* The client, or what holds the response back, takes more of it. */
static bool room(const struct exchange *x)
{
	return buf_len(&x->down->out) < PROXY_HIGH_WATER && pace_waits(x) < PROXY_PACE_MAX;
}

/* Moves what is there, up to the high water mark. 0, -EBADMSG, -ENOMEM. */
static int body_take(struct exchange *x)
{
	struct upstream *u = x->up;

	while (!x->resp_body.done && buf_len(&u->in) && room(x)) {
		const uint8_t *data;
		size_t used, len;
		int r = body_step(&x->resp_body, buf_at(&u->in), buf_len(&u->in), &used, &data, &len);

		if (!r)
			r = data_add(x, data, len);
		if (r)
			return r;
		if (buf_len(&u->in))
			buf_consume(x->down->worker, &u->in, used);
		if (!used)
			break;
	}
	return 0;
}

static void complete(struct exchange *x)
{
	struct upstream *u = x->up;
	struct down *d = x->down;
	bool reusable = x->up_keep && x->req_sent && !buf_len(&u->out) && !buf_len(&u->in) && !u->eof;
	bool close = x->resp_close;

	if (outcome_is_logged(x))
		outcome_trailers(x, &u->trailers);
	if (d->session || (d->mirror && d->codec->head)) {
		d->trailers = u->trailers; /* HTTP/1.1 has none unless it is told to */
		u->trailers = (struct buf){0};
	}
	exchange_unlink_upstream(x, reusable);
	if (!pace_waits(x)) {
		exchange_finish(x, close);
		return;
	}
	/* the endpoint has done its part in time */
	timer_clear(&x->total);
	timer_clear(&x->per_try);
	timer_clear(&x->try_idle);
	down_flush(x->down);
}

void exchange_paced(struct exchange *x)
{
	struct down *d = x->down;
	uint32_t number = d->exchanges;

	if (x->resp_body.done && !pace_waits(x)) {
		exchange_finish(x, x->resp_close);
		return;
	}
	if (x->forward)
		exchange_touch(x);
	down_flush(d);
	if (exchange_at_hand(d, number))
		exchange_resume(x);
}

void exchange_response_data(struct exchange *x, bool eof)
{
	struct down *d = x->down;
	struct upstream *u = x->up;

	exchange_touch(x);
	if (!x->resp_head && head_take(x, eof) != 1)
		return;
	if (body_take(x)) {
		exchange_failed(x, FAIL_PROTOCOL);
		return;
	}
	if (eof && !x->resp_body.done && !buf_len(&u->in)) {
		if (x->resp_body.kind != BODY_CLOSE) {
			/* Envoy's codec of HTTP/1.1 misses the rest */
			exchange_failed(x, u->stream ? FAIL_TERMINATION : FAIL_PROTOCOL);
			return;
		}
		x->resp_body.done = true;
		if (data_add(x, NULL, 0)) {
			down_close(d);
			return;
		}
	}
	if (x->resp_body.done) {
		complete(x);
		return;
	}
	down_flush(d);
	if (d->dead)
		return;
	/* body_take() stopped at the mark, and all has gone out since: no event says that there is room */
	if (buf_len(&u->in) && !buf_len(&d->out) && room(x))
		exchange_response_data(x, eof);
	else
		upstream_watch(u);
}

void exchange_resume(struct exchange *x)
{
	struct down *d = x->down;
	uint32_t number = d->exchanges;

	if (x->up && !x->up->connecting && x->resp_head && buf_len(&x->up->in) && room(x)) {
		exchange_response_data(x, x->up->eof);
		return;
	}
	if (!x->req_done && buf_len(&d->in)) {
		exchange_request_data(x);
		if (!exchange_at_hand(d, number))
			return;
	}
	if (x->up)
		upstream_watch(x->up);
	down_watch(d);
}
