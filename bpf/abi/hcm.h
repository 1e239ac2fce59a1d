/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/* HTTP connection managers of the image (bpf/abi/image.h). */

#include "bpf/abi/match.h"
#include "bpf/abi/table.h"

/* weft_img_hcm.flags */
#define WEFT_HCM_NORMALIZE_PATH (1u << 0)
#define WEFT_HCM_MERGE_SLASHES (1u << 1)
#define WEFT_HCM_STRIP_ANY_PORT (1u << 2)
#define WEFT_HCM_STRIP_MATCHING_PORT (1u << 3)
#define WEFT_HCM_STRIP_TRAILING_DOT (1u << 4)
#define WEFT_HCM_ACCEPT_HTTP10 (1u << 5)
#define WEFT_HCM_GENERATE_REQUEST_ID (1u << 6) /* default on */
#define WEFT_HCM_PRESERVE_REQUEST_ID (1u << 7)
#define WEFT_HCM_REQUEST_ID_IN_RESPONSE (1u << 8)
#define WEFT_HCM_PROXY_100_CONTINUE (1u << 9)
#define WEFT_HCM_USE_REMOTE_ADDRESS (1u << 10)
#define WEFT_HCM_SUPPRESS_ENVOY_HEADERS (1u << 11) /* router.suppress_envoy_headers */
#define WEFT_HCM_STREAM_ERROR (1u << 12)	   /* stream_error_on_invalid_http_message */
#define WEFT_HCM_ALLOW_CHUNKED_LENGTH (1u << 13)
#define WEFT_HCM_CUSTOM_METHODS (1u << 14)
#define WEFT_HCM_NO_ABSOLUTE_URL (1u << 15)
#define WEFT_HCM_ENABLE_TRAILERS (1u << 16)
#define WEFT_HCM_SKIP_XFF_APPEND (1u << 17)
#define WEFT_HCM_NO_ROUTER (1u << 18)	/* no terminal filter: every request ends 404 as Envoy's */
#define WEFT_HCM_APPEND_PORT (1u << 19) /* append_x_forwarded_port */
/* use_remote_address without trusted hops: x-forwarded-proto of clients counts for nothing */
#define WEFT_HCM_OWN_PROTO (1u << 20)
/* filters look at headers that the connection manager changes, or every reply has some of the
 * request: the agent judges */
#define WEFT_HCM_PREPARED (1u << 21)
/* path_with_escaped_slashes_action: at most one of them */
#define WEFT_HCM_SLASHES_REJECT (1u << 22)
#define WEFT_HCM_SLASHES_REDIRECT (1u << 23)
#define WEFT_HCM_SLASHES_FORWARD (1u << 24)
#define WEFT_HCM_SLASHES                                                                           \
	(WEFT_HCM_SLASHES_REJECT | WEFT_HCM_SLASHES_REDIRECT | WEFT_HCM_SLASHES_FORWARD)
/* a path in another form is changed or refused before it is matched, by the agent */
#define WEFT_HCM_PATH_FORM (WEFT_HCM_NORMALIZE_PATH | WEFT_HCM_MERGE_SLASHES | WEFT_HCM_SLASHES)

/* internal_address_config has ranges: some requests are internal, and keep what is taken from
 * others */
#define WEFT_HCM_INTERNAL (1u << 25)
#define WEFT_HCM_EXPECTED_TIMEOUT (1u << 26) /* router.respect_expected_rq_timeout */
#define WEFT_HCM_FORWARD_CERT                                                                      \
	(1u << 27) /* x-forwarded-client-cert of clients goes on: ALWAYS_FORWARD_ONLY */
/* scheme_header_transformation: at most one of them */
#define WEFT_HCM_SCHEME_HTTP (1u << 28)
#define WEFT_HCM_SCHEME_HTTPS (1u << 29)
#define WEFT_HCM_ROUTE_METADATA (1u << 30) /* filters look at metadata of routes */
/* With WEFT_HCM_INTERNAL x-envoy-force-trace has the first slot of every table: what has it is the
 * agent's to answer. */
#define WEFT_HCM_TRACE_SLOT WEFT_VALUE__HEADERS

/* In weft_req.hcm_flags alone: the head is a stream's, and HTTP/2's codec has judged it. */
#define WEFT_HCM_STREAM (1u << 31)

/* Every bit has one meaning: two flags of one bit would make another sum. */
static_assert(WEFT_HCM_NORMALIZE_PATH + WEFT_HCM_MERGE_SLASHES + WEFT_HCM_STRIP_ANY_PORT +
			      WEFT_HCM_STRIP_MATCHING_PORT + WEFT_HCM_STRIP_TRAILING_DOT +
			      WEFT_HCM_ACCEPT_HTTP10 + WEFT_HCM_GENERATE_REQUEST_ID +
			      WEFT_HCM_PRESERVE_REQUEST_ID + WEFT_HCM_REQUEST_ID_IN_RESPONSE +
			      WEFT_HCM_PROXY_100_CONTINUE + WEFT_HCM_USE_REMOTE_ADDRESS +
			      WEFT_HCM_SUPPRESS_ENVOY_HEADERS + WEFT_HCM_STREAM_ERROR +
			      WEFT_HCM_ALLOW_CHUNKED_LENGTH + WEFT_HCM_CUSTOM_METHODS +
			      WEFT_HCM_NO_ABSOLUTE_URL + WEFT_HCM_ENABLE_TRAILERS +
			      WEFT_HCM_SKIP_XFF_APPEND + WEFT_HCM_NO_ROUTER + WEFT_HCM_APPEND_PORT +
			      WEFT_HCM_OWN_PROTO + WEFT_HCM_PREPARED + WEFT_HCM_SLASHES_REJECT +
			      WEFT_HCM_SLASHES_REDIRECT + WEFT_HCM_SLASHES_FORWARD +
			      WEFT_HCM_INTERNAL + WEFT_HCM_EXPECTED_TIMEOUT +
			      WEFT_HCM_FORWARD_CERT + WEFT_HCM_SCHEME_HTTP + WEFT_HCM_SCHEME_HTTPS +
			      WEFT_HCM_ROUTE_METADATA + WEFT_HCM_STREAM ==
		      ~0u,
	      "a bit of its own for each flag");

/* codec_type */
enum weft_codec { WEFT_CODEC_AUTO, WEFT_CODEC_HTTP1, WEFT_CODEC_HTTP2 };

/* Http2ProtocolOptions, every value filled in. The agent alone speaks it. */
struct weft_img_h2 {
	__u32 table;	      /* hpack_table_size */
	__u32 streams;	      /* max_concurrent_streams */
	__u32 window;	      /* initial_stream_window_size */
	__u32 session_window; /* initial_connection_window_size */
	__u32 outbound;	      /* max_outbound_frames */
	__u32 control;	      /* max_outbound_control_frames */
	__u32 empty;	      /* max_consecutive_inbound_frames_with_empty_payload */
	__u32 priority;	      /* max_inbound_priority_frames_per_stream */
	__u32 updates;	      /* max_inbound_window_update_frames_per_data_frame_sent */
	__u32 codec;	      /* enum weft_codec */
	__u32 stream_error;   /* override_stream_error_on_invalid_http_message */
	__u32 ping_ms;	      /* connection_keepalive.interval, 0: none goes out by itself */
	__u32 ping_timeout_ms; /* .timeout, 0: no keepalive */
	__u32 ping_jitter_ms;  /* .interval_jitter of it, 0: none */
	__u32 ping_idle_ms;    /* .connection_idle_interval, 0: none */
	__u32 pad;
};

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
	WEFT_REPLY_NO_UPSTREAM, /* 503 "no healthy upstream" */
	WEFT_REPLY_OVERFLOW,	/* 503 "... reset reason: overflow", x-envoy-overloaded: true */
	WEFT_REPLY_DROPPED,	/* 503 "drop overload", x-envoy-drop-overload: true */
	WEFT_REPLY_DROPPED_ALL, /* 503 "unconditional drop overload",
				   x-envoy-unconditional-drop-overload: true */
	WEFT_REPLY__MAX,
};

/* Who this node says to endpoints that it is. */
struct weft_img_user_agent {
	struct weft_img_str cluster; /* node.cluster */
	struct weft_img_str node;    /* node.id; empty: not said */
};
/* Bytes of either: they stand in the room that a request's changed head has. */
#define WEFT_NODE_LEN_MAX 1024u

struct weft_img_hcm {
	struct weft_img_str stat_prefix;
	struct weft_img_str server_name; /* "envoy" unless configured */
	__u32 flags;
	__u32 server_header; /* enum weft_server_header */
	__u32 route_config;  /* id in weft_img_view.route_config */
	__u32 n_filter;
	__u32 filter; /* struct weft_img_filter[n], in order; only those with an effect */
	__u32 n_upgrade;
	__u32 upgrade;	      /* struct weft_img_str[n]: enabled upgrade types, lower case */
	__u32 max_head;	      /* bytes (max_request_headers_kb * 1024) */
	__u32 max_headers;    /* 100 */
	__u32 stream_idle_ms; /* 300000, 0 off */
	__u32 request_ms;     /* request_timeout, 0 off */
	__u32 request_headers_ms;
	__u32 idle_ms; /* downstream idle_timeout, 3600000, 0 off */
	__u32 max_connection_ms;
	__u32 delayed_close_ms; /* 1000 */
	__u32 drain_ms;		/* 5000 */
	__u32 max_stream_ms;
	__u32 underscores;	      /* 0 allow, 1 reject request, 2 drop header */
	__u32 max_requests;	      /* per downstream connection, 0: no limit */
	__u32 reply[WEFT_REPLY__MAX]; /* weft_img_reply */
	struct weft_img_str via;
	/* names that filters look at, the first slots of every table used here; for requests
	 * without a table */
	__u32 headers;	    /* weft_img_tab: HEADER -> slot id + 1 */
	__u32 trusted_hops; /* xff_num_trusted_hops */
	__u64 bloom;	    /* as weft_img_route_config.bloom */
	__u32 n_internal;   /* internal_address_config.cidr_ranges */
	__u32 internal;	    /* struct weft_img_test[n]: v4, addr, mask */
	__u32 strict;	    /* strict_check_headers: bit per weft_strict_header */
	__u32 mapping;	    /* weft_img_mapping (mapper.h), 0: local_reply_config changes nothing */
	struct weft_img_str default_host; /* default_host_for_http_10, empty: none */
	__u32 proper_case;		  /* header_key_format: names of responses' headers */
	__u32 logs; /* weft_img_logs: the agent makes the replies, who writes the log; 0: none */
	__u32 stat; /* index in weft_state_head.http */
	__u32 user_agent;		  /* add_user_agent: weft_img_user_agent, 0: none */
	struct weft_img_h2 h2;
};
/* Bytes of default_host: it stands behind a head, where other texts stand too. */
#define WEFT_DEFAULT_HOST_MAX 224u
