/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Subsets of a cluster's hosts by metadata (lb_subset_config), and what routes ask of it (metadata_match). */

#include "agent/compile/hosts.h"
#include "envoy/config/core/v3/base.pb-c.h"
#include "google/protobuf/struct.pb-c.h"

/* Filter metadata "envoy.lb"; NULL without it. */
const Google__Protobuf__Struct *weft_lb_metadata(const Envoy__Config__Core__V3__Metadata *m);

/* weft_img_criteria of a metadata_match and, where that has it, of one that goes before it; 0: there is none. */
uint32_t weft_build_criteria(struct weft_build *b, const Envoy__Config__Core__V3__Metadata *outer,
			     const Envoy__Config__Core__V3__Metadata *own, const char *field);

/* True when Envoy makes subsets: of lb_subset_config only where that has selectors. */
bool weft_subsets_used(const Envoy__Config__Cluster__V3__Cluster *c);
/* What of it is not done. */
void weft_subsets_check(struct weft_build *b, const Envoy__Config__Cluster__V3__Cluster *c);
/*
 * Sets and subsets of *ret, whose endpoints are there: the sets are for requests that ask for nothing or for what there
 * is not.
 */
void weft_build_subsets(struct weft_build *b, const Envoy__Config__Cluster__V3__Cluster *c,
			const struct weft_hosts *h, struct weft_img_endpoints *ret);
