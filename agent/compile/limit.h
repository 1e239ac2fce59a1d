/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Local rate limits, HTTP and network filter. */

#include "agent/compile/build.h"
#include "bpf/abi/rate.h"
#include "envoy/extensions/filters/http/local_ratelimit/v3/local_rate_limit.pb-c.h"
#include "envoy/extensions/filters/network/local_ratelimit/v3/local_rate_limit.pb-c.h"

/* FractionalPercent in parts per million. NULL: 0 %, the filters' default. */
#define WEFT_PPM_ALL 1000000u
uint32_t weft_ppm(const Envoy__Config__Core__V3__RuntimeFractionalPercent *p);
/* cell stays; `field` of the bucket. */
void weft_build_bucket(struct weft_build *b, const Envoy__Type__V3__TokenBucket *t,
		       const char *field, struct weft_img_bucket *ret);
/* rate_limits of `field`, own: a filter's; names: of the headers that their conditions look at. */
struct weft_img_rate_rules weft_build_rate_rules(struct weft_build *b, size_t n,
						 Envoy__Config__Route__V3__RateLimit *const *list,
						 bool own, struct weft_names_local *names,
						 const char *field);
/* Its descriptors, and the table of them, to a limit that has its state id (rate_table.c). */
void weft_build_rate_descriptors(
	struct weft_build *b, size_t n,
	Envoy__Extensions__Common__Ratelimit__V3__LocalRateLimitDescriptor *const *list,
	const char *field, struct weft_img_rate_limit *ret);
/* weft_img_rate_limit. */
uint32_t
weft_build_rate_limit(struct weft_build *b,
		      const Envoy__Extensions__Filters__Http__LocalRatelimit__V3__LocalRateLimit *l,
		      const char *field);
/* weft_img_bucket; 0 when runtime_enabled is off. */
uint32_t weft_build_conn_limit(
	struct weft_build *b,
	const Envoy__Extensions__Filters__Network__LocalRatelimit__V3__LocalRateLimit *l,
	const char *field);
