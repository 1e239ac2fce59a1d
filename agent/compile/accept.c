// SPDX-License-Identifier: Apache-2.0
/*
 * Lists of candidates. Where many of them wait for one value of a header each, or for an expression each, they stand
 * behind a selection that finds the few which may hold; all others are tried in order.
 */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/compile/parts.h"
#include "agent/regex/regex.h"
#include "bpf/engine/engine.h"

/* Where a list stands: what is known when it is reached. */
struct scope {
	struct weft_build *b;
	const struct weft_route_built *routes;
	uint64_t slots; /* headers that were selected by */
	bool path;	/* the expressions fit */
	uint32_t depth;
};

struct selects {
	struct weft_img_select v[WEFT_SELECTS_MAX];
	uint32_t n;
};

static uint32_t list_put(const struct scope *s, const uint32_t *index, size_t n, struct weft_img_accept head);

static void *alloc(struct weft_build *b, size_t n, size_t size)
{
	void *p = calloc(n + 1, size);

	if (!p)
		b->err = b->err ? b->err : -ENOMEM;
	return p;
}

static const struct weft_img_cond *conds_of(const struct scope *s, uint32_t i, uint32_t *ret_n)
{
	const struct weft_img_route *r = weft_store_at(s->b->store, s->routes[i].off);

	*ret_n = r->n_cond;
	return r->n_cond ? weft_store_at(s->b->store, r->cond) : NULL;
}

/* ---- by the value of a header ---- */

/* Only one value of the header's lines, in whatever case, can make it hold. The scheme's stands nowhere in the head. */
static bool is_value(const struct scope *s, const struct weft_img_cond *c)
{
	return c->kind == WEFT_COND_EXACT && c->from == WEFT_FROM_VALUE && !(c->flags & ~WEFT_COND_IGNORE_CASE) &&
	       c->len && c->len < WEFT_HOST_LEN_MAX && c->slot != WEFT_VALUE_SCHEME && !(s->slots >> c->slot & 1);
}

static const struct weft_img_cond *value_of(const struct scope *s, uint32_t i, uint32_t slot)
{
	uint32_t n;
	const struct weft_img_cond *c = conds_of(s, i, &n);

	for (uint32_t k = 0; k < n; k++)
		if (is_value(s, &c[k]) && c[k].slot == slot)
			return &c[k];
	return NULL;
}

static int compare_words(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

/* How many values the routes ask of the header; equal texts are one object. */
static size_t values_count(const struct scope *s, const uint32_t *index, size_t n, uint32_t slot, uint32_t *scratch)
{
	size_t m = 0, distinct = 0;

	for (size_t i = 0; i < n; i++) {
		const struct weft_img_cond *c = value_of(s, index[i], slot);

		if (c)
			scratch[m++] = c->str;
	}
	qsort(scratch, m, sizeof(*scratch), compare_words);
	for (size_t i = 0; i < m; i++)
		distinct += !i || scratch[i] != scratch[i - 1];
	return m < WEFT_SELECT_LEAST ? 0 : distinct;
}

/* The header that tells most of the routes apart; 0 in *ret_values: none is worth it. */
static uint32_t slot_choose(const struct scope *s, const uint32_t *index, size_t n, size_t *ret_values)
{
	uint32_t *scratch = alloc(s->b, n, sizeof(*scratch)), best = 0;
	uint64_t seen = 0;

	*ret_values = 0;
	for (size_t i = 0; scratch && i < n; i++) {
		uint32_t m;
		const struct weft_img_cond *c = conds_of(s, index[i], &m);

		for (uint32_t k = 0; k < m; k++)
			if (is_value(s, &c[k]))
				seen |= 1ull << c[k].slot;
	}
	for (uint32_t slot = 0; scratch && slot < WEFT_NAMES_MAX; slot++) {
		size_t values = seen >> slot & 1 ? values_count(s, index, n, slot, scratch) : 0;

		if (values > *ret_values) {
			*ret_values = values;
			best = slot;
		}
	}
	free(scratch);
	return best;
}

struct value {
	char text[WEFT_HOST_LEN_MAX]; /* lower case, as tables are asked */
	uint32_t index;
};

static int compare_values(const void *a, const void *b)
{
	const struct value *x = a, *y = b;
	int r = strcmp(x->text, y->text);

	return r ? r : compare_words(&x->index, &y->index);
}

/* The list of the routes v[0..n), which wait for one value. */
static struct weft_tab_key value_put(const struct scope *s, const struct value *v, size_t n)
{
	uint32_t *index = alloc(s->b, n, sizeof(*index));
	uint32_t len = (uint32_t)strlen(v->text);
	struct weft_tab_key key = {.kind = WEFT_KIND_VALUE, .hash = weft_hash_host(v->text, len)};

	for (size_t i = 0; index && i < n; i++)
		index[i] = v[i].index;
	if (index)
		key.val = list_put(s, index, n, (struct weft_img_accept){.best = WEFT_NO_ROUTE});
	key.str = weft_build_bytes(s->b, v->text, len);
	free(index);
	return key;
}

static uint32_t table_put(const struct scope *s, const struct value *v, size_t n)
{
	struct weft_tab_key *key = alloc(s->b, n, sizeof(*key));
	size_t n_key = 0, end;
	uint32_t off = 0;

	for (size_t i = 0; key && i < n && !s->b->err; i = end) {
		for (end = i + 1; end < n && !strcmp(v[end].text, v[i].text);)
			end++;
		key[n_key++] = value_put(s, v + i, end - i);
	}
	if (key && !s->b->err)
		off = weft_build_tab(s->b, key, n_key);
	free(key);
	return off;
}

/* Takes the routes that wait for a value of one header out of the list: how many are left. */
static size_t by_value(const struct scope *s, uint32_t *index, size_t n, struct selects *out)
{
	struct scope inner = *s;
	size_t values, m = 0, rest = 0;
	uint32_t slot = slot_choose(s, index, n, &values);
	struct value *v = values ? alloc(s->b, n, sizeof(*v)) : NULL;
	struct weft_img_select *select = &out->v[out->n];

	if (!v)
		return n;
	*select = (struct weft_img_select){.kind = WEFT_SELECT_VALUE, .slot = slot, .first = WEFT_NO_ROUTE};
	for (size_t i = 0; i < n; i++) {
		const struct weft_img_cond *c = value_of(s, index[i], slot);

		if (!c) {
			index[rest++] = index[i];
			continue;
		}
		memcpy(v[m].text, weft_store_at(s->b->store, c->str), c->len);
		for (char *p = v[m].text; *p; p++)
			*p = (char)tolower((unsigned char)*p);
		select->first = index[i] < select->first ? index[i] : select->first;
		v[m++].index = index[i];
	}
	qsort(v, m, sizeof(*v), compare_values);
	inner.slots |= 1ull << slot;
	inner.depth++;
	select->by = table_put(&inner, v, m);
	out->n++;
	free(v);
	return rest;
}

/* ---- by expressions of the path ---- */

/* One expression, whatever the number of routes that wait for it. */
struct pattern {
	const struct weft_regex *re;
	const char *text;
	uint32_t dfa;
	bool taken;
};

/* The table of the route's expression; 0: it has none, or one that only the agent runs. */
static uint32_t dfa_of(const struct scope *s, uint32_t i)
{
	uint32_t n;
	const struct weft_img_cond *c = s->routes[i].re ? conds_of(s, i, &n) : NULL;

	/* the path's stands last */
	return c && c[n - 1].kind == WEFT_COND_DFA ? c[n - 1].str : 0;
}

/* What is written alike stands together: such tables join well, and products of others grow. */
static int compare_patterns(const void *a, const void *b)
{
	const struct pattern *x = a, *y = b;
	int r = strcmp(x->text, y->text);

	return r ? r : compare_words(&x->dfa, &y->dfa);
}

/* The pattern with this table, the end of the list if there is none. */
static const struct pattern *pattern_find(const struct pattern *p, size_t n, uint32_t dfa)
{
	const struct pattern *end = p + n;

	while (p < end && p->dfa != dfa)
		p++;
	return p;
}

/* List of the routes whose expression is in the set. */
static uint32_t set_put(const struct scope *s, const uint32_t *index, size_t n, const struct pattern *p,
			const uint32_t *set, size_t n_set)
{
	struct weft_img_accept head = {.best = WEFT_NO_ROUTE};
	uint32_t *list = alloc(s->b, n, sizeof(*list)), off = 0;
	struct scope inner = *s;
	size_t m = 0;

	inner.path = true;
	inner.depth++;
	for (size_t i = 0; list && i < n; i++) {
		uint32_t dfa = dfa_of(s, index[i]), n_cond;
		bool in = false;

		for (size_t k = 0; dfa && k < n_set; k++)
			in = in || p[set[k]].dfa == dfa;
		if (!in)
			continue;
		conds_of(s, index[i], &n_cond);
		if (n_cond == 1) { /* nothing is left to be tested */
			head.best = index[i];
			head.best_route = s->routes[index[i]].off;
			break;
		}
		list[m++] = index[i];
	}
	if (list)
		off = list_put(&inner, list, m, head);
	free(list);
	return off;
}

/* The selection by a table over all of p[0..n). */
static void scan_put(const struct scope *s, const uint32_t *index, size_t n_index, struct pattern *p, size_t n,
		     const void *table, size_t len, const struct weft_regex_sets *sets, struct selects *out)
{
	struct weft_img_select *select = &out->v[out->n++];
	uint32_t *list = alloc(s->b, sets->n + 1, sizeof(*list));

	*select = (struct weft_img_select){.kind = WEFT_SELECT_PATH, .first = WEFT_NO_ROUTE};
	for (size_t i = n_index; i--;) {
		if (pattern_find(p, n, dfa_of(s, index[i])) < p + n)
			select->first = index[i];
	}
	for (uint32_t k = 0; list && k < sets->n; k++) {
		uint32_t begin = k ? sets->end[k - 1] : 0;

		list[k + 1] = set_put(s, index, n_index, p, sets->expression + begin, sets->end[k] - begin);
	}
	select->by = weft_build_put(s->b, table, len);
	if (list)
		select->list = weft_build_put(s->b, list, (sets->n + 1) * sizeof(*list));
	select->n_list = sets->n;
	for (size_t i = 0; i < n; i++)
		p[i].taken = true;
	free(list);
}

/* Tables over p[0..n): one, or where it would be too large two over the halves. */
static void scan(const struct scope *s, const uint32_t *index, size_t n_index, struct pattern *p, size_t n,
		 struct selects *out)
{
	const struct weft_regex **re;
	uint64_t budget, spent;
	struct weft_regex_sets sets;
	void *table = NULL;
	size_t len = 0;
	int r;

	if (n < 2 || out->n == WEFT_SELECTS_MAX || s->b->err)
		return;
	re = alloc(s->b, n, sizeof(struct weft_regex *));
	if (!re)
		return;
	for (size_t i = 0; i < n; i++)
		re[i] = p[i].re;
	budget = s->b->scan_work < WEFT_SCAN_TRY_MAX ? s->b->scan_work : WEFT_SCAN_TRY_MAX;
	spent = budget;
	r = weft_regex_dfa_set(re, (uint32_t)n, WEFT_SCAN_SIZE_MAX, &budget, &table, &len, &sets);
	s->b->scan_work -= spent - budget;
	free(re);
	if (r == -E2BIG) {
		scan(s, index, n_index, p, n / 2, out);
		scan(s, index, n_index, p + n / 2, n - n / 2, out);
	} else if (r) {
		s->b->err = s->b->err ? s->b->err : r;
	} else {
		scan_put(s, index, n_index, p, n, table, len, &sets, out);
		weft_regex_sets_clear(&sets);
	}
	free(table);
}

/* As by_value(). */
static size_t by_path(const struct scope *s, uint32_t *index, size_t n, struct selects *out)
{
	struct pattern *p = alloc(s->b, n, sizeof(*p));
	size_t m = 0, rest = 0, distinct = 0;

	for (size_t i = 0; p && i < n; i++)
		if (dfa_of(s, index[i]))
			p[m++] = (struct pattern){.re = s->routes[index[i]].re,
						 .text = s->routes[index[i]].pattern,
						 .dfa = dfa_of(s, index[i])};
	if (m)
		qsort(p, m, sizeof(*p), compare_patterns);
	for (size_t i = 0; i < m; i++)
		if (!i || p[i].dfa != p[distinct - 1].dfa)
			p[distinct++] = p[i];
	if (distinct >= 2)
		scan(s, index, n, p, distinct, out);
	for (size_t i = 0; p && i < n; i++) {
		const struct pattern *at = pattern_find(p, distinct, dfa_of(s, index[i]));

		if (at == p + distinct || !at->taken)
			index[rest++] = index[i];
	}
	free(p);
	return p ? rest : n;
}

/* ---- */

static uint32_t write_out(const struct scope *s, const uint32_t *index, size_t n, const struct selects *selects,
			  struct weft_img_accept head)
{
	struct {
		struct weft_img_accept head;
		struct weft_img_candidate c[];
	} *out = alloc(s->b, 1, sizeof(*out) + n * sizeof(*out->c));
	uint32_t off;

	if (!out)
		return 0;
	head.n = (uint32_t)n;
	head.n_select = selects->n;
	head.select = selects->n ? weft_build_put(s->b, selects->v, selects->n * sizeof(*selects->v)) : 0;
	out->head = head;
	for (size_t i = 0; i < n; i++)
		out->c[i] = (struct weft_img_candidate){.index = index[i], .route = s->routes[index[i]].off};
	off = weft_build_put(s->b, out, sizeof(*out) + n * sizeof(*out->c));
	free(out);
	return off;
}

static uint32_t list_put(const struct scope *s, const uint32_t *index, size_t n, struct weft_img_accept head)
{
	uint32_t *rest = alloc(s->b, n, sizeof(*rest)), off;
	struct selects selects = {.n = 0};
	size_t left = n;

	if (!rest)
		return 0;
	memcpy(rest, index, n * sizeof(*rest));
	while (s->depth < WEFT_SELECT_DEPTH_MAX && left >= WEFT_SELECT_LEAST && selects.n < WEFT_SELECTS_MAX / 2) {
		size_t before = left;

		left = by_value(s, rest, left, &selects);
		if (left == before)
			break;
	}
	if (s->depth < WEFT_SELECT_DEPTH_MAX && !s->path && left >= 2)
		left = by_path(s, rest, left, &selects);
	off = s->b->err ? 0 : write_out(s, rest, left, &selects, head);
	free(rest);
	return off;
}

uint32_t weft_build_accept(struct weft_build *b, const struct weft_route_built *routes, const uint32_t *index,
			   size_t n, const struct weft_img_accept *head)
{
	struct scope s = {.b = b, .routes = routes};

	return list_put(&s, index, n, *head);
}
