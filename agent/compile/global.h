/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Global rate limits, HTTP and network filter. */

#include "agent/compile/build.h"
#include "bpf/abi/global.h"
#include "envoy/extensions/filters/http/ratelimit/v3/rate_limit.pb-c.h"
#include "envoy/extensions/filters/network/ratelimit/v3/rate_limit.pb-c.h"

/* Who is asked; `field` of the filter. */
void weft_build_service(struct weft_build *b,
			const Envoy__Config__Ratelimit__V3__RateLimitServiceConfig *c,
			const Google__Protobuf__Duration *timeout, const char *field,
			struct weft_img_service *ret);
/* weft_img_global_limit. */
uint32_t
weft_build_global_limit(struct weft_build *b,
			const Envoy__Extensions__Filters__Http__Ratelimit__V3__RateLimit *l,
			const char *field);
/* weft_img_conn_ask; after: local limits in front of it. */
uint32_t weft_build_conn_ask(struct weft_build *b,
			     const Envoy__Extensions__Filters__Network__Ratelimit__V3__RateLimit *l,
			     uint32_t after, const char *field);
/* weft_img_global_route. */
uint32_t
weft_build_global_route(struct weft_build *b,
			const Envoy__Extensions__Filters__Http__Ratelimit__V3__RateLimitPerRoute *r,
			const char *field);
