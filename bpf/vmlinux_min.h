/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef __VMLINUX_H__
#define __VMLINUX_H__

/*
 * Used as vmlinux.h where the building machine's kernel has no BTF: contexts and constants from the UAPI headers,
 * and of kernel structures the fields that programs read, relocated at load.
 */

#include <linux/types.h>
#include <linux/bpf.h>
#include <stdbool.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct sk_buff {
	char cb[48];
};
struct tcp_skb_cb {
	__u32 seq;
};
struct list_head {
	struct list_head *next, *prev;
};
struct sk_buff_head {
	__u32 qlen;
};
struct sk_psock {
	struct list_head ingress_msg;
	struct sk_buff_head ingress_skb;
};
struct sock {
	int sk_err;
	void *sk_user_data;
};
struct inet_sock {
	struct sock sk;
};
struct inet_connection_sock {
	struct inet_sock icsk_inet;
};
struct tcp_sock {
	struct inet_connection_sock inet_conn;
	__u32 rcv_nxt;
	__u32 copied_seq;
	__u32 snd_nxt;
	__u32 snd_una;
	__u32 write_seq;
	__u64 bytes_received;
	bool is_mptcp;
};

#pragma clang attribute pop

#endif
