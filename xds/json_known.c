// SPDX-License-Identifier: Apache-2.0
/* Types whose JSON form is not that of their fields. */

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "google/protobuf/any.pb-c.h"
#include "google/protobuf/duration.pb-c.h"
#include "google/protobuf/struct.pb-c.h"
#include "google/protobuf/wrappers.pb-c.h"
#include "udpa/type/v1/typed_struct.pb-c.h"
#include "xds/any.h"
#include "xds/cleanup.h"
#include "xds/descriptor.h"
#include "xds/json_internal.h"
#include "xds/wire.h"

/* Bound of google.protobuf.Duration: 10,000 years. */
#define DURATION_SECONDS_MAX 315576000000ULL
#define TYPED_STRUCT_URL "type.googleapis.com/udpa.type.v1.TypedStruct"

typedef int decode_fn(struct json_decoder *d, const json_t *json, ProtobufCMessage *msg);

static int decode_duration(struct json_decoder *d, const json_t *json, ProtobufCMessage *msg)
{
	Google__Protobuf__Duration *duration = (Google__Protobuf__Duration *)msg;
	const char *p = json_string_value(json);
	unsigned int digits = 0;
	uint64_t seconds;
	int32_t nanos = 0;
	bool negative;
	char *end;

	if (!p)
		return json_refuse(d, "must be a duration such as \"1.5s\"");
	negative = *p == '-';
	p += negative;
	if (!isdigit((unsigned char)*p))
		return json_refuse(d, "must be a duration such as \"1.5s\"");
	errno = 0;
	seconds = strtoull(p, &end, 10);
	if (errno || seconds > DURATION_SECONDS_MAX)
		return json_refuse(d, "out of range");
	if (*end == '.')
		for (end++; isdigit((unsigned char)*end) && digits < 9; end++, digits++)
			nanos = nanos * 10 + (*end - '0');
	if (strcmp(end, "s") || end[-1] == '.')
		return json_refuse(d, "must be a duration such as \"1.5s\"");
	while (digits && digits++ < 9)
		nanos *= 10;
	duration->seconds = negative ? -(int64_t)seconds : (int64_t)seconds;
	duration->nanos = negative ? -nanos : nanos;
	return 0;
}

/* A wrapper has one field, `value`, and its JSON form is the value alone. */
static int decode_wrapper(struct json_decoder *d, const json_t *json, ProtobufCMessage *msg)
{
	const ProtobufCFieldDescriptor *f = &msg->descriptor->fields[0];

	return json_decode_scalar(d, f, json, weft_field_at(msg, f));
}

/* One member of an object or array, as an ordinary field of a wrapping object. */
static int decode_as_member(struct json_decoder *d, const json_t *json, ProtobufCMessage *msg)
{
	const char *name = msg->descriptor->fields[0].name;
	_xds_json_ json_t *object = json_object();

	if (!object || json_object_set(object, name, (json_t *)json))
		return -ENOMEM;
	return json_decode_fields(d, msg, object, NULL);
}

static int decode_struct(struct json_decoder *d, const json_t *json, ProtobufCMessage *msg)
{
	if (!json_is_object(json))
		return json_refuse(d, "must be a mapping");
	return decode_as_member(d, json, msg);
}

static int decode_list(struct json_decoder *d, const json_t *json, ProtobufCMessage *msg)
{
	if (!json_is_array(json))
		return json_refuse(d, "must be a list");
	return decode_as_member(d, json, msg);
}

static int decode_any_value(struct json_decoder *d, const json_t *json, ProtobufCMessage *msg)
{
	Google__Protobuf__Value *v = (Google__Protobuf__Value *)msg;
	const ProtobufCFieldDescriptor *f;
	const char *member;
	int r;

	switch (json_typeof(json)) {
	case JSON_NULL:
		v->kind_case = GOOGLE__PROTOBUF__VALUE__KIND_NULL_VALUE;
		return 0;
	case JSON_TRUE:
	case JSON_FALSE:
		member = "bool_value";
		break;
	case JSON_INTEGER:
	case JSON_REAL:
		member = "number_value";
		break;
	case JSON_STRING:
		member = "string_value";
		break;
	case JSON_OBJECT:
		member = "struct_value";
		break;
	default:
		member = "list_value";
		break;
	}
	f = protobuf_c_message_descriptor_get_field_by_name(msg->descriptor, member);
	if (f->type == PROTOBUF_C_TYPE_MESSAGE)
		r = json_decode_message(d, f->descriptor, json, weft_field_at(msg, f));
	else
		r = json_decode_scalar(d, f, json, weft_field_at(msg, f));
	if (!r)
		v->kind_case = (Google__Protobuf__Value__KindCase)f->id;
	return r;
}

static int pack_into(const ProtobufCMessage *inner, Google__Protobuf__Any *any)
{
	size_t len = protobuf_c_message_get_packed_size(inner);

	any->value.data = len ? malloc(len) : NULL;
	if (len && !any->value.data)
		return -ENOMEM;
	any->value.len = len ? protobuf_c_message_pack(inner, any->value.data) : 0;
	return 0;
}

/* The JSON form of an unknown type is kept whole, as a TypedStruct. */
static int decode_unknown(struct json_decoder *d, const json_t *json, const char *url,
			  Google__Protobuf__Any *any)
{
	_xds_json_ json_t *object = json_object(), *rest = json_copy((json_t *)json);
	_xds_msg_ ProtobufCMessage *inner = NULL;
	int r;

	if (!object || !rest || json_object_del(rest, "@type") ||
	    json_object_set_new(object, "type_url", json_string(url)) ||
	    json_object_set(object, "value", rest))
		return -ENOMEM;
	r = json_decode_message(d, &udpa__type__v1__typed_struct__descriptor, object, &inner);
	if (r)
		return r;
	any->type_url = strdup(TYPED_STRUCT_URL);
	return any->type_url ? pack_into(inner, any) : -ENOMEM;
}

static int decode_typed(struct json_decoder *d, const ProtobufCMessageDescriptor *desc,
			const json_t *json, ProtobufCMessage **ret)
{
	_xds_msg_ ProtobufCMessage *msg = NULL;
	const json_t *value;
	size_t before;
	int r;

	if (json_is_known(desc)) {
		value = json_object_get(json, "value");
		if (json_object_size(json) != 1U + !!value)
			return json_refuse(d, "takes \"value\" and nothing else beside \"@type\"");
		if (!value) {
			*ret = weft_msg_new(desc);
			return *ret ? 0 : -ENOMEM;
		}
		before = weft_path_field(&d->path, "value");
		r = json_decode_message(d, desc, value, ret);
		weft_path_cut(&d->path, before);
		return r;
	}
	msg = weft_msg_new(desc);
	r = msg ? json_decode_fields(d, msg, json, "@type") : -ENOMEM;
	if (!r)
		*ret = WEFT_XDS_TAKE(msg);
	return r;
}

static int decode_any(struct json_decoder *d, const json_t *json, ProtobufCMessage *msg)
{
	Google__Protobuf__Any *any = (Google__Protobuf__Any *)msg;
	const ProtobufCMessageDescriptor *desc;
	_xds_msg_ ProtobufCMessage *inner = NULL;
	const char *url;
	int r;

	if (!json_is_object(json))
		return json_refuse(d, "must be a mapping with \"@type\"");
	if (!json_object_size(json))
		return 0;
	url = json_string_value(json_object_get(json, "@type"));
	if (!url || !strchr(url, '/') || !strrchr(url, '/')[1])
		return json_refuse(d, "\"@type\" must be there, with a type's URL");
	desc = weft_any_descriptor(strrchr(url, '/') + 1);
	if (!desc)
		return decode_unknown(d, json, url, any);
	r = decode_typed(d, desc, json, &inner);
	if (r)
		return r;
	any->type_url = strdup(url);
	return any->type_url ? pack_into(inner, any) : -ENOMEM;
}

static decode_fn *decoder_of(const ProtobufCMessageDescriptor *desc)
{
	static const struct {
		const ProtobufCMessageDescriptor *desc;
		decode_fn *fn;
	} table[] = {
		{&google__protobuf__any__descriptor, decode_any},
		{&google__protobuf__duration__descriptor, decode_duration},
		{&google__protobuf__struct__descriptor, decode_struct},
		{&google__protobuf__value__descriptor, decode_any_value},
		{&google__protobuf__list_value__descriptor, decode_list},
		{&google__protobuf__double_value__descriptor, decode_wrapper},
		{&google__protobuf__float_value__descriptor, decode_wrapper},
		{&google__protobuf__int64_value__descriptor, decode_wrapper},
		{&google__protobuf__uint64_value__descriptor, decode_wrapper},
		{&google__protobuf__int32_value__descriptor, decode_wrapper},
		{&google__protobuf__uint32_value__descriptor, decode_wrapper},
		{&google__protobuf__bool_value__descriptor, decode_wrapper},
		{&google__protobuf__string_value__descriptor, decode_wrapper},
		{&google__protobuf__bytes_value__descriptor, decode_wrapper},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++)
		if (table[i].desc == desc)
			return table[i].fn;
	return NULL;
}

bool json_is_known(const ProtobufCMessageDescriptor *desc)
{
	return decoder_of(desc);
}

int json_decode_known(struct json_decoder *d, const ProtobufCMessageDescriptor *desc,
		      const json_t *json, bool *ret_known, ProtobufCMessage **ret)
{
	decode_fn *fn = decoder_of(desc);
	_xds_msg_ ProtobufCMessage *msg = NULL;
	int r;

	*ret_known = fn;
	if (!fn)
		return 0;
	msg = weft_msg_new(desc);
	if (!msg)
		return -ENOMEM;
	r = fn(d, json, msg);
	if (!r)
		*ret = WEFT_XDS_TAKE(msg);
	return r;
}

static json_t *encode_duration(const ProtobufCMessage *msg)
{
	const Google__Protobuf__Duration *d = (const Google__Protobuf__Duration *)msg;
	bool negative = d->seconds < 0 || d->nanos < 0;
	uint64_t seconds = d->seconds < 0 ? -(uint64_t)d->seconds : (uint64_t)d->seconds;
	uint32_t nanos = d->nanos < 0 ? -(uint32_t)d->nanos : (uint32_t)d->nanos;
	int digits = nanos % 1000 ? 9 : nanos % 1000000 ? 6 : nanos ? 3 : 0;
	char text[64];

	for (int i = digits; i < 9; i++)
		nanos /= 10;
	if (digits)
		snprintf(text, sizeof(text), "%s%" PRIu64 ".%0*" PRIu32 "s", negative ? "-" : "",
			 seconds, digits, nanos);
	else
		snprintf(text, sizeof(text), "%s%" PRIu64 "s", negative ? "-" : "", seconds);
	return json_string(text);
}

static json_t *encode_value(const ProtobufCMessage *msg, unsigned int depth, int *ret_err)
{
	const Google__Protobuf__Value *v = (const Google__Protobuf__Value *)msg;
	const ProtobufCFieldDescriptor *f =
		protobuf_c_message_descriptor_get_field(msg->descriptor, v->kind_case);

	if (!f || f->type == PROTOBUF_C_TYPE_ENUM)
		return json_null();
	if (f->type != PROTOBUF_C_TYPE_MESSAGE)
		return json_encode_scalar(f, weft_field_at(msg, f));
	return json_encode_message(weft_field_msg(msg, f, 0), depth, ret_err);
}

static json_t *encode_struct(const ProtobufCMessage *msg, unsigned int depth, int *ret_err)
{
	const Google__Protobuf__Struct *s = (const Google__Protobuf__Struct *)msg;
	_xds_json_ json_t *object = json_object();

	for (size_t i = 0; object && i < s->n_fields; i++) {
		const Google__Protobuf__Value *v = s->fields[i]->value;
		json_t *value = v ? json_encode_message(&v->base, depth, ret_err) : json_null();

		if (!value || json_object_set_new_nocheck(object, s->fields[i]->key, value))
			return NULL;
	}
	return WEFT_XDS_TAKE(object);
}

static json_t *encode_list(const ProtobufCMessage *msg, unsigned int depth, int *ret_err)
{
	const Google__Protobuf__ListValue *l = (const Google__Protobuf__ListValue *)msg;
	_xds_json_ json_t *array = json_array();

	for (size_t i = 0; array && i < l->n_values; i++) {
		json_t *value = json_encode_message(&l->values[i]->base, depth, ret_err);

		if (!value || json_array_append_new(array, value))
			return NULL;
	}
	return WEFT_XDS_TAKE(array);
}

json_t *json_encode_known(const ProtobufCMessage *msg, unsigned int depth, int *ret_err)
{
	const ProtobufCMessageDescriptor *desc = msg->descriptor;

	if (desc == &google__protobuf__duration__descriptor)
		return encode_duration(msg);
	if (desc == &google__protobuf__value__descriptor)
		return encode_value(msg, depth, ret_err);
	if (desc == &google__protobuf__struct__descriptor)
		return encode_struct(msg, depth, ret_err);
	if (desc == &google__protobuf__list_value__descriptor)
		return encode_list(msg, depth, ret_err);
	return json_encode_scalar(&desc->fields[0], weft_field_at(msg, &desc->fields[0]));
}
