/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/*
 * Every request head as Envoy's HTTP/1 codec (balsa) and connection manager take or refuse it, natively only.
 * Order of checks as there: request line when its line is complete, everything else when the head is.
 * Behaviour comes from Envoy 1.40 (HTTP/1 codec strictness, seen with raw requests).
 */

#include <string.h>
#include <strings.h>

#include "bpf/engine/http1.h"

/* Nominations in Connection at which Envoy refuses, and the longest TE it looks into. */
#define WEFT_NOMINATED_MAX 10
#define WEFT_TE_LEN_MAX 256

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

static bool weft_method_starts(const struct weft_req *req, __u32 c)
{
	if (req->hcm_flags & WEFT_HCM_CUSTOM_METHODS)
		return weft_is_token(c);
	return c && strchr("ABCDGHLMNOPQRSTU", (int)c);
}

static bool weft_span_all_visible(const struct weft_req *req, __u32 off, __u32 end)
{
	for (; off < end; off++)
		if (req->head[off] < '!' || req->head[off] > '~')
			return false;
	return true;
}

/* What the codec lets pass as a target before it knows the head: a path, or scheme://host..., or CONNECT's. */
static bool weft_target_ok(const struct weft_req *req, struct weft_span t, bool is_connect)
{
	const __u8 *h = req->head;
	__u32 p = t.off, end = t.off + t.len, before = 0;

	if (h[p] == '/' || h[p] == '*')
		return weft_span_all_visible(req, p, end);
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
	return weft_span_all_visible(req, p, end);
}

/* "HTTP/d.d", or nothing at all (HTTP/0.9). */
static bool weft_version_ok(const struct weft_req *req, struct weft_span v)
{
	const __u8 *h = req->head + v.off;

	return !v.len || (v.len == 8 && !memcmp(h, "HTTP/", 5) && weft_is_digit(h[5]) &&
			  h[6] == '.' && weft_is_digit(h[7]));
}

static struct weft_span weft_island(const struct weft_req *req, __u32 *pos, __u32 end)
{
	while (*pos < end && req->head[*pos] <= ' ')
		(*pos)++;
	struct weft_span s = { *pos, 0 };

	while (*pos < end && req->head[*pos] > ' ')
		(*pos)++;
	s.len = *pos - s.off;
	return s;
}

/* The line head[begin, end), line end not included. Keeps method, target and version flag. */
static int weft_full_request_line(struct weft_req *req, __u32 begin, __u32 end,
				  struct weft_span *ret_target)
{
	__u32 pos = begin;
	struct weft_span method = weft_island(req, &pos, end);
	struct weft_span target = weft_island(req, &pos, end);
	struct weft_span version = weft_span_trim(req, (struct weft_span){ pos, end - pos });

	if (!weft_method_ok(req, method) || !target.len)
		return weft_refuse(req, WEFT_PARSE_BAD, "http1.codec_error");
	if (weft_span_is(req, method, "connect"))
		req->flags |= WEFT_REQ_CONNECT;
	if (weft_span_is(req, method, "head"))
		req->flags |= WEFT_REQ_HEAD_METHOD;
	if (!weft_target_ok(req, target, req->flags & WEFT_REQ_CONNECT))
		return weft_refuse(req, WEFT_PARSE_BAD, "http1.codec_error");
	if (!weft_version_ok(req, version))
		return weft_refuse(req, WEFT_PARSE_BAD_VERSION, "http1.codec_error");
	if (version.len != 8 || memcmp(req->head + version.off, "HTTP/1.1", 8))
		req->flags |= WEFT_REQ_HTTP10;
	weft_value_put(req, WEFT_VALUE_METHOD, method.off, method.len);
	*ret_target = target;
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
	__u32 n_length, n_coding, n_host, n_connection, n_upgrade, n_type;
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

	while (req->head[pos] != '\n' && !(req->head[pos] == '\r' && req->head[pos + 1] == '\n')) {
		if (!weft_line_next(req, &pos, &l) || !weft_line_split(req, l, &f))
			return weft_refuse(req, WEFT_PARSE_BAD, "http1.codec_error");
		if (weft_span_is(req, f.name, "content-length") &&
		    (n_length++ || !weft_length_parse(req, f.value)))
			return weft_refuse(req, WEFT_PARSE_BAD, "http1.codec_error");
	}
	return 0;
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
		in->upgrade = f.value;
		in->n_upgrade++;
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

/* ---- meaning of the fields ---- */

static void weft_field_drop(struct weft_req *req, __u32 i)
{
	req->n_field--;
	memmove(&req->field[i], &req->field[i + 1], (req->n_field - i) * sizeof(req->field[0]));
}

static void weft_fields_drop(struct weft_req *req, const struct weft_span name)
{
	for (__u32 i = 0; i < req->n_field;) {
		struct weft_span n = req->field[i].name;

		if (n.len == name.len &&
		    !strncasecmp((char *)req->head + n.off, (char *)req->head + name.off, n.len))
			weft_field_drop(req, i);
		else
			i++;
	}
}

static bool weft_connection_has(const struct weft_req *req, const char *token)
{
	for (__u32 i = 0; i < req->n_field; i++)
		if (weft_span_is(req, req->field[i].name, "connection") &&
		    weft_list_has(req, req->field[i].value, token))
			return true;
	return false;
}

/* Upgrade as Envoy's codec sees it; h2c is taken for a plain request. */
static void weft_full_upgrade(struct weft_req *req, const struct weft_head_info *in)
{
	if (!in->n_upgrade || !weft_connection_has(req, "upgrade"))
		return;
	if (!weft_span_is(req, in->upgrade, "h2c")) {
		req->flags |= WEFT_REQ_UPGRADE;
		return;
	}
	for (__u32 i = 0; i < req->n_field;) {
		if (weft_span_is(req, req->field[i].name, "upgrade") ||
		    weft_span_is(req, req->field[i].name, "http2-settings"))
			weft_field_drop(req, i);
		else
			i++;
	}
}

static int weft_full_framing(struct weft_req *req, struct weft_head_info *in)
{
	bool chunked = in->n_coding == 1 && weft_span_is(req, in->coding, "chunked");

	if (req->flags & WEFT_REQ_CONNECT && in->n_length) {
		if (req->content_length)
			return weft_refuse(req, WEFT_PARSE_BAD, "http1.body_disallowed");
		in->n_length = 0;
	}
	if (in->n_coding && in->n_length) {
		if (!chunked || !(req->hcm_flags & WEFT_HCM_ALLOW_CHUNKED_LENGTH))
			return weft_refuse(req, WEFT_PARSE_BAD,
					   "http1.content_length_and_chunked_not_allowed");
		in->n_length = 0;
	}
	if (in->n_coding && !chunked)
		return weft_refuse(req, WEFT_PARSE_BAD_CODING, "http1.invalid_transfer_encoding");
	if (chunked)
		req->flags |= WEFT_REQ_CHUNKED;
	if (in->n_length) {
		req->flags |= WEFT_REQ_HAS_LENGTH;
		return 0;
	}
	req->content_length = 0;
	for (__u32 i = 0; i < req->n_field;) {
		if (weft_span_is(req, req->field[i].name, "content-length"))
			weft_field_drop(req, i);
		else
			i++;
	}
	return 0;
}

/* One name that Connection nominates. false: Envoy refuses the request. */
static bool weft_nominated(struct weft_req *req, struct weft_span name, struct weft_span te)
{
	static const char *const kept[] = { "close", "http2-settings", "keep-alive", "upgrade" };
	static const char *const refused[] = { "x-forwarded-for", "x-forwarded-host",
					       "x-forwarded-proto" };

	for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++)
		if (weft_span_is(req, name, kept[i]))
			return true;
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
		if (weft_span_is(req, name, refused[i]))
			return false;
	if (name.len && req->head[name.off] == ':')
		return false;
	if (weft_span_is(req, name, "te")) {
		if (te.len >= WEFT_TE_LEN_MAX)
			return false;
		if (weft_list_has(req, te, "trailers"))
			return true;
	}
	if (weft_span_is(req, name, "connection")) /* its own line goes later, like all of them */
		return true;
	if (weft_span_is(req, name, "content-length") && req->flags & WEFT_REQ_HAS_LENGTH)
		req->flags |= WEFT_REQ_LENGTH_DROPPED;
	weft_fields_drop(req, name);
	return true;
}

static int weft_full_connection(struct weft_req *req, const struct weft_head_info *in)
{
	__u32 n = 0;

	if (weft_connection_has(req, "close"))
		req->flags |= WEFT_REQ_CLOSE;
	if (weft_connection_has(req, "keep-alive"))
		req->flags |= WEFT_REQ_KEEP_ALIVE;
	if (!in->n_connection || req->flags & (WEFT_REQ_UPGRADE | WEFT_REQ_CONNECT))
		return 0;
	for (__u32 i = 0; i < req->n_field; i++) {
		if (!weft_span_is(req, req->field[i].name, "connection"))
			continue;
		struct weft_span rest = req->field[i].value, part;

		while (weft_list_next(req, &rest, &part))
			n++;
	}
	if (n >= WEFT_NOMINATED_MAX)
		return weft_refuse(req, WEFT_PARSE_BAD, "http1.connection_header_rejected");
	for (__u32 i = 0; i < req->n_field; i++) {
		if (!weft_span_is(req, req->field[i].name, "connection"))
			continue;
		struct weft_span rest = req->field[i].value, part, line = req->field[i].name;

		while (weft_list_next(req, &rest, &part))
			if (!weft_nominated(req, part, in->te))
				return weft_refuse(req, WEFT_PARSE_BAD,
						   "http1.connection_header_rejected");
		/* lines before this one may be gone */
		while (req->field[i].name.off != line.off)
			i--;
	}
	return 0;
}

/* ---- target, Host ---- */

/* Host of an absolute form or of CONNECT's: no user info, a name or [v6], a port of digits. */
static bool weft_authority_parse(const struct weft_req *req, struct weft_span a, struct weft_span *ret)
{
	const __u8 *h = req->head;
	__u32 p, end = a.off + a.len, port = 0;

	for (p = a.off; p < end; p++)
		if (h[p] == '@')
			a.off = p + 1;
	p = a.off;
	if (p < end && h[p] == '[') {
		for (p++; p < end && h[p] != ']'; p++)
			if (!weft_is_alpha(h[p]) && !weft_is_digit(h[p]) && h[p] != ':' &&
			    h[p] != '.' && h[p] != '%')
				return false;
		if (p == end || p == a.off + 1)
			return false;
		p++;
	} else {
		while (p < end && (weft_is_alpha(h[p]) || weft_is_digit(h[p]) || h[p] == '.' ||
				   h[p] == '-' || h[p] == '_'))
			p++;
		if (p == a.off)
			return false;
	}
	*ret = (struct weft_span){ a.off, end - a.off };
	if (p == end)
		return true;
	if (h[p++] != ':' || p == end)
		return false;
	for (; p < end; p++) {
		if (!weft_is_digit(h[p]) || (port = port * 10 + h[p] - '0') > 65535)
			return false;
	}
	return true;
}

/* Sets :path, and for an absolute form the host. *ret_host.len 0: the Host line holds. */
static int weft_full_target(struct weft_req *req, struct weft_span t, struct weft_span *ret_host)
{
	const __u8 *h = req->head;
	bool is_connect = req->flags & WEFT_REQ_CONNECT;
	struct weft_span scheme = { t.off, 0 }, authority = t;

	if (!is_connect &&
	    (h[t.off] == '/' || (h[t.off] == '*' && weft_span_is(req, req->value[WEFT_VALUE_METHOD],
								  "options")) ||
	     req->hcm_flags & WEFT_HCM_NO_ABSOLUTE_URL)) {
		weft_value_put(req, WEFT_VALUE_PATH, t.off, t.len);
		return 0;
	}
	if (!is_connect) {
		while (scheme.len < t.len && h[t.off + scheme.len] != ':')
			scheme.len++;
		if (scheme.len + 3 > t.len || memcmp(h + t.off + scheme.len, "://", 3))
			return weft_refuse(req, WEFT_PARSE_BAD, "http1.invalid_url");
		authority.off += scheme.len + 3;
		authority.len -= scheme.len + 3;
	}
	struct weft_span path = { authority.off, 0 };

	while (path.off < t.off + t.len && h[path.off] != '/' && h[path.off] != '?')
		path.off++;
	authority.len = path.off - authority.off;
	path.len = t.off + t.len - path.off;
	if (!weft_authority_parse(req, authority, ret_host) ||
	    (is_connect && (path.len || !memchr(h + authority.off, ':', authority.len))))
		return weft_refuse(req, WEFT_PARSE_BAD, "http1.invalid_url");
	if (is_connect)
		return 0;
	req->flags |= WEFT_REQ_ABSOLUTE;
	if (!weft_span_is(req, scheme, "http") && !weft_span_is(req, scheme, "https"))
		return weft_refuse(req, WEFT_PARSE_BAD, "http1.invalid_scheme");
	if (!path.len) /* the second slash of "://" stands for the path */
		path = (struct weft_span){ scheme.off + scheme.len + 2, 1 };
	weft_value_put(req, WEFT_VALUE_PATH, path.off, path.len);
	return 0;
}

/*
 * Moves the value of field j right behind the value of field i, with a comma between: Envoy joins Host lines. The
 * room is that of line j's name, which goes; what stood between moves up.
 */
static void weft_host_join(struct weft_req *req, __u32 i, __u32 j)
{
	__u8 *h = req->head;
	struct weft_span *a = &req->field[i].value, b = req->field[j].value;
	__u32 gap = a->off + a->len, by = b.len + 1;

	/* one byte at a time: two Host lines are an attack or a mistake, and short */
	for (__u32 k = 0; k < by; k++) {
		__u32 from = k ? b.off + k - 1 : b.off - 1;
		__u8 c = k ? h[from] : ',';

		memmove(h + gap + k + 1, h + gap + k, from - (gap + k));
		h[gap + k] = c;
	}
	for (__u32 k = i + 1; k < req->n_field; k++) {
		struct weft_field *f = &req->field[k];

		if (f->name.off >= gap && f->name.off < b.off)
			f->name.off += by;
		if (f->value.off >= gap && f->value.off < b.off)
			f->value.off += by;
	}
	a->len += by;
	weft_field_drop(req, j);
}

/* Host lines become one field; its value, or the target's host, goes to value[]. */
static int weft_full_host(struct weft_req *req, struct weft_span from_target)
{
	__u32 host = ~0u;

	for (__u32 i = 0; i < req->n_field;) {
		if (!weft_span_is(req, req->field[i].name, "host")) {
			i++;
		} else if (host == ~0u) {
			host = i++;
		} else {
			req->flags |= WEFT_REQ_REPEATED_HOST;
			if (from_target.len)
				weft_field_drop(req, i);
			else
				weft_host_join(req, host, i);
		}
	}
	if (from_target.len && host != ~0u)
		req->field[host].value = from_target;
	if (!from_target.len && host == ~0u)
		return weft_refuse(req, WEFT_PARSE_NO_HOST, "missing_host_header");
	struct weft_span v = from_target.len ? from_target : req->field[host].value;

	for (__u32 i = 0; i < v.len; i++) {
		__u32 c = req->head[v.off + i];

		if (c <= ' ' || c >= 128 || strchr("/?#\"<>\\", (int)c))
			return weft_refuse(req, WEFT_PARSE_BAD_HOST, "http.invalid_authority");
	}
	weft_value_put(req, WEFT_VALUE_HOST, v.off, v.len);
	return 0;
}

static int weft_full_path(struct weft_req *req, const struct weft_head_info *in)
{
	struct weft_span p = req->value[WEFT_VALUE_PATH];
	const __u8 *h = req->head + p.off;

	if (req->flags & WEFT_REQ_CONNECT)
		return 0;
	if (!p.len)
		return weft_refuse(req, WEFT_PARSE_NO_PATH, "missing_path_rejected");
	if (*h != '/')
		return weft_refuse(req, WEFT_PARSE_NO_PATH, "absolute_path_rejected");
	if (memchr(h, '#', p.len))
		return weft_refuse(req, WEFT_PARSE_BAD_PATH, "path_normalization_failed");
	if (weft_span_is(req, req->value[WEFT_VALUE_METHOD], "query") && !in->n_type)
		return weft_refuse(req, WEFT_PARSE_NO_TYPE, "query_missing_content_type");
	const __u8 *q = memchr(h, '?', p.len);

	req->path = (struct weft_span){ p.off, q ? (__u32)(q - h) : p.len };
	if (req->hcm_flags & (WEFT_HCM_NORMALIZE_PATH | WEFT_HCM_MERGE_SLASHES) &&
	    weft_path_odd(req, req->path.off, req->path.len))
		req->flags |= WEFT_REQ_PATH_ODD;
	return 0;
}

/* ---- what rules see ---- */

/* Only "trailers" stays of TE. false: nothing does. */
static bool weft_te_keep(struct weft_req *req, struct weft_span *value)
{
	struct weft_span rest = *value, part;

	while (weft_list_next(req, &rest, &part))
		if (weft_span_is(req, part, "trailers")) {
			*value = part;
			req->flags |= WEFT_REQ_TE_TRAILERS;
			return true;
		}
	return false;
}

/* Puts values into their slots. Headers that Envoy removes before routing are left out. */
static void weft_full_values(struct weft_req *req)
{
	static const char *const hop[] = { "keep-alive", "proxy-connection", "transfer-encoding",
					   "x-envoy-internal" };

	for (__u32 i = 0; i < req->n_field; i++) {
		struct weft_field *f = &req->field[i];
		bool hidden = false;

		for (size_t k = 0; k < sizeof(hop) / sizeof(hop[0]); k++)
			hidden |= weft_span_is(req, f->name, hop[k]);
		if (!(req->flags & WEFT_REQ_UPGRADE))
			hidden |= weft_span_is(req, f->name, "connection") ||
				  weft_span_is(req, f->name, "upgrade");
		if (weft_span_is(req, f->name, "expect"))
			hidden |= !!(req->flags & WEFT_REQ_EXPECT);
		if (weft_span_is(req, f->name, "te")) {
			hidden = !weft_te_keep(req, &f->value);
		}
		if (weft_span_is(req, f->name, "x-forwarded-proto") &&
		    (weft_span_is(req, f->value, "http") || weft_span_is(req, f->value, "https")))
			weft_value_put(req, WEFT_VALUE_SCHEME, f->value.off, f->value.len);
		if (hidden || weft_span_is(req, f->name, "host"))
			continue;
		__u64 h = 0;
		__u32 o = 0;

		for (; f->name.len - o >= 8; o += 8)
			h = weft_mix(h, weft_word_lower(weft_load64(req->head + f->name.off + o)));
		__u64 rest = weft_word_lower(weft_load64(req->head + f->name.off + o)) &
			     weft_word_keep(f->name.len - o);
		__u32 hash = weft_name_end(h, rest, f->name.len), slot = 0;

		if (f->name.len <= 0xffff && req->bloom >> (hash & 63) & 1)
			slot = weft_tab_find(req, req->headers, hash, f->name.off,
					     (__u32)WEFT_KIND_HEADER << 16 | f->name.len);
		if (slot > WEFT_VALUE__HEADERS)
			weft_value_put(req, slot - 1, f->value.off, f->value.len);
	}
}

/* x-forwarded-proto is there before routing even if the client sent none. */
static void weft_full_added(struct weft_req *req)
{
	__u32 slot = weft_added_slot(req, WEFT_XFP_HASH, 17);

	if (!slot)
		return;
	memcpy(req->head + req->max_head + 256, "http", 4);
	weft_value_put(req, slot, req->max_head + 256, 4);
}

static int weft_full_head(struct weft_req *req, __u32 first, struct weft_span target)
{
	struct weft_head_info in = { 0 };
	struct weft_span host = { 0, 0 };
	int r;

	for (__u32 i = 0; i < req->head_len; i++)
		if (weft_is_control(req->head[i]))
			return weft_refuse(req, WEFT_PARSE_BAD, "http1.invalid_characters");
	r = weft_full_lines_check(req, first);
	if (r)
		return r;
	weft_head_hash(req, req->head_len);
	r = weft_full_lines_read(req, first, &in);
	if (r)
		return r;
	weft_full_upgrade(req, &in);
	r = weft_full_framing(req, &in);
	if (r)
		return r;
	r = weft_full_connection(req, &in);
	if (r)
		return r;
	r = weft_full_target(req, target, &host);
	if (r)
		return r;
	if (req->flags & WEFT_REQ_HTTP10 && !(req->hcm_flags & WEFT_HCM_ACCEPT_HTTP10))
		return weft_refuse(req, WEFT_PARSE_VERSION, "low_version");
	r = weft_full_host(req, host);
	if (r)
		return r;
	r = weft_full_path(req, &in);
	if (r)
		return r;
	weft_full_values(req);
	weft_full_added(req);
	return WEFT_PARSE_OK;
}

static int weft_http1_full(struct weft_req *req)
{
	__u32 begin = 0;
	struct weft_span target;

	weft_parse_reset(req);
	req->details = NULL;
	while (begin < req->len && (req->head[begin] == '\r' || req->head[begin] == '\n'))
		begin++;
	if (begin > req->max_head)
		return weft_refuse(req, WEFT_PARSE_TOO_LONG, "http1.headers_too_large");
	if (begin == req->len)
		return WEFT_PARSE_MORE;
	if (!weft_method_starts(req, req->head[begin]))
		return weft_refuse(req, WEFT_PARSE_BAD, "http1.codec_error");
	const __u8 *lf = memchr(req->head + begin, '\n', req->len - begin);
	__u32 line_end = lf ? (__u32)(lf - req->head) : req->len;

	if (line_end >= req->max_head)
		return weft_refuse(req, WEFT_PARSE_TOO_LONG, "http1.headers_too_large");
	if (!lf)
		return WEFT_PARSE_MORE;
	__u32 trimmed = line_end;

	while (trimmed > begin && req->head[trimmed - 1] == '\r')
		trimmed--;
	int r = weft_full_request_line(req, begin, trimmed, &target);

	if (r)
		return r;
	req->head_len = weft_head_end(req, line_end);
	if (!req->head_len) {
		if (req->len <= req->max_head)
			return WEFT_PARSE_MORE;
		return weft_refuse(req, WEFT_PARSE_TOO_LONG, "http1.headers_too_large");
	}
	if (req->head_len > req->max_head)
		return weft_refuse(req, WEFT_PARSE_TOO_LONG, "http1.headers_too_large");
	return weft_full_head(req, line_end + 1, target);
}

/* enum weft_parse. Names become lower case here, after both parsers have read them as they came. */
static int weft_http1_native(struct weft_req *req)
{
	int r = WEFT_PARSE_UNSURE;

	if (!req->underscores)
		r = weft_http1_plain(req);
	if (r)
		r = weft_http1_full(req);
	else
		req->details = NULL;
	if (r)
		return r;
	for (__u32 i = 0; i < req->n_field; i++)
		for (__u32 k = 0; k < req->field[i].name.len; k++) {
			__u8 *c = &req->head[req->field[i].name.off + k];

			*c = (__u8)weft_lower(*c);
		}
	return 0;
}
