// SPDX-License-Identifier: Apache-2.0
#include "agent/compile/schedule.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#include "bpf/abi/image.h"
#include "bpf/abi/limits.h"
#include "bpf/engine/heap.h"

/* A host in the queue: its k-th turn is due at k / weight. */
struct turn {
	uint64_t k;
	uint32_t weight;
	uint64_t order; /* of insertion: ties go to who came first */
	uint32_t host;
};

static bool before(const struct turn *a, const struct turn *b)
{
	uint64_t x = a->k * b->weight, y = b->k * a->weight;

	return x != y ? x < y : a->order < b->order;
}

WEFT_HEAP_SINK(sift_down, struct turn, before)

uint64_t weft_gcd(uint64_t a, uint64_t b)
{
	while (b) {
		uint64_t t = a % b;

		a = b;
		b = t;
	}
	return a;
}

/* Smallest weights of these proportions, as far as 32 bits hold their sum. Returns the period. */
static uint32_t reduce(struct turn *heap, size_t n)
{
	uint64_t g = 0, sum = 0;

	for (size_t i = 0; i < n; i++) {
		g = weft_gcd(g, heap[i].weight);
		sum += heap[i].weight;
	}
	for (size_t i = 0; i < n; i++)
		heap[i].weight = (uint32_t)(heap[i].weight / g);
	sum /= g;
	while (sum > UINT32_MAX) {
		sum = 0;
		for (size_t i = 0; i < n; i++) {
			heap[i].weight -= heap[i].weight / 2; /* nobody is left out */
			sum += heap[i].weight;
		}
	}
	return (uint32_t)sum;
}

static uint16_t *order_make(struct turn *heap, size_t n, uint32_t period)
{
	uint16_t *out = calloc(period, sizeof(*out));
	uint64_t order = n;

	if (!out)
		return NULL;
	for (size_t i = n; i-- > 0;)
		sift_down(heap, (uint32_t)n, (uint32_t)i);
	for (uint32_t i = 0; i < period; i++) {
		out[i] = (uint16_t)heap[0].host;
		heap[0].k++;
		heap[0].order = order++;
		sift_down(heap, (uint32_t)n, 0);
	}
	return out;
}

struct queue {
	struct turn *v;
	size_t head, end;
};

/* The lightest of what is left to join. Both are in order: pairs come about by weight. */
static struct turn lightest(struct queue *leaf, struct queue *pair)
{
	if (pair->head == pair->end ||
	    (leaf->head < leaf->end && leaf->v[leaf->head].weight <= pair->v[pair->head].weight))
		return leaf->v[leaf->head++];
	return pair->v[pair->head++];
}

static int by_weight(const void *a, const void *b)
{
	const struct turn *x = a, *y = b;

	if (x->weight != y->weight)
		return x->weight < y->weight ? -1 : 1;
	return x->host < y->host ? -1 : 1;
}

/*
 * Huffman's tree of the weights. What is joined later is never lighter, so on the way up from a
 * leaf each weight is at least the sum of the two below it: they grow like Fibonacci's numbers,
 * which bounds the depth (WEFT_SPLITS_MAX) and the sum of all rounding on the way down.
 */
static struct weft_img_split *split_make(struct turn *turn, size_t n)
{
	struct weft_img_split *out = calloc(n - 1, sizeof(*out));
	struct queue leaf = {turn, 0, n}, pair = {calloc(n - 1, sizeof(*turn)), 0, 0};

	if (!out || !pair.v) {
		free(out);
		free(pair.v);
		return NULL;
	}
	for (size_t i = 0; i < n; i++)
		turn[i].host |= WEFT_SPLIT_HOST;
	qsort(turn, n, sizeof(*turn), by_weight);
	for (uint32_t at = (uint32_t)n - 1; at-- > 0;) { /* the last one made is the root */
		struct turn a = lightest(&leaf, &pair), b = lightest(&leaf, &pair);
		uint32_t sum = a.weight + b.weight;

		pair.v[pair.end++] = (struct turn){.weight = sum, .host = at};
		out[at] = (struct weft_img_split){sum, b.weight, {b.host, a.host}};
	}
	free(pair.v);
	return out;
}

int weft_schedule_make(const uint32_t *weight, size_t n, struct weft_schedule *ret)
{
	struct weft_schedule out = {0};
	struct turn *turn;
	bool equal = true;

	for (size_t i = 1; i < n; i++)
		equal = equal && weight[i] == weight[0];
	if (equal) {
		*ret = out;
		return 0;
	}
	turn = calloc(n, sizeof(*turn));
	out.turns = calloc(n, sizeof(*out.turns));
	if (!turn || !out.turns) {
		free(turn);
		free(out.turns);
		return -ENOMEM;
	}
	for (size_t i = 0; i < n; i++)
		turn[i] = (struct turn){.k = 1, .weight = weight[i], .order = i, .host = (uint32_t)i};
	out.period = reduce(turn, n);
	for (size_t i = 0; i < n; i++)
		out.turns[i] = turn[i].weight;
	if (out.period <= WEFT_SCHEDULE_MAX) {
		out.order = order_make(turn, n, out.period);
	} else {
		out.split = split_make(turn, n);
		out.n_split = (uint32_t)n - 1;
	}
	free(turn);
	if (!out.order && !out.split) {
		free(out.turns);
		return -ENOMEM;
	}
	*ret = out;
	return 0;
}

void weft_schedule_free(struct weft_schedule *s)
{
	free(s->order);
	free(s->split);
	free(s->turns);
	*s = (struct weft_schedule){0};
}
