/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */

/* The engine natively: every function of engine.h from the headers that programs include. */

#include <stdint.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

#include "bpf/engine/decide.h"
#include "bpf/engine/http1_full.h"
#include "bpf/engine/prepare.h"
#include "bpf/engine/reply.h"
#include "bpf/engine/slot.h"
#include "bpf/engine/tcp.h"

struct weft_bound weft_bound;

void weft_engine_bind(void *img, __u32 img_mask, void *state, __u32 state_mask)
{
	weft_bound = (struct weft_bound){ img, state, img_mask, state_mask };
}

/* Choices need independence, not secrecy: xorshift, seeded by the kernel, one per thread. */
__u64 weft_random(void)
{
	static _Thread_local __u64 x;

	while (!x)
		if (getrandom(&x, sizeof(x), 0) != sizeof(x))
			x = (__u64)(uintptr_t)&x | 1;
	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return x * 0x2545F4914F6CDD1Dull;
}

/* ---- hashes ---- */

/* Words of a text that may end anywhere. */
static __u64 weft_word_at(const __u8 *p, __u32 len)
{
	__u64 w = 0;

	memcpy(&w, p, len < 8 ? len : 8);
	return w;
}

__u32 weft_hash_name(const void *lower, __u32 len)
{
	const __u8 *p = lower;
	__u64 h = 0;
	__u32 o = 0;

	for (; len - o >= 8; o += 8)
		h = weft_mix(h, weft_word_at(p + o, 8));
	return weft_name_end(h, weft_word_at(p + o, len - o), len);
}

__u32 weft_hash_host(const void *lower, __u32 len)
{
	return weft_hash_name(lower, len);
}

__u32 weft_hash_suffix(const void *lower, __u32 len)
{
	const __u8 *p = lower;
	__u64 h = 0;

	while (len)
		h = weft_mix(h, p[--len]);
	return (__u32)h;
}

__u32 weft_hash_prefix(const void *lower, __u32 len)
{
	const __u8 *p = lower;
	__u64 h = 0;

	for (__u32 i = 0; i < len; i++)
		h = weft_mix(h, p[i]);
	return (__u32)h;
}

__u64 weft_hash_rate(const void *text, __u32 len)
{
	const __u8 *p = text;
	__u64 h = 0;

	for (__u32 i = 0; i < len; i += 8) {
		__u64 w = 0;

		memcpy(&w, p + i, len - i < 8 ? len - i : 8);
		h = weft_mix(h, w);
	}
	return weft_mix(h, len);
}

__u64 weft_hash_entry(__u64 so_far, __u64 key, const __u64 *value)
{
	so_far = weft_mix(so_far, key);
	return value ? weft_mix(so_far, *value) : so_far;
}

__u32 weft_hash_addr(const struct weft_addr *addr, __u32 port)
{
	return weft_addr_hash(addr, port);
}

__u64 weft_hash_head(const void *head, __u32 len)
{
	const __u64 *key = weft_state_head()->head_key;
	const __u8 *p = head;
	__u64 h = len;

	if (len > WEFT_HEAD_MAX)
		return 0;
	for (__u32 o = 0; o < len; o += 8)
		h += weft_head_term(weft_word_at(p + o, len - o), key[o / 8]);
	return h;
}

__u32 weft_hash_cell(__u32 pod, __u32 id)
{
	return weft_cell_hash(pod, id);
}

/* ---- state ---- */

static __u32 weft_align(__u64 n)
{
	return (__u32)((n + 4095) & ~4095ull);
}

/* The key of the heads' hash, in the pieces that getrandom() gives whole. */
static int weft_head_key_make(struct weft_state_head *h)
{
	for (size_t i = 0; i < sizeof(h->head_key); i += 256)
		if (getrandom((__u8 *)h->head_key + i, 256, 0) != 256)
			return -EIO;
	return 0;
}
static_assert(sizeof(((struct weft_state_head *)0)->head_key) % 256 == 0, "pieces");

int weft_state_layout(void *state, __u32 size, __u32 n_slot, __u32 n_cell, __u32 n_head)
{
	struct weft_state_head *h = state;
	__u64 n_dir = 64, end;

	while (n_dir < 2ull * n_cell)
		n_dir *= 2;
	h->magic = WEFT_STATE_MAGIC;
	h->abi = WEFT_ABI_VERSION;
	h->n_slot = n_slot;
	h->n_dir = (__u32)n_dir;
	h->n_cell = n_cell;
	h->n_head = n_head;
	h->pod_use = weft_align(sizeof(*h));
	h->pod_slots_max = n_slot;
	h->pod_origs_max = n_slot * WEFT_ORIGS_PER_SLOT;
	h->pod_runs_max = n_head > WEFT_HEADS_PER_POD_RUN ? n_head / WEFT_HEADS_PER_POD_RUN : 1;
	h->slot = weft_align(h->pod_use + (WEFT_PODS_MAX + 1ull) * sizeof(struct weft_pod_use));
	end = (__u64)h->slot + (__u64)n_slot * sizeof(struct weft_slot);
	h->dir = weft_align(end);
	end = (__u64)h->dir + n_dir * sizeof(struct weft_dir_ent);
	h->cell = weft_align(end);
	end = (__u64)h->cell + (__u64)n_cell * WEFT_CELL_SIZE;
	h->head = weft_align(end);
	end = (__u64)h->head + (__u64)n_head * WEFT_HEAD_STRIDE;
	if (end > size || n_slot > WEFT_LIST_INDEX || n_head > WEFT_LIST_INDEX || n_slot < 2 ||
	    n_cell < 2 || n_head < 2)
		return -ENOSPC;
	for (__u32 i = n_slot - 1; i; i--) {
		struct weft_slot *s = (struct weft_slot *)((__u8 *)state + h->slot) + i;

		s->next = (__u32)h->slot_free & WEFT_LIST_INDEX;
		h->slot_free = i;
	}
	for (__u32 i = n_head - 1; i; i--) {
		__u8 *p = (__u8 *)state + h->head + (size_t)i * WEFT_HEAD_STRIDE;
		__u32 next = (__u32)h->head_free & WEFT_LIST_INDEX;

		memcpy(p, &next, sizeof(next));
		h->head_free = i;
	}
	return weft_head_key_make(h);
}

void weft_slot_put(__u32 slot)
{
	WEFT_STATE_BASE();

	WEFT_ADD(&WEFT_STATE(struct weft_state_head, 0)->slots_used, -1ull);
	weft_list_push(offsetof(struct weft_state_head, slot_free),
		       weft_slot_off(state_base, slot) + (__u32)offsetof(struct weft_slot, next), slot);
}

struct weft_slot *weft_slot_at(__u32 slot)
{
	WEFT_STATE_BASE(NULL);

	return WEFT_STATE(struct weft_slot, weft_slot_off(state_base, slot));
}

struct weft_pod_use *weft_pod_use(__u32 pod)
{
	WEFT_STATE_BASE(NULL);

	return WEFT_STATE(struct weft_pod_use, weft_pod_use_off(state_base, pod, 0));
}

struct weft_cell_bucket *weft_cell_bucket(__u32 cell)
{
	WEFT_STATE_BASE(NULL);

	return WEFT_STATE(struct weft_cell_bucket, cell);
}

struct weft_cell_cluster *weft_cell_cluster(__u32 cell)
{
	WEFT_STATE_BASE(NULL);

	return WEFT_STATE(struct weft_cell_cluster, cell);
}

struct weft_cell_endpoint *weft_cell_endpoint(__u32 cell)
{
	WEFT_STATE_BASE(NULL);

	return WEFT_STATE(struct weft_cell_endpoint, cell);
}

struct weft_cell_filter *weft_cell_filter(__u32 cell)
{
	WEFT_STATE_BASE(NULL);

	return WEFT_STATE(struct weft_cell_filter, cell);
}

struct weft_state_head *weft_state_head(void)
{
	return (struct weft_state_head *)(void *)weft_bound.state;
}

const void *weft_img_at(__u32 off)
{
	WEFT_IMG_BASE(NULL);

	return WEFT_IMG(void, off);
}

static __u32 weft_img_off(const void *p)
{
	return (__u32)((const __u8 *)p - weft_bound.img);
}

bool weft_bucket_take(__u32 cell, const struct weft_img_bucket *bucket, __u64 now_ns)
{
	return weft_bucket_take_at(cell, weft_img_off(bucket), now_ns) > 0;
}

__u64 weft_bucket_level(__u32 cell, const struct weft_img_bucket *bucket, __u64 now_ns)
{
	__u64 now = weft_bucket_now(now_ns), word = WEFT_READ(weft_cell_bucket(cell)->word), base;

	if (!bucket->cost)
		return 0;
	base = weft_bucket_base(word, now, bucket->full);
	return base > now ? 0 : (now - base) / bucket->cost;
}

/* As weft_place_take_at(), for a word anywhere, and without a number of tries. */
bool weft_place_take(__u32 *word, __u32 max)
{
	__u32 old = __atomic_load_n(word, __ATOMIC_RELAXED);

	do {
		if (old >= max)
			return false;
	} while (!__atomic_compare_exchange_n(word, &old, old + 1, true, __ATOMIC_SEQ_CST,
					      __ATOMIC_RELAXED));
	return true;
}

void weft_place_put(__u32 *word)
{
	if ((__s32)__atomic_fetch_sub(word, 1, __ATOMIC_SEQ_CST) <= 0)
		__atomic_fetch_add(word, 1, __ATOMIC_SEQ_CST);
}

int weft_conn_rbac(const struct weft_ctx *ctx, __u32 chain)
{
	__u32 need = 0;

	return weft_conn_rbac_run(ctx, chain, WEFT_CONN_CELLS, &need) ?
		       2 :
		       weft_conn_rbac_run(ctx, chain, WEFT_CONN_COUNT, &need);
}

/* ---- requests and replies ---- */

int weft_http1_parse(struct weft_req *req)
{
	req->remote.family = 0;
	return weft_http1_native(req);
}

int weft_req_set_path(struct weft_req *req, const void *path, __u32 len)
{
	const __u8 *p = path, *q;

	if (p < req->head || !len || *p != '/')
		return -EINVAL;
	q = memchr(p, '?', len);
	req->value[WEFT_VALUE_PATH] = (struct weft_span){ (__u32)(p - req->head), len };
	req->path = (struct weft_span){ (__u32)(p - req->head), q ? (__u32)(q - p) : len };
	req->flags &= ~WEFT_REQ_PATH_ODD;
	return 0;
}

void weft_ctx_source(const struct weft_ctx *ctx, struct weft_sockaddr *ret)
{
	*ret = ctx->src;
	weft_source_of(ctx, &ret->addr);
}

int weft_reply_plan(const struct weft_req *req, const struct weft_ctx *ctx,
		    struct weft_reply_plan *plan)
{
	(void)ctx;
	/* text[] is the one thing of a request that a plan writes */
	return weft_reply_put((struct weft_req *)(uintptr_t)req, plan);
}

bool weft_reply_is_formed(const struct weft_req *req)
{
	return (req->dec.reply &&
		(req->n_told || req->hcm_flags & WEFT_HCM_REQUEST_ID_IN_RESPONSE)) ||
	       weft_reply_formed((struct weft_req *)(uintptr_t)req);
}

void weft_reply_write(const struct weft_req *req, const struct weft_reply_plan *plan, void *out)
{
	const struct weft_state_head *h = weft_state_head();
	__u8 *p = out;

	for (__u32 i = 0; i < plan->n; i++) {
		const struct weft_seg *s = &plan->seg[i];
		const void *from = NULL;

		if (s->kind == WEFT_SEG_IMAGE)
			from = weft_img_at(s->off);
		else if (s->kind == WEFT_SEG_HEAD)
			from = req->head + s->off;
		else if (s->kind == WEFT_SEG_TEXT)
			from = req->text + s->off;
		else
			from = h->date[WEFT_READ(h->date_which) & 1];
		memcpy(p, from, s->len);
		p += s->len;
	}
}

bool weft_header_holds(struct weft_req *req, __u32 cond)
{
	return weft_cond_header(req, cond);
}

int weft_http1_inspect(const __u8 *p, __u32 len)
{
	const __u8 *lf = memchr(p, '\n', len);
	__u32 end = lf ? (__u32)(lf - p) : len, pos = 0;

	while (pos < end && weft_is_token(p[pos]))
		pos++;
	if (len && (!pos || (pos < end && p[pos] != ' ' && p[pos] != '\t' && p[pos] != '\r')))
		return WEFT_PROTO_RAW;
	if (!lf || end >= WEFT_INSPECT_MAX)
		return -EAGAIN;
	struct weft_span method = {0, pos}, target = weft_island(p, &pos, end), version;
	bool is_connect = method.len == 7 && !memcmp(p, "CONNECT", 7);

	if (!target.len || !weft_target_ok(p, target, is_connect))
		return WEFT_PROTO_RAW;
	version = weft_island(p, &pos, end);
	if (!weft_version_ok(p, version) || weft_island(p, &pos, end).len)
		return WEFT_PROTO_RAW;
	return version.len && !memcmp(p + version.off, "HTTP/1.1", 8) ? WEFT_PROTO_HTTP11
								      : WEFT_PROTO_HTTP10;
}

/* ---- names ---- */

#define WEFT_NAME_ROW(n, m, d) m,

const char *weft_outcome_name(enum weft_outcome outcome)
{
	static const char *const name[] = { WEFT_OUTCOMES(WEFT_NAME_ROW) };

	return (__u32)outcome < WEFT_OUTCOME__MAX ? name[outcome] : "unknown";
}

const char *weft_handed_name(enum weft_handed handed)
{
	static const char *const name[] = { WEFT_HANDED(WEFT_NAME_ROW) };

	return (__u32)handed < WEFT_HANDED__MAX ? name[handed] : "unknown";
}

const char *weft_class_name(enum weft_class class_id)
{
	static const char *const name[] = { WEFT_CLASSES(WEFT_NAME_ROW) };

	return (__u32)class_id < WEFT_CLASS__MAX ? name[class_id] : "unknown";
}

void weft_req_strip_host(struct weft_req *req, const struct weft_ctx *ctx)
{
	if (req->hcm_flags & (WEFT_HCM_STRIP_ANY_PORT | WEFT_HCM_STRIP_MATCHING_PORT |
			      WEFT_HCM_STRIP_TRAILING_DOT))
		weft_host_strip(req, ctx->dst.port);
}
