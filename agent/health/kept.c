// SPDX-License-Identifier: Apache-2.0
/*
 * Hosts that discovery has no more, and whose checks pass: they stay until one fails (Envoy 1.40:
 * BaseDynamicClusterImpl::updateDynamicHostList(), PENDING_DYNAMIC_REMOVAL). What is published is an assignment with them.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/health/internal.h"

typedef Envoy__Config__Cluster__V3__Cluster cluster;
typedef Envoy__Config__Endpoint__V3__ClusterLoadAssignment assignment;
typedef Envoy__Config__Endpoint__V3__LocalityLbEndpoints locality;
typedef Envoy__Config__Endpoint__V3__LbEndpoint lb_endpoint;

bool session_stays(const struct session *s)
{
	return s->check->spec->conf.keep_removed && !s->host.failed && !s->target.unhealthy &&
	       !s->target.disabled;
}

static const struct session *session_find(const struct hc_check *c, const struct target *t)
{
	size_t low = 0, high = c->n;

	while (low < high) {
		size_t i = (low + high) / 2;
		int order = target_compare(&c->session[i]->target, t);

		if (!order)
			return c->session[i];
		if (order < 0)
			low = i + 1;
		else
			high = i;
	}
	return NULL;
}

bool kept_here(const struct hc_check *c, const struct kept *k)
{
	const struct session *s = session_find(c, k->target);

	return s && session_stays(s);
}

static int by_target(const void *a, const void *b)
{
	return target_compare(((const struct kept *)a)->target, ((const struct kept *)b)->target);
}

/* ---- which they are ---- */

static int by_address(const void *a, const void *b)
{
	return target_compare(a, b);
}

/* Hosts of what is in force; same: sessions are of it. */
struct listed {
	bool same;
	struct target *t;
	size_t n;
};

static bool is_listed(const struct listed *l, const struct session *s)
{
	if (l->same)
		return !s->from;
	return bsearch(&s->target, l->t, l->n, sizeof(*l->t), by_address);
}

/* Sessions of this one that stay beyond what is listed; with `to` they are put there. How many. */
static size_t stay(const struct spec *s, const struct listed *l, struct kept *to)
{
	const struct hc_check *c;
	size_t n = 0;

	LIST_FOREACH(c, &s->checks, link)
	{
		for (size_t i = 0; i < c->n; i++) {
			const struct session *x = c->session[i];
			const struct weft_resource *from = x->from ? x->from : s->from;

			if (!from || !session_stays(x) || is_listed(l, x))
				continue;
			if (to)
				to[n] = (struct kept){&x->target, from};
			n++;
		}
	}
	return n;
}

/* Clusters that share an assignment would get one another's. */
static bool is_shared(const struct weft_snapshot *in_force, const char *name)
{
	size_t n = weft_snapshot_count(in_force, WEFT_XDS_CLUSTER), users = 0;

	for (size_t i = 0; i < n; i++) {
		const cluster *c =
			(const void *)weft_snapshot_at(in_force, WEFT_XDS_CLUSTER, i)->msg;
		const char *at = !c->eds_cluster_config ? ""
				 : *c->eds_cluster_config->service_name
					 ? c->eds_cluster_config->service_name
					 : c->name;

		users += !strcmp(at, name);
	}
	return users > 1;
}

static int kept_fill(struct spec *s, const struct listed *l)
{
	size_t n = stay(s, l, NULL), unique = 0;

	free(s->kept);
	s->kept = n ? calloc(n, sizeof(*s->kept)) : NULL;
	if (!n || !s->kept)
		return n ? -ENOMEM : 0;
	stay(s, l, s->kept);
	qsort(s->kept, n, sizeof(*s->kept), by_target);
	for (size_t i = 0; i < n; i++) {
		if (!unique || by_target(&s->kept[unique - 1], &s->kept[i]))
			s->kept[unique++] = s->kept[i];
	}
	s->n_kept = unique;
	return 0;
}

int spec_keep(struct spec *s, const struct weft_snapshot *in_force,
	      const struct weft_snapshot *resolved)
{
	struct listed l = {0};
	struct weft_resource *res;
	const assignment *a;
	uint64_t hash;
	int r = 0;

	s->n_kept = 0;
	if (!s->conf.keep_removed || !s->listed)
		return 0;
	a = spec_assignment(s, in_force, resolved, &hash, &res);
	if (!a || !res)
		return 0;
	l.same = hash == s->hash;
	if (!l.same)
		r = spec_hosts(s, a, &l.t, &l.n);
	if (r == 0)
		r = kept_fill(s, &l);
	targets_free(l.t, l.n);
	if (s->n_kept && is_shared(in_force, res->name))
		s->n_kept = 0;
	return r;
}

/* ---- what is published ---- */

static bool has_address(const lb_endpoint *e, const struct target *t)
{
	const Envoy__Config__Core__V3__Address *a =
		e->host_identifier_case ==
				ENVOY__CONFIG__ENDPOINT__V3__LB_ENDPOINT__HOST_IDENTIFIER_ENDPOINT
			? e->endpoint->address
			: NULL;

	return a && a->address_case == ENVOY__CONFIG__CORE__V3__ADDRESS__ADDRESS_SOCKET_ADDRESS &&
	       a->socket_address->port_value == t->port &&
	       !strcmp(a->socket_address->address, t->address);
}

/* The host with its locality as the assignment had them; the locality's weight is not its own any more (Envoy: weights
 * are of the last update). false: it has none such. */
static bool entry_fill(const struct kept *k, locality *entry, lb_endpoint **host)
{
	const assignment *a = (const void *)k->from->msg;

	for (size_t i = 0; i < a->n_endpoints; i++) {
		for (size_t j = 0; j < a->endpoints[i]->n_lb_endpoints; j++) {
			if (!has_address(a->endpoints[i]->lb_endpoints[j], k->target))
				continue;
			*entry = *a->endpoints[i];
			*host = a->endpoints[i]->lb_endpoints[j];
			entry->lb_endpoints = host;
			entry->n_lb_endpoints = 1;
			entry->load_balancing_weight = NULL;
			return true;
		}
	}
	return false;
}

static int from_message(const struct weft_resource *now, const assignment *a,
			struct weft_resource **ret)
{
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;
	uint8_t *bytes = malloc(protobuf_c_message_get_packed_size(&a->base) + 1);
	int r;

	if (!bytes)
		return -ENOMEM;
	r = weft_resource_from_wire(WEFT_XDS_ENDPOINT, bytes,
				    protobuf_c_message_pack(&a->base, bytes), now->version,
				    now->updated_ms, &diag, ret);
	free(bytes);
	return r;
}

/* The assignment with what is kept, behind its own hosts as in Envoy. */
static int with_kept(const struct spec *s, const struct weft_resource *now,
		     struct weft_resource **ret)
{
	assignment a = *(const assignment *)(const void *)now->msg;
	locality *entry = calloc(s->n_kept, sizeof(*entry));
	lb_endpoint **host = calloc(s->n_kept, sizeof(*host));
	locality **all = calloc(a.n_endpoints + s->n_kept, sizeof(*all));
	int r = -ENOMEM;

	if (entry && host && all) {
		if (a.n_endpoints)
			memcpy(all, a.endpoints, a.n_endpoints * sizeof(*all));
		a.endpoints = all;
		for (size_t i = 0; i < s->n_kept; i++) {
			if (entry_fill(&s->kept[i], &entry[i], &host[i]))
				all[a.n_endpoints++] = &entry[i];
		}
		r = from_message(now, &a, ret);
	}
	free(entry);
	free(host);
	free(all);
	return r;
}

static int put(const struct weft_snapshot *was, struct weft_resource *res,
	       struct weft_snapshot **to)
{
	int r = *to ? 0 : weft_snapshot_clone(was, to);

	return r < 0 ? r : weft_snapshot_put(*to, res);
}

int weft_health_keep(const struct weft_health *h, uint32_t view,
		     const struct weft_snapshot *in_force, const struct weft_snapshot *resolved,
		     struct weft_snapshot **ret_in_force, struct weft_snapshot **ret_resolved)
{
	struct spec *s, *next;
	int r = 0;
	size_t i;

	*ret_in_force = *ret_resolved = NULL;
	SPECS_EACH(h, i, s, next)
	{
		struct weft_resource *now, *res = NULL;
		bool eds = ((const cluster *)(const void *)s->res->msg)->eds_cluster_config;
		uint64_t hash;

		if (r < 0 || s->view != view || !s->n_kept ||
		    !spec_assignment(s, in_force, resolved, &hash, &now) || !now)
			continue;
		r = with_kept(s, now, &res);
		if (r == 0)
			r = eds ? put(in_force, res, ret_in_force) : put(resolved, res, ret_resolved);
		weft_resource_unref(res);
	}
	if (r < 0) {
		weft_snapshot_free(*ret_in_force);
		weft_snapshot_free(*ret_resolved);
		*ret_in_force = *ret_resolved = NULL;
	}
	return r < 0 ? r : 0;
}
