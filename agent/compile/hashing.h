/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Tables of RING_HASH and MAGLEV, as Envoy 1.40 makes them. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/abi/image.h"
#include "envoy/config/endpoint/v3/endpoint_components.pb-c.h"

struct weft_hashing {
	uint32_t lb; /* enum weft_lb; below WEFT_LB_RING_HASH: no tables, the rest is 0 */
	bool murmur; /* MURMUR_HASH_2 instead of XX_HASH */
	bool hostname; /* use_hostname_for_hashing */
	uint64_t min, max; /* entries of a ring: 1024, 8388608 */
	uint64_t table_size; /* of MAGLEV: 65537; a prime above 1 */
};

/*
 * What a host is known by: metadata envoy.lb hash_key, else its hostname if so configured, else
 * "ip:port". Owned by the caller; NULL without memory.
 */
char *weft_hashing_key(const struct weft_hashing *h,
		       const Envoy__Config__Endpoint__V3__LbEndpoint *e,
		       const struct weft_sockaddr *addr);

struct weft_hashing_table {
	uint32_t n;
	uint16_t *host; /* [n]: indexes of the hosts given */
	uint64_t *ring; /* [n]: ascending; NULL: MAGLEV */
};
/* 64-bit MurmurHash2 as libstdc++ has it for std::hash: MURMUR_HASH_2. */
uint64_t weft_hashing_murmur(const void *bytes, size_t len);
/*
 * n hosts (at most 65535) by keys, with their shares of all (above 0, in sum at most about 1). Arrays of *ret are the
 * caller's to free, also after an error. n 0: an empty table. -ENOMEM; -E2BIG: a ring of more than WEFT_RING_MAX
 * entries.
 */
int weft_hashing_make(const struct weft_hashing *h, char *const *key, const double *share, size_t n,
		      struct weft_hashing_table *ret);
