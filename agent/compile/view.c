// SPDX-License-Identifier: Apache-2.0
/* One snapshot to one view: which resources are compiled anew, and the tables that join them. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "agent/compile/cache.h"
#include "agent/compile/dns.h"
#include "agent/compile/parts.h"
#include "agent/compile/view.h"
#include "bpf/engine/engine.h"

typedef Envoy__Config__Listener__V3__Listener listener;
typedef Envoy__Config__Cluster__V3__Cluster cluster;

/* Names of resources on their way to a table. */
struct names {
	struct weft_tab_key *key;
	size_t n;
};

/* A cluster of the view, for pods that have hosts of it ejected. */
struct member {
	uint32_t cell, id;
	const struct weft_resource *res;
};

/* One view while it is put together. */
struct view {
	struct weft_compiler *c;
	const struct weft_snapshot *s;
	const struct weft_snapshot *resolved; /* as weft_view_input */
	struct weft_diag *diag;
	struct weft_build b;		      /* for the tables */
	struct weft_img_cluster_ref *cluster; /* by id */
	uint32_t *route_config;		      /* by id */
	size_t cap_cluster, cap_rc;
	struct weft_addr_key *exact, *wild;
	const char **exact_name, **wild_name;
	size_t n_exact, n_wild;
	struct names name, cluster_name;
	uint32_t fallback;
	bool *rds_used, *eds_used; /* by index in the snapshot */
	struct member *member;	   /* in the snapshot's order */
	size_t n_member;
	const struct weft_ejected *ejected; /* of the cluster at hand, for one pod */
	int err;
};

/* ---- resources, compiled or taken over ---- */

static int err_first(int old, int new)
{
	return old ? old : new;
}

static void build_init(struct view *v, struct weft_build *b, const char *type, const char *name,
		       uint64_t hash)
{
	*b = (struct weft_build){
		.store = v->c->store,
		.clusters = v->c->clusters,
		.route_configs = v->c->route_configs,
		.states = v->c->states,
		.diag = v->diag,
		.hash = hash,
		.names_stand = !v->resolved,
		.upstream = !strcmp(type, weft_xds_type_name(WEFT_XDS_CLUSTER)),
		.ejected = v->ejected ? v->ejected->host : NULL,
		.n_ejected = v->ejected ? v->ejected->n : 0,
	};
	if (asprintf(&b->resource, "%s/%s", type, name) < 0) {
		b->resource = NULL;
		b->err = -ENOMEM;
	}
}

/* What to compile: called only when it is not cached. */
struct job {
	const struct weft_resource *res;
	const cluster *cluster; /* of endpoints */
	const Envoy__Config__Endpoint__V3__ClusterLoadAssignment *assignment;
	const char *own_lines; /* of route configurations */
	const char *filter_names;
	uint32_t hcm_flags, trusted_hops;
	uint32_t (*run)(struct weft_build *b, const struct job *job);
};

static uint32_t run_cluster(struct weft_build *b, const struct job *j)
{
	const cluster *c = (const void *)j->res->msg;
	cluster *plain = weft_cluster_unfold(b, c);
	uint32_t off = weft_build_cluster(b, plain ? plain : c);

	if (plain)
		protobuf_c_message_free_unpacked(&plain->base, NULL);
	return off;
}

static uint32_t run_endpoints(struct weft_build *b, const struct job *j)
{
	cluster *plain = weft_cluster_unfold(b, j->cluster);
	uint32_t off = weft_build_endpoints(b, plain ? plain : j->cluster, j->assignment);

	if (plain)
		protobuf_c_message_free_unpacked(&plain->base, NULL);
	return off;
}

static uint32_t run_listener(struct weft_build *b, const struct job *j)
{
	return weft_build_listener(b, (const void *)j->res->msg);
}

static uint32_t run_routes(struct weft_build *b, const struct job *j)
{
	b->own_lines = j->own_lines;
	b->filter_names = j->filter_names;
	b->hcm_flags = j->hcm_flags;
	b->trusted_hops = j->trusted_hops;
	return weft_build_route_config(b, (const void *)j->res->msg, "");
}

static struct weft_compiled *compile(struct view *v, const char *key, const struct job *job,
				     const char *name, uint64_t hash)
{
	struct weft_diag notes = WEFT_DIAG_INIT;
	struct weft_compiled *e = NULL;
	struct weft_build b;
	uint32_t off;

	build_init(v, &b, weft_xds_type_name(job->res->type), name, hash);
	b.notes = &notes;
	off = b.err ? 0 : job->run(&b, job);
	if (!b.err) {
		e = weft_cache_add(v->c->cache, key, &b, off);
		if (!e)
			b.err = -ENOMEM;
	}
	if (e) {
		e->made = v->c->serial;
		e->notes = notes;
	} else {
		weft_diag_clear(&notes);
	}
	v->err = err_first(v->err, b.err);
	weft_build_clear(&b);
	return e;
}

/* In the order in which resources are looked at, whether compiled now or before. */
static void notes_append(struct weft_compiler *c, const struct weft_compiled *e)
{
	for (size_t i = 0; i < e->notes.n; i++) {
		const struct weft_diag_entry *n = &e->notes.entries[i];

		weft_diag_add(&c->next_notes, 0, n->resource, n->field, "%s", n->reason);
	}
}

/* The compiled form of a resource; NULL after an error (then v->err is set). */
static struct weft_compiled *resolve(struct view *v, const char *kind, const char *variant,
				     const char *name, uint64_t hash, const struct job *job)
{
	struct weft_compiled *e;
	char *key;

	if (v->err == -ENOSPC || v->err == -ENOMEM)
		return NULL; /* the next one would say the same */
	if (asprintf(&key, "%s %016llx %s %s", kind, (unsigned long long)hash, variant, name) < 0) {
		v->err = err_first(v->err, -ENOMEM);
		return NULL;
	}
	e = weft_cache_find(v->c->cache, key);
	if (!e)
		e = compile(v, key, job, name, hash);
	else if (e->used != v->c->serial)
		for (size_t i = 0; i < e->objects.n; i++)
			weft_store_touch(v->c->store, e->objects.v[i]);
	if (e && e->used != v->c->serial) {
		if (!v->ejected) /* else they were told */
			notes_append(v->c, e);
		e->used = v->c->serial;
	}
	free(key);
	return e;
}

/* ---- clusters and endpoints ---- */

/* Room for id in a table that is indexed by ids. */
static bool table_room(struct view *v, void **table, size_t *cap, size_t each, uint32_t id)
{
	size_t want = *cap ? *cap : 64;
	void *p;

	while (want <= id)
		want *= 2;
	if (want == *cap)
		return true;
	p = reallocarray(*table, want, each);
	if (!p) {
		v->err = err_first(v->err, -ENOMEM);
		return false;
	}
	memset((char *)p + *cap * each, 0, (want - *cap) * each);
	*table = p;
	*cap = want;
	return true;
}

static uint32_t run_endpoints_alone(struct weft_build *b, const struct job *j)
{
	cluster any = ENVOY__CONFIG__CLUSTER__V3__CLUSTER__INIT;

	return weft_build_endpoints(b, &any, (const void *)j->res->msg);
}

/* Also those that no cluster uses yet: their errors are told now. */
static void unused_endpoints_check(struct view *v)
{
	size_t n = weft_snapshot_count(v->s, WEFT_XDS_ENDPOINT);

	for (size_t i = 0; i < n; i++) {
		const struct weft_resource *res = weft_snapshot_at(v->s, WEFT_XDS_ENDPOINT, i);
		struct job job = {.res = res, .run = run_endpoints_alone};

		if (!v->eds_used[i])
			resolve(v, "endpoints", "", res->name, res->hash, &job);
	}
}

/* Addresses in place of names; none as long as there is no answer. */
static void resolved_take(struct view *v, const struct weft_resource *res, struct job *job,
			  uint64_t *hash)
{
	char *name = weft_resolved_name(res);
	const struct weft_resource *found =
		name ? weft_snapshot_get(v->resolved, WEFT_XDS_ENDPOINT, name) : NULL;

	if (!name)
		v->err = err_first(v->err, -ENOMEM);
	free(name);
	if (!found)
		return;
	job->assignment = (const void *)found->msg;
	*hash ^= found->hash * 0x9E3779B97F4A7C15ull;
}

/* What tells endpoints with these hosts ejected from others of the cluster. NULL without memory. */
static char *variant_of(const char *cluster_name, const struct weft_ejected *ejected)
{
	size_t len = strlen(cluster_name), n = ejected ? ejected->n : 0;
	char *text = malloc(len + n * 9 + 1);

	if (text)
		memcpy(text, cluster_name, len + 1);
	for (size_t i = 0; text && i < n; i++)
		snprintf(text + len + i * 9, 10, "-%08x", ejected->host[i]);
	return text;
}

static uint32_t endpoints_of(struct view *v, const struct weft_resource *res)
{
	const cluster *c = (const void *)res->msg;
	struct job job = {.res = res, .cluster = c, .run = run_endpoints};
	struct weft_compiled *e;
	const char *name = c->name;
	uint64_t hash = res->hash;
	char *variant;

	if (c->eds_cluster_config) {
		if (*c->eds_cluster_config->service_name)
			name = c->eds_cluster_config->service_name;
		job.res = weft_snapshot_get(v->s, WEFT_XDS_ENDPOINT, name);
		if (!job.res)
			return 0;
		v->eds_used[weft_snapshot_index(v->s, WEFT_XDS_ENDPOINT, name)] = true;
		job.assignment = (const void *)job.res->msg;
		hash ^= job.res->hash * 0x9E3779B97F4A7C15ull;
	} else {
		job.assignment = c->load_assignment;
		if (!job.assignment)
			return 0;
		if (weft_dns_is(c) && v->resolved)
			resolved_take(v, res, &job, &hash);
		else if (weft_dns_is(c))
			hash = ~hash; /* names stand: another form of the same */
	}
	variant = variant_of(c->name, v->ejected);
	if (!variant) {
		v->err = err_first(v->err, -ENOMEM);
		return 0;
	}
	e = resolve(v, "endpoints", variant, name, hash, &job);
	free(variant);
	return e ? e->off : 0;
}

static void name_put(struct view *v, struct names *names, enum weft_kind kind, const char *name,
		     uint32_t val)
{
	struct weft_tab_key *keys = reallocarray(names->key, names->n + 1, sizeof(*keys));
	uint32_t len = (uint32_t)strlen(name);

	if (!keys) {
		v->err = err_first(v->err, -ENOMEM);
		return;
	}
	names->key = keys;
	if (!len || len > UINT16_MAX)
		return;
	keys[names->n++] = (struct weft_tab_key){.hash = weft_hash_name(name, len),
						 .kind = kind,
						 .val = val,
						 .str = weft_build_str(&v->b, name)};
}

static uint32_t cluster_cell(const struct view *v, uint32_t off)
{
	return ((const struct weft_img_cluster *)weft_store_at(v->c->store, off))->cell;
}

static void clusters_fill(struct view *v)
{
	size_t n = weft_snapshot_count(v->s, WEFT_XDS_CLUSTER);

	for (size_t i = 0; i < n; i++) {
		const struct weft_resource *res = weft_snapshot_at(v->s, WEFT_XDS_CLUSTER, i);
		struct job job = {.res = res, .run = run_cluster};
		struct weft_compiled *e = resolve(v, "cluster", "", res->name, res->hash, &job);
		uint32_t id;

		if (!e)
			continue;
		if (weft_names_get(v->c->clusters, res->name, 0, &id)) {
			v->err = err_first(v->err, -ENOMEM);
			continue;
		}
		if (!table_room(v, (void **)&v->cluster, &v->cap_cluster, sizeof(*v->cluster), id))
			return;
		v->cluster[id].cluster = e->off;
		v->cluster[id].endpoints = endpoints_of(v, res);
		v->member[v->n_member++] = (struct member){cluster_cell(v, e->off), id, res};
		name_put(v, &v->cluster_name, WEFT_KIND_CLUSTER_NAME, res->name, id + 1);
	}
}

/* ---- route configurations ---- */

/* validate_clusters: every cluster that is named must be there. */
static void clusters_check(struct view *v, const struct weft_resource *res,
			   const struct weft_compiled *l)
{
	for (size_t i = 0; i < l->cluster_refs.n; i++) {
		uint32_t id = l->cluster_refs.v[i];
		char *resource;

		if (id < v->cap_cluster && v->cluster[id].cluster)
			continue;
		if (asprintf(&resource, "%s/%s", weft_xds_type_name(res->type), res->name) < 0)
			resource = NULL;
		v->err = err_first(v->err,
				   weft_diag_add(v->diag, -EINVAL, resource,
						 res->type == WEFT_XDS_ROUTE ? "" : "route_config",
						 "route: unknown cluster '%s'",
						 weft_names_text(v->c->clusters, id)));
		free(resource);
	}
}

static bool bind_told(const struct view *v, const char *resource)
{
	for (size_t i = 0; resource && v->diag && i < v->diag->n; i++) {
		if (!strcmp(v->diag->entries[i].field, "upstream_bind_config") &&
		    !strcmp(v->diag->entries[i].resource, resource))
			return true;
	}
	return false;
}

/*
 * A source address of one's own is not bound here: refused where requests would go out with it. Istio's inbound clusters
 * have one; no outbound listener names them.
 */
static void bind_check(struct view *v, const struct weft_compiled *e)
{
	for (size_t i = 0; i < e->named.n; i++) {
		const char *name = weft_names_text(v->c->clusters, e->named.v[i]);
		const struct weft_resource *res =
			name ? weft_snapshot_get(v->s, WEFT_XDS_CLUSTER, name) : NULL;
		char *resource;

		if (!res || !((const cluster *)(const void *)res->msg)->upstream_bind_config)
			continue;
		if (asprintf(&resource, "Cluster/%s", name) < 0)
			resource = NULL;
		if (!bind_told(v, resource))
			v->err = err_first(v->err,
					   weft_diag_add(v->diag, -EINVAL, resource,
							 "upstream_bind_config",
							 "unsupported in a cluster that is used"));
		free(resource);
	}
}

static void route_config_put(struct view *v, uint32_t id, uint32_t off)
{
	if (table_room(v, (void **)&v->route_config, &v->cap_rc, sizeof(*v->route_config), id))
		v->route_config[id] = off;
}

static void rds_fill(struct view *v, const struct weft_compiled *l)
{
	for (size_t i = 0; i < l->n_rds; i++) {
		const struct weft_rds_ref *r = &l->rds[i];
		const struct weft_resource *res = weft_snapshot_get(v->s, WEFT_XDS_ROUTE, r->name);
		struct job job = {.res = res,
				  .own_lines = r->own_lines,
				  .filter_names = r->filter_names,
				  .hcm_flags = r->hcm_flags,
				  .trusted_hops = r->trusted_hops,
				  .run = run_routes};
		struct weft_compiled *e;
		char *variant;

		if (!res)
			continue; /* an empty table: 404 */
		v->rds_used[weft_snapshot_index(v->s, WEFT_XDS_ROUTE, r->name)] = true;
		if (asprintf(&variant, "%x %u %s%s", r->hcm_flags, r->trusted_hops, r->own_lines,
			     r->filter_names) < 0) {
			v->err = err_first(v->err, -ENOMEM);
			return;
		}
		e = resolve(v, "routes", variant, res->name, res->hash, &job);
		free(variant);
		if (!e)
			continue;
		clusters_check(v, res, e);
		bind_check(v, e);
		route_config_put(v, r->id, e->off);
	}
	for (size_t i = 0; i + 1 < l->inline_rc.n; i += 2)
		route_config_put(v, l->inline_rc.v[i], l->inline_rc.v[i + 1]);
}

/* Also those that no listener uses yet: their errors are told now. */
static void unused_routes_check(struct view *v)
{
	size_t n = weft_snapshot_count(v->s, WEFT_XDS_ROUTE);

	for (size_t i = 0; i < n; i++) {
		const struct weft_resource *res = weft_snapshot_at(v->s, WEFT_XDS_ROUTE, i);
		struct job job = {.res = res, .own_lines = "", .run = run_routes};
		struct weft_compiled *e;

		if (v->rds_used[i])
			continue;
		e = resolve(v, "routes", "", res->name, res->hash, &job);
		if (e)
			clusters_check(v, res, e);
	}
}

/* ---- listeners ---- */

static void fail(struct view *v, const char *listener_name, const char *field, const char *why,
		 const char *what)
{
	char *resource;

	if (asprintf(&resource, "Listener/%s", listener_name) < 0)
		resource = NULL;
	v->err = err_first(v->err, weft_diag_add(v->diag, -EINVAL, resource, field, why, what));
	free(resource);
}

static bool is_any(const struct weft_sockaddr *a)
{
	return !a->addr.w[0] && !a->addr.w[1] && !a->addr.w[3] &&
	       a->addr.w[2] == (a->family == AF_INET ? htonl(0xffff) : 0);
}

/* One address of a listener in its table; two listeners cannot share one. */
static void place_put(struct view *v, const struct weft_resource *res,
		      const struct weft_sockaddr *addr, uint32_t off, const char *field)
{
	bool any = is_any(addr);
	struct weft_addr_key **list = any ? &v->wild : &v->exact;
	const char ***names = any ? &v->wild_name : &v->exact_name;
	size_t *n = any ? &v->n_wild : &v->n_exact;
	struct weft_addr_key *keys;
	const char **more;

	for (size_t i = 0; i < *n; i++) {
		if (!memcmp(&(*list)[i].addr, addr, sizeof(*addr))) {
			fail(v, res->name, field, "address is already used by listener %s",
			     (*names)[i]);
			return;
		}
	}
	keys = reallocarray(*list, *n + 1, sizeof(*keys));
	if (keys)
		*list = keys;
	more = reallocarray(*names, *n + 1, sizeof(*more));
	if (more)
		*names = more;
	if (!keys || !more) {
		v->err = err_first(v->err, -ENOMEM);
		return;
	}
	keys[*n] = (struct weft_addr_key){.addr = *addr, .val = off};
	more[(*n)++] = res->name;
}

static void address_put(struct view *v, const struct weft_resource *res,
			const Envoy__Config__Core__V3__Address *a, uint32_t off, const char *field)
{
	const Envoy__Config__Core__V3__SocketAddress *s;
	struct weft_sockaddr addr;

	if (!a || a->address_case != ENVOY__CONFIG__CORE__V3__ADDRESS__ADDRESS_SOCKET_ADDRESS ||
	    a->socket_address->protocol != ENVOY__CONFIG__CORE__V3__SOCKET_ADDRESS__PROTOCOL__TCP) {
		fail(v, res->name, field, "unsupported: only TCP socket_address%s", "");
		return;
	}
	s = a->socket_address;
	if (!weft_ip_parse(s->address, s->port_value, &addr)) {
		fail(v, res->name, field, "\"%s\" is not an IP address", s->address);
		return;
	}
	if (!addr.port) {
		fail(v, res->name, field, "unsupported: port 0%s", "");
		return;
	}
	place_put(v, res, &addr, off, field);
	if (s->ipv4_compat && is_any(&addr) && weft_ip_parse("0.0.0.0", s->port_value, &addr))
		place_put(v, res, &addr, off, field);
}

static void inbound_note(struct view *v, const struct weft_resource *res)
{
	char *resource;

	if (asprintf(&resource, "Listener/%s", res->name) < 0)
		return;
	weft_diag_add(&v->c->next_notes, 0, resource, "traffic_direction",
		      "kept for the server side, not used for outbound connections");
	free(resource);
}

static void listeners_fill(struct view *v)
{
	size_t n = weft_snapshot_count(v->s, WEFT_XDS_LISTENER);

	for (size_t i = 0; i < n; i++) {
		const struct weft_resource *res = weft_snapshot_at(v->s, WEFT_XDS_LISTENER, i);
		const listener *l = (const void *)res->msg;
		struct job job = {.res = res, .run = run_listener};
		struct weft_compiled *e;
		char field[64];

		if (weft_listener_inbound(l)) {
			inbound_note(v, res);
			continue;
		}
		e = resolve(v, "listener", "", res->name, res->hash, &job);
		if (!e)
			continue;
		address_put(v, res, l->address, e->off, "address");
		for (size_t j = 0; j < l->n_additional_addresses; j++) {
			snprintf(field, sizeof(field), "additional_addresses[%zu].address", j);
			address_put(v, res, l->additional_addresses[j]->address, e->off, field);
		}
		if (weft_bool(l->use_original_dst, false)) {
			if (v->fallback)
				fail(v, res->name, "use_original_dst",
				     "unsupported: a second listener with it%s", "");
			v->fallback = e->off;
		}
		name_put(v, &v->name, WEFT_KIND_LISTENER_NAME, res->name, e->off);
		rds_fill(v, e);
		clusters_check(v, res, e);
		bind_check(v, e);
	}
}

/* ---- the view and the root ---- */

static void view_clear(struct view *v)
{
	weft_build_clear(&v->b);
	free(v->cluster);
	free(v->route_config);
	free(v->exact);
	free(v->wild);
	free(v->exact_name);
	free(v->wild_name);
	free(v->name.key);
	free(v->cluster_name.key);
	free(v->rds_used);
	free(v->eds_used);
	free(v->member);
}

/* weft_img_view, 0 after an error. */
static uint32_t view_put(struct view *v)
{
	struct weft_img_view out = {.fallback = v->fallback};

	out.listener = weft_build_addr_tab(&v->b, v->exact, v->n_exact);
	out.wildcard = weft_build_addr_tab(&v->b, v->wild, v->n_wild);
	out.names = weft_build_tab(&v->b, v->name.key, v->name.n);
	out.n_route_config = (uint32_t)v->cap_rc;
	if (v->cap_rc)
		out.route_config = weft_build_put(&v->b, v->route_config,
						  v->cap_rc * sizeof(*v->route_config));
	out.cluster_names = weft_build_tab(&v->b, v->cluster_name.key, v->cluster_name.n);
	out.n_cluster = (uint32_t)v->cap_cluster;
	if (v->cap_cluster)
		out.cluster =
			weft_build_put(&v->b, v->cluster, v->cap_cluster * sizeof(*v->cluster));
	return weft_build_put(&v->b, &out, sizeof(out));
}

/* ---- pods for which hosts are ejected ---- */

/* The cluster table with other endpoints. */
static void ejected_apply(struct view *v, const struct weft_ejected *ejected,
			  struct weft_img_cluster_ref *table)
{
	for (size_t i = 0; i < v->n_member; i++) {
		const struct member *m = &v->member[i];

		if (m->cell != ejected->cluster || !ejected->n)
			continue;
		v->ejected = ejected;
		table[m->id].endpoints = endpoints_of(v, m->res);
		v->ejected = NULL;
		return;
	}
}

/* in->ejected[at] and those behind it of the same pod. */
static size_t own_put(struct view *v, const struct weft_view_input *in, size_t at, uint32_t base,
		      struct weft_own_views *own)
{
	size_t size = v->cap_cluster * sizeof(*v->cluster), i = at;
	struct weft_img_cluster_ref *table = malloc(size + 1);
	struct weft_img_view out;
	uint32_t pod = in->ejected[at].pod;

	memcpy(&out, weft_store_at(v->c->store, base), sizeof(out));
	if (table && size)
		memcpy(table, v->cluster, size);
	else
		v->err = err_first(v->err, table ? 0 : -ENOMEM);
	for (; i < in->n_ejected && in->ejected[i].pod == pod; i++) {
		if (table)
			ejected_apply(v, &in->ejected[i], table);
	}
	if (table && size && memcmp(table, v->cluster, size) && pod <= WEFT_PODS_MAX) {
		out.cluster = weft_build_put(&v->b, table, size);
		own->v[pod] = weft_build_put(&v->b, &out, sizeof(out));
		own->n = own->n > pod + 1 ? own->n : pod + 1;
	}
	free(table);
	return i;
}

int weft_view_build(struct weft_compiler *c, const struct weft_view_input *in,
		    struct weft_diag *diag, uint32_t *ret_off, struct weft_own_views *own)
{
	const struct weft_snapshot *s = in->snapshot;
	struct view v = {.c = c, .s = s, .resolved = in->resolved, .diag = diag};

	build_init(&v, &v.b, "View", "0", 0);
	v.err = v.b.err;
	v.rds_used = calloc(weft_snapshot_count(s, WEFT_XDS_ROUTE) + 1, sizeof(*v.rds_used));
	v.eds_used = calloc(weft_snapshot_count(s, WEFT_XDS_ENDPOINT) + 1, sizeof(*v.eds_used));
	v.member = calloc(weft_snapshot_count(s, WEFT_XDS_CLUSTER) + 1, sizeof(*v.member));
	if (!v.rds_used || !v.eds_used || !v.member)
		v.err = err_first(v.err, -ENOMEM);
	if (!v.err) {
		clusters_fill(&v);
		unused_endpoints_check(&v);
		listeners_fill(&v);
		unused_routes_check(&v);
	}
	if (!v.err) {
		*ret_off = view_put(&v);
		for (size_t i = 0; i < in->n_ejected && !v.err && !v.b.err;)
			i = own_put(&v, in, i, *ret_off, own);
		v.err = err_first(v.err, v.b.err);
	}
	view_clear(&v);
	return v.err;
}
