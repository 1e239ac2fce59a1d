// SPDX-License-Identifier: Apache-2.0
/* Heads of HTTP/2 requests and responses (RFC 9113 section 8) and their form of HTTP/1.1. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/cleanup.h"
#include "agent/proxy/h2.h"
#include "agent/proxy/h2_lines.h"

static bool is(const uint8_t *p, size_t n, const char *text)
{
	return n == strlen(text) && !memcmp(p, text, n);
}

/* ---- requests ---- */

static int span_put(struct worker *w, struct h2_block *b, struct h2_span *s, const uint8_t *value,
		    size_t len)
{
	*s = (struct h2_span){(uint32_t)buf_len(&b->text), (uint32_t)len, true};
	return buf_add(w, &b->text, value, len);
}

/* What nghttp2 lets pass and Envoy's own check does not: user information. */
static bool authority_ok(const uint8_t *p, size_t n)
{
	return n && !memchr(p, '@', n);
}

static bool path_ok(const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (p[i] <= ' ' || p[i] == 0x7f)
			return false;
	}
	return n;
}

static int pseudo_add(struct worker *w, struct h2_block *b, const uint8_t *name, size_t n,
		      const uint8_t *value, size_t len)
{
	if (is(name, n, ":method"))
		return span_put(w, b, &b->method, value, len);
	if (is(name, n, ":path"))
		return path_ok(value, len) ? span_put(w, b, &b->path, value, len) : -EBADMSG;
	if (is(name, n, ":scheme"))
		return len < sizeof(((struct h2_stream *)0)->scheme)
			       ? span_put(w, b, &b->scheme, value, len)
			       : -EBADMSG;
	if (is(name, n, ":authority"))
		return authority_ok(value, len) ? span_put(w, b, &b->authority, value, len)
						: -EBADMSG;
	return -EBADMSG;
}

int h2_block_add(struct h2 *h2, const uint8_t *name, size_t n, const uint8_t *value, size_t len)
{
	struct worker *w = h2->conn->worker;
	struct h2_block *b = &h2->block;
	int r;

	b->n++;
	b->bytes += (uint32_t)(n + len);
	if (b->n > h2->max_headers || b->bytes > h2->max_head)
		return -E2BIG;
	if (*name == ':')
		return pseudo_add(w, b, name, n, value, len);
	if (is(name, n, "host")) {
		if (!authority_ok(value, len))
			return -EBADMSG;
		return b->host.is ? 0 : span_put(w, b, &b->host, value, len);
	}
	if (is(name, n, "cookie")) { /* one line again (RFC 9113 section 8.2.3), behind all others
					as in Envoy */
		r = buf_len(&b->cookie) ? buf_add(w, &b->cookie, "; ", 2) : 0;
		return r ? r : buf_add(w, &b->cookie, value, len);
	}
	if (is(name, n, "content-length"))
		b->has_length = true;
	return line_add(w, &b->lines, name, n, value, len);
}

int h2_block_trailer(struct h2 *h2, const uint8_t *name, size_t n, const uint8_t *value, size_t len)
{
	struct h2_block *b = &h2->block;

	b->n++;
	b->bytes += (uint32_t)(n + len);
	if (b->n > h2->max_headers || b->bytes > h2->max_head)
		return -E2BIG;
	return line_add(h2->conn->worker, &b->lines, name, n, value, len);
}

void h2_block_clear(struct h2 *h2)
{
	struct worker *w = h2->conn->worker;

	buf_free(w, &h2->block.text);
	buf_free(w, &h2->block.lines);
	buf_free(w, &h2->block.cookie);
	h2->block = (struct h2_block){0};
}

static int target_add(struct worker *w, struct h2_block *b, struct buf *in)
{
	const uint8_t *text = buf_at(&b->text);
	struct h2_span t = b->path.is ? b->path : b->authority;
	int r = buf_add(w, in, text + b->method.at, b->method.n);

	if (!r)
		r = buf_add(w, in, " ", 1);
	if (!r)
		r = buf_add(w, in, text + t.at, t.n);
	/* the form of HTTP/1.1 asks for a port; nothing is matched by it */
	if (!r && !b->path.is && !memchr(text + t.at, ':', t.n))
		r = buf_add(w, in, ":443", 4);
	return r ? r : buf_add(w, in, " HTTP/1.1\r\n", 11);
}

int h2_block_take(struct h2 *h2, struct h2_stream *s, bool end)
{
	struct worker *w = h2->conn->worker;
	struct h2_block *b = &h2->block;
	struct buf *in = &s->down.in;
	struct h2_span host = b->authority.is ? b->authority : b->host;
	bool connect = b->method.is && is(buf_at(&b->text) + b->method.at, b->method.n, "CONNECT");
	int r;

	if (!b->method.is || !host.is || b->path.is == connect || b->scheme.is == connect)
		return -EBADMSG;
	for (uint32_t i = 0; i < b->scheme.n; i++) {
		uint8_t c = buf_at(&b->text)[b->scheme.at + i];

		s->scheme[i] = (char)(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
	}
	r = target_add(w, b, in);
	if (!r)
		r = line_add(w, in, "host", 4, buf_at(&b->text) + host.at, host.n);
	if (!r && buf_len(&b->lines))
		r = buf_add(w, in, buf_at(&b->lines), buf_len(&b->lines));
	if (!r && buf_len(&b->cookie))
		r = line_add(w, in, "cookie", 6, buf_at(&b->cookie), buf_len(&b->cookie));
	if (!r && !end && !b->has_length && !connect)
		r = buf_printf(w, in, "transfer-encoding: chunked\r\n");
	return r ? r : buf_add(w, in, "\r\n", 2);
}

int h2_parse(struct down *d, struct weft_req *req)
{
	const struct h2_stream *s = (const struct h2_stream *)d;
	size_t n = strlen(s->scheme);
	uint8_t *at;
	int r;

	/* its size was looked at when it came; as text it has more */
	req->max_head += PROXY_STREAM_HEAD_ROOM;
	req->hcm_flags |= WEFT_HCM_CUSTOM_METHODS | WEFT_HCM_STREAM;
	r = weft_http1_parse(req);
	if (r == WEFT_PARSE_MORE)
		return WEFT_PARSE_BAD;
	if (r || !n)
		return r;
	at = req->head + req->max_head + PROXY_HEAD_SCHEME;
	memcpy(at, s->scheme, n);
	req->present |= 1ull << WEFT_VALUE_SCHEME;
	req->value[WEFT_VALUE_SCHEME] = (struct weft_span){(uint32_t)(at - req->head), (uint32_t)n};
	return 0;
}

/* ---- responses ---- */

int h2_head_submit(struct h2_stream *s, const nghttp2_data_provider *body)
{
	struct down *d = &s->down;
	uint8_t *p = buf_at(&d->out), *status = p + 9;
	const uint8_t *end = memmem(p, buf_len(&d->out), "\r\n\r\n", 4);
	_auto_free_ nghttp2_nv *nv = NULL;
	uint8_t *lines;
	size_t len;
	ssize_t n;
	bool interim;
	int r;

	if (!end || end - p < 12)
		return -EBADMSG;
	len = (size_t)(end + 4 - p);
	lines = (uint8_t *)memchr(p, '\n', len) + 1;
	/* a length of nothing only HTTP/1.1 must be told */
	n = h2_lines_fields(lines, (size_t)(end + 2 - lines), 1, d->relayed, &nv);
	if (n < 0)
		return -ENOMEM;
	nv[0] = (nghttp2_nv){.name = (uint8_t *)(uintptr_t) ":status",
			     .value = status,
			     .namelen = 7,
			     .valuelen = 3};
	interim = *status == '1';
	if (interim)
		r = nghttp2_submit_headers(s->h2->session, NGHTTP2_FLAG_NONE, s->id, NULL, nv,
					   (size_t)n, NULL);
	else /* behind the head alone nothing is left */
		r = nghttp2_submit_response(
			s->h2->session, s->id, nv, (size_t)n,
			s->finished && buf_len(&d->out) == len && !buf_len(&d->trailers) ? NULL
											 : body);
	buf_consume(d->worker, &d->out, len);
	s->head_out = !interim;
	return r ? -ENOMEM : 0;
}
