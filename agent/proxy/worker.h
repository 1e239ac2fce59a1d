/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A worker and what it has: pods, listeners, descriptors (worker.c, listener.c). */

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "agent/proxy/bytes.h"
#include "agent/proxy/down.h"
#include "agent/proxy/events.h"
#include "agent/proxy/proxy.h"
#include "bpf/engine/engine.h"

struct exchange;
struct call;
struct limiter;
struct limiter_cells;
struct mirror;
struct pool;
struct upstream;

/* ---- pods ---- */

struct listener {
	struct watch watch;
	TAILQ_ENTRY(listener) link;
	struct pod *pod;
	struct weft_sockaddr addr;
	struct timer pause; /* no descriptor was left: tries again */
};

/* A pod on one worker. */
struct pod {
	TAILQ_ENTRY(pod) link;
	uint32_t id, view;
	int netns_fd;
	uint64_t cookie;
	bool closing;
	TAILQ_HEAD(, listener) listeners;
	TAILQ_HEAD(, down) downs;
	TAILQ_HEAD(, pool) pools;
	struct timer drain;
};

/* ---- worker ---- */

struct worker_stats {
	uint64_t connections, connections_total, exchanges, upstream_active, upstream_idle,
		upstream_total, upstream_fail, retries, timeouts, tcp_total, not_captured,
		protocol_errors, keepalive_timeouts, honoured, dropped, mirrored, mirrors_lost,
		over_share, pool_overflow, spliced_bytes;
};

struct command {
	STAILQ_ENTRY(command) link;
	void (*run)(struct worker *w, void *arg);
	void *arg;
	bool done;
};

struct worker {
	struct weft_proxy *proxy;
	pthread_t thread;
	bool started, stop, woken;
	int epoll, home_netns;
	struct watch wake;
	pthread_mutex_t lock; /* commands */
	pthread_cond_t cond;
	STAILQ_HEAD(, command) commands;
	struct weft_reader *reader;
	uint64_t now_ms, now_ns, random;
	TAILQ_HEAD(, pod) pods;
	struct wheel wheel;
	TAILQ_HEAD(, exchange) spare;
	unsigned int n_exchange_spare;
	uint8_t *buf_spare[PROXY_BUF_SPARE];
	unsigned int n_spare;
	uint8_t *bulk_spare[PROXY_BULK_SPARE];
	unsigned int n_bulk_spare;
	int straight[2];	      /* pipe of straight.c; 0, 0: not opened yet */
	TAILQ_HEAD(, mirror) mirrors; /* with something to send */
	TAILQ_HEAD(, h2) h2;	      /* the same */
	TAILQ_HEAD(, call) calls;     /* to begin, or to end */
	TAILQ_HEAD(, asker) askers;   /* that have their answer */
	struct down *judged;		/* whose request is at hand, for the limiter */
	struct weft_limiter limiter;
	uint32_t added; /* bytes of `head` that answers of services have added to the request */
	struct limiter_cells *limits; /* counters of rate limit services */
	TAILQ_HEAD(, up_session) up;  /* the same */
	TAILQ_HEAD(, down) graves;    /* closed in this turn: freed at its end */
	TAILQ_HEAD(, upstream) up_graves;
	TAILQ_HEAD(, runner) runner_graves;
	TAILQ_HEAD(, pool) pool_checks; /* see pool_check() */
	struct worker_stats stats;
	char connect_text[96];	/* why the last connection that failed did */
	uint64_t n_down;	/* connections so far */
	struct timer endpoints; /* looks whether a new image has left some out */
	uint32_t endpoints_epoch;
	struct weft_req req;
	struct response resp;
	uint8_t head[WEFT_NATIVE_HEAD_MAX + PROXY_HEAD_ROOM + WEFT_PREPARE_ROOM +
		     LIMITER_ROOM]; /* the head at hand: the engine changes it in place */
};

struct weft_proxy {
	struct weft_store *store;
	struct weft_proxy_ops ops;
	struct weft_turns *turns;
	unsigned int n;
	struct worker *worker;
	struct weft_rates *rates;
	struct weft_access *access;	   /* who writes access logs, NULL: nobody */
	uint32_t *pools;		   /* breaker_pool_index(); atomics */
	uint32_t pod_files;		   /* share of one pod */
	uint32_t files[WEFT_PODS_MAX + 1]; /* taken, by pod id; atomics */
	uint32_t users[WEFT_PODS_MAX + 1]; /* workers that have the pod, by its id; atomics */
};

uint64_t worker_random(struct worker *w);
/* Cell of the pod, made when missing. 0: none can be had. */
uint32_t worker_cell(struct worker *w, uint32_t pod, uint32_t id);
/* Runs fn on the worker and waits. */
void worker_call(struct worker *w, void (*fn)(struct worker *w, void *arg), void *arg);
void listener_event(struct worker *w, struct listener *l);
void listener_close(struct worker *w, struct listener *l);
/* Accepts what waits, then closes. */
void listener_finish(struct worker *w, struct listener *l);
/* Opens the same ports for each worker's pod (SO_REUSEPORT), in the pod's namespace. -errno. */
int listeners_open(struct weft_proxy *p, const struct weft_proxy_pod *pod, struct pod **pods,
		   uint16_t port4[WEFT_LISTEN_PORTS], uint16_t port6[WEFT_LISTEN_PORTS]);
/* socket() inside the pod's namespace. fd or -errno. */
int netns_socket(struct worker *w, int netns_fd, int family);
/*
 * One descriptor of a pod's share: the agent's are everybody's, and a pod that has them all would
 * stop the others. False, and counted: it has its share.
 */
bool pod_file_take(struct worker *w, uint32_t pod);
void pod_file_put(struct worker *w, uint32_t pod);

/* A short look at the image outside an exchange. Looks nest: the outermost pins. */
static inline void image_enter(struct down *d)
{
	if (!d->looks++)
		d->look = weft_reader_enter(d->worker->reader);
}
static inline void image_leave(struct down *d)
{
	if (!--d->looks)
		weft_reader_leave(d->worker->reader, d->look);
}

#define COUNT(word, n) __atomic_fetch_add(&(word), (uint64_t)(n), __ATOMIC_RELAXED)
