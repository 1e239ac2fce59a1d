// SPDX-License-Identifier: Apache-2.0
/*
 * Responses that faults hold to a rate (response_rate_limit): Envoy's stream rate limiter. A bucket
 * of one second's bytes that has a twentieth of them when the request is judged, and fills all the
 * time; what it has no tokens for waits 50 ms. Heads are not held.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/proxy/pace.h"

struct pace {
	struct exchange *x;
	struct pace *next; /* the bytes' way to the client; NULL: that is the client */
	struct timer timer;
	struct buf waits;
	double rate, tokens; /* bytes, a second of them also the most */
	uint64_t filled_ns;
	uint32_t cell; /* place of active_faults */
	bool end;      /* nothing comes behind what waits */
};

/* More tokens than these bytes need stay. How many may go. */
static size_t take(struct pace *p, uint64_t now_ns, size_t want)
{
	double n;

	if (p->tokens < p->rate) {
		p->tokens += (double)(now_ns - p->filled_ns) / 1e9 * p->rate;
		p->filled_ns = now_ns;
		if (p->tokens > p->rate)
			p->tokens = p->rate;
	}
	n = (double)want < p->tokens ? (double)want : (double)(uint64_t)p->tokens;
	p->tokens -= n;
	return (size_t)n;
}

/* -ENOMEM. */
static int move(struct pace *p)
{
	struct worker *w = p->x->down->worker;
	size_t n = take(p, w->now_ns, buf_len(&p->waits));
	const uint8_t *data = buf_at(&p->waits);
	bool end = p->end && n == buf_len(&p->waits);
	int r = 0;

	if (n || end)
		r = p->next ? pace_add(p->next, data, n, end)
			    : exchange_data_out(p->x, data, n, end);
	buf_consume(w, &p->waits, n);
	if (buf_len(&p->waits))
		timer_set(w, &p->timer, w->now_ms + PROXY_PACE_MS);
	return r;
}

int pace_add(struct pace *p, const uint8_t *data, size_t len, bool end)
{
	int r = buf_add(p->x->down->worker, &p->waits, data, len);

	p->end = end;
	return r || p->timer.at ? r : move(p);
}

static void pace_over(struct worker *w, struct timer *t)
{
	struct pace *p = (struct pace *)((char *)t - offsetof(struct pace, timer));
	struct exchange *x = p->x;

	(void)w;
	if (move(p))
		down_close(x->down);
	else
		exchange_paced(x);
}

size_t pace_waits(const struct exchange *x)
{
	size_t n = 0;

	for (const struct pace *p = x->pace; p; p = p->next)
		n += buf_len(&p->waits);
	return n;
}

int pace_begin(struct exchange *x, const struct weft_decision *dec)
{
	struct worker *w = x->down->worker;

	for (uint32_t i = 0; i < dec->n_rate && !x->down->mirror; i++) {
		const struct weft_rate *rate = &dec->rate[i];
		struct pace *p = calloc(1, sizeof(*p));

		if (!p)
			return -ENOMEM;
		p->x = x;
		p->rate = rate->kbps * 1024.0;
		p->tokens = p->rate / 20;
		p->filled_ns = w->now_ns;
		p->timer.fire = pace_over;
		COUNT(weft_cell_filter(rate->cell)->rates, 1);
		if (rate->cell != x->down->hold.cell) { /* that has its place already */
			p->cell = rate->cell;
			__atomic_fetch_add(&weft_cell_filter(p->cell)->active, 1, __ATOMIC_RELAXED);
		}
		p->next = x->pace; /* responses go through the filters from the last to the first */
		x->pace = p;
	}
	return 0;
}

bool pace_reply(struct exchange *x, size_t from, bool close)
{
	struct down *d = x->down;
	size_t len = d->dead ? 0 : buf_len(&d->out) - from;
	const uint8_t *head = len ? memmem(buf_at(&d->out) + from, len, "\r\n\r\n", 4) : NULL;
	struct buf body = {0};
	int r;

	if (!x->pace || !head)
		return false;
	len = (size_t)(buf_at(&d->out) + buf_len(&d->out) - head) - 4;
	x->chunked_out = false;
	r = buf_add(d->worker, &body, head + 4, len);
	if (!r) {
		d->out.end -= len;
		r = pace_add(x->pace, buf_at(&body), len, true);
	}
	buf_free(d->worker, &body);
	if (!r && !pace_waits(x))
		return false;
	if (r) {
		down_close(d);
		return true;
	}
	x->req_rest = !x->req_done;
	x->judging = false;
	x->req_done = x->resp_started = x->resp_head = x->resp_body.done = true;
	x->resp_close = close;
	exchange_keep(x); /* it may take long */
	d->state = DOWN_EXCHANGE;
	down_flush(d);
	return true;
}

void pace_end(struct exchange *x)
{
	while (x->pace) {
		struct pace *p = x->pace;

		x->pace = p->next;
		timer_remove(&p->timer);
		buf_free(x->down->worker, &p->waits);
		if (p->cell)
			weft_place_put(&weft_cell_filter(p->cell)->active);
		free(p);
	}
}
