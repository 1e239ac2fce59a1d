/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Local rate limits, HTTP and network filter. */

#include "agent/compile/build.h"
#include "envoy/extensions/filters/http/local_ratelimit/v3/local_rate_limit.pb-c.h"
#include "envoy/extensions/filters/network/local_ratelimit/v3/local_rate_limit.pb-c.h"

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
