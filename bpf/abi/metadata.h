/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/* Metadata of routes and virtual hosts, and what is asked of it. */

#include "bpf/abi/table.h"

enum weft_img_kind {
	WEFT_METADATA_NOTHING, /* there is no such value */
	WEFT_METADATA_NULL,
	WEFT_METADATA_BOOL,   /* number is 0 or 1 */
	WEFT_METADATA_NUMBER, /* number */
	WEFT_METADATA_TEXT,   /* text */
	WEFT_METADATA_LIST,   /* struct weft_img_value[n] */
	WEFT_METADATA_STRUCT, /* struct weft_img_member[n] */
};
struct weft_img_value {
	__u32 kind; /* enum weft_img_kind */
	__u32 n;
	__u32 list;
	__u32 pad;
	__u64 number; /* bits of a double */
	struct weft_img_str text;
};
struct weft_img_member {
	struct weft_img_str name;
	struct weft_img_value value;
};

/* filter_metadata, where a filter or a rule asks for it. */
struct weft_img_metadata {
	__u64 bloom;		   /* weft_metadata_bit() of each name */
	struct weft_img_value all; /* STRUCT of STRUCT by name */
};

/* Where a value stands: filter (or key), and the way from there. */
struct weft_img_metadata_path {
	struct weft_img_str name;
	__u32 bit; /* of bloom */
	__u32 n;
	__u32 step; /* struct weft_img_str[n] */
	__u32 pad;
};

enum weft_value_match {
	WEFT_VALUE_MATCH_NEVER, /* present_match: false */
	WEFT_VALUE_MATCH_NULL,
	WEFT_VALUE_MATCH_BOOL, /* from: 0 or 1 */
	WEFT_VALUE_MATCH_NUMBER,
	WEFT_VALUE_MATCH_RANGE, /* [from, to) */
	WEFT_VALUE_MATCH_TEXT,	/* list: weft_img_cond, on no header */
	WEFT_VALUE_MATCH_PRESENT,
	WEFT_VALUE_MATCH_LIST, /* an element fits list: weft_img_value_match */
	WEFT_VALUE_MATCH_OR,   /* one of list: weft_img_value_match[n] */
};
struct weft_img_value_match {
	__u32 kind; /* enum weft_value_match */
	__u32 n;
	__u32 list;
	__u32 pad;
	__u64 from, to; /* bits of a double */
};

struct weft_img_metadata_match {
	struct weft_img_metadata_path path;
	struct weft_img_value_match value;
	__u32 invert;
	__u32 pad;
};
