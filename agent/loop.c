// SPDX-License-Identifier: Apache-2.0
#include "agent/loop.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "agent/cleanup.h"

/* Events taken from the kernel at once. */
#define LOOP_BATCH 32

struct watch {
	weft_loop_fn fn; /* NULL: not watched */
	void *ctx;
	uint32_t gen; /* an event of an earlier use of this number is not for the present one */
};

struct weft_loop {
	int epoll_fd;
	struct watch *watch; /* by descriptor */
	size_t n;
};

int weft_loop_new(struct weft_loop **ret)
{
	struct weft_loop *l = calloc(1, sizeof(*l));

	if (!l)
		return -ENOMEM;
	l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (l->epoll_fd < 0) {
		free(l);
		return -errno;
	}
	*ret = l;
	return 0;
}

void weft_loop_free(struct weft_loop *l)
{
	if (!l)
		return;
	close(l->epoll_fd);
	free(l->watch);
	free(l);
}

static uint64_t tag(const struct weft_loop *l, int fd)
{
	return (uint64_t)l->watch[fd].gen << 32 | (uint32_t)fd;
}

int weft_loop_add(struct weft_loop *l, int fd, uint32_t events, weft_loop_fn fn, void *ctx)
{
	struct epoll_event ev = {.events = events};
	size_t n = (size_t)fd + 1;

	if (n > l->n) {
		struct watch *w = reallocarray(l->watch, n * 2, sizeof(*w));

		if (!w)
			return -ENOMEM;
		memset(w + l->n, 0, (n * 2 - l->n) * sizeof(*w));
		l->watch = w;
		l->n = n * 2;
	}
	l->watch[fd].gen++;
	ev.data.u64 = tag(l, fd);
	if (epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0)
		return -errno;
	l->watch[fd].fn = fn;
	l->watch[fd].ctx = ctx;
	return 0;
}

int weft_loop_change(struct weft_loop *l, int fd, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.u64 = tag(l, fd)};

	return epoll_ctl(l->epoll_fd, EPOLL_CTL_MOD, fd, &ev) < 0 ? -errno : 0;
}

void weft_loop_remove(struct weft_loop *l, int fd)
{
	if (fd < 0 || (size_t)fd >= l->n || !l->watch[fd].fn)
		return;
	epoll_ctl(l->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
	l->watch[fd].fn = NULL;
	l->watch[fd].gen++;
}

int weft_loop_step(struct weft_loop *l, int timeout_ms)
{
	struct epoll_event ev[LOOP_BATCH];
	int n = epoll_wait(l->epoll_fd, ev, LOOP_BATCH, timeout_ms);

	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	for (int i = 0; i < n; i++) {
		const struct watch *w = &l->watch[(uint32_t)ev[i].data.u64];

		if (w->fn && w->gen == (uint32_t)(ev[i].data.u64 >> 32))
			w->fn(w->ctx, ev[i].events);
	}
	return 0;
}

int weft_timer_new(int *ret_fd)
{
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);

	if (fd < 0)
		return -errno;
	*ret_fd = fd;
	return 0;
}

int weft_timer_set(int fd, uint32_t first_ms, uint32_t period_ms)
{
	const struct itimerspec spec = {
		.it_value = {first_ms / 1000, (first_ms % 1000) * 1000000L},
		.it_interval = {period_ms / 1000, (period_ms % 1000) * 1000000L},
	};

	return timerfd_settime(fd, 0, &spec, NULL) < 0 ? -errno : 0;
}

void weft_timer_ack(int fd)
{
	uint64_t expirations;

	/* EAGAIN: set anew since it fired. */
	if (read(fd, &expirations, sizeof(expirations)) < 0)
		return;
}
