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
#include "agent/proxy/mutate.h"

void local_count(enum weft_outcome outcome)
{
	COUNT(weft_state_head()->outcome[1][outcome], 1);
}

static const struct weft_img_hcm *manager(struct down *d)
{
	const struct weft_img_chain *chain;

	if (d->x)
		return d->x->hcm;
	chain = down_chain(d); /* of a head that never became an exchange */
	return chain && chain->kind == WEFT_CHAIN_HTTP ? weft_img_at(chain->target) : NULL;
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

/* ---- what rules make of a reply's head ---- */

/*
 * The mutations of replies made here, 0: none. Direct responses and redirects have their route's; what is said of a
 * request on its way has those of the way (bpf/engine/reply.h: weft_reply_response()).
 */
static uint32_t changes_of(const struct exchange *x)
{
	const struct weft_img_route *route;
	const struct weft_img_target *target;

	if (!x || x->dec.outcome == WEFT_OUTCOME_NO_ROUTE)
		return 0;
	if (x->dec.outcome == WEFT_OUTCOME_DIRECT_RESPONSE || x->dec.outcome == WEFT_OUTCOME_REDIRECT) {
		route = weft_img_at(x->dec.route);
		return route->response.changes;
	}
	target = x->dec.target ? weft_img_at(x->dec.target) : NULL;
	return target ? target->response.changes : 0;
}

/* %RESPONSE_CODE% before a reply has its own: that of the interim response, 0: none (Envoy 1.40).
 */
static uint32_t code_before(const struct exchange *x)
{
	bool continued = x && x->req_flags & WEFT_REQ_EXPECT &&
			 !(x->hcm->flags & WEFT_HCM_PROXY_100_CONTINUE);

	return continued ? 100 : 0;
}

/* The rules' changes to l, which has what the reply had before them; and what no reply has. */
static int rules_apply(struct down *d, struct lines *l, uint32_t status)
{
	static const char *const gone[] = {"keep-alive", "proxy-connection", NULL};
	const struct exchange *x = d->x;
	struct format f = {.d = d,
			   .x = x,
			   .req = x && buf_len(&x->head) ? buf_at(&x->head) : NULL,
			   .req_len = x ? buf_len(&x->head) : 0,
			   .resp = l,
			   .status = status,
			   .code = code_before(x)};
	int r = changes_apply(l, changes_of(x), &f);

	for (int i = 0; gone[i]; i++)
		lines_remove(l, gone[i], strlen(gone[i]));
	return r;
}

/* ---- heads ---- */

/* The last line of a reply without a body, as Envoy 1.40 words it for HEAD and for all others. */
static const char *empty_line(const struct down *d, const struct reply *a)
{
	if (d->old && a->head_method)
		return "";
	return a->head_method ? "transfer-encoding: chunked\r\n" : "content-length: 0\r\n";
}

/* Ends the head, with this line; the connection header when it will close. */
static int head_end(struct worker *w, struct down *d, struct lines *l, bool close, const char *last)
{
	const struct weft_state_head *s = weft_state_head();
	const struct weft_img_hcm *h = manager(d);
	struct line line;
	int r = 0;

	if (h && h->server_header == WEFT_SERVER_OVERWRITE)
		lines_remove(l, "server", 6);
	if (!lines_find(l, "date", 4, l->from, &line))
		r = buf_printf(w, &d->out, "date: %.29s\r\n", s->date[s->date_which & 1]);
	if (!r && d->x)
		r = response_id_set(w, d->x, l);
	if (!r && h && h->via.len)
		r = lines_add(l, "via", 3, weft_img_at(h->via.off), h->via.len, ", ");
	if (!r && h && h->server_header != WEFT_SERVER_PASS && !lines_find(l, "server", 6, l->from, &line))
		r = line_add(w, &d->out, "server", 6, weft_img_at(h->server_name.off), h->server_name.len);
	if (!r && (close || d->drain))
		r = buf_printf(w, &d->out, "connection: close\r\n");
	else if (!r && d->old)
		r = buf_printf(w, &d->out, "connection: keep-alive\r\n");
	return r ? r : buf_printf(w, &d->out, "%s\r\n", last);
}

/* Always 200, its status and text in headers (grpc.h); a rule's own grpc-status stays (Envoy 1.40).
 */
static int grpc_write(struct down *d, const struct reply *a, struct lines *l)
{
	struct worker *w = d->worker;
	/* the line feed behind JSON is of no use in a header (Envoy 1.40) */
	size_t len = a->len && a->json ? a->len - 1 : a->len;
	char *message = len && !a->head_method ? weft_grpc_message(a->body, len) : NULL;
	struct line line;
	int r = buf_printf(w, l->b, "content-type: application/grpc\r\n");

	if (!r && !lines_find(l, "grpc-status", 11, l->from, &line))
		r = buf_printf(w, l->b, "grpc-status: %u\r\n",
			       d->x && d->x->grpc_status ? d->x->grpc_status - 1 : (uint32_t)weft_grpc_status(a->status));
	if (!r && message)
		r = lines_set(l, "grpc-message", 12, message, strlen(message));
	free(message);
	return r ? r : head_end(w, d, l, a->close, empty_line(d, a));
}

static int plain_write(struct down *d, const struct reply *a, struct lines *l)
{
	struct worker *w = d->worker;
	/* RFC 9110 8.6, 15.4.5: no length where none is sent */
	bool no_body = a->status == 204 || a->status == 304;
	struct line line;
	int r = 0;

	if (!a->len || a->type.len)
		lines_remove(l, "content-type", 12);
	if (a->len && a->type.len)
		r = line_add(w, l->b, "content-type", 12, weft_img_at(a->type.off), a->type.len);
	if (!r && a->len && a->status != 204)
		r = buf_printf(w, l->b, "content-length: %zu\r\n", a->len);
	if (!r && a->len && !lines_find(l, "content-type", 12, l->from, &line))
		r = buf_printf(w, l->b, "content-type: text/plain\r\n");
	if (!r)
		r = head_end(w, d, l, a->close, a->len || no_body ? "" : empty_line(d, a));
	return r || a->head_method || no_body ? r : buf_add(w, l->b, a->body, a->len);
}

/* The reply with these lines of rules and filters (each with its end); its body is as it is sent.
 */
static int made_write(struct down *d, struct reply *a, const void *lines, size_t len)
{
	struct worker *w = d->worker;
	const struct weft_img_hcm *h = manager(d);
	uint32_t status = a->grpc ? 200 : a->status;
	struct lines l = {.w = w, .b = &d->out};
	size_t from = buf_len(&d->out);
	int r;

	/* Envoy keeps a connection of HTTP/1.0 behind a length alone, and not behind one that its
	 * codec adds */
	if (d->old && (a->grpc || !a->len || a->status == 204))
		a->close = d->ends = true;
	r = buf_printf(w, &d->out, "HTTP/1.1 %u %s\r\n", status, weft_status_phrase(status));

	l.from = buf_len(&d->out);
	if (!r)
		r = buf_add(w, &d->out, lines, len);
	if (r)
		return r;
	if (!a->grpc) {
		r = plain_write(d, a, &l);
	} else {
		lines_remove(&l, "content-type", 12);
		r = grpc_write(d, a, &l);
	}
	if (!r && h && h->proper_case && !d->codec)
		lines_capitalize(buf_at(&d->out) + from, buf_len(&d->out) - from);
	return r;
}

/*
 * Why Envoy says at this moment that the reply is made: nothing of one that a route, RBAC or a rate
 * limit makes, or of what is no request (1.40; its log knows more).
 */
static uint32_t flags_of(const struct down *d)
{
	static const uint32_t of_outcome[] = {
		[WEFT_OUTCOME_NO_ROUTE] = WEFT_FLAG_BIT(NR),
		[WEFT_OUTCOME_NO_CLUSTER] = WEFT_FLAG_BIT(NC),
		[WEFT_OUTCOME_NO_HEALTHY_UPSTREAM] = WEFT_FLAG_BIT(UH),
		[WEFT_OUTCOME_OVERFLOW] = WEFT_FLAG_BIT(UO),
		[WEFT_OUTCOME_FAULT] = WEFT_FLAG_BIT(FI),
	};
	const struct exchange *x = d->x;
	uint32_t outcome = x ? x->dec.outcome : WEFT_OUTCOME_NONE;
	uint32_t flags = x ? x->flags : 0;

	if (d->hold.over)
		flags |= WEFT_FLAG_BIT(DI);
	if (outcome == WEFT_OUTCOME_DROPPED)
		return flags |
		       (x->dec.reply == x->hcm->reply[WEFT_REPLY_DROPPED_ALL] ? WEFT_FLAG_BIT(UDO)
									      : WEFT_FLAG_BIT(DO));
	return outcome < sizeof(of_outcome) / sizeof(*of_outcome) ? flags | of_outcome[outcome]
								  : flags;
}

/* What is the same for all that looks at a reply. */
static struct format reply_format(struct down *d, const struct buf *head)
{
	const struct exchange *x = d->x;

	if (x && buf_len(&x->head))
		head = &x->head;
	return (struct format){.d = d,
			       .x = x,
			       .req = head && buf_len(head) ? buf_at(head) : NULL,
			       .req_len = head ? buf_len(head) : 0,
			       .code = code_before(x)};
}

/* As the connection manager has it after that. */
static int mapped_write(struct down *d, struct reply *a, uint32_t mapping, const void *lines,
			size_t len)
{
	struct worker *w = d->worker;
	struct format f = reply_format(d, a->head);
	struct buf text = {0}, body = {0};
	struct lines l = {.w = w, .b = &text};
	int r = buf_add(w, &text, lines, len);

	f.flags = flags_of(d);
	if (!r)
		r = mapping_apply(w, weft_img_at(mapping), &f, a, &l, &body);
	if (!r)
		r = made_write(d, a, buf_at(&text), buf_len(&text));
	buf_free(w, &text);
	buf_free(w, &body);
	return r;
}

/* The same before its body is put into its form. */
static int reply_write(struct down *d, const struct reply *a, const void *lines, size_t len)
{
	const struct weft_img_hcm *h = manager(d);
	struct format f = reply_format(d, a->head);
	struct reply made = *a;
	struct buf body = {0};
	int r = 0;

	f.local = true;
	f.body = a->body;
	f.body_len = a->len;
	if (a->format) {
		r = reply_body_write(d->worker, &f, a->format, &body);
		made.body = (const char *)buf_at(&body);
		made.len = buf_len(&body);
	}
	if (!r)
		r = h && h->mapping ? mapped_write(d, &made, h->mapping, lines, len)
				    : made_write(d, &made, lines, len);
	buf_free(d->worker, &body);
	return r;
}

/* local_reply_config may change each reply. */
static bool is_mapped(struct down *d)
{
	const struct weft_img_hcm *h = manager(d);

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
	int r = rules_apply(d, &l, a->status);

	if (!r && extra) {
		lines_remove(&l, extra, strcspn(extra, ":"));
		r = buf_add(w, &text, extra, strlen(extra));
	}
	if (!r)
		r = told_apply(d->x, &l);
	if (!r)
		r = reply_write(d, a, buf_at(&text), buf_len(&text));
	buf_free(w, &text);
	return r;
}

bool local_text(struct down *d, uint32_t status, const char *body, const char *extra, bool close)
{
	const struct exchange *x = d->x;
	struct reply a = {.status = status,
			  .body = body,
			  .len = strlen(body),
			  .close = close,
			  .grpc = x && x->req_flags & WEFT_REQ_GRPC,
			  .head_method = x && x->head_method};

	a.close = ends_after(d, close, status == 400);
	if (text_write(d, &a, extra))
		down_close(d);
	return a.close;
}

bool local_early(struct down *d, const struct weft_req *req, uint32_t status, const char *body, const char *extra,
		 bool close)
{
	struct buf head = {0};
	struct reply a = {.status = status, .body = body, .len = strlen(body), .head = &head};
	int r = 0;

	/* what the parser itself refuses has no headers yet */
	if (!*body) {
		a.grpc = req->flags & WEFT_REQ_GRPC;
		a.head_method = req->flags & WEFT_REQ_HEAD_METHOD;
		r = is_mapped(d) ? request_sent(d->worker, req, &head) : 0;
	}
	a.close = ends_after(d, close, status == 400);
	if (r || text_write(d, &a, extra))
		down_close(d);
	buf_free(d->worker, &head);
	return a.close;
}

bool local_attempts(struct exchange *x, uint32_t status, const char *body, bool close)
{
	char line[48];

	snprintf(line, sizeof(line), "x-envoy-attempt-count: %u\r\n", x->attempts);
	return local_text(x->down, status, body, x->attempt_count_back && x->attempts ? line : NULL, close);
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
		e = reply_write(d, &a, buf_at(&lines), buf_len(&lines));
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
		e = rules_apply(d, &l, r->status);
	if (!e && !own)
		e = filter_lines(d, reply, x->head_method, &l);
	if (!e && router && x->attempt_count_back) {
		lines_remove(&l, "x-envoy-attempt-count", 21);
		e = line_add_number(d->worker, &text, "x-envoy-attempt-count", 21, x->attempts ? x->attempts : 1);
	}
	if (!e)
		e = told_apply(x, &l);
	if (!e)
		e = reply_write(d, &a, buf_at(&text), buf_len(&text));
	buf_free(d->worker, &text);
	return e;
}

static int plan_write(struct down *d, const struct weft_req *req, struct weft_reply_plan *plan, bool close)
{
	struct worker *w = d->worker;
	struct weft_reply_plan head = *plan;
	struct weft_seg last = plan->seg[plan->n - 1];
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
	return r ? r : buf_add(w, &d->out, weft_img_at(last.off), last.len);
}

bool local_image(struct down *d, uint32_t reply, bool close)
{
	const struct exchange *x = d->x;
	const struct weft_img_reply *r = weft_img_at(reply);
	struct weft_reply_plan plan = {0};
	int e;

	close = ends_after(d, close, r->flags & WEFT_REPLY_CLOSES);
	e = weft_reply_plan_std(reply, x && x->head_method, &plan);
	if (!e && x &&
	    (changes_of(x) || x->attempt_count_back || buf_len(&x->told) || x->id_back ||
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

	return made_write(d, &a, buf_at(lines), buf_len(lines));
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

int local_decision_write(struct down *d, const struct weft_req *req, const struct weft_ctx *ctx, bool close)
{
	const struct weft_img_reply *r = weft_img_at(req->dec.reply);
	struct weft_reply_plan plan = {0};
	int e;

	d->x->grpc_status = req->dec.grpc;
	if (req->dec.outcome == WEFT_OUTCOME_CORS)
		return preflight_write(d, req, close);
	if (req->dec.outcome == WEFT_OUTCOME_FAULT && (!req->dec.reply || req->flags & WEFT_REQ_GRPC))
		return fault_write(d, req, close);
	if (req->dec.outcome == WEFT_OUTCOME_BAD_REQUEST)
		return strict_write(d, req, close);
	e = weft_reply_plan(req, ctx, &plan);
	if (e)
		return e;
	if (weft_reply_is_formed(req) || is_worked_out(d->x))
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

	bool close;

	COUNT(w->stats.timeouts, 1);
	image_enter(d);
	close = local_text(d, 408, d->head_why, NULL, true);
	image_leave(d);
	if (!d->dead)
		down_next(d, close);
}
