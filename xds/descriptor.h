/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the parts of xds/ ask of protobuf-c's descriptors. Thread safe. */

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>

/* All message descriptors of the subset, sorted by full name; *ret_n of them. NULL: out of memory. */
const ProtobufCMessageDescriptor *const *weft_descriptors(size_t *ret_n);

/* protobuf-c makes map<K, V> a repeated message XEntry {key = 1, value = 2}. */
bool weft_field_is_map(const ProtobufCMessageDescriptor *desc, const ProtobufCFieldDescriptor *f);

static inline void *weft_field_at(const ProtobufCMessage *msg, const ProtobufCFieldDescriptor *f)
{
	return (char *)msg + f->offset;
}

/* Number of elements of a repeated field, selected member of a oneof. */
static inline size_t weft_field_count(const ProtobufCMessage *msg, const ProtobufCFieldDescriptor *f)
{
	return *(const size_t *)((const char *)msg + f->quantifier_offset);
}

static inline int *weft_field_case(const ProtobufCMessage *msg, const ProtobufCFieldDescriptor *f)
{
	return (int *)((char *)msg + f->quantifier_offset);
}

static inline bool weft_field_in_oneof(const ProtobufCFieldDescriptor *f)
{
	return f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF;
}

/*
 * True when the field says something: elements, the chosen member of a oneof, a message, or a scalar
 * that is not its default.
 */
bool weft_field_is_set(const ProtobufCMessage *msg, const ProtobufCFieldDescriptor *f);

/* Bytes of one value in memory. */
size_t weft_field_size(const ProtobufCFieldDescriptor *f);

/* The i-th submessage of a set message field; i is 0 unless repeated. */
ProtobufCMessage *weft_field_msg(const ProtobufCMessage *msg, const ProtobufCFieldDescriptor *f,
				 size_t i);

/* A new message with defaults, allocated as protobuf-c does; NULL: out of memory. */
ProtobufCMessage *weft_msg_new(const ProtobufCMessageDescriptor *desc);

/*
 * One form for equal content: map entries sorted by key, the last of several with one key kept, absent
 * values of entries made. -ENOMEM.
 */
int weft_msg_canonicalise(ProtobufCMessage *msg);
