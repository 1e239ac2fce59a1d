// SPDX-License-Identifier: Apache-2.0
#include "test/unit/dns_fixture.h"

struct fix {
	struct ns ns;
	struct weft_loop *loop;
	struct weft_channel *channel;
	struct weft_dns_servers conf;
	char list[32];
};

static void setup(struct fix *f)
{
	ns_start(&f->ns);
	snprintf(f->list, sizeof(f->list), "127.0.0.1:%u", f->ns.port);
	f->conf = (struct weft_dns_servers){.list = f->list, .timeout_ms = 60000, .tries = 1};
	assert_int_equal(weft_loop_new(&f->loop), 0);
	assert_int_equal(weft_channel_new(f->loop, &f->conf, &f->channel), 0);
}

static void teardown(struct fix *f)
{
	weft_channel_free(f->channel);
	weft_loop_free(f->loop);
	ns_stop(&f->ns);
}

struct got {
	unsigned int calls;
	size_t n;
	struct weft_addr addr[8];
	uint32_t ttl;
	bool failed;
};

static void on_answer(void *ctx, const struct weft_answer *a)
{
	struct got *g = ctx;

	g->calls++;
	g->failed = a->error != NULL;
	g->ttl = a->ttl;
	g->n = a->n;
	for (size_t i = 0; i < a->n && i < 8; i++)
		g->addr[i] = a->addr[i];
}

static void wait_calls(struct fix *f, const struct got *g, unsigned int calls)
{
	while (g->calls < calls)
		assert_int_equal(weft_loop_step(f->loop, 1000), 0);
}

static void assert_addr(const struct got *g, size_t i, const char *text)
{
	char buf[INET6_ADDRSTRLEN];

	assert_true(i < g->n);
	assert_string_equal(weft_addr_text(&g->addr[i], buf), text);
}

/* Nothing is asked, and nothing is left to wait for. */
static void test_literals(void **state)
{
	static const struct {
		const char *name;
		enum weft_dns_family family;
	} v[] = {{"10.0.0.1", WEFT_DNS_AUTO},	 {"10.0.0.1", WEFT_DNS_V6_ONLY},
		 {"10.0.0.1", WEFT_DNS_V4_ONLY}, {"fd00::1", WEFT_DNS_AUTO},
		 {"fd00::1", WEFT_DNS_ALL},	 {"fd00::1", WEFT_DNS_V4_PREFERRED}};
	struct weft_lookup *l;
	struct fix f;

	(void)state;
	setup(&f);
	for (size_t i = 0; i < sizeof(v) / sizeof(*v); i++) {
		struct got g = {0};

		assert_int_equal(weft_lookup_start(f.channel, v[i].name, v[i].family, on_answer, &g,
						   &l),
				 0);
		assert_null(l);
		assert_int_equal(g.calls, 1);
		assert_int_equal(g.n, 1);
		assert_int_equal(g.ttl, 0);
		assert_addr(&g, 0, v[i].name);
	}
	assert_int_equal(ns_asked(&f.ns), 0);
	teardown(&f);
}

static void test_localhost(void **state)
{
	static const struct {
		enum weft_dns_family family;
		const char *first, *second;
	} v[] = {{WEFT_DNS_AUTO, "::1", NULL},
		 {WEFT_DNS_V6_ONLY, "::1", NULL},
		 {WEFT_DNS_V4_ONLY, "127.0.0.1", NULL},
		 {WEFT_DNS_V4_PREFERRED, "127.0.0.1", NULL},
		 {WEFT_DNS_ALL, "127.0.0.1", "::1"}};
	struct weft_lookup *l;
	struct fix f;

	(void)state;
	setup(&f);
	for (size_t i = 0; i < sizeof(v) / sizeof(*v); i++) {
		struct got g = {0};

		assert_int_equal(weft_lookup_start(f.channel, i % 2 ? "localHost" : "a.LocalHost",
						   v[i].family, on_answer, &g, &l),
				 0);
		assert_null(l);
		assert_int_equal(g.calls, 1);
		assert_int_equal(g.n, v[i].second ? 2 : 1);
		assert_addr(&g, 0, v[i].first);
		if (v[i].second)
			assert_addr(&g, 1, v[i].second);
	}
	assert_int_equal(ns_asked(&f.ns), 0);
	teardown(&f);
}

/* As Envoy: four decimal numbers are an address however they are written, and not every text is asked for. */
static void test_odd_names(void **state)
{
	static const char *const never[] = {"a b.test", "[::1]", "fe80::1%lo", "a\ttest", "::1::"};
	struct weft_lookup *l;
	struct got g = {0};
	struct fix f;

	(void)state;
	setup(&f);
	assert_int_equal(
		weft_lookup_start(f.channel, "010.0.0.001", WEFT_DNS_AUTO, on_answer, &g, &l), 0);
	assert_addr(&g, 0, "10.0.0.1");
	for (size_t i = 0; i < sizeof(never) / sizeof(*never); i++) {
		g = (struct got){0};
		assert_int_equal(
			weft_lookup_start(f.channel, never[i], WEFT_DNS_AUTO, on_answer, &g, &l), 0);
		assert_null(l);
		assert_true(g.failed);
	}
	assert_int_equal(weft_lookup_start(f.channel, "::1", WEFT_DNS_V4_ONLY, on_answer, &g, &l), 0);
	assert_true(g.failed);
	assert_int_equal(ns_asked(&f.ns), 0);
	/* near an address, near localhost: names */
	ns_rule_set(&f.ns, 0, (struct ns_rule){"", {"10.0.0.9"}, 1, 0});
	g.calls = 0;
	for (unsigned int i = 0; i < 4; i++) {
		static const char *const v[] = {"notlocalhost.test", "1.2.3", "256.1.1.1", "*.a_b.test"};

		assert_int_equal(
			weft_lookup_start(f.channel, v[i], WEFT_DNS_V4_ONLY, on_answer, &g, &l), 0);
		wait_calls(&f, &g, i + 1);
		assert_addr(&g, 0, "10.0.0.9");
	}
	assert_int_equal(ns_asked(&f.ns), 4);
	teardown(&f);
}

static void test_answers(void **state)
{
	struct weft_lookup *l;
	struct got g = {0};
	struct fix f;

	(void)state;
	setup(&f);
	ns_rule_set(&f.ns, 0, (struct ns_rule){"a.", {"10.0.0.2", "10.0.0.1", "10.0.0.2"}, 9, 0});
	ns_rule_set(&f.ns, 1, (struct ns_rule){"broken.", {NULL}, 0, 2});
	assert_int_equal(weft_lookup_start(f.channel, "a.test", WEFT_DNS_V4_ONLY, on_answer, &g, &l),
			 0);
	assert_non_null(l);
	wait_calls(&f, &g, 1);
	assert_int_equal(g.n, 2); /* each once, in the answer's order */
	assert_addr(&g, 0, "10.0.0.2");
	assert_addr(&g, 1, "10.0.0.1");
	assert_int_equal(g.ttl, 9);
	assert_false(g.failed);
	/* IPv6 first, which there is none of */
	assert_int_equal(weft_lookup_start(f.channel, "a.test", WEFT_DNS_AUTO, on_answer, &g, &l), 0);
	wait_calls(&f, &g, 2);
	assert_int_equal(g.n, 2);
	assert_int_equal(ns_asked(&f.ns), 3);
	/* no such name: an answer; a server's failure: none */
	assert_int_equal(weft_lookup_start(f.channel, "no.test", WEFT_DNS_ALL, on_answer, &g, &l), 0);
	wait_calls(&f, &g, 3);
	assert_int_equal(g.n, 0);
	assert_false(g.failed);
	assert_int_equal(
		weft_lookup_start(f.channel, "broken.test", WEFT_DNS_ALL, on_answer, &g, &l), 0);
	wait_calls(&f, &g, 4);
	assert_true(g.failed);
	teardown(&f);
}

static void test_edns(void **state)
{
	struct weft_lookup *l;
	struct got g = {0};
	struct fix f;

	(void)state;
	setup(&f);
	weft_channel_free(f.channel);
	f.conf.edns_size = 1232;
	assert_int_equal(weft_channel_new(f.loop, &f.conf, &f.channel), 0);
	ns_rule_set(&f.ns, 0, (struct ns_rule){"a.", {"10.0.0.2"}, 9, 0});
	assert_int_equal(weft_lookup_start(f.channel, "a.test", WEFT_DNS_V4_ONLY, on_answer, &g, &l),
			 0);
	wait_calls(&f, &g, 1);
	assert_addr(&g, 0, "10.0.0.2");
	assert_int_equal(f.ns.with_edns, 1);
	teardown(&f);
}

/* A cancelled one is silent, whether it was asked or waits for its turn; the others go on. */
static void test_cancel_and_limit(void **state)
{
	struct weft_lookup *l[WEFT_LOOKUPS_MAX + 20];
	struct got g = {0}, none = {0};
	struct fix f;
	char name[32];

	(void)state;
	setup(&f);
	ns_rule_set(&f.ns, 0, (struct ns_rule){"n", {"10.0.0.2"}, 9, 0});
	ns_hold(&f.ns, true);
	for (unsigned int i = 0; i < WEFT_LOOKUPS_MAX + 20; i++) {
		bool cancelled = i < 5 || (i >= WEFT_LOOKUPS_MAX + 3 && i < WEFT_LOOKUPS_MAX + 8);

		snprintf(name, sizeof(name), "n%u.test", i);
		assert_int_equal(weft_lookup_start(f.channel, name, WEFT_DNS_V4_ONLY, on_answer,
						   cancelled ? &none : &g, &l[i]),
				 0);
		assert_non_null(l[i]);
		/* one by one: a socket's buffer does not take all */
		while (i < WEFT_LOOKUPS_MAX && ns_asked(&f.ns) <= i)
			assert_int_equal(weft_loop_step(f.loop, 1), 0);
	}
	for (unsigned int i = 0; i < 5; i++) {
		weft_lookup_cancel(l[i]);
		weft_lookup_cancel(l[WEFT_LOOKUPS_MAX + 3 + i]);
	}
	for (int i = 0; i < 10; i++)
		assert_int_equal(weft_loop_step(f.loop, 5), 0);
	assert_int_equal(ns_asked(&f.ns), WEFT_LOOKUPS_MAX);
	ns_hold(&f.ns, false);
	while (ns_release(&f.ns))
		assert_int_equal(weft_loop_step(f.loop, 5), 0);
	wait_calls(&f, &g, WEFT_LOOKUPS_MAX + 20 - 10);
	assert_int_equal(ns_asked(&f.ns), WEFT_LOOKUPS_MAX + 20 - 5);
	assert_int_equal(none.calls, 0);
	weft_lookup_cancel(NULL);
	teardown(&f);
}

/* Freed with questions open and waiting: nobody is told. */
static void test_free_under_way(void **state)
{
	struct weft_lookup *l;
	struct got g = {0};
	struct fix f;

	(void)state;
	setup(&f);
	ns_hold(&f.ns, true);
	for (unsigned int i = 0; i < WEFT_LOOKUPS_MAX + 3; i++)
		assert_int_equal(weft_lookup_start(f.channel, "a.test", WEFT_DNS_AUTO, on_answer, &g,
						   &l),
				 0);
	teardown(&f);
	assert_int_equal(g.calls, 0);
}

static void test_fits(void **state)
{
	struct weft_dns_servers c;
	struct fix f;

	(void)state;
	setup(&f);
	assert_true(weft_channel_fits(f.channel, &f.conf));
#define OTHER(field, value)                                                                        \
	c = f.conf;                                                                                \
	c.field = value;                                                                           \
	assert_false(weft_channel_fits(f.channel, &c))
	OTHER(list, NULL);
	OTHER(list, (char *)(uintptr_t) "127.0.0.1:1");
	OTHER(fallback, true);
	OTHER(tcp, true);
	OTHER(no_search, true);
	OTHER(rotate, true);
	OTHER(timeout_ms, 1);
	OTHER(tries, 2);
	OTHER(edns_size, 512);
	c = f.conf;
	c.list = (char *)(uintptr_t) "no address";
	weft_channel_free(f.channel);
	f.channel = NULL;
	assert_int_equal(weft_channel_new(f.loop, &c, &f.channel), -EINVAL);
	teardown(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_literals),	 cmocka_unit_test(test_localhost),
		cmocka_unit_test(test_odd_names),	 cmocka_unit_test(test_answers),
		cmocka_unit_test(test_edns),		 cmocka_unit_test(test_cancel_and_limit),
		cmocka_unit_test(test_free_under_way), cmocka_unit_test(test_fits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
