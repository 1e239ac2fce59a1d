/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "agent/compile/build.h"
#include "envoy/config/cluster/v3/cluster.pb-c.h"
#include "envoy/config/endpoint/v3/endpoint_components.pb-c.h"

/* Refuses what of upstream_connection_options is not done. */
void weft_build_eyeballs(struct weft_build *b, const Envoy__Config__Cluster__V3__Cluster *c);

/*
 * weft_img_addresses of an endpoint whose address is addr, in the order in which Envoy tries them;
 * 0: it has no additional ones, or they are refused. field: the endpoint's.
 */
uint32_t weft_build_addresses(struct weft_build *b, const Envoy__Config__Cluster__V3__Cluster *c,
			      const Envoy__Config__Endpoint__V3__Endpoint *e,
			      const struct weft_sockaddr *addr, const char *field);
