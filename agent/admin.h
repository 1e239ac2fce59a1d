/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The admin socket: a unix stream socket, mode 0600, peers of the agent's own user or root only. A
 * client sends one line of JSON {"command": NAME, ...}, with file descriptors if the command wants
 * them, and gets one line back: the result, or {"error": ...}. Main thread.
 */

#include <jansson.h>
#include <stddef.h>

#include "agent/loop.h"
#include "xds/diag.h"

/* A request is a handful of words; labels are the longest part. */
#define WEFT_ADMIN_REQUEST_MAX (256u << 10)
/* An answer may hold a whole mesh's configuration; a client gives up beyond it. */
#define WEFT_ADMIN_ANSWER_MAX (512u << 20)
/* Clients at once; further ones wait in the listen queue. */
#define WEFT_ADMIN_CLIENTS_MAX 16
/* A client that sends or takes nothing for so long is dropped. */
#define WEFT_ADMIN_IDLE_MS 30000
/* Descriptors with one request: a network namespace and a process. */
#define WEFT_ADMIN_FDS_MAX 2

/* fd: the request's descriptors, -1 behind the last; the handler may take them by setting -1. */
typedef json_t *(*weft_admin_fn)(void *ctx, const json_t *request, int fd[WEFT_ADMIN_FDS_MAX]);

struct weft_admin;

/*
 * Binds PATH, making its folder (not its parents). -EADDRINUSE: another agent answers there;
 * -EEXIST: something that is no socket is there; -EINVAL: the path is too long; each with a cause
 * in diag.
 */
int weft_admin_new(struct weft_loop *loop, const char *path, weft_admin_fn fn, void *ctx,
		   struct weft_diag *diag, struct weft_admin **ret);
/* Drops clients that are idle too long, and tries again to accept when no descriptor was left; called
 * each second. */
void weft_admin_tick(struct weft_admin *a);
/* Removes the socket. NULL is fine. */
void weft_admin_free(struct weft_admin *a);

/* ---- the client's side ---- */

/*
 * Sends a request and waits for its answer. -ECONNREFUSED and other -errno: no daemon (or it went);
 * -EBADMSG: not an answer. *ret may be an error object.
 */
int weft_admin_call(const char *path, const json_t *request, const int *fds, size_t n_fds,
		    json_t **ret);
