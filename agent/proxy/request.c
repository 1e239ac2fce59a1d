// SPDX-License-Identifier: Apache-2.0
/* The request head that goes upstream, as Envoy's HTTP connection manager and router leave it by default. */
#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "agent/proxy/limiter.h"
#include "agent/proxy/mutate.h"

static bool span_is(const struct weft_req *req, struct weft_span s, const char *text)
{
	return s.len == strlen(text) && !memcmp(req->head + s.off, text, s.len);
}

int line_add(struct worker *w, struct buf *b, const void *name, size_t n, const void *value, size_t len)
{
	int r = buf_room(w, b, n + len + 4);

	if (r)
		return r;
	memcpy(b->data + b->end, name, n);
	memcpy(b->data + b->end + n, ": ", 2);
	if (len)
		memcpy(b->data + b->end + n + 2, value, len);
	memcpy(b->data + b->end + n + 2 + len, "\r\n", 2);
	b->end += n + len + 4;
	return 0;
}

int line_add_number(struct worker *w, struct buf *b, const void *name, size_t n, uint64_t value)
{
	char text[20];
	size_t at = sizeof(text);

	do
		text[--at] = (char)('0' + value % 10);
	while (value /= 10);
	return line_add(w, b, name, n, text + at, sizeof(text) - at);
}

static bool span_in(const struct weft_req *req, struct weft_span s, const char *const *list)
{
	for (; *list; list++) {
		if (span_is(req, s, *list))
			return true;
	}
	return false;
}

/* The same whatever the case of its letters. */
static bool word_is(const struct weft_req *req, struct weft_span s, const char *text)
{
	return s.len == strlen(text) && !strncasecmp((const char *)req->head + s.off, text, s.len);
}

bool request_is_https(const struct weft_req *req)
{
	struct weft_span scheme = {0, 0};

	if (req->present >> WEFT_VALUE_SCHEME & 1)
		scheme = req->value[WEFT_VALUE_SCHEME];
	if (!scheme.len || word_is(req, scheme, "http"))
		return false;
	for (uint32_t i = 0; !word_is(req, scheme, "https") && i < req->n_field; i++) {
		if (span_is(req, req->field[i].name, "x-forwarded-proto"))
			return word_is(req, req->field[i].value, "https");
	}
	return word_is(req, scheme, "https");
}

/* Hop-by-hop lines, and those written anew below. */
static bool passes(const struct exchange *x, const struct weft_req *req, const struct weft_field *f)
{
	static const char *const hop[] = {
		"host", "connection",	     "keep-alive", "proxy-connection",
		"te",	"transfer-encoding", NULL};

	switch (req->head[f->name.off]) {
	case 'h':
	case 'c':
	case 'k':
	case 'p':
	case 't':
		return !span_in(req, f->name, hop);
	case 'e':
		return !(req->flags & WEFT_REQ_EXPECT) || x->hcm->flags & WEFT_HCM_PROXY_100_CONTINUE ||
		       !span_is(req, f->name, "expect");
	case 'u':
		return req->flags & WEFT_REQ_UPGRADE || !span_is(req, f->name, "upgrade");
	case 'x':
		if (x->attempt_count && span_is(req, f->name, "x-envoy-attempt-count"))
			return false;
		return x->hcm->flags & WEFT_HCM_FORWARD_CERT ||
		       !span_is(req, f->name, "x-forwarded-client-cert");
	default:
		return true;
	}
}

/* A version 4 UUID (RFC 9562). */
void request_uuid(struct worker *w, char out[37])
{
	static const char hex[] = "0123456789abcdef";
	uint64_t r[2] = {worker_random(w), worker_random(w)};
	const uint8_t *p = (const uint8_t *)r;

	for (int i = 0, o = 0; i < 16; i++) {
		uint8_t c = p[i];

		if (i == 6)
			c = (uint8_t)((c & 0x0f) | 0x40);
		if (i == 8)
			c = (uint8_t)((c & 0x3f) | 0x80);
		if (i == 4 || i == 6 || i == 8 || i == 10)
			out[o++] = '-';
		out[o++] = hex[c >> 4];
		out[o++] = hex[c & 15];
		out[o] = '\0';
	}
}

/* request_headers_to_add_when_not_enforced: what limits in shadow say. */
struct addition {
	const struct weft_img_header *h;
	bool skip;
};
#define ADDITIONS_MAX 64

static size_t additions_list(const struct exchange *x, const struct weft_req *req, struct addition *list)
{
	size_t n = 0;

	for (uint32_t i = 0; i < x->dec.n_add; i++) {
		const struct weft_img_headers *set = weft_img_at(x->dec.add[i]);
		const struct weft_img_header *h = (const void *)(set + 1);

		for (uint32_t j = 0; j < set->n && n < ADDITIONS_MAX; j++, n++) {
			bool have = false;

			for (uint32_t k = 0; k < req->n_field; k++)
				have = have || (req->field[k].name.len == h[j].name.len &&
						!memcmp(req->head + req->field[k].name.off,
							weft_img_at(h[j].name.off), h[j].name.len));
			list[n] = (struct addition){&h[j], (h[j].action == 1 && have) ||
								   (h[j].action == 3 && !have)};
		}
	}
	return n;
}

static bool overwritten(const struct weft_req *req, const struct weft_field *f, const struct addition *list,
			size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct weft_img_header *h = list[i].h;

		if (!list[i].skip && h->action >= 2 && h->name.len == f->name.len &&
		    !memcmp(req->head + f->name.off, weft_img_at(h->name.off), h->name.len))
			return true;
	}
	return false;
}

static int fields_add(struct worker *w, struct exchange *x, const struct weft_req *req)
{
	struct addition list[ADDITIONS_MAX];
	size_t n = additions_list(x, req, list);
	int r = 0;

	for (uint32_t i = 0; !r && i < req->n_field; i++) {
		const struct weft_field *f = &req->field[i];

		if (passes(x, req, f) && !overwritten(req, f, list, n))
			r = line_add(w, &x->head, req->head + f->name.off, f->name.len,
				     req->head + f->value.off, f->value.len);
	}
	for (size_t i = 0; !r && i < n; i++) {
		if (!list[i].skip)
			r = line_add(w, &x->head, weft_img_at(list[i].h->name.off), list[i].h->name.len,
				     weft_img_at(list[i].h->value.off), list[i].h->value.len);
	}
	return r;
}

static int own_add(struct worker *w, struct exchange *x, const struct weft_req *req)
{
	/* before the router has it, a request has no timeout */
	uint64_t expected = x->forward ? asked_expected(x) : 0;
	struct buf *b = &x->head;
	struct lines l = {w, b, 0}; /* no request line begins as a header line does */
	int r = 0;

	if (req->flags & WEFT_REQ_TE_TRAILERS)
		r = buf_printf(w, b, "te: trailers\r\n");
	if (!r && req->flags & WEFT_REQ_UPGRADE)
		r = buf_printf(w, b, "connection: Upgrade\r\n");
	if (!r && expected && !(x->hcm->flags & WEFT_HCM_SUPPRESS_ENVOY_HEADERS)) {
		/* of an internal request, or of the one before an internal redirect */
		lines_remove(&l, "x-envoy-expected-rq-timeout-ms", 30);
		r = line_add_number(w, b, "x-envoy-expected-rq-timeout-ms", 30, expected);
	}
	if (!r && x->attempt_count)
		r = line_add(w, b, "x-envoy-attempt-count", 21, "1", 1);
	return r;
}

/* Methods that have no body unless they say so; the others get a length of 0 (Envoy's requestShouldHaveNoBody). */
static bool bodyless(const struct weft_req *req)
{
	static const char *const methods[] = {"GET", "HEAD", "DELETE", "TRACE", "CONNECT"};

	for (size_t i = 0; i < sizeof(methods) / sizeof(*methods); i++) {
		if (span_is(req, req->value[WEFT_VALUE_METHOD], methods[i]))
			return true;
	}
	return false;
}

int request_framing(struct worker *w, const struct exchange *x, struct buf *out)
{
	if (x->chunked_req)
		return buf_add(w, out, "transfer-encoding: chunked\r\n", 28);
	return x->sized_zero ? buf_add(w, out, "content-length: 0\r\n", 19) : 0;
}

void request_prepare(struct worker *w, struct exchange *x, struct weft_req *req, const struct weft_ctx *ctx)
{
	const struct limiter *l = x->down->hold.limiter;

	/* one that has waited keeps its own: a service may have been asked about it */
	if (l && *l->request_id)
		memcpy(x->request_id, l->request_id, sizeof(x->request_id));
	else
		request_uuid(w, x->request_id);
	weft_req_prepare(req, ctx, x->request_id,
			 w->head + sizeof(w->head) - LIMITER_ROOM - WEFT_PREPARE_ROOM,
			 WEFT_PREPARE_ROOM);
}

/* The first line, and the host where there is one. */
static int start_add(struct worker *w, struct buf *b, const struct weft_req *req)
{
	const struct weft_span *m = &req->value[WEFT_VALUE_METHOD], *p = &req->value[WEFT_VALUE_PATH];
	const struct weft_span *host = &req->value[WEFT_VALUE_HOST];
	bool has_host = req->present >> WEFT_VALUE_HOST & 1;
	int r = buf_add(w, b, req->head + m->off, m->len);

	if (!r)
		r = buf_add(w, b, " ", 1);
	if (!r)
		r = buf_add(w, b, req->head + p->off, p->len);
	if (!r)
		r = buf_add(w, b, " HTTP/1.1\r\n", 11);
	return r || !has_host ? r : line_add(w, b, "host", 4, req->head + host->off, host->len);
}

int request_sent(struct worker *w, const struct weft_req *req, struct buf *ret)
{
	int r = start_add(w, ret, req);

	for (uint32_t i = 0; !r && i < req->n_field; i++) {
		const struct weft_field *f = &req->field[i];
		size_t at = buf_len(ret);

		if (f->name.len == 4 &&
		    !strncasecmp((const char *)req->head + f->name.off, "host", 4))
			continue;
		r = line_add(w, ret, req->head + f->name.off, f->name.len, req->head + f->value.off,
			     f->value.len);
		/* those of a head that was refused stand as they came */
		for (uint8_t *c = buf_at(ret) + at; !r && *c != ':'; c++)
			*c = (uint8_t)tolower(*c);
	}
	return r;
}

int request_lines(struct worker *w, struct exchange *x, const struct weft_req *req)
{
	int r = start_add(w, &x->head, req);

	if (!r)
		r = fields_add(w, x, req);
	if (!r && x->forward)
		asked_times(w, x);
	return r ? r : own_add(w, x, req);
}

int request_answered(struct worker *w, struct exchange *x, const struct weft_req *req)
{
	/* the router has changed what it then finds no host or no place for */
	bool routed = (x->dec.outcome == WEFT_OUTCOME_NO_HEALTHY_UPSTREAM ||
		       x->dec.outcome == WEFT_OUTCOME_OVERFLOW) &&
		      x->dec.forward && x->dec.target;
	int r;

	if (routed) {
		x->forward = weft_img_at(x->dec.forward);
		x->attempts = 1; /* counted before it found so */
	}
	r = request_lines(w, x, req);
	return r || !routed ? r : request_change(w, x);
}

int request_build(struct worker *w, struct exchange *x, struct weft_req *req)
{
	int r = request_lines(w, x, req);

	if (!r)
		r = request_change(w, x);
	if (!r)
		r = request_hash(w, x, req);
	if (!r)
		r = asked_retries(w, x);
	x->sized_zero = !x->unsized && !bodyless(req) &&
			!(req->flags & (WEFT_REQ_HAS_LENGTH | WEFT_REQ_UPGRADE));
	return r;
}

/* The first line up to its target, which is absolute. *ret_n: bytes of x->head that are done. */
static int whole_url_put(struct worker *w, struct exchange *x, struct buf *out, size_t *ret_n)
{
	struct lines l = {w, &x->head, 0}; /* no request line begins as a header line does */
	const uint8_t *head = buf_at(&x->head), *blank = memchr(head, ' ', buf_len(&x->head));
	struct line host;
	int r;

	if (!blank || blank[1] != '/' || !lines_find(&l, "host", 4, 0, &host))
		return 0;
	*ret_n = (size_t)(blank + 1 - head);
	r = buf_add(w, out, head, *ret_n);
	if (!r)
		r = buf_add(w, out, x->https ? "https://" : "http://", x->https ? 8 : 7);
	return r ? r : buf_add(w, out, head + host.value, host.value_len);
}

int request_put(struct worker *w, struct exchange *x, bool h1, struct buf *out)
{
	size_t from = buf_len(out), done = 0;
	uint32_t flags = h1 ? x->cluster->flags : 0;
	int r = flags & WEFT_CLUSTER_WHOLE_URL ? whole_url_put(w, x, out, &done) : 0;

	if (!r)
		r = buf_add(w, out, buf_at(&x->head) + done, buf_len(&x->head) - done);
	if (!r && h1)
		r = request_framing(w, x, out);
	if (!r)
		r = buf_add(w, out, "\r\n", 2);
	if (!r && flags & WEFT_CLUSTER_PROPER_CASE)
		lines_capitalize(buf_at(out) + from, buf_len(out) - from);
	return r;
}
