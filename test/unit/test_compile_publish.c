// SPDX-License-Identifier: Apache-2.0
/* Publishing views: what survives, what is compiled anew, what a refusal leaves. */
#include "test/unit/compile_fixture.h"

#define ONE(ip)                                                                                    \
	"load_assignment: {cluster_name: c, endpoints: [{lb_endpoints: [" ENDPOINT(ip, 80) "]}]}"
#define C(more) CLUSTER("c", "type: STATIC, " more ONE("10.1.0.1"))
#define R(path) ROUTES("{match: {prefix: " path "}, route: {cluster: c}}")

static const struct weft_img_view *view(void)
{
	struct weft_ctx ctx = {0};

	assert_int_equal(weft_ctx_begin(&ctx), 0);
	return weft_img_at(ctx.view_off);
}

/* The object that the view's tables name for the only cluster and route configuration. */
static struct weft_img_cluster_ref cluster_ref(void)
{
	const struct weft_img_cluster_ref *ref = weft_img_at(view()->cluster);

	for (__u32 i = 0; i < view()->n_cluster; i++) {
		if (ref[i].cluster)
			return ref[i];
	}
	return (struct weft_img_cluster_ref){0};
}

static __u32 route_config(void)
{
	const __u32 *rc = weft_img_at(view()->route_config);

	for (__u32 i = 0; i < view()->n_route_config; i++) {
		if (rc[i])
			return rc[i];
	}
	return 0;
}

static void test_unchanged_objects_stay(void **state)
{
	struct weft_img_cluster_ref before, after;
	struct conf c;
	__u32 rc;

	(void)state;
	conf_open(&c);
	conf_ok(&c, LISTENER_80 R("/a") C(""));
	before = cluster_ref();
	rc = route_config();
	conf_ok(&c, LISTENER_80 R("/b") C(""));
	after = cluster_ref();
	assert_int_equal(after.cluster, before.cluster);
	assert_int_equal(after.endpoints, before.endpoints);
	assert_int_not_equal(route_config(), rc);
	/* another breaker: another cluster object and cell, the same endpoints' cells */
	conf_ok(&c, LISTENER_80 R("/b") C("circuit_breakers: {thresholds: [{max_requests: 1}]}, "));
	after = cluster_ref();
	assert_int_not_equal(((const struct weft_img_cluster *)weft_img_at(after.cluster))->cell,
			     ((const struct weft_img_cluster *)weft_img_at(before.cluster))->cell);
	conf_close(&c);
}

static void test_refusal_leaves_the_old(void **state)
{
	struct weft_store_stats before, after;
	struct conf c;
	__u32 rc;

	(void)state;
	conf_open(&c);
	conf_ok(&c, LISTENER_80 R("/a") C(""));
	rc = route_config();
	weft_store_stats(c.store, &before);
	assert_int_equal(
		conf_set(&c,
			 LISTENER_80 R(
				 "/b, filter_state: [{key: io.istio.x, string_match: {exact: b}}]")
				 C("connection_pool_per_downstream_connection: true, ")),
		-EINVAL);
	/* all causes at once */
	assert_non_null(
		conf_find(&c.diag, "Cluster/c", "connection_pool_per_downstream_connection"));
	assert_non_null(conf_find(&c.diag, "RouteConfiguration/r",
				  "virtual_hosts[0].routes[0].match.filter_state[0].key"));
	assert_int_equal(route_config(), rc);
	weft_store_stats(c.store, &after);
	assert_int_equal(after.img_used, before.img_used);
	assert_int_equal(after.publishes, before.publishes);
	assert_int_equal(conf_route(&c, "GET", "h", "/a", ""), 0);
	conf_close(&c);
}

static void test_full_image(void **state)
{
	struct weft_view_input in = {0};
	struct conf c = {0};
	char *out = NULL;
	size_t len;
	FILE *f = open_memstream(&out, &len);

	(void)state;
	fputs(LISTENER_80
	      "- {" T("config.route.v3.RouteConfiguration") ", name: r, virtual_hosts: [{name: v, "
							    "domains: ['*'], routes: [",
	      f);
	for (int i = 0; i < 4000; i++)
		fprintf(f, "{match: {path: /p%d}, " OK_200 "}, ", i);
	fputs("]}]}\n", f);
	fclose(f);
	assert_int_equal(weft_store_new_heap(64u << 10, CONF_STATE, &c.store), 0);
	assert_int_equal(weft_compiler_new(c.store, &c.compiler), 0);
	conf_ok(&c, LISTENER_80 R("/a"));
	weft_snapshot_free(c.snapshot);
	assert_int_equal(conf_load(out, &c.diag, &c.snapshot), 0);
	in.snapshot = c.snapshot;
	assert_int_equal(weft_compiler_publish(c.compiler, &in, 1, &c.diag), -ENOSPC);
	assert_string_equal(c.diag.entries[0].resource, "RouteConfiguration/r");
	assert_string_equal(c.diag.entries[0].reason, "the image is full");
	assert_int_equal(c.diag.n, 1); /* said once, not by each resource and object */
	assert_int_equal(conf_route(&c, "GET", "h", "/a", ""), 0);
	free(out);
	conf_close(&c);
}

/* Nothing is left behind by many changes. */
static void test_flips(void **state)
{
	struct weft_store_stats first, last;
	struct conf c;

	(void)state;
	conf_open(&c);
	for (int i = 0; i < 200; i++) {
		conf_ok(&c, i % 2 ? LISTENER_80 R("/a") C("")
				  : LISTENER_80 R("/b") C("connect_timeout: 1s, "));
		weft_store_reclaim(c.store);
		if (i == 1)
			weft_store_stats(c.store, &first);
	}
	weft_store_stats(c.store, &last);
	assert_int_equal(last.img_used, first.img_used);
	assert_int_equal(last.waiting_bytes, 0);
	assert_int_equal(weft_store_epoch(c.store), 200);
	conf_close(&c);
}

static void test_views_share(void **state)
{
	struct weft_view_input in[3] = {{0}};
	struct weft_store_stats one, two;
	struct weft_ctx ctx = {.view = 2};
	struct conf c;

	(void)state;
	conf_open(&c);
	conf_ok(&c, LISTENER_80 R("/a") C(""));
	weft_store_reclaim(c.store);
	weft_store_stats(c.store, &one);
	in[0].snapshot = in[2].snapshot = c.snapshot;
	assert_int_equal(weft_compiler_publish(c.compiler, in, 3, &c.diag), 0);
	weft_store_reclaim(c.store);
	weft_store_stats(c.store, &two);
	assert_true(two.img_used < one.img_used + 64);
	assert_int_equal(weft_ctx_begin(&ctx), 0);
	ctx.view = 1;
	assert_int_equal(weft_ctx_begin(&ctx), -ENOENT);
	conf_close(&c);
}

static void test_check_publishes_nothing(void **state)
{
	struct conf c;

	(void)state;
	conf_open(&c);
	assert_int_equal(conf_load(LISTENER_80 R("/a") C(""), &c.diag, &c.snapshot), 0);
	assert_int_equal(weft_compiler_check(c.compiler, c.snapshot, &c.diag), 0);
	assert_int_equal(weft_store_epoch(c.store), 0);
	assert_int_equal(weft_compiler_check(c.compiler, c.snapshot, &c.diag), 0);
	conf_close(&c);
}

static void test_cells_of_what_is_gone(void **state)
{
	const char *kind;
	struct conf c;
	__u32 cell;

	(void)state;
	conf_open(&c);
	conf_ok(&c, LISTENER_80 R("/a") C(""));
	cell = ((const struct weft_img_cluster *)weft_img_at(cluster_ref().cluster))->cell;
	assert_int_not_equal(weft_store_cell(c.store, CONF_POD, cell), 0);
	assert_string_equal(weft_compiler_state_name(c.compiler, cell, &kind), "c");
	assert_string_equal(kind, "cluster");
	assert_null(weft_compiler_state_name(c.compiler, cell + 77, &kind));
	conf_ok(&c, LISTENER_80 R("/b") C(""));
	assert_int_not_equal(weft_cell_find(CONF_POD, cell), 0);
	conf_ok(&c, LISTENER_80 R("/b"));
	assert_int_equal(weft_cell_find(CONF_POD, cell), 0);
	conf_close(&c);
}

/* What a refused update would have listed is not shown as in force. */
static void test_notes_are_of_what_is_in_force(void **state)
{
	struct conf c;

	(void)state;
	conf_open(&c);
	conf_ok(&c, C("alt_stat_name: x, "));
	assert_int_equal(conf_set(&c, C("connection_pool_per_downstream_connection: true, ")),
			 -EINVAL);
	assert_int_equal(weft_compiler_not_applied(c.compiler)->n, 1);
	conf_ok(&c, C(""));
	assert_int_equal(weft_compiler_not_applied(c.compiler)->n, 0);
	conf_close(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_unchanged_objects_stay),
		cmocka_unit_test(test_refusal_leaves_the_old),
		cmocka_unit_test(test_full_image),
		cmocka_unit_test(test_flips),
		cmocka_unit_test(test_views_share),
		cmocka_unit_test(test_check_publishes_nothing),
		cmocka_unit_test(test_cells_of_what_is_gone),
		cmocka_unit_test(test_notes_are_of_what_is_in_force),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
