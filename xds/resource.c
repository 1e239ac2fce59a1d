// SPDX-License-Identifier: Apache-2.0
#include "xds/resource.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "envoy/config/cluster/v3/cluster.pb-c.h"
#include "envoy/config/endpoint/v3/endpoint.pb-c.h"
#include "envoy/config/listener/v3/listener.pb-c.h"
#include "envoy/config/route/v3/route.pb-c.h"
#include "xds/any.h"
#include "xds/body.h"
#include "xds/cleanup.h"
#include "xds/descriptor.h"
#include "xds/validate.h"
#include "xds/wire.h"

/* Same prefix for all: a URL is known by what follows the last slash. */
#define URL_PREFIX "type.googleapis.com/"

static const struct {
	const char *url;
	const char *name;
	const ProtobufCMessageDescriptor *desc;
	const char *key; /* the field that is the resource's name */
} types[WEFT_XDS__MAX] = {
	[WEFT_XDS_CLUSTER] = {URL_PREFIX "envoy.config.cluster.v3.Cluster", "Cluster",
			      &envoy__config__cluster__v3__cluster__descriptor, "name"},
	[WEFT_XDS_ENDPOINT] = {URL_PREFIX "envoy.config.endpoint.v3.ClusterLoadAssignment",
			       "ClusterLoadAssignment",
			       &envoy__config__endpoint__v3__cluster_load_assignment__descriptor,
			       "cluster_name"},
	[WEFT_XDS_LISTENER] = {URL_PREFIX "envoy.config.listener.v3.Listener", "Listener",
			       &envoy__config__listener__v3__listener__descriptor, "name"},
	[WEFT_XDS_ROUTE] = {URL_PREFIX "envoy.config.route.v3.RouteConfiguration",
			    "RouteConfiguration",
			    &envoy__config__route__v3__route_configuration__descriptor, "name"},
};

const char *weft_xds_type_url(enum weft_xds_type type)
{
	return types[type].url;
}

const char *weft_xds_type_name(enum weft_xds_type type)
{
	return types[type].name;
}

enum weft_xds_type weft_xds_type_from_url(const char *type_url)
{
	const char *slash = strrchr(type_url, '/');

	for (int i = 0; slash && i < WEFT_XDS__MAX; i++)
		if (!strcmp(slash + 1, types[i].desc->name))
			return (enum weft_xds_type)i;
	return WEFT_XDS__MAX;
}

static const char *name_of(enum weft_xds_type type, const ProtobufCMessage *msg)
{
	const ProtobufCFieldDescriptor *f =
		protobuf_c_message_descriptor_get_field_by_name(types[type].desc, types[type].key);

	return *(char *const *)weft_field_at(msg, f);
}

static int hash_message(const ProtobufCMessage *msg, uint64_t *ret)
{
	size_t len = protobuf_c_message_get_packed_size(msg);
	_xds_free_ uint8_t *buf = malloc(len ? len : 1);

	if (!buf)
		return -ENOMEM;
	protobuf_c_message_pack(msg, buf);
	*ret = XXH64(buf, len, 0);
	return 0;
}

static char *title_of(enum weft_xds_type type, const char *name)
{
	const char *kind = types[type].name;
	size_t n = strlen(kind), m = strlen(name);
	char *title = malloc(n + m + 2);

	if (!title)
		return NULL;
	memcpy(title, kind, n);
	title[n] = '/';
	memcpy(title + n + 1, name, m + 1);
	return title;
}

static int no_memory(struct weft_diag *diag, enum weft_xds_type type)
{
	return weft_diag_add(diag, -ENOMEM, types[type].name, NULL, "out of memory");
}

/* Checks msg: *ret has its name (a copy), hash and unknown fields. Nothing is taken over. */
static int examine(enum weft_xds_type type, ProtobufCMessage *msg, struct weft_diag *diag,
		   struct weft_body *ret)
{
	unsigned long failures = weft_any_failures();
	const char *name = name_of(type, msg);
	_xds_free_ char *title = title_of(type, name);
	int err = title ? weft_msg_canonicalise(msg) : -ENOMEM;

	if (!err)
		err = weft_validate(msg, title, diag, &ret->unknown);
	if (weft_any_failures() != failures)
		err = -ENOMEM;
	if (!err)
		err = hash_message(msg, &ret->hash);
	if (!err) {
		ret->name = strdup(name);
		err = ret->name ? 0 : -ENOMEM;
	}
	return err == -ENOMEM ? no_memory(diag, type) : err;
}

/* The resource has its name and message from b, and with `shared` holds it. */
static int resource_new(const struct weft_body *b, struct weft_body *shared, const char *version,
			int64_t now_ms, struct weft_resource **ret)
{
	struct weft_resource *r = calloc(1, sizeof(*r));
	char *copy = strdup(version ? version : "");

	if (!r || !copy) {
		free(r);
		free(copy);
		return -ENOMEM;
	}
	*r = (struct weft_resource){.refs = 1,
				    .type = b->type,
				    .name = b->name,
				    .version = copy,
				    .hash = b->hash,
				    .updated_ms = now_ms,
				    .unknown = b->unknown,
				    .msg = b->msg,
				    .body = shared};
	*ret = r;
	return 0;
}

static int descriptor_check(enum weft_xds_type type, const ProtobufCMessage *msg,
			    struct weft_diag *diag)
{
	if (msg->descriptor == types[type].desc)
		return 0;
	return weft_diag_add(diag, -EINVAL, types[type].name, NULL, "is a %s",
			     msg->descriptor->name);
}

int weft_resource_from_msg(enum weft_xds_type type, ProtobufCMessage *msg, const char *version,
			   int64_t now_ms, struct weft_diag *diag, struct weft_resource **ret)
{
	_xds_msg_ ProtobufCMessage *own = msg;
	struct weft_body b = {.type = type, .msg = msg};
	int r = descriptor_check(type, msg, diag);

	if (!r)
		r = examine(type, msg, diag, &b);
	if (r)
		return r;
	if (resource_new(&b, NULL, version, now_ms, ret)) {
		free(b.name);
		return no_memory(diag, type);
	}
	own = NULL;
	return 0;
}

/* The contents of these bytes, of one that is there or decoded. */
static int body_get(enum weft_xds_type type, const uint8_t *data, size_t len,
		    struct weft_diag *diag, struct weft_body **ret)
{
	struct weft_body b = {.type = type, .len = len};
	int r;

	*ret = weft_body_find(type, data, len, b.key);
	if (*ret)
		return 0;
	r = weft_wire_unpack(types[type].desc, data, len, types[type].name, NULL, diag, &b.msg);
	if (r)
		return r;
	r = examine(type, b.msg, diag, &b);
	if (!r) {
		*ret = weft_body_add(&b);
		if (*ret)
			return 0;
		free(b.name);
		r = no_memory(diag, type);
	}
	protobuf_c_message_free_unpacked(b.msg, NULL);
	return r;
}

int weft_resource_from_wire(enum weft_xds_type type, const uint8_t *data, size_t len,
			    const char *version, int64_t now_ms, struct weft_diag *diag,
			    struct weft_resource **ret)
{
	struct weft_body *b;
	int r = body_get(type, data, len, diag, &b);

	if (r)
		return r;
	if (!resource_new(b, b, version, now_ms, ret))
		return 0;
	weft_body_unref(b);
	return no_memory(diag, type);
}

struct weft_resource *weft_resource_ref(struct weft_resource *r)
{
	__atomic_add_fetch(&r->refs, 1, __ATOMIC_RELAXED);
	return r;
}

void weft_resource_unref(struct weft_resource *r)
{
	if (!r || __atomic_sub_fetch(&r->refs, 1, __ATOMIC_ACQ_REL))
		return;
	if (r->body) {
		weft_body_unref(r->body);
	} else {
		protobuf_c_message_free_unpacked(r->msg, NULL);
		free(r->name);
	}
	free(r->version);
	free(r);
}
