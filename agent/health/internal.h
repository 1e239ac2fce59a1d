/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What spec.c, health.c, marks.c and dump.c share. */

#include <pthread.h>
#include <sys/queue.h>

#include "agent/compile/parts.h"
#include "agent/health/health.h"
#include "agent/health/probe.h"

#define HC_BUCKETS 1024u
/* Every spec; i is a size_t of the caller's. A spec may be freed when it is `s`: next is a spec too. */
#define SPECS_EACH(h, i, s, next)                                                                  \
	for ((i) = 0; (i) < HC_BUCKETS; (i)++)                                                     \
		for ((s) = LIST_FIRST(&(h)->specs[i]); (s) && ((next) = LIST_NEXT(s, link), true); \
		     (s) = (next))

/* A host as an assignment has it. */
struct target {
	char *address; /* as configured: with port what its state id is made of */
	uint32_t port;
	struct weft_sockaddr to; /* of the check */
	char *host;		 /* of its health_check_config, or "" */
	bool disabled;		 /* disable_active_health_check */
	bool unhealthy;		 /* EDS says so */
};

/* A host that some pods go on to have, though discovery has it no more. */
struct kept {
	const struct target *target;	  /* a session's */
	const struct weft_resource *from; /* an assignment that has it */
};

struct hc_check;
struct weft_health;

/* A host of one pod's cluster. */
struct session {
	struct hc_check *check;
	struct target target; /* its own copy */
	char *authority;
	struct weft_health_host host;
	struct weft_probe probe;
	bool idle_kept; /* counted among connections that are kept */
	uint32_t id;	/* state id, 0: not in force */
	int published;	/* weft_health_mark() as last published, -2: never */
	struct weft_resource *from; /* discovery has it no more: the last assignment that had it */
	uint64_t due_ms; /* of the next check, or of the end of the one at hand; 0: none */
	size_t place;	 /* in the heap, from 1; 0: not there */
};

/* A cluster as one of its pods checks it. */
struct hc_check {
	LIST_ENTRY(hc_check) link; /* of its spec */
	struct spec *spec;
	struct hc_pod *pod;
	struct weft_health_stats stats;
	struct session **session; /* by address and port */
	size_t n;
	bool traffic; /* the cluster had connections, under an earlier state id too */
	bool warm;    /* every host was checked once */
	bool reap;    /* a host that discovery has no more fails now */
	/* update_merge_window */
	bool updated, dirty;
	uint64_t updated_ms, publish_ms; /* publish_ms: what waits is due, 0: nothing */
	uint32_t *id;			 /* as given to the compiler */
	uint8_t *mark;
};

/* A cluster with health checks. */
struct spec {
	LIST_ENTRY(spec) link;
	uint32_t view;
	struct weft_resource *res;
	struct weft_health_conf conf;
	uint32_t merge_ms;
	struct target *target; /* by address and port */
	size_t n;
	uint64_t hash; /* of the assignment */
	struct weft_resource *from; /* it, NULL: the cluster's own */
	struct kept *kept;	    /* as of the last weft_health_marks() */
	size_t n_kept;
	bool listed;   /* there was an assignment */
	bool wanted;
	uint32_t cluster_id; /* state id of its cell, 0: not in force */
	LIST_HEAD(, hc_check) checks;
};

struct hc_pod {
	LIST_ENTRY(hc_pod) link;
	uint32_t id, view;
	int netns_fd;
};

/* What responses said of a host since it was last looked at. */
struct hc_told {
	uint32_t pod, cluster, endpoint;
	uint64_t times;
};
/* Hosts that wait for that; the next response of further ones says it again. */
#define HC_TOLD_MAX 4096u

struct weft_health {
	struct weft_health_config cfg;
	struct weft_probe_ops ops;
	int home_netns, timer_fd, tell_fd;
	uint64_t now_ms;
	LIST_HEAD(, spec) specs[HC_BUCKETS]; /* by the resource's hash */
	LIST_HEAD(, hc_pod) pods;
	struct session **heap;
	size_t n_heap, cap_heap;
	size_t n_spec; /* workers look whether there is any */
	size_t n_host, n_running, n_idle;
	uint64_t unchecked, postponed, publish_failures, withheld;
	uint64_t told_dropped; /* under the lock */
	bool reap;	/* a check has to */
	bool stale;	/* other hosts are published than are */
	bool warmed;	/* a cluster became warm since the last publish */
	uint64_t look_ms;  /* when a check has something to publish, 0: none has */
	uint64_t retry_ms; /* not published before */
	uint32_t backoff_ms;
	struct weft_ejected *marks;
	pthread_mutex_t lock; /* told */
	struct hc_told *told;
	size_t n_told, cap_told;
};

/* ---- spec.c ---- */

struct spec *spec_find(const struct weft_health *h, uint32_t view, const struct weft_resource *res);
/* NULL: no memory, or it cannot be compiled. */
struct spec *spec_new(struct weft_health *h, uint32_t view, struct weft_resource *res);
void spec_free(struct spec *s);
/* Its hosts as the snapshot has them; *ret_changed: others than before. -ENOMEM. */
int spec_targets(struct spec *s, const struct weft_snapshot *from,
		 const struct weft_snapshot *resolved, bool *ret_changed);
/* The assignment a cluster has its hosts from, NULL: none yet. *ret_hash tells it from others, *ret_res is its resource,
 * NULL: it is the cluster's own. */
const Envoy__Config__Endpoint__V3__ClusterLoadAssignment *
spec_assignment(const struct spec *s, const struct weft_snapshot *from,
		const struct weft_snapshot *resolved, uint64_t *ret_hash,
		struct weft_resource **ret_res);
/* The hosts of one. -ENOMEM. */
int spec_hosts(const struct spec *s,
	       const Envoy__Config__Endpoint__V3__ClusterLoadAssignment *a, struct target **ret,
	       size_t *ret_n);
void targets_free(struct target *t, size_t n);
int target_compare(const struct target *a, const struct target *b);
bool target_same_check(const struct target *a, const struct target *b);
int target_copy(const struct target *t, struct target *ret);
void target_clear(struct target *t);

/* ---- check.c: the hosts of one pod's cluster, and when they are checked ---- */

struct hc_check *check_new(struct weft_health *h, struct spec *s, struct hc_pod *pod);
void check_free(struct weft_health *h, struct hc_check *c);
/*
 * Sessions follow the spec's hosts; old: the assignment that they are from, NULL: the cluster's own. -ENOMEM: some are
 * missing.
 */
int check_follow(struct weft_health *h, struct hc_check *c, struct weft_resource *old);
/* Hosts that discovery has no more, and that fail, go. Not from within a probe. */
void check_reap(struct weft_health *h, struct hc_check *c);
void health_ops_init(struct weft_health *h);
/* Begins and ends what is due. */
void sessions_run(struct weft_health *h);
/* So many responses said that the host fails. */
void session_told(struct weft_health *h, struct session *s, uint64_t times);
/* When the earliest is due, 0: none is. */
uint64_t sessions_next(const struct weft_health *h);

/* ---- kept.c ---- */

/* The host stays though discovery has it no more. */
bool session_stays(const struct session *s);
/* s->kept, for what is in force. -ENOMEM: none are. */
int spec_keep(struct spec *s, const struct weft_snapshot *in_force,
	      const struct weft_snapshot *resolved);
/* Whether this pod is one of those that go on to have it. */
bool kept_here(const struct hc_check *c, const struct kept *k);

/* ---- health.c ---- */

/* The loop comes back at the earliest time. */
void health_arm(struct weft_health *h);
