// SPDX-License-Identifier: Apache-2.0
/* What the proxy would send for a decision, without sending it. */
#include "agent/proxy/preview.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/cleanup.h"
#include "agent/proxy/mutate.h"

/* As much of a connection as heads are made from. */
struct stage {
	struct worker worker;
	struct pod pod;
	struct down down;
	struct exchange x;
};

static int text_take(const struct buf *b, char **ret, size_t *ret_len)
{
	char *text = malloc(buf_len(b) + 1);

	if (!text)
		return -ENOMEM;
	memcpy(text, buf_at(b), buf_len(b));
	text[buf_len(b)] = '\0';
	*ret = text;
	*ret_len = buf_len(b);
	return 0;
}

static int write_text(struct stage *s, struct weft_req *req, const struct weft_ctx *ctx, char **ret,
		      size_t *ret_len)
{
	struct exchange *x = &s->x;
	int r = 0;

	if (req->dec.outcome == WEFT_OUTCOME_FORWARD) {
		r = request_build(&s->worker, x, req);
		if (!r)
			r = request_put(&s->worker, x, x->cluster->http != WEFT_UPSTREAM_HTTP2, &s->down.out);
		return r ? r : text_take(&s->down.out, ret, ret_len);
	}
	if (req->dec.outcome == WEFT_OUTCOME_UPGRADE_FAILED) {
		r = request_answered(&s->worker, x, req);
		if (!r)
			local_text(&s->down, 403, "", "upgrade_failed", NULL, true);
		return r ? r : text_take(&s->down.out, ret, ret_len);
	}
	if (!req->dec.reply && req->dec.outcome != WEFT_OUTCOME_FAULT &&
	    req->dec.outcome != WEFT_OUTCOME_CORS && req->dec.outcome != WEFT_OUTCOME_BAD_REQUEST)
		return -ENOENT;
	if (weft_reply_is_formed(req) || !req->dec.reply || x->hcm->mapping)
		r = request_answered(&s->worker, x, req);
	if (!r)
		r = local_decision_write(&s->down, req, ctx, false);
	return r ? r : text_take(&s->down.out, ret, ret_len);
}

static struct stage *stage_new(struct weft_req *req, const struct weft_ctx *ctx)
{
	struct stage *s = calloc(1, sizeof(*s));
	const struct weft_img_listener *l;

	if (!s)
		return NULL;
	s->pod = (struct pod){.id = ctx->pod, .view = ctx->view};
	s->down = (struct down){.worker = &s->worker,
				.pod = &s->pod,
				.client = ctx->src,
				.dst = ctx->dst,
				.x = &s->x};
	l = ctx->listener ? weft_img_at(ctx->listener) : NULL;
	s->down.proto =
		l && l->flags & WEFT_LISTENER_INSPECT_HTTP ? WEFT_PROTO_HTTP11 : WEFT_PROTO_RAW;
	s->x.down = &s->down;
	s->x.ctx = *ctx;
	s->x.hcm = weft_img_at(req->dec.hcm);
	s->down.hold.over = req->dec.delay_ms; /* the reply comes behind it */
	return s;
}

static void stage_free(struct stage *s)
{
	buf_free(&s->worker, &s->down.out);
	buf_free(&s->worker, &s->x.head);
	buf_free(&s->worker, &s->x.told);
	buf_spares_free(&s->worker);
	free(s);
}

/* A hash that there is leads to the same host each time, or to none. */
static bool hash_leads_nowhere(const struct exchange *x)
{
	return x->dec.outcome == WEFT_OUTCOME_FORWARD && x->dec.hashed && x->dec.endpoints &&
	       x->cluster->lb >= WEFT_LB_RING_HASH &&
	       weft_endpoint_hashed(x->dec.endpoints, x->cluster->lb, x->dec.hash, 0) < 0;
}

int weft_proxy_preview(struct weft_req *req, const struct weft_ctx *ctx, char **ret,
		       size_t *ret_len)
{
	_auto_free_ struct weft_req *asked = malloc(sizeof(*asked));
	struct stage *s = asked ? stage_new(req, ctx) : NULL;
	int r;

	if (!s)
		return -ENOMEM;
	*asked = *req;
	/* a new one for each request: any will do */
	memcpy(s->x.request_id, "00000000-0000-4000-8000-000000000000", sizeof(s->x.request_id));
	exchange_request_set(&s->x, req);
	exchange_decision_set(&s->x, &req->dec);
	r = told_prepare(&s->worker, &s->x, req);
	if (!r)
		r = write_text(s, req, ctx, ret, ret_len);
	*req = *asked; /* it described the stage's head, for the hash, which stays */
	req->dec.hash = s->x.dec.hash;
	req->dec.hashed = s->x.dec.hashed;
	if (!r && hash_leads_nowhere(&s->x)) {
		free(*ret);
		*ret = NULL;
		r = -EHOSTUNREACH;
	}
	stage_free(s);
	return r;
}

int weft_proxy_preview_refused(struct weft_req *req, const struct weft_ctx *ctx, int why,
			       char **ret, size_t *ret_len)
{
	const struct weft_span *p = &req->value[WEFT_VALUE_PATH];
	struct refused a = refused_head(req, why);
	struct stage *s = stage_new(req, ctx);
	_auto_free_ char *line = NULL;
	int r = -ENOMEM;

	if (!s)
		return -ENOMEM;
	if (!why && asprintf(&line, "location: %.*s\r\n", (int)p->len, req->head + p->off) < 0)
		line = NULL;
	if (why || line) {
		local_early(&s->down, req, &a, line);
		r = text_take(&s->down.out, ret, ret_len);
	}
	stage_free(s);
	return r;
}
