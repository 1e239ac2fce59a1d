// SPDX-License-Identifier: Apache-2.0
/* dns.c, names.c and dump.c: which names are asked for, and what becomes of the answers. */
#include "agent/dns/dns.h"

#include "agent/dns/names.h"
#include "test/unit/dns_fixture.h"

struct fix {
	struct ns ns;
	struct weft_loop *loop;
	struct weft_dns *dns;
	unsigned int changes;
};

static void on_changed(void *ctx)
{
	((struct fix *)ctx)->changes++;
}

static void setup(struct fix *f)
{
	ns_start(&f->ns);
	f->changes = 0;
	assert_int_equal(weft_loop_new(&f->loop), 0);
	assert_int_equal(weft_dns_new(f->loop, on_changed, f, &f->dns), 0);
}

static void teardown(struct fix *f)
{
	weft_dns_free(f->dns);
	weft_loop_free(f->loop);
	ns_stop(&f->ns);
}

/* A cluster with these lb_endpoints, whose resolver is the fixture's. */
static struct weft_snapshot *cluster_of(const struct fix *f, const char *name, const char *type,
					const char *more, const char *endpoints)
{
	static const char form[] =
		"- {" T("config.cluster.v3.Cluster") ", name: %s, type: %s, dns_lookup_family: V4_ONLY, "
		"typed_dns_resolver_config: {name: r, typed_config: {" T(
			"extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig")
		", query_tries: 1, query_timeout_seconds: 60, resolvers: [{socket_address: "
		"{address: 127.0.0.1, port_value: %u}}]}}, %s load_assignment: {cluster_name: c, "
		"endpoints: [{lb_endpoints: [%s]}]}}\n";
	struct weft_snapshot *s = NULL;
	char text[4096];

	snprintf(text, sizeof(text), form, name, type, f->ns.port, more, endpoints);
	assert_int_equal(conf_load(text, NULL, &s), 0);
	return s;
}

static void wait_changes(struct fix *f, unsigned int n)
{
	while (f->changes < n)
		assert_int_equal(weft_loop_step(f->loop, 1000), 0);
}

static const struct weft_resource *only(const struct weft_snapshot *s)
{
	return weft_snapshot_at(s, WEFT_XDS_CLUSTER, 0);
}

/* "address address" of the cluster's assignment, "-" without one. */
static const char *resolved(const struct fix *f, const struct weft_resource *res, char out[512])
{
	char *name = weft_resolved_name(res);
	const struct weft_resource *r =
		weft_snapshot_get(weft_dns_resolved(f->dns), WEFT_XDS_ENDPOINT, name);
	const Envoy__Config__Endpoint__V3__ClusterLoadAssignment *a = r ? (const void *)r->msg : NULL;

	free(name);
	snprintf(out, 512, "%s", a ? "" : "-");
	for (size_t i = 0; a && i < a->endpoints[0]->n_lb_endpoints; i++) {
		strcat(out, i ? " " : "");
		strcat(out, a->endpoints[0]
				    ->lb_endpoints[i]
				    ->endpoint->address->socket_address->address);
	}
	return out;
}

static json_int_t counter(const struct fix *f, size_t i, const char *what)
{
	json_t *list = weft_dns_stats_json(f->dns);
	json_int_t n = json_integer_value(json_object_get(json_array_get(list, i), what));

	json_decref(list);
	return n;
}

/* Of two snapshots, NULL none. */
static int want_of(struct weft_dns *d, const struct weft_snapshot *a, const struct weft_snapshot *b)
{
	const struct weft_snapshot *const list[] = {a, b};

	return weft_dns_want(d, list, 2);
}

/* What needs no asking is there when the call returns, and nobody is told of it. */
static void test_literals_at_once(void **state)
{
	struct weft_snapshot *s;
	struct fix f;
	char out[512];

	(void)state;
	setup(&f);
	s = cluster_of(&f, "c", "STRICT_DNS", "", ENDPOINT("10.0.0.1", 80) ", " ENDPOINT("10.0.0.1", 80));
	assert_int_equal(want_of(f.dns, s, NULL), 0);
	assert_string_equal(resolved(&f, only(s), out), "10.0.0.1 10.0.0.1");
	assert_true(weft_dns_settled(f.dns));
	assert_true(weft_dns_is_warm(f.dns, only(s)));
	for (int i = 0; i < 3; i++)
		assert_int_equal(weft_loop_step(f.loop, 2 * WEFT_DNS_GATHER_MS), 0);
	assert_int_equal(f.changes, 0);
	weft_snapshot_free(s);
	teardown(&f);
}

static void test_warm(void **state)
{
	struct weft_snapshot *s, *quick, *other;
	struct fix f;
	char out[512];

	(void)state;
	setup(&f);
	ns_rule_set(&f.ns, 0, (struct ns_rule){"a.", {"10.0.0.2", "10.0.0.3"}, 9, 0});
	ns_hold(&f.ns, true);
	s = cluster_of(&f, "c", "STRICT_DNS", "", ENDPOINT("a.test", 80));
	quick = cluster_of(&f, "q", "STRICT_DNS", "wait_for_warm_on_init: false,", ENDPOINT("b.test", 80));
	other = cluster_of(&f, "c", "STRICT_DNS", "connect_timeout: 1s,", ENDPOINT("a.test", 80));
	assert_int_equal(want_of(f.dns, s, quick), 0);
	assert_string_equal(resolved(&f, only(s), out), "-");
	assert_false(weft_dns_is_warm(f.dns, only(s)));
	assert_true(weft_dns_is_warm(f.dns, only(quick)));
	assert_false(weft_dns_settled(f.dns));
	ns_hold(&f.ns, false);
	while (!f.changes) {
		ns_release(&f.ns);
		assert_int_equal(weft_loop_step(f.loop, 5), 0);
	}
	assert_true(weft_dns_is_warm(f.dns, only(s)));
	assert_string_equal(resolved(&f, only(s), out), "10.0.0.2 10.0.0.3");
	/* another content has no addresses of the old one, but its counters */
	ns_hold(&f.ns, true);
	assert_int_equal(want_of(f.dns, other, s), 0);
	assert_string_equal(resolved(&f, only(other), out), "-");
	assert_string_equal(resolved(&f, only(s), out), "10.0.0.2 10.0.0.3");
	assert_int_equal(want_of(f.dns, other, NULL), 0);
	assert_string_equal(resolved(&f, only(s), out), "-");
	assert_int_equal(counter(&f, 0, "update_attempt"), 2);
	assert_int_equal(counter(&f, 0, "update_success"), 1);
	/* unknown, and not wanted any more */
	assert_true(weft_dns_is_warm(f.dns, only(s)));
	weft_snapshot_free(s);
	weft_snapshot_free(quick);
	weft_snapshot_free(other);
	teardown(&f);
}

/* All names failed: warm, without addresses. */
static void test_warm_by_failure(void **state)
{
	struct weft_snapshot *s;
	struct fix f;
	char out[512];

	(void)state;
	setup(&f);
	ns_rule_set(&f.ns, 0, (struct ns_rule){"a.", {NULL}, 0, 2});
	s = cluster_of(&f, "c", "LOGICAL_DNS", "", ENDPOINT("a.test", 80));
	assert_int_equal(want_of(f.dns, s, NULL), 0);
	assert_false(weft_dns_is_warm(f.dns, only(s)));
	wait_changes(&f, 1);
	assert_true(weft_dns_is_warm(f.dns, only(s)));
	assert_string_equal(resolved(&f, only(s), out), "");
	assert_int_equal(counter(&f, 0, "update_failure"), 1);
	weft_snapshot_free(s);
	teardown(&f);
}

/* The one address that would be too many is told of, and the last answer stays. */
static void test_too_many(void **state)
{
	struct weft_snapshot *s;
	struct fix f;
	json_t *names;
	struct name *m;

	(void)state;
	setup(&f);
	ns_rule_set(&f.ns, 0, (struct ns_rule){"a.", {"10.0.0.2", "10.0.0.3"}, 9, 0});
	s = cluster_of(&f, "c", "STRICT_DNS", "dns_refresh_rate: 0.01s,",
		       ENDPOINT("10.0.0.1", 80) ", " ENDPOINT("a.test", 80));
	ns_hold(&f.ns, true);
	assert_int_equal(want_of(f.dns, s, NULL), 0);
	m = &f.dns->v[0]->name[0];
	free(m->addr);
	m->addr = calloc(WEFT_DNS_HOSTS_MAX - 1, sizeof(*m->addr));
	m->n = WEFT_DNS_HOSTS_MAX - 1;
	m->due_ms = INT64_MAX; /* asked no more */
	ns_hold(&f.ns, false);
	while (!counter(&f, 0, "update_failure")) {
		ns_release(&f.ns);
		assert_int_equal(weft_loop_step(f.loop, 5), 0);
	}
	names = weft_dns_names_json(f.dns);
	assert_string_equal(json_string_value(json_object_get(json_array_get(names, 1), "error")),
			    "too many addresses in one cluster");
	json_decref(names);
	m->n--;
	while (f.dns->v[0]->name[1].n != 2)
		assert_int_equal(weft_loop_step(f.loop, 1000), 0);
	weft_snapshot_free(s);
	teardown(&f);
}

/* A wait after a failure is below a bound that doubles up to max_interval, and begins anew after a success. */
static void test_backoff(void **state)
{
	struct weft_snapshot *s;
	struct names *c;
	struct fix f;

	(void)state;
	setup(&f);
	ns_rule_set(&f.ns, 0, (struct ns_rule){"a.", {NULL}, 0, 2});
	s = cluster_of(&f, "c", "STRICT_DNS",
		       "dns_refresh_rate: 300s, dns_failure_refresh_rate: {base_interval: 0.002s, "
		       "max_interval: 0.005s},",
		       ENDPOINT("a.test", 80));
	assert_int_equal(want_of(f.dns, s, NULL), 0);
	c = f.dns->v[0];
	for (json_int_t i = 1; i <= 4; i++) {
		static const uint64_t bound[] = {0, 4, 5, 5, 5};

		while (counter(&f, 0, "update_failure") < i)
			assert_int_equal(weft_loop_step(f.loop, 1000), 0);
		assert_true(c->backoff_ms == bound[i] || counter(&f, 0, "update_failure") > i);
	}
	ns_rule_set(&f.ns, 0, (struct ns_rule){"a.", {"10.0.0.1"}, 0, 0});
	while (!counter(&f, 0, "update_success"))
		assert_int_equal(weft_loop_step(f.loop, 1000), 0);
	assert_int_equal(c->backoff_ms, 0);
	assert_true(c->name[0].due_ms > names_clock_ms(CLOCK_MONOTONIC) + 200000);
	weft_snapshot_free(s);
	teardown(&f);
}

/* Of two clusters with one resolver there is one channel; it goes with the last. */
static void test_channels(void **state)
{
	struct weft_snapshot *a, *b;
	struct fix f;

	(void)state;
	setup(&f);
	a = cluster_of(&f, "a", "STRICT_DNS", "", ENDPOINT("a.test", 80));
	b = cluster_of(&f, "b", "STRICT_DNS", "", ENDPOINT("b.test", 80));
	assert_int_equal(want_of(f.dns, a, b), 0);
	assert_non_null(f.dns->channels);
	assert_null(f.dns->channels->next);
	assert_int_equal(f.dns->channels->users, 2);
	assert_int_equal(want_of(f.dns, NULL, b), 0);
	assert_int_equal(f.dns->channels->users, 1);
	assert_int_equal(want_of(f.dns, NULL, NULL), 0);
	assert_null(f.dns->channels);
	assert_int_equal(f.dns->n, 0);
	weft_snapshot_free(a);
	weft_snapshot_free(b);
	teardown(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_literals_at_once), cmocka_unit_test(test_warm),
		cmocka_unit_test(test_warm_by_failure),	 cmocka_unit_test(test_too_many),
		cmocka_unit_test(test_backoff),		 cmocka_unit_test(test_channels),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
