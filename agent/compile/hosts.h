/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The hosts of one assignment, and the sets of them that take requests (host_sets.c). */

#include "agent/compile/balancing.h"
#include "agent/compile/build.h"
#include "google/protobuf/struct.pb-c.h"

/* DRAINING: of no use, but nobody counts it among those that are missing. */
enum weft_health { WEFT_HOST_HEALTHY, WEFT_HOST_DEGRADED, WEFT_HOST_UNHEALTHY, WEFT_HOST_DRAINING };

/* Localities of one name and priority are one. In the order of priorities, then of names. */
struct weft_locality {
	uint32_t weight; /* 0: unset */
	uint32_t n_host;
	uint32_t priority;
};

struct weft_hosts {
	struct weft_img_endpoint *v;
	uint32_t *priority;
	uint32_t *locality; /* index of `localities` */
	enum weft_health *health;
	const Google__Protobuf__Struct **metadata; /* envoy.lb of each, NULL without */
	char **key; /* what consistent hashing knows a host by; NULL with other policies */
	size_t n;
	struct weft_locality *localities;
	size_t n_locality;
	const struct weft_balancing *balancing;
	uint32_t factor; /* overprovisioning_factor */
	bool weighted;	 /* weighted_priority_health: availability by hosts' weights, not by their
			    number */
};

/* Weights of localities: as configured, by how many of their hosts are in the choice, or none. */
enum weft_locality_use { WEFT_LOCALITIES_WEIGHTED, WEFT_LOCALITIES_SCALED, WEFT_LOCALITIES_IGNORED };
/*
 * n_set and set of *ret, from n of the hosts by their indexes, ascending: priorities, overprovisioning, panic,
 * localities, and each set's schedule or table.
 */
void weft_build_host_sets(struct weft_build *b, const struct weft_hosts *h, const uint32_t *host,
			  size_t n, enum weft_locality_use use, struct weft_img_endpoints *ret);
