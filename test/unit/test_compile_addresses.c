// SPDX-License-Identifier: Apache-2.0
/* Hosts of several addresses: the order of the list, what is refused, and that TCP to them is the
 * agent's. */
#include "agent/compile/addresses.h"

#include <arpa/inet.h>

#include "test/unit/compile_fixture.h"

#define TCP                                                                                        \
	"{name: t, typed_config: {" T(                                                             \
		"extensions.filters.network.tcp_proxy.v3.TcpProxy") ", stat_prefix: s, cluster: "  \
								    "c}}"
#define ALSO(ip) "{address: " ADDRESS(ip, 81) "}"
#define HOST(ip, more)                                                                             \
	LISTENER("l", AT_80, TCP)                                                                  \
	CLUSTER("c", "type: STATIC, %s load_assignment: {cluster_name: c, endpoints: "             \
		     "[{lb_endpoints: [{endpoint: {address: " ADDRESS(                             \
			     ip, 81) ", additional_addresses: [" more "]}}]}]}")

/* The list as text, in its order; what choosing a host says to a program. */
static void listed(const char *yaml, const char *options, const char *want, int kernel)
{
	struct weft_ctx ctx = {.pod = CONF_POD, .now_ns = 1000000000};
	const struct weft_img_addresses *all;
	const struct weft_img_endpoint *e;
	char text[8192], got[512] = "";
	struct weft_tcp tcp = {0};
	struct conf c;
	uint32_t chain;
	int r;

	snprintf(text, sizeof(text), yaml, options);
	conf_open(&c);
	conf_ok(&c, text);
	assert_true(weft_ip_parse("10.0.0.1", 80, &ctx.dst));
	assert_int_equal(weft_ctx_begin(&ctx), 0);
	assert_int_equal(weft_listener_find(&ctx), 0);
	chain = weft_chain_find(&ctx, WEFT_PROTO_RAW);
	while ((r = weft_tcp_choose(&ctx, chain, &tcp)) == -EAGAIN)
		assert_true(weft_store_cell(c.store, CONF_POD, tcp.need));
	assert_int_equal(r, 0);
	e = weft_img_at(tcp.endpoint);
	all = e->addresses ? weft_img_at(e->addresses) : NULL;
	for (uint32_t i = 0; all && i < all->n; i++) {
		const struct weft_sockaddr *a = (const struct weft_sockaddr *)(all + 1) + i;
		char ip[INET6_ADDRSTRLEN];

		assert_int_equal(a->port, 81);
		inet_ntop(a->family, a->family == AF_INET ? &a->addr.w[3] : a->addr.w, ip,
			  sizeof(ip));
		snprintf(got + strlen(got), sizeof(got) - strlen(got), "%s%s", i ? " " : "", ip);
	}
	assert_string_equal(got, want);
	ctx.flags = WEFT_CTX_KERNEL;
	assert_int_equal(weft_tcp_choose(&ctx, chain, &tcp), kernel);
	conf_close(&c);
}

#define EYEBALLS(more) "upstream_connection_options: {happy_eyeballs_config: {" more "}},"
#define V6 "first_address_family_version: V6"
#define MIXED                                                                                      \
	HOST("10.0.0.1", ALSO("10.0.0.2") ", " ALSO("10.0.0.3") ", " ALSO("::1") ", " ALSO("::2"))

static void test_order(void **state)
{
	(void)state;
	listed(HOST("10.0.0.1", ""), "", "", 0);
	listed(HOST("10.0.0.1", ALSO("10.0.0.2") ", " ALSO("10.0.0.1")), "",
	       "10.0.0.1 10.0.0.2 10.0.0.1", -EAGAIN);
	/* in turn, beginning with the family of the first */
	listed(MIXED, "", "10.0.0.1 ::1 10.0.0.2 ::2 10.0.0.3", -EAGAIN);
	listed(HOST("::5", ALSO("10.0.0.2") ", " ALSO("10.0.0.3") ", " ALSO("::6")), "",
	       "::5 10.0.0.2 ::6 10.0.0.3", -EAGAIN);
	listed(MIXED, EYEBALLS(V6), "::1 10.0.0.1 ::2 10.0.0.2 10.0.0.3", -EAGAIN);
	listed(MIXED, EYEBALLS("first_address_family_version: V4"),
	       "10.0.0.1 ::1 10.0.0.2 ::2 10.0.0.3", -EAGAIN);
	listed(MIXED, EYEBALLS("first_address_family_count: 2"),
	       "10.0.0.1 10.0.0.2 ::1 10.0.0.3 ::2", -EAGAIN);
	listed(MIXED, EYEBALLS(V6 ", first_address_family_count: 9"),
	       "::1 ::2 10.0.0.1 10.0.0.2 10.0.0.3", -EAGAIN);
	/* none of the family asked for */
	listed(HOST("10.0.0.1", ALSO("10.0.0.2")), EYEBALLS(V6), "10.0.0.1 10.0.0.2", -EAGAIN);
}

#define ONE(more)                                                                                  \
	CLUSTER("c",                                                                               \
		"type: STATIC, load_assignment: {cluster_name: c, endpoints: [{lb_endpoints: "     \
		"[{endpoint: {address: " ADDRESS("10.0.0.1", 80) ", additional_addresses: "        \
								 "[" more "]}}]}]}")

static void test_refused(void **state)
{
	static const char at[] = "load_assignment.endpoints[0].lb_endpoints[0].endpoint.additional_"
				 "addresses[1].address";

	(void)state;
	conf_refused(ONE(ALSO("10.0.0.2") ", {}"), "Cluster/c", at, "is required");
	conf_refused(ONE(ALSO("10.0.0.2") ", " ALSO("a.b")), "Cluster/c", at, "IP address");
	conf_refused(ONE(ALSO("10.0.0.2") ", {address: {pipe: {path: /x}}}"), "Cluster/c", at,
		     "unsupported");
	conf_refused(
		ONE("{address: {socket_address: {protocol: UDP, address: 10.0.0.2, port_value: "
		    "1}}}"),
		"Cluster/c",
		"load_assignment.endpoints[0].lb_endpoints[0].endpoint.additional_addresses[0]."
		"address.protocol",
		"unsupported");
	conf_refused(
		CLUSTER("c", "type: STATIC, upstream_connection_options: {happy_eyeballs_config: "
			     "{first_address_family_count: 0}}"),
		"Cluster/c",
		"upstream_connection_options.happy_eyeballs_config.first_address_family_count", "");
}

/* Envoy does not look at those of names. */
static void test_names(void **state)
{
	(void)state;
	conf_noted(CLUSTER("c", "type: STRICT_DNS, load_assignment: {cluster_name: c, endpoints: "
				"[{lb_endpoints: [{endpoint: {address: " ADDRESS(
					"a.b",
					80) ", additional_addresses: [" ALSO("10.0.0.2") "]}}]}]}"),
		   "Cluster/c", "load_assignment.endpoints[0].lb_endpoints[0]");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
