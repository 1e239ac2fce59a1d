// SPDX-License-Identifier: Apache-2.0
/* Open-addressed tables: every key within reach, whatever their hashes. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "agent/compile/build.h"
#include "bpf/engine/engine.h"

static int setup(void **state)
{
	static struct weft_build b;

	b = (struct weft_build){.resource = "T/t"};
	*state = &b;
	return weft_store_new_heap(4u << 20, 1u << 20, &b.store) || weft_store_begin(b.store);
}

static int teardown(void **state)
{
	struct weft_build *b = *state;

	weft_store_abort(b->store);
	weft_store_free(b->store);
	free(b->objects.v);
	return 0;
}

static uint32_t find(uint32_t tab, uint32_t hash, uint32_t val)
{
	const struct weft_img_tab *t = weft_img_at(tab);
	const struct weft_img_ent *e = (const void *)(t + 1);

	for (uint32_t i = 0; i < WEFT_TAB_PROBES; i++) {
		const struct weft_img_ent *k = &e[(hash + i) & t->mask];

		if (k->hash == hash && k->val == val)
			return k->kind;
	}
	return 0;
}

static void test_empty(void **state)
{
	assert_int_equal(weft_build_tab(*state, NULL, 0), 0);
	assert_int_equal(weft_build_addr_tab(*state, NULL, 0), 0);
}

static void test_all_within_reach(void **state)
{
	enum { N = 3000 };
	struct weft_tab_key *k = calloc(N, sizeof(*k));
	uint32_t tab;

	assert_non_null(k);
	for (uint32_t i = 0; i < N; i++) /* in a row: the worst for linear probing at half load */
		k[i] = (struct weft_tab_key){
			.hash = i / 3 * 64, .kind = WEFT_KIND_HOST, .val = i + 1};
	tab = weft_build_tab(*state, k, N);
	assert_int_not_equal(tab, 0);
	for (uint32_t i = 0; i < N; i++)
		assert_int_equal(find(tab, k[i].hash, i + 1), WEFT_KIND_HOST);
	free(k);
}

/* More keys of one hash than are probed for: an error, not an endless search for room. */
static void test_equal_hashes(void **state)
{
	struct weft_build *b = *state;
	struct weft_tab_key k[WEFT_TAB_PROBES + 1];

	for (uint32_t i = 0; i <= WEFT_TAB_PROBES; i++)
		k[i] = (struct weft_tab_key){.hash = 5, .kind = WEFT_KIND_HOST, .val = i + 1};
	assert_int_not_equal(weft_build_tab(b, k, WEFT_TAB_PROBES), 0);
	assert_int_equal(weft_build_tab(b, k, WEFT_TAB_PROBES + 1), 0);
	assert_int_equal(b->err, -EINVAL);
}

static void test_addresses(void **state)
{
	enum { N = 500 };
	struct weft_addr_key k[N];
	const struct weft_img_addr_tab *t;
	const struct weft_img_addr_ent *e;
	char ip[32];

	for (uint32_t i = 0; i < N; i++) {
		snprintf(ip, sizeof(ip), "10.0.%u.%u", i / 256, i % 256);
		assert_true(weft_ip_parse(ip, 1 + i % 7, &k[i].addr));
		k[i].val = i + 1;
	}
	t = weft_img_at(weft_build_addr_tab(*state, k, N));
	e = (const void *)(t + 1);
	for (uint32_t i = 0; i < N; i++) {
		uint32_t hash = weft_hash_addr(&k[i].addr.addr, k[i].addr.port), j = 0;

		while (j < WEFT_TAB_PROBES && e[(hash + j) & t->mask].val != i + 1)
			j++;
		assert_true(j < WEFT_TAB_PROBES);
		assert_int_equal(e[(hash + j) & t->mask].port, k[i].addr.port);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
		TEST(test_empty),
		TEST(test_all_within_reach),
		TEST(test_equal_hashes),
		TEST(test_addresses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
