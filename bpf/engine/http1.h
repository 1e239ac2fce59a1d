/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/*
 * The plain form of an HTTP/1.1 request head, which is nearly every head there is: one of the usual methods,
 * "/path", CRLF line ends, one Host, names of letters, digits and '-'. Anything else is WEFT_PARSE_UNSURE:
 * natively http1_full.h says what it is, a program hands it to the agent. Changes no byte of the head.
 */

#include "bpf/engine/joined.h"
#include "bpf/engine/text.h"

#define WEFT_HEAD_WORDS (WEFT_HEAD_MAX / 8)
#define WEFT_BLANKS_MAX 8

WEFT_INLINE void weft_value_put(struct weft_req *req, __u32 slot, __u32 off, __u32 len)
{
	struct weft_span *s = WEFT_VALUE(req, slot);
	__u64 bit = 1ull << (slot & 63);

	if (req->present & bit) {
		req->repeated |= bit;
		return;
	}
	req->present |= bit;
	s->off = off;
	s->len = len;
}

/* End of the target's path (with query: of the whole target), or a weft_parse that is not 0, negated. */
WEFT_GLOBAL int weft_target_scan(struct weft_req *req, __u32 pos, __u32 stop_at_query)
{
	if (!req)
		return -WEFT_PARSE_UNSURE;
	WEFT_FOR(i, WEFT_HEAD_WORDS) {
		__u64 w = weft_load64(weft_head_at(req, pos));
		__u64 m = (~weft_word_ge(w, 0x21) & WEFT_TOPS) | weft_word_ge(w, 0x7f) |
			  (w & WEFT_TOPS) | weft_word_eq(w, '#');

		if (stop_at_query)
			m |= weft_word_eq(w, '?');
		pos += m ? weft_word_first(m) : 8;
		if (pos >= req->len)
			return -WEFT_PARSE_MORE;
		if (m)
			return (int)pos;
	}
	return -WEFT_PARSE_TOO_LONG;
}

/* First control byte other than TAB at or after pos, or a weft_parse, negated. */
WEFT_INLINE int weft_line_scan(struct weft_req *req, __u32 pos)
{
	WEFT_FOR(i, WEFT_HEAD_WORDS + 64) {
		__u64 w = weft_load64(weft_head_at(req, pos));
		__u64 m = (~(weft_word_ge(w, 0x20) | w) & WEFT_TOPS) | weft_word_eq(w, 0x7f);

		if (!m) {
			pos += 8;
			if (pos >= req->len)
				return -WEFT_PARSE_MORE;
			continue;
		}
		__u32 k = weft_word_first(m);

		pos += k;
		if (pos >= req->len)
			return -WEFT_PARSE_MORE;
		if (((w >> (k * 8)) & 255) != '\t')
			return (int)pos;
		pos++;
	}
	return -WEFT_PARSE_TOO_LONG;
}

/* head[off..+len) has only bytes that are letters, digits and .:_- */
WEFT_GLOBAL int weft_host_plain(struct weft_req *req, __u32 off, __u32 len)
{
	if (!req)
		return 0;
	for (__u32 i = 0; i < WEFT_HOST_LEN_MAX; i += 8) {
		if (i >= len)
			return 1;
		__u64 w = weft_word_lower(weft_load64(weft_head_at(req, off + i)));
		__u64 ok = weft_word_plain(w) | weft_word_eq(w, '.') | weft_word_eq(w, ':') |
			   weft_word_eq(w, '_');
		__u64 m = ~ok & WEFT_TOPS & weft_word_keep(len - i);

		if (m)
			return 0;
	}
	return 0;
}

WEFT_INLINE int weft_length_plain(struct weft_req *req, __u32 off, __u32 len)
{
	__u64 n = 0;

	if (!len || len > 18 || req->flags & (WEFT_REQ_HAS_LENGTH | WEFT_REQ_CHUNKED))
		return WEFT_PARSE_UNSURE;
	for (__u32 i = 0; i < 18; i++) {
		if (i >= len)
			break;
		__u32 d = (__u32)*weft_head_at(req, off + i) - '0';

		if (d > 9)
			return WEFT_PARSE_UNSURE;
		n = n * 10 + d;
	}
	req->content_length = n;
	req->flags |= WEFT_REQ_HAS_LENGTH;
	return 0;
}

/* "application/grpc", alone or followed by '+' (Envoy's test for a gRPC client). */
WEFT_INLINE int weft_is_grpc(struct weft_req *req, __u32 off, __u32 len)
{
	if (len < 16 ||
	    weft_load64(weft_head_at(req, off)) != WEFT_WORD('a', 'p', 'p', 'l', 'i', 'c', 'a', 't') ||
	    weft_load64(weft_head_at(req, off + 8)) !=
		    WEFT_WORD('i', 'o', 'n', '/', 'g', 'r', 'p', 'c'))
		return 0;
	return len == 16 || *weft_head_at(req, off + 16) == '+';
}

WEFT_INLINE int weft_host_line(struct weft_req *req, __u32 off, __u32 len)
{
	if (req->present >> WEFT_VALUE_HOST & 1 || !len || len >= WEFT_HOST_LEN_MAX ||
	    !weft_host_plain(req, off, len))
		return WEFT_PARSE_UNSURE;
	weft_value_put(req, WEFT_VALUE_HOST, off, len);
	return 0;
}

WEFT_INLINE int weft_connection_line(struct weft_req *req, __u32 off, __u32 len)
{
	__u64 w = weft_word_lower(weft_load64(weft_head_at(req, off)));

	if (req->flags & (WEFT_REQ_CLOSE | WEFT_REQ_KEEP_ALIVE))
		return WEFT_PARSE_UNSURE;
	if (len == 5 && (w & weft_word_keep(5)) == WEFT_WORD('c', 'l', 'o', 's', 'e', 0, 0, 0)) {
		req->flags |= WEFT_REQ_CLOSE;
		return -1;
	}
	if (len == 10 && w == WEFT_WORD('k', 'e', 'e', 'p', '-', 'a', 'l', 'i') &&
	    (weft_load16(weft_head_at(req, off + 8)) | 0x2020) == ('v' | 'e' << 8)) {
		req->flags |= WEFT_REQ_KEEP_ALIVE;
		return -1;
	}
	return WEFT_PARSE_UNSURE;
}

WEFT_INLINE int weft_coding_line(struct weft_req *req, __u32 off, __u32 len)
{
	__u64 w = weft_word_lower(weft_load64(weft_head_at(req, off)));

	if (req->flags & (WEFT_REQ_HAS_LENGTH | WEFT_REQ_CHUNKED) || len != 7 ||
	    (w & weft_word_keep(7)) != WEFT_WORD('c', 'h', 'u', 'n', 'k', 'e', 'd', 0))
		return WEFT_PARSE_UNSURE;
	req->flags |= WEFT_REQ_CHUNKED;
	return -1;
}

/* The client's x-forwarded-proto is the request's scheme, unless an edge says it itself. */
WEFT_INLINE int weft_scheme_line(struct weft_req *req, __u32 off, __u32 len)
{
	__u64 w = weft_load64(weft_head_at(req, off));

	if (req->hcm_flags & WEFT_HCM_OWN_PROTO)
		return 0;
	if (req->present >> WEFT_VALUE_SCHEME & 1)
		return WEFT_PARSE_UNSURE;
	if ((len != 4 || (w & weft_word_keep(4)) != WEFT_WORD('h', 't', 't', 'p', 0, 0, 0, 0)) &&
	    (len != 5 || (w & weft_word_keep(5)) != WEFT_WORD('h', 't', 't', 'p', 's', 0, 0, 0)))
		return WEFT_PARSE_UNSURE;
	weft_value_put(req, WEFT_VALUE_SCHEME, off, len);
	return 0;
}

/* Lengths of the names that weft_http1_known() knows. */
#define WEFT_KNOWN_LENS                                                                            \
	(1u << 2 | 1u << 4 | 1u << 6 | 1u << 7 | 1u << 10 | 1u << 12 | 1u << 14 | 1u << 16 | 1u << 17)

/*
 * A header with a meaning for the message itself. first: the name's first eight bytes in lower case, zero padded.
 * 0: go on; -1: gone before routing (hop-by-hop), rules do not see it; > 0: weft_parse.
 */
WEFT_GLOBAL int weft_http1_known(struct weft_req *req, __u32 name, __u32 name_len, __u32 off,
				 __u32 len)
{
	if (!req)
		return WEFT_PARSE_UNSURE;
	__u64 first = weft_word_lower(weft_load64(weft_head_at(req, name)));
	__u64 last = weft_word_lower(weft_load64(weft_head_at(req, name + name_len - 8)));

	/* of a name of 17 bytes, what lies between the first eight and the last eight */
	__u32 middle = *weft_head_at(req, name + 8);

	first &= weft_word_keep(name_len);
	if (name_len == 4 && first == WEFT_WORD('h', 'o', 's', 't', 0, 0, 0, 0))
		return weft_host_line(req, off, len);
	if (name_len == 14 && first == WEFT_WORD('c', 'o', 'n', 't', 'e', 'n', 't', '-') &&
	    last == WEFT_WORD('t', '-', 'l', 'e', 'n', 'g', 't', 'h'))
		return weft_length_plain(req, off, len);
	if (name_len == 12 && first == WEFT_WORD('c', 'o', 'n', 't', 'e', 'n', 't', '-') &&
	    last == WEFT_WORD('e', 'n', 't', '-', 't', 'y', 'p', 'e')) {
		if (weft_is_grpc(req, off, len))
			req->flags |= WEFT_REQ_GRPC;
		return 0;
	}
	if (name_len == 10 && first == WEFT_WORD('c', 'o', 'n', 'n', 'e', 'c', 't', 'i') &&
	    last == WEFT_WORD('n', 'n', 'e', 'c', 't', 'i', 'o', 'n'))
		return weft_connection_line(req, off, len);
	if (name_len == 17 && first == WEFT_WORD('t', 'r', 'a', 'n', 's', 'f', 'e', 'r') &&
	    middle == '-' && last == WEFT_WORD('e', 'n', 'c', 'o', 'd', 'i', 'n', 'g'))
		return weft_coding_line(req, off, len);
	if (name_len == 17 && first == WEFT_WORD('x', '-', 'f', 'o', 'r', 'w', 'a', 'r') &&
	    (middle | 0x20) == 'd' && last == WEFT_WORD('e', 'd', '-', 'p', 'r', 'o', 't', 'o'))
		return weft_scheme_line(req, off, len);
	if ((name_len == 10 && first == WEFT_WORD('k', 'e', 'e', 'p', '-', 'a', 'l', 'i') &&
	     last == WEFT_WORD('e', 'p', '-', 'a', 'l', 'i', 'v', 'e')) ||
	    (name_len == 16 && first == WEFT_WORD('x', '-', 'e', 'n', 'v', 'o', 'y', '-') &&
	     last == WEFT_WORD('i', 'n', 't', 'e', 'r', 'n', 'a', 'l')))
		return -1;
	if ((name_len == 2 && first == WEFT_WORD('t', 'e', 0, 0, 0, 0, 0, 0)) ||
	    (name_len == 16 && first == WEFT_WORD('p', 'r', 'o', 'x', 'y', '-', 'c', 'o') &&
	     last == WEFT_WORD('n', 'n', 'e', 'c', 't', 'i', 'o', 'n')) ||
	    (name_len == 6 && first == WEFT_WORD('e', 'x', 'p', 'e', 'c', 't', 0, 0)) ||
	    (name_len == 7 && first == WEFT_WORD('u', 'p', 'g', 'r', 'a', 'd', 'e', 0)))
		return WEFT_PARSE_UNSURE;
	return 0;
}

/* Header name at pos: its length and, in *ret_hash, its hash; or a weft_parse, negated. */
WEFT_INLINE int weft_name_scan(struct weft_req *req, __u32 pos, __u32 *ret_hash)
{
	__u64 h = 0;

	for (__u32 i = 0; i < WEFT_NAME_LEN_MAX; i += 8) {
		__u64 w = weft_load64(weft_head_at(req, pos + i)), l = weft_word_lower(w);
		__u64 m = ~weft_word_plain(l) & WEFT_TOPS;

		if (!m) {
			h = weft_mix(h, l);
			continue;
		}
		__u32 k = weft_word_first(m), len = i + k;

		if (pos + len >= req->len)
			return -WEFT_PARSE_MORE;
		if (((w >> (k * 8)) & 255) != ':' || !len)
			return -WEFT_PARSE_UNSURE;
		*ret_hash = weft_name_end(h, l & weft_word_keep(k), len);
		return (int)len;
	}
	return -WEFT_PARSE_UNSURE;
}

/* Notes one header for forwarding and for the rules that look at it. 0, or a weft_parse. */
WEFT_INLINE int weft_field_put(struct weft_req *req, __u32 n, struct weft_field f, __u32 hash)
{
	__u32 slot = 0;
	int known = 0;

	*WEFT_FIELD(req, n) = f;
	if (f.name.len < 18 && WEFT_KNOWN_LENS >> (f.name.len & 31) & 1)
		known = weft_http1_known(req, f.name.off, f.name.len, f.value.off, f.value.len);
	if (known > 0)
		return known;
	if (weft_joined_again(req, hash))
		return WEFT_PARSE_UNSURE;
	if (!known && req->bloom >> (hash & 63) & 1)
		slot = weft_tab_find(req, req->headers, hash, f.name.off,
				     (__u32)WEFT_KIND_HEADER << 16 | f.name.len);
	if (slot > WEFT_VALUE__HEADERS)
		weft_value_put(req, slot - 1, f.value.off, f.value.len);
	return 0;
}

/* Line n of the header at pos: the next one's position, 0 at the head's end, or a weft_parse, negated. */
WEFT_GLOBAL int weft_http1_line(struct weft_req *req, __u32 pos, __u32 n)
{
	__u32 hash = 0;

	if (!req)
		return -WEFT_PARSE_UNSURE;
	if (pos + 2 > req->len)
		return -WEFT_PARSE_MORE;
	if (weft_load16(weft_head_at(req, pos)) == 0x0a0d) {
		req->head_len = pos + 2;
		req->n_field = n;
		return 0;
	}
	if (n >= req->max_headers || n >= WEFT_REQ_FIELDS)
		return -WEFT_PARSE_TOO_MANY;
	int name_len = weft_name_scan(req, pos, &hash);

	if (name_len <= 0)
		return name_len;
	name_len = (int)WEFT_FORGET(req, name_len);
	__u32 v = pos + (__u32)name_len + 1;

	for (__u32 i = 0; i < WEFT_BLANKS_MAX; i++) {
		__u32 c = *weft_head_at(req, v);

		if (c != ' ' && c != '\t')
			break;
		v++;
	}
	int e = weft_line_scan(req, v);

	if (e < 0)
		return e;
	__u32 end = WEFT_FORGET(req, e), next = end + 2;

	if (next > req->len)
		return -WEFT_PARSE_MORE;
	if (weft_load16(weft_head_at(req, end)) != 0x0a0d)
		return -WEFT_PARSE_UNSURE;
	for (__u32 i = 0; i < WEFT_BLANKS_MAX; i++) {
		__u32 c = *weft_head_at(req, end - 1);

		if (end <= v || (c != ' ' && c != '\t'))
			break;
		end--;
	}
	/* more blanks than these loops take */
	if (end > v && (*weft_head_at(req, v) <= ' ' || *weft_head_at(req, end - 1) <= ' '))
		return -WEFT_PARSE_UNSURE;
	struct weft_field f = { { pos, (__u32)name_len }, { v, end - v } };
	int r = weft_field_put(req, n, f, hash);

	return r ? -r : (int)next;
}

/* Length of the method, 0: not one of the usual ones. */
WEFT_INLINE __u32 weft_method_plain(struct weft_req *req)
{
	__u64 w = weft_load64(weft_head_at(req, 0)), m = weft_word_eq(w, ' ');

	if (!m)
		return 0;
	__u32 k = weft_word_first(m);

	w &= weft_word_keep(k);
	/* the words below are padded with NUL: one before the blank is a byte of the method, and makes it another */
	if (!k || !(w >> ((k - 1) * 8 & 63) & 255))
		return 0;
	if (w == WEFT_WORD('H', 'E', 'A', 'D', 0, 0, 0, 0))
		req->flags |= WEFT_REQ_HEAD_METHOD;
	else if (w != WEFT_WORD('G', 'E', 'T', 0, 0, 0, 0, 0) &&
		 w != WEFT_WORD('P', 'O', 'S', 'T', 0, 0, 0, 0) &&
		 w != WEFT_WORD('P', 'U', 'T', 0, 0, 0, 0, 0) &&
		 w != WEFT_WORD('D', 'E', 'L', 'E', 'T', 'E', 0, 0) &&
		 w != WEFT_WORD('P', 'A', 'T', 'C', 'H', 0, 0, 0) &&
		 w != WEFT_WORD('O', 'P', 'T', 'I', 'O', 'N', 'S', 0))
		return 0;
	return k;
}

/* Position of the first header line, or a weft_parse, negated. */
WEFT_GLOBAL int weft_http1_request_line(struct weft_req *req)
{
	if (!req)
		return -WEFT_PARSE_UNSURE;
	if (req->len < 16)
		return -WEFT_PARSE_MORE;
	__u32 k = weft_method_plain(req), p = k + 1;

	if (!k || *weft_head_at(req, p) != '/')
		return -WEFT_PARSE_UNSURE;
	weft_value_put(req, WEFT_VALUE_METHOD, 0, k);
	int e = weft_target_scan(req, p, 1);

	if (e < 0)
		return e;
	req->path.off = p;
	req->path.len = (__u32)e - p;
	if (*weft_head_at(req, (__u32)e) == '?') {
		e = weft_target_scan(req, (__u32)e, 0);
		if (e < 0)
			return e;
	}
	__u32 end = (__u32)e;

	if (end + 11 > req->len)
		return -WEFT_PARSE_MORE;
	if (*weft_head_at(req, end) != ' ' ||
	    weft_load64(weft_head_at(req, end + 1)) !=
		    WEFT_WORD('H', 'T', 'T', 'P', '/', '1', '.', '1') ||
	    weft_load16(weft_head_at(req, end + 9)) != 0x0a0d)
		return -WEFT_PARSE_UNSURE;
	weft_value_put(req, WEFT_VALUE_PATH, p, end - p);
	return (int)end + 11;
}

/* Bytes that Chromium's canonical path keeps as they are: RFC 3986's, without '%'. */
WEFT_INLINE __u64 weft_word_canonical(__u64 w)
{
	__u64 ok = (weft_word_ge(w, '&') & ~weft_word_ge(w, ';' + 1)) |
		   (weft_word_ge(w, '@') & ~weft_word_ge(w, '[' + 1)) |
		   (weft_word_ge(w, 'a') & ~weft_word_ge(w, 'z' + 1)) | weft_word_eq(w, '!') |
		   weft_word_eq(w, '$') | weft_word_eq(w, '=') | weft_word_eq(w, ']') |
		   weft_word_eq(w, '_') | weft_word_eq(w, '~');

	return ok & ~w;
}

struct weft_odd {
	struct weft_req *req;
	__u32 off, len;
	__u64 before; /* 0x80: the word before ended with a slash */
	__u32 odd;
};

static long weft_odd_step(__u32 i, void *p)
{
	struct weft_odd *c = p;
	__u32 o = i * 8, rest = c->len - o;
	__u64 w = weft_load64(weft_head_at(c->req, c->off + o)), slash = weft_word_eq(w, '/');
	__u64 odd = (~weft_word_canonical(w) & WEFT_TOPS) |
		    ((slash << 8 | c->before) & (slash | weft_word_eq(w, '.')));

	if (odd & weft_word_keep(rest)) {
		c->odd = 1;
		return 1;
	}
	c->before = slash >> 56;
	return 0;
}

/* Whether normalize_path or merge_slashes may change head[off..+len): odd bytes, "//" or "/.". */
WEFT_GLOBAL int weft_path_odd(struct weft_req *req, __u32 off, __u32 len)
{
	struct weft_odd c = { .req = req, .off = off, .len = len };

	if (!req)
		return 1;
	WEFT_LOOP((len + 7) / 8, weft_odd_step, &c);
	return (int)c.odd;
}

WEFT_INLINE void weft_parse_reset(struct weft_req *req)
{
	req->head_len = 0;
	req->flags = 0;
	req->n_field = 0;
	req->content_length = 0;
	req->hash = 0;
	req->present = 0;
	req->repeated = 0;
	req->joined = 0;
	req->path.off = 0;
	req->path.len = 0;
	req->n_text = 0;
}

/* Hash of head[0..len), before anything in it is changed; 0 of one that no program judges. */
WEFT_GLOBAL int weft_head_hash(struct weft_req *req, __u32 len)
{
	__u64 h = len;

	if (!req)
		return 0;
	WEFT_STATE_BASE(0);
	struct weft_state_head *s = WEFT_STATE(struct weft_state_head, 0);

	req->hash = 0;
	if (len > WEFT_HEAD_MAX)
		return 0;
	for (__u32 i = 0; i < WEFT_HEAD_WORDS; i++) {
		__u32 o = i * 8;

		if (o + 8 > len) {
			if (o < len)
				h += weft_head_term(weft_load64(weft_head_at(req, o)) &
							    weft_word_keep(len - o),
						    s->head_key[i]);
			break;
		}
		h += weft_head_term(weft_load64(weft_head_at(req, o)), s->head_key[i]);
	}
	req->hash = h;
	return 0;
}

#define WEFT_XFP_HASH                                                                              \
	weft_name_end(weft_mix(weft_mix(0, WEFT_WORD('x', '-', 'f', 'o', 'r', 'w', 'a', 'r')),     \
			       WEFT_WORD('d', 'e', 'd', '-', 'p', 'r', 'o', 't')),                 \
		      'o', 17)
#define WEFT_REQUEST_ID_HASH                                                                       \
	weft_name_end(weft_mix(0, WEFT_WORD('x', '-', 'r', 'e', 'q', 'u', 'e', 's')),              \
		      WEFT_WORD('t', '-', 'i', 'd', 0, 0, 0, 0), 12)

/* Slot of a header that the agent adds before routing, if a rule looks at it and the client sent none; else 0. */
WEFT_INLINE __u32 weft_added_slot(struct weft_req *req, __u32 hash, __u32 len)
{
	if (!(req->bloom >> (hash & 63) & 1))
		return 0;
	__u32 slot = weft_tab_find_known(req->headers, hash, (__u32)WEFT_KIND_HEADER << 16 | len);

	if (slot <= WEFT_VALUE__HEADERS || req->present >> ((slot - 1) & 63) & 1)
		return 0;
	return slot - 1;
}

/* enum weft_parse, of the plain form only: OK, MORE, TOO_LONG, TOO_MANY, UNSURE. */
WEFT_GLOBAL int weft_http1_plain(struct weft_req *req)
{
	if (!req)
		return WEFT_PARSE_UNSURE;
	weft_parse_reset(req);
	int e = weft_http1_request_line(req);

	if (e < 0)
		return -e;
	__u32 pos = (__u32)e;
	/* a plain loop over a global function: cheaper than bpf_loop to verify and to run */
	WEFT_FOR(i, WEFT_HEADERS_MAX + 1) {
		e = weft_http1_line(req, pos, i);
		if (e < 0)
			return -e;
		if (!e)
			break;
		pos = (__u32)e;
	}
	if (!req->head_len)
		return WEFT_PARSE_TOO_MANY;
	if (req->head_len > req->max_head)
		return WEFT_PARSE_TOO_LONG;
	if (!(req->present >> WEFT_VALUE_HOST & 1))
		return WEFT_PARSE_UNSURE;
	if (weft_added_slot(req, WEFT_XFP_HASH, 17) || weft_added_slot(req, WEFT_REQUEST_ID_HASH, 12))
		return WEFT_PARSE_UNSURE;
	if (req->hcm_flags & WEFT_HCM_PATH_FORM &&
	    weft_path_odd(req, req->path.off, req->path.len))
		req->flags |= WEFT_REQ_PATH_ODD;
	weft_head_hash(req, req->head_len);
	return WEFT_PARSE_OK;
}

#ifdef __bpf__
/* Inline, as weft_decide(): a program may nest eight calls, the engine needs six below its caller. */
WEFT_INLINE int weft_http1_parse(struct weft_req *req)
{
	return weft_http1_plain(req);
}
#endif
