/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Rate limit services (envoy.service.ratelimit.v3): a request waits for an answer and is then
 * decided again with it (limiter.c, limiter_answer.c); the call is an exchange of a client that
 * does not exist, through the pod's own pools to the service's cluster (limiter_call.c);
 * limiter_wire.c knows the messages. All of a connection's worker.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "agent/proxy/internal.h"
#include "bpf/abi/global.h"
#include "envoy/service/ratelimit/v3/rls.pb-c.h"

typedef Envoy__Service__Ratelimit__V3__RateLimitResponse rate_response;

struct call;
struct lines;

/* Who has asked: `answered` takes the answer (NULL: none has come), `go_on` is called at the turn's
 * end. First in what it is part of. */
struct asker {
	void (*answered)(struct asker *a, rate_response *msg);
	void (*go_on)(struct asker *a);
	bool ready; /* in worker.askers */
	TAILQ_ENTRY(asker) link;
};
void asker_answered(struct worker *w, struct asker *a, rate_response *msg);
/* It goes on no more. */
void asker_forget(struct worker *w, struct asker *a);
/* At a turn's end: those that have their answers go on. */
void askers_run(struct worker *w);

/* Descriptors of one question. */
#define LIMITER_DESCRIPTORS_MAX WEFT_RATE_MATCHES_MAX

/* What is asked once, as it goes on the wire, and of whom. */
struct question {
	struct buf message; /* gRPC's five bytes, then a RateLimitRequest */
	struct buf head;    /* the call's lines */
	char *cluster;	    /* of the service */
	uint32_t timeout_ms, max_bytes;
};
void question_free(struct worker *w, struct question *q);
/* Its descriptors are all there: its head, and whom it goes to. req: NULL, it is of the connection.
 * -ENOMEM. */
int question_complete(struct down *d, const struct weft_req *req, const struct weft_img_service *s,
		      struct question *q);

/* ---- messages (limiter_wire.c) ---- */

/* A question's beginning, in an empty buffer. -ENOMEM. */
int wire_begin(struct worker *w, struct buf *b, struct weft_img_str domain);
struct wire_limit {
	uint32_t requests, unit;
	bool set;
};
/* One more descriptor. hits NULL: none are said. -ENOMEM. */
int wire_descriptor(struct worker *w, struct buf *b, const struct weft_rate_found *e, uint32_t n,
		    const struct wire_limit *limit, const uint64_t *hits);
/* Its length goes in front. */
void wire_end(struct buf *b);
/* The last message of a response's body; NULL: there is none that makes sense. */
rate_response *wire_response(const uint8_t *p, size_t n);
/* Number of a RateLimitUnit by its name, -1: there is none. */
int wire_unit(const char *name);
uint32_t wire_seconds(int unit);

/* ---- calls (limiter_call.c) ---- */

/* Asks; the question is taken over. of: who gets the answer, NULL: nobody. -ENOMEM: and the
 * question is freed. */
int call_begin(struct down *d, struct question *q, struct asker *of, struct call **ret);
/* Nobody waits for it any more: its stream is reset. */
void call_cancel(struct call *c);
/* At a turn's end: begins and ends those that are to. */
void calls_run(struct worker *w);

/* ---- a connection's questions (limiter.c) ---- */

/* What a service said to one filter. */
struct answer {
	uint32_t place, key; /* of the filter */
	enum weft_verdict verdict;
	rate_response *msg;			    /* NULL: of no answer */
	const struct weft_img_global_limit *config; /* of the decision at hand */
	bool counted, passed;
	bool told; /* responses tell of limits that no rule says more of */
	uint32_t n_tell;
	bool tell[LIMITER_DESCRIPTORS_MAX];
};

struct limiter {
	struct asker asker; /* first */
	struct down *down;
	struct call *call; /* under way */
	bool failed;	   /* no memory for the question at hand */
	struct question asks;  /* at hand */
	uint32_t n_descriptor; /* of it */
	struct answer next;    /* its answer will be this one */
	uint32_t n;
	struct answer answer[WEFT_FILTERS_MAX];
	uint32_t n_done; /* asked when the request is over */
	struct question done[WEFT_FILTERS_MAX];
	uint32_t done_place[WEFT_FILTERS_MAX];
	char request_id[37];
	uint32_t n_add, add[WEFT_FILTERS_MAX]; /* weft_decision.add of filters before */
};

/* Its request waits for an answer, or for its turn after one. l: NULL, nobody is asked. */
static inline bool limiter_asks(const struct limiter *l)
{
	return l && (l->call || l->asker.ready);
}
/* ctx asks for this connection's requests from here on, until the next call. */
void limiter_attach(struct down *d, struct weft_ctx *ctx);
/* The decision at hand asks (req->asks): the call begins, and the request waits. x: of the
 * decision.
 */
void limiter_wait(struct exchange *x, struct weft_req *req);
/* A decision that does not wait: what filters before an answer have added to the request. */
void limiter_resume(struct down *d, struct weft_req *req);
/* The request is over; last: its client is gone too. */
void limiter_free(struct limiter *l, bool last);

/* ---- a connection's own question (limiter_conn.c) ---- */

/*
 * The connection's limits, local and global, in the order of its chain's filters, from where the
 * last answer left them. false: it waits for an answer, or is closed. Under image_enter().
 */
bool conn_limits_pass(struct down *d, const struct weft_img_chain *chain);
/* The connection closes while it waits. */
void conn_limits_end(struct down *d);

/* ---- what answers say (limiter_answer.c) ---- */

/* An answer's request headers, into the request at hand. false: no room, or none that may be. */
bool answer_request(struct worker *w, struct weft_req *req, const struct answer *a);
/* msg: NULL, none has come. */
enum weft_verdict answer_verdict(const rate_response *msg);
/* May its lines stand in heads? */
bool answer_is_good(const rate_response *msg);
/* Lines for responses, each behind a '+' (told.c), of all answers but that of the filter at `but`.
 * -ENOMEM. */
int answers_told(struct worker *w, const struct limiter *l, uint32_t but, struct buf *out);
/* The reply to a request that was refused by dec.outcome. -ENOMEM. */
int answer_refuse(struct down *d, const struct weft_req *req, bool close);
/* A value of dynamic metadata; NULL: there is none. */
const Google__Protobuf__Value *answers_value(const struct limiter *l,
					     const struct weft_img_rate_path *path);

/* ---- counters (limiter_stats.c) ---- */

enum limiter_count {
	LIMITER_OK,
	LIMITER_ERROR,
	LIMITER_OVER,
	LIMITER_ALLOWED,
	LIMITER_HTTP__MAX,
	LIMITER_TOTAL = LIMITER_HTTP__MAX,
	LIMITER_CLOSED,
	LIMITER_ACTIVE, /* now */
	LIMITER__MAX
};
/* cluster.NAME.ratelimit.[PREFIX.]... of a pod. */
void limiter_count(struct worker *w, uint32_t pod, struct weft_rate_text cluster,
		   struct weft_img_str prefix, enum limiter_count what);
struct limiter_cell;
/* ratelimit.PREFIX.... of a pod, NULL: it cannot be had. Stays as long as the pod. */
struct limiter_cell *limiter_conn_cell(struct worker *w, uint32_t pod, struct weft_img_str prefix);
/* c: may be NULL. */
void limiter_conn_count(struct limiter_cell *c, enum limiter_count what, int n);
/* Of a pod that is gone. */
void limiter_stats_drop(struct worker *w, uint32_t pod);
void limiter_stats_free(struct worker *w);
