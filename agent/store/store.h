/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Owner of the image and of the state's cells: allocation, content addressing, publishing, grace.
 * One thread (the agent's main thread) builds and publishes; cells may be asked for from any
 * thread.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/abi/image.h"
#include "bpf/abi/state.h"

struct weft_store;

struct weft_store_mem {
	void *img;	   /* img_size + WEFT_IMAGE_SLACK bytes, zeroed */
	uint32_t img_size; /* power of two */
	void *state; /* state_size + WEFT_STATE_SLACK bytes, laid out by weft_state_layout() */
	uint32_t state_size;
	/* Returns after every program run that began before the call has ended. NULL: no programs.
	 */
	int (*synchronize)(void *ctx);
	void *ctx;
};

/* Memory is borrowed. Binds the native engine to it. */
int weft_store_new(const struct weft_store_mem *mem, struct weft_store **ret);
/* The same on heap memory that the store owns: check, explain, tests. */
int weft_store_new_heap(uint32_t img_size, uint32_t state_size, struct weft_store **ret);
void weft_store_free(struct weft_store *s);

/*
 * Index in weft_state_head.http for this stat_prefix, its own from its first use on; 0: it is too
 * long, or none is left. Main thread.
 */
uint32_t weft_store_http_stat(struct weft_store *s, const char *name);

/* ---- building: one transaction at a time ---- */

/* Opens a transaction. What is in force stays in force but for what is dropped in it. */
int weft_store_begin(struct weft_store *s);
/*
 * An object of these bytes; equal bytes give the same offset. Each put holds it, until the put is
 * dropped or the transaction is given up. *ret_off is 8-byte aligned. tail: further readable bytes
 * behind it (strings are compared by words). -ENOSPC: image full.
 */
int weft_store_put(struct weft_store *s, const void *bytes, size_t len, uint32_t *ret_off);
/* The bytes of an object, for whoever builds another from it; off as weft_store_put() gave it. */
const void *weft_store_at(const struct weft_store *s, uint32_t off);
/*
 * Takes back one put of an earlier transaction, with the commit of this one. An object that nothing
 * holds then is replaced. -ENOMEM: the transaction is to be given up; offsets of no object are
 * ignored.
 */
int weft_store_drop(struct weft_store *s, uint32_t off);
/*
 * Publishes root (an object put in this transaction; its epoch field must be weft_store_epoch() +
 * 1): one atomic store. What is replaced is freed once no program run and no reader can hold it.
 */
int weft_store_commit(struct weft_store *s, uint32_t root_off);
/* Forgets the transaction: what was in force stays. */
void weft_store_abort(struct weft_store *s);
uint32_t weft_store_epoch(const struct weft_store *s);
/* Frees what became free since; called now and then by the main thread. */
void weft_store_reclaim(struct weft_store *s);

/*
 * The newest epoch of which is known that no program run and no reader can still use an older one:
 * as of the last weft_store_reclaim(), 0 before. What epoch N was the first not to have is out of
 * everybody's sight when this is N or more. Main thread.
 */
uint32_t weft_store_settled(struct weft_store *s);

struct weft_store_stats {
	uint64_t img_used, img_size, objects, waiting_bytes; /* waiting: replaced, grace not over */
	uint64_t cells_used, cells, publishes, full; /* full: refused for want of space */
};
void weft_store_stats(const struct weft_store *s, struct weft_store_stats *ret);
/* What was replaced since a grace period last began: bytes and objects. Main thread. */
void weft_store_fresh(const struct weft_store *s, uint64_t *ret_bytes, uint64_t *ret_objects);

/* ---- readers: agent threads that keep offsets across calls ---- */

struct weft_reader;
int weft_reader_new(struct weft_store *s, struct weft_reader **ret);
void weft_reader_free(struct weft_reader *r);
/*
 * Reads the current root under protection and pins its epoch; offsets of that epoch stay valid
 * until the matching leave. Pins nest and may end in any order. Called by the reader's own thread
 * only. No lock.
 */
uint32_t weft_reader_enter(struct weft_reader *r);
void weft_reader_leave(struct weft_reader *r, uint32_t epoch);
/*
 * Instead of leave, for what stays long: from here on only offsets of epochs from the pin's to `last` are used, and what
 * is published later does not wait for it (cells and state ids do). Its number, for the matching unkeep.
 */
unsigned int weft_reader_keep(struct weft_reader *r, uint32_t epoch, uint32_t last);
void weft_reader_unkeep(struct weft_reader *r, unsigned int kept);

/* ---- cells ---- */

/*
 * Cell of (pod, state id), made (zero) when missing. Any thread. Offset in state; 0: full or the
 * pod's quota is used up (counted).
 */
uint32_t weft_store_cell(struct weft_store *s, uint32_t pod, uint32_t id);
/* The same for what can do without: a new one only while half of all cells and of the pod's are
 * free. */
uint32_t weft_store_cell_spare(struct weft_store *s, uint32_t pod, uint32_t id);
/* Drops all cells of a pod that is gone, after grace. Main thread. */
void weft_store_cells_drop(struct weft_store *s, uint32_t pod);
/* Drops cells whose state ids are no longer in `live` (sorted ascending), after grace. Main thread.
 */
void weft_store_cells_retain(struct weft_store *s, const uint32_t *live, size_t n);
/*
 * Drops cells of these state ids (sorted ascending), which nothing in force has any more: held[i] is
 * set when one of id[i]'s cells has to stay under its id, for places that are held or for want of
 * memory. An id that is not held and has settled may be given to something else. Main thread.
 */
void weft_store_cells_forget(struct weft_store *s, const uint32_t *id, size_t n, bool *held);
/* Calls fn for each cell. Any thread; a snapshot is not promised. */
void weft_store_cells_each(struct weft_store *s,
			   void (*fn)(void *ctx, uint32_t pod, uint32_t id, uint32_t cell),
			   void *ctx);
