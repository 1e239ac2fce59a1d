// SPDX-License-Identifier: Apache-2.0
/* Domains and header matchers against their plain meaning: random route
 * tables, every request decided both ways. */
#include <ctype.h>
#include <strings.h>

#include "test/unit/compile_fixture.h"

static uint64_t seed = 11;
static uint32_t pick(uint32_t n)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(seed >> 33) % n;
}

/* Few letters, so that texts share beginnings and ends. */
static void text_make(char *out, uint32_t least, uint32_t most)
{
	uint32_t n = least + pick(most - least + 1);

	while (n--)
		*out++ = "abA."[pick(4)];
	*out = '\0';
}

/* ---- domains ---- */

enum { HOSTS = 24, DOMAIN_LEN = 24 };

static bool known(char (*domain)[DOMAIN_LEN], size_t n, const char *text)
{
	for (size_t i = 0; i < n; i++) {
		if (!strcasecmp(domain[i], text))
			return true;
	}
	return false;
}

static void domains_make(char (*domain)[DOMAIN_LEN], size_t n, bool star)
{
	for (size_t i = 0; i < n;) {
		char text[DOMAIN_LEN] = "*";

		if (i || !star) {
			uint32_t form = pick(3);

			text_make(text + (form == 1), 1, 5);
			if (form == 2)
				strcat(text, "*");
		}
		if (!known(domain, i, text))
			strcpy(domain[i++], text);
	}
}

/* The virtual host that Envoy takes; one per domain. -1: none. */
static int host_expected(char (*domain)[DOMAIN_LEN], size_t n, const char *host)
{
	size_t len = strlen(host), longest[2] = {0, 0};
	int wild[2] = {-1, -1}, star = -1;

	for (size_t i = 0; i < n; i++) {
		const char *d = domain[i];
		size_t k = strlen(d) - 1;

		if (!strcmp(d, "*")) {
			star = (int)i;
		} else if (*d == '*') {
			if (k < len && k > longest[0] && !strcasecmp(host + len - k, d + 1)) {
				longest[0] = k;
				wild[0] = (int)i;
			}
		} else if (d[k] == '*') {
			if (k < len && k > longest[1] && !strncasecmp(host, d, k)) {
				longest[1] = k;
				wild[1] = (int)i;
			}
		} else if (!strcasecmp(host, d)) {
			return (int)i;
		}
	}
	return wild[0] >= 0 ? wild[0] : wild[1] >= 0 ? wild[1] : star;
}

static char *hosts_yaml(char (*domain)[DOMAIN_LEN], size_t n)
{
	char *out = NULL;
	size_t len;
	FILE *f = open_memstream(&out, &len);

	fputs(LISTENER_80
	      "- {" T("config.route.v3.RouteConfiguration") ", name: r, virtual_hosts: [",
	      f);
	for (size_t i = 0; i < n; i++)
		fprintf(f, "{name: 'v%zu', domains: ['%s'], routes: [{match: {prefix: /}, %s}]}, ",
			i, domain[i], "direct_response: {status: 200}");
	fputs("]}\n", f);
	fclose(f);
	return out;
}

/* The number in the name of the virtual host that is taken, -1: none. */
static int host_taken(struct conf *c, const char *host)
{
	struct conf_req *q = calloc(1, sizeof(*q));
	const struct weft_img_vhost *v;
	int n = -1;

	assert_non_null(q);
	conf_connect(q, "10.0.0.1", 80);
	conf_request(c, q, "GET", host, "/", "");
	if (q->req.dec.vhost) {
		v = weft_img_at(q->req.dec.vhost);
		n = atoi((const char *)weft_img_at(v->name.off) + 1);
	}
	free(q);
	return n;
}

static void test_domains(void **state)
{
	enum { TABLES = 60, REQUESTS = 150 };
	char domain[HOSTS][DOMAIN_LEN];
	int kinds[2] = {0, 0};
	struct conf c;

	(void)state;
	conf_open(&c);
	for (int t = 0; t < TABLES; t++) {
		size_t n = 2 + pick(HOSTS - 2);
		char *yaml;

		domains_make(domain, n, pick(2));
		yaml = hosts_yaml(domain, n);
		conf_ok(&c, yaml);
		weft_store_reclaim(c.store);
		for (int q = 0; q < REQUESTS; q++) {
			char host[64] = "";
			int want;

			if (pick(2))
				text_make(host, 0, 2);
			if (pick(3)) {
				const char *d = domain[pick((uint32_t)n)];

				strcat(host, d + (*d == '*'));
				host[strcspn(host, "*")] = '\0';
			}
			text_make(host + strlen(host), !*host, 3);
			want = host_expected(domain, n, host);
			kinds[want >= 0]++;
			if (host_taken(&c, host) != want)
				fail_msg("host %s: want %d, got %d of\n%s", host, want,
					 host_taken(&c, host), yaml);
		}
		free(yaml);
	}
	assert_true(kinds[0] > 500 && kinds[1] > 2000); /* both answers are tested */
	conf_close(&c);
}

/* ---- header matchers ---- */

enum kind { PRESENT, ABSENT, EXACT, PREFIX, SUFFIX, CONTAINS, RANGE, KINDS };

struct matcher {
	enum kind kind;
	int header; /* x0..x2 */
	bool invert, empty, ignore_case;
	char text[8];
	int start, end;
};

struct rule {
	struct matcher m[3];
	size_t n;
};

enum { HEADERS = 3, RULES = 30, LINES = 4 };

static void matcher_make(struct matcher *m)
{
	*m = (struct matcher){.kind = (enum kind)pick(KINDS), .header = (int)pick(HEADERS)};
	m->invert = pick(4) == 0;
	/* what Envoy makes of presence with it is no plain matter */
	m->empty = m->kind > ABSENT && pick(4) == 0;
	m->ignore_case = m->kind >= EXACT && m->kind <= CONTAINS && pick(3) == 0;
	text_make(m->text, m->kind == EXACT ? 0 : 1, 3);
	m->start = (int)pick(20) - 10;
	m->end = m->start + (int)pick(10);
}

static void matcher_print(FILE *f, const struct matcher *m)
{
	static const char *const names[KINDS] = {"", "", "exact", "prefix", "suffix", "contains"};

	fprintf(f, "{name: x%d, ", m->header);
	if (m->invert)
		fputs("invert_match: true, ", f);
	if (m->empty)
		fputs("treat_missing_header_as_empty: true, ", f);
	if (m->kind == PRESENT || m->kind == ABSENT)
		fprintf(f, "present_match: %s}, ", m->kind == PRESENT ? "true" : "false");
	else if (m->kind == RANGE)
		fprintf(f, "range_match: {start: %d, end: %d}}, ", m->start, m->end);
	else
		fprintf(f, "string_match: {%s: '%s', ignore_case: %s}}, ", names[m->kind], m->text,
			m->ignore_case ? "true" : "false");
}

static char *rules_yaml(const struct rule *r, size_t n)
{
	char *out = NULL;
	size_t len;
	FILE *f = open_memstream(&out, &len);

	fputs(LISTENER_80 "- {" T("config.route.v3.RouteConfiguration") ", name: r, "
									"virtual_hosts: [{name: v, "
									"domains: ['*'], routes: [",
	      f);
	for (size_t i = 0; i < n; i++) {
		fputs("{match: {prefix: /, headers: [", f);
		for (size_t k = 0; k < r[i].n; k++)
			matcher_print(f, &r[i].m[k]);
		fputs("]}, " OK_200 "}, ", f);
	}
	fputs("]}]}\n", f);
	fclose(f);
	return out;
}

static void lower(char *s)
{
	for (; *s; s++)
		*s = (char)tolower((unsigned char)*s);
}

static bool value_fits(const struct matcher *m, const char *value)
{
	char v[16], t[16], *end;
	size_t n = strlen(m->text), len = strlen(value);
	long number;

	snprintf(v, sizeof(v), "%s", value);
	snprintf(t, sizeof(t), "%s", m->text);
	if (m->ignore_case) {
		lower(v);
		lower(t);
	}
	switch (m->kind) {
	case EXACT:
		return !strcmp(v, t);
	case PREFIX:
		return !strncmp(v, t, n);
	case SUFFIX:
		return len >= n && !strcmp(v + len - n, t);
	case CONTAINS:
		return strstr(v, t) != NULL;
	default:
		number = strtol(v, &end, 10);
		return *v && !*end && number >= m->start && number < m->end;
	}
}

struct line {
	int header;
	char value[16];
};

static bool matcher_fits(const struct matcher *m, const struct line *l, size_t n)
{
	bool there = false, fits = false;

	for (size_t i = 0; i < n; i++) {
		if (l[i].header != m->header)
			continue;
		there = true;
		fits = fits || (m->kind >= EXACT && value_fits(m, l[i].value));
	}
	if (m->kind == PRESENT || m->kind == ABSENT)
		return (there == (m->kind == PRESENT)) != m->invert;
	if (!there && !m->empty)
		return false;
	if (!there)
		fits = value_fits(m, "");
	return fits != m->invert;
}

static int rule_expected(const struct rule *r, size_t n, const struct line *l, size_t n_line)
{
	for (size_t i = 0; i < n; i++) {
		bool ok = true;

		for (size_t k = 0; k < r[i].n; k++)
			ok = ok && matcher_fits(&r[i].m[k], l, n_line);
		if (ok)
			return (int)i;
	}
	return -1;
}

/* Lines of a request, some of one name: each is tested by itself. */
static size_t lines_make(struct line *l, const struct rule *r, size_t n, char *text)
{
	size_t count = pick(LINES + 1);

	*text = '\0';
	for (size_t i = 0; i < count; i++) {
		const struct rule *rule = &r[pick((uint32_t)n)];

		l[i].header = (int)pick(HEADERS);
		if (pick(3) == 0)
			snprintf(l[i].value, sizeof(l[i].value), "%d", (int)pick(24) - 12);
		else if (pick(2))
			strcpy(l[i].value, rule->m[pick(3)].text);
		else
			text_make(l[i].value, 0, 4);
		sprintf(text + strlen(text), "X%d: %s\r\n", l[i].header, l[i].value);
	}
	return count;
}

static void test_headers(void **state)
{
	enum { TABLES = 60, REQUESTS = 200 };
	struct rule r[RULES];
	struct line l[LINES];
	int answers[2] = {0, 0}, late = 0;
	struct conf c;

	(void)state;
	conf_open(&c);
	for (int t = 0; t < TABLES; t++) {
		size_t n = 1 + pick(RULES);
		char *yaml;

		for (size_t i = 0; i < n; i++) {
			r[i].n = 1 + pick(3);
			for (int k = 0; k < 3; k++)
				matcher_make(&r[i].m[k]);
		}
		yaml = rules_yaml(r, n);
		conf_ok(&c, yaml);
		weft_store_reclaim(c.store);
		for (int q = 0; q < REQUESTS; q++) {
			char text[256];
			size_t n_line = lines_make(l, r, n, text);
			int want = rule_expected(r, n, l, n_line), got;

			answers[want >= 0]++;
			late += want > 5;
			got = conf_route(&c, "GET", "h", "/", text);
			if (got != want)
				fail_msg("want %d, got %d for\n%sof\n%s", want, got, text, yaml);
		}
		free(yaml);
	}
	assert_true(answers[0] > 500 && answers[1] > 2000 && late > 500);
	conf_close(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_domains),
		cmocka_unit_test(test_headers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
