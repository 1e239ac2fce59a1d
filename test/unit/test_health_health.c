// SPDX-License-Identifier: Apache-2.0
/* What responses to requests say of checked hosts, and what a cluster without hosts waits for. */
#include "test/unit/view_fixture.h"

#include <fcntl.h>

#include "agent/health/health.h"

#define CHECKS                                                                                     \
	", \"health_checks\": [{\"timeout\": \"1s\", \"interval\": \"1s\", "                       \
	"\"unhealthy_threshold\": 1, "                                                             \
	"\"healthy_threshold\": 1, \"tcp_health_check\": {}}]"
#define ONE_HOST                                                                                   \
	", \"load_assignment\": {\"cluster_name\": \"c\", \"endpoints\": [{\"lb_endpoints\": "     \
	"[{\"endpoint\": {\"address\": {\"socket_address\": {\"address\": \"127.0.0.1\", "         \
	"\"port_value\": 1}}}}]}]}"
#define POD 1u

static struct weft_loop *loop;
static struct weft_health *health;

/* Nothing becomes due by itself. */
static uint64_t now_ms(void *ctx)
{
	(void)ctx;
	return 1;
}

static uint64_t number(void *ctx)
{
	(void)ctx;
	return 0;
}

static int publish(void *ctx, bool warmed)
{
	struct fixture *f = ctx;
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;

	(void)warmed;
	return weft_views_again(f->views, &diag);
}

static void open_checked(struct fixture *f, const char *resources)
{
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;
	const struct weft_health_config cfg = {.loop = loop,
					       .compiler = f->compiler,
					       .now_ms = now_ms,
					       .random = number,
					       .publish = publish,
					       .ctx = f};
	int netns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	struct weft_snapshot *s = snapshot(resources);

	assert_int_equal(weft_health_new(&cfg, &health), 0);
	weft_views_check_hosts(f->views, health);
	/* a cluster that comes later would not be there before its hosts are checked */
	assert_int_equal(weft_views_set(f->views, WEFT_VIEW_DEFAULT, WEFT_SOURCE_XDS, s, &diag), 0);
	assert_int_equal(weft_health_pod_add(health, POD, WEFT_VIEW_DEFAULT, netns), 0);
	assert_int_equal(weft_views_again(f->views, &diag), 0);
	weft_snapshot_free(s);
	close(netns);
}

static int begin(void **state)
{
	return setup(state) || weft_loop_new(&loop) < 0;
}

static int end(void **state)
{
	struct fixture *f = *state;

	weft_views_check_hosts(f->views, NULL);
	weft_health_free(health);
	weft_loop_free(loop);
	return teardown(state);
}

static json_int_t number_of(json_t *j, const char *key)
{
	json_t *one = json_is_array(j) ? json_array_get(j, 0) : j;
	json_int_t n;

	assert_true(json_is_integer(json_object_get(one, key)));
	n = json_integer_value(json_object_get(one, key));
	json_decref(j);
	return n;
}

static json_int_t counted(const char *key)
{
	return number_of(weft_health_stats_json(health), key);
}

/* Each response counts, however many come before they are looked at; what waits is bounded. */
static void test_many_responses(void **state)
{
	struct fixture *f = *state;
	const struct weft_snapshot *s;
	uint32_t cluster = 0, endpoint = 0;

	open_checked(f, CLUSTER("c", ONE_HOST CHECKS));
	s = weft_views_merged(f->views, WEFT_VIEW_DEFAULT);
	assert_int_equal(weft_compiler_cluster_id(
				 f->compiler, weft_snapshot_at(s, WEFT_XDS_CLUSTER, 0), &cluster),
			 0);
	assert_int_equal(weft_compiler_endpoint_id(f->compiler, "c", "127.0.0.1", 1, &endpoint), 0);
	for (int i = 0; i < 1000; i++)
		weft_health_tell(health, POD, cluster, endpoint);
	assert_int_equal(counted("passive_failure"), 0);
	assert_int_equal(weft_loop_step(loop, 10000), 0);
	assert_int_equal(counted("passive_failure"), 1000);
	assert_int_equal(counted("failure"), 1000);
	assert_int_equal(counted("membership_excluded"), 1);
	/* hosts that nobody knows, and the one that is known behind as many as may wait */
	for (uint32_t i = 0; i < 5000; i++)
		weft_health_tell(health, POD, cluster, 1000000 + i);
	weft_health_tell(health, POD, cluster, endpoint);
	assert_int_equal(number_of(weft_health_limits_json(health), "told_dropped"), 5001 - 4096);
	assert_int_equal(weft_loop_step(loop, 10000), 0);
	assert_int_equal(counted("passive_failure"), 1000);
	weft_health_tell(health, POD, cluster, endpoint);
	assert_int_equal(weft_loop_step(loop, 10000), 0);
	assert_int_equal(counted("passive_failure"), 1001);
}

/* Without checks there is nothing to mark, and the loop is not woken. */
static void test_nothing_is_checked(void **state)
{
	struct fixture *f = *state;

	open_checked(f, CLUSTER("c", ONE_HOST));
	for (uint32_t i = 0; i < 5000; i++)
		weft_health_tell(health, POD, 1, i);
	assert_int_equal(number_of(weft_health_limits_json(health), "told_dropped"), 0);
}

/* It has no hosts to wait for. */
static void test_warm_without_hosts(void **state)
{
	struct fixture *f = *state;
	const struct weft_snapshot *s;

	open_checked(f, CLUSTER("c", CHECKS) "," CLUSTER("d", ONE_HOST CHECKS));
	s = weft_views_merged(f->views, WEFT_VIEW_DEFAULT);
	assert_true(weft_health_is_warm(health, WEFT_VIEW_DEFAULT,
					weft_snapshot_get(s, WEFT_XDS_CLUSTER, "c")));
	assert_false(weft_health_is_warm(health, WEFT_VIEW_DEFAULT,
					 weft_snapshot_get(s, WEFT_XDS_CLUSTER, "d")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_many_responses, begin, end),
		cmocka_unit_test_setup_teardown(test_nothing_is_checked, begin, end),
		cmocka_unit_test_setup_teardown(test_warm_without_hosts, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
