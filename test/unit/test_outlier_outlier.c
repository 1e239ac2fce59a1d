// SPDX-License-Identifier: Apache-2.0
/* What of outlier detection is published: which pod sees which hosts, when, and what is forgotten.
 */
#include "compile_fixture.h"

#include "agent/outlier/outlier.h"
#include "bpf/engine/outlier.h"

#define HOSTS_3 ENDPOINT("10.1.0.1", 80) ", " ENDPOINT("10.1.0.2", 80) ", " ENDPOINT("10.1.0.3", 80)
#define EDS(more)                                                                                  \
	CLUSTER("c",                                                                               \
		"type: EDS, eds_cluster_config: {eds_config: {ads: {}}}, "                         \
		"outlier_detection: {consecutive_5xx: 2, interval: 10s, max_ejection_percent: "    \
		"100}" more)
#define LOAD(hosts)                                                                                \
	"- {" T("config.endpoint.v3.ClusterLoadAssignment") ", cluster_name: c, endpoints: "       \
							    "[{lb_endpoints: [" hosts "]}]}\n"

static struct conf c;
static struct weft_outlier *o;
static uint64_t now;
static unsigned int publishes;
static int publish_error;
static unsigned int no_memory; /* calls of reallocarray() that fail */

void *reallocarray(void *old, size_t n, size_t size)
{
	if (!no_memory)
		return realloc(old, n * size);
	no_memory--;
	return NULL;
}

static uint64_t clock_of(void *ctx)
{
	(void)ctx;
	return now;
}

static uint64_t zero(void *ctx)
{
	(void)ctx;
	return 0;
}

static void publish_now(const char *yaml)
{
	struct weft_view_input in = {0};
	struct weft_snapshot *s = NULL;

	if (yaml) {
		assert_int_equal(conf_load(yaml, &c.diag, &s), 0);
		weft_snapshot_free(c.snapshot);
		c.snapshot = s;
	}
	in.snapshot = c.snapshot;
	in.ejected = weft_outlier_ejected(o, &in.n_ejected);
	assert_int_equal(weft_compiler_publish(c.compiler, &in, 1, &c.diag), 0);
	weft_outlier_published(o);
}

static int publish(void *ctx)
{
	(void)ctx;
	publishes++;
	if (publish_error)
		return publish_error;
	publish_now(NULL);
	return 0;
}

static void open_with(const char *yaml)
{
	const struct weft_outlier_config cfg = {
		.now_ms = clock_of, .random = zero, .publish = publish};
	struct weft_outlier_config full = cfg;

	conf_open(&c);
	full.store = c.store;
	full.compiler = c.compiler;
	now = 100000;
	publishes = 0;
	assert_int_equal(weft_outlier_new(&full, &o), 0);
	publish_now(yaml);
}

static void end(void)
{
	weft_outlier_free(o);
	conf_close(&c);
}

/* A pod's endpoints of the cluster that is there. */
static const struct weft_img_endpoints *endpoints_of(uint32_t pod,
						     const struct weft_img_cluster **ret)
{
	struct weft_ctx ctx = {.pod = pod};
	const struct weft_img_view *v;
	const struct weft_img_cluster_ref *ref;

	assert_int_equal(weft_ctx_begin(&ctx), 0);
	v = weft_img_at(ctx.view_off);
	ref = weft_img_at(v->cluster);
	for (uint32_t i = 0; i < v->n_cluster; i++) {
		if (ref[i].cluster) {
			*ret = weft_img_at(ref[i].cluster);
			return weft_img_at(ref[i].endpoints);
		}
	}
	return NULL;
}

/* Hosts that may be chosen, a bit each. */
static uint32_t eligible(uint32_t pod)
{
	const struct weft_img_cluster *k;
	const struct weft_img_endpoints *e = endpoints_of(pod, &k);
	const struct weft_img_host_set *set = weft_img_at(e->set);
	const uint32_t *host = weft_img_at(set->host);
	uint32_t bits = 0;

	for (uint32_t i = 0; i < set->n_host; i++)
		bits |= 1u << host[i];
	return bits;
}

static struct weft_cell_endpoint *cell_of(uint32_t pod, uint32_t i)
{
	const struct weft_img_cluster *k;
	const struct weft_img_endpoints *e = endpoints_of(pod, &k);
	uint32_t id = ((const struct weft_img_endpoint *)weft_img_at(e->endpoint))[i].cell;
	struct weft_cell_endpoint *cell = weft_cell_endpoint(weft_store_cell(c.store, pod, id));

	if (weft_outlier_begin(cell, weft_img_at(k->outlier), k->cell, id))
		weft_outlier_tell(o, pod, k->cell, id);
	return cell;
}

/* An answer with 500 of host i. */
static void failed(uint32_t pod, uint32_t i)
{
	struct weft_cell_endpoint *cell = cell_of(pod, i);

	if (weft_outlier_status(cell, 500))
		weft_outlier_tell(o, pod, cell->owner, cell->self);
}

static void test_one_pod_alone(void **state)
{
	(void)state;
	open_with(EDS("") LOAD(HOSTS_3));
	failed(1, 1);
	assert_int_equal(weft_outlier_work(o), now + 10000);
	assert_int_equal(publishes, 0);
	failed(1, 1);
	weft_outlier_work(o);
	assert_int_equal(publishes, 1);
	assert_int_equal(eligible(1), 5);
	assert_int_equal(eligible(2), 7);
	now += 29999;
	weft_outlier_work(o);
	assert_int_equal(eligible(1), 5);
	now += 10001; /* the end of the next interval */
	weft_outlier_work(o);
	assert_int_equal(eligible(1), 7);
	assert_int_equal(publishes, 2);
	end();
}

/* Hosts come and go, none is ejected: what the configuration's publish made stands as it is. */
static void test_nothing_to_publish(void **state)
{
	(void)state;
	open_with(EDS("") LOAD(HOSTS_3));
	failed(1, 1);
	weft_outlier_work(o);
	publish_now(EDS("") LOAD(HOSTS_3 ", " ENDPOINT("10.1.0.4", 80)));
	weft_outlier_work(o);
	assert_int_equal(publishes, 0);
	assert_int_equal(eligible(1), 15);
	end();
}

/* update_merge_window: one change at once, the next when the window is over. */
static void test_merge_window(void **state)
{
	(void)state;
	open_with(EDS("") LOAD(HOSTS_3 ", " ENDPOINT("10.1.0.4", 80)));
	failed(1, 0);
	failed(1, 0);
	weft_outlier_work(o);
	assert_int_equal(eligible(1), 14);
	now += 10;
	failed(1, 1);
	failed(1, 1);
	assert_int_equal(weft_outlier_work(o), now + 1000);
	assert_int_equal(eligible(1), 14);
	now += 999;
	weft_outlier_work(o);
	assert_int_equal(eligible(1), 14);
	now += 1;
	weft_outlier_work(o);
	assert_int_equal(eligible(1), 12);
	end();
	open_with(EDS(", common_lb_config: {update_merge_window: 0s}")
			  LOAD(HOSTS_3 ", " ENDPOINT("10.1.0.4", 80)));
	failed(1, 0);
	failed(1, 0);
	weft_outlier_work(o);
	failed(1, 1);
	failed(1, 1);
	weft_outlier_work(o);
	assert_int_equal(eligible(1), 12);
	end();
}

/* Below half of the hosts in force all are used. */
static void test_panic(void **state)
{
	(void)state;
	open_with(EDS("") LOAD(HOSTS_3));
	for (uint32_t i = 0; i < 2; i++) {
		failed(1, i);
		failed(1, i);
		weft_outlier_work(o);
		now += 1001;
	}
	assert_int_equal(eligible(1), 7);
	end();
}

/* Endpoints come and go: who stays stays ejected; who goes is forgotten, and its place among the
 * ejected is free. */
static void test_endpoints_change(void **state)
{
	json_t *j;

	(void)state;
	open_with(EDS("") LOAD(HOSTS_3));
	failed(1, 1);
	failed(1, 1);
	weft_outlier_work(o);
	publish_now(EDS("") LOAD(ENDPOINT("10.1.0.2", 80) ", " ENDPOINT("10.1.0.9", 80)));
	weft_outlier_work(o);
	assert_int_equal(eligible(1), 2);
	publish_now(EDS("") LOAD(ENDPOINT("10.1.0.9", 80) ", " ENDPOINT("10.1.0.3", 80)));
	weft_outlier_work(o);
	assert_int_equal(eligible(1), 3);
	j = weft_outlier_hosts_json(o);
	assert_int_equal(json_array_size(j), 0);
	json_decref(j);
	j = weft_outlier_stats_json(o);
	assert_int_equal(
		json_integer_value(json_object_get(json_array_get(j, 0), "ejections_active")), 0);
	assert_int_equal(json_integer_value(
				 json_object_get(json_array_get(j, 0), "ejections_enforced_total")),
			 1);
	json_decref(j);
	/* it comes back as one of whom nothing is known */
	publish_now(EDS("") LOAD(HOSTS_3));
	weft_outlier_work(o);
	assert_int_equal(eligible(1), 7);
	end();
}

/* A changed cluster is another one, as in Envoy; and so it is without detection. */
static void test_cluster_change(void **state)
{
	size_t n;
	json_t *j;

	(void)state;
	open_with(EDS("") LOAD(HOSTS_3));
	failed(1, 1);
	failed(1, 1);
	weft_outlier_work(o);
	assert_int_equal(eligible(1), 5);
	publish_now(EDS(", connect_timeout: 3s") LOAD(HOSTS_3));
	weft_outlier_work(o);
	assert_int_equal(eligible(1), 7);
	weft_outlier_ejected(o, &n);
	assert_int_equal(n, 0);
	j = weft_outlier_stats_json(o);
	assert_int_equal(json_array_size(j), 0);
	json_decref(j);
	failed(1, 1);
	weft_outlier_work(o);
	assert_int_equal(eligible(1), 7);
	failed(1, 1);
	weft_outlier_work(o);
	assert_int_equal(eligible(1), 5);
	end();
}

/* Nothing of a pod is left, not even for the next one of its id. */
static void test_pod_goes(void **state)
{
	size_t n;

	(void)state;
	open_with(EDS("") LOAD(HOSTS_3));
	failed(1, 1);
	failed(1, 1);
	weft_outlier_work(o);
	failed(1, 2); /* told of, but gone before it is looked at */
	failed(1, 2);
	weft_outlier_pod_drop(o, 1);
	weft_store_cells_drop(c.store, 1);
	assert_int_equal(weft_outlier_work(o), 0);
	assert_int_equal(eligible(1), 7);
	weft_outlier_ejected(o, &n);
	assert_int_equal(n, 0);
	end();
}

/* News that nobody told of are found at the end of the interval. */
static void test_untold(void **state)
{
	struct weft_cell_endpoint *cell;

	(void)state;
	open_with(EDS("") LOAD(HOSTS_3));
	cell = cell_of(1, 0);
	weft_outlier_work(o);
	weft_outlier_status(cell, 500);
	weft_outlier_status(cell, 500);
	weft_outlier_work(o);
	assert_int_equal(eligible(1), 7);
	now += 10000;
	weft_outlier_work(o);
	assert_int_equal(eligible(1), 6);
	end();
}

/* What could not be told for want of memory is found by a look at all cells: that a cell counts,
 * and its news. */
static void test_no_memory_to_tell(void **state)
{
	(void)state;
	open_with(EDS("") LOAD(HOSTS_3));
	no_memory = 1;
	failed(1, 1); /* its first: the cell has just begun to count */
	no_memory = 1;
	assert_int_equal(weft_outlier_work(o), now + 1000);
	now += 1000;
	/* found a second later; from then on as ever */
	assert_int_equal(weft_outlier_work(o), now + 10000);
	no_memory = 1;
	failed(1, 1);
	weft_outlier_work(o);
	assert_int_equal(no_memory, 0);
	assert_int_equal(eligible(1), 5);
	end();
}

static int64_t publishing(const char *name)
{
	json_t *j = weft_outlier_publishing_json(o), *v = json_object_get(j, name);
	int64_t n = json_is_boolean(v) ? json_is_true(v) : json_integer_value(v);

	json_decref(j);
	return n;
}

/* A publish that failed is tried again, less and less often, until one succeeds. */
static void test_failed_publish(void **state)
{
	uint64_t waits = 1000, began;

	(void)state;
	open_with(EDS(", common_lb_config: {healthy_panic_threshold: {value: 0}}") LOAD(HOSTS_3));
	failed(1, 1);
	failed(1, 1);
	publish_error = -ENOSPC;
	began = now;
	for (unsigned int i = 1; i < 5; i++) { /* the host comes back after 30 s */
		assert_true(weft_outlier_work(o) <= now + waits);
		assert_int_equal(publishes, i);
		assert_int_equal(publishing("publish_failures"), i);
		now += waits - 1;
		weft_outlier_work(o);
		assert_int_equal(publishes, i);
		now++;
		waits *= 2;
	}
	assert_int_equal(now - began, 15000);
	assert_int_equal(eligible(1), 7);
	publish_error = 0;
	weft_outlier_work(o);
	assert_int_equal(publishes, 5);
	assert_int_equal(eligible(1), 5);
	/* nothing more to say; and the next failure waits for a second again */
	now += 1000;
	weft_outlier_work(o);
	assert_int_equal(publishes, 5);
	failed(1, 2);
	failed(1, 2);
	publish_error = -ENOMEM;
	weft_outlier_work(o);
	assert_int_equal(publishes, 6);
	now += 1000;
	publish_error = 0;
	weft_outlier_work(o);
	assert_int_equal(publishes, 7);
	end();
}

/* successful_active_health_check_uneject_host: a host that passes an active check is back at once,
 * and counts anew. */
static void test_passed(void **state)
{
	const struct weft_img_cluster *k;
	uint32_t cluster, id;

	(void)state;
	open_with(EDS("") LOAD(HOSTS_3));
	id = ((const struct weft_img_endpoint *)weft_img_at(endpoints_of(1, &k)->endpoint))[1].cell;
	cluster = k->cell;
	weft_outlier_passed(o, 1, cluster, id); /* of a pod that has none ejected */
	failed(1, 1);
	failed(1, 1);
	failed(2, 1);
	failed(2, 1);
	weft_outlier_work(o);
	assert_int_equal(eligible(1), 5);
	assert_int_equal(eligible(2), 5);
	publishes = 0;
	now += 5;
	weft_outlier_passed(o, 1, cluster, id + 1000); /* of a host that is not there */
	weft_outlier_passed(o, 1, cluster, id);
	weft_outlier_work(o);
	now += 1000; /* update_merge_window */
	weft_outlier_work(o);
	assert_int_equal(eligible(1), 7);
	assert_int_equal(eligible(2), 5);
	/* the run of failures began anew */
	failed(1, 1);
	weft_outlier_work(o);
	assert_int_equal(eligible(1), 7);
	failed(1, 1);
	weft_outlier_work(o);
	now += 1000;
	weft_outlier_work(o);
	assert_int_equal(eligible(1), 5);
	end();
}

/* ... or comes back with its time alone. */
static void test_passed_without(void **state)
{
	const struct weft_img_cluster *k;

	(void)state;
	open_with(CLUSTER("c",
			  "type: EDS, eds_cluster_config: {eds_config: {ads: {}}}, "
			  "outlier_detection: {consecutive_5xx: 2, interval: 10s, "
			  "max_ejection_percent: 100, successful_active_health_check_uneject_host: "
			  "false}") LOAD(HOSTS_3));
	failed(1, 1);
	failed(1, 1);
	weft_outlier_work(o);
	assert_int_equal(eligible(1), 5);
	endpoints_of(1, &k);
	weft_outlier_passed(
		o, 1, k->cell,
		((const struct weft_img_endpoint *)weft_img_at(endpoints_of(1, &k)->endpoint))[1]
			.cell);
	weft_outlier_work(o);
	now += 1000;
	weft_outlier_work(o);
	assert_int_equal(eligible(1), 5);
	end();
}

/* What is ejected has a name, a cause and times. */
static void test_shown(void **state)
{
	const char *why;
	json_t *j, *h;

	(void)state;
	open_with(EDS("") LOAD(HOSTS_3));
	failed(1, 1);
	failed(1, 1);
	weft_outlier_work(o);
	now += 7;
	j = weft_outlier_hosts_json(o);
	h = json_array_get(j, 0);
	why = json_string_value(json_object_get(h, "reason"));
	assert_string_equal(json_string_value(json_object_get(h, "host")), "c 10.1.0.2:80");
	assert_string_equal(json_string_value(json_object_get(h, "cluster")), "c");
	assert_string_equal(why, "consecutive_5xx");
	assert_int_equal(json_integer_value(json_object_get(h, "ejected_ms_ago")), 7);
	assert_int_equal(json_integer_value(json_object_get(h, "for_ms")), 30000);
	json_decref(j);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_pod_alone),
		cmocka_unit_test(test_nothing_to_publish),
		cmocka_unit_test(test_merge_window),
		cmocka_unit_test(test_panic),
		cmocka_unit_test(test_endpoints_change),
		cmocka_unit_test(test_cluster_change),
		cmocka_unit_test(test_pod_goes),
		cmocka_unit_test(test_untold),
		cmocka_unit_test(test_passed),
		cmocka_unit_test(test_passed_without),
		cmocka_unit_test(test_shown),
		cmocka_unit_test(test_no_memory_to_tell),
		cmocka_unit_test(test_failed_publish),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
