// SPDX-License-Identifier: Apache-2.0
/* Watches, what wakes them, and what of them is published. */
#include "agent/outlier/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "agent/log.h"
#include "bpf/engine/engine.h"

/* After what failed for want of memory or room. */
#define RETRY_MS 1000u
#define RETRY_MAX_MS 30000u

/* ---- told by workers ---- */

static void wake(const struct weft_outlier *o)
{
	uint64_t one = 1;

	if (write(o->fd, &one, sizeof(one)) < 0)
		return; /* it is readable already */
}

void weft_outlier_tell(struct weft_outlier *o, uint32_t pod, uint32_t cluster, uint32_t endpoint)
{
	pthread_mutex_lock(&o->lock);
	if (o->n_told == o->cap_told) {
		size_t cap = o->cap_told ? o->cap_told * 2 : 64;
		struct told *bigger = reallocarray(o->told, cap, sizeof(*bigger));

		if (bigger) {
			o->told = bigger;
			o->cap_told = cap;
		}
	}
	if (o->n_told < o->cap_told)
		o->told[o->n_told++] = (struct told){pod, cluster, endpoint};
	else
		o->lost = true;
	pthread_mutex_unlock(&o->lock);
	wake(o);
}

/* ---- watches ---- */

static struct watch **place(struct weft_outlier *o, uint32_t pod, uint32_t cluster)
{
	struct watch **p = &o->bucket[weft_hash_cell(pod, cluster) % OUTLIER_BUCKETS];

	while (*p && ((*p)->pod != pod || (*p)->cluster != cluster))
		p = &(*p)->next;
	return p;
}

void watches_each(const struct weft_outlier *o, void (*fn)(void *ctx, const struct watch *w),
		  void *ctx)
{
	for (size_t i = 0; i < OUTLIER_BUCKETS; i++) {
		for (const struct watch *w = o->bucket[i]; w; w = w->next)
			fn(ctx, w);
	}
}

static void cell_set(const struct watch *w, struct weft_detector_host *h)
{
	uint32_t cell = weft_cell_find(w->pod, h->id);

	h->cell = cell ? weft_cell_endpoint(cell) : NULL;
	if (h->cell && __atomic_load_n(&h->cell->owner, __ATOMIC_RELAXED) != w->cluster)
		h->cell = NULL;
}

/* Its cells count for nobody: should the cluster come back, it begins anew. */
static void watch_free(struct watch *w)
{
	for (size_t i = 0; i < w->d.n; i++) {
		cell_set(w, &w->d.host[i]);
		if (w->d.host[i].cell)
			__atomic_store_n(&w->d.host[i].cell->owner, 0, __ATOMIC_RELAXED);
	}
	w->o->stale = w->o->stale || w->n_out;
	free(w->d.host);
	free(w->out);
	free(w);
}

static uint64_t random_of(void *ctx)
{
	const struct weft_outlier *o = ctx;

	return o->cfg.random(o->cfg.ctx);
}

static void on_changed(void *ctx, const struct weft_detector *d, const struct weft_detector_host *h)
{
	const struct weft_outlier *o = ctx;
	struct watch *w = (struct watch *)((char *)(uintptr_t)d - offsetof(struct watch, d));
	const char *kind, *name = weft_compiler_state_name(o->cfg.compiler, h->id, &kind);

	w->dirty = true;
	if (h->ejected)
		WEFT_LOG(WEFT_LOG_INFO, "host ejected", WEFT_KV_U("pod", w->pod),
			 WEFT_KV_S("host", name ? name : ""),
			 WEFT_KV_S("reason", weft_ejection_name(h->why)),
			 WEFT_KV_U("ejections", h->ejections));
	else
		WEFT_LOG(WEFT_LOG_INFO, "host is back", WEFT_KV_U("pod", w->pod),
			 WEFT_KV_S("host", name ? name : ""),
			 WEFT_KV_U("after_ms", h->returned_ms - h->ejected_ms));
}

static int compare_hosts(const void *a, const void *b)
{
	uint32_t x = ((const struct weft_detector_host *)a)->id,
		 y = ((const struct weft_detector_host *)b)->id;

	return (x > y) - (x < y);
}

static struct weft_detector_host *host_find(const struct watch *w, uint32_t id)
{
	const struct weft_detector_host key = {.id = id};

	return w->d.n ? bsearch(&key, w->d.host, w->d.n, sizeof(key), compare_hosts) : NULL;
}

/*
 * Hosts as the image has them; what is known of those that stay is kept. An address that is there
 * twice is one host. *ret_changed: some came or went. -ENOMEM: all stays.
 */
static int hosts_load(struct watch *w, uint32_t endpoints, bool *ret_changed)
{
	const struct weft_img_endpoints *set = endpoints ? weft_img_at(endpoints) : NULL;
	const struct weft_img_endpoint *e = set && set->n ? weft_img_at(set->endpoint) : NULL;
	size_t count = set ? set->n : 0, n = 0, kept = 0;
	struct weft_detector_host *host = calloc(count + 1, sizeof(*host));
	uint32_t active = 0;

	if (!host)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++)
		weft_detector_host_init(&host[i], e[i].cell);
	qsort(host, count, sizeof(*host), compare_hosts);
	for (size_t i = 0; i < count; i++) {
		const struct weft_detector_host *old = host_find(w, host[i].id);

		if (n && host[n - 1].id == host[i].id)
			continue;
		kept += old != NULL;
		host[n] = old ? *old : host[i];
		active += host[n++].ejected;
	}
	*ret_changed = kept != n || kept != w->d.n;
	free(w->d.host);
	w->d.host = host;
	w->d.n = n;
	w->d.active = active;
	w->endpoints = endpoints;
	return 0;
}

/* ---- the image ---- */

struct cluster_ref {
	uint32_t cell, view, endpoints, outlier;
};

struct clusters {
	struct cluster_ref *v;
	size_t n;
};

static int compare_refs(const void *a, const void *b)
{
	const struct cluster_ref *x = a, *y = b;

	if (x->cell != y->cell)
		return (x->cell > y->cell) - (x->cell < y->cell);
	return (x->view > y->view) - (x->view < y->view);
}

static int clusters_read_view(struct clusters *to, uint32_t id)
{
	struct weft_ctx ctx = {.view = id}; /* no pod: without anybody's ejections */
	const struct weft_img_view *view;
	const struct weft_img_cluster_ref *ref;
	struct cluster_ref *bigger;

	if (weft_ctx_begin(&ctx))
		return 0;
	view = weft_img_at(ctx.view_off);
	bigger = reallocarray(to->v, to->n + view->n_cluster + 1, sizeof(*to->v));
	if (!bigger)
		return -ENOMEM;
	to->v = bigger;
	ref = view->n_cluster ? weft_img_at(view->cluster) : NULL;
	for (uint32_t i = 0; i < view->n_cluster; i++) {
		const struct weft_img_cluster *c =
			ref[i].cluster ? weft_img_at(ref[i].cluster) : NULL;

		if (c && c->outlier)
			to->v[to->n++] =
				(struct cluster_ref){c->cell, id, ref[i].endpoints, c->outlier};
	}
	return 0;
}

/* Clusters of all views with outlier detection, by state id. -ENOMEM. */
static int clusters_read(const struct weft_outlier *o, struct clusters *ret)
{
	uint32_t n = o->cfg.views ? o->cfg.views(o->cfg.ctx) : 1;

	*ret = (struct clusters){0};
	for (uint32_t i = 0; i < n; i++) {
		if (clusters_read_view(ret, i)) {
			free(ret->v);
			return -ENOMEM;
		}
	}
	if (ret->n)
		qsort(ret->v, ret->n, sizeof(*ret->v), compare_refs);
	return 0;
}

/* As the pod sees it. */
static const struct cluster_ref *cluster_find(const struct weft_outlier *o,
					      const struct clusters *c, uint32_t pod, uint32_t cell)
{
	const struct cluster_ref key = {
		.cell = cell, .view = o->cfg.view_of ? o->cfg.view_of(o->cfg.ctx, pod) : 0};

	return c->n ? bsearch(&key, c->v, c->n, sizeof(key), compare_refs) : NULL;
}

/* NULL: no such cluster, or no memory. */
static struct watch *watch_make(struct weft_outlier *o, const struct clusters *all,
				const struct told *t)
{
	struct watch **at = place(o, t->pod, t->cluster), *w = *at;
	const struct cluster_ref *ref = w ? NULL : cluster_find(o, all, t->pod, t->cluster);
	bool changed;

	if (w || !ref)
		return w;
	w = calloc(1, sizeof(*w));
	if (!w)
		return NULL;
	w->o = o;
	w->pod = t->pod;
	w->cluster = t->cluster;
	w->d.ops = &o->ops;
	w->d.conf = *(const struct weft_img_outlier *)weft_img_at(ref->outlier);
	for (int k = 0; k < WEFT_WINDOW__MAX; k++)
		w->d.mean[k] = w->d.threshold[k] = -1;
	w->interval_ms = o->now_ms + w->d.conf.interval_ms;
	if (hosts_load(w, ref->endpoints, &changed)) {
		free(w);
		return NULL;
	}
	*at = w;
	return w;
}

/* ---- work ---- */

static void pending_take(const struct watch *w, struct weft_detector_host *h)
{
	uint32_t pending =
		h->cell ? __atomic_exchange_n(&h->cell->pending, 0, __ATOMIC_ACQ_REL) : 0;

	for (int run = 0; run < WEFT_RUN__MAX; run++) {
		if (pending & 1u << run)
			weft_detector_run((struct weft_detector *)(uintptr_t)&w->d, h,
					  (enum weft_failures)run, w->o->now_ms);
	}
}

struct look {
	struct weft_outlier *o;
	struct told *told;
	size_t n, cap;
	bool failed;
};

/* Cells that count for a cluster. */
static void look_at(void *ctx, uint32_t pod, uint32_t id, uint32_t cell)
{
	struct look *l = ctx;
	const char *kind, *name = weft_compiler_state_name(l->o->cfg.compiler, id, &kind);
	uint32_t owner;

	if (!name || strcmp(kind, "endpoint") != 0)
		return;
	owner = __atomic_load_n(&weft_cell_endpoint(cell)->owner, __ATOMIC_RELAXED);
	if (!owner || l->failed)
		return;
	if (l->n == l->cap) {
		struct told *bigger = reallocarray(l->told, l->cap * 2 + 64, sizeof(*bigger));

		l->failed = !bigger;
		if (!bigger)
			return;
		l->told = bigger;
		l->cap = l->cap * 2 + 64;
	}
	l->told[l->n++] = (struct told){pod, owner, id};
}

/* false: there was no memory for some. */
static bool told_watch(struct weft_outlier *o, const struct told *told, size_t n)
{
	struct clusters all = {0};
	bool whole = true;

	if (n && clusters_read(o, &all))
		return false;
	for (size_t i = 0; i < n; i++) {
		struct weft_detector_host *h;
		struct watch *w;

		/* a pod that is gone has no cells: nothing is made for it */
		if (!weft_cell_find(told[i].pod, told[i].endpoint))
			continue;
		w = watch_make(o, &all, &told[i]);
		whole = whole && (w || !cluster_find(o, &all, told[i].pod, told[i].cluster));
		h = w ? host_find(w, told[i].endpoint) : NULL;
		if (!h)
			continue;
		cell_set(w, h);
		pending_take(w, h);
	}
	free(all.v);
	return whole;
}

/* What was told; when some of it was lost for want of memory, whatever all cells have. */
static void told_take(struct weft_outlier *o)
{
	struct look look = {.o = o};
	struct told *told;
	bool lost;
	size_t n;

	pthread_mutex_lock(&o->lock);
	told = o->told;
	n = o->n_told;
	lost = o->lost;
	o->told = NULL;
	o->n_told = o->cap_told = 0;
	o->lost = false;
	pthread_mutex_unlock(&o->lock);
	if (lost || !told_watch(o, told, n))
		o->look_ms = o->now_ms;
	free(told);
	if (!o->look_ms || o->now_ms < o->look_ms)
		return;
	weft_store_cells_each(o->cfg.store, look_at, &look);
	o->look_ms = told_watch(o, look.told, look.n) && !look.failed ? 0 : o->now_ms + RETRY_MS;
	free(look.told);
}

static void interval_end(struct watch *w)
{
	for (size_t i = 0; i < w->d.n; i++) {
		cell_set(w, &w->d.host[i]);
		pending_take(w, &w->d.host[i]);
	}
	weft_detector_interval(&w->d, w->o->now_ms);
	w->interval_ms = w->o->now_ms + w->d.conf.interval_ms;
}

/* Takes the hosts that are ejected now for what is to be published. *ret_other: they are not those
 * that are published. false: no memory. */
static bool out_take(struct watch *w, bool *ret_other)
{
	uint32_t *out = calloc(w->d.active + 1, sizeof(*out));
	size_t n = 0;

	if (!out)
		return false;
	for (size_t i = 0; i < w->d.n; i++) {
		if (w->d.host[i].ejected)
			out[n++] = w->d.host[i].id;
	}
	*ret_other = n != w->n_out || (n && memcmp(out, w->out, n * sizeof(*out)) != 0);
	free(w->out);
	w->out = out;
	w->n_out = n;
	return true;
}

/*
 * Envoy's cluster manager lets changes of health through at once, but not a second time within the
 * window after one: what changes then waits for the window's length. true: to be published now.
 */
static bool change_is_due(struct watch *w)
{
	uint64_t now = w->o->now_ms;
	bool due = w->due_ms && now >= w->due_ms, other = false;

	if (w->dirty && !due) {
		w->dirty = false;
		due = !w->d.conf.merge_ms || !w->updated ||
		      now - w->updated_ms > w->d.conf.merge_ms;
		if (!due && !w->due_ms)
			w->due_ms = now + w->d.conf.merge_ms;
	}
	if (!due)
		return false;
	if (!out_take(w, &other)) {
		w->due_ms = now + RETRY_MS;
		return false;
	}
	w->dirty = false;
	w->due_ms = 0;
	w->updated = true;
	w->updated_ms = now;
	return other;
}

static void sooner(uint64_t *at, uint64_t time)
{
	if (time && (!*at || time < *at))
		*at = time;
}

/* What is published stays as it is for now. */
static void publish_later(struct weft_outlier *o)
{
	o->stale = true;
	o->retry_ms = o->now_ms + o->backoff_ms;
	o->backoff_ms = o->backoff_ms * 2 < RETRY_MAX_MS ? o->backoff_ms * 2 : RETRY_MAX_MS;
}

void weft_outlier_withheld(struct weft_outlier *o)
{
	o->now_ms = o->cfg.now_ms(o->cfg.ctx);
	o->withheld++;
	o->withheld_now = true;
	WEFT_LOG(WEFT_LOG_ERROR,
		 "ejected hosts get requests: the image is too small to leave them out");
	publish_later(o);
	wake(o);
}

uint64_t weft_outlier_work(struct weft_outlier *o)
{
	uint64_t count, next = 0;

	if (read(o->fd, &count, sizeof(count)) < 0)
		count = 0; /* called by the clock */
	o->now_ms = o->cfg.now_ms(o->cfg.ctx);
	told_take(o);
	for (size_t i = 0; i < OUTLIER_BUCKETS; i++) {
		for (struct watch *w = o->bucket[i]; w; w = w->next) {
			if (o->now_ms >= w->interval_ms)
				interval_end(w);
			o->stale = change_is_due(w) || o->stale;
		}
	}
	if (o->stale && o->now_ms >= o->retry_ms) {
		o->stale = false;
		if (o->cfg.publish(o->cfg.ctx)) {
			o->publish_failures++;
			publish_later(o);
		}
	}
	if (o->stale)
		sooner(&next, o->retry_ms);
	sooner(&next, o->look_ms);
	for (size_t i = 0; i < OUTLIER_BUCKETS; i++) {
		for (const struct watch *w = o->bucket[i]; w; w = w->next) {
			sooner(&next, w->interval_ms);
			sooner(&next, w->due_ms);
			if (w->dirty)
				sooner(&next, o->now_ms + 1);
		}
	}
	return next;
}

/* true: the watch stays. */
static bool watch_follow(struct watch *w, const struct clusters *all)
{
	const struct cluster_ref *ref = cluster_find(w->o, all, w->pod, w->cluster);
	bool changed = false;

	if (!ref)
		return false;
	if (ref->endpoints == w->endpoints || hosts_load(w, ref->endpoints, &changed) || !changed)
		return true;
	/* hosts that come or go are told at once, and all that waits with them */
	w->updated = false;
	w->due_ms = 0;
	w->dirty = true;
	wake(w->o);
	return true;
}

static bool watches_any(const struct weft_outlier *o)
{
	for (size_t i = 0; i < OUTLIER_BUCKETS; i++) {
		if (o->bucket[i])
			return true;
	}
	return false;
}

void weft_outlier_published(struct weft_outlier *o)
{
	struct clusters all = {0};

	if (watches_any(o) && clusters_read(o, &all))
		return; /* they are looked at after the next publish */
	o->now_ms = o->cfg.now_ms(o->cfg.ctx);
	for (size_t i = 0; i < OUTLIER_BUCKETS; i++) {
		for (struct watch **p = &o->bucket[i], *w; (w = *p);) {
			if (watch_follow(w, &all)) {
				p = &w->next;
				continue;
			}
			*p = w->next;
			watch_free(w);
		}
	}
	o->stale = false; /* of clusters that are gone nothing is published */
	o->withheld_now = false;
	o->retry_ms = 0;
	o->backoff_ms = RETRY_MS;
	free(all.v);
}

void weft_outlier_passed(struct weft_outlier *o, uint32_t pod, uint32_t cluster, uint32_t endpoint)
{
	struct watch *w = *place(o, pod, cluster);
	struct weft_detector_host *h = w && w->d.conf.uneject ? host_find(w, endpoint) : NULL;

	if (!h || !h->ejected)
		return;
	o->now_ms = o->cfg.now_ms(o->cfg.ctx);
	cell_set(w, h);
	weft_detector_return(&w->d, h, o->now_ms);
	wake(o);
}

void weft_outlier_pod_drop(struct weft_outlier *o, uint32_t pod)
{
	for (size_t i = 0; i < OUTLIER_BUCKETS; i++) {
		for (struct watch **p = &o->bucket[i], *w; (w = *p);) {
			if (w->pod != pod) {
				p = &w->next;
				continue;
			}
			*p = w->next;
			watch_free(w);
		}
	}
	if (o->stale)
		wake(o);
}

/* ---- beginning and end ---- */

int weft_outlier_fd(const struct weft_outlier *o)
{
	return o->fd;
}

int weft_outlier_new(const struct weft_outlier_config *cfg, struct weft_outlier **ret)
{
	struct weft_outlier *o = calloc(1, sizeof(*o));

	if (!o)
		return -ENOMEM;
	o->cfg = *cfg;
	o->backoff_ms = RETRY_MS;
	o->ops = (struct weft_detector_ops){.random = random_of, .changed = on_changed, .ctx = o};
	o->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (o->fd < 0) {
		free(o);
		return -errno;
	}
	pthread_mutex_init(&o->lock, NULL);
	*ret = o;
	return 0;
}

void weft_outlier_free(struct weft_outlier *o)
{
	if (!o)
		return;
	for (size_t i = 0; i < OUTLIER_BUCKETS; i++) {
		for (struct watch *w = o->bucket[i], *next; w; w = next) {
			next = w->next;
			watch_free(w);
		}
	}
	pthread_mutex_destroy(&o->lock);
	close(o->fd);
	free(o->told);
	free(o->ejected);
	free(o);
}
