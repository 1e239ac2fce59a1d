/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/* Bytes of the head against bytes of the image, and look-ups by name. */

#include "bpf/engine/mem.h"

/* head[head_off..+len) equals image[img_off..+len); lower: the head's letters count as lower case. */
WEFT_GLOBAL int weft_text_equal(struct weft_req *req, __u32 head_off, __u32 img_off, __u32 len,
				__u32 lower)
{
	if (!req)
		return 0;
	WEFT_IMG_BASE(0);

	WEFT_FOR(i, WEFT_HEAD_MAX / 8) {
		if (i * 8 >= len)
			return 1;
		__u64 w = weft_load64(weft_head_at(req, head_off + i * 8));

		if (lower)
			w = weft_word_lower(w);
		w ^= weft_load64(WEFT_IMG(__u64, img_off + i * 8));
		__u32 rest = len - i * 8;

		if (rest < 8)
			return !(w << ((64 - rest * 8) & 63));
		if (w)
			return 0;
	}
	return 0;
}

struct weft_byte_find {
	struct weft_req *req;
	__u32 off, len, byte, hit;
};

static long weft_byte_step(__u32 i, void *p)
{
	struct weft_byte_find *c = p;

	c->hit = !!(weft_word_eq(weft_load64(weft_head_at(c->req, c->off + i * 8)), c->byte) &
		    weft_word_keep(c->len - i * 8));
	return c->hit ? 1 : 0;
}

/* 1: the byte is among those of the head from off on. */
WEFT_GLOBAL int weft_head_has(struct weft_req *req, __u32 off, __u32 len, __u32 byte)
{
	if (!req)
		return 0;
	struct weft_byte_find c = {.req = req, .off = off, .len = len, .byte = byte};

	WEFT_LOOP((len + 7) / 8, weft_byte_step, &c);
	return (int)c.hit;
}

/* From here to the next call the path is what routes match, which may stand elsewhere; the head is not to be read. */
WEFT_INLINE void weft_path_swap(struct weft_req *req)
{
#ifndef __bpf__
	if (!req->plain)
		return;
	__u8 *head = req->head;
	struct weft_span path = req->path;

	req->head = req->plain;
	req->path = req->plain_path;
	req->plain = head;
	req->plain_path = path;
#else
	(void)req;
#endif
}

/* Longest number a program reads; more digits can only be leading zeros, which the agent skips. */
#define WEFT_NUMBER_MAX 24

/* Value of head[off..+len) in a weft_img_tab, compared in lower case, 0 none. kind_len: kind << 16 | len. */
WEFT_GLOBAL __u32 weft_tab_find(struct weft_req *req, __u32 tab, __u32 hash, __u32 off,
				__u32 kind_len)
{
	if (!req)
		return 0;
	WEFT_IMG_BASE(0);
	__u32 mask = WEFT_IMG(struct weft_img_tab, tab)->mask;

	for (__u32 i = 0; i < WEFT_TAB_PROBES; i++) {
		struct weft_img_ent *e =
			WEFT_IMG(struct weft_img_ent, tab + sizeof(struct weft_img_tab) +
							      ((hash + i) & mask) * sizeof(*e));

		if (!e->kind)
			return 0;
		if (e->hash != hash || ((__u32)e->kind << 16 | e->len) != kind_len)
			continue;
		if (weft_text_equal(req, off, e->str, kind_len & 0xffff, 1))
			return e->val;
	}
	return 0;
}

/*
 * Value of a name that the engine itself asks for, 0 none. Hash and length stand for the name: only configuration
 * fills tables, and no two header names in use share both.
 */
WEFT_GLOBAL __u32 weft_tab_find_known(__u32 tab, __u32 hash, __u32 kind_len)
{
	WEFT_IMG_BASE(0);
	__u32 mask = WEFT_IMG(struct weft_img_tab, tab)->mask;

	for (__u32 i = 0; i < WEFT_TAB_PROBES; i++) {
		struct weft_img_ent *e =
			WEFT_IMG(struct weft_img_ent, tab + sizeof(struct weft_img_tab) +
							      ((hash + i) & mask) * sizeof(*e));

		if (!e->kind)
			return 0;
		if (e->hash == hash && ((__u32)e->kind << 16 | e->len) == kind_len)
			return e->val;
	}
	return 0;
}
