// SPDX-License-Identifier: Apache-2.0
/*
 * What an endpoint that speaks HTTP/2 sends: on a connection with three requests under way, cut
 * where the first byte says. Whatever comes, each request ends at most once, nothing of a stream
 * that is over is kept, and the connection counts its streams rightly.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/proxy/up.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUESTS 3

static struct weft_proxy proxy;
static struct worker w;
static struct pod pod;
static struct pool pool;
static struct weft_img_forward forward;
static struct weft_img_hcm hcm;
static struct weft_img_cluster cluster = {.buffer_limit = 1u << 20};
static _Alignas(64) uint8_t state[4096];

static void need(bool holds)
{
	if (!holds)
		abort();
}

static void nothing(struct down *d)
{
	(void)d;
}

static const struct down_codec codec = {
	.flush = nothing, .watch = nothing, .next = down_close, .closed = nothing};

static void setup(void)
{
	if (w.proxy)
		return;
	weft_engine_bind(state, sizeof(state) - 1, state, sizeof(state) - 1);
	w.proxy = &proxy;
	w.epoll = -1;
	TAILQ_INIT(&w.spare);
	TAILQ_INIT(&w.h2);
	TAILQ_INIT(&w.up);
	TAILQ_INIT(&w.graves);
	TAILQ_INIT(&w.up_graves);
	TAILQ_INIT(&w.pool_checks);
	TAILQ_INIT(&pod.downs);
	TAILQ_INIT(&pod.pools);
}

static struct upstream *connection(void)
{
	static const struct weft_img_h2 opt = {.table = 4096,
					       .streams = 100,
					       .window = 65535,
					       .session_window = 1u << 20,
					       .outbound = 1000,
					       .control = 100,
					       .empty = 1,
					       .priority = 100,
					       .updates = 10};
	struct upstream *u = calloc(1, sizeof(*u));

	need(u);
	*u = (struct upstream){
		.watch = {.kind = WATCH_UPSTREAM, .fd = -1}, .worker = &w, .pool = &pool};
	pool = (struct pool){.pod = &pod, .http2 = true, .covers = 1};
	TAILQ_INIT(&pool.idle);
	TAILQ_INIT(&pool.busy);
	TAILQ_INIT(&pool.waiting);
	TAILQ_INSERT_TAIL(&pool.busy, u, link);
	pool.n_busy = 1;
	need(!up_session_new(u, &opt, 0));
	up_session_connected(u->session);
	return u;
}

/* A request without an end, and two that are complete. Nobody takes the answer but its exchange. */
static void request(struct upstream *conn, struct down *d, int i)
{
	static const char head[] = "POST /a HTTP/1.1\r\nhost: a\r\ncookie: b\r\n\r\n";
	struct exchange *x;

	*d = (struct down){.watch = {.kind = WATCH_DOWN, .fd = -1},
			   .state = DOWN_EXCHANGE,
			   .worker = &w,
			   .pod = &pod,
			   .codec = &codec,
			   .mirror = true};
	TAILQ_INSERT_TAIL(&pod.downs, d, link);
	x = exchange_new(d);
	need(x);
	x->forward = &forward;
	x->cluster = &cluster;
	x->hcm = &hcm;
	x->streams = true;
	x->head_method = i == 1;
	x->req_done = x->req_sent = i;
	x->up = up_stream_new(conn);
	need(x->up);
	x->up->x = x;
	need(!buf_add(&w, &x->up->out, head, sizeof(head) - 1));
	upstream_flush(x->up);
}

static void drain(struct up_session *s)
{
	const uint8_t *out;

	while (!s->over && nghttp2_session_mem_send(s->session, &out) > 0)
		;
}

static void counts_check(const struct upstream *conn)
{
	const struct up_session *s = conn->session;
	struct up_stream *st;
	uint32_t n = 0;

	TAILQ_FOREACH(st, &s->streams, link)
	{
		need(st->up.session == s && !st->up.orphan && st->up.x && st->up.x->up == &st->up);
		need(!st->up.x->resp_body.done || !st->up.x->resp_head);
		n++;
	}
	need(n == s->n);
}

static void clear(void)
{
	struct upstream *u;

	while ((u = TAILQ_FIRST(&w.up_graves))) {
		TAILQ_REMOVE(&w.up_graves, u, link);
		if (!u->stream)
			up_session_free(u->session);
		free(u);
	}
	TAILQ_INIT(&w.graves);
	TAILQ_INIT(&w.pool_checks);
	while (w.n_spare)
		free(w.buf_spare[--w.n_spare]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct down down[REQUESTS];
	struct upstream *conn;
	size_t cut = size ? data[0] : 0;

	setup();
	conn = connection();
	for (int i = 0; i < REQUESTS; i++)
		request(conn, &down[i], i);
	drain(conn->session);
	for (size_t at = 1; at < size && !conn->orphan; at += cut, cut = size) {
		size_t n = size - at < cut ? size - at : cut;

		need(!buf_add(&w, &conn->in, data + at, n));
		up_session_receive(conn, false);
		if (conn->orphan)
			break;
		counts_check(conn);
		drain(conn->session);
		need(conn->session->over || !conn->orphan);
	}
	if (!conn->orphan)
		up_session_end(conn, FAIL_TERMINATION);
	for (int i = 0; i < REQUESTS; i++)
		need(down[i].dead && !down[i].x);
	need(TAILQ_EMPTY(&pod.downs) && TAILQ_EMPTY(&w.up) && !pool.n_idle && !pool.n_busy);
	clear();
	return 0;
}
