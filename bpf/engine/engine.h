/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/*
 * The policy engine: one source, compiled for BPF (included by programs) and natively (weft_engine, built
 * from native.c). It reads the image and state at 32-bit offsets; it does no I/O, allocates nothing and
 * takes the time as an argument. Safe for any number of threads once bound: shared words change by
 * compare-and-swap only.
 *
 * Offsets below ("off") are image offsets valid for the epoch in weft_ctx; whoever keeps the context must
 * hold off the reuse of replaced objects meanwhile (agent/store).
 */

#include "bpf/abi/global.h"
#include "bpf/abi/image.h"
#include "bpf/abi/reason.h"
#include "bpf/abi/state.h"
#ifndef __bpf__
#include "bpf/engine/limiter.h"
#endif

/* A run of bytes of the head, relative to its start. */
struct weft_span {
	__u32 off;
	__u32 len;
};
struct weft_field {
	struct weft_span name; /* natively lower-cased in place by the parser */
	struct weft_span value; /* without surrounding blanks */
};

#ifdef __bpf__
#define WEFT_REQ_FIELDS WEFT_HEADERS_MAX
#else
#define WEFT_REQ_FIELDS WEFT_NATIVE_HEADERS_MAX
/* Fields that weft_req_prepare() adds at most. */
#define WEFT_PREPARED_MAX 15u
#endif

/* "location: ", scheme of at most 20 bytes, "://", ":65535", and the line's end. */
#define WEFT_REQ_TEXT 64u

/* Bytes from max_head on where texts stand that no head has: a scheme, a default host. */
#define WEFT_ADDED_AT 256u
#define WEFT_DEFAULT_HOST_AT 264u

#define WEFT_REQ_CHUNKED (1u << 0)
#define WEFT_REQ_HAS_LENGTH (1u << 1)
#define WEFT_REQ_CLOSE (1u << 2)	 /* Connection: close */
#define WEFT_REQ_KEEP_ALIVE (1u << 3)	 /* Connection: keep-alive */
#define WEFT_REQ_UPGRADE (1u << 4)	 /* Connection: upgrade and an Upgrade field */
#define WEFT_REQ_EXPECT (1u << 5)	 /* Expect: 100-continue */
#define WEFT_REQ_ABSOLUTE (1u << 6)	 /* absolute-form target */
#define WEFT_REQ_HTTP10 (1u << 7)	 /* a version other than 1.1: HTTP/1.0, or answered 426 */
#define WEFT_REQ_HEAD_METHOD (1u << 8)
#define WEFT_REQ_CONNECT (1u << 9)
#define WEFT_REQ_REPEATED_HOST (1u << 10)
#define WEFT_REQ_GRPC (1u << 11)	 /* content-type application/grpc[+...] */
#define WEFT_REQ_PATH_ODD (1u << 12)	 /* path has '%', "//", "/.", '\\' or bytes that normalize_path changes */
#define WEFT_REQ_TE_TRAILERS (1u << 13)
/* Connection named Content-Length: the body has content_length bytes, the field is not passed on.
 */
#define WEFT_REQ_LENGTH_DROPPED (1u << 14)

/* What weft_http1_parse() says. > 0: not complete or not for this side; < 0: malformed, see weft_parse_error. */
enum weft_parse {
	WEFT_PARSE_OK = 0,
	WEFT_PARSE_MORE = 1,	  /* the head is not complete in these bytes */
	WEFT_PARSE_TOO_LONG = 2,  /* more than max_head (or, kernel, WEFT_HEAD_MAX) without an end: 431 */
	WEFT_PARSE_TOO_MANY = 3,  /* more than max_headers fields: 431 */
	WEFT_PARSE_UNSURE = 4,	  /* kernel only: legal perhaps, but only the agent's parser says (bare LF,
				     obs-fold, absolute form, ...) */
	WEFT_PARSE_BAD = -1,	  /* 400 codec error, text in weft_req.details */
	WEFT_PARSE_BAD_CODING = -2, /* 501 */
	WEFT_PARSE_BAD_VERSION = -3, /* 400: HTTP/1.10, http/1.1 */
	WEFT_PARSE_VERSION = -4,  /* 426: 1.0, 0.9, 1.2, 2.0 without accept_http_10 */
	WEFT_PARSE_BAD_HOST = -5, /* 400 http.invalid_authority */
	WEFT_PARSE_NO_HOST = -6,  /* 400 missing_host_header */
	WEFT_PARSE_NO_PATH = -7,  /* 404 missing_path_rejected / absolute_path_rejected */
	WEFT_PARSE_BAD_PATH = -8, /* 400 path_normalization_failed ('#') */
	WEFT_PARSE_NO_TYPE = -9,  /* 400 query_missing_content_type: QUERY without Content-Type */
	WEFT_PARSE_BAD_UDP = -10, /* 404 invalid_path: an upgrade to connect-udp with another path */
};

/* The context of a decision. Fill pod, view, dst, src, now_ns, flags; weft_ctx_begin() fills the rest. */
#define WEFT_CTX_KERNEL (1u << 0)  /* look at breakers, hand over what only the agent can do */
#define WEFT_CTX_EXPLAIN (1u << 1) /* take no token, move no cursor, count nothing */
#define WEFT_CTX_DELAYED (1u << 3) /* the request has waited: its fault is counted */
#define WEFT_CTX_LIMITS_PAID (1u << 2) /* connection limits gave their tokens already */

/* Buckets of one downstream connection (local_rate_limit_per_downstream_connection); zero at accept. */
struct weft_conn_limits {
	__u32 n;
	__u32 pad;
	__u32 id[WEFT_FILTERS_MAX];   /* state id of the rule */
	__u64 word[WEFT_FILTERS_MAX]; /* as weft_cell_bucket.word */
};

struct weft_ctx {
	__u32 pod;
	__u32 view;	/* index in the root */
	struct weft_sockaddr dst; /* what the app asked for */
	struct weft_sockaddr src;
	__u64 now_ns;	/* CLOCK_MONOTONIC */
	__u32 flags;
	/* cells of buckets that were paid for this very head by another side: not charged again */
	__u32 n_prepaid;
	__u32 prepaid[WEFT_PAID_MAX];
	/* filled by weft_ctx_begin() and weft_listener_find() */
	__u32 epoch;
	__u32 view_off;	 /* weft_img_view, 0: nothing published */
	__u32 listener;	 /* weft_img_listener */
	__u32 pad;
	__u64 random;	 /* in: random bits of this request; 0: the engine draws them, and leaves them here */
#ifndef __bpf__
	struct weft_conn_limits *conn; /* of this connection, one thread at a time; NULL: full buckets */
	struct weft_turns
		*turns; /* of hosts whose weights move; NULL: they are drawn by their weights */
	struct weft_rates *rates; /* NULL: full buckets */
	struct weft_limiter *limiter; /* NULL: nobody is asked */
	__u32 passed;		      /* filters that have counted this request already */
	const struct weft_hello *hello; /* of a TLS connection; NULL: none was read */
#endif
};

/* The response's body comes to the client no faster (agent). */
struct weft_rate {
	__u32 kbps; /* KiB a second */
	__u32 cell; /* weft_cell_filter that counts the exchange as active */
};

struct weft_decision {
	__u32 outcome; /* enum weft_outcome */
	__u32 handed;  /* enum weft_handed: kernel only, why the agent must do it */
	__u32 epoch;
	__u32 hcm;
	__u32 vhost;
	__u32 route;
	__u32 forward; /* weft_img_forward, FORWARD and its failures */
	__u32 target;  /* weft_img_target */
	__u32 cluster_id;
	__u32 cluster; /* weft_img_cluster */
	__u32 endpoints; /* weft_img_endpoints */
	__u32 reply;   /* weft_img_reply of a local reply, 0: FORWARD or a codec error of the agent's */
	__u32 redirect; /* weft_img_redirect */
	__u32 n_paid;
	__u32 paid[WEFT_PAID_MAX]; /* cells that gave a token (prepaid ones included) */
	__u32 drew;		   /* a draw of random numbers had a part in the route */
	/* RATE_LIMITED by this bucket (cell, and weft_img_bucket) alone: while it is empty the same
	 * head is refused the same way, unless drew is set; 0: something else had a part */
	__u32 empty_cell, empty_bucket;
	__u32 need_cell; /* state id that is missing (handed NO_CELL; the agent makes it and calls again) */
	__u32 n_add;
	__u32 delay_ms;	    /* how long a fault holds the request before this decision counts (agent) */
	__u32 delay_cell;   /* where the waiting one is counted */
	__u32 fault_status; /* FAULT, GLOBAL_LIMITED, LIMITER_ERROR: HTTP status */
	__u32 grpc; /* gRPC status + 1 of an abort or a rate limit, 0: that of the HTTP status */
	__u32 cors;	    /* weft_img_cors that the response follows (agent only) */
	__u32 cors_allowed; /* the origin is one of it */
	__u32 n_rate;
	struct weft_rate rate[WEFT_FILTERS_MAX]; /* in the order of the filters */
	__u32 hashed; /* hash is set: hash_policy found something (agent only) */
	__u64 hash;
	__u32 add[WEFT_FILTERS_MAX]; /* weft_img_headers: request headers of limits not enforced */
};

/* A local reply as pieces in order; total is the bytes to send. */
enum weft_seg_kind { WEFT_SEG_IMAGE = 1, WEFT_SEG_HEAD, WEFT_SEG_DATE, WEFT_SEG_TEXT };
struct weft_seg {
	__u32 kind;
	__u32 off; /* in the image, the request's head, or weft_req.text */
	__u32 len;
};
struct weft_reply_plan {
	__u32 status;
	__u32 n;
	__u32 total;
	__u32 closes; /* Envoy closes the connection after it */
	struct weft_seg seg[WEFT_REPLY_SEGS_MAX];
};

/* What a program keeps of descriptors of a local rate limit (bpf/engine/rate.h). */
enum weft_rate_from { WEFT_RATE_FROM_IMAGE, WEFT_RATE_FROM_HEAD, WEFT_RATE_FROM_MADE };
struct weft_rate_have {
	__u32 from; /* where the value stands: FROM_IMAGE by its hash alone */
	__u32 off, len;
	__u32 pad;
	__u64 key_hash, hash;
};
struct weft_rate_pays {
	__u32 descriptor, cell;
	__u64 hits, cost;
};
#define WEFT_RATE_MADE_MAX 24u /* bytes: an IPv4 address with its prefix */
struct weft_rate_work {
	__u32 limit;	    /* weft_img_rate_limit */
	__u32 rule, n_rule; /* the one at hand, and how many are left with it */
	__u32 more, n_more; /* those of the virtual host, behind the route's */
	__u32 action;
	__u32 n; /* entries so far, and their hashes, of keys and values and of keys */
	__u32 n_pay;
	__u64 hash, keys;
	__u32 done, paid; /* bit per pay */
	struct weft_rate_have have[WEFT_RATE_ACTIONS_MAX];
	struct weft_rate_pays pay[WEFT_RATE_PAYS_MAX];
	__u8 text[WEFT_RATE_ACTIONS_MAX * 32 +
		  8]; /* values that stand nowhere else, 32 bytes each */
};

/* One request head and everything known of it. Kernel: a head buffer in state. Agent: one per worker. */
struct weft_req {
	__u32 len;	/* bytes in head */
	__u32 head_len; /* of the head with its blank line, once complete */
	__u32 max_head; /* in: limits (hcm) */
	__u32 max_headers;
	__u32 hcm_flags; /* in: WEFT_HCM_* */
	__u32 headers;	/* in: weft_img_route_config.headers of the request's table, 0: none */
	__u64 bloom;	/* in: weft_img_route_config.bloom */
	__u32 flags;	/* WEFT_REQ_* */
	__u32 n_field;
	__u64 content_length;
	__u64 hash;	/* weft_hash_head() of the head's bytes, before the parser changes any */
	__u64 present;	/* bit per weft_value */
	__u64 repeated; /* bit per weft_value: several lines */
	__u64 joined;	/* bit per place of weft_joined[]: seen */
	__u64 random;	/* of this request: runtime_fraction, weighted clusters */
	struct weft_span path; /* without query, what routes match */
	__u32 underscores; /* in: weft_img_hcm.underscores */
	__u32 n_text;	   /* bytes used in text */
	struct weft_decision dec;
	__u8 text[WEFT_REQ_TEXT]; /* words of a Location line that stand nowhere else */
	struct weft_span value[WEFT_NAMES_MAX]; /* by weft_value: METHOD, PATH (with query), HOST, headers */
#ifdef __bpf__
	struct weft_field field[WEFT_REQ_FIELDS];
	__u32 scratch[16]; /* between global functions */
	struct weft_reply_plan plan; /* for programs: too large for their stack */
	__u8 head[WEFT_HEAD_MAX + 64];
	struct weft_rate_work rate;
#else
	struct weft_field field[WEFT_REQ_FIELDS + WEFT_PREPARED_MAX];
	struct weft_sockaddr remote; /* the client, once it is known (weft_req_prepare()); family 0 before */
	__u32 n_told;		     /* what responses tell of rate limits, in the filters' order */
	struct weft_rate_told told[WEFT_FILTERS_MAX];
	__u32 asks; /* a rate limit service is asked first: then the request is decided again */
	__u32 ran;  /* filters that have counted this request */
	const char *details; /* response code details of a codec error */
	__u64 made;	     /* bit per hash policy whose cookie was made */
	/* the path without its parameters, where those do not count; NULL: as it is. Inside
	 * weft_decide() only */
	__u8 *plain;
	struct weft_span plain_path;
	/*
	 * The caller's bytes, 64 more readable behind max_head + 256, or with a default host for
	 * HTTP/1.0 512 behind max_head. Once the head is complete, field names are lower-cased,
	 * folded values and lines of one header joined in place.
	 */
	__u8 *head;
	__u32 scratch[16];
	/* NULL, or told each step of the decision (explain) */
	void (*trace)(void *ctx, const char *step, const char *fmt, ...);
	void *trace_ctx;
#endif
};

/* What a TCP chain does with a connection. */
struct weft_tcp {
	__u32 outcome;	/* FORWARD, or REFUSED_* */
	__u32 need;	/* state id of a missing cell (-EAGAIN) */
	__u32 target;	/* weft_img_target */
	__u32 cluster;	/* weft_img_cluster */
	__u32 endpoint; /* weft_img_endpoint, 0: original destination */
	__u32 cell;	/* of the cluster: one place of cx_active[0] is taken, give it back at close */
	__u32 cell_endpoint;
	__u32 outlier_new; /* cell_endpoint has just begun to count for outlier detection: the agent
			      is to be told */
	struct weft_sockaddr addr; /* where to connect */
};

#ifndef __bpf__

/*
 * Binds this process's engine to an image and a state. img has img_mask + 1 + WEFT_IMAGE_SLACK bytes, state
 * state_mask + 1 + WEFT_STATE_SLACK. Rebinding is for tests only.
 */
void weft_engine_bind(void *img, __u32 img_mask, void *state, __u32 state_mask);

/*
 * Writes magic, offsets, both free lists and the key of heads' hashes into a zeroed state of `size` bytes. -ENOSPC when
 * it does not fit, -EIO without random bits.
 */
int weft_state_layout(void *state, __u32 size, __u32 n_slot, __u32 n_cell, __u32 n_head);

/* Hashes, the same words as in programs; used by agent/compile for tables. */
__u32 weft_hash_name(const void *lower, __u32 len);   /* header and listener names */
/* Are lines of this header one line to Envoy, joined by commas? */
bool weft_header_joins(const char *lower, __u32 len, bool response);
__u32 weft_hash_host(const void *lower, __u32 len);   /* exact domains */
__u32 weft_hash_suffix(const void *lower, __u32 len); /* from the last byte to the first */
__u32 weft_hash_prefix(const void *lower, __u32 len); /* from the first byte */
__u32 weft_hash_addr(const struct weft_addr *addr, __u32 port);
__u64 weft_hash_rate(const void *text, __u32 len); /* keys and values of descriptors */
/* Of a descriptor's entries so far, and one more of these hashes; value: NULL, of keys alone. */
__u64 weft_hash_entry(__u64 so_far, __u64 key, const __u64 *value);
__u64 weft_hash_head(const void *head, __u32 len); /* keyed by the state; 0 above WEFT_HEAD_MAX */
/* Slot of (pod, state id) in weft_state_head.dir before masking; probed linearly, WEFT_DIR_PROBES at most. */
__u32 weft_hash_cell(__u32 pod, __u32 id);

/* Reads the published root once. 0, or -ENOENT: nothing published or no such view. */
int weft_ctx_begin(struct weft_ctx *ctx);

/* Listener by exact address and port, wildcard and port, fallback. 0, or -ENOENT (bypass). Needs begin. */
int weft_listener_find(struct weft_ctx *ctx);

/* The chain for what the connection looks like. 0: none matches (Envoy closes). */
__u32 weft_chain_find(const struct weft_ctx *ctx, enum weft_proto proto);

#ifndef __bpf__
/* What a TLS ClientHello says that chains are matched by. */
struct weft_hello {
	__u32 name_len, alpn_len;
	const __u8 *alpn; /* as RFC 7301 has its ProtocolNameList: each with its length before it */
	char name[WEFT_SERVER_NAME_MAX]; /* server name in lower case */
};

/* The chain of a group with rules (bpf/abi/listener.h), for ctx's source and hello. 0: none. */
__u32 weft_rules_find(const struct weft_ctx *ctx, __u32 rules, enum weft_proto proto);

/*
 * A ClientHello (RFC 8446 4.1.2, RFC 5246 7.4.1.2 and E.2) as it comes, judged as Envoy's
 * tls_inspector does by BoringSSL's server. 0: *ret is what it says, alpn in `room` of
 * WEFT_HELLO_ROOM bytes; -EAGAIN: so far it may be one; -EPROTO: it is none; -ECONNABORTED: Envoy
 * closes the connection.
 */
int weft_hello_read(const void *data, __u32 len, __u8 *room, struct weft_hello *ret);

#define WEFT_INSPECT_MAX 65536u

/*
 * What http_inspector (Envoy 1.40) takes a connection's first bytes for, by their first line:
 * WEFT_PROTO_HTTP11, WEFT_PROTO_HTTP10 (any other version, or none), WEFT_PROTO_RAW: no request
 * line; -EAGAIN: the line has not ended, within what Envoy looks at.
 */
int weft_http1_inspect(const __u8 *p, __u32 len);

/*
 * What the first bytes of a connection are, for the inspectors of the listener. WEFT_PROTO_*, for
 * TLS with *ret as weft_hello_read() has it; -EAGAIN: more bytes needed to tell; -ECONNABORTED: the
 * connection is closed.
 */
int weft_proto_detect(const void *data, __u32 len, const struct weft_img_listener *l, __u8 *room,
		      struct weft_hello *ret);
#endif

/*
 * The class of a connection (connect()): BYPASS, REFUSED, L4, CAPTURED. For L4 *ret_chain is its chain (the
 * choice of endpoint is weft_tcp_choose()).
 */
enum weft_class weft_class_find(struct weft_ctx *ctx, __u32 *ret_chain);

/* Prepares limits of a request from the chain (weft_img_chain of kind HTTP): max_head, headers, bloom... */
int weft_req_begin(struct weft_req *req, const struct weft_ctx *ctx, __u32 chain);

/*
 * Parses req->head[0..len). enum weft_parse. No byte changes before the head is complete: after WEFT_PARSE_MORE
 * call it again with more bytes. A prefix of a head gives MORE or the whole head's error.
 * field[] has no line that Connection names; "host" is there once, its text in value[WEFT_VALUE_HOST].
 */
int weft_http1_parse(struct weft_req *req);

/*
 * Replaces :path (normalised). The bytes stand in the caller's head buffer, anywhere behind the head, and stay
 * there. -EINVAL: before the head's start or not starting with '/'.
 */
int weft_req_set_path(struct weft_req *req, const void *path, __u32 len);
/*
 * What Envoy's connection manager changes in a parsed request before routing: the client's address (req->remote),
 * x-forwarded-*, headers that no client may send, via, x-request-id (id: a UUID's 36 bytes). Fields, and what rules see
 * of them, change; the new bytes stand in room, which lies behind the head in the same memory, has WEFT_PREPARE_ROOM
 * bytes and stays as long as the request.
 */
void weft_req_prepare(struct weft_req *req, const struct weft_ctx *ctx, const char *id, void *room,
		      size_t size);
/* A field that was added to a prepared request, or has another value: rules see it. */
bool weft_req_field_seen(struct weft_req *req, __u32 field);
/* The longest head's x-forwarded-for and via, and what is added. */
#define WEFT_PREPARE_ROOM (WEFT_NATIVE_HEAD_MAX + 1024u + 4 * WEFT_NODE_LEN_MAX)
#define WEFT_N_REMOVED 16
#define WEFT_N_REMOVED_EDGE 5
extern const char *const weft_removed[WEFT_N_REMOVED];
extern const char *const weft_removed_edge[WEFT_N_REMOVED_EDGE]; /* with use_remote_address */
/* Is it one of these, which no rule ever sees of a request that is not internal? Not
 * x-envoy-original-url: internal redirects set it. */
bool weft_header_removed(const char *lower, bool edge);
/* x-envoy-retry-on, or retry_on of a policy: WEFT_RETRY_* of its words, blanks around them.
 * *ret_known (may be NULL): all of them are known. grpc: x-envoy-retry-grpc-on. */
__u32 weft_retry_on(const void *text, __u32 len, bool grpc, bool *ret_known);
/* Does a weft_img_cond on a header hold? Of the request, head, value, present, repeated and field
 * count. */
bool weft_header_holds(struct weft_req *req, __u32 cond);
/* The next word of a list with commas, without its blanks; *at goes on. false: there is none. */
bool weft_list_word(const char **at, const char *end, const char **ret, __u32 *ret_len);
/* A decimal number as in Envoy's headers: maybe a sign '+', blanks around it. false: it is none, or
 * above max. */
bool weft_header_number(const void *text, __u32 len, __u64 max, __u64 *ret);
/* Longest time that a header may say, in ms. */
#define WEFT_ASKED_MS_MAX (~0ull >> 1)
#define WEFT_ASKED_RETRIES_MAX 0xffffffffu
/* The first field that strict_check_headers makes the request fail by, NULL: none. */
const struct weft_field *weft_req_strict(const struct weft_req *req);
/* The app's end of the connection, on loopback where it connected to loopback. */
void weft_ctx_source(const struct weft_ctx *ctx, struct weft_sockaddr *ret);

/*
 * strip_any_host_port, strip_matching_host_port, strip_trailing_host_dot on the host that is forwarded; weft_decide()
 * does it too, so this is for a request whose decision came from elsewhere.
 */
void weft_req_strip_host(struct weft_req *req, const struct weft_ctx *ctx);

/*
 * The request's path as the connection manager has it before routes: escaped slashes and backslashes undone (in the
 * head), then the form of weft_path_normalize() in out, which lies behind the head and stays as long as the request.
 * 0; 1: the client is to be sent there (307); -EINVAL: refused (400 path_normalization_failed).
 */
int weft_req_form_path(struct weft_req *req, void *out, __u32 cap);

/*
 * Envoy's normalize_path (RFC 3986 dot segments, Chromium's escaping) and merge_slashes on a path with query.
 * Bytes written to out; -EINVAL: refused (400 path_normalization_failed); -ENOSPC.
 */
int weft_path_normalize(const void *path, __u32 len, void *out, __u32 cap, bool normalize,
			bool merge_slashes);

/*
 * Virtual host, route, filters, cluster: fills req->dec. Takes tokens. 0, or -ENOENT when a cell is missing
 * (dec.need_cell; make it with agent/store and call again: tokens taken are in dec.paid, put them into
 * ctx->prepaid).
 */
int weft_decide(struct weft_req *req, struct weft_ctx *ctx);

/* The pieces of the local reply of req->dec (dec.reply). -E2BIG: more than WEFT_REPLY_MAX (kernel). */
int weft_reply_plan(const struct weft_req *req, const struct weft_ctx *ctx,
		    struct weft_reply_plan *plan);
/*
 * true: rules make headers of the reply of req->dec that differ from request to request, or change the reply's own
 * lines; weft_reply_plan() is without them.
 */
bool weft_reply_is_formed(const struct weft_req *req);
/* Plan of any weft_img_reply, for instance of an hcm's standard replies. head_only for HEAD. */
int weft_reply_plan_std(__u32 reply, bool head_only, struct weft_reply_plan *plan);
/* Writes plan->total bytes. */
void weft_reply_write(const struct weft_req *req, const struct weft_reply_plan *plan, void *out);

/*
 * Chooses an endpoint of dec/target's cluster by its policy. Index into weft_img_endpoints.endpoint, -ENOENT: no
 * healthy upstream, -EAGAIN: a cell is missing (*ret_need: state id). random: 64 random bits.
 */
int weft_endpoint_choose(const struct weft_ctx *ctx, __u32 cluster, __u32 endpoints, __u64 random,
			 __u32 *ret_need);

/*
 * Connection limits, target, cluster, breaker, endpoint of a TCP chain, as Envoy's filters in order. 0: look at
 * outcome; -EAGAIN: a cell is missing (need), nothing was taken.
 */
int weft_tcp_choose(struct weft_ctx *ctx, __u32 chain, struct weft_tcp *ret);

/* Network RBAC of a chain, counted. 0: the connection is allowed, 1: denied, 2: it cannot be told (a cell is missing). */
int weft_conn_rbac(const struct weft_ctx *ctx, __u32 chain);

/* Id of the cluster of this name in the view, 0: there is none. */
__u32 weft_cluster_id_of(const struct weft_ctx *ctx, const void *name, size_t len);

/* Picks a weighted target: off of weft_img_target. */
__u32 weft_target_choose(__u32 targets, __u64 random);

/*
 * weft_endpoint_choose() for RING_HASH and MAGLEV (lb) by a hash: the priority by it too. attempt: 0, or how many hosts
 * of this hash were passed over (retries). -ENOENT: no healthy upstream.
 */
int weft_endpoint_hashed(__u32 endpoints, __u32 lb, __u64 hash, __u32 attempt);
/*
 * The same with the cluster's hash_balance_factor: a host with more active requests than its part
 * of the cluster's gives way to the next of all hosts in an order shuffled by the hash; to the
 * least overloaded when all are.
 */
int weft_endpoint_bounded(const struct weft_ctx *ctx, __u32 cluster, __u32 endpoints, __u64 hash,
			  __u32 attempt);
/*
 * Whose turn it is among hosts whose weights move (weft_img_moving), for all pods: Envoy's earliest
 * deadline first scheduler for each set of hosts. Any thread. NULL: no memory.
 */
struct weft_turns *weft_turns_new(void);
void weft_turns_free(struct weft_turns *t);
/*
 * The weft_img_endpoints for a request that asks for these criteria (0: for nothing), as Envoy's subset load balancer
 * finds them; 0: there are none for it.
 */
__u32 weft_subset_find(__u32 endpoints, __u32 criteria);
/*
 * What of a decision to forward only the agent makes: the subset. The outcome may become another
 * one. Part of weft_decide(); for decisions of the kernel by itself.
 */
void weft_req_settle(struct weft_req *req);
/* A decision to forward becomes the reply that there is no healthy host: its hash leads to none. */
void weft_req_no_host(struct weft_req *req);
/* Whether a parsed request asks for an upgrade to this type (lower case) alone. Any thread. */
bool weft_req_upgrades_to(const struct weft_req *req, const char *type);
/*
 * dec.hash of a request that dec.forward takes, by the policies in order; dec.hashed 0: none found
 * anything. A weighted cluster is chosen by the request as it came, an endpoint by the head that
 * goes to it: for that req is made to describe it (fields; value, present and path of the request
 * line). makes: cookies that are not there are made where policies say so; `made` tells of which.
 */
void weft_req_hash(struct weft_req *req, const struct weft_ctx *ctx, bool makes);
#define WEFT_COOKIE_LEN 16u
/* Value of a cookie that is made: the same for all requests of a connection (Envoy: of its two
 * addresses). */
void weft_cookie_value(const struct weft_ctx *ctx, char out[WEFT_COOKIE_LEN + 1]);
/*
 * Replaces all matches, as agent/regex/regex.h: weft_regex_replace_nfa(), which it is. Set by
 * whoever compiles a policy with a regex_rewrite into an image.
 */
extern int (*weft_rewrite)(const struct weft_img_nfa *nfa, const void *text, __u32 len,
			   const char *substitution, char **ret, __u32 *ret_len);
/* xxHash64 (XXH64 of the xxHash specification). */
__u64 weft_hash_xx64(const void *bytes, size_t len, __u64 seed);

/* Cell of (pod, state id): offset in state, 0 none. */
__u32 weft_cell_find(__u32 pod, __u32 id);
struct weft_cell_bucket *weft_cell_bucket(__u32 cell);
struct weft_cell_cluster *weft_cell_cluster(__u32 cell);
struct weft_cell_endpoint *weft_cell_endpoint(__u32 cell);
struct weft_cell_filter *weft_cell_filter(__u32 cell);

/* One token at now_ns. true: taken. Exact under any concurrency. */
bool weft_bucket_take(__u32 cell, const struct weft_img_bucket *bucket, __u64 now_ns);
/* Whole tokens left at now_ns. */
__u64 weft_bucket_level(__u32 cell, const struct weft_img_bucket *bucket, __u64 now_ns);

/*
 * A place of a breaker: word is a field of a cell, or the caller's own memory. true: taken, give it
 * back with weft_place_put(), which never makes a number of nothing smaller. Exact under any
 * concurrency.
 */
bool weft_place_take(__u32 *word, __u32 max);
void weft_place_put(__u32 *word);

/* Slots and head buffers: tagged free lists. 0: none free. */
__u32 weft_slot_get(void);
void weft_slot_put(__u32 slot);
struct weft_slot *weft_slot_at(__u32 slot);
/* What a pod holds of slots, entries of original destinations and runs with head buffers. take: 1,
 * 0: it has its share. */
int weft_pod_slot_take(__u32 pod);
int weft_pod_slot_put(__u32 pod);
int weft_pod_orig_take(__u32 pod);
int weft_pod_orig_put(__u32 pod);
int weft_pod_run_take(__u32 pod);
int weft_pod_run_put(__u32 pod);
struct weft_pod_use *weft_pod_use(__u32 pod);

/*
 * 1: the whole text fits the instructions. All ways at once, one byte at a time: linear in len. Runs on memory of its
 * thread.
 */
int weft_nfa_match(const struct weft_img_nfa *nfa, const void *text, __u32 len);

/* Objects by offset, for callers that print or carry out a decision. */
const void *weft_img_at(__u32 off);
struct weft_state_head *weft_state_head(void);

/* Names for output: "rate_limited" and so on. */
const char *weft_outcome_name(enum weft_outcome outcome);
const char *weft_handed_name(enum weft_handed handed);
const char *weft_class_name(enum weft_class class_id);

#endif
