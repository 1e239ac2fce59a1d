// SPDX-License-Identifier: Apache-2.0
/* Clusters that are checked, and their hosts as assignments have them. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/cleanup.h"
#include "agent/compile/dns.h"
#include "agent/compile/parts.h"
#include "agent/health/internal.h"

/* Cluster.CommonLbConfig.update_merge_window of Envoy 1.40. */
#define MERGE_MS 1000u

typedef Envoy__Config__Cluster__V3__Cluster cluster;
typedef Envoy__Config__Endpoint__V3__ClusterLoadAssignment assignment;
typedef Envoy__Config__Endpoint__V3__LbEndpoint lb_endpoint;
typedef Envoy__Config__Core__V3__SocketAddress socket_address;

/* ---- hosts ---- */

int target_compare(const struct target *a, const struct target *b)
{
	int r = strcmp(a->address, b->address);

	return r ? r : (a->port > b->port) - (a->port < b->port);
}

static int by_address(const void *a, const void *b)
{
	return target_compare(a, b);
}

bool target_same_check(const struct target *a, const struct target *b)
{
	return !memcmp(&a->to, &b->to, sizeof(a->to)) && a->disabled == b->disabled &&
	       !strcmp(a->host, b->host);
}

void target_clear(struct target *t)
{
	free(t->address);
	free(t->host);
	*t = (struct target){0};
}

int target_copy(const struct target *t, struct target *ret)
{
	*ret = *t;
	ret->address = strdup(t->address);
	ret->host = strdup(t->host);
	if (ret->address && ret->host)
		return 0;
	target_clear(ret);
	return -ENOMEM;
}

void targets_free(struct target *t, size_t n)
{
	for (size_t i = 0; i < n; i++)
		target_clear(&t[i]);
	free(t);
}

static const socket_address *address_of(const lb_endpoint *e)
{
	const Envoy__Config__Core__V3__Address *a =
		e->host_identifier_case ==
				ENVOY__CONFIG__ENDPOINT__V3__LB_ENDPOINT__HOST_IDENTIFIER_ENDPOINT
			? e->endpoint->address
			: NULL;

	return a && a->address_case == ENVOY__CONFIG__CORE__V3__ADDRESS__ADDRESS_SOCKET_ADDRESS
		       ? a->socket_address
		       : NULL;
}

static bool is_unhealthy(const lb_endpoint *e)
{
	return e->health_status == ENVOY__CONFIG__CORE__V3__HEALTH_STATUS__UNHEALTHY ||
	       e->health_status == ENVOY__CONFIG__CORE__V3__HEALTH_STATUS__TIMEOUT;
}

/*
 * Where the check goes: to the address of its own, or to the host's, at the port of its own. name: what its cell is known
 * by in place of its address, NULL: that. 1: it is no host.
 */
static int target_fill(const lb_endpoint *e, const char *name, struct target *ret)
{
	const Envoy__Config__Endpoint__V3__Endpoint__HealthCheckConfig *h =
		e->endpoint ? e->endpoint->health_check_config : NULL;
	const socket_address *at = address_of(e), *to = at;

	*ret = (struct target){0};
	if (!at)
		return 1;
	if (h && h->address && h->address->address_case ==
				       ENVOY__CONFIG__CORE__V3__ADDRESS__ADDRESS_SOCKET_ADDRESS)
		to = h->address->socket_address;
	if (!weft_ip_parse(to->address, h && h->port_value ? h->port_value : to->port_value,
			   &ret->to))
		return 1;
	ret->port = at->port_value;
	ret->disabled = h && h->disable_active_health_check;
	ret->unhealthy = is_unhealthy(e);
	ret->address = strdup(name ? name : at->address);
	ret->host = strdup(h ? h->hostname : "");
	if (ret->address && ret->host)
		return 0;
	target_clear(ret);
	return -ENOMEM;
}

/* Of one address the first counts. */
static size_t targets_unique(struct target *t, size_t n)
{
	size_t kept = 0;

	for (size_t i = 0; i < n; i++) {
		if (kept && target_compare(&t[kept - 1], &t[i]) == 0)
			target_clear(&t[i]);
		else
			t[kept++] = t[i];
	}
	return kept;
}

static int targets_take(const assignment *a, const char *name, struct target **ret, size_t *ret_n)
{
	struct target *t;
	size_t n = 0, max = 0;
	int r = 0;

	for (size_t i = 0; i < a->n_endpoints; i++)
		max += a->endpoints[i]->n_lb_endpoints;
	t = calloc(max + 1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	for (size_t i = 0; r >= 0 && i < a->n_endpoints; i++) {
		for (size_t j = 0; r >= 0 && j < a->endpoints[i]->n_lb_endpoints; j++) {
			r = target_fill(a->endpoints[i]->lb_endpoints[j], name, &t[n]);
			n += r == 0;
		}
	}
	if (r < 0) {
		targets_free(t, n);
		return r;
	}
	qsort(t, n, sizeof(*t), by_address); /* of equal ones any may be first: one address, one check */
	*ret = t;
	*ret_n = targets_unique(t, n);
	return 0;
}

static const assignment no_hosts = ENVOY__CONFIG__ENDPOINT__V3__CLUSTER_LOAD_ASSIGNMENT__INIT;

const assignment *spec_assignment(const struct spec *s, const struct weft_snapshot *from,
				  const struct weft_snapshot *resolved, uint64_t *ret_hash,
				  struct weft_resource **ret_res)
{
	const cluster *c = (const void *)s->res->msg;
	struct weft_resource *found = NULL;
	_auto_free_ char *name = NULL;

	*ret_res = NULL;
	if (c->eds_cluster_config) {
		found = weft_snapshot_get(from, WEFT_XDS_ENDPOINT,
					  *c->eds_cluster_config->service_name
						  ? c->eds_cluster_config->service_name
						  : c->name);
	} else if (weft_dns_is(c)) {
		name = weft_resolved_name(s->res);
		found = name && resolved ? weft_snapshot_get(resolved, WEFT_XDS_ENDPOINT, name)
					 : NULL;
	} else {
		/* without one it has no hosts, and waits for none (Envoy) */
		*ret_hash = s->res->hash;
		return c->load_assignment ? c->load_assignment : &no_hosts;
	}
	*ret_res = found;
	*ret_hash = found ? found->hash : 0;
	return found ? (const void *)found->msg : NULL;
}

/* What a host of LOGICAL_DNS is known by. NULL: hosts are known by their addresses. */
static char *logical_name(const cluster *c)
{
	struct weft_build quiet = {0};
	struct weft_dns_conf conf;
	const socket_address *at;
	bool logical;

	if (!weft_dns_is(c))
		return NULL;
	weft_build_dns(&quiet, c, &conf);
	logical = conf.logical && !quiet.err;
	weft_dns_conf_clear(&conf);
	at = logical ? address_of(c->load_assignment->endpoints[0]->lb_endpoints[0]) : NULL;
	return at ? at->address : NULL;
}

int spec_hosts(const struct spec *s, const assignment *a, struct target **ret, size_t *ret_n)
{
	return targets_take(a, logical_name((const void *)s->res->msg), ret, ret_n);
}

int spec_targets(struct spec *s, const struct weft_snapshot *from,
		 const struct weft_snapshot *resolved, bool *ret_changed)
{
	uint64_t hash = 0;
	struct weft_resource *res;
	const assignment *a = spec_assignment(s, from, resolved, &hash, &res);
	struct target *t;
	size_t n;
	int r;

	*ret_changed = false;
	if (!a || (s->listed && s->hash == hash))
		return 0;
	r = spec_hosts(s, a, &t, &n);
	if (r < 0)
		return r;
	if (res)
		weft_resource_ref(res);
	weft_resource_unref(s->from);
	s->from = res;
	targets_free(s->target, s->n);
	s->target = t;
	s->n = n;
	s->hash = hash;
	s->listed = true;
	*ret_changed = true;
	return 0;
}

/* ---- clusters ---- */

struct spec *spec_find(const struct weft_health *h, uint32_t view, const struct weft_resource *res)
{
	struct spec *s;

	LIST_FOREACH(s, &h->specs[res->hash % HC_BUCKETS], link)
	{
		if (s->view == view && s->res->hash == res->hash &&
		    !strcmp(s->res->name, res->name))
			return s;
	}
	return NULL;
}

struct spec *spec_new(struct weft_health *h, uint32_t view, struct weft_resource *res)
{
	const cluster *c = (const void *)res->msg;
	struct weft_build b = {.resource = res->name};
	struct spec *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	weft_build_health(&b, c, &s->conf);
	s->merge_ms = weft_build_ms(
		&b, c->common_lb_config ? c->common_lb_config->update_merge_window : NULL, MERGE_MS,
		"");
	if (b.err) {
		weft_health_conf_clear(&s->conf);
		free(s);
		return NULL;
	}
	s->view = view;
	s->res = weft_resource_ref(res);
	LIST_INIT(&s->checks);
	LIST_INSERT_HEAD(&h->specs[res->hash % HC_BUCKETS], s, link);
	return s;
}

void spec_free(struct spec *s)
{
	LIST_REMOVE(s, link);
	weft_health_conf_clear(&s->conf);
	weft_resource_unref(s->res);
	weft_resource_unref(s->from);
	targets_free(s->target, s->n);
	free(s->kept);
	free(s);
}
