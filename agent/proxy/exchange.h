/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* One request and its response: exchange.c, attempt.c and retry.c. What is done to the two:
 * heads.h. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "agent/proxy/bytes.h"
#include "agent/proxy/down.h"
#include "agent/proxy/events.h"
#include "agent/proxy/outcome.h"
#include "bpf/engine/engine.h"

struct asked;
struct exchange;
struct pace;
struct pool;
struct upstream;
struct worker;

struct exchange {
	struct down *down;
	struct upstream *up;
	TAILQ_ENTRY(exchange) link; /* waiting in a pool, or spare */
	struct pool *pool;	    /* that it waits in */
	struct weft_ctx ctx;
	struct weft_decision dec;
	uint32_t grpc_status; /* + 1, of a local reply; 0: that of its HTTP status */
	const struct weft_img_hcm *hcm;
	const struct weft_img_forward *forward;
	const struct weft_img_cluster *cluster;
	uint32_t cell_cluster, cell_endpoint; /* offsets */
	uint32_t priority;
	uint32_t epoch;	   /* pinned */
	unsigned int kept; /* of the image, instead of the pin */
	uint32_t req_flags;
	bool https; /* the request's scheme */
	bool head_method, upgrade, websocket, pinned, keeps;
	bool has_active, has_pending, has_retry; /* places held */
	bool req_done;				 /* all of the request was read */
	bool req_rest;	   /* ... or what is missing of it will not be looked at */
	bool judging;	   /* its head was read in this very turn */
	bool req_sent;	   /* and written to the upstream connection's buffer */
	bool resp_started; /* bytes of the response went to the client */
	bool interim_sent; /* an interim response went to it */
	bool resp_close;   /* the client's connection closes after this response */
	bool resp_bare;	   /* its body does not go on, nor what says of one */
	bool resp_empty;   /* it is a head alone, which HTTP/1.1 is to be told */
	bool wrote_any;	   /* some byte of this attempt was written */
	bool keep_body;	   /* body is kept for a retry */
	bool chunked_out;  /* towards the client */
	bool unsized;	   /* the request has a body of a length that is not known */
	bool chunked_req;  /* ... which goes on in chunks */
	bool sized_zero;   /* it has none, which HTTP/1.1 is to be told */
	bool streams;	   /* its cluster's endpoints are spoken to by HTTP/2 */
	uint32_t retries_left, attempts;
	struct body req_body, resp_body;
	struct buf head;  /* the request head for upstream, without its blank line */
	uint64_t cookies; /* bit per hash policy: the response sets the cookie that was made */
	struct buf told;  /* lines of the response that filters say: CORS, rate limits */
	struct buf body;  /* what was read of the body while it may be needed again, as it goes on
			     the wire */
	size_t body_sent; /* of `body`, in this attempt */
	uint32_t cell_outlier; /* cell_endpoint, where its cluster has outlier detection; else 0 */
	uint32_t n_tried;
	struct weft_sockaddr tried[PROXY_TRIED_MAX];
	struct weft_sockaddr remote; /* the client as trusted proxies name it */
	struct weft_sockaddr endpoint;
	uint32_t endpoint_id;	      /* state id of its cell; 0: the app chose it */
	uint32_t addresses;	      /* weft_img_addresses of the endpoint, 0: only that one */
	struct weft_img_str hostname; /* of the endpoint */
	uint32_t cluster_id;
	uint64_t start_ms, upstream_ms;
	struct timer total, per_try, try_idle, try_life, idle, backoff, life;
	bool resp_head;	   /* the head of the response is known */
	bool up_keep;	   /* the upstream connection may be used again after it */
	bool client_close; /* asked for by the client */
	bool retry_off;	   /* the body is no longer there to be sent again */
	bool counted;	   /* the kernel has counted the outcome */
	bool attempt_count;
	bool attempt_count_back;	 /* x-envoy-attempt-count in the response */
	uint64_t timeout_ms, per_try_ms; /* the route's, or what the request asks for; 0: none */
	uint64_t duration_ms;		 /* of an attempt: x-envoy-upstream-stream-duration-ms */
	uint32_t retry_on;		 /* as timeout_ms */
	bool late_retry;     /* x-envoy-is-timeout-retry is sent with further attempts */
	bool was_late;	     /* the attempt before took too long */
	bool hedged;	     /* x-envoy-hedge-on-per-try-timeout */
	bool alt_timeout;    /* x-envoy-upstream-rq-timeout-alt-response: 204 in place of 504 */
	bool id_back;	     /* x-request-id in the response */
	uint32_t flags;	     /* bits of enum weft_reply_flag: what became of the attempts */
	struct asked *asked; /* of retries; NULL: nothing */
	uint64_t idle_ms;
	char request_id[37];
	uint32_t n_mirror;
	struct pace *pace; /* what holds the response's body back, NULL: nothing (pace.h) */
	struct down *mirror[WEFT_MIRRORS_MAX]; /* that still get its request's body */
	uint32_t stat;			       /* index in weft_state_head.http */
	uint32_t log_ms;		       /* a line of what is under way each time, 0: none */
	struct timer log;		       /* the next */
	struct outcome outcome;
};

/* A new one on the connection. NULL: no memory. */
struct exchange *exchange_new(struct down *d);

/* What is known of a request before its decision, and by it. */
void exchange_request_set(struct exchange *x, const struct weft_req *req);
void exchange_decision_set(struct exchange *x, const struct weft_decision *dec);
/* Are the endpoints of x->cluster spoken to by HTTP/2 for it? */
bool exchange_streams(const struct exchange *x);
/* A complete head stands in d->in: parses, decides, answers or forwards. */
void exchange_start(struct down *d);
/*
 * The exchange that was the connection's `number`th (d->exchanges) is at hand still. What answers,
 * or writes to an upstream, may end it and begin the next one in the same memory: the pointer does
 * not tell.
 */
static inline bool exchange_at_hand(const struct down *d, uint32_t number)
{
	return !d->dead && d->x && d->exchanges == number;
}
/* More of the request's body may stand in d->in. May end the exchange. */
void exchange_request_data(struct exchange *x);
/* A copy's body: these bytes more, done: and no others. -ENOBUFS: more than may wait for its
 * endpoint; -ENOMEM. */
int exchange_feed(struct exchange *x, const uint8_t *data, size_t len, bool done);
/* Sends what waits of it. May end the exchange. */
void exchange_push(struct exchange *x);
/* The attempt's connection is ready to be written (or was reused). */
void exchange_connected(struct exchange *x, struct upstream *u);
/* Bytes of the response stand in u->in; eof: no more will come. */
void exchange_response_data(struct exchange *x, bool eof);
/* Bytes of the body for the client, framed. -ENOMEM. */
int exchange_data_out(struct exchange *x, const uint8_t *data, size_t len, bool end);
/* Some of what a rate held back went into the client's buffer. May end the exchange. */
void exchange_paced(struct exchange *x);
/* Room in the client's buffer or the upstream's: reading goes on. */
void exchange_resume(struct exchange *x);

enum fail_why {
	FAIL_CONNECT, /* refused, unreachable */
	FAIL_CONNECT_TIMEOUT,
	FAIL_TERMINATION,    /* closed before a response */
	FAIL_PROTOCOL,	     /* the response makes no sense */
	FAIL_RESET,	     /* the stream was reset by its endpoint */
	FAIL_REFUSED,	     /* ... which has not looked at it: REFUSED_STREAM, GOAWAY */
	FAIL_CONNECT_METHOD, /* ... with CONNECT_ERROR */
	FAIL_PER_TRY,
	FAIL_DURATION, /* the attempt took too long, its body included */
	FAIL_OVERFLOW,
	FAIL_NO_HOST,
};
/* The attempt failed: retried, or answered. */
void exchange_failed(struct exchange *x, enum fail_why why);
/* The client is gone, or the connection must go: everything is given back. */
void exchange_abort(struct exchange *x);
/*
 * Its decision is made: of the image it uses what that was made by and nothing newer, however long
 * it takes. Updates do not wait for it.
 */
void exchange_keep(struct exchange *x);
/* Uses nothing of the image any more. */
void exchange_unpin(struct exchange *x);
/* Gives everything back and forgets the exchange; the connection is left as it is. */
void exchange_end(struct exchange *x);
/* Ends it and goes on with the connection. */
void exchange_finish(struct exchange *x, bool close);
/* Starts an attempt: endpoint, pool. */
void exchange_attempt(struct exchange *x);
void exchange_timers(struct exchange *x);
/* Marks that something moved (stream idle timeout). */
void exchange_touch(struct exchange *x);
/* True when the failure is retried (and the retry is under way). */
bool exchange_retry(struct exchange *x, enum fail_why why, const struct response *r);
/* Another attempt whatever failed, after wait_ms; 0: after the policy's back-off. false: none is
 * left. */
bool exchange_try_again(struct exchange *x, uint64_t wait_ms);
void exchange_unlink_upstream(struct exchange *x, bool reusable);
void exchange_places_put(struct exchange *x);

/* ---- outlier detection (outlier.c) ---- */

/* This attempt goes to endpoint e of its cluster, whose cell is x->cell_endpoint. */
void outlier_begin(struct exchange *x, const struct weft_img_endpoint *e);
/* The final status of its endpoint. */
void outlier_status(struct exchange *x, const struct response *r);
/* The way there: reached, or not (in time). */
void outlier_reached(struct exchange *x, bool reached, bool late);
/* A relay's connection to the endpoint of this cell came about, or did not. */
void outlier_relay(struct worker *w, uint32_t pod, uint32_t cell, bool reached, bool late);
/* A TCP chain's endpoint was chosen. */
void outlier_relay_begin(struct worker *w, uint32_t pod, const struct weft_tcp *tcp);

/* ---- mirrors (mirror.c) ---- */

/* Copies of the request whose head is in x->head, as its route says. */
void mirrors_begin(struct exchange *x);
/* More of its body; complete when x->req_body is. */
void mirrors_feed(struct exchange *x, const uint8_t *data, size_t len);
/* Its body will not be complete. */
void mirrors_drop(struct exchange *x);
/* At the turn's end: sends. */
void mirrors_run(struct worker *w);
/*
 * For an exchange that no decision has led to its cluster: the cluster of this id as it is now,
 * which may be newer than what a request was judged by. false: there is none.
 */
bool exchange_cluster_set(struct exchange *x, uint32_t id);
