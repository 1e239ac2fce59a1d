// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "xds/any.h"
#include "xds/resource.h"

static struct weft_resource *make(enum weft_xds_type type, const uint8_t *data, size_t len)
{
	struct weft_diag diag = WEFT_DIAG_INIT;
	struct weft_resource *r = NULL;

	if (weft_resource_from_wire(type, data, len, "v", 5, &diag, &r))
		fail_msg("%s: %s", diag.entries[0].field, diag.entries[0].reason);
	return r;
}

static void refuse(const uint8_t *data, size_t len, const char *field, const char *reason)
{
	struct weft_diag diag = WEFT_DIAG_INIT;
	struct weft_resource *r = NULL;

	assert_int_equal(weft_resource_from_wire(WEFT_XDS_ROUTE, data, len, "v", 0, &diag, &r), -EINVAL);
	assert_null(r);
	assert_string_equal(diag.entries[0].field, field);
	if (!strstr(diag.entries[0].reason, reason))
		fail_msg("\"%s\" is not in \"%s\"", reason, diag.entries[0].reason);
	weft_diag_clear(&diag);
}

#define REFUSE(field, reason, ...)                                                                 \
	do {                                                                                       \
		static const uint8_t bytes_[] = {__VA_ARGS__};                                     \
		refuse(bytes_, sizeof(bytes_), field, reason);                                     \
	} while (0)

static void wire_faults(void **state)
{
	(void)state;
	REFUSE("name", "not UTF-8, or has a NUL byte", 0x0a, 2, 'a', 0);
	REFUSE("name", "not UTF-8", 0x0a, 2, 0xc0, 0x80);
	REFUSE("name", "not UTF-8", 0x0a, 3, 0xed, 0xa0, 0x80);
	REFUSE("name", "truncated", 0x0a, 5, 'a');
	REFUSE("name", "wire type", 0x08, 1);
	REFUSE("name", "occurs twice", 0x0a, 1, 'a', 0x0a, 1, 'b');
	REFUSE("", "malformed field number", 0x00, 1);
	REFUSE("", "groups", 0xfb, 0x06);
	REFUSE("virtual_hosts.name", "truncated", 0x12, 2, 0x0a, 9);
}

/* A Struct in a Value in a Struct ..., built from the inside out. */
static void depth_is_bounded(void **state)
{
	static const uint8_t tags[] = {0x0a, 0x12, 0x2a}; /* fields, value, struct_value */
	struct weft_diag diag = WEFT_DIAG_INIT;
	struct weft_resource *r;
	uint8_t buf[4096];
	size_t at = sizeof(buf), n;

	(void)state;
	for (int i = 0; i < 120; i++) {
		n = sizeof(buf) - at;
		if (n >= 0x80)
			buf[--at] = (uint8_t)(n >> 7);
		buf[--at] = (uint8_t)((n & 0x7f) | (n >= 0x80 ? 0x80 : 0));
		buf[--at] = i == 119 ? 0x8a : i == 118 ? 0x0a : i == 117 ? 0x12 : tags[2 - i % 3];
		if (i == 119) { /* metadata = 17 takes two bytes */
			buf[--at] = 0x8a;
			buf[at + 1] = 0x01;
		}
	}
	assert_int_equal(weft_resource_from_wire(WEFT_XDS_ROUTE, buf + at, sizeof(buf) - at, "v", 0,
						 &diag, &r),
			 -EINVAL);
	assert_non_null(strstr(diag.entries[0].reason, "nested too deep"));
	weft_diag_clear(&diag);
}

static void equal_content_equal_hash(void **state)
{
	/* Metadata.filter_metadata {a: {}, b: {}} in both orders, the value of one entry left out. */
	static const uint8_t ab[] = {0x0a, 1, 'r', 0x8a, 0x01, 12, 0x0a, 3, 0x0a, 1, 'a',
				     0x0a, 5, 0x0a, 1, 'b', 0x12, 0};
	static const uint8_t ba[] = {0x0a, 1, 'r', 0x8a, 0x01, 14, 0x0a, 5, 0x0a, 1, 'b', 0x12, 0,
				     0x0a, 5, 0x0a, 1, 'a', 0x12, 0};
	struct weft_resource *x = make(WEFT_XDS_ROUTE, ab, sizeof(ab));
	struct weft_resource *y = make(WEFT_XDS_ROUTE, ba, sizeof(ba));

	(void)state;
	assert_int_equal(x->hash, y->hash);
	assert_string_equal(x->name, "r");
	assert_string_equal(x->version, "v");
	assert_int_equal(x->updated_ms, 5);
	weft_resource_unref(x);
	weft_resource_unref(y);
}

static uint64_t varint(const uint8_t **p)
{
	uint64_t v = 0;

	for (unsigned int s = 0;; s += 7) {
		v |= (uint64_t)(**p & 0x7f) << s;
		if (!(*(*p)++ & 0x80))
			return v;
	}
}

/* Values of length-delimited field `want`, one after the other; false at the end. */
static bool next_field(const uint8_t **p, const uint8_t *end, unsigned int want, const uint8_t **ret,
		       size_t *ret_len)
{
	while (*p < end) {
		uint64_t tag = varint(p), n = varint(p);

		if ((tag & 7) != 2)
			continue;
		*ret = *p;
		*ret_len = n;
		*p += n;
		if (tag >> 3 == want)
			return true;
	}
	return false;
}

/* Responses a real istiod sent: every resource is accepted, nothing in it is unknown. */
static void istio_sample(void **state)
{
	static const char *const names[] = {"cds", "eds", "lds", "rds"};
	static uint8_t buf[1 << 16];

	(void)state;
	for (int i = 0; i < WEFT_XDS__MAX; i++) {
		const uint8_t *p = buf, *any, *value = NULL;
		size_t len, any_len, value_len = 0, count = 0;
		char path[256];
		FILE *f;

		snprintf(path, sizeof(path), WEFT_TEST_DATA "/data/istio-sample/%s.pb", names[i]);
		f = fopen(path, "rb");
		assert_non_null(f);
		len = fread(buf, 1, sizeof(buf), f);
		fclose(f);
		while (next_field(&p, buf + len, 2, &any, &any_len)) {
			const uint8_t *q = any;
			struct weft_resource *r;

			assert_true(next_field(&q, any + any_len, 2, &value, &value_len));
			r = make((enum weft_xds_type)i, value, value_len);
			assert_int_equal(r->unknown, 0);
			weft_resource_unref(r);
			count++;
		}
		assert_true(count > 0);
	}
}

static void types(void **state)
{
	(void)state;
	for (int i = 0; i < WEFT_XDS__MAX; i++)
		assert_int_equal(weft_xds_type_from_url(weft_xds_type_url((enum weft_xds_type)i)), i);
	assert_int_equal(weft_xds_type_from_url("type.googleapis.com/x"), WEFT_XDS__MAX);
	assert_int_equal(weft_xds_type_from_url("Cluster"), WEFT_XDS__MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(wire_faults), cmocka_unit_test(depth_is_bounded),
		cmocka_unit_test(equal_content_equal_hash),
		cmocka_unit_test(istio_sample), cmocka_unit_test(types)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
