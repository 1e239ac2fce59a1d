/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Compiled resources by what they are made of: an unchanged one is taken over with its objects. */

#include "agent/compile/build.h"

struct weft_compiled {
	char *key;     /* kind, name, content */
	uint64_t hash; /* of the key */
	struct weft_compiled *next; /* of the cache's chain */
	uint64_t used; /* last publish that needed it */
	uint64_t seen; /* last view that needed it, by weft_compiler.view_serial */
	size_t at;     /* its place among what that view needs */
	uint32_t views; /* in force that need it; 0: it is new, or goes */
	bool held;	/* its numbers are */
	uint64_t made; /* publish that made it: forgotten if that one fails */
	uint32_t off;
	struct weft_words objects, cluster_refs, live, named, inline_rc;
	struct weft_rds_ref *rds;
	size_t n_rds;
	struct weft_diag notes;
};

/* A growing list; each once. */
struct weft_compiled_list {
	struct weft_compiled **v;
	size_t n, cap;
};
int weft_compiled_add(struct weft_compiled_list *l, struct weft_compiled *e);

struct weft_cache;
int weft_cache_new(struct weft_cache **ret);
void weft_cache_free(struct weft_cache *c);
struct weft_compiled *weft_cache_find(struct weft_cache *c, const char *key);
/* Takes over what the build collected. NULL on -ENOMEM. */
struct weft_compiled *weft_cache_add(struct weft_cache *c, const char *key, struct weft_build *b,
				     uint32_t off);
/* Drops this entry, which is in the cache. */
void weft_cache_remove(struct weft_cache *c, struct weft_compiled *e);
/* Drops entries for which drop() is true. */
void weft_cache_prune(struct weft_cache *c,
		      bool (*drop)(const struct weft_compiled *e, uint64_t serial),
		      uint64_t serial);
void weft_cache_each(struct weft_cache *c, void (*fn)(struct weft_compiled *e, void *arg),
		     void *arg);
/* Frees what a build collected (and nothing took over). */
void weft_build_clear(struct weft_build *b);
