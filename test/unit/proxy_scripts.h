// SPDX-License-Identifier: Apache-2.0
#pragma once

/* An upstream that answers by its request's path, for what test_proxy_http.c and
 * test_proxy_refused.c ask. */

#include "test/unit/proxy_fixture.h"

/*
 * Answers what the path asks for; any other path is answered with the request itself (head and
 * decoded body) as the body.
 */
static const struct {
	const char *path, *answer;
} scripts[] = {
	{"/plain ", "HTTP/1.1 200 Fine\r\ncontent-length: 2\r\n\r\nok"},
	{"/chunks ", "HTTP/1.1 200 OK\r\ntransfer-encoding: "
		     "chunked\r\n\r\n2;x=y\r\nok\r\n3\r\nay!\r\n0\r\nx-t: v\r\n\r\n"},
	{"/until-close ", "HTTP/1.1 200 OK\r\n\r\nall of it"},
	{"/continue ",
	 "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"},
	{"/hints ",
	 "HTTP/1.1 103 Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"},
	{"/hop ", "HTTP/1.1 200 OK\r\nconnection: x-a\r\nkeep-alive: 5\r\nproxy-connection: "
		  "x\r\nx-a: b\r\nupgrade: c\r\n"
		  "server: nginx\r\ndate: then\r\nx-envoy-upstream-service-time: "
		  "77\r\ncontent-length: 2\r\n\r\nok"},
	{"/204 ", "HTTP/1.1 204 No\r\ncontent-length: 0\r\n\r\n"},
	{"/304 ", "HTTP/1.1 304 No\r\ncontent-length: 7\r\netag: x\r\n\r\n"},
	{"/204-body ", "HTTP/1.1 204 No\r\ncontent-length: 2\r\n\r\nok"},
	{"/both ", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: "
		   "2\r\n\r\n2\r\nok\r\n0\r\n\r\n"},
	{"/junk ", "hello, this is no HTTP\r\n\r\n"},
	{"/half ", "HTTP/1.1 200 OK\r\nconte"},
	{"/drop ", ""},
	{"/bad-chunk ", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\nzz\r\n"},
	{"/short ", "HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\nok"},
	{"/early ", "HTTP/1.1 413 No\r\ncontent-length: 2\r\n\r\nno"},
	{"/typed ", "HTTP/1.1 200 OK\r\ncontent-type: a/b\r\ncontent-length: 2\r\n\r\nok"},
	{"/close ", "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok"},
};
static const char *const ending[] = {"/until-close ", "/junk ",	 "/half ",
				     "/drop ",	      "/short ", "/close "};

static inline size_t script_body_read(int fd, const char *head, char *to, size_t cap)
{
	const char *v = fix_header(head, "content-length");
	size_t n = 0, left = v ? strtoul(v, NULL, 10) : 0;

	while (left && recv(fd, to + n % cap, 1, 0) == 1) {
		n++;
		left--;
	}
	if (!fix_header(head, "transfer-encoding"))
		return n;
	while ((left = fix_line_size(fd))) {
		while (left && recv(fd, to + n % cap, 1, 0) == 1) {
			n++;
			left--;
		}
		fix_line_size(fd);
	}
	fix_line_size(fd);
	return n;
}

static inline void script_echo(int fd, const char *head)
{
	char body[4096], line[64];
	size_t n = script_body_read(fd, head, body, sizeof(body)), len = strlen(head);

	snprintf(line, sizeof(line), "HTTP/1.1 200 OK\r\ncontent-length: %zu\r\n\r\n", len + n);
	send(fd, line, strlen(line), MSG_NOSIGNAL);
	send(fd, head, len, MSG_NOSIGNAL);
	send(fd, body, n, MSG_NOSIGNAL);
}

static inline void script_upstream(int fd)
{
	char head[8192];

	while (fix_head_read(fd, head, sizeof(head))) {
		const char *path = strchr(head, ' ') + 1;
		size_t i, n = sizeof(scripts) / sizeof(*scripts);

		for (i = 0; i < n && strncmp(path, scripts[i].path, strlen(scripts[i].path)); i++)
			;
		if (i == n)
			script_echo(fd, head);
		else
			send(fd, scripts[i].answer, strlen(scripts[i].answer), MSG_NOSIGNAL);
		for (size_t k = 0; k < sizeof(ending) / sizeof(*ending); k++) {
			if (!strncmp(path, ending[k], strlen(ending[k])))
				return;
		}
	}
}

/* Before and behind all tests: it, and a proxy in front of it. */
static inline int script_open(void **state)
{
	(void)state;
	fix_server(script_upstream);
	fix_open_http(
		"upgrade_configs: [{upgrade_type: websocket}], request_headers_timeout: 0.3s,",
		"{match: {prefix: /direct}, direct_response: {status: 200, body: {inline_string: "
		"hi}}}, " FIX_ROUTE,
		"", 1, 1);
	return 0;
}

static inline int script_close(void **state)
{
	(void)state;
	fix_close();
	return 0;
}
