/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/*
 * The same request again on the same connection, which the same empty bucket refuses again: who
 * hammers is refused at the cost of a comparison. Kept is only a refusal to which nothing but the
 * head, the configuration and that bucket has led (weft_decision.empty_cell), in memory of the
 * socket. A token, another byte, a new configuration or another second of the clock: the request is
 * judged as any other.
 */

#include "bpf/maps.h"

#define WEFT_AGAIN_MAX 512u /* of the head, and of the reply */
struct weft_again {
	__u32 epoch;
	__u32 view;
	__u32 len;   /* of the head; 0: nothing is kept */
	__u32 total; /* of the reply */
	__u32 cell, bucket;
	__u32 stat, class; /* of struct weft_http_stat: where its answer counts */
	__u64 date[4];
	__u8 head[WEFT_AGAIN_MAX];
	__u8 reply[WEFT_AGAIN_MAX];
};

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct weft_again);
} again SEC(".maps");

/* The date that replies have now. */
WEFT_INLINE const __u64 *weft_date_now(__u8 *state_base)
{
	struct weft_state_head *h = weft_head_of(state_base);

	return (const __u64 *)h->date[WEFT_READ(h->date_which) & 1];
}
static_assert(sizeof(((struct weft_state_head *)0)->date[0]) == 32, "four words");

enum weft_again_how { WEFT_AGAIN_COMPARE, WEFT_AGAIN_KEEP, WEFT_AGAIN_SEND };

/* A word of the message against one of mem, to it, or from it. 0: they differ. */
WEFT_INLINE int weft_again_word(__u64 *p, __u64 *mem, enum weft_again_how how)
{
	if (how == WEFT_AGAIN_COMPARE)
		return *p == *mem;
	if (how == WEFT_AGAIN_KEEP)
		*mem = *p;
	else
		*p = *mem;
	return 1;
}

/*
 * The message, which is one piece of *len bytes (8 to WEFT_AGAIN_MAX), and mem, word by word; the
 * last one overlaps the one before it, so that there is no rest of some bytes. 0: they differ. The
 * length is read each time: what the verifier learns of it in one turn would keep it from seeing
 * that all ends of the loop are the same.
 */
WEFT_INLINE int weft_again_run(struct sk_msg_md *m, __u8 *mem, const __u32 *len,
			       enum weft_again_how how)
{
	__u32 off;
	__u8 *p;

	for (__u32 i = 0; i < WEFT_AGAIN_MAX / 8; i++) {
		p = (__u8 *)(void *)(long)m->data + i * 8;
		if (i * 8 + 8 > WEFT_READ(*len) || p + 8 > (__u8 *)(void *)(long)m->data_end)
			break;
		if (!weft_again_word((__u64 *)p, (__u64 *)(mem + i * 8), how))
			return 0;
	}
	off = WEFT_READ(*len) - 8;
	if (off > WEFT_AGAIN_MAX - 8)
		return 0;
	p = (__u8 *)(void *)(long)m->data + off;
	if (p + 8 > (__u8 *)(void *)(long)m->data_end)
		return 0;
	return weft_again_word((__u64 *)p, (__u64 *)(mem + off), how);
}

/*
 * Keeps the refusal in req, whose reply stands at state offset `out`, when it comes for the second
 * time: one alone costs no memory. The message is still the request.
 */
static __noinline int weft_again_keep(struct sk_msg_md *m, struct weft_sock *w,
				      struct weft_req *req, __u32 view, __u32 out)
{
	__u32 hash = (__u32)req->hash;
	struct bpf_sock *s = m->sk;
	struct weft_again *a;

	if (!req->dec.empty_cell || req->dec.drew || m->size > WEFT_AGAIN_MAX || m->size < 8 ||
	    req->plan.total > WEFT_AGAIN_MAX || req->plan.total < 8 || !s)
		return 0;
	if (w->refused != hash) {
		w->refused = hash;
		return 0;
	}
	a = bpf_sk_storage_get(&again, s, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (!a)
		return 0;
	WEFT_IMG_BASE(0);
	WEFT_STATE_BASE(0);
	const __u64 *date = weft_date_now(state_base);

	for (int i = 0; i < 4; i++)
		a->date[i] = date[i];
	for (__u32 i = 0; i < WEFT_AGAIN_MAX / 8; i++)
		((__u64 *)a->reply)[i] = *WEFT_STATE(__u64, out + i * 8);
	a->epoch = req->dec.epoch;
	a->view = view;
	a->cell = req->dec.empty_cell;
	a->bucket = req->dec.empty_bucket;
	a->stat = WEFT_IMG(struct weft_img_hcm, req->dec.hcm)->stat;
	a->class = req->plan.status / 100;
	a->total = req->plan.total;
	a->len = m->size;
	if (!weft_again_run(m, a->head, &a->len, WEFT_AGAIN_KEEP))
		a->len = 0;
	return 0;
}

/* What is kept still holds for this message, which is as long. */
WEFT_INLINE bool weft_again_holds(struct sk_msg_md *m, struct weft_again *a, __u32 view,
				  __u64 now_ns)
{
	WEFT_IMG_BASE(false);
	WEFT_STATE_BASE(false);
	const __u64 *date = weft_date_now(state_base);
	__u64 root = WEFT_READ(WEFT_IMG(struct weft_img_head, 0)->root);

	return a->view == view && a->epoch == (__u32)(root >> 32) && a->date[0] == date[0] &&
	       a->date[1] == date[1] && a->date[2] == date[2] && a->date[3] == date[3] &&
	       weft_again_run(m, a->head, &a->len, WEFT_AGAIN_COMPARE) &&
	       !weft_bucket_look_at(a->cell, a->bucket, now_ns);
}
