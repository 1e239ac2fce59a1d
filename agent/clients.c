// SPDX-License-Identifier: Apache-2.0
#include "agent/clients.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "agent/cleanup.h"
#include "agent/log.h"
#include "xds/clock.h"

/* What a stream gathers before it is sent. */
#define STREAM_BUFFER (64u << 10)

enum phase { ASKS, ANSWERED, STREAMS, LINGERS };

struct weft_client {
	struct weft_clients *all;
	int fd; /* -1: unused */
	enum phase phase;
	char *in;
	size_t n_in;
	char *out;
	size_t n_out, sent;
	int64_t active_ms;
	/* STREAMS: the descriptor is the thread's until it has ended. */
	struct weft_client_stream stream;
	pthread_t thread;
	bool ended; /* atomic */
};

struct weft_clients {
	struct weft_loop *loop;
	struct weft_clients_conf conf;
	int fd, ended_fd; /* ended_fd: a stream has ended */
	bool exhausted;	  /* accept() failed: nothing is accepted until a place is free or a tick */
	struct weft_client client[];
};

static void client_drop(struct weft_client *c)
{
	struct weft_clients *s = c->all;

	if (c->fd < 0)
		return;
	weft_loop_remove(s->loop, c->fd);
	close(c->fd);
	c->fd = -1;
	free(c->in);
	free(c->out);
	c->in = c->out = NULL;
	if (s->conf.gone)
		s->conf.gone(s->conf.ctx, c);
	/* A place is free again. */
	weft_loop_change(s->loop, s->fd, EPOLLIN);
}

/* The answer is out. */
static void client_finish(struct weft_client *c)
{
	if (!c->all->conf.linger) {
		client_drop(c);
		return;
	}
	shutdown(c->fd, SHUT_WR);
	c->phase = LINGERS;
	weft_loop_change(c->all->loop, c->fd, EPOLLIN);
}

static void client_send(struct weft_client *c)
{
	while (c->sent < c->n_out) {
		ssize_t n = send(c->fd, c->out + c->sent, c->n_out - c->sent, MSG_NOSIGNAL);

		if (n < 0) {
			if (errno != EAGAIN)
				client_drop(c);
			return;
		}
		c->sent += (size_t)n;
		c->active_ms = weft_clock_ms(CLOCK_MONOTONIC);
	}
	client_finish(c);
}

size_t weft_client_index(const struct weft_client *c)
{
	return (size_t)(c - c->all->client);
}

void weft_client_answer(struct weft_client *c, char *data, size_t len)
{
	if (!data) {
		client_drop(c);
		return;
	}
	c->out = data;
	c->n_out = len;
	c->sent = 0;
	c->phase = ANSWERED;
	weft_loop_change(c->all->loop, c->fd, EPOLLOUT);
	client_send(c);
}

/* ---- streams ---- */

/* On the stream's thread. */
static ssize_t stream_write(void *cookie, const char *data, size_t len)
{
	struct weft_client *c = cookie;
	struct pollfd p = {.fd = c->fd, .events = POLLOUT};
	size_t sent = 0;

	while (sent < len) {
		ssize_t n = send(c->fd, data + sent, len - sent, MSG_NOSIGNAL);

		if (n > 0)
			sent += (size_t)n;
		else if (errno != EAGAIN || poll(&p, 1, (int)c->all->conf.idle_ms) != 1)
			return 0; /* an error, to stdio */
	}
	return (ssize_t)len;
}

static void on_client(void *ctx, uint32_t events);

static void *stream_thread(void *arg)
{
	static const cookie_io_functions_t io = {.write = stream_write};
	struct weft_client *c = arg;
	const uint64_t one = 1;
	FILE *out = fopencookie(c, "w", io);

	if (out) {
		setvbuf(out, NULL, _IOFBF, STREAM_BUFFER);
		/* What it says of its end is in how it ends. */
		(void)c->stream.fn(c->stream.job, out);
		fclose(out);
	}
	__atomic_store_n(&c->ended, true, __ATOMIC_RELEASE);
	if (write(c->all->ended_fd, &one, sizeof(one)) != sizeof(one))
		WEFT_LOG(WEFT_LOG_ERROR, "eventfd failed");
	return NULL;
}

void weft_client_stream(struct weft_client *c, const struct weft_client_stream *s)
{
	c->stream = *s;
	c->ended = false;
	/* Nothing that the client says now matters; that it goes, the thread finds out (and the
	 * loop could not be kept from hearing of it). */
	weft_loop_remove(c->all->loop, c->fd);
	if (pthread_create(&c->thread, NULL, stream_thread, c)) {
		s->free(s->job);
		client_drop(c);
		return;
	}
	c->phase = STREAMS;
}

static void stream_join(struct weft_client *c)
{
	pthread_join(c->thread, NULL);
	c->stream.free(c->stream.job);
	c->active_ms = weft_clock_ms(CLOCK_MONOTONIC);
	if (weft_loop_add(c->all->loop, c->fd, 0, on_client, c) < 0)
		client_drop(c);
	else
		client_finish(c);
}

static void on_ended(void *ctx, uint32_t events)
{
	struct weft_clients *s = ctx;
	uint64_t count;

	(void)events;
	if (read(s->ended_fd, &count, sizeof(count)) < 0)
		return;
	for (size_t i = 0; i < s->conf.max; i++) {
		struct weft_client *c = &s->client[i];

		if (c->fd >= 0 && c->phase == STREAMS &&
		    __atomic_load_n(&c->ended, __ATOMIC_ACQUIRE))
			stream_join(c);
	}
}

/* ---- requests ---- */

static ssize_t client_receive(struct weft_client *c)
{
	const struct weft_clients_conf *conf = &c->all->conf;
	char *to = c->in + c->n_in;
	size_t room = conf->request_max - c->n_in;

	if (conf->receive)
		return conf->receive(conf->ctx, c, c->fd, to, room);
	return recv(c->fd, to, room, 0);
}

static void on_client(void *ctx, uint32_t events)
{
	struct weft_client *c = ctx;
	char rest[1024];
	ssize_t n;

	(void)events;
	if (c->phase == ANSWERED) {
		client_send(c);
		return;
	}
	n = c->phase == LINGERS ? recv(c->fd, rest, sizeof(rest), 0) : client_receive(c);
	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		client_drop(c);
		return;
	}
	if (c->phase == LINGERS)
		return; /* idle all the same */
	c->active_ms = weft_clock_ms(CLOCK_MONOTONIC);
	c->n_in += (size_t)n;
	c->all->conf.asked(c->all->conf.ctx, c, c->in, c->n_in,
			   c->n_in == c->all->conf.request_max);
}

/* Out of descriptors or memory: the client that waits would wake the loop without end. */
static void accept_failed(struct weft_clients *s, int err)
{
	if (err == EAGAIN || err == EINTR || err == ECONNABORTED)
		return;
	s->exhausted = true;
	weft_loop_change(s->loop, s->fd, 0);
	WEFT_LOG(WEFT_LOG_WARN, "admin clients wait: none can be accepted",
		 WEFT_KV_S("reason", strerror(err)));
}

static void on_listen(void *ctx, uint32_t events)
{
	struct weft_clients *s = ctx;
	struct weft_client *c = NULL;
	_auto_close_ int fd = -1;

	(void)events;
	for (size_t i = 0; i < s->conf.max && !c; i++)
		c = s->client[i].fd < 0 ? &s->client[i] : NULL;
	if (!c) {
		weft_loop_change(s->loop, s->fd, 0);
		return;
	}
	fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0)
		accept_failed(s, errno);
	if (fd < 0 || (s->conf.admit && !s->conf.admit(fd)))
		return;
	c->in = malloc(s->conf.request_max);
	if (!c->in)
		return;
	c->n_in = c->n_out = c->sent = 0;
	c->phase = ASKS;
	c->active_ms = weft_clock_ms(CLOCK_MONOTONIC);
	if (weft_loop_add(s->loop, fd, EPOLLIN, on_client, c) < 0) {
		free(c->in);
		c->in = NULL;
		return;
	}
	c->fd = WEFT_TAKE_FD(fd);
}

/* ---- life ---- */

int weft_clients_new(struct weft_loop *loop, int fd, const struct weft_clients_conf *conf,
		     struct weft_clients **ret)
{
	struct weft_clients *s = calloc(1, sizeof(*s) + conf->max * sizeof(s->client[0]));
	int r;

	if (!s)
		return -ENOMEM;
	s->loop = loop;
	s->conf = *conf;
	for (size_t i = 0; i < conf->max; i++) {
		s->client[i].all = s;
		s->client[i].fd = -1;
	}
	s->fd = -1;
	s->ended_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = s->ended_fd < 0 ? -errno : weft_loop_add(loop, s->ended_fd, EPOLLIN, on_ended, s);
	if (r == 0)
		r = weft_loop_add(loop, fd, EPOLLIN, on_listen, s);
	if (r < 0) {
		weft_clients_free(s);
		return r;
	}
	s->fd = fd;
	*ret = s;
	return 0;
}

void weft_clients_tick(struct weft_clients *s)
{
	int64_t now = weft_clock_ms(CLOCK_MONOTONIC);

	for (size_t i = 0; i < s->conf.max; i++) {
		struct weft_client *c = &s->client[i];

		if (c->fd >= 0 && c->phase != STREAMS && now - c->active_ms > s->conf.idle_ms)
			client_drop(c);
	}
	if (s->exhausted) {
		s->exhausted = false;
		weft_loop_change(s->loop, s->fd, EPOLLIN);
	}
}

void weft_clients_free(struct weft_clients *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->conf.max; i++) {
		struct weft_client *c = &s->client[i];

		if (c->fd >= 0 && c->phase == STREAMS) {
			shutdown(c->fd, SHUT_RDWR); /* its next write fails */
			pthread_join(c->thread, NULL);
			c->stream.free(c->stream.job);
		}
		client_drop(c);
	}
	if (s->fd >= 0) {
		weft_loop_remove(s->loop, s->fd);
		close(s->fd);
	}
	if (s->ended_fd >= 0) {
		weft_loop_remove(s->loop, s->ended_fd);
		close(s->ended_fd);
	}
	free(s);
}
