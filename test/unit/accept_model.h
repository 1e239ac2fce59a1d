// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Random lists of routes and requests by a seed: each list as YAML, and by its plain meaning the
 * route that a request takes, found by going through the list in order (expressions by regexec()).
 */

#include <ctype.h>
#include <regex.h>
#include <strings.h>

#include "test/unit/compile_fixture.h"

enum { ROUTES = 140, REQUESTS = 40, CONDS = 3, LINES = 5, NAMES = 3 };
enum path_kind { PREFIX, EXACT, SEPARATED, REGEX };
enum form { IS, BEGINS, HOLDS, IS_ANY_CASE, PRESENT, METHOD, AUTHORITY };

struct cond {
	enum form form;
	uint32_t name;
	char value[8];
	bool invert, empty; /* invert_match, treat_missing_header_as_empty */
};
struct route {
	enum path_kind kind;
	char path[64];
	bool any_case;
	uint32_t n;
	struct cond cond[CONDS];
	bool dropped;
	regex_t re;
};
struct request {
	char path[64];
	bool post;
	char host[8];
	uint32_t n;
	struct {
		uint32_t name;
		char value[8];
	} line[LINES];
};

static uint64_t seed;
static struct route table[ROUTES];
static size_t n_route;
static struct request request[REQUESTS];

static uint32_t pick(uint32_t n)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(seed >> 33) % n;
}

/* ---- making ---- */

static void path_make(char *out, uint32_t most)
{
	uint32_t n = pick(most);

	*out++ = '/';
	while (n--)
		*out++ = "ab/Ac"[pick(5)];
	*out = '\0';
}

static void regex_make(char *out)
{
	static const char *const piece[] = {"a",    "b",    "/",      "c",	 ".",
					    "[ab]", "[^/]", "(a|bc)", "(/a|/b)", "A"};
	static const char *const often[] = {"", "", "", "*", "+", "?"};
	static const char *const first[] = {"/", "/a", "", ".*", "/[ab]*", "/(a|b)"};
	uint32_t n = 1 + pick(5);

	strcpy(out, first[pick(6)]);
	while (n--) {
		strcat(out, piece[pick(10)]);
		strcat(out, often[pick(6)]);
	}
}

/* Few values, in cases that only an exact comparison tells apart; now and then very many. */
static void value_make(char *out, uint32_t many)
{
	sprintf(out, "%c%u", "vV"[pick(4) == 0], pick(many));
}

static void cond_make(struct cond *c, uint32_t many)
{
	*c = (struct cond){.name = pick(NAMES)};
	c->form = pick(3) ? IS : (enum form)pick(7);
	c->invert = c->form < METHOD && pick(12) == 0;
	c->empty = c->form < PRESENT && pick(12) == 0;
	value_make(c->value, many);
	if (c->form == BEGINS || c->form == HOLDS)
		c->value[1 + pick(2)] = '\0';
	if (c->form == IS_ANY_CASE && pick(2))
		c->value[0] = 'V';
	if (c->empty && c->form == IS && pick(2))
		c->value[0] = '\0'; /* also where Envoy's "" is meant */
}

static void route_make(struct route *r, uint32_t many, uint32_t regexes)
{
	char text[80];
	size_t n;

	*r = (struct route){.kind = pick(10) < regexes ? REGEX : (enum path_kind)pick(3)};
	if (r->kind == REGEX)
		regex_make(r->path);
	else if (pick(3))
		path_make(r->path, 6);
	else
		strcpy(r->path, "/a"); /* where many meet */
	n = strlen(r->path);
	if (r->kind == SEPARATED) {
		while (n > 1 && r->path[n - 1] == '/')
			n--;
		strcpy(r->path + n, n == 1 ? "a" : "");
	}
	r->any_case = r->kind != REGEX && pick(6) == 0;
	r->n = pick(5) ? pick(CONDS + 1) : 0;
	for (uint32_t i = 0; i < r->n; i++)
		cond_make(&r->cond[i], many);
	if (r->kind != REGEX)
		return;
	snprintf(text, sizeof(text), "^(%s)$", r->path);
	assert_int_equal(regcomp(&r->re, text, REG_EXTENDED | REG_NOSUB), 0);
}

static void request_make(struct request *q, uint32_t many)
{
	*q = (struct request){.post = pick(3) == 0, .n = pick(LINES + 1)};
	value_make(q->host, many);
	if (pick(3))
		path_make(q->path, 9);
	else
		strcpy(q->path, pick(2) ? "/a" : "/A/b");
	for (uint32_t i = 0; i < q->n; i++) {
		q->line[i].name = pick(NAMES);
		value_make(q->line[i].value, many);
	}
}

static void case_make(uint64_t from)
{
	uint32_t many, regexes;

	seed = from * 0x9e3779b97f4a7c15ull + 1;
	many = pick(3) ? 4 : 60;
	regexes = pick(8);
	n_route = 1 + pick(pick(2) ? 12 : ROUTES);
	for (size_t i = 0; i < n_route; i++)
		route_make(&table[i], many, regexes);
	for (int i = 0; i < REQUESTS; i++)
		request_make(&request[i], many);
}

static void case_free(void)
{
	for (size_t i = 0; i < n_route; i++)
		if (table[i].kind == REGEX)
			regfree(&table[i].re);
}

/* ---- as text ---- */

static void cond_put(FILE *f, const struct cond *c)
{
	static const char *const form[] = {"exact", "prefix", "contains", "exact"};

	if (c->form == METHOD) {
		fputs("{name: ':method', string_match: {exact: POST}}, ", f);
		return;
	}
	if (c->form == AUTHORITY) {
		fprintf(f, "{name: ':authority', string_match: {exact: '%s'}}, ", c->value);
		return;
	}
	fprintf(f, "{name: x-h%u, invert_match: %s, treat_missing_header_as_empty: %s, ", c->name,
		c->invert ? "true" : "false", c->empty ? "true" : "false");
	if (c->form == PRESENT)
		fputs("present_match: true}, ", f);
	else
		fprintf(f, "string_match: {%s: '%s', ignore_case: %s}}, ", form[c->form], c->value,
			c->form == IS_ANY_CASE ? "true" : "false");
}

static char *yaml_make(void)
{
	static const char *const name[] = {"prefix", "path", "path_separated_prefix"};
	char *out = NULL;
	size_t len;
	FILE *f = open_memstream(&out, &len);

	fputs(LISTENER_80
	      "- {" T("config.route.v3.RouteConfiguration") ", name: r, virtual_hosts: [{name: v, "
							    "domains: ['*'], routes: [\n",
	      f);
	for (size_t i = 0; i < n_route; i++) {
		const struct route *r = &table[i];

		if (r->dropped)
			continue;
		if (r->kind == REGEX)
			fprintf(f, "{match: {safe_regex: {regex: '%s'}, headers: [", r->path);
		else
			fprintf(f, "{match: {%s: '%s', case_sensitive: %s, headers: [",
				name[r->kind], r->path, r->any_case ? "false" : "true");
		for (uint32_t k = 0; k < r->n; k++)
			cond_put(f, &r->cond[k]);
		fputs("]}, " OK_200 "},\n", f);
	}
	fputs("]}]}\n", f);
	fclose(f);
	return out;
}

/* ---- the plain meaning ---- */

static bool value_fits(const struct cond *c, const char *value)
{
	switch (c->form) {
	case IS:
		return !strcmp(value, c->value);
	case BEGINS:
		return !strncmp(value, c->value, strlen(c->value));
	case HOLDS:
		return strstr(value, c->value) != NULL;
	case IS_ANY_CASE:
		return !strcasecmp(value, c->value);
	default:
		return true;
	}
}

static bool cond_holds(const struct cond *c, const struct request *q)
{
	bool there = false, fits = false;

	if (c->form == METHOD)
		return q->post;
	if (c->form == AUTHORITY)
		return !strcmp(q->host, c->value);
	for (uint32_t i = 0; i < q->n; i++) {
		if (q->line[i].name != c->name)
			continue;
		there = true;
		fits = fits || value_fits(c, q->line[i].value);
	}
	if (!there && c->empty)
		fits = value_fits(c, "");
	else if (!there && c->form != PRESENT)
		return false;
	return fits != c->invert;
}

static bool path_fits(const struct route *r, const char *path)
{
	size_t n = strlen(r->path);
	int (*compare)(const char *, const char *, size_t) = r->any_case ? strncasecmp : strncmp;

	if (r->kind == REGEX)
		return !regexec(&r->re, path, 0, NULL, 0);
	if (compare(r->path, path, n))
		return false;
	if (r->kind == EXACT)
		return !path[n];
	return r->kind == PREFIX || !path[n] || path[n] == '/';
}

static int expected(const struct request *q)
{
	int index = 0;

	for (size_t i = 0; i < n_route; i++) {
		const struct route *r = &table[i];
		bool ok = !r->dropped && path_fits(r, q->path);

		for (uint32_t k = 0; ok && k < r->n; k++)
			ok = cond_holds(&r->cond[k], q);
		if (ok)
			return index;
		index += !r->dropped;
	}
	return -1;
}
