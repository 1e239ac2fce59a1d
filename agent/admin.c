// SPDX-License-Identifier: Apache-2.0
#include "agent/admin.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>

#include "agent/cleanup.h"
#include "agent/json_out.h"
#include "agent/log.h"
#include "xds/clock.h"

struct client {
	struct weft_admin *admin;
	int fd; /* -1: unused */
	char *in;
	size_t n_in;
	char *out; /* not NULL: the answer is being sent */
	size_t n_out, sent;
	int passed[WEFT_ADMIN_FDS_MAX];
	int64_t active_ms;
};

struct weft_admin {
	struct weft_loop *loop;
	int fd, lock_fd;
	char *path, *lock_path;
	weft_admin_fn fn;
	void *ctx;
	bool exhausted; /* accept() failed: nothing is accepted until a place is free or a tick */
	struct client client[WEFT_ADMIN_CLIENTS_MAX];
};

static void passed_close(struct client *c)
{
	for (size_t i = 0; i < WEFT_ADMIN_FDS_MAX; i++) {
		if (c->passed[i] >= 0)
			close(c->passed[i]);
		c->passed[i] = -1;
	}
}

static void client_drop(struct client *c)
{
	if (c->fd < 0)
		return;
	weft_loop_remove(c->admin->loop, c->fd);
	close(c->fd);
	c->fd = -1;
	passed_close(c);
	free(c->in);
	free(c->out);
	c->in = c->out = NULL;
	/* A place is free again. */
	weft_loop_change(c->admin->loop, c->admin->fd, EPOLLIN);
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
	client_drop(c);
}

static void client_answer(struct client *c, json_t *answer)
{
	char *text = answer ? json_dumps(answer, JSON_COMPACT) : NULL;

	json_decref(answer);
	if (!text) {
		client_drop(c);
		return;
	}
	c->n_out = strlen(text);
	text[c->n_out++] = '\n'; /* in the place of the terminating zero */
	c->out = text;
	c->sent = 0;
	weft_loop_change(c->admin->loop, c->fd, EPOLLOUT);
	client_send(c);
}

static void client_request(struct client *c, size_t len)
{
	json_error_t error;
	_auto_json_ json_t *request = json_loadb(c->in, len, JSON_REJECT_DUPLICATES, &error);
	json_t *answer;

	if (!request || !json_is_string(json_object_get(request, "command"))) {
		client_answer(c, weft_json_error(WEFT_EXIT_FAILED, NULL, "not a request: %s",
						 request ? "no command" : error.text));
		return;
	}
	answer = c->admin->fn(c->admin->ctx, request, c->passed);
	passed_close(c);
	client_answer(c, answer);
}

static void passed_take(struct client *c, struct msghdr *msg)
{
	for (struct cmsghdr *m = CMSG_FIRSTHDR(msg); m; m = CMSG_NXTHDR(msg, m)) {
		size_t n;

		if (m->cmsg_level != SOL_SOCKET || m->cmsg_type != SCM_RIGHTS)
			continue;
		n = (m->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(m) + i * sizeof(int), sizeof(fd));
			for (size_t k = 0; k < WEFT_ADMIN_FDS_MAX && fd >= 0; k++) {
				if (c->passed[k] < 0)
					c->passed[k] = WEFT_TAKE_FD(fd);
			}
			if (fd >= 0)
				close(fd);
		}
	}
}

static ssize_t client_receive(struct client *c)
{
	union {
		char buf[CMSG_SPACE(sizeof(int) * WEFT_ADMIN_FDS_MAX)];
		struct cmsghdr align;
	} control;
	struct iovec iov = {c->in + c->n_in, WEFT_ADMIN_REQUEST_MAX - c->n_in};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.buf,
			     .msg_controllen = sizeof(control.buf)};
	ssize_t n = recvmsg(c->fd, &msg, MSG_CMSG_CLOEXEC);

	if (n >= 0)
		passed_take(c, &msg);
	return n;
}

static void on_client(void *ctx, uint32_t events)
{
	struct client *c = ctx;
	const char *end;
	ssize_t n;

	(void)events;
	if (c->out) {
		client_send(c);
		return;
	}
	n = client_receive(c);
	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		client_drop(c);
		return;
	}
	c->active_ms = weft_clock_ms(CLOCK_MONOTONIC);
	end = memchr(c->in + c->n_in, '\n', (size_t)n);
	c->n_in += (size_t)n;
	if (end)
		client_request(c, (size_t)(end - c->in));
	else if (c->n_in == WEFT_ADMIN_REQUEST_MAX)
		client_answer(c, weft_json_error(WEFT_EXIT_FAILED, NULL,
						 "request longer than %u bytes",
						 WEFT_ADMIN_REQUEST_MAX));
}

/* The mode of the socket says the same; this holds should somebody change it. */
static bool peer_is_allowed(int fd)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return false;
	return cred.uid == 0 || cred.uid == geteuid();
}

/* Out of descriptors or memory: the client that waits would wake the loop without end. */
static void accept_failed(struct weft_admin *a, int err)
{
	if (err == EAGAIN || err == EINTR || err == ECONNABORTED)
		return;
	a->exhausted = true;
	weft_loop_change(a->loop, a->fd, 0);
	WEFT_LOG(WEFT_LOG_WARN, "admin clients wait: none can be accepted",
		 WEFT_KV_S("path", a->path), WEFT_KV_S("reason", strerror(err)));
}

static void on_listen(void *ctx, uint32_t events)
{
	struct weft_admin *a = ctx;
	struct client *c = NULL;
	_auto_close_ int fd = -1;

	(void)events;
	for (size_t i = 0; i < WEFT_ADMIN_CLIENTS_MAX && !c; i++)
		c = a->client[i].fd < 0 ? &a->client[i] : NULL;
	if (!c) {
		weft_loop_change(a->loop, a->fd, 0);
		return;
	}
	fd = accept4(a->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0)
		accept_failed(a, errno);
	if (fd < 0 || !peer_is_allowed(fd))
		return;
	c->in = malloc(WEFT_ADMIN_REQUEST_MAX);
	if (!c->in)
		return;
	c->n_in = c->n_out = c->sent = 0;
	c->active_ms = weft_clock_ms(CLOCK_MONOTONIC);
	if (weft_loop_add(a->loop, fd, EPOLLIN, on_client, c) < 0) {
		free(c->in);
		c->in = NULL;
		return;
	}
	c->fd = WEFT_TAKE_FD(fd);
}

/* The lock, not the socket, says whether an agent lives: a socket left behind by a killed one is
 * replaced. */
static int path_claim(struct weft_admin *a, struct weft_diag *diag)
{
	_auto_free_ char *copy = strdup(a->path);
	struct stat st;

	if (!copy || asprintf(&a->lock_path, "%s.lock", a->path) < 0)
		return -ENOMEM;
	if (mkdir(dirname(copy), 0700) < 0 && errno != EEXIST)
		return weft_diag_add(diag, -errno, "admin", copy, "%s", strerror(errno));
	a->lock_fd = open(a->lock_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (a->lock_fd < 0)
		return weft_diag_add(diag, -errno, "admin", a->lock_path, "%s", strerror(errno));
	if (flock(a->lock_fd, LOCK_EX | LOCK_NB) < 0)
		return weft_diag_add(diag, -EADDRINUSE, "admin", a->path,
				     "address in use: another agent runs here");
	if (lstat(a->path, &st) == 0) {
		if (!S_ISSOCK(st.st_mode))
			return weft_diag_add(diag, -EEXIST, "admin", a->path,
					     "exists and is not a socket");
		unlink(a->path);
	}
	return 0;
}

static int path_bind(struct weft_admin *a, struct weft_diag *diag)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	mode_t mask;
	int r;

	if (strlen(a->path) >= sizeof(addr.sun_path))
		return weft_diag_add(diag, -EINVAL, "admin", a->path, "longer than %zu bytes",
				     sizeof(addr.sun_path) - 1);
	strcpy(addr.sun_path, a->path);
	r = path_claim(a, diag);
	if (r < 0)
		return r;
	a->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (a->fd < 0)
		return -errno;
	mask = umask(0177);
	r = bind(a->fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ? -errno : 0;
	umask(mask);
	if (r == 0 && listen(a->fd, WEFT_ADMIN_CLIENTS_MAX) < 0)
		r = -errno;
	return r < 0 ? weft_diag_add(diag, r, "admin", a->path, "%s", strerror(-r)) : 0;
}

int weft_admin_new(struct weft_loop *loop, const char *path, weft_admin_fn fn, void *ctx,
		   struct weft_diag *diag, struct weft_admin **ret)
{
	struct weft_admin *a = calloc(1, sizeof(*a));
	int r = -ENOMEM;

	if (!a)
		return r;
	a->loop = loop;
	a->fn = fn;
	a->ctx = ctx;
	a->fd = a->lock_fd = -1;
	for (size_t i = 0; i < WEFT_ADMIN_CLIENTS_MAX; i++) {
		a->client[i].admin = a;
		a->client[i].fd = -1;
		for (size_t k = 0; k < WEFT_ADMIN_FDS_MAX; k++)
			a->client[i].passed[k] = -1;
	}
	a->path = strdup(path);
	if (a->path)
		r = path_bind(a, diag);
	if (r == 0)
		r = weft_loop_add(loop, a->fd, EPOLLIN, on_listen, a);
	if (r < 0) {
		weft_admin_free(a);
		return r;
	}
	*ret = a;
	return 0;
}

void weft_admin_tick(struct weft_admin *a)
{
	int64_t now = weft_clock_ms(CLOCK_MONOTONIC);

	for (size_t i = 0; i < WEFT_ADMIN_CLIENTS_MAX; i++) {
		struct client *c = &a->client[i];

		if (c->fd >= 0 && now - c->active_ms > WEFT_ADMIN_IDLE_MS)
			client_drop(c);
	}
	if (a->exhausted) {
		a->exhausted = false;
		weft_loop_change(a->loop, a->fd, EPOLLIN);
	}
}

void weft_admin_free(struct weft_admin *a)
{
	if (!a)
		return;
	for (size_t i = 0; i < WEFT_ADMIN_CLIENTS_MAX; i++)
		client_drop(&a->client[i]);
	if (a->fd >= 0) {
		weft_loop_remove(a->loop, a->fd);
		close(a->fd);
		unlink(a->path);
	}
	if (a->lock_fd >= 0)
		close(a->lock_fd);
	free(a->lock_path);
	free(a->path);
	free(a);
}
