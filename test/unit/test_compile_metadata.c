// SPDX-License-Identifier: Apache-2.0
/* Metadata of routes, and RBAC that asks for it. */
#include "test/unit/compile_fixture.h"

#define RBAC T("extensions.filters.http.rbac.v3.RBAC")
#define PER_ROUTE T("extensions.filters.http.rbac.v3.RBACPerRoute")
#define RULES(id) "rules: {policies: {p: {permissions: [{any: true}], principals: [{" id "}]}}}"
#define FILTER(id) "{name: rbac, typed_config: {" RBAC ", " RULES(id) "}}, "
#define WITH(id, routes) LISTENER("l", AT_80, HCM("", FILTER(id), RDS)) ROUTES(routes)
#define ROUTE(path, metadata) "{match: {path: " path "}, " OK_200 ", metadata: {" metadata "}}"
#define SOURCED(matcher)                                                                           \
	"sourced_metadata: {metadata_source: ROUTE, metadata_matcher: {" matcher "}}"
#define ASKED(path, value) SOURCED("filter: f, path: [" path "], value: {" value "}")
#define F0 "filter_chains[0].filters[0].typed_config.http_filters[0].typed_config"
#define MATCHER F0 ".rules.policies[\"p\"].principals[0].sourced_metadata.metadata_matcher"

static bool passes(struct conf *c, const char *path)
{
	struct conf_req *q = calloc(1, sizeof(*q));
	enum weft_outcome outcome;

	assert_non_null(q);
	conf_connect(q, "10.0.0.1", 80);
	conf_request(c, q, "GET", "h", path, "");
	outcome = (enum weft_outcome)q->req.dec.outcome;
	free(q);
	assert_true(outcome == WEFT_OUTCOME_DIRECT_RESPONSE || outcome == WEFT_OUTCOME_RBAC_DENIED);
	return outcome == WEFT_OUTCOME_DIRECT_RESPONSE;
}

static void check(const char *id, const char *metadata, bool want)
{
	char yaml[8192];
	struct conf c;

	snprintf(yaml, sizeof(yaml), WITH("%s", ROUTE("/a", "%s")), id, metadata);
	conf_open(&c);
	conf_ok(&c, yaml);
	if (passes(&c, "/a") != want)
		fail_msg("%s of %s: %s expected", id, metadata, want ? "allowed" : "denied");
	conf_close(&c);
}

#define HAS(value) "filter_metadata: {g: {k: 1}, f: {k: " value "}}"
#define K "{key: k}"
static void test_values(void **state)
{
	(void)state;
	check(ASKED(K, "string_match: {exact: v}"), HAS("v"), true);
	check(ASKED(K, "string_match: {exact: v}"), HAS("w"), false);
	check(ASKED(K, "string_match: {exact: V, ignore_case: true}"), HAS("v"), true);
	check(ASKED(K, "string_match: {safe_regex: {regex: 'v+'}}"), HAS("vvv"), true);
	check(ASKED(K, "string_match: {safe_regex: {regex: 'v+'}}"), HAS("vvw"), false);
	/* a table too large for a program is simulated */
	check(ASKED(K, "string_match: {safe_regex: {regex: '(a|b)*a(a|b){14}'}}"),
	      HAS("abbbbbbbbbbbbbb"), true);
	check(ASKED(K, "null_match: {}"), HAS("null"), true);
	check(ASKED(K, "null_match: {}"), HAS("0"), false);
	check(ASKED(K, "bool_match: false"), HAS("false"), true);
	check(ASKED(K, "bool_match: false"), HAS("null"), false);
	check(ASKED(K, "double_match: {exact: -0.0}"), HAS("0"), true);
	check(ASKED(K, "double_match: {range: {start: 1, end: 2}}"), HAS("1"), true);
	check(ASKED(K, "double_match: {range: {start: 1, end: 2}}"), HAS("2"), false);
	check(ASKED(K, "double_match: {exact: 1}"), HAS("'1'"), false);
	check(ASKED(K, "present_match: true"), HAS("{}"), true);
	check(ASKED(K, "present_match: false"), "typed_filter_metadata: {}", false);
	check(ASKED(K, "list_match: {one_of: {bool_match: true}}"), HAS("[1, true]"), true);
	check(ASKED(K, "list_match: {one_of: {bool_match: true}}"), HAS("true"), false);
	check(ASKED(K, "or_match: {value_matchers: [{null_match: {}}, {bool_match: true}]}"),
	      HAS("true"), true);
	check(ASKED("{key: k}, {key: l}", "double_match: {exact: 3}"), HAS("{l: 3}"), true);
	check(ASKED("{key: k}, {key: l}", "double_match: {exact: 3}"), HAS("[{l: 3}]"), false);
	check(SOURCED("filter: f, path: [" K "], value: {present_match: true}, invert: true"),
	      HAS("1"), false);
	check(SOURCED("filter: f, path: [" K "], value: {present_match: true}, invert: true"),
	      "filter_metadata: {f: {}}", true);
}

/* Without a route nothing fits, whatever is asked; require_tls's own has none. */
static void test_no_route(void **state)
{
	static const char *const yaml[] = {
		WITH(ASKED(K, "present_match: true"), ROUTE("/a", HAS("1"))),
		WITH(SOURCED("filter: f, path: [" K
			     "], value: {present_match: true}, invert: true"),
		     ROUTE("/a", HAS("1")))};
	struct conf_req *q = calloc(1, sizeof(*q));
	struct conf c;

	(void)state;
	assert_non_null(q);
	for (int i = 0; i < 2; i++) {
		conf_open(&c);
		conf_ok(&c, yaml[i]);
		conf_connect(q, "10.0.0.1", 80);
		conf_request(&c, q, "GET", "h", "/b", "");
		assert_int_equal(q->req.dec.outcome, WEFT_OUTCOME_RBAC_DENIED);
		conf_close(&c);
	}
	free(q);
}

static uint32_t metadata_of(struct conf *c)
{
	struct conf_req *q = calloc(1, sizeof(*q));
	const struct weft_img_route *r;
	uint32_t off;

	assert_non_null(q);
	conf_connect(q, "10.0.0.1", 80);
	conf_request(c, q, "GET", "h", "/a", "");
	r = weft_img_at(q->req.dec.route);
	off = r->metadata;
	free(q);
	return off;
}

/* The image has it where something asks: a filter, or an override of any level. */
static void test_carried(void **state)
{
#define OVERRIDE                                                                                   \
	"typed_per_filter_config: {rbac: {" PER_ROUTE                                              \
	", rbac: {" RULES(ASKED(K, "present_match: true")) "}}}"
	static const struct {
		const char *yaml;
		bool want;
	} list[] = {
		{WITH("any: true", ROUTE("/a", HAS("1"))), false},
		{WITH(ASKED(K, "present_match: true"), ROUTE("/a", HAS("1"))), true},
		{WITH(ASKED(K, "present_match: true"), ROUTE("/a", "filter_metadata: {}")), false},
		{WITH("any: true",
		      "{match: {path: /a}, " OK_200 ", metadata: {" HAS("1") "}, " OVERRIDE "}"),
		 true},
		{LISTENER("l", AT_80, HCM("", FILTER("any: true"), RDS))
			 RC("", "{name: v, domains: ['*'], " OVERRIDE
				", routes: [" ROUTE("/a", HAS("1")) "]}"),
		 true},
		{LISTENER("l", AT_80, HCM("", FILTER("any: true"), RDS))
			 RC(OVERRIDE ", ", VHOST(ROUTE("/a", HAS("1")))),
		 true},
	};
	struct conf c;

	(void)state;
	conf_open(&c);
	for (size_t i = 0; i < sizeof(list) / sizeof(*list); i++) {
		conf_ok(&c, list[i].yaml);
		if (!metadata_of(&c) == list[i].want)
			fail_msg("%zu: %s", i, list[i].yaml);
		if (list[i].want)
			assert_true(passes(&c, "/a"));
	}
	conf_close(&c);
}

static void nested(char *out, size_t size, const char *open, const char *in, const char *close,
		   unsigned int depth)
{
	size_t n = 0;

	for (unsigned int i = 0; i < depth; i++)
		n += (size_t)snprintf(out + n, size - n, "%s", open);
	n += (size_t)snprintf(out + n, size - n, "%s", in);
	for (unsigned int i = 0; i < depth; i++)
		n += (size_t)snprintf(out + n, size - n, "%s", close);
	assert_true(n < size);
}

static bool named(const struct weft_diag *d, const char *reason)
{
	for (size_t i = 0; i < d->n; i++)
		if (strstr(d->entries[i].reason, reason))
			return true;
	return false;
}

static void test_depth(void **state)
{
	char deep[2048], yaml[8192];
	struct conf c;

	(void)state;
	conf_open(&c);
	for (unsigned int more = 0; more < 2; more++) {
		nested(deep, sizeof(deep), "[", "1", "]", 31 + more);
		snprintf(yaml, sizeof(yaml),
			 WITH(ASKED(K, "present_match: true"),
			      ROUTE("/a", "filter_metadata: {f: {k: %s}}")),
			 deep);
		assert_int_equal(conf_set(&c, yaml), more ? -EINVAL : 0);
		assert_int_equal(named(&c.diag, "nested more than 32 deep"), more);
		nested(deep, sizeof(deep), "list_match: {one_of: {", "bool_match: true", "}}",
		       15 + more);
		snprintf(yaml, sizeof(yaml), WITH(ASKED(K, "%s"), ROUTE("/a", HAS("1"))), deep);
		assert_int_equal(conf_set(&c, yaml), more ? -EINVAL : 0);
		assert_int_equal(named(&c.diag, "nested more than 16 deep"), more);
	}
	conf_close(&c);
}

/* What Envoy refuses of a matcher. */
static void test_refused(void **state)
{
	(void)state;
	conf_refused(
		WITH(ASKED(K, "string_match: {safe_regex: {regex: '('}}"), ROUTE("/a", HAS("1"))),
		"Listener/l", MATCHER ".value.string_match.safe_regex", "missing )");
	conf_refused(WITH(ASKED(K, "string_match: {safe_regex: {regex: a}, ignore_case: true}"),
			  ROUTE("/a", HAS("1"))),
		     "Listener/l", MATCHER ".value.string_match.ignore_case", "no effect");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values),	cmocka_unit_test(test_no_route),
		cmocka_unit_test(test_carried), cmocka_unit_test(test_depth),
		cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
