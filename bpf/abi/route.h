/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/* Route configurations of the image (bpf/abi/image.h): from a host and a path to an action. */

#include "bpf/abi/filter.h"
#include "bpf/abi/header.h"
#include "bpf/abi/match.h"
#include "bpf/abi/metadata.h"
#include "bpf/abi/table.h"

#define WEFT_RC_IGNORE_PORT (1u << 0)	    /* ignore_port_in_host_matching */
#define WEFT_RC_PREFIX_HOSTS (1u << 1)	    /* has "foo.*" domains */
#define WEFT_RC_IGNORE_PARAMETERS (1u << 2) /* ignore_path_parameters_in_path_matching */
#define WEFT_RC_PREPARED (1u << 3)	    /* as WEFT_HCM_PREPARED, of the table's rules */

struct weft_img_route_config {
	struct weft_img_str name;
	__u32 flags;
	__u32 hosts;	     /* weft_img_tab: HOST, HOST_SUFFIX, HOST_PREFIX -> weft_img_vhost */
	__u32 star;	     /* weft_img_vhost of "*", 0 none */
	__u32 headers;	     /* weft_img_tab: HEADER -> slot id + 1 */
	__u64 bloom;	     /* bit (hash & 63) of every name in headers */
	__u64 suffix_len[4]; /* bit l: a suffix of l bytes exists */
	__u64 prefix_len[4];
	__u32 n_override;
	__u32 override; /* struct weft_img_override[n] */
	__u32 n_internal_only;
	__u32 internal_only; /* struct weft_img_str[n]: headers taken from requests that are not
				internal, lower case */
	__u32 host_slot; /* vhost_header: weft_value + 1 of what stands for the host, 0: the host */
	__u32 pad;
};

struct weft_img_vhost {
	struct weft_img_str name;
	__u32 trie; /* weft_img_node */
	__u32 n_route;
	__u32 n_override;
	__u32 override; /* struct weft_img_override[n] */
	__u32 flags;
	__u32 trie_lower; /* weft_img_node of paths without regard to case, labels in lower case; 0:
			     none */
	__u32 connect;	  /* weft_img_accept of routes with connect_matcher, 0: none */
	__u32 tls_route;  /* require_tls: weft_img_route of requests that did not come by https, 0:
			     none */
	struct weft_img_rate_rules rate; /* rate_limits */
};
#define WEFT_VHOST_ATTEMPT_COUNT (1u << 0) /* include_request_attempt_count */
#define WEFT_VHOST_ATTEMPT_COUNT_RESPONSE (1u << 1)
#define WEFT_VHOST_TIMEOUT_RETRY (1u << 2) /* include_is_timeout_retry_header */

/* Compressed trie over the paths of a virtual host. */
struct weft_img_node {
	__u64 label8;	    /* first 8 bytes of the label, zero padded */
	__u32 label;	    /* offset of the whole label */
	__u16 len;	    /* bytes of the label */
	__u16 child_mask;   /* children table size - 1 (perfect hash: byte & mask) */
	__u32 accept;	    /* weft_img_accept for paths that go through here */
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
	__u32 select; /* struct weft_img_select[n]: further lists, by what the request holds */
		      /* struct weft_img_candidate[n] */
};
/*
 * Finds, of many routes, those whose condition of one kind holds: at most one list, and in it at
 * most WEFT_SELECT_DEPTH_MAX - 1 selections more. Its candidates are still to be tested; its `best`
 * is not.
 */
enum weft_select_kind {
	WEFT_SELECT_VALUE = 1, /* by: weft_img_tab of exact values of the header of `slot` */
	WEFT_SELECT_PATH,      /* by: weft_img_dfa over the path, whose end is a number into list */
};
struct weft_img_select {
	__u32 kind; /* enum weft_select_kind */
	__u32 slot;
	__u32 by;
	__u32 list; /* PATH: __u32[n_list + 1]: weft_img_accept; [0] is not used */
	__u32 n_list;
	__u32 first; /* lowest index of a route in any of its lists */
};
struct weft_img_candidate {
	__u32 index;
	__u32 route;
};
#define WEFT_NO_ROUTE 0xffffffffu

enum weft_action {
	WEFT_ACTION_FORWARD = 1, /* weft_img_forward */
	WEFT_ACTION_DIRECT,	 /* weft_img_reply */
	WEFT_ACTION_REDIRECT,	 /* weft_img_redirect */
};

struct weft_img_route {
	struct weft_img_str name;
	__u32 index; /* in its virtual host; WEFT_NO_ROUTE: of require_tls, no level of the table
			says anything of it */
	__u32 action_kind;
	__u32 action;
	__u32 n_cond;
	__u32 cond; /* struct weft_img_cond[n] */
	__u32 n_override;
	__u32 override;
	__u32 vhost; /* weft_img_vhost that holds it: 0 in the object, known from the walk */
	__u32 metadata; /* weft_img_metadata, 0: none, or nothing asks for it */
	__u32 pad;
	struct weft_img_response
		response; /* of direct responses and redirects; a target has its own */
};

#define WEFT_FORWARD_HAS_RETRY (1u << 0)
#define WEFT_FORWARD_PRIORITY_HIGH (1u << 1)
#define WEFT_FORWARD_UPGRADE_SET (1u << 2) /* the route's upgrade_configs decide, not the HCM's */
#define WEFT_FORWARD_AUTO_HOST (1u << 3)   /* auto_host_rewrite */
#define WEFT_FORWARD_APPEND_XFH (1u << 4)  /* append_x_forwarded_host */
#define WEFT_FORWARD_BY_HASH (1u << 5)	   /* weighted_clusters.use_hash_policy */
#define WEFT_FORWARD_VHOST_RATES (1u << 6) /* include_vh_rate_limits */

struct weft_img_forward {
	__u32 targets; /* weft_img_targets */
	__u32 flags;
	__u32 timeout_ms;      /* 15000, 0: none */
	__u32 idle_timeout_ms; /* WEFT_TIMEOUT_INHERIT: the HCM's stream_idle_timeout; 0 off */
	__u32 no_cluster;      /* enum weft_std_reply */
	/* retry_policy (route, else virtual host) */
	__u32 retry_on;		    /* WEFT_RETRY_* */
	__u32 num_retries;	    /* 1 */
	__u32 per_try_ms;	    /* 0: none */
	__u32 per_try_idle_ms;	    /* 0: none */
	__u32 backoff_base_ms;	    /* 25 */
	__u32 backoff_max_ms;	    /* 10 * base */
	__u32 host_attempts;	    /* host_selection_retry_max_attempts (1) */
	__u32 retry_previous_hosts; /* previous_hosts predicate */
	__u32 n_retry_status;
	__u32 retry_status; /* __u32[n] retriable_status_codes */
	__u32 n_upgrade;
	__u32 upgrade;	   /* struct weft_img_upgrade[n] */
	__u32 matched_len; /* bytes of the path that prefix_rewrite replaces, WEFT_MATCHED_WHOLE:
			      all */
	struct weft_img_str prefix_rewrite;
	struct weft_img_str host;	 /* host_rewrite_literal */
	struct weft_img_str host_header; /* host_rewrite_header, lower case */
	__u32 host_format;    /* weft_img_header whose value is the host (host_rewrite), 0: none */
	__u32 path_format;    /* the path without query (path_rewrite) */
	__u32 host_regex;     /* weft_img_rewrite: the path without query becomes the host
				 (host_rewrite_path_regex) */
	__u32 path_regex;     /* weft_img_rewrite of the path without query (regex_rewrite) */
	__u32 n_hash;	      /* hash_policy */
	__u32 hash;	      /* struct weft_img_hash[n] */
	__u32 follow;	      /* weft_img_follow (internal_redirect_policy), 0: none */
	__u32 retry_headers;  /* weft_img_matchers: retriable_headers, 0 none */
	__u32 retry_requests; /* weft_img_matchers: retriable_request_headers, 0: any */
	__u32 n_reset;	      /* rate_limited_retry_back_off */
	__u32 reset;	      /* struct weft_img_reset[n]: the first header that says when */
	__u32 reset_max_ms;
	__u32 n_mirror; /* request_mirror_policies of the route, else virtual host, else table */
	__u32 mirror;	/* struct weft_img_mirror[n] */
	struct weft_img_rate_rules rate; /* rate_limits */
};
/* A header of a response in whole seconds: how long to wait, or (unix) until when. */
struct weft_img_reset {
	struct weft_img_str name; /* lower case */
	__u32 unix_time;
	__u32 pad;
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
	struct weft_img_str name;     /* of the cluster */
	struct weft_img_str header;   /* that names the cluster, lower case; empty: none */
	struct weft_img_str host;     /* in place of the request's; empty: none */
	__u32 changes; /* weft_img_changes of the copy (request_headers_mutations), 0: none */
	__u32 pad;
};
enum weft_hash_kind {
	WEFT_HASH_HEADER = 1,
	WEFT_HASH_COOKIE,
	WEFT_HASH_SOURCE_IP,
	WEFT_HASH_QUERY
};
#define WEFT_HASH_BY_NAME 0xffffffffu
struct weft_img_hash {
	__u32 kind;			/* enum weft_hash_kind */
	__u32 terminal;			/* what follows counts only when nothing was found so far */
	__u32 slot;			/* of a header: enum weft_value, or WEFT_HASH_BY_NAME */
	__u32 flags;			/* WEFT_HASH_MAKES */
	struct weft_img_cond key;	/* name alone, lower case if it is a header's */
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
#define WEFT_REDIRECT_PATH (1u << 1)   /* path_redirect */
#define WEFT_REDIRECT_PREFIX (1u << 2) /* prefix_rewrite of the matched prefix */
#define WEFT_REDIRECT_HTTPS (1u << 3)
#define WEFT_REDIRECT_SAME_HOST (1u << 5) /* with its port, whatever the scheme */
#define WEFT_REDIRECT_AGENT (1u << 4)	  /* regex_rewrite, path_rewrite: the agent adds the path */

struct weft_img_redirect {
	__u32 reply; /* weft_img_reply; "location: URL\r\n" goes to its insert_off */
	__u32 flags;
	struct weft_img_str scheme; /* "" : the request's */
	struct weft_img_str
		host; /* "" : the request's, its default port dropped on a scheme change */
	struct weft_img_str path; /* path_redirect or the new prefix */
	__u32 port;		  /* port_redirect, 0 none */
	__u32 matched_len;	  /* bytes of the request's path that prefix_rewrite replaces,
				     WEFT_MATCHED_WHOLE: all */
	__u32 path_regex;	  /* weft_img_rewrite of the path without query, 0: none */
	__u32 path_format; /* weft_img_header whose value is the path (path_rewrite), 0: none */
};
