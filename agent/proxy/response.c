// SPDX-License-Identifier: Apache-2.0
/* Heads of upstream responses (RFC 9112 section 4 and 5), and of what the client gets of them. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "agent/compile/reply.h"
#include "agent/proxy/mutate.h"

bool http_is_token(uint8_t c)
{
	static const char others[] = "!#$%&'*+-.^_`|~";

	return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') ||
	       (c && strchr(others, c));
}

/* Where the head ends: behind its blank line. 0: not there yet. */
static size_t head_end(const uint8_t *in, size_t n)
{
	const uint8_t *p = in, *end = in + n;

	while (p < end && (p = memchr(p, '\n', (size_t)(end - p)))) {
		p++;
		if (p < end && *p == '\n')
			return (size_t)(p + 1 - in);
		if (p + 1 < end && *p == '\r' && p[1] == '\n')
			return (size_t)(p + 2 - in);
	}
	return 0;
}

static bool is_digit(uint8_t c)
{
	return c >= '0' && c <= '9';
}

static int status_parse(const uint8_t *p, size_t n, struct response *ret)
{
	size_t i = 8;

	/* any version of one digit each, as Envoy; only 1.1 keeps the connection by itself */
	if (n < 12 || memcmp(p, "HTTP/", 5) || !is_digit(p[5]) || p[6] != '.' || !is_digit(p[7]) || p[8] != ' ')
		return -EBADMSG;
	ret->http10 = p[5] != '1' || p[7] != '1';
	ret->keep_alive = !ret->http10;
	while (i < n && p[i] == ' ')
		i++;
	if (n - i < 3 || !is_digit(p[i]) || !is_digit(p[i + 1]) || !is_digit(p[i + 2]))
		return -EBADMSG;
	ret->status = (uint32_t)((p[i] - '0') * 100 + (p[i + 1] - '0') * 10 + p[i + 2] - '0');
	if (ret->status < 100 || (n > i + 3 && p[i + 3] != ' '))
		return -EBADMSG;
	for (i += 3; i < n; i++) {
		if ((p[i] < 0x20 && p[i] != '\t') || p[i] == 0x7f)
			return -EBADMSG;
	}
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
		ret->wants_upgrade |= list_has(v, f->value_len, "upgrade");
		if (list_has(v, f->value_len, "close"))
			ret->keep_alive = false;
		else if (ret->http10 && list_has(v, f->value_len, "keep-alive"))
			ret->keep_alive = true;
	} else if (name_is(head, f, "upgrade")) {
		ret->has_upgrade = true;
	} else if (name_is(head, f, "proxy-connection")) {
		if (list_has(v, f->value_len, "close"))
			ret->keep_alive = false;
	} else if (name_is(head, f, "grpc-status")) {
		ret->has_grpc_status = f->value_len == 1 || f->value_len == 2;
		ret->grpc_status = 0;
		for (uint32_t i = 0; ret->has_grpc_status && i < f->value_len; i++) {
			ret->has_grpc_status = is_digit(v[i]);
			ret->grpc_status = ret->grpc_status * 10 + (uint32_t)(v[i] - '0');
		}
	} else if (name_is(head, f, "x-envoy-ratelimited")) {
		ret->rate_limited = true;
	} else if (name_is(head, f, "x-envoy-immediate-health-check-fail")) {
		ret->health_fail = true;
	} else if (name_is(head, f, "date")) {
		ret->has_date = true;
	} else if (name_is(head, f, "server")) {
		ret->has_server = true;
	}
	return 0;
}

/* CR and LF inside a value go (folded lines, stray CR), as in Envoy 1.40. Where the value then ends. */
static uint32_t unfold(uint8_t *head, uint32_t at, uint32_t end)
{
	uint32_t to = at;

	if (!memchr(head + at, '\r', end - at) && !memchr(head + at, '\n', end - at))
		return end;
	for (uint32_t i = at; i < end; i++) {
		if (head[i] != '\r' && head[i] != '\n')
			head[to++] = head[i];
	}
	return to;
}

static int field_parse(uint8_t *head, uint32_t at, uint32_t end, struct response *ret)
{
	struct head_field *f = &ret->field[ret->n];
	uint32_t p = at, e = end;

	if (ret->n == PROXY_RESPONSE_FIELDS_MAX)
		return -E2BIG;
	while (p < end && http_is_token(head[p])) {
		if (head[p] >= 'A' && head[p] <= 'Z')
			head[p] |= 0x20;
		p++;
	}
	if (p == at || p == end || head[p] != ':')
		return -EBADMSG;
	*f = (struct head_field){.name = at, .name_len = p - at};
	p++;
	e = unfold(head, p, e);
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

/* The line feed that ends the line at `at`, and the lines folded into it. */
static uint32_t line_end(const uint8_t *in, uint32_t at, uint32_t len, bool folds)
{
	uint32_t lf = at;

	for (;;) {
		lf = (uint32_t)((const uint8_t *)memchr(in + lf, '\n', len - lf) - in);
		if (!folds || lf == at || lf + 1 >= len || (in[lf + 1] != ' ' && in[lf + 1] != '\t'))
			return lf;
		lf++;
	}
}

int response_parse(uint8_t *in, size_t n, struct response *ret)
{
	size_t len = head_end(in, n);
	uint32_t at = 0;

	if (!len)
		return n > PROXY_RESPONSE_HEAD_MAX ? -E2BIG : -EAGAIN;
	if (len > PROXY_RESPONSE_HEAD_MAX)
		return -E2BIG;
	memset(ret, 0, offsetof(struct response, field)); /* n says how many of the fields count */
	ret->len = (uint32_t)len;
	for (bool first = true; at < len; first = false) {
		uint32_t lf = line_end(in, at, (uint32_t)len, !first), end = lf;
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
	if (ret->chunked && ret->has_length)
		return -EBADMSG;
	/* no body, so nothing may announce one (Envoy 1.40 refuses it): two readers would disagree where it ends */
	if (ret->status >= 200 && ret->status != 204)
		return 0;
	return ret->chunked || (ret->has_length && ret->length) ? -EBADMSG : 0;
}

/* Connection-specific lines do not go on; framing and identity are written anew. */
static bool passes(const struct exchange *x, const uint8_t *head, const struct head_field *f,
		   const struct response *r)
{
	bool upgraded = x->upgrade && (r->status == 101 || x->resp_bare) && r->has_upgrade &&
			r->wants_upgrade;

	switch (head[f->name]) {
	case 'c':
		if (name_is(head, f, "connection"))
			return upgraded;
		if (x->resp_bare && name_is(head, f, "content-type"))
			return false;
		return (r->status != 204 && r->status != 101 && !x->resp_bare) ||
		       !name_is(head, f, "content-length");
	case 'k':
		return !name_is(head, f, "keep-alive");
	case 'p':
		return !name_is(head, f, "proxy-connection");
	case 's':
		return x->hcm->server_header != WEFT_SERVER_OVERWRITE || !name_is(head, f, "server");
	case 't':
		return !name_is(head, f, "transfer-encoding");
	case 'u':
		return upgraded || !name_is(head, f, "upgrade");
	case 'x':
		if (x->attempt_count_back && name_is(head, f, "x-envoy-attempt-count"))
			return false;
		return x->hcm->flags & WEFT_HCM_SUPPRESS_ENVOY_HEADERS ||
		       !name_is(head, f, "x-envoy-upstream-service-time");
	default:
		return true;
	}
}

/* What the rules make of the head; the connection manager then takes the connection's lines and its own. */
static int rules_apply(struct exchange *x, const struct response *r, struct lines *l)
{
	static const char *const hop[] = {"keep-alive", "proxy-connection", NULL};
	const struct weft_img_target *t = weft_img_at(x->dec.target);
	struct format f = {.d = x->down,
			   .x = x,
			   .req = buf_at(&x->head),
			   .req_len = buf_len(&x->head),
			   .resp = l,
			   .status = r->status,
			   .code = r->status};
	int e;

	if (!t->response.changes)
		return 0;
	e = changes_apply(l, t->response.changes, &f);
	for (int i = 0; hop[i]; i++)
		lines_remove(l, hop[i], strlen(hop[i]));
	if (x->hcm->server_header == WEFT_SERVER_OVERWRITE)
		lines_remove(l, "server", 6);
	if (x->attempt_count_back)
		lines_remove(l, "x-envoy-attempt-count", 21);
	return e;
}

static int own_add(struct worker *w, struct exchange *x, const struct response *r, struct lines *l)
{
	const struct weft_state_head *s = weft_state_head();
	const struct weft_img_hcm *h = x->hcm;
	const struct weft_img_target *t = weft_img_at(x->dec.target);
	bool changed = t->response.changes != 0, date = r->has_date, server = r->has_server;
	struct line line;
	int e = 0;

	if (changed) {
		date = lines_find(l, "date", 4, l->from, &line);
		server = lines_find(l, "server", 6, l->from, &line);
	}
	if (x->attempt_count_back)
		e = line_add_number(w, l->b, "x-envoy-attempt-count", 21, x->attempts);
	if (!e)
		e = response_id_set(w, x, l);
	if (!e && !date)
		e = line_add(w, l->b, "date", 4, s->date[s->date_which & 1], WEFT_DATE_LEN);
	if (!e && h->via.len)
		e = lines_add(l, "via", 3, weft_img_at(h->via.off), h->via.len, ", ");
	if (!e && (h->server_header == WEFT_SERVER_OVERWRITE ||
		   (h->server_header == WEFT_SERVER_APPEND_IF_ABSENT && !server)))
		e = line_add(w, l->b, "server", 6, weft_img_at(h->server_name.off), h->server_name.len);
	return e;
}

/* How the body goes on, and what becomes of the connection. */
static int framing_add(struct worker *w, struct exchange *x, const struct response *r, struct buf *b)
{
	bool length = r->has_length && !x->resp_bare, upgrades = r->has_upgrade && r->wants_upgrade;
	bool ends = x->resp_close || x->down->drain, old = x->down->old;
	bool head_only = x->head_method && !old && !length && r->status != 204 &&
			 r->status != 304 && r->status != 101;
	int e = 0;

	if (x->chunked_out || head_only)
		e = buf_add(w, b, "transfer-encoding: chunked\r\n", 28);
	else if ((x->resp_bare || (x->resp_empty && !x->down->session)) && r->status != 204)
		e = buf_add(w, b, "content-length: 0\r\n", 19);
	if (!e && (ends || old) && !((x->resp_bare || response_upgrades(x, r)) && upgrades))
		e = ends ? buf_add(w, b, "connection: close\r\n", 19)
			 : buf_add(w, b, "connection: keep-alive\r\n", 24);
	return e ? e : buf_add(w, b, "\r\n", 2);
}

static int status_add(struct worker *w, struct buf *b, uint32_t status)
{
	const char *phrase = weft_status_phrase(status);
	char line[] = "HTTP/1.1 000 ";
	int r;

	/* three digits, as status_parse() has seen to */
	line[9] = (char)('0' + status / 100 % 10);
	line[10] = (char)('0' + status / 10 % 10);
	line[11] = (char)('0' + status % 10);
	r = buf_add(w, b, line, sizeof(line) - 1);
	if (!r)
		r = buf_add(w, b, phrase, strlen(phrase));
	return r ? r : buf_add(w, b, "\r\n", 2);
}

/* A further line of a header of which Envoy keeps one? */
static bool joins_earlier(const uint8_t *head, const struct response *r, uint32_t i)
{
	const struct head_field *f = &r->field[i];

	for (uint32_t j = 0; j < i; j++)
		if (r->field[j].name_len == f->name_len &&
		    !memcmp(head + r->field[j].name, head + f->name, f->name_len))
			return weft_header_joins((const char *)head + f->name, f->name_len, true);
	return false;
}

int response_build(struct worker *w, struct exchange *x, const uint8_t *head, const struct response *r)
{
	struct buf *b = &x->down->out;
	struct lines l = {.w = w, .b = b};
	size_t from = buf_len(b);
	int e = status_add(w, b, r->status);

	x->down->relayed = true;
	l.from = buf_len(b);

	for (uint32_t i = 0; !e && i < r->n; i++) {
		const struct head_field *f = &r->field[i];

		if (passes(x, head, f, r))
			e = lines_add(&l, (const char *)head + f->name, f->name_len, head + f->value,
				      f->value_len, joins_earlier(head, r, i) ? "," : NULL);
	}
	/* a response that came before the request's end has no time of its own (Envoy 1.40) */
	if (!e && !(x->hcm->flags & WEFT_HCM_SUPPRESS_ENVOY_HEADERS) && x->req_done && !x->upgrade)
		e = line_add_number(w, b, "x-envoy-upstream-service-time", 29, w->now_ms - x->upstream_ms);
	if (!e)
		e = response_cookies_add(x, &l);
	if (!e)
		e = rules_apply(x, r, &l);
	if (!e)
		e = told_apply(x, &l);
	if (!e)
		e = own_add(w, x, r, &l);
	if (!e)
		e = outcome_head(x->down, r->status, buf_at(b) + l.from, buf_len(b) - l.from);
	if (!e)
		e = framing_add(w, x, r, b);
	if (!e && x->hcm->proper_case && !x->down->codec)
		lines_capitalize(buf_at(b) + from, buf_len(b) - from);
	return e;
}

int response_interim(struct worker *w, struct buf *out, const uint8_t *head, const struct response *r)
{
	static const char *const dropped[] = {"connection", "content-length", "keep-alive",
					      "proxy-connection", "transfer-encoding", "upgrade"};
	int e = status_add(w, out, r->status);

	for (uint32_t i = 0; !e && i < r->n; i++) {
		const struct head_field *f = &r->field[i];
		bool drop = false;

		for (size_t k = 0; k < sizeof(dropped) / sizeof(*dropped); k++)
			drop = drop || name_is(head, f, dropped[k]);
		if (!drop)
			e = line_add(w, out, head + f->name, f->name_len, head + f->value, f->value_len);
	}
	return e ? e : buf_add(w, out, "\r\n", 2);
}
