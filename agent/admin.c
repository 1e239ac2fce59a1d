// SPDX-License-Identifier: Apache-2.0
#include "agent/admin.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "agent/cleanup.h"
#include "agent/clients.h"
#include "agent/json_out.h"

struct passed {
	int fd[WEFT_ADMIN_FDS_MAX];
};

struct weft_admin {
	struct weft_clients *clients; /* NULL: not bound */
	int lock_fd;
	char *path, *lock_path;
	weft_admin_fn fn;
	void *ctx;
	struct passed passed[WEFT_ADMIN_CLIENTS_MAX]; /* by client */
};

static struct passed *passed_of(struct weft_admin *a, const struct weft_client *c)
{
	return &a->passed[weft_client_index(c)];
}

static void passed_close(struct passed *p)
{
	for (size_t i = 0; i < WEFT_ADMIN_FDS_MAX; i++) {
		if (p->fd[i] >= 0)
			close(p->fd[i]);
		p->fd[i] = -1;
	}
}

static void client_gone(void *ctx, struct weft_client *c)
{
	passed_close(passed_of(ctx, c));
}

static void client_answer(struct weft_client *c, json_t *answer)
{
	char *text = answer ? json_dumps(answer, JSON_COMPACT) : NULL;
	size_t len = text ? strlen(text) : 0;

	json_decref(answer);
	if (text)
		text[len++] = '\n'; /* in the place of the terminating zero */
	weft_client_answer(c, text, len);
}

static void client_request(struct weft_admin *a, struct weft_client *c, const char *data,
			   size_t len)
{
	json_error_t error;
	_auto_json_ json_t *request = json_loadb(data, len, JSON_REJECT_DUPLICATES, &error);
	json_t *answer;

	if (!request || !json_is_string(json_object_get(request, "command"))) {
		client_answer(c, weft_json_error(WEFT_EXIT_FAILED, NULL, "not a request: %s",
						 request ? "no command" : error.text));
		return;
	}
	answer = a->fn(a->ctx, request, passed_of(a, c)->fd);
	passed_close(passed_of(a, c));
	client_answer(c, answer);
}

static void client_asked(void *ctx, struct weft_client *c, const char *data, size_t len, bool full)
{
	const char *end = memchr(data, '\n', len);

	if (end)
		client_request(ctx, c, data, (size_t)(end - data));
	else if (full)
		client_answer(c, weft_json_error(WEFT_EXIT_FAILED, NULL,
						 "request longer than %u bytes",
						 WEFT_ADMIN_REQUEST_MAX));
}

static void passed_take(struct passed *to, struct msghdr *msg)
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
				if (to->fd[k] < 0)
					to->fd[k] = WEFT_TAKE_FD(fd);
			}
			if (fd >= 0)
				close(fd);
		}
	}
}

static ssize_t client_receive(void *ctx, struct weft_client *c, int fd, void *buf, size_t size)
{
	union {
		char buf[CMSG_SPACE(sizeof(int) * WEFT_ADMIN_FDS_MAX)];
		struct cmsghdr align;
	} control;
	struct iovec iov = {buf, size};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.buf,
			     .msg_controllen = sizeof(control.buf)};
	ssize_t n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);

	if (n >= 0)
		passed_take(passed_of(ctx, c), &msg);
	return n;
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

/* *ret_fd: listens. */
static int path_bind(struct weft_admin *a, struct weft_diag *diag, int *ret_fd)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	_auto_close_ int fd = -1;
	mode_t mask;
	int r;

	if (strlen(a->path) >= sizeof(addr.sun_path))
		return weft_diag_add(diag, -EINVAL, "admin", a->path, "longer than %zu bytes",
				     sizeof(addr.sun_path) - 1);
	strcpy(addr.sun_path, a->path);
	r = path_claim(a, diag);
	if (r < 0)
		return r;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	mask = umask(0177);
	r = bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ? -errno : 0;
	umask(mask);
	if (r == 0 && listen(fd, WEFT_ADMIN_CLIENTS_MAX) < 0)
		r = -errno;
	if (r < 0)
		return weft_diag_add(diag, r, "admin", a->path, "%s", strerror(-r));
	*ret_fd = WEFT_TAKE_FD(fd);
	return 0;
}

int weft_admin_new(struct weft_loop *loop, const char *path, weft_admin_fn fn, void *ctx,
		   struct weft_diag *diag, struct weft_admin **ret)
{
	struct weft_clients_conf conf = {
		.max = WEFT_ADMIN_CLIENTS_MAX,
		.request_max = WEFT_ADMIN_REQUEST_MAX,
		.idle_ms = WEFT_ADMIN_IDLE_MS,
		.admit = peer_is_allowed,
		.receive = client_receive,
		.asked = client_asked,
		.gone = client_gone,
	};
	struct weft_admin *a = calloc(1, sizeof(*a));
	_auto_close_ int fd = -1;
	int r = -ENOMEM;

	if (!a)
		return r;
	conf.ctx = a;
	a->fn = fn;
	a->ctx = ctx;
	a->lock_fd = -1;
	memset(a->passed, 0xff, sizeof(a->passed)); /* -1 */
	a->path = strdup(path);
	if (a->path)
		r = path_bind(a, diag, &fd);
	if (r == 0) {
		r = weft_clients_new(loop, fd, &conf, &a->clients);
		if (r == 0)
			fd = -1;
		else
			unlink(a->path);
	}
	if (r < 0) {
		weft_admin_free(a);
		return r;
	}
	*ret = a;
	return 0;
}

void weft_admin_tick(struct weft_admin *a)
{
	weft_clients_tick(a->clients);
}

void weft_admin_free(struct weft_admin *a)
{
	if (!a)
		return;
	if (a->clients)
		unlink(a->path);
	weft_clients_free(a->clients);
	if (a->lock_fd >= 0)
		close(a->lock_fd);
	free(a->lock_path);
	free(a->path);
	free(a);
}
