// SPDX-License-Identifier: Apache-2.0
/* The app's connections: what they are, when they are read, when they end. */
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "agent/proxy/limiter.h"

static struct down *of_timer(struct timer *t)
{
	return (struct down *)((char *)t - offsetof(struct down, timer));
}

/* An offset kept from an earlier look may be something else by now: it counts for its own epoch only. */
const struct weft_img_chain *down_chain(struct down *d)
{
	struct weft_ctx ctx = {.pod = d->pod->id,
			       .view = d->pod->view,
			       .dst = d->dst,
			       .src = d->client,
			       .hello = down_conn(d)->hello};

	if (weft_ctx_begin(&ctx))
		return NULL;
	if (d->chain_epoch != ctx.epoch) {
		d->chain = weft_listener_find(&ctx) ? 0 : weft_chain_find(&ctx, (enum weft_proto)d->proto);
		d->chain_epoch = ctx.epoch;
	}
	return d->chain ? weft_img_at(d->chain) : NULL;
}

/* ---- closing ---- */

/* A request has begun, and will not come. */
static void head_lost(struct down *d)
{
	struct outcome o = {0};

	outcome_early(d, NULL, &o);
}

void down_close(struct down *d)
{
	struct worker *w = d->worker;

	if (d->dead)
		return;
	d->dead = true;
	if (d->codec)
		d->codec->closed(d);
	if (d->relay)
		tcp_close(d);
	if (d->x)
		exchange_abort(d->x);
	else if (d->state == DOWN_HEAD && !d->early &&
		 (d->session || d->hold.waits || buf_len(&d->in)))
		head_lost(d);
	hold_end(d);
	conn_limits_end(d);
	if (d->h2)
		h2_close(d);
	timer_remove(&d->timer);
	timer_remove(&d->life);
	watch_close(w, &d->watch);
	slot_release(d);
	if (d->has_file)
		pod_file_put(w, d->pod->id);
	buf_free(w, &d->in);
	buf_free(w, &d->out);
	buf_free(w, &d->trailers_in);
	buf_free(w, &d->trailers);
	TAILQ_REMOVE(&d->pod->downs, d, link);
	TAILQ_INSERT_TAIL(&w->graves, d, link);
	if (!d->codec)
		COUNT(w->stats.connections, -1);
}

static void linger_over(struct worker *w, struct timer *t)
{
	(void)w;
	down_close(of_timer(t));
}

/* delayed_close_timeout or drain_timeout as they are now, 0: its listener is not there. */
static uint32_t end_ms(struct down *d, bool drain)
{
	const struct weft_img_chain *chain;
	const struct weft_img_hcm *h;
	uint32_t ms = 0;

	image_enter(d);
	chain = down_chain(d);
	if (chain && chain->kind == WEFT_CHAIN_HTTP) {
		h = weft_img_at(chain->target);
		ms = drain ? h->drain_ms : h->delayed_close_ms;
	}
	image_leave(d);
	return ms;
}

/*
 * All is said. A client that may still be sending has a while to read the answer and close (Envoy's
 * delayed_close_timeout); what it sends is dropped. One that has sent all gets its FIN at once, and
 * what it sends against the rules is dropped as long: a RST would take the answer from it.
 */
static void linger(struct down *d)
{
	uint32_t ms = end_ms(d, false);

	if (d->eof || !ms) {
		down_close(d);
		return;
	}
	if (d->at_once && !d->h2) /* Envoy's HTTP/2 codec lets the time pass without */
		shutdown(d->watch.fd, SHUT_WR);
	d->state = DOWN_CLOSING;
	d->lingering = true;
	buf_free(d->worker, &d->in);
	d->timer.fire = linger_over;
	timer_set(d->worker, &d->timer, d->worker->now_ms + ms);
	down_watch(d);
}

/* ---- writing ---- */

void down_flush(struct down *d)
{
	uint64_t sent = d->sent;
	int r;

	if (d->dead)
		return;
	if (d->codec) {
		d->codec->flush(d);
		return;
	}
	r = buf_write(d->worker, &d->out, d->watch.fd, &d->sent);
	if (r && r != -EAGAIN) {
		down_close(d);
		return;
	}
	if (!r && d->state == DOWN_CLOSING && !d->lingering) {
		linger(d);
		return;
	}
	if (r && d->state == DOWN_CLOSING && (d->sent != sent || !d->timer.at)) {
		/* a client that takes nothing of the last reply is not waited for much longer */
		uint32_t ms = end_ms(d, false);

		d->timer.fire = linger_over;
		if (ms)
			timer_set(d->worker, &d->timer, d->worker->now_ms + ms);
	}
	down_watch(d);
}

bool down_is_full(const struct down *d)
{
	if (d->state == DOWN_EXCHANGE) {
		const struct exchange *x = d->x;
		size_t waits = buf_len(&x->body) - x->body_sent + (x->up ? buf_len(&x->up->out) : 0);

		/* the rest of the body, or (done) a pipelined request up to what a buffer takes */
		return x->req_done ? buf_len(&d->in) >= PROXY_BUF : waits >= PROXY_HIGH_WATER;
	}
	if (d->state == DOWN_TUNNEL)
		return d->relay &&
		       (d->relay->connecting || buf_len(&d->relay->out) >= PROXY_HIGH_WATER);
	if (d->state == DOWN_ASKED)
		return buf_len(&d->in) >= PROXY_HIGH_WATER;
	if (d->state == DOWN_HEAD) {
		/* a client that takes no answers is not asked for more requests, nor one whose request waits */
		return buf_len(&d->out) >= PROXY_HIGH_WATER ||
		       (d->hold.waits && buf_len(&d->in) >= PROXY_HIGH_WATER);
	}
	return false;
}

/* Reads unless nothing may be taken in; writes when something waits. */
void down_watch(struct down *d)
{
	uint32_t events = 0;

	if (d->dead)
		return;
	if (d->codec) {
		d->codec->watch(d);
		return;
	}
	if (!down_is_full(d) && !d->eof && !d->deaf)
		events |= EPOLLIN;
	if (buf_len(&d->out))
		events |= EPOLLOUT;
	/* an exchange ends with its client; elsewhere the end is read in its turn, and would only wake in vain */
	if (!d->eof && (d->state == DOWN_EXCHANGE || d->hold.waits || d->deaf))
		events |= EPOLLRDHUP;
	/* without interest it is off the list: EPOLLHUP would wake the loop again and again */
	if (watch_set(d->worker, &d->watch, events))
		down_close(d);
}

/* ---- reading ---- */

static struct down *of_life(struct timer *t)
{
	return (struct down *)((char *)t - offsetof(struct down, life));
}

static bool quiet(const struct down *d)
{
	return d->state == DOWN_STREAMS ? h2_quiet(d) : d->state == DOWN_HEAD && !buf_len(&d->in);
}

static void drain_over(struct worker *w, struct timer *t)
{
	struct down *d = of_life(t);

	(void)w;
	if (d->state == DOWN_STREAMS) {
		h2_goaway(d, true);
		return;
	}
	d->ends = true;
	if (d->x)
		d->x->resp_close = true;
	if (quiet(d))
		down_next(d, true); /* else after the exchange at hand */
}

/*
 * Idle, or old enough: requests that come meanwhile are answered still, each with the word that it
 * was the last (Envoy's drain sequence). Where nobody has said anything there is none. `said`: the
 * kernel knows of a request.
 */
void down_drain(struct down *d, bool said)
{
	uint32_t ms = end_ms(d, true);

	if (d->drain)
		return;
	if (!d->received && !said && quiet(d)) {
		down_close(d);
		return;
	}
	d->drain = true;
	if (d->state == DOWN_STREAMS)
		h2_goaway(d, false);
	else
		slot_take(d); /* what a program answers does not say it */
	d->life.fire = drain_over;
	timer_set(d->worker, &d->life, d->worker->now_ms + ms);
}

/* Requests that the kernel answers never come here: its sign of life counts too. */
static void idle_over(struct worker *w, struct timer *t)
{
	struct down *d = of_timer(t);
	uint32_t active = d->slot ? __atomic_load_n(&weft_slot_at(d->slot)->active, __ATOMIC_RELAXED) : 0;
	uint64_t age_ms = ((uint64_t)((uint32_t)(w->now_ns >> 20) - active) << 20) / 1000000u;

	if (active && d->idle_ms && age_ms < d->idle_ms)
		timer_set(w, &d->timer, w->now_ms + d->idle_ms - age_ms);
	else
		down_drain(d, active);
}

static void life_over(struct worker *w, struct timer *t)
{
	struct down *d = of_life(t);

	(void)w;
	down_drain(d, d->slot && __atomic_load_n(&weft_slot_at(d->slot)->active, __ATOMIC_RELAXED));
}

void down_life(struct down *d, uint32_t ms)
{
	d->life.fire = life_over;
	if (ms)
		timer_set(d->worker, &d->life, d->worker->now_ms + ms);
}

uint32_t down_head_ms(struct down *d, const struct weft_img_hcm *h)
{
	const struct {
		uint32_t ms;
		const char *why;
	} all[] = {{h->request_headers_ms, "request header timeout"},
		   {h->request_ms, "request timeout"},
		   {h->stream_idle_ms, "stream timeout"}};
	uint32_t ms = 0;

	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
		if (all[i].ms && (!ms || all[i].ms < ms)) {
			ms = all[i].ms;
			d->head_why = all[i].why;
		}
	}
	return ms;
}

void down_head_wait(struct down *d)
{
	const struct weft_img_chain *chain = down_chain(d);
	const struct weft_img_hcm *h;
	uint64_t from = d->worker->now_ms;
	uint32_t ms;

	if (!chain || chain->kind != WEFT_CHAIN_HTTP || d->hold.waits)
		return;
	h = weft_img_at(chain->target);
	ms = h->idle_ms;
	d->idle_ms = ms;
	d->timer.fire = idle_over;
	if (buf_len(&d->in)) {
		if (!d->head_ms)
			d->head_ms = from;
		from = d->head_ms;
		ms = down_head_ms(d, h);
		d->timer.fire = local_head_timeout;
	}
	if (ms)
		timer_set(d->worker, &d->timer, from + ms);
	else
		timer_clear(&d->timer);
}

void down_next(struct down *d, bool close)
{
	if (d->dead)
		return;
	hold_end(d);
	free(d->again);
	d->again = NULL;
	if (d->codec) {
		d->codec->next(d);
		return;
	}
	d->state = close || d->ends ? DOWN_CLOSING : DOWN_HEAD;
	if (d->state == DOWN_CLOSING)
		timer_clear(&d->timer); /* no deadline of a head any more */
	down_flush(d);
	if (d->dead || d->state != DOWN_HEAD)
		return;
	slot_give_back(d);
	if (d->eof) {
		down_close(d); /* the rest of a request will not come */
		return;
	}
	image_enter(d);
	down_head_wait(d);
	image_leave(d);
}

void down_end(struct down *d)
{
	d->state = DOWN_CLOSING;
	timer_clear(&d->timer);
	down_flush(d);
}

void down_idle(struct down *d)
{
	const struct weft_img_chain *chain;
	const struct weft_img_hcm *h;

	image_enter(d);
	chain = down_chain(d);
	if (chain && chain->kind == WEFT_CHAIN_HTTP) {
		h = weft_img_at(chain->target);
		d->idle_ms = h->idle_ms;
	}
	image_leave(d);
	d->timer.fire = idle_over;
	if (d->idle_ms)
		timer_set(d->worker, &d->timer, d->worker->now_ms + d->idle_ms);
}

void down_advance(struct down *d)
{
	switch (d->state) {
	case DOWN_SNIFF:
		down_sniff(d);
		break;
	case DOWN_ASKED:
		break;
	case DOWN_HEAD:
		if (d->may_h2 && down_sniff_streams(d))
			break;
		/* pipelined requests one after the other, each when the one before is answered */
		d->advancing = true;
		while (!d->dead && d->state == DOWN_HEAD && buf_len(&d->in) &&
		       buf_len(&d->out) < PROXY_HIGH_WATER) {
			size_t before = buf_len(&d->in);
			uint32_t number = d->exchanges;

			exchange_start(d);
			if (!d->dead && d->state == DOWN_HEAD && buf_len(&d->in) == before &&
			    d->exchanges == number)
				break;
		}
		d->advancing = false;
		if (!d->dead && d->state == DOWN_HEAD) {
			image_enter(d);
			down_head_wait(d);
			image_leave(d);
		}
		break;
	case DOWN_EXCHANGE:
		if (!d->x->req_done)
			exchange_request_data(d->x);
		break;
	case DOWN_TUNNEL:
		tcp_move(d);
		break;
	case DOWN_STREAMS:
		h2_receive(d);
		break;
	case DOWN_CLOSING:
		buf_free(d->worker, &d->in);
		break;
	}
}

/* The end goes to the endpoint of a TCP chain, once the connection may go on. */
static bool end_waits(struct down *d)
{
	const struct weft_img_chain *chain;
	bool waits;

	if (d->state != DOWN_ASKED)
		return false;
	image_enter(d);
	chain = down_chain(d);
	waits = chain && chain->kind == WEFT_CHAIN_TCP;
	image_leave(d);
	return waits;
}

/* The client sends no more. Envoy answers no request of a client that is half gone (details DC). */
static void end_seen(struct down *d)
{
	d->eof = true;
	if (d->state == DOWN_TUNNEL) {
		tcp_move(d);
		return;
	}
	if (d->state == DOWN_SNIFF && buf_len(&d->in)) {
		down_sniff(d);
		if (d->dead || d->state == DOWN_TUNNEL || d->state == DOWN_CLOSING)
			return;
	}
	if (end_waits(d)) {
		down_watch(d);
		return;
	}
	if (d->state == DOWN_CLOSING && buf_len(&d->out))
		down_watch(d); /* the last reply still goes out */
	else
		down_close(d);
}

/* The end is already there behind what was read: a request that came with it gets no answer, however fast it is. */
static void read_end(struct down *d)
{
	ssize_t n = buf_read(d->worker, &d->in, d->watch.fd, PROXY_BUF / 2);

	if (n > 0) {
		d->received += (uint64_t)n;
		down_advance(d);
	} else if (!n) {
		end_seen(d);
	}
}

void down_event(struct down *d, uint32_t events)
{
	ssize_t n = -EAGAIN;

	if (events & EPOLLOUT) {
		down_flush(d);
		if (d->dead)
			return;
		if (d->state == DOWN_EXCHANGE)
			exchange_resume(d->x);
		else if (d->state == DOWN_TUNNEL)
			tcp_move(d);
		else if (d->state == DOWN_STREAMS)
			h2_due(d);
		else if (d->state == DOWN_HEAD && buf_len(&d->in))
			down_advance(d);
		else if (d->state == DOWN_HEAD)
			slot_give_back(d);
	}
	if (d->dead || !(events & (EPOLLIN | EPOLLHUP | EPOLLERR | EPOLLRDHUP)))
		return;
	if (d->deaf) {
		if (events & (EPOLLHUP | EPOLLERR | EPOLLRDHUP))
			down_close(d);
		return;
	}
	if (events & (EPOLLIN | EPOLLRDHUP)) {
		if (d->state == DOWN_TUNNEL) {
			tcp_move(d);
			return;
		}
		n = buf_read(d->worker, &d->in, d->watch.fd, PROXY_BUF / 2);
	}
	if (n > 0) {
		d->received += (uint64_t)n;
		down_advance(d);
		if (!d->dead && events & EPOLLRDHUP && d->state == DOWN_EXCHANGE && !d->eof)
			read_end(d);
		if (!d->dead)
			down_watch(d);
	} else if (!n) {
		end_seen(d);
	} else if (n != -EAGAIN || events & (EPOLLHUP | EPOLLERR)) {
		down_close(d);
	}
}
