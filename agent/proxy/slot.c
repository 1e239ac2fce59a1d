// SPDX-License-Identifier: Apache-2.0
/* The hand-over between kernel and agent (bpf/abi/state.h: struct weft_slot). */
#include <string.h>

#include "agent/proxy/internal.h"

bool slot_accept(struct down *d, const struct weft_sockaddr *local)
{
	const struct weft_proxy_ops *ops = &d->worker->proxy->ops;
	struct weft_orig_key key = {.netns = d->pod->cookie, .client = d->client, .agent = *local};
	struct weft_orig orig = {0};

	if (ops->orig_take(ops->ctx, &key, &orig))
		return false;
	d->dst = orig.dst;
	d->slot = orig.slot;
	d->gen = orig.gen;
	d->no_slot = orig.why;
	d->limits_paid = orig.flags & WEFT_ORIG_LIMITS_PAID;
	return true;
}

void slot_release(struct down *d)
{
	const struct weft_proxy_ops *ops = &d->worker->proxy->ops;

	if (d->slot)
		ops->slot_release(ops->ctx, d->slot, d->gen);
	d->slot = 0;
}

static void dropped(struct down *d)
{
	COUNT(d->worker->stats.dropped, 1);
	COUNT(weft_state_head()->decisions_dropped, 1);
}

/* The record's decision with what the image says of it. */
static void take(struct weft_req *req, const struct weft_ctx *ctx, const struct weft_record *rec)
{
	struct weft_decision *dec = &req->dec;
	const struct weft_img_view *view = weft_img_at(ctx->view_off);
	const struct weft_img_route *route = rec->route ? weft_img_at(rec->route) : NULL;

	dec->outcome = rec->outcome;
	dec->vhost = rec->vhost;
	dec->route = rec->route;
	dec->target = rec->target;
	dec->reply = rec->reply;
	dec->n_paid = rec->n_paid;
	memcpy(dec->paid, rec->paid, sizeof(dec->paid));
	if (route && route->action_kind == WEFT_ACTION_FORWARD)
		dec->forward = route->action;
	if (route && route->action_kind == WEFT_ACTION_REDIRECT)
		dec->redirect = route->action;
	if (rec->target) {
		const struct weft_img_target *t = weft_img_at(rec->target);

		dec->cluster_id = t->cluster;
		if (t->cluster < view->n_cluster) {
			const struct weft_img_cluster_ref *ref =
				(const struct weft_img_cluster_ref *)weft_img_at(view->cluster) +
				t->cluster;

			dec->cluster = ref->cluster;
			dec->endpoints = ref->endpoints;
		}
	}
}

void slot_prepay(struct weft_ctx *ctx, uint32_t epoch, const uint32_t *paid, uint32_t n)
{
	ctx->n_prepaid = 0;
	for (uint32_t i = 0; i < n && i < WEFT_PAID_MAX; i++) {
		const __u32 *since = &weft_cell_bucket(paid[i])->since;

		if (epoch >= __atomic_load_n(since, __ATOMIC_RELAXED))
			ctx->prepaid[ctx->n_prepaid++] = paid[i];
	}
}

bool slot_record(struct down *d, struct weft_req *req, struct weft_ctx *ctx, uint64_t position)
{
	const struct weft_slot *slot = d->slot ? weft_slot_at(d->slot) : NULL;
	struct weft_record rec;
	uint32_t exchange;

	if (!slot)
		return false;
	exchange = __atomic_load_n(&slot->rec.exchange, __ATOMIC_ACQUIRE);
	if (exchange == d->record)
		return false; /* nothing new was recorded */
	rec = slot->rec;
	if (rec.hash != req->hash || rec.position != position) {
		/* of another head: it may still come; one that lies behind never will */
		if (rec.position < position) {
			d->record = exchange;
			dropped(d);
		}
		return false;
	}
	d->record = exchange;
	if (rec.epoch != ctx->epoch || rec.outcome == WEFT_OUTCOME_NONE || exchange != rec.exchange) {
		/* decided anew, but what this head has paid for is paid */
		slot_prepay(ctx, rec.epoch, rec.paid, rec.n_paid);
		ctx->random = rec.random;
		dropped(d);
		return false;
	}
	take(req, ctx, &rec);
	ctx->random = rec.random;
	COUNT(d->worker->stats.honoured, 1);
	COUNT(weft_state_head()->decisions_honoured, 1);
	return true;
}

void slot_take(struct down *d)
{
	struct weft_slot *slot = d->slot ? weft_slot_at(d->slot) : NULL;
	__u64 word;

	if (!slot)
		return;
	word = __atomic_load_n(&slot->word, __ATOMIC_ACQUIRE);
	/* a program that is about to pass bytes does the same */
	if (word >> WEFT_OWNER_SHIFT == WEFT_OWNER_KERNEL)
		__atomic_compare_exchange_n(&slot->word, &word,
					    WEFT_OWNER_AGENT << WEFT_OWNER_SHIFT |
						    (word & WEFT_PASSED_MASK),
					    false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
}

void slot_give_back(struct down *d)
{
	struct weft_slot *slot = d->slot ? weft_slot_at(d->slot) : NULL;
	__u64 want, give;

	if (!slot || d->state != DOWN_HEAD || d->eof || d->drain || buf_len(&d->in) ||
	    buf_len(&d->out))
		return;
	want = WEFT_OWNER_AGENT << WEFT_OWNER_SHIFT | (d->received & WEFT_PASSED_MASK);
	give = WEFT_OWNER_KERNEL << WEFT_OWNER_SHIFT | (d->received & WEFT_PASSED_MASK);
	if (__atomic_load_n(&slot->word, __ATOMIC_ACQUIRE) != want)
		return;
	__atomic_store_n(&slot->agent_tx, d->sent, __ATOMIC_RELEASE);
	__atomic_compare_exchange_n(&slot->word, &want, give, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
}
