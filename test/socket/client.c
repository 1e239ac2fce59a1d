// SPDX-License-Identifier: Apache-2.0
#include "world.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

struct sockaddr_in vip4(int n)
{
	return (struct sockaddr_in){.sin_family = AF_INET,
				    .sin_port = htons(80),
				    .sin_addr = {htonl(0x0a630000u + (uint32_t)n)}};
}

struct sockaddr_in6 vip6(int n)
{
	struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_port = htons(80)};

	memcpy(&a.sin6_addr, &world.image.vip6[n].addr, 16);
	return a;
}

struct sockaddr_in6 vip_mapped(int n)
{
	struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_port = htons(80)};

	memcpy(&a.sin6_addr, &world.image.vip4[n].addr, 16);
	return a;
}

int vip_connect(int n)
{
	struct sockaddr_in a = vip4(n);
	struct timeval patience = {.tv_sec = 3};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	return fd;
}

void send_text(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

void send_get(int fd, const char *path, const char *extra)
{
	char text[8192];

	snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: a.test\r\n%s\r\n", path, extra);
	send_text(fd, text);
}

void recv_answer(int fd, bool head_only, struct answer *ret)
{
	size_t want = 0;
	char *end, *length;

	memset(ret, 0, sizeof(*ret));
	/* a byte at a time up to the end of the head: what follows belongs to the next answer */
	while (!strstr(ret->text, "\r\n\r\n")) {
		assert_true(ret->len < sizeof(ret->text) - 1);
		if (recv(fd, ret->text + ret->len, 1, 0) != 1)
			fail_msg("no answer behind %zu bytes: %s", ret->len, ret->text);
		ret->len++;
	}
	end = ret->text + ret->len;
	ret->status = atoi(ret->text + 9);
	ret->by_agent = strstr(ret->text, "x-by: agent") != NULL;
	length = strstr(ret->text, "content-length: ");
	assert_non_null(length);
	if (!head_only)
		want = strtoul(length + 16, NULL, 10);
	assert_true(ret->len + want < sizeof(ret->text));
	if (want)
		assert_int_equal(recv(fd, end, want, MSG_WAITALL), want);
	ret->len += want;
	ret->body = end;
}

void expect(int fd, const char *path, int status, bool by_agent)
{
	struct answer a;

	send_get(fd, path, "");
	recv_answer(fd, false, &a);
	assert_int_equal(a.status, status);
	assert_int_equal(a.by_agent, by_agent);
}

void finish(int fd)
{
	char rest[256];

	shutdown(fd, SHUT_WR);
	while (recv(fd, rest, sizeof(rest), 0) > 0)
		continue;
	close(fd);
}
