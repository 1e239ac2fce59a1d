// SPDX-License-Identifier: Apache-2.0
/* The levels of filter_chain_match below the destination: names, transport, application protocols,
 * where the connection comes from. */
#include "agent/compile/chain_rules.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/compile/rbac.h"

typedef Envoy__Config__Listener__V3__FilterChainMatch chain_match;
/* A spec below one of its names. */
struct named {
	char *name; /* in lower case, "*.a" is ".a"; "": any; owned */
	struct chain_spec *spec;
};

static void out_of_memory(struct weft_build *b)
{
	b->err = b->err ? b->err : -ENOMEM;
}

/* ---- overlaps ---- */

/* Envoy keys each level by value: two lists overlap when they have one in common, or are both
 * empty. */
static bool strings_overlap(char *const *a, size_t n, char *const *b, size_t m)
{
	for (size_t i = 0; i < n; i++) {
		for (size_t k = 0; k < m; k++) {
			if (!strcmp(a[i], b[k]))
				return true;
		}
	}
	return !n && !m;
}

static bool ports_overlap(const uint32_t *a, size_t n, const uint32_t *b, size_t m)
{
	for (size_t i = 0; i < n; i++) {
		for (size_t k = 0; k < m; k++) {
			if (a[i] == b[k])
				return true;
		}
	}
	return !n && !m;
}

/* The same network? */
static bool same_range(const struct weft_img_test *a, const struct weft_img_test *b)
{
	for (int i = 0; i < 4; i++) {
		if (a->mask.w[i] != b->mask.w[i] || (a->addr.w[i] ^ b->addr.w[i]) & a->mask.w[i])
			return false;
	}
	return a->v4 == b->v4;
}

static bool ranges_overlap(const struct weft_img_test *a, size_t n, const struct weft_img_test *b,
			   size_t m)
{
	for (size_t i = 0; i < n; i++) {
		for (size_t k = 0; k < m; k++) {
			if (same_range(&a[i], &b[k]))
				return true;
		}
	}
	return !n && !m;
}

static bool overlap(const struct chain_spec *x, const struct chain_spec *y)
{
	const chain_match *a = x->m, *b = y->m;

	return x->transport == y->transport && a->source_type == b->source_type &&
	       strings_overlap(a->application_protocols, a->n_application_protocols,
			       b->application_protocols, b->n_application_protocols) &&
	       ports_overlap(a->source_ports, a->n_source_ports, b->source_ports,
			     b->n_source_ports) &&
	       ranges_overlap(x->direct, a->n_direct_source_prefix_ranges, y->direct,
			      b->n_direct_source_prefix_ranges) &&
	       ranges_overlap(x->source, a->n_source_prefix_ranges, y->source,
			      b->n_source_prefix_ranges);
}

/* A value that a list has twice is two keys of one chain. */
static bool repeats(const struct chain_spec *s)
{
	const chain_match *m = s->m;

	for (size_t i = 1; i < m->n_application_protocols; i++) {
		if (strings_overlap(m->application_protocols, i, &m->application_protocols[i], 1))
			return true;
	}
	for (size_t i = 1; i < m->n_source_ports; i++) {
		if (ports_overlap(m->source_ports, i, &m->source_ports[i], 1))
			return true;
	}
	for (size_t i = 1; i < m->n_direct_source_prefix_ranges; i++) {
		if (ranges_overlap(s->direct, i, &s->direct[i], 1))
			return true;
	}
	for (size_t i = 1; i < m->n_source_prefix_ranges; i++) {
		if (ranges_overlap(s->source, i, &s->source[i], 1))
			return true;
	}
	return false;
}

/* Specs of one name and destination: two that overlap are refused, and one that is there twice. */
static void overlaps_check(struct weft_build *b, const struct named *v, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (repeats(v[i].spec))
			weft_build_fail(b, v[i].spec->field, "has a value twice");
		for (size_t k = i + 1; k < n; k++) {
			if (!overlap(v[i].spec, v[k].spec))
				continue;
			weft_build_fail(b, v[k].spec->field, "overlaps with filter_chains[%zu]",
					v[i].spec->place);
			return;
		}
	}
}

/* ---- columns ---- */

static uint32_t columns_of(const chain_match *m, bool *ret_other)
{
	uint32_t columns = 0;

	*ret_other = false;
	for (size_t i = 0; i < m->n_application_protocols; i++) {
		const char *p = m->application_protocols[i];

		if (!strcmp(p, "http/1.0"))
			columns |= 1u << WEFT_PROTO_HTTP10;
		else if (!strcmp(p, "http/1.1"))
			columns |= 1u << WEFT_PROTO_HTTP11;
		else if (!strcmp(p, "h2c"))
			columns |= 1u << WEFT_PROTO_H2C;
		else
			*ret_other = true;
	}
	return columns;
}

/* The chain when the first bytes are of this kind: what programs can tell. */
static uint32_t column_resolve(struct chain_spec *const *s, size_t n, enum weft_proto column,
			       uint32_t otherwise)
{
	enum weft_transport want =
		column == WEFT_PROTO_TLS ? WEFT_TRANSPORT_TLS : WEFT_TRANSPORT_RAW;
	bool by_transport = false, other;
	uint32_t any = otherwise;

	for (size_t i = 0; i < n; i++)
		by_transport = by_transport || s[i]->transport == want;
	for (size_t i = 0; i < n; i++) {
		uint32_t columns = columns_of(s[i]->m, &other);

		if (s[i]->transport != (by_transport ? want : WEFT_TRANSPORT_ANY))
			continue;
		if (columns & (1u << column))
			return s[i]->chain;
		if (!columns && !other)
			any = s[i]->chain;
	}
	return any;
}

/* Is there more to it than the first bytes' kind? */
static bool needs_rule(const struct chain_spec *s)
{
	const chain_match *m = s->m;

	return m->n_server_names || m->n_direct_source_prefix_ranges || m->n_source_prefix_ranges ||
	       m->n_source_ports || m->source_type ||
	       (m->n_application_protocols && s->transport != WEFT_TRANSPORT_RAW);
}

/* ---- rules ---- */

static uint32_t rule_put(struct weft_build *b, struct chain_spec *s)
{
	const chain_match *m = s->m;
	struct weft_img_chain_rule out = {
		.chain = s->chain,
		.transport = s->transport,
		.source_type = m->source_type, /* enum weft_source_type has Envoy's numbers */
		.n_alpn = (uint32_t)m->n_application_protocols,
		.n_direct = (uint32_t)m->n_direct_source_prefix_ranges,
		.n_source = (uint32_t)m->n_source_prefix_ranges,
		.n_port = (uint32_t)m->n_source_ports,
	};

	if (s->rule)
		return s->rule;
	out.alpn = weft_build_strs(b, m->application_protocols, m->n_application_protocols);
	if (out.n_direct)
		out.direct = weft_build_put(b, s->direct, out.n_direct * sizeof(*s->direct));
	if (out.n_source)
		out.source = weft_build_put(b, s->source, out.n_source * sizeof(*s->source));
	if (out.n_port)
		out.port =
			weft_build_put(b, m->source_ports, out.n_port * sizeof(*m->source_ports));
	s->rule = weft_build_put(b, &out, sizeof(out));
	return s->rule;
}

static struct weft_img_chain_name name_put(struct weft_build *b, const struct named *v, size_t n)
{
	struct weft_img_chain_name out = {.name = weft_build_str(b, v->name),
					  .n_rule = (uint32_t)n};
	uint32_t *rule = calloc(n, sizeof(*rule));

	if (!rule) {
		out_of_memory(b);
		return out;
	}
	for (size_t i = 0; i < n; i++)
		rule[i] = rule_put(b, v[i].spec);
	out.rule = weft_build_put(b, rule, n * sizeof(*rule));
	free(rule);
	return out;
}

static size_t same_name(const struct named *v, size_t n)
{
	size_t k = 1;

	while (k < n && !strcmp(v[0].name, v[k].name))
		k++;
	return k;
}

static uint32_t rules_put(struct weft_build *b, const struct named *v, size_t n, uint32_t otherwise)
{
	struct weft_img_chain_rules out = {.otherwise = otherwise};
	struct weft_img_chain_name *name = calloc(n, sizeof(*name));

	if (!name) {
		out_of_memory(b);
		return 0;
	}
	for (size_t i = 0; i < n; i += same_name(v + i, n - i))
		name[out.n_name++] = name_put(b, v + i, same_name(v + i, n - i));
	out.name = weft_build_put(b, name, out.n_name * sizeof(*name));
	free(name);
	return weft_build_put(b, &out, sizeof(out));
}

/* ---- names ---- */

static int compare_names(const void *a, const void *b)
{
	const struct named *x = a, *y = b;
	int r = strcmp(x->name, y->name);

	return r ? r : (x->spec->place > y->spec->place) - (x->spec->place < y->spec->place);
}

static size_t names_count(struct chain_spec *const *s, size_t n)
{
	size_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += s[i]->m->n_server_names ? s[i]->m->n_server_names : 1;
	return sum;
}

/* Envoy compares in lower case, whatever the configuration has. */
static void named_fill(struct weft_build *b, const char *name, struct chain_spec *s,
		       struct named *ret)
{
	*ret = (struct named){strdup(*name == '*' ? name + 1 : name), s};
	if (!ret->name)
		out_of_memory(b);
	for (char *c = ret->name; c && *c; c++)
		*c = (char)(*c >= 'A' && *c <= 'Z' ? *c | 0x20 : *c);
}

static void names_free(struct named *v, size_t n)
{
	for (size_t i = 0; v && i < n; i++)
		free(v[i].name);
	free(v);
}

/* Each spec under each of its names, by name. NULL: none, or no memory. */
static struct named *names_make(struct weft_build *b, struct chain_spec *const *s, size_t n,
				size_t sum)
{
	struct named *v = sum ? calloc(sum, sizeof(*v)) : NULL;
	size_t at = 0;

	if (sum && !v)
		out_of_memory(b);
	for (size_t i = 0; v && i < n; i++) {
		const chain_match *m = s[i]->m;

		for (size_t k = 0; k < m->n_server_names; k++)
			named_fill(b, m->server_names[k], s[i], &v[at++]);
		if (!m->n_server_names)
			named_fill(b, "", s[i], &v[at++]);
	}
	if (b->err) {
		names_free(v, sum);
		return NULL;
	}
	if (v)
		qsort(v, sum, sizeof(*v), compare_names);
	return v;
}

void chain_group_fill(struct weft_build *b, struct chain_spec *const *spec, size_t n,
		      uint32_t otherwise, struct weft_img_chain_group *ret)
{
	size_t sum = names_count(spec, n);
	struct named *v;
	bool rules = false;

	if (sum > WEFT_CHAIN_RULES_MAX) {
		weft_build_fail(b, "filter_chains", "more than %u server names of one destination",
				WEFT_CHAIN_RULES_MAX);
		return;
	}
	v = names_make(b, spec, n, sum);
	for (size_t i = 0; v && i < sum; i += same_name(v + i, sum - i))
		overlaps_check(b, v + i, same_name(v + i, sum - i));
	for (size_t i = 0; i < n; i++)
		rules = rules || needs_rule(spec[i]);
	if (rules && v)
		ret->rules = rules_put(b, v, sum, otherwise);
	for (unsigned int c = 0; !rules && c < WEFT_PROTO__MAX; c++)
		ret->chain[c] = column_resolve(spec, n, c, otherwise);
	names_free(v, sum);
}
