// SPDX-License-Identifier: Apache-2.0

/* The order of a decision: route, filters with their most specific configuration, then the router. */

#include "test/unit/image_fixture.h"
#include "bpf/abi/rate.h"

#define KEY 42u

static struct fix_world w;
static struct fix_req *r;
static __u32 filter, route[4], vh;

static __u32 rate(__u32 id, __u32 tokens, __u32 enforced)
{
	struct weft_img_rate_limit l = {
		.bucket = { .cell = id, .max_tokens = tokens, .cost = 1ull << 50, .full = tokens * (1ull << 50) },
		.flags = WEFT_RATE_HAS_BUCKET, .enabled = 1000000, .enforced = enforced,
		.reply = fix_reply(429, "", "local_rate_limited"), .add = enforced ? 0 : 4096,
	};

	return FIX_PUT(l);
}

static __u32 override(__u32 config, __u32 disabled)
{
	struct weft_img_override o = { .key = KEY, .kind = WEFT_FILTER_LOCAL_RATE_LIMIT,
				       .config = config, .disabled = disabled };

	return FIX_PUT(o);
}

static void world(__u32 filter_config)
{
	struct weft_img_filter f = { .key = KEY, .kind = WEFT_FILTER_LOCAL_RATE_LIMIT,
				     .config = filter_config };
	struct fix_route t[4];

	fix_world_open(&w);
	w.cluster[0] = (struct weft_img_cluster_ref){ fix_cluster(WEFT_LB_RANDOM, 1), fix_endpoints(1, NULL, 2) };
	w.cluster[1] = (struct weft_img_cluster_ref){ fix_cluster(WEFT_LB_RANDOM, 3), 0 };
	w.n_cluster = 2;
	t[0] = (struct fix_route){ "/fwd", 0, fix_forward(0), 0 };
	t[1] = (struct fix_route){ "/dir", 0, fix_direct(fix_reply(200, "", "")), 0 };
	t[2] = (struct fix_route){ "/dead", 0, fix_forward(1), 0 };
	t[3] = (struct fix_route){ "/gone", 0, fix_forward(7), 0 };
	vh = fix_vhost("v", t, 4);
	for (int i = 0; i < 4; i++)
		route[i] = t[i].route;
	fix_domain(&w, "h", vh);
	filter = FIX_PUT(f);
	FIX_AT(struct weft_img_hcm, w.hcm)->filter = filter;
	FIX_AT(struct weft_img_hcm, w.hcm)->n_filter = 1;
	fix_publish(&w);
}

static __u32 get(const char *path)
{
	char head[256];

	snprintf(head, sizeof(head), "GET %s HTTP/1.1\r\nHost: h\r\n\r\n", path);
	return fix_decide(&w, r, head);
}

static void router(void **state)
{
	(void)state;
	world(0);
	assert_int_equal(get("/fwd"), WEFT_OUTCOME_FORWARD);
	assert_int_equal(r->req.dec.cluster, w.cluster[0].cluster);
	assert_int_equal(get("/dir"), WEFT_OUTCOME_DIRECT_RESPONSE);
	assert_int_equal(get("/dead"), WEFT_OUTCOME_NO_HEALTHY_UPSTREAM);
	assert_int_equal(FIX_AT(struct weft_img_reply, r->req.dec.reply)->status, 503);
	assert_int_equal(get("/gone"), WEFT_OUTCOME_NO_CLUSTER);
	assert_int_equal(get("/"), WEFT_OUTCOME_NO_ROUTE);
	FIX_AT(struct weft_img_hcm, w.hcm)->flags |= WEFT_HCM_NO_ROUTER;
	assert_int_equal(get("/dir"), WEFT_OUTCOME_NO_ROUTE);
	assert_int_equal(fix_decide(&w, r, "CONNECT h:80 HTTP/1.1\r\nHost: h\r\n\r\n"), WEFT_OUTCOME_NO_ROUTE);
}

static void limit_comes_before_the_router(void **state)
{
	struct weft_cell_bucket *c;

	(void)state;
	world(rate(20, 2, 1000000));
	c = weft_cell_bucket(fix_cell(20));
	assert_int_equal(get("/dir"), WEFT_OUTCOME_DIRECT_RESPONSE);
	assert_int_equal(r->req.dec.n_paid, 1);
	assert_int_equal(get("/"), WEFT_OUTCOME_NO_ROUTE); /* pays, too */
	assert_int_equal(get("/"), WEFT_OUTCOME_RATE_LIMITED);
	assert_int_equal(get("/dir"), WEFT_OUTCOME_RATE_LIMITED);
	assert_int_equal(c->enabled, 4);
	assert_int_equal(c->ok, 2);
	assert_int_equal(c->rate_limited, 2);
	assert_int_equal(c->enforced, 2);
}

static void most_specific_wins(void **state)
{
	(void)state;
	world(0);
	FIX_AT(struct weft_img_route_config, w.rc)->override = override(rate(31, 1, 1000000), 0);
	FIX_AT(struct weft_img_route_config, w.rc)->n_override = 1;
	FIX_AT(struct weft_img_vhost, vh)->override = override(rate(32, 1, 1000000), 0);
	FIX_AT(struct weft_img_vhost, vh)->n_override = 1;
	FIX_AT(struct weft_img_route, route[1])->override = override(rate(33, 1, 1000000), 0);
	FIX_AT(struct weft_img_route, route[1])->n_override = 1;
	for (__u32 i = 31; i < 35; i++)
		fix_cell(i);
	assert_int_equal(get("/fwd"), WEFT_OUTCOME_FORWARD); /* the virtual host's */
	assert_int_equal(get("/fwd"), WEFT_OUTCOME_RATE_LIMITED);
	assert_int_equal(get("/dir"), WEFT_OUTCOME_DIRECT_RESPONSE); /* the route's own */
	assert_int_equal(get("/dir"), WEFT_OUTCOME_RATE_LIMITED);
	assert_int_equal(get("/dead"), WEFT_OUTCOME_RATE_LIMITED);
	assert_int_equal(get("/"), WEFT_OUTCOME_NO_ROUTE); /* no route, no override */
	/* the weighted cluster's is nearer than the route's */
	__u32 t = FIX_AT(struct weft_img_forward, FIX_AT(struct weft_img_route, route[0])->action)->targets +
		  (__u32)sizeof(struct weft_img_targets);

	FIX_AT(struct weft_img_target, t)->override = override(0, 1);
	FIX_AT(struct weft_img_target, t)->n_override = 1;
	assert_int_equal(get("/fwd"), WEFT_OUTCOME_FORWARD);
	/* a filter that is off until an override turns it on */
	FIX_AT(struct weft_img_filter, filter)->disabled = 1;
	assert_int_equal(get("/dir"), WEFT_OUTCOME_RATE_LIMITED);
}

/* Is there what a refusal of GET /fwd can be made of again? It has an empty bucket for that. */
static int repeats(void)
{
	assert_int_equal(get("/fwd"), WEFT_OUTCOME_RATE_LIMITED);
	return r->req.dec.empty_cell && !r->req.dec.drew;
}

static void what_a_refusal_hangs_on(void **state)
{
	struct weft_img_cond all = {.kind = WEFT_COND_FRACTION, .start = 1, .end = 1};
	struct weft_img_filter two[2] = {{.key = KEY, .kind = WEFT_FILTER_LOCAL_RATE_LIMIT},
					 {.key = KEY + 1, .kind = WEFT_FILTER_LOCAL_RATE_LIMIT}};
	struct weft_img_rate_limit *l;
	struct weft_img_targets *t;
	struct fix_route share;
	__u32 empty;

	(void)state;
	world(0);
	empty = rate(150, 0, 1000000);
	FIX_AT(struct weft_img_filter, filter)->config = empty;
	fix_cell(150);
	fix_cell(151);
	l = FIX_AT(struct weft_img_rate_limit, empty);
	assert_true(repeats());
	assert_int_equal(r->req.dec.empty_cell, fix_cell(150));
	assert_int_equal(r->req.dec.empty_bucket,
			 empty + offsetof(struct weft_img_rate_limit, bucket));
	/* draws: of the cluster, of the route */
	t = FIX_AT(struct weft_img_targets,
		   FIX_AT(struct weft_img_forward, FIX_AT(struct weft_img_route, route[0])->action)
			   ->targets);
	t->n = 2;
	assert_false(repeats());
	t->n = 1;
	assert_true(repeats());
	share = (struct fix_route){ "/fwd", 0, fix_forward(0), 1 };
	fix_conds(share.route, &all, 1);
	fix_domain(&w, "share", fix_vhost("share", &share, 1));
	fix_publish(&w);
	assert_int_equal(fix_decide(&w, r, "GET /fwd HTTP/1.1\r\nHost: share\r\n\r\n"), WEFT_OUTCOME_RATE_LIMITED);
	assert_int_equal(r->req.dec.drew, 1);
	/* ... and of the filter itself */
	l->enabled = 999999;
	while (get("/fwd") != WEFT_OUTCOME_RATE_LIMITED)
		continue;
	assert_int_equal(r->req.dec.empty_cell, 0);
	l->enabled = 1000000;
	l->enforced = 999999;
	while (get("/fwd") != WEFT_OUTCOME_RATE_LIMITED)
		continue;
	assert_int_equal(r->req.dec.empty_cell, 0);
	l->enforced = 1000000;
	assert_true(repeats());
	/* a filter in front of it that counts, and pays */
	two[0].config = rate(151, 100, 1000000);
	two[1].config = empty;
	FIX_AT(struct weft_img_hcm, w.hcm)->filter = FIX_PUT(two);
	FIX_AT(struct weft_img_hcm, w.hcm)->n_filter = 2;
	assert_false(repeats());
	/* one that does nothing here is none */
	FIX_AT(struct weft_img_filter, FIX_AT(struct weft_img_hcm, w.hcm)->filter)->config = 0;
	assert_true(repeats());
	/* what is not refused has nothing to repeat */
	l->bucket.max_tokens = 1;
	l->bucket.full = 1ull << 50;
	assert_int_equal(get("/fwd"), WEFT_OUTCOME_FORWARD);
	assert_int_equal(r->req.dec.empty_cell, 0);
}

static void shadow(void **state)
{
	(void)state;
	world(rate(40, 0, 0));
	fix_cell(40);
	assert_int_equal(get("/fwd"), WEFT_OUTCOME_FORWARD);
	assert_int_equal(r->req.dec.n_add, 1);
	assert_int_equal(r->req.dec.add[0], 4096);
	assert_int_equal(weft_cell_bucket(fix_cell(40))->rate_limited, 1);
	assert_int_equal(weft_cell_bucket(fix_cell(40))->enforced, 0);
}

static void missing_cell(void **state)
{
	static const char head[] = "GET /fwd HTTP/1.1\r\nHost: h\r\n\r\n";

	(void)state;
	world(rate(50, 1, 1000000));
	assert_int_equal(weft_req_begin(&r->req, &w.ctx, w.chain), 0);
	assert_int_equal(fix_parse(r, head, sizeof(head) - 1), 0);
	assert_int_equal(weft_decide(&r->req, &w.ctx), -ENOENT);
	assert_int_equal(r->req.dec.need_cell, 50);
	w.ctx.flags = WEFT_CTX_EXPLAIN; /* needs none */
	assert_int_equal(weft_decide(&r->req, &w.ctx), 0);
	w.ctx.flags = 0;
	fix_cell(50);
	assert_int_equal(weft_decide(&r->req, &w.ctx), 0);
	assert_int_equal(r->req.dec.outcome, WEFT_OUTCOME_FORWARD);
	w.ctx.flags = WEFT_CTX_EXPLAIN; /* sees the empty bucket, takes nothing */
	assert_int_equal(weft_decide(&r->req, &w.ctx), 0);
	assert_int_equal(r->req.dec.outcome, WEFT_OUTCOME_RATE_LIMITED);
	assert_int_equal(weft_cell_bucket(fix_cell(50))->enabled, 1);
	w.ctx.flags = 0;
}

static void paid_once(void **state)
{
	(void)state;
	world(rate(60, 1, 1000000));
	fix_cell(60);
	assert_int_equal(get("/fwd"), WEFT_OUTCOME_FORWARD);
	w.ctx.n_prepaid = 1;
	w.ctx.prepaid[0] = r->req.dec.paid[0];
	assert_int_equal(get("/fwd"), WEFT_OUTCOME_FORWARD);
	assert_int_equal(r->req.dec.n_paid, 1);
	assert_int_equal(weft_cell_bucket(fix_cell(60))->enabled, 1);
	w.ctx.n_prepaid = 0;
	assert_int_equal(get("/fwd"), WEFT_OUTCOME_RATE_LIMITED);
}

static void per_connection(void **state)
{
	__u32 c = rate(70, 1, 1000000);
	struct weft_conn_limits a = { 0 }, b = { 0 };

	(void)state;
	FIX_AT(struct weft_img_rate_limit, c)->flags |= WEFT_RATE_PER_CONNECTION;
	world(c);
	fix_cell(70);
	w.ctx.conn = &a;
	assert_int_equal(get("/fwd"), WEFT_OUTCOME_FORWARD);
	assert_int_equal(r->req.dec.n_paid, 0);
	assert_int_equal(get("/fwd"), WEFT_OUTCOME_RATE_LIMITED);
	w.ctx.conn = &b;
	assert_int_equal(get("/fwd"), WEFT_OUTCOME_FORWARD);
}

static void breaker(void **state)
{
	struct weft_cell_cluster *c;

	(void)state;
	world(0);
	c = weft_cell_cluster(fix_cell(1));
	FIX_AT(struct weft_img_cluster, w.cluster[0].cluster)->threshold[0].max_requests = 2;
	FIX_AT(struct weft_img_cluster, w.cluster[0].cluster)->threshold[0].max_pending = 1;
	c->cx_idle = 1;
	c->rq_active[0] = 2;
	assert_int_equal(get("/fwd"), WEFT_OUTCOME_FORWARD); /* the agent takes places itself */
	w.ctx.flags = WEFT_CTX_KERNEL;
	assert_int_equal(get("/fwd"), WEFT_OUTCOME_OVERFLOW);
	c->rq_active[0] = 1;
	c->rq_pending[0] = 1;
	assert_int_equal(get("/fwd"), WEFT_OUTCOME_FORWARD);
	c->cx_idle = 0;
	assert_int_equal(get("/fwd"), WEFT_OUTCOME_OVERFLOW);
	assert_int_equal(c->rq_overflow, 1);
	assert_int_equal(c->pending_overflow, 1);
}

static void upgrades(void **state)
{
	static const char ws[] = "GET /fwd HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: WebSocket\r\n\r\n";
	struct weft_img_str type;
	struct weft_img_upgrade off;
	__u32 f;

	(void)state;
	world(0);
	assert_int_equal(fix_decide(&w, r, ws), WEFT_OUTCOME_UPGRADE_FAILED);
	type = fix_str("websocket");
	FIX_AT(struct weft_img_hcm, w.hcm)->upgrade = FIX_PUT(type);
	FIX_AT(struct weft_img_hcm, w.hcm)->n_upgrade = 1;
	assert_int_equal(fix_decide(&w, r, ws), WEFT_OUTCOME_FORWARD);
	off = (struct weft_img_upgrade){ .type = type, .enabled = 0 };
	f = FIX_AT(struct weft_img_route, route[0])->action;
	FIX_AT(struct weft_img_forward, f)->upgrade = FIX_PUT(off);
	FIX_AT(struct weft_img_forward, f)->n_upgrade = 1;
	assert_int_equal(fix_decide(&w, r, ws), WEFT_OUTCOME_UPGRADE_FAILED);
}

static int steps;

static void count_step(void *ctx, const char *step, const char *fmt, ...)
{
	(void)ctx;
	assert_non_null(step);
	assert_non_null(fmt);
	steps++;
}

static void explained(void **state)
{
	(void)state;
	world(0);
	r->req.trace = count_step;
	assert_int_equal(get("/fwd"), WEFT_OUTCOME_FORWARD);
	r->req.trace = NULL;
	assert_true(steps >= 4); /* domain, virtual host, route, cluster */
}

static void changed_path(void **state)
{
	static const char head[] = "GET /x/../fwd?q HTTP/1.1\r\nHost: h\r\n\r\n";
	__u8 *at = r->head + 1000;
	int n;

	(void)state;
	world(0);
	FIX_AT(struct weft_img_hcm, w.hcm)->flags |= WEFT_HCM_NORMALIZE_PATH;
	assert_int_equal(weft_req_begin(&r->req, &w.ctx, w.chain), 0);
	assert_int_equal(fix_parse(r, head, sizeof(head) - 1), 0);
	assert_true(r->req.flags & WEFT_REQ_PATH_ODD);
	n = weft_path_normalize(r->req.head + r->req.value[WEFT_VALUE_PATH].off,
				r->req.value[WEFT_VALUE_PATH].len, at, 100, true, false);
	assert_int_equal(n, 6);
	assert_int_equal(weft_req_set_path(&r->req, at, (__u32)n), 0);
	assert_int_equal(weft_decide(&r->req, &w.ctx), 0);
	assert_int_equal(r->req.dec.outcome, WEFT_OUTCOME_FORWARD);
	assert_int_equal(weft_req_set_path(&r->req, "x", 1), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(router),
		cmocka_unit_test(limit_comes_before_the_router),
		cmocka_unit_test(most_specific_wins),
		cmocka_unit_test(what_a_refusal_hangs_on),
		cmocka_unit_test(shadow),
		cmocka_unit_test(missing_cell),
		cmocka_unit_test(paid_once),
		cmocka_unit_test(per_connection),
		cmocka_unit_test(breaker),
		cmocka_unit_test(upgrades),
		cmocka_unit_test(explained),
		cmocka_unit_test(changed_path),
	};

	fix_open();
	r = fix_req_new();
	int e = cmocka_run_group_tests(tests, NULL, NULL);

	free(r);
	fix_close();
	return e;
}
