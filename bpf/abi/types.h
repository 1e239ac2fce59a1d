/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/* Fixed-width types for both sides: vmlinux.h has them for programs. */
#ifndef __bpf__
#include <assert.h>
#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>
#else
#define static_assert _Static_assert
#ifndef offsetof
#define offsetof(t, m) __builtin_offsetof(t, m)
#endif
#endif

/* An address: IPv4 as ::ffff:a.b.c.d. Words in network byte order, as sockets carry them. */
struct weft_addr {
	__u32 w[4]; /* network order */
};

/* An endpoint of a connection. */
struct weft_sockaddr {
	struct weft_addr addr;
	__u16 port; /* host order */
	__u16 family; /* AF_INET (also for v4-mapped) or AF_INET6 */
};
static_assert(sizeof(struct weft_sockaddr) == 20, "weft_sockaddr");
