// SPDX-License-Identifier: Apache-2.0
/*
 * Connections that rate limit services are asked about before they go on
 * (envoy.filters.network.ratelimit): what the client sends meanwhile stays in `in`, as far as there
 * is room, and no program looks at it.
 */
#include <stdlib.h>

#include "agent/proxy/limiter.h"
#include "agent/proxy/mutate.h"

struct conn_limiter {
	struct asker asker; /* first */
	struct down *down;
	struct call *call;	 /* under way */
	uint32_t n_ask, n_limit; /* of the chain's filters, behind us */
	bool deny;
	enum weft_verdict verdict;
	struct limiter_cell *stats; /* of the question at hand */
};

static bool local_pass(struct down *d, const struct weft_img_chain *chain, uint32_t *from,
		       uint32_t to)
{
	for (; *from < to && *from < chain->n_conn_limit; ++*from) {
		const struct weft_img_bucket *b = weft_img_at(chain->conn_limit[*from]);
		uint32_t cell = worker_cell(d->worker, d->pod->id, b->cell);

		if (!cell || !weft_bucket_take(cell, b, d->worker->now_ns)) {
			if (cell)
				COUNT(weft_cell_bucket(cell)->rate_limited, 1);
			local_count(WEFT_OUTCOME_REFUSED_RATE);
			return false;
		}
		COUNT(weft_cell_bucket(cell)->ok, 1);
	}
	return true;
}

/* ---- the answer ---- */

static void answered(struct asker *asker, rate_response *msg)
{
	struct conn_limiter *c = (struct conn_limiter *)asker;

	c->call = NULL;
	c->verdict = answer_verdict(msg);
	if (msg)
		protobuf_c_message_free_unpacked(&msg->base, NULL);
}

/* The connection may go on. */
static bool counted(struct conn_limiter *c)
{
	static const enum limiter_count of[] = {[WEFT_VERDICT_OK] = LIMITER_OK,
						[WEFT_VERDICT_OVER] = LIMITER_OVER,
						[WEFT_VERDICT_ERROR] = LIMITER_ERROR};
	bool goes = c->verdict == WEFT_VERDICT_OK || (c->verdict == WEFT_VERDICT_ERROR && !c->deny);

	limiter_conn_count(c->stats, LIMITER_ACTIVE, -1);
	limiter_conn_count(c->stats, of[c->verdict], 1);
	if (!goes)
		limiter_conn_count(c->stats, LIMITER_CLOSED, 1);
	else if (c->verdict == WEFT_VERDICT_ERROR)
		limiter_conn_count(c->stats, LIMITER_ALLOWED, 1);
	c->stats = NULL;
	return goes;
}

static void go_on(struct asker *asker)
{
	struct conn_limiter *c = (struct conn_limiter *)asker;
	struct down *d = c->down;

	if (counted(c)) {
		c->n_ask++;
		down_classified(d);
		return;
	}
	local_count(c->verdict == WEFT_VERDICT_OVER ? WEFT_OUTCOME_REFUSED_RATE
						    : WEFT_OUTCOME_LIMITER_ERROR);
	down_close(d);
}

/* ---- the question ---- */

static int descriptor_put(struct down *d, const struct weft_img_conn_descriptor *desc,
			  struct buf *message)
{
	const struct weft_img_conn_entry *e = weft_img_at(desc->entry);
	struct weft_rate_found found[WEFT_CONN_ENTRIES_MAX];
	struct buf value[WEFT_CONN_ENTRIES_MAX] = {0};
	const struct wire_limit none = {0};
	struct format f = {.d = d, .conn = true};
	struct worker *w = d->worker;
	int r = 0;

	for (uint32_t i = 0; !r && i < desc->n; i++) {
		r = format_value(w, &f, &e[i].value, &value[i]);
		found[i].key = (struct weft_rate_text){weft_img_at(e[i].key.off), e[i].key.len};
		found[i].value =
			(struct weft_rate_text){buf_at(&value[i]), (uint32_t)buf_len(&value[i])};
	}
	if (!r)
		r = wire_descriptor(w, message, found, desc->n, &none, NULL);
	for (uint32_t i = 0; i < desc->n; i++)
		buf_free(w, &value[i]);
	return r;
}

/* false: there is no memory for it. */
static bool ask(struct conn_limiter *c, const struct weft_img_conn_ask *a)
{
	const struct weft_img_conn_descriptor *desc = weft_img_at(a->descriptor);
	struct down *d = c->down;
	struct worker *w = d->worker;
	struct question q = {0};
	int r = wire_begin(w, &q.message, a->domain);

	for (uint32_t i = 0; !r && i < a->n; i++)
		r = descriptor_put(d, &desc[i], &q.message);
	if (!r)
		r = question_complete(d, NULL, &a->service, &q);
	if (!r)
		r = call_begin(d, &q, &c->asker, &c->call);
	else
		question_free(w, &q);
	return !r;
}

static void begin(struct conn_limiter *c, const struct weft_img_conn_ask *a)
{
	struct down *d = c->down;

	c->deny = a->deny;
	c->stats = limiter_conn_cell(d->worker, d->pod->id, a->stat_prefix);
	limiter_conn_count(c->stats, LIMITER_TOTAL, 1);
	limiter_conn_count(c->stats, LIMITER_ACTIVE, 1);
	d->state = DOWN_ASKED;
	if (!ask(c, a))
		asker_answered(d->worker, &c->asker, NULL);
	down_watch(d);
}

bool conn_limits_pass(struct down *d, const struct weft_img_chain *chain)
{
	struct conn_limiter *c = d->asks;
	uint32_t none = 0, *passed = c ? &c->n_limit : &none;

	/* connect() has taken them of the chain that there was */
	if (d->limits_paid)
		*passed = chain->n_conn_limit;
	if (chain->n_ask && !c) {
		c = calloc(1, sizeof(*c));
		if (!c) {
			down_close(d);
			return false;
		}
		c->asker = (struct asker){.answered = answered, .go_on = go_on};
		c->down = d;
		c->n_limit = *passed;
		passed = &c->n_limit;
		d->asks = c;
	}
	if (c && c->n_ask < chain->n_ask) {
		const struct weft_img_conn_ask *a = weft_img_at(chain->ask[c->n_ask]);

		if (local_pass(d, chain, passed, a->after))
			begin(c, a);
		else
			down_close(d);
		return false;
	}
	if (!local_pass(d, chain, passed, chain->n_conn_limit)) {
		down_close(d);
		return false;
	}
	d->limits_paid = true;
	conn_limits_end(d);
	return true;
}

void conn_limits_end(struct down *d)
{
	struct conn_limiter *c = d->asks;

	d->asks = NULL;
	if (!c)
		return;
	if (c->call)
		call_cancel(c->call);
	asker_forget(d->worker, &c->asker);
	limiter_conn_count(c->stats, LIMITER_ACTIVE, -1);
	free(c);
}
