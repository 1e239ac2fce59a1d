/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Between the parts of the JSON form: json_decode.c, json_known.c, json_value.c, json_encode.c. */

#include "xds/json.h"
#include "xds/path.h"

struct json_decoder {
	const struct weft_json_source *source;
	struct weft_diag *diag;
	struct weft_path path;
	unsigned int depth;
	unsigned int line; /* of the innermost value whose line is known, 0 none */
};

/* Appends a cause at the decoder's path and line; returns -EINVAL. */
int json_refuse(struct json_decoder *d, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* json_decode.c */
int json_decode_message(struct json_decoder *d, const ProtobufCMessageDescriptor *desc,
			const json_t *json, ProtobufCMessage **ret);
/* Fields of an object into msg; `skip` is a key to leave out, or NULL. */
int json_decode_fields(struct json_decoder *d, ProtobufCMessage *msg, const json_t *json,
		       const char *skip);

/* json_value.c: one scalar into the memory of its field; strings and bytes are allocated. */
int json_decode_scalar(struct json_decoder *d, const ProtobufCFieldDescriptor *f,
		       const json_t *json, void *at);
/* The text of a map key as a scalar. */
int json_decode_key(struct json_decoder *d, const ProtobufCFieldDescriptor *f, const char *key,
		    void *at);
json_t *json_encode_scalar(const ProtobufCFieldDescriptor *f, const void *at);

/*
 * json_known.c: types with a JSON form of their own (Any, Duration, Struct, Value, ListValue, wrappers).
 * *ret_known says whether desc is one of them; only then is anything done.
 */
int json_decode_known(struct json_decoder *d, const ProtobufCMessageDescriptor *desc,
		      const json_t *json, bool *ret_known, ProtobufCMessage **ret);
bool json_is_known(const ProtobufCMessageDescriptor *desc);
/* Any excepted. NULL: out of memory, or *ret_err is set to -E2BIG. */
json_t *json_encode_known(const ProtobufCMessage *msg, unsigned int depth, int *ret_err);

/* json_encode.c */
json_t *json_encode_message(const ProtobufCMessage *msg, unsigned int depth, int *ret_err);
