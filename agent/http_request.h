/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The head of a request to the HTTP admin listener. Pure: bytes in, words out. */

#include <stdbool.h>
#include <stddef.h>

/* A scraper's head is a few hundred bytes. */
#define WEFT_HTTP_REQUEST_MAX 8192
#define WEFT_HTTP_TARGET_MAX 1024

struct weft_http_request {
	bool head;			  /* HEAD, else GET */
	bool old;			  /* HTTP/1.0, which knows no chunks */
	char path[WEFT_HTTP_TARGET_MAX];  /* "/ready" */
	char query[WEFT_HTTP_TARGET_MAX]; /* behind the question mark, "" none */
};

/*
 * 0: a whole head is there. -EAGAIN: more is to come. -EBADMSG: no HTTP/1 request (RFC 9112 2, 3);
 * -EOPNOTSUPP: another method than GET and HEAD; -EMSGSIZE: head or target is too long.
 */
int weft_http_request_parse(const char *data, size_t len, struct weft_http_request *ret);
/* Value of a key in a query of key=value&..., into buf; false: not there, or longer than buf. */
bool weft_http_query_get(const char *query, const char *key, char *buf, size_t size);
/* The same, with %XX decoded (what is no such stays); "" for a key without a value. The caller
 * frees; NULL: not there, or no memory. */
char *weft_http_query_value(const char *query, const char *key);
