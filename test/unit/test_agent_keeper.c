// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
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

#include "agent/keeper.h"
#include "agent/log.h"
#include "envoy/config/cluster/v3/cluster.pb-c.h"

static char folder[] = "/tmp/weft-keeper-XXXXXX";
static char path[64];

static int make_folder(void **state)
{
	(void)state;
	weft_log_set_fd(open("/dev/null", O_WRONLY | O_CLOEXEC));
	if (!mkdtemp(folder))
		return -1;
	snprintf(path, sizeof(path), "%s/file", folder);
	return 0;
}

static int remove_folder(void **state)
{
	(void)state;
	unlink(path);
	return rmdir(folder);
}

/* One cluster of this name. */
static struct weft_snapshot *snapshot_of(const char *name)
{
	const size_t n = strlen(name);
	uint8_t bytes[32] = {0x0a, (uint8_t)n};
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;
	struct weft_snapshot *s;
	struct weft_resource *r;

	memcpy(bytes + 2, name, n);
	assert_int_equal(weft_resource_from_wire(WEFT_XDS_CLUSTER, bytes, n + 2, "1", 0, &diag, &r),
			 0);
	assert_int_equal(weft_snapshot_new(&s), 0);
	assert_int_equal(weft_snapshot_put(s, r), 0);
	weft_resource_unref(r);
	return s;
}

static void put(struct weft_keeper *k, const char *name)
{
	struct weft_snapshot *s = snapshot_of(name);

	assert_int_equal(weft_keeper_put(k, s), 0);
	weft_snapshot_free(s);
}

static json_int_t number(struct weft_keeper *k, const char *key)
{
	json_t *j = weft_keeper_json(k);
	json_int_t value = json_integer_value(json_object_get(j, key));

	json_decref(j);
	return value;
}

/* At most ten seconds. */
static void wait_for(struct weft_keeper *k, const char *key, json_int_t n)
{
	for (int i = 0; number(k, key) < n && i < 1000; i++)
		usleep(10000);
	assert_int_equal(number(k, key), n);
}

static void check_saved(struct weft_keeper *k, const char *name)
{
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;
	struct weft_snapshot *s;
	int64_t ms = 0;

	assert_int_equal(weft_keeper_load(k, &diag, &ms, &s), 0);
	assert_true(ms > 0);
	assert_int_equal(weft_snapshot_count(s, WEFT_XDS_CLUSTER), 1);
	assert_non_null(weft_snapshot_get(s, WEFT_XDS_CLUSTER, name));
	weft_snapshot_free(s);
}

static void test_many_changes_are_few_writes(void **state)
{
	struct weft_keeper *k;
	char name[16];

	(void)state;
	assert_int_equal(weft_keeper_new(path, "me", &k), 0);
	weft_keeper_tick(k, 0);
	assert_int_equal(number(k, "writes"), 0);
	put(k, "first");
	weft_keeper_tick(k, 0);
	wait_for(k, "writes", 1);
	check_saved(k, "first");
	/* A second of a thousand changes, and a look at each. */
	for (int i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "c%d", i);
		put(k, name);
		weft_keeper_tick(k, 1 + i);
	}
	usleep(20000);
	assert_int_equal(number(k, "writes"), 1);
	weft_keeper_tick(k, WEFT_KEEPER_INTERVAL_MS);
	wait_for(k, "writes", 2);
	check_saved(k, "c999");
	/* Nothing changed: nothing is written. */
	weft_keeper_tick(k, 10 * WEFT_KEEPER_INTERVAL_MS);
	usleep(20000);
	assert_int_equal(number(k, "writes"), 2);
	put(k, "last");
	weft_keeper_free(k);
	assert_int_equal(weft_keeper_new(path, "me", &k), 0);
	check_saved(k, "last");
	weft_keeper_free(k);
}

static void test_failures_are_told_and_pass(void **state)
{
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;
	struct weft_snapshot *s;
	struct weft_keeper *k;
	char file[80];
	json_t *j;
	int64_t ms;

	(void)state;
	snprintf(file, sizeof(file), "%s/no/file", folder);
	assert_int_equal(weft_keeper_new(file, "me", &k), 0);
	assert_int_equal(weft_keeper_load(k, &diag, &ms, &s), -ENOENT);
	put(k, "a");
	weft_keeper_tick(k, 0);
	wait_for(k, "failures", 1);
	j = weft_keeper_json(k);
	assert_non_null(strstr(json_string_value(json_object_get(j, "error")), "No such file"));
	json_decref(j);
	*strrchr(file, '/') = '\0';
	assert_int_equal(mkdir(file, 0700), 0);
	file[strlen(file)] = '/';
	put(k, "b");
	weft_keeper_tick(k, WEFT_KEEPER_INTERVAL_MS);
	wait_for(k, "writes", 1);
	j = weft_keeper_json(k);
	assert_true(json_is_null(json_object_get(j, "error")));
	json_decref(j);
	weft_keeper_free(k);
	unlink(file);
	*strrchr(file, '/') = '\0';
	rmdir(file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_many_changes_are_few_writes),
		cmocka_unit_test(test_failures_are_told_and_pass),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
