/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Between the parts of validation. */

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>

#include "xds/path.h"
#include "xds/validate.h"

struct validator {
	const char *resource;
	struct weft_diag *diag;
	struct weft_path path; /* of the message being checked */
	unsigned int unknown;
	unsigned int depth;
	unsigned int lenient; /* inside of what does not touch traffic: unknown types are counted */
	bool refused;
	bool out_of_memory;
};

/* A cause at `field` (NULL: the message itself) below the current path. */
void validate_refuse(struct validator *v, const char *field, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* Same at field[i]. */
void validate_refuse_at(struct validator *v, const char *field, size_t i, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* validate_rules.c: the tables. */
void validate_rules(struct validator *v, const ProtobufCMessage *msg);

/* The rules that need more than one field, by type of message; nothing when there are none. */
typedef void validate_fn(struct validator *v, const ProtobufCMessage *msg);
struct validate_check {
	const ProtobufCMessageDescriptor *desc;
	validate_fn *fn;
};
/* Each ends with {NULL, NULL}. */
extern const struct validate_check validate_checks_route[];
extern const struct validate_check validate_checks_cluster[];
extern const struct validate_check validate_checks_listener[];
extern const struct validate_check validate_checks_filter[];

/* validate_headers.c: lists of header changes, wherever they are. */
void validate_headers(struct validator *v, const ProtobufCMessage *msg);

/* True for a literal address of either family. */
bool validate_is_ip(const char *text);

/* validate_any.c: which types may stand where. */
enum validate_role {
	VALIDATE_ROLE_OTHER,	   /* any that is known */
	VALIDATE_ROLE_NONE,	   /* not configuration of ours: left alone */
	VALIDATE_ROLE_HTTP_FILTER,
	VALIDATE_ROLE_NETWORK_FILTER,
	VALIDATE_ROLE_LISTENER_FILTER,
	VALIDATE_ROLE_PER_ROUTE,
	VALIDATE_ROLE_TRANSPORT,
};
enum validate_role validate_role_of(const ProtobufCMessage *parent);
/* Does a type that weft knows fit the role? */
bool validate_role_takes(enum validate_role role, const char *type);
/* May a type that does not fit or is not known be left out there? */
bool validate_may_skip(const ProtobufCMessage *parent, enum validate_role role, const char *type);
