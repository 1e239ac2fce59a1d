// SPDX-License-Identifier: Apache-2.0
/* The thread that writes access logs: what is written, where it may be, and what is lost. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
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

#include "agent/access/writer.h"

static char dir[] = "/tmp/weft-access-XXXXXX";
static char text[1 << 22];

static const char *at(const char *name)
{
	static char path[8][256];
	static unsigned int i;

	i = (i + 1) % 8;
	snprintf(path[i], sizeof(path[i]), "%s/%s", dir, name);
	return path[i];
}

static int open_dir(void **state)
{
	(void)state;
	memcpy(dir + strlen(dir) - 6, "XXXXXX", 6);
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
	static const char *const names[] = {"a", "b", "moved", "link", "pipe", "sub/c"};

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		unlink(at(names[i]));
	rmdir(at("sub"));
	return rmdir(dir);
}

static void put(struct weft_access *a, unsigned int worker, const char *path, const char *line)
{
	weft_access_put(a, worker, path, strlen(path), line, strlen(line));
}

static const char *slurp(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (fd >= 0)
		close(fd);
	if (n < 0)
		return NULL;
	text[n] = '\0';
	return text;
}

/* Until all that was put has been written or lost. */
static struct weft_access_stats settled(const struct weft_access *a, uint64_t n)
{
	struct weft_access_stats s = {0};

	for (int i = 0; i < 2000; i++) {
		weft_access_stats(a, &s);
		if (s.lines + s.lost >= n)
			break;
		usleep(5000);
	}
	assert_int_equal(s.lines + s.lost, n);
	return s;
}

static void test_written(void **state)
{
	struct weft_access *a;
	struct weft_access_stats s;

	(void)state;
	assert_int_equal(weft_access_new(dir, 2, &a), 0);
	put(a, 0, at("a"), "one\n");
	put(a, 1, at("b"), "other\n");
	put(a, 0, at("a"), "two\n");
	s = settled(a, 3);
	assert_int_equal(s.lines, 3);
	assert_int_equal(s.files, 2);
	assert_string_equal(slurp(at("a")), "one\ntwo\n");
	assert_string_equal(slurp(at("b")), "other\n");
	/* what is put last is written before the end */
	put(a, 0, at("a"), "three\n");
	weft_access_free(a);
	assert_string_equal(slurp(at("a")), "one\ntwo\nthree\n");
}

/* logrotate: moved away, then told. */
static void test_reopened(void **state)
{
	struct weft_access *a;

	(void)state;
	assert_int_equal(weft_access_new(dir, 1, &a), 0);
	put(a, 0, at("a"), "before\n");
	settled(a, 1);
	assert_int_equal(rename(at("a"), at("moved")), 0);
	put(a, 0, at("a"), "between\n");
	settled(a, 2);
	assert_string_equal(slurp(at("moved")), "before\nbetween\n");
	weft_access_reopen(a);
	for (int i = 0; i < 1000 && access(at("a"), F_OK); i++)
		usleep(5000);
	put(a, 0, at("a"), "after\n");
	settled(a, 3);
	assert_string_equal(slurp(at("a")), "after\n");
	assert_string_equal(slurp(at("moved")), "before\nbetween\n");
	weft_access_free(a);
}

/* A control plane names the file: nothing outside the folder is touched. */
static void test_kept_inside(void **state)
{
	char up[300], beside[300], outside[300];
	const char *const bad[] = {up,	       beside,		outside, at("link"),
				   at("pipe"), at("nowhere/x"), ""};
	size_t n = sizeof(bad) / sizeof(*bad);
	struct weft_access *a;
	struct weft_access_stats s;
	json_t *list;

	(void)state;
	snprintf(up, sizeof(up), "%s/../weft-access-escaped", dir);
	snprintf(beside, sizeof(beside), "%s-beside", dir);
	snprintf(outside, sizeof(outside), "/tmp/weft-access-escaped");
	assert_int_equal(symlink("/tmp/weft-access-escaped", at("link")), 0);
	assert_int_equal(mkfifo(at("pipe"), 0600), 0);
	assert_int_equal(mkdir(at("sub"), 0700), 0);
	assert_int_equal(weft_access_new(dir, 1, &a), 0);
	for (size_t i = 0; i < n; i++)
		put(a, 0, bad[i], "line\n");
	put(a, 0, at("sub/c"), "line\n");
	s = settled(a, n + 1);
	assert_int_equal(s.lines, 1);
	assert_int_equal(s.lost, n);
	assert_int_equal(s.failed, n);
	assert_int_equal(access("/tmp/weft-access-escaped", F_OK), -1);
	assert_int_equal(access(beside, F_OK), -1);
	list = weft_access_dump(a);
	assert_int_equal(json_array_size(list), n + 1);
	assert_string_equal(json_string_value(json_object_get(json_array_get(list, 1), "state")),
			    "not below --access-log-dir");
	assert_string_equal(json_string_value(json_object_get(json_array_get(list, n), "state")),
			    "open");
	json_decref(list);
	weft_access_free(a);
	/* without a folder there is no file at all */
	assert_int_equal(weft_access_new(NULL, 1, &a), 0);
	put(a, 0, at("a"), "line\n");
	assert_int_equal(settled(a, 1).lost, 1);
	assert_int_equal(access(at("a"), F_OK), -1);
	weft_access_free(a);
}

/* More names than there may be files. */
static void test_files_bounded(void **state)
{
	struct weft_access *a;
	struct weft_access_stats s;
	char name[32];

	(void)state;
	assert_int_equal(weft_access_new(dir, 1, &a), 0);
	for (unsigned int i = 0; i < WEFT_ACCESS_FILES_MAX + 5; i++) {
		snprintf(name, sizeof(name), "f%u", i);
		put(a, 0, at(name), "line\n");
	}
	s = settled(a, WEFT_ACCESS_FILES_MAX + 5);
	assert_int_equal(s.files, WEFT_ACCESS_FILES_MAX);
	assert_int_equal(s.lines, WEFT_ACCESS_FILES_MAX);
	assert_int_equal(s.lost, 5);
	weft_access_free(a);
	for (unsigned int i = 0; i < WEFT_ACCESS_FILES_MAX; i++) {
		snprintf(name, sizeof(name), "f%u", i);
		assert_int_equal(unlink(at(name)), 0);
	}
}

/* Nobody reads standard output: who puts lines does not wait, and what does not fit is counted. */
static void test_never_waits(void **state)
{
	enum { LINES = 40000 };
	static char line[256];
	struct weft_access *a;
	struct weft_access_stats s;
	int pipes[2], saved = dup(1);

	(void)state;
	memset(line, 'x', sizeof(line) - 2);
	line[sizeof(line) - 2] = '\n';
	assert_int_equal(pipe(pipes), 0);
	fflush(stdout);
	assert_int_equal(dup2(pipes[1], 1), 1);
	assert_int_equal(weft_access_new(NULL, 1, &a), 0);
	for (int i = 0; i < LINES; i++) /* ten times what fits */
		put(a, 0, "/dev/stdout", line);
	weft_access_stats(a, &s);
	weft_access_free(a);
	fflush(stdout);
	dup2(saved, 1);
	close(saved);
	close(pipes[0]);
	close(pipes[1]);
	assert_true(s.lost > 0);
	assert_true(s.lines + s.lost <= LINES);
}

/* Each worker's lines come whole and in their order. */
static struct weft_access *shared;
static char shared_path[256]; /* at() has one text for all */
enum { EACH = 5000 };

static void *put_many(void *arg)
{
	unsigned int worker = *(unsigned int *)arg;
	char line[64];

	for (int i = 0; i < EACH; i++) {
		snprintf(line, sizeof(line), "%u %d\n", worker, i);
		put(shared, worker, shared_path, line);
	}
	return NULL;
}

static void test_many_workers(void **state)
{
	unsigned int number[3] = {0, 1, 2};
	int next[3] = {0};
	pthread_t t[3];

	(void)state;
	assert_int_equal(weft_access_new(dir, 3, &shared), 0);
	snprintf(shared_path, sizeof(shared_path), "%s", at("a"));
	for (int i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&t[i], NULL, put_many, &number[i]), 0);
	for (int i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
	assert_int_equal(settled(shared, 3 * EACH).lost, 0);
	weft_access_free(shared);
	assert_non_null(slurp(at("a")));
	for (char *p = text, *save = NULL, *l; (l = strtok_r(p, "\n", &save)); p = NULL) {
		unsigned int w;
		int i;

		assert_int_equal(sscanf(l, "%u %d", &w, &i), 2);
		assert_true(w < 3);
		assert_int_equal(i, next[w]++);
	}
	for (int i = 0; i < 3; i++)
		assert_int_equal(next[i], EACH);
}

#define IN_DIR(name) cmocka_unit_test_setup_teardown(name, open_dir, remove_dir)
int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_DIR(test_written),	   IN_DIR(test_reopened),
		IN_DIR(test_kept_inside),  IN_DIR(test_files_bounded),
		IN_DIR(test_many_workers), cmocka_unit_test(test_never_waits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
