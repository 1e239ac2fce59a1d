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

/* The path that a request with this one goes on with; what weft_req_form_path() says. */
static int formed(const char *in, __u32 flags, const char *want)
{
	static struct weft_req req;
	static __u8 head[512];
	int r;

	memset(&req, 0, sizeof(req));
	memset(head, 0, sizeof(head));
	memcpy(head, in, strlen(in));
	req.head = head;
	req.hcm_flags = flags;
	assert_int_equal(weft_req_set_path(&req, head, (__u32)strlen(in)), 0);
	req.flags = WEFT_REQ_PATH_ODD;
	r = weft_req_form_path(&req, head + 256, 200);
	if (r >= 0) {
		const struct weft_span *p = &req.value[WEFT_VALUE_PATH];

		assert_int_equal(p->len, strlen(want));
		assert_memory_equal(head + p->off, want, p->len);
	}
	return r;
}

static void escaped_slashes(void **state)
{
	const __u32 normal = WEFT_HCM_NORMALIZE_PATH | WEFT_HCM_MERGE_SLASHES;

	(void)state;
	assert_int_equal(formed("/a%2fb", WEFT_HCM_SLASHES_REJECT, ""), -EINVAL);
	assert_int_equal(formed("/a%5Cb", WEFT_HCM_SLASHES_REJECT | normal, ""), -EINVAL);
	assert_int_equal(formed("/a?%2f", WEFT_HCM_SLASHES_REJECT, "/a?%2f"), 0);
	assert_int_equal(formed("/a%252f%2", WEFT_HCM_SLASHES_REJECT, "/a%252f%2"), 0);
	assert_int_equal(formed("/a%2Fb%5c?x=%2f", WEFT_HCM_SLASHES_FORWARD, "/a/b\\?x=%2f"), 0);
	assert_int_equal(formed("/a%2F..%2fb%5c", WEFT_HCM_SLASHES_FORWARD | normal, "/b/"), 0);
	assert_int_equal(formed("/a%2fb", WEFT_HCM_SLASHES_REDIRECT, "/a/b"), 1);
	assert_int_equal(formed("/a%2f..%2fb?c", WEFT_HCM_SLASHES_REDIRECT | normal, "/b?c"), 1);
	assert_int_equal(formed("/a/../b", WEFT_HCM_SLASHES_REDIRECT | normal, "/b"), 0);
	assert_int_equal(formed("/a%2f%00", WEFT_HCM_SLASHES_REDIRECT | normal, ""), -EINVAL);
	assert_int_equal(formed("/a%2fb", normal, "/a%2fb"), 0);
	assert_int_equal(formed("/a%2fb", 0, "/a%2fb"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(both), cmocka_unit_test(alone),
					    cmocka_unit_test(refused),
					    cmocka_unit_test(escaped_slashes) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
