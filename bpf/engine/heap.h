/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/*
 * A binary heap in an array, for the agent: name(heap, n, i) moves heap[i] down until nothing below
 * it comes before it. before(a, b) is over const pointers and never true both ways.
 */
#define WEFT_HEAP_SINK(name, type, before)                                                         \
	static void name(type *heap, __u32 n, __u32 i)                                             \
	{                                                                                          \
		for (;;) {                                                                         \
			__u32 least = i, l = 2 * i + 1, r = l + 1;                                 \
			type t;                                                                    \
                                                                                                   \
			if (l < n && before(&heap[l], &heap[least]))                               \
				least = l;                                                         \
			if (r < n && before(&heap[r], &heap[least]))                               \
				least = r;                                                         \
			if (least == i)                                                            \
				return;                                                            \
			t = heap[i];                                                               \
			heap[i] = heap[least];                                                     \
			heap[least] = t;                                                           \
			i = least;                                                                 \
		}                                                                                  \
	}
