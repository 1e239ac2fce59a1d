// SPDX-License-Identifier: Apache-2.0
/*
 * Endpoint sets. Health comes from EDS alone here, so that priorities, overprovisioning and panic
 * (xds-envoy.md 3.8) can be worked out once: the image holds, per priority with load, the hosts
 * that may be chosen.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/compile/hashing.h"
#include "agent/compile/parts.h"
#include "agent/compile/schedule.h"
#include "bpf/engine/engine.h"
#include "xds/any.h"

/* Hosts of one assignment: schedules index them with 16 bits. */
#define HOSTS_MAX 32768
#define PRIORITY_LIMIT 129 /* 0..128 */

typedef Envoy__Config__Cluster__V3__Cluster cluster;
typedef Envoy__Config__Endpoint__V3__ClusterLoadAssignment assignment;
typedef Envoy__Config__Endpoint__V3__LbEndpoint lb_endpoint;

enum health { HEALTHY, DEGRADED, UNHEALTHY };

struct hosts {
	struct weft_img_endpoint *v;
	uint32_t *priority;
	enum health *health;
	const struct weft_hashing *hashing;
	char **key; /* what consistent hashing knows a host by; NULL with other policies */
	size_t n;
	uint32_t *by_addr; /* host + 1, open addressing, at most half full */
	uint32_t mask;
};

struct share {
	uint32_t total, healthy, degraded;
	uint32_t h, d;		      /* availability in percent */
	uint32_t load, degraded_load; /* of 100 */
	bool panic;
};

static enum health health_of(const lb_endpoint *e)
{
	switch (e->health_status) {
	case ENVOY__CONFIG__CORE__V3__HEALTH_STATUS__UNHEALTHY:
	case ENVOY__CONFIG__CORE__V3__HEALTH_STATUS__TIMEOUT:
	case ENVOY__CONFIG__CORE__V3__HEALTH_STATUS__DRAINING:
		return UNHEALTHY;
	case ENVOY__CONFIG__CORE__V3__HEALTH_STATUS__DEGRADED:
		return DEGRADED;
	default:
		return HEALTHY;
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

/* The first match's transport socket is used; one that is not clear text cannot be. */
static void transport_check(struct weft_build *b, const cluster *c, const lb_endpoint *e,
			    const char *field)
{
	const Google__Protobuf__Struct *have = match_metadata(e);

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
static bool known_host(struct hosts *h, const struct weft_sockaddr *addr, uint32_t priority)
{
	uint32_t i = weft_hash_addr(&addr->addr, addr->port) + priority * 0x9e3779b1u;

	for (;; i++) {
		uint32_t *place = &h->by_addr[i & h->mask];

		if (!*place) {
			*place = (uint32_t)h->n + 1;
			return false;
		}
		if (h->priority[*place - 1] == priority &&
		    !memcmp(&h->v[*place - 1].addr, addr, sizeof(*addr)))
			return true;
	}
}

/* Not used, so far as they are addresses: what Envoy refuses is refused. */
static void additional_check(struct weft_build *b,
			     const Envoy__Config__Endpoint__V3__Endpoint *e, const char *field)
{
	char at[WEFT_FIELD_MAX];

	for (size_t i = 0; i < e->n_additional_addresses; i++) {
		const Envoy__Config__Core__V3__Address *a = e->additional_addresses[i]->address;
		struct weft_sockaddr addr;

		weft_field(at, field, "endpoint.additional_addresses[%zu].address", i);
		if (!a || !a->address_case)
			weft_build_fail(b, at, "is required");
		else if (a->address_case ==
				 ENVOY__CONFIG__CORE__V3__ADDRESS__ADDRESS_SOCKET_ADDRESS &&
			 !weft_ip_parse(a->socket_address->address, a->socket_address->port_value,
					&addr))
			weft_build_fail(b, at, "\"%s\" is not an IP address",
					a->socket_address->address);
	}
	if (e->n_additional_addresses)
		weft_build_note(b, field, "additional addresses are not used");
}

static void host_add(struct weft_build *b, const cluster *c, const lb_endpoint *e,
		     uint32_t priority, const char *field, struct hosts *h)
{
	static const char *const known[] = {"endpoint", "health_status", "metadata",
					    "load_balancing_weight", NULL};
	const Envoy__Config__Core__V3__SocketAddress *a;
	struct weft_img_endpoint *out = &h->v[h->n];
	char at[WEFT_FIELD_MAX];

	weft_build_fields(b, &e->base, field, known, NULL);
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
	if (!weft_ip_parse(a->address, a->port_value, &out->addr)) {
		weft_build_fail(b, field,
				c->type > 0 && !c->eds_cluster_config
					? "unsupported: DNS name \"%s\""
					: "\"%s\" is not an IP address",
				a->address);
		return;
	}
	additional_check(b, e->endpoint, field);
	transport_check(b, c, e, field);
	if (known_host(h, &out->addr, priority))
		return; /* the first of an address counts */
	out->weight = weft_u32(e->load_balancing_weight, 1);
	out->health = (uint32_t)e->health_status;
	out->hostname = weft_build_str(b, e->endpoint->hostname);
	out->cell = weft_build_state(b, WEFT_CELL_ENDPOINT, 0, "%s %s:%u", c->name, a->address,
				     a->port_value);
	if (h->key && !(h->key[h->n] = weft_hashing_key(h->hashing, e, &out->addr)))
		b->err = b->err ? b->err : -ENOMEM;
	h->priority[h->n] = priority;
	h->health[h->n] = health_of(e);
	h->n++;
}

static void hosts_fill(struct weft_build *b, const cluster *c, const assignment *a,
		       const char *field, struct hosts *h)
{
	char at[WEFT_FIELD_MAX];

	for (size_t i = 0; i < a->n_endpoints; i++) {
		const Envoy__Config__Endpoint__V3__LocalityLbEndpoints *l = a->endpoints[i];

		if (l->lb_config_case)
			weft_build_fail(b, weft_field(at, field, "endpoints[%zu]", i),
					"unsupported: load_balancer_endpoints, LEDS");
		for (size_t j = 0; j < l->n_lb_endpoints; j++)
			host_add(b, c, l->lb_endpoints[j], l->priority,
				 weft_field(at, field, "endpoints[%zu].lb_endpoints[%zu]", i, j),
				 h);
	}
}

/* ---- priorities ---- */

static uint32_t available(uint32_t part, uint32_t total, uint32_t factor)
{
	uint64_t x = total ? (uint64_t)factor * part / total : 0;

	return x > 100 ? 100 : (uint32_t)x;
}

static uint32_t min_u32(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

/* All in panic: shared by plain host counts, the rounding rest to the first. */
static void share_by_hosts(struct share *s, size_t n)
{
	uint32_t hosts = 0, left = 100, first = UINT32_MAX;

	for (size_t i = 0; i < n; i++)
		hosts += s[i].total;
	for (size_t i = 0; i < n; i++) {
		s[i].load = hosts ? 100 * s[i].total / hosts : 0;
		s[i].degraded_load = 0;
		left -= s[i].load;
		if (s[i].total && first == UINT32_MAX)
			first = (uint32_t)i;
	}
	if (first != UINT32_MAX)
		s[first].load += left;
}

/* What rounding left over goes to the first priority with healthy load, without any to the first
 * with degraded load. */
static void rest_give(struct share *s, size_t n, uint32_t rest)
{
	uint32_t *degraded = NULL;

	for (size_t i = 0; i < n; i++) {
		if (s[i].load) {
			s[i].load += rest;
			return;
		}
		if (s[i].degraded_load && !degraded)
			degraded = &s[i].degraded_load;
	}
	if (degraded)
		*degraded += rest;
}

static void loads_fill(struct share *s, size_t n, uint32_t factor, uint32_t threshold)
{
	uint32_t sum = 0, total, left = 100, panics = 0, with_hosts = 0;

	for (size_t i = 0; i < n; i++) {
		s[i].h = available(s[i].healthy, s[i].total, factor);
		s[i].d = available(s[i].degraded, s[i].total, factor);
		sum += s[i].h + s[i].d;
	}
	total = min_u32(100, sum);
	for (size_t i = 0; i < n; i++) {
		uint32_t usable =
			s[i].total ? 100 * (s[i].healthy + s[i].degraded) / s[i].total : 0;

		s[i].panic = total < 100 && s[i].total && usable < threshold;
		panics += s[i].panic;
		with_hosts += s[i].total != 0;
	}
	if (with_hosts && panics == with_hosts && threshold) {
		share_by_hosts(s, n);
		return;
	}
	if (!total) {
		s[0].load = 100; /* nothing is selectable there: 503 */
		return;
	}
	for (size_t i = 0; i < n; i++) {
		s[i].load = min_u32(left, s[i].h * 100 / total);
		left -= s[i].load;
	}
	for (size_t i = 0; i < n; i++) {
		s[i].degraded_load = min_u32(left, s[i].d * 100 / total);
		left -= s[i].degraded_load;
	}
	if (left)
		rest_give(s, n, left);
}

/* The table of consistent hashing over a set's hosts. */
static void table_fill(struct weft_build *b, const struct hosts *h, const uint32_t *host,
		       const uint32_t *weight, struct weft_img_host_set *ret)
{
	char **key = calloc(ret->n_host + 1, sizeof(*key));
	struct weft_hashing_table t = {0};
	int r = -ENOMEM;

	for (uint32_t i = 0; key && i < ret->n_host; i++)
		key[i] = h->key[host[i]];
	if (key && !b->err)
		r = weft_hashing_make(h->hashing, key, weight, ret->n_host, &t);
	if (r == -E2BIG) {
		weft_build_fail(b, "endpoints", "a ring of more than %u entries: unequal weights, or "
				"minimum_ring_size", WEFT_RING_MAX);
	} else if (r < 0) {
		b->err = b->err ? b->err : r;
	} else if (t.n) {
		ret->n_table = t.n;
		ret->table = weft_build_put(b, t.host, t.n * sizeof(*t.host));
		if (t.ring)
			ret->ring = weft_build_put(b, t.ring, t.n * sizeof(*t.ring));
	}
	free(t.host);
	free(t.ring);
	free(key);
}

/* The hosts of one priority that may be chosen. */
static void set_fill(struct weft_build *b, const struct hosts *h, uint32_t priority, bool panic,
		     enum health want, struct weft_img_host_set *ret)
{
	uint32_t *host = calloc(h->n + 1, sizeof(*host)),
		 *weight = calloc(h->n + 1, sizeof(*weight));
	struct weft_schedule s = {0};
	int err = -ENOMEM;

	for (size_t i = 0; host && weight && i < h->n; i++) {
		if (h->priority[i] != priority || (!panic && h->health[i] != want))
			continue;
		host[ret->n_host] = (uint32_t)i;
		weight[ret->n_host++] = h->v[i].weight;
	}
	if (host && weight)
		err = h->key ? 0 : weft_schedule_make(weight, ret->n_host, &s);
	if (err) {
		b->err = b->err ? b->err : err;
	} else if (ret->n_host) {
		ret->host = weft_build_put(b, host, ret->n_host * sizeof(*host));
		ret->n_schedule = s.period;
		if (s.order)
			ret->schedule = weft_build_put(b, s.order, s.period * sizeof(*s.order));
		else if (s.split)
			ret->schedule = weft_build_put(b, s.split, s.n_split * sizeof(*s.split));
		if (h->key)
			table_fill(b, h, host, weight, ret);
	}
	weft_schedule_free(&s);
	free(host);
	free(weight);
}

struct set_list {
	struct weft_img_host_set v[WEFT_PRIORITIES_MAX];
	uint32_t n, end;
};

static void set_add(struct weft_build *b, const struct hosts *h, uint32_t priority, uint32_t load,
		    bool panic, enum health want, struct set_list *l)
{
	if (!load)
		return;
	if (l->n == WEFT_PRIORITIES_MAX) {
		weft_build_fail(b, "endpoints", "more than %u priorities with load",
				WEFT_PRIORITIES_MAX);
		return;
	}
	l->end += load;
	l->v[l->n].load_end = l->end;
	set_fill(b, h, priority, panic, want, &l->v[l->n]);
	l->n++;
}

static void sets_fill(struct weft_build *b, const cluster *c, const assignment *a,
		      const struct hosts *h, struct weft_img_endpoints *ret)
{
	struct share s[PRIORITY_LIMIT] = {0};
	struct set_list list = {0};
	uint32_t n = 1, factor = 140, threshold = 50;

	for (size_t i = 0; i < h->n; i++) {
		struct share *p = &s[h->priority[i]];

		p->total++;
		p->healthy += h->health[i] == HEALTHY;
		p->degraded += h->health[i] == DEGRADED;
		if (h->priority[i] >= n)
			n = h->priority[i] + 1;
	}
	if (a->policy)
		factor = weft_u32(a->policy->overprovisioning_factor, 140);
	if (c->common_lb_config && c->common_lb_config->healthy_panic_threshold)
		threshold = (uint32_t)c->common_lb_config->healthy_panic_threshold->value;
	loads_fill(s, n, factor, threshold);
	for (uint32_t i = 0; i < n; i++)
		set_add(b, h, i, s[i].load, s[i].panic, HEALTHY, &list);
	/* a consistent hash's tables are of healthy hosts whatever the load is for */
	for (uint32_t i = 0; i < n; i++)
		set_add(b, h, i, s[i].degraded_load, s[i].panic, h->key ? HEALTHY : DEGRADED, &list);
	ret->n_set = list.n;
	if (list.n)
		ret->set = weft_build_put(b, list.v, list.n * sizeof(*list.v));
}

static void policy_check(struct weft_build *b, const assignment *a, const char *field)
{
	static const char *const known[] = {"overprovisioning_factor", NULL};
	char at[WEFT_FIELD_MAX];

	if (a->n_named_endpoints)
		weft_build_fail(b, weft_field(at, field, "named_endpoints"), "unsupported");
	if (a->policy)
		weft_build_fields(b, &a->policy->base, weft_field(at, field, "policy"), known,
				  NULL);
}

static bool hosts_alloc(struct hosts *h, const struct weft_hashing *hashing, size_t n)
{
	uint32_t size = 4;

	while (size < 2 * n)
		size *= 2;
	h->mask = size - 1;
	h->by_addr = calloc(size, sizeof(*h->by_addr));
	h->v = calloc(n + 1, sizeof(*h->v));
	h->priority = calloc(n + 1, sizeof(*h->priority));
	h->health = calloc(n + 1, sizeof(*h->health));
	h->hashing = hashing;
	if (hashing->lb >= WEFT_LB_RING_HASH && !(h->key = calloc(n + 1, sizeof(*h->key))))
		return false;
	return h->by_addr && h->v && h->priority && h->health;
}

uint32_t weft_build_endpoints(struct weft_build *b, const cluster *c, const assignment *a)
{
	const char *field = a == c->load_assignment ? "load_assignment" : "";
	struct weft_img_endpoints out = {0};
	struct weft_hashing hashing;
	struct hosts h = {0};
	char at[WEFT_FIELD_MAX];
	size_t n = 0;

	for (size_t i = 0; i < a->n_endpoints; i++)
		n += a->endpoints[i]->n_lb_endpoints;
	if (n > HOSTS_MAX) {
		weft_build_fail(b, weft_field(at, field, "endpoints"), "more than %d endpoints",
				HOSTS_MAX);
		return 0;
	}
	weft_hashing_of(c, &hashing);
	if (hosts_alloc(&h, &hashing, n)) {
		policy_check(b, a, field);
		hosts_fill(b, c, a, field, &h);
		out.n = (uint32_t)h.n;
		if (h.n)
			out.endpoint = weft_build_put(b, h.v, h.n * sizeof(*h.v));
		sets_fill(b, c, a, &h, &out);
	} else {
		b->err = b->err ? b->err : -ENOMEM;
	}
	for (size_t i = 0; h.key && i < h.n; i++)
		free(h.key[i]);
	free(h.key);
	free(h.v);
	free(h.priority);
	free(h.health);
	free(h.by_addr);
	return weft_build_put(b, &out, sizeof(out));
}
