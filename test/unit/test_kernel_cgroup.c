// SPDX-License-Identifier: Apache-2.0
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/kernel/cgroup.h"
#include "agent/kernel/kernel.h"

static void refused(const char *path, int err, const char *says)
{
	struct weft_diag diag = WEFT_DIAG_INIT;
	int fd = -1;

	assert_int_equal(weft_cgroup_open(path, &diag, &fd), err);
	assert_int_equal(diag.n, 1);
	assert_non_null(strstr(diag.entries[0].reason, says));
	weft_diag_clear(&diag);
}

static void not_a_cgroup(void **state)
{
	(void)state;
	refused("/nowhere/at/all", -ENOENT, "No such file");
	refused("/tmp", -EINVAL, "not a cgroup2 folder");
}

/* One agent above or below another would judge the other's connections. */
static void nested_agents(void **state)
{
	struct weft_diag diag = WEFT_DIAG_INIT;
	char top[128], mid[160], low[200];
	int held = -1, fd = -1;

	(void)state;
	snprintf(top, sizeof(top), "/sys/fs/cgroup%s/weft-unit-%d",
		 access("/sys/fs/cgroup/unified", F_OK) ? "" : "/unified", getpid());
	snprintf(mid, sizeof(mid), "%s/a", top);
	snprintf(low, sizeof(low), "%s/b", mid);
	if (mkdir(top, 0755) || weft_cgroup_open(top, &diag, &fd)) {
		rmdir(top);
		weft_diag_clear(&diag);
		print_message("no cgroup of this test's own can be made here, or it is governed "
			      "already\n");
		skip();
	}
	close(fd);
	mkdir(mid, 0755);
	mkdir(low, 0755);
	assert_int_equal(weft_cgroup_open(mid, &diag, &held), 0);
	refused(mid, -EBUSY, "another weft-agent governs this cgroup");
	refused(low, -EBUSY, mid);
	refused(top, -EBUSY, mid);
	close(held);
	assert_int_equal(weft_cgroup_open(low, &diag, &held), 0);
	refused(top, -EBUSY, low);
	close(held);
	assert_int_equal(weft_cgroup_open(top, &diag, &held), 0);
	close(held);
	rmdir(low);
	rmdir(mid);
	rmdir(top);
}

static void sizes(void **state)
{
	struct weft_kernel_config bad[] = {
		{.img_size = 3 << 20}, {.img_size = 2048}, {.img_size = WEFT_IMAGE_SIZE_MAX * 2u},
		{.state_size = 5 << 20}, {.state_size = 4096},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct weft_diag diag = WEFT_DIAG_INIT;
		struct weft_kernel *k = NULL;

		assert_int_equal(weft_kernel_load(&bad[i], &diag, &k), -EINVAL);
		assert_non_null(strstr(diag.entries[0].reason, "not a power of two"));
		weft_diag_clear(&diag);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(not_a_cgroup),
					   cmocka_unit_test(nested_agents),
					   cmocka_unit_test(sizes)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
