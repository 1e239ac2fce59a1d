// SPDX-License-Identifier: Apache-2.0
/* Addresses to the kernel's form and back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <netinet/in.h>
#include <string.h>

#include "agent/proxy/sockaddr.h"

static void test_both_ways(void **state)
{
	static const struct {
		const char *text;
		int family;
		socklen_t len;
	} cases[] = {{"::ffff:10.1.2.3", AF_INET, sizeof(struct sockaddr_in)},
		     {"fd00::1:2", AF_INET6, sizeof(struct sockaddr_in6)}};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct weft_sockaddr a = {.port = 8080, .family = (uint16_t)cases[i].family}, got;
		struct sockaddr_storage s;

		memset(&got, 0xff, sizeof(got));
		memset(&s, 0xff, sizeof(s));
		assert_int_equal(inet_pton(AF_INET6, cases[i].text, a.addr.w), 1);
		assert_int_equal(sockaddr_fill(&a, &s), cases[i].len);
		assert_int_equal(s.ss_family, cases[i].family);
		sockaddr_take(&s, &got);
		assert_memory_equal(&got, &a, sizeof(a));
	}
}

/* A socket of IPv6 has an IPv4 peer in the form of IPv6. */
static void test_mapped(void **state)
{
	struct sockaddr_storage s = {0};
	struct sockaddr_in6 *s6 = (void *)&s;
	struct weft_sockaddr got;

	(void)state;
	s6->sin6_family = AF_INET6;
	s6->sin6_port = htons(443);
	assert_int_equal(inet_pton(AF_INET6, "::ffff:10.1.2.3", &s6->sin6_addr), 1);
	sockaddr_take(&s, &got);
	assert_int_equal(got.family, AF_INET);
	assert_int_equal(got.port, 443);
	assert_int_equal(got.addr.w[2], htonl(0xffff));
	assert_int_equal(got.addr.w[3], inet_addr("10.1.2.3"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_both_ways),
		cmocka_unit_test(test_mapped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
