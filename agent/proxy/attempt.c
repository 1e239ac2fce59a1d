// SPDX-License-Identifier: Apache-2.0
/* An exchange with its upstream: attempts, the request's bytes, failures, deadlines. */
#include <errno.h>
#include <string.h>

#include "agent/proxy/mutate.h"
#include "agent/proxy/pace.h"

/* ---- deadlines ---- */

#define OF(t, member) ((struct exchange *)((char *)(t) - offsetof(struct exchange, member)))

/* The reply at `from` in the client's buffer is the exchange's last word. */
static void reply_done(struct exchange *x, size_t from, bool close)
{
	if (!x->down->dead && !pace_reply(x, from, close))
		exchange_finish(x, close);
}

/* A reply that is made here ends the exchange; after the response began, only closing says that it failed. */
static void reply_end(struct exchange *x, uint32_t status, const char *body, const char *details)
{
	struct down *d = x->down;
	bool close = !x->req_done || x->resp_close;
	size_t from = buf_len(&d->out);

	if (x->resp_started || d->mirror) {
		outcome_details(&x->outcome, details);
		d->cut = true;
		exchange_finish(x, true);
		return;
	}
	close = local_attempts(x, status, body, details, close);
	reply_done(x, from, close);
}

/* No answer in time: 504, or what the request asks for. */
static void timeout_reply(struct exchange *x, const char *details)
{
	x->flags |= WEFT_FLAG_BIT(UT);
	if (x->alt_timeout)
		reply_end(x, 204, "", details);
	else
		reply_end(x, 504, "upstream request timeout", details);
}

static void total_over(struct worker *w, struct timer *t)
{
	struct exchange *x = OF(t, total);

	COUNT(w->stats.timeouts, 1);
	if (!x->req_done) {
		reply_end(x, 408, "request timeout", "request_overall_timeout");
		return;
	}
	COUNT(weft_cell_cluster(x->cell_cluster)->rq_timeout, 1);
	if (x->up && !x->resp_head)
		outlier_reached(x, false, true);
	timeout_reply(x, "response_timeout");
}

static void idle_over(struct worker *w, struct timer *t)
{
	struct exchange *x = OF(t, idle);

	COUNT(w->stats.timeouts, 1);
	x->flags |= WEFT_FLAG_BIT(SI);
	reply_end(x, x->req_done ? 504 : 408, "stream timeout", "stream_idle_timeout");
}

static void life_over(struct worker *w, struct timer *t)
{
	struct exchange *x = OF(t, life);

	COUNT(w->stats.timeouts, 1);
	if (x->down->state == DOWN_TUNNEL)
		down_close(x->down);
	else
		reply_end(x, x->req_done ? 504 : 408, "downstream duration timeout",
			  "max_duration_timeout");
}

static void per_try_over(struct worker *w, struct timer *t)
{
	struct exchange *x = OF(t, per_try);

	COUNT(w->stats.timeouts, 1);
	/* asked to try again whatever the policy says, and else to go on waiting */
	if (!x->hedged) {
		exchange_failed(x, FAIL_PER_TRY);
	} else {
		x->was_late = true;
		exchange_try_again(x, 0);
	}
}

static void try_idle_over(struct worker *w, struct timer *t)
{
	COUNT(w->stats.timeouts, 1);
	exchange_failed(OF(t, try_idle), FAIL_PER_TRY);
}

static void try_life_over(struct worker *w, struct timer *t)
{
	COUNT(w->stats.timeouts, 1);
	exchange_failed(OF(t, try_life), FAIL_DURATION);
}

static void backoff_over(struct worker *w, struct timer *t)
{
	(void)w;
	exchange_attempt(OF(t, backoff));
}

void exchange_timers(struct exchange *x)
{
	struct worker *w = x->down->worker;

	x->total.fire = total_over;
	x->idle.fire = idle_over;
	x->per_try.fire = per_try_over;
	x->try_idle.fire = try_idle_over;
	x->try_life.fire = try_life_over;
	x->backoff.fire = backoff_over;
	x->life.fire = life_over;
	x->idle_ms = x->forward->idle_timeout_ms == WEFT_TIMEOUT_INHERIT ? x->hcm->stream_idle_ms :
									    x->forward->idle_timeout_ms;
	/* the request's time counts from its first byte */
	if (x->hcm->request_ms)
		timer_set(w, &x->total, x->start_ms + x->hcm->request_ms);
	if (x->hcm->max_stream_ms)
		timer_set(w, &x->life, w->now_ms + x->hcm->max_stream_ms);
	exchange_touch(x);
}

void exchange_touch(struct exchange *x)
{
	struct worker *w = x->down->worker;

	if (x->idle_ms)
		timer_set(w, &x->idle, w->now_ms + x->idle_ms);
	if (x->forward && x->forward->per_try_idle_ms && x->up && x->req_done)
		timer_set(w, &x->try_idle, w->now_ms + x->forward->per_try_idle_ms);
}

/* A try's time counts when it has a connection and all of the request (Envoy 1.40): a long upload is no slow answer. */
static void try_begin(struct exchange *x)
{
	struct worker *w = x->down->worker;

	if (x->per_try_ms && x->up && x->req_done && !x->resp_head)
		timer_set(w, &x->per_try, w->now_ms + x->per_try_ms);
}

/* The route's timeout counts from the end of the request (RouteAction.timeout). */
static void request_complete(struct exchange *x)
{
	struct worker *w = x->down->worker;

	x->req_done = true;
	x->outcome.request_end_ms = w->now_ms;
	timer_clear(&x->total);
	if (x->timeout_ms && !x->resp_body.done)
		timer_set(w, &x->total, w->now_ms + x->timeout_ms);
	try_begin(x);
}

/* ---- the request's body ---- */

/* What is not sent yet goes to the connection's buffer; kept bytes stay for another attempt. */
static int body_push(struct exchange *x)
{
	struct worker *w = x->down->worker;
	size_t n = buf_len(&x->body) - x->body_sent;
	int r = buf_add(w, &x->up->out, buf_at(&x->body) + x->body_sent, n);

	if (r)
		return r;
	if (x->keep_body)
		x->body_sent += n;
	else
		buf_consume(w, &x->body, n);
	x->req_sent = x->req_done;
	if (x->req_sent && !x->outcome.sent_ms)
		x->outcome.sent_ms = w->now_ms;
	return 0;
}

/*
 * More than may be kept: from here on the exchange cannot be tried again (retry_or_shadow_abandoned). true: it was
 * answered.
 */
static bool keep_check(struct exchange *x)
{
	if (!x->keep_body || buf_len(&x->body) <= x->cluster->buffer_limit)
		return false;
	/* the attempt at hand failed and nobody takes the bytes (Envoy 1.40) */
	if (x->backoff.at) {
		reply_end(x, 507, "exceeded request buffer limit while retrying upstream",
			  "request_payload_exceeded_retry_buffer_limit");
		return true;
	}
	x->keep_body = false;
	x->retry_off = true;
	buf_consume(x->down->worker, &x->body, x->body_sent);
	x->body_sent = 0;
	return false;
}

static int body_append(struct exchange *x, const uint8_t *data, size_t len)
{
	struct worker *w = x->down->worker;
	int r = 0;

	if (len && x->chunked_req)
		r = buf_printf(w, &x->body, "%zx\r\n", len);
	if (!r)
		r = buf_add(w, &x->body, data, len);
	if (!r && len && x->chunked_req)
		r = buf_add(w, &x->body, "\r\n", 2);
	if (!r && x->req_body.done && x->chunked_req)
		r = buf_add(w, &x->body, "0\r\n\r\n", 5);
	return r;
}

void exchange_request_data(struct exchange *x)
{
	struct down *d = x->down;
	int r = 0;

	while (!x->req_done && !r) {
		const uint8_t *data;
		size_t used, len;

		r = body_step(&x->req_body, buf_at(&d->in), buf_len(&d->in), &used, &data, &len);
		/* a stream says by itself where its body ends */
		if (!r && x->req_body.kind == BODY_CLOSE && d->body_end && used == buf_len(&d->in))
			x->req_body.done = true;
		if (!r)
			r = body_append(x, data, len);
		if (r)
			break;
		if (x->n_mirror)
			mirrors_feed(x, data, len);
		d->handled += used;
		x->outcome.received += len;
		buf_consume(d->worker, &d->in, used);
		if (x->req_body.done)
			request_complete(x);
		else if (!used)
			break;
	}
	if (r == -EBADMSG || r == -EILSEQ || r == -E2BIG) {
		COUNT(d->worker->stats.protocol_errors, 1);
		x->req_done = false;
		x->resp_close = true;
		x->outcome.flags |= WEFT_FLAG_BIT(DPE);
		if (r == -E2BIG)
			reply_end(x, 431, "Request Header Fields Too Large",
				  "http1.headers_too_large");
		else
			reply_end(x, 400, "Bad Request",
				  r == -EILSEQ ? "http1.invalid_characters" : "http1.codec_error");
		return;
	}
	exchange_touch(x);
	if (!r && keep_check(x))
		return;
	if (!r && x->up && !x->up->connecting)
		r = body_push(x);
	if (r) {
		down_close(d);
		return;
	}
	if (x->up)
		upstream_flush(x->up);
}

int exchange_feed(struct exchange *x, const uint8_t *data, size_t len, bool done)
{
	int r;

	x->req_body.done = done;
	r = body_append(x, data, len);
	if (!r && done)
		request_complete(x);
	if (!r && buf_len(&x->body) + (x->up ? buf_len(&x->up->out) : 0) > x->cluster->buffer_limit)
		r = -ENOBUFS;
	return r;
}

void exchange_push(struct exchange *x)
{
	if (!x->up || x->up->connecting)
		return;
	exchange_touch(x);
	if (body_push(x))
		exchange_failed(x, FAIL_OVERFLOW);
	else
		upstream_flush(x->up);
}

/* ---- attempts ---- */

static bool was_tried(const struct exchange *x, const struct weft_sockaddr *addr)
{
	for (uint32_t i = 0; i < x->n_tried; i++) {
		if (!memcmp(&x->tried[i], addr, sizeof(*addr)))
			return true;
	}
	return false;
}

/* Index of a host of the cluster; by_hash is the request's, or one draw for all tries. */
static int host_index(struct exchange *x, uint64_t by_hash, uint32_t try)
{
	struct worker *w = x->down->worker;
	uint32_t need = 0;
	int n;

	if (x->cluster->lb >= WEFT_LB_RING_HASH)
		return weft_endpoint_bounded(&x->ctx, x->dec.cluster, x->dec.endpoints, by_hash,
					     try);
	x->ctx.now_ns = w->now_ns;
	n = weft_endpoint_choose(&x->ctx, x->dec.cluster, x->dec.endpoints, worker_random(w), &need);
	if (n == -EAGAIN && worker_cell(w, x->ctx.pod, need))
		n = weft_endpoint_choose(&x->ctx, x->dec.cluster, x->dec.endpoints, worker_random(w), &need);
	return n;
}

/* Chooses a host; a retry with the predicate looks for one that was not tried. false: there is none. */
static bool host_choose(struct exchange *x)
{
	struct worker *w = x->down->worker;
	const struct weft_img_endpoints *set = weft_img_at(x->dec.endpoints);
	uint64_t by_hash = x->dec.hashed ? x->dec.hash : worker_random(w);
	uint32_t tries = x->n_tried && x->forward->retry_previous_hosts ? x->forward->host_attempts + 1 : 1;

	for (uint32_t i = 0; i < tries; i++) {
		const struct weft_img_endpoint *e;
		int n = host_index(x, by_hash, i);

		if (n < 0)
			return false;
		e = (const struct weft_img_endpoint *)weft_img_at(set->endpoint) + n;
		x->endpoint = e->addr;
		x->endpoint_id = e->cell;
		x->addresses = e->addresses;
		x->hostname = e->hostname;
		x->cell_endpoint = worker_cell(w, x->ctx.pod, e->cell);
		outlier_begin(x, e);
		if (!was_tried(x, &e->addr))
			break;
	}
	return true;
}

void exchange_attempt(struct exchange *x)
{
	struct down *d = x->down;
	struct worker *w = d->worker;

	x->attempts++;
	x->wrote_any = false;
	x->resp_head = false;
	x->body_sent = 0;
	x->cell_outlier = 0;
	if (x->cluster->type == WEFT_CLUSTER_ORIGINAL_DST) {
		x->endpoint = d->dst;
		x->endpoint_id = 0;
		x->addresses = 0;
		x->hostname.len = 0;
		x->cell_endpoint = 0;
		if (x->cluster->port_override)
			x->endpoint.port = (uint16_t)x->cluster->port_override;
	} else if (!x->dec.endpoints || !host_choose(x)) {
		exchange_failed(x, FAIL_NO_HOST);
		return;
	}
	x->upstream_ms = w->now_ms;
	pool_request(x);
}

/* What of the head depends on the attempt. */
static int head_adapt(struct exchange *x)
{
	struct worker *w = x->down->worker;
	int r = 0;

	if (x->attempts > 1)
		r = request_attempt_set(w, x);
	if (!r && x->forward->flags & WEFT_FORWARD_AUTO_HOST && x->hostname.len)
		r = request_host_set(w, x, weft_img_at(x->hostname.off), x->hostname.len);
	return r;
}

void exchange_connected(struct exchange *x, struct upstream *u)
{
	struct down *d = x->down;
	struct worker *w = d->worker;
	int r = head_adapt(x);

	outlier_reached(x, true, false);
	outcome_connected(x);
	if (!r)
		r = request_put(w, x, !u->stream, &u->out);
	if (!r)
		r = body_push(x);
	if (r) {
		exchange_failed(x, FAIL_OVERFLOW);
		return;
	}
	exchange_touch(x);
	try_begin(x);
	if (x->duration_ms)
		timer_set(w, &x->try_life, w->now_ms + x->duration_ms);
	upstream_flush(u); /* may end the exchange */
	down_watch(d);
}

/* ---- failures ---- */

static const char *reset_text(enum fail_why why)
{
	switch (why) {
	case FAIL_CONNECT:
		return "remote connection failure";
	case FAIL_CONNECT_TIMEOUT:
		return "connection timeout";
	case FAIL_PROTOCOL:
		return "protocol error";
	case FAIL_RESET:
		return "remote reset";
	case FAIL_REFUSED:
		return "remote refused stream reset";
	case FAIL_CONNECT_METHOD:
		return "remote error with CONNECT request";
	default:
		return "connection termination";
	}
}

/* Of an attempt that took too long timeout_reply() says it. */
static const uint32_t failure_flags[] = {
	[FAIL_CONNECT] = WEFT_FLAG_BIT(UF),	   [FAIL_CONNECT_TIMEOUT] = WEFT_FLAG_BIT(UF),
	[FAIL_TERMINATION] = WEFT_FLAG_BIT(UC),	   [FAIL_PROTOCOL] = WEFT_FLAG_BIT(UPE),
	[FAIL_RESET] = WEFT_FLAG_BIT(UR),	   [FAIL_REFUSED] = WEFT_FLAG_BIT(UR),
	[FAIL_CONNECT_METHOD] = WEFT_FLAG_BIT(UR), [FAIL_PER_TRY] = 0,
	[FAIL_DURATION] = WEFT_FLAG_BIT(UMSDR),	   [FAIL_OVERFLOW] = WEFT_FLAG_BIT(UO),
	[FAIL_NO_HOST] = WEFT_FLAG_BIT(UH),
};

/* What the endpoint's side said, "": nothing. */
static const char *failure_text(const struct exchange *x, enum fail_why why)
{
	return why == FAIL_CONNECT ? x->down->worker->connect_text : "";
}

static void failure_reply(struct exchange *x, enum fail_why why)
{
	struct down *d = x->down;
	bool close = !x->req_done || x->resp_close;
	size_t from = buf_len(&d->out);
	char body[160];

	x->flags |= failure_flags[why];
	if (x->cell_endpoint && why != FAIL_OVERFLOW)
		COUNT(weft_cell_endpoint(x->cell_endpoint)->rq_error, 1);
	if (why == FAIL_OVERFLOW || why == FAIL_NO_HOST) {
		local_count(why == FAIL_OVERFLOW ? WEFT_OUTCOME_OVERFLOW : WEFT_OUTCOME_NO_HEALTHY_UPSTREAM);
		close = local_image(d,
				    x->hcm->reply[why == FAIL_OVERFLOW ? WEFT_REPLY_OVERFLOW :
									 WEFT_REPLY_NO_UPSTREAM],
				    close);
	} else if (why == FAIL_PER_TRY) {
		timeout_reply(x, "upstream_per_try_timeout");
		return;
	} else if (why == FAIL_DURATION) {
		reply_end(x, x->req_done ? 504 : 408, "upstream max stream duration reached",
			  "upstream_max_stream_duration_reached");
		return;
	} else {
		snprintf(body, sizeof(body),
			 "upstream connect error or disconnect/reset before headers. %sreset reason: %s",
			 x->attempts > 1 ? "retried and the latest " : "", reset_text(why));
		outcome_reset(&x->outcome, x->outcome.begun && x->streams, reset_text(why),
			      failure_text(x, why));
		close = local_attempts(x, why == FAIL_PROTOCOL ? 502 : 503, body, NULL, close);
	}
	reply_done(x, from, close);
}

/* After the response began its details alone say what came of it. */
static void late_failure(struct exchange *x, enum fail_why why)
{
	x->flags |= failure_flags[why];
	if (why == FAIL_PER_TRY)
		outcome_details(&x->outcome, "upstream_per_try_timeout");
	else if (why == FAIL_DURATION)
		outcome_details(&x->outcome, "upstream_max_stream_duration_reached");
	else
		outcome_reset(&x->outcome, true, reset_text(why), "");
}

void exchange_failed(struct exchange *x, enum fail_why why)
{
	pool_cancel(x);
	/* of an attempt that takes too long in all, detection is not told (Envoy 1.40) */
	if (why <= FAIL_PER_TRY)
		outlier_reached(x, false, why == FAIL_PER_TRY);
	exchange_unlink_upstream(x, false);
	if (x->resp_started || x->down->mirror) {
		late_failure(x, why);
		x->down->cut = true;
		exchange_finish(x, true);
		return;
	}
	if (!exchange_retry(x, why, NULL))
		failure_reply(x, why);
}
