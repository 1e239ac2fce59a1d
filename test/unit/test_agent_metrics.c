// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "agent/metrics.h"

#define CELL(pod, kind, name, members)                                                             \
	"{\"pod\": " #pod ", \"kind\": \"" kind "\", \"name\": " name ", " members "}"

static char *written(const char *stats, enum weft_metrics_form form)
{
	json_error_t error;
	json_t *j = json_loads(stats, 0, &error);
	size_t len = 0;
	char *text;

	if (!j)
		fail_msg("%s", error.text);
	text = weft_metrics_write(j, form, &len);
	json_decref(j);
	assert_non_null(text);
	assert_int_equal(len, strlen(text));
	return text;
}

static bool has_line(const char *text, const char *line)
{
	size_t n = strlen(line);

	for (const char *p = text; (p = strstr(p, line)); p++) {
		if ((p == text || p[-1] == '\n') && p[n] == '\n')
			return true;
	}
	return false;
}

#define HAS(text, line)                                                                            \
	do {                                                                                       \
		if (!has_line(text, line))                                                         \
			fail_msg("not there: %s\n%s", line, text);                                 \
	} while (0)

static const char
	stats
		[] =
			"{\"what\": \"stats\", \"server\": {\"ready\": true, \"uptime\": 7}, "
			"\"proxy\": {\"keepalive_timeouts\": 4}, \"decisions\": {\"outcomes\": "
			"{\"kernel\": {\"ok\": 5}}, \"slots_used\": 2}, \"store\": {\"publishes\": "
			"3, "
			"\"objects\": 9}, "
			"\"sources\": {\"xds\": {\"address\": \"a:1\", \"connected\": true, "
			"\"stale\": "
			"false, "
			"\"staleness_ms\": 12, \"joined\": 4, \"last_error\": \"\", \"types\": "
			"{\"cds\": "
			"{\"update_success\": 2, \"update_rejected\": 1}, \"lds\": "
			"{\"update_success\": 3, "
			"\"update_rejected\": 0}, \"eds\": {\"update_success\": 8, "
			"\"update_rejected\": "
			"0}, \"rds\": "
			"{\"update_success\": 1, \"update_rejected\": 0}}, \"pending\": 2, "
			"\"control_plane\": "
			"\"cp\"}}, \"subscriptions\": {\"totals\": "
			"{\"cluster_manager.active_clusters\": 6}, "
			"\"list\": [{\"type\": \"cds\", \"update_success\": 2, "
			"\"update_rejected\": 1, "
			"\"version\": -1, \"version_text\": \"v1\"}, {\"type\": \"cds\", "
			"\"update_success\": 5, \"version\": 9}, {\"type\": \"lds\", "
			"\"update_success\": 3}, "
			"{\"type\": \"eds\", \"name\": \"c\", \"update_success\": 1}, {\"type\": "
			"\"rds\", "
			"\"name\": \"r\", \"stat_prefix\": \"in\", \"config_reload\": 4, "
			"\"update_time\": "
			"77}]}, \"cells\": [" CELL(
				1, "cluster", "\"a\\\"b\"",
				"\"cx_active\": 1, \"rq_total\": 10, \"rq_2xx\": 9, "
				"\"keepalive_timeout\": 3, "
				"\"pending_overflow\": 1, \"rq_overflow\": 2, "
				"\"circuit_breakers\": {\"default\": "
				"{\"cx_open\": 1, \"remaining_rq\": 7}, \"high\": {\"rq_open\": "
				"0}}") ", " CELL(2, "cluster", "\"a\\\"b\"",
						 "\"cx_active\": "
						 "2, \"rq_total\": "
						 "20, \"rq_2xx\": "
						 "18") ", " CELL(1,
								 "e"
								 "n"
								 "d"
								 "p"
								 "o"
								 "i"
								 "n"
								 "t",
								 "\"a "
								 "10.0.0.1:"
								 "80\"",
								 "\"rq_"
								 "total\": "
								 "10") ","
								       " " CELL(
									       1, "bucket",
									       "\"limit\"",
									       "\"ok\": 6, "
									       "\"rate_limited\": "
									       "1") "], "
										    "\"http\": "
										    "[{\"name\": "
										    "\"in\", "
										    "\"downstream_"
										    "rq_total\": "
										    "9, "
										    "\"downstream_"
										    "rq_2xx\": 4, "
										    "\"downstream_"
										    "rq_rx_reset\":"
										    " 2}], "
										    "\"access_"
										    "log\": "
										    "{\"lost\": 1, "
										    "\"files\": 2, "
										    "\"paths\": "
										    "[]}}";

static void test_text(void **state)
{
	char *text = written(stats, WEFT_METRICS_TEXT);

	(void)state;
	HAS(text, "server.state: 0");
	HAS(text, "server.live: 1");
	HAS(text, "server.uptime: 7");
	HAS(text, "control_plane.connected_state: 1");
	HAS(text, "control_plane.identifier: \"cp\"");
	HAS(text, "control_plane.pending_requests: 2");
	HAS(text, "cluster_manager.active_clusters: 6");
	/* of two streams: sums, but of a version the highest, without a sign */
	HAS(text, "cluster_manager.cds.update_success: 7");
	HAS(text, "cluster_manager.cds.version: 18446744073709551615");
	HAS(text, "cluster_manager.cds.version_text: \"v1\"");
	HAS(text, "cluster.c.update_success: 1");
	HAS(text, "http.in.rds.r.config_reload: 4");
	HAS(text, "http.in.rds.r.update_time: 77");
	HAS(text, "cluster_manager.cds.update_rejected: 1");
	HAS(text, "listener_manager.lds.update_success: 3");
	HAS(text, "weft.xds.eds.update_success: 8");
	HAS(text, "weft.xds.staleness_ms: 12");
	HAS(text, "weft.xds.joined: 4");
	/* sums over pods */
	HAS(text, "cluster.a\"b.upstream_cx_active: 3");
	HAS(text, "cluster.a\"b.upstream_rq_total: 30");
	HAS(text, "cluster.a\"b.circuit_breakers.default.cx_open: 1");
	HAS(text, "cluster.a\"b.circuit_breakers.default.remaining_rq: 7");
	HAS(text, "cluster.a\"b.circuit_breakers.high.rq_open: 0");
	HAS(text, "cluster.a\"b.upstream_rq_2xx: 27");
	HAS(text, "cluster.a\"b.http2.keepalive_timeout: 3");
	HAS(text, "http2.keepalive_timeout: 4");
	HAS(text, "cluster.a\"b.upstream_rq_pending_overflow: 3");
	HAS(text, "weft.bucket.limit.ok: 6");
	HAS(text, "weft.decisions.outcomes.kernel.ok: 5");
	HAS(text, "weft.store.publishes: 3");
	HAS(text, "http.in.downstream_rq_total: 9");
	HAS(text, "http.in.downstream_rq_2xx: 4");
	HAS(text, "http.in.downstream_rq_rx_reset: 2");
	HAS(text, "weft.access_log.lost: 1");
	assert_null(strstr(text, "10.0.0.1"));
	assert_null(strstr(text, "last_error"));
	free(text);
}

static void test_prometheus(void **state)
{
	char *text = written(stats, WEFT_METRICS_PROMETHEUS), *second;
	const char *type = "# TYPE envoy_cluster_upstream_rq_xx counter\n";

	(void)state;
	HAS(text, "# TYPE envoy_control_plane_connected_state gauge");
	HAS(text, "envoy_control_plane_connected_state 1");
	HAS(text, "# TYPE envoy_cluster_manager_cds_update_success counter");
	HAS(text, "envoy_cluster_manager_cds_update_success 7");
	HAS(text, "# TYPE envoy_cluster_manager_cds_version gauge");
	HAS(text, "envoy_cluster_manager_cds_version 18446744073709551615");
	HAS(text, "envoy_cluster_update_success{envoy_cluster_name=\"c\"} 1");
	HAS(text, "envoy_http_rds_config_reload{envoy_rds_route_config=\"r\","
		  "envoy_http_conn_manager_prefix=\"in\"} 4");
	assert_null(strstr(text, "version_text"));
	assert_null(strstr(text, "identifier"));
	HAS(text, "# TYPE envoy_cluster_upstream_cx_active gauge");
	HAS(text,
	    "envoy_cluster_upstream_cx_active{envoy_cluster_name=\"a\\\"b\",weft_pod=\"1\"} 1");
	HAS(text,
	    "envoy_cluster_upstream_cx_active{envoy_cluster_name=\"a\\\"b\",weft_pod=\"2\"} 2");
	HAS(text, "envoy_cluster_upstream_rq_xx{envoy_response_code_class=\"2\","
		  "envoy_cluster_name=\"a\\\"b\",weft_pod=\"1\"} 9");
	HAS(text, "envoy_cluster_upstream_rq_pending_overflow{envoy_cluster_name=\"a\\\"b\","
		  "weft_pod=\"1\"} 3");
	HAS(text, "# TYPE envoy_http_downstream_rq_xx counter");
	HAS(text, "envoy_http_downstream_rq_xx{envoy_response_code_class=\"2\","
		  "envoy_http_conn_manager_prefix=\"in\"} 4");
	HAS(text, "envoy_http_downstream_rq_total{envoy_http_conn_manager_prefix=\"in\"} 9");
	HAS(text, "# TYPE weft_access_log_files gauge");
	HAS(text, "# TYPE weft_xds_staleness_ms gauge");
	HAS(text, "# TYPE weft_xds_joined counter");
	HAS(text, "weft_bucket_rate_limited{weft_name=\"limit\",weft_pod=\"1\"} 1");
	/* a family is declared once, and its samples stand together */
	second = strstr(text, type);
	assert_non_null(second);
	assert_null(strstr(second + 1, type));
	free(text);
}

/* Before anything is there: not ready, not connected. */
static void test_start(void **state)
{
	char *text =
		written("{\"server\": {\"ready\": false, \"uptime\": 0}, \"sources\": {\"xds\": "
			"{\"connected\": false, \"staleness_ms\": null}}}",
			WEFT_METRICS_TEXT);

	(void)state;
	assert_string_equal(text,
			    "control_plane.connected_state: 0\ncontrol_plane.identifier: \"\"\n"
			    "control_plane.pending_requests: 0\nserver.live: 0\n"
			    "server.state: 3\nserver.uptime: 0\n");
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text),
		cmocka_unit_test(test_prometheus),
		cmocka_unit_test(test_start),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
