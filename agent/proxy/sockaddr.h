/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Addresses as the engine has them, and as the kernel's calls do. */

#include <sys/socket.h>

#include "bpf/abi/types.h"

/* Its length for connect() and bind(). */
socklen_t sockaddr_fill(const struct weft_sockaddr *from, struct sockaddr_storage *ret);
/* An IPv4 address in the form of IPv6 (RFC 4291 section 2.5.5.2) is one of IPv4. */
void sockaddr_take(const struct sockaddr_storage *from, struct weft_sockaddr *ret);
