// SPDX-License-Identifier: Apache-2.0
/*
 * One call of a rate limit service: an exchange of a client that does not exist, as Envoy's own
 * gRPC client makes it. It takes places of the service's cluster, goes to the host that its policy
 * chooses, over the pod's own pools and from the pod's network namespace, and is never tried again.
 * It begins and ends at the end of a turn, so nothing of it can reach into the exchange that waits
 * for it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/proxy/limiter.h"
#include "agent/proxy/mutate.h"

struct call {
	struct down down; /* first: is freed as such */
	struct weft_img_forward forward;
	struct question asks;
	struct asker *of; /* who waits, NULL: nobody (any more) */
	bool queued, started, over;
	bool refused;	       /* what comes makes no sense, or is too much */
	uint32_t status, grpc; /* grpc: its status + 1 in the head, 0: none is there */
	struct buf body;
	TAILQ_ENTRY(call) link;
};

/* Of a request that is nobody's: no time limits but its own. */
static const struct weft_img_hcm no_hcm;

static void queue(struct call *c)
{
	if (c->queued)
		return;
	c->queued = true;
	TAILQ_INSERT_TAIL(&c->down.worker->calls, c, link);
}

/* ---- the answer ---- */

static void head(struct down *d, const uint8_t *bytes, const struct response *r)
{
	struct call *c = (struct call *)d;

	(void)bytes;
	c->status = r->status;
	c->grpc = r->has_grpc_status ? r->grpc_status + 1 : 0;
}

static void data(struct down *d, const uint8_t *bytes, size_t len)
{
	struct call *c = (struct call *)d;

	if (c->refused)
		return;
	c->refused = buf_len(&c->body) + len > (size_t)c->asks.max_bytes + 5 ||
		     buf_add(d->worker, &c->body, bytes, len);
	if (!c->refused)
		return;
	c->over = true;
	queue(c);
}

/* grpc-status of the trailers, or of a head alone. */
static bool went_well(struct call *c)
{
	struct down *d = &c->down;
	struct lines l = {d->worker, &d->trailers, 0};
	struct line line;

	if (c->refused || d->cut || c->status != 200)
		return false;
	if (!lines_find(&l, "grpc-status", 11, 0, &line))
		return c->grpc == 1;
	return line.value_len == 1 && buf_at(&d->trailers)[line.value] == '0';
}

static void closed(struct down *d)
{
	struct call *c = (struct call *)d;
	const struct exchange *x = d->x;
	rate_response *msg = NULL;

	if (c->queued)
		TAILQ_REMOVE(&d->worker->calls, c, link);
	c->queued = false;
	if (c->of && x && x->resp_body.done && went_well(c))
		msg = wire_response(buf_at(&c->body), buf_len(&c->body));
	if (c->of)
		asker_answered(d->worker, c->of, msg);
	c->of = NULL;
	buf_free(d->worker, &c->body);
	question_free(d->worker, &c->asks);
}

static void nothing(struct down *d)
{
	(void)d;
}

static const struct down_codec codec = {.flush = nothing,
					.watch = nothing,
					.next = down_close,
					.closed = closed,
					.head = head,
					.data = data};

/* ---- the question ---- */

int call_begin(struct down *d, struct question *q, struct asker *of, struct call **ret)
{
	struct down *conn = down_conn(d);
	struct call *c = calloc(1, sizeof(*c));

	if (!c) {
		question_free(d->worker, q);
		return -ENOMEM;
	}
	c->down = (struct down){.watch = {.kind = WATCH_DOWN, .fd = -1},
				.state = DOWN_EXCHANGE,
				.worker = d->worker,
				.pod = d->pod,
				.client = conn->client,
				.dst = conn->dst,
				.codec = &codec,
				.mirror = true};
	c->asks = *q;
	*q = (struct question){0};
	c->of = of;
	TAILQ_INSERT_TAIL(&d->pod->downs, &c->down, link);
	queue(c);
	if (ret)
		*ret = c;
	return 0;
}

void call_cancel(struct call *c)
{
	c->of = NULL;
	c->over = true;
	queue(c);
}

/* false: there is no such cluster, or no memory. */
static bool prepare(struct call *c)
{
	struct down *d = &c->down;
	struct exchange *x = exchange_new(d);
	uint32_t id;

	if (!x)
		return false;
	x->ctx = (struct weft_ctx){.pod = d->pod->id,
				   .view = d->pod->view,
				   .dst = d->dst,
				   .src = d->client,
				   .now_ns = d->worker->now_ns,
				   .turns = d->worker->proxy->turns};
	x->epoch = weft_reader_enter(d->worker->reader);
	x->pinned = true;
	x->hcm = &no_hcm;
	x->forward = &c->forward;
	x->timeout_ms = c->asks.timeout_ms;
	if (weft_ctx_begin(&x->ctx))
		return false;
	id = weft_cluster_id_of(&x->ctx, c->asks.cluster, strlen(c->asks.cluster));
	if (!id || !exchange_cluster_set(x, id))
		return false;
	body_init(&x->req_body, BODY_CLOSE, 0);
	x->unsized = true;
	x->streams = exchange_streams(x);
	x->chunked_req = !x->streams;
	x->head = c->asks.head;
	c->asks.head = (struct buf){0};
	exchange_keep(x);
	exchange_timers(x);
	return !exchange_feed(x, buf_at(&c->asks.message), buf_len(&c->asks.message), true);
}

void calls_run(struct worker *w)
{
	struct call *c;

	while ((c = TAILQ_FIRST(&w->calls))) {
		TAILQ_REMOVE(&w->calls, c, link);
		c->queued = false;
		if (c->over || (!c->started && !prepare(c))) {
			down_close(&c->down);
		} else if (!c->started) {
			c->started = true;
			exchange_attempt(c->down.x);
		}
	}
}
