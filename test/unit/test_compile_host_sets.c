// SPDX-License-Identifier: Apache-2.0
/* Localities with weights: who is in which, in what proportions. */
#include "test/unit/compile_fixture.h"

#define WEIGHTED "common_lb_config: {locality_weighted_lb_config: {}}, "
#define CLUSTER_OF(more) CLUSTER("c", more "type: EDS, eds_cluster_config: {eds_config: {ads: {}}}")

/*
 * localities: "zone weight priority hosts;..." with one letter per host, H healthy, U unhealthy, D degraded. Hosts are
 * numbered in this order.
 */
static char *yaml_of(const char *cluster, const char *policy, const char *localities)
{
	char *out = NULL, zone[8], hosts[32];
	unsigned weight, priority;
	size_t len;
	FILE *f = open_memstream(&out, &len);
	int n = 0;

	fprintf(f, "%s- {" T("config.endpoint.v3.ClusterLoadAssignment") ", cluster_name: c, %s"
		"endpoints: [", cluster, policy);
	for (const char *p = localities; p; p = strchr(p, ';') ? strchr(p, ';') + 1 : NULL) {
		assert_int_equal(sscanf(p, "%7s %u %u %31[HUD]", zone, &weight, &priority, hosts), 4);
		fprintf(f, "{locality: {region: r, zone: %s}, priority: %u, ", zone, priority);
		if (weight)
			fprintf(f, "load_balancing_weight: %u, ", weight);
		fputs("lb_endpoints: [", f);
		for (const char *h = hosts; *h; h++)
			fprintf(f, "{health_status: %s, endpoint: {address: " ADDRESS("10.0.0.%d", 80)
				"}}, ", *h == 'H' ? "HEALTHY" : *h == 'D' ? "DEGRADED" : "UNHEALTHY", ++n);
		fputs("]}, ", f);
	}
	fputs("]}\n", f);
	fclose(f);
	return out;
}

static void list_add(char *to, const json_t *list)
{
	json_t *v;
	size_t i;

	json_array_foreach(list, i, v)
		sprintf(to + strlen(to), "%s%d", i ? "," : "", (int)json_integer_value(v));
}

/* want: of each set "hosts" or, with localities, "(hosts)(hosts) turns by schedule". */
static void sets_are(const char *cluster, const char *policy, const char *localities, const char *want)
{
	char got[1024] = "", *yaml = yaml_of(cluster, policy, localities);
	json_t *list, *set, *part;
	struct conf c;
	size_t i, k;

	conf_open(&c);
	conf_ok(&c, yaml);
	list = weft_image_json_view(c.store, 0, "endpoints");
	json_array_foreach(json_object_get(json_array_get(list, 0), "sets"), i, set)
	{
		strcat(got, i ? " | " : "");
		if (!json_object_get(set, "localities")) {
			list_add(got, json_object_get(set, "hosts"));
			continue;
		}
		json_array_foreach(json_object_get(set, "localities"), k, part)
		{
			strcat(got, "(");
			list_add(got, json_object_get(part, "hosts"));
			strcat(got, ")");
		}
		strcat(got, " ");
		list_add(got, json_object_get(set, "schedule"));
	}
	if (strcmp(got, want))
		fail_msg("%s: wanted %s, got %s", localities, want, got);
	json_decref(list);
	free(yaml);
	conf_close(&c);
}

static void test_weights(void **state)
{
	(void)state;
	sets_are(CLUSTER_OF(""), "", "a 1 0 HH;b 3 0 H", "0,1,2"); /* not asked for */
	sets_are(CLUSTER_OF(WEIGHTED), "", "a 1 0 HH;b 3 0 H", "(0,1)(2) 1,1,0,1");
	sets_are(CLUSTER_OF(WEIGHTED), "", "a 2 0 H;b 2 0 H", "(0)(1) ");
	sets_are(CLUSTER_OF(WEIGHTED), "", "a 0 0 H;b 2 0 H", "(1) "); /* without weight never */
	sets_are(CLUSTER_OF(WEIGHTED), "", "a 0 0 H;b 0 0 H", "0,1"); /* none has any: ignored */
	/* of one name and priority: one locality, the last weight */
	sets_are(CLUSTER_OF(WEIGHTED), "", "b 1 0 H;a 9 0 H;b 3 0 H;a 1 0 H",
		 "(1,3)(0,2) 1,1,0,1");
	sets_are(CLUSTER_OF(WEIGHTED), "", "a 1 0 U;a 1 1 H;b 2 1 H", "(1)(2) 1,0,1");
}

static void test_availability(void **state)
{
	(void)state;
	/* one of two: 70 % of the weight */
	sets_are(CLUSTER_OF(WEIGHTED), "", "a 14 0 HH;b 10 0 HU;c 7 0 U",
		 "(0,1)(2) 0,1,0");
	sets_are(CLUSTER_OF(WEIGHTED), "policy: {overprovisioning_factor: 100}, ", "a 1 0 H;b 1 0 HU",
		 "(0)(1) 0,1,0");
	sets_are(CLUSTER_OF(WEIGHTED), "policy: {overprovisioning_factor: 200}, ", "a 1 0 H;b 1 0 HU",
		 "(0)(1) ");
	/* panic: all hosts, no weights */
	sets_are(CLUSTER_OF(WEIGHTED), "", "a 1 0 H;b 3 0 UU", "0,1,2");
	sets_are(CLUSTER_OF(WEIGHTED), "", "a 10 0 DU;b 7 0 D", "(0)(2) ");
}

static void test_fail_on_panic(void **state)
{
	(void)state;
	sets_are(CLUSTER_OF("common_lb_config: {zone_aware_lb_config: {fail_traffic_on_panic: true}}, "),
		 "", "a 1 0 HUU", "");
	sets_are(CLUSTER_OF("load_balancing_policy: {policies: [{typed_extension_config: {name: x, "
			    "typed_config: {" T("extensions.load_balancing_policies.random.v3.Random")
			    ", locality_lb_config: {zone_aware_lb_config: {fail_traffic_on_panic: "
			    "true}}}}}]}, "),
		 "", "a 1 0 HUU", "");
	/* rings and tables know no zones */
	sets_are(CLUSTER_OF("lb_policy: MAGLEV, common_lb_config: {zone_aware_lb_config: "
			    "{fail_traffic_on_panic: true}}, "),
		 "", "a 1 0 HUU", "0,1,2");
}

/* Weights whose proportions need more than 32 bits: the shares are kept as near as 32 bits allow. */
static void test_long_weights(void **state)
{
	char *yaml = yaml_of(CLUSTER_OF(WEIGHTED), "policy: {overprovisioning_factor: 101}, ",
			     "a 4294967291 0 HUUUUUUUUUUUUUUUUUUUUUU;b 4294967279 0 HHHHHHHHHUUUUUUUUU");
	json_t *list, *set;
	struct conf c;

	(void)state;
	conf_open(&c);
	conf_ok(&c, yaml);
	list = weft_image_json_view(c.store, 0, "endpoints");
	set = json_array_get(json_object_get(json_array_get(list, 0), "sets"), 0);
	/* fewer than half are usable, so the schedule is of hosts in panic: none */
	assert_null(json_object_get(set, "localities"));
	json_decref(list);
	free(yaml);
	yaml = yaml_of(CLUSTER_OF(WEIGHTED), "policy: {overprovisioning_factor: 101}, ",
		       "a 4294967291 0 HHHHHHHHUUUUU;b 4294967279 0 HHHHHHHHHUUUU");
	conf_ok(&c, yaml);
	list = weft_image_json_view(c.store, 0, "endpoints");
	set = json_array_get(json_object_get(json_array_get(list, 0), "sets"), 0);
	assert_true(json_integer_value(json_object_get(set, "schedule_period")) > (1 << 30));
	json_decref(list);
	free(yaml);
	conf_close(&c);
}

#define ENTRIES(cluster, policy, localities, ...) entries_are(cluster, policy, localities, (int[]){__VA_ARGS__, -1})
static void entries_are(const char *cluster, const char *policy, const char *localities, const int *want)
{
	char *yaml = yaml_of(cluster, policy, localities);
	json_t *list, *set, *n;
	struct conf c;
	size_t i;

	conf_open(&c);
	conf_ok(&c, yaml);
	list = weft_image_json_view(c.store, 0, "endpoints");
	set = json_array_get(json_object_get(json_array_get(list, 0), "sets"), 0);
	json_array_foreach(json_object_get(set, "table_entries"), i, n)
		assert_int_equal(json_integer_value(n), want[i]);
	assert_int_equal(want[i], -1);
	json_decref(list);
	free(yaml);
	conf_close(&c);
}

/* Rings: weights of localities as configured, whatever is healthy; of panic too. */
static void test_rings(void **state)
{
	const char *ring = CLUSTER_OF("lb_policy: RING_HASH, ring_hash_lb_config: {minimum_ring_size: 16}, " WEIGHTED);

	(void)state;
	ENTRIES(ring, "", "a 1 0 HH;b 3 0 H", 2, 2, 12);
	ENTRIES(ring, "", "a 1 0 HU;b 3 0 H", 4, 12);
	/* the share of a locality without healthy hosts is nobody's */
	ENTRIES(ring, "", "a 1 0 H;b 2 0 UU;c 1 0 HHH", 6, 2, 2, 2);
	ENTRIES(ring, "", "a 1 0 HU;b 3 0 UU", 2, 2, 6, 6);
	entries_are(ring, "", "a 0 0 H;b 0 0 H", (int[]){-1});
	sets_are(ring, "", "a 0 0 H;b 0 0 H", "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_weights),	     cmocka_unit_test(test_availability),
		cmocka_unit_test(test_fail_on_panic), cmocka_unit_test(test_long_weights),
		cmocka_unit_test(test_rings),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
