/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Header values in the language of Envoy's substitution formatter. */

#include "agent/compile/build.h"

/* Parts of one value: each costs at run time, and nobody writes so many. */
#define WEFT_PIECES_MAX 128u
/* %START_TIME(FORMAT)%: its result is written to a buffer of four times that size. */
#define WEFT_TIME_FORMAT_MAX 64u

/*
 * Reads a value into value (when it is the same for all messages) or pieces of *ret. Refuses, by
 * name, commands that weft does not have, and what Envoy refuses: no command behind a percent sign,
 * parameters where none belong.
 */
void weft_build_format(struct weft_build *b, const char *text, const char *field,
		       struct weft_img_header *ret);
/*
 * The same of a reply's body, where %LOCAL_REPLY_BODY% is a command too: local is its text, NULL:
 * not known now. Returns WEFT_FORMAT_*.
 */
enum weft_format_whole {
	WEFT_FORMAT_MIXED,
	WEFT_FORMAT_ALONE,   /* one command and nothing else */
	WEFT_FORMAT_NOTHING, /* ... that never has a value */
};
struct weft_format_local {
	const void *text;
	size_t len;
	bool log; /* there is no reply: the text is a line of an access log */
};
enum weft_format_whole weft_build_format_body(struct weft_build *b, const char *text, bool dash,
					      const struct weft_format_local *local,
					      const char *field, struct weft_img_header *ret);
/* The same as an object of its own (a weft_img_header without name), 0 when text is empty. dash: what is missing is "-". */
uint32_t weft_build_format_alone(struct weft_build *b, const char *text, bool dash,
				 const char *field);
