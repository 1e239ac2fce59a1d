// SPDX-License-Identifier: Apache-2.0
/* The route's hash policies: they see the head that goes upstream. */
#include <string.h>

#include "agent/proxy/mutate.h"

static void value_set(struct weft_req *req, uint32_t slot, size_t off, size_t len)
{
	req->value[slot] = (struct weft_span){(uint32_t)off, (uint32_t)len};
	req->present |= 1ull << slot;
}

static bool name_is(const uint8_t *line, size_t n, const char *name)
{
	return n == strlen(name) && !memcmp(line, name, n);
}

static void field_add(struct weft_req *req, size_t at, size_t name, size_t end)
{
	size_t value = at + name + 2;

	if (end < value + 2 || req->n_field == WEFT_REQ_FIELDS)
		return;
	req->field[req->n_field++] =
		(struct weft_field){.name = {(uint32_t)at, (uint32_t)name},
				    .value = {(uint32_t)value, (uint32_t)(end - 2 - value)}};
	if (name_is(req->head + at, name, "host"))
		value_set(req, WEFT_VALUE_HOST, value, end - 2 - value);
	else if (name_is(req->head + at, name, "x-forwarded-proto") &&
		 name_is(req->head + value, end - 2 - value, "https"))
		value_set(req, WEFT_VALUE_SCHEME, value, end - 2 - value);
}

/* METHOD SP target SP version. */
static void request_line_set(struct weft_req *req, size_t len)
{
	const uint8_t *p = req->head, *first = memchr(p, ' ', len), *last, *query;

	last = first ? memrchr(first + 1, ' ', len - (size_t)(first + 1 - p)) : NULL;
	if (!last)
		return;
	value_set(req, WEFT_VALUE_METHOD, 0, (size_t)(first - p));
	value_set(req, WEFT_VALUE_PATH, (size_t)(first + 1 - p), (size_t)(last - first - 1));
	query = memchr(first + 1, '?', (size_t)(last - first - 1));
	req->path = req->value[WEFT_VALUE_PATH];
	if (query)
		req->path.len = (uint32_t)(query - first - 1);
}

/* req tells of the head, of whose bytes it has no copy. */
static void describe(struct weft_req *req, uint8_t *head, size_t len)
{
	size_t at = 0;

	req->head = head;
	req->len = (uint32_t)len;
	req->n_field = 0;
	req->present = req->repeated = 0;
	while (at < len) {
		const uint8_t *p = head + at, *lf = memchr(p, '\n', len - at);
		size_t next = lf ? (size_t)(lf - head) + 1 : len;
		const uint8_t *colon = memchr(p, ':', next - at);

		if (!at)
			request_line_set(req, next);
		else if (colon)
			field_add(req, at, (size_t)(colon - p), next);
		at = next;
	}
}

int request_hash(struct worker *w, struct exchange *x, struct weft_req *req)
{
	uint32_t lb = x->cluster->lb;
	int r;

	if (!x->forward->n_hash)
		return 0;
	/* the engine reads words of eight bytes */
	r = buf_room(w, &x->head, 64);
	if (r)
		return r;
	memset(buf_at(&x->head) + buf_len(&x->head), 0, 64);
	describe(req, buf_at(&x->head), buf_len(&x->head));
	weft_req_hash(req, &x->ctx, lb == WEFT_LB_RING_HASH || lb == WEFT_LB_MAGLEV);
	x->dec.hash = req->dec.hash;
	x->dec.hashed = req->dec.hashed;
	x->cookies = req->made;
	return 0;
}

int response_cookies_add(struct exchange *x, struct lines *l)
{
	const struct weft_img_hash *h = x->cookies ? weft_img_at(x->forward->hash) : NULL;
	char value[WEFT_COOKIE_LEN + 1];
	int r = 0;

	if (!h)
		return 0;
	weft_cookie_value(&x->ctx, value);
	/* each choice of an endpoint adds them (Envoy 1.40) */
	for (uint32_t n = 0; n < x->attempts; n++) {
		for (uint32_t i = 0; !r && i < x->forward->n_hash; i++) {
			if (!(x->cookies >> i & 1))
				continue;
			r = buf_printf(l->w, l->b, "set-cookie: %.*s=\"%s\"%.*s\r\n",
				       (int)h[i].key.name_len,
				       (const char *)weft_img_at(h[i].key.name), value,
				       (int)h[i].attributes.len,
				       (const char *)weft_img_at(h[i].attributes.off));
		}
	}
	return r;
}
