// SPDX-License-Identifier: Apache-2.0
/* Words and numbers that clients ask the router by; strict_check_headers. */
#include "test/unit/compile_fixture.h"

static void on_is(const char *text, bool grpc, __u32 bits, bool known)
{
	bool all;

	if (weft_retry_on(text, (__u32)strlen(text), grpc, &all) != bits || all != known)
		fail_msg("\"%s\": %x, %d", text,
			 weft_retry_on(text, (__u32)strlen(text), grpc, NULL), all);
}

static void test_retry_on(void **state)
{
	(void)state;
	on_is("", false, 0, true);
	on_is(",,", false, 0, true);
	on_is("5xx", false, WEFT_RETRY_5XX, true);
	on_is("5xx,", false, WEFT_RETRY_5XX, true);
	on_is(" 5xx ,\tgateway-error", false, WEFT_RETRY_5XX | WEFT_RETRY_GATEWAY_ERROR, true);
	on_is("5XX", false, 0, false);
	on_is("5xx gateway-error", false, 0, false);
	on_is("retriable-headers,x", false, WEFT_RETRY_HEADERS, false);
	on_is("cancelled", false, 0, false);
	on_is("cancelled,unavailable", true, WEFT_RETRY_CANCELLED | WEFT_RETRY_UNAVAILABLE, true);
	on_is("5xx", true, 0, false);
	on_is("http3-post-connect-failure", false, 0, true);
}

static void number_is(const char *text, __u64 max, bool ok, __u64 n)
{
	__u64 got = 77;

	if (weft_header_number(text, (__u32)strlen(text), max, &got) != ok || got != (ok ? n : 77))
		fail_msg("\"%s\": %llu", text, (unsigned long long)got);
}

static void test_number(void **state)
{
	(void)state;
	number_is("0", ~0ull, true, 0);
	number_is("007", 7, true, 7);
	number_is(" +7\t", 7, true, 7);
	number_is("8", 7, false, 0);
	number_is("10", 7, false, 0);
	number_is("18446744073709551615", ~0ull, true, ~0ull);
	number_is("18446744073709551616", ~0ull, false, 0);
	number_is("9223372036854775807", WEFT_ASKED_MS_MAX, true, WEFT_ASKED_MS_MAX);
	number_is("9223372036854775808", WEFT_ASKED_MS_MAX, false, 0);
	number_is("", 7, false, 0);
	number_is("+", 7, false, 0);
	number_is("-1", 7, false, 0);
	number_is("1,2", 7, false, 0);
	number_is("0x2", 7, false, 0);
	number_is("1.5", 7, false, 0);
}

static void test_words(void **state)
{
	const char text[] = ",a, b ,,c", *at = text, *word;
	__u32 n;

	(void)state;
	for (const char *want = "abc"; *want; want++) {
		assert_true(weft_list_word(&at, text + sizeof(text) - 1, &word, &n));
		assert_int_equal(n, 1);
		assert_int_equal(*word, *want);
	}
	assert_false(weft_list_word(&at, text + sizeof(text) - 1, &word, &n));
}

#define ROUTER_AT "filter_chains[0].filters[0].typed_config.http_filters[0].typed_config."
#define STRICT(names)                                                                              \
	LISTENER("l", AT_80,                                                                       \
		 "{name: h, typed_config: {" HCM_TYPE ", stat_prefix: s, http_filters: "           \
		 "[{name: router, typed_config: {" T(                                              \
			 "extensions.filters.http.router.v3.Router") ", strict_check_headers: "    \
								     "[" names "]}}], " RDS "}}")  \
	ROUTES("{match: {prefix: /}, route: {cluster: c}}") CLUSTER("c", "type: STATIC")

static void strict_is(const char *yaml, const char *headers, const char *name)
{
	const struct weft_field *f;
	struct conf c;
	struct conf_req *q = conf_open_asked(&c, yaml);

	/* those of a request that is not internal are gone: as if this one was */
	assert_false(weft_req_strict(&q->req));
	q->req.n_field = 0;
	for (const char *p = headers; *p; p = strchr(p, '\n') + 1) {
		struct weft_field *to = &q->req.field[q->req.n_field++];
		__u32 n = (__u32)(strchr(p, ':') - p), all = (__u32)(strchr(p, '\n') - p);

		memcpy(q->head, headers, strlen(headers));
		to->name = (struct weft_span){(__u32)(p - headers), n};
		to->value = (struct weft_span){(__u32)(p - headers) + n + 1, all - n - 1};
	}
	q->req.head = q->head;
	f = weft_req_strict(&q->req);
	if (!f != !name || (f && memcmp(q->head + f->name.off, name, f->name.len)))
		fail_msg("%s: %s expected", headers, name ? name : "nothing");
	conf_close(&c);
	free(q);
}

static void test_strict(void **state)
{
	(void)state;
	strict_is(STRICT("x-envoy-max-retries"), "x-envoy-max-retries:3\n", NULL);
	strict_is(STRICT("x-envoy-max-retries"), "x-envoy-max-retries:x\n", "x-envoy-max-retries");
	strict_is(STRICT("x-envoy-max-retries"), "x-envoy-max-retries:4294967296\n",
		  "x-envoy-max-retries");
	strict_is(STRICT("x-envoy-retry-on"), "x-envoy-max-retries:x\n", NULL);
	strict_is(STRICT("x-envoy-retry-on, x-envoy-retry-grpc-on"), "x-envoy-retry-on:5xx\n",
		  NULL);
	strict_is(STRICT("x-envoy-retry-on, x-envoy-retry-grpc-on"), "x-envoy-retry-grpc-on:5xx\n",
		  "x-envoy-retry-grpc-on");
	/* in the order of the table, whatever the request's */
	strict_is(STRICT("x-envoy-max-retries, x-envoy-upstream-rq-timeout-ms"),
		  "x-envoy-max-retries:x\nx-envoy-upstream-rq-timeout-ms:y\n",
		  "x-envoy-upstream-rq-timeout-ms");
	conf_refused(STRICT("x-envoy-internal"), "Listener/l", ROUTER_AT "strict_check_headers",
		     "is none of the values allowed");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_retry_on),
		cmocka_unit_test(test_number),
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_strict),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
