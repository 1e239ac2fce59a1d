/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The streams of one weft_delta over gRPC (C core): ADS, or the services of each type. The only
 * user of gRPC in weft.
 *
 * "Stream" below is all that belongs to one weft_delta. With separate streams
 * (weft_delta_separate()) each has its own calls, order of servers and backoff; they share the
 * thread and the connection.
 *
 * Threads: each stream runs one thread. Between weft_xds_stream_start() and a successful
 * weft_xds_stream_stop() the delta belongs to that thread: every weft_delta_* call, and so
 * publish(), happens there; others reach the delta through weft_xds_stream_call(). Streams to one
 * address share one TCP connection (gRPC's subchannel pool).
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "xds/delta.h"

/*
 * Largest response: a mesh of 10,000 services in one message is about 60 MiB; gRPC's default is 4
 * MiB.
 */
#define WEFT_XDS_MESSAGE_MAX (256u << 20)
/*
 * Full jitter: the n-th delay is random in 0 .. min(base * 2^n, max); a received message resets n.
 */
#define WEFT_XDS_BACKOFF_BASE_MS 500
#define WEFT_XDS_BACKOFF_MAX_MS 30000
/* A control plane that vanished without a word is noticed after their sum. */
#define WEFT_XDS_KEEPALIVE_MS 30000
#define WEFT_XDS_KEEPALIVE_TIMEOUT_MS 10000

struct weft_xds_stream;
struct weft_xds_metadata;

/* How the server proves who it is, and we to it. Files are read anew for each attempt. Copied. */
struct weft_xds_tls {
	const char *ca_file;  /* PEM; NULL: the system's */
	const char *crl_file; /* PEM, what is revoked; NULL: nothing */
	/* Server name the client asks for; NULL: the host of the address. */
	const char *sni;
	/* Names of which the server's certificate must carry one; none: the sni. */
	const char *const *sans;
	size_t n_sans;
	const char *cert_file, *key_file; /* PEM, of the client; both or none */
};

struct weft_xds_stream_conf {
	/* "host:port", "10.0.0.1:15010", "[::1]:15010" or "unix:///path". Copied. */
	const char *address;
	/*
	 * Further servers, in order. One that an attempt gets no response from is followed by the
	 * next at once, the last by the first after the backoff; after a stream with responses it
	 * starts again with the first. Copied.
	 */
	const char *const *more;
	size_t n_more;
	const struct weft_xds_tls *tls; /* NULL: plaintext */
	/*
	 * Sent as "authorization: Bearer" with each RPC, so that a token that was renewed counts
	 * from the next RPC on. NULL: none. Copied.
	 */
	const char *token_file;
	bool token_plaintext;	  /* also without TLS, for all on the way to read */
	/* Borrowed; outlives the stream, and knows already whether it is for separate streams. */
	struct weft_delta *delta;
	/*
	 * Called for each new RPC; adds headers with weft_xds_metadata_add(). Not 0: this attempt
	 * fails (and is repeated after the backoff). May be NULL.
	 */
	int (*metadata)(void *ctx, struct weft_xds_metadata *md);
	/* An RPC of this service ("AggregatedDiscoveryService") is up. May be NULL. */
	void (*connected)(void *ctx, const char *service);
	/*
	 * It ended or could not be made; tried again in retry_ms. One line of text, which begins
	 * with the service's name when there are several. May be NULL.
	 */
	void (*disconnected)(void *ctx, const char *why, int64_t retry_ms);
	void *ctx; /* of the three, all on the stream's thread */
	/* 0: the constants above. For tests. */
	uint32_t backoff_base_ms, backoff_max_ms;
};

/* gRPC's own words come around the cause. */
#define WEFT_XDS_ERROR_MAX 768

struct weft_xds_stream_stats {
	uint64_t attempts; /* RPCs begun */
	uint64_t failures; /* of them, ended without a single response */
	uint64_t received, received_bytes, sent, sent_bytes; /* messages */
	uint64_t resets; /* RPCs ended by us: undecodable response, out of memory */
	const char *address; /* of the newest attempt; lives as long as the stream */
	bool connected;	     /* of several: one at least, and none is to be made anew */
	int64_t since_ms;     /* of the last change of `connected`, ms since the epoch */
	char last_error[WEFT_XDS_ERROR_MAX]; /* "" when never */
};

/*
 * The causes are in diag. -EINVAL: the address is none, a token would go in plaintext, TLS without
 * a name to check; of the credentials' files (xds/credential.h, xds/grpc_verify.h), which must be
 * there and in order at the start; later, a file that is not fails the attempt. -ENOMEM.
 */
int weft_xds_stream_new(const struct weft_xds_stream_conf *conf, struct weft_diag *diag,
			struct weft_xds_stream **ret);
/* -EALREADY, or of pthread_create. May be started again after a stop. */
int weft_xds_stream_start(struct weft_xds_stream *s);
/*
 * Ends the RPC and the thread. -ETIMEDOUT: still inside a callback after timeout_ms; call again. 0
 * when it does not run. Not from a callback (-EDEADLK).
 */
int weft_xds_stream_stop(struct weft_xds_stream *s, unsigned int timeout_ms);
/* Must be stopped. NULL is fine. */
void weft_xds_stream_free(struct weft_xds_stream *s);

/*
 * Runs fn(delta, ctx) on the stream's thread and waits for it; at once when called from there.
 * -ESHUTDOWN when the stream does not run. Any thread.
 */
int weft_xds_stream_call(struct weft_xds_stream *s, void (*fn)(struct weft_delta *d, void *ctx),
			 void *ctx);
/* Any thread. */
void weft_xds_stream_stats(struct weft_xds_stream *s, struct weft_xds_stream_stats *ret);

/* Ends the RPC of the moment, if there is one, and begins the next at once. Any thread. */
void weft_xds_stream_renew(struct weft_xds_stream *s);

/* Only inside the metadata callback. Copies. -EINVAL: not a legal header; -ENOMEM. */
int weft_xds_metadata_add(struct weft_xds_metadata *md, const char *key, const char *value);

enum weft_xds_log_level {
	WEFT_XDS_LOG_DEBUG,
	WEFT_XDS_LOG_INFO,
	WEFT_XDS_LOG_ERROR,
};
/*
 * Where gRPC's own messages go, for the process; NULL (the start value) drops them. From any of
 * gRPC's threads, so the sink must be thread safe. Call before the first stream is made.
 */
void weft_xds_log_sink(void (*sink)(enum weft_xds_log_level level, const char *message));
