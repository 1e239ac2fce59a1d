// SPDX-License-Identifier: Apache-2.0
/* Requests that rate limit services are asked about: what is asked, and that they wait. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/proxy/limiter.h"

static struct worker *worker_of(struct weft_limiter *l)
{
	return (struct worker *)((char *)l - offsetof(struct worker, limiter));
}

static struct limiter *limiter_of(struct weft_limiter *l)
{
	return worker_of(l)->judged->hold.limiter;
}

/* ---- its answer has come ---- */

static void answered(struct asker *asker, rate_response *msg)
{
	struct limiter *l = (struct limiter *)asker;
	struct answer *a = &l->answer[l->n++];

	l->call = NULL;
	if (msg && !answer_is_good(msg)) {
		protobuf_c_message_free_unpacked(&msg->base, NULL);
		msg = NULL;
	}
	*a = l->next;
	a->msg = msg;
	a->verdict = answer_verdict(msg);
	timer_clear(&l->down->timer);
}

static void go_on(struct asker *asker)
{
	hold_over(((struct limiter *)asker)->down);
}

/* ---- the question ---- */

static void begin(struct weft_limiter *base, struct weft_req *req, const struct weft_question *q)
{
	struct worker *w = worker_of(base);
	struct down *d = w->judged;
	struct limiter *l = d->hold.limiter;

	(void)req;
	if (!l)
		l = d->hold.limiter = calloc(1, sizeof(*l));
	if (!l)
		return;
	l->asker = (struct asker){.answered = answered, .go_on = go_on};
	l->down = d;
	question_free(w, &l->asks);
	l->n_descriptor = 0;
	l->next = (struct answer){.place = q->place,
				  .key = q->key,
				  .config = q->config,
				  .told = q->config->flags & WEFT_GLOBAL_HEADERS};
	l->failed = wire_begin(w, &l->asks.message, q->domain);
}

/* A limit that an answer of a service has set: an object of two fields (Envoy). */
static struct wire_limit limit_of(const struct limiter *l, uint32_t path)
{
	const Google__Protobuf__Value *v = path ? answers_value(l, weft_img_at(path)) : NULL;
	const Google__Protobuf__Struct *s =
		v && v->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_STRUCT_VALUE ? v->struct_value
										: NULL;
	struct wire_limit out = {0};
	bool requests = false;
	int unit = -1;

	for (size_t i = 0; s && i < s->n_fields; i++) {
		const Google__Protobuf__Value *f = s->fields[i]->value;

		if (!f)
			continue;
		if (!strcmp(s->fields[i]->key, "unit") &&
		    f->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE)
			unit = wire_unit(f->string_value);
		if (!strcmp(s->fields[i]->key, "requests_per_unit") &&
		    f->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_NUMBER_VALUE &&
		    f->number_value >= 0 && f->number_value <= UINT32_MAX) {
			requests = true;
			out.requests = (uint32_t)f->number_value;
		}
	}
	out.set = requests && unit >= 0;
	out.unit = out.set ? (uint32_t)unit : 0;
	return out;
}

static void descriptor(struct weft_limiter *base, const struct weft_rate_found *e, __u32 n,
		       const struct weft_img_rate_rule *rule, const __u64 *hits)
{
	struct limiter *l = limiter_of(base);
	struct wire_limit limit;
	uint64_t says = hits ? *hits : 0;

	if (!l || l->failed)
		return;
	limit = limit_of(l, rule->limit);
	if (rule->flags & WEFT_RULE_LIMIT)
		limit = (struct wire_limit){
			.requests = rule->requests, .unit = rule->unit, .set = true};
	if (l->n_descriptor == LIMITER_DESCRIPTORS_MAX) {
		l->failed = true;
		return;
	}
	l->next.tell[l->n_descriptor++] = rule->tell == WEFT_RATE_TELL_ON ||
					  (rule->tell == WEFT_RATE_TELL_DEFAULT && l->next.told);
	l->next.n_tell = l->n_descriptor;
	l->failed = wire_descriptor(worker_of(base), &l->asks.message, e, n, &limit,
				    hits ? &says : NULL);
}

/* ---- the answer ---- */

static struct answer *answer_find(struct limiter *l, const struct weft_question *q)
{
	for (uint32_t i = 0; i < l->n; i++) {
		if (l->answer[i].place == q->place && l->answer[i].key == q->key)
			return &l->answer[i];
	}
	return NULL;
}

/* Of what the counters of a request's limits are. */
static struct weft_rate_text cluster_of(const struct weft_req *req)
{
	const struct weft_img_target *t = weft_img_at(req->dec.target);

	if (t->slot && t->slot != WEFT_SLOT_HASHED)
		return (struct weft_rate_text){req->head + req->value[t->slot - 1].off,
					       req->value[t->slot - 1].len};
	return (struct weft_rate_text){weft_img_at(t->name.off), t->name.len};
}

static void count(struct worker *w, const struct weft_req *req, const struct weft_question *q,
		  enum limiter_count what)
{
	limiter_count(w, w->judged->pod->id, cluster_of(req), q->config->stat_prefix, what);
}

static enum weft_verdict ask(struct weft_limiter *base, struct weft_req *req,
			     const struct weft_question *q)
{
	static const enum limiter_count of[] = {[WEFT_VERDICT_OK] = LIMITER_OK,
						[WEFT_VERDICT_OVER] = LIMITER_OVER,
						[WEFT_VERDICT_ERROR] = LIMITER_ERROR};
	struct worker *w = worker_of(base);
	struct limiter *l = limiter_of(base);
	struct answer *a;

	if (!l || l->failed)
		return WEFT_VERDICT_ERROR;
	if (!l->n_descriptor)
		return WEFT_VERDICT_NONE;
	a = answer_find(l, q);
	if (a) {
		a->config = q->config;
		if (!a->counted)
			count(w, req, q, of[a->verdict]);
		a->counted = true;
		return a->verdict;
	}
	if (l->n == WEFT_FILTERS_MAX ||
	    question_complete(w->judged, req, &q->config->service, &l->asks))
		return WEFT_VERDICT_ERROR;
	return WEFT_VERDICT_WAIT;
}

/* Once for a filter, however often the request is decided. */
static void done(struct weft_limiter *base, struct weft_req *req, const struct weft_question *q)
{
	struct worker *w = worker_of(base);
	struct limiter *l = limiter_of(base);

	/* those of ask() stand in front: only what came behind them is of the end */
	if (!l || l->failed)
		return;
	for (uint32_t i = 0; i < l->n_done; i++) {
		if (l->done_place[i] == q->place)
			return;
	}
	if (l->n_done == WEFT_FILTERS_MAX || !l->n_descriptor ||
	    question_complete(w->judged, req, &q->config->service, &l->asks))
		return;
	l->done_place[l->n_done] = q->place;
	l->done[l->n_done++] = l->asks;
	l->asks = (struct question){0};
}

static void pass(struct weft_limiter *base, struct weft_req *req, const struct weft_question *q,
		 enum weft_verdict v)
{
	struct limiter *l = limiter_of(base);
	struct answer *a = l ? answer_find(l, q) : NULL;

	if (v == WEFT_VERDICT_ERROR && (!a || !a->passed))
		count(worker_of(base), req, q, LIMITER_ALLOWED);
	if (!a)
		return;
	a->passed = true;
	answer_request(worker_of(base), req, a);
}

static struct weft_rate_text metadata(struct weft_limiter *base,
				      const struct weft_img_rate_path *path)
{
	const struct limiter *l = limiter_of(base);
	const Google__Protobuf__Value *v = l ? answers_value(l, path) : NULL;

	if (!v || v->kind_case != GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE)
		return (struct weft_rate_text){NULL, 0};
	return (struct weft_rate_text){(const __u8 *)v->string_value,
				       (__u32)strlen(v->string_value)};
}

void limiter_attach(struct down *d, struct weft_ctx *ctx)
{
	struct worker *w = d->worker;

	w->limiter = (struct weft_limiter){.begin = begin,
					   .descriptor = descriptor,
					   .ask = ask,
					   .done = done,
					   .pass = pass,
					   .metadata = metadata};
	w->judged = d;
	w->added = 0;
	ctx->limiter = &w->limiter;
}

/* ---- waiting ---- */

static void idle_over(struct worker *w, struct timer *t)
{
	struct down *d = (struct down *)((char *)t - offsetof(struct down, timer));
	struct limiter *l = d->hold.limiter;

	call_cancel(l->call);
	asker_answered(w, &l->asker, NULL);
}

void limiter_wait(struct exchange *x, struct weft_req *req)
{
	struct down *d = x->down;
	struct limiter *l = d->hold.limiter;

	memcpy(l->request_id, x->request_id, sizeof(l->request_id));
	l->n_add = req->dec.n_add;
	memcpy(l->add, req->dec.add, sizeof(l->add));
	timer_clear(&d->timer);
	if (!l->asks.timeout_ms && x->hcm->stream_idle_ms) {
		/* a service may take as long as it likes, its client not */
		d->timer.fire = idle_over;
		timer_set(d->worker, &d->timer, d->worker->now_ms + x->hcm->stream_idle_ms);
	}
	if (call_begin(d, &l->asks, &l->asker, &l->call))
		asker_answered(d->worker, &l->asker, NULL);
}

void limiter_resume(struct down *d, struct weft_req *req)
{
	const struct limiter *l = d->hold.limiter;

	for (uint32_t i = 0; l && i < l->n_add && req->dec.n_add < WEFT_FILTERS_MAX; i++) {
		bool have = false;

		for (uint32_t k = 0; k < req->dec.n_add; k++)
			have = have || req->dec.add[k] == l->add[i];
		if (!have && req->dec.epoch == d->hold.epoch)
			req->dec.add[req->dec.n_add++] = l->add[i];
	}
}

void asker_answered(struct worker *w, struct asker *a, rate_response *msg)
{
	a->answered(a, msg);
	a->ready = true;
	TAILQ_INSERT_TAIL(&w->askers, a, link);
}

void asker_forget(struct worker *w, struct asker *a)
{
	if (a->ready)
		TAILQ_REMOVE(&w->askers, a, link);
	a->ready = false;
}

void askers_run(struct worker *w)
{
	struct asker *a;

	while ((a = TAILQ_FIRST(&w->askers))) {
		asker_forget(w, a);
		a->go_on(a);
	}
}

void limiter_free(struct limiter *l, bool last)
{
	struct down *d = l->down;
	struct worker *w = d->worker;
	/* who goes away before the answer is asked for no more (Envoy) */
	bool ends = !l->call && !(last && d->hold.waits);

	if (l->call)
		call_cancel(l->call);
	asker_forget(w, &l->asker);
	for (uint32_t i = 0; i < l->n_done; i++) {
		if (ends && !d->pod->closing)
			call_begin(d, &l->done[i], NULL, NULL);
		else
			question_free(w, &l->done[i]);
	}
	for (uint32_t i = 0; i < l->n; i++) {
		if (l->answer[i].msg)
			protobuf_c_message_free_unpacked(&l->answer[i].msg->base, NULL);
	}
	question_free(w, &l->asks);
	free(l);
}
