/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* google.protobuf.FieldMask over the JSON form of messages. Thread safe. */

#include <jansson.h>
#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>

/* "a.b,c": {"a": {"b": true}, "c": true}; empty paths count for nothing. NULL: an empty name within
 * a path, or no memory. */
json_t *weft_mask_parse(const char *text);
/*
 * Every path leads through messages of `desc` to a field of it, and through no list and no map.
 * What stands in an Any is an `any`; NULL, or an Any within that: any name will do.
 */
bool weft_mask_fits(const json_t *mask, const ProtobufCMessageDescriptor *desc,
		    const ProtobufCMessageDescriptor *any);
/* What of `json` the mask names, and every "@type". A new object; NULL: no memory. */
json_t *weft_mask_apply(const json_t *mask, const json_t *json);
