/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/*
 * Every request head as Envoy's HTTP/1 codec (balsa) and connection manager take or refuse it, natively only.
 * Order of checks as there: request line when its line is complete, everything else when the head is.
 * Behaviour comes from Envoy 1.40 (HTTP/1 codec strictness, seen with raw requests).
 */

#include "bpf/engine/http1_fields.h"

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
		if (!(req->hcm_flags & WEFT_HCM_OWN_PROTO) &&
		    weft_span_is(req, f->name, "x-forwarded-proto") &&
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
	memcpy(req->head + req->max_head + WEFT_ADDED_AT, "http", 4);
	weft_value_put(req, slot, req->max_head + WEFT_ADDED_AT, 4);
}

/* first: where its header lines begin; the head's end: HTTP/0.9, there are none. */
static int weft_full_head(struct weft_req *req, __u32 first, struct weft_span target)
{
	struct weft_head_info in = { 0 };
	struct weft_span host = { 0, 0 };
	int r;

	for (__u32 i = 0; i < req->head_len; i++)
		if (weft_is_control(req->head[i]))
			return weft_refuse(req, WEFT_PARSE_BAD, "http1.invalid_characters");
	r = first < req->head_len ? weft_full_lines_check(req, first) : 0;
	if (r)
		return r;
	weft_head_hash(req, req->head_len);
	r = first < req->head_len ? weft_full_lines_read(req, first, &in) : 0;
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
	weft_full_join(req);
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
	struct weft_span target = {0, 0};

	weft_parse_reset(req);
	req->details = NULL;
	while (begin < req->len && (req->head[begin] == '\r' || req->head[begin] == '\n'))
		begin++;
	if (begin > req->max_head)
		return weft_refuse(req, WEFT_PARSE_TOO_LONG, "http1.headers_too_large");
	if (begin == req->len)
		return WEFT_PARSE_MORE;
	if (req->head[begin] <= ' ') /* all else waits for the line's end (Envoy 1.40) */
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
	bool bare = false;
	int r = weft_full_request_line(req, begin, trimmed, &target, &bare);

	if (r)
		return r;
	req->head_len = bare ? line_end + 1 : weft_head_end(req, line_end);
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

	/* more headers are joined than the plain form knows (joined.c) */
	if (!req->underscores && !(req->hcm_flags & (WEFT_HCM_INTERNAL | WEFT_HCM_FORWARD_CERT)))
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
