// SPDX-License-Identifier: Apache-2.0
/* A request that waits before it is carried out or answered: injected delays; for questions to rate
 * limit services see limiter.c. */
#include <string.h>

#include "agent/proxy/limiter.h"

void hold_over(struct down *d)
{
	d->hold.waits = false;
	d->looked = 0;
	d->parses = 0;
	down_advance(d);
	if (!d->dead)
		down_watch(d);
}

static void delay_over(struct worker *w, struct timer *t)
{
	struct down *d = (struct down *)((char *)t - offsetof(struct down, timer));

	(void)w;
	d->hold.over = true;
	hold_over(d);
}

void hold_keep(struct down *d, const struct weft_req *req, const struct weft_ctx *ctx)
{
	struct down_hold *h = &d->hold;

	h->waits = true;
	h->random = ctx->random;
	h->n_prepaid = req->dec.n_paid < WEFT_PAID_MAX ? req->dec.n_paid : WEFT_PAID_MAX;
	memcpy(h->prepaid, req->dec.paid, sizeof(h->prepaid));
	h->epoch = req->dec.epoch;
	h->passed = req->ran > h->passed ? req->ran : h->passed;
}

void hold_begin(struct down *d, const struct weft_req *req, const struct weft_ctx *ctx)
{
	struct down_hold *h = &d->hold;

	hold_keep(d, req, ctx);
	h->cell = req->dec.delay_cell;
	if (h->cell) {
		__atomic_fetch_add(&weft_cell_filter(h->cell)->active, 1, __ATOMIC_RELAXED);
		COUNT(weft_cell_filter(h->cell)->delays, 1);
	}
	d->timer.fire = delay_over;
	timer_set(d->worker, &d->timer, d->worker->now_ms + req->dec.delay_ms);
}

void hold_resume(const struct down *d, struct weft_ctx *ctx)
{
	const struct down_hold *h = &d->hold;

	if (!hold_again(d))
		return;
	ctx->flags |= h->over ? WEFT_CTX_DELAYED : 0;
	ctx->random = h->random;
	ctx->passed = h->passed;
	slot_prepay(ctx, h->epoch, h->prepaid, h->n_prepaid);
}

void hold_end(struct down *d)
{
	if (d->hold.limiter)
		limiter_free(d->hold.limiter, d->dead);
	if (d->hold.cell)
		weft_place_put(&weft_cell_filter(d->hold.cell)->active);
	d->hold = (struct down_hold){0};
}
