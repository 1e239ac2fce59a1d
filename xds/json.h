/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Messages from and to their proto3 JSON form, through descriptors. Names may be those of the .proto or
 * camelCase; what is written has the names of the .proto. Thread safe.
 */

#include <jansson.h>
#include <protobuf-c/protobuf-c.h>

#include "xds/diag.h"

struct weft_lines; /* xds/lines.h: where a value stood in its file */

struct weft_json_source {
	const char *resource; /* of the entries in diag; a file or a resource; may be NULL */
	const char *field;    /* path of the message itself; may be NULL */
	/* With lines `resource` is a file, and entries name FILE:LINE; `line` is that of the message itself. */
	const struct weft_lines *lines;
	unsigned int line;
};

/*
 * JSON to a message: all of proto3 JSON that can be in the subset. A field that the message does not have, a
 * value of the wrong kind or out of range is -EINVAL with the path in diag, so are two members of one choice.
 * An Any of a type that is not known becomes a TypedStruct with that type, so that nothing is lost.
 * *ret is freed with protobuf_c_message_free_unpacked(*ret, NULL). json is only read.
 */
int weft_json_to_msg(const ProtobufCMessageDescriptor *desc, const json_t *json,
		     const struct weft_json_source *source, struct weft_diag *diag,
		     ProtobufCMessage **ret);

/*
 * A message to JSON: names of the .proto, only what is set, 64-bit numbers as strings, an Any with "@type"
 * and its fields (its bytes in base64 as "value" when the type is not known or they do not decode).
 * -ENOMEM; -E2BIG when nested deeper than WEFT_WIRE_DEPTH_MAX. *ret is the caller's.
 */
int weft_json_from_msg(const ProtobufCMessage *msg, json_t **ret);
