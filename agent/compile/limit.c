// SPDX-License-Identifier: Apache-2.0
#include "agent/compile/limit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "agent/compile/reply.h"
#include "envoy/config/core/v3/base.pb-c.h"
#include "envoy/config/route/v3/route_components.pb-c.h"
#include "xds/any.h"

#define LOCAL_RATE_LIMIT "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit"
#define FILTER_CONFIG "envoy.config.route.v3.FilterConfig"

typedef Envoy__Extensions__Filters__Http__LocalRatelimit__V3__LocalRateLimit http_limit;
typedef Envoy__Extensions__Filters__Network__LocalRatelimit__V3__LocalRateLimit network_limit;

uint32_t weft_filter_key(const char *name)
{
	uint32_t key = (uint32_t)XXH64(name, strlen(name), 0);

	return key ? key : 1;
}

/* FractionalPercent in parts per million. NULL: 0 %, the filters' default. */
static uint32_t ppm(const Envoy__Config__Core__V3__RuntimeFractionalPercent *p)
{
	static const uint32_t scale[] = {10000, 100, 1};
	uint64_t n;

	if (!p || !p->default_value)
		return 0;
	n = (uint64_t)p->default_value->numerator * scale[p->default_value->denominator];
	return n > 1000000 ? 1000000 : (uint32_t)n;
}

/* Cost of a token in 1/16 ns, rounded to nearest: weft_img_bucket. */
static void bucket_fill(struct weft_build *b, const Envoy__Type__V3__TokenBucket *t,
			const char *field, struct weft_img_bucket *ret)
{
	uint64_t tokens = weft_u32(t->tokens_per_fill, 1), interval;

	if (t->fill_interval->seconds > (int64_t)(1ull << 58) / 1000000000) {
		weft_build_fail(b, field, "fill_interval is longer than 9 years");
		return;
	}
	interval = ((uint64_t)t->fill_interval->seconds * 1000000000u +
		    (uint64_t)t->fill_interval->nanos)
		   << 4;
	ret->max_tokens = t->max_tokens;
	ret->cost = (interval + tokens / 2) / tokens;
	if (!ret->cost)
		ret->cost = 1; /* sixteen tokens in a nanosecond: no limit that could be told from
				  none */
	if (ret->max_tokens && ret->cost > ((1ull << 62) - 1) / ret->max_tokens)
		weft_build_fail(b, field, "takes more than 9 years to fill");
	ret->full = ret->cost * ret->max_tokens;
}

uint32_t weft_build_rate_limit(struct weft_build *b, const http_limit *l, const char *field)
{
	static const char *const handled[] = {"stat_prefix",
					      "status",
					      "token_bucket",
					      "filter_enabled",
					      "filter_enforced",
					      "request_headers_to_add_when_not_enforced",
					      "response_headers_to_add",
					      "local_rate_limit_per_downstream_connection",
					      "always_consume_default_token_bucket",
					      "rate_limited_as_resource_exhausted",
					      NULL};
	/* These act on descriptors only, and without descriptors there are none. */
	static const char *const noted[] = {"stage", "vh_rate_limits", "max_dynamic_descriptors",
					    NULL};
	static const char body[] = "local_rate_limited";
	struct weft_img_rate_limit out = {.enabled = ppm(l->filter_enabled),
					  .enforced = ppm(l->filter_enforced)};
	char at[WEFT_FIELD_MAX];
	struct weft_reply_text text = {.status = l->status ? (uint32_t)l->status->code : 429,
				       .body = body,
				       .body_len = sizeof(body) - 1,
				       .details = "local_rate_limited",
				       .n_add = l->n_response_headers_to_add,
				       .add = l->response_headers_to_add};
	char add_field[WEFT_FIELD_MAX];

	weft_build_fields(b, &l->base, field, handled, noted);
	if (l->rate_limited_as_resource_exhausted)
		weft_build_fail(b, weft_field(at, field, "rate_limited_as_resource_exhausted"),
				"unsupported");
	text.add_field = weft_field(add_field, field, "response_headers_to_add");
	if (text.status < 400)
		text.status = 429;
	out.bucket.stat_prefix = weft_build_str(b, l->stat_prefix);
	out.stats =
		weft_build_state(b, WEFT_CELL_BUCKET, b->hash, "http %s %s", b->resource, field);
	if (l->token_bucket) {
		out.flags |= WEFT_RATE_HAS_BUCKET;
		bucket_fill(b, l->token_bucket, weft_field(at, field, "token_bucket"), &out.bucket);
		out.bucket.cell = out.stats;
	}
	if (l->local_rate_limit_per_downstream_connection)
		out.flags |= WEFT_RATE_PER_CONNECTION;
	out.reply = weft_build_reply(b, &text);
	out.add = weft_build_headers(
		b, l->n_request_headers_to_add_when_not_enforced,
		l->request_headers_to_add_when_not_enforced,
		weft_field(at, field, "request_headers_to_add_when_not_enforced"));
	return weft_build_put(b, &out, sizeof(out));
}

uint32_t weft_build_conn_limit(struct weft_build *b, const network_limit *l, const char *field)
{
	static const char *const handled[] = {"stat_prefix", "token_bucket", "runtime_enabled",
					      "share_key", NULL};
	struct weft_img_bucket out = {0};

	weft_build_fields(b, &l->base, field, handled, NULL);
	if (l->runtime_enabled && !weft_bool(l->runtime_enabled->default_value, true))
		return 0;
	out.stat_prefix = weft_build_str(b, l->stat_prefix);
	bucket_fill(b, l->token_bucket, field, &out);
	/* share_key: one bucket for all filters of equal configuration with the key */
	if (l->share_key && *l->share_key)
		out.cell = weft_build_state(b, WEFT_CELL_BUCKET, out.cost, "shared %s %u",
					    l->share_key, out.max_tokens);
	else
		out.cell = weft_build_state(b, WEFT_CELL_BUCKET, b->hash, "network %s %s",
					    b->resource, field);
	return weft_build_put(b, &out, sizeof(out));
}

/* Any map entry: protobuf-c gives each map its own entry type of this one shape. */
typedef Envoy__Config__Route__V3__Route__TypedPerFilterConfigEntry map_entry;

static bool override_fill(struct weft_build *b, const Google__Protobuf__Any *any, const char *field,
			  bool optional, struct weft_img_override *ret);

/* FilterConfig: disabled, then its config is ignored; else it must have one. As Envoy, both. */
static bool wrapped_fill(struct weft_build *b, const Envoy__Config__Route__V3__FilterConfig *c,
			 const char *field, struct weft_img_override *ret)
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
	return override_fill(b, c->config, at, c->is_optional, ret);
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

/* true: the override has an effect. */
static bool override_fill(struct weft_build *b, const Google__Protobuf__Any *any, const char *field,
			  bool optional, struct weft_img_override *ret)
{
	ProtobufCMessage *msg = NULL;
	char *type = weft_any_type(any);
	bool effect = false;

	if (type && (known_empty(type) || (optional && !weft_any_descriptor(type)))) {
		weft_build_note(b, field, "filter without effect");
	} else if (type && strcmp(type, LOCAL_RATE_LIMIT) && strcmp(type, FILTER_CONFIG)) {
		weft_build_fail(b, field, "unsupported: %s", type);
	} else if (weft_any_unpack(any, b->resource, field, b->diag, &msg)) {
		b->err = b->err ? b->err : -EINVAL;
	} else if (type && !strcmp(type, FILTER_CONFIG)) {
		effect = wrapped_fill(b, (void *)msg, field, ret);
	} else {
		ret->kind = WEFT_FILTER_LOCAL_RATE_LIMIT;
		ret->config = weft_build_rate_limit(b, (void *)msg, field);
		effect = true;
	}
	if (msg)
		protobuf_c_message_free_unpacked(msg, NULL);
	free(type);
	return effect;
}

uint32_t weft_build_overrides(struct weft_build *b, size_t n, void *entries, const char *field,
			      uint32_t *ret_n)
{
	struct weft_img_override out[WEFT_FILTERS_MAX] = {0};
	map_entry **entry = entries;
	char at[WEFT_FIELD_MAX];
	uint32_t k = 0;

	*ret_n = 0;
	for (size_t i = 0; i < n; i++) {
		weft_field(at, field, "typed_per_filter_config[\"%s\"]", entry[i]->key);
		if (k == WEFT_FILTERS_MAX) {
			weft_build_fail(b, at, "more than %u filters", WEFT_FILTERS_MAX);
			return 0;
		}
		if (!entry[i]->value) {
			weft_build_fail(b, at, "missing");
			continue;
		}
		out[k] = (struct weft_img_override){.key = weft_filter_key(entry[i]->key)};
		if (override_fill(b, entry[i]->value, at, false, &out[k]))
			k++;
	}
	*ret_n = k;
	return k ? weft_build_put(b, out, k * sizeof(*out)) : 0;
}
