// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>

#include "agent/cgroup.h"

static void test_found_or_said(void **state)
{
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;
	char *path = NULL, *same = NULL;
	int r = weft_cgroup_find(NULL, &diag, &path);

	(void)state;
	if (r < 0) {
		assert_int_equal(r, -ENOENT);
		assert_int_equal(diag.n, 1);
		return;
	}
	/* What was found passes the test for a path that is given. */
	assert_int_equal(weft_cgroup_find(path, &diag, &same), 0);
	assert_string_equal(path, same);
	free(path);
	free(same);
}

static void test_refused(void **state)
{
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;
	char *path = NULL;

	(void)state;
	assert_int_equal(weft_cgroup_find("/tmp", &diag, &path), -EINVAL);
	assert_string_equal(diag.entries[0].reason, "not in a cgroup v2 hierarchy");
	assert_int_equal(weft_cgroup_find("/tmp/weft-none", &diag, &path), -ENOENT);
	assert_null(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_found_or_said),
		cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
