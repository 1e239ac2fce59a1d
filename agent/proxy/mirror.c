// SPDX-License-Identifier: Apache-2.0
/*
 * Copies of requests for other clusters (request_mirror_policies). A mirror is an exchange of a client that does not
 * exist: it takes places of its cluster's breakers, is never tried again, and what is answered is thrown away. All it
 * does to a connection happens at the end of a turn, so nothing of it can reach into the exchange that it copies.
 */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "agent/proxy/mutate.h"

#define NAME(s) (s), sizeof(s) - 1

struct mirror {
	struct down down; /* first: is freed as such */
	struct weft_img_forward forward;
	struct exchange *of; /* until all of its request is here */
	bool queued, started, over, counted;
	TAILQ_ENTRY(mirror) link;
};

/* Of a request that is nobody's: no time limits but the route's. */
static const struct weft_img_hcm no_hcm;

static void queue(struct mirror *m)
{
	if (m->queued)
		return;
	m->queued = true;
	TAILQ_INSERT_TAIL(&m->down.worker->mirrors, m, link);
}

/* ---- the head ---- */

/* "host-shadow", or "host-shadow:port" where one colon parts the two (Envoy's shadowAppendedHost). */
static int host_suffix(struct lines *l)
{
	struct line line;
	const uint8_t *host, *colon;
	size_t at;

	if (!lines_find(l, NAME("host"), l->from, &line))
		return 0;
	host = buf_at(l->b) + line.value;
	colon = memchr(host, ':', line.value_len);
	if (colon && memchr(colon + 1, ':', (size_t)(host + line.value_len - colon - 1))) {
		/* [v6]:port has more colons, and only the last one counts */
		colon = memrchr(host, ':', line.value_len);
		if (memchr(colon, ']', (size_t)(host + line.value_len - colon)))
			colon = NULL;
	}
	at = colon ? (size_t)(colon - host) : line.value_len;
	return buf_replace(l->w, l->b, line.value + at, 0, NAME("-shadow"));
}

/* What Envoy's own client adds: it takes itself for an internal one, and for a proxy. */
static int head_make(struct mirror *m, const struct exchange *of, const struct weft_img_mirror *p)
{
	struct worker *w = m->down.worker;
	struct buf *b = &m->down.x->head;
	const uint8_t *lf = memchr(buf_at(&of->head), '\n', buf_len(&of->head));
	struct lines l = {w, b, lf ? (size_t)(lf - buf_at(&of->head)) + 1 : 0};
	const struct weft_addr *a = &of->down->client.addr;
	bool v4 = !a->w[0] && !a->w[1] && a->w[2] == htonl(0xffff);
	char ip[INET6_ADDRSTRLEN];
	struct line line;
	struct format f = {
		.d = of->down, .x = of, .req = buf_at(&of->head), .req_len = buf_len(&of->head)};
	int r = buf_add(w, b, buf_at(&of->head), buf_len(&of->head));

	if (!r)
		r = changes_apply(&l, p->changes, &f);
	if (!r && p->host.len && lines_find(&l, NAME("host"), l.from, &line))
		r = buf_replace(w, b, line.value, line.value_len, weft_img_at(p->host.off), p->host.len);
	else if (!r && p->flags & WEFT_MIRROR_SUFFIX)
		r = host_suffix(&l);
	if (!r)
		r = lines_set(&l, NAME("x-envoy-internal"), "true", 4);
	if (!r && inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? (const void *)&a->w[3] : (const void *)a->w, ip,
			    sizeof(ip)))
		r = lines_add(&l, NAME("x-forwarded-for"), ip, strlen(ip), ",");
	return r;
}

/* ---- beginning ---- */

static uint32_t cluster_id(const struct weft_ctx *ctx, const struct exchange *of,
			   const struct weft_img_mirror *p)
{
	struct buf *head = (struct buf *)(uintptr_t)&of->head;
	struct lines l = {.w = of->down->worker, .b = head};
	struct line line;

	if (!p->header.len)
		return p->cluster;
	if (!lines_find(&l, weft_img_at(p->header.off), p->header.len, 0, &line))
		return 0;
	return weft_cluster_id_of(ctx, buf_at(head) + line.value, line.value_len);
}

bool exchange_cluster_set(struct exchange *x, uint32_t id)
{
	const struct weft_img_view *v = weft_img_at(x->ctx.view_off);
	const struct weft_img_cluster_ref *ref = weft_img_at(v->cluster);

	if (id >= v->n_cluster || !ref[id].cluster)
		return false;
	x->dec.cluster_id = x->cluster_id = id;
	x->dec.cluster = ref[id].cluster;
	x->dec.endpoints = ref[id].endpoints;
	x->cluster = weft_img_at(ref[id].cluster);
	x->cell_cluster = worker_cell(x->down->worker, x->ctx.pod, x->cluster->cell);
	return x->cell_cluster;
}

static bool mirror_fill(struct mirror *m, const struct exchange *of, const struct weft_img_mirror *p)
{
	struct down *d = &m->down;
	struct exchange *x = exchange_new(d);
	uint32_t id;

	if (!x)
		return false;
	x->ctx = of->ctx;
	x->epoch = weft_reader_enter(d->worker->reader);
	x->pinned = true;
	x->hcm = &no_hcm;
	x->forward = &m->forward;
	x->head_method = of->head_method;
	x->unsized = of->unsized;
	x->sized_zero = of->sized_zero;
	x->https = of->https;
	body_init(&x->req_body, BODY_CLOSE, 0); /* ends when the other's does */
	if (weft_ctx_begin(&x->ctx))
		return false;
	id = cluster_id(&x->ctx, of, p);
	if (!id || !exchange_cluster_set(x, id) || head_make(m, of, p))
		return false;
	x->streams = exchange_streams(x);
	x->chunked_req = x->unsized && !x->streams;
	exchange_keep(x);
	return true;
}

static void mirror_forget(struct down *d)
{
	struct mirror *m = (struct mirror *)d;
	struct exchange *of = m->of;
	const struct exchange *x = d->x;

	if (m->counted && !(x && x->resp_head && x->resp_body.done))
		COUNT(d->worker->stats.mirrors_lost, 1);
	if (m->queued)
		TAILQ_REMOVE(&d->worker->mirrors, m, link);
	m->queued = false;
	m->of = NULL;
	for (uint32_t i = 0; of && i < of->n_mirror; i++) {
		if (of->mirror[i] == d) {
			of->mirror[i] = of->mirror[--of->n_mirror];
			break;
		}
	}
}

static void nothing(struct down *d)
{
	(void)d;
}

static const struct down_codec codec = {
	.flush = nothing, .watch = nothing, .next = down_close, .closed = mirror_forget};

static void mirror_new(struct exchange *of, const struct weft_img_mirror *p)
{
	struct down *o = of->down;
	struct mirror *m = calloc(1, sizeof(*m));

	if (!m)
		return;
	m->down = (struct down){.watch = {.kind = WATCH_DOWN, .fd = -1},
				.state = DOWN_EXCHANGE,
				.worker = o->worker,
				.pod = o->pod,
				.client = o->client,
				.dst = o->dst,
				.codec = &codec,
				.mirror = true};
	m->forward.idle_timeout_ms = of->forward->idle_timeout_ms == WEFT_TIMEOUT_INHERIT ?
					     of->hcm->stream_idle_ms :
					     of->forward->idle_timeout_ms;
	TAILQ_INSERT_TAIL(&o->pod->downs, &m->down, link);
	if (!mirror_fill(m, of, p)) {
		down_close(&m->down);
		return;
	}
	COUNT(o->worker->stats.mirrored, 1);
	m->counted = true;
	m->of = of;
	of->mirror[of->n_mirror++] = &m->down;
	m->down.x->timeout_ms = of->timeout_ms;
	exchange_timers(m->down.x);
	queue(m);
}

void mirrors_begin(struct exchange *x)
{
	const struct weft_img_mirror *p = x->forward->n_mirror ? weft_img_at(x->forward->mirror) : NULL;

	for (uint32_t i = 0; i < x->forward->n_mirror; i++) {
		if (x->ctx.random % p[i].denominator < p[i].numerator)
			mirror_new(x, &p[i]);
	}
}

/* ---- the body ---- */

void mirrors_feed(struct exchange *x, const uint8_t *data, size_t len)
{
	const struct buf *trailers = &x->down->trailers_in;

	for (uint32_t i = 0; i < x->n_mirror; i++) {
		struct mirror *m = (struct mirror *)x->mirror[i];

		if (x->req_body.done && buf_len(trailers) &&
		    buf_add(m->down.worker, &m->down.trailers_in, buf_at(trailers),
			    buf_len(trailers)))
			m->over = true;
		/* one that is slower than the bound allows is given up, not waited for */
		if (!m->over && exchange_feed(m->down.x, data, len, x->req_body.done))
			m->over = true;
		if (x->req_body.done)
			m->of = NULL;
		queue(m);
	}
	if (x->req_body.done)
		x->n_mirror = 0;
}

void mirrors_drop(struct exchange *x)
{
	for (uint32_t i = 0; i < x->n_mirror; i++) {
		struct mirror *m = (struct mirror *)x->mirror[i];

		m->of = NULL;
		m->over = true;
		queue(m);
	}
	x->n_mirror = 0;
}

/* ---- at the turn's end ---- */

void mirrors_run(struct worker *w)
{
	struct mirror *m;

	while ((m = TAILQ_FIRST(&w->mirrors))) {
		struct exchange *x = m->down.x;

		TAILQ_REMOVE(&w->mirrors, m, link);
		m->queued = false;
		if (m->over) {
			down_close(&m->down);
		} else if (!m->started) {
			m->started = true;
			exchange_attempt(x);
		} else {
			exchange_push(x);
		}
	}
}
