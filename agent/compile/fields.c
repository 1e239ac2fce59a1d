// SPDX-License-Identifier: Apache-2.0
#include "agent/compile/fields.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/compile/fields_table.h"
#include "agent/compile/parts.h"
#include "envoy/config/cluster/v3/cluster.pb-c.h"
#include "envoy/config/route/v3/route_components.pb-c.h"
#include "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.pb-c.h"
#include "google/protobuf/any.pb-c.h"
#include "xds/any.h"
#include "xds/descriptor.h"

#define MESSAGES_MAX 512
#define HTTP_FILTER                                                                                \
	&envoy__extensions__filters__network__http_connection_manager__v3__http_filter__descriptor

typedef Envoy__Extensions__Filters__Network__HttpConnectionManager__V3__HttpFilter http_filter;

struct message {
	const ProtobufCMessageDescriptor *d;
	bool upstream;
	const struct weft_field_row **row; /* of each field of d, NULL: refused */
};

static struct message messages[MESSAGES_MAX];
static size_t n_messages;
static char fault[256];
static pthread_once_t once = PTHREAD_ONCE_INIT;

const char *weft_field_class_name(enum weft_field_class c)
{
	static const char *const names[] = {"refused", "kernel", "agent", "without_effect"};

	return c < WEFT_FIELD__MAX ? names[c] : "";
}

static void found_fault(const char *what, const char *message, const char *name)
{
	if (!*fault)
		snprintf(fault, sizeof(fault), "%s: %s %s", what, message, name);
}

static void row_index(struct message *m, const struct weft_field_row *row)
{
	char *names = strdup(row->names), *rest = NULL;

	for (char *name = names ? strtok_r(names, " ", &rest) : NULL; name;
	     name = strtok_r(NULL, " ", &rest)) {
		const ProtobufCFieldDescriptor *f =
			protobuf_c_message_descriptor_get_field_by_name(m->d, name);

		if (!f)
			found_fault("no such field", m->d->name, name);
		else if (m->row[f - m->d->fields])
			found_fault("twice", m->d->name, name);
		else
			m->row[f - m->d->fields] = row;
	}
	free(names);
}

static int by_descriptor(const void *a, const void *b)
{
	const struct message *x = a, *y = b;

	if (x->d != y->d)
		return (uintptr_t)x->d < (uintptr_t)y->d ? -1 : 1;
	return (int)x->upstream - (int)y->upstream;
}

static void table_index(const struct weft_field_row *row)
{
	struct message *m = NULL;

	for (; row->message || row->names; row++) {
		if (!row->message) {
			if (m)
				row_index(m, row);
			continue;
		}
		m = NULL;
		if (n_messages == MESSAGES_MAX || !weft_any_descriptor(row->message)) {
			found_fault("no such message", row->message, "");
			continue;
		}
		m = &messages[n_messages++];
		m->d = weft_any_descriptor(row->message);
		m->upstream = row->upstream;
		m->row = calloc(m->d->n_fields + 1, sizeof(const struct weft_field_row *));
		if (!m->row)
			abort(); /* a few KiB at the start */
	}
}

static void index_all(void)
{
	static const struct weft_field_row *const tables[] = {
		weft_fields_cluster, weft_fields_listener, weft_fields_route, weft_fields_types};

	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++)
		table_index(tables[i]);
	qsort(messages, n_messages, sizeof(messages[0]), by_descriptor);
	for (size_t i = 1; i < n_messages; i++) {
		if (!by_descriptor(&messages[i - 1], &messages[i]))
			found_fault("twice", messages[i].d->name, "");
	}
}

static const struct message *message_find(const ProtobufCMessageDescriptor *d, bool upstream)
{
	struct message key = {.d = d, .upstream = upstream};
	const struct message *m;

	pthread_once(&once, index_all);
	m = bsearch(&key, messages, n_messages, sizeof(messages[0]), by_descriptor);
	return m || !upstream ? m : message_find(d, false);
}

enum weft_field_class weft_field_class(const ProtobufCMessageDescriptor *d, bool upstream,
				       const ProtobufCFieldDescriptor *f, const char **ret_why)
{
	const struct message *m = message_find(d, upstream);
	const struct weft_field_row *row = m ? m->row[f - d->fields] : NULL;

	if (ret_why)
		*ret_why = row ? row->why : NULL;
	return row ? row->class : WEFT_FIELD_REFUSED;
}

const ProtobufCMessageDescriptor *weft_fields_message(size_t i, bool *ret_upstream)
{
	pthread_once(&once, index_all);
	if (i >= n_messages)
		return NULL;
	*ret_upstream = messages[i].upstream;
	return messages[i].d;
}

const char *weft_fields_fault(void)
{
	pthread_once(&once, index_all);
	return *fault ? fault : NULL;
}

static void walk(const ProtobufCMessage *msg, bool upstream, const struct weft_field_visitor *v);

static void walk_into(const ProtobufCMessage *msg, bool upstream,
		      const struct weft_field_visitor *v)
{
	ProtobufCMessage *inner;

	if (msg->descriptor == &google__protobuf__any__descriptor) {
		/* A type that weft does not know is the field's own matter: accepted, it has no
		 * effect. */
		if (weft_any_unpack((const Google__Protobuf__Any *)(const void *)msg, "", "", NULL,
				    &inner))
			return;
		walk(inner, upstream, v);
		protobuf_c_message_free_unpacked(inner, NULL);
	} else if (strncmp(msg->descriptor->name, "google.protobuf.", 16) != 0) {
		walk(msg, upstream, v);
	}
}

/* The value of a map's entry, NULL when it is not a message. */
static const ProtobufCMessage *map_value(const ProtobufCMessage *entry)
{
	const ProtobufCFieldDescriptor *f = &entry->descriptor->fields[1];

	if (f->type != PROTOBUF_C_TYPE_MESSAGE || !weft_field_is_set(entry, f))
		return NULL;
	return weft_field_msg(entry, f, 0);
}

/* A filter that is off: what it would do is nobody's. */
static bool is_off(const ProtobufCMessage *msg)
{
	if (msg->descriptor == HTTP_FILTER)
		return ((const http_filter *)(const void *)msg)->disabled;
	return msg->descriptor == &envoy__config__route__v3__filter_config__descriptor &&
	       ((const Envoy__Config__Route__V3__FilterConfig *)(const void *)msg)->disabled;
}

static void walk(const ProtobufCMessage *msg, bool upstream, const struct weft_field_visitor *v)
{
	const ProtobufCMessageDescriptor *d = msg->descriptor;

	for (unsigned int i = 0; i < d->n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &d->fields[i];
		enum weft_field_class c;
		size_t n;

		if (!weft_field_is_set(msg, f))
			continue;
		c = weft_field_class(d, upstream, f, NULL);
		v->seen(v->ctx, d, f, c);
		if (f->type != PROTOBUF_C_TYPE_MESSAGE || c == WEFT_FIELD_REFUSED ||
		    c == WEFT_FIELD_QUIET || is_off(msg))
			continue;
		n = f->label == PROTOBUF_C_LABEL_REPEATED ? weft_field_count(msg, f) : 1;
		for (size_t k = 0; k < n; k++) {
			const ProtobufCMessage *sub = weft_field_msg(msg, f, k);

			if (weft_field_is_map(d, f))
				sub = map_value(sub);
			if (sub)
				walk_into(sub, upstream, v);
		}
	}
}

void weft_fields_walk(const ProtobufCMessage *resource, const struct weft_field_visitor *v)
{
	walk(resource, resource->descriptor == &envoy__config__cluster__v3__cluster__descriptor, v);
}

void weft_fields_walk_all(const struct weft_snapshot *s, const struct weft_field_visitor *v)
{
	for (int t = 0; t < WEFT_XDS__MAX; t++) {
		for (size_t i = 0; i < weft_snapshot_count(s, (enum weft_xds_type)t); i++) {
			const ProtobufCMessage *msg =
				weft_snapshot_at(s, (enum weft_xds_type)t, i)->msg;

			if (t != WEFT_XDS_LISTENER || !weft_listener_inbound((const void *)msg))
				weft_fields_walk(msg, v);
		}
	}
}
