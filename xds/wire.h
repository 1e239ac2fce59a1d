/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Bytes to a message, for bytes that nobody vouches for. protobuf-c's own unpack recurses without limit,
 * takes strings that are not UTF-8 and cuts them at a NUL byte; all three are found here first.
 */

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stdint.h>

#include "xds/diag.h"

/* Levels of messages, as libprotobuf has it: nobody can send what others could not read. */
#define WEFT_WIRE_DEPTH_MAX 100

/*
 * -EINVAL with the cause in diag: truncated, too deep, string not UTF-8 or with NUL, a field without
 * repetition that occurs twice, a wire type that does not fit. -ENOMEM. *ret is freed with
 * protobuf_c_message_free_unpacked(*ret, NULL). `field` is the path of the message; may be NULL.
 */
int weft_wire_unpack(const ProtobufCMessageDescriptor *desc, const uint8_t *data, size_t len,
		     const char *resource, const char *field, struct weft_diag *diag,
		     ProtobufCMessage **ret);
/* True when the n bytes are UTF-8 (RFC 3629) without NUL. */
bool weft_wire_text_ok(const uint8_t *s, size_t n);
