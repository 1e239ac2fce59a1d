// SPDX-License-Identifier: Apache-2.0
/* One connection to an endpoint, opened inside the pod's network namespace. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/proxy/pace.h"
#include "agent/proxy/sockaddr.h"
#include "agent/proxy/up.h"

static struct upstream *of_timer(struct timer *t)
{
	return (struct upstream *)((char *)t - offsetof(struct upstream, timer));
}

static void connect_failed(struct upstream *u, enum fail_why why)
{
	struct pool *p = u->pool;

	COUNT(u->worker->stats.upstream_fail, 1);
	if (u->cell_cluster)
		COUNT(weft_cell_cluster(u->cell_cluster)->cx_connect_fail, 1);
	if (u->cell_endpoint)
		COUNT(weft_cell_endpoint(u->cell_endpoint)->cx_fail, 1);
	if (u->relay) {
		outlier_relay(u->worker, u->pod_id, u->cell_endpoint, false,
			      why == FAIL_CONNECT_TIMEOUT);
		tcp_failed(u);
		return;
	}
	upstream_close(u);
	if (p) {
		pool_connect_failed(p, why);
		pool_check(u->worker, p);
	}
}

static void life_over(struct worker *w, struct timer *t)
{
	struct upstream *u = (struct upstream *)((char *)t - offsetof(struct upstream, life));

	u->worn = true; /* after the exchange at hand */
	if (!u->idle)
		return;
	upstream_close(u);
	pool_check(w, u->pool);
}

void upstream_life(struct upstream *u, uint32_t ms)
{
	u->life.fire = life_over;
	if (ms)
		timer_set(u->worker, &u->life, u->worker->now_ms + ms);
}

static void connect_over(struct worker *w, struct timer *t)
{
	(void)w;
	connect_failed(of_timer(t), FAIL_CONNECT_TIMEOUT);
}

void upstream_connect_say(struct worker *w, const char *when, int err)
{
	snprintf(w->connect_text, sizeof(w->connect_text), "%s connect error: %s", when,
		 strerrordesc_np(err));
}

int upstream_connect(struct worker *w, struct pod *pod, const struct weft_sockaddr *to, int *ret_fd)
{
	struct sockaddr_storage addr;
	socklen_t len = sockaddr_fill(to, &addr);
	int fd, one = 1, r;

	if (!pod_file_take(w, pod->id)) {
		upstream_connect_say(w, "immediate", EMFILE);
		return -EMFILE;
	}
	fd = netns_socket(w, pod->netns_fd, to->family);
	if (fd < 0) {
		pod_file_put(w, pod->id);
		return fd;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	r = w->proxy->ops.exempt(w->proxy->ops.ctx, fd);
	if (!r && connect(fd, (struct sockaddr *)&addr, len) && errno != EINPROGRESS)
		r = -errno;
	if (r) {
		upstream_connect_say(w, "immediate", -r);
		close(fd);
		pod_file_put(w, pod->id);
		COUNT(w->stats.upstream_fail, 1);
		return r;
	}
	*ret_fd = fd;
	return 0;
}

static int connect_only(struct upstream *u, struct pod *pod)
{
	struct worker *w = u->worker;
	int r = upstream_connect(w, pod, &u->addr, &u->watch.fd);

	if (r)
		return r;
	r = watch_set(w, &u->watch, EPOLLOUT);
	if (r) {
		close(u->watch.fd);
		pod_file_put(w, pod->id);
		COUNT(w->stats.upstream_fail, 1);
	}
	return r;
}

struct upstream *upstream_open(struct worker *w, struct pod *pod, const struct weft_sockaddr *to,
			       uint32_t all, uint32_t timeout_ms, int *ret_err)
{
	struct upstream *u = calloc(1, sizeof(*u));

	if (!u) {
		*ret_err = -ENOMEM;
		return NULL;
	}
	*u = (struct upstream){.watch = {.kind = WATCH_UPSTREAM, .fd = -1},
			       .worker = w,
			       .connecting = true,
			       .pod_id = pod->id,
			       .since_ms = w->now_ms,
			       .addr = *to};
	*ret_err = all ? race_begin(u, pod, weft_img_at(all)) : connect_only(u, pod);
	if (*ret_err) {
		free(u);
		return NULL;
	}
	u->timer.fire = connect_over;
	if (timeout_ms)
		timer_set(w, &u->timer, w->now_ms + timeout_ms);
	COUNT(w->stats.upstream_total, 1);
	COUNT(w->stats.upstream_active, 1);
	return u;
}

/* Gives back what the connection holds; an exchange or relay on it is told by the caller. */
void upstream_close(struct upstream *u)
{
	struct worker *w = u->worker;
	struct pool *p = u->pool;

	if (u->orphan)
		return;
	u->orphan = true;
	if (u->session)
		up_session_close(u->session);
	if (p) {
		if (u->idle) {
			TAILQ_REMOVE(&p->idle, u, link);
			p->n_idle--;
			COUNT(w->stats.upstream_idle, -1);
			weft_place_put(&weft_cell_cluster(u->cell_cluster)->cx_idle);
		} else {
			TAILQ_REMOVE(&p->busy, u, link);
			p->n_busy--;
		}
		if (u->connecting)
			p->n_connecting--;
	}
	if (u->has_place)
		weft_place_put(&weft_cell_cluster(u->cell_cluster)->cx_active[u->priority]);
	if (u->cell_endpoint)
		weft_place_put(&weft_cell_endpoint(u->cell_endpoint)->cx_active);
	if (u->race)
		race_end(u); /* no descriptor is its own yet */
	else
		pod_file_put(w, u->pod_id);
	timer_remove(&u->timer);
	timer_remove(&u->life);
	watch_close(w, &u->watch);
	buf_free(w, &u->in);
	buf_free(w, &u->out);
	COUNT(w->stats.upstream_active, -1);
	TAILQ_INSERT_TAIL(&w->up_graves, u, link);
}

int upstream_fd(const struct upstream *u)
{
	if (u->stream)
		return u->session ? u->session->conn->watch.fd : -1;
	return u->watch.fd;
}

bool upstream_local(const struct upstream *u, struct weft_sockaddr *ret)
{
	struct sockaddr_storage s = {0};
	socklen_t len = sizeof(s);

	if (getsockname(upstream_fd(u), (struct sockaddr *)&s, &len))
		return false;
	sockaddr_take(&s, ret);
	return true;
}

void upstream_watch(struct upstream *u)
{
	uint32_t events = 0;
	bool full = false;

	if (u->orphan)
		return;
	if (u->stream) {
		up_stream_watch(u);
		return;
	}
	if (u->connecting) {
		if (!u->race)
			watch_set(u->worker, &u->watch, EPOLLOUT);
		return;
	}
	if (u->relay)
		full = buf_len(&u->relay->out) >= PROXY_HIGH_WATER;
	else if (u->x)
		full = buf_len(&u->x->down->out) >= PROXY_HIGH_WATER ||
		       pace_waits(u->x) >= PROXY_PACE_MAX;
	if (!full && !u->eof)
		events |= EPOLLIN | EPOLLRDHUP;
	if (buf_len(&u->out))
		events |= EPOLLOUT;
	/* none: off the list, see down_watch() */
	if (watch_set(u->worker, &u->watch, events) && u->x)
		exchange_failed(u->x, FAIL_TERMINATION);
}

void upstream_flush(struct upstream *u)
{
	uint64_t before = u->sent;
	int r;

	if (u->stream) {
		up_stream_flush(u);
		return;
	}
	if (u->orphan || u->connecting)
		return;
	r = buf_write(u->worker, &u->out, u->watch.fd, &u->sent);
	if (u->x && u->sent != before)
		u->x->wrote_any = true;
	if (r && r != -EAGAIN) {
		/* the response may have come before the reset: what is there is read first */
		buf_free(u->worker, &u->out);
		u->worn = true;
		if (!u->x && !u->relay && !u->session)
			upstream_close(u);
		else
			upstream_event(u, EPOLLIN);
		return;
	}
	upstream_watch(u);
}

void upstream_connect_failed(struct upstream *u)
{
	connect_failed(u, FAIL_CONNECT);
}

void upstream_connected(struct upstream *u)
{
	timer_clear(&u->timer);
	if (u->relay) {
		u->connecting = false;
		outlier_relay(u->worker, u->pod_id, u->cell_endpoint, true, false);
		tcp_connected(u);
		return;
	}
	u->connecting = false;
	u->pool->n_connecting--;
	if (u->session) {
		up_session_connected(u->session);
		pool_settle(u);
	} else {
		pool_return(u, true);
	}
}

static void connect_event(struct upstream *u)
{
	socklen_t len = sizeof(int);
	int err = 0;

	if (getsockopt(u->watch.fd, SOL_SOCKET, SO_ERROR, &err, &len))
		err = errno;
	if (err) {
		upstream_connect_say(u->worker, "delayed", err);
		upstream_connect_failed(u);
	} else {
		upstream_connected(u);
	}
}

/* false: the bytes go by the buffer. */
static bool straight(struct upstream *u)
{
	int r;

	if (!u->x || !straight_may(u->x))
		return false;
	r = straight_move(u->x);
	if (r == -EAGAIN)
		return u->in.bulk;
	if (r < 0) {
		down_close(u->x->down);
		return true;
	}
	if (!r)
		u->eof = true;
	exchange_response_data(u->x, !r);
	return true;
}

static void readable(struct upstream *u)
{
	ssize_t n;

	if (u->relay) {
		tcp_move(u->relay);
		return;
	}
	if (straight(u))
		return;
	n = buf_read(u->worker, &u->in, u->watch.fd, PROXY_BUF / 2);
	if (n == -EAGAIN)
		return;
	if (n <= 0)
		u->eof = true;
	if (u->session) {
		up_session_receive(u, n <= 0);
		return;
	}
	if (!u->x) {
		struct pool *p = u->pool;

		upstream_close(u); /* idle: it closes, or says what nobody asked for */
		if (p)
			pool_check(u->worker, p);
		return;
	}
	exchange_response_data(u->x, n <= 0);
}

void upstream_event(struct upstream *u, uint32_t events)
{
	if (u->orphan)
		return;
	if (u->connecting) {
		connect_event(u);
		return;
	}
	/* its end is there, perhaps behind a response that is still to be read: no further request goes there */
	if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		u->worn = true;
	if (events & EPOLLOUT) {
		upstream_flush(u);
		if (u->orphan)
			return;
		if (u->relay)
			tcp_move(u->relay);
		else if (u->session)
			up_session_due(u->session);
		else if (u->x)
			exchange_resume(u->x);
	}
	if (!u->orphan && events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		readable(u);
}
