// SPDX-License-Identifier: Apache-2.0
/* One request from its head to its decision, and its way to the upstream connection. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/cleanup.h"
#include "agent/proxy/limiter.h"
#include "agent/proxy/mutate.h"
#include "agent/proxy/pace.h"

/* ---- beginning and end ---- */

struct exchange *exchange_new(struct down *d)
{
	struct worker *w = d->worker;
	struct exchange *x = TAILQ_FIRST(&w->spare);

	if (x) {
		TAILQ_REMOVE(&w->spare, x, link);
		w->n_exchange_spare--;
	} else {
		x = malloc(sizeof(*x));
	}
	if (!x)
		return NULL;
	memset(x, 0, offsetof(struct exchange, outcome.text));
	x->down = d;
	x->start_ms = d->head_ms ? d->head_ms : w->now_ms;
	d->x = x;
	return x;
}

void exchange_places_put(struct exchange *x)
{
	struct weft_cell_cluster *c = x->cell_cluster ? weft_cell_cluster(x->cell_cluster) : NULL;

	if (x->has_active)
		weft_place_put(&c->rq_active[x->priority]);
	if (x->has_retry)
		weft_place_put(&c->retry_active[x->priority]);
	x->has_active = x->has_retry = false;
}

void exchange_unlink_upstream(struct exchange *x, bool reusable)
{
	struct upstream *u = x->up;

	if (!u)
		return;
	x->up = NULL;
	if (x->cell_endpoint)
		weft_place_put(&weft_cell_endpoint(x->cell_endpoint)->rq_active);
	if (x->has_active)
		weft_place_put(&weft_cell_cluster(x->cell_cluster)->rq_active[x->priority]);
	x->has_active = false;
	pool_return(u, reusable);
}

void exchange_keep(struct exchange *x)
{
	if (!x->pinned)
		return;
	x->kept = weft_reader_keep(x->down->worker->reader, x->epoch, x->ctx.epoch);
	x->pinned = false;
	x->keeps = true;
}

void exchange_unpin(struct exchange *x)
{
	struct weft_reader *r = x->down->worker->reader;

	if (x->pinned)
		weft_reader_leave(r, x->epoch);
	if (x->keeps)
		weft_reader_unkeep(r, x->kept);
	x->pinned = x->keeps = false;
}

void exchange_end(struct exchange *x)
{
	struct down *d = x->down;
	struct worker *w = d->worker;

	outcome_end(x);
	mirrors_drop(x);
	pace_end(x);
	pool_cancel(x);
	exchange_unlink_upstream(x, false);
	exchange_places_put(x);
	timer_remove(&x->total);
	timer_remove(&x->per_try);
	timer_remove(&x->try_idle);
	timer_remove(&x->try_life);
	timer_remove(&x->idle);
	timer_remove(&x->backoff);
	timer_remove(&x->life);
	timer_remove(&x->log);
	buf_free(w, &x->head);
	buf_free(w, &x->told);
	buf_free(w, &x->body);
	asked_free(x->asked);
	x->asked = NULL;
	exchange_unpin(x);
	d->x = NULL;
	if (!PROXY_KEEPS_SPARES || w->n_exchange_spare == PROXY_EXCHANGE_SPARE) {
		free(x);
		return;
	}
	TAILQ_INSERT_HEAD(&w->spare, x, link);
	w->n_exchange_spare++;
}

void exchange_abort(struct exchange *x)
{
	exchange_end(x);
}

/* What waits behind the exchange: the next request of a pipeline. */
static void go_on(struct down *d, bool close)
{
	down_next(d, close);
	if (!d->dead && d->state == DOWN_HEAD && buf_len(&d->in) && !d->advancing)
		down_advance(d);
}

void exchange_finish(struct exchange *x, bool close)
{
	struct down *d = x->down;

	x->outcome.ended = true;
	if (d->state == DOWN_TUNNEL || d->mirror) {
		down_close(d); /* nothing follows an upgrade */
		return;
	}
	/* nothing of this request is on its way any more, and another one would come in vain */
	d->at_once = x->req_done && !x->req_rest && !x->judging && (x->client_close || d->spent);
	exchange_end(x);
	go_on(d, close);
}

/* ---- the head ---- */

static bool has_body(const struct weft_req *req)
{
	return req->flags & WEFT_REQ_CHUNKED || req->content_length;
}

static void consume(struct down *d, size_t n)
{
	d->handled += n;
	d->looked = 0;
	d->parses = 0;
	d->head_ms = 0;
	buf_consume(d->worker, &d->in, n);
}

static void codec_error(struct down *d, struct weft_req *req, int why)
{
	struct refused a = refused_head(req, why);

	local_count(a.outcome);
	if (a.status != 404)
		COUNT(d->worker->stats.protocol_errors, 1);
	if (d->session &&
	    *a.body) { /* what the codec refuses is no request: its stream is reset (Envoy 1.40) */
		bool underscore = req->underscores == 1 && req->details &&
				  !strcmp(req->details, "http1.unexpected_underscore");

		d->why_end =
			underscore ? "http2.unexpected_underscore" : "http2.invalid.header.field";
		d->why_flags = underscore ? WEFT_FLAG_BIT(DR) : WEFT_FLAG_BIT(DPE);
		down_close(d);
		return;
	}
	a.close = local_early(d, req, &a, NULL);
	if (d->dead)
		return;
	if (a.close)
		buf_free(d->worker, &d->in);
	else
		consume(d, req->head_len);
	down_next(d, a.close);
}

/* The client is sent to the path without escapes (path_with_escaped_slashes_action). */
static void path_redirect(struct down *d, const struct weft_req *req)
{
	const struct weft_span *p = &req->value[WEFT_VALUE_PATH];
	struct refused a = refused_head(req, WEFT_PARSE_OK);
	_auto_free_ char *line = NULL;
	bool close;

	if (asprintf(&line, "location: %.*s\r\n", (int)p->len, req->head + p->off) < 0) {
		line = NULL;
		down_close(d);
		return;
	}
	local_count(a.outcome);
	close = local_early(d, req, &a, line);
	if (d->dead)
		return;
	consume(d, req->head_len);
	down_next(d, close);
}

/* true: the path is in the form that is matched and forwarded. false: the request was answered. */
static bool path_prepare(struct down *d, struct weft_req *req)
{
	int r = weft_req_form_path(req, req->head + req->max_head + 1024,
				   (uint32_t)(sizeof(d->worker->head) - req->max_head - 1024 - 64));

	if (!r)
		return true;
	/* Envoy sends no gRPC client elsewhere */
	if (r == 1 && !(req->flags & WEFT_REQ_GRPC))
		path_redirect(d, req);
	else
		codec_error(d, req, WEFT_PARSE_BAD_PATH);
	return false;
}

/* The kernel's decision, or our own; cells that are missing are made. false: no cell is left. */
static bool decide(struct down *d, struct weft_req *req, struct weft_ctx *ctx, bool *ret_kernel)
{
	*ret_kernel = slot_record(d, req, ctx, d->handled);
	if (*ret_kernel) {
		weft_req_strip_host(req, ctx);
		if (req->dec.outcome == WEFT_OUTCOME_FORWARD)
			weft_req_settle(req);
		return true;
	}
	for (unsigned int i = 0; i <= WEFT_FILTERS_MAX; i++) {
		int r = weft_decide(req, ctx);

		if (r != -ENOENT)
			return !r;
		if (!worker_cell(d->worker, d->pod->id, req->dec.need_cell))
			return false;
	}
	return false;
}

/* All of the body has come while a service was asked: it is gone through, and the connection stays
 * (as Envoy, whose codec has read it by then). */
static bool body_skip(struct down *d, const struct weft_req *req)
{
	struct body body;
	size_t at = 0, n = buf_len(&d->in);

	if (d->codec || req->flags & (WEFT_REQ_UPGRADE | WEFT_REQ_CONNECT))
		return false;
	if (req->flags & WEFT_REQ_CHUNKED)
		body_init(&body, BODY_CHUNKED, req->max_head);
	else
		body_init(&body, BODY_LENGTH, req->content_length);
	while (!body.done) {
		const uint8_t *data;
		size_t used, len;

		if (body_step(&body, buf_at(&d->in) + at, n - at, &used, &data, &len) ||
		    (!used && !body.done))
			return false;
		at += used;
	}
	d->handled += at;
	buf_consume(d->worker, &d->in, at);
	return true;
}

/* Answers here. A reply before the end of the request's body ends the connection. */
static void answer(struct down *d, struct weft_req *req, struct weft_ctx *ctx, bool decided)
{
	struct exchange *x = d->x;
	/* what follows an upgrade may be anything */
	bool rest = has_body(req) && !(d->hold.limiter && body_skip(d, req));
	bool close = rest || req->flags & (WEFT_REQ_CLOSE | WEFT_REQ_CONNECT | WEFT_REQ_UPGRADE);
	enum weft_outcome outcome = req->dec.outcome;
	const struct weft_img_hcm *h = weft_img_at(req->dec.hcm);
	size_t from = buf_len(&d->out);

	if (decided && outcome != WEFT_OUTCOME_UPGRADE_FAILED && outcome != WEFT_OUTCOME_FAULT &&
	    outcome != WEFT_OUTCOME_CORS && outcome != WEFT_OUTCOME_BAD_REQUEST &&
	    outcome != WEFT_OUTCOME_GLOBAL_LIMITED && outcome != WEFT_OUTCOME_LIMITER_ERROR &&
	    !req->dec.reply)
		decided = false; /* no reply for it: an image of another make */
	if (decided &&
	    (weft_reply_is_formed(req) || !req->dec.reply || h->mapping || h->logs ||
	     buf_len(&x->told)) &&
	    request_answered(d->worker, x, req)) { /* rules may look at it */
		down_close(d);
		return;
	}
	outcome_begin(x);
	if (!decided) {
		local_count(WEFT_OUTCOME_OVERFLOW);
		close = local_image(d, h->reply[WEFT_REPLY_OVERFLOW], close);
	} else if (outcome == WEFT_OUTCOME_UPGRADE_FAILED) {
		local_count(outcome);
		close = local_text(d, 403, "", "upgrade_failed", NULL, true);
	} else {
		local_count(outcome);
		close = local_decision(d, req, ctx, close);
	}
	if (d->dead)
		return;
	x->req_done = !rest;
	if (x->req_done)
		x->outcome.request_end_ms = d->worker->now_ms;
	x->outcome.ended = true;
	if (pace_reply(x, from, close))
		return;
	d->at_once = x->req_done && !x->judging;
	exchange_end(x);
	down_next(d, close);
}

/* ---- forwarding ---- */

static void body_prepare(struct exchange *x, const struct weft_req *req)
{
	if (req->flags & WEFT_REQ_UPGRADE)
		body_init(&x->req_body, BODY_NONE, 0);
	else if (x->down->session && !x->down->again)
		body_init(&x->req_body, BODY_CLOSE, 0);
	else if (req->flags & WEFT_REQ_CHUNKED)
		body_init(&x->req_body, BODY_CHUNKED, req->max_head);
	else
		body_init(&x->req_body, BODY_LENGTH, req->content_length);
	x->req_rest = req->flags & WEFT_REQ_UPGRADE; /* what follows is no request */
	x->unsized = req->flags & (WEFT_REQ_CHUNKED | WEFT_REQ_LENGTH_DROPPED) &&
		     !(req->flags & WEFT_REQ_UPGRADE);
	x->chunked_req = x->unsized && !x->streams;
}

void exchange_request_set(struct exchange *x, const struct weft_req *req)
{
	x->hcm = weft_img_at(req->dec.hcm);
	x->stat = x->hcm->stat;
	x->req_flags = req->flags;
	x->head_method = req->flags & WEFT_REQ_HEAD_METHOD;
	x->client_close = req->flags & WEFT_REQ_CLOSE;
	x->websocket = weft_req_upgrades_to(req, "websocket");
	x->remote = req->remote;
	x->id_back = req->hcm_flags & WEFT_HCM_REQUEST_ID_IN_RESPONSE;
	x->https = request_is_https(req);
}

bool exchange_streams(const struct exchange *x)
{
	return x->cluster->http == WEFT_UPSTREAM_HTTP2 ||
	       (x->cluster->http == WEFT_UPSTREAM_AS_CLIENT && x->down->session);
}

void exchange_decision_set(struct exchange *x, const struct weft_decision *dec)
{
	const struct weft_img_vhost *vhost = dec->vhost ? weft_img_at(dec->vhost) : NULL;

	x->dec = *dec;
	x->attempt_count_back = vhost && vhost->flags & WEFT_VHOST_ATTEMPT_COUNT_RESPONSE;
	if (dec->outcome != WEFT_OUTCOME_FORWARD)
		return;
	x->forward = weft_img_at(dec->forward);
	x->cluster = weft_img_at(dec->cluster);
	x->cluster_id = dec->cluster_id;
	x->streams = exchange_streams(x);
	x->priority = x->forward->flags & WEFT_FORWARD_PRIORITY_HIGH ? 1 : 0;
	x->upgrade = x->req_flags & WEFT_REQ_UPGRADE;
	x->resp_close = x->resp_close || x->upgrade; /* what follows may be anything */
	x->attempt_count = vhost && vhost->flags & WEFT_VHOST_ATTEMPT_COUNT;
	x->late_retry = vhost && vhost->flags & WEFT_VHOST_TIMEOUT_RETRY;
	x->timeout_ms = x->forward->timeout_ms;
	x->per_try_ms = x->forward->per_try_ms;
	x->retry_on = x->forward->retry_on;
}

static void forward(struct exchange *x, struct weft_req *req)
{
	struct down *d = x->down;
	struct worker *w = d->worker;
	uint32_t number = d->exchanges;

	x->cell_cluster = worker_cell(w, d->pod->id, x->cluster->cell);
	body_prepare(x, req);
	COUNT(w->stats.exchanges, 1);
	if (!x->cell_cluster || request_build(w, x, req)) {
		exchange_failed(x, FAIL_OVERFLOW);
		return;
	}
	outcome_begin(x);
	down_flush(d); /* 100 Continue */
	if (d->dead)
		return;
	exchange_timers(x);
	mirrors_begin(x);
	exchange_request_data(x);
	if (exchange_at_hand(d, number))
		exchange_attempt(x);
	if (exchange_at_hand(d, number))
		x->judging = false;
}

/* The decision on a complete head. The pin of `epoch` goes to the exchange. */
static void judge(struct down *d, struct weft_req *req, struct weft_ctx *ctx, uint32_t epoch)
{
	const struct weft_img_hcm *h = weft_img_at(req->dec.hcm);
	struct exchange *x = exchange_new(d);
	struct down *conn = down_conn(d);
	bool decided, kernel = false;

	if (!x) {
		weft_reader_leave(d->worker->reader, epoch);
		down_close(d);
		return;
	}
	x->pinned = true;
	x->epoch = epoch;
	if (d->again)
		follow_prepare(d->worker, d->again, req);
	else
		request_prepare(d->worker, x, req, ctx);
	exchange_request_set(x, req);
	x->client_close |= d->again && d->again->close;
	x->resp_close = x->client_close || down_ends(d);
	x->judging = !hold_again(d);
	hold_resume(d, ctx);
	limiter_attach(d, ctx);
	decided = decide(d, req, ctx, &kernel);
	if (decided && req->dec.delay_ms && !d->hold.over) {
		hold_begin(d, req, ctx);
		x->outcome.passed = true;
		exchange_end(x);
		down_flush(d); /* 100 Continue */
		return;
	}
	if (decided && req->asks) {
		hold_keep(d, req, ctx);
		limiter_wait(x, req);
		x->outcome.passed = true;
		exchange_end(x);
		down_flush(d); /* 100 Continue */
		return;
	}
	limiter_resume(d, req);
	x->ctx = *ctx;
	if (decided) {
		exchange_decision_set(x, &req->dec);
		if (told_prepare(d->worker, x, req) || pace_begin(x, &req->dec)) {
			down_close(d);
			return;
		}
	}
	consume(d, req->head_len);
	timer_clear(&d->timer);
	d->exchanges++;
	if (conn != d)
		conn->exchanges++;
	if (h->max_requests && conn->exchanges >= h->max_requests) {
		x->resp_close = true;
		if (conn == d)
			d->ends = d->spent = true;
		else
			down_drain(conn, true);
	}
	if (decided && req->dec.outcome == WEFT_OUTCOME_FORWARD) {
		if (!kernel)
			local_count(WEFT_OUTCOME_FORWARD);
		d->state = DOWN_EXCHANGE;
		exchange_keep(x);
		forward(x, req);
		return;
	}
	answer(d, req, ctx, decided);
}

/* A blank line ends within [from, n). */
static bool ends(const uint8_t *in, size_t from, size_t n)
{
	const uint8_t *p = in + (from > 3 ? from - 3 : 0), *end = in + n;

	while ((p = memchr(p, '\n', (size_t)(end - p)))) {
		p++;
		if ((p < end && *p == '\n') || (p + 1 < end && *p == '\r' && p[1] == '\n'))
			return true;
	}
	return false;
}

/*
 * A head is parsed at its first bytes (they may be no HTTP at all), and again when a line has ended
 * since, or it has grown past what a head may have; so that one that comes byte by byte is not gone
 * through each time. One that comes in very many pieces is looked at when it is complete, or has
 * grown by a page.
 */
static bool worth_parsing(struct down *d)
{
	size_t n = buf_len(&d->in), from = d->looked < n ? d->looked : 0;
	bool worth = !from || from / PROXY_HEAD_STEP != n / PROXY_HEAD_STEP ||
		     (from <= d->head_max && n > d->head_max);

	if (!worth && d->parses < PROXY_HEAD_PARSES_MAX)
		worth = memchr(buf_at(&d->in) + from, '\n', n - from);
	else if (!worth)
		worth = ends(buf_at(&d->in), from, n);
	d->looked = n;
	d->parses += worth;
	return worth;
}

/* Envoy says it before anything else is judged (1.40), a request without body included. */
static void say_continue(struct down *d, const struct weft_req *req)
{
	if (!hold_again(d) && req->flags & WEFT_REQ_EXPECT &&
	    !(req->hcm_flags & WEFT_HCM_PROXY_100_CONTINUE) &&
	    buf_add(d->worker, &d->out, "HTTP/1.1 100 Continue\r\n\r\n", 25))
		down_close(d);
}

void exchange_start(struct down *d)
{
	struct worker *w = d->worker;
	struct weft_req *req = &w->req;
	struct down *conn = down_conn(d);
	struct weft_ctx ctx = {.pod = d->pod->id,
			       .view = d->pod->view,
			       .dst = d->dst,
			       .src = d->client,
			       .now_ns = w->now_ns,
			       .turns = w->proxy->turns,
			       .hello = conn->hello};
	size_t n = buf_len(&d->in), most;
	uint32_t epoch;
	int r = -ENOENT;

	if (d->hold.waits || !worth_parsing(d))
		return;
	if (!conn->limits)
		conn->limits = calloc(1, sizeof(*conn->limits));
	ctx.conn = conn->limits;
	ctx.rates = w->proxy->rates;
	/* a pin of its own: it may go to the exchange, which outlives the look that a caller has */
	epoch = weft_reader_enter(w->reader);
	if (!weft_ctx_begin(&ctx) && !weft_listener_find(&ctx)) {
		d->chain = weft_chain_find(&ctx, d->proto);
		d->chain_epoch = ctx.epoch;
		r = weft_req_begin(req, &ctx, d->chain);
	}
	if (r || !conn->limits) {
		weft_reader_leave(w->reader, epoch);
		down_close(conn); /* the listener is gone, or is no longer for HTTP */
		return;
	}
	/* one more tells that it is too long */
	most = WEFT_NATIVE_HEAD_MAX + (d->session ? PROXY_STREAM_HEAD_ROOM : 1);
	n = n < most ? n : most;
	memcpy(w->head, buf_at(&d->in), n);
	memset(w->head + n, 0, 64);
	req->head = w->head;
	req->len = (uint32_t)n;
	d->head_max = req->max_head;
	r = d->session ? h2_parse(d, req) : weft_http1_parse(req);
	/* nothing is known of what the codec refuses */
	if (!d->again)
		d->old = req->flags & WEFT_REQ_HTTP10 && (!r || !*refused_head(req, r).body);
	if (!r || r == WEFT_PARSE_NO_HOST)
		say_continue(d, req);
	if (!r && !d->dead && path_prepare(d, req)) {
		judge(d, req, &ctx, epoch);
		return;
	}
	if (r && r != WEFT_PARSE_MORE && !d->dead)
		codec_error(d, req, r);
	weft_reader_leave(w->reader, epoch);
}
