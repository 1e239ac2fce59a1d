/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What publish.c, view.c and view_patch.c share. */

#include "agent/compile/cache.h"
#include "agent/compile/compile.h"

/*
 * Names of one kind that may wait for their numbers' release before a publish waits for it: more
 * than a configuration changes in a second, when the daemon's tick does it.
 */
#define WEFT_NAMES_WAIT_MAX 4096u

/*
 * Objects that may be replaced until a publish waits for a grace period to have them back: a part
 * of the image, and the memory that keeps account of them. At the usual rate of changes the
 * daemon's tick comes first.
 */
#define WEFT_FRESH_PART 16u
#define WEFT_FRESH_MAX 8192u

struct weft_member;

/* A cluster that has its endpoints by this resource. */
struct weft_eds_user {
	size_t eds, member; /* index in the snapshot, in weft_standing.member */
	size_t entry;	    /* of its endpoints, in weft_standing.entries */
};

/* A view in force: what it was made of, and what it holds. */
struct weft_standing {
	struct weft_snapshot *snapshot, *resolved; /* as weft_view_input had them */
	struct weft_img_cluster_ref *cluster;	   /* the table, by id */
	size_t n_cluster;
	struct weft_member *member;
	struct weft_eds_user *user; /* ascending by eds */
	size_t n_user;
	struct weft_words objects; /* of its tables, with one put each; the view itself too */
	struct weft_words named;   /* clusters */
	struct weft_compiled_list entries; /* what it is made of */
	uint32_t view;		   /* weft_img_view */
	bool own;		   /* pods have views of their own */
};

struct weft_compiler {
	struct weft_store *store;
	struct weft_names *clusters, *route_configs, *states;
	struct weft_cache *cache;
	struct weft_diag notes;	     /* of what is in force, or of the last check */
	struct weft_diag next_notes; /* while it is put together */
	uint64_t serial;	     /* of publishes and checks */
	uint64_t view_serial;	     /* of views put together */
	uint64_t patches;	     /* publishes that changed endpoints only */
	struct weft_standing *standing; /* by view, after the first publish */
	size_t n_standing;
	struct weft_words roots; /* objects of the root in force */
};

/* Views of pods that have one of their own: weft_img_view by pod id, n: highest id + 1, 0: none. */
struct weft_own_views {
	uint32_t n;
	uint32_t v[WEFT_PODS_MAX + 1];
};

/*
 * weft_img_view of an input with a snapshot. 0, -EINVAL (causes in diag), -ENOSPC, -ENOMEM. In a
 * transaction of the store. *ret: what was made, for when it is in force.
 */
int weft_view_build(struct weft_compiler *c, const struct weft_view_input *in,
		    struct weft_diag *diag, struct weft_own_views *own, struct weft_standing *ret);
void weft_standing_clear(struct weft_standing *s);

/* What is in force was made of the very same, but maybe for the content of endpoints. */
bool weft_view_fits(const struct weft_standing *st, const struct weft_view_input *in);
/* Nor do endpoints differ. */
bool weft_view_stands(const struct weft_standing *st, const struct weft_view_input *in);

/*
 * Publishes the views when nothing but endpoints differs from what is in force: cost by what
 * changed. As weft_compiler_publish(), with an empty diag; -EAGAIN: more than that differs, nothing
 * was done or said.
 */
int weft_view_patch(struct weft_compiler *c, const struct weft_view_input *in, size_t n,
		    struct weft_diag *diag);

/* ---- publish.c ---- */

/* What a view needs, as far as it was told, once more. */
void weft_compiled_told(struct weft_compiler *c, struct weft_compiled *e);
/* What e has numbers of is in force once more, or once less. */
void weft_compiled_hold(struct weft_compiler *c, const struct weft_compiled *e);
void weft_compiled_release(struct weft_compiler *c, const struct weft_compiled *e);
/* All kinds, as weft_names_settle(). */
void weft_compiler_settle(struct weft_compiler *c, uint32_t epoch);
/* A grace period takes milliseconds: only when much waits for it. */
void weft_compiler_bound(struct weft_compiler *c);
/* Drops one put of each. -ENOMEM. */
int weft_words_drop(struct weft_store *s, const struct weft_words *objects);
