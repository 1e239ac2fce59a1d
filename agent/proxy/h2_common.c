// SPDX-License-Identifier: Apache-2.0
#include "agent/proxy/h2_common.h"

#include <errno.h>

#include "agent/proxy/limits.h"

bool h2_flood_frame(struct h2_flood *f, const struct weft_img_h2 *opt, const nghttp2_frame_hd *hd)
{
	bool empty = false, end = hd->flags & NGHTTP2_FLAG_END_STREAM;

	switch (hd->type) {
	case NGHTTP2_HEADERS:
	case NGHTTP2_CONTINUATION:
	case NGHTTP2_DATA:
		empty = !hd->length && !end;
		break;
	case NGHTTP2_PRIORITY:
		if (++f->n_priority > opt->priority * (1 + f->n_streams))
			return false;
		break;
	case NGHTTP2_WINDOW_UPDATE:
		if (++f->n_update > 5 + 2 * (f->n_streams + opt->updates * f->n_data_sent))
			return false;
		break;
	default:
		break;
	}
	f->n_empty = empty ? f->n_empty + 1 : 0;
	return f->n_empty <= opt->empty;
}

/* *ret is freed by nghttp2_option_del(), also after an error. */
static int options_new(const struct weft_img_h2 *opt, nghttp2_option **ret)
{
	nghttp2_option *o = NULL;
	int r = nghttp2_option_new(&o);

	*ret = o;
	if (r)
		return -ENOMEM;
	nghttp2_option_set_no_auto_window_update(o, 1);
	nghttp2_option_set_no_closed_streams(o, 1);
	/* blanks around values are no part of them, as in Envoy 1.40 */
	nghttp2_option_set_no_rfc9113_leading_and_trailing_ws_validation(o, 1);
	nghttp2_option_set_max_outbound_ack(o, opt->control);
	nghttp2_option_set_max_continuations(o, PROXY_H2_CONTINUATIONS);
	nghttp2_option_set_max_deflate_dynamic_table_size(o, opt->table);
	/* what may be said is bounded where it is read or made: a head that nghttp2 alone finds too
	 * long would leave its stream without an answer */
	nghttp2_option_set_max_send_header_block_length(o, PROXY_H2_SEND_HEAD_MAX);
	return 0;
}

int h2_session_new(const struct h2_callbacks *c, const struct weft_img_h2 *opt, bool client,
		   void *arg, nghttp2_session **ret)
{
	nghttp2_session_callbacks *to = NULL;
	nghttp2_option *o = NULL;
	int r = nghttp2_session_callbacks_new(&to);

	if (!r)
		r = options_new(opt, &o);
	if (!r) {
		nghttp2_session_callbacks_set_on_begin_frame_callback(to, c->begin_frame);
		nghttp2_session_callbacks_set_on_begin_headers_callback(to, c->begin_headers);
		nghttp2_session_callbacks_set_on_header_callback(to, c->header);
		nghttp2_session_callbacks_set_on_frame_recv_callback(to, c->frame);
		nghttp2_session_callbacks_set_on_data_chunk_recv_callback(to, c->data);
		nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(to, c->invalid_frame);
		nghttp2_session_callbacks_set_on_stream_close_callback(to, c->close);
		nghttp2_session_callbacks_set_on_frame_send_callback(to, c->sent);
		nghttp2_session_callbacks_set_on_frame_not_send_callback(to, c->not_sent);
		r = client ? nghttp2_session_client_new2(ret, to, arg, o)
			   : nghttp2_session_server_new2(ret, to, arg, o);
	}
	nghttp2_option_del(o);
	nghttp2_session_callbacks_del(to);
	return r ? -ENOMEM : 0;
}

int h2_frames_take(nghttp2_session *s, struct worker *w, struct buf *out, const bool *gone)
{
	while (!*gone && buf_len(out) < PROXY_HIGH_WATER) {
		const uint8_t *data;
		ssize_t n = nghttp2_session_mem_send(s, &data);

		if (n <= 0)
			return n ? -ENOMEM : 0;
		if (!*gone && buf_add(w, out, data, (size_t)n))
			return -ENOMEM;
	}
	return 1;
}
