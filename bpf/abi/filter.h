/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/* HTTP filters of the image (bpf/abi/image.h) and what routes say of them. Local rate limits:
 * bpf/abi/rate.h. */

#include "bpf/abi/table.h"

enum weft_filter_kind {
	WEFT_FILTER_LOCAL_RATE_LIMIT = 1, /* weft_img_rate_limit */
	WEFT_FILTER_RBAC,		  /* weft_img_rbac */
	WEFT_FILTER_FAULT,		  /* weft_img_fault */
	WEFT_FILTER_CORS,		  /* weft_img_cors; of routes only */
	WEFT_FILTER_GLOBAL_LIMIT,	  /* weft_img_global_limit (bpf/abi/global.h); overrides:
					     weft_img_global_route, which stands beside it */
};

struct weft_img_filter {
	__u32 key;	/* hash of the filter's name; overrides are found by it */
	__u32 kind;	/* enum weft_filter_kind */
	__u32 config;	/* by kind */
	__u32 disabled; /* HttpFilter.disabled: acts only where an override enables it */
};

/* typed_per_filter_config of one level; the most specific level that names the filter wins whole.
 */
struct weft_img_override {
	__u32 key;
	__u32 kind; /* enum weft_filter_kind, 0: any (FilterConfig.disabled). Of another kind than
		       the filter: none */
	__u32 config;
	__u32 disabled; /* FilterConfig.disabled */
};

/* Key of the deprecated cors fields: they are for any CORS filter that no level has an override of.
 */
#define WEFT_CORS_KEY 0xffffffffu
#define WEFT_CORS_CREDENTIALS (1u << 0)
#define WEFT_CORS_PRIVATE_NETWORK (1u << 1)
#define WEFT_CORS_ANSWER_ALL                                                                       \
	(1u << 2) /* preflights of other origins too (forward_not_matching_preflights: false) */

#define WEFT_CORS_ANY (1u << 3) /* a matcher fits "*": then every origin is allowed (Envoy 1.40)   \
				 */

/* A policy together with what the levels around it say where it says nothing. The agent alone
 * applies it. */
struct weft_img_cors {
	__u32 cell; /* state id of its weft_cell_filter */
	__u32 flags;
	__u32 enabled; /* millionths of requests */
	__u32 shadow;  /* only counted */
	__u32 n_origin;
	__u32 origin; /* struct weft_img_cond[n] on the header "origin" */
	__u32 slot_origin, slot_method, slot_headers, slot_network; /* weft_value */
	struct weft_img_str methods; /* "*": those that are asked for */
	struct weft_img_str headers; /* the same */
	struct weft_img_str expose;
	struct weft_img_str max_age;
};

/* rate_limits of a route, a virtual host or a filter: each makes one descriptor of a request, or
 * none. */
struct weft_img_rate_rules {
	__u32 n;
	__u32 rule; /* struct weft_img_rate_rule[n] */
};

enum weft_rules_action { WEFT_RULES_ALLOW, WEFT_RULES_DENY, WEFT_RULES_LOG };

/* RBAC: what is judged, and what is only counted. */
struct weft_img_rbac {
	__u32 rules;  /* weft_img_rules, 0: everything is allowed */
	__u32 shadow; /* weft_img_rules, 0 none */
	__u32 cell;   /* state id of its weft_cell_filter */
	__u32 pad;
	struct weft_img_str stat_prefix;
};

/*
 * Policies in Envoy's order (by name), as tests that each name the one to go on with when they hold
 * and when they do not. A successor always stands behind: at most n tests are made, whatever
 * and/or/not were nested.
 */
struct weft_img_rules {
	__u32 action; /* enum weft_rules_action */
	__u32 start; /* test, or WEFT_RULES_END | (policy + 1), WEFT_RULES_END: no policy matches */
	__u32 n;
	__u32 test; /* struct weft_img_test[n] */
	__u32 n_policy;
	__u32 policy; /* struct weft_img_policy[n] */
	__u32 reply;  /* weft_img_reply of a refusal because no policy matched; HTTP only */
	__u32 pad;
};
#define WEFT_RULES_END 0x80000000u

struct weft_img_policy {
	struct weft_img_str name;
	__u32 reply; /* weft_img_reply of a refusal by this policy; HTTP only */
	__u32 pad;
};

enum weft_test_kind {
	WEFT_TEST_COND = 1,    /* cond, a header or the path without query */
	WEFT_TEST_DESTINATION, /* what the app asked for */
	WEFT_TEST_SOURCE,      /* the app's address */
	WEFT_TEST_REMOTE,      /* the last of x-forwarded-for (slot), else the app's */
	WEFT_TEST_PORT,	       /* destination's in [start, end) */
	WEFT_TEST_METADATA,    /* cond, of the route: weft_img_metadata_match */
};
struct weft_img_test {
	__u8 kind; /* enum weft_test_kind */
	__u8 v4;   /* addr is IPv4: fits no IPv6 address, and the other way round */
	__u8 slot; /* of x-forwarded-for */
	__u8 pad;
	__u32 yes, no; /* as weft_img_rules.start */
	__u32 cond;    /* weft_img_cond, or by kind */
	__u32 start, end;
	struct weft_addr addr, mask;
};

enum weft_fault_kind { WEFT_FAULT_FIXED = 1, WEFT_FAULT_GRPC, WEFT_FAULT_HEADER };

/* A FractionalPercent, and where a request may ask for less. */
struct weft_img_share {
	__u32 numerator;
	__u32 denominator;
	__u32 slot; /* of the header with another numerator, 0 none */
	__u32 pad;
};
struct weft_img_fault {
	__u32 cell;	  /* state id of its weft_cell_filter */
	__u32 cluster;	  /* id of upstream_cluster, 0: any */
	__u32 max_active; /* max_active_faults, or WEFT_FAULT_NO_MAX */
	__u32 n_cond;
	__u32 cond;			/* struct weft_img_cond[n]: all must hold */
	__u32 abort_kind, abort_status; /* enum weft_fault_kind, 0 none; HTTP or gRPC */
	__u32 abort_slot, grpc_slot;	/* HEADER */
	__u32 reply; /* weft_img_reply of FIXED and GRPC, for clients of plain HTTP */
	__u32 delay_kind, delay_ms, delay_slot; /* FIXED or HEADER, 0 none */
	__u32 agent; /* what it does needs more than a draw: a program hands on what it applies to
		      */
	struct weft_img_share abort, delay, rate;
	__u32 rate_kind, rate_kbps, rate_slot; /* the same; KiB a second of the body */
	__u32 n_node, node, node_slot;	       /* weft_img_str[n]: downstream_nodes, none: any */
};
#define WEFT_FAULT_NO_MAX 0xffffffffu
