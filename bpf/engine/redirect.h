/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/* The Location line: of redirects, and of direct responses with 201 or 3xx (Envoy's newUri). */

#include "bpf/engine/host.h"

/* Longest scheme_redirect that fits weft_req.text with the rest of the line's own words. */
#define WEFT_SCHEME_MAX 20u

/* Adds a piece; pieces of no bytes are left out. 0, or -E2BIG. */
WEFT_INLINE int weft_seg_put(struct weft_reply_plan *plan, __u32 kind, __u32 off, __u32 len)
{
	__u32 n = plan->n;

	if (!len)
		return 0;
	if (n >= WEFT_REPLY_SEGS_MAX)
		return -WEFT_E2BIG;
	struct weft_seg *s = &plan->seg[WEFT_INDEX(n, 15)];

	s->kind = kind;
	s->off = off;
	s->len = len;
	plan->n = n + 1;
	plan->total += len;
	return 0;
}

WEFT_INLINE void weft_text_put(struct weft_req *req, __u64 c)
{
	__u32 n = req->n_text;

	if (n < WEFT_REQ_TEXT) {
		req->text[WEFT_INDEX(n, 63)] = (__u8)c;
		req->n_text = n + 1;
	}
}
static_assert(WEFT_REQ_TEXT == 64, "mask");

/* "location: " scheme "://" into text. scheme: an image string; of no length: http, or https. */
WEFT_GLOBAL int weft_location_start(struct weft_req *req, __u32 scheme, __u32 len, __u32 https)
{
	const __u64 start = WEFT_WORD('l', 'o', 'c', 'a', 't', 'i', 'o', 'n');
	const __u64 name = WEFT_WORD('h', 't', 't', 'p', 's', 0, 0, 0);

	if (!req)
		return 0;
	WEFT_IMG_BASE(0);
	req->n_text = 0;
	for (__u32 i = 0; i < 8; i++)
		weft_text_put(req, start >> (i * 8) & 255);
	weft_text_put(req, ':');
	weft_text_put(req, ' ');
	for (__u32 i = 0; i < WEFT_SCHEME_MAX; i++) {
		if (i < len)
			weft_text_put(req, *WEFT_IMG(__u8, scheme + i));
		else if (!len && i < 4 + https)
			weft_text_put(req, name >> (i * 8 & 63) & 255);
		else
			break;
	}
	weft_text_put(req, ':');
	weft_text_put(req, '/');
	weft_text_put(req, '/');
	return 0;
}

/* ":port" into text. */
WEFT_GLOBAL int weft_location_port(struct weft_req *req, __u32 port)
{
	__u32 div = 10000;

	if (!req)
		return 0;
	weft_text_put(req, ':');
	for (__u32 i = 0; i < 5; i++) {
		if (port >= div || div == 1)
			weft_text_put(req, '0' + port / div % 10);
		div /= 10;
	}
	return 0;
}

/* What stays of the request's host: no port when the rule sets one; no default port when the scheme changes. */
WEFT_GLOBAL __u32 weft_location_host(struct weft_req *req, __u32 redirect, __u32 change)
{
	if (!req)
		return 0;
	WEFT_IMG_BASE(0);
	struct weft_span *s = WEFT_VALUE(req, WEFT_VALUE_HOST);
	__u32 off = s->off, len = s->len, colon = weft_port_colon(req, off, len);

	if (colon >= len)
		return len;
	if (redirect && WEFT_IMG(struct weft_img_redirect, redirect)->port)
		return colon;
	__u32 port = weft_port_number(req, off + colon + 1, len - colon - 1);
	__u32 was_https = weft_is_https(req);

	if (change && ((was_https && port == 443) || (!was_https && port == 80)))
		return colon;
	return len;
}

struct weft_seek {
	__u32 off, len, c, hit;
};

static long weft_seek_step(__u32 i, void *p)
{
	struct weft_seek *k = p;
	WEFT_IMG_BASE(1);
	__u64 w = weft_load64(WEFT_IMG(__u64, k->off + i * 8));

	if (!(weft_word_eq(w, k->c) & weft_word_keep(k->len - i * 8)))
		return 0;
	k->hit = 1;
	return 1;
}

/* 1: byte c is among image[off..+len). */
WEFT_GLOBAL int weft_image_has(__u32 off, __u32 len, __u32 c)
{
	struct weft_seek k = { .off = off, .len = len, .c = c };

	WEFT_LOOP((len + 7) / 8, weft_seek_step, &k);
	return (int)k.hit;
}

/* Path and query of the new place. */
WEFT_GLOBAL int weft_location_path(struct weft_req *req, struct weft_reply_plan *plan, __u32 redirect)
{
	if (!req || !plan)
		return -WEFT_E2BIG;
	WEFT_IMG_BASE(-WEFT_E2BIG);
	struct weft_span *v = WEFT_VALUE(req, WEFT_VALUE_PATH);
	__u32 off = v->off, len = v->len, path = req->path.len, skip = 0, has_query = 0;

	if (redirect) {
		struct weft_img_redirect *r = WEFT_IMG(struct weft_img_redirect, redirect);
		__u32 flags = r->flags, str = r->path.off, n = r->path.len;

#ifndef __bpf__
		if (flags & WEFT_REDIRECT_AGENT)
			return 0;
#endif
		if (flags & WEFT_REDIRECT_STRIP_QUERY)
			len = path;
		if (flags & (WEFT_REDIRECT_PATH | WEFT_REDIRECT_PREFIX)) {
			__u32 matched = r->matched_len;

			weft_seg_put(plan, WEFT_SEG_IMAGE, str, n);
			/* WEFT_MATCHED_WHOLE leaves the query */
			skip = flags & WEFT_REDIRECT_PATH || matched > path ? path : matched;
			has_query = flags & WEFT_REDIRECT_PATH && weft_image_has(str, n, '?');
		}
	}
	if (skip > len || has_query)
		skip = len;
	return weft_seg_put(plan, WEFT_SEG_HEAD, off + skip, len - skip);
}

/* The whole line with its end. redirect 0: of a direct response, the request's own address. */
WEFT_GLOBAL int weft_location_put(struct weft_req *req, struct weft_reply_plan *plan, __u32 redirect)
{
	if (!req || !plan)
		return -WEFT_E2BIG;
	WEFT_IMG_BASE(-WEFT_E2BIG);
	__u32 scheme = 0, scheme_len = 0, https = weft_is_https(req), change = 0, port = 0;
	struct weft_img_str host = { 0, 0 };

	if (redirect) {
		struct weft_img_redirect *r = WEFT_IMG(struct weft_img_redirect, redirect);

		host = r->host;
		port = r->port;
		if (r->flags & WEFT_REDIRECT_HTTPS) {
			change = !https && !(r->flags & WEFT_REDIRECT_SAME_HOST);
			https = 1;
		} else if (r->scheme.len) {
			scheme = r->scheme.off;
			scheme_len = r->scheme.len;
			/* the request's own scheme by name is no change */
			change = scheme_len != 4 + https ||
				 ((weft_load64(WEFT_IMG(__u64, scheme)) ^
				   WEFT_WORD('h', 't', 't', 'p', 's', 0, 0, 0)) &
				  weft_word_keep(4 + https)) != 0;
		}
	}
	if (scheme_len > WEFT_SCHEME_MAX)
		return -WEFT_E2BIG;
	weft_location_start(req, scheme, scheme_len, https);
	weft_seg_put(plan, WEFT_SEG_TEXT, 0, req->n_text);
	if (host.len)
		weft_seg_put(plan, WEFT_SEG_IMAGE, host.off, host.len);
	else
		weft_seg_put(plan, WEFT_SEG_HEAD, WEFT_VALUE(req, WEFT_VALUE_HOST)->off,
			     weft_location_host(req, redirect, change));
	__u32 mark = req->n_text;

	if (port)
		weft_location_port(req, port);
	weft_seg_put(plan, WEFT_SEG_TEXT, mark, req->n_text - mark);
	weft_location_path(req, plan, redirect);
	mark = req->n_text;
	weft_text_put(req, '\r');
	weft_text_put(req, '\n');
	return weft_seg_put(plan, WEFT_SEG_TEXT, mark, 2);
}
