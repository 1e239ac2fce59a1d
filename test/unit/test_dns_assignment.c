// SPDX-License-Identifier: Apache-2.0
#include "agent/dns/assignment.h"

#include "agent/enroll/pod.h"
#include "envoy/config/cluster/v3/cluster.pb-c.h"
#include "test/unit/compile_fixture.h"

typedef Envoy__Config__Endpoint__V3__ClusterLoadAssignment assignment;
typedef Envoy__Config__Endpoint__V3__LbEndpoint lb_endpoint;

#define NAMES                                                                                      \
	CLUSTER("c", "type: STRICT_DNS, load_assignment: {cluster_name: c, policy: "               \
		     "{overprovisioning_factor: 200}, endpoints: [{locality: {zone: z}, "          \
		     "load_balancing_weight: 7, lb_endpoints: "                                    \
		     "[{load_balancing_weight: 3, health_status: DEGRADED, metadata: "             \
		     "{filter_metadata: {envoy.lb: {hash_key: k}}}, endpoint: {address: " ADDRESS( \
			     "a.example", 80) "}}, {endpoint: {hostname: own, address: " ADDRESS(  \
			     "b.example", 81) "}}]}, {priority: 1, lb_endpoints: [" ENDPOINT(      \
			     "c.example", 82) "]}]}")

static const char *address(const lb_endpoint *e)
{
	return e->endpoint->address->socket_address->address;
}

static void test_all(void **state)
{
	struct weft_addr addr[4];
	struct weft_addresses hosts[3] = {{addr, 2}, {addr + 2, 1}, {NULL, 0}};
	struct weft_snapshot *s = NULL;
	struct weft_resource *r = NULL;
	const Envoy__Config__Cluster__V3__Cluster *c;
	const assignment *a;
	const lb_endpoint *e;

	(void)state;
	assert_int_equal(conf_load(NAMES, NULL, &s), 0);
	c = (const void *)weft_snapshot_at(s, WEFT_XDS_CLUSTER, 0)->msg;
	assert_int_equal(weft_addr_parse("10.0.0.1", &addr[0]), 0);
	assert_int_equal(weft_addr_parse("fd00::1", &addr[1]), 0);
	assert_int_equal(weft_addr_parse("10.0.0.3", &addr[2]), 0);
	assert_int_equal(weft_assignment_resolve(c->load_assignment, hosts, false, "key", &r), 0);
	assert_string_equal(r->name, "key");
	assert_int_equal(r->type, WEFT_XDS_ENDPOINT);
	a = (const void *)r->msg;
	assert_int_equal(a->policy->overprovisioning_factor->value, 200);
	assert_int_equal(a->n_endpoints, 2);
	assert_string_equal(a->endpoints[0]->locality->zone, "z");
	assert_int_equal(a->endpoints[0]->load_balancing_weight->value, 7);
	assert_int_equal(a->endpoints[0]->n_lb_endpoints, 3);
	for (size_t i = 0; i < 2; i++) {
		e = a->endpoints[0]->lb_endpoints[i];
		assert_string_equal(address(e), i ? "fd00::1" : "10.0.0.1");
		assert_int_equal(e->endpoint->address->socket_address->port_value, 80);
		assert_string_equal(e->endpoint->hostname, "a.example");
		assert_int_equal(e->load_balancing_weight->value, 3);
		assert_int_equal(e->health_status, ENVOY__CONFIG__CORE__V3__HEALTH_STATUS__DEGRADED);
		assert_int_equal(e->metadata->n_filter_metadata, 1);
	}
	e = a->endpoints[0]->lb_endpoints[2];
	assert_string_equal(address(e), "10.0.0.3");
	assert_string_equal(e->endpoint->hostname, "own");
	/* without an address: no endpoint, the locality stays */
	assert_int_equal(a->endpoints[1]->priority, 1);
	assert_int_equal(a->endpoints[1]->n_lb_endpoints, 0);
	/* the cluster's own is as it was */
	assert_string_equal(address(c->load_assignment->endpoints[0]->lb_endpoints[0]), "a.example");
	weft_resource_unref(r);
	weft_snapshot_free(s);
}

/* One host, whose address is the first; what the configuration has besides is not looked at. */
static void test_logical(void **state)
{
	struct weft_addr addr[3];
	struct weft_addresses hosts[3] = {{addr, 3}, {addr, 1}, {NULL, 0}};
	struct weft_snapshot *s = NULL;
	struct weft_resource *r = NULL;
	const Envoy__Config__Cluster__V3__Cluster *c;
	const Envoy__Config__Endpoint__V3__Endpoint *e;
	const assignment *a;

	(void)state;
	assert_int_equal(
		conf_load(
			CLUSTER("c",
				"type: STRICT_DNS, load_assignment: {cluster_name: c, "
				"endpoints: [{lb_endpoints: [{endpoint: {address: " ADDRESS("a.b", 80) ", additional_addresses: [{address: " ADDRESS(
					"9.9.9.9",
					9) "}]}}, " ENDPOINT("c.d", 81) ", " ENDPOINT("e.f",
										      82) "]}]}"),
			NULL, &s),
		0);
	c = (const void *)weft_snapshot_at(s, WEFT_XDS_CLUSTER, 0)->msg;
	assert_int_equal(weft_addr_parse("10.0.0.1", &addr[0]), 0);
	assert_int_equal(weft_addr_parse("fd00::1", &addr[1]), 0);
	assert_int_equal(weft_addr_parse("10.0.0.3", &addr[2]), 0);
	assert_int_equal(weft_assignment_resolve(c->load_assignment, hosts, true, "key", &r), 0);
	a = (const void *)r->msg;
	assert_int_equal(a->endpoints[0]->n_lb_endpoints, 2);
	assert_string_equal(address(a->endpoints[0]->lb_endpoints[0]), "10.0.0.1");
	e = a->endpoints[0]->lb_endpoints[0]->endpoint;
	assert_string_equal(e->hostname, "a.b");
	assert_int_equal(e->n_additional_addresses, 2);
	for (size_t i = 0; i < 2; i++) {
		const Envoy__Config__Core__V3__SocketAddress *x =
			e->additional_addresses[i]->address->socket_address;

		assert_string_equal(x->address, i ? "10.0.0.3" : "fd00::1");
		assert_int_equal(x->port_value, 80);
	}
	assert_int_equal(a->endpoints[0]->lb_endpoints[1]->endpoint->n_additional_addresses, 0);
	weft_resource_unref(r);
	weft_snapshot_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_all),
					   cmocka_unit_test(test_logical)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
