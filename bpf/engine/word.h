/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/* Eight bytes at a time: a byte loop costs a program 9 ns a step. Little endian only. */

#include "bpf/abi/types.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the engine reads bytes as little-endian words"
#endif

#define WEFT_INLINE static inline __attribute__((always_inline))

#define WEFT_ONES 0x0101010101010101ull
#define WEFT_TOPS 0x8080808080808080ull

/* The word of eight characters, first one lowest. */
#define WEFT_WORD(a, b, c, d, e, f, g, h)                                                          \
	((__u64)(a) | (__u64)(b) << 8 | (__u64)(c) << 16 | (__u64)(d) << 24 | (__u64)(e) << 32 |   \
	 (__u64)(f) << 40 | (__u64)(g) << 48 | (__u64)(h) << 56)

/* Masks below have the top bit set of each byte that fits; all are exact, also behind the first hit. */

/* Low seven bits >= c, 1 <= c <= 0x80. */
WEFT_INLINE __u64 weft_word_ge(__u64 w, __u32 c)
{
	return ((w & ~WEFT_TOPS) + WEFT_ONES * (0x80 - c)) & WEFT_TOPS;
}

WEFT_INLINE __u64 weft_word_eq(__u64 w, __u32 c)
{
	__u64 x = w ^ (WEFT_ONES * c);

	return ~((x & ~WEFT_TOPS) + WEFT_ONES * 0x7f) & ~x & WEFT_TOPS;
}

/* Index of the first byte of a mask that is not zero. */
WEFT_INLINE __u32 weft_word_first(__u64 m)
{
	m &= -m;
	return (__u32)(((((m >> 7) - 1) & WEFT_ONES) * WEFT_ONES) >> 56);
}

WEFT_INLINE __u64 weft_word_lower(__u64 w)
{
	__u64 up = weft_word_ge(w, 'A') & ~weft_word_ge(w, 'Z' + 1) & ~w;

	return w | up >> 2;
}

/* Keeps the n first bytes, n <= 8. */
WEFT_INLINE __u64 weft_word_keep(__u32 n)
{
	return n >= 8 ? ~0ull : (1ull << ((n * 8) & 63)) - 1;
}

/* Lower-case letters, digits and '-': what nearly every header name is made of. */
WEFT_INLINE __u64 weft_word_plain(__u64 lower)
{
	__u64 letter = weft_word_ge(lower, 'a') & ~weft_word_ge(lower, 'z' + 1);
	__u64 digit = weft_word_ge(lower, '0') & ~weft_word_ge(lower, '9' + 1);

	return (letter | digit | weft_word_eq(lower, '-')) & ~lower;
}

#ifdef __bpf__
WEFT_INLINE __u64 weft_load64(const void *p)
{
	return *(const __u64 *)p;
}
WEFT_INLINE __u32 weft_load16(const void *p)
{
	return *(const __u16 *)p;
}
#else
WEFT_INLINE __u64 weft_load64(const void *p)
{
	__u64 w;

	__builtin_memcpy(&w, p, sizeof(w));
	return w;
}
WEFT_INLINE __u32 weft_load16(const void *p)
{
	__u16 w;

	__builtin_memcpy(&w, p, sizeof(w));
	return w;
}
#endif
