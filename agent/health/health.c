// SPDX-License-Identifier: Apache-2.0
/* What is checked for whom, and when results are published. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "agent/health/internal.h"
#include "agent/log.h"

/* After a publish that failed. */
#define RETRY_MS 1000u
#define RETRY_MAX_MS 30000u

/* ---- publishing ---- */

/*
 * Envoy's cluster manager lets changes of health through at once, but not a second time within update_merge_window after
 * one: what changes then waits for the window's length.
 */
static bool is_due(struct weft_health *h, struct hc_check *c)
{
	bool due = c->publish_ms && h->now_ms >= c->publish_ms;
	uint32_t window = c->spec->merge_ms;

	if (c->dirty && !due) {
		due = !window || !c->updated || h->now_ms - c->updated_ms > window;
		if (!due && !c->publish_ms)
			c->publish_ms = h->now_ms + window;
		c->dirty = false;
	}
	if (!due)
		return false;
	c->dirty = false;
	c->publish_ms = 0;
	c->updated = true;
	c->updated_ms = h->now_ms;
	return true;
}

static void sooner(uint64_t *at, uint64_t time)
{
	if (time && (!*at || time < *at))
		*at = time;
}

static void publish_later(struct weft_health *h)
{
	h->stale = true;
	h->retry_ms = h->now_ms + h->backoff_ms;
	h->backoff_ms = h->backoff_ms * 2 < RETRY_MAX_MS ? h->backoff_ms * 2 : RETRY_MAX_MS;
}

void weft_health_withheld(struct weft_health *h)
{
	h->now_ms = h->cfg.now_ms(h->cfg.ctx);
	h->withheld++;
	WEFT_LOG(WEFT_LOG_ERROR,
		 "hosts that failed checks get requests: the image is too small to leave them out");
	publish_later(h);
	health_arm(h);
}

/* Which of them have something to publish, and when the next one has. */
static void checks_look(struct weft_health *h)
{
	struct spec *s, *next;
	struct hc_check *c;
	size_t i;

	h->look_ms = 0;
	SPECS_EACH(h, i, s, next)
	{
		LIST_FOREACH(c, &s->checks, link)
		{
			h->stale = is_due(h, c) || h->stale;
			sooner(&h->look_ms, c->publish_ms);
		}
	}
}

/* Hosts that fail, and that discovery has no more, go at once. */
static void reap(struct weft_health *h)
{
	struct spec *s, *next;
	struct hc_check *c;
	size_t i;

	SPECS_EACH(h, i, s, next)
	{
		LIST_FOREACH(c, &s->checks, link)
		{
			if (c->reap)
				check_reap(h, c);
		}
	}
	h->reap = false;
	h->stale = true;
}

static void publish(struct weft_health *h)
{
	bool warmed = h->warmed;

	if (h->reap)
		reap(h);
	if (h->look_ms && h->now_ms >= h->look_ms)
		checks_look(h);
	if ((!h->stale && !warmed) || h->now_ms < h->retry_ms)
		return;
	h->stale = h->warmed = false;
	if (h->cfg.publish(h->cfg.ctx, warmed) == 0) {
		h->retry_ms = 0;
		h->backoff_ms = RETRY_MS;
		return;
	}
	h->warmed = warmed;
	h->publish_failures++;
	publish_later(h);
}

void health_arm(struct weft_health *h)
{
	uint64_t at = sessions_next(h), now = h->cfg.now_ms(h->cfg.ctx);

	sooner(&at, h->look_ms);
	if (h->stale || h->warmed)
		sooner(&at, h->retry_ms ? h->retry_ms : now);
	now = at > now ? at - now : at ? 1 : 0;
	weft_timer_set(h->timer_fd, now > UINT32_MAX ? UINT32_MAX : (uint32_t)now, 0);
}

/* ---- what responses to requests said ---- */

/* Responses come by the thousand: those of a host that waits already are only counted. */
#define TOLD_LOOK 8u

/* true: the loop has to know. Under the lock. */
static bool told_add(struct weft_health *h, const struct hc_told *t)
{
	for (size_t i = h->n_told; i > 0 && h->n_told - i < TOLD_LOOK; i--) {
		struct hc_told *o = &h->told[i - 1];

		if (o->pod == t->pod && o->cluster == t->cluster && o->endpoint == t->endpoint) {
			o->times++;
			return false;
		}
	}
	if (h->n_told == h->cap_told && h->n_told < HC_TOLD_MAX) {
		size_t cap = h->cap_told ? h->cap_told * 2 : 16;
		struct hc_told *more = reallocarray(h->told, cap, sizeof(*more));

		if (more) {
			h->told = more;
			h->cap_told = cap;
		}
	}
	if (h->n_told == h->cap_told) {
		h->told_dropped++;
		return false;
	}
	h->told[h->n_told++] = *t;
	return h->n_told == 1;
}

void weft_health_tell(struct weft_health *h, uint32_t pod, uint32_t cluster, uint32_t endpoint)
{
	const struct hc_told t = {pod, cluster, endpoint, 1};
	uint64_t one = 1;
	bool ring;

	if (!__atomic_load_n(&h->n_spec, __ATOMIC_RELAXED))
		return; /* nothing is checked, nobody is marked */
	pthread_mutex_lock(&h->lock);
	ring = told_add(h, &t);
	pthread_mutex_unlock(&h->lock);
	if (ring && write(h->tell_fd, &one, sizeof(one)) < 0)
		return; /* it is readable already */
}

static void told_apply(struct weft_health *h, const struct hc_told *t)
{
	struct spec *s, *next;
	struct hc_check *c;
	size_t i;

	SPECS_EACH(h, i, s, next)
	{
		if (!s->cluster_id || s->cluster_id != t->cluster)
			continue;
		LIST_FOREACH(c, &s->checks, link)
		{
			for (size_t k = 0; c->pod->id == t->pod && k < c->n; k++) {
				if (c->session[k]->id == t->endpoint &&
				    !c->session[k]->target.disabled)
					session_told(h, c->session[k], t->times);
			}
		}
	}
}

static void on_tell(void *ctx, uint32_t events)
{
	struct weft_health *h = ctx;
	struct hc_told *told;
	uint64_t count;
	size_t n;

	(void)events;
	if (read(h->tell_fd, &count, sizeof(count)) < 0)
		return;
	pthread_mutex_lock(&h->lock);
	told = h->told;
	n = h->n_told;
	h->told = NULL;
	h->n_told = h->cap_told = 0;
	pthread_mutex_unlock(&h->lock);
	h->now_ms = h->cfg.now_ms(h->cfg.ctx);
	for (size_t i = 0; i < n; i++)
		told_apply(h, &told[i]);
	free(told);
	publish(h);
	health_arm(h);
}

static void on_timer(void *ctx, uint32_t events)
{
	struct weft_health *h = ctx;

	(void)events;
	weft_timer_ack(h->timer_fd);
	h->now_ms = h->cfg.now_ms(h->cfg.ctx);
	sessions_run(h);
	h->now_ms = h->cfg.now_ms(h->cfg.ctx);
	publish(h);
	health_arm(h);
}

/* ---- pods ---- */

static int checks_add(struct weft_health *h, struct spec *s, struct hc_pod *pod)
{
	struct hc_check *c = check_new(h, s, pod);

	return c ? check_follow(h, c, NULL) : -ENOMEM;
}

int weft_health_pod_add(struct weft_health *h, uint32_t pod, uint32_t view, int netns_fd)
{
	struct hc_pod *p = calloc(1, sizeof(*p));
	struct spec *s, *next;
	int r = 0;
	size_t i;

	if (!p)
		return -ENOMEM;
	*p = (struct hc_pod){.id = pod, .view = view};
	p->netns_fd = fcntl(netns_fd, F_DUPFD_CLOEXEC, 0);
	if (p->netns_fd < 0) {
		r = -errno;
		free(p);
		return r;
	}
	h->now_ms = h->cfg.now_ms(h->cfg.ctx);
	LIST_INSERT_HEAD(&h->pods, p, link);
	SPECS_EACH(h, i, s, next)
	{
		if (s->view == view && r == 0)
			r = checks_add(h, s, p);
	}
	h->stale = true; /* its hosts are not checked yet */
	health_arm(h);
	return r;
}

static void pod_free(struct weft_health *h, struct hc_pod *p)
{
	struct spec *s, *next;
	size_t i;

	SPECS_EACH(h, i, s, next)
	{
		struct hc_check *c = LIST_FIRST(&s->checks);

		while (c) {
			struct hc_check *after = LIST_NEXT(c, link);

			if (c->pod == p)
				check_free(h, c);
			c = after;
		}
	}
	LIST_REMOVE(p, link);
	close(p->netns_fd);
	free(p);
}

void weft_health_pod_drop(struct weft_health *h, uint32_t pod)
{
	struct hc_pod *p;

	LIST_FOREACH(p, &h->pods, link)
	{
		if (p->id == pod)
			break;
	}
	if (!p)
		return;
	pod_free(h, p);
	h->warmed = h->stale = true; /* nobody waits for its checks, its marks may go */
	health_arm(h);
}

/* ---- clusters ---- */

static int spec_add(struct weft_health *h, uint32_t view, struct weft_resource *res,
		    struct spec **ret)
{
	struct spec *s = spec_new(h, view, res);
	struct hc_pod *p;
	int r = s ? 0 : -ENOMEM;

	if (s)
		__atomic_fetch_add(&h->n_spec, 1, __ATOMIC_RELAXED);
	LIST_FOREACH(p, &h->pods, link)
	{
		if (r == 0 && p->view == view)
			r = check_new(h, s, p) ? 0 : -ENOMEM;
	}
	*ret = s;
	return r;
}

static int spec_follow(struct weft_health *h, struct spec *s, const struct weft_snapshot *from,
		       const struct weft_snapshot *resolved)
{
	struct weft_resource *old = s->from ? weft_resource_ref(s->from) : NULL;
	struct hc_check *c;
	bool changed;
	int r = spec_targets(s, from, resolved, &changed);

	LIST_FOREACH(c, &s->checks, link)
	{
		if (r == 0 && changed)
			r = check_follow(h, c, old);
	}
	weft_resource_unref(old);
	return r;
}

/* Clusters of `of` that are not wanted yet, with hosts as `from` has them: what comes into force
 * with it. */
static int want_each(struct weft_health *h, uint32_t view, const struct weft_snapshot *of,
		     const struct weft_snapshot *from, const struct weft_snapshot *resolved)
{
	size_t n = of ? weft_snapshot_count(of, WEFT_XDS_CLUSTER) : 0;
	int err = 0;

	for (size_t i = 0; i < n; i++) {
		struct weft_resource *res = weft_snapshot_at(of, WEFT_XDS_CLUSTER, i);
		struct spec *s;
		int r = 0;

		if (!weft_health_is((const void *)res->msg))
			continue;
		s = spec_find(h, view, res);
		if (s && s->wanted)
			continue;
		if (!s)
			r = spec_add(h, view, res, &s);
		if (s) {
			s->wanted = true;
			r = r ? r : spec_follow(h, s, from, resolved);
		}
		if (r < 0) {
			err = r;
			WEFT_LOG(WEFT_LOG_ERROR, "a cluster's hosts are not all checked",
				 WEFT_KV_S("cluster", res->name),
				 WEFT_KV_S("reason", strerror(-r)));
		}
	}
	return err;
}

static void unwanted_drop(struct weft_health *h, uint32_t view)
{
	struct spec *s, *next;
	struct hc_check *c;
	size_t i;

	SPECS_EACH(h, i, s, next)
	{
		if (s->view != view || s->wanted)
			continue;
		while ((c = LIST_FIRST(&s->checks)))
			check_free(h, c);
		spec_free(s);
		__atomic_fetch_sub(&h->n_spec, 1, __ATOMIC_RELAXED);
	}
}

int weft_health_want(struct weft_health *h, uint32_t view, const struct weft_snapshot *merged,
		     const struct weft_snapshot *in_force, const struct weft_snapshot *resolved)
{
	struct spec *s, *next;
	int r, e;
	size_t i;

	h->now_ms = h->cfg.now_ms(h->cfg.ctx);
	SPECS_EACH(h, i, s, next)
	{
		if (s->view == view)
			s->wanted = false;
	}
	r = want_each(h, view, merged, merged, resolved);
	e = want_each(h, view, in_force, merged ? merged : in_force, resolved);
	unwanted_drop(h, view);
	health_arm(h);
	return r ? r : e;
}

bool weft_health_has(const struct weft_health *h, uint32_t view)
{
	const struct spec *s, *next;
	size_t i;

	if (!h->n_spec)
		return false;
	SPECS_EACH(h, i, s, next)
	{
		if (s->view == view)
			return true;
	}
	return false;
}

bool weft_health_is_warm(const struct weft_health *h, uint32_t view,
			 const struct weft_resource *res)
{
	const struct spec *s = spec_find(h, view, res);
	const struct hc_check *c;

	if (!s)
		return true;
	LIST_FOREACH(c, &s->checks, link)
	{
		if (!c->warm)
			return false;
	}
	return true;
}

bool weft_health_is_cold(const struct weft_health *h, uint32_t view,
			 const struct weft_resource *res)
{
	const struct spec *s = spec_find(h, view, res);

	return s && s->listed && !weft_health_is_warm(h, view, res);
}

bool weft_health_pod_is_warm(const struct weft_health *h, uint32_t pod)
{
	const struct hc_check *c;
	struct spec *s, *next;
	size_t i;

	SPECS_EACH(h, i, s, next)
	{
		LIST_FOREACH(c, &s->checks, link)
		{
			if (c->pod->id == pod && s->listed && !c->warm)
				return false;
		}
	}
	return true;
}

/* ---- beginning and end ---- */

int weft_health_new(const struct weft_health_config *cfg, struct weft_health **ret)
{
	struct weft_health *h = calloc(1, sizeof(*h));
	int r = 0;

	if (!h)
		return -ENOMEM;
	h->cfg = *cfg;
	h->backoff_ms = RETRY_MS;
	health_ops_init(h);
	h->timer_fd = h->tell_fd = -1;
	pthread_mutex_init(&h->lock, NULL);
	h->home_netns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	h->tell_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (h->home_netns < 0 || h->tell_fd < 0)
		r = -errno;
	if (r == 0)
		r = weft_timer_new(&h->timer_fd);
	if (r == 0)
		r = weft_loop_add(cfg->loop, h->timer_fd, EPOLLIN, on_timer, h);
	if (r == 0)
		r = weft_loop_add(cfg->loop, h->tell_fd, EPOLLIN, on_tell, h);
	if (r < 0) {
		weft_health_free(h);
		return r;
	}
	*ret = h;
	return 0;
}

void weft_health_free(struct weft_health *h)
{
	struct spec *s, *next;
	struct hc_pod *p;
	size_t i;

	if (!h)
		return;
	while ((p = LIST_FIRST(&h->pods)))
		pod_free(h, p);
	SPECS_EACH(h, i, s, next)
	{
		spec_free(s);
	}
	weft_loop_remove(h->cfg.loop, h->timer_fd);
	weft_loop_remove(h->cfg.loop, h->tell_fd);
	if (h->timer_fd >= 0)
		close(h->timer_fd);
	if (h->tell_fd >= 0)
		close(h->tell_fd);
	if (h->home_netns >= 0)
		close(h->home_netns);
	pthread_mutex_destroy(&h->lock);
	free(h->told);
	free(h->heap);
	free(h->marks);
	free(h);
}
