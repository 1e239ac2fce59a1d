/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* google.protobuf.Any and TypedStruct (xds.type.v3, udpa.type.v1) to typed messages. */

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>

#include "google/protobuf/any.pb-c.h"
#include "xds/diag.h"

/*
 * The message type inside: for TypedStruct the inner type_url. Both without the part before the
 * last
 * '/'. Owned by the caller; NULL when the Any is malformed, or without memory
 * (weft_any_failures()).
 */
char *weft_any_type(const Google__Protobuf__Any *any);

/*
 * Unpacks into the message named by the Any (or the TypedStruct in it; its Struct is decoded as proto3
 * JSON through descriptors). *ret is freed with protobuf_c_message_free_unpacked(*ret, NULL).
 * -ENOENT: type not known to weft (the caller decides: is_optional, Istio's own, or refuse);
 * -EINVAL: malformed or a field that the type does not have (cause in diag, with `resource`, `field`).
 */
int weft_any_unpack(const Google__Protobuf__Any *any, const char *resource, const char *field,
		    struct weft_diag *diag, ProtobufCMessage **ret);

/*
 * How often one of the two had no memory on this thread. Their callers take that for an Any without
 * type, or for one that is refused: when the number has changed, what was made of a message
 * meanwhile is worth nothing.
 */
unsigned long weft_any_failures(void);

/* Descriptor of a full message name ("envoy.config.route.v3.Route"), NULL when not in the subset. */
const ProtobufCMessageDescriptor *weft_any_descriptor(const char *full_name);

/*
 * Filter types that weft knows by name only and may leave out, because traffic is the same without them
 * (Istio's metadata exchange and statistics). Listed as not applied by who finds them.
 */
bool weft_any_harmless(const char *full_name);
