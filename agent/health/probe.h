/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Checks of one host over a connection that is kept from one to the next: HTTP/1.1 (probe_http1.c), HTTP/2 and gRPC
 * (probe_h2.c), TCP. By the codecs of the agent path. Main thread.
 */

#include <nghttp2/nghttp2.h>

#include "agent/health/host.h"
#include "agent/loop.h"
#include "agent/proxy/bytes.h"
#include "agent/proxy/h2_common.h"
#include "bpf/engine/engine.h"

/* Bytes of a body or of what a TCP peer says that are kept to be looked at, where the configuration has no limit. */
#define WEFT_PROBE_BODY_MAX (1u << 20)

enum weft_probe_end { WEFT_PROBE_OK, WEFT_PROBE_FAILED, WEFT_PROBE_RETRIABLE, WEFT_PROBE_NETWORK };

struct weft_probe_result {
	enum weft_probe_end end;
	bool degraded;	/* x-envoy-degraded */
	bool excluded;	/* x-envoy-immediate-health-check-fail with what is no success */
	bool verified;	/* service_name_matcher was asked */
};

struct weft_probe_ops {
	struct weft_loop *loop;
	/* socket() where the host is to be reached from. fd or -errno. */
	int (*open)(void *ctx, int family);
	/* The end of a check; may not free the probe. */
	void (*done)(void *ctx, const struct weft_probe_result *r);
};

struct weft_probe_bytes {
	uint8_t *v;
	size_t n, cap;
};

/* What of a response's head a check looks at. */
struct weft_probe_head {
	uint32_t status;
	bool fail, degraded, grpc, has_grpc_status;
	uint32_t grpc_status;
	char cluster[256]; /* x-envoy-upstream-healthchecked-cluster; "" none, or longer */
};

struct weft_probe {
	const struct weft_health_conf *conf;
	const struct weft_probe_ops *ops;
	void *ctx;
	struct weft_sockaddr addr;
	const char *host; /* :authority */
	int fd;		  /* -1: not connected */
	bool connecting, running, fresh; /* fresh: the check at hand opened it */
	bool reuse;			 /* the connection stays after this check */
	bool verified;			 /* service_name_matcher was asked */
	struct weft_probe_bytes out, in, body;
	size_t sent;
	struct weft_probe_head head;
	/* HTTP/1.1 */
	bool has_head, keep_alive;
	struct body framing;
	/* HTTP/2 */
	nghttp2_session *h2;
	struct h2_flood flood;
	int32_t stream; /* 0: none */
	struct weft_probe_bytes request; /* its body */
	size_t request_sent, n_head;
	uint32_t n_fields;
	bool over;		   /* the session is broken */
	bool goaway, goaway_error; /* it ends after this check; at once */
	bool complete, head_only, trailers, was_reset; /* what came of the response */
};

void weft_probe_init(struct weft_probe *p, const struct weft_health_conf *conf,
		     const struct weft_probe_ops *ops, void *ctx, const struct weft_sockaddr *addr,
		     const char *host);
/* Begins a check, over the connection there is or a new one. done() may come before it returns. */
void weft_probe_start(struct weft_probe *p);
/* The check at hand took too long: given up without done(). */
void weft_probe_stop(struct weft_probe *p);
/* Also ends the connection. Without done(). */
void weft_probe_clear(struct weft_probe *p);
/* Ends a connection that no check uses. */
void weft_probe_idle_close(struct weft_probe *p);

/* ---- what the files of probes share ---- */

/* -ENOMEM. */
int probe_bytes_add(struct weft_probe_bytes *b, const void *v, size_t n);
void probe_bytes_free(struct weft_probe_bytes *b);
/* Bytes of the response's body. */
int probe_body_add(struct weft_probe *p, const uint8_t *v, size_t n);
/* The check's end; close: the connection too. */
void probe_end(struct weft_probe *p, enum weft_probe_end end, bool close);
/* By the whole response of a check by HTTP. */
void probe_http_judge(struct weft_probe *p, bool close);
void probe_head_field(struct weft_probe_head *h, const uint8_t *name, size_t n,
		      const uint8_t *value, size_t len);

int probe_http1_request(struct weft_probe *p);
void probe_http1_read(struct weft_probe *p, bool eof);
/* Frees the session. */
void probe_h2_close(struct weft_probe *p);
int probe_h2_request(struct weft_probe *p);
void probe_h2_read(struct weft_probe *p, bool eof);
/* The request at hand is not waited for. */
void probe_h2_cancel(struct weft_probe *p);
/* Frames that go into out. -ENOMEM. */
int probe_h2_take(struct weft_probe *p);
/* All pieces one behind another, with whatever between them. */
bool probe_payload_found(const struct weft_health_bytes *piece, size_t n, const uint8_t *v,
			 size_t len);
/* The one message of a gRPC response: SERVING. */
bool probe_grpc_serving(const uint8_t *v, size_t n);
