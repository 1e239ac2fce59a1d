/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/* Clusters of the image (bpf/abi/image.h) and the hosts of each. */

#include "bpf/abi/moving.h"
#include "bpf/abi/outlier.h"
#include "bpf/abi/table.h"

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
	__u32 max_retries;     /* 3; not with a retry_budget */
	__u32 max_per_host;    /* per_host_thresholds: connections to one endpoint */
	__u32 max_pools;       /* max_connection_pools */
	__u32 least_retries;   /* retry_budget: min_retry_concurrency, 3 */
	__u32 flags;	       /* WEFT_THRESHOLDS_* */
	double retry_percent;  /* retry_budget: budget_percent of active and waiting requests, 20 */
};
#define WEFT_THRESHOLD_NONE 0xffffffffu
#define WEFT_THRESHOLDS_BUDGET (1u << 0)    /* retry_budget in place of max_retries */
#define WEFT_THRESHOLDS_REMAINING (1u << 1) /* track_remaining */

struct weft_img_cluster {
	struct weft_img_str name;
	__u32 type;		  /* enum weft_cluster_type */
	__u32 lb;		  /* enum weft_lb */
	__u32 cell;		  /* state id of its weft_cell_cluster */
	__u32 connect_timeout_ms; /* 5000 */
	struct weft_img_thresholds threshold[WEFT_PRIORITY__MAX];
	__u32 idle_timeout_ms;		   /* upstream connections, 3600000, 0 off */
	__u32 max_requests_per_connection; /* 0: no limit */
	__u32 choice_count;		   /* least request, 2 */
	__u32 buffer_limit;		   /* per_connection_buffer_limit_bytes, 1 MiB */
	__u32 port_override;		   /* ORIGINAL_DST upstream_port_override, 0 none */
	__u32 max_connection_ms;
	__u32 flags;	      /* WEFT_CLUSTER_* */
	__u32 balance_factor; /* hash_balance_factor, percent; 0: a host takes any load */
	__u32 moving;	      /* weft_img_moving, 0: weights stay what they are */
	__u32 outlier;	      /* weft_img_outlier, 0: no outlier detection */
	__u32 http;	      /* enum weft_upstream_http */
	__u32 h2;	      /* weft_img_h2 of its connections, 0: they never speak HTTP/2 */
};
/* Which version of HTTP its endpoints are spoken to by. */
enum weft_upstream_http {
	WEFT_UPSTREAM_HTTP1,
	WEFT_UPSTREAM_HTTP2,
	WEFT_UPSTREAM_AS_CLIENT, /* that of the request */
};
#define WEFT_CLUSTER_AGENT (1u << 0) /* only the agent chooses its hosts */
/* LOGICAL_DNS: one host, whatever its addresses are at the moment; its connections stay */
#define WEFT_CLUSTER_LOGICAL (1u << 1)
/* What the codec makes of a request: names in proper case, an absolute target */
#define WEFT_CLUSTER_PROPER_CASE (1u << 2)
#define WEFT_CLUSTER_WHOLE_URL (1u << 3)
#define WEFT_CHOICES_ALL 0xffffffffu /* choice_count: the best of all hosts (FULL_SCAN) */
/* Endpoints with the eligible ones of each priority worked out (agent/compile/host_sets.c). */
struct weft_img_endpoints {
	__u32 n;	/* all endpoints */
	__u32 endpoint; /* struct weft_img_endpoint[n] */
	__u32 n_set;	/* priorities with load, 0: no healthy upstream */
	__u32 set;	/* struct weft_img_host_set[n] */
	__u32 cursor;	/* state id of the weft_cell_cluster whose cursor counts the turns, 0: the
			   cluster's own */
	__u32 drop; /* drop_overloads in parts per million: of the requests, before a host is chosen
		     */
	__u32 subsets; /* weft_img_subsets, 0 none: then the sets are for requests that ask for
			  none, or find none */
	__u32 since; /* __u64[n]: when a healthy host's slow start began, CLOCK_MONOTONIC in ns, 0:
			it has none; 0: none has */
	__u32 flags;
};
/* A host has several addresses: connections to it are the agent's. */
#define WEFT_ENDPOINTS_SEVERAL (1u << 0)

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
	__u32 pair;	 /* __u32[n]: as weft_img_criterion.pair, in the order of keys */
	__u32 endpoints; /* weft_img_endpoints */
	__u32 pad;
};
struct weft_img_selector {
	__u32 n;
	__u32 key; /* __u32[n]: as weft_img_criterion.key */
	__u32 n_keep;
	__u32 keep; /* __u32[n]: keys with which it is looked up again; 0: endpoints is the answer
		     */
	__u32 endpoints; /* weft_img_endpoints, 0: none */
	__u32 pad;
};
struct weft_img_host_set {
	__u32 load_end;	  /* cumulative share of 1..100 */
	__u32 n_host;	  /* eligible, > 0 (0: picking this set is "no healthy upstream") */
	__u32 host;	  /* __u32[n]: indexes of weft_img_endpoints.endpoint */
	__u32 n_schedule; /* period of the order by weight, 0: weights equal */
	__u32 schedule;	  /* __u16[n]: indexes into host, Envoy's EDF order; above WEFT_SCHEDULE_MAX
			     struct weft_img_split[] */
	__u32 n_table;	  /* RING_HASH, MAGLEV, else 0 */
	__u32 table;	  /* __u16[n]: indexes into host */
	__u32 ring;	  /* __u64[n]: RING_HASH, ascending hashes of the entries of table */
	/*
	 * Localities by weight: schedule and n_schedule are theirs then. Behind the indexes of a
	 * stored order come, as many again, the numbers of earlier turns of the same locality in
	 * the period.
	 */
	__u32 n_part;
	__u32 part;  /* struct weft_img_host_set[n], without parts, table and load */
	__u32 turns; /* of a part: its turns in a period */
	__u32 share; /* double[n_host]: of all weights, for hash_balance_factor; else 0 */
};
/*
 * A period too long to be stored, as a tree: of the first m turns at a node round(m * weight /
 * period) are the first child's, the others the second's, who share them out likewise. So turn m is
 * found from m alone; a period gives each host its weight exactly, and a prefix differs from that
 * share by at most half a turn a level, which then shrinks with the weights on the way down: 1.7
 * turns in all with Huffman's tree (half the sum of the reciprocals of Fibonacci's numbers).
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
	__u32 addresses; /* weft_img_addresses, 0: addr is its only one */
	struct weft_img_str hostname;
};
/* All addresses of a host in the order in which they are tried. */
struct weft_img_addresses {
	__u32 n;
	/* struct weft_sockaddr[n] */
};
