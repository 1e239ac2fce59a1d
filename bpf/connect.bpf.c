// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * cgroup hooks of a connection's start and end: connect() fixes its class and where it really goes, getpeername()
 * keeps showing where the app asked to go, and a socket that is closed gives back its places.
 */

#define WEFT_SOCK_STREAM 1
#define WEFT_IPPROTO_TCP 6
#define WEFT_IPPROTO_MPTCP 262
#define WEFT_ECONNREFUSED 111
#define WEFT_ENOMEM 12
#define WEFT_ALLOW 1
#define WEFT_DENY 0

/* What connect() is about. In a head buffer: with the engine's frames it does not fit a program's stack. */
struct weft_connect {
	struct weft_ctx ctx;
	struct weft_tcp tcp;
	__u32 class_id;
	__u32 chain;
	__u32 outcome;
	__u32 flags; /* WEFT_SOCK_* */
};

/* An MPTCP socket connects through a subflow, a TCP socket of the kernel's that no sock map
 * accepts: its data would go unjudged. */
WEFT_INLINE bool weft_is_mptcp(struct bpf_sock_addr *c, struct bpf_sock *s)
{
	struct tcp_sock *t;

	if (c->protocol == WEFT_IPPROTO_MPTCP)
		return true;
	t = bpf_skc_to_tcp_sock(s);
	return t && bpf_core_field_exists(t->is_mptcp) && t->is_mptcp;
}

/*
 * Is the four-tuple {the socket's bound port, listener} in use? A wildcard bind connects to a local address from that
 * very address.
 */
WEFT_INLINE bool weft_tuple_used(struct bpf_sock_addr *c, struct bpf_sock *s,
				 const struct weft_sockaddr *to)
{
	struct bpf_sock_tuple t = {};
	__u32 size = sizeof(t.ipv4);
	struct bpf_sock *found;
	bool used;

	if (to->family == WEFT_AF_INET) {
		__u32 ip = WEFT_READ(s->src_ip4);

		t.ipv4.saddr = to->addr.w[3];
		t.ipv4.daddr = ip ? ip : to->addr.w[3];
		t.ipv4.sport = bpf_htons(to->port);
		t.ipv4.dport = bpf_htons((__u16)s->src_port);
	} else {
		__u32 ip[4] = {WEFT_READ(s->src_ip6[0]), WEFT_READ(s->src_ip6[1]),
			       WEFT_READ(s->src_ip6[2]), WEFT_READ(s->src_ip6[3])};
		bool any = !(ip[0] | ip[1] | ip[2] | ip[3]);

		size = sizeof(t.ipv6);
		for (int i = 0; i < 4; i++) {
			t.ipv6.saddr[i] = to->addr.w[i];
			t.ipv6.daddr[i] = any ? to->addr.w[i] : ip[i];
		}
		t.ipv6.sport = bpf_htons(to->port);
		t.ipv6.dport = bpf_htons((__u16)s->src_port);
	}
	found = bpf_skc_lookup_tcp(c, &t, size, BPF_F_CURRENT_NETNS, 0);
	if (!found)
		return false;
	used = found->state != BPF_TCP_LISTEN;
	bpf_sk_release(found);
	return used;
}

/*
 * The agent's listener for this connection: by hash of the destination; a socket that is bound to a
 * port already takes the next one when its four-tuple is in use, for then connect() would fail with
 * EADDRNOTAVAIL. port 0: the pod has none of this family.
 */
WEFT_INLINE void weft_listener_of(struct bpf_sock_addr *c, struct bpf_sock *s,
				  const struct weft_pod *p, const struct weft_sockaddr *dst,
				  struct weft_sockaddr *ret)
{
	bool v4 = dst->family == WEFT_AF_INET;
	__u32 start = weft_addr_hash(&dst->addr, dst->port);
	__u16 first = 0;

	ret->addr = v4 ? p->addr4 : p->addr6;
	ret->family = dst->family;
	ret->port = 0;
	for (__u32 i = 0; i < WEFT_LISTEN_PORTS; i++) {
		__u32 at = WEFT_INDEX(start + i, 7);
		__u16 port = v4 ? p->port4[at] : p->port6[at];

		if (!port)
			continue;
		if (!first)
			first = port;
		ret->port = port;
		if (!s->src_port || !weft_tuple_used(c, s, ret))
			return;
	}
	ret->port = first; /* all in use: connect() says EADDRNOTAVAIL */
}
_Static_assert(WEFT_LISTEN_PORTS == 8, "mask of weft_listener_of");

/* Endpoint, limits and breaker of a TCP chain; captured when only the agent can do it. */
WEFT_INLINE void weft_connect_l4(struct weft_connect *k, __u8 *state_base, struct weft_sockaddr *to)
{
	if (weft_tcp_choose(&k->ctx, k->chain, &k->tcp)) {
		weft_count_handed(state_base, WEFT_HANDED_NO_CELL);
		k->class_id = WEFT_CLASS_CAPTURED;
		return;
	}
	k->outcome = k->tcp.outcome;
	if (k->outcome != WEFT_OUTCOME_FORWARD) {
		k->class_id = WEFT_CLASS_REFUSED;
		return;
	}
	if (k->tcp.addr.family == k->ctx.dst.family) {
		*to = k->tcp.addr;
		return;
	}
	/* The socket cannot reach the other family; the agent relays and takes its own place. */
	weft_places_put(k->tcp.cell, 0);
	k->tcp.cell = 0;
	k->tcp.cell_endpoint = 0;
	k->outcome = WEFT_OUTCOME_NONE;
	k->flags |= WEFT_SOCK_LIMITS_PAID;
	k->class_id = WEFT_CLASS_CAPTURED;
}

/* Fails connect() with err. */
WEFT_INLINE int weft_connect_deny(__u8 *state_base, __u32 outcome, int err)
{
	weft_count_class(state_base, WEFT_CLASS_REFUSED);
	if (outcome)
		weft_count_outcome(state_base, outcome);
	bpf_set_retval(-err);
	return WEFT_DENY;
}

/* An l4 connection in its cluster's and endpoint's counters; the cluster's place is taken already. */
WEFT_INLINE void weft_connect_count(__u8 *state_base, const struct weft_connect *k)
{
	if (k->tcp.cell)
		weft_bump(&WEFT_STATE(struct weft_cell_cluster, k->tcp.cell)->cx_total);
	if (k->tcp.cell_endpoint) {
		struct weft_cell_endpoint *e =
			WEFT_STATE(struct weft_cell_endpoint, k->tcp.cell_endpoint);

		__sync_fetch_and_add(&e->cx_active, 1);
		weft_bump(&e->cx_total);
		/* not told: the next connection begins anew */
		if (k->tcp.outlier_new && !weft_outlier_tell(k->ctx.pod, e))
			e->owner = 0;
	}
}

/* Keeps on the socket what later programs need. false: no memory. */
WEFT_INLINE bool weft_connect_store(struct bpf_sock *s, const struct weft_connect *k)
{
	struct weft_sock *w = bpf_sk_storage_get(&sk, s, NULL, BPF_SK_STORAGE_GET_F_CREATE);

	if (!w)
		return false;
	w->dst = k->ctx.dst;
	w->class_id = k->class_id;
	w->flags = k->flags;
	w->pod = k->ctx.pod;
	w->slot = 0;
	w->cell = k->tcp.cell;
	w->cell_endpoint = k->tcp.cell_endpoint;
	return true;
}

/* Class, endpoint and new destination of a connection to k->ctx.dst. */
WEFT_INLINE int weft_connect_govern(struct bpf_sock_addr *c, struct bpf_sock *s,
				    const struct weft_pod *p, struct weft_connect *k,
				    struct weft_sockaddr *to)
{
	WEFT_STATE_BASE(WEFT_ALLOW);
	k->class_id = WEFT_CLASS_BYPASS;
	if (!weft_ctx_begin(&k->ctx))
		k->class_id = (__u32)weft_class_find(&k->ctx, &k->chain);
	if (k->class_id == WEFT_CLASS_REFUSED)
		k->outcome = WEFT_OUTCOME_REFUSED_NO_CHAIN;
	if (k->class_id == WEFT_CLASS_L4)
		weft_connect_l4(k, state_base, to);
	if (k->class_id == WEFT_CLASS_REFUSED)
		return weft_connect_deny(state_base, k->outcome, WEFT_ECONNREFUSED);
	if (k->class_id == WEFT_CLASS_CAPTURED) {
		weft_listener_of(c, s, p, &k->ctx.dst, to);
		if (!to->port) {
			weft_count_handed(state_base, WEFT_HANDED_NO_LISTENER);
			return weft_connect_deny(state_base, 0, WEFT_ECONNREFUSED);
		}
		if (weft_is_mptcp(c, s)) {
			k->class_id = WEFT_CLASS_CAPTURED_PLAIN;
			k->flags |= WEFT_SOCK_MPTCP;
		}
	}
	if (k->class_id != WEFT_CLASS_BYPASS && !weft_connect_store(s, k)) {
		weft_places_put(k->tcp.cell, 0);
		return weft_connect_deny(state_base, 0, WEFT_ENOMEM);
	}
	weft_count_class(state_base, k->class_id);
	if (k->outcome)
		weft_count_outcome(state_base, k->outcome);
	weft_connect_count(state_base, k);
	return WEFT_ALLOW;
}

/* Within the pod: what no sidecar sees. */
WEFT_INLINE int weft_stays_inside(const struct weft_pod *p, const struct weft_addr *a)
{
	if (weft_addr_equal(a, &p->addr4) || weft_addr_equal(a, &p->addr6))
		return 1;
	if (a->w[0] || a->w[1])
		return 0;
	if (a->w[2] == bpf_htonl(0xffff)) /* v4-mapped; 0.0.0.0 is this host */
		return !a->w[3] || (a->w[3] & bpf_htonl(0xff000000)) == bpf_htonl(0x7f000000);
	return !a->w[2] && (!a->w[3] || a->w[3] == bpf_htonl(1));
}

/* The verdict on connect() to dst; to.port 0: it goes where the app asked. */
WEFT_INLINE int weft_connect(struct bpf_sock_addr *c, const struct weft_sockaddr *dst,
			     struct weft_sockaddr *to)
{
	struct bpf_sock *s = c->sk;
	struct weft_connect *k;
	struct weft_sock *w;
	struct weft_pod *p;
	__u64 netns;
	__u32 head, owner;
	int verdict;

	if (!s || c->type != WEFT_SOCK_STREAM ||
	    (c->protocol != WEFT_IPPROTO_TCP && c->protocol != WEFT_IPPROTO_MPTCP))
		return WEFT_ALLOW;
	w = bpf_sk_storage_get(&sk, s, NULL, 0);
	if (w) {
		if (w->flags & WEFT_SOCK_EXEMPT)
			return WEFT_ALLOW;
		/* connect() again after one that failed */
		weft_sock_put_places(w);
		w->class_id = WEFT_CLASS_BYPASS;
		w->dst.port = 0;
	}
	netns = bpf_get_netns_cookie(c);
	p = bpf_map_lookup_elem(&pod, &netns);
	if (!p || p->flags & WEFT_POD_PAUSED)
		return WEFT_ALLOW;
	WEFT_STATE_BASE(WEFT_ALLOW);
	if (p->flags & WEFT_POD_HELD) {
		if (weft_stays_inside(p, &dst->addr))
			return WEFT_ALLOW;
		weft_count_handed(state_base, WEFT_HANDED_HELD);
		return weft_connect_deny(state_base, 0, WEFT_ECONNREFUSED);
	}
	owner = p->id;
	if (!weft_pod_run_take(owner)) {
		weft_count_handed(state_base, WEFT_HANDED_NO_HEAD);
		return weft_connect_deny(state_base, 0, WEFT_ENOMEM);
	}
	head = weft_head_get();
	if (!head) {
		weft_pod_run_put(owner);
		weft_count_handed(state_base, WEFT_HANDED_NO_HEAD);
		return weft_connect_deny(state_base, 0, WEFT_ENOMEM);
	}
	k = WEFT_STATE(struct weft_connect, weft_head_off(head));
	__builtin_memset(k, 0, sizeof(*k));
	k->ctx.dst = *dst;
	k->ctx.pod = p->id;
	k->ctx.view = p->view;
	k->ctx.flags = WEFT_CTX_KERNEL;
	k->ctx.now_ns = bpf_ktime_get_ns();
	verdict = weft_connect_govern(c, s, p, k, to);
	weft_head_put(head);
	weft_pod_run_put(owner);
	return verdict;
}

SEC("cgroup/connect4")
int connect4(struct bpf_sock_addr *c)
{
	struct weft_sockaddr dst, to = {};
	int verdict;

	weft_sockaddr_set4(&dst, c->user_ip4, bpf_ntohs((__u16)c->user_port));
	verdict = weft_connect(c, &dst, &to);
	if (verdict == WEFT_ALLOW && to.port) {
		c->user_ip4 = to.addr.w[3];
		c->user_port = bpf_htons(to.port);
	}
	return verdict;
}

SEC("cgroup/connect6")
int connect6(struct bpf_sock_addr *c)
{
	struct weft_sockaddr dst, to = {};
	int verdict;

	dst.addr.w[0] = c->user_ip6[0];
	dst.addr.w[1] = c->user_ip6[1];
	dst.addr.w[2] = c->user_ip6[2];
	dst.addr.w[3] = c->user_ip6[3];
	dst.port = bpf_ntohs((__u16)c->user_port);
	weft_sockaddr_canonical(&dst);
	verdict = weft_connect(c, &dst, &to);
	if (verdict == WEFT_ALLOW && to.port) {
		/* IPv4 stays v4-mapped: that is how addresses are kept */
		c->user_ip6[0] = to.addr.w[0];
		c->user_ip6[1] = to.addr.w[1];
		c->user_ip6[2] = to.addr.w[2];
		c->user_ip6[3] = to.addr.w[3];
		c->user_port = bpf_htons(to.port);
	}
	return verdict;
}

/* What the app asked for, NULL when its socket was left alone. */
WEFT_INLINE struct weft_sock *weft_asked(struct bpf_sock_addr *c)
{
	struct bpf_sock *s = c->sk;
	struct weft_sock *w = s ? bpf_sk_storage_get(&sk, s, NULL, 0) : NULL;

	return w && w->dst.port && w->class_id != WEFT_CLASS_BYPASS ? w : NULL;
}

SEC("cgroup/getpeername4")
int getpeername4(struct bpf_sock_addr *c)
{
	struct weft_sock *w = weft_asked(c);

	if (w) {
		c->user_ip4 = w->dst.addr.w[3];
		c->user_port = bpf_htons(w->dst.port);
	}
	return WEFT_ALLOW;
}

SEC("cgroup/getpeername6")
int getpeername6(struct bpf_sock_addr *c)
{
	struct weft_sock *w = weft_asked(c);

	if (w) {
		c->user_ip6[0] = w->dst.addr.w[0];
		c->user_ip6[1] = w->dst.addr.w[1];
		c->user_ip6[2] = w->dst.addr.w[2];
		c->user_ip6[3] = w->dst.addr.w[3];
		c->user_port = bpf_htons(w->dst.port);
	}
	return WEFT_ALLOW;
}

/*
 * close() of a socket that TCP does not know (any more): connect() failed before the first SYN, or the SYN waits for a
 * send (TCP_FASTOPEN_CONNECT). All others give back in sockops, when TCP lets go of them.
 */
SEC("cgroup/sock_release")
int sock_release(struct bpf_sock *s)
{
	struct weft_sock *w;

	w = bpf_sk_storage_get(&sk, s, NULL, 0);
	if (w && (s->state == BPF_TCP_CLOSE || !(w->flags & WEFT_SOCK_WATCHED)))
		weft_sock_put_places(w);
	return WEFT_ALLOW;
}
