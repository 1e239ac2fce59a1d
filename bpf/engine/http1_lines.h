/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/* Request lines and header lines as bytes: where they are, whether they may be so (http1_full.h). Natively only. */

#include <string.h>
#include <strings.h>

#include "bpf/engine/http1.h"

struct weft_raw_line {
	__u32 begin, end; /* without the line's end; a folded line has several CR LF inside */
};

static int weft_refuse(struct weft_req *req, int verdict, const char *details)
{
	req->details = details;
	return verdict;
}

static bool weft_is_alpha(__u32 c)
{
	return (c | 0x20) - 'a' < 26;
}

static bool weft_is_digit(__u32 c)
{
	return c - '0' < 10;
}

static bool weft_is_token(__u32 c)
{
	return weft_is_alpha(c) || weft_is_digit(c) || (c < 128 && c && strchr("!#$%&'*+-.^_`|~", (int)c));
}

/* Bytes that may stand nowhere in a head; CR, LF and TAB have rules of their own. */
static bool weft_is_control(__u32 c)
{
	return (c < 0x20 && c != '\t' && c != '\n' && c != '\r') || c == 0x7f;
}

static __u32 weft_lower(__u32 c)
{
	return c - 'A' < 26 ? c | 0x20 : c;
}

/* head[s) equals the lower-case text, letters in any case. */
static bool weft_span_is(const struct weft_req *req, struct weft_span s, const char *lower)
{
	size_t n = strlen(lower);

	if (s.len != n)
		return false;
	for (__u32 i = 0; i < n; i++)
		if (weft_lower(req->head[s.off + i]) != (__u8)lower[i])
			return false;
	return true;
}

/* head[s) equals the text: methods are told apart by case. */
static bool weft_span_same(const struct weft_req *req, struct weft_span s, const char *text)
{
	return s.len == strlen(text) && !memcmp(req->head + s.off, text, s.len);
}

static struct weft_span weft_span_trim(const struct weft_req *req, struct weft_span s)
{
	while (s.len && req->head[s.off] <= ' ') {
		s.off++;
		s.len--;
	}
	while (s.len && req->head[s.off + s.len - 1] <= ' ')
		s.len--;
	return s;
}

/* Next part of a comma-separated list; false: no more. *rest shrinks. Empty parts are left out. */
static bool weft_list_next(const struct weft_req *req, struct weft_span *rest, struct weft_span *ret)
{
	while (rest->len && req->head[rest->off] == ',') {
		rest->off++;
		rest->len--;
	}
	if (!rest->len)
		return false;
	__u32 n = 0;

	while (n < rest->len && req->head[rest->off + n] != ',')
		n++;
	*ret = weft_span_trim(req, (struct weft_span){ rest->off, n });
	rest->off += n;
	rest->len -= n;
	return true;
}

static bool weft_list_has(const struct weft_req *req, struct weft_span list, const char *lower)
{
	struct weft_span part;

	while (weft_list_next(req, &list, &part))
		if (weft_span_is(req, part, lower))
			return true;
	return false;
}

/* ---- request line ---- */

/* Envoy's list; others only with allow_custom_methods. */
static const char *const weft_methods[] = {
	"ACL",	     "BIND",	"CHECKOUT",   "CONNECT",  "COPY",   "DELETE", "GET",
	"HEAD",	     "LINK",	"LOCK",	      "MERGE",	  "MKACTIVITY", "MKCALENDAR", "MKCOL",
	"MOVE",	     "MSEARCH", "NOTIFY",     "OPTIONS",  "PATCH",  "POST",   "PROPFIND",
	"PROPPATCH", "PURGE",	"PUT",	      "QUERY",	  "REBIND", "REPORT", "SEARCH",
	"SOURCE",    "SUBSCRIBE", "TRACE",    "UNBIND",	  "UNLINK", "UNLOCK", "UNSUBSCRIBE",
};

static bool weft_method_ok(const struct weft_req *req, struct weft_span m)
{
	if (req->hcm_flags & WEFT_HCM_CUSTOM_METHODS) {
		for (__u32 i = 0; i < m.len; i++)
			if (!weft_is_token(req->head[m.off + i]))
				return false;
		return m.len > 0;
	}
	for (size_t i = 0; i < sizeof(weft_methods) / sizeof(weft_methods[0]); i++)
		if (strlen(weft_methods[i]) == m.len &&
		    !memcmp(weft_methods[i], req->head + m.off, m.len))
			return true;
	return false;
}

static bool weft_all_visible(const __u8 *h, __u32 off, __u32 end)
{
	for (; off < end; off++)
		if (h[off] < '!' || h[off] > '~')
			return false;
	return true;
}

/* What the codec lets pass as a target before it knows the head: a path, or scheme://host..., or CONNECT's. */
static bool weft_target_ok(const __u8 *h, struct weft_span t, bool is_connect)
{
	__u32 p = t.off, end = t.off + t.len, before = 0;

	if (h[p] == '/' || h[p] == '*')
		return weft_all_visible(h, p, end);
	if (!is_connect) {
		if (!weft_is_alpha(h[p]))
			return false;
		while (p < end && (weft_is_alpha(h[p]) || weft_is_digit(h[p]) || h[p] == '+' ||
				   h[p] == '-' || h[p] == '.'))
			p++;
		if (end - p < 3 || memcmp(h + p, "://", 3))
			return false;
		p += 3;
	}
	for (; p < end && h[p] != '/' && h[p] != '?'; p++) {
		__u32 c = h[p];

		if (!weft_is_alpha(c) && !weft_is_digit(c) &&
		    (!c || c >= 128 || !strchr("!$%&'()*+,-.:;=@[]_~", (int)c)))
			return false;
		if (c == '@' && before == '@')
			return false;
		before = c;
	}
	return weft_all_visible(h, p, end);
}

/* "HTTP/d.d", or nothing at all (HTTP/0.9). */
static bool weft_version_ok(const __u8 *h, struct weft_span v)
{
	h += v.off;
	return !v.len || (v.len == 8 && !memcmp(h, "HTTP/", 5) && weft_is_digit(h[5]) &&
			  h[6] == '.' && weft_is_digit(h[7]));
}

static struct weft_span weft_island(const __u8 *h, __u32 *pos, __u32 end)
{
	while (*pos < end && h[*pos] <= ' ')
		(*pos)++;
	struct weft_span s = { *pos, 0 };

	while (*pos < end && h[*pos] > ' ')
		(*pos)++;
	s.len = *pos - s.off;
	return s;
}

/* A request line that is none: what Envoy's codec says of it. */
static int weft_refuse_line(struct weft_req *req, int verdict, __u32 begin, __u32 end)
{
	for (__u32 i = begin; i < end; i++)
		if (weft_is_control(req->head[i]))
			return weft_refuse(req, verdict, "http1.invalid_characters");
	return weft_refuse(req, verdict, "http1.codec_error");
}

/* The line head[begin, end), line end not included. Keeps method, target and version flag.
 * *ret_bare: it is the whole head. */
static int weft_full_request_line(struct weft_req *req, __u32 begin, __u32 end,
				  struct weft_span *ret_target, bool *ret_bare)
{
	__u32 pos = begin;
	struct weft_span method = weft_island(req->head, &pos, end);
	struct weft_span target = weft_island(req->head, &pos, end);
	struct weft_span version = weft_span_trim(req, (struct weft_span){ pos, end - pos });

	if (!weft_method_ok(req, method) || !target.len)
		return weft_refuse_line(req, WEFT_PARSE_BAD, begin, end);
	if (weft_span_same(req, method, "CONNECT"))
		req->flags |= WEFT_REQ_CONNECT;
	if (weft_span_same(req, method, "HEAD"))
		req->flags |= WEFT_REQ_HEAD_METHOD;
	/* a stream's path is judged by its codec */
	if (!(req->hcm_flags & WEFT_HCM_STREAM && req->head[target.off] == '/') &&
	    !weft_target_ok(req->head, target, req->flags & WEFT_REQ_CONNECT))
		return weft_refuse_line(req, WEFT_PARSE_BAD, begin, end);
	if (!weft_version_ok(req->head, version))
		return weft_refuse_line(req, WEFT_PARSE_BAD_VERSION, begin, end);
	if (version.len != 8 || memcmp(req->head + version.off, "HTTP/1.1", 8))
		req->flags |= WEFT_REQ_HTTP10;
	weft_value_put(req, WEFT_VALUE_METHOD, method.off, method.len);
	*ret_target = target;
	*ret_bare = !version.len;
	return 0;
}

/* ---- the end of the head ---- */

/* Position behind the head whose first line ends at `from` (its LF): LF LF or LF CR LF. 0: not there yet. */
static __u32 weft_head_end(const struct weft_req *req, __u32 from)
{
	const __u8 *h = req->head;

	while (from < req->len) {
		const __u8 *lf = memchr(h + from, '\n', req->len - from);

		if (!lf)
			return 0;
		from = (__u32)(lf - h) + 1;
		if (from < req->len && h[from] == '\n')
			return from + 1;
		if (from + 1 < req->len && h[from] == '\r' && h[from + 1] == '\n')
			return from + 2;
	}
	return 0;
}

/* ---- header lines ---- */

/* The line at *pos with its folded ones; *pos moves behind it. false: malformed. */
static bool weft_line_next(const struct weft_req *req, __u32 *pos, struct weft_raw_line *ret)
{
	const __u8 *h = req->head;
	__u32 end;

	ret->begin = *pos;
	for (;;) {
		const __u8 *lf = memchr(h + *pos, '\n', req->head_len - *pos);

		end = (__u32)(lf - h);
		*pos = end + 1;
		__u32 c = h[*pos];

		/* the blank line follows, or another header */
		if (c > ' ' || c == '\n' || (c == '\r' && h[*pos + 1] == '\n'))
			break;
		if (c != ' ' && c != '\t')
			return false;
	}
	while (end > ret->begin && h[end - 1] <= ' ')
		end--;
	ret->end = end;
	return end > ret->begin;
}

/* Splits a line; the value may still hold CR and LF. */
static bool weft_line_split(const struct weft_req *req, struct weft_raw_line l, struct weft_field *ret)
{
	__u32 p = l.begin;

	while (p < l.end && req->head[p] != ':') {
		if (!weft_is_token(req->head[p]))
			return false;
		p++;
	}
	if (p == l.begin || p == l.end)
		return false;
	ret->name = (struct weft_span){ l.begin, p - l.begin };
	ret->value = weft_span_trim(req, (struct weft_span){ p + 1, l.end - p - 1 });
	return true;
}

/* Takes CR and LF out of a value, in place. */
static void weft_value_unfold(struct weft_req *req, struct weft_span *v)
{
	__u8 *h = req->head + v->off;
	__u32 n = 0;

	if (!memchr(h, '\r', v->len) && !memchr(h, '\n', v->len))
		return;
	for (__u32 i = 0; i < v->len; i++)
		if (h[i] != '\r' && h[i] != '\n')
			h[n++] = h[i];
	v->len = n;
}

struct weft_head_info {
	struct weft_span length, coding, upgrade, te, host, expect;
	__u32 n_length, n_coding, n_host, n_connection, n_type;
	__u32 n_upgrade, n_upgrade_value; /* lines, and those that are not empty */
};

/* Content-Length as the framer takes it: once, digits, 64 bits. */
static bool weft_length_parse(struct weft_req *req, struct weft_span v)
{
	__u64 n = 0;

	for (__u32 i = 0; i < v.len; i++) {
		__u32 d = (__u32)req->head[v.off + i] - '0';

		if (d > 9 || n > (~0ull - d) / 10)
			return false;
		n = n * 10 + d;
	}
	req->content_length = n;
	return v.len > 0;
}

/* First pass, changes nothing: structure of all lines, and what the framer itself looks at. */
static int weft_full_lines_check(struct weft_req *req, __u32 first)
{
	__u32 pos = first, n_length = 0;
	struct weft_raw_line l;
	struct weft_field f;
	bool coded = false, bad = false;

	while (req->head[pos] != '\n' && !(req->head[pos] == '\r' && req->head[pos + 1] == '\n')) {
		if (!weft_line_next(req, &pos, &l) || !weft_line_split(req, l, &f))
			return weft_refuse(req, WEFT_PARSE_BAD, "http1.codec_error");
		coded = coded || weft_span_is(req, f.name, "transfer-encoding");
		if (!weft_span_is(req, f.name, "content-length"))
			continue;
		if (n_length++)
			return weft_refuse(req, WEFT_PARSE_BAD, "http1.codec_error");
		bad = !weft_length_parse(req, f.value);
	}
	if (!bad)
		return 0;
	return weft_refuse(req, WEFT_PARSE_BAD,
			   coded ? "http1.content_length_and_chunked_not_allowed"
				 : "http1.codec_error");
}

static void weft_full_field_note(struct weft_req *req, struct weft_field f, struct weft_head_info *in)
{
	if (weft_span_is(req, f.name, "content-length")) {
		in->n_length++;
	} else if (weft_span_is(req, f.name, "transfer-encoding")) {
		in->coding = f.value;
		in->n_coding++;
	} else if (weft_span_is(req, f.name, "connection")) {
		in->n_connection++;
	} else if (weft_span_is(req, f.name, "upgrade")) {
		in->n_upgrade++;
		if (f.value.len) {
			in->upgrade = f.value;
			in->n_upgrade_value++;
		}
	} else if (weft_span_is(req, f.name, "te")) {
		in->te = f.value;
	} else if (weft_span_is(req, f.name, "content-type")) {
		in->n_type++;
		if (weft_is_grpc(req, f.value.off, f.value.len))
			req->flags |= WEFT_REQ_GRPC;
	} else if (weft_span_is(req, f.name, "expect") && weft_span_is(req, f.value, "100-continue")) {
		req->flags |= WEFT_REQ_EXPECT;
	}
}

/* Second pass: fills field[]. Changes only folded values, and only bytes of theirs. */
static int weft_full_lines_read(struct weft_req *req, __u32 first, struct weft_head_info *in)
{
	__u32 pos = first, n = 0;
	struct weft_raw_line l;
	struct weft_field f;

	while (req->head[pos] != '\n' && req->head[pos] != '\r') {
		if (!weft_line_next(req, &pos, &l) || !weft_line_split(req, l, &f))
			return weft_refuse(req, WEFT_PARSE_BAD, "http1.codec_error");
		weft_value_unfold(req, &f.value);
		if (req->underscores && memchr(req->head + f.name.off, '_', f.name.len)) {
			if (req->underscores == 1)
				return weft_refuse(req, WEFT_PARSE_BAD,
						   "http1.unexpected_underscore");
			continue;
		}
		if (n >= req->max_headers || n >= WEFT_REQ_FIELDS)
			return weft_refuse(req, WEFT_PARSE_TOO_MANY, "http1.too_many_headers");
		req->field[n++] = f;
		weft_full_field_note(req, f, in);
	}
	req->n_field = n;
	return 0;
}
