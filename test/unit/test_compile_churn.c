// SPDX-License-Identifier: Apache-2.0
/*
 * Names that come and go for ever, with readers and held places: numbers and cells are used again,
 * and never while the former owner is in anybody's sight.
 */
#include <pthread.h>

#include "test/unit/compile_fixture.h"

#define STATE (1u << 20)
#define CLUSTERS 100u
#define READERS 2u
#define HOLD 32u
/* Names of state that one round has: of the clusters and of their endpoints. */
#define NAMES (2 * CLUSTERS)

struct hold {
	uint32_t cell, tag;
};

struct reader {
	pthread_t thread;
	struct weft_reader *pin;
	struct weft_store *store;
	uint64_t turns;
	uint32_t seed;
	struct hold hold[HOLD];
	uint32_t n;
	uint32_t mixed, lost, none, taken, given;
};

static bool stop;

/* "c-123": 124 */
static uint32_t tag_of(const struct weft_img_cluster *c)
{
	const char *name = weft_img_at(c->name.off);
	uint32_t k = 0;

	for (__u32 i = 2; i < c->name.len; i++)
		k = k * 10 + (uint32_t)(name[i] - '0');
	return k + 1;
}

static void put_back(struct reader *r, struct hold *h)
{
	struct weft_cell_cluster *c = weft_cell_cluster(h->cell);

	/* whoever holds a place of a cell finds it unchanged */
	r->mixed += __atomic_load_n(&c->rq_retry, __ATOMIC_RELAXED) != h->tag;
	r->lost += !__atomic_load_n(&c->cx_active[0], __ATOMIC_RELAXED);
	weft_place_put(&c->cx_active[0]);
	r->given++;
	h->cell = 0;
}

/* A cell carries the tag of its first user: another one there is a number given out too soon. */
static bool tagged(__u64 *word, __u64 tag)
{
	__u64 old = 0;

	return __atomic_compare_exchange_n(word, &old, tag, false, __ATOMIC_RELAXED,
					   __ATOMIC_RELAXED) ||
	       old == tag;
}

static void use(struct reader *r, const struct weft_img_cluster_ref *ref)
{
	const struct weft_img_cluster *c = weft_img_at(ref->cluster);
	const struct weft_img_endpoints *set = weft_img_at(ref->endpoints);
	const struct weft_img_endpoint *e = weft_img_at(set->endpoint);
	struct hold *h = &r->hold[r->n++ % HOLD];
	uint32_t tag = tag_of(c), cell = weft_store_cell(r->store, CONF_POD, c->cell);
	uint32_t endpoint = weft_store_cell(r->store, CONF_POD, e->cell);

	if (h->cell)
		put_back(r, h);
	r->none += !cell || !endpoint;
	if (!cell || !endpoint)
		return;
	r->mixed += !tagged(&weft_cell_cluster(cell)->rq_retry, tag);
	r->mixed += !tagged(&weft_cell_endpoint(endpoint)->rq_error, tag);
	if (weft_place_take(&weft_cell_cluster(cell)->cx_active[0], UINT32_MAX)) {
		*h = (struct hold){.cell = cell, .tag = tag};
		r->taken++;
	}
}

/* The image under one pin; places are kept for longer. */
static void turn(struct reader *r)
{
	uint32_t epoch = weft_reader_enter(r->pin);
	struct weft_ctx ctx = {.pod = CONF_POD};
	const struct weft_img_cluster_ref *ref;
	const struct weft_img_view *v;

	if (!weft_ctx_begin(&ctx)) {
		v = weft_img_at(ctx.view_off);
		ref = weft_img_at(v->cluster);
		/* now and then long enough for other configurations to come */
		if (r->turns % 8 == 0)
			usleep(20000);
		for (uint32_t i = 0; i < 8 && v->n_cluster; i++) {
			r->seed = r->seed * 1664525 + 1013904223;
			if (ref[(r->seed >> 8) % v->n_cluster].cluster)
				use(r, &ref[(r->seed >> 8) % v->n_cluster]);
		}
	}
	weft_reader_leave(r->pin, epoch);
	__atomic_fetch_add(&r->turns, 1, __ATOMIC_RELEASE);
}

static void *read_on(void *arg)
{
	struct reader *r = arg;

	while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE))
		turn(r);
	for (uint32_t i = 0; i < HOLD; i++) {
		if (r->hold[i].cell)
			put_back(r, &r->hold[i]);
	}
	return NULL;
}

/* Until every reader has begun a turn since, and ended it. */
static void wait_turns(const struct reader *r)
{
	for (uint32_t i = 0; i < READERS; i++) {
		uint64_t from = __atomic_load_n(&r[i].turns, __ATOMIC_ACQUIRE);

		while (__atomic_load_n(&r[i].turns, __ATOMIC_ACQUIRE) < from + 2)
			usleep(100);
	}
}

static char *round_yaml(uint32_t round)
{
	char *out = NULL;
	size_t len;
	FILE *f = open_memstream(&out, &len);

	assert_non_null(f);
	for (uint32_t i = 0; i < CLUSTERS; i++) {
		uint32_t k = round * CLUSTERS + i;

		fprintf(f,
			"- {" T("config.cluster.v3.Cluster") ", name: c-%u, type: STATIC, "
			"load_assignment: {cluster_name: c, endpoints: [{lb_endpoints: [{endpoint: "
			"{address: {socket_address: {address: 10.1.0.1, port_value: %u}}}}]}]}}\n",
			k, 1 + k % 60000);
	}
	fprintf(f,
		LISTENER("l", AT_80,
			 HCM("", "", "rds: {route_config_name: r%u, config_source: {ads: {}}}"))
		"- {" T("config.route.v3.RouteConfiguration") ", name: r%u, virtual_hosts: [{name: v, "
		"domains: ['*'], routes: [{match: {prefix: /}, route: {cluster: c-%u}}]}]}\n",
		round, round, round * CLUSTERS);
	fclose(f);
	return out;
}

static void test_names_without_end(void **state)
{
	struct reader r[READERS] = {0};
	struct weft_compiler_stats st;
	struct weft_store_stats mem;
	uint32_t rounds, mixed = 0;
	struct conf c = {0};

	(void)state;
	assert_int_equal(weft_store_new_heap(CONF_IMG, STATE, &c.store), 0);
	assert_int_equal(weft_compiler_new(c.store, &c.compiler), 0);
	weft_store_stats(c.store, &mem);
	rounds = 10 * (uint32_t)mem.cells / NAMES + 1;
	for (uint32_t i = 0; i < READERS; i++) {
		r[i].store = c.store;
		r[i].seed = i;
		assert_int_equal(weft_reader_new(c.store, &r[i].pin), 0);
		assert_int_equal(pthread_create(&r[i].thread, NULL, read_on, &r[i]), 0);
	}
	for (uint32_t round = 0; round < rounds; round++) {
		char *yaml = round_yaml(round);

		conf_ok(&c, yaml);
		free(yaml);
		weft_compiler_reclaim(c.compiler);
		if (round % 2)
			wait_turns(r);
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELEASE);
	for (uint32_t i = 0; i < READERS; i++) {
		assert_int_equal(pthread_join(r[i].thread, NULL), 0);
		weft_reader_free(r[i].pin);
		mixed += r[i].mixed + r[i].lost + r[i].none;
		assert_true(r[i].taken > rounds);
		assert_int_equal(r[i].taken, r[i].given);
	}
	assert_int_equal(mixed, 0);
	weft_store_stats(c.store, &mem);
	assert_int_equal(mem.full, 0);
	/* what is in force, what the readers' pins kept, and what places were held of */
	weft_compiler_stats(c.compiler, &st);
	assert_in_range(st.states, NAMES, 6 * NAMES + READERS * HOLD);
	assert_in_range(st.clusters, CLUSTERS, 6 * CLUSTERS);
	assert_in_range(st.route_configs, 1, 6);
	conf_ok(&c, LISTENER_80 ROUTES("{match: {prefix: /}, " OK_200 "}"));
	weft_compiler_reclaim(c.compiler);
	weft_store_reclaim(c.store);
	weft_compiler_stats(c.compiler, &st);
	weft_store_stats(c.store, &mem);
	assert_int_equal(st.waiting, 0);
	assert_int_equal(mem.cells_used, 0);
	assert_int_equal(mem.waiting_bytes, 0);
	conf_close(&c);
}

/* The cluster's table shrinks with the names, and a name that returns finds what it had. */
static void test_lowest_numbers_first(void **state)
{
	struct weft_ctx ctx = {0};
	struct conf c;
	char *yaml;

	(void)state;
	conf_open(&c);
	yaml = round_yaml(0);
	conf_ok(&c, yaml);
	free(yaml);
	conf_ok(&c, CLUSTER("a", "type: STATIC"));
	weft_compiler_reclaim(c.compiler);
	conf_ok(&c, CLUSTER("b", "type: STATIC"));
	assert_int_equal(weft_ctx_begin(&ctx), 0);
	assert_int_equal(((const struct weft_img_view *)weft_img_at(ctx.view_off))->n_cluster, 64);
	conf_close(&c);
}

/* A number whose cell has a place out stays with its name; without, it goes to the next. */
static void test_held_place_keeps_the_number(void **state)
{
	const char *kind;
	struct weft_cell_cluster *cell;
	struct weft_ctx ctx = {0};
	const struct weft_img_cluster_ref *ref;
	struct conf c;
	uint32_t id;

	(void)state;
	conf_open(&c);
	conf_ok(&c, CLUSTER("a", "type: STATIC"));
	assert_int_equal(weft_ctx_begin(&ctx), 0);
	ref = weft_img_at(((const struct weft_img_view *)weft_img_at(ctx.view_off))->cluster);
	id = ((const struct weft_img_cluster *)weft_img_at(ref[1].cluster))->cell;
	cell = weft_cell_cluster(weft_store_cell(c.store, CONF_POD, id));
	cell->cx_total = 5;
	assert_true(weft_place_take(&cell->cx_active[0], 1));
	for (int i = 0; i < 2; i++) {
		conf_ok(&c, i ? CLUSTER("b", "type: STATIC") : CLUSTER("d", "type: STATIC"));
		weft_compiler_reclaim(c.compiler);
		assert_string_equal(weft_compiler_state_name(c.compiler, id, &kind), "a");
		assert_int_equal(weft_cell_cluster(weft_cell_find(CONF_POD, id))->cx_total, 5);
	}
	weft_place_put(&cell->cx_active[0]);
	weft_compiler_reclaim(c.compiler);
	assert_null(weft_compiler_state_name(c.compiler, id, &kind));
	assert_int_equal(weft_cell_find(CONF_POD, id), 0);
	conf_ok(&c, CLUSTER("e", "type: STATIC"));
	assert_string_equal(weft_compiler_state_name(c.compiler, id, &kind), "e");
	/* and nothing of a's is in e's statistics */
	cell = weft_cell_cluster(weft_store_cell(c.store, CONF_POD, id));
	assert_int_equal(cell->cx_total, 0);
	conf_close(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names_without_end),
		cmocka_unit_test(test_lowest_numbers_first),
		cmocka_unit_test(test_held_place_keeps_the_number),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
