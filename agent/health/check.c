// SPDX-License-Identifier: Apache-2.0
/* The hosts of one pod's cluster, and when they are checked. */
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/health/internal.h"
#include "agent/log.h"
#include "bpf/engine/engine.h"

/* When as many checks run as may at a time. */
#define POSTPONE_MS 20u

/* ---- the heap: the earliest on top ---- */

static void heap_set(struct weft_health *h, size_t i, struct session *s)
{
	h->heap[i] = s;
	s->place = i;
}

static void heap_up(struct weft_health *h, size_t i, struct session *s)
{
	for (; i > 1 && h->heap[i / 2]->due_ms > s->due_ms; i /= 2)
		heap_set(h, i, h->heap[i / 2]);
	heap_set(h, i, s);
}

static void heap_down(struct weft_health *h, size_t i, struct session *s)
{
	while (2 * i <= h->n_heap) {
		size_t k = 2 * i;

		if (k < h->n_heap && h->heap[k + 1]->due_ms < h->heap[k]->due_ms)
			k++;
		if (h->heap[k]->due_ms >= s->due_ms)
			break;
		heap_set(h, i, h->heap[k]);
		i = k;
	}
	heap_set(h, i, s);
}

static void heap_remove(struct weft_health *h, struct session *s)
{
	size_t i = s->place;
	struct session *last;

	if (!i)
		return;
	s->place = 0;
	last = h->heap[h->n_heap--];
	if (last == s)
		return;
	if (i > 1 && h->heap[i / 2]->due_ms > last->due_ms)
		heap_up(h, i, last);
	else
		heap_down(h, i, last);
}

/* There is room for every session. */
static void due_set(struct weft_health *h, struct session *s, uint64_t ms)
{
	heap_remove(h, s);
	s->due_ms = ms;
	heap_up(h, ++h->n_heap, s);
}

static int heap_room(struct weft_health *h)
{
	size_t cap = h->cap_heap ? h->cap_heap * 2 : 64;
	struct session **more;

	if (h->n_host + 1 < h->cap_heap)
		return 0;
	more = reallocarray(h->heap, cap, sizeof(struct session *));
	if (!more)
		return -ENOMEM;
	h->heap = more;
	h->cap_heap = cap;
	return 0;
}

uint64_t sessions_next(const struct weft_health *h)
{
	return h->n_heap ? h->heap[1]->due_ms : 0;
}

/* ---- results ---- */

static uint64_t random_of(void *ctx)
{
	const struct weft_health *h = ctx;

	return h->cfg.random(h->cfg.ctx);
}

static struct weft_health *health_of(const struct session *s)
{
	return (struct weft_health *)((char *)(uintptr_t)s->probe.ops -
				      offsetof(struct weft_health, ops));
}

/* Also of connections that were made before the cluster was changed. */
static bool has_traffic(struct hc_check *c)
{
	uint32_t cell = c->spec->cluster_id ? weft_cell_find(c->pod->id, c->spec->cluster_id) : 0;

	if (!c->traffic && cell)
		c->traffic = __atomic_load_n(&weft_cell_cluster(cell)->cx_total,
					     __ATOMIC_RELAXED) != 0;
	return c->traffic;
}

static void log_host(const struct session *s, enum weft_log_level level, const char *what,
		     const char *why)
{
	WEFT_LOG(level, what, WEFT_KV_U("pod", s->check->pod->id),
		 WEFT_KV_S("cluster", s->check->spec->conf.cluster),
		 WEFT_KV_S("host", s->target.address), WEFT_KV_U("port", s->target.port),
		 WEFT_KV_S("reason", why));
}

static const char *failure_name(enum weft_health_failure why)
{
	static const char *const names[] = {"response", "response", "request's response",
					    "connection", "timeout"};

	return names[why];
}

static void warm_look(struct weft_health *h, struct hc_check *c)
{
	bool warm = c->spec->listed;

	for (size_t i = 0; i < c->n && warm; i++)
		warm = c->session[i]->host.checked || c->session[i]->target.disabled;
	if (warm && !c->warm)
		h->warmed = true;
	c->warm = c->warm || warm;
}

static void next_set(struct weft_health *h, struct session *s, bool succeeded,
		     enum weft_health_change change)
{
	struct hc_check *c = s->check;

	due_set(h, s,
		h->now_ms + weft_health_interval(&c->spec->conf, succeeded, change, has_traffic(c),
						 random_of, h));
}

static void changed(struct weft_health *h, struct session *s, enum weft_health_change change)
{
	struct hc_check *c = s->check;

	if (change == WEFT_HEALTH_CHANGED || weft_health_mark(&s->host) != s->published) {
		c->dirty = true;
		h->look_ms = h->now_ms;
	}
	if (!c->warm)
		warm_look(h, c);
}

static void success(struct weft_health *h, struct session *s, bool degraded)
{
	struct hc_check *c = s->check;
	bool was = s->host.failed, first = !s->host.checked;
	enum weft_health_change change =
		weft_health_succeeded(&s->host, &c->spec->conf, degraded, &c->stats);

	if (was && !s->host.failed)
		log_host(s, WEFT_LOG_INFO, "host is healthy", first ? "first check" : "checks");
	else if (c->spec->conf.log_successes)
		log_host(s, WEFT_LOG_INFO, "health check succeeded", "");
	changed(h, s, change);
	if (!s->host.failed && s->id && h->cfg.passed)
		h->cfg.passed(h->cfg.ctx, c->pod->id, c->spec->cluster_id, s->id);
	next_set(h, s, true, change);
}

static enum weft_health_change failure(struct weft_health *h, struct session *s,
				       enum weft_health_failure why)
{
	struct hc_check *c = s->check;
	bool was = s->host.failed, first = !s->host.checked;
	enum weft_health_change change =
		weft_health_failed(&s->host, &c->spec->conf, why, &c->stats);

	if (s->from && s->host.failed)
		h->reap = c->reap = true;
	if (!was && s->host.failed)
		log_host(s, WEFT_LOG_INFO, "host is unhealthy", failure_name(why));
	else if (first || c->spec->conf.log_failures)
		log_host(s, WEFT_LOG_INFO, "health check failed", failure_name(why));
	changed(h, s, change);
	return change;
}

void session_told(struct weft_health *h, struct session *s, uint64_t times)
{
	s->host.excluded = true;
	failure(h, s, WEFT_HEALTH_PASSIVE);
	/* the others changed nothing any more */
	s->check->stats.failure += times - 1;
	s->check->stats.passive_failure += times - 1;
}

/* ---- the probe ---- */

static void idle_count(struct weft_health *h, struct session *s)
{
	bool kept = !s->probe.running && s->probe.fd >= 0;

	h->n_idle += kept && !s->idle_kept;
	h->n_idle -= !kept && s->idle_kept;
	s->idle_kept = kept;
}

static void on_done(void *ctx, const struct weft_probe_result *r)
{
	struct session *s = ctx;
	struct weft_health *h = health_of(s);

	h->now_ms = h->cfg.now_ms(h->cfg.ctx);
	/* a check of TCP may also end between two of them */
	h->n_running -= s->idle_kept ? 0 : 1;
	s->check->stats.verify_cluster += r->verified;
	s->host.excluded |= r->excluded;
	switch (r->end) {
	case WEFT_PROBE_OK:
		success(h, s, r->degraded);
		break;
	case WEFT_PROBE_FAILED:
		next_set(h, s, false, failure(h, s, WEFT_HEALTH_ACTIVE));
		break;
	case WEFT_PROBE_RETRIABLE:
		next_set(h, s, false, failure(h, s, WEFT_HEALTH_RETRIABLE));
		break;
	case WEFT_PROBE_NETWORK:
		next_set(h, s, false, failure(h, s, WEFT_HEALTH_NETWORK));
		break;
	}
	if (s->probe.fd >= 0 && h->n_idle >= WEFT_HEALTH_IDLE_MAX)
		weft_probe_idle_close(&s->probe);
	idle_count(h, s);
	health_arm(h);
}

static int on_open(void *ctx, int family)
{
	struct session *s = ctx;
	struct weft_health *h = health_of(s);
	int fd, r;

	if (setns(s->check->pod->netns_fd, CLONE_NEWNET))
		return -errno;
	fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		fd = -errno;
	if (setns(h->home_netns, CLONE_NEWNET))
		abort(); /* the agent would open its own sockets in a pod */
	r = fd >= 0 && h->cfg.exempt ? h->cfg.exempt(h->cfg.ctx, fd) : 0;
	if (r == 0)
		return fd;
	close(fd);
	return r;
}

static void probe_run(struct weft_health *h, struct session *s)
{
	if (h->n_running >= WEFT_HEALTH_RUNNING_MAX) {
		h->postponed++;
		due_set(h, s, h->now_ms + POSTPONE_MS);
		return;
	}
	h->n_idle -= s->idle_kept;
	s->idle_kept = false;
	h->n_running++;
	s->check->stats.attempt++;
	due_set(h, s, h->now_ms + s->check->spec->conf.timeout_ms);
	weft_probe_start(&s->probe);
}

void sessions_run(struct weft_health *h)
{
	/* each once: what is due again waits for the next turn */
	for (size_t n = h->n_heap; n && h->n_heap && h->heap[1]->due_ms <= h->now_ms; n--) {
		struct session *s = h->heap[1];

		if (!s->probe.running) {
			probe_run(h, s);
			continue;
		}
		weft_probe_stop(&s->probe);
		h->n_running--;
		idle_count(h, s);
		next_set(h, s, false, failure(h, s, WEFT_HEALTH_TIMEOUT));
	}
}

/* ---- sessions ---- */

static void session_free(struct weft_health *h, struct session *s)
{
	if (!s)
		return;
	if (!s->target.disabled)
		weft_health_host_gone(&s->host, &s->check->stats);
	heap_remove(h, s);
	h->n_running -= s->probe.running;
	h->n_idle -= s->idle_kept;
	h->n_host--;
	weft_probe_clear(&s->probe);
	target_clear(&s->target);
	weft_resource_unref(s->from);
	free(s->authority);
	free(s);
}

/* What the host is asked for by: its own name for checks, the configured one, the cluster's. */
static const char *authority_of(const struct weft_health_conf *c, const struct target *t)
{
	if (*t->host)
		return t->host;
	return c->host && *c->host ? c->host : c->cluster;
}

/* -E2BIG: there are as many hosts as may be. */
static int session_new(struct weft_health *h, struct hc_check *c, const struct target *t,
		       struct session **ret)
{
	const struct weft_health_conf *conf = &c->spec->conf;
	struct session *s;
	int r = h->n_host < WEFT_HEALTH_HOSTS_MAX ? heap_room(h) : -E2BIG;

	if (r < 0)
		return r;
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->authority = strdup(authority_of(conf, t));
	if (!s->authority || target_copy(t, &s->target)) {
		free(s->authority);
		free(s);
		return -ENOMEM;
	}
	s->check = c;
	s->published = -2;
	h->n_host++;
	weft_probe_init(&s->probe, conf, &h->ops, s, &s->target.to, s->authority);
	weft_health_host_init(&s->host, conf);
	if (t->disabled)
		s->host = (struct weft_health_host){0};
	else
		due_set(h, s, h->now_ms + weft_health_first(conf, random_of, h));
	*ret = s;
	return 0;
}

/* The session of a host that stays, or a new one; NULL: it is not checked. */
static struct session *session_take(struct weft_health *h, struct hc_check *c,
				    const struct target *t, struct session **old)
{
	struct session *s = *old;
	int r;

	if (s && target_same_check(&s->target, t)) {
		*old = NULL;
		s->target.unhealthy = t->unhealthy;
		weft_resource_unref(s->from);
		s->from = NULL;
		return s;
	}
	r = session_new(h, c, t, &s);
	if (r == 0)
		return s;
	if (!h->unchecked++)
		WEFT_LOG(WEFT_LOG_ERROR, "a host is not checked and counts as EDS says",
			 WEFT_KV_S("reason", r == -E2BIG ? "too many hosts" : "no memory"));
	return NULL;
}

int check_follow(struct weft_health *h, struct hc_check *c, struct weft_resource *old_from)
{
	const struct spec *s = c->spec;
	struct session **v = calloc(c->n + s->n + 1, sizeof(struct session *));
	size_t i = 0, j = 0, n = 0;

	if (!v)
		return -ENOMEM;
	while (i < c->n || j < s->n) {
		int order = i == c->n ? 1
			    : j == s->n
				    ? -1
				    : target_compare(&c->session[i]->target, &s->target[j]);
		struct session *none = NULL, **old = order <= 0 ? &c->session[i] : &none;

		if (order >= 0) {
			v[n] = session_take(h, c, &s->target[j], old);
			n += v[n] != NULL;
		} else if ((old_from || (*old)->from) && session_stays(*old)) {
			if (!(*old)->from)
				(*old)->from = weft_resource_ref(old_from);
			v[n++] = *old;
			*old = NULL;
		}
		session_free(h, *old);
		i += order <= 0;
		j += order >= 0;
	}
	free(c->session);
	c->session = v;
	c->n = n;
	c->updated = false; /* hosts that come or go are told at once */
	c->publish_ms = 0;
	warm_look(h, c);
	return 0;
}

void check_reap(struct weft_health *h, struct hc_check *c)
{
	size_t n = 0;

	for (size_t i = 0; i < c->n; i++) {
		struct session *s = c->session[i];

		if (!s->from || !s->host.failed) {
			c->session[n++] = s;
			continue;
		}
		log_host(s, WEFT_LOG_INFO, "host is removed", "discovery has it no more");
		session_free(h, s);
	}
	c->n = n;
	c->reap = false;
}

/* Counters are of the cluster's name, as in Envoy; also that it had traffic. */
static void inherit(struct weft_health *h, struct hc_check *c)
{
	struct spec *s, *next;
	struct hc_check *old;
	size_t i;

	SPECS_EACH(h, i, s, next)
	{
		if (s == c->spec || s->view != c->spec->view ||
		    strcmp(s->res->name, c->spec->res->name) != 0)
			continue;
		LIST_FOREACH(old, &s->checks, link)
		{
			if (old->pod != c->pod)
				continue;
			c->stats = old->stats;
			c->stats.healthy = c->stats.degraded = 0;
			c->traffic = has_traffic(old);
		}
	}
}

struct hc_check *check_new(struct weft_health *h, struct spec *s, struct hc_pod *pod)
{
	struct hc_check *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->spec = s;
	c->pod = pod;
	inherit(h, c);
	LIST_INSERT_HEAD(&s->checks, c, link);
	return c;
}

void check_free(struct weft_health *h, struct hc_check *c)
{
	LIST_REMOVE(c, link);
	for (size_t i = 0; i < c->n; i++)
		session_free(h, c->session[i]);
	free(c->session);
	free(c->id);
	free(c->mark);
	free(c);
}

void health_ops_init(struct weft_health *h)
{
	h->ops = (struct weft_probe_ops){.loop = h->cfg.loop, .open = on_open, .done = on_done};
}
