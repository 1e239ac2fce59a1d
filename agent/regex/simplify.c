// SPDX-License-Identifier: Apache-2.0
/* Runs of one repeated character become one count, counts become copies: as RE2 does before it makes instructions. */
#include <stdlib.h>
#include <string.h>

#include "agent/regex/internal.h"

static bool is_char(const struct regex_node *re)
{
	return re->op == RE_CLASS || re->op == RE_ANY_CHAR || re->op == RE_ANY_BYTE ||
	       (re->op == RE_LITERAL && re->n == 1);
}

static bool is_repeat(const struct regex_node *re)
{
	return re->op == RE_STAR || re->op == RE_PLUS || re->op == RE_QUEST || re->op == RE_REPEAT;
}

/* How often. */
static void bounds(const struct regex_node *re, int *min, int *max)
{
	*min = re->op == RE_REPEAT ? re->min : re->op == RE_PLUS;
	*max = re->op == RE_REPEAT ? re->max : re->op == RE_QUEST ? 1 : -1;
}

static bool can_join(const struct regex_node *a, const struct regex_node *b)
{
	const struct regex_node *c;

	if (!is_repeat(a) || !is_char(a->sub[0]))
		return false;
	c = a->sub[0];
	if (is_repeat(b))
		return regex_node_equal(c, b->sub[0]) && !((a->flags ^ b->flags) & RE_NON_GREEDY);
	if (regex_node_equal(c, b))
		return true;
	return c->op == RE_LITERAL && b->op == RE_LITERAL && b->text[0] == c->text[0] &&
	       !((c->flags ^ b->flags) & RE_FOLD);
}

/* a and b as one count. What is left: *a empty and *b the count, or *a the count and *b the rest of a text. */
static void join(struct regex_pool *p, struct regex_node **a, struct regex_node **b)
{
	struct regex_node *re = regex_node_unary(p, RE_REPEAT, (*a)->flags, (*a)->sub[0]);
	const struct regex_node *c = (*a)->sub[0];
	int min = 1, max = 1;
	uint32_t n = 1;

	bounds(*a, &re->min, &re->max);
	if (is_repeat(*b)) {
		bounds(*b, &min, &max);
	} else if ((*b)->op == RE_LITERAL) {
		while (n < (*b)->n && (*b)->text[n] == c->text[0])
			n++;
		min = max = (int)n;
	}
	re->min += min;
	re->max = max < 0 || re->max < 0 ? -1 : re->max + max;
	if ((*b)->op == RE_LITERAL && n < (*b)->n) {
		*a = re;
		*b = regex_node_literal(p, (*b)->flags, (*b)->text + n, (*b)->n - n);
	} else {
		*a = regex_node_new(p, RE_EMPTY, 0);
		*b = re;
	}
}

/* Takes over sub. */
static struct regex_node *copy_with(struct regex_pool *p, const struct regex_node *re,
				    struct regex_node **sub)
{
	struct regex_node *out = regex_node_new(p, re->op, re->flags);

	if (out != p->all) {
		free(sub); /* without memory it is nobody's */
		return out;
	}
	out->sub = sub;
	out->n = re->n;
	out->min = re->min;
	out->max = re->max;
	out->group = re->group;
	return out;
}

static struct regex_node *coalesce(struct regex_pool *p, struct regex_node *re)
{
	struct regex_node **sub;
	uint32_t n = 0;
	bool any = false;

	if (!re->sub)
		return re;
	sub = calloc(re->n, sizeof(*sub));
	if (!sub) {
		p->full = true;
		return re;
	}
	for (uint32_t i = 0; i < re->n; i++)
		sub[i] = coalesce(p, re->sub[i]);
	re = copy_with(p, re, sub);
	if (re->op != RE_CONCAT || p->full)
		return re;
	for (uint32_t i = 0; i + 1 < re->n; i++) {
		if (can_join(sub[i], sub[i + 1])) {
			join(p, &sub[i], &sub[i + 1]);
			any = true;
		}
	}
	if (!any)
		return re;
	for (uint32_t i = 0; i < re->n; i++) {
		if (sub[i]->op != RE_EMPTY)
			sub[n++] = sub[i];
	}
	re->n = n;
	return re;
}

static bool is_empty_op(const struct regex_node *re)
{
	switch (re->op) {
	case RE_BEGIN_LINE:
	case RE_END_LINE:
	case RE_BEGIN_TEXT:
	case RE_END_TEXT:
	case RE_WORD:
	case RE_NO_WORD:
	case RE_EMPTY:
		return true;
	case RE_CONCAT:
	case RE_ALTERNATE:
		for (uint32_t i = 0; i < re->n; i++) {
			if (!is_empty_op(re->sub[i]))
				return false;
		}
		return true;
	default:
		return false;
	}
}

/* n times x, and `last` behind it. */
static struct regex_node *times(struct regex_pool *p, uint32_t flags, struct regex_node *x, int n,
				struct regex_node *last)
{
	struct regex_node **sub = calloc((size_t)n + 1, sizeof(*sub)), *re;
	uint32_t k = 0;

	if (!sub) {
		p->full = true;
		return x;
	}
	while (n-- > 0)
		sub[k++] = x;
	if (last)
		sub[k++] = last;
	re = regex_node_list(p, RE_CONCAT, flags, sub, k);
	free(sub);
	return re;
}

/* x{2,5} is xx(x(x(x)?)?)? */
static struct regex_node *expand(struct regex_pool *p, struct regex_node *x, int min, int max, uint32_t flags)
{
	struct regex_node *opt, *pair[2] = {x}, *head = NULL;

	if (is_empty_op(x)) {
		min = min > 0;
		max = max > 1 ? 1 : max;
	}
	if (max < 0) {
		if (min < 2)
			return regex_node_unary(p, min ? RE_PLUS : RE_STAR, flags, x);
		return times(p, flags, x, min - 1, regex_node_unary(p, RE_PLUS, flags, x));
	}
	if (!max)
		return regex_node_new(p, RE_EMPTY, flags);
	if (min == 1 && max == 1)
		return x;
	if (min > 0)
		head = times(p, flags, x, min, NULL);
	if (max <= min)
		return head;
	opt = regex_node_unary(p, RE_QUEST, flags, x);
	for (int i = min + 1; i < max && !p->full; i++) {
		pair[1] = opt;
		opt = regex_node_unary(p, RE_QUEST, flags,
				       regex_node_list(p, RE_CONCAT, flags, pair, 2));
	}
	if (!head)
		return opt;
	pair[0] = head;
	pair[1] = opt;
	return regex_node_list(p, RE_CONCAT, flags, pair, 2);
}

static struct regex_node *reduce(struct regex_pool *p, struct regex_node *re)
{
	struct regex_node **sub, *in;

	if (re->op == RE_CLASS && !(re->set.w[0] | re->set.w[1] | re->set.w[2] | re->set.w[3]))
		return regex_node_new(p, RE_NONE, re->flags);
	if (!re->sub || p->full)
		return re;
	if (is_repeat(re)) {
		in = reduce(p, re->sub[0]);
		if (in->op == RE_EMPTY)
			return in;
		if (re->op == RE_REPEAT)
			return expand(p, in, re->min, re->max, re->flags);
		if (in->op == re->op && in->flags == re->flags)
			return in;
		sub = malloc(sizeof(*sub));
		if (!sub) {
			p->full = true;
			return re;
		}
		sub[0] = in;
		return copy_with(p, re, sub);
	}
	sub = calloc(re->n, sizeof(*sub));
	if (!sub) {
		p->full = true;
		return re;
	}
	for (uint32_t i = 0; i < re->n; i++)
		sub[i] = reduce(p, re->sub[i]);
	return copy_with(p, re, sub);
}

struct regex_node *regex_simplify(struct regex_pool *p, struct regex_node *re)
{
	return reduce(p, coalesce(p, re));
}
