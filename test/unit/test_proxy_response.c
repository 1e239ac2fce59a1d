// SPDX-License-Identifier: Apache-2.0
/* Heads of upstream responses: each prefix is incomplete, the whole is known. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/proxy/internal.h"

static struct response resp;

/* Parses a copy of exactly these bytes, so that reads beyond them are seen. */
static int parse(const char *in, size_t n)
{
	uint8_t *copy = malloc(n ? n : 1);
	int r;

	assert_non_null(copy);
	memcpy(copy, in, n);
	r = response_parse(copy, n, &resp);
	free(copy);
	return r;
}

static void whole(const char *in, uint32_t status)
{
	size_t head = strlen(in);

	for (size_t n = 0; n < head; n++)
		assert_int_equal(parse(in, n), -EAGAIN);
	assert_int_equal(parse(in, head), 0);
	assert_int_equal(resp.status, status);
	assert_int_equal(resp.len, head);
}

static void test_whole(void **state)
{
	(void)state;
	whole("HTTP/1.1 200 OK\r\nContent-Length: 12\r\nServer: s\r\nDate: d\r\n\r\n", 200);
	assert_true(resp.keep_alive && resp.has_length && resp.has_server && resp.has_date && !resp.chunked);
	assert_int_equal(resp.length, 12);
	assert_int_equal(resp.n, 3);
	whole("HTTP/1.1 204\r\nconnection: x , Close\r\n\r\n", 204);
	assert_false(resp.keep_alive);
	whole("HTTP/1.1 204\r\nproxy-connection: Close\r\n\r\n", 204);
	assert_false(resp.keep_alive);
	whole("HTTP/1.0 200 OK\r\n\r\n", 200);
	assert_true(resp.http10 && !resp.keep_alive);
	whole("HTTP/1.0 200 OK\r\nconnection: keep-alive\r\n\r\n", 200);
	assert_true(resp.keep_alive);
	whole("HTTP/1.1 503 No\ntransfer-encoding: Chunked\n\n", 503);
	assert_true(resp.chunked && !resp.has_length);
	whole("HTTP/1.1 100 Continue\r\ncontent-length: 0\r\n\r\n", 100);
	whole("HTTP/1.1 200 O\tK \xff\r\n\r\n", 200);
	whole("HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n", 101);
}

static void test_malformed(void **state)
{
	static const char *const bad[] = {
		"HTTP/11 200 OK\r\n\r\n", "HTTP/1.1 20 OK\r\n\r\n", "HTTP/1.1 2000 OK\r\n\r\n",
		"HTTP/1.1 099 OK\r\n\r\n", "200 OK\r\n\r\n", "\r\n\r\n",
		"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "HTTP/1.1 200 OK\r\n: v\r\n\r\n",
		"HTTP/1.1 200 OK\r\na : v\r\n\r\n", "HTTP/1.1 200 OK\r\na: \x01\r\n\r\n",
		"HTTP/1.1 200 OK\r\ncontent-length:\r\n\r\n",
		"HTTP/1.1 200 OK\r\ncontent-length: 1x\r\n\r\n", "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
		"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
		"HTTP/1.1 200 OK\r\ncontent-length: 18446744073709551616\r\n\r\n",
		"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
		"HTTP/1.1 200 O\x01K\r\n\r\n", "HTTP/1.1 200 \x7f\r\n\r\n",
		"HTTP/1.1 100 Continue\r\ncontent-length: 5\r\n\r\n",
		"HTTP/1.1 103 Hints\r\ntransfer-encoding: chunked\r\n\r\n",
		"HTTP/1.1 101 Up\r\ncontent-length: 5\r\n\r\n",
		"HTTP/1.1 204 No\r\ntransfer-encoding: chunked\r\n\r\n",
		"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
		"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n"};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		if (parse(bad[i], strlen(bad[i])) != -EBADMSG)
			fail_msg("accepted: %s", bad[i]);
	}
}

static void test_limits(void **state)
{
	size_t n = PROXY_RESPONSE_HEAD_MAX + 1, len;
	char *in = malloc(n), fields[4096];

	(void)state;
	assert_non_null(in);
	memset(in, 'a', n);
	assert_int_equal(parse(in, n - 1), -EAGAIN);
	assert_int_equal(parse(in, n), -E2BIG);
	free(in);
	in = calloc(1, n);
	assert_non_null(in);
	/* the longest head, and one byte more */
	for (size_t more = 0; more < 2; more++) {
		memset(in, 'a', n);
		memcpy(in, "HTTP/1.1 200 OK\r\nx: ", 20);
		memcpy(in + PROXY_RESPONSE_HEAD_MAX + more - 4, "\r\n\r\n", 4);
		assert_int_equal(parse(in, PROXY_RESPONSE_HEAD_MAX + more), more ? -E2BIG : 0);
	}
	free(in);
	for (uint32_t more = 0; more < 2; more++) {
		len = (size_t)sprintf(fields, "HTTP/1.1 200 OK\r\n");
		for (uint32_t i = 0; i < PROXY_RESPONSE_FIELDS_MAX + more; i++)
			len += (size_t)sprintf(fields + len, "a: b\r\n");
		len += (size_t)sprintf(fields + len, "\r\n");
		assert_int_equal(parse(fields, len), more ? -E2BIG : 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole),
		cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
