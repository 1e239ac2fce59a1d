// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

/*
 * The engine under BPF_PROG_TEST_RUN, for tests: the same heads, decided here and natively, must agree. Never
 * attached to anything.
 */

#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

#include "bpf/engine/all.h"

char LICENSE[] SEC("license") = "GPL";

/* What a run works on; the test writes ctx and reads everything. */
struct twin_io {
	struct weft_ctx ctx;
	__u32 chain;
	__u32 parse; /* enum weft_parse */
	__s32 decide;
	__s32 plan;
	__s32 rendered; /* bytes of the reply in out.head */
	__u32 pad;
	struct weft_tcp tcp;
	__u32 bucket; /* twin_bucket: image offset, and cell */
	__u32 cell;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct twin_io);
} twin_io SEC(".maps");
/* [0] the request, [1] the rendered reply */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct weft_req);
} twin_req SEC(".maps");

static __always_inline int load_head(struct __sk_buff *skb, struct weft_req *req)
{
	__u32 n = skb->len;

	if (n > WEFT_HEAD_MAX)
		n = WEFT_HEAD_MAX;
	n = ((n - 1) & (WEFT_HEAD_MAX - 1)) + 1; /* 6.1 forgets n != 0 */
	if (bpf_skb_load_bytes(skb, 0, req->head, n))
		return -1;
	*(__u64 *)weft_head_at(req, n) = 0;
	req->len = n;
	return 0;
}

SEC("tc")
int twin_decide(struct __sk_buff *skb)
{
	__u32 zero = 0, one = 1;
	struct twin_io *io = bpf_map_lookup_elem(&twin_io, &zero);
	struct weft_req *req = bpf_map_lookup_elem(&twin_req, &zero);
	struct weft_req *out = bpf_map_lookup_elem(&twin_req, &one);

	if (!io || !req || !out || load_head(skb, req))
		return -1;
	io->decide = 0;
	io->plan = io->rendered = -1;
	if (weft_ctx_begin(&io->ctx) || weft_req_begin(req, &io->ctx, io->chain))
		return -2;
	io->parse = (__u32)weft_http1_parse(req);
	if (io->parse)
		return 1;
	io->decide = weft_decide(req, &io->ctx);
	if (io->decide || req->dec.handed || !req->dec.reply)
		return 0;
	io->plan = weft_reply_plan(req, &io->ctx, &req->plan);
	if (!io->plan)
		io->rendered = weft_reply_render(req, &req->plan, out);
	return 0;
}

/* The parser alone, for its cost. */
SEC("tc")
int twin_parse(struct __sk_buff *skb)
{
	__u32 zero = 0;
	struct twin_io *io = bpf_map_lookup_elem(&twin_io, &zero);
	struct weft_req *req = bpf_map_lookup_elem(&twin_req, &zero);

	if (!io || !req || load_head(skb, req))
		return -1;
	if (weft_ctx_begin(&io->ctx) || weft_req_begin(req, &io->ctx, io->chain))
		return -2;
	io->parse = (__u32)weft_http1_parse(req);
	return (int)io->parse;
}

/* Class of a connection and the endpoint of a TCP chain. */
SEC("tc")
int twin_connect(struct __sk_buff *skb)
{
	__u32 zero = 0;
	struct twin_io *io = bpf_map_lookup_elem(&twin_io, &zero);
	int class_id;

	if (!io || weft_ctx_begin(&io->ctx))
		return -1;
	io->chain = 0;
	class_id = weft_class_find(&io->ctx, &io->chain);
	if (class_id == WEFT_CLASS_L4)
		io->decide = weft_tcp_choose(&io->ctx, io->chain, &io->tcp);
	return class_id;
}

/* 1: a token. */
SEC("tc")
int twin_bucket(struct __sk_buff *skb)
{
	__u32 zero = 0;
	struct twin_io *io = bpf_map_lookup_elem(&twin_io, &zero);

	return io ? weft_bucket_take_at(io->cell, io->bucket, bpf_ktime_get_ns()) : -1;
}

/* Takes a slot and a head buffer and gives them back: the index taken. */
SEC("tc")
int twin_slot(struct __sk_buff *skb)
{
	__u32 slot = weft_slot_get(), head = weft_head_get();

	if (head)
		weft_head_put(head);
	if (slot)
		weft_slot_put(slot);
	return (int)slot;
}
