// SPDX-License-Identifier: Apache-2.0
/*
 * Descriptors of local rate limits by the program and natively: random limits, rules and requests;
 * each request is decided for one pod in the kernel (what that hands over natively, with what it
 * paid) and for another natively, and both must come to the same, request after request, as long as
 * their buckets are the same. WEFT_LIMITS: how many configurations (150), WEFT_SEED: the first.
 * Needs CAP_BPF; skipped visibly without.
 */
#include <arpa/inet.h>

#include "agent/proxy/rates.h"
#include "test/unit/twin_fixture.h"

enum { PODS = 2, ASKED = 60 };
#define NATIVE_POD 1u
#define KERNEL_POD 2u

static uint64_t seed;
static uint32_t judged, handed, refused, in_force;
static uint32_t why[WEFT_HANDED__MAX];

static uint32_t rnd(uint32_t n)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(seed >> 33) % n;
}

/* ---- configurations ---- */

static const char *const keys[] = {"k", "l", "generic_key", "remote_address"};
static const char *const values[] = {"a", "b", "abcdefgh", "abcdefghi", "10.1.0.1", "c", "/p", "m"};
#define PICK(list) list[rnd(sizeof(list) / sizeof(*(list)))]

static void condition_put(FILE *f, const char *name)
{
	static const char *const how[] = {"string_match: {exact: %s}",
					  "string_match: {contains: %s}",
					  "string_match: {prefix: %s}"};

	fprintf(f, "{name: %s, ", name);
	fprintf(f, PICK(how), PICK(values));
	fputs("}", f);
}

static void action_put(FILE *f)
{
	static const char *const names[] = {"x-a", "X-B", ":path", "host", "x-forwarded-for"};
	static const char *const expect[] = {"", "expect_match: false, "};

	switch (rnd(9)) {
	case 0:
	case 1:
		fprintf(f, "{generic_key: {descriptor_key: %s, descriptor_value: %s}}", PICK(keys),
			PICK(values));
		break;
	case 2:
	case 3:
		fprintf(f,
			"{request_headers: {header_name: '%s', descriptor_key: %s, skip_if_absent: "
			"%s}}",
			PICK(names), PICK(keys), rnd(2) ? "true" : "false");
		break;
	case 4:
		fprintf(f, "{query_parameters: {query_parameter_name: %s, descriptor_key: %s}}",
			rnd(3) ? "q" : "'q&'", PICK(keys));
		break;
	case 5:
		fputs(rnd(3) ? "{remote_address: {}}" : "{destination_cluster: {}}", f);
		break;
	case 6:
		fprintf(f, "{masked_remote_address: {v4_prefix_mask_len: %u}}", 8 * (1 + rnd(3)));
		break;
	case 7:
		fprintf(f, "{header_value_match: {%sdescriptor_value: %s, headers: [", PICK(expect),
			PICK(values));
		condition_put(f, "x-a");
		fputs(rnd(2) ? "]}}" : ", {name: x-c, present_match: true}]}}", f);
		break;
	default:
		fprintf(f,
			"{query_parameter_value_match: {%sdescriptor_value: %s, query_parameters: "
			"[",
			PICK(expect), PICK(values));
		condition_put(f, "q");
		fputs("]}}", f);
	}
}

static void rules_put(FILE *f, const char *name, bool own)
{
	uint32_t n = rnd(4);

	fprintf(f, "%s: [", name);
	for (uint32_t i = 0; i < n; i++) {
		fprintf(f, "%s{actions: [", i ? ", " : "");
		for (uint32_t k = 0, m = 1 + rnd(3); k < m; k++) {
			fputs(k ? ", " : "", f);
			action_put(f);
		}
		fprintf(f, "]%s", rnd(8) ? "" : ", stage: 1");
		if (own)
			fprintf(f, ", hits_addend: {number: %u}", rnd(3));
		fputs("}", f);
	}
	fputs("], ", f);
}

static void descriptors_put(FILE *f)
{
	static const char *const others[] = {"{key: masked_remote_address, value: 10.0.0.0/8}",
					     "{key: masked_remote_address, value: 10.1.0.0/16}",
					     "{key: header_match, value: a}",
					     "{key: header_match, value: m}",
					     "{key: query_match, value: b}",
					     "{key: destination_cluster, value: c}",
					     "{key: remote_address, value: 10.1.0.1}"};

	for (uint32_t i = 0, n = 1 + rnd(12); i < n; i++) {
		fprintf(f, "%s{entries: [", i ? ", " : "");
		for (uint32_t k = 0, m = 1 + rnd(3); k < m; k++) {
			fputs(k ? ", " : "", f);
			if (rnd(2))
				fputs(PICK(others), f);
			else if (rnd(12))
				fprintf(f, "{key: %s, value: %s}", PICK(keys), PICK(values));
			else
				fprintf(f, "{key: %s}", PICK(keys));
		}
		fprintf(f, "], token_bucket: {max_tokens: %u, fill_interval: %us}%s}", rnd(6),
			3600 + 100 * rnd(3), rnd(5) ? "" : ", shadow_mode: true");
	}
}

static char *yaml_make(void)
{
	char *yaml = NULL;
	size_t len;
	FILE *f = open_memstream(&yaml, &len);
	static const char *const more[] = {"", "", "use_remote_address: true, ",
					   "use_remote_address: true, xff_num_trusted_hops: 1, "};

	assert_non_null(f);
	fprintf(f,
		"- {" T("config.listener.v3.Listener") ", name: l, " AT_80
						       " filter_chains: [{filters: [{name: h, "
						       "typed_config: {" HCM_TYPE
						       ", stat_prefix: s, %s http_filters: [",
		PICK(more));
	for (uint32_t i = 0, n = 1 + rnd(2); i < n; i++) {
		fprintf(f,
			"{name: lrl%u, typed_config: {" LRL ", stat_prefix: rl, filter_enabled: " ON
			", filter_enforced: " ON ", ",
			i);
		if (rnd(2))
			fprintf(f, "token_bucket: {max_tokens: %u, fill_interval: 7200s}, ",
				20 + rnd(40));
		if (!rnd(3))
			fputs("always_consume_default_token_bucket: false, ", f);
		if (!rnd(3))
			fprintf(f, "vh_rate_limits: %s, ", rnd(2) ? "INCLUDE" : "IGNORE");
		if (!rnd(4))
			rules_put(f, "rate_limits", true);
		fputs("descriptors: [", f);
		descriptors_put(f);
		fputs("]}}, ", f);
	}
	fputs(ROUTER "], " RDS "}}]}]}\n- {" T(
		      "config.route.v3.RouteConfiguration") ", name: r, virtual_hosts: [{name: v, "
							    "domains: ['*'], ",
	      f);
	rules_put(f, "rate_limits", false);
	fputs("routes: [{match: {prefix: /p}, route: {cluster: c, ", f);
	rules_put(f, "rate_limits", false);
	fprintf(f, "include_vh_rate_limits: %s}}, {match: {prefix: /}, route: {cluster: c}}]}]}\n",
		rnd(2) ? "true" : "false");
	fputs("- {" T("config.cluster.v3.Cluster") ", name: c, type: STATIC}\n", f);
	fclose(f);
	return yaml;
}

/* ---- requests ---- */

struct asked {
	char path[64], lines[256];
	struct weft_sockaddr src;
};

static void ask_make(struct asked *a)
{
	static const char *const paths[] = {
		"/p", "/", "/p?q=a", "/p?q=b&q=a", "/p?q", "/p?x=%61&q=a", "/p?qq=a&q=abcdefgh"};
	static const char *const sources[] = {"10.1.0.1", "10.1.0.2", "10.200.255.1", "127.0.0.1",
					      "2001:db8::1"};

	strcpy(a->path, PICK(paths));
	*a->lines = '\0';
	if (rnd(3))
		sprintf(a->lines, "X-A: %s\r\n", PICK(values));
	if (rnd(2))
		sprintf(a->lines + strlen(a->lines), "x-b: %s\r\n", PICK(values));
	if (!rnd(12))
		strcat(a->lines, "x-a: b\r\n");
	if (!rnd(3))
		strcat(a->lines, "x-c: 1\r\n");
	if (!rnd(8))
		strcat(a->lines, "x-forwarded-for: 10.1.0.1\r\n");
	assert_true(weft_ip_parse(PICK(sources), 1000, &a->src));
}

struct pods {
	struct conf conf;
	struct weft_rates *rates;
	struct conf_req req;
};

/* The outcome natively for a pod; prepaid: what a program paid. */
static uint32_t natively(struct pods *p, const struct asked *a, uint32_t pod, uint64_t random,
			 uint32_t n_paid, const uint32_t *paid)
{
	struct conf_req *q = &p->req;
	int r;

	conf_connect(q, "10.0.0.1", 80);
	q->ctx.pod = pod;
	q->ctx.src = a->src;
	q->ctx.random = random;
	q->ctx.rates = p->rates;
	q->ctx.n_prepaid = n_paid;
	memcpy(q->ctx.prepaid, paid, sizeof(q->ctx.prepaid));
	assert_int_equal(weft_listener_find(&q->ctx), 0);
	q->chain = weft_chain_find(&q->ctx, WEFT_PROTO_RAW);
	memset(&q->req, 0, sizeof(q->req));
	q->req.head = q->head;
	assert_int_equal(weft_req_begin(&q->req, &q->ctx, q->chain), 0);
	q->req.len = (uint32_t)snprintf((char *)q->head, WEFT_NATIVE_HEAD_MAX,
					"GET %s HTTP/1.1\r\nHost: h\r\n%s\r\n", a->path, a->lines);
	memset(q->head + q->req.len, 0, 64);
	assert_int_equal(weft_http1_parse(&q->req), WEFT_PARSE_OK);
	weft_req_prepare(&q->req, &q->ctx, "00000000-0000-4000-8000-000000000000",
			 q->head + sizeof(q->head) - WEFT_PREPARE_ROOM, WEFT_PREPARE_ROOM);
	while ((r = weft_decide(&q->req, &q->ctx)) == -ENOENT)
		assert_true(weft_store_cell(p->conf.store, pod, q->req.dec.need_cell));
	assert_int_equal(r, 0);
	return q->req.dec.outcome;
}

/* The same by the program, and natively where it hands over. */
static uint32_t in_kernel(struct pods *p, const struct asked *a, uint64_t random)
{
	static struct weft_req_bpf got;
	static const uint32_t none[WEFT_PAID_MAX];
	struct twin_io io = {.parse = 0};
	char head[1024];
	__u32 zero = 0;
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = head, .repeat = 1);

	conf_connect(&p->req, "10.0.0.1", 80);
	assert_int_equal(weft_listener_find(&p->req.ctx), 0);
	io.chain = weft_chain_find(&p->req.ctx, WEFT_PROTO_RAW);
	io.ctx.pod = KERNEL_POD;
	io.ctx.dst = p->req.ctx.dst;
	io.ctx.src = a->src;
	io.ctx.now_ns = p->req.ctx.now_ns;
	io.ctx.random = random;
	io.ctx.flags = WEFT_CTX_KERNEL;
	o.data_size_in = (__u32)snprintf(head, sizeof(head), "GET %s HTTP/1.1\r\nHost: h\r\n%s\r\n",
					 a->path, a->lines);
	assert_int_equal(bpf_map__update_elem(twin->maps.twin_io, &zero, 4, &io, sizeof(io), 0), 0);
	assert_int_equal(bpf_prog_test_run_opts(bpf_program__fd(twin->progs.twin_decide), &o), 0);
	assert_int_equal(bpf_map__lookup_elem(twin->maps.twin_io, &zero, 4, &io, sizeof(io), 0), 0);
	assert_int_equal(bpf_map__lookup_elem(twin->maps.twin_req, &zero, 4, &got, sizeof(got), 0),
			 0);
	assert_true((int)o.retval >= 0);
	if (io.parse)
		return natively(p, a, KERNEL_POD, random, 0, none);
	if (got.dec.handed) {
		handed++;
		why[got.dec.handed]++;
		return natively(p, a, KERNEL_POD, random, got.dec.n_paid, got.dec.paid);
	}
	judged++;
	return got.dec.outcome;
}

static void test_both_pay_alike(void **state)
{
	const char *limits = getenv("WEFT_LIMITS"), *first = getenv("WEFT_SEED");
	uint64_t n = limits ? strtoull(limits, NULL, 10) : 150,
		 from = first ? strtoull(first, NULL, 10) : 1;
	static struct pods p;

	(void)state;
	if (!twin)
		skip();
	conf_open_on_twin(&p.conf);
	assert_int_equal(rates_new(p.conf.store, &p.rates), 0);
	for (uint64_t i = from; i < from + n; i++) {
		char *yaml;

		seed = i * 7919;
		rnd(1);
		yaml = yaml_make();
		if (conf_set(&p.conf, yaml)) { /* two descriptors with the same entries */
			free(yaml);
			continue;
		}
		in_force++;
		weft_compiler_reclaim(p.conf.compiler);
		for (int k = 0; k < ASKED; k++) {
			static const uint32_t none[WEFT_PAID_MAX];
			struct asked a;
			uint64_t random = 1 + i * ASKED + (uint64_t)k;
			uint32_t want, got;

			ask_make(&a);
			want = natively(&p, &a, NATIVE_POD, random, 0, none);
			got = in_kernel(&p, &a, random);
			refused += want == WEFT_OUTCOME_RATE_LIMITED;
			if (want != got)
				fail_msg("WEFT_SEED=%llu, request %d\n%sGET %s\n%swant %s, got %s",
					 (unsigned long long)i, k, yaml, a.path, a.lines,
					 weft_outcome_name(want), weft_outcome_name(got));
		}
		free(yaml);
	}
	print_message(
		"%u configurations, %u requests judged in the kernel, %u handed over, %u refused\n",
		in_force, judged, handed, refused);
	for (uint32_t i = 1; i < WEFT_HANDED__MAX; i++)
		if (why[i])
			print_message("  %s: %u\n", weft_handed_name(i), why[i]);
	assert_true(in_force > n / 4 && judged > handed / 2 && refused > judged / 20);
	rates_free(p.rates);
	conf_close(&p.conf);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_both_pay_alike)};
	int r = twin_load();

	if (r && r != -EPERM && r != -EACCES) {
		print_message("the twin does not load: %d\n", r);
		return 1;
	}
	if (r) {
		print_message("SKIP: loading programs is not permitted here\n");
		twin_bpf__destroy(twin);
		return 77;
	}
	r = cmocka_run_group_tests(tests, NULL, NULL);
	twin_bpf__destroy(twin);
	return r;
}
