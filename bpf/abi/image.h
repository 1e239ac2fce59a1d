/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/*
 * The image: compiled configuration as immutable objects at 32-bit offsets in one block of memory.
 * Offset 0 is weft_img_head; 0 as a reference means "none". Every object is 8-byte aligned. Objects are
 * content addressed: they refer to other objects of the same resource by offset, and to other
 * resources (clusters, route configurations) by an id that the view's tables resolve, so that a changed
 * resource changes one object and the tables.
 *
 * Written by the agent only; published by one 64-bit store of weft_img_head.root.
 */

#include "bpf/abi/hcm.h"
#include "bpf/abi/limits.h"
#include "bpf/abi/moving.h"
#include "bpf/abi/outlier.h"
#include "bpf/abi/types.h"

#define WEFT_IMG_MAGIC 0x31676d6974666577ull /* "weftimg1" */
#define WEFT_ABI_VERSION 1u

/* Bytes with length; at least 8 readable bytes follow the last. */
struct weft_img_str {
	__u32 off; /* 0: none */
	__u32 len; /* bytes */
};

struct weft_img_head {
	__u64 magic;
	__u32 abi;
	__u32 pad;
	__u64 root; /* epoch << 32 | offset of weft_img_root; 0: nothing published */
};

struct weft_img_root {
	__u32 epoch; /* counts publishes; the same as in weft_img_head.root */
	__u32 n_view;
	__u32 n_own;
	__u32 own; /* __u32[n_own]: by pod id, weft_img_view of a pod that sees other hosts than its
		      view; 0: its view's */
		   /* __u32 view[n_view]: offsets of weft_img_view, 0 for an unused id */
};

/* What one kind of pod sees. Ids of clusters and route configurations are indexes of these tables. */
struct weft_img_view {
	__u32 listener;	      /* weft_img_addr_tab: exact address and port */
	__u32 wildcard;	      /* weft_img_addr_tab: address zero (family's), port */
	__u32 fallback;	      /* weft_img_listener with use_original_dst, 0: none (then bypass) */
	__u32 n_route_config;
	__u32 route_config;   /* __u32[n]: weft_img_route_config or 0 (not there: 404) */
	__u32 n_cluster;
	__u32 cluster;	      /* struct weft_img_cluster_ref[n] */
	__u32 names;	      /* weft_img_tab of kind WEFT_KIND_LISTENER_NAME: name -> weft_img_listener */
	__u32 cluster_names;  /* weft_img_tab of kind WEFT_KIND_CLUSTER_NAME: for clusters that a request names */
	__u32 pad;
};

struct weft_img_cluster_ref {
	__u32 cluster;	 /* weft_img_cluster, 0: unknown or warming (503 cluster_not_found) */
	__u32 endpoints; /* weft_img_endpoints, 0: none */
};

/* Open addressing, linear probing of at most WEFT_TAB_PROBES, power of two. */
struct weft_img_addr_tab {
	__u32 mask;
	__u32 pad;
	/* struct weft_img_addr_ent[mask + 1], slot = weft_hash_addr(addr, port) & mask */
};
struct weft_img_addr_ent {
	struct weft_addr addr;
	__u32 port; /* host order; 0: empty slot */
	__u32 val;
};

struct weft_img_tab {
	__u32 mask;
	__u32 pad;
	/* struct weft_img_ent[mask + 1], slot = hash & mask */
};
struct weft_img_ent {
	__u32 hash;
	__u32 str; /* offset of the key's bytes */
	__u16 len;
	__u16 kind; /* WEFT_KIND_*, 0: empty slot */
	__u32 val;
};
enum weft_kind {
	WEFT_KIND_HOST = 1,   /* exact domain, lower case */
	WEFT_KIND_HOST_SUFFIX, /* "*.foo.com" without the star */
	WEFT_KIND_HOST_PREFIX, /* "foo.*" without the star */
	WEFT_KIND_HEADER,      /* header name, lower case -> slot id + 1 */
	WEFT_KIND_LISTENER_NAME,
	WEFT_KIND_CLUSTER_NAME, /* -> id in weft_img_view.cluster + 1 */
	WEFT_KIND_VALUE, /* a header's value in lower case, hashed as a domain -> weft_img_accept */
};

/* ---- listener ---- */

/* What the first bytes of a connection look like; the column of a chain group. */
enum weft_proto {
	WEFT_PROTO_RAW, /* raw_buffer, nothing detected */
	WEFT_PROTO_TLS,
	WEFT_PROTO_HTTP10, /* "http/1.0" */
	WEFT_PROTO_HTTP11, /* "http/1.1" */
	WEFT_PROTO_H2C,	   /* "h2c": HTTP/2 preface */
	WEFT_PROTO__MAX,
};

#define WEFT_LISTENER_INSPECT_HTTP (1u << 0) /* http_inspector: columns HTTP10, HTTP11, H2C are used */
#define WEFT_LISTENER_INSPECT_TLS (1u << 1)  /* tls_inspector: column TLS is used */
#define WEFT_LISTENER_TIMEOUT_CONTINUES (1u << 2) /* continue_on_listener_filters_timeout */

struct weft_img_listener {
	struct weft_img_str name;
	__u32 flags;
	__u32 n_group;
	__u32 group; /* struct weft_img_chain_group[n], by port, 0 (any port) last */
	__u32 inspect_timeout_ms; /* listener_filters_timeout (15000), 0: wait without limit */
	__u32 buffer_limit; /* per_connection_buffer_limit_bytes */
	__u32 pad;
};

/* Envoy's filter chain match, resolved at compile time for each thing a connection can look like. */
struct weft_img_chain_group {
	__u32 port; /* destination_port (original destination), host order; 0: any */
	__u32 chain[WEFT_PROTO__MAX]; /* weft_img_chain, 0: no chain matches, the connection is closed */
};

enum weft_chain_kind { WEFT_CHAIN_TCP = 1, WEFT_CHAIN_HTTP };

struct weft_img_chain {
	struct weft_img_str name;
	__u32 kind;	    /* enum weft_chain_kind */
	__u32 target;	    /* TCP: weft_img_targets, HTTP: weft_img_hcm */
	__u32 n_conn_limit; /* network local_ratelimit, in filter order */
	__u32 conn_limit[WEFT_CONN_LIMITS_MAX]; /* weft_img_bucket */
	__u32 stat_prefix_off, stat_prefix_len;
	__u32 idle_timeout_ms; /* TCP proxy idle_timeout (3600000), 0: off */
	__u32 max_connect_attempts; /* TCP proxy, 1 */
	__u32 n_rbac; /* network RBAC, in filter order; behind the limits, as Envoy judges with the first byte */
	__u32 rbac[WEFT_CONN_LIMITS_MAX]; /* weft_img_rbac, without conditions on requests */
	__u32 flags; /* WEFT_CHAIN_* */
};

#define WEFT_CHAIN_RBAC_AGENT (1u << 0) /* RBAC of the source, or too long: not for connect() */
#define WEFT_CHAIN_CRITERIA (1u << 1)	/* some target has criteria: not for connect() */

/* What rules do to the headers of responses. */
struct weft_img_response {
	__u32 changes; /* weft_img_changes, 0: none */
	__u32 flags;   /* WEFT_RESPONSE_FORMED */
	/* what becomes of the changes on a reply made here: complete lines, to be put into it */
	struct weft_img_str lines;
};
/* A reply made here is formed by the agent: values depend on the request, or its own lines are changed. */
#define WEFT_RESPONSE_FORMED (1u << 0)

/* Chosen by the request's hash (WEFT_FORWARD_BY_HASH): programs leave that to the agent. */
#define WEFT_SLOT_HASHED 0xffffffffu
/* One or more clusters by weight: pick = random % total, first target with pick < end. */
struct weft_img_targets {
	__u32 n; /* 1..WEFT_TARGETS_MAX */
	__u32 slot; /* weft_value + 1 of header_name, whose number is taken for the random one; 0: none */
	__u64 total;
	/* struct weft_img_target[n] */
};
struct weft_img_target {
	struct weft_img_str name; /* cluster name, also when unknown */
	__u32 cluster;	/* id in weft_img_view.cluster */
	__u32 n_override;
	__u32 override; /* struct weft_img_override[n] of the weighted cluster */
	__u32 weight;
	__u64 end;	/* cumulative weight */
	/* weft_value + 1 of cluster_header, which names the cluster; 0, WEFT_SLOT_HASHED: `cluster`
	 * is it */
	__u32 slot;
	__u32 request; /* weft_img_changes of requests, 0: none */
	__u32 criteria; /* weft_img_criteria, 0: none */
	struct weft_img_str host; /* host_rewrite_literal of the weighted cluster */
	struct weft_img_response response;
};

/* A token bucket: continuous refill, starts full (Envoy since 2024; xds-envoy.md 3.12). */
struct weft_img_bucket {
	__u32 cell;	  /* state id of its weft_cell_bucket */
	__u32 max_tokens; /* 0: refuses everything */
	__u64 cost;	  /* of one token: fill_interval / tokens_per_fill, in 1/16 ns, rounded to nearest */
	__u64 full;	  /* max_tokens * cost, below 1 << 62 */
	struct weft_img_str stat_prefix;
};

/* ---- HTTP connection manager ---- */

/* router.strict_check_headers: bits of weft_img_hcm.strict, in the order in which they are looked
 * at. */
#define WEFT_STRICT_HEADERS(X)                                                                     \
	X(TIMEOUT, "x-envoy-upstream-rq-timeout-ms")                                               \
	X(PER_TRY, "x-envoy-upstream-rq-per-try-timeout-ms")                                       \
	X(MAX_RETRIES, "x-envoy-max-retries")                                                      \
	X(RETRY_ON, "x-envoy-retry-on")                                                            \
	X(RETRY_GRPC_ON, "x-envoy-retry-grpc-on")
enum weft_strict_header {
#define WEFT_STRICT_ROW(n, name) WEFT_STRICT_##n,
	WEFT_STRICT_HEADERS(WEFT_STRICT_ROW)
#undef WEFT_STRICT_ROW
		WEFT_STRICT__MAX
};

enum weft_server_header { WEFT_SERVER_OVERWRITE, WEFT_SERVER_APPEND_IF_ABSENT, WEFT_SERVER_PASS };

/* Local replies whose text does not depend on a rule; index of weft_img_hcm.reply. */
enum weft_std_reply {
	WEFT_REPLY_NOT_FOUND,	   /* 404, no body */
	WEFT_REPLY_NO_CLUSTER_503, /* cluster_not_found_response_code */
	WEFT_REPLY_NO_CLUSTER_404,
	WEFT_REPLY_NO_CLUSTER_500,
	WEFT_REPLY_NO_UPSTREAM,	   /* 503 "no healthy upstream" */
	WEFT_REPLY_OVERFLOW,	   /* 503 "... reset reason: overflow", x-envoy-overloaded: true */
	WEFT_REPLY_DROPPED,	   /* 503 "drop overload", x-envoy-drop-overload: true */
	WEFT_REPLY_DROPPED_ALL,	   /* 503 "unconditional drop overload", x-envoy-unconditional-drop-overload: true */
	WEFT_REPLY__MAX,
};

struct weft_img_hcm {
	struct weft_img_str stat_prefix;
	struct weft_img_str server_name; /* "envoy" unless configured */
	__u32 flags;
	__u32 server_header;	/* enum weft_server_header */
	__u32 route_config;	/* id in weft_img_view.route_config */
	__u32 n_filter;
	__u32 filter;		/* struct weft_img_filter[n], in order; only those with an effect */
	__u32 n_upgrade;
	__u32 upgrade;		/* struct weft_img_str[n]: enabled upgrade types, lower case */
	__u32 max_head;		/* bytes (max_request_headers_kb * 1024) */
	__u32 max_headers;	/* 100 */
	__u32 stream_idle_ms;	/* 300000, 0 off */
	__u32 request_ms;	/* request_timeout, 0 off */
	__u32 request_headers_ms;
	__u32 idle_ms;		/* downstream idle_timeout, 3600000, 0 off */
	__u32 max_connection_ms;
	__u32 delayed_close_ms; /* 1000 */
	__u32 drain_ms;		/* 5000 */
	__u32 max_stream_ms;
	__u32 underscores;	/* 0 allow, 1 reject request, 2 drop header */
	__u32 max_requests;	/* per downstream connection, 0: no limit */
	__u32 reply[WEFT_REPLY__MAX]; /* weft_img_reply */
	struct weft_img_str via;
	/* names that filters look at, the first slots of every table used here; for requests without a table */
	__u32 headers; /* weft_img_tab: HEADER -> slot id + 1 */
	__u32 trusted_hops; /* xff_num_trusted_hops */
	__u64 bloom; /* as weft_img_route_config.bloom */
	__u32 n_internal; /* internal_address_config.cidr_ranges */
	__u32 internal;	  /* struct weft_img_test[n]: v4, addr, mask */
	__u32 strict;	  /* strict_check_headers: bit per weft_strict_header */
	__u32 pad;
	struct weft_img_h2 h2;
};

enum weft_filter_kind {
	WEFT_FILTER_LOCAL_RATE_LIMIT = 1, /* weft_img_rate_limit */
	WEFT_FILTER_RBAC,		  /* weft_img_rbac */
	WEFT_FILTER_FAULT,		  /* weft_img_fault */
	WEFT_FILTER_CORS,		  /* weft_img_cors; of routes only */
};

struct weft_img_filter {
	__u32 key;    /* hash of the filter's name; overrides are found by it */
	__u32 kind;   /* enum weft_filter_kind */
	__u32 config; /* by kind */
	__u32 disabled; /* HttpFilter.disabled: acts only where an override enables it */
};

/* typed_per_filter_config of one level; the most specific level that names the filter wins whole. */
struct weft_img_override {
	__u32 key;
	__u32 kind; /* enum weft_filter_kind, 0: any (FilterConfig.disabled). Of another kind than the filter: none */
	__u32 config;
	__u32 disabled; /* FilterConfig.disabled */
};

/* Key of the deprecated cors fields: they are for any CORS filter that no level has an override of. */
#define WEFT_CORS_KEY 0xffffffffu
#define WEFT_CORS_CREDENTIALS (1u << 0)
#define WEFT_CORS_PRIVATE_NETWORK (1u << 1)
#define WEFT_CORS_ANSWER_ALL (1u << 2) /* preflights of other origins too (forward_not_matching_preflights: false) */

#define WEFT_CORS_ANY (1u << 3) /* a matcher fits "*": then every origin is allowed (Envoy 1.40) */

/* A policy together with what the levels around it say where it says nothing. The agent alone applies it. */
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
 * Policies in Envoy's order (by name), as tests that each name the one to go on with when they hold and when they do
 * not. A successor always stands behind: at most n tests are made, whatever and/or/not were nested.
 */
struct weft_img_rules {
	__u32 action; /* enum weft_rules_action */
	__u32 start;  /* test, or WEFT_RULES_END | (policy + 1), WEFT_RULES_END: no policy matches */
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
};
struct weft_img_test {
	__u8 kind; /* enum weft_test_kind */
	__u8 v4;   /* addr is IPv4: fits no IPv6 address, and the other way round */
	__u8 slot; /* of x-forwarded-for */
	__u8 pad;
	__u32 yes, no; /* as weft_img_rules.start */
	__u32 cond;    /* weft_img_cond */
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
	__u32 cell;	   /* state id of its weft_cell_filter */
	__u32 cluster;	   /* id of upstream_cluster, 0: any */
	__u32 max_active;  /* max_active_faults, or WEFT_FAULT_NO_MAX */
	__u32 n_cond;
	__u32 cond;	   /* struct weft_img_cond[n]: all must hold */
	__u32 abort_kind, abort_status; /* enum weft_fault_kind, 0 none; HTTP or gRPC */
	__u32 abort_slot, grpc_slot; /* HEADER */
	__u32 reply;	   /* weft_img_reply of FIXED and GRPC, for clients of plain HTTP */
	__u32 delay_kind, delay_ms, delay_slot; /* FIXED or HEADER, 0 none */
	__u32 agent; /* what it does needs more than a draw: a program hands on what it applies to
		      */
	struct weft_img_share abort, delay, rate;
	__u32 rate_kind, rate_kbps, rate_slot; /* the same; KiB a second of the body */
	__u32 n_node, node, node_slot; /* weft_img_str[n]: downstream_nodes, none: any */
};
#define WEFT_FAULT_NO_MAX 0xffffffffu

/* Header lines to add: each "name: value", with append action. */
struct weft_img_headers {
	__u32 n;
	__u32 pad;
	/* struct weft_img_header[n] */
};
struct weft_img_header {
	struct weft_img_str name; /* lower case */
	struct weft_img_str value; /* when n_piece is 0 */
	__u32 action; /* HeaderAppendAction */
	__u32 flags;  /* WEFT_HEADER_* */
	__u32 n_piece;
	__u32 piece; /* struct weft_img_piece[n]: the value is put together for each message */
};
#define WEFT_HEADER_KEEP_EMPTY (1u << 0) /* keep_empty_value */
/* Envoy keeps this header as one line: what is added is joined to it by a comma. */
#define WEFT_HEADER_JOINS (1u << 1)
#define WEFT_HEADER_DASH (1u << 2) /* a command without a value is "-" */
#define WEFT_APPEND 0u /* HeaderAppendAction */
#define WEFT_ADD_IF_ABSENT 1u
#define WEFT_OVERWRITE 2u
#define WEFT_OVERWRITE_IF_EXISTS 3u

/* A part of a header's value: text, or a command of Envoy's substitution formatter. */
enum weft_piece_kind {
	WEFT_PIECE_TEXT = 1, /* a */
	WEFT_PIECE_REQ,	     /* request header a, else b */
	WEFT_PIECE_RESP,     /* response header a, else b */
	WEFT_PIECE_PROTOCOL,
	WEFT_PIECE_START_TIME, /* a: format, none: the default */
	WEFT_PIECE_RESPONSE_CODE,
	WEFT_PIECE_UPSTREAM_CLUSTER,
	WEFT_PIECE_UPSTREAM_PROTOCOL,
	WEFT_PIECE_ATTEMPT_COUNT,
	WEFT_PIECE_ROUTE_NAME,
	WEFT_PIECE_PATH,	/* WEFT_PIECE_* flags */
	WEFT_PIECE_QUERY_PARAM, /* a */
	/* flags say which part of the address */
	WEFT_PIECE_UPSTREAM_REMOTE,
	WEFT_PIECE_UPSTREAM_LOCAL,
	WEFT_PIECE_REMOTE, /* by x-forwarded-for */
	WEFT_PIECE_DIRECT_REMOTE,
	WEFT_PIECE_LOCAL,
	WEFT_PIECE_BODY, /* of the reply, before it is put into its form */
};
struct weft_img_piece {
	__u32 kind;
	__u32 max; /* bytes of it that count */
	__u32 flags;
	__u32 pad;
	struct weft_img_str a, b;
};
#define WEFT_PIECE_WHOLE 0xffffffffu /* of max */
#define WEFT_PIECE_NO_PORT (1u << 0) /* addresses */
#define WEFT_PIECE_ONLY_PORT (1u << 1)
#define WEFT_PIECE_NO_QUERY (1u << 2) /* PATH */
#define WEFT_PIECE_ORIGINAL (1u << 3) /* PATH: x-envoy-original-path, not :path */
#define WEFT_PIECE_CURRENT (1u << 4)  /* PATH: :path; neither: the original one, else :path */

/* Header mutations in the order they are applied: one element for each level that has some. */
struct weft_img_changes {
	__u32 n;
	__u32 pad;
	/* struct weft_img_change[n] */
};
struct weft_img_change {
	__u32 n_remove;
	__u32 remove; /* struct weft_img_str[n]: names, lower case */
	__u32 n_add;
	__u32 add; /* struct weft_img_header[n] */
	__u32 level; /* enum weft_level */
	__u32 pad;
};
enum weft_level { WEFT_LEVEL_CLUSTER, WEFT_LEVEL_ROUTE, WEFT_LEVEL_VHOST, WEFT_LEVEL_TABLE };

/*
 * A complete local reply: status line, headers, blank line, body. The date is written over the 29 bytes
 * at date_off; `location` (redirects) is inserted at insert_off; the agent inserts "connection: close"
 * lines there as well.
 */
struct weft_img_reply {
	__u16 status;
	__u16 flags;	  /* WEFT_REPLY_CLOSES: Envoy closes the connection after it */
	__u32 date_off;	  /* in data */
	__u32 insert_off; /* in data: where further lines go; only Content-Length: 0 follows */
	__u32 head_off;	  /* in data: where a HEAD request goes on; insert_off, or len when it is worded otherwise */
	__u32 head_len;	  /* end of what a HEAD request gets, with the blank line; the body follows if head_off is insert_off */
	__u32 len;	  /* end of what other requests get */
	__u32 data;	  /* offset of the bytes */
	struct weft_img_str details; /* response code details */
	__u32 add; /* weft_img_headers that data has lines of, of which some replace; 0: they are only added */
	__u32 body; /* weft_img_body that makes its body, from the one in data; 0: that is it */
	struct weft_img_str
		content_type; /* whatever rules say; empty: text/plain, unless they say another */
	__u32 body_len; /* of the body at head_len, also where a status has none; gRPC has it as
			   message */
	__u32 pad;
};
#define WEFT_REPLY_CLOSES 1u
#define WEFT_DATE_LEN 29u

/* ---- routes ---- */

#define WEFT_RC_IGNORE_PORT (1u << 0) /* ignore_port_in_host_matching */
#define WEFT_RC_PREFIX_HOSTS (1u << 1) /* has "foo.*" domains */
#define WEFT_RC_IGNORE_PARAMETERS (1u << 2) /* ignore_path_parameters_in_path_matching */
#define WEFT_RC_PREPARED (1u << 3) /* as WEFT_HCM_PREPARED, of the table's rules */

struct weft_img_route_config {
	struct weft_img_str name;
	__u32 flags;
	__u32 hosts;  /* weft_img_tab: HOST, HOST_SUFFIX, HOST_PREFIX -> weft_img_vhost */
	__u32 star;   /* weft_img_vhost of "*", 0 none */
	__u32 headers; /* weft_img_tab: HEADER -> slot id + 1 */
	__u64 bloom;  /* bit (hash & 63) of every name in headers */
	__u64 suffix_len[4]; /* bit l: a suffix of l bytes exists */
	__u64 prefix_len[4];
	__u32 n_override;
	__u32 override; /* struct weft_img_override[n] */
	__u32 n_internal_only;
	__u32 internal_only; /* struct weft_img_str[n]: headers taken from requests that are not
				internal, lower case */
};

/* Fixed slots of the request's values; interned header names follow. */
enum weft_value {
	WEFT_VALUE_METHOD,
	WEFT_VALUE_PATH, /* :path, with query */
	WEFT_VALUE_HOST, /* :authority */
	WEFT_VALUE_SCHEME,
	WEFT_VALUE__HEADERS, /* first interned name */
};

struct weft_img_vhost {
	struct weft_img_str name;
	__u32 trie;	/* weft_img_node */
	__u32 n_route;
	__u32 n_override;
	__u32 override; /* struct weft_img_override[n] */
	__u32 flags;
	__u32 trie_lower; /* weft_img_node of paths without regard to case, labels in lower case; 0: none */
	__u32 connect;	  /* weft_img_accept of routes with connect_matcher, 0: none */
	__u32 tls_route;  /* require_tls: weft_img_route of requests that did not come by https, 0: none */
	struct weft_img_rate_rules rate; /* rate_limits */
};
#define WEFT_VHOST_ATTEMPT_COUNT (1u << 0) /* include_request_attempt_count */
#define WEFT_VHOST_ATTEMPT_COUNT_RESPONSE (1u << 1)
#define WEFT_VHOST_TIMEOUT_RETRY (1u << 2) /* include_is_timeout_retry_header */

/* Compressed trie over the paths of a virtual host. */
struct weft_img_node {
	__u64 label8; /* first 8 bytes of the label, zero padded */
	__u32 label;  /* offset of the whole label */
	__u16 len;    /* bytes of the label */
	__u16 child_mask; /* children table size - 1 (perfect hash: byte & mask) */
	__u32 accept; /* weft_img_accept for paths that go through here */
	__u32 accept_exact; /* for paths that end here */
	/* __u32 child[child_mask + 1] */
};
/* Candidates in order of route index; `best` is the lowest index that needs no further test. */
struct weft_img_accept {
	__u32 best;	  /* route index, WEFT_NO_ROUTE */
	__u32 best_route; /* weft_img_route */
	__u32 n;	  /* conditional candidates here */
	__u32 up;	  /* weft_img_accept of an enclosing prefix with more candidates, 0 none */
	__u32 n_select;
	__u32 select;	  /* struct weft_img_select[n]: further lists, by what the request holds */
	/* struct weft_img_candidate[n] */
};
/*
 * Finds, of many routes, those whose condition of one kind holds: at most one list, and in it at most
 * WEFT_SELECT_DEPTH_MAX - 1 selections more. Its candidates are still to be tested; its `best` is not.
 */
enum weft_select_kind {
	WEFT_SELECT_VALUE = 1, /* by: weft_img_tab of exact values of the header of `slot` */
	WEFT_SELECT_PATH,      /* by: weft_img_dfa over the path, whose end is a number into list */
};
struct weft_img_select {
	__u32 kind; /* enum weft_select_kind */
	__u32 slot;
	__u32 by;
	__u32 list;  /* PATH: __u32[n_list + 1]: weft_img_accept; [0] is not used */
	__u32 n_list;
	__u32 first; /* lowest index of a route in any of its lists */
};
struct weft_img_candidate {
	__u32 index;
	__u32 route;
};
#define WEFT_NO_ROUTE 0xffffffffu

/*
 * A regular expression over a whole text, as a table of states, each named by its row: how many bytes lie before it.
 * State 0: it fits no more. A row has a cell for each class of bytes (1 and up), the state behind such a byte; cell 0 says
 * whether the text may end there: 0 no. For several expressions at once it is a number for the set of those that fit.
 */
struct weft_img_dfa {
	__u16 n_state;
	__u16 stride;
	__u16 start;
	__u16 pad;
	__u8 class_of[256];
	/* __u16 next[n_state * stride], at most 64 KiB */
};
#define WEFT_DFA_SPAN (sizeof(struct weft_img_dfa) + 65536 + 512) /* what 16 bits and a class can reach */
/* The same as instructions, for tables that would be too large; only the agent runs them. */
enum weft_inst_op {
	WEFT_INST_FAIL,
	WEFT_INST_ALT,	 /* out first, else arg */
	WEFT_INST_BYTE,	 /* lo..hi */
	WEFT_INST_MARK,	 /* begin or end of a group: arg */
	WEFT_INST_EMPTY, /* WEFT_EMPTY_* in arg */
	WEFT_INST_NOP,
	WEFT_INST_MATCH,
};
#define WEFT_EMPTY_BEGIN_LINE 1u
#define WEFT_EMPTY_END_LINE 2u
#define WEFT_EMPTY_BEGIN_TEXT 4u
#define WEFT_EMPTY_END_TEXT 8u
#define WEFT_EMPTY_WORD 16u
#define WEFT_EMPTY_NO_WORD 32u
struct weft_img_inst {
	__u8 op; /* enum weft_inst_op */
	__u8 lo;
	__u8 hi;
	__u8 fold; /* A-Z count as a-z */
	__u32 out;
	__u32 arg;
};
struct weft_img_nfa {
	__u32 n; /* at most WEFT_NFA_INSTS_MAX */
	__u32 start;
	/* struct weft_img_inst[n] */
};

enum weft_cond_kind {
	WEFT_COND_PRESENT = 1,
	WEFT_COND_EXACT,
	WEFT_COND_PREFIX,
	WEFT_COND_SUFFIX,
	WEFT_COND_CONTAINS,
	WEFT_COND_RANGE, /* base-10 int64 in [start, end) */
	WEFT_COND_SEPARATED, /* on WEFT_VALUE_PATH: whole path, or followed by '/' (not after a trie) */
	WEFT_COND_FRACTION, /* random % end < start (runtime_fraction); 0 of 1 never holds */
	WEFT_COND_GRPC,	    /* content-type application/grpc[+...] */
	WEFT_COND_DFA,	    /* str: weft_img_dfa that the whole text fits */
	WEFT_COND_NFA,	    /* str: weft_img_nfa of the same; the kernel hands over */
};
/* Where the text of a condition comes from. */
enum weft_from {
	WEFT_FROM_VALUE,  /* slot */
	WEFT_FROM_QUERY,  /* first query parameter of that name, as it stands */
	WEFT_FROM_COOKIE, /* first cookie of that name */
	WEFT_FROM_PATH,	  /* :path without its query (RBAC's url_path) */
};
#define WEFT_COND_INVERT (1u << 0)
#define WEFT_COND_MISSING_AS_EMPTY (1u << 1)
#define WEFT_COND_IGNORE_CASE (1u << 2) /* str is lower case */

struct weft_img_cond {
	__u8 kind;
	__u8 flags;
	__u8 slot; /* enum weft_value or interned name; cookies: that of "cookie" */
	__u8 from; /* enum weft_from */
	__u32 len;
	__u32 str;
	__u32 name; /* of a query parameter or cookie */
	__u32 name_len;
	__u32 pad;
	__s64 start;
	__s64 end;
};

/* Conditions on a head, any of which may hold. Their slots are this list's own. */
struct weft_img_matchers {
	__u32 n;
	__u32 cond; /* struct weft_img_cond[n] */
	__u32 n_name;
	__u32 name; /* struct weft_img_str[n_name], lower case: slot WEFT_VALUE__HEADERS + index */
};

enum weft_action {
	WEFT_ACTION_FORWARD = 1, /* weft_img_forward */
	WEFT_ACTION_DIRECT,	 /* weft_img_reply */
	WEFT_ACTION_REDIRECT,	 /* weft_img_redirect */
};

struct weft_img_route {
	struct weft_img_str name;
	__u32 index; /* in its virtual host; WEFT_NO_ROUTE: of require_tls, no level of the table says anything of it */
	__u32 action_kind;
	__u32 action;
	__u32 n_cond;
	__u32 cond; /* struct weft_img_cond[n] */
	__u32 n_override;
	__u32 override;
	__u32 vhost; /* weft_img_vhost that holds it: 0 in the object, known from the walk */
	struct weft_img_response response; /* of direct responses and redirects; a target has its own */
};

#define WEFT_FORWARD_HAS_RETRY (1u << 0)
#define WEFT_FORWARD_PRIORITY_HIGH (1u << 1)
#define WEFT_FORWARD_UPGRADE_SET (1u << 2) /* the route's upgrade_configs decide, not the HCM's */
#define WEFT_FORWARD_AUTO_HOST (1u << 3)   /* auto_host_rewrite */
#define WEFT_FORWARD_APPEND_XFH (1u << 4)  /* append_x_forwarded_host */
#define WEFT_FORWARD_BY_HASH (1u << 5)	   /* weighted_clusters.use_hash_policy */
#define WEFT_FORWARD_VHOST_RATES (1u << 6) /* include_vh_rate_limits */

struct weft_img_forward {
	__u32 targets;	       /* weft_img_targets */
	__u32 flags;
	__u32 timeout_ms;      /* 15000, 0: none */
	__u32 idle_timeout_ms; /* WEFT_TIMEOUT_INHERIT: the HCM's stream_idle_timeout; 0 off */
	__u32 no_cluster;      /* enum weft_std_reply */
	/* retry_policy (route, else virtual host) */
	__u32 retry_on;	       /* WEFT_RETRY_* */
	__u32 num_retries;     /* 1 */
	__u32 per_try_ms;      /* 0: none */
	__u32 per_try_idle_ms; /* 0: none */
	__u32 backoff_base_ms; /* 25 */
	__u32 backoff_max_ms;  /* 10 * base */
	__u32 host_attempts;   /* host_selection_retry_max_attempts (1) */
	__u32 retry_previous_hosts; /* previous_hosts predicate */
	__u32 n_retry_status;
	__u32 retry_status;    /* __u32[n] retriable_status_codes */
	__u32 n_upgrade;
	__u32 upgrade;	       /* struct weft_img_upgrade[n] */
	__u32 matched_len;     /* bytes of the path that prefix_rewrite replaces, WEFT_MATCHED_WHOLE: all */
	struct weft_img_str prefix_rewrite;
	struct weft_img_str host;	 /* host_rewrite_literal */
	struct weft_img_str host_header; /* host_rewrite_header, lower case */
	__u32 host_format; /* weft_img_header whose value is the host (host_rewrite), 0: none */
	__u32 path_format; /* the path without query (path_rewrite) */
	__u32 host_regex; /* weft_img_rewrite: the path without query becomes the host (host_rewrite_path_regex) */
	__u32 path_regex; /* weft_img_rewrite of the path without query (regex_rewrite) */
	__u32 n_hash;	       /* hash_policy */
	__u32 hash;	       /* struct weft_img_hash[n] */
	__u32 follow;	       /* weft_img_follow (internal_redirect_policy), 0: none */
	__u32 retry_headers;   /* weft_img_matchers: retriable_headers, 0 none */
	__u32 retry_requests;  /* weft_img_matchers: retriable_request_headers, 0: any */
	__u32 n_mirror;	       /* request_mirror_policies of the route, else virtual host, else table */
	__u32 mirror;	       /* struct weft_img_mirror[n] */
	struct weft_img_rate_rules rate; /* rate_limits */
};
#define WEFT_FOLLOW_CROSS (1u << 0)    /* allow_cross_scheme_redirect */
#define WEFT_FOLLOW_PREVIOUS (1u << 1) /* predicates, by their names */
#define WEFT_FOLLOW_SAFE (1u << 2)
#define WEFT_FOLLOW_LISTED (1u << 3)
struct weft_img_follow {
	__u32 flags;
	__u32 max;   /* redirects of one request */
	__u32 codes; /* bit per status - 300 */
	__u32 n_listed;
	__u32 listed; /* struct weft_img_str[n]: names of routes */
	__u32 n_copy;
	__u32 copy; /* struct weft_img_str[n]: response_headers_to_copy, lower case */
	__u32 pad;
};
#define WEFT_MIRROR_SUFFIX (1u << 0) /* "-shadow" at the host */
struct weft_img_mirror {
	__u32 cluster; /* id; 0 when a header names it */
	__u32 flags;
	__u32 numerator, denominator; /* of the requests */
	struct weft_img_str name;   /* of the cluster */
	struct weft_img_str header; /* that names the cluster, lower case; empty: none */
	struct weft_img_str host;   /* in place of the request's; empty: none */
	__u32 changes; /* weft_img_changes of the copy (request_headers_mutations), 0: none */
	__u32 pad;
};
/* A regular expression and what each of its matches becomes (RegexMatchAndSubstitute); the agent alone does it. */
struct weft_img_rewrite {
	__u32 nfa; /* weft_img_nfa; 0: nothing is ever replaced */
	__u32 text; /* substitution, ends with a NUL */
};
enum weft_hash_kind { WEFT_HASH_HEADER = 1, WEFT_HASH_COOKIE, WEFT_HASH_SOURCE_IP, WEFT_HASH_QUERY };
#define WEFT_HASH_BY_NAME 0xffffffffu
struct weft_img_hash {
	__u32 kind;	/* enum weft_hash_kind */
	__u32 terminal; /* what follows counts only when nothing was found so far */
	__u32 slot;	/* of a header: enum weft_value, or WEFT_HASH_BY_NAME */
	__u32 flags;	/* WEFT_HASH_MAKES */
	struct weft_img_cond key; /* name alone, lower case if it is a header's */
	struct weft_img_str attributes; /* of a cookie that is made: what stands behind its value */
	__u32 rewrite;			/* weft_img_rewrite of each of a header's values, 0: none */
	__u32 pad;
};
#define WEFT_HASH_MAKES (1u << 0) /* a cookie that the request has not is made (ttl) */
#define WEFT_HASHES_MAX 64u	  /* of a route: bits of weft_req.made */
#define WEFT_MATCHED_WHOLE 0xffffffffu
#define WEFT_TIMEOUT_INHERIT 0xffffffffu
#define WEFT_RETRY_5XX (1u << 0)
#define WEFT_RETRY_GATEWAY_ERROR (1u << 1)
#define WEFT_RETRY_RESET (1u << 2)
#define WEFT_RETRY_RESET_BEFORE_REQUEST (1u << 3)
#define WEFT_RETRY_CONNECT_FAILURE (1u << 4)
#define WEFT_RETRY_REFUSED_STREAM (1u << 5)
#define WEFT_RETRY_RETRIABLE_4XX (1u << 6)
#define WEFT_RETRY_STATUS_CODES (1u << 7)
#define WEFT_RETRY_CANCELLED (1u << 8)
#define WEFT_RETRY_DEADLINE_EXCEEDED (1u << 9)
#define WEFT_RETRY_INTERNAL (1u << 10)
#define WEFT_RETRY_RESOURCE_EXHAUSTED (1u << 11)
#define WEFT_RETRY_UNAVAILABLE (1u << 12)
#define WEFT_RETRY_ENVOY_RATELIMITED (1u << 13)
#define WEFT_RETRY_HEADERS (1u << 14)

struct weft_img_upgrade {
	struct weft_img_str type; /* lower case */
	__u32 enabled;
	__u32 pad;
};

#define WEFT_REDIRECT_STRIP_QUERY (1u << 0)
#define WEFT_REDIRECT_PATH (1u << 1)	   /* path_redirect */
#define WEFT_REDIRECT_PREFIX (1u << 2)	   /* prefix_rewrite of the matched prefix */
#define WEFT_REDIRECT_HTTPS (1u << 3)
#define WEFT_REDIRECT_SAME_HOST (1u << 5) /* with its port, whatever the scheme */
#define WEFT_REDIRECT_AGENT (1u << 4)	  /* regex_rewrite, path_rewrite: the agent adds the path */

struct weft_img_redirect {
	__u32 reply; /* weft_img_reply; "location: URL\r\n" goes to its insert_off */
	__u32 flags;
	struct weft_img_str scheme; /* "" : the request's */
	struct weft_img_str host;   /* "" : the request's, its default port dropped on a scheme change */
	struct weft_img_str path;   /* path_redirect or the new prefix */
	__u32 port;		    /* port_redirect, 0 none */
	__u32 matched_len;	    /* bytes of the request's path that prefix_rewrite replaces, WEFT_MATCHED_WHOLE: all */
	__u32 path_regex;	    /* weft_img_rewrite of the path without query, 0: none */
	__u32 path_format; /* weft_img_header whose value is the path (path_rewrite), 0: none */
};

/* ---- clusters ---- */

enum weft_cluster_type {
	WEFT_CLUSTER_ENDPOINTS = 1, /* STATIC, EDS */
	WEFT_CLUSTER_ORIGINAL_DST,  /* PassthroughCluster */
	WEFT_CLUSTER_BLACKHOLE,	    /* STATIC without load_assignment: refuses TCP at connect() */
};
enum weft_lb {
	WEFT_LB_ROUND_ROBIN,
	WEFT_LB_LEAST_REQUEST,
	WEFT_LB_RANDOM,
	WEFT_LB_RING_HASH, /* this and the next by the request's hash */
	WEFT_LB_MAGLEV,
	WEFT_LB__MAX,
};
enum weft_priority { WEFT_PRIORITY_DEFAULT, WEFT_PRIORITY_HIGH, WEFT_PRIORITY__MAX };

struct weft_img_thresholds {
	__u32 max_connections; /* 1024 */
	__u32 max_pending;     /* 1024 */
	__u32 max_requests;    /* 1024 */
	__u32 max_retries;     /* 3 */
};

struct weft_img_cluster {
	struct weft_img_str name;
	__u32 type; /* enum weft_cluster_type */
	__u32 lb;   /* enum weft_lb */
	__u32 cell; /* state id of its weft_cell_cluster */
	__u32 connect_timeout_ms; /* 5000 */
	struct weft_img_thresholds threshold[WEFT_PRIORITY__MAX];
	__u32 idle_timeout_ms; /* upstream connections, 3600000, 0 off */
	__u32 max_requests_per_connection; /* 0: no limit */
	__u32 choice_count;   /* least request, 2 */
	__u32 buffer_limit;   /* per_connection_buffer_limit_bytes, 1 MiB */
	__u32 port_override;  /* ORIGINAL_DST upstream_port_override, 0 none */
	__u32 max_connection_ms;
	__u32 flags;	      /* WEFT_CLUSTER_* */
	__u32 balance_factor; /* hash_balance_factor, percent; 0: a host takes any load */
	__u32 moving;	      /* weft_img_moving, 0: weights stay what they are */
	__u32 outlier;	      /* weft_img_outlier, 0: no outlier detection */
};
#define WEFT_CLUSTER_AGENT (1u << 0) /* only the agent chooses its hosts */
#define WEFT_CHOICES_ALL 0xffffffffu /* choice_count: the best of all hosts (FULL_SCAN) */
/* Endpoints with the eligible ones of each priority worked out (xds-envoy.md 3.8). */
struct weft_img_endpoints {
	__u32 n;	/* all endpoints */
	__u32 endpoint; /* struct weft_img_endpoint[n] */
	__u32 n_set;	/* priorities with load, 0: no healthy upstream */
	__u32 set;	/* struct weft_img_host_set[n] */
	__u32 cursor;	/* state id of the weft_cell_cluster whose cursor counts the turns, 0: the cluster's own */
	__u32 drop;	/* drop_overloads in parts per million: of the requests, before a host is chosen */
	__u32 subsets;	/* weft_img_subsets, 0 none: then the sets are for requests that ask for none, or find none */
	__u32 since; /* __u64[n]: when a healthy host's slow start began, CLOCK_MONOTONIC in ns, 0:
			it has none; 0: none has */
};

/* What a request asks for of endpoints' metadata (metadata_match), in the order of keys. */
struct weft_img_criteria {
	__u32 n; /* up to 64 */
	/* what is tried one after the other where the cluster goes by the list of key
	 * "fallback_list" */
	__u32 n_list;
	__u32 list; /* __u32[n]: weft_img_criteria without lists */
	__u32 pad;
	/* struct weft_img_criterion[n] */
};
struct weft_img_criterion {
	__u32 key;  /* the key's text: equal texts have equal offsets */
	__u32 pair; /* key and value as text */
	__u64 hash; /* of that text */
};

/* Endpoints by metadata. */
struct weft_img_subsets {
	__u32 n;
	__u32 subset; /* struct weft_img_subset[n], by hash */
	__u32 n_selector;
	__u32 selector; /* struct weft_img_selector[n]: those that have a fallback of their own */
	__u32 flags;
	__u32 pad;
};
#define WEFT_SUBSETS_LIST (1u << 0) /* metadata_fallback_policy FALLBACK_LIST */
struct weft_img_subset {
	__u64 hash; /* sum of its pairs' */
	__u32 n;
	__u32 pair; /* __u32[n]: as weft_img_criterion.pair, in the order of keys */
	__u32 endpoints; /* weft_img_endpoints */
	__u32 pad;
};
struct weft_img_selector {
	__u32 n;
	__u32 key; /* __u32[n]: as weft_img_criterion.key */
	__u32 n_keep;
	__u32 keep; /* __u32[n]: keys with which it is looked up again; 0: endpoints is the answer */
	__u32 endpoints; /* weft_img_endpoints, 0: none */
	__u32 pad;
};
struct weft_img_host_set {
	__u32 load_end; /* cumulative share of 1..100 */
	__u32 n_host;	/* eligible, > 0 (0: picking this set is "no healthy upstream") */
	__u32 host;	/* __u32[n]: indexes of weft_img_endpoints.endpoint */
	__u32 n_schedule; /* period of the order by weight, 0: weights equal */
	__u32 schedule; /* __u16[n]: indexes into host, Envoy's EDF order; above WEFT_SCHEDULE_MAX struct weft_img_split[] */
	__u32 n_table;	/* RING_HASH, MAGLEV, else 0 */
	__u32 table;	/* __u16[n]: indexes into host */
	__u32 ring;	/* __u64[n]: RING_HASH, ascending hashes of the entries of table */
	/*
	 * Localities by weight: schedule and n_schedule are theirs then. Behind the indexes of a stored order come, as
	 * many again, the numbers of earlier turns of the same locality in the period.
	 */
	__u32 n_part;
	__u32 part; /* struct weft_img_host_set[n], without parts, table and load */
	__u32 turns; /* of a part: its turns in a period */
	__u32 share; /* double[n_host]: of all weights, for hash_balance_factor; else 0 */
};
/*
 * A period too long to be stored, as a tree: of the first m turns at a node round(m * weight / period) are the first
 * child's, the others the second's, who share them out likewise. So turn m is found from m alone; a period gives each
 * host its weight exactly, and a prefix differs from that share by at most half a turn a level, which then shrinks
 * with the weights on the way down: 1.7 turns in all with Huffman's tree (half the sum of the reciprocals of
 * Fibonacci's numbers).
 */
#define WEFT_SPLIT_HOST 0x80000000u
struct weft_img_split {
	__u32 period;	/* weights of both children */
	__u32 weight;	/* of the first */
	__u32 child[2]; /* index of a split, or WEFT_SPLIT_HOST | index into host */
};
struct weft_img_endpoint {
	struct weft_sockaddr addr;
	__u32 weight;
	__u32 health; /* HealthStatus */
	__u32 cell;   /* state id of its weft_cell_endpoint */
	struct weft_img_str hostname;
};
