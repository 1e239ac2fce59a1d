// SPDX-License-Identifier: Apache-2.0
#include "test/unit/view_fixture.h"

#include "agent/outlier/outlier.h"
#include "bpf/engine/outlier.h"

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

/* ---- several views ---- */

static uint32_t view_open(struct fixture *f)
{
	uint32_t id = 0;

	assert_int_equal(weft_views_open(f->views, &id), 0);
	return id;
}

static bool in_image(const struct fixture *f, uint32_t view, const char *cluster)
{
	json_t *list = weft_image_json_view(f->store, view, "clusters");
	bool found = false;
	json_t *item;
	size_t i;

	json_array_foreach(list, i, item) found =
		found || !strcmp(json_string_value(json_object_get(item, "name")), cluster);
	json_decref(list);
	return found;
}

static void test_views_see_their_own(void **state)
{
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;
	struct fixture *f = *state;
	struct weft_snapshot *file = snapshot(CLUSTER("a", "")), *b = snapshot(CLUSTER("b", "")),
			     *c = snapshot(CLUSTER("c", ""));
	uint32_t one = view_open(f), two, three;

	assert_int_equal(weft_views_set(f->views, 0, WEFT_SOURCE_FILE, file, &diag), 0);
	two = view_open(f); /* the files' resources are of every view, whenever it came */
	assert_int_equal(weft_views_apply(f->views,
					  (struct weft_view_change[]){{one, WEFT_SOURCE_XDS, b},
								      {two, WEFT_SOURCE_XDS, c}},
					  2, &diag),
			 0);
	assert_int_equal(f->published, 2);
	assert_true(in_image(f, one, "a") && in_image(f, two, "a") && in_image(f, 0, "a"));
	assert_true(in_image(f, one, "b") && !in_image(f, one, "c"));
	assert_true(in_image(f, two, "c") && !in_image(f, two, "b"));
	assert_false(in_image(f, 0, "b") || in_image(f, 0, "c"));
	/* One is refused: neither is changed. */
	assert_int_equal(weft_views_apply(f->views,
					  (struct weft_view_change[]){{one, WEFT_SOURCE_XDS, c},
								      {two, WEFT_SOURCE_XDS, file}},
					  2, &diag),
			 -EINVAL);
	assert_true(in_image(f, one, "b") && in_image(f, two, "c"));
	/* A view goes: nothing of it is left, its number is the next one's. */
	weft_views_close(f->views, one);
	assert_false(in_image(f, one, "b"));
	assert_null(weft_views_merged(f->views, one));
	assert_true(in_image(f, two, "c"));
	three = view_open(f);
	assert_int_equal(three, one);
	assert_null(weft_views_merged(f->views, three));
	weft_views_close(f->views, three);
	weft_views_close(f->views, two);
	assert_int_equal(weft_views_count(f->views), 1);
	weft_snapshot_free(file);
	weft_snapshot_free(b);
	weft_snapshot_free(c);
}

/* Equal resources of several views are one object. */
static void test_equal_resources_are_shared(void **state)
{
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;
	struct fixture *f = *state;
	struct weft_snapshot *a = snapshot(CLUSTER("a", ""));
	struct weft_store_stats one, ten;

	assert_int_equal(weft_views_set(f->views, view_open(f), WEFT_SOURCE_XDS, a, &diag), 0);
	weft_store_stats(f->store, &one);
	for (int i = 0; i < 9; i++)
		assert_int_equal(weft_views_set(f->views, view_open(f), WEFT_SOURCE_XDS, a, &diag),
				 0);
	weft_compiler_reclaim(f->compiler);
	weft_store_stats(f->store, &ten);
	/* the tables are equal too: only the root has grown */
	assert_int_equal(ten.objects, one.objects);
	weft_snapshot_free(a);
}

/* ---- ejections ---- */

#define HOSTS 1000
#define PODS 300

static uint64_t clock_now;

static uint64_t now_ms(void *ctx)
{
	(void)ctx;
	return clock_now;
}

static uint64_t zero(void *ctx)
{
	(void)ctx;
	return 0;
}

static int again(void *ctx)
{
	struct fixture *f = ctx;
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;

	return weft_views_again(f->views, &diag);
}

static void told(void *ctx)
{
	struct fixture *f = ctx;

	f->published++;
	weft_outlier_published(f->outlier);
}

static char *hosts_text(void)
{
	size_t cap = HOSTS * 128 + 1024;
	char *text = malloc(cap);
	int n = snprintf(text, cap,
			 CLUSTER("big", ", \"outlier_detection\": {\"consecutive_5xx\": 1, "
					"\"max_ejection_percent\": 100}, \"load_assignment\": "
					"{\"cluster_name\": \"big\", \"endpoints\": "
					"[{\"lb_endpoints\": ["));

	n--; /* the brace that ends a cluster */
	for (unsigned int i = 0; i < HOSTS; i++)
		n += snprintf(text + n, cap - (size_t)n,
			      "%s{\"endpoint\": {\"address\": {\"socket_address\": {\"address\": "
			      "\"10.1.%u.%u\", \"port_value\": 80}}}}",
			      i ? ", " : "", i / 250, i % 250 + 1);
	snprintf(text + n, cap - (size_t)n, "]}]}}");
	return text;
}

/* The pod's view of the cluster with detection. */
static const struct weft_img_cluster_ref *big_of(uint32_t pod)
{
	struct weft_ctx ctx = {.pod = pod};
	const struct weft_img_cluster_ref *ref;
	const struct weft_img_view *v;

	assert_int_equal(weft_ctx_begin(&ctx), 0);
	v = weft_img_at(ctx.view_off);
	ref = weft_img_at(v->cluster);
	for (uint32_t i = 0; i < v->n_cluster; i++) {
		if (ref[i].cluster &&
		    ((const struct weft_img_cluster *)weft_img_at(ref[i].cluster))->outlier)
			return &ref[i];
	}
	fail();
	return NULL;
}

/* The pod's host i answers with 500. */
static void host_fails(struct fixture *f, uint32_t pod, uint32_t i)
{
	const struct weft_img_cluster_ref *ref = big_of(pod);
	const struct weft_img_endpoints *e = weft_img_at(ref->endpoints);
	const struct weft_img_cluster *k = weft_img_at(ref->cluster);
	struct weft_cell_endpoint *cell;
	uint32_t id;

	id = ((const struct weft_img_endpoint *)weft_img_at(e->endpoint))[i].cell;
	cell = weft_cell_endpoint(weft_store_cell(f->store, pod, id));
	weft_outlier_begin(cell, weft_img_at(k->outlier), k->cell, id);
	weft_outlier_status(cell, 500);
	weft_outlier_tell(f->outlier, pod, k->cell, id);
}

static uint32_t eligible(uint32_t pod)
{
	const struct weft_img_endpoints *e = weft_img_at(big_of(pod)->endpoints);

	return ((const struct weft_img_host_set *)weft_img_at(e->set))->n_host;
}

static int64_t publishing(struct fixture *f, const char *name)
{
	json_t *j = weft_outlier_publishing_json(f->outlier), *v = json_object_get(j, name);
	int64_t n = json_is_boolean(v) ? json_is_true(v) : json_integer_value(v);

	json_decref(j);
	return n;
}

/* Endpoints of many pods that each leave another host out fill the image: what was ejected before
 * stays so, and the next configuration is published without. */
static void test_ejections_fill_the_image(void **state)
{
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;
	struct fixture *f = *state;
	struct weft_outlier_config cfg = {.store = f->store,
					  .compiler = f->compiler,
					  .now_ms = now_ms,
					  .random = zero,
					  .publish = again,
					  .ctx = f};
	char *text[2] = {hosts_text(), NULL};
	struct weft_snapshot *s = snapshot(text[0]);
	struct weft_views *views = NULL;

	clock_now = 100000;
	assert_int_equal(weft_outlier_new(&cfg, &f->outlier), 0);
	assert_int_equal(weft_views_new(f->compiler, told, f, &views), 0);
	weft_views_free(f->views);
	f->views = views;
	weft_views_eject(views, f->outlier);
	assert_int_equal(weft_views_set(views, 0, WEFT_SOURCE_FILE, s, &diag), 0);
	host_fails(f, 1, 0);
	weft_outlier_work(f->outlier);
	assert_int_equal(eligible(1), HOSTS - 1);
	for (uint32_t pod = 2; pod <= PODS; pod++)
		host_fails(f, pod, pod);
	weft_outlier_work(f->outlier);
	assert_int_equal(publishing(f, "publish_failures"), 1);
	assert_int_equal(eligible(1), HOSTS - 1);
	assert_int_equal(eligible(2), HOSTS);
	/* something else of the configuration: the cluster and its detection stay */
	weft_snapshot_free(s);
	assert_true(asprintf(&text[1], "%s, " CLUSTER("other", ""), text[0]) > 0);
	s = snapshot(text[1]);
	assert_int_equal(weft_views_set(views, 0, WEFT_SOURCE_FILE, s, &diag), 0);
	assert_int_equal(diag.n, 0);
	assert_int_equal(publishing(f, "withheld"), 1);
	assert_int_equal(publishing(f, "withheld_now"), 1);
	assert_int_equal(eligible(1), HOSTS);
	/* most pods go: it is tried again, and there is room */
	for (uint32_t pod = 3; pod <= PODS; pod++)
		weft_outlier_pod_drop(f->outlier, pod);
	clock_now += 1000;
	weft_compiler_reclaim(f->compiler);
	weft_outlier_work(f->outlier);
	assert_int_equal(publishing(f, "withheld_now"), 0);
	assert_int_equal(eligible(1), HOSTS - 1);
	assert_int_equal(eligible(2), HOSTS - 1);
	weft_snapshot_free(s);
	free(text[0]);
	free(text[1]);
	weft_outlier_free(f->outlier);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_sources_are_merged, setup, teardown),
		cmocka_unit_test_setup_teardown(test_duplicate_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_full_image_keeps_the_old, setup, teardown),
		cmocka_unit_test_setup_teardown(test_views_see_their_own, setup, teardown),
		cmocka_unit_test_setup_teardown(test_equal_resources_are_shared, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ejections_fill_the_image, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
