/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* HTTP filters by kind, and typed_per_filter_config. */

#include "agent/compile/build.h"
#include "agent/compile/cors.h"

/* What an override entry is keyed by: the filter's name. */
uint32_t weft_filter_key(const char *name);

/* A filter's typed_config, HTTP or network. */
struct weft_filter_config {
	char *type;
	ProtobufCMessage *msg;
	int err; /* of weft_any_unpack(), which has told the cause: -ENOENT, an unknown type,
		    excepted */
};
/*
 * any: NULL, none. False: there is nothing to compile; told, as a note when the filter has no
 * effect. Else *ret is for weft_filter_config_clear(), and field_config names it in diagnostics.
 */
bool weft_filter_config_open(struct weft_build *b, const Google__Protobuf__Any *any,
			     const char *field, char field_config[WEFT_FIELD_MAX],
			     struct weft_filter_config *ret);
void weft_filter_config_clear(struct weft_filter_config *c);

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
