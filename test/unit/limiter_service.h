/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A rate limit service: HTTP/2 by hand; what it does next is told. */

#include "proxy_fixture.h"

#include <stdatomic.h>

static atomic_uint asked, resets;
static atomic_int says;	 /* overall_code; -1: nothing */
static atomic_uint late; /* ms */
static atomic_bool held; /* answers wait for its end */

static inline bool all(int fd, uint8_t *p, size_t n)
{
	while (n) {
		ssize_t r = recv(fd, p, n, 0);

		if (r <= 0)
			return false;
		p += r;
		n -= (size_t)r;
	}
	return true;
}

static inline void frame(int fd, uint8_t kind, uint8_t flags, uint32_t stream, const void *payload,
			 uint8_t n)
{
	uint8_t out[9 + 255] = {
		0, 0, n, kind, flags, 0, 0, (uint8_t)(stream >> 8), (uint8_t)stream};

	if (n)
		memcpy(out + 9, payload, n);
	send(fd, out, 9u + n, MSG_NOSIGNAL);
}

static inline void answer(int fd, uint32_t stream)
{
	static const uint8_t trailers[] = "\0\x0bgrpc-status\1"
					  "0";
	uint8_t message[] = {0, 0, 0, 0, 2, 8, (uint8_t)atomic_load(&says)};

	if (atomic_load(&says) < 0)
		return;
	fix_sleep(atomic_load(&late));
	for (int i = 0; i < 60000 && atomic_load(&held); i++)
		fix_sleep(1);
	frame(fd, 1, 4, stream, "\x88", 1);
	frame(fd, 0, 0, stream, message, sizeof(message));
	frame(fd, 1, 5, stream, trailers, sizeof(trailers) - 1);
}

static inline void service(int fd)
{
	uint8_t head[24], p[65536];

	if (!all(fd, head, 24))
		return;
	frame(fd, 4, 0, 0, NULL, 0);
	while (all(fd, head, 9)) {
		size_t n = (size_t)head[0] << 16 | (size_t)head[1] << 8 | head[2];
		uint32_t stream = (uint32_t)head[7] << 8 | head[8];

		if (n > sizeof(p) || !all(fd, p, n))
			return;
		if (head[3] == 4 && !(head[4] & 1))
			frame(fd, 4, 1, 0, NULL, 0);
		if (head[3] == 3)
			atomic_fetch_add(&resets, 1);
		if (head[3] == 0 && head[4] & 1) {
			atomic_fetch_add(&asked, 1);
			answer(fd, stream);
		}
	}
}

static inline void service_reset(void)
{
	atomic_store(&asked, 0);
	atomic_store(&resets, 0);
	atomic_store(&late, 0);
	atomic_store(&held, false);
	atomic_store(&says, 1);
}

static inline void wait_for(atomic_uint *n, unsigned int want)
{
	for (int i = 0; i < 500 && atomic_load(n) < want; i++)
		fix_sleep(10);
	assert_int_equal(atomic_load(n), want);
}
