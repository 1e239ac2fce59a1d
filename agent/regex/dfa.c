// SPDX-License-Identifier: Apache-2.0
/*
 * The table of a full match: subset construction over classes of bytes, then states that no text tells apart become
 * one. A state is the set of instructions that wait for a byte or for what is around the place, and, where that
 * counts, what the byte before was.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/regex/internal.h"

/* States before they are joined; a table that needs more is too large in nearly all cases. */
#define STATES_MAX 4096u
/* The same for a table of several expressions, whose numbers have 16 bits; joining states makes few half as large. */
#define SET_STATES_MAX 16384u
#define SET_JOINED 2u
#define TEXT_END 256u

enum before { AFTER_START = 1, AFTER_NEWLINE = 2, AFTER_WORD = 4 };

struct state {
	uint32_t *set; /* sorted by the order of visits, which is the same for equal sets */
	uint32_t n;
	uint32_t before;
	uint32_t hash, chain;
	uint16_t *next; /* by class; [0]: may end */
};

struct build {
	const struct regex_program *g;
	bool around; /* some instruction looks at what is around it */
	uint8_t class_of[256];
	uint32_t n_class;
	uint8_t sample[257]; /* one byte of each class, from 1 */
	struct state *state;
	uint32_t n_state, cap;
	uint32_t max; /* states */
	uint32_t *table; /* max * 2 */
	/* scratch */
	uint32_t *seen, round, *list, *stack, *other;
	bool no_memory;
	/* several expressions: which of them fit at an end, else NULL */
	struct weft_regex_sets *sets;
	uint64_t *work; /* steps that are left */
};

static bool is_word(uint32_t c)
{
	return c < 256 && (c == '_' || (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z'));
}

/* ---- classes ---- */

static bool fits(const struct weft_img_inst *i, uint32_t c)
{
	if (i->fold && c >= 'A' && c <= 'Z')
		c |= 0x20;
	return c >= i->lo && c <= i->hi;
}

/* Parts each class by one property of bytes. */
static void split(struct build *b, bool (*has)(const void *ctx, uint32_t c), const void *ctx)
{
	uint16_t to[512] = {0};
	uint32_t n = 0;

	for (uint32_t c = 0; c < 256; c++) {
		uint32_t key = b->class_of[c] * 2u + has(ctx, c);

		if (!to[key])
			to[key] = (uint16_t)++n;
		b->class_of[c] = (uint8_t)(to[key] - 1);
	}
	b->n_class = n;
}

static bool by_inst(const void *ctx, uint32_t c)
{
	return fits(ctx, c);
}

static bool by_word(const void *ctx, uint32_t c)
{
	(void)ctx;
	return is_word(c);
}

static bool by_newline(const void *ctx, uint32_t c)
{
	(void)ctx;
	return c == '\n';
}

static void classes_make(struct build *b)
{
	for (uint32_t i = 0; i < b->g->n; i++) {
		if (b->g->inst[i].op == WEFT_INST_BYTE)
			split(b, by_inst, &b->g->inst[i]);
		b->around = b->around || b->g->inst[i].op == WEFT_INST_EMPTY;
	}
	if (b->around) {
		split(b, by_word, NULL);
		split(b, by_newline, NULL);
	}
	if (!b->n_class)
		b->n_class = 1;
	/* with up to 256 classes numbers from 1 do not fit into a byte: the caller gives up then */
	for (uint32_t c = 256; c--;)
		b->sample[b->class_of[c] + 1] = (uint8_t)c;
}

/* ---- sets ---- */

/* Adds what is reached from i without a byte; known: what is around the place, ~0: not known yet. */
static uint32_t closure(struct build *b, uint32_t i, uint32_t around, uint32_t *out, uint32_t n)
{
	uint32_t top = 0;

	b->stack[top++] = i;
	while (top) {
		const struct weft_img_inst *k;

		i = b->stack[--top];
		if (b->seen[i] == b->round)
			continue;
		b->seen[i] = b->round;
		k = &b->g->inst[i];
		switch (k->op) {
		case WEFT_INST_ALT:
			b->stack[top++] = k->arg;
			b->stack[top++] = k->out;
			break;
		case WEFT_INST_NOP:
		case WEFT_INST_MARK:
			b->stack[top++] = k->out;
			break;
		case WEFT_INST_EMPTY:
			if (around == ~0u)
				out[n++] = i;
			else if ((around & k->arg) == k->arg)
				b->stack[top++] = k->out;
			break;
		case WEFT_INST_FAIL:
			break;
		default:
			out[n++] = i;
		}
	}
	return n;
}

/* What holds between a byte and the next one (TEXT_END: none). */
static uint32_t around(uint32_t before, uint32_t c)
{
	bool word = is_word(c) != !!(before & AFTER_WORD);
	uint32_t a = word ? WEFT_EMPTY_WORD : WEFT_EMPTY_NO_WORD;

	if (before & AFTER_START)
		a |= WEFT_EMPTY_BEGIN_TEXT | WEFT_EMPTY_BEGIN_LINE;
	if (before & AFTER_NEWLINE)
		a |= WEFT_EMPTY_BEGIN_LINE;
	if (c == TEXT_END)
		a |= WEFT_EMPTY_END_TEXT | WEFT_EMPTY_END_LINE;
	if (c == '\n')
		a |= WEFT_EMPTY_END_LINE;
	return a;
}

/* Number of the state with this set, made if it is new. 0: the dead one, also when there are too many. */
static uint32_t state_get(struct build *b, const uint32_t *set, uint32_t n, uint32_t before)
{
	uint32_t h = 2166136261u ^ before, at;
	struct state *s;

	if (!n)
		return 0;
	for (uint32_t i = 0; i < n; i++)
		h = (h ^ set[i]) * 16777619u;
	h ^= h >> 15;
	for (at = h % (b->max * 2); b->table[at]; at = (at + 1) % (b->max * 2)) {
		s = &b->state[b->table[at]];
		if (s->hash == h && s->n == n && s->before == before && !memcmp(s->set, set, n * sizeof(*set)))
			return b->table[at];
	}
	if (b->n_state == b->max)
		return b->max;
	if (b->n_state == b->cap) {
		uint32_t cap = b->cap ? b->cap * 2 : 32;

		s = reallocarray(b->state, cap, sizeof(*s));
		if (!s) {
			b->no_memory = true;
			return 0;
		}
		b->state = s;
		b->cap = cap;
	}
	s = &b->state[b->n_state];
	*s = (struct state){.n = n, .before = before, .hash = h};
	s->set = malloc(n * sizeof(*set));
	s->next = calloc(b->n_class + 1, sizeof(*s->next));
	if (!s->set || !s->next) {
		free(s->set);
		free(s->next);
		b->no_memory = true;
		return 0;
	}
	memcpy(s->set, set, n * sizeof(*set));
	b->table[at] = b->n_state;
	return b->n_state++;
}

/* Ascending. What a step gives is nearly so: instructions follow one another. Returns how many it had to move. */
static uint32_t sort(uint32_t *v, uint32_t n)
{
	uint32_t moved = 0;

	for (uint32_t i = 1; i < n; i++) {
		uint32_t x = v[i], k = i;

		for (; k && v[k - 1] > x; k--)
			v[k] = v[k - 1];
		v[k] = x;
		moved += i - k;
	}
	return moved;
}

/* Number of a set of expressions, from 1. */
static uint32_t sets_get(struct build *b, uint32_t *set, uint32_t n)
{
	struct weft_regex_sets *s = b->sets;
	uint32_t *end, *all;

	sort(set, n);
	for (uint32_t i = 0; i < s->n; i++)
		if (s->end[i] - (i ? s->end[i - 1] : 0) == n &&
		    !memcmp(s->expression + s->end[i] - n, set, n * sizeof(*set)))
			return i + 1;
	end = reallocarray(s->end, s->n + 1, sizeof(*end));
	s->end = end ? end : s->end;
	all = reallocarray(s->expression, s->n_all + n, sizeof(*all));
	s->expression = all ? all : s->expression;
	if (!end || !all) {
		b->no_memory = true;
		return 0;
	}
	memcpy(all + s->n_all, set, n * sizeof(*set));
	s->n_all += n;
	end[s->n] = s->n_all;
	return ++s->n;
}

/* The state behind byte c; for TEXT_END whether the text may end, or the number of the set that fits then. */
static uint32_t step(struct build *b, uint32_t from, uint32_t c)
{
	const struct state *s = &b->state[from];
	uint32_t *here = b->list, *there = b->other, n = s->n, m = 0, before = 0;

	memcpy(here, s->set, n * sizeof(*here));
	if (b->around) {
		uint32_t a = around(s->before, c);

		b->round++;
		n = 0;
		for (uint32_t i = 0; i < s->n; i++)
			n = closure(b, s->set[i], a, here, n);
		before = (c == '\n' ? AFTER_NEWLINE : 0u) | (is_word(c) ? AFTER_WORD : 0u);
	}
	b->round++;
	for (uint32_t i = 0; i < n; i++) {
		const struct weft_img_inst *k = &b->g->inst[here[i]];

		if (c == TEXT_END && k->op == WEFT_INST_MATCH) {
			if (!b->sets)
				return 1;
			there[m++] = k->arg;
		}
		if (c != TEXT_END && k->op == WEFT_INST_BYTE && fits(k, c))
			m = closure(b, k->out, ~0u, there, m);
	}
	if (c == TEXT_END)
		return m ? sets_get(b, there, m) : 0;
	n += m + sort(there, m);
	if (b->work)
		*b->work -= *b->work < n ? *b->work : n;
	return state_get(b, there, m, before);
}

static int states_make(struct build *b)
{
	uint32_t n, to;

	b->cap = 32;
	b->state = calloc(b->cap, sizeof(*b->state));
	if (!b->state)
		return -ENOMEM;
	b->n_state = 1; /* the dead one */
	b->state[0].next = calloc(b->n_class + 1, sizeof(uint16_t));
	if (!b->state[0].next)
		return -ENOMEM;
	b->round++;
	n = closure(b, b->g->start, ~0u, b->other, 0);
	sort(b->other, n);
	state_get(b, b->other, n, b->around ? AFTER_START : 0);
	for (uint32_t i = 1; i < b->n_state && !b->no_memory; i++) {
		if (b->work && !*b->work)
			return -E2BIG;
		b->state[i].next[0] = (uint16_t)step(b, i, TEXT_END);
		for (uint32_t c = 1; c <= b->n_class; c++) {
			to = step(b, i, b->sample[c]);
			if (to == b->max)
				return -E2BIG;
			b->state[i].next[c] = (uint16_t)to;
		}
	}
	return b->no_memory ? -ENOMEM : 0;
}

/* ---- joining states ---- */

/* part[i]: number of i's group. Groups are split until their members agree on every byte's group. */
static uint32_t groups_split(const struct build *b, uint16_t *part, uint16_t *old)
{
	uint32_t n = 1, before, size = b->n_state;
	uint32_t *slot = calloc(b->max * 2, sizeof(*slot));

	if (!slot)
		return 0;
	for (uint32_t i = 0; i < size; i++) {
		part[i] = b->state[i].next[0];
		n = part[i] >= n ? part[i] + 1u : n;
	}
	do {
		before = n;
		n = 0;
		memcpy(old, part, size * sizeof(*part));
		memset(slot, 0, b->max * 2 * sizeof(*slot));
		for (uint32_t i = 0; i < size; i++) {
			uint32_t h = 2166136261u ^ old[i], at, other = 0;

			for (uint32_t c = 1; c <= b->n_class; c++)
				h = (h ^ old[b->state[i].next[c]]) * 16777619u;
			h ^= h >> 15;
			for (at = h % (b->max * 2); slot[at]; at = (at + 1) % (b->max * 2)) {
				bool same;

				other = slot[at] - 1;
				same = old[other] == old[i];
				for (uint32_t c = 1; same && c <= b->n_class; c++)
					same = old[b->state[other].next[c]] ==
					       old[b->state[i].next[c]];
				if (same)
					break;
			}
			if (!slot[at]) {
				slot[at] = i + 1;
				part[i] = (uint16_t)n++;
			} else {
				part[i] = part[other];
			}
		}
	} while (n != before);
	free(slot);
	return n;
}

/* The dead state is the first, and so is its group. */
static int table_make(const struct build *b, size_t max, void **ret, size_t *ret_len)
{
	uint16_t *part = calloc(b->n_state * 2, sizeof(*part)), *next;
	uint32_t n = part ? groups_split(b, part, part + b->n_state) : 0, stride = b->n_class + 1;
	struct weft_img_dfa *out;
	size_t len = sizeof(*out) + (size_t)n * stride * sizeof(*next);

	if (!n || len > max || (size_t)n * stride * sizeof(*next) > 65536) {
		free(part);
		return n ? -E2BIG : -ENOMEM;
	}
	out = calloc(1, len);
	if (!out) {
		free(part);
		return -ENOMEM;
	}
	out->n_state = (uint16_t)n;
	out->stride = (uint16_t)stride;
	out->start = (uint16_t)(b->n_state > 1 ? part[1] * stride * sizeof(*next) : 0);
	for (uint32_t c = 0; c < 256; c++)
		out->class_of[c] = (uint8_t)(b->class_of[c] + 1);
	next = (uint16_t *)(out + 1);
	for (uint32_t i = 0; i < b->n_state; i++) {
		uint16_t *row = next + (size_t)part[i] * stride;

		row[0] = b->state[i].next[0];
		for (uint32_t c = 1; c < stride; c++)
			row[c] = (uint16_t)(part[b->state[i].next[c]] * stride * sizeof(*next));
	}
	free(part);
	*ret = out;
	*ret_len = len;
	return 0;
}

static int program_run(const struct regex_program *g, uint32_t states, struct weft_regex_sets *sets, uint64_t *work,
		       size_t max, void **ret, size_t *ret_len)
{
	struct build *b = calloc(1, sizeof(*b));
	uint32_t n = g->n;
	int r = -ENOMEM;

	if (!b)
		return -ENOMEM;
	*b = (struct build){.g = g, .max = states, .sets = sets, .work = work};
	b->seen = calloc(n * 6 + 8, sizeof(*b->seen));
	b->table = calloc(states * 2, sizeof(*b->table));
	if (b->seen && b->table) {
		b->list = b->seen + n;
		b->other = b->list + n + 1;
		b->stack = b->other + n + 1; /* two for each choice */
		classes_make(b);
		if (sets && b->max > SET_JOINED * max / (b->n_class + 1) / sizeof(uint16_t))
			b->max = (uint32_t)(SET_JOINED * max / (b->n_class + 1) / sizeof(uint16_t));
		r = b->n_class > 255 ? -E2BIG : states_make(b);
	}
	if (!r)
		r = table_make(b, max, ret, ret_len);
	for (uint32_t i = 0; i < b->n_state; i++) {
		free(b->state[i].set);
		free(b->state[i].next);
	}
	free(b->state);
	free(b->table);
	free(b->seen);
	free(b);
	return r;
}

int weft_regex_dfa(const struct weft_regex *re, size_t max, void **ret, size_t *ret_len)
{
	return program_run(&re->program, STATES_MAX, NULL, NULL, max, ret, ret_len);
}

/* One program that begins in all of them; the end of each holds its number. */
static int programs_join(const struct weft_regex *const *re, uint32_t n, struct regex_program *ret)
{
	uint32_t size = n, at = 0;

	for (uint32_t i = 0; i < n; i++)
		size += re[i]->program.n;
	*ret = (struct regex_program){.inst = calloc(size, sizeof(*ret->inst)), .n = size};
	if (!ret->inst)
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++) {
		const struct regex_program *g = &re[i]->program;

		for (uint32_t k = 0; k < g->n; k++) {
			struct weft_img_inst *c = &ret->inst[at + k];

			*c = g->inst[k];
			c->out += at;
			if (c->op == WEFT_INST_ALT)
				c->arg += at;
			if (c->op == WEFT_INST_MATCH)
				c->arg = i;
		}
		ret->inst[size - n + i] = (struct weft_img_inst){
			.op = WEFT_INST_ALT, .out = at + g->start, .arg = i + 1 < n ? size - n + i + 1 : at + g->start};
		at += g->n;
	}
	ret->start = size - n;
	return 0;
}

int weft_regex_dfa_set(const struct weft_regex *const *re, uint32_t n, size_t max, uint64_t *work, void **ret,
		       size_t *ret_len, struct weft_regex_sets *ret_sets)
{
	struct regex_program all;
	int r = programs_join(re, n, &all);

	*ret_sets = (struct weft_regex_sets){0};
	if (!r)
		r = program_run(&all, SET_STATES_MAX, ret_sets, work, max, ret, ret_len);
	free(all.inst);
	if (r)
		weft_regex_sets_clear(ret_sets);
	return r;
}

void weft_regex_sets_clear(struct weft_regex_sets *s)
{
	free(s->end);
	free(s->expression);
	*s = (struct weft_regex_sets){0};
}
