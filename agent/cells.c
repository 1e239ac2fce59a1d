// SPDX-License-Identifier: Apache-2.0
#include "agent/cells.h"

#include <errno.h>
#include <stdlib.h>

#include "agent/cleanup.h"
#include "agent/log.h"
#include "bpf/engine/engine.h"

struct ids {
	uint32_t *id;
	size_t n, cap;
	int err;
};

static void ids_add(struct ids *ids, uint32_t id)
{
	if (id == 0 || ids->err)
		return;
	if (ids->n == ids->cap) {
		size_t cap = ids->cap ? ids->cap * 2 : 64;
		uint32_t *bigger = reallocarray(ids->id, cap, sizeof(*bigger));

		if (!bigger) {
			ids->err = -ENOMEM;
			return;
		}
		ids->id = bigger;
		ids->cap = cap;
	}
	ids->id[ids->n++] = id;
}

static void walk_cluster(struct ids *ids, const struct weft_img_view *view, uint32_t id)
{
	const struct weft_img_cluster_ref *ref;
	const struct weft_img_endpoints *set;
	const struct weft_img_endpoint *endpoint;

	if (id >= view->n_cluster)
		return;
	ref = (const struct weft_img_cluster_ref *)weft_img_at(view->cluster) + id;
	if (!ref->cluster)
		return;
	ids_add(ids, ((const struct weft_img_cluster *)weft_img_at(ref->cluster))->cell);
	if (!ref->endpoints)
		return;
	set = weft_img_at(ref->endpoints);
	endpoint = weft_img_at(set->endpoint);
	for (uint32_t i = 0; i < set->n; i++)
		ids_add(ids, endpoint[i].cell);
}

static void walk_chain(struct ids *ids, const struct weft_img_view *view, uint32_t off)
{
	const struct weft_img_chain *chain = off ? weft_img_at(off) : NULL;
	const struct weft_img_targets *targets;
	const struct weft_img_target *target;

	if (!chain)
		return;
	/* Limits of connections are asked at connect(), for HTTP chains too when nothing is
	 * sniffed. */
	for (uint32_t i = 0; i < chain->n_conn_limit; i++)
		ids_add(ids,
			((const struct weft_img_bucket *)weft_img_at(chain->conn_limit[i]))->cell);
	for (uint32_t i = 0; i < chain->n_rbac; i++)
		ids_add(ids, ((const struct weft_img_rbac *)weft_img_at(chain->rbac[i]))->cell);
	if (chain->kind != WEFT_CHAIN_TCP || !chain->target)
		return;
	targets = weft_img_at(chain->target);
	target = (const void *)(targets + 1);
	for (uint32_t i = 0; i < targets->n; i++)
		walk_cluster(ids, view, target[i].cluster);
}

static void walk_listener(struct ids *ids, const struct weft_img_view *view, uint32_t off)
{
	const struct weft_img_listener *l = off ? weft_img_at(off) : NULL;
	const struct weft_img_chain_group *group = l ? weft_img_at(l->group) : NULL;

	for (uint32_t g = 0; l && g < l->n_group; g++) {
		for (int p = 0; p < WEFT_PROTO__MAX; p++)
			walk_chain(ids, view, group[g].chain[p]);
	}
}

static void walk_table(struct ids *ids, const struct weft_img_view *view, uint32_t off)
{
	const struct weft_img_addr_tab *tab = off ? weft_img_at(off) : NULL;
	const struct weft_img_addr_ent *ent = (const void *)(tab + 1);

	for (uint32_t i = 0; tab && i <= tab->mask; i++) {
		if (ent[i].port)
			walk_listener(ids, view, ent[i].val);
	}
}

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static int ids_of(const struct weft_ctx *ctx, uint32_t **ret, size_t *ret_n)
{
	const struct weft_img_view *v = weft_img_at(ctx->view_off);
	struct ids ids = {0};
	size_t n = 0;

	walk_table(&ids, v, v->listener);
	walk_table(&ids, v, v->wildcard);
	walk_listener(&ids, v, v->fallback);
	if (ids.err) {
		free(ids.id);
		return ids.err;
	}
	if (ids.n > 0)
		qsort(ids.id, ids.n, sizeof(*ids.id), compare);
	for (size_t i = 0; i < ids.n; i++) {
		if (i == 0 || ids.id[i] != ids.id[i - 1])
			ids.id[n++] = ids.id[i];
	}
	*ret = ids.id;
	*ret_n = n;
	return 0;
}

int weft_cells_tcp_ids(uint32_t view, uint32_t **ret, size_t *ret_n)
{
	struct weft_ctx ctx = {.view = view};

	return weft_ctx_begin(&ctx) < 0 ? -ENOENT : ids_of(&ctx, ret, ret_n);
}

size_t weft_cells_make_these(struct weft_store *store, uint32_t pod, const uint32_t *id, size_t n)
{
	size_t missing = 0;

	for (size_t i = 0; i < n; i++)
		missing += weft_store_cell(store, pod, id[i]) == 0;
	/* Such connections are captured instead: the agent does what the program cannot. */
	if (missing > 0)
		WEFT_LOG(WEFT_LOG_WARN,
			 "state is full: TCP connections of a pod go through the agent",
			 WEFT_KV_U("pod", pod), WEFT_KV_U("missing", missing));
	return missing;
}

size_t weft_cells_make(struct weft_store *store, uint32_t pod, uint32_t view)
{
	_auto_free_ uint32_t *id = NULL;
	size_t n;

	if (weft_cells_tcp_ids(view, &id, &n) < 0)
		return 0;
	return weft_cells_make_these(store, pod, id, n);
}

int weft_cells_news(struct weft_cells_seen *seen, uint32_t view, uint32_t **ret, size_t *ret_n)
{
	struct weft_ctx ctx = {.view = view};
	uint32_t *id, *news;
	size_t n, n_news = 0, s = 0;
	int r;

	if (weft_ctx_begin(&ctx) < 0)
		return -ENOENT;
	*ret = NULL;
	*ret_n = 0;
	/* an object that was in force when this one came cannot have made room for it */
	if (seen->view_off == ctx.view_off && seen->epoch + 1 == ctx.epoch) {
		seen->epoch = ctx.epoch;
		return 0;
	}
	r = ids_of(&ctx, &id, &n);
	if (r < 0)
		return r;
	news = calloc(n + 1, sizeof(*news));
	if (!news) {
		free(id);
		return -ENOMEM;
	}
	for (size_t i = 0; i < n; i++) {
		while (s < seen->n && seen->id[s] < id[i])
			s++;
		if (s == seen->n || seen->id[s] != id[i])
			news[n_news++] = id[i];
	}
	free(seen->id);
	*seen = (struct weft_cells_seen){
		.id = id, .n = n, .view_off = ctx.view_off, .epoch = ctx.epoch};
	*ret = news;
	*ret_n = n_news;
	return 0;
}

void weft_cells_forget(struct weft_cells_seen *seen)
{
	free(seen->id);
	*seen = (struct weft_cells_seen){0};
}
