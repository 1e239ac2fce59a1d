// SPDX-License-Identifier: Apache-2.0
/* What a rate limit service's answer does to its request and the response, as Envoy 1.40 does it.
 */
#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "agent/proxy/limiter.h"
#include "agent/proxy/local.h"

typedef Envoy__Config__Core__V3__HeaderValue header;

/* Of a header that an answer adds: names are copied in lower case. */
#define NAME_MAX_LEN 256
#define LIMITED "x-envoy-ratelimited"
#define LIMITED_LEN (sizeof(LIMITED) - 1)

/* ---- the lines ---- */

static bool text_is_good(const char *text)
{
	for (; *text; text++) {
		if (((uint8_t)*text < 0x20 && *text != '\t') || (uint8_t)*text == 0x7f)
			return false;
	}
	return true;
}

static bool line_is_good(const header *h, bool request)
{
	const char *name = h->key;
	size_t n = strlen(name);

	if (*name == ':' && (!request || (strcmp(name, ":path") && strcmp(name, ":authority"))))
		return false;
	/* a blank would end the path early for whoever reads it next: refused, where Envoy sends it
	 */
	if (!strcmp(name, ":path") && strpbrk(h->value, " \t"))
		return false;
	for (size_t i = *name == ':'; i < n; i++) {
		if (!http_is_token((uint8_t)name[i]))
			return false;
	}
	return n && n < NAME_MAX_LEN && text_is_good(h->value);
}

enum weft_verdict answer_verdict(const rate_response *msg)
{
	if (!msg)
		return WEFT_VERDICT_ERROR;
	return msg->overall_code ==
			       ENVOY__SERVICE__RATELIMIT__V3__RATE_LIMIT_RESPONSE__CODE__OVER_LIMIT
		       ? WEFT_VERDICT_OVER
		       : WEFT_VERDICT_OK;
}

bool answer_is_good(const rate_response *msg)
{
	size_t all = 0;

	for (size_t i = 0; i < msg->n_response_headers_to_add; i++) {
		const header *h = msg->response_headers_to_add[i];

		all += strlen(h->key) + strlen(h->value) + 4;
		if (!line_is_good(h, false))
			return false;
	}
	for (size_t i = 0; i < msg->n_request_headers_to_add; i++) {
		const header *h = msg->request_headers_to_add[i];

		all += strlen(h->key) + strlen(h->value) + 4;
		if (!line_is_good(h, true))
			return false;
	}
	for (size_t i = 0; i < msg->n_statuses; i++) {
		if (msg->statuses[i]->current_limit &&
		    !text_is_good(msg->statuses[i]->current_limit->name))
			return false;
	}
	return all <= LIMITER_ROOM;
}

static size_t lower(const char *name, char out[NAME_MAX_LEN])
{
	size_t n = 0;

	for (; name[n] && n < NAME_MAX_LEN - 1; n++)
		out[n] = (char)tolower((unsigned char)name[n]);
	out[n] = '\0';
	return n;
}

/* ---- the request ---- */

/* Bytes of the worker's head, behind what the engine uses of it. */
static bool room_put(struct worker *w, const void *bytes, size_t n, struct weft_span *ret)
{
	uint8_t *room = w->head + sizeof(w->head) - LIMITER_ROOM;

	if (n > LIMITER_ROOM - w->added)
		return false;
	memcpy(room + w->added, bytes, n);
	*ret = (struct weft_span){(uint32_t)(room + w->added - w->head), (uint32_t)n};
	w->added += (uint32_t)n;
	return true;
}

/* "old,new": of what Envoy keeps one line. */
static bool joined_put(struct worker *w, const struct weft_req *req, struct weft_span old,
		       const char *value, struct weft_span *ret)
{
	struct weft_span a, b, c;

	if (!room_put(w, req->head + old.off, old.len, &a) || !room_put(w, ",", 1, &b) ||
	    !room_put(w, value, strlen(value), &c))
		return false;
	*ret = (struct weft_span){a.off, a.len + b.len + c.len};
	return true;
}

static bool pseudo_put(struct worker *w, struct weft_req *req, uint32_t slot, const char *value)
{
	struct weft_span s;

	if (!joined_put(w, req, req->value[slot], value, &s))
		return false;
	if (slot == WEFT_VALUE_PATH)
		return !weft_req_set_path(req, req->head + s.off, s.len);
	req->value[slot] = s;
	return true;
}

static bool field_put(struct worker *w, struct weft_req *req, const header *h)
{
	struct weft_span name, value;
	char text[NAME_MAX_LEN];
	size_t n = lower(h->key, text);

	if (!strcmp(text, ":path"))
		return pseudo_put(w, req, WEFT_VALUE_PATH, h->value);
	if (!strcmp(text, ":authority") || !strcmp(text, "host"))
		return pseudo_put(w, req, WEFT_VALUE_HOST, h->value);
	for (uint32_t i = 0; weft_header_joins(text, (uint32_t)n, false) && i < req->n_field; i++) {
		struct weft_field *f = &req->field[i];

		if (f->name.len == n && !memcmp(req->head + f->name.off, text, n))
			return joined_put(w, req, f->value, h->value, &f->value) &&
			       weft_req_field_seen(req, i);
	}
	if (req->n_field == WEFT_REQ_FIELDS || !room_put(w, text, n, &name) ||
	    !room_put(w, h->value, strlen(h->value), &value))
		return false;
	req->field[req->n_field++] = (struct weft_field){name, value};
	return weft_req_field_seen(req, req->n_field - 1);
}

bool answer_request(struct worker *w, struct weft_req *req, const struct answer *a)
{
	bool good = true;

	for (size_t i = 0; a->msg && good && i < a->msg->n_request_headers_to_add; i++)
		good = field_put(w, req, a->msg->request_headers_to_add[i]);
	return good;
}

/* ---- what responses tell ---- */

/* x-ratelimit-*: of the limit with the least left, where its rule lets it be told; the windows of
 * all that may be. */
static int limits_told(struct worker *w, const struct answer *a, struct buf *out)
{
	const rate_response *m = a->msg;
	uint32_t least = UINT32_MAX;
	struct buf policy = {0};
	int r = 0;

	for (uint32_t i = 0; !r && i < m->n_statuses; i++) {
		const Envoy__Service__Ratelimit__V3__RateLimitResponse__DescriptorStatus *s =
			m->statuses[i];
		bool told = i < a->n_tell ? a->tell[i] : a->told;
		uint32_t window = s->current_limit ? wire_seconds((int)s->current_limit->unit) : 0;

		if (!s->current_limit)
			continue;
		if (least == UINT32_MAX || s->limit_remaining < m->statuses[least]->limit_remaining)
			least = i;
		if (!window || !told)
			continue;
		r = buf_printf(w, &policy, ", %u;w=%u", s->current_limit->requests_per_unit,
			       window);
		if (!r && *s->current_limit->name)
			r = buf_printf(w, &policy, ";name=\"%s\"", s->current_limit->name);
	}
	if (!r && least != UINT32_MAX && (least < a->n_tell ? a->tell[least] : a->told)) {
		const Envoy__Service__Ratelimit__V3__RateLimitResponse__DescriptorStatus *s =
			m->statuses[least];

		r = buf_printf(w, out, "+x-ratelimit-limit: %u%.*s\r\n",
			       s->current_limit->requests_per_unit, (int)buf_len(&policy),
			       buf_len(&policy) ? (const char *)buf_at(&policy) : "");
		if (!r)
			r = buf_printf(
				w, out,
				"+x-ratelimit-remaining: %u\r\n+x-ratelimit-reset: %llu\r\n",
				s->limit_remaining,
				s->duration_until_reset
					? (unsigned long long)s->duration_until_reset->seconds
					: 0ull);
	}
	buf_free(w, &policy);
	return r;
}

static int answer_told(struct worker *w, const struct answer *a, struct buf *out)
{
	bool limited = a->verdict == WEFT_VERDICT_OVER && !(a->config->flags & WEFT_GLOBAL_SILENT);
	int r = 0;

	for (size_t i = 0; !r && a->msg && i < a->msg->n_response_headers_to_add; i++) {
		const header *h = a->msg->response_headers_to_add[i];
		char text[NAME_MAX_LEN];
		size_t n = lower(h->key, text);

		if (limited && n == LIMITED_LEN && !memcmp(text, LIMITED, n))
			continue;
		r = buf_printf(w, out, "+%s: ", text);
		if (!r)
			r = buf_add(w, out, h->value, strlen(h->value));
		if (!r)
			r = buf_add(w, out, "\r\n", 2);
	}
	if (!r && limited)
		r = buf_printf(w, out, "+" LIMITED ": true\r\n");
	return r || !a->msg ? r : limits_told(w, a, out);
}

/* A response comes by the last filter first. */
int answers_told(struct worker *w, const struct limiter *l, uint32_t but, struct buf *out)
{
	int r = 0;

	for (uint32_t place = WEFT_FILTERS_MAX; !r && place-- > 0;) {
		for (uint32_t i = 0; !r && i < l->n; i++) {
			if (l->answer[i].place == place && place != but && l->answer[i].config)
				r = answer_told(w, &l->answer[i], out);
		}
	}
	return r;
}

/* ---- the refusal ---- */

/* Its own content-type is the body's, whatever rules say. */
static void type_clear(const struct buf *told, struct lines *l)
{
	static const char name[] = "+content-type: ";

	if (buf_len(told) && memmem(buf_at(told), buf_len(told), name, sizeof(name) - 1))
		lines_remove(l, "content-type", 12);
}

static int over_lines(struct down *d, const struct answer *a, struct lines *l)
{
	struct exchange *x = d->x;
	struct format f = {
		.d = d, .x = x, .req = buf_at(&x->head), .req_len = buf_len(&x->head), .resp = l};
	struct buf told = {0};
	int r = answer_told(d->worker, a, &told);

	if (!r) {
		type_clear(&told, l);
		r = told_lines(&told, l);
	}
	buf_free(d->worker, &told);
	return r ? r : change_apply(l, &a->config->add, &f);
}

int answer_refuse(struct down *d, const struct weft_req *req, bool close)
{
	const struct limiter *l = d->hold.limiter;
	const struct answer *a = l && l->n ? &l->answer[l->n - 1] : NULL;
	struct reply out = {.status = req->dec.fault_status,
			    .body = "",
			    .close = close,
			    .grpc = req->flags & WEFT_REQ_GRPC,
			    .head_method = req->flags & WEFT_REQ_HEAD_METHOD};
	struct worker *w = d->worker;
	struct buf text = {0};
	struct lines lines = {.w = w, .b = &text};
	int r;

	if (a && a->msg && req->dec.outcome == WEFT_OUTCOME_GLOBAL_LIMITED) {
		out.body = (const char *)a->msg->raw_body.data;
		out.len = a->msg->raw_body.len;
	}
	r = local_rules(d, &lines, out.status);
	if (!r && a && req->dec.outcome == WEFT_OUTCOME_GLOBAL_LIMITED)
		r = over_lines(d, a, &lines);
	if (!r)
		r = told_apply(d->x, &lines);
	if (!r)
		r = local_reply_write(d, &out, buf_at(&text), buf_len(&text));
	buf_free(w, &text);
	return r;
}

/* ---- dynamic metadata ---- */

static const Google__Protobuf__Value *member(const Google__Protobuf__Struct *s,
					     struct weft_img_str key)
{
	const char *name = weft_img_at(key.off);

	for (size_t i = s ? s->n_fields : 0; i-- > 0;) {
		if (strlen(s->fields[i]->key) == key.len &&
		    !memcmp(s->fields[i]->key, name, key.len))
			return s->fields[i]->value;
	}
	return NULL;
}

/* Of one namespace the answers' objects are merged, field by field (Envoy): the last that has the
 * first key says. */
const Google__Protobuf__Value *answers_value(const struct limiter *l,
					     const struct weft_img_rate_path *path)
{
	static const char space[] = "envoy.filters.http.ratelimit";
	const struct weft_img_str *key = path->n ? weft_img_at(path->key) : NULL;
	const Google__Protobuf__Value *v = NULL;

	if (!key || path->name.len != sizeof(space) - 1 ||
	    memcmp(weft_img_at(path->name.off), space, sizeof(space) - 1))
		return NULL;
	for (uint32_t i = l->n; !v && i-- > 0;)
		v = l->answer[i].msg ? member(l->answer[i].msg->dynamic_metadata, key[0]) : NULL;
	for (uint32_t i = 1; v && i < path->n; i++)
		v = v->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_STRUCT_VALUE
			    ? member(v->struct_value, key[i])
			    : NULL;
	return v;
}
