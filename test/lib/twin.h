/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Values of the map that bpf/twin.bpf.c works on, where weft_ctx is the program's. */

#include "bpf/engine/engine.h"

struct twin_ctx {
	__u32 pod, view;
	struct weft_sockaddr dst, src;
	__u64 now_ns;
	__u32 flags, n_prepaid, prepaid[WEFT_PAID_MAX];
	__u32 epoch, view_off, listener, pad;
	__u64 random;
};
struct twin_io {
	struct twin_ctx ctx;
	__u32 chain, parse;
	__s32 decide, plan, rendered;
	__u32 pad;
	struct weft_tcp tcp;
	__u32 bucket, cell;
};

/* The program's weft_req: fields up to value[] are laid out alike, head[] stands behind them. */
struct weft_req_bpf {
	__u32 len, head_len, max_head, max_headers, hcm_flags, headers;
	__u64 bloom;
	__u32 flags, n_field;
	__u64 content_length, hash, present, repeated, joined, random;
	struct weft_span path;
	__u32 underscores, n_text;
	struct weft_decision dec;
	__u8 text[WEFT_REQ_TEXT];
	struct weft_span value[WEFT_NAMES_MAX];
	struct weft_field field[WEFT_HEADERS_MAX];
	__u32 scratch[16];
	struct weft_reply_plan plan;
	__u8 head[WEFT_HEAD_MAX + 64];
	struct weft_rate_work rate;
};
