// SPDX-License-Identifier: Apache-2.0
/* internal_redirect_policy: what it becomes, and what of it is refused. */
#include "test/unit/compile_fixture.h"

#define POLICY(more)                                                                               \
	LISTENER_80 ROUTES("{match: {prefix: /}, route: {cluster: c, internal_redirect_policy: {" more "}}}") \
		CLUSTER("c", "type: STATIC")
#define PREDICATE(type, more) "{name: p, typed_config: {" T("extensions.internal_redirect." type) more "}}"
#define LISTED(names)                                                                              \
	PREDICATE("allow_listed_routes.v3.AllowListedRoutesConfig", ", allowed_route_names: [" names "]")

static struct weft_img_follow policy(const char *yaml)
{
	const struct weft_img_forward *f;
	struct weft_img_follow out;
	struct conf c;
	struct conf_req *q = conf_open_asked(&c, yaml);

	f = weft_img_at(q->req.dec.forward);
	assert_true(f->follow);
	out = *(const struct weft_img_follow *)weft_img_at(f->follow);
	conf_close(&c);
	free(q);
	return out;
}

static void test_fields(void **state)
{
	struct weft_img_follow f = policy(POLICY(""));

	(void)state;
	assert_int_equal(f.max, 1);
	assert_int_equal(f.codes, 1u << 2);
	assert_int_equal(f.flags, 0);
	f = policy(POLICY("max_internal_redirects: 16, redirect_response_codes: [301, 308, 304, 200], "
			  "allow_cross_scheme_redirect: true, response_headers_to_copy: [X-A, x-b], predicates: ["
			  PREDICATE("previous_routes.v3.PreviousRoutesConfig", "") ", "
			  PREDICATE("safe_cross_scheme.v3.SafeCrossSchemeConfig", "") ", " LISTED("a, b, c") "]"));
	assert_int_equal(f.max, 16);
	assert_int_equal(f.codes, 1u << 1 | 1u << 8);
	assert_int_equal(f.flags, WEFT_FOLLOW_CROSS | WEFT_FOLLOW_PREVIOUS | WEFT_FOLLOW_SAFE | WEFT_FOLLOW_LISTED);
	assert_int_equal(f.n_listed, 3);
	assert_int_equal(f.n_copy, 2);
	/* codes that are none leave no redirect to follow */
	assert_int_equal(policy(POLICY("redirect_response_codes: [304]")).codes, 0);
}

#define REFUSED(more, field, reason)                                                               \
	conf_refused(POLICY(more), "RouteConfiguration/r",                                         \
		     "virtual_hosts[0].routes[0].route.internal_redirect_policy." field, reason)
static void test_refused(void **state)
{
	(void)state;
	REFUSED("max_internal_redirects: 17", "max_internal_redirects", "more than 16");
	REFUSED("response_headers_to_copy: [a, Host]", "response_headers_to_copy[1]", "cannot be copied");
	REFUSED("response_headers_to_copy: [':path']", "response_headers_to_copy[0]", "cannot be copied");
	REFUSED("predicates: [{name: p}]", "predicates[0].typed_config", "");
	REFUSED("predicates: [{name: p, typed_config: {" T("extensions.filters.http.router.v3.Router") "}}]",
		"predicates[0]", "unsupported");
	REFUSED("predicates: [" LISTED("''") "]", "predicates[0]", "empty name");
	REFUSED("predicates: [" LISTED("a") ", " LISTED("b") "]", "predicates[1]", "two lists");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fields),
		cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
