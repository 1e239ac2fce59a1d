// SPDX-License-Identifier: Apache-2.0
/* Message framing, split at every byte. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "agent/proxy/internal.h"

/* Gives in[0..n) in two pieces; the data goes to out. 0, -EBADMSG; *ret_used: bytes taken. */
static int decode(struct body *b, const char *in, size_t n, size_t split, char *out, size_t *ret_len, size_t *ret_used)
{
	size_t end = split;

	*ret_len = *ret_used = 0;
	for (;;) {
		const uint8_t *data;
		size_t used, len;
		int r = body_step(b, (const uint8_t *)in + *ret_used, end - *ret_used, &used, &data, &len);

		if (r)
			return r;
		memcpy(out + *ret_len, data, len);
		*ret_len += len;
		*ret_used += used;
		if (b->done)
			return 0;
		if (!used && end == n)
			return 0;
		if (!used)
			end = n;
	}
}

static void check(enum body_kind kind, uint64_t length, const char *in, const char *want, size_t rest)
{
	size_t n = strlen(in);
	char out[256];

	for (size_t split = 0; split <= n; split++) {
		struct body b;
		size_t len, used;

		body_init(&b, kind, kind == BODY_CHUNKED ? 100 : length);
		assert_int_equal(decode(&b, in, n, split, out, &len, &used), 0);
		assert_int_equal(len, strlen(want));
		assert_memory_equal(out, want, len);
		assert_int_equal(used, n - rest);
		assert_int_equal(b.done, kind != BODY_CLOSE);
	}
}

static void test_whole(void **state)
{
	(void)state;
	check(BODY_LENGTH, 5, "helloGET", "hello", 3);
	check(BODY_LENGTH, 0, "GET", "", 3);
	check(BODY_NONE, 0, "GET", "", 3);
	check(BODY_CLOSE, 0, "hello", "hello", 0);
	check(BODY_CHUNKED, 0, "5\r\nhello\r\n0\r\n\r\nGET", "hello", 3);
	check(BODY_CHUNKED, 0, "A;x=\"y\"\r\n0123456789\r\n1 \r\nz\r\n000\r\n\r\n", "0123456789z", 0);
	check(BODY_CHUNKED, 0, "1\r\na\n1\r\nb\r\n0\r\n\r\n", "ab", 0);
	check(BODY_CHUNKED, 0, "1\r\na\r\n0\r\nt: 1\r\nu: 2\r\n\r\nX", "a", 1);
	check(BODY_CHUNKED, 0, "1\r\na\r\n0\r\nt: 1\r\n folded\r\nu:\t\xe9\n\r\nX", "a", 1);
}

static void test_malformed(void **state)
{
	static const char *const bad[] = {"\r\n", "g\r\n", ";x\r\n", "-1\r\n", "0x1\r\na", "1\na\r\n0\r\n\r\n", "1\r\rx",
					  "1;a\nb\r\n", "1\r\nab", "1\r\na\rb", "11111111111111111\r\n",
					  "0\r\n\rx", "0\r\nno colon\r\n\r\n", "0\r\nnone\r\n", "0\r\na@b: x\r\n",
					  "0\r\na : x\r\n", "0\r\n: x\r\n", "0\r\n folded: x\r\n", "0\r\na: \x01\r\n",
					  "0\r\na: 1\r\n b\x7f\r\n"};
	size_t n = sizeof(bad) / sizeof(*bad);
	char out[256];

	(void)state;
	for (size_t i = 0; i < n; i++) {
		/* control characters in trailers have a name of their own */
		int want = i < n - 2 ? -EBADMSG : -EILSEQ;

		for (size_t split = 0; split <= strlen(bad[i]); split++) {
			struct body b;
			size_t len, used;

			body_init(&b, BODY_CHUNKED, 100);
			if (decode(&b, bad[i], strlen(bad[i]), split, out, &len, &used) != want)
				fail_msg("accepted: %s split at %zu", bad[i], split);
		}
	}
}

/* The line of a chunk and the trailers have an end. */
static void test_limits(void **state)
{
	const uint8_t *data;
	size_t used, len, i;
	struct body b;
	int r = 0;

	(void)state;
	/* of a size and its extensions there is no end, and nothing is kept */
	body_init(&b, BODY_CHUNKED, 0);
	for (i = 0; !r && i < 100000; i++)
		r = body_step(&b, (const uint8_t *)"0", 1, &used, &data, &len);
	assert_int_equal(body_step(&b, (const uint8_t *)"1;", 2, &used, &data, &len), 0);
	for (i = 0; !r && i < 100000; i++)
		r = body_step(&b, (const uint8_t *)"x", 1, &used, &data, &len);
	assert_int_equal(r, 0);
	/* trailers with their blank line: as many as were said, and not one byte more */
	body_init(&b, BODY_CHUNKED, 10);
	assert_int_equal(
		body_step(&b, (const uint8_t *)"0\r\nx: abc\r\n\r\n", 13, &used, &data, &len), 0);
	assert_true(b.done);
	body_init(&b, BODY_CHUNKED, 9);
	assert_int_equal(
		body_step(&b, (const uint8_t *)"0\r\nx: abc\r\n\r\n", 13, &used, &data, &len),
		-E2BIG);
	body_init(&b, BODY_CHUNKED, 5);
	assert_int_equal(body_step(&b, (const uint8_t *)"0\r\nx: abc", 9, &used, &data, &len),
			 -E2BIG);
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
