// SPDX-License-Identifier: Apache-2.0
/*
 * Each allocation of a publish fails once: what was in force stays as it is, nothing is left
 * behind, and the next publish does what this one was to do.
 */
#include <jansson.h>

#include "agent/view.h"
#include "test/unit/alloc_fault.h"
#include "test/unit/compile_fixture.h"

#if ALLOC_FAILS
#define HOSTS(list)                                                                                \
	"- {" T("config.endpoint.v3.ClusterLoadAssignment") ", cluster_name: e, endpoints: "       \
							    "[{lb_endpoints: [" list "]}]}\n"
#define EDS "type: EDS, eds_cluster_config: {eds_config: {ads: {}}}"
#define SMALL                                                                                      \
	LISTENER_80 ROUTES(                                                                        \
		"{match: {prefix: /e}, route: {cluster: e}}, {match: {prefix: /}, " OK_200 "}")    \
		CLUSTER("e", EDS)
#define VIEWS 2u
#define DENSE 800
#define SPARSE 300

/* Two views, of a configuration and of another that takes its place. */
struct world {
	struct weft_store *store;
	struct weft_compiler *compiler;
	struct weft_snapshot *from, *to;
	char *from_image, *to_image; /* as JSON */
	long tried, tolerated;
};

static char *image(const struct world *w)
{
	json_t *j = weft_image_json(w->store);
	char *text;

	assert_int_equal(json_object_del(j, "epoch"), 0);
	text = json_dumps(j, JSON_SORT_KEYS);
	assert_non_null(text);
	json_decref(j);
	return text;
}

static void image_is(const struct world *w, const char *want)
{
	char *text = image(w);

	assert_string_equal(text, want);
	free(text);
}

static int publish(const struct world *w, const struct weft_snapshot *s, struct weft_diag *diag)
{
	const struct weft_view_input in[VIEWS] = {{.snapshot = s}, {.snapshot = s}};

	return weft_compiler_publish(w->compiler, in, VIEWS, diag);
}

static void go_to(const struct world *w, const struct weft_snapshot *s)
{
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;

	if (publish(w, s, &diag))
		fail_msg("%s %s: %s", diag.entries[0].resource, diag.entries[0].field,
			 diag.entries[0].reason);
	/* of what the first one frees the second one gives out the numbers */
	weft_compiler_reclaim(w->compiler);
	weft_compiler_reclaim(w->compiler);
}

static void world_open(struct world *w, struct weft_snapshot *from, struct weft_snapshot *to)
{
	*w = (struct world){.from = from, .to = to};
	assert_int_equal(weft_store_new_heap(4u << 20, 2u << 20, &w->store), 0);
	assert_int_equal(weft_compiler_new(w->store, &w->compiler), 0);
	/* twice: what keeps its size has it */
	for (int i = 0; i < 2; i++) {
		go_to(w, from);
		free(w->from_image);
		w->from_image = image(w);
		go_to(w, to);
		free(w->to_image);
		w->to_image = image(w);
	}
	go_to(w, from);
}

static void world_close(struct world *w)
{
	weft_compiler_free(w->compiler);
	weft_store_free(w->store);
	free(w->from_image);
	free(w->to_image);
}

/* The n-th allocation fails. False: there were fewer. */
static bool attempt(struct world *w, long n)
{
	struct weft_diag diag = WEFT_DIAG_INIT;
	uint32_t epoch = weft_store_epoch(w->store);
	size_t notes = weft_compiler_not_applied(w->compiler)->n;
	long live = alloc_live;
	bool failed;
	int r;

	alloc_fail_at = n;
	r = publish(w, w->to, &diag);
	failed = alloc_fail_at < 0;
	alloc_fail_at = -1;
	weft_diag_clear(&diag);
	w->tried++;
	if (r == 0) {
		/* what failed could be done without */
		w->tolerated += failed;
		image_is(w, w->to_image);
		go_to(w, w->from);
		image_is(w, w->from_image);
		return failed;
	}
	if (r != -ENOMEM || weft_store_epoch(w->store) != epoch ||
	    weft_compiler_not_applied(w->compiler)->n != notes)
		fail_msg("allocation %ld: %s, epoch %u, then %u, notes %zu, then %zu", n,
			 strerror(-r), epoch, weft_store_epoch(w->store), notes,
			 weft_compiler_not_applied(w->compiler)->n);
	if (ALLOC_COUNTS && alloc_live != live)
		fail_msg("allocation %ld: %ld more are left", n, alloc_live - live);
	/* the root is the same; what it leads to is looked at now and then */
	if (n % 16 == 0)
		image_is(w, w->from_image);
	return true;
}

/* The next one: each, and of many thousands about a thousand. WEFT_TEST_ALL: each all the same. */
static long next(long n)
{
	return n + 1 + (n > DENSE && !getenv("WEFT_TEST_ALL") ? n / SPARSE : 0);
}

static void every_allocation(struct weft_snapshot *from, struct weft_snapshot *to)
{
	struct world w;
	long live, n;

	world_open(&w, from, to); /* tables that are made once */
	world_close(&w);
	live = alloc_live;
	world_open(&w, from, to);
	for (n = 0; attempt(&w, n); n = next(n))
		assert_true(n < 100000);
	image_is(&w, w.from_image);
	go_to(&w, to);
	image_is(&w, w.to_image);
	print_message("up to allocation %ld, %ld failed, %ld of them were not needed\n", n,
		      w.tried - 1, w.tolerated);
	assert_true(w.tried > 20 && w.tolerated < w.tried / 2);
	world_close(&w);
	if (ALLOC_COUNTS)
		assert_int_equal(alloc_live, live);
}

static struct weft_snapshot *small(const char *more)
{
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;
	struct weft_snapshot *s = NULL;
	char text[4096];

	snprintf(text, sizeof(text), "%s%s", SMALL, more);
	assert_int_equal(conf_load(text, &diag, &s), 0);
	return s;
}

/* Each of the golden configurations that is not refused takes the place of a small one. */
static void test_configurations(void **state)
{
	static const char *const names[] = {"chains", "endpoints", "limits", "mutations",
					    "rbac",   "routes",	   "weights"};
	struct weft_snapshot *from = small(HOSTS(ENDPOINT("10.1.0.1", 80)));

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;
		struct weft_snapshot *to = NULL;
		char path[256];

		snprintf(path, sizeof(path), WEFT_TEST_DATA "/golden/%s.yaml", names[i]);
		print_message("%s: ", names[i]);
		assert_int_equal(weft_file_load(path, 0, &diag, &to), 0);
		every_allocation(from, to);
		weft_snapshot_free(to);
	}
	weft_snapshot_free(from);
}

/* Nothing but endpoints differs: views are patched, and changed back. */
static void test_endpoints(void **state)
{
	struct weft_snapshot *from = small(HOSTS(ENDPOINT("10.1.0.1", 80)));
	struct weft_snapshot *to =
		small(HOSTS(ENDPOINT("10.1.0.1", 80) "," ENDPOINT("10.1.0.2", 80)));
	struct weft_resource *more = weft_snapshot_get(to, WEFT_XDS_ENDPOINT, "e");
	struct weft_snapshot *both = NULL;

	(void)state;
	/* the very same but for that */
	assert_int_equal(weft_snapshot_clone(from, &both), 0);
	assert_int_equal(weft_snapshot_put(both, more), 0);
	every_allocation(from, both);
	weft_snapshot_free(both);
	weft_snapshot_free(from);
	weft_snapshot_free(to);
}

/* ---- the views above ---- */

static void views_attempt(struct weft_views *views, struct weft_store *store,
			  const struct weft_view_change *c, long n, bool *ret_failed)
{
	struct weft_diag diag = WEFT_DIAG_INIT;
	const struct weft_snapshot *before = weft_views_merged(views, 0);
	uint32_t epoch = weft_store_epoch(store);
	long live = alloc_live;
	int r;

	alloc_fail_at = n;
	r = weft_views_apply(views, c, VIEWS, &diag);
	*ret_failed = alloc_fail_at < 0;
	alloc_fail_at = -1;
	weft_diag_clear(&diag);
	if (r == 0)
		return;
	if (r != -ENOMEM || weft_store_epoch(store) != epoch)
		fail_msg("allocation %ld: %s", n, strerror(-r));
	assert_ptr_equal(weft_views_merged(views, 0), before);
	assert_null(weft_views_get(views, 1, WEFT_SOURCE_XDS));
	if (ALLOC_COUNTS && alloc_live != live)
		fail_msg("allocation %ld: %ld more are left", n, alloc_live - live);
}

/* A file's resources and two streams', merged, from the first publish on. */
static void test_views(void **state)
{
	struct weft_snapshot *file = NULL, *xds = small(HOSTS(ENDPOINT("10.1.0.1", 80)));
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;
	bool failed = true;
	long n;

	(void)state;
	assert_int_equal(conf_load(CLUSTER("f", "type: STATIC"), &diag, &file), 0);
	for (n = 0; failed; n++) {
		const struct weft_view_change c[VIEWS] = {{0, WEFT_SOURCE_XDS, xds},
							  {1, WEFT_SOURCE_XDS, xds}};
		struct weft_compiler *compiler = NULL;
		struct weft_store *store = NULL;
		struct weft_views *views = NULL;
		long live = alloc_live;
		uint32_t id = 0;

		assert_int_equal(weft_store_new_heap(4u << 20, 1u << 20, &store), 0);
		assert_int_equal(weft_compiler_new(store, &compiler), 0);
		assert_int_equal(weft_views_new(compiler, NULL, NULL, &views), 0);
		assert_int_equal(weft_views_set(views, 0, WEFT_SOURCE_FILE, file, &diag), 0);
		assert_int_equal(weft_views_open(views, &id), 0);
		assert_int_equal(id, 1);
		/* room for names and objects, which stays: it is not to be taken for a leak */
		assert_int_equal(weft_views_check(views, 1, WEFT_SOURCE_XDS, xds, &diag), 0);
		views_attempt(views, store, c, n, &failed);
		assert_int_equal(weft_views_apply(views, c, VIEWS, &diag), 0);
		assert_int_equal(weft_snapshot_count(weft_views_merged(views, 1), WEFT_XDS_CLUSTER),
				 2);
		weft_views_free(views);
		weft_compiler_free(compiler);
		weft_store_free(store);
		if (ALLOC_COUNTS)
			assert_int_equal(alloc_live, live);
	}
	print_message("%ld allocations\n", n - 1);
	assert_true(n > 100);
	weft_snapshot_free(file);
	weft_snapshot_free(xds);
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
#if ALLOC_FAILS
		cmocka_unit_test(test_configurations),
		cmocka_unit_test(test_endpoints),
		cmocka_unit_test(test_views),
#endif
	};

	if (!ALLOC_FAILS)
		return 77; /* the sanitizer owns malloc */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
