// SPDX-License-Identifier: Apache-2.0
/* Questions to rate limit services and their answers on the wire. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/proxy/limiter.h"

static struct worker *w;

static int open_worker(void **state)
{
	(void)state;
	w = calloc(1, sizeof(*w));
	return w ? 0 : -1;
}

static int close_worker(void **state)
{
	(void)state;
	while (w->n_spare)
		free(w->buf_spare[--w->n_spare]);
	free(w);
	return 0;
}

#define TEXT(s) ((struct weft_rate_text){(const __u8 *)(s), sizeof(s) - 1})

static void test_question(void **state)
{
	static const uint8_t want[] = {0,    0,	  0,	0,    32,  0x12, 9,    0x0a, 7,	   0x0a,
				       1,    'k', 0x12, 2,    'v', 'w',	 0x12, 15,   0x0a, 3,
				       0x0a, 1,	  'n',	0x12, 4,   8,	 42,   16,   3,	   0x1a,
				       2,    8,	  7,	0x12, 2,   0x1a, 0};
	struct weft_rate_found one[] = {{TEXT("k"), TEXT("vw")}}, two[] = {{TEXT("n"), TEXT("")}};
	struct wire_limit none = {0}, limit = {42, 3, true};
	uint64_t hits = 7, zero = 0;
	struct buf b = {0};

	(void)state;
	assert_int_equal(wire_begin(w, &b, (struct weft_img_str){0}), 0);
	assert_int_equal(wire_descriptor(w, &b, one, 1, &none, NULL), 0);
	assert_int_equal(wire_descriptor(w, &b, two, 1, &limit, &hits), 0);
	/* no hits are something else than none said */
	assert_int_equal(wire_descriptor(w, &b, two, 0, &none, &zero), 0);
	wire_end(&b);
	assert_int_equal(buf_len(&b), sizeof(want));
	assert_memory_equal(buf_at(&b), want, sizeof(want));
	buf_free(w, &b);
}

static int code_of(const char *bytes, size_t n)
{
	rate_response *m = wire_response((const uint8_t *)bytes, n);
	int code = m ? (int)m->overall_code : -1;

	if (m)
		protobuf_c_message_free_unpacked(&m->base, NULL);
	return code;
}
#define CODE(s) code_of((s), sizeof(s) - 1)

static void test_answer(void **state)
{
	(void)state;
	assert_int_equal(CODE("\0\0\0\0\2\x08\2"), 2);
	assert_int_equal(CODE("\0\0\0\0\0"), 0);
	assert_int_equal(CODE("\0\0\0\0\2\x08\7"), 7);
	/* the last message counts; what is not whole does not */
	assert_int_equal(CODE("\0\0\0\0\2\x08\2\0\0\0\0\2\x08\1"), 1);
	assert_int_equal(CODE("\0\0\0\0\2\x08\2\0"), 2);
	assert_int_equal(CODE("\0\0\0\0\2\x08\2\0\0\0\0\2\x08"), 2);
	assert_int_equal(CODE(""), -1);
	assert_int_equal(CODE("\0\0"), -1);
	assert_int_equal(CODE("\0\0\0\0\4\x08\2"), -1);
	/* compressed, or nobody knows what */
	assert_int_equal(CODE("\1\0\0\0\2\x08\2"), -1);
	assert_int_equal(CODE("\0\0\0\0\2\x08\2\2\0\0\0\2\x08\2"), -1);
	assert_int_equal(CODE("\0\xff\xff\xff\xff\x08\2"), -1);
	/* no message; a header's name that is no text; one field twice */
	assert_int_equal(CODE("\0\0\0\0\2\xff\xff"), -1);
	assert_int_equal(CODE("\0\0\0\0\6\x1a\4\x0a\2\xff\xfe"), -1);
	assert_int_equal(CODE("\0\0\0\0\4\x08\2\x08\1"), -1);
}

/* A Struct in a Struct in a Struct ... */
static void test_deep(void **state)
{
	uint8_t bytes[4096];
	size_t n = 0;

	(void)state;
	for (int i = 0; i < 200; i++) {
		uint8_t next[4096];
		size_t m = 0;

		/* fields {key, value: {struct_value: ...}}, lengths of two bytes */
		next[m++] = 0x0a;
		next[m++] = (uint8_t)((n + 6) & 127) | 128;
		next[m++] = (uint8_t)((n + 6) >> 7);
		next[m++] = 0x12;
		next[m++] = (uint8_t)((n + 3) & 127) | 128;
		next[m++] = (uint8_t)((n + 3) >> 7);
		next[m++] = 0x2a;
		next[m++] = (uint8_t)(n & 127) | 128;
		next[m++] = (uint8_t)(n >> 7);
		memcpy(next + m, bytes, n);
		n += m;
		memcpy(bytes, next, n);
	}
	memmove(bytes + 8, bytes, n);
	memcpy(bytes,
	       (uint8_t[]){0, 0, 0, (uint8_t)((n + 3) >> 8), (uint8_t)(n + 3), 0x32,
			   (uint8_t)((n & 127) | 128), (uint8_t)(n >> 7)},
	       8);
	assert_null(wire_response(bytes, n + 8));
}

static void test_units(void **state)
{
	(void)state;
	assert_int_equal(wire_unit("HOUR"), 3);
	assert_int_equal(wire_unit("hour"), -1);
	assert_int_equal(wire_unit("WEEK"), -1); /* of answers alone */
	assert_int_equal(wire_seconds(7), 604800);
	assert_int_equal(wire_seconds(5), 2592000);
	assert_int_equal(wire_seconds(8), 0);
	assert_int_equal(wire_seconds(-1), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_question),
		cmocka_unit_test(test_answer),
		cmocka_unit_test(test_deep),
		cmocka_unit_test(test_units),
	};

	return cmocka_run_group_tests(tests, open_worker, close_worker);
}
