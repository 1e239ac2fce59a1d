// SPDX-License-Identifier: Apache-2.0
/* A document of a file: a bootstrap, a response, a list of resources or a resource. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "envoy/config/bootstrap/v3/bootstrap.pb-c.h"
#include "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.pb-c.h"
#include "google/protobuf/any.pb-c.h"
#include "xds/any.h"
#include "xds/cleanup.h"
#include "xds/descriptor.h"
#include "xds/file_internal.h"
#include "xds/json.h"
#include "xds/validate.h"
#include "xds/wire.h"

#define bootstrap_t Envoy__Config__Bootstrap__V3__Bootstrap
#define rds_t Envoy__Extensions__Filters__Network__HttpConnectionManager__V3__Rds
#define RDS                                                                                        \
	envoy__extensions__filters__network__http_connection_manager__v3__rds__descriptor
#define EDS envoy__config__cluster__v3__cluster__eds_cluster_config__descriptor

static int load_resource(struct loader *l, const struct document *doc, const json_t *json,
			 unsigned int line)
{
	const struct weft_json_source source = {
		.resource = doc->file, .lines = doc->lines, .line = line};
	const char *url = json_string_value(json_object_get(json, "@type"));
	enum weft_xds_type type = url ? weft_xds_type_from_url(url) : WEFT_XDS__MAX;
	_xds_msg_ ProtobufCMessage *any = NULL;
	_xds_free_ char *place = NULL;
	ProtobufCMessage *msg;
	int r;

	if (line && asprintf(&place, "%s:%u", doc->file, line) < 0)
		place = NULL;
	if (type == WEFT_XDS__MAX || (doc->want != WEFT_XDS__MAX && type != doc->want))
		return weft_diag_add(l->diag, -EINVAL, place ? place : doc->file, "@type",
				     "\"%s\" is not %s", url ? url : "",
				     doc->want == WEFT_XDS__MAX ? "one of the four resources"
								: weft_xds_type_url(doc->want));
	r = weft_json_to_msg(&google__protobuf__any__descriptor, json, &source, l->diag, &any);
	if (!r)
		r = weft_any_unpack((Google__Protobuf__Any *)any, doc->file, NULL, l->diag, &msg);
	return r ? r : file_add_pending(l, type, msg, doc->file, line);
}

static int load_list(struct loader *l, const struct document *doc, const json_t *list)
{
	int r, err = 0;

	if (!json_is_array(list))
		return weft_diag_add(l->diag, -EINVAL, doc->file, "resources", "must be a list");
	for (size_t i = 0; i < json_array_size(list); i++) {
		r = load_resource(l, doc, json_array_get(list, i),
				  weft_lines_element(doc->lines, list, i));
		err = r ? r : err;
	}
	return err;
}

/* A DiscoveryResponse: what is for the protocol (version, nonce) means nothing in a file. */
static int load_response(struct loader *l, const struct document *doc, const json_t *json)
{
	static const char *const known[] = {"@type",	  "resources", "version_info",
					    "versionInfo", "nonce",	"canary",
					    "control_plane", "controlPlane"};
	struct document typed = *doc;
	json_t *object = (json_t *)json;
	const char *key, *url = NULL;
	enum weft_xds_type type;
	json_t *value;

	json_object_foreach(object, key, value) {
		bool ok = !strcmp(key, "type_url") || !strcmp(key, "typeUrl");

		if (ok)
			url = json_string_value(value);
		for (size_t i = 0; !ok && i < sizeof(known) / sizeof(*known); i++)
			ok = !strcmp(key, known[i]);
		if (!ok)
			return weft_diag_add(l->diag, -EINVAL, doc->file, key,
					     "no such field beside \"resources\"");
	}
	type = url ? weft_xds_type_from_url(url) : WEFT_XDS__MAX;
	if (url && (type == WEFT_XDS__MAX || (doc->want != WEFT_XDS__MAX && type != doc->want)))
		return weft_diag_add(l->diag, -EINVAL, doc->file, "type_url",
				     "\"%s\" is not expected here", url);
	if (url)
		typed.want = type;
	return load_list(l, &typed, json_object_get(json, "resources"));
}

/* What would change traffic, and is not done, is refused; what is about Envoy's process is passed over. */
static int check_bootstrap(struct loader *l, const struct document *doc, const bootstrap_t *b)
{
	static const char *const refused[] = {
		"cluster_manager",	"config_sources",      "default_config_source",
		"header_prefix",	"hds_config",	       "use_tcp_for_dns_lookups",
		"dns_resolution_config", "typed_dns_resolver_config", "bootstrap_extensions",
		"default_regex_engine", "listener_manager",    "xds_delegate_extension",
		"certificate_provider_instances"};
	int r = 0;

	for (size_t i = 0; i < sizeof(refused) / sizeof(*refused); i++)
		if (weft_field_is_set(&b->base, protobuf_c_message_descriptor_get_field_by_name(
							b->base.descriptor, refused[i])))
			r = weft_diag_add(l->diag, -EINVAL, doc->file, refused[i],
					  "is not supported");
	if (b->static_resources && b->static_resources->n_secrets)
		r = weft_diag_add(l->diag, -EINVAL, doc->file, "static_resources.secrets",
				  "is not supported");
	if (l->bootstrap)
		r = weft_diag_add(l->diag, -EINVAL, doc->file, NULL,
				  "a second bootstrap; the first is %s", l->bootstrap);
	return r;
}

/* Takes the i-th message out of a list of the bootstrap, which goes on without it. */
static ProtobufCMessage *take(ProtobufCMessage **list, size_t i)
{
	ProtobufCMessage *msg = list[i];

	list[i] = weft_msg_new(msg->descriptor);
	if (list[i])
		return msg;
	list[i] = msg;
	return NULL;
}

static int take_list(struct loader *l, const struct document *doc, ProtobufCMessage **list,
		     size_t n, enum weft_xds_type type)
{
	int r = 0;

	for (size_t i = 0; !r && i < n; i++) {
		ProtobufCMessage *msg = take(list, i);

		r = msg ? file_add_pending(l, type, msg, doc->file, 0) : -ENOMEM;
	}
	return r;
}

/*
 * A listener of the bootstrap need not have a name (Envoy makes one up). Its address is one that
 * stays the same over reloads, and that its user knows.
 */
static int name_listener(Envoy__Config__Listener__V3__Listener *listener)
{
	const Envoy__Config__Core__V3__SocketAddress *a;
	char *name;

	if (*listener->name || !listener->address ||
	    listener->address->address_case !=
		    ENVOY__CONFIG__CORE__V3__ADDRESS__ADDRESS_SOCKET_ADDRESS)
		return 0;
	a = listener->address->socket_address;
	if (asprintf(&name, strchr(a->address, ':') ? "[%s]:%u" : "%s:%u", a->address,
		     a->port_value) < 0)
		return -ENOMEM;
	if (listener->name != protobuf_c_empty_string)
		free(listener->name);
	listener->name = name;
	return 0;
}

/* The path of a source, NULL when it is another kind of source. */
static const char *source_path(const Envoy__Config__Core__V3__ConfigSource *s)
{
	if (!s)
		return NULL;
	if (s->config_source_specifier_case ==
	    ENVOY__CONFIG__CORE__V3__CONFIG_SOURCE__CONFIG_SOURCE_SPECIFIER_PATH_CONFIG_SOURCE)
		return s->path_config_source->path;
	if (s->config_source_specifier_case ==
	    ENVOY__CONFIG__CORE__V3__CONFIG_SOURCE__CONFIG_SOURCE_SPECIFIER_PATH)
		return s->path;
	return NULL;
}

static int load_source(struct loader *l, const struct document *doc, const char *field,
		       const Envoy__Config__Core__V3__ConfigSource *s, enum weft_xds_type want)
{
	const char *path = source_path(s);

	if (!s)
		return 0;
	if (!path)
		return weft_diag_add(l->diag, -EINVAL, doc->file, field,
				     "only path_config_source is supported in a file");
	return file_load_path(l, path, doc->file, want);
}

static int load_dynamic(struct loader *l, const struct document *doc,
			const Envoy__Config__Bootstrap__V3__Bootstrap__DynamicResources *d)
{
	int r, err = 0;

	if (!d)
		return 0;
	if (d->ads_config)
		err = weft_diag_add(l->diag, -EINVAL, doc->file, "dynamic_resources.ads_config",
				    "is not supported in a file");
	if (*d->lds_resources_locator || *d->cds_resources_locator)
		err = weft_diag_add(l->diag, -EINVAL, doc->file, "dynamic_resources",
				    "resource locators are not supported");
	r = load_source(l, doc, "dynamic_resources.lds_config", d->lds_config, WEFT_XDS_LISTENER);
	err = r ? r : err;
	r = load_source(l, doc, "dynamic_resources.cds_config", d->cds_config, WEFT_XDS_CLUSTER);
	return r ? r : err;
}

static int load_bootstrap(struct loader *l, const struct document *doc, const json_t *json)
{
	const struct weft_json_source source = {
		.resource = doc->file, .lines = doc->lines, .line = doc->lines ? 1 : 0};
	_xds_msg_ ProtobufCMessage *msg = NULL;
	bootstrap_t *b;
	int r;

	r = weft_json_to_msg(&envoy__config__bootstrap__v3__bootstrap__descriptor, json, &source,
			     l->diag, &msg);
	if (r)
		return r;
	b = (bootstrap_t *)msg;
	r = check_bootstrap(l, doc, b);
	if (!r)
		r = weft_runtime_new(b->layered_runtime, doc->file, l->diag, &l->runtime);
	if (r)
		return r;
	l->bootstrap = strdup(doc->file);
	l->node_id = strdup(b->node ? b->node->id : "");
	l->node_cluster = strdup(b->node ? b->node->cluster : "");
	if (!l->bootstrap || !l->node_id || !l->node_cluster)
		return -ENOMEM;
	if (b->static_resources)
		r = take_list(l, doc, (ProtobufCMessage **)b->static_resources->clusters,
			      b->static_resources->n_clusters, WEFT_XDS_CLUSTER);
	for (size_t i = 0; !r && b->static_resources && i < b->static_resources->n_listeners; i++)
		r = name_listener(b->static_resources->listeners[i]);
	if (!r && b->static_resources)
		r = take_list(l, doc, (ProtobufCMessage **)b->static_resources->listeners,
			      b->static_resources->n_listeners, WEFT_XDS_LISTENER);
	return r ? r : load_dynamic(l, doc, b->dynamic_resources);
}

int file_load_document(struct loader *l, const struct document *doc, const json_t *json)
{
	const char *url = json_string_value(json_object_get(json, "@type"));
	const char *slash = url ? strrchr(url, '/') : NULL;

	if (json_is_null(json))
		return 0;
	if (json_is_array(json))
		return load_list(l, doc, json);
	if (!json_is_object(json))
		return weft_diag_add(l->diag, -EINVAL, doc->file, NULL,
				     "must be a mapping or a list of resources");
	if (json_object_get(json, "resources") &&
	    (!url || (slash && !strcmp(slash + 1, "envoy.service.discovery.v3.DiscoveryResponse"))))
		return load_response(l, doc, json);
	if (url)
		return load_resource(l, doc, json, doc->lines ? 1 : 0);
	if (doc->want != WEFT_XDS__MAX)
		return weft_diag_add(l->diag, -EINVAL, doc->file, NULL,
				     "must be a resource or have \"resources\"");
	return load_bootstrap(l, doc, json);
}

static int follow_source(struct loader *l, const Envoy__Config__Core__V3__ConfigSource *s,
			 const char *file, enum weft_xds_type want)
{
	const char *path = source_path(s);

	return path ? file_load_path(l, path, file, want) : 0;
}

int file_follow(struct loader *l, const ProtobufCMessage *msg, const char *file)
{
	_xds_msg_ ProtobufCMessage *inner = NULL;
	int r, err = 0;

	if (msg->descriptor == &google__protobuf__any__descriptor)
		return weft_any_unpack((const Google__Protobuf__Any *)msg, NULL, NULL, NULL, &inner)
			       ? 0 /* validation tells */
			       : file_follow(l, inner, file);
	if (msg->descriptor == &RDS)
		return follow_source(l, ((const rds_t *)msg)->config_source, file,
				     WEFT_XDS_ROUTE);
	if (msg->descriptor == &EDS)
		return follow_source(
			l, ((const Envoy__Config__Cluster__V3__Cluster__EdsClusterConfig *)msg)->eds_config,
			file, WEFT_XDS_ENDPOINT);
	for (unsigned int i = 0; i < msg->descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &msg->descriptor->fields[i];
		bool many = f->label == PROTOBUF_C_LABEL_REPEATED;

		if (f->type != PROTOBUF_C_TYPE_MESSAGE || !weft_field_is_set(msg, f))
			continue;
		for (size_t j = 0; j < (many ? weft_field_count(msg, f) : 1); j++) {
			r = file_follow(l, weft_field_msg(msg, f, j), file);
			err = r ? r : err;
		}
	}
	return err;
}
