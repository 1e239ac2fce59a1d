// SPDX-License-Identifier: Apache-2.0
/* Buckets of local rate limits' descriptors: of all pods, for all workers. */
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "agent/proxy/rates.h"

#define SHARDS 64u
/* A shard with more groups than this looks for ones that are as good as not there. */
#define GROUPS_MIN 16u

struct bucket {
	TAILQ_ENTRY(bucket) link;
	uint64_t word, full;
	uint32_t len;
	uint8_t key[];
};

/* The buckets of one descriptor of one limit in one pod, last used first. */
struct group {
	LIST_ENTRY(group) link;
	uint32_t pod, id, index, n;
	TAILQ_HEAD(bucket_list, bucket) buckets;
};

struct shard {
	pthread_mutex_t lock;
	LIST_HEAD(, group) groups;
	uint32_t n, sweep_at;
};

struct rates {
	struct weft_rates base;
	struct shard shard[SHARDS];
};

static void bucket_drop(struct group *g, struct bucket *b)
{
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
	free(g);
}

/* A bucket that has filled up is as good as one that is not there: so nothing stays of what is
 * gone. */
static void sweep(struct shard *s, uint64_t now_ns)
{
	struct group *g, *next_group;
	struct bucket *b, *next;

	for (g = LIST_FIRST(&s->groups); g; g = next_group) {
		next_group = LIST_NEXT(g, link);
		for (b = TAILQ_FIRST(&g->buckets); b; b = next) {
			next = TAILQ_NEXT(b, link);
			if (weft_bucket_is_full(b->word, b->full, now_ns))
				bucket_drop(g, b);
		}
		if (!g->n)
			group_drop(s, g);
	}
	s->sweep_at = 2 * s->n > GROUPS_MIN ? 2 * s->n : GROUPS_MIN;
}

static struct group *group_find(struct shard *s, const struct weft_rate_ask *a)
{
	struct group *g;

	LIST_FOREACH(g, &s->groups, link)
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
	if (!g)
		return NULL;
	g->pod = a->pod;
	g->id = a->id;
	g->index = a->index;
	TAILQ_INIT(&g->buckets);
	LIST_INSERT_HEAD(&s->groups, g, link);
	s->n++;
	return g;
}

static struct bucket *bucket_find(struct group *g, const struct weft_rate_ask *a)
{
	struct bucket *b;

	TAILQ_FOREACH(b, &g->buckets, link)
	{
		if (b->len != a->key_len || memcmp(b->key, a->key, a->key_len))
			continue;
		TAILQ_REMOVE(&g->buckets, b, link);
		TAILQ_INSERT_HEAD(&g->buckets, b, link);
		return b;
	}
	return NULL;
}

static struct bucket *bucket_make(struct group *g, const struct weft_rate_ask *a)
{
	struct bucket *b;

	while (g->n >= a->max)
		bucket_drop(g, TAILQ_LAST(&g->buckets, bucket_list));
	b = malloc(sizeof(*b) + a->key_len);
	if (!b)
		return NULL;
	b->word = 0;
	b->full = a->bucket->full;
	b->len = a->key_len;
	memcpy(b->key, a->key, a->key_len);
	TAILQ_INSERT_HEAD(&g->buckets, b, link);
	g->n++;
	return b;
}

static int pay(struct weft_rates *rates, const struct weft_rate_ask *a, __u64 *ret)
{
	struct rates *r = (struct rates *)rates;
	struct shard *s = &r->shard[(a->pod * 31 + a->id * 7 + a->index) % SHARDS];
	struct bucket *b = NULL;
	struct group *g;
	int paid = 0;

	pthread_mutex_lock(&s->lock);
	g = group_find(s, a);
	if (!g && a->take)
		g = group_make(s, a);
	if (g)
		b = bucket_find(g, a);
	if (g && !b && a->take)
		b = bucket_make(g, a);
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

int rates_new(struct weft_rates **ret)
{
	struct rates *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	r->base.pay = pay;
	for (uint32_t i = 0; i < SHARDS; i++) {
		pthread_mutex_init(&r->shard[i].lock, NULL);
		LIST_INIT(&r->shard[i].groups);
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

	for (uint32_t i = 0; i < SHARDS; i++) {
		pthread_mutex_lock(&r->shard[i].lock);
		LIST_FOREACH(g, &r->shard[i].groups, link)
		n += g->n;
		pthread_mutex_unlock(&r->shard[i].lock);
	}
	return n;
}

void rates_free(struct weft_rates *rates)
{
	struct rates *r = (struct rates *)rates;

	for (uint32_t i = 0; r && i < SHARDS; i++) {
		while (!LIST_EMPTY(&r->shard[i].groups))
			group_drop(&r->shard[i], LIST_FIRST(&r->shard[i].groups));
		pthread_mutex_destroy(&r->shard[i].lock);
	}
	free(r);
}
