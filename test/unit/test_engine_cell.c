// SPDX-License-Identifier: Apache-2.0

/* The directory, places of breakers, layout of the state, free lists. */

#include <pthread.h>

#include "test/unit/image_fixture.h"

static void directory(void **state)
{
	__u32 a = fix_cell(1), b = fix_cell(2);
	struct weft_state_head *h = weft_state_head();
	struct weft_dir_ent *dir = (void *)(fix.state + h->dir);

	(void)state;
	assert_true(a && b && a != b);
	assert_int_equal(weft_cell_find(FIX_POD, 1), a);
	assert_int_equal(weft_cell_find(FIX_POD + 1, 1), 0);
	assert_int_equal(weft_cell_find(FIX_POD, 3), 0);
	/* a deleted entry does not end the probing */
	__u32 i = weft_hash_cell(FIX_POD, 500) & (h->n_dir - 1);

	dir[i].key = 1;
	__u32 c = fix_cell(500);

	assert_int_equal(weft_cell_find(FIX_POD, 500), c);
}

static int places[4];
static __u32 *word;

static void *holder(void *arg)
{
	int *most = arg;

	for (int i = 0; i < 20000; i++)
		if (weft_place_take(word, 3)) {
			int n = (int)__atomic_load_n(word, __ATOMIC_ACQUIRE);

			*most = n > *most ? n : *most;
			weft_place_put(word);
		}
	return NULL;
}

static void places_of(__u32 *at)
{
	pthread_t t[4];

	word = at;
	assert_false(weft_place_take(word, 0));
	assert_true(weft_place_take(word, 2));
	assert_true(weft_place_take(word, 2));
	assert_false(weft_place_take(word, 2));
	assert_int_equal(*word, 2);
	weft_place_put(word);
	weft_place_put(word);
	weft_place_put(word); /* once too often: stays at zero */
	assert_int_equal(*word, 0);
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&t[i], NULL, holder, &places[i]), 0);
	for (int i = 0; i < 4; i++) {
		pthread_join(t[i], NULL);
		assert_true(places[i] <= 3);
	}
	assert_int_equal(*word, 0);
}

static void breaker_places(void **state)
{
	(void)state;
	places_of(&weft_cell_cluster(fix_cell(9))->rq_active[1]);
}

/* A number of the agent's own is that number, and nothing in the state changes. */
static void breaker_places_outside(void **state)
{
	__u32 *own = calloc(4, sizeof(*own));
	__u8 *before = malloc(FIX_STATE_SIZE);

	(void)state;
	memcpy(before, fix.state, FIX_STATE_SIZE);
	places_of(&own[1]);
	assert_int_equal(own[0] | own[2], 0);
	assert_memory_equal(before, fix.state, FIX_STATE_SIZE);
	free(before);
	free(own);
}

static void layout(void **state)
{
	void *p = calloc(1, 1 << 20);

	(void)state;
	assert_int_equal(weft_state_layout(p, 1 << 20, 1 << 20, 64, 4), -ENOSPC);
	memset(p, 0, 1 << 20);
	assert_int_equal(weft_state_layout(p, 1 << 20, 1, 64, 4), -ENOSPC);
	free(p);
}

static void slots(void **state)
{
	__u32 n = 0, seen[64] = { 0 }, s;

	(void)state;
	while ((s = weft_slot_get())) {
		assert_true(s < 64 && !seen[s]++);
		n++;
	}
	assert_int_equal(n, 63);
	assert_int_equal(weft_state_head()->slots_used, 63);
	for (s = 1; s < 64; s++)
		weft_slot_put(s);
	assert_int_equal(weft_state_head()->slots_used, 0);
	assert_true(weft_slot_get());
}

static void *pod_holder(void *arg)
{
	for (int i = 0; i < 20000; i++) {
		if (!weft_pod_slot_take(9))
			continue;
		if (__atomic_load_n(&weft_pod_use(9)->slots, __ATOMIC_RELAXED) > 3)
			__atomic_store_n((bool *)arg, true, __ATOMIC_RELAXED);
		weft_pod_slot_put(9);
	}
	return NULL;
}

/* Each pod has its own, the last id too; the two kinds are apart. */
static void shares_of_pods(void **state)
{
	struct weft_state_head *h = weft_state_head();
	__u32 slots_max = h->pod_slots_max, origs_max = h->pod_origs_max;
	bool over = false;
	pthread_t t[4];

	(void)state;
	assert_int_equal(slots_max, 64);
	assert_int_equal(origs_max, 128);
	h->pod_slots_max = 3;
	h->pod_origs_max = 1;
	for (int i = 0; i < 3; i++)
		assert_int_equal(weft_pod_slot_take(WEFT_PODS_MAX), 1);
	assert_int_equal(weft_pod_slot_take(WEFT_PODS_MAX), 0);
	assert_int_equal(weft_pod_orig_take(WEFT_PODS_MAX), 1);
	assert_int_equal(weft_pod_orig_take(WEFT_PODS_MAX), 0);
	assert_int_equal(weft_pod_slot_take(WEFT_PODS_MAX - 1), 1);
	weft_pod_slot_put(WEFT_PODS_MAX);
	assert_int_equal(weft_pod_slot_take(WEFT_PODS_MAX), 1);
	weft_pod_orig_put(WEFT_PODS_MAX);
	assert_int_equal(weft_pod_use(WEFT_PODS_MAX)->slots, 3);
	assert_int_equal(weft_pod_use(WEFT_PODS_MAX)->origs, 0);
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&t[i], NULL, pod_holder, &over), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	assert_false(over);
	assert_int_equal(weft_pod_use(9)->slots, 0);
	for (__u32 i = 0; i < h->pod_runs_max; i++)
		assert_int_equal(weft_pod_run_take(7), 1);
	assert_int_equal(weft_pod_run_take(7), 0);
	assert_int_equal(weft_pod_run_take(8), 1);
	weft_pod_run_put(7);
	assert_int_equal(weft_pod_run_take(7), 1);
	h->pod_slots_max = slots_max;
	h->pod_origs_max = origs_max;
}

/* Places given back by many at once: none is lost, and none made. */
static void *giver(void *arg)
{
	for (int i = 0; i < 200000; i++)
		weft_place_put(word);
	return arg;
}

static void places_given_back(void **state)
{
	pthread_t t[4];

	(void)state;
	word = &weft_cell_cluster(fix_cell(9))->rq_active[1];
	*word = 4 * 200000 + 5;
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&t[i], NULL, giver, NULL), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	assert_int_equal(*word, 5);
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&t[i], NULL, giver, NULL), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	assert_int_equal(*word, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(directory),
		cmocka_unit_test(breaker_places),
		cmocka_unit_test(breaker_places_outside),
		cmocka_unit_test(places_given_back),
		cmocka_unit_test(layout),
		cmocka_unit_test(slots),
		cmocka_unit_test(shares_of_pods),
	};

	fix_open();
	int r = cmocka_run_group_tests(tests, NULL, NULL);

	fix_close();
	return r;
}
