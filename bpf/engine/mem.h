/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/*
 * Where the engine finds its memory. In programs: two single-element maps and masks fixed at load; natively: what
 * weft_engine_bind() got. Every access goes through a masked offset; what an object needs behind the mask is the
 * slack of abi/limits.h.
 */

#include "bpf/engine/engine.h"
#include "bpf/engine/hash.h"

#ifdef __bpf__

#define WEFT_ENOENT 2
#define WEFT_E2BIG 7
#define WEFT_EAGAIN 11

/* Key and value sizes are set here to the least; the loader sets the real value size before load. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(key_size, 4);
	__uint(value_size, WEFT_IMAGE_SLACK * 2);
} image SEC(".maps");
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(key_size, 4);
	__uint(value_size, WEFT_STATE_SLACK * 2);
} state SEC(".maps");
const volatile __u32 img_mask = WEFT_IMAGE_SLACK - 1;
const volatile __u32 state_mask = WEFT_STATE_SLACK - 1;

/* A function of its own for the verifier: checked once, whatever calls it. */
#define WEFT_GLOBAL __attribute__((noinline))
/* The same, and part of engine.h natively. */
#define WEFT_API __attribute__((noinline))

/* Declares img_base (state_base); leaves the function with `fail` when the map is gone, which never happens. */
#define WEFT_IMG_BASE(fail)                                                                        \
	__u32 img_key_ = 0;                                                                        \
	__u8 *img_base = bpf_map_lookup_elem(&image, &img_key_);                                   \
	if (!img_base)                                                                             \
	return fail
#define WEFT_STATE_BASE(fail)                                                                      \
	__u32 state_key_ = 0;                                                                      \
	__u8 *state_base = bpf_map_lookup_elem(&state, &state_key_);                               \
	if (!state_base)                                                                           \
	return fail
#define WEFT_IMG(type, off) ((type *)(img_base + ((__u32)(off) & img_mask)))
/* An object of so many bytes would end behind the mask. The verifier learns from it that off is below. */
#define WEFT_IMG_OUTSIDE(off, size) ((off) > img_mask - (size))
/* Atomics must be seen to be aligned: objects and 64-bit words, and 32-bit words. */
#define WEFT_STATE(type, off) ((type *)(state_base + ((__u32)(off) & (state_mask & ~7u))))
#define WEFT_STATE32(off) ((__u32 *)(state_base + ((__u32)(off) & (state_mask & ~3u))))

/*
 * A byte of the head. The assembly hides from clang what it knows of the offset, so that it does not drop the mask,
 * which the verifier has to see.
 */
WEFT_INLINE __u8 *weft_head_at(struct weft_req *req, __u32 off)
{
	__u64 at = off;

	asm volatile("%0 &= 4095" : "+r"(at));
	return req->head + at;
}
static_assert(WEFT_HEAD_MAX == 4096, "mask of weft_head_at");
#define WEFT_INDEX(i, mask)                                                                        \
	({                                                                                         \
		__u32 i_ = (i);                                                                    \
		asm volatile("%0 &= " #mask : "+r"(i_));                                           \
		i_;                                                                                \
	})
#define WEFT_VALUE(req, i) (&(req)->value[WEFT_INDEX(i, 63)])
#define WEFT_FIELD(req, i) (&(req)->field[WEFT_INDEX(i, 63)])
static_assert(WEFT_NAMES_MAX == 64 && WEFT_HEADERS_MAX == 64, "masks");

/*
 * The same number, by way of memory: the verifier forgets its range, and so takes the ways that lead here for one.
 * Without it each of them is walked to the function's end.
 */
#define WEFT_FORGET(req, x)                                                                        \
	({                                                                                         \
		*(volatile __u32 *)&(req)->scratch[15] = (__u32)(x);                               \
		*(volatile __u32 *)&(req)->scratch[15];                                            \
	})

/* Calls fn(i, ctx) for i below n until it says 1. */
#define WEFT_LOOP(n, fn, ctx) bpf_loop(n, fn, ctx, 0)
/* A loop that natively runs as long as it has to. */
#define WEFT_FOR(i, max) for (__u32 i = 0; i < (max); i++)
#define WEFT_CAS(p, old, new) __sync_val_compare_and_swap(p, old, new)
#define WEFT_ADD(p, n) __sync_fetch_and_add(p, n)
#define WEFT_READ(x) (*(const volatile typeof(x) *)&(x))
#define WEFT_KERNEL 1
#define WEFT_TRACE(req, step, ...) ((void)0)

WEFT_INLINE __u64 weft_random(void)
{
	return (__u64)bpf_get_prandom_u32() << 32 | bpf_get_prandom_u32();
}

#else

#include <errno.h>

#define WEFT_ENOENT ENOENT
#define WEFT_E2BIG E2BIG
#define WEFT_EAGAIN EAGAIN

struct weft_bound {
	__u8 *img, *state;
	__u32 img_mask, state_mask;
};
extern struct weft_bound weft_bound;

#define WEFT_GLOBAL static
#define WEFT_API
#define WEFT_IMG_BASE(fail) __u8 *img_base = weft_bound.img
#define WEFT_STATE_BASE(fail) __u8 *state_base = weft_bound.state
#define WEFT_IMG(type, off) ((type *)(void *)(img_base + ((__u32)(off) & weft_bound.img_mask)))
#define WEFT_IMG_OUTSIDE(off, size) 0
#define WEFT_STATE(type, off) ((type *)(void *)(state_base + ((__u32)(off) & weft_bound.state_mask)))
#define WEFT_STATE32(off) WEFT_STATE(__u32, off)

WEFT_INLINE __u8 *weft_head_at(struct weft_req *req, __u32 off)
{
	return req->head + off;
}
#define WEFT_INDEX(i, mask) (i)
#define WEFT_FORGET(req, x) ((__u32)(x))
#define WEFT_VALUE(req, i) (&(req)->value[(i) & (WEFT_NAMES_MAX - 1)])
#define WEFT_FIELD(req, i) (&(req)->field[(i) & (WEFT_REQ_FIELDS - 1)])
static_assert((WEFT_REQ_FIELDS & (WEFT_REQ_FIELDS - 1)) == 0, "mask");
#define WEFT_LOOP(n, fn, ctx)                                                                      \
	for (__u32 i_ = 0, n_ = (n); i_ < n_ && !fn(i_, ctx); i_++)                                \
	continue
#define WEFT_FOR(i, max) for (__u32 i = 0; (void)i, 1; i++)
#define WEFT_CAS(p, old, new) __sync_val_compare_and_swap(p, old, new)
#define WEFT_ADD(p, n) ((void)__sync_fetch_and_add(p, n))
#define WEFT_READ(x) __atomic_load_n(&(x), __ATOMIC_ACQUIRE)
#define WEFT_KERNEL 0
#define WEFT_TRACE(req, step, ...)                                                                 \
	do {                                                                                       \
		if ((req)->trace)                                                                  \
			(req)->trace((req)->trace_ctx, step, __VA_ARGS__);                         \
	} while (0)

__u64 weft_random(void);

#endif

/* Says that only the agent can go on; programs only. */
WEFT_INLINE void weft_hand(struct weft_req *req, __u32 why)
{
	if (WEFT_KERNEL && !req->dec.handed)
		req->dec.handed = why;
}
