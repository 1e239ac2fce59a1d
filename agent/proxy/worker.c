// SPDX-License-Identifier: Apache-2.0
/* The loop of one worker thread. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "agent/access/writer.h"
#include "agent/proxy/limiter.h"
#include "agent/proxy/up.h"
#include "agent/proxy/rates.h"
#include "xds/clock.h"

static void clock_read(struct worker *w)
{
	w->now_ns = weft_clock_ns(CLOCK_MONOTONIC);
	w->now_ms = w->now_ns / 1000000u;
}

/* xorshift64*: choices among hosts need no secret. */
uint64_t worker_random(struct worker *w)
{
	w->random ^= w->random >> 12;
	w->random ^= w->random << 25;
	w->random ^= w->random >> 27;
	return w->random * 0x2545F4914F6CDD1Dull;
}

uint32_t worker_cell(struct worker *w, uint32_t pod, uint32_t id)
{
	uint32_t cell = weft_cell_find(pod, id);

	return cell ? cell : weft_store_cell(w->proxy->store, pod, id);
}

int watch_set(struct worker *w, struct watch *watch, uint32_t events)
{
	struct epoll_event e = {.events = events, .data.ptr = watch};
	int op = EPOLL_CTL_MOD;

	if (watch->events == events)
		return 0;
	if (!watch->events)
		op = EPOLL_CTL_ADD;
	else if (!events)
		op = EPOLL_CTL_DEL;
	if (epoll_ctl(w->epoll, op, watch->fd, &e))
		return -errno;
	watch->events = events;
	return 0;
}

void watch_close(struct worker *w, struct watch *watch)
{
	if (watch->fd < 0)
		return;
	watch_set(w, watch, 0);
	close(watch->fd);
	watch->fd = -1;
}

static void commands_run(struct worker *w)
{
	uint64_t n;

	w->woken = false;
	if (read(w->wake.fd, &n, sizeof(n)) < 0 && errno != EAGAIN)
		return;
	pthread_mutex_lock(&w->lock);
	while (!STAILQ_EMPTY(&w->commands)) {
		struct command *c = STAILQ_FIRST(&w->commands);

		STAILQ_REMOVE_HEAD(&w->commands, link);
		pthread_mutex_unlock(&w->lock);
		c->run(w, c->arg);
		pthread_mutex_lock(&w->lock);
		c->done = true;
		pthread_cond_broadcast(&w->cond);
	}
	pthread_mutex_unlock(&w->lock);
}

void worker_call(struct worker *w, void (*fn)(struct worker *w, void *arg), void *arg)
{
	struct command c = {.run = fn, .arg = arg};
	uint64_t one = 1;

	pthread_mutex_lock(&w->lock);
	STAILQ_INSERT_TAIL(&w->commands, &c, link);
	pthread_mutex_unlock(&w->lock);
	if (write(w->wake.fd, &one, sizeof(one)) < 0) {
		/* the counter is full: it is awake */
	}
	pthread_mutex_lock(&w->lock);
	while (!c.done)
		pthread_cond_wait(&w->cond, &w->lock);
	pthread_mutex_unlock(&w->lock);
}

static void dispatch(struct worker *w, struct watch *watch, uint32_t events)
{
	if (watch->fd < 0)
		return; /* closed earlier in this turn */
	switch (watch->kind) {
	case WATCH_WAKE:
		w->woken = true;
		break;
	case WATCH_LISTENER:
		listener_event(w, (struct listener *)watch);
		break;
	case WATCH_DOWN:
		down_event((struct down *)watch, events);
		break;
	case WATCH_UPSTREAM:
		upstream_event((struct upstream *)watch, events);
		break;
	case WATCH_RUNNER:
		race_event(watch);
		break;
	}
}

/* Closed connections are freed when no event of this turn can name them any more. */
static void graves_clear(struct worker *w)
{
	struct upstream *u;
	struct down *d;

	/* each may leave something for the other */
	while (!TAILQ_EMPTY(&w->calls) || !TAILQ_EMPTY(&w->askers) || !TAILQ_EMPTY(&w->mirrors) ||
	       !TAILQ_EMPTY(&w->pool_checks) || !TAILQ_EMPTY(&w->h2) || !TAILQ_EMPTY(&w->up)) {
		askers_run(w);
		calls_run(w);
		mirrors_run(w);
		pool_checks_run(w);
		up_sessions_run(w);
		h2_run(w);
	}
	while ((d = TAILQ_FIRST(&w->graves))) {
		TAILQ_REMOVE(&w->graves, d, link);
		free(d->limits);
		free(d->again);
		free(d->hello);
		h2_free(d->h2);
		free(d);
	}
	while ((u = TAILQ_FIRST(&w->up_graves))) {
		TAILQ_REMOVE(&w->up_graves, u, link);
		if (!u->stream)
			up_session_free(u->session);
		free(u);
	}
	race_graves_clear(w);
}

static void endpoints_look(struct worker *w, struct timer *t)
{
	pool_endpoints_check(w);
	timer_set(w, t, w->now_ms + PROXY_ENDPOINTS_MS);
}

static bool is_upstream(const struct watch *watch)
{
	return watch->kind == WATCH_UPSTREAM || watch->kind == WATCH_RUNNER;
}

static void *worker_main(void *arg)
{
	struct epoll_event events[PROXY_EVENTS];
	struct worker *w = arg;

	w->endpoints.fire = endpoints_look;
	timer_set(w, &w->endpoints, w->now_ms + PROXY_ENDPOINTS_MS);
	while (!w->stop) {
		int n = epoll_wait(w->epoll, events, PROXY_EVENTS, timers_wait(w));

		clock_read(w);
		/* upstream first: a pooled connection that has ended is gone before a request takes it */
		for (int i = 0; i < n; i++) {
			if (is_upstream(events[i].data.ptr))
				dispatch(w, events[i].data.ptr, events[i].events);
		}
		for (int i = 0; i < n; i++) {
			if (!is_upstream(events[i].data.ptr))
				dispatch(w, events[i].data.ptr, events[i].events);
		}
		/* last: a pod that is taken away takes its listeners with it */
		if (w->woken)
			commands_run(w);
		timers_run(w);
		graves_clear(w);
	}
	graves_clear(w);
	return NULL;
}

static void pod_close(struct worker *w, struct pod *p)
{
	struct listener *l;
	struct down *d;

	while ((l = TAILQ_FIRST(&p->listeners)))
		listener_close(w, l);
	while ((d = TAILQ_FIRST(&p->downs)))
		down_close(d);
	pool_pod_close(w, p);
	timer_remove(&p->drain);
	TAILQ_REMOVE(&w->pods, p, link);
	limiter_stats_drop(w, p->id);
	if (!__atomic_sub_fetch(&w->proxy->users[p->id], 1, __ATOMIC_ACQ_REL))
		rates_pod_drop(w->proxy->rates, p->id);
	close(p->netns_fd);
	free(p);
}

static void stop(struct worker *w, void *arg)
{
	struct pod *p;

	(void)arg;
	while ((p = TAILQ_FIRST(&w->pods)))
		pod_close(w, p);
	w->stop = true;
}

static void worker_clear(struct worker *w)
{
	struct exchange *x;

	if (w->started) {
		worker_call(w, stop, NULL);
		pthread_join(w->thread, NULL);
	}
	while (!TAILQ_EMPTY(&w->spare)) {
		x = TAILQ_FIRST(&w->spare);
		TAILQ_REMOVE(&w->spare, x, link);
		free(x);
	}
	limiter_stats_free(w);
	buf_spares_free(w);
	straight_close(w);
	weft_reader_free(w->reader);
	if (w->epoll >= 0)
		close(w->epoll);
	if (w->wake.fd >= 0)
		close(w->wake.fd);
	if (w->home_netns >= 0)
		close(w->home_netns);
	pthread_mutex_destroy(&w->lock);
	pthread_cond_destroy(&w->cond);
}

static int worker_init(struct weft_proxy *p, struct worker *w)
{
	int r;

	w->proxy = p;
	w->epoll = w->home_netns = -1;
	w->wake = (struct watch){.kind = WATCH_WAKE, .fd = -1};
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->cond, NULL);
	STAILQ_INIT(&w->commands);
	TAILQ_INIT(&w->pods);
	TAILQ_INIT(&w->spare);
	TAILQ_INIT(&w->mirrors);
	TAILQ_INIT(&w->calls);
	TAILQ_INIT(&w->askers);
	TAILQ_INIT(&w->h2);
	TAILQ_INIT(&w->up);
	TAILQ_INIT(&w->graves);
	TAILQ_INIT(&w->up_graves);
	TAILQ_INIT(&w->runner_graves);
	TAILQ_INIT(&w->pool_checks);
	clock_read(w);
	w->wheel.tick = w->now_ms / PROXY_TICK_MS;
	if (getrandom(&w->random, sizeof(w->random), 0) < 0 || !w->random)
		w->random = w->now_ns | 1;
	r = weft_reader_new(p->store, &w->reader);
	if (r)
		return r;
	w->epoll = epoll_create1(EPOLL_CLOEXEC);
	w->wake.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	w->home_netns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	if (w->epoll < 0 || w->wake.fd < 0 || w->home_netns < 0)
		return -errno;
	r = watch_set(w, &w->wake, EPOLLIN);
	if (r)
		return r;
	r = pthread_create(&w->thread, NULL, worker_main, w);
	w->started = !r;
	return -r;
}

static uint32_t quarter_of_files(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur > UINT32_MAX)
		return UINT32_MAX / 4;
	return (uint32_t)(limit.rlim_cur / 4);
}

int weft_proxy_new(const struct weft_proxy_config *cfg, struct weft_proxy **ret)
{
	struct weft_proxy *p = calloc(1, sizeof(*p));
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned int n = cfg->workers ? cfg->workers : (unsigned int)(cpus > 0 ? cpus : 1);
	int r = 0;

	if (!p)
		return -ENOMEM;
	p->worker = calloc(n, sizeof(*p->worker));
	p->turns = weft_turns_new();
	p->pools =
		calloc((size_t)weft_state_head()->n_cell * WEFT_PRIORITY__MAX, sizeof(*p->pools));
	if (!p->worker || !p->turns || !p->pools) {
		weft_proxy_free(p);
		return -ENOMEM;
	}
	p->store = cfg->store;
	p->ops = *cfg->ops;
	p->pod_files = cfg->pod_files ? cfg->pod_files : quarter_of_files();
	r = rates_new(p->store, &p->rates);
	if (!r && !cfg->no_access)
		r = weft_access_new(cfg->access_dir, n, &p->access);
	while (!r && p->n < n)
		r = worker_init(p, &p->worker[p->n++]);
	if (r) {
		weft_proxy_free(p);
		return r;
	}
	*ret = p;
	return 0;
}

void weft_proxy_free(struct weft_proxy *p)
{
	if (!p)
		return;
	for (unsigned int i = 0; i < p->n; i++)
		worker_clear(&p->worker[i]);
	weft_turns_free(p->turns);
	rates_free(p->rates);
	weft_access_free(p->access); /* behind the last lines of the workers */
	free(p->pools);
	free(p->worker);
	free(p);
}

struct weft_access *weft_proxy_access(struct weft_proxy *p)
{
	return p->access;
}

/* ---- pods ---- */

static void pod_link(struct worker *w, void *arg)
{
	struct pod *p = arg;
	struct listener *l;

	TAILQ_INSERT_TAIL(&w->pods, p, link);
	__atomic_add_fetch(&w->proxy->users[p->id], 1, __ATOMIC_ACQ_REL);
	TAILQ_FOREACH(l, &p->listeners, link)
		watch_set(w, &l->watch, EPOLLIN);
}

static void pod_drained(struct worker *w, struct timer *t)
{
	pod_close(w, (struct pod *)((char *)t - offsetof(struct pod, drain)));
}

struct removal {
	uint32_t id, drain_ms;
	bool found;
};

static void pod_unlink(struct worker *w, void *arg)
{
	struct removal *r = arg;
	struct pod *p;

	TAILQ_FOREACH(p, &w->pods, link) {
		if (p->id == r->id && !p->closing)
			break;
	}
	if (!p)
		return;
	r->found = true;
	p->closing = true;
	for (struct down *d = TAILQ_FIRST(&p->downs), *next; d; d = next) {
		next = TAILQ_NEXT(d, link);
		if (d->state == DOWN_STREAMS)
			down_drain(d, true);
	}
	/* The apps' connections that wait are as open as the others. */
	for (struct listener *l; r->drain_ms && (l = TAILQ_FIRST(&p->listeners));)
		listener_finish(w, l);
	if (!r->drain_ms || TAILQ_EMPTY(&p->downs)) {
		pod_close(w, p);
		return;
	}
	p->drain.fire = pod_drained;
	timer_set(w, &p->drain, w->now_ms + r->drain_ms);
}

static void pod_discard(struct pod *p)
{
	struct listener *l;

	if (!p)
		return;
	while ((l = TAILQ_FIRST(&p->listeners))) {
		TAILQ_REMOVE(&p->listeners, l, link);
		close(l->watch.fd);
		free(l);
	}
	if (p->netns_fd >= 0)
		close(p->netns_fd);
	free(p);
}

static struct pod *pod_new(const struct weft_proxy_pod *pod)
{
	struct pod *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->id = pod->id;
	p->view = pod->view;
	p->cookie = pod->cookie;
	TAILQ_INIT(&p->listeners);
	TAILQ_INIT(&p->downs);
	TAILQ_INIT(&p->pools);
	p->netns_fd = fcntl(pod->netns_fd, F_DUPFD_CLOEXEC, 0);
	if (p->netns_fd < 0) {
		free(p);
		return NULL;
	}
	return p;
}

int weft_proxy_pod_add(struct weft_proxy *p, const struct weft_proxy_pod *pod,
		       uint16_t port4[WEFT_LISTEN_PORTS], uint16_t port6[WEFT_LISTEN_PORTS])
{
	struct pod **pods = calloc(p->n, sizeof(*pods));
	int r = pods ? 0 : -ENOMEM;

	for (unsigned int i = 0; !r && i < p->n; i++) {
		pods[i] = pod_new(pod);
		if (!pods[i])
			r = -ENOMEM;
	}
	if (!r)
		r = listeners_open(p, pod, pods, port4, port6);
	for (unsigned int i = 0; pods && i < p->n; i++) {
		if (r)
			pod_discard(pods[i]);
		else
			worker_call(&p->worker[i], pod_link, pods[i]);
	}
	free(pods);
	return r;
}

int weft_proxy_pod_remove(struct weft_proxy *p, uint32_t id, uint32_t drain_ms)
{
	struct removal r = {.id = id, .drain_ms = drain_ms};

	for (unsigned int i = 0; i < p->n; i++)
		worker_call(&p->worker[i], pod_unlink, &r);
	return r.found ? 0 : -ENOENT;
}
