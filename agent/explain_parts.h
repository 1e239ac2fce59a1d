/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Between explain.c (the connection, TCP) and explain_http.c (a request). */

#include <jansson.h>
#include <stdarg.h>
#include <stdint.h>

#include "agent/explain.h"
#include "bpf/engine/engine.h"

/* One explanation on its way. */
struct explain {
	const struct weft_explain_query *q;
	struct weft_diag *diag;
	struct weft_ctx ctx;
	struct weft_req *req;
	json_t *out, *steps;
};

json_t *explain_text(const struct weft_img_str *s);
/* One more line of what was done, and why. */
void explain_step(struct explain *x, const char *what, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void explain_step_add(struct explain *x, const char *what, const char *fmt, va_list ap)
	__attribute__((format(printf, 3, 0)));
/* Takes the reference. */
void explain_set(struct explain *x, const char *key, json_t *value);
/* "cluster" or "weighted_clusters" of a weft_img_targets. */
void explain_set_targets(struct explain *x, uint32_t off);

/* What the chain does with the query's request. 0, -EINVAL, -EIO (causes in diag), -ENOMEM. */
int explain_http(struct explain *x, uint32_t chain, uint32_t listener);
