// SPDX-License-Identifier: Apache-2.0
#include "test/unit/compile_fixture.h"

#include "envoy/config/core/v3/protocol.pb-c.h"
#include "envoy/config/route/v3/route_components.pb-c.h"

#include <arpa/inet.h>
#include <sys/socket.h>

static void test_addresses(void **state)
{
	struct weft_sockaddr a;

	(void)state;
	assert_true(weft_ip_parse("10.1.2.3", 80, &a));
	assert_int_equal(a.family, AF_INET);
	assert_int_equal(a.port, 80);
	assert_int_equal(a.addr.w[2], htonl(0xffff));
	assert_int_equal(a.addr.w[3], htonl(0x0a010203));
	assert_true(weft_ip_parse("::ffff:10.1.2.3", 80, &a));
	assert_int_equal(a.family, AF_INET);
	assert_true(weft_ip_parse("fd00::1", 80, &a));
	assert_int_equal(a.family, AF_INET6);
	assert_false(weft_ip_parse("a.example", 80, &a));
	assert_false(weft_ip_parse("", 80, &a));
	assert_false(weft_ip_parse("10.0.0.1:80", 80, &a));
}

static void test_durations(void **state)
{
	Google__Protobuf__Duration d = GOOGLE__PROTOBUF__DURATION__INIT;
	struct weft_build b = {.resource = "T/t"};

	(void)state;
	assert_int_equal(weft_build_ms(&b, NULL, 77, "f"), 77);
	assert_int_equal(weft_build_ms(&b, &d, 77, "f"), 0);
	d.nanos = 1; /* never less than asked for: 0 is "off" */
	assert_int_equal(weft_build_ms(&b, &d, 77, "f"), 1);
	d.seconds = 2;
	d.nanos = 500000000;
	assert_int_equal(weft_build_ms(&b, &d, 77, "f"), 2500);
	assert_int_equal(b.err, 0);
	d.seconds = -1;
	assert_int_equal(weft_build_ms(&b, &d, 77, "f"), 77);
	assert_int_equal(b.err, -EINVAL);
}

static void test_field_paths(void **state)
{
	char buf[WEFT_FIELD_MAX], more[WEFT_FIELD_MAX];

	(void)state;
	assert_string_equal(weft_field(buf, "", "a[%d]", 3), "a[3]");
	assert_string_equal(weft_field(more, buf, "b"), "a[3].b");
	/* a path that is too long is cut, never written past */
	memset(buf, 'x', sizeof(buf));
	buf[sizeof(buf) - 1] = '\0';
	weft_field(more, buf, "b");
	assert_true(strlen(more) < sizeof(more));
}

static void test_first_error_stays(void **state)
{
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;
	struct weft_build b = {.resource = "T/t", .diag = &diag};

	(void)state;
	weft_build_fail(&b, "f", "no %d", 1);
	weft_build_fail(&b, "g", "no %d", 2);
	assert_int_equal(b.err, -EINVAL);
	assert_int_equal(diag.n, 2);
	assert_string_equal(diag.entries[1].resource, "T/t");
	assert_string_equal(diag.entries[1].field, "g");
	assert_string_equal(diag.entries[1].reason, "no 2");
}

/* An address that is odd tells so, and hides no error that was there before. */
static void test_socket_keeps_the_first_error(void **state)
{
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;
	Envoy__Config__Core__V3__SocketAddress s = ENVOY__CONFIG__CORE__V3__SOCKET_ADDRESS__INIT;
	struct weft_build b = {.resource = "T/t", .diag = &diag};
	static char dns[] = "dns";

	(void)state;
	assert_true(weft_build_socket(&b, &s, "f"));
	assert_int_equal(b.err, 0);
	b.err = -ENOMEM;
	assert_true(weft_build_socket(&b, &s, "f")); /* the address itself is well */
	assert_int_equal(b.err, -ENOMEM);
	s.resolver_name = dns;
	assert_false(weft_build_socket(&b, &s, "f"));
	assert_int_equal(b.err, -ENOMEM);
	assert_string_equal(diag.entries[0].field, "f.resolver_name");
	b.err = 0;
	assert_false(weft_build_socket(&b, &s, "f"));
	assert_int_equal(b.err, -EINVAL);
}

/* Set fields only, of every kind of field. */
static void test_fields(void **state)
{
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT, notes = WEFT_DIAG_INIT;
	Envoy__Config__Route__V3__WeightedCluster w =
		ENVOY__CONFIG__ROUTE__V3__WEIGHTED_CLUSTER__INIT;
	Envoy__Config__Route__V3__RouteAction a = ENVOY__CONFIG__ROUTE__V3__ROUTE_ACTION__INIT;
	Envoy__Config__Route__V3__HedgePolicy hedge = ENVOY__CONFIG__ROUTE__V3__HEDGE_POLICY__INIT;
	char header[] = "x", prefix[] = "rt";
	struct weft_build b = {.resource = "T/t", .diag = &diag, .notes = &notes};

	(void)state;
	weft_build_fields(&b, &w.base, "f");
	assert_int_equal(notes.n, 0);
	w.random_value_specifier_case =
		ENVOY__CONFIG__ROUTE__V3__WEIGHTED_CLUSTER__RANDOM_VALUE_SPECIFIER_HEADER_NAME;
	w.header_name = header;
	w.runtime_key_prefix = prefix;
	weft_build_fields(&b, &w.base, "f");
	assert_int_equal(b.err, 0);
	assert_int_equal(notes.n, 1);
	assert_string_equal(notes.entries[0].field, "f.runtime_key_prefix");
	assert_non_null(strstr(notes.entries[0].reason, "no runtime"));
	a.hedge_policy = &hedge;
	weft_build_fields(&b, &a.base, "f");
	assert_int_equal(b.err, -EINVAL);
	assert_string_equal(diag.entries[0].field, "f.hedge_policy");
	assert_string_equal(diag.entries[0].reason, "unsupported");
}

/* Some messages are read otherwise in a cluster. */
static void test_fields_upstream(void **state)
{
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT, notes = WEFT_DIAG_INIT;
	Envoy__Config__Core__V3__Http1ProtocolOptions o =
		ENVOY__CONFIG__CORE__V3__HTTP1_PROTOCOL_OPTIONS__INIT;
	struct weft_build b = {.resource = "T/t", .diag = &diag, .notes = &notes};

	(void)state;
	o.accept_http_10 = true;
	weft_build_fields(&b, &o.base, "f");
	assert_int_equal(notes.n, 0);
	b.upstream = true;
	weft_build_fields(&b, &o.base, "f");
	assert_int_equal(notes.n, 1);
	o.enable_trailers = true;
	weft_build_fields(&b, &o.base, "f");
	assert_string_equal(diag.entries[0].field, "f.enable_trailers");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_durations),
		cmocka_unit_test(test_field_paths),
		cmocka_unit_test(test_first_error_stays),
		cmocka_unit_test(test_fields),
		cmocka_unit_test(test_fields_upstream),
		cmocka_unit_test(test_socket_keeps_the_first_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
