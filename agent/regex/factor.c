// SPDX-License-Identifier: Apache-2.0
/*
 * What the branches of an alternation have in common: first a text, then one simple piece, at last single characters
 * that become a class. It is the order and the extent of RE2's factoring, on which its program's size depends.
 */
#include <string.h>

#include "agent/regex/internal.h"

/* The text a branch begins with, NULL: none. */
static struct regex_node *leading_text(struct regex_node *re)
{
	while (re->op == RE_CONCAT && re->n)
		re = re->sub[0];
	return re->op == RE_LITERAL ? re : NULL;
}

/* Takes the first piece off a sequence. */
static struct regex_node *tail(struct regex_node *re)
{
	if (re->n == 2)
		return re->sub[1];
	memmove(re->sub, re->sub + 1, (re->n - 1) * sizeof(*re->sub));
	re->n--;
	return re;
}

/* Takes n bytes off the leading text; a text that is used up goes, with each sequence that it began. */
static struct regex_node *text_cut(struct regex_pool *p, struct regex_node *re, uint32_t n)
{
	if (re->op == RE_CONCAT) {
		re->sub[0] = text_cut(p, re->sub[0], n);
		return re->sub[0]->op == RE_EMPTY ? tail(re) : re;
	}
	if (n >= re->n)
		return regex_node_new(p, RE_EMPTY, re->flags);
	memmove(re->text, re->text + n, re->n - n);
	re->n -= n;
	return re;
}

static struct regex_node *leading_piece(struct regex_node *re)
{
	if (re->op == RE_EMPTY)
		return NULL;
	if (re->op == RE_CONCAT && re->n >= 2)
		return re->sub[0]->op == RE_EMPTY ? NULL : re->sub[0];
	return re;
}

static struct regex_node *piece_cut(struct regex_pool *p, struct regex_node *re)
{
	if (re->op == RE_CONCAT && re->n >= 2)
		return tail(re);
	return regex_node_new(p, RE_EMPTY, re->flags);
}

static bool is_char(const struct regex_node *re)
{
	return re->op == RE_CLASS || re->op == RE_ANY_CHAR || re->op == RE_ANY_BYTE ||
	       (re->op == RE_LITERAL && re->n == 1);
}

/* What may be drawn out without joining ways that RE2 tells apart. */
static bool is_simple(const struct regex_node *re)
{
	switch (re->op) {
	case RE_BEGIN_LINE:
	case RE_END_LINE:
	case RE_BEGIN_TEXT:
	case RE_END_TEXT:
	case RE_WORD:
	case RE_NO_WORD:
	case RE_CLASS:
	case RE_ANY_CHAR:
	case RE_ANY_BYTE:
		return true;
	case RE_REPEAT:
		return re->min == re->max && is_char(re->sub[0]);
	default:
		return false;
	}
}

/* The run sub[0..n) behind a common beginning. */
static struct regex_node *joined(struct regex_pool *p, struct regex_node *prefix,
				 struct regex_node **sub, uint32_t n, uint32_t flags)
{
	struct regex_node *both[2] = {prefix};

	n = regex_factor(p, sub, n, flags);
	both[1] = regex_node_list(p, RE_ALTERNATE, flags, sub, n);
	return regex_node_list(p, RE_CONCAT, flags, both, 2);
}

static uint32_t factor_texts(struct regex_pool *p, struct regex_node **sub, uint32_t n, uint32_t flags)
{
	uint32_t out = 0, start = 0, same = 0;
	struct regex_node *first = NULL;

	for (uint32_t i = 0; i <= n; i++) {
		struct regex_node *t = i < n ? leading_text(sub[i]) : NULL;

		if (t && first && !((t->flags ^ first->flags) & RE_FOLD)) {
			uint32_t k = 0;

			while (k < same && k < t->n && first->text[k] == t->text[k])
				k++;
			if (k) {
				same = k;
				continue;
			}
		}
		if (i > start + 1) {
			struct regex_node *prefix =
				regex_node_literal(p, first->flags & RE_FOLD, first->text, same);

			for (uint32_t j = start; j < i; j++)
				sub[j] = text_cut(p, sub[j], same);
			sub[out++] = joined(p, prefix, sub + start, i - start, flags);
		} else if (i > start) {
			sub[out++] = sub[start];
		}
		start = i;
		first = t;
		same = t ? t->n : 0;
	}
	return out;
}

static uint32_t factor_pieces(struct regex_pool *p, struct regex_node **sub, uint32_t n, uint32_t flags)
{
	uint32_t out = 0, start = 0;
	struct regex_node *first = NULL;

	for (uint32_t i = 0; i <= n; i++) {
		struct regex_node *t = i < n ? leading_piece(sub[i]) : NULL;

		if (t && first && is_simple(first) && regex_node_equal(first, t))
			continue;
		if (i > start + 1) {
			for (uint32_t j = start; j < i; j++)
				sub[j] = piece_cut(p, sub[j]);
			sub[out++] = joined(p, first, sub + start, i - start, flags);
		} else if (i > start) {
			sub[out++] = sub[start];
		}
		start = i;
		first = t;
	}
	return out;
}

static bool is_letter(const struct regex_node *re)
{
	return re->op == RE_CLASS || (re->op == RE_LITERAL && re->n == 1);
}

static uint32_t factor_letters(struct regex_pool *p, struct regex_node **sub, uint32_t n, uint32_t flags)
{
	uint32_t out = 0, start = 0;

	for (uint32_t i = 1; i <= n; i++) {
		struct regex_node *re;

		if (i < n && is_letter(sub[start]) && is_letter(sub[i]))
			continue;
		if (i == start + 1) {
			sub[out++] = sub[start];
			start = i;
			continue;
		}
		re = regex_node_new(p, RE_CLASS, flags & ~RE_FOLD);
		for (uint32_t j = start; j < i; j++) {
			if (sub[j]->op == RE_LITERAL && sub[j]->flags & RE_FOLD)
				regex_set_fold(&re->set, sub[j]->text[0]);
			else if (sub[j]->op == RE_LITERAL)
				set_add(&re->set, sub[j]->text[0]);
			for (int k = 0; k < 4; k++)
				re->set.w[k] |= sub[j]->op == RE_CLASS ? sub[j]->set.w[k] : 0;
		}
		sub[out++] = re;
		start = i;
	}
	return out;
}

uint32_t regex_factor(struct regex_pool *p, struct regex_node **sub, uint32_t n, uint32_t flags)
{
	n = factor_texts(p, sub, n, flags);
	n = factor_pieces(p, sub, n, flags);
	return n ? factor_letters(p, sub, n, flags) : 0;
}
