// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * sk_msg on apps' captured sockets: one run per send(). Judges a request that is whole in this send
 * on a connection with nothing in flight, answers it in place when the rules do so, and passes
 * everything else to the agent, with what was decided in the slot. Passing is always right: the
 * agent parses all it receives.
 *
 * Facts of sk_msg that shape this file:
 *  - a redirect helper that was called decides the verdict, so it is the very last thing
 *  - SK_DROP stays in force for the socket: only for a message that is broken half-way, which ends
 * the connection
 *  - after EAGAIN the verdict of that send covers the next one without a run: positions are read
 * from the socket
 *  - the app reads redirected bytes before bytes from TCP: nothing is answered while anything is
 * unread
 */

#define WEFT_PSOCK_MASK (~7ull) /* sk_user_data carries flags in its low bits */

/* What one run knows of its socket. */
struct weft_run {
	__u32 slot;
	__u32 size;
	__u64 position; /* in the app's stream, of this send's first byte */
};

/*
 * Has the app read every byte that was answered in place? The queue of redirected messages and the backlog behind it
 * belong to the psock, reachable only through a pointer that is plain memory to the verifier.
 */
WEFT_INLINE bool weft_ingress_empty(struct tcp_sock *t)
{
	__u64 data = (__u64)(long)t->inet_conn.icsk_inet.sk.sk_user_data;
	struct sk_psock *psock = (void *)(long)(data & WEFT_PSOCK_MASK);
	struct list_head *next;

	if (BPF_CORE_READ_INTO(&next, psock, ingress_msg.next))
		return false;
	return next == (void *)psock + bpf_core_field_offset(struct sk_psock, ingress_msg) &&
	       !BPF_CORE_READ(psock, ingress_skb.qlen);
}

/* Nothing unread or unjudged on the connection, in either direction. */
WEFT_INLINE bool weft_quiet(struct bpf_sock *s, struct tcp_sock *t, const struct weft_slot *at)
{
	return s->state == BPF_TCP_ESTABLISHED && (__u32)t->bytes_received == (__u32)at->agent_tx &&
	       t->rcv_nxt == t->copied_seq && weft_ingress_empty(t);
}

/*
 * The one way to the agent. The connection is the agent's from here on, whoever owned it, up to the end of this send:
 * the word only ever goes back by the agent's hand, so losing the race against it means to try again.
 */
WEFT_GLOBAL int weft_pass(const struct weft_run *run, __u32 why)
{
	__u64 want;
	struct weft_slot *at;

	if (!run)
		return SK_PASS;
	WEFT_STATE_BASE(SK_PASS);
	weft_count_handed(state_base, why);
	at = weft_slot_in(state_base, run->slot);
	want = WEFT_OWNER_AGENT << WEFT_OWNER_SHIFT |
	       ((run->position + run->size) & WEFT_PASSED_MASK);
	__sync_lock_test_and_set(&at->word, want);
	return SK_PASS;
}

/* Leaves the decision for the agent; stored before the word changes hands. */
WEFT_GLOBAL int weft_record_store(struct weft_req *req, const struct weft_run *run, __u32 outcome)
{
	struct weft_slot *at;
	struct weft_record *rec;

	if (!req || !run)
		return 0;
	WEFT_STATE_BASE(0);
	at = weft_slot_in(state_base, run->slot);
	rec = &at->rec;
	rec->hash = req->hash;
	rec->position = run->position;
	rec->epoch = req->dec.epoch;
	rec->outcome = outcome;
	rec->route = req->dec.route;
	rec->vhost = req->dec.vhost;
	rec->target = req->dec.target;
	rec->reply = req->dec.reply;
	rec->n_paid = req->dec.n_paid;
	rec->random = req->random;
	for (__u32 i = 0; i < WEFT_PAID_MAX; i++)
		rec->paid[i] = req->dec.paid[i];
	__sync_fetch_and_add(&rec->exchange, 1);
	return 0;
}

/* weft_parse -> why the agent goes on. */
WEFT_INLINE __u32 weft_parse_handed(int parse)
{
	switch (parse) {
	case WEFT_PARSE_UNSURE:
		return WEFT_HANDED_UNUSUAL;
	case WEFT_PARSE_MORE:
		return WEFT_HANDED_INCOMPLETE;
	case WEFT_PARSE_TOO_LONG:
		return WEFT_HANDED_TOO_LONG;
	case WEFT_PARSE_TOO_MANY:
		return WEFT_HANDED_TOO_MANY_HEADERS;
	case WEFT_PARSE_BAD_VERSION:
	case WEFT_PARSE_VERSION:
		return WEFT_HANDED_VERSION;
	default:
		return WEFT_HANDED_MALFORMED;
	}
}

/* What in a well-formed head is the agent's business; 0: nothing. */
WEFT_INLINE __u32 weft_framing_handed(const struct weft_req *req, __u32 size)
{
	if (req->flags & WEFT_REQ_CHUNKED)
		return WEFT_HANDED_CHUNKED;
	if (req->flags & (WEFT_REQ_UPGRADE | WEFT_REQ_CONNECT))
		return WEFT_HANDED_UPGRADE;
	if (req->flags & WEFT_REQ_EXPECT)
		return WEFT_HANDED_EXPECT;
	if (req->flags & WEFT_REQ_HTTP10)
		return WEFT_HANDED_VERSION;
	if (req->content_length)
		return WEFT_HANDED_BODY;
	if (req->head_len != size)
		return WEFT_HANDED_PIPELINED;
	return 0;
}

/*
 * Judges the request in req. WEFT_HANDED_NONE: req->plan is its answer in place, else why it is the agent's. Inline: from
 * the program to the bytes that a condition compares there are the eight frames that the kernel allows.
 */
WEFT_INLINE __u32 weft_judge(struct weft_req *req, struct weft_ctx *ctx, const struct weft_run *run)
{
	__u32 chain, flags, why;
	int parse;

	if (weft_ctx_begin(ctx) || weft_listener_find(ctx))
		return WEFT_HANDED_NO_LISTENER;
	WEFT_IMG_BASE(WEFT_HANDED_STORE);
	flags = WEFT_IMG(struct weft_img_listener, ctx->listener)->flags;
	chain = weft_chain_find(ctx, flags & WEFT_LISTENER_INSPECT_HTTP ? WEFT_PROTO_HTTP11
								       : WEFT_PROTO_RAW);
	if (!chain || weft_req_begin(req, ctx, chain))
		return WEFT_HANDED_NO_LISTENER;
	/* once these have passed, the connection is the agent's until it may go on */
	if (!run->position && WEFT_IMG(struct weft_img_chain, chain)->flags & WEFT_CHAIN_ASKS)
		return WEFT_HANDED_GLOBAL_LIMIT;
	if (weft_conn_rbac_run(ctx, chain, 0, &req->scratch[1]))
		return WEFT_HANDED_RBAC;
	parse = weft_http1_parse(req);
	if (parse)
		return parse == WEFT_PARSE_UNSURE && req->dec.handed ? req->dec.handed
								      : weft_parse_handed(parse);
	why = weft_framing_handed(req, run->size);
	if (why)
		return why;
	if (weft_decide(req, ctx) && !req->dec.handed)
		req->dec.handed = WEFT_HANDED_NO_CELL;
	if (req->dec.handed) {
		/* Not decided; tokens that were paid are not charged again. */
		if (req->dec.n_paid)
			weft_record_store(req, run, WEFT_OUTCOME_NONE);
		return req->dec.handed;
	}
	if (req->dec.outcome == WEFT_OUTCOME_FORWARD)
		why = WEFT_HANDED_FORWARD;
	else if (!req->dec.reply)
		why = WEFT_HANDED_MALFORMED;
	else if (req->flags & WEFT_REQ_GRPC)
		why = WEFT_HANDED_GRPC; /* a reply in words of its own, but the decision stands */
	else if (WEFT_IMG(struct weft_img_hcm, req->dec.hcm)->logs)
		why = WEFT_HANDED_LOG;
	else if (weft_reply_formed(req))
		why = WEFT_HANDED_MUTATION;
	else if (weft_reply_put(req, &req->plan))
		why = WEFT_HANDED_REPLY_TOO_LONG;
	else if (req->plan.closes || req->flags & WEFT_REQ_CLOSE ||
		 WEFT_IMG(struct weft_img_hcm, req->dec.hcm)->max_requests)
		why = WEFT_HANDED_MUST_CLOSE;
	if (why)
		weft_record_store(req, run, req->dec.outcome);
	return why;
}

/* 64 bytes at a time: up to 63 behind the piece change, which the next piece or nobody looks at. */
WEFT_GLOBAL int weft_image_copy(__u32 from, __u32 len, __u32 out, __u32 at)
{
	WEFT_IMG_BASE(-1);
	WEFT_STATE_BASE(-1);
	for (__u32 i = 0; i < WEFT_REPLY_MAX / 64; i++) {
		if (i * 64 >= len)
			break;
		const __u64 *f = WEFT_IMG(__u64, from + i * 64);
		__u64 *to = (__u64 *)(WEFT_STATE(__u8, out) + WEFT_INDEX(at + i * 64, 4095));

		to[0] = f[0];
		to[1] = f[1];
		to[2] = f[2];
		to[3] = f[3];
		to[4] = f[4];
		to[5] = f[5];
		to[6] = f[6];
		to[7] = f[7];
	}
	return (int)(at + len);
}

/* One piece of the reply to out[at..]; the end of it, or -1. */
WEFT_GLOBAL int weft_seg_copy(struct weft_req *req, __u32 seg, __u32 out, __u32 at)
{
	const void *from;
	__u32 len, off;

	if (!req)
		return -1;
	WEFT_STATE_BASE(-1);
	seg &= 15;
	if (seg >= WEFT_REPLY_SEGS_MAX)
		return -1;
	len = req->plan.seg[seg].len;
	off = req->plan.seg[seg].off;
	if (!len)
		return (int)at;
	if (at >= WEFT_REPLY_MAX || len > WEFT_REPLY_MAX - at)
		return -1;
	switch (req->plan.seg[seg].kind) {
	case WEFT_SEG_IMAGE:
		return weft_image_copy(off, len, out, at);
	case WEFT_SEG_HEAD:
		from = weft_head_at(req, off);
		break;
	case WEFT_SEG_TEXT:
		from = &req->text[WEFT_INDEX(off, 63)];
		break;
	case WEFT_SEG_DATE:
		from = weft_head_of(state_base)->date[WEFT_READ(weft_head_of(state_base)->date_which) & 1];
		break;
	default:
		return -1;
	}
	len = ((len - 1) & (WEFT_REPLY_MAX - 1)) + 1; /* 6.1 forgets len != 0 */
	if (bpf_probe_read_kernel(WEFT_STATE(__u8, out) + WEFT_INDEX(at, 4095), len, from))
		return -1;
	return (int)(at + len);
}

/* The whole reply to the head buffer at state offset out. 0, or -1: it cannot be built. */
WEFT_GLOBAL int weft_reply_fill(struct weft_req *req, __u32 out)
{
	int at = 0;

	if (!req)
		return -1;
	for (__u32 i = 0; i < WEFT_REPLY_SEGS_MAX; i++) {
		if (i >= req->plan.n)
			break;
		at = weft_seg_copy(req, i, out, (__u32)at);
		if (at < 0)
			return -1;
	}
	return (__u32)at == req->plan.total ? 0 : -1;
}
_Static_assert(WEFT_REPLY_MAX == 4096 && WEFT_REQ_TEXT == 64, "masks of weft_seg_copy");

_Static_assert(WEFT_HEAD_MAX == WEFT_REPLY_MAX, "one copy for both");

/*
 * Copies the message, which is in one piece of at most WEFT_HEAD_MAX bytes, to mem, or (out) mem over the message: 64
 * bytes at a time, then 8, then 1. Returns how many. Between the sizes the verifier forgets how many there were, or it
 * would walk what follows once for every length.
 */
WEFT_INLINE __u32 weft_msg_copy(struct sk_msg_md *m, struct weft_req *req, __u8 *mem, bool out)
{
	__u8 *data = (void *)(long)m->data, *end = (void *)(long)m->data_end, *p = data;
	__u32 d = 0;

	for (__u32 i = 0; i < WEFT_HEAD_MAX / 64; i++) {
		if (p + 64 > end)
			break;
		__u64 *to = (__u64 *)(out ? p : mem + d);
		const __u64 *from = (const __u64 *)(out ? mem + d : p);

		to[0] = from[0];
		to[1] = from[1];
		to[2] = from[2];
		to[3] = from[3];
		to[4] = from[4];
		to[5] = from[5];
		to[6] = from[6];
		to[7] = from[7];
		p += 64;
		d += 64;
	}
	d = WEFT_FORGET(req, d);
	for (__u32 i = 0; i < 7; i++, d += 8) {
		if (d >= WEFT_HEAD_MAX)
			return WEFT_HEAD_MAX;
		p = data + d;
		if (p + 8 > end)
			break;
		*(__u64 *)(out ? p : mem + d) = *(const __u64 *)(out ? mem + d : p);
	}
	d = WEFT_FORGET(req, d);
	for (__u32 i = 0; i < 7; i++, d++) {
		if (d >= WEFT_HEAD_MAX)
			return WEFT_HEAD_MAX;
		p = data + d;
		if (p + 1 > end)
			break;
		*(out ? p : mem + d) = *(out ? mem + d : p);
	}
	return WEFT_FORGET(req, d);
}

/* The message to the request's head, with a word of zeroes behind it. */
WEFT_INLINE void weft_head_copy(struct sk_msg_md *m, struct weft_req *req)
{
	__u32 d = weft_msg_copy(m, req, req->head, false);

	if (d > WEFT_HEAD_MAX)
		return;
	*(__u64 *)(req->head + d) = 0;
	req->len = d;
}

/*
 * Makes the message `total` bytes long and one piece. 0; 1: it is as it was; -1: it is broken. Shrinking cuts the
 * tail; growing puts a piece of that size in front and drops what the request was, so that nothing is joined by
 * copying. The piece can be taken away again without memory.
 */
WEFT_INLINE int weft_msg_resize(struct sk_msg_md *m, __u32 size, __u32 total)
{
	if (total <= size) {
		if (bpf_msg_pull_data(m, 0, total, 0))
			return 1;
		return total < size && bpf_msg_pop_data(m, total, size - total, 0) ? 1 : 0;
	}
	if (bpf_msg_push_data(m, 0, total, 0))
		return 1;
	if (!bpf_msg_pop_data(m, total, size, 0))
		return 0;
	return bpf_msg_pop_data(m, 0, total, 0) ? -1 : 1;
}

/*
 * Turns the request into its answer and sends that back. Up to the resize everything can still be passed to the agent;
 * what fails behind it leaves a message that is neither, and the connection ends.
 */
WEFT_INLINE int weft_answer(struct sk_msg_md *m, struct weft_req *req, const struct weft_run *run,
			    __u32 out, __u64 cookie)
{
	__u32 total = req->plan.total, outcome = req->dec.outcome;
	int resized;

	resized = total ? weft_msg_resize(m, run->size, total) : 1;
	if (resized > 0) {
		weft_record_store(req, run, outcome);
		return weft_pass(run, WEFT_HANDED_STORE);
	}
	WEFT_STATE_BASE(SK_DROP);
	if (resized < 0 || m->size != total ||
	    (void *)(long)m->data_end - (void *)(long)m->data != total)
		return SK_DROP;
	weft_msg_copy(m, req, WEFT_STATE(__u8, out), true);
	weft_count_outcome(state_base, outcome);
	WEFT_IMG_BASE(SK_DROP);
	weft_count_reply(state_base, WEFT_IMG(struct weft_img_hcm, req->dec.hcm)->stat,
			 req->plan.status / 100);
	return bpf_msg_redirect_hash(m, &sock, &cookie, BPF_F_INGRESS);
}

/* The app's own address, as the agent sees it. */
WEFT_INLINE void weft_source_set(struct sk_msg_md *m, struct weft_sockaddr *ret)
{
	if (m->family == WEFT_AF_INET) {
		weft_sockaddr_set4(ret, m->local_ip4, 0);
		return;
	}
	ret->addr.w[0] = m->local_ip6[0];
	ret->addr.w[1] = m->local_ip6[1];
	ret->addr.w[2] = m->local_ip6[2];
	ret->addr.w[3] = m->local_ip6[3];
	weft_sockaddr_canonical(ret);
}

/* Judge and answer, with both buffers at hand. The second first holds the context: a program's stack is short. */
WEFT_INLINE int weft_exchange(struct sk_msg_md *m, struct weft_sock *w, struct weft_run *run,
			      __u32 in, __u32 out)
{
	__u64 netns = bpf_get_netns_cookie(m);
	const struct weft_pod *p = bpf_map_lookup_elem(&pod, &netns);
	struct weft_req *req;
	struct weft_ctx *ctx;
	__u32 why;

	WEFT_STATE_BASE(SK_PASS);
	req = WEFT_STATE(struct weft_req, in);
	ctx = WEFT_STATE(struct weft_ctx, out);
	if (!p || p->id != w->pod || p->flags & WEFT_POD_PAUSED)
		return weft_pass(run, WEFT_HANDED_NO_LISTENER);
	__builtin_memset(ctx, 0, sizeof(*ctx));
	ctx->dst = w->dst;
	weft_source_set(m, &ctx->src);
	ctx->pod = w->pod;
	ctx->view = p->view;
	ctx->flags = WEFT_CTX_KERNEL;
	ctx->now_ns = bpf_ktime_get_ns();
	weft_slot_in(state_base, run->slot)->active = (__u32)(ctx->now_ns >> 20);
	weft_head_copy(m, req);
	if (req->len != run->size)
		return weft_pass(run, WEFT_HANDED_STORE);
	why = weft_judge(req, ctx, run);
	if (!why && weft_reply_fill(req, out)) {
		why = WEFT_HANDED_REPLY_TOO_LONG;
		weft_record_store(req, run, req->dec.outcome);
	}
	if (why) {
		if (why == WEFT_HANDED_FORWARD)
			weft_count_outcome(state_base, WEFT_OUTCOME_FORWARD);
		return weft_pass(run, why);
	}
	weft_again_keep(m, w, req, p->view, out);
	return weft_answer(m, req, run, out, w->cookie);
}

/* Refuses the message as the one before. -1: it is to be judged. */
static __noinline int weft_repeat(struct sk_msg_md *m, const struct weft_sock *w,
				  const struct weft_run *run)
{
	struct bpf_sock *s = m->sk;
	struct weft_again *a = s ? bpf_sk_storage_get(&again, s, NULL, 0) : NULL;
	__u64 netns, now, cookie = w->cookie;
	__u32 total, size = m->size;
	const struct weft_pod *p;
	int resized;

	if (!a || a->len != size || bpf_msg_pull_data(m, 0, size, 0))
		return -1;
	now = bpf_ktime_get_ns();
	netns = bpf_get_netns_cookie(m);
	p = bpf_map_lookup_elem(&pod, &netns);
	if (!p || p->id != w->pod || p->flags & WEFT_POD_PAUSED ||
	    !weft_again_holds(m, a, p->view, now))
		return -1;
	total = a->total;
	resized = weft_msg_resize(m, size, total);
	if (resized > 0)
		return -1;
	WEFT_STATE_BASE(SK_DROP);
	if (resized < 0 || m->size != total ||
	    (void *)(long)m->data_end - (void *)(long)m->data != total)
		return SK_DROP;
	if (!weft_again_run(m, a->reply, &a->total, WEFT_AGAIN_SEND))
		return SK_DROP;
	weft_slot_in(state_base, run->slot)->active = (__u32)(now >> 20);
	WEFT_COUNT(a->cell, struct weft_cell_bucket, enabled);
	WEFT_COUNT(a->cell, struct weft_cell_bucket, rate_limited);
	WEFT_COUNT(a->cell, struct weft_cell_bucket, enforced);
	weft_count_outcome(state_base, WEFT_OUTCOME_RATE_LIMITED);
	weft_count_reply(state_base, a->stat, a->class);
	weft_bump(&weft_head_of(state_base)->repeated);
	return bpf_msg_redirect_hash(m, &sock, &cookie, BPF_F_INGRESS);
}

SEC("sk_msg")
int msg(struct sk_msg_md *m)
{
	struct bpf_sock *s = m->sk;
	struct weft_sock *w = s ? bpf_sk_storage_get(&sk, s, NULL, 0) : NULL;
	struct tcp_sock *t = s ? bpf_skc_to_tcp_sock(s) : NULL;
	struct weft_run run = {.size = m->size};
	struct weft_slot *at;
	__u32 in, out;
	__u64 word;
	__s32 unseen;
	int verdict;

	if (!w || !t || !w->slot)
		return SK_PASS;
	WEFT_STATE_BASE(SK_PASS);
	run.slot = w->slot;
	at = weft_slot_in(state_base, run.slot);
	word = WEFT_READ(at->word);
	unseen = (__s32)(t->write_seq - w->seq - (__u32)word);
	run.position = (word & WEFT_PASSED_MASK) + (__s64)unseen;
	if (word >> WEFT_OWNER_SHIFT != WEFT_OWNER_KERNEL)
		return weft_pass(&run, WEFT_HANDED_AGENT_OWNS);
	if (unseen || !weft_quiet(s, t, at))
		return weft_pass(&run, WEFT_HANDED_NOT_QUIET);
	verdict = weft_repeat(m, w, &run);
	if (verdict >= 0)
		return verdict;
	if (run.size > WEFT_HEAD_MAX)
		return weft_pass(&run, WEFT_HANDED_TOO_LONG);
	if (bpf_msg_pull_data(m, 0, run.size, 0))
		return weft_pass(&run, WEFT_HANDED_STORE);
	if (!weft_pod_run_take(w->pod))
		return weft_pass(&run, WEFT_HANDED_NO_HEAD);
	in = weft_head_get();
	out = weft_head_get();
	verdict = in && out ? weft_exchange(m, w, &run, weft_head_off(in), weft_head_off(out))
			    : weft_pass(&run, WEFT_HANDED_NO_HEAD);
	if (in)
		weft_head_put(in);
	if (out)
		weft_head_put(out);
	weft_pod_run_put(w->pod);
	return verdict;
}
