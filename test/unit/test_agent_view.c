// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/view.h"
#include "xds/file.h"

#define CLUSTER(name, more)                                                                        \
	"{\"@type\": \"type.googleapis.com/envoy.config.cluster.v3.Cluster\", \"name\": \"" name   \
	"\", \"type\": \"STATIC\"" more "}"

/* Resources from text, by way of a file. */
static struct weft_snapshot *snapshot(const char *text)
{
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;
	char path[] = "/tmp/weft-view-XXXXXX.json";
	struct weft_snapshot *s = NULL;
	int fd = mkstemps(path, 5);

	dprintf(fd, "{\"resources\": [%s]}", text);
	close(fd);
	assert_int_equal(weft_file_load(path, 0, &diag, &s), 0);
	unlink(path);
	return s;
}

struct fixture {
	struct weft_store *store;
	struct weft_compiler *compiler;
	struct weft_views *views;
	int published;
};

static void published(void *ctx)
{
	((struct fixture *)ctx)->published++;
}

static int setup(void **state)
{
	static struct fixture f;

	memset(&f, 0, sizeof(f));
	*state = &f;
	return weft_store_new_heap(1u << 20, 32u << 20, &f.store) < 0 ||
	       weft_compiler_new(f.store, &f.compiler) < 0 ||
	       weft_views_new(f.compiler, published, &f, &f.views) < 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	weft_views_free(f->views);
	weft_compiler_free(f->compiler);
	weft_store_free(f->store);
	return 0;
}

static void test_sources_are_merged(void **state)
{
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;
	struct fixture *f = *state;
	struct weft_snapshot *file = snapshot(CLUSTER("a", "")), *xds = snapshot(CLUSTER("b", ""));
	const struct weft_snapshot *merged;

	assert_null(weft_views_merged(f->views, 0));
	assert_int_equal(weft_views_set(f->views, 0, WEFT_SOURCE_FILE, file, &diag), 0);
	assert_int_equal(weft_views_set(f->views, 0, WEFT_SOURCE_XDS, xds, &diag), 0);
	assert_int_equal(f->published, 2);
	merged = weft_views_merged(f->views, 0);
	assert_int_equal(weft_snapshot_count(merged, WEFT_XDS_CLUSTER), 2);
	assert_int_equal(
		weft_snapshot_count(weft_views_get(f->views, 0, WEFT_SOURCE_XDS), WEFT_XDS_CLUSTER),
		1);
	weft_snapshot_free(file);
	weft_snapshot_free(xds);
}

/* Neither source may change what the other says. The one that comes later is told. */
static void test_duplicate_is_refused(void **state)
{
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;
	struct fixture *f = *state;
	struct weft_snapshot *file = snapshot(CLUSTER("a", "")), *xds = snapshot(CLUSTER("a", ""));
	uint32_t epoch;

	assert_int_equal(weft_views_set(f->views, 0, WEFT_SOURCE_FILE, file, &diag), 0);
	epoch = weft_store_epoch(f->store);
	assert_int_equal(weft_views_set(f->views, 0, WEFT_SOURCE_XDS, xds, &diag), -EINVAL);
	assert_int_equal(diag.n, 1);
	assert_string_equal(diag.entries[0].resource, "Cluster/a");
	assert_int_equal(weft_store_epoch(f->store), epoch);
	assert_null(weft_views_get(f->views, 0, WEFT_SOURCE_XDS));
	/* A source replaces its own. */
	assert_int_equal(weft_views_set(f->views, 0, WEFT_SOURCE_FILE, file, &diag), 0);
	weft_snapshot_free(file);
	weft_snapshot_free(xds);
}

/* Larger than the image: refused as a whole, and what was in force stays. */
static void test_full_image_keeps_the_old(void **state)
{
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;
	struct fixture *f = *state;
	struct weft_snapshot *small = snapshot(CLUSTER("a", "")), *large;
	size_t size = 0;
	char *text = NULL;
	FILE *out = open_memstream(&text, &size);

	for (int i = 0; i < 6000; i++)
		fprintf(out,
			"%s{\"@type\": \"type.googleapis.com/envoy.config.cluster.v3.Cluster\", "
			"\"name\": \"cluster-%d-%0120d\", \"type\": \"STATIC\"}",
			i ? "," : "", i, 0);
	fclose(out);
	large = snapshot(text);
	free(text);
	assert_int_equal(weft_views_set(f->views, 0, WEFT_SOURCE_FILE, small, &diag), 0);
	assert_int_equal(weft_views_set(f->views, 0, WEFT_SOURCE_FILE, large, &diag), -ENOSPC);
	assert_true(diag.n > 0);
	assert_int_equal(weft_snapshot_count(weft_views_merged(f->views, 0), WEFT_XDS_CLUSTER), 1);
	assert_int_equal(f->published, 1);
	weft_snapshot_free(small);
	weft_snapshot_free(large);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_sources_are_merged, setup, teardown),
		cmocka_unit_test_setup_teardown(test_duplicate_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_full_image_keeps_the_old, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
