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

/* Takes over msg, on success only. */
static int make(enum weft_xds_type type, ProtobufCMessage *msg, const char *version, int64_t now_ms,
		struct weft_diag *diag, struct weft_resource **ret)
{
	const char *name = name_of(type, msg);
	_xds_free_ char *title = title_of(type, name);
	struct weft_resource *r;
	unsigned int unknown = 0;
	uint64_t hash;
	int err;

	err = title ? weft_msg_canonicalise(msg) : -ENOMEM;
	if (!err)
		err = weft_validate(msg, title, diag, &unknown);
	if (!err)
		err = hash_message(msg, &hash);
	if (err)
		return err == -ENOMEM ? weft_diag_add(diag, err, title, NULL, "out of memory") : err;
	r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	*r = (struct weft_resource){
		.refs = 1, .type = type, .hash = hash, .updated_ms = now_ms, .unknown = unknown};
	r->name = strdup(name);
	r->version = strdup(version ? version : "");
	if (!r->name || !r->version) {
		weft_resource_unref(r);
		return weft_diag_add(diag, -ENOMEM, title, NULL, "out of memory");
	}
	r->msg = msg;
	*ret = r;
	return 0;
}

int weft_resource_from_msg(enum weft_xds_type type, ProtobufCMessage *msg, const char *version,
			   int64_t now_ms, struct weft_diag *diag, struct weft_resource **ret)
{
	_xds_msg_ ProtobufCMessage *own = msg;
	int r;

	if (msg->descriptor != types[type].desc)
		return weft_diag_add(diag, -EINVAL, types[type].name, NULL, "is a %s",
				     msg->descriptor->name);
	r = make(type, own, version, now_ms, diag, ret);
	if (!r)
		own = NULL;
	return r;
}

int weft_resource_from_wire(enum weft_xds_type type, const uint8_t *data, size_t len,
			    const char *version, int64_t now_ms, struct weft_diag *diag,
			    struct weft_resource **ret)
{
	ProtobufCMessage *msg;
	int r;

	r = weft_wire_unpack(types[type].desc, data, len, types[type].name, NULL, diag, &msg);
	if (r)
		return r;
	return weft_resource_from_msg(type, msg, version, now_ms, diag, ret);
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
	if (r->msg)
		protobuf_c_message_free_unpacked(r->msg, NULL);
	free(r->name);
	free(r->version);
	free(r);
}
