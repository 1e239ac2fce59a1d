/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The gRPC side of envoy.service.status.v3.ClientStatusDiscoveryService: FetchClientStatus and
 * StreamClientStatus, in plaintext. Messages are bytes here. One thread of its own.
 */

#include <stddef.h>
#include <stdint.h>

#include "xds/diag.h"

/* Calls at once; further ones wait. Each may hold an answer that its client does not take. */
#define WEFT_CSDS_CALLS_MAX 4
/* A request is a matcher of nodes. */
#define WEFT_CSDS_REQUEST_MAX (64u << 10)
#define WEFT_CSDS_ERROR_MAX 256

struct weft_csds_server;

/*
 * One request to one answer, *ret malloc()ed. -EINVAL: the request is not understood, error says
 * why; other -errno: it cannot be answered now. On the server's thread.
 */
typedef int (*weft_csds_fn)(void *ctx, const uint8_t *data, size_t len, uint8_t **ret,
			    size_t *ret_len, char error[WEFT_CSDS_ERROR_MAX]);

/* address: "127.0.0.1:15020", "[::1]:15020" or "unix:/path". -EADDRINUSE with a cause; -ENOMEM. */
int weft_csds_server_new(const char *address, weft_csds_fn fn, void *ctx, struct weft_diag *diag,
			 struct weft_csds_server **ret);
/* Ends all calls; fn must return meanwhile. NULL is fine. */
void weft_csds_server_free(struct weft_csds_server *s);
