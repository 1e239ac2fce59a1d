/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/*
 * Hashes of names and addresses, and of heads. The first are not keyed: tables are filled by configuration only, a client can at most
 * make one look-up compare WEFT_TAB_PROBES entries.
 */

#include "bpf/engine/word.h"

WEFT_INLINE __u64 weft_mix(__u64 h, __u64 w)
{
	h = (h ^ w) * 0x9E3779B97F4A7C15ull;
	return h ^ h >> 32;
}

/* Ends the hash of a name: all whole words went through weft_mix(), then the rest, zero padded, even if empty. */
WEFT_INLINE __u32 weft_name_end(__u64 h, __u64 rest, __u32 len)
{
	return (__u32)(weft_mix(h, rest) ^ len);
}

/*
 * A head's word in weft_hash_head(), the sum of these and the length (NH): who does not know the key finds two heads of
 * one hash by chance only, once in 2^32. The hash stands between a client and a decision on other bytes than its own.
 */
WEFT_INLINE __u64 weft_head_term(__u64 w, __u64 key)
{
	__u32 a = (__u32)w + (__u32)key, b = (__u32)(w >> 32) + (__u32)(key >> 32);

	return (__u64)a * b;
}

WEFT_INLINE __u32 weft_addr_hash(const struct weft_addr *addr, __u32 port)
{
	__u64 h = weft_mix(addr->w[0] | (__u64)addr->w[1] << 32,
			   addr->w[2] | (__u64)addr->w[3] << 32);

	return (__u32)weft_mix(h, port);
}

/* Mixed twice: pods and ids are small numbers in a row, and one round leaves runs of hundreds at half load. */
WEFT_INLINE __u32 weft_cell_hash(__u32 pod, __u32 id)
{
	return (__u32)weft_mix(weft_mix(0, (__u64)pod << 32 | id), 0);
}
