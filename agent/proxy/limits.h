/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Every bound of the agent path, each with its reason. */

/* A buffer that a worker keeps for reuse; also what one read asks for. */
#define PROXY_BUF 16384u
/* AddressSanitizer cannot see that memory kept for reuse is used when it is stale: its builds keep
 * none. */
#if defined(__SANITIZE_ADDRESS__)
#define PROXY_KEEPS_SPARES false
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define PROXY_KEEPS_SPARES false
#endif
#endif
#ifndef PROXY_KEEPS_SPARES
#define PROXY_KEEPS_SPARES true
#endif
/* What one read asks for after one that filled its buffer: a large body takes fewer system calls.
 */
#define PROXY_BULK 131072u
/* ... kept by a worker when nobody uses them. */
#define PROXY_BULK_SPARE 4u
/* Buffers kept by a worker when nobody uses them: a burst is not paid for with malloc each time. */
#define PROXY_BUF_SPARE 256u
/* The same of exchanges (a kilobyte each). */
#define PROXY_EXCHANGE_SPARE 256u
/* Bytes that wait in one direction before the sender is no longer read. */
#define PROXY_HIGH_WATER 65536u
/*
 * Room behind the longest head: its normalised path (escaping may make it three times as long),
 * values the agent adds before routing, and the engine's reads by words (bpf/engine/engine.h).
 */
#define PROXY_HEAD_ROOM (3u * 65536u + 4096u)
/* Bytes of lines that answers of rate limit services add to one request: what a head may have in
 * Envoy. */
#define LIMITER_ROOM 61440u
/*
 * A head is gone through at each of its lines' ends, but this often at most (Envoy's 100 fields and
 * some folded lines); then when it is complete or has grown by a step. What a slow sender costs
 * stays in proportion to its bytes.
 */
#define PROXY_HEAD_PARSES_MAX 128u
#define PROXY_HEAD_STEP 8192u
/* Response heads: Envoy's length (1.40: 80 KiB where max_response_headers_kb is not set) and count.
 */
#define PROXY_RESPONSE_HEAD_MAX 81920u
#define PROXY_RESPONSE_FIELDS_MAX 100u
/* The same of HTTP/2, names and values (Envoy 1.40: 60 KiB). */
#define PROXY_H2_RESPONSE_HEAD_MAX 61440u
/* Parts of a response that faults hold to a rate come this often: Envoy's fill interval. */
#define PROXY_PACE_MS 50u
/* Bytes of it that wait before the endpoint is no longer read (Envoy's
 * per_connection_buffer_limit_bytes by default). */
#define PROXY_PACE_MAX (1u << 20)
/* Hosts remembered by one exchange so that a retry goes elsewhere. */
#define PROXY_TRIED_MAX 8u
/* Idle upstream connections of one pool; more are closed as they come back. */
#define PROXY_POOL_IDLE_MAX 256u
/* A further address of a host is tried when the last has not answered for so long (Envoy's
 * HappyEyeballsConnectionImpl). */
#define PROXY_RACE_MS 300u
/* Connections accepted in one turn of the loop, so that others are served too. */
#define PROXY_ACCEPT_BATCH 64
/* When no descriptor is left, the next try to accept. */
#define PROXY_ACCEPT_PAUSE_MS 100u
/* How soon connections to an endpoint that left its cluster are closed. */
#define PROXY_ENDPOINTS_MS 1000u
/* Events of one turn. */
#define PROXY_EVENTS 256
/* Timers are looked at this often: Envoy's are of millisecond kind, a proxy's deadlines are not. */
#define PROXY_TICK_MS 16u
/* Backlog of the in-pod listeners (net.core.somaxconn cuts it). */
#define PROXY_BACKLOG 4096

/* ---- HTTP/2 ---- */

/* Where a stream's scheme stands behind its head, between what the engine puts there (http1_full.h)
 * and its path. */
#define PROXY_HEAD_SCHEME 512u
/* What a stream's head takes more as text than its headers' names and values: ": " and line ends,
 * the request line. */
#define PROXY_STREAM_HEAD_ROOM 2048u
/* CONTINUATION frames of one head, as Envoy 1.40 takes them; one more ends the connection. */
#define PROXY_H2_CONTINUATIONS 512u
/* Of this many requests, half may be reset by the client within a second
 * (overload.premature_reset_total_stream_count). */
#define PROXY_H2_RESETS 500u
#define PROXY_H2_RESET_MS 1000u
/* Heads of responses to clients: longer than any that is let through, as Envoy's. */
#define PROXY_H2_SEND_HEAD_MAX (32u << 20)
