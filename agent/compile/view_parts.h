/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* One view while it is put together: what view.c, view_job.c, view_cluster.c, view_route.c and
 * view_listener.c share. */

#include "agent/compile/cache.h"
#include "agent/compile/parts.h"
#include "agent/compile/view.h"

/* Names of resources on their way to a table. */
struct names {
	struct weft_tab_key *key;
	size_t n;
};

/* A cluster of the view, for pods that have hosts of it ejected. */
struct weft_member {
	uint32_t cell, id;
	const struct weft_resource *res;
};

/* One view while it is put together. */
struct view {
	struct weft_compiler *c;
	const struct weft_snapshot *s;
	const struct weft_snapshot *resolved; /* as weft_view_input */
	const struct weft_snapshot *waiting;  /* as in the input */
	struct weft_diag *diag;
	struct weft_build b;		      /* for the tables */
	struct weft_img_cluster_ref *cluster; /* by id */
	uint32_t *route_config;		      /* by id */
	size_t cap_cluster, cap_rc;
	struct weft_addr_key *exact, *wild;
	const char **exact_name, **wild_name;
	size_t n_exact, n_wild;
	struct names name, cluster_name;
	uint32_t fallback;
	bool *rds_used, *eds_used; /* by index in the snapshot */
	struct weft_member *member; /* in the snapshot's order */
	size_t n_member;
	struct weft_eds_user *user; /* in the same order */
	size_t n_user;
	const struct weft_ejected *ejected; /* of the cluster at hand, for one pod */
	struct weft_compiled_list entries;
	uint64_t serial; /* weft_compiler.view_serial */
	char *node; /* id and cluster: part of how listeners and routes are known in the cache */
	int err;
};

static inline int err_first(int old, int new)
{
	return old ? old : new;
}

/* ---- view_job.c ---- */

/* What to compile: called only when it is not cached. */
struct job {
	const struct weft_resource *res;
	const Envoy__Config__Cluster__V3__Cluster *cluster; /* of endpoints */
	const Envoy__Config__Endpoint__V3__ClusterLoadAssignment *assignment;
	const char *own_lines; /* of route configurations */
	const char *filter_names;
	uint32_t hcm_flags, trusted_hops;
	uint32_t (*run)(struct weft_build *b, const struct job *job);
};

void view_build_init(struct view *v, struct weft_build *b, const char *type, const char *name,
		     uint64_t hash);
/* By this a resource is known in the cache. NULL without memory. */
char *view_key(const char *kind, const char *variant, const char *name, uint64_t hash);
/* The compiled form of a resource; NULL after an error (then v->err is set). */
struct weft_compiled *view_resolve(struct view *v, const char *kind, const char *variant,
				   const char *name, uint64_t hash, const struct job *job);
/* Room for id in a table that is indexed by ids. */
bool view_table_room(struct view *v, void **table, size_t *cap, size_t each, uint32_t id);
void view_name_put(struct view *v, struct names *names, enum weft_kind kind, const char *name,
		   uint32_t val);

/* ---- view_cluster.c ---- */

/* Clusters into the view's table, each with its endpoints. */
void view_clusters_fill(struct view *v);
/* Endpoints that no cluster uses yet: their errors are told now. */
void view_endpoints_check(struct view *v);
/* One of these, by its index in the snapshot. NULL after an error. */
struct weft_compiled *view_endpoints_alone(struct view *v, size_t i);
/*
 * weft_img_endpoints of a cluster without the hosts in v->ejected. NULL: none, or after an error.
 */
struct weft_compiled *view_endpoints(struct view *v, const struct weft_resource *res);
/* What view_endpoints_alone() made of an assignment, from the cache. *ret is NULL when it is not
 * there. -ENOMEM. */
int view_endpoints_find(struct weft_compiler *c, const struct weft_resource *eds,
			struct weft_compiled **ret);

/* ---- view_route.c ---- */

/* validate_clusters: every cluster that e, made of res, names must be there. */
void view_clusters_check(struct view *v, const struct weft_resource *res,
			 const struct weft_compiled *e);
/*
 * A source address of one's own is not bound here: refused where requests would go out with it.
 * Istio's inbound clusters have one; no outbound listener names them.
 */
void view_bind_check(struct view *v, const struct weft_compiled *e);
/* Route configurations of a listener into the view's table. */
void view_routes_fill(struct view *v, const struct weft_compiled *l);
/* Those that no listener uses yet: their errors are told now. */
void view_routes_check(struct view *v);

/* ---- view_listener.c ---- */

/* Listeners by address and name, with their route configurations. */
void view_listeners_fill(struct view *v);
