// SPDX-License-Identifier: Apache-2.0

/* Hosts by what they have to do: bounded load, least request by weight and among many, slow start.
 */

#include <math.h>

#include "test/unit/image_fixture.h"

#define CELL 10u /* of the first host */
#define SECOND 1000000000ull
static struct fix_world w;

static struct weft_img_host_set *set_of(__u32 endpoints)
{
	return FIX_AT(struct weft_img_host_set, FIX_AT(struct weft_img_endpoints, endpoints)->set);
}

static void active_set(__u32 host, __u32 n)
{
	weft_cell_endpoint(fix_cell(CELL + host))->rq_active = n;
}

static void idle(__u32 n)
{
	for (__u32 i = 0; i < n; i++)
		active_set(i, 0);
}

static int choose(__u32 cluster, __u32 endpoints)
{
	static __u64 random = 1;
	__u32 need = 0;

	random = random * 6364136223846793005u + 1442695040888963407u;
	return weft_endpoint_choose(&w.ctx, cluster, endpoints, random, &need);
}

/* ---- bounded load ---- */

/* Six hosts of equal shares, host i at the hash i. */
static __u32 maglev(const double *share)
{
	__u16 host[] = {0, 1, 2, 3, 4, 5};
	__u32 e = fix_endpoints(6, NULL, CELL);

	set_of(e)->n_table = 6;
	set_of(e)->table = fix_put(host, sizeof(host), 8);
	set_of(e)->share = fix_put(share, 6 * sizeof(*share), 8);
	return e;
}

static __u32 bounded_cluster(__u32 factor)
{
	__u32 c = fix_cluster(WEFT_LB_MAGLEV, 1);

	FIX_AT(struct weft_img_cluster, c)->balance_factor = factor;
	return c;
}

/* The orders of std::mt19937, seeded by the hash's low half, shuffling six hosts. */
static const struct {
	__u64 hash;
	__u32 own;
	__u32 order[6];
} shuffles[] = {
	{0, 0, {3, 0, 4, 5, 1, 2}},
	{7, 1, {0, 2, 5, 3, 4, 1}},
	{0x1234567890abcdef, 3, {4, 2, 5, 3, 0, 1}},
};

static void bounded_order(void **state)
{
	const double share[] = {1. / 6, 1. / 6, 1. / 6, 1. / 6, 1. / 6, 1. / 6};
	__u32 c = bounded_cluster(100), e = maglev(share);

	(void)state;
	weft_cell_cluster(fix_cell(1))->rq_active[0] = 0;
	for (size_t k = 0; k < sizeof(shuffles) / sizeof(*shuffles); k++) {
		__u64 h = shuffles[k].hash;

		idle(6);
		assert_int_equal(weft_endpoint_bounded(&w.ctx, c, e, h, 0), shuffles[k].own);
		active_set(shuffles[k].own, 1); /* one of its one place: not yet too much */
		assert_int_equal(weft_endpoint_bounded(&w.ctx, c, e, h, 0), shuffles[k].own);
		active_set(shuffles[k].own, 2);
		/* whoever is tried next is made busy as well */
		for (__u32 i = 0; i < 6; i++) {
			if (shuffles[k].order[i] == shuffles[k].own)
				continue;
			assert_int_equal(weft_endpoint_bounded(&w.ctx, c, e, h, 0),
					 shuffles[k].order[i]);
			active_set(shuffles[k].order[i], 2);
		}
		/* all are overloaded alike: its own; one less: that one */
		assert_int_equal(weft_endpoint_bounded(&w.ctx, c, e, h, 0), shuffles[k].own);
		active_set(shuffles[k].own, 3);
		assert_int_equal(weft_endpoint_bounded(&w.ctx, c, e, h, 0),
				 shuffles[k].order[shuffles[k].order[0] == shuffles[k].own]);
	}
	idle(6);
}

static void bounded_places(void **state)
{
	const double share[] = {0.5, 0.1, 0.1, 0.1, 0.1, 0.1};
	__u32 c = bounded_cluster(150), none = bounded_cluster(0), e = maglev(share);
	struct weft_cell_cluster *cell = weft_cell_cluster(fix_cell(1));

	(void)state;
	/* (9 + 1) * 1.5 = 15 places: 8 of the first host (half of them, rounded up), 2 of the
	 * others */
	cell->rq_active[0] = 4;
	cell->rq_active[1] = 5;
	active_set(0, 8);
	assert_int_equal(weft_endpoint_bounded(&w.ctx, c, e, 0, 0), 0);
	active_set(0, 9);
	assert_int_not_equal(weft_endpoint_bounded(&w.ctx, c, e, 0, 0), 0);
	assert_int_equal(weft_endpoint_bounded(&w.ctx, none, e, 0, 0), 0);
	active_set(1, 2);
	assert_int_equal(weft_endpoint_bounded(&w.ctx, c, e, 1, 0), 1);
	active_set(1, 3);
	assert_int_not_equal(weft_endpoint_bounded(&w.ctx, c, e, 1, 0), 1);
	assert_int_equal(choose(none, e) >= 0, 1);
	cell->rq_active[0] = cell->rq_active[1] = 0;
	assert_int_equal(weft_endpoint_bounded(&w.ctx, c, 0, 1, 0), -ENOENT);
	idle(6);
}

/* ---- weights that move ---- */

static __u32 moving_cluster(enum weft_lb lb, __u32 window_ms, double bias)
{
	const struct weft_img_moving m = {
		.window_ms = window_ms, .aggression = 1, .least = 0.1, .bias = bias};
	__u32 c = fix_cluster(lb, 1), off = fix_put(&m, sizeof(m), 0);

	FIX_AT(struct weft_img_cluster, c)->moving = off;
	FIX_AT(struct weft_img_cluster, c)->flags = WEFT_CLUSTER_AGENT;
	fix_cell(1);
	return c;
}

/* Hosts of these weights, of which the image has the order of the first turns. */
static __u32 weighted(__u32 n, const __u32 *weight)
{
	__u16 order[] = {0};
	__u32 e = fix_endpoints(n, weight, CELL);

	set_of(e)->n_schedule = 1;
	set_of(e)->schedule = fix_put(order, sizeof(order), 8);
	return e;
}

static void counts(__u32 cluster, __u32 endpoints, __u32 turns, __u32 n[8])
{
	memset(n, 0, 8 * sizeof(*n));
	for (__u32 i = 0; i < turns; i++)
		n[choose(cluster, endpoints)]++;
}

static void turns_by_weight(void **state)
{
	__u32 c = moving_cluster(WEFT_LB_LEAST_REQUEST, 0, 0), n[8];
	__u32 e = weighted(3, (__u32[]){1, 3, 2});

	(void)state;
	idle(3);
	active_set(1, 1000); /* load plays no role */
	for (int i = 0; i < 50; i++) {
		counts(c, e, 6, n);
		assert_int_equal(n[0], 1);
		assert_int_equal(n[1], 3);
		assert_int_equal(n[2], 2);
	}
}

static void turns_by_load(void **state)
{
	__u32 c = moving_cluster(WEFT_LB_LEAST_REQUEST, 0, 1), e = weighted(2, (__u32[]){1, 2}),
	      n[8];

	(void)state;
	idle(2);
	active_set(1, 3); /* 2 / 4 against 1 */
	counts(c, e, 300, n);
	assert_in_range(n[0], 199, 201);
	active_set(1, 99); /* 2 / 100 against 1 */
	counts(c, e, 510, n);
	assert_in_range(n[1], 9, 12);
	FIX_AT(struct weft_img_moving, FIX_AT(struct weft_img_cluster, c)->moving)->bias = 2;
	active_set(1, 1); /* 2 / 4 against 1 */
	counts(c, e, 3, n);
	counts(c, e, 300, n);
	assert_in_range(n[0], 199, 201);
	FIX_AT(struct weft_img_moving, FIX_AT(struct weft_img_cluster, c)->moving)->bias = 0.5;
	active_set(1, 15); /* 2 / 4 against 1 */
	counts(c, e, 3, n);
	counts(c, e, 300, n);
	assert_in_range(n[0], 199, 201);
	active_set(1, 0);
}

/* A new set of the same place begins anew, an old one in a new image goes on. */
static void turns_and_images(void **state)
{
	__u32 c = moving_cluster(WEFT_LB_LEAST_REQUEST, 0, 0), e = weighted(2, (__u32[]){1, 2}),
	      n[8];
	struct weft_img_endpoint *v =
		FIX_AT(struct weft_img_endpoint, FIX_AT(struct weft_img_endpoints, e)->endpoint);

	(void)state;
	idle(2);
	for (int i = 0; i < 30; i++) {
		w.ctx.epoch++; /* the same hosts: three turns are still a period */
		n[0] = 0;
		for (int k = 0; k < 3; k++)
			n[0] += choose(c, e) == 0;
		assert_int_equal(n[0], 1);
	}
	v[0].weight = 8;
	w.ctx.epoch++;
	counts(c, e, 5, n);
	assert_int_equal(n[0], 4);
}

/* Two clusters whose hosts differ have turns of their own, also where the image holds their sets
 * once. */
static void sets_in_common(void **state)
{
	__u32 c = moving_cluster(WEFT_LB_LEAST_REQUEST, 0, 0), e = weighted(2, (__u32[]){1, 2}),
	      n[8];
	__u32 other = fix_endpoints(2, (__u32[]){1, 2}, CELL + 8);

	(void)state;
	FIX_AT(struct weft_img_endpoints, other)->set = FIX_AT(struct weft_img_endpoints, e)->set;
	for (int i = 0; i < 30; i++) {
		memset(n, 0, sizeof(n));
		for (int k = 0; k < 3; k++) {
			n[choose(c, e)]++;
			choose(c, other);
			choose(c, other);
		}
		assert_int_equal(n[0], 1);
	}
}

static void many_sets(void **state)
{
	__u32 c = moving_cluster(WEFT_LB_LEAST_REQUEST, 0, 0), e = weighted(2, (__u32[]){1, 2}),
	      n[8];

	(void)state;
	/* more pods than schedules: none is lost, the oldest begin anew */
	for (__u32 pod = 1; pod < 10000; pod++) {
		w.ctx.pod = pod;
		w.ctx.flags = WEFT_CTX_EXPLAIN; /* without cells */
		assert_in_range(choose(c, e), 0, 1);
	}
	w.ctx.flags = 0;
	w.ctx.pod = FIX_POD;
	counts(c, e, 3, n);
	assert_int_equal(n[0], 1);
}

/* The engine's: what happens to the first hosts' load while weights are worked out. */
static struct {
	__u32 calls, at, load;
} meanwhile;

double pow(double x, double y)
{
	if (++meanwhile.calls == meanwhile.at) {
		active_set(0, meanwhile.load);
		active_set(1, meanwhile.load);
	}
	if (meanwhile.at && meanwhile.calls > 100000)
		fail_msg("turns without end");
	return (double)powl(x, y);
}

/* Requests end or begin on another worker while a schedule begins: it is begun all the same. */
static void load_moves_meanwhile(void **state)
{
	__u32 c = moving_cluster(WEFT_LB_LEAST_REQUEST, 0, 2), e = weighted(2, (__u32[]){1, 2});
	struct weft_turns *turns = w.ctx.turns;

	(void)state;
	for (__u32 at = 1; at <= 6; at++) {
		for (__u32 before = 0; before <= 99; before += 99) {
			w.ctx.turns = weft_turns_new();
			active_set(0, before);
			active_set(1, before);
			meanwhile.calls = 0;
			meanwhile.at = at;
			meanwhile.load = 99 - before;
			assert_in_range(choose(c, e), 0, 1);
			meanwhile.at = 0;
			weft_turns_free(w.ctx.turns);
		}
	}
	w.ctx.turns = turns;
	idle(2);
}

/* ---- slow start ---- */

static void since_set(__u32 endpoints, const __u64 *since, __u32 n)
{
	__u32 off = fix_put(since, n * sizeof(*since), 8);

	FIX_AT(struct weft_img_endpoints, endpoints)->since = off;
}

static void slow_start(void **state)
{
	__u32 c = moving_cluster(WEFT_LB_ROUND_ROBIN, 10000, 0), n[8];
	struct weft_img_moving *m =
		FIX_AT(struct weft_img_moving, FIX_AT(struct weft_img_cluster, c)->moving);
	__u32 e = fix_endpoints(3, NULL, CELL);

	(void)state;
	/* long there; for half the window; never healthy, so never slow */
	since_set(e, (__u64[]){1, 95 * SECOND, 0}, 3);
	w.ctx.now_ns = 100 * SECOND;
	counts(c, e, 250, n);
	assert_in_range(n[1], 49, 51);
	assert_in_range(n[0], 99, 101);
	m->aggression = 2; /* square root of half */
	counts(c, e, 5, n);
	counts(c, e, 271, n);
	assert_in_range(n[1], 70, 72);
	m->aggression = 1;
	w.ctx.now_ns = 95 * SECOND + 1000000; /* the least weight: a tenth */
	counts(c, e, 10, n);
	counts(c, e, 210, n);
	assert_in_range(n[1], 9, 11);
	w.ctx.now_ns = 95 * SECOND - 1; /* clocks of two CPUs */
	counts(c, e, 210, n);
	assert_in_range(n[1], 9, 11);
	w.ctx.now_ns = 105 * SECOND; /* over */
	counts(c, e, 20, n);
	counts(c, e, 300, n);
	assert_in_range(n[1], 99, 101);
	w.ctx.now_ns = 0;
}

/* Nobody is in slow start and all weigh the same: the cluster's own turns. */
static void nobody_slow(void **state)
{
	__u32 c = moving_cluster(WEFT_LB_ROUND_ROBIN, 10000, 0), e = fix_endpoints(3, NULL, CELL);

	(void)state;
	since_set(e, (__u64[]){1, 1, 1}, 3);
	w.ctx.now_ns = 100 * SECOND;
	weft_cell_cluster(fix_cell(1))->cursor = 0;
	for (int i = 0; i < 9; i++)
		assert_int_equal(choose(c, e), i % 3);
	w.ctx.now_ns = 0;
}

/* What explains has no turns: a draw by the same weights. */
static void drawn(void **state)
{
	__u32 c = moving_cluster(WEFT_LB_LEAST_REQUEST, 0, 0), e = weighted(2, (__u32[]){1, 3}),
	      n[8];
	struct weft_turns *turns = w.ctx.turns;

	(void)state;
	w.ctx.turns = NULL;
	counts(c, e, 4000, n);
	assert_in_range(n[0], 850, 1150);
	w.ctx.turns = turns;
}

/* ---- least request among many ---- */

static void least_of_many(void **state)
{
	__u32 c = moving_cluster(WEFT_LB_LEAST_REQUEST, 0, 1), e = fix_endpoints(8, NULL, CELL),
	      n[8];
	struct weft_img_cluster *k = FIX_AT(struct weft_img_cluster, c);

	(void)state;
	for (__u32 choices = 9;; choices = choices == 9 ? 1000 : WEFT_CHOICES_ALL) {
		k->choice_count = choices;
		idle(8);
		counts(c, e, 4000, n); /* each of eight as likely */
		for (int i = 0; i < 8; i++)
			assert_in_range(n[i], 380, 620);
		for (__u32 i = 0; i < 8; i++)
			active_set(i, i == 5 ? 0 : 1 + i);
		counts(c, e, 1000, n);
		assert_true(choices == 9 ? n[5] > 600 : n[5] == 1000);
		if (choices == WEFT_CHOICES_ALL)
			break;
	}
	idle(8);
}

/* A program leaves such clusters to the agent, and takes nothing. */
static void not_in_the_kernel(void **state)
{
	__u32 cluster = moving_cluster(WEFT_LB_LEAST_REQUEST, 0, 2),
	      e = fix_endpoints(2, NULL, CELL);
	struct weft_img_chain chain = {.name = fix_str("c"),
				       .kind = WEFT_CHAIN_TCP,
				       .target = fix_targets(1, (__u32[]){0}, (__u32[]){1})};
	struct weft_turns *turns;
	struct weft_tcp tcp;
	__u32 off = FIX_PUT(chain);

	(void)state;
	w.cluster[0] = (struct weft_img_cluster_ref){cluster, e};
	w.n_cluster = 1;
	turns = w.ctx.turns;
	fix_publish(&w);
	w.ctx.turns = turns;
	w.ctx.flags = WEFT_CTX_KERNEL;
	assert_int_equal(weft_tcp_choose(&w.ctx, off, &tcp), -EAGAIN);
	w.ctx.flags = 0;
	assert_int_equal(weft_tcp_choose(&w.ctx, off, &tcp), 0);
	assert_int_equal(tcp.outcome, WEFT_OUTCOME_FORWARD);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bounded_order),    cmocka_unit_test(bounded_places),
		cmocka_unit_test(turns_by_weight),  cmocka_unit_test(turns_by_load),
		cmocka_unit_test(turns_and_images), cmocka_unit_test(sets_in_common),
		cmocka_unit_test(many_sets),	    cmocka_unit_test(slow_start),
		cmocka_unit_test(nobody_slow),	    cmocka_unit_test(drawn),
		cmocka_unit_test(least_of_many),    cmocka_unit_test(not_in_the_kernel),
		cmocka_unit_test(load_moves_meanwhile),
	};

	fix_open();
	fix_world_open(&w);
	w.ctx.pod = FIX_POD;
	w.ctx.turns = weft_turns_new();
	int r = cmocka_run_group_tests(tests, NULL, NULL);

	weft_turns_free(w.ctx.turns);
	fix_close();
	return r;
}
