/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/* Objects of the image (bpf/abi/image.h) that make bodies of replies; programs leave them to the agent. */

#include "bpf/abi/image.h"

/* The body of a reply, made for each request (SubstitutionFormatString); the agent alone does it.
 */
struct weft_img_body {
	struct weft_img_str content_type; /* as of weft_img_reply */
	__u32 format;			  /* weft_img_header whose value it is, 0: JSON */
	__u32 flags;
	__u32 n;
	__u32 node; /* struct weft_img_json[n] */
};
#define WEFT_BODY_OMIT                                                                             \
	(1u << 0) /* JSON: what has no value is left out, and objects that are empty then */
/* JSON in the order in which it is written. */
enum weft_json_kind {
	WEFT_JSON_TEXT = 1, /* text, as it is written */
	WEFT_JSON_NULL,
	WEFT_JSON_VALUE,  /* the one command of format: null, a number or a string */
	WEFT_JSON_STRING, /* format, as a string */
	WEFT_JSON_KEY,	  /* text, as it is written; its value follows */
	WEFT_JSON_OBJECT,
	WEFT_JSON_LIST,
	WEFT_JSON_END, /* of the last object or list */
};
struct weft_img_json {
	__u32 kind;
	__u32 format; /* weft_img_header */
	struct weft_img_str text;
};
