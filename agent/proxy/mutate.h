/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Changing heads (Envoy's header mutations and rewrites). A head is changed in the form in which it is sent: lines
 * "name: value" CRLF with names in lower case, in a buffer of the worker.
 */

#include "agent/proxy/internal.h"
#include "bpf/abi/mapper.h"

/* ---- lines (lines.c) ---- */

/* The lines from byte `from` of b (counted from buf_at()) to its end. */
struct lines {
	struct worker *w;
	struct buf *b;
	size_t from;
};
/* One line, in bytes from buf_at(). */
struct line {
	size_t at, end; /* with its CRLF */
	size_t value, value_len;
};
/* The first line of that name at or behind byte `after`. */
bool lines_find(const struct lines *l, const char *name, size_t n, size_t after, struct line *ret);
/* All lines of that name. */
void lines_remove(struct lines *l, const char *name, size_t n);
/* One more; between: joined to the value of the first of that name, with this between them, NULL: not. -ENOMEM. */
int lines_add(struct lines *l, const char *name, size_t n, const void *value, size_t len, const char *between);
/* In place of all of that name. */
int lines_set(struct lines *l, const char *name, size_t n, const void *value, size_t len);
/* Spells the names of a head, which begins at its first line, in proper case: "X-Forwarded-For".
 * What is behind it stays. */
void lines_capitalize(uint8_t *head, size_t n);
/* Spells the names of lines in lower case. */
void lines_lower(struct lines *l);
/* Replaces bytes [at, at + old) of the buffer. */
int buf_replace(struct worker *w, struct buf *b, size_t at, size_t old, const void *bytes, size_t n);

/* ---- values (format.c) ---- */

/* What a value may be made of. */
struct format {
	const struct down *d;
	const struct exchange *x; /* NULL: none is left */
	const uint8_t *req;	  /* the request's head as it stands: its line, then its lines */
	size_t req_len;
	const struct lines *resp; /* NULL: of a request */
	uint32_t status;	  /* of the response, for %RESP(:status)% */
	uint32_t code;		  /* %RESPONSE_CODE%: 0 for replies that are made here (Envoy 1.40) */
	bool local;		  /* of the body of a reply that is made here, */
	const char *body;	  /* which is this as yet */
	size_t body_len;
	const struct outcome *o; /* of a line of a log; else that of x is looked at */
	uint32_t flags;		 /* of such a line: bits of enum weft_reply_flag */
	uint32_t log_type;	 /* the same: enum weft_log_type, 0 (not set): of none */
	bool conn;		 /* of a connection, before any request */
};
/* The value of the request's first line of that name, NULL: none. */
const uint8_t *format_request_line(const struct format *f, const char *name, size_t *ret_n);
/* Of the request so far, in ms. */
uint64_t format_duration(const struct format *f);
/* Its response flags as they are now. */
uint32_t format_flags(const struct format *f);
/*
 * The gRPC status that trailers or lines of the response say, else what its HTTP status comes to:
 * 32 for one that is no number up to 16. -1: neither says (no response).
 */
int format_grpc(const struct format *f);
/* Appends the value to out. -ENOMEM. */
int format_value(struct worker *w, const struct format *f, const struct weft_img_header *h, struct buf *out);

/*
 * Appends the value as JSON: null, a number or a string as its one piece is; string: a string
 * whatever it is. *ret_null: it has none, and nothing was added. -ENOMEM.
 */
int format_json(struct worker *w, const struct format *f, const struct weft_img_header *h,
		bool string, struct buf *out, bool *ret_null);

/* ---- bodies (reply_body.c) ---- */

/* Appends what a weft_img_body makes of f. -ENOMEM. */
int reply_body_write(struct worker *w, const struct format *f, const struct weft_img_body *b,
		     struct buf *out);

/* A reply of this side's own making. */
struct reply {
	uint32_t status;
	const char *body;
	size_t len;
	bool close, grpc, head_method;
	bool json;			    /* its last byte is the line feed behind JSON */
	struct weft_img_str type;	    /* content-type whatever the lines say; empty: none */
	const struct weft_img_body *format; /* that makes another body of it, NULL: none */
	const struct buf *head;		    /* the request's, where there is no exchange */
};

/*
 * Why Envoy says at this moment that a reply is made: nothing of one that a route, RBAC or a rate
 * limit makes, or of what is no request (1.40; its log knows more). Bits of enum weft_reply_flag.
 */
uint32_t flags_now(const struct down *d);

/* ---- local_reply_config, filters of logs (mapper.c) ---- */

/* Do the tests at `test` (struct weft_img_mapper_test) hold? */
bool tests_hold(const struct format *f, uint32_t test);

/*
 * Changes a reply whose text has its form (a->format) already, and its lines l, as a
 * weft_img_mapping says; body: the new text's bytes, empty before. f says what the rules may look
 * at. -ENOMEM.
 */
int mapping_apply(struct worker *w, const struct weft_img_mapping *m, struct format *f,
		  struct reply *a, struct lines *l, struct buf *body);

/* ---- what filters say in responses (told.c) ---- */

/* Fills x->told from the decision. -ENOMEM. */
int told_prepare(struct worker *w, struct exchange *x, const struct weft_req *req);
/* Puts them in place of what the response has of these names, those behind a '+' beside it; x may
 * be NULL. */
int told_apply(const struct exchange *x, struct lines *l);
/* The same of lines that stand alone. */
int told_lines(const struct buf *told, struct lines *l);

/* ---- mutations (mutate.c) ---- */

/* Applies weft_img_changes to the lines, level by level; 0 changes nothing. f->resp or f->req are those lines. */
int changes_apply(struct lines *l, uint32_t changes, struct format *f);
/* One level alone. */
int change_apply(struct lines *l, const struct weft_img_change *c, struct format *f);
/*
 * As above for a head in x->head, and host and path after it: literal of the weighted cluster, rewrites of the route.
 */
int request_change(struct worker *w, struct exchange *x);
/*
 * The path in x->head as the redirect of x->dec leaves it to the rules that look at it; the path of a regex_rewrite is
 * added to the location line, which has none.
 */
int request_redirect(struct worker *w, struct exchange *x, struct lines *location);
/* A further attempt's x-envoy-attempt-count, where it is sent, and x-envoy-expected-rq-timeout-ms. */
int request_attempt_set(struct worker *w, struct exchange *x);
/* always_set_request_id_in_response: the request's x-request-id, as it stands in x->head, in place of the lines' own. */
int response_id_set(struct worker *w, const struct exchange *x, struct lines *l);
/*
 * x->dec.hash of the head in x->head, and which cookies are made. req is used for it, and describes
 * that head afterwards. -ENOMEM.
 */
int request_hash(struct worker *w, struct exchange *x, struct weft_req *req);
/* The set-cookie lines of those cookies. -ENOMEM. */
int response_cookies_add(struct exchange *x, struct lines *l);
/* A host for what is in x->head; keeps the old one as Envoy does. */
int request_host_set(struct worker *w, struct exchange *x, const void *host, size_t n);
