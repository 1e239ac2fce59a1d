// SPDX-License-Identifier: Apache-2.0
#include "compile_fixture.h"
#include "outlier_defaults.h"

#define C(more)                                                                                    \
	CLUSTER("c", "type: STATIC, load_assignment: {cluster_name: c, endpoints: "                \
		     "[{lb_endpoints: [" ENDPOINT("10.1.0.1", 80) "]}]}, " more)

static const struct weft_img_outlier *outlier(struct conf *c, const char *yaml)
{
	struct weft_ctx ctx = {0};
	const struct weft_img_cluster_ref *ref;
	const struct weft_img_view *v;

	conf_open(c);
	assert_int_equal(conf_set(c, yaml), 0);
	assert_int_equal(weft_ctx_begin(&ctx), 0);
	v = weft_img_at(ctx.view_off);
	ref = weft_img_at(v->cluster);
	for (uint32_t i = 0; i < v->n_cluster; i++) {
		const struct weft_img_cluster *k =
			ref[i].cluster ? weft_img_at(ref[i].cluster) : NULL;

		if (k)
			return k->outlier ? weft_img_at(k->outlier) : NULL;
	}
	return NULL;
}

static void test_defaults(void **state)
{
	struct conf c;

	(void)state;
	assert_memory_equal(outlier(&c, C("outlier_detection: {}")), &outlier_defaults,
			    sizeof(outlier_defaults));
	conf_close(&c);
	assert_null(outlier(&c, C("connect_timeout: 1s")));
	conf_close(&c);
	/* the longest time is never below the base */
	assert_int_equal(outlier(&c, C("outlier_detection: {base_ejection_time: 400s}"))->max_ms,
			 400000);
	conf_close(&c);
}

static void test_each_field(void **state)
{
	const struct weft_img_outlier want = {.interval_ms = 1500,
					      .base_ms = 2000,
					      .max_ms = 3000,
					      .jitter_ms = 4,
					      .max_percent = 5,
					      .always_one = 1,
					      .split = 1,
					      .run = {6, 7, 8},
					      .enforce = {9, 10, 11, 12, 13, 14, 15},
					      .rate_hosts = 16,
					      .rate_volume = 17,
					      .rate_factor = 18,
					      .failure_percent = 19,
					      .failure_hosts = 20,
					      .failure_volume = 21,
					      .merge_ms = 22};
	struct conf c;

	(void)state;
	assert_memory_equal(
		outlier(&c,
			C("common_lb_config: {update_merge_window: 0.022s}, outlier_detection: {"
			  "interval: 1.5s, base_ejection_time: 2s, max_ejection_time: 3s, "
			  "max_ejection_time_jitter: 0.004s, max_ejection_percent: 5, "
			  "successful_active_health_check_uneject_host: false, "
			  "always_eject_one_host: true, split_external_local_origin_errors: true, "
			  "consecutive_gateway_failure: 6, consecutive_5xx: 7, "
			  "consecutive_local_origin_failure: 8, "
			  "enforcing_consecutive_gateway_failure: 9, enforcing_consecutive_5xx: "
			  "10, "
			  "enforcing_consecutive_local_origin_failure: 11, "
			  "enforcing_success_rate: 12, enforcing_local_origin_success_rate: 13, "
			  "enforcing_failure_percentage: 14, "
			  "enforcing_failure_percentage_local_origin: 15, "
			  "success_rate_minimum_hosts: 16, success_rate_request_volume: 17, "
			  "success_rate_stdev_factor: 18, failure_percentage_threshold: 19, "
			  "failure_percentage_minimum_hosts: 20, "
			  "failure_percentage_request_volume: 21}")),
		&want, sizeof(want));
	conf_close(&c);
}

static void test_refused(void **state)
{
	(void)state;
	conf_refused(C("outlier_detection: {detect_degraded_hosts: true}"), "Cluster/c",
		     "outlier_detection.detect_degraded_hosts", "unsupported");
	conf_refused(C("outlier_detection: {monitors: [{name: x, typed_config: {" T(
			     "extensions.filters.http.router.v3.Router") "}}]}"),
		     "Cluster/c", "outlier_detection.monitors", "unsupported");
	conf_refused(C("outlier_detection: {}, close_connections_on_host_health_failure: true"),
		     "Cluster/c", "close_connections_on_host_health_failure",
		     "unsupported with outlier_detection");
}

static void test_without_effect(void **state)
{
	(void)state;
	conf_noted(C("outlier_detection: {detect_degraded_hosts: false}"), "Cluster/c",
		   "outlier_detection.detect_degraded_hosts");
	conf_noted(
		CLUSTER("c",
			"type: ORIGINAL_DST, lb_policy: CLUSTER_PROVIDED, outlier_detection: {}"),
		"Cluster/c", "outlier_detection");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_each_field),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_without_effect),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
