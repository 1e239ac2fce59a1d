// SPDX-License-Identifier: Apache-2.0
/* HttpConnectionManager and its HTTP filters. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/compile/filter.h"
#include "agent/compile/log.h"
#include "agent/compile/mapper.h"
#include "agent/compile/parts.h"
#include "agent/compile/rbac.h"
#include "agent/compile/reply.h"
#include "agent/compile/text.h"
#include "envoy/extensions/filters/http/router/v3/router.pb-c.h"
#include "xds/any.h"

#define FILTERS "envoy.extensions.filters.http."

typedef Envoy__Extensions__Filters__Network__HttpConnectionManager__V3__HttpConnectionManager
	manager;
typedef Envoy__Extensions__Filters__Network__HttpConnectionManager__V3__HttpFilter http_filter;

static void flag(uint32_t *flags, uint32_t bit, bool on)
{
	if (on)
		*flags |= bit;
}

/* The default of the implementation is to leave them, unless Envoy's runtime says otherwise. */
static uint32_t slashes_flag(const manager *m)
{
	switch (m->path_with_escaped_slashes_action) {
#define ACTION(name)                                                                               \
	ENVOY__EXTENSIONS__FILTERS__NETWORK__HTTP_CONNECTION_MANAGER__V3__HTTP_CONNECTION_MANAGER__PATH_WITH_ESCAPED_SLASHES_ACTION__##name
	case ACTION(REJECT_REQUEST):
		return WEFT_HCM_SLASHES_REJECT;
	case ACTION(UNESCAPE_AND_REDIRECT):
		return WEFT_HCM_SLASHES_REDIRECT;
	case ACTION(UNESCAPE_AND_FORWARD):
		return WEFT_HCM_SLASHES_FORWARD;
	default:
		return 0;
#undef ACTION
	}
}

/* Clients have no certificate: what they say of one goes, whichever the other modes. */
#define CERT(name)                                                                                 \
	ENVOY__EXTENSIONS__FILTERS__NETWORK__HTTP_CONNECTION_MANAGER__V3__HTTP_CONNECTION_MANAGER__FORWARD_CLIENT_CERT_DETAILS__##name

static uint32_t flags_of(const manager *m)
{
	uint32_t f = 0;

	f |= slashes_flag(m);
	flag(&f, WEFT_HCM_NORMALIZE_PATH, weft_bool(m->normalize_path, false));
	flag(&f, WEFT_HCM_MERGE_SLASHES, m->merge_slashes);
	flag(&f, WEFT_HCM_STRIP_MATCHING_PORT, m->strip_matching_host_port);
	flag(&f, WEFT_HCM_STRIP_ANY_PORT, m->strip_port_mode_case && m->strip_any_host_port);
	flag(&f, WEFT_HCM_STRIP_TRAILING_DOT, m->strip_trailing_host_dot);
	flag(&f, WEFT_HCM_GENERATE_REQUEST_ID, weft_bool(m->generate_request_id, true));
	flag(&f, WEFT_HCM_PRESERVE_REQUEST_ID, m->preserve_external_request_id);
	flag(&f, WEFT_HCM_REQUEST_ID_IN_RESPONSE, m->always_set_request_id_in_response);
	flag(&f, WEFT_HCM_PROXY_100_CONTINUE, m->proxy_100_continue);
	flag(&f, WEFT_HCM_STREAM_ERROR, weft_bool(m->stream_error_on_invalid_http_message, false));
	flag(&f, WEFT_HCM_USE_REMOTE_ADDRESS, weft_bool(m->use_remote_address, false));
	flag(&f, WEFT_HCM_OWN_PROTO, f & WEFT_HCM_USE_REMOTE_ADDRESS && !m->xff_num_trusted_hops);
	flag(&f, WEFT_HCM_SKIP_XFF_APPEND, m->skip_xff_append);
	flag(&f, WEFT_HCM_APPEND_PORT, m->append_x_forwarded_port);
	/* none is internal without a range (Envoy 1.40); unix_sockets: nothing comes from those here */
	flag(&f, WEFT_HCM_INTERNAL,
	     m->internal_address_config && m->internal_address_config->n_cidr_ranges);
	flag(&f, WEFT_HCM_FORWARD_CERT,
	     m->forward_client_cert_details == CERT(ALWAYS_FORWARD_ONLY));
	if (m->scheme_header_transformation &&
	    m->scheme_header_transformation->transformation_case ==
		    ENVOY__CONFIG__CORE__V3__SCHEME_HEADER_TRANSFORMATION__TRANSFORMATION_SCHEME_TO_OVERWRITE)
		f |= WEFT_HCM_PREPARED |
		     (strcmp(m->scheme_header_transformation->scheme_to_overwrite, "https")
			      ? WEFT_HCM_SCHEME_HTTP
			      : WEFT_HCM_SCHEME_HTTPS);
	return f;
}

/* The codec's options; its own setting on malformed messages counts, if there is one, not the
 * manager's. */
static uint32_t http1_flags(struct weft_build *b,
			    const Envoy__Config__Core__V3__Http1ProtocolOptions *o, uint32_t f,
			    const char *field)
{
	char at[WEFT_FIELD_MAX];

	if (!o)
		return f;
	weft_build_fields(b, &o->base, field);
	flag(&f, WEFT_HCM_ACCEPT_HTTP10, o->accept_http_10);
	if (strlen(o->default_host_for_http_10) > WEFT_DEFAULT_HOST_MAX)
		weft_build_fail(b, weft_field(at, field, "default_host_for_http_10"),
				"longer than %u bytes", WEFT_DEFAULT_HOST_MAX);
	flag(&f, WEFT_HCM_NO_ABSOLUTE_URL, !weft_bool(o->allow_absolute_url, true));
	flag(&f, WEFT_HCM_ENABLE_TRAILERS, o->enable_trailers);
	flag(&f, WEFT_HCM_ALLOW_CHUNKED_LENGTH, o->allow_chunked_length);
	flag(&f, WEFT_HCM_CUSTOM_METHODS, o->allow_custom_methods);
	if (o->override_stream_error_on_invalid_http_message)
		f &= ~WEFT_HCM_STREAM_ERROR;
	flag(&f, WEFT_HCM_STREAM_ERROR,
	     weft_bool(o->override_stream_error_on_invalid_http_message, false));
	return f;
}

/* What the image could say, and nobody carries out yet. */
static void flags_check(struct weft_build *b, uint32_t flags, const char *field)
{
	char at[WEFT_FIELD_MAX];

	if (flags & WEFT_HCM_STREAM_ERROR)
		weft_build_fail(b, weft_field(at, field, "stream_error_on_invalid_http_message"),
				"unsupported: true");
	if (flags & WEFT_HCM_ENABLE_TRAILERS)
		weft_build_fail(b, weft_field(at, field, "http_protocol_options.enable_trailers"),
				"unsupported");
}

static void common_fill(struct weft_build *b, const Envoy__Config__Core__V3__HttpProtocolOptions *o,
			const char *field, struct weft_img_hcm *ret)
{
	char at[WEFT_FIELD_MAX];

	ret->idle_ms = 3600000;
	ret->max_headers = 100;
	if (!o)
		return;
	weft_build_fields(b, &o->base, field);
	ret->idle_ms =
		weft_build_ms(b, o->idle_timeout, 3600000, weft_field(at, field, "idle_timeout"));
	ret->max_connection_ms = weft_build_ms(b, o->max_connection_duration, 0,
					       weft_field(at, field, "max_connection_duration"));
	ret->max_stream_ms = weft_build_ms(b, o->max_stream_duration, 0,
					   weft_field(at, field, "max_stream_duration"));
	ret->max_headers = weft_u32(o->max_headers_count, 100);
	if (ret->max_headers > WEFT_NATIVE_HEADERS_MAX)
		weft_build_fail(b, weft_field(at, field, "max_headers_count"), "more than %u",
				WEFT_NATIVE_HEADERS_MAX);
	ret->underscores = (uint32_t)o->headers_with_underscores_action;
	ret->max_requests = weft_u32(o->max_requests_per_connection, 0);
}

/* Lists of lower-case strings: struct weft_img_str[n]. */
static void upgrades_fill(struct weft_build *b, const manager *m, const char *field,
			  struct weft_img_hcm *ret)
{
	struct weft_img_str *list = calloc(m->n_upgrade_configs + 1, sizeof(*list));
	char at[WEFT_FIELD_MAX];

	for (size_t i = 0; list && i < m->n_upgrade_configs; i++) {
		char *type = strdup(m->upgrade_configs[i]->upgrade_type);

		if (m->upgrade_configs[i]->n_filters)
			weft_build_fail(b, weft_field(at, field, "upgrade_configs[%zu].filters", i),
					"unsupported");
		for (char *p = type; p && *p; p++)
			*p = (char)tolower((unsigned char)*p);
		if (type && (!strcmp(type, "connect") || !strcmp(type, "connect-udp")))
			weft_build_fail(
				b, weft_field(at, field, "upgrade_configs[%zu].upgrade_type", i),
				"unsupported: %s", m->upgrade_configs[i]->upgrade_type);
		if (type && weft_bool(m->upgrade_configs[i]->enabled, true))
			list[ret->n_upgrade++] = weft_build_str(b, type);
		free(type);
	}
	if (!list)
		b->err = b->err ? b->err : -ENOMEM;
	else if (ret->n_upgrade)
		ret->upgrade = weft_build_put(b, list, ret->n_upgrade * sizeof(*list));
	free(list);
}

/* Filters of Envoy that do nothing as configured here. */
static bool filter_idle(struct weft_build *b, const char *type, const char *field)
{
	if (!strcmp(type, FILTERS "grpc_stats.v3.FilterConfig")) {
		weft_build_note(b, field, "filter without effect");
		return true;
	}
	return false;
}

/* strict_check_headers, whose values xds/ has checked. What fails there is answered before the
 * cluster's breakers are looked at: by the agent. */
static void strict_fill(const Envoy__Extensions__Filters__Http__Router__V3__Router *r,
			struct weft_img_hcm *ret)
{
#define ROW(n, name) name,
	static const char *const names[] = {WEFT_STRICT_HEADERS(ROW)};
#undef ROW

	ret->strict = 0;
	for (size_t i = 0; i < r->n_strict_check_headers; i++)
		for (uint32_t k = 0; k < WEFT_STRICT__MAX; k++)
			if (!strcmp(names[k], r->strict_check_headers[i]))
				ret->strict |= 1u << k;
	flag(&ret->flags, WEFT_HCM_PREPARED, ret->strict);
}

static void router_fill(struct weft_build *b, const ProtobufCMessage *msg, const char *field,
			struct weft_img_hcm *ret)
{
	const Envoy__Extensions__Filters__Http__Router__V3__Router *r = (const void *)msg;

	weft_build_fields(b, msg, field);
	flag(&ret->flags, WEFT_HCM_SUPPRESS_ENVOY_HEADERS, r->suppress_envoy_headers);
	flag(&ret->flags, WEFT_HCM_EXPECTED_TIMEOUT, r->respect_expected_rq_timeout);
	strict_fill(r, ret);
	ret->flags &= ~WEFT_HCM_NO_ROUTER;
}

static void filter_add(struct weft_build *b, const http_filter *f, enum weft_filter_kind kind,
		       const ProtobufCMessage *msg, const char *field, struct weft_img_filter *list,
		       struct weft_img_hcm *ret)
{
	if (ret->n_filter == WEFT_FILTERS_MAX) {
		weft_build_fail(b, field, "more than %u filters with an effect", WEFT_FILTERS_MAX);
		return;
	}
	list[ret->n_filter++] = (struct weft_img_filter){
		.key = weft_filter_key(f->name),
		.kind = kind,
		.config = weft_build_filter(b, kind, msg, field),
		.disabled = f->disabled != 0,
	};
}

/* What Envoy itself would apply although it is optional: leaving it out would drop a rule. */
static bool of_envoy(const char *type)
{
	return !strncmp(type, "envoy.", strlen("envoy."));
}

static void filter_build(struct weft_build *b, const http_filter *f, const char *field,
			 struct weft_img_filter *list, struct weft_img_hcm *ret)
{
	bool has =
		f->config_type_case ==
		ENVOY__EXTENSIONS__FILTERS__NETWORK__HTTP_CONNECTION_MANAGER__V3__HTTP_FILTER__CONFIG_TYPE_TYPED_CONFIG;
	struct weft_filter_config c;
	char at[WEFT_FIELD_MAX];
	const char *type;

	if (!weft_filter_config_open(b, has ? f->typed_config : NULL, field, at, &c))
		return;
	type = c.type;
	if ((!c.err || c.err == -ENOENT) && f->is_optional && type && !of_envoy(type))
		weft_build_note(b, at, "unknown filter, optional");
	else if (c.err == -ENOENT)
		weft_build_fail(b, at, "unknown filter type %s", type ? type : "");
	else if (c.err)
		b->err = b->err ? b->err : c.err;
	else if (!strcmp(type, FILTERS "router.v3.Router"))
		router_fill(b, c.msg, at, ret);
	else if (!strcmp(type, FILTERS "local_ratelimit.v3.LocalRateLimit"))
		filter_add(b, f, WEFT_FILTER_LOCAL_RATE_LIMIT, c.msg, at, list, ret);
	else if (!strcmp(type, FILTERS "rbac.v3.RBAC"))
		filter_add(b, f, WEFT_FILTER_RBAC, c.msg, at, list, ret);
	else if (!strcmp(type, FILTERS "fault.v3.HTTPFault"))
		filter_add(b, f, WEFT_FILTER_FAULT, c.msg, at, list, ret);
	else if (!strcmp(type, FILTERS "ratelimit.v3.RateLimit"))
		filter_add(b, f, WEFT_FILTER_GLOBAL_LIMIT, c.msg, at, list, ret);
	else if (!strcmp(type, FILTERS "cors.v3.Cors"))
		filter_add(b, f, WEFT_FILTER_CORS, c.msg, at, list, ret);
	else if (filter_idle(b, type, at))
		;	      /* noted */
	else if (f->disabled) /* only an override could enable it, and that is refused */
		weft_build_note(b, at, "disabled");
	else
		weft_build_fail(b, at, "unsupported: %s", type);
	weft_filter_config_clear(&c);
}

static void filters_fill(struct weft_build *b, const manager *m, const char *field,
			 struct weft_names_local *names, struct weft_img_hcm *ret)
{
	struct weft_img_filter list[WEFT_FILTERS_MAX] = {0};
	char at[WEFT_FIELD_MAX];

	b->names = names;
	/* WEFT_HCM_TRACE_SLOT: nothing stands before it */
	if (ret->flags & WEFT_HCM_INTERNAL)
		weft_build_slot(b, "x-envoy-force-trace", names, field);
	ret->flags |= WEFT_HCM_NO_ROUTER; /* until a router is found */
	for (size_t i = 0; i < m->n_http_filters; i++)
		filter_build(b, m->http_filters[i], weft_field(at, field, "http_filters[%zu]", i),
			     list, ret);
	if (ret->n_filter)
		ret->filter = weft_build_put(b, list, ret->n_filter * sizeof(*list));
	if (names->n)
		ret->headers = weft_build_names(b, names, &ret->bloom);
	if (weft_build_prepared(b, names))
		ret->flags |= WEFT_HCM_PREPARED;
	b->names = NULL;
}

/* The names of filters as one text; NULL without memory. */
static char *names_text(const struct weft_names_local *names)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	for (uint32_t i = 0; f && i < names->n; i++)
		fprintf(f, "%s\n", names->name[i]);
	return f && weft_text_end(f, &text) ? text : NULL;
}

/* The same table gets another id where its replies carry other lines of the connection manager's,
 * or filters look at other headers. */
static void rds_add(struct weft_build *b, const char *name, struct weft_img_hcm *ret)
{
	struct weft_rds_ref *refs = reallocarray(b->rds, b->n_rds + 1, sizeof(*refs));
	struct weft_rds_ref ref = {.name = strdup(name),
				   .own_lines = strdup(b->own_lines),
				   .filter_names = strdup(b->filter_names),
				   .hcm_flags = b->hcm_flags,
				   .trusted_hops = b->trusted_hops};
	char *key = NULL;

	if (refs)
		b->rds = refs;
	if (!refs || !ref.name || !ref.own_lines || !ref.filter_names ||
	    asprintf(&key, "rds %x %u %s %s%s", ref.hcm_flags, ref.trusted_hops, ref.own_lines,
		     ref.filter_names, name) < 0 ||
	    weft_names_get(b->route_configs, key, 0, &ref.id)) {
		b->err = b->err ? b->err : -ENOMEM;
		free(ref.name);
		free(ref.own_lines);
		free(ref.filter_names);
	} else {
		b->rds[b->n_rds++] = ref;
		ret->route_config = ref.id;
	}
	free(key);
}

static void routes_fill(struct weft_build *b, const manager *m, const char *field,
			struct weft_img_hcm *ret)
{
	char at[WEFT_FIELD_MAX], *key = NULL;
	uint32_t off;

	switch (m->route_specifier_case) {
	case ENVOY__EXTENSIONS__FILTERS__NETWORK__HTTP_CONNECTION_MANAGER__V3__HTTP_CONNECTION_MANAGER__ROUTE_SPECIFIER_RDS:
		rds_add(b, m->rds->route_config_name, ret);
		break;
	case ENVOY__EXTENSIONS__FILTERS__NETWORK__HTTP_CONNECTION_MANAGER__V3__HTTP_CONNECTION_MANAGER__ROUTE_SPECIFIER_ROUTE_CONFIG:
		if (asprintf(&key, "inline %s %s", b->resource, field) < 0 ||
		    weft_names_get(b->route_configs, key, 0, &ret->route_config))
			b->err = b->err ? b->err : -ENOMEM;
		free(key);
		b->validate_clusters = weft_bool(m->route_config->validate_clusters, true);
		off = weft_build_route_config(b, m->route_config,
					      weft_field(at, field, "route_config"));
		b->validate_clusters = false;
		if (weft_words_add(&b->inline_rc, ret->route_config) ||
		    weft_words_add(&b->inline_rc, off))
			b->err = b->err ? b->err : -ENOMEM;
		break;
	default:
		break; /* scoped_routes: refused with the fields that are not handled */
	}
}

static void internal_fill(struct weft_build *b, const manager *m, const char *field,
			  struct weft_img_hcm *ret)
{
	size_t n = m->internal_address_config ? m->internal_address_config->n_cidr_ranges : 0;
	struct weft_img_test *list = n ? calloc(n, sizeof(*list)) : NULL;
	char at[WEFT_FIELD_MAX];

	for (size_t i = 0; list && i < n; i++) {
		const Envoy__Config__Core__V3__CidrRange *c =
			m->internal_address_config->cidr_ranges[i];

		weft_build_range(
			b, c->address_prefix, weft_u32(c->prefix_len, 0),
			weft_field(at, field, "internal_address_config.cidr_ranges[%zu]", i),
			&list[i]);
	}
	ret->n_internal = (uint32_t)n;
	if (n && !list)
		b->err = b->err ? b->err : -ENOMEM;
	else if (n)
		ret->internal = weft_build_put(b, list, n * sizeof(*list));
	free(list);
}

/* What the connection manager puts into every response, its own ones included; the caller frees. */
static char *own_lines(struct weft_build *b, const manager *m, const char *server_name)
{
	char *lines = NULL;
	size_t n;
	FILE *f = open_memstream(&lines, &n);

	if (f && *m->via)
		fprintf(f, "via: %s\r\n", m->via);
	if (f && (uint32_t)m->server_header_transformation != WEFT_SERVER_PASS)
		fprintf(f, "server: %s\r\n", server_name);
	if (f && weft_text_end(f, &lines))
		return lines;
	b->err = b->err ? b->err : -ENOMEM;
	return NULL;
}

/* The options stand in two places: Envoy refuses the deprecated one beside the other. */
static void logs_fill(struct weft_build *b, const manager *m, const char *field,
		      struct weft_img_hcm *ret)
{
	const Envoy__Extensions__Filters__Network__HttpConnectionManager__V3__HttpConnectionManager__HcmAccessLogOptions
		*o = m->access_log_options;
	bool start =
		m->flush_access_log_on_new_request || (o && o->flush_access_log_on_new_request);
	const Google__Protobuf__Duration *every = m->access_log_flush_interval;
	char at[WEFT_FIELD_MAX], opt[WEFT_FIELD_MAX];
	uint32_t flags = start ? WEFT_LOGS_AT_START : 0;

	weft_field(opt, field, "access_log_options");
	if (o)
		weft_build_fields(b, &o->base, opt);
	if (o && (m->access_log_flush_interval || m->flush_access_log_on_new_request))
		weft_build_fail(b, opt,
				"not beside access_log_flush_interval or "
				"flush_access_log_on_new_request");
	if (o && o->access_log_flush_interval)
		every = o->access_log_flush_interval;
	if (o && o->flush_log_on_tunnel_successfully_established)
		flags |= WEFT_LOGS_AT_TUNNEL;
	ret->logs = weft_build_logs(
		b, m->n_access_log, m->access_log, flags,
		weft_build_ms(b, every, 0, weft_field(at, field, "access_log_flush_interval")),
		field);
}

/* What of the node cannot be a header's value. */
static bool is_value(const char *s)
{
	for (const unsigned char *p = (const void *)s; *p; p++)
		if (*p < ' ' || *p == 0x7f)
			return false;
	return strlen(s) <= WEFT_NODE_LEN_MAX;
}

/* weft_img_user_agent, 0: add_user_agent is off. */
static uint32_t user_agent_build(struct weft_build *b, const manager *m, const char *field)
{
	struct weft_img_user_agent out = {0};
	char at[WEFT_FIELD_MAX];

	if (!weft_bool(m->add_user_agent, false))
		return 0;
	if (!is_value(b->node_cluster) || !is_value(b->node_id)) {
		weft_build_fail(b, weft_field(at, field, "add_user_agent"),
				"node.cluster or node.id is no header value of at most %u bytes",
				WEFT_NODE_LEN_MAX);
		return 0;
	}
	out.cluster = weft_build_str(b, b->node_cluster);
	out.node = weft_build_str(b, b->node_id);
	return weft_build_put(b, &out, sizeof(out));
}

uint32_t weft_build_hcm(struct weft_build *b, const manager *m, const char *field)
{
	const char *server_name = *m->server_name ? m->server_name : "envoy";
	struct weft_img_hcm out = {0};
	struct weft_names_local names = {0};
	char at[WEFT_FIELD_MAX], *lines = own_lines(b, m, server_name), *text;

	weft_build_fields(b, &m->base, field);
	if (!lines)
		return 0;
	b->own_lines = lines;
	out.stat_prefix = weft_build_str(b, m->stat_prefix);
	out.stat = weft_store_http_stat(b->store, m->stat_prefix);
	out.server_name = weft_build_str(b, server_name);
	out.server_header = (uint32_t)m->server_header_transformation;
	out.via = weft_build_str(b, m->via);
	out.flags = http1_flags(b, m->http_protocol_options, flags_of(m),
				weft_field(at, field, "http_protocol_options"));
	if (m->http_protocol_options)
		out.proper_case =
			weft_build_proper_case(b, m->http_protocol_options,
					       weft_field(at, field, "http_protocol_options"));
	if (m->http_protocol_options)
		out.default_host =
			weft_build_str(b, m->http_protocol_options->default_host_for_http_10);
	flags_check(b, out.flags, field);
	b->traced = m->tracing != NULL;
	logs_fill(b, m, field, &out);
	out.mapping = weft_build_mapping(b, m->local_reply_config,
					 weft_field(at, field, "local_reply_config"));
	/* each reply has some of its request, or is another: none is the kernel's */
	flag(&out.flags, WEFT_HCM_PREPARED,
	     out.flags & WEFT_HCM_REQUEST_ID_IN_RESPONSE || out.mapping || out.proper_case);
	weft_build_codec(b, m, field, &out);
	out.trusted_hops = m->xff_num_trusted_hops;
	internal_fill(b, m, field, &out);
	b->hcm_flags = out.flags & WEFT_BUILD_CLIENT;
	out.user_agent = user_agent_build(b, m, field);
	if (out.user_agent)
		b->hcm_flags |= WEFT_BUILD_USER_AGENT;
	b->trusted_hops = out.trusted_hops;
	common_fill(b, m->common_http_protocol_options,
		    weft_field(at, field, "common_http_protocol_options"), &out);
	out.max_head = weft_u32(m->max_request_headers_kb, 60) * 1024;
	if (out.max_head > WEFT_NATIVE_HEAD_MAX)
		weft_build_fail(b, weft_field(at, field, "max_request_headers_kb"), "more than %u",
				WEFT_NATIVE_HEAD_MAX / 1024);
	out.stream_idle_ms = weft_build_ms(b, m->stream_idle_timeout, 300000,
					   weft_field(at, field, "stream_idle_timeout"));
	out.request_ms =
		weft_build_ms(b, m->request_timeout, 0, weft_field(at, field, "request_timeout"));
	out.request_headers_ms = weft_build_ms(b, m->request_headers_timeout, 0,
					       weft_field(at, field, "request_headers_timeout"));
	out.delayed_close_ms = weft_build_ms(b, m->delayed_close_timeout, 1000,
					     weft_field(at, field, "delayed_close_timeout"));
	out.drain_ms = weft_build_ms(b, m->drain_timeout, 5000, weft_field(at, field, "drain_timeout"));
	upgrades_fill(b, m, field, &out);
	filters_fill(b, m, field, &names, &out);
	weft_build_std_replies(b, out.flags & WEFT_HCM_SUPPRESS_ENVOY_HEADERS, out.reply);
	if (b->route_metadata) /* its table carries it */
		b->hcm_flags |= WEFT_HCM_ROUTE_METADATA;
	text = names_text(&names);
	b->filter_names = text;
	if (text)
		routes_fill(b, m, field, &out);
	else
		b->err = b->err ? b->err : -ENOMEM;
	b->own_lines = b->filter_names = NULL;
	b->hcm_flags = b->trusted_hops = 0;
	free(lines);
	free(text);
	for (uint32_t i = 0; i < names.n; i++)
		free(names.name[i]);
	return weft_build_put(b, &out, sizeof(out));
}
