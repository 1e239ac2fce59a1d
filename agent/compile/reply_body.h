/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Bodies of replies by SubstitutionFormatString. */

#include "agent/compile/format.h"
#include "bpf/abi/body.h"
#include "envoy/config/core/v3/base.pb-c.h"
#include "envoy/config/core/v3/substitution_format_string.pb-c.h"

/* Objects and lists inside one another, and all of their parts: more is refused. */
#define WEFT_BODY_DEPTH_MAX 16u
#define WEFT_BODY_NODES_MAX 512u

/*
 * weft_img_body. local: the text that %LOCAL_REPLY_BODY% is, NULL: not known now. With a text
 * format that is then the same for all requests (ret->format is a weft_img_header without pieces)
 * that is the body.
 */
uint32_t weft_build_body(struct weft_build *b,
			 const Envoy__Config__Core__V3__SubstitutionFormatString *f,
			 const struct weft_format_local *local, const char *field,
			 struct weft_img_body *ret);

/* Text and length of a DataSource; false: refused, only inline ones are done. d NULL: nothing. */
bool weft_build_source(struct weft_build *b, const Envoy__Config__Core__V3__DataSource *d,
		       const char *field, struct weft_format_local *ret);

/*
 * The text between the quotes of a JSON string, as Envoy writes it: what is no UTF-8 has its bytes
 * as escapes. Freed by the caller; NULL: no memory.
 */
char *weft_json_escape(const void *text, size_t len, size_t *ret_len);

/* The shortest text that stands for the same number (std::to_chars), into a buffer of 400 bytes. */
#define WEFT_NUMBER_TEXT 400
void weft_json_number(double d, char out[WEFT_NUMBER_TEXT]);
