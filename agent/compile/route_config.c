// SPDX-License-Identifier: Apache-2.0
/* Route configurations and virtual hosts. */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/compile/limit.h"
#include "agent/compile/filter.h"
#include "agent/compile/parts.h"
#include "agent/compile/reply.h"
#include "agent/regex/regex.h"
#include "bpf/engine/engine.h"

typedef Envoy__Config__Route__V3__RouteConfiguration route_config;
typedef Envoy__Config__Route__V3__VirtualHost virtual_host;

/* Envoy's default of max_direct_response_body_size_bytes. */
#define BODY_DEFAULT 4096u

/* What the levels around routes do to headers. */
static void changes_fill(struct weft_build *b, const virtual_host *v, const char *field,
			 struct weft_change_scope *ret)
{
	const struct weft_change_lists lists[2] = {
		{.n_add = v->n_request_headers_to_add,
		 .add = v->request_headers_to_add,
		 .n_remove = v->n_request_headers_to_remove,
		 .remove = v->request_headers_to_remove},
		{.n_add = v->n_response_headers_to_add,
		 .add = v->response_headers_to_add,
		 .n_remove = v->n_response_headers_to_remove,
		 .remove = v->response_headers_to_remove,
		 .response = true}};

	for (int i = 0; i < 2; i++)
		ret->vhost[i] = weft_build_change(b, WEFT_LEVEL_VHOST, &lists[i], field);
}

/*
 * Envoy's own redirect: to https, all else as it came; no filter configuration and no header rule of the table is for
 * it. No address counts as internal (internal_address_config with ranges is refused), so EXTERNAL_ONLY means all.
 */
static uint32_t tls_route_build(struct weft_build *b)
{
	const struct weft_reply_text text = {.status = 301, .details = "direct_response"};
	const struct weft_img_redirect redirect = {.reply = weft_build_reply(b, &text),
						   .flags = WEFT_REDIRECT_HTTPS | WEFT_REDIRECT_SAME_HOST};
	const struct weft_img_route route = {.index = WEFT_NO_ROUTE,
					     .action_kind = WEFT_ACTION_REDIRECT,
					     .action = weft_build_put(b, &redirect, sizeof(redirect))};

	return weft_build_put(b, &route, sizeof(route));
}

static uint32_t vhost_build(struct weft_build *b, const virtual_host *v,
			    struct weft_names_local *names, const struct weft_change_scope *table,
			    const char *field)
{
	struct weft_route_built *routes = calloc(v->n_routes + 1, sizeof(*routes));
	struct weft_route_scope scope = {
		.headers = names, .vhost = v, .field = field, .changes = *table};
	struct weft_img_vhost out = {.n_route = (uint32_t)v->n_routes};
	char at[WEFT_FIELD_MAX];

	if (!routes) {
		b->err = b->err ? b->err : -ENOMEM;
		return 0;
	}
	weft_build_fields(b, &v->base, field);
	changes_fill(b, v, field, &scope.changes);
	scope.mirrors = b->mirrors;
	if (v->n_request_mirror_policies)
		scope.mirrors = weft_build_mirrors(b, v->n_request_mirror_policies,
						   v->request_mirror_policies, field);
	out.name = weft_build_str(b, v->name);
	if (v->require_tls != ENVOY__CONFIG__ROUTE__V3__VIRTUAL_HOST__TLS_REQUIREMENT_TYPE__NONE)
		out.tls_route = tls_route_build(b);
	if (v->include_request_attempt_count)
		out.flags |= WEFT_VHOST_ATTEMPT_COUNT;
	out.rate = weft_build_rate_rules(b, v->n_rate_limits, v->rate_limits, false, names, field);
	if (v->include_attempt_count_in_response)
		out.flags |= WEFT_VHOST_ATTEMPT_COUNT_RESPONSE;
	if (v->include_is_timeout_retry_header)
		out.flags |= WEFT_VHOST_TIMEOUT_RETRY;
	out.override =
		weft_build_overrides(b, WEFT_LEVEL_VHOST, v->n_typed_per_filter_config,
				     v->typed_per_filter_config, v->cors, field, &out.n_override);
	for (size_t i = 0; i < v->n_routes && b->err != -ENOMEM && b->err != -ENOSPC; i++)
		weft_build_route(b, v->routes[i], (uint32_t)i, &scope,
				 weft_field(at, field, "routes[%zu]", i), &routes[i]);
	if (!b->err)
		weft_build_paths(b, routes, v->n_routes, &out);
	for (size_t i = 0; i < v->n_routes; i++) {
		free(routes[i].path);
		weft_regex_free(routes[i].re);
	}
	free(routes);
	return weft_build_put(b, &out, sizeof(out));
}

/* ---- domains ---- */

struct domains {
	struct weft_tab_key *key;
	size_t n, cap;
};

static void length_bit(__u64 bits[4], size_t len)
{
	bits[len >> 6 & 3] |= 1ull << (len & 63);
}

/* "*", "*.foo", "foo.*", or the host itself; case does not count (VirtualHost.domains). */
static void domain_add(struct weft_build *b, const char *domain, uint32_t vhost, const char *field,
		       struct domains *d, struct weft_img_route_config *rc)
{
	struct weft_tab_key *k = &d->key[d->n];
	char low[WEFT_HOST_LEN_MAX + 1];
	size_t len = strlen(domain);
	const char *text = low;

	if (!strcmp(domain, "*")) {
		rc->star = vhost;
		return;
	}
	if (len >= WEFT_HOST_LEN_MAX) {
		weft_build_fail(b, field, "longer than %u bytes", WEFT_HOST_LEN_MAX - 1);
		return;
	}
	for (size_t i = 0; i <= len; i++)
		low[i] = (char)tolower((unsigned char)domain[i]);
	*k = (struct weft_tab_key){.kind = WEFT_KIND_HOST, .val = vhost};
	if (len && low[0] == '*') {
		text++;
		len--;
		k->kind = WEFT_KIND_HOST_SUFFIX;
		k->hash = weft_hash_suffix(text, (uint32_t)len);
		length_bit(rc->suffix_len, len);
	} else if (len && low[len - 1] == '*') {
		len--;
		k->kind = WEFT_KIND_HOST_PREFIX;
		k->hash = weft_hash_prefix(text, (uint32_t)len);
		length_bit(rc->prefix_len, len);
		rc->flags |= WEFT_RC_PREFIX_HOSTS;
	} else {
		k->hash = weft_hash_host(text, (uint32_t)len);
	}
	if (!len)
		return; /* an empty domain fits no request: every one has a host */
	k->str = weft_build_bytes(b, text, len);
	d->n++;
}

uint32_t weft_build_names(struct weft_build *b, const struct weft_names_local *names,
			  __u64 *ret_bloom)
{
	struct weft_tab_key key[WEFT_NAMES_MAX] = {0};

	for (uint32_t i = 0; i < names->n; i++) {
		uint32_t len = (uint32_t)strlen(names->name[i]);

		key[i].kind = WEFT_KIND_HEADER;
		key[i].hash = weft_hash_name(names->name[i], len);
		key[i].str = weft_build_bytes(b, names->name[i], len);
		key[i].val = i + WEFT_VALUE__HEADERS + 1;
		*ret_bloom |= 1ull << (key[i].hash & 63);
	}
	return weft_build_tab(b, key, names->n);
}

bool weft_build_prepared(const struct weft_build *b, const struct weft_names_local *names)
{
	bool edge = b->hcm_flags & WEFT_HCM_USE_REMOTE_ADDRESS;
	bool agent = b->hcm_flags & WEFT_BUILD_USER_AGENT;
	const struct {
		const char *name;
		bool set;
	} list[] = {
		{"x-forwarded-for", edge && !(b->hcm_flags & WEFT_HCM_SKIP_XFF_APPEND)},
		{"x-forwarded-proto", b->hcm_flags & WEFT_HCM_OWN_PROTO},
		{"x-forwarded-port", b->hcm_flags & WEFT_HCM_APPEND_PORT},
		{"x-envoy-external-address", edge},
		{"x-request-id", b->hcm_flags & WEFT_HCM_GENERATE_REQUEST_ID},
		{"user-agent", agent},
		{"x-envoy-downstream-service-cluster", agent},
		{"x-envoy-downstream-service-node", agent},
		{"x-envoy-original-url",
		 true}, /* a client's counts for nothing, an internal redirect's does */
		{"via", b->own_lines && !strncmp(b->own_lines, "via: ", strlen("via: "))},
	};

	for (size_t i = 0; i < sizeof(list) / sizeof(*list); i++)
		for (uint32_t k = 0; list[i].set && k < names->n; k++)
			if (!strcmp(names->name[k], list[i].name))
				return true;
	if (!(b->hcm_flags & WEFT_HCM_INTERNAL))
		return false;
	/* what an internal request keeps; the first is not a rule's: WEFT_HCM_TRACE_SLOT */
	for (uint32_t k = 1; k < names->n; k++)
		if (!strcmp(names->name[k], "x-envoy-internal") ||
		    weft_header_removed(names->name[k], edge))
			return true;
	return false;
}

/*
 * internal_only_headers; Envoy takes what is named there, whatever that does: without
 * x-forwarded-proto or a part of the request line no request is routed any more. That is refused.
 * Rules that look at one: the agent judges.
 */
static void internal_only_fill(struct weft_build *b, const route_config *rc, const char *field,
			       const struct weft_names_local *names,
			       struct weft_img_route_config *ret)
{
	struct weft_img_str *list = calloc(rc->n_internal_only_headers + 1, sizeof(*list));
	char at[WEFT_FIELD_MAX], low[WEFT_FIELD_MAX];

	if (!list) {
		b->err = b->err ? b->err : -ENOMEM;
		return;
	}
	for (size_t i = 0; i < rc->n_internal_only_headers; i++) {
		size_t n = 0;

		for (const char *p = rc->internal_only_headers[i]; *p && n < sizeof(low) - 1; p++)
			low[n++] = (char)tolower((unsigned char)*p);
		low[n] = '\0';
		if (*low == ':' || !strcmp(low, "host") || !strcmp(low, "x-forwarded-proto"))
			weft_build_fail(b, weft_field(at, field, "internal_only_headers[%zu]", i),
					"unsupported: %s, which routing needs", low);
		for (uint32_t k = 0; k < names->n; k++)
			if (!strcmp(names->name[k], low))
				ret->flags |= WEFT_RC_PREPARED;
		list[i] = weft_build_str(b, low);
	}
	ret->n_internal_only = (uint32_t)rc->n_internal_only_headers;
	if (ret->n_internal_only)
		ret->internal_only = weft_build_put(b, list, ret->n_internal_only * sizeof(*list));
	free(list);
}

/* What filters look at stands first, in their order: their conditions were built without this
 * table. */
static void names_begin(struct weft_build *b, struct weft_names_local *names)
{
	const char *p = b->filter_names;

	for (; p && *p; p += strcspn(p, "\n") + 1) {
		names->name[names->n] = strndup(p, strcspn(p, "\n"));
		if (!names->name[names->n]) {
			b->err = b->err ? b->err : -ENOMEM;
			return;
		}
		names->n++;
	}
}

static void table_changes_fill(struct weft_build *b, const route_config *rc, const char *field,
			       struct weft_change_scope *ret)
{
	const struct weft_change_lists lists[2] = {
		{.n_add = rc->n_request_headers_to_add,
		 .add = rc->request_headers_to_add,
		 .n_remove = rc->n_request_headers_to_remove,
		 .remove = rc->request_headers_to_remove},
		{.n_add = rc->n_response_headers_to_add,
		 .add = rc->response_headers_to_add,
		 .n_remove = rc->n_response_headers_to_remove,
		 .remove = rc->response_headers_to_remove,
		 .response = true}};

	for (int i = 0; i < 2; i++)
		ret->table[i] = weft_build_change(b, WEFT_LEVEL_TABLE, &lists[i], field);
	ret->specific_wins = rc->most_specific_header_mutations_wins;
}

static void hosts_fill(struct weft_build *b, const route_config *rc, struct weft_names_local *names,
		       const char *field, struct weft_img_route_config *out)
{
	struct weft_change_scope table = {0};
	struct domains d = {0};
	char at[WEFT_FIELD_MAX], domain[WEFT_FIELD_MAX];

	table_changes_fill(b, rc, field, &table);
	for (size_t i = 0; i < rc->n_virtual_hosts; i++)
		d.cap += rc->virtual_hosts[i]->n_domains;
	d.key = calloc(d.cap + 1, sizeof(*d.key));
	if (!d.key) {
		b->err = b->err ? b->err : -ENOMEM;
		return;
	}
	for (size_t i = 0; i < rc->n_virtual_hosts && b->err != -ENOMEM && b->err != -ENOSPC; i++) {
		const virtual_host *v = rc->virtual_hosts[i];
		uint32_t off =
			vhost_build(b, v, names, &table,
				    weft_field(at, field, "virtual_hosts[%zu]", i));

		for (size_t j = 0; j < v->n_domains; j++)
			domain_add(b, v->domains[j], off, weft_field(domain, at, "domains[%zu]", j),
				   &d, out);
	}
	out->hosts = weft_build_tab(b, d.key, d.n);
	free(d.key);
}

/* A table of "*" alone does not ask for the host, nor for what stands for it (Envoy 1.40). */
static bool asks_host(const route_config *rc)
{
	for (size_t i = 0; i < rc->n_virtual_hosts; i++)
		for (size_t j = 0; j < rc->virtual_hosts[i]->n_domains; j++)
			if (strcmp(rc->virtual_hosts[i]->domains[j], "*") != 0)
				return true;
	return false;
}

uint32_t weft_build_route_config(struct weft_build *b, const route_config *rc, const char *field)
{
	struct weft_names_local names = {0};
	struct weft_img_route_config out = {0};
	char at[WEFT_FIELD_MAX];

	weft_build_fields(b, &rc->base, field);
	names_begin(b, &names);
	b->names = &names;
	if (!*field) /* RDS: off unless asked for; inline: hcm.c */
		b->validate_clusters = weft_bool(rc->validate_clusters, false);
	b->route_metadata |= (b->hcm_flags & WEFT_HCM_ROUTE_METADATA) != 0;
	b->scan_work = WEFT_SCAN_WORK_MAX;
	b->max_body = weft_u32(rc->max_direct_response_body_size_bytes, BODY_DEFAULT);
	out.name = weft_build_str(b, rc->name);
	if (rc->ignore_port_in_host_matching)
		out.flags |= WEFT_RC_IGNORE_PORT;
	if (rc->ignore_path_parameters_in_path_matching)
		out.flags |= WEFT_RC_IGNORE_PARAMETERS;
	out.override =
		weft_build_overrides(b, WEFT_LEVEL_TABLE, rc->n_typed_per_filter_config,
				     rc->typed_per_filter_config, NULL, field, &out.n_override);
	b->mirrors = weft_build_mirrors(b, rc->n_request_mirror_policies,
					rc->request_mirror_policies, field);
	hosts_fill(b, rc, &names, field, &out);
	if (*rc->vhost_header && asks_host(rc))
		out.host_slot = 1u + weft_build_slot(b, rc->vhost_header, &names,
						     weft_field(at, field, "vhost_header"));
	out.headers = weft_build_names(b, &names, &out.bloom);
	if (weft_build_prepared(b, &names))
		out.flags |= WEFT_RC_PREPARED;
	internal_only_fill(b, rc, field, &names, &out);
	weft_cors_leave(b);
	b->names = NULL;
	for (uint32_t i = 0; i < names.n; i++)
		free(names.name[i]);
	return weft_build_put(b, &out, sizeof(out));
}
