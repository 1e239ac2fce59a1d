// SPDX-License-Identifier: Apache-2.0
/* The image: content-addressed objects, transactions, publishing, grace. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "agent/store/store_internal.h"
#include "bpf/engine/engine.h"

#define FIRST_BUCKETS 1024u
/* Objects begin behind the head; 0 stays "none". */
#define FIRST_OBJECT ((uint32_t)((sizeof(struct weft_img_head) + 63) & ~63ul))

struct weft_img_head *weft_store_head(const struct weft_store *s)
{
	return s->mem.img;
}

static int journal_add(struct weft_journal *j, struct weft_object *o)
{
	if (j->n == j->cap) {
		size_t cap = j->cap ? j->cap * 2 : 64;
		struct weft_object **v = reallocarray(j->v, cap, sizeof(struct weft_object *));

		if (!v)
			return -ENOMEM;
		j->v = v;
		j->cap = cap;
	}
	j->v[j->n++] = o;
	return 0;
}

static void journals_clear(struct weft_store *s)
{
	struct weft_journal *all[] = {&s->put, &s->born, &s->dropped};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		free(all[i]->v);
		*all[i] = (struct weft_journal){0};
	}
}

static size_t off_bucket(const struct weft_store *s, uint32_t off)
{
	return (off >> 3) & (s->n_bucket - 1);
}

int weft_store_new(const struct weft_store_mem *mem, struct weft_store **ret)
{
	struct weft_store *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->mem = *mem;
	pthread_mutex_init(&s->lock, NULL);
	s->n_bucket = FIRST_BUCKETS;
	s->by_hash = calloc(s->n_bucket, sizeof(*s->by_hash));
	s->by_off = calloc(s->n_bucket, sizeof(*s->by_off));
	r = s->by_hash && s->by_off ? 0 : -ENOMEM;
	if (!r)
		r = weft_arena_new(FIRST_OBJECT, mem->img_size, &s->arena);
	if (!r)
		r = weft_cells_init(s);
	if (r) {
		weft_store_free(s);
		return r;
	}
	weft_store_head(s)->abi = WEFT_ABI_VERSION;
	weft_store_head(s)->magic = WEFT_IMG_MAGIC;
	weft_engine_bind(mem->img, mem->img_size - 1, mem->state, mem->state_size - 1);
	*ret = s;
	return 0;
}

/* A fraction of the state for slots and heads, the rest for cells: there are no connections on the
 * heap. */
static int heap_layout(void *state, uint32_t size)
{
	return weft_state_layout(state, size, 256, size / (4 * WEFT_CELL_SIZE), 8);
}

int weft_store_new_heap(uint32_t img_size, uint32_t state_size, struct weft_store **ret)
{
	struct weft_store_mem mem = {.img_size = img_size, .state_size = state_size};
	int r = -ENOMEM;

	mem.img = calloc(1, (size_t)img_size + WEFT_IMAGE_SLACK);
	mem.state = calloc(1, (size_t)state_size + WEFT_STATE_SLACK);
	if (mem.img && mem.state)
		r = heap_layout(mem.state, state_size);
	if (!r)
		r = weft_store_new(&mem, ret);
	if (r) {
		free(mem.img);
		free(mem.state);
		return r;
	}
	(*ret)->own_img = mem.img;
	(*ret)->own_state = mem.state;
	return 0;
}

void weft_store_free(struct weft_store *s)
{
	if (!s)
		return;
	for (size_t i = 0; s->by_hash && i < s->n_bucket; i++) {
		for (struct weft_object *o = s->by_hash[i], *next; o; o = next) {
			next = o->by_hash;
			free(o);
		}
	}
	free(s->by_hash);
	free(s->by_off);
	weft_arena_free(s->arena);
	weft_cells_free(s);
	journals_clear(s);
	pthread_mutex_destroy(&s->lock);
	free(s->own_img);
	free(s->own_state);
	free(s);
}

static void index_add(struct weft_store *s, struct weft_object *o)
{
	struct weft_object **h = &s->by_hash[o->hash & (s->n_bucket - 1)];
	struct weft_object **p = &s->by_off[off_bucket(s, o->run->off)];

	o->by_hash = *h;
	*h = o;
	o->by_off = *p;
	*p = o;
	s->n_object++;
}

static void index_remove(struct weft_store *s, struct weft_object *o)
{
	struct weft_object **p = &s->by_hash[o->hash & (s->n_bucket - 1)];

	while (*p != o)
		p = &(*p)->by_hash;
	*p = o->by_hash;
	p = &s->by_off[off_bucket(s, o->run->off)];
	while (*p != o)
		p = &(*p)->by_off;
	*p = o->by_off;
	s->n_object--;
}

/* Doubles the tables; on failure they just stay fuller. */
static void index_grow(struct weft_store *s)
{
	size_t old = s->n_bucket;
	struct weft_object **chains = s->by_hash;
	struct weft_object **h = calloc(old * 2, sizeof(*h));
	struct weft_object **p = calloc(old * 2, sizeof(*p));

	if (!h || !p) {
		free(h);
		free(p);
		return;
	}
	free(s->by_off);
	s->by_hash = h;
	s->by_off = p;
	s->n_bucket = old * 2;
	s->n_object = 0;
	for (size_t i = 0; i < old; i++) {
		for (struct weft_object *o = chains[i], *next; o; o = next) {
			next = o->by_hash;
			index_add(s, o);
		}
	}
	free(chains);
}

int weft_store_begin(struct weft_store *s)
{
	if (s->tx)
		return -EBUSY;
	s->tx = ++s->last_tx;
	return 0;
}

static struct weft_object *find(struct weft_store *s, uint64_t hash, const void *bytes, size_t len)
{
	struct weft_object *o = s->by_hash[hash & (s->n_bucket - 1)];

	while (o && (o->hash != hash || o->len != len ||
		     memcmp((uint8_t *)s->mem.img + o->run->off, bytes, len)))
		o = o->by_hash;
	return o;
}

/* Room for an object: what waits is freed when there is none. */
static int room_get(struct weft_store *s, uint32_t len, struct weft_run **ret)
{
	int r = weft_arena_get(s->arena, len, ret);

	if (r == -ENOSPC) {
		weft_store_reclaim(s);
		r = weft_arena_get(s->arena, len, ret);
	}
	if (r == -ENOSPC)
		__atomic_fetch_add(&s->full, 1, __ATOMIC_RELAXED);
	return r;
}

/* In the index, and in the journal of the transaction. */
static int object_new(struct weft_store *s, uint64_t hash, const void *bytes, size_t len,
		      struct weft_object **ret)
{
	struct weft_object *o;
	int r;

	if (len >= s->mem.img_size) {
		__atomic_fetch_add(&s->full, 1, __ATOMIC_RELAXED);
		return -ENOSPC;
	}
	o = calloc(1, sizeof(*o));
	if (!o)
		return -ENOMEM;
	/* One word more: strings are read by words, and the bytes behind must be ours to read. */
	r = room_get(s, (uint32_t)len + 8, &o->run);
	if (r) {
		free(o);
		return r;
	}
	r = journal_add(&s->born, o);
	if (r) {
		weft_arena_put(s->arena, o->run);
		free(o);
		return r;
	}
	o->hash = hash;
	o->len = (uint32_t)len;
	o->born = s->tx;
	memcpy((uint8_t *)s->mem.img + o->run->off, bytes, len);
	memset((uint8_t *)s->mem.img + o->run->off + len, 0, 8);
	if (s->n_object >= s->n_bucket)
		index_grow(s);
	index_add(s, o);
	*ret = o;
	return 0;
}

int weft_store_put(struct weft_store *s, const void *bytes, size_t len, uint32_t *ret_off)
{
	uint64_t hash = XXH64(bytes, len, 0);
	struct weft_object *o = find(s, hash, bytes, len);
	int r = o ? 0 : object_new(s, hash, bytes, len, &o);

	if (!r)
		r = journal_add(&s->put, o);
	if (r)
		return r;
	o->held++;
	*ret_off = o->run->off;
	return 0;
}

int weft_store_drop(struct weft_store *s, uint32_t off)
{
	struct weft_object *o = s->by_off[off_bucket(s, off)];

	while (o && o->run->off != off)
		o = o->by_off;
	return o ? journal_add(&s->dropped, o) : 0;
}

static void object_free(struct weft_store *s, struct weft_object *o)
{
	index_remove(s, o);
	weft_arena_put(s->arena, o->run);
	free(o);
}

/* Held or not, as the transaction left it. */
static void object_settle(struct weft_store *s, struct weft_object *o, uint32_t epoch)
{
	if (o->held && o->replaced) {
		o->replaced = 0;
		o->synchronized = false;
		LIST_REMOVE(o, link);
		s->waiting_bytes -= o->run->len;
	} else if (!o->held && !o->replaced) {
		o->replaced = epoch;
		LIST_INSERT_HEAD(&s->replaced, o, link);
		s->waiting_bytes += o->run->len;
		s->fresh_bytes += o->run->len;
		s->fresh++;
	}
}

int weft_store_commit(struct weft_store *s, uint32_t root_off)
{
	uint32_t epoch = weft_store_epoch(s) + 1;
	const struct weft_img_root *root = (const void *)((const uint8_t *)s->mem.img + root_off);

	if (!s->tx || root->epoch != epoch)
		return -EINVAL;
	__atomic_store_n(&weft_store_head(s)->root, (uint64_t)epoch << 32 | root_off,
			 __ATOMIC_SEQ_CST);
	for (size_t i = 0; i < s->born.n; i++)
		s->born.v[i]->since = epoch;
	for (size_t i = 0; i < s->dropped.n; i++) {
		assert(s->dropped.v[i]->held);
		s->dropped.v[i]->held--;
	}
	for (size_t i = 0; i < s->put.n; i++)
		object_settle(s, s->put.v[i], epoch);
	for (size_t i = 0; i < s->dropped.n; i++)
		object_settle(s, s->dropped.v[i], epoch);
	journals_clear(s);
	s->tx = 0;
	s->publishes++;
	return 0;
}

void weft_store_abort(struct weft_store *s)
{
	for (size_t i = 0; i < s->put.n; i++)
		s->put.v[i]->held--;
	for (size_t i = 0; i < s->born.n; i++)
		object_free(s, s->born.v[i]);
	journals_clear(s);
	s->tx = 0;
}

const void *weft_store_at(const struct weft_store *s, uint32_t off)
{
	return (const uint8_t *)s->mem.img + off;
}

uint32_t weft_store_epoch(const struct weft_store *s)
{
	return (uint32_t)(__atomic_load_n(&weft_store_head(s)->root, __ATOMIC_RELAXED) >> 32);
}

/* Something is replaced whose grace period has not begun. */
static bool objects_waiting(const struct weft_store *s)
{
	const struct weft_object *o;

	LIST_FOREACH(o, &s->replaced, link)
	{
		if (!o->synchronized)
			return true;
	}
	return false;
}

static void objects_synchronized(struct weft_store *s)
{
	struct weft_object *o;

	LIST_FOREACH(o, &s->replaced, link)
	o->synchronized = true;
	s->fresh_bytes = s->fresh = 0;
}

static void objects_reclaim(struct weft_store *s, const struct weft_held *held)
{
	struct weft_object *o, *next;

	for (o = LIST_FIRST(&s->replaced); o; o = next) {
		next = LIST_NEXT(o, link);
		/* held: the open transaction has it again */
		if (!o->synchronized || o->held || weft_held_has(held, o->since, o->replaced))
			continue;
		LIST_REMOVE(o, link);
		s->waiting_bytes -= o->run->len;
		object_free(s, o);
	}
}

void weft_store_reclaim(struct weft_store *s)
{
	bool any = weft_cells_waiting(s) || objects_waiting(s);
	struct weft_held held;

	if (any && s->mem.synchronize && s->mem.synchronize(s->mem.ctx))
		return; /* no grace period, nothing freed: tried again next time */
	if (any) {
		s->synchronized = weft_store_epoch(s);
		objects_synchronized(s);
		weft_cells_synchronized(s);
	}
	weft_readers_look(s, &held);
	objects_reclaim(s, &held);
	weft_cells_reclaim(s, held.oldest);
	weft_held_clear(&held);
}

uint32_t weft_store_settled(struct weft_store *s)
{
	uint32_t oldest = weft_readers_oldest(s);

	return oldest < s->synchronized ? oldest : s->synchronized;
}

void weft_store_stats(const struct weft_store *s, struct weft_store_stats *ret)
{
	const struct weft_state_head *h = s->mem.state;

	*ret = (struct weft_store_stats){
		.img_used = weft_arena_used(s->arena),
		.img_size = s->mem.img_size,
		.objects = s->n_object,
		.waiting_bytes = s->waiting_bytes,
		.cells_used = __atomic_load_n(&s->cells_used, __ATOMIC_RELAXED),
		.cells = h->n_cell,
		.publishes = s->publishes,
		.full = __atomic_load_n(&s->full, __ATOMIC_RELAXED),
	};
}

void weft_store_fresh(const struct weft_store *s, uint64_t *ret_bytes, uint64_t *ret_objects)
{
	*ret_bytes = s->fresh_bytes;
	*ret_objects = s->fresh;
}
