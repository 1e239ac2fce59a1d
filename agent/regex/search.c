// SPDX-License-Identifier: Apache-2.0
/*
 * Searching with groups: all ways through the instructions at once, in the order in which a backtracking search would
 * try them, each with its groups. The first that ends in a match wins; those behind it end.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/regex/internal.h"

struct threads {
	uint32_t n;
	uint32_t *inst;
	struct weft_regex_span *groups; /* n_group for each */
};

struct search {
	const struct weft_regex *re;
	const uint8_t *text;
	uint32_t len;
	uint32_t n_group;
	uint32_t *seen, round;
	struct threads now, next;
	struct frame {
		uint32_t inst;
		int32_t group; /* restore: index * 2 + end, -1: visit inst */
		int32_t old;
	} *stack;
};

static bool word_at(const struct search *s, uint32_t at)
{
	return at < s->len && (isalnum(s->text[at]) || s->text[at] == '_') && s->text[at] < 128;
}

static uint32_t around(const struct search *s, uint32_t at)
{
	bool word = word_at(s, at) != (at && word_at(s, at - 1));
	uint32_t a = word ? WEFT_EMPTY_WORD : WEFT_EMPTY_NO_WORD;

	if (!at)
		a |= WEFT_EMPTY_BEGIN_TEXT;
	if (!at || s->text[at - 1] == '\n')
		a |= WEFT_EMPTY_BEGIN_LINE;
	if (at == s->len)
		a |= WEFT_EMPTY_END_TEXT;
	if (at == s->len || s->text[at] == '\n')
		a |= WEFT_EMPTY_END_LINE;
	return a;
}

static void mark(struct weft_regex_span *groups, int32_t which, int32_t at)
{
	if (which & 1)
		groups[which >> 1].end = at;
	else
		groups[which >> 1].begin = at;
}

static int32_t marked(const struct weft_regex_span *groups, int32_t which)
{
	return which & 1 ? groups[which >> 1].end : groups[which >> 1].begin;
}

/* Adds the threads that begin at inst, in order; groups are changed on the way and given back as they were. */
static void threads_add(struct search *s, struct threads *t, uint32_t inst, uint32_t at,
			struct weft_regex_span *groups)
{
	uint32_t a = around(s, at), top = 0;

	s->stack[top++] = (struct frame){inst, -1, 0};
	while (top) {
		struct frame f = s->stack[--top];
		const struct weft_img_inst *k;

		if (f.group >= 0) {
			mark(groups, f.group, f.old);
			continue;
		}
		if (s->seen[f.inst] == s->round)
			continue;
		s->seen[f.inst] = s->round;
		k = &s->re->program.inst[f.inst];
		switch (k->op) {
		case WEFT_INST_ALT:
			s->stack[top++] = (struct frame){k->arg, -1, 0};
			s->stack[top++] = (struct frame){k->out, -1, 0};
			break;
		case WEFT_INST_MARK:
			if (k->arg < s->n_group * 2) {
				s->stack[top++] = (struct frame){
					0, (int32_t)k->arg, marked(groups, (int32_t)k->arg)};
				mark(groups, (int32_t)k->arg, (int32_t)at);
			}
			s->stack[top++] = (struct frame){k->out, -1, 0};
			break;
		case WEFT_INST_EMPTY:
			if ((a & k->arg) == k->arg)
				s->stack[top++] = (struct frame){k->out, -1, 0};
			break;
		case WEFT_INST_NOP:
			s->stack[top++] = (struct frame){k->out, -1, 0};
			break;
		case WEFT_INST_FAIL:
			break;
		default:
			memcpy(&t->groups[t->n * s->n_group], groups, s->n_group * sizeof(*groups));
			t->inst[t->n++] = f.inst;
		}
	}
}

/* One byte on. true: a thread has matched, its groups are in `best`; those behind it are gone. */
static bool advance(struct search *s, uint32_t at, struct weft_regex_span *best)
{
	s->round++;
	s->next.n = 0;
	for (uint32_t i = 0; i < s->now.n; i++) {
		const struct weft_img_inst *k = &s->re->program.inst[s->now.inst[i]];
		struct weft_regex_span *groups = &s->now.groups[i * s->n_group];
		uint32_t c;

		if (k->op == WEFT_INST_MATCH) {
			memcpy(best, groups, s->n_group * sizeof(*best));
			best[0].end = (int32_t)at;
			return true;
		}
		if (at == s->len)
			continue;
		c = s->text[at];
		if (k->fold && c >= 'A' && c <= 'Z')
			c |= 0x20;
		if (c >= k->lo && c <= k->hi)
			threads_add(s, &s->next, k->out, at + 1, groups);
	}
	return false;
}

static bool search_run(struct search *s, uint32_t from, struct weft_regex_span *best)
{
	struct weft_regex_span fresh[WEFT_REGEX_GROUPS];
	bool found = false;

	s->round++;
	for (uint32_t at = from; at <= s->len; at++) {
		struct threads swap;

		/* a match that begins here comes behind all that began before */
		if (!found) {
			for (uint32_t i = 0; i < WEFT_REGEX_GROUPS; i++)
				fresh[i] = (struct weft_regex_span){-1, -1};
			fresh[0].begin = (int32_t)at;
			threads_add(s, &s->now, s->re->program.start, at, fresh);
		}
		if (!s->now.n && found)
			break;
		found = advance(s, at, best) || found;
		swap = s->now;
		s->now = s->next;
		s->next = swap;
	}
	return found;
}

int weft_regex_search(const struct weft_regex *re, const void *text, uint32_t len, uint32_t from,
		      struct weft_regex_span *ret, uint32_t n)
{
	struct weft_regex_span best[WEFT_REGEX_GROUPS];
	uint32_t inst = re->program.n + 1;
	struct search s = {.re = re, .text = text, .len = len};
	size_t groups, bytes;
	uint8_t *block;
	bool found;

	s.n_group = n < 1 ? 1 : n < WEFT_REGEX_GROUPS ? n : WEFT_REGEX_GROUPS;
	groups = (size_t)inst * s.n_group * sizeof(struct weft_regex_span);
	bytes = 2 * groups + (size_t)inst * (3 * sizeof(uint32_t) + 3 * sizeof(struct frame));
	block = calloc(1, bytes);
	if (!block)
		return -ENOMEM;
	s.now.groups = (struct weft_regex_span *)(void *)block;
	s.next.groups = (struct weft_regex_span *)(void *)(block + groups);
	s.stack = (struct frame *)(void *)(block + 2 * groups);
	s.seen = (uint32_t *)(void *)(s.stack + 3 * (size_t)inst);
	s.now.inst = s.seen + inst;
	s.next.inst = s.now.inst + inst;
	found = from <= len && search_run(&s, from, best);
	free(block);
	for (uint32_t i = 0; found && i < n; i++)
		ret[i] = i < s.n_group ? best[i] : (struct weft_regex_span){-1, -1};
	return found;
}

/* ---- substitution ---- */

int weft_regex_substitution_len(const struct weft_regex *re, const char *substitution)
{
	int len = -1;

	for (const char *p = substitution; *p; p++) {
		if (*p != '\\')
			continue;
		if (p[1] >= '0' && p[1] <= '9' && (uint32_t)(p[1] - '0') > re->groups)
			return -EINVAL;
		if (len < 0 && p[1] != '\\' && (p[1] < '0' || p[1] > '9'))
			len = (int)(p - substitution);
		if (!*++p)
			break;
	}
	return len < 0 ? (int)strlen(substitution) : len;
}

static void substitute(FILE *out, const char *sub, const char *text, const struct weft_regex_span *g)
{
	for (; *sub; sub++) {
		if (*sub != '\\' || !sub[1]) {
			fputc(*sub, out);
			continue;
		}
		sub++;
		if (*sub == '\\') {
			fputc('\\', out);
		} else if (*sub >= '0' && *sub <= '9') {
			const struct weft_regex_span *s = &g[*sub - '0'];

			if (s->begin >= 0 && s->end >= s->begin)
				fwrite(text + s->begin, 1, (size_t)(s->end - s->begin), out);
		}
	}
}

int weft_regex_replace(const struct weft_regex *re, const void *text, uint32_t len,
		       const char *substitution, char **ret, uint32_t *ret_len)
{
	struct weft_regex_span g[WEFT_REGEX_GROUPS];
	const char *t = text;
	uint32_t at = 0;
	int64_t last = -1;
	int count = 0, r = 1;
	char *bytes = NULL;
	size_t n = 0;
	FILE *out = open_memstream(&bytes, &n);

	if (!out)
		return -ENOMEM;
	while (at <= len && (r = weft_regex_search(re, text, len, at, g, WEFT_REGEX_GROUPS)) > 0) {
		fwrite(t + at, 1, (size_t)g[0].begin - at, out);
		if (g[0].begin == last && g[0].end == last) {
			/* no empty match right behind a match: one byte on */
			if (at < len)
				fputc(t[at], out);
			at++;
			continue;
		}
		substitute(out, substitution, t, g);
		at = (uint32_t)g[0].end;
		last = g[0].end;
		count++;
	}
	if (at < len)
		fwrite(t + at, 1, len - at, out);
	if (fclose(out) || r < 0) {
		free(bytes);
		return -ENOMEM;
	}
	if (!count) {
		free(bytes);
		bytes = NULL;
	}
	*ret = bytes;
	*ret_len = (uint32_t)n;
	return count;
}

int weft_regex_replace_nfa(const struct weft_img_nfa *nfa, const void *text, uint32_t len,
			   const char *substitution, char **ret, uint32_t *ret_len)
{
	/* the search writes nothing to it */
	const struct weft_regex re = {.program = {.inst = (struct weft_img_inst *)(uintptr_t)(nfa + 1),
						  .n = nfa->n,
						  .start = nfa->start}};

	return weft_regex_replace(&re, text, len, substitution, ret, ret_len);
}
