/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Header mutations: what each level adds and removes, and the order in which a message meets them.
 */

#include "agent/compile/build.h"
#include "envoy/config/common/mutation_rules/v3/mutation_rules.pb-c.h"
#include "envoy/config/core/v3/base.pb-c.h"

/* Lists of one level, as they stand in its message. */
struct weft_change_lists {
	size_t n_add, n_remove;
	Envoy__Config__Core__V3__HeaderValueOption **add;
	char **remove;
	const char *name; /* of the list of additions, NULL: as it is called in routes */
	bool response;
};

/* A level's own part; empty (n_add and n_remove 0) when it changes nothing. */
struct weft_img_change weft_build_change(struct weft_build *b, enum weft_level level,
					 const struct weft_change_lists *lists, const char *field);

/* weft_img_changes of mutations one after the other, 0: none. field: of the list. */
uint32_t weft_build_mutations(struct weft_build *b, size_t n,
			      Envoy__Config__Common__MutationRules__V3__HeaderMutation *const *list,
			      const char *field);

/* The levels around a route, filled from the outside in. */
struct weft_change_scope {
	struct weft_img_change table[2], vhost[2], route[2]; /* requests, responses */
	bool specific_wins; /* most_specific_header_mutations_wins */
};

/*
 * weft_img_changes of requests (response false) or responses in the order Envoy applies them, 0:
 * none. The weighted cluster's own comes first in either order (seen in 1.40); cluster may be NULL.
 */
uint32_t weft_build_changes(struct weft_build *b, const struct weft_change_scope *s, bool response,
			    const struct weft_img_change *cluster);

/* Changes of responses, and what they come to on a reply that is made here. */
struct weft_img_response weft_build_response(struct weft_build *b,
					     const struct weft_change_scope *s,
					     const struct weft_img_change *cluster);
