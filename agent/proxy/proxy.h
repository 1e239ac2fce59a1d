/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The agent path: accepts captured connections in the pods' namespaces and carries HTTP/1.1,
 * clients' HTTP/2 and TCP. Worker threads with an epoll loop each; a connection stays with its
 * worker; no lock on the request path.
 */

#include <jansson.h>
#include <stdint.h>

#include "agent/store/store.h"

struct weft_proxy;

/* How the proxy reaches the kernel part; tests without BPF give their own. Any thread. */
struct weft_proxy_ops {
	/* What the app asked for. -ENOENT: the connection was not captured, it is closed. */
	int (*orig_take)(void *ctx, const struct weft_orig_key *key, struct weft_orig *ret);
	/* Marks an upstream socket as the agent's own, before connect(). */
	int (*exempt)(void *ctx, int fd);
	void (*slot_release)(void *ctx, uint32_t slot, uint32_t gen);
	/* Outlier detection has news of an endpoint's cell (weft_outlier_tell()). NULL: nobody
	 * wants to know. */
	void (*outlier)(void *ctx, uint32_t pod, uint32_t cluster, uint32_t endpoint);
	void *outlier_ctx;
	/* A response had x-envoy-immediate-health-check-fail (weft_health_tell()). NULL: the same. */
	void (*health_fail)(void *ctx, uint32_t pod, uint32_t cluster, uint32_t endpoint);
	void *health_ctx;
	void *ctx;
};

struct weft_proxy_config {
	struct weft_store *store;
	const struct weft_proxy_ops *ops;
	unsigned int workers; /* 0: one per online CPU */
	bool no_access;	      /* access logs are not written */
	const char *access_dir; /* below it (agent/access/writer.h), NULL: none are but streams */
	uint32_t pod_files;   /* descriptors that connections of one pod may take; 0: a quarter of RLIMIT_NOFILE */
};

int weft_proxy_new(const struct weft_proxy_config *cfg, struct weft_proxy **ret);
/* Stops the workers (connections are closed) and frees. */
void weft_proxy_free(struct weft_proxy *p);

struct weft_proxy_pod {
	uint32_t id;
	uint32_t view;
	int netns_fd;	/* borrowed; duplicated */
	uint64_t cookie;
	struct weft_addr addr4, addr6; /* zero: none */
};
/*
 * Opens the pod's listeners inside its namespace (WEFT_LISTEN_PORTS free ports on each address, one socket per worker
 * and port by SO_REUSEPORT) and starts to accept. Ports go to port4/port6, host order. Main thread. -errno of
 * socket(), bind(), setns().
 */
int weft_proxy_pod_add(struct weft_proxy *p, const struct weft_proxy_pod *pod,
		       uint16_t port4[WEFT_LISTEN_PORTS], uint16_t port6[WEFT_LISTEN_PORTS]);
/* Stops to accept; open connections of the pod are closed within drain_ms. */
int weft_proxy_pod_remove(struct weft_proxy *p, uint32_t id, uint32_t drain_ms);

struct weft_proxy_stats {
	uint64_t connections, connections_total, exchanges_total, upstream_active, upstream_idle;
	uint64_t upstream_total, upstream_fail, retries, timeouts, tcp_total, not_captured, protocol_errors;
	uint64_t keepalive_timeouts; /* of clients of HTTP/2 that did not answer a PING */
	uint64_t pool_overflow; /* requests refused by max_connection_pools */
	uint64_t over_share; /* closed or not opened: the pod had its share of descriptors */
	uint64_t mirrored, mirrors_lost; /* copies of requests; those that got no answer */
	uint64_t spliced_bytes;		 /* of responses, from socket to socket */
	uint64_t decisions_honoured, decisions_dropped;
};
/* Of its access logs; NULL: none are written. */
struct weft_access *weft_proxy_access(struct weft_proxy *p);
/* Pools of connections of a cluster's cell and priority. Any thread. */
uint32_t weft_proxy_pools(const struct weft_proxy *p, uint32_t cell_cluster, uint32_t priority);

void weft_proxy_stats(struct weft_proxy *p, struct weft_proxy_stats *ret);
/* Counters of rate limit services: pod id -> {"cluster.NAME.ratelimit.ok": n, ...}. */
json_t *weft_proxy_limits(struct weft_proxy *p);
/* [{pod, client, dst, state, exchanges, ...}], at most max. */
json_t *weft_proxy_connections(struct weft_proxy *p, size_t max);
