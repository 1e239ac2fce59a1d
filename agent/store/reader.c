// SPDX-License-Identifier: Apache-2.0
/*
 * Epoch pins. The reader announces the oldest epoch it may use in one word; the writer frees an
 * object only when every announcement is younger than the epoch that replaced it. Announcing and
 * reading the root is a store followed by a load, publishing and looking at announcements too: both
 * are sequentially consistent, so at least one side sees the other (as with hazard pointers).
 */
#include <errno.h>
#include <stdlib.h>

#include "agent/store/store_internal.h"

/* Epochs pinned at one time by one reader; when they run out, an older one is shared (safe: it
 * keeps more). */
#define PINS 32

struct pin {
	uint32_t epoch;
	uint32_t count;
};

struct weft_reader {
	struct weft_store *store;
	struct weft_reader *next;
	uint32_t oldest;      /* atomic; 0: nothing pinned */
	struct pin pin[PINS]; /* ascending by epoch, the owner's alone */
	unsigned int n;
};

int weft_reader_new(struct weft_store *s, struct weft_reader **ret)
{
	struct weft_reader *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	r->store = s;
	pthread_mutex_lock(&s->lock);
	r->next = s->readers;
	s->readers = r;
	pthread_mutex_unlock(&s->lock);
	*ret = r;
	return 0;
}

void weft_reader_free(struct weft_reader *r)
{
	struct weft_reader **p;

	if (!r)
		return;
	pthread_mutex_lock(&r->store->lock);
	for (p = &r->store->readers; *p != r; p = &(*p)->next)
		;
	*p = r->next;
	pthread_mutex_unlock(&r->store->lock);
	free(r);
}

static uint32_t root_epoch(const struct weft_store *s)
{
	return (uint32_t)(__atomic_load_n(&weft_store_head(s)->root, __ATOMIC_SEQ_CST) >> 32);
}

/* Epoch 0 (nothing published) is announced as 1: nothing older than the first publish is ever
 * freed. */
static void announce(struct weft_reader *r, uint32_t epoch)
{
	__atomic_store_n(&r->oldest, epoch ? epoch : 1, __ATOMIC_SEQ_CST);
}

uint32_t weft_reader_enter(struct weft_reader *r)
{
	uint32_t epoch = root_epoch(r->store);

	if (!r->n) {
		for (uint32_t seen = epoch;; seen = epoch) {
			announce(r, seen);
			epoch = root_epoch(r->store);
			if (epoch == seen)
				break;
		}
	}
	if (r->n && (r->pin[r->n - 1].epoch == epoch || r->n == PINS)) {
		r->pin[r->n - 1].count++;
		return r->pin[r->n - 1].epoch;
	}
	r->pin[r->n++] = (struct pin){.epoch = epoch, .count = 1};
	return epoch;
}

void weft_reader_leave(struct weft_reader *r, uint32_t epoch)
{
	unsigned int i = 0;

	while (i < r->n && r->pin[i].epoch != epoch)
		i++;
	if (i == r->n || --r->pin[i].count)
		return;
	r->n--;
	for (unsigned int j = i; j < r->n; j++)
		r->pin[j] = r->pin[j + 1];
	if (i == 0) {
		if (r->n)
			announce(r, r->pin[0].epoch);
		else
			__atomic_store_n(&r->oldest, 0, __ATOMIC_SEQ_CST);
	}
}

uint32_t weft_readers_oldest(struct weft_store *s)
{
	uint32_t oldest = UINT32_MAX;

	pthread_mutex_lock(&s->lock);
	for (struct weft_reader *r = s->readers; r; r = r->next) {
		uint32_t epoch = __atomic_load_n(&r->oldest, __ATOMIC_SEQ_CST);

		if (epoch && epoch < oldest)
			oldest = epoch;
	}
	pthread_mutex_unlock(&s->lock);
	return oldest;
}
