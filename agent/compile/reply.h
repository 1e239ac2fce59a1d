/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Complete local replies, worded as Envoy words them. */

#include "agent/compile/build.h"
#include "envoy/config/core/v3/base.pb-c.h"

struct weft_reply_text {
	uint32_t status;
	const void *body;
	size_t body_len;
	const char *details; /* Envoy's response code details */
	uint32_t format;     /* weft_img_body that makes another body of it, 0: none */
	struct weft_img_str content_type; /* as of weft_img_reply */
	const char *extra;   /* further header lines, each with its line end, or NULL */
	size_t n_add;	     /* response_headers_to_add */
	Envoy__Config__Core__V3__HeaderValueOption **add;
	const char *add_field; /* field path of `add` */
};
/* weft_img_reply. Uses b->own_lines. */
uint32_t weft_build_reply(struct weft_build *b, const struct weft_reply_text *t);

/* The replies that depend on the connection manager alone (weft_img_hcm.reply). */
void weft_build_std_replies(struct weft_build *b, bool suppress_envoy_headers,
			    uint32_t ret[WEFT_REPLY__MAX]);

/* Header lines for requests (weft_img_headers), 0 when n is 0. */
uint32_t weft_build_headers(struct weft_build *b, size_t n,
			    Envoy__Config__Core__V3__HeaderValueOption **add, const char *field);

/* The reason phrase Envoy writes for a status. */
const char *weft_status_phrase(uint32_t status);
