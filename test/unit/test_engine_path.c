// SPDX-License-Identifier: Apache-2.0

/* normalize_path and merge_slashes as Envoy 1.40 does them. */

#include "test/unit/image_fixture.h"

static void check(const char *in, const char *want, bool normalize, bool merge)
{
	char out[256];
	int n = weft_path_normalize(in, (__u32)strlen(in), out, sizeof(out), normalize, merge);

	assert_int_equal(n, strlen(want));
	assert_memory_equal(out, want, strlen(want));
}

static void both(void **state)
{
	static const char *const p[][2] = {
		{ "/a/x/../b", "/a/b" }, { "/../../a/b", "/a/b" }, { "/a///b", "/a/b" },
		{ "/%61/b", "/a/b" }, { "/a/x/%2e%2e/b", "/a/b" }, { "/a/x/%2E./b", "/a/b" },
		{ "/a\\b", "/a/b" }, { "/a/b?x=/../y//z", "/a/b?x=/../y//z" }, { "/a/.", "/a/" },
		{ "/a/..", "/" }, { "/a/b/..", "/a/" }, { "/a/.b/..c", "/a/.b/..c" },
		{ "/a%2Fb%2fc", "/a%2Fb%2fc" }, { "/a<b>", "/a%3Cb%3E" }, { "/%zz", "/%zz" },
		{ "/", "/" }, { "/a/...", "/a/..." }, { "/%7e~", "/~~" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(p) / sizeof(p[0]); i++)
		check(p[i][0], p[i][1], true, true);
}

static void alone(void **state)
{
	(void)state;
	check("/a//./b", "/a/./b", false, true);
	check("/a//./b", "/a//b", true, false);
	check("//", "//", false, true);
	check("///?//", "//?//", false, true);
	check("//a//", "/a/", false, true);
	check("/./", "/", true, true);
}

static void refused(void **state)
{
	char out[4];

	(void)state;
	assert_int_equal(weft_path_normalize("/a%00b", 6, out, 4, true, true), -EINVAL);
	assert_int_equal(weft_path_normalize("x", 1, out, 4, true, true), -EINVAL);
	assert_int_equal(weft_path_normalize("/abcd", 5, out, 4, true, true), -ENOSPC);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(both), cmocka_unit_test(alone),
					    cmocka_unit_test(refused) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
