// SPDX-License-Identifier: Apache-2.0
#include "agent/http_admin.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "agent/cleanup.h"
#include "agent/log.h"
#include "xds/clock.h"

struct client {
	struct weft_http *http;
	int fd; /* -1: unused */
	size_t n_in, n_out, sent;
	char *out; /* not NULL: the answer is being sent */
	int64_t active_ms;
	char in[WEFT_HTTP_REQUEST_MAX];
};

struct weft_http {
	struct weft_loop *loop;
	int fd;
	char *path; /* of a unix socket, else NULL */
	weft_http_fn fn;
	void *ctx;
	struct client client[WEFT_HTTP_CLIENTS_MAX];
};

static const char *reason_of(unsigned int status)
{
	switch (status) {
	case 200:
		return "OK";
	case 400:
		return "Bad Request";
	case 404:
		return "Not Found";
	case 405:
		return "Method Not Allowed";
	case 431:
		return "Request Header Fields Too Large";
	case 503:
		return "Service Unavailable";
	default:
		return "Internal Server Error";
	}
}

static void client_drop(struct client *c)
{
	if (c->fd < 0)
		return;
	weft_loop_remove(c->http->loop, c->fd);
	close(c->fd);
	c->fd = -1;
	free(c->out);
	c->out = NULL;
	/* A place is free again. */
	weft_loop_change(c->http->loop, c->http->fd, EPOLLIN);
}

static void client_send(struct client *c)
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
	/* What else the client has sent is read before closing: a reset would take the answer back.
	 */
	shutdown(c->fd, SHUT_WR);
	weft_loop_change(c->http->loop, c->fd, EPOLLIN);
}

/* Takes over the body. */
static void client_answer(struct client *c, struct weft_http_answer *a, bool head)
{
	const char *reason = reason_of(a->status), *body = a->body ? a->body : reason;
	size_t len = a->body ? a->len : strlen(reason);
	int n = asprintf(&c->out,
			 "HTTP/1.1 %u %s\r\ncontent-type: %s\r\ncontent-length: %zu\r\n"
			 "cache-control: no-cache, max-age=0\r\nx-content-type-options: nosniff\r\n"
			 "connection: close\r\n\r\n",
			 a->status, reason, a->type ? a->type : "text/plain; charset=UTF-8", len);
	char *more = n < 0 || head ? NULL : realloc(c->out, (size_t)n + len + 1);

	if (n < 0)
		c->out = NULL;
	if (more) {
		memcpy(more + n, body, len);
		c->out = more;
	}
	free(a->body);
	if (n < 0 || (!head && !more)) {
		client_drop(c);
		return;
	}
	c->n_out = (size_t)n + (head ? 0 : len);
	c->sent = 0;
	weft_loop_change(c->http->loop, c->fd, EPOLLOUT);
	client_send(c);
}

static void client_request(struct client *c)
{
	struct weft_http_answer answer = {.status = 404};
	struct weft_http_request request = {0};
	int r = weft_http_request_parse(c->in, c->n_in, &request);

	if (r == -EAGAIN)
		return;
	if (r)
		answer.status = r == -EMSGSIZE ? 431 : r == -EOPNOTSUPP ? 405 : 400;
	else
		c->http->fn(c->http->ctx, &request, &answer);
	client_answer(c, &answer, request.head);
}

static void on_client(void *ctx, uint32_t events)
{
	struct client *c = ctx;
	char rest[1024];
	ssize_t n;

	(void)events;
	if (c->out && c->sent < c->n_out) {
		client_send(c);
		return;
	}
	if (c->out)
		n = recv(c->fd, rest, sizeof(rest), 0);
	else
		n = recv(c->fd, c->in + c->n_in, sizeof(c->in) - c->n_in, 0);
	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		client_drop(c);
		return;
	}
	if (c->out)
		return; /* idle all the same */
	c->active_ms = weft_clock_ms(CLOCK_MONOTONIC);
	c->n_in += (size_t)n;
	client_request(c);
}

static void on_listen(void *ctx, uint32_t events)
{
	struct weft_http *h = ctx;
	struct client *c = NULL;
	_auto_close_ int fd = -1;

	(void)events;
	for (size_t i = 0; i < WEFT_HTTP_CLIENTS_MAX && !c; i++)
		c = h->client[i].fd < 0 ? &h->client[i] : NULL;
	/* Without a place, or a descriptor, they wait for one; the tick comes by. */
	fd = c ? accept4(h->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK) : -1;
	if (fd < 0) {
		if (!c || (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED))
			weft_loop_change(h->loop, h->fd, 0);
		return;
	}
	if (weft_loop_add(h->loop, fd, EPOLLIN, on_client, c) < 0)
		return;
	c->n_in = c->n_out = c->sent = 0;
	c->active_ms = weft_clock_ms(CLOCK_MONOTONIC);
	c->fd = WEFT_TAKE_FD(fd);
}

/* ---- where it listens ---- */

/* A socket that nobody listens on any more goes; whoever answers stays. */
static int path_claim(const struct sockaddr_un *addr, struct weft_diag *diag)
{
	_auto_close_ int fd = -1;
	struct stat st;

	if (lstat(addr->sun_path, &st) < 0)
		return 0;
	if (!S_ISSOCK(st.st_mode))
		return weft_diag_add(diag, -EEXIST, "admin-http", addr->sun_path,
				     "exists and is not a socket");
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) == 0 || errno == EAGAIN)
		return weft_diag_add(diag, -EADDRINUSE, "admin-http", addr->sun_path,
				     "somebody listens there");
	unlink(addr->sun_path);
	return 0;
}

static int unix_listen(struct weft_http *h, const char *path, struct weft_diag *diag)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	mode_t mask;
	int r;

	if (strlen(path) >= sizeof(addr.sun_path))
		return weft_diag_add(diag, -EINVAL, "admin-http", path, "longer than %zu bytes",
				     sizeof(addr.sun_path) - 1);
	strcpy(addr.sun_path, path);
	r = path_claim(&addr, diag);
	if (r < 0)
		return r;
	h->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (h->fd < 0)
		return -errno;
	mask = umask(0177);
	r = bind(h->fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ? -errno : 0;
	umask(mask);
	if (r < 0)
		return weft_diag_add(diag, r, "admin-http", path, "%s", strerror(-r));
	h->path = strdup(path);
	return h->path ? 0 : -ENOMEM;
}

/* "127.0.0.1:15021" or "[::1]:15021", of the loopback. */
static int address_parse(const char *text, struct sockaddr_storage *ret, socklen_t *ret_len)
{
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ret;
	struct sockaddr_in *v4 = (struct sockaddr_in *)ret;
	const char *colon = strrchr(text, ':');
	char host[INET6_ADDRSTRLEN + 2], *end;
	size_t len = colon ? (size_t)(colon - text) : 0;
	unsigned long port = colon ? strtoul(colon + 1, &end, 10) : 0;

	if (!len || len >= sizeof(host) || colon[1] < '0' || colon[1] > '9' || *end || !port ||
	    port > 65535)
		return -EINVAL;
	memcpy(host, text, len);
	host[len] = '\0';
	*ret = (struct sockaddr_storage){0};
	if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons((uint16_t)port);
		*ret_len = sizeof(*v4);
		return ntohl(v4->sin_addr.s_addr) >> 24 == 127 ? 0 : -EINVAL;
	}
	if (host[0] != '[' || host[len - 1] != ']')
		return -EINVAL;
	host[len - 1] = '\0';
	if (inet_pton(AF_INET6, host + 1, &v6->sin6_addr) != 1)
		return -EINVAL;
	v6->sin6_family = AF_INET6;
	v6->sin6_port = htons((uint16_t)port);
	*ret_len = sizeof(*v6);
	return IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr) ? 0 : -EINVAL;
}

static int tcp_listen(struct weft_http *h, const char *address, struct weft_diag *diag)
{
	struct sockaddr_storage addr;
	socklen_t len;
	int one = 1, r;

	if (address_parse(address, &addr, &len))
		return weft_diag_add(diag, -EINVAL, "admin-http", address,
				     "neither ADDRESS:PORT of the loopback nor a path");
	h->fd = socket(addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (h->fd < 0)
		return -errno;
	setsockopt(h->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	r = bind(h->fd, (struct sockaddr *)&addr, len) < 0 ? -errno : 0;
	return r < 0 ? weft_diag_add(diag, r, "admin-http", address, "%s", strerror(-r)) : 0;
}

int weft_http_new(struct weft_loop *loop, const char *address, weft_http_fn fn, void *ctx,
		  struct weft_diag *diag, struct weft_http **ret)
{
	struct weft_http *h = calloc(1, sizeof(*h));
	int r;

	if (!h)
		return -ENOMEM;
	h->loop = loop;
	h->fn = fn;
	h->ctx = ctx;
	h->fd = -1;
	for (size_t i = 0; i < WEFT_HTTP_CLIENTS_MAX; i++) {
		h->client[i].http = h;
		h->client[i].fd = -1;
	}
	r = *address == '/' ? unix_listen(h, address, diag) : tcp_listen(h, address, diag);
	if (r == 0 && listen(h->fd, WEFT_HTTP_CLIENTS_MAX) < 0)
		r = weft_diag_add(diag, -errno, "admin-http", address, "%s", strerror(errno));
	if (r == 0)
		r = weft_loop_add(loop, h->fd, EPOLLIN, on_listen, h);
	if (r < 0) {
		weft_http_free(h);
		return r;
	}
	*ret = h;
	return 0;
}

void weft_http_tick(struct weft_http *h)
{
	int64_t now = weft_clock_ms(CLOCK_MONOTONIC);

	if (!h)
		return;
	for (size_t i = 0; i < WEFT_HTTP_CLIENTS_MAX; i++) {
		struct client *c = &h->client[i];

		if (c->fd >= 0 && now - c->active_ms > WEFT_HTTP_IDLE_MS)
			client_drop(c);
	}
	weft_loop_change(h->loop, h->fd, EPOLLIN);
}

void weft_http_free(struct weft_http *h)
{
	if (!h)
		return;
	for (size_t i = 0; i < WEFT_HTTP_CLIENTS_MAX; i++)
		client_drop(&h->client[i]);
	if (h->fd >= 0) {
		weft_loop_remove(h->loop, h->fd);
		close(h->fd);
	}
	if (h->path)
		unlink(h->path);
	free(h->path);
	free(h);
}
