// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include <unistd.h>

#include "agent/log.h"

/* The part behind "2026-01-01T00:00:00.000Z ". */
static const char *tail(const char *line)
{
	const char *space = strchr(line, ' ');

	assert_non_null(space);
	return space + 1;
}

static void test_format(void **state)
{
	const struct weft_kv kv[] = {
		WEFT_KV_S("name", "a-b_c.d/e:1"),
		WEFT_KV_U("n", UINT64_MAX),
		WEFT_KV_I("i", -1),
		WEFT_KV_S("none", NULL),
	};
	char line[256];
	size_t len = weft_log_format(line, sizeof(line) - 1, WEFT_LOG_WARN, "it happened", kv, 4);

	(void)state;
	line[len] = '\0';
	assert_string_equal(
		tail(line),
		"warn it happened name=a-b_c.d/e:1 n=18446744073709551615 i=-1 none=-\n");
}

/* What others wrote can neither end the line nor look like another key. */
static void test_quotes(void **state)
{
	const struct weft_kv kv[] = {
		WEFT_KV_S("a", ""),
		WEFT_KV_S("b", "x y=\"1\"\\"),
		WEFT_KV_S("c", "\n\x1b\xff"),
	};
	char line[256];
	size_t len = weft_log_format(line, sizeof(line) - 1, WEFT_LOG_INFO, "m", kv, 3);

	(void)state;
	line[len] = '\0';
	assert_string_equal(tail(line),
			    "info m a=\"\" b=\"x y=\\\"1\\\"\\\\\" c=\"\\x0a\\x1b\\xff\"\n");
}

static void test_long_line_is_cut(void **state)
{
	static char text[WEFT_LOG_LINE_MAX * 2];
	const struct weft_kv kv[] = {WEFT_KV_S("k", text)};
	char line[WEFT_LOG_LINE_MAX];
	size_t len;

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	len = weft_log_format(line, sizeof(line), WEFT_LOG_INFO, "m", kv, 1);
	assert_int_equal(len, sizeof(line));
	assert_int_equal(line[len - 1], '\n');
}

static void test_levels(void **state)
{
	char buf[512] = "";
	int fds[2];

	(void)state;
	assert_int_equal(pipe(fds), 0);
	weft_log_set_fd(fds[1]);
	weft_log_set_level(WEFT_LOG_WARN);
	WEFT_LOG(WEFT_LOG_INFO, "dropped");
	WEFT_LOG(WEFT_LOG_ERROR, "kept", WEFT_KV_U("n", 1));
	close(fds[1]);
	assert_true(read(fds[0], buf, sizeof(buf) - 1) > 0);
	close(fds[0]);
	assert_null(strstr(buf, "dropped"));
	assert_non_null(strstr(buf, "error kept n=1\n"));
	weft_log_set_fd(STDERR_FILENO);
	assert_int_equal(weft_log_level_from_name("debug"), WEFT_LOG_DEBUG);
	assert_int_equal(weft_log_level_from_name("loud"), WEFT_LOG__MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_format),
		cmocka_unit_test(test_quotes),
		cmocka_unit_test(test_long_line_is_cut),
		cmocka_unit_test(test_levels),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
