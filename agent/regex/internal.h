/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * From text to instructions. The tree, what is done to it and the instructions follow RE2 step by step, because Envoy
 * refuses by the number of RE2's instructions (weft_regex_program_size); our tests ask libre2 for it.
 */

#include "agent/regex/regex.h"

/* Deepest nesting of groups (RE2's own limit) and most instructions that are built. */
#define REGEX_DEPTH_MAX 1000
#define REGEX_INSTS_MAX WEFT_NFA_INSTS_MAX
/* RE2's largest count in {n,m}, nested ones multiplied. */
#define REGEX_REPEAT_MAX 1000

enum regex_op {
	RE_NONE,  /* matches nothing */
	RE_EMPTY, /* matches the empty text */
	RE_LITERAL, /* bytes of text[] */
	RE_CLASS,
	RE_ANY_BYTE,
	RE_ANY_CHAR, /* '.' with (?s) */
	RE_CONCAT,
	RE_ALTERNATE,
	RE_STAR,
	RE_PLUS,
	RE_QUEST,
	RE_REPEAT,
	RE_CAPTURE,
	RE_BEGIN_LINE,
	RE_END_LINE,
	RE_BEGIN_TEXT,
	RE_END_TEXT,
	RE_WORD,
	RE_NO_WORD,
};

/* Flags of a node: what (?ims U) said where it stands. */
#define RE_FOLD 1u	 /* i */
#define RE_ONE_LINE 2u	 /* not m */
#define RE_DOT_NL 4u	 /* s */
#define RE_NON_GREEDY 8u /* U, or a '?' behind the operator */
#define RE_DOLLAR 16u	 /* the text's end was written '$': RE2 tells it from \z */

struct regex_set {
	uint64_t w[4];
};
static inline bool set_has(const struct regex_set *s, unsigned int c)
{
	return s->w[c >> 6] >> (c & 63) & 1;
}
static inline void set_add(struct regex_set *s, unsigned int c)
{
	s->w[c >> 6] |= 1ull << (c & 63);
}

struct regex_node {
	enum regex_op op;
	uint32_t flags;
	int min, max; /* repeat; max -1: no limit */
	int group;    /* capture */
	uint32_t n;   /* subs, or bytes of text */
	uint8_t *text;
	struct regex_node **sub;
	struct regex_set set;
	struct regex_node *next; /* all nodes of a tree, to free them */
};

/* Memory of one compilation; a failed allocation sticks. */
struct regex_pool {
	struct regex_node *all;
	bool full;
};
struct regex_node *regex_node_new(struct regex_pool *p, enum regex_op op, uint32_t flags);
/* Node with a copy of the list; lists of zero or one as RE2 makes them. Alternations are not factored. */
struct regex_node *regex_node_list(struct regex_pool *p, enum regex_op op, uint32_t flags,
				   struct regex_node *const *sub, uint32_t n);
struct regex_node *regex_node_literal(struct regex_pool *p, uint32_t flags, const uint8_t *text,
				      uint32_t n);
/* Star, plus, quest; operators over operators as RE2 joins them. */
struct regex_node *regex_node_unary(struct regex_pool *p, enum regex_op op, uint32_t flags,
				    struct regex_node *sub);
bool regex_node_equal(const struct regex_node *a, const struct regex_node *b);
void regex_pool_free(struct regex_pool *p);

/* Adds c, and its other case. */
void regex_set_fold(struct regex_set *s, unsigned int c);
/* "Lu", "Greek", "Any"...: bytes of a Unicode group; false: there is no such group. */
bool regex_unicode(const char *name, size_t len, struct regex_set *ret);

/* The tree of the pattern, NULL: refused (error) or no memory (pool). */
struct regex_node *regex_parse(struct regex_pool *p, const char *pattern, uint32_t *ret_groups,
			       struct weft_regex_error *error);
/* Common beginnings of an alternation out; returns how many are left of sub[n]. */
uint32_t regex_factor(struct regex_pool *p, struct regex_node **sub, uint32_t n, uint32_t flags);
struct regex_node *regex_simplify(struct regex_pool *p, struct regex_node *re);

/* ---- instructions ---- */

struct regex_program {
	struct weft_img_inst *inst; /* [0] is the one that fails */
	uint32_t n, cap;
	uint32_t start;
	bool full; /* no memory, or too many */
	bool no_memory;
};
/* Instructions of the tree, from `start`, ending in one that matches. */
void regex_emit(struct regex_program *g, const struct regex_node *re);
/* What RE2 would count for this tree (not simplified yet), 0: no memory. */
uint32_t regex_re2_size(struct regex_pool *p, struct regex_node *re);

/* Instructions one can be at without a byte: out's closure. Used by DFA and search. */
struct weft_regex {
	struct regex_program program;
	uint32_t size;
	uint32_t groups;
	uint32_t prefix_len;
	uint8_t prefix[256];
};
