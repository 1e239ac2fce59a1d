// SPDX-License-Identifier: Apache-2.0
/* RE2's syntax (google/re2 wiki, Syntax) to a tree, with RE2's words for what it refuses. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/regex/parse.h"

#define RE_REFUSED ((struct regex_node *)NULL)

struct list {
	struct regex_node **v;
	uint32_t n, cap;
};

static struct regex_node *parse_alternation(struct parser *s);

bool parse_refuse(struct parser *s, const char *what, const char *at, const char *end)
{
	if (!s->error->text[0])
		snprintf(s->error->text, sizeof(s->error->text), "%s%s%.*s", what, at ? ": " : "",
			 at ? (int)(end - at) : 0, at ? at : "");
	return false;
}

static void list_add(struct parser *s, struct list *l, struct regex_node *re)
{
	if (l->n == l->cap) {
		uint32_t cap = l->cap ? l->cap * 2 : 8;
		struct regex_node **v = reallocarray(l->v, cap, sizeof(*v));

		if (!v) {
			s->pool->full = true;
			return;
		}
		l->v = v;
		l->cap = cap;
	}
	l->v[l->n++] = re;
}

/* The last two become one text where both are literals of one sort of case. */
static void literals_join(struct parser *s, struct list *l)
{
	struct regex_node *a, *b;
	uint8_t *text;

	if (l->n < 2)
		return;
	a = l->v[l->n - 2];
	b = l->v[l->n - 1];
	if (a->op != RE_LITERAL || b->op != RE_LITERAL || (a->flags ^ b->flags) & RE_FOLD)
		return;
	text = realloc(a->text, a->n + b->n);
	if (!text) {
		s->pool->full = true;
		return;
	}
	memcpy(text + a->n, b->text, b->n);
	a->text = text;
	a->n += b->n;
	l->n--;
}

static void push(struct parser *s, struct list *l, struct regex_node *re)
{
	literals_join(s, l);
	list_add(s, l, re);
}

static uint32_t set_count(const struct regex_set *set)
{
	uint32_t n = 0;

	for (int i = 0; i < 4; i++)
		n += (uint32_t)__builtin_popcountll(set->w[i]);
	return n;
}

/* A class of one byte, or of one letter in both cases, is a literal. */
static void push_set(struct parser *s, struct list *l, const struct regex_set *set)
{
	uint32_t n = set_count(set);
	unsigned int c = 0;
	uint8_t byte;

	while (n && !set_has(set, c))
		c++;
	if (n == 1 || (n == 2 && c >= 'A' && c <= 'Z' && set_has(set, c + 0x20))) {
		byte = (uint8_t)(n == 1 ? c : c + 0x20);
		push(s, l,
		     regex_node_literal(s->pool, n == 1 ? s->flags : s->flags | RE_FOLD, &byte, 1));
		return;
	}
	struct regex_node *re = regex_node_new(s->pool, RE_CLASS, s->flags & ~RE_FOLD);

	re->set = *set;
	push(s, l, re);
}

static void push_literal(struct parser *s, struct list *l, unsigned int c)
{
	uint8_t byte = (uint8_t)c;
	struct regex_set set = {0};

	regex_set_fold(&set, c);
	if (s->flags & RE_FOLD && set_count(&set) > 1)
		push_set(s, l, &set);
	else
		push(s, l, regex_node_literal(s->pool, s->flags, &byte, 1));
}

static bool class_push(struct parser *s, struct list *l)
{
	struct regex_set set;

	if (!parse_class(s, &set))
		return false;
	push_set(s, l, &set);
	return true;
}

/* ---- repetition ---- */

static bool number(const char **p, const char *end, int *ret)
{
	const char *q = *p;
	int n = 0;

	if (q == end || *q < '0' || *q > '9' || (*q == '0' && q + 1 < end && q[1] >= '0' && q[1] <= '9'))
		return false;
	for (; q < end && *q >= '0' && *q <= '9'; q++)
		n = n >= 100000 ? n : n * 10 + *q - '0';
	*p = q;
	*ret = n;
	return true;
}

/* "{n}" "{n,}" "{n,m}"; false: a brace like any other byte. */
static bool counts(struct parser *s, int *lo, int *hi)
{
	const char *p = s->p + 1;

	if (!number(&p, s->end, lo) || p == s->end)
		return false;
	*hi = *lo;
	if (*p == ',') {
		if (++p == s->end)
			return false;
		*hi = -1;
		if (*p != '}' && !number(&p, s->end, hi))
			return false;
	}
	if (p == s->end || *p != '}')
		return false;
	s->p = p + 1;
	return true;
}

/* How often the whole may be repeated, with all repetitions inside it. */
static int repeats_left(const struct regex_node *re, int left)
{
	int most;

	if (re->op == RE_REPEAT) {
		int m = re->max < 0 ? re->min : re->max;

		if (m > 0)
			left /= m;
	}
	most = left;
	for (uint32_t i = 0; re->sub && i < re->n; i++) {
		int in = repeats_left(re->sub[i], left);

		most = in < most ? in : most;
	}
	return most;
}

static bool repeat(struct parser *s, struct list *l, enum regex_op op, int lo, int hi,
		   const char *begin, const char *before)
{
	uint32_t flags = s->flags;
	struct regex_node *re;

	if (s->p < s->end && *s->p == '?') {
		flags ^= RE_NON_GREEDY;
		s->p++;
	}
	if (before)
		return parse_refuse(s, "bad repetition operator", before, s->p);
	if (op == RE_REPEAT &&
	    ((hi >= 0 && hi < lo) || lo > REGEX_REPEAT_MAX || hi > REGEX_REPEAT_MAX))
		return parse_refuse(s, "invalid repetition size", begin, s->p);
	if (!l->n)
		return parse_refuse(s, "no argument for repetition operator", begin, s->p);
	re = regex_node_unary(s->pool, op, flags, l->v[l->n - 1]);
	re->min = op == RE_REPEAT ? lo : 0;
	re->max = op == RE_REPEAT ? hi : 0;
	l->v[l->n - 1] = re;
	if (op == RE_REPEAT && (lo >= 2 || hi >= 2) && !repeats_left(re, REGEX_REPEAT_MAX))
		return parse_refuse(s, "invalid repetition size", begin, s->p);
	return true;
}

/* ---- groups ---- */

static bool name_fits(const char *p, const char *end)
{
	for (const char *q = p; q < end; q++) {
		if (*q != '_' && !(*q >= '0' && *q <= '9') && !((*q | 0x20) >= 'a' && (*q | 0x20) <= 'z'))
			return false;
	}
	return p < end;
}

/* "(?P<name>" or "(?<name>". */
static bool name_take(struct parser *s, const char *begin)
{
	const char *name = s->p + (s->p[2] == 'P' ? 4 : 3);
	const char *stop = memchr(name, '>', (size_t)(s->end - name));

	if (!stop)
		return parse_refuse(s, "invalid named capture group", begin, s->end);
	if (!name_fits(name, stop))
		return parse_refuse(s, "invalid named capture group", begin, stop + 1);
	s->p = stop + 1;
	return true;
}

/* "(?flags)" or "(?flags:". *ret_group: the latter. */
static bool flags_take(struct parser *s, const char *begin, bool *ret_group)
{
	uint32_t flags = s->flags, bit;
	bool off = false, any = true;

	for (s->p += 2;;) {
		if (s->p == s->end)
			return parse_refuse(s, "missing )", s->whole, s->end);
		bit = 0;
		switch (*s->p++) {
		case 'i':
			bit = RE_FOLD;
			break;
		case 'm':
			bit = RE_ONE_LINE;
			break;
		case 's':
			bit = RE_DOT_NL;
			break;
		case 'U':
			bit = RE_NON_GREEDY;
			break;
		case '-':
			if (off)
				return parse_refuse(s, "invalid perl operator", begin, s->p);
			off = true;
			any = false;
			continue;
		case ':':
		case ')':
			if (!any)
				return parse_refuse(s, "invalid perl operator", begin, s->p);
			*ret_group = s->p[-1] == ':';
			s->flags = flags;
			return true;
		default:
			return parse_refuse(s, "invalid perl operator", begin, s->p);
		}
		any = true;
		if (off == (bit == RE_ONE_LINE))
			flags |= bit;
		else
			flags &= ~bit;
	}
}

/* What stands in parentheses; "(?i)" alone changes the flags of what follows. */
static bool group(struct parser *s, struct list *l)
{
	const char *begin = s->p;
	uint32_t flags = s->flags;
	bool capture = true, is_group = true;
	struct regex_node *re;
	int n = 0;

	if (s->end - s->p > 2 && s->p[1] == '?') {
		if ((s->end - s->p > 4 && s->p[2] == 'P' && s->p[3] == '<') || s->p[2] == '<') {
			if (!name_take(s, begin))
				return false;
		} else {
			capture = false;
			if (!flags_take(s, begin, &is_group))
				return false;
			if (!is_group)
				return true;
		}
	} else if (s->end - s->p == 2 && s->p[1] == '?') {
		return parse_refuse(s, "invalid perl operator", begin, s->end);
	} else {
		s->p++;
	}
	if (capture)
		n = (int)++s->groups;
	if (++s->depth > REGEX_DEPTH_MAX)
		return parse_refuse(s, "expression nests too deeply", s->whole, s->end);
	re = parse_alternation(s);
	s->depth--;
	if (!re)
		return false;
	if (s->p == s->end)
		return parse_refuse(s, "missing )", s->whole, s->end);
	s->p++;
	s->flags = flags;
	if (capture) {
		re = regex_node_unary(s->pool, RE_CAPTURE, flags, re);
		re->group = n;
	}
	push(s, l, re);
	return true;
}

/* ---- sequence and alternation ---- */

static void push_op(struct parser *s, struct list *l, enum regex_op op)
{
	push(s, l, regex_node_new(s->pool, op, s->flags));
}

static bool backslash(struct parser *s, struct list *l)
{
	struct regex_set set = {0};
	int c = s->end - s->p > 1 ? s->p[1] : 0;
	static const struct {
		char c;
		enum regex_op op;
	} ops[] = {{'b', RE_WORD},
		   {'B', RE_NO_WORD},
		   {'A', RE_BEGIN_TEXT},
		   {'z', RE_END_TEXT},
		   {'C', RE_ANY_BYTE}};

	for (size_t i = 0; i < sizeof(ops) / sizeof(*ops); i++) {
		if (c == ops[i].c) {
			push_op(s, l, ops[i].op);
			s->p += 2;
			return true;
		}
	}
	if (c == 'Q') {
		for (s->p += 2; s->p < s->end; s->p++) {
			if (s->end - s->p >= 2 && s->p[0] == '\\' && s->p[1] == 'E') {
				s->p += 2;
				break;
			}
			push_literal(s, l, (unsigned char)*s->p);
		}
		return true;
	}
	if ((c | 0x20) == 'p') {
		if (parse_unicode_class(s, &set) < 0)
			return false;
		push_set(s, l, &set);
		return true;
	}
	if (parse_perl_class(s, &set)) {
		push_set(s, l, &set);
		return true;
	}
	c = parse_escape(s);
	if (c < 0)
		return false;
	push_literal(s, l, (unsigned int)c);
	return true;
}

static void dot(struct parser *s, struct list *l)
{
	struct regex_set set;

	s->p++;
	if (s->flags & RE_DOT_NL) {
		push_op(s, l, RE_ANY_CHAR);
		return;
	}
	memset(&set, 0xff, sizeof(set));
	set.w[0] &= ~(1ull << '\n');
	push_set(s, l, &set);
}

/* One item. *before: where the repetition right in front of it began; set when it is one. */
static bool item(struct parser *s, struct list *l, const char **before)
{
	const char *begin = s->p, *last = *before;
	int lo = 0, hi = 0;

	*before = NULL;
	switch (*s->p) {
	case '(':
		return group(s, l);
	case '[':
		return class_push(s, l);
	case '\\':
		return backslash(s, l);
	case '.':
		dot(s, l);
		return true;
	case '^':
		push_op(s, l, s->flags & RE_ONE_LINE ? RE_BEGIN_TEXT : RE_BEGIN_LINE);
		s->p++;
		return true;
	case '$':
		if (s->flags & RE_ONE_LINE)
			push(s, l, regex_node_new(s->pool, RE_END_TEXT, s->flags | RE_DOLLAR));
		else
			push_op(s, l, RE_END_LINE);
		s->p++;
		return true;
	case '*':
	case '+':
	case '?':
		s->p++;
		*before = begin;
		return repeat(s, l, *begin == '*' ? RE_STAR : *begin == '+' ? RE_PLUS : RE_QUEST, 0, 0,
			      begin, last);
	case '{':
		if (counts(s, &lo, &hi)) {
			*before = begin;
			return repeat(s, l, RE_REPEAT, lo, hi, begin, last);
		}
		break;
	default:
		break;
	}
	push_literal(s, l, (unsigned char)*s->p++);
	return true;
}

/* A sequence of sequences is one. */
static struct regex_node *flatten(struct parser *s, enum regex_op op, const struct list *l)
{
	struct list out = {0};
	struct regex_node *re;

	if (l->n == 1)
		return l->v[0];
	for (uint32_t i = 0; i < l->n; i++) {
		if (l->v[i]->op != op) {
			list_add(s, &out, l->v[i]);
			continue;
		}
		for (uint32_t k = 0; k < l->v[i]->n; k++)
			list_add(s, &out, l->v[i]->sub[k]);
	}
	if (op == RE_ALTERNATE)
		out.n = regex_factor(s->pool, out.v, out.n, s->flags);
	re = regex_node_list(s->pool, op, s->flags, out.v, out.n);
	free(out.v);
	return re;
}

static struct regex_node *parse_sequence(struct parser *s)
{
	const char *before = NULL;
	struct list l = {0};
	struct regex_node *re = RE_REFUSED;
	bool ok = true;

	while (ok && !s->pool->full && s->p < s->end && *s->p != '|' && *s->p != ')')
		ok = item(s, &l, &before);
	literals_join(s, &l);
	if (ok && !s->pool->full)
		re = flatten(s, RE_CONCAT, &l);
	free(l.v);
	return re;
}

static bool is_one_char(const struct regex_node *re)
{
	return re->op == RE_CLASS || re->op == RE_ANY_CHAR || (re->op == RE_LITERAL && re->n == 1);
}

/* A branch; '.' that takes everything swallows a neighbour of one character. */
static void branch_add(struct parser *s, struct list *l, struct regex_node *re)
{
	struct regex_node *last = l->n ? l->v[l->n - 1] : NULL;

	if (last && last->op == RE_ANY_CHAR && is_one_char(re))
		return;
	if (last && re->op == RE_ANY_CHAR && is_one_char(last))
		l->v[l->n - 1] = re;
	else
		list_add(s, l, re);
}

static struct regex_node *parse_alternation(struct parser *s)
{
	struct regex_node *re = parse_sequence(s);
	struct list l = {0};

	while (re && s->p < s->end && *s->p == '|') {
		branch_add(s, &l, re);
		s->p++;
		re = parse_sequence(s);
	}
	if (re) {
		branch_add(s, &l, re);
		re = s->pool->full ? RE_REFUSED : flatten(s, RE_ALTERNATE, &l);
	}
	free(l.v);
	return re;
}

struct regex_node *regex_parse(struct regex_pool *p, const char *pattern, uint32_t *ret_groups,
			       struct weft_regex_error *error)
{
	struct parser s = {.pool = p,
			   .whole = pattern,
			   .p = pattern,
			   .end = pattern + strlen(pattern),
			   .flags = RE_ONE_LINE,
			   .error = error};
	struct regex_node *re;

	error->text[0] = '\0';
	re = parse_alternation(&s);
	if (re && s.p < s.end) {
		parse_refuse(&s, "unexpected )", s.whole, s.end);
		re = RE_REFUSED;
	}
	*ret_groups = s.groups;
	return re;
}
