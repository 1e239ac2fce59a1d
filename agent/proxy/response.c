// SPDX-License-Identifier: Apache-2.0
/* Heads of upstream responses (RFC 9112 section 4 and 5), and of what the client gets of them. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "agent/proxy/internal.h"

static bool is_token(uint8_t c)
{
	static const char others[] = "!#$%&'*+-.^_`|~";

	return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') ||
	       (c && strchr(others, c));
}

/* Where the head ends: behind its blank line. 0: not there yet. */
static size_t head_end(const uint8_t *in, size_t n)
{
	const uint8_t *p = in, *end = in + n;

	while ((p = memchr(p, '\n', (size_t)(end - p)))) {
		p++;
		if (p < end && *p == '\n')
			return (size_t)(p + 1 - in);
		if (p + 1 < end && *p == '\r' && p[1] == '\n')
			return (size_t)(p + 2 - in);
	}
	return 0;
}

static int status_parse(const uint8_t *p, size_t n, struct response *ret)
{
	if (n < 12 || memcmp(p, "HTTP/1.", 7) || (p[7] != '0' && p[7] != '1') || p[8] != ' ')
		return -EBADMSG;
	ret->http10 = p[7] == '0';
	ret->keep_alive = !ret->http10;
	ret->status = 0;
	for (int i = 9; i < 12; i++) {
		if (p[i] < '0' || p[i] > '9')
			return -EBADMSG;
		ret->status = ret->status * 10 + (uint32_t)(p[i] - '0');
	}
	if (ret->status < 100 || (n > 12 && p[12] != ' ' && p[12] != '\r' && p[12] != '\n'))
		return -EBADMSG;
	return 0;
}

static bool name_is(const uint8_t *head, const struct head_field *f, const char *name)
{
	return f->name_len == strlen(name) && !memcmp(head + f->name, name, f->name_len);
}

static int length_parse(const uint8_t *p, uint32_t n, uint64_t *ret)
{
	uint64_t v = 0;

	if (!n)
		return -EBADMSG;
	for (uint32_t i = 0; i < n; i++) {
		if (p[i] < '0' || p[i] > '9' || v > (UINT64_MAX - 9) / 10)
			return -EBADMSG;
		v = v * 10 + (uint64_t)(p[i] - '0');
	}
	*ret = v;
	return 0;
}

/* A word in a comma separated list, without regard to case. */
static bool list_has(const uint8_t *p, uint32_t n, const char *word)
{
	size_t len = strlen(word);

	for (uint32_t i = 0; i < n;) {
		uint32_t j = i;

		while (j < n && p[j] != ',')
			j++;
		while (i < j && (p[i] == ' ' || p[i] == '\t'))
			i++;
		if (j - i >= len && !strncasecmp((const char *)p + i, word, len)) {
			uint32_t k = i + (uint32_t)len;

			while (k < j && (p[k] == ' ' || p[k] == '\t'))
				k++;
			if (k == j)
				return true;
		}
		i = j + 1;
	}
	return false;
}

/* What the framing and the connection depend on. */
static int field_meaning(const uint8_t *head, const struct head_field *f, struct response *ret)
{
	const uint8_t *v = head + f->value;

	if (name_is(head, f, "content-length")) {
		if (ret->has_length)
			return -EBADMSG;
		ret->has_length = true;
		return length_parse(v, f->value_len, &ret->length);
	}
	if (name_is(head, f, "transfer-encoding")) {
		if (ret->chunked || f->value_len != 7 || strncasecmp((const char *)v, "chunked", 7))
			return -EBADMSG;
		ret->chunked = true;
	} else if (name_is(head, f, "connection")) {
		if (list_has(v, f->value_len, "close"))
			ret->keep_alive = false;
		else if (ret->http10 && list_has(v, f->value_len, "keep-alive"))
			ret->keep_alive = true;
	} else if (name_is(head, f, "date")) {
		ret->has_date = true;
	} else if (name_is(head, f, "server")) {
		ret->has_server = true;
	}
	return 0;
}

static int field_parse(uint8_t *head, uint32_t at, uint32_t end, struct response *ret)
{
	struct head_field *f = &ret->field[ret->n];
	uint32_t p = at, e = end;

	if (ret->n == PROXY_RESPONSE_FIELDS_MAX)
		return -E2BIG;
	while (p < end && is_token(head[p])) {
		if (head[p] >= 'A' && head[p] <= 'Z')
			head[p] |= 0x20;
		p++;
	}
	if (p == at || p == end || head[p] != ':')
		return -EBADMSG;
	*f = (struct head_field){.name = at, .name_len = p - at};
	p++;
	while (p < e && (head[p] == ' ' || head[p] == '\t'))
		p++;
	while (e > p && (head[e - 1] == ' ' || head[e - 1] == '\t'))
		e--;
	for (uint32_t i = p; i < e; i++) {
		if ((head[i] < 0x20 && head[i] != '\t') || head[i] == 0x7f)
			return -EBADMSG;
	}
	f->value = p;
	f->value_len = e - p;
	ret->n++;
	return field_meaning(head, f, ret);
}

int response_parse(uint8_t *in, size_t n, struct response *ret)
{
	size_t len = head_end(in, n);
	uint32_t at = 0;

	if (!len)
		return n > PROXY_RESPONSE_HEAD_MAX ? -E2BIG : -EAGAIN;
	if (len > PROXY_RESPONSE_HEAD_MAX)
		return -E2BIG;
	*ret = (struct response){.len = (uint32_t)len};
	for (bool first = true; at < len; first = false) {
		uint32_t lf = (uint32_t)((uint8_t *)memchr(in + at, '\n', len - at) - in), end = lf;
		int r = 0;

		if (end > at && in[end - 1] == '\r')
			end--;
		if (first)
			r = status_parse(in + at, end - at, ret);
		else if (end > at)
			r = field_parse(in, at, end, ret);
		if (r)
			return r;
		at = lf + 1;
	}
	return ret->chunked && ret->has_length ? -EBADMSG : 0;
}

/* Connection-specific lines do not go on; framing and identity are written anew. */
static bool passes(const uint8_t *head, const struct head_field *f, bool upgraded)
{
	static const char *const dropped[] = {"keep-alive", "proxy-connection", "transfer-encoding"};

	for (size_t i = 0; i < sizeof(dropped) / sizeof(*dropped); i++) {
		if (name_is(head, f, dropped[i]))
			return false;
	}
	return upgraded || (!name_is(head, f, "connection") && !name_is(head, f, "upgrade"));
}

static int field_add(struct worker *w, struct buf *b, const uint8_t *head, const struct head_field *f)
{
	int r = buf_room(w, b, f->name_len + f->value_len + 4);

	if (r)
		return r;
	memcpy(b->data + b->end, head + f->name, f->name_len);
	b->end += f->name_len;
	memcpy(b->data + b->end, ": ", 2);
	b->end += 2;
	memcpy(b->data + b->end, head + f->value, f->value_len);
	b->end += f->value_len;
	memcpy(b->data + b->end, "\r\n", 2);
	b->end += 2;
	return 0;
}

static int identity_add(struct worker *w, struct exchange *x, const struct response *r, struct buf *b)
{
	const struct weft_img_hcm *h = x->hcm;
	const struct weft_state_head *s = weft_state_head();
	int e = 0;

	if (!r->has_date)
		e = buf_printf(w, b, "date: %.29s\r\n", s->date[s->date_which & 1]);
	if (!e && (h->server_header == WEFT_SERVER_OVERWRITE ||
		   (h->server_header == WEFT_SERVER_APPEND_IF_ABSENT && !r->has_server)))
		e = buf_printf(w, b, "server: %.*s\r\n", (int)h->server_name.len,
			       (const char *)weft_img_at(h->server_name.off));
	if (!e && h->via.len)
		e = buf_printf(w, b, "via: %.*s\r\n", (int)h->via.len,
			       (const char *)weft_img_at(h->via.off));
	if (!e && !(h->flags & WEFT_HCM_SUPPRESS_ENVOY_HEADERS))
		e = buf_printf(w, b, "x-envoy-upstream-service-time: %llu\r\n",
			       (unsigned long long)(w->now_ms - x->upstream_ms));
	return e;
}

int response_build(struct worker *w, struct exchange *x, const uint8_t *head, const struct response *r)
{
	struct buf *b = &x->down->out;
	bool upgraded = r->status == 101, overwrite = x->hcm->server_header == WEFT_SERVER_OVERWRITE;
	const uint8_t *line = memchr(head, ' ', r->len), *end = memchr(head, '\n', r->len);
	int e = buf_add(w, b, "HTTP/1.1", 8);

	if (end > line && end[-1] == '\r')
		end--;
	if (!e)
		e = buf_add(w, b, line, (size_t)(end - line));
	if (!e)
		e = buf_add(w, b, "\r\n", 2);
	for (uint32_t i = 0; !e && i < r->n; i++) {
		if (!passes(head, &r->field[i], upgraded) ||
		    (overwrite && name_is(head, &r->field[i], "server")))
			continue;
		e = field_add(w, b, head, &r->field[i]);
	}
	if (!e)
		e = identity_add(w, x, r, b);
	if (!e && x->chunked_out)
		e = buf_add(w, b, "transfer-encoding: chunked\r\n", 28);
	if (!e && x->resp_close)
		e = buf_add(w, b, "connection: close\r\n", 19);
	return e ? e : buf_add(w, b, "\r\n", 2);
}
