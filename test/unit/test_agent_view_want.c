// SPDX-License-Identifier: Apache-2.0
#include "test/unit/view_fixture.h"

#include <fcntl.h>

#include "agent/health/health.h"

#define CHECKS                                                                                     \
	", \"health_checks\": [{\"timeout\": \"1s\", \"interval\": \"1s\", "                       \
	"\"unhealthy_threshold\": 1, "                                                             \
	"\"healthy_threshold\": 1, \"tcp_health_check\": {}}]"
#define EDS(name, more)                                                                            \
	"{\"@type\": \"type.googleapis.com/envoy.config.cluster.v3.Cluster\", \"name\": \"" name   \
	"\", \"type\": \"EDS\", \"eds_cluster_config\": {\"eds_config\": {\"ads\": {}}}" more "}"
#define HOST(port)                                                                                 \
	"{\"endpoint\": {\"address\": {\"socket_address\": {\"address\": \"127.0.0.1\", "          \
	"\"port_value\": " #port "}}}}"
#define HOSTS(name, list)                                                                          \
	"{\"@type\": \"type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment\", "     \
	"\"cluster_name\": \"" name "\", \"endpoints\": [{\"lb_endpoints\": [" list "]}]}"

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

static int exempt(void *ctx, int fd)
{
	(void)ctx;
	(void)fd;
	return 0;
}

static int publish(void *ctx, bool warmed)
{
	(void)ctx;
	(void)warmed;
	return 0;
}

static void passed(void *ctx, uint32_t pod, uint32_t cluster, uint32_t endpoint)
{
	(void)ctx;
	(void)pod;
	(void)cluster;
	(void)endpoint;
}

/* Hosts that are checked for the pod of view 1, with these resources in it. */
static json_int_t checked(struct fixture *f, struct weft_health *h, uint32_t view, const char *text)
{
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;
	struct weft_snapshot *s = snapshot(text);
	json_int_t n;
	json_t *j;

	assert_int_equal(weft_views_set(f->views, view, WEFT_SOURCE_XDS, s, &diag), 0);
	weft_snapshot_free(s);
	j = weft_health_limits_json(h);
	n = json_integer_value(json_object_get(j, "hosts"));
	json_decref(j);
	return n;
}

/* Which hosts are checked follows clusters and assignments, of each view by itself. */
static void test_checks_follow(void **state)
{
	struct fixture *f = *state;
	struct weft_health_config cfg = {.now_ms = now_ms,
					 .random = number,
					 .exempt = exempt,
					 .publish = publish,
					 .passed = passed};
	struct weft_health *h = NULL;
	struct weft_loop *loop = NULL;
	uint32_t a = 0, b = 0;
	int netns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);

	assert_int_equal(weft_loop_new(&loop), 0);
	cfg.loop = loop;
	cfg.compiler = f->compiler;
	assert_int_equal(weft_health_new(&cfg, &h), 0);
	weft_views_check_hosts(f->views, h);
	assert_int_equal(weft_views_open(f->views, &a), 0);
	assert_int_equal(weft_views_open(f->views, &b), 0);
	weft_views_pod(f->views, 1, a);
	assert_int_equal(weft_health_pod_add(h, 1, a, netns), 0);
	assert_int_equal(checked(f, h, a, EDS("c", "") "," HOSTS("c", HOST(1))), 0);
	assert_false(weft_health_has(h, a));
	/* the cluster comes to be checked */
	assert_int_equal(checked(f, h, a, EDS("c", CHECKS) "," HOSTS("c", HOST(1))), 1);
	assert_true(weft_health_has(h, a));
	assert_false(weft_health_has(h, b));
	/* nothing but hosts changes */
	assert_int_equal(checked(f, h, a, EDS("c", CHECKS) "," HOSTS("c", HOST(1) "," HOST(2))), 2);
	assert_int_equal(checked(f, h, a, EDS("c", CHECKS) "," HOSTS("c", HOST(3))), 1);
	/* of another view, without pods */
	assert_int_equal(checked(f, h, b, EDS("c", CHECKS) "," HOSTS("c", HOST(1) "," HOST(2))), 1);
	assert_true(weft_health_has(h, b));
	/* no more */
	assert_int_equal(checked(f, h, a, EDS("c", "") "," HOSTS("c", HOST(3))), 0);
	assert_false(weft_health_has(h, a));
	assert_int_equal(checked(f, h, a, EDS("c", "") "," HOSTS("c", HOST(4))), 0);
	/* and again */
	assert_int_equal(checked(f, h, a, EDS("c", CHECKS) "," HOSTS("c", HOST(4))), 1);
	weft_views_pod(f->views, 1, WEFT_VIEW_DEFAULT);
	weft_health_pod_drop(h, 1);
	weft_views_close(f->views, a);
	assert_false(weft_health_has(h, a));
	weft_views_check_hosts(f->views, NULL);
	weft_health_free(h);
	weft_loop_free(loop);
	close(netns);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_checks_follow, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
