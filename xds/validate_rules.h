/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The rules of single fields as tables: a MESSAGE row, then a row per rule of it. A rule of a repeated
 * field holds for each element, except COUNT and UNIQUE; a rule of a member of a choice holds when the member is
 * chosen; RANGE, REAL and DURATION hold for wrappers and durations that are there.
 */

#include <stdint.h>

enum weft_rule_kind {
	WEFT_RULE_END,
	WEFT_RULE_MESSAGE,
	WEFT_RULE_REQUIRED,
	WEFT_RULE_ONEOF,
	WEFT_RULE_BYTES,
	WEFT_RULE_STRING,
	WEFT_RULE_HEADER_TEXT,
	WEFT_RULE_HEADER_NAME,
	WEFT_RULE_HEADER_VALUE,
	WEFT_RULE_ONE_OF,
	WEFT_RULE_PATH_SEGMENTS,
	WEFT_RULE_FORMAT,
	WEFT_RULE_RANGE,
	WEFT_RULE_REAL,
	WEFT_RULE_POSITIVE,
	WEFT_RULE_DURATION,
	WEFT_RULE_ENUM,
	WEFT_RULE_ENUM_NOT,
	WEFT_RULE_TRUE,
	WEFT_RULE_COUNT,
	WEFT_RULE_UNIQUE,
	WEFT_RULE_KEYS,
};

struct weft_rule {
	enum weft_rule_kind kind;
	const char *field; /* MESSAGE: full name; ONEOF: name of the choice */
	const char *text;  /* ONEOF: a member; ONE_OF: a|b|c */
	int64_t lo, hi;
};

#define WEFT_RULE_MAX INT64_MAX
#define MESSAGE(name) {WEFT_RULE_MESSAGE, name, 0, 0, 0}
#define REQUIRED(f) {WEFT_RULE_REQUIRED, f, 0, 0, 0}
#define ONEOF(name, member) {WEFT_RULE_ONEOF, name, member, 0, 0}
#define BYTES(f, lo, hi) {WEFT_RULE_BYTES, f, 0, lo, hi}	 /* length */
#define STRING(f, lo, hi) {WEFT_RULE_STRING, f, 0, lo, hi}	 /* length in bytes */
#define HEADER_TEXT(f) {WEFT_RULE_HEADER_TEXT, f, 0, 0, 0}	 /* no NUL, CR, LF */
#define HEADER_NAME(f) {WEFT_RULE_HEADER_NAME, f, 0, 0, 0}	 /* token, or empty */
#define HEADER_VALUE(f) {WEFT_RULE_HEADER_VALUE, f, 0, 0, 0}	 /* no controls but tab */
#define ONE_OF(f, list) {WEFT_RULE_ONE_OF, f, list, 0, 0}
#define PATH_SEGMENTS(f) {WEFT_RULE_PATH_SEGMENTS, f, 0, 0, 0}	 /* ^[^?#]+[^?#/]$ */
#define FORMAT(f) {WEFT_RULE_FORMAT, f, 0, 0, 0}		 /* empty or %...% */
#define RANGE(f, lo, hi) {WEFT_RULE_RANGE, f, 0, lo, hi}
#define REAL(f, lo, hi) {WEFT_RULE_REAL, f, 0, lo, hi}
#define POSITIVE(f) {WEFT_RULE_POSITIVE, f, 0, 0, 0}		 /* a real above 0 */
#define DURATION(f, lo, hi) {WEFT_RULE_DURATION, f, 0, lo, hi} /* nanoseconds */
#define ENUM(f) {WEFT_RULE_ENUM, f, 0, 0, 0}			 /* one of the values defined */
#define ENUM_NOT(f, value) {WEFT_RULE_ENUM_NOT, f, 0, value, value} /* defined, and not this */
#define TRUE_ONLY(f) {WEFT_RULE_TRUE, f, 0, 0, 0}
#define COUNT(f, lo, hi) {WEFT_RULE_COUNT, f, 0, lo, hi}	 /* elements */
#define UNIQUE(f) {WEFT_RULE_UNIQUE, f, 0, 0, 0}
#define KEYS(f) {WEFT_RULE_KEYS, f, 0, 0, 0}			 /* of a map: not empty */
#define RULES_END {WEFT_RULE_END, 0, 0, 0, 0}

extern const struct weft_rule weft_rules_core[];
extern const struct weft_rule weft_rules_cluster[];
extern const struct weft_rule weft_rules_route[];
extern const struct weft_rule weft_rules_listener[];
