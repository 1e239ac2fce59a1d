// SPDX-License-Identifier: Apache-2.0
/*
 * What a resource refers to by name: the CLA of an EDS cluster, the route configurations of a
 * listener's HTTP connection managers. Only the source the resource itself came from can be
 * followed (ads, self; with separate streams also a server that the resource says to ask in just
 * this way); any other is refused.
 */

#include "xds/delta_state.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "envoy/config/cluster/v3/cluster.pb-c.h"
#include "envoy/config/listener/v3/listener.pb-c.h"
#include "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.pb-c.h"
#include "xds/any.h"

#define HCM_TYPE "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
/* Bounds of google.protobuf.Duration: 10,000 years. */
#define DURATION_SECONDS_MAX 315576000000LL

struct ref {
	char *name;
	int64_t timeout_ms; /* DELTA_NEVER: waits without limit */
};

struct refs {
	struct ref *v;
	size_t n;
	const struct weft_delta *d;
	const struct weft_resource *res;
	char *resource; /* "Listener/x" */
	struct weft_diag *diag;
};

int delta_duration_ms(const Google__Protobuf__Duration *duration, int64_t unset, int64_t *ret)
{
	if (!duration) {
		*ret = unset;
		return 0;
	}
	if (duration->seconds < 0 || duration->seconds > DURATION_SECONDS_MAX ||
	    duration->nanos < 0 || duration->nanos > 999999999)
		return -ERANGE;
	*ret = duration->seconds * 1000 + (duration->nanos + 999999) / 1000000;
	return 0;
}

static int refs_add(struct refs *r, const char *name, int64_t timeout_ms)
{
	struct ref *v;

	for (size_t i = 0; i < r->n; i++) {
		if (strcmp(r->v[i].name, name))
			continue;
		/*
		 * Two managers, one table: the listener waits as long as the more patient of them.
		 */
		if (timeout_ms == DELTA_NEVER ||
		    (r->v[i].timeout_ms != DELTA_NEVER && timeout_ms > r->v[i].timeout_ms))
			r->v[i].timeout_ms = timeout_ms;
		return 0;
	}
	v = reallocarray(r->v, r->n + 1, sizeof(*v));
	if (!v)
		return -ENOMEM;
	r->v = v;
	v[r->n].name = strdup(name);
	v[r->n].timeout_ms = timeout_ms;
	return v[r->n++].name ? 0 : -ENOMEM;
}

/*
 * A server that a resource names is taken for those of the command line: a bootstrap's clusters are
 * not there to look its name up. It must be asked as they are.
 */
static int server_check(struct refs *r, const Envoy__Config__Core__V3__ApiConfigSource *api,
			const char *field)
{
	const Envoy__Config__Core__V3__GrpcService *service;
	const char *want = r->d->sotw ? "GRPC" : "DELTA_GRPC";
	bool same = api->api_type ==
		    (r->d->sotw ? ENVOY__CONFIG__CORE__V3__API_CONFIG_SOURCE__API_TYPE__GRPC
				: ENVOY__CONFIG__CORE__V3__API_CONFIG_SOURCE__API_TYPE__DELTA_GRPC);

	if (!same)
		return weft_diag_add(r->diag, -EINVAL, r->resource, field,
				     "api_config_source.api_type is not %s, which is spoken", want);
	if (api->n_grpc_services != 1 ||
	    api->grpc_services[0]->target_specifier_case !=
		    ENVOY__CONFIG__CORE__V3__GRPC_SERVICE__TARGET_SPECIFIER_ENVOY_GRPC)
		return weft_diag_add(r->diag, -EINVAL, r->resource, field,
				     "api_config_source.grpc_services is not one envoy_grpc");
	service = api->grpc_services[0];
	if (service->n_initial_metadata || *service->envoy_grpc->authority ||
	    service->envoy_grpc->max_receive_message_length)
		return weft_diag_add(r->diag, -EINVAL, r->resource, field,
				     "api_config_source.grpc_services: initial_metadata, authority "
				     "and max_receive_message_length are not supported");
	return 0;
}

static int other_source(struct refs *r, const char *field)
{
	return weft_diag_add(r->diag, -EINVAL, r->resource, field,
			     "only %s is supported in a resource received over %s",
			     weft_delta_is_separate(r->d) ? "ads, self or api_config_source"
							  : "ads or self",
			     weft_delta_is_separate(r->d) ? "a stream of its type" : "ADS");
}

static int source_check(struct refs *r, const Envoy__Config__Core__V3__ConfigSource *source,
			const char *field)
{
	switch (source ? source->config_source_specifier_case
		       : ENVOY__CONFIG__CORE__V3__CONFIG_SOURCE__CONFIG_SOURCE_SPECIFIER__NOT_SET) {
	case ENVOY__CONFIG__CORE__V3__CONFIG_SOURCE__CONFIG_SOURCE_SPECIFIER_ADS:
	case ENVOY__CONFIG__CORE__V3__CONFIG_SOURCE__CONFIG_SOURCE_SPECIFIER_SELF:
		return 0;
	case ENVOY__CONFIG__CORE__V3__CONFIG_SOURCE__CONFIG_SOURCE_SPECIFIER_API_CONFIG_SOURCE:
		if (weft_delta_is_separate(r->d))
			return server_check(r, source->api_config_source, field);
		return other_source(r, field);
	default:
		return other_source(r, field);
	}
}

static int refs_add_source(struct refs *r, const Envoy__Config__Core__V3__ConfigSource *source,
			   const char *field, const char *name)
{
	int64_t timeout;
	int err = source_check(r, source, field);

	if (err)
		return err;
	if (delta_duration_ms(source->initial_fetch_timeout, DELTA_FETCH_TIMEOUT_MS, &timeout))
		return weft_diag_add(r->diag, -EINVAL, r->resource, field,
				     "initial_fetch_timeout is out of range");
	return refs_add(r, name, timeout ? timeout : DELTA_NEVER);
}

static int cluster_refs(struct refs *r, const Envoy__Config__Cluster__V3__Cluster *cluster)
{
	const Envoy__Config__Cluster__V3__Cluster__EdsClusterConfig *eds;

	if (cluster->cluster_discovery_type_case !=
		    ENVOY__CONFIG__CLUSTER__V3__CLUSTER__CLUSTER_DISCOVERY_TYPE_TYPE ||
	    cluster->type != ENVOY__CONFIG__CLUSTER__V3__CLUSTER__DISCOVERY_TYPE__EDS)
		return 0;
	eds = cluster->eds_cluster_config;
	if (!eds)
		return weft_diag_add(r->diag, -EINVAL, r->resource, "eds_cluster_config",
				     "missing in a cluster of type EDS");
	return refs_add_source(r, eds->eds_config, "eds_cluster_config.eds_config",
			       *eds->service_name ? eds->service_name : cluster->name);
}

static int hcm_refs(struct refs *r, const Google__Protobuf__Any *any, const char *field)
{
	const Envoy__Extensions__Filters__Network__HttpConnectionManager__V3__HttpConnectionManager
		*hcm;
	ProtobufCMessage *msg = NULL;
	char *type = weft_any_type(any);
	int err = 0;

	if (!type || strcmp(type, HCM_TYPE)) {
		free(type);
		return 0;
	}
	free(type);
	err = weft_any_unpack(any, r->resource, field, r->diag, &msg);
	if (err)
		return err;
	hcm = (const void *)msg;
	if (hcm->route_specifier_case ==
	    ENVOY__EXTENSIONS__FILTERS__NETWORK__HTTP_CONNECTION_MANAGER__V3__HTTP_CONNECTION_MANAGER__ROUTE_SPECIFIER_RDS) {
		char path[160];

		snprintf(path, sizeof(path), "%s.rds.config_source", field);
		err = refs_add_source(r, hcm->rds->config_source, path,
				      hcm->rds->route_config_name);
	}
	protobuf_c_message_free_unpacked(msg, NULL);
	return err;
}

static int chain_refs(struct refs *r, const Envoy__Config__Listener__V3__FilterChain *chain,
		      const char *field)
{
	for (size_t i = 0; i < chain->n_filters; i++) {
		const Envoy__Config__Listener__V3__Filter *f = chain->filters[i];
		char path[128];
		int err;

		if (f->config_type_case !=
		    ENVOY__CONFIG__LISTENER__V3__FILTER__CONFIG_TYPE_TYPED_CONFIG)
			continue;
		snprintf(path, sizeof(path), "%s.filters[%zu].typed_config", field, i);
		err = hcm_refs(r, f->typed_config, path);
		if (err)
			return err;
	}
	return 0;
}

static int listener_refs(struct refs *r, const Envoy__Config__Listener__V3__Listener *listener)
{
	int err = 0;

	for (size_t i = 0; !err && i < listener->n_filter_chains; i++) {
		char path[64];

		snprintf(path, sizeof(path), "filter_chains[%zu]", i);
		err = chain_refs(r, listener->filter_chains[i], path);
	}
	if (!err && listener->default_filter_chain)
		err = chain_refs(r, listener->default_filter_chain, "default_filter_chain");
	return err;
}

static int refs_collect(struct refs *r)
{
	switch (r->res->type) {
	case WEFT_XDS_CLUSTER:
		return cluster_refs(r, (const void *)r->res->msg);
	case WEFT_XDS_LISTENER:
		return listener_refs(r, (const void *)r->res->msg);
	default:
		return 0;
	}
}

/* -ENOMEM leaves nothing behind. */
static int slot_from_refs(struct weft_delta *d, const struct refs *r, struct weft_resource *res,
			  int64_t now_ms, struct delta_slot **ret)
{
	enum weft_xds_type target =
		res->type == WEFT_XDS_CLUSTER ? WEFT_XDS_ENDPOINT : WEFT_XDS_ROUTE;
	struct delta_slot *s = calloc(1, sizeof(*s) + r->n * sizeof(s->watches[0]));

	if (!s)
		return -ENOMEM;
	s->refs = 1;
	s->res = weft_resource_ref(res);
	for (size_t i = 0; i < r->n; i++) {
		struct delta_watch *w = &s->watches[i];

		w->target = delta_item_get(d, target, r->v[i].name);
		if (!w->target) {
			delta_slot_unref(s);
			return -ENOMEM;
		}
		/* A cluster subscribes by itself, listeners share a table's subscription. */
		if (target == WEFT_XDS_ENDPOINT || !w->target->watchers)
			delta_count_start(&w->target->counts);
		w->target->watchers++;
		w->deadline = r->v[i].timeout_ms == DELTA_NEVER ? DELTA_NEVER
								: now_ms + r->v[i].timeout_ms;
		s->n_watches++;
	}
	*ret = s;
	return 0;
}

int delta_slot_new(struct weft_delta *d, struct weft_resource *res, int64_t now_ms,
		   struct weft_diag *diag, struct delta_slot **ret)
{
	struct refs r = {.d = d, .res = res, .diag = diag};
	int err;

	if (asprintf(&r.resource, "%s/%s", weft_xds_type_name(res->type), res->name) < 0)
		return -ENOMEM;
	err = refs_collect(&r);
	if (!err)
		err = slot_from_refs(d, &r, res, now_ms, ret);
	for (size_t i = 0; i < r.n; i++)
		free(r.v[i].name);
	free(r.v);
	free(r.resource);
	return err;
}
