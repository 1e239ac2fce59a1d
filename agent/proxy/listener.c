// SPDX-License-Identifier: Apache-2.0
/* Listeners inside the pods' network namespaces, and what they accept. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/proxy/internal.h"
#include "agent/proxy/sockaddr.h"

int netns_socket(struct worker *w, int netns_fd, int family)
{
	int fd;

	if (setns(netns_fd, CLONE_NEWNET))
		return -errno;
	fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		fd = -errno;
	if (setns(w->home_netns, CLONE_NEWNET) && fd >= 0) {
		/* a worker in the wrong namespace must not go on: it would open sockets in other pods */
		abort();
	}
	return fd;
}

bool pod_file_take(struct worker *w, uint32_t pod)
{
	uint32_t *files = &w->proxy->files[pod];

	if (__atomic_add_fetch(files, 1, __ATOMIC_RELAXED) <= w->proxy->pod_files)
		return true;
	pod_file_put(w, pod);
	COUNT(w->stats.over_share, 1);
	return false;
}

void pod_file_put(struct worker *w, uint32_t pod)
{
	__atomic_sub_fetch(&w->proxy->files[pod], 1, __ATOMIC_RELAXED);
}

static bool addr_zero(const struct weft_addr *a)
{
	return !a->w[0] && !a->w[1] && !a->w[2] && !a->w[3];
}

/* One listening socket on the address; port 0: a free one, which is then told. */
static int listen_at(const struct weft_addr *addr, bool v4, uint16_t *port)
{
	const struct weft_sockaddr at = {
		.addr = *addr, .port = *port, .family = v4 ? AF_INET : AF_INET6};
	struct sockaddr_storage a;
	socklen_t len = sockaddr_fill(&at, &a);
	int one = 1, r, fd = socket(v4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct weft_sockaddr got;

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
	if (!v4)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	/* accepted sockets inherit it: small answers are not held back for more */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&a, len) || listen(fd, PROXY_BACKLOG) ||
	    getsockname(fd, (struct sockaddr *)&a, &len)) {
		r = -errno;
		close(fd);
		return r;
	}
	sockaddr_take(&a, &got);
	*port = got.port;
	return fd;
}

static int listener_add(struct pod *pod, const struct weft_addr *addr, bool v4, uint16_t *port)
{
	struct listener *l = calloc(1, sizeof(*l));
	int fd;

	if (!l)
		return -ENOMEM;
	fd = listen_at(addr, v4, port);
	if (fd < 0) {
		free(l);
		return fd;
	}
	l->watch = (struct watch){.kind = WATCH_LISTENER, .fd = fd};
	l->pod = pod;
	l->addr = (struct weft_sockaddr){.addr = *addr, .port = *port, .family = v4 ? AF_INET : AF_INET6};
	TAILQ_INSERT_TAIL(&pod->listeners, l, link);
	return 0;
}

static int family_open(struct weft_proxy *p, const struct weft_addr *addr, bool v4, struct pod **pods,
		       uint16_t port[WEFT_LISTEN_PORTS])
{
	for (unsigned int k = 0; k < WEFT_LISTEN_PORTS; k++) {
		port[k] = 0;
		for (unsigned int i = 0; i < p->n; i++) {
			int r = listener_add(pods[i], addr, v4, &port[k]);

			if (r)
				return r;
		}
	}
	return 0;
}

int listeners_open(struct weft_proxy *p, const struct weft_proxy_pod *pod, struct pod **pods,
		   uint16_t port4[WEFT_LISTEN_PORTS], uint16_t port6[WEFT_LISTEN_PORTS])
{
	int r = 0;

	memset(port4, 0, WEFT_LISTEN_PORTS * sizeof(*port4));
	memset(port6, 0, WEFT_LISTEN_PORTS * sizeof(*port6));
	if (setns(pod->netns_fd, CLONE_NEWNET))
		return -errno;
	if (!addr_zero(&pod->addr4))
		r = family_open(p, &pod->addr4, true, pods, port4);
	if (!r && !addr_zero(&pod->addr6))
		r = family_open(p, &pod->addr6, false, pods, port6);
	if (setns(p->worker[0].home_netns, CLONE_NEWNET))
		abort(); /* see netns_socket() */
	return r;
}

/* ---- accepting ---- */

/*
 * A connection that was reset while it waited is still accepted. Its entry went with the reset, and another may stand under
 * the same addresses: that of the app's next connection from this port, which waits behind it.
 */
static bool was_reset(int fd)
{
	struct sockaddr_storage peer;
	socklen_t len = sizeof(peer);

	return getpeername(fd, (struct sockaddr *)&peer, &len) && errno == ENOTCONN;
}

static void accepted(struct worker *w, struct listener *l, int fd, const struct sockaddr_storage *peer)
{
	struct down *d = calloc(1, sizeof(*d));

	if (!d) {
		close(fd);
		return;
	}
	d->watch = (struct watch){.kind = WATCH_DOWN, .fd = fd};
	d->worker = w;
	d->pod = l->pod;
	sockaddr_take(peer, &d->client);
	TAILQ_INSERT_TAIL(&l->pod->downs, d, link);
	d->id = (uint64_t)(w - w->proxy->worker) + w->n_down++ * w->proxy->n;
	COUNT(w->stats.connections_total, 1);
	COUNT(w->stats.connections, 1);
	if (was_reset(fd) || !slot_accept(d, &l->addr)) {
		COUNT(w->stats.not_captured, 1);
		down_close(d);
		return;
	}
	d->has_file = pod_file_take(w, l->pod->id);
	if (d->has_file)
		down_open(d);
	else
		down_close(d);
}

static void pause_over(struct worker *w, struct timer *t)
{
	struct listener *l = (struct listener *)((char *)t - offsetof(struct listener, pause));

	watch_set(w, &l->watch, EPOLLIN);
}

/* Out of descriptors or memory: the connections that wait would wake the loop without end. */
static void accept_failed(struct worker *w, struct listener *l, int err)
{
	if (err == EAGAIN)
		return;
	watch_set(w, &l->watch, 0);
	l->pause.fire = pause_over;
	timer_set(w, &l->pause, w->now_ms + PROXY_ACCEPT_PAUSE_MS);
}

void listener_close(struct worker *w, struct listener *l)
{
	TAILQ_REMOVE(&l->pod->listeners, l, link);
	timer_remove(&l->pause);
	watch_close(w, &l->watch);
	free(l);
}

/* Accepts at most n that wait. 0, or why it stopped: EAGAIN when none waits. */
static int accept_some(struct worker *w, struct listener *l, int n)
{
	for (int i = 0; i < n; i++) {
		struct sockaddr_storage peer;
		socklen_t len = sizeof(peer);
		int fd = accept4(l->watch.fd, (struct sockaddr *)&peer, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd < 0 && (errno == EINTR || errno == ECONNABORTED))
			continue;
		if (fd < 0)
			return errno;
		accepted(w, l, fd, &peer);
	}
	return 0;
}

void listener_event(struct worker *w, struct listener *l)
{
	int err = accept_some(w, l, PROXY_ACCEPT_BATCH);

	if (err)
		accept_failed(w, l, err);
}

void listener_finish(struct worker *w, struct listener *l)
{
	accept_some(w, l, PROXY_BACKLOG);
	listener_close(w, l);
}
