// SPDX-License-Identifier: Apache-2.0
/*
 * Large bodies from socket to socket: the kernel hands pages on, nothing is copied (splice(2)).
 * Every worker has one pipe for it, which is empty whenever nobody is in here: what a slow client
 * does not take at once is read into its buffer like any other byte.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "agent/proxy/internal.h"

void straight_close(struct worker *w)
{
	if (w->straight[1] > 0) {
		close(w->straight[0]);
		close(w->straight[1]);
	}
	w->straight[0] = w->straight[1] = 0;
}

/* -errno: none is to be had. */
static int pipe_open(struct worker *w)
{
	if (w->straight[1] > 0)
		return 0;
	if (pipe2(w->straight, O_NONBLOCK | O_CLOEXEC)) {
		w->straight[1] = 0;
		return -errno;
	}
	/* a slot for each page, or a step is shorter than it may be */
	fcntl(w->straight[1], F_SETPIPE_SZ, (int)(2 * PROXY_BULK));
	return 0;
}

/* Nobody but the client's socket has a use for the bytes, and there are many. */
bool straight_may(const struct exchange *x)
{
	const struct upstream *u = x->up;
	const struct down *d = x->down;

	return x->resp_head && x->resp_body.kind == BODY_LENGTH &&
	       x->resp_body.left >= PROXY_BULK && u->in.bulk && !u->stream && !buf_len(&u->in) &&
	       !buf_len(&d->out) && !d->codec && !d->mirror && !x->pace;
}

/* What the client did not take goes to its buffer. -ENOMEM, -errno. */
static int rest_keep(struct down *d, size_t n)
{
	struct worker *w = d->worker;
	int r = buf_room(w, &d->out, n);

	while (!r && n) {
		ssize_t got = read(w->straight[0], d->out.data + d->out.end, n);

		if (got <= 0) {
			r = got ? -errno : -EPIPE;
			break;
		}
		d->out.end += (size_t)got;
		n -= (size_t)got;
	}
	return r;
}

/* n bytes of the pipe to the client. 0: all went out, 1: some wait in d->out, -errno. */
static int client_send(struct down *d, size_t n)
{
	struct worker *w = d->worker;

	while (n) {
		ssize_t sent = splice(w->straight[0], NULL, d->watch.fd, NULL, n,
				      SPLICE_F_MOVE | SPLICE_F_NONBLOCK);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0 && errno == EAGAIN)
			return rest_keep(d, n) ? -ENOMEM : 1;
		if (sent <= 0)
			return sent ? -errno : -EPIPE;
		d->sent += (uint64_t)sent;
		n -= (size_t)sent;
	}
	return 0;
}

int straight_move(struct exchange *x)
{
	struct worker *w = x->down->worker;
	struct upstream *u = x->up;
	size_t most = x->resp_body.left < PROXY_BULK ? (size_t)x->resp_body.left : PROXY_BULK;
	ssize_t n;
	int r = pipe_open(w);

	if (r) {
		u->in.bulk = false; /* by the buffer then */
		return -EAGAIN;
	}
	do
		n = splice(u->watch.fd, NULL, w->straight[1], NULL, most,
			   SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? -EAGAIN : 0;
	if (!n)
		return 0;
	u->in.bulk = n > (ssize_t)PROXY_BUF;
	COUNT(w->stats.spliced_bytes, n);
	x->outcome.sent += (uint64_t)n;
	x->resp_body.left -= (uint64_t)n;
	x->resp_body.done = !x->resp_body.left;
	r = client_send(x->down, (size_t)n);
	if (r >= 0)
		return 1;
	straight_close(w); /* and what stands in it */
	return -EPIPE;
}
