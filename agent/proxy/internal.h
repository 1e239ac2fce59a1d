/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The parts of the proxy: worker.c (loop), listener.c (pods' listeners, accept), down.c and
 * classify.c (the app's connections), h2_session.c, h2_stream.c and h2_head.c (those that speak
 * HTTP/2), exchange.c (one request and its response), request.c and response.c (heads), body.c
 * (framing), upstream.c and pool.c (connections to endpoints), retry.c, tcp.c (relays), slot.c
 * (hand-over from and to the kernel), local.c (replies made here). Everything of one connection
 * happens on its worker; nothing is locked on the request path.
 */

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>
#include <sys/queue.h>

#include "agent/proxy/limits.h"
#include "agent/proxy/proxy.h"
#include "bpf/engine/engine.h"

struct worker;
struct mirror;
struct pace;
struct down;
struct exchange;
struct upstream;
struct pool;
struct h2;

/* AddressSanitizer cannot see that memory kept for reuse is used when it is stale: its builds keep none. */
#if defined(__SANITIZE_ADDRESS__)
#define PROXY_KEEPS_SPARES false
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define PROXY_KEEPS_SPARES false
#endif
#endif
#ifndef PROXY_KEEPS_SPARES
#define PROXY_KEEPS_SPARES true
#endif

/* ---- bytes (buffer.c) ---- */

/* Bytes [start, end) of data. Empty and without memory when idle. */
struct buf {
	uint8_t *data;
	size_t cap, start, end;
};
static inline size_t buf_len(const struct buf *b)
{
	return b->end - b->start;
}
static inline uint8_t *buf_at(const struct buf *b)
{
	return b->data + b->start;
}
/* Room for n more bytes behind end (moves or grows). -ENOMEM. */
int buf_room(struct worker *w, struct buf *b, size_t n);
int buf_add(struct worker *w, struct buf *b, const void *bytes, size_t n);
int buf_printf(struct worker *w, struct buf *b, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void buf_consume(struct worker *w, struct buf *b, size_t n);
/* Gives the memory back. */
void buf_free(struct worker *w, struct buf *b);
/* Reads once. > 0 bytes, 0 end, -EAGAIN, -errno. */
ssize_t buf_read(struct worker *w, struct buf *b, int fd, size_t want);
/* Writes what it can. 0 all, -EAGAIN some left, -errno. *sent grows by what went out. */
int buf_write(struct worker *w, struct buf *b, int fd, uint64_t *sent);

/* ---- framing (body.c) ---- */

enum body_kind { BODY_NONE, BODY_LENGTH, BODY_CHUNKED, BODY_CLOSE };
struct body {
	enum body_kind kind;
	int state;
	uint64_t left; /* bytes of the body, or of the chunk */
	uint64_t trailers, trailers_max; /* bytes of them so far, and at most */
	bool done;
};
/* length: of BODY_LENGTH; of BODY_CHUNKED that of its trailers at most, with their blank line. */
void body_init(struct body *b, enum body_kind kind, uint64_t length);
/*
 * Takes bytes in[0..n): *ret_used of them are consumed, and data of the body among them is at
 * *ret_data (*ret_len bytes, maybe 0). One step; call again until nothing is consumed or done.
 * -EBADMSG: malformed chunks; -E2BIG: the trailers are too long. Chunk sizes and extensions may be
 * of any length: they are looked at byte by byte and kept nowhere (Envoy 1.40).
 */
int body_step(struct body *b, const uint8_t *in, size_t n, size_t *ret_used, const uint8_t **ret_data,
	      size_t *ret_len);

/* ---- responses (response.c) ---- */

/* May a header's name hold this byte (RFC 9110 section 5.6.2)? */
bool http_is_token(uint8_t c);

struct head_field {
	uint32_t name, name_len, value, value_len; /* offsets from the head's start */
};
struct response {
	uint32_t status;
	uint32_t len; /* of the head */
	uint32_t grpc_status; /* when has_grpc_status */
	bool http10, keep_alive, has_length, chunked, has_date, has_server;
	bool has_grpc_status, rate_limited; /* x-envoy-ratelimited */
	bool has_upgrade, wants_upgrade;    /* an upgrade header; connection names it */
	uint64_t length;
	uint32_t n;
	struct head_field field[PROXY_RESPONSE_FIELDS_MAX];
};
/* 0, -EAGAIN: incomplete, -EBADMSG: malformed, -E2BIG. Lower-cases the names in place when complete. */
int response_parse(uint8_t *in, size_t n, struct response *ret);

/* ---- timers: a deadline in ms of the worker's clock, 0 none ---- */

/*
 * A hashed wheel. Moving a deadline further away costs one store: the timer stays where it hangs and is hung up anew
 * when that place comes by.
 */
struct timer {
	LIST_ENTRY(timer) link;
	uint64_t at;
	uint64_t place; /* tick it hangs at, 0: nowhere */
	void (*fire)(struct worker *w, struct timer *t);
};
LIST_HEAD(timers, timer);
#define WHEEL_SLOTS 1024u
struct wheel {
	struct timers slot[WHEEL_SLOTS];
	uint64_t used[WHEEL_SLOTS / 64]; /* bit per slot that may not be empty */
	uint64_t tick;			 /* last one looked at */
};
void timer_set(struct worker *w, struct timer *t, uint64_t at_ms);
static inline void timer_clear(struct timer *t)
{
	t->at = 0;
}
/* Takes it off the wheel: before its memory goes. */
void timer_remove(struct timer *t);
/* Fires what is due. */
void timers_run(struct worker *w);
/* Milliseconds until the next may be due, -1: none. */
int timers_wait(const struct worker *w);

/* ---- what epoll tells about ---- */

enum watch_kind { WATCH_WAKE, WATCH_LISTENER, WATCH_DOWN, WATCH_UPSTREAM };
struct watch {
	enum watch_kind kind;
	int fd;
	uint32_t events; /* registered */
};
/* Registers or changes; events 0 unregisters. */
int watch_set(struct worker *w, struct watch *watch, uint32_t events);
/* Closes and forgets. */
void watch_close(struct worker *w, struct watch *watch);

/* ---- pods ---- */

struct listener {
	struct watch watch;
	TAILQ_ENTRY(listener) link;
	struct pod *pod;
	struct weft_sockaddr addr;
	struct timer pause; /* no descriptor was left: tries again */
};

/* A pod on one worker. */
struct pod {
	TAILQ_ENTRY(pod) link;
	uint32_t id, view;
	int netns_fd;
	uint64_t cookie;
	bool closing;
	TAILQ_HEAD(, listener) listeners;
	TAILQ_HEAD(, down) downs;
	TAILQ_HEAD(, pool) pools;
	struct timer drain;
};

/* ---- downstream ---- */

enum down_state { DOWN_SNIFF, DOWN_HEAD, DOWN_EXCHANGE, DOWN_TUNNEL, DOWN_STREAMS, DOWN_CLOSING };

/*
 * How a client without a socket of its own takes what an exchange has for it: a stream of an HTTP/2
 * connection (h2_stream.c), a mirror's, which does not exist (mirror.c). Its head comes and goes in
 * the form of HTTP/1.1, in down.in and down.out; the bodies behind them are bare.
 */
struct down_codec {
	/* Something is in d->out. May close it. */
	void (*flush)(struct down *d);
	/* What it may send on has changed. */
	void (*watch)(struct down *d);
	/* Its exchange is over; d->cut: before the response's end. */
	void (*next)(struct down *d);
	/* It closes. */
	void (*closed)(struct down *d);
};

/* A request that an injected delay holds back: its head stays in `in` and is decided anew with the same draws. */
struct down_hold {
	bool waits, over;    /* over: it has waited, and goes on */
	uint32_t cell;	     /* whose place of active_faults it has, 0 none */
	uint32_t n_prepaid, epoch; /* paid under this one */
	uint32_t prepaid[WEFT_PAID_MAX];
	uint64_t random;
};

/* The request at hand is one that an internal redirect made (follow.c). */
struct down_again {
	uint32_t n;	/* redirects so far */
	bool close;	/* the client asked for the end of its connection */
	char scheme[24];
	struct weft_sockaddr remote; /* as for the first request */
	uint32_t n_seen;
	uint64_t seen[WEFT_FOLLOW_MAX]; /* previous_routes: hashes of pairs of names */
};

struct down {
	struct watch watch;
	enum down_state state;
	TAILQ_ENTRY(down) link;
	struct worker *worker;
	struct pod *pod;
	struct weft_sockaddr client, dst;
	struct buf in, out;
	struct exchange *x;
	struct upstream *relay; /* tunnel, TCP */
	struct timer timer;	/* sniff, idle, head, linger: by state */
	struct timer life;	/* max_connection_duration */
	uint64_t received, sent; /* bytes on the socket */
	size_t looked;		 /* bytes of the head that the parser has seen */
	size_t head_max;	 /* what a head may have, as of that look */
	uint64_t head_ms;	 /* when its first byte came, 0: not yet */
	uint64_t handled;	 /* bytes of it that exchanges have consumed */
	uint32_t slot, gen;	 /* 0: no slot */
	uint32_t exchanges, record; /* record: last kernel record used */
	uint32_t chain;		 /* for what the connection looks like; of `chain_epoch` */
	uint32_t chain_epoch;
	uint32_t proto;		 /* enum weft_proto */
	uint32_t look, looks;	 /* epoch pinned for short looks, and how many are nested */
	uint32_t attempts;	 /* TCP: connects left */
	uint64_t idle_ms;	 /* TCP, tunnel */
	uint32_t parses;	 /* of the head at hand */
	const char *head_why;	 /* which of its deadlines comes first */
	uint32_t no_slot;	 /* enum weft_handed: why the kernel does not help; 0: it does, or cannot */
	bool limits_paid, eof, dead, shut;
	bool has_file; /* of its pod's share */
	bool drain;    /* says with each answer that it may be the last */
	bool ends;     /* closes after the exchange at hand */
	bool spent;    /* ... because it has had its number of requests */
	bool at_once;  /* the client has sent all it may: nothing is waited for */
	bool lingering; /* all is said; what still comes is dropped */
	bool advancing; /* down_advance() is on the stack: it goes on with what waits */
	bool mirror;	/* nobody is there: what would be sent is thrown away (mirror.c) */
	bool may_h2;	/* its first bytes may be an HTTP/2 preface */
	bool body_end;	/* all of a stream's request is in `in` */
	bool cut;	/* the response will not be complete */
	bool relayed;	/* it is an upstream's */
	const struct down_codec *codec; /* NULL: its own socket, HTTP/1.1 or TCP */
	struct down *session;		/* of a stream: its connection */
	struct h2 *h2;			/* of a connection with streams */
	struct down_hold hold;
	struct down_again *again;
	struct weft_conn_limits *limits; /* of this connection; made on first use */
};

/* The connection that it is, or is a stream of. */
static inline struct down *down_conn(struct down *d)
{
	return d->session ? d->session : d;
}

/* Its connection takes no further request; one of HTTP/2 from when it drains on. */
static inline bool down_ends(struct down *d)
{
	struct down *conn = down_conn(d);

	return conn == d ? d->ends : conn->drain;
}

/* The request at hand waits as its decision says; then down_advance() decides it again. */
void hold_begin(struct down *d, const struct weft_req *req, const struct weft_ctx *ctx);
/* Before the decision: what was drawn and paid when it was held. */
void hold_resume(const struct down *d, struct weft_ctx *ctx);
/* The request, or the connection, is done. */
void hold_end(struct down *d);

/* Its chain in the image that is in force, NULL: none. Under image_enter(). */
const struct weft_img_chain *down_chain(struct down *d);
/* Its first bytes tell which chain is its own (classify.c). */
void down_sniff(struct down *d);
/* codec_type AUTO: the first bytes tell. true: it is HTTP/2, or may become it. */
bool down_sniff_streams(struct down *d);
/* Waits for the next head: idle, or (bytes are there) for the rest of it. Under image_enter(). */
void down_head_wait(struct down *d);
/* Accepted and known: finds its chain, or waits for what tells it. */
void down_open(struct down *d);
void down_event(struct down *d, uint32_t events);
/* Sends what waits; closes when told to. */
void down_flush(struct down *d);
void down_close(struct down *d);
/* Looks at the bytes that wait: the next head, or more of the body. */
void down_advance(struct down *d);
void down_watch(struct down *d);
/* Nothing more may be taken in of it now. */
bool down_is_full(const struct down *d);
/* The connection takes no further requests; those under way are carried out. `said`: the kernel
 * knows of a request. */
void down_drain(struct down *d, bool said);
/* It drains when it is ms old; 0: never. */
void down_life(struct down *d, uint32_t ms);
/* All is said: what waits goes out, then it closes. */
void down_end(struct down *d);
/* No request is on its way: closes after idle_timeout. */
void down_idle(struct down *d);
/* Which deadline of an incomplete head comes first (d->head_why), ms from its first byte. 0: none.
 */
uint32_t down_head_ms(struct down *d, const struct weft_img_hcm *h);
/* The exchange has ended; the connection goes on, or closes after its bytes are out. */
void down_next(struct down *d, bool close);

/* ---- HTTP/2 connections of clients (h2_session.c) ---- */

/* The bytes so far are an HTTP/2 preface: 1; they may become one: -EAGAIN; else 0. */
int h2_preface(const struct buf *in);
/* The connection speaks HTTP/2 from here on. -ENOMEM. */
int h2_start(struct down *d, const struct weft_img_hcm *h);
/* Takes what stands in d->in. May close. */
void h2_receive(struct down *d);
/* The connection ends: the client is told to send no more requests; last: none that comes is taken
 * any more. */
void h2_goaway(struct down *d, bool last);
/* weft_http1_parse() of a stream's head, with what HTTP/2 allows. */
int h2_parse(struct down *d, struct weft_req *req);
/* No stream is open. */
bool h2_quiet(const struct down *d);
/* At the turn's end: sends. */
void h2_run(struct worker *w);
/* Its session has something to send. */
void h2_due(struct down *d);
/* Of a connection that closes: its streams go first. */
void h2_close(struct down *d);
void h2_free(struct h2 *h2);

/* ---- exchange ---- */

struct exchange {
	struct down *down;
	struct upstream *up;
	TAILQ_ENTRY(exchange) link; /* waiting in a pool, or spare */
	struct pool *pool;	    /* that it waits in */
	struct weft_ctx ctx;
	struct weft_decision dec;
	uint32_t grpc_status; /* + 1, of a local reply; 0: that of its HTTP status */
	const struct weft_img_hcm *hcm;
	const struct weft_img_forward *forward;
	const struct weft_img_cluster *cluster;
	uint32_t cell_cluster, cell_endpoint; /* offsets */
	uint32_t priority;
	uint32_t epoch; /* pinned */
	unsigned int kept; /* of the image, instead of the pin */
	uint32_t req_flags;
	bool head_method, upgrade, websocket, pinned, keeps;
	bool has_active, has_pending, has_retry; /* places held */
	bool req_done;	   /* all of the request was read */
	bool req_rest;	   /* ... or what is missing of it will not be looked at */
	bool judging;	   /* its head was read in this very turn */
	bool req_sent;	   /* and written to the upstream connection's buffer */
	bool resp_started; /* bytes of the response went to the client */
	bool interim_sent; /* an interim response went to it */
	bool resp_close;   /* the client's connection closes after this response */
	bool resp_bare;	   /* its body does not go on, nor what says of one */
	bool wrote_any;	   /* some byte of this attempt was written */
	bool keep_body;	   /* body is kept for a retry */
	bool chunked_out;  /* towards the client */
	bool chunked_req;  /* towards the upstream */
	uint32_t retries_left, attempts;
	struct body req_body, resp_body;
	struct buf head; /* the request head for upstream, without its blank line */
	uint64_t cookies; /* bit per hash policy: the response sets the cookie that was made */
	struct buf told;  /* lines of the response that filters say: CORS, rate limits */
	struct buf body; /* what was read of the body while it may be needed again, as it goes on the wire */
	size_t body_sent; /* of `body`, in this attempt */
	uint32_t cell_outlier; /* cell_endpoint, where its cluster has outlier detection; else 0 */
	uint32_t n_tried;
	struct weft_sockaddr tried[PROXY_TRIED_MAX];
	struct weft_sockaddr remote; /* the client as trusted proxies name it */
	struct weft_sockaddr endpoint;
	struct weft_img_str hostname; /* of the endpoint */
	uint32_t cluster_id;
	uint64_t start_ms, upstream_ms;
	struct timer total, per_try, try_idle, try_life, idle, backoff, life;
	bool resp_head;	   /* the head of the response is known */
	bool up_keep;	   /* the upstream connection may be used again after it */
	bool client_close; /* asked for by the client */
	bool retry_off;	   /* the body is no longer there to be sent again */
	bool counted;	   /* the kernel has counted the outcome */
	bool attempt_count;
	bool attempt_count_back; /* x-envoy-attempt-count in the response */
	uint64_t timeout_ms, per_try_ms; /* the route's, or what the request asks for; 0: none */
	uint64_t duration_ms;		 /* of an attempt: x-envoy-upstream-stream-duration-ms */
	uint32_t retry_on;		 /* as timeout_ms */
	bool late_retry; /* x-envoy-is-timeout-retry is sent with further attempts */
	bool was_late;	 /* the attempt before took too long */
	bool hedged;			 /* x-envoy-hedge-on-per-try-timeout */
	bool alt_timeout;    /* x-envoy-upstream-rq-timeout-alt-response: 204 in place of 504 */
	bool id_back;	     /* x-request-id in the response */
	struct asked *asked; /* of retries; NULL: nothing */
	uint64_t idle_ms;
	char request_id[37];
	uint32_t n_mirror;
	struct pace *pace; /* what holds the response's body back, NULL: nothing (pace.h) */
	struct down *mirror[WEFT_MIRRORS_MAX]; /* that still get its request's body */
};

/* A new one on the connection. NULL: no memory. */
struct exchange *exchange_new(struct down *d);

/* What is known of a request before its decision, and by it. */
void exchange_request_set(struct exchange *x, const struct weft_req *req);
void exchange_decision_set(struct exchange *x, const struct weft_decision *dec);
/* A complete head stands in d->in: parses, decides, answers or forwards. */
void exchange_start(struct down *d);
/*
 * The exchange that was the connection's `number`th (d->exchanges) is at hand still. What answers, or writes to an
 * upstream, may end it and begin the next one in the same memory: the pointer does not tell.
 */
static inline bool exchange_at_hand(const struct down *d, uint32_t number)
{
	return !d->dead && d->x && d->exchanges == number;
}
/* More of the request's body may stand in d->in. May end the exchange. */
void exchange_request_data(struct exchange *x);
/* A copy's body: these bytes more, done: and no others. -ENOBUFS: more than may wait for its endpoint; -ENOMEM. */
int exchange_feed(struct exchange *x, const uint8_t *data, size_t len, bool done);
/* Sends what waits of it. May end the exchange. */
void exchange_push(struct exchange *x);
/* The attempt's connection is ready to be written (or was reused). */
void exchange_connected(struct exchange *x, struct upstream *u);
/* Bytes of the response stand in u->in; eof: no more will come. */
void exchange_response_data(struct exchange *x, bool eof);
/* Bytes of the body for the client, framed. -ENOMEM. */
int exchange_data_out(struct exchange *x, const uint8_t *data, size_t len, bool end);
/* Some of what a rate held back went into the client's buffer. May end the exchange. */
void exchange_paced(struct exchange *x);
/* Room in the client's buffer or the upstream's: reading goes on. */
void exchange_resume(struct exchange *x);

enum fail_why {
	FAIL_CONNECT, /* refused, unreachable */
	FAIL_CONNECT_TIMEOUT,
	FAIL_TERMINATION, /* closed before a response */
	FAIL_PROTOCOL,	  /* the response makes no sense */
	FAIL_PER_TRY,
	FAIL_DURATION, /* the attempt took too long, its body included */
	FAIL_OVERFLOW,
	FAIL_NO_HOST,
};
/* The attempt failed: retried, or answered. */
void exchange_failed(struct exchange *x, enum fail_why why);
/* The client is gone, or the connection must go: everything is given back. */
void exchange_abort(struct exchange *x);
/*
 * Its decision is made: of the image it uses what that was made by and nothing newer, however long it takes. Updates do not
 * wait for it.
 */
void exchange_keep(struct exchange *x);
/* Uses nothing of the image any more. */
void exchange_unpin(struct exchange *x);
/* Gives everything back and forgets the exchange; the connection is left as it is. */
void exchange_end(struct exchange *x);
/* Ends it and goes on with the connection. */
void exchange_finish(struct exchange *x, bool close);
/* Starts an attempt: endpoint, pool. */
void exchange_attempt(struct exchange *x);
void exchange_timers(struct exchange *x);
/* Marks that something moved (stream idle timeout). */
void exchange_touch(struct exchange *x);
/* True when the failure is retried (and the retry is under way). */
bool exchange_retry(struct exchange *x, enum fail_why why, const struct response *r);
void exchange_unlink_upstream(struct exchange *x, bool reusable);
void exchange_places_put(struct exchange *x);

/* The request as the client sent it and the connection manager completed it, into x->head. -ENOMEM. */
int request_lines(struct worker *w, struct exchange *x, const struct weft_req *req);
/*
 * Builds the head for upstream from the parsed request into x->head: as above, changed by the
 * rules; and its hash, for which req is used. -ENOMEM.
 */
int request_build(struct worker *w, struct exchange *x, struct weft_req *req);
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

/* ---- conditions of a retry policy (matches.c) ---- */

/* Does one of a weft_img_matchers hold for x->head? Without memory: none. */
bool request_matches(const struct exchange *x, uint32_t matchers);
/* The same for a response; head has its names in lower case. */
bool response_matches(uint32_t matchers, const uint8_t *head, const struct response *r);

/* Before routing: what the connection manager changes in a request. */
void request_prepare(struct worker *w, struct exchange *x, struct weft_req *req, const struct weft_ctx *ctx);
/* An answer of 101 that upgrades the connection: others are heads without more (Envoy 1.40). */
static inline bool response_upgrades(const struct exchange *x, const struct response *r)
{
	return r->status == 101 && x->upgrade && r->has_upgrade && r->wants_upgrade;
}
/* The head for the client into d->out. */
int response_build(struct worker *w, struct exchange *x, const uint8_t *head, const struct response *r);
/* An interim one (1xx) goes on with its fields. */
int response_interim(struct worker *w, struct buf *out, const uint8_t *head, const struct response *r);
/* "name: value" CRLF of any length. */
int line_add(struct worker *w, struct buf *b, const void *name, size_t n, const void *value, size_t len);
/* The same with a decimal number. */
int line_add_number(struct worker *w, struct buf *b, const void *name, size_t n, uint64_t value);

/* ---- internal redirects (follow.c) ---- */

/* The answer r, whose head is at `head`, is a redirect that is followed: x is gone, and the new request under way. */
bool follow(struct exchange *x, const uint8_t *head, const struct response *r);
/* In place of request_prepare() for such a request. */
void follow_prepare(struct worker *w, const struct down_again *a, struct weft_req *req);

/* ---- outlier detection (outlier.c) ---- */

/* This attempt goes to endpoint e of its cluster, whose cell is x->cell_endpoint. */
void outlier_begin(struct exchange *x, const struct weft_img_endpoint *e);
/* The final status of its endpoint. */
void outlier_status(struct exchange *x, const struct response *r);
/* The way there: reached, or not (in time). */
void outlier_reached(struct exchange *x, bool reached, bool late);
/* A relay's connection to the endpoint of this cell came about, or did not. */
void outlier_relay(struct worker *w, uint32_t pod, uint32_t cell, bool reached, bool late);
/* A TCP chain's endpoint was chosen. */
void outlier_relay_begin(struct worker *w, uint32_t pod, const struct weft_tcp *tcp);

/* ---- mirrors (mirror.c) ---- */

/* Copies of the request whose head is in x->head, as its route says. */
void mirrors_begin(struct exchange *x);
/* More of its body; complete when x->req_body is. */
void mirrors_feed(struct exchange *x, const uint8_t *data, size_t len);
/* Its body will not be complete. */
void mirrors_drop(struct exchange *x);
/* At the turn's end: sends. */
void mirrors_run(struct worker *w);

/* ---- replies made here (local.c) ---- */

/*
 * Each puts a reply into the client's buffer; the connection may be dead then. true: it says that the connection ends,
 * because of `close` or for a reason of the reply's own. The caller goes by that.
 */
/* The reply of a decision (x->dec as well). */
bool local_decision(struct down *d, struct weft_req *req, struct weft_ctx *ctx, bool close);
/* Its bytes alone; the request's lines are in x->head when it is formed for the request. -ENOMEM. */
int local_decision_write(struct down *d, const struct weft_req *req, const struct weft_ctx *ctx, bool close);
/* Status and text of the proxy's own. extra: header lines. */
bool local_text(struct down *d, uint32_t status, const char *body, const char *extra, bool close);
/* The same for a head that becomes no exchange. */
bool local_early(struct down *d, const struct weft_req *req, uint32_t status, const char *body, const char *extra,
		 bool close);
/* The same with x-envoy-attempt-count where the virtual host asks for it. */
bool local_attempts(struct exchange *x, uint32_t status, const char *body, bool close);
/* From a reply of the image. */
bool local_image(struct down *d, uint32_t reply, bool close);
void local_count(enum weft_outcome outcome);
/* request_headers_timeout: 408. */
void local_head_timeout(struct worker *w, struct timer *t);

/* ---- upstream ---- */

struct upstream {
	struct watch watch;
	TAILQ_ENTRY(upstream) link; /* idle, or in use, of its pool */
	struct worker *worker;
	struct pool *pool;
	struct exchange *x; /* that uses it */
	struct down *relay; /* tunnel, TCP */
	struct buf in, out;
	struct timer timer; /* connect, idle */
	struct timer life;  /* max_connection_duration */
	bool connecting, idle, eof, orphan;
	bool worn; /* not to be used again: a write failed, or it is too old */
	uint32_t requests, max_requests;
	uint64_t since_ms, sent, idle_ms;
	struct weft_sockaddr addr;
	uint32_t cell_cluster, cell_endpoint, priority;
	bool has_place; /* of max_connections */
	uint32_t pod_id; /* whose share of descriptors it has one of */
	bool tunnel, shut;
};

/* Connections to one endpoint from one pod, on one worker. */
struct pool {
	TAILQ_ENTRY(pool) link;
	struct pod *pod;
	uint32_t cell_cluster, priority;
	struct weft_sockaddr addr;
	TAILQ_HEAD(, upstream) idle, busy;
	TAILQ_HEAD(, exchange) waiting;
	uint32_t n_idle, n_busy, n_connecting, n_waiting;
	uint32_t cluster_id; /* in its pod's view */
	bool original_dst;   /* its address is in no endpoint list */
	bool leaving;	     /* the endpoint is no longer in the cluster */
	bool checked; /* in worker.pool_checks */
	TAILQ_ENTRY(pool) check;
};

/* Sends the exchange over the pool of its endpoint: now, later, or refuses (exchange_failed). */
void pool_request(struct exchange *x);
/* No longer waits. */
void pool_cancel(struct exchange *x);
/* The connection is free again, or must go. */
void pool_return(struct upstream *u, bool reusable);
/*
 * Queues a pool for the turn's end, when nobody up the stack holds it or goes through its lists: requests that wait get
 * connections, as far as they may be opened; without connections and requests it is forgotten.
 */
void pool_check(struct worker *w, struct pool *p);
void pool_checks_run(struct worker *w);
void pool_pod_close(struct worker *w, struct pod *p);
/* After a publish: connections to endpoints that are no longer there are let go. */
void pool_endpoints_check(struct worker *w);
/* A connection could not be made: all that wait for one fail. */
void pool_connect_failed(struct pool *p, enum fail_why why);

/* Opens a connection in the pod's namespace. NULL: *ret_err. */
struct upstream *upstream_open(struct worker *w, struct pod *pod, const struct weft_sockaddr *to,
			       uint32_t timeout_ms, int *ret_err);
void upstream_event(struct upstream *u, uint32_t events);
/* It takes no new request when it is ms old; 0: no limit. */
void upstream_life(struct upstream *u, uint32_t ms);
void upstream_flush(struct upstream *u);
void upstream_watch(struct upstream *u);
void upstream_close(struct upstream *u);

/* ---- tcp.c ---- */

void tcp_start(struct down *d, const struct weft_img_chain *chain);
void tcp_connected(struct upstream *u);
void tcp_failed(struct upstream *u);
/* Either side has something: moves bytes both ways. An upgraded connection has no half: it ends
 * with either side. */
void tcp_move(struct down *d);
/* From an exchange to a tunnel (101). */
void tunnel_start(struct exchange *x);
void tcp_close(struct down *d);

/* ---- slot.c ---- */

/* Takes over what connect left; false: not captured. */
bool slot_accept(struct down *d, const struct weft_sockaddr *local);
/* What was paid under an epoch, for ctx; a cell that has another owner since does not count. */
void slot_prepay(struct weft_ctx *ctx, uint32_t epoch, const uint32_t *paid, uint32_t n);
/* Uses the kernel's record for the head that begins at byte `position`. true: req->dec is filled. */
bool slot_record(struct down *d, struct weft_req *req, struct weft_ctx *ctx, uint64_t position);
/* Programs judge none of its requests any more. */
void slot_take(struct down *d);
/* Gives the connection back to the kernel when it is quiet. */
void slot_give_back(struct down *d);
void slot_release(struct down *d);

/* ---- worker ---- */

struct worker_stats {
	uint64_t connections, connections_total, exchanges, upstream_active, upstream_idle, upstream_total,
		upstream_fail, retries, timeouts, tcp_total, not_captured, protocol_errors, honoured, dropped,
		mirrored, mirrors_lost, over_share;
};

struct command {
	STAILQ_ENTRY(command) link;
	void (*run)(struct worker *w, void *arg);
	void *arg;
	bool done;
};

struct worker {
	struct weft_proxy *proxy;
	pthread_t thread;
	bool started, stop, woken;
	int epoll, home_netns;
	struct watch wake;
	pthread_mutex_t lock; /* commands */
	pthread_cond_t cond;
	STAILQ_HEAD(, command) commands;
	struct weft_reader *reader;
	uint64_t now_ms, now_ns, random;
	TAILQ_HEAD(, pod) pods;
	struct wheel wheel;
	TAILQ_HEAD(, exchange) spare;
	unsigned int n_exchange_spare;
	uint8_t *buf_spare[PROXY_BUF_SPARE];
	unsigned int n_spare;
	TAILQ_HEAD(, mirror) mirrors; /* with something to send */
	TAILQ_HEAD(, h2) h2;	      /* the same */
	TAILQ_HEAD(, down) graves; /* closed in this turn: freed at its end */
	TAILQ_HEAD(, upstream) up_graves;
	TAILQ_HEAD(, pool) pool_checks; /* see pool_check() */
	struct worker_stats stats;
	struct timer endpoints; /* looks whether a new image has left some out */
	uint32_t endpoints_epoch;
	struct weft_req req;
	struct response resp;
	uint8_t head[WEFT_NATIVE_HEAD_MAX + PROXY_HEAD_ROOM + WEFT_PREPARE_ROOM]; /* the head at hand: the engine changes it in place */
};

struct weft_proxy {
	struct weft_store *store;
	struct weft_proxy_ops ops;
	struct weft_turns *turns;
	unsigned int n;
	struct worker *worker;
	struct weft_rates *rates;
	uint32_t pod_files;		  /* share of one pod */
	uint32_t files[WEFT_PODS_MAX + 1]; /* taken, by pod id; atomics */
};

uint64_t worker_random(struct worker *w);
/* Cell of the pod, made when missing. 0: none can be had. */
uint32_t worker_cell(struct worker *w, uint32_t pod, uint32_t id);
/* Runs fn on the worker and waits. */
void worker_call(struct worker *w, void (*fn)(struct worker *w, void *arg), void *arg);
void listener_event(struct worker *w, struct listener *l);
void listener_close(struct worker *w, struct listener *l);
/* Accepts what waits, then closes. */
void listener_finish(struct worker *w, struct listener *l);
/* Opens the same ports for each worker's pod (SO_REUSEPORT), in the pod's namespace. -errno. */
int listeners_open(struct weft_proxy *p, const struct weft_proxy_pod *pod, struct pod **pods,
		   uint16_t port4[WEFT_LISTEN_PORTS], uint16_t port6[WEFT_LISTEN_PORTS]);
/* socket() inside the pod's namespace. fd or -errno. */
int netns_socket(struct worker *w, int netns_fd, int family);
/*
 * One descriptor of a pod's share: the agent's are everybody's, and a pod that has them all would stop the others. False,
 * and counted: it has its share.
 */
bool pod_file_take(struct worker *w, uint32_t pod);
void pod_file_put(struct worker *w, uint32_t pod);

/* A short look at the image outside an exchange. Looks nest: the outermost pins. */
static inline void image_enter(struct down *d)
{
	if (!d->looks++)
		d->look = weft_reader_enter(d->worker->reader);
}
static inline void image_leave(struct down *d)
{
	if (!--d->looks)
		weft_reader_leave(d->worker->reader, d->look);
}

#define COUNT(word, n) __atomic_fetch_add(&(word), (uint64_t)(n), __ATOMIC_RELAXED)
