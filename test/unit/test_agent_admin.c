// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "agent/admin.h"
#include "agent/log.h"

struct fixture {
	char folder[64], path[128];
	struct weft_loop *loop;
	struct weft_admin *admin;
	pthread_t thread;
	int stop;
	struct stat passed; /* what the descriptor with the last request was */
};

static json_t *answer(void *ctx, const json_t *request, int fd[WEFT_ADMIN_FDS_MAX])
{
	struct fixture *f = ctx;
	const char *command = json_string_value(json_object_get(request, "command"));

	memset(&f->passed, 0, sizeof(f->passed));
	if (fd[0] >= 0)
		fstat(fd[0], &f->passed);
	if (strcmp(command, "long") == 0) {
		char *text = malloc(8u << 20);
		json_t *j;

		memset(text, 'x', 8u << 20);
		j = json_pack("{s:o}", "text", json_stringn(text, 8u << 20));
		free(text);
		return j;
	}
	return json_pack("{s:O}", "request", request);
}

static void *serve(void *arg)
{
	struct fixture *f = arg;

	while (!__atomic_load_n(&f->stop, __ATOMIC_ACQUIRE))
		weft_loop_step(f->loop, 20);
	return NULL;
}

static int setup(void **state)
{
	static struct fixture f;
	struct weft_diag diag = WEFT_DIAG_INIT;

	memset(&f, 0, sizeof(f));
	strcpy(f.folder, "/tmp/weft-admin-XXXXXX");
	if (!mkdtemp(f.folder))
		return -1;
	snprintf(f.path, sizeof(f.path), "%s/new/admin.sock", f.folder);
	if (weft_loop_new(&f.loop) < 0 ||
	    weft_admin_new(f.loop, f.path, answer, &f, &diag, &f.admin) < 0)
		return -1;
	*state = &f;
	return pthread_create(&f.thread, NULL, serve, &f);
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char path[160];

	__atomic_store_n(&f->stop, 1, __ATOMIC_RELEASE);
	pthread_join(f->thread, NULL);
	weft_admin_free(f->admin);
	weft_loop_free(f->loop);
	/* Nothing is left but the lock. */
	if (access(f->path, F_OK) == 0)
		return -1;
	snprintf(path, sizeof(path), "%s.lock", f->path);
	unlink(path);
	snprintf(path, sizeof(path), "%s/new", f->folder);
	rmdir(path);
	return rmdir(f->folder);
}

static int raw_connect(const char *path)
{
	const struct timeval timeout = {.tv_sec = 10};
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(addr.sun_path, path);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

static size_t raw_answer(int fd, char *buf, size_t size)
{
	size_t n = 0;
	ssize_t r;

	while (n < size - 1 && (r = recv(fd, buf + n, size - 1 - n, 0)) > 0)
		n += (size_t)r;
	buf[n] = '\0';
	close(fd);
	return n;
}

static void test_request_and_answer(void **state)
{
	struct fixture *f = *state;
	json_t *request = json_pack("{s:s, s:i}", "command", "hello", "n", 7), *reply = NULL;

	assert_int_equal(weft_admin_call(f->path, request, NULL, 0, &reply), 0);
	assert_true(json_equal(json_object_get(reply, "request"), request));
	json_decref(reply);
	json_decref(request);
}

static void test_descriptor_travels(void **state)
{
	struct fixture *f = *state;
	json_t *request = json_pack("{s:s}", "command", "fd"), *reply = NULL;
	int fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	struct stat st;

	fstat(fd, &st);
	assert_int_equal(weft_admin_call(f->path, request, &fd, 1, &reply), 0);
	assert_true(f->passed.st_ino == st.st_ino);
	close(fd);
	json_decref(reply);
	json_decref(request);
}

static void test_long_answer(void **state)
{
	struct fixture *f = *state;
	json_t *request = json_pack("{s:s}", "command", "long"), *reply = NULL;

	assert_int_equal(weft_admin_call(f->path, request, NULL, 0, &reply), 0);
	assert_int_equal(json_string_length(json_object_get(reply, "text")), 8u << 20);
	json_decref(reply);
	json_decref(request);
}

static void test_request_in_pieces(void **state)
{
	struct fixture *f = *state;
	const char text[] = "{\"command\": \"x\"}\n";
	int fd = raw_connect(f->path);
	char buf[256];

	for (size_t i = 0; i < sizeof(text) - 1; i++)
		assert_int_equal(send(fd, text + i, 1, MSG_NOSIGNAL), 1);
	raw_answer(fd, buf, sizeof(buf));
	assert_string_equal(buf, "{\"request\":{\"command\":\"x\"}}\n");
}

static void test_not_a_request(void **state)
{
	static const char *const bad[] = {"hello\n", "{}\n", "[]\n", "{\"command\": 1}\n", "\n"};
	struct fixture *f = *state;
	char buf[512];

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		int fd = raw_connect(f->path);

		assert_true(send(fd, bad[i], strlen(bad[i]), MSG_NOSIGNAL) > 0);
		raw_answer(fd, buf, sizeof(buf));
		assert_non_null(strstr(buf, "\"error\""));
		assert_non_null(strstr(buf, "not a request"));
	}
}

static void test_request_too_long(void **state)
{
	struct fixture *f = *state;
	int fd = raw_connect(f->path);
	char *text = malloc(WEFT_ADMIN_REQUEST_MAX), buf[512];
	size_t sent = 0;

	memset(text, 'x', WEFT_ADMIN_REQUEST_MAX);
	while (sent < WEFT_ADMIN_REQUEST_MAX) {
		ssize_t n = send(fd, text + sent, WEFT_ADMIN_REQUEST_MAX - sent, MSG_NOSIGNAL);

		assert_true(n > 0);
		sent += (size_t)n;
	}
	free(text);
	raw_answer(fd, buf, sizeof(buf));
	assert_non_null(strstr(buf, "request longer than 262144 bytes"));
}

/* Clients that say nothing use up all places: the next waits until one goes, and is then served. */
static void test_more_clients_than_places(void **state)
{
	struct fixture *f = *state;
	int idle[WEFT_ADMIN_CLIENTS_MAX], fd;
	const char text[] = "{\"command\": \"x\"}\n";
	char buf[256];

	for (size_t i = 0; i < WEFT_ADMIN_CLIENTS_MAX; i++)
		idle[i] = raw_connect(f->path);
	fd = raw_connect(f->path);
	assert_true(send(fd, text, sizeof(text) - 1, MSG_NOSIGNAL) > 0);
	usleep(100000);
	assert_int_equal(recv(fd, buf, sizeof(buf), MSG_DONTWAIT), -1);
	close(idle[0]);
	raw_answer(fd, buf, sizeof(buf));
	assert_non_null(strstr(buf, "request"));
	for (size_t i = 1; i < WEFT_ADMIN_CLIENTS_MAX; i++)
		close(idle[i]);
}

static void test_mode(void **state)
{
	struct fixture *f = *state;
	struct stat st;

	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
}

static void test_second_agent_is_refused(void **state)
{
	struct fixture *f = *state;
	struct weft_diag diag = WEFT_DIAG_INIT;
	struct weft_admin *second = NULL;
	struct weft_loop *loop;

	assert_int_equal(weft_loop_new(&loop), 0);
	assert_int_equal(weft_admin_new(loop, f->path, answer, f, &diag, &second), -EADDRINUSE);
	assert_int_equal(diag.n, 1);
	assert_non_null(strstr(diag.entries[0].reason, "in use"));
	weft_diag_clear(&diag);
	weft_loop_free(loop);
	/* The first is as it was. */
	test_request_and_answer(state);
}

static void test_stale_socket_is_replaced(void **state)
{
	struct weft_diag diag = WEFT_DIAG_INIT;
	char folder[] = "/tmp/weft-stale-XXXXXX", path[64], lock[80];
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	struct weft_admin *admin = NULL;
	struct weft_loop *loop;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)state;
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/a", folder);
	snprintf(lock, sizeof(lock), "%s.lock", path);
	strcpy(addr.sun_path, path);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	close(fd);
	assert_int_equal(weft_loop_new(&loop), 0);
	assert_int_equal(weft_admin_new(loop, path, answer, NULL, &diag, &admin), 0);
	weft_admin_free(admin);
	/* A file that is no socket is somebody's: it stays. */
	fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	close(fd);
	assert_int_equal(weft_admin_new(loop, path, answer, NULL, &diag, &admin), -EEXIST);
	assert_int_equal(access(path, F_OK), 0);
	weft_diag_clear(&diag);
	weft_loop_free(loop);
	unlink(path);
	unlink(lock);
	assert_int_equal(rmdir(folder), 0);
}

static unsigned int log_lines(int fd)
{
	unsigned int n = 0;
	char c;

	for (off_t at = 0; pread(fd, &c, 1, at) == 1; at++)
		n += c == '\n';
	return n;
}

/* The listening socket stays readable while no descriptor is left: it must not wake the loop. */
static void test_no_descriptor_is_left(void **state)
{
	struct weft_diag diag = WEFT_DIAG_INIT;
	char folder[] = "/tmp/weft-full-XXXXXX", path[64], lock[80];
	struct weft_admin *admin = NULL;
	struct rlimit old, few;
	struct weft_loop *loop;
	int log, client, next;
	char byte;

	(void)state;
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/a", folder);
	snprintf(lock, sizeof(lock), "%s.lock", path);
	log = memfd_create("log", MFD_CLOEXEC);
	weft_log_set_fd(log);
	assert_int_equal(weft_loop_new(&loop), 0);
	assert_int_equal(weft_admin_new(loop, path, answer, NULL, &diag, &admin), 0);
	client = raw_connect(path);
	next = dup(client); /* the lowest free number: the limit stands right there */
	close(next);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	few = (struct rlimit){.rlim_cur = (rlim_t)next, .rlim_max = old.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	for (int i = 0; i < 50; i++)
		weft_loop_step(loop, 0);
	assert_int_equal(log_lines(log), 1);
	/* One more try and one more line for each tick. */
	weft_admin_tick(admin);
	for (int i = 0; i < 50; i++)
		weft_loop_step(loop, 0);
	assert_int_equal(log_lines(log), 2);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	for (int i = 0; i < 50; i++)
		weft_loop_step(loop, 0);
	assert_int_equal(send(client, "x\n", 2, MSG_NOSIGNAL), 2);
	weft_admin_tick(admin);
	for (int i = 0; i < 50; i++)
		weft_loop_step(loop, 0);
	assert_int_equal(log_lines(log), 2);
	assert_int_equal(recv(client, &byte, 1, MSG_DONTWAIT), 1);
	close(client);
	weft_admin_free(admin);
	weft_loop_free(loop);
	weft_log_set_fd(2);
	close(log);
	unlink(lock);
	assert_int_equal(rmdir(folder), 0);
}

static void test_path_too_long(void **state)
{
	struct weft_diag diag = WEFT_DIAG_INIT;
	struct weft_admin *admin = NULL;
	struct weft_loop *loop;
	char path[256];

	(void)state;
	memset(path, 'x', sizeof(path));
	path[0] = '/';
	path[255] = '\0';
	assert_int_equal(weft_loop_new(&loop), 0);
	assert_int_equal(weft_admin_new(loop, path, answer, NULL, &diag, &admin), -EINVAL);
	weft_diag_clear(&diag);
	weft_loop_free(loop);
}

static void test_nobody_there(void **state)
{
	json_t *request = json_pack("{s:s}", "command", "x"), *reply = NULL;

	(void)state;
	assert_int_equal(weft_admin_call("/tmp/weft-no-such.sock", request, NULL, 0, &reply),
			 -ENOENT);
	json_decref(request);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_request_and_answer, setup, teardown),
		cmocka_unit_test_setup_teardown(test_descriptor_travels, setup, teardown),
		cmocka_unit_test_setup_teardown(test_long_answer, setup, teardown),
		cmocka_unit_test_setup_teardown(test_request_in_pieces, setup, teardown),
		cmocka_unit_test_setup_teardown(test_not_a_request, setup, teardown),
		cmocka_unit_test_setup_teardown(test_request_too_long, setup, teardown),
		cmocka_unit_test_setup_teardown(test_more_clients_than_places, setup, teardown),
		cmocka_unit_test_setup_teardown(test_mode, setup, teardown),
		cmocka_unit_test_setup_teardown(test_second_agent_is_refused, setup, teardown),
		cmocka_unit_test(test_stale_socket_is_replaced),
		cmocka_unit_test(test_no_descriptor_is_left),
		cmocka_unit_test(test_path_too_long),
		cmocka_unit_test(test_nobody_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
