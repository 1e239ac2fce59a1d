// SPDX-License-Identifier: Apache-2.0
/* Tables of RING_HASH and MAGLEV against vectors of Envoy's, and of xxHash's own code. */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "agent/compile/hashing.h"
#include "test/unit/compile_fixture.h"

static char *six[] = {"127.0.0.1:90", "127.0.0.1:91", "127.0.0.1:92",
		      "127.0.0.1:93", "127.0.0.1:94", "127.0.0.1:95"};
static char *named[] = {"90", "91", "92", "93", "94", "95"};
static const uint32_t ones[] = {1, 1, 1, 1, 1, 1};

/* With all weights in one locality. */
static int make(const struct weft_hashing *h, char *const *key, const uint32_t *weight, size_t n,
		struct weft_hashing_table *ret)
{
	double share[65536];
	uint64_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += weight[i];
	for (size_t i = 0; i < n; i++)
		share[i] = (double)weight[i] / (double)sum;
	return weft_hashing_make(h, key, share, n, ret);
}

static void done(struct weft_hashing_table *t)
{
	free(t->host);
	free(t->ring);
}

static void test_hashes(void **state)
{
	uint8_t bytes[200];

	(void)state;
	for (unsigned i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 77 + 200);
	for (unsigned n = 0; n <= sizeof(bytes); n++)
		for (uint64_t seed = 0; seed < 3; seed++)
			assert_true(weft_hash_xx64(bytes, n, seed * 0x123456789abcdefu) ==
				    XXH64(bytes, n, seed * 0x123456789abcdefu));
	assert_true(weft_hash_xx64("foo", 3, 0) == 3728699739546630719u);
	assert_true(weft_hash_xx64("", 0, 0) == 17241709254077376921u);
	assert_true(weft_hashing_murmur("127.0.0.1:81_0", 14) == 9887544217113020895u);
}

static void test_ring(void **state)
{
	static const struct {
		uint64_t hash;
		uint16_t host;
	} want[] = {{1975508444536362413u, 5},	{2376063919839173711u, 5},
		    {2386806903309390596u, 3},	{6749904478991551885u, 4},
		    {6803900775736438537u, 3},	{7225015537174310577u, 2},
		    {8787465352164086522u, 0},	{11282020843382717940u, 2},
		    {13723418369486627818u, 1}, {13776502110861797421u, 0},
		    {14338313586354474791u, 1}, {15364271037087512980u, 4}};
	struct weft_hashing h = {.lb = WEFT_LB_RING_HASH, .min = 12, .max = 1024};
	struct weft_hashing_table t;

	(void)state;
	assert_int_equal(make(&h, named, ones, 6, &t), 0);
	assert_int_equal(t.n, 12);
	for (int i = 0; i < 12; i++) {
		assert_true(t.ring[i] == want[i].hash);
		assert_int_equal(t.host[i], want[i].host);
	}
	done(&t);
	assert_int_equal(make(&h, six, ones, 0, &t), 0);
	assert_int_equal(t.n, 0);
	done(&t);
}

/* Envoy keeps the shares: the least one gets whole entries, unless the ring grows too long. */
static void test_ring_weights(void **state)
{
	struct weft_hashing h = {.lb = WEFT_LB_RING_HASH, .min = 1, .max = 1u << 23};
	struct weft_hashing_table t;
	uint32_t n[3] = {0};

	(void)state;
	assert_int_equal(make(&h, six, (uint32_t[]){1, 4, 3}, 3, &t), 0);
	assert_int_equal(t.n, 8);
	for (uint32_t i = 0; i < t.n; i++)
		n[t.host[i]]++;
	assert_int_equal(n[0], 1);
	assert_int_equal(n[1], 4);
	assert_int_equal(n[2], 3);
	done(&t);
	assert_int_equal(make(&h, six, (uint32_t[]){1, WEFT_RING_MAX}, 2, &t), -E2BIG);
	done(&t);
	h.max = 100;
	assert_int_equal(make(&h, six, (uint32_t[]){1, WEFT_RING_MAX}, 2, &t), 0);
	assert_int_equal(t.n, 100);
	done(&t);
}

static void test_maglev(void **state)
{
	static const uint16_t want[] = {2, 4, 0, 1, 5, 0, 3};
	struct weft_hashing h = {.lb = WEFT_LB_MAGLEV, .table_size = 7};
	struct weft_hashing_table t;
	uint32_t n[2] = {0};

	(void)state;
	assert_int_equal(make(&h, six, ones, 6, &t), 0);
	assert_int_equal(t.n, 7);
	assert_null(t.ring);
	assert_memory_equal(t.host, want, sizeof(want));
	done(&t);
	h.table_size = 65537;
	assert_int_equal(make(&h, six, (uint32_t[]){1, 3}, 2, &t), 0);
	for (uint32_t i = 0; i < t.n; i++)
		n[t.host[i]]++;
	assert_in_range(n[0], 16384, 16385);
	assert_int_equal(n[0] + n[1], 65537);
	done(&t);
}

#define EDS(more) CLUSTER("c", more "type: EDS, eds_cluster_config: {eds_config: {ads: {}}}")
#define CLA(list)                                                                                  \
	"- {" T("config.endpoint.v3.ClusterLoadAssignment") ", cluster_name: c, endpoints: "       \
							    "[{lb_endpoints: [" list "]}]}\n"
/* The ring's first hash by what the only host is known by. */
static void key_is(const char *cluster_and_hosts, const char *want)
{
	const struct weft_img_endpoints *e;
	const struct weft_img_host_set *s;
	const struct weft_img_view *v;
	struct conf_req q;
	struct conf c;
	char text[64];

	conf_open(&c);
	conf_ok(&c, cluster_and_hosts);
	memset(&q.ctx, 0, sizeof(q.ctx));
	conf_connect(&q, "10.0.0.1", 80);
	v = weft_img_at(q.ctx.view_off);
	for (uint32_t i = 0; i < v->n_cluster; i++) {
		uint32_t off = ((const struct weft_img_cluster_ref *)weft_img_at(v->cluster))[i]
				       .endpoints;

		if (!off)
			continue;
		e = weft_img_at(off);
		s = weft_img_at(e->set);
		assert_int_equal(s->n_table, 1);
		snprintf(text, sizeof(text), "%s_0", want);
		assert_true(*(const uint64_t *)weft_img_at(s->ring) ==
			    weft_hash_xx64(text, strlen(text), 0));
		conf_close(&c);
		return;
	}
	fail_msg("no endpoints");
}

#define ONE "lb_policy: RING_HASH, ring_hash_lb_config: {minimum_ring_size: 1}, "
#define HOSTNAME "common_lb_config: {consistent_hashing_lb_config: {use_hostname_for_hashing: true}}, "
#define KEY ", metadata: {filter_metadata: {envoy.lb: {hash_key: k}}}"
static void test_keys(void **state)
{
	(void)state;
	key_is(EDS(ONE) CLA("{endpoint: {address: " ADDRESS("10.0.0.2", 80) "}}"), "10.0.0.2:80");
	key_is(EDS(ONE) CLA("{endpoint: {address: " ADDRESS("fd00::2", 80) "}}"), "[fd00::2]:80");
	key_is(EDS(ONE) CLA("{endpoint: {address: " ADDRESS("10.0.0.2", 80) ", hostname: n}}"),
	       "10.0.0.2:80");
	key_is(EDS(ONE HOSTNAME) CLA("{endpoint: {address: " ADDRESS("10.0.0.2",
								    80) ", hostname: n}}"),
	       "n");
	key_is(EDS(ONE HOSTNAME)
		       CLA("{endpoint: {address: " ADDRESS("10.0.0.2", 80) ", hostname: n}" KEY "}"),
	       "k");
}

static void test_long_ring_is_refused(void **state)
{
	(void)state;
	conf_refused(EDS("lb_policy: RING_HASH, ring_hash_lb_config: {minimum_ring_size: 8000000}, ")
			     CLA("{endpoint: {address: " ADDRESS("10.0.0.2", 80) "}}"),
		     "ClusterLoadAssignment/c", "endpoints", "a ring of more than 1048576");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hashes), cmocka_unit_test(test_ring),
		cmocka_unit_test(test_ring_weights), cmocka_unit_test(test_maglev),
		cmocka_unit_test(test_keys), cmocka_unit_test(test_long_ring_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
