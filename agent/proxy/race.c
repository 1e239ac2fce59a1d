// SPDX-License-Identifier: Apache-2.0
/*
 * Connecting to a host of several addresses (RFC 8305, as Envoy's MultiConnectionBaseImpl): the
 * next one is tried as soon as one fails, and beside those under way when none has come about for a
 * while; the first that does is the connection.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/proxy/internal.h"

struct runner {
	struct watch watch;
	TAILQ_ENTRY(runner) link; /* of its race, or the worker's graves */
	struct upstream *u;
	struct weft_sockaddr addr;
};

struct race {
	struct pod *pod;
	struct timer next; /* when one more is tried beside the others */
	TAILQ_HEAD(, runner) runners;
	uint32_t n, at; /* addresses, and those that were tried */
	struct weft_sockaddr addr[];
};

/* Its event may still be to come in this turn. */
static void bury(struct worker *w, struct race *r, struct runner *t)
{
	TAILQ_REMOVE(&r->runners, t, link);
	TAILQ_INSERT_TAIL(&w->runner_graves, t, link);
}

static void give_up(struct worker *w, struct race *r, struct runner *t)
{
	watch_close(w, &t->watch);
	pod_file_put(w, r->pod->id);
	bury(w, r, t);
}

static int start_one(struct upstream *u, const struct weft_sockaddr *to)
{
	struct worker *w = u->worker;
	struct runner *t = calloc(1, sizeof(*t));
	int r = t ? 0 : -ENOMEM;

	if (!r) {
		*t = (struct runner){
			.watch = {.kind = WATCH_RUNNER, .fd = -1}, .u = u, .addr = *to};
		r = upstream_connect(w, u->race->pod, to, &t->watch.fd);
	}
	if (r) {
		free(t);
		return r;
	}
	TAILQ_INSERT_TAIL(&u->race->runners, t, link);
	r = watch_set(w, &t->watch, EPOLLOUT);
	if (r)
		give_up(w, u->race, t);
	return r;
}

/* The next address that can be tried at all. The error of the last one when there is none. */
static int start_next(struct upstream *u)
{
	struct race *race = u->race;
	int r = -ECONNREFUSED;

	while (r && race->at < race->n)
		r = start_one(u, &race->addr[race->at++]);
	if (!r && race->at < race->n)
		timer_set(u->worker, &race->next, u->worker->now_ms + PROXY_RACE_MS);
	else
		timer_clear(&race->next);
	return r;
}

static void next_due(struct worker *w, struct timer *t)
{
	struct race *race = (struct race *)((char *)t - offsetof(struct race, next));
	struct runner *any = TAILQ_FIRST(&race->runners);

	(void)w;
	if (any)
		start_next(any->u);
}

int race_begin(struct upstream *u, struct pod *pod, const struct weft_img_addresses *all)
{
	struct race *race = calloc(1, sizeof(*race) + all->n * sizeof(*race->addr));
	int r;

	if (!race)
		return -ENOMEM;
	race->pod = pod;
	race->next.fire = next_due;
	TAILQ_INIT(&race->runners);
	race->n = all->n;
	memcpy(race->addr, all + 1, all->n * sizeof(*race->addr));
	u->race = race;
	r = start_next(u);
	if (r)
		race_end(u);
	return r;
}

void race_end(struct upstream *u)
{
	struct race *race = u->race;
	struct runner *t;

	if (!race)
		return;
	u->race = NULL;
	while ((t = TAILQ_FIRST(&race->runners)))
		give_up(u->worker, race, t);
	timer_remove(&race->next);
	free(race);
}

/* Its descriptor, and its place in the pod's share, are the connection's. */
static void win(struct upstream *u, struct runner *t)
{
	struct race *race = u->race;

	watch_set(u->worker, &t->watch, 0);
	u->watch.fd = t->watch.fd;
	u->addr = t->addr;
	t->watch.fd = -1;
	bury(u->worker, race, t);
	race_end(u);
	upstream_connected(u);
}

void race_event(struct watch *watch)
{
	struct runner *t = (struct runner *)((char *)watch - offsetof(struct runner, watch));
	struct upstream *u = t->u;
	struct race *race = u->race;
	socklen_t len = sizeof(int);
	int err = 0;

	if (getsockopt(watch->fd, SOL_SOCKET, SO_ERROR, &err, &len))
		err = errno;
	if (!err) {
		win(u, t);
		return;
	}
	upstream_connect_say(u->worker, "delayed", err);
	give_up(u->worker, race, t);
	if (start_next(u) && TAILQ_EMPTY(&race->runners))
		upstream_connect_failed(u);
}

void race_graves_clear(struct worker *w)
{
	struct runner *t;

	while ((t = TAILQ_FIRST(&w->runner_graves))) {
		TAILQ_REMOVE(&w->runner_graves, t, link);
		free(t);
	}
}
