// SPDX-License-Identifier: Apache-2.0
#include "agent/compile/schedule.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#include "bpf/abi/limits.h"

/* A host in the queue: its k-th turn is due at k / weight. */
struct turn {
	uint64_t k;
	uint32_t weight;
	uint64_t order; /* of insertion: ties go to who came first */
	uint16_t host;
};

static bool before(const struct turn *a, const struct turn *b)
{
	uint64_t x = a->k * b->weight, y = b->k * a->weight;

	return x != y ? x < y : a->order < b->order;
}

static void sift_down(struct turn *heap, size_t n, size_t i)
{
	for (;;) {
		size_t least = i, l = 2 * i + 1, r = l + 1;
		struct turn t;

		if (l < n && before(&heap[l], &heap[least]))
			least = l;
		if (r < n && before(&heap[r], &heap[least]))
			least = r;
		if (least == i)
			return;
		t = heap[i];
		heap[i] = heap[least];
		heap[least] = t;
		i = least;
	}
}

static uint64_t gcd(uint64_t a, uint64_t b)
{
	while (b) {
		uint64_t t = a % b;

		a = b;
		b = t;
	}
	return a;
}

/* Smallest weights of these proportions; within the limit, near them. Returns the period. */
static uint64_t reduce(struct turn *heap, size_t n)
{
	uint64_t g = 0, sum = 0, scaled = 0;

	for (size_t i = 0; i < n; i++) {
		g = gcd(g, heap[i].weight);
		sum += heap[i].weight;
	}
	for (size_t i = 0; i < n; i++)
		heap[i].weight = (uint32_t)(heap[i].weight / g);
	sum /= g;
	if (sum <= WEFT_SCHEDULE_MAX)
		return sum;
	for (size_t i = 0; i < n; i++) {
		uint64_t room = n < WEFT_SCHEDULE_MAX ? WEFT_SCHEDULE_MAX - n : 0;
		uint64_t w = heap[i].weight * room / sum;

		heap[i].weight = (uint32_t)(w + 1); /* nobody is left out */
		scaled += w + 1;
	}
	return scaled;
}

int weft_schedule_make(const uint32_t *weight, size_t n, uint16_t **ret)
{
	struct turn *heap;
	uint16_t *out;
	uint64_t period, order = n;
	bool equal = true;

	for (size_t i = 1; i < n; i++)
		equal = equal && weight[i] == weight[0];
	if (equal)
		return 0;
	if (n > WEFT_SCHEDULE_MAX)
		return -E2BIG;
	heap = calloc(n, sizeof(*heap));
	if (!heap)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		heap[i] =
			(struct turn){.k = 1, .weight = weight[i], .order = i, .host = (uint16_t)i};
	period = reduce(heap, n);
	out = calloc(period, sizeof(*out));
	if (!out) {
		free(heap);
		return -ENOMEM;
	}
	for (size_t i = n; i-- > 0;)
		sift_down(heap, n, i);
	for (uint64_t i = 0; i < period; i++) {
		out[i] = heap[0].host;
		heap[0].k++;
		heap[0].order = order++;
		sift_down(heap, n, 0);
	}
	free(heap);
	*ret = out;
	return (int)period;
}
