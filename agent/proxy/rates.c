// SPDX-License-Identifier: Apache-2.0
/* Buckets of local rate limits' descriptors: of all pods, for all workers. */
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/random.h>

#include "agent/proxy/rates.h"

#define SHARDS 64u
/* Groups of a shard are found by hash too. */
#define CHAINS 64u
/* A shard with more groups than this looks for ones that are as good as not there. */
#define GROUPS_MIN 16u
/* Chains of a group's first table: most have one bucket. */
#define TABLE_MIN 1u

struct bucket {
	TAILQ_ENTRY(bucket) link;
	struct bucket *next; /* of its group's table */
	uint64_t word, full;
	uint32_t hash;
	uint32_t len;
	uint8_t key[];
};

/* The buckets of one descriptor of one limit in one pod, last used first. */
struct group {
	LIST_ENTRY(group) link;
	uint32_t pod, id, index, n;
	TAILQ_HEAD(bucket_list, bucket) buckets;
	struct bucket **table; /* chains by hash, as many as a power of two */
	uint32_t size;
};

struct shard {
	pthread_mutex_t lock;
	LIST_HEAD(group_list, group) groups[CHAINS];
	uint32_t n, sweep_at;
};

struct rates {
	struct weft_rates base;
	struct weft_store *store;
	uint32_t seed;
	struct shard shard[SHARDS];
};

static struct bucket **place_of(struct group *g, uint32_t hash)
{
	return &g->table[hash & (g->size - 1)];
}

static void bucket_drop(struct group *g, struct bucket *b)
{
	struct bucket **at = place_of(g, b->hash);

	while (*at != b)
		at = &(*at)->next;
	*at = b->next;
	TAILQ_REMOVE(&g->buckets, b, link);
	g->n--;
	free(b);
}

static void group_drop(struct shard *s, struct group *g)
{
	while (!TAILQ_EMPTY(&g->buckets))
		bucket_drop(g, TAILQ_FIRST(&g->buckets));
	LIST_REMOVE(g, link);
	s->n--;
	free(g->table);
	free(g);
}

static struct shard *shard_of(struct rates *r, const struct weft_rate_ask *a)
{
	return &r->shard[(a->pod * 31 + a->id * 7 + a->index) % SHARDS];
}

static struct group_list *chain_of(struct shard *s, const struct weft_rate_ask *a)
{
	return &s->groups[(a->pod * 0x9e3779b1u + a->id * 0x85ebca6bu + a->index) >> 26 &
			  (CHAINS - 1)];
}

/* A bucket that has filled up is as good as one that is not there: so nothing stays of what is
 * gone. */
static void sweep(struct shard *s, uint64_t now_ns)
{
	struct group *g, *next_group;
	struct bucket *b, *next;

	for (uint32_t i = 0; i < CHAINS; i++) {
		for (g = LIST_FIRST(&s->groups[i]); g; g = next_group) {
			next_group = LIST_NEXT(g, link);
			for (b = TAILQ_FIRST(&g->buckets); b; b = next) {
				next = TAILQ_NEXT(b, link);
				if (weft_bucket_is_full(b->word, b->full, now_ns))
					bucket_drop(g, b);
			}
			if (!g->n)
				group_drop(s, g);
		}
	}
	s->sweep_at = 2 * s->n > GROUPS_MIN ? 2 * s->n : GROUPS_MIN;
}

static struct group *group_find(struct shard *s, const struct weft_rate_ask *a)
{
	struct group *g;

	LIST_FOREACH(g, chain_of(s, a), link)
	{
		if (g->pod == a->pod && g->id == a->id && g->index == a->index)
			return g;
	}
	return NULL;
}

static struct group *group_make(struct shard *s, const struct weft_rate_ask *a)
{
	struct group *g;

	if (s->n >= s->sweep_at)
		sweep(s, a->now_ns);
	g = calloc(1, sizeof(*g));
	if (g)
		g->table = calloc(TABLE_MIN, sizeof(*g->table));
	if (!g || !g->table) {
		free(g);
		return NULL;
	}
	g->size = TABLE_MIN;
	g->pod = a->pod;
	g->id = a->id;
	g->index = a->index;
	TAILQ_INIT(&g->buckets);
	LIST_INSERT_HEAD(chain_of(s, a), g, link);
	s->n++;
	return g;
}

/* FNV-1a from where nobody who sends the values knows. */
static uint32_t hash_of(const struct rates *r, const struct weft_rate_ask *a)
{
	const uint8_t *p = a->key;
	uint32_t h = r->seed;

	for (uint32_t i = 0; i < a->key_len; i++)
		h = (h ^ p[i]) * 16777619u;
	return h ^ h >> 15;
}

static struct bucket *bucket_find(struct group *g, const struct weft_rate_ask *a, uint32_t hash)
{
	struct bucket *b = *place_of(g, hash);

	while (b && (b->hash != hash || b->len != a->key_len || memcmp(b->key, a->key, a->key_len)))
		b = b->next;
	if (b) {
		TAILQ_REMOVE(&g->buckets, b, link);
		TAILQ_INSERT_HEAD(&g->buckets, b, link);
	}
	return b;
}

/* Without memory for a larger table its chains grow longer. */
static void table_grow(struct group *g)
{
	struct bucket **bigger = calloc((size_t)g->size * 2, sizeof(*bigger)), *b;

	if (!bigger)
		return;
	free(g->table);
	g->table = bigger;
	g->size *= 2;
	TAILQ_FOREACH(b, &g->buckets, link)
	{
		b->next = *place_of(g, b->hash);
		*place_of(g, b->hash) = b;
	}
}

static struct bucket *bucket_make(struct group *g, const struct weft_rate_ask *a, uint32_t hash)
{
	struct bucket *b;

	while (g->n >= a->max)
		bucket_drop(g, TAILQ_LAST(&g->buckets, bucket_list));
	if (g->n >= g->size)
		table_grow(g);
	b = malloc(sizeof(*b) + a->key_len);
	if (!b)
		return NULL;
	b->word = 0;
	b->full = a->bucket->full;
	b->hash = hash;
	b->len = a->key_len;
	memcpy(b->key, a->key, a->key_len);
	b->next = *place_of(g, hash);
	*place_of(g, hash) = b;
	TAILQ_INSERT_HEAD(&g->buckets, b, link);
	g->n++;
	return b;
}

static int pay(struct weft_rates *rates, const struct weft_rate_ask *a, __u64 *ret)
{
	struct rates *r = (struct rates *)rates;
	struct shard *s = shard_of(r, a);
	uint32_t hash = hash_of(r, a);
	struct bucket *b = NULL;
	struct group *g;
	int paid = 0;

	pthread_mutex_lock(&s->lock);
	g = group_find(s, a);
	if (!g && a->take)
		g = group_make(s, a);
	if (g)
		b = bucket_find(g, a, hash);
	if (g && !b && a->take)
		b = bucket_make(g, a, hash);
	*ret = b ? b->word : 0;
	/* without memory for its bucket a request is refused: a limit is never passed by */
	if (b || !a->take)
		paid = weft_bucket_pay(ret, a->bucket, a->hits, a->now_ns);
	if (b && a->take)
		b->word = *ret;
	else if (!a->take)
		*ret = b ? b->word : 0;
	pthread_mutex_unlock(&s->lock);
	return paid;
}

/* Whoever was given a bucket here for want of cells stays with it: a second one would be full. */
static uint32_t cell(struct weft_rates *rates, uint32_t pod, uint32_t id)
{
	struct rates *r = (struct rates *)rates;
	const struct weft_rate_ask a = {.pod = pod, .id = id};
	struct shard *s = shard_of(r, &a);
	uint32_t made = 0;

	pthread_mutex_lock(&s->lock);
	if (!group_find(s, &a))
		made = weft_store_cell_spare(r->store, pod, id);
	pthread_mutex_unlock(&s->lock);
	return made;
}

int rates_new(struct weft_store *store, struct weft_rates **ret)
{
	struct rates *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	r->base.pay = pay;
	r->base.cell = store ? cell : NULL;
	r->store = store;
	if (getrandom(&r->seed, sizeof(r->seed), GRND_NONBLOCK) < 0)
		r->seed = 2166136261u;
	for (uint32_t i = 0; i < SHARDS; i++) {
		pthread_mutex_init(&r->shard[i].lock, NULL);
		for (uint32_t k = 0; k < CHAINS; k++)
			LIST_INIT(&r->shard[i].groups[k]);
		r->shard[i].sweep_at = GROUPS_MIN;
	}
	*ret = &r->base;
	return 0;
}

uint32_t rates_count(struct weft_rates *rates)
{
	struct rates *r = (struct rates *)rates;
	struct group *g;
	uint32_t n = 0;

	for (uint32_t i = 0; i < SHARDS * CHAINS; i++) {
		struct shard *s = &r->shard[i / CHAINS];

		pthread_mutex_lock(&s->lock);
		LIST_FOREACH(g, &s->groups[i % CHAINS], link)
		n += g->n;
		pthread_mutex_unlock(&s->lock);
	}
	return n;
}

void rates_pod_drop(struct weft_rates *rates, uint32_t pod)
{
	struct rates *r = (struct rates *)rates;

	for (uint32_t i = 0; i < SHARDS * CHAINS; i++) {
		struct shard *s = &r->shard[i / CHAINS];
		struct group *g, *next;

		pthread_mutex_lock(&s->lock);
		for (g = LIST_FIRST(&s->groups[i % CHAINS]); g; g = next) {
			next = LIST_NEXT(g, link);
			if (g->pod == pod)
				group_drop(s, g);
		}
		pthread_mutex_unlock(&s->lock);
	}
}

void rates_free(struct weft_rates *rates)
{
	struct rates *r = (struct rates *)rates;

	for (uint32_t i = 0; r && i < SHARDS; i++) {
		for (uint32_t k = 0; k < CHAINS; k++) {
			while (!LIST_EMPTY(&r->shard[i].groups[k]))
				group_drop(&r->shard[i], LIST_FIRST(&r->shard[i].groups[k]));
		}
		pthread_mutex_destroy(&r->shard[i].lock);
	}
	free(r);
}
