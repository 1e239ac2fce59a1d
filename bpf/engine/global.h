/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/*
 * Global rate limits (Envoy's envoy.filters.http.ratelimit): whether a rate limit service is asked
 * of a request, and what. A program only tells whether it may be; who asks is the caller's (struct
 * weft_limiter).
 */

#include "bpf/abi/global.h"
#include "bpf/engine/cluster.h"

/* Something may be asked: the agent's. Own rules, those of the route, of its virtual host, or of an
 * override. */
WEFT_INLINE int weft_global_may_ask(const struct weft_req *req, __u32 config, __u32 override)
{
	WEFT_IMG_BASE(1);
	struct weft_img_global_limit *l = WEFT_IMG(struct weft_img_global_limit, config);

	if (!l->enabled || !req->dec.forward)
		return 0;
	if (l->own.n || override)
		return 1;
	return WEFT_IMG(struct weft_img_forward, req->dec.forward)->rate.n ||
	       WEFT_IMG(struct weft_img_vhost, req->dec.vhost)->rate.n;
}
