// SPDX-License-Identifier: Apache-2.0
/* Requests that rate limit services are asked about: what is asked, and that they wait. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/proxy/limiter.h"
#include "agent/proxy/mutate.h"

void question_free(struct worker *w, struct question *q)
{
	buf_free(w, &q->message);
	buf_free(w, &q->head);
	free(q->cluster);
	*q = (struct question){0};
}

static struct worker *worker_of(struct weft_limiter *l)
{
	return (struct worker *)((char *)l - offsetof(struct worker, limiter));
}

static struct limiter *limiter_of(struct weft_limiter *l)
{
	return worker_of(l)->judged->hold.limiter;
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
		       const struct weft_img_rate_rule *rule, bool own)
{
	struct limiter *l = limiter_of(base);
	struct wire_limit limit;
	uint64_t hits = rule->hits;
	bool says = own && rule->flags & WEFT_RULE_HITS;

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
				    says ? &hits : NULL);
}

/* Units that keep it within eight digits (gRPC over HTTP/2). */
static int timeout_line(struct worker *w, struct buf *b, uint32_t ms)
{
	if (!ms)
		return 0;
	return ms < 100000000 ? buf_printf(w, b, "grpc-timeout: %um\r\n", ms)
			      : buf_printf(w, b, "grpc-timeout: %uS\r\n", ms / 1000);
}

static int metadata_lines(struct worker *w, const struct weft_req *req,
			  const struct weft_img_service *s, struct buf *out)
{
	const struct weft_img_header *h = s->n_metadata ? weft_img_at(s->metadata) : NULL;
	struct down *d = w->judged;
	struct format f = {.d = d, .x = d->x};
	struct buf head = {0}, value = {0};
	int r = s->n_metadata ? request_sent(w, req, &head) : 0;

	f.req = buf_at(&head);
	f.req_len = buf_len(&head);
	for (uint32_t i = 0; !r && i < s->n_metadata; i++) {
		r = format_value(w, &f, &h[i], &value);
		if (!r)
			r = line_add(w, out, weft_img_at(h[i].name.off), h[i].name.len,
				     buf_at(&value), buf_len(&value));
		buf_consume(w, &value, buf_len(&value));
	}
	buf_free(w, &head);
	buf_free(w, &value);
	return r;
}

/* What Envoy's own client says of itself: that it is an internal one, and its address. */
static int own_lines(struct worker *w, const struct weft_img_service *s, struct buf *b)
{
	const struct weft_addr *a = &down_conn(w->judged)->client.addr;
	bool v4 = !a->w[0] && !a->w[1] && a->w[2] == htonl(0xffff);
	char ip[INET6_ADDRSTRLEN];
	int r;

	if (s->flags & WEFT_GLOBAL_PLAIN)
		return 0;
	if (!inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? (const void *)&a->w[3] : (const void *)a->w,
		       ip, sizeof(ip)))
		return -EINVAL;
	r = buf_printf(w, b, "x-envoy-internal: true\r\nx-forwarded-for: %s\r\n", ip);
	return r || !s->timeout_ms
		       ? r
		       : buf_printf(w, b, "x-envoy-expected-rq-timeout-ms: %u\r\n", s->timeout_ms);
}

/* The question is whole: its head, and whom it goes to. -ENOMEM. */
static int complete(struct worker *w, const struct weft_req *req, const struct weft_img_service *s,
		    struct question *q)
{
	struct buf *b = &q->head;
	int r = buf_printf(
		w, b,
		"POST /envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit HTTP/1.1\r\n"
		"host: %.*s\r\nte: trailers\r\n",
		(int)s->authority.len, (const char *)weft_img_at(s->authority.off));

	wire_end(&q->message);
	if (!r)
		r = timeout_line(w, b, s->timeout_ms);
	if (!r)
		r = buf_printf(w, b, "content-type: application/grpc\r\n");
	if (!r)
		r = metadata_lines(w, req, s, b);
	if (!r)
		r = own_lines(w, s, b);
	q->timeout_ms = s->timeout_ms;
	q->max_bytes = s->max_bytes;
	q->cluster = strndup(weft_img_at(s->name.off), s->name.len);
	return r || !q->cluster ? -ENOMEM : 0;
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
	if (l->n == WEFT_FILTERS_MAX || complete(w, req, &q->config->service, &l->asks))
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
	    complete(w, req, &q->config->service, &l->asks))
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

	(void)w;
	call_cancel(l->call);
	l->call = NULL;
	limiter_answered(l, NULL);
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
	if (call_begin(d, &l->asks, l, &l->call))
		limiter_answered(l, NULL);
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

void limiter_answered(struct limiter *l, rate_response *msg)
{
	struct answer *a = &l->answer[l->n++];

	l->call = NULL;
	if (msg && !answer_is_good(msg)) {
		protobuf_c_message_free_unpacked(&msg->base, NULL);
		msg = NULL;
	}
	*a = l->next;
	a->msg = msg;
	a->verdict =
		!msg ? WEFT_VERDICT_ERROR
		: msg->overall_code ==
				ENVOY__SERVICE__RATELIMIT__V3__RATE_LIMIT_RESPONSE__CODE__OVER_LIMIT
			? WEFT_VERDICT_OVER
			: WEFT_VERDICT_OK;
	timer_clear(&l->down->timer);
	l->ready = true;
	TAILQ_INSERT_TAIL(&l->down->worker->limiters, l, link);
}

void limiters_run(struct worker *w)
{
	struct limiter *l;

	while ((l = TAILQ_FIRST(&w->limiters))) {
		TAILQ_REMOVE(&w->limiters, l, link);
		l->ready = false;
		hold_over(l->down);
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
	if (l->ready)
		TAILQ_REMOVE(&w->limiters, l, link);
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
