/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What both sides of HTTP/2 have in common: bounds of frames that cost their sender nothing
 * (Envoy's ProtocolConstraints), and the options of a session. */

#include <nghttp2/nghttp2.h>
#include <stdbool.h>

#include "bpf/abi/image.h"

struct h2_flood {
	uint64_t n_streams, n_priority, n_update, n_data_sent;
	uint32_t n_empty;
};

/* A frame of this head is about to come: false where it is one too many. */
bool h2_flood_frame(struct h2_flood *f, const struct weft_img_h2 *opt, const nghttp2_frame_hd *hd);

/* Options for a session; freed by nghttp2_option_del(), also after an error. -ENOMEM. */
int h2_options(const struct weft_img_h2 *opt, nghttp2_option **ret);
