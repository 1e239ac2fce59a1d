/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/* What header lines mean: framing, Connection, the target and Host (http1_full.h). Natively only. */

#include "bpf/engine/http1_lines.h"

/* Nominations in Connection at which Envoy refuses, and the longest TE it looks into. */
#define WEFT_NOMINATED_MAX 10
#define WEFT_TE_LEN_MAX 256

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

/* Has a line of this name the token in its list? */
static bool weft_lines_have(const struct weft_req *req, const char *name, const char *token)
{
	for (__u32 i = 0; i < req->n_field; i++)
		if (weft_span_is(req, req->field[i].name, name) &&
		    weft_list_has(req, req->field[i].value, token))
			return true;
	return false;
}

/* Upgrade as Envoy's codec sees it, its lines joined; h2c alone is taken for a plain request. */
static void weft_full_upgrade(struct weft_req *req, const struct weft_head_info *in)
{
	if (!in->n_upgrade || !weft_lines_have(req, "connection", "upgrade"))
		return;
	if (in->n_upgrade_value != 1 || !weft_span_is(req, in->upgrade, "h2c")) {
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
	if (in->n_coding && (!chunked || req->flags & WEFT_REQ_CONNECT))
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

/* Takes away what Connection nominates. */
static int weft_full_nominated(struct weft_req *req, const struct weft_head_info *in)
{
	__u32 n = 0;

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

/* Proxy-Connection is no standard header, but closes as Connection does (Envoy's HeaderUtility::shouldCloseConnection). */
static int weft_full_connection(struct weft_req *req, const struct weft_head_info *in)
{
	int r;

	if (weft_lines_have(req, "connection", "close"))
		req->flags |= WEFT_REQ_CLOSE;
	if (weft_lines_have(req, "connection", "keep-alive"))
		req->flags |= WEFT_REQ_KEEP_ALIVE;
	r = weft_full_nominated(req, in);
	if (!r && weft_lines_have(req, "proxy-connection", "close"))
		req->flags |= WEFT_REQ_CLOSE;
	/* a connection of HTTP/1.0 stays open where that is asked for, whatever else is said
	 * (Envoy 1.40) */
	if (req->flags & WEFT_REQ_HTTP10 && req->flags & WEFT_REQ_KEEP_ALIVE)
		req->flags &= ~WEFT_REQ_CLOSE;
	else if (req->flags & WEFT_REQ_HTTP10)
		req->flags |= WEFT_REQ_CLOSE;
	return r;
}

/* ---- target, Host ---- */

/*
 * Host of an absolute form or of CONNECT's: a name or [v6], a port of digits. User info in front of
 * it goes; CONNECT has none, though Envoy takes an empty one.
 */
static bool weft_authority_parse(const struct weft_req *req, struct weft_span a, struct weft_span *ret)
{
	const __u8 *h = req->head, *user = memchr(h + a.off, '@', a.len);
	__u32 p, end = a.off + a.len, port = 0;

	if (user) {
		p = (__u32)(user - h) + 1;
		if (memchr(h + p, '@', end - p) ||
		    (req->flags & WEFT_REQ_CONNECT && p != a.off + 1))
			return false;
		a.off = p;
	}
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
		while (p < end &&
		       (weft_is_alpha(h[p]) || weft_is_digit(h[p]) || h[p] == '.' || h[p] == '-'))
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
	    (h[t.off] == '/' ||
	     (h[t.off] == '*' && weft_span_same(req, req->value[WEFT_VALUE_METHOD], "OPTIONS")) ||
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

static void weft_bytes_reverse(__u8 *p, __u32 n)
{
	for (__u32 i = 0; i < n / 2; i++) {
		__u8 c = p[i];

		p[i] = p[n - 1 - i];
		p[n - 1 - i] = c;
	}
}

/*
 * Joins the value of field j > i to that of field i, with a comma between if neither is empty, and drops field j: as
 * Envoy's HeaderMapImpl::appendToHeader. The value moves right behind the other; the comma's room is the byte before it,
 * of line j's own; what stood between moves up.
 */
static void weft_field_join(struct weft_req *req, __u32 i, __u32 j)
{
	__u8 *h = req->head;
	struct weft_span *a = &req->field[i].value, b = req->field[j].value;
	__u32 gap = a->off + a->len, by = b.len + 1, end = b.off + b.len;

	if (!a->len)
		*a = b;
	if (a->off == b.off || !b.len) {
		weft_field_drop(req, j);
		return;
	}
	h[b.off - 1] = ',';
	weft_bytes_reverse(h + gap, end - by - gap);
	weft_bytes_reverse(h + end - by, by);
	weft_bytes_reverse(h + gap, end - gap);
	for (__u32 k = 0; k < req->n_field; k++) {
		struct weft_field *f = &req->field[k];

		if (f->name.off >= gap && f->name.off < b.off)
			f->name.off += by;
		if (f->value.off >= gap && f->value.off < b.off)
			f->value.off += by;
	}
	a->len += by;
	weft_field_drop(req, j);
}

/* Does Envoy keep lines of this name as one? */
static bool weft_field_joins(const struct weft_req *req, struct weft_span name)
{
	char lower[64];

	if (name.len > sizeof(lower))
		return false;
	for (__u32 i = 0; i < name.len; i++)
		lower[i] = (char)weft_lower(req->head[name.off + i]);
	return weft_header_joins(lower, name.len, false);
}

/* Several lines of one name become one where Envoy keeps one, and what was read of a single line is read again. */
static void weft_full_join(struct weft_req *req)
{
	for (__u32 i = 0; i < req->n_field; i++) {
		struct weft_span n = req->field[i].name;
		bool joined = false;

		for (__u32 j = i + 1; j < req->n_field;) {
			struct weft_span m = req->field[j].name;

			if (m.len != n.len || strncasecmp((char *)req->head + m.off,
							  (char *)req->head + n.off, n.len)) {
				j++;
				continue;
			}
			if (!joined && !weft_field_joins(req, n))
				break;
			joined = true;
			weft_field_join(req, i, j);
			n = req->field[i].name;
		}
		if (joined && weft_span_is(req, n, "content-type"))
			req->flags &= ~WEFT_REQ_GRPC;
		if (joined && weft_span_is(req, n, "content-type") &&
		    weft_is_grpc(req, req->field[i].value.off, req->field[i].value.len))
			req->flags |= WEFT_REQ_GRPC;
		if (joined && weft_span_is(req, n, "expect") &&
		    !weft_span_is(req, req->field[i].value, "100-continue"))
			req->flags &= ~WEFT_REQ_EXPECT;
	}
}

/* Host of a request of HTTP/1.0 that has none. false: none is configured. */
static bool weft_full_default_host(struct weft_req *req)
{
	const struct weft_img_hcm *h;

	if (!(req->flags & WEFT_REQ_HTTP10) || !(req->hcm_flags & WEFT_HCM_ACCEPT_HTTP10) ||
	    !req->dec.hcm)
		return false;
	h = weft_img_at(req->dec.hcm);
	if (!h->default_host.len)
		return false;
	memcpy(req->head + req->max_head + WEFT_DEFAULT_HOST_AT, weft_img_at(h->default_host.off),
	       h->default_host.len);
	weft_value_put(req, WEFT_VALUE_HOST, req->max_head + WEFT_DEFAULT_HOST_AT,
		       h->default_host.len);
	return true;
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
				weft_field_join(req, host, i);
		}
	}
	if (from_target.len && host != ~0u)
		req->field[host].value = from_target;
	if (!from_target.len && host == ~0u && weft_full_default_host(req))
		return 0;
	if (!from_target.len && host == ~0u)
		return weft_refuse(req, WEFT_PARSE_NO_HOST, "missing_host_header");
	struct weft_span v = from_target.len ? from_target : req->field[host].value;

	for (__u32 i = 0; i < v.len; i++) {
		__u32 c = req->head[v.off + i];

		if (c <= ' ' || c >= 128 || strchr("/?#\"<>\\^`{|}", (int)c))
			return weft_refuse(req, WEFT_PARSE_BAD_HOST, "http.invalid_authority");
	}
	weft_value_put(req, WEFT_VALUE_HOST, v.off, v.len);
	return 0;
}

/* The path of an upgrade to connect-udp (RFC 9298, 3.1): its default template, with a host and a
 * port in it. */
static bool weft_udp_path_ok(const struct weft_req *req, struct weft_span path)
{
	static const char form[] = "/.well-known/masque/udp/";
	const char *p = (const char *)req->head + path.off, *end = p + path.len, *slash;

	if (path.len < sizeof(form) || memcmp(p, form, sizeof(form) - 1))
		return false;
	p += sizeof(form) - 1;
	slash = memchr(p, '/', (size_t)(end - p));
	if (!slash || slash == p)
		return false;
	p = slash + 1;
	slash = memchr(p, '/', (size_t)(end - p));
	return slash && slash != p && slash + 1 == end;
}

static int weft_full_path(struct weft_req *req, const struct weft_head_info *in)
{
	struct weft_span p = req->value[WEFT_VALUE_PATH];
	const __u8 *h = req->head + p.off;

	/* whether or not Connection names it (Envoy 1.40) */
	if (in->n_upgrade_value == 1 && weft_span_is(req, in->upgrade, "connect-udp") &&
	    (req->flags & WEFT_REQ_CONNECT || !weft_udp_path_ok(req, p)))
		return weft_refuse(req, WEFT_PARSE_BAD_UDP, "invalid_path");
	if (req->flags & WEFT_REQ_CONNECT)
		return 0;
	if (!p.len)
		return weft_refuse(req, WEFT_PARSE_NO_PATH, "missing_path_rejected");
	if (*h != '/')
		return weft_refuse(req, WEFT_PARSE_NO_PATH, "absolute_path_rejected");
	if (memchr(h, '#', p.len))
		return weft_refuse(req, WEFT_PARSE_BAD_PATH, "path_normalization_failed");
	if (weft_span_same(req, req->value[WEFT_VALUE_METHOD], "QUERY") && !in->n_type)
		return weft_refuse(req, WEFT_PARSE_NO_TYPE, "query_missing_content_type");
	const __u8 *q = memchr(h, '?', p.len);

	req->path = (struct weft_span){ p.off, q ? (__u32)(q - h) : p.len };
	if (req->hcm_flags & WEFT_HCM_PATH_FORM &&
	    weft_path_odd(req, req->path.off, req->path.len))
		req->flags |= WEFT_REQ_PATH_ODD;
	return 0;
}
