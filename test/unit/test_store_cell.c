// SPDX-License-Identifier: Apache-2.0
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

#define BUCKET(i) ((uint32_t)(i))
#define FILTER(i) ((uint32_t)WEFT_CELL_FILTER << WEFT_ID_KIND_SHIFT | (uint32_t)(i))
#define CLUSTER(i) ((uint32_t)WEFT_CELL_CLUSTER << WEFT_ID_KIND_SHIFT | (uint32_t)(i))

static int setup(void **state)
{
	return weft_store_new_heap(64u << 10, 4u << 20, (struct weft_store **)state);
}

static int teardown(void **state)
{
	weft_store_free(*state);
	return 0;
}

static uint64_t used(struct weft_store *s)
{
	struct weft_store_stats st;

	weft_store_stats(s, &st);
	return st.cells_used;
}

static void publish(struct weft_store *s)
{
	struct weft_img_root root = {.epoch = weft_store_epoch(s) + 1};
	uint32_t at;

	assert_int_equal(weft_store_begin(s), 0);
	assert_int_equal(weft_store_put(s, &root, sizeof(root), &at), 0);
	assert_int_equal(weft_store_commit(s, at), 0);
}

static void test_made_once(void **state)
{
	struct weft_store *s = *state;
	uint32_t a = weft_store_cell(s, 1, BUCKET(5)), b = weft_store_cell(s, 2, BUCKET(5));

	assert_int_not_equal(a, 0);
	assert_int_not_equal(b, 0);
	assert_int_not_equal(a, b);
	assert_int_equal(weft_store_cell(s, 1, BUCKET(5)), a);
	assert_int_equal(weft_cell_find(1, BUCKET(5)), a);
	assert_int_equal(weft_cell_find(3, BUCKET(5)), 0);
	assert_int_equal(weft_store_cell(s, 0, BUCKET(5)), 0);
	assert_int_equal(weft_store_cell(s, 1, 0), 0);
	assert_int_equal(weft_store_cell(s, WEFT_PODS_MAX + 1, BUCKET(1)), 0);
	assert_int_equal(used(s), 2);
}

static void test_full(void **state)
{
	struct weft_store *s = *state;
	struct weft_store_stats st;
	uint32_t made = 0;

	weft_store_stats(s, &st);
	for (uint32_t i = 1; i <= st.cells + 1; i++)
		made += weft_store_cell(s, 1 + i % 8, BUCKET(i)) != 0;
	assert_int_equal(made, st.cells - 1); /* index 0 is never used */
	weft_store_stats(s, &st);
	assert_int_equal(st.full, 2);
	/* the others are found all the same */
	for (uint32_t i = 1; i <= made; i++)
		assert_int_not_equal(weft_cell_find(1 + i % 8, BUCKET(i)), 0);
}

/* What can do without a cell leaves half of them to what cannot. */
static void test_spare(void **state)
{
	struct weft_store *s = *state;
	struct weft_store_stats st;
	uint32_t made = 0;

	weft_store_stats(s, &st);
	for (uint32_t i = 1; i <= st.cells; i++)
		made += weft_store_cell_spare(s, 1 + i % 8, BUCKET(i)) != 0;
	assert_in_range(made, st.cells / 2 - 2, st.cells / 2);
	assert_int_equal(weft_store_cell_spare(s, 2, BUCKET(1)), weft_cell_find(2, BUCKET(1)));
	assert_int_equal(weft_store_cell_spare(s, 0, BUCKET(1)), 0);
	assert_int_not_equal(weft_store_cell(s, 1, CLUSTER(1)), 0);
	weft_store_stats(s, &st);
	assert_int_equal(st.full, 0);
}

static void test_quota_of_a_pod(void **state)
{
	struct weft_store *s;
	uint32_t i;

	(void)state;
	assert_int_equal(weft_store_new_heap(64u << 10, 64u << 20, &s), 0);
	for (i = 1; weft_store_cell(s, 1, BUCKET(i)); i++)
		;
	assert_int_equal(i - 1, WEFT_CELLS_PER_POD_DEFAULT);
	assert_int_not_equal(weft_store_cell(s, 2, BUCKET(1)), 0);
	weft_store_free(s);
}

static void test_drop_by_pod(void **state)
{
	struct weft_store *s = *state;
	uint32_t a = weft_store_cell(s, 1, BUCKET(1)), b = weft_store_cell(s, 2, BUCKET(1));

	weft_cell_bucket(a)->word = 7;
	weft_store_cells_drop(s, 1);
	assert_int_equal(weft_cell_find(1, BUCKET(1)), 0);
	assert_int_equal(weft_cell_find(2, BUCKET(1)), b);
	publish(s);
	weft_store_reclaim(s);
	/* a new pod of the same id begins from nothing */
	a = weft_store_cell(s, 1, BUCKET(1));
	assert_int_not_equal(a, 0);
	assert_int_equal(weft_cell_bucket(a)->word, 0);
	weft_store_cells_drop(s, WEFT_PODS_MAX + 7);
}

static void test_retain(void **state)
{
	struct weft_store *s = *state;
	const uint32_t live[] = {BUCKET(2), BUCKET(4)};

	for (uint32_t i = 1; i <= 5; i++)
		assert_int_not_equal(weft_store_cell(s, 1, BUCKET(i)), 0);
	weft_store_cells_retain(s, live, 2);
	assert_int_equal(used(s), 2);
	assert_int_not_equal(weft_cell_find(1, BUCKET(2)), 0);
	assert_int_not_equal(weft_cell_find(1, BUCKET(4)), 0);
	assert_int_equal(weft_cell_find(1, BUCKET(3)), 0);
	weft_store_cells_retain(s, NULL, 0);
	assert_int_equal(used(s), 0);
}

/*
 * A connection's place is given back to the cell it was taken from, however long that takes; a new
 * pod of the old one's id does not find that cell, nor does anybody get it meanwhile.
 */
static void test_held_cell_stays(void **state)
{
	struct weft_store *s = *state;
	uint32_t a = weft_store_cell(s, 1, CLUSTER(1)), b = 0, n = 0;
	struct weft_cell_cluster *c = weft_cell_cluster(a);
	struct weft_store_stats st;

	assert_true(weft_place_take(&c->cx_active[0], 8));
	weft_store_cells_drop(s, 1);
	publish(s);
	weft_store_reclaim(s);
	assert_int_equal(weft_cell_find(1, CLUSTER(1)), 0);
	b = weft_store_cell(s, 1, CLUSTER(1));
	assert_int_not_equal(b, 0);
	assert_int_not_equal(b, a);
	assert_int_equal(weft_cell_cluster(b)->cx_active[0], 0);
	weft_store_stats(s, &st);
	for (uint32_t i = 1; i <= st.cells; i++) {
		uint32_t cell = weft_store_cell(s, 2 + i % 8, BUCKET(i));

		assert_int_not_equal(cell, a);
		n += cell != 0;
	}
	assert_int_equal(n, st.cells - 3); /* index 0, a and b */
	assert_int_equal(c->cx_active[0], 1);
	weft_place_put(&c->cx_active[0]);
	weft_store_reclaim(s);
	assert_int_equal(weft_store_cell(s, 1, CLUSTER(2)), a);
}

/* What is no longer in force stays where it is found while it is in use: its users may take further
 * places. */
static void test_retained_while_held(void **state)
{
	struct weft_store *s = *state;
	uint32_t a = weft_store_cell(s, 1, CLUSTER(1));

	assert_true(weft_place_take(&weft_cell_cluster(a)->cx_active[0], 8));
	weft_store_cells_retain(s, NULL, 0);
	assert_int_equal(weft_cell_find(1, CLUSTER(1)), a);
	weft_place_put(&weft_cell_cluster(a)->cx_active[0]);
	weft_store_cells_retain(s, NULL, 0);
	assert_int_equal(weft_cell_find(1, CLUSTER(1)), 0);
}

/* A request that waits for its injected delay holds a place of its filter's. */
static void test_filter_while_one_waits(void **state)
{
	struct weft_store *s = *state;
	uint32_t a = weft_store_cell(s, 1, FILTER(1)), id = FILTER(1);
	bool held = false;

	weft_cell_filter(a)->active = 1;
	weft_store_cells_retain(s, NULL, 0);
	assert_int_equal(weft_cell_find(1, FILTER(1)), a);
	weft_store_cells_forget(s, &id, 1, &held);
	assert_true(held);
	weft_store_cells_drop(s, 1);
	publish(s);
	weft_store_reclaim(s);
	assert_int_not_equal(weft_store_cell(s, 2, CLUSTER(1)), a);
	weft_place_put(&weft_cell_filter(a)->active);
	weft_store_reclaim(s);
	assert_int_equal(weft_store_cell(s, 2, CLUSTER(2)), a);
}

/* Taken by one who had found the cell before it was dropped. */
static void test_place_taken_late(void **state)
{
	struct weft_store *s = *state;
	uint32_t a = weft_store_cell(s, 1, CLUSTER(1));
	struct weft_cell_cluster *c = weft_cell_cluster(a);
	struct weft_store_stats st;

	weft_store_cells_drop(s, 1);
	assert_true(weft_place_take(&c->rq_active[1], 8));
	publish(s);
	weft_store_reclaim(s);
	weft_store_stats(s, &st);
	/* every other cell can be had, not this one */
	for (uint32_t i = 1; i < st.cells - 1; i++)
		assert_int_not_equal(weft_store_cell(s, 2, BUCKET(i)), a);
	assert_int_equal(weft_store_cell(s, 2, BUCKET(st.cells)), 0);
	weft_place_put(&c->rq_active[1]);
	weft_store_reclaim(s);
	assert_int_equal(weft_store_cell(s, 2, BUCKET(st.cells)), a);
}

static void test_reader_holds_off_reuse(void **state)
{
	struct weft_store *s = *state;
	struct weft_reader *r;
	struct weft_store_stats st;
	uint32_t a, epoch;

	publish(s);
	assert_int_equal(weft_reader_new(s, &r), 0);
	a = weft_store_cell(s, 1, BUCKET(1));
	epoch = weft_reader_enter(r);
	weft_store_cells_drop(s, 1);
	publish(s);
	weft_store_reclaim(s);
	weft_store_stats(s, &st);
	for (uint32_t i = 1; i < st.cells - 1; i++)
		assert_int_not_equal(weft_store_cell(s, 2, BUCKET(i)), a);
	weft_reader_leave(r, epoch);
	weft_store_reclaim(s);
	assert_int_equal(weft_store_cell(s, 3, BUCKET(1)), a);
	weft_reader_free(r);
}

/* Small ids of many pods, as real ones are: half full, and everything within reach. */
static void test_directory_spreads(void **state)
{
	struct weft_store_stats st;
	struct weft_store *s;
	uint32_t n;

	(void)state;
	assert_int_equal(weft_store_new_heap(64u << 10, 32u << 20, &s), 0);
	weft_store_stats(s, &st);
	n = (uint32_t)st.cells - 1;
	for (uint32_t i = 0; i < n; i++)
		assert_int_not_equal(
			weft_store_cell(s, 1 + i / 200,
					i & 1 ? CLUSTER(1 + i % 200) : BUCKET(1 + i % 200)),
			0);
	weft_store_stats(s, &st);
	assert_int_equal(st.full, 0);
	weft_store_free(s);
}

/* A recycled cell says from which image on it is this bucket's; other kinds of cells have no room for it. */
static void test_since(void **state)
{
	struct weft_store *s = *state;
	uint32_t a = weft_store_cell(s, 1, BUCKET(1)), end;

	assert_int_equal(weft_cell_bucket(a)->since, 0);
	publish(s);
	publish(s);
	end = weft_store_epoch(s); /* the first that does not have it */
	weft_store_cells_retain(s, NULL, 0);
	weft_store_reclaim(s);
	publish(s);
	assert_int_equal(weft_store_cell(s, 1, BUCKET(2)), a); /* the last that was freed */
	assert_int_equal(weft_cell_bucket(a)->since, end);
	weft_store_cells_retain(s, NULL, 0);
	weft_store_reclaim(s);
	assert_int_equal(weft_store_cell(s, 1, CLUSTER(1)), a);
	for (uint32_t i = 0; i < WEFT_CELL_SIZE; i++)
		assert_int_equal(((uint8_t *)weft_cell_cluster(a))[i], 0);
}

/* Pods that come and go leave no marks that make probes longer. */
static void test_churn(void **state)
{
	const struct weft_state_head *h = weft_state_head();
	const struct weft_dir_ent *dir = (const void *)((const uint8_t *)h + h->dir);
	struct weft_store *s = *state;
	uint32_t marks = 0;

	for (uint32_t i = 1; i < 200; i++) {
		for (uint32_t k = 0; k < 8; k++)
			assert_int_not_equal(
				weft_store_cell(s, 1 + i % WEFT_PODS_MAX, BUCKET(i + k)), 0);
		weft_store_cells_retain(s, NULL, 0);
		publish(s);
		weft_store_reclaim(s);
	}
	assert_int_equal(used(s), 0);
	for (uint32_t i = 0; i < h->n_dir; i++)
		marks += dir[i].key != 0;
	assert_int_equal(marks, 0);
}

static void count(void *ctx, uint32_t pod, uint32_t id, uint32_t cell)
{
	assert_int_equal(weft_cell_find(pod, id), cell);
	++*(uint32_t *)ctx;
}

static void test_each(void **state)
{
	struct weft_store *s = *state;
	uint32_t n = 0;

	for (uint32_t i = 1; i <= 10; i++)
		weft_store_cell(s, i, BUCKET(i));
	weft_store_cells_each(s, count, &n);
	assert_int_equal(n, 10);
}

static void *make_all(void *arg)
{
	uint32_t *got = calloc(1000, sizeof(*got));

	for (uint32_t i = 0; got && i < 1000; i++)
		got[i] = weft_store_cell(arg, 1 + i % 3, BUCKET(1 + i));
	return got;
}

static void test_threads_get_the_same(void **state)
{
	pthread_t t[4];
	uint32_t *got[4];

	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&t[i], NULL, make_all, *state), 0);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(pthread_join(t[i], (void **)&got[i]), 0);
		assert_non_null(got[i]);
		assert_memory_equal(got[i], got[0], 1000 * sizeof(uint32_t));
	}
	for (int i = 0; i < 4; i++)
		free(got[i]);
	assert_int_equal(used(*state), 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
		TEST(test_made_once),
		TEST(test_full),
		TEST(test_spare),
		TEST(test_drop_by_pod),
		TEST(test_retain),
		TEST(test_held_cell_stays),
		TEST(test_retained_while_held),
		TEST(test_filter_while_one_waits),
		TEST(test_place_taken_late),
		TEST(test_reader_holds_off_reuse),
		TEST(test_since),
		TEST(test_churn),
		TEST(test_each),
		TEST(test_threads_get_the_same),
		cmocka_unit_test(test_quota_of_a_pod),
		cmocka_unit_test(test_directory_spreads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
