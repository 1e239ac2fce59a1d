// SPDX-License-Identifier: Apache-2.0
#include "agent/compile/schedule.h"

#include "test/unit/image_fixture.h"

#define CLUSTER_CELL 1

static struct weft_ctx ctx;
static __u32 cluster;

struct order {
	__u32 used, endpoints, period;
	bool stored;
};

/* A set of endpoints with the schedule of these weights; given back by order_close. */
static struct order order_open(const uint32_t *weight, size_t n)
{
	struct weft_img_host_set set = {.load_end = 100, .n_host = (__u32)n};
	struct weft_img_endpoints e = {.n = (__u32)n, .n_set = 1};
	struct order o = {.used = fix.used};
	struct weft_schedule s;

	assert_int_equal(weft_schedule_make(weight, n, &s), 0);
	assert_int_equal(!!s.period, !!s.order + !!s.split);
	set.n_schedule = s.period;
	if (s.order)
		set.schedule = fix_put(s.order, s.period * sizeof(*s.order), 0);
	else if (s.split)
		set.schedule = fix_put(s.split, s.n_split * sizeof(*s.split), 0);
	set.host = fix_put(NULL, 0, n * sizeof(__u32));
	for (__u32 i = 0; i < n; i++)
		FIX_AT(__u32, set.host)[i] = i;
	e.set = FIX_PUT(set);
	o.endpoints = FIX_PUT(e);
	o.period = s.period;
	o.stored = s.order;
	weft_schedule_free(&s);
	return o;
}

static void order_close(const struct order *o)
{
	fix.used = o->used;
}

/* The host the engine chooses when the cluster's cursor stands at this place. */
static __u32 host_at(const struct order *o, __u32 place)
{
	__u32 need = 0;
	int h;

	weft_cell_cluster(fix_cell(CLUSTER_CELL))->cursor = place;
	h = weft_endpoint_choose(&ctx, cluster, o->endpoints, 0, &need);
	assert_true(h >= 0);
	return (__u32)h;
}

/* weights -> hosts in order as letters. */
static void check(const uint32_t *weight, size_t n, const char *want)
{
	struct order o = order_open(weight, n);

	assert_int_equal(o.period, strlen(want));
	for (__u32 i = 0; want[i]; i++)
		assert_int_equal((char)('A' + host_at(&o, i)), want[i]);
	order_close(&o);
}
#define W(...) (const uint32_t[]){__VA_ARGS__}, sizeof((uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t)

static void test_order_of_deadlines(void **state)
{
	(void)state;
	check(W(1, 2), "BAB"); /* due: B at 1/2, then A and B at 1, where A waited longer */
	check(W(2, 4), "BAB");
	check(W(3, 1), "AABA");
	check(W(1, 3), "BBAB");
}

static void test_equal_weights_need_none(void **state)
{
	struct weft_schedule s;

	(void)state;
	assert_int_equal(weft_schedule_make((const uint32_t[]){5, 5, 5}, 3, &s), 0);
	assert_true(!s.period && !s.order && !s.split);
	assert_int_equal(weft_schedule_make(NULL, 0, &s), 0);
	assert_true(!s.period && !s.order && !s.split);
}

#define N_MAX 46

/* The host that an exact earliest-deadline-first queue picks next; count and since are its state. */
static size_t edf_next(const uint32_t *weight, size_t n, const uint32_t *count, const uint32_t *since)
{
	size_t best = 0;

	for (size_t i = 1; i < n; i++) {
		uint64_t x = (uint64_t)(count[i] + 1) * weight[best];
		uint64_t y = (uint64_t)(count[best] + 1) * weight[i];

		if (x < y || (x == y && since[i] < since[best]))
			best = i;
	}
	return best;
}

/*
 * Every prefix against the weights' share and against an exact EDF queue. The queue itself gives host i between one
 * turn less and n * weight / sum turns more than its share.
 */
static void prefixes(const uint32_t *weight, size_t n, uint32_t turns)
{
	uint32_t count[N_MAX] = {0}, exact[N_MAX] = {0}, since[N_MAX];
	struct order o = order_open(weight, n);
	double sum = 0;

	for (size_t i = 0; i < n; i++) {
		since[i] = (uint32_t)i;
		sum += weight[i];
	}
	for (uint32_t m = 0; m < turns; m++) {
		__u32 h = host_at(&o, m);
		size_t e = edf_next(weight, n, exact, since);

		assert_true(h < n);
		if (o.stored)
			assert_int_equal(h, e);
		count[h]++;
		exact[e]++;
		since[e] = (uint32_t)n + m;
		for (size_t i = 0; i < n; i++) {
			double early = (double)n * weight[i] / sum;
			double share = (m + 1.0) * weight[i] / sum, off = count[i] - share;
			double edf = (double)count[i] - exact[i];

			assert_true(exact[i] - share > -1.0001 && exact[i] - share < early + 0.0001);
			if (!o.stored) {
				assert_true(off > -1.6801 && off < 1.6801);
				assert_true(edf > -1.6801 - early && edf < 2.6801);
			}
		}
	}
	order_close(&o);
}

static void test_prefixes_of_random_weights(void **state)
{
	__u64 random = 0x9E3779B97F4A7C15ull;

	(void)state;
	for (int round = 0; round < 60; round++) {
		uint32_t weight[N_MAX];
		size_t n = 2 + (size_t)round % 15;
		unsigned int spread = (unsigned int)round % 4;

		for (size_t i = 0; i < n; i++) {
			random ^= random << 13;
			random ^= random >> 7;
			random ^= random << 17;
			/* alike, of any size, or apart by powers of two; the sum stays below 2^32 */
			weight[i] = 1 + (uint32_t)(random >> 32) / 17;
			if (spread == 1)
				weight[i] = 200000000 + weight[i] % 1000;
			else if (spread == 2)
				weight[i] >>= random % 28;
			else if (spread == 3)
				weight[i] = 1 + weight[i] % 50;
		}
		prefixes(weight, n, 6000);
	}
}

/* A whole period, and the next one: each host exactly its weight, in any order of hosts. */
static void test_a_period_is_exact(void **state)
{
	static const uint32_t weight[][4] = {
		{10, 20, 30, 50}, {1, 4096, 3, 4093}, {1, 99991, 3, 50021}, {8191, 1, 1, 1}};

	(void)state;
	for (size_t k = 0; k < sizeof(weight) / sizeof(weight[0]); k++) {
		struct order o = order_open(weight[k], 4);
		__u32 count[4] = {0}, m = 0;

		for (; m < o.period; m++)
			count[host_at(&o, m)]++;
		for (int i = 0; i < 4; i++)
			assert_int_equal(count[i] * (k ? 1u : 10u), weight[k][i]);
		for (; m < o.period + 100; m++)
			assert_int_equal(host_at(&o, m), host_at(&o, m - o.period));
		order_close(&o);
	}
}

/* The lightest host of all that 32 bits allow gets its one turn in a period, at the place it has. */
static void test_extremes(void **state)
{
	static const uint32_t weight[] = {1, UINT32_MAX - 1}, alike[] = {2147483647, 2147483648};
	struct order o = order_open(weight, 2);
	__u32 one = 0, count[2] = {0};

	(void)state;
	assert_int_equal(o.period, UINT32_MAX);
	for (__u32 m = 0x7fff0000; m < 0x80010000; m++)
		one += host_at(&o, m) == 0;
	assert_int_equal(one, 1);
	assert_int_equal(host_at(&o, 0), 1);
	assert_int_equal(host_at(&o, UINT32_MAX - 1), 1);
	order_close(&o);
	o = order_open(alike, 2);
	for (__u32 m = UINT32_MAX - 100001; m < UINT32_MAX; m++)
		count[host_at(&o, m)]++;
	assert_in_range(count[0], 49999, 50002);
	order_close(&o);
}

/* A sum that 32 bits do not hold: halved, and nobody is left out. */
static void test_sum_beyond_32_bits(void **state)
{
	static const uint32_t weight[] = {1, UINT32_MAX, UINT32_MAX, UINT32_MAX};
	struct weft_schedule s;
	bool seen = false;

	(void)state;
	assert_int_equal(weft_schedule_make(weight, 4, &s), 0);
	assert_non_null(s.split);
	assert_int_equal(s.period, 1 + 3 * (1u << 30));
	for (__u32 i = 0; i < s.n_split; i++)
		seen = seen || (s.split[i].child[1] == WEFT_SPLIT_HOST && s.split[i].period > 1);
	assert_true(seen);
	weft_schedule_free(&s);
}

static __u32 depth(const struct weft_img_split *s, __u32 at)
{
	__u32 d[2];

	if (at & WEFT_SPLIT_HOST)
		return 0;
	for (int i = 0; i < 2; i++)
		d[i] = depth(s, s[at].child[i]);
	return 1 + (d[0] > d[1] ? d[0] : d[1]);
}

/* Fibonacci's numbers make the deepest tree there is, within the limit. */
static void test_deepest_tree(void **state)
{
	uint32_t weight[N_MAX] = {1, 1};
	struct weft_schedule s;
	const __u32 n = 45;

	(void)state;
	for (__u32 i = 2; i < n; i++)
		weight[i] = weight[i - 1] + weight[i - 2];
	assert_int_equal(weft_schedule_make(weight, n, &s), 0);
	assert_int_equal(depth(s.split, 0), 44);
	assert_true(depth(s.split, 0) <= WEFT_SPLITS_MAX);
	weft_schedule_free(&s);
	prefixes(weight, n, 3000);
}

/* More hosts than a stored period has room for. */
static void test_many_hosts(void **state)
{
	enum { MANY = 65535 };
	uint32_t *weight = calloc(MANY, sizeof(*weight)), *count = calloc(MANY, sizeof(*count));
	struct order o;
	__u32 period = 0;

	(void)state;
	assert_true(weight && count);
	for (uint32_t i = 0; i < MANY; i++)
		period += weight[i] = 1 + i % 2;
	o = order_open(weight, MANY);
	assert_int_equal(o.period, period);
	for (__u32 m = 0; m < period; m++)
		count[host_at(&o, m)]++;
	assert_memory_equal(count, weight, MANY * sizeof(*weight));
	order_close(&o);
	free(weight);
	free(count);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order_of_deadlines),
		cmocka_unit_test(test_equal_weights_need_none),
		cmocka_unit_test(test_prefixes_of_random_weights),
		cmocka_unit_test(test_a_period_is_exact),
		cmocka_unit_test(test_extremes),
		cmocka_unit_test(test_sum_beyond_32_bits),
		cmocka_unit_test(test_deepest_tree),
		cmocka_unit_test(test_many_hosts),
	};

	fix_open();
	ctx.pod = FIX_POD;
	cluster = fix_cluster(WEFT_LB_ROUND_ROBIN, CLUSTER_CELL);
	int r = cmocka_run_group_tests(tests, NULL, NULL);

	fix_close();
	return r;
}
