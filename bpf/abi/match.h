/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/* Conditions on a request in the image (bpf/abi/image.h): what they look at, and regular
 * expressions. */

#include "bpf/abi/table.h"

/* Fixed slots of the request's values; interned header names follow. */
enum weft_value {
	WEFT_VALUE_METHOD,
	WEFT_VALUE_PATH, /* :path, with query */
	WEFT_VALUE_HOST, /* :authority */
	WEFT_VALUE_SCHEME,
	WEFT_VALUE__HEADERS, /* first interned name */
};

/*
 * A regular expression over a whole text, as a table of states, each named by its row: how many
 * bytes lie before it. State 0: it fits no more. A row has a cell for each class of bytes (1 and
 * up), the state behind such a byte; cell 0 says whether the text may end there: 0 no. For several
 * expressions at once it is a number for the set of those that fit.
 */
struct weft_img_dfa {
	__u16 n_state;
	__u16 stride;
	__u16 start;
	__u16 pad;
	__u8 class_of[256];
	/* __u16 next[n_state * stride], at most 64 KiB */
};
#define WEFT_DFA_SPAN                                                                              \
	(sizeof(struct weft_img_dfa) + 65536 + 512) /* what 16 bits and a class can reach */
/* The same as instructions, for tables that would be too large; only the agent runs them. */
enum weft_inst_op {
	WEFT_INST_FAIL,
	WEFT_INST_ALT,	 /* out first, else arg */
	WEFT_INST_BYTE,	 /* lo..hi */
	WEFT_INST_MARK,	 /* begin or end of a group: arg */
	WEFT_INST_EMPTY, /* WEFT_EMPTY_* in arg */
	WEFT_INST_NOP,
	WEFT_INST_MATCH,
};
#define WEFT_EMPTY_BEGIN_LINE 1u
#define WEFT_EMPTY_END_LINE 2u
#define WEFT_EMPTY_BEGIN_TEXT 4u
#define WEFT_EMPTY_END_TEXT 8u
#define WEFT_EMPTY_WORD 16u
#define WEFT_EMPTY_NO_WORD 32u
struct weft_img_inst {
	__u8 op; /* enum weft_inst_op */
	__u8 lo;
	__u8 hi;
	__u8 fold; /* A-Z count as a-z */
	__u32 out;
	__u32 arg;
};
struct weft_img_nfa {
	__u32 n; /* at most WEFT_NFA_INSTS_MAX */
	__u32 start;
	/* struct weft_img_inst[n] */
};

enum weft_cond_kind {
	WEFT_COND_PRESENT = 1,
	WEFT_COND_EXACT,
	WEFT_COND_PREFIX,
	WEFT_COND_SUFFIX,
	WEFT_COND_CONTAINS,
	WEFT_COND_RANGE,     /* base-10 int64 in [start, end) */
	WEFT_COND_SEPARATED, /* on WEFT_VALUE_PATH: whole path, or followed by '/' (not after a
				trie) */
	WEFT_COND_FRACTION,  /* random % end < start (runtime_fraction); 0 of 1 never holds */
	WEFT_COND_GRPC,	     /* content-type application/grpc[+...] */
	WEFT_COND_DFA,	     /* str: weft_img_dfa that the whole text fits */
	WEFT_COND_NFA,	     /* str: weft_img_nfa of the same; the kernel hands over */
};
/* Where the text of a condition comes from. */
enum weft_from {
	WEFT_FROM_VALUE,  /* slot */
	WEFT_FROM_QUERY,  /* first query parameter of that name, as it stands */
	WEFT_FROM_COOKIE, /* first cookie of that name */
	WEFT_FROM_PATH,	  /* :path without its query (RBAC's url_path) */
};
#define WEFT_COND_INVERT (1u << 0)
#define WEFT_COND_MISSING_AS_EMPTY (1u << 1)
#define WEFT_COND_IGNORE_CASE (1u << 2) /* str is lower case */

struct weft_img_cond {
	__u8 kind;
	__u8 flags;
	__u8 slot; /* enum weft_value or interned name; cookies: that of "cookie" */
	__u8 from; /* enum weft_from */
	__u32 len;
	__u32 str;
	__u32 name; /* of a query parameter or cookie */
	__u32 name_len;
	__u32 pad;
	__s64 start;
	__s64 end;
};

/* Conditions on a head, any of which may hold. Their slots are this list's own. */
struct weft_img_matchers {
	__u32 n;
	__u32 cond; /* struct weft_img_cond[n] */
	__u32 n_name;
	__u32 name; /* struct weft_img_str[n_name], lower case: slot WEFT_VALUE__HEADERS + index */
};

/* A regular expression and what each of its matches becomes (RegexMatchAndSubstitute); the agent
 * alone does it. */
struct weft_img_rewrite {
	__u32 nfa;  /* weft_img_nfa; 0: nothing is ever replaced */
	__u32 text; /* substitution, ends with a NUL */
};
