/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/* Ranges of addresses, and where a connection comes from. */

#include "bpf/engine/mem.h"

#ifdef __bpf__
#include <bpf/bpf_endian.h>
#define WEFT_BE32(x) bpf_htonl(x)
#else
#include <arpa/inet.h>
#define WEFT_BE32(x) htonl(x)
#endif

WEFT_INLINE int weft_addr_v4(const struct weft_addr *a)
{
	return !a->w[0] && !a->w[1] && a->w[2] == WEFT_BE32(0xffff);
}

WEFT_INLINE int weft_addr_in(const struct weft_addr *a, const struct weft_img_test *t)
{
	return weft_addr_v4(a) == t->v4 && !((a->w[0] ^ t->addr.w[0]) & t->mask.w[0]) &&
	       !((a->w[1] ^ t->addr.w[1]) & t->mask.w[1]) &&
	       !((a->w[2] ^ t->addr.w[2]) & t->mask.w[2]) &&
	       !((a->w[3] ^ t->addr.w[3]) & t->mask.w[3]);
}

/*
 * The address the app's connection comes from. One to a loopback address is made from loopback, and
 * only seems to come from the pod's because it was captured.
 */
WEFT_INLINE void weft_source_of(const struct weft_ctx *ctx, struct weft_addr *ret)
{
	const struct weft_addr *d = &ctx->dst.addr;
	int v4 = weft_addr_v4(d);

	*ret = ctx->src.addr;
	if (v4 && (d->w[3] & WEFT_BE32(0xff000000)) == WEFT_BE32(0x7f000000))
		ret->w[3] = WEFT_BE32(0x7f000001);
	else if (!v4 && !d->w[0] && !d->w[1] && !d->w[2] && d->w[3] == WEFT_BE32(1))
		*ret = *d;
	else
		return;
	if (v4) {
		ret->w[0] = ret->w[1] = 0;
		ret->w[2] = WEFT_BE32(0xffff);
	}
}
