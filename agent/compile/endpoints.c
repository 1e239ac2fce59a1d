// SPDX-License-Identifier: Apache-2.0
/* Endpoints of an assignment: addresses, health, localities, transport. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/compile/addresses.h"
#include "agent/compile/compile.h"
#include "agent/compile/dns.h"
#include "agent/compile/health.h"
#include "agent/compile/hosts.h"
#include "agent/compile/parts.h"
#include "agent/compile/subset.h"
#include "bpf/engine/engine.h"
#include "xds/any.h"

/* Hosts of one assignment: schedules index them with 16 bits. */
#define HOSTS_MAX 32768
#define PRIORITY_LIMIT 129 /* 0..128 */

typedef Envoy__Config__Cluster__V3__Cluster cluster;
typedef Envoy__Config__Endpoint__V3__ClusterLoadAssignment assignment;
typedef Envoy__Config__Endpoint__V3__LbEndpoint lb_endpoint;

struct parse {
	struct weft_hosts *h;
	uint32_t *locality; /* of each of the assignment's entries */
	uint32_t *by_addr; /* host + 1, open addressing, at most half full */
	uint32_t mask;
	bool dns; /* each name has its own hosts, also at an address that another one has */
	bool logical;	  /* LOGICAL_DNS: one host, always of priority 0 */
	const char *name; /* ... and what it is asked for by */
	bool listed;	  /* hosts may have several addresses */
	bool several;	  /* one has */
	bool v4_only; /* a literal of IPv6 is no host then */
};

static enum weft_health health_of(const lb_endpoint *e)
{
	switch (e->health_status) {
	case ENVOY__CONFIG__CORE__V3__HEALTH_STATUS__UNHEALTHY:
	case ENVOY__CONFIG__CORE__V3__HEALTH_STATUS__TIMEOUT:
		return WEFT_HOST_UNHEALTHY;
	case ENVOY__CONFIG__CORE__V3__HEALTH_STATUS__DRAINING:
		return WEFT_HOST_DRAINING;
	case ENVOY__CONFIG__CORE__V3__HEALTH_STATUS__DEGRADED:
		return WEFT_HOST_DEGRADED;
	default:
		return WEFT_HOST_HEALTHY;
	}
}

static int compare_ids(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

/* What is known of a host besides; -1: nothing. */
static int mark_of(const struct weft_build *b, uint32_t id)
{
	const struct weft_ejected *e = b->ejected;
	const uint32_t *at =
		e && e->n ? bsearch(&id, e->host, e->n, sizeof(id), compare_ids) : NULL;

	if (!at)
		return -1;
	return e->mark ? e->mark[at - e->host] : WEFT_MARK_OUT;
}

/* An ejected host counts as an unhealthy one, whatever EDS says of it but that it drains. */
static enum weft_health health_with(enum weft_health eds, int mark)
{
	if (eds == WEFT_HOST_DRAINING)
		return eds;
	switch (mark) {
	case WEFT_MARK_DEGRADED:
		return eds == WEFT_HOST_HEALTHY ? WEFT_HOST_DEGRADED : eds;
	case WEFT_MARK_OUT:
		return WEFT_HOST_UNHEALTHY;
	case WEFT_MARK_EXCLUDED:
		return WEFT_HOST_DRAINING;
	default:
		return eds;
	}
}

/* ---- transport socket matches ---- */

static const Google__Protobuf__Value *struct_get(const Google__Protobuf__Struct *s, const char *key)
{
	for (size_t i = 0; s && i < s->n_fields; i++) {
		if (!strcmp(s->fields[i]->key, key))
			return s->fields[i]->value;
	}
	return NULL;
}

static const Google__Protobuf__Struct *match_metadata(const lb_endpoint *e)
{
	for (size_t i = 0; e->metadata && i < e->metadata->n_filter_metadata; i++) {
		if (!strcmp(e->metadata->filter_metadata[i]->key, "envoy.transport_socket_match"))
			return e->metadata->filter_metadata[i]->value;
	}
	return NULL;
}

/* Values are compared as serialised: equal values, equal bytes. */
static bool value_equal(const Google__Protobuf__Value *a, const Google__Protobuf__Value *c)
{
	size_t n, m;
	uint8_t *x, *y;
	bool same;

	if (!a || !c)
		return false;
	n = protobuf_c_message_get_packed_size(&a->base);
	m = protobuf_c_message_get_packed_size(&c->base);
	if (n != m)
		return false;
	x = malloc(n + 1);
	y = malloc(n + 1);
	if (x && y) {
		protobuf_c_message_pack(&a->base, x);
		protobuf_c_message_pack(&c->base, y);
	}
	same = x && y && !memcmp(x, y, n);
	free(x);
	free(y);
	return same;
}

static bool socket_matches(const Google__Protobuf__Struct *match,
			   const Google__Protobuf__Struct *have)
{
	for (size_t i = 0; match && i < match->n_fields; i++) {
		if (!value_equal(match->fields[i]->value, struct_get(have, match->fields[i]->key)))
			return false;
	}
	return true;
}

void weft_build_transport_match(struct weft_build *b, const cluster *c,
				const Google__Protobuf__Struct *have, const char *field)
{
	for (size_t i = 0; i < c->n_transport_socket_matches; i++) {
		const Envoy__Config__Core__V3__TransportSocket *s =
			c->transport_socket_matches[i]->transport_socket;
		char *type;

		if (!socket_matches(c->transport_socket_matches[i]->match, have))
			continue;
		type = s && s->typed_config ? weft_any_type(s->typed_config) : NULL;
		if (type &&
		    strcmp(type, "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer"))
			weft_build_fail(b, field,
					"unsupported: transport socket match \"%s\" is %s",
					c->transport_socket_matches[i]->name, type);
		free(type);
		return;
	}
}

/* ---- hosts ---- */

/* Whether an earlier host of this priority has the address; else it is remembered as host n. */
static bool known_host(struct parse *p, const struct weft_sockaddr *addr, uint32_t priority)
{
	const struct weft_hosts *h = p->h;
	uint32_t i = weft_hash_addr(&addr->addr, addr->port) + priority * 0x9e3779b1u;

	for (;; i++) {
		uint32_t *place = &p->by_addr[i & p->mask];

		if (!*place) {
			*place = (uint32_t)h->n + 1;
			return false;
		}
		if (h->priority[*place - 1] == priority &&
		    !memcmp(&h->v[*place - 1].addr, addr, sizeof(*addr)))
			return true;
	}
}

/*
 * The address of a host. A name of a DNS cluster has none until it is resolved: no host, or with names_stand one without
 * address.
 */
static bool address_take(struct weft_build *b, const Envoy__Config__Core__V3__SocketAddress *a,
			 const char *field, const struct parse *p, struct weft_sockaddr *ret)
{
	if (weft_ip_parse(a->address, a->port_value, ret))
		return !p->v4_only || !strchr(a->address, ':');
	if (!p->dns)
		weft_build_fail(b, field, "\"%s\" is not an IP address", a->address);
	return p->dns && b->names_stand;
}

static void host_add(struct weft_build *b, const cluster *c, const lb_endpoint *e,
		     uint32_t priority, uint32_t locality, const char *field, struct parse *p)
{
	const Envoy__Config__Core__V3__SocketAddress *a;
	struct weft_hosts *h = p->h;
	struct weft_img_endpoint *out = &h->v[h->n];
	char at[WEFT_FIELD_MAX];

	weft_build_fields(b, &e->base, field);
	if (e->host_identifier_case !=
		    ENVOY__CONFIG__ENDPOINT__V3__LB_ENDPOINT__HOST_IDENTIFIER_ENDPOINT ||
	    !e->endpoint->address ||
	    e->endpoint->address->address_case !=
		    ENVOY__CONFIG__CORE__V3__ADDRESS__ADDRESS_SOCKET_ADDRESS) {
		weft_build_fail(b, field, "unsupported: endpoint without socket_address");
		return;
	}
	a = e->endpoint->address->socket_address;
	if (!weft_build_socket(b, a, weft_field(at, field, "endpoint.address.socket_address")))
		return;
	weft_build_transport_match(b, c, match_metadata(e), field);
	weft_build_host_check(b, e->endpoint, field);
	if (!address_take(b, a, field, p, &out->addr))
		return;
	/* a logical host stays the same one when its addresses change */
	out->cell = weft_build_state(b, WEFT_CELL_ENDPOINT, 0, "%s %s:%u", c->name,
				     p->logical ? p->name : a->address, a->port_value);
	if (mark_of(b, out->cell) == WEFT_MARK_GONE)
		return; /* other pods have it still */
	if (!p->dns && known_host(p, &out->addr, priority))
		return; /* the first of an address counts */
	out->weight = h->balancing->equal ? 1 : weft_u32(e->load_balancing_weight, 1);
	out->health = (uint32_t)e->health_status;
	out->hostname = weft_build_str(b, p->dns && !*e->endpoint->hostname ? a->address
									    : e->endpoint->hostname);
	if (p->listed)
		out->addresses = weft_build_addresses(b, c, e->endpoint, &out->addr, field);
	else if (e->endpoint->n_additional_addresses) /* Envoy does not look at them */
		weft_build_note(b, field, "additional addresses are not used");
	p->several |= out->addresses != 0;
	if (h->key && !(h->key[h->n] = weft_hashing_key(&h->balancing->hashing, e, &out->addr)))
		b->err = b->err ? b->err : -ENOMEM;
	h->priority[h->n] = priority;
	h->locality[h->n] = locality;
	h->metadata[h->n] = weft_lb_metadata(e->metadata);
	h->localities[locality].n_host++;
	h->health[h->n] = health_with(health_of(e), mark_of(b, out->cell));
	h->n++;
}

static void hosts_fill(struct weft_build *b, const cluster *c, const assignment *a,
		       const char *field, struct parse *p)
{
	char at[WEFT_FIELD_MAX];

	for (size_t i = 0; i < a->n_endpoints; i++) {
		const Envoy__Config__Endpoint__V3__LocalityLbEndpoints *l = a->endpoints[i];

		if (l->lb_config_case)
			weft_build_fail(b, weft_field(at, field, "endpoints[%zu]", i),
					"unsupported: load_balancer_endpoints, LEDS");
		for (size_t j = 0; j < l->n_lb_endpoints; j++)
			host_add(b, c, l->lb_endpoints[j], p->logical ? 0 : l->priority,
				 p->locality[i],
				 weft_field(at, field, "endpoints[%zu].lb_endpoints[%zu]", i, j),
				 p);
	}
}

/* drop_overloads in parts per million; of more than one Envoy says no. */
static uint32_t drop_of(const assignment *a)
{
	const Envoy__Type__V3__FractionalPercent *p =
		a->policy && a->policy->n_drop_overloads ? a->policy->drop_overloads[0]->drop_percentage
							 : NULL;

	if (!p)
		return 0;
	switch (p->denominator) {
	case ENVOY__TYPE__V3__FRACTIONAL_PERCENT__DENOMINATOR_TYPE__TEN_THOUSAND:
		return p->numerator * 100;
	case ENVOY__TYPE__V3__FRACTIONAL_PERCENT__DENOMINATOR_TYPE__MILLION:
		return p->numerator;
	default:
		return p->numerator * 10000;
	}
}

static void policy_check(struct weft_build *b, const assignment *a, const char *field)
{
	char at[WEFT_FIELD_MAX];

	if (a->n_named_endpoints)
		weft_build_fail(b, weft_field(at, field, "named_endpoints"), "unsupported");
	if (a->policy)
		weft_build_fields(b, &a->policy->base, weft_field(at, field, "policy"));
}

/* What Envoy checks for rings and tables: sums of one priority that do not fit 32 bits. */
static void sums_check(struct weft_build *b, const struct weft_hosts *h, const char *field)
{
	uint64_t hosts[PRIORITY_LIMIT] = {0}, localities[PRIORITY_LIMIT] = {0};
	char at[WEFT_FIELD_MAX];

	for (size_t i = 0; i < h->n; i++)
		hosts[h->priority[i]] += h->v[i].weight;
	for (size_t i = 0; i < h->n_locality; i++)
		localities[h->localities[i].priority] += h->localities[i].weight;
	for (size_t i = 0; i < PRIORITY_LIMIT; i++) {
		if (hosts[i] > UINT32_MAX || localities[i] > UINT32_MAX)
			weft_build_fail(b, weft_field(at, field, "endpoints"),
					"the weights of the %s of priority %zu sum up to more than %u",
					hosts[i] > UINT32_MAX ? "hosts" : "localities", i, UINT32_MAX);
	}
}

/* ---- localities ---- */

struct entry {
	const Envoy__Config__Endpoint__V3__LocalityLbEndpoints *l;
	size_t index;
};

static int entry_names(const struct entry *x, const struct entry *y)
{
	const Envoy__Config__Core__V3__Locality none = ENVOY__CONFIG__CORE__V3__LOCALITY__INIT;
	const Envoy__Config__Core__V3__Locality *a = x->l->locality ? x->l->locality : &none;
	const Envoy__Config__Core__V3__Locality *b = y->l->locality ? y->l->locality : &none;
	int r = strcmp(a->region, b->region);

	if (x->l->priority != y->l->priority)
		return x->l->priority < y->l->priority ? -1 : 1;
	r = r ? r : strcmp(a->zone, b->zone);
	return r ? r : strcmp(a->sub_zone, b->sub_zone);
}

static int entry_order(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;
	int r = entry_names(x, y);

	return r ? r : (x->index > y->index) - (x->index < y->index);
}

/*
 * Numbers in the order of priorities and names; of several weights of one locality the last counts,
 * and the weight of one without a name does not (Envoy 1.40).
 */
static bool localities_fill(const assignment *a, struct parse *p)
{
	struct entry *e = calloc(a->n_endpoints + 1, sizeof(*e));
	struct weft_hosts *h = p->h;

	p->locality = calloc(a->n_endpoints + 1, sizeof(*p->locality));
	h->localities = calloc(a->n_endpoints + 1, sizeof(*h->localities));
	if (!e || !p->locality || !h->localities) {
		free(e);
		return false;
	}
	for (size_t i = 0; i < a->n_endpoints; i++)
		e[i] = (struct entry){a->endpoints[i], i};
	qsort(e, a->n_endpoints, sizeof(*e), entry_order);
	for (size_t i = 0; i < a->n_endpoints; i++) {
		h->n_locality += !i || entry_names(&e[i - 1], &e[i]);
		p->locality[e[i].index] = (uint32_t)h->n_locality - 1;
		h->localities[h->n_locality - 1].priority = e[i].l->priority;
		if (e[i].l->locality && e[i].l->load_balancing_weight)
			h->localities[h->n_locality - 1].weight =
				e[i].l->load_balancing_weight->value;
	}
	free(e);
	return true;
}

/* ---- all of it ---- */

static bool hosts_alloc(struct parse *p, size_t n)
{
	struct weft_hosts *h = p->h;
	uint32_t size = 4;

	while (size < 2 * n)
		size *= 2;
	p->mask = size - 1;
	p->by_addr = calloc(size, sizeof(*p->by_addr));
	h->v = calloc(n + 1, sizeof(*h->v));
	h->priority = calloc(n + 1, sizeof(*h->priority));
	h->locality = calloc(n + 1, sizeof(*h->locality));
	h->metadata = calloc(n + 1, sizeof(*h->metadata));
	h->health = calloc(n + 1, sizeof(*h->health));
	if (h->balancing->hashing.lb && !(h->key = calloc(n + 1, sizeof(*h->key))))
		return false;
	return p->by_addr && h->v && h->priority && h->locality && h->metadata && h->health;
}

static void hosts_free(struct parse *p)
{
	struct weft_hosts *h = p->h;

	for (size_t i = 0; h->key && i < h->n; i++)
		free(h->key[i]);
	free(h->key);
	free(h->v);
	free(h->priority);
	free(h->locality);
	free(h->metadata);
	free(h->health);
	free(h->localities);
	free(p->locality);
	free(p->by_addr);
}

/* The sets of all hosts. */
static void all_fill(struct weft_build *b, const struct weft_hosts *h,
		     struct weft_img_endpoints *ret)
{
	uint32_t *all = calloc(h->n + 1, sizeof(*all));

	for (uint32_t i = 0; all && i < h->n; i++)
		all[i] = i;
	if (all)
		weft_build_host_sets(b, h, all, h->n, WEFT_LOCALITIES_WEIGHTED, ret);
	else
		b->err = b->err ? b->err : -ENOMEM;
	free(all);
}

/* What of them is refused was told with the cluster. */
static void dns_settings(const cluster *c, const assignment *a, struct parse *p)
{
	struct weft_build quiet = {0};
	struct weft_dns_conf conf;

	weft_build_dns(&quiet, c, &conf);
	p->dns = true;
	p->logical = conf.logical;
	p->listed = conf.logical && a != c->load_assignment;
	p->name = p->logical && !quiet.err ? c->load_assignment->endpoints[0]
						     ->lb_endpoints[0]
						     ->endpoint->address->socket_address->address
					   : c->name;
	p->v4_only = conf.family == WEFT_DNS_V4_ONLY;
	weft_dns_conf_clear(&conf);
}

/* When each healthy host's slow start began: as Envoy, when it was first seen healthy. */
static uint32_t since_put(struct weft_build *b, const struct weft_hosts *h)
{
	uint64_t *since = calloc(h->n + 1, sizeof(*since));
	uint32_t off = 0;

	if (!since)
		b->err = b->err ? b->err : -ENOMEM;
	for (size_t i = 0; since && i < h->n; i++)
		since[i] = h->health[i] == WEFT_HOST_HEALTHY
				   ? weft_names_begin(b->states, h->v[i].cell)
				   : 0;
	if (since && h->n)
		off = weft_build_put(b, since, h->n * sizeof(*since));
	free(since);
	return off;
}

uint32_t weft_build_endpoints(struct weft_build *b, const cluster *c, const assignment *a)
{
	bool dns = weft_dns_is(c);
	const char *field = dns || a == c->load_assignment ? "load_assignment" : "";
	struct weft_img_endpoints out = {0};
	struct weft_balancing balancing;
	struct weft_hosts h = {.balancing = &balancing, .factor = 140};
	struct parse p = {.h = &h, .listed = !dns};
	char at[WEFT_FIELD_MAX];
	size_t n = 0;

	for (size_t i = 0; i < a->n_endpoints; i++)
		n += a->endpoints[i]->n_lb_endpoints;
	if (n > HOSTS_MAX) {
		weft_build_fail(b, weft_field(at, field, "endpoints"), "more than %d endpoints",
				HOSTS_MAX);
		return 0;
	}
	weft_balancing_of(c, &balancing);
	if (dns)
		dns_settings(c, a, &p);
	if (a->policy)
		h.factor = weft_u32(a->policy->overprovisioning_factor, 140);
	h.weighted = a->policy && a->policy->weighted_priority_health;
	if (hosts_alloc(&p, n) && localities_fill(a, &p)) {
		policy_check(b, a, field);
		hosts_fill(b, c, a, field, &p);
		out.n = (uint32_t)h.n;
		out.drop = drop_of(a);
		out.flags = p.several ? WEFT_ENDPOINTS_SEVERAL : 0;
		if (h.n)
			out.endpoint = weft_build_put(b, h.v, h.n * sizeof(*h.v));
		if (balancing.slow)
			out.since = since_put(b, &h);
		if (h.key)
			sums_check(b, &h, field);
		if (weft_subsets_used(c))
			weft_build_subsets(b, c, &h, &out);
		else
			all_fill(b, &h, &out);
	} else {
		b->err = b->err ? b->err : -ENOMEM;
	}
	hosts_free(&p);
	return weft_build_put(b, &out, sizeof(out));
}
