// SPDX-License-Identifier: Apache-2.0
/* Epoch pins; and that a reader thread never sees a half-written object or one that was given out
 * anew. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/store/store.h"
#include "bpf/engine/engine.h"

#define FLIPS 1000
#define WORDS 512

/* The root of these tests: a view is an object of equal words. */
struct root {
	struct weft_img_root head;
	uint32_t view;
};

/* Of the last publish(), 0: none. */
static uint32_t held[2];

static void publish(struct weft_store *s, uint32_t word)
{
	uint32_t words[WORDS], at;
	struct root root = {.head = {.epoch = weft_store_epoch(s) + 1, .n_view = 1}};

	for (int i = 0; i < WORDS; i++)
		words[i] = word;
	assert_int_equal(weft_store_begin(s), 0);
	for (int i = 0; i < 2 && held[i]; i++)
		assert_int_equal(weft_store_drop(s, held[i]), 0);
	assert_int_equal(weft_store_put(s, words, sizeof(words), &root.view), 0);
	assert_int_equal(weft_store_put(s, &root, sizeof(root), &at), 0);
	assert_int_equal(weft_store_commit(s, at), 0);
	held[0] = root.view;
	held[1] = at;
}

static int setup(void **state)
{
	memset(held, 0, sizeof(held));
	/* room for a few epochs only, so that memory is used again at once */
	return weft_store_new_heap(16u << 10, 1u << 20, (struct weft_store **)state);
}

static int teardown(void **state)
{
	weft_store_free(*state);
	return 0;
}

static uint64_t waiting(struct weft_store *s)
{
	struct weft_store_stats st;

	weft_store_reclaim(s);
	weft_store_stats(s, &st);
	return st.waiting_bytes;
}

static void test_pins_nest_and_end_in_any_order(void **state)
{
	struct weft_store *s = *state;
	struct weft_reader *r;
	uint32_t e1, e2, e2b;

	assert_int_equal(weft_reader_new(s, &r), 0);
	publish(s, 1);
	e1 = weft_reader_enter(r);
	publish(s, 2);
	e2 = weft_reader_enter(r);
	e2b = weft_reader_enter(r);
	assert_int_equal(e1, 1);
	assert_int_equal(e2, 2);
	assert_int_equal(e2b, 2);
	publish(s, 3);
	assert_true(waiting(s) > 0);
	weft_reader_leave(r, e2);
	weft_reader_leave(r, e2b);
	assert_true(waiting(s) > 0);
	e2 = weft_reader_enter(r);
	assert_int_equal(e2, 3);
	weft_reader_leave(r, e1);
	assert_int_equal(waiting(s), 0);
	weft_reader_leave(r, e2);
	weft_reader_leave(r, 77); /* not pinned: nothing happens */
	weft_reader_free(r);
}

/* More epochs at once than there are places: a later one shares the newest, which keeps more, never
 * less. */
static void test_more_epochs_than_places(void **state)
{
	struct weft_store *s;
	struct weft_reader *r;
	uint32_t epoch[40];

	(void)state;
	assert_int_equal(weft_store_new_heap(1u << 20, 1u << 20, &s), 0);
	assert_int_equal(weft_reader_new(s, &r), 0);
	for (uint32_t i = 0; i < 40; i++) {
		publish(s, i + 1);
		epoch[i] = weft_reader_enter(r);
		assert_true(epoch[i] <= i + 1);
	}
	for (uint32_t i = 0; i < 39; i++) {
		weft_reader_leave(r, epoch[i]);
		weft_store_reclaim(s);
	}
	weft_reader_leave(r, epoch[39]);
	assert_int_equal(waiting(s), 0);
	weft_reader_free(r);
	weft_store_free(s);
}

/* What is kept is what it was used with: later epochs come and go, also those that were published meanwhile. */
static void test_kept_holds_nothing_newer(void **state)
{
	struct weft_store *s = *state;
	struct weft_reader *r;
	uint32_t old, other;
	unsigned int kept, more;
	uint64_t one;

	assert_int_equal(weft_reader_new(s, &r), 0);
	publish(s, 1);
	publish(s, 2);
	assert_int_equal(waiting(s), 0);
	old = weft_reader_enter(r);
	publish(s, 3);
	other = weft_reader_enter(r);
	one = waiting(s);
	assert_true(one > 0);
	kept = weft_reader_keep(r, old, old);
	more = weft_reader_keep(r, other, other);
	publish(s, 4);
	assert_int_equal(waiting(s), 2 * one);
	for (uint32_t i = 5; i < 100; i++)
		publish(s, i); /* the image has room for some only */
	assert_int_equal(waiting(s), 2 * one);
	weft_reader_unkeep(r, kept);
	assert_int_equal(waiting(s), one);
	weft_reader_unkeep(r, more);
	assert_int_equal(waiting(s), 0);
	weft_reader_free(r);
}

/* An exchange that read a newer root than the one it had pinned. */
static void test_kept_up_to(void **state)
{
	struct weft_store *s = *state;
	struct weft_reader *r;
	unsigned int kept[2];
	uint32_t old;
	uint64_t one;

	assert_int_equal(weft_reader_new(s, &r), 0);
	publish(s, 1);
	old = weft_reader_enter(r);
	assert_int_equal(weft_reader_enter(r), old);
	publish(s, 2);
	kept[0] = weft_reader_keep(r, old, old);
	publish(s, 3);
	/* the other one still has its pin */
	one = waiting(s) / 2;
	kept[1] = weft_reader_keep(r, old, old + 1);
	publish(s, 4);
	assert_int_equal(waiting(s), 2 * one);
	weft_reader_unkeep(r, kept[0]);
	assert_int_equal(waiting(s), 2 * one);
	weft_reader_unkeep(r, kept[1]);
	assert_int_equal(waiting(s), 0);
	weft_reader_free(r);
}

/* More ranges than places: the youngest is widened, and each ends with its last. */
static void test_more_kept_than_places(void **state)
{
	unsigned int kept[200];
	struct weft_store *s;
	struct weft_reader *r;

	(void)state;
	assert_int_equal(weft_store_new_heap(4u << 20, 1u << 20, &s), 0);
	assert_int_equal(weft_reader_new(s, &r), 0);
	for (uint32_t i = 0; i < 200; i++) {
		publish(s, i);
		uint32_t epoch = weft_reader_enter(r);

		kept[i] = weft_reader_keep(r, epoch, epoch);
	}
	publish(s, 1000);
	for (uint32_t i = 0; i < 200; i++) {
		assert_true(waiting(s) >= (200 - i) * WORDS * sizeof(uint32_t));
		weft_reader_unkeep(r, kept[i]);
	}
	assert_int_equal(waiting(s), 0);
	weft_reader_free(r);
	weft_store_free(s);
}

static void test_nothing_published(void **state)
{
	struct weft_reader *r;
	uint32_t epoch;

	assert_int_equal(weft_reader_new(*state, &r), 0);
	epoch = weft_reader_enter(r);
	assert_int_equal(epoch, 0);
	publish(*state, 1);
	publish(*state, 2);
	assert_true(waiting(*state) > 0);
	weft_reader_leave(r, epoch);
	assert_int_equal(waiting(*state), 0);
	weft_reader_free(r);
}

struct job {
	struct weft_store *s;
	int stop;
	uint64_t reads;
	uint64_t torn, stale;
};

static void *read_all(void *arg)
{
	struct job *j = arg;
	struct weft_reader *r;

	if (weft_reader_new(j->s, &r))
		return NULL;
	while (!__atomic_load_n(&j->stop, __ATOMIC_RELAXED)) {
		struct weft_ctx ctx = {0};
		uint32_t epoch = weft_reader_enter(r);

		if (!weft_ctx_begin(&ctx)) {
			const volatile uint32_t *w = weft_img_at(ctx.view_off);

			/* each word is the epoch's number */
			for (int i = 0; i < WORDS; i++) {
				j->torn += w[i] != w[0];
				j->stale += w[i] != ctx.epoch;
			}
			j->stale += ctx.epoch < epoch;
			__atomic_fetch_add(&j->reads, 1, __ATOMIC_RELAXED);
		}
		weft_reader_leave(r, epoch);
	}
	weft_reader_free(r);
	return NULL;
}

static void test_never_half_written(void **state)
{
	struct job j[2] = {{.s = *state}, {.s = *state}};
	pthread_t t[2];

	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&t[i], NULL, read_all, &j[i]), 0);
	for (uint32_t i = 1; i <= FLIPS; i++) {
		struct weft_store_stats st;

		/* wait for room: readers hold on for as long as one pass takes */
		do {
			weft_store_reclaim(*state);
			weft_store_stats(*state, &st);
			if (st.img_size - st.img_used < 3 * WORDS * sizeof(uint32_t))
				sched_yield();
		} while (st.img_size - st.img_used < 3 * WORDS * sizeof(uint32_t));
		publish(*state, i);
	}
	for (int i = 0; i < 2; i++) {
		while (!__atomic_load_n(&j[i].reads, __ATOMIC_RELAXED))
			sched_yield();
		__atomic_store_n(&j[i].stop, 1, __ATOMIC_RELAXED);
		pthread_join(t[i], NULL);
		assert_int_equal(j[i].torn, 0);
		assert_int_equal(j[i].stale, 0);
	}
	assert_int_equal(weft_store_epoch(*state), FLIPS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
		TEST(test_pins_nest_and_end_in_any_order),
		cmocka_unit_test(test_more_epochs_than_places),
		TEST(test_kept_holds_nothing_newer),
		TEST(test_kept_up_to),
		cmocka_unit_test(test_more_kept_than_places),
		TEST(test_nothing_published),
		TEST(test_never_half_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
