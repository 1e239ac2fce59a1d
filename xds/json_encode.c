// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "google/protobuf/any.pb-c.h"
#include "xds/any.h"
#include "xds/base64.h"
#include "xds/cleanup.h"
#include "xds/descriptor.h"
#include "xds/json_internal.h"
#include "xds/wire.h"

static json_t *encode_one(const ProtobufCFieldDescriptor *f, const void *at, unsigned int depth,
			  int *ret_err)
{
	const ProtobufCMessage *msg;

	if (f->type != PROTOBUF_C_TYPE_MESSAGE)
		return json_encode_scalar(f, at);
	msg = *(ProtobufCMessage *const *)at;
	return msg ? json_encode_message(msg, depth, ret_err) : json_object();
}

static json_t *encode_list(const ProtobufCMessage *msg, const ProtobufCFieldDescriptor *f,
			   unsigned int depth, int *ret_err)
{
	const char *at = *(char *const *)weft_field_at(msg, f);
	_xds_json_ json_t *array = json_array();

	for (size_t i = 0; array && i < weft_field_count(msg, f); i++) {
		json_t *v = encode_one(f, at + i * weft_field_size(f), depth, ret_err);

		if (!v || json_array_append_new(array, v))
			return NULL;
	}
	return WEFT_XDS_TAKE(array);
}

/* The text of a map key: JSON has no others. */
static int key_text(const ProtobufCFieldDescriptor *f, const void *at, char *buf, size_t size,
		    const char **ret)
{
	_xds_json_ json_t *json = NULL;

	if (f->type == PROTOBUF_C_TYPE_STRING) {
		*ret = *(char *const *)at;
		return 0;
	}
	json = json_encode_scalar(f, at);
	if (!json)
		return -ENOMEM;
	if (json_is_integer(json))
		snprintf(buf, size, "%" JSON_INTEGER_FORMAT, json_integer_value(json));
	else
		snprintf(buf, size, "%s",
			 json_is_boolean(json) ? (json_is_true(json) ? "true" : "false")
					       : json_string_value(json));
	*ret = buf;
	return 0;
}

static json_t *encode_map(const ProtobufCMessage *msg, const ProtobufCFieldDescriptor *f,
			  unsigned int depth, int *ret_err)
{
	_xds_json_ json_t *object = json_object();
	const char *key = NULL;
	char buf[32];

	for (size_t i = 0; object && i < weft_field_count(msg, f); i++) {
		const ProtobufCMessage *e = weft_field_msg(msg, f, i);
		const ProtobufCFieldDescriptor *k = &e->descriptor->fields[0];
		const ProtobufCFieldDescriptor *v = &e->descriptor->fields[1];
		json_t *value;

		if (key_text(k, weft_field_at(e, k), buf, sizeof(buf), &key))
			return NULL;
		value = encode_one(v, weft_field_at(e, v), depth, ret_err);
		if (!value || json_object_set_new_nocheck(object, key, value))
			return NULL;
	}
	return WEFT_XDS_TAKE(object);
}

static int encode_fields(json_t *object, const ProtobufCMessage *msg, unsigned int depth,
			 int *ret_err)
{
	for (unsigned int i = 0; i < msg->descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &msg->descriptor->fields[i];
		json_t *v;

		if (!weft_field_is_set(msg, f))
			continue;
		if (f->label != PROTOBUF_C_LABEL_REPEATED)
			v = encode_one(f, weft_field_at(msg, f), depth, ret_err);
		else if (weft_field_is_map(msg->descriptor, f))
			v = encode_map(msg, f, depth, ret_err);
		else
			v = encode_list(msg, f, depth, ret_err);
		if (!v || json_object_set_new_nocheck(object, f->name, v))
			return -ENOMEM;
	}
	return 0;
}

static json_t *encode_any(const Google__Protobuf__Any *any, unsigned int depth, int *ret_err)
{
	const char *slash = strrchr(any->type_url, '/');
	const ProtobufCMessageDescriptor *desc = slash ? weft_any_descriptor(slash + 1) : NULL;
	_xds_json_ json_t *object = json_object();
	_xds_msg_ ProtobufCMessage *inner = NULL;
	_xds_free_ char *text = NULL;
	json_t *value;

	if (!object || json_object_set_new(object, "@type", json_string(any->type_url)))
		return NULL;
	if (!desc || weft_wire_unpack(desc, any->value.data, any->value.len, NULL, NULL, NULL, &inner)) {
		text = weft_base64_encode(any->value.data, any->value.len);
		value = text ? json_string(text) : NULL;
	} else if (json_is_known(desc)) {
		value = json_encode_message(inner, depth, ret_err);
	} else {
		return encode_fields(object, inner, depth, ret_err) ? NULL : WEFT_XDS_TAKE(object);
	}
	if (!value || json_object_set_new(object, "value", value))
		return NULL;
	return WEFT_XDS_TAKE(object);
}

json_t *json_encode_message(const ProtobufCMessage *msg, unsigned int depth, int *ret_err)
{
	_xds_json_ json_t *object = NULL;

	if (depth++ == WEFT_WIRE_DEPTH_MAX) {
		*ret_err = -E2BIG;
		return NULL;
	}
	if (msg->descriptor == &google__protobuf__any__descriptor)
		return encode_any((const Google__Protobuf__Any *)msg, depth, ret_err);
	if (json_is_known(msg->descriptor))
		return json_encode_known(msg, depth, ret_err);
	object = json_object();
	if (!object || encode_fields(object, msg, depth, ret_err))
		return NULL;
	return WEFT_XDS_TAKE(object);
}

int weft_json_from_msg(const ProtobufCMessage *msg, json_t **ret)
{
	int err = -ENOMEM;
	json_t *json = json_encode_message(msg, 0, &err);

	if (!json)
		return err;
	*ret = json;
	return 0;
}
