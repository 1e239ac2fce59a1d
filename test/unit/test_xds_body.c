// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "xds/body.h"

#define THREADS 4
#define TURNS 3000
#define NAMES 7

static void expect(size_t bodies, size_t users)
{
	size_t n, u;

	weft_body_stats(&n, &u);
	assert_int_equal(n, bodies);
	assert_int_equal(u, users);
}

/* A RouteConfiguration with nothing but a name of one letter. */
static struct weft_resource *make(char name, const char *version)
{
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;
	const uint8_t bytes[] = {0x0a, 1, (uint8_t)name};
	struct weft_resource *r = NULL;

	assert_int_equal(weft_resource_from_wire(WEFT_XDS_ROUTE, bytes, sizeof(bytes), version, 7,
						 &diag, &r),
			 0);
	return r;
}

static void test_equal_bytes_are_held_once(void **state)
{
	struct weft_resource *a = make('a', "1"), *again = make('a', "2"), *b = make('b', "1");

	(void)state;
	expect(2, 3);
	assert_ptr_equal(a->msg, again->msg);
	assert_ptr_not_equal(a->msg, b->msg);
	assert_int_equal(a->hash, again->hash);
	/* what a stream says about it is its own */
	assert_string_equal(a->version, "1");
	assert_string_equal(again->version, "2");
	weft_resource_unref(a);
	expect(2, 2);
	assert_string_equal(again->name, "a");
	weft_resource_unref(again);
	expect(1, 1);
	again = make('a', "3");
	expect(2, 2);
	weft_resource_unref(again);
	weft_resource_unref(b);
	expect(0, 0);
}

/* The same bytes under another type are another thing. */
static void test_types_are_apart(void **state)
{
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;
	static const uint8_t bytes[] = {0x0a, 1, 'a'};
	struct weft_resource *route = make('a', "1"), *endpoints = NULL;

	(void)state;
	assert_int_equal(weft_resource_from_wire(WEFT_XDS_ENDPOINT, bytes, sizeof(bytes), "1", 0,
						 &diag, &endpoints),
			 0);
	expect(2, 2);
	assert_ptr_not_equal(route->msg->descriptor, endpoints->msg->descriptor);
	weft_resource_unref(route);
	weft_resource_unref(endpoints);
	expect(0, 0);
}

/* What is refused is not kept: it is refused each time, with its reason. */
static void test_refused_is_not_kept(void **state)
{
	static const uint8_t bytes[] = {0x0a, 5, 'a'};
	struct weft_resource *r = NULL;

	(void)state;
	for (int i = 0; i < 2; i++) {
		_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;

		assert_int_equal(weft_resource_from_wire(WEFT_XDS_ROUTE, bytes, sizeof(bytes), "1",
							 0, &diag, &r),
				 -EINVAL);
		assert_int_equal(diag.n, 1);
		expect(0, 0);
	}
}

static void test_many(void **state)
{
	struct weft_resource *r[3000];
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;

	(void)state;
	for (int i = 0; i < 3000; i++) {
		uint8_t bytes[16];
		int n = snprintf((char *)bytes + 2, sizeof(bytes) - 2, "n%d", i % 2000);

		bytes[0] = 0x0a;
		bytes[1] = (uint8_t)n;
		assert_int_equal(weft_resource_from_wire(WEFT_XDS_ROUTE, bytes, (size_t)n + 2, "1",
							 0, &diag, &r[i]),
				 0);
	}
	expect(2000, 3000);
	assert_ptr_equal(r[0]->msg, r[2000]->msg);
	for (int i = 0; i < 3000; i++)
		weft_resource_unref(r[i]);
	expect(0, 0);
}

/* Streams take and give back the same contents at the same time. */
static void *churn(void *arg)
{
	const size_t first = *(const size_t *)arg;
	struct weft_resource *held[NAMES] = {0};

	for (size_t i = 0; i < TURNS; i++) {
		size_t at = (i * 5 + first) % NAMES;

		weft_resource_unref(held[at]);
		held[at] = make((char)('a' + (int)((i + first) % NAMES)), "1");
	}
	for (size_t i = 0; i < NAMES; i++)
		weft_resource_unref(held[i]);
	return NULL;
}

static void test_threads(void **state)
{
	size_t first[THREADS];
	pthread_t thread[THREADS];

	(void)state;
	for (size_t i = 0; i < THREADS; i++) {
		first[i] = i;
		assert_int_equal(pthread_create(&thread[i], NULL, churn, &first[i]), 0);
	}
	for (size_t i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	expect(0, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_equal_bytes_are_held_once),
		cmocka_unit_test(test_types_are_apart),
		cmocka_unit_test(test_refused_is_not_kept),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
