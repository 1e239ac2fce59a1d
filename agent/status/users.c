// SPDX-License-Identifier: Apache-2.0
/*
 * Who names whom. A resource's message is walked by its descriptors, through everything that stands
 * in an Any, and these fields are looked at; a name that no field of the list has leads nowhere.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/cleanup.h"
#include "agent/json_out.h"
#include "agent/status/status.h"
#include "envoy/config/cluster/v3/cluster.pb-c.h"
#include "google/protobuf/any.pb-c.h"
#include "xds/any.h"
#include "xds/cleanup.h"
#include "xds/descriptor.h"
#include "xds/wire.h"

struct weft_users {
	json_t *of[WEFT_XDS__MAX]; /* name -> {"listeners": [...], ...} */
};

/* A field that holds a name, and of what. */
static const struct {
	const char *message, *field;
	enum weft_xds_type type;
} names[] = {
	{"envoy.config.route.v3.RouteAction", "cluster", WEFT_XDS_CLUSTER},
	{"envoy.config.route.v3.WeightedCluster.ClusterWeight", "name", WEFT_XDS_CLUSTER},
	{"envoy.config.route.v3.RouteAction.RequestMirrorPolicy", "cluster", WEFT_XDS_CLUSTER},
	{"envoy.config.core.v3.GrpcService.EnvoyGrpc", "cluster_name", WEFT_XDS_CLUSTER},
	{"envoy.config.core.v3.HttpUri", "cluster", WEFT_XDS_CLUSTER},
	{"envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy", "cluster", WEFT_XDS_CLUSTER},
	{"envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.WeightedCluster.ClusterWeight",
	 "name", WEFT_XDS_CLUSTER},
	{"envoy.extensions.filters.network.http_connection_manager.v3.Rds", "route_config_name",
	 WEFT_XDS_ROUTE},
};

/* The user whose message is walked. */
struct walk {
	struct weft_users *users;
	const char *list; /* "listeners" */
	const char *name;
	unsigned int depth;
	int err;
};

static void use(struct walk *w, enum weft_xds_type type, const char *used)
{
	json_t *of = json_object_get(w->users->of[type], used), *list, *name;
	size_t n;

	if (!of) {
		of = json_object();
		if (json_object_set_new(w->users->of[type], used, of)) {
			w->err = -ENOMEM;
			return;
		}
	}
	list = json_object_get(of, w->list);
	if (!list) {
		list = json_array();
		if (json_object_set_new(of, w->list, list)) {
			w->err = -ENOMEM;
			return;
		}
	}
	/* Users come one by one: the same one again is the last. */
	n = json_array_size(list);
	if (n && !strcmp(json_string_value(json_array_get(list, n - 1)), w->name))
		return;
	name = json_string(w->name);
	if (!name || json_array_append_new(list, name))
		w->err = -ENOMEM;
}

static void walk_message(struct walk *w, const ProtobufCMessage *msg);

static void walk_any(struct walk *w, const Google__Protobuf__Any *any)
{
	_xds_msg_ ProtobufCMessage *inner = NULL;

	/* What cannot be read names nobody: it was accepted as being without effect. */
	if (weft_any_unpack(any, NULL, NULL, NULL, &inner) == 0)
		walk_message(w, inner);
}

static void walk_text(struct walk *w, const ProtobufCMessage *msg,
		      const ProtobufCFieldDescriptor *f)
{
	const char *text;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(names[i].field, f->name) ||
		    strcmp(names[i].message, msg->descriptor->name))
			continue;
		text = *(char *const *)weft_field_at(msg, f);
		if (text && *text)
			use(w, names[i].type, text);
		return;
	}
}

static void walk_message(struct walk *w, const ProtobufCMessage *msg)
{
	if (w->depth == WEFT_WIRE_DEPTH_MAX || w->err)
		return;
	w->depth++;
	if (msg->descriptor == &google__protobuf__any__descriptor) {
		walk_any(w, (const Google__Protobuf__Any *)msg);
		w->depth--;
		return;
	}
	for (unsigned int i = 0; i < msg->descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &msg->descriptor->fields[i];
		size_t n;

		if (!weft_field_is_set(msg, f))
			continue;
		if (f->type == PROTOBUF_C_TYPE_STRING && f->label != PROTOBUF_C_LABEL_REPEATED)
			walk_text(w, msg, f);
		if (f->type != PROTOBUF_C_TYPE_MESSAGE)
			continue;
		n = f->label == PROTOBUF_C_LABEL_REPEATED ? weft_field_count(msg, f) : 1;
		for (size_t k = 0; k < n; k++)
			walk_message(w, weft_field_msg(msg, f, k));
	}
	w->depth--;
}

/* A cluster names its endpoints by their service, or by its own name. */
static void walk_cluster(struct walk *w, const struct weft_resource *r)
{
	const Envoy__Config__Cluster__V3__Cluster *c = (const void *)r->msg;

	if (!c->eds_cluster_config)
		return;
	use(w, WEFT_XDS_ENDPOINT,
	    *c->eds_cluster_config->service_name ? c->eds_cluster_config->service_name : c->name);
}

static void walk_entry(struct walk *w, const struct weft_status_entry *e)
{
	const struct weft_resource *both[] = {e->active, e->warming};

	w->name = e->name;
	for (size_t i = 0; i < 2; i++) {
		if (!both[i])
			continue;
		if (e->type == WEFT_XDS_CLUSTER)
			walk_cluster(w, both[i]);
		walk_message(w, both[i]->msg);
	}
}

int weft_users_new(const struct weft_status *s, uint32_t view, struct weft_users **ret)
{
	static const char *const lists[WEFT_XDS__MAX] = {[WEFT_XDS_CLUSTER] = "clusters",
							 [WEFT_XDS_LISTENER] = "listeners",
							 [WEFT_XDS_ROUTE] = "routes"};
	struct weft_users *u = calloc(1, sizeof(*u));
	struct walk w = {.users = u};

	if (!u)
		return -ENOMEM;
	for (int t = 0; t < WEFT_XDS__MAX; t++) {
		u->of[t] = json_object();
		if (!u->of[t])
			w.err = -ENOMEM;
	}
	for (size_t p = 0; p < s->n; p++) {
		const struct weft_status_part *part = &s->part[p];

		for (size_t i = 0; i < part->n && part->view == view && !w.err; i++) {
			w.list = lists[part->v[i].type];
			if (w.list)
				walk_entry(&w, &part->v[i]);
		}
	}
	if (w.err) {
		weft_users_free(u);
		return w.err;
	}
	*ret = u;
	return 0;
}

void weft_users_free(struct weft_users *u)
{
	if (!u)
		return;
	for (int t = 0; t < WEFT_XDS__MAX; t++)
		json_decref(u->of[t]);
	free(u);
}

json_t *weft_users_of(const struct weft_users *u, enum weft_xds_type type, const char *name)
{
	return json_incref(json_object_get(u->of[type], name));
}
