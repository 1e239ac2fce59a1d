// SPDX-License-Identifier: Apache-2.0
/* RBAC: policies to tests, and what they decide. */
#include "test/unit/compile_fixture.h"

#define RBAC T("extensions.filters.http.rbac.v3.RBAC")
#define PER_ROUTE T("extensions.filters.http.rbac.v3.RBACPerRoute")
#define F0 "filter_chains[0].filters[0].typed_config.http_filters[0].typed_config"
#define FILTER(config) "{name: rbac, typed_config: {" RBAC ", " config "}}, "
#define ALL "{prefix: /}"
#define WITH(config, routes) LISTENER("l", AT_80, HCM("", FILTER(config), RDS)) ROUTES(routes)
#define ONE(config) WITH(config, "{match: " ALL ", " OK_200 "}")
#define ANY "any: true"
#define POLICY(permission, principal)                                                              \
	"{permissions: [{" permission "}], principals: [{" principal "}]}"
#define ALLOW(permission, principal)                                                               \
	"rules: {action: ALLOW, policies: {p: " POLICY(permission, principal) "}}"

struct asked {
	const char *method, *path, *headers, *source;
};

/* Decides one request. ret_details: of the reply, to be freed, NULL: not wanted. */
static enum weft_outcome ask(struct conf *c, const struct asked *a, char **ret_details)
{
	struct conf_req *q = calloc(1, sizeof(*q));
	enum weft_outcome outcome;

	assert_non_null(q);
	conf_connect(q, "10.0.0.1", 80);
	assert_true(weft_ip_parse(a->source ? a->source : "10.1.2.3", 4000, &q->ctx.src));
	conf_request(c, q, a->method ? a->method : "GET", "h", a->path ? a->path : "/",
		     a->headers ? a->headers : "");
	outcome = (enum weft_outcome)q->req.dec.outcome;
	if (ret_details) {
		const struct weft_img_reply *r = weft_img_at(q->req.dec.reply);

		*ret_details = strndup(weft_img_at(r->details.off), r->details.len);
		assert_int_equal(r->status, 403);
	}
	free(q);
	return outcome;
}

static bool passes(struct conf *c, const struct asked *a)
{
	enum weft_outcome o = ask(c, a, NULL);

	assert_true(o == WEFT_OUTCOME_DIRECT_RESPONSE || o == WEFT_OUTCOME_RBAC_DENIED);
	return o == WEFT_OUTCOME_DIRECT_RESPONSE;
}

static void check(const char *config, const struct asked *a, bool want)
{
	char yaml[8192];
	struct conf c;

	snprintf(yaml, sizeof(yaml), ONE("%s"), config);
	conf_open(&c);
	conf_ok(&c, yaml);
	if (passes(&c, a) != want)
		fail_msg("%s: %s expected", config, want ? "allowed" : "denied");
	conf_close(&c);
}

#define GET(...) (&(const struct asked){__VA_ARGS__})

static void test_permissions(void **state)
{
	(void)state;
	check(ALLOW(ANY, ANY), GET(0), true);
	check(ALLOW("header: {name: x-a, string_match: {exact: b}}", ANY),
	      GET(.headers = "x-a: b\r\n"), true);
	check(ALLOW("header: {name: x-a, string_match: {exact: b}}", ANY), GET(0), false);
	check(ALLOW("header: {name: ':method', string_match: {exact: POST}}", ANY), GET(0), false);
	/* lines of one name are asked each (3.17) */
	check(ALLOW("header: {name: x-a, string_match: {exact: b}}", ANY),
	      GET(.headers = "x-a: c\r\nx-a: b\r\n"), true);
	check(ALLOW("url_path: {path: {prefix: /a}}", ANY), GET(.path = "/ab?x"), true);
	check(ALLOW("url_path: {path: {exact: /a}}", ANY), GET(.path = "/a?x"), true);
	check(ALLOW("url_path: {path: {suffix: x}}", ANY), GET(.path = "/a?x"), false);
	check(ALLOW("url_path: {path: {contains: AB, ignore_case: true}}", ANY),
	      GET(.path = "/xaBy"), true);
	check(ALLOW("destination_port: 80", ANY), GET(0), true);
	check(ALLOW("destination_port: 81", ANY), GET(0), false);
	check(ALLOW("destination_port_range: {start: 80, end: 81}", ANY), GET(0), true);
	check(ALLOW("destination_port_range: {start: 70, end: 80}", ANY), GET(0), false);
	check(ALLOW("destination_ip: {address_prefix: 10.0.0.0, prefix_len: 24}", ANY), GET(0),
	      true);
	check(ALLOW("destination_ip: {address_prefix: 10.0.0.2, prefix_len: 32}", ANY), GET(0),
	      false);
	check(ALLOW("destination_ip: {address_prefix: 10.0.0.2, prefix_len: 31}", ANY), GET(0),
	      false);
	check(ALLOW("destination_ip: {address_prefix: 10.0.0.0, prefix_len: 31}", ANY), GET(0),
	      true);
	/* of its family only, whatever the length */
	check(ALLOW("destination_ip: {address_prefix: '::', prefix_len: 0}", ANY), GET(0), false);
	check(ALLOW("destination_ip: {address_prefix: 1.1.1.1}", ANY), GET(0), true);
	check(ALLOW("not_rule: {" ANY "}", ANY), GET(0), false);
	check(ALLOW("not_rule: {destination_port: 81}", ANY), GET(0), true);
	check(ALLOW("and_rules: {rules: [{destination_port: 80}, {destination_port: 81}]}", ANY),
	      GET(0), false);
	check(ALLOW("or_rules: {rules: [{destination_port: 80}, {destination_port: 81}]}", ANY),
	      GET(0), true);
}

static void test_principals(void **state)
{
#define FROM(kind) ALLOW(ANY, kind ": {address_prefix: 10.1.0.0, prefix_len: 16}")
	(void)state;
	check(FROM("direct_remote_ip"), GET(0), true);
	check(FROM("direct_remote_ip"), GET(.source = "10.2.0.1"), false);
	check(FROM("direct_remote_ip"), GET(.source = "2001:db8::1"), false);
	check(FROM("source_ip"), GET(.headers = "x-forwarded-for: 1.1.1.1\r\n"), true);
	/* the last address of x-forwarded-for is the remote one, if it is an address */
	check(FROM("remote_ip"), GET(0), true);
	check(FROM("remote_ip"), GET(.headers = "x-forwarded-for: 1.1.1.1\r\n"), false);
	check(FROM("remote_ip"),
	      GET(.source = "1.1.1.1", .headers = "x-forwarded-for: 9.9.9.9, 10.1.7.7 \r\n"), true);
	check(FROM("remote_ip"),
	      GET(.source = "1.1.1.1",
		  .headers = "x-forwarded-for: 9.9.9.9\r\nx-forwarded-for: 10.1.7.7\r\n"),
	      true);
	check(FROM("remote_ip"), GET(.headers = "x-forwarded-for: 10.1.7.7, what\r\n"), true);
	check(FROM("remote_ip"),
	      GET(.source = "1.1.1.1", .headers = "x-forwarded-for: 10.1.7.7, what\r\n"), false);
	check(ALLOW(ANY, "remote_ip: {address_prefix: '2001:db8::', prefix_len: 32}"),
	      GET(.headers = "x-forwarded-for: 2001:db8::7\r\n"), true);
	/* nobody is authenticated on clear text */
	check(ALLOW(ANY, "authenticated: {}"), GET(0), false);
	check(ALLOW(ANY, "not_id: {authenticated: {principal_name: {exact: a}}}"), GET(0), true);
	check(ALLOW(ANY, "header: {name: x-a}"), GET(.headers = "x-a: \r\n"), true);
	check(ALLOW(ANY, "url_path: {path: {exact: /a}}"), GET(.path = "/a"), true);
	check(ALLOW(ANY, "and_ids: {ids: [{header: {name: x-a}}, {header: {name: x-b}}]}"),
	      GET(.headers = "x-a: 1\r\n"), false);
	check(ALLOW(ANY, "or_ids: {ids: [{header: {name: x-a}}, {header: {name: x-b}}]}"),
	      GET(.headers = "x-b: 1\r\n"), true);
	check(ALLOW("destination_port: 80", "header: {name: x-a}"), GET(0), false);
}

/* A connection to a loopback address comes from loopback, though capturing changes what is seen. */
static void test_loopback(void **state)
{
	struct conf_req *q = calloc(1, sizeof(*q));
	struct conf c;

	(void)state;
	assert_non_null(q);
	conf_open(&c);
	conf_ok(&c, LISTENER("l", "address: " ADDRESS("127.9.0.1", 80) ",",
			     HCM("",
				 FILTER(ALLOW(ANY, "direct_remote_ip: {address_prefix: 127.0.0.1, "
						   "prefix_len: 32}")),
				 RDS)) ROUTES("{match: " ALL ", " OK_200 "}"));
	conf_connect(q, "127.9.0.1", 80);
	assert_true(weft_ip_parse("10.1.2.3", 1, &q->ctx.src));
	conf_request(&c, q, "GET", "h", "/", "");
	assert_int_equal(q->req.dec.outcome, WEFT_OUTCOME_DIRECT_RESPONSE);
	free(q);
	conf_close(&c);
}

static void details_are(const char *config, const struct asked *a, const char *want)
{
	char yaml[4096], *details;
	struct conf c;

	snprintf(yaml, sizeof(yaml), ONE("%s"), config);
	conf_open(&c);
	conf_ok(&c, yaml);
	assert_int_equal(ask(&c, a, &details), WEFT_OUTCOME_RBAC_DENIED);
	assert_string_equal(details, want);
	free(details);
	conf_close(&c);
}

static void test_actions(void **state)
{
#define TWO                                                                                        \
	"policies: {z y: " POLICY("destination_port: 80",                                          \
				  ANY) ", b: " POLICY("header: {name: x-b}", ANY) "}}"
	(void)state;
	check("rules: {action: ALLOW}", GET(0), false);
	check("rules: {action: DENY}", GET(0), true);
	check("rules: {action: LOG}", GET(0), true);
	check("rules: {action: LOG, " TWO, GET(0), true);
	check("track_per_rule_stats: true", GET(0), true);
	check("rules: {action: ALLOW, " TWO, GET(0), true);
	details_are(
		"rules: {action: ALLOW, policies: {p: " POLICY("destination_port: 81", ANY) "}}",
		GET(0), "rbac_access_denied_matched_policy[none]");
	/* by name: the first that matches is named, with '_' for a blank */
	details_are("rules: {action: DENY, " TWO, GET(0), "rbac_access_denied_matched_policy[z_y]");
	details_are("rules: {action: DENY, " TWO, GET(.headers = "x-b: 1\r\n"),
		    "rbac_access_denied_matched_policy[b]");
}

static const struct weft_cell_filter *counters(struct conf *c, const char *name)
{
	const char *kind;

	for (uint32_t i = 0; i < 64; i++) {
		uint32_t id = (uint32_t)WEFT_CELL_FILTER << WEFT_ID_KIND_SHIFT | i, cell;
		const char *n = weft_compiler_state_name(c->compiler, id, &kind);

		if (!n || strcmp(kind, "filter") || strncmp(n, name, strlen(name)))
			continue;
		cell = weft_cell_find(CONF_POD, id);
		assert_true(cell);
		return weft_cell_filter(cell);
	}
	fail_msg("no state %s", name);
	return NULL;
}

static void test_shadow_and_counters(void **state)
{
	const struct weft_cell_filter *f;
	struct conf c;

	(void)state;
	conf_open(&c);
	conf_ok(&c, ONE("rules: {action: DENY, policies: {p: " POLICY(
			    "header: {name: x-a}",
			    ANY) "}}, shadow_rules: {policies: {p: " POLICY("header: {name: x-b}",
									    ANY) "}}"));
	assert_true(passes(&c, GET(0)));
	assert_true(passes(&c, GET(.headers = "x-b: 1\r\n")));
	assert_false(passes(&c, GET(.headers = "x-a: 1\r\n")));
	f = counters(&c, "rbac Listener/l ");
	assert_int_equal(f->allowed, 2);
	assert_int_equal(f->denied, 1);
	assert_int_equal(f->shadow_allowed, 1);
	assert_int_equal(f->shadow_denied, 2);
	conf_close(&c);
}

static void test_per_route(void **state)
{
#define PER(config) "typed_per_filter_config: {rbac: {" config "}}"
	struct conf c;

	(void)state;
	conf_open(&c);
	conf_ok(&c,
		WITH("rules: {action: ALLOW}",
		     "{match: {path: /off}, " OK_200 ", " PER(
			     PER_ROUTE) "}, "
					"{match: {path: /disabled}, " OK_200 ", " PER(
						T("config.route.v3.FilterConfig") ", disabled: "
										  "true") "}, "
											  "{match: "
											  "{path: "
											  "/own},"
											  " " OK_200
											  ", " PER(PER_ROUTE ", rbac: {" ALLOW(
												  "header: {name: x-own}",
												  ANY) "}") "}, "
													    /* of another filter: it counts for neither */
													    "{match: {path: /other}, " OK_200
													    ", " PER(
														    LRL
														    ", stat_prefix: s, token_bucket: {max_tokens: 1, fill_interval: 1s}") "}, "
																							  "{match: " ALL
																							  ", " OK_200
																							  "}"));
	assert_false(passes(&c, GET(.path = "/")));
	assert_true(passes(&c, GET(.path = "/off")));
	assert_true(passes(&c, GET(.path = "/disabled")));
	assert_false(passes(&c, GET(.path = "/own")));
	assert_true(passes(&c, GET(.path = "/own", .headers = "x-own: 1\r\n")));
	assert_false(passes(&c, GET(.path = "/other")));
	conf_close(&c);
}

/* Filters of a listener and conditions of its routes look at headers through one table. */
static void test_names(void **state)
{
	struct conf c;

	(void)state;
	conf_open(&c);
	conf_ok(&c,
		LISTENER("l", AT_80, HCM("", FILTER(ALLOW("header: {name: x-l}", ANY)), RDS))
			LISTENER("m", "address: " ADDRESS("10.0.0.2", 80) ",",
				 HCM("",
				     FILTER(ALLOW("header: {name: x-m}", "header: {name: x-r}")),
				     RDS))
				ROUTES("{match: {prefix: /, headers: [{name: x-r}]}, " OK_200
				       "}, {match: " ALL ", direct_response: {status: 201}}"));
	assert_false(passes(&c, GET(.headers = "x-m: 1\r\nx-r: 1\r\n")));
	assert_true(passes(&c, GET(.headers = "x-l: 1\r\n")));
	assert_int_equal(conf_route(&c, "GET", "h", "/", "x-r: 1\r\nx-l: 1\r\n"), 0);
	assert_int_equal(conf_route(&c, "GET", "h", "/", "x-l: 1\r\n"), 1);
	/* no table of routes: what filters look at is seen all the same */
	conf_ok(&c, LISTENER("l", AT_80,
			     HCM("",
				 FILTER("rules: {action: DENY, policies: {p: " POLICY(
					 "header: {name: x-l}", ANY) "}}"),
				 RDS)));
	assert_int_equal(ask(&c, GET(0), NULL), WEFT_OUTCOME_NO_ROUTE);
	assert_int_equal(ask(&c, GET(.headers = "x-l: 1\r\n"), NULL), WEFT_OUTCOME_RBAC_DENIED);
	conf_close(&c);
}

/* ---- any nesting against its own meaning ---- */

static uint64_t seed = 77;

static uint32_t rnd(uint32_t n)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(seed >> 33) % n;
}

/* Writes a random permission for GET / with x-a, from 10.1.2.3 to 10.0.0.1:80. What it is. */
static bool tree(FILE *f, unsigned int depth)
{
	static const struct {
		const char *text;
		bool holds;
	} leaf[] = {{"any: true", true},
		    {"destination_port: 80", true},
		    {"destination_port: 443", false},
		    {"header: {name: x-a}", true},
		    {"header: {name: x-b}", false},
		    {"url_path: {path: {exact: /}}", true},
		    {"destination_ip: {address_prefix: 11.0.0.0, prefix_len: 8}", false}};
	uint32_t kind = depth ? rnd(4) : 3, n = 1 + rnd(3);
	bool all = kind == 0, holds = all;

	if (kind == 3) {
		n = rnd(sizeof(leaf) / sizeof(*leaf));
		fprintf(f, "{%s}", leaf[n].text);
		return leaf[n].holds;
	}
	if (kind == 2) {
		fputs("{not_rule: ", f);
		holds = !tree(f, depth - 1);
		fputs("}", f);
		return holds;
	}
	fprintf(f, "{%s: {rules: [", all ? "and_rules" : "or_rules");
	for (uint32_t i = 0; i < n; i++) {
		bool one;

		fputs(i ? ", " : "", f);
		one = tree(f, depth - 1);
		holds = all ? holds && one : holds || one;
	}
	fputs("]}}", f);
	return holds;
}

static void test_random_trees(void **state)
{
	(void)state;
	for (int i = 0; i < 300; i++) {
		char *text = NULL, *yaml = NULL;
		size_t len;
		FILE *f = open_memstream(&text, &len);
		struct conf c;
		bool want;

		assert_non_null(f);
		want = tree(f, 5);
		fclose(f);
		assert_true(asprintf(&yaml,
				     WITH("rules: {policies: {p: {permissions: [%s], principals: "
					  "[{any: true}]}}}",
					  "{match: " ALL ", " OK_200 "}"),
				     text) > 0);
		conf_open(&c);
		conf_ok(&c, yaml);
		if (passes(&c, GET(.headers = "x-a: 1\r\n")) != want)
			fail_msg("%s is %d", text, want);
		conf_close(&c);
		free(yaml);
		free(text);
	}
}

/* ---- refusals ---- */

static void refused(const char *permission, const char *principal, const char *more,
		    const char *field, const char *reason)
{
	char yaml[8192], at[512];

	snprintf(yaml, sizeof(yaml),
		 ONE("rules: {policies: {p: {permissions: [%s], principals: [%s] %s}}}"),
		 permission, principal, more);
	snprintf(at, sizeof(at), F0 ".rules.policies[\"p\"].%s", field);
	conf_refused(yaml, "Listener/l", at, reason);
}

#define NO_PERMISSION(rule, name)                                                                  \
	refused("{" rule "}", "{any: true}", "", "permissions[0]." name, "unsupported")
#define NO_PRINCIPAL(id, name)                                                                     \
	refused("{any: true}", "{" id "}", "", "principals[0]." name, "unsupported")
#define EXT "{name: a, typed_config: {" T("type.v3.Int64Range") "}}"
static void test_refused(void **state)
{
	(void)state;
	NO_PERMISSION("requested_server_name: {custom: " EXT "}", "requested_server_name.custom");
	NO_PERMISSION("metadata: {filter: envoy.filters.http.rbac, path: [{key: k}], value: "
		      "{present_match: true}}",
		      "metadata.filter");
	NO_PERMISSION("matcher: " EXT, "matcher");
	NO_PERMISSION("uri_template: " EXT, "uri_template");
	NO_PERMISSION("not_rule: {uri_template: " EXT "}", "not_rule.uri_template");
	refused("{uri_template: {name: a, typed_config: {" T(
			"extensions.path.match.uri_template.v3.UriTemplateMatchConfig") ", "
											"path_"
											"template: "
											"/a//b}}}",
		"{any: true}", "", "permissions[0].uri_template.path_template", "no template");
	refused("{uri_template: {name: a, typed_config: {" T(
			"extensions.path.match.uri_template.v3.UriTemplateMatchConfig") ", "
											"path_"
											"template: "
											"/a**}}}",
		"{any: true}", "", "permissions[0].uri_template.path_template", "unsupported");
	refused("{matcher: {name: a, typed_config: {" T(
			"extensions.rbac.matchers.upstream_ip_port.v3.UpstreamIpPortMatcher") "}}}",
		"{any: true}", "", "permissions[0].matcher", "neither");
	NO_PRINCIPAL("metadata: {filter: istio_authn, path: [{key: k}], value: {present_match: "
		     "true}}",
		     "metadata.filter");
	NO_PRINCIPAL("filter_state: {key: io.istio.peer_principal, string_match: {exact: a}}",
		     "filter_state.key");
	NO_PRINCIPAL("and_ids: {ids: [{any: true}, {custom: " EXT "}]}", "and_ids.ids[1].custom");
	refused("{any: true}", "{any: true}", ", condition: {}", "condition", "unsupported");
	refused("{any: true}", "{any: true}", ", checked_condition: {}", "checked_condition",
		"unsupported");
	refused("{destination_ip: {address_prefix: a}}", "{any: true}", "",
		"permissions[0].destination_ip.address_prefix", "no IP address");
	refused("{destination_port_range: {start: 5, end: 5}}", "{any: true}", "",
		"permissions[0].destination_port_range", "above it");
	refused("{destination_port_range: {start: -1, end: 5}}", "{any: true}", "",
		"permissions[0].destination_port_range", "between");
	conf_refused(ONE("matcher: {}"), "Listener/l", F0 ".matcher", "unsupported");
	conf_refused(ONE("shadow_matcher: {}"), "Listener/l", F0 ".shadow_matcher", "unsupported");
}

static void nested(char *out, size_t size, unsigned int depth)
{
	size_t n = 0;

	for (unsigned int i = 0; i < depth; i++)
		n += (size_t)snprintf(out + n, size - n, "{not_rule: ");
	n += (size_t)snprintf(out + n, size - n, "{any: true}");
	for (unsigned int i = 0; i < depth; i++)
		n += (size_t)snprintf(out + n, size - n, "}");
	assert_true(n < size);
}

static void test_depth(void **state)
{
	char deep[1024], yaml[4096];
	struct conf c;
	bool named = false;

	(void)state;
	conf_open(&c);
	nested(deep, sizeof(deep), WEFT_RULES_DEPTH_MAX - 1);
	snprintf(yaml, sizeof(yaml),
		 ONE("rules: {policies: {p: {permissions: [%s], principals: [{any: true}]}}}"),
		 deep);
	conf_ok(&c, yaml);
	assert_int_equal(passes(&c, GET(0)), (WEFT_RULES_DEPTH_MAX - 1) % 2 == 0);
	nested(deep, sizeof(deep), WEFT_RULES_DEPTH_MAX);
	snprintf(yaml, sizeof(yaml),
		 ONE("rules: {policies: {p: {permissions: [%s], principals: [{any: true}]}}}"),
		 deep);
	assert_int_equal(conf_set(&c, yaml), -EINVAL);
	for (size_t i = 0; i < c.diag.n; i++)
		named = named || strstr(c.diag.entries[i].reason, "nested more than 32 deep");
	assert_true(named);
	conf_close(&c);
}

static void test_noted(void **state)
{
	(void)state;
	conf_noted(ONE("track_per_rule_stats: true"), "Listener/l", F0 ".track_per_rule_stats");
	conf_noted(ONE("rules: {audit_logging_options: {audit_condition: ON_DENY}}"), "Listener/l",
		   F0 ".rules.audit_logging_options");
}

/* ---- connections ---- */

#define NET T("extensions.filters.network.rbac.v3.RBAC")
#define TCP                                                                                        \
	"{name: t, typed_config: {" T(                                                             \
		"extensions.filters.network.tcp_proxy.v3.TcpProxy") ", stat_prefix: s, cluster: "  \
								    "a}}"
#define A                                                                                          \
	CLUSTER("a", "type: STATIC, load_assignment: {cluster_name: a, endpoints: "                \
		     "[{lb_endpoints: [" ENDPOINT("10.5.0.1", 9) "]}]}")
#define CONN(config)                                                                               \
	LISTENER("l", AT_80,                                                                       \
		 "{name: r, typed_config: {" NET ", stat_prefix: s, " config "}}, " TCP)           \
	A
#define N0 "filter_chains[0].filters[0].typed_config"

static void conn(const char *config, const char *source, enum weft_class want_class,
		 enum weft_outcome want)
{
	struct weft_ctx ctx = {.pod = CONF_POD, .now_ns = 1000000000};
	struct weft_tcp tcp = {0};
	char yaml[8192];
	uint32_t chain = 0;
	struct conf c;
	int r;

	snprintf(yaml, sizeof(yaml), CONN("%s"), config);
	conf_open(&c);
	conf_ok(&c, yaml);
	assert_true(weft_ip_parse("10.0.0.1", 80, &ctx.dst));
	assert_true(weft_ip_parse(source, 1, &ctx.src));
	assert_int_equal(weft_ctx_begin(&ctx), 0);
	assert_int_equal(weft_class_find(&ctx, &chain), want_class);
	chain = weft_chain_find(&ctx, WEFT_PROTO_RAW);
	while ((r = weft_tcp_choose(&ctx, chain, &tcp)) == -EAGAIN)
		assert_true(weft_store_cell(c.store, CONF_POD, tcp.need));
	assert_int_equal(r, 0);
	if (tcp.outcome != want)
		fail_msg("%s: outcome %u, not %u", config, tcp.outcome, want);
	conf_close(&c);
}

static void test_connections(void **state)
{
	char many[4096] = "rules: {policies: {p: {permissions: [";

	(void)state;
	conn(ALLOW("destination_port: 80", ANY), "10.1.0.1", WEFT_CLASS_L4, WEFT_OUTCOME_FORWARD);
	conn(ALLOW("destination_port: 81", ANY), "10.1.0.1", WEFT_CLASS_L4,
	     WEFT_OUTCOME_REFUSED_RBAC);
	conn("rules: {action: DENY, policies: {p: " POLICY(ANY, ANY) "}}", "10.1.0.1",
	     WEFT_CLASS_L4, WEFT_OUTCOME_REFUSED_RBAC);
	conn("shadow_rules: {action: DENY, policies: {p: " POLICY(ANY, ANY) "}}", "10.1.0.1",
	     WEFT_CLASS_L4, WEFT_OUTCOME_FORWARD);
	conn("", "10.1.0.1", WEFT_CLASS_L4, WEFT_OUTCOME_FORWARD);
	/* where the app's address counts, connect() is too early */
	conn(FROM("direct_remote_ip"), "10.1.0.1", WEFT_CLASS_CAPTURED, WEFT_OUTCOME_FORWARD);
	conn(FROM("remote_ip"), "10.2.0.1", WEFT_CLASS_CAPTURED, WEFT_OUTCOME_REFUSED_RBAC);
	/* nothing has set metadata */
	conn(ALLOW("metadata: {filter: f, path: [{key: k}], value: {present_match: true}}", ANY),
	     "10.1.0.1", WEFT_CLASS_L4, WEFT_OUTCOME_REFUSED_RBAC);
	conn(ALLOW("metadata: {filter: f, path: [{key: k}], value: {present_match: true}, invert: "
		   "true}",
		   ANY),
	     "10.1.0.1", WEFT_CLASS_L4, WEFT_OUTCOME_FORWARD);
	/* there is no path */
	conn(ALLOW("url_path: {path: {prefix: /}}", ANY), "10.1.0.1", WEFT_CLASS_L4,
	     WEFT_OUTCOME_REFUSED_RBAC);
	for (unsigned int i = 0; i <= WEFT_CONN_TESTS_MAX; i++)
		snprintf(many + strlen(many), sizeof(many) - strlen(many),
			 "{destination_port: %u}, ", 200 + i);
	strcat(many, "{destination_port: 80}], principals: [{any: true}]}}}");
	conn(many, "10.1.0.1", WEFT_CLASS_CAPTURED, WEFT_OUTCOME_FORWARD);
}

static void test_connections_refused(void **state)
{
	(void)state;
	conf_refused(CONN(ALLOW("header: {name: a}", ANY)), "Listener/l",
		     N0 ".rules.policies[\"p\"].permissions[0].header", "no headers");
	conf_refused(CONN(ALLOW("requested_server_name: {exact: a}", ANY)), "Listener/l",
		     N0 ".rules.policies[\"p\"].permissions[0].requested_server_name",
		     "unsupported in a network filter");
	conf_refused(CONN("delay_deny: 1s"), "Listener/l", N0 ".delay_deny", "unsupported");
	conf_refused(CONN("matcher: {}"), "Listener/l", N0 ".matcher", "unsupported");
#define F1 "{name: r, typed_config: {" NET ", stat_prefix: s, rules: {action: DENY}}}, "
	conf_accepted(LISTENER("l", AT_80, F1 F1 F1 F1 TCP) A);
	conf_refused(LISTENER("l", AT_80, F1 F1 F1 F1 F1 TCP) A, "Listener/l",
		     "filter_chains[0].filters[4].typed_config", "more than 4 RBAC filters");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_permissions),
		cmocka_unit_test(test_principals),
		cmocka_unit_test(test_loopback),
		cmocka_unit_test(test_actions),
		cmocka_unit_test(test_shadow_and_counters),
		cmocka_unit_test(test_per_route),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_random_trees),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_depth),
		cmocka_unit_test(test_noted),
		cmocka_unit_test(test_connections),
		cmocka_unit_test(test_connections_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
