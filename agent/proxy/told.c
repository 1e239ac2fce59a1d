// SPDX-License-Identifier: Apache-2.0
/*
 * What filters say in responses, as Envoy 1.40 words it: a CORS policy, and its answers to
 * preflights; what is left of a rate limit.
 */
#include <string.h>

#include "agent/proxy/limiter.h"
#include "agent/proxy/mutate.h"

#define ALLOW(s) "access-control-allow-" s
#define RATE_NAME "x-ratelimit-"
#define RATE(s) RATE_NAME s, sizeof(RATE_NAME s) - 1
#define LINE(b, name, p, n) line_add(w, (b), (name), strlen(name), (p), (n))

static int text_line(struct worker *w, struct buf *b, const char *name, struct weft_img_str s)
{
	return s.len ? LINE(b, name, weft_img_at(s.off), s.len) : 0;
}

static struct weft_span asked(const struct weft_req *req, uint32_t slot)
{
	struct weft_span none = {0, 0};

	return req->present >> slot & 1 ? req->value[slot] : none;
}

/* "*" is answered by what was asked for, be it nothing. */
static int list_line(struct worker *w, struct buf *b, const struct weft_req *req, const char *name,
		     struct weft_img_str s, uint32_t slot)
{
	struct weft_span v = asked(req, slot);

	if (s.len == 1 && *(const char *)weft_img_at(s.off) == '*')
		return LINE(b, name, req->head + v.off, v.len);
	return text_line(w, b, name, s);
}

static int preflight_lines(struct worker *w, struct buf *b, const struct weft_req *req,
			   const struct weft_img_cors *c)
{
	struct weft_span network = asked(req, c->slot_network);
	int r = list_line(w, b, req, ALLOW("methods"), c->methods, c->slot_method);

	if (!r)
		r = list_line(w, b, req, ALLOW("headers"), c->headers, c->slot_headers);
	if (!r)
		r = text_line(w, b, "access-control-max-age", c->max_age);
	if (!r && c->flags & WEFT_CORS_PRIVATE_NETWORK && network.len == 4 &&
	    !memcmp(req->head + network.off, "true", 4))
		r = LINE(b, ALLOW("private-network"), "true", 4);
	return r;
}

static int rates_lines(struct worker *w, struct buf *b, const struct weft_req *req)
{
	int r = 0;

	/* a response comes by the last filter first */
	for (uint32_t i = req->n_told; !r && i-- > 0;) {
		r = line_add_number(w, b, RATE("limit"), req->told[i].limit);
		if (!r)
			r = line_add_number(w, b, RATE("remaining"), req->told[i].remaining);
		if (!r)
			r = line_add_number(w, b, RATE("reset"), req->told[i].reset);
	}
	return r;
}

/* What the filter says that refuses the request stands in its reply. */
static uint32_t refused_by(const struct limiter *l, const struct weft_decision *dec)
{
	bool refused = dec->outcome == WEFT_OUTCOME_GLOBAL_LIMITED ||
		       dec->outcome == WEFT_OUTCOME_LIMITER_ERROR;

	return refused && l->n ? l->answer[l->n - 1].place : WEFT_FILTERS_MAX;
}

int told_prepare(struct worker *w, struct exchange *x, const struct weft_req *req)
{
	const struct weft_img_cors *c = req->dec.cors ? weft_img_at(req->dec.cors) : NULL;
	const struct limiter *limiter = x->down->hold.limiter;
	struct buf *b = &x->told;
	int r = rates_lines(w, b, req);

	if (!r && limiter)
		r = answers_told(w, limiter, refused_by(limiter, &req->dec), b);

	if (r || !c)
		return r;
	if (req->dec.cors_allowed) {
		struct weft_span origin = asked(req, c->slot_origin);

		r = LINE(b, ALLOW("origin"), req->head + origin.off, origin.len);
		if (!r && c->flags & WEFT_CORS_CREDENTIALS)
			r = LINE(b, ALLOW("credentials"), "true", 4);
		if (!r)
			r = text_line(w, b, "access-control-expose-headers", c->expose);
	}
	return r || req->dec.outcome != WEFT_OUTCOME_CORS ? r : preflight_lines(w, b, req, c);
}

/* Of what Envoy keeps one line the values are joined. */
static int line_beside(struct lines *l, const char *name, size_t n, const void *value, size_t len)
{
	return lines_add(l, name, n, value, len,
			 weft_header_joins(name, (__u32)n, true) ? "," : NULL);
}

int told_lines(const struct buf *told, struct lines *l)
{
	const uint8_t *p = buf_len(told) ? buf_at(told) : NULL;
	const uint8_t *end = p ? p + buf_len(told) : NULL;
	int r = 0;

	while (!r && p < end) {
		const uint8_t *lf = memchr(p, '\n', (size_t)(end - p));
		const uint8_t *colon = lf ? memchr(p, ':', (size_t)(lf - p)) : NULL;

		if (!colon)
			break;
		if (*p == '+') {
			r = line_beside(l, (const char *)p + 1, (size_t)(colon - p) - 1, colon + 2,
					(size_t)(lf - colon - 3));
			p = lf + 1;
			continue;
		}
		/* a rate limit's stand beside what the endpoint says of its own */
		if ((size_t)(colon - p) > sizeof(RATE_NAME) - 1 &&
		    !memcmp(p, RATE_NAME, sizeof(RATE_NAME) - 1))
			r = lines_add(l, (const char *)p, (size_t)(colon - p), colon + 2,
				      (size_t)(lf - colon - 3), NULL);
		else
			r = lines_set(l, (const char *)p, (size_t)(colon - p), colon + 2,
				      (size_t)(lf - colon - 3));
		p = lf + 1;
	}
	return r;
}

int told_apply(const struct exchange *x, struct lines *l)
{
	return x ? told_lines(&x->told, l) : 0;
}
