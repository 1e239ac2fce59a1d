// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Plain sockets on loopback, and what comes over them: for the clients of a proxy under test, and
 * for its upstreams. */

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>

#include <cmocka.h>

#define FIX_ANSWER_MAX (1u << 16)

/* ---- sockets ---- */

static inline int fix_bind(int family, uint16_t *ret_port)
{
	struct sockaddr_in6 a6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	struct sockaddr_in a4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sockaddr *a = family == AF_INET ? (void *)&a4 : (void *)&a6;
	socklen_t len = family == AF_INET ? sizeof(a4) : sizeof(a6);
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, a, len), 0);
	assert_int_equal(getsockname(fd, a, &len), 0);
	*ret_port = ntohs(family == AF_INET ? a4.sin_port : a6.sin6_port);
	return fd;
}

/* A client's connection; a read that takes more than ten seconds fails the test. */
static inline int fix_dial_to(const void *addr, socklen_t len)
{
	struct timeval limit = {.tv_sec = 10};
	int fd = socket(((const struct sockaddr *)addr)->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	assert_int_equal(connect(fd, addr, len), 0);
	return fd;
}

static inline void fix_send(int fd, const void *bytes, size_t n)
{
	for (size_t at = 0; at < n;) {
		ssize_t k = send(fd, (const char *)bytes + at, n - at, MSG_NOSIGNAL);

		assert_true(k > 0);
		at += (size_t)k;
	}
}

static inline void fix_say(int fd, const char *text)
{
	fix_send(fd, text, strlen(text));
}

/* true: nothing more comes (FIN, or RST). */
static inline bool fix_ended(int fd)
{
	char c;
	ssize_t n = recv(fd, &c, 1, 0);

	return !n || (n < 0 && errno == ECONNRESET);
}

/* RST, and the number stays open. */
static inline void fix_reset(int fd)
{
	struct sockaddr none = {.sa_family = AF_UNSPEC};

	connect(fd, &none, sizeof(none));
}

/* Nothing comes for a while. */
static inline bool fix_silent(int fd, int ms)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return !poll(&p, 1, ms);
}

/*
 * Sends the block again and again until nobody has taken any of it for half a second, or `most`
 * bytes are out. How many were: what the kernel's buffers hold, and what the reader took.
 */
static inline size_t fix_pour(int fd, const char *block, size_t n, size_t most)
{
	struct pollfd p = {.fd = fd, .events = POLLOUT};
	size_t sent = 0;

	while (sent < most && poll(&p, 1, 500) == 1) {
		ssize_t k = send(fd, block + sent % n, n - sent % n, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (k <= 0)
			break;
		sent += (size_t)k;
	}
	return sent;
}
/* More than two sockets' buffers take. */
#define FIX_POUR_MOST (48u << 20)

static inline void fix_sleep(long ms)
{
	struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

	nanosleep(&t, NULL);
}

static inline uint64_t fix_now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* ---- answers ---- */

struct fix_answer {
	unsigned int status;
	char head[8192]; /* lower and upper case as it came, zero terminated */
	char body[FIX_ANSWER_MAX];
	size_t len; /* of the body; further bytes are counted, not kept */
};

/* Byte by byte: nothing of the next answer is taken. */
static inline size_t fix_head_read(int fd, char *to, size_t cap)
{
	size_t n = 0;

	while (n + 1 < cap && recv(fd, to + n, 1, 0) == 1) {
		to[++n] = '\0';
		if (n >= 4 && !memcmp(to + n - 4, "\r\n\r\n", 4))
			return n;
	}
	return 0;
}

/* Value of a header, in a static buffer; NULL: not there. */
static inline const char *fix_header(const char *head, const char *name)
{
	static _Thread_local char value[8192];
	size_t n = strlen(name);

	for (const char *p = strchr(head, '\n'); p && *++p; p = strchr(p, '\n')) {
		if (strncasecmp(p, name, n) || p[n] != ':')
			continue;
		p += n + 1 + (p[n + 1] == ' ');
		snprintf(value, sizeof(value), "%.*s", (int)strcspn(p, "\r\n"), p);
		return value;
	}
	return NULL;
}

static inline void fix_body_add(struct fix_answer *a, int fd, size_t n)
{
	char block[4096];

	while (n) {
		ssize_t k = recv(fd, block, n < sizeof(block) ? n : sizeof(block), 0);

		assert_true(k > 0);
		if (a->len + (size_t)k < sizeof(a->body))
			memcpy(a->body + a->len, block, (size_t)k);
		a->len += (size_t)k;
		n -= (size_t)k;
	}
}

static inline size_t fix_line_size(int fd)
{
	char line[64];
	size_t n = 0;

	while (n + 1 < sizeof(line) && recv(fd, line + n, 1, 0) == 1 && line[n++] != '\n')
		;
	line[n] = '\0';
	return strtoul(line, NULL, 16);
}

/* A whole answer, length or chunks. false: the connection ended before its head did. */
static inline bool fix_hear_of(int fd, struct fix_answer *a, bool head_method)
{
	const char *v;

	*a = (struct fix_answer){0};
	if (!fix_head_read(fd, a->head, sizeof(a->head)))
		return false;
	assert_memory_equal(a->head, "HTTP/1.1 ", 9);
	a->status = (unsigned int)strtoul(a->head + 9, NULL, 10);
	if (head_method || a->status / 100 == 1 || a->status == 204 || a->status == 304)
		return true;
	v = fix_header(a->head, "content-length");
	if (v)
		fix_body_add(a, fd, strtoul(v, NULL, 10));
	v = fix_header(a->head, "transfer-encoding");
	for (size_t n; v && (n = fix_line_size(fd));) {
		fix_body_add(a, fd, n);
		fix_line_size(fd);
	}
	if (v)
		fix_line_size(fd);
	a->body[a->len < sizeof(a->body) ? a->len : sizeof(a->body) - 1] = '\0';
	return true;
}

static inline bool fix_hear(int fd, struct fix_answer *a)
{
	return fix_hear_of(fd, a, false);
}
