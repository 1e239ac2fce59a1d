// SPDX-License-Identifier: Apache-2.0
/* What an accepted connection is: its first bytes, its chain, the filters in front, and the version
 * of HTTP. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/proxy/limiter.h"

static struct down *of_timer(struct timer *t)
{
	return (struct down *)((char *)t - offsetof(struct down, timer));
}

static bool ctx_init(struct down *d, struct weft_ctx *ctx)
{
	*ctx = (struct weft_ctx){.pod = d->pod->id,
				 .turns = d->worker->proxy->turns,
				 .view = d->pod->view,
				 .dst = d->dst,
				 .src = d->client,
				 .now_ns = d->worker->now_ns,
				 .hello = d->hello};
	return !weft_ctx_begin(ctx) && !weft_listener_find(ctx);
}

static void classify(struct down *d, enum weft_proto proto);

static void sniff_over(struct worker *w, struct timer *t)
{
	struct down *d = of_timer(t);
	struct weft_ctx ctx;
	const struct weft_img_listener *l;
	bool on = false;

	image_enter(d);
	if (ctx_init(d, &ctx)) {
		l = weft_img_at(ctx.listener);
		on = l->flags & WEFT_LISTENER_TIMEOUT_CONTINUES;
	}
	image_leave(d);
	(void)w;
	if (on)
		classify(d, WEFT_PROTO_RAW);
	else
		down_close(d);
}

static bool rbac_pass(struct down *d, const struct weft_img_chain *chain)
{
	struct weft_ctx ctx;
	int denied = 2;

	for (uint32_t i = 0; i < chain->n_rbac; i++) {
		const struct weft_img_rbac *r = weft_img_at(chain->rbac[i]);

		if (!worker_cell(d->worker, d->pod->id, r->cell))
			return false;
	}
	if (ctx_init(d, &ctx))
		denied = weft_conn_rbac(&ctx, d->chain);
	if (denied)
		local_count(WEFT_OUTCOME_REFUSED_RBAC);
	return !denied;
}

static void streams_start(struct down *d, const struct weft_img_hcm *h)
{
	d->may_h2 = false;
	if (h2_start(d, h)) {
		down_close(d);
		return;
	}
	if (buf_len(&d->in))
		h2_receive(d);
	if (!d->dead)
		down_watch(d);
}

bool down_sniff_streams(struct down *d)
{
	const struct weft_img_chain *chain;
	int r = h2_preface(&d->in);

	if (r == -EAGAIN) {
		image_enter(d);
		down_head_wait(d);
		image_leave(d);
		return true;
	}
	d->may_h2 = false;
	if (!r)
		return false;
	image_enter(d);
	chain = down_chain(d);
	if (chain && chain->kind == WEFT_CHAIN_HTTP)
		streams_start(d, weft_img_at(chain->target));
	else
		down_close(d);
	image_leave(d);
	return true;
}

static void http_start(struct down *d, const struct weft_img_chain *chain)
{
	const struct weft_img_hcm *h = weft_img_at(chain->target);

	if (!rbac_pass(d, chain)) {
		down_close(d);
		return;
	}
	down_life(d, h->max_connection_ms);
	if (h->h2.codec == WEFT_CODEC_HTTP2) {
		streams_start(d, h);
		return;
	}
	d->state = DOWN_HEAD;
	d->may_h2 = h->h2.codec == WEFT_CODEC_AUTO;
	down_head_wait(d);
	if (buf_len(&d->in))
		down_advance(d);
	if (!d->dead)
		down_watch(d);
}

void down_classified(struct down *d)
{
	const struct weft_img_chain *chain;

	image_enter(d);
	chain = down_chain(d);
	if (!chain) {
		local_count(WEFT_OUTCOME_REFUSED_NO_CHAIN);
		down_close(d);
	} else if (chain->kind == WEFT_CHAIN_TCP && !chain->n_ask && !d->asks) {
		tcp_start(d, chain); /* takes its limits with the endpoint */
	} else if (conn_limits_pass(d, chain)) {
		if (chain->kind == WEFT_CHAIN_TCP)
			tcp_start(d, chain);
		else
			http_start(d, chain);
	}
	image_leave(d);
}

static void classify(struct down *d, enum weft_proto proto)
{
	timer_clear(&d->timer);
	d->proto = proto;
	d->chain_epoch = 0; /* epochs count from 1 */
	down_classified(d);
}

void down_open(struct down *d)
{
	const struct weft_img_listener *l;
	struct weft_ctx ctx;
	uint32_t flags = 0, ms = 0;
	bool found;

	image_enter(d);
	found = ctx_init(d, &ctx);
	if (found) {
		l = weft_img_at(ctx.listener);
		flags = l->flags & (WEFT_LISTENER_INSPECT_HTTP | WEFT_LISTENER_INSPECT_TLS);
		ms = l->inspect_timeout_ms;
	}
	image_leave(d);
	if (!found) {
		down_close(d); /* its listener went away meanwhile */
		return;
	}
	if (!flags) {
		classify(d, WEFT_PROTO_RAW);
		return;
	}
	d->state = DOWN_SNIFF;
	if (ms) {
		d->timer.fire = sniff_over;
		timer_set(d->worker, &d->timer, d->worker->now_ms + ms);
	}
	down_watch(d);
}

/* Kept as long as the connection: its chain is looked for anew with each configuration. */
static bool hello_keep(struct down *d, const struct weft_hello *h)
{
	struct weft_hello *own = malloc(sizeof(*own) + h->alpn_len);

	if (!own)
		return false;
	*own = *h;
	own->alpn = memcpy(own + 1, h->alpn_len ? h->alpn : (const uint8_t *)"", h->alpn_len);
	d->hello = own;
	return true;
}

void down_sniff(struct down *d)
{
	uint8_t room[WEFT_HELLO_ROOM];
	struct weft_hello hello;
	struct weft_ctx ctx;
	int proto = -ECONNABORTED;

	image_enter(d);
	if (ctx_init(d, &ctx))
		proto = weft_proto_detect(buf_at(&d->in), (uint32_t)buf_len(&d->in),
					  weft_img_at(ctx.listener), room, &hello);
	image_leave(d);
	if (proto == -EAGAIN && !d->eof)
		return;
	if (proto < 0 || (proto == WEFT_PROTO_TLS && !hello_keep(d, &hello)))
		down_close(d); /* none that Envoy takes, or its end came before it was known */
	else
		classify(d, (enum weft_proto)proto);
}
