// SPDX-License-Identifier: Apache-2.0
/*
 * Changed endpoints are patched into what stands. Whatever the order of changes, what comes of it
 * is what compiling the whole would have given: the same image, the same objects, the same numbers.
 */
#include "test/unit/compile_fixture.h"

#define STEPS 400
#define EDS 8 /* the last is used by nobody */
#define ANY_ADS "eds_config: {ads: {}}"

static const char *const eds_name[EDS] = {"c0", "c1", "c2", "c3", "c4", "shared", "c7", "alone"};

struct world {
	struct conf c;
	void *img, *state;
	struct weft_snapshot *now;
	uint32_t seed;
	uint64_t patches;
};

static uint32_t pick(struct world *w, uint32_t n)
{
	w->seed = w->seed * 1664525u + 1013904223u;
	return (w->seed >> 8) % n;
}

static void world_bind(const struct world *w)
{
	weft_engine_bind(w->img, CONF_IMG - 1, w->state, CONF_STATE - 1);
}

static void text_load(struct world *w, const char *text)
{
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;
	struct weft_snapshot *s = NULL;

	if (conf_load(text, &diag, &s))
		fail_msg("%s\n%s: %s", text, diag.entries[0].resource, diag.entries[0].reason);
	for (int t = 0; t < WEFT_XDS__MAX; t++) {
		for (size_t i = 0; i < weft_snapshot_count(s, (enum weft_xds_type)t); i++)
			assert_int_equal(
				weft_snapshot_put(w->now,
						  weft_snapshot_at(s, (enum weft_xds_type)t, i)),
				0);
	}
	weft_snapshot_free(s);
}

/* A few hosts at random, of one or two priorities. */
static void endpoints_change(struct world *w, const char *name)
{
	static const char *const health[] = {"HEALTHY", "UNHEALTHY", "DRAINING", "DEGRADED"};
	char text[8192];
	int n = snprintf(text, sizeof(text),
			 "- {" T("config.endpoint.v3.ClusterLoadAssignment") ", cluster_name: %s, "
									     "endpoints: [",
			 name);

	for (uint32_t p = 0, priorities = 1 + pick(w, 2); p < priorities; p++) {
		n += snprintf(text + n, sizeof(text) - (size_t)n,
			      "%s{priority: %u, locality: {zone: z%u}, load_balancing_weight: %u, "
			      "lb_endpoints: [",
			      p ? ", " : "", p, pick(w, 2), 1 + pick(w, 3));
		for (uint32_t i = 0, hosts = pick(w, 6); i < hosts; i++)
			n += snprintf(text + n, sizeof(text) - (size_t)n,
				      "%s{endpoint: {address: " ADDRESS(
					      "10.1.%u.%u",
					      80) "}, "
						  "health_status: %s, load_balancing_weight: %u, "
						  "metadata: "
						  "{filter_metadata: {envoy.lb: {v: 'v%u'}}}}",
				      i ? ", " : "", p, i + 1, health[pick(w, 8) % 4 * pick(w, 2)],
				      1 + pick(w, 4), pick(w, 3));
		n += snprintf(text + n, sizeof(text) - (size_t)n, "]}");
	}
	snprintf(text + n, sizeof(text) - (size_t)n, "]}\n");
	text_load(w, text);
}

static void cluster_change(struct world *w)
{
	char text[512];

	snprintf(text, sizeof(text),
		 CLUSTER("c0",
			 "type: EDS, eds_cluster_config: {" ANY_ADS "}, connect_timeout: %us, "),
		 1 + pick(w, 5));
	text_load(w, text);
}

#define EDS_CLUSTER(name, more) CLUSTER(name, "type: EDS, eds_cluster_config: {" ANY_ADS "}, " more)
#define SHARED(name)                                                                               \
	CLUSTER(name, "type: EDS, eds_cluster_config: {" ANY_ADS ", service_name: shared}, ")

static const char clusters[] = LISTENER_80 ROUTES(
	"{match: {prefix: /}, route: {weighted_clusters: {clusters: [{name: c0, weight: 1}, {name: "
	"c1, "
	"weight: 2}, {name: c5, weight: 3}]}, hash_policy: [{header: {header_name: h}}]}}")
	EDS_CLUSTER("c0", "") EDS_CLUSTER("c1", "lb_policy: RING_HASH, ring_hash_lb_config: "
						"{minimum_ring_size: 32}, ")
		EDS_CLUSTER("c2", "lb_policy: MAGLEV, maglev_lb_config: {table_size: 131}, ")
			EDS_CLUSTER("c3", "lb_policy: LEAST_REQUEST, ") EDS_CLUSTER(
				"c4", "lb_subset_config: {fallback_policy: ANY_ENDPOINT, "
				      "subset_selectors: "
				      "[{keys: [v]}]}, ") SHARED("c5") SHARED("c6")
				EDS_CLUSTER("c7", "lb_policy: RANDOM, common_lb_config: "
						  "{healthy_panic_threshold: {value: "
						  "70}}, ")
					CLUSTER("s",
						"load_assignment: {cluster_name: s, endpoints: "
						"[{lb_endpoints: [" ENDPOINT("10.9.9.9",
									     80) "]}]}, ");

static void world_open(struct world *w, uint32_t seed)
{
	struct weft_store_mem mem = {.img_size = CONF_IMG, .state_size = CONF_STATE};

	*w = (struct world){.seed = seed};
	w->img = mem.img = calloc(1, CONF_IMG + WEFT_IMAGE_SLACK);
	w->state = mem.state = calloc(1, CONF_STATE + WEFT_STATE_SLACK);
	assert_non_null(w->img);
	assert_non_null(w->state);
	assert_int_equal(weft_state_layout(w->state, CONF_STATE, 256, 4096, 8), 0);
	assert_int_equal(weft_store_new(&mem, &w->c.store), 0);
	assert_int_equal(weft_compiler_new(w->c.store, &w->c.compiler), 0);
	assert_int_equal(weft_snapshot_new(&w->now), 0);
	text_load(w, clusters);
	for (int i = 0; i < EDS; i++)
		endpoints_change(w, eds_name[i]);
}

static void world_close(struct world *w)
{
	weft_snapshot_free(w->now);
	conf_close(&w->c);
	free(w->img);
	free(w->state);
}

static int publish(struct world *w, size_t n)
{
	struct weft_view_input in[2] = {{.snapshot = w->now}, {0}};
	struct weft_snapshot *none;
	int r = weft_snapshot_new(&none);

	assert_int_equal(r, 0);
	/* No name is resolved in either case, but what was compiled with the other does not count.
	 */
	in[0].resolved = n == 2 ? none : NULL;
	weft_diag_clear(&w->c.diag);
	r = weft_compiler_publish(w->c.compiler, in, n, &w->c.diag);
	weft_snapshot_free(none);
	return r;
}

static uint64_t patches(const struct world *w)
{
	struct weft_compiler_stats stats;

	weft_compiler_stats(w->c.compiler, &stats);
	return stats.patches;
}

static uint32_t view_now(const struct world *w)
{
	const struct weft_img_head *h = w->img;
	const struct {
		struct weft_img_root head;
		uint32_t view[];
	} *root = (const void *)((const char *)w->img + (uint32_t)h->root);

	return root->view[0];
}

static json_t *image_of(const struct weft_store *s)
{
	json_t *j = weft_image_json(s);

	assert_non_null(j);
	json_object_del(j, "epoch");
	return j;
}

/* The whole, compiled by one that has seen nothing before. */
static void same_as_fresh(struct world *w)
{
	const struct weft_view_input in = {.snapshot = w->now};
	json_t *patched = image_of(w->c.store), *fresh;
	struct weft_store_stats a, b;
	struct weft_compiler_stats names;
	struct conf c;

	conf_open(&c);
	assert_int_equal(weft_compiler_publish(c.compiler, &in, 1, &c.diag), 0);
	fresh = image_of(c.store);
	if (!json_equal(patched, fresh))
		fail_msg("patched:\n%s\nfresh:\n%s", json_dumps(patched, JSON_INDENT(1)),
			 json_dumps(fresh, JSON_INDENT(1)));
	assert_int_equal(weft_compiler_not_applied(c.compiler)->n,
			 weft_compiler_not_applied(w->c.compiler)->n);
	weft_store_stats(c.store, &b);
	conf_close(&c);
	world_bind(w);
	json_decref(patched);
	json_decref(fresh);
	/* nothing is lost, nothing stays behind */
	weft_compiler_reclaim(w->c.compiler);
	weft_store_stats(w->c.store, &a);
	assert_int_equal(a.objects, b.objects);
	assert_int_equal(a.waiting_bytes, 0);
	weft_compiler_stats(w->c.compiler, &names);
	assert_int_equal(names.waiting, 0);
}

/* The same compiler, made to compile the whole (another number of views): the very same view. */
static void same_as_whole(struct world *w)
{
	uint32_t view = view_now(w);
	uint64_t before = patches(w);

	assert_int_equal(publish(w, 2), 0);
	assert_int_equal(patches(w), before);
	assert_int_equal(view_now(w), view);
	assert_int_equal(publish(w, 1), 0);
	assert_int_equal(patches(w), before);
	assert_int_equal(view_now(w), view);
}

static void step(struct world *w, uint32_t i)
{
	uint64_t before = patches(w);

	if (pick(w, 10)) {
		for (uint32_t n = 1 + pick(w, 3); n; n--)
			endpoints_change(w, eds_name[pick(w, EDS)]);
		assert_int_equal(publish(w, 1), 0);
		assert_int_equal(patches(w), before + 1);
	} else {
		struct weft_snapshot *old;

		assert_int_equal(weft_snapshot_clone(w->now, &old), 0);
		cluster_change(w);
		endpoints_change(w, eds_name[pick(w, EDS)]);
		assert_int_equal(publish(w, 1), 0);
		assert_int_equal(patches(w), before);
		weft_snapshot_free(old);
	}
	if (i % 5 == 0)
		same_as_whole(w);
	if (i % 3 == 0)
		same_as_fresh(w);
}

static void test_any_sequence(void **state)
{
	struct world w;

	(void)state;
	for (uint32_t seed = 1; seed <= 3; seed++) {
		world_open(&w, seed);
		assert_int_equal(publish(&w, 1), 0);
		for (uint32_t i = 0; i < STEPS; i++)
			step(&w, i);
		world_close(&w);
	}
}

/* ---- several views ---- */

#define VIEWS 3

struct views {
	struct world w; /* its snapshot is the one that is changed */
	struct weft_snapshot *view[VIEWS];
};

static void inputs_of(const struct views *v, struct weft_view_input *in)
{
	for (int i = 0; i < VIEWS; i++)
		in[i] = (struct weft_view_input){.snapshot = v->view[i]};
}

static void views_same_as_fresh(struct views *v)
{
	struct weft_view_input in[VIEWS];
	json_t *patched = image_of(v->w.c.store), *fresh;
	struct weft_store_stats a, b;
	struct conf c;

	inputs_of(v, in);
	conf_open(&c);
	assert_int_equal(weft_compiler_publish(c.compiler, in, VIEWS, &c.diag), 0);
	fresh = image_of(c.store);
	if (!json_equal(patched, fresh))
		fail_msg("patched:\n%s\nfresh:\n%s", json_dumps(patched, JSON_INDENT(1)),
			 json_dumps(fresh, JSON_INDENT(1)));
	weft_store_stats(c.store, &b);
	conf_close(&c);
	world_bind(&v->w);
	json_decref(patched);
	json_decref(fresh);
	weft_compiler_reclaim(v->w.c.compiler);
	weft_store_stats(v->w.c.store, &a);
	assert_int_equal(a.objects, b.objects);
	assert_int_equal(a.waiting_bytes, 0);
}

/* One of the views, some or all of them see a change; together, or one after the other. */
static void views_step(struct views *v)
{
	struct weft_snapshot *old;
	struct weft_view_input in[VIEWS];
	bool whole = !pick(&v->w, 8), together = pick(&v->w, 2);
	uint32_t who = 1 + pick(&v->w, (1u << VIEWS) - 1);

	if (whole)
		cluster_change(&v->w);
	endpoints_change(&v->w, eds_name[pick(&v->w, EDS)]);
	for (int i = 0; i < VIEWS; i++) {
		uint64_t patched = patches(&v->w);
		bool sees = who & 1u << i;

		old = v->view[i];
		assert_int_equal(weft_snapshot_clone(sees ? v->w.now : old, &v->view[i]), 0);
		weft_snapshot_free(old);
		if (together && i < VIEWS - 1)
			continue;
		inputs_of(v, in);
		assert_int_equal(weft_compiler_publish(v->w.c.compiler, in, VIEWS, &v->w.c.diag),
				 0);
		if (!sees && !together) /* nothing differs */
			assert_int_equal(patches(&v->w), patched + 1);
	}
}

static void test_views_in_any_sequence(void **state)
{
	struct weft_view_input in[VIEWS];
	struct views v;
	uint64_t patched;

	(void)state;
	for (uint32_t seed = 11; seed <= 13; seed++) {
		world_open(&v.w, seed);
		for (int i = 0; i < VIEWS; i++)
			assert_int_equal(weft_snapshot_clone(v.w.now, &v.view[i]), 0);
		inputs_of(&v, in);
		assert_int_equal(weft_compiler_publish(v.w.c.compiler, in, VIEWS, &v.w.c.diag), 0);
		patched = patches(&v.w);
		for (uint32_t i = 0; i < STEPS / 2; i++) {
			views_step(&v);
			if (i % 3 == 0)
				views_same_as_fresh(&v);
		}
		assert_true(patches(&v.w) > patched + STEPS / 4);
		for (int i = 0; i < VIEWS; i++)
			weft_snapshot_free(v.view[i]);
		world_close(&v.w);
	}
}

/* A view more or less, and one that is put together anew: the others are taken over as they are. */
static void test_views_come_and_go(void **state)
{
	struct weft_view_input in[VIEWS];
	struct weft_store_stats one, all;
	struct views v;

	(void)state;
	world_open(&v.w, 21);
	for (int i = 0; i < VIEWS; i++)
		assert_int_equal(weft_snapshot_clone(v.w.now, &v.view[i]), 0);
	inputs_of(&v, in);
	assert_int_equal(weft_compiler_publish(v.w.c.compiler, in, 1, &v.w.c.diag), 0);
	weft_store_stats(v.w.c.store, &one);
	assert_int_equal(weft_compiler_publish(v.w.c.compiler, in, VIEWS, &v.w.c.diag), 0);
	views_same_as_fresh(&v);
	in[1].snapshot = NULL;
	assert_int_equal(weft_compiler_publish(v.w.c.compiler, in, VIEWS, &v.w.c.diag), 0);
	in[0].snapshot = NULL;
	assert_int_equal(weft_compiler_publish(v.w.c.compiler, in, VIEWS, &v.w.c.diag), 0);
	in[0].snapshot = v.view[0];
	assert_int_equal(weft_compiler_publish(v.w.c.compiler, in, 1, &v.w.c.diag), 0);
	weft_compiler_reclaim(v.w.c.compiler);
	weft_store_stats(v.w.c.store, &all);
	assert_int_equal(all.objects, one.objects);
	in[0].snapshot = NULL;
	assert_int_equal(weft_compiler_publish(v.w.c.compiler, in, 1, &v.w.c.diag), 0);
	weft_compiler_reclaim(v.w.c.compiler);
	weft_store_stats(v.w.c.store, &all);
	assert_int_equal(all.objects, 1); /* the root */
	for (int i = 0; i < VIEWS; i++)
		weft_snapshot_free(v.view[i]);
	world_close(&v.w);
}

/* One view's endpoints are refused: none is changed, and what was counted is as it was. */
static void test_views_refused(void **state)
{
	static const char bad[] = "- {" T(
		"config.endpoint.v3.ClusterLoadAssignment") ", cluster_name: c0, endpoints: "
							    "[{lb_endpoints: [{endpoint: {address: "
							    "{pipe: {path: /a}}}}]}]}\n";
	struct weft_view_input in[VIEWS];
	struct weft_snapshot *old;
	struct views v;

	(void)state;
	world_open(&v.w, 31);
	for (int i = 0; i < VIEWS; i++)
		assert_int_equal(weft_snapshot_clone(v.w.now, &v.view[i]), 0);
	inputs_of(&v, in);
	assert_int_equal(weft_compiler_publish(v.w.c.compiler, in, VIEWS, &v.w.c.diag), 0);
	old = v.view[0];
	endpoints_change(&v.w, "c1");
	assert_int_equal(weft_snapshot_clone(v.w.now, &v.view[0]), 0);
	text_load(&v.w, bad);
	in[0].snapshot = v.view[0];
	in[2].snapshot = v.w.now;
	assert_int_equal(weft_compiler_publish(v.w.c.compiler, in, VIEWS, &v.w.c.diag), -EINVAL);
	weft_snapshot_free(v.view[0]);
	v.view[0] = old;
	views_same_as_fresh(&v);
	for (int i = 0; i < VIEWS; i++)
		weft_snapshot_free(v.view[i]);
	world_close(&v.w);
}

/* Refused endpoints leave what stands, and the next patch begins from there. Each is named. */
static void test_refused(void **state)
{
	static const char bad[] =
		"- {" T("config.endpoint.v3.ClusterLoadAssignment") ", cluster_name: c0, "
								    "endpoints: "
								    "[{lb_endpoints: "
								    "[{endpoint: {address: "
								    "{pipe: {path: "
								    "/a}}}}]}]}\n"
								    "- {" T("config.endpoint."
									    "v3."
									    "ClusterLoadAssign"
									    "ment") ", "
										    "cluster_"
										    "name: "
										    "alone, "
										    "endpoints"
										    ": "
										    "[{lb_"
										    "endpoints"
										    ": "
										    "[{"
										    "endpoint:"
										    " {"
										    "address: "
										    "{pipe: "
										    "{path: "
										    "/b}}}}]}]"
										    "}\n";
	struct weft_snapshot *good;
	struct world w;
	uint32_t view, epoch;

	(void)state;
	world_open(&w, 7);
	assert_int_equal(publish(&w, 1), 0);
	view = view_now(&w);
	epoch = weft_store_epoch(w.c.store);
	assert_int_equal(weft_snapshot_clone(w.now, &good), 0);
	text_load(&w, bad);
	endpoints_change(&w, "c3");
	assert_int_equal(publish(&w, 1), -EINVAL);
	assert_int_equal(w.c.diag.n, 2);
	assert_string_equal(w.c.diag.entries[0].resource, "ClusterLoadAssignment/alone");
	assert_string_equal(w.c.diag.entries[1].resource, "ClusterLoadAssignment/c0");
	assert_int_equal(view_now(&w), view);
	assert_int_equal(weft_store_epoch(w.c.store), epoch);
	weft_snapshot_free(w.now);
	w.now = good;
	endpoints_change(&w, "c1");
	assert_int_equal(publish(&w, 1), 0);
	assert_int_equal(patches(&w), 1);
	same_as_fresh(&w);
	world_close(&w);
}

/* What is accepted without effect is still said after a patch, and once. */
static void test_notes(void **state)
{
	struct world w;
	size_t n;

	(void)state;
	world_open(&w, 9);
	text_load(&w,
		  CLUSTER("s", "alt_stat_name: other, load_assignment: {cluster_name: s, "
			       "endpoints: [{lb_endpoints: [" ENDPOINT("10.9.9.9", 80) "]}]}, "));
	assert_int_equal(publish(&w, 1), 0);
	n = weft_compiler_not_applied(w.c.compiler)->n;
	assert_true(n > 0);
	for (uint64_t i = 1; i < 4; i++) {
		endpoints_change(&w, "c1");
		assert_int_equal(publish(&w, 1), 0);
		assert_int_equal(patches(&w), i);
		assert_int_equal(weft_compiler_not_applied(w.c.compiler)->n, n);
	}
	same_as_fresh(&w);
	world_close(&w);
}

/* What endpoints hold in the state stays with a host that stays. */
static void test_cells_stay(void **state)
{
	static const char two[] = "- {" T(
		"config.endpoint.v3.ClusterLoadAssignment") ", cluster_name: c0, endpoints: "
							    "[{lb_endpoints: [" ENDPOINT(
								    "10.1.1.1",
								    80) ", " ENDPOINT("10.1.1.2",
										      80) "]}]}\n";
	static const char one[] = "- {" T(
		"config.endpoint.v3.ClusterLoadAssignment") ", cluster_name: c0, endpoints: "
							    "[{lb_endpoints: [" ENDPOINT(
								    "10.1.1.2", 80) "]}]}\n";
	const struct weft_img_endpoints *set;
	const struct weft_img_endpoint *e;
	const struct weft_img_view *view;
	uint32_t cells[2], ids[2], found;
	struct world w;

	(void)state;
	world_open(&w, 11);
	text_load(&w, two);
	assert_int_equal(publish(&w, 1), 0);
	view = weft_img_at(view_now(&w));
	set = weft_img_at(
		((const struct weft_img_cluster_ref *)weft_img_at(view->cluster))[1].endpoints);
	assert_int_equal(set->n, 2);
	e = weft_img_at(set->endpoint);
	for (int i = 0; i < 2; i++) {
		ids[i] = e[i].cell;
		cells[i] = weft_store_cell(w.c.store, CONF_POD, ids[i]);
		assert_true(cells[i]);
	}
	/* a request in flight to the host that goes: its place is kept until it is given back */
	weft_cell_endpoint(cells[0])->rq_active = 1;
	text_load(&w, one);
	assert_int_equal(publish(&w, 1), 0);
	assert_int_equal(patches(&w), 1);
	weft_compiler_reclaim(w.c.compiler);
	assert_int_equal(weft_cell_find(CONF_POD, ids[1]), cells[1]);
	assert_int_equal(weft_cell_find(CONF_POD, ids[0]), cells[0]);
	weft_cell_endpoint(cells[0])->rq_active = 0;
	weft_compiler_reclaim(w.c.compiler);
	found = weft_cell_find(CONF_POD, ids[0]);
	assert_int_equal(found, 0);
	assert_int_equal(weft_cell_find(CONF_POD, ids[1]), cells[1]);
	world_close(&w);
}

/* However fast they come, and with nobody else to reclaim: what is replaced is bounded. */
static void test_replaced_is_bounded(void **state)
{
	struct weft_store_stats first, last;
	struct world w;

	(void)state;
	world_open(&w, 13);
	assert_int_equal(publish(&w, 1), 0);
	weft_store_stats(w.c.store, &first);
	for (int i = 0; i < 4000; i++) {
		endpoints_change(&w, eds_name[pick(&w, EDS)]);
		assert_int_equal(publish(&w, 1), 0);
		weft_store_stats(w.c.store, &last);
		assert_true(last.waiting_bytes < 2 * CONF_IMG / 8);
		assert_true(last.objects < first.objects + 20000);
	}
	assert_int_equal(patches(&w), 4000);
	world_close(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_any_sequence),
		cmocka_unit_test(test_views_in_any_sequence),
		cmocka_unit_test(test_views_come_and_go),
		cmocka_unit_test(test_views_refused),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_notes),
		cmocka_unit_test(test_cells_stay),
		cmocka_unit_test(test_replaced_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
