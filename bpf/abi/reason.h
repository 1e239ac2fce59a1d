/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/*
 * Why something was decided: verdict, metric, event and documentation from one list.
 * X(NAME, "metric_name", "what it means")
 */

/* Outcome of one exchange, or of one connection at connect(). Counted in weft_state_head.outcome. */
#define WEFT_OUTCOMES(X)                                                                           \
	X(NONE, "none", "not decided")                                                             \
	X(FORWARD, "forward", "sent to an endpoint of a cluster")                                  \
	X(DIRECT_RESPONSE, "direct_response", "answered by the route's direct_response")           \
	X(REDIRECT, "redirect", "answered by the route's redirect")                                \
	X(NO_ROUTE, "route_not_found", "404: no virtual host or no route matched")                 \
	X(NO_CLUSTER, "cluster_not_found",                                                         \
	  "503 (or as configured): the route's cluster is unknown")                                \
	X(NO_HEALTHY_UPSTREAM, "no_healthy_upstream", "503: the cluster has no usable endpoint")   \
	X(OVERFLOW, "overflow", "503: a circuit breaker's threshold is reached")                   \
	X(DROPPED, "drop_overload", "503: the share that drop_overloads takes off")                \
	X(RATE_LIMITED, "rate_limited", "429: a local rate limit has no token")                    \
	X(GLOBAL_LIMITED, "request_rate_limited",                                                  \
	  "429: a rate limit service says that it is over limit")                                  \
	X(LIMITER_ERROR, "rate_limiter_error",                                                     \
	  "500, or the connection closed: no answer of a rate limit service, failure_mode_deny")   \
	X(BAD_REQUEST, "bad_request", "400: malformed")                                            \
	X(HEADERS_TOO_LARGE, "headers_too_large", "431: head or header count over the limit")      \
	X(UPGRADE_REQUIRED, "low_version", "426: HTTP/1.0 or another version that is not served")  \
	X(NOT_IMPLEMENTED, "invalid_transfer_encoding", "501: transfer coding other than chunked") \
	X(UPGRADE_FAILED, "upgrade_failed", "403: upgrade that is not configured")                 \
	X(MISSING_HOST, "missing_host_header", "400: no Host")                                     \
	X(MISSING_PATH, "missing_path_rejected", "404: target is not a path")                      \
	X(RBAC_DENIED, "rbac_denied", "403: RBAC allows the request not, or denies it")            \
	X(FAULT, "fault_injected", "answered by an injected abort")                                \
	X(CORS, "cors_response", "a preflight, answered by the CORS policy")                       \
	X(REFUSED_BLACKHOLE, "refused_blackhole",                                                  \
	  "connect() refused: cluster without endpoints by design")                                \
	X(REFUSED_OVERFLOW, "refused_overflow", "connect() refused: max_connections is reached")   \
	X(REFUSED_NO_ENDPOINT, "refused_no_endpoint", "connect() refused: no usable endpoint")     \
	X(REFUSED_RATE, "refused_rate_limited",                                                    \
	  "connect() refused, or the connection closed: network rate limit")                       \
	X(REFUSED_NO_CLUSTER, "refused_no_cluster",                                                \
	  "connect() refused: the chain's cluster is unknown")                                     \
	X(REFUSED_NO_CHAIN, "refused_no_filter_chain",                                             \
	  "connect() refused: no filter chain matches")                                            \
	X(REFUSED_RBAC, "refused_rbac", "connect() refused, or the connection closed: network RBAC")

/* Why the kernel handed an exchange (or a connection) to the agent. Counted in weft_state_head.handed. */
#define WEFT_HANDED(X)                                                                             \
	X(NONE, "none", "not handed")                                                              \
	X(FORWARD, "forward", "decided, and the agent carries it")                                 \
	X(NOT_QUIET, "not_quiet", "the connection has something in flight")                        \
	X(AGENT_OWNS, "agent_owns", "the agent has an exchange on this connection")                \
	X(INCOMPLETE, "incomplete_head", "the head is not complete in this send")                  \
	X(TOO_LONG, "head_too_long", "the head is longer than the kernel judges")                  \
	X(TOO_MANY_HEADERS, "too_many_headers", "more header fields than the kernel judges")       \
	X(PIPELINED, "pipelined", "more bytes than one request in this send")                      \
	X(BODY, "body", "a body follows: a reply in place would come before its end")              \
	X(CHUNKED, "chunked", "transfer-encoding in the request")                                  \
	X(VERSION, "version", "not HTTP/1.1")                                                      \
	X(NOT_HTTP, "not_http", "not the start of an HTTP/1 request")                              \
	X(UPGRADE, "upgrade", "upgrade or CONNECT")                                                \
	X(EXPECT, "expect", "Expect header")                                                       \
	X(MUST_CLOSE, "must_close",                                                                \
	  "the answer closes the connection, or the agent counts up to the one that does")         \
	X(MALFORMED, "malformed", "malformed: the agent answers and closes")                       \
	X(NORMALIZE, "normalize_path", "the path is not in normal form")                           \
	X(REPEATED_HEADER, "repeated_header", "a matched header has several lines")                \
	X(UNBOUNDED, "unbounded", "more candidates or steps than the kernel tries")                \
	X(PER_CONNECTION, "per_connection_limit", "a limit whose bucket the agent keeps")          \
	X(DESCRIPTORS, "rate_limit_descriptors",                                                   \
	  "a limit that responses tell of, or a descriptor that only the agent finds")             \
	X(GLOBAL_LIMIT, "global_rate_limit",                                                       \
	  "a rate limit service may be asked, of the request or the connection: only the agent "   \
	  "can")                                                                                   \
	X(REPLY_TOO_LONG, "reply_too_long", "the local reply is longer than the kernel builds")    \
	X(NO_CELL, "no_cell", "state of this pod and resource is not allocated yet")               \
	X(NO_SLOT, "no_slot", "no slot was free at connect")                                       \
	X(NO_HEAD, "no_head_buffer", "no head buffer was free")                                    \
	X(NO_LISTENER, "no_listener",                                                              \
	  "the listener of this connection is gone or has changed kind")                           \
	X(GRPC, "grpc", "a gRPC client is answered: the agent words the reply")                    \
	X(SHADOW, "shadow_limit", "a limit that is not enforced adds request headers")             \
	X(FAULT, "fault", "an injected delay, or an abort that headers or a gRPC client word")     \
	X(CORS, "cors", "a request with an origin that a CORS policy looks at")                    \
	X(RBAC, "rbac", "network RBAC denies the connection, or only the agent can judge it")      \
	X(MUTATION, "header_mutation", "the reply's headers are worked out for each request")      \
	X(LOG, "access_log", "the reply is logged: the agent makes it, and writes the log")        \
	X(CLUSTER_HEADER, "cluster_header",                                                        \
	  "a request header names the cluster, or its hash chooses")                               \
	X(UNUSUAL, "unusual_head", "a form of head that only the agent's parser judges")           \
	X(CONTENDED, "contended", "compare-and-swap gave up")                                      \
	X(STORE, "store", "message could not be read or rewritten")                                \
	X(POD_SLOTS, "pod_slots",                                                                  \
	  "the pod has its share of slots: the agent judges this connection")                      \
	X(POD_ENTRIES, "pod_entries",                                                              \
	  "the pod has its share of connections not accepted yet: closed by the agent")            \
	X(REGEX, "regex",                                                                          \
	  "a regular expression whose table, or a text for one, is too large for the kernel")      \
	X(METADATA, "metadata", "a rule looks at the route's metadata")                            \
	X(HELD, "no_configuration",                                                                \
	  "refused: the control plane has not served the pod's configuration yet")

#define WEFT_ENUM_OUTCOME(n, m, d) WEFT_OUTCOME_##n,
enum weft_outcome { WEFT_OUTCOMES(WEFT_ENUM_OUTCOME) WEFT_OUTCOME__MAX };
#undef WEFT_ENUM_OUTCOME

#define WEFT_ENUM_HANDED(n, m, d) WEFT_HANDED_##n,
enum weft_handed { WEFT_HANDED(WEFT_ENUM_HANDED) WEFT_HANDED__MAX };
#undef WEFT_ENUM_HANDED

/* Class of a connection, fixed in connect(). Counted in weft_state_head.classes. */
#define WEFT_CLASSES(X)                                                                            \
	X(BYPASS, "bypass", "untouched")                                                           \
	X(REFUSED, "refused", "connect() failed with ECONNREFUSED")                                \
	X(L4, "l4", "endpoint chosen in connect()")                                                \
	X(CAPTURED, "captured", "to the agent's listener in the pod")                              \
	X(CAPTURED_PLAIN, "captured_plain", "captured without kernel help (MPTCP, no slot)")
#define WEFT_ENUM_CLASS(n, m, d) WEFT_CLASS_##n,
enum weft_class { WEFT_CLASSES(WEFT_ENUM_CLASS) WEFT_CLASS__MAX };
#undef WEFT_ENUM_CLASS
