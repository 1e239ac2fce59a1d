// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* One program per kernel feature, the smallest that needs it: whether it loads is the answer (agent/kernel/probe.c). */

#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

struct {
	__uint(type, BPF_MAP_TYPE_SOCKHASH);
	__uint(max_entries, 8);
	__type(key, __u64);
	__type(value, __u64);
} probe_sock SEC(".maps");
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, __u64);
} probe_sk SEC(".maps");

__u64 seen;

SEC("sk_msg")
int p_redirect(struct sk_msg_md *m)
{
	__u64 key = 1;

	if (bpf_msg_pull_data(m, 0, 1, 0) || bpf_msg_push_data(m, 0, 1, 0) ||
	    bpf_msg_pop_data(m, 0, 1, 0))
		return SK_PASS;
	return (int)bpf_msg_redirect_hash(m, &probe_sock, &key, BPF_F_INGRESS);
}

SEC("sk_msg")
int p_storage(struct sk_msg_md *m)
{
	struct bpf_sock *s = m->sk;

	if (s)
		seen = (__u64)bpf_sk_storage_get(&probe_sk, s, NULL, 0) != 0;
	return SK_PASS;
}

SEC("sk_msg")
int p_tcp_sock(struct sk_msg_md *m)
{
	struct bpf_sock *s = m->sk;
	struct tcp_sock *t = s ? bpf_skc_to_tcp_sock(s) : NULL;

	if (t)
		seen = t->write_seq + t->copied_seq;
	return SK_PASS;
}

/* The queue of redirected messages: fields of struct sk_psock by BTF, read as plain memory. */
SEC("sk_msg")
int p_psock(struct sk_msg_md *m)
{
	struct bpf_sock *s = m->sk;
	struct tcp_sock *t = s ? bpf_skc_to_tcp_sock(s) : NULL;
	struct sk_psock *psock;

	if (t) {
		psock = t->inet_conn.icsk_inet.sk.sk_user_data;
		seen = (__u64)BPF_CORE_READ(psock, ingress_msg.next) + BPF_CORE_READ(psock, ingress_skb.qlen);
	}
	return SK_PASS;
}

static long p_step(__u32 i, void *ctx)
{
	*(__u32 *)ctx += i;
	return 0;
}

SEC("sk_msg")
int p_loop(struct sk_msg_md *m)
{
	__u32 sum = 0;

	bpf_loop(m->size, p_step, &sum, 0);
	seen = sum;
	return SK_PASS;
}

SEC("sk_msg")
int p_netns_msg(struct sk_msg_md *m)
{
	seen = bpf_get_netns_cookie(m);
	return SK_PASS;
}

void *bpf_cast_to_kern_ctx(void *obj) __ksym __weak;

/* What skb.bpf.c calls, so that where this loads that one does. */
SEC("sk_skb/stream_verdict")
int p_verdict(struct __sk_buff *s)
{
	struct sk_buff *k = bpf_cast_to_kern_ctx(s);
	const struct tcp_skb_cb *cb = (const void *)k->cb;

	seen = bpf_get_socket_cookie(s) + BPF_CORE_READ(cb, seq);
	if (!s->len)
		bpf_skb_adjust_room(s, -1, 0, 0);
	return SK_PASS;
}

/* Attached by the FIONREAD test. */
SEC("sk_msg")
int p_pass(struct sk_msg_md *m)
{
	return SK_PASS;
}

SEC("cgroup/connect4")
int p_connect4(struct bpf_sock_addr *c)
{
	seen = bpf_get_netns_cookie(c);
	return 1;
}

SEC("cgroup/connect6")
int p_connect6(struct bpf_sock_addr *c)
{
	seen = bpf_get_netns_cookie(c);
	return 1;
}

SEC("cgroup/connect4")
int p_retval(struct bpf_sock_addr *c)
{
	bpf_set_retval(-1);
	return 0;
}

SEC("cgroup/connect4")
int p_mptcp(struct bpf_sock_addr *c)
{
	struct bpf_sock *s = c->sk;
	struct tcp_sock *t = s ? bpf_skc_to_tcp_sock(s) : NULL;

	if (t)
		seen = t->is_mptcp; /* no such field: does not load */
	return 1;
}

SEC("cgroup/getpeername4")
int p_peername4(struct bpf_sock_addr *c)
{
	return 1;
}

SEC("cgroup/getpeername6")
int p_peername6(struct bpf_sock_addr *c)
{
	return 1;
}

SEC("cgroup/sock_release")
int p_release(struct bpf_sock *s)
{
	seen = (__u64)bpf_sk_storage_get(&probe_sk, s, NULL, 0) != 0;
	return 1;
}

SEC("sockops")
int p_sockops(struct bpf_sock_ops *c)
{
	__u64 key = bpf_get_netns_cookie(c);
	struct bpf_sock *s = c->sk;
	struct tcp_sock *t = s ? bpf_skc_to_tcp_sock(s) : NULL;

	if (t)
		seen = t->write_seq;
	bpf_sock_hash_update(c, &probe_sock, &key, BPF_ANY);
	return 1;
}
