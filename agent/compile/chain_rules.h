/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What is below one destination: of chain_match.c, for chain_rules.c. */

#include "agent/compile/chain_match.h"

/* What a chain matches, and its object. */
struct chain_spec {
	const Envoy__Config__Listener__V3__FilterChainMatch *m; /* without fields: it has none */
	uint32_t chain;
	enum weft_transport transport;
	uint32_t rule; /* weft_img_chain_rule, once it is made */
	/* direct_source_prefix_ranges, source_prefix_ranges; owned */
	struct weft_img_test *direct, *source;
	size_t place; /* in filter_chains */
	char field[64];
};

/*
 * Fills ret->chain or ret->rules from n specs, in the order of filter_chains. otherwise: the chain
 * where none of them matches.
 */
void chain_group_fill(struct weft_build *b, struct chain_spec *const *spec, size_t n,
		      uint32_t otherwise, struct weft_img_chain_group *ret);
