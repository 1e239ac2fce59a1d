/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What both sides of HTTP/2 have in common: bounds of frames that cost their sender nothing
 * (Envoy's ProtocolConstraints), and how a session is made and its frames leave. */

#include <nghttp2/nghttp2.h>
#include <stdbool.h>

#include "agent/proxy/bytes.h"
#include "bpf/abi/image.h"

struct worker;

struct h2_flood {
	uint64_t n_streams, n_priority, n_update, n_data_sent;
	uint32_t n_empty;
};

/* A frame of this head is about to come: false where it is one too many. */
bool h2_flood_frame(struct h2_flood *f, const struct weft_img_h2 *opt, const nghttp2_frame_hd *hd);

/* What a session says to its owner. */
struct h2_callbacks {
	nghttp2_on_begin_frame_callback begin_frame;
	nghttp2_on_begin_headers_callback begin_headers; /* NULL: nothing is missed */
	nghttp2_on_header_callback header;
	nghttp2_on_frame_recv_callback frame;
	nghttp2_on_data_chunk_recv_callback data;
	nghttp2_on_invalid_frame_recv_callback invalid_frame;
	nghttp2_on_stream_close_callback close;
	nghttp2_on_frame_send_callback sent;
	nghttp2_on_frame_not_send_callback not_sent; /* NULL: nothing is missed */
};
/* Those of a file that calls them so. */
#define H2_CALLBACKS                                                                               \
	.begin_frame = on_begin_frame, .header = on_header, .frame = on_frame, .data = on_data,    \
	.invalid_frame = on_invalid_frame, .close = on_close, .sent = on_sent
/* A client's or a server's session, for nghttp2_session_del(); arg is the callbacks'. -ENOMEM. */
int h2_session_new(const struct h2_callbacks *c, const struct weft_img_h2 *opt, bool client,
		   void *arg, nghttp2_session **ret);
/*
 * Frames into the connection's buffer: 0 all, 1 up to the mark, or until *gone (a callback has
 * ended the connection). -ENOMEM: the session is broken.
 */
int h2_frames_take(nghttp2_session *s, struct worker *w, struct buf *out, const bool *gone);
