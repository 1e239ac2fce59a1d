// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include "agent/admin.h"
#include "agent/cleanup.h"

/* Publishing a large configuration keeps the daemon from answering for seconds, never for so long.
 */
#define ANSWER_TIMEOUT_S 60

static int connect_to(const char *path, int *ret_fd)
{
	const struct timeval timeout = {.tv_sec = ANSWER_TIMEOUT_S};
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	_auto_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	if (strlen(path) >= sizeof(addr.sun_path))
		return -ENAMETOOLONG;
	strcpy(addr.sun_path, path);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return -errno;
	*ret_fd = WEFT_TAKE_FD(fd);
	return 0;
}

/* Descriptors travel with the first bytes. */
static int send_all(int fd, const char *text, size_t len, const int *fds, size_t n_fds)
{
	union {
		char buf[CMSG_SPACE(sizeof(int) * WEFT_ADMIN_FDS_MAX)];
		struct cmsghdr align;
	} control = {0};
	size_t done = 0;

	while (done < len) {
		struct iovec iov = {(char *)(uintptr_t)text + done, len - done};
		struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
		ssize_t n;

		if (done == 0 && n_fds > 0) {
			struct cmsghdr *m;

			msg.msg_control = control.buf;
			msg.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
			m = CMSG_FIRSTHDR(&msg);
			m->cmsg_level = SOL_SOCKET;
			m->cmsg_type = SCM_RIGHTS;
			m->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
			memcpy(CMSG_DATA(m), fds, sizeof(int) * n_fds);
		}
		n = sendmsg(fd, &msg, MSG_NOSIGNAL);
		if (n < 0)
			return -errno;
		done += (size_t)n;
	}
	return 0;
}

static int receive_all(int fd, char **ret, size_t *ret_len)
{
	_auto_free_ char *buf = NULL;
	size_t len = 0, size = 0;

	for (;;) {
		ssize_t n;

		if (len == size) {
			char *bigger;

			if (size >= WEFT_ADMIN_ANSWER_MAX)
				return -EMSGSIZE;
			size = size ? size * 2 : 65536;
			bigger = realloc(buf, size);
			if (!bigger)
				return -ENOMEM;
			buf = bigger;
		}
		n = recv(fd, buf + len, size - len, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		len += (size_t)n;
	}
	*ret = WEFT_TAKE_PTR(buf);
	*ret_len = len;
	return 0;
}

int weft_admin_call(const char *path, const json_t *request, const int *fds, size_t n_fds,
		    json_t **ret)
{
	_auto_free_ char *text = json_dumps(request, JSON_COMPACT), *answer = NULL;
	_auto_close_ int fd = -1;
	size_t len;
	json_t *j;
	int r;

	if (!text)
		return -ENOMEM;
	r = connect_to(path, &fd);
	if (r < 0)
		return r;
	len = strlen(text);
	text[len] = '\n';
	r = send_all(fd, text, len + 1, fds, n_fds);
	if (r == 0)
		r = receive_all(fd, &answer, &len);
	if (r < 0)
		return r;
	if (len == 0)
		return -ECONNRESET;
	j = json_loadb(answer, len, 0, NULL);
	if (!j)
		return -EBADMSG;
	*ret = j;
	return 0;
}
