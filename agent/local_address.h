/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Where the agent listens for tools of this machine: the loopback, or the path of a unix socket. */

#include <sys/socket.h>

#include "xds/diag.h"

/* "127.0.0.1:15021" or "[::1]:15021", of the loopback; else -EINVAL. */
int weft_local_address_parse(const char *text, struct sockaddr_storage *ret, socklen_t *ret_len);
/*
 * A socket at the path that nobody listens on any more goes. -EINVAL: the path is too long;
 * -EEXIST: something that is no socket is there; -EADDRINUSE: somebody answers; each with a cause
 * under `what` in diag.
 */
int weft_local_path_claim(const char *path, const char *what, struct weft_diag *diag);
