// SPDX-License-Identifier: Apache-2.0
#include "agent/compile/limit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/compile/reply.h"
#include "envoy/config/core/v3/base.pb-c.h"
#include "bpf/abi/rate.h"

typedef Envoy__Extensions__Filters__Http__LocalRatelimit__V3__LocalRateLimit http_limit;
typedef Envoy__Extensions__Filters__Network__LocalRatelimit__V3__LocalRateLimit network_limit;

uint32_t weft_ppm(const Envoy__Config__Core__V3__RuntimeFractionalPercent *p)
{
	static const uint32_t scale[] = {10000, 100, 1};
	uint64_t n;

	if (!p || !p->default_value)
		return 0;
	n = (uint64_t)p->default_value->numerator * scale[p->default_value->denominator];
	return n > WEFT_PPM_ALL ? WEFT_PPM_ALL : (uint32_t)n;
}

/* Cost of a token in 1/16 ns, rounded to nearest: weft_img_bucket. */
void weft_build_bucket(struct weft_build *b, const Envoy__Type__V3__TokenBucket *t,
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

static void descriptors_fill(struct weft_build *b, const http_limit *l, const char *field,
			     struct weft_img_rate_limit *ret)
{
	char at[WEFT_FIELD_MAX];

	if (l->enable_x_ratelimit_headers)
		ret->flags |= WEFT_RATE_HEADERS;
	if (!weft_bool(l->always_consume_default_token_bucket, true))
		ret->flags |= WEFT_RATE_SPARE;
	ret->stage = l->stage;
	ret->vhost_rules = l->vh_rate_limits;
	ret->max_dynamic = weft_u32(l->max_dynamic_descriptors, 20);
	if (ret->max_dynamic > WEFT_RATE_DYNAMIC_MAX)
		weft_build_fail(b, weft_field(at, field, "max_dynamic_descriptors"), "above %u",
				WEFT_RATE_DYNAMIC_MAX);
	if (l->n_descriptors && l->local_rate_limit_per_downstream_connection)
		weft_build_fail(b,
				weft_field(at, field, "local_rate_limit_per_downstream_connection"),
				"unsupported with descriptors");
	weft_build_rate_descriptors(b, l->n_descriptors, l->descriptors, field, ret);
	if (l->n_rate_limits) {
		ret->flags |= WEFT_RATE_OWN_RULES;
		ret->own = weft_build_rate_rules(b, l->n_rate_limits, l->rate_limits, true,
						 b->names, field);
		for (size_t i = 0; i < l->n_rate_limits; i++) {
			if (l->rate_limits[i]->apply_on_stream_done)
				weft_build_fail(b,
						weft_field(at, field,
							   "rate_limits[%zu].apply_on_stream_done",
							   i),
						"unsupported");
		}
	}
}

uint32_t weft_build_rate_limit(struct weft_build *b, const http_limit *l, const char *field)
{
	static const char body[] = "local_rate_limited";
	struct weft_img_rate_limit out = {.enabled = weft_ppm(l->filter_enabled),
					  .enforced = weft_ppm(l->filter_enforced)};
	char at[WEFT_FIELD_MAX];
	struct weft_reply_text text = {.status = l->status ? (uint32_t)l->status->code : 429,
				       .body = body,
				       .body_len = sizeof(body) - 1,
				       .details = "local_rate_limited",
				       .n_add = l->n_response_headers_to_add,
				       .add = l->response_headers_to_add};
	char add_field[WEFT_FIELD_MAX];

	weft_build_fields(b, &l->base, field);
	if (l->rate_limited_as_resource_exhausted)
		out.flags |= WEFT_RATE_EXHAUSTED;
	text.add_field = weft_field(add_field, field, "response_headers_to_add");
	if (text.status < 400)
		text.status = 429;
	out.bucket.stat_prefix = weft_build_str(b, l->stat_prefix);
	out.stats =
		weft_build_state(b, WEFT_CELL_BUCKET, b->hash, "http %s %s", b->resource, field);
	if (l->token_bucket) {
		out.flags |= WEFT_RATE_HAS_BUCKET;
		weft_build_bucket(b, l->token_bucket, weft_field(at, field, "token_bucket"),
				  &out.bucket);
		out.bucket.cell = out.stats;
	}
	if (l->local_rate_limit_per_downstream_connection)
		out.flags |= WEFT_RATE_PER_CONNECTION;
	descriptors_fill(b, l, field, &out);
	out.reply = weft_build_reply(b, &text);
	out.add = weft_build_headers(
		b, l->n_request_headers_to_add_when_not_enforced,
		l->request_headers_to_add_when_not_enforced,
		weft_field(at, field, "request_headers_to_add_when_not_enforced"));
	return weft_build_put(b, &out, sizeof(out));
}

uint32_t weft_build_conn_limit(struct weft_build *b, const network_limit *l, const char *field)
{
	struct weft_img_bucket out = {0};

	weft_build_fields(b, &l->base, field);
	if (l->runtime_enabled && !weft_bool(l->runtime_enabled->default_value, true))
		return 0;
	out.stat_prefix = weft_build_str(b, l->stat_prefix);
	weft_build_bucket(b, l->token_bucket, field, &out);
	/* share_key: one bucket for all filters of equal configuration with the key */
	if (l->share_key && *l->share_key)
		out.cell = weft_build_state(b, WEFT_CELL_BUCKET, out.cost, "shared %s %u",
					    l->share_key, out.max_tokens);
	else
		out.cell = weft_build_state(b, WEFT_CELL_BUCKET, b->hash, "network %s %s",
					    b->resource, field);
	return weft_build_put(b, &out, sizeof(out));
}
