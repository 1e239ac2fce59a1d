// SPDX-License-Identifier: Apache-2.0
/* RouteAction and RedirectAction. */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/compile/format.h"
#include "agent/compile/filter.h"
#include "agent/compile/limit.h"
#include "agent/compile/parts.h"
#include "agent/compile/reply.h"
#include "agent/compile/subset.h"
#include "bpf/engine/engine.h"
#include "xds/any.h"

typedef Envoy__Config__Route__V3__RouteAction route_action;
typedef Envoy__Config__Route__V3__RetryPolicy retry_policy;
typedef Envoy__Config__Route__V3__WeightedCluster weighted_cluster;

/* ---- clusters ---- */

/* By name, or by the request header that names it. */
static void target_cluster(struct weft_build *b, const char *name, const char *header,
			   const struct weft_route_scope *scope, const char *field,
			   struct weft_img_target *ret)
{
	char at[WEFT_FIELD_MAX];

	if (!header || !*header) {
		ret->name = weft_build_str(b, name);
		ret->cluster = weft_build_cluster_id(b, name);
		return;
	}
	/* number 0 is nobody's: none is found, unless a request names one */
	ret->slot = 1u + weft_build_slot(b, header, scope->headers,
					 weft_field(at, field, "cluster_header"));
}

/* What the levels do to headers on the way to this target and back. */
static void target_changes(struct weft_build *b, const struct weft_route_scope *scope,
			   const struct weft_img_change own[2], struct weft_img_target *ret)
{
	ret->request = weft_build_changes(b, &scope->changes, false, own);
	ret->response = weft_build_response(b, &scope->changes, own ? own + 1 : NULL);
}

static void weight_fill(struct weft_build *b,
			const Envoy__Config__Route__V3__WeightedCluster__ClusterWeight *w,
			const struct weft_route_scope *scope, const route_action *a, const char *field,
			struct weft_img_target *ret)
{
	const struct weft_change_lists lists[2] = {
		{.n_add = w->n_request_headers_to_add,
		 .add = w->request_headers_to_add,
		 .n_remove = w->n_request_headers_to_remove,
		 .remove = w->request_headers_to_remove},
		{.n_add = w->n_response_headers_to_add,
		 .add = w->response_headers_to_add,
		 .n_remove = w->n_response_headers_to_remove,
		 .remove = w->response_headers_to_remove,
		 .response = true}};
	struct weft_img_change own[2];

	weft_build_fields(b, &w->base, field);
	target_cluster(b, w->name, w->cluster_header, scope, field, ret);
	for (int i = 0; i < 2; i++)
		own[i] = weft_build_change(b, WEFT_LEVEL_CLUSTER, &lists[i], field);
	target_changes(b, scope, own, ret);
	if (w->host_rewrite_specifier_case ==
	    ENVOY__CONFIG__ROUTE__V3__WEIGHTED_CLUSTER__CLUSTER_WEIGHT__HOST_REWRITE_SPECIFIER_HOST_REWRITE_LITERAL)
		ret->host = weft_build_str(b, w->host_rewrite_literal);
	ret->criteria = weft_build_criteria(b, a->metadata_match, w->metadata_match, field);
	ret->weight = weft_u32(w->weight, 0);
	ret->override =
		weft_build_overrides(b, WEFT_LEVEL_CLUSTER, w->n_typed_per_filter_config,
				     w->typed_per_filter_config, NULL, field, &ret->n_override);
}

/* Without a policy nothing is found: then by a random number. */
static bool by_hash(const route_action *a)
{
	const weighted_cluster *w =
		a->cluster_specifier_case ==
				ENVOY__CONFIG__ROUTE__V3__ROUTE_ACTION__CLUSTER_SPECIFIER_WEIGHTED_CLUSTERS
			? a->weighted_clusters
			: NULL;

	return w && a->n_hash_policy && w->use_hash_policy &&
	       w->random_value_specifier_case ==
		       ENVOY__CONFIG__ROUTE__V3__WEIGHTED_CLUSTER__RANDOM_VALUE_SPECIFIER_USE_HASH_POLICY &&
	       w->use_hash_policy->value;
}

static uint32_t weighted_build(struct weft_build *b, const route_action *a,
			       const struct weft_route_scope *scope, const char *field)
{
	const weighted_cluster *w = a->weighted_clusters;
	/* total_weight is ignored by Envoy; runtime_key_prefix acts only with a runtime that has
	 * such keys */
	struct {
		struct weft_img_targets head;
		struct weft_img_target target[WEFT_TARGETS_MAX];
	} out = {0};
	char at[WEFT_FIELD_MAX];

	weft_build_fields(b, &w->base, field);
	if (w->n_clusters > WEFT_TARGETS_MAX) {
		weft_build_fail(b, weft_field(at, field, "clusters"), "more than %u",
				WEFT_TARGETS_MAX);
		return 0;
	}
	for (size_t i = 0; i < w->n_clusters; i++) {
		weight_fill(b, w->clusters[i], scope, a, weft_field(at, field, "clusters[%zu]", i),
			    &out.target[i]);
		out.head.total += out.target[i].weight;
		out.target[i].end = out.head.total;
		out.head.n++;
	}
	for (uint32_t i = 0; by_hash(a) && i < out.head.n; i++) {
		if (!out.target[i].slot)
			out.target[i].slot = WEFT_SLOT_HASHED;
	}
	if (w->random_value_specifier_case ==
		    ENVOY__CONFIG__ROUTE__V3__WEIGHTED_CLUSTER__RANDOM_VALUE_SPECIFIER_HEADER_NAME &&
	    *w->header_name)
		out.head.slot = 1u + weft_build_slot(b, w->header_name, scope->headers,
						     weft_field(at, field, "header_name"));
	return weft_build_put(b, &out, sizeof(out.head) + out.head.n * sizeof(*out.target));
}

static uint32_t targets_build(struct weft_build *b, const route_action *a,
			      const struct weft_route_scope *scope, const char *field)
{
	struct {
		struct weft_img_targets head;
		struct weft_img_target target;
	} one = {.head = {.n = 1, .total = 1}, .target = {.weight = 1, .end = 1}};
	char at[WEFT_FIELD_MAX];

	switch (a->cluster_specifier_case) {
	case ENVOY__CONFIG__ROUTE__V3__ROUTE_ACTION__CLUSTER_SPECIFIER_CLUSTER:
	case ENVOY__CONFIG__ROUTE__V3__ROUTE_ACTION__CLUSTER_SPECIFIER_CLUSTER_HEADER:
		if (a->cluster_specifier_case ==
		    ENVOY__CONFIG__ROUTE__V3__ROUTE_ACTION__CLUSTER_SPECIFIER_CLUSTER)
			target_cluster(b, a->cluster, NULL, scope, field, &one.target);
		else
			target_cluster(b, "", a->cluster_header, scope, field, &one.target);
		target_changes(b, scope, NULL, &one.target);
		one.target.criteria = weft_build_criteria(b, NULL, a->metadata_match, field);
		return weft_build_put(b, &one, sizeof(one));
	case ENVOY__CONFIG__ROUTE__V3__ROUTE_ACTION__CLUSTER_SPECIFIER_WEIGHTED_CLUSTERS:
		return weighted_build(b, a, scope,
				      weft_field(at, field, "weighted_clusters"));
	default:
		return 0; /* refused by weft_build_fields() */
	}
}

/* ---- retries ---- */

/* RetryPolicy.retry_on has both kinds of words; Envoy ignores those it does not know. */
static uint32_t retry_on(const char *text)
{
	uint32_t len = (uint32_t)strlen(text);

	return weft_retry_on(text, len, false, NULL) | weft_retry_on(text, len, true, NULL);
}

static void predicates_fill(struct weft_build *b, const retry_policy *p, const char *field,
			    struct weft_img_forward *ret)
{
	char at[WEFT_FIELD_MAX];

	for (size_t i = 0; i < p->n_retry_host_predicate; i++) {
		const char *name = p->retry_host_predicate[i]->name;

		if (!strcmp(name, "envoy.retry_host_predicates.previous_hosts"))
			ret->retry_previous_hosts = 1;
		else
			weft_build_fail(b, weft_field(at, field, "retry_host_predicate[%zu]", i),
					"unsupported: %s", name);
	}
}

/* When the endpoint says that it may be tried again. */
static void reset_fill(struct weft_build *b, const retry_policy *p, const char *field,
		       struct weft_img_forward *ret)
{
	const Envoy__Config__Route__V3__RetryPolicy__RateLimitedRetryBackOff *r =
		p->rate_limited_retry_back_off;
	struct weft_img_reset *list = r ? calloc(r->n_reset_headers, sizeof(*list)) : NULL;
	char at[WEFT_FIELD_MAX];

	if (!r)
		return;
	if (!list) {
		b->err = b->err ? b->err : -ENOMEM;
		return;
	}
	weft_build_fields(b, &r->base, field);
	ret->reset_max_ms =
		weft_build_ms(b, r->max_interval, 300000, weft_field(at, field, "max_interval"));
	for (size_t i = 0; i < r->n_reset_headers; i++) {
		char *name = strdup(r->reset_headers[i]->name);

		weft_build_fields(b, &r->reset_headers[i]->base,
				  weft_field(at, field, "reset_headers[%zu]", i));
		for (char *c = name; c && *c; c++)
			*c = (char)tolower((unsigned char)*c);
		if (name)
			list[i].name = weft_build_str(b, name);
		else
			b->err = b->err ? b->err : -ENOMEM;
		list[i].unix_time =
			r->reset_headers[i]->format ==
			ENVOY__CONFIG__ROUTE__V3__RETRY_POLICY__RESET_HEADER_FORMAT__UNIX_TIMESTAMP;
		free(name);
	}
	ret->n_reset = (uint32_t)r->n_reset_headers;
	ret->reset = weft_build_put(b, list, ret->n_reset * sizeof(*list));
	free(list);
}

static void retry_fill(struct weft_build *b, const retry_policy *p, const char *field,
		       struct weft_img_forward *ret)
{
	char at[WEFT_FIELD_MAX];

	weft_build_fields(b, &p->base, field);
	ret->flags |= WEFT_FORWARD_HAS_RETRY;
	ret->retry_on = retry_on(p->retry_on);
	ret->num_retries = weft_u32(p->num_retries, 1);
	ret->per_try_ms =
		weft_build_ms(b, p->per_try_timeout, 0, weft_field(at, field, "per_try_timeout"));
	ret->per_try_idle_ms = weft_build_ms(b, p->per_try_idle_timeout, 0,
					     weft_field(at, field, "per_try_idle_timeout"));
	ret->host_attempts = p->host_selection_retry_max_attempts > 0
				     ? (uint32_t)p->host_selection_retry_max_attempts
				     : 1;
	predicates_fill(b, p, field, ret);
	ret->backoff_base_ms = 25;
	if (p->retry_back_off)
		ret->backoff_base_ms =
			weft_build_ms(b, p->retry_back_off->base_interval, 25,
				      weft_field(at, field, "retry_back_off.base_interval"));
	ret->backoff_max_ms = ret->backoff_base_ms * 10;
	if (p->retry_back_off)
		ret->backoff_max_ms =
			weft_build_ms(b, p->retry_back_off->max_interval, ret->backoff_base_ms * 10,
				      weft_field(at, field, "retry_back_off.max_interval"));
	reset_fill(b, p, weft_field(at, field, "rate_limited_retry_back_off"), ret);
	ret->retry_headers = weft_build_matchers(b, p->n_retriable_headers, p->retriable_headers,
						 weft_field(at, field, "retriable_headers"));
	ret->retry_requests =
		weft_build_matchers(b, p->n_retriable_request_headers, p->retriable_request_headers,
				    weft_field(at, field, "retriable_request_headers"));
	ret->n_retry_status = (uint32_t)p->n_retriable_status_codes;
	if (ret->n_retry_status)
		ret->retry_status = weft_build_put(b, p->retriable_status_codes,
						   ret->n_retry_status * sizeof(uint32_t));
}

/* ---- the rest ---- */

static void upgrades_fill(struct weft_build *b, const route_action *a, const char *field,
			  struct weft_img_forward *ret)
{
	struct weft_img_upgrade *list = calloc(a->n_upgrade_configs + 1, sizeof(*list));
	char at[WEFT_FIELD_MAX];

	if (!list) {
		b->err = b->err ? b->err : -ENOMEM;
		return;
	}
	for (size_t i = 0; i < a->n_upgrade_configs; i++) {
		char *type = strdup(a->upgrade_configs[i]->upgrade_type);

		if (a->upgrade_configs[i]->connect_config)
			weft_build_fail(
				b, weft_field(at, field, "upgrade_configs[%zu].connect_config", i),
				"unsupported");
		for (char *p = type; p && *p; p++)
			*p = (char)tolower((unsigned char)*p);
		if (type && (!strcmp(type, "connect") || !strcmp(type, "connect-udp")))
			weft_build_fail(
				b, weft_field(at, field, "upgrade_configs[%zu].upgrade_type", i),
				"unsupported: %s", a->upgrade_configs[i]->upgrade_type);
		if (type) {
			list[i].type = weft_build_str(b, type);
			list[i].enabled = weft_bool(a->upgrade_configs[i]->enabled, true);
		}
		free(type);
	}
	ret->n_upgrade = (uint32_t)a->n_upgrade_configs;
	if (ret->n_upgrade) {
		ret->flags |= WEFT_FORWARD_UPGRADE_SET;
		ret->upgrade = weft_build_put(b, list, ret->n_upgrade * sizeof(*list));
	}
	free(list);
}

/* max_stream_duration acts on every request only by its first field; the others need grpc-timeout.
 */
static void duration_check(struct weft_build *b, const route_action *a, const char *field)
{
	char at[WEFT_FIELD_MAX];

	if (a->max_stream_duration && a->max_stream_duration->max_stream_duration &&
	    (a->max_stream_duration->max_stream_duration->seconds ||
	     a->max_stream_duration->max_stream_duration->nanos))
		weft_build_fail(b, weft_field(at, field, "max_stream_duration.max_stream_duration"),
				"unsupported");
	else if (a->max_stream_duration)
		weft_build_note(b, weft_field(at, field, "max_stream_duration"),
				"acts on gRPC deadlines only, which are passed on as they are");
	if (a->max_grpc_timeout)
		weft_build_note(b, weft_field(at, field, "max_grpc_timeout"),
				"acts on gRPC deadlines only, which are passed on as they are");
}

/* Host and path of the request that goes upstream. */
static void rewrites_fill(struct weft_build *b, const route_action *a, uint32_t matched_len,
			  const char *field, struct weft_img_forward *ret)
{
	char at[WEFT_FIELD_MAX];
	char *header;

	ret->path_format = weft_build_format_alone(b, a->path_rewrite, false,
						   weft_field(at, field, "path_rewrite"));
	ret->path_regex = weft_build_rewrite(b, a->regex_rewrite, true,
					     weft_field(at, field, "regex_rewrite"));
	ret->prefix_rewrite = weft_build_str(b, a->prefix_rewrite);
	if (strpbrk(a->prefix_rewrite, " \t"))
		weft_build_fail(b, weft_field(at, field, "prefix_rewrite"), "unsupported: a blank in a path");
	ret->matched_len = matched_len;
	if (a->append_x_forwarded_host)
		ret->flags |= WEFT_FORWARD_APPEND_XFH;
	switch (a->host_rewrite_specifier_case) {
	case ENVOY__CONFIG__ROUTE__V3__ROUTE_ACTION__HOST_REWRITE_SPECIFIER_HOST_REWRITE_LITERAL:
		ret->host = weft_build_str(b, a->host_rewrite_literal);
		break;
	case ENVOY__CONFIG__ROUTE__V3__ROUTE_ACTION__HOST_REWRITE_SPECIFIER_AUTO_HOST_REWRITE:
		if (a->auto_host_rewrite->value)
			ret->flags |= WEFT_FORWARD_AUTO_HOST;
		break;
	case ENVOY__CONFIG__ROUTE__V3__ROUTE_ACTION__HOST_REWRITE_SPECIFIER_HOST_REWRITE_HEADER:
		header = strdup(a->host_rewrite_header);
		if (!header)
			b->err = b->err ? b->err : -ENOMEM;
		for (char *p = header; p && *p; p++)
			*p = (char)tolower((unsigned char)*p);
		ret->host_header = weft_build_str(b, header);
		free(header);
		break;
	case ENVOY__CONFIG__ROUTE__V3__ROUTE_ACTION__HOST_REWRITE_SPECIFIER_HOST_REWRITE:
		ret->host_format = weft_build_format_alone(b, a->host_rewrite, true,
							   weft_field(at, field, "host_rewrite"));
		break;
	case ENVOY__CONFIG__ROUTE__V3__ROUTE_ACTION__HOST_REWRITE_SPECIFIER_HOST_REWRITE_PATH_REGEX:
		ret->host_regex = weft_build_rewrite(b, a->host_rewrite_path_regex, false,
						     weft_field(at, field, "host_rewrite_path_regex"));
		break;
	default: /* refused by weft_build_fields() */
		break;
	}
}

uint32_t weft_build_no_forward(struct weft_build *b, const struct weft_route_scope *scope)
{
	struct {
		struct weft_img_targets head;
		struct weft_img_target target;
	} one = {.head = {.n = 1, .total = 1}, .target = {.weight = 1, .end = 1}};
	struct weft_img_forward out = {.no_cluster = WEFT_REPLY_NO_CLUSTER_503};

	/* target.cluster: number 0 is nobody's */
	target_changes(b, scope, NULL, &one.target);
	out.targets = weft_build_put(b, &one, sizeof(one));
	return weft_build_put(b, &out, sizeof(out));
}

uint32_t weft_build_forward(struct weft_build *b, const route_action *a,
			    const struct weft_route_scope *scope, uint32_t matched_len,
			    const char *field)
{
	struct weft_img_forward out = {0};
	struct weft_mirrors mirrors;
	char at[WEFT_FIELD_MAX];

	weft_build_fields(b, &a->base, field);
	duration_check(b, a, field);
	out.targets = targets_build(b, a, scope, field);
	rewrites_fill(b, a, matched_len, field, &out);
	weft_build_hash_policy(b, a, field, &out);
	if (a->internal_redirect_policy)
		out.follow = weft_build_follow(b, a->internal_redirect_policy,
					       weft_field(at, field, "internal_redirect_policy"));
	mirrors = scope->mirrors;
	if (a->n_request_mirror_policies)
		mirrors = weft_build_mirrors(b, a->n_request_mirror_policies,
					     a->request_mirror_policies, field);
	out.n_mirror = mirrors.n;
	out.mirror = mirrors.off;
	out.timeout_ms = weft_build_ms(b, a->timeout, 15000, weft_field(at, field, "timeout"));
	out.idle_timeout_ms = weft_build_ms(b, a->idle_timeout, WEFT_TIMEOUT_INHERIT,
					    weft_field(at, field, "idle_timeout"));
	out.no_cluster = WEFT_REPLY_NO_CLUSTER_503 + (uint32_t)a->cluster_not_found_response_code;
	if (by_hash(a))
		out.flags |= WEFT_FORWARD_BY_HASH;
	if (a->priority == ENVOY__CONFIG__CORE__V3__ROUTING_PRIORITY__HIGH)
		out.flags |= WEFT_FORWARD_PRIORITY_HIGH;
	if (a->retry_policy)
		retry_fill(b, a->retry_policy, weft_field(at, field, "retry_policy"), &out);
	else if (scope->vhost->retry_policy)
		retry_fill(b, scope->vhost->retry_policy,
			   weft_field(at, scope->field, "retry_policy"), &out);
	upgrades_fill(b, a, field, &out);
	out.rate = weft_build_rate_rules(b, a->n_rate_limits, a->rate_limits, false, scope->headers,
					 field);
	if (weft_bool(a->include_vh_rate_limits, false))
		out.flags |= WEFT_FORWARD_VHOST_RATES;
	return weft_build_put(b, &out, sizeof(out));
}

/* It goes into a header as it is. */
static void scheme_check(struct weft_build *b, const char *scheme, const char *field)
{
	if (strlen(scheme) > 20)
		weft_build_fail(b, field, "more than 20 bytes");
	for (const char *p = scheme; *p; p++) {
		if (!isalnum((unsigned char)*p) && !strchr("+-.", *p)) {
			weft_build_fail(b, field, "not a scheme (RFC 3986 3.1)");
			return;
		}
	}
}

uint32_t weft_build_redirect(struct weft_build *b,
			     const Envoy__Config__Route__V3__RedirectAction *r,
			     uint32_t matched_len, const char *field)
{
	static const uint32_t codes[] = {301, 302, 303, 307, 308};
	struct weft_reply_text text = {.status = codes[r->response_code],
				       .details = "direct_response"};
	struct weft_img_redirect out = {.port = r->port_redirect, .matched_len = matched_len};
	char at[WEFT_FIELD_MAX];

	weft_build_fields(b, &r->base, field);
	/* Envoy takes any number; the engine writes five digits */
	if (r->port_redirect > 99999)
		weft_build_fail(b, weft_field(at, field, "port_redirect"), "not a port");
	out.reply = weft_build_reply(b, &text);
	out.host = weft_build_str(b, r->host_redirect);
	if (r->strip_query)
		out.flags |= WEFT_REDIRECT_STRIP_QUERY;
	if (r->scheme_rewrite_specifier_case ==
	    ENVOY__CONFIG__ROUTE__V3__REDIRECT_ACTION__SCHEME_REWRITE_SPECIFIER_HTTPS_REDIRECT) {
		if (r->https_redirect)
			out.flags |= WEFT_REDIRECT_HTTPS;
	} else if (
		r->scheme_rewrite_specifier_case ==
		ENVOY__CONFIG__ROUTE__V3__REDIRECT_ACTION__SCHEME_REWRITE_SPECIFIER_SCHEME_REDIRECT) {
		scheme_check(b, r->scheme_redirect, weft_field(at, field, "scheme_redirect"));
		out.scheme = weft_build_str(b, r->scheme_redirect);
	}
	switch (r->path_rewrite_specifier_case) {
	case ENVOY__CONFIG__ROUTE__V3__REDIRECT_ACTION__PATH_REWRITE_SPECIFIER_PATH_REDIRECT:
		/* an empty one changes nothing */
		if (*r->path_redirect)
			out.flags |= WEFT_REDIRECT_PATH;
		out.path = weft_build_str(b, r->path_redirect);
		break;
	case ENVOY__CONFIG__ROUTE__V3__REDIRECT_ACTION__PATH_REWRITE_SPECIFIER_PREFIX_REWRITE:
		if (*r->prefix_rewrite)
			out.flags |= WEFT_REDIRECT_PREFIX;
		out.path = weft_build_str(b, r->prefix_rewrite);
		break;
	case ENVOY__CONFIG__ROUTE__V3__REDIRECT_ACTION__PATH_REWRITE_SPECIFIER_REGEX_REWRITE:
		out.flags |= WEFT_REDIRECT_AGENT;
		out.path_regex = weft_build_rewrite(b, r->regex_rewrite, false,
						    weft_field(at, field, "regex_rewrite"));
		break;
	case ENVOY__CONFIG__ROUTE__V3__REDIRECT_ACTION__PATH_REWRITE_SPECIFIER_PATH_REWRITE:
		/* an empty one changes nothing */
		out.path_format = weft_build_format_alone(b, r->path_rewrite, false,
							  weft_field(at, field, "path_rewrite"));
		if (out.path_format)
			out.flags |= WEFT_REDIRECT_AGENT;
		break;
	default:
		break;
	}
	return weft_build_put(b, &out, sizeof(out));
}
