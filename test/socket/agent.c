// SPDX-License-Identifier: Apache-2.0
/* The agent of the fixture: one thread accepts, one thread per connection. */

#include "agent.h"
#include "stray.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define ADD(counter) __atomic_add_fetch(&world.counter, 1, __ATOMIC_RELAXED)

struct conn {
	int fd;
	struct weft_orig orig;
	struct weft_slot *slot;
	uint64_t received, sent, handled;
	uint32_t exchange;
	size_t len;
	uint8_t buf[16384 + 512];
};

static void sockaddr_of(const struct sockaddr_in6 *in, struct weft_sockaddr *ret)
{
	*ret = (struct weft_sockaddr){.family = AF_INET6};
	memcpy(ret->addr.w, &in->sin6_addr, 16);
	ret->port = ntohs(in->sin6_port);
	if (in->sin6_family == AF_INET) {
		const struct sockaddr_in *v4 = (const void *)in;

		ret->addr = (struct weft_addr){.w = {0, 0, htonl(0xffff), v4->sin_addr.s_addr}};
	}
	if (!ret->addr.w[0] && !ret->addr.w[1] && ret->addr.w[2] == htonl(0xffff))
		ret->family = AF_INET;
}

static bool orig_of(struct conn *c)
{
	struct weft_orig_key key = {.netns = world.netns};
	struct sockaddr_in6 peer = {0}, own = {0};
	socklen_t len = sizeof(peer), own_len = sizeof(own);

	if (getpeername(c->fd, (struct sockaddr *)&peer, &len) ||
	    getsockname(c->fd, (struct sockaddr *)&own, &own_len))
		return false;
	sockaddr_of(&peer, &key.client);
	sockaddr_of(&own, &key.agent);
	return !weft_kernel_orig_take(world.kernel, &key, &c->orig);
}

static void tx(struct conn *c, const void *bytes, size_t len)
{
	c->sent += len; /* before it can be read: the word is compared with what the app has */
	if (send(c->fd, bytes, len, MSG_NOSIGNAL) != (ssize_t)len)
		c->received = UINT64_MAX / 2; /* never gives back */
}

/* The kernel's decision when it is about these very bytes; also what was paid without a decision. */
static const struct weft_record *record_of(struct conn *c, uint64_t hash)
{
	struct weft_record *r = c->slot ? &c->slot->rec : NULL;

	if (!r || __atomic_load_n(&r->exchange, __ATOMIC_ACQUIRE) == c->exchange)
		return NULL;
	c->exchange = r->exchange;
	return r->position == c->handled && r->hash == hash ? r : NULL;
}

static void answer_put(struct conn *c, struct weft_req *req, struct weft_ctx *ctx)
{
	struct weft_reply_plan plan;
	char path[WORLD_BODY_MAX + 1], text[WORLD_BODY_MAX + 128];
	uint8_t out[16384];
	int n;

	if (req->dec.outcome != WEFT_OUTCOME_FORWARD) {
		assert(!weft_reply_plan(req, ctx, &plan) && plan.total <= sizeof(out));
		weft_reply_write(req, &plan, out);
		tx(c, out, plan.total);
		return;
	}
	snprintf(path, sizeof(path), "%.*s", (int)req->value[WEFT_VALUE_PATH].len,
		 (const char *)req->head + req->value[WEFT_VALUE_PATH].off);
	if (world.body)
		world_body(path, world.body);
	n = snprintf(text, sizeof(text),
		     "HTTP/1.1 200 OK\r\nx-by: agent\r\ncontent-length: %zu\r\n\r\n%s",
		     strlen(path), path);
	if (world.stray)
		stray_send(c->fd, text, world.stray);
	tx(c, text, (size_t)n);
}

/* One request at the front of the buffer. false: it is not whole. */
static bool exchange_run(struct conn *c)
{
	struct weft_ctx ctx = {.pod = WORLD_POD, .dst = c->orig.dst};
	struct weft_req *req = calloc(1, sizeof(*req));
	struct timespec ts, pause = {.tv_nsec = (long)world.pause_ms * 1000000};
	const struct weft_record *rec;
	uint8_t *head = calloc(1, 65536 + 512);
	uint32_t chain;
	size_t size;
	int parse;

	assert(req && head);
	memcpy(head, c->buf, c->len);
	req->head = head;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	ctx.now_ns = (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
	assert(!weft_ctx_begin(&ctx) && !weft_listener_find(&ctx));
	chain = weft_chain_find(&ctx, WEFT_PROTO_RAW);
	assert(!weft_req_begin(req, &ctx, chain));
	req->len = (uint32_t)c->len;
	parse = weft_http1_parse(req);
	size = req->head_len + req->content_length;
	if (parse == WEFT_PARSE_MORE || (!parse && size > c->len)) {
		free(head);
		free(req);
		return false;
	}
	if (parse) { /* what is not HTTP counts as judged, and ends the connection */
		tx(c, "HTTP/1.1 400 Bad\r\ncontent-length: 0\r\n\r\n", 39);
		shutdown(c->fd, SHUT_RDWR);
		size = c->len;
		goto out;
	}
	/* not where it is accepted: of several connections nobody knows which thread runs first */
	world.last_dst = c->orig.dst;
	world.last_slot = c->orig.slot;
	rec = record_of(c, req->hash);
	if (rec) {
		ctx.n_prepaid = rec->n_paid;
		memcpy(ctx.prepaid, rec->paid, sizeof(ctx.prepaid));
	}
	if (rec && rec->outcome) {
		ctx.flags = WEFT_CTX_EXPLAIN; /* what the kernel took and counted is not taken and counted again */
		ADD(honoured);
	} else {
		ADD(decided);
	}
	assert(!weft_decide(req, &ctx));
	assert(!rec || !rec->outcome || rec->outcome == req->dec.outcome);
	if (world.pause_ms)
		nanosleep(&pause, NULL);
	answer_put(c, req, &ctx);
	ADD(served);
out:
	c->handled += size;
	c->len -= size;
	memmove(c->buf, c->buf + size, c->len);
	free(head);
	free(req);
	return true;
}

/* Only when all that was passed was handled, and nothing is half done. */
static void give_back(struct conn *c)
{
	__u64 word;

	if (!c->slot || c->len)
		return;
	word = __atomic_load_n(&c->slot->word, __ATOMIC_ACQUIRE);
	if (word >> WEFT_OWNER_SHIFT != WEFT_OWNER_AGENT || (word & WEFT_PASSED_MASK) != c->received)
		return;
	__atomic_store_n(&c->slot->agent_tx, c->sent, __ATOMIC_RELEASE);
	if (__atomic_compare_exchange_n(&c->slot->word, &word,
					WEFT_OWNER_KERNEL << WEFT_OWNER_SHIFT | c->received, false,
					__ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		ADD(given_back);
}

static void *conn_run(void *arg)
{
	struct conn *c = arg;
	ssize_t n;

	if (!orig_of(c)) {
		ADD(not_captured);
		goto out;
	}
	if (c->orig.slot)
		c->slot = weft_slot_at(c->orig.slot);
	while ((n = recv(c->fd, c->buf + c->len, 16384 - c->len, 0)) > 0) {
		c->received += (uint64_t)n;
		c->len += (size_t)n;
		while (c->len && exchange_run(c))
			continue;
		give_back(c);
	}
	weft_kernel_slot_release(world.kernel, c->orig.slot, c->orig.gen);
out:
	close(c->fd);
	free(c);
	__atomic_sub_fetch(&world.open, 1, __ATOMIC_RELEASE);
	return NULL;
}

static void conn_start(int fd)
{
	struct conn *c = calloc(1, sizeof(*c));
	pthread_attr_t attr;
	pthread_t thread;

	assert(c);
	c->fd = fd;
	ADD(accepted);
	__atomic_add_fetch(&world.open, 1, __ATOMIC_RELAXED);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, 512 * 1024);
	assert(!pthread_create(&thread, &attr, conn_run, c));
	pthread_attr_destroy(&attr);
}

/* The TCP clusters' server: whoever connects is kept until it closes. */
static void server_step(struct pollfd *conns, unsigned int *n)
{
	char byte[256];
	ssize_t got;

	for (unsigned int i = 0; i < *n; i++) {
		if (!conns[i].revents)
			continue;
		got = recv(conns[i].fd, byte, sizeof(byte), MSG_DONTWAIT);
		if (got > 0) {
			(void)!send(conns[i].fd, byte, (size_t)got, MSG_NOSIGNAL);
		} else {
			close(conns[i].fd);
			conns[i--] = conns[--*n];
		}
	}
}

void *agent_run(void *arg)
{
	struct pollfd p[WORLD_LISTENERS + 1 + 64];
	unsigned int n_conn = 0;

	(void)arg;
	while (!__atomic_load_n(&world.stop, __ATOMIC_ACQUIRE)) {
		bool hold = __atomic_load_n(&world.hold_accept, __ATOMIC_ACQUIRE);

		for (int i = 0; i < WORLD_LISTENERS; i++)
			p[i] = (struct pollfd){.fd = hold ? -1 : world.listener[i], .events = POLLIN};
		p[WORLD_LISTENERS] = (struct pollfd){.fd = world.server, .events = POLLIN};
		if (poll(p, WORLD_LISTENERS + 1 + n_conn, 20) <= 0)
			continue;
		server_step(p + WORLD_LISTENERS + 1, &n_conn);
		for (int i = 0; i < WORLD_LISTENERS; i++) {
			int fd = p[i].revents ? accept4(p[i].fd, NULL, NULL, SOCK_CLOEXEC) : -1;

			if (fd >= 0)
				conn_start(fd);
		}
		if (p[WORLD_LISTENERS].revents && n_conn < 64)
			p[WORLD_LISTENERS + 1 + n_conn++] = (struct pollfd){
				.fd = accept4(world.server, NULL, NULL, SOCK_CLOEXEC), .events = POLLIN};
	}
	while (n_conn)
		close(p[WORLD_LISTENERS + 1 + --n_conn].fd);
	return NULL;
}
