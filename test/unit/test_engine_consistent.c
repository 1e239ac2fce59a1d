// SPDX-License-Identifier: Apache-2.0

/* RING_HASH and MAGLEV: where a hash leads in a table, on which attempt. */

#include "test/unit/image_fixture.h"

static struct fix_world w;

/* n hosts, host i at entry i of the table; ring[i] its hash, NULL: MAGLEV. */
static __u32 tables(__u32 n, const __u64 *ring)
{
	__u32 e = fix_endpoints(n, NULL, 10);
	struct weft_img_host_set *s =
		FIX_AT(struct weft_img_host_set, FIX_AT(struct weft_img_endpoints, e)->set);
	__u16 host[16];

	for (__u16 i = 0; i < n; i++)
		host[i] = i;
	s->n_table = n;
	s->table = fix_put(host, n * sizeof(*host), 8);
	s->ring = ring ? fix_put(ring, n * sizeof(*ring), 8) : 0;
	return e;
}

static void ring(void **state)
{
	static const __u64 hash[] = { 10, 20, 20, 30, ~0ull - 1 };
	__u32 e = tables(5, hash), need = 0;

	(void)state;
	assert_int_equal(weft_endpoint_hashed(e, WEFT_LB_RING_HASH, 0, 0), 0);
	assert_int_equal(weft_endpoint_hashed(e, WEFT_LB_RING_HASH, 10, 0), 0);
	assert_int_equal(weft_endpoint_hashed(e, WEFT_LB_RING_HASH, 11, 0), 1);
	assert_int_equal(weft_endpoint_hashed(e, WEFT_LB_RING_HASH, 20, 0), 1);
	assert_int_equal(weft_endpoint_hashed(e, WEFT_LB_RING_HASH, 31, 0), 4);
	assert_int_equal(weft_endpoint_hashed(e, WEFT_LB_RING_HASH, ~0ull, 0), 0);
	/* passed over: the entries behind it */
	assert_int_equal(weft_endpoint_hashed(e, WEFT_LB_RING_HASH, 21, 1), 4);
	assert_int_equal(weft_endpoint_hashed(e, WEFT_LB_RING_HASH, 21, 2), 0);
	/* without a hash policy the random word is the hash */
	assert_int_equal(weft_endpoint_choose(&w.ctx, fix_cluster(WEFT_LB_RING_HASH, 1), e, 25, &need),
			 3);
}

static void maglev(void **state)
{
	__u32 e = tables(7, NULL), need = 0;

	(void)state;
	for (__u64 h = 0; h < 50; h++)
		assert_int_equal(weft_endpoint_hashed(e, WEFT_LB_MAGLEV, h, 0), (int)(h % 7));
	assert_int_equal(weft_endpoint_hashed(e, WEFT_LB_MAGLEV, 5, 1), (int)((5 ^ ~0ull) % 7));
	assert_int_equal(weft_endpoint_hashed(e, WEFT_LB_MAGLEV, 5, 2), (int)((5 ^ (~0ull - 1)) % 7));
	assert_int_equal(weft_endpoint_choose(&w.ctx, fix_cluster(WEFT_LB_MAGLEV, 2), e, 8, &need), 1);
}

static void nobody(void **state)
{
	(void)state;
	assert_int_equal(weft_endpoint_hashed(0, WEFT_LB_MAGLEV, 1, 0), -ENOENT);
	assert_int_equal(weft_endpoint_hashed(fix_endpoints(0, NULL, 10), WEFT_LB_MAGLEV, 1, 0),
			 -ENOENT);
	/* hosts, but no table: not made for hashing */
	assert_int_equal(weft_endpoint_hashed(fix_endpoints(2, NULL, 10), WEFT_LB_MAGLEV, 1, 0),
			 -ENOENT);
}

/* The longest ring is searched to its end. */
static void longest(void **state)
{
	__u32 e = fix_endpoints(2, NULL, 10), n = WEFT_RING_MAX / 4;
	struct weft_img_host_set *s =
		FIX_AT(struct weft_img_host_set, FIX_AT(struct weft_img_endpoints, e)->set);

	(void)state;
	assert_true(1u << (WEFT_RING_STEPS - 1) >= WEFT_RING_MAX);
	s->table = fix_put(NULL, 0, n * sizeof(__u16));
	s->ring = fix_put(NULL, 0, n * sizeof(__u64));
	s->n_table = n;
	for (__u32 i = 0; i < n; i++)
		FIX_AT(__u64, s->ring)[i] = (__u64)i * 10;
	for (__u32 i = 0; i < n; i += 997) {
		FIX_AT(__u16, s->table)[i] = 1;
		assert_int_equal(weft_endpoint_hashed(e, WEFT_LB_RING_HASH, (__u64)i * 10, 0), 1);
		assert_int_equal(weft_endpoint_hashed(e, WEFT_LB_RING_HASH, (__u64)i * 10 + 1, 0), 0);
		FIX_AT(__u16, s->table)[i] = 0;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ring),
		cmocka_unit_test(maglev),
		cmocka_unit_test(nobody),
		cmocka_unit_test(longest),
	};

	fix_open();
	fix_world_open(&w);
	int r = cmocka_run_group_tests(tests, NULL, NULL);

	fix_close();
	return r;
}
