/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The names of DNS clusters: asked for again and again as each cluster says, and their addresses as load
 * assignments that the compiler takes in place of the configured ones. Main thread.
 */

#include <jansson.h>

#include "agent/loop.h"
#include "xds/resource.h"

/* Answers that come together are one change. */
#define WEFT_DNS_GATHER_MS 5
/* Addresses of one cluster; an answer that makes them more is refused and the last one stays. As many
 * as an assignment may have. */
#define WEFT_DNS_HOSTS_MAX 32768

struct weft_dns;

/* changed: weft_dns_resolved() is another one; called from the loop, never from within a function
 * below. */
int weft_dns_new(struct weft_loop *loop, void (*changed)(void *ctx), void *ctx,
		 struct weft_dns **ret);
void weft_dns_free(struct weft_dns *d);

/*
 * The DNS clusters of these snapshots (NULL: none), and no others, are resolved from now on: new
 * ones at once, names that need no asking within this call. Clusters that cannot be compiled are
 * left out. -ENOMEM: some are not resolved.
 */
int weft_dns_want(struct weft_dns *d, const struct weft_snapshot *const *list, size_t n);

/* Load assignments of what is answered, by weft_resolved_name(). Borrowed until the loop's next step
 * or weft_dns_want(). */
const struct weft_snapshot *weft_dns_resolved(const struct weft_dns *d);

/*
 * Whether the cluster can take the place of its predecessor: a name has an address, or all were
 * answered, or it says wait_for_warm_on_init: false. True for what is no DNS cluster.
 */
bool weft_dns_is_warm(const struct weft_dns *d, const struct weft_resource *res);
/* Whether every cluster that is wanted is warm, and no change waits to be told. */
bool weft_dns_settled(const struct weft_dns *d);

/* For dump: [{cluster, type, name, addresses, answered, ttl, updated_ms, error}]; ttl in seconds, error of
 * the last answer or null. */
json_t *weft_dns_names_json(const struct weft_dns *d);
/* Envoy's counters: [{cluster, update_attempt, update_success, update_failure, update_no_rebuild}]. */
json_t *weft_dns_stats_json(const struct weft_dns *d);
