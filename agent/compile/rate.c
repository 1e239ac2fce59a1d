// SPDX-License-Identifier: Apache-2.0
/* rate_limits of routes, virtual hosts and filters, and the descriptors of a local rate limit. */
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/compile/limit.h"
#include "agent/compile/format.h"
#include "agent/compile/metadata.h"
#include "agent/compile/parts.h"
#include "agent/compile/rbac.h"
#include "bpf/abi/rate.h"
#include "bpf/engine/engine.h"

typedef Envoy__Config__Route__V3__RateLimit rate_limit;
typedef Envoy__Config__Route__V3__RateLimit__Action action;
typedef Envoy__Extensions__Common__Ratelimit__V3__LocalRateLimitDescriptor descriptor;

#define OVERRIDE(x) ENVOY__CONFIG__ROUTE__V3__RATE_LIMIT__OVERRIDE__OVERRIDE_SPECIFIER_##x
#define ACTION(x) ENVOY__CONFIG__ROUTE__V3__RATE_LIMIT__ACTION__ACTION_SPECIFIER_##x

/* Where rules stand: whose header names their conditions use. */
struct place {
	struct weft_build *b;
	struct weft_names_local *names;
};

/* Names that are interned for programs at most: those of conditions must find room, too. */
#define NAMES_FOR_RATES 40u

/* Where programs find a header, as weft_value + 1; 0: nowhere. */
static uint32_t seen_of(struct place *p, const char *lower, const char *field)
{
	if (!p->names || p->names->n >= NAMES_FOR_RATES || strlen(lower) >= WEFT_NAME_LEN_MAX)
		return 0;
	/* one that weft sets itself would make every request of the table the agent's */
	for (const char *const *own =
		     (const char *const[]){"x-forwarded-for", "x-forwarded-proto",
					   "x-forwarded-port", "x-request-id", "via", NULL};
	     *own; own++) {
		if (!strcmp(lower, *own))
			return 0;
	}
	if (!strncmp(lower, "x-envoy-", strlen("x-envoy-")))
		return 0;
	return weft_build_slot(p->b, lower, p->names, field) + 1u;
}

/* x-forwarded-for says who the client is, but not to an edge without trusted hops. */
static void client_fill(struct place *p, const char *field, struct weft_img_rate_action *ret)
{
	if (p->b->hcm_flags & WEFT_HCM_OWN_PROTO)
		return;
	if (p->b->hcm_flags & WEFT_HCM_USE_REMOTE_ADDRESS || !p->names ||
	    p->names->n >= NAMES_FOR_RATES)
		ret->flags |= WEFT_RATE_AGENT;
	else
		ret->seen = weft_build_slot(p->b, "x-forwarded-for", p->names, field) + 1u;
}

static void header_fill(struct place *p, const char *name, const char *field,
			struct weft_img_rate_action *ret)
{
	static const struct {
		const char *name;
		uint32_t slot;
	} pseudo[] = {{":method", WEFT_VALUE_METHOD},
		      {":path", WEFT_VALUE_PATH},
		      {":authority", WEFT_VALUE_HOST},
		      {"host", WEFT_VALUE_HOST},
		      {":scheme", WEFT_VALUE_SCHEME}};
	char lower[WEFT_NAME_LEN_MAX + 1] = "";

	for (size_t i = 0; i < WEFT_NAME_LEN_MAX && name[i]; i++)
		lower[i] = (char)tolower((unsigned char)name[i]);
	for (size_t i = 0; i < sizeof(pseudo) / sizeof(*pseudo); i++) {
		if (!strcmp(lower, pseudo[i].name))
			ret->slot = pseudo[i].slot + 1;
	}
	ret->name = weft_build_str(p->b, lower);
	ret->seen = ret->slot ? ret->slot : seen_of(p, lower, field);
	if (!ret->seen)
		ret->flags |= WEFT_RATE_AGENT;
}

/* The parameter's name, for programs, which look for it as it is written. */
static void query_fill(struct place *p, const char *name, struct weft_img_rate_action *ret)
{
	struct weft_img_cond cond = {.kind = WEFT_COND_PRESENT, .from = WEFT_FROM_QUERY};

	ret->name = weft_build_str(p->b, name);
	cond.name = ret->name.off;
	cond.name_len = ret->name.len;
	ret->list = weft_build_put(p->b, &cond, sizeof(cond));
	if (!*name || strpbrk(name, "%=&"))
		ret->flags |= WEFT_RATE_AGENT;
}

static void headers_fill(struct place *p,
			 const Envoy__Config__Route__V3__RateLimit__Action__HeaderValueMatch *m,
			 const char *field, struct weft_img_rate_action *ret)
{
	struct weft_img_cond *cond = calloc(m->n_headers + 1, sizeof(*cond));
	char at[WEFT_FIELD_MAX];

	if (!cond) {
		p->b->err = p->b->err ? p->b->err : -ENOMEM;
		return;
	}
	for (size_t i = 0; i < m->n_headers; i++)
		weft_build_header_cond(p->b, m->headers[i], p->names,
				       weft_field(at, field, "headers[%zu]", i), &cond[i]);
	ret->n = (uint32_t)m->n_headers;
	ret->list = weft_build_put(p->b, cond, (m->n_headers + 1) * sizeof(*cond));
	free(cond);
}

static void
queries_fill(struct place *p,
	     const Envoy__Config__Route__V3__RateLimit__Action__QueryParameterValueMatch *m,
	     const char *field, struct weft_img_rate_action *ret)
{
	struct weft_img_cond *cond = calloc(m->n_query_parameters + 1, sizeof(*cond));
	char at[WEFT_FIELD_MAX];

	if (!cond) {
		p->b->err = p->b->err ? p->b->err : -ENOMEM;
		return;
	}
	for (size_t i = 0; i < m->n_query_parameters; i++) {
		weft_build_query_cond(p->b, m->query_parameters[i],
				      weft_field(at, field, "query_parameters[%zu]", i), &cond[i]);
		if (strpbrk(m->query_parameters[i]->name, "%=&"))
			ret->flags |= WEFT_RATE_AGENT;
	}
	ret->n = (uint32_t)m->n_query_parameters;
	ret->list = weft_build_put(p->b, cond, (m->n_query_parameters + 1) * sizeof(*cond));
	free(cond);
}

static uint32_t bits(const Google__Protobuf__UInt32Value *v, uint32_t max)
{
	uint32_t n = weft_u32(v, max);

	return n < max ? n : max;
}

static void ranges_fill(struct place *p,
			const Envoy__Config__Route__V3__RateLimit__Action__RemoteAddressMatch *m,
			const char *field, struct weft_img_rate_action *ret)
{
	const Envoy__Type__Matcher__V3__AddressMatcher *a = m->address_matcher;
	struct weft_img_test *t = calloc(a->n_ranges + 1, sizeof(*t));
	char at[WEFT_FIELD_MAX];

	if (!t) {
		p->b->err = p->b->err ? p->b->err : -ENOMEM;
		return;
	}
	for (size_t i = 0; i < a->n_ranges; i++) {
		t[i].kind = WEFT_TEST_SOURCE;
		weft_build_range(p->b, a->ranges[i]->address_prefix,
				 weft_u32(a->ranges[i]->prefix_len, 0),
				 weft_field(at, field, "address_matcher.ranges[%zu]", i), &t[i]);
	}
	ret->n = (uint32_t)a->n_ranges;
	ret->list = weft_build_put(p->b, t, (a->n_ranges + 1) * sizeof(*t));
	ret->flags = a->invert_match ? 0 : WEFT_RATE_EXPECT;
	free(t);
}

/* Kind, key and value; text: of an entry that is there where its conditions hold. */
static void text_fill(struct place *p, uint32_t kind, const char *key, const char *other,
		      const char *value, struct weft_img_rate_action *ret)
{
	key = *key ? key : other;
	ret->kind = kind;
	ret->key = weft_build_str(p->b, key);
	ret->value = weft_build_str(p->b, value);
	ret->key_hash = weft_hash_rate(key, (uint32_t)strlen(key));
	ret->value_hash = weft_hash_rate(value, (uint32_t)strlen(value));
}

/* weft_img_rate_path of a MetadataKey. */
static uint32_t path_put(struct weft_build *b, const Envoy__Type__Metadata__V3__MetadataKey *k,
			 const char *field)
{
	struct weft_img_str *keys = calloc(k->n_path + 1, sizeof(*keys));
	struct weft_img_rate_path out = {.name = weft_build_str(b, k->key),
					 .n = (uint32_t)k->n_path};
	char at[WEFT_FIELD_MAX];

	if (!keys) {
		b->err = b->err ? b->err : -ENOMEM;
		return 0;
	}
	for (size_t i = 0; i < k->n_path; i++) {
		weft_build_fields(b, &k->path[i]->base, weft_field(at, field, "path[%zu]", i));
		keys[i] = weft_build_str(b, k->path[i]->key ? k->path[i]->key : "");
	}
	out.key = weft_build_put(b, keys, (k->n_path + 1) * sizeof(*keys));
	free(keys);
	return weft_build_put(b, &out, sizeof(out));
}

/* What a rate limit service's answer has set; else the default value is the entry, or there is
 * none. */
static void metadata_fill(struct place *p, const char *key,
			  const Envoy__Type__Metadata__V3__MetadataKey *path, const char *value,
			  bool skip, const char *field, struct weft_img_rate_action *ret)
{
	char at[WEFT_FIELD_MAX];

	text_fill(p, WEFT_RATE_METADATA, key, "", value, ret);
	ret->flags = skip ? WEFT_RATE_SKIP : 0;
	ret->list = path_put(p->b, path, weft_field(at, field, "metadata_key"));
}

/* Of the route: known with the request. */
static void route_metadata_fill(struct place *p,
				const Envoy__Config__Route__V3__RateLimit__Action__MetaData *m,
				const char *field, struct weft_img_rate_action *ret)
{
	struct weft_img_metadata_path path;
	char at[WEFT_FIELD_MAX];

	path = weft_build_metadata_key(p->b, m->metadata_key,
				       weft_field(at, field, "metadata_key"));
	text_fill(p, WEFT_RATE_ROUTE_METADATA, m->descriptor_key, "", m->default_value, ret);
	ret->flags = WEFT_RATE_AGENT | (m->skip_if_absent ? WEFT_RATE_SKIP : 0);
	ret->list = weft_build_put(p->b, &path, sizeof(path));
}

static void matched_fill(struct place *p, const action *a, const char *field,
			 struct weft_img_rate_action *ret)
{
	char at[WEFT_FIELD_MAX];

	if (a->action_specifier_case == ACTION(HEADER_VALUE_MATCH)) {
		weft_build_fields(p->b, &a->header_value_match->base,
				  weft_field(at, field, "header_value_match"));
		text_fill(p, WEFT_RATE_HEADERS_MATCH, a->header_value_match->descriptor_key,
			  "header_match", a->header_value_match->descriptor_value, ret);
		ret->flags =
			weft_bool(a->header_value_match->expect_match, true) ? WEFT_RATE_EXPECT : 0;
		headers_fill(p, a->header_value_match, at, ret);
	} else if (a->action_specifier_case == ACTION(QUERY_PARAMETER_VALUE_MATCH)) {
		weft_build_fields(p->b, &a->query_parameter_value_match->base,
				  weft_field(at, field, "query_parameter_value_match"));
		text_fill(p, WEFT_RATE_QUERY_MATCH, a->query_parameter_value_match->descriptor_key,
			  "query_match", a->query_parameter_value_match->descriptor_value, ret);
		ret->flags = weft_bool(a->query_parameter_value_match->expect_match, true)
				     ? WEFT_RATE_EXPECT
				     : 0;
		queries_fill(p, a->query_parameter_value_match, at, ret);
	} else {
		weft_build_fields(p->b, &a->remote_address_match->base,
				  weft_field(at, field, "remote_address_match"));
		text_fill(p, WEFT_RATE_ADDRESS_MATCH, a->remote_address_match->descriptor_key,
			  "remote_address_match", a->remote_address_match->descriptor_value, ret);
		ranges_fill(p, a->remote_address_match, at, ret);
		client_fill(p, field, ret);
	}
	if (ret->n > WEFT_RATE_CONDS_MAX)
		ret->flags |= WEFT_RATE_AGENT;
}

static void action_fill(struct place *p, const action *a, const char *field,
			struct weft_img_rate_action *ret)
{
	char at[WEFT_FIELD_MAX];

	weft_build_fields(p->b, &a->base, field);
	switch (a->action_specifier_case) {
	case ACTION(DESTINATION_CLUSTER):
		text_fill(p, WEFT_RATE_DESTINATION_CLUSTER, "destination_cluster", "", "", ret);
		break;
	case ACTION(REQUEST_HEADERS):
		text_fill(p, WEFT_RATE_HEADER, a->request_headers->descriptor_key, "", "", ret);
		ret->flags = a->request_headers->skip_if_absent ? WEFT_RATE_SKIP : 0;
		header_fill(p, a->request_headers->header_name, field, ret);
		break;
	case ACTION(QUERY_PARAMETERS):
		text_fill(p, WEFT_RATE_QUERY, a->query_parameters->descriptor_key, "", "", ret);
		ret->flags = a->query_parameters->skip_if_absent ? WEFT_RATE_SKIP : 0;
		query_fill(p, a->query_parameters->query_parameter_name, ret);
		break;
	case ACTION(REMOTE_ADDRESS):
		text_fill(p, WEFT_RATE_REMOTE_ADDRESS, "remote_address", "", "", ret);
		client_fill(p, field, ret);
		break;
	case ACTION(MASKED_REMOTE_ADDRESS):
		text_fill(p, WEFT_RATE_MASKED_ADDRESS, "masked_remote_address", "", "", ret);
		ret->v4_bits = bits(a->masked_remote_address->v4_prefix_mask_len, 32);
		ret->v6_bits = bits(a->masked_remote_address->v6_prefix_mask_len, 128);
		client_fill(p, field, ret);
		break;
	case ACTION(GENERIC_KEY):
		weft_build_fields(p->b, &a->generic_key->base,
				  weft_field(at, field, "generic_key"));
		text_fill(p, WEFT_RATE_GENERIC_KEY, a->generic_key->descriptor_key, "generic_key",
			  a->generic_key->descriptor_value, ret);
		break;
	case ACTION(DYNAMIC_METADATA):
		metadata_fill(p, a->dynamic_metadata->descriptor_key,
			      a->dynamic_metadata->metadata_key, a->dynamic_metadata->default_value,
			      false, weft_field(at, field, "dynamic_metadata"), ret);
		break;
	case ACTION(METADATA):
		weft_field(at, field, "metadata");
		if (a->metadata->source ==
		    ENVOY__CONFIG__ROUTE__V3__RATE_LIMIT__ACTION__META_DATA__SOURCE__DYNAMIC)
			metadata_fill(p, a->metadata->descriptor_key, a->metadata->metadata_key,
				      a->metadata->default_value, a->metadata->skip_if_absent, at,
				      ret);
		else
			route_metadata_fill(p, a->metadata, at, ret);
		break;
	case ACTION(SOURCE_CLUSTER):
		text_fill(p, WEFT_RATE_GENERIC_KEY, "source_cluster", "", p->b->node_cluster, ret);
		break;
	case ACTION(HEADER_VALUE_MATCH):
	case ACTION(QUERY_PARAMETER_VALUE_MATCH):
	case ACTION(REMOTE_ADDRESS_MATCH):
		matched_fill(p, a, field, ret);
		break;
	default: /* refused by weft_build_fields() */
		break;
	}
}

static uint32_t tell_of(const rate_limit *r)
{
	switch (r->x_ratelimit_option) {
	case ENVOY__CONFIG__ROUTE__V3__RATE_LIMIT__XRATE_LIMIT_OPTION__OFF:
		return WEFT_RATE_TELL_OFF;
	case ENVOY__CONFIG__ROUTE__V3__RATE_LIMIT__XRATE_LIMIT_OPTION__DRAFT_VERSION_03:
		return WEFT_RATE_TELL_ON;
	default:
		return WEFT_RATE_TELL_DEFAULT;
	}
}

/* Of routes and virtual hosts: the limit that a global one's service is to keep. */
static void limit_fill(struct place *p, const Envoy__Config__Route__V3__RateLimit__Override *o,
		       const char *field, struct weft_img_rate_rule *ret)
{
	char at[WEFT_FIELD_MAX];

	weft_build_fields(p->b, &o->base, field);
	if (o->override_specifier_case == OVERRIDE(RATE_LIMIT)) {
		weft_build_fields(p->b, &o->rate_limit->base, weft_field(at, field, "rate_limit"));
		ret->flags |= WEFT_RULE_LIMIT;
		ret->requests = o->rate_limit->requests_per_unit;
		ret->unit = (uint32_t)o->rate_limit->unit;
	}
	if (o->override_specifier_case != OVERRIDE(DYNAMIC_METADATA))
		return;
	weft_build_fields(p->b, &o->dynamic_metadata->base,
			  weft_field(at, field, "dynamic_metadata"));
	ret->limit = path_put(p->b, o->dynamic_metadata->metadata_key,
			      weft_field(at, field, "dynamic_metadata.metadata_key"));
}

/* weft_img_piece: one command that the request's head answers, or that has no answer yet. */
static uint32_t hits_build(struct place *p, const char *format, const char *field)
{
	struct weft_img_header h = {0};
	struct weft_img_piece one = {.kind = WEFT_PIECE_TEXT, .max = WEFT_PIECE_WHOLE};
	enum weft_format_whole whole;

	whole = weft_build_format_body(p->b, format, false, NULL, field, &h);
	if (p->b->err)
		return 0;
	if (whole == WEFT_FORMAT_MIXED) {
		weft_build_fail(p->b, field, "must contain exactly one substitution");
		return 0;
	}
	if (h.n_piece)
		one = *(const struct weft_img_piece *)weft_store_at(p->b->store, h.piece);
	else
		one.a = h.value;
	switch (one.kind) {
	case WEFT_PIECE_TEXT:
	case WEFT_PIECE_REQ:
	case WEFT_PIECE_RESP:
	case WEFT_PIECE_QUERY_PARAM:
	case WEFT_PIECE_ROUTE_NAME:
	case WEFT_PIECE_RESPONSE_CODE:
	case WEFT_PIECE_ATTEMPT_COUNT:
	case WEFT_PIECE_PROTOCOL:
	case WEFT_PIECE_PATH:
		break;
	case WEFT_PIECE_LOCAL:
		if (one.flags & WEFT_PIECE_ONLY_PORT)
			break;
		/* fall through */
	default:
		weft_build_fail(p->b, field, "unsupported: %s", format);
	}
	return weft_build_put(p->b, &one, sizeof(one));
}

/* own: of the filter; those of routes take one token whatever they say (Envoy 1.40). */
static void rule_fill(struct place *p, const rate_limit *r, const char *field, bool own,
		      struct weft_img_rate_rule *ret)
{
	struct weft_img_rate_action list[WEFT_RATE_ACTIONS_MAX] = {0};
	char at[WEFT_FIELD_MAX];

	weft_build_fields(p->b, &r->base, field);
	if (r->n_actions > WEFT_RATE_ACTIONS_MAX) {
		weft_build_fail(p->b, weft_field(at, field, "actions"), "more than %u",
				WEFT_RATE_ACTIONS_MAX);
		return;
	}
	for (size_t i = 0; i < r->n_actions; i++)
		action_fill(p, r->actions[i], weft_field(at, field, "actions[%zu]", i), &list[i]);
	ret->stage = weft_u32(r->stage, 0);
	ret->tell = tell_of(r);
	ret->n_action = (uint32_t)r->n_actions;
	if (own && r->hits_addend && *r->hits_addend->format)
		list[0].flags |= WEFT_RATE_AGENT;
	ret->action = weft_build_put(p->b, list, r->n_actions * sizeof(*list));
	ret->hits = 1;
	ret->stage |= *r->disable_key ? WEFT_STAGE_KEY : 0;
	ret->flags = r->apply_on_stream_done ? WEFT_RULE_DONE : 0;
	if (r->limit)
		limit_fill(p, r->limit, weft_field(at, field, "limit"), ret);
	if (own && r->hits_addend) {
		weft_build_fields(p->b, &r->hits_addend->base,
				  weft_field(at, field, "hits_addend"));
		ret->flags |= r->hits_addend->number ? WEFT_RULE_HITS : 0;
		if (r->hits_addend->number)
			ret->hits = r->hits_addend->number->value;
		if (*r->hits_addend->format)
			ret->format = hits_build(p, r->hits_addend->format,
						 weft_field(at, field, "hits_addend.format"));
	}
}

struct weft_img_rate_rules weft_build_rate_rules(struct weft_build *b, size_t n,
						 rate_limit *const *list, bool own,
						 struct weft_names_local *names, const char *field)
{
	struct weft_img_rate_rule rules[WEFT_RATE_RULES_MAX] = {0};
	struct place p = {.b = b, .names = names};
	struct weft_img_rate_rules out = {0};
	char at[WEFT_FIELD_MAX];

	if (n > WEFT_RATE_RULES_MAX) {
		weft_build_fail(b, weft_field(at, field, "rate_limits"), "more than %u",
				WEFT_RATE_RULES_MAX);
		return out;
	}
	for (size_t i = 0; i < n; i++)
		rule_fill(&p, list[i], weft_field(at, field, "rate_limits[%zu]", i), own,
			  &rules[out.n++]);
	if (out.n)
		out.rule = weft_build_put(b, rules, out.n * sizeof(*rules));
	return out;
}
