// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/trim.h"
#include "test/unit/alloc_fault.h"

#define BLOCK 4096u
#define BLOCKS 16384u /* 64 MiB */

static size_t resident(void)
{
	unsigned long all, pages;
	FILE *f = fopen("/proc/self/statm", "re");

	assert_non_null(f);
	assert_int_equal(fscanf(f, "%lu %lu", &all, &pages), 2);
	fclose(f);
	return pages * (size_t)sysconf(_SC_PAGESIZE);
}

/* What an update needed for a while, with something between that stays. */
static void grow(void **keep)
{
	static void *block[BLOCKS];

	for (size_t i = 0; i < BLOCKS; i++) {
		block[i] = malloc(BLOCK);
		assert_non_null(block[i]);
		memset(block[i], 1, BLOCK);
	}
	*keep = malloc(BLOCK);
	for (size_t i = 0; i < BLOCKS; i++)
		free(block[i]);
}

static void test_given_back_when_quiet(void **state)
{
	struct weft_trim t = {0};
	void *keep[2];
	size_t low, high;

	(void)state;
	if (!ALLOC_COUNTS)
		skip();	       /* the sanitizers own malloc */
	weft_trim_tick(&t, 0); /* what the process began with */
	assert_false(weft_trim_tick(&t, 0));
	low = resident();
	grow(&keep[0]);
	high = resident();
	assert_true(high > low + BLOCKS * BLOCK / 2);
	/* updates come */
	assert_false(weft_trim_tick(&t, 1));
	assert_false(weft_trim_tick(&t, 2));
	assert_true(resident() > low + BLOCKS * BLOCK / 2);
	/* and end */
	assert_true(weft_trim_tick(&t, 2));
	assert_true(resident() < low + BLOCKS * BLOCK / 4);
	assert_false(weft_trim_tick(&t, 2));
	grow(&keep[1]);
	assert_true(weft_trim_tick(&t, 2));
	assert_true(resident() < low + BLOCKS * BLOCK / 4);
	free(keep[0]);
	free(keep[1]);
}

/* What stays is looked at once, and again when half as much has come. */
static void test_growth_that_stays(void **state)
{
	struct weft_trim t = {0};
	static void *block[BLOCKS];
	unsigned int trims = 0;

	(void)state;
	if (!ALLOC_COUNTS)
		skip();
	weft_trim_tick(&t, 0);
	for (size_t i = 0; i < BLOCKS; i++) {
		block[i] = malloc(BLOCK);
		assert_non_null(block[i]);
		memset(block[i], 1, BLOCK);
		if (i % 64 == 63)
			trims += weft_trim_tick(&t, 0);
	}
	assert_in_range(trims, 1, 8);
	for (size_t i = 0; i < BLOCKS; i++)
		free(block[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_given_back_when_quiet),
		cmocka_unit_test(test_growth_that_stays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
