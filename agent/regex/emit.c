// SPDX-License-Identifier: Apache-2.0
/* Instructions of a tree, as RE2 lays them out: the n-th instruction here is the n-th there. */
#include <stdlib.h>
#include <string.h>

#include "agent/regex/internal.h"

/* A piece: where it begins, and the exits that are still open, linked through the instructions themselves. */
struct piece {
	uint32_t begin; /* 0: matches nothing */
	uint32_t head, tail; /* exit: instruction << 1 | (1: its arg, 0: its out); 0: none */
	bool nullable;
};

static const struct piece nothing;

static uint32_t add(struct regex_program *g, enum weft_inst_op op)
{
	if (g->n == g->cap) {
		uint32_t cap = g->cap ? g->cap * 2 : 64;
		bool fits = cap <= REGEX_INSTS_MAX * 2;
		struct weft_img_inst *inst =
			fits ? reallocarray(g->inst, cap, sizeof(*inst)) : NULL;

		if (!inst) {
			g->full = true;
			g->no_memory = fits;
			return 0;
		}
		g->inst = inst;
		g->cap = cap;
	}
	if (g->n >= REGEX_INSTS_MAX) {
		g->full = true;
		return 0;
	}
	g->inst[g->n] = (struct weft_img_inst){.op = (uint8_t)op};
	return g->n++;
}

static uint32_t *exit_at(struct regex_program *g, uint32_t e)
{
	struct weft_img_inst *i = &g->inst[e >> 1];

	return e & 1 ? &i->arg : &i->out;
}

static void patch(struct regex_program *g, struct piece p, uint32_t to)
{
	for (uint32_t e = p.head, next; e; e = next) {
		uint32_t *at = exit_at(g, e);

		next = *at;
		*at = to;
	}
}

static struct piece join(struct regex_program *g, struct piece a, struct piece b)
{
	if (!a.head)
		return b;
	if (!b.head)
		return a;
	*exit_at(g, a.tail) = b.head;
	a.tail = b.tail;
	return a;
}

static struct piece one(uint32_t i, uint32_t arg, bool nullable)
{
	return (struct piece){i, i << 1 | arg, i << 1 | arg, nullable};
}

static struct piece bytes(struct regex_program *g, unsigned int lo, unsigned int hi, bool fold)
{
	uint32_t i = add(g, WEFT_INST_BYTE);

	if (g->full)
		return nothing;
	g->inst[i].lo = (uint8_t)lo;
	g->inst[i].hi = (uint8_t)hi;
	g->inst[i].fold = fold;
	return one(i, 0, false);
}

static struct piece simple(struct regex_program *g, enum weft_inst_op op, uint32_t arg)
{
	uint32_t i = add(g, op);

	if (g->full)
		return nothing;
	g->inst[i].arg = arg;
	return one(i, 0, true);
}

static struct piece cat(struct regex_program *g, struct piece a, struct piece b)
{
	const struct weft_img_inst *i = &g->inst[a.begin];

	if (!a.begin || !b.begin)
		return nothing;
	if (i->op == WEFT_INST_NOP && a.head == a.begin << 1 && !i->out) {
		patch(g, a, b.begin); /* something else may point to it */
		return b;
	}
	patch(g, a, b.begin);
	return (struct piece){a.begin, b.head, b.tail, a.nullable && b.nullable};
}

static struct piece alt(struct regex_program *g, struct piece a, struct piece b)
{
	struct piece p;
	uint32_t i;

	if (!a.begin || !b.begin)
		return a.begin ? a : b;
	i = add(g, WEFT_INST_ALT);
	if (g->full)
		return nothing;
	g->inst[i].out = a.begin;
	g->inst[i].arg = b.begin;
	p = join(g, a, b);
	p.begin = i;
	p.nullable = a.nullable || b.nullable;
	return p;
}

/* An instruction that goes to `in` or out of the loop; its open exit. */
static struct piece choice(struct regex_program *g, uint32_t in, bool lazy)
{
	uint32_t i = add(g, WEFT_INST_ALT);

	if (g->full)
		return nothing;
	if (lazy)
		g->inst[i].arg = in;
	else
		g->inst[i].out = in;
	return one(i, !lazy, true);
}

static struct piece plus(struct regex_program *g, struct piece a, bool lazy)
{
	struct piece c = choice(g, a.begin, lazy);

	if (g->full)
		return nothing;
	patch(g, a, c.begin);
	c.begin = a.begin;
	c.nullable = a.nullable;
	return c;
}

static struct piece quest(struct regex_program *g, struct piece a, bool lazy)
{
	struct piece c;

	if (!a.begin)
		return simple(g, WEFT_INST_NOP, 0);
	c = choice(g, a.begin, lazy);
	if (g->full)
		return nothing;
	a = join(g, c, a);
	a.begin = c.begin;
	a.nullable = true;
	return a;
}

static struct piece star(struct regex_program *g, struct piece a, bool lazy)
{
	struct piece c;

	/* one choice does not keep the order of ways when the inside may be empty */
	if (a.nullable)
		return quest(g, plus(g, a, lazy), lazy);
	c = choice(g, a.begin, lazy);
	if (g->full)
		return nothing;
	patch(g, a, c.begin);
	return c;
}

/* Ranges of the class, those of one case left out where both are alike. */
static struct piece class(struct regex_program *g, const struct regex_set *set)
{
	uint64_t up = set->w[1] & 0x7fffffe, low = set->w[1] >> 32 & 0x7fffffe;
	struct piece all = nothing;

	for (unsigned int lo = 0, hi; lo < 256; lo = hi + 1) {
		struct piece p;
		bool fold = up == low;

		hi = lo;
		if (!set_has(set, lo))
			continue;
		while (hi < 255 && set_has(set, hi + 1))
			hi++;
		if (fold && lo >= 'A' && hi <= 'Z')
			continue;
		if ((lo <= 'A' && hi >= 'z') || hi < 'A' || lo > 'z' || (lo > 'Z' && hi < 'a'))
			fold = false;
		p = bytes(g, lo, hi, fold);
		all = all.begin ? alt(g, all, p) : p;
	}
	return all;
}

static struct piece emit(struct regex_program *g, const struct regex_node *re);

static struct piece emit_list(struct regex_program *g, const struct regex_node *re)
{
	struct piece all = nothing;

	/* RE2 makes the instructions of all parts first, then those that join them */
	struct piece *p = calloc(re->n, sizeof(*p));

	if (!p) {
		g->full = g->no_memory = true;
		return nothing;
	}
	for (uint32_t i = 0; i < re->n && !g->full; i++)
		p[i] = emit(g, re->sub[i]);
	for (uint32_t i = 0; i < re->n && !g->full; i++)
		all = !i ? p[i] : re->op == RE_CONCAT ? cat(g, all, p[i]) : alt(g, all, p[i]);
	free(p);
	return all;
}

static struct piece emit_capture(struct regex_program *g, const struct regex_node *re)
{
	struct piece in = emit(g, re->sub[0]);
	uint32_t a, b;

	if (!in.begin)
		return nothing;
	a = add(g, WEFT_INST_MARK);
	b = add(g, WEFT_INST_MARK);
	if (g->full)
		return nothing;
	g->inst[a].out = in.begin;
	g->inst[a].arg = (uint32_t)re->group * 2;
	g->inst[b].arg = (uint32_t)re->group * 2 + 1;
	patch(g, in, b);
	return (struct piece){a, b << 1, b << 1, in.nullable};
}

static struct piece emit_text(struct regex_program *g, const struct regex_node *re)
{
	struct piece all = nothing;

	for (uint32_t i = 0; i < re->n && !g->full; i++) {
		bool fold = re->flags & RE_FOLD;
		unsigned int c = re->text[i];
		struct piece p;

		/* RE2 compares in lower case */
		if (fold && c >= 'A' && c <= 'Z')
			c |= 0x20;
		p = bytes(g, c, c, fold);
		all = i ? cat(g, all, p) : p;
	}
	return all;
}

static struct piece emit(struct regex_program *g, const struct regex_node *re)
{
	static const uint8_t empty[] = {
		[RE_BEGIN_LINE] = WEFT_EMPTY_BEGIN_LINE, [RE_END_LINE] = WEFT_EMPTY_END_LINE,
		[RE_BEGIN_TEXT] = WEFT_EMPTY_BEGIN_TEXT, [RE_END_TEXT] = WEFT_EMPTY_END_TEXT,
		[RE_WORD] = WEFT_EMPTY_WORD,		 [RE_NO_WORD] = WEFT_EMPTY_NO_WORD,
	};
	bool lazy = re->flags & RE_NON_GREEDY;

	if (g->full)
		return nothing;
	switch (re->op) {
	case RE_EMPTY:
		return simple(g, WEFT_INST_NOP, 0);
	case RE_LITERAL:
		return emit_text(g, re);
	case RE_CLASS:
		return class(g, &re->set);
	case RE_ANY_BYTE:
	case RE_ANY_CHAR:
		return bytes(g, 0, 255, false);
	case RE_CONCAT:
	case RE_ALTERNATE:
		return emit_list(g, re);
	case RE_STAR:
		return star(g, emit(g, re->sub[0]), lazy);
	case RE_PLUS:
		return plus(g, emit(g, re->sub[0]), lazy);
	case RE_QUEST:
		return quest(g, emit(g, re->sub[0]), lazy);
	case RE_CAPTURE:
		return emit_capture(g, re);
	case RE_BEGIN_LINE:
	case RE_END_LINE:
	case RE_BEGIN_TEXT:
	case RE_END_TEXT:
	case RE_WORD:
	case RE_NO_WORD:
		return simple(g, WEFT_INST_EMPTY, empty[re->op]);
	default:
		return nothing;
	}
}

static void program_begin(struct regex_program *g)
{
	*g = (struct regex_program){0};
	add(g, WEFT_INST_FAIL);
}

static struct piece with_match(struct regex_program *g, struct piece all)
{
	uint32_t i = add(g, WEFT_INST_MATCH);

	return g->full ? nothing : cat(g, all, (struct piece){.begin = i});
}

void regex_emit(struct regex_program *g, const struct regex_node *re)
{
	program_begin(g);
	if (!g->full)
		g->start = with_match(g, emit(g, re)).begin;
}

/* ---- the number of RE2's instructions ---- */

static struct regex_node *anchor_cut(struct regex_pool *p, struct regex_node *re, bool end, int depth, bool *cut);

static struct regex_node *anchor_cut_list(struct regex_pool *p, struct regex_node *re, bool end, int depth,
					  bool *cut)
{
	uint32_t at = end ? re->n - 1 : 0;
	struct regex_node *out, *in = anchor_cut(p, re->sub[at], end, depth + 1, cut);

	if (!*cut)
		return re;
	if (re->op == RE_CAPTURE) {
		out = regex_node_unary(p, RE_CAPTURE, re->flags, in);
		out->group = re->group;
		return out;
	}
	out = regex_node_list(p, RE_CONCAT, re->flags, re->sub, re->n);
	if (out->sub && out->n == re->n)
		out->sub[at] = in;
	return out;
}

/* Takes the anchor at the begin (end) off, where RE2 sees it. */
static struct regex_node *anchor_cut(struct regex_pool *p, struct regex_node *re, bool end, int depth, bool *cut)
{
	if (depth >= 4)
		return re;
	if (re->op == (end ? RE_END_TEXT : RE_BEGIN_TEXT)) {
		*cut = true;
		return regex_node_new(p, RE_EMPTY, re->flags);
	}
	if ((re->op == RE_CONCAT && re->n) || re->op == RE_CAPTURE)
		return anchor_cut_list(p, re, end, depth, cut);
	return re;
}

/* RE2 keeps an anchored beginning of plain text apart from its program. */
static struct regex_node *prefix_cut(struct regex_pool *p, struct regex_node *re)
{
	uint32_t i = 0;

	if (re->op != RE_CONCAT)
		return re;
	while (i < re->n && re->sub[i]->op == RE_BEGIN_TEXT)
		i++;
	if (!i || i >= re->n || re->sub[i]->op != RE_LITERAL)
		return re;
	i++;
	return regex_node_list(p, RE_CONCAT, re->flags, re->sub + i, re->n - i);
}

/* Loops over any byte that end in a match count one more. */
static bool is_alt_match(const struct regex_program *g, uint32_t i)
{
	const struct weft_img_inst *k = &g->inst[i], *byte, *match;

	if (k->op != WEFT_INST_ALT)
		return false;
	byte = &g->inst[k->out];
	match = &g->inst[k->arg];
	if (byte->op != WEFT_INST_BYTE) {
		byte = match;
		match = &g->inst[k->out];
	}
	while (match->op == WEFT_INST_MARK || match->op == WEFT_INST_NOP)
		match = &g->inst[match->out];
	return byte->op == WEFT_INST_BYTE && match->op == WEFT_INST_MATCH && byte->out == i &&
	       !byte->lo && byte->hi == 255;
}

static void skip_nops(const struct regex_program *g, uint32_t *to)
{
	while (*to && g->inst[*to].op == WEFT_INST_NOP)
		*to = g->inst[*to].out;
}

/* From start, over instructions that do nothing. list: room for all; what cannot be reached may point anywhere. */
static void optimize(struct regex_program *g, uint32_t start, uint32_t *list, uint32_t *seen, bool *alt_match)
{
	uint32_t n = 0;

	list[n++] = start;
	seen[start] = 1;
	for (uint32_t at = 0; at < n; at++) {
		struct weft_img_inst *k = &g->inst[list[at]];

		if (k->op == WEFT_INST_MATCH || k->op == WEFT_INST_FAIL)
			continue;
		skip_nops(g, &k->out);
		if (!seen[k->out])
			list[n++] = k->out;
		seen[k->out] = 1;
		if (k->op != WEFT_INST_ALT)
			continue;
		skip_nops(g, &k->arg);
		if (!seen[k->arg])
			list[n++] = k->arg;
		seen[k->arg] = 1;
	}
	for (uint32_t at = 0; at < n; at++)
		alt_match[list[at]] = is_alt_match(g, list[at]);
}

/* Scratch of the count. */
struct flat {
	const struct regex_program *g;
	uint32_t *root; /* number + 1 of an instruction that begins a list; 0: none */
	uint32_t n_root;
	uint32_t *seen, round;
	uint32_t *list, n_list; /* what the last walk came to, in order */
	uint32_t *stack;
	uint32_t *pred_head, *pred_next, *pred, n_pred; /* choices that lead to an instruction */
	const bool *alt_match;
};

static void root_add(struct flat *f, uint32_t i)
{
	if (!f->root[i])
		f->root[i] = ++f->n_root;
}

static void pred_add(struct flat *f, uint32_t to, uint32_t from)
{
	f->pred[++f->n_pred] = from;
	f->pred_next[f->n_pred] = f->pred_head[to];
	f->pred_head[to] = f->n_pred;
}

/* From `start` over choices (and, when `through`, over everything); returns instructions of the list at a root. */
static uint32_t walk(struct flat *f, uint32_t start, bool through)
{
	uint32_t n = 0, top = 0, count = 0;

	f->round++;
	f->stack[top++] = start;
	while (top) {
		uint32_t i = f->stack[--top];

		while (f->seen[i] != f->round) {
			const struct weft_img_inst *k = &f->g->inst[i];

			f->seen[i] = f->round;
			f->list[n++] = i;
			if (!through && i != start && f->root[i]) {
				count++; /* a jump to that list */
				break;
			}
			if (k->op == WEFT_INST_ALT) {
				if (through) {
					pred_add(f, k->out, i);
					pred_add(f, k->arg, i);
				}
				count += f->alt_match[i];
				f->stack[top++] = k->arg;
				i = k->out;
			} else if (k->op == WEFT_INST_NOP) {
				i = k->out;
			} else {
				count++;
				if (!through || k->op == WEFT_INST_MATCH || k->op == WEFT_INST_FAIL)
					break;
				root_add(f, k->out);
				i = k->out;
			}
		}
	}
	f->n_list = n;
	return count;
}

/* Whatever this root's list shares with ways from elsewhere gets a list of its own. */
static void mark_shared(struct flat *f, uint32_t root)
{
	walk(f, root, false);
	for (uint32_t n = 0; n < f->n_list; n++) {
		uint32_t i = f->list[n];

		for (uint32_t e = f->pred_head[i]; e; e = f->pred_next[e]) {
			if (f->seen[f->pred[e]] != f->round)
				root_add(f, i);
		}
	}
}

static uint32_t count_lists(struct flat *f, uint32_t unanchored, uint32_t start)
{
	uint32_t total = 0, n = f->g->n;
	uint32_t *before = f->pred_next + 2 * n + 2; /* roots of the first pass */

	root_add(f, 0);
	root_add(f, unanchored);
	root_add(f, start);
	walk(f, unanchored, true);
	memcpy(before, f->root, n * sizeof(*before));
	for (uint32_t i = n; --i;) {
		if (before[i] && i != unanchored && i != start)
			mark_shared(f, i);
	}
	for (uint32_t i = 0; i < n; i++)
		total += f->root[i] ? walk(f, i, false) : 0;
	return total;
}

uint32_t regex_re2_size(struct regex_pool *p, struct regex_node *re)
{
	struct regex_program g;
	bool begin = false, end = false;
	struct piece all, loop;
	uint32_t total = 0, start;

	re = regex_simplify(p, prefix_cut(p, re));
	re = anchor_cut(p, re, false, 0, &begin);
	re = anchor_cut(p, re, true, 0, &end);
	program_begin(&g);
	if (g.full || p->full)
		goto out;
	all = with_match(&g, emit(&g, re));
	start = all.begin;
	if (!begin) {
		loop = star(&g, bytes(&g, 0, 255, false), true);
		all = cat(&g, loop, all);
	}
	if (g.full) {
		total = g.no_memory ? 0 : UINT32_MAX;
		goto out;
	}
	if (!all.begin && !start) {
		total = 1;
		goto out;
	}
	/* stack and list hold each instruction twice at most; one block for all */
	size_t n = g.n, words = n * 16 + 16;
	uint32_t *block = calloc(words, sizeof(*block));
	bool *alt_match = calloc(n, sizeof(*alt_match));

	if (block && alt_match) {
		struct flat f = {.g = &g,
				 .root = block,
				 .seen = block + n,
				 .list = block + 2 * n,
				 .stack = block + 3 * n,
				 .pred_head = block + 6 * n,
				 .pred = block + 7 * n,
				 .pred_next = block + 10 * n,
				 .alt_match = alt_match};

		optimize(&g, start, f.list, f.seen, alt_match);
		f.round = 1; /* seen[] has ones */
		total = count_lists(&f, all.begin, start);
	}
	free(block);
	free(alt_match);
out:
	free(g.inst);
	return total;
}
