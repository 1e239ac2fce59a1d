/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/* Listeners of the image (bpf/abi/image.h) and their filter chains, and the clusters that traffic
 * goes to. */

#include "bpf/abi/header.h"
#include "bpf/abi/limits.h"
#include "bpf/abi/table.h"

/* What the first bytes of a connection look like; the column of a chain group. */
enum weft_proto {
	WEFT_PROTO_RAW, /* raw_buffer, nothing detected */
	WEFT_PROTO_TLS,
	WEFT_PROTO_HTTP10, /* "http/1.0" */
	WEFT_PROTO_HTTP11, /* "http/1.1" */
	WEFT_PROTO_H2C,	   /* "h2c": HTTP/2 preface */
	WEFT_PROTO__MAX,
};

#define WEFT_LISTENER_INSPECT_HTTP                                                                 \
	(1u << 0) /* http_inspector: columns HTTP10, HTTP11, H2C are used */
#define WEFT_LISTENER_INSPECT_TLS (1u << 1)	  /* tls_inspector: column TLS is used */
#define WEFT_LISTENER_TIMEOUT_CONTINUES (1u << 2) /* continue_on_listener_filters_timeout */
/* close_connection_on_client_hello_parsing_errors: what is no ClientHello is closed */
#define WEFT_LISTENER_HELLO_CLOSES (1u << 3)
#define WEFT_LISTENER_MANY (1u << 4) /* more groups than programs look through: the agent chooses  \
				      */

struct weft_img_listener {
	struct weft_img_str name;
	__u32 flags;
	__u32 n_group;
	__u32 group;		  /* struct weft_img_chain_group[n]: the first that fits counts */
	__u32 hello_max;	  /* max_client_hello_size (16384) of the tls_inspector */
	__u32 inspect_timeout_ms; /* listener_filters_timeout (15000), 0: wait without limit */
	__u32 buffer_limit;	  /* per_connection_buffer_limit_bytes */
};

/*
 * Envoy's filter chain match, resolved at compile time for each thing a connection can look like.
 * By port, 0 (any port) last, then by length of the prefix, so that there is no way back: where
 * nothing matches below a port or a prefix, its group has the default chain.
 */
struct weft_img_chain_group {
	__u32 port;  /* destination_port (original destination), host order; 0: any */
	__u32 rules; /* weft_img_chain_rules, which the agent walks; 0: `chain` says it all */
	/* prefix_ranges: destinations with these bits; both zero: any of both families */
	struct weft_addr prefix, mask;
	__u32 chain[WEFT_PROTO__MAX]; /* weft_img_chain, 0: no chain matches, the connection is
					 closed */
};

/*
 * What remains to be matched of the chains of a group: server name, transport, application
 * protocols, direct source, source type, source, source port. At each of these levels the most
 * specific value that some chain left has and that fits is taken, and the others are out.
 */
struct weft_img_chain_rules {
	__u32 otherwise; /* weft_img_chain when none is left, 0: none */
	__u32 n_name;
	__u32 name; /* struct weft_img_chain_name[n], ascending by bytes */
	__u32 pad;
};
struct weft_img_chain_name {
	struct weft_img_str name; /* of server_names; "*.a" is ".a", "": any */
	__u32 n_rule;
	__u32 rule; /* __u32[n]: weft_img_chain_rule */
};
enum weft_transport { WEFT_TRANSPORT_ANY, WEFT_TRANSPORT_RAW, WEFT_TRANSPORT_TLS };
enum weft_source_type { WEFT_SOURCE_ANY, WEFT_SOURCE_LOCAL, WEFT_SOURCE_EXTERNAL };
/* Of one chain; lists that are empty fit everything, as the least specific value. */
struct weft_img_chain_rule {
	__u32 chain;	   /* weft_img_chain, 0: connections are closed */
	__u32 transport;   /* enum weft_transport */
	__u32 source_type; /* enum weft_source_type */
	__u32 n_alpn;
	__u32 alpn; /* struct weft_img_str[n] */
	__u32 n_direct;
	__u32 direct; /* direct_source_prefix_ranges: struct weft_img_test[n] */
	__u32 n_source;
	__u32 source; /* source_prefix_ranges: struct weft_img_test[n] */
	__u32 n_port;
	__u32 port; /* source_ports: __u32[n] */
	__u32 pad;
};

enum weft_chain_kind { WEFT_CHAIN_TCP = 1, WEFT_CHAIN_HTTP };

struct weft_img_chain {
	struct weft_img_str name;
	__u32 kind;				/* enum weft_chain_kind */
	__u32 target;				/* TCP: weft_img_targets, HTTP: weft_img_hcm */
	__u32 n_conn_limit;			/* network local_ratelimit, in filter order */
	__u32 conn_limit[WEFT_CONN_LIMITS_MAX]; /* weft_img_bucket */
	struct weft_img_str stat_prefix;	/* of the TCP proxy */
	__u32 idle_timeout_ms;	    /* TCP proxy idle_timeout (3600000), 0: off */
	__u32 max_connect_attempts; /* TCP proxy, 1 */
	__u32 n_rbac; /* network RBAC, in filter order; behind the limits, as Envoy judges with the
			 first byte */
	__u32 rbac[WEFT_CONN_LIMITS_MAX]; /* weft_img_rbac, without conditions on requests */
	__u32 flags;			  /* WEFT_CHAIN_* */
	__u32 n_ask;			  /* network ratelimit, in filter order */
	__u32 ask[WEFT_CONN_LIMITS_MAX];  /* weft_img_conn_ask */
	__u32 max_duration_ms;		  /* max_downstream_connection_duration, 0: none */
	__u32 max_duration_jitter_ms;	  /* up to so much later */
};

#define WEFT_CHAIN_RBAC_AGENT (1u << 0) /* RBAC of the source, or too long: not for connect() */
#define WEFT_CHAIN_CRITERIA (1u << 1)	/* some target has criteria: not for connect() */
/* A rate limit service is asked of each connection: not for connect(), first bytes are the agent's
 */
#define WEFT_CHAIN_ASKS (1u << 2)
#define WEFT_CHAIN_TIMED (1u << 3) /* they end after a time: not for connect() */

/* Chosen by the request's hash (WEFT_FORWARD_BY_HASH): programs leave that to the agent. */
#define WEFT_SLOT_HASHED 0xffffffffu
/* One or more clusters by weight: pick = random % total, first target with pick < end. */
struct weft_img_targets {
	__u32 n;    /* 1..WEFT_TARGETS_MAX */
	__u32 slot; /* weft_value + 1 of header_name, whose number is taken for the random one; 0:
		       none */
	__u64 total;
	/* struct weft_img_target[n] */
};
struct weft_img_target {
	struct weft_img_str name; /* cluster name, also when unknown */
	__u32 cluster;		  /* id in weft_img_view.cluster */
	__u32 n_override;
	__u32 override; /* struct weft_img_override[n] of the weighted cluster */
	__u32 weight;
	__u64 end; /* cumulative weight */
	/* weft_value + 1 of cluster_header, which names the cluster; 0, WEFT_SLOT_HASHED: `cluster`
	 * is it */
	__u32 slot;
	__u32 request;		  /* weft_img_changes of requests, 0: none */
	__u32 criteria;		  /* weft_img_criteria, 0: none */
	struct weft_img_str host; /* host_rewrite_literal of the weighted cluster */
	struct weft_img_response response;
};

/* A token bucket: continuous refill, starts full (Envoy since 2024). */
struct weft_img_bucket {
	__u32 cell;	  /* state id of its weft_cell_bucket */
	__u32 max_tokens; /* 0: refuses everything */
	__u64 cost; /* of one token: fill_interval / tokens_per_fill, in 1/16 ns, rounded to nearest
		     */
	__u64 full; /* max_tokens * cost, below 1 << 62 */
	struct weft_img_str stat_prefix;
};
