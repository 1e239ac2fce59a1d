// SPDX-License-Identifier: Apache-2.0
/* Heads and bodies of replies that are made here, and what local_reply_config makes of them. */
#include "agent/proxy/local.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/compile/reply.h"
#include "agent/proxy/grpc.h"

const struct weft_img_hcm *local_manager(struct down *d)
{
	const struct weft_img_chain *chain;

	if (d->x)
		return d->x->hcm;
	chain = down_chain(d); /* of a head that never became an exchange */
	return chain && chain->kind == WEFT_CHAIN_HTTP ? weft_img_at(chain->target) : NULL;
}

/* ---- what rules make of a reply's head ---- */

/*
 * The mutations of replies made here, 0: none. Direct responses and redirects have their route's;
 * what is said of a request on its way has those of the way (bpf/engine/reply.h:
 * weft_reply_response()).
 */
uint32_t local_changes(const struct exchange *x)
{
	const struct weft_img_route *route;
	const struct weft_img_target *target;

	if (!x || x->dec.outcome == WEFT_OUTCOME_NO_ROUTE)
		return 0;
	if (x->dec.outcome == WEFT_OUTCOME_DIRECT_RESPONSE ||
	    x->dec.outcome == WEFT_OUTCOME_REDIRECT) {
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
int local_rules(struct down *d, struct lines *l, uint32_t status)
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
	int r = changes_apply(l, local_changes(x), &f);

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
	const struct weft_img_hcm *h = local_manager(d);
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
	if (!r && h && h->server_header != WEFT_SERVER_PASS &&
	    !lines_find(l, "server", 6, l->from, &line))
		r = line_add(w, &d->out, "server", 6, weft_img_at(h->server_name.off),
			     h->server_name.len);
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
			       d->x && d->x->grpc_status ? d->x->grpc_status - 1
							 : (uint32_t)weft_grpc_status(a->status));
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
int local_made_write(struct down *d, struct reply *a, const void *lines, size_t len)
{
	struct worker *w = d->worker;
	const struct weft_img_hcm *h = local_manager(d);
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
	return r ? r : outcome_said(d, from);
}

uint32_t flags_now(const struct down *d)
{
	static const uint32_t of_outcome[] = {
		[WEFT_OUTCOME_NO_ROUTE] = WEFT_FLAG_BIT(NR),
		[WEFT_OUTCOME_NO_CLUSTER] = WEFT_FLAG_BIT(NC),
		[WEFT_OUTCOME_NO_HEALTHY_UPSTREAM] = WEFT_FLAG_BIT(UH),
		[WEFT_OUTCOME_OVERFLOW] = WEFT_FLAG_BIT(UO),
		[WEFT_OUTCOME_FAULT] = WEFT_FLAG_BIT(FI),
		[WEFT_OUTCOME_GLOBAL_LIMITED] = WEFT_FLAG_BIT(RL),
		[WEFT_OUTCOME_LIMITER_ERROR] = WEFT_FLAG_BIT(RLSE),
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

	if (!r)
		r = mapping_apply(w, weft_img_at(mapping), &f, a, &l, &body);
	if (!r)
		r = local_made_write(d, a, buf_at(&text), buf_len(&text));
	buf_free(w, &text);
	buf_free(w, &body);
	return r;
}

/* The same before its body is put into its form. */
int local_reply_write(struct down *d, const struct reply *a, const void *lines, size_t len)
{
	const struct weft_img_hcm *h = local_manager(d);
	struct format f = reply_format(d, a->head);
	struct outcome *o = outcome_of(d);
	struct reply made = *a;
	struct buf body = {0};
	int r = 0;

	f.local = true;
	f.body = a->body;
	f.body_len = a->len;
	if (a->format) {
		/* the route's own text is made before the reply has its details (Envoy 1.40) */
		const char *details = o ? o->details : NULL;

		if (o)
			o->details = NULL;
		r = reply_body_write(d->worker, &f, a->format, &body);
		if (o)
			o->details = details;
		made.body = (const char *)buf_at(&body);
		made.len = buf_len(&body);
	}
	if (!r)
		r = h && h->mapping ? mapped_write(d, &made, h->mapping, lines, len)
				    : local_made_write(d, &made, lines, len);
	buf_free(d->worker, &body);
	return r;
}
