// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "agent/http_admin.h"

#define BIG (4u << 20)
#define STREAM (3u << 20)

struct fixture {
	char folder[64], path[128];
	struct weft_loop *loop;
	struct weft_http *http;
	pthread_t thread;
	int stop;
};

/* Lines of 64 bytes; one that ends early, and one that says that it failed. */
static int stream_write(void *job, FILE *out)
{
	const char *path = job;

	for (size_t i = 0; i < STREAM / 64 && !ferror(out); i++) {
		fprintf(out, "%063zu\n", i);
		if (i == 10 && strcmp(path, "/stream"))
			return !strcmp(path, "/short") ? 0 : -ENOMEM;
	}
	return 0;
}

static unsigned int freed; /* streams */

static void stream_free(void *job)
{
	free(job);
	__atomic_add_fetch(&freed, 1, __ATOMIC_RELEASE);
}

static void answer(void *ctx, const struct weft_http_request *q, struct weft_http_answer *ret)
{
	(void)ctx;
	if (!strcmp(q->path, "/stream") || !strcmp(q->path, "/short") ||
	    !strcmp(q->path, "/fail")) {
		ret->status = 200;
		ret->type = "application/json";
		ret->stream =
			(struct weft_client_stream){stream_write, stream_free, strdup(q->path)};
		return;
	}
	if (!strcmp(q->path, "/big")) {
		ret->status = 200;
		ret->body = malloc(BIG);
		ret->len = BIG;
		memset(ret->body, 'x', BIG);
	} else if (!strcmp(q->path, "/ready")) {
		ret->status = 503;
		ret->body = strdup("INITIALIZING\n");
		ret->len = strlen(ret->body);
	}
}

static void *serve(void *arg)
{
	struct fixture *f = arg;

	while (!__atomic_load_n(&f->stop, __ATOMIC_ACQUIRE)) {
		weft_loop_step(f->loop, 20);
		weft_http_tick(f->http);
	}
	return NULL;
}

static int setup(void **state)
{
	static struct fixture f;
	struct weft_diag diag = WEFT_DIAG_INIT;

	memset(&f, 0, sizeof(f));
	strcpy(f.folder, "/tmp/weft-http-XXXXXX");
	if (!mkdtemp(f.folder))
		return -1;
	snprintf(f.path, sizeof(f.path), "%s/http.sock", f.folder);
	if (weft_loop_new(&f.loop) < 0 ||
	    weft_http_new(f.loop, f.path, answer, &f, &diag, &f.http) < 0)
		return -1;
	*state = &f;
	return pthread_create(&f.thread, NULL, serve, &f);
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	struct stat st;

	__atomic_store_n(&f->stop, 1, __ATOMIC_RELEASE);
	pthread_join(f->thread, NULL);
	weft_http_free(f->http);
	weft_loop_free(f->loop);
	if (lstat(f->path, &st) == 0)
		return -1; /* it is removed */
	return rmdir(f->folder);
}

static int dial(const struct fixture *f)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	struct timeval limit = {.tv_sec = 20};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strcpy(addr.sun_path, f->path);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

/* All there is until the end. Caller frees. */
static char *rest_of(int fd, size_t *ret_len)
{
	char *text = malloc(BIG + 4096);
	ssize_t r;

	*ret_len = 0;
	while ((r = recv(fd, text + *ret_len, BIG + 4095 - *ret_len, 0)) > 0)
		*ret_len += (size_t)r;
	text[*ret_len] = '\0';
	return text;
}

static char *ask(const struct fixture *f, const char *request)
{
	int fd = dial(f);
	size_t len;
	char *text;

	assert_int_equal(send(fd, request, strlen(request), MSG_NOSIGNAL), strlen(request));
	text = rest_of(fd, &len);
	close(fd);
	return text;
}

static void answered(const struct fixture *f, const char *request, const char *head,
		     const char *body)
{
	char *text = ask(f, request), *end = strstr(text, "\r\n\r\n");

	if (strncmp(text, head, strlen(head)) || !end || strcmp(end + 4, body))
		fail_msg("%s\n%s", request, text);
	assert_non_null(strstr(text, "connection: close\r\n"));
	free(text);
}

static void test_answers(void **state)
{
	const struct fixture *f = *state;
	char long_one[WEFT_HTTP_REQUEST_MAX + 1];

	answered(f, "GET /ready HTTP/1.1\r\nHost: a\r\n\r\n",
		 "HTTP/1.1 503 Service Unavailable\r\n", "INITIALIZING\n");
	answered(f, "HEAD /ready HTTP/1.1\r\n\r\n", "HTTP/1.1 503 Service Unavailable\r\n", "");
	answered(f, "GET /other HTTP/1.1\r\n\r\n", "HTTP/1.1 404 Not Found\r\n", "Not Found");
	answered(f, "POST /ready HTTP/1.1\r\n\r\n", "HTTP/1.1 405 ", "Method Not Allowed");
	answered(f, "hello\r\n\r\n", "HTTP/1.1 400 ", "Bad Request");
	memset(long_one, 'a', sizeof(long_one));
	memcpy(long_one, "GET / HTTP/1.1\r\n", 16);
	long_one[sizeof(long_one) - 1] = '\0';
	answered(f, long_one, "HTTP/1.1 431 ", "Request Header Fields Too Large");
}

/* Byte by byte, with an answer that does not fit a socket's buffer. */
static void test_slow_and_long(void **state)
{
	static const char request[] = "GET /big HTTP/1.1\r\n\r\n";
	const struct fixture *f = *state;
	int fd = dial(f);
	size_t len;
	char *text;

	for (size_t i = 0; i < sizeof(request) - 1; i++)
		assert_int_equal(send(fd, request + i, 1, MSG_NOSIGNAL), 1);
	text = rest_of(fd, &len);
	assert_non_null(strstr(text, "content-length: 4194304\r\n"));
	assert_int_equal(len - (size_t)(strstr(text, "\r\n\r\n") + 4 - text), BIG);
	free(text);
	close(fd);
}

/* More clients than places: those that are too many wait, and have their turn. */
static void test_more_clients_than_places(void **state)
{
	const struct fixture *f = *state;
	int idle[WEFT_HTTP_CLIENTS_MAX], late;
	size_t len;
	char *text;

	for (int i = 0; i < WEFT_HTTP_CLIENTS_MAX; i++) {
		idle[i] = dial(f);
		assert_int_equal(send(idle[i], "GET", 3, MSG_NOSIGNAL), 3);
	}
	usleep(100000);
	late = dial(f);
	assert_int_equal(send(late, "GET /ready HTTP/1.1\r\n\r\n", 23, MSG_NOSIGNAL), 23);
	usleep(100000);
	{
		char byte;

		assert_int_equal(recv(late, &byte, 1, MSG_DONTWAIT), -1);
	}
	close(idle[0]);
	text = rest_of(late, &len);
	assert_int_equal(strncmp(text, "HTTP/1.1 503", 12), 0);
	free(text);
	close(late);
	for (int i = 1; i < WEFT_HTTP_CLIENTS_MAX; i++)
		close(idle[i]);
}

/* The content of chunks; NULL: the last one is missing. Caller frees. */
static char *unchunk(const char *body, size_t *ret_len)
{
	char *out = malloc(strlen(body) + 1);
	size_t at = 0;

	for (;;) {
		char *end;
		unsigned long n = strtoul(body, &end, 16);

		if (end == body || strlen(end) < n + 4 || strncmp(end, "\r\n", 2) ||
		    strncmp(end + 2 + n, "\r\n", 2)) {
			free(out);
			return NULL;
		}
		memcpy(out + at, end + 2, n);
		at += n;
		body = end + 2 + n + 2;
		if (!n)
			break;
	}
	assert_string_equal(body, "");
	out[at] = '\0';
	*ret_len = at;
	return out;
}

static char *body_of(char *text)
{
	char *end = strstr(text, "\r\n\r\n");

	assert_non_null(end);
	return end + 4;
}

static void test_stream(void **state)
{
	const struct fixture *f = *state;
	unsigned int before = __atomic_load_n(&freed, __ATOMIC_ACQUIRE);
	char *text = ask(f, "GET /stream HTTP/1.1\r\n\r\n"), *plain;
	size_t len = 0;

	assert_int_equal(strncmp(text, "HTTP/1.1 200 OK\r\n", 17), 0);
	assert_non_null(strstr(text, "transfer-encoding: chunked\r\n"));
	plain = unchunk(body_of(text), &len);
	assert_non_null(plain);
	assert_int_equal(len, STREAM);
	for (size_t i = 0; i < STREAM / 64; i++)
		assert_int_equal(strtoul(plain + 64 * i, NULL, 10), i);
	free(plain);
	free(text);
	/* HTTP/1.0 has no chunks: the end of the connection ends it. */
	text = ask(f, "GET /short HTTP/1.0\r\n\r\n");
	assert_null(strstr(text, "chunked"));
	assert_int_equal(strlen(body_of(text)), 11 * 64);
	free(text);
	answered(f, "HEAD /stream HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK\r\n", "");
	/* A failed one is not taken for whole. */
	text = ask(f, "GET /fail HTTP/1.1\r\n\r\n");
	assert_null(unchunk(body_of(text), &len));
	free(text);
	text = ask(f, "GET /short HTTP/1.1\r\n\r\n");
	plain = unchunk(body_of(text), &len);
	assert_non_null(plain);
	assert_int_equal(len, 11 * 64);
	free(plain);
	free(text);
	while (__atomic_load_n(&freed, __ATOMIC_ACQUIRE) - before < 5)
		usleep(1000);
}

/* Clients that take nothing of their streams: others are answered meanwhile. Some leave, some are
 * still there when the listener goes (in the teardown). */
static void test_streams_that_nobody_takes(void **state)
{
	const struct fixture *f = *state;
	unsigned int before = __atomic_load_n(&freed, __ATOMIC_ACQUIRE);
	int stuck[WEFT_HTTP_CLIENTS_MAX - 1];

	for (int i = 0; i < WEFT_HTTP_CLIENTS_MAX - 1; i++) {
		stuck[i] = dial(f);
		assert_int_equal(send(stuck[i], "GET /stream HTTP/1.1\r\n\r\n", 24, MSG_NOSIGNAL),
				 24);
	}
	for (int i = 0; i < 5; i++)
		answered(f, "GET /ready HTTP/1.1\r\n\r\n", "HTTP/1.1 503 Service Unavailable\r\n",
			 "INITIALIZING\n");
	assert_int_equal(__atomic_load_n(&freed, __ATOMIC_ACQUIRE), before);
	for (int i = 0; i < 3; i++)
		close(stuck[i]);
	while (__atomic_load_n(&freed, __ATOMIC_ACQUIRE) - before < 3)
		usleep(1000);
	answered(f, "GET /ready HTTP/1.1\r\n\r\n", "HTTP/1.1 503 Service Unavailable\r\n",
		 "INITIALIZING\n");
}

static int open_at(const char *address, struct weft_http **ret)
{
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;
	struct weft_loop *loop;
	int r;

	assert_int_equal(weft_loop_new(&loop), 0);
	r = weft_http_new(loop, address, answer, NULL, &diag, ret);
	assert_int_equal(diag.n, r < 0);
	if (r == 0)
		weft_http_free(*ret);
	weft_loop_free(loop);
	return r;
}

/* Nobody from elsewhere: only the loopback, or a path. */
static void test_where(void **state)
{
	static const char *const bad[] = {"0.0.0.0:15021",   "10.0.0.1:15021",
					  "[::]:15021",	     "[2001:db8::1]:15021",
					  "127.0.0.1",	     "127.0.0.1:",
					  "127.0.0.1:0",     "127.0.0.1:65536",
					  "127.0.0.1:1x",    "127.0.0.1:-1",
					  "localhost:15021", "::1:15021",
					  ":15021",	     ""};
	const struct fixture *f = *state;
	struct weft_http *h;
	char address[64], other[192];
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(in);
	struct stat st;
	FILE *file;
	int fd;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (open_at(bad[i], &h) != -EINVAL)
			fail_msg("%s", bad[i]);
	}
	/* a port that is free, then one that is taken */
	fd = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &len), 0);
	snprintf(address, sizeof(address), "127.0.0.1:%u", ntohs(in.sin_port));
	assert_int_equal(open_at(address, &h), -EADDRINUSE);
	close(fd);
	assert_int_equal(open_at(address, &h), 0);
	/* somebody answers there; what is no socket stays; a socket left behind is replaced */
	assert_int_equal(open_at(f->path, &h), -EADDRINUSE);
	assert_int_equal(lstat(f->path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	snprintf(other, sizeof(other), "%s/other", f->folder);
	file = fopen(other, "w");
	assert_non_null(file);
	fclose(file);
	assert_int_equal(open_at(other, &h), -EEXIST);
	unlink(other);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	{
		struct sockaddr_un un = {.sun_family = AF_UNIX};

		snprintf(un.sun_path, sizeof(un.sun_path), "%.100s", other);
		assert_int_equal(bind(fd, (struct sockaddr *)&un, sizeof(un)), 0);
	}
	close(fd);
	assert_int_equal(open_at(other, &h), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
		TEST(test_answers),
		TEST(test_slow_and_long),
		TEST(test_more_clients_than_places),
		TEST(test_stream),
		TEST(test_streams_that_nobody_takes),
		TEST(test_where),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
