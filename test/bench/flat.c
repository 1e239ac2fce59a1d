// SPDX-License-Identifier: Apache-2.0
/*
 * What a decision costs in the kernel by size of configuration: the engine's program run by BPF_PROG_TEST_RUN (parse,
 * virtual host, route, cluster), tables side by side. And what the tables cost: time to compile, bytes of image.
 * bench_flat [--quick]: prints both; exit 1 when a decision is not the table's. bench_flat KIND N: prints that table.
 */

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "agent/cleanup.h"
#include "agent/compile/build.h"
#include "agent/compile/compile.h"
#include "test/lib/tables.h"
#include "test/lib/twin.h"
#include "twin.skel.h"
#include "xds/file.h"

#define IMG_SIZE (64u << 20)
#define STATE_SIZE (16u << 20)
#define ROUNDS_MAX 101
#define REPEAT 400

struct table {
	const char *name;
	enum table_kind kind;
	uint32_t n;
	struct weft_snapshot *snapshot;
	uint32_t chain;
	double ns[SORT__MAX][ROUNDS_MAX];
	bool has[SORT__MAX];
};

static struct table tables[] = {
	{.name = "10 routes", .kind = TABLE_ROUTES, .n = 10},
	{.name = "10 routes, no expressions", .kind = TABLE_PLAIN, .n = 10},
	{.name = "1,000 routes", .kind = TABLE_ROUTES, .n = 1000},
	{.name = "10,000 routes", .kind = TABLE_ROUTES, .n = 10000},
	{.name = "10,000 routes, no expressions", .kind = TABLE_PLAIN, .n = 10000},
	{.name = "10 virtual hosts", .kind = TABLE_HOSTS, .n = 10},
	{.name = "10,000 virtual hosts", .kind = TABLE_HOSTS, .n = 10000},
	{.name = "10 wildcard domains", .kind = TABLE_WILD, .n = 10},
	{.name = "10,000 wildcard domains", .kind = TABLE_WILD, .n = 10000},
	{.name = "1,000 routes by one header", .kind = TABLE_HEADER, .n = 1000},
};
#define N_TABLE (sizeof(tables) / sizeof(tables[0]))

static struct twin_bpf *twin;
static struct weft_store *store;

static int fail(const char *what, int r)
{
	fprintf(stderr, "%s: %s\n", what, strerror(r < 0 ? -r : r));
	return 1;
}

static double now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static int compare_doubles(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(const double *v, size_t n)
{
	double copy[ROUNDS_MAX];

	memcpy(copy, v, n * sizeof(*v));
	qsort(copy, n, sizeof(*copy), compare_doubles);
	return copy[n / 2];
}

/* ---- compiling ---- */

static int snapshot_load(struct table *t)
{
	_auto_free_ char *json = table_json(t->kind, t->n);
	char path[] = "/tmp/weft-flat-XXXXXX.json";
	struct weft_diag diag = WEFT_DIAG_INIT;
	int fd = json ? mkstemps(path, 5) : -1, r = -ENOMEM;
	size_t len = json ? strlen(json) : 0;

	if (fd < 0)
		return r;
	r = write(fd, json, len) == (ssize_t)len ? 0 : -EIO;
	close(fd);
	if (!r)
		r = weft_file_load(path, 0, &diag, &t->snapshot);
	unlink(path);
	if (r && diag.n)
		fprintf(stderr, "%s: %s\n", diag.entries[0].field, diag.entries[0].reason);
	weft_diag_clear(&diag);
	return r;
}

/* Time and bytes of one table in a store of its own. */
static int compile_once(const struct table *t, double *ret_ms, double *ret_mib)
{
	struct weft_view_input in = {.snapshot = t->snapshot};
	struct weft_diag diag = WEFT_DIAG_INIT;
	struct weft_compiler *c = NULL;
	struct weft_store_stats stats;
	struct weft_store *s = NULL;
	double began;
	int r = weft_store_new_heap(IMG_SIZE, STATE_SIZE, &s);

	if (!r)
		r = weft_compiler_new(s, &c);
	began = now_ms();
	if (!r)
		r = weft_compiler_publish(c, &in, 1, &diag);
	*ret_ms = now_ms() - began;
	if (!r) {
		weft_store_stats(s, &stats);
		*ret_mib = (double)stats.img_used / (1 << 20);
	}
	weft_compiler_free(c);
	weft_store_free(s);
	weft_diag_clear(&diag);
	return r;
}

static int sizes_print(bool quick)
{
	static struct table row[] = {
		{.name = "routes", .kind = TABLE_PLAIN}, {.name = "routes with expressions", .kind = TABLE_ROUTES},
		{.name = "virtual hosts", .kind = TABLE_HOSTS}, {.name = "routes by one header", .kind = TABLE_HEADER},
	};
	static const uint32_t n[] = {1000, 5000, 10000};

	puts("| table | routes | compile ms | image MiB |\n|---|---|---|---|");
	for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		for (size_t k = 0; k < sizeof(n) / sizeof(n[0]); k++) {
			double best = 1e9, ms, mib = 0;
			int r;

			row[i].n = n[k];
			r = snapshot_load(&row[i]);
			for (int j = 0; !r && j < (quick ? 1 : 5); j++) {
				r = compile_once(&row[i], &ms, &mib);
				best = ms < best ? ms : best;
			}
			weft_snapshot_free(row[i].snapshot);
			row[i].snapshot = NULL;
			if (r)
				return fail(row[i].name, r);
			printf("| %s | %u | %.1f | %.2f |\n", row[i].name, n[k], best, mib);
			fflush(stdout);
		}
	}
	return 0;
}

/* ---- deciding ---- */

static void *map_memory(struct bpf_map *map, size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(map), 0);

	return p == MAP_FAILED ? NULL : p;
}

static int twin_load(void)
{
	struct weft_store_mem mem = {.img_size = IMG_SIZE, .state_size = STATE_SIZE};
	int r;

	libbpf_set_print(NULL);
	twin = twin_bpf__open();
	if (!twin)
		return -errno;
	bpf_map__set_value_size(twin->maps.image, IMG_SIZE + WEFT_IMAGE_SLACK);
	bpf_map__set_value_size(twin->maps.state, STATE_SIZE + WEFT_STATE_SLACK);
	twin->rodata->img_mask = IMG_SIZE - 1;
	twin->rodata->state_mask = STATE_SIZE - 1;
	r = twin_bpf__load(twin);
	if (r)
		return r;
	mem.img = map_memory(twin->maps.image, IMG_SIZE + WEFT_IMAGE_SLACK);
	mem.state = map_memory(twin->maps.state, STATE_SIZE + WEFT_STATE_SLACK);
	if (!mem.img || !mem.state)
		return -ENOMEM;
	r = weft_state_layout(mem.state, STATE_SIZE, 64, 4096, 64);
	return r ? r : weft_store_new(&mem, &store);
}

static struct weft_ctx ctx_of(uint32_t view)
{
	struct weft_ctx ctx = {.pod = 1, .view = view, .now_ns = 1000000000};

	weft_ip_parse("10.0.0.1", 80, &ctx.dst);
	return ctx;
}

/* All tables at once, a view each. */
static int publish(void)
{
	struct weft_view_input in[N_TABLE] = {{0}};
	struct weft_diag diag = WEFT_DIAG_INIT;
	struct weft_compiler *c = NULL;
	int r = weft_compiler_new(store, &c);

	for (size_t i = 0; !r && i < N_TABLE; i++) {
		r = snapshot_load(&tables[i]);
		in[i].snapshot = tables[i].snapshot;
	}
	if (!r)
		r = weft_compiler_publish(c, in, N_TABLE, &diag);
	if (r && diag.n)
		fprintf(stderr, "%s: %s\n", diag.entries[0].field, diag.entries[0].reason);
	weft_diag_clear(&diag);
	for (uint32_t i = 0; !r && i < N_TABLE; i++) {
		struct weft_ctx ctx = ctx_of(i);

		r = weft_ctx_begin(&ctx);
		if (!r)
			r = weft_listener_find(&ctx);
		if (!r)
			tables[i].chain = weft_chain_find(&ctx, WEFT_PROTO_RAW);
	}
	return r;
}

static size_t head_make(const struct table_request *q, char *out, size_t size)
{
	return (size_t)snprintf(out, size,
				"GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: bench/1.0\r\nAccept: */*\r\n%s\r\n", q->path,
				q->host, q->lines);
}

static int run(const char *head, size_t len, uint32_t repeat, uint32_t *ret_ns)
{
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = head, .data_size_in = (__u32)len, .repeat = (int)repeat);
	int r = bpf_prog_test_run_opts(bpf_program__fd(twin->progs.twin_decide), &o);

	*ret_ns = o.duration;
	return r;
}

/* Runs it; 0 when the decision is the table's, which a missing cell delays by one turn. */
static int decide(uint32_t view, const struct table_request *q, uint32_t repeat, uint32_t *ret_ns)
{
	struct weft_ctx ctx = ctx_of(view);
	static struct weft_req_bpf got;
	struct twin_io io = {.chain = tables[view].chain};
	const struct weft_img_route *route;
	const struct weft_img_vhost *vhost;
	char head[1024];
	size_t len = head_make(q, head, sizeof(head));
	__u32 zero = 0;

	io.ctx.pod = 1;
	io.ctx.view = view;
	io.ctx.dst = ctx.dst;
	io.ctx.now_ns = ctx.now_ns;
	io.ctx.flags = WEFT_CTX_KERNEL;
	if (bpf_map__update_elem(twin->maps.twin_io, &zero, 4, &io, sizeof(io), 0) ||
	    run(head, len, repeat, ret_ns) ||
	    bpf_map__lookup_elem(twin->maps.twin_req, &zero, 4, &got, sizeof(got), 0))
		return fail("run", errno);
	if (got.dec.need_cell) {
		weft_store_cell(store, 1, got.dec.need_cell);
		return -EAGAIN;
	}
	route = weft_img_at(got.dec.route);
	vhost = weft_img_at(got.dec.vhost);
	if (!got.dec.handed && got.dec.route && route->index == q->route && got.dec.vhost &&
	    vhost->name.len == strlen(q->vhost) && !memcmp(weft_img_at(vhost->name.off), q->vhost, vhost->name.len))
		return 0;
	fprintf(stderr, "%s: %s %s: handed over for %s, route %d of vhost %u, want %u\n", tables[view].name, q->host, q->path,
		weft_handed_name((enum weft_handed)got.dec.handed), got.dec.route ? (int)route->index : -1, got.dec.vhost, q->route);
	return 1;
}

/* One turn of every table and sort. */
static int round_run(uint32_t round)
{
	for (uint32_t i = 0; i < N_TABLE; i++) {
		struct table *t = &tables[round & 1 ? N_TABLE - 1 - i : i];
		uint32_t view = (uint32_t)(t - tables);

		for (int sort = 0; sort < SORT__MAX; sort++) {
			struct table_request q;
			uint32_t ns;
			int r;

			if (!table_request(t->kind, t->n, (enum table_sort)sort, round, &q))
				continue;
			do
				r = decide(view, &q, 1, &ns);
			while (r == -EAGAIN);
			if (!r)
				r = decide(view, &q, REPEAT, &ns);
			if (r)
				return r;
			t->has[sort] = true;
			t->ns[sort][round] = ns;
		}
	}
	return 0;
}

static void ratio_print(const struct table *t, const struct table *base, uint32_t rounds)
{
	double all[ROUNDS_MAX] = {0};
	uint32_t n = 0;

	printf("| %s |", t->name);
	for (int sort = 0; sort < SORT__MAX; sort++) {
		double ratio[ROUNDS_MAX];

		if (!t->has[sort]) {
			printf(" |");
			continue;
		}
		n++;
		for (uint32_t i = 0; i < rounds; i++) {
			ratio[i] = base->has[sort] ? t->ns[sort][i] / base->ns[sort][i] : 0;
			all[i] += ratio[i];
		}
		printf(" %.0f", median(t->ns[sort], rounds));
		if (base != t && base->has[sort])
			printf(" (%.2f)", median(ratio, rounds));
		printf(" |");
	}
	for (uint32_t i = 0; i < rounds; i++)
		all[i] /= n;
	if (base != t && *all > 0)
		printf(" %.2f |\n", median(all, rounds));
	else
		printf(" |\n");
}

static int costs_print(bool quick)
{
	uint32_t rounds = quick ? 5 : ROUNDS_MAX;
	const struct table *base = tables;
	int r = twin_load();

	if (r == -EPERM || r == -EACCES) {
		puts("SKIP: loading programs needs root");
		return 77;
	}
	if (!r)
		r = publish();
	if (r)
		return fail("tables", r);
	for (uint32_t i = 0; i < rounds; i++) {
		r = round_run(i);
		if (r)
			return r;
	}
	puts("| ns (to the smaller table) | prefix | exact path | header | expression | last route | all |\n"
	     "|---|---|---|---|---|---|---|");
	for (uint32_t i = 0; i < N_TABLE; i++) {
		if (tables[i].n == 10)
			base = &tables[i];
		else if (tables[i].kind == TABLE_PLAIN)
			base = &tables[1];
		else if (tables[i].kind == TABLE_ROUTES)
			base = &tables[0];
		ratio_print(&tables[i], base, rounds);
	}
	return 0;
}

static int table_print(const char *kind, const char *n)
{
	static const char *const name[] = {"routes", "plain", "hosts", "wild", "header"};

	for (size_t i = 0; i < sizeof(name) / sizeof(name[0]); i++) {
		_auto_free_ char *json = NULL;

		if (strcmp(kind, name[i]))
			continue;
		json = table_json((enum table_kind)i, (uint32_t)strtoul(n, NULL, 10));
		return json && fputs(json, stdout) >= 0 ? 0 : 1;
	}
	fputs("bench_flat [--quick] | bench_flat routes|plain|hosts|wild|header N\n", stderr);
	return 2;
}

int main(int argc, char **argv)
{
	bool quick = argc == 2 && !strcmp(argv[1], "--quick");
	int r;

	if (argc > 1 && !quick)
		return table_print(argv[1], argc == 3 ? argv[2] : "0");
	r = costs_print(quick);
	if (r)
		return r;
	puts("");
	return sizes_print(quick);
}
