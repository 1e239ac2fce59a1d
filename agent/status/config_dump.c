// SPDX-License-Identifier: Apache-2.0
/*
 * envoy.admin.v3.ConfigDump, list by list and resource by resource: of a large mesh no more than
 * one resource is in memory in this form.
 */
#include "agent/status/config_dump.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/cleanup.h"
#include "agent/json_out.h"
#include "agent/status/mask.h"
#include "envoy/admin/v3/config_dump.pb-c.h"
#include "envoy/admin/v3/config_dump_shared.pb-c.h"
#include "envoy/config/cluster/v3/cluster.pb-c.h"
#include "envoy/config/endpoint/v3/endpoint.pb-c.h"
#include "envoy/config/listener/v3/listener.pb-c.h"
#include "envoy/config/route/v3/route.pb-c.h"

/* An expression of those who may ask; a name takes time linear to it. */
#define NAMES_PROGRAM_MAX 10000u
#define ADMIN_TYPE "type.googleapis.com/envoy.admin.v3."

struct section {
	const char *name; /* behind envoy.admin.v3. */
	const ProtobufCMessageDescriptor *desc;
	enum weft_xds_type version_of; /* WEFT_XDS__MAX: it has none */
	struct dump_list list[3];
};

/* ---- writing ---- */

bool dump_is_named(const struct dump_job *j, const char *name)
{
	return !j->names ||
	       weft_regex_search(j->names, name, (uint32_t)strlen(name), 0, NULL, 0) == 1;
}

static void write_text(struct dump_job *j, const json_t *item)
{
	if (json_dumpf(item, j->out, JSON_INDENT(1) | JSON_ENSURE_ASCII) < 0)
		j->failed = true;
}

/* Takes the entry over. */
void dump_item(struct dump_job *j, json_t *item)
{
	_auto_json_ json_t *whole = item, *shown = NULL;

	if (j->failed)
		return;
	shown = j->mask && j->resource ? weft_mask_apply(j->mask, whole) : json_incref(whole);
	if (!shown) {
		j->failed = true;
		return;
	}
	if (j->resource) {
		json_t *typed = json_object();
		_auto_free_ char *url = NULL;

		if (!typed || asprintf(&url, "type.googleapis.com/%s", j->list->item->name) < 0) {
			json_decref(typed);
			j->failed = true;
			return;
		}
		json_object_set_new(typed, "@type", json_string(url));
		json_object_update(typed, shown);
		json_decref(shown);
		shown = typed;
	} else if (!j->items) {
		fprintf(j->out, ",\n\"%s\": [", j->list->name);
	}
	fputs(j->items++ ? ",\n" : "\n", j->out);
	write_text(j, shown);
}

/* ---- sections ---- */

#define SHARED(message) &envoy__admin__v3__##message##__descriptor
#define CLUSTER &envoy__config__cluster__v3__cluster__descriptor
#define ENDPOINT &envoy__config__endpoint__v3__cluster_load_assignment__descriptor
#define LISTENER &envoy__config__listener__v3__listener__descriptor
#define ROUTE &envoy__config__route__v3__route_configuration__descriptor

static const struct section bootstrap_section = {
	"BootstrapConfigDump", SHARED(bootstrap_config_dump), WEFT_XDS__MAX, {{0}}};

static const struct section sections[] = {
	{"ClustersConfigDump",
	 SHARED(clusters_config_dump),
	 WEFT_XDS_CLUSTER,
	 {{"static_clusters", SHARED(clusters_config_dump__static_cluster), dump_static_clusters,
	   CLUSTER},
	  {"dynamic_active_clusters", SHARED(clusters_config_dump__dynamic_cluster),
	   dump_active_clusters, CLUSTER},
	  {"dynamic_warming_clusters", SHARED(clusters_config_dump__dynamic_cluster),
	   dump_warming_clusters, CLUSTER}}},
	{"EndpointsConfigDump",
	 SHARED(endpoints_config_dump),
	 WEFT_XDS__MAX,
	 {{"static_endpoint_configs", SHARED(endpoints_config_dump__static_endpoint_config),
	   dump_static_endpoints, ENDPOINT},
	  {"dynamic_endpoint_configs", SHARED(endpoints_config_dump__dynamic_endpoint_config),
	   dump_dynamic_endpoints, ENDPOINT}}},
	{"ListenersConfigDump",
	 SHARED(listeners_config_dump),
	 WEFT_XDS_LISTENER,
	 {{"static_listeners", SHARED(listeners_config_dump__static_listener),
	   dump_static_listeners, LISTENER},
	  {"dynamic_listeners", SHARED(listeners_config_dump__dynamic_listener),
	   dump_dynamic_listeners, LISTENER}}},
	{"ScopedRoutesConfigDump",
	 SHARED(scoped_routes_config_dump),
	 WEFT_XDS__MAX,
	 {{"inline_scoped_route_configs",
	   SHARED(scoped_routes_config_dump__inline_scoped_route_configs), NULL, NULL},
	  {"dynamic_scoped_route_configs",
	   SHARED(scoped_routes_config_dump__dynamic_scoped_route_configs), NULL, NULL}}},
	{"RoutesConfigDump",
	 SHARED(routes_config_dump),
	 WEFT_XDS__MAX,
	 {{"static_route_configs", SHARED(routes_config_dump__static_route_config),
	   dump_static_routes, ROUTE},
	  {"dynamic_route_configs", SHARED(routes_config_dump__dynamic_route_config),
	   dump_dynamic_routes, ROUTE}}},
	{"SecretsConfigDump",
	 SHARED(secrets_config_dump),
	 WEFT_XDS__MAX,
	 {{"static_secrets", SHARED(secrets_config_dump__static_secret), NULL, NULL},
	  {"dynamic_active_secrets", SHARED(secrets_config_dump__dynamic_secret), NULL, NULL},
	  {"dynamic_warming_secrets", SHARED(secrets_config_dump__dynamic_secret), NULL, NULL}}},
};
#define N_SECTIONS (sizeof(sections) / sizeof(sections[0]))
#define ENDPOINTS 1 /* the section that is shown when asked for */

static void list_write(struct dump_job *j, const struct dump_list *list)
{
	j->list = list;
	j->items = 0;
	if (list->fill)
		list->fill(j);
	if (j->items && !j->resource)
		fputs("]", j->out);
}

static void section_write(struct dump_job *j, const struct section *s)
{
	if (j->mask && !weft_mask_fits(j->mask, s->desc, NULL))
		return;
	fprintf(j->out, "%s{\"@type\": \"" ADMIN_TYPE "%s\"", j->sections++ ? ",\n" : "\n",
		s->name);
	for (size_t i = 0; s->version_of != WEFT_XDS__MAX && i < j->status->n; i++) {
		const struct weft_status_part *p = &j->status->part[i];
		_auto_json_ json_t *version = NULL;

		if (!p->version[s->version_of] || !*p->version[s->version_of] ||
		    (j->mask && !json_object_get(j->mask, "version_info")))
			continue;
		version = weft_json_bytes(p->version[s->version_of],
					  strlen(p->version[s->version_of]));
		fputs(",\n\"version_info\": ", j->out);
		if (json_dumpf(version, j->out, JSON_ENCODE_ANY | JSON_ENSURE_ASCII) < 0)
			j->failed = true;
		break;
	}
	for (size_t i = 0; i < 3 && s->list[i].name; i++) {
		/* A mask names lists as a whole: no path leads through one. */
		if (!j->mask || json_object_get(j->mask, s->list[i].name))
			list_write(j, &s->list[i]);
	}
	fputs("}", j->out);
}

static void bootstrap_write(struct dump_job *j)
{
	_auto_json_ json_t *shown = NULL;

	if (j->mask && !weft_mask_fits(j->mask, bootstrap_section.desc, NULL))
		return;
	shown = j->mask ? weft_mask_apply(j->mask, j->bootstrap) : json_incref(j->bootstrap);
	fputs(j->sections++ ? ",\n" : "\n", j->out);
	write_text(j, shown);
}

static int job_write(void *job, FILE *out)
{
	struct dump_job *j = job;

	j->out = out;
	weft_status_select(j->status, j->view);
	fputs("{\n\"configs\": [", out);
	if (!j->resource)
		bootstrap_write(j);
	for (size_t i = 0; i < N_SECTIONS && !j->failed && !ferror(out); i++) {
		if (i == ENDPOINTS && !j->eds)
			continue;
		if (!j->resource) {
			section_write(j, &sections[i]);
			continue;
		}
		for (size_t k = 0; k < 3 && sections[i].list[k].name; k++) {
			if (!strcmp(sections[i].list[k].name, j->resource))
				list_write(j, &sections[i].list[k]);
		}
	}
	fputs("\n]\n}\n", out);
	return j->failed ? -ENOMEM : 0;
}

static void job_free(void *job)
{
	struct dump_job *j = job;

	weft_status_free(j->status);
	json_decref(j->bootstrap);
	json_decref(j->mask);
	weft_regex_free(j->names);
	free(j->resource);
	free(j);
}

/* ---- what is asked ---- */

/* The whole name, as in Envoy. */
static int names_take(struct dump_job *j, const char *pattern, struct weft_http_answer *ret)
{
	struct weft_regex_error error = {0};
	struct weft_regex *alone = NULL;
	_auto_free_ char *whole = NULL;
	int r = weft_regex_new(pattern, NAMES_PROGRAM_MAX, &alone, &error);

	weft_regex_free(alone);
	if (r == -EINVAL) {
		weft_http_say(ret, 400, "name_regex: %s\n", error.text);
		return r;
	}
	if (r == 0 && asprintf(&whole, "\\A(?:%s)\\z", pattern) < 0) {
		whole = NULL;
		r = -ENOMEM;
	}
	return r < 0 ? r : weft_regex_new(whole, UINT32_MAX, &j->names, &error);
}

static const struct dump_list *list_find(const struct dump_job *j, const char *name,
					 bool *ret_single)
{
	*ret_single = protobuf_c_message_descriptor_get_field_by_name(bootstrap_section.desc, name);
	for (size_t i = 0; i < N_SECTIONS; i++) {
		const struct section *s = &sections[i];

		if (i == ENDPOINTS && !j->eds)
			continue;
		for (size_t k = 0; k < 3 && s->list[k].name; k++) {
			if (!strcmp(s->list[k].name, name))
				return &s->list[k];
		}
		*ret_single |=
			protobuf_c_message_descriptor_get_field_by_name(s->desc, name) != NULL;
	}
	return NULL;
}

static int mask_take(struct dump_job *j, const char *text, const struct dump_list *list,
		     struct weft_http_answer *ret)
{
	bool fits = false;

	j->mask = weft_mask_parse(text);
	if (j->mask && list)
		fits = weft_mask_fits(j->mask, list->item, list->content);
	for (size_t i = 0; j->mask && !list && i < N_SECTIONS; i++)
		fits |= (i != ENDPOINTS || j->eds) &&
			weft_mask_fits(j->mask, sections[i].desc, NULL);
	if (j->mask && !list)
		fits |= weft_mask_fits(j->mask, bootstrap_section.desc, NULL);
	if (fits)
		return 0;
	weft_http_say(ret, 400, "mask %s names no field\n", text);
	return -EINVAL;
}

static int job_parse(struct dump_job *j, const char *query, struct weft_http_answer *ret)
{
	_auto_free_ char *eds = weft_http_query_value(query, "include_eds");
	_auto_free_ char *mask = weft_http_query_value(query, "mask");
	_auto_free_ char *names = weft_http_query_value(query, "name_regex");
	const struct dump_list *list = NULL;
	bool single;

	j->eds = eds;
	j->resource = weft_http_query_value(query, "resource");
	if (names && names_take(j, names, ret) < 0)
		return -EINVAL;
	if (j->resource) {
		list = list_find(j, j->resource, &single);
		if (!list && single)
			weft_http_say(ret, 400, "%s is one field, not a list: use mask=%s\n",
				      j->resource, j->resource);
		else if (!list)
			weft_http_say(ret, 404, "%s is not in the dump\n", j->resource);
		if (!list)
			return -EINVAL;
	}
	return mask ? mask_take(j, mask, list, ret) : 0;
}

void weft_http_config_dump(struct weft_daemon *d, const char *query, struct weft_http_answer *ret)
{
	struct dump_job *j = calloc(1, sizeof(*j));

	ret->status = 500;
	if (!j)
		return;
	if (job_parse(j, query, ret) < 0 || weft_http_view(d, query, ret, &j->view) < 0 ||
	    weft_status_collect(d, &j->status) < 0) {
		job_free(j);
		return;
	}
	j->bootstrap = weft_status_bootstrap(d, j->status);
	ret->status = 200;
	ret->type = "application/json";
	ret->stream = (struct weft_client_stream){job_write, job_free, j};
}
