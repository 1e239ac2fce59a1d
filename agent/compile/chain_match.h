/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Which filter chain a connection takes: filter_chain_match, as bpf/abi/listener.h lays it out. */

#include "agent/compile/build.h"
#include "envoy/config/listener/v3/listener.pb-c.h"

/*
 * Fills ret's groups. chain: weft_img_chain of each of l's filter chains; otherwise: of the default
 * chain; 0 for one that closes. Refuses matches that overlap, as Envoy does, and what Envoy's own
 * documentation leaves open.
 */
void weft_build_chain_groups(struct weft_build *b, const Envoy__Config__Listener__V3__Listener *l,
			     const uint32_t *chain, uint32_t otherwise,
			     struct weft_img_listener *ret);
