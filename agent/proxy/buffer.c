// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "agent/proxy/internal.h"

static uint8_t *block_get(struct worker *w, size_t cap)
{
	if (cap == PROXY_BUF && w->n_spare)
		return w->buf_spare[--w->n_spare];
	if (cap == PROXY_BULK && w->n_bulk_spare)
		return w->bulk_spare[--w->n_bulk_spare];
	return malloc(cap);
}

static void block_put(struct worker *w, uint8_t *data, size_t cap)
{
	if (PROXY_KEEPS_SPARES && cap == PROXY_BUF && w->n_spare < PROXY_BUF_SPARE)
		w->buf_spare[w->n_spare++] = data;
	else if (PROXY_KEEPS_SPARES && cap == PROXY_BULK && w->n_bulk_spare < PROXY_BULK_SPARE)
		w->bulk_spare[w->n_bulk_spare++] = data;
	else
		free(data);
}

void buf_free(struct worker *w, struct buf *b)
{
	if (b->data)
		block_put(w, b->data, b->cap);
	*b = (struct buf){.bulk = b->bulk};
}

void buf_spares_free(struct worker *w)
{
	while (w->n_spare)
		free(w->buf_spare[--w->n_spare]);
	while (w->n_bulk_spare)
		free(w->bulk_spare[--w->n_bulk_spare]);
}

void buf_move(struct worker *w, struct buf *to, struct buf *from)
{
	bool bulk = to->bulk;

	buf_free(w, to);
	*to = *from;
	to->bulk = bulk;
	*from = (struct buf){.bulk = from->bulk};
}

int buf_room(struct worker *w, struct buf *b, size_t n)
{
	size_t len = buf_len(b), cap = b->cap ? b->cap * 2 : PROXY_BUF;
	uint8_t *data;

	if (b->data && b->end + n <= b->cap)
		return 0;
	if (b->data && len + n <= b->cap) {
		memmove(b->data, buf_at(b), len);
		b->start = 0;
		b->end = len;
		return 0;
	}
	while (cap < len + n)
		cap *= 2;
	data = block_get(w, cap);
	if (!data)
		return -ENOMEM;
	if (b->data) {
		memcpy(data, buf_at(b), len);
		block_put(w, b->data, b->cap);
	}
	*b = (struct buf){.data = data, .cap = cap, .end = len, .bulk = b->bulk};
	return 0;
}

int buf_add(struct worker *w, struct buf *b, const void *bytes, size_t n)
{
	int r = n ? buf_room(w, b, n) : 0;

	if (r || !n)
		return r;
	memcpy(b->data + b->end, bytes, n);
	b->end += n;
	return 0;
}

int buf_printf(struct worker *w, struct buf *b, const char *fmt, ...)
{
	char text[512];
	va_list args;
	int n;

	va_start(args, fmt);
	n = vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	if (n < 0 || (size_t)n >= sizeof(text))
		return -E2BIG;
	return buf_add(w, b, text, (size_t)n);
}

void buf_consume(struct worker *w, struct buf *b, size_t n)
{
	b->start += n;
	if (b->start == b->end)
		buf_free(w, b);
}

ssize_t buf_read(struct worker *w, struct buf *b, int fd, size_t want)
{
	size_t room;
	ssize_t n;

	if (buf_room(w, b, b->bulk && want < PROXY_BULK ? PROXY_BULK : want))
		return -ENOMEM;
	room = b->cap - b->end;
	do
		n = recv(fd, b->data + b->end, room, MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		n = -errno;
	if (n > 0)
		b->end += (size_t)n;
	if (n >= 0)
		b->bulk = (size_t)n == room || (b->bulk && n > (ssize_t)PROXY_BUF);
	if (!buf_len(b))
		buf_free(w, b);
	return n;
}

int buf_write(struct worker *w, struct buf *b, int fd, uint64_t *sent)
{
	while (buf_len(b)) {
		ssize_t n = send(fd, buf_at(b), buf_len(b), MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		*sent += (uint64_t)n;
		buf_consume(w, b, (size_t)n);
	}
	return 0;
}
