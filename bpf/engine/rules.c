/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */

/*
 * A filter chain by what its connection says and where it comes from: the agent's part of Envoy's
 * filter_chain_match (FilterChainManagerImpl's order of levels).
 */

#include <string.h>

#include "bpf/engine/address.h"

enum level {
	LEVEL_TRANSPORT,
	LEVEL_ALPN,
	LEVEL_DIRECT,
	LEVEL_TYPE,
	LEVEL_SOURCE,
	LEVEL_PORT,
	LEVEL_END
};

struct text {
	const void *p;
	__u32 len; /* 0: none */
};

/* The rules of a name, and what was taken at each level so far. */
struct choice {
	const __u32 *rule;
	__u32 n;
	struct weft_addr source;
	enum weft_transport transport;
	struct text alpn; /* len 0: rules without */
	int direct, from; /* bits of the prefix */
	enum weft_source_type type;
	__u32 port; /* 0: rules without */
};

/* ---- values of a rule ---- */

static bool has_alpn(const struct weft_img_chain_rule *r, struct text want)
{
	const struct weft_img_str *s = r->n_alpn ? weft_img_at(r->alpn) : NULL;

	if (!want.len)
		return !r->n_alpn;
	for (__u32 i = 0; i < r->n_alpn; i++) {
		if (s[i].len == want.len && !memcmp(weft_img_at(s[i].off), want.p, want.len))
			return true;
	}
	return false;
}

static int mask_bits(const struct weft_addr *mask)
{
	int n = 0;

	for (int i = 0; i < 4; i++)
		n += __builtin_popcount(mask->w[i]);
	return n;
}

/* Bits of the longest range that the address is in; without ranges 0. -1: it is in none. */
static int range_bits(__u32 n, __u32 off, const struct weft_addr *addr)
{
	const struct weft_img_test *t = n ? weft_img_at(off) : NULL;
	int best = n ? -1 : 0;

	for (__u32 i = 0; i < n; i++) {
		int bits = mask_bits(&t[i].mask);

		if (bits > best && weft_addr_in(addr, &t[i]))
			best = bits;
	}
	return best;
}

/* One of just so many bits. */
static bool has_range(__u32 n, __u32 off, const struct weft_addr *addr, int bits)
{
	const struct weft_img_test *t = n ? weft_img_at(off) : NULL;

	if (!n)
		return !bits;
	for (__u32 i = 0; i < n; i++) {
		if (mask_bits(&t[i].mask) == bits && weft_addr_in(addr, &t[i]))
			return true;
	}
	return false;
}

static bool has_port(const struct weft_img_chain_rule *r, __u32 port)
{
	const __u32 *p = r->n_port ? weft_img_at(r->port) : NULL;

	if (!port)
		return !r->n_port;
	for (__u32 i = 0; i < r->n_port; i++) {
		if (p[i] == port)
			return true;
	}
	return false;
}

/* ---- levels ---- */

/* Has it what was taken at the levels before this one? */
static bool is_left(const struct choice *c, const struct weft_img_chain_rule *r, enum level level)
{
	return (level <= LEVEL_TRANSPORT || r->transport == c->transport) &&
	       (level <= LEVEL_ALPN || has_alpn(r, c->alpn)) &&
	       (level <= LEVEL_DIRECT ||
		has_range(r->n_direct, r->direct, &c->source, c->direct)) &&
	       (level <= LEVEL_TYPE || r->source_type == c->type) &&
	       (level <= LEVEL_SOURCE || has_range(r->n_source, r->source, &c->source, c->from)) &&
	       (level <= LEVEL_PORT || has_port(r, c->port));
}

/* The first that has all so far, and this level's value in c besides. NULL: none. */
static const struct weft_img_chain_rule *left(const struct choice *c, enum level taken)
{
	for (__u32 i = 0; i < c->n; i++) {
		const struct weft_img_chain_rule *r = weft_img_at(c->rule[i]);

		if (is_left(c, r, taken + 1))
			return r;
	}
	return NULL;
}

static bool take_transport(struct choice *c, enum weft_transport is)
{
	c->transport = is;
	if (left(c, LEVEL_TRANSPORT))
		return true;
	c->transport = WEFT_TRANSPORT_ANY;
	return left(c, LEVEL_TRANSPORT);
}

/* The client's order counts. */
static bool take_alpn(struct choice *c, const __u8 *list, __u32 len)
{
	for (__u32 at = 0; at < len; at += 1u + list[at]) {
		c->alpn = (struct text){list + at + 1, list[at]};
		if (left(c, LEVEL_ALPN))
			return true;
	}
	c->alpn = (struct text){NULL, 0};
	return left(c, LEVEL_ALPN);
}

/* The longest prefix that some rule left has. -1: none. */
static int longest(const struct choice *c, enum level level)
{
	int best = -1;

	for (__u32 i = 0; i < c->n; i++) {
		const struct weft_img_chain_rule *r = weft_img_at(c->rule[i]);
		int bits;

		if (!is_left(c, r, level))
			continue;
		bits = level == LEVEL_DIRECT ? range_bits(r->n_direct, r->direct, &c->source)
					     : range_bits(r->n_source, r->source, &c->source);
		if (bits > best)
			best = bits;
	}
	return best;
}

/* Envoy knows one loopback address of each family, and the address that the connection goes to. */
static bool is_local(const struct choice *c, const struct weft_ctx *ctx)
{
	const struct weft_addr *a = &c->source, *to = &ctx->dst.addr;

	if (a->w[0] == to->w[0] && a->w[1] == to->w[1] && a->w[2] == to->w[2] &&
	    a->w[3] == to->w[3])
		return true;
	if (weft_addr_v4(a))
		return a->w[3] == WEFT_BE32(0x7f000001);
	return !a->w[0] && !a->w[1] && !a->w[2] && a->w[3] == WEFT_BE32(1);
}

static bool take_type(struct choice *c, const struct weft_ctx *ctx)
{
	c->type = is_local(c, ctx) ? WEFT_SOURCE_LOCAL : WEFT_SOURCE_EXTERNAL;
	if (left(c, LEVEL_TYPE))
		return true;
	c->type = WEFT_SOURCE_ANY;
	return left(c, LEVEL_TYPE);
}

static const struct weft_img_chain_rule *port_take(struct choice *c, __u32 port)
{
	const struct weft_img_chain_rule *r;

	c->port = port;
	r = left(c, LEVEL_PORT);
	if (r || !port)
		return r;
	c->port = 0;
	return left(c, LEVEL_PORT);
}

/* ---- names ---- */

static int compare(const struct weft_img_str *s, const char *p, __u32 len)
{
	__u32 n = s->len < len ? s->len : len;
	int r = n ? memcmp(weft_img_at(s->off), p, n) : 0;

	return r ? r : (s->len > len) - (s->len < len);
}

static const struct weft_img_chain_name *name_at(const struct weft_img_chain_rules *r,
						 const char *p, __u32 len)
{
	const struct weft_img_chain_name *v = weft_img_at(r->name);
	__u32 lo = 0, hi = r->n_name;

	while (lo < hi) {
		__u32 mid = lo + (hi - lo) / 2;
		int c = compare(&v[mid].name, p, len);

		if (!c)
			return &v[mid];
		if (c < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

/* The whole name, then each of its suffixes from a dot on, the longest first, then any. */
static const struct weft_img_chain_name *name_find(const struct weft_img_chain_rules *r,
						   const char *name, __u32 len)
{
	const struct weft_img_chain_name *n = name_at(r, name, len);

	for (__u32 i = 1; !n && i + 1 < len; i++) {
		if (name[i] == '.')
			n = name_at(r, name + i, len - i);
	}
	return n ? n : name_at(r, "", 0);
}

__u32 weft_rules_find(const struct weft_ctx *ctx, __u32 rules, enum weft_proto proto)
{
	/* as http_inspector tells them */
	static const char *const inspected[WEFT_PROTO__MAX] = {"", "",
							       "\x08"
							       "http/1.0",
							       "\x08"
							       "http/1.1",
							       "\x03"
							       "h2c"};
	const struct weft_img_chain_rules *r = weft_img_at(rules);
	const struct weft_hello *h = proto == WEFT_PROTO_TLS ? ctx->hello : NULL;
	const struct weft_img_chain_name *n = name_find(r, h ? h->name : "", h ? h->name_len : 0);
	const struct weft_img_chain_rule *found;
	const char *told = inspected[proto];
	struct choice c = {0};

	if (!n)
		return r->otherwise;
	c.rule = weft_img_at(n->rule);
	c.n = n->n_rule;
	weft_source_of(ctx, &c.source);
	if (!take_transport(&c,
			    proto == WEFT_PROTO_TLS ? WEFT_TRANSPORT_TLS : WEFT_TRANSPORT_RAW) ||
	    !take_alpn(&c, h ? h->alpn : (const __u8 *)told, h ? h->alpn_len : (__u32)strlen(told)))
		return r->otherwise;
	c.direct = longest(&c, LEVEL_DIRECT);
	if (c.direct < 0 || !take_type(&c, ctx))
		return r->otherwise;
	c.from = longest(&c, LEVEL_SOURCE);
	if (c.from < 0)
		return r->otherwise;
	found = port_take(&c, ctx->src.port);
	return found ? found->chain : r->otherwise;
}
