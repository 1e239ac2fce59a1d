// SPDX-License-Identifier: Apache-2.0
/* Subsets of a cluster by metadata: what a route's criteria find, as Envoy 1.40 does (test/oracle/cases/subsets.yaml). */
#include "test/unit/compile_fixture.h"

#define CLUSTER_OF(subsets) CLUSTER("c", subsets "type: EDS, eds_cluster_config: {eds_config: {ads: {}}}")
#define SUBSETS(more, selectors) "lb_subset_config: {" more " subset_selectors: [" selectors "]}, "
#define HOST(ip, more, metadata)                                                                   \
	"{endpoint: {address: " ADDRESS("10.0.0." #ip, 80) "}, " more                              \
	"metadata: {filter_metadata: {envoy.lb: {" metadata "}}}}, "
#define LOCALITY(more, hosts) "{" more " lb_endpoints: [" hosts "]}, "
#define CLA(localities)                                                                            \
	"- {" T("config.endpoint.v3.ClusterLoadAssignment") ", cluster_name: c, endpoints: ["      \
	localities "]}\n"
#define FIVE                                                                                       \
	CLA(LOCALITY("", HOST(1, "", "v: '1', s: p") HOST(2, "", "v: '1', s: d")                   \
		HOST(3, "", "v: '2', s: p") HOST(4, "", "v: '2', x: y") HOST(5, "", "")))

static void sets_add(char *to, const struct weft_img_endpoints *e)
{
	const struct weft_img_host_set *s = e->n_set ? weft_img_at(e->set) : NULL;

	for (uint32_t i = 0; i < e->n_set; i++) {
		const uint32_t *host = s[i].n_host ? weft_img_at(s[i].host) : NULL;

		strcat(to, i ? "|" : "");
		for (uint32_t k = 0; k < s[i].n_host; k++)
			sprintf(to + strlen(to), "%u", host[k] + 1);
	}
}

/* The hosts, from 1, that a route with this metadata_match may have; "-": none, answered 503. */
static void finds(const char *cluster, const char *hosts, const char *match, const char *want)
{
	struct conf_req *q = calloc(1, sizeof(*q));
	char got[256] = "", *yaml = NULL;
	struct conf c;

	assert_non_null(q);
	assert_true(asprintf(&yaml, LISTENER_80 ROUTES("{match: {prefix: /}, route: {cluster: c%s%s}}")
			     "%s%s", *match ? ", metadata_match: {filter_metadata: " : "",
			     *match ? match : "", cluster, hosts) > 0);
	conf_open(&c);
	conf_ok(&c, yaml);
	conf_connect(q, "10.0.0.1", 80);
	conf_request(&c, q, "GET", "h", "/", "");
	if (q->req.dec.outcome == WEFT_OUTCOME_FORWARD)
		sets_add(got, weft_img_at(q->req.dec.endpoints));
	else if (q->req.dec.outcome == WEFT_OUTCOME_NO_HEALTHY_UPSTREAM)
		strcpy(got, "-");
	if (strcmp(got, want))
		fail_msg("%s: wanted %s, got %s", match, want, got);
	conf_close(&c);
	free(yaml);
	free(q);
}

#define LB(x) "{envoy.lb: {" x "}}}"

static void test_subsets(void **state)
{
	const char *c = CLUSTER_OF(SUBSETS("", "{keys: [v]}, {keys: [v, s]}"));

	(void)state;
	finds(c, FIVE, LB("v: '1'"), "12");
	finds(c, FIVE, LB("v: '3'"), "-");
	finds(c, FIVE, "", "-");
	finds(c, FIVE, LB("s: p, v: '2'"), "3");
	finds(c, FIVE, LB("s: p"), "-");
	finds(c, FIVE, LB("v: '1', q: '1'"), "-");
	finds(c, FIVE, LB(""), "-");
	finds(c, FIVE, "{other: {v: '1'}}}", "-");
	finds(c, FIVE, LB("v: 1"), "-"); /* a number is no string */
	/* without selectors there are no subsets */
	finds(CLUSTER_OF("lb_subset_config: {fallback_policy: NO_FALLBACK}, "), FIVE, LB("v: '1'"),
	      "12345");
}

static void test_fallback(void **state)
{
	const char *any = CLUSTER_OF(SUBSETS("fallback_policy: ANY_ENDPOINT,", "{keys: [v]}"));
	const char *some = CLUSTER_OF(
		SUBSETS("fallback_policy: DEFAULT_SUBSET, default_subset: {s: p},", "{keys: [v]}"));
	const char *gone = CLUSTER_OF(
		SUBSETS("fallback_policy: DEFAULT_SUBSET, default_subset: {s: z},", "{keys: [v]}"));
	const char *panic = CLUSTER_OF(SUBSETS(
		"fallback_policy: DEFAULT_SUBSET, default_subset: {s: z}, panic_mode_any: true,",
		"{keys: [v]}"));

	(void)state;
	finds(any, FIVE, LB("v: '2'"), "34");
	finds(any, FIVE, LB("v: '3'"), "12345");
	finds(any, FIVE, "", "12345");
	finds(some, FIVE, LB("v: '3'"), "13");
	finds(some, FIVE, "", "13");
	finds(some, FIVE, LB("v: '1'"), "12");
	finds(CLUSTER_OF(SUBSETS("fallback_policy: DEFAULT_SUBSET,", "{keys: [v]}")), FIVE, "", "12345");
	finds(gone, FIVE, LB("v: '3'"), "-");
	finds(panic, FIVE, LB("v: '3'"), "12345");
	finds(CLUSTER_OF(SUBSETS("panic_mode_any: true,", "{keys: [v]}")), FIVE, LB("v: '3'"), "-");
}

static void test_selector_fallback(void **state)
{
	const char *c = CLUSTER_OF(SUBSETS(
		"fallback_policy: ANY_ENDPOINT, default_subset: {s: d},",
		"{keys: [v, s], fallback_policy: KEYS_SUBSET, fallback_keys_subset: [v]}, "
		"{keys: [v], fallback_policy: NO_FALLBACK}, {keys: [x], fallback_policy: DEFAULT_SUBSET}, "
		"{keys: [s, x], fallback_policy: ANY_ENDPOINT}, {keys: [q]}"));
	const char *order = CLUSTER_OF(SUBSETS(
		"fallback_policy: ANY_ENDPOINT,",
		"{keys: [a, v]}, {keys: [a], fallback_policy: NO_FALLBACK}, "
		"{keys: [v], fallback_policy: NO_FALLBACK}, {keys: [v], fallback_policy: ANY_ENDPOINT}"));

	(void)state;
	finds(c, FIVE, LB("v: '2', s: d"), "34");
	finds(c, FIVE, LB("v: '9', s: d"), "-");
	finds(c, FIVE, LB("v: '9'"), "-");
	finds(c, FIVE, LB("x: z"), "2");
	finds(c, FIVE, LB("x: y, s: p"), "12345");
	finds(c, FIVE, LB("q: '1'"), "12345");
	finds(c, FIVE, LB("u: '1'"), "12345");
	finds(c, FIVE, LB("x: y"), "4");
	/* an earlier selector's keys begin so, or are the same: what this one says does not count */
	finds(order, FIVE, LB("a: '1'"), "12345");
	finds(order, FIVE, LB("v: '9'"), "-");
}

static void test_values(void **state)
{
	const char *c = CLUSTER_OF(SUBSETS("", "{keys: [v]}"));
	const char *hosts = CLA(LOCALITY("", HOST(1, "", "v: 1") HOST(2, "", "v: '1'") HOST(3, "", "v: true")
		HOST(4, "", "v: null") HOST(5, "", "v: {x: 1, y: [2]}") HOST(6, "", "v: 1.5")
		HOST(7, "", "v: ''") HOST(8, "", "v: 0")));

	(void)state;
	finds(c, hosts, LB("v: 1.0"), "1");
	finds(c, hosts, LB("v: '1'"), "2");
	finds(c, hosts, LB("v: true"), "3");
	finds(c, hosts, LB("v: false"), "-");
	finds(c, hosts, LB("v: null"), "4");
	finds(c, hosts, LB("v: {y: [2], x: 1}"), "5");
	finds(c, hosts, LB("v: {y: [2], x: 2}"), "-");
	finds(c, hosts, LB("v: 1.5"), "6");
	finds(c, hosts, LB("v: ''"), "7");
	finds(c, hosts, LB("v: -0.0"), "8");
}

static void test_lists(void **state)
{
	const char *hosts = CLA(LOCALITY("", HOST(1, "", "v: ['1', '2'], s: [p, d]") HOST(2, "", "v: '2', s: p")
		HOST(3, "", "v: ['3']") HOST(4, "", "v: [], s: p")));
	const char *c = CLUSTER_OF(SUBSETS("list_as_any: true, fallback_policy: DEFAULT_SUBSET, "
					   "default_subset: {v: '3'},", "{keys: [v]}, {keys: [v, s]}, {keys: [v, z]}"));
	const char *plain = CLUSTER_OF(SUBSETS("", "{keys: [v]}"));

	(void)state;
	finds(c, hosts, LB("v: '1'"), "1");
	finds(c, hosts, LB("v: '2'"), "12");
	finds(c, hosts, LB("v: '2', s: p"), "12");
	finds(c, hosts, LB("v: '2', s: d"), "1");
	finds(c, hosts, LB("v: '7'"), "3");
	finds(c, hosts, LB("v: ['1', '2']"), "3");
	finds(plain, hosts, LB("v: ['1', '2']"), "1");
	finds(plain, hosts, LB("v: ['2', '1']"), "-");
	finds(plain, hosts, LB("v: '1'"), "-");
}

static void test_single_host(void **state)
{
	const char *hosts = CLA(LOCALITY("priority: 1,", HOST(1, "", "v: '1'"))
		LOCALITY("", HOST(2, "health_status: UNHEALTHY, ", "v: '1'") HOST(3, "", "v: '1'")
		HOST(4, "", "v: '2'")));

	(void)state;
	/* the first of the first priority, whatever its health */
	finds(CLUSTER_OF(SUBSETS("", "{keys: [v], single_host_per_subset: true}")), hosts, LB("v: '1'"), "2");
	finds(CLUSTER_OF(SUBSETS("", "{keys: [v], single_host_per_subset: true}")), hosts, LB("v: '2'"), "4");
	/* who comes first makes it */
	finds(CLUSTER_OF(SUBSETS("", "{keys: [v]}, {keys: [v], single_host_per_subset: true}")), hosts,
	      LB("v: '1'"), "3|1");
	finds(CLUSTER_OF("lb_policy: MAGLEV, " SUBSETS("", "{keys: [v], single_host_per_subset: true}")),
	      hosts, LB("v: '1'"), "2");
}

/* Priorities, health and panic are of the subset's own hosts. */
static void test_health(void **state)
{
	const char *hosts = CLA(LOCALITY("", HOST(1, "health_status: UNHEALTHY, ", "v: '1'") HOST(2, "", "v: '1'")
		HOST(3, "", "v: '1'") HOST(4, "health_status: UNHEALTHY, ", "v: '2'")
		HOST(5, "health_status: UNHEALTHY, ", "v: '2'")) LOCALITY("priority: 1,", HOST(6, "", "v: '3'")));
	const char *c = SUBSETS("fallback_policy: ANY_ENDPOINT,", "{keys: [v]}"), *zero;
	char *with = NULL;

	(void)state;
	assert_true(asprintf(&with, CLUSTER_OF("%s"), c) > 0);
	finds(with, hosts, LB("v: '1'"), "23");
	finds(with, hosts, LB("v: '2'"), "45");
	finds(with, hosts, LB("v: '3'"), "6");
	free(with);
	zero = CLUSTER_OF("common_lb_config: {healthy_panic_threshold: {value: 0}}, "
			  SUBSETS("fallback_policy: ANY_ENDPOINT,", "{keys: [v]}"));
	finds(zero, hosts, LB("v: '2'"), "-");
}

/* The parts of the set that a request of v 1 gets: "hosts turns;". */
static void parts(const char *subsets, const char *want)
{
	struct conf_req *q = calloc(1, sizeof(*q));
	char got[256] = "", *yaml = NULL;
	const struct weft_img_endpoints *e;
	const struct weft_img_host_set *s, *p;
	struct conf c;

	assert_non_null(q);
	assert_true(asprintf(&yaml, LISTENER_80 ROUTES("{match: {prefix: /}, route: {cluster: c, "
		"metadata_match: {filter_metadata: " LB("v: '1'") "}}")
		CLUSTER_OF("common_lb_config: {locality_weighted_lb_config: {}}, %s")
		CLA(LOCALITY("locality: {zone: a}, load_balancing_weight: 2,", HOST(1, "", "v: '1'")
			HOST(2, "", "v: '1'") HOST(3, "", "v: '2'") HOST(4, "", "v: '2'"))
		    LOCALITY("locality: {zone: b}, load_balancing_weight: 6,", HOST(5, "", "v: '1'")
			HOST(6, "", "v: '2'") HOST(7, "", "v: '2'"))), subsets) > 0);
	conf_open(&c);
	conf_ok(&c, yaml);
	conf_connect(q, "10.0.0.1", 80);
	conf_request(&c, q, "GET", "h", "/", "");
	assert_int_equal(q->req.dec.outcome, WEFT_OUTCOME_FORWARD);
	e = weft_img_at(q->req.dec.endpoints);
	assert_int_equal(e->n_set, 1);
	s = weft_img_at(e->set);
	p = s->n_part ? weft_img_at(s->part) : NULL;
	for (uint32_t i = 0; i < s->n_part; i++) {
		for (uint32_t k = 0; k < p[i].n_host; k++)
			sprintf(got + strlen(got), "%u", ((const uint32_t *)weft_img_at(p[i].host))[k] + 1);
		sprintf(got + strlen(got), " %u;", p[i].turns);
	}
	assert_string_equal(got, want);
	conf_close(&c);
	free(yaml);
	free(q);
}

static void test_localities(void **state)
{
	(void)state;
	parts(SUBSETS("", "{keys: [v]}"), "");
	parts(SUBSETS("scale_locality_weight: true,", "{keys: [v]}"), "");
	parts(SUBSETS("locality_weight_aware: true,", "{keys: [v]}"), "12 1;5 3;");
	/* 2 of 4, 1 of 3: weights 1 and 2 */
	parts(SUBSETS("locality_weight_aware: true, scale_locality_weight: true,", "{keys: [v]}"),
	      "12 1;5 2;");
}

/* A route's own, then the weighted cluster's over it. */
static void test_weighted_clusters(void **state)
{
	struct conf_req *q = calloc(1, sizeof(*q));
	char got[64] = "";
	struct conf c;

	(void)state;
	assert_non_null(q);
	conf_open(&c);
	conf_ok(&c, LISTENER_80 ROUTES("{match: {prefix: /}, route: {metadata_match: {filter_metadata: {envoy.lb: "
		"{v: '2', s: d}}}, weighted_clusters: {clusters: [{name: c, weight: 1, metadata_match: "
		"{filter_metadata: {envoy.lb: {v: '1'}}}}]}}}")
		CLUSTER_OF(SUBSETS("", "{keys: [v, s]}")) FIVE);
	conf_connect(q, "10.0.0.1", 80);
	conf_request(&c, q, "GET", "h", "/", "");
	assert_int_equal(q->req.dec.outcome, WEFT_OUTCOME_FORWARD);
	sets_add(got, weft_img_at(q->req.dec.endpoints));
	assert_string_equal(got, "2");
	conf_close(&c);
	free(q);
}

/* Each subset has turns of its own: one does not move another's. */
static void test_cursors(void **state)
{
	const char *c = CLUSTER_OF(SUBSETS("fallback_policy: ANY_ENDPOINT,", "{keys: [v]}"));
	struct conf conf;
	char *yaml = NULL;
	json_t *list;

	(void)state;
	assert_true(asprintf(&yaml, "%s%s", c, FIVE) > 0);
	conf_open(&conf);
	conf_ok(&conf, yaml);
	list = weft_image_json_view(conf.store, 0, "endpoints");
	assert_int_equal(json_array_size(json_object_get(json_array_get(list, 0), "subsets")), 2);
	json_decref(list);
	conf_close(&conf);
	free(yaml);
}

/* metadata that is tried one after the other (test/oracle/cases/subset-lists.yaml) */
static void test_fallback_list(void **state)
{
	const char *list = CLUSTER_OF(
		SUBSETS("metadata_fallback_policy: FALLBACK_LIST,", "{keys: [v]}, {keys: [v, s]}"));
	const char *some =
		CLUSTER_OF(SUBSETS("metadata_fallback_policy: FALLBACK_LIST, "
				   "fallback_policy: DEFAULT_SUBSET, default_subset: {s: p},",
				   "{keys: [v]}"));
	const char *sick = CLA(LOCALITY("", HOST(1, "health_status: UNHEALTHY, ", "v: '1'")
						    HOST(2, "", "v: '2'")));
	const char *never =
		CLUSTER_OF("common_lb_config: {healthy_panic_threshold: {value: 0}}, " SUBSETS(
			"metadata_fallback_policy: FALLBACK_LIST,", "{keys: [v]}"));
	char many[512] = "", lots[512] = "", *more;

	(void)state;
	finds(list, FIVE, LB("fallback_list: [{v: '1'}, {v: '2'}]"), "12");
	finds(list, FIVE, LB("fallback_list: [{v: '9'}, {v: '2'}]"), "34");
	finds(list, FIVE, LB("fallback_list: [{v: '9'}, {v: '8'}]"), "-");
	finds(list, FIVE, LB("v: '1', fallback_list: []"), "12");
	finds(list, FIVE, LB("v: '1', fallback_list: x"), "12");
	finds(list, FIVE, LB("v: '1', fallback_list: [x, {v: '2'}]"), "12");
	finds(list, FIVE, LB("v: '1', fallback_list: [{v: '2'}]"), "34");
	finds(list, FIVE, LB("v: '1', fallback_list: [{s: z}, {s: d}]"), "2");
	finds(list, FIVE, LB("v: '2'"), "34");
	finds(list, FIVE, LB("fallback_list: [{}]"), "-");
	finds(some, FIVE, LB("fallback_list: [{v: '9'}, {v: '2'}]"), "13");
	finds(never, sick, LB("fallback_list: [{v: '1'}, {v: '2'}]"), "2");
	/* a key like any other where the cluster says nothing of it */
	finds(CLUSTER_OF(SUBSETS("", "{keys: [v]}")), FIVE, LB("v: '1', fallback_list: [{v: '2'}]"),
	      "-");
	for (int i = 0; i < 40; i++)
		sprintf(many + strlen(many), "k%d: x, ", i);
	for (int i = 0; i < 25; i++)
		sprintf(lots + strlen(lots), "l%d: x, ", i);
	assert_true(asprintf(&more,
			     LISTENER_80 ROUTES(
				     "{match: {prefix: /}, route: {cluster: c, metadata_match: "
				     "{filter_metadata: " LB("%s fallback_list: [{%s}]") "}}"),
			     many, lots) > 0);
	conf_refused(more, "RouteConfiguration/r", "virtual_hosts[0].routes[0].route",
		     "more than 64 fields");
	free(more);
}

static void test_limits(void **state)
{
	char keys[256] = "", *yaml = NULL;

	(void)state;
	for (int i = 0; i < 17; i++)
		sprintf(keys + strlen(keys), "%sk%d", i ? ", " : "", i);
	assert_true(asprintf(&yaml, CLUSTER_OF(SUBSETS("", "{keys: [%s]}")) FIVE, keys) > 0);
	conf_refused(yaml, "Cluster/c", "lb_subset_config.subset_selectors[0].keys", "more than 16");
	free(yaml);
}

#define POLICIES(type, more)                                                                       \
	"{policies: [{typed_extension_config: {name: a, typed_config: {" T(                        \
		"extensions.load_balancing_policies." type) more "}}}]}"
#define INSIDE(more) more ", subset_lb_policy: " POLICIES("random.v3.Random", "")
#define OUTSIDE(more) "load_balancing_policy: " POLICIES("subset.v3.Subset", more) ", "
#define AT_POLICY "load_balancing_policy.policies[0]"

/* The policy extension says the same as the cluster's own field, but for one without selectors. */
static void test_policy(void **state)
{
	(void)state;
	finds(CLUSTER_OF(OUTSIDE(INSIDE(", subset_selectors: [{keys: [v]}]"))), FIVE, LB("v: '1'"),
	      "12");
	finds(CLUSTER_OF(OUTSIDE(INSIDE(", subset_selectors: [{keys: [v]}]"))), FIVE, LB("v: '9'"),
	      "-");
	finds(CLUSTER_OF(OUTSIDE(INSIDE(", fallback_policy: ANY_ENDPOINT"))), FIVE, LB("v: '1'"),
	      "12345");
	finds(CLUSTER_OF(OUTSIDE(INSIDE(""))), FIVE, LB("v: '1'"), "-");
	conf_refused(CLUSTER_OF(OUTSIDE(INSIDE(", allow_redundant_keys: true"))) FIVE, "Cluster/c",
		     AT_POLICY ".allow_redundant_keys", "unsupported");
	conf_refused(CLUSTER_OF(OUTSIDE(
			     ", subset_lb_policy: " POLICIES("subset.v3.Subset", INSIDE("")))) FIVE,
		     "Cluster/c", AT_POLICY ".subset_lb_policy.policies[0]", "subsets of subsets");
	conf_refused(CLUSTER_OF(OUTSIDE("")) FIVE, "Cluster/c",
		     AT_POLICY ".typed_extension_config.typed_config.subset_lb_policy", "required");
	conf_refused(CLUSTER_OF(OUTSIDE(", subset_lb_policy: " POLICIES("unheard.v3.Of", ""))) FIVE,
		     "Cluster/c", AT_POLICY ".typed_extension_config.typed_config.subset_lb_policy",
		     "known");
	conf_refused(CLUSTER_OF(OUTSIDE(INSIDE(", subset_selectors: [{keys: [a], fallback_policy: "
					       "KEYS_SUBSET}]"))) FIVE,
		     "Cluster/c",
		     AT_POLICY ".typed_extension_config.typed_config.subset_selectors[0]"
			       ".fallback_keys_subset",
		     "required");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_subsets),
		cmocka_unit_test(test_fallback),
		cmocka_unit_test(test_selector_fallback),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_lists),
		cmocka_unit_test(test_single_host),
		cmocka_unit_test(test_health),
		cmocka_unit_test(test_localities),
		cmocka_unit_test(test_weighted_clusters),
		cmocka_unit_test(test_cursors),
		cmocka_unit_test(test_fallback_list),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_policy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
