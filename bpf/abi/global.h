/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/*
 * Global rate limits: what is asked of a rate limit service, and what becomes of its answer. A
 * program knows of them only that the agent asks.
 */

#include "bpf/abi/header.h"
#include "bpf/abi/rate.h"

#define WEFT_GLOBAL_HEADERS (1u << 0)	/* x-ratelimit-* in responses */
#define WEFT_GLOBAL_SILENT (1u << 1)	/* no x-envoy-ratelimited */
#define WEFT_GLOBAL_EXHAUSTED (1u << 2) /* gRPC clients are told RESOURCE_EXHAUSTED */
#define WEFT_GLOBAL_PLAIN (1u << 3)	/* skip_envoy_headers: none of the proxy's own are sent */

enum weft_global_type { WEFT_GLOBAL_BOTH, WEFT_GLOBAL_INTERNAL, WEFT_GLOBAL_EXTERNAL };

/* Who is asked, and for how long. */
struct weft_img_service {
	struct weft_img_str name; /* of the cluster, also when there is none */
	struct weft_img_str authority;
	__u32 cluster;	  /* its id */
	__u32 timeout_ms; /* 0: without limit */
	__u32 n_metadata;
	__u32 metadata;	 /* struct weft_img_header[n]: initial_metadata */
	__u32 max_bytes; /* max_receive_message_length */
	__u32 flags;	 /* WEFT_GLOBAL_PLAIN */
};

/* In millionths: enabled, enforced; deny: of requests that the service gave no answer to. */
struct weft_img_global_limit {
	struct weft_img_service service;
	struct weft_img_str domain;
	struct weft_img_str stat_prefix;
	__u32 type; /* enum weft_global_type */
	__u32 flags;
	__u32 stage;
	__u32 enabled, enforced, deny;
	__u32 status, error_status;
	__u32 pad;
	struct weft_img_change add;	/* response_headers_to_add */
	struct weft_img_rate_rules own; /* in place of those of routes and virtual hosts */
};

/* RateLimitPerRoute. */
struct weft_img_global_route {
	struct weft_img_str domain; /* empty: the filter's */
	__u32 vhost_rules;	    /* enum weft_rate_vhost */
	__u32 pad;
	struct weft_img_rate_rules own; /* in place of all others */
};

/* The network filter: what is asked of each connection. */
#define WEFT_CONN_ENTRIES_MAX 32u /* of a descriptor */
struct weft_img_conn_entry {
	struct weft_img_str key;
	struct weft_img_header value; /* without name */
};
struct weft_img_conn_descriptor {
	__u32 n;
	__u32 entry; /* struct weft_img_conn_entry[n] */
};
struct weft_img_conn_ask {
	struct weft_img_service service;
	struct weft_img_str domain;
	struct weft_img_str stat_prefix;
	__u32 deny;  /* failure_mode_deny: closed also without an answer */
	__u32 after; /* so many of the chain's conn_limit stand in front */
	__u32 n;
	__u32 descriptor; /* struct weft_img_conn_descriptor[n] */
};
