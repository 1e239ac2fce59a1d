/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A listening socket whose clients each ask one thing and get one answer: a text, or a stream that
 * a thread of its own writes. Main thread, where nothing else is said.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "agent/loop.h"

struct weft_clients;
struct weft_client;

struct weft_clients_conf {
	size_t max;	    /* at once; further ones wait in the listen queue */
	size_t request_max; /* bytes of one request */
	int64_t idle_ms;    /* one that sends or takes nothing for so long is dropped */
	/*
	 * After the answer what else comes is read until the client closes: over TCP a reset would
	 * take the answer back.
	 */
	bool linger;
	bool (*admit)(int fd); /* NULL: everybody */
	/* As recv(); NULL: recv(). */
	ssize_t (*receive)(void *ctx, struct weft_client *c, int fd, void *buf, size_t size);
	/*
	 * All that came until now: to be answered, or more is to come. full: there is no room for
	 * more.
	 */
	void (*asked)(void *ctx, struct weft_client *c, const char *data, size_t len, bool full);
	void (*gone)(void *ctx, struct weft_client *c); /* NULL */
	void *ctx;
};

/* fd listens, and is taken over on success. */
int weft_clients_new(struct weft_loop *loop, int fd, const struct weft_clients_conf *conf,
		     struct weft_clients **ret);
/* Drops clients that are idle too long, and tries again to accept when no descriptor was left;
 * called each second. */
void weft_clients_tick(struct weft_clients *s);
/* Waits for streams, which end at once. NULL is fine. */
void weft_clients_free(struct weft_clients *s);

/* 0 .. max-1, the same as long as the client is there. */
size_t weft_client_index(const struct weft_client *c);
/* data is malloc()ed and taken over; NULL: the client is dropped. */
void weft_client_answer(struct weft_client *c, char *data, size_t len);

/*
 * fn writes the answer, on its own thread, as slowly as the client takes it: nothing else waits
 * for it. Writing fails once the client is gone, or takes nothing for idle_ms. Then job is freed,
 * on the main thread; at once when there can be no thread, and the client is dropped.
 */
struct weft_client_stream {
	/* Not 0: the answer is not whole, and nobody is to take it for that. */
	int (*fn)(void *job, FILE *out);
	void (*free)(void *job);
	void *job;
};
void weft_client_stream(struct weft_client *c, const struct weft_client_stream *s);
