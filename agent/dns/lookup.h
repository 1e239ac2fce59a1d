/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Names to addresses through c-ares, in the daemon's loop: c-ares' sockets and its timeouts are
 * descriptors of it. Main thread; sockets are of its network namespace.
 */

#include "agent/compile/dns.h"
#include "agent/loop.h"
#include "bpf/abi/types.h"

/* Lookups of one channel that are asked for at once; the others wait for their turn. */
#define WEFT_LOOKUPS_MAX 256

struct weft_channel;

/* -EINVAL: c-ares takes the settings not. conf is copied. */
int weft_channel_new(struct weft_loop *loop, const struct weft_dns_servers *conf,
		     struct weft_channel **ret);
/* No function of its lookups is called any more. */
void weft_channel_free(struct weft_channel *c);
bool weft_channel_fits(const struct weft_channel *c, const struct weft_dns_servers *conf);

struct weft_answer {
	/* NULL: answered, maybe without addresses (NXDOMAIN and an empty answer too, as in Envoy); else why not: no family
	 * gave an address, and one failed. */
	const char *error;
	const struct weft_addr *addr; /* in the order of the answer, each once */
	size_t n;
	uint32_t ttl; /* seconds, the least of all records on the way; 0 with none */
};
/* The answer is valid during the call. */
typedef void (*weft_lookup_fn)(void *ctx, const struct weft_answer *answer);

struct weft_lookup;
/*
 * Asks for a name. fn is called once, unless cancelled: later, or before this returns (literals,
 * localhost, names of /etc/hosts); then *ret is NULL. -ENOMEM.
 */
int weft_lookup_start(struct weft_channel *c, const char *name, enum weft_dns_family family,
		      weft_lookup_fn fn, void *ctx, struct weft_lookup **ret);
/* fn is not called any more. NULL is fine. */
void weft_lookup_cancel(struct weft_lookup *l);
