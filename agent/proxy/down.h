/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Connections of clients: down.c and classify.c (HTTP/1.1, and which chain is theirs), h2_*.c
 * (HTTP/2), hold.c, slot.c. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "agent/proxy/bytes.h"
#include "agent/proxy/events.h"
#include "bpf/engine/engine.h"

struct down;
struct exchange;
struct outcome;
struct h2;
struct pod;
struct upstream;
struct worker;

/* DOWN_ASKED: waits for a rate limit service's answer on the connection itself (limiter_conn.c). */
enum down_state {
	DOWN_SNIFF,
	DOWN_ASKED,
	DOWN_HEAD,
	DOWN_EXCHANGE,
	DOWN_TUNNEL,
	DOWN_STREAMS,
	DOWN_CLOSING
};

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
	/* Of a mirror whose answer counts: its head at `head`, and bytes of its body; trailers then
	 * stand in d->trailers. NULL: it is thrown away. */
	void (*head)(struct down *d, const uint8_t *head, const struct response *r);
	void (*data)(struct down *d, const uint8_t *data, size_t len);
};

/* A request that an injected delay or a question to a rate limit service holds back: its head stays
 * in `in` and is decided anew with the same draws. */
struct down_hold {
	bool waits, over;	   /* over: it has waited, and goes on */
	uint32_t cell;		   /* whose place of active_faults it has, 0 none */
	uint32_t n_prepaid, epoch; /* paid under this one */
	uint32_t prepaid[WEFT_PAID_MAX];
	uint32_t passed; /* filters that have counted it */
	uint64_t random;
	struct limiter *limiter; /* asks rate limit services for it (limiter.h); NULL: nobody is */
};

/* The request at hand is one that an internal redirect made (follow.c). */
struct down_again {
	uint32_t n; /* redirects so far */
	bool close; /* the client asked for the end of its connection */
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
	struct upstream *relay;	    /* tunnel, TCP */
	struct timer timer;	    /* sniff, idle, head, linger: by state */
	struct timer life;	    /* max_connection_duration */
	uint64_t received, sent;    /* bytes on the socket */
	size_t looked;		    /* bytes of the head that the parser has seen */
	size_t head_max;	    /* what a head may have, as of that look */
	uint64_t head_ms;	    /* when its first byte came, 0: not yet */
	uint64_t handled;	    /* bytes of it that exchanges have consumed */
	uint32_t slot, gen;	    /* 0: no slot */
	uint32_t exchanges, record; /* record: last kernel record used */
	uint32_t chain;		    /* for what the connection looks like; of `chain_epoch` */
	uint32_t chain_epoch;
	uint32_t proto;	      /* enum weft_proto */
	struct weft_hello *hello; /* of TLS; owned, NULL none */
	uint32_t look, looks; /* epoch pinned for short looks, and how many are nested */
	uint32_t attempts;    /* TCP: connects left */
	uint64_t idle_ms;     /* TCP, tunnel */
	uint32_t parses;      /* of the head at hand */
	const char *head_why; /* which of its deadlines comes first */
	uint32_t
		no_slot; /* enum weft_handed: why the kernel does not help; 0: it does, or cannot */
	bool limits_paid, eof, dead, shut;
	bool has_file;	/* of its pod's share */
	bool drain;	/* says with each answer that it may be the last */
	bool ends;	/* closes after the exchange at hand */
	bool spent;	/* ... because it has had its number of requests */
	bool at_once;	/* the client has sent all it may: nothing is waited for */
	bool lingering; /* all is said; what still comes is dropped */
	bool deaf;	/* ... and not read: its HTTP/2 broke the rules */
	bool advancing; /* down_advance() is on the stack: it goes on with what waits */
	bool mirror;	/* nobody is there: what would be sent is thrown away (mirror.c) */
	bool may_h2;	/* its first bytes may be an HTTP/2 preface */
	bool body_end;	/* all of a stream's request is in `in` */
	bool cut;	/* the response will not be complete */
	bool old;	/* the request at hand is one of HTTP/1.0 */
	bool relayed;	/* it is an upstream's */
	const struct down_codec *codec; /* NULL: its own socket, HTTP/1.1 or TCP */
	struct down *session;		/* of a stream: its connection */
	struct h2 *h2;			/* of a connection with streams */
	struct buf trailers_in, trailers; /* of a stream's request, and of its response: lines */
	struct down_hold hold;
	struct down_again *again;
	struct outcome *early; /* of a head that becomes no exchange, while it is answered */
	const char *why_end;   /* it is closed: why, when it is not its client that left */
	uint32_t why_flags;    /* bits of enum weft_reply_flag with it */
	const char *why_ended; /* details of the end of the connection itself, NULL: none */
	uint64_t id;	       /* of the connection, from 0 on */
	struct weft_conn_limits *limits; /* of this connection; made on first use */
	struct conn_limiter *asks;	 /* what is asked of the connection itself; NULL: nothing */
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
/* What is kept of a decision for the next one. */
void hold_keep(struct down *d, const struct weft_req *req, const struct weft_ctx *ctx);
/* It was held before. */
static inline bool hold_again(const struct down *d)
{
	return d->hold.over || d->hold.limiter;
}
/* It has waited: it is decided again. */
void hold_over(struct down *d);
/* Before the decision: what was drawn and paid when it was held. */
void hold_resume(const struct down *d, struct weft_ctx *ctx);
/* The request, or the connection, is done. */
void hold_end(struct down *d);

/* Its chain in the image that is in force, NULL: none. Under image_enter(). */
const struct weft_img_chain *down_chain(struct down *d);
/* Its first bytes tell which chain is its own (classify.c). */
void down_sniff(struct down *d);
/* What it is, is known: its chain takes it, as far as its limits let it. May close. */
void down_classified(struct down *d);
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

/* ---- hand-over from and to the kernel (slot.c) ---- */

/* Takes over what connect left; false: not captured. */
bool slot_accept(struct down *d, const struct weft_sockaddr *local);
/* What was paid under an epoch, for ctx; a cell that has another owner since does not count. */
void slot_prepay(struct weft_ctx *ctx, uint32_t epoch, const uint32_t *paid, uint32_t n);
/* Uses the kernel's record for the head that begins at byte `position`. true: req->dec is filled.
 */
bool slot_record(struct down *d, struct weft_req *req, struct weft_ctx *ctx, uint64_t position);
/* Programs judge none of its requests any more. */
void slot_take(struct down *d);
/* Gives the connection back to the kernel when it is quiet. */
void slot_give_back(struct down *d);
void slot_release(struct down *d);
