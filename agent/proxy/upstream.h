/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Connections to endpoints: upstream.c, pool.c, and what is only relayed (tcp.c). */

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "agent/proxy/bytes.h"
#include "agent/proxy/events.h"
#include "agent/proxy/exchange.h"
#include "bpf/engine/engine.h"

struct down;
struct pod;
struct pool;
struct up_session;
struct worker;

struct upstream {
	struct watch watch;
	TAILQ_ENTRY(upstream) link; /* idle, or in use, of its pool */
	struct worker *worker;
	struct pool *pool;
	struct exchange *x; /* that uses it */
	struct down *relay; /* tunnel, TCP */
	struct buf in, out;
	struct timer timer; /* connect, idle */
	struct timer life;  /* max_connection_duration */
	bool connecting, idle, eof, orphan;
	bool worn; /* not to be used again: a write failed, or it is too old */
	uint32_t requests, max_requests;
	uint64_t since_ms, sent, idle_ms;
	struct weft_sockaddr addr;
	uint32_t cell_cluster, cell_endpoint, priority;
	bool has_place;	 /* of max_connections */
	uint32_t pod_id; /* whose share of descriptors it has one of */
	bool tunnel, shut;
	struct race *race; /* several addresses are tried: it has no descriptor yet */
	bool stream;	   /* it is one of `session`, and has no socket (up_stream.c) */
	struct up_session
		*session;    /* HTTP/2: a connection's own; of a stream NULL once it is over */
	struct buf trailers; /* of a stream's response: lines */
};

/* Connections to one endpoint from one pod, on one worker. */
struct pool {
	TAILQ_ENTRY(pool) link;
	struct pod *pod;
	struct weft_proxy *proxy;
	uint32_t cell_cluster, priority;
	struct weft_sockaddr addr;
	TAILQ_HEAD(, upstream) idle, busy;
	TAILQ_HEAD(, exchange) waiting;
	uint32_t n_idle, n_busy, n_connecting, n_waiting;
	bool http2;
	uint32_t covers;     /* how many that wait a new connection is for */
	uint32_t told;	     /* how many streams the endpoint takes at a time, 0: not known yet */
	uint32_t cluster_id; /* in its pod's view */
	bool original_dst;   /* its address is in no endpoint list */
	bool logical;	     /* addr is the host's at the moment */
	bool leaving;	     /* the endpoint is no longer in the cluster */
	bool checked;	     /* in worker.pool_checks */
	TAILQ_ENTRY(pool) check;
};

/* Sends the exchange over the pool of its endpoint: now, later, or refuses (exchange_failed). */
void pool_request(struct exchange *x);
/* No longer waits. */
void pool_cancel(struct exchange *x);
/* The connection is free again, or must go; a stream has come to its end. */
void pool_return(struct upstream *u, bool reusable);
/* A connection of HTTP/2 has room, or none of its streams is left: who waits goes on, or it does.
 */
void pool_settle(struct upstream *conn);
/*
 * Queues a pool for the turn's end, when nobody up the stack holds it or goes through its lists:
 * requests that wait get connections, as far as they may be opened; without connections and
 * requests it is forgotten.
 */
void pool_check(struct worker *w, struct pool *p);
void pool_checks_run(struct worker *w);
void pool_pod_close(struct worker *w, struct pod *p);
/* After a publish: connections to endpoints that are no longer there are let go. */
void pool_endpoints_check(struct worker *w);
/* A connection could not be made: all that wait for one fail. */
void pool_connect_failed(struct pool *p, enum fail_why why);

/*
 * Opens a connection in the pod's namespace, to one of `all` (offset of weft_img_addresses) where that is not 0. NULL:
 * *ret_err.
 */
struct upstream *upstream_open(struct worker *w, struct pod *pod, const struct weft_sockaddr *to,
			       uint32_t all, uint32_t timeout_ms, int *ret_err);
/* Why the connection that is about to fail does: what an outcome says of it. when: "delayed",
 * "immediate". */
void upstream_connect_say(struct worker *w, const char *when, int err);
/* A descriptor of the pod's share that connects. -errno: also when it failed at once. */
int upstream_connect(struct worker *w, struct pod *pod, const struct weft_sockaddr *to, int *ret_fd);
/* It has come about, or no address is left. */
void upstream_connected(struct upstream *u);
void upstream_connect_failed(struct upstream *u);
void upstream_event(struct upstream *u, uint32_t events);
/* It takes no new request when it is ms old; 0: no limit. */
void upstream_life(struct upstream *u, uint32_t ms);
/* Of its connection; -1: that is gone, and it has its whole response. */
int upstream_fd(const struct upstream *u);
/* This side's address of its connection. false: there is none. */
bool upstream_local(const struct upstream *u, struct weft_sockaddr *ret);
void upstream_flush(struct upstream *u);
void upstream_watch(struct upstream *u);
void upstream_close(struct upstream *u);

/* ---- relays (tcp.c) ---- */

void tcp_start(struct down *d, const struct weft_img_chain *chain);
void tcp_connected(struct upstream *u);
void tcp_failed(struct upstream *u);
/* Either side has something: moves bytes both ways. An upgraded connection has no half: it ends
 * with either side. */
void tcp_move(struct down *d);
/* From an exchange to a tunnel (101). */
void tunnel_start(struct exchange *x);
void tcp_close(struct down *d);
/* ---- connecting to a host of several addresses (race.c) ---- */

struct race;
/* u->race, until a connection has come about. -errno: none of the addresses can be tried. */
int race_begin(struct upstream *u, struct pod *pod, const struct weft_img_addresses *all);
/* Those that are under way are given up. Without a race: nothing. */
void race_end(struct upstream *u);
void race_event(struct watch *watch);
void race_graves_clear(struct worker *w);

