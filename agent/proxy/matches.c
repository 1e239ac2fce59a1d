// SPDX-License-Identifier: Apache-2.0
/* Conditions of a retry policy on heads that are no client's: a request on its way, a response
 * (weft_img_matchers). */
#include <stdlib.h>
#include <string.h>

#include "agent/proxy/mutate.h"

/* What conditions read of a head: bytes of its own, with room behind them as the engine wants it.
 */
struct probe {
	struct weft_req req;
	const struct weft_img_matchers *m;
	uint8_t bytes[];
};
#define PROBE_ROOM 1024u

static struct probe *probe_new(const struct weft_img_matchers *m, const void *head, size_t n)
{
	struct probe *p = calloc(1, sizeof(*p) + n + PROBE_ROOM);

	if (!p)
		return NULL;
	p->m = m;
	p->req.head = p->bytes;
	p->req.len = p->req.max_head = (uint32_t)n;
	if (n)
		memcpy(p->bytes, head, n);
	return p;
}

static void value_put(struct weft_req *req, uint32_t slot, struct weft_span value)
{
	uint64_t bit = 1ull << slot;

	req->repeated |= req->present & bit;
	if (!(req->present & bit))
		req->value[slot] = value;
	req->present |= bit;
}

static void field_put(struct probe *p, struct weft_span name, struct weft_span value)
{
	const struct weft_img_str *names = weft_img_at(p->m->name);
	struct weft_req *req = &p->req;

	if (req->n_field == sizeof(req->field) / sizeof(*req->field))
		return; /* no head has as many */
	req->field[req->n_field++] = (struct weft_field){name, value};
	for (uint32_t i = 0; i < p->m->n_name; i++) {
		if (names[i].len == name.len &&
		    !memcmp(weft_img_at(names[i].off), p->bytes + name.off, name.len))
			value_put(req, WEFT_VALUE__HEADERS + i, value);
	}
}

/* A pseudo header whose bytes stand nowhere: they go behind the head. */
static void pseudo_put(struct probe *p, const char *name, const char *value)
{
	struct weft_span n = {p->req.len + 64, (uint32_t)strlen(name)};
	struct weft_span v = {p->req.len + 96, (uint32_t)strlen(value)};

	memcpy(p->bytes + n.off, name, n.len);
	memcpy(p->bytes + v.off, value, v.len);
	field_put(p, n, v);
}

static bool any_holds(struct probe *p)
{
	for (uint32_t i = 0; i < p->m->n; i++) {
		if (weft_header_holds(&p->req,
				      p->m->cond + i * (uint32_t)sizeof(struct weft_img_cond)))
			return true;
	}
	return false;
}

static void request_line(struct probe *p, size_t n)
{
	const uint8_t *b = p->bytes, *blank = memchr(b, ' ', n);
	const uint8_t *end = blank ? memrchr(blank + 1, ' ', (size_t)(b + n - blank - 1)) : NULL;

	if (!end)
		return;
	value_put(&p->req, WEFT_VALUE_METHOD, (struct weft_span){0, (uint32_t)(blank - b)});
	value_put(&p->req, WEFT_VALUE_PATH,
		  (struct weft_span){(uint32_t)(blank + 1 - b), (uint32_t)(end - blank - 1)});
}

/* Lines of the worker's form: "name: value" CRLF. */
static void lines_put(struct probe *p, size_t at, size_t n)
{
	const uint8_t *b = p->bytes;

	while (at < n) {
		const uint8_t *lf = memchr(b + at, '\n', n - at);
		const uint8_t *colon = lf ? memchr(b + at, ':', (size_t)(lf - b) - at) : NULL;
		struct weft_span name, value;

		if (!colon)
			return;
		name = (struct weft_span){(uint32_t)at, (uint32_t)(colon - b - (ptrdiff_t)at)};
		value = (struct weft_span){(uint32_t)(colon - b) + 2, (uint32_t)(lf - colon) - 3};
		if (name.len == 4 && !memcmp(b + name.off, "host", 4))
			value_put(&p->req, WEFT_VALUE_HOST, value);
		else
			field_put(p, name, value);
		if (name.len == 17 && !memcmp(b + name.off, "x-forwarded-proto", 17) &&
		    (value.len == 4 || value.len == 5) &&
		    !memcmp(b + value.off, "https", value.len))
			value_put(&p->req, WEFT_VALUE_SCHEME, value);
		at = (size_t)(lf - b) + 1;
	}
}

bool head_matches(const uint8_t *head, size_t n, uint32_t matchers)
{
	const uint8_t *lf = n ? memchr(head, '\n', n) : NULL;
	struct probe *p = probe_new(weft_img_at(matchers), head, n);
	bool holds;

	if (!p)
		return false;
	if (lf) {
		request_line(p, (size_t)(lf - head));
		lines_put(p, (size_t)(lf - head) + 1, n);
	}
	holds = any_holds(p);
	free(p);
	return holds;
}

bool request_matches(const struct exchange *x, uint32_t matchers)
{
	return buf_len(&x->head) && head_matches(buf_at(&x->head), buf_len(&x->head), matchers);
}

bool response_matches(uint32_t matchers, const uint8_t *head, const struct response *r)
{
	struct probe *p = probe_new(weft_img_at(matchers), head, r->len);
	char status[] = "000";
	bool holds;

	if (!p)
		return false;
	/* three digits, as response_parse() has seen to */
	for (uint32_t i = 0, s = r->status; i < 3; i++, s /= 10)
		status[2 - i] = (char)('0' + s % 10);
	pseudo_put(p, ":status", status);
	for (uint32_t i = 0; i < r->n; i++)
		field_put(p, (struct weft_span){r->field[i].name, r->field[i].name_len},
			  (struct weft_span){r->field[i].value, r->field[i].value_len});
	holds = any_holds(p);
	free(p);
	return holds;
}
