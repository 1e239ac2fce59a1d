// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The least that an answer in the kernel can cost: whatever the app sends is replaced by one constant 429. Nothing is
 * parsed, matched, limited or counted. What weft's program takes beyond this is weft's; the rest is the client's
 * work, its system calls, and sk_msg.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

struct {
	__uint(type, BPF_MAP_TYPE_SOCKHASH);
	__uint(max_entries, 1024);
	__type(key, __u64);
	__type(value, __u64);
} sock SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, __u64);
} cookie SEC(".maps");

/* As long as weft's. */
static const char reply[] __attribute__((aligned(8))) = "HTTP/1.1 429 Too Many Requests\r\n"
			    "content-length: 18\r\n"
			    "content-type: text/plain\r\n"
			    "date: Thu, 01 Jan 1970 00:00:00 GMT\r\n"
			    "server: envoy\r\n"
			    "\r\n"
			    "local_rate_limited";
#define REPLY_LEN (sizeof(reply) - 1)

SEC("sockops")
int established(struct bpf_sock_ops *ctx)
{
	struct bpf_sock *sk = ctx->sk;
	__u64 key, *stored;

	if (ctx->op != BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB || !sk)
		return 1;
	key = bpf_get_socket_cookie(ctx);
	stored = bpf_sk_storage_get(&cookie, sk, &key, BPF_SK_STORAGE_GET_F_CREATE);
	if (stored)
		bpf_sock_hash_update(ctx, &sock, &key, BPF_ANY);
	return 1;
}

SEC("sk_msg")
int answer(struct sk_msg_md *m)
{
	struct bpf_sock *sk = m->sk;
	__u64 *key = sk ? bpf_sk_storage_get(&cookie, sk, NULL, 0) : NULL;
	__u32 size = m->size;
	__u8 *to;

	if (!key || bpf_msg_push_data(m, 0, REPLY_LEN, 0) || bpf_msg_pop_data(m, REPLY_LEN, size, 0))
		return SK_PASS;
	to = (__u8 *)(long)m->data;
	if (to + REPLY_LEN > (__u8 *)(long)m->data_end)
		return SK_DROP;
	__builtin_memcpy(__builtin_assume_aligned(to, 8), reply, REPLY_LEN);
	return bpf_msg_redirect_hash(m, &sock, key, BPF_F_INGRESS);
}
