/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What weft does with each field of each message, the one source of it: weft_build_fields() refuses
 * by it, `check` counts by it, FIELDS.md is printed from it. A MESSAGE row, then rows of its
 * fields; a field without a row is refused. UPSTREAM: of the message inside a Cluster, where Envoy
 * reads other fields of it than in a Listener.
 */

#include "agent/compile/fields.h"

struct weft_field_row {
	const char *message; /* full name; NULL in rows of fields */
	bool upstream;
	enum weft_field_class class;
	const char *names; /* separated by blanks */
	const char *why;
};

#define MESSAGE(name)                                                                              \
	{                                                                                          \
		.message = name                                                                    \
	}
#define UPSTREAM(name)                                                                             \
	{                                                                                          \
		.message = name, .upstream = true                                                  \
	}
#define KERNEL(fields)                                                                             \
	{                                                                                          \
		.class = WEFT_FIELD_KERNEL, .names = fields                                        \
	}
#define AGENT(fields)                                                                              \
	{                                                                                          \
		.class = WEFT_FIELD_AGENT, .names = fields                                         \
	}
#define QUIET(fields, reason)                                                                      \
	{                                                                                          \
		.class = WEFT_FIELD_QUIET, .names = fields, .why = reason                          \
	}
#define END                                                                                        \
	{                                                                                          \
		0                                                                                  \
	}

extern const struct weft_field_row weft_fields_cluster[], weft_fields_listener[],
	weft_fields_route[], weft_fields_types[];
