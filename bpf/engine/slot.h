/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/*
 * What pods hold of slots, and free lists of slots and head buffers: tag (40 bits) << 24 | index. The tag counts changes of the list's head, so
 * that a pop that was overtaken by pop, pop, push of the same element fails its compare-and-swap.
 */

#include "bpf/engine/cell.h"

#define WEFT_LIST_INDEX 0xffffffu

/* Takes the first element. list: state offset of the head word; elements are `stride` apart from `first`, `link`
 * bytes in is the next one's index. 0: empty (or, in programs, contended).
 */
WEFT_GLOBAL __u32 weft_list_pop(__u32 list, __u32 first, __u32 stride, __u32 link)
{
	WEFT_STATE_BASE(0);
	__u64 *p = WEFT_STATE(__u64, list);
	__u64 old = WEFT_READ(*p);

	WEFT_FOR(i, WEFT_CAS_TRIES) {
		__u32 x = (__u32)old & WEFT_LIST_INDEX;

		if (!x)
			return 0;
		__u32 next = WEFT_READ(*WEFT_STATE32(first + x * stride + link));
		__u64 want = ((old >> 24) + 1) << 24 | (next & WEFT_LIST_INDEX);
		__u64 got = WEFT_CAS(p, old, want);

		if (got == old)
			return x;
		old = got;
	}
	return 0;
}

/* Puts element x back. where: state offset of its link. 1: done. */
WEFT_GLOBAL int weft_list_push(__u32 list, __u32 where, __u32 x)
{
	WEFT_STATE_BASE(0);
	__u64 *p = WEFT_STATE(__u64, list);
	__u64 old = WEFT_READ(*p);

	/* far more tries than a pop: an element that is not put back is lost */
	WEFT_FOR(i, WEFT_CAS_TRIES * 16) {
		*(volatile __u32 *)WEFT_STATE32(where) = (__u32)old & WEFT_LIST_INDEX;
		__u64 got = WEFT_CAS(p, old, ((old >> 24) + 1) << 24 | x);

		if (got == old)
			return 1;
		old = got;
	}
	return 0;
}

WEFT_INLINE __u32 weft_slot_off(__u8 *state_base, __u32 slot)
{
	return WEFT_STATE(struct weft_state_head, 0)->slot + slot * (__u32)sizeof(struct weft_slot);
}

WEFT_API __u32 weft_slot_get(void)
{
	WEFT_STATE_BASE(0);
	__u32 x = weft_list_pop(offsetof(struct weft_state_head, slot_free),
				WEFT_STATE(struct weft_state_head, 0)->slot,
				sizeof(struct weft_slot), offsetof(struct weft_slot, next));

	if (x)
		WEFT_ADD(&WEFT_STATE(struct weft_state_head, 0)->slots_used, 1);
	return x;
}

/* State offset of a word of what a pod holds; field: offset in struct weft_pod_use. */
WEFT_INLINE __u32 weft_pod_use_off(__u8 *state_base, __u32 pod, __u32 field)
{
	return WEFT_STATE(struct weft_state_head, 0)->pod_use +
	       pod * (__u32)sizeof(struct weft_pod_use) + field;
}

/* A pod's place for one more slot, before weft_slot_get(): 1 taken, 0 it has its share. */
WEFT_API int weft_pod_slot_take(__u32 pod)
{
	WEFT_STATE_BASE(0);
	return weft_place_take_at(
		weft_pod_use_off(state_base, pod, offsetof(struct weft_pod_use, slots)),
		WEFT_STATE(struct weft_state_head, 0)->pod_slots_max);
}

/* Given back once for each that was taken: needs no floor, and must not give up. */
WEFT_API int weft_pod_slot_put(__u32 pod)
{
	WEFT_STATE_BASE(0);
	WEFT_ADD(WEFT_STATE32(weft_pod_use_off(state_base, pod,
					       offsetof(struct weft_pod_use, slots))),
		 -1u);
	return 1;
}

/* The same for an entry of an original destination. */
WEFT_API int weft_pod_orig_take(__u32 pod)
{
	WEFT_STATE_BASE(0);
	return weft_place_take_at(
		weft_pod_use_off(state_base, pod, offsetof(struct weft_pod_use, origs)),
		WEFT_STATE(struct weft_state_head, 0)->pod_origs_max);
}

WEFT_API int weft_pod_orig_put(__u32 pod)
{
	WEFT_STATE_BASE(0);
	WEFT_ADD(WEFT_STATE32(weft_pod_use_off(state_base, pod,
					       offsetof(struct weft_pod_use, origs))),
		 -1u);
	return 1;
}

/* The same for a program run that needs head buffers. */
WEFT_API int weft_pod_run_take(__u32 pod)
{
	WEFT_STATE_BASE(0);
	return weft_place_take_at(
		weft_pod_use_off(state_base, pod, offsetof(struct weft_pod_use, runs)),
		WEFT_STATE(struct weft_state_head, 0)->pod_runs_max);
}

WEFT_API int weft_pod_run_put(__u32 pod)
{
	WEFT_STATE_BASE(0);
	WEFT_ADD(WEFT_STATE32(
			 weft_pod_use_off(state_base, pod, offsetof(struct weft_pod_use, runs))),
		 -1u);
	return 1;
}

#ifdef __bpf__

WEFT_API int weft_slot_put(__u32 slot)
{
	WEFT_STATE_BASE(0);
	WEFT_ADD(&WEFT_STATE(struct weft_state_head, 0)->slots_used, -1);
	return weft_list_push(offsetof(struct weft_state_head, slot_free),
			      weft_slot_off(state_base, slot) + offsetof(struct weft_slot, next),
			      slot & WEFT_LIST_INDEX);
}

/* A head buffer's index, 0: none free. Its first word is the link while it is free. */
WEFT_GLOBAL __u32 weft_head_get(void)
{
	WEFT_STATE_BASE(0);
	return weft_list_pop(offsetof(struct weft_state_head, head_free),
			     WEFT_STATE(struct weft_state_head, 0)->head, WEFT_HEAD_STRIDE, 0);
}

WEFT_GLOBAL int weft_head_put(__u32 head)
{
	WEFT_STATE_BASE(0);
	return weft_list_push(offsetof(struct weft_state_head, head_free),
			      WEFT_STATE(struct weft_state_head, 0)->head + head * WEFT_HEAD_STRIDE,
			      head & WEFT_LIST_INDEX);
}

/* State offset of a head buffer. */
WEFT_GLOBAL __u32 weft_head_off(__u32 head)
{
	WEFT_STATE_BASE(0);
	return WEFT_STATE(struct weft_state_head, 0)->head + head * WEFT_HEAD_STRIDE;
}

#endif
