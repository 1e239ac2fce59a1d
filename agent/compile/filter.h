/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* HTTP filters by kind, and typed_per_filter_config. */

#include "agent/compile/build.h"
#include "agent/compile/cors.h"

/* What an override entry is keyed by: the filter's name. */
uint32_t weft_filter_key(const char *name);

/* The configuration of a filter of this kind from its message; 0: it does nothing. */
uint32_t weft_build_filter(struct weft_build *b, enum weft_filter_kind kind,
			   const ProtobufCMessage *msg, const char *field);

/*
 * typed_per_filter_config of one level; entries are protobuf-c map entries {key, value}; cors: the
 * deprecated policy of the level, NULL none. Returns the offset of weft_img_override[*ret_n], 0
 * when none has an effect. Levels come from the outside in; those around one hold for it.
 */
uint32_t weft_build_overrides(struct weft_build *b, enum weft_level level, size_t n, void *entries,
			      const Envoy__Config__Route__V3__CorsPolicy *cors, const char *field,
			      uint32_t *ret_n);
