/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What a worker waits for: deadlines (timer.c) and descriptors (worker.c). */

#include <stdint.h>
#include <sys/queue.h>

struct worker;

/* ---- timers: a deadline in ms of the worker's clock, 0 none ---- */

/*
 * A hashed wheel. Moving a deadline further away costs one store: the timer stays where it hangs
 * and is hung up anew when that place comes by.
 */
struct timer {
	LIST_ENTRY(timer) link;
	uint64_t at;
	uint64_t place; /* tick it hangs at, 0: nowhere */
	void (*fire)(struct worker *w, struct timer *t);
};
LIST_HEAD(timers, timer);
#define WHEEL_SLOTS 1024u
struct wheel {
	struct timers slot[WHEEL_SLOTS];
	uint64_t used[WHEEL_SLOTS / 64]; /* bit per slot that may not be empty */
	uint64_t tick;			 /* last one looked at */
};
void timer_set(struct worker *w, struct timer *t, uint64_t at_ms);
static inline void timer_clear(struct timer *t)
{
	t->at = 0;
}
/* Takes it off the wheel: before its memory goes. */
void timer_remove(struct timer *t);
/* Fires what is due. */
void timers_run(struct worker *w);
/* Milliseconds until the next may be due, -1: none. */
int timers_wait(const struct worker *w);

/* ---- what epoll tells about ---- */

enum watch_kind { WATCH_WAKE, WATCH_LISTENER, WATCH_DOWN, WATCH_UPSTREAM, WATCH_RUNNER };
struct watch {
	enum watch_kind kind;
	int fd;
	uint32_t events; /* registered */
};
/* Registers or changes; events 0 unregisters. */
int watch_set(struct worker *w, struct watch *watch, uint32_t events);
/* Closes and forgets. */
void watch_close(struct worker *w, struct watch *watch);
