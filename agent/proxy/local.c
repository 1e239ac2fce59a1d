// SPDX-License-Identifier: Apache-2.0
/* Replies that are made here: of rules (from the image), and the proxy's own (codec errors, upstream failures). */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "agent/compile/reply.h"
#include "agent/proxy/grpc.h"
#include "agent/proxy/internal.h"

void local_count(enum weft_outcome outcome)
{
	COUNT(weft_state_head()->outcome[1][outcome], 1);
}

static int own_lines(struct worker *w, struct down *d, struct buf *out)
{
	const struct weft_img_hcm *h = d->x ? d->x->hcm : NULL;
	int r = 0;

	if (!d->x) { /* of a head that never became an exchange */
		const struct weft_img_chain *chain = down_chain(d);

		h = chain && chain->kind == WEFT_CHAIN_HTTP ? weft_img_at(chain->target) : NULL;
	}
	if (h && h->via.len)
		r = line_add(w, out, "via", 3, weft_img_at(h->via.off), h->via.len);
	if (r || !h || h->server_header == WEFT_SERVER_PASS)
		return r;
	return line_add(w, out, "server", 6, weft_img_at(h->server_name.off), h->server_name.len);
}

/*
 * The one place that says whether the connection ends after a reply: who makes it must end it, the connection takes no
 * further request (max_requests_per_connection, max_connection_duration, a listener that drains), or the reply itself is
 * one that Envoy closes after.
 */
static bool ends_after(const struct down *d, bool close, bool reply_closes)
{
	return close || d->drain || reply_closes;
}

/* The last line of a reply without a body, as Envoy 1.40 words it for HEAD and for all others. */
static const char *empty_line(bool head_method)
{
	return head_method ? "transfer-encoding: chunked\r\n" : "content-length: 0\r\n";
}

/* Ends the head; the connection header when it will close. */
static int head_end(struct worker *w, struct down *d, bool close, const char *last)
{
	const struct weft_state_head *s = weft_state_head();
	int r = buf_printf(w, &d->out, "date: %.29s\r\n", s->date[s->date_which & 1]);

	if (!r)
		r = own_lines(w, d, &d->out);
	if (!r && close)
		r = buf_printf(w, &d->out, "connection: close\r\n");
	return r ? r : buf_printf(w, &d->out, "%s\r\n", last);
}

static int grpc_write(struct down *d, uint32_t status, const char *body, size_t len, const char *extra,
		      size_t extra_len, bool close, bool head_method)
{
	struct worker *w = d->worker;
	char *message = len ? weft_grpc_message(body, len) : NULL;
	int r = buf_printf(w, &d->out, "HTTP/1.1 200 OK\r\n");

	if (!r)
		r = buf_add(w, &d->out, extra, extra_len);
	if (!r)
		r = buf_printf(w, &d->out,
			       "content-type: application/grpc\r\ngrpc-status: %d\r\n",
			       weft_grpc_status(status));
	if (!r && message)
		r = buf_add(w, &d->out, "grpc-message: ", 14);
	if (!r && message)
		r = buf_add(w, &d->out, message, strlen(message));
	if (!r && message)
		r = buf_add(w, &d->out, "\r\n", 2);
	free(message);
	return r ? r : head_end(w, d, close, empty_line(head_method));
}

static int text_write(struct down *d, uint32_t status, const char *body, const char *extra, bool close,
		      bool head_method)
{
	struct worker *w = d->worker;
	size_t len = strlen(body);
	int r = buf_printf(w, &d->out, "HTTP/1.1 %u %s\r\n%s", status, weft_status_phrase(status), extra ? extra : "");

	if (!r && len)
		r = buf_printf(w, &d->out, "content-length: %zu\r\ncontent-type: text/plain\r\n", len);
	if (!r)
		r = head_end(w, d, close, len ? "" : empty_line(head_method));
	if (!r && !head_method)
		r = buf_add(w, &d->out, body, len);
	return r;
}

bool local_text(struct down *d, uint32_t status, const char *body, const char *extra, bool close)
{
	const struct exchange *x = d->x;
	bool grpc = x && x->req_flags & WEFT_REQ_GRPC;
	int r;

	close = ends_after(d, close, status == 400);
	if (grpc)
		r = grpc_write(d, status, body, x->head_method ? 0 : strlen(body), extra, extra ? strlen(extra) : 0, close,
			       x->head_method);
	else
		r = text_write(d, status, body, extra, close, x && x->head_method);
	if (r)
		down_close(d);
	return close;
}

bool local_attempts(struct exchange *x, uint32_t status, const char *body, bool close)
{
	char line[48];

	snprintf(line, sizeof(line), "x-envoy-attempt-count: %u\r\n", x->attempts);
	return local_text(x->down, status, body, x->attempt_count_back && x->attempts ? line : NULL, close);
}

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

/* A reply as a gRPC client gets it: always 200, its status and text in headers (xds-envoy.md 3.5). */
static int grpc_plan(struct down *d, const struct weft_req *req, const struct weft_reply_plan *plan,
		     const struct weft_img_reply *r, bool head_method, bool close)
{
	struct worker *w = d->worker;
	struct buf text = {0}, lines = {0};
	const char *body = weft_img_at(r->data + r->head_len);
	size_t body_len = r->head_off == r->insert_off ? r->len - r->head_len : 0;
	int e = buf_room(w, &text, plan->total + 8);

	if (!e) {
		weft_reply_write(req, plan, text.data);
		text.end = plan->total - (head_method ? 0 : body_len);
		e = grpc_lines(w, &lines, (const char *)text.data, text.end);
	}
	if (!e)
		e = grpc_write(d, r->status, body, head_method ? 0 : body_len, (const char *)buf_at(&lines),
			       buf_len(&lines), close, head_method);
	buf_free(w, &text);
	buf_free(w, &lines);
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
	if (close)
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
	if (!e && x && x->req_flags & WEFT_REQ_GRPC)
		e = grpc_plan(d, NULL, &plan, r, x->head_method, close);
	else if (!e)
		e = plan_write(d, NULL, &plan, close);
	if (e)
		down_close(d);
	return close;
}

void local_decision(struct down *d, struct weft_req *req, struct weft_ctx *ctx, bool close)
{
	const struct weft_img_reply *r = weft_img_at(req->dec.reply);
	struct weft_reply_plan plan = {0};
	int e;

	close = ends_after(d, close, r->flags & WEFT_REPLY_CLOSES);
	e = weft_reply_plan(req, ctx, &plan);
	if (!e && req->flags & WEFT_REQ_GRPC)
		e = grpc_plan(d, req, &plan, r, req->flags & WEFT_REQ_HEAD_METHOD, close);
	else if (!e)
		e = plan_write(d, req, &plan, close);
	if (e)
		down_close(d);
	else
		down_next(d, close);
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
