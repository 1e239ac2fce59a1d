// SPDX-License-Identifier: Apache-2.0
/* Replies that are made here: of rules (from the image), and the proxy's own (codec errors, upstream failures). */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "agent/cleanup.h"
#include "agent/compile/reply.h"
#include "agent/proxy/grpc.h"
#include "agent/proxy/limiter.h"
#include "agent/proxy/local.h"
#include "agent/proxy/mutate.h"

void local_count(enum weft_outcome outcome)
{
	COUNT(weft_state_head()->outcome[1][outcome], 1);
}

/*
 * The one place that says whether the connection ends after a reply: who makes it must end it, the
 * connection takes no further request (max_requests_per_connection, or its time is over), or the
 * reply itself is one that Envoy closes after. One that drains says "connection: close" all the
 * same, and takes what comes until its drain_timeout.
 */
static bool ends_after(struct down *d, bool close, bool reply_closes)
{
	return close || down_ends(d) || reply_closes;
}

/* local_reply_config may change each reply. */
static bool is_mapped(struct down *d)
{
	const struct weft_img_hcm *h = local_manager(d);

	return h && h->mapping;
}

/* No reply of the image's goes out as it stands there. */
static bool is_worked_out(const struct exchange *x)
{
	return x->hcm->mapping || x->hcm->proper_case || x->down->old;
}

/* ---- the proxy's own ---- */

/* extra: lines of the router, after the rules'. */
static int text_write(struct down *d, const struct reply *a, const char *extra)
{
	struct worker *w = d->worker;
	struct buf text = {0};
	struct lines l = {.w = w, .b = &text};
	int r = local_rules(d, &l, a->status);

	if (!r && extra) {
		lines_remove(&l, extra, strcspn(extra, ":"));
		r = buf_add(w, &text, extra, strlen(extra));
	}
	if (!r)
		r = told_apply(d->x, &l);
	if (!r)
		r = local_reply_write(d, a, buf_at(&text), buf_len(&text));
	buf_free(w, &text);
	return r;
}

bool local_text(struct down *d, uint32_t status, const char *body, const char *details,
		const char *extra, bool close)
{
	const struct exchange *x = d->x;
	struct reply a = {.status = status,
			  .body = body,
			  .len = strlen(body),
			  .close = close,
			  .grpc = x && x->req_flags & WEFT_REQ_GRPC,
			  .head_method = x && x->head_method};

	a.close = ends_after(d, close, status == 400);
	if (details && outcome_of(d))
		outcome_details(outcome_of(d), details);
	if (text_write(d, &a, extra))
		down_close(d);
	return a.close;
}

bool local_early(struct down *d, const struct weft_req *req, const struct refused *why,
		 const char *extra)
{
	struct buf head = {0};
	const char *body = why->body;
	struct reply a = {.status = why->status, .body = body, .len = strlen(body), .head = &head};
	struct outcome o = {.flags = why->protocol ? WEFT_FLAG_BIT(DPE) : 0, .ended = true};
	int r = 0;

	outcome_details(&o, why->details);
	d->early = &o;

	/* what the parser itself refuses has no headers yet */
	if (!*body) {
		a.grpc = req->flags & WEFT_REQ_GRPC;
		a.head_method = req->flags & WEFT_REQ_HEAD_METHOD;
		r = is_mapped(d) ? request_sent(d->worker, req, &head) : 0;
	}
	a.close = ends_after(d, why->close, why->status == 400);
	if (r || text_write(d, &a, extra)) {
		o.ended = false;
		down_close(d);
	}
	outcome_early(d, *body ? NULL : req, &o);
	d->early = NULL;
	buf_free(d->worker, &head);
	return a.close;
}

bool local_attempts(struct exchange *x, uint32_t status, const char *body, const char *details,
		    bool close)
{
	char line[48];

	snprintf(line, sizeof(line), "x-envoy-attempt-count: %u\r\n", x->attempts);
	return local_text(x->down, status, body, details,
			  x->attempt_count_back && x->attempts ? line : NULL, close);
}

/* ---- replies of the image ---- */

/* Lines of a plain reply that a gRPC reply has too: those that rules added, and a redirect's location. */
static int grpc_lines(struct worker *w, struct buf *out, const char *head, size_t len)
{
	static const char *const own[] = {"HTTP/1.1 ", "content-length:", "transfer-encoding:", "content-type:",
					  "date:", "via:", "server:"};
	int r = 0;

	while (!r && len) {
		const char *end = memchr(head, '\n', len);
		size_t n = end ? (size_t)(end - head) + 1 : len;
		bool skip = n <= 2;

		for (size_t i = 0; i < sizeof(own) / sizeof(*own); i++)
			skip = skip || (n > strlen(own[i]) && !strncasecmp(head, own[i], strlen(own[i])));
		if (!skip)
			r = buf_add(w, out, head, n);
		head += n;
		len -= n;
	}
	return r;
}

/* Bytes of the body that its plan has. */
static size_t sent_len(const struct weft_img_reply *r)
{
	return r->head_off == r->insert_off ? r->len - r->head_len : 0;
}

/* What a reply of the image says, without what every reply has: filters' lines, a redirect's location. */
static int plan_lines(struct down *d, const struct weft_req *req, const struct weft_reply_plan *plan,
		      const struct weft_img_reply *r, bool head_method, struct buf *ret)
{
	struct worker *w = d->worker;
	struct buf text = {0};
	int e = buf_room(w, &text, plan->total + 8);

	if (!e) {
		weft_reply_write(req, plan, text.data);
		text.end = plan->total - (head_method ? 0 : sent_len(r));
		e = grpc_lines(w, ret, (const char *)text.data, text.end);
	}
	buf_free(w, &text);
	return e;
}

static struct reply image_reply(const struct weft_img_reply *r, bool grpc, bool head_method, bool close)
{
	return (struct reply){.status = r->status,
			      .body = weft_img_at(r->data + r->head_len),
			      .len = r->body_len,
			      .close = close,
			      .grpc = grpc,
			      .head_method = head_method,
			      .type = r->content_type,
			      .format = r->body ? weft_img_at(r->body) : NULL};
}

/* A reply as a gRPC client gets it. */
static int grpc_plan(struct down *d, const struct weft_req *req, const struct weft_reply_plan *plan,
		     const struct weft_img_reply *r, bool head_method, bool close)
{
	struct reply a = image_reply(r, true, head_method, close);
	struct buf lines = {0};
	int e = plan_lines(d, req, plan, r, head_method, &lines);

	if (!e)
		e = local_reply_write(d, &a, buf_at(&lines), buf_len(&lines));
	buf_free(d->worker, &lines);
	return e;
}

/* The filter's lines, after the rules': added, or as its own list says. */
static int filter_lines(struct down *d, uint32_t reply, bool head_method, struct lines *l)
{
	const struct weft_img_reply *r = weft_img_at(reply);
	struct weft_reply_plan plan = {0};
	struct format f = {.d = d, .x = d->x, .resp = l, .status = r->status};

	if (r->add) {
		const struct weft_img_headers *list = weft_img_at(r->add);
		struct weft_img_change c = {.n_add = list->n, .add = r->add + (uint32_t)sizeof(*list)};

		return change_apply(l, &c, &f);
	}
	if (weft_reply_plan_std(reply, head_method, &plan))
		return -EINVAL;
	return plan_lines(d, NULL, &plan, r, head_method, l->b);
}

/* The line that a redirect (or a direct response with 201 or 3xx) has before rules change it. */
static int location_line(struct down *d, const struct weft_req *req, const struct weft_reply_plan *plan,
			 const struct weft_img_reply *r, bool head_method, struct lines *l)
{
	struct buf text = {0};
	struct lines all = {.w = d->worker, .b = &text};
	struct line line;
	int e = plan_lines(d, req, plan, r, head_method, &text);

	if (!e && lines_find(&all, "location", 8, 0, &line))
		e = buf_add(d->worker, l->b, buf_at(&text) + line.at, line.end - line.at);
	buf_free(d->worker, &text);
	return e;
}

/* A reply of the image whose head depends on the request. req NULL: of an exchange that came to grief. */
static int formed_write(struct down *d, const struct weft_req *req, const struct weft_reply_plan *plan,
			uint32_t reply, bool close)
{
	const struct weft_img_reply *r = weft_img_at(reply);
	struct exchange *x = d->x;
	struct reply a = image_reply(r, x->req_flags & WEFT_REQ_GRPC, x->head_method, close);
	struct buf text = {0};
	struct lines l = {.w = d->worker, .b = &text};
	uint32_t outcome = x->dec.outcome;
	bool own = outcome == WEFT_OUTCOME_DIRECT_RESPONSE || outcome == WEFT_OUTCOME_REDIRECT;
	bool router = outcome == WEFT_OUTCOME_OVERFLOW || outcome == WEFT_OUTCOME_NO_HEALTHY_UPSTREAM ||
		      outcome == WEFT_OUTCOME_FORWARD;
	int e = own ? location_line(d, req, plan, r, x->head_method, &l) : 0;

	if (!e && outcome == WEFT_OUTCOME_REDIRECT)
		e = request_redirect(d->worker, x, &l);
	if (!e)
		e = local_rules(d, &l, r->status);
	if (!e && !own)
		e = filter_lines(d, reply, x->head_method, &l);
	if (!e && router && x->attempt_count_back) {
		lines_remove(&l, "x-envoy-attempt-count", 21);
		e = line_add_number(d->worker, &text, "x-envoy-attempt-count", 21, x->attempts ? x->attempts : 1);
	}
	if (!e)
		e = told_apply(x, &l);
	if (!e)
		e = local_reply_write(d, &a, buf_at(&text), buf_len(&text));
	buf_free(d->worker, &text);
	return e;
}

static int plan_write(struct down *d, const struct weft_req *req, struct weft_reply_plan *plan, bool close)
{
	struct worker *w = d->worker;
	struct weft_reply_plan head = *plan;
	struct weft_seg last = plan->seg[plan->n - 1];
	size_t from = buf_len(&d->out);
	int r = buf_room(w, &d->out, plan->total + 32);

	if (r)
		return r;
	/* the last piece begins with the blank line: what is added goes before it */
	head.n--;
	head.total -= last.len;
	weft_reply_write(req, &head, d->out.data + d->out.end);
	d->out.end += head.total;
	if (close || d->drain)
		r = buf_add(w, &d->out, "connection: close\r\n", 19);
	if (!r)
		r = buf_add(w, &d->out, weft_img_at(last.off), last.len);
	return r ? r : outcome_said(d, from);
}

bool local_image(struct down *d, uint32_t reply, bool close)
{
	const struct exchange *x = d->x;
	const struct weft_img_reply *r = weft_img_at(reply);
	struct weft_reply_plan plan = {0};
	int e;

	close = ends_after(d, close, r->flags & WEFT_REPLY_CLOSES);
	if (outcome_of(d))
		outcome_image(outcome_of(d), r->details);
	e = weft_reply_plan_std(reply, x && x->head_method, &plan);
	if (!e && x &&
	    (local_changes(x) || x->attempt_count_back || buf_len(&x->told) || x->id_back ||
	     is_worked_out(x)))
		e = formed_write(d, NULL, &plan, reply, close);
	else if (!e && x && x->req_flags & WEFT_REQ_GRPC)
		e = grpc_plan(d, NULL, &plan, r, x->head_method, close);
	else if (!e)
		e = plan_write(d, NULL, &plan, close);
	if (e)
		down_close(d);
	return close;
}

/* An abort that a header words, or that goes to a gRPC client: nothing of the image's. */
static int fault_write(struct down *d, const struct weft_req *req, bool close)
{
	static const char body[] = "fault filter abort";
	struct reply a = {.status = req->dec.fault_status,
			  .body = body,
			  .len = sizeof(body) - 1,
			  .close = close,
			  .grpc = req->flags & WEFT_REQ_GRPC,
			  .head_method = req->flags & WEFT_REQ_HEAD_METHOD};

	return text_write(d, &a, NULL);
}

/* A preflight's: the policy's lines alone, whatever rules and the client's kind say. */
static int preflight_write(struct down *d, const struct weft_req *req, bool close)
{
	struct reply a = {.status = 200,
			  .body = "",
			  .close = close,
			  .head_method = req->flags & WEFT_REQ_HEAD_METHOD};
	const struct buf *lines = &d->x->told;

	return local_made_write(d, &a, buf_at(lines), buf_len(lines));
}

/* strict_check_headers: what is wrong stands in the reply. */
static int strict_write(struct down *d, const struct weft_req *req, bool close)
{
	const struct weft_field *f = weft_req_strict(req);
	_auto_free_ char *body = NULL;
	struct reply a = {.status = 400,
			  .close = close,
			  .grpc = req->flags & WEFT_REQ_GRPC,
			  .head_method = req->flags & WEFT_REQ_HEAD_METHOD};
	int n = f ? asprintf(&body, "invalid header '%.*s' with value '%.*s'", (int)f->name.len,
			     req->head + f->name.off, (int)f->value.len, req->head + f->value.off)
		  : -1;

	if (n < 0) {
		body = NULL;
		return -ENOMEM;
	}
	a.body = body;
	a.len = (size_t)n;
	return text_write(d, &a, NULL);
}

/* Why a decision is answered here as it is. */
static void decision_details(struct outcome *o, const struct weft_req *req)
{
	const struct weft_field *f;

	if (req->dec.reply) {
		outcome_image(
			o, ((const struct weft_img_reply *)weft_img_at(req->dec.reply))->details);
		return;
	}
	switch (req->dec.outcome) {
	case WEFT_OUTCOME_CORS:
		outcome_details(o, "cors_response");
		break;
	case WEFT_OUTCOME_GLOBAL_LIMITED:
		outcome_details(o, "request_rate_limited");
		break;
	case WEFT_OUTCOME_LIMITER_ERROR:
		outcome_details(o, "rate_limiter_error");
		break;
	case WEFT_OUTCOME_BAD_REQUEST:
		f = weft_req_strict(req);
		snprintf(o->text, sizeof(o->text), "request_headers_failed_strict_check{%.*s}",
			 f ? (int)f->name.len : 0, f ? (const char *)req->head + f->name.off : "");
		outcome_details(o, o->text);
		break;
	default: /* worded by a header */
		outcome_details(o, "fault_filter_abort");
	}
}

int local_decision_write(struct down *d, const struct weft_req *req, const struct weft_ctx *ctx, bool close)
{
	const struct weft_img_reply *r = weft_img_at(req->dec.reply);
	struct weft_reply_plan plan = {0};
	int e;

	d->x->grpc_status = req->dec.grpc;
	decision_details(&d->x->outcome, req);
	if (req->dec.outcome == WEFT_OUTCOME_CORS)
		return preflight_write(d, req, close);
	if (req->dec.outcome == WEFT_OUTCOME_FAULT && (!req->dec.reply || req->flags & WEFT_REQ_GRPC))
		return fault_write(d, req, close);
	if (req->dec.outcome == WEFT_OUTCOME_BAD_REQUEST)
		return strict_write(d, req, close);
	if (req->dec.outcome == WEFT_OUTCOME_GLOBAL_LIMITED ||
	    req->dec.outcome == WEFT_OUTCOME_LIMITER_ERROR)
		return answer_refuse(d, req, close);
	e = weft_reply_plan(req, ctx, &plan);
	if (e)
		return e;
	if (weft_reply_is_formed(req) || is_worked_out(d->x) || buf_len(&d->x->told))
		return formed_write(d, req, &plan, req->dec.reply, close);
	if (req->flags & WEFT_REQ_GRPC)
		return grpc_plan(d, req, &plan, r, req->flags & WEFT_REQ_HEAD_METHOD, close);
	return plan_write(d, req, &plan, close);
}

bool local_decision(struct down *d, struct weft_req *req, struct weft_ctx *ctx, bool close)
{
	const struct weft_img_reply *r = weft_img_at(req->dec.reply);

	close = ends_after(d, close,
			   req->dec.reply ? r->flags & WEFT_REPLY_CLOSES : req->dec.fault_status == 400);
	if (local_decision_write(d, req, ctx, close))
		down_close(d);
	return close;
}

void local_head_timeout(struct worker *w, struct timer *t)
{
	struct down *d = (struct down *)((char *)t - offsetof(struct down, timer));
	struct outcome o = {0};
	bool close;

	COUNT(w->stats.timeouts, 1);
	image_enter(d);
	d->early = &o;
	if (!strcmp(d->head_why, "stream timeout"))
		o.flags |= WEFT_FLAG_BIT(SI);
	close = local_text(d, 408, d->head_why,
			   o.flags				     ? "stream_idle_timeout"
			   : !strcmp(d->head_why, "request timeout") ? "request_overall_timeout"
								     : "request_header_timeout",
			   NULL, true);
	o.ended = !d->dead;
	outcome_early(d, NULL, &o);
	d->early = NULL;
	image_leave(d);
	if (!d->dead) {
		buf_free(w, &d->in); /* its end has been said */
		down_next(d, close);
	}
}
