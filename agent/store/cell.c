// SPDX-License-Identifier: Apache-2.0
/*
 * Cells of the state and the directory that finds them. Programs and workers only read the
 * directory; here is its only writer. An entry or a cell is used again only when nobody can still
 * look at its former self.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/store/store_internal.h"
#include "bpf/engine/engine.h"

#define DELETED 1ull /* no pod has id 0 */

static struct weft_state_head *state_head(const struct weft_store *s)
{
	return s->mem.state;
}

static struct weft_dir_ent *dir_at(const struct weft_store *s, uint32_t i)
{
	const struct weft_state_head *h = state_head(s);

	return (struct weft_dir_ent *)((uint8_t *)s->mem.state + h->dir) + (i & (h->n_dir - 1));
}

int weft_cells_init(struct weft_store *s)
{
	const struct weft_state_head *h = state_head(s);

	s->cell_free = calloc(h->n_cell + 1, sizeof(*s->cell_free));
	if (!s->cell_free)
		return -ENOMEM;
	for (uint32_t i = h->n_cell; i-- > 1;)
		s->cell_free[s->n_cell_free++] = h->cell + i * WEFT_CELL_SIZE;
	return 0;
}

void weft_cells_free(struct weft_store *s)
{
	free(s->cell_free);
	free(s->dead);
}

/* The entry of the key, or the first that may hold it. NULL: neither within reach. */
static struct weft_dir_ent *dir_find(struct weft_store *s, uint32_t pod, uint32_t id,
				     bool *ret_found)
{
	uint64_t key = (uint64_t)pod << 32 | id;
	uint32_t hash = weft_hash_cell(pod, id);
	struct weft_dir_ent *room = NULL;

	*ret_found = false;
	for (uint32_t i = 0; i < WEFT_DIR_PROBES; i++) {
		struct weft_dir_ent *e = dir_at(s, hash + i);

		if (e->key == key) {
			*ret_found = true;
			return e;
		}
		if (!room && (!e->key || (e->key == DELETED && !e->cell)))
			room = e;
		if (!e->key)
			break;
	}
	return room;
}

/* Where a free cell keeps the epoch of its former owner's end. */
static uint32_t *cell_since(const struct weft_store *s, uint32_t cell)
{
	return &((struct weft_cell_bucket *)((uint8_t *)s->mem.state + cell))->since;
}

static uint32_t cell_make(struct weft_store *s, struct weft_dir_ent *e, uint32_t pod, uint32_t id)
{
	uint32_t cell, since;

	if (!e || !s->n_cell_free || s->per_pod[pod] >= WEFT_CELLS_PER_POD_DEFAULT) {
		__atomic_fetch_add(&s->full, 1, __ATOMIC_RELAXED);
		return 0;
	}
	cell = s->cell_free[--s->n_cell_free];
	since = *cell_since(s, cell);
	memset((uint8_t *)s->mem.state + cell, 0, WEFT_CELL_SIZE);
	if (WEFT_ID_KIND(id) == WEFT_CELL_BUCKET)
		*cell_since(s, cell) = since;
	__atomic_store_n(&e->cell, cell, __ATOMIC_RELAXED);
	__atomic_store_n(&e->key, (uint64_t)pod << 32 | id, __ATOMIC_RELEASE);
	s->per_pod[pod]++;
	s->leaving[pod] = false; /* a new pod of this id */
	__atomic_fetch_add(&s->cells_used, 1, __ATOMIC_RELAXED);
	return cell;
}

uint32_t weft_store_cell(struct weft_store *s, uint32_t pod, uint32_t id)
{
	struct weft_dir_ent *e;
	uint32_t cell;
	bool found;

	if (!id || !pod || pod > WEFT_PODS_MAX)
		return 0;
	cell = weft_cell_find(pod, id);
	if (cell)
		return cell;
	pthread_mutex_lock(&s->lock);
	e = dir_find(s, pod, id, &found);
	cell = found ? e->cell : cell_make(s, e, pod, id);
	pthread_mutex_unlock(&s->lock);
	return cell;
}

uint32_t weft_store_cell_spare(struct weft_store *s, uint32_t pod, uint32_t id)
{
	uint32_t cell;
	bool enough;

	if (!pod || pod > WEFT_PODS_MAX)
		return 0;
	cell = weft_cell_find(pod, id);
	if (cell)
		return cell;
	pthread_mutex_lock(&s->lock);
	enough = s->n_cell_free > state_head(s)->n_cell / 2 &&
		 s->per_pod[pod] < WEFT_CELLS_PER_POD_DEFAULT / 2;
	pthread_mutex_unlock(&s->lock);
	return enough ? weft_store_cell(s, pod, id) : 0;
}

/* Places that are held (connections, requests in flight) keep a cell: they will be given back to
 * it. */
static bool cell_busy(const struct weft_store *s, uint32_t id, uint32_t cell)
{
	const void *p = (const uint8_t *)s->mem.state + cell;

	if (WEFT_ID_KIND(id) == WEFT_CELL_CLUSTER) {
		const struct weft_cell_cluster *c = p;
		uint32_t n = 0;

		for (int i = 0; i < WEFT_PRIORITY__MAX; i++)
			n |= __atomic_load_n(&c->cx_active[i], __ATOMIC_RELAXED) |
			     __atomic_load_n(&c->rq_pending[i], __ATOMIC_RELAXED) |
			     __atomic_load_n(&c->rq_active[i], __ATOMIC_RELAXED) |
			     __atomic_load_n(&c->retry_active[i], __ATOMIC_RELAXED);
		return n != 0;
	}
	if (WEFT_ID_KIND(id) == WEFT_CELL_ENDPOINT) {
		const struct weft_cell_endpoint *c = p;

		return __atomic_load_n(&c->rq_active, __ATOMIC_RELAXED) ||
		       __atomic_load_n(&c->cx_active, __ATOMIC_RELAXED);
	}
	if (WEFT_ID_KIND(id) == WEFT_CELL_FILTER)
		return __atomic_load_n(&((const struct weft_cell_filter *)p)->active,
				       __ATOMIC_RELAXED);
	return false;
}

/* Takes an entry out of the directory. The cell and the entry wait. False: no memory. Lock held. */
static bool dir_remove(struct weft_store *s, struct weft_dir_ent *e)
{
	uint32_t pod = (uint32_t)(e->key >> 32);

	if (s->n_dead == s->cap_dead) {
		size_t cap = s->cap_dead ? s->cap_dead * 2 : 64;
		struct weft_dead_cell *bigger = reallocarray(s->dead, cap, sizeof(*bigger));

		if (!bigger)
			return false; /* stays in use; tried again with the next change */
		s->dead = bigger;
		s->cap_dead = cap;
	}
	s->dead[s->n_dead++] = (struct weft_dead_cell){
		.entry = (uint32_t)(e - dir_at(s, 0)),
		.cell = e->cell,
		.id = (uint32_t)e->key,
		.epoch = weft_store_epoch(s) + 1,
	};
	__atomic_store_n(&e->key, DELETED, __ATOMIC_RELEASE);
	s->per_pod[pod]--;
	__atomic_fetch_sub(&s->cells_used, 1, __ATOMIC_RELAXED);
	return true;
}

/* Whoever holds places of a cell knows it by its offset; the next pod of this id must not find it.
 * Lock held. */
static void pod_drop(struct weft_store *s, uint32_t pod)
{
	bool left = false;

	for (uint32_t i = 0; i < state_head(s)->n_dir; i++) {
		struct weft_dir_ent *e = dir_at(s, i);

		if (e->key >> 32 != pod)
			continue;
		left = !dir_remove(s, e) || left;
	}
	s->leaving[pod] = left;
}

void weft_store_cells_drop(struct weft_store *s, uint32_t pod)
{
	if (!pod || pod > WEFT_PODS_MAX)
		return;
	pthread_mutex_lock(&s->lock);
	pod_drop(s, pod);
	pthread_mutex_unlock(&s->lock);
}

static int compare_ids(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

void weft_store_cells_retain(struct weft_store *s, const uint32_t *live, size_t n)
{
	pthread_mutex_lock(&s->lock);
	for (uint32_t i = 0; i < state_head(s)->n_dir; i++) {
		struct weft_dir_ent *e = dir_at(s, i);
		uint32_t id = (uint32_t)e->key;

		if (e->key >> 32 && !(n && bsearch(&id, live, n, sizeof(id), compare_ids)) &&
		    !cell_busy(s, id, e->cell))
			dir_remove(s, e);
	}
	pthread_mutex_unlock(&s->lock);
}

void weft_store_cells_forget(struct weft_store *s, const uint32_t *id, size_t n, bool *held)
{
	pthread_mutex_lock(&s->lock);
	for (uint32_t i = 0; n && i < state_head(s)->n_dir; i++) {
		struct weft_dir_ent *e = dir_at(s, i);
		uint32_t key = (uint32_t)e->key;
		const uint32_t *at;

		if (!(e->key >> 32))
			continue;
		at = bsearch(&key, id, n, sizeof(*id), compare_ids);
		if (at && (cell_busy(s, key, e->cell) || !dir_remove(s, e)))
			held[at - id] = true;
	}
	pthread_mutex_unlock(&s->lock);
}

void weft_store_cells_each(struct weft_store *s,
			   void (*fn)(void *ctx, uint32_t pod, uint32_t id, uint32_t cell),
			   void *ctx)
{
	for (uint32_t i = 0; i < state_head(s)->n_dir; i++) {
		const struct weft_dir_ent *e = dir_at(s, i);
		uint64_t key = __atomic_load_n(&e->key, __ATOMIC_ACQUIRE);

		if (key >> 32)
			fn(ctx, (uint32_t)(key >> 32), (uint32_t)key,
			   __atomic_load_n(&e->cell, __ATOMIC_RELAXED));
	}
}

bool weft_cells_waiting(struct weft_store *s)
{
	bool any = false;

	pthread_mutex_lock(&s->lock);
	for (size_t i = 0; i < s->n_dead; i++)
		any = any || !s->dead[i].synchronized;
	pthread_mutex_unlock(&s->lock);
	return any;
}

void weft_cells_synchronized(struct weft_store *s)
{
	pthread_mutex_lock(&s->lock);
	for (size_t i = 0; i < s->n_dead; i++)
		s->dead[i].synchronized = true;
	pthread_mutex_unlock(&s->lock);
}

/*
 * Entries that were deleted and are followed by an empty one end a probe just as well when empty
 * themselves. Entries whose cell still waits keep their mark: their index is remembered. Lock held.
 */
static void dir_empty_from(struct weft_store *s, uint32_t i)
{
	while (!dir_at(s, i + 1)->key && dir_at(s, i)->key == DELETED && !dir_at(s, i)->cell) {
		__atomic_store_n(&dir_at(s, i)->key, 0, __ATOMIC_RELEASE);
		i--;
	}
}

/*
 * A cell is given out again when no program run and no reader that began before its removal is
 * left, and, places taken meanwhile by such a latecomer being given back, nothing holds it.
 */
void weft_cells_reclaim(struct weft_store *s, uint32_t oldest)
{
	size_t kept = 0;

	pthread_mutex_lock(&s->lock);
	for (size_t i = 0; i < s->n_dead; i++) {
		struct weft_dead_cell *d = &s->dead[i];

		if (d->synchronized && d->epoch <= oldest && !cell_busy(s, d->id, d->cell)) {
			dir_at(s, d->entry)->cell = 0;
			*cell_since(s, d->cell) = d->epoch - 1;
			s->cell_free[s->n_cell_free++] = d->cell;
			dir_empty_from(s, d->entry);
		} else {
			s->dead[kept++] = *d;
		}
	}
	s->n_dead = kept;
	for (uint32_t pod = 1; pod <= WEFT_PODS_MAX; pod++) {
		if (s->leaving[pod])
			pod_drop(s, pod);
	}
	pthread_mutex_unlock(&s->lock);
}
