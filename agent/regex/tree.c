// SPDX-License-Identifier: Apache-2.0
/* Nodes of an expression. They live until the whole tree goes; several parents may share one. */
#include <stdlib.h>
#include <string.h>

#include "agent/regex/internal.h"

/* What is handed out when memory is short, so that callers need no check at each step. */
static struct regex_node spare;

struct regex_node *regex_node_new(struct regex_pool *p, enum regex_op op, uint32_t flags)
{
	struct regex_node *re = calloc(1, sizeof(*re));

	if (!re) {
		p->full = true;
		return &spare;
	}
	re->op = op;
	re->flags = flags;
	re->next = p->all;
	p->all = re;
	return re;
}

void regex_pool_free(struct regex_pool *p)
{
	while (p->all) {
		struct regex_node *next = p->all->next;

		free(p->all->text);
		free(p->all->sub);
		free(p->all);
		p->all = next;
	}
}

struct regex_node *regex_node_list(struct regex_pool *p, enum regex_op op, uint32_t flags,
				   struct regex_node *const *sub, uint32_t n)
{
	struct regex_node *re;

	if (n == 1)
		return sub[0];
	if (!n)
		return regex_node_new(p, op == RE_ALTERNATE ? RE_NONE : RE_EMPTY, flags);
	re = regex_node_new(p, op, flags);
	if (re == &spare)
		return re;
	re->sub = calloc(n, sizeof(*sub));
	if (!re->sub) {
		p->full = true;
		re->op = RE_EMPTY;
		return re;
	}
	memcpy(re->sub, sub, n * sizeof(*sub));
	re->n = n;
	return re;
}

struct regex_node *regex_node_literal(struct regex_pool *p, uint32_t flags, const uint8_t *text,
				      uint32_t n)
{
	struct regex_node *re = regex_node_new(p, n ? RE_LITERAL : RE_EMPTY, flags);

	if (!n || re == &spare)
		return re;
	re->text = malloc(n);
	if (!re->text) {
		p->full = true;
		re->op = RE_EMPTY;
		return re;
	}
	memcpy(re->text, text, n);
	re->n = n;
	return re;
}

static struct regex_node *over(struct regex_pool *p, enum regex_op op, uint32_t flags,
			       struct regex_node *sub)
{
	struct regex_node *re = regex_node_new(p, op, flags);

	if (re == &spare)
		return re;
	re->sub = malloc(sizeof(*re->sub));
	if (!re->sub) {
		p->full = true;
		re->op = RE_EMPTY;
		return re;
	}
	re->sub[0] = sub;
	re->n = 1;
	return re;
}

static bool is_unary(const struct regex_node *re)
{
	return re->op == RE_STAR || re->op == RE_PLUS || re->op == RE_QUEST;
}

struct regex_node *regex_node_unary(struct regex_pool *p, enum regex_op op, uint32_t flags,
				    struct regex_node *sub)
{
	if (op == RE_REPEAT || op == RE_CAPTURE || !is_unary(sub) || sub->flags != flags)
		return over(p, op, flags, sub);
	/* ** ++ ?? are one of them, every other pair is a star */
	if (sub->op == op || sub->op == RE_STAR)
		return sub;
	return over(p, RE_STAR, flags, sub->sub[0]);
}

bool regex_node_equal(const struct regex_node *a, const struct regex_node *b)
{
	if (a == b)
		return true;
	if (a->op != b->op || a->n != b->n)
		return false;
	switch (a->op) {
	case RE_LITERAL:
		return !((a->flags ^ b->flags) & RE_FOLD) && !memcmp(a->text, b->text, a->n);
	case RE_END_TEXT:
		return !((a->flags ^ b->flags) & RE_DOLLAR);
	case RE_CLASS:
		return !memcmp(&a->set, &b->set, sizeof(a->set));
	case RE_STAR:
	case RE_PLUS:
	case RE_QUEST:
	case RE_REPEAT:
		if ((a->flags ^ b->flags) & RE_NON_GREEDY || a->min != b->min || a->max != b->max)
			return false;
		break;
	case RE_CAPTURE:
		if (a->group != b->group)
			return false;
		break;
	default:
		break;
	}
	for (uint32_t i = 0; a->sub && i < a->n; i++) {
		if (!regex_node_equal(a->sub[i], b->sub[i]))
			return false;
	}
	return true;
}

/* RE2 folds ASCII alone where characters are bytes (seen with Envoy 1.40 by its program sizes). */
void regex_set_fold(struct regex_set *s, unsigned int c)
{
	unsigned int up = c & ~0x20u;

	set_add(s, c);
	if (up >= 'A' && up <= 'Z')
		set_add(s, c ^ 0x20);
}
