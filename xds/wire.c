// SPDX-License-Identifier: Apache-2.0
#include "xds/wire.h"

#include <errno.h>
#include <string.h>

#include "xds/path.h"

/* Field numbers are 29 bits wide; a message of the subset has fewer than this many fields. */
#define FIELDS_MAX 256

enum wire_type { WIRE_VARINT, WIRE_64, WIRE_LENGTH, WIRE_START, WIRE_END, WIRE_32 };

struct scan {
	struct weft_path path;
	const char *resource;
	struct weft_diag *diag;
	unsigned int depth;
};

bool weft_wire_text_ok(const uint8_t *s, size_t n)
{
	/* Smallest code point that needs that many following bytes; shorter forms only. */
	static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};

	for (size_t i = 0; i < n;) {
		uint32_t c = s[i++];
		unsigned int more = c < 0x80 ? 0 : c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : 1;

		if (!c || (c >= 0x80 && (c < 0xc2 || c > 0xf4)) || n - i < more)
			return false;
		if (!more)
			continue;
		c &= 0x3fU >> more;
		for (unsigned int j = 0; j < more; j++, i++) {
			if ((s[i] & 0xc0) != 0x80)
				return false;
			c = c << 6 | (s[i] & 0x3f);
		}
		if (c < least[more] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
			return false;
	}
	return true;
}

/* Bytes used, 0 when there is none that fits. */
static size_t read_varint(const uint8_t *p, size_t len, uint64_t *ret)
{
	uint64_t v = 0;

	for (size_t i = 0; i < len && i < 10; i++) {
		v |= (uint64_t)(p[i] & 0x7f) << (7 * i);
		if (!(p[i] & 0x80)) {
			*ret = v;
			return i + 1;
		}
	}
	return 0;
}

static enum wire_type wire_of(const ProtobufCFieldDescriptor *f)
{
	switch (f->type) {
	case PROTOBUF_C_TYPE_FIXED64:
	case PROTOBUF_C_TYPE_SFIXED64:
	case PROTOBUF_C_TYPE_DOUBLE:
		return WIRE_64;
	case PROTOBUF_C_TYPE_FIXED32:
	case PROTOBUF_C_TYPE_SFIXED32:
	case PROTOBUF_C_TYPE_FLOAT:
		return WIRE_32;
	case PROTOBUF_C_TYPE_STRING:
	case PROTOBUF_C_TYPE_BYTES:
	case PROTOBUF_C_TYPE_MESSAGE:
		return WIRE_LENGTH;
	default:
		return WIRE_VARINT;
	}
}

static int refuse(struct scan *s, const char *why)
{
	return weft_diag_add(s->diag, -EINVAL, s->resource, s->path.text, "%s", why);
}

/* Length of the value at p (for WIRE_LENGTH without its length prefix, which is *ret_prefix). */
static int measure(struct scan *s, enum wire_type wire, const uint8_t *p, size_t len,
		   size_t *ret_prefix, size_t *ret_len)
{
	uint64_t v;
	size_t n;

	*ret_prefix = 0;
	switch (wire) {
	case WIRE_VARINT:
		n = read_varint(p, len, &v);
		if (!n)
			return refuse(s, "truncated or overlong number");
		*ret_len = n;
		return 0;
	case WIRE_64:
	case WIRE_32:
		*ret_len = wire == WIRE_64 ? 8 : 4;
		return *ret_len <= len ? 0 : refuse(s, "truncated");
	case WIRE_LENGTH:
		n = read_varint(p, len, &v);
		if (!n || v > len - n)
			return refuse(s, "truncated");
		*ret_prefix = n;
		*ret_len = (size_t)v;
		return 0;
	default:
		return refuse(s, "groups are not part of proto3");
	}
}

static int scan_message(struct scan *s, const ProtobufCMessageDescriptor *desc,
			const uint8_t *p, size_t len);

static int scan_value(struct scan *s, const ProtobufCFieldDescriptor *f, enum wire_type wire,
		      const uint8_t *p, size_t len)
{
	if (wire != wire_of(f) && !(f->label == PROTOBUF_C_LABEL_REPEATED && wire == WIRE_LENGTH))
		return refuse(s, "wire type does not fit the field");
	if (f->type == PROTOBUF_C_TYPE_STRING && !weft_wire_text_ok(p, len))
		return refuse(s, "not UTF-8, or has a NUL byte");
	if (f->type == PROTOBUF_C_TYPE_MESSAGE)
		return scan_message(s, f->descriptor, p, len);
	return 0;
}

/*
 * A repeated field may come in several pieces; another twice is written by no encoder, and protobuf-c
 * would merge in its own way.
 */
static int once(struct scan *s, const ProtobufCMessageDescriptor *desc,
		const ProtobufCFieldDescriptor *f, uint64_t *seen)
{
	size_t i = (size_t)(f - desc->fields);

	if (f->label == PROTOBUF_C_LABEL_REPEATED || i >= FIELDS_MAX)
		return 0;
	if (seen[i / 64] & (1ULL << (i % 64)))
		return refuse(s, "occurs twice");
	seen[i / 64] |= 1ULL << (i % 64);
	return 0;
}

static int scan_field(struct scan *s, const ProtobufCMessageDescriptor *desc, const uint8_t *p,
		      size_t len, size_t *ret_used, uint64_t *seen)
{
	const ProtobufCFieldDescriptor *f;
	size_t used, prefix = 0, value = 0, before;
	uint64_t tag;
	int r;

	used = read_varint(p, len, &tag);
	if (!used || tag >> 32 || !(tag >> 3))
		return refuse(s, "malformed field number");
	f = protobuf_c_message_descriptor_get_field(desc, (unsigned int)(tag >> 3));
	before = f ? weft_path_field(&s->path, f->name) : s->path.len;
	r = measure(s, tag & 7, p + used, len - used, &prefix, &value);
	if (!r && f)
		r = once(s, desc, f, seen);
	if (!r && f)
		r = scan_value(s, f, tag & 7, p + used + prefix, value);
	weft_path_cut(&s->path, before);
	if (!r)
		*ret_used = used + prefix + value;
	return r;
}

static int scan_message(struct scan *s, const ProtobufCMessageDescriptor *desc,
			const uint8_t *p, size_t len)
{
	uint64_t seen[FIELDS_MAX / 64] = {0};
	size_t used = 0;
	int r = 0;

	if (s->depth == WEFT_WIRE_DEPTH_MAX)
		return refuse(s, "nested too deep");
	s->depth++;
	while (!r && len) {
		r = scan_field(s, desc, p, len, &used, seen);
		if (!r) {
			p += used;
			len -= used;
		}
	}
	s->depth--;
	return r;
}

int weft_wire_unpack(const ProtobufCMessageDescriptor *desc, const uint8_t *data, size_t len,
		     const char *resource, const char *field, struct weft_diag *diag,
		     ProtobufCMessage **ret)
{
	struct scan s = {.resource = resource, .diag = diag};
	ProtobufCMessage *msg;
	int r;

	weft_path_init(&s.path, field);
	r = scan_message(&s, desc, data, len);
	if (r)
		return r;
	msg = protobuf_c_message_unpack(desc, NULL, len, data);
	if (!msg) /* the bytes are good, so it can only be memory; or a rule of protobuf-c unknown here */
		return weft_diag_add(diag, -ENOMEM, resource, field, "cannot be unpacked");
	*ret = msg;
	return 0;
}
