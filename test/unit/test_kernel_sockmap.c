// SPDX-License-Identifier: Apache-2.0
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "agent/kernel/probe.h"

static void standing(void **state)
{
	static const struct {
		const char *release;
		bool fixed;
		const char *says;
	} c[] = {
		{"6.18.42", true, "6.18.42 and later"},
		{"6.18.41-cloud", false, "6.18.42 and later"},
		{"6.12.101+deb13-amd64", true, "6.12.101"},
		{"6.12.100", false, "6.12.101"},
		{"6.6.148", true, "6.6.148"},
		{"6.1.0-50-cloud-amd64", false, "never reached"},
		{"5.15.200", false, "never reached"},
		{"6.5.13", false, "without upstream fixes"},
		{"7.1.6", true, "7.1.6"},
		{"7.1.5", false, "7.1.6"},
		{"7.2.0", true, "newer"},
		{"8.0.0-rc1", true, "newer"},
		{"next", false, "not a release"},
	};
	char reason[160];

	(void)state;
	for (size_t i = 0; i < sizeof(c) / sizeof(c[0]); i++) {
		assert_int_equal(weft_sockmap_fixed(c[i].release, reason, sizeof(reason)),
				 c[i].fixed);
		if (!strstr(reason, c[i].says))
			fail_msg("%s: %s", c[i].release, reason);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(standing)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
