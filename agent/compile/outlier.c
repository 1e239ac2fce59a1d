// SPDX-License-Identifier: Apache-2.0
/* OutlierDetection of a cluster, with the defaults of Envoy 1.40. */
#include "agent/compile/parts.h"

#define FIELD "outlier_detection"
#define INTERVAL_MS 10000u
#define BASE_MS 30000u
#define MAX_MS 300000u
#define MERGE_MS 1000u

typedef Envoy__Config__Cluster__V3__Cluster cluster;
typedef Envoy__Config__Cluster__V3__OutlierDetection outlier;

static uint32_t ms(struct weft_build *b, const Google__Protobuf__Duration *d, uint32_t unset,
		   const char *name)
{
	char at[WEFT_FIELD_MAX];

	return weft_build_ms(b, d, unset, weft_field(at, FIELD, "%s", name));
}

static void enforce_fill(const outlier *o, struct weft_img_outlier *ret)
{
	uint32_t *e = ret->enforce;

	e[WEFT_EJECT_CONSECUTIVE_GATEWAY_FAILURE] =
		weft_u32(o->enforcing_consecutive_gateway_failure, 0);
	e[WEFT_EJECT_CONSECUTIVE_5XX] = weft_u32(o->enforcing_consecutive_5xx, 100);
	e[WEFT_EJECT_CONSECUTIVE_LOCAL_ORIGIN_FAILURE] =
		weft_u32(o->enforcing_consecutive_local_origin_failure, 100);
	e[WEFT_EJECT_SUCCESS_RATE] = weft_u32(o->enforcing_success_rate, 100);
	e[WEFT_EJECT_LOCAL_ORIGIN_SUCCESS_RATE] =
		weft_u32(o->enforcing_local_origin_success_rate, 100);
	e[WEFT_EJECT_FAILURE_PERCENTAGE] = weft_u32(o->enforcing_failure_percentage, 0);
	e[WEFT_EJECT_LOCAL_ORIGIN_FAILURE_PERCENTAGE] =
		weft_u32(o->enforcing_failure_percentage_local_origin, 0);
}

uint32_t weft_build_outlier(struct weft_build *b, const cluster *c)
{
	const outlier *o = c->outlier_detection;
	struct weft_img_outlier out = {0};

	if (!o)
		return 0;
	/* Envoy sends a request where the app asked to, ejected or not */
	if (c->cluster_discovery_type_case ==
		    ENVOY__CONFIG__CLUSTER__V3__CLUSTER__CLUSTER_DISCOVERY_TYPE_TYPE &&
	    c->type == ENVOY__CONFIG__CLUSTER__V3__CLUSTER__DISCOVERY_TYPE__ORIGINAL_DST) {
		weft_build_note(b, FIELD, "the app chooses the host");
		return 0;
	}
	weft_build_fields(b, &o->base, FIELD);
	/* a degraded host would be one more kind of ejection; what is off changes nothing */
	if (weft_bool(o->detect_degraded_hosts, false))
		weft_build_fail(b, FIELD ".detect_degraded_hosts", "unsupported");
	if (c->close_connections_on_host_health_failure)
		weft_build_fail(b, "close_connections_on_host_health_failure",
				"unsupported with outlier_detection");
	out.interval_ms = ms(b, o->interval, INTERVAL_MS, "interval");
	if (!out.interval_ms)
		out.interval_ms = 1;
	out.base_ms = ms(b, o->base_ejection_time, BASE_MS, "base_ejection_time");
	out.max_ms = ms(b, o->max_ejection_time, out.base_ms > MAX_MS ? out.base_ms : MAX_MS,
			"max_ejection_time");
	out.jitter_ms = ms(b, o->max_ejection_time_jitter, 0, "max_ejection_time_jitter");
	out.max_percent = weft_u32(o->max_ejection_percent, 10);
	out.always_one = weft_bool(o->always_eject_one_host, false);
	out.split = o->split_external_local_origin_errors != 0;
	out.run[WEFT_EJECT_CONSECUTIVE_GATEWAY_FAILURE] =
		weft_u32(o->consecutive_gateway_failure, 5);
	out.run[WEFT_EJECT_CONSECUTIVE_5XX] = weft_u32(o->consecutive_5xx, 5);
	out.run[WEFT_EJECT_CONSECUTIVE_LOCAL_ORIGIN_FAILURE] =
		weft_u32(o->consecutive_local_origin_failure, 5);
	out.uneject = weft_bool(o->successful_active_health_check_uneject_host, true);
	enforce_fill(o, &out);
	out.rate_hosts = weft_u32(o->success_rate_minimum_hosts, 5);
	out.rate_volume = weft_u32(o->success_rate_request_volume, 100);
	out.rate_factor = weft_u32(o->success_rate_stdev_factor, 1900);
	out.failure_percent = weft_u32(o->failure_percentage_threshold, 85);
	out.failure_hosts = weft_u32(o->failure_percentage_minimum_hosts, 5);
	out.failure_volume = weft_u32(o->failure_percentage_request_volume, 50);
	out.merge_ms = weft_build_ms(
		b, c->common_lb_config ? c->common_lb_config->update_merge_window : NULL, MERGE_MS,
		"common_lb_config.update_merge_window");
	return weft_build_put(b, &out, sizeof(out));
}
