// SPDX-License-Identifier: Apache-2.0
/* Byte relays: tcp_proxy chains of captured connections, bytes that are no HTTP, and upgraded connections. */
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "agent/proxy/breaker.h"
#include "agent/proxy/internal.h"
#include "bpf/abi/mapper.h"

static void idle_over(struct worker *w, struct timer *t)
{
	(void)w;
	down_close((struct down *)((char *)t - offsetof(struct down, timer)));
}

static void touch(struct down *d)
{
	if (d->idle_ms)
		timer_set(d->worker, &d->timer, d->worker->now_ms + d->idle_ms);
}

/* 0 under way, -EAGAIN: this endpoint cannot be reached, or another error: refused. */
static int attempt_once(struct down *d)
{
	struct worker *w = d->worker;
	struct weft_ctx ctx = {.pod = d->pod->id,
			       .turns = w->proxy->turns,
			       .view = d->pod->view,
			       .dst = d->dst,
			       .src = d->client,
			       .now_ns = w->now_ns,
			       .flags = d->limits_paid ? WEFT_CTX_LIMITS_PAID : 0};
	const struct weft_img_chain *chain = down_chain(d);
	const struct weft_img_cluster *c;
	const struct weft_img_endpoint *e;
	struct weft_tcp tcp = {0};
	struct upstream *u;
	int err = -EAGAIN;

	if (!chain || chain->kind != WEFT_CHAIN_TCP || weft_ctx_begin(&ctx) || weft_listener_find(&ctx))
		return -ENOENT;
	for (int i = 0; err == -EAGAIN && i < 8; i++) {
		err = weft_tcp_choose(&ctx, d->chain, &tcp);
		if (err == -EAGAIN && !worker_cell(w, d->pod->id, tcp.need))
			return -ENOSPC;
	}
	d->limits_paid = true; /* once for a connection, however often it is tried */
	if (err || tcp.outcome != WEFT_OUTCOME_FORWARD) {
		local_count(err ? WEFT_OUTCOME_REFUSED_OVERFLOW : (enum weft_outcome)tcp.outcome);
		return -ECONNREFUSED;
	}
	outlier_relay_begin(w, d->pod->id, &tcp);
	d->attempts--;
	c = weft_img_at(tcp.cluster);
	e = tcp.endpoint ? weft_img_at(tcp.endpoint) : NULL;
	if (!breaker_host_take(&c->threshold[WEFT_PRIORITY_DEFAULT], tcp.cell_endpoint)) {
		weft_place_put(&weft_cell_cluster(tcp.cell)->cx_active[0]);
		COUNT(weft_cell_cluster(tcp.cell)->cx_overflow, 1);
		local_count(WEFT_OUTCOME_REFUSED_OVERFLOW);
		return -ECONNREFUSED;
	}
	u = upstream_open(w, d->pod, &tcp.addr, e ? e->addresses : 0, c->connect_timeout_ms, &err);
	if (!u) {
		weft_place_put(&weft_cell_cluster(tcp.cell)->cx_active[0]);
		breaker_host_put(tcp.cell_endpoint);
		COUNT(weft_cell_cluster(tcp.cell)->cx_connect_fail, 1);
		if (tcp.cell_endpoint)
			COUNT(weft_cell_endpoint(tcp.cell_endpoint)->cx_fail, 1);
		if (err != -EMFILE)
			outlier_relay(w, d->pod->id, tcp.cell_endpoint, false, false);
		return -EAGAIN;
	}
	COUNT(weft_cell_cluster(tcp.cell)->cx_total, 1);
	if (tcp.cell_endpoint)
		COUNT(weft_cell_endpoint(tcp.cell_endpoint)->cx_total, 1);
	u->has_place = tcp.cell != 0;
	u->cell_cluster = tcp.cell;
	u->cell_endpoint = tcp.cell_endpoint;
	u->relay = d;
	d->relay = u;
	return 0;
}

/* As often as max_connect_attempts says. false: given up. */
static bool attempt(struct down *d)
{
	int r = -EAGAIN;

	while (r == -EAGAIN && d->attempts)
		r = attempt_once(d);
	return !r;
}

static void life_over(struct worker *w, struct timer *t)
{
	(void)w;
	down_close((struct down *)((char *)t - offsetof(struct down, life)));
}

/* max_downstream_connection_duration: from now on, whatever goes on by then. */
static void life_begin(struct down *d, const struct weft_img_chain *chain)
{
	uint64_t ms = chain->max_duration_ms;

	if (!ms)
		return;
	if (chain->max_duration_jitter_ms)
		ms += worker_random(d->worker) % chain->max_duration_jitter_ms;
	d->life.fire = life_over;
	timer_set(d->worker, &d->life, d->worker->now_ms + ms);
}

void tcp_start(struct down *d, const struct weft_img_chain *chain)
{
	d->state = DOWN_TUNNEL;
	d->attempts = chain->max_connect_attempts ? chain->max_connect_attempts : 1;
	d->idle_ms = chain->idle_timeout_ms;
	COUNT(d->worker->stats.tcp_total, 1);
	life_begin(d, chain);
	if (!attempt(d)) {
		down_close(d);
		return;
	}
	local_count(WEFT_OUTCOME_FORWARD);
	d->timer.fire = idle_over;
	touch(d);
	down_watch(d);
}

void tcp_failed(struct upstream *u)
{
	struct down *d = u->relay;
	bool again;

	u->relay = NULL;
	d->relay = NULL;
	upstream_close(u);
	image_enter(d);
	again = attempt(d);
	image_leave(d);
	if (!again)
		down_close(d);
}

void tcp_connected(struct upstream *u)
{
	struct down *d = u->relay;

	/* what was read to tell the protocol goes first */
	if (buf_len(&d->in)) {
		if (buf_add(d->worker, &u->out, buf_at(&d->in), buf_len(&d->in))) {
			down_close(d);
			return;
		}
		buf_consume(d->worker, &d->in, buf_len(&d->in));
	}
	tcp_move(d);
}

/* Over a stream it stays an exchange, whose bodies have no end but the other side's. */
static void tunnel_streams(struct exchange *x)
{
	struct down *d = x->down;

	body_init(&x->req_body, BODY_CLOSE, 0);
	body_init(&x->resp_body, BODY_CLOSE, 0);
	x->req_done = x->req_sent = x->chunked_out = x->chunked_req = x->keep_body = false;
	x->resp_close = true;
	timer_clear(&x->total);
	timer_clear(&x->try_idle);
	/* it may live for days: it holds no epoch of the image, only its places */
	exchange_unpin(x);
	x->forward = NULL;
	x->cell_outlier = 0;
	if (buf_len(&d->in))
		exchange_request_data(x);
}

void tunnel_start(struct exchange *x)
{
	struct down *d = x->down;
	struct upstream *u = x->up;
	struct worker *w = d->worker;

	outcome_tunnel(x);
	if (u->stream) {
		tunnel_streams(x);
		return;
	}
	d->state = DOWN_TUNNEL;
	d->relay = u;
	d->idle_ms = x->idle_ms;
	d->timer.fire = idle_over;
	u->relay = d;
	u->tunnel = true;
	timer_clear(&x->total);
	timer_clear(&x->idle);
	timer_clear(&x->try_idle);
	/* it may live for days: it holds no epoch of the image, only its places */
	exchange_unpin(x);
	if (buf_add(w, &d->out, buf_at(&u->in), buf_len(&u->in))) {
		down_close(d);
		return;
	}
	buf_consume(w, &u->in, buf_len(&u->in));
	tcp_connected(u);
}

/* From one socket to the other's buffer, while there is room. false: the connection is broken. */
static bool pull(struct worker *w, struct watch *from, struct buf *to, bool *eof, uint64_t *count)
{
	while (!*eof && buf_len(to) < PROXY_HIGH_WATER) {
		ssize_t n = buf_read(w, to, from->fd, PROXY_BUF / 2);

		if (n == -EAGAIN)
			return true;
		if (n < 0)
			return false;
		if (!n)
			*eof = true;
		*count += (uint64_t)n;
	}
	return true;
}

/* What waits goes out; the end goes on when all before it has. false: broken. */
static bool push(struct worker *w, struct watch *to, struct buf *from, bool eof, bool *shut, uint64_t *sent)
{
	int r = buf_write(w, from, to->fd, sent);

	if (r == -EAGAIN)
		return true;
	if (r)
		return false;
	if (eof && !*shut) {
		*shut = true;
		shutdown(to->fd, SHUT_WR);
	}
	return true;
}

/* The endpoint's end of an upgraded connection: what it said still goes out, then the client has
 * its time to go. */
static void tunnel_end(struct down *d)
{
	d->relay->relay = NULL;
	d->relay = NULL;
	timer_clear(&d->timer);
	d->state = DOWN_EXCHANGE;
	d->x->outcome.flags |= WEFT_FLAG_BIT(UC);
	outcome_reset(&d->x->outcome, true, "connection termination", "");
	if (d->old) /* whose end is that of its connection (Envoy 1.40) */
		d->x->req_rest = false;
	exchange_finish(d->x, true);
}

/* Where both sides have no end of their own. true: it is over. */
static bool tunnel_over(struct down *d, bool up_broken)
{
	struct upstream *u = d->relay;

	if (!u->tunnel || (!d->eof && !u->eof && !up_broken))
		return false;
	if (d->eof)
		down_close(d);
	else
		tunnel_end(d);
	return true;
}

void tcp_move(struct down *d)
{
	struct upstream *u = d->relay;
	struct worker *w = d->worker;
	uint64_t in = 0;
	bool up;

	if (d->dead || !u || u->orphan)
		return;
	if (u->connecting) {
		if (d->eof)
			down_close(d);
		else
			down_watch(d);
		return;
	}
	if (!pull(w, &d->watch, &u->out, &d->eof, &d->received)) {
		down_close(d);
		return;
	}
	up = pull(w, &u->watch, &d->out, &u->eof, &in) &&
	     push(w, &u->watch, &u->out, d->eof, &u->shut, &u->sent);
	if (tunnel_over(d, !up))
		return;
	if (!up || !push(w, &d->watch, &d->out, u->eof, &d->shut, &d->sent) ||
	    (d->shut && u->shut)) {
		down_close(d);
		return;
	}
	touch(d);
	down_watch(d);
	upstream_watch(u);
}

void tcp_close(struct down *d)
{
	struct upstream *u = d->relay;

	d->relay = NULL;
	if (!u)
		return;
	u->relay = NULL;
	if (!u->tunnel)
		upstream_close(u); /* a tunnel's goes with its exchange */
}
