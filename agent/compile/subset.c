// SPDX-License-Identifier: Apache-2.0
#include "agent/compile/subset.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/compile/subset_pair.h"
#include "bpf/engine/engine.h"
#include "envoy/config/cluster/v3/cluster.pb-c.h"

/* Subsets times hosts of one assignment: lists of many values multiply. */
#define MEMBERS_MAX 1048576u
#define KEYS_MAX 16u
#define SELECTOR(x) ENVOY__CONFIG__CLUSTER__V3__CLUSTER__LB_SUBSET_CONFIG__LB_SUBSET_SELECTOR__LB_SUBSET_SELECTOR_FALLBACK_POLICY__##x
#define FALLBACK(x) ENVOY__CONFIG__CLUSTER__V3__CLUSTER__LB_SUBSET_CONFIG__LB_SUBSET_FALLBACK_POLICY__##x

typedef Envoy__Config__Cluster__V3__Cluster cluster;
typedef Envoy__Config__Cluster__V3__Cluster__LbSubsetConfig subset_config;
typedef Envoy__Config__Cluster__V3__Cluster__LbSubsetConfig__LbSubsetSelector subset_selector;

struct selector {
	const char *key[KEYS_MAX]; /* in order, once each */
	uint32_t n;
	const subset_selector *s;
};

/* A host in the subset of these pairs. */
struct member {
	struct weft_img_criterion pair[KEYS_MAX];
	uint32_t n;
	uint32_t host;
	uint64_t hash;
	uint32_t order;
	bool single;
};

struct subsets {
	struct weft_build *b;
	const cluster *c;
	const struct weft_hosts *h;
	const struct weft_img_endpoints *base;
	struct selector *selector;
	size_t n_selector;
	struct member *member;
	size_t n, cap;
	uint32_t any, standard; /* weft_img_endpoints of ANY_ENDPOINT and DEFAULT_SUBSET, 0: not made */
};

bool weft_subsets_used(const cluster *c)
{
	/* the policy extension (weft_cluster_unfold()) has its fallback also without any */
	return c->lb_subset_config &&
	       (c->lb_subset_config->n_subset_selectors || c->load_balancing_policy);
}

void weft_subsets_check(struct weft_build *b, const cluster *c)
{
	const subset_config *s = c->lb_subset_config;
	char at[WEFT_FIELD_MAX];

	if (!s)
		return;
	weft_build_fields(b, &s->base, "lb_subset_config");
	for (size_t i = 0; i < s->n_subset_selectors; i++) {
		if (s->subset_selectors[i]->n_keys > KEYS_MAX)
			weft_build_fail(b, weft_field(at, "lb_subset_config", "subset_selectors[%zu].keys", i),
					"more than %u", KEYS_MAX);
	}
}

/* ---- selectors ---- */

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static uint32_t keys_sort(char *const *list, size_t n, const char **ret)
{
	uint32_t out = 0;

	for (size_t i = 0; i < n && i < KEYS_MAX; i++)
		ret[i] = list[i];
	n = n < KEYS_MAX ? n : KEYS_MAX;
	qsort(ret, n, sizeof(*ret), by_text);
	for (size_t i = 0; i < n; i++) {
		if (!i || strcmp(ret[i], ret[out - 1]))
			ret[out++] = ret[i];
	}
	return out;
}

/* Envoy keeps keys as paths; the fallback of a selector counts only when its path is new. */
static bool path_known(const struct subsets *u, size_t n, const struct selector *s)
{
	for (size_t i = 0; i < n; i++) {
		const struct selector *o = &u->selector[i];
		uint32_t k = 0;

		while (k < s->n && k < o->n && !strcmp(o->key[k], s->key[k]))
			k++;
		if (k == s->n)
			return true;
	}
	return false;
}

static uint32_t keys_put(struct weft_build *b, const char *const *key, uint32_t n)
{
	uint32_t list[KEYS_MAX];

	for (uint32_t i = 0; i < n; i++)
		list[i] = weft_build_str(b, key[i]).off;
	return n ? weft_build_put(b, list, n * sizeof(*list)) : 0;
}

/* ---- hosts of a subset ---- */

/* weft_img_endpoints of these hosts. */
static uint32_t hosts_put(struct subsets *u, const uint32_t *host, size_t n, const char *name)
{
	const subset_config *s = u->c->lb_subset_config;
	struct weft_img_endpoints out = *u->base;
	enum weft_locality_use use = WEFT_LOCALITIES_IGNORED;

	if (s->locality_weight_aware)
		use = s->scale_locality_weight ? WEFT_LOCALITIES_SCALED : WEFT_LOCALITIES_WEIGHTED;
	weft_build_host_sets(u->b, u->h, host, n, use, &out);
	if (!u->h->key)
		out.cursor = weft_build_state(u->b, WEFT_CELL_CLUSTER, 0, "%s subset %s", u->c->name, name);
	return weft_build_put(u->b, &out, sizeof(out));
}

/* Of one host, whatever its health. */
static uint32_t single_put(struct subsets *u, uint32_t host)
{
	struct weft_img_host_set set = {.load_end = 100, .n_host = 1};
	struct weft_img_endpoints out = *u->base;

	set.host = weft_build_put(u->b, &host, sizeof(host));
	if (u->h->key) {
		set.n_table = 1;
		set.table = weft_build_put(u->b, &(uint16_t){0}, sizeof(uint16_t));
		set.ring = weft_build_put(u->b, &(uint64_t){0}, sizeof(uint64_t));
	}
	out.n_set = 1;
	out.set = weft_build_put(u->b, &set, sizeof(set));
	return weft_build_put(u->b, &out, sizeof(out));
}

static bool host_matches(const struct subsets *u, uint32_t host)
{
	const Google__Protobuf__Struct *want = u->c->lb_subset_config->default_subset;

	for (size_t i = 0; want && i < want->n_fields; i++) {
		const Google__Protobuf__Value *have =
			weft_struct_get(u->h->metadata[host], want->fields[i]->key);

		if (!have || !weft_value_fits(have, want->fields[i]->value,
					      u->c->lb_subset_config->list_as_any))
			return false;
	}
	return true;
}

/* All hosts, or those of the default subset. */
static uint32_t fallback_put(struct subsets *u, bool any)
{
	uint32_t *host = calloc(u->h->n + 1, sizeof(*host)), off;
	size_t n = 0;

	if (!host) {
		u->b->err = u->b->err ? u->b->err : -ENOMEM;
		return 0;
	}
	for (uint32_t i = 0; i < u->h->n; i++) {
		if (any || host_matches(u, i))
			host[n++] = i;
	}
	off = hosts_put(u, host, n, any ? "any" : "default");
	free(host);
	return off;
}

static uint32_t fallback_any(struct subsets *u)
{
	if (!u->any)
		u->any = fallback_put(u, true);
	return u->any;
}

static uint32_t fallback_default(struct subsets *u)
{
	if (!u->standard)
		u->standard = fallback_put(u, false);
	return u->standard;
}

static bool usable(const struct subsets *u, uint32_t off)
{
	const struct weft_img_endpoints *e = weft_store_at(u->b->store, off);
	const struct weft_img_host_set *s = e->n_set ? weft_store_at(u->b->store, e->set) : NULL;

	for (uint32_t i = 0; i < e->n_set; i++) {
		if (s[i].n_host)
			return true;
	}
	return false;
}

/* ---- who is in which subset ---- */

static void member_add(struct subsets *u, const struct member *m)
{
	if (u->n == u->cap) {
		size_t cap = u->cap ? u->cap * 2 : 64;
		struct member *bigger = reallocarray(u->member, cap, sizeof(*bigger));

		if (!bigger || cap > MEMBERS_MAX) {
			if (bigger)
				u->member = bigger;
			if (bigger)
				weft_build_fail(u->b, "endpoints", "more than %u places in subsets",
						MEMBERS_MAX);
			else
				u->b->err = u->b->err ? u->b->err : -ENOMEM;
			return;
		}
		u->member = bigger;
		u->cap = cap;
	}
	u->member[u->n] = *m;
	u->member[u->n].order = (uint32_t)u->n;
	u->n++;
}

static void pair_add(struct subsets *u, struct member *m, const char *key,
		     const Google__Protobuf__Value *v)
{
	m->pair[m->n] = weft_build_pair(u->b, key, v, "endpoints");
	m->hash += m->pair[m->n++].hash;
}

/*
 * One more key to all combinations so far, at the end of the list from `first` on. A list of values multiplies them; an
 * empty one leaves none, and the next key begins anew, as in Envoy.
 */
static void key_join(struct subsets *u, size_t first, const struct member *start, const char *key,
		     const Google__Protobuf__Value *v)
{
	bool list = u->c->lb_subset_config->list_as_any &&
		    v->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_LIST_VALUE;
	size_t n = u->n - first, values = list ? v->list_value->n_values : 1;

	for (size_t i = 0; i < (n ? n : 1) && !u->b->err; i++) {
		for (size_t j = 0; j < values && !u->b->err; j++) {
			struct member m = n ? u->member[first + i] : *start;

			pair_add(u, &m, key, list ? v->list_value->values[j] : v);
			member_add(u, &m);
		}
	}
	/* the new ones take the place of the old ones */
	if (n && !u->b->err) {
		memmove(u->member + first, u->member + first + n, (u->n - first - n) * sizeof(*u->member));
		u->n -= n;
	}
}

static void host_join(struct subsets *u, uint32_t host, const struct selector *s)
{
	struct member start = {.host = host, .single = s->s->single_host_per_subset != 0};
	size_t first = u->n;

	for (uint32_t i = 0; i < s->n && !u->b->err; i++) {
		const Google__Protobuf__Value *v = weft_struct_get(u->h->metadata[host], s->key[i]);

		if (!v) {
			u->n = first;
			return;
		}
		key_join(u, first, &start, s->key[i], v);
	}
}

static int pairs_order(const struct member *x, const struct member *y)
{
	if (x->hash != y->hash)
		return x->hash < y->hash ? -1 : 1;
	if (x->n != y->n)
		return x->n < y->n ? -1 : 1;
	for (uint32_t i = 0; i < x->n; i++) {
		if (x->pair[i].pair != y->pair[i].pair)
			return x->pair[i].pair < y->pair[i].pair ? -1 : 1;
	}
	return 0;
}

static int member_order(const void *a, const void *b)
{
	const struct member *x = a, *y = b;
	int r = pairs_order(x, y);

	if (r)
		return r;
	if (x->host != y->host)
		return x->host < y->host ? -1 : 1;
	return (x->order > y->order) - (x->order < y->order);
}

/* The first that came decides whether the subset is of a single host. */
static bool group_single(const struct member *m, size_t n)
{
	const struct member *first = m;

	for (size_t i = 1; i < n; i++)
		first = m[i].order < first->order ? &m[i] : first;
	return first->single;
}

/* The host of the first priority that has one. */
static uint32_t single_of(const struct subsets *u, const uint32_t *host, size_t n)
{
	uint32_t best = host[0];

	for (size_t i = 1; i < n; i++)
		best = u->h->priority[host[i]] < u->h->priority[best] ? host[i] : best;
	return best;
}

/* Members [0, n) are those of one subset. */
static struct weft_img_subset group_put(struct subsets *u, const struct member *m, size_t n)
{
	struct weft_img_subset out = {.hash = m->hash, .n = m->n};
	uint32_t *host = calloc(n, sizeof(*host)), k = 0, pair[KEYS_MAX];
	char name[24];

	if (!host) {
		u->b->err = u->b->err ? u->b->err : -ENOMEM;
		return out;
	}
	for (size_t i = 0; i < n; i++) {
		if (!k || host[k - 1] != m[i].host)
			host[k++] = m[i].host;
	}
	for (uint32_t i = 0; i < m->n; i++)
		pair[i] = m->pair[i].pair;
	out.pair = weft_build_put(u->b, pair, m->n * sizeof(*pair));
	snprintf(name, sizeof(name), "%016llx", (unsigned long long)m->hash);
	out.endpoints = group_single(m, n) ? single_put(u, single_of(u, host, k))
					   : hosts_put(u, host, k, name);
	free(host);
	return out;
}

static void groups_put(struct subsets *u, struct weft_img_subsets *ret)
{
	struct weft_img_subset *list = calloc(u->n + 1, sizeof(*list));

	if (!list) {
		u->b->err = u->b->err ? u->b->err : -ENOMEM;
		return;
	}
	if (u->n)
		qsort(u->member, u->n, sizeof(*u->member), member_order);
	for (size_t i = 0, n; i < u->n && !u->b->err; i += n) {
		for (n = 1; i + n < u->n && !pairs_order(&u->member[i], &u->member[i + n]); n++)
			;
		list[ret->n++] = group_put(u, u->member + i, n);
	}
	if (ret->n)
		ret->subset = weft_build_put(u->b, list, ret->n * sizeof(*list));
	free(list);
}

static void selectors_put(struct subsets *u, struct weft_img_subsets *ret)
{
	struct weft_img_selector *list = calloc(u->n_selector, sizeof(*list));

	if (!list) {
		u->b->err = u->b->err ? u->b->err : -ENOMEM;
		return;
	}
	for (size_t i = 0; i < u->n_selector; i++) {
		const struct selector *s = &u->selector[i];
		struct weft_img_selector *o = &list[ret->n_selector];
		const char *keep[KEYS_MAX];

		if (!s->n || s->s->fallback_policy == SELECTOR(NOT_DEFINED) || path_known(u, i, s))
			continue;
		ret->n_selector++;
		o->n = s->n;
		o->key = keys_put(u->b, s->key, s->n);
		if (s->s->fallback_policy == SELECTOR(KEYS_SUBSET)) {
			o->n_keep = keys_sort(s->s->fallback_keys_subset, s->s->n_fallback_keys_subset,
					      keep);
			o->keep = keys_put(u->b, keep, o->n_keep);
		} else if (s->s->fallback_policy == SELECTOR(ANY_ENDPOINT)) {
			o->endpoints = fallback_any(u);
		} else if (s->s->fallback_policy == SELECTOR(DEFAULT_SUBSET)) {
			o->endpoints = fallback_default(u);
		}
	}
	if (ret->n_selector)
		ret->selector = weft_build_put(u->b, list, ret->n_selector * sizeof(*list));
	free(list);
}

/* The sets of requests that find nothing. */
static void cluster_fallback(struct subsets *u, struct weft_img_endpoints *ret)
{
	const subset_config *s = u->c->lb_subset_config;
	uint32_t off = 0;

	if (s->fallback_policy == FALLBACK(ANY_ENDPOINT))
		off = fallback_any(u);
	else if (s->fallback_policy == FALLBACK(DEFAULT_SUBSET))
		off = fallback_default(u);
	if (off && s->panic_mode_any && !usable(u, off))
		off = fallback_any(u);
	if (off) {
		const struct weft_img_endpoints *e = weft_store_at(u->b->store, off);

		ret->n_set = e->n_set;
		ret->set = e->set;
		ret->cursor = e->cursor;
	}
}

void weft_build_subsets(struct weft_build *b, const cluster *c, const struct weft_hosts *h,
			struct weft_img_endpoints *ret)
{
	const subset_config *s = c->lb_subset_config;
	const struct weft_img_endpoints base = *ret;
	struct subsets u = {.b = b, .c = c, .h = h, .base = &base, .n_selector = s->n_subset_selectors};
	struct weft_img_subsets out = {0};

	if (s->metadata_fallback_policy ==
	    ENVOY__CONFIG__CLUSTER__V3__CLUSTER__LB_SUBSET_CONFIG__LB_SUBSET_METADATA_FALLBACK_POLICY__FALLBACK_LIST)
		out.flags |= WEFT_SUBSETS_LIST;
	u.selector = calloc(u.n_selector + 1, sizeof(*u.selector));
	if (!u.selector) {
		b->err = b->err ? b->err : -ENOMEM;
		return;
	}
	for (size_t i = 0; i < u.n_selector; i++) {
		u.selector[i].s = s->subset_selectors[i];
		u.selector[i].n = keys_sort(s->subset_selectors[i]->keys, s->subset_selectors[i]->n_keys,
					    u.selector[i].key);
	}
	for (uint32_t i = 0; i < h->n && !b->err; i++) {
		for (size_t k = 0; k < u.n_selector; k++)
			host_join(&u, i, &u.selector[k]);
	}
	if (!b->err) {
		groups_put(&u, &out);
		selectors_put(&u, &out);
		cluster_fallback(&u, ret);
		ret->subsets = weft_build_put(b, &out, sizeof(out));
	}
	free(u.selector);
	free(u.member);
}
