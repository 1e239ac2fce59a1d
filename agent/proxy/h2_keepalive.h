/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Whether the other side of an HTTP/2 connection is still there (Http2ProtocolOptions.
 * connection_keepalive), as Envoy asks it: a PING each interval, counted from the answer to the one
 * before, and ahead of a request on a connection from which nothing has come for
 * connection_idle_interval. One that is not answered ends the connection. All of it on the
 * connection's worker.
 */

#include <nghttp2/nghttp2.h>
#include <stdint.h>

#include "agent/proxy/events.h"
#include "bpf/abi/image.h"

struct worker;

/* Part of a session, which fills in the two functions before it starts. */
struct h2_keepalive {
	struct timer send, answer; /* answer: a PING is out */
	struct worker *worker;
	nghttp2_session *session;
	const struct weft_img_h2 *opt;
	uint64_t heard_ms;		      /* when something last came */
	void (*due)(struct h2_keepalive *k);  /* the session has frames to send */
	void (*over)(struct h2_keepalive *k); /* no answer has come; may free the session */
};

/* opt is the session's own copy. Without options of a keepalive it does nothing from here on. */
void h2_keepalive_start(struct h2_keepalive *k, struct worker *w, nghttp2_session *session,
			const struct weft_img_h2 *opt);
/* Bytes have come. */
void h2_keepalive_heard(struct h2_keepalive *k);
/* A frame begins: whatever it is, the other side lives, and its answer may be behind it. */
void h2_keepalive_frame(struct h2_keepalive *k, const nghttp2_frame_hd *hd);
/* An answer has come, to whatever it is. */
void h2_keepalive_answered(struct h2_keepalive *k);
/* A request is about to go out. */
void h2_keepalive_request(struct h2_keepalive *k);
void h2_keepalive_end(struct h2_keepalive *k);
