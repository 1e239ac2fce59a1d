// SPDX-License-Identifier: Apache-2.0
/* RouteAction and RedirectAction. */
#include "test/unit/compile_fixture.h"

#define ROUTE(action) LISTENER_80 ROUTES("{match: {prefix: /a}, route: {" action "}}")
#define F "virtual_hosts[0].routes[0].route."

/* The weft_img_forward of the route at /a. Valid until the next publish. */
static const struct weft_img_forward *forward(struct conf *c, const char *yaml)
{
	struct conf_req *q = calloc(1, sizeof(*q));
	const struct weft_img_forward *f;

	assert_non_null(q);
	conf_ok(c, yaml);
	conf_connect(q, "10.0.0.1", 80);
	conf_request(c, q, "GET", "h", "/a", "");
	assert_true(q->req.dec.route);
	f = weft_img_at(((const struct weft_img_route *)weft_img_at(q->req.dec.route))->action);
	free(q);
	return f;
}

static void test_defaults(void **state)
{
	const struct weft_img_forward *f;
	struct conf c;

	(void)state;
	conf_open(&c);
	f = forward(&c, ROUTE("cluster: x"));
	assert_int_equal(f->timeout_ms, 15000);
	assert_int_equal(f->idle_timeout_ms, WEFT_TIMEOUT_INHERIT);
	assert_int_equal(f->no_cluster, WEFT_REPLY_NO_CLUSTER_503);
	assert_int_equal(f->flags, 0);
	f = forward(&c, ROUTE("cluster: x, timeout: 0s, idle_timeout: 0.0005s, priority: HIGH, "
			      "cluster_not_found_response_code: INTERNAL_SERVER_ERROR"));
	assert_int_equal(f->timeout_ms, 0);
	assert_int_equal(f->idle_timeout_ms, 1);
	assert_int_equal(f->flags, WEFT_FORWARD_PRIORITY_HIGH);
	assert_int_equal(f->no_cluster, WEFT_REPLY_NO_CLUSTER_500);
	conf_close(&c);
}

static void test_weighted(void **state)
{
	const struct weft_img_targets *t;
	const struct weft_img_target *e;
	struct conf c;

	(void)state;
	conf_open(&c);
	t = weft_img_at(forward(&c, ROUTE("weighted_clusters: {clusters: [{name: x, weight: 1}, "
					  "{name: y, weight: 0}, {name: z, weight: 3}]}"))
				->targets);
	e = (const void *)(t + 1);
	assert_int_equal(t->n, 3);
	assert_int_equal(t->total, 4);
	assert_int_equal(e[0].end, 1);
	assert_int_equal(e[1].end, 1);
	assert_int_equal(e[2].end, 4);
	assert_memory_equal(weft_img_at(e[2].name.off), "z", 1);
	/* a weight of 0 is never taken, the others by share */
	for (__u64 r = 0; r < 8; r++) {
		__u32 off = weft_target_choose(
			(__u32)((const __u8 *)t - (const __u8 *)weft_img_at(0)), r);

		assert_int_equal(((const struct weft_img_target *)weft_img_at(off))->weight,
				 r % 4 ? 3 : 1);
	}
	conf_close(&c);
}

static void test_many_targets(void **state)
{
	char *out = NULL;
	size_t len;
	FILE *f = open_memstream(&out, &len);

	(void)state;
	fputs(LISTENER_80
	      "- {" T("config.route.v3.RouteConfiguration") ", name: r, virtual_hosts: [{name: v, "
							    "domains: ['*'], routes: [{match: "
							    "{prefix: /}, route: "
							    "{weighted_clusters: {clusters: [",
	      f);
	for (unsigned int i = 0; i <= WEFT_TARGETS_MAX; i++)
		fprintf(f, "{name: c%u, weight: 1}, ", i);
	fputs("]}}}]}]}\n", f);
	fclose(f);
	conf_refused(out, "RouteConfiguration/r", F "weighted_clusters.clusters", "more than 64");
	free(out);
}

static void test_retry(void **state)
{
	const struct weft_img_forward *f;
	struct conf c;

	(void)state;
	conf_open(&c);
	f = forward(
		&c,
		ROUTE("cluster: x, retry_policy: {retry_on: 'connect-failure,refused-stream, "
		      "unavailable ,nonsense,retriable-status-codes', "
		      "num_retries: 2, retriable_status_codes: [503, 504], "
		      "host_selection_retry_max_attempts: 5, "
		      "retry_host_predicate: [{name: envoy.retry_host_predicates.previous_hosts, "
		      "typed_config: {" T("extensions.retry.host.previous_hosts.v3."
					  "PreviousHostsPredicate") "}}]}"));
	assert_int_equal(f->flags, WEFT_FORWARD_HAS_RETRY);
	assert_int_equal(f->retry_on, WEFT_RETRY_CONNECT_FAILURE | WEFT_RETRY_REFUSED_STREAM |
					      WEFT_RETRY_UNAVAILABLE | WEFT_RETRY_STATUS_CODES);
	assert_int_equal(f->num_retries, 2);
	assert_int_equal(f->host_attempts, 5);
	assert_int_equal(f->retry_previous_hosts, 1);
	assert_int_equal(f->n_retry_status, 2);
	assert_int_equal(((const __u32 *)weft_img_at(f->retry_status))[1], 504);
	assert_int_equal(f->backoff_base_ms, 25);
	assert_int_equal(f->backoff_max_ms, 250);
	f = forward(&c, ROUTE("cluster: x, retry_policy: {retry_on: reset, per_try_timeout: 2s, "
			      "retry_back_off: {base_interval: 0.1s}}"));
	assert_int_equal(f->num_retries, 1);
	assert_int_equal(f->per_try_ms, 2000);
	assert_int_equal(f->backoff_max_ms, 1000);
	/* the virtual host's where the route has none */
	f = forward(&c,
		    LISTENER_80 RC("", "{name: v, domains: ['*'], retry_policy: {retry_on: 5xx}, "
				       "routes: [{match: {prefix: /}, route: {cluster: x}}]}"));
	assert_int_equal(f->retry_on, WEFT_RETRY_5XX);
	conf_close(&c);
	conf_refused(LISTENER_80 RC("", "{name: v, domains: ['*'], retry_policy: {retry_on: 5xx, "
					"refresh_cluster_on_retry: true}, routes: [{match: "
					"{prefix: /}, route: {cluster: x}}]}"),
		     "RouteConfiguration/r",
		     "virtual_hosts[0].retry_policy.refresh_cluster_on_retry", "unsupported");
}

static void test_upgrades(void **state)
{
	const struct weft_img_forward *f;
	const struct weft_img_upgrade *u;
	struct conf c;

	(void)state;
	conf_open(&c);
	f = forward(
		&c,
		ROUTE("cluster: x, upgrade_configs: [{upgrade_type: WebSocket, enabled: false}]"));
	u = weft_img_at(f->upgrade);
	assert_int_equal(f->flags, WEFT_FORWARD_UPGRADE_SET);
	assert_int_equal(f->n_upgrade, 1);
	assert_int_equal(u->enabled, 0);
	assert_memory_equal(weft_img_at(u->type.off), "websocket", 9);
	conf_close(&c);
}

static void refused(const char *action, const char *field)
{
	char yaml[4096], path[256];

	snprintf(yaml, sizeof(yaml), LISTENER_80 ROUTES("{match: {prefix: /a}, route: {%s}}"),
		 action);
	snprintf(path, sizeof(path), F "%s", field);
	conf_refused(yaml, "RouteConfiguration/r", path, "unsupported");
}

/* The cluster that a request goes to by its headers, "" none. */
static void cluster_is(struct conf *c, const char *path, const char *headers, const char *want)
{
	struct conf_req *q = calloc(1, sizeof(*q));
	const struct weft_img_cluster *cluster;

	assert_non_null(q);
	conf_connect(q, "10.0.0.1", 80);
	q->ctx.random = 1; /* the second of two equal shares */
	conf_request(c, q, "GET", "h", path, headers);
	cluster = q->req.dec.cluster ? weft_img_at(q->req.dec.cluster) : NULL;
	assert_int_equal(cluster ? cluster->name.len : 0, strlen(want));
	if (cluster)
		assert_memory_equal(weft_img_at(cluster->name.off), want, strlen(want));
	free(q);
}

static void test_cluster_by_header(void **state)
{
	struct conf c;

	(void)state;
	conf_open(&c);
	conf_ok(&c,
		LISTENER_80 ROUTES(
			"{match: {path: /pick}, route: {weighted_clusters: {header_name: X-Pick, "
			"clusters: [{name: a, weight: 1}, {name: b, weight: 1}]}}}, {match: {path: /to}, "
			"route: {cluster_header: X-To}}, {match: {path: /host}, route: {cluster_header: "
			"':authority'}}, {match: {path: /none}, non_forwarding_action: {}}")
			CLUSTER("a", "load_assignment: {cluster_name: a}")
				CLUSTER("b", "load_assignment: {cluster_name: b}")
					CLUSTER("h", "load_assignment: {cluster_name: h}"));
	cluster_is(&c, "/pick", "", "b");
	cluster_is(&c, "/pick", "x-pick: 0\r\n", "a");
	cluster_is(&c, "/pick", "x-pick: +2\r\n", "a");
	cluster_is(&c, "/pick", "x-pick: 000000000000000000000000000000002\r\n", "a");
	cluster_is(&c, "/pick", "x-pick: 18446744073709551614\r\n", "a");
	/* no number of 64 bits: random */
	cluster_is(&c, "/pick", "x-pick: 18446744073709551616\r\n", "b");
	cluster_is(&c, "/pick", "x-pick: 99999999999999999999\r\n", "b");
	cluster_is(&c, "/pick", "x-pick: -2\r\n", "b");
	cluster_is(&c, "/pick", "x-pick: 2x\r\n", "b");
	cluster_is(&c, "/pick", "x-pick: +\r\n", "b");
	cluster_is(&c, "/pick", "x-pick:\r\n", "b");
	cluster_is(&c, "/pick", "x-pick: 0\r\nx-pick: 0\r\n", "b");
	cluster_is(&c, "/to", "x-to: a\r\n", "a");
	cluster_is(&c, "/to", "x-to: b\r\nx-to: a\r\n", "b");
	cluster_is(&c, "/to", "x-to: A\r\n", "");
	cluster_is(&c, "/to", "x-to: c\r\n", "");
	cluster_is(&c, "/to", "x-to:\r\n", "");
	cluster_is(&c, "/to", "", "");
	cluster_is(&c, "/host", "", "h");
	cluster_is(&c, "/none", "", "");
	conf_close(&c);
}

/* use_hash_policy: the hash of the request as it came is the number. */
static void test_cluster_by_hash(void **state)
{
	struct conf c;

	(void)state;
	conf_open(&c);
	conf_ok(&c,
		LISTENER_80 ROUTES(
			"{match: {prefix: /hash}, route: {weighted_clusters: {clusters: [{name: a, "
			"weight: 1}, {name: b, weight: 1}], use_hash_policy: true}, hash_policy: "
			"[{header: {header_name: x-k}}]}, request_headers_to_remove: [x-k]}, "
			"{match: "
			"{prefix: /off}, route: {weighted_clusters: {clusters: [{name: a, weight: "
			"1}, "
			"{name: b, weight: 1}], use_hash_policy: false}, hash_policy: [{header: "
			"{header_name: x-k}}]}}") CLUSTER("a", "load_assignment: {cluster_name: a}")
			CLUSTER("b", "load_assignment: {cluster_name: b}"));
	for (int i = 0; i < 8; i++) {
		char value[] = {(char)('0' + i), 0}, line[16];

		snprintf(line, sizeof(line), "x-k: %s\r\n", value);
		cluster_is(&c, "/hash", line, weft_hash_xx64(value, 1, 0) % 2 ? "b" : "a");
		cluster_is(&c, "/off", line, "b");
	}
	/* nothing found: random, which is 1 here */
	cluster_is(&c, "/hash", "", "b");
	conf_close(&c);
}

static void test_refused_by_name(void **state)
{
	(void)state;
	refused("cluster: x, path_rewrite_policy: {name: p, typed_config: {" T(
			"extensions.path.rewrite.uri_template.v3.UriTemplateRewriteConfig")
		", path_template_rewrite: /a}}", "path_rewrite_policy");
	/* the path would end there */
	refused("cluster: x, regex_rewrite: {pattern: {regex: a}, substitution: 'a b'}",
		"regex_rewrite.substitution");
	refused("cluster: x, regex_rewrite: {pattern: {regex: a}, substitution: \"a\\tb\"}",
		"regex_rewrite.substitution");
	refused("cluster: x, prefix_rewrite: '/a b'", "prefix_rewrite");
	refused("cluster: x, host_rewrite: '%A%'", "host_rewrite");
	refused("cluster: x, path_rewrite: '%DYNAMIC_METADATA(a)%'", "path_rewrite");
	refused("cluster: x, internal_redirect_action: HANDLE_INTERNAL_REDIRECT", "internal_redirect_action");
	refused("cluster: x, max_internal_redirects: 1", "max_internal_redirects");
	refused("cluster: x, hedge_policy: {hedge_on_per_try_timeout: true}", "hedge_policy");
	refused("cluster: x, max_stream_duration: {max_stream_duration: 1s}",
		"max_stream_duration.max_stream_duration");
	refused("cluster: x, upgrade_configs: [{upgrade_type: CONNECT, connect_config: {}}]",
		"upgrade_configs[0].connect_config");
	refused("cluster: x, upgrade_configs: [{upgrade_type: CONNECT}]",
		"upgrade_configs[0].upgrade_type");
	refused("cluster: x, upgrade_configs: [{upgrade_type: connect-udp}]",
		"upgrade_configs[0].upgrade_type");
	refused("cluster: x, retry_policy: {retry_host_predicate: [{name: a.b}]}",
		"retry_policy.retry_host_predicate[0]");
}

static void test_bad_expressions(void **state)
{
	(void)state;
	conf_refused(ROUTE("cluster: x, regex_rewrite: {pattern: {regex: 'a('}}"), "RouteConfiguration/r",
		     F "regex_rewrite.pattern", "missing )");
	conf_refused(ROUTE("cluster: x, host_rewrite_path_regex: {pattern: {regex: '[a-z]{100}'}}"),
		     "RouteConfiguration/r", F "host_rewrite_path_regex.pattern", "program size of 104");
	conf_refused(ROUTE("cluster: x, prefix_rewrite: /a, regex_rewrite: {pattern: {regex: a}}"),
		     "RouteConfiguration/r", "virtual_hosts[0].routes[0].route", "more than one of");
}

static void test_without_effect(void **state)
{
	(void)state;
	/* RE2 replaces nothing then */
	conf_noted(ROUTE("cluster: x, regex_rewrite: {pattern: {regex: a}, substitution: '\\1'}"),
		   "RouteConfiguration/r", F "regex_rewrite.substitution");
	conf_noted(ROUTE("cluster: x, max_grpc_timeout: 0s"), "RouteConfiguration/r",
		   F "max_grpc_timeout");
	conf_noted(ROUTE("cluster: x, max_stream_duration: {grpc_timeout_header_max: 0s}"),
		   "RouteConfiguration/r", F "max_stream_duration");
}

#define REDIRECT(r)                                                                                \
	LISTENER_80 ROUTES("{match: {prefix: /a/}, redirect: {" r                                  \
			   "}}, {match: {path: /e}, redirect: {" r "}}")
static void location_is(const char *redirect, const char *path, const char *status,
			const char *want)
{
	char yaml[4096], line[256], *reply;
	struct conf c;

	snprintf(yaml, sizeof(yaml),
		 LISTENER_80 ROUTES("{match: {prefix: /a/}, redirect: {%s}}, {match: {path: /e}, "
				    "redirect: {%s}}"),
		 redirect, redirect);
	snprintf(line, sizeof(line), "location: %s\r\n", want);
	conf_open(&c);
	conf_ok(&c, yaml);
	reply = conf_reply(&c, "GET", path, "");
	if (!strstr(reply, line) || strncmp(reply + 9, status, 3))
		fail_msg("%s: wanted %s and %s, got\n%s", redirect, status, want, reply);
	free(reply);
	conf_close(&c);
}

static void test_redirects(void **state)
{
	(void)state;
	location_is("host_redirect: x", "/a/b?q=1", "301", "http://x/a/b?q=1");
	location_is("host_redirect: x, response_code: FOUND", "/a/b", "302", "http://x/a/b");
	location_is("response_code: SEE_OTHER", "/a/b", "303", "http://h/a/b");
	location_is("https_redirect: true, response_code: TEMPORARY_REDIRECT", "/a/b", "307",
		    "https://h/a/b");
	location_is("scheme_redirect: ftp, response_code: PERMANENT_REDIRECT", "/a/b", "308",
		    "ftp://h/a/b");
	location_is("port_redirect: 8443", "/a/b", "301", "http://h:8443/a/b");
	location_is("path_redirect: /n", "/a/b?q=1", "301", "http://h/n?q=1");
	location_is("path_redirect: '/n?z'", "/a/b?q=1", "301", "http://h/n?z");
	location_is("prefix_rewrite: /n/", "/a/b?q=1", "301", "http://h/n/b?q=1");
	location_is("prefix_rewrite: /n", "/e?q=1", "301", "http://h/n?q=1");
	location_is("strip_query: true", "/a/b?q=1", "301", "http://h/a/b");
	conf_refused(REDIRECT("path_rewrite: '%A%'"), "RouteConfiguration/r",
		     "virtual_hosts[0].routes[0].redirect.path_rewrite",
		     "unsupported: command %A%");
	location_is("path_rewrite: ''", "/a/b?q=1", "301", "http://h/a/b?q=1");
	location_is("path_redirect: /n, strip_query: true", "/a/b?q=1", "301", "http://h/n");
	conf_refused(REDIRECT("regex_rewrite: {pattern: {regex: '('}, substitution: b}"),
		     "RouteConfiguration/r", "virtual_hosts[0].routes[0].redirect.regex_rewrite.pattern",
		     "missing )");
	conf_refused(REDIRECT("scheme_redirect: abcdefghijklmnopqrstu"), "RouteConfiguration/r",
		     "virtual_hosts[0].routes[0].redirect.scheme_redirect", "more than 20 bytes");
	/* it would end the line */
	conf_refused(REDIRECT("scheme_redirect: \"a\\r\\nb\""), "RouteConfiguration/r",
		     "virtual_hosts[0].routes[0].redirect.scheme_redirect", "not a scheme");
	location_is("port_redirect: 99999", "/a/b", "301", "http://h:99999/a/b");
	conf_refused(REDIRECT("port_redirect: 100000"), "RouteConfiguration/r",
		     "virtual_hosts[0].routes[0].redirect.port_redirect", "not a port");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),	  cmocka_unit_test(test_weighted),
		cmocka_unit_test(test_many_targets),	  cmocka_unit_test(test_retry),
		cmocka_unit_test(test_cluster_by_header), cmocka_unit_test(test_cluster_by_hash),
		cmocka_unit_test(test_upgrades),	  cmocka_unit_test(test_refused_by_name),
		cmocka_unit_test(test_bad_expressions),	  cmocka_unit_test(test_without_effect),
		cmocka_unit_test(test_redirects),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
