// SPDX-License-Identifier: Apache-2.0
/* Endpoints: health, priorities, panic, weights, transport socket matches. */
#include "test/unit/compile_fixture.h"

#define EDS(more) CLUSTER("c", more "type: EDS, eds_cluster_config: {eds_config: {ads: {}}}")
#define CLA(more)                                                                                  \
	"- {" T("config.endpoint.v3.ClusterLoadAssignment") ", cluster_name: c, " more "}\n"

static json_t *view(struct conf *c, const char *yaml)
{
	json_t *list;

	conf_ok(c, yaml);
	list = weft_image_json_view(c->store, 0, "endpoints");
	assert_int_equal(json_array_size(list), 1);
	return list;
}

/* hosts: one letter per host and priority, e.g. "HHU/D": H healthy, U unhealthy, D degraded. */
static char *yaml_of(const char *hosts, const char *more)
{
	char *out = NULL;
	size_t len;
	FILE *f = open_memstream(&out, &len);
	int priority = 0, n = 0;

	fprintf(f,
		"%s- {" T("config.endpoint.v3.ClusterLoadAssignment") ", cluster_name: c, "
								      "endpoints: [{priority: 0, "
								      "lb_endpoints: [",
		more);
	for (; *hosts; hosts++) {
		if (*hosts == '/')
			fprintf(f, "]}, {priority: %d, lb_endpoints: [", ++priority);
		else
			fprintf(f,
				"{health_status: %s, endpoint: {address: {socket_address: "
				"{address: 10.0.0.%d, port_value: 80}}}}, ",
				*hosts == 'H'	? "HEALTHY"
				: *hosts == 'D' ? "DEGRADED"
				: *hosts == 'X' ? "DRAINING"
						: "UNHEALTHY",
				++n);
	}
	fputs("]}]}\n", f);
	fclose(f);
	return out;
}

/* want: "load_end:host,host load_end:..." */
static void sets_are(const char *hosts, const char *cluster, const char *want)
{
	char got[512] = "", *yaml = yaml_of(hosts, cluster);
	json_t *list, *set, *host;
	struct conf c;
	size_t i, k;

	conf_open(&c);
	list = view(&c, yaml);
	json_array_foreach(json_object_get(json_array_get(list, 0), "sets"), i, set)
	{
		sprintf(got + strlen(got), "%s%d:", i ? " " : "",
			(int)json_integer_value(json_object_get(set, "load_end")));
		json_array_foreach(json_object_get(set, "hosts"), k, host) sprintf(
			got + strlen(got), "%s%d", k ? "," : "", (int)json_integer_value(host));
	}
	if (strcmp(got, want))
		fail_msg("%s: wanted %s, got %s", hosts, want, got);
	json_decref(list);
	free(yaml);
	conf_close(&c);
}

static void test_priorities(void **state)
{
	(void)state;
	sets_are("HH", EDS(""), "100:0,1");
	sets_are("HUU", EDS(""),
		 "100:0,1,2"); /* 46 % of 100, below 50 % healthy: panic, all hosts */
	/* one that drains is not counted, but gets its part in panic */
	sets_are("HUX", EDS(""), "100:0");
	sets_are("HUUX", EDS(""), "100:0,1,2,3");
	sets_are("XX", EDS(""), "100:0,1");
	sets_are("XX/U", EDS(""), "67:0,1 100:2"); /* all in panic: by hosts, draining or not */
	sets_are("X/H", EDS(""), "100:1");
	sets_are("HX/H", EDS(""), "100:0");
	sets_are("HHUUUUU", EDS("common_lb_config: {healthy_panic_threshold: {value: 29}}, "),
		 "100:0,1");		     /* 29 / 100 * 100 is a little less */
	sets_are("HHU", EDS(""), "100:0,1"); /* 93 %, and all load is here */
	sets_are("HHHU/HH", EDS(""), "100:0,1,2"); /* 105 % */
	sets_are("HHUU/HH", EDS(""), "70:0,1 100:4,5");
	sets_are("UU/HH", EDS(""), "100:2,3");
	sets_are("HU/D", EDS(""), "70:0 100:2"); /* degraded takes what healthy leaves */
	sets_are("D", EDS(""), "100:0");
	/* tables of consistent hashing have healthy hosts only */
	sets_are("HU/D", EDS("lb_policy: MAGLEV, "), "70:0 100:");
}

static const uint64_t *since_of(const struct conf *c)
{
	const struct weft_img_head *head = weft_img_at(0);
	const struct weft_img_root *root = weft_img_at((uint32_t)head->root);
	const struct weft_img_view *v = weft_img_at(((const uint32_t *)(root + 1))[0]);
	const struct weft_img_cluster_ref *ref = weft_img_at(v->cluster);
	uint32_t i = 0;

	(void)c;
	while (!ref[i].endpoints)
		i++;
	i = ((const struct weft_img_endpoints *)weft_img_at(ref[i].endpoints))->since;
	return i ? weft_img_at(i) : NULL;
}

/* 100 % by weight, where the number of hosts says 70. */
static void test_weighted_health(void **state)
{
	static const char *const policy[] = {"", "policy: {weighted_priority_health: true}, "};

	(void)state;
	for (int i = 0; i < 2; i++) {
		char *yaml = NULL;
		json_t *list;
		struct conf c;

		conf_open(&c);
		assert_true(
			asprintf(
				&yaml,
				"%s" CLA(
					"%s endpoints: [{lb_endpoints: [{load_balancing_weight: 9, "
					"endpoint: {address: {socket_address: {address: 10.0.0.1, "
					"port_value: 80}}}}, {health_status: UNHEALTHY, endpoint: "
					"{address: {socket_address: {address: 10.0.0.2, "
					"port_value: "
					"80}}}}]}, {priority: 1, lb_endpoints: [{endpoint: "
					"{address: "
					"{socket_address: {address: 10.0.0.3, port_value: "
					"80}}}}]}]"),
				EDS(""), policy[i]) > 0);
		list = view(&c, yaml);
		assert_int_equal(
			json_integer_value(json_object_get(
				json_array_get(json_object_get(json_array_get(list, 0), "sets"), 0),
				"load_end")),
			i ? 100 : 70);
		json_decref(list);
		free(yaml);
		conf_close(&c);
	}
}

#define SLOW "round_robin_lb_config: {slow_start_config: {slow_start_window: 10s}}, "
/* It begins when a host is first seen healthy, and never again while the host stays. */
static void test_slow_start(void **state)
{
	char *yaml[] = {yaml_of("HUD", EDS(SLOW)), yaml_of("HHH", EDS(SLOW)),
			yaml_of("UHH", EDS(SLOW)), yaml_of("HHH", EDS(SLOW)),
			yaml_of("HHH", EDS(""))};
	uint64_t first[3] = {0};
	struct conf c;

	(void)state;
	conf_open(&c);
	for (size_t i = 0; i < sizeof(yaml) / sizeof(*yaml); i++) {
		const uint64_t *since;

		conf_ok(&c, yaml[i]);
		free(yaml[i]);
		since = since_of(&c);
		if (i == 4) {
			assert_null(since);
			break;
		}
		for (int k = 0; k < 3; k++) {
			bool healthy = i == 1 || i == 3 || (i == 0 ? k == 0 : k > 0);

			assert_int_equal(since[k] != 0, healthy);
			if (healthy && first[k])
				assert_true(since[k] == first[k]);
			first[k] = first[k] ? first[k] : since[k];
		}
		assert_true(i == 0 || (first[1] > first[0] && first[2] > first[0]));
	}
	conf_close(&c);
}

static void test_panic(void **state)
{
	(void)state;
	/* nobody is healthy: all in panic, shared by plain counts */
	sets_are("UUU/U", EDS(""), "75:0,1,2 100:3");
	sets_are("U", EDS("common_lb_config: {healthy_panic_threshold: {value: 0}}, "), "100:");
	/* P0 25 % healthy, P1 too: N = 70; both are in panic */
	sets_are("HUUU/HUUU", EDS(""), "50:0,1,2,3 100:4,5,6,7");
	sets_are("HUUU/HUUU", EDS("common_lb_config: {healthy_panic_threshold: {value: 20}}, "),
		 "50:0 100:4");
}

static void test_no_endpoints(void **state)
{
	struct conf c;
	json_t *list;

	(void)state;
	conf_open(&c);
	list = view(&c, EDS("") CLA(""));
	assert_int_equal(json_array_size(json_object_get(json_array_get(list, 0), "endpoints")), 0);
	json_decref(list);
	conf_close(&c);
}

#define AT(ip, more) "{endpoint: {address: " ADDRESS(ip, 80) "}" more "}, "
static void test_same_address_counts_once(void **state)
{
	struct conf c;
	json_t *list, *hosts;

	(void)state;
	conf_open(&c);
	list = view(
		&c,
		EDS("") CLA(
			"endpoints: [{lb_endpoints: [" AT("10.0.0.1", ", load_balancing_weight: 7")
				AT("10.0.0.1",
				   "") "]}, "
				       "{lb_endpoints: [" AT("10.0.0.1",
							     "") "]}, {priority: 1, lb_endpoints: "
								 "[" AT("10.0.0.1", "")
									 AT("::ffff:10.0.0.1",
									    "") "]}]"));
	hosts = json_object_get(json_array_get(list, 0), "endpoints");
	assert_int_equal(json_array_size(hosts), 2);
	assert_int_equal(json_integer_value(json_object_get(json_array_get(hosts, 0), "weight")),
			 7);
	json_decref(list);
	conf_close(&c);
}

static void test_weights(void **state)
{
	struct conf c;
	json_t *list, *set;
	char *text;

	(void)state;
	conf_open(&c);
	list = view(&c, EDS("") CLA("endpoints: [{lb_endpoints: [" AT("10.0.0.1",
								      ", load_balancing_weight: 1")
					    AT("10.0.0.2", ", load_balancing_weight: 2") "]}]"));
	set = json_array_get(json_object_get(json_array_get(list, 0), "sets"), 0);
	text = json_dumps(json_object_get(set, "schedule"), JSON_COMPACT);
	assert_string_equal(text, "[1,0,1]");
	free(text);
	json_decref(list);
	conf_close(&c);
}

#define TLS_MATCH                                                                                  \
	"transport_socket_matches: [{name: tls, match: {tlsMode: istio}, transport_socket: "       \
	"{name: t, typed_config: {" T(                                                             \
		"extensions.transport_sockets.tls.v3.UpstreamTlsContext") "}}}, {name: plain, "    \
									  "match: {}, "            \
									  "transport_socket: "     \
									  "{name: r, "             \
									  "typed_config: {" T(     \
										  "extensions."    \
										  "transport_"     \
										  "sockets.raw_"   \
										  "buffer.v3."     \
										  "RawBuffer") "}" \
											       "}" \
											       "}" \
											       "]" \
											       "," \
											       " "
#define LABEL(mode)                                                                                \
	", metadata: {filter_metadata: {envoy.transport_socket_match: {tlsMode: " mode "}}}"
static void test_transport_matches(void **state)
{
	(void)state;
	conf_accepted(EDS(TLS_MATCH) CLA("endpoints: [{lb_endpoints: [" AT("10.0.0.1", "")
						 AT("10.0.0.2", LABEL("disabled")) "]}]"));
	/* what is to be spoken to in TLS is never spoken to in clear text */
	conf_refused(EDS(TLS_MATCH) CLA("endpoints: [{lb_endpoints: [" AT("10.0.0.1", "")
						AT("10.0.0.2", LABEL("istio")) "]}]"),
		     "ClusterLoadAssignment/c", "endpoints[0].lb_endpoints[1]",
		     "transport socket match \"tls\"");
}

static void test_refused(void **state)
{
	(void)state;
	conf_refused(EDS("") CLA("policy: {endpoint_stale_after: 5s}"), "ClusterLoadAssignment/c",
		     "policy.endpoint_stale_after", "unsupported");
	conf_refused(EDS("") CLA("endpoints: [{lb_endpoints: [{endpoint_name: x}]}]"),
		     "ClusterLoadAssignment/c", "endpoints[0].lb_endpoints[0]", "");
	conf_refused(EDS("") CLA("endpoints: [{lb_endpoints: [" AT("a.b", "") "]}]"),
		     "ClusterLoadAssignment/c", "endpoints[0].lb_endpoints[0]", "IP address");
	conf_refused(EDS("lb_policy: MAGLEV, ") CLA(
			     "endpoints: [{lb_endpoints: [" AT("10.0.0.1", ", load_balancing_weight: 4294967295")
				     AT("10.0.0.2", "") "]}]"),
		     "ClusterLoadAssignment/c", "endpoints", "the weights of the hosts of priority 0");
	conf_refused(EDS("lb_policy: RING_HASH, ")
			     CLA("endpoints: [{locality: {zone: a}, load_balancing_weight: "
				 "4294967295, lb_endpoints: [" AT(
					 "10.0.0.1",
					 "") "]}, {locality: {zone: b}, load_balancing_weight: 1, "
					     "lb_endpoints: [" AT("10.0.0.2", "") "]}]"),
		     "ClusterLoadAssignment/c", "endpoints",
		     "the weights of the localities of priority 0");
	/* also without a cluster that uses it */
	conf_refused(CLA("endpoints: [{lb_endpoints: [" AT("a.b", "") "]}]"),
		     "ClusterLoadAssignment/c", "endpoints[0].lb_endpoints[0]", "IP address");
}

/* Of 4000 requests; denominators as in Envoy. */
static int dropped_of(const char *percentage, uint32_t *ret_status, uint32_t outcome)
{
	struct conf_req *q = calloc(1, sizeof(*q));
	char *yaml = NULL;
	struct conf c;
	int n = 0;

	assert_non_null(q);
	assert_true(asprintf(&yaml, LISTENER_80 ROUTES("{match: {prefix: /}, route: {cluster: c}}") EDS("")
			     CLA("policy: {drop_overloads: [{category: a%s}]}, endpoints: [{lb_endpoints: ["
				 AT("10.0.0.1", "") "]}]"), percentage) > 0);
	conf_open(&c);
	conf_ok(&c, yaml);
	for (int i = 0; i < 4000; i++) {
		conf_connect(q, "10.0.0.1", 80);
		q->ctx.random = (__u64)(i + 1) * 0x9E3779B97F4A7C15ull;
		conf_request(&c, q, "GET", "h", "/", "");
		n += q->req.dec.outcome == outcome;
		if (q->req.dec.outcome == WEFT_OUTCOME_DROPPED)
			*ret_status = ((const struct weft_img_reply *)weft_img_at(q->req.dec.reply))->status;
	}
	conf_close(&c);
	free(yaml);
	free(q);
	return n;
}

static void test_drop(void **state)
{
	uint32_t status = 0;

	(void)state;
	assert_int_equal(dropped_of("", &status, WEFT_OUTCOME_FORWARD), 4000);
	assert_int_equal(dropped_of(", drop_percentage: {numerator: 0}", &status, WEFT_OUTCOME_FORWARD), 4000);
	assert_int_equal(status, 0);
	assert_int_equal(dropped_of(", drop_percentage: {numerator: 100}", &status, WEFT_OUTCOME_DROPPED), 4000);
	assert_int_equal(status, 503);
	/* four standard deviations */
	assert_in_range(dropped_of(", drop_percentage: {numerator: 50}", &status, WEFT_OUTCOME_DROPPED), 1874, 2126);
	assert_in_range(dropped_of(", drop_percentage: {numerator: 2500, denominator: TEN_THOUSAND}", &status,
				   WEFT_OUTCOME_DROPPED), 890, 1110);
	assert_in_range(dropped_of(", drop_percentage: {numerator: 250000, denominator: MILLION}", &status,
				   WEFT_OUTCOME_DROPPED), 890, 1110);
}

static void socket_refused(const char *more, const char *field)
{
	char yaml[1024], path[256];

	snprintf(yaml, sizeof(yaml),
		 EDS("") CLA("endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: "
			     "{address: 10.0.0.1, %s}}}}]}]"),
		 more);
	snprintf(path, sizeof(path),
		 "endpoints[0].lb_endpoints[0].endpoint.address.socket_address.%s", field);
	conf_refused(yaml, "ClusterLoadAssignment/c", path, "unsupported");
}

static void test_refused_sockets(void **state)
{
	(void)state;
	socket_refused("named_port: http", "named_port");
	socket_refused("port_value: 80, protocol: UDP", "protocol");
	socket_refused("port_value: 80, resolver_name: x", "resolver_name");
	socket_refused("port_value: 80, network_namespace_filepath: /x",
		       "network_namespace_filepath");
}

/* No panic, and 37 % of healthy hosts behind 62 % of degraded ones: the rest is the healthy
 * priority's, though it comes later. */
static void test_rest_of_rounding(void **state)
{
	char *eds = yaml_of("DUU/HUUUU",
			    EDS("common_lb_config: {healthy_panic_threshold: {value: 0}}, "));
	size_t end = strlen(eds);
	struct conf c;
	char *yaml;
	json_t *list, *set;

	(void)state;
	assert_string_equal(eds + end - 4, "}]}\n");
	assert_true(asprintf(&yaml, "%.*s, policy: {overprovisioning_factor: 100}}\n", (int)end - 2,
			     eds) > 0);
	conf_open(&c);
	list = view(&c, yaml);
	set = json_object_get(json_array_get(list, 0), "sets");
	assert_int_equal(json_array_size(set), 2);
	assert_int_equal(json_integer_value(json_object_get(json_array_get(set, 0), "load_end")),
			 38);
	assert_int_equal(json_integer_value(json_object_get(json_array_get(set, 1), "load_end")),
			 100);
	json_decref(list);
	free(yaml);
	free(eds);
	conf_close(&c);
}

static void test_many_priorities(void **state)
{
	char *yaml = yaml_of("HUUUUUUUUUUUUUUUUUUU/HUUUUUUUUUUUUUUUUUUU/HUUUUUUUUUUUUUUUUUUU/"
			     "HUUUUUUUUUUUUUUUUUUU/HUUUUUUUUUUUUUUUUUUU/"
			     "HUUUUUUUUUUUUUUUUUUU/HUUUUUUUUUUUUUUUUUUU/HUUUUUUUUUUUUUUUUUUU/"
			     "HUUUUUUUUUUUUUUUUUUU",
			     EDS(""));

	(void)state;
	conf_refused(yaml, "ClusterLoadAssignment/c", "endpoints", "more than 8 priorities");
	free(yaml);
}

/* As many as there may be, in a time that does not grow with their square. */
static void test_many_endpoints(void **state)
{
	enum { N = 20000 };
	char *out = NULL;
	size_t len;
	FILE *f = open_memstream(&out, &len);
	struct conf c;

	(void)state;
	fputs(EDS("") "- {" T(
		      "config.endpoint.v3.ClusterLoadAssignment") ", cluster_name: c, endpoints: "
								  "[{lb_endpoints: [",
	      f);
	for (int i = 0; i < N; i++)
		fprintf(f,
			"{endpoint: {address: {socket_address: {address: 10.%d.%d.%d, port_value: "
			"80}}}},",
			i >> 16, i >> 8 & 255, i & 255);
	fputs("]}]}\n", f);
	fclose(f);
	conf_open(&c);
	conf_ok(&c, out);
	free(out);
	conf_close(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_priorities),
		cmocka_unit_test(test_panic),
		cmocka_unit_test(test_slow_start),
		cmocka_unit_test(test_weighted_health),
		cmocka_unit_test(test_no_endpoints),
		cmocka_unit_test(test_same_address_counts_once),
		cmocka_unit_test(test_weights),
		cmocka_unit_test(test_transport_matches),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_drop),
		cmocka_unit_test(test_refused_sockets),
		cmocka_unit_test(test_rest_of_rounding),
		cmocka_unit_test(test_many_priorities),
		cmocka_unit_test(test_many_endpoints),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
