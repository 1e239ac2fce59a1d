// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * TCP's milestones of a socket that connect() took over: where its byte stream starts, slot and original destination
 * before the agent can accept it, and giving everything back at the end.
 */

/* Off when this kernel lacks what sk_msg needs: connections get no slot and the agent does everything. */
const volatile bool msg_on = true;
/* A verdict program stands beside it (skb.bpf.c). */
const volatile bool verdict_on = false;

/* Client and agent ends of a captured connection; the agent builds the same from accept(). */
WEFT_INLINE void weft_orig_key_fill(struct bpf_sock_ops *c, struct weft_orig_key *key)
{
	key->netns = bpf_get_netns_cookie(c);
	if (c->family == WEFT_AF_INET) {
		weft_sockaddr_set4(&key->client, c->local_ip4, 0);
		weft_sockaddr_set4(&key->agent, c->remote_ip4, 0);
	} else {
		key->client.addr.w[0] = c->local_ip6[0];
		key->client.addr.w[1] = c->local_ip6[1];
		key->client.addr.w[2] = c->local_ip6[2];
		key->client.addr.w[3] = c->local_ip6[3];
		key->agent.addr.w[0] = c->remote_ip6[0];
		key->agent.addr.w[1] = c->remote_ip6[1];
		key->agent.addr.w[2] = c->remote_ip6[2];
		key->agent.addr.w[3] = c->remote_ip6[3];
		weft_sockaddr_canonical(&key->client);
		weft_sockaddr_canonical(&key->agent);
	}
	key->client.port = (__u16)c->local_port;
	key->agent.port = (__u16)bpf_ntohl(c->remote_port);
}

/* Drops references (WEFT_REF_*) of a slot; the last one frees it. */
WEFT_INLINE void weft_slot_unref(__u8 *state_base, __u32 slot, __u32 gen, __u32 refs)
{
	struct weft_slot *at = weft_slot_in(state_base, slot);
	__u32 old;

	if (WEFT_READ(at->gen) != gen)
		return;
	old = __sync_fetch_and_and(&at->refs, ~refs);
	if (old & refs && !(old & ~refs)) {
		weft_pod_slot_put(at->pod);
		weft_slot_put(slot);
	}
}

/* Into the sock map, with what the verdict program must know of it first. */
WEFT_INLINE bool weft_sock_map_put(struct bpf_sock_ops *c, __u64 cookie, const struct tcp_sock *t)
{
	struct weft_stream st = {.next = t->rcv_nxt};

	if (verdict_on && bpf_map_update_elem(&stream, &cookie, &st, BPF_ANY))
		return false;
	if (!bpf_sock_hash_update(c, &sock, &cookie, BPF_ANY))
		return true;
	if (verdict_on)
		bpf_map_delete_elem(&stream, &cookie);
	return false;
}

/* A slot for this connection, in the sock map: 0, or why there is none (enum weft_handed): the agent does everything. */
WEFT_INLINE __u32 weft_slot_open(struct bpf_sock_ops *c, __u8 *state_base, struct weft_sock *w,
				 const struct tcp_sock *t)
{
	__u32 sent = t->write_seq - w->seq;
	__u64 cookie = bpf_get_socket_cookie(c);
	struct weft_slot *at;
	__u32 slot;

	if (!weft_pod_slot_take(w->pod))
		return WEFT_HANDED_POD_SLOTS;
	slot = weft_slot_get();
	if (!slot) {
		weft_pod_slot_put(w->pod);
		return WEFT_HANDED_NO_SLOT;
	}
	at = weft_slot_in(state_base, slot);
	at->gen++;
	at->agent_tx = 0;
	at->active = 0;
	at->pod = w->pod;
	__builtin_memset(&at->rec, 0, sizeof(at->rec));
	at->refs = WEFT_REF_APP | WEFT_REF_AGENT;
	/* Bytes that left with or before the handshake (TCP Fast Open) were seen by no program: the agent's. */
	at->word = sent ? WEFT_OWNER_AGENT << WEFT_OWNER_SHIFT | sent : WEFT_OWNER_KERNEL;
	w->cookie = cookie;
	w->gen = at->gen;
	w->slot = slot;
	if (weft_sock_map_put(c, cookie, t))
		return 0;
	w->slot = 0;
	weft_slot_unref(state_base, slot, w->gen, WEFT_REF_APP | WEFT_REF_AGENT);
	return WEFT_HANDED_NO_SLOT;
}

/*
 * The entry of the connection's original destination. The place of one is taken before. An entry may be there of a
 * connection between the same ends whose app had closed and that nobody accepted: what it held is given back.
 */
WEFT_INLINE bool weft_orig_put(__u8 *state_base, const struct weft_orig_key *key,
			       const struct weft_orig *val)
{
	struct weft_orig *old;
	__u32 slot, gen, pod;

	if (!bpf_map_update_elem(&orig, key, val, BPF_NOEXIST))
		return true;
	old = bpf_map_lookup_elem(&orig, key);
	if (!old)
		return false;
	slot = old->slot;
	gen = old->gen;
	pod = old->pod;
	if (!bpf_map_delete_elem(&orig, key)) {
		weft_pod_orig_put(pod);
		if (slot)
			weft_slot_unref(state_base, slot, gen, WEFT_REF_AGENT);
	}
	return !bpf_map_update_elem(&orig, key, val, BPF_NOEXIST);
}

/* The handshake's last ACK is not sent yet: what is stored here is there before the agent can accept. */
WEFT_INLINE void weft_captured(struct bpf_sock_ops *c, struct weft_sock *w, struct tcp_sock *t)
{
	struct weft_orig_key key = {};
	struct weft_orig val = {.dst = w->dst, .pod = w->pod};

	WEFT_STATE_BASE();
	/* Without an entry the agent does not know this connection and closes it. */
	if (!weft_pod_orig_take(w->pod)) {
		w->class_id = WEFT_CLASS_CAPTURED_PLAIN;
		weft_count_handed(state_base, WEFT_HANDED_POD_ENTRIES);
		return;
	}
	if (msg_on && w->class_id == WEFT_CLASS_CAPTURED) {
		val.why = weft_slot_open(c, state_base, w, t);
		if (val.why) {
			w->class_id = WEFT_CLASS_CAPTURED_PLAIN;
			weft_count_handed(state_base, val.why);
		} else {
			val.slot = w->slot;
			val.gen = w->gen;
		}
	}
	if (w->flags & WEFT_SOCK_LIMITS_PAID)
		val.flags = WEFT_ORIG_LIMITS_PAID;
	weft_orig_key_fill(c, &key);
	if (weft_orig_put(state_base, &key, &val)) {
		w->flags |= WEFT_SOCK_ORIG;
		return;
	}
	/* Closed by the agent too; nothing of it is left behind. */
	weft_pod_orig_put(w->pod);
	weft_count_handed(state_base, WEFT_HANDED_NO_SLOT);
	if (val.slot)
		weft_slot_unref(state_base, val.slot, w->gen, WEFT_REF_AGENT);
}

/*
 * The end, in whichever state it was. When the app closed in an orderly way the agent may still have to accept what it
 * sent: the entry stays, marked; weft_kernel_sweep() takes those that nobody accepts. After a reset it is dropped, and
 * with it the reference of an agent that never saw the connection.
 */
WEFT_INLINE void weft_closed(struct bpf_sock_ops *c, struct weft_sock *w, __u32 before)
{
	__u32 slot = __sync_lock_test_and_set(&w->slot, 0);
	__u32 refs = WEFT_REF_APP;
	struct weft_orig_key key = {};
	struct weft_orig *val;

	WEFT_STATE_BASE();
	weft_sock_put_places(w);
	if (w->flags & WEFT_SOCK_ORIG) {
		w->flags &= ~WEFT_SOCK_ORIG;
		weft_orig_key_fill(c, &key);
		if (before == BPF_TCP_ESTABLISHED || before == BPF_TCP_CLOSE_WAIT) {
			if (!bpf_map_delete_elem(&orig, &key)) {
				weft_pod_orig_put(w->pod);
				refs |= WEFT_REF_AGENT;
			}
		} else {
			val = bpf_map_lookup_elem(&orig, &key);
			if (val)
				val->closed_ns = bpf_ktime_get_ns();
		}
	}
	if (!slot)
		return;
	if (verdict_on)
		bpf_map_delete_elem(&stream, &w->cookie);
	weft_slot_unref(state_base, slot, w->gen, refs);
}

/* Outlier detection of an l4 connection: it is there, or has failed. An app that gave up says
 * nothing of the endpoint. */
WEFT_INLINE void weft_l4_result(struct bpf_sock *s, const struct weft_sock *w, bool connected)
{
	struct weft_cell_endpoint *e;
	struct tcp_sock *t;

	WEFT_STATE_BASE();
	if (!w->cell_endpoint)
		return;
	e = WEFT_STATE(struct weft_cell_endpoint, w->cell_endpoint);
	if (!WEFT_READ(e->owner))
		return;
	if (!connected) {
		t = bpf_skc_to_tcp_sock(s);
		if (!t || !t->inet_conn.icsk_inet.sk.sk_err)
			return;
	}
	if (weft_outlier_reached(e, connected ? WEFT_REACHED_ALL : WEFT_UNREACHED))
		weft_outlier_tell(w->pod, e);
}

SEC("sockops")
int sock_ops(struct bpf_sock_ops *c)
{
	struct bpf_sock *s = c->sk;
	struct weft_sock *w = s ? bpf_sk_storage_get(&sk, s, NULL, 0) : NULL;
	struct tcp_sock *t;
	__u32 before;

	if (!w || w->flags & WEFT_SOCK_EXEMPT || w->class_id == WEFT_CLASS_BYPASS)
		return 1;
	switch (c->op) {
	case BPF_SOCK_OPS_TCP_CONNECT_CB:
		t = bpf_skc_to_tcp_sock(s);
		if (t)
			w->seq = t->write_seq + 1; /* behind the SYN */
		/* beside what other programs on this socket asked for */
		if (!bpf_sock_ops_cb_flags_set(c, (int)c->bpf_sock_ops_cb_flags |
							  BPF_SOCK_OPS_STATE_CB_FLAG))
			w->flags |= WEFT_SOCK_WATCHED;
		break;
	case BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB:
		t = bpf_skc_to_tcp_sock(s);
		if (t && w->class_id != WEFT_CLASS_L4)
			weft_captured(c, w, t);
		else if (w->class_id == WEFT_CLASS_L4)
			weft_l4_result(s, w, true);
		break;
	case BPF_SOCK_OPS_STATE_CB:
		before = WEFT_READ(c->args[0]);
		if (WEFT_READ(c->args[1]) != BPF_TCP_CLOSE)
			break;
		if (before == BPF_TCP_SYN_SENT && w->class_id == WEFT_CLASS_L4)
			weft_l4_result(s, w, false);
		weft_closed(c, w, before);
		break;
	default:
		break;
	}
	return 1;
}
