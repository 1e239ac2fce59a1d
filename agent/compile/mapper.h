/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* local_reply_config of connection managers. */

#include "agent/compile/build.h"
#include "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.pb-c.h"

/* Tests of one mapper's filter, and those inside one another: more is refused. */
#define WEFT_MAPPER_TESTS_MAX 256u
#define WEFT_MAPPER_DEPTH_MAX 16u

/* weft_img_mapping, 0: replies stay as they are. */
uint32_t weft_build_mapping(
	struct weft_build *b,
	const Envoy__Extensions__Filters__Network__HttpConnectionManager__V3__LocalReplyConfig *c,
	const char *field);
