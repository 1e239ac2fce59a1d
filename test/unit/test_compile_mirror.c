// SPDX-License-Identifier: Apache-2.0
/* request_mirror_policies: which ones a route has, and what of them is refused. */
#include "test/unit/compile_fixture.h"

#define MIRRORS "request_mirror_policies: "
#define CONF(table, host, route)                                                                   \
	LISTENER_80 RC(table, "{name: v, domains: ['*'], " host " routes: [{match: {prefix: /}, "  \
			      "route: {cluster: c, " route "}}]}") CLUSTER("c", "type: STATIC")
#define ENDPOINTS "load_assignment: {cluster_name: c, endpoints: [{lb_endpoints: [" ENDPOINT("10.1.0.1", 80) "]}]}"

static void mirrors_are(const char *yaml, const char *names)
{
	const struct weft_img_forward *f;
	const struct weft_img_mirror *m;
	char got[64] = "";
	struct conf c;
	struct conf_req *q = conf_open_asked(&c, yaml);

	f = weft_img_at(q->req.dec.forward);
	m = weft_img_at(f->mirror);
	for (uint32_t i = 0; i < f->n_mirror; i++)
		snprintf(got + strlen(got), sizeof(got) - strlen(got), "%.*s ", (int)m[i].name.len,
			 (const char *)weft_img_at(m[i].name.off));
	assert_string_equal(got, names);
	conf_close(&c);
	free(q);
}

static void test_levels(void **state)
{
	(void)state;
	mirrors_are(CONF("", "", ""), "");
	mirrors_are(CONF(MIRRORS "[{cluster: a}], ", "", ""), "a ");
	mirrors_are(CONF(MIRRORS "[{cluster: a}], ", MIRRORS "[{cluster: b}, {cluster: d}], ", ""), "b d ");
	mirrors_are(CONF(MIRRORS "[{cluster: a}], ", MIRRORS "[{cluster: b}], ", MIRRORS "[{cluster: e}]"), "e ");
	mirrors_are(CONF("", MIRRORS "[{cluster: b}], ", MIRRORS "[]"), "b ");
}

#define AT "virtual_hosts[0].routes[0].route.request_mirror_policies"
#define REFUSED(list, field, reason) conf_refused(CONF("", "", MIRRORS list), "RouteConfiguration/r", AT field, reason)
static void test_refused(void **state)
{
	(void)state;
	REFUSED("[{runtime_fraction: {default_value: {numerator: 1}}}]", "[0]", "exactly one");
	REFUSED("[{cluster: a, cluster_header: b}]", "[0]", "exactly one");
	REFUSED("[{cluster: a}, {cluster: a, request_headers_mutations: [{remove_on_match: "
		"{key_matcher: {prefix: x}}}]}]",
		"[1].request_headers_mutations[0].remove_on_match", "unsupported");
	REFUSED("[{cluster: a, request_headers_mutations: [{remove: x}, {remove: ':path'}]}]",
		"[0].request_headers_mutations[1].remove", "may not be modified");
	REFUSED("[{cluster: a, request_headers_mutations: [{append: {header: {key: Host, value: "
		"x}}}]}]",
		"[0].request_headers_mutations[0].append", "may not be modified");
	REFUSED("[{cluster: a, request_headers_mutations: [{append: {header: {key: "
		"transfer-encoding, value: x}}}]}]",
		"[0].request_headers_mutations[0].append.header", "frames the message");
	REFUSED("[{cluster: a, request_headers_mutations: [{append: {header: {key: a, value: "
		"'%NOPE%'}}}]}]",
		"[0].request_headers_mutations[0].append.header", "NOPE");
	REFUSED("[{cluster: a}, {cluster: a}, {cluster: a}, {cluster: a}, {cluster: a}, {cluster: a}, {cluster: a}, "
		"{cluster: a}, {cluster: a}]", "", "more than 8");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_levels),
		cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
