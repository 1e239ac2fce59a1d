// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "xds/any.h"
#include "xds/json.h"
#include "xds/resource.h"
#include "xds/validate_rules.h"

static const ProtobufCMessageDescriptor *descriptor(enum weft_xds_type type)
{
	return weft_any_descriptor(strrchr(weft_xds_type_url(type), '/') + 1);
}

/* NULL when accepted, else the text of the refusal; the caller frees. */
static char *verdict_of(enum weft_xds_type type, const json_t *json)
{
	const struct weft_json_source source = {.resource = "json"};
	struct weft_diag diag = WEFT_DIAG_INIT;
	struct weft_resource *res = NULL;
	ProtobufCMessage *msg;
	char *text = NULL;
	int r;

	r = weft_json_to_msg(descriptor(type), json, &source, &diag, &msg);
	if (!r)
		r = weft_resource_from_msg(type, msg, "1", 0, &diag, &res);
	if (r) {
		text = weft_diag_text(&diag);
		assert_non_null(text); /* no refusal without a cause */
	} else {
		assert_int_equal(diag.n, 0);
	}
	weft_resource_unref(res);
	weft_diag_clear(&diag);
	return text;
}

static char *verdict(enum weft_xds_type type, const char *text)
{
	json_error_t error;
	json_t *json = json_loads(text, 0, &error);
	char *v;

	if (!json)
		fail_msg("test data: %s in %s", error.text, text);
	v = verdict_of(type, json);
	json_decref(json);
	return v;
}

static void accept(enum weft_xds_type type, const char *text)
{
	char *v = verdict(type, text);

	if (v)
		fail_msg("refused: %s\n%s", v, text);
}

static void refuse(enum weft_xds_type type, const char *text, const char *want)
{
	char *v = verdict(type, text);

	if (!v)
		fail_msg("accepted: %s", text);
	if (!strstr(v, want))
		fail_msg("\"%s\" is not in \"%s\"", want, v);
	free(v);
}

/*
 * These need more than the resource: the compiler of expressions, the formatter, the set of clusters. They are
 * refused where that is, when the resource is compiled.
 */
static bool is_left_to_compile(const char *name)
{
	static const char *const names[] = {"bad-regex", "look-ahead", "unknown-operator",
					    "validate-clusters"};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (!strcmp(name, names[i]))
			return true;
	return false;
}

/* Resources that were put before Envoy 1.40 one by one, with what it said. */
static void verdicts_agree_with_envoy(void **state)
{
	json_error_t error;
	json_t *list = json_load_file(WEFT_TEST_DATA "/data/invalid/verdicts.json", 0, &error);
	unsigned int wrong = 0;
	size_t i;
	json_t *e;

	(void)state;
	assert_non_null(list);
	assert_true(json_array_size(list) > 70);
	json_array_foreach(list, i, e) {
		const json_t *res = json_object_get(e, "resource");
		const char *name = json_string_value(json_object_get(res, "name"));
		bool accepted = json_is_true(json_object_get(e, "accepted"));
		enum weft_xds_type type =
			weft_xds_type_from_url(json_string_value(json_object_get(e, "type")));
		char *v = verdict_of(type, res);

		if (!name)
			name = json_string_value(json_object_get(res, "cluster_name"));
		if (!v != accepted && !is_left_to_compile(name)) {
			wrong++;
			print_error("%s: Envoy %s, here: %s\n", name,
				    accepted ? "accepts" : "refuses", v ? v : "accepted");
		}
		free(v);
	}
	json_decref(list);
	assert_int_equal(wrong, 0);
}

static void check_table(const struct weft_rule *rules)
{
	const ProtobufCMessageDescriptor *desc = NULL;

	for (const struct weft_rule *r = rules; r->kind; r++) {
		const char *name = r->kind == WEFT_RULE_ONEOF ? r->text : r->field;

		if (r->kind == WEFT_RULE_MESSAGE) {
			desc = weft_any_descriptor(r->field);
			if (!desc)
				fail_msg("no message %s", r->field);
		} else if (!desc ||
			   !protobuf_c_message_descriptor_get_field_by_name(desc, name)) {
			fail_msg("no field %s.%s", desc ? desc->name : "", name);
		}
	}
}

static void tables_name_fields_that_exist(void **state)
{
	(void)state;
	check_table(weft_rules_core);
	check_table(weft_rules_cluster);
	check_table(weft_rules_route);
	check_table(weft_rules_listener);
}

#define VH(rest) "{\"name\":\"r\",\"virtual_hosts\":[{\"name\":\"v\",\"domains\":[\"*\"]," rest "}]}"
#define ROUTE(match, action) VH("\"routes\":[{\"match\":" match "," action "}]")
#define TO_C "\"route\":{\"cluster\":\"c\"}"

static void errors_name_the_field(void **state)
{
	(void)state;
	refuse(WEFT_XDS_ROUTE,
	       ROUTE("{\"prefix\":\"/\",\"headers\":[{\"name\":\"x\",\"string_match\":{\"prefix\":\"\"}}]}",
		     TO_C),
	       "RouteConfiguration/r: virtual_hosts[0].routes[0].match.headers[0].string_match.prefix: "
	       "must not be empty");
}

static void domains_are_unique_whatever_their_case(void **state)
{
	(void)state;
	refuse(WEFT_XDS_ROUTE,
	       "{\"name\":\"r\",\"virtual_hosts\":[{\"name\":\"a\",\"domains\":[\"x.y\"]},"
	       "{\"name\":\"b\",\"domains\":[\"X.y\"]}]}",
	       "virtual_hosts[1].domains[0]: domain X.y is in virtual_hosts[0] too");
}

static void route_action_rules(void **state)
{
	(void)state;
	refuse(WEFT_XDS_ROUTE,
	       ROUTE("{\"prefix\":\"/\"}",
		     "\"route\":{\"weighted_clusters\":{\"clusters\":[{\"name\":\"a\"}]}}"),
	       "clusters[0]: weight is required");
	refuse(WEFT_XDS_ROUTE,
	       ROUTE("{\"prefix\":\"/\"}", "\"route\":{\"weighted_clusters\":{\"clusters\":["
					   "{\"name\":\"a\",\"weight\":4294967295},"
					   "{\"name\":\"b\",\"weight\":1}]}}"),
	       "weights sum to more than 4294967295");
	refuse(WEFT_XDS_ROUTE,
	       ROUTE("{\"prefix\":\"/\"}", "\"route\":{\"weighted_clusters\":{\"clusters\":["
					   "{\"name\":\"a\",\"cluster_header\":\"x\",\"weight\":1}]}}"),
	       "needs name or cluster_header, and not both");
	refuse(WEFT_XDS_ROUTE,
	       ROUTE("{\"prefix\":\"/\"}",
		     "\"route\":{\"cluster\":\"c\",\"prefix_rewrite\":\"/a\",\"path_rewrite\":\"/b\"}"),
	       "more than one of prefix_rewrite");
	refuse(WEFT_XDS_ROUTE,
	       ROUTE("{\"prefix\":\"/\"}",
		     "\"route\":{\"cluster\":\"c\",\"retry_policy\":{\"retry_back_off\":"
		     "{\"base_interval\":\"1s\",\"max_interval\":\"0.5s\"}}}"),
	       "retry_back_off.max_interval: must not be below base_interval");
	refuse(WEFT_XDS_ROUTE,
	       ROUTE("{\"prefix\":\"/\"}",
		     "\"direct_response\":{\"status\":200,\"body\":{\"filename\":\"/etc/shadow\"}}"),
	       "direct_response.body: only inline_string and inline_bytes are supported");
}

static void header_changes(void **state)
{
	(void)state;
	refuse(WEFT_XDS_ROUTE,
	       VH("\"response_headers_to_add\":[{\"header\":{\"key\":\"Host\",\"value\":\"x\"}}]"),
	       "response_headers_to_add[0]: header Host must not be changed this way");
	refuse(WEFT_XDS_ROUTE, VH("\"response_headers_to_remove\":[\":status\"]"),
	       "response_headers_to_remove[0]: this header must not be removed");
	refuse(WEFT_XDS_ROUTE,
	       VH("\"request_headers_to_add\":[{\"header\":{\"key\":\"a\",\"value\":\"b\\nc\"}}]"),
	       "value: must not have line ends");
}

static void per_route_types(void **state)
{
	(void)state;
	refuse(WEFT_XDS_ROUTE,
	       VH("\"typed_per_filter_config\":{\"f\":{\"@type\":\"t/"
		  "envoy.extensions.filters.http.router.v3.Router\"}}"),
	       "typed_per_filter_config[\"f\"]: type "
	       "envoy.extensions.filters.http.router.v3.Router is not known here");
	accept(WEFT_XDS_ROUTE,
	       VH("\"typed_per_filter_config\":{\"f\":{\"@type\":\"t/envoy.config.route.v3.FilterConfig\","
		  "\"is_optional\":true,\"config\":{\"@type\":\"t/acme.X\"}}}"));
	refuse(WEFT_XDS_ROUTE,
	       VH("\"typed_per_filter_config\":{\"f\":{\"@type\":\"t/envoy.config.route.v3.FilterConfig\","
		  "\"config\":{\"@type\":\"t/acme.X\"}}}"),
	       "type acme.X is not known here");
	refuse(WEFT_XDS_ROUTE,
	       VH("\"typed_per_filter_config\":{\"f\":{\"@type\":\"t/envoy.config.route.v3.FilterConfig\","
		  "\"config\":{\"@type\":\"t/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit\","
		  "\"stat_prefix\":\"x\"}}}"),
	       "token_bucket: is required here");
}

#define ADDRESS "\"address\":{\"socket_address\":{\"address\":\"127.0.0.1\",\"port_value\":1}}"
#define TCP                                                                                        \
	"{\"name\":\"t\",\"typed_config\":{\"@type\":\"t/"                                         \
	"envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy\",\"stat_prefix\":\"t\",\"cluster\":\"c\"}}"

#define HCM(upgrades)                                                                              \
	"{\"name\":\"l\"," ADDRESS ",\"filter_chains\":[{\"filters\":[{\"name\":\"h\",\"typed_config\":"   \
	"{\"@type\":\"t/envoy.extensions.filters.network.http_connection_manager.v3."              \
	"HttpConnectionManager\",\"stat_prefix\":\"h\",\"route_config\":{},\"upgrade_configs\":["     \
	upgrades "]}}]}]}"

static void listener_rules(void **state)
{
	(void)state;
	accept(WEFT_XDS_LISTENER, "{\"name\":\"l\"," ADDRESS ",\"filter_chains\":[{\"filters\":[" TCP "]}]}");
	accept(WEFT_XDS_LISTENER, HCM("{\"upgrade_type\":\"a\"},{\"upgrade_type\":\"b\"}"));
	refuse(WEFT_XDS_LISTENER, HCM("{\"upgrade_type\":\"a\"},{\"upgrade_type\":\"A\"}"),
	       "upgrade_configs[1]: upgrade_type is there twice");
	refuse(WEFT_XDS_LISTENER, "{\"name\":\"l\",\"filter_chains\":[{\"filters\":[" TCP "]}]}",
	       "Listener/l: address: is required");
	refuse(WEFT_XDS_LISTENER,
	       "{\"name\":\"l\",\"address\":{\"socket_address\":{\"address\":\"a.b\",\"port_value\":1}},"
	       "\"filter_chains\":[{}]}",
	       "address: \"a.b\" is no IP address");
	refuse(WEFT_XDS_LISTENER,
	       "{\"name\":\"l\"," ADDRESS ",\"filter_chains\":[{\"filters\":[" TCP "," TCP "]}]}",
	       "filter_chains[0].filters[0]: must be the last filter");
	refuse(WEFT_XDS_LISTENER,
	       "{\"name\":\"l\"," ADDRESS ",\"filter_chains\":[{\"filters\":[{\"name\":\"x\"}]}]}",
	       "filters[0]: typed_config is required");
	refuse(WEFT_XDS_LISTENER,
	       "{\"name\":\"l\"," ADDRESS ",\"filter_chains\":[{\"filter_chain_match\":"
	       "{\"server_names\":[\"*a.b\"]}}]}",
	       "server_names[0]: a wildcard must be the whole first label");
	refuse(WEFT_XDS_LISTENER,
	       "{\"name\":\"l\"," ADDRESS ",\"filter_chains\":[{\"filter_chain_match\":"
	       "{\"suffix_len\":1}}]}",
	       "is not implemented");
	refuse(WEFT_XDS_LISTENER,
	       "{\"name\":\"l\"," ADDRESS ",\"filter_chains\":[{\"filter_chain_match\":"
	       "{\"prefix_ranges\":[{\"address_prefix\":\"1.2.3\"}]}}]}",
	       "prefix_ranges[0].address_prefix: \"1.2.3\" is no IP address");
	refuse(WEFT_XDS_LISTENER,
	       "{\"name\":\"l\"," ADDRESS ",\"filter_chains\":[{}],\"listener_filters\":[{\"name\":\"x\"}]}",
	       "listener_filters[0].typed_config: is required");
	refuse(WEFT_XDS_LISTENER,
	       "{\"name\":\"l\"," ADDRESS ",\"filter_chains\":[{\"transport_socket\":{\"name\":\"x\","
	       "\"typed_config\":{\"@type\":\"t/acme.Socket\"}}}]}",
	       "type acme.Socket is not known here");
}

/* Two characters at least, not bytes. */
/* What requests that arrive would meet is not run here: it is kept as it is, whatever it is. */
static void inbound_listeners_are_kept(void **state)
{
#define AT(direction, filter, match)                                                               \
	"{\"name\":\"l\"," ADDRESS ",\"traffic_direction\":\"" direction                           \
	"\",\"filter_chains\":[{" match "\"filters\":[" filter "," TCP "]}]}"
#define ALIEN                                                                                      \
	"{\"name\":\"x\",\"typed_config\":{\"@type\":\"t/"                                         \
	"envoy.extensions.filters.network.acme.v3.X\"}}"
	(void)state;
	accept(WEFT_XDS_LISTENER, AT("INBOUND", ALIEN, ""));
	refuse(WEFT_XDS_LISTENER, AT("OUTBOUND", ALIEN, ""),
	       "filter_chains[0].filters[0].typed_config: type "
	       "envoy.extensions.filters.network.acme.v3.X is not known here");
	refuse(WEFT_XDS_LISTENER, AT("UNSPECIFIED", ALIEN, ""), "is not known here");
	/* The API's own rules hold for both. */
	refuse(WEFT_XDS_LISTENER, AT("INBOUND", "{\"name\":\"x\"}", ""),
	       "typed_config is required");
}

static void path_segments(void **state)
{
	(void)state;
	accept(WEFT_XDS_ROUTE, VH("\"routes\":[{\"match\":{\"path_separated_prefix\":\"/\\u00e9\"},"
				  "\"non_forwarding_action\":{}}]"));
	refuse(WEFT_XDS_ROUTE,
	       VH("\"routes\":[{\"match\":{\"path_separated_prefix\":\"\\u00e9\"},"
		  "\"non_forwarding_action\":{}}]"),
	       "path_separated_prefix: must match");
}

static void cluster_rules(void **state)
{
	(void)state;
	refuse(WEFT_XDS_CLUSTER, "{\"name\":\"c\",\"type\":\"EDS\",\"eds_cluster_config\":{}}",
	       "eds_cluster_config.eds_config: is required");
	refuse(WEFT_XDS_CLUSTER, "{\"name\":\"c\",\"type\":\"ORIGINAL_DST\"}",
	       "lb_policy: CLUSTER_PROVIDED and type ORIGINAL_DST go together");
	refuse(WEFT_XDS_CLUSTER, "{\"name\":\"c\",\"lb_policy\":\"CLUSTER_PROVIDED\"}",
	       "lb_policy: CLUSTER_PROVIDED");
	accept(WEFT_XDS_CLUSTER,
	       "{\"name\":\"c\",\"type\":\"ORIGINAL_DST\",\"lb_policy\":\"CLUSTER_PROVIDED\"}");
	refuse(WEFT_XDS_CLUSTER,
	       "{\"name\":\"c\",\"type\":\"ORIGINAL_DST\",\"lb_policy\":\"CLUSTER_PROVIDED\","
	       "\"load_assignment\":{\"cluster_name\":\"c\"}}",
	       "load_assignment: ORIGINAL_DST must not have one");
	refuse(WEFT_XDS_CLUSTER,
	       "{\"name\":\"c\",\"lb_policy\":\"MAGLEV\",\"maglev_lb_config\":{\"table_size\":1}}",
	       "table_size 1 is no prime number");
	refuse(WEFT_XDS_CLUSTER,
	       "{\"name\":\"c\",\"load_balancing_policy\":{\"policies\":[{\"typed_extension_config\":"
	       "{\"name\":\"x\",\"typed_config\":{\"@type\":\"t/acme.Lb\"}}}]}}",
	       "load_balancing_policy: has no policy that is known");
	accept(WEFT_XDS_CLUSTER,
	       "{\"name\":\"c\",\"load_balancing_policy\":{\"policies\":[{\"typed_extension_config\":"
	       "{\"name\":\"x\",\"typed_config\":{\"@type\":\"t/acme.Lb\"}}},{\"typed_extension_config\":"
	       "{\"name\":\"y\",\"typed_config\":{\"@type\":\"t/"
	       "envoy.extensions.load_balancing_policies.random.v3.Random\"}}}]}}");
	refuse(WEFT_XDS_CLUSTER,
	       "{\"name\":\"c\",\"lb_policy\":\"LOAD_BALANCING_POLICY_CONFIG\",\"common_lb_config\":"
	       "{\"locality_weighted_lb_config\":{}},\"load_balancing_policy\":{\"policies\":["
	       "{\"typed_extension_config\":{\"name\":\"y\",\"typed_config\":{\"@type\":\"t/"
	       "envoy.extensions.load_balancing_policies.random.v3.Random\"}}}]}}",
	       "common_lb_config: must not have locality");
	refuse(WEFT_XDS_CLUSTER,
	       "{\"name\":\"c\",\"common_lb_config\":{\"zone_aware_lb_config\":{}},\"load_balancing_policy\":"
	       "{\"policies\":[{\"typed_extension_config\":{\"name\":\"y\",\"typed_config\":{\"@type\":\"t/"
	       "envoy.extensions.load_balancing_policies.random.v3.Random\"}}}]}}",
	       "common_lb_config: must not have locality");
	refuse(WEFT_XDS_CLUSTER,
	       "{\"name\":\"c\",\"lb_subset_config\":{},\"load_balancing_policy\":"
	       "{\"policies\":[{\"typed_extension_config\":{\"name\":\"y\",\"typed_config\":{\"@type\":\"t/"
	       "envoy.extensions.load_balancing_policies.random.v3.Random\"}}}]}}",
	       "lb_subset_config: excludes load_balancing_policy");
	refuse(WEFT_XDS_CLUSTER,
	       "{\"name\":\"c\",\"type\":\"ORIGINAL_DST\",\"lb_policy\":\"CLUSTER_PROVIDED\","
	       "\"lb_subset_config\":{\"subset_selectors\":[{\"keys\":[\"a\"]}]}}",
	       "lb_subset_config: excludes lb_policy CLUSTER_PROVIDED");
	refuse(WEFT_XDS_CLUSTER, "{\"name\":\"c\",\"lb_policy\":4}", "lb_policy: 4 is no value");
	refuse(WEFT_XDS_CLUSTER, "{\"name\":\"c\",\"transport_socket\":{\"name\":\"x\"}}",
	       "transport_socket.config_type: is required");
	refuse(WEFT_XDS_CLUSTER,
	       "{\"name\":\"c\",\"lrs_server\":{\"ads\":{},\"authorities\":[{}]}}",
	       "lrs_server.authorities[0].name: must not be empty");
}

#define SELECTOR(keys, more)                                                                       \
	"{\"name\":\"c\",\"lb_subset_config\":{\"subset_selectors\":[{\"keys\":[" keys "]" more "}]}}"
#define KEEP(list) ",\"fallback_policy\":\"KEYS_SUBSET\",\"fallback_keys_subset\":[" list "]"
static void selectors(void **state)
{
	(void)state;
	accept(WEFT_XDS_CLUSTER, SELECTOR("\"a\",\"b\"", KEEP("\"a\"")));
	accept(WEFT_XDS_CLUSTER, SELECTOR("", ""));
	refuse(WEFT_XDS_CLUSTER, SELECTOR("\"a\"", KEEP("")),
	       "fallback_keys_subset: is required by fallback_policy KEYS_SUBSET");
	refuse(WEFT_XDS_CLUSTER, SELECTOR("\"a\",\"b\"", KEEP("\"b\",\"a\"")),
	       "fallback_keys_subset: must have fewer than the selector's keys");
	refuse(WEFT_XDS_CLUSTER, SELECTOR("\"a\",\"a\"", KEEP("\"a\"")),
	       "fallback_keys_subset: must have fewer than the selector's keys");
	refuse(WEFT_XDS_CLUSTER, SELECTOR("\"a\",\"b\"", KEEP("\"c\"")),
	       "fallback_keys_subset[0]: is none of the selector's keys");
	refuse(WEFT_XDS_CLUSTER,
	       SELECTOR("\"a\",\"b\"", ",\"fallback_policy\":\"ANY_ENDPOINT\",\"fallback_keys_subset\":[\"a\"]"),
	       "fallback_keys_subset: is for fallback_policy KEYS_SUBSET only");
}

/* Of every field, also of those without rules of their own. */
static void durations(void **state)
{
	(void)state;
	accept(WEFT_XDS_CLUSTER, "{\"name\":\"c\",\"dns_jitter\":\"9223372035s\"}");
	refuse(WEFT_XDS_CLUSTER, "{\"name\":\"c\",\"dns_jitter\":\"9223372036s\"}",
	       "dns_jitter: is out of range");
	refuse(WEFT_XDS_CLUSTER,
	       "{\"name\":\"c\",\"per_connection_buffer_high_watermark_timeout\":\"-1s\"}",
	       "per_connection_buffer_high_watermark_timeout: must not be negative");
}

static void endpoint_rules(void **state)
{
	(void)state;
	refuse(WEFT_XDS_ENDPOINT,
	       "{\"cluster_name\":\"c\",\"policy\":{\"drop_overloads\":[{\"category\":\"a\","
	       "\"drop_percentage\":{\"numerator\":101}}]}}",
	       "drop_overloads[0].drop_percentage: is more than the whole");
	refuse(WEFT_XDS_ENDPOINT,
	       "{\"cluster_name\":\"c\",\"endpoints\":[{\"lb_endpoints\":[{\"endpoint\":{}}],"
	       "\"load_balancer_endpoints\":{}}]}",
	       "endpoints[0].lb_endpoints: excludes the other ways");
	accept(WEFT_XDS_ENDPOINT,
	       "{\"cluster_name\":\"c\",\"endpoints\":[{\"lb_endpoints\":[{\"endpoint\":{\"address\":"
	       "{\"socket_address\":{\"address\":\"::1\",\"port_value\":1}}},\"health_status\":9}]}]}");
}

/* Field 99 of a matcher, and of a message that does not narrow. */
/* A listener with field 99 in a filter_chain_match; what follows is its traffic_direction. */
static void unknown_fields_of_inbound_listeners(void **state)
{
	static const uint8_t bytes[] = {0x0a, 1,   'l',	 0x12, 15,   0x0a, 13,	0x12, 9,    '1',
					'2',  '7', '.',	 '0',  '.',  '0',  '.', '1',  0x18, 1,
					0x1a, 5,   0x0a, 3,    0x98, 0x06, 1,	0x80, 0x01, 1};
	size_t outbound = sizeof(bytes) - 1;
	struct weft_diag diag = WEFT_DIAG_INIT;
	struct weft_resource *res;
	uint8_t copy[sizeof(bytes)];

	(void)state;
	assert_int_equal(weft_resource_from_wire(WEFT_XDS_LISTENER, bytes, sizeof(bytes), "1", 0,
						 &diag, &res),
			 0);
	assert_int_equal(res->unknown, 1);
	weft_resource_unref(res);
	memcpy(copy, bytes, sizeof(bytes));
	copy[outbound] = 2;
	assert_int_equal(
		weft_resource_from_wire(WEFT_XDS_LISTENER, copy, sizeof(copy), "1", 0, &diag, &res),
		-EINVAL);
	assert_string_equal(diag.entries[0].field, "filter_chains[0].filter_chain_match");
	weft_diag_clear(&diag);
}

static void unknown_fields(void **state)
{
	static const uint8_t in_match[] = {
		0x0a, 1, 'r', 0x12, 21, 0x0a, 1, 'v', 0x12, 1, '*', 0x1a, 13,
		0x0a, 6, 0x0a, 1, '/', 0x98, 0x06, 1, 0x12, 3, 0x0a, 1, 'c'};
	static const uint8_t in_table[] = {0x0a, 1, 'r', 0x98, 0x06, 1};
	struct weft_diag diag = WEFT_DIAG_INIT;
	struct weft_resource *res;

	(void)state;
	assert_int_equal(weft_resource_from_wire(WEFT_XDS_ROUTE, in_match, sizeof(in_match), "1", 0,
						 &diag, &res),
			 -EINVAL);
	assert_string_equal(diag.entries[0].field, "virtual_hosts[0].routes[0].match");
	assert_non_null(strstr(diag.entries[0].reason, "field 99"));
	weft_diag_clear(&diag);
	assert_int_equal(weft_resource_from_wire(WEFT_XDS_ROUTE, in_table, sizeof(in_table), "1", 0,
						 &diag, &res),
			 0);
	assert_int_equal(res->unknown, 1);
	weft_resource_unref(res);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(verdicts_agree_with_envoy),
		cmocka_unit_test(tables_name_fields_that_exist),
		cmocka_unit_test(errors_name_the_field),
		cmocka_unit_test(domains_are_unique_whatever_their_case),
		cmocka_unit_test(route_action_rules),
		cmocka_unit_test(header_changes),
		cmocka_unit_test(per_route_types),
		cmocka_unit_test(listener_rules),
		cmocka_unit_test(inbound_listeners_are_kept),
		cmocka_unit_test(path_segments),
		cmocka_unit_test(cluster_rules),
		cmocka_unit_test(selectors),
		cmocka_unit_test(durations),
		cmocka_unit_test(endpoint_rules),
		cmocka_unit_test(unknown_fields),
		cmocka_unit_test(unknown_fields_of_inbound_listeners),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
