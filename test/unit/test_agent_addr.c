// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "agent/enroll/pod.h"

static void test_there_and_back(void **state)
{
	static const char *const texts[] = {"10.1.2.3", "fd00::1", "::1", "127.0.0.1"};
	char buf[INET6_ADDRSTRLEN];
	struct weft_addr addr;

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		assert_int_equal(weft_addr_parse(texts[i], &addr), 0);
		assert_string_equal(weft_addr_text(&addr, buf), texts[i]);
		assert_int_equal(weft_addr_is_v4(&addr), i == 0 || i == 3);
	}
}

/* One address, one form: a mapped one is an IPv4 address. */
static void test_mapped(void **state)
{
	char buf[INET6_ADDRSTRLEN];
	struct weft_addr addr;

	(void)state;
	assert_int_equal(weft_addr_parse("::ffff:10.0.0.1", &addr), 0);
	assert_true(weft_addr_is_v4(&addr));
	assert_string_equal(weft_addr_text(&addr, buf), "10.0.0.1");
}

static void test_refused(void **state)
{
	struct weft_addr addr;

	(void)state;
	assert_int_equal(weft_addr_parse("10.0.0", &addr), -EINVAL);
	assert_int_equal(weft_addr_parse("host", &addr), -EINVAL);
	assert_int_equal(weft_addr_parse("fe80::1%eth0", &addr), -EINVAL);
	assert_int_equal(weft_addr_parse("", &addr), -EINVAL);
}

static void test_zero(void **state)
{
	const struct weft_addr zero = {0};
	struct weft_addr addr;

	(void)state;
	assert_true(weft_addr_is_zero(&zero));
	assert_int_equal(weft_addr_parse("0.0.0.0", &addr), 0);
	assert_false(weft_addr_is_zero(&addr));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_there_and_back),
		cmocka_unit_test(test_mapped),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_zero),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
