/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * How a request ended: one record for each that a client sends, whoever answers it and whatever
 * becomes of it. It is filled on the way (the response's status and details by who makes the
 * response, bytes where they pass) and closed in one place, outcome_end(): there, and nowhere
 * else, counters of downstream requests and access logs are fed.
 *
 *   exchange  its record is x->outcome, closed by exchange_end(). A request that is held back, and
 *             decided anew later, has not ended (`passed`).
 *   early     a head that becomes no exchange (malformed, late, not there when its client left) has
 *             a record of its own for as long as it is answered: outcome_early().
 *   kernel    an answer in place is counted by the program that makes it, into the same cells;
 *             where the listener has an access log, programs leave the answer to the agent
 *             (weft_img_hcm.logs), so that every line of a log has one writer.
 *   mirror    a copy is nobody's request: it has no outcome.
 *
 * An attempt at an endpoint is not an outcome: it is counted for its cluster and told to outlier
 * detection where it ends (attempt.c, answer.c, outlier.c).
 */

#include <stdbool.h>
#include <stdint.h>

#include "agent/proxy/bytes.h"
#include "bpf/engine/engine.h"

struct down;
struct exchange;
struct worker;

/* Longest details that are put together for one request. */
#define OUTCOME_TEXT 192u

struct outcome {
	uint32_t code;	     /* of the response, 0: none was begun */
	uint32_t flags;	     /* bits of enum weft_reply_flag that only the log knows */
	const char *details; /* Envoy's response code details, not ended by a NUL; NULL: none */
	uint32_t n_details;
	const char *route; /* its name, where it is no more the decision's; NULL: that */
	uint32_t n_route;
	const char *failure; /* of the way to the endpoint, in text; NULL: none */
	uint32_t n_failure;
	uint64_t received, sent; /* bytes of the bodies, without their framing */
	/* milliseconds of the worker's clock, 0: not yet */
	uint64_t request_end_ms, sent_ms, answer_ms;
	struct weft_sockaddr local, remote; /* of the connection to the endpoint, family 0: none */
	bool http2;			    /* ... which speaks HTTP/2 */
	bool begun;	     /* its endpoint has said something, be it an interim response */
	bool passed;	     /* the request has not ended: nothing is to be said of this one */
	bool ended;	     /* the response was sent whole, or what ended it has been said */
	struct buf head;     /* the response's lines as they were sent; only where it is logged */
	struct buf trailers; /* the same */
	char text[OUTCOME_TEXT];
};

/* What a response, or its end, comes from: text that lives as long as the exchange. */
void outcome_details(struct outcome *o, const char *details);
/* "what{why}" with blanks as underscores; failure, where it is not "", behind a bar. A copy. */
void outcome_reset(struct outcome *o, bool started, const char *why, const char *failure);
/* The name of another route. */
void outcome_route(struct outcome *o, struct weft_img_str name);
/* Details of the image. */
void outcome_image(struct outcome *o, struct weft_img_str details);

/* The record of the request at hand of d; NULL: none is. */
struct outcome *outcome_of(struct down *d);

/* The attempt at hand has its connection. */
void outcome_connected(struct exchange *x);
/* Is anybody to be told of the requests of d at hand? */
bool outcome_is_logged(const struct exchange *x);
/* The response's head, as lines [from, from + len), was made. -ENOMEM. */
int outcome_head(struct down *d, uint32_t status, const uint8_t *lines, size_t len);
/* A whole reply stands in d->out from this byte on. -ENOMEM. */
int outcome_said(struct down *d, size_t from);

/* Its response has these trailers. */
void outcome_trailers(struct exchange *x, const struct buf *trailers);

/* The exchange has ended: counts it and writes its lines. */
void outcome_end(struct exchange *x);
/* The same of a head that is no exchange; req: its lines where they are known, else NULL. */
void outcome_early(struct down *d, const struct weft_req *req, struct outcome *o);
/* The request's lines stand in x->head: what logs say of its beginning, and from now on. */
void outcome_begin(struct exchange *x);
/* Its upgrade is through. */
void outcome_tunnel(struct exchange *x);
