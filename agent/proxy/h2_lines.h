/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Header lines in the form of HTTP/1.1 as fields of HTTP/2 (RFC 9113 section 8.2). */

#include <nghttp2/nghttp2.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * The lines ("name: value" CRLF each) in the n bytes at p as fields, behind `room` free places of
 * *ret, which the caller frees; names are put into lower case in place. What speaks of an HTTP/1.1
 * connection does not go on, nor, without `zero`, a content-length of 0. How many with the free
 * places, -ENOMEM.
 */
ssize_t h2_lines_fields(uint8_t *p, size_t n, size_t room, bool zero, nghttp2_nv **ret);

/* The same lines as the trailers of a stream whose last data is read. 0, -ENOMEM. */
int h2_lines_trailers(nghttp2_session *session, int32_t id, uint8_t *p, size_t n);
