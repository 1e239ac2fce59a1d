// SPDX-License-Identifier: Apache-2.0

/* What would change traffic and is not carried out is refused, not taken for nothing: one case for each such field. */

#include "test/unit/compile_fixture.h"

#define STATIC_80 \
	"load_assignment: {cluster_name: c, endpoints: [{lb_endpoints: [" ENDPOINT("10.0.0.9", 80) "]}]},"
#define OPTIONS(text)                                                                               \
	CLUSTER("c", STATIC_80                                                                     \
		"typed_extension_protocol_options: {envoy.extensions.upstreams.http.v3.HttpProtocolOptions: {" \
		T("extensions.upstreams.http.v3.HttpProtocolOptions") ", " text "}}")
#define OPTIONS_FIELD                                                                               \
	"typed_extension_protocol_options[\"envoy.extensions.upstreams.http.v3.HttpProtocolOptions\"]"
#define CASE "header_key_format: {proper_case_words: {}}"

#define STATEFUL                                                                                   \
	"header_key_format: {stateful_formatter: {name: p, typed_config: {" T(                     \
		"extensions.filters.http.router.v3.Router") "}}}"

static uint32_t codec_flags(const char *yaml)
{
	const struct weft_img_cluster_ref *ref;
	const struct weft_img_view *view;
	struct conf_req *q = calloc(1, sizeof(*q));
	uint32_t flags = ~0u;
	struct conf c;

	assert_non_null(q);
	conf_open(&c);
	conf_ok(&c, yaml);
	conf_connect(q, "10.0.0.1", 80);
	view = weft_img_at(q->ctx.view_off);
	ref = weft_img_at(view->cluster);
	for (uint32_t i = 0; i < view->n_cluster; i++)
		if (ref[i].cluster)
			flags = ((const struct weft_img_cluster *)weft_img_at(ref[i].cluster))
					->flags;
	free(q);
	conf_close(&c);
	return flags & (WEFT_CLUSTER_PROPER_CASE | WEFT_CLUSTER_WHOLE_URL);
}

/* The codec's options of upstream connections: spelling of names, form of the target. */
static void upstream_codec(void **state)
{
	(void)state;
	assert_int_equal(codec_flags(CLUSTER("c", STATIC_80)), 0);
	assert_int_equal(codec_flags(CLUSTER("c", STATIC_80 "http_protocol_options: {" CASE "}")),
			 WEFT_CLUSTER_PROPER_CASE);
	assert_int_equal(
		codec_flags(OPTIONS("explicit_http_config: {http_protocol_options: {" CASE "}}")),
		WEFT_CLUSTER_PROPER_CASE);
	assert_int_equal(codec_flags(OPTIONS("explicit_http_config: {http_protocol_options: "
					     "{send_fully_qualified_url: true}}")),
			 WEFT_CLUSTER_WHOLE_URL);
	assert_int_equal(
		codec_flags(OPTIONS("use_downstream_protocol_config: {http_protocol_options: {" CASE
				    "}}")),
		WEFT_CLUSTER_PROPER_CASE);
	/* Envoy refuses it without a transport that has ALPN */
	conf_refused(OPTIONS("auto_config: {}"), "Cluster/c", OPTIONS_FIELD ".auto_config",
		     "unsupported");
	conf_refused(CLUSTER("c", STATIC_80 "http_protocol_options: {" STATEFUL "}"), "Cluster/c",
		     "http_protocol_options.header_key_format.stateful_formatter", "unsupported");
	conf_refused(
		OPTIONS("explicit_http_config: {http_protocol_options: {enable_trailers: true}}"),
		"Cluster/c",
		OPTIONS_FIELD ".explicit_http_config.http_protocol_options.enable_trailers",
		"unsupported");
	/* what concerns requests that come in is without effect there, in Envoy as well */
	conf_accepted(OPTIONS("explicit_http_config: {http_protocol_options: {allow_absolute_url: true, "
			      "accept_http_10: true}}"));
	conf_accepted(OPTIONS("use_downstream_protocol_config: {}"));
}

/* A subset of the endpoints by metadata. */
static void tcp_subset(void **state)
{
	static const char *const yaml = LISTENER(
		"l", AT_80,
		"{name: t, typed_config: {" T("extensions.filters.network.tcp_proxy.v3.TcpProxy")
		", stat_prefix: s, weighted_clusters: {clusters: [{name: a, weight: 1}, {name: b, weight: 1,"
		" metadata_match: {filter_metadata: {envoy.lb: {version: v1}}}}]}}}");

	struct weft_ctx ctx = {.view = 0};
	struct conf_req q = {0};
	struct conf c;
	uint32_t chain;

	(void)state;
	conf_open(&c);
	conf_ok(&c, yaml);
	conf_connect(&q, "10.0.0.1", 80);
	ctx = q.ctx;
	assert_int_equal(weft_ctx_begin(&ctx), 0);
	/* not for connect(): the agent looks it up */
	assert_int_equal(weft_class_find(&ctx, &chain), WEFT_CLASS_CAPTURED);
	conf_close(&c);
}

/* Routing needs some headers: without them Envoy answers everybody 404. */
static void internal_headers(void **state)
{
	(void)state;
	conf_refused(
		LISTENER_80 RC("internal_only_headers: [x-secret, X-Forwarded-Proto], ", VHOST("")),
		"RouteConfiguration/r", "internal_only_headers[1]",
		"unsupported: x-forwarded-proto");
	conf_refused(LISTENER_80 RC("internal_only_headers: [':path'], ", VHOST("")),
		     "RouteConfiguration/r", "internal_only_headers[0]", "unsupported");
	conf_refused(LISTENER_80 RC("internal_only_headers: [Host], ", VHOST("")),
		     "RouteConfiguration/r", "internal_only_headers[0]", "unsupported");
}

static uint32_t hcm_flags(const char *fields)
{
	char yaml[2048];
	struct conf_req *q = calloc(1, sizeof(*q));
	struct conf c;
	uint32_t flags;

	assert_non_null(q);
	snprintf(yaml, sizeof(yaml), LISTENER("l", AT_80, HCM("%s", "", RDS)) ROUTES(""), fields);
	conf_open(&c);
	conf_ok(&c, yaml);
	conf_connect(q, "10.0.0.1", 80);
	conf_request(&c, q, "GET", "h", "/", "");
	flags = q->req.hcm_flags;
	free(q);
	conf_close(&c);
	return flags;
}

/* The codec's own setting counts, whatever the connection manager says. */
static void stream_error(void **state)
{
	(void)state;
	assert_false(hcm_flags("") & WEFT_HCM_STREAM_ERROR);
	assert_false(hcm_flags("stream_error_on_invalid_http_message: true, http_protocol_options: "
			       "{override_stream_error_on_invalid_http_message: false},") &
		     WEFT_HCM_STREAM_ERROR);
}

/* Endpoints beyond what a stored schedule has room for, alternately of weight 1 and `other`. */
static char *many_endpoints(size_t n, unsigned int other)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	assert_non_null(f);
	fprintf(f, "- {" T("config.cluster.v3.Cluster") ", name: c, load_assignment: {cluster_name: c, "
		   "endpoints: [{lb_endpoints: [");
	for (size_t i = 0; i < n; i++)
		fprintf(f, "%s{load_balancing_weight: %u, endpoint: {address: {socket_address: {address: "
			   "10.1.%zu.%zu, port_value: 80}}}}", i ? ", " : "", i % 2 ? other : 1, i >> 8, i & 255);
	fprintf(f, "]}]}}\n");
	fclose(f);
	return text;
}

static void weights_of_many(void **state)
{
	char *equal = many_endpoints(WEFT_SCHEDULE_MAX + 1, 1);
	char *differ = many_endpoints(WEFT_SCHEDULE_MAX + 1, 2);

	(void)state;
	conf_accepted(equal);
	conf_accepted(differ);
	free(equal);
	free(differ);
}

/* Prefixes each one byte longer than the one before: the deepest trie there is. */
static void deep_paths(void **state)
{
	enum { DEEP = 8000 };
	char *text = NULL, *path = calloc(1, DEEP + 1);
	size_t len;
	FILE *f = open_memstream(&text, &len);
	struct conf c;

	(void)state;
	assert_true(f && path);
	memset(path, 'a', DEEP);
	path[0] = '/';
	fprintf(f, "%s- {" T("config.route.v3.RouteConfiguration") ", name: r, virtual_hosts: [{name: v, "
		   "domains: ['*'], routes: [", LISTENER_80);
	for (int i = DEEP; i > 0; i -= 1)
		fprintf(f, "%s{match: {prefix: '%.*s'}, " OK_200 "}", i < DEEP ? ", " : "", i, path);
	fprintf(f, "]}]}\n");
	fclose(f);
	conf_open(&c);
	conf_ok(&c, text);
	assert_int_equal(conf_route(&c, "GET", "h", "/aaa", ""), DEEP - 4);
	conf_close(&c);
	free(path);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(upstream_codec),   cmocka_unit_test(tcp_subset),
		cmocka_unit_test(internal_headers), cmocka_unit_test(stream_error),
		cmocka_unit_test(weights_of_many),  cmocka_unit_test(deep_paths),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
