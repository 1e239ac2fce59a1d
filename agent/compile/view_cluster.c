// SPDX-License-Identifier: Apache-2.0
/* Clusters of a view and the endpoints of each. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/compile/dns.h"
#include "agent/compile/view_parts.h"

typedef Envoy__Config__Cluster__V3__Cluster cluster;

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

static uint32_t run_endpoints_alone(struct weft_build *b, const struct job *j)
{
	cluster any = ENVOY__CONFIG__CLUSTER__V3__CLUSTER__INIT;

	return weft_build_endpoints(b, &any, (const void *)j->res->msg);
}

struct weft_compiled *view_endpoints_alone(struct view *v, size_t i)
{
	const struct weft_resource *res = weft_snapshot_at(v->s, WEFT_XDS_ENDPOINT, i);
	struct job job = {.res = res, .run = run_endpoints_alone};

	return view_resolve(v, "endpoints", "", res->name, res->hash, &job);
}

void view_endpoints_check(struct view *v)
{
	size_t n = weft_snapshot_count(v->s, WEFT_XDS_ENDPOINT);

	for (size_t i = 0; i < n; i++) {
		if (!v->eds_used[i])
			view_endpoints_alone(v, i);
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

/* What tells endpoints with these hosts marked from others of the cluster. NULL without memory. */
static char *variant_of(const char *cluster_name, const struct weft_ejected *ejected)
{
	static const char marks[] = {[WEFT_MARK_DEGRADED] = '~',
				     [WEFT_MARK_OUT] = '-',
				     [WEFT_MARK_EXCLUDED] = '/',
				     [WEFT_MARK_GONE] = '!'};
	size_t len = strlen(cluster_name), n = ejected ? ejected->n : 0;
	char *text = malloc(len + n * 9 + 1);

	if (text)
		memcpy(text, cluster_name, len + 1);
	for (size_t i = 0; text && i < n; i++)
		snprintf(text + len + i * 9, 10, "%c%08x",
			 marks[ejected->mark ? ejected->mark[i] : WEFT_MARK_OUT], ejected->host[i]);
	return text;
}

/* Of a cluster with this assignment. */
static uint64_t eds_hash(const struct weft_resource *res, const struct weft_resource *eds)
{
	return res->hash ^ eds->hash * 0x9E3779B97F4A7C15ull;
}

int view_endpoints_find(struct weft_compiler *c, const struct weft_resource *eds,
			struct weft_compiled **ret)
{
	char *key = view_key("endpoints", "", eds->name, eds->hash);

	if (!key)
		return -ENOMEM;
	*ret = weft_cache_find(c->cache, key);
	free(key);
	return 0;
}

/* The assignment that EDS has for a cluster, NULL: none (yet). */
static const struct weft_resource *eds_take(struct view *v, const cluster *c)
{
	const char *name = *c->eds_cluster_config->service_name
				   ? c->eds_cluster_config->service_name
				   : c->name;
	size_t i = weft_snapshot_index(v->s, WEFT_XDS_ENDPOINT, name);

	if (i == SIZE_MAX)
		return NULL;
	v->eds_used[i] = true;
	if (v->user && !v->ejected)
		v->user[v->n_user++] = (struct weft_eds_user){.eds = i, .member = v->n_member};
	return weft_snapshot_at(v->s, WEFT_XDS_ENDPOINT, i);
}

struct weft_compiled *view_endpoints(struct view *v, const struct weft_resource *res)
{
	const cluster *c = (const void *)res->msg;
	struct job job = {.res = res, .cluster = c, .run = run_endpoints};
	struct weft_compiled *e;
	const char *name = c->name;
	uint64_t hash = res->hash;
	char *variant;

	if (c->eds_cluster_config) {
		job.res = eds_take(v, c);
		if (!job.res)
			return NULL;
		name = job.res->name;
		job.assignment = (const void *)job.res->msg;
		hash = eds_hash(res, job.res);
	} else {
		job.assignment = c->load_assignment;
		if (!job.assignment)
			return NULL;
		if (weft_dns_is(c) && v->resolved)
			resolved_take(v, res, &job, &hash);
		else if (weft_dns_is(c))
			hash = ~hash; /* names stand: another form of the same */
	}
	variant = variant_of(c->name, v->ejected);
	if (!variant) {
		v->err = err_first(v->err, -ENOMEM);
		return NULL;
	}
	e = view_resolve(v, "endpoints", variant, name, hash, &job);
	free(variant);
	return e;
}

static uint32_t cluster_cell(const struct view *v, uint32_t off)
{
	return ((const struct weft_img_cluster *)weft_store_at(v->c->store, off))->cell;
}

void view_clusters_fill(struct view *v)
{
	size_t n = weft_snapshot_count(v->s, WEFT_XDS_CLUSTER);

	for (size_t i = 0; i < n; i++) {
		const struct weft_resource *res = weft_snapshot_at(v->s, WEFT_XDS_CLUSTER, i);
		struct job job = {.res = res, .run = run_cluster};
		struct weft_compiled *e =
			view_resolve(v, "cluster", "", res->name, res->hash, &job);
		const struct weft_compiled *endpoints;
		size_t users;
		uint32_t id;

		if (!e)
			continue;
		id = weft_build_cluster_id(&v->b, res->name);
		if (!id) {
			v->err = err_first(v->err, v->b.err);
			return;
		}
		if (!view_table_room(v, (void **)&v->cluster, &v->cap_cluster, sizeof(*v->cluster),
				     id))
			return;
		v->cluster[id].cluster = e->off;
		users = v->n_user;
		endpoints = view_endpoints(v, res);
		if (v->n_user > users)
			v->user[users].entry = endpoints ? endpoints->at : SIZE_MAX;
		v->cluster[id].endpoints = endpoints ? endpoints->off : 0;
		v->member[v->n_member++] = (struct weft_member){cluster_cell(v, e->off), id, res};
		view_name_put(v, &v->cluster_name, WEFT_KIND_CLUSTER_NAME, res->name, id + 1);
	}
}
