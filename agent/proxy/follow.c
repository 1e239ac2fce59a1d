// SPDX-License-Identifier: Apache-2.0
/*
 * Redirects that are followed here (internal_redirect_policy): the request as it went upstream, with another address,
 * stands before what the client sends next, and is judged as a request that the connection manager has seen already.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "agent/proxy/mutate.h"

#define NAME(s) (s), sizeof(s) - 1

struct run {
	const uint8_t *p;
	size_t n;
};
/* An absolute URL's parts; path begins with '/', without fragment. */
struct url {
	struct run scheme, host, path;
};

static const struct run root = {(const uint8_t *)"/", 1};

/* ---- the target ---- */

static bool host_parse(struct run a, struct run *ret)
{
	const uint8_t *at = memrchr(a.p, '@', a.n), *colon;

	if (at)
		a = (struct run){at + 1, (size_t)(a.p + a.n - at - 1)};
	colon = memrchr(a.p, ':', a.n);
	*ret = a;
	if (!a.n || colon == a.p)
		return false;
	for (const uint8_t *p = colon ? colon + 1 : a.p + a.n; p < a.p + a.n; p++) {
		if (*p == ']')
			return true; /* the colons of an IPv6 address */
		if (*p < '0' || *p > '9')
			return false;
	}
	return true;
}

/* Only absolute ones are followed (Envoy 1.40). */
static bool url_parse(struct run text, struct url *ret)
{
	const uint8_t *end = text.p + text.n, *p = text.p, *from;

	for (const uint8_t *c = p; c < end; c++) {
		if (*c <= ' ' || *c >= 0x7f)
			return false;
	}
	while (p < end && (((*p | 0x20) >= 'a' && (*p | 0x20) <= 'z') ||
			   (p > text.p && ((*p >= '0' && *p <= '9') || strchr("+-.", *p)))))
		p++;
	ret->scheme = (struct run){text.p, (size_t)(p - text.p)};
	if (!ret->scheme.n || ret->scheme.n >= sizeof(((struct down_again *)0)->scheme) || end - p < 3 ||
	    memcmp(p, "://", 3))
		return false;
	from = p += 3;
	while (p < end && !strchr("/?#", *p))
		p++;
	if (!host_parse((struct run){from, (size_t)(p - from)}, &ret->host) || (p < end && *p != '/'))
		return false;
	from = memchr(p, '#', (size_t)(end - p));
	ret->path = p < end ? (struct run){p, (size_t)((from ? from : end) - p)} : root;
	return true;
}

/* The location header; its lines are one. */
static int location(struct worker *w, const uint8_t *head, const struct response *r, struct buf *ret)
{
	int e = -ENOENT;

	for (uint32_t i = 0; i < r->n; i++) {
		const struct head_field *f = &r->field[i];

		if (f->name_len != 8 || memcmp(head + f->name, "location", 8))
			continue;
		e = e ? 0 : buf_add(w, ret, ",", 1);
		if (!e)
			e = buf_add(w, ret, head + f->value, f->value_len);
		if (e)
			return e;
	}
	return e;
}

/* ---- the request ---- */

/* Where the request line's method and path end, and the lines begin. */
struct first {
	struct run method, path;
	size_t lines;
};

static bool first_of(const struct exchange *x, struct first *ret)
{
	const uint8_t *p = buf_at(&x->head), *end = p + buf_len(&x->head);
	const uint8_t *lf = memchr(p, '\n', (size_t)(end - p));
	const uint8_t *blank = lf ? memchr(p, ' ', (size_t)(lf - p)) : NULL;
	const uint8_t *last = blank ? memchr(blank + 1, ' ', (size_t)(lf - blank - 1)) : NULL;

	if (!last)
		return false;
	ret->method = (struct run){p, (size_t)(blank - p)};
	ret->path = (struct run){blank + 1, (size_t)(last - blank - 1)};
	ret->lines = (size_t)(lf + 1 - p);
	return true;
}

static bool is(struct run r, const char *text)
{
	return r.n == strlen(text) && !memcmp(r.p, text, r.n);
}

/* response_headers_to_copy: the request's own go, the answer's come in. */
static int copied(struct lines *l, const struct weft_img_follow *f, const uint8_t *head,
		  const struct response *r)
{
	const struct weft_img_str *name = f->n_copy ? weft_img_at(f->copy) : NULL;
	int e = 0;

	for (uint32_t i = 0; i < f->n_copy; i++) {
		lines_remove(l, weft_img_at(name[i].off), name[i].len);
		for (uint32_t k = 0; !e && k < r->n; k++) {
			const struct head_field *h = &r->field[k];

			if (h->name_len == name[i].len &&
			    !memcmp(head + h->name, weft_img_at(name[i].off), h->name_len))
				e = line_add(l->w, l->b, head + h->name, h->name_len, head + h->value,
					     h->value_len);
		}
	}
	return e;
}

/* Of a request that has a body of unknown length: nothing came of it. */
static bool body_empty(const struct exchange *x)
{
	return buf_len(&x->body) == (x->chunked_req ? 5 : 0);
}

/* The new head. See other (303) makes a GET without body of anything but GET and HEAD. */
static int head_make(struct exchange *x, const struct url *u, const uint8_t *head, const struct response *r,
		     bool *ret_body, struct buf *out)
{
	const struct weft_img_follow *f = weft_img_at(x->forward->follow);
	struct worker *w = x->down->worker;
	struct lines old = {w, &x->head, 0};
	struct lines l = {.w = w, .b = out};
	struct first first;
	struct line host;
	int e;

	if (!first_of(x, &first) || !lines_find(&old, NAME("host"), first.lines, &host))
		return -EINVAL;
	*ret_body = r->status != 303 || is(first.method, "GET") || is(first.method, "HEAD");
	e = buf_printf(w, out, "%.*s %.*s HTTP/1.1\r\n", *ret_body ? (int)first.method.n : 3,
		       *ret_body ? (const char *)first.method.p : "GET", (int)u->path.n,
		       (const char *)u->path.p);
	l.from = buf_len(out);
	if (!e)
		e = line_add(w, out, NAME("host"), u->host.p, u->host.n);
	if (!e)
		e = buf_add(w, out, buf_at(&x->head) + first.lines, buf_len(&x->head) - first.lines);
	if (e)
		return e;
	/* the second is the old one: the first has just been written */
	if (lines_find(&l, NAME("host"), l.from + 1, &host))
		buf_replace(w, out, host.at, host.end - host.at, NULL, 0);
	lines_remove(&l, NAME("x-envoy-original-url"));
	e = copied(&l, f, head, r);
	if (!*ret_body)
		lines_remove(&l, NAME("content-length"));
	else if (!e && x->unsized)
		/* without a word of it there is none */
		e = body_empty(x) ? 0 : buf_add(w, out, "transfer-encoding: chunked\r\n", 28);
	else if (!e)
		e = request_framing(w, x, out);
	if (!e && lines_find(&old, NAME("host"), first.lines, &host))
		e = buf_printf(w, out, "x-envoy-original-url: http://%.*s%.*s\r\n", (int)host.value_len,
			       (const char *)buf_at(&x->head) + host.value, (int)first.path.n,
			       (const char *)first.path.p);
	return e ? e : buf_add(w, out, "\r\n", 2);
}

/* ---- may it be followed? ---- */

static struct weft_img_str route_name(const struct exchange *x)
{
	return ((const struct weft_img_route *)weft_img_at(x->dec.route))->name;
}

/* The route that would take it, found without taking anything. NULL: none, or it is no request. */
static const struct weft_img_route *route_find(struct down *d, const struct buf *head,
					       const struct down_again *again)
{
	struct worker *w = d->worker;
	struct weft_req *req = &w->req;
	struct weft_ctx ctx = {.pod = d->pod->id,
			       .view = d->pod->view,
			       .dst = d->dst,
			       .src = d->client,
			       .now_ns = w->now_ns,
			       .flags = WEFT_CTX_EXPLAIN,
			       .random = worker_random(w),
			       .hello = down_conn(d)->hello};
	uint32_t chain;

	if (buf_len(head) > WEFT_NATIVE_HEAD_MAX || weft_ctx_begin(&ctx) || weft_listener_find(&ctx))
		return NULL;
	chain = weft_chain_find(&ctx, d->proto);
	if (weft_req_begin(req, &ctx, chain))
		return NULL;
	memcpy(w->head, buf_at(head), buf_len(head));
	memset(w->head + buf_len(head), 0, 64);
	req->head = w->head;
	req->len = (uint32_t)buf_len(head);
	if (weft_http1_parse(req))
		return NULL;
	follow_prepare(w, again, req);
	if (weft_decide(req, &ctx) || !req->dec.route)
		return NULL;
	return weft_img_at(req->dec.route);
}

static bool is_listed(const struct weft_img_follow *f, struct weft_img_str name)
{
	const struct weft_img_str *list = f->n_listed ? weft_img_at(f->listed) : NULL;

	for (uint32_t i = 0; i < f->n_listed; i++) {
		if (list[i].len == name.len && !memcmp(weft_img_at(list[i].off), weft_img_at(name.off), name.len))
			return true;
	}
	return false;
}

/* previous_routes: each route of a policy's sends to another one once; both known by their names. */
static bool is_new(struct down_again *a, struct weft_img_str from, struct weft_img_str to)
{
	uint64_t seed = weft_hash_xx64(weft_img_at(from.off), from.len, 0);
	uint64_t pair = weft_hash_xx64(weft_img_at(to.off), to.len, seed);

	for (uint32_t i = 0; i < a->n_seen; i++) {
		if (a->seen[i] == pair)
			return false;
	}
	if (a->n_seen == WEFT_FOLLOW_MAX)
		return false;
	a->seen[a->n_seen++] = pair;
	return true;
}

/* The route that it would take is the request's from now on, followed or not (Envoy's log). */
static bool allowed(struct exchange *x, const struct buf *head, struct down_again *a)
{
	const struct weft_img_follow *f = weft_img_at(x->forward->follow);
	const struct weft_img_route *to;
	bool http = !strcasecmp(a->scheme, "http");

	/* every client here speaks plain HTTP; what is no "http" is https to Envoy */
	if (!http && !(f->flags & WEFT_FOLLOW_CROSS))
		return false;
	to = route_find(x->down, head, a);
	if (!to)
		return false;
	outcome_route(&x->outcome, to->name);
	if ((!http && f->flags & WEFT_FOLLOW_SAFE) ||
	    (f->flags & WEFT_FOLLOW_LISTED && !is_listed(f, to->name)))
		return false;
	return !(f->flags & WEFT_FOLLOW_PREVIOUS) || is_new(a, route_name(x), to->name);
}

/* ---- following ---- */

/* A body as a head of HTTP/1.1 says of it: one that is bare is one chunk. */
static int body_add(struct exchange *x, struct buf *to)
{
	struct worker *w = x->down->worker;
	bool bare = x->unsized && !x->chunked_req;
	size_t n = buf_len(&x->body);
	int e = 0;

	if (x->unsized && body_empty(x))
		return 0;
	if (bare)
		e = buf_printf(w, to, "%zx\r\n", n);
	if (!e)
		e = buf_add(w, to, buf_at(&x->body), n);
	return e || !bare ? e : buf_add(w, to, "\r\n0\r\n\r\n", 7);
}

/* The new request with its body stands before what waits; its trailers are no part of it
 * (Envoy 1.40: recreateStream()). */
static int put_back(struct exchange *x, struct buf *head, bool body)
{
	struct down *d = x->down;
	struct worker *w = d->worker;
	int e = body ? body_add(x, head) : 0;
	size_t n = buf_len(head);

	if (!e && buf_len(&d->in))
		e = buf_add(w, head, buf_at(&d->in), buf_len(&d->in));
	if (e)
		return e;
	buf_free(w, &d->trailers_in);
	buf_free(w, &d->in);
	d->in = *head;
	*head = (struct buf){0};
	d->handled -= n; /* it is consumed a second time */
	return 0;
}

static struct down_again *again_new(const struct exchange *x, const struct url *u)
{
	struct down_again *a = calloc(1, sizeof(*a));

	if (!a)
		return NULL;
	if (x->down->again)
		*a = *x->down->again;
	a->n++;
	a->close = x->client_close;
	a->remote = x->remote;
	memset(a->scheme, 0, sizeof(a->scheme));
	for (size_t i = 0; i < u->scheme.n; i++)
		a->scheme[i] = (char)(u->scheme.p[i] | (u->scheme.p[i] >= 'A' && u->scheme.p[i] <= 'Z' ? 0x20 : 0));
	return a;
}

static bool asked_for(const struct exchange *x, const struct response *r)
{
	const struct weft_img_follow *f = x->forward->follow ? weft_img_at(x->forward->follow) : NULL;

	return f && r->status >= 301 && r->status <= 308 && f->codes >> (r->status - 300) & 1 && x->req_done &&
	       !x->retry_off && !x->upgrade && !x->down->mirror &&
	       (x->down->again ? x->down->again->n : 0) < f->max;
}

/* The outcome of the request that was sent elsewhere: Envoy's log has the new one's head. */
static void followed_tell(struct exchange *x, const struct buf *head, const struct response *r)
{
	struct worker *w = x->down->worker;

	outcome_details(&x->outcome, "internal_redirect");
	x->outcome.code = r->status;
	if (!outcome_is_logged(x))
		return;
	buf_free(w, &x->head);
	/* without its blank line; without memory the log does without it */
	if (buf_add(w, &x->head, buf_at(head), buf_len(head) - 2))
		buf_free(w, &x->head);
}

bool follow(struct exchange *x, const uint8_t *head, const struct response *r)
{
	struct down *d = x->down;
	struct buf text = {0}, to = {0};
	struct down_again *a = NULL;
	bool body = false, done = false;
	struct url u;

	if (!asked_for(x, r))
		return false;
	image_enter(d); /* the routes that are in force now, which may be newer than the exchange's */
	if (!location(d->worker, head, r, &to) && url_parse((struct run){buf_at(&to), buf_len(&to)}, &u) &&
	    !head_make(x, &u, head, r, &body, &text))
		a = again_new(x, &u);
	if (a && allowed(x, &text, a)) {
		followed_tell(x, &text, r);
		done = !put_back(x, &text, body);
		x->outcome.ended = done;
	}
	if (done) {
		free(d->again);
		d->again = a;
		a = NULL;
	}
	image_leave(d);
	free(a);
	buf_free(d->worker, &text);
	buf_free(d->worker, &to);
	if (!done) {
		outcome_details(&x->outcome, "via_upstream");
		return false;
	}
	hold_end(d);
	exchange_end(x);
	d->state = DOWN_HEAD;
	d->looked = 0;
	d->parses = 0;
	d->head_ms = 0;
	if (!d->advancing)
		down_advance(d);
	return true;
}

void follow_prepare(struct worker *w, const struct down_again *a, struct weft_req *req)
{
	uint8_t *at = w->head + sizeof(w->head) - WEFT_PREPARE_ROOM;
	size_t n = strlen(a->scheme);

	memcpy(at, a->scheme, n + 1);
	req->remote = a->remote;
	req->present |= 1ull << WEFT_VALUE_SCHEME;
	req->value[WEFT_VALUE_SCHEME] = (struct weft_span){(uint32_t)(at - req->head), (uint32_t)n};
}
