// SPDX-License-Identifier: Apache-2.0
/*
 * Upstream connections of one pod to one endpoint, and the breakers in front of them
 * (CircuitBreakers): a request takes an idle connection, or waits (max_pending_requests) for one
 * that may be opened (max_connections; every pool may open its first); on a connection it counts
 * against max_requests.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/proxy/breaker.h"
#include "agent/proxy/up.h"

/* A logical host's connections stay in use when its name has other addresses (Envoy). */
static bool is_of(const struct pool *p, const struct exchange *x)
{
	bool logical = x->cluster->flags & WEFT_CLUSTER_LOGICAL;

	return p->cell_cluster == x->cell_cluster && p->priority == x->priority &&
	       p->logical == logical && p->http2 == x->streams &&
	       (logical || !memcmp(&p->addr, &x->endpoint, sizeof(p->addr)));
}

static uint32_t *pools_of(const struct pool *p)
{
	return &p->proxy->pools[breaker_pool_index(p->cell_cluster, p->priority)];
}

static void pool_free(struct pool *p)
{
	TAILQ_REMOVE(&p->pod->pools, p, link);
	weft_place_put(pools_of(p));
	free(p);
}

/* Room among max_connection_pools; an idle one to the same endpoint makes room (Envoy's
 * freeOnePool()). */
static bool pool_place(struct pool *p, const struct exchange *x)
{
	uint32_t max = x->cluster->threshold[p->priority].max_pools;
	struct pool *o;

	if (weft_place_take(pools_of(p), max))
		return true;
	TAILQ_FOREACH(o, &p->pod->pools, link)
	{
		if (o->cell_cluster == p->cell_cluster && o->priority == p->priority &&
		    !memcmp(&o->addr, &p->addr, sizeof(p->addr)) && !o->n_busy && !o->n_waiting &&
		    !o->checked)
			break;
	}
	if (!o)
		return false;
	while (!TAILQ_EMPTY(&o->idle))
		upstream_close(TAILQ_FIRST(&o->idle));
	pool_free(o);
	return weft_place_take(pools_of(p), max);
}

static struct pool *pool_find(struct exchange *x)
{
	struct pod *pod = x->down->pod;
	struct pool *p;

	TAILQ_FOREACH(p, &pod->pools, link) {
		if (is_of(p, x))
			break;
	}
	if (p) {
		p->addr = x->endpoint;
		/* those in use stay near the front */
		TAILQ_REMOVE(&pod->pools, p, link);
		TAILQ_INSERT_HEAD(&pod->pools, p, link);
		return p;
	}
	p = calloc(1, sizeof(*p));
	if (!p)
		return NULL;
	p->pod = pod;
	p->proxy = x->down->worker->proxy;
	p->cell_cluster = x->cell_cluster;
	p->priority = x->priority;
	p->addr = x->endpoint;
	if (!pool_place(p, x)) {
		COUNT(x->down->worker->stats.pool_overflow, 1);
		free(p);
		return NULL;
	}
	p->http2 = x->streams;
	p->covers = 1;
	p->cluster_id = x->cluster_id;
	p->original_dst = x->cluster->type == WEFT_CLUSTER_ORIGINAL_DST;
	p->logical = x->cluster->flags & WEFT_CLUSTER_LOGICAL;
	TAILQ_INIT(&p->idle);
	TAILQ_INIT(&p->busy);
	TAILQ_INIT(&p->waiting);
	TAILQ_INSERT_HEAD(&pod->pools, p, link);
	return p;
}

static bool pool_empty(const struct pool *p)
{
	return !p->n_idle && !p->n_busy && TAILQ_EMPTY(&p->waiting);
}

/* More wait than the connections that are on their way take. */
static bool lacks(const struct pool *p)
{
	return p->n_waiting > (uint64_t)p->n_connecting * p->covers;
}

void pool_check(struct worker *w, struct pool *p)
{
	if (p->checked || (!pool_empty(p) && !lacks(p)))
		return;
	p->checked = true;
	TAILQ_INSERT_TAIL(&w->pool_checks, p, check);
}

static struct weft_cell_cluster *cell(const struct pool *p)
{
	return weft_cell_cluster(p->cell_cluster);
}

static void attach(struct pool *p, struct upstream *u, struct exchange *x)
{
	u->x = x;
	u->requests++;
	x->up = u;
	x->pool = NULL;
	if (x->cell_endpoint) {
		__atomic_fetch_add(&weft_cell_endpoint(x->cell_endpoint)->rq_active, 1, __ATOMIC_RELAXED);
		COUNT(weft_cell_endpoint(x->cell_endpoint)->rq_total, 1);
	}
	COUNT(cell(p)->rq_total, 1);
	exchange_connected(x, u);
}

/* The same on a stream of its own; the connection is in use from here on. */
static void attach_stream(struct pool *p, struct upstream *conn, struct exchange *x)
{
	struct upstream *u = up_stream_new(conn);

	if (u)
		h2_keepalive_request(&conn->session->keep);
	if (!u) {
		x->pool = NULL;
		exchange_failed(x, FAIL_OVERFLOW);
		return;
	}
	conn->requests++;
	attach(p, u, x);
}

/* Room among max_requests; else the exchange is refused and false. */
static bool activate(struct pool *p, struct exchange *x)
{
	if (!weft_place_take(&cell(p)->rq_active[p->priority],
			     x->cluster->threshold[p->priority].max_requests)) {
		COUNT(cell(p)->rq_overflow, 1);
		return false;
	}
	x->has_active = true;
	return true;
}

static void idle_over(struct worker *w, struct timer *t)
{
	struct upstream *u = (struct upstream *)((char *)t - offsetof(struct upstream, timer));
	struct pool *p = u->pool;

	upstream_close(u);
	pool_check(w, p);
}

static void idle_put(struct pool *p, struct upstream *u)
{
	struct worker *w = u->worker;

	TAILQ_REMOVE(&p->busy, u, link);
	p->n_busy--;
	u->idle = true;
	TAILQ_INSERT_TAIL(&p->idle, u, link);
	p->n_idle++;
	COUNT(w->stats.upstream_idle, 1);
	__atomic_fetch_add(&cell(p)->cx_idle, 1, __ATOMIC_RELAXED);
	u->timer.fire = idle_over;
	if (u->idle_ms)
		timer_set(w, &u->timer, w->now_ms + u->idle_ms);
	upstream_watch(u);
}

/*
 * One that takes a request now. First in, first out: a server that closes right behind a reply is
 * noticed before its connection is used again.
 */
static struct upstream *free_find(struct pool *p)
{
	struct upstream *u;

	if (!p->http2)
		return TAILQ_FIRST(&p->idle);
	TAILQ_FOREACH(u, &p->busy, link)
	{
		if (up_session_room(u))
			return u;
	}
	TAILQ_FOREACH(u, &p->idle, link)
	{
		if (up_session_room(u))
			return u;
	}
	return NULL;
}

static void idle_take(struct pool *p, struct upstream *u)
{
	TAILQ_REMOVE(&p->idle, u, link);
	p->n_idle--;
	u->idle = false;
	COUNT(u->worker->stats.upstream_idle, -1);
	weft_place_put(&cell(p)->cx_idle);
	timer_clear(&u->timer);
	TAILQ_INSERT_TAIL(&p->busy, u, link);
	p->n_busy++;
}

/* It speaks HTTP/2. -ENOMEM. */
static int session_begin(struct pool *p, struct upstream *u, const struct weft_img_cluster *c)
{
	int r = up_session_new(u, weft_img_at(c->h2), p->told);

	if (!r)
		p->covers = up_session_most(u);
	return r;
}

/* Room for one more connection, to the endpoint and in the cluster; the pool's first has it always
 * (Envoy). */
static bool places_take(const struct pool *p, const struct exchange *x)
{
	uint32_t *places = &cell(p)->cx_active[p->priority];
	const struct weft_img_thresholds *t = &x->cluster->threshold[p->priority];
	bool host = breaker_host_take(t, x->cell_endpoint);

	if (host && weft_place_take(places, t->max_connections))
		return true;
	COUNT(cell(p)->cx_overflow, 1);
	if (p->n_idle || p->n_busy) {
		if (host)
			breaker_host_put(x->cell_endpoint);
		return false;
	}
	if (!host && x->cell_endpoint)
		__atomic_fetch_add(&weft_cell_endpoint(x->cell_endpoint)->cx_active, 1,
				   __ATOMIC_RELAXED);
	__atomic_fetch_add(places, 1, __ATOMIC_RELAXED);
	return true;
}

/* A connection for the first that waits. false: none may be opened, or it failed at once (*ret_err). */
static bool open_one(struct pool *p, struct exchange *x, int *ret_err)
{
	struct worker *w = x->down->worker;
	struct upstream *u;

	*ret_err = 0;
	if (!places_take(p, x))
		return false;
	u = upstream_open(w, p->pod, &p->addr, x->addresses, x->cluster->connect_timeout_ms,
			  ret_err);
	if (!u) {
		weft_place_put(&cell(p)->cx_active[p->priority]);
		breaker_host_put(x->cell_endpoint);
		COUNT(cell(p)->cx_connect_fail, 1);
		return false;
	}
	COUNT(cell(p)->cx_total, 1);
	u->has_place = true;
	u->pool = p;
	u->cell_cluster = p->cell_cluster;
	u->priority = p->priority;
	u->cell_endpoint = x->cell_endpoint;
	if (u->cell_endpoint)
		COUNT(weft_cell_endpoint(u->cell_endpoint)->cx_total, 1);
	u->idle_ms = x->cluster->idle_timeout_ms;
	u->max_requests = x->cluster->max_requests_per_connection;
	upstream_life(u, x->cluster->max_connection_ms);
	TAILQ_INSERT_TAIL(&p->busy, u, link);
	p->n_busy++;
	p->n_connecting++;
	*ret_err = p->http2 ? session_begin(p, u, x->cluster) : 0;
	if (*ret_err)
		upstream_close(u);
	return !*ret_err;
}

static void unpend(struct pool *p, struct exchange *x)
{
	TAILQ_REMOVE(&p->waiting, x, link);
	p->n_waiting--;
	x->pool = NULL;
	if (x->has_pending)
		weft_place_put(&cell(p)->rq_pending[p->priority]);
	x->has_pending = false;
}

/* Those that still wait get connections, as far as they may be opened. */
static void reopen(struct pool *p)
{
	int err = 0;

	while (lacks(p) && open_one(p, TAILQ_FIRST(&p->waiting), &err))
		;
	if (err && lacks(p))
		pool_connect_failed(p, FAIL_CONNECT);
}

void pool_checks_run(struct worker *w)
{
	struct pool *p;

	while ((p = TAILQ_FIRST(&w->pool_checks))) {
		TAILQ_REMOVE(&w->pool_checks, p, check);
		p->checked = false;
		reopen(p); /* may come back to the queue */
		if (!pool_empty(p) || p->checked)
			continue;
		pool_free(p);
	}
}

/*
 * All that wait are told (Envoy's purgePendingStreams), those that come to wait meanwhile are not. Each may be answered
 * and its connection's next request judged in here; what that leaves to be done with a pool is queued, so nobody else
 * takes from the front of this queue meanwhile.
 */
void pool_connect_failed(struct pool *p, enum fail_why why)
{
	for (uint32_t n = p->n_waiting; n && !TAILQ_EMPTY(&p->waiting); n--) {
		struct exchange *x = TAILQ_FIRST(&p->waiting);

		unpend(p, x);
		exchange_failed(x, why);
	}
}

void pool_cancel(struct exchange *x)
{
	struct pool *p = x->pool;

	if (!p)
		return;
	unpend(p, x);
	pool_check(x->down->worker, p);
}

void pool_request(struct exchange *x)
{
	struct pool *p = pool_find(x);
	struct upstream *u;
	int err = 0;

	if (!p) {
		/* as Envoy says it: 503 UH */
		exchange_failed(x, FAIL_NO_HOST);
		return;
	}
	u = free_find(p);
	if (u) {
		if (!activate(p, x)) {
			exchange_failed(x, FAIL_OVERFLOW);
			return;
		}
		if (u->idle)
			idle_take(p, u);
		if (p->http2)
			attach_stream(p, u, x);
		else
			attach(p, u, x);
		return;
	}
	if (!weft_place_take(&cell(p)->rq_pending[p->priority],
			     x->cluster->threshold[p->priority].max_pending)) {
		COUNT(cell(p)->pending_overflow, 1);
		pool_check(x->down->worker, p);
		exchange_failed(x, FAIL_OVERFLOW);
		return;
	}
	x->has_pending = true;
	x->pool = p;
	TAILQ_INSERT_TAIL(&p->waiting, x, link);
	p->n_waiting++;
	if (lacks(p) && !open_one(p, x, &err) && err)
		exchange_failed(x, FAIL_CONNECT); /* leaves the queue by pool_cancel() */
}

/* Whether a connection without requests may wait for more. */
static bool keeps(const struct pool *p)
{
	return !p->leaving && !p->pod->closing && p->n_idle < PROXY_POOL_IDLE_MAX;
}

void pool_settle(struct upstream *conn)
{
	struct pool *p = conn->pool;
	struct exchange *x;

	while ((x = TAILQ_FIRST(&p->waiting)) && up_session_room(conn)) {
		unpend(p, x);
		if (!activate(p, x)) {
			exchange_failed(x, FAIL_OVERFLOW);
			continue;
		}
		if (conn->idle)
			idle_take(p, conn);
		attach_stream(p, conn, x);
	}
	if (conn->orphan || conn->connecting)
		return;
	/* what it does not take is for another one; before its SETTINGS nobody knows */
	if (conn->session->known) {
		p->covers = p->told = up_session_most(conn);
		if (x)
			pool_check(conn->worker, p);
	}
	if (conn->session->n)
		return;
	if (up_session_open(conn) && (conn->idle || keeps(p))) {
		if (!conn->idle)
			idle_put(p, conn);
		return;
	}
	upstream_close(conn);
	pool_check(conn->worker, p);
}

/* A stream is over; its connection, if it still knew it, has room for another. */
static void stream_return(struct upstream *u)
{
	struct upstream *conn = u->session ? u->session->conn : NULL;

	up_stream_release(u);
	if (conn && !conn->orphan)
		pool_settle(conn);
}

void pool_return(struct upstream *u, bool reusable)
{
	struct pool *p = u->pool;
	struct exchange *x;

	u->x = NULL;
	if (u->stream) {
		stream_return(u);
		return;
	}
	if (u->eof || u->worn || (u->max_requests && u->requests >= u->max_requests))
		reusable = false;
	/* who waits is served even where connections are no longer kept; the one that waits longest first */
	while (reusable && (x = TAILQ_FIRST(&p->waiting))) {
		unpend(p, x);
		if (activate(p, x)) {
			attach(p, u, x);
			return;
		}
		exchange_failed(x, FAIL_OVERFLOW);
	}
	if (reusable && keeps(p)) {
		idle_put(p, u);
		return;
	}
	upstream_close(u);
	pool_check(u->worker, p);
}

/* ---- endpoints that leave their cluster ---- */

/* The address is still among the cluster's endpoints, and the cluster the same. Under a pin. */
static bool endpoint_stays(const struct weft_ctx *ctx, const struct pool *p)
{
	const struct weft_img_view *v = weft_img_at(ctx->view_off);
	const struct weft_img_cluster_ref *ref;
	const struct weft_img_endpoints *set;
	const struct weft_img_endpoint *e;

	if (p->cluster_id >= v->n_cluster)
		return false;
	ref = (const struct weft_img_cluster_ref *)weft_img_at(v->cluster) + p->cluster_id;
	if (!ref->cluster || weft_cell_find(ctx->pod, ((const struct weft_img_cluster *)weft_img_at(
							       ref->cluster))->cell) != p->cell_cluster)
		return false;
	if (p->original_dst || !ref->endpoints)
		return p->original_dst;
	set = weft_img_at(ref->endpoints);
	if (p->logical)
		return set->n;
	e = weft_img_at(set->endpoint);
	for (uint32_t i = 0; i < set->n; i++) {
		if (!memcmp(&e[i].addr, &p->addr, sizeof(p->addr)))
			return true;
	}
	return false;
}

static void pod_check(struct worker *w, struct pod *pod)
{
	struct weft_ctx ctx = {.pod = pod->id, .view = pod->view};
	struct pool *p, *next;

	if (weft_ctx_begin(&ctx))
		return;
	for (p = TAILQ_FIRST(&pod->pools); p; p = next) {
		struct upstream *u;

		next = TAILQ_NEXT(p, link);
		p->leaving = !endpoint_stays(&ctx, p);
		while (p->leaving && (u = TAILQ_FIRST(&p->idle)))
			upstream_close(u);
		pool_check(w, p);
	}
}

void pool_endpoints_check(struct worker *w)
{
	uint32_t epoch = weft_reader_enter(w->reader);
	struct pod *pod;

	if (epoch != w->endpoints_epoch) {
		TAILQ_FOREACH(pod, &w->pods, link)
			pod_check(w, pod);
	}
	w->endpoints_epoch = epoch;
	weft_reader_leave(w->reader, epoch);
}

void pool_pod_close(struct worker *w, struct pod *pod)
{
	struct pool *p, *next;

	for (p = TAILQ_FIRST(&pod->pools); p; p = next) {
		struct upstream *u;

		next = TAILQ_NEXT(p, link);
		while ((u = TAILQ_FIRST(&p->idle)))
			upstream_close(u);
		while ((u = TAILQ_FIRST(&p->busy)))
			upstream_close(u);
		if (p->checked)
			TAILQ_REMOVE(&w->pool_checks, p, check);
		pool_free(p);
	}
}
