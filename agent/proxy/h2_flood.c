// SPDX-License-Identifier: Apache-2.0
#include "agent/proxy/h2_flood.h"

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

int h2_options(const struct weft_img_h2 *opt, nghttp2_option **ret)
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
	nghttp2_option_set_max_deflate_dynamic_table_size(o, opt->table);
	/* what may be said is bounded where it is read or made: a head that nghttp2 alone finds too
	 * long would leave its stream without an answer */
	nghttp2_option_set_max_send_header_block_length(o, PROXY_H2_SEND_HEAD_MAX);
	return 0;
}
