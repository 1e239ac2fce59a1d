// SPDX-License-Identifier: Apache-2.0
#include "agent/proxy/internal.h"

static uint64_t tick_of(uint64_t ms)
{
	return ms / PROXY_TICK_MS + 1;
}

static void hang(struct wheel *wh, struct timer *t)
{
	uint64_t tick = tick_of(t->at);
	unsigned int i;

	if (tick <= wh->tick)
		tick = wh->tick + 1;
	if (tick > wh->tick + WHEEL_SLOTS - 1)
		tick = wh->tick + WHEEL_SLOTS - 1; /* far away: hung up anew from there */
	t->place = tick;
	i = (unsigned int)(tick % WHEEL_SLOTS);
	LIST_INSERT_HEAD(&wh->slot[i], t, link);
	wh->used[i / 64] |= 1ull << (i % 64);
}

void timer_set(struct worker *w, struct timer *t, uint64_t at_ms)
{
	t->at = at_ms ? at_ms : 1;
	if (t->place && tick_of(t->at) >= t->place)
		return;
	timer_remove(t);
	hang(&w->wheel, t);
}

void timer_remove(struct timer *t)
{
	if (t->place)
		LIST_REMOVE(t, link);
	t->place = 0;
}

static void slot_run(struct worker *w, unsigned int i)
{
	struct timers due = w->wheel.slot[i];

	LIST_INIT(&w->wheel.slot[i]);
	if (!LIST_EMPTY(&due))
		LIST_FIRST(&due)->link.le_prev = &LIST_FIRST(&due);
	w->wheel.used[i / 64] &= ~(1ull << (i % 64));
	while (!LIST_EMPTY(&due)) {
		struct timer *t = LIST_FIRST(&due);

		timer_remove(t);
		if (!t->at)
			continue;
		if (t->at > w->now_ms) {
			hang(&w->wheel, t);
			continue;
		}
		t->at = 0;
		t->fire(w, t);
	}
}

void timers_run(struct worker *w)
{
	uint64_t now = w->now_ms / PROXY_TICK_MS;

	if (now > w->wheel.tick + WHEEL_SLOTS)
		w->wheel.tick = now - WHEEL_SLOTS; /* a long sleep: once around is enough */
	while (w->wheel.tick < now)
		slot_run(w, (unsigned int)(++w->wheel.tick % WHEEL_SLOTS));
}

int timers_wait(const struct worker *w)
{
	for (uint64_t d = 1; d < WHEEL_SLOTS; d++) {
		unsigned int i = (unsigned int)((w->wheel.tick + d) % WHEEL_SLOTS);

		if (!w->wheel.used[i / 64]) {
			d += 63 - i % 64;
			continue;
		}
		if (w->wheel.used[i / 64] >> (i % 64) & 1) {
			uint64_t at = (w->wheel.tick + d) * PROXY_TICK_MS;

			return at > w->now_ms ? (int)(at - w->now_ms) : 1;
		}
	}
	return -1;
}
