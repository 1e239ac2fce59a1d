/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/*
 * State: what changes with traffic, in one mmapable array, read and written by programs and agent with
 * atomics. Offsets are from its start; laid out once at load by weft_state_layout().
 *
 * Cells (token buckets, breakers, cursors) belong to (pod, state id); a state id stands for one
 * (kind, resource name, content) and is given by the agent. The directory maps the pair to an offset: written
 * by the agent only, read by anybody. A program that finds no cell hands the exchange to the agent, which
 * makes it.
 */

#include "bpf/abi/limits.h"
#include "bpf/abi/reason.h"
#include "bpf/abi/types.h"

#define WEFT_STATE_MAGIC 0x3161747374666577ull /* "weftsta1" */

/*
 * Requests of connection managers by stat_prefix, as they ended (Envoy's
 * http.PREFIX.downstream_rq_*): a program counts what it answers, the agent each outcome. Entries
 * are taken by the agent and never given back; 0 is for those that came when none was left.
 */
#define WEFT_HTTP_STATS_MAX 64u
#define WEFT_HTTP_STAT_NAME 64u
struct weft_http_stat {
	/* [1] to [5]: responses by class; [0]: requests that got none; [6]: of all, those that the
	 * client did not stay for */
	__u64 rq[8];
	char name[WEFT_HTTP_STAT_NAME];
};

#define WEFT_HTTP_STAT_RESET 6

struct weft_state_head {
	__u64 magic;
	__u32 abi;
	__u32 n_slot;
	__u32 slot;	 /* struct weft_slot[n_slot], 128 bytes each; index 0 is never used */
	__u32 n_dir;	 /* power of two */
	__u32 dir;	 /* struct weft_dir_ent[n_dir] */
	__u32 n_cell;
	__u32 cell;	 /* cells of WEFT_CELL_SIZE bytes; index 0 is never used */
	__u32 n_head;
	__u32 head;	 /* head buffers (struct weft_req), WEFT_HEAD_STRIDE apart; index 0 never used */
	__u32 pod_use;	 /* struct weft_pod_use[WEFT_PODS_MAX + 1], by pod id */
	__u64 slot_free; /* tagged free list: tag (40 bits) << 24 | index, 0 index: empty */
	__u64 head_free;
	__u64 beat_ns;	 /* CLOCK_MONOTONIC of the agent's last sign of life */
	__u32 date_which; /* 0 or 1: which of date[] is valid */
	__u32 pod_slots_max; /* slots of one pod */
	char date[2][32]; /* "Sun, 06 Nov 1994 08:49:37 GMT", kept by the agent each second */
	__u64 outcome[2][32]; /* enum weft_outcome, [0] in the kernel, [1] by the agent */
	__u64 handed[64];     /* enum weft_handed */
	__u64 classes[8];     /* enum weft_class */
	__u64 slots_used;
	__u64 decisions_honoured; /* the agent used the kernel's decision */
	__u64 decisions_dropped;  /* it did not: number, epoch or hash differ */
	__u32 pod_origs_max; /* entries of original destinations of one pod */
	__u32 pod_runs_max;  /* program runs of one pod that have head buffers */
	__u64 segments_trimmed; /* bytes that TCP had delivered were cut off (skb.bpf.c) */
	__u64 streams_broken;	/* or could not be: the app gets no more */
	__u64 repeated;		/* refusals that were made of the one before (again.h) */
	__u64 head_key[WEFT_HEAD_MAX / 8]; /* of weft_hash_head(): random bits, one word for each of a head's */
	struct weft_http_stat http[WEFT_HTTP_STATS_MAX];
};

static_assert(WEFT_OUTCOME__MAX <= 32 && WEFT_HANDED__MAX <= 64 && WEFT_CLASS__MAX <= 8, "counters");

/*
 * What a pod holds of what all pods share. A place is taken before the slot or entry and given back after it, by pod id:
 * what connections of a removed pod still hold counts for the next one of its id until they end.
 */
struct weft_pod_use {
	__u32 slots;
	__u32 origs;
	__u32 runs;
	__u32 pad;
};

/* ---- cells ---- */

#define WEFT_CELL_SIZE 128u

/* A state id names its kind of cell in its two highest bits, so that a cell's owner knows what a word means. */
#define WEFT_ID_KIND_SHIFT 30
#define WEFT_ID_KIND(id) ((id) >> WEFT_ID_KIND_SHIFT)
enum weft_cell_kind {
	WEFT_CELL_BUCKET = 0, /* from 1 on: id 0 is none */
	WEFT_CELL_CLUSTER = 1,
	WEFT_CELL_ENDPOINT = 2,
	WEFT_CELL_FILTER = 3,
};
#define WEFT_HEAD_STRIDE 8192u /* of head buffers: one weft_req with its 4 KiB head */

struct weft_dir_ent {
	__u64 key;  /* pod << 32 | state id; 0: empty, 1: deleted (probing goes on) */
	__u32 cell; /* offset; written before key (release) */
	__u32 pad;
};

/*
 * word: the time, in 1/16 ns since boot plus WEFT_BUCKET_EPOCH, at which the bucket was or would have been
 * empty. 0 is a full bucket. So one 64-bit word holds tokens and time.
 */
#define WEFT_BUCKET_EPOCH (1ull << 62)
struct weft_cell_bucket {
	__u64 word;
	__u64 enabled;	    /* requests the filter looked at */
	__u64 enforced;	    /* would be refused and enforced */
	__u64 rate_limited; /* no token */
	__u64 ok;
	__u32 since; /* epoch from which on this offset can mean this bucket: what older ones paid was another's; 0: always */
	__u32 pad2;
	__u64 pad[10];
};

/* Breakers, cursor and statistics of (pod, cluster). */
struct weft_cell_cluster {
	__u32 cx_active[2]; /* per priority: open and connecting upstream connections; and l4 ones */
	__u32 rq_pending[2]; /* waiting for a connection */
	__u32 rq_active[2];
	__u32 retry_active[2];
	__u32 cx_idle;	/* connections of the agent's pools that a request may use at once */
	__u32 cursor;	/* round robin */
	__u64 rq_total;
	__u64 cx_total;
	__u64 cx_overflow;
	__u64 pending_overflow;
	__u64 rq_overflow;
	__u32 cx_connect_fail;	 /* a packet or a timeout each: 32 bits last */
	__u32 keepalive_timeout; /* connections of HTTP/2 that did not answer a PING */
	__u64 rq_timeout;
	__u64 rq_retry;
	__u64 rq_2xx;
	__u64 rq_4xx;
	__u64 rq_5xx;
};

/* Runs of failures that outlier detection looks at, in the order in which Envoy does. */
enum weft_failures { WEFT_RUN_GATEWAY, WEFT_RUN_5XX, WEFT_RUN_LOCAL, WEFT_RUN__MAX };
/* Failures that the endpoint answered with, and those of the way to it (both together unless they
 * are split). */
enum weft_window { WEFT_WINDOW_EXTERNAL, WEFT_WINDOW_LOCAL, WEFT_WINDOW__MAX };

struct weft_cell_endpoint {
	__u32 rq_active; /* for least request */
	__u32 cx_active;
	__u64 rq_total;
	__u64 rq_error;
	__u64 cx_total;
	__u64 cx_fail;
	/* outlier detection (bpf/engine/outlier.h): for which cluster, 0: none, and what it is
	 * found by */
	__u32 owner;		    /* state id of the cluster's cell; set last */
	__u32 self;		    /* state id of this cell */
	__u32 limit[WEFT_RUN__MAX]; /* lengths of runs that count, 0: none */
	__u32 run[WEFT_RUN__MAX];   /* failures one behind another */
	__u32 split;		    /* split_external_local_origin_errors */
	__u32 pending; /* bit per enum weft_failures: it was as long, and the agent has not yet
			  looked at it */
	__u64 window[WEFT_WINDOW__MAX]; /* since the last interval: successes << 32 | requests */
	__u64 pad[4];
};

/* What a filter of a pod did. */
struct weft_cell_filter {
	__u64 allowed; /* RBAC */
	__u64 denied;
	__u64 shadow_allowed;
	__u64 shadow_denied;
	__u64 aborts; /* faults */
	__u64 delays;
	__u64 overflow; /* max_active_faults was reached */
	__u32 active;	/* requests that wait, or have waited and are not done */
	__u32 pad0;
	__u64 origin_valid; /* CORS */
	__u64 origin_invalid;
	__u64 rates; /* responses held to a rate */
	__u64 pad[5];
};
static_assert(sizeof(struct weft_cell_filter) == WEFT_CELL_SIZE, "filter");
static_assert(sizeof(struct weft_cell_bucket) == WEFT_CELL_SIZE, "bucket");
static_assert(sizeof(struct weft_cell_cluster) == WEFT_CELL_SIZE, "cluster");
static_assert(sizeof(struct weft_cell_endpoint) == WEFT_CELL_SIZE, "endpoint");

/* ---- slots ---- */

/*
 * One captured HTTP connection. `word` is its owner and the bytes that sk_msg passed to the agent:
 *   owner (WEFT_OWNER_*) << 56 | passed bytes (56 bits)
 * passed is the position in the app's byte stream (TCP Fast Open included) behind the last byte
 * that went to the agent, worked out from the socket's sequence numbers at each send; requests
 * answered in place do not move it. The kernel moves KERNEL -> AGENT when it passes bytes; the
 * agent moves AGENT -> KERNEL by compare-and-swap, only when it has handled exactly `passed` bytes
 * and has no exchange open, after storing agent_tx; and KERNEL -> AGENT without
 * bytes when it drains the connection.
 */
#define WEFT_OWNER_KERNEL 0ull
#define WEFT_OWNER_AGENT 1ull
#define WEFT_OWNER_SHIFT 56
#define WEFT_PASSED_MASK ((1ull << WEFT_OWNER_SHIFT) - 1)

#define WEFT_PAID_MAX 4u

/* What sk_msg decided for the exchange it handed over; valid when `exchange` was stored (release). */
struct weft_record {
	__u64 hash;	/* of the head's bytes, weft_hash_head() */
	__u64 position; /* passed bytes before the head */
	__u32 exchange; /* counts records on this connection, from 1 */
	__u32 epoch;	/* of the image that was used; offsets below are of that epoch */
	__u32 outcome;	/* enum weft_outcome: FORWARD, or a local reply that the agent must send */
	__u32 route;	/* weft_img_route, 0 none */
	__u32 vhost;	/* weft_img_vhost, 0 none */
	__u32 target;	/* weft_img_target chosen, 0 none */
	__u32 n_paid;	/* token buckets that gave a token for this head */
	__u32 paid[WEFT_PAID_MAX]; /* offsets of their cells: not to be charged again */
	__u32 reply;	/* weft_img_reply of a local reply that could not be given in place, 0 none */
	__u64 random;	/* of this request: who decides it again takes the same route */
};

struct weft_slot {
	__u64 word;
	__u64 agent_tx; /* bytes the agent has sent on this connection, stored before it gives it back */
	__u32 next;	/* free list */
	__u32 gen;	/* counts uses of this slot */
	__u32 pod;
	__u32 refs;	/* WEFT_REF_* */
	__u32 active;	/* when a program last judged a request here, CLOCK_MONOTONIC in 2^20 ns (idle timeouts) */
	__u32 pad;
	struct weft_record rec;
	__u64 pad2[2];
};
static_assert(sizeof(struct weft_record) == 72, "weft_record");
static_assert(sizeof(struct weft_slot) == 128, "weft_slot");
#define WEFT_REF_APP 1u	  /* the app's socket lives */
#define WEFT_REF_AGENT 2u /* the agent has accepted, or still may */

/* ---- maps' keys and values that both sides know ---- */

/* The pod map: netns cookie -> this. */
struct weft_pod {
	__u32 id;   /* 1..WEFT_PODS_MAX */
	__u32 view; /* index in weft_img_root */
	__u32 flags;
	__u32 pad;
	struct weft_addr addr4; /* v4-mapped; zero: none */
	struct weft_addr addr6; /* zero: none */
	__u16 port4[WEFT_LISTEN_PORTS]; /* agent's listening ports on addr4, host order; 0 unused */
	__u16 port6[WEFT_LISTEN_PORTS];
};
#define WEFT_POD_PAUSED 1u /* being removed: everything is bypass */
#define WEFT_POD_HELD                                                                              \
	2u /* its view has no configuration yet: connections out of the pod are refused */

/* A captured connection between ESTABLISHED and accept(): both ends' addresses identify it. */
struct weft_orig_key {
	__u64 netns; /* cookie */
	struct weft_sockaddr client; /* as the agent sees its peer */
	struct weft_sockaddr agent;  /* the listener's address */
};
static_assert(sizeof(struct weft_orig_key) == 48, "weft_orig_key");
struct weft_orig {
	struct weft_sockaddr dst; /* what the app asked for */
	__u32 slot; /* 0: without kernel help */
	__u32 gen;
	__u32 pod;
	__u32 flags; /* WEFT_ORIG_* */
	__u32 why;   /* enum weft_handed: why there is no slot; 0: there is, or the socket can have none */
	__u64 closed_ns; /* the app closed before accept(): what it sent still counts; swept later; 0: open */
};
#define WEFT_ORIG_LIMITS_PAID 1u /* network rate limits of its TCP chain were charged in connect() */
static_assert(sizeof(struct weft_orig) == 48, "weft_orig");

/* Socket storage: set by connect, or (agent's own sockets) by the agent through the file descriptor. */
struct weft_sock {
	struct weft_sockaddr dst; /* original destination; port 0: none */
	__u32 class_id;	/* enum weft_class */
	__u32 flags;	/* WEFT_SOCK_* */
	__u32 pod;
	__u32 slot;
	__u32 gen;
	__u32 cell;	/* l4: offset of the weft_cell_cluster whose cx_active[0] holds a place, 0 none */
	__u32 cell_endpoint; /* l4: offset of the weft_cell_endpoint, 0 none */
	__u32 seq; /* TCP sequence number of the first byte the app can send (positions are counted from it) */
	__u32 refused; /* of the hash of the head that an empty bucket refused last (again.h) */
	__u64 cookie; /* of the socket: its key in the sock map, never used twice */
};
static_assert(sizeof(struct weft_sock) == 64, "weft_sock");
#define WEFT_SOCK_EXEMPT 1u /* the agent's own: never touched */
#define WEFT_SOCK_MPTCP 4u
#define WEFT_SOCK_ORIG 8u	 /* the orig map was given an entry */
#define WEFT_SOCK_LIMITS_PAID 16u /* see WEFT_ORIG_LIMITS_PAID */
#define WEFT_SOCK_WATCHED 32u	  /* sockops will see its end */

/* From programs to the agent: an endpoint's cell has begun to count for a cluster's outlier
 * detection, or has news. */
struct weft_outlier_news {
	__u32 pod;
	__u32 cluster; /* state ids */
	__u32 endpoint;
	__u32 pad;
};
#define WEFT_OUTLIER_RING 65536u /* bytes; what does not fit is found when the interval ends */
