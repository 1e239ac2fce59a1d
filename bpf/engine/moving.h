/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/*
 * Hosts by what they have to do at the moment: least request by weight or among many, slow start,
 * bounded load of consistent hashing. Natively only: programs leave the hosts of such clusters to
 * the agent.
 */

#include "bpf/engine/cell.h"

#ifndef __bpf__

#include <math.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/queue.h>

#include "bpf/engine/heap.h"

/* Sets of hosts that have a schedule at the same time, of all pods; the one that was unused longest
 * begins anew. */
#define WEFT_TURNS_MAX 4096u
#define WEFT_TURNS_BUCKETS 1024u
#define WEFT_TURNS_APART 1e-13

static const struct weft_img_endpoint *weft_host_of(__u32 endpoints, __u32 set, __u32 h,
						    __u32 *ret_index)
{
	const struct weft_img_endpoints *e = weft_img_at(endpoints);
	const struct weft_img_host_set *s = weft_img_at(set);

	*ret_index = ((const __u32 *)weft_img_at(s->host))[h];
	return (const struct weft_img_endpoint *)weft_img_at(e->endpoint) + *ret_index;
}

static __u32 weft_host_active(const struct weft_ctx *ctx, const struct weft_img_endpoint *e)
{
	__u32 cell = weft_cell_find(ctx->pod, e->cell);

	return cell ? __atomic_load_n(&weft_cell_endpoint(cell)->rq_active, __ATOMIC_RELAXED) : 0;
}

/* ---- bounded load (hash_balance_factor) ---- */

/* MT19937 (Matsumoto, Nishimura 1998), which Envoy shuffles by. */
#define WEFT_MT_N 624u
#define WEFT_MT_M 397u
struct weft_mt {
	__u32 x[WEFT_MT_N], at;
};

static void weft_mt_seed(struct weft_mt *m, __u32 seed)
{
	m->x[0] = seed;
	for (__u32 i = 1; i < WEFT_MT_N; i++)
		m->x[i] = 1812433253u * (m->x[i - 1] ^ m->x[i - 1] >> 30) + i;
	m->at = WEFT_MT_N;
}

static __u32 weft_mt_next(struct weft_mt *m)
{
	__u32 y;

	if (m->at == WEFT_MT_N) {
		for (__u32 i = 0; i < WEFT_MT_N; i++) {
			y = (m->x[i] & 0x80000000u) | (m->x[(i + 1) % WEFT_MT_N] & 0x7fffffffu);
			m->x[i] = m->x[(i + WEFT_MT_M) % WEFT_MT_N] ^ y >> 1 ^
				  (y & 1 ? 0x9908b0dfu : 0);
		}
		m->at = 0;
	}
	y = m->x[m->at++];
	y ^= y >> 11;
	y ^= y << 7 & 0x9d2c5680u;
	y ^= y << 15 & 0xefc60000u;
	return y ^ y >> 18;
}

/* Below k, each as likely: the rest of 2^32 / k is drawn again. */
static __u32 weft_mt_below(struct weft_mt *m, __u32 k)
{
	__u32 part = (__u32)((1ull << 32) / k), x;

	if (k == 1) { /* 2^32 has no room: the draw is taken all the same */
		weft_mt_next(m);
		return 0;
	}
	do
		x = weft_mt_next(m) / part;
	while (x >= k);
	return x;
}

struct weft_bound_load {
	const struct weft_ctx *ctx;
	__u32 endpoints, set;
	__u32 slots; /* of all hosts */
	const double *share;
};

/* Active requests of host h for each that it may have; above 1 it is overloaded. */
static double weft_overload(const struct weft_bound_load *b, __u32 h)
{
	__u32 index, slots;
	const struct weft_img_endpoint *e = weft_host_of(b->endpoints, b->set, h, &index);

	slots = (__u32)ceil(b->slots * b->share[h]);
	return (double)weft_host_active(b->ctx, e) / (slots ? slots : 1);
}

/* The host for a hash whose own is h: indexes into the set's hosts. */
static __u32 weft_bounded(const struct weft_ctx *ctx, const struct weft_img_cluster *c,
			  __u32 endpoints, __u32 set, __u64 hash, __u32 h)
{
	const struct weft_img_host_set *s = weft_img_at(set);
	__u32 cell = weft_cell_find(ctx->pod, c->cell), n = s->n_host, best = h, *order;
	const struct weft_cell_cluster *a = cell ? weft_cell_cluster(cell) : NULL;
	__u32 active = a ? WEFT_READ(a->rq_active[0]) + WEFT_READ(a->rq_active[1]) : 0;
	struct weft_bound_load b = {.ctx = ctx, .endpoints = endpoints, .set = set};
	struct weft_mt mt;
	double least;

	if (!c->balance_factor || !s->share || n < 2)
		return h;
	b.slots = ((active + 1) * c->balance_factor + 99) / 100; /* 32 bits, as Envoy's */
	b.share = weft_img_at(s->share);
	least = weft_overload(&b, h);
	order = least > 1 ? malloc(n * sizeof(*order)) : NULL;
	for (__u32 i = 0; order && i < n; i++)
		order[i] = i;
	if (order)
		weft_mt_seed(&mt, (__u32)hash);
	for (__u32 i = 0; order && i < n && least > 1; i++) {
		__u32 j = i + weft_mt_below(&mt, n - i), k = order[j];
		double load;

		order[j] = order[i];
		order[i] = k;
		if (k == h)
			continue;
		load = weft_overload(&b, k);
		if (load <= 1 || load < least) {
			best = k;
			least = load;
		}
	}
	free(order);
	return best;
}

/* ---- weights that move ---- */

/* Milliseconds that a host has been in slow start; the window when it is not. */
static __u64 weft_slow_age(const struct weft_ctx *ctx, const struct weft_img_moving *m,
			   __u32 endpoints, __u32 index)
{
	__u32 off = ((const struct weft_img_endpoints *)weft_img_at(endpoints))->since;
	__u64 since = off ? ((const __u64 *)weft_img_at(off))[index] : 0, age;

	if (!since || !m->window_ms)
		return m->window_ms;
	age = ctx->now_ns > since ? (ctx->now_ns - since) / 1000000 : 0;
	return age < m->window_ms ? age : m->window_ms;
}

static double weft_slow_part(const struct weft_img_moving *m, __u64 age)
{
	double t = (double)(age ? age : 1) / m->window_ms;

	if (m->aggression != 1)
		t = pow(t, 1 / m->aggression);
	return t > m->least ? t : m->least;
}

static double weft_weight_now(const struct weft_ctx *ctx, const struct weft_img_moving *m,
			      __u32 endpoints, __u32 set, __u32 h)
{
	__u32 index;
	const struct weft_img_endpoint *e = weft_host_of(endpoints, set, h, &index);
	__u64 age = weft_slow_age(ctx, m, endpoints, index);
	double w = e->weight;

	if (m->bias == 1)
		w /= (double)weft_host_active(ctx, e) + 1;
	else if (m->bias != 0)
		w /= pow((double)weft_host_active(ctx, e) + 1, m->bias);
	return age < m->window_ms ? w * weft_slow_part(m, age) : w;
}

/* ---- turns ---- */

struct weft_turn {
	double due;
	__u64 order; /* of insertion: of two that are due at once, who came first */
	__u32 host;  /* index into the set's hosts */
};
/* The schedule of one set of hosts in one pod. */
struct weft_turns_set {
	LIST_ENTRY(weft_turns_set) same; /* bucket */
	TAILQ_ENTRY(weft_turns_set) recent;
	__u32 pod, epoch;
	__u32 endpoints, set; /* clusters may have sets in common, but no endpoints */
	__u64 mark;	      /* of what the hosts were when it was made */
	double now;
	__u64 order;
	__u32 n; /* 0: all weigh the same, and none is in slow start */
	struct weft_turn turn[];
};
LIST_HEAD(weft_turns_bucket, weft_turns_set);
TAILQ_HEAD(weft_turns_list, weft_turns_set);
struct weft_turns {
	pthread_mutex_t lock;
	struct weft_turns_bucket bucket[WEFT_TURNS_BUCKETS];
	struct weft_turns_list recent; /* last used first */
	__u32 n;
};

struct weft_turns *weft_turns_new(void)
{
	struct weft_turns *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	pthread_mutex_init(&t->lock, NULL);
	TAILQ_INIT(&t->recent);
	return t;
}

static void weft_turns_drop(struct weft_turns *t, struct weft_turns_set *s)
{
	LIST_REMOVE(s, same);
	TAILQ_REMOVE(&t->recent, s, recent);
	t->n--;
	free(s);
}

void weft_turns_free(struct weft_turns *t)
{
	if (!t)
		return;
	while (!TAILQ_EMPTY(&t->recent))
		weft_turns_drop(t, TAILQ_FIRST(&t->recent));
	pthread_mutex_destroy(&t->lock);
	free(t);
}

static bool weft_turn_before(const struct weft_turn *a, const struct weft_turn *b)
{
	return a->due < b->due || (a->due == b->due && a->order < b->order);
}

WEFT_HEAP_SINK(weft_turn_sink, struct weft_turn, weft_turn_before)

/* The host that is due; its next turn comes by its weight of now. */
static __u32 weft_turn_next(const struct weft_ctx *ctx, const struct weft_img_moving *m,
			    __u32 endpoints, struct weft_turns_set *s)
{
	struct weft_turn *t = s->turn;
	__u32 host = t->host;

	s->now = t->due;
	t->due = s->now + 1 / weft_weight_now(ctx, m, endpoints, s->set, host);
	t->order = s->order++;
	weft_turn_sink(t, s->n, 0);
	return host;
}

/*
 * As after a random number of turns, as Envoy begins: whole rounds by the weights, what is left one
 * by one. Weights a little above what they are keep those apart that would be due at once, where
 * rounding would change their order.
 */
static void weft_turns_begin(const struct weft_ctx *ctx, const struct weft_img_moving *m,
			     __u32 endpoints, struct weft_turns_set *s)
{
	__u32 picks = (__u32)(weft_random() >> 36), left = picks;
	double sum = 0;

	/* each is asked for once: load that moves meanwhile would leave millions of turns over */
	for (__u32 i = 0; i < s->n; i++) {
		s->turn[i].due =
			weft_weight_now(ctx, m, endpoints, s->set, i) + WEFT_TURNS_APART;
		sum += s->turn[i].due;
	}
	for (__u32 i = 0; i < s->n; i++) {
		double w = s->turn[i].due;
		__u32 had = (__u32)(w * picks / sum);

		if (had && had / w >= picks / sum)
			had--;
		s->turn[i] =
			(struct weft_turn){.due = (had + 1) / w, .order = s->order++, .host = i};
		left -= had;
	}
	for (__u32 i = s->n; i-- > 0;)
		weft_turn_sink(s->turn, s->n, i);
	for (; left; left--)
		weft_turn_next(ctx, m, endpoints, s);
}

/* What a schedule depends on: who the hosts are, their weights and when their slow starts began. */
static __u64 weft_turns_mark(__u32 endpoints, __u32 set)
{
	const struct weft_img_host_set *s = weft_img_at(set);
	__u32 off = ((const struct weft_img_endpoints *)weft_img_at(endpoints))->since;
	const __u64 *since = off ? weft_img_at(off) : NULL;
	__u64 mark = s->n_host;

	for (__u32 i = 0; i < s->n_host; i++) {
		__u32 index;
		const struct weft_img_endpoint *e = weft_host_of(endpoints, set, i, &index);

		mark = weft_hash_xx64(&e->addr, sizeof(e->addr), mark + e->weight);
		mark = weft_hash_xx64(since ? &since[index] : &mark, 8, mark);
	}
	return mark;
}

static bool weft_turns_needed(const struct weft_ctx *ctx, const struct weft_img_moving *m,
			      __u32 endpoints, __u32 set)
{
	const struct weft_img_host_set *s = weft_img_at(set);

	for (__u32 i = 0; i < s->n_host; i++) {
		__u32 index, first;
		const struct weft_img_endpoint *e = weft_host_of(endpoints, set, i, &index);

		if (e->weight != weft_host_of(endpoints, set, 0, &first)->weight ||
		    weft_slow_age(ctx, m, endpoints, index) < m->window_ms)
			return true;
	}
	return false;
}

/* Under the lock. NULL: no memory. */
static struct weft_turns_set *weft_turns_of(const struct weft_ctx *ctx,
					    const struct weft_img_moving *m, __u32 endpoints,
					    __u32 set)
{
	__u32 n = ((const struct weft_img_host_set *)weft_img_at(set))->n_host;
	struct weft_turns *t = ctx->turns;
	struct weft_turns_bucket *b =
		&t->bucket[weft_mix(ctx->pod, (__u64)endpoints << 32 | set) % WEFT_TURNS_BUCKETS];
	struct weft_turns_set *s;
	__u64 mark = 0;

	LIST_FOREACH(s, b, same)
	if (s->pod == ctx->pod && s->endpoints == endpoints && s->set == set)
		break;
	if (!s || s->epoch != ctx->epoch)
		mark = weft_turns_mark(endpoints, set);
	if (s && s->epoch != ctx->epoch && s->mark != mark) {
		weft_turns_drop(t, s);
		s = NULL;
	}
	if (s) {
		s->epoch = ctx->epoch;
		TAILQ_REMOVE(&t->recent, s, recent);
		TAILQ_INSERT_HEAD(&t->recent, s, recent);
		return s;
	}
	while (t->n >= WEFT_TURNS_MAX)
		weft_turns_drop(t, TAILQ_LAST(&t->recent, weft_turns_list));
	s = calloc(1, sizeof(*s) + n * sizeof(s->turn[0]));
	if (!s)
		return NULL;
	*s = (struct weft_turns_set){.pod = ctx->pod,
				     .epoch = ctx->epoch,
				     .endpoints = endpoints,
				     .set = set,
				     .mark = mark};
	LIST_INSERT_HEAD(b, s, same);
	TAILQ_INSERT_HEAD(&t->recent, s, recent);
	t->n++;
	if (weft_turns_needed(ctx, m, endpoints, set)) {
		s->n = n;
		weft_turns_begin(ctx, m, endpoints, s);
	}
	return s;
}

/* Without a schedule: a host by the weights of now, which is what turns come to. */
static int weft_weights_draw(const struct weft_ctx *ctx, const struct weft_img_moving *m,
			     __u32 endpoints, __u32 set, __u64 random)
{
	__u32 n = ((const struct weft_img_host_set *)weft_img_at(set))->n_host;
	double sum = 0, at;

	for (__u32 i = 0; i < n; i++)
		sum += weft_weight_now(ctx, m, endpoints, set, i);
	at = (double)(random >> 11) / (double)(1ull << 53) * sum;
	for (__u32 i = 0; i < n; i++) {
		at -= weft_weight_now(ctx, m, endpoints, set, i);
		if (at < 0)
			return (int)i;
	}
	return (int)n - 1;
}

/* Index into the hosts of a set (or of a locality) whose weights move, -1: they do not. */
static int weft_moving_choose(const struct weft_ctx *ctx, __u32 cluster, __u32 endpoints, __u32 set,
			      __u64 random)
{
	const struct weft_img_cluster *c = weft_img_at(cluster);
	const struct weft_img_moving *m = c->moving ? weft_img_at(c->moving) : NULL;
	const struct weft_img_host_set *s = weft_img_at(set);
	struct weft_turns_set *t;
	int h = -1;

	if (!m || s->n_host < 2 || (!s->n_schedule && !m->window_ms))
		return -1;
	if (!ctx->turns)
		return c->flags & WEFT_CLUSTER_AGENT
			       ? weft_weights_draw(ctx, m, endpoints, set, random)
			       : -1;
	pthread_mutex_lock(&ctx->turns->lock);
	t = weft_turns_of(ctx, m, endpoints, set);
	if (t && t->n)
		h = (int)weft_turn_next(ctx, m, endpoints, t);
	pthread_mutex_unlock(&ctx->turns->lock);
	return t ? h : weft_weights_draw(ctx, m, endpoints, set, random);
}

/* ---- least request among more hosts than a program looks at ---- */

/* The best of all hosts, each of several as likely. */
static __u32 weft_least_of_all(const struct weft_ctx *ctx, __u32 endpoints, __u32 set)
{
	__u32 n = ((const struct weft_img_host_set *)weft_img_at(set))->n_host, best = 0, least = 0,
	      ties = 0;

	for (__u32 i = 0; i < n; i++) {
		__u32 index,
			active = weft_host_active(ctx, weft_host_of(endpoints, set, i, &index));

		if (i && active > least)
			continue;
		ties = i && active == least ? ties + 1 : 1;
		if (!(weft_random() % ties)) {
			best = i;
			least = active;
		}
	}
	return best;
}

static __u32 weft_least_of_many(const struct weft_ctx *ctx, __u32 choices, __u32 endpoints,
				__u32 set)
{
	__u32 n = ((const struct weft_img_host_set *)weft_img_at(set))->n_host, best = 0, least = 0;

	/* so many draws leave a host out once in 10^13 times */
	if (choices / 30 >= n)
		return weft_least_of_all(ctx, endpoints, set);
	for (__u32 i = 0; i < choices; i++) {
		__u32 index, h = (__u32)(weft_random() % n);
		__u32 active = weft_host_active(ctx, weft_host_of(endpoints, set, h, &index));

		if (!i || active < least) {
			best = h;
			least = active;
		}
	}
	return best;
}

#endif
