// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "agent/options.h"

static const struct weft_option options[] = {
	{.name = "flag", .kind = WEFT_OPTION_FLAG, .help = "h"},
	{.name = "text", .arg = "T", .kind = WEFT_OPTION_STRING, .fallback = "f", .help = "h"},
	{.name = "list", .arg = "L", .kind = WEFT_OPTION_LIST, .help = "h"},
	{.name = "size",
	 .arg = "N",
	 .kind = WEFT_OPTION_NUMBER,
	 .min = 4,
	 .max = 1 << 20,
	 .help = "h"},
	{.name = "must", .arg = "M", .kind = WEFT_OPTION_STRING, .required = true, .help = "h"},
};
static const struct weft_command command = {
	.name = "test",
	.operands = "PATH",
	.min_operands = 1,
	.max_operands = 2,
	.options = options,
	.n_options = 5,
	.help = "h",
};

#define PARSE(args, error, ...)                                                                    \
	({                                                                                         \
		char *argv_[] = {__VA_ARGS__};                                                     \
		weft_args_parse(&command, (int)(sizeof(argv_) / sizeof(*argv_)), argv_, args,      \
				error, sizeof(error));                                             \
	})

static void test_values(void **state)
{
	struct weft_args args = {0};
	char error[256];

	(void)state;
	assert_int_equal(PARSE(&args, error, "one", "--must=m", "--list", "a", "--list=b", "--size",
			       "64K", "--flag", "--json", "--", "--two"),
			 0);
	assert_string_equal(weft_args_string(&args, "must"), "m");
	assert_string_equal(weft_args_string(&args, "text"), "f");
	assert_string_equal(weft_args_list(&args, "list", 0), "a");
	assert_string_equal(weft_args_list(&args, "list", 1), "b");
	assert_null(weft_args_list(&args, "list", 2));
	assert_int_equal(weft_args_number(&args, "size"), 65536);
	assert_true(weft_args_flag(&args, "flag"));
	assert_true(args.json);
	assert_string_equal(weft_args_operand(&args, 0), "one");
	assert_string_equal(weft_args_operand(&args, 1), "--two");
	assert_null(weft_args_operand(&args, 2));
}

static void test_refusals(void **state)
{
	struct weft_args args = {0};
	char error[256];

	(void)state;
	assert_int_equal(PARSE(&args, error, "p", "--must", "m", "--what"), -EINVAL);
	assert_string_equal(error, "unknown option --what");
	assert_int_equal(PARSE(&args, error, "p", "--must"), -EINVAL);
	assert_string_equal(error, "--must needs a value (M)");
	assert_int_equal(PARSE(&args, error, "p"), -EINVAL);
	assert_string_equal(error, "--must is required");
	assert_int_equal(PARSE(&args, error, "--must", "m"), -EINVAL);
	assert_string_equal(error, "PATH is missing");
	assert_int_equal(PARSE(&args, error, "a", "b", "c"), -EINVAL);
	assert_string_equal(error, "unexpected argument c");
	assert_int_equal(PARSE(&args, error, "a", "--flag=1"), -EINVAL);
	assert_string_equal(error, "--flag takes no value");
	assert_int_equal(PARSE(&args, error, "a", "--text", "1", "--text", "2"), -EINVAL);
	assert_string_equal(error, "--text is given twice");
	assert_int_equal(PARSE(&args, error, "a", "--size", "3"), -EINVAL);
	assert_string_equal(error, "--size: 3 is not in 4..1048576");
	assert_int_equal(PARSE(&args, error, "a", "--size", "2M"), -EINVAL);
	assert_int_equal(PARSE(&args, error, "a", "--size", "4x"), -EINVAL);
	assert_string_equal(error, "--size: 4x is not a number");
}

/* Also behind the mistake: it says how the error is to be shown. */
static void test_json_is_known_on_errors(void **state)
{
	struct weft_args args = {0};
	char error[256];

	(void)state;
	assert_int_equal(PARSE(&args, error, "--what", "--json"), -EINVAL);
	assert_true(args.json);
}

static void test_help_needs_nothing_else(void **state)
{
	struct weft_args args = {0};
	char error[256];

	(void)state;
	assert_int_equal(PARSE(&args, error, "--help"), 0);
	assert_true(args.help);
}

static void test_too_many_words(void **state)
{
	char *argv[WEFT_ARGS_MAX + 1], word[] = "--flag";
	struct weft_args args = {0};
	char error[256];

	(void)state;
	for (size_t i = 0; i <= WEFT_ARGS_MAX; i++)
		argv[i] = word;
	assert_int_equal(
		weft_args_parse(&command, WEFT_ARGS_MAX + 1, argv, &args, error, sizeof(error)),
		-EINVAL);
	assert_string_equal(error, "more than 256 words");
}

static void test_numbers(void **state)
{
	uint64_t n = 0;

	(void)state;
	assert_int_equal(weft_number_parse("0", 0, 10, &n), 0);
	assert_int_equal(weft_number_parse("2G", 0, UINT64_MAX, &n), 0);
	assert_true(n == 2ull << 30);
	assert_int_equal(weft_number_parse("-1", 0, 10, &n), -EINVAL);
	assert_int_equal(weft_number_parse("", 0, 10, &n), -EINVAL);
	assert_int_equal(weft_number_parse("1KB", 0, UINT64_MAX, &n), -EINVAL);
	assert_int_equal(weft_number_parse("18446744073709551616", 0, UINT64_MAX, &n), -ERANGE);
	assert_int_equal(weft_number_parse("18446744073709551615K", 0, UINT64_MAX, &n), -ERANGE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_json_is_known_on_errors),
		cmocka_unit_test(test_help_needs_nothing_else),
		cmocka_unit_test(test_too_many_words),
		cmocka_unit_test(test_numbers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
