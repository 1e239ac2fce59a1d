/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/* Texts of the image (bpf/abi/image.h), and the tables by which things are found. */

#include "bpf/abi/types.h"

/* Bytes with length; at least 8 readable bytes follow the last. */
struct weft_img_str {
	__u32 off; /* 0: none */
	__u32 len; /* bytes */
};

/* Open addressing, linear probing of at most WEFT_TAB_PROBES, power of two. */
struct weft_img_addr_tab {
	__u32 mask;
	__u32 pad;
	/* struct weft_img_addr_ent[mask + 1], slot = weft_hash_addr(addr, port) & mask */
};
struct weft_img_addr_ent {
	struct weft_addr addr;
	__u32 port; /* host order; 0: empty slot */
	__u32 val;
};

struct weft_img_tab {
	__u32 mask;
	__u32 pad;
	/* struct weft_img_ent[mask + 1], slot = hash & mask */
};
struct weft_img_ent {
	__u32 hash;
	__u32 str; /* offset of the key's bytes */
	__u16 len;
	__u16 kind; /* WEFT_KIND_*, 0: empty slot */
	__u32 val;
};
enum weft_kind {
	WEFT_KIND_HOST = 1,    /* exact domain, lower case */
	WEFT_KIND_HOST_SUFFIX, /* "*.foo.com" without the star */
	WEFT_KIND_HOST_PREFIX, /* "foo.*" without the star */
	WEFT_KIND_HEADER,      /* header name, lower case -> slot id + 1 */
	WEFT_KIND_LISTENER_NAME,
	WEFT_KIND_CLUSTER_NAME, /* -> id in weft_img_view.cluster + 1 */
	WEFT_KIND_VALUE, /* a header's value in lower case, hashed as a domain -> weft_img_accept */
};
