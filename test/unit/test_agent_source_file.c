// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "agent/log.h"
#include "agent/source.h"

#define GOOD                                                                                       \
	"resources:\n- {\"@type\": type.googleapis.com/envoy.config.cluster.v3.Cluster, "          \
	"name: %s, type: STATIC}\n"
#define BAD                                                                                        \
	"resources:\n- {\"@type\": type.googleapis.com/envoy.config.cluster.v3.Cluster, "          \
	"name: c, type: STATIC, connect_timeout: -1s}\n"

struct fixture {
	struct weft_loop *loop;
	struct weft_source_file *source;
	char folder[64], path[128];
	int published, verdict;
	char name[64]; /* of the first cluster published last */
};

static int publish(void *ctx, const struct weft_snapshot *next, struct weft_diag *diag)
{
	struct fixture *f = ctx;

	if (f->verdict < 0)
		return weft_diag_add(diag, f->verdict, "Cluster/x", "field", "not compiled");
	f->published++;
	snprintf(f->name, sizeof(f->name), "%s", weft_snapshot_at(next, WEFT_XDS_CLUSTER, 0)->name);
	return 0;
}

static void put(const char *path, const char *fmt, const char *name)
{
	FILE *out = fopen(path, "we");

	assert_non_null(out);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	fprintf(out, fmt, name);
#pragma GCC diagnostic pop
	fclose(out);
}

static int setup(void **state)
{
	static struct fixture f;
	const struct weft_source_ops ops = {.publish = publish, .ctx = &f};

	memset(&f, 0, sizeof(f));
	*state = &f;
	weft_log_set_fd(open("/dev/null", O_WRONLY | O_CLOEXEC));
	strcpy(f.folder, "/tmp/weft-file-XXXXXX");
	if (!mkdtemp(f.folder))
		return -1;
	snprintf(f.path, sizeof(f.path), "%s/a.yaml", f.folder);
	put(f.path, GOOD, "one");
	return weft_loop_new(&f.loop) < 0 ||
	       weft_source_file_new(f.loop, f.path, &ops, &f.source) < 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	weft_source_file_free(f->source);
	weft_loop_free(f->loop);
	unlink(f->path);
	return rmdir(f->folder);
}

/* Until something was published or refused, at most five seconds. */
static void wait_for(struct fixture *f, int published, json_int_t failures)
{
	for (int i = 0; i < 500; i++) {
		json_t *j = weft_source_file_json(f->source);
		json_int_t n = json_integer_value(json_object_get(j, "failures"));

		json_decref(j);
		if (f->published == published && n == failures)
			return;
		assert_int_equal(weft_loop_step(f->loop, 10), 0);
	}
	fail_msg("published %d, waited for %d", f->published, published);
}

static void test_load_and_reload(void **state)
{
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;
	struct fixture *f = *state;

	assert_int_equal(weft_source_file_load(f->source, &diag), 0);
	assert_string_equal(f->name, "one");
	put(f->path, GOOD, "two");
	wait_for(f, 2, 0);
	assert_string_equal(f->name, "two");
}

static void test_rename_over(void **state)
{
	struct fixture *f = *state;
	char new[160];

	assert_int_equal(weft_source_file_load(f->source, NULL), 0);
	snprintf(new, sizeof(new), "%s.new", f->path);
	for (int i = 2; i < 5; i++) {
		put(new, GOOD, i % 2 ? "odd" : "even");
		assert_int_equal(rename(new, f->path), 0);
		wait_for(f, i, 0);
		assert_string_equal(f->name, i % 2 ? "odd" : "even");
	}
}

/* What was published stays: publish is not even called. */
static void test_bad_file_keeps_the_old(void **state)
{
	struct fixture *f = *state;
	json_t *j, *cause;

	assert_int_equal(weft_source_file_load(f->source, NULL), 0);
	put(f->path, BAD, NULL);
	wait_for(f, 1, 1);
	j = weft_source_file_json(f->source);
	cause = json_array_get(json_object_get(j, "causes"), 0);
	assert_string_equal(json_string_value(json_object_get(cause, "resource")), "Cluster/c");
	assert_non_null(
		strstr(json_string_value(json_object_get(cause, "field")), "connect_timeout"));
	json_decref(j);
	unlink(f->path);
	wait_for(f, 1, 2);
	put(f->path, GOOD, "back");
	wait_for(f, 2, 2);
	assert_string_equal(f->name, "back");
}

static void test_compiler_refuses(void **state)
{
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;
	struct fixture *f = *state;

	f->verdict = -EINVAL;
	assert_int_equal(weft_source_file_load(f->source, &diag), -EINVAL);
	assert_int_equal(diag.n, 1);
	assert_string_equal(diag.entries[0].reason, "not compiled");
}

/* A change behind a link, and the way a ConfigMap changes: links, replaced by a rename. */
static void test_links(void **state)
{
	struct fixture *f = *state;
	char v1[160], v2[160], file1[192], file2[192], data[160], tmp[160];

	snprintf(v1, sizeof(v1), "%s/..v1", f->folder);
	snprintf(v2, sizeof(v2), "%s/..v2", f->folder);
	snprintf(file1, sizeof(file1), "%s/a.yaml", v1);
	snprintf(file2, sizeof(file2), "%s/a.yaml", v2);
	snprintf(data, sizeof(data), "%s/..data", f->folder);
	snprintf(tmp, sizeof(tmp), "%s/..tmp", f->folder);
	assert_int_equal(mkdir(v1, 0700) | mkdir(v2, 0700), 0);
	put(file1, GOOD, "v1");
	put(file2, GOOD, "v2");
	unlink(f->path);
	assert_int_equal(symlink("..v1", data) | symlink("..data/a.yaml", f->path), 0);
	assert_int_equal(weft_source_file_load(f->source, NULL), 0);
	assert_string_equal(f->name, "v1");
	put(file1, GOOD, "v1-again");
	wait_for(f, 2, 0);
	assert_string_equal(f->name, "v1-again");
	assert_int_equal(symlink("..v2", tmp), 0);
	assert_int_equal(rename(tmp, data), 0);
	wait_for(f, 3, 0);
	assert_string_equal(f->name, "v2");
	unlink(file1);
	unlink(file2);
	unlink(data);
	rmdir(v1);
	rmdir(v2);
}

static void test_folder(void **state)
{
	struct fixture *f = *state;
	const struct weft_source_ops ops = {.publish = publish, .ctx = f};
	struct weft_source_file *source;
	char other[160];

	assert_int_equal(weft_source_file_new(f->loop, f->folder, &ops, &source), 0);
	assert_int_equal(weft_source_file_load(source, NULL), 0);
	snprintf(other, sizeof(other), "%s/0.yaml", f->folder);
	put(other, GOOD, "first");
	for (int i = 0; i < 500 && strcmp(f->name, "first") != 0; i++)
		assert_int_equal(weft_loop_step(f->loop, 10), 0);
	assert_string_equal(f->name, "first");
	unlink(other);
	weft_source_file_free(source);
}

/* A file replaced again and again, faster than a quiet moment comes, is loaded all the same. */
static void test_replaced_does_not_wait_for_quiet(void **state)
{
	struct fixture *f = *state;
	char new[160], name[16];

	assert_int_equal(weft_source_file_load(f->source, NULL), 0);
	snprintf(new, sizeof(new), "%s.new", f->path);
	for (int i = 0; i < 60; i++) {
		snprintf(name, sizeof(name), "n%d", i);
		put(new, GOOD, name);
		assert_int_equal(rename(new, f->path), 0);
		usleep(WEFT_FILE_REPLACED_MS * 1000 / 2);
		assert_int_equal(weft_loop_step(f->loop, 0), 0);
	}
	/* Each wait ends within three turns: events, at most two half waits, the timer. */
	assert_true(f->published > 10);
	for (int i = 0; i < 500 && strcmp(f->name, "n59") != 0; i++)
		assert_int_equal(weft_loop_step(f->loop, 10), 0);
	assert_string_equal(f->name, "n59");
}

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* Written in place: what comes together is one load, of the last. */
static void test_written_in_place_waits_for_quiet(void **state)
{
	struct fixture *f = *state;
	int64_t began = now_ms();
	char name[16];

	assert_int_equal(weft_source_file_load(f->source, NULL), 0);
	for (int i = 0; i < 10; i++) {
		snprintf(name, sizeof(name), "n%d", i);
		put(f->path, GOOD, name);
		usleep(2000);
		assert_int_equal(weft_loop_step(f->loop, 0), 0);
	}
	/* A machine that stood still in between has seen a quiet moment. */
	if (now_ms() - began < WEFT_FILE_DEBOUNCE_MS)
		assert_int_equal(f->published, 1);
	for (int i = 0; i < 500 && strcmp(f->name, "n9") != 0; i++)
		assert_int_equal(weft_loop_step(f->loop, 10), 0);
	assert_string_equal(f->name, "n9");
}

/* A writer without an end cannot keep the file from being read. */
static void test_constant_writer(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(weft_source_file_load(f->source, NULL), 0);
	for (int i = 0; i < 500 && f->published < 2; i++) {
		put(f->path, GOOD, "busy");
		usleep(WEFT_FILE_DEBOUNCE_MS * 1000 / 5);
		assert_int_equal(weft_loop_step(f->loop, 0), 0);
	}
	assert_true(f->published >= 2);
	assert_string_equal(f->name, "busy");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_load_and_reload, setup, teardown),
		cmocka_unit_test_setup_teardown(test_rename_over, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bad_file_keeps_the_old, setup, teardown),
		cmocka_unit_test_setup_teardown(test_compiler_refuses, setup, teardown),
		cmocka_unit_test_setup_teardown(test_links, setup, teardown),
		cmocka_unit_test_setup_teardown(test_folder, setup, teardown),
		cmocka_unit_test_setup_teardown(test_replaced_does_not_wait_for_quiet, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_written_in_place_waits_for_quiet, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_constant_writer, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
