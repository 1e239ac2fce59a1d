// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "agent/compile/cache.h"

static bool older(const struct weft_compiled *e, uint64_t serial)
{
	return e->used < serial;
}

static void count(struct weft_compiled *e, void *arg)
{
	(void)e;
	++*(int *)arg;
}

static void test_found_until_pruned(void **state)
{
	struct weft_build b = {0};
	struct weft_compiled *e;
	struct weft_cache *c;
	int n = 0;

	(void)state;
	assert_int_equal(weft_cache_new(&c), 0);
	assert_null(weft_cache_find(c, "k"));
	assert_int_equal(weft_words_add(&b.objects, 8), 0);
	e = weft_cache_add(c, "k", &b, 64);
	assert_non_null(e);
	/* what the build had collected is the entry's now */
	assert_int_equal(e->objects.n, 1);
	assert_int_equal(b.objects.n, 0);
	weft_build_clear(&b);
	assert_ptr_equal(weft_cache_find(c, "k"), e);
	assert_null(weft_cache_find(c, "other"));
	e->used = 3;
	weft_cache_prune(c, older, 3);
	assert_ptr_equal(weft_cache_find(c, "k"), e);
	weft_cache_each(c, count, &n);
	assert_int_equal(n, 1);
	weft_cache_prune(c, older, 4);
	assert_null(weft_cache_find(c, "k"));
	weft_cache_free(c);
	weft_cache_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_found_until_pruned)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
