/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/*
 * Request headers of which Envoy 1.40 keeps one line, further ones joined to it by commas (joined.c has their names). A
 * program only sees that such a line comes again; the agent joins them.
 */

#include "bpf/engine/engine.h"
#include "bpf/engine/word.h"

#define WEFT_JOINED_BITS 6
/* Gives each of the names a place of its own; found by trying. */
#define WEFT_JOINED_FACTOR 0x7a59483bu

/* Hashes of the names (weft_hash_name), by place; test_engine_joined.c holds them against the names. */
static const __u32 weft_joined[1 << WEFT_JOINED_BITS] = {
	[2] = 0xa0465d2e, /* origin */
	[4] = 0x5e2185c2, /* access-control-request-method */
	[5] = 0x0a6a5265, /* x-envoy-expected-rq-timeout-ms */
	[7] = 0x091c3a75, /* x-client-trace-id */
	[11] = 0xc19f4713, /* x-envoy-decorator-operation */
	[12] = 0xeb7b96cb, /* if-none-match */
	[14] = 0x7a1dacb8, /* x-envoy-downstream-service-node */
	[16] = 0x67650bda, /* accept-encoding */
	[18] = 0xf0e6a542, /* via */
	[19] = 0x91288293, /* referer */
	[20] = 0x196fb8b2, /* x-envoy-external-address */
	[22] = 0x3a6b0476, /* x-forwarded-port */
	[24] = 0x57886786, /* accept */
	[25] = 0xac4dc0c9, /* content-type */
	[26] = 0x63863509, /* x-forwarded-proto */
	[27] = 0x57c8e623, /* x-forwarded-host */
	[28] = 0x4ee6c314, /* authorization */
	[32] = 0x3467c6d0, /* x-envoy-attempt-count */
	[33] = 0xfb834b85, /* x-envoy-original-path */
	[35] = 0x4692666a, /* user-agent */
	[38] = 0x63e541cc, /* expect */
	[39] = 0xd0a86366, /* if-match */
	[41] = 0xc715dd0a, /* grpc-accept-encoding */
	[43] = 0xf573f3b4, /* x-envoy-original-host */
	[45] = 0x4b787bdb, /* pragma */
	[46] = 0x1a373b10, /* x-request-id */
	[49] = 0x849dd5c0, /* te */
	[50] = 0xd152c592, /* grpc-timeout */
	[53] = 0x490594b6, /* x-envoy-downstream-service-cluster */
	[54] = 0x41f667e1, /* if-modified-since */
	[56] = 0x579b6972, /* access-control-request-headers */
	[58] = 0xc028f4bf, /* content-encoding */
	[60] = 0xc8d1377f, /* x-forwarded-for */
	[62] = 0xc99e2c23, /* cache-control */
	[63] = 0xb9f4a1d2, /* proxy-status */
};

/* A further line of a header that is joined? */
WEFT_INLINE bool weft_joined_again(struct weft_req *req, __u32 hash)
{
	__u32 place = hash * WEFT_JOINED_FACTOR >> (32 - WEFT_JOINED_BITS);
	bool again;

	if (weft_joined[place & ((1 << WEFT_JOINED_BITS) - 1)] != hash)
		return false;
	again = req->joined >> place & 1;
	req->joined |= 1ull << place;
	return again;
}
