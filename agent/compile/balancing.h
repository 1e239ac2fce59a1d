/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* How a cluster balances, of lb_policy or of the extension that replaces it. What is refused: cluster.c. */

#include "agent/compile/hashing.h"
#include "envoy/config/cluster/v3/cluster.pb-c.h"

struct weft_balancing {
	struct weft_hashing hashing;
	bool localities;    /* locality_weighted_lb_config, wrr_locality */
	bool equal;	    /* whatever weights hosts are given: client_side_weighted_round_robin */
	bool fail_on_panic; /* zone_aware_lb_config.fail_traffic_on_panic */
	uint32_t panic_threshold; /* percent */
	uint32_t balance_factor;  /* hash_balance_factor, 0: none */
	uint32_t choices;	  /* least request: choice_count, or WEFT_CHOICES_ALL */
	bool slow;		  /* moving.window_ms is set */
	struct weft_img_moving moving; /* of least request and slow start */
};

/* Of load_balancing_policy's first known policy, else of lb_policy. */
void weft_balancing_of(const Envoy__Config__Cluster__V3__Cluster *c, struct weft_balancing *ret);
