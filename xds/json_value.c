// SPDX-License-Identifier: Apache-2.0
/* Scalars between JSON and memory. */

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "google/protobuf/struct.pb-c.h"
#include "xds/cleanup.h"
#include "xds/base64.h"
#include "xds/json_internal.h"
#include "xds/wire.h"

static bool is_unsigned(ProtobufCType type)
{
	return type == PROTOBUF_C_TYPE_UINT32 || type == PROTOBUF_C_TYPE_UINT64 ||
	       type == PROTOBUF_C_TYPE_FIXED32 || type == PROTOBUF_C_TYPE_FIXED64;
}

static bool is_64(ProtobufCType type)
{
	return type == PROTOBUF_C_TYPE_INT64 || type == PROTOBUF_C_TYPE_UINT64 ||
	       type == PROTOBUF_C_TYPE_SINT64 || type == PROTOBUF_C_TYPE_FIXED64 ||
	       type == PROTOBUF_C_TYPE_SFIXED64;
}

/* A whole number as sign and magnitude, so that both 64-bit kinds fit. */
struct whole {
	bool negative;
	uint64_t magnitude;
};

/* [-]digits, optionally as a real without fraction (1e3, 4.0), as proto3 JSON has it. */
static bool whole_from_real(double real, struct whole *ret)
{
	if (!isfinite(real) || real != trunc(real) || fabs(real) >= 0x1p64)
		return false;
	*ret = (struct whole){real < 0, (uint64_t)fabs(real)};
	return true;
}

static bool whole_from_text(const char *text, struct whole *ret)
{
	bool negative = *text == '-';
	const char *digits = text + negative;
	char *end;

	if (!isdigit((unsigned char)*digits))
		return false;
	errno = 0;
	*ret = (struct whole){negative, strtoull(digits, &end, 10)};
	if (!errno && !*end)
		return true;
	if (strspn(digits, "0123456789.eE+-") != strlen(digits))
		return false;
	double real = strtod(text, &end);
	/* Above 2^53 a real no longer says which number is meant. */
	return !*end && fabs(real) <= 0x1p53 && whole_from_real(real, ret);
}

static bool whole_from_json(const json_t *json, struct whole *ret)
{
	if (json_is_integer(json)) {
		json_int_t v = json_integer_value(json);

		*ret = (struct whole){v < 0, v < 0 ? -(uint64_t)v : (uint64_t)v};
		return true;
	}
	if (json_is_real(json))
		return whole_from_real(json_real_value(json), ret);
	if (json_is_string(json))
		return strlen(json_string_value(json)) == json_string_length(json) &&
		       whole_from_text(json_string_value(json), ret);
	return false;
}

static int store_whole(struct json_decoder *d, ProtobufCType type, const struct whole *w, void *at)
{
	bool wide = is_64(type);
	uint64_t most = wide ? UINT64_MAX : UINT32_MAX;
	uint64_t v = w->negative ? -w->magnitude : w->magnitude;

	if (!is_unsigned(type))
		most = (most >> 1) + w->negative;
	else if (w->negative)
		most = 0;
	if (w->magnitude > most)
		return json_refuse(d, "out of range");
	if (wide) {
		memcpy(at, &v, sizeof(v));
	} else {
		uint32_t v32 = (uint32_t)v;

		memcpy(at, &v32, sizeof(v32));
	}
	return 0;
}

static int decode_whole(struct json_decoder *d, const ProtobufCFieldDescriptor *f,
			const json_t *json, void *at)
{
	struct whole w;

	if (!whole_from_json(json, &w))
		return json_refuse(d, "must be a whole number");
	return store_whole(d, f->type, &w, at);
}

static int decode_enum(struct json_decoder *d, const ProtobufCFieldDescriptor *f,
		       const json_t *json, void *at)
{
	const ProtobufCEnumDescriptor *e = f->descriptor;
	const ProtobufCEnumValue *v;
	int value = 0;
	struct whole w;

	if (json_is_string(json)) {
		v = protobuf_c_enum_descriptor_get_value_by_name(e, json_string_value(json));
		if (!v)
			return json_refuse(d, "\"%s\" is no value of %s", json_string_value(json),
					   e->name);
		value = v->value;
	} else if (e == &google__protobuf__null_value__descriptor && json_is_null(json)) {
		value = 0;
	} else {
		if (json_is_boolean(json) || !whole_from_json(json, &w))
			return json_refuse(d, "must be a name or a number of %s", e->name);
		return store_whole(d, PROTOBUF_C_TYPE_INT32, &w, at);
	}
	memcpy(at, &value, sizeof(value));
	return 0;
}

static int decode_real(struct json_decoder *d, const ProtobufCFieldDescriptor *f,
		       const json_t *json, void *at)
{
	const char *text = json_string_value(json);
	double v = json_number_value(json);
	float single;
	char *end;

	if (text) {
		v = strtod(text, &end);
		if (!strcmp(text, "NaN"))
			v = NAN;
		else if (!strcmp(text, "Infinity") || !strcmp(text, "-Infinity"))
			v = *text == '-' ? -INFINITY : INFINITY;
		else if (!*text || *end || !isfinite(v) || !strpbrk(text, "0123456789") ||
			 strspn(text, "0123456789.eE+-") != strlen(text))
			return json_refuse(d, "must be a number");
	} else if (!json_is_number(json)) {
		return json_refuse(d, "must be a number");
	}
	if (f->type == PROTOBUF_C_TYPE_DOUBLE) {
		memcpy(at, &v, sizeof(v));
		return 0;
	}
	single = (float)v;
	if (isfinite(v) && !isfinite(single))
		return json_refuse(d, "out of range");
	memcpy(at, &single, sizeof(single));
	return 0;
}

static int decode_string(struct json_decoder *d, const json_t *json, void *at)
{
	char *copy;

	if (!json_is_string(json))
		return json_refuse(d, "must be a string%s",
				   json_is_number(json) || json_is_boolean(json) ? " (quote it)" : "");
	if (!weft_wire_text_ok((const uint8_t *)json_string_value(json), json_string_length(json)))
		return json_refuse(d, "not UTF-8, or has a NUL byte");
	copy = strdup(json_string_value(json));
	if (!copy)
		return -ENOMEM;
	*(char **)at = copy;
	return 0;
}

static int decode_bytes(struct json_decoder *d, const json_t *json, ProtobufCBinaryData *at)
{
	int r;

	if (!json_is_string(json))
		return json_refuse(d, "must be a string in base64");
	r = weft_base64_decode(json_string_value(json), json_string_length(json), &at->data,
			       &at->len);
	return r == -EINVAL ? json_refuse(d, "not base64") : r;
}

int json_decode_scalar(struct json_decoder *d, const ProtobufCFieldDescriptor *f,
		       const json_t *json, void *at)
{
	switch (f->type) {
	case PROTOBUF_C_TYPE_BOOL:
		if (!json_is_boolean(json))
			return json_refuse(d, "must be true or false");
		*(protobuf_c_boolean *)at = json_is_true(json);
		return 0;
	case PROTOBUF_C_TYPE_STRING:
		return decode_string(d, json, at);
	case PROTOBUF_C_TYPE_BYTES:
		return decode_bytes(d, json, at);
	case PROTOBUF_C_TYPE_ENUM:
		return decode_enum(d, f, json, at);
	case PROTOBUF_C_TYPE_DOUBLE:
	case PROTOBUF_C_TYPE_FLOAT:
		return decode_real(d, f, json, at);
	default:
		return decode_whole(d, f, json, at);
	}
}

int json_decode_key(struct json_decoder *d, const ProtobufCFieldDescriptor *f, const char *key,
		    void *at)
{
	_xds_json_ json_t *json = json_string_nocheck(key);

	if (!json)
		return -ENOMEM;
	return json_decode_scalar(d, f, json, at);
}

static json_t *encode_number(bool negative, uint64_t v)
{
	char text[24];

	snprintf(text, sizeof(text), negative ? "%" PRId64 : "%" PRIu64, v);
	return json_string(text);
}

static json_t *encode_real(double v)
{
	if (isnan(v))
		return json_string("NaN");
	if (isinf(v))
		return json_string(v < 0 ? "-Infinity" : "Infinity");
	return json_real(v);
}

static json_t *encode_bytes(const ProtobufCBinaryData *b)
{
	_xds_free_ char *text = weft_base64_encode(b->data, b->len);

	return text ? json_string(text) : NULL;
}

json_t *json_encode_scalar(const ProtobufCFieldDescriptor *f, const void *at)
{
	const ProtobufCEnumValue *e;

	switch (f->type) {
	case PROTOBUF_C_TYPE_BOOL:
		return json_boolean(*(const protobuf_c_boolean *)at);
	case PROTOBUF_C_TYPE_STRING:
		return json_string_nocheck(*(char *const *)at ? *(char *const *)at : "");
	case PROTOBUF_C_TYPE_BYTES:
		return encode_bytes(at);
	case PROTOBUF_C_TYPE_ENUM:
		e = protobuf_c_enum_descriptor_get_value(f->descriptor, *(const int *)at);
		return e ? json_string(e->name) : json_integer(*(const int *)at);
	case PROTOBUF_C_TYPE_DOUBLE:
		return encode_real(*(const double *)at);
	case PROTOBUF_C_TYPE_FLOAT:
		return encode_real((double)*(const float *)at);
	default:
		if (is_64(f->type))
			return encode_number(!is_unsigned(f->type), *(const uint64_t *)at);
		return is_unsigned(f->type) ? json_integer(*(const uint32_t *)at)
					    : json_integer(*(const int32_t *)at);
	}
}
