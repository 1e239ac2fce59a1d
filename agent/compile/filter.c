// SPDX-License-Identifier: Apache-2.0
/* HTTP filters by kind, and what routes, virtual hosts and weighted clusters say of them. */
#include "agent/compile/filter.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "agent/compile/fault.h"
#include "agent/compile/global.h"
#include "agent/compile/limit.h"
#include "agent/compile/rbac.h"
#include "envoy/config/route/v3/route_components.pb-c.h"
#include "xds/any.h"

#define FILTERS "envoy.extensions.filters.http."
#define FILTER_CONFIG "envoy.config.route.v3.FilterConfig"

uint32_t weft_filter_key(const char *name)
{
	uint32_t key = (uint32_t)XXH64(name, strlen(name), 0);

	return key ? key : 1;
}

bool weft_filter_config_open(struct weft_build *b, const Google__Protobuf__Any *any,
			     const char *field, char field_config[WEFT_FIELD_MAX],
			     struct weft_filter_config *ret)
{
	unsigned long failures = weft_any_failures();

	*ret = (struct weft_filter_config){0};
	if (!any) {
		weft_build_fail(b, field, "unsupported: filter without typed_config");
		return false;
	}
	weft_field(field_config, field, "typed_config");
	ret->type = weft_any_type(any);
	if (!ret->type && weft_any_failures() != failures) {
		b->err = b->err ? b->err : -ENOMEM;
		return false;
	}
	if (ret->type && weft_any_harmless(ret->type)) {
		weft_build_note(b, field_config, "filter without effect");
		weft_filter_config_clear(ret);
		return false;
	}
	ret->err = weft_any_unpack(any, b->resource, field_config, b->diag, &ret->msg);
	return true;
}

void weft_filter_config_clear(struct weft_filter_config *c)
{
	if (c->msg)
		protobuf_c_message_free_unpacked(c->msg, NULL);
	free(c->type);
	*c = (struct weft_filter_config){0};
}

uint32_t weft_build_filter(struct weft_build *b, enum weft_filter_kind kind,
			   const ProtobufCMessage *msg, const char *field)
{
	if (kind == WEFT_FILTER_RBAC)
		return weft_build_rbac(b, (const void *)msg, field);
	if (kind == WEFT_FILTER_CORS)
		return 0; /* its policies are those of routes */
	if (kind == WEFT_FILTER_FAULT)
		return weft_build_fault(b, (const void *)msg, field);
	if (kind == WEFT_FILTER_GLOBAL_LIMIT)
		return weft_build_global_limit(b, (const void *)msg, field);
	return weft_build_rate_limit(b, (const void *)msg, field);
}

/* Any map entry: protobuf-c gives each map its own entry type of this one shape. */
typedef Envoy__Config__Route__V3__Route__TypedPerFilterConfigEntry map_entry;

static bool override_fill(struct weft_build *b, enum weft_level level,
			  const Google__Protobuf__Any *any, const char *field, bool optional,
			  struct weft_img_override *ret);

/* FilterConfig: disabled, then its config is ignored; else it must have one. As Envoy, both. */
static bool wrapped_fill(struct weft_build *b, enum weft_level level,
			 const Envoy__Config__Route__V3__FilterConfig *c, const char *field,
			 struct weft_img_override *ret)
{
	char at[WEFT_FIELD_MAX];

	ret->disabled = c->disabled != 0;
	if (c->disabled)
		return true;
	weft_field(at, field, "config");
	if (!c->config) {
		weft_build_fail(b, at, "missing");
		return false;
	}
	return override_fill(b, level, c->config, at, c->is_optional, ret);
}

/* An override of a filter without effect has none itself. */
static bool known_empty(const char *type)
{
	static const char *const names[] = {
		"envoy.extensions.filters.http.grpc_stats.v3.FilterConfig", NULL};

	for (int i = 0; names[i]; i++) {
		if (!strcmp(names[i], type))
			return true;
	}
	return weft_any_harmless(type);
}

/* The kind of filter that a type configures for a route, 0: another type. */
static uint32_t override_kind(const char *type)
{
	if (type && !strcmp(type, FILTERS "local_ratelimit.v3.LocalRateLimit"))
		return WEFT_FILTER_LOCAL_RATE_LIMIT;
	if (type && !strcmp(type, FILTERS "rbac.v3.RBACPerRoute"))
		return WEFT_FILTER_RBAC;
	if (type && !strcmp(type, FILTERS "fault.v3.HTTPFault"))
		return WEFT_FILTER_FAULT;
	if (type && !strcmp(type, FILTERS "cors.v3.CorsPolicy"))
		return WEFT_FILTER_CORS;
	if (type && !strcmp(type, FILTERS "ratelimit.v3.RateLimitPerRoute"))
		return WEFT_FILTER_GLOBAL_LIMIT;
	return 0;
}

/* Without a configuration of its own it turns the filter off. */
static void rbac_fill(struct weft_build *b,
		      const Envoy__Extensions__Filters__Http__Rbac__V3__RBACPerRoute *r,
		      const char *field, struct weft_img_override *ret)
{
	char at[WEFT_FIELD_MAX];

	ret->disabled = !r->rbac;
	if (r->rbac)
		ret->config = weft_build_rbac(b, r->rbac, weft_field(at, field, "rbac"));
}

/* true: the override has an effect. */
static bool override_fill(struct weft_build *b, enum weft_level level,
			  const Google__Protobuf__Any *any, const char *field, bool optional,
			  struct weft_img_override *ret)
{
	ProtobufCMessage *msg = NULL;
	char *type = weft_any_type(any);
	uint32_t kind = override_kind(type);
	bool effect = false;

	if (type && (known_empty(type) || (optional && !weft_any_descriptor(type)))) {
		weft_build_note(b, field, "filter without effect");
	} else if (type && !kind && strcmp(type, FILTER_CONFIG)) {
		weft_build_fail(b, field, "unsupported: %s", type);
	} else if (weft_any_unpack(any, b->resource, field, b->diag, &msg)) {
		b->err = b->err ? b->err : -EINVAL;
	} else if (!type) {
		b->err = b->err ? b->err : -ENOMEM;
	} else if (!kind) {
		effect = wrapped_fill(b, level, (void *)msg, field, ret);
	} else {
		ret->kind = kind;
		if (kind == WEFT_FILTER_RBAC)
			rbac_fill(b, (void *)msg, field, ret);
		else if (kind == WEFT_FILTER_CORS) {
			ret->config = weft_build_cors(b, level, ret->key, msg, field);
			msg = NULL;
		} else if (kind == WEFT_FILTER_GLOBAL_LIMIT)
			ret->config = weft_build_global_route(b, (void *)msg, field);
		else
			ret->config = weft_build_filter(b, kind, msg, field);
		effect = true;
	}
	if (msg)
		protobuf_c_message_free_unpacked(msg, NULL);
	free(type);
	return effect;
}

uint32_t weft_build_overrides(struct weft_build *b, enum weft_level level, size_t n, void *entries,
			      const Envoy__Config__Route__V3__CorsPolicy *cors, const char *field,
			      uint32_t *ret_n)
{
	struct weft_img_override out[WEFT_FILTERS_MAX] = {0};
	map_entry **entry = entries;
	char at[WEFT_FIELD_MAX];
	uint32_t k = 0;

	*ret_n = 0;
	weft_cors_enter(b, level);
	for (size_t i = 0; i < n + (cors != NULL); i++) {
		if (i < n)
			weft_field(at, field, "typed_per_filter_config[\"%s\"]", entry[i]->key);
		else
			weft_field(at, field, "cors");
		if (k == WEFT_FILTERS_MAX) {
			weft_build_fail(b, at, "more than %u filters", WEFT_FILTERS_MAX);
			return 0;
		}
		if (i == n) {
			out[k++] = (struct weft_img_override){
				.key = WEFT_CORS_KEY,
				.kind = WEFT_FILTER_CORS,
				.config = weft_build_cors_old(b, level, cors, at)};
			break;
		}
		if (!entry[i]->value) {
			weft_build_fail(b, at, "missing");
			continue;
		}
		out[k] = (struct weft_img_override){.key = weft_filter_key(entry[i]->key)};
		if (override_fill(b, level, entry[i]->value, at, false, &out[k]))
			k++;
	}
	*ret_n = k;
	return k ? weft_build_put(b, out, k * sizeof(*out)) : 0;
}
