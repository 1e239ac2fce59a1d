// SPDX-License-Identifier: Apache-2.0
#include "agent/compile/global.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/compile/changes.h"
#include "agent/compile/format.h"
#include "agent/compile/limit.h"
#include "bpf/abi/global.h"

typedef Envoy__Extensions__Filters__Http__Ratelimit__V3__RateLimit http_limit;
typedef Envoy__Extensions__Filters__Http__Ratelimit__V3__RateLimitPerRoute per_route;
typedef Envoy__Extensions__Filters__Network__Ratelimit__V3__RateLimit network_limit;
typedef Envoy__Extensions__Common__Ratelimit__V3__RateLimitDescriptor descriptor;
typedef Envoy__Config__Core__V3__GrpcService grpc_service;

#define TARGET(x) ENVOY__CONFIG__CORE__V3__GRPC_SERVICE__TARGET_SPECIFIER_##x
/* Envoy's, where none is given. */
#define TIMEOUT_MS 20u
/* Of an answer: what a service says of one request is a few hundred bytes. */
#define ANSWER_MAX (1u << 20)

/* ---- the service ---- */

static void metadata_fill(struct weft_build *b, const grpc_service *g, const char *field,
			  struct weft_img_service *ret)
{
	struct weft_img_header *list = calloc(g->n_initial_metadata + 1, sizeof(*list));
	char at[WEFT_FIELD_MAX], *name;

	if (!list) {
		b->err = b->err ? b->err : -ENOMEM;
		return;
	}
	for (size_t i = 0; i < g->n_initial_metadata; i++) {
		const Envoy__Config__Core__V3__HeaderValue *h = g->initial_metadata[i];

		weft_field(at, field, "initial_metadata[%zu]", i);
		weft_build_fields(b, &h->base, at);
		if (h->raw_value.len)
			weft_build_fail(b, at, "unsupported: raw_value");
		name = strdup(h->key);
		for (char *p = name; p && *p; p++)
			*p = (char)tolower((unsigned char)*p);
		weft_build_format(b, h->value, at, &list[i]);
		list[i].name = weft_build_str(b, name ? name : "");
		free(name);
	}
	ret->n_metadata = (uint32_t)g->n_initial_metadata;
	if (ret->n_metadata)
		ret->metadata = weft_build_put(b, list, ret->n_metadata * sizeof(*list));
	free(list);
}

void weft_build_service(struct weft_build *b,
			const Envoy__Config__Ratelimit__V3__RateLimitServiceConfig *c,
			const Google__Protobuf__Duration *timeout, const char *field,
			struct weft_img_service *ret)
{
	const grpc_service *g = c->grpc_service;
	const Envoy__Config__Core__V3__GrpcService__EnvoyGrpc *e;
	char at[WEFT_FIELD_MAX], inner[WEFT_FIELD_MAX];
	bool validate = b->validate_clusters;

	weft_field(at, field, "rate_limit_service");
	weft_build_fields(b, &c->base, at);
	if (c->transport_api_version == ENVOY__CONFIG__CORE__V3__API_VERSION__V2)
		weft_build_fail(b, weft_field(inner, at, "transport_api_version"), "V2 is gone");
	weft_field(inner, at, "grpc_service");
	weft_build_fields(b, &g->base, inner);
	ret->timeout_ms = weft_build_ms(b, timeout, TIMEOUT_MS, weft_field(at, field, "timeout"));
	if (g->target_specifier_case != TARGET(ENVOY_GRPC))
		return; /* google_grpc: refused with the fields that are not handled */
	e = g->envoy_grpc;
	weft_build_fields(b, &e->base, weft_field(at, inner, "envoy_grpc"));
	b->validate_clusters = false; /* one that is not there is a service that does not answer */
	ret->cluster = weft_build_cluster_id(b, e->cluster_name);
	b->validate_clusters = validate;
	ret->name = weft_build_str(b, e->cluster_name);
	ret->authority = weft_build_str(b, *e->authority ? e->authority : e->cluster_name);
	ret->max_bytes = weft_u32(e->max_receive_message_length, ANSWER_MAX);
	if (ret->max_bytes > ANSWER_MAX)
		ret->max_bytes = ANSWER_MAX;
	ret->flags = e->skip_envoy_headers ? WEFT_GLOBAL_PLAIN : 0;
	metadata_fill(b, g, inner, ret);
}

/* ---- the HTTP filter ---- */

static uint32_t type_of(const char *text)
{
	if (!strcmp(text, "internal"))
		return WEFT_GLOBAL_INTERNAL;
	return strcmp(text, "external") ? WEFT_GLOBAL_BOTH : WEFT_GLOBAL_EXTERNAL;
}

static uint32_t ppm_or(const Envoy__Config__Core__V3__RuntimeFractionalPercent *p, uint32_t unset)
{
	return p ? weft_ppm(p) : unset;
}

/* As Envoy: no refusal looks like a success. */
static uint32_t status_of(const Envoy__Type__V3__HttpStatus *s)
{
	uint32_t code = s ? (uint32_t)s->code : 0;

	return code < 400 ? 429 : code;
}

uint32_t weft_build_global_limit(struct weft_build *b, const http_limit *l, const char *field)
{
	struct weft_change_lists add = {.n_add = l->n_response_headers_to_add,
					.add = l->response_headers_to_add,
					.name = "response_headers_to_add",
					.response = true};
	struct weft_img_global_limit out = {
		.type = type_of(l->request_type),
		.stage = l->stage,
		.enabled = ppm_or(l->filter_enabled, WEFT_PPM_ALL),
		.enforced = ppm_or(l->filter_enforced, WEFT_PPM_ALL),
		.deny = ppm_or(l->failure_mode_deny_percent,
			       l->failure_mode_deny ? WEFT_PPM_ALL : 0),
		.status = status_of(l->rate_limited_status),
		.error_status = l->status_on_error ? (uint32_t)l->status_on_error->code : 500};

	weft_build_fields(b, &l->base, field);
	weft_build_service(b, l->rate_limit_service, l->timeout, field, &out.service);
	out.domain = weft_build_str(b, l->domain);
	out.stat_prefix = weft_build_str(b, l->stat_prefix);
	out.flags = (l->enable_x_ratelimit_headers ? WEFT_GLOBAL_HEADERS : 0) |
		    (l->disable_x_envoy_ratelimited_header ? WEFT_GLOBAL_SILENT : 0) |
		    (l->rate_limited_as_resource_exhausted ? WEFT_GLOBAL_EXHAUSTED : 0);
	out.add = weft_build_change(b, WEFT_LEVEL_ROUTE, &add, field);
	if (l->n_rate_limits)
		out.own = weft_build_rate_rules(b, l->n_rate_limits, l->rate_limits, true, b->names,
						field);
	return weft_build_put(b, &out, sizeof(out));
}

uint32_t weft_build_global_route(struct weft_build *b, const per_route *r, const char *field)
{
	struct weft_img_global_route out = {.vhost_rules = r->vh_rate_limits};

	weft_build_fields(b, &r->base, field);
	out.domain = weft_build_str(b, r->domain);
	if (r->n_rate_limits)
		out.own = weft_build_rate_rules(b, r->n_rate_limits, r->rate_limits, true, b->names,
						field);
	return weft_build_put(b, &out, sizeof(out));
}

/* ---- the network filter ---- */

/* A value's own text is what Envoy takes for the reply's body in it. */
static void
entry_fill(struct weft_build *b,
	   const Envoy__Extensions__Common__Ratelimit__V3__RateLimitDescriptor__Entry *e,
	   const char *field, struct weft_img_conn_entry *ret)
{
	const struct weft_format_local self = {.text = e->value, .len = strlen(e->value)};
	char at[WEFT_FIELD_MAX];

	weft_build_fields(b, &e->base, field);
	ret->key = weft_build_str(b, e->key);
	weft_build_format_body(b, e->value, true, &self, weft_field(at, field, "value"),
			       &ret->value);
}

static void conn_descriptor_fill(struct weft_build *b, const descriptor *d, const char *field,
				 struct weft_img_conn_descriptor *ret)
{
	struct weft_img_conn_entry *list = calloc(d->n_entries + 1, sizeof(*list));
	char at[WEFT_FIELD_MAX];

	if (!list) {
		b->err = b->err ? b->err : -ENOMEM;
		return;
	}
	weft_build_fields(b, &d->base, field);
	if (d->n_entries > WEFT_CONN_ENTRIES_MAX)
		weft_build_fail(b, weft_field(at, field, "entries"), "more than %u",
				WEFT_CONN_ENTRIES_MAX);
	for (size_t i = 0; i < d->n_entries && i < WEFT_CONN_ENTRIES_MAX; i++)
		entry_fill(b, d->entries[i], weft_field(at, field, "entries[%zu]", i), &list[i]);
	ret->n = (uint32_t)d->n_entries;
	ret->entry = weft_build_put(b, list, ret->n * sizeof(*list));
	free(list);
}

uint32_t weft_build_conn_ask(struct weft_build *b, const network_limit *l, uint32_t after,
			     const char *field)
{
	struct weft_img_conn_ask out = {.deny = l->failure_mode_deny ? 1 : 0, .after = after};
	struct weft_img_conn_descriptor *list = calloc(l->n_descriptors + 1, sizeof(*list));
	char at[WEFT_FIELD_MAX];

	if (!list) {
		b->err = b->err ? b->err : -ENOMEM;
		return 0;
	}
	weft_build_fields(b, &l->base, field);
	weft_build_service(b, l->rate_limit_service, l->timeout, field, &out.service);
	out.domain = weft_build_str(b, l->domain);
	out.stat_prefix = weft_build_str(b, l->stat_prefix);
	if (l->n_descriptors > WEFT_RATE_MATCHES_MAX)
		weft_build_fail(b, weft_field(at, field, "descriptors"), "more than %u",
				WEFT_RATE_MATCHES_MAX);
	for (size_t i = 0; i < l->n_descriptors && i < WEFT_RATE_MATCHES_MAX; i++)
		conn_descriptor_fill(b, l->descriptors[i],
				     weft_field(at, field, "descriptors[%zu]", i), &list[i]);
	out.n = (uint32_t)l->n_descriptors;
	out.descriptor = weft_build_put(b, list, out.n * sizeof(*list));
	free(list);
	return weft_build_put(b, &out, sizeof(out));
}
