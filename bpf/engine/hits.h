/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/*
 * How many tokens a request takes where a format says it (hits_addend of a filter's own
 * rate_limits); natively only. One command, looked at when the request's head is there; what is no
 * number makes no descriptor (Envoy 1.40).
 */

#ifndef __bpf__

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bpf/abi/header.h"

/* More is none of Envoy's either. */
#define WEFT_HITS_MAX 1e9

static struct weft_rate_text weft_hits_header(struct weft_rate_room *room,
					      const struct weft_req *req, struct weft_img_str name)
{
	static const struct {
		const char *name;
		__u32 slot;
	} pseudo[] = {{":method", WEFT_VALUE_METHOD},
		      {":path", WEFT_VALUE_PATH},
		      {":authority", WEFT_VALUE_HOST},
		      {"host", WEFT_VALUE_HOST},
		      {":scheme", WEFT_VALUE_SCHEME}};
	struct weft_img_rate_action a = {.name = name};

	for (size_t i = 0; i < sizeof(pseudo) / sizeof(*pseudo); i++)
		if (name.len == strlen(pseudo[i].name) &&
		    !memcmp(weft_img_at(name.off), pseudo[i].name, name.len))
			a.slot = pseudo[i].slot + 1;
	return weft_rate_header(room, req, &a);
}

static struct weft_rate_text weft_hits_text(struct weft_rate_room *room, const struct weft_req *req,
					    const struct weft_ctx *ctx,
					    const struct weft_img_piece *p)
{
	struct weft_rate_text t = {NULL, 0};
	char port[8];

	switch (p->kind) {
	case WEFT_PIECE_TEXT:
		return weft_rate_image(p->a);
	case WEFT_PIECE_REQ:
		t = weft_hits_header(room, req, p->a);
		return t.p || !p->b.len ? t : weft_hits_header(room, req, p->b);
	case WEFT_PIECE_QUERY_PARAM:
		return weft_rate_query(room, req, weft_rate_image(p->a));
	case WEFT_PIECE_ROUTE_NAME:
		return req->dec.route ? weft_rate_image(((const struct weft_img_route *)weft_img_at(
								 req->dec.route))
								->name)
				      : t;
	case WEFT_PIECE_RESPONSE_CODE: /* there is none yet */
	case WEFT_PIECE_ATTEMPT_COUNT:
		return weft_rate_put(room, "0", 1);
	case WEFT_PIECE_LOCAL:
		snprintf(port, sizeof(port), "%u", ctx->dst.port);
		return weft_rate_put(room, port, (__u32)strlen(port));
	default:
		return t;
	}
}

/* -1: no number of tokens. piece: weft_img_piece. */
static __s64 weft_rate_hits(struct weft_rate_room *room, const struct weft_req *req,
			    const struct weft_ctx *ctx, __u32 piece)
{
	const struct weft_img_piece *p = weft_img_at(piece);
	struct weft_rate_text t = weft_hits_text(room, req, ctx, p);
	char text[512], *end;
	double n;

	if (t.len > p->max)
		t.len = p->max;
	if (!t.p || !t.len || t.len >= sizeof(text))
		return -1;
	memcpy(text, t.p, t.len);
	text[t.len] = '\0';
	n = strtod(text, &end);
	while (*end == ' ' || *end == '\t')
		end++;
	if (end == text || end != text + t.len || n < 0 || n > WEFT_HITS_MAX)
		return -1;
	return isnan(n) ? 0 : (__s64)n;
}

#endif
