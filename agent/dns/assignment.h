/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A load assignment with addresses in place of names. */

#include <stdbool.h>
#include <stddef.h>

#include "bpf/abi/types.h"
#include "envoy/config/endpoint/v3/endpoint.pb-c.h"
#include "xds/resource.h"

/* What one lb_endpoint of an assignment has become. */
struct weft_addresses {
	const struct weft_addr *addr;
	size_t n; /* 0: the endpoint is left out */
};

/*
 * An endpoint for each address, like the one of the name: its port, weight, health, metadata; the
 * name is the hostname of those that have none. logical: one endpoint with all addresses, in their
 * order. hosts: of each lb_endpoint of all localities in their order, which all have a
 * socket_address. The resource has the name given and one reference. -ENOMEM.
 */
int weft_assignment_resolve(const Envoy__Config__Endpoint__V3__ClusterLoadAssignment *a,
			    const struct weft_addresses *hosts, bool logical, const char *name,
			    struct weft_resource **ret);
