/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/*
 * Local rate limits, objects of the image (bpf/abi/image.h). A program takes a limit's own bucket
 * and those of descriptors that name all their values. A descriptor with a key without a value has
 * a bucket for each value that comes, of which the one used longest ago goes: those are the
 * agent's, as a program can neither keep that order nor give cells out.
 */

#include "bpf/abi/image.h"

#define WEFT_RATE_PER_CONNECTION (1u << 0)
#define WEFT_RATE_HAS_BUCKET (1u << 1)
#define WEFT_RATE_HEADERS (1u << 2)   /* x-ratelimit-* in responses */
#define WEFT_RATE_SPARE (1u << 3)     /* the bucket gives only where no descriptor fits */
#define WEFT_RATE_OWN_RULES (1u << 4) /* rules: of the filter, else of route and virtual host */
#define WEFT_RATE_EXHAUSTED                                                                        \
	(1u << 5) /* gRPC clients are told RESOURCE_EXHAUSTED, not UNAVAILABLE */

enum weft_rate_vhost { WEFT_RATE_OVERRIDE, WEFT_RATE_INCLUDE, WEFT_RATE_IGNORE };

/* x_ratelimit_option: whether responses tell of the bucket; by default as the filter says. */
enum weft_rate_telling { WEFT_RATE_TELL_DEFAULT, WEFT_RATE_TELL_OFF, WEFT_RATE_TELL_ON };

/* In stage: the rule has a disable_key, so no local limit looks at it (Envoy 1.40). */
#define WEFT_STAGE_KEY (1u << 8)
struct weft_img_rate_rule {
	__u32 stage;
	__u32 n_action;
	__u32 action; /* struct weft_img_rate_action[n] */
	__u32 tell;   /* enum weft_rate_telling */
	__u64 hits; /* tokens that it takes, where the rule is a filter's own */
	__u32 flags; /* WEFT_RULE_* */
	__u32 limit; /* weft_img_rate_path of a limit for the service to keep, 0: its own */
	__u32 requests, unit; /* of such a limit, with WEFT_RULE_LIMIT */
	__u32 format;	      /* weft_img_piece that says how many hits, 0: hits; the agent's */
	__u32 pad;
};
#define WEFT_RULE_LIMIT (1u << 3)
#define WEFT_RULE_DONE (1u << 1) /* apply_on_stream_done */
#define WEFT_RULE_HITS (1u << 2) /* hits was given */
/* A value in dynamic metadata: its namespace, and the keys on the way to it. */
struct weft_img_rate_path {
	struct weft_img_str name;
	__u32 n;
	__u32 key; /* struct weft_img_str[n] */
};
enum weft_rate_action {
	WEFT_RATE_GENERIC_KEY = 1, /* value */
	WEFT_RATE_DESTINATION_CLUSTER,
	WEFT_RATE_HEADER, /* name, or slot of a pseudo header */
	WEFT_RATE_QUERY,  /* name */
	WEFT_RATE_REMOTE_ADDRESS,
	WEFT_RATE_MASKED_ADDRESS, /* v4_bits, v6_bits */
	WEFT_RATE_HEADERS_MATCH,  /* conditions; value */
	WEFT_RATE_QUERY_MATCH,
	WEFT_RATE_ADDRESS_MATCH,  /* ranges; value */
	WEFT_RATE_ROUTE_METADATA, /* a text in the route's metadata, else value; list:
				     weft_img_metadata_path */
	WEFT_RATE_METADATA, /* list: weft_img_rate_path; value: where there is none, empty: no entry
			     */
};
#define WEFT_RATE_SKIP (1u << 0)   /* skip_if_absent: the descriptor goes on without this entry */
#define WEFT_RATE_EXPECT (1u << 1) /* whether the conditions are to hold, the ranges to contain */
#define WEFT_RATE_AGENT (1u << 2)  /* more than a program looks at */
struct weft_img_rate_action {
	__u32 kind; /* enum weft_rate_action */
	__u32 flags;
	struct weft_img_str key;
	struct weft_img_str value;
	struct weft_img_str name;
	__u32 slot; /* weft_value + 1 of a pseudo header, 0: by name */
	__u32 v4_bits, v6_bits;
	__u32 n;    /* of cond or range */
	__u32 list; /* struct weft_img_cond[n], struct weft_img_test[n], weft_img_rate_path; QUERY:
		       a weft_img_cond with the name, for programs */
	__u32 seen; /* weft_value + 1 where a program finds the header (of addresses:
		       x-forwarded-for, which the agent reads); 0: none counts */
	__u64 key_hash, value_hash; /* weft_rate_hash() */
};

/* A descriptor that a request may fit, entry by entry, and its bucket. */
#define WEFT_RATE_WILDCARD (1u << 0) /* some entry has any value: a bucket for each */
#define WEFT_RATE_SHADOW (1u << 1)   /* shadow_mode: counts, refuses nothing */
struct weft_img_rate_entry {
	struct weft_img_str key;
	struct weft_img_str value; /* empty: any */
	__u64 key_hash, value_hash;
};
struct weft_img_rate_descriptor {
	struct weft_img_bucket bucket; /* cell: its own state id; WILDCARD: that of its limit */
	__u32 flags;
	__u32 n_entry;
	__u32 entry; /* struct weft_img_rate_entry[n] */
	__u32 pad;
};

/* Where a descriptor is found by the hash of its entries, one with a WILDCARD by that of its keys.
 */
struct weft_img_rate_place {
	__u64 hash;
	__u32 descriptor; /* 0: nobody's, the search ends */
	__u32 pad;
};

struct weft_img_rate_limit {
	struct weft_img_bucket
		bucket; /* all zero without WEFT_RATE_HAS_BUCKET: nothing is limited */
	__u32 flags;
	__u32 enabled;	/* filter_enabled in parts per million */
	__u32 enforced; /* filter_enforced in parts per million */
	__u32 stats; /* state id of its weft_cell_bucket when it has no bucket; else bucket.cell */
	__u32 reply; /* weft_img_reply of a refusal */
	__u32 add;   /* weft_img_headers: request_headers_to_add_when_not_enforced, 0 none */
	__u32 stage; /* of the rules that count */
	__u32 vhost_rules; /* enum weft_rate_vhost */
	struct weft_img_rate_rules own;
	__u32 n_descriptor; /* buckets by descriptor */
	__u32 descriptor;   /* struct weft_img_rate_descriptor[n] */
	__u32 max_dynamic;  /* buckets of one descriptor that names a key without a value */
	__u32 place;	    /* struct weft_img_rate_place[place_mask + 1], for programs; 0: none */
	__u32 place_mask;
	__u32 pad;
};
