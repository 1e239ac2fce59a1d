// SPDX-License-Identifier: Apache-2.0
/*
 * Epoch pins. The reader announces the oldest epoch it may use in one word; the writer frees an
 * object only when every announcement is younger than the epoch that replaced it. Announcing and
 * reading the root is a store followed by a load, publishing and looking at announcements too: both
 * are sequentially consistent, so at least one side sees the other (as with hazard pointers).
 *
 * A pin protects everything from its epoch on. What is kept for long says up to which epoch it was used (weft_reader_keep()):
 * a word of its own, stored before the pin goes. The writer looks at pins first and at kept words then, so that it sees one
 * of the two.
 */
#include <errno.h>
#include <stdlib.h>

#include "agent/store/store_internal.h"

/* Epochs pinned at one time by one reader; when they run out, an older one is shared (safe: it
 * keeps more). */
#define PINS 32

/* Ranges kept at one time by one reader; when they run out, the youngest is widened (safe: it keeps more). */
#define KEEPS 64

struct pin {
	uint32_t epoch;
	uint32_t count;
};

struct keep {
	uint64_t range; /* atomic; first epoch << 32 | last, 0: none */
	uint32_t count;
};

struct weft_reader {
	struct weft_store *store;
	struct weft_reader *next;
	uint32_t oldest;      /* atomic; 0: nothing pinned */
	struct pin pin[PINS]; /* ascending by epoch, the owner's alone */
	unsigned int n;
	struct keep keep[KEEPS];
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

static uint32_t first_of(uint64_t range)
{
	return (uint32_t)(range >> 32);
}

/* The place of ranges from `first` on: theirs, a free one, or the youngest. */
static unsigned int keep_find(const struct weft_reader *r, uint32_t first)
{
	unsigned int found = KEEPS, youngest = 0;

	for (unsigned int i = 0; i < KEEPS; i++) {
		uint64_t range = r->keep[i].range;

		if (first_of(range) == first)
			return i;
		if (!range && found == KEEPS)
			found = i;
		if (first_of(range) > first_of(r->keep[youngest].range))
			youngest = i;
	}
	return found < KEEPS ? found : youngest;
}

unsigned int weft_reader_keep(struct weft_reader *r, uint32_t epoch, uint32_t last)
{
	/* as announce() has it */
	uint32_t first = epoch ? epoch : 1;
	unsigned int i = keep_find(r, first);
	struct keep *k = &r->keep[i];
	uint32_t from = k->range && first_of(k->range) < first ? first_of(k->range) : first;
	uint32_t to = (uint32_t)k->range > last ? (uint32_t)k->range : last;

	k->count++;
	if (k->range != ((uint64_t)from << 32 | to))
		__atomic_store_n(&k->range, (uint64_t)from << 32 | to, __ATOMIC_SEQ_CST);
	weft_reader_leave(r, epoch);
	return i;
}

void weft_reader_unkeep(struct weft_reader *r, unsigned int kept)
{
	if (!--r->keep[kept].count)
		__atomic_store_n(&r->keep[kept].range, 0, __ATOMIC_SEQ_CST);
}

/* Lock held. */
static void look_at(struct weft_reader *r, struct weft_held *held)
{
	uint32_t epoch = __atomic_load_n(&r->oldest, __ATOMIC_SEQ_CST);

	if (epoch && epoch < held->pinned)
		held->pinned = epoch;
	for (unsigned int i = 0; i < KEEPS; i++) {
		uint64_t range = __atomic_load_n(&r->keep[i].range, __ATOMIC_SEQ_CST);

		if (!range)
			continue;
		if (first_of(range) < held->oldest)
			held->oldest = first_of(range);
		if (held->range)
			held->range[held->n++] = range;
	}
}

void weft_readers_look(struct weft_store *s, struct weft_held *ret)
{
	size_t readers = 0;

	*ret = (struct weft_held){.pinned = UINT32_MAX, .oldest = UINT32_MAX};
	pthread_mutex_lock(&s->lock);
	for (struct weft_reader *r = s->readers; r; r = r->next)
		readers++;
	ret->range = readers ? calloc(readers * KEEPS, sizeof(*ret->range)) : NULL;
	for (struct weft_reader *r = s->readers; r; r = r->next)
		look_at(r, ret);
	pthread_mutex_unlock(&s->lock);
	/* without memory for the ranges, each is a pin */
	if (!ret->range && ret->oldest < ret->pinned)
		ret->pinned = ret->oldest;
	if (ret->pinned < ret->oldest)
		ret->oldest = ret->pinned;
}

void weft_held_clear(struct weft_held *held)
{
	free(held->range);
}

bool weft_held_has(const struct weft_held *held, uint32_t since, uint32_t replaced)
{
	if (held->pinned < replaced)
		return true;
	for (size_t i = 0; i < held->n; i++)
		if (first_of(held->range[i]) < replaced && (uint32_t)held->range[i] >= since)
			return true;
	return false;
}

uint32_t weft_readers_oldest(struct weft_store *s)
{
	struct weft_held held;

	weft_readers_look(s, &held);
	weft_held_clear(&held);
	return held.oldest;
}
