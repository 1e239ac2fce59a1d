/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/* The request's host: what of it counts, and the virtual host it selects (domains of a route configuration). */

#include "bpf/engine/cond.h"

struct weft_colons {
	struct weft_req *req;
	__u32 off, len;
	__u32 n;    /* colons behind the last ']' */
	__u32 last; /* place of the last of them */
};

WEFT_INLINE __u32 weft_word_count(__u64 m)
{
	return (__u32)(((m >> 7) * WEFT_ONES) >> 56);
}

/* Every byte up to the last one that is set. */
WEFT_INLINE __u64 weft_word_smear(__u64 m)
{
	m |= m >> 8;
	m |= m >> 16;
	return m | m >> 32;
}

static long weft_colons_step(__u32 i, void *p)
{
	struct weft_colons *c = p;
	__u32 o = i * 8, rest = c->len - o;
	__u64 w = weft_load64(weft_head_at(c->req, c->off + o)), keep = weft_word_keep(rest);
	__u64 close = weft_word_eq(w, ']') & keep, colon = weft_word_eq(w, ':') & keep;

	if (close) {
		colon &= ~weft_word_smear(close);
		c->n = 0;
	}
	if (colon) {
		c->n += weft_word_count(colon);
		c->last = o + weft_word_count(weft_word_smear(colon) & WEFT_TOPS) - 1;
	}
	return 0;
}

/* Offset of the port's colon in a host of len bytes at off, len: none. A colon inside [v6] is not one. */
WEFT_GLOBAL __u32 weft_port_colon(struct weft_req *req, __u32 off, __u32 len)
{
	struct weft_colons c = { .req = req, .off = off, .len = len };

	if (!req)
		return len;
	WEFT_LOOP((len + 7) / 8, weft_colons_step, &c);
	return c.n ? c.last : len;
}

/* The number head[off..+len), 65536: none. */
WEFT_INLINE __u32 weft_port_number(struct weft_req *req, __u32 off, __u32 len)
{
	__u32 n = 0;

	if (!len || len > 5)
		return 65536;
	for (__u32 i = 0; i < 5; i++) {
		if (i >= len)
			break;
		__u32 d = (__u32)*weft_head_at(req, off + i) - '0';

		if (d > 9)
			return 65536;
		n = n * 10 + d;
	}
	return n;
}

/* strip_any_host_port, strip_matching_host_port, strip_trailing_host_dot: the host that is forwarded, too. */
WEFT_GLOBAL int weft_host_strip(struct weft_req *req, __u32 own_port)
{
	if (!req)
		return 0;
	struct weft_span *s = WEFT_VALUE(req, WEFT_VALUE_HOST);
	__u32 off = s->off, len = s->len, flags = req->hcm_flags;
	__u32 colon = weft_port_colon(req, off, len);

	if (colon < len && !(req->flags & WEFT_REQ_CONNECT)) {
		__u32 port = weft_port_number(req, off + colon + 1, len - colon - 1);

		if (port < 65536 && (flags & WEFT_HCM_STRIP_ANY_PORT ||
				     (flags & WEFT_HCM_STRIP_MATCHING_PORT && port == own_port)))
			len = colon;
	}
	if (flags & WEFT_HCM_STRIP_TRAILING_DOT && len) {
		if (*weft_head_at(req, off + len - 1) == '.') {
			len--;
		} else if (colon < len && colon && *weft_head_at(req, off + colon - 1) == '.') {
			/* a dot before the port that stays: only the agent may change the head */
			weft_hand(req, WEFT_HANDED_NORMALIZE);
#ifndef __bpf__
			memmove(req->head + off + 1, req->head + off, colon - 1);
			off++;
			len--;
#endif
		}
	}
	s->off = off;
	s->len = len;
	return 0;
}

/* ignore_port_in_host_matching cuts behind [v6] or at the only colon. */
WEFT_GLOBAL __u32 weft_host_no_port(struct weft_req *req, __u32 off, __u32 len)
{
	struct weft_colons c = { .req = req, .off = off, .len = len };

	if (!req)
		return len;
	WEFT_LOOP((len + 7) / 8, weft_colons_step, &c);
	return c.n == 1 ? c.last : len;
}

/* Hash of head[off..+len) in lower case, as weft_hash_host(). */
WEFT_GLOBAL __u32 weft_host_hash(struct weft_req *req, __u32 off, __u32 len)
{
	__u64 h = 0;

	if (!req)
		return 0;
	for (__u32 i = 0; i < WEFT_HOST_LEN_MAX; i += 8) {
		__u64 w = weft_word_lower(weft_load64(weft_head_at(req, off + i)));

		if (len - i < 8)
			return weft_name_end(h, w & weft_word_keep(len - i), len);
		h = weft_mix(h, w);
	}
	return 0;
}

struct weft_affix {
	struct weft_req *req;
	__u32 rc;  /* weft_img_route_config */
	__u32 tab;
	__u32 off; /* of the host in the head */
	__u32 len;
	__u32 best;
	__u64 hash;
};

WEFT_INLINE __u32 weft_host_byte(struct weft_req *req, __u32 off)
{
	__u32 c = *weft_head_at(req, off);

	return c - 'A' < 26 ? c | 0x20 : c;
}

static long weft_suffix_step(__u32 i, void *p)
{
	struct weft_affix *a = p;
	WEFT_IMG_BASE(1);
	__u32 l = i + 1, o = a->off + a->len - l;

	a->hash = weft_mix(a->hash, weft_host_byte(a->req, o));
	if (*WEFT_IMG(__u64, a->rc + offsetof(struct weft_img_route_config, suffix_len) +
				     (l >> 6 & 3) * 8) >>
		    (l & 63) & 1) {
		__u32 v = weft_tab_find(a->req, a->tab, (__u32)a->hash, o,
					(__u32)WEFT_KIND_HOST_SUFFIX << 16 | l);
		if (v)
			a->best = v; /* from right to left: the last hit is the longest */
	}
	return 0;
}

static long weft_prefix_step(__u32 i, void *p)
{
	struct weft_affix *a = p;
	WEFT_IMG_BASE(1);
	__u32 l = i + 1;

	a->hash = weft_mix(a->hash, weft_host_byte(a->req, a->off + i));
	if (*WEFT_IMG(__u64, a->rc + offsetof(struct weft_img_route_config, prefix_len) +
				     (l >> 6 & 3) * 8) >>
		    (l & 63) & 1) {
		__u32 v = weft_tab_find(a->req, a->tab, (__u32)a->hash, a->off,
					(__u32)WEFT_KIND_HOST_PREFIX << 16 | l);
		if (v)
			a->best = v;
	}
	return 0;
}

/* Lengths to try in a host of len bytes: one is left for the star, and no domain is longer. */
WEFT_INLINE __u32 weft_affix_steps(__u32 len)
{
	return len < WEFT_HOST_LEN_MAX ? len - 1 : WEFT_HOST_LEN_MAX - 1;
}

/* Longest "*.foo" (longest "foo.*") that leaves at least one character for the star. 0: none. */
WEFT_INLINE __u32 weft_suffix_find(struct weft_req *req, __u32 rc, __u32 tab, __u32 off, __u32 len)
{
	struct weft_affix a = { .req = req, .rc = rc, .tab = tab, .off = off, .len = len };

	if (!req)
		return 0;
	WEFT_LOOP(weft_affix_steps(len), weft_suffix_step, &a);
	return a.best;
}

WEFT_INLINE __u32 weft_prefix_find(struct weft_req *req, __u32 rc, __u32 tab, __u32 off, __u32 len)
{
	struct weft_affix a = { .req = req, .rc = rc, .tab = tab, .off = off, .len = len };

	if (!req)
		return 0;
	WEFT_LOOP(weft_affix_steps(len), weft_prefix_step, &a);
	return a.best;
}

/* 1: the request came with scheme https. */
WEFT_INLINE __u32 weft_is_https(struct weft_req *req)
{
	return req->present >> WEFT_VALUE_SCHEME & 1 &&
	       WEFT_VALUE(req, WEFT_VALUE_SCHEME)->len == 5;
}

/* 1: x-forwarded-proto says "https", to the letter (require_tls looks at nothing else). */
WEFT_INLINE int weft_came_by_https(struct weft_req *req)
{
	__u64 w = weft_load64(weft_head_at(req, WEFT_VALUE(req, WEFT_VALUE_SCHEME)->off));

	return weft_is_https(req) &&
	       (w & weft_word_keep(5)) == WEFT_WORD('h', 't', 't', 'p', 's', 0, 0, 0);
}

/* What domains are compared with: the host, or the first line of the header that vhost_header
 * names. len: ~0: there is none. */
WEFT_INLINE struct weft_span weft_host_value(struct weft_req *req, __u32 host_slot)
{
	__u32 slot = host_slot ? host_slot - 1 : WEFT_VALUE_HOST;
	struct weft_span s = *WEFT_VALUE(req, slot);

	if (!host_slot)
		return s;
	if (!(req->present >> (slot & 63) & 1)) {
		s.len = ~0u;
		if (slot != WEFT_VALUE_SCHEME)
			return s;
		weft_hand(req, WEFT_HANDED_UNBOUNDED);
#ifndef __bpf__
		s = (struct weft_span){req->max_head + WEFT_ADDED_AT, 4};
		__builtin_memcpy(req->head + s.off, "http", 4);
#endif
	} else if (req->repeated >> (slot & 63) & 1) {
		weft_hand(req, WEFT_HANDED_REPEATED_HEADER);
#ifndef __bpf__
		struct weft_span name = weft_slot_name(req, slot);

		for (__u32 i = req->n_field; i-- > 0;)
			if (req->field[i].name.len == name.len &&
			    !__builtin_memcmp(req->head + req->field[i].name.off,
					      req->head + name.off, name.len))
				s = req->field[i].value;
#endif
	}
	return s;
}

/* Virtual host for the request's host: exact, suffixes, prefixes, "*". 0: none (404). */
WEFT_GLOBAL __u32 weft_vhost_find(struct weft_req *req, __u32 rc)
{
	if (!req)
		return 0;
	WEFT_IMG_BASE(0);
	struct weft_img_route_config *r = WEFT_IMG(struct weft_img_route_config, rc);
	struct weft_span s = weft_host_value(req, r->host_slot);
	__u32 off = s.off, len = s.len, v;
	__u32 hosts = r->hosts, star = r->star, flags = r->flags;
	__u64 suffixes = r->suffix_len[0] | r->suffix_len[1] | r->suffix_len[2] | r->suffix_len[3];

	if (len == ~0u) {
		WEFT_TRACE(req, "virtual_host", "the header that names it is missing");
		return 0;
	}
	if (flags & WEFT_RC_IGNORE_PORT)
		len = weft_host_no_port(req, off, len);
	if (hosts && len >= WEFT_HOST_LEN_MAX)
		weft_hand(req, WEFT_HANDED_UNUSUAL);
	if (hosts && len) {
		v = 0;
		if (len < WEFT_HOST_LEN_MAX)
			v = weft_tab_find(req, hosts, weft_host_hash(req, off, len), off,
					  (__u32)WEFT_KIND_HOST << 16 | len);
		if (v) {
			WEFT_TRACE(req, "virtual_host", "exact domain");
			return v;
		}
		v = suffixes ? weft_suffix_find(req, rc, hosts, off, len) : 0;
		if (v) {
			WEFT_TRACE(req, "virtual_host", "suffix wildcard");
			return v;
		}
		v = flags & WEFT_RC_PREFIX_HOSTS ? weft_prefix_find(req, rc, hosts, off, len) : 0;
		if (v) {
			WEFT_TRACE(req, "virtual_host", "prefix wildcard");
			return v;
		}
	}
	if (star)
		WEFT_TRACE(req, "virtual_host", "domain *");
	else
		WEFT_TRACE(req, "virtual_host", "no domain matches");
	return star;
}
