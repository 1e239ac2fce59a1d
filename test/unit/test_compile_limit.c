// SPDX-License-Identifier: Apache-2.0
/* Local rate limits and typed_per_filter_config: what is taken, and where it acts. */
#include "test/unit/compile_fixture.h"
#include "bpf/abi/rate.h"

#define BUCKET(n) "token_bucket: {max_tokens: " #n ", fill_interval: 60s}"
#define BOTH_ON ", filter_enabled: " ON ", filter_enforced: " ON
#define RULE(n) "{" LRL ", stat_prefix: rl, " BUCKET(n) BOTH_ON "}"
#define FILTER(config) "{name: lrl, typed_config: " config "}, "
#define IDLE "{" LRL ", stat_prefix: rl}"
#define PER(config) ", typed_per_filter_config: {lrl: " config "}"
#define FILTER_CONFIG(more) "{" T("config.route.v3.FilterConfig") ", " more "}"
#define BASE(filter, rc, vhost, route)                                                             \
	LISTENER("l", AT_80, HCM("", filter, RDS))                                                 \
	RC(rc,                                                                                     \
	   "{name: v, domains: ['*'], routes: [{match: {prefix: /}, " OK_200 route "}]" vhost "}")
#define RC_PER(config) "typed_per_filter_config: {lrl: " config "}, "

/* How many of 12 requests pass. */
static int passes(const char *yaml)
{
	struct conf_req *q = calloc(1, sizeof(*q));
	struct conf c;
	int n = 0;

	assert_non_null(q);
	conf_open(&c);
	conf_ok(&c, yaml);
	for (int i = 0; i < 12; i++) {
		conf_connect(q, "10.0.0.1", 80);
		conf_request(&c, q, "GET", "h", "/", "");
		n += q->req.dec.outcome != WEFT_OUTCOME_RATE_LIMITED;
	}
	free(q);
	conf_close(&c);
	return n;
}

static void test_levels(void **state)
{
	(void)state;
	assert_int_equal(passes(BASE(FILTER(RULE(3)), "", "", "")), 3);
	assert_int_equal(passes(BASE(FILTER(IDLE), "", "", "")), 12);
	assert_int_equal(passes(BASE(FILTER(IDLE), RC_PER(RULE(4)), "", "")), 4);
	assert_int_equal(passes(BASE(FILTER(IDLE), RC_PER(RULE(4)), PER(RULE(5)), "")), 5);
	assert_int_equal(passes(BASE(FILTER(RULE(3)), RC_PER(RULE(4)), PER(RULE(5)), PER(RULE(6)))),
			 6);
	/* of a filter that is not in the chain: nothing */
	assert_int_equal(passes(BASE("", "", "", PER(RULE(6)))), 12);
}

static void test_enabled_and_enforced(void **state)
{
	(void)state;
	assert_int_equal(
		passes(BASE(FILTER("{" LRL ", stat_prefix: rl, " BUCKET(3) "}"), "", "", "")), 12);
	assert_int_equal(passes(BASE(FILTER("{" LRL ", stat_prefix: rl, " BUCKET(
					     3) ", filter_enabled: " ON "}"),
				     "", "", "")),
			 12);
	assert_int_equal(passes(BASE(FILTER(RULE(0)), "", "", "")), 0);
}

static void test_disabled(void **state)
{
	(void)state;
	assert_int_equal(passes(BASE("{name: lrl, disabled: true, typed_config: " RULE(3) "}, ", "",
				     "", "")),
			 12);
	assert_int_equal(passes(BASE("{name: lrl, disabled: true, typed_config: " RULE(3) "}, ", "",
				     "", PER(RULE(2)))),
			 2);
	assert_int_equal(
		passes(BASE(FILTER(RULE(3)), "", "", PER(FILTER_CONFIG("disabled: true")))), 12);
	assert_int_equal(
		passes(BASE(FILTER(RULE(3)), "", "", PER(FILTER_CONFIG("config: " RULE(7))))), 7);
	/* its config does not count then, as in Envoy */
	assert_int_equal(passes(BASE(FILTER(RULE(3)), "", "",
				     PER(FILTER_CONFIG("disabled: true, config: " RULE(7))))),
			 12);
	conf_refused(BASE(FILTER(RULE(3)), "", "", PER(FILTER_CONFIG("is_optional: true"))),
		     "RouteConfiguration/r",
		     "virtual_hosts[0].routes[0].typed_per_filter_config[\"lrl\"].config",
		     "missing");
}

#define STRUCT(url)                                                                                \
	"{'@type': type.googleapis.com/" url                                                       \
	", type_url: "                                                                             \
	"type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit, "    \
	"value: {stat_prefix: rl, " BUCKET(2) BOTH_ON "}}"
static void test_typed_struct(void **state)
{
	(void)state;
	assert_int_equal(passes(BASE(FILTER(STRUCT("udpa.type.v1.TypedStruct")), "", "", "")), 2);
	assert_int_equal(passes(BASE(FILTER(STRUCT("xds.type.v3.TypedStruct")), "", "", "")), 2);
}

static const struct weft_img_rate_limit *limit(struct conf *c, const char *yaml)
{
	struct conf_req *q = calloc(1, sizeof(*q));
	const struct weft_img_chain *chain;
	const struct weft_img_hcm *h;

	assert_non_null(q);
	conf_ok(c, yaml);
	conf_connect(q, "10.0.0.1", 80);
	assert_int_equal(weft_listener_find(&q->ctx), 0);
	chain = weft_img_at(weft_chain_find(&q->ctx, WEFT_PROTO_RAW));
	h = weft_img_at(chain->target);
	free(q);
	assert_int_equal(h->n_filter, 1);
	return weft_img_at(((const struct weft_img_filter *)weft_img_at(h->filter))->config);
}

static void test_numbers(void **state)
{
	const struct weft_img_rate_limit *l;
	struct conf c;

	(void)state;
	conf_open(&c);
	l = limit(&c,
		  BASE(FILTER("{" LRL ", stat_prefix: rl, token_bucket: {max_tokens: 10, "
				      "tokens_per_fill: 3, fill_interval: 1s}, "
			      "filter_enabled: {default_value: {numerator: 25}}, filter_enforced: "
			      "{default_value: {numerator: 5, denominator: TEN_THOUSAND}}}"),
		       "", "", ""));
	assert_int_equal(l->enabled, 250000);
	assert_int_equal(l->enforced, 500);
	assert_int_equal(l->bucket.cost, 5333333333ull); /* 16e9 / 3, to the nearest */
	assert_int_equal(l->bucket.full, 10 * l->bucket.cost);
	assert_int_equal(l->flags, WEFT_RATE_HAS_BUCKET);
	l = limit(&c, BASE(FILTER("{" LRL
				  ", stat_prefix: rl, local_rate_limit_per_downstream_connection: "
				  "true, " BUCKET(1) "}"),
			   "", "", ""));
	assert_int_equal(l->flags, WEFT_RATE_HAS_BUCKET | WEFT_RATE_PER_CONNECTION);
	conf_close(&c);
}

/* The bucket is of (resource, place, content): it is kept while these are. */
static void test_bucket_survives_other_changes(void **state)
{
	struct conf c;
	__u32 cell;

	(void)state;
	conf_open(&c);
	cell = limit(&c, BASE(FILTER(RULE(3)), "", "", ""))->bucket.cell;
	assert_int_equal(
		limit(&c, BASE(FILTER(RULE(3)), "ignore_port_in_host_matching: true, ", "", ""))
			->bucket.cell,
		cell);
	assert_int_not_equal(limit(&c, BASE(FILTER(RULE(4)), "", "", ""))->bucket.cell, cell);
	conf_close(&c);
}

#define REFUSE(more, field)                                                                        \
	conf_refused(                                                                              \
		BASE(FILTER("{" LRL ", stat_prefix: rl, " more "}"), "", "", ""), "Listener/l",    \
		"filter_chains[0].filters[0].typed_config.http_filters[0].typed_config." field,    \
		"")
static void test_refused(void **state)
{
	(void)state;
	REFUSE("token_bucket: {max_tokens: 4294967295, fill_interval: 300000s}", "token_bucket");
	REFUSE("token_bucket: {max_tokens: 1, fill_interval: 300000000s}", "token_bucket");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_levels),
		cmocka_unit_test(test_enabled_and_enforced),
		cmocka_unit_test(test_disabled),
		cmocka_unit_test(test_typed_struct),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_bucket_survives_other_changes),
		cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
