// SPDX-License-Identifier: Apache-2.0
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "google/protobuf/struct.pb-c.h"
#include "xds/cleanup.h"
#include "xds/descriptor.h"
#include "xds/json_internal.h"
#include "xds/lines.h"
#include "xds/wire.h"

int json_refuse(struct json_decoder *d, const char *fmt, ...)
{
	const char *resource = d->source->resource;
	_xds_free_ char *reason = NULL, *place = NULL;
	va_list args;

	va_start(args, fmt);
	if (vasprintf(&reason, fmt, args) < 0)
		reason = NULL;
	va_end(args);
	if (d->line && asprintf(&place, "%s:%u", resource ? resource : "", d->line) < 0)
		place = NULL;
	return weft_diag_add(d->diag, -EINVAL, place ? place : resource, d->path.text, "%s",
			     reason ? reason : "refused");
}

/* Does the camelCase form of the .proto name spell like key? */
static bool camel_equal(const char *name, const char *key)
{
	for (; *name; name++, key++) {
		bool up = false;

		while (*name == '_') {
			up = true;
			name++;
		}
		if (*key != (up ? (char)toupper((unsigned char)*name) : *name))
			return false;
		if (!*name)
			return true;
	}
	return !*key;
}

static const ProtobufCFieldDescriptor *find_field(const ProtobufCMessageDescriptor *desc,
						  const char *key)
{
	const ProtobufCFieldDescriptor *f =
		protobuf_c_message_descriptor_get_field_by_name(desc, key);

	for (unsigned int i = 0; !f && i < desc->n_fields; i++)
		if (camel_equal(desc->fields[i].name, key))
			f = &desc->fields[i];
	return f;
}

static int decode_value(struct json_decoder *d, const ProtobufCFieldDescriptor *f,
			const json_t *json, void *at)
{
	if (f->type == PROTOBUF_C_TYPE_MESSAGE)
		return json_decode_message(d, f->descriptor, json, at);
	return json_decode_scalar(d, f, json, at);
}

/* Room for n elements, count still 0: it grows with what is decoded, so that freeing is right at any time. */
static int make_room(ProtobufCMessage *msg, const ProtobufCFieldDescriptor *f, size_t n)
{
	void *v = calloc(n, weft_field_size(f));

	if (!v)
		return -ENOMEM;
	*(void **)weft_field_at(msg, f) = v;
	return 0;
}

static int decode_array(struct json_decoder *d, ProtobufCMessage *msg,
			const ProtobufCFieldDescriptor *f, const json_t *json)
{
	size_t n = json_array_size(json), size = weft_field_size(f);
	size_t *count = (size_t *)((char *)msg + f->quantifier_offset);
	unsigned int outer = d->line;
	int r;

	if (!json_is_array(json))
		return json_refuse(d, "must be a list");
	r = n ? make_room(msg, f, n) : 0;
	for (size_t i = 0; !r && i < n; i++) {
		size_t before = weft_path_index(&d->path, i);
		unsigned int line = weft_lines_element(d->source->lines, json, i);

		d->line = line ? line : outer;
		r = decode_value(d, f, json_array_get(json, i),
				 *(char **)weft_field_at(msg, f) + i * size);
		*count += !r;
		weft_path_cut(&d->path, before);
	}
	d->line = outer;
	return r;
}

static int decode_entry(struct json_decoder *d, const ProtobufCMessageDescriptor *desc,
			const char *key, const json_t *json, ProtobufCMessage **ret)
{
	_xds_msg_ ProtobufCMessage *entry = weft_msg_new(desc);
	int r;

	if (!entry)
		return -ENOMEM;
	r = json_decode_key(d, &desc->fields[0], key, weft_field_at(entry, &desc->fields[0]));
	if (!r)
		r = decode_value(d, &desc->fields[1], json,
				 weft_field_at(entry, &desc->fields[1]));
	if (!r)
		*ret = WEFT_XDS_TAKE(entry);
	return r;
}

static int decode_map(struct json_decoder *d, ProtobufCMessage *msg,
		      const ProtobufCFieldDescriptor *f, const json_t *json)
{
	size_t *count = (size_t *)((char *)msg + f->quantifier_offset);
	json_t *object = (json_t *)json; /* iteration only reads */
	unsigned int outer = d->line;
	const char *key;
	json_t *value;
	int r;

	if (!json_is_object(json))
		return json_refuse(d, "must be a mapping");
	r = json_object_size(json) ? make_room(msg, f, json_object_size(json)) : 0;
	if (r)
		return r;
	json_object_foreach(object, key, value) {
		size_t before = weft_path_key(&d->path, key);
		unsigned int line = weft_lines_member(d->source->lines, json, key);

		d->line = line ? line : outer;
		r = decode_entry(d, f->descriptor, key, value,
				 *(ProtobufCMessage ***)weft_field_at(msg, f) + *count);
		*count += !r;
		weft_path_cut(&d->path, before);
		if (r)
			break;
	}
	d->line = outer;
	return r;
}

/* In JSON null means "not there", except where null is a value. */
static bool is_absent(const ProtobufCFieldDescriptor *f, const json_t *json)
{
	return json_is_null(json) && f->descriptor != &google__protobuf__value__descriptor &&
	       f->descriptor != &google__protobuf__null_value__descriptor;
}

static int decode_single(struct json_decoder *d, ProtobufCMessage *msg,
			 const ProtobufCFieldDescriptor *f, const json_t *json)
{
	union {
		void *p;
		uint64_t u;
		ProtobufCBinaryData b;
	} value = {0};
	int r;

	if (weft_field_in_oneof(f) && *weft_field_case(msg, f)) {
		const ProtobufCFieldDescriptor *other = protobuf_c_message_descriptor_get_field(
			msg->descriptor, (unsigned int)*weft_field_case(msg, f));

		return json_refuse(d, "excludes %s, which is set too", other->name);
	}
	/* Decoded aside: a half-made value must not be in a field that says it is whole. */
	r = decode_value(d, f, json, &value);
	if (r)
		return r;
	memcpy(weft_field_at(msg, f), &value, weft_field_size(f));
	if (weft_field_in_oneof(f))
		*weft_field_case(msg, f) = (int)f->id;
	return 0;
}

static int decode_field(struct json_decoder *d, ProtobufCMessage *msg,
			const ProtobufCFieldDescriptor *f, const json_t *json)
{
	if (is_absent(f, json))
		return 0;
	if (f->label != PROTOBUF_C_LABEL_REPEATED)
		return decode_single(d, msg, f, json);
	return weft_field_is_map(msg->descriptor, f) ? decode_map(d, msg, f, json)
						     : decode_array(d, msg, f, json);
}

int json_decode_fields(struct json_decoder *d, ProtobufCMessage *msg, const json_t *json,
		       const char *skip)
{
	json_t *object = (json_t *)json; /* iteration only reads */
	unsigned int outer = d->line;
	const char *key;
	json_t *value;
	int r = 0;

	if (!json_is_object(json))
		return json_refuse(d, "must be a mapping");
	json_object_foreach(object, key, value) {
		const ProtobufCFieldDescriptor *f = find_field(msg->descriptor, key);
		unsigned int line = weft_lines_member(d->source->lines, json, key);
		size_t before;

		if (skip && !strcmp(key, skip))
			continue;
		d->line = line ? line : outer;
		before = weft_path_field(&d->path, f ? f->name : key);
		if (!f)
			r = json_refuse(d, "no such field in %s", msg->descriptor->name);
		else if (strcmp(key, f->name) && json_object_get(json, f->name))
			r = json_refuse(d, "is there twice, also as %s", key);
		else
			r = decode_field(d, msg, f, value);
		weft_path_cut(&d->path, before);
		if (r)
			break;
	}
	d->line = outer;
	return r;
}

int json_decode_message(struct json_decoder *d, const ProtobufCMessageDescriptor *desc,
			const json_t *json, ProtobufCMessage **ret)
{
	_xds_msg_ ProtobufCMessage *msg = NULL;
	bool known;
	int r;

	if (d->depth == WEFT_WIRE_DEPTH_MAX)
		return json_refuse(d, "nested too deep");
	d->depth++;
	r = json_decode_known(d, desc, json, &known, ret);
	if (!known) {
		msg = weft_msg_new(desc);
		r = msg ? json_decode_fields(d, msg, json, NULL) : -ENOMEM;
		if (!r)
			*ret = WEFT_XDS_TAKE(msg);
	}
	d->depth--;
	return r;
}

int weft_json_to_msg(const ProtobufCMessageDescriptor *desc, const json_t *json,
		     const struct weft_json_source *source, struct weft_diag *diag,
		     ProtobufCMessage **ret)
{
	struct json_decoder d = {.source = source, .diag = diag, .line = source->line};

	weft_path_init(&d.path, source->field);
	return json_decode_message(&d, desc, json, ret);
}
