/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the proxy would send for a decision, without sending it: for `explain`. */

#include <stddef.h>

#include "bpf/engine/engine.h"

/*
 * The head of the request that goes upstream, or the whole reply that is made here. *ret: text with
 * a zero byte behind it, the caller's to free. -ENOENT: the decision says neither; -EHOSTUNREACH:
 * the request's hash leads to no healthy host; -ENOMEM.
 */
int weft_proxy_preview(struct weft_req *req, const struct weft_ctx *ctx, char **ret, size_t *ret_len);
/*
 * The same for a head that is refused before it is judged (why: enum weft_parse), or (0) whose
 * client is sent to the path that it has now. -ENOMEM.
 */
int weft_proxy_preview_refused(struct weft_req *req, const struct weft_ctx *ctx, int why,
			       char **ret, size_t *ret_len);
