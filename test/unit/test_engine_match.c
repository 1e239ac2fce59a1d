// SPDX-License-Identifier: Apache-2.0

/* Virtual hosts, routes, conditions as Envoy's goldens have them (domains-*, headers-*, path-specifiers). */

#include "test/unit/image_fixture.h"

static struct fix_world w;
static struct fix_req *r;

/* The index of the route that answers, -1: none. Bodies are one letter per virtual host. */
static int ask(const char *method, const char *host, const char *path, const char *lines)
{
	char head[1024];

	snprintf(head, sizeof(head), "%s %s HTTP/1.1\r\nHost: %s\r\n%s\r\n", method, path, host, lines);
	fix_decide(&w, r, head);
	return r->req.dec.route ? (int)FIX_AT(struct weft_img_route, r->req.dec.route)->index : -1;
}

static char vhost(const char *host, const char *path)
{
	ask("GET", host, path, "");
	return r->req.dec.vhost ?
		       *FIX_AT(char, FIX_AT(struct weft_img_vhost, r->req.dec.vhost)->name.off) : '-';
}

static void add_host(const char *name, const char *const *domains, const char *path)
{
	struct fix_route f = { path, 0, fix_direct(fix_reply(200, "", name)), 0 };
	__u32 v = fix_vhost(name, &f, 1);

	while (*domains)
		fix_domain(&w, *domains++, v);
}

static void domains(void **state)
{
	static const struct { const char *host; char want; } t[] = {
		{ "shop.example", 'e' }, { "SHOP.example", 'e' }, { "www.shop.example", 'e' },
		{ "a.shop.example", 's' }, { "a.b.shop.example", 's' }, { "a.eu.shop.example", 'l' },
		{ "foo-bar.shop.example", 'l' }, { "-bar.shop.example", 's' }, { ".shop.example", '*' },
		{ "www.x.shop.example", 's' }, { "www.org", 'p' }, { "www.foo.org", 'q' },
		{ "www.", '*' }, { "elsewhere.test", '*' }, { "shop.example.test", '*' },
		{ "shop.example:80", '*' }, { "[2001:db8::1]:80", '6' },
	};

	(void)state;
	fix_world_open(&w);
	add_host("*", (const char *const[]){ "*", NULL }, "/");
	add_host("s", (const char *const[]){ "*.shop.example", NULL }, "/");
	add_host("l", (const char *const[]){ "*.eu.shop.example", "*-bar.shop.example", NULL }, "/");
	add_host("p", (const char *const[]){ "www.*", NULL }, "/");
	add_host("q", (const char *const[]){ "www.foo.*", NULL }, "/");
	add_host("e", (const char *const[]){ "shop.example", "www.shop.example", NULL }, "/only");
	add_host("6", (const char *const[]){ "[2001:db8::1]:80", NULL }, "/");
	fix_publish(&w);
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++)
		assert_int_equal(vhost(t[i].host, "/only"), t[i].want);
	/* the selected host has no such route: no other is tried */
	assert_int_equal(ask("GET", "shop.example", "/other", ""), -1);
	assert_int_equal(r->req.dec.outcome, WEFT_OUTCOME_NO_ROUTE);
}

/* Longer than any domain of the table: wildcards fit all the same, not the host of "*". */
static void long_hosts(void **state)
{
	char host[600];

	(void)state;
	fix_world_open(&w);
	add_host("*", (const char *const[]){ "*", NULL }, "/");
	add_host("s", (const char *const[]){ "*.shop.example", NULL }, "/");
	add_host("p", (const char *const[]){ "www.*", NULL }, "/");
	fix_publish(&w);
	for (size_t n = WEFT_HOST_LEN_MAX - 2; n < 520; n++) {
		memset(host, 'a', n);
		strcpy(host + n - strlen(".shop.example"), ".shop.example");
		assert_int_equal(vhost(host, "/"), 's');
		memset(host, 'a', n);
		host[n] = '\0';
		assert_int_equal(vhost(host, "/"), '*');
		memcpy(host, "www.", 4);
		assert_int_equal(vhost(host, "/"), 'p');
	}
}

static void ports(void **state)
{
	struct weft_img_route_config *rc;
	struct weft_img_hcm *h;

	(void)state;
	fix_world_open(&w);
	add_host("a", (const char *const[]){ "a.example", NULL }, "/");
	fix_publish(&w);
	rc = FIX_AT(struct weft_img_route_config, w.rc);
	h = FIX_AT(struct weft_img_hcm, w.hcm);
	rc->flags |= WEFT_RC_IGNORE_PORT;
	assert_int_equal(vhost("a.example:8080", "/"), 'a');
	assert_int_equal(vhost("a.example:http", "/"), 'a');
	assert_int_equal(vhost("a.example:", "/"), 'a');
	assert_int_equal(vhost("a.example:80:90", "/"), '-');
	rc->flags = 0;
	h->flags = WEFT_HCM_STRIP_ANY_PORT;
	assert_int_equal(vhost("a.example:8080", "/"), 'a');
	assert_int_equal(r->req.value[WEFT_VALUE_HOST].len, 9);
	assert_int_equal(vhost("a.example:http", "/"), '-');
	h->flags = WEFT_HCM_STRIP_MATCHING_PORT;
	assert_int_equal(vhost("a.example:1", "/"), '-');
	assert_int_equal(vhost("a.example:80", "/"), 'a');
	h->flags = WEFT_HCM_STRIP_TRAILING_DOT;
	assert_int_equal(vhost("a.example.", "/"), 'a');
	h->flags = WEFT_HCM_STRIP_TRAILING_DOT | WEFT_HCM_STRIP_ANY_PORT;
	assert_int_equal(vhost("a.example.:80", "/"), 'a');
	h->flags = WEFT_HCM_STRIP_TRAILING_DOT;
	rc->flags = WEFT_RC_IGNORE_PORT;
	assert_int_equal(vhost("a.example.:80", "/"), 'a');
}

static struct weft_img_cond cond(__u8 kind, __u8 slot, const char *str, __u8 flags)
{
	struct weft_img_str s = fix_str(str);

	return (struct weft_img_cond){ .kind = kind, .slot = slot, .flags = flags, .str = s.off,
				       .len = s.len };
}

/* Whether the condition holds for these header lines. */
static int holds(struct weft_img_cond c, const char *lines)
{
	struct fix_route f = { "/", 0, fix_direct(fix_reply(200, "", "")), 1 };

	fix_world_open(&w);
	assert_int_equal(fix_name(&w, "x"), WEFT_VALUE__HEADERS);
	fix_conds(f.route, &c, 1);
	fix_domain(&w, "*", fix_vhost("v", &f, 1));
	fix_publish(&w);
	return ask("GET", "h", "/p/q?z", lines) == 0;
}

static void conditions(void **state)
{
	const __u8 x = WEFT_VALUE__HEADERS, inv = WEFT_COND_INVERT, empty = WEFT_COND_MISSING_AS_EMPTY;
	struct weft_img_cond range = { .kind = WEFT_COND_RANGE, .slot = x, .start = -10, .end = 10 };
	static const struct { const char *v; int in; } n[] = {
		{ "-10", 1 }, { "10", 0 }, { "9", 1 }, { "+5", 1 }, { "007", 1 }, { "-0", 1 }, { "1.5", 0 },
		{ "5 apples", 0 }, { "", 0 }, { "99999999999999999999", 0 }, { "-", 0 },
		{ "0000000000000000000000000000000000000007", 1 },
	};
	char line[128];

	(void)state;
	for (size_t i = 0; i < sizeof(n) / sizeof(n[0]); i++) {
		snprintf(line, sizeof(line), "X: %s\r\n", n[i].v);
		assert_int_equal(holds(range, line), n[i].in);
	}
	range.start = INT64_MIN;
	range.end = INT64_MAX;
	assert_true(holds(range, "X: -9223372036854775808\r\n"));
	assert_false(holds(range, "X: 9223372036854775807\r\n"));
	assert_false(holds(range, "X: 9223372036854775808\r\n"));
	range.flags = inv;
	assert_true(holds(range, "X: abc\r\n"));
	assert_false(holds(range, ""));

	assert_true(holds(cond(WEFT_COND_PRESENT, x, "", 0), "x:\r\n"));
	assert_false(holds(cond(WEFT_COND_PRESENT, x, "", 0), ""));
	assert_true(holds(cond(WEFT_COND_PRESENT, x, "", inv), ""));
	assert_false(holds(cond(WEFT_COND_PRESENT, x, "", inv), "x: 1\r\n"));
	assert_true(holds(cond(WEFT_COND_PRESENT, x, "", empty), ""));
	assert_true(holds(cond(WEFT_COND_EXACT, x, "v", inv), "x: w\r\n"));
	assert_false(holds(cond(WEFT_COND_EXACT, x, "v", inv), "x: v\r\n"));
	assert_false(holds(cond(WEFT_COND_EXACT, x, "v", inv), ""));
	assert_true(holds(cond(WEFT_COND_EXACT, x, "v", inv | empty), ""));
	assert_true(holds(cond(WEFT_COND_EXACT, x, "", empty), ""));
	assert_true(holds(cond(WEFT_COND_EXACT, x, "", 0), "x:\r\n"));
	assert_false(holds(cond(WEFT_COND_EXACT, x, "", 0), "x: a\r\n"));
	assert_true(holds(cond(WEFT_COND_PREFIX, x, "abcdefghij", 0), "x: abcdefghijk\r\n"));
	assert_false(holds(cond(WEFT_COND_PREFIX, x, "abcdefghij", 0), "x: abcdefghiJk\r\n"));
	assert_true(holds(cond(WEFT_COND_SUFFIX, x, "yz", WEFT_COND_IGNORE_CASE), "x: abcYZ\r\n"));
	assert_true(holds(cond(WEFT_COND_CONTAINS, x, "needle-in-hay", 0), "x: a needle-in-hay b\r\n"));
	assert_false(holds(cond(WEFT_COND_CONTAINS, x, "needle-in-hay", 0), "x: a needle-in-ha\r\n"));
	/* lines of one name, each for itself */
	assert_true(holds(cond(WEFT_COND_EXACT, x, "b", 0), "x: a\r\nX: b\r\n"));
	assert_true(holds(cond(WEFT_COND_EXACT, x, "b", 0), "x: b\r\nX: a\r\n"));
	assert_false(holds(cond(WEFT_COND_EXACT, x, "a,b", 0), "x: a\r\nX: b\r\n"));
	assert_false(holds(cond(WEFT_COND_EXACT, x, "b", inv), "x: a\r\nX: b\r\n"));
	assert_true(holds(cond(WEFT_COND_EXACT, x, "b", inv), "x: a\r\nX: c\r\n"));
	/* the request's own values */
	assert_true(holds(cond(WEFT_COND_EXACT, WEFT_VALUE_METHOD, "GET", 0), ""));
	assert_true(holds(cond(WEFT_COND_EXACT, WEFT_VALUE_PATH, "/p/q?z", 0), ""));
	assert_true(holds(cond(WEFT_COND_EXACT, WEFT_VALUE_HOST, "h", 0), ""));
	assert_true(holds(cond(WEFT_COND_EXACT, WEFT_VALUE_SCHEME, "http", 0), ""));
	assert_true(holds(cond(WEFT_COND_EXACT, WEFT_VALUE_SCHEME, "https", 0), "X-Forwarded-Proto: https\r\n"));
	assert_true(holds(cond(WEFT_COND_SEPARATED, WEFT_VALUE_PATH, "/p", 0), ""));
	assert_true(holds(cond(WEFT_COND_SEPARATED, WEFT_VALUE_PATH, "/p/q", 0), ""));
	assert_false(holds(cond(WEFT_COND_SEPARATED, WEFT_VALUE_PATH, "/p/", 0), ""));
}

static void first_match_wins(void **state)
{
	__u32 d = fix_direct(fix_reply(200, "", ""));
	struct fix_route f[5] = {
		{ "/a/b", 1, fix_put(FIX_AT(struct weft_img_route, d), sizeof(struct weft_img_route), 0), 0 },
		{ "/a", 0, fix_put(FIX_AT(struct weft_img_route, d), sizeof(struct weft_img_route), 0), 1 },
		{ "/a/b/c", 0, fix_put(FIX_AT(struct weft_img_route, d), sizeof(struct weft_img_route), 0), 0 },
		{ "/a", 0, fix_put(FIX_AT(struct weft_img_route, d), sizeof(struct weft_img_route), 0), 0 },
		{ "/", 0, d, 0 },
	};
	struct weft_img_cond c;

	(void)state;
	fix_world_open(&w);
	fix_name(&w, "x");
	c = cond(WEFT_COND_EXACT, WEFT_VALUE__HEADERS, "1", 0);
	fix_conds(f[1].route, &c, 1);
	fix_domain(&w, "*", fix_vhost("v", f, 5));
	fix_publish(&w);
	assert_int_equal(ask("GET", "h", "/a/b", ""), 0);
	assert_int_equal(ask("GET", "h", "/a/b?q", ""), 0);
	assert_int_equal(ask("GET", "h", "/a/b/", "x: 1\r\n"), 1);
	assert_int_equal(ask("GET", "h", "/a/b/", ""), 3);
	assert_int_equal(ask("GET", "h", "/a/b/c", ""), 2);
	assert_int_equal(ask("GET", "h", "/a/b/cd", "x: 1\r\n"), 1);
	assert_int_equal(ask("GET", "h", "/abc", ""), 3);
	assert_int_equal(ask("GET", "h", "/b", "x: 1\r\n"), 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(domains), cmocka_unit_test(long_hosts), cmocka_unit_test(ports),
		cmocka_unit_test(conditions), cmocka_unit_test(first_match_wins),
	};

	fix_open();
	r = fix_req_new();
	int e = cmocka_run_group_tests(tests, NULL, NULL);

	free(r);
	fix_close();
	return e;
}
