// SPDX-License-Identifier: Apache-2.0
#include "xds/any.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "udpa/type/v1/typed_struct.pb-c.h"
#include "xds/cleanup.h"
#include "xds/descriptor.h"
#include "xds/json.h"
#include "xds/type/v3/typed_struct.pb-c.h"
#include "xds/wire.h"

/* Both TypedStructs have the same fields; the older one stands for both. */
static const char *const typed_structs[] = {"xds.type.v3.TypedStruct", "udpa.type.v1.TypedStruct"};

static _Thread_local unsigned long failures;

unsigned long weft_any_failures(void)
{
	return failures;
}

static int noted(int r)
{
	failures += r == -ENOMEM;
	return r;
}

static char *type_copy(const char *type)
{
	char *copy = type ? strdup(type) : NULL;

	noted(type && !copy ? -ENOMEM : 0);
	return copy;
}

const ProtobufCMessageDescriptor *weft_any_descriptor(const char *full_name)
{
	size_t lo = 0, hi;
	const ProtobufCMessageDescriptor *const *v = weft_descriptors(&hi);

	while (v && lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		int c = strcmp(v[mid]->name, full_name);

		if (!c)
			return v[mid];
		if (c < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

/* What follows the last slash; NULL when there is none or nothing follows. */
static const char *type_of(const char *url)
{
	const char *slash = url ? strrchr(url, '/') : NULL;

	return slash && slash[1] ? slash + 1 : NULL;
}

static bool is_typed_struct(const char *type)
{
	return !strcmp(type, typed_structs[0]) || !strcmp(type, typed_structs[1]);
}

static int unpack_typed_struct(const Google__Protobuf__Any *any, const char *resource,
			       const char *field, struct weft_diag *diag,
			       Udpa__Type__V1__TypedStruct **ret)
{
	ProtobufCMessage *msg;
	int r;

	r = weft_wire_unpack(&udpa__type__v1__typed_struct__descriptor, any->value.data,
			     any->value.len, resource, field, diag, &msg);
	if (!r)
		*ret = (Udpa__Type__V1__TypedStruct *)msg;
	return r;
}

char *weft_any_type(const Google__Protobuf__Any *any)
{
	const char *type = any ? type_of(any->type_url) : NULL;
	Udpa__Type__V1__TypedStruct *ts;
	char *name;

	if (!type || !is_typed_struct(type))
		return type_copy(type);
	if (noted(unpack_typed_struct(any, NULL, NULL, NULL, &ts)))
		return NULL;
	type = type_of(ts->type_url);
	name = type_copy(type && !is_typed_struct(type) ? type : NULL);
	protobuf_c_message_free_unpacked(&ts->base, NULL);
	return name;
}

static int decode_struct(const ProtobufCMessageDescriptor *desc, const Google__Protobuf__Struct *s,
			 const char *resource, const char *field, struct weft_diag *diag,
			 ProtobufCMessage **ret)
{
	const struct weft_json_source source = {.resource = resource, .field = field};
	_xds_json_ json_t *json = NULL;
	int r;

	r = s ? weft_json_from_msg(&s->base, &json) : 0;
	if (!s)
		json = json_object();
	if (r == -E2BIG)
		return weft_diag_add(diag, -EINVAL, resource, field, "nested too deep");
	if (r || !json)
		return -ENOMEM;
	return weft_json_to_msg(desc, json, &source, diag, ret);
}

static int unpack_inner(const Google__Protobuf__Any *any, const char *resource, const char *field,
			struct weft_diag *diag, ProtobufCMessage **ret)
{
	const ProtobufCMessageDescriptor *desc = NULL;
	Udpa__Type__V1__TypedStruct *ts;
	const char *type;
	int r;

	r = unpack_typed_struct(any, resource, field, diag, &ts);
	if (r)
		return r;
	type = type_of(ts->type_url);
	if (!type || is_typed_struct(type))
		r = weft_diag_add(diag, -EINVAL, resource, field,
				  "TypedStruct with type_url \"%s\"", ts->type_url);
	else
		desc = weft_any_descriptor(type);
	if (!r)
		r = desc ? decode_struct(desc, ts->value, resource, field, diag, ret) : -ENOENT;
	protobuf_c_message_free_unpacked(&ts->base, NULL);
	return r;
}

static int unpack_outer(const Google__Protobuf__Any *any, const char *resource, const char *field,
			struct weft_diag *diag, ProtobufCMessage **ret)
{
	const ProtobufCMessageDescriptor *desc;
	const char *type = type_of(any->type_url);

	if (!type)
		return weft_diag_add(diag, -EINVAL, resource, field, "Any with type_url \"%s\"",
				     any->type_url);
	if (is_typed_struct(type))
		return unpack_inner(any, resource, field, diag, ret);
	desc = weft_any_descriptor(type);
	if (!desc)
		return -ENOENT;
	return weft_wire_unpack(desc, any->value.data, any->value.len, resource, field, diag, ret);
}

int weft_any_unpack(const Google__Protobuf__Any *any, const char *resource, const char *field,
		    struct weft_diag *diag, ProtobufCMessage **ret)
{
	_xds_msg_ ProtobufCMessage *msg = NULL;
	int r;

	r = unpack_outer(any, resource, field, diag, &msg);
	if (!r)
		r = weft_msg_canonicalise(msg);
	if (!r)
		*ret = WEFT_XDS_TAKE(msg);
	return noted(r);
}

/*
 * What Istio puts into every listener and that neither admits, refuses nor changes a request: metadata
 * exchange between proxies, statistics, the choice of ALPN for its own mTLS.
 */
bool weft_any_harmless(const char *full_name)
{
	static const char *const names[] = {
		"envoy.tcp.metadataexchange.config.MetadataExchange",
		"io.istio.http.peer_metadata.Config",
		"istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig",
		"stats.PluginConfig",
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (!strcmp(names[i], full_name))
			return true;
	return false;
}
