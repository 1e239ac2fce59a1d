/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the files that put values together share (format.c, format_outcome.c). */

#include <arpa/inet.h>

#include "agent/compile/format.h"
#include "agent/proxy/mutate.h"

/* A run of bytes; NULL: nothing there. */
struct run {
	const uint8_t *p;
	size_t n;
};

#define ADDRESS_TEXT (INET6_ADDRSTRLEN + 10)
#define TIME_TEXT (WEFT_TIME_FORMAT_MAX * 8)
#define FLAGS_TEXT 1024 /* the longest names of all flags */

/* Where a value that stands nowhere is put together. */
union scratch {
	char status[8], number[24], address[ADDRESS_TEXT], time[TIME_TEXT], flags[FLAGS_TEXT],
		details[OUTCOME_TEXT], uuid[37];
};

struct run format_number(uint64_t n, char out[24]);
/* The first line of that name in [p, p + n). */
struct run format_line(const uint8_t *p, size_t n, struct run name);
/* flags: WEFT_PIECE_NO_PORT, WEFT_PIECE_ONLY_PORT, neither: both parts. */
struct run format_address(const struct weft_sockaddr *a, uint32_t flags, char out[ADDRESS_TEXT]);
/* Values of what has become of a request (outcome.h). */
struct run format_outcome(const struct format *f, const struct weft_img_piece *p, union scratch *s);
