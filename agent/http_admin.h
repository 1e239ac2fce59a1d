/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * HTTP for probes and scrapers, read only: on an address of the loopback or a unix socket (mode
 * 0600). One request a connection, GET or HEAD. Main thread: traffic has its own.
 */

#include <stddef.h>

#include "agent/clients.h"
#include "agent/http_request.h"
#include "agent/loop.h"
#include "xds/diag.h"

/* Clients at once; further ones wait in the listen queue. */
#define WEFT_HTTP_CLIENTS_MAX 8
/* A client that sends or takes nothing for so long is dropped. */
#define WEFT_HTTP_IDLE_MS 10000
/* Of an answer that is written while it is sent. */
#define WEFT_HTTP_CHUNK (32u << 10)

struct weft_http_answer {
	unsigned int status; /* 200, 404, 503 ... */
	const char *type;    /* content-type; NULL: plain text */
	char *body;	     /* malloc()ed, freed by the listener; NULL: the status in words */
	size_t len;
	/* fn set: the body is written by it, in the place of the above; type counts. */
	struct weft_client_stream stream;
};

/* Fills the answer, which is 404 before. */
typedef void (*weft_http_fn)(void *ctx, const struct weft_http_request *request,
			     struct weft_http_answer *ret);

struct weft_http;

/*
 * ADDRESS: "127.0.0.1:15021", "[::1]:15021", or the path of a unix socket. -EINVAL: none of these,
 * or not of the loopback; -EADDRINUSE: somebody answers there; -errno; each with a cause in diag.
 */
int weft_http_new(struct weft_loop *loop, const char *address, weft_http_fn fn, void *ctx,
		  struct weft_diag *diag, struct weft_http **ret);
/* Drops clients that are idle for too long; called each second. NULL is fine. */
void weft_http_tick(struct weft_http *h);
/* Removes the unix socket. NULL is fine. */
void weft_http_free(struct weft_http *h);
