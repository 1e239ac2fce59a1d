// SPDX-License-Identifier: Apache-2.0
/*
 * Selections and lists against the plain meaning of a route list: random tables of paths,
 * expressions and header conditions; each request is decided by going through the list in order
 * (expressions by regexec()), natively, and, where programs may be loaded, in the kernel. A table
 * that fails is cut down to the routes it takes and printed with its seed. WEFT_TABLES: how many
 * tables (400), WEFT_SEED: the first.
 */
#include "test/unit/accept_model.h"
#include "test/unit/twin_fixture.h"

static uint32_t judged, by_value, by_path;

/* ---- the engine ---- */

static void lines_make(const struct request *q, char *out)
{
	*out = '\0';
	for (uint32_t i = 0; i < q->n; i++)
		sprintf(out + strlen(out), "X-H%u: %s\r\n", q->line[i].name, q->line[i].value);
}

static int index_of(uint32_t route)
{
	return route ? (int)((const struct weft_img_route *)weft_img_at(route))->index : -1;
}

/* The program's answer; -2: it handed over. */
static int in_kernel(const struct request *q, const char *lines)
{
	static struct weft_req_bpf got;
	struct conf_req *c = calloc(1, sizeof(*c));
	struct twin_io io = {.parse = 0};
	char head[1024];
	__u32 zero = 0;
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = head, .repeat = 1);

	assert_non_null(c);
	conf_connect(c, "10.0.0.1", 80);
	assert_int_equal(weft_listener_find(&c->ctx), 0);
	io.chain = weft_chain_find(&c->ctx, WEFT_PROTO_RAW);
	io.ctx.pod = CONF_POD;
	io.ctx.dst = c->ctx.dst;
	io.ctx.now_ns = c->ctx.now_ns;
	io.ctx.flags = WEFT_CTX_KERNEL;
	free(c);
	o.data_size_in = (__u32)snprintf(head, sizeof(head), "%s %s HTTP/1.1\r\nHost: %s\r\n%s\r\n",
					 q->post ? "POST" : "GET", q->path, q->host, lines);
	assert_int_equal(bpf_map__update_elem(twin->maps.twin_io, &zero, 4, &io, sizeof(io), 0), 0);
	assert_int_equal(bpf_prog_test_run_opts(bpf_program__fd(twin->progs.twin_decide), &o), 0);
	assert_int_equal(bpf_map__lookup_elem(twin->maps.twin_io, &zero, 4, &io, sizeof(io), 0), 0);
	assert_int_equal(bpf_map__lookup_elem(twin->maps.twin_req, &zero, 4, &got, sizeof(got), 0), 0);
	if ((int)o.retval < 0 || io.parse || got.dec.handed)
		return -2;
	judged++;
	return index_of(got.dec.route);
}

/* The first request that is decided wrongly, REQUESTS: none. */
static int wrong(struct conf *c, bool known)
{
	char *yaml = yaml_make();
	int i;

	if (conf_set(c, yaml)) {
		if (!known)
			conf_ok(c, yaml); /* says why */
		free(yaml);
		return REQUESTS;
	}
	free(yaml);
	weft_compiler_reclaim(c->compiler);
	for (i = 0; i < REQUESTS; i++) {
		char lines[256];
		int want = expected(&request[i]), got;

		lines_make(&request[i], lines);
		got = conf_route(c, request[i].post ? "POST" : "GET", request[i].host, request[i].path, lines);
		if (got == want && twin) {
			got = in_kernel(&request[i], lines);
			got = got == -2 ? want : got;
		}
		if (got != want)
			break;
	}
	return i;
}

/* Leaves out what the failure does not need, and tells. */
static void shrink(struct conf *c, uint64_t from)
{
	char lines[256], *yaml;
	int at;

	for (size_t i = 0; i < n_route; i++) {
		table[i].dropped = true;
		table[i].dropped = wrong(c, true) < REQUESTS;
	}
	at = wrong(c, true);
	assert_true(at < REQUESTS);
	lines_make(&request[at], lines);
	yaml = yaml_make();
	fail_msg("WEFT_SEED=%llu, cut down:\n%s%s %s of %s\n%swant %d, natively %d, in the kernel %d", (unsigned long long)from,
		 yaml, request[at].post ? "POST" : "GET", request[at].path, request[at].host, lines, expected(&request[at]),
		 conf_route(c, request[at].post ? "POST" : "GET", request[at].host, request[at].path, lines),
		 twin ? in_kernel(&request[at], lines) : -2);
}

/* ---- counts of what the tables were made into ---- */

static void list_count(uint32_t off)
{
	const struct weft_img_accept *a = weft_img_at(off);
	const struct weft_img_select *s = weft_img_at(a->select);

	if (!off)
		return;
	for (uint32_t i = 0; i < a->n_select; i++) {
		by_value += s[i].kind == WEFT_SELECT_VALUE;
		by_path += s[i].kind == WEFT_SELECT_PATH;
	}
}

static void node_count(uint32_t off)
{
	const struct weft_img_node *n = weft_img_at(off);
	const uint32_t *child = (const void *)(n + 1);

	list_count(n->accept);
	list_count(n->accept_exact);
	for (uint32_t i = 0; i <= n->child_mask; i++)
		if (child[i])
			node_count(child[i]);
}

static void count(void)
{
	const struct weft_img_vhost *v;
	struct conf_req *q = calloc(1, sizeof(*q));

	assert_non_null(q);
	conf_connect(q, "10.0.0.1", 80);
	assert_int_equal(weft_listener_find(&q->ctx), 0);
	const struct weft_img_view *view = weft_img_at(q->ctx.view_off);
	const uint32_t *rc = weft_img_at(view->route_config);

	for (uint32_t i = 0; i < view->n_route_config; i++) {
		const struct weft_img_route_config *r = weft_img_at(rc[i]);

		v = weft_img_at(r->star);
		if (rc[i] && v->trie)
			node_count(v->trie);
	}
	free(q);
}

static void test_first_route_wins(void **state)
{
	const char *tables = getenv("WEFT_TABLES"), *first = getenv("WEFT_SEED");
	uint64_t n = tables ? strtoull(tables, NULL, 10) : 400, from = first ? strtoull(first, NULL, 10) : 1;
	struct conf c;

	(void)state;
	conf_open_on_twin(&c);
	for (uint64_t i = from; i < from + n; i++) {
		case_make(i);
		if (wrong(&c, false) < REQUESTS)
			shrink(&c, i);
		count();
		case_free();
	}
	print_message("%llu tables, %u lists by value, %u by path; %u requests judged in the kernel\n",
		      (unsigned long long)n, by_value, by_path, judged);
	assert_true(by_value > n / 4 && by_path > n / 4);
	assert_true(!twin || judged > n * REQUESTS / 4);
	conf_close(&c);
}

/* ---- limits ---- */

/* The list of the root of the only virtual host. */
static const struct weft_img_accept *root_list(void)
{
	struct conf_req *q = calloc(1, sizeof(*q));
	const struct weft_img_vhost *v;
	const struct weft_img_node *n;

	assert_non_null(q);
	conf_connect(q, "10.0.0.1", 80);
	const struct weft_img_view *view = weft_img_at(q->ctx.view_off);
	const uint32_t *rc = weft_img_at(view->route_config);

	free(q);
	for (uint32_t i = 0; !rc[i]; i++)
		assert_true(i + 1 < view->n_route_config);
	while (!*rc)
		rc++;
	v = weft_img_at(((const struct weft_img_route_config *)weft_img_at(*rc))->star);
	n = weft_img_at(v->trie);
	return n->accept ? weft_img_at(n->accept) : NULL;
}

#define BY_REGEX(re) "{match: {safe_regex: {regex: '" re "'}}, " OK_200 "}, "

/* The product of two such tables is larger than a table may be: they are not joined, and each is still found. */
static void test_product_too_large(void **state)
{
	const struct weft_img_accept *a;
	struct conf c;

	(void)state;
	conf_open(&c);
	conf_ok(&c, LISTENER_80 ROUTES(BY_REGEX(".*[ac][a-d]{9}") BY_REGEX(".*[ab][a-d]{8}e")
				       BY_REGEX(".*/x") BY_REGEX(".*yy") BY_REGEX(".*[ad][a-d]{9}f")));
	a = root_list();
	assert_true(a->n == 1 && a->n_select == 2);
	assert_int_equal(conf_route(&c, "GET", "h", "/caaaaaaaaa", ""), 0);
	assert_int_equal(conf_route(&c, "GET", "h", "/baaaaaaaae", ""), 1);
	assert_int_equal(conf_route(&c, "GET", "h", "/bbbbbbbbbb", ""), -1);
	assert_int_equal(conf_route(&c, "GET", "h", "/yy", ""), 3);
	assert_int_equal(conf_route(&c, "GET", "h", "/daaaaaaaaaf", ""), 4);
	conf_close(&c);
}

/* An expression whose own table is too large is the agent's: nothing is joined with it, the rest is. */
static void test_expression_too_large(void **state)
{
	const struct weft_img_accept *a;
	struct conf c;

	(void)state;
	conf_open(&c);
	conf_ok(&c, LISTENER_80 ROUTES(BY_REGEX(".*x") BY_REGEX(".*a[ab]{14}") BY_REGEX(".*y")));
	a = root_list();
	assert_true(a->n == 1 && a->n_select == 1);
	assert_int_equal(conf_route(&c, "GET", "h", "/aaaaaaaaaaaaaaa", ""), 1);
	assert_int_equal(conf_route(&c, "GET", "h", "/yx", ""), 0);
	assert_int_equal(conf_route(&c, "GET", "h", "/y", ""), 2);
	conf_close(&c);
}

/* Values of four headers, one behind another: one more than lists are nested, and more headers than a list selects by. */
static void test_many_headers(void **state)
{
	char *yaml = NULL, lines[128];
	struct conf c;
	size_t len;
	FILE *f = open_memstream(&yaml, &len);

	(void)state;
	fputs(LISTENER_80 "- {" T("config.route.v3.RouteConfiguration") ", name: r, virtual_hosts: [{name: v, "
	      "domains: ['*'], routes: [\n", f);
	for (int i = 0; i < 625; i++) /* five to the fourth */
		fprintf(f, "{match: {prefix: /, headers: [{name: a, string_match: {exact: v%d}}, {name: b, string_match: "
			   "{exact: v%d}}, {name: c, string_match: {exact: v%d}}, {name: d, string_match: {exact: v%d}}]}, "
			   OK_200 "},\n", i % 5, i / 5 % 5, i / 25 % 5, i / 125);
	for (int i = 0; i < 200; i++) /* forty headers of five routes each */
		fprintf(f, "{match: {prefix: /, headers: [{name: h%d, string_match: {exact: v%d}}]}, " OK_200 "},\n", i % 40,
			i);
	fputs("]}]}\n", f);
	fclose(f);
	conf_open(&c);
	conf_ok(&c, yaml);
	free(yaml);
	for (int i = 0; i < 625; i += 13) {
		sprintf(lines, "A: v%d\r\nB: v%d\r\nC: v%d\r\nD: v%d\r\n", i % 5, i / 5 % 5, i / 25 % 5, i / 125);
		assert_int_equal(conf_route(&c, "GET", "h", "/", lines), i);
	}
	for (int i = 0; i < 200; i++) {
		sprintf(lines, "H%d: v%d\r\n", i % 40, i);
		assert_int_equal(conf_route(&c, "GET", "h", "/", lines), 625 + i);
	}
	assert_int_equal(conf_route(&c, "GET", "h", "/", "A: v0\r\nH1: v2\r\n"), -1);
	conf_close(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_first_route_wins), cmocka_unit_test(test_product_too_large),
		cmocka_unit_test(test_expression_too_large), cmocka_unit_test(test_many_headers)};
	int r = twin_load();

	if (r && r != -EPERM && r != -EACCES) {
		print_message("the twin does not load: %d\n", r);
		return 1;
	}
	if (r) {
		print_message("without the kernel: loading programs is not permitted here\n");
		twin_bpf__destroy(twin);
		twin = NULL;
	}
	r = cmocka_run_group_tests(tests, NULL, NULL);
	twin_bpf__destroy(twin);
	return r;
}
