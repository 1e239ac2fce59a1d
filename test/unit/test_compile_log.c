// SPDX-License-Identifier: Apache-2.0
/* Access logs in the image; what of them is noted or refused. */
#include "compile_fixture.h"

#define TYPED(type) "'@type': type.googleapis.com/envoy." type
#define FILE_LOG(more)                                                                             \
	"{name: f, typed_config: {" TYPED(                                                         \
		"extensions.access_loggers.file.v3.FileAccessLog") ", path: /var/log/a, " more     \
								   "}}"
#define CONF(fields)                                                                               \
	"- {'@type': type.googleapis.com/envoy.config.listener.v3.Listener, name: l, address: "    \
	"{socket_address: {address: '10.0.0.1', port_value: 80}}, filter_chains: [{filters: "      \
	"[{name: h, typed_config: {" TYPED("extensions.filters.network.http_connection_manager."   \
					   "v3."                                                   \
					   "HttpConnectionManager") ", stat_prefix: s, " fields    \
								    ", http_filters: [{name: r, "  \
								    "typed_config: {" TYPED(       \
									    "extensions.filters."  \
									    "http.router.v3."      \
									    "Router") "}}], rds: " \
										      "{route_"    \
										      "config_"    \
										      "name: r, "  \
										      "config_"    \
										      "source: "   \
										      "{ads: "     \
										      "{}}}}}]}]}" \
										      "\n"
#define LOGS(list) CONF("access_log: [" list "]")
#define F "filter_chains[0].filters[0].typed_config."

static const struct weft_img_hcm *manager(struct conf *c, const char *yaml)
{
	struct conf_req q;

	conf_ok(c, yaml);
	conf_connect(&q, "10.0.0.1", 80);
	assert_int_equal(weft_ctx_begin(&q.ctx), 0);
	assert_int_equal(weft_listener_find(&q.ctx), 0);
	return weft_img_at(((const struct weft_img_chain *)weft_img_at(
				    weft_chain_find(&q.ctx, WEFT_PROTO_RAW)))
				   ->target);
}

static const struct weft_img_log *log_at(const struct weft_img_hcm *h, uint32_t i)
{
	const struct weft_img_logs *all = weft_img_at(h->logs);

	assert_true(i < all->n);
	return (const struct weft_img_log *)weft_img_at(all->log) + i;
}

static bool path_is(const struct weft_img_log *l, const char *path)
{
	return l->path.len == strlen(path) && !memcmp(weft_img_at(l->path.off), path, l->path.len);
}

static void test_kinds(void **state)
{
	const struct weft_img_hcm *h;
	const struct weft_img_logs *all;
	struct conf c;

	(void)state;
	conf_open(&c);
	h = manager(
		&c,
		CONF("access_log: [" FILE_LOG("") ", {name: o, typed_config: {" TYPED(
			"extensions.access_loggers.stream.v3.StdoutAccessLog") "}}, {name: e, "
									       "filter: "
									       "{status_code_"
									       "filter: "
									       "{comparison: {op: "
									       "GE, value: "
									       "{default_value: "
									       "500, runtime_key: "
									       "k}}}}, "
									       "typed_config: "
									       "{" TYPED(
										       "extensions."
										       "access_"
										       "loggers."
										       "stream.v3."
										       "StderrAcces"
										       "sLog") ", "
											       "log"
											       "_fo"
											       "rma"
											       "t: "
											       "{js"
											       "on_"
											       "for"
											       "mat"
											       ": "
											       "{a:"
											       " '%"
											       "RES"
											       "PON"
											       "SE_"
											       "COD"
											       "E%'"
											       "}}}"
											       "}],"
											       " "
											       "acc"
											       "ess"
											       "_lo"
											       "g_"
											       "opt"
											       "ion"
											       "s: "
											       "{fl"
											       "ush"
											       "_ac"
											       "ces"
											       "s_"
											       "log"
											       "_on"
											       "_ne"
											       "w_"
											       "req"
											       "ues"
											       "t: "
											       "tru"
											       "e, "
											       "flu"
											       "sh_"
											       "log"
											       "_on"
											       "_tu"
											       "nne"
											       "l_"
											       "suc"
											       "ces"
											       "sfu"
											       "lly"
											       "_es"
											       "tab"
											       "lis"
											       "hed"
											       ": "
											       "tru"
											       "e, "
											       "acc"
											       "ess"
											       "_lo"
											       "g_"
											       "flu"
											       "sh_"
											       "int"
											       "erv"
											       "al:"
											       " 2s"
											       "}"));
	all = weft_img_at(h->logs);
	assert_int_equal(all->n, 3);
	assert_int_equal(all->flags, WEFT_LOGS_AT_START | WEFT_LOGS_AT_TUNNEL);
	assert_int_equal(all->interval_ms, 2000);
	/* programs go on judging: only replies are the agent's */
	assert_false(h->flags & WEFT_HCM_PREPARED);
	assert_true(path_is(log_at(h, 0), "/var/log/a"));
	assert_true(path_is(log_at(h, 1), "/dev/stdout"));
	assert_true(path_is(log_at(h, 2), "/dev/stderr"));
	assert_int_equal(log_at(h, 0)->n_test, 0);
	assert_int_equal(log_at(h, 2)->n_test, 1);
	/* the usual format is the same object for both */
	assert_int_equal(log_at(h, 0)->body, log_at(h, 1)->body);
	assert_int_equal(((const struct weft_img_body *)weft_img_at(log_at(h, 2)->body))->format,
			 0);
	conf_close(&c);
}

static void test_without(void **state)
{
	struct conf c;

	(void)state;
	conf_open(&c);
	assert_int_equal(manager(&c, CONF("via: x"))->logs, 0);
	conf_close(&c);
}

/* They only observe: what is not written is said. */
static void test_noted(void **state)
{
	(void)state;
	conf_noted(LOGS("{name: g, typed_config: {'@type': type.googleapis.com/"
			"envoy.extensions.access_loggers.grpc.v3.HttpGrpcAccessLogConfig}}"),
		   "Listener/l", F "access_log[0].typed_config");
	conf_noted(LOGS("{name: f, filter: {or_filter: {filters: [{not_health_check_filter: {}}, "
			"{extension_filter: {name: e}}]}}, typed_config: {" TYPED(
				"extensions.access_loggers.stream.v3.StdoutAccessLog") "}}"),
		   "Listener/l", F "access_log[0].filter");
	conf_noted(LOGS(FILE_LOG("log_format: {text_format_source: {inline_string: "
				 "'%UPSTREAM_WIRE_BYTES_SENT%'}}")),
		   "Listener/l", F "access_log[0].typed_config.log_format.text_format_source");
}

static void test_refused(void **state)
{
	(void)state;
	/* as Envoy */
	conf_refused(LOGS(FILE_LOG("log_format: {text_format_source: {inline_string: "
				   "'%ROUTE_CLUSTER_NAME%'}}")),
		     "Listener/l", F "access_log[0].typed_config.log_format.text_format_source",
		     "unsupported: command %ROUTE_CLUSTER_NAME%");
	conf_refused(LOGS(FILE_LOG("format: '%REQ%'")), "Listener/l",
		     F "access_log[0].typed_config.text_format", "requires parameters");
	conf_refused(CONF("access_log: [" FILE_LOG("") "], flush_access_log_on_new_request: true, "
						       "access_log_options: {}"),
		     "Listener/l", F "access_log_options", "not beside");
	conf_refused(CONF("tracing: {}, access_log: [{name: f, filter: {traceable_filter: {}}, "
			  "typed_config: {" TYPED("extensions.access_loggers.stream.v3."
						  "StdoutAccessLog") "}}]"),
		     "Listener/l", F "access_log[0].filter.traceable_filter", "tracing");
}

/* Seventeen logs: one more than there may be. */
static void test_bounded(void **state)
{
	char yaml[16384] = "";
	static char all[20000];

	(void)state;
	for (int i = 0; i < 17; i++)
		strcat(yaml, i ? ", " FILE_LOG("") : FILE_LOG(""));
	snprintf(all, sizeof(all), LOGS("%s"), yaml);
	conf_refused(all, "Listener/l", F "access_log", "more than 16");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kinds),	cmocka_unit_test(test_without),
		cmocka_unit_test(test_noted),	cmocka_unit_test(test_refused),
		cmocka_unit_test(test_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
