// SPDX-License-Identifier: Apache-2.0

/* ClientHellos, whole and in pieces; what is none. The verdicts are Envoy's (BoringSSL's). */

#include <errno.h>
#include <stdlib.h>

#include "test/unit/hello_fixture.h"
#include "test/unit/image_fixture.h"

static struct bytes in, ext, message;
static struct weft_hello h;

/* An input whose bounds a sanitizer sees. */
static int read_exactly(const __u8 *p, __u32 n)
{
	__u8 *copy = malloc(n ? n : 1), *room = malloc(WEFT_HELLO_ROOM);
	int r;

	assert_true(copy && room);
	memcpy(copy, p, n);
	memset(&h, 0, sizeof(h));
	r = weft_hello_read(copy, n, room, &h);
	if (h.alpn_len) {
		/* it must outlive neither */
		assert_true(h.alpn >= room && h.alpn + h.alpn_len <= room + WEFT_HELLO_ROOM);
		memcpy(message.b, h.alpn, h.alpn_len);
		h.alpn = message.b;
	}
	free(copy);
	free(room);
	return r;
}

static void reads(int want)
{
	int r = read_exactly(in.b, in.n);

	if (r != want)
		fail_msg("%d, not %d", r, want);
}

/* One record with a message that has the extensions in ext. */
static void from_extensions(__u32 version)
{
	in.n = message.n = 0;
	put_hello(&message, version, &ext);
	put_record(&in, 22, message.b, message.n);
}

static void name_is(const char *want)
{
	assert_int_equal(h.name_len, strlen(want));
	assert_memory_equal(h.name, want, h.name_len);
}

static void test_names(void **state)
{
	static char longest[WEFT_SERVER_NAME_MAX + 2];

	(void)state;
	hello_make(&in, "WWW.Example.Com.", "\x02h2\x08http/1.1");
	reads(0);
	name_is("www.example.com.");
	assert_int_equal(h.alpn_len, 12);
	assert_memory_equal(h.alpn, "\x02h2\x08http/1.1", 12);
	hello_make(&in, NULL, NULL);
	reads(0);
	name_is("");
	assert_int_equal(h.alpn_len, 0);
	in.n = message.n = 0;
	put_hello(&message, 0x0303, NULL); /* no extensions at all */
	put_record(&in, 22, message.b, message.n);
	reads(0);
	name_is("");
	memset(longest, 'a', WEFT_SERVER_NAME_MAX);
	hello_make(&in, longest, NULL);
	reads(0);
	name_is(longest);
	longest[WEFT_SERVER_NAME_MAX] = 'a';
	hello_make(&in, longest, NULL);
	reads(-EPROTO);
}

static void test_every_cut(void **state)
{
	(void)state;
	hello_make(&in, "a.test", "\x02h2");
	for (__u32 n = 0; n < in.n; n++)
		assert_int_equal(read_exactly(in.b, n), -EAGAIN);
	/* what comes behind is not looked at */
	put(&in, "\xff\xff\xff", 3);
	reads(0);
}

/* The message in records of n bytes each. */
static void test_several_records(void **state)
{
	static struct bytes whole;

	(void)state;
	for (__u32 n = 1; n < 60; n += 7) {
		ext.n = whole.n = in.n = 0;
		put_server_name(&ext, "a.test", 6);
		put_hello(&whole, 0x0303, &ext);
		for (__u32 at = 0; at < whole.n; at += n)
			put_record(&in, 22, whole.b + at, whole.n - at < n ? whole.n - at : n);
		reads(0);
		name_is("a.test");
	}
}

static void prefixed(__u32 type, const char *body, __u32 len, unsigned int times)
{
	static struct bytes good;

	hello_make(&good, "a.test", NULL);
	in.n = 0;
	while (times--)
		put_record(&in, type, body, len);
	put(&in, good.b, good.n);
}

static void test_other_records(void **state)
{
	(void)state;
	prefixed(22, "", 0, 32);
	reads(0);
	prefixed(22, "", 0, 33);
	reads(-EPROTO);
	prefixed(21, "\x01\x28", 2, 4); /* warnings */
	reads(0);
	prefixed(21, "\x01\x28", 2, 5);
	reads(-EPROTO);
	prefixed(21, "\x02\x28", 2, 1); /* fatal */
	reads(-EPROTO);
	prefixed(21, "\x01", 1, 1);
	reads(-EPROTO);
	prefixed(21, "\x01\x00", 2, 1); /* close_notify */
	reads(-ECONNABORTED);
	prefixed(23, "x", 1, 1);
	reads(-EPROTO);
	prefixed(20, "\x01", 1, 1);
	reads(-EPROTO);
	in.n = 0;
	put(&in, "\x16\x03\x01\x41\x40", 5); /* as long as a record may be */
	reads(-EAGAIN);
	in.b[4]++;
	reads(-EPROTO);
	in.n = 0;
	put(&in, "\x16\x04\x01\x00\x40", 5);
	reads(-EPROTO);
}

static void test_message_bounds(void **state)
{
	(void)state;
	in.n = 0;
	put_record(&in, 22, "\x01\x00\x40\x00", 4);
	reads(-EAGAIN);
	in.n = 0;
	put_record(&in, 22, "\x01\x00\x40\x01", 4);
	reads(-EPROTO);
	/* more in the record than the message */
	in.n = message.n = ext.n = 0;
	put_hello(&message, 0x0303, &ext);
	put_number(&message, 1, 1);
	put_record(&in, 22, message.b, message.n);
	reads(-EPROTO);
	/* not a ClientHello */
	hello_make(&in, "a.test", NULL);
	in.b[5] = 2;
	reads(-EPROTO);
	/* each length one too long or too short, and each byte gone */
	for (__u32 i = 5; i < 120; i++) {
		hello_make(&in, "a.test", "\x02h2");
		if (i >= in.n)
			break;
		memmove(in.b + i, in.b + i + 1, in.n - i - 1);
		in.b[in.n - 1] = 0;
		(void)read_exactly(in.b, in.n);
		in.b[4]--;
		(void)read_exactly(in.b, in.n - 1);
	}
}

static void test_versions(void **state)
{
	static const __u32 none[] = {0, 0x0200, 0x0300, 0x0305, 0x0400, 0xffff};

	(void)state;
	ext.n = 0;
	for (__u32 v = 0x0301; v <= 0x0304; v++) {
		from_extensions(v);
		reads(0);
	}
	for (size_t i = 0; i < sizeof(none) / sizeof(*none); i++) {
		from_extensions(none[i]);
		reads(-ECONNABORTED);
	}
	/* the name comes first */
	put_extension(&ext, 0, "", 0);
	from_extensions(0x0300);
	reads(-EPROTO);
}

static void with_extension(__u32 type, const void *p, __u32 n, int want)
{
	ext.n = 0;
	put_extension(&ext, type, p, n);
	from_extensions(0x0303);
	reads(want);
}

static void test_extensions(void **state)
{
	static const struct {
		const char *body;
		__u32 len;
	} bad_names[] = {
		{"", 0},
		{"\x00\x00", 2},
		{"\x00\x04\x01\x00\x01"
		 "a",
		 6},				 /* no host name */
		{"\x00\x03\x00\x00\x00", 5},	 /* empty */
		{"\x00\x04\x00\x00\x01\x00", 6}, /* a zero byte */
		{"\x00\x04\x00\x00\x01"
		 "ax",
		 7}, /* more than the list */
		{"\x00\x08\x00\x00\x01"
		 "a\x00\x00\x01"
		 "b",
		 10}, /* two of them */
		{"\x00\x05\x00\x00\x02"
		 "a",
		 6}, /* less than it says */
	};

	(void)state;
	with_extension(0,
		       "\x00\x04\x00\x00\x01"
		       "a",
		       6, 0);
	name_is("a");
	for (size_t i = 0; i < sizeof(bad_names) / sizeof(*bad_names); i++)
		with_extension(0, bad_names[i].body, bad_names[i].len, -EPROTO);
	with_extension(10, "\x00\x03\x01", 3, 0); /* others are not looked into */
	ext.n = 0;
	put_extension(&ext, 999, "", 0);
	put_extension(&ext, 998, "", 0);
	from_extensions(0x0303);
	reads(0);
	put_extension(&ext, 999, "", 0); /* twice */
	from_extensions(0x0303);
	reads(-EPROTO);
	ext.n = 0;
	put(&ext, "\x00\x01\x00\x05x", 5); /* longer than there is */
	from_extensions(0x0303);
	reads(-EPROTO);
	ext.n = 0;
	put(&ext, "\x00", 1);
	from_extensions(0x0303);
	reads(-EPROTO);
}

static void test_protocols(void **state)
{
	static const struct {
		const char *body;
		__u32 len;
	} bad[] = {{"", 0},
		   {"\x00\x00", 2},
		   {"\x00\x04\x02h2\x00", 6},
		   {"\x00\x03\x02h2x", 6},
		   {"\x00\x03\x05h2", 5}};

	(void)state;
	with_extension(16, "\x00\x03\x02h2", 5, 0);
	assert_int_equal(h.alpn_len, 3);
	/* then there are none, and all else counts */
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		with_extension(16, bad[i].body, bad[i].len, 0);
		assert_int_equal(h.alpn_len, 0);
	}
}

static void v2(const char *msg, __u32 len, int want)
{
	in.n = 0;
	put_number(&in, 2, 0x8000 | len);
	put(&in, msg, len);
	for (__u32 n = 5; n < in.n; n++)
		assert_int_equal(read_exactly(in.b, n), -EAGAIN);
	reads(want);
}

static void test_ssl2_form(void **state)
{
	(void)state;
	v2("\x01\x03\x01\x00\x03\x00\x00\x00\x08\x00\x00\x05"
	   "cccccccc",
	   20, 0);
	name_is("");
	v2("\x01\x03\x01\x00\x03\x00\x02\x00\x08\x00\x00\x05"
	   "ss"
	   "cccccccc",
	   22, 0);
	v2("\x01\x03\x00\x00\x03\x00\x00\x00\x08\x00\x00\x05"
	   "cccccccc",
	   20, -ECONNABORTED);
	v2("\x01\x03\x01\x00\x03\x00\x00\x00\x08\x01\x00\x05"
	   "cccccccc",
	   20, -EPROTO);
	v2("\x01\x03\x01\x00\x04\x00\x00\x00\x08\x00\x00\x05\x00"
	   "cccccccc",
	   21, -EPROTO);
	v2("\x01\x03\x01\x00\x00\x00\x00\x00\x08"
	   "cccccccc",
	   17, -EPROTO);
	v2("\x01\x03\x01\x00\x03\x00\x00\x00\x08\x00\x00\x05"
	   "ccccccccx",
	   21, -EPROTO);
	in.n = 0;
	put(&in, "\x90\x00\x01\x03\x01", 5);
	reads(-EAGAIN);
	in.b[1] = 1; /* longer than 4096 */
	reads(-EPROTO);
}

static void test_no_tls(void **state)
{
	static const char *const t[] = {"GET / HTTP/1.1\r\n", "CONNECT a:1 HTTP/1.1\r\n", "hello",
					"SSH-2.0-x\r\n"};

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++) {
		assert_int_equal(read_exactly((const __u8 *)t[i], 4), -EAGAIN);
		assert_int_equal(read_exactly((const __u8 *)t[i], (__u32)strlen(t[i])), -EPROTO);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),		cmocka_unit_test(test_every_cut),
		cmocka_unit_test(test_several_records), cmocka_unit_test(test_other_records),
		cmocka_unit_test(test_message_bounds),	cmocka_unit_test(test_versions),
		cmocka_unit_test(test_extensions),	cmocka_unit_test(test_protocols),
		cmocka_unit_test(test_ssl2_form),	cmocka_unit_test(test_no_tls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
