// SPDX-License-Identifier: Apache-2.0
/* The walk over a resource and all messages in it. */

#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "envoy/config/listener/v3/listener.pb-c.h"
#include "google/protobuf/any.pb-c.h"
#include "google/protobuf/duration.pb-c.h"
#include "xds/any.h"
#include "xds/cleanup.h"
#include "xds/descriptor.h"
#include "xds/validate_internal.h"
#include "xds/wire.h"

#define DURATION_SECONDS_MAX (INT64_MAX / 1000000000 - 1)

static void refuse(struct validator *v, size_t before, const char *fmt, va_list args)
{
	_xds_free_ char *reason = NULL;

	if (vasprintf(&reason, fmt, args) < 0)
		reason = NULL;
	v->refused = true;
	weft_diag_add(v->diag, -EINVAL, v->resource, v->path.text, "%s",
		      reason ? reason : "refused");
	weft_path_cut(&v->path, before);
}

void validate_refuse(struct validator *v, const char *field, const char *fmt, ...)
{
	size_t before = v->path.len;
	va_list args;

	if (field)
		weft_path_field(&v->path, field);
	va_start(args, fmt);
	refuse(v, before, fmt, args);
	va_end(args);
}

void validate_refuse_at(struct validator *v, const char *field, size_t i, const char *fmt, ...)
{
	size_t before = weft_path_field(&v->path, field);
	va_list args;

	weft_path_index(&v->path, i);
	va_start(args, fmt);
	refuse(v, before, fmt, args);
	va_end(args);
}

bool validate_is_ip(const char *text)
{
	struct in6_addr addr;

	return inet_pton(AF_INET, text, &addr) == 1 || inet_pton(AF_INET6, text, &addr) == 1;
}

/*
 * Messages that say which traffic is meant. A condition that is not understood would make the rule wider
 * than its author meant, so an unknown field here is refused.
 */
static bool narrows(const char *name)
{
	static const char *const prefixes[] = {
		"envoy.config.listener.v3.FilterChainMatch",
		"envoy.config.listener.v3.ListenerFilterChainMatchPredicate",
		"envoy.config.rbac.v3.",
		"envoy.config.route.v3.CookieMatcher",
		"envoy.config.route.v3.HeaderMatcher",
		"envoy.config.route.v3.QueryParameterMatcher",
		"envoy.config.route.v3.RateLimit",
		"envoy.config.route.v3.RouteMatch",
		"envoy.config.core.v3.CidrRange",
		"envoy.config.core.v3.RuntimeFractionalPercent",
		"envoy.extensions.common.ratelimit.v3.",
		"envoy.extensions.filters.common.fault.v3.",
		"envoy.extensions.filters.http.fault.v3.",
		"envoy.extensions.filters.http.rbac.v3.",
		"envoy.extensions.filters.network.rbac.v3.",
		"envoy.type.matcher.v3.",
		"envoy.type.v3.DoubleRange",
		"envoy.type.v3.FractionalPercent",
		"envoy.type.v3.Int32Range",
		"envoy.type.v3.Int64Range",
		"xds.core.v3.CidrRange",
		"xds.type.matcher.v3.",
	};

	for (size_t i = 0; i < sizeof(prefixes) / sizeof(*prefixes); i++)
		if (!strncmp(name, prefixes[i], strlen(prefixes[i])))
			return true;
	return false;
}

static void check_unknown(struct validator *v, const ProtobufCMessage *msg)
{
	if (!msg->n_unknown_fields)
		return;
	if (narrows(msg->descriptor->name) && !v->lenient)
		validate_refuse(v, NULL, "field %u of %s is not known", msg->unknown_fields[0].tag,
				msg->descriptor->name);
	else
		v->unknown += msg->n_unknown_fields;
}

static void check_more(struct validator *v, const ProtobufCMessage *msg)
{
	static const struct validate_check *const tables[] = {
		validate_checks_route, validate_checks_cluster, validate_checks_listener,
		validate_checks_filter};

	for (size_t i = 0; i < sizeof(tables) / sizeof(*tables); i++)
		for (const struct validate_check *c = tables[i]; c->desc; c++)
			if (c->desc == msg->descriptor)
				c->fn(v, msg);
	validate_headers(v, msg);
}

/* Envoy computes with nanoseconds in 64 bits, and takes no negative ones (DurationUtil). */
static void check_duration(struct validator *v, const Google__Protobuf__Duration *d)
{
	if (d->seconds < 0 || d->nanos < 0)
		validate_refuse(v, NULL, "must not be negative");
	else if (d->nanos > 999999999 || d->seconds > DURATION_SECONDS_MAX)
		validate_refuse(v, NULL, "is out of range");
}

static void walk(struct validator *v, const ProtobufCMessage *msg);

static void walk_any(struct validator *v, const ProtobufCMessage *parent,
		     const Google__Protobuf__Any *any)
{
	enum validate_role role = validate_role_of(parent);
	_xds_free_ char *type = weft_any_type(any);
	_xds_msg_ ProtobufCMessage *inner = NULL;
	int r;

	if (role == VALIDATE_ROLE_NONE)
		return;
	if (!type) {
		validate_refuse(v, NULL, "malformed Any, type_url \"%s\"", any->type_url);
		return;
	}
	if (!weft_any_descriptor(type) || !validate_role_takes(role, type)) {
		if (validate_may_skip(parent, role, type))
			return;
		if (v->lenient)
			v->unknown++;
		else
			validate_refuse(v, NULL, "type %s is not known here", type);
		return;
	}
	r = weft_any_unpack(any, v->resource, v->path.text, v->diag, &inner);
	if (r == -EINVAL)
		v->refused = true;
	else if (r)
		v->out_of_memory = true;
	else
		walk(v, inner);
}

/* Fields below which a type that is not known changes nothing for traffic, or is passed over by design. */
static bool is_lenient(const ProtobufCMessageDescriptor *desc, const char *field)
{
	static const char *const names[][2] = {
		{"envoy.config.accesslog.v3.AccessLog", "typed_config"},
		{"envoy.config.trace.v3.Tracing.Http", "typed_config"},
		{"envoy.config.core.v3.HealthCheck", "event_logger"},
		{"envoy.config.core.v3.ApiConfigSource", "config_validators"},
		{"envoy.config.cluster.v3.LoadBalancingPolicy", "policies"},
		{"envoy.extensions.filters.network.http_connection_manager.v3.RequestIDExtension",
		 "typed_config"},
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (!strcmp(names[i][0], desc->name) && !strcmp(names[i][1], field))
			return true;
	return false;
}

static void walk_child(struct validator *v, const ProtobufCMessage *parent,
		       const ProtobufCMessage *child)
{
	if (child->descriptor == &google__protobuf__any__descriptor)
		walk_any(v, parent, (const Google__Protobuf__Any *)child);
	else
		walk(v, child);
}

/* A map's entry: the path has the key, and the map's owner counts as the parent. */
static void walk_entry(struct validator *v, const ProtobufCMessage *entry)
{
	const ProtobufCFieldDescriptor *key = &entry->descriptor->fields[0];
	const ProtobufCFieldDescriptor *value = &entry->descriptor->fields[1];
	const ProtobufCMessage *child;
	size_t before = v->path.len;

	if (value->type != PROTOBUF_C_TYPE_MESSAGE)
		return;
	if (key->type == PROTOBUF_C_TYPE_STRING)
		before = weft_path_key(&v->path, *(char *const *)weft_field_at(entry, key));
	check_more(v, entry);
	child = weft_field_msg(entry, value, 0);
	if (child)
		walk_child(v, entry, child);
	weft_path_cut(&v->path, before);
}

static void walk_field(struct validator *v, const ProtobufCMessage *msg,
		       const ProtobufCFieldDescriptor *f)
{
	bool many = f->label == PROTOBUF_C_LABEL_REPEATED;
	bool map = weft_field_is_map(msg->descriptor, f);
	bool lenient = is_lenient(msg->descriptor, f->name);
	size_t outer = weft_path_field(&v->path, f->name);

	v->lenient += lenient;
	for (size_t i = 0; i < (many ? weft_field_count(msg, f) : 1); i++) {
		size_t before = many && !map ? weft_path_index(&v->path, i) : v->path.len;

		if (map)
			walk_entry(v, weft_field_msg(msg, f, i));
		else
			walk_child(v, msg, weft_field_msg(msg, f, i));
		weft_path_cut(&v->path, before);
	}
	v->lenient -= lenient;
	weft_path_cut(&v->path, outer);
}

static void walk(struct validator *v, const ProtobufCMessage *msg)
{
	if (v->depth == WEFT_WIRE_DEPTH_MAX) {
		validate_refuse(v, NULL, "nested too deep");
		return;
	}
	v->depth++;
	if (msg->descriptor == &google__protobuf__duration__descriptor)
		check_duration(v, (const Google__Protobuf__Duration *)msg);
	check_unknown(v, msg);
	validate_rules(v, msg);
	check_more(v, msg);
	for (unsigned int i = 0; i < msg->descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &msg->descriptor->fields[i];

		if (f->type == PROTOBUF_C_TYPE_MESSAGE && weft_field_is_set(msg, f))
			walk_field(v, msg, f);
	}
	v->depth--;
}

/* Kept for the side that requests arrive at, and used by nothing: its filters need not be known
 * here. */
static bool is_inbound(const ProtobufCMessage *msg)
{
	return msg->descriptor == &envoy__config__listener__v3__listener__descriptor &&
	       ((const Envoy__Config__Listener__V3__Listener *)msg)->traffic_direction ==
		       ENVOY__CONFIG__CORE__V3__TRAFFIC_DIRECTION__INBOUND;
}

int weft_validate(const ProtobufCMessage *msg, const char *resource, struct weft_diag *diag,
		  unsigned int *ret_unknown)
{
	struct validator v = {.resource = resource, .diag = diag, .lenient = is_inbound(msg)};

	weft_path_init(&v.path, NULL);
	walk(&v, msg);
	if (v.out_of_memory)
		return -ENOMEM;
	if (v.refused)
		return -EINVAL;
	*ret_unknown = v.unknown;
	return 0;
}
