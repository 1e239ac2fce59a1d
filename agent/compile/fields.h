/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Fields of the xDS subset by what weft does with them (fields_table.h). Thread safe. */

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>

#include "xds/resource.h"

enum weft_field_class {
	WEFT_FIELD_REFUSED, /* set: the resource is refused */
	WEFT_FIELD_KERNEL,  /* decides in the programs, and in the agent alike */
	WEFT_FIELD_AGENT,   /* carried out by the agent */
	WEFT_FIELD_QUIET,   /* accepted without effect */
	WEFT_FIELD__MAX,
};

/* "refused", "kernel", "agent", "without_effect". */
const char *weft_field_class_name(enum weft_field_class c);

/*
 * Class of a field of d, which belongs to it; upstream: as part of a Cluster. *ret_why, if ret_why
 * and the class is QUIET: why that is harmless.
 */
enum weft_field_class weft_field_class(const ProtobufCMessageDescriptor *d, bool upstream,
				       const ProtobufCFieldDescriptor *f, const char **ret_why);

/* Called for each field that says something, also inside Any, but not below what has no effect. */
struct weft_field_visitor {
	void (*seen)(void *ctx, const ProtobufCMessageDescriptor *d,
		     const ProtobufCFieldDescriptor *f, enum weft_field_class c);
	void *ctx;
};

/* Walks a resource (Listener, RouteConfiguration, Cluster, ClusterLoadAssignment). */
void weft_fields_walk(const ProtobufCMessage *resource, const struct weft_field_visitor *v);

/* Walks all of a snapshot but inbound listeners, which are kept without use. */
void weft_fields_walk_all(const struct weft_snapshot *s, const struct weft_field_visitor *v);

/*
 * The i-th message of the table, NULL after the last; *ret_upstream: its rows inside a Cluster. For
 * who lists them.
 */
const ProtobufCMessageDescriptor *weft_fields_message(size_t i, bool *ret_upstream);

/* First fault of the table itself (a name that the subset does not have, one twice); NULL: none. */
const char *weft_fields_fault(void);
