// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "agent/cells.h"
#include "agent/offline.h"
#include "bpf/engine/engine.h"

static int open_good(struct weft_offline *o)
{
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;

	return weft_offline_open(WEFT_TEST_DATA "/cli/data/good.yaml", 4u << 20, true, &diag, o);
}

/* Clusters v1 (one endpoint) and empty are reached by tcp_proxy; v2 only by routes. */
static void test_ids_of_tcp_chains(void **state)
{
	struct weft_offline o;
	uint32_t *id = NULL;
	size_t n = 0, clusters = 0, endpoints = 0;

	(void)state;
	assert_int_equal(open_good(&o), 0);
	assert_int_equal(weft_cells_tcp_ids(0, &id, &n), 0);
	for (size_t i = 0; i < n; i++) {
		const char *kind = NULL, *name = weft_compiler_state_name(o.compiler, id[i], &kind);

		assert_non_null(name);
		assert_true(i == 0 || id[i] > id[i - 1]);
		clusters += strcmp(kind, "cluster") == 0;
		endpoints += strcmp(kind, "endpoint") == 0;
		if (strcmp(kind, "cluster") == 0)
			assert_string_not_equal(name, "v2");
	}
	assert_int_equal(clusters, 2);
	assert_int_equal(endpoints, 1);
	free(id);
	assert_int_equal(weft_cells_tcp_ids(9, &id, &n), -ENOENT);
	weft_offline_close(&o);
}

static void test_make(void **state)
{
	struct weft_offline o;
	uint32_t *id = NULL;
	size_t n = 0;

	(void)state;
	assert_int_equal(open_good(&o), 0);
	assert_int_equal(weft_cells_tcp_ids(0, &id, &n), 0);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(weft_cell_find(5, id[i]), 0);
	weft_cells_make(o.store, 5, 0);
	for (size_t i = 0; i < n; i++)
		assert_int_not_equal(weft_cell_find(5, id[i]), 0);
	free(id);
	weft_offline_close(&o);
}

/* Only what was not seen is news, until it is forgotten. */
static void test_news(void **state)
{
	struct weft_cells_seen seen = {0};
	struct weft_offline o;
	uint32_t *all = NULL, *id = NULL, first;
	size_t n_all = 0, n = 0;

	(void)state;
	assert_int_equal(open_good(&o), 0);
	assert_int_equal(weft_cells_tcp_ids(0, &all, &n_all), 0);
	assert_int_equal(weft_cells_news(&seen, 0, &id, &n), 0);
	assert_int_equal(n, n_all);
	assert_memory_equal(id, all, n * sizeof(*id));
	free(id);
	assert_int_equal(weft_cells_news(&seen, 0, &id, &n), 0);
	assert_int_equal(n, 0);
	free(id);
	first = seen.id[0];
	memmove(seen.id, seen.id + 1, --seen.n * sizeof(*id));
	assert_int_equal(weft_cells_news(&seen, 0, &id, &n), 0);
	assert_int_equal(n, 1);
	assert_int_equal(id[0], first);
	free(id);
	assert_int_equal(weft_cells_news(&seen, 9, &id, &n), -ENOENT);
	weft_cells_forget(&seen);
	assert_int_equal(weft_cells_news(&seen, 0, &id, &n), 0);
	assert_int_equal(n, n_all);
	free(id);
	weft_cells_forget(&seen);
	free(all);
	weft_offline_close(&o);
}

/* The same once more: another root, with the same view. */
static void publish_again(struct weft_offline *o)
{
	const struct weft_view_input input = {.snapshot = o->snapshot};
	uint32_t epoch = weft_store_epoch(o->store);

	assert_int_equal(weft_compiler_publish(o->compiler, &input, 1, NULL), 0);
	assert_int_equal(weft_store_epoch(o->store), epoch + 1);
}

/* A view that the publish left as it was is not walked; one that was not looked at each time is. */
static void test_unchanged_is_not_walked(void **state)
{
	struct weft_cells_seen seen = {0};
	struct weft_offline o;
	uint32_t *id = NULL;
	size_t n = 0;

	(void)state;
	assert_int_equal(open_good(&o), 0);
	assert_int_equal(weft_cells_news(&seen, 0, &id, &n), 0);
	assert_true(n > 1);
	free(id);
	/* a walk would find that it is missing here */
	memmove(seen.id, seen.id + 1, --seen.n * sizeof(*id));
	for (int i = 0; i < 3; i++) {
		publish_again(&o);
		assert_int_equal(weft_cells_news(&seen, 0, &id, &n), 0);
		assert_int_equal(n, 0);
		free(id);
	}
	publish_again(&o);
	publish_again(&o);
	assert_int_equal(weft_cells_news(&seen, 0, &id, &n), 0);
	assert_int_equal(n, 1);
	free(id);
	/* what was missing is tried again with the next publish */
	weft_cells_forget(&seen);
	publish_again(&o);
	assert_int_equal(weft_cells_news(&seen, 0, &id, &n), 0);
	assert_true(n > 1);
	free(id);
	weft_cells_forget(&seen);
	weft_offline_close(&o);
}

/* A state that is full: what is missing is told. */
static void test_missing(void **state)
{
	struct weft_offline o;
	struct weft_store_stats stats;
	uint32_t id = 1u << 20;

	(void)state;
	assert_int_equal(open_good(&o), 0);
	weft_store_stats(o.store, &stats);
	for (uint32_t pod = 1; stats.cells_used + 1 < stats.cells; pod = pod % 200 + 1, id++) {
		if (!weft_store_cell(o.store, pod, id))
			break;
		weft_store_stats(o.store, &stats);
	}
	assert_true(weft_cells_make(o.store, 900, 0) > 0);
	weft_offline_close(&o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ids_of_tcp_chains),
		cmocka_unit_test(test_make),
		cmocka_unit_test(test_news),
		cmocka_unit_test(test_unchanged_is_not_walked),
		cmocka_unit_test(test_missing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
