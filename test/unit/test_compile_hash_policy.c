// SPDX-License-Identifier: Apache-2.0
/* RouteAction.hash_policy, from YAML to the hash of a request. */
#include "test/unit/compile_fixture.h"

#define CLUSTER_C "load_assignment: {cluster_name: c, endpoints: [{lb_endpoints: [" ENDPOINT("10.1.0.1", 80) "]}]}"
#define POLICIES(list)                                                                             \
	LISTENER_80 ROUTES("{match: {prefix: /}, route: {cluster: c, hash_policy: [" list "]}}")   \
	CLUSTER("c", CLUSTER_C)
#define F "virtual_hosts[0].routes[0].route.hash_policy"

static uint64_t xx(const char *s, uint64_t seed)
{
	return weft_hash_xx64(s, strlen(s), seed);
}

static void hash_of(struct conf *c, const char *path, const char *headers, bool makes, bool found,
		    uint64_t want)
{
	struct conf_req *q = calloc(1, sizeof(*q));

	assert_non_null(q);
	conf_connect(q, "10.0.0.1", 80);
	assert_true(weft_ip_parse("10.9.8.7", 1234, &q->ctx.src));
	conf_request(c, q, "GET", "h", path, headers);
	assert_int_equal(q->req.dec.outcome, WEFT_OUTCOME_FORWARD);
	weft_req_hash(&q->req, &q->ctx, makes);
	assert_int_equal(q->req.dec.hashed, found);
	assert_true(q->req.dec.hash == want);
	free(q);
}

static void hash_is(struct conf *c, const char *path, const char *headers, bool found,
		    uint64_t want)
{
	hash_of(c, path, headers, false, found, want);
}

static void test_each(void **state)
{
	struct conf c;

	(void)state;
	conf_open(&c);
	conf_ok(&c, POLICIES("{header: {header_name: X-A}}"));
	hash_is(&c, "/", "", false, 0);
	hash_is(&c, "/", "x-a: one\r\n", true, xx("one", 0));
	hash_is(&c, "/", "x-a:\r\n", true, xx("", 0));
	hash_is(&c, "/", "x-a: b\r\nx-b: 0\r\nX-A: ab\r\n", true, xx("b", xx("ab", 0)));
	/* one that Envoy keeps as one line */
	conf_ok(&c, POLICIES("{header: {header_name: Accept}}"));
	hash_is(&c, "/", "accept: b\r\naccept:\r\naccept: a\r\n", true, xx("b,a", 0));
	conf_ok(&c, POLICIES("{header: {header_name: ':method'}}"));
	hash_is(&c, "/", "", true, xx("GET", 0));
	conf_ok(&c, POLICIES("{cookie: {name: k, path: /x}}"));
	hash_is(&c, "/", "cookie: a=b; k=v\r\n", true, xx("v", 0));
	hash_is(&c, "/", "cookie: k=\r\n", false, 0);
	conf_ok(&c, POLICIES("{query_parameter: {name: k}}"));
	hash_is(&c, "/?a=b&k=v&k=w", "", true, xx("v", 0));
	hash_is(&c, "/?k", "", true, xx("", 0));
	hash_is(&c, "/?kk=v", "", false, 0);
	conf_ok(&c, POLICIES("{connection_properties: {source_ip: true}}"));
	hash_is(&c, "/", "", true, xx("10.9.8.7", 0));
	conf_ok(&c, POLICIES("{connection_properties: {source_ip: false}}"));
	hash_is(&c, "/", "", false, 0);
	conf_close(&c);
}

static void test_together(void **state)
{
	uint64_t a = xx("a", 0), b = xx("b", 0);
	struct conf c;

	(void)state;
	conf_open(&c);
	conf_ok(&c, POLICIES("{header: {header_name: x-a}}, {query_parameter: {name: k}}"));
	hash_is(&c, "/?k=b", "x-a: a\r\n", true, (a << 1 | a >> 63) ^ b);
	hash_is(&c, "/", "x-a: a\r\n", true, a);
	hash_is(&c, "/?k=b", "", true, b);
	conf_ok(&c, POLICIES("{header: {header_name: x-a}, terminal: true}, "
			     "{query_parameter: {name: k}}"));
	hash_is(&c, "/?k=b", "x-a: a\r\n", true, a);
	hash_is(&c, "/?k=b", "", true, b);
	conf_close(&c);
}

static void test_refused(void **state)
{
	(void)state;
	conf_refused(POLICIES("{filter_state: {key: k}}"), "RouteConfiguration/r",
		     F "[0].filter_state", "unsupported");
	conf_refused(
		POLICIES("{header: {header_name: a, regex_rewrite: {pattern: {regex: 'a('}}}}"),
		"RouteConfiguration/r", F "[0].header.regex_rewrite.pattern", "missing )");
}

static void test_many(void **state)
{
	char *list = NULL, *yaml = NULL;
	size_t len;
	FILE *f = open_memstream(&list, &len);

	(void)state;
	for (unsigned int i = 0; i <= WEFT_HASHES_MAX; i++)
		fprintf(f, "{header: {header_name: x-%u}}, ", i);
	fclose(f);
	assert_true(asprintf(&yaml, POLICIES("%s"), list) > 0);
	conf_refused(yaml, "RouteConfiguration/r", F, "more than 64");
	free(yaml);
	free(list);
}

static void test_pseudo(void **state)
{
	struct conf c;

	(void)state;
	conf_open(&c);
	conf_ok(&c, POLICIES("{header: {header_name: ':path'}}"));
	hash_is(&c, "/a?b", "", true, xx("/a?b", 0));
	conf_ok(&c, POLICIES("{header: {header_name: ':authority'}}"));
	hash_is(&c, "/", "", true, xx("h", 0));
	conf_ok(&c, POLICIES("{header: {header_name: Host}}"));
	hash_is(&c, "/", "", true, xx("h", 0));
	conf_ok(&c, POLICIES("{header: {header_name: ':scheme'}}"));
	hash_is(&c, "/", "", true, xx("http", 0));
	hash_is(&c, "/", "x-forwarded-proto: https\r\n", true, xx("https", 0));
	conf_ok(&c, POLICIES("{header: {header_name: ':status'}}"));
	hash_is(&c, "/", "", false, 0);
	conf_close(&c);
}

static void test_rewritten(void **state)
{
	struct conf c;

	(void)state;
	conf_open(&c);
	conf_ok(&c,
		POLICIES("{header: {header_name: x-a, regex_rewrite: {pattern: {regex: '^(.).*'}, "
			 "substitution: '\\1'}}}"));
	hash_is(&c, "/", "x-a: one\r\n", true, xx("o", 0));
	/* sorted as rewritten */
	hash_is(&c, "/", "x-a: zb\r\nx-b: 0\r\nx-a: aa\r\n", true, xx("z", xx("a", 0)));
	hash_is(&c, "/", "x-a:\r\n", true, xx("", 0));
	hash_is(&c, "/", "", false, 0);
	/* no such group: nothing is replaced */
	conf_ok(&c, POLICIES("{header: {header_name: x-a, regex_rewrite: {pattern: {regex: o}, "
			     "substitution: '\\7'}}}"));
	hash_is(&c, "/", "x-a: one\r\n", true, xx("one", 0));
	conf_close(&c);
}

/* The value is Envoy's (1.40) for a connection of these addresses. */
static void test_made(void **state)
{
	struct weft_ctx ctx = {0};
	char value[WEFT_COOKIE_LEN + 1];
	struct conf c;

	(void)state;
	assert_true(weft_ip_parse("127.0.0.1", 59644, &ctx.src));
	assert_true(weft_ip_parse("127.0.0.1", 38385, &ctx.dst));
	weft_cookie_value(&ctx, value);
	assert_string_equal(value, "72be01eee5eea8f3");
	assert_true(weft_ip_parse("10.9.8.7", 1234, &ctx.src));
	assert_true(weft_ip_parse("10.0.0.1", 80, &ctx.dst));
	weft_cookie_value(&ctx, value);
	conf_open(&c);
	conf_ok(&c, POLICIES("{cookie: {name: k, ttl: 0s}}"));
	hash_of(&c, "/", "", true, true, xx(value, 0));
	hash_of(&c, "/", "cookie: k=\r\n", true, true, xx(value, 0));
	hash_of(&c, "/", "cookie: k=v\r\n", true, true, xx("v", 0));
	/* choosing a weighted cluster makes none */
	hash_of(&c, "/", "", false, false, 0);
	conf_ok(&c, POLICIES("{cookie: {name: k}}"));
	hash_of(&c, "/", "", true, false, 0);
	conf_close(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each),	cmocka_unit_test(test_together),
		cmocka_unit_test(test_refused), cmocka_unit_test(test_many),
		cmocka_unit_test(test_pseudo),	cmocka_unit_test(test_rewritten),
		cmocka_unit_test(test_made),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
