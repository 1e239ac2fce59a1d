/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* How Envoy words a local reply for a gRPC client (gRPC over HTTP/2, "Responses"). */

#include <stddef.h>
#include <stdint.h>

/* grpc-status of an HTTP status. */
int weft_grpc_status(uint32_t http_status);
/* grpc-message: percent-encoded text, NUL-terminated; caller frees. NULL: out of memory. */
char *weft_grpc_message(const char *text, size_t len);
