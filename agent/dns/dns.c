// SPDX-License-Identifier: Apache-2.0
#include "agent/dns/dns.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "agent/cleanup.h"
#include "agent/compile/compile.h"
#include "agent/dns/assignment.h"
#include "agent/dns/names.h"
#include "agent/log.h"
#include "envoy/config/cluster/v3/cluster.pb-c.h"

typedef Envoy__Config__Cluster__V3__Cluster cluster;
typedef Envoy__Config__Endpoint__V3__ClusterLoadAssignment assignment;

/* ---- assignments ---- */

static int resolved_put(struct names *c)
{
	const assignment *a = ((const cluster *)(const void *)c->res->msg)->load_assignment;
	struct weft_addresses *hosts = calloc(c->n + 1, sizeof(*hosts));
	_auto_free_ char *name = weft_resolved_name(c->res);
	struct weft_resource *res = NULL;
	bool answered = false;
	int r = hosts && name ? 0 : -ENOMEM;

	for (size_t i = 0; r == 0 && i < c->n; i++) {
		hosts[i] = (struct weft_addresses){c->name[i].addr, c->name[i].n};
		answered |= c->name[i].answered;
	}
	if (r == 0 && answered)
		r = weft_assignment_resolve(a, hosts, c->conf.logical, name, &res);
	if (r == 0 && res)
		r = weft_snapshot_put(c->dns->resolved, res);
	weft_resource_unref(res);
	free(hosts);
	c->changed = r < 0;
	return r;
}

/* One that fails for want of memory is tried again with the next change. */
static void resolved_renew(struct weft_dns *d)
{
	for (size_t i = 0; i < d->n; i++) {
		if (d->v[i]->changed && resolved_put(d->v[i]) < 0)
			WEFT_LOG(WEFT_LOG_ERROR, "addresses of a cluster stay as they were",
				 WEFT_KV_S("cluster", d->v[i]->res->name),
				 WEFT_KV_S("reason", strerror(ENOMEM)));
	}
}

static void on_gathered(void *ctx, uint32_t events)
{
	struct weft_dns *d = ctx;

	(void)events;
	weft_timer_ack(d->gather_fd);
	d->gathering = false;
	resolved_renew(d);
	d->changed(d->ctx);
}

const struct weft_snapshot *weft_dns_resolved(const struct weft_dns *d)
{
	return d->resolved;
}

/* ---- clusters ---- */

static int compare(const struct weft_resource *a, const struct weft_resource *b)
{
	int r = strcmp(a->name, b->name);

	return r ? r : (a->hash > b->hash) - (a->hash < b->hash);
}

/* Where the resource is or would be. */
static size_t place_of(const struct weft_dns *d, const struct weft_resource *res)
{
	size_t lo = 0, hi = d->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (compare(d->v[mid]->res, res) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static struct names *names_find(const struct weft_dns *d, const struct weft_resource *res)
{
	size_t i = place_of(d, res);

	return i < d->n && compare(d->v[i]->res, res) == 0 ? d->v[i] : NULL;
}

static int channel_get(struct weft_dns *d, const struct weft_dns_servers *conf,
		       struct channel **ret)
{
	struct channel *c;
	int r;

	for (c = d->channels; c; c = c->next) {
		if (weft_channel_fits(c->c, conf))
			break;
	}
	if (!c) {
		c = calloc(1, sizeof(*c));
		r = c ? weft_channel_new(d->loop, conf, &c->c) : -ENOMEM;
		if (r < 0) {
			free(c);
			return r == -EINVAL ? -EIO : r;
		}
		c->next = d->channels;
		d->channels = c;
	}
	c->users++;
	*ret = c;
	return 0;
}

static void channel_put(struct weft_dns *d, struct channel *c)
{
	struct channel **at = &d->channels;

	if (!c || --c->users)
		return;
	while (*at != c)
		at = &(*at)->next;
	*at = c->next;
	weft_channel_free(c->c);
	free(c);
}

static void names_free(struct names *c)
{
	for (size_t i = 0; i < c->n; i++) {
		weft_lookup_cancel(c->name[i].lookup);
		free(c->name[i].addr);
		free(c->name[i].error);
	}
	channel_put(c->dns, c->channel);
	weft_dns_conf_clear(&c->conf);
	weft_resource_unref(c->res);
	free(c->name);
	free(c);
}

/* false: one is no socket_address, which the compiler refuses. */
static bool names_list(struct names *c, const assignment *a)
{
	size_t n = 0;

	for (size_t i = 0; a && i < a->n_endpoints; i++)
		n += a->endpoints[i]->n_lb_endpoints;
	c->name = calloc(n + 1, sizeof(*c->name));
	for (size_t i = 0; c->name && i < n; i++)
		c->name[i].of = c;
	for (size_t i = 0; c->name && a && i < a->n_endpoints; i++) {
		for (size_t j = 0; j < a->endpoints[i]->n_lb_endpoints; j++) {
			const Envoy__Config__Endpoint__V3__LbEndpoint *e =
				a->endpoints[i]->lb_endpoints[j];

			if (e->host_identifier_case !=
				    ENVOY__CONFIG__ENDPOINT__V3__LB_ENDPOINT__HOST_IDENTIFIER_ENDPOINT ||
			    !e->endpoint->address ||
			    e->endpoint->address->address_case !=
				    ENVOY__CONFIG__CORE__V3__ADDRESS__ADDRESS_SOCKET_ADDRESS)
				return false;
			c->name[c->n++].text = e->endpoint->address->socket_address->address;
		}
	}
	return c->name;
}

/* Counters are of the cluster's name, as in Envoy. i: a neighbour in the list. */
static void counters_inherit(struct names *c, size_t i)
{
	const struct names *old = i < c->dns->n ? c->dns->v[i] : NULL;

	if (!old || strcmp(old->res->name, c->res->name) != 0)
		return;
	c->attempts = old->attempts;
	c->successes = old->successes;
	c->failures = old->failures;
	c->no_rebuilds = old->no_rebuilds;
}

static int names_add(struct weft_dns *d, struct weft_resource *res)
{
	const cluster *k = (const void *)res->msg;
	struct weft_build b = {.resource = res->name};
	struct names *c = calloc(1, sizeof(*c)), **v = reallocarray(d->v, d->n + 1, sizeof(*v));
	size_t at;
	int r = 0;

	if (v)
		d->v = v;
	if (!c || !v) {
		free(c);
		return -ENOMEM;
	}
	c->dns = d;
	c->res = weft_resource_ref(res);
	weft_build_dns(&b, k, &c->conf);
	if (b.err || !names_list(c, k->load_assignment))
		r = -EINVAL;
	if (r == 0)
		r = channel_get(d, &c->conf.servers, &c->channel);
	if (r < 0) {
		names_free(c);
		return r;
	}
	at = place_of(d, res);
	counters_inherit(c, at);
	if (at > 0)
		counters_inherit(c, at - 1);
	c->wanted = true;
	memmove(&d->v[at + 1], &d->v[at], (d->n - at) * sizeof(*d->v));
	d->v[at] = c;
	d->n++;
	for (size_t i = 0; i < c->n; i++)
		names_start(&c->name[i]);
	return 0;
}

static int want_each(struct weft_dns *d, const struct weft_snapshot *s)
{
	size_t n = s ? weft_snapshot_count(s, WEFT_XDS_CLUSTER) : 0;
	int err = 0;

	for (size_t i = 0; i < n; i++) {
		struct weft_resource *res = weft_snapshot_at(s, WEFT_XDS_CLUSTER, i);
		struct names *c;
		int r = 0;

		if (!weft_dns_is((const void *)res->msg))
			continue;
		c = names_find(d, res);
		if (c)
			c->wanted = true;
		else
			r = names_add(d, res);
		if (r < 0 && r != -EINVAL) {
			err = r;
			WEFT_LOG(WEFT_LOG_ERROR, "a cluster's names are not resolved",
				 WEFT_KV_S("cluster", res->name),
				 WEFT_KV_S("reason", strerror(-r)));
		}
	}
	return err;
}

static void unwanted_drop(struct weft_dns *d)
{
	size_t kept = 0;

	for (size_t i = 0; i < d->n; i++) {
		_auto_free_ char *name = NULL;

		if (d->v[i]->wanted) {
			d->v[kept++] = d->v[i];
			continue;
		}
		name = weft_resolved_name(d->v[i]->res);
		if (name)
			weft_snapshot_del(d->resolved, WEFT_XDS_ENDPOINT, name);
		names_free(d->v[i]);
	}
	d->n = kept;
}

int weft_dns_want(struct weft_dns *d, const struct weft_snapshot *const *list, size_t n)
{
	int r = 0;

	d->wanting = true;
	for (size_t i = 0; i < d->n; i++)
		d->v[i]->wanted = false;
	for (size_t i = 0; i < n; i++) {
		int e = want_each(d, list[i]);

		r = r < 0 ? r : e;
	}
	unwanted_drop(d);
	resolved_renew(d);
	d->wanting = false;
	return r;
}

bool weft_dns_is_warm(const struct weft_dns *d, const struct weft_resource *res)
{
	const struct names *c = names_find(d, res);

	return !c || names_warm(c);
}

bool weft_dns_settled(const struct weft_dns *d)
{
	for (size_t i = 0; i < d->n; i++) {
		if (!names_warm(d->v[i]))
			return false;
	}
	return !d->gathering;
}

/* ---- the whole ---- */

static void on_due(void *ctx, uint32_t events)
{
	struct weft_dns *d = ctx;

	(void)events;
	weft_timer_ack(d->due_fd);
	names_start_due(d);
}

int weft_dns_new(struct weft_loop *loop, void (*changed)(void *ctx), void *ctx,
		 struct weft_dns **ret)
{
	struct weft_dns *d = calloc(1, sizeof(*d));
	int r;

	if (!d)
		return -ENOMEM;
	*d = (struct weft_dns){
		.loop = loop, .changed = changed, .ctx = ctx, .due_fd = -1, .gather_fd = -1,
		.due_ms = INT64_MAX};
	r = weft_snapshot_new(&d->resolved);
	if (r == 0)
		r = weft_timer_new(&d->due_fd);
	if (r == 0)
		r = weft_timer_new(&d->gather_fd);
	if (r == 0)
		r = weft_loop_add(loop, d->due_fd, EPOLLIN, on_due, d);
	if (r == 0)
		r = weft_loop_add(loop, d->gather_fd, EPOLLIN, on_gathered, d);
	if (r < 0) {
		weft_dns_free(d);
		return r;
	}
	*ret = d;
	return 0;
}

void weft_dns_free(struct weft_dns *d)
{
	if (!d)
		return;
	for (size_t i = 0; i < d->n; i++)
		names_free(d->v[i]);
	free(d->v);
	weft_loop_remove(d->loop, d->due_fd);
	weft_loop_remove(d->loop, d->gather_fd);
	if (d->due_fd >= 0)
		close(d->due_fd);
	if (d->gather_fd >= 0)
		close(d->gather_fd);
	weft_snapshot_free(d->resolved);
	free(d);
}
