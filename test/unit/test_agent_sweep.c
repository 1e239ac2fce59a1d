// SPDX-License-Identifier: Apache-2.0
/* Which saved views are removed, and what is never touched. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/cleanup.h"
#include "agent/log.h"
#include "agent/xds/sweep.h"

static char folder[64], here[4096];

static int enter(void **state)
{
	(void)state;
	snprintf(folder, sizeof(folder), "/tmp/weft-sweep-XXXXXX");
	weft_log_set_fd(open("/dev/null", O_WRONLY | O_CLOEXEC));
	return !getcwd(here, sizeof(here)) || !mkdtemp(folder) || chdir(folder) < 0;
}

static int leave(void **state)
{
	(void)state;
	return chdir(here) < 0 || rmdir(folder) < 0;
}

static void make(const char *name)
{
	int fd = open(name, O_WRONLY | O_CREAT | O_EXCL, 0600);

	assert_true(fd >= 0);
	close(fd);
}

static bool is(const char *name)
{
	struct stat st;

	return lstat(name, &st) == 0;
}

static bool is_path(void *ctx, const char *path)
{
	return ctx && !strcmp(ctx, path);
}

static void test_what_is_removed(void **state)
{
	static const char *const gone[] = {"cache.0123456789abcdef", "cache.ffffffffffffffff",
					   "cache.ffffffffffffffff.new"};
	static const char *const stays[] = {"cache",
					    "cache.new",
					    "cache.0123456789abcde",
					    "cache.0123456789abcdef0",
					    "cache.0123456789ABCDEF",
					    "cache.0123456789abcdef.old",
					    "cache.0123456789abcdef.new2",
					    "cache-0123456789abcdef",
					    "xcache.0123456789abcdef",
					    "cache.1111111111111111",
					    "cache.1111111111111111.new"};
	char file[80], used[128];

	(void)state;
	snprintf(file, sizeof(file), "%s/cache", folder);
	snprintf(used, sizeof(used), "%s.1111111111111111", file);
	for (size_t i = 0; i < sizeof(gone) / sizeof(gone[0]); i++)
		make(gone[i]);
	for (size_t i = 0; i < sizeof(stays) / sizeof(stays[0]); i++)
		make(stays[i]);
	assert_int_equal(mkdir("cache.2222222222222222", 0700), 0);
	assert_int_equal(symlink("cache", "cache.3333333333333333"), 0);
	assert_int_equal(weft_saved_sweep(file, is_path, used), 3);
	assert_int_equal(weft_saved_sweep(file, is_path, used), 0);
	for (size_t i = 0; i < sizeof(gone) / sizeof(gone[0]); i++)
		assert_false(is(gone[i]));
	for (size_t i = 0; i < sizeof(stays) / sizeof(stays[0]); i++) {
		assert_true(is(stays[i]));
		unlink(stays[i]);
	}
	assert_int_equal(rmdir("cache.2222222222222222"), 0);
	assert_int_equal(unlink("cache.3333333333333333"), 0);
}

static void test_a_file_without_a_folder(void **state)
{
	_auto_free_ char *path = weft_saved_view_path("cache", "key");

	(void)state;
	assert_non_null(path);
	assert_int_equal(strlen(path), strlen("cache.") + 16);
	make(path);
	assert_int_equal(weft_saved_sweep("cache", is_path, path), 0);
	assert_int_equal(weft_saved_sweep("cache", is_path, NULL), 1);
	assert_int_equal(weft_saved_sweep("/nonexistent/cache", is_path, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_what_is_removed, enter, leave),
		cmocka_unit_test_setup_teardown(test_a_file_without_a_folder, enter, leave),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
