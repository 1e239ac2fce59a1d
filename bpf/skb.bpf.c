// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Some kernels report FIONREAD 0 for data from TCP on a socket that has an sk_msg program and no
 * verdict program. There, and only there, this one is attached beside it; it costs a tenth of the
 * rate.
 *
 * TCP may queue a segment that begins with bytes it has queued before (out of order, sent again):
 * recvmsg() skips what was read, but what takes segments for a verdict program does not, and the
 * app would read those bytes twice. They are cut off here. A socket where that fails gets nothing
 * any more: its stream ends early, which its reader sees, and is not altered.
 */

#define WEFT_TRIM_MAX 4095 /* bytes that one bpf_skb_adjust_room() takes */

void *bpf_cast_to_kern_ctx(void *obj) __ksym __weak;

struct weft_trim {
	struct __sk_buff *skb;
	__u32 left;
};

static long weft_trim_step(__u32 i, struct weft_trim *t)
{
	__u32 n = t->left < WEFT_TRIM_MAX ? t->left : WEFT_TRIM_MAX;

	if (!n || bpf_skb_adjust_room(t->skb, -(__s32)n, 0, 0))
		return 1;
	t->left -= n;
	return 0;
}

/* Cuts n bytes off the front. */
WEFT_INLINE bool weft_skb_trim(struct __sk_buff *s, __u32 n)
{
	struct weft_trim t = {.skb = s, .left = n};

	bpf_loop(n / WEFT_TRIM_MAX + 1, weft_trim_step, &t, 0);
	return !t.left;
}

SEC("sk_skb/stream_verdict")
int skb(struct __sk_buff *s)
{
	__u64 cookie = bpf_get_socket_cookie(s);
	struct weft_stream *st = bpf_map_lookup_elem(&stream, &cookie);
	const struct tcp_skb_cb *cb;
	struct sk_buff *k;
	__u32 len = s->len, seq, again;

	WEFT_STATE_BASE(SK_PASS);
	if (!st || !len)
		return SK_PASS;
	if (st->broken)
		return SK_DROP;
	k = bpf_cast_to_kern_ctx(s);
	cb = (const void *)k->cb;
	seq = BPF_CORE_READ(cb, seq);
	again = st->next - seq;
	st->next = seq + len;
	if ((__s32)again <= 0)
		return SK_PASS;
	if (again < len && weft_skb_trim(s, again)) {
		weft_bump(&weft_head_of(state_base)->segments_trimmed);
		return SK_PASS;
	}
	st->broken = true;
	weft_bump(&weft_head_of(state_base)->streams_broken);
	return SK_DROP;
}
