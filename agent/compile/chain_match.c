// SPDX-License-Identifier: Apache-2.0
/*
 * filter_chain_match. Envoy takes, level by level, the most specific value that fits and never goes
 * back. Port and destination are laid out as groups in an order; for what remains of the levels
 * below, a group has a chain for each thing that first bytes can be, or rules when that is not all.
 */
#include "agent/compile/chain_match.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/compile/chain_rules.h"
#include "agent/compile/rbac.h"

typedef Envoy__Config__Listener__V3__Listener listener;
typedef Envoy__Config__Listener__V3__FilterChainMatch chain_match;
typedef Envoy__Config__Core__V3__CidrRange cidr;

/* A spec below one destination; spec NULL: only so that the destination has a group. */
struct entry {
	uint32_t port; /* 0: any */
	uint32_t bits; /* of the prefix, as IPv6; 0: any address */
	struct weft_addr prefix, mask;
	struct chain_spec *spec;
};

struct table {
	struct weft_build *b;
	struct chain_spec *spec;
	size_t n_spec;
	struct entry *entry;
	size_t n, cap;
	uint32_t otherwise;
	bool has_prefixes;
};

static void out_of_memory(struct weft_build *b)
{
	b->err = b->err ? b->err : -ENOMEM;
}

/* ---- specs ---- */

static void transport_fill(struct weft_build *b, struct chain_spec *s)
{
	const char *t = s->m->transport_protocol;
	char at[WEFT_FIELD_MAX];

	if (!strcmp(t, "raw_buffer"))
		s->transport = WEFT_TRANSPORT_RAW;
	else if (!strcmp(t, "tls"))
		s->transport = WEFT_TRANSPORT_TLS;
	else if (*t)
		weft_build_fail(b, weft_field(at, s->field, "transport_protocol"),
				"unsupported: %s", t);
}

/* The ranges as the engine compares them; the caller frees. NULL: none. */
static struct weft_img_test *ranges_make(struct weft_build *b, size_t n, cidr *const *range,
					 const char *field, const char *name)
{
	struct weft_img_test *list = n ? calloc(n, sizeof(*list)) : NULL;
	char at[WEFT_FIELD_MAX];

	if (n && !list)
		out_of_memory(b);
	for (size_t i = 0; list && i < n; i++)
		weft_build_range(b, range[i]->address_prefix, weft_u32(range[i]->prefix_len, 0),
				 weft_field(at, field, "%s[%zu]", name, i), &list[i]);
	return list;
}

static void specs_fill(struct table *t, const listener *l, const uint32_t *chain)
{
	static const chain_match none = ENVOY__CONFIG__LISTENER__V3__FILTER_CHAIN_MATCH__INIT;

	for (size_t i = 0; i < l->n_filter_chains; i++) {
		const chain_match *m = l->filter_chains[i]->filter_chain_match;
		struct chain_spec *s = &t->spec[i];

		*s = (struct chain_spec){.m = m ? m : &none, .chain = chain[i], .place = i};
		snprintf(s->field, sizeof(s->field), "filter_chains[%zu].filter_chain_match", i);
		weft_build_fields(t->b, &s->m->base, s->field);
		transport_fill(t->b, s);
		s->direct = ranges_make(t->b, s->m->n_direct_source_prefix_ranges,
					s->m->direct_source_prefix_ranges, s->field,
					"direct_source_prefix_ranges");
		s->source =
			ranges_make(t->b, s->m->n_source_prefix_ranges, s->m->source_prefix_ranges,
				    s->field, "source_prefix_ranges");
		t->has_prefixes = t->has_prefixes || s->m->n_prefix_ranges;
	}
	t->n_spec = l->n_filter_chains;
}

/* ---- destinations ---- */

static void entry_add(struct table *t, const struct entry *e)
{
	struct entry *more;

	if (t->n == t->cap) {
		t->cap = t->cap ? 2 * t->cap : 64;
		more = reallocarray(t->entry, t->cap, sizeof(*more));
		if (!more) {
			t->cap = t->n;
			out_of_memory(t->b);
			return;
		}
		t->entry = more;
	}
	t->entry[t->n++] = *e;
}

/* All of IPv4: what is below it is below no prefix of IPv6, however short. */
static struct entry any_v4(uint32_t port, struct chain_spec *s)
{
	return (struct entry){.port = port,
			      .bits = 96,
			      .prefix = {{0, 0, htonl(0xffff), 0}},
			      .mask = {{UINT32_MAX, UINT32_MAX, UINT32_MAX, 0}},
			      .spec = s};
}

static void anywhere_add(struct table *t, uint32_t port, struct chain_spec *s)
{
	struct entry v4 = any_v4(port, s);

	entry_add(t, &(struct entry){.port = port, .spec = s});
	if (t->has_prefixes)
		entry_add(t, &v4);
}

static void prefix_add(struct table *t, uint32_t port, struct chain_spec *s, size_t i)
{
	const cidr *c = s->m->prefix_ranges[i];
	struct entry e = {.port = port, .spec = s};
	struct weft_img_test range = {0};
	char at[WEFT_FIELD_MAX];

	if (!weft_build_range(t->b, c->address_prefix, weft_u32(c->prefix_len, 0),
			      weft_field(at, s->field, "prefix_ranges[%zu]", i), &range))
		return;
	e.mask = range.mask;
	for (int k = 0; k < 4; k++) {
		e.prefix.w[k] = range.addr.w[k] & range.mask.w[k];
		e.bits += (uint32_t)__builtin_popcount(range.mask.w[k]);
	}
	if (range.v4 && strchr(c->address_prefix, ':'))
		weft_build_fail(t->b, at, "unsupported: IPv4 addresses as those of IPv6");
	entry_add(t, &e);
}

static void entries_fill(struct table *t)
{
	anywhere_add(t, 0, NULL);
	for (size_t i = 0; i < t->n_spec; i++) {
		struct chain_spec *s = &t->spec[i];
		uint32_t port = weft_u32(s->m->destination_port, 0);

		anywhere_add(t, port, NULL);
		for (size_t k = 0; k < s->m->n_prefix_ranges; k++)
			prefix_add(t, port, s, k);
		if (!s->m->n_prefix_ranges)
			anywhere_add(t, port, s);
	}
}

/* Descending: the most specific comes first, and 0, any port, last. */
static int compare_destinations(const struct entry *x, const struct entry *y)
{
	if (x->port != y->port)
		return x->port < y->port ? 1 : -1;
	if (x->bits != y->bits)
		return x->bits < y->bits ? 1 : -1;
	return memcmp(&x->prefix, &y->prefix, sizeof(x->prefix));
}

static int compare_entries(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;
	int r = compare_destinations(x, y);

	if (r || !x->spec || !y->spec)
		return r ? r : !x->spec - !y->spec;
	return (x->spec->place > y->spec->place) - (x->spec->place < y->spec->place);
}

/* A prefix of no bits is a key of Envoy's beside "any": which of the two counts is left open. */
static void any_check(struct table *t, const struct entry *e, size_t n)
{
	const struct chain_spec *with = NULL, *without = NULL;

	if (e->bits && e->bits != 96)
		return;
	for (size_t i = 0; i < n && e[i].spec; i++) {
		if (e[i].spec->m->n_prefix_ranges)
			with = e[i].spec;
		else
			without = e[i].spec;
	}
	if (with && without)
		weft_build_fail(t->b, with->field,
				"unsupported: prefix_ranges with all addresses beside "
				"filter_chains[%zu] without prefix_ranges",
				without->place);
}

/* ---- groups ---- */

static size_t run_length(const struct table *t, size_t at)
{
	size_t n = 1;

	while (at + n < t->n && !compare_destinations(&t->entry[at], &t->entry[at + n]))
		n++;
	return n;
}

static void group_fill(struct table *t, const struct entry *e, size_t n,
		       struct weft_img_chain_group *ret)
{
	struct chain_spec **spec = calloc(n, sizeof(*spec));
	size_t k = 0;

	ret->port = e->port;
	ret->prefix = e->prefix;
	ret->mask = e->mask;
	if (!spec) {
		out_of_memory(t->b);
		return;
	}
	any_check(t, e, n);
	while (k < n && e[k].spec) {
		spec[k] = e[k].spec;
		k++;
	}
	chain_group_fill(t->b, spec, k, t->otherwise, ret);
	free(spec);
}

static void groups_put(struct table *t, struct weft_img_listener *ret)
{
	struct weft_img_chain_group *out;
	size_t n = 0, k = 0;

	qsort(t->entry, t->n, sizeof(*t->entry), compare_entries);
	for (size_t i = 0; i < t->n; i += run_length(t, i))
		n++;
	if (n > WEFT_CHAIN_GROUPS_ALL_MAX) {
		weft_build_fail(t->b, "filter_chains",
				"more than %u destination ports and prefixes",
				WEFT_CHAIN_GROUPS_ALL_MAX);
		return;
	}
	out = calloc(n, sizeof(*out));
	if (!out) {
		out_of_memory(t->b);
		return;
	}
	for (size_t i = 0; i < t->n && !t->b->err; i += run_length(t, i))
		group_fill(t, &t->entry[i], run_length(t, i), &out[k++]);
	ret->n_group = (uint32_t)n;
	ret->group = weft_build_put(t->b, out, n * sizeof(*out));
	if (n > WEFT_CHAIN_GROUPS_MAX)
		ret->flags |= WEFT_LISTENER_MANY;
	free(out);
}

void weft_build_chain_groups(struct weft_build *b, const listener *l, const uint32_t *chain,
			     uint32_t otherwise, struct weft_img_listener *ret)
{
	struct table t = {.b = b, .otherwise = otherwise};

	t.spec = calloc(l->n_filter_chains + 1, sizeof(*t.spec));
	if (t.spec) {
		specs_fill(&t, l, chain);
		entries_fill(&t);
	} else {
		out_of_memory(b);
	}
	if (!b->err)
		groups_put(&t, ret);
	for (size_t i = 0; i < t.n_spec; i++) {
		free(t.spec[i].direct);
		free(t.spec[i].source);
	}
	free(t.entry);
	free(t.spec);
}
