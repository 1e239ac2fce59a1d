/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */

/* Regular expressions that are too large for a table: a set of instructions goes over the text, byte by byte. */

#include <string.h>

#include "bpf/engine/engine.h"

struct set {
	__u32 n;
	__u32 inst[WEFT_NFA_INSTS_MAX];
};

struct run {
	const struct weft_img_inst *inst;
	struct set here, next;
	__u32 seen[WEFT_NFA_INSTS_MAX], round;
	__u32 stack[WEFT_NFA_INSTS_MAX * 2 + 2];
};

static int is_word(__u32 c)
{
	return c == '_' || c - '0' < 10 || (c < 128 && (c | 0x20) - 'a' < 26);
}

/* What holds in front of text[at]. */
static __u32 around(const __u8 *text, __u32 at, __u32 len)
{
	int before = at && is_word(text[at - 1]), after = at < len && is_word(text[at]);
	__u32 a = before != after ? WEFT_EMPTY_WORD : WEFT_EMPTY_NO_WORD;

	if (!at)
		a |= WEFT_EMPTY_BEGIN_TEXT;
	if (!at || text[at - 1] == '\n')
		a |= WEFT_EMPTY_BEGIN_LINE;
	if (at == len)
		a |= WEFT_EMPTY_END_TEXT;
	if (at == len || text[at] == '\n')
		a |= WEFT_EMPTY_END_LINE;
	return a;
}

/* Adds what can be reached from i without a byte. */
static void add(struct run *r, struct set *s, __u32 i, __u32 a)
{
	__u32 top = 0;

	r->stack[top++] = i;
	while (top) {
		const struct weft_img_inst *k;

		i = r->stack[--top];
		if (r->seen[i] == r->round)
			continue;
		r->seen[i] = r->round;
		k = &r->inst[i];
		if (k->op == WEFT_INST_BYTE || k->op == WEFT_INST_MATCH)
			s->inst[s->n++] = i;
		if (k->op == WEFT_INST_ALT)
			r->stack[top++] = k->arg;
		if (k->op == WEFT_INST_ALT || k->op == WEFT_INST_MARK || k->op == WEFT_INST_NOP ||
		    (k->op == WEFT_INST_EMPTY && (a & k->arg) == k->arg))
			r->stack[top++] = k->out;
	}
}

int weft_nfa_match(const struct weft_img_nfa *nfa, const void *text, __u32 len)
{
	static _Thread_local struct run run;
	struct run *r = &run;
	const __u8 *p = text;

	memset(r->seen, 0, nfa->n * sizeof(r->seen[0]));
	r->inst = (const struct weft_img_inst *)(nfa + 1);
	r->round = 1;
	r->here.n = 0;
	add(r, &r->here, nfa->start, around(p, 0, len));
	for (__u32 at = 0; at < len && r->here.n; at++) {
		__u32 a = around(p, at + 1, len);

		r->round++;
		r->next.n = 0;
		for (__u32 i = 0; i < r->here.n; i++) {
			const struct weft_img_inst *k = &r->inst[r->here.inst[i]];
			__u32 c = p[at];

			if (k->fold && c - 'A' < 26)
				c |= 0x20;
			if (k->op == WEFT_INST_BYTE && c >= k->lo && c <= k->hi)
				add(r, &r->next, k->out, a);
		}
		r->here.n = r->next.n;
		memcpy(r->here.inst, r->next.inst, r->next.n * sizeof(r->next.inst[0]));
	}
	for (__u32 i = 0; i < r->here.n; i++)
		if (r->inst[r->here.inst[i]].op == WEFT_INST_MATCH)
			return 1;
	return 0;
}
