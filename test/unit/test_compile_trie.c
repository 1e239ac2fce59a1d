// SPDX-License-Identifier: Apache-2.0
/* The trie against the plain meaning of a route list: random tables, every request decided both
 * ways. */
#include "test/unit/compile_fixture.h"

enum kind { PREFIX, EXACT, SEPARATED };

struct route {
	enum kind kind;
	char path[40];
	int n_header; /* conditions: header h<i> must be there */
	int header[2];
	bool post;
};

static uint64_t seed = 7;
static uint32_t pick(uint32_t n)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(seed >> 33) % n;
}

/* Few letters, so that paths share beginnings. */
static void path_make(char *out, uint32_t most)
{
	uint32_t n = pick(most);

	*out++ = '/';
	while (n--)
		*out++ = "ab/a"[pick(4)];
	*out = '\0';
}

static void route_make(struct route *r)
{
	size_t n;

	*r = (struct route){.kind = (enum kind)pick(3)};
	path_make(r->path, 12);
	n = strlen(r->path);
	if (r->kind == SEPARATED) { /* must not end in a slash */
		while (n > 1 && r->path[n - 1] == '/')
			n--;
		strcpy(r->path + n, n == 1 ? "a" : "");
	}
	if (pick(3) == 0) {
		r->n_header = 1 + (int)pick(2);
		r->header[0] = (int)pick(4);
		r->header[1] = (int)pick(4);
	}
	r->post = pick(8) == 0;
}

static char *yaml_make(const struct route *r, size_t n)
{
	static const char *const names[] = {"prefix", "path", "path_separated_prefix"};
	char *out = NULL;
	size_t len;
	FILE *f = open_memstream(&out, &len);

	fputs(LISTENER_80
	      "- {" T("config.route.v3.RouteConfiguration") ", name: r, virtual_hosts: [{name: v, "
							    "domains: ['*'], routes: [",
	      f);
	for (size_t i = 0; i < n; i++) {
		fprintf(f, "{match: {%s: '%s', headers: [", names[r[i].kind], r[i].path);
		for (int k = 0; k < r[i].n_header; k++)
			fprintf(f, "{name: h%d}, ", r[i].header[k]);
		if (r[i].post)
			fputs("{name: ':method', string_match: {exact: POST}}", f);
		fputs("]}, " OK_200 "}, ", f);
	}
	fputs("]}]}\n", f);
	fclose(f);
	return out;
}

static bool path_fits(const struct route *r, const char *path)
{
	size_t n = strlen(r->path);

	if (r->kind == EXACT)
		return !strcmp(r->path, path);
	if (strncmp(r->path, path, n))
		return false;
	return r->kind == PREFIX || path[n] == '\0' || path[n] == '/';
}

static int expected(const struct route *r, size_t n, const char *path, uint32_t headers, bool post)
{
	for (size_t i = 0; i < n; i++) {
		bool ok = path_fits(&r[i], path) && (!r[i].post || post);

		for (int k = 0; k < r[i].n_header; k++)
			ok = ok && headers & 1u << r[i].header[k];
		if (ok)
			return (int)i;
	}
	return -1;
}

static void test_against_plain_list(void **state)
{
	enum { TABLES = 40, REQUESTS = 250, MOST = 60 };
	struct route r[MOST];
	struct conf c;
	int found = 0;

	(void)state;
	conf_open(&c);
	for (int t = 0; t < TABLES; t++) {
		size_t n = 1 + pick(MOST);
		char *yaml;

		for (size_t i = 0; i < n; i++)
			route_make(&r[i]);
		yaml = yaml_make(r, n);
		conf_ok(&c, yaml);
		weft_store_reclaim(c.store);
		for (int q = 0; q < REQUESTS; q++) {
			uint32_t headers = pick(16);
			bool post = pick(2);
			char path[64], lines[64] = "";
			int want;

			if (pick(2)) {
				strcpy(path, r[pick((uint32_t)n)].path);
				if (pick(2))
					path_make(path + strlen(path), 4);
			} else {
				path_make(path, 14);
			}
			for (int h = 0; h < 4; h++) {
				if (headers & 1u << h)
					sprintf(lines + strlen(lines), "H%d: x\r\n", h);
			}
			want = expected(r, n, path, headers, post);
			found += want >= 0;
			if (conf_route(&c, post ? "POST" : "GET", "h", path, lines) != want)
				fail_msg("%s headers %x post %d: want %d of\n%s", path, headers,
					 post, want, yaml);
		}
		free(yaml);
	}
	/* the tables are such that both answers are tested */
	assert_true(found > TABLES * REQUESTS / 10 && found < TABLES * REQUESTS * 99 / 100);
	conf_close(&c);
}

/* Each route's prefix encloses the next one's: the deepest trie that a path can make. */
static void test_deep(void **state)
{
	enum { DEPTH = 2000 };
	char path[DEPTH + 2] = "/", *out = NULL;
	size_t len;
	FILE *f = open_memstream(&out, &len);
	struct conf c;

	(void)state;
	fputs(LISTENER_80
	      "- {" T("config.route.v3.RouteConfiguration") ", name: r, virtual_hosts: [{name: v, "
							    "domains: ['*'], routes: [",
	      f);
	for (int i = DEPTH; i > 0; i--)
		fprintf(f, "{match: {prefix: '/%.*s'}, " OK_200 "}, ", i,
			(char *)memset(path + 1, 'a', DEPTH));
	fputs("]}]}\n", f);
	fclose(f);
	conf_open(&c);
	conf_ok(&c, out);
	assert_int_equal(conf_route(&c, "GET", "h", "/a", ""), DEPTH - 1);
	assert_int_equal(conf_route(&c, "GET", "h", "/aaaab", ""), DEPTH - 4);
	assert_int_equal(conf_route(&c, "GET", "h", "/b", ""), -1);
	path[DEPTH + 1] = '\0';
	assert_int_equal(conf_route(&c, "GET", "h", path, ""), 0);
	free(out);
	conf_close(&c);
}

static void test_long_path_is_refused(void **state)
{
	char *path = calloc(1, 8194), *yaml;

	(void)state;
	assert_non_null(path);
	memset(path, '/', 8193);
	assert_true(asprintf(&yaml, LISTENER_80 ROUTES("{match: {prefix: '%s'}, " OK_200 "}"),
			     path) > 0);
	conf_refused(yaml, "RouteConfiguration/r", "virtual_hosts",
		     "a path of more than 8192 bytes");
	free(path);
	free(yaml);
}

/* Bytes of the image for n routes, each with a path and a header of its own value. */
static uint64_t size_of(int n)
{
	struct weft_store_stats st;
	char *out = NULL;
	size_t len;
	FILE *f = open_memstream(&out, &len);
	struct conf c;

	fputs(LISTENER_80
	      "- {" T("config.route.v3.RouteConfiguration") ", name: r, virtual_hosts: [{name: v, "
							    "domains: ['*'], routes: [",
	      f);
	for (int i = 0; i < n; i++)
		fprintf(f,
			"{match: {prefix: '/svc-%d/v1', headers: [{name: x-user, string_match: "
			"{exact: u%d}}]}, "
			"route: {cluster: c%d}}, ",
			i, i, i % 100);
	fputs("]}]}\n", f);
	fclose(f);
	conf_open(&c);
	conf_ok(&c, out);
	weft_store_stats(c.store, &st);
	assert_int_equal(conf_route(&c, "GET", "h", "/svc-7/v1/x", "x-user: u7\r\n"), 7);
	conf_close(&c);
	free(out);
	return st.img_used;
}

static void test_size_is_linear(void **state)
{
	uint64_t small = size_of(1000), large = size_of(10000);

	(void)state;
	print_message("%llu and %llu bytes per route\n", (unsigned long long)small / 1000,
		      (unsigned long long)large / 10000);
	assert_true(large / 10000 < 2 * (small / 1000));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_against_plain_list),
		cmocka_unit_test(test_deep),
		cmocka_unit_test(test_long_path_is_refused),
		cmocka_unit_test(test_size_is_linear),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
