// SPDX-License-Identifier: Apache-2.0
#include "agent/compile/health.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "agent/compile/parts.h"
#include "agent/regex/regex.h"
#include "bpf/engine/engine.h"
#include "bpf/engine/hex.h"

#define FIELD "health_checks[0]"
#define NO_TRAFFIC_MS 60000u
/* kDefaultMaxBytesInBuffer */
#define BODY_MAX 1024u

typedef Envoy__Config__Cluster__V3__Cluster cluster;
typedef Envoy__Config__Core__V3__HealthCheck check;
typedef Envoy__Config__Core__V3__HealthCheck__HttpHealthCheck http_check;
typedef Envoy__Config__Core__V3__HealthCheck__TcpHealthCheck tcp_check;
typedef Envoy__Config__Core__V3__HealthCheck__GrpcHealthCheck grpc_check;
typedef Envoy__Config__Core__V3__HealthCheck__Payload payload;
typedef Envoy__Config__Core__V3__HeaderValueOption header_option;
typedef Envoy__Type__Matcher__V3__StringMatcher matcher;

bool weft_health_is(const cluster *c)
{
	return c->n_health_checks &&
	       (c->cluster_discovery_type_case !=
			ENVOY__CONFIG__CLUSTER__V3__CLUSTER__CLUSTER_DISCOVERY_TYPE_TYPE ||
		c->type != ENVOY__CONFIG__CLUSTER__V3__CLUSTER__DISCOVERY_TYPE__ORIGINAL_DST);
}

static void no_memory(struct weft_build *b)
{
	b->err = b->err ? b->err : -ENOMEM;
}

static char *copy(struct weft_build *b, const char *s)
{
	char *out = strdup(s ? s : "");

	if (!out)
		no_memory(b);
	return out;
}

/* ---- times ---- */

static uint32_t ms(struct weft_build *b, const Google__Protobuf__Duration *d, uint32_t unset,
		   const char *name)
{
	char at[WEFT_FIELD_MAX];

	return weft_build_ms(b, d, unset, weft_field(at, FIELD, "%s", name));
}

static void times_fill(struct weft_build *b, const check *h, struct weft_health_conf *ret)
{
	ret->timeout_ms = ms(b, h->timeout, 0, "timeout");
	ret->interval_ms = ms(b, h->interval, 0, "interval");
	ret->initial_jitter_ms = ms(b, h->initial_jitter, 0, "initial_jitter");
	ret->interval_jitter_ms = ms(b, h->interval_jitter, 0, "interval_jitter");
	ret->interval_jitter_percent = h->interval_jitter_percent;
	ret->unhealthy_threshold = weft_u32(h->unhealthy_threshold, 0);
	ret->healthy_threshold = weft_u32(h->healthy_threshold, 0);
	ret->no_traffic_ms = ms(b, h->no_traffic_interval, NO_TRAFFIC_MS, "no_traffic_interval");
	ret->no_traffic_healthy_ms = ms(b, h->no_traffic_healthy_interval, ret->no_traffic_ms,
					"no_traffic_healthy_interval");
	ret->unhealthy_ms = ms(b, h->unhealthy_interval, ret->interval_ms, "unhealthy_interval");
	ret->unhealthy_edge_ms =
		ms(b, h->unhealthy_edge_interval, ret->unhealthy_ms, "unhealthy_edge_interval");
	ret->healthy_edge_ms =
		ms(b, h->healthy_edge_interval, ret->interval_ms, "healthy_edge_interval");
}

/* ---- payloads ---- */

static bool hex_take(const char *text, struct weft_health_bytes *ret)
{
	size_t n = strlen(text);

	if (!n || n % 2)
		return false;
	for (size_t i = 0; i < n; i += 2) {
		int hi = weft_hex_digit((unsigned char)text[i]);
		int lo = weft_hex_digit((unsigned char)text[i + 1]);

		if (hi < 0 || lo < 0)
			return false;
		ret->v[i / 2] = (uint8_t)(hi << 4 | lo);
	}
	ret->n = n / 2;
	return true;
}

static void payload_take(struct weft_build *b, const payload *p, const char *field,
			 struct weft_health_bytes *ret)
{
	bool text = p->payload_case == ENVOY__CONFIG__CORE__V3__HEALTH_CHECK__PAYLOAD__PAYLOAD_TEXT;
	char at[WEFT_FIELD_MAX];

	weft_build_fields(b, &p->base, field);
	ret->v = malloc((text ? strlen(p->text) : p->binary.len) + 1);
	if (!ret->v) {
		no_memory(b);
	} else if (!text) {
		if (p->binary.len)
			memcpy(ret->v, p->binary.data, p->binary.len);
		ret->n = p->binary.len;
	} else if (!hex_take(p->text, ret)) {
		weft_build_fail(b, weft_field(at, field, "text"), "invalid hex string '%s'",
				p->text);
	}
}

static void receive_take(struct weft_build *b, payload *const *p, size_t n, const char *field,
			 struct weft_health_conf *ret)
{
	char at[WEFT_FIELD_MAX];

	ret->receive = calloc(n + 1, sizeof(*ret->receive));
	if (!ret->receive) {
		no_memory(b);
		return;
	}
	for (size_t i = 0; i < n; i++) {
		payload_take(b, p[i], weft_field(at, field, "receive[%zu]", i), &ret->receive[i]);
		ret->n_receive++;
	}
}

/* ---- header lines ---- */

static void header_put(struct weft_build *b, struct weft_health_conf *c, const char *name,
		       const char *value)
{
	struct weft_health_header *more =
		reallocarray(c->header, c->n_header + 1, sizeof(*more));

	if (!more) {
		no_memory(b);
		return;
	}
	c->header = more;
	more += c->n_header;
	more->name = copy(b, name);
	more->value = copy(b, value);
	for (char *p = more->name; p && *p; p++)
		*p = (char)tolower((unsigned char)*p);
	c->n_header += more->name && more->value;
	if (!more->name || !more->value) {
		free(more->name);
		free(more->value);
	}
}

static void header_remove(struct weft_health_conf *c, const char *name)
{
	size_t kept = 0;

	for (size_t i = 0; i < c->n_header; i++) {
		if (strcasecmp(c->header[i].name, name) != 0) {
			c->header[kept++] = c->header[i];
			continue;
		}
		free(c->header[i].name);
		free(c->header[i].value);
	}
	c->n_header = kept;
}

static struct weft_health_header *header_find(struct weft_health_conf *c, const char *name)
{
	for (size_t i = 0; i < c->n_header; i++) {
		if (!strcasecmp(c->header[i].name, name))
			return &c->header[i];
	}
	return NULL;
}

static void header_append(struct weft_build *b, struct weft_health_conf *c, const char *name,
			  const char *value)
{
	struct weft_health_header *old = header_find(c, name);
	char *joined;

	if (!old || !weft_header_joins(old->name, (uint32_t)strlen(name), false)) {
		header_put(b, c, name, value);
		return;
	}
	if (asprintf(&joined, "%s,%s", old->value, value) < 0) {
		no_memory(b);
		return;
	}
	free(old->value);
	old->value = joined;
}

/* No request stands behind a check: of what formats can say it has its protocol alone. */
static char *value_of(struct weft_build *b, const struct weft_health_conf *c, const char *format,
		      const char *field)
{
	const char *protocol = c->http2 ? "HTTP/2" : "HTTP/1.1";
	char *out = malloc(strlen(format) * 2 + 1), *to = out;

	if (!out) {
		no_memory(b);
		return NULL;
	}
	for (const char *p = format; *p;) {
		if (*p != '%') {
			*to++ = *p++;
		} else if (p[1] == '%') {
			*to++ = '%';
			p += 2;
		} else if (!strncmp(p, "%PROTOCOL%", 10)) {
			to = stpcpy(to, protocol);
			p += 10;
		} else {
			weft_build_fail(b, field, "unsupported in a health check: %s", p);
			break;
		}
	}
	*to = '\0';
	return out;
}

static void option_apply(struct weft_build *b, const header_option *o, const char *field,
			 struct weft_health_conf *c)
{
	const char *name = o->header ? o->header->key : "";
	int action = o->append ? (o->append->value ? 0 : 2) : (int)o->append_action;
	bool there = header_find(c, name) != NULL;
	char at[WEFT_FIELD_MAX];
	char *value;

	weft_build_fields(b, &o->base, field);
	if (!o->header)
		return;
	weft_build_fields(b, &o->header->base, weft_field(at, field, "header"));
	value = value_of(b, c, o->header->value, weft_field(at, field, "header.value"));
	if (!value || (!*value && !o->keep_empty_value)) {
		free(value);
		return;
	}
	/* HeaderAppendAction: append, only where absent, in place or new, only in place */
	if (action >= 2 && there)
		header_remove(c, name);
	if (action == 0)
		header_append(b, c, name, value);
	else if (action == 1 ? !there : action == 2 || there)
		header_put(b, c, name, value);
	free(value);
}

static void headers_apply(struct weft_build *b, header_option *const *add, size_t n_add,
			  char *const *remove, size_t n_remove, const char *field, const char *name,
			  struct weft_health_conf *c)
{
	char at[WEFT_FIELD_MAX];

	for (size_t i = 0; i < n_remove; i++)
		header_remove(c, remove[i]);
	for (size_t i = 0; i < n_add; i++)
		option_apply(b, add[i], weft_field(at, field, "%s[%zu]", name, i), c);
}

/* ---- HTTP ---- */

static const char *method_of(const http_check *h)
{
	static const char *const names[] = {"GET",  "GET",    "HEAD",	 "POST",    "PUT",
					    "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"};

	return (size_t)h->method < sizeof(names) / sizeof(*names) ? names[h->method] : names[0];
}

static void ranges_take(struct weft_build *b, Envoy__Type__V3__Int64Range *const *r, size_t n,
			const char *name, struct weft_health_range **ret, size_t *ret_n)
{
	struct weft_health_range *v = calloc(n + 1, sizeof(*v));
	char at[WEFT_FIELD_MAX];

	*ret = v;
	if (!v) {
		no_memory(b);
		return;
	}
	for (size_t i = 0; i < n; i++) {
		weft_field(at, FIELD, "http_health_check.%s[%zu]", name, i);
		weft_build_fields(b, &r[i]->base, at);
		if (r[i]->start < 100 || r[i]->end > 600 || r[i]->start >= r[i]->end)
			weft_build_fail(b, at,
					"a range of statuses is within 100 and 600 and not empty");
		else
			v[(*ret_n)++] = (struct weft_health_range){(uint32_t)r[i]->start,
								   (uint32_t)r[i]->end};
	}
}

static void matcher_take(struct weft_build *b, const matcher *m, struct weft_health_conf *ret)
{
	const char *const field = FIELD ".http_health_check.service_name_matcher";
	char at[WEFT_FIELD_MAX];

	if (!m)
		return;
	weft_build_fields(b, &m->base, field);
	ret->match_service = true;
	ret->match_kind = (int)m->match_pattern_case;
	ret->match_fold = m->ignore_case;
	switch (m->match_pattern_case) {
	case ENVOY__TYPE__MATCHER__V3__STRING_MATCHER__MATCH_PATTERN_EXACT:
		ret->match_text = copy(b, m->exact);
		break;
	case ENVOY__TYPE__MATCHER__V3__STRING_MATCHER__MATCH_PATTERN_PREFIX:
		ret->match_text = copy(b, m->prefix);
		break;
	case ENVOY__TYPE__MATCHER__V3__STRING_MATCHER__MATCH_PATTERN_SUFFIX:
		ret->match_text = copy(b, m->suffix);
		break;
	case ENVOY__TYPE__MATCHER__V3__STRING_MATCHER__MATCH_PATTERN_CONTAINS:
		ret->match_text = copy(b, m->contains);
		break;
	case ENVOY__TYPE__MATCHER__V3__STRING_MATCHER__MATCH_PATTERN_SAFE_REGEX:
		ret->match_regex =
			weft_build_regex(b, m->safe_regex, weft_field(at, field, "safe_regex"));
		break;
	default:
		weft_build_fail(b, field, "unsupported: a matcher of another kind");
	}
}

bool weft_health_service_matches(const struct weft_health_conf *c, const char *value, size_t n)
{
	int (*compare)(const char *a, const char *b, size_t n) =
		c->match_fold ? strncasecmp : strncmp;
	size_t len = c->match_text ? strlen(c->match_text) : 0;
	struct weft_regex_span span;

	switch (c->match_kind) {
	case ENVOY__TYPE__MATCHER__V3__STRING_MATCHER__MATCH_PATTERN_EXACT:
		return n == len && !compare(value, c->match_text, n);
	case ENVOY__TYPE__MATCHER__V3__STRING_MATCHER__MATCH_PATTERN_PREFIX:
		return n >= len && !compare(value, c->match_text, len);
	case ENVOY__TYPE__MATCHER__V3__STRING_MATCHER__MATCH_PATTERN_SUFFIX:
		return n >= len && !compare(value + n - len, c->match_text, len);
	case ENVOY__TYPE__MATCHER__V3__STRING_MATCHER__MATCH_PATTERN_CONTAINS:
		for (size_t i = 0; i + len <= n; i++) {
			if (!compare(value + i, c->match_text, len))
				return true;
		}
		return false;
	default:
		return weft_regex_search(c->match_regex, value, (uint32_t)n, 0, &span, 1) == 1 &&
		       span.begin == 0 && (size_t)span.end == n;
	}
}

static void send_take(struct weft_build *b, const http_check *h, struct weft_health_conf *ret)
{
	static const char *const bare[] = {"GET", "HEAD", "DELETE", "TRACE", NULL};
	const char *const field = FIELD ".http_health_check.send";

	if (!h->send)
		return;
	for (size_t i = 0; bare[i]; i++) {
		if (!strcmp(bare[i], ret->method))
			weft_build_fail(b, field, "a request of method %s has no payload", bare[i]);
	}
	payload_take(b, h->send, field, &ret->send);
}

static void http_take(struct weft_build *b, const http_check *h, struct weft_health_conf *ret)
{
	const char *const field = FIELD ".http_health_check";
	uint64_t all = 0;

	weft_build_fields(b, &h->base, field);
	ret->kind = WEFT_HEALTH_HTTP;
	ret->method = method_of(h);
	ret->host = copy(b, h->host);
	ret->path = copy(b, h->path);
	if (h->codec_client_type == ENVOY__TYPE__V3__CODEC_CLIENT_TYPE__HTTP3)
		weft_build_fail(b, FIELD ".http_health_check.codec_client_type",
				"unsupported: HTTP/3");
	ret->http2 = h->codec_client_type == ENVOY__TYPE__V3__CODEC_CLIENT_TYPE__HTTP2;
	header_put(b, ret, "user-agent", "Envoy/HC");
	headers_apply(b, h->request_headers_to_add, h->n_request_headers_to_add,
		      h->request_headers_to_remove, h->n_request_headers_to_remove, field,
		      "request_headers_to_add", ret);
	send_take(b, h, ret);
	receive_take(b, h->receive, h->n_receive, field, ret);
	ret->body_max = h->response_buffer_size ? (uint32_t)h->response_buffer_size->value
						: BODY_MAX;
	if (h->response_buffer_size && h->response_buffer_size->value > UINT32_MAX)
		ret->body_max = 0;
	for (size_t i = 0; i < ret->n_receive; i++)
		all += ret->receive[i].n;
	if (ret->body_max && all > ret->body_max)
		weft_build_fail(b, FIELD ".http_health_check.receive",
				"%llu bytes are more than response_buffer_size %u",
				(unsigned long long)all, ret->body_max);
	ranges_take(b, h->expected_statuses, h->n_expected_statuses, "expected_statuses",
		    &ret->expected, &ret->n_expected);
	ranges_take(b, h->retriable_statuses, h->n_retriable_statuses, "retriable_statuses",
		    &ret->retriable, &ret->n_retriable);
	if (ret->expected && !h->n_expected_statuses)
		ret->expected[ret->n_expected++] = (struct weft_health_range){200, 201};
	matcher_take(b, h->service_name_matcher, ret);
}

/* ---- TCP, gRPC ---- */

static void tcp_take(struct weft_build *b, const tcp_check *t, struct weft_health_conf *ret)
{
	const char *const field = FIELD ".tcp_health_check";

	weft_build_fields(b, &t->base, field);
	ret->kind = WEFT_HEALTH_TCP;
	if (t->proxy_protocol_config)
		weft_build_fail(b, FIELD ".tcp_health_check.proxy_protocol_config", "unsupported");
	if (t->send && t->send->payload_case ==
			       ENVOY__CONFIG__CORE__V3__HEALTH_CHECK__PAYLOAD__PAYLOAD_TEXT)
		payload_take(b, t->send, FIELD ".tcp_health_check.send", &ret->send);
	else if (t->send)
		weft_build_note(b, FIELD ".tcp_health_check.send.binary",
				"is not sent, as in Envoy 1.40: only text is");
	receive_take(b, t->receive, t->n_receive, field, ret);
}

static bool speaks_http2(const struct weft_img_cluster *c)
{
	return c->http != WEFT_UPSTREAM_HTTP1;
}

static void grpc_take(struct weft_build *b, const grpc_check *g, struct weft_health_conf *ret)
{
	const char *const field = FIELD ".grpc_health_check";
	char timeout[32];

	weft_build_fields(b, &g->base, field);
	ret->kind = WEFT_HEALTH_GRPC;
	ret->http2 = true;
	ret->method = "POST";
	ret->host = copy(b, g->authority);
	ret->path = copy(b, "/grpc.health.v1.Health/Check");
	ret->service = copy(b, g->service_name);
	header_put(b, ret, "te", "trailers");
	header_put(b, ret, "content-type", "application/grpc");
	header_put(b, ret, "user-agent", "Envoy/HC");
	headers_apply(b, g->initial_metadata, g->n_initial_metadata, NULL, 0, field,
		      "initial_metadata", ret);
	snprintf(timeout, sizeof(timeout), "%um", ret->timeout_ms);
	header_put(b, ret, "grpc-timeout", timeout);
}

/* ---- the whole ---- */

static void kind_take(struct weft_build *b, const check *h, struct weft_health_conf *ret)
{
	switch (h->health_checker_case) {
	case ENVOY__CONFIG__CORE__V3__HEALTH_CHECK__HEALTH_CHECKER_HTTP_HEALTH_CHECK:
		http_take(b, h->http_health_check, ret);
		break;
	case ENVOY__CONFIG__CORE__V3__HEALTH_CHECK__HEALTH_CHECKER_TCP_HEALTH_CHECK:
		tcp_take(b, h->tcp_health_check, ret);
		break;
	case ENVOY__CONFIG__CORE__V3__HEALTH_CHECK__HEALTH_CHECKER_GRPC_HEALTH_CHECK:
		grpc_take(b, h->grpc_health_check, ret);
		break;
	default:
		weft_build_fail(b, FIELD ".custom_health_check", "unsupported: \"%s\"",
				h->custom_health_check ? h->custom_health_check->name : "");
	}
}

void weft_build_health(struct weft_build *b, const cluster *c, struct weft_health_conf *ret)
{
	const check *h = c->health_checks[0];
	const Envoy__Config__Cluster__V3__Cluster__CommonLbConfig *lb = c->common_lb_config;

	*ret = (struct weft_health_conf){
		.cluster = copy(b, c->name),
		.reuse = weft_bool(h->reuse_connection, true),
		.log_failures = h->always_log_health_check_failures,
		.log_successes = h->always_log_health_check_success,
		.exclude_new = lb && lb->ignore_new_hosts_until_first_hc,
		.keep_removed = !c->ignore_health_on_host_removal,
		.method = "GET",
	};
	if (c->n_health_checks > 1)
		weft_build_fail(b, "health_checks", "unsupported: several");
	weft_build_fields(b, &h->base, FIELD);
	if (h->transport_socket_match_criteria)
		weft_build_transport_match(b, c, h->transport_socket_match_criteria,
					   FIELD ".transport_socket_match_criteria");
	times_fill(b, h, ret);
	kind_take(b, h, ret);
}

void weft_health_check_cluster(struct weft_build *b, const cluster *c,
			       const struct weft_img_cluster *img)
{
	struct weft_health_conf conf;

	if (!c->n_health_checks)
		return;
	if (!weft_health_is(c)) {
		weft_build_note(b, "health_checks", "the app chooses the host");
		return;
	}
	if (c->close_connections_on_host_health_failure)
		weft_build_fail(b, "close_connections_on_host_health_failure",
				"unsupported with health_checks");
	weft_build_health(b, c, &conf);
	if (conf.kind == WEFT_HEALTH_GRPC && !speaks_http2(img))
		weft_build_fail(b, FIELD ".grpc_health_check",
				"a cluster must support HTTP/2 for gRPC healthchecking");
	weft_health_conf_clear(&conf);
}

void weft_build_host_check(struct weft_build *b, const Envoy__Config__Endpoint__V3__Endpoint *e,
			   const char *field)
{
	const Envoy__Config__Endpoint__V3__Endpoint__HealthCheckConfig *h = e->health_check_config;
	struct weft_sockaddr addr;
	char at[WEFT_FIELD_MAX], inner[WEFT_FIELD_MAX];

	if (!h)
		return;
	weft_build_fields(b, &h->base, weft_field(at, field, "endpoint.health_check_config"));
	if (!h->address)
		return;
	weft_field(inner, at, "address");
	weft_build_fields(b, &h->address->base, inner);
	if (h->address->address_case !=
	    ENVOY__CONFIG__CORE__V3__ADDRESS__ADDRESS_SOCKET_ADDRESS)
		weft_build_fail(b, inner, "unsupported: no socket_address");
	else if (weft_build_socket(b, h->address->socket_address, inner) &&
		 !weft_ip_parse(h->address->socket_address->address,
				h->address->socket_address->port_value, &addr))
		weft_build_fail(b, inner, "\"%s\" is not an IP address",
				h->address->socket_address->address);
}

void weft_health_conf_clear(struct weft_health_conf *c)
{
	for (size_t i = 0; i < c->n_header; i++) {
		free(c->header[i].name);
		free(c->header[i].value);
	}
	for (size_t i = 0; i < c->n_receive; i++)
		free(c->receive[i].v);
	free(c->header);
	free(c->receive);
	free(c->send.v);
	free(c->expected);
	free(c->retriable);
	free(c->cluster);
	free(c->host);
	free(c->path);
	free(c->service);
	free(c->match_text);
	weft_regex_free(c->match_regex);
	*c = (struct weft_health_conf){0};
}
