/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What object.c (image), reader.c and cell.c (state) share. Not for use outside agent/store. */

#include <pthread.h>
#include <sys/queue.h>

#include "agent/store/arena.h"
#include "agent/store/store.h"

/* An object of the image. */
struct weft_object {
	uint64_t hash; /* of its bytes */
	struct weft_run *run;
	uint32_t len;
	uint32_t held;			      /* puts that were not dropped */
	uint32_t born;			      /* transaction that made it */
	uint32_t since;			      /* first epoch that had it */
	uint32_t replaced;		      /* epoch that no longer has it, 0: in force */
	bool synchronized;		      /* replaced, and a grace period has passed since */
	struct weft_object *by_hash, *by_off; /* chains */
	LIST_ENTRY(weft_object) link;	      /* of those that are replaced */
};

/* What a transaction did to objects. */
struct weft_journal {
	struct weft_object **v;
	size_t n, cap;
};

/* A cell that lost its place in the directory and waits for its last users. */
struct weft_dead_cell {
	uint32_t entry; /* of the directory */
	uint32_t cell;
	uint32_t id;	/* says what is in the cell */
	uint32_t epoch; /* readers at or after this one cannot know it */
	bool synchronized;
};

struct weft_store {
	struct weft_store_mem mem;
	void *own_img, *own_state;
	struct weft_arena *arena;
	struct weft_object **by_hash, **by_off;
	size_t n_object, n_bucket; /* n_bucket: power of two */
	LIST_HEAD(, weft_object) replaced; /* they wait for the end of their grace */
	uint64_t waiting_bytes, fresh_bytes, fresh; /* as store.h has them */
	struct weft_journal put, born, dropped; /* of the transaction */
	uint32_t synchronized;	   /* epoch in force when a grace period last began */
	uint32_t tx;		   /* number of the transaction, 0: none open */
	uint32_t last_tx;
	uint64_t publishes, full;

	pthread_mutex_t lock; /* readers' list, and everything of cells */
	struct weft_reader *readers;
	uint32_t *cell_free; /* stack of offsets */
	size_t n_cell_free;
	struct weft_dead_cell *dead;
	size_t n_dead, cap_dead;
	uint32_t per_pod[WEFT_PODS_MAX + 1];
	bool leaving[WEFT_PODS_MAX + 1]; /* dropped, but for want of memory not wholly */
	uint64_t cells_used;
};

struct weft_img_head *weft_store_head(const struct weft_store *s);

/* What readers may still use, as of one look. */
struct weft_held {
	uint32_t pinned; /* from this epoch on, everything; UINT32_MAX: nothing */
	uint32_t oldest; /* the lowest epoch of all; UINT32_MAX: none */
	uint64_t *range; /* kept: first << 32 | last */
	size_t n;
};
void weft_readers_look(struct weft_store *s, struct weft_held *ret);
void weft_held_clear(struct weft_held *held);
/* May a reader use what epochs from `since` on had, and `replaced` no longer has? */
bool weft_held_has(const struct weft_held *held, uint32_t since, uint32_t replaced);
/* The lowest epoch that a reader may still use; UINT32_MAX: none does. */
uint32_t weft_readers_oldest(struct weft_store *s);
int weft_cells_init(struct weft_store *s);
void weft_cells_free(struct weft_store *s);
/* True when a cell waits. */
bool weft_cells_waiting(struct weft_store *s);
/* Notes that a grace period has passed / frees what nobody can hold. */
void weft_cells_synchronized(struct weft_store *s);
void weft_cells_reclaim(struct weft_store *s, uint32_t oldest);
