// SPDX-License-Identifier: Apache-2.0
/* A check's connection, and checks of TCP. */
#include "agent/health/probe.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/log.h"
#include "agent/proxy/sockaddr.h"

/* What one event reads at most, so that a host that says much does not hold up the others. */
#define READ_MAX 65536u

/* ---- bytes ---- */

int probe_bytes_add(struct weft_probe_bytes *b, const void *v, size_t n)
{
	size_t cap = b->cap ? b->cap : 256;
	uint8_t *more;

	while (cap < b->n + n)
		cap *= 2;
	if (cap != b->cap) {
		more = realloc(b->v, cap);
		if (!more)
			return -ENOMEM;
		b->v = more;
		b->cap = cap;
	}
	if (n)
		memcpy(b->v + b->n, v, n);
	b->n += n;
	return 0;
}

void probe_bytes_free(struct weft_probe_bytes *b)
{
	free(b->v);
	*b = (struct weft_probe_bytes){0};
}

int probe_body_add(struct weft_probe *p, const uint8_t *v, size_t n)
{
	size_t max = p->conf->body_max ? p->conf->body_max : WEFT_PROBE_BODY_MAX;

	if (!p->conf->n_receive && p->conf->kind == WEFT_HEALTH_HTTP)
		return 0;
	if (max > WEFT_PROBE_BODY_MAX)
		max = WEFT_PROBE_BODY_MAX;
	return probe_bytes_add(&p->body, v, n < max - p->body.n ? n : max - p->body.n);
}

bool probe_payload_found(const struct weft_health_bytes *piece, size_t n, const uint8_t *v,
			 size_t len)
{
	for (size_t i = 0; i < n; i++) {
		const uint8_t *at = NULL;

		if (!piece[i].n)
			continue;
		if (len >= piece[i].n) /* else there may be no bytes at all */
			at = memmem(v, len, piece[i].v, piece[i].n);
		if (!at)
			return false;
		len -= (size_t)(at - v) + piece[i].n;
		v = at + piece[i].n;
	}
	return true;
}

/* ---- connection ---- */

static void disconnect(struct weft_probe *p)
{
	if (p->fd >= 0) {
		weft_loop_remove(p->ops->loop, p->fd);
		close(p->fd);
	}
	p->fd = -1;
	p->connecting = false;
	p->sent = 0;
	probe_h2_close(p);
	probe_bytes_free(&p->out);
	probe_bytes_free(&p->in);
	probe_bytes_free(&p->body);
}

void probe_end(struct weft_probe *p, enum weft_probe_end end, bool close)
{
	const struct weft_probe_result r = {
		.end = end,
		.degraded = p->head.degraded && end == WEFT_PROBE_OK,
		.excluded = p->head.fail && (end == WEFT_PROBE_FAILED || end == WEFT_PROBE_RETRIABLE),
		.verified = p->verified,
	};

	p->running = false;
	if (close || !p->reuse)
		disconnect(p);
	probe_bytes_free(&p->body);
	p->ops->done(p->ctx, &r);
}

static void interest(const struct weft_probe *p)
{
	bool out = p->connecting || p->sent < p->out.n;

	weft_loop_change(p->ops->loop, p->fd, EPOLLIN | EPOLLRDHUP | (out ? EPOLLOUT : 0u));
}

/* What cannot be written is found out by reading. */
static void flush(struct weft_probe *p)
{
	if (p->h2 && probe_h2_take(p)) {
		if (p->running)
			probe_end(p, WEFT_PROBE_NETWORK, true);
		else
			disconnect(p); /* of no check */
		return;
	}
	while (p->sent < p->out.n) {
		ssize_t n = send(p->fd, p->out.v + p->sent, p->out.n - p->sent, MSG_NOSIGNAL);

		if (n <= 0)
			break;
		p->sent += (size_t)n;
	}
	if (p->sent == p->out.n) {
		p->out.n = p->sent = 0;
		probe_bytes_free(&p->out);
	}
	interest(p);
}

/* ---- TCP ---- */

static void tcp_read(struct weft_probe *p, bool eof)
{
	const struct weft_health_conf *c = p->conf;

	/* Envoy fails a host that closes the connection, also between checks */
	if (eof) {
		probe_end(p, WEFT_PROBE_NETWORK, true);
		return;
	}
	if (!p->running) {
		p->in.n = 0; /* nobody asked */
		return;
	}
	if (probe_payload_found(c->receive, c->n_receive, p->in.v, p->in.n)) {
		p->in.n = 0;
		probe_end(p, WEFT_PROBE_OK, false);
	} else if (p->in.n > WEFT_PROBE_BODY_MAX) {
		probe_end(p, WEFT_PROBE_NETWORK, true);
	}
}

/* ---- any ---- */

static int request(struct weft_probe *p)
{
	if (p->conf->kind == WEFT_HEALTH_TCP)
		return probe_bytes_add(&p->out, p->conf->send.v, p->conf->send.n);
	return p->conf->http2 ? probe_h2_request(p) : probe_http1_request(p);
}

static void connected(struct weft_probe *p)
{
	socklen_t len = sizeof(int);
	int err = 0;

	if (getsockopt(p->fd, SOL_SOCKET, SO_ERROR, &err, &len))
		err = errno;
	if (err) {
		probe_end(p, WEFT_PROBE_NETWORK, true);
		return;
	}
	p->connecting = false;
	if (p->conf->kind == WEFT_HEALTH_TCP && !p->conf->n_receive) {
		probe_end(p, WEFT_PROBE_OK, true); /* that it connects is all there is to know */
		return;
	}
	flush(p);
}

static void readable(struct weft_probe *p)
{
	uint8_t buf[16384];
	size_t all = 0;
	bool eof = false;

	while (all < READ_MAX) {
		ssize_t n = recv(p->fd, buf, sizeof(buf), 0);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			break;
		if (n <= 0) {
			eof = true;
			break;
		}
		if (probe_bytes_add(&p->in, buf, (size_t)n)) {
			eof = true;
			break;
		}
		all += (size_t)n;
	}
	if (p->conf->kind == WEFT_HEALTH_TCP)
		tcp_read(p, eof);
	else if (p->conf->http2)
		probe_h2_read(p, eof);
	else
		probe_http1_read(p, eof);
	if (p->fd >= 0)
		flush(p);
}

static void on_event(void *ctx, uint32_t events)
{
	struct weft_probe *p = ctx;

	if (p->connecting) {
		connected(p);
		return;
	}
	if (events & EPOLLOUT)
		flush(p);
	if (p->fd >= 0 && events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		readable(p);
}

static int begin(struct weft_probe *p)
{
	struct sockaddr_storage addr;
	socklen_t len = sockaddr_fill(&p->addr, &addr);
	int one = 1, r;

	p->fd = p->ops->open(p->ctx, p->addr.family);
	if (p->fd < 0)
		return -EIO;
	p->fresh = p->connecting = true;
	setsockopt(p->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	r = weft_loop_add(p->ops->loop, p->fd, EPOLLOUT | EPOLLIN, on_event, p);
	if (r == 0 && connect(p->fd, (struct sockaddr *)&addr, len) && errno != EINPROGRESS)
		r = -errno;
	return r;
}

void weft_probe_start(struct weft_probe *p)
{
	int r = 0;

	p->running = true;
	p->fresh = false;
	p->reuse = p->conf->reuse;
	p->head = (struct weft_probe_head){0};
	p->has_head = p->verified = false;
	if (p->fd < 0)
		r = begin(p);
	if (r == 0)
		r = request(p);
	if (r)
		probe_end(p, WEFT_PROBE_NETWORK, true);
	else if (!p->connecting)
		flush(p);
}

void weft_probe_stop(struct weft_probe *p)
{
	bool keep = p->conf->kind == WEFT_HEALTH_GRPC && p->reuse && !p->connecting && p->h2;

	if (!p->running)
		return;
	p->running = false;
	if (!keep) {
		disconnect(p);
		return;
	}
	/* Envoy resets a call's stream, and goes on with the connection */
	probe_h2_cancel(p);
	probe_bytes_free(&p->body);
	flush(p);
}

void weft_probe_idle_close(struct weft_probe *p)
{
	if (!p->running)
		disconnect(p);
}

void weft_probe_init(struct weft_probe *p, const struct weft_health_conf *conf,
		     const struct weft_probe_ops *ops, void *ctx, const struct weft_sockaddr *addr,
		     const char *host)
{
	*p = (struct weft_probe){.conf = conf,
				 .ops = ops,
				 .ctx = ctx,
				 .addr = *addr,
				 .host = host,
				 .fd = -1};
}

void weft_probe_clear(struct weft_probe *p)
{
	p->running = false;
	disconnect(p);
}
