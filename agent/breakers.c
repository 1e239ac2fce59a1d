// SPDX-License-Identifier: Apache-2.0
#include "agent/breakers.h"

#include <string.h>

#include "agent/proxy/breaker.h"
#include "bpf/abi/image.h"
#include "bpf/engine/engine.h"

/* Of the name, in the first view that has it; its state id tells it from one of another content. */
static const struct weft_img_cluster *cluster_find(uint32_t pod, const char *name, uint32_t id)
{
	const struct weft_img_head *head = weft_img_at(0);
	uint64_t root = __atomic_load_n(&head->root, __ATOMIC_ACQUIRE);
	const struct weft_img_root *r = (uint32_t)root ? weft_img_at((uint32_t)root) : NULL;
	struct weft_ctx ctx = {.pod = pod};

	for (ctx.view = 0; r && ctx.view < r->n_view; ctx.view++) {
		const struct weft_img_cluster_ref *ref;
		const struct weft_img_cluster *c;
		const struct weft_img_view *v;
		uint32_t k;

		if (weft_ctx_begin(&ctx))
			continue;
		v = weft_img_at(ctx.view_off);
		k = weft_cluster_id_of(&ctx, name, strlen(name));
		if (k >= v->n_cluster)
			continue;
		ref = (const struct weft_img_cluster_ref *)weft_img_at(v->cluster) + k;
		c = ref->cluster ? weft_img_at(ref->cluster) : NULL;
		if (c && c->cell == id)
			return c;
	}
	return NULL;
}

struct gauge {
	const char *open, *remaining;
	uint32_t n, max;
};

static json_t *priority_json(const struct gauge *g, size_t n, bool remaining)
{
	json_t *j = json_object();

	for (size_t i = 0; i < n; i++) {
		uint32_t left = g[i].n < g[i].max ? g[i].max - g[i].n : 0;

		json_object_set_new(j, g[i].open, json_integer(!left));
		if (remaining)
			json_object_set_new(j, g[i].remaining, json_integer(left));
	}
	return j;
}

json_t *weft_breakers_json(const struct weft_proxy *proxy, uint32_t pod, const char *name,
			   uint32_t id, uint32_t cell)
{
	static const char *const names[] = {"default", "high"};
	const struct weft_img_cluster *k = cluster_find(pod, name, id);
	const struct weft_cell_cluster *c = weft_cell_cluster(cell);
	json_t *j;

	if (!k)
		return NULL;
	j = json_object();
	for (uint32_t p = 0; p < WEFT_PRIORITY__MAX; p++) {
		const struct weft_img_thresholds *t = &k->threshold[p];
		const struct gauge g[] = {
			{"cx_open", "remaining_cx", c->cx_active[p], t->max_connections},
			{"cx_pool_open", "remaining_cx_pools",
			 proxy ? weft_proxy_pools(proxy, cell, p) : 0, t->max_pools},
			{"rq_pending_open", "remaining_pending", c->rq_pending[p], t->max_pending},
			{"rq_open", "remaining_rq", c->rq_active[p], t->max_requests},
			{"rq_retry_open", "remaining_retries", c->retry_active[p],
			 breaker_retries_max(t, c, p, 0)},
		};

		json_object_set_new(j, names[p],
				    priority_json(g, sizeof(g) / sizeof(*g),
						  t->flags & WEFT_THRESHOLDS_REMAINING));
	}
	return j;
}
