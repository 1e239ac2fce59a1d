/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What a cluster says of its active health check (envoy.config.core.v3.HealthCheck). */

#include "agent/compile/build.h"
#include "envoy/config/cluster/v3/cluster.pb-c.h"

enum weft_health_kind { WEFT_HEALTH_HTTP, WEFT_HEALTH_TCP, WEFT_HEALTH_GRPC };

/* Bytes to send, or to find in what comes. */
struct weft_health_bytes {
	uint8_t *v;
	size_t n;
};

/* Statuses from .. end - 1. */
struct weft_health_range {
	uint32_t from, end;
};

/* A header line of a check, as it is sent. */
struct weft_health_header {
	char *name, *value;
};

struct weft_health_conf {
	enum weft_health_kind kind;
	bool http2; /* of HTTP: codec_client_type; gRPC always */
	/* Defaults of Envoy 1.40; of times in ms. */
	uint32_t timeout_ms, interval_ms, initial_jitter_ms, interval_jitter_ms;
	uint32_t interval_jitter_percent, unhealthy_threshold, healthy_threshold;
	uint32_t no_traffic_ms, no_traffic_healthy_ms;
	uint32_t unhealthy_ms, unhealthy_edge_ms, healthy_edge_ms;
	bool reuse;	   /* reuse_connection */
	bool log_failures, log_successes;
	bool exclude_new;  /* ignore_new_hosts_until_first_hc */
	bool keep_removed; /* not ignore_health_on_host_removal */
	char *cluster;
	char *host;	   /* of the check, or authority; "" none is configured */
	char *path, *service;
	const char *method;
	struct weft_health_header *header; /* behind host, user-agent with them */
	size_t n_header;
	struct weft_health_range *expected, *retriable;
	size_t n_expected, n_retriable;
	struct weft_health_bytes send;
	struct weft_health_bytes *receive; /* one behind another in what comes */
	size_t n_receive;
	uint32_t body_max; /* bytes of a body that are looked at; 0: no limit of the configuration's */
	bool match_service; /* service_name_matcher */
	int match_kind;	    /* of a StringMatcher */
	bool match_fold;
	char *match_text;
	struct weft_regex *match_regex;
};

/* It has health_checks, and its hosts are not the app's choice. */
bool weft_health_is(const Envoy__Config__Cluster__V3__Cluster *c);
/*
 * Of a cluster with weft_health_is(). What cannot be done as it is said is refused in b; then *ret
 * is as good as empty. weft_health_conf_clear() afterwards in any case.
 */
void weft_build_health(struct weft_build *b, const Envoy__Config__Cluster__V3__Cluster *c,
		       struct weft_health_conf *ret);
void weft_health_conf_clear(struct weft_health_conf *conf);
/* Whether x-envoy-upstream-healthchecked-cluster is as service_name_matcher wants it. */
bool weft_health_service_matches(const struct weft_health_conf *conf, const char *value, size_t n);
/* Refuses a health_check_config that cannot be done. */
void weft_build_host_check(struct weft_build *b,
			   const Envoy__Config__Endpoint__V3__Endpoint *e, const char *field);
