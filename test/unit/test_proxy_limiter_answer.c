// SPDX-License-Identifier: Apache-2.0
/* What of a rate limit service's answer may go into a request or a response. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/proxy/limiter.h"

typedef Envoy__Config__Core__V3__HeaderValue header;

static bool is_good(const char *name, const char *value, bool request)
{
	header h = ENVOY__CONFIG__CORE__V3__HEADER_VALUE__INIT, *list[] = {&h};
	rate_response msg = ENVOY__SERVICE__RATELIMIT__V3__RATE_LIMIT_RESPONSE__INIT;

	h.key = (char *)(uintptr_t)name;
	h.value = (char *)(uintptr_t)value;
	if (request) {
		msg.n_request_headers_to_add = 1;
		msg.request_headers_to_add = list;
	} else {
		msg.n_response_headers_to_add = 1;
		msg.response_headers_to_add = list;
	}
	return answer_is_good(&msg);
}

static void test_names(void **state)
{
	char name[257];

	(void)state;
	for (int request = 0; request < 2; request++) {
		assert_true(is_good("X-a", "b c\t", request));
		assert_true(is_good("x-a", "", request));
		assert_false(is_good("", "b", request));
		assert_false(is_good("x a", "b", request));
		assert_false(is_good("x:", "b", request));
		assert_false(is_good(":method", "b", request));
		memset(name, 'x', sizeof(name));
		name[255] = '\0';
		assert_true(is_good(name, "b", request));
		name[255] = 'x';
		name[256] = '\0';
		assert_false(is_good(name, "b", request));
	}
	assert_true(is_good(":authority", "b", true));
	assert_true(is_good(":path", "b", true));
	assert_false(is_good(":authority", "b", false));
	assert_false(is_good(":path", "b", false));
}

static void test_values(void **state)
{
	char *text = malloc(LIMITER_ROOM + 1);

	(void)state;
	assert_false(is_good("x", "a\r\nb: c", true));
	assert_false(is_good("x", "a\nb", false));
	assert_false(is_good("x", "a\x7f", false));
	/* a request line has its blanks elsewhere: the next reader would see another one */
	assert_false(is_good(":path", "/ HTTP/1.1", true));
	assert_false(is_good(":path", "\t", true));
	/* name, value, and what stands around them */
	assert_non_null(text);
	memset(text, 'a', LIMITER_ROOM);
	text[LIMITER_ROOM - 5] = '\0';
	assert_true(is_good("x", text, true));
	text[LIMITER_ROOM - 5] = 'a';
	text[LIMITER_ROOM - 4] = '\0';
	assert_false(is_good("x", text, true));
	free(text);
}

/* Of a limit, which x-ratelimit-limit tells. */
static void test_limits(void **state)
{
	Envoy__Service__Ratelimit__V3__RateLimitResponse__RateLimit limit =
		ENVOY__SERVICE__RATELIMIT__V3__RATE_LIMIT_RESPONSE__RATE_LIMIT__INIT;
	Envoy__Service__Ratelimit__V3__RateLimitResponse__DescriptorStatus
		status =
			ENVOY__SERVICE__RATELIMIT__V3__RATE_LIMIT_RESPONSE__DESCRIPTOR_STATUS__INIT,
		*list[] = {&status};
	rate_response msg = ENVOY__SERVICE__RATELIMIT__V3__RATE_LIMIT_RESPONSE__INIT;
	char good[] = "per minute", bad[] = "a\r\nb: c";

	(void)state;
	msg.n_statuses = 1;
	msg.statuses = list;
	assert_true(answer_is_good(&msg));
	status.current_limit = &limit;
	limit.name = good;
	assert_true(answer_is_good(&msg));
	limit.name = bad;
	assert_false(answer_is_good(&msg));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
