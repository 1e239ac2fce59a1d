// SPDX-License-Identifier: Apache-2.0
/* What a CORS policy says in responses, and its answers to preflights, as Envoy 1.40 words them. */
#include <string.h>

#include "agent/proxy/mutate.h"

#define ALLOW(s) "access-control-allow-" s
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

int cors_prepare(struct worker *w, struct exchange *x, const struct weft_req *req)
{
	const struct weft_img_cors *c = req->dec.cors ? weft_img_at(req->dec.cors) : NULL;
	struct buf *b = &x->cors;
	int r = 0;

	if (!c)
		return 0;
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

int cors_apply(const struct exchange *x, struct lines *l)
{
	const uint8_t *p = x && buf_len(&x->cors) ? buf_at(&x->cors) : NULL;
	const uint8_t *end = p ? p + buf_len(&x->cors) : NULL;
	int r = 0;

	while (!r && p < end) {
		const uint8_t *lf = memchr(p, '\n', (size_t)(end - p));
		const uint8_t *colon = lf ? memchr(p, ':', (size_t)(lf - p)) : NULL;

		if (!colon)
			break;
		r = lines_set(l, (const char *)p, (size_t)(colon - p), colon + 2,
			      (size_t)(lf - colon - 3));
		p = lf + 1;
	}
	return r;
}
