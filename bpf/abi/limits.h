/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/* Every bound of weft that kernel and agent share, each with its reason. */

/* Image: default and largest size in bytes (powers of two), and the slack behind it. */
#define WEFT_IMAGE_SIZE_DEFAULT (32u << 20)
#define WEFT_IMAGE_SIZE_MAX (512u << 20) /* largest that verifies on 6.1 and 6.18 */
/* A masked offset may be the last byte: every object header and string step fits behind it. */
#define WEFT_IMAGE_SLACK 4096u

/* State: default size; its layout is fixed at load (struct weft_state_head). */
#define WEFT_STATE_SIZE_DEFAULT (32u << 20)
#define WEFT_STATE_SIZE_MAX (512u << 20)
#define WEFT_STATE_SLACK 8192u /* one weft_req, the largest thing behind an offset, fits in it */

/* A head that sk_msg judges: what one page holds; longer ones are the agent's. */
#define WEFT_HEAD_MAX 4096u
/* Header fields that sk_msg judges: 99 % of requests have fewer; more are the agent's. */
#define WEFT_HEADERS_MAX 64u
/* Redirects followed for one request: each is an exchange that its client waits for. */
#define WEFT_FOLLOW_MAX 16u
/* Mirrors of one route: each request makes as many more. */
#define WEFT_MIRRORS_MAX 8u
/* rate_limits of one route, virtual host or filter; entries of a descriptor; descriptors of a
 * request. */
#define WEFT_RATE_RULES_MAX 32u
#define WEFT_RATE_ACTIONS_MAX 16u
#define WEFT_RATE_MATCHES_MAX (2 * WEFT_RATE_RULES_MAX)
/* What a program looks at for one limit: entries and ends of rules, conditions of an entry,
 * descriptors that fit. Beyond, the agent decides. */
#define WEFT_RATE_STEPS_MAX 256u
#define WEFT_RATE_CONDS_MAX 8u
#define WEFT_RATE_PAYS_MAX 8u
/* Places looked at for a hash: a table grows until this is enough. */
#define WEFT_RATE_PROBES 8u
/* Buckets of one descriptor that names a key without a value: each keeps the value, which a request
 * may make kilobytes long. */
#define WEFT_RATE_DYNAMIC_MAX 65536u
/* The agent's own engine: Envoy's max_request_headers_kb (60) and max_headers_count (100) fit. */
#define WEFT_NATIVE_HEAD_MAX 65536u
#define WEFT_NATIVE_HEADERS_MAX 1024u
/* Distinct header names one route configuration may look at: one bit each in a 64-bit word. */
#define WEFT_NAMES_MAX 64u
/* Header name and host lengths the engine hashes (a DNS name is at most 253 bytes). */
#define WEFT_NAME_LEN_MAX 128u
#define WEFT_HOST_LEN_MAX 256u
/* Conditions of one route; the verifier walks the loop once per condition. */
#define WEFT_CONDS_MAX 16u
/* Bytes of one regular expression's table; larger ones the agent simulates. 200 of them are 6.4 MB.
 */
#define WEFT_DFA_SIZE_MAX 32768u
/* Bytes of a text that a program runs through a table: the verifier walks the loop once per byte.
 */
#define WEFT_DFA_TEXT_MAX 512u
/* Instructions of a simulated one: two sets of them are gone through for each byte of a text. */
#define WEFT_NFA_INSTS_MAX 8192u
/* Conditional routes tried for one request in the kernel (45 ns each); beyond, the agent decides.
 */
#define WEFT_CANDIDATES_MAX 1024u
/* Selections one behind another on the way to a route: a program keeps the place in each list on
 * the way. */
#define WEFT_SELECT_DEPTH_MAX 3u
/* Selections of one list of candidates; what they do not take is tried route by route. */
#define WEFT_SELECTS_MAX 16u
/* Routes for which a selection is worth its step. */
#define WEFT_SELECT_LEAST 4u
/* Bytes of a table of several expressions, whose rows have numbers of 16 bits. More expressions are
 * several tables. */
#define WEFT_SCAN_SIZE_MAX 65536u
/*
 * Steps that joining the expressions of one resource may take (a few ns each), and one attempt at
 * it; those that are left then stay one by one.
 */
#define WEFT_SCAN_WORK_MAX 100000000ull
#define WEFT_SCAN_TRY_MAX 10000000ull
/* Filters of one HTTP connection manager that have an effect, and network filters of a chain. */
#define WEFT_FILTERS_MAX 8u
#define WEFT_CONN_LIMITS_MAX 4u
/* Tests of RBAC's policies in the kernel, for one request (some 40 ns each) or connection; beyond,
 * the agent judges. */
#define WEFT_TESTS_MAX 1024u
#define WEFT_CONN_TESTS_MAX 64u
/* How deep and, or and not may be nested: what the compiler walks by recursion. */
#define WEFT_RULES_DEPTH_MAX 32u
/* Groups of one listener's filter chains, by port and prefix, that programs look through; of a
 * listener with more the agent chooses. */
#define WEFT_CHAIN_GROUPS_MAX 32u
/* Groups of one listener, and rules of one group (a chain counts for each of its names). */
#define WEFT_CHAIN_GROUPS_ALL_MAX 16384u
#define WEFT_CHAIN_RULES_MAX 65536u
/* A server name (RFC 6066 has no limit; BoringSSL's), and a ClientHello that is looked into. */
#define WEFT_SERVER_NAME_MAX 255u
#define WEFT_HELLO_MAX 16384u
#define WEFT_HELLO_ROOM (WEFT_HELLO_MAX + 4)
/* Clusters of one weighted_clusters. */
#define WEFT_TARGETS_MAX 64u
/* Priorities of one assignment (Envoy accepts 0 to 128). */
#define WEFT_PRIORITIES_MAX 8u
/* Entries of a weighted round robin schedule (16 KiB), one period; a longer one is a tree of 16
 * bytes a host. */
#define WEFT_SCHEDULE_MAX 8192u
/* Depth of that tree: a leaf 46 deep takes weights that sum to Fibonacci's 48th number, beyond 32
 * bits. */
#define WEFT_SPLITS_MAX 45u
/*
 * Entries of one ring, 10 bytes each: unequal weights make Envoy's rings as long as one over the
 * least share. Steps of the search in it: its binary logarithm, and one.
 */
#define WEFT_RING_MAX (1u << 20)
#define WEFT_RING_STEPS 21u
/* Probes of an open-addressed table; the compiler grows a table until every key fits. */
#define WEFT_TAB_PROBES 16u
/* Probes of the cell directory; at most half full, so longer runs are not seen (the store counts
 * them). */
#define WEFT_DIR_PROBES 64u
/* Compare-and-swap attempts before a program hands the exchange to the agent. */
#define WEFT_CAS_TRIES 64u

/* A local reply that sk_msg builds: segments, and bytes in all (fits the first page of a message). */
#define WEFT_REPLY_SEGS_MAX 12u
#define WEFT_REPLY_MAX 4096u
/* max_direct_response_body_size_bytes that is accepted; the kernel sends up to WEFT_REPLY_MAX itself. */
#define WEFT_BODY_MAX (1u << 20)

/* Enrolled pods, connections with a slot, cells (buckets, breakers), head buffers. */
#define WEFT_PODS_MAX 1024u
#define WEFT_SLOTS_DEFAULT 65536u
/* Slots one pod may hold: a quarter, so that one pod cannot use up everybody's; idle nodes have few busy pods. */
#define WEFT_SLOTS_PER_POD_DEFAULT (WEFT_SLOTS_DEFAULT / 4)
/* Entries of original destinations for each slot, of all and of one pod: those that wait for accept(), and those that
 * wait for the sweep because their app has closed.
 */
#define WEFT_ORIGS_PER_SLOT 2u
#define WEFT_CELLS_DEFAULT 131072u
#define WEFT_HEADS_DEFAULT 256u /* in use only inside one program run: more than CPUs x nesting */
/*
 * Of so many head buffers one program run of a pod may be under way, each with two at most: a
 * quarter of the buffers for one pod. A run of a thread that its pod's CPU quota stops keeps what
 * it has until the pod may go on.
 */
#define WEFT_HEADS_PER_POD_RUN 8u
/* Cells one pod may hold: one pod cannot use up everybody's. */
#define WEFT_CELLS_PER_POD_DEFAULT 32768u
/* Listening ports of the agent per pod and family: captured connections share one four-tuple space.
 */
#define WEFT_LISTEN_PORTS 8u
