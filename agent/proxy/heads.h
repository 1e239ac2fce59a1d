/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What is made of the heads of an exchange, and what they ask for. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/proxy/bytes.h"
#include "agent/proxy/exchange.h"
#include "agent/proxy/refused.h"
#include "bpf/engine/engine.h"

/* ---- as they go on (request.c, response.c, lines.c) ---- */

/* The request as the client sent it and the connection manager completed it, into x->head. -ENOMEM.
 */
int request_lines(struct worker *w, struct exchange *x, const struct weft_req *req);
/* The same of a request that is answered here, for rules that look at it: as far as it came.
 * -ENOMEM. */
int request_answered(struct worker *w, struct exchange *x, const struct weft_req *req);
/* x->head with its blank line to out; h1: framed, as its cluster's codec of HTTP/1.1 writes it. -ENOMEM. */
int request_put(struct worker *w, struct exchange *x, bool h1, struct buf *out);
/* What the client sent and nothing else, into ret. -ENOMEM. */
int request_sent(struct worker *w, const struct weft_req *req, struct buf *ret);
/*
 * Builds the head for upstream from the parsed request into x->head: as above, changed by the
 * rules; and its hash, for which req is used. -ENOMEM.
 */
int request_build(struct worker *w, struct exchange *x, struct weft_req *req);
/* What an endpoint is told by :scheme: that of the request, or where that makes no sense
 * x-forwarded-proto (Envoy's router). */
bool request_is_https(const struct weft_req *req);
/* How its body goes, for an endpoint that speaks HTTP/1.1: a line behind x->head. -ENOMEM. */
int request_framing(struct worker *w, const struct exchange *x, struct buf *out);
/* A random UUID (version 4). */
void request_uuid(struct worker *w, char out[37]);
/* Before routing: what the connection manager changes in a request. */
void request_prepare(struct worker *w, struct exchange *x, struct weft_req *req,
		     const struct weft_ctx *ctx);
/* An answer of 101 that upgrades the connection: others are heads without more (Envoy 1.40). */
static inline bool response_upgrades(const struct exchange *x, const struct response *r)
{
	return r->status == 101 && x->upgrade && r->has_upgrade && r->wants_upgrade;
}
/* The head for the client into d->out. */
int response_build(struct worker *w, struct exchange *x, const uint8_t *head,
		   const struct response *r);
/* An interim one (1xx) goes on with its fields. */
int response_interim(struct worker *w, struct buf *out, const uint8_t *head,
		     const struct response *r);
/* "name: value" CRLF of any length. */
int line_add(struct worker *w, struct buf *b, const void *name, size_t n, const void *value,
	     size_t len);
/* The same with a decimal number. */
int line_add_number(struct worker *w, struct buf *b, const void *name, size_t n, uint64_t value);

/* ---- what the request asks of the router (asked.c) ---- */

/* Statuses and names of response headers that are tried again, besides the policy's. */
struct asked {
	size_t n_status;
	uint32_t *status;
	char *names; /* each ended by a comma, lower case */
};
/* Times, from the lines of x->head as filters leave them; takes those lines. */
void asked_times(struct worker *w, struct exchange *x);
/* Retries, from the lines as the route's rules leave them; takes those lines. -ENOMEM. */
int asked_retries(struct worker *w, struct exchange *x);
/* x-envoy-expected-rq-timeout-ms of the first attempt, 0: none. */
uint64_t asked_expected(const struct exchange *x);
/* Is the response one of those that are asked to be tried again? */
bool asked_again(const struct exchange *x, const uint8_t *head, const struct response *r);
void asked_free(struct asked *a);

/* How long the response asks to wait for another attempt, with its jitter (reset.c); 0: it does
 * not. */
uint64_t reset_ms(const struct exchange *x, const uint8_t *head, const struct response *r);

/* ---- conditions of a retry policy (matches.c) ---- */

/* Does one of a weft_img_matchers hold for x->head? Without memory: none. */
bool request_matches(const struct exchange *x, uint32_t matchers);
/* The same for a head of that form, or none (n 0). */
bool head_matches(const uint8_t *head, size_t n, uint32_t matchers);
/* The same for a response; head has its names in lower case. */
bool response_matches(uint32_t matchers, const uint8_t *head, const struct response *r);

/* ---- internal redirects (follow.c) ---- */

/* The answer r, whose head is at `head`, is a redirect that is followed: x is gone, and the new
 * request under way. */
bool follow(struct exchange *x, const uint8_t *head, const struct response *r);
/* In place of request_prepare() for such a request. */
void follow_prepare(struct worker *w, const struct down_again *a, struct weft_req *req);

/* ---- replies made here (local.c) ---- */

/*
 * Each puts a reply into the client's buffer; the connection may be dead then. true: it says that
 * the connection ends, because of `close` or for a reason of the reply's own. The caller goes by
 * that.
 */
/* The reply of a decision (x->dec as well). */
bool local_decision(struct down *d, struct weft_req *req, struct weft_ctx *ctx, bool close);
/* Its bytes alone; the request's lines are in x->head when it is formed for the request. -ENOMEM.
 */
int local_decision_write(struct down *d, const struct weft_req *req, const struct weft_ctx *ctx,
			 bool close);
/* Status, text and response code details (NULL: they are told already) of the proxy's own. extra:
 * header lines. */
bool local_text(struct down *d, uint32_t status, const char *body, const char *details,
		const char *extra, bool close);
/* The same for a head that becomes no exchange, with its outcome. */
bool local_early(struct down *d, const struct weft_req *req, const struct refused *why,
		 const char *extra);
/* As local_text() with x-envoy-attempt-count where the virtual host asks for it. */
bool local_attempts(struct exchange *x, uint32_t status, const char *body, const char *details,
		    bool close);
/* From a reply of the image. */
bool local_image(struct down *d, uint32_t reply, bool close);
void local_count(enum weft_outcome outcome);
/* request_headers_timeout: 408. */
void local_head_timeout(struct worker *w, struct timer *t);
