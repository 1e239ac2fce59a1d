// SPDX-License-Identifier: Apache-2.0

/* Targets by weight, priorities by load, round robin, least request, random, TCP chains. */

#include "test/unit/image_fixture.h"

static struct fix_world w;

static int choose(__u32 cluster, __u32 endpoints, __u64 random)
{
	__u32 need = 0;
	int i = weft_endpoint_choose(&w.ctx, cluster, endpoints, random, &need);

	return i == -EAGAIN ? -(int)need - 1000 : i;
}

static void weighted_targets(void **state)
{
	__u32 t = fix_targets(3, (__u32[]){ 0, 1, 2 }, (__u32[]){ 1, 0, 3 }), n[3] = { 0 };

	(void)state;
	for (__u64 r = 0; r < 4000; r++)
		n[FIX_AT(struct weft_img_target, weft_target_choose(t, r))->cluster]++;
	assert_int_equal(n[0], 1000);
	assert_int_equal(n[1], 0);
	assert_int_equal(n[2], 3000);
}

static void round_robin(void **state)
{
	__u32 c = fix_cluster(WEFT_LB_ROUND_ROBIN, 1), e = fix_endpoints(3, NULL, 10);

	(void)state;
	assert_int_equal(choose(c, e, 1), -1001); /* its cell is missing */
	fix_cell(1);
	for (int i = 0; i < 9; i++)
		assert_int_equal(choose(c, e, (__u64)i * 977), i % 3);
	w.ctx.flags = WEFT_CTX_EXPLAIN;
	assert_int_equal(choose(c, e, 5), 0);
	assert_int_equal(choose(c, e, 6), 0); /* explaining moves no cursor */
	w.ctx.flags = 0;
}

static void schedule(void **state)
{
	__u32 c = fix_cluster(WEFT_LB_ROUND_ROBIN, 2);
	__u32 e = fix_endpoints(2, (__u32[]){ 1, 2 }, 10);
	struct weft_img_host_set *s =
		FIX_AT(struct weft_img_host_set, FIX_AT(struct weft_img_endpoints, e)->set);
	__u16 order[] = { 1, 0, 1 };
	int n[2] = { 0 };

	(void)state;
	s->schedule = fix_put(order, sizeof(order), 8);
	s->n_schedule = 3;
	fix_cell(2);
	for (int i = 0; i < 9; i++)
		n[choose(c, e, 3)]++;
	assert_int_equal(n[0], 3);
	assert_int_equal(n[1], 6);
}

/* Three hosts, the first two in a locality; `order` is of the localities, ranks behind it. */
static __u32 two_localities(const __u16 *order, __u32 period, const __u32 *turns)
{
	__u32 e = fix_endpoints(3, NULL, 80);
	struct weft_img_host_set part[2] = { { .n_host = 2, .turns = turns[0] },
					     { .n_host = 1, .turns = turns[1] } };
	__u32 set = FIX_AT(struct weft_img_endpoints, e)->set, schedule = 0, off;

	part[0].host = FIX_AT(struct weft_img_host_set, set)->host;
	part[1].host = part[0].host + 8;
	if (period)
		schedule = fix_put(order, period * 4, 8);
	off = fix_put(part, sizeof(part), 0);
	FIX_AT(struct weft_img_host_set, set)->n_part = 2;
	FIX_AT(struct weft_img_host_set, set)->part = off;
	FIX_AT(struct weft_img_host_set, set)->n_schedule = period;
	FIX_AT(struct weft_img_host_set, set)->schedule = schedule;
	return e;
}

/* Localities take turns by weight, the hosts of each by its own turns: neither disturbs the other. */
static void localities(void **state)
{
	static const __u16 order[] = { 1, 0, 1, 1, 0, 0, 1, 2 }; /* turns 1 0 1 1, then ranks */
	static const int want[] = { 2, 0, 2, 2, 2, 1, 2, 2 };
	__u32 c = fix_cluster(WEFT_LB_ROUND_ROBIN, 7), e;
	int n[3] = { 0 };

	(void)state;
	e = two_localities(order, 4, (__u32[]){ 1, 3 });
	assert_int_equal(choose(c, e, 1), -1007);
	fix_cell(7);
	for (int i = 0; i < 32; i++)
		assert_int_equal(choose(c, e, (__u64)i * 977), want[i % 8]);
	/* equal weights: no schedule */
	e = two_localities(NULL, 0, (__u32[]){ 1, 1 });
	for (int i = 0; i < 40; i++)
		n[choose(c, e, 3)]++;
	assert_int_equal(n[0], 10);
	assert_int_equal(n[1], 10);
	assert_int_equal(n[2], 20);
}

/* Random and least request take the locality in turn, and one of its hosts in their own way. */
static void localities_of_others(void **state)
{
	static const __u16 order[] = { 1, 0, 1, 1, 0, 0, 1, 2 };
	__u32 e = two_localities(order, 4, (__u32[]){ 1, 3 }), cell = 8;

	(void)state;
	for (enum weft_lb lb = WEFT_LB_LEAST_REQUEST; lb <= WEFT_LB_RANDOM; lb++, cell++) {
		__u32 c = fix_cluster(lb, cell);
		int n[3] = { 0 };

		assert_int_equal(choose(c, e, 1), -1000 - (int)cell);
		fix_cell(cell);
		for (__u64 i = 0; i < 4000; i++)
			n[choose(c, e, i * 0x9E3779B97F4A7C15ull)]++;
		assert_int_equal(n[2], 3000);
		assert_in_range(n[0], 400, 600);
	}
}

/* A period that is a tree: the leaf knows how often it had its turn. */
static void localities_long(void **state)
{
	struct weft_img_split root = { 100000, 30000, { WEFT_SPLIT_HOST | 1, WEFT_SPLIT_HOST | 0 } };
	__u32 c = fix_cluster(WEFT_LB_ROUND_ROBIN, 11), e = two_localities(NULL, 0, (__u32[]){ 70000, 30000 });
	struct weft_img_host_set *s;
	__u32 n[3] = { 0 }, off = FIX_PUT(root);

	(void)state;
	s = FIX_AT(struct weft_img_host_set, FIX_AT(struct weft_img_endpoints, e)->set);
	s->schedule = off;
	s->n_schedule = 100000;
	fix_cell(11);
	for (__u64 i = 0; i < 200000; i++)
		n[choose(c, e, i)]++;
	assert_int_equal(n[0], 70000);
	assert_int_equal(n[1], 70000);
	assert_int_equal(n[2], 60000);
}

static void least_request(void **state)
{
	__u32 c = fix_cluster(WEFT_LB_LEAST_REQUEST, 3), e = fix_endpoints(3, NULL, 30);
	int n[3] = { 0 };

	(void)state;
	fix_cell(3);
	for (__u32 i = 0; i < 3; i++)
		fix_cell(30 + i);
	weft_cell_endpoint(fix_cell(30))->rq_active = 50;
	for (__u64 i = 0; i < 3000; i++)
		n[choose(c, e, i * 0x9E3779B97F4A7C15ull)]++;
	/* chosen only when both draws hit it: one in nine */
	assert_in_range(n[0], 230, 440);
	assert_in_range(n[1], 1100, 1600);
}

/* Choices of the heavier of two hosts (weights 1 and 3) in 8000 by least request with two choices. */
static int heavier_chosen(__u32 c, __u32 e, __u32 active_light, __u32 active_heavy)
{
	int n = 0;

	weft_cell_endpoint(fix_cell(60))->rq_active = active_light;
	weft_cell_endpoint(fix_cell(61))->rq_active = active_heavy;
	for (__u64 i = 0; i < 8000; i++)
		n += choose(c, e, i * 0x9E3779B97F4A7C15ull);
	return n;
}

/* Share p of the weights: p without load, from p^2 to 1 - (1 - p)^2 with any; the bounds README gives. */
static void least_request_by_weight(void **state)
{
	__u32 c = fix_cluster(WEFT_LB_LEAST_REQUEST, 6);
	__u32 e = fix_endpoints(2, (__u32[]){ 1, 3 }, 60);
	struct weft_img_host_set *s =
		FIX_AT(struct weft_img_host_set, FIX_AT(struct weft_img_endpoints, e)->set);

	(void)state;
	s->schedule = fix_put((__u16[]){ 1, 1, 0, 1 }, 8, 8);
	s->n_schedule = 4;
	fix_cell(6);
	assert_int_equal(heavier_chosen(c, e, 0, 0), 6000);
	assert_int_equal(heavier_chosen(c, e, 5, 15), 6000);   /* load as the weights: no difference */
	assert_in_range(heavier_chosen(c, e, 5, 5), 7350, 7650);    /* equal: 15/16 (Envoy 3/4) */
	assert_in_range(heavier_chosen(c, e, 0, 100), 4300, 4700); /* 9/16 (Envoy 3/104) */
}

static void random_choice(void **state)
{
	__u32 c = fix_cluster(WEFT_LB_RANDOM, 4), e = fix_endpoints(4, NULL, 40);
	int n[4] = { 0 };

	(void)state;
	for (__u64 i = 0; i < 4000; i++)
		n[choose(c, e, i * 0x9E3779B97F4A7C15ull)]++;
	for (int i = 0; i < 4; i++)
		assert_in_range(n[i], 800, 1200);
}

static void priorities(void **state)
{
	__u32 c = fix_cluster(WEFT_LB_RANDOM, 5), e = fix_endpoints(2, NULL, 50);
	struct weft_img_host_set s[2] = { { .load_end = 70, .n_host = 1 }, { .load_end = 100, .n_host = 1 } };
	int n[2] = { 0 };

	(void)state;
	s[0].host = fix_put(&(__u32){ 0 }, 4, 0);
	s[1].host = fix_put(&(__u32){ 1 }, 4, 0);
	FIX_AT(struct weft_img_endpoints, e)->set = fix_put(s, sizeof(s), 0);
	FIX_AT(struct weft_img_endpoints, e)->n_set = 2;
	for (__u64 i = 0; i < 1000; i++)
		n[choose(c, e, i)]++;
	assert_int_equal(n[0], 700);
	/* a priority that has load and no host: no healthy upstream */
	FIX_AT(struct weft_img_host_set, FIX_AT(struct weft_img_endpoints, e)->set)->n_host = 0;
	assert_int_equal(choose(c, e, 0), -ENOENT);
	assert_int_equal(choose(c, fix_endpoints(0, NULL, 0), 0), -ENOENT);
}

static __u32 tcp_outcome(__u32 chain, struct weft_tcp *t)
{
	assert_int_equal(weft_tcp_choose(&w.ctx, chain, t), 0);
	return t->outcome;
}

static void tcp_chains(void **state)
{
	struct weft_img_chain c = { .kind = WEFT_CHAIN_TCP,
				    .target = fix_targets(1, (__u32[]){ 0 }, (__u32[]){ 1 }) };
	struct weft_img_bucket b = { .cell = 80, .max_tokens = 3, .cost = 1ull << 50, .full = 3ull << 50 };
	__u32 chain = FIX_PUT(c), id;
	struct weft_tcp t;

	(void)state;
	/* cells first: nothing is taken while one is missing */
	FIX_AT(struct weft_img_chain, chain)->n_conn_limit = 1;
	FIX_AT(struct weft_img_chain, chain)->conn_limit[0] = FIX_PUT(b);
	for (int i = 0; weft_tcp_choose(&w.ctx, chain, &t) == -EAGAIN; i++) {
		assert_true(i < 8);
		id = t.need ? t.need : 80;
		fix_cell(id);
	}
	assert_int_equal(t.outcome, WEFT_OUTCOME_FORWARD);
	assert_int_equal(t.addr.port, 80);
	assert_int_equal(weft_cell_cluster(t.cell)->cx_active[0], 1);
	/* breaker of one connection */
	FIX_AT(struct weft_img_cluster, t.cluster)->threshold[0].max_connections = 1;
	assert_int_equal(tcp_outcome(chain, &t), WEFT_OUTCOME_REFUSED_OVERFLOW);
	weft_place_put(&weft_cell_cluster(t.cell)->cx_active[0]);
	__u32 guard = 0;

	while (tcp_outcome(chain, &t) == WEFT_OUTCOME_FORWARD && guard++ < 8)
		weft_place_put(&weft_cell_cluster(t.cell)->cx_active[0]);
	assert_int_equal(t.outcome, WEFT_OUTCOME_REFUSED_RATE);
	FIX_AT(struct weft_img_chain, chain)->n_conn_limit = 0;
	FIX_AT(struct weft_img_cluster, t.cluster)->type = WEFT_CLUSTER_BLACKHOLE;
	assert_int_equal(tcp_outcome(chain, &t), WEFT_OUTCOME_REFUSED_BLACKHOLE);
	FIX_AT(struct weft_img_cluster, w.cluster[0].cluster)->type = WEFT_CLUSTER_ORIGINAL_DST;
	assert_int_equal(tcp_outcome(chain, &t), WEFT_OUTCOME_FORWARD);
	assert_memory_equal(&t.addr, &w.ctx.dst, sizeof(t.addr));
	FIX_AT(struct weft_img_target, FIX_AT(struct weft_img_chain, chain)->target +
					       sizeof(struct weft_img_targets))->cluster = 5;
	assert_int_equal(tcp_outcome(chain, &t), WEFT_OUTCOME_REFUSED_NO_CLUSTER);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(weighted_targets), cmocka_unit_test(round_robin),
		cmocka_unit_test(schedule), cmocka_unit_test(localities),
		cmocka_unit_test(localities_of_others), cmocka_unit_test(localities_long),
		cmocka_unit_test(least_request),
		cmocka_unit_test(least_request_by_weight),
		cmocka_unit_test(random_choice), cmocka_unit_test(priorities),
		cmocka_unit_test(tcp_chains),
	};

	fix_open();
	fix_world_open(&w);
	w.cluster[0] = (struct weft_img_cluster_ref){ fix_cluster(WEFT_LB_ROUND_ROBIN, 70),
						      fix_endpoints(1, NULL, 71) };
	w.n_cluster = 1;
	fix_publish(&w);
	int r = cmocka_run_group_tests(tests, NULL, NULL);

	fix_close();
	return r;
}
