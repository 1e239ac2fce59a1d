// SPDX-License-Identifier: Apache-2.0
/* Descriptors of local rate limits: which bucket a request finds, told by its size; what is
 * refused. */
#include "test/unit/compile_fixture.h"

#define BUCKET(n) "token_bucket: {max_tokens: " #n ", fill_interval: 60s}"
#define ON_ALL                                                                                     \
	"filter_enabled: " ON ", filter_enforced: " ON                                             \
	", enable_x_ratelimit_headers: DRAFT_VERSION_03, "
#define LIMIT(more) "{name: lrl, typed_config: {" LRL ", stat_prefix: rl, " ON_ALL more "}}, "
#define DESCRIPTOR(key, value, n) "{entries: [{key: " key ", value: " value "}], " BUCKET(n) "}"
#define GENERIC(key, value)                                                                        \
	"{actions: [{generic_key: {descriptor_key: " key ", descriptor_value: " value "}}]}"
#define BASE(limit, vhost, route)                                                                  \
	LISTENER("l", AT_80, HCM("", limit, RDS))                                                  \
	RC("", "{name: v, domains: ['*'], " vhost " routes: [{match: {prefix: /}, route: {"        \
	       "cluster: c, " route "}}]}")                                                        \
	"- {" T("config.cluster.v3.Cluster") ", name: c, type: STATIC}\n"

/* The bucket that responses tell of, by its tokens; 0: of none. */
static uint64_t told(const char *yaml, const char *path, const char *headers)
{
	struct conf_req *q = calloc(1, sizeof(*q));
	struct conf c;
	uint64_t n;

	assert_non_null(q);
	conf_open(&c);
	conf_ok(&c, yaml);
	conf_connect(q, "10.0.0.1", 80);
	conf_request(&c, q, "GET", "h", path, headers);
	n = q->req.n_told ? q->req.told[0].limit : 0;
	free(q);
	conf_close(&c);
	return n;
}

#define TWO                                                                                        \
	LIMIT(BUCKET(9) ", descriptors: [" DESCRIPTOR("k", "a", 1) ", " DESCRIPTOR("k", "b", 2) "]")
static void test_whose_rules(void **state)
{
	(void)state;
	assert_int_equal(told(BASE(TWO, "", ""), "/", ""), 9);
	assert_int_equal(told(BASE(TWO, "", "rate_limits: [" GENERIC("k", "a") "]"), "/", ""), 1);
	assert_int_equal(told(BASE(TWO, "", "rate_limits: [" GENERIC("k", "c") "]"), "/", ""), 9);
	assert_int_equal(told(BASE(TWO, "rate_limits: [" GENERIC("k", "b") "],", ""), "/", ""), 2);
	/* the route's hide the virtual host's */
	assert_int_equal(told(BASE(TWO, "rate_limits: [" GENERIC("k", "b") "],",
				   "rate_limits: [" GENERIC("k", "c") "]"),
			      "/", ""),
			 9);
	assert_int_equal(
		told(BASE(TWO, "rate_limits: [" GENERIC("k", "b") "],",
			  "include_vh_rate_limits: true, rate_limits: [" GENERIC("k", "c") "]"),
		     "/", ""),
		2);
	/* a filter's own count alone */
	assert_int_equal(
		told(BASE(LIMIT(BUCKET(9) ", descriptors: [" DESCRIPTOR(
				  "k", "a",
				  1) ", " DESCRIPTOR("k", "b",
						     2) "], rate_limits: [" GENERIC("k", "b") "]"),
			  "", "rate_limits: [" GENERIC("k", "a") "]"),
		     "/", ""),
		2);
}

#define BY_CLUSTER(action)                                                                         \
	LISTENER("l", AT_80,                                                                       \
		 HCM("",                                                                           \
		     LIMIT(BUCKET(9) ", descriptors: [" DESCRIPTOR("destination_cluster", "c",     \
								   3) "]"),                        \
		     RDS))                                                                         \
	ROUTES("{match: {prefix: /}, route: {" action                                              \
	       ", rate_limits: [{actions: [{destination_cluster: {}}]}]}}")                        \
	CLUSTER("c", "type: STATIC")
#define HASHED                                                                                     \
	"weighted_clusters: {clusters: [{name: c, weight: 1}], use_hash_policy: true}, "           \
	"hash_policy: [{header: {header_name: x}}]"
/* However the cluster is chosen. */
static void test_destination(void **state)
{
	char lines[4096] = "";

	(void)state;
	assert_int_equal(told(BY_CLUSTER("cluster: c"), "/", ""), 3);
	assert_int_equal(told(BY_CLUSTER("cluster_header: x"), "/", "x: c\r\n"), 3);
	assert_int_equal(
		told(BY_CLUSTER("weighted_clusters: {clusters: [{name: c, weight: 1}]}"), "/", ""),
		3);
	assert_int_equal(told(BY_CLUSTER(HASHED), "/", ""), 3);
	assert_int_equal(told(BY_CLUSTER(HASHED), "/", "x: c\r\n"), 3);
	/* whatever other headers there are */
	for (unsigned int i = 0; i < 60; i++)
		snprintf(lines + strlen(lines), sizeof(lines) - strlen(lines), "x-%u: c\r\n", i);
	assert_int_equal(told(BY_CLUSTER(HASHED), "/", lines), 3);
}

/* hits_addend.format: what is no number of tokens makes no descriptor (Envoy 1.40). */
static void test_format(void **state)
{
#define HITS(format)                                                                               \
	BASE(LIMIT(BUCKET(9) ", descriptors: [" DESCRIPTOR(                                        \
		     "k", "a",                                                                     \
		     5) "], rate_limits: "                                                         \
			"[{actions: [{generic_key: {descriptor_key: k, descriptor_value: "         \
			"a}}], hits_addend: {format: '" format "'}}]"),                            \
	     "", "")
	static const struct {
		const char *headers;
		uint64_t want;
	} list[] = {
		{"", 9},
		{"x: 5\r\n", 5},
		{"x: 5.9\r\n", 5},
		{"x: 0x2\r\n", 5},
		{"x: 0\r\n", 5},
		{"x: -1\r\n", 9},
		{"x: five\r\n", 9},
		{"x: 5 5\r\n", 9},
		{"x: 1000000001\r\n", 9},
		{"x: nan\r\n", 5},
		{"x: inf\r\n", 9},
		{"x: five\r\nx: 5\r\n", 9},
		{"y: 5\r\n", 5},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(list) / sizeof(*list); i++)
		if (told(HITS("%REQ(X?y)%"), "/", list[i].headers) != list[i].want)
			fail_msg("%s", list[i].headers);
	assert_int_equal(told(HITS("%REQ(x):1%"), "/", "x: 1a\r\n"), 5);
	assert_int_equal(told(HITS("%QUERY_PARAM(n)%"), "/?n=%32", ""), 5);
	assert_int_equal(told(HITS("%QUERY_PARAM(n)%"), "/?m=2", ""), 9);
	assert_int_equal(told(HITS("%DOWNSTREAM_LOCAL_PORT%"), "/", ""), 5);
	assert_int_equal(told(HITS("%RESPONSE_CODE%"), "/", ""), 5);
	assert_int_equal(told(HITS("%PROTOCOL%"), "/", ""), 9);
}

#define QUERY                                                                                      \
	LIMIT("descriptors: [" DESCRIPTOR("q", "'a b'", 1) ", " DESCRIPTOR(                        \
		"q", "'%zz'",                                                                      \
		2) ", " DESCRIPTOR("q", "'a+b'",                                                   \
				   3) ", " DESCRIPTOR("query_match", "m",                          \
						      4) ", {entries: [{key: "                     \
							 "q}], " BUCKET(5) "}], "                  \
									   "rate_limits: "         \
									   "[{actions: "           \
									   "[{query_"              \
									   "parameters: "          \
									   "{query_"               \
									   "parameter_"            \
									   "name: p&, "            \
									   "descriptor_"           \
									   "key: q}}]}, "          \
									   "{actions: "            \
									   "[{query_"              \
									   "parameter_"            \
									   "value_match: "         \
									   "{descriptor_"          \
									   "value: m, "            \
									   "query_"                \
									   "parameters: "          \
									   "[{name: x y, "         \
									   "string_match:"         \
									   " {exact: "             \
									   "'1=2'}}]}}]}"          \
									   "]")
static void test_queries_are_decoded(void **state)
{
	(void)state;
	assert_int_equal(told(BASE(QUERY, "", ""), "/?p%26=a%20b", ""), 1);
	assert_int_equal(told(BASE(QUERY, "", ""), "/?o=1&p%26=%zz&p%26=x", ""), 2);
	assert_int_equal(told(BASE(QUERY, "", ""), "/?p%26=a+b", ""), 3);
	assert_int_equal(told(BASE(QUERY, "", ""), "/?p%26=%", ""), 5);
	assert_int_equal(told(BASE(QUERY, "", ""), "/?p%26=", ""), 5);
	assert_int_equal(told(BASE(QUERY, "", ""), "/?p%26", ""), 5);
	assert_int_equal(told(BASE(QUERY, "", ""), "/?p=a%20b", ""), 0);
	assert_int_equal(told(BASE(QUERY, "", ""), "/?x%20y=1%3d2", ""), 4);
	assert_int_equal(told(BASE(QUERY, "", ""), "/?x%20y=1=2", ""), 4);
	assert_int_equal(told(BASE(QUERY, "", ""), "/?x%20y=1", ""), 0);
}

#define FROM                                                                                       \
	LIMIT("descriptors: [" DESCRIPTOR(                                                         \
		"masked_remote_address", "10.1.0.0/16",                                            \
		1) ", " DESCRIPTOR("masked_remote_address", "'2001:db8::/32'",                     \
				   2) ", " DESCRIPTOR("remote_address_match", "in",                \
						      3) "], "                                     \
							 "rate_limits: [{actions: "                \
							 "[{masked_remote_address: "               \
							 "{v4_prefix_mask_len: 16, "               \
							 "v6_prefix_mask_len: 32}}]}, "            \
							 "{actions: [{remote_address_match: "      \
							 "{descriptor_key: remote_address_match, " \
							 "descriptor_value: in, "                  \
							 "address_matcher: {ranges: "              \
							 "[{address_prefix: 10.2.0.0, "            \
							 "prefix_len: 15}]}}}]}]")
static void test_addresses(void **state)
{
	(void)state;
	assert_int_equal(told(BASE(FROM, "", ""), "/", "x-forwarded-for: 10.1.2.3\r\n"), 1);
	assert_int_equal(told(BASE(FROM, "", ""), "/", "x-forwarded-for: 2001:db8:1::1\r\n"), 2);
	assert_int_equal(told(BASE(FROM, "", ""), "/", "x-forwarded-for: 10.3.2.3\r\n"), 3);
	assert_int_equal(told(BASE(FROM, "", ""), "/", "x-forwarded-for: 10.4.2.3\r\n"), 0);
}

#define FIELD "filter_chains[0].filters[0].typed_config.http_filters[0].typed_config."
#define REFUSE(more, field, reason)                                                                \
	conf_refused(BASE(LIMIT(more), "", ""), "Listener/l", FIELD field, reason)
#define FORMAT(format, reason)                                                                     \
	REFUSE("rate_limits: [{hits_addend: {format: '" format                                     \
	       "'}, actions: [{remote_address: {}}]}]",                                            \
	       "rate_limits[0].hits_addend.format", reason)
#define OWN(action) "rate_limits: [{actions: [{" action "}]}]"
static void test_refused(void **state)
{
	(void)state;
	REFUSE(OWN("extension: {name: a, typed_config: {" T("type.v3.Int64Range") "}}"),
	       "rate_limits[0].actions[0].extension", "unsupported");
	REFUSE(OWN("generic_key: {descriptor_value: a, default_value: b}"),
	       "rate_limits[0].actions[0].generic_key.default_value", "unsupported");
	REFUSE(OWN("remote_address_match: {descriptor_value: a, address_matcher: {ranges: "
		   "[{address_prefix: x}]}}"),
	       "rate_limits[0].actions[0].remote_address_match.address_matcher.ranges[0].address_"
	       "prefix",
	       "no IP address");
	FORMAT("%REQ(x)%%REQ(y)%", "exactly one");
	FORMAT("%REQ(x)%1%HOSTNAME%", "exactly one");
	FORMAT("%HOSTNAME%%HOSTNAME%", "exactly one");
	FORMAT("%NOPE%", "unsupported");
	FORMAT("%START_TIME(%d)%", "unsupported");
	FORMAT("%UPSTREAM_CLUSTER%", "unsupported");
	FORMAT("%DOWNSTREAM_REMOTE_PORT%", "unsupported");
	FORMAT("%DOWNSTREAM_LOCAL_ADDRESS%", "unsupported");
	FORMAT("%LOCAL_REPLY_BODY%", "unsupported");
	REFUSE("rate_limits: [{hits_addend: {number: 1, is_negative_hits: true}, actions: "
	       "[{remote_address: {}}]}]",
	       "rate_limits[0].hits_addend.is_negative_hits", "unsupported");
	REFUSE("rate_limits: [{apply_on_stream_done: true, actions: [{remote_address: {}}]}]",
	       "rate_limits[0].apply_on_stream_done", "unsupported");
	REFUSE("max_dynamic_descriptors: 65537", "max_dynamic_descriptors", "above 65536");
	REFUSE(BUCKET(1) ", local_rate_limit_per_downstream_connection: true, descriptors: "
			 "[" DESCRIPTOR("a", "b", 1) "]",
	       "local_rate_limit_per_downstream_connection", "unsupported with descriptors");
	REFUSE("descriptors: [{entries: [{key: a, value: b}], token_bucket: {max_tokens: "
	       "4294967295, fill_interval: 300000s}}]",
	       "descriptors[0].token_bucket", "9 years");
}

/* n times `one` between `before` and `after`. */
static char *many(const char *before, const char *one, unsigned int n, const char *after)
{
	size_t size = strlen(before) + n * (strlen(one) + 2) + strlen(after) + 1;
	char *text = malloc(size);

	assert_non_null(text);
	strcpy(text, before);
	for (unsigned int i = 0; i < n; i++)
		strcat(strcat(text, i ? ", " : ""), one);
	return strcat(text, after);
}

static void test_limits(void **state)
{
	static const char before[] = "- {" T(
		"config.route.v3.RouteConfiguration") ", name: r, virtual_hosts: [{name: v, "
						      "domains: ['*'], routes: [{match: {prefix: "
						      "/}, route: {cluster: c, rate_limits: [";
	static const char after[] =
		"]}}]}]}\n- {" T("config.cluster.v3.Cluster") ", name: c, type: STATIC}\n";
	static const char actions[] =
		"]}]}}]}]}\n- {" T("config.cluster.v3.Cluster") ", name: c, type: STATIC}\n";
	char *text, with[512];

	(void)state;
	text = many(before, GENERIC("a", "b"), 32, after);
	conf_accepted(text);
	free(text);
	text = many(before, GENERIC("a", "b"), 33, after);
	conf_refused(text, "RouteConfiguration/r", "virtual_hosts[0].routes[0].route.rate_limits",
		     "more than 32");
	free(text);
	snprintf(with, sizeof(with), "%s{actions: [", before);
	text = many(with, "{remote_address: {}}", 16, actions);
	conf_accepted(text);
	free(text);
	text = many(with, "{remote_address: {}}", 17, actions);
	conf_refused(text, "RouteConfiguration/r",
		     "virtual_hosts[0].routes[0].route.rate_limits[0].actions", "more than 16");
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_format),
		cmocka_unit_test(test_whose_rules),
		cmocka_unit_test(test_queries_are_decoded),
		cmocka_unit_test(test_destination),
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
