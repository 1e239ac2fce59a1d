// SPDX-License-Identifier: Apache-2.0
#include "xds/descriptor.h"

#include <ctype.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "xds/descriptor_roots.h"

static struct {
	const ProtobufCMessageDescriptor **v;
	size_t n, cap;
	bool failed;
} all;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static bool known(const ProtobufCMessageDescriptor *desc)
{
	for (size_t i = 0; i < all.n; i++)
		if (all.v[i] == desc)
			return true;
	return false;
}

static void add(const ProtobufCMessageDescriptor *desc)
{
	if (all.failed || known(desc))
		return;
	if (all.n == all.cap) {
		size_t cap = all.cap ? all.cap * 2 : 512;
		const ProtobufCMessageDescriptor **v =
			realloc(all.v, cap * sizeof(const ProtobufCMessageDescriptor *));

		if (!v) {
			all.failed = true;
			return;
		}
		all.v = v;
		all.cap = cap;
	}
	all.v[all.n++] = desc;
}

static int by_name(const void *a, const void *b)
{
	const ProtobufCMessageDescriptor *const *x = a, *const *y = b;

	return strcmp((*x)->name, (*y)->name);
}

/* Breadth first: what is appended is looked at later in the same loop. */
static void collect(void)
{
	for (size_t i = 0; i < sizeof(weft_descriptor_roots) / sizeof(*weft_descriptor_roots); i++)
		add(weft_descriptor_roots[i]);
	for (size_t i = 0; i < all.n; i++)
		for (unsigned int j = 0; j < all.v[i]->n_fields; j++)
			if (all.v[i]->fields[j].type == PROTOBUF_C_TYPE_MESSAGE)
				add(all.v[i]->fields[j].descriptor);
	qsort(all.v, all.n, sizeof(*all.v), by_name);
}

const ProtobufCMessageDescriptor *const *weft_descriptors(size_t *ret_n)
{
	pthread_once(&once, collect);
	if (all.failed)
		return NULL;
	*ret_n = all.n;
	return all.v;
}

bool weft_field_is_map(const ProtobufCMessageDescriptor *desc, const ProtobufCFieldDescriptor *f)
{
	const ProtobufCMessageDescriptor *entry = f->descriptor;
	size_t n = strlen(desc->name);
	const char *name;
	bool up = true;

	if (f->label != PROTOBUF_C_LABEL_REPEATED || f->type != PROTOBUF_C_TYPE_MESSAGE ||
	    entry->n_fields != 2 || strncmp(entry->name, desc->name, n) || entry->name[n] != '.')
		return false;
	name = entry->name + n + 1;
	for (const char *c = f->name; *c; c++) {
		if (*c == '_') {
			up = true;
			continue;
		}
		if (*name++ != (up ? (char)toupper((unsigned char)*c) : *c))
			return false;
		up = false;
	}
	return !strcmp(name, "Entry");
}

size_t weft_field_size(const ProtobufCFieldDescriptor *f)
{
	switch (f->type) {
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
	case PROTOBUF_C_TYPE_DOUBLE:
		return 8;
	case PROTOBUF_C_TYPE_BOOL:
		return sizeof(protobuf_c_boolean);
	case PROTOBUF_C_TYPE_STRING:
	case PROTOBUF_C_TYPE_MESSAGE:
		return sizeof(void *);
	case PROTOBUF_C_TYPE_BYTES:
		return sizeof(ProtobufCBinaryData);
	default:
		return 4;
	}
}

bool weft_field_is_set(const ProtobufCMessage *msg, const ProtobufCFieldDescriptor *f)
{
	static const char zero[8];
	const void *at = weft_field_at(msg, f);

	if (f->label == PROTOBUF_C_LABEL_REPEATED)
		return weft_field_count(msg, f);
	if (weft_field_in_oneof(f) && *weft_field_case(msg, f) != (int)f->id)
		return false;
	switch (f->type) {
	case PROTOBUF_C_TYPE_MESSAGE:
		return *(void *const *)at;
	case PROTOBUF_C_TYPE_STRING:
		return weft_field_in_oneof(f) || (*(char *const *)at && **(char *const *)at);
	case PROTOBUF_C_TYPE_BYTES:
		return weft_field_in_oneof(f) || ((const ProtobufCBinaryData *)at)->len;
	default:
		return weft_field_in_oneof(f) || memcmp(at, zero, weft_field_size(f));
	}
}

ProtobufCMessage *weft_field_msg(const ProtobufCMessage *msg, const ProtobufCFieldDescriptor *f,
				 size_t i)
{
	void *at = weft_field_at(msg, f);

	if (f->label == PROTOBUF_C_LABEL_REPEATED)
		return (*(ProtobufCMessage ***)at)[i];
	return *(ProtobufCMessage **)at;
}

ProtobufCMessage *weft_msg_new(const ProtobufCMessageDescriptor *desc)
{
	ProtobufCMessage *msg = malloc(desc->sizeof_message);

	if (msg)
		protobuf_c_message_init(desc, msg);
	return msg;
}

struct entry {
	ProtobufCMessage *msg;
	const ProtobufCFieldDescriptor *key;
	size_t place;
};

static int compare_keys(const struct entry *x, const struct entry *y)
{
	const void *kx = weft_field_at(x->msg, x->key), *ky = weft_field_at(y->msg, y->key);

	if (x->key->type == PROTOBUF_C_TYPE_STRING)
		return strcmp(*(char *const *)kx, *(char *const *)ky);
	return memcmp(kx, ky, weft_field_size(x->key));
}

static int by_key(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;
	int c = compare_keys(x, y);

	return c ? c : x->place < y->place ? -1 : 1;
}

/* An entry without a value is one with an empty value. */
static int complete_entry(ProtobufCMessage *entry)
{
	const ProtobufCFieldDescriptor *value = &entry->descriptor->fields[1];
	ProtobufCMessage **at;

	if (value->type != PROTOBUF_C_TYPE_MESSAGE)
		return 0;
	at = weft_field_at(entry, value);
	if (!*at)
		*at = weft_msg_new(value->descriptor);
	return *at ? 0 : -ENOMEM;
}

static int sort_map(ProtobufCMessage *msg, const ProtobufCFieldDescriptor *f)
{
	ProtobufCMessage **v = *(ProtobufCMessage ***)weft_field_at(msg, f);
	size_t n = weft_field_count(msg, f), kept = 0;
	struct entry *e = malloc(n * sizeof(*e));

	if (!e)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		e[i] = (struct entry){v[i], &v[i]->descriptor->fields[0], i};
	qsort(e, n, sizeof(*e), by_key);
	for (size_t i = 0; i < n; i++) {
		if (i + 1 < n && !compare_keys(&e[i], &e[i + 1]))
			protobuf_c_message_free_unpacked(e[i].msg, NULL);
		else
			v[kept++] = e[i].msg;
	}
	*(size_t *)((char *)msg + f->quantifier_offset) = kept;
	free(e);
	for (size_t i = 0; i < kept; i++)
		if (complete_entry(v[i]))
			return -ENOMEM;
	return 0;
}

int weft_msg_canonicalise(ProtobufCMessage *msg)
{
	const ProtobufCMessageDescriptor *desc = msg->descriptor;

	for (unsigned int i = 0; i < desc->n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &desc->fields[i];
		bool many = f->label == PROTOBUF_C_LABEL_REPEATED;
		int r;

		if (f->type != PROTOBUF_C_TYPE_MESSAGE || !weft_field_is_set(msg, f))
			continue;
		r = weft_field_is_map(desc, f) ? sort_map(msg, f) : 0;
		for (size_t j = 0; !r && j < (many ? weft_field_count(msg, f) : 1); j++)
			r = weft_msg_canonicalise(weft_field_msg(msg, f, j));
		if (r)
			return r;
	}
	return 0;
}
