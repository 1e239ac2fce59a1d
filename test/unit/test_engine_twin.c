// SPDX-License-Identifier: Apache-2.0

/*
 * One engine, two machines: generated and damaged heads are decided by the program (BPF_PROG_TEST_RUN) and natively,
 * on the same memory. What the program decides, the native engine decides alike; what it does not, it hands over.
 * Needs CAP_BPF; skipped visibly without.
 */

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>
#include <time.h>

#include "agent/regex/regex.h"
#include "test/lib/twin.h"
#include "test/unit/image_fixture.h"
#include "twin.skel.h"
#include "bpf/abi/rate.h"

static struct twin_bpf *twin;
static struct fix_world world;
static __u32 bucket_off;

static void *map_memory(struct bpf_map *map, size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(map), 0);

	assert_true(p != MAP_FAILED);
	return p;
}

static int load(void)
{
	libbpf_set_print(NULL);
	twin = twin_bpf__open();
	if (!twin)
		return -1;
	bpf_map__set_value_size(twin->maps.image, FIX_IMG_SIZE + WEFT_IMAGE_SLACK);
	bpf_map__set_value_size(twin->maps.state, FIX_STATE_SIZE + WEFT_STATE_SLACK);
	twin->rodata->img_mask = FIX_IMG_SIZE - 1;
	twin->rodata->state_mask = FIX_STATE_SIZE - 1;
	return twin_bpf__load(twin);
}

/* ---- the configuration ---- */

static struct weft_img_cond cond(__u8 kind, __u8 slot, const char *str, __u8 flags)
{
	struct weft_img_str s = fix_str(str);

	return (struct weft_img_cond){ .kind = kind, .slot = slot, .flags = flags, .str = s.off,
				       .len = s.len };
}

static __u32 limited(__u32 route, __u32 id)
{
	struct weft_img_rate_limit l = {
		.bucket = { .cell = id, .max_tokens = 1, .cost = 16000000000ull, .full = 16000000000ull },
		.flags = WEFT_RATE_HAS_BUCKET, .enabled = 1000000, .enforced = 1000000,
		.reply = fix_reply(429, "", "local_rate_limited")
	};
	struct weft_img_override o = { .key = 77, .kind = WEFT_FILTER_LOCAL_RATE_LIMIT };

	o.config = FIX_PUT(l);
	bucket_off = o.config + (__u32)offsetof(struct weft_img_rate_limit, bucket);
	FIX_AT(struct weft_img_route, route)->n_override = 1;
	FIX_AT(struct weft_img_route, route)->override = FIX_PUT(o);
	return route;
}

static __u32 redirect(__u32 flags, const char *scheme, const char *host, const char *path, __u32 port,
		      __u32 matched)
{
	struct weft_img_redirect d = { .reply = fix_reply(301, "", ""), .flags = flags,
				       .scheme = fix_str(scheme), .host = fix_str(host),
				       .path = fix_str(path), .port = port, .matched_len = matched };
	struct weft_img_route r = { .name = fix_str("r"), .action_kind = WEFT_ACTION_REDIRECT };

	r.action = FIX_PUT(d);
	return FIX_PUT(r);
}

#define RBAC_ID ((__u32)WEFT_CELL_FILTER << WEFT_ID_KIND_SHIFT | 5u)
/* Denied: a path under /kind with x-kind alpha and no accept-language, or what x-forwarded-for says. */
static __u32 rbac(__u8 x, __u8 y)
{
	const __u32 end = WEFT_RULES_END;
	struct weft_img_cond c[3] = { cond(WEFT_COND_PREFIX, 0, "/kind", 0), cond(WEFT_COND_CONTAINS, x, "alph", 0),
				      cond(WEFT_COND_PRESENT, y, "", 0) };
	struct weft_img_policy p = { .name = fix_str("p"), .reply = fix_reply(403, "", "RBAC: access denied") };
	struct weft_img_test t[5] = {
		{ .kind = WEFT_TEST_COND, .yes = 1, .no = 3 },
		{ .kind = WEFT_TEST_COND, .yes = 2, .no = 3 },
		{ .kind = WEFT_TEST_COND, .yes = 3, .no = end | 1 },
		{ .kind = WEFT_TEST_PORT, .start = 80, .end = 81, .yes = 4, .no = end | 1 },
		{ .kind = WEFT_TEST_REMOTE, .v4 = 1, .slot = fix_name(&world, "x-forwarded-for"), .yes = end | 1,
		  .no = end, .addr.w = { 0, 0, htonl(0xffff), htonl(0x09090000) },
		  .mask.w = { ~0u, ~0u, ~0u, htonl(0xffff0000) } },
	};
	struct weft_img_rules r = { .action = WEFT_RULES_DENY, .n = 5, .n_policy = 1 };
	struct weft_img_rbac b = { .cell = RBAC_ID };

	c[0].from = WEFT_FROM_PATH;
	for (int i = 0; i < 3; i++)
		t[i].cond = FIX_PUT(c[i]);
	r.test = FIX_PUT(t);
	r.policy = FIX_PUT(p);
	b.rules = b.shadow = FIX_PUT(r);
	return FIX_PUT(b);
}

#define FAULT_ID (RBAC_ID + 1)
static __u32 fault(__u8 x)
{
	struct weft_img_cond c = cond(WEFT_COND_EXACT, x, "gammaBETA", 0);
	struct weft_img_fault f = { .cell = FAULT_ID, .max_active = WEFT_FAULT_NO_MAX, .n_cond = 1,
				    .abort_kind = WEFT_FAULT_FIXED, .abort_status = 503,
				    .abort = { .numerator = 100, .denominator = 100 },
				    .delay = { .denominator = 100 },
				    .reply = fix_reply(503, "", "fault filter abort") };

	f.cond = FIX_PUT(c);
	return FIX_PUT(f);
}

static __u32 fix_regex(const char *pattern, int simulated)
{
	struct weft_regex_error error;
	struct weft_regex *re = NULL;
	void *bytes = NULL;
	size_t len = 0;
	__u32 off;

	assert_int_equal(weft_regex_new(pattern, UINT32_MAX, &re, &error), 0);
	assert_int_equal(simulated ? weft_regex_nfa(re, &bytes, &len) : weft_regex_dfa(re, 65536, &bytes, &len),
			 0);
	off = fix_put(bytes, len, 0);
	free(bytes);
	weft_regex_free(re);
	return off;
}

static void configure(void)
{
	__u8 x, y;
	struct weft_img_filter f = { .key = 77, .kind = WEFT_FILTER_LOCAL_RATE_LIMIT };
	__u32 direct = fix_reply(200, "content-type: text/plain\r\n", "hello"), v1, v2;

	fix_world_open(&world);
	x = fix_name(&world, "x-kind");
	y = fix_name(&world, "accept-language");
	struct weft_img_filter filters[3] = { f, { .key = 78, .kind = WEFT_FILTER_RBAC, .config = rbac(x, y) },
					      { .key = 79, .kind = WEFT_FILTER_FAULT, .config = fault(x) } };

	FIX_AT(struct weft_img_hcm, world.hcm)->filter = FIX_PUT(filters);
	FIX_AT(struct weft_img_hcm, world.hcm)->n_filter = 3;
	FIX_AT(struct weft_img_hcm, world.hcm)->flags = WEFT_HCM_NORMALIZE_PATH;
	world.cluster[0] = (struct weft_img_cluster_ref){ fix_cluster(WEFT_LB_ROUND_ROBIN, 1),
							  fix_endpoints(3, NULL, 10) };
	world.cluster[1] = (struct weft_img_cluster_ref){ fix_cluster(WEFT_LB_RANDOM, 2),
							  fix_endpoints(0, NULL, 20) };
	world.n_cluster = 3;
	struct fix_route r[] = {
		{ "/kind", 0, fix_forward(0), 1 },
		{ "/kind", 0, fix_forward(1), 1 },
		{ "/kind/sub", 0, fix_direct(direct), 1 },
		{ "/range", 1, fix_direct(direct), 1 },
		{ "/lim", 0, limited(fix_forward(0), 30), 0 },
		{ "/r1", 0, redirect(WEFT_REDIRECT_HTTPS, "", "", "", 0, 0), 0 },
		{ "/r2", 0, redirect(WEFT_REDIRECT_PATH, "ftp", "new.example", "/n?own", 81, 0), 0 },
		{ "/r3", 0, redirect(WEFT_REDIRECT_PREFIX, "", "", "/p", 8443, 3), 0 },
		{ "/r4", 0, redirect(WEFT_REDIRECT_STRIP_QUERY, "", "", "", 0, 0), 0 },
		{ "/none", 0, fix_forward(2), 0 },
		{ "/dead", 0, fix_forward(1), 0 },
		{ "/direct", 1, fix_direct(direct), 0 },
		{ "/made", 0, fix_direct(fix_reply(201, "", "made")), 0 },
		{ "/", 0, fix_forward(0), 1 },
		{ "/query", 0, fix_direct(direct), 1 },
		{ "/some", 0, fix_direct(direct), 1 },
		{ "/rpc", 0, fix_direct(direct), 1 },
		{ "/re", 0, fix_direct(direct), 1 },
		{ "/large", 0, fix_direct(direct), 1 },
	};
	/* without regard to case, behind the others */
	struct fix_route lower[] = {
		{ "/never", 0, fix_direct(direct), 0 },
		{ "/case/of/long/label", 0, fix_direct(direct), 1 },
		{ "/direct", 1, fix_direct(direct), 0 },
		{ "/kind/c", 0, fix_direct(direct), 0 },
	};
	struct weft_img_cond c[8] = { 0 };

	c[0] = cond(WEFT_COND_EXACT, x, "alpha", 0);
	c[1] = cond(WEFT_COND_PREFIX, y, "de", 0);
	fix_conds(r[0].route, c, 2);
	c[0] = cond(WEFT_COND_SUFFIX, x, "beta", WEFT_COND_IGNORE_CASE);
	fix_conds(r[1].route, c, 1);
	c[0] = cond(WEFT_COND_CONTAINS, x, "mid", 0);
	c[1] = cond(WEFT_COND_EXACT, WEFT_VALUE_METHOD, "POST", WEFT_COND_INVERT);
	fix_conds(r[2].route, c, 2);
	c[0] = (struct weft_img_cond){ .kind = WEFT_COND_RANGE, .slot = x, .start = -5, .end = 100 };
	fix_conds(r[3].route, c, 1);
	c[0] = cond(WEFT_COND_PRESENT, y, "", WEFT_COND_INVERT);
	fix_conds(r[13].route, c, 1);
	c[0] = (struct weft_img_cond){ .kind = WEFT_COND_EXACT, .from = WEFT_FROM_QUERY,
				       .str = fix_str("v").off, .len = 1,
				       .name = fix_str("k").off, .name_len = 1 };
	c[1] = (struct weft_img_cond){ .kind = WEFT_COND_PRESENT, .from = WEFT_FROM_QUERY,
				       .flags = WEFT_COND_INVERT, .name = fix_str("longer-than-8").off,
				       .name_len = 13 };
	fix_conds(r[14].route, c, 2);
	c[0] = (struct weft_img_cond){ .kind = WEFT_COND_FRACTION, .start = 30, .end = 100 };
	fix_conds(r[15].route, c, 1);
	c[0] = (struct weft_img_cond){ .kind = WEFT_COND_GRPC };
	fix_conds(r[16].route, c, 1);
	c[0] = cond(WEFT_COND_PRESENT, x, "", 0);
	fix_conds(lower[1].route, c, 1);
	c[0] = (struct weft_img_cond){ .kind = WEFT_COND_DFA, .from = WEFT_FROM_PATH,
				       .str = fix_regex("/re/[a-z]+(/x{2,4})?", 0) };
	c[1] = (struct weft_img_cond){ .kind = WEFT_COND_DFA, .from = WEFT_FROM_QUERY,
				       .flags = WEFT_COND_INVERT, .str = fix_regex("\\bv\\b.*", 0),
				       .name = fix_str("k").off, .name_len = 1 };
	fix_conds(r[17].route, c, 2);
	c[0] = (struct weft_img_cond){ .kind = WEFT_COND_NFA, .from = WEFT_FROM_PATH,
				       .str = fix_regex("/large/[a-z]+", 1) };
	fix_conds(r[18].route, c, 1);
	v1 = fix_vhost("v1", r, 19);
	FIX_AT(struct weft_img_vhost, v1)->trie_lower = fix_node(lower, 4, "");
	struct fix_route all = { "/", 0, fix_direct(direct), 0 };

	v2 = fix_vhost("v2", &all, 1);
	fix_domain(&world, "shop.example", v1);
	fix_domain(&world, "*.shop.example", v1);
	fix_domain(&world, "*-x.shop.example", v2);
	fix_domain(&world, "www.*", v1);
	fix_publish(&world);
	fix_cell(1);
	fix_cell(30);
	fix_cell(RBAC_ID);
	fix_cell(FAULT_ID);
}

/* ---- heads ---- */

static __u64 seed = 0x1234567;

static __u32 rnd(__u32 n)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (__u32)(seed >> 33) % n;
}
#define PICK(a) ((a)[rnd(sizeof(a) / sizeof((a)[0]))])

static size_t make_head(char *p)
{
	static const char *const method[] = { "GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE" };
	static const char *const path[] = {
		"/kind", "/kind/sub", "/kinds", "/range", "/range/", "/lim/1", "/r1?q=1", "/r2/x?y", "/r3/z?q",
		"/r4/a?b=c", "/none", "/dead", "/direct", "/direct/", "/made?a", "/", "/other/../x", "/k",
		"/%6b", "/r1#f", "*", "http://shop.example/kind",
		"/query?k=v", "/query?a=1&k=v&b", "/query?k=x&k=v", "/query?k", "/query?long-k=v&k=v",
		"/query?&&k=v&longer-than-8", "/query?longer-than-8=1&k=v", "/query?12345678&123456789=1&k=v",
		"/query?k=v=w", "/query?kk=v&", "/query?", "/some", "/some/other", "/rpc",
		"/re/a", "/re/abcdefgh?k=w", "/re/abcdefghi?k=v w", "/re/abcdefg/xx?k=vw", "/re/abcdefghij/xxxxx?k=1",
		"/re/aB?k=", "/re/", "/large/a", "/large/", "/re/abcdefgh/xxxx?k=", "/CASE/of/LONG/label/x", "/dIRECT", "/KIND/cx", "/Never", "/kind/C",
	};
	static const char *const host[] = {
		"shop.example", "SHOP.Example", "a.shop.example", "b-x.shop.example", "-x.shop.example",
		"www.org", "www.", "nobody", "shop.example:80", ".shop.example", "[::1]:80", "a b",
		"averyveryverylongname.with.many.labels.in.it.shop.example",
	};
	static const char *const line[] = {
		"X-Kind: alpha", "X-Kind: gammaBETA", "x-kind:   a mid b  ", "X-Kind: 7", "X-Kind: -6",
		"X-Kind: 007", "x-kind: 99999999999999999999", "Accept-Language: de,en", "accept-language: fr",
		"User-Agent: curl/7.88", "Connection: keep-alive", "Connection: close", "Content-Length: 0",
		"Content-Type: application/grpc", "Expect: 100-continue", "X-Forwarded-Proto: https",
		"X-Forwarded-Proto: http", "Accept: */*", "Cookie: a=b; c=d", "X-Long-Header-Name-For-Hash: v",
		"Transfer-Encoding: chunked", "TE: trailers", "X_Under: 1", "Keep-Alive: 5", "Upgrade: h2c",
		"X-Forwarded-For: 9.9.1.1",
	};
	size_t n = (size_t)sprintf(p, "%s %s HTTP/1.1\r\nHost: %s\r\n", PICK(method), PICK(path),
				   rnd(8) ? host[rnd(7)] : PICK(host));

	for (__u32 i = rnd(6); i; i--)
		n += (size_t)sprintf(p + n, "%s\r\n", rnd(2) ? line[rnd(13)] : PICK(line));
	n += (size_t)sprintf(p + n, "\r\n");
	if (!rnd(3))
		for (__u32 i = rnd(3) + 1; i; i--)
			p[rnd((__u32)n)] = (char)(rnd(2) ? (__u8)"\r\n: \t/?#.%\\"[rnd(11)] : rnd(256));
	if (!rnd(10))
		n = rnd((__u32)n) + 1;
	return n;
}

/* ---- comparison ---- */

static void reset_buckets(void)
{
	__u32 cell = fix_cell(30);

	/* half of the time the one token is gone */
	weft_cell_bucket(cell)->word = rnd(2) ? 0 : WEFT_BUCKET_EPOCH + world.ctx.now_ns * 16;
}

static int run(struct bpf_program *prog, const void *bytes, size_t len)
{
	char padded[4096] = { 0 };
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = padded, .data_size_in = (__u32)(len < 14 ? 14 : len),
		    .repeat = 1);

	memcpy(padded, bytes, len);
	assert_int_equal(bpf_prog_test_run_opts(bpf_program__fd(prog), &o), 0);
	return (int)o.retval;
}

static struct twin_io *io;
static struct weft_req_bpf *treq;

static void put_io(void)
{
	__u32 zero = 0;

	*io = (struct twin_io){ .chain = world.chain };
	io->ctx.pod = FIX_POD;
	io->ctx.dst = world.ctx.dst;
	io->ctx.now_ns = world.ctx.now_ns;
	io->ctx.random = 1 + rnd(1000000) * 7919ull;
	io->ctx.flags = WEFT_CTX_KERNEL;
	assert_int_equal(bpf_map__update_elem(twin->maps.twin_io, &zero, 4, io, sizeof(*io), 0), 0);
}

static void get_io(void)
{
	__u32 zero = 0, one = 1;

	assert_int_equal(bpf_map__lookup_elem(twin->maps.twin_io, &zero, 4, io, sizeof(*io), 0), 0);
	assert_int_equal(bpf_map__lookup_elem(twin->maps.twin_req, &zero, 4, treq, sizeof(*treq), 0), 0);
	assert_int_equal(bpf_map__lookup_elem(twin->maps.twin_req, &one, 4, treq + 1, sizeof(*treq), 0), 0);
}

static void compare_reply(struct fix_req *r)
{
	struct weft_reply_plan plan;
	static __u8 out[WEFT_REPLY_MAX * 2];

	assert_int_equal(weft_reply_plan(&r->req, &world.ctx, &plan), 0);
	if (io->plan)
		return; /* too long for the program */
	assert_int_equal(plan.total, io->rendered);
	weft_reply_write(&r->req, &plan, out);
	assert_memory_equal(out, treq[1].head, plan.total);
}

/* 1: the program decided. */
static int compare(struct fix_req *r, const char *head, size_t len)
{
	struct weft_ctx ctx = world.ctx;
	__u64 word;

	reset_buckets();
	word = weft_cell_bucket(fix_cell(30))->word;
	put_io();
	assert_true(run(twin->progs.twin_decide, head, len) >= 0);
	get_io();
	ctx.random = io->ctx.random;
	ctx.flags = WEFT_CTX_KERNEL;
	weft_cell_bucket(fix_cell(30))->word = word;
	assert_int_equal(weft_req_begin(&r->req, &ctx, world.chain), 0);
	int v = fix_parse(r, head, len);

	if (io->parse) {
		if (v == WEFT_PARSE_OK)
			assert_true(io->parse == WEFT_PARSE_UNSURE || io->parse == WEFT_PARSE_TOO_MANY);
		return 0;
	}
	assert_int_equal(v, WEFT_PARSE_OK);
	assert_int_equal(treq->hash, r->req.hash);
	assert_int_equal(treq->head_len, r->req.head_len);
	assert_int_equal(treq->n_field, r->req.n_field);
	assert_int_equal(treq->flags, r->req.flags);
	assert_int_equal(treq->present, r->req.present);
	assert_memory_equal(treq->field, r->req.field, r->req.n_field * sizeof(r->req.field[0]));
	if (treq->dec.handed)
		return 0;
	assert_int_equal(weft_decide(&r->req, &ctx), 0);
	assert_memory_equal(&treq->dec, &r->req.dec, offsetof(struct weft_decision, add));
	if (r->req.dec.reply)
		compare_reply(r);
	return 1;
}

static void same_decisions(void **state)
{
	struct fix_req *r = fix_req_new();
	static char head[8192];
	int decided = 0, n = 30000, outcomes[WEFT_OUTCOME__MAX] = { 0 };

	(void)state;
	for (int i = 0; i < n; i++)
		if (compare(r, head, make_head(head))) {
			decided++;
			outcomes[r->req.dec.outcome]++;
		}
	print_message("%d heads, %d decided by the program\n", n, decided);
	for (int i = 0; i < WEFT_OUTCOME__MAX; i++)
		if (outcomes[i])
			print_message("%s %d\n", weft_outcome_name((enum weft_outcome)i), outcomes[i]);
	assert_true(decided > n / 5);
	assert_true(outcomes[WEFT_OUTCOME_RATE_LIMITED] && outcomes[WEFT_OUTCOME_REDIRECT] &&
		    outcomes[WEFT_OUTCOME_NO_ROUTE] && outcomes[WEFT_OUTCOME_NO_CLUSTER] &&
		    outcomes[WEFT_OUTCOME_NO_HEALTHY_UPSTREAM] && outcomes[WEFT_OUTCOME_FORWARD] &&
		    outcomes[WEFT_OUTCOME_RBAC_DENIED] && outcomes[WEFT_OUTCOME_FAULT]);
	free(r);
}

/* ---- a bucket and the free lists, from both sides at once ---- */

#define TAKERS 4
#define TOKENS 20000u

static __u32 shared_bucket;
static int taken[TAKERS + 1];

static void *take_natively(void *arg)
{
	int *n = arg;
	__u32 cell = fix_cell(31);

	for (__u32 i = 0; i < TOKENS; i++) {
		struct timespec ts;

		clock_gettime(CLOCK_MONOTONIC, &ts);
		*n += weft_bucket_take(cell, FIX_AT(struct weft_img_bucket, shared_bucket),
				       (__u64)ts.tv_sec * 1000000000ull + (__u64)ts.tv_nsec);
	}
	return NULL;
}

static void exact_tokens(void **state)
{
	/* one token an hour: none is filled in while this runs */
	struct weft_img_bucket b = { .cell = 31, .max_tokens = TOKENS, .cost = 57600000000000ull };
	pthread_t t[TAKERS];
	int sum = 0;

	(void)state;
	b.full = b.cost * TOKENS;
	shared_bucket = FIX_PUT(b);
	put_io();
	io->bucket = shared_bucket;
	io->cell = fix_cell(31);
	assert_int_equal(bpf_map__update_elem(twin->maps.twin_io, &(__u32){ 0 }, 4, io, sizeof(*io), 0), 0);
	for (int i = 0; i < TAKERS; i++)
		assert_int_equal(pthread_create(&t[i], NULL, take_natively, &taken[i]), 0);
	for (__u32 i = 0; i < TOKENS; i++)
		taken[TAKERS] += run(twin->progs.twin_bucket, "x", 1);
	for (int i = 0; i < TAKERS; i++) {
		pthread_join(t[i], NULL);
		sum += taken[i];
	}
	print_message("natively %d, by the program %d\n", sum, taken[TAKERS]);
	assert_int_equal(sum + taken[TAKERS], TOKENS);
}

static void *cycle_natively(void *arg)
{
	int *bad = arg;

	for (int i = 0; i < 20000; i++) {
		__u32 s = weft_slot_get();

		if (!s)
			continue;
		if (__atomic_exchange_n(&weft_slot_at(s)->pod, 1, __ATOMIC_ACQ_REL))
			(*bad)++;
		__atomic_store_n(&weft_slot_at(s)->pod, 0, __ATOMIC_RELEASE);
		weft_slot_put(s);
	}
	return NULL;
}

static void one_owner(void **state)
{
	pthread_t t[2];
	int bad[2] = { 0 }, n = 0;

	(void)state;
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&t[i], NULL, cycle_natively, &bad[i]), 0);
	for (int i = 0; i < 10000; i++)
		run(twin->progs.twin_slot, "x", 1);
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	assert_int_equal(bad[0] + bad[1], 0);
	while (weft_slot_get())
		n++;
	assert_int_equal(n, 63);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(same_decisions),
		cmocka_unit_test(exact_tokens),
		cmocka_unit_test(one_owner),
	};
	int r = load();

	if (r == -EPERM || r == -EACCES) {
		print_message("SKIP: loading programs is not permitted here\n");
		return 0;
	}
	if (r) {
		print_message("the twin does not load: %d\n", r);
		return 1;
	}
	fix_open_on(map_memory(twin->maps.image, FIX_IMG_SIZE + WEFT_IMAGE_SLACK),
		    map_memory(twin->maps.state, FIX_STATE_SIZE + WEFT_STATE_SLACK));
	configure();
	io = calloc(1, sizeof(*io));
	treq = calloc(2, sizeof(*treq));
	r = cmocka_run_group_tests(tests, NULL, NULL);
	free(io);
	free(treq);
	twin_bpf__destroy(twin);
	return r;
}
