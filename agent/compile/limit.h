/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Local rate limits (HTTP and network filter) and typed_per_filter_config. */

#include "agent/compile/build.h"
#include "envoy/extensions/filters/http/local_ratelimit/v3/local_rate_limit.pb-c.h"
#include "envoy/extensions/filters/network/local_ratelimit/v3/local_rate_limit.pb-c.h"

/* What an override entry is keyed by: the filter's name. */
uint32_t weft_filter_key(const char *name);

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

/*
 * typed_per_filter_config of one level; entries are protobuf-c map entries {key, value}. Returns
 * the offset of weft_img_override[*ret_n], 0 when none has an effect.
 */
uint32_t weft_build_overrides(struct weft_build *b, size_t n, void *entries, const char *field,
			      uint32_t *ret_n);
